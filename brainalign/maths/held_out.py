"""What would rows left out have been predicted, had they been left out? Exactly, from one factorisation.

Two spaces answer it: `Dual`, an n × n kernel for each band, and `Primal`, Gram matrices of the columns. Both speak of
gains: with kernels K_b = X_b X_bᵀ scaled to trace n, y = Σ_b f_b + e, f_b ~ N(0, δ_b K_b) and e ~ N(0, 1), so that the
gain δ_b ≥ 0 is a signal-to-noise ratio and n / (‖X_b‖² δ_b) the ridge penalty of band b.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.linalg import eigh

from brainalign.maths.arrays import Array, Home, NotPositiveError
from brainalign.maths.folds import Folds

CHUNK = 1024  # targets that are read, or whose errors are held, at a time
STRONG = 1e3  # gains beyond this leave the intercept few digits, unless it is as large as they are

Read = Callable[[np.ndarray], np.ndarray]
"""Centred, weighted responses (n, m) of some targets, by number."""


def chunks(n: int, size: int = CHUNK) -> list[slice]:
    """0…n in pieces."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


@dataclass(frozen=True)
class Fold:
    """Rows left out of training (the fold and its gap), and those of them that are scored."""

    left: slice | np.ndarray
    test: slice | np.ndarray
    read: slice | np.ndarray  # where the scored rows stand among those left out
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


def cross_pairs(folds: Folds, n: int) -> list[tuple[slice | np.ndarray, slice | np.ndarray]]:
    """Pairs (rows scored, rows that predict them), each pair of rows once."""
    seen = np.zeros(n, bool)
    pairs = []
    for train, test in folds:
        others = np.asarray(train)[~seen[train]]
        seen[test] = True
        if len(others):
            pairs.append((_span(np.asarray(test)), _span(others)))
    return pairs


def _span(rows: np.ndarray) -> slice | np.ndarray:
    if len(rows) and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


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
            there = Y[:, others]
            for b, across in enumerate(self.home.map(lambda block, rows=rows: Y[:, rows] @ block, blocks)):
                q[b] += self.home.rowdot(across, there)
                for c, other in enumerate(blocks[: b + 1]):
                    s[b, c] += float((blocks[b] * other).sum())
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
        M -= across[:, None] * (across / float(self.unit @ across))[None]
        return M

    def judge(self, gains: np.ndarray) -> tuple[Array, Array]:
        """P (n, n), and R (n_scored, n) of which R y is the error on every fold's scored rows.

        Leaving the rows L out predicts them with the error (P_LL)⁻¹ (P y)_L, exactly, the intercept fitted again.
        """
        P = self.projection(gains)
        R = self.home.empty((self.n_scored, self.n), P)
        at = 0
        for fold in self.folds:
            inner = self.home.inverse(_copy(block_of(P, fold.left, fold.left)))
            R[at : at + fold.n_test] = inner[fold.read] @ P[fold.left]
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


class Primal:
    """Gram matrices of the columns: the way where samples are many. The samples are read once and never again.

    Parameters
    ----------
    As for `Dual`.
    """

    name = "primal"

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
        self.widths = list(widths)
        self.folds = folds_of(folds, self.n)
        self.root_power = np.repeat(np.sqrt(power), self.widths)
        scale = np.divide(1, self.root_power, out=np.zeros_like(self.root_power), where=self.root_power > 0)
        Z = np.empty((self.n, sum(self.widths)), self.dtype)
        self.bands = [slice(a, b) for a, b in pairwise(np.cumsum([0, *self.widths]))]
        for number, at in enumerate(self.bands):
            np.multiply(part(number), scale[at].astype(self.dtype), out=Z[:, at])
        self.host_unit = unit.astype(float)
        self.unit, self.Z = home.array(unit, self.dtype), home.array(Z, self.dtype)
        self.gram = self._wide(Z)
        self.tests: list[_Test] = [self._test(Z, fold) for fold in self.folds]

    def _wide(self, Z: np.ndarray) -> np.ndarray:
        """ZᵀZ in float64, a few thousand rows at a time."""
        total = np.zeros((Z.shape[1],) * 2)
        for start in range(0, len(Z), 4096):
            rows = Z[start : start + 4096].astype(float)
            total += rows.T @ rows
        return total

    def _test(self, Z: np.ndarray, fold: Fold) -> _Test:
        """A fold's training Gram matrix about its own mean, and its scored rows squeezed to at most p."""
        left, test = Z[fold.left], Z[fold.test]
        u_left, u_test = self.host_unit[fold.left], self.host_unit[fold.test]
        total, mass = -(u_left @ left), 1 - u_left @ u_left
        gram = self.gram - self._wide(left) - np.outer(total, total / mass)
        centred = test - np.outer(u_test, total / mass)
        width = Z.shape[1]
        squeeze = None
        if fold.n_test > width:
            size, vectors = eigh(centred.T @ centred)
            floor = np.finfo(self.dtype).eps * (0.1 if self.dtype == np.float32 else 10) * max(size[-1], 0)
            keep = size > max(floor, 0)
            root = np.sqrt(size[keep])
            squeeze = self.home.array(vectors[:, keep].T / root[:, None], self.dtype)
            centred = root[:, None] * vectors[:, keep].T
        array = self.home.array
        return _Test(
            fold,
            array(gram, self.dtype),
            array(total, self.dtype),
            float(mass),
            array(centred, self.dtype),
            squeeze,
            array(u_test @ test, self.dtype),
            float(u_test @ u_test),
        )

    def responses(self, read: Read, targets: np.ndarray) -> _Crossed:
        """Everything the folds need of the responses: products with the features, never the samples again.

        A few targets at a time, so that what is read stays near the processor until all folds are done with it.
        """
        home, t, p = self.home, len(targets), self.Z.shape[1]
        whole = home.empty((t, p), self.Z)
        sums = [home.empty((t, p), self.Z) for _ in self.tests]
        tested = [home.empty((t, len(test.rows)), self.Z) for test in self.tests]
        rest, nothing, shared = np.zeros(t), np.zeros(t), np.zeros((len(self.widths), t))
        partition = sum(fold.n_test for fold in self.folds) == self.n and all(fold.same for fold in self.folds)

        def one(at: slice) -> None:
            Y = read(targets[at])
            found = [self._crossed(test, Y) for test in self.tests]
            total = sum(one.left for one in found) if partition else home.array(Y, self.dtype).T @ self.Z
            whole[at] = total
            for test, one, mine, small in zip(self.tests, found, sums, tested, strict=True):
                few = total - one.left
                few -= one.mean[:, None] * test.total[None]
                mine[at], small[at] = few, one.scored
                rest[at] += one.lost
                nothing[at] += one.size
                for b, band in enumerate(self.bands):
                    shared[b, at] += home.rowdot(one.cross[:, band], few[:, band])

        for _ in home.map(one, chunks(t)):
            pass
        return _Crossed(whole, sums, tested, rest, nothing, shared)

    def _crossed(self, test: _Test, Y: np.ndarray) -> _Part:
        """What one fold makes of some responses (n, m)."""
        fold, home = test.fold, self.home
        y = home.array(Y[fold.test], self.dtype)
        own, cross = y.T @ self.unit[fold.test], y.T @ self.Z[fold.test]
        if fold.same:
            left, on_unit = cross, own
        else:
            gone = home.array(Y[fold.left], self.dtype)
            left, on_unit = gone.T @ self.Z[fold.left], gone.T @ self.unit[fold.left]
        mean = on_unit * (-1 / test.mass)  # in units of the intercept's column
        if test.squeeze is None:
            y = home.array((y - self.unit[fold.test][:, None] * mean[None]).T, self.dtype)
            size = home.rowdot(y, y)
            return _Part(left, mean, y @ test.rows, y, np.zeros(len(size)), size)
        size = home.coldot(y, y) + home.numpy(mean * (mean * test.unit_size - 2 * own))
        shift = test.total * (1 / test.mass)
        cross = cross - (own - mean * test.unit_size)[:, None] * shift[None]
        cross -= mean[:, None] * test.on_unit[None]
        small = cross @ test.squeeze.T
        return _Part(left, mean, cross, small, np.maximum(size - home.rowdot(small, small), 0), size)

    def nothing(self, Y: _Crossed) -> np.ndarray:
        """(t,) summed squared error of predicting each fold by the mean of its training rows."""
        return Y.nothing

    def moments(self, Y: _Crossed) -> tuple[np.ndarray, np.ndarray]:
        """As `Dual.moments`: what the scored rows' products with the features share with the training rows'."""
        s = np.zeros((len(self.bands),) * 2)
        for test in self.tests:
            gram = test.rows.T @ test.rows
            for b, mine in enumerate(self.bands):
                for c, other in enumerate(self.bands[: b + 1]):
                    s[b, c] += float((gram[mine, other] * test.gram[mine, other]).sum())
        return Y.shared, np.tril(s) + np.tril(s, -1).T

    def size(self, Y: _Crossed) -> np.ndarray:
        """(t,) Σ_i y_i², nearly: about the training means of the folds."""
        return Y.nothing * self.n / sum(fold.n_test for fold in self.folds)

    def products(self, Y: _Crossed) -> Array:
        """What predictions need of the responses: (t, p) YᵀZ."""
        return Y.whole

    def remember(self, judged: list[Array]) -> None:
        """Predictions need `projection`, which costs next to nothing."""

    def projection(self, gains: np.ndarray, gram: Array | None = None) -> Array:
        """W (p, p), symmetric: W ZᵀY are the weights on the scaled columns Z.

        W = D^½ (I + D^½ ZᵀZ D^½)⁻¹ D^½, D the gain of each column.
        """
        root = self.home.array(np.repeat(np.sqrt(gains), self.widths), self.dtype)
        gram = self.home.array(self.gram, self.dtype) if gram is None else gram
        A = root[:, None] * gram * root[None]
        A.ravel()[:: len(A) + 1] += 1
        W = self.home.inverse(A)
        W *= root[:, None]
        W *= root[None]
        return W

    def judge(self, gains: np.ndarray) -> list[Array]:
        """For each fold, the matrix from training products to predictions of the squeezed scored rows."""
        return [test.rows @ self.projection(gains, test.gram) for test in self.tests]

    def loss(self, judged: list[Array], Y: _Crossed) -> np.ndarray:
        """(t,) summed squared error on the scored rows."""
        total = Y.rest.copy()
        for operator, sums, tested in zip(judged, Y.sums, Y.tested, strict=True):
            error = sums @ operator.T
            error -= tested
            total += self.home.rowdot(error, error)
        return total

    def flops(self) -> tuple[float, float]:
        """What a point costs: once, and for each target."""
        p = float(sum(self.widths))
        rows = sum(min(fold.n_test, p) for fold in self.folds)
        return len(self.folds) * p**3 + 2 * rows * p**2, 2 * rows * p


@dataclass(frozen=True)
class _Test:
    fold: Fold
    gram: Array  # (p, p) of the training rows, about their mean
    total: Array  # (p,) sum of the training rows, weighted
    mass: float  # weight of the training rows, of 1
    rows: Array  # (r, p) scored rows less the training mean; squeezed: R of their QR decomposition
    squeeze: Array | None  # (r, p): with the products of features and responses, Qᵀy
    on_unit: Array  # (p,) sum of the scored rows, weighted
    unit_size: float  # weight of the scored rows, of 1


@dataclass(frozen=True)
class _Part:
    left: Array  # (m, p) products of the rows left out
    mean: Array  # (m,) of the training rows
    cross: Array  # (m, p) products of the scored rows, both about the training means
    scored: Array  # (m, r) the scored rows, squeezed
    lost: np.ndarray  # (m,) of their size, by squeezing
    size: np.ndarray  # (m,)


@dataclass(frozen=True)
class _Crossed:
    """Responses of `Primal`; a row for each target."""

    whole: Array  # (t, p) YᵀZ
    sums: list[Array]  # per fold (t, p): the training rows' share of it, about their means
    tested: list[Array]  # per fold (t, r): scored responses less the training mean, squeezed
    rest: np.ndarray  # (t,) what no weights can reach in the scored rows
    nothing: np.ndarray  # (t,)
    shared: np.ndarray  # (n_bands, t) moments

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, which: slice | np.ndarray) -> _Crossed:
        """Some of the targets; the whole products are not needed to judge and stay behind."""
        sums, tested = ([one[which] for one in group] for group in (self.sums, self.tested))
        return _Crossed(self.whole[:0], sums, tested, self.rest[which], self.nothing[which], self.shared[:, which])


def block_of(A: Array, rows: slice | np.ndarray, columns: slice | np.ndarray) -> Array:
    if isinstance(rows, slice) or isinstance(columns, slice):
        return A[rows][:, columns]
    return A[rows[:, None], columns]


def _copy(A: Array) -> Array:
    return A.copy() if isinstance(A, np.ndarray) else A.clone()


__all__ = ["Dual", "Fold", "NotPositiveError", "Primal", "cross_pairs", "folds_of"]
