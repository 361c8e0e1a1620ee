"""How well could a model do that people share?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from brainalign.errors import InputError, SettingsError
from brainalign.maths.agreement import BLOCKS, CHANCES, LEAST_SAMPLES, Sums, checked, covariances, divide, judged
from brainalign.maths.ceiling import Ceiling

TAUS = np.geomspace(0.2, 200, 120)  # people; 200 is a curve that has hardly begun to bend


class Bounds(NamedTuple):
    """Between which values the best model that people share must lie, for each person."""

    lower: Ceiling
    upper: Ceiling


def rdm_bounds(rdms: np.ndarray, method: str = "spearman", average: str = "ranks", seed: int = 0) -> Bounds:
    """Lower and upper bound of a model's correlation with each person's dissimilarities (Nili et al. 2014).

    Lower: a person against the mean of the others; upper: against the mean of all, the person included. They bound a
    model people share; a person's own model may exceed them.

    Parameters
    ----------
    rdms : array (n_people, n_stimuli, n_stimuli) or (n_people, n_pairs)
        Dissimilarities; of square ones the upper triangle is read. Pairs in the order of `numpy.triu_indices`.
    method : "spearman" or "pearson"
    average : "ranks" or "dissimilarities"
        What Spearman's means are taken of; ranks are the best shared model's (Nili et al.), and no person with large
        numbers outweighs the others. Pearson's are of dissimilarities.
    seed : int
        For p and the blocks of stimuli.

    Returns
    -------
    Bounds
        Two Ceilings (n_people,), unit "r". `se`: jackknife over 20 blocks of stimuli, every pair of theirs left out.
        `p`: of the lower bound, the person's stimuli relabelled at random (Mantel), 1,000 times.

    Raises
    ------
    InputError
        Fewer than 2 people or 5 stimuli, a number of pairs that no number of stimuli has, or a NaN.
    SettingsError
        Another method or average.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> shared, own = rng.random((1, 20, 20)), rng.random((4, 20, 20))
    >>> found = rdm_bounds(shared + own)
    >>> bool((found.lower.value < found.upper.value).all()), found.upper.unit
    (True, 'r')
    """
    pairs, n = _pairs_of(rdms)
    if method not in ("spearman", "pearson"):
        raise SettingsError(f"method is 'spearman' or 'pearson'; found {method!r}")
    if average not in ("ranks", "dissimilarities"):
        raise SettingsError(f"average is 'ranks' or 'dissimilarities'; found {average!r}")
    ranked = method == "spearman" and average == "ranks"
    one, other = np.triu_indices(n, 1)
    rng = np.random.default_rng(seed)
    block = rng.permutation(np.arange(n) * min(BLOCKS, n) // n)
    whole = _against_means(pairs, method, ranked)
    kept = [(block[one] != b) & (block[other] != b) for b in range(block.max() + 1)]
    without = np.stack([_against_means(pairs[:, some], method, ranked) for some in kept])
    se = np.sqrt(((without - without.mean(0)) ** 2).sum(0) * (len(without) - 1) / len(without))
    p = _mantel(pairs, one, other, n, method, ranked, rng)
    lower, upper = (
        Ceiling(value, "r", error, p, f"rdm_{name}", int(block.max()))
        for value, error, name in zip(whole, se, ("lower", "upper"), strict=True)
    )
    return Bounds(lower, upper)


def extrapolated(subjects: np.ndarray, draws: int = 20, seed: int = 0) -> Ceiling:
    """How well infinitely many others would predict a person, by a curve through growing pools (Schrimpf et al. 2020).

    The correlation of a person with the mean of x others, averaged over people and pools, is fitted by
    v₀ (1 − exp(−x / τ)) with v₀ between 0 and 1. The curve is a convention: under signal plus noise the correlation
    grows as √(x / (1 + (x − 1) ρ)), later than the curve, and v₀ comes out low: with 16 people .66 for .71 where people
    share half their variance, .41 for .48 where they share a quarter. `leave_one_out` does without the curve.

    Parameters
    ----------
    subjects : array (n_people, n_samples, n_targets)
        People who met the same stimulus at the same time.
    draws : int
        Pools of each size for each person.
    seed : int
        For the pools.

    Returns
    -------
    Ceiling
        v₀ (n_targets,), unit "r"; `interval` is to be reported with it. `se`: jackknife over 20 blocks of samples.
        `p`: everybody's time series moved round by random amounts.

    Raises
    ------
    InputError
        Fewer than 4 people or 5 samples, or a NaN.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> shared, own = rng.standard_normal((1, 2000, 1)), rng.standard_normal((12, 2000, 1))
    >>> extrapolated(shared + own).value.round(1)  # √(1 / (1 + 1))
    array([0.7])
    """
    data = checked(subjects, "shift", seed, least=4, gaps=False)
    k = len(data.values)
    if draws < 1:
        raise SettingsError(f"draws is a number of pools of each size, at least 1; found {draws}")
    sizes = np.unique(np.linspace(1, k - 1, 10).round().astype(int))
    pools = _pools(k, sizes, draws, np.random.default_rng(seed))

    def value(sums: Sums) -> np.ndarray:
        ((_, C),) = covariances(sums)
        own = np.einsum("ii...->i...", C)
        flat = C.reshape(k, k, -1)
        curve = []
        for weights in pools:  # (people, draws, people)
            with_pool = np.einsum("ijt,idj->idt", flat, weights)
            products = np.einsum("idj,idl->idjl", weights, weights).reshape(k * draws, k * k)
            variance = (products @ flat.reshape(k * k, -1)).reshape(k, draws, -1)
            r = divide(with_pool, np.sqrt(own.reshape(k, 1, -1) * variance))
            curve.append(r.mean((0, 1)))
        return _asymptote(sizes, np.stack(curve)).reshape(C.shape[2:])

    found, se, p = judged(data, value)
    return Ceiling(found, "r", se, p, "extrapolated", int(data.blocks.max()))


def _pools(k: int, sizes: np.ndarray, draws: int, rng: np.random.Generator) -> list[np.ndarray]:
    """For every size weights (people, draws, people) of the mean of that many others."""
    out = []
    for size in sizes:
        weights = np.zeros((k, draws, k))
        for person in range(k):
            others = np.delete(np.arange(k), person)
            for draw in range(draws):
                weights[person, draw, rng.choice(others, size, replace=False)] = 1 / size
        out.append(weights)
    return out


def _asymptote(sizes: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """v₀ (m,) of the least-squares fit of v₀ (1 − exp(−x / τ)), 0 ≤ v₀ ≤ 1, to (sizes, m)."""
    shape = 1 - np.exp(-sizes[:, None] / TAUS)
    height = np.clip((shape.T @ curve) / (shape**2).sum(0)[:, None], 0, 1)
    error = (shape**2).sum(0)[:, None] * height**2 - 2 * height * (shape.T @ curve)
    best = np.where(np.isnan(curve).any(0), 0, np.argmin(np.nan_to_num(error, nan=np.inf), axis=0))
    return height[best, np.arange(curve.shape[1])]


def _pairs_of(rdms: np.ndarray) -> tuple[np.ndarray, int]:
    """(people, pairs) float64 and the number of stimuli."""
    array = np.asarray(rdms, float)
    if array.ndim == 3 and array.shape[1] == array.shape[2]:
        n = array.shape[1]
        array = array[:, *np.triu_indices(n, 1)]
    elif array.ndim == 2:
        n = round((1 + np.sqrt(1 + 8 * array.shape[1])) / 2)
        if n * (n - 1) // 2 != array.shape[1]:
            raise InputError(f"{array.shape[1]} pairs are not n (n − 1) / 2 for any number of stimuli n")
    else:
        raise InputError(f"RDMs are (people, stimuli, stimuli) or (people, pairs); found shape {array.shape}")
    if len(array) < 2 or n < LEAST_SAMPLES:
        raise InputError(f"bounds need at least 2 people and {LEAST_SAMPLES} stimuli; found {len(array)} and {n}")
    if not np.isfinite(array).all():
        person, pair = np.argwhere(~np.isfinite(array))[0]
        raise InputError(f"the dissimilarities of person {person} hold a NaN or infinite value (pair {pair})")
    return array, n


def _against_means(pairs: np.ndarray, method: str, ranked: bool) -> np.ndarray:
    """(2, people): correlation with the mean of the others, and of all."""
    values = rankdata(pairs, axis=1) if ranked else pairs
    rest = (values.sum(0) - values) / (len(values) - 1)
    return np.stack([_correlation(values, rest, method), _correlation(values, values.mean(0)[None], method)])


def _correlation(a: np.ndarray, b: np.ndarray, method: str) -> np.ndarray:
    if method == "spearman":
        a, b = rankdata(a, axis=-1), rankdata(b, axis=-1)
    a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    return divide((a * b).sum(-1), np.sqrt((a**2).sum(-1) * (b**2).sum(-1)))


def _mantel(
    pairs: np.ndarray,
    one: np.ndarray,
    other: np.ndarray,
    n: int,
    method: str,
    ranked: bool,
    rng: np.random.Generator,
) -> np.ndarray:
    """(people,) one-sided p of the correlation with the mean of the others."""
    values = rankdata(pairs, axis=1) if ranked else pairs
    rest = values.sum(0) - values
    if method == "spearman":
        values, rest = rankdata(values, axis=1), rankdata(rest, axis=1)
    rest = rest - rest.mean(1, keepdims=True)
    observed = np.einsum("ip,ip->i", values, rest)
    place = np.zeros((n, n), int)
    place[one, other] = place[other, one] = np.arange(len(one))
    exceeded = np.zeros(len(pairs))
    for order in (rng.permutation(n) for _ in range(CHANCES)):
        exceeded += np.einsum("ip,ip->i", values[:, place[order[one], order[other]]], rest) >= observed
    return np.where(np.ptp(values, axis=1) == 0, np.nan, (1 + exceeded) / (1 + CHANCES))
