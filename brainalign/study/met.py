"""What was met, and when?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from brainalign.errors import InputError, did_you_mean, one_message, problems_of
from brainalign.events import check_events, run_ends
from brainalign.features.transcript import Reading, align_words
from brainalign.io.electric import find_any
from brainalign.io.transcripts import problems_in_events, read_events, read_textgrid
from brainalign.provenance import hash_file
from brainalign.signals import Signal
from brainalign.study.files import Files
from brainalign.study.settings import Study
from brainalign.study.trials import are_trials

Found = TypeVar("Found")
SHOWN_S = 3.0  # how long NSD showed each picture; the next came a second later
RECORDED = ("run", "onset", "time", "duration")  # of a trial, which the recording says, or the experiment
CELLS = ",;\t"  # what may stand between the cells of a table that is not called .tsv
NO_EVENTS = pd.DataFrame({"onset": np.zeros(0), "duration": np.zeros(0), "run": pd.Series([], dtype=str)})


def events_of(study: Study, brain: Signal | None) -> pd.DataFrame:
    """The events of the study; with a recording, those past the end of their run are an error.

    None where nothing is made of events: features are of a film and a sound alone.

    Raises
    ------
    InputError
        Everything that is wrong with them, in one message.
    """
    if not study.needs_events:
        return NO_EVENTS.copy()
    if study.design.lags is not None:
        return words_of(study, brain)
    if brain is not None and are_trials(brain):
        return _trials_met(study.stimuli.table, brain)
    return _read_events(study, brain)


def words_of(study: Study, brain: Signal | None) -> pd.DataFrame:
    """The events that windows are cut around: those that have a word, as the first person of a recording met them.

    Of a recording that is not cut yet, onsets after its end are an error.

    Raises
    ------
    InputError
        Everything that is wrong with them, in one message; or none has one.
    """
    assert study.design.lags is not None
    column = study.design.lags.column
    who = _first_person(study) if brain is None else [str(brain.columns["subject"].iloc[0])]
    met = _read_events(study, None if brain is None or are_trials(brain) else brain, who)
    if column not in met:
        raise InputError(
            f"design.lags: the events have no column {column!r} to cut around; {did_you_mean(column, met.columns)}"
        )
    there = met[column].notna() & met[column].ne("")
    if not there.any():
        raise InputError(f"design.lags: no event has a {column!r} (n/a in all {len(met)}): name the column that says")
    words = met[there].reset_index(drop=True)
    left = [f"{int((~there).sum())} of {len(met)} events have no {column} and are left out"] * (not there.all())
    known = {key: value for key, value in met.attrs.items() if key != "subjects"}  # the others met the same
    words.attrs = {**known, "notes": [*met.attrs.get("notes", []), *left]}
    return words


def _first_person(study: Study) -> list[str]:
    """Of a tree whose recordings have not been read."""
    data = study.data
    assert data.bids is not None  # windows are cut from nothing else
    assert not isinstance(data.run, list)
    _, found = find_any(data.bids, data.subjects, data.task, data.session, data.run)
    return [found[0].subject]


def _read_events(study: Study, brain: Signal | None, who: Sequence[str] | None = None) -> pd.DataFrame:
    """The events of a BIDS tree or of transcripts; of some people, where onsets may differ."""
    ends = None if brain is None else run_ends(brain)
    if study.stimuli.words is not None:
        return _transcripts(study.stimuli.words, study.stimuli.start_s, ends)
    if study.data.bids is None:
        raise InputError(
            "only a BIDS tree has events beside its recordings: name a transcript under stimuli.words, one per run "
            "({story: story.TextGrid, ..}), or a film or a sound"
        )
    assert not isinstance(study.data.run, list)  # of matrices alone
    subject = list(who) if who else None if study.data.subjects == "all" else list(study.data.subjects)
    where = (study.data.bids, study.data.task, subject, study.data.session, study.data.run)
    problems = problems_in_events(*where, ends=ends)
    if problems:
        raise one_message(problems)
    return read_events(*where)


def _trials_met(path: Path | None, brain: Signal) -> pd.DataFrame:
    """What trials show that name their `stimulus`: the row of a table that has each stimulus once."""
    shown = "a table with a row per stimulus: `stimulus` as the recording calls them, and stim_file, caption, .."
    if path is None:
        raise InputError(f"trials of a recording without events need stimuli.table, {shown}")
    if not path.is_file():
        raise InputError(f"stimuli.table: there is no file {path}: check the path")
    table = _read_table(path, ["stimulus"])
    if "stimulus" not in table:
        raise InputError(
            f"{path.name} has no column 'stimulus'; found {', '.join(map(str, table))}: stimuli.table is {shown}"
        )
    timed = [name for name in RECORDED if name in table]
    if timed:
        raise InputError(
            f"{path.name} has a column {' and '.join(timed)}: when a stimulus was shown is for the recording to say: "
            f"leave that out, stimuli.table is {shown}"
        )
    named = brain.samples["stimulus"]
    lost, twice = sorted(set(named) - set(table["stimulus"])), table["stimulus"][table["stimulus"].duplicated()]
    if lost or len(twice):
        what = f"lacks {len(lost):,} stimuli that were shown, the first {lost[0]!r}" if lost else ""
        what = what or f"has {twice.iloc[0]!r} more than once"
        raise InputError(f"{path.name} {what}: stimuli.table is {shown}")
    met = brain.samples[["run", "time"]].rename(columns={"time": "onset"}).assign(duration=SHOWN_S)
    of_each = table.set_index("stimulus").loc[named].reset_index()
    met = pd.concat([met.reset_index(drop=True), of_each], axis=1)
    met.attrs = {"notes": [], "inputs": {path.name: hash_file(path)}}
    return met


def _transcripts(words: Path | Mapping[str, Path], start_s: float, ends: Mapping[str, float] | None) -> pd.DataFrame:
    """The words of one file, or of a file per run; what is wrong with all of them in one message."""
    if not isinstance(words, Mapping):
        return transcript(words, start_s, "stimuli.words", ends=ends)
    lost = [run for run in ends or {} if run not in words]
    problems = [f"stimuli.words names no transcript of run {', '.join(lost)}: name one for each run"] if lost else []
    found = {}
    for run, path in words.items():
        if ends is not None and run not in ends:
            problems.append(f"stimuli.words names run {run}, but the recording has runs {', '.join(ends)}")
            continue
        try:
            mine = None if ends is None else {"1": ends[run]}
            found[run] = transcript(path, start_s, f"stimuli.words, run {run}", ends=mine)
        except InputError as error:
            problems += [f"run {run}: {problem}" for problem in problems_of(error)]
    if problems:
        raise one_message(problems)
    together = pd.concat([one.assign(run=run) for run, one in found.items()], ignore_index=True)
    notes = [note for one in found.values() for note in one.attrs["notes"]]
    together.attrs = {"notes": notes, "inputs": apart(*(one.attrs["inputs"] for one in found.values()))}
    return together


def transcript(
    path: Path, start_s: float, key: str, tier: str = "word", ends: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Words or phones from a file of their own: a tier of a Praat TextGrid, or a table.

    A table has onset, duration, word or phone, and run, if there are several. `start_s` is the second of its clock at
    which the recording's begins; `key` names the setting that named the file.
    """
    if not path.is_file():
        raise InputError(f"{key}: there is no file {path}: check the path")
    if path.suffix.lower() == ".textgrid":
        found = read_textgrid(path, tier=tier, start=start_s)
    else:
        found = _read_table(path, ["word", "phone", "run"])
        if "onset" in found:
            found["onset"] = pd.to_numeric(found["onset"], errors="coerce") - start_s
    found, notes, problems = check_events(found, ends=ends)
    if problems:
        raise one_message(f"{path.name}: {problem}" for problem in problems)
    found.attrs = {"notes": [f"{path.name}: {note}" for note in notes], "inputs": {path.name: hash_file(path)}}
    return found


def _read_table(path: Path, text: Sequence[str]) -> pd.DataFrame:
    """A table with a header: tabs between the cells of a .tsv, else what its first line has most of.

    Parameters
    ----------
    path : Path
    text : sequence of str
        Columns that are text, whatever they look like.

    Raises
    ------
    InputError
        It is empty, no UTF-8, or a row has more cells than there are columns.
    """
    try:
        with warnings.catch_warnings(), path.open(encoding="utf-8-sig") as file:
            warnings.simplefilter("error", pd.errors.ParserWarning)  # cells beyond the header's would be dropped
            header = file.readline()
            file.seek(0)
            between = "\t" if path.suffix.lower() == ".tsv" else max(CELLS, key=header.count)
            types = dict.fromkeys(text, str)
            return pd.read_csv(file, sep=between, dtype=types, keep_default_na=False, index_col=False, low_memory=False)
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        long = isinstance(error, pd.errors.ParserWarning)
        why = "rows have more cells than the first line" if long else " ".join(str(error).split())
        raise InputError(
            f"{path.name} cannot be read as a table ({why}): write it as UTF-8 text with tabs (.tsv) or commas (.csv) "
            "between cells, and quotes around a cell that holds one of these"
        ) from error


@dataclass(frozen=True, eq=False)
class Met:
    """The events, and (`reading`) their words in print where a text was named; the events are its table then."""

    events: pd.DataFrame
    reading: Reading | None = None
    files: Files = field(default_factory=Files)
    _found: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)  # in the files

    def once(self, what: tuple[Any, ...], look: Callable[[], Found]) -> Found:
        """What `look` finds in the files, which it is asked for once: features are made of the same pictures."""
        if what not in self._found:
            self._found[what] = look()
        return self._found[what]


def in_print(study: Study, met: pd.DataFrame, files: Files | None = None) -> Met:
    """The events, their words looked up in the text the study names, if it names one, and the files beside them.

    The events' ``attrs`` stay; then the text's hash is among the inputs, and a note says what was found.

    Raises
    ------
    InputError
        The events have no words, or what `align_words` raises.
    """
    files, text = files or Files(), study.stimuli.text
    if text is None:
        return Met(met, files=files)
    if "word" not in met:
        raise InputError(f"stimuli.text: the events have no 'word' (found {', '.join(map(str, met))})")
    try:
        found = align_words(met, text)
    except InputError as error:
        raise InputError(f"stimuli.text: {error}") from error
    paths = list(text.values()) if isinstance(text, dict) else [text]
    inputs = apart(met.attrs.get("inputs", {}), *({path.name: hash_file(path)} for path in paths))
    found.table.attrs = {**met.attrs, "inputs": inputs, "notes": [*met.attrs.get("notes", []), f"text: {found}"]}
    return Met(found.table, found, files)


def apart(*inputs: Mapping[str, str]) -> dict[str, str]:
    """All inputs, name → sha256; of files of one name in several folders the later ones are numbered.

    Folders would tell them apart too, and would say where they lie on this machine. The same file twice is one input.

    Examples
    --------
    >>> apart({"words.txt": "aa"}, {"words.txt": "bb", "phones.txt": "cc"}, {"words.txt": "aa"})
    {'words.txt': 'aa', 'words.txt (2)': 'bb', 'phones.txt': 'cc'}
    """
    found: dict[str, str] = {}
    for some in inputs:
        for name, digest in some.items():
            key, number = name, 1
            while found.get(key, digest) != digest:
                number += 1
                key = f"{name} ({number})"
            found[key] = digest
    return found
