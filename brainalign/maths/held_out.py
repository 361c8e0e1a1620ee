"""Which rows does a fold leave out, and which of the others predict them? What `dual` and `primal` have in common.

Both say what rows left out would have been predicted, had they been left out, exactly, from one factorisation: `Dual`
with an n × n kernel for each band, `Primal` with Gram matrices of the columns. Both speak of gains: with kernels
K_b = X_b X_bᵀ scaled to trace n, y = Σ_b f_b + e, f_b ~ N(0, δ_b K_b) and e ~ N(0, 1), so that the gain δ_b ≥ 0 is a
signal-to-noise ratio and n / (‖X_b‖² δ_b) the ridge penalty of band b.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from brainalign.maths.arrays import Array
from brainalign.maths.folds import Folds

CHUNK = 1024  # targets that are read, or whose errors are held, at a time

Read = Callable[[np.ndarray], np.ndarray]
"""Centred, weighted responses (n, m) of some targets, by number."""


Rows = slice | np.ndarray
"""Some rows: a slice where they follow one another, else their numbers."""


def chunks(n: int, size: int = CHUNK) -> list[slice]:
    """0…n in pieces."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


@dataclass(frozen=True)
class Fold:
    """Rows left out of training (the fold and its gap), and those of them that are scored."""

    left: Rows
    test: Rows
    read: Rows  # where the scored rows stand among those left out
    n_left: int
    n_test: int
    train: tuple[slice, ...]  # all other rows, before and after; empty where those left out do not follow one another

    @property
    def same(self) -> bool:
        """No gap: everything left out is scored."""
        return self.n_left == self.n_test


def folds_of(folds: Folds, n: int) -> list[Fold]:
    """What each (train, test) leaves out; slices where rows follow one another."""
    found = []
    for train, test in folds:
        left = np.setdiff1d(np.arange(n), train)
        read = np.searchsorted(left, test)
        found.append(Fold(_span(left), _span(np.asarray(test)), _span(read), len(left), len(test), _around(left, n)))
    return found


def _around(rows: np.ndarray, n: int) -> tuple[slice, ...]:
    between = _span(rows)
    if not isinstance(between, slice):
        return ()
    return tuple(span for span in (slice(0, between.start), slice(between.stop, n)) if span.stop > span.start)


def cross_pairs(folds: Folds, n: int) -> list[tuple[Rows, Rows]]:
    """Pairs (rows scored, rows that predict them), each pair of rows once."""
    seen = np.zeros(n, bool)
    pairs = []
    for train, test in folds:
        others = np.asarray(train)[~seen[train]]
        seen[test] = True
        if len(others):
            pairs.append((_span(np.asarray(test)), _span(others)))
    return pairs


def _span(rows: np.ndarray) -> Rows:
    if len(rows) and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def block_of(A: Array, rows: Rows, columns: Rows) -> Array:
    """A[rows, columns], a view where both follow one another."""
    if isinstance(rows, slice) or isinstance(columns, slice):
        return A[rows][:, columns]
    return A[rows[:, None], columns]
