"""Who met the same events? People on clocks of their own, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from brainalign.errors import InputError, one_message
from brainalign.signals import Signal, join

NAMES = ("word", "stimulus", "stim_file", "trial_type")  # what an event is, whoever met it
HALF = 0.5  # of the events of a run, which all have to have met


def join_events(*people: Signal) -> Signal:
    """Put people side by side who met the same events, each on a clock of their own.

    The n-th event of a run is the n-th of that run in everybody. What differs in time is the recording, not the event:
    rows carry the onsets of the first. Where events are called something (`word`, `stim_file`, ..), a recording may
    have begun late or stopped early: of a run those are kept that everybody met, if that is at least half.

    Parameters
    ----------
    *people : Signal (n_events, ..)
        As `epochs` gives them.

    Returns
    -------
    Signal (n_events, sum of columns)
        Of the runs that everybody has. An event is in use where it is in everybody.

    Raises
    ------
    InputError
        Runs with other events, or no run in common.

    Examples
    --------
    >>> words = pd.DataFrame({"run": "1", "word": ["the", "river"]})
    >>> one, other = (
    ...     Signal(np.eye(2), words.assign(time=time), pd.DataFrame({"subject": who, "lag": [0.0, 0.2]}))
    ...     for who, time in (("01", [4.0, 5.0]), ("02", [6.5, 7.5]))
    ... )
    >>> join_events(one, other).columns["subject"].tolist()
    ['01', '01', '02', '02']
    """
    if not people:
        raise InputError("join_events needs at least one Signal")
    first = people[0]
    shared = [run for run in first.runs if all(run in other.runs for other in people)]
    if not shared:
        found = "; ".join(f"{_who(one)}: {', '.join(one.runs)}" for one in people)
        raise InputError(f"no run is in everybody ({found}): name the runs alike, or fit people apart")
    notes = []
    lost = [f"{run} of {_who(one)}" for one in people for run in one.runs if run not in shared]
    if lost:
        notes.append(f"runs that are not in everybody are left out: {', '.join(lost)}")
    kept, cut = _met_by_all(people, shared)
    notes += cut
    clock = kept[0].samples[["run", "time"]]
    together = join(
        *(replace(one, samples=one.samples.assign(run=clock["run"], time=clock["time"]), related={}) for one in kept)
    )
    gone = {_who(one): int((~one.use).sum()) for one in kept}
    if len(kept) > 1 and any(gone.values()):
        said = ", ".join(f"{who} {count}" for who, count in gone.items() if count)
        notes.append(
            f"{int((~together.use).sum())} of {len(clock)} events are out of use, as they are in at least one of the "
            f"{len(kept)} recordings ({said}); where that is too many, fit people apart and compare them with `group`"
        )
    return replace(together, attrs={**together.attrs, "notes": [*together.attrs.get("notes", []), *notes]})


def _who(one: Signal) -> str:
    people = list(dict.fromkeys(one.columns["subject"])) if "subject" in one.columns else []
    return f"sub-{people[0]}" + (f" and {len(people) - 1} more" if len(people) > 1 else "") if people else "a recording"


def _met_by_all(people: Sequence[Signal], runs: Sequence[str]) -> tuple[list[Signal], list[str]]:
    """Everybody's events that all met, and a note of those that are left out.

    Raises
    ------
    InputError
        Everybody whose events are not those of the first.
    """
    rows: list[list[np.ndarray]] = [[] for _ in people]
    notes, problems = [], []
    for run in runs:
        mine = [np.flatnonzero((one.samples["run"] == run).to_numpy()) for one in people]
        tables = [one.samples.iloc[at].reset_index(drop=True) for one, at in zip(people, mine, strict=True)]
        later = [_later_by(tables[0], table) for table in tables]
        if None in later:
            problems += [
                _who_differs(people[0], people[k], run, tables[0], tables[k])
                for k, by in enumerate(later)
                if by is None
            ]
            continue
        starts = [0 if by is None else by for by in later]
        low, high = max(starts), min(by + len(at) for by, at in zip(starts, mine, strict=True))
        most = max(map(len, mine))
        if high - low < HALF * most:
            problems.append(
                f"run {run}: {max(high - low, 0)} of {most} events were met by everybody, as recordings begin and end "
                "at others: leave out who lacks most, or fit people apart, one data.subjects at a time"
            )
            continue
        for each, at, by in zip(rows, mine, starts, strict=True):
            each.append(at[low - by : high - by])
        if high - low < most:
            notes.append(f"run {run}: {high - low} of {most} events were met by everybody, the others are left out")
    if problems:
        raise one_message(problems)
    return [one.select(rows=np.concatenate(each)) for one, each in zip(people, rows, strict=True)], notes


def _later_by(mine: pd.DataFrame, theirs: pd.DataFrame) -> int | None:
    """By how many events the second table begins later than the first; None where they do not agree.

    They are tables of the same events, or one of them begins or ends earlier and there is one way only to see it so.
    """
    names = [name for name in NAMES if name in mine and name in theirs]
    called = pd.concat([mine[names], theirs[names]], ignore_index=True).astype(str)
    code = called.groupby(names).ngroup().to_numpy() if names else np.zeros(len(called), int)
    a, b = code[: len(mine)], code[len(mine) :]
    if np.array_equal(a, b):
        return 0
    least = max(1, int(np.ceil(HALF * max(len(a), len(b)))))
    fits = []
    for by in range(least - len(b), len(a) - least + 1):
        low, high = max(0, by), min(len(a), len(b) + by)
        if high - low >= least and np.array_equal(a[low:high], b[low - by : high - by]):
            fits.append(by)
    return fits[0] if len(fits) == 1 else None


def _who_differs(first: Signal, other: Signal, run: str, mine: pd.DataFrame, theirs: pd.DataFrame) -> str:
    """What keeps the events of two recordings from being the same."""
    met = "other" if len(mine) == len(theirs) else f"{len(mine)} and {len(theirs)}"
    return (
        f"run {run}: {_who(first)} and {_who(other)} met {met} events{_first_odd(mine, theirs)}: the same ones are "
        "needed, in the same order; leave out those that one of them lacks, or fit people apart, one data.subjects at "
        "a time"
    )


def _first_odd(mine: pd.DataFrame, theirs: pd.DataFrame) -> str:
    """What the first event is that two tables do not have alike; "" where what they are called says nothing."""
    n, found = min(len(mine), len(theirs)), []
    for name in (c for c in NAMES if c in mine and c in theirs):
        odd = np.flatnonzero(mine[name][:n].astype(str).to_numpy() != theirs[name][:n].astype(str).to_numpy())
        if len(odd):
            found.append((odd[0], f" (event {odd[0] + 1}: {name} {mine[name][odd[0]]!r} and {theirs[name][odd[0]]!r})"))
    return min(found)[1] if found else ""
