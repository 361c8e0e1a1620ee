"""What of a person's many voxels is there to rotate? Their responses on principal axes, without loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from brainalign.errors import InputError

RANK = 1e-10  # of the largest eigenvalue: below it there is no axis
STILL = 1e-6  # of the mean: an SD that is rounding of float32
NUMBERS_TOGETHER = 4 << 20  # of one person's responses, as float64


def mean_and_scale(X: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of every voxel over some samples, and its SD times √n_voxels; the scale of one that never changes is 1."""
    mean, sd = np.empty(X.shape[1]), np.empty(X.shape[1])
    for part in voxels_together(X.shape[1], len(rows)):
        block = np.asarray(X[rows, part], np.float64)
        mean[part], sd[part] = block.mean(0), block.std(0)
    odd = np.flatnonzero(~np.isfinite(sd))
    if len(odd):
        raise InputError(f"voxel {odd[0]} is not finite in every sample to be learned from: leave those samples out")
    still = sd <= STILL * np.abs(mean)
    if still.all():
        raise InputError("no voxel of a person ever changes in the samples to be learned from: leave them out")
    return mean, np.where(still, 1.0, sd * np.sqrt((~still).sum()))


@dataclass(frozen=True, eq=False)
class Reduced:
    """A person's standardised responses Z = F Qᵀ on principal axes, most variance first: F (n, rank) is all there is
    to rotate, since Q (n_voxels, rank) is orthonormal.
    """

    X: np.ndarray
    rows: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    F: np.ndarray
    axes: np.ndarray | None  # Q where voxels are few; else Q = ZᵀF / power
    power: np.ndarray  # (rank,)

    def lifted(self, turn: np.ndarray) -> np.ndarray:
        """Q turn: (rank, features) → (n_voxels, features), in the precision of the responses."""
        dtype = np.result_type(self.X.dtype, np.float32)
        if self.axes is not None:
            return (self.axes @ turn).astype(dtype)
        inner = self.F @ (turn / self.power[:, None])
        out = np.empty((self.X.shape[1], turn.shape[1]), dtype)
        for part in voxels_together(self.X.shape[1], len(self.rows)):
            out[part] = standard(self.X[self.rows, part], self.mean[part], self.scale[part]).T @ inner
        return out


def reduced(X: np.ndarray, rows: np.ndarray) -> Reduced:
    """Find a person's principal axes from the smaller of the two Gram matrices.

    Parameters
    ----------
    X : array (n_samples, n_voxels)
        May be memory-mapped: with more voxels than samples it is read some voxels at a time.
    rows : array of int
        The samples to learn from.

    Raises
    ------
    InputError
        A response that is not finite, or none that ever changes.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((20, 500))
    >>> reduced(X, np.arange(10)).F.shape  # a mean of 10 samples is taken off: 9 axes are left
    (10, 9)
    """
    n, v = len(rows), X.shape[1]
    mean, scale = mean_and_scale(X, rows)
    if v <= n:
        Z = standard(X[rows], mean, scale)
        power, axes = principal(Z.T @ Z)
        return Reduced(X, rows, mean, scale, Z @ axes, axes, power)
    gram = np.zeros((n, n))
    for part in voxels_together(v, n):
        Z = standard(X[rows, part], mean[part], scale[part])
        gram += Z @ Z.T
    power, vectors = principal(gram)
    return Reduced(X, rows, mean, scale, vectors * np.sqrt(power), None, power)


def principal(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues above zero, largest first, and their vectors."""
    power, vectors = np.linalg.eigh(gram)
    there = power > RANK * power[-1]
    return power[there][::-1], vectors[:, there][:, ::-1]


def standard(block: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(block − mean) / scale, in float64."""
    return (np.asarray(block, np.float64) - mean) / scale


def voxels_together(n_voxels: int, n_samples: int) -> Iterator[slice]:
    """Voxels to be taken together."""
    step = max(1, NUMBERS_TOGETHER // max(1, n_samples))
    return (slice(start, min(start + step, n_voxels)) for start in range(0, n_voxels, step))
