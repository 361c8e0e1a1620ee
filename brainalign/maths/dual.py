"""What would rows left out have been predicted? From kernels between samples: for more columns than samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from brainalign.maths.arrays import Array, Home
from brainalign.maths.folds import Folds
from brainalign.maths.held_out import Read, Rows, block_of, chunks, cross_pairs, folds_of

STRONG = 1e3  # gains beyond this leave the intercept few digits, unless it is as large as they are


class Dual:
    """Kernels between samples: the way where there are more columns than samples.

    Parameters
    ----------
    home : where the arrays live
    part : function band → array (n, p_b)
        The bands, centred, rows times the root of their weight; each is asked for once.
    widths : p_b of each band
    power : array (n_bands,)
        ‖X_b‖² / n of each band, 0 for one without variance.
    unit : array (n,)
        The intercept's column, of length 1: the root of the weights.
    folds : list of (train, test)
    dtype : float32 or float64
    """

    name = "dual"

    def __init__(
        self,
        home: Home,
        part: Callable[[int], np.ndarray],
        widths: Sequence[int],
        power: np.ndarray,
        unit: np.ndarray,
        folds: Folds,
        dtype: np.dtype,
    ) -> None:
        self.home, self.dtype, self.n = home, dtype, len(unit)
        self.unit = home.array(unit, dtype)
        self.folds = folds_of(folds, self.n)
        self.pairs = cross_pairs(folds, self.n)
        self.n_scored = sum(fold.n_test for fold in self.folds)
        self.kernels = home.empty((len(widths), self.n, self.n), self.unit)
        for band, size in enumerate(power):
            self._fill(self.kernels[band], home.array(part(band), dtype), 1 / size if size else 0.0)

    def _fill(self, kernel: Array, values: Array, scale: float) -> None:
        """X Xᵀ, one triangle computed and mirrored, blocks of rows side by side."""

        def one(rows: slice) -> None:
            kernel[rows, : rows.stop] = values[rows] @ values[: rows.stop].T
            kernel[rows, : rows.stop] *= scale

        for _ in self.home.map(one, reversed(chunks(self.n, 256))):  # the longest first
            pass
        for rows in chunks(self.n, 256):
            kernel[: rows.start, rows] = kernel[rows, : rows.start].T

    def responses(self, read: Read, targets: np.ndarray) -> Array:
        """(t, n) centred, weighted responses on the device."""
        Y = self.home.empty((len(targets), self.n), self.unit)

        def one(at: slice) -> None:
            Y[at] = self.home.array(read(targets[at]).T, self.dtype)

        for _ in self.home.map(one, chunks(len(targets))):
            pass
        return Y

    def nothing(self, Y: Array) -> np.ndarray:
        """(t,) summed squared error of predicting each fold by the mean of its training rows."""
        total = np.zeros(len(Y))
        for fold in self.folds:
            u = self.unit[fold.left]
            mean = (Y[:, fold.left] @ u) / (float(u @ u) - 1)
            error = Y[:, fold.test] - mean[:, None] * self.unit[fold.test][None]
            total += self.home.rowdot(error, error)
        return total

    def moments(self, Y: Array) -> tuple[np.ndarray, np.ndarray]:
        """Q (n_bands, t) = Σ y_i K_b,ij y_j over pairs of rows in different folds, and what it is for each band's own
        signal: S (n_bands, n_bands) = Σ K_b,ij K_c,ij.
        """
        q = np.zeros((len(self.kernels), len(Y)))
        s = np.zeros((len(self.kernels),) * 2)
        for rows, others in self.pairs:
            blocks = [block_of(kernel, rows, others) for kernel in self.kernels]
            for b, block in enumerate(blocks):
                s[b, : b + 1] += [self.home.rowdot(block, other).sum() for other in blocks[: b + 1]]

            def one(at: slice, rows: Rows = rows, others: Rows = others, blocks: list[Array] = blocks) -> None:
                here, there = Y[at][:, rows], Y[at][:, others]
                for b, block in enumerate(blocks):
                    q[b, at] += self.home.rowdot(here @ block, there)

            for _ in self.home.map(one, chunks(len(Y))):
                pass
        return q, np.tril(s) + np.tril(s, -1).T

    def size(self, Y: Array) -> np.ndarray:
        """(t,) Σ_i y_i²."""
        return self.home.rowdot(Y, Y)

    def products(self, Y: Array) -> None:
        """Predictions need the responses themselves."""

    def remember(self, judged: tuple[Array, Array]) -> Array:
        """What predictions need of a point: `projection`."""
        return judged[0]

    def projection(self, gains: np.ndarray) -> Array:
        """P (n, n): P y are the dual weights, intercept removed; δ_b K_b P y is what band b contributes.

        M = (I + Σ_b δ_b K_b)⁻¹, P = M − M u uᵀM / uᵀM u.
        """
        A = self.home.combine(gains, self.kernels)
        A.ravel()[:: self.n + 1] += 1
        if gains.sum() > STRONG:  # any multiple of u uᵀ leaves P as it is
            A += (self.unit * float(gains.sum()))[:, None] * self.unit[None]
        M = self.home.inverse(A)
        across = M @ self.unit
        scaled = (across / float(self.unit @ across))[None]
        for rows in chunks(self.n, 64):  # no second matrix is made
            M[rows] -= across[rows, None] * scaled
        return M

    def judge(self, gains: np.ndarray) -> tuple[Array, Array]:
        """P (n, n), and R (n_scored, n) of which R y is the error on every fold's scored rows.

        Leaving the rows L out predicts them with the error (P_LL)⁻¹ (P y)_L, exactly, the intercept fitted again.
        """
        P = self.projection(gains)
        R = self.home.empty((self.n_scored, self.n), P)
        at = 0
        for fold in self.folds:
            inner = self.home.inverse(_copy(block_of(P, fold.left, fold.left)))[fold.read]
            here = R[at : at + fold.n_test]
            for rows in fold.train:
                here[:, rows] = inner @ P[fold.left, rows]
            if fold.train:  # among the rows left out it is the identity
                here[:, fold.left] = 0
                here[np.arange(fold.n_test), np.arange(self.n)[fold.test]] = 1
            else:
                here[:] = inner @ P[fold.left]
            at += fold.n_test
        return P, R

    def loss(self, judged: tuple[Array, Array], Y: Array) -> np.ndarray:
        """(t,) summed squared error on the scored rows.

        Among the rows left out R is the identity: a fold's error is its responses less what the others predict.
        """
        total, at = np.zeros(len(Y)), 0
        for fold in self.folds:
            R = judged[1][at : at + fold.n_test]
            at += fold.n_test
            if fold.train:
                error = Y[:, fold.train[0]] @ R[:, fold.train[0]].T
                for rows in fold.train[1:]:
                    error += Y[:, rows] @ R[:, rows].T
                error += Y[:, fold.test]
            else:
                error = Y @ R.T
            total += self.home.rowdot(error, error)
        return total

    def flops(self) -> tuple[float, float]:
        """What a point costs: once, and for each target."""
        left = sum(fold.n_left**3 + 2.0 * fold.n_left * fold.n_test * self.n for fold in self.folds)
        each = sum(2.0 * fold.n_test * (self.n - fold.n_left if fold.train else self.n) for fold in self.folds)
        return self.n**3 + left, each


def _copy(A: Array) -> Array:
    return A.copy() if isinstance(A, np.ndarray) else A.clone()
