"""What does a fitted ridge predict, and with which weights? From its points, a batch of targets at a time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import numpy as np

from brainalign.maths.arrays import Array, Home, home_of
from brainalign.maths.cost import parse_bytes
from brainalign.maths.dual import Dual
from brainalign.maths.held_out import chunks
from brainalign.maths.prepare import Prepared
from brainalign.maths.primal import Primal
from brainalign.maths.search import Found, members

ROWS = 2048  # samples predicted at a time
TOGETHER = 4_000_000  # numbers of the predicted parts of some targets that are held at once


class Solution:
    """The half of a ridge estimator that is used once its points are found; `BandedRidge` is the other half.

    Predictions without parts take one matrix per point from training responses to predictions; parts and weights take
    the weights on samples (dual) or columns (primal). Nothing of n × targets × bands is held.
    """

    device: str
    memory: int | str
    n_jobs: int | None
    method_: str
    done_: np.ndarray
    _data: Prepared
    _found: Found
    _space: Dual | Primal | None
    _power: np.ndarray
    _dtype: np.dtype
    _batch: int

    def _read(self, targets: np.ndarray) -> np.ndarray:
        return self._data.read(targets, self._dtype)

    def _laid_out(self, home: Home, way: str) -> Dual | Primal:
        data = self._data
        widths = [len(columns) for columns in data.columns]
        part = lambda band: data.part(band, self._dtype)  # noqa: E731
        return (Dual if way == "dual" else Primal)(home, part, widths, self._power, data.unit, data.folds, self._dtype)

    def _predicted(self, X: np.ndarray, split: bool) -> Iterator[tuple[slice, np.ndarray]]:
        data = self._data
        if not split and self.method_ != "primal":
            yield from self._operated(X)
            return
        new = [data.new(X, b, self._dtype) for b in range(len(data.bands))]
        together = min(TOGETHER, parse_bytes(self.memory) // 256)
        step = max(1, together // (len(X) * (len(new) if split else 1)))
        for whole, solved in self._solutions():
            for few in chunks(whole.stop - whole.start, step):
                batch, coef = slice(whole.start + few.start, whole.start + few.stop), solved[:, few]
                if split:
                    parts = np.stack([part @ coef[at] for part, at in zip(new, self._places(), strict=True)])
                    for part, columns, at in zip(parts, data.columns, self._places(), strict=True):
                        part += (data.x_mean[columns] @ coef[at]).astype(self._dtype)
                    yield batch, self._blank(parts, batch)
                else:
                    values = np.hstack(new) @ coef
                    values += data.y_mean[batch].astype(self._dtype)
                    yield batch, self._blank(values, batch)

    def _operated(self, X: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Predictions by one matrix from training responses to predictions for each point, never by weights."""
        data, space, found = self._data, self._dual_space(), self._found
        home, pieces = space.home, chunks(len(X), ROWS)
        used = [k for k in np.flatnonzero(np.diff(found.mixture.indptr)) if found.gains[:, k].any()]
        room = parse_bytes(self.memory) // 4
        keep = len(used) * len(X) * data.n * self._dtype.itemsize <= room and len(pieces) == 1
        operators: dict[int, Array] = {}
        across = self._across(space, X) if len(pieces) == 1 else None

        def one(point: int, Y: Array, batch: slice, here: Array) -> tuple[np.ndarray, np.ndarray | None]:
            which, weight = members(found.mixture, point, batch)
            if not len(which):
                return which, None
            H = operators.get(point)
            if H is None:
                H = home.combine(found.gains[:, point], here) @ self._projection(space, point)
                if keep:
                    operators[point] = H
            values = np.empty((len(which), len(H)), self._dtype)
            for few in chunks(len(which)):
                values[few] = home.numpy(Y[which[few]] @ H.T)
            values *= weight[:, None].astype(self._dtype)
            return which, values

        for batch in chunks(data.targets, self._batch):
            Y = space.responses(self._read, np.arange(data.targets)[batch])
            out = np.zeros((len(Y), len(X)), self._dtype)
            for rows in pieces:
                here = self._across(space, X[rows]) if across is None else across
                with home.threads():
                    for which, values in home.map(partial(one, Y=Y, batch=batch, here=here), used):
                        if values is not None:
                            out[which, rows] += values
            out += data.y_mean[batch, None].astype(self._dtype)
            yield batch, self._blank(out.T, batch)

    def _across(self, space: Dual, X: np.ndarray) -> Array:
        """(n_bands, m, n) kernels between new samples and those of the fit."""
        across = space.home.empty((len(self._data.bands), len(X), space.n), space.unit)
        for b, power in enumerate(self._power):
            new, old = (self._data.new(X, b, self._dtype), self._data.part(b, self._dtype))
            across[b] = space.home.array(new, self._dtype) @ space.home.array(old, self._dtype).T
            across[b] *= 1 / power if power else 0.0
        return across

    def _solutions(self) -> Iterator[tuple[slice, np.ndarray]]:
        """For a batch of targets, weights (n_features, m) on the columns as given, bands side by side."""
        data, found = self._data, self._found
        if self.method_ == "primal":
            space = self._space
            assert isinstance(space, Primal)
            root = np.where(space.root_power > 0, space.root_power, 1)[:, None].astype(self._dtype)
            start = 0
            for products in found.products:
                batch = slice(start, start + len(products))
                start = batch.stop
                with space.home.threads():
                    coef = self._primal_weights(space, products, batch).T
                coef /= root
                yield batch, coef
            if start < data.targets:  # an interruption left them
                yield slice(start, data.targets), np.zeros((len(root), data.targets - start), self._dtype)
            return
        for batch, weights in self._dual_weights(self._dual_space()):
            parts = [data.part(b, self._dtype).T @ weights[b].T for b in range(len(data.bands))]
            yield batch, np.concatenate(parts)

    def _primal_weights(self, space: Primal, products: Array, batch: slice) -> np.ndarray:
        """(m, p) weights on the scaled columns."""
        found, total = self._found, np.zeros((len(products), sum(space.widths)), self._dtype)

        def one(point: int) -> tuple[np.ndarray, np.ndarray]:
            which, weight = members(found.mixture, point, batch)
            if not found.gains[:, point].any():
                which = which[:0]
            W = space.projection(found.gains[:, point])
            return which, space.home.numpy(products[which] @ W) * weight[: len(which), None].astype(self._dtype)

        for which, values in space.home.map(one, np.flatnonzero(np.diff(found.mixture.indptr))):
            total[which] += values
        return total

    def _dual_weights(self, space: Dual) -> Iterator[tuple[slice, np.ndarray]]:
        """Weights on the solver's samples, (n_bands, m, n), a batch of targets at a time."""
        found, data = self._found, self._data
        size = max(1, min(self._batch, int(parse_bytes(self.memory) // 4 // (len(data.bands) * data.n * 8))))
        used = np.flatnonzero(np.diff(found.mixture.indptr))
        for batch in chunks(data.targets, size):
            Y = space.responses(self._read, np.arange(data.targets)[batch])
            weights = np.zeros((len(data.bands), batch.stop - batch.start, data.n), self._dtype)

            def one(point: int, Y: Array = Y, batch: slice = batch) -> tuple[int, np.ndarray, np.ndarray | None]:
                which, weight = members(found.mixture, point, batch)
                if not len(which) or not found.gains[:, point].any():
                    return point, which, None
                reached = space.home.numpy(Y[which] @ self._projection(space, point))
                return point, which, reached * weight[:, None].astype(self._dtype)

            with space.home.threads():
                for point, which, reached in space.home.map(one, used):
                    for b, gain in enumerate(found.gains[:, point]):
                        if reached is not None and gain > 0 and self._power[b] > 0:
                            weights[b, which] += reached * self._dtype.type(gain / self._power[b])
            yield batch, weights

    def _projection(self, space: Dual, point: int) -> Array:
        kept = self._found.kept.get(point)
        return space.projection(self._found.gains[:, point]) if kept is None else kept

    def _dual_space(self) -> Dual:
        """Kernels, made again where they were let go (after unpickling, or for dual weights of a primal fit)."""
        if not isinstance(self._space, Dual):
            space = self._laid_out(home_of(self.device, self.n_jobs), "dual")
            assert isinstance(space, Dual)
            if self.method_ == "primal":
                return space
            self._space = space
        return self._space

    def _places(self) -> list[slice]:
        """Where each band stands when bands stand side by side."""
        edges = np.cumsum([0, *(len(columns) for columns in self._data.columns)])
        return [slice(a, b) for a, b in pairwise(edges)]

    def _blank(self, values: np.ndarray, batch: slice = slice(None)) -> np.ndarray:
        """NaN where an interruption left a target unfitted."""
        left = ~self.done_[batch]
        if left.any():
            values[..., left] = np.nan
        return values
