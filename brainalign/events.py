"""What happened when, and can it be so?"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import SequenceMatcher

import numpy as np
import pandas as pd

from brainalign.signals import Signal

NEEDED = ("onset", "duration")
SHOWN = ("stim_file", "stimulus")  # what is met again whenever its name is; a word comes again in any text
PHRASE = 4  # words in a row by which a story is known
ALIKE = 0.5  # share of the shorter story that is in the other, from which they are one


def check_events(
    events: pd.DataFrame, *, ends: Mapping[str, float] | None = None
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Sort events within each run and find what cannot be true of them.

    Parameters
    ----------
    events : DataFrame
        `onset` and `duration` (s), `run` (str; all "1" where it is missing); other columns are kept.
    ends : mapping of run → seconds, optional
        When each run's recording ends, as `run_ends` gives it. An event may last beyond it, not start there.

    Returns
    -------
    events : DataFrame
        Runs in order of appearance, onsets rising in each; events at the same time stay in the order they were in.
    notes : list of str
        What was mended: events that were not sorted.
    problems : list of str
        What cannot be mended: missing columns; onsets or durations that are not numbers, missing or negative; events
        after the end of their run.

    Examples
    --------
    >>> import pandas as pd
    >>> words = pd.DataFrame({"onset": [1.0, 0.5, 9.0], "duration": 0.2, "word": ["was", "Alice", "cake"]})
    >>> events, notes, problems = check_events(words, ends={"1": 8.0})
    >>> list(events["word"])
    ['Alice', 'was', 'cake']
    >>> notes
    ['run 1: 1 event of 3 was earlier than the one before it; sorted by onset']
    >>> problems[0].split(":")[:2]
    ['run 1, event 3 (cake)', ' onset 9 s, after the recording ends (8 s)']
    """
    missing = [name for name in NEEDED if name not in events.columns]
    if missing:
        found = ", ".join(map(repr, events.columns)) or "none"
        return (
            events,
            [],
            [f"events have no column {' and '.join(map(repr, missing))}; found {found}; both are in seconds"],
        )
    events = events.assign(run=events["run"].astype(str) if "run" in events.columns else "1").reset_index(drop=True)
    problems = _not_numbers(events)
    if problems:
        return events, [], problems
    events = events.assign(**{name: events[name].astype(float) for name in NEEDED})
    problems += _negative(events, "onset", "onset 0 is the first sample: was something trimmed from one of the two?")
    problems += _negative(events, "duration", "a duration is 0 or more")
    problems += _too_late(events, ends or {})
    notes, pieces = [], []
    for run, rows in events.groupby("run", sort=False):
        back = int((np.diff(rows["onset"]) < 0).sum())
        if back:
            what = f"{back} event{'s' * (back != 1)} of {len(rows)} {'were' if back != 1 else 'was'} earlier"
            notes.append(f"run {run}: {what} than the one before it; sorted by onset")
        pieces.append(rows.sort_values("onset", kind="stable"))
    return pd.concat(pieces, ignore_index=True) if pieces else events, notes, problems


def run_ends(brain: Signal) -> dict[str, float]:
    """When each run ends (s): one TR after its last volume was begun.

    Parameters
    ----------
    brain : Signal
        With `attrs["tr"]` (s).

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> samples = pd.DataFrame({"run": "1", "time": np.arange(3) * 2.0})
    >>> run_ends(Signal(np.zeros((3, 1)), samples, pd.DataFrame({"roi": ["LIFG"]}), attrs={"tr": 2.0}))
    {'1': 6.0}
    """
    last = brain.samples.groupby("run", sort=False)["time"].max()
    return {str(run): float(time) + float(brain.attrs["tr"]) for run, time in last.items()}


def label_repeats(events: pd.DataFrame, by: str = "word") -> pd.DataFrame:
    """Name what is met again: pictures, or the words of a story that runs tell again.

    Files and stimuli are met again whenever their name is. A word is so where a run tells the story of an earlier one,
    though some words be missing in either, or where runs are lists of the same words in other orders, each once.

    Parameters
    ----------
    events : DataFrame
        `run` and the column `by`, in the order they were met.
    by : str
        What events are told by: `stim_file` and `stimulus` are names, all else is taken for running text.

    Returns
    -------
    DataFrame
        With `stimulus` (its name; of a story the first run that has it, and its place there) and `repeat` (1, 2, …), by
        which ceilings find repeated presentations and fold rules keep them together. As it came where nothing is met
        again, where there is no such column, or where events have a `stimulus` and a `repeat` of their own.

    Examples
    --------
    >>> twice = pd.DataFrame({"run": ["1", "1", "2", "2"], "word": ["the", "river"] * 2})
    >>> label_repeats(twice)[["stimulus", "repeat"]].values.tolist()
    [['1.00001', 1], ['1.00002', 1], ['1.00001', 2], ['1.00002', 2]]
    """
    if by not in events or not len(events) or {"stimulus", "repeat"} <= set(events):
        return events
    names = events[by].astype(str).to_numpy(object)
    runs = events.groupby("run", sort=False).indices
    told = [names[rows] for rows in runs.values()]
    stimulus = names if by in SHOWN or _are_lists(told) else np.full(len(names), "", object)
    if stimulus is not names:
        for rows, label in zip(runs.values(), _places_in_stories([str(run) for run in runs], told), strict=True):
            stimulus[rows] = label
    repeat = pd.Series(stimulus).groupby(stimulus).cumcount().to_numpy() + 1
    return events.assign(stimulus=stimulus, repeat=repeat) if repeat.max() > 1 else events


def _are_lists(told: list[np.ndarray]) -> bool:
    """Whether runs have the same words, each once, and not in one order."""
    same = all(len(set(some)) == len(some) and set(some) == set(told[0]) for some in told)
    return same and any(tuple(some) != tuple(told[0]) for some in told)


def _places_in_stories(runs: list[str], told: list[np.ndarray]) -> list[list[str]]:
    """Of every word of every run the first run that tells its story, and its place there; of a word that is not told
    there, its own.
    """
    stories: dict[str, list[str]] = {}
    out = []
    for run, words in zip(runs, map(list, told), strict=True):
        label = [f"{run}.{k:05}" for k in range(1, len(words) + 1)]
        for first, story in stories.items():
            blocks = _shared(story, words)
            if blocks:
                for a, b, n in blocks:
                    label[b : b + n] = [f"{first}.{k:05}" for k in range(a + 1, a + n + 1)]
                break
        else:
            stories[run] = words
        out.append(label)
    return out


def _shared(one: list[str], other: list[str]) -> list[tuple[int, int, int]]:
    """Where two runs tell the same: (place in one, in the other, how many words); empty where they are two stories."""
    if one == other:
        return [(0, 0, len(one))]
    phrases = [set(zip(*(words[k:] for k in range(PHRASE)), strict=False)) for words in (one, other)]
    least = ALIKE * min(map(len, phrases))
    if not least or len(phrases[0] & phrases[1]) < least:
        return []
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    blocks = [(block.a, block.b, block.size) for block in blocks if block.size]
    return blocks if sum(n for *_, n in blocks) >= ALIKE * min(len(one), len(other)) else []


def name_event(event: pd.Series) -> str:
    """What an event is called in a message: its word, stimulus or trial type, where it has one."""
    for name in ("word", "stimulus", "stim_file", "trial_type"):
        if name in event.index:
            return f" ({event[name]})"
    return ""


def _not_numbers(events: pd.DataFrame) -> list[str]:
    problems = []
    for name in NEEDED:
        numbers = pd.to_numeric(events[name], errors="coerce").to_numpy(float)
        bad = np.flatnonzero(~np.isfinite(numbers))
        if len(bad):
            value = events[name].iloc[bad[0]]
            found = "missing" if pd.isna(value) else repr(value) if isinstance(value, str) else f"{value:g}"
            problems.append(
                f"{_place(events, int(bad[0]))}: {name} is {found}, a number of seconds is needed "
                f"({_count(len(bad))} in all)"
            )
    return problems


def _negative(events: pd.DataFrame, name: str, advice: str) -> list[str]:
    bad = np.flatnonzero(events[name].to_numpy() < 0)
    if not len(bad):
        return []
    value = events[name].iloc[bad[0]]
    return [f"{_place(events, int(bad[0]))}: {name} {value:g} s is negative ({_count(len(bad))} in all); {advice}"]


def _too_late(events: pd.DataFrame, ends: Mapping[str, float]) -> list[str]:
    problems = []
    for run, end in ends.items():
        late = np.flatnonzero((events["run"] == str(run)).to_numpy() & (events["onset"].to_numpy() >= end))
        if len(late):
            more = f" (the first of {len(late)})" if len(late) > 1 else ""
            problems.append(
                f"{_place(events, int(late[0]))}: onset {events['onset'].iloc[late[0]]:g} s, after the recording ends "
                f"({end:g} s){more}: the events belong to another run, their clock is another, or the recording "
                "stopped early: leave out what it lacks"
            )
    return problems


def _place(events: pd.DataFrame, row: int) -> str:
    """Run and number of an event within it, counted from 1 as they came."""
    run = events["run"].iloc[row]
    number = int((events["run"].iloc[: row + 1] == run).sum())
    return f"run {run}, event {number}{name_event(events.iloc[row])}"


def _count(n: int) -> str:
    return f"{n} event{'s' * (n != 1)}"
