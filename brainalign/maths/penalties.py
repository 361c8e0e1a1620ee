"""Which penalties are worth trying, and which of them for which target?

In the units of `held_out`: gains δ_b, the signal-to-noise ratio of each band. Where a target lies is first guessed from
second moments, without any fit; the points to try are put where targets are; each target tries the points near it.
"""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

STRONGEST = 10**1.5  # gains beyond this are not tried: brains are not that well explained
WEAKEST = 10**-2.5  # below this a band is as good as absent
POINTS = 32  # tried in all
NEAREST = 8  # tried by each target, where there are many
SPREAD = 0.3  # decades by which copies of a guess are moved, together and apart (0.3 to 1.2 tried: wider is worse)
CROWD = 512  # guesses at least that points are placed by: few targets are repeated, each time a little off


def guess(q: np.ndarray, s: np.ndarray, power: np.ndarray, n: int) -> np.ndarray:
    """Gains (n_bands, t) from moments alone: Haseman–Elston regression on pairs of samples in different folds.

    E[y_i y_j] = Σ_b θ_b K_b,ij for i ≠ j, so that S θ = q. Solved per target for θ ≥ 0 by coordinate descent; noise is
    what is left of the variance. Pairs within a fold are left out: noise that is correlated in time does not count.

    Parameters
    ----------
    q : array (n_bands, t)
    s : array (n_bands, n_bands)
        `Dual.moments`.
    power : array (t,)
        Σ_i y_i².
    n : int
        Samples.
    """
    theta = np.zeros_like(q)
    size = np.diag(s)
    used = np.flatnonzero(size > 0)
    left = np.arange(q.shape[1])  # every target until it stands still: what it becomes is not up to the others
    for _ in range(100):
        before = theta[:, left]
        now = before.copy()
        for b in used:
            now[b] = np.maximum(0, now[b] + (q[b, left] - s[b] @ now) / size[b])
        theta[:, left] = now
        left = left[np.abs(now - before).max(0) > 1e-4 * now.max(0)]
        if not len(left):
            break
    variance = np.where(power > 0, power / n, 1)
    share = theta / variance
    noise = np.maximum(1 - share.sum(0), 0.05)  # an exact fit is not believed
    return np.minimum(share / noise, STRONGEST)


def scale(gains: np.ndarray) -> np.ndarray:
    """Gains as they are compared: logarithms that end where a band is as good as absent."""
    return np.log10(gains + WEAKEST)


def place(gains: np.ndarray, seed: int, points: int = POINTS) -> np.ndarray:
    """Points (n_bands, k) where targets are, from the guessed gains (n_bands, t) of some of them; the first is 0.

    k-means in `scale`; of few targets, copies that are about as far off as a guess is.
    """
    rng = np.random.default_rng(seed)
    where = scale(gains)
    if where.shape[1] < CROWD:
        copies = np.tile(where, -(-CROWD // where.shape[1]))
        first = where.shape[1]
        together = rng.normal(0, SPREAD, copies.shape[1])
        apart = rng.normal(0, SPREAD, copies.shape)
        copies[:, first:] += (together + apart)[:, first:]
        where = np.clip(copies, np.log10(WEAKEST), np.log10(STRONGEST))
    k = min(points, len(np.unique(where, axis=1).T))
    means = KMeans(k, n_init=1, max_iter=30, random_state=seed)  # type: ignore[arg-type]
    with threadpool_limits(1):  # several threads sum in any order: a seed would not repeat to the digit
        found = means.fit(where.T).cluster_centers_.T
    placed = np.maximum(10**found - 1.01 * WEAKEST, 0)
    return np.hstack([np.zeros((len(gains), 1)), placed[:, placed.any(0)]])


def nearest(gains: np.ndarray, points: np.ndarray, count: int) -> np.ndarray:
    """(k, t) True where a target, guessed to lie at `gains`, should try a point. Everybody tries no signal at all."""
    here, there = scale(gains), scale(points)
    distance = (here**2).sum(0) - 2 * there.T @ here + (there**2).sum(0)[:, None]
    tried = np.ones(distance.shape, bool)
    if count < len(distance):
        order = np.argpartition(distance, count - 1, axis=0)
        np.put_along_axis(tried, order[count:], False, axis=0)
    tried[0] = True
    return tried


def how_many(n_targets: int) -> int:
    """Points that each target tries: all of them where targets are few."""
    return max(NEAREST, min(POINTS + 1, POINTS * NEAREST * 16 // max(n_targets, 1)))
