"""How onsets become volumes: each volume as a weighted sum of the words, pictures or blocks around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.signals import Signal

LOBES = 3  # of the Lanczos window: words up to three volumes away have a say
WEIGHTS = 1 << 22  # kept in memory at a time: an hour of sound has a million samples a band

Kernel = Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]
"""(volume times (v,), onsets (e,), durations (e,), spacing in s) → weights (v, e); of many, some volumes at a time."""


def lanczos(times: np.ndarray, onsets: np.ndarray, durations: np.ndarray, tr: float) -> np.ndarray:
    """Low-pass interpolation: sinc(t/TR) · sinc(t/3TR) for |t| < 3 TR, rows not normalised (Huth et al. 2016).

    The cut-off is at 1/(2 TR), the highest frequency volumes can carry; a sum of weights over a steady stream of events
    is the number of events per TR.

    Examples
    --------
    >>> import numpy as np
    >>> lanczos(np.array([0.0, 2.0]), np.array([0.0]), np.array([0.1]), tr=2.0).round(6).tolist()
    [[1.0], [0.0]]
    """
    t = (times[:, None] - onsets[None, :]) / tr
    return np.where(np.abs(t) < LOBES, np.sinc(t) * np.sinc(t / LOBES), 0.0)


def sum_within(times: np.ndarray, onsets: np.ndarray, durations: np.ndarray, tr: float) -> np.ndarray:
    """Sum over the events whose onset lies within half a TR of the volume's time: for counts."""
    t = (onsets[None, :] - times[:, None]) / tr
    return ((t >= -0.5) & (t < 0.5)).astype(float)


def mean_within(times: np.ndarray, onsets: np.ndarray, durations: np.ndarray, tr: float) -> np.ndarray:
    """Mean over the events whose onset lies within half a TR of the volume's time; 0 where there is none."""
    weights = sum_within(times, onsets, durations, tr)
    return weights / np.maximum(weights.sum(1, keepdims=True), 1)


def boxcar(times: np.ndarray, onsets: np.ndarray, durations: np.ndarray, tr: float) -> np.ndarray:
    """The share of the TR around each volume's time during which the event was on: for blocks, pictures, frames.

    Of samples that follow one another without a gap, such as the frames of a film, it is their mean over the TR,
    whatever their rate.

    Examples
    --------
    >>> import numpy as np
    >>> boxcar(np.array([0.0, 2.0]), np.array([0.5]), np.array([2.0]), tr=2.0).tolist()  # 0.5 to 2.5 s
    [[0.25], [0.75]]
    """
    start = np.maximum(onsets[None, :], times[:, None] - tr / 2)
    stop = np.minimum((onsets + durations)[None, :], times[:, None] + tr / 2)
    return np.clip(stop - start, 0, None) / tr


def resample(signal: Signal, onto: Signal | pd.DataFrame, kernel: Kernel = lanczos) -> Signal:
    """Put a Signal with a row per event onto the clock of a recording, run by run.

    Parameters
    ----------
    signal : Signal (n_events, n_columns)
        `samples.time` is the onset (s); `samples.duration` (s) is used where it is there.
    onto : Signal or its samples table
        Evenly spaced within each run; times in seconds.
    kernel : function
        `lanczos` (default), `sum_within`, `mean_within`, `boxcar`, or one of your own with the same signature.

    Returns
    -------
    Signal (n_volumes, n_columns)
        On `onto`'s samples; a run without events is 0. A volume that an event enters which is not in use (its `use` is
        False: a picture that could not be read) is not known, and not in use either.

    Raises
    ------
    InputError
        Events in a run that was not recorded, a clock that is not even, or an event whose weights are no numbers (of
        `boxcar`: one without a duration).

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> onsets = pd.DataFrame({"run": "1", "time": [0.1, 0.4, 2.2]})
    >>> words = Signal(np.ones((3, 1)), onsets, pd.DataFrame({"band": ["n"]}))
    >>> clock = pd.DataFrame({"run": "1", "time": [0.0, 2.0, 4.0]})
    >>> resample(words, onto=clock, kernel=sum_within).values.ravel().tolist()
    [2.0, 1.0, 0.0]
    """
    samples = onto.samples if isinstance(onto, Signal) else onto.assign(run=onto["run"].astype(str))
    lost = [run for run in signal.runs if run not in set(samples["run"])]
    if lost:
        raise InputError(
            f"events in run {', '.join(lost)}, but the recording has run {', '.join(dict.fromkeys(samples['run']))}: "
            "name the runs alike"
        )
    out = np.zeros((len(samples), signal.shape[1]), np.float32)
    onsets = signal.samples["time"].to_numpy(float)
    durations = signal.samples["duration"].to_numpy(float) if "duration" in signal.samples else np.zeros(len(onsets))
    values, known = signal.array(), signal.use
    clock, run_of = samples["time"].to_numpy(float), signal.samples["run"].to_numpy()
    for run in signal.runs:
        rows = np.flatnonzero((samples["run"] == run).to_numpy())
        events = np.flatnonzero(run_of == run)
        tr, step = spacing(clock[rows], run), max(1, WEIGHTS // len(events))
        for some in (rows[k : k + step] for k in range(0, len(rows), step)):
            weights = kernel(clock[some], onsets[events], durations[events], tr)
            odd = ~np.isfinite(weights).all(0)
            if odd.any():
                raise _no_weight(signal.samples.iloc[events[odd.argmax()]])
            near = weights.any(0)
            there = near & known[events]
            out[some] = weights[:, there] @ values[events[there]]
            out[some[weights[:, near & ~there].any(1)]] = np.nan
    keep = [c for c in ("run", "time", "stimulus", "stimulus_time", "repeat", "use") if c in samples]
    attrs: dict[str, Any] = {**signal.attrs, "resampled": getattr(kernel, "__name__", repr(kernel))}
    return Signal(out, in_use(samples[keep], out), signal.columns, attrs=attrs)


def _no_weight(event: pd.Series) -> InputError:
    what = f" ({event['stimulus']})" if "stimulus" in event else ""
    return InputError(
        f"the event{what} at {event['time']:g} s of run {event['run']} has no weight in any volume: its duration is "
        f"{event.get('duration', 0):g} s; write how long it was there, or take a kernel that needs no durations"
    )


def in_use(samples: pd.DataFrame, values: np.ndarray) -> pd.DataFrame:
    """The samples; those of which a value is not known are out of use."""
    known: np.ndarray = ~np.asarray(np.isnan(values).any(axis=1))
    if known.all():
        return samples
    return samples.assign(use=known & samples["use"].to_numpy(bool) if "use" in samples else known)


def spacing(times: np.ndarray, run: str) -> float:
    """The one step between samples of a run, in seconds (the TR of fMRI).

    Raises
    ------
    InputError
        Fewer than two samples, or steps that differ by more than 1 %.
    """
    steps = np.diff(times)
    if not len(steps):
        raise InputError(f"run {run} has {len(times)} sample: at least two are needed to know their spacing")
    step = float(np.median(steps))
    if step <= 0 or np.abs(steps - step).max() > 0.01 * step:
        raise InputError(
            f"run {run} is not evenly sampled: steps of {steps.min():g} to {steps.max():g} s; keep dropped samples "
            "as rows with use=False"
        )
    return step
