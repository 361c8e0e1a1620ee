"""How close could any model come?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from brainalign.errors import SettingsError
from brainalign.maths.agreement import (
    BLOCKS,
    Sums,
    checked,
    covariances,
    divide,
    half_correlation,
    half_covariances,
    halves_of,
    judged,
    mean_correlation,
    signal_and_noise,
    signal_power,
    spearman_brown,
    valued,
)

SPLITS_OF_OTHERS = 50  # halves per person in leave_one_out


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
    freedom : int, or array as `value`
        Degrees of freedom of `se`.

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
    freedom: int | np.ndarray = BLOCKS - 1

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

    def told_from_zero(self, alpha: float = 0.05) -> np.ndarray:
        """Where a score may be divided by it: above zero, and not there by chance as far as its own test says.

        p is NaN of a ceiling that was not tested, such as one that came with the data.
        """
        return (self.value > 0) & ~(self.p > alpha)

    def interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Confidence interval of the value: ± t · se, not cut at 0 or 1.

        Examples
        --------
        >>> one = Ceiling(np.array([0.64]), "r2", np.array([0.08]), np.array([0.005]), "split_half")
        >>> np.round(one.interval(), 2).ravel().tolist()
        [0.47, 0.81]
        """
        from scipy.stats import t

        reach = t.ppf((1 + level) / 2, self.freedom) * self.se
        return self.value - reach, self.value + reach


def split_half(
    responses: np.ndarray,
    splits: int | str = 100,
    seed: int = 0,
    null: str = "permute",
    corrected: bool = True,
    k: float | None = None,
) -> Ceiling:
    """Reliability of the mean over all repeats (or people), from halves of them (Spearman–Brown).

    With halves of h = ⌊k/2⌋ and r their means' correlation, averaged over splits: ρ₁ = r / (h − (h − 1) r) is the
    reliability of one repeat, ρ_k = k ρ₁ / (1 + (k − 1) ρ₁) that of the mean of all k. For odd k one repeat sits out of
    each split; 2r / (1 + r) would be wrong there. Where stimuli were met unequally often, h and k are 1 / mean(1/h_i)
    and 1 / mean(1/k_i). A reliability is a share of variance: divide r by its root, `as_r`.

    Parameters
    ----------
    responses : array (k, n_samples, n_targets)
        Repeats of the same stimuli, NaN where one is missing; or people who met the same stimulus, or runs of the same
        conditions; averaged as they are, so bring people to one scale first.
    splits : int or "odd-even"
        Random halves averaged; where there are no more distinct ones, all of them.
    seed : int
        For splits and null.
    null : "permute" or "shift"
        Isolated stimuli, or a time series: p rearranges each repeat's stimuli at random, or moves the series round;
        the blocks left out for `se` are random, or neighbours.
    corrected : bool
        False: the reliability of a half, which is the halves' own correlation.
    k : float, optional
        Repeats averaged *in the test data*. Left out: those given; where counts differ, 1 / mean(1/k_i).

    Returns
    -------
    Ceiling
        (n_targets,), unit "r2". NaN where the halves do not agree (r ≤ 0) or a repeat is constant. `se`: jackknife over
        20 blocks of samples. `p`: 1,000 rearrangements, so 0.001 at least.

    Raises
    ------
    InputError
        Fewer than 2 repeats or 5 samples, or no stimulus repeated.
    SettingsError
        Another `null`, or no splits.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> signal, noise = rng.standard_normal((1, 2000, 1)), rng.standard_normal((4, 2000, 1))
    >>> split_half(signal + noise).value.round(1)  # 4 repeats: 1 / (1 + 1/4)
    array([0.8])
    """
    _check_averaged(k)
    if splits != "odd-even" and not (isinstance(splits, int) and splits >= 1):
        raise SettingsError(f"splits is a number of random halves, at least 1, or 'odd-even'; found {splits!r}")

    def value(sums: Sums) -> np.ndarray:
        r, half, whole = half_correlation(sums, splits, seed)
        return spearman_brown(r, half, whole if k is None else k) if corrected else r

    return _ceiling(responses, value, "r2", "split_half" if corrected else "split_half_uncorrected", seed, null)


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
        For splits.

    Returns
    -------
    Ceiling
        (n_people, n_targets), unit "r". NaN where the others do not agree. `se`: jackknife over 20 blocks of samples.
        `p`: the person's time series moved round the others', by every number of samples.

    Raises
    ------
    InputError
        Fewer than 3 people (2 when uncorrected) or 5 samples, or a NaN.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> shared, own = rng.standard_normal((1, 2000, 1)), rng.standard_normal((10, 2000, 1))
    >>> leave_one_out(shared + own).value.mean(0).round(1)  # √(1 / (1 + 1))
    array([0.7])
    """
    data = checked(subjects, "shift", seed, least=3 if corrected else 2, gaps=False)
    k = len(data.values)
    halves = [_halves_without(person, k, seed) for person in range(k if corrected else 0)]

    def value(sums: Sums) -> np.ndarray:
        ((_, C),) = covariances(sums)
        own, with_all = np.einsum("ii...->i...", C), C.sum(1)
        rest = with_all.sum(0) - 2 * with_all + own
        raw = divide(with_all - own, np.sqrt(own * rest))
        if not corrected:
            return raw
        reliability = []
        for A, B in halves:
            between, one, other = half_covariances(C, A, B)
            r = divide(between, np.sqrt(one * other)).mean(0)
            reliability.append(spearman_brown(r, (k - 1) // 2, k - 1))
        return raw / np.sqrt(np.stack(reliability))

    found, se, p = judged(data, value, n_out=k)
    freedom = int(data.blocks.max())
    return Ceiling(found, "r", se, p, "leave_one_out" if corrected else "leave_one_out_uncorrected", freedom)


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
        Fewer than 2 repeats or 5 stimuli, or no stimulus repeated.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> ncsnr(2 * rng.standard_normal((1, 5000, 1)) + rng.standard_normal((3, 5000, 1))).round(1)
    array([2.])
    """

    def value(sums: Sums) -> np.ndarray:
        signal, noise, _ = signal_and_noise(sums)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.sqrt(signal / noise)

    return valued(checked(responses, "permute", 0), value)


def noise_ceiling(responses: np.ndarray, k: float | None = None, seed: int = 0, null: str = "permute") -> Ceiling:
    """Share of variance a perfect model explains in the mean of k repeats: ncsnr² / (ncsnr² + 1/k) (Allen et al. 2022).

    Parameters
    ----------
    responses : array (repeats, n_stimuli, n_targets)
        NaN where a repeat is missing.
    k : float, optional
        Repeats averaged *in the test data*. Left out: those given; where counts differ, 1 / mean(1/k_i).
    seed : int
        For null and blocks.
    null : "permute" or "shift"
        Isolated stimuli or a time series, as in `split_half`.

    Returns
    -------
    Ceiling
        (n_targets,), unit "r2". `se`: jackknife over 20 blocks of stimuli; `p`: each repeat's stimuli rearranged,
        1,000 draws.

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
    _check_averaged(k)

    def value(sums: Sums) -> np.ndarray:
        signal, noise, averaged = signal_and_noise(sums)
        return divide(signal, signal + noise * (averaged if k is None else 1 / k))

    return _ceiling(responses, value, "r2", "noise_ceiling", seed, null)


def explainable_variance(responses: np.ndarray, seed: int = 0, null: str = "permute") -> Ceiling:
    """Share of a *single* repeat's variance that repeats (Hsu 2004), corrected for their number; may be negative.

    Repeats are z-scored; EV = var(mean) / mean(var) is corrected to EV − (1 − EV) / (k − 1), which is the mean
    correlation between two repeats.

    Parameters
    ----------
    responses : array (k, n_samples, n_targets)
        NaN where a repeat is missing: pairs of repeats that are there are compared.
    seed : int
        For null and blocks.
    null : "permute" or "shift"
        Isolated stimuli or a time series, as in `split_half`.

    Returns
    -------
    Ceiling
        (n_targets,), unit "r2" of one repeat; `se` and `p` as in `noise_ceiling`.

    Raises
    ------
    InputError
        Fewer than 2 repeats or 5 stimuli, or no stimulus repeated.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> explainable_variance(rng.standard_normal((1, 5000, 1)) + rng.standard_normal((4, 5000, 1))).value.round(1)
    array([0.5])
    """
    return _ceiling(responses, mean_correlation, "r2", "explainable_variance", seed, null)


def cc_max(responses: np.ndarray, seed: int = 0, null: str = "permute") -> Ceiling:
    """Correlation of a perfect model with the mean of all repeats (Schoppe et al. 2016).

    SP = (var(ΣR) − Σ var(R)) / (k (k − 1)) is the signal's power, CC_max = √(SP / var(mean)).

    Parameters
    ----------
    responses : array (k, n_samples, n_targets)
        NaN where a repeat is missing: pairs of repeats that are there are compared.
    seed : int
        For null and blocks.
    null : "permute" or "shift"
        Isolated stimuli or a time series, as in `split_half`.

    Returns
    -------
    Ceiling
        (n_targets,), unit "r"; NaN where SP ≤ 0. `se` and `p` as in `noise_ceiling`.

    Raises
    ------
    InputError
        Fewer than 2 repeats or 5 stimuli, or no stimulus repeated.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> cc_max(rng.standard_normal((1, 5000, 1)) + rng.standard_normal((4, 5000, 1))).value.round(1)  # √0.8
    array([0.9])
    """

    def value(sums: Sums) -> np.ndarray:
        signal, mean = signal_power(sums)
        return np.sqrt(divide(np.where(signal > 0, signal, np.nan), mean))

    return _ceiling(responses, value, "r", "cc_max", seed, null)


def _ceiling(
    responses: np.ndarray, value: Callable[[Sums], np.ndarray], unit: str, kind: str, seed: int, null: str
) -> Ceiling:
    data = checked(responses, null, seed)
    found, se, p = judged(data, value)
    return Ceiling(found, unit, se, p, kind, int(data.blocks.max()))


def _check_averaged(k: float | None) -> None:
    if k is not None and k < 1:
        raise SettingsError(f"k is a number of repeats averaged at test, at least 1; found {k}")


def _halves_without(person: int, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Halves of the others, as weights (splits, k) over everybody."""
    A, B = (np.insert(half, person, 0, axis=1) for half in halves_of(k - 1, SPLITS_OF_OTHERS, seed + person))
    return A, B
