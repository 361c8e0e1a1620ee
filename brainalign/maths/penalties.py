"""Which penalties are worth trying, and which targets can share the work?

A plan is a series of steps: the gains 1/λ of the bands up to a common factor, and which targets to solve at which
factors. One factorisation serves a step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from brainalign.errors import SettingsError

# Signal-to-noise ratios tried for a kernel scaled to trace n, weakest first: ties go to the stronger shrinkage.
# A grid of 91 ratios × 19 such factors gained 0.001 in held-out R² over this one (three bands, 290 samples).
SIGNAL_TO_NOISE = np.logspace(-3, 1.5, 8)
MANY_BANDS_CANDIDATES = 48

Step = tuple[np.ndarray, Sequence[tuple[float, np.ndarray | slice]]]


def candidate_ratios(n_bands: int, n: int | None, seed: int) -> np.ndarray:
    """(candidates, n_bands) shares of explained variance to try; rows sum to 1.

    Two bands: shares of 1 : 1, 10 : 1 and 100 : 1 either way, and each alone. Three or four: every set of bands in
    equal shares, and all of them with one that leads tenfold. More: all alike, each alone, then draws from sparse and
    even Dirichlet distributions.
    """
    if n_bands <= 2:
        grid = product((0, 0.01, 0.1, 1), repeat=n_bands) if n_bands == 2 else [(1,)]
        design = np.array([point for point in grid if max(point) == 1])
    elif n_bands <= 4:
        sets = np.array([point for point in product((0.0, 1.0), repeat=n_bands) if any(point)])
        design = np.vstack([sets, np.where(np.eye(n_bands) == 1, 1.0, 0.1)])
    else:
        design = np.vstack([np.ones(n_bands), np.eye(n_bands)])
    count = n or (len(design) if n_bands <= 4 else max(MANY_BANDS_CANDIDATES, len(design)))
    rng = np.random.default_rng(seed)
    drawn = [rng.dirichlet(np.full(n_bands, (0.1, 1.0)[i % 2])) for i in range(count - len(design))]
    ratios = np.vstack([design, *drawn])[:count]
    return ratios / ratios.sum(1, keepdims=True)


def search_plan(parts: list[np.ndarray], n_candidates: int | None, seed: int) -> Iterator[Step]:
    """Every ratio at every signal-to-noise ratio, for all targets; bands without variance take no part."""
    if n_candidates is not None and n_candidates < 1:
        raise SettingsError(f"n_candidates is a number of band ratios, at least 1; found {n_candidates}")
    power = np.array([np.einsum("np,np->", part, part) / len(part) for part in parts])
    alive = power > 0
    if not alive.any():
        yield np.zeros(len(parts)), [(0.0, slice(None))]
        return
    for ratio in candidate_ratios(int(alive.sum()), n_candidates, seed):
        gains = np.zeros(len(parts))
        gains[alive] = ratio / power[alive]
        yield gains, [(delta, slice(None)) for delta in SIGNAL_TO_NOISE]


def fixed_plan(shrinkage: np.ndarray) -> Iterator[Step]:
    """Each target at its own penalties; targets whose penalties differ by a common factor share a factorisation."""
    least = shrinkage.min(0)
    relative = np.where(np.isinf(shrinkage), np.inf, shrinkage - np.where(np.isinf(least), 0, least))
    ratios, group = np.unique(relative.round(9), axis=1, return_inverse=True)
    for i, ratio in enumerate(ratios.T):
        members = np.flatnonzero(group.ravel() == i)
        steps = [(10.0**-one, members[least[members] == one]) for one in np.unique(least[members])]
        yield 10.0**-ratio, steps
