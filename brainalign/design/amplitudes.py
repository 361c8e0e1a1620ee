"""From a recording and its models to amplitudes, a batch of voxels at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from brainalign.design.choosing import Likelihood, choose_response
from brainalign.design.estimates import How, InseparableError, lsa, lss
from brainalign.design.shrunken import LeftOut, Shrinker
from brainalign.design.trials import RunModel, Trials
from brainalign.errors import InputError, SettingsError
from brainalign.scratch import span_of
from brainalign.signals import Signal

NUMBERS = 1 << 22  # of the recording that are looked at together, float64
CENTRED = 0.5  # a run's mean below this many SDs is no baseline to take a share of

Estimate = Callable[[list[np.ndarray]], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Data of each run (n, m) → amplitudes (n_rows, m, lags), which response (m,), which fraction (m,)."""


Weights = list[list[np.ndarray]]
"""For every response and run (k, lags, n): amplitudes from data."""


def weigh(models: Sequence[Sequence[RunModel]], trials: Trials, how: How, lags: int) -> Weights:
    """What `how` makes of every response and run.

    Raises
    ------
    InputError
        Trials that a run's design does not tell apart, or more regressors than volumes.
    SettingsError
        A `how` that makes something else.
    """
    return [[_weigh(model, trials, how)[:, :lags] for model in per] for per in models]


def estimator(
    models: Sequence[Sequence[RunModel]],
    weights: Weights,
    n_rows: int,
    lags: int,
    repeats: LeftOut | None,
    fractions: np.ndarray | None,
) -> Estimate:
    """What makes amplitudes of the data: everything that does not depend on them is computed here, once."""
    library = [Likelihood(per) for per in models] if len(models) > 1 else []
    shrinkers = []
    if repeats is not None and fractions is not None:
        shrinkers = [Shrinker(per, n_rows, repeats, fractions) for per in models]

    def estimate(data: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        m = data[0].shape[1]
        best = choose_response(library, models[0], data) if library else np.zeros(m, int)
        out, fraction = np.zeros((n_rows, m, lags)), np.ones(m)
        for k in np.unique(best):
            mine = np.flatnonzero(best == k)
            some = data if len(mine) == m else [y[:, mine] for y in data]
            if shrinkers:
                out[:, mine, 0], fraction[mine] = shrinkers[k](some)
                continue
            for model, w, y in zip(models[k], weights[k], some, strict=True):
                for lag in range(lags):
                    out[model.rows[:, None], mine, lag] = w[:, lag] @ y
        return out, best, fraction

    return estimate


def _weigh(model: RunModel, trials: Trials, how: How) -> np.ndarray:
    """What `how` makes of a run; trials that it cannot tell apart are named as a person would."""
    n, k, b = model.expected.shape
    if not k:
        return np.zeros((0, b, n))
    q = model.nuisance.shape[1] + model.lost.shape[1]
    conditions = trials.conditions[model.rows]
    if how is lsa and k * b + q > n:
        hint = "take how=lss" if _lss_can(model, conditions) else "leave trials out, or take a shorter nuisance"
        raise InputError(
            f"run {model.run}: {k * b} regressors for {k} trials and {q} for nuisance, but {n} volumes in use: {hint}"
        )
    try:
        weights = np.asarray(how(model.expected, conditions))
    except InseparableError as error:
        first, *second = (trials.names[model.rows[one]] for one in error.trials)
        hint = ", or take how=lss" if how is lsa and _lss_can(model, conditions) else ""
        raise InputError(
            f"run {model.run}: {first} and {second[0] if second else 'the others'} are not told apart, given the "
            f"response {model.hrf}: leave one out{hint}"
        ) from error
    if weights.shape != (k, b, n) or weights.dtype.kind not in "fiu":
        raise SettingsError(
            f"how makes weights (trials, functions, volumes), here {(k, b, n)}; {said_of(how)} made an array of "
            f"{weights.dtype} {weights.shape}"
        )
    return weights


def said_of(how: How) -> str:
    """What a model is called."""
    return str(getattr(how, "__name__", repr(how)))


def _lss_can(model: RunModel, conditions: np.ndarray) -> bool:
    """Whether `lss` tells the trials apart that `lsa` does not."""
    try:
        lss(model.expected, conditions)
    except InseparableError:
        return False
    return True


def estimated(
    brain: Signal, columns: np.ndarray, estimate: Estimate, models: Sequence[RunModel], unit: str
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Some columns at a time: which, their amplitudes (n_rows, m, lags), which response and which fraction (m,)."""
    step = max(1, NUMBERS // max(1, brain.shape[0]))
    for start in range(0, len(columns), step):
        some = columns[start : start + step]
        which, data = span_of(some), []
        for model in models:
            low, high = model.volumes[0], model.volumes[-1] + 1
            y = np.asarray(brain.values[low:high][:, which], np.float64)[model.volumes - low]
            data.append(_percent(y, model.run, brain.columns.iloc[some]) if unit == "percent" else y)
        yield some, *estimate(data)


def _percent(y: np.ndarray, run: str, columns: pd.DataFrame) -> np.ndarray:
    mean, spread = y.mean(0), y.std(0)
    odd = np.flatnonzero(mean <= CENTRED * spread)
    if len(odd):
        what = ", ".join(f"{k} {v}" for k, v in columns.iloc[odd[0]].items())
        raise InputError(
            f"run {run}: the mean of {what} is {mean[odd[0]]:.3g}, its SD {spread[odd[0]]:.3g}: there is no baseline "
            "to take per cent of; give the recording as it was scanned, or take unit='raw'"
        )
    return y * (100 / mean)
