"""What did each electrode do around every word? Windows at several lags, each lag a target of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from brainalign.design.resample import spacing
from brainalign.errors import InputError, SettingsError, one_message
from brainalign.events import check_events, run_ends
from brainalign.scratch import room
from brainalign.signals import Signal

MOST = 100_000  # lags
LAST = 1e-6  # of a step: a lag as near to the last is the last
NUMBERS = 2 << 20  # read together, in float64
RESERVED = ("onset", "run", "time", "use")


def epochs(
    brain: Signal,
    events: pd.DataFrame,
    *,
    start: float = -2.0,
    stop: float = 2.0,
    step: float = 0.2,
    window: float = 0.2,
    least: float = 0.5,
) -> Signal:
    """Cut a recording around events: the mean of each column in windows at lags from `start` to `stop`.

    A row per event, and every lag a column: fitted to a design with a row per event, one fit gives whole lag curves
    (Goldstein et al. 2022). No window reaches into another run.

    Parameters
    ----------
    brain : Signal (n_samples, n_columns)
        Evenly sampled within each run. With `related["people"]` these are cut too.
    events : DataFrame
        `onset`, `duration` (s), `run`; other columns go along into `samples`.
    start, stop, step : float, s
        Lags from event onset to the middle of a window, the last included; above zero the brain comes later.
    window : float, s
        How long a window is; no shorter than one sample.
    least : float
        The share of a window's samples that has to be in use. The mean is over those.

    Returns
    -------
    Signal (n_events, n_columns × n_lags)
        `samples`: `run`, `time` (s, the onset), the events' other columns, and `use`: False where a window reaches
        beyond the run, or has too few samples in use. `columns`: those of the recording, each once per lag, with `lag`
        (s). `attrs["lags"]` has start, stop, step, window in s.

    Raises
    ------
    InputError
        Events that cannot be (a run that was not recorded, onsets after its end, another person's), columns that have a
        `lag` already, a clock that is not even, or no event of which all windows are known.
    SettingsError
        Lags or a window that are no times; lags that are closer than samples.

    Notes
    -----
    A window of k samples is the k whose middle is nearest to onset + lag, of two the earlier: off by half a sample at
    most, never by the rounding of numbers. Some seconds of the recording are in memory at a time, and what is larger
    than 256 MB is written to a file as it is made (`brainalign.scratch`).

    References
    ----------
    Goldstein, A., Zada, Z., Buchnik, E., et al. (2022). Shared computational principles for language processing in
    humans and deep language models. Nature Neuroscience, 25, 369-380. https://doi.org/10.1038/s41593-022-01026-4

    Examples
    --------
    >>> samples = pd.DataFrame({"run": "1", "time": np.arange(100) / 10})
    >>> ramp = Signal(np.arange(100.0)[:, None] / 10, samples, pd.DataFrame({"channel": ["LA1"]}), attrs={"tr": 0.1})
    >>> words = pd.DataFrame({"onset": [4.0, 5.0], "duration": 0.3, "run": "1", "word": ["the", "river"]})
    >>> around = epochs(ramp, words, start=-1, stop=1, step=1, window=0.3)
    >>> around.values.round(3).tolist(), around.columns["lag"].tolist()
    ([[3.0, 4.0, 5.0], [4.0, 5.0, 6.0]], [-1.0, 0.0, 1.0])
    """
    lags = lags_of(start, stop, step)
    if not 0 < window < np.inf:
        raise SettingsError(f"window is how long a window is, in seconds; found {window!r}")
    if not 0 < least <= 1:
        raise SettingsError(f"least is a share of a window's samples, above 0 and up to 1; found {least!r}")
    if "lag" in brain.columns:
        raise InputError("the columns have a `lag` already: epochs are cut from a recording, once")
    met, notes = _met(brain, events)
    runs = _runs(brain)
    if len(lags) > 1 and (coarse := min(run.rate for run in runs.values()) * step) < 1 - LAST:
        raise SettingsError(
            f"lags {step:g} s apart, in a recording with a sample every {step / coarse:.4g} s: neighbours would be the "
            "same windows; take longer steps, or a higher rate"
        )
    values, short, unused = _cut(brain, runs, met, lags, window, least)
    out = short | unused
    why = [(short, "a window reaches beyond the run"), (unused, "too few samples of a window are in use")]
    said = ", ".join(f"{int(mask.sum())} as {what}" for mask, what in why if mask.any())
    if out.all():
        low, high = lags[0] - window / 2, lags[-1] + window / 2
        raise InputError(
            f"of {len(met)} events not one has all its windows ({low:g} to {high:g} s around it): {said}; ask for "
            "shorter lags" + ", for a smaller `least`, or look at what marks samples" * bool(unused.any())
        )
    samples = met.drop(columns=[c for c in RESERVED if c in met])
    samples = pd.concat([met["run"], met["onset"].rename("time"), samples], axis=1)
    if out.any():
        samples["use"] = ~out
        notes.append(f"{int(out.sum())} of {len(met)} events are not in use: {said}")
    repeated = brain.columns.loc[brain.columns.index.repeat(len(lags))].reset_index(drop=True)
    attrs: dict[str, Any] = {
        **{key: value for key, value in brain.attrs.items() if key != "tr"},
        "lags": {"start": float(start), "stop": float(lags[-1]), "step": float(step), "window": float(window)},
        "notes": [*brain.attrs.get("notes", []), *notes],
    }
    people = brain.related.get("people")
    how: dict[str, Any] = {"start": start, "stop": stop, "step": step, "window": window, "least": least}
    return Signal(
        values,
        samples,
        repeated.assign(lag=np.tile(lags, len(brain.columns))),
        {} if people is None else {"people": epochs(people, events, **how)},
        attrs,
    )


def lags_of(start: float, stop: float, step: float) -> np.ndarray:
    """The lags (s) from `start` to `stop`, the last included.

    Raises
    ------
    SettingsError

    Examples
    --------
    >>> lags_of(-0.2, 0.2, 0.1).tolist()
    [-0.2, -0.1, 0.0, 0.1, 0.2]
    """
    if not all(np.isfinite([start, stop, step])) or not (step > 0 and start <= stop):
        raise SettingsError(
            f"lags go from start up to stop in steps above 0, in seconds; found {start!r} to {stop!r} by {step!r}"
        )
    if (stop - start) / step >= MOST:
        raise SettingsError(f"{start!r} to {stop!r} by {step!r} s is more than {MOST:,} lags: take longer steps")
    return np.round(start + step * np.arange(int((stop - start) / step + LAST) + 1), 9) + 0.0


def _met(brain: Signal, events: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The events, sorted as the recording's runs are, and what there is to say of them."""
    met, notes, problems = check_events(events, ends=run_ends(brain) if "tr" in brain.attrs else None)
    if problems:
        raise one_message(problems)
    whose = events.attrs.get("subjects", [])
    here = brain.columns["subject"].unique().tolist() if whose and "subject" in brain.columns else []
    others = [who for who in here if who not in whose]
    if others:
        raise InputError(
            f"the events are of sub-{', sub-'.join(whose)}, and the recording holds sub-{others[0]} too: read those of "
            "all where they are the same (subject=None), else cut each person apart and join them (join_events)"
        )
    if not len(met):
        raise InputError("there is no event to cut around: name a table with a row per event")
    runs = brain.runs
    lost = [run for run in dict.fromkeys(met["run"]) if run not in runs]
    if lost:
        raise InputError(
            f"events in run {', '.join(lost)}, but the recording has run {', '.join(runs)}: name the runs alike"
        )
    silent = [run for run in runs if run not in set(met["run"])]
    if silent:
        notes.append(f"run {', '.join(silent)} has no events and is left out")
    order = {run: k for k, run in enumerate(runs)}
    return met.sort_values("run", key=lambda run: run.map(order), kind="stable").reset_index(drop=True), notes


@dataclass(frozen=True)
class _Run:
    """Where one run lies in the recording, and its clock."""

    start: int  # its first sample
    n: int
    t0: float
    rate: float

    def first(self, times: np.ndarray, size: int) -> np.ndarray:
        """The first samples, from the run's first, of windows of `size` samples around times (s)."""
        at = (times - self.t0) * self.rate - (size - 1) / 2
        return np.ceil(at - 0.5 - LAST).astype(np.int64)


def _runs(brain: Signal) -> dict[str, _Run]:
    out: dict[str, _Run] = {}
    label, time = brain.samples["run"].to_numpy(), brain.samples["time"].to_numpy(float)
    for run in brain.runs:
        rows = np.flatnonzero(label == run)
        if len(rows) != rows[-1] - rows[0] + 1:
            raise InputError(f"the samples of run {run} do not follow one another: sort them by run")
        out[run] = _Run(int(rows[0]), len(rows), float(time[rows[0]]), 1 / spacing(time[rows], run))
    return out


def _cut(
    brain: Signal, runs: Mapping[str, _Run], met: pd.DataFrame, lags: np.ndarray, window: float, least: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n_events, n_columns × n_lags) means, NaN where they are not known; whether an event's windows reach beyond its
    run; and whether, of those that do not, one has too few samples in use.
    """
    out = room((len(met), brain.shape[1] * len(lags)))
    short, unused = np.zeros(len(met), bool), np.zeros(len(met), bool)
    use, onset, label = brain.use, met["onset"].to_numpy(float), met["run"].to_numpy()
    for name, run in runs.items():
        rows = np.flatnonzero(label == name)
        size = max(1, round(window * run.rate))
        first = run.first(onset[rows, None] + lags, size)
        beyond = (first < 0) | (first + size > run.n)
        short[rows] = beyond.any(1)
        if size > run.n:
            out[rows] = np.nan
            continue
        for part in _parts(first, size, brain.shape[1]):
            low = int(np.clip(first[part].min(), 0, run.n - size))
            high = int(np.clip(first[part].max() + size, low + size, run.n))
            there = use[run.start + low : run.start + high]
            block = np.asarray(brain.values[run.start + low : run.start + high], np.float64)
            if not there.all():
                block = np.where(there[:, None], block, 0.0)
            at = np.clip(first[part] - low, 0, high - low - size)
            count = _sums(there[:, None], size)[at, 0]
            unknown = beyond[part] | (count < least * size)
            unused[rows[part]] = unknown.any(1) & ~short[rows[part]]
            sums, mine = _sums(block, size), slice(rows[part.start], rows[part.stop - 1] + 1)
            for k in range(len(lags)):
                means = sums[at[:, k]] / np.maximum(count[:, k], 1)[:, None]
                out[mine, k :: len(lags)] = np.where(unknown[:, k, None], np.nan, means)
    return out, short, unused


def _sums(values: np.ndarray, size: int) -> np.ndarray:
    """(n − size + 1, columns) the sum of `size` rows from each row on."""
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0, dtype=np.float64)])
    return sums[size:] - sums[:-size]


def _parts(first: np.ndarray, size: int, n_columns: int) -> Iterator[slice]:
    """Neighbouring events whose stretch of the recording, and whose windows, are few enough numbers; at least one.

    first : (n_events, n_lags) the first sample of each window
    """
    begin = 0
    for k in range(1, len(first) + 1):
        if k < len(first):
            stretch = first[k, -1] + size - first[begin, 0]
            if max(stretch, (k + 1 - begin) * first.shape[1]) * n_columns <= NUMBERS:
                continue
        yield slice(begin, k)
        begin = k
