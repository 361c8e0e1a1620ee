"""How much do repeats, or people, agree? The sums every noise ceiling is made of.

Arrays here are (n_targets, k repeats, n_samples).
"""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np

from brainalign.errors import InputError

LEAST_SAMPLES = 20  # one in each block of the jackknife


def covariance_of_repeats(data: np.ndarray) -> np.ndarray:
    """(n_targets, k, n) → (n_targets, k, k): every half's and every mean's variance is a sum over it."""
    mean = data.mean(2, keepdims=True)
    centred = data - mean
    # A repeat that never changes has no variance, not the one that rounding leaves of it.
    centred[np.ptp(data, axis=2) <= 1e-12 * np.abs(mean[..., 0])] = 0.0
    return centred @ centred.transpose(0, 2, 1) / data.shape[2]


def halves_of(k: int, splits: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Weights (splits, k) of the two halves' means; all distinct splits where they are no more than asked for."""
    h = k // 2
    if comb(k, h) * comb(k - h, h) // 2 <= splits:
        pairs = [
            (one, other)
            for one in combinations(range(k), h)
            for other in combinations(sorted(set(range(k)) - set(one)), h)
            if one < other
        ]
    else:
        pairs = [(order[:h], order[h : 2 * h]) for order in (rng.permutation(k) for _ in range(splits))]
    A, B = np.zeros((2, len(pairs), k))
    for row, (one, other) in enumerate(pairs):
        A[row, list(one)] = B[row, list(other)] = 1 / h
    return A, B


def half_correlation(C: np.ndarray, halves: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(n_targets,) mean over splits of aᵀCb / √(aᵀCa · bᵀCb); NaN where a repeat is constant."""
    A, B = halves
    AC, BC = A @ C, B @ C
    r = divide((AC * B).sum(2), np.sqrt((AC * A).sum(2) * (BC * B).sum(2))).mean(1)
    return np.where((np.diagonal(C, axis1=1, axis2=2) > 0).all(1), r, np.nan)


def spearman_brown(r: np.ndarray, h: int, k: int) -> np.ndarray:
    """Reliability of the mean of k from the correlation of two means of h; NaN where r is not positive."""
    r = np.where(r > 0, r, np.nan)
    one = r / (h - (h - 1) * r)
    return k * one / (1 + (k - 1) * one)


def spread_over(half: np.ndarray, places: np.ndarray, k: int) -> np.ndarray:
    """Weights over some repeats as weights over all k."""
    wide = np.zeros((len(half), k))
    wide[:, places] = half
    return wide


def signal_and_noise(data: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Variance of signal, variance of one repeat's noise, mean of 1/k_i: (n_targets,) each; NaN allowed in data."""
    there = ~np.isnan(data)
    count = there.sum(1)
    known = np.where(there, data, 0.0)
    met = count > 0  # stimuli met at least once
    stimuli = np.where(met.any(1), met.sum(1), np.nan)
    inverse = met / np.maximum(count, 1)
    mean = known.sum(1) * inverse
    within = np.einsum("tkn,tkn->t", known, known) - np.einsum("tn,tn->t", mean**2, count)
    noise = divide(np.maximum(within, 0), (count - met).sum(1))
    averaged = inverse.sum(1) / stimuli
    between = (np.einsum("tn,tn->t", mean, mean) - mean.sum(1) ** 2 / stimuli) / (stimuli - 1)
    return np.maximum(0, between - noise * averaged), noise, averaged


def divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Quotient, with NaN instead of a warning where b is 0."""
    return a / np.where(b == 0, np.nan, b)


def complete(responses: np.ndarray, least: int) -> np.ndarray:
    """(k, n, targets) → (targets, k, n) float64, checked: enough of everything and no NaN."""
    data = repeated(responses, least)
    if np.isnan(data).any():
        target, repeat, sample = np.argwhere(np.isnan(data))[0]
        raise InputError(
            f"repeat {repeat}, sample {sample}, target {target} is NaN: leave such samples out, or use noise_ceiling, "
            "which allows missing repeats"
        )
    return data


def rows_complete(responses: np.ndarray) -> np.ndarray:
    """(k, n, targets) → (targets, k, samples present in every repeat and target)."""
    data = repeated(responses)
    return repeated(data[:, :, ~np.isnan(data).any((0, 1))].transpose(1, 2, 0))


def repeated(responses: np.ndarray, least: int = 2) -> np.ndarray:
    """(k, n, targets) → (targets, k, n) float64, checked: enough of everything; NaN says that a repeat is missing."""
    array = np.asarray(responses)
    if array.ndim != 3 or not array.shape[2]:
        raise InputError(f"responses are (repeats or people, samples, targets); found shape {array.shape}")
    k, n, _ = array.shape
    if k < least:
        raise InputError(f"agreement needs at least {least} repeats or people; found {k}")
    if n < LEAST_SAMPLES:
        raise InputError(f"a ceiling needs at least {LEAST_SAMPLES} samples present in every repeat; found {n}")
    if np.isinf(array).any():
        raise InputError("responses hold infinite values; NaN says that a repeat is missing")
    data = np.ascontiguousarray(array.transpose(2, 0, 1), dtype=float)
    if (np.isnan(data).sum(1) > k - 2).all():
        raise InputError("no stimulus was repeated: there is nothing to compare")
    # Centred, so that sums of squares lose no digits to a large mean; nothing here depends on it.
    return data - divide(np.nansum(data, axis=(1, 2)), (~np.isnan(data)).sum((1, 2)))[:, None, None]
