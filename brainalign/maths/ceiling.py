"""How close could any model come?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from brainalign.errors import SettingsError
from brainalign.maths.agreement import (
    LEAST_SAMPLES,
    complete,
    covariance_of_repeats,
    divide,
    half_correlation,
    halves_of,
    repeated,
    rows_complete,
    signal_and_noise,
    spearman_brown,
    spread_over,
)

NULL_DRAWS = 200
SPLITS_OF_OTHERS = 50  # halves per person in leave_one_out
NUMBERS_TOGETHER = 4_000_000  # responses looked at together: memory stays below a few hundred MB

Statistic = Callable[[np.ndarray], np.ndarray]  # of responses (n_targets, k, n_samples)


@dataclass(frozen=True, eq=False)
class Ceiling:
    """The best score a perfect model could reach on noisy data, with the unit it is in.

    Parameters
    ----------
    value : array (n_targets,) or (n_people, n_targets)
        The ceiling; NaN where it is not defined, negative kept.
    unit : "r" or "r2"
        "r": divide a correlation by it. "r2": a share of variance (a reliability); divide an R² by it.
    se : array, as `value`
        Standard error.
    p : array, as `value`
        One-sided, against a ceiling of zero.
    kind : str
        How it was estimated.

    Examples
    --------
    >>> Ceiling(np.array([0.64]), "r2", np.array([0.08]), np.array([0.005]), "split_half").as_r().value
    array([0.8])
    """

    value: np.ndarray
    unit: str
    se: np.ndarray
    p: np.ndarray
    kind: str

    def as_r(self) -> Ceiling:
        """The same ceiling for correlations: √value (NaN below zero), standard error by the delta method."""
        if self.unit == "r":
            return self
        root = np.sqrt(np.where(self.value >= 0, self.value, np.nan))
        slope = 2 * np.where(root > 0, root, np.nan)
        return replace(self, value=root, unit="r", se=self.se / slope)

    def as_r2(self) -> Ceiling:
        """The same ceiling for R²: value² (NaN below zero), standard error by the delta method."""
        if self.unit == "r2":
            return self
        value = np.where(self.value >= 0, self.value, np.nan)
        return replace(self, value=value**2, unit="r2", se=self.se * 2 * value)


def split_half(responses: np.ndarray, splits: int = 100, seed: int = 0, null: str = "permute") -> Ceiling:
    """Reliability of the mean over all repeats (or people), from halves of them (Spearman–Brown).

    With halves of h = ⌊k/2⌋ and r their means' correlation, averaged over splits: ρ₁ = r / (h − (h − 1) r) is the
    reliability of one repeat, ρ_k = k ρ₁ / (1 + (k − 1) ρ₁) that of the mean of all k. For odd k one repeat sits out of
    each split; 2r / (1 + r) would be wrong there. A reliability is a share of variance: divide r by its root, `as_r`.

    Parameters
    ----------
    responses : array (k, n_samples, n_targets)
        Repeats of the same stimuli, or people who met the same stimulus; averaged as they are, so bring people to one
        scale first.
    splits : int
        Random halves averaged; where there are no more distinct ones, all of them.
    seed : int
        For splits and null.
    null : "permute" or "shift"
        For p: each repeat's samples permuted (isolated stimuli), or moved round by a random amount (time series).

    Returns
    -------
    Ceiling
        (n_targets,), unit "r2". NaN where the halves do not agree (r ≤ 0) or a repeat is constant. `se`: jackknife over
        20 blocks of samples. `p`: 200 draws, so 0.005 at least.

    Raises
    ------
    InputError
        Fewer than 2 repeats or 20 samples, or a NaN.
    SettingsError
        Another `null`, or no splits.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> signal, noise = rng.standard_normal((1, 2000, 1)), rng.standard_normal((4, 2000, 1))
    >>> split_half(signal + noise).value.round(1)  # 4 repeats: 1 / (1 + 1/4)
    array([0.8])
    """
    data = complete(responses, least=2)
    if splits < 1:
        raise SettingsError(f"splits is a number of random halves, at least 1; found {splits}")
    k = data.shape[1]
    halves = halves_of(k, splits, np.random.default_rng(seed))

    def agreement(some: np.ndarray) -> np.ndarray:
        return half_correlation(covariance_of_repeats(some), halves)

    return _judge(
        data, lambda some: spearman_brown(agreement(some), k // 2, k), agreement, "r2", "split_half", null, seed
    )


def leave_one_out(subjects: np.ndarray, corrected: bool = True, seed: int = 0) -> Ceiling:
    """How well could a model predict one person: each against the mean of the others.

    The others' mean is itself noisy; divided by the root of its reliability (split halves of the others, as in
    `split_half`) the correlation is that with the signal people share. Uncorrected it is a lower bound.

    Parameters
    ----------
    subjects : array (n_people, n_samples, n_targets)
        People who met the same stimulus at the same time.
    corrected : bool
        Divide by the root of the reliability of the mean of the others.
    seed : int
        For splits and null.

    Returns
    -------
    Ceiling
        (n_people, n_targets), unit "r". NaN where the others do not agree. `se`: jackknife over 20 blocks of samples.
        `p`: of the uncorrected value, everybody's time series moved round by random amounts, 200 draws.

    Raises
    ------
    InputError
        Fewer than 3 people (2 when uncorrected) or 20 samples, or a NaN.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> shared, own = rng.standard_normal((1, 2000, 1)), rng.standard_normal((10, 2000, 1))
    >>> leave_one_out(shared + own).value.mean(0).round(1)  # √(1 / (1 + 1))
    array([0.7])
    """
    data = complete(subjects, least=3 if corrected else 2)
    k = data.shape[1]
    rng = np.random.default_rng(seed)
    halves = []
    for person in range(k if corrected else 0):
        others = np.delete(np.arange(k), person)
        a, b = halves_of(k - 1, SPLITS_OF_OTHERS, rng)
        halves.append((spread_over(a, others, k), spread_over(b, others, k)))

    def against_others(some: np.ndarray) -> np.ndarray:
        C = covariance_of_repeats(some)
        with_all = C.sum(2)
        own = np.diagonal(C, axis1=1, axis2=2)
        rest = with_all.sum(1, keepdims=True) - 2 * with_all + own
        return divide(with_all - own, np.sqrt(own * rest))

    def value(some: np.ndarray) -> np.ndarray:
        raw = against_others(some)
        if not corrected:
            return raw
        C = covariance_of_repeats(some)
        reliability = [spearman_brown(half_correlation(C, one), (k - 1) // 2, k - 1) for one in halves]
        return raw / np.sqrt(np.stack(reliability, 1))

    kind = "leave_one_out" if corrected else "leave_one_out_uncorrected"
    found = _judge(data, value, against_others, "r", kind, "shift", seed)
    return replace(found, value=found.value.T, se=found.se.T, p=found.p.T)


def ncsnr(responses: np.ndarray) -> np.ndarray:
    """Noise-ceiling signal-to-noise ratio σ_signal / σ_noise (Allen et al. 2022).

    σ_n² is the variance over repeats, pooled over stimuli with weights k_i − 1; σ_s² = max(0, variance of the stimulus
    means − σ_n² · mean(1/k_i)). Nothing has to be z-scored.

    Parameters
    ----------
    responses : array (k, n_stimuli, n_targets)
        NaN where a repeat is missing.

    Returns
    -------
    array (n_targets,)
        0 where no signal is found; inf without noise; NaN for a constant.

    Raises
    ------
    InputError
        Fewer than 2 repeats or 20 stimuli, or no stimulus repeated.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> ncsnr(2 * rng.standard_normal((1, 5000, 1)) + rng.standard_normal((3, 5000, 1))).round(1)
    array([2.])
    """
    signal, noise, _ = signal_and_noise(repeated(responses))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(signal / noise)


def noise_ceiling(responses: np.ndarray, k: int | None = None, seed: int = 0) -> Ceiling:
    """Share of variance a perfect model explains in the mean of k repeats: ncsnr² / (ncsnr² + 1/k) (Allen et al. 2022).

    Parameters
    ----------
    responses : array (repeats, n_stimuli, n_targets)
        NaN where a repeat is missing.
    k : int, optional
        Repeats averaged *in the test data*. Left out: those given, with the mean of 1/k_i where they are uneven.
    seed : int
        For the null.

    Returns
    -------
    Ceiling
        (n_targets,), unit "r2". `se`: jackknife over 20 blocks of stimuli; `p`: stimuli permuted apart in each repeat,
        200 draws.

    Raises
    ------
    InputError
        As `ncsnr`.
    SettingsError
        k below 1.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> responses = rng.standard_normal((1, 5000, 1)) + rng.standard_normal((4, 5000, 1))
    >>> noise_ceiling(responses).value.round(1), noise_ceiling(responses, k=1).value.round(1)
    (array([0.8]), array([0.5]))
    """
    if k is not None and k < 1:
        raise SettingsError(f"k is a number of repeats averaged at test, at least 1; found {k}")

    def value(some: np.ndarray) -> np.ndarray:
        signal, noise, averaged = signal_and_noise(some)
        return divide(signal, signal + noise * (averaged if k is None else 1 / k))

    return _judge(repeated(responses), value, value, "r2", "noise_ceiling", "permute", seed)


def explainable_variance(responses: np.ndarray, seed: int = 0) -> Ceiling:
    """Share of a *single* repeat's variance that repeats (Hsu 2004), corrected for their number; may be negative.

    Repeats are z-scored; EV = var(mean) / mean(var) is corrected to EV − (1 − EV) / (k − 1), which is the mean
    correlation between two repeats.

    Parameters
    ----------
    responses : array (k, n_samples, n_targets)
        Samples with a repeat missing (NaN) in any target are left out.
    seed : int
        For the null.

    Returns
    -------
    Ceiling
        (n_targets,), unit "r2" of one repeat; `se` and `p` as in `noise_ceiling`.

    Raises
    ------
    InputError
        Fewer than 2 repeats or 20 complete samples.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> explainable_variance(rng.standard_normal((1, 5000, 1)) + rng.standard_normal((4, 5000, 1))).value.round(1)
    array([0.5])
    """

    def value(some: np.ndarray) -> np.ndarray:
        C = covariance_of_repeats(some)
        sd = np.sqrt(np.diagonal(C, axis1=1, axis2=2))
        z = divide(C, sd[:, :, None] * sd[:, None, :])
        k = z.shape[1]
        return (z.sum((1, 2)) - k) / (k * (k - 1))

    return _judge(rows_complete(responses), value, value, "r2", "explainable_variance", "permute", seed)


def cc_max(responses: np.ndarray, seed: int = 0) -> Ceiling:
    """Correlation of a perfect model with the mean of all repeats (Schoppe et al. 2016).

    SP = (var(ΣR) − Σ var(R)) / (k (k − 1)) is the signal's power, CC_max = √(SP / var(mean)).

    Parameters
    ----------
    responses : array (k, n_samples, n_targets)
        Samples with a repeat missing (NaN) in any target are left out.
    seed : int
        For the null.

    Returns
    -------
    Ceiling
        (n_targets,), unit "r"; NaN where SP ≤ 0. `se` and `p` as in `noise_ceiling`, p of SP.

    Raises
    ------
    InputError
        Fewer than 2 repeats or 20 complete samples.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> cc_max(rng.standard_normal((1, 5000, 1)) + rng.standard_normal((4, 5000, 1))).value.round(1)  # √0.8
    array([0.9])
    """

    def powers(some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        C = covariance_of_repeats(some)
        k, total = C.shape[1], C.sum((1, 2))
        return (total - np.trace(C, axis1=1, axis2=2)) / (k * (k - 1)), total / k**2

    def value(some: np.ndarray) -> np.ndarray:
        signal, mean = powers(some)
        return np.sqrt(divide(np.where(signal > 0, signal, np.nan), mean))

    return _judge(rows_complete(responses), value, lambda some: powers(some)[0], "r", "cc_max", "permute", seed)


def _judge(
    data: np.ndarray, value: Statistic, evidence: Statistic, unit: str, kind: str, null: str, seed: int
) -> Ceiling:
    """Value, jackknife error and p from (n_targets, k, n_samples); `evidence` is what the null is compared with."""
    if null not in ("permute", "shift"):
        raise SettingsError(f"null is 'permute' (isolated stimuli) or 'shift' (time series); found {null!r}")
    _, k, n = data.shape
    rng = np.random.default_rng(seed)
    if null == "shift":
        orders = (np.arange(n) + rng.integers(0, n, (NULL_DRAWS, k, 1))) % n
    else:
        orders = rng.permuted(np.broadcast_to(np.arange(n), (NULL_DRAWS, k, n)), axis=2)
    together = max(1, NUMBERS_TOGETHER // (k * n))
    parts = [
        (value(some), _jackknife(some, value), _exceeded(some, evidence, orders))
        for some in (data[start : start + together] for start in range(0, len(data), together))
    ]
    found, se, p = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Ceiling(found, unit, se, p, kind)


def _jackknife(data: np.ndarray, value: Statistic) -> np.ndarray:
    """Standard error of a statistic, one contiguous block of samples left out at a time."""
    blocks = np.array_split(np.arange(data.shape[2]), LEAST_SAMPLES)
    without = np.stack([value(np.delete(data, block, axis=2)) for block in blocks])
    return np.sqrt((len(blocks) - 1) * ((without - without.mean(0)) ** 2).mean(0))


def _exceeded(data: np.ndarray, evidence: Statistic, orders: np.ndarray) -> np.ndarray:
    """One-sided p: how often repeats that no longer face one another agree as well."""
    observed = evidence(data)
    repeat = np.arange(data.shape[1])[:, None]
    count = sum((evidence(data[:, repeat, order]) >= observed).astype(int) for order in orders)
    return np.where(np.isnan(observed), np.nan, (1 + count) / (1 + len(orders)))
