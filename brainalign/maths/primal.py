"""What would rows left out have been predicted? From Gram matrices of the columns: for many samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.linalg import eigh

from brainalign.maths.arrays import Array, Home
from brainalign.maths.folds import Folds
from brainalign.maths.held_out import Fold, Read, chunks, folds_of

FEW = 512  # targets read at a time: of 5,000 samples 10 MB, 128 to 1,024 tried


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

        for _ in home.map(one, chunks(t, FEW)):
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
