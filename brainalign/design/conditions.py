"""What did each run show of each condition? Labels and mean responses, so that runs become repeats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from brainalign.errors import InputError, did_you_mean
from brainalign.signals import Signal


def condition_means(brain: Signal, events: pd.DataFrame, column: str = "trial_type", lag_s: float = 5.0) -> Signal:
    """Mean response to each condition in each run, over the samples of its events moved by the response's lag.

    Parameters
    ----------
    brain : Signal (n_samples, n_targets)
        Cleaned, and on one scale within each run.
    events : DataFrame
        `run`, `onset`, `duration` (s) and the column that names conditions.
    column : str
        Of the events; where it is missing (n/a) an event belongs to no condition.
    lag_s : float, seconds
        A sample at time t belongs to what was on at t − lag_s.

    Returns
    -------
    Signal (n_runs × n_conditions, n_targets)
        `samples`: `run`, `time` (s, when the condition first came in the run), `stimulus` (the condition), `repeat`
        (the run): `repeats_of` and ceilings between repeats read it as every run repeating the conditions.

    Raises
    ------
    InputError
        No such column, events of runs that were not recorded, or a condition without a sample in some run.

    Examples
    --------
    >>> samples = pd.DataFrame({"run": "1", "time": np.arange(6) * 2.0})
    >>> brain = Signal(np.arange(6.0)[:, None], samples, pd.DataFrame({"roi": ["FFA"]}))
    >>> blocks = pd.DataFrame({"run": "1", "onset": [0.0, 4.0], "duration": 4.0, "trial_type": ["face", "house"]})
    >>> condition_means(brain, blocks, lag_s=2.0).values.ravel().tolist()
    [1.5, 3.5]
    """
    met = _named(events, column, brain.runs)
    values, rows = brain.array(), []
    means = []
    for run in brain.runs:
        at = np.flatnonzero((brain.samples["run"] == run).to_numpy() & brain.use)
        time = brain.samples["time"].to_numpy(float)[at] - lag_s
        mine = met[met["run"].astype(str) == run]
        for condition, some in mine.groupby(column, sort=False):
            start = some["onset"].to_numpy(float)[:, None]
            inside = ((time >= start) & (time < start + some["duration"].to_numpy(float)[:, None])).any(0)
            if not inside.any():
                raise InputError(
                    f"run {run}: no sample falls into condition {condition!r} moved by {lag_s:g} s: check durations "
                    "and the lag"
                )
            means.append(values[at[inside]].mean(0, dtype=np.float64))
            rows.append({"run": run, "time": float(start[0, 0]), "stimulus": str(condition), "repeat": run})
    return Signal(np.stack(means), pd.DataFrame(rows), brain.columns, attrs=brain.attrs)


def label_conditions(brain: Signal, events: pd.DataFrame, column: str = "trial_type", within_s: float = 4.0) -> Signal:
    """Name for every sample the condition last met, so that runs with other orders are repeats of one another.

    Parameters
    ----------
    brain : Signal (n_samples, n_targets)
        Evenly sampled within each run; or trials, each at the onset of its event.
    events : DataFrame
        `run`, `onset`, `duration` (s) and the column that names conditions. Of runs that are not here, such as those
        that are not tested, nothing is asked.
    column : str
        Of the events; where it is missing (n/a) an event belongs to no condition.
    within_s : float, seconds
        Events of one condition that follow one another by less, from the end of one to the onset of the next, are one
        block and share its onset.

    Returns
    -------
    Signal
        The same numbers. `samples` gain `stimulus` (the condition; none before the first event), `stimulus_time` (s
        since its onset, rounded to whole samples; trials have none) and `repeat` (the run, and which of several blocks
        in it): ceilings between repeats read it as presentations.

    Raises
    ------
    InputError
        No such column, no event that names a condition, or none in the runs that are here.

    Examples
    --------
    >>> samples = pd.DataFrame({"run": "1", "time": np.arange(5) * 2.0})
    >>> brain = Signal(np.arange(5.0)[:, None], samples, pd.DataFrame({"roi": ["FFA"]}))
    >>> blocks = pd.DataFrame({"run": "1", "onset": [1.9, 6.0], "duration": 4.0, "trial_type": ["face", "house"]})
    >>> label_conditions(brain, blocks).samples[["stimulus", "stimulus_time"]].values.tolist()[1:]
    [['face', 0.0], ['face', 2.0], ['house', 0.0], ['house', 2.0]]
    """
    met = _named(events, column, brain.runs, part=True)
    run, time = brain.samples["run"].to_numpy(), brain.samples["time"].to_numpy(float)
    trials = _are_trials(brain.samples, met)
    condition, repeat = np.full(len(time), None, object), np.full(len(time), None, object)
    since = np.full(len(time), np.nan)
    for name in brain.runs:
        mine = met[met["run"] == name]
        blocks = mine if trials else mine[_begins(mine, column, within_s)]
        if not len(blocks):
            continue
        nth = blocks.groupby(column, sort=False).cumcount() + 1
        several = nth.max() > 1
        labels = np.array([f"{name}.{k:03}" if several else name for k in nth], object)
        onsets, rows = blocks["onset"].to_numpy(float), np.flatnonzero(run == name)
        last = np.searchsorted(onsets, time[rows] + ROUNDING_S, side="right") - 1
        rows, last = rows[last >= 0], last[last >= 0]
        condition[rows] = blocks[column].astype(str).to_numpy(object)[last]
        repeat[rows], since[rows] = labels[last], time[rows] - onsets[last]
    labelled = brain.samples.assign(stimulus=condition, repeat=repeat)
    if not trials:
        tr = _spacing(brain)
        labelled["stimulus_time"] = np.floor(since / tr + 0.5 + ROUNDING_S) * tr
    return replace(brain, samples=labelled)


ROUNDING_S = 1e-6  # what onsets and times may differ by and be the same


def _named(events: pd.DataFrame, column: str, runs: list[str], part: bool = False) -> pd.DataFrame:
    """The events that name a condition, in order of time; `part`: of the runs that are here, at least of one."""
    if column not in events:
        raise InputError(f"events have no column {column!r}; " + did_you_mean(column, events.columns))
    met = events[events[column].notna()].sort_values("onset", kind="stable")
    met = met.assign(run=met["run"].astype(str))
    unknown = sorted(set(met["run"]) - set(runs))
    if part and len(unknown) < met["run"].nunique():
        met, unknown = met[met["run"].isin(runs)], []
    if unknown:
        raise InputError(f"events in run {', '.join(unknown)}, but the recording has run {', '.join(runs)}")
    if not len(met):
        raise InputError(f"no event names a condition in column {column!r}")
    return met


def _begins(met: pd.DataFrame, column: str, within_s: float) -> np.ndarray:
    """(n_events,) whether an event of a run begins a block: another condition came before it, or a pause."""
    onset, names = met["onset"].to_numpy(float), met[column].to_numpy()
    end = np.maximum.accumulate(onset + met["duration"].to_numpy(float))
    same = (names[1:] == names[:-1]) & (onset[1:] - end[:-1] < within_s)
    return np.r_[True, ~same][: len(met)]


def _are_trials(samples: pd.DataFrame, met: pd.DataFrame) -> bool:
    """Whether every sample lies at the onset of an event: it is then a trial, and not a moment of its course."""
    at = set(zip(met["run"], (met["onset"].to_numpy(float) / ROUNDING_S).round()))
    return all(key in at for key in zip(samples["run"], (samples["time"].to_numpy(float) / ROUNDING_S).round()))


def _spacing(brain: Signal) -> float:
    """Seconds between samples; some of them may be missing."""
    steps = brain.samples.groupby("run", sort=False)["time"].diff().to_numpy(float)
    return float(np.nanmedian(steps))
