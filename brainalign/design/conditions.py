"""What did each run show of each condition? Mean responses, so that runs become repeats."""

from __future__ import annotations

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
    if column not in events:
        raise InputError(f"events have no column {column!r}; " + did_you_mean(column, events.columns))
    met = events[events[column].notna()].sort_values("onset", kind="stable")
    unknown = sorted(set(met["run"].astype(str)) - set(brain.runs))
    if unknown:
        raise InputError(f"events in run {', '.join(unknown)}, but the recording has run {', '.join(brain.runs)}")
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
    if not rows:
        raise InputError(f"no event names a condition in column {column!r}")
    return Signal(np.stack(means), pd.DataFrame(rows), brain.columns, attrs=brain.attrs)
