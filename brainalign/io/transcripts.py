"""What was seen or heard, and when: BIDS events and Praat TextGrids → events."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from brainalign.errors import BrainalignError, InputError, did_you_mean, one_message
from brainalign.events import check_events
from brainalign.io.bids import BidsFile, BidsTree
from brainalign.io.electric import find_any
from brainalign.io.recordings import Recording
from brainalign.io.tables import read_cells
from brainalign.provenance import hash_file, relative_name

TEXT = ("word", "trial_type", "stimulus", "stim_file")  # "7" is a word here, not a number
Tables = dict[str, dict[str, BidsFile]]  # run → subject → the table that applies to them


def read_events(
    root: str | Path,
    task: str | None = None,
    subject: str | Sequence[str] | None = None,
    session: str | None = None,
    run: str | None = None,
) -> pd.DataFrame:
    """Read what happened in each run of a task, from the `*_events.tsv` that applies to it by inheritance.

    Parameters
    ----------
    root : path
        The BIDS tree.
    task, session, run : str, optional
        Labels, as in the file names. The task may be left out where there is one.
    subject : str or several, optional
        None: of everybody, for whom the events have to be the same; where they are not, name one.

    Returns
    -------
    DataFrame
        `onset`, `duration` (s), `run` (named as `read_fmri` and `read_ieeg` name it), then the table's own columns
        (`word`, `trial_type` …), text as it was written. Sorted by onset within each run; ``attrs["notes"]`` says so
        where it was not, ``attrs["inputs"]`` is file → sha256; ``attrs["subjects"]`` says whose they are, where
        `subject` did.

    Raises
    ------
    InputError
        Everything that is wrong with the tables, in one message.
    SettingsError
        A task, subject, session or run that is not there.

    Examples
    --------
    >>> from brainalign.io.fetch import sample_path
    >>> read_events(sample_path("alice"))["word"].head(3).tolist()
    ['Alice', 'was', 'beginning']
    """
    tree, recordings = find_any(root, "all" if subject is None else subject, task, session, run)
    events, notes, problems = _look(tree, recordings, None)
    if problems:
        raise one_message(problems)
    for note in notes:
        logging.getLogger(__name__).warning(note)
    events.attrs["notes"] = notes
    if subject is not None:
        events.attrs["subjects"] = list(dict.fromkeys(recording.subject for recording in recordings))
    return events


def problems_in_events(
    root: str | Path,
    task: str | None = None,
    subject: str | Sequence[str] | None = None,
    session: str | None = None,
    run: str | None = None,
    *,
    ends: Mapping[str, float] | None = None,
) -> list[str]:
    """Everything `read_events` would raise with the same arguments, and events after the end of their run.

    Parameters
    ----------
    ends : mapping of run → seconds, optional
        As `brainalign.events.run_ends` gives them.

    Examples
    --------
    >>> from brainalign.io.fetch import sample_path
    >>> problems_in_events(sample_path("alice"), ends={"1": 724.0})
    []
    """
    try:
        tree, recordings = find_any(root, "all" if subject is None else subject, task, session, run)
    except BrainalignError as error:
        return [str(error)]
    return _look(tree, recordings, ends)[2]


def read_textgrid(
    path: str | Path,
    tier: str = "word",
    silence: Sequence[str] = ("sp", "sil", ""),
    start: float = 0.0,
) -> pd.DataFrame:
    """Read the words of a Praat TextGrid.

    Parameters
    ----------
    path : path
    tier : str
        The interval tier that holds them.
    silence : sequence of str
        Labels that are no words.
    start : float
        Second of the TextGrid that is to be onset 0, such as the first volume.

    Returns
    -------
    DataFrame
        `onset`, `duration` (s), `run` ("1"), `word`.

    Raises
    ------
    InputError
        There is no such file, it is no TextGrid, or it has no interval tier of that name.

    Examples
    --------
    >>> from brainalign.io.fetch import sample_path
    >>> (path,) = (sample_path("alice") / "stimuli").glob("*.TextGrid")
    >>> read_textgrid(path, start=20.0)["word"].head(3).tolist()
    ['Alice', 'was', 'beginning']
    """
    from praatio import textgrid
    from praatio.utilities.errors import PraatioException

    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no TextGrid {path}: check the path")
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    except (PraatioException, ValueError, IndexError, KeyError, UnicodeError) as error:
        raise InputError(f"{path} cannot be read as a TextGrid ({error}): save it again from Praat") from error
    tiers = [name for name in grid.tierNames if isinstance(grid.getTier(name), textgrid.IntervalTier)]
    if tier not in tiers:
        raise InputError(f"{path} has no interval tier {tier!r}; " + did_you_mean(tier, tiers))
    entries: Any = grid.getTier(tier).entries
    spoken = [entry for entry in entries if entry.label.strip() not in silence]
    return pd.DataFrame(
        {
            "onset": [entry.start - start for entry in spoken],
            "duration": [entry.end - entry.start for entry in spoken],
            "run": "1",
            "word": [entry.label.strip() for entry in spoken],
        }
    )


def _look(
    tree: BidsTree, recordings: Sequence[Recording], ends: Mapping[str, float] | None
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Events, notes and problems of every run."""
    tables, problems = _find_tables(tree, recordings)
    pieces, notes = [], []
    contents: dict[Path, pd.DataFrame | str] = {}
    for run, by_subject in tables.items():
        for file in by_subject.values():
            if file.path not in contents:
                contents[file.path] = _read_tsv(file.path, relative_name(file.path, tree.root))
        first = next(iter(by_subject.values()))
        table, differ = contents[first.path], _who_differs(by_subject, contents)
        name = relative_name(first.path, tree.root)
        if isinstance(table, str):
            problems.append(table)
            continue
        if differ:
            problems.append(f"run {run}: the events of {differ}; name one subject")
            continue
        piece, said, wrong = check_events(
            table.assign(run=run), ends={run: ends[run]} if ends and run in ends else None
        )
        pieces.append(piece)
        notes += [f"{name}, {note}" for note in said]
        problems += [f"{name}, {problem}" for problem in wrong]
    if problems or not pieces:
        return pd.DataFrame(), notes, problems
    events = pd.concat(pieces, ignore_index=True)
    events = events[["onset", "duration", "run", *(c for c in events if c not in ("onset", "duration", "run"))]]
    events.attrs["inputs"] = {relative_name(path, tree.root): hash_file(path) for path in contents}
    return events, notes, problems


def _find_tables(tree: BidsTree, recordings: Sequence[Recording]) -> tuple[Tables, list[str]]:
    """Which table applies to each run of each person: of those it inherits, the most particular one."""
    tables: Tables = {}
    missing: dict[str, list[str]] = {}
    for recording in recordings:
        found = tree.inherited(recording.file, "events", ".tsv")
        if found:
            tables.setdefault(recording.run, {})[recording.subject] = found[-1]
        else:
            missing.setdefault(recording.run, []).append(recording.file.path.name)
    problems = [
        f"run {run}: no *_events.tsv applies to {files[0]}"
        + (f" and {len(files) - 1} more" if len(files) > 1 else "")
        + f"; looked in its folder and in every folder up to {tree.root}; add one, or name another task"
        for run, files in missing.items()
    ]
    return tables, problems


def _who_differs(by_subject: Mapping[str, BidsFile], contents: Mapping[Path, pd.DataFrame | str]) -> str:
    """Whose events are not those of the first person; "" where all are alike."""
    (first, file), *others = by_subject.items()
    table = contents[file.path]
    for subject, other in others:
        theirs = contents[other.path]
        alike = theirs.equals(table) if isinstance(theirs, pd.DataFrame) and isinstance(table, pd.DataFrame) else True
        if not alike:
            return f"sub-{first} ({file.path.name}) and sub-{subject} ({other.path.name}) are not the same"
    return ""


def _read_tsv(path: Path, name: str) -> pd.DataFrame | str:
    """A table of events, or what is wrong with it. Only n/a is missing: "null" and "NA" may well be words."""
    names, rows, problems = read_cells(path, name)
    if problems:
        return problems[0]
    if not rows:
        return f"{name} has no rows: write the events, or name another task"
    columns = {}
    for column, cells in zip(names, zip(*rows, strict=True), strict=True):
        texts = [None if cell.strip() == "n/a" else cell for cell in cells]
        numbers = None if column in TEXT else _as_numbers(texts)
        columns[column] = pd.Series(texts, dtype="str") if numbers is None else numbers
    return pd.DataFrame(columns)


def _as_numbers(texts: list[str | None]) -> list[float] | None:
    try:
        return [float("nan") if text is None else float(text) for text in texts]
    except ValueError:
        return None
