"""What does each trial show of a feature, where the recording has a row per trial?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from brainalign.design.resample import in_use
from brainalign.errors import InputError
from brainalign.signals import Signal

KEY_S = 1e-6  # onsets that differ by less are one


def are_trials(brain: Signal) -> bool:
    """Whether a recording has a row per trial, as `reading` says of it, and not per volume."""
    return "trials" in brain.attrs


def mark_trials(brain: Signal, by: str = "") -> Signal:
    """Say of a recording that it has a row per trial; `by`: the samples column of which each row is all of a run."""
    return replace(brain, attrs={**brain.attrs, "trials": by})


def on_trials(name: str, feature: Signal, brain: Signal, events: pd.DataFrame) -> Signal:
    """A feature on the recording's trials: the row of the event at which each begins.

    Where a row stands for all events of a condition in a run, the mean over them, as the response is. Of a sound or a
    film, where the recording is cut around words, the mean while the word lasted.

    Parameters
    ----------
    name : str
        Of the feature, for messages.
    feature : Signal (n_events, n_columns)
        `run`, `time` (s, the onset).
    brain : Signal (n_trials, ..)
    events : DataFrame
        With the column that rows stand for, if there is one.

    Raises
    ------
    InputError
        Trials of which the feature says nothing, or a feature that has a course in each.
    """
    if "stimulus_time" in feature.samples:
        if "lags" not in brain.attrs:
            raise InputError(
                f"feature {name!r} has a course, of a film or a sound, and a trial one row: fit the volumes"
            )
        return while_it_lasts(name, feature, brain)
    by = str(brain.attrs["trials"])
    trials = _keys(brain.samples["run"], brain.samples["time"])
    known = _keys(feature.samples["run"], feature.samples["time"])
    if by:
        label = dict(zip(_keys(events["run"], events["onset"]), events[by].astype(str)))
        known = [(run, label.get((run, at), "")) for run, at in known]
        trials = list(zip(brain.samples["run"], brain.samples[by].astype(str)))
    place = {key: row for row, key in enumerate(dict.fromkeys(trials))}
    row = np.array([place.get(key, -1) for key in known], int)
    counts = np.bincount(row[row >= 0], minlength=len(place))
    if not counts.all():
        lost = np.array([counts[place[key]] == 0 for key in trials])
        what = "words" if "lags" in brain.attrs else "trials"
        say = f"{what} take the row of the event at their onset, so it has to be made of the same events"
        raise _unmatched(name, feature, brain, lost, what, say)
    values, used = feature.array().astype(np.float64), feature.use
    values[~used] = np.nan  # what could not be read is not known of the trial either
    out = np.zeros((len(place), feature.shape[1]))
    np.add.at(out, row[row >= 0], values[row >= 0])
    out = (out / counts[:, None])[[place[key] for key in trials]].astype(np.float32)
    return _as_rows(out, feature, brain, "trial by trial")


def while_it_lasts(name: str, feature: Signal, brain: Signal) -> Signal:
    """The mean of a feature that has a course while each word lasted; of a word shorter than its steps, the nearest.

    Raises
    ------
    InputError
        Words of which the feature says nothing.
    """
    out = np.full((len(brain.samples), feature.shape[1]), np.nan)
    run_of, onset = brain.samples["run"].to_numpy(), brain.samples["time"].to_numpy(float)
    end = onset + brain.samples["duration"].to_numpy(float)
    lost = np.zeros(len(onset), bool)
    for run in brain.runs:
        mine = (feature.samples["run"] == run).to_numpy()
        rows, values = np.flatnonzero(run_of == run), feature.array()[mine].astype(np.float64)
        times = feature.samples["time"].to_numpy(float)[mine]
        if len(times) < 2:
            lost[rows] = True
            continue
        values[~feature.use[mine]] = np.nan
        half = float(np.median(np.diff(times))) / 2
        after = np.clip(np.searchsorted(times, onset[rows]), 1, len(times) - 1)
        nearest = after - (onset[rows] - times[after - 1] <= times[after] - onset[rows])
        start, stop = np.searchsorted(times, onset[rows]), np.searchsorted(times, end[rows])
        lost[rows] = (stop <= start) & (np.abs(times[nearest] - onset[rows]) > 2 * half)
        start = np.where((end[rows] - onset[rows] > 2 * half) & (stop > start), start, nearest)
        stop = np.maximum(stop, start + 1)
        sums = np.concatenate([np.zeros((1, values.shape[1])), np.nancumsum(values, axis=0)])
        gone = np.concatenate([[0], np.cumsum(np.isnan(values).any(1))])
        start, stop = np.minimum(start, len(times) - 1), np.minimum(stop, len(times))
        means = (sums[stop] - sums[start]) / (stop - start)[:, None]
        means[gone[stop] > gone[start]] = np.nan
        out[rows] = means
    if lost.any():
        say = "a film or a sound has to last as long as the words do, and to begin when the recording does (start_s)"
        raise _unmatched(name, feature, brain, lost, "words", say)
    return _as_rows(out.astype(np.float32), feature, brain, "the mean while each word lasted")


def _as_rows(values: np.ndarray, feature: Signal, brain: Signal, how: str) -> Signal:
    keep = [c for c in ("run", "time", "stimulus", "repeat", "use") if c in brain.samples]
    attrs: dict[str, Any] = {**feature.attrs, "resampled": how}
    return Signal(values, in_use(brain.samples[keep], values), feature.columns, attrs=attrs)


def _keys(runs: pd.Series, times: pd.Series) -> list[tuple[str, float]]:
    return list(zip(runs.astype(str), (times.to_numpy(float) / KEY_S).round().tolist()))


def _unmatched(name: str, feature: Signal, brain: Signal, lost: np.ndarray, what: str, say: str) -> InputError:
    first = brain.samples[lost].iloc[0]
    theirs = feature.samples.loc[feature.samples["run"] == first["run"], "time"]
    found = f"from {theirs.min():g} to {theirs.max():g} s" if len(theirs) else "no row"
    return InputError(
        f"feature {name!r} says nothing of {lost.sum():,} of {len(lost):,} {what}, the first in run {first['run']} at "
        f"{first['time']:g} s (its rows in that run: {found}): {say}"
    )
