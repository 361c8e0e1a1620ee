"""How close is a prediction to what was observed?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from brainalign.errors import InputError, SettingsError
from brainalign.maths.agreement import checked, signal_power, valued

if TYPE_CHECKING:
    from brainalign.maths.ceiling import Ceiling


def pearson(y: np.ndarray, yhat: np.ndarray) -> np.ndarray:
    """Correlation of each column of `y` with the same column of `yhat`, its sign kept.

    Parameters
    ----------
    y, yhat : array (n_samples, n_targets)
        Observed and predicted.

    Returns
    -------
    array (n_targets,)
        r; NaN where either column is constant up to rounding, or holds a NaN.

    Raises
    ------
    InputError
        Arrays that are not two-dimensional or not of the same shape.

    Examples
    --------
    >>> y = np.array([[1.0, 1.0], [2.0, 1.0], [4.0, 1.0]])
    >>> pearson(y, 3 * y)
    array([ 1., nan])
    """
    return pearson_within(y, yhat, np.zeros(len(np.asarray(y)), int))


def pearson_within(y: np.ndarray, yhat: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Correlation over all rows, after centring `y` and `yhat` within each test fold.

    Without the centring, held-out predictions carry each fold's training mean, which is low where the fold's own mean
    is high: pure noise then scores about −0.3 under strong shrinkage.

    Parameters
    ----------
    y, yhat : array (n_samples, n_targets)
        Observed and predicted.
    fold : array (n_samples,)
        The test fold of each row: any labels.

    Returns
    -------
    array (n_targets,)
        r; NaN where either column is constant within every fold.

    Raises
    ------
    InputError
        Shapes that do not agree.

    Examples
    --------
    >>> y = np.array([[1.0], [2.0], [11.0], [12.0]])
    >>> yhat = np.array([[6.0], [7.0], [2.0], [3.0]])
    >>> pearson_within(y, yhat, [0, 0, 1, 1]), pearson(y, yhat).round(2)
    (array([1.]), array([-0.94]))
    """
    y, yhat = _pair(y, yhat)
    labels = _labels(fold, len(y))
    a, b = (centre_within(values, labels) for values in (y, yhat))
    # Sums of squares at the level of rounding are a constant column, not a signal.
    moving = (_sum_squares(a) > rounding(y)) & (_sum_squares(b) > rounding(yhat))
    scale = np.where(moving, np.sqrt(_sum_squares(a) * _sum_squares(b)), np.nan)
    return np.clip(np.einsum("nt,nt->t", a, b) / scale, -1, 1)


def pearson_fold_mean(y: np.ndarray, yhat: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Mean over test folds of the correlation within each.

    Parameters
    ----------
    y, yhat : array (n_samples, n_targets)
        Observed and predicted.
    fold : array (n_samples,)
        The test fold of each row: any labels.

    Returns
    -------
    array (n_targets,)
        Mean r over the folds in which it is defined; NaN where it is defined in none.

    Raises
    ------
    InputError
        Shapes that do not agree.

    Examples
    --------
    >>> y = np.array([[1.0], [2.0], [11.0], [12.0]])
    >>> pearson_fold_mean(y, np.array([[1.0], [2.0], [3.0], [2.0]]), [0, 0, 1, 1])
    array([0.])
    """
    y, yhat = _pair(y, yhat)
    labels = _labels(fold, len(y))
    r = np.stack([pearson(y[labels == one], yhat[labels == one]) for one in np.unique(labels)])
    defined = ~np.isnan(r)
    return np.where(defined, r, 0).sum(0) / np.where(defined.any(0), defined.sum(0), np.nan)


def r2(y: np.ndarray, yhat: np.ndarray, mean: np.ndarray | None = None) -> np.ndarray:
    """Share of variance explained: 1 − Σ(y − ŷ)² / Σ(y − mean)².

    Parameters
    ----------
    y, yhat : array (n_samples, n_targets)
        Observed and predicted.
    mean : array (n_targets,) or (n_samples, n_targets), optional
        What one would predict knowing nothing: the mean of the *training* rows, per target or (over several folds)
        per row. Left out: each target's own mean over `y`, which a prediction has to beat in hindsight.

    Returns
    -------
    array (n_targets,)
        At most 1; negative where the mean would have done better; NaN where `y` never leaves the mean.

    Raises
    ------
    InputError
        Shapes that do not agree.

    Examples
    --------
    >>> y = np.array([[1.0], [2.0], [3.0]])
    >>> r2(y, y), r2(y, np.full((3, 1), 2.0)), r2(y, y - 1, mean=[2.0])
    (array([1.]), array([0.]), array([-0.5]))
    """
    y, yhat = _pair(y, yhat)
    return 1 - _sum_squares(y.astype(float) - yhat) / _total(y, mean)


def r2_split(y: np.ndarray, parts: np.ndarray, mean: np.ndarray | None = None) -> np.ndarray:
    """Each band's part of the joint R² (product measure); over bands the parts sum to it.

    With d = y − mean and ŷ − mean = Σ_b p_b,

        R² = 1 − ‖d − Σ_b p_b‖² / ‖d‖² = (2 dᵀΣ_b p_b − ‖Σ_c p_c‖²) / ‖d‖² = Σ_b p_bᵀ(2d − Σ_c p_c) / ‖d‖²

    and the term of band b is its part. What two bands predict alike is shared out between them, and a part may be
    negative. Source: Hoffman (1960), Pratt (1987); for ridge, Dupré la Tour et al. (2022), whose `r2_score_split` is
    the same with y already centred.

    Parameters
    ----------
    y : array (n_samples, n_targets)
        Observed.
    parts : array (n_bands, n_samples, n_targets)
        Each band's prediction as a deviation from `mean` (`BandedRidge.predict(X, split=True)` with centred features).
    mean : array (n_targets,) or (n_samples, n_targets), optional
        The training mean, as in `r2`. Left out: each target's own mean.

    Returns
    -------
    array (n_bands, n_targets)
        Sums over bands to ``r2(y, mean + parts.sum(0), mean)``; NaN where `y` never leaves the mean.

    Raises
    ------
    InputError
        Shapes that do not agree.

    Examples
    --------
    >>> y = np.array([[3.0], [0.0], [-3.0]])
    >>> parts = np.stack([y * 2 / 3, y * 0])
    >>> r2_split(y, parts).round(3).tolist()
    [[0.889], [0.0]]
    """
    y, parts = np.asarray(y), np.asarray(parts)
    if parts.ndim != 3 or y.ndim != 2 or parts.shape[1:] != y.shape:
        raise InputError(
            f"y is (samples, targets) and parts (bands, samples, targets); found {y.shape} and {parts.shape}"
        )
    deviation = y - (y.mean(0, dtype=float) if mean is None else np.asarray(mean, float))
    rest = 2 * deviation - parts.sum(0, dtype=float)
    return np.einsum("bnt,nt->bt", parts, rest) / _total(y, mean)


def cc_norm(responses: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Correlation with the signal that repeats share: cov(ȳ, ŷ) / √(SP · var ŷ) (Schoppe et al. 2016).

    SP, the signal's power, is the mean covariance of two repeats. With as many repeats of every stimulus this is
    ``pearson(ȳ, ŷ) / cc_max(responses)``.

    Parameters
    ----------
    responses : array (k, n_stimuli, n_targets)
        NaN where a repeat is missing.
    predicted : array (n_stimuli, n_targets)

    Returns
    -------
    array (n_targets,)
        May exceed 1; NaN where SP ≤ 0 or the prediction is constant.

    Raises
    ------
    InputError
        Shapes that do not agree, or nothing repeated.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.standard_normal((5000, 1))
    >>> responses = signal + rng.standard_normal((4, 5000, 1))
    >>> cc_norm(responses, signal).round(1), pearson(responses.mean(0), signal).round(1)
    (array([1.]), array([0.9]))
    """
    mean, yhat, power = _repeated(responses, predicted)
    a, b = mean - mean.mean(0), yhat - yhat.mean(0, dtype=float)
    spread = _sum_squares(b)
    spread = np.where(spread > rounding(yhat), spread / len(b), np.nan)
    return np.einsum("nt,nt->t", a, b) / len(b) / np.sqrt(power * spread)


def signal_power_explained(responses: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """SPE = (var ȳ − var(ȳ − ŷ)) / SP, the share of the signal's power that is explained (Sahani & Linden 2003).

    Parameters
    ----------
    responses : array (k, n_stimuli, n_targets)
        NaN where a repeat is missing.
    predicted : array (n_stimuli, n_targets)

    Returns
    -------
    array (n_targets,)
        No lower bound; NaN where SP ≤ 0.

    Raises
    ------
    InputError
        Shapes that do not agree, or nothing repeated.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.standard_normal((5000, 1))
    >>> signal_power_explained(signal + rng.standard_normal((4, 5000, 1)), signal).round(1)
    array([1.])
    """
    mean, yhat, power = _repeated(responses, predicted)
    return (mean.var(0) - (mean - yhat).var(0)) / power


def _repeated(responses: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over repeats (n, t), the prediction, and signal power (t,), NaN where there is none."""
    data = checked(responses, "permute", 0)
    yhat = np.asarray(predicted)
    if yhat.shape != data.values.shape[1:]:
        raise InputError(
            f"responses are (repeats, stimuli, targets) and predictions (stimuli, targets); found {data.values.shape} "
            f"and {yhat.shape}"
        )
    there = ~np.isnan(data.values)
    if not there.any(0).all():
        stimulus = int(np.argwhere(~there.any(0))[0][0])
        raise InputError(f"stimulus {stimulus} has no response in some target: leave it out of both arrays")
    power = valued(data, lambda sums: signal_power(sums)[0])
    return np.nanmean(data.values, axis=0, dtype=float), yhat, np.where(power > 0, power, np.nan)


def normalise(score: np.ndarray, unit: str, ceiling: Ceiling, alpha: float = 0.05) -> np.ndarray:
    """Score divided by the ceiling of the same unit, where that ceiling is distinguishable from zero.

    Values above 1 and signs are kept. Dropping targets by significance biases averages upwards when samples are few:
    show how many were dropped, and average as a ratio of means or a median, never as a mean of these ratios.

    Parameters
    ----------
    score : array (n_targets,), or any shape that broadcasts against the ceiling
        r or R².
    unit : "r" or "r2"
        What `score` is.
    ceiling : Ceiling
        In the same unit.
    alpha : float
        NaN where ``ceiling.p > alpha``.

    Returns
    -------
    array
        score / ceiling; NaN where the ceiling is NaN, not above zero, or not distinguishable from zero.

    Raises
    ------
    InputError
        A ceiling of the other unit.
    SettingsError
        A unit other than "r" and "r2".

    Examples
    --------
    >>> from brainalign.maths.ceiling import Ceiling
    >>> value, se, p = np.array([[0.64, 0.01], [0.02, 0.05], [0.005, 0.4]])
    >>> normalise(np.array([0.4, 0.1]), "r", Ceiling(value, "r2", se, p, "split_half").as_r())
    array([0.5, nan])
    """
    if unit not in ("r", "r2"):
        raise SettingsError(f"a score is in 'r' or 'r2'; found {unit!r}")
    if ceiling.unit != unit:
        raise InputError(
            f"the score is in {unit} and the ceiling in {ceiling.unit}: divide by ceiling.as_{unit}(), "
            "or normalise the other score"
        )
    return np.asarray(score, float) / np.where(ceiling.told_from_zero(alpha), ceiling.value, np.nan)


def _pair(y: np.ndarray, yhat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, yhat = np.asarray(y), np.asarray(yhat)
    if y.ndim != 2 or y.shape != yhat.shape:
        raise InputError(
            f"observed and predicted are both (samples, targets); found {y.shape} and {yhat.shape}"
            + ("; give a single target as y[:, None]" if y.ndim == 1 else "")
        )
    return y, yhat


def _labels(fold: np.ndarray, n_samples: int) -> np.ndarray:
    labels = np.asarray(fold)
    if labels.shape != (n_samples,):
        raise InputError(f"fold is one label per sample, ({n_samples},); found shape {labels.shape}")
    return labels


def centre_within(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n_samples, n_targets) less each target's mean over the samples of the same label (test fold)."""
    centred = values.astype(float)
    for one in np.unique(labels):
        centred[labels == one] -= centred[labels == one].mean(0)
    return centred


def _sum_squares(values: np.ndarray) -> np.ndarray:
    return np.einsum("nt,nt->t", values, values)


def rounding(values: np.ndarray) -> np.ndarray:
    """(n_targets,) the sum of squares that rounding alone may leave of a constant column after centring."""
    stored = float(np.finfo(values.dtype).eps) if np.issubdtype(values.dtype, np.floating) else 0.0
    summed = len(values) * float(np.finfo(float).eps)  # a mean over n rows is off by up to n roundings
    return len(values) * (max(2 * stored, summed) * np.abs(values).max(0, initial=0).astype(float)) ** 2


def _total(y: np.ndarray, mean: np.ndarray | None) -> np.ndarray:
    """(n_targets,) Σ(y − mean)², NaN where that is rounding."""
    deviation = y - (y.mean(0, dtype=float) if mean is None else np.asarray(mean, float))
    total = _sum_squares(deviation)
    return np.where(total > rounding(y), total, np.nan)
