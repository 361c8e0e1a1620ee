"""How much do repeats, or people, agree? The sums every noise ceiling is made of.

Everything a ceiling needs of its data is a sum over stimuli: of each repeat, and of each product of two repeats. They
are kept apart for BLOCKS blocks of stimuli, so that the jackknife subtracts and never sums again. Stimuli met more
often than others are summed apart; how often is their `count`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from scipy.fft import irfft, rfft

from brainalign.errors import InputError, SettingsError

BLOCKS = 20  # of stimuli, left out one at a time
LEAST_SAMPLES = 5
CHANCES = 1000  # rearrangements drawn for p
NUMBERS_TOGETHER = 2_000_000  # responses looked at together: a few times 16 MB
NULLS = ("permute", "shift")
ROUNDING = 1e-12  # of a repeat's mean square: less is no variance


@dataclass(frozen=True)
class Group:
    """The stimuli met `count` times: sums over those of each block, leading axes as given.

    products : (count, count, .., n_targets)
    sums     : (count, .., n_targets)
    n        : (.., 1) stimuli
    """

    products: np.ndarray
    sums: np.ndarray
    n: np.ndarray

    @property
    def count(self) -> int:
        """How often each stimulus was met."""
        return len(self.sums)


Sums = list[Group]
Statistic = Callable[[Sums], np.ndarray]


@dataclass(frozen=True)
class Repeats:
    """Checked responses (k, n, targets), and which stimuli each target was met with how often."""

    values: np.ndarray
    null: str
    seed: int

    @property
    def blocks(self) -> np.ndarray:
        """(n,) the block of each stimulus: neighbours in a time series, drawn at random of isolated stimuli."""
        n = self.values.shape[1]
        together = np.arange(n) * min(BLOCKS, n) // n
        return together if self.null == "shift" else np.random.default_rng(self.seed).permutation(together)

    def batches(self) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        """Targets that miss the same repeats, a few at a time.

        Yields their positions, and for every number of repeats that occurs the places (count, stimuli) in the
        flattened first two axes at which a stimulus's responses stand.
        """
        k, n, n_targets = self.values.shape
        size = max(1, NUMBERS_TOGETHER // (k * max(n, k * BLOCKS)))
        for start in range(0, n_targets, size):
            here = np.arange(start, min(start + size, n_targets))
            missing = np.isnan(self.values[:, :, here[0] : here[-1] + 1])
            if not missing.any():
                yield here, [np.arange(k * n).reshape(k, n)]
                continue
            patterns, which = np.unique(missing.reshape(k * n, -1), axis=1, return_inverse=True)
            for index, pattern in enumerate(patterns.T):
                yield here[which.ravel() == index], _places(~pattern.reshape(k, n))

    def read(self, targets: np.ndarray, places: np.ndarray) -> np.ndarray:
        """(count, stimuli, targets) float64."""
        k, n, _ = self.values.shape
        whole = targets[-1] - targets[0] + 1 == len(targets)
        some = self.values[:, :, targets[0] : targets[-1] + 1] if whole else self.values[:, :, targets]
        if places.shape != (k, n):
            some = some.reshape(k * n, -1)[places]
        return some.astype(float)


def valued(data: Repeats, value: Statistic) -> np.ndarray:
    """A statistic of every target, NaN where nothing was repeated."""
    found = np.full(data.values.shape[2], np.nan)
    for targets, places in data.batches():
        if any(len(one) > 1 for one in places):
            read = [_centred(data.read(targets, one)) for one in places]
            apart = [_summed(x, np.zeros(x.shape[1], int), 1) for x in read]
            found[targets] = value([Group(g.products[..., 0, :], g.sums[..., 0, :], g.n[0]) for g in apart])
    return found


def judged(data: Repeats, value: Statistic, n_out: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A statistic of every target, its jackknife standard error, and p of no agreement at all.

    `value` maps sums to (.., n_targets); or to (n_out, .., n_targets), one for each repeat, and then p is of each
    repeat's agreement with the rest.
    """
    lead = () if n_out is None else (n_out,)
    found, error, p = (np.full((*lead, data.values.shape[2]), np.nan) for _ in range(3))
    blocks = data.blocks
    n_blocks = int(blocks.max()) + 1
    for targets, places in data.batches():
        if not any(len(one) > 1 for one in places):
            continue
        read = [_centred(data.read(targets, one)) for one in places]
        apart = [_summed(x, blocks[one[0] % len(blocks)], n_blocks) for x, one in zip(read, places, strict=True)]
        whole = [Group(g.products.sum(-2), g.sums.sum(-2), g.n.sum(-2)) for g in apart]
        rest = [
            Group(w.products[..., None, :] - g.products, w.sums[..., None, :] - g.sums, w.n - g.n)
            for w, g in zip(whole, apart, strict=True)
        ]
        without = value(rest)
        spread = ((without - without.mean(-2, keepdims=True)) ** 2).sum(-2)
        found[..., targets] = value(whole)
        error[..., targets] = np.sqrt(spread * (n_blocks - 1) / n_blocks)
        z = _standardised(read)
        p[..., targets] = _chance_together(z, data) if n_out is None else _chance_apart(z[0])
    return found, error, p


def _chance_together(z: list[np.ndarray], data: Repeats) -> np.ndarray:
    """One-sided p (n_targets,) of the repeats' covariance, by moving each round the others.

    Moving round a time series keeps its autocorrelation. Isolated stimuli are brought into a random order first: then
    the moves are as good as any permutations, and one Fourier transform gives all of them. Stimuli are moved
    among those met as often.
    """
    rng = np.random.default_rng(data.seed)
    n_targets = z[0].shape[2]
    observed, drawn = np.zeros(n_targets, np.float32), np.zeros((CHANCES, n_targets), np.float32)
    for x in z:
        count, n, _ = x.shape
        order = rng.permutation(n) if data.null == "permute" else np.arange(n)
        moved = rng.integers(0, n, (CHANCES, count))
        spectrum: Any = rfft(x[:, order], axis=1)
        for i, j in combinations(range(count), 2):
            agreement: Any = irfft(spectrum[i].conj() * spectrum[j], n, axis=0)  # at every distance
            observed += agreement[0]
            drawn += agreement[(moved[:, j] - moved[:, i]) % n]
    return np.where(observed == 0, np.nan, (1 + (drawn >= observed).sum(0)) / (1 + CHANCES))


def _chance_apart(z: np.ndarray) -> np.ndarray:
    """One-sided p (count, n_targets) of each repeat's covariance with the others, moved round them in every way."""
    n = z.shape[1]
    spectrum: Any = rfft(z, axis=1)
    total = spectrum.sum(0)
    out = []
    for one in spectrum:
        agreement: Any = irfft(one.conj() * (total - one), n, axis=0)
        out.append(np.where(agreement[0] == 0, np.nan, (agreement >= agreement[0]).mean(0)))
    return np.stack(out)


def _standardised(read: list[np.ndarray]) -> list[np.ndarray]:
    """Centred as `covariances` centres and scaled to variance 1, float32; 0 where a repeat never changes."""
    if len(read) == 1:
        (x,) = read
        mean, sd, square = x.mean(1, keepdims=True), x.std(1, keepdims=True), (x**2).mean(1, keepdims=True)
    else:
        flat = np.concatenate([x.reshape(-1, x.shape[2]) for x in read])
        mean, sd, square = flat.mean(0), flat.std(0), (flat**2).mean(0)
    moving = sd**2 > ROUNDING * square
    scale = np.where(moving, 1 / np.where(moving, sd, 1), 0)
    return [((x - mean) * scale).astype(np.float32) for x in read]


def covariances(sums: Sums) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each group's share of the stimuli (.., 1) and covariance of repeats (count, count, .., n_targets).

    With as many repeats of every stimulus each is centred on its own mean, and one that never changes covaries with
    nothing. Where counts differ repeats are exchangeable, and all are centred on one mean.
    """
    total, even = _sum(g.n for g in sums), len(sums) == 1
    all_of_them = _sum(g.n * g.count for g in sums)
    common = divide(_sum(g.sums.sum(0) for g in sums), all_of_them)
    out = []
    for g in sums:
        mu = g.sums / g.n if even else np.broadcast_to(common, g.sums.shape)
        crossed = g.sums[:, None] * mu[None]
        C = g.products - crossed - np.swapaxes(crossed, 0, 1) + g.n * mu[:, None] * mu[None]
        if even:  # of a repeat that never changes, rounding leaves a variance
            still = np.stack([C[i, i] <= ROUNDING * g.products[i, i] for i in range(g.count)])
            C = np.where(still[:, None] | still[None], 0, C)
        out.append((g.n / total, np.where(g.n > 0, C / np.maximum(g.n, 1), 0)))  # a block may hold a whole group
    return out


def signal_power(sums: Sums) -> tuple[np.ndarray, np.ndarray]:
    """Mean covariance of two repeats, and variance of the stimuli's means (Schoppe et al. 2016), (.., n_targets) each.

    With k repeats of every stimulus they are (var(ΣR) − Σ var(R)) / (k (k − 1)) and var(mean).
    """
    found = covariances(sums)
    means = _sum(share * C.sum((0, 1)) / len(C) ** 2 for share, C in found)
    return _pooled([(share, _between(C)) for share, C in found if len(C) > 1]), means


def mean_correlation(sums: Sums) -> np.ndarray:
    """Mean correlation of two repeats, (.., n_targets)."""
    found = covariances(sums)
    if len(found) > 1:
        return divide(signal_power(sums)[0], _pooled([(share, np.trace(C) / len(C)) for share, C in found]))
    ((_, C),) = found
    sd = np.sqrt(np.einsum("ii...->i...", C))
    return _between(divide(C, sd[:, None] * sd[None]))


def signal_and_noise(sums: Sums) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Variance of signal, variance of one repeat's noise, mean of 1/k_i (Allen et al. 2022): (.., n_targets) each."""
    within = _sum(np.trace(g.products) - g.products.sum((0, 1)) / g.count for g in sums)
    first = _sum(g.sums.sum(0) / g.count for g in sums)
    second = _sum(g.products.sum((0, 1)) / g.count**2 for g in sums)
    stimuli = _sum(g.n for g in sums)
    noise = divide(np.maximum(within, 0), _sum(g.n * (g.count - 1) for g in sums))
    averaged = np.broadcast_to(_sum(g.n / g.count for g in sums) / stimuli, noise.shape)
    between = (second - first**2 / stimuli) / (stimuli - 1)
    return np.maximum(0, between - noise * averaged), noise, averaged


def halves_of(k: int, splits: int | str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (splits, k) of the means of two halves of ⌊k/2⌋; all splits there are, if no more than asked for.

    "odd-even": the one split of the first, third, .. from the second, fourth, ..
    """
    h = k // 2
    if splits == "odd-even":
        pairs = [(range(0, 2 * h, 2), range(1, 2 * h, 2))]
    elif comb(k, h) * comb(k - h, h) // 2 <= int(splits):
        pairs = [
            (one, other)
            for one in combinations(range(k), h)
            for other in combinations(sorted(set(range(k)) - set(one)), h)
            if one < other
        ]
    else:
        rng = np.random.default_rng(seed)
        pairs = [(order[:h], order[h : 2 * h]) for order in (rng.permutation(k) for _ in range(int(splits)))]
    A, B = np.zeros((2, len(pairs), k))
    for row, (one, other) in enumerate(pairs):
        A[row, list(one)] = B[row, list(other)] = 1 / h
    return A, B


def half_covariances(C: np.ndarray, A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """(3, splits, .., n_targets): aᵀCb, aᵀCa, bᵀCb for the weights (splits, k) of two halves."""
    k = len(C)
    flat = C.reshape(k * k, -1)
    outer = [np.einsum("si,sj->sij", *pair).reshape(-1, k * k) for pair in ((A, B), (A, A), (B, B))]
    return np.stack([one @ flat for one in outer]).reshape(3, len(A), *C.shape[2:])


def half_correlation(sums: Sums, splits: int | str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean correlation of two halves' means (.., n_targets); how many repeats a half and the whole amount to (.., 1).

    Stimuli met once are left out. Where counts differ, 1 / mean(1/h) and 1 / mean(1/k) say how many those are.
    """
    found = [(share, C) for share, C in covariances(sums) if len(C) > 1]
    halves = [halves_of(len(C), splits, seed) for _, C in found]
    most = max(len(A) for A, _ in halves)
    terms = []
    for (share, C), pair in zip(found, halves, strict=True):
        A, B = (np.resize(one, (most, len(C))) for one in pair)
        terms.append(share * half_covariances(C, A, B))
    between, one, other = _sum(terms)
    r = divide(between, np.sqrt(one * other)).mean(0)
    still = len(found) == 1 and (np.einsum("ii...->i...", found[0][1]) <= 0).any(0)
    whole = _sum(share for share, _ in found)
    half, full = (whole / _sum(share / size(len(C)) for share, C in found) for size in (lambda k: k // 2, lambda k: k))
    return np.where(still, np.nan, r), half, full


def spearman_brown(r: np.ndarray, h: np.ndarray | float, k: np.ndarray | float) -> np.ndarray:
    """Reliability of the mean of k from the correlation of two means of h; NaN where r is not positive."""
    r = np.where(r > 0, r, np.nan)
    one = r / (h - (h - 1) * r)
    return k * one / (1 + (k - 1) * one)


def divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Quotient, with NaN instead of a warning where b is 0."""
    return a / np.where(b == 0, np.nan, b)


def checked(responses: np.ndarray, null: str, seed: int, least: int = 2, gaps: bool = True) -> Repeats:
    """Responses (k, n, targets), of which there are enough; NaN, where allowed, says that a repeat is missing."""
    array = np.asarray(responses)
    if array.ndim != 3 or not array.shape[2]:
        raise InputError(f"responses are (repeats or people, samples, targets); found shape {array.shape}")
    k, n, _ = array.shape
    if k < least:
        raise InputError(f"agreement needs at least {least} repeats or people; found {k}")
    if n < LEAST_SAMPLES:
        raise InputError(f"a ceiling needs at least {LEAST_SAMPLES} stimuli or samples; found {n}")
    if null not in NULLS:
        raise SettingsError(f"null is 'permute' (isolated stimuli) or 'shift' (time series); found {null!r}")
    if any(np.isinf(one).any() for one in array):
        raise InputError("responses hold infinite values; NaN says that a repeat is missing")
    missing = next((i for i, one in enumerate(array) if np.isnan(one).any()), None)
    if missing is not None and not gaps:
        sample, target = np.argwhere(np.isnan(array[missing]))[0]
        raise InputError(
            f"person {missing}, sample {sample}, target {target} is NaN: people are compared where all of them were "
            "recorded; leave such samples out"
        )
    data = Repeats(array, null, seed)
    if missing is not None and not any(len(one) > 1 for _, places in data.batches() for one in places):
        raise InputError("no stimulus was repeated: there is nothing to compare")
    return data


def _places(present: np.ndarray) -> list[np.ndarray]:
    """Of (k, n) bool: for each number of repeats that occurs, the places (count, stimuli) of those there are."""
    counts = present.sum(0)
    first = np.argsort(~present, axis=0, kind="stable")  # those present come first, in order
    return [
        first[:count, counts == count] * present.shape[1] + np.flatnonzero(counts == count)
        for count in np.unique(counts[counts > 0])
    ]


def _centred(x: np.ndarray) -> np.ndarray:
    """Less each target's mean, so that sums of products lose no digits to it; no statistic depends on it."""
    return x - x.mean((0, 1))


def _summed(x: np.ndarray, block: np.ndarray, n_blocks: int) -> Group:
    """Sums of (count, n, targets) over the stimuli of each block."""
    count = len(x)
    member = (np.arange(n_blocks)[:, None] == block).astype(float)
    products = np.empty((count, count, n_blocks, x.shape[2]))
    for i in range(count):
        for j in range(i + 1):
            products[i, j] = products[j, i] = member @ (x[i] * x[j])
    return Group(products, member @ x, member.sum(1)[:, None])


def _between(C: np.ndarray) -> np.ndarray:
    """Mean over pairs of different repeats."""
    k = len(C)
    return (C.sum((0, 1)) - np.trace(C)) / (k * (k - 1))


def _pooled(parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Mean of values weighted by shares; a group with no share has no say, whatever its value."""
    return divide(
        _sum(np.where(share > 0, share * value, 0) for share, value in parts), _sum(share for share, _ in parts)
    )


def _sum(parts: Iterable[np.ndarray]) -> np.ndarray:
    first, *rest = parts
    return reduce(np.add, rest, first)
