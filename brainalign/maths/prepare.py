"""What do the solvers see of the arrays one gives? Checked, censored, weighted, centred; equal samples once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import issparse

from brainalign.errors import InputError, SettingsError
from brainalign.maths.folds import Folds, contiguous

FEWER = 0.9  # equal samples are gathered where that leaves at most this share of them


class Prepared:
    """Both sides of a regression as the solvers of `held_out` want them; nothing is copied before it is asked for.

    Rows of weight 0 are left out. With w the other weights over their mean, a row of a band is √w (x − Σwx/Σw), the
    same for responses, so that plain least squares is weighted least squares. Samples with equal features that fall
    into the same folds become one, with their mean response and the sum of their weights: the same solution from
    fewer rows.

    n : samples the solver sees; unit : (n,) √w, of length 1; folds : on those samples; weight : mean weight
    """

    def __init__(
        self, X: np.ndarray, Y: Any, bands: Sequence | None, folds: int | Folds, sample_weight: np.ndarray | None
    ) -> None:
        self.X, self.Y = X, Y
        self.bands, self.columns = columns_of(bands, X.shape[1])
        weights = check_weights(sample_weight, len(X))
        self.rows = np.flatnonzero(weights)
        check_finite("X", X[self.rows] if len(self.rows) < len(X) else X, self.rows)
        self.weight = float(weights[self.rows].mean())
        own = weights[self.rows] / self.weight
        self.folds = check_folds(folds, len(X), self.rows)
        self.first, self.group = _gather(X, self.rows, self.folds)
        if self.first is not None:
            total = np.bincount(self.group, own)
            self.share = own / total[self.group]  # of its sample's weight
            self.folds = [(_groups(self.group, train), _groups(self.group, test)) for train, test in self.folds]
            self.root = np.sqrt(total)
        else:
            self.root = np.sqrt(own)
        self.own = own
        self.n = len(self.root)
        self.unit = self.root / np.linalg.norm(self.root)
        where = self.rows if self.first is None else self.rows[self.first]
        self.where = slice(None) if len(where) == len(X) else where
        self.x_mean = (
            self.unit**2 @ np.asarray(X[self.where], float)
            if X.dtype != np.float32
            else _mean(X[self.where], self.unit**2)
        )
        flat = X[self.where].max(0) == X[self.where].min(0)
        self.x_mean[flat] = X[self.where][0, flat]
        self.flat = flat
        self.targets = Y.shape[1]
        self.y_mean = np.full(self.targets, np.nan)
        self.inside = np.zeros(self.targets)  # Σ w y² between equal samples, which no features can tell apart
        self.constant = np.zeros(self.targets, bool)

    def power(self) -> np.ndarray:
        """(n_bands,) mean square of a sample's features: what a kernel of trace n is scaled by."""
        dtype = np.dtype(np.float32 if self.X.dtype == np.float32 else float)
        parts = (self.part(band, dtype) for band in range(len(self.bands)))
        return np.array([float(np.einsum("np,np->", part, part)) / self.n for part in parts])

    def part(self, band: int, dtype: np.dtype) -> np.ndarray:
        """(n, p_b) a band as the solver sees it; constant columns are exactly 0."""
        values = self.new(self.X[self.where], band, dtype)
        if np.ptp(self.root) > 0 or self.root[0] != 1:
            values *= self.root[:, None].astype(dtype)
        return values

    def new(self, X: np.ndarray, band: int, dtype: np.dtype) -> np.ndarray:
        """(m, p_b) a band of other samples, less the training mean."""
        columns = self.columns[band]
        span = _span(columns)
        mean = self.x_mean[columns]
        # the difference in the finer of both precisions: a large mean must not cost the digits of what varies
        values = (
            np.subtract(X[:, span], mean, dtype=np.float64)
            if X.dtype != np.float32
            else X[:, span] - mean.astype(np.float32)
        )
        values[:, self.flat[columns]] = 0
        return values.astype(dtype, copy=False)

    def read(self, targets: slice | np.ndarray, dtype: np.dtype) -> np.ndarray:
        """(n, m) responses of some targets as the solver sees them; notes their means on the way."""
        by_number = getattr(self.Y, "oindex", self.Y)  # zarr's way to take columns by number
        values = np.asarray(self.Y[:, targets] if isinstance(targets, slice) else by_number[:, targets])
        if len(self.rows) < len(values):
            values = values[self.rows]
        if values.dtype != np.float32:
            values = values.astype(float, copy=False)
        weights = (self.own / self.own.sum()).astype(values.dtype)
        with np.errstate(invalid="ignore", over="ignore"):
            mean = weights @ values
        if not np.isfinite(mean).all():
            check_finite("Y", values, self.rows, np.arange(self.targets)[targets])
        middle = len(values) // 2
        still = np.flatnonzero((values[0] == values[-1]) & (values[0] == values[middle]))
        still = still[(values[:, still] == values[0, still]).all(0)]
        mean[still] = values[0, still]
        centred = values - mean
        more = weights @ centred  # what a mean in float32 is off by
        if np.abs(more).max() > 1e-6 * np.abs(centred[middle]).max():
            centred -= more
        centred[:, still], more[still] = 0, 0
        self.y_mean[targets] = mean.astype(float) + more
        self.constant[np.arange(self.targets)[targets][still]] = True
        if self.first is not None:
            centred = self._together(centred, targets)
        if np.ptp(self.root) > 0 or self.root[0] != 1:
            centred *= self.root[:, None].astype(centred.dtype)
        return centred.astype(dtype, copy=False)

    def _together(self, values: np.ndarray, targets: slice | np.ndarray) -> np.ndarray:
        """Weighted means over equal samples; how much they differ among each other is noted."""
        from scipy.sparse import csr_array

        gather = csr_array((self.share, (self.group, np.arange(len(self.group)))), (self.n, len(self.group)))
        means = (gather @ values).astype(values.dtype)
        apart = values - means[self.group]
        scored = np.zeros(self.n)
        for _, test in self.folds:
            scored[test] += 1
        self.inside[targets] = (self.own * scored[self.group]) @ np.square(apart, dtype=float)
        return means

    def spread(self, values: np.ndarray) -> np.ndarray:
        """(n_samples as given, ..) from (n, ..) on the solver's samples: shares of equal ones, 0 for censored rows."""
        out = np.zeros((len(self.X), *values.shape[1:]), values.dtype)
        extra = (slice(None),) + (None,) * (values.ndim - 1)
        out[self.rows] = values if self.first is None else values[self.group] * self.share[extra].astype(values.dtype)
        return out


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean of columns; in float32 twice, so that the second time there are digits left for what varies."""
    if values.dtype != np.float32:
        return weights @ np.asarray(values, float)
    rough = weights.astype(np.float32) @ values
    mean = rough.astype(float)
    for start in range(0, len(values), 1024):
        mean += weights[start : start + 1024].astype(np.float32) @ (values[start : start + 1024] - rough)
    return mean


def _gather(X: np.ndarray, rows: np.ndarray, folds: Folds) -> tuple[np.ndarray | None, np.ndarray]:
    """Rows (positions) that stand for all that are equal to them and in the same folds, and which of them each row is;
    None where that would leave most.
    """
    for column in {0, X.shape[1] // 2, X.shape[1] - 1}:  # a column that hardly repeats settles it
        if len(np.unique(X[:, column])) > FEWER * len(X):
            return None, np.arange(len(rows))
    part = np.zeros((len(rows), 2 * len(folds)), bool)
    for k, (train, test) in enumerate(folds):
        part[train, 2 * k], part[test, 2 * k + 1] = True, True
    seen: dict[tuple[int, bytes], list[int]] = {}
    group, first = np.empty(len(rows), int), []
    for i, row in enumerate(rows):
        same = seen.setdefault((hash(X[row].tobytes()), part[i].tobytes()), [])
        known = next((g for g in same if np.array_equal(X[rows[first[g]]], X[row])), None)
        if known is None:
            known = len(first)
            same.append(known)
            first.append(i)
        group[i] = known
    if len(first) > FEWER * len(rows):
        return None, group
    return np.array(first), group


def _groups(group: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.unique(group[rows])


def _span(rows: np.ndarray) -> slice | np.ndarray:
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1:
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def check_finite(name: str, values: np.ndarray, rows: np.ndarray, columns: np.ndarray | None = None) -> None:
    """Or an InputError that names the first place, counted as the caller counts."""
    with np.errstate(over="ignore", invalid="ignore"):
        quick = np.isfinite(values.sum()) if values.dtype.kind == "f" else True
    if quick:
        return
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise InputError(
            f"{name} has {len(bad)} values that are not finite (NaN or infinity), the first at row {rows[row]}, column "
            f"{column if columns is None else columns[column]}: leave those rows out, in `fit` by sample_weight 0"
        )


def check_shape(name: str, values: Any) -> Any:
    """A table (samples, columns) of numbers: arrays, memory-mapped or zarr; or an InputError that says what it is."""
    if issparse(values):
        raise InputError(f"{name} is a dense table; found a sparse {type(values).__name__}: give {name}.toarray()")
    table = values if hasattr(values, "shape") and hasattr(values, "dtype") else np.asarray(values)
    if len(table.shape) != 2 or 0 in table.shape:
        raise InputError(
            f"{name} is (samples, columns), neither empty; found shape {tuple(table.shape)}"
            + (f". Reshape your data: a single column is {name}[:, None]" if len(table.shape) == 1 else "")
        )
    if table.dtype.kind == "c":
        raise InputError(f"Complex data not supported: {name} is a table of real numbers; found dtype {table.dtype}")
    if table.dtype.kind not in "fiub":
        try:
            table = np.asarray(table).astype(float)
        except (TypeError, ValueError):
            raise InputError(f"{name} is a table of real numbers; found dtype {table.dtype}") from None
    return table


def check_arrays(X: np.ndarray, Y: np.ndarray, rows_agree: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 (samples, columns), or an InputError that says what is wrong and where."""
    names = ("X", "Y") if rows_agree else ("X_train", "X_test")
    first, second = (np.asarray(check_shape(name, values), float) for name, values in zip(names, (X, Y), strict=True))
    for name, values in zip(names, (first, second), strict=True):
        check_finite(name, values, np.arange(len(values)))
    if rows_agree:
        check_rows(first, second)
    return first, second


def check_rows(X: Any, Y: Any) -> None:
    """As many rows in both, or an InputError."""
    if X.shape[0] != Y.shape[0]:
        raise InputError(f"X has {X.shape[0]} rows and Y {Y.shape[0]}: one row per sample in both")


def columns_of(bands: Sequence | None, n_columns: int) -> tuple[list, list[np.ndarray]]:
    """The bands in order of first appearance, and the columns of each; without labels all are one band."""
    labels = ["all"] * n_columns if bands is None else list(bands)
    if len(labels) != n_columns:
        raise InputError(f"bands names {len(labels)} columns, X has {n_columns}: give one label per column")
    places: dict[Any, list[int]] = {}
    for at, label in enumerate(labels):
        places.setdefault(label, []).append(at)
    return list(places), [np.array(at) for at in places.values()]


def check_weights(sample_weight: Any, n_samples: int) -> np.ndarray:
    """(n,) weights, 1 where none are given; a mask is weights of 0 and 1."""
    if sample_weight is None:
        return np.ones(n_samples)
    weights = np.asarray(sample_weight)
    weights = np.full(n_samples, float(weights)) if weights.ndim == 0 else weights.astype(float)
    if weights.shape != (n_samples,):
        raise InputError(f"sample_weight is one number per sample, ({n_samples},); found shape {weights.shape}")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise InputError("sample_weight is finite and not negative; give 0 to leave a sample out")
    if np.count_nonzero(weights) < 2:
        raise InputError(
            f"sample_weight is zero for all but {np.count_nonzero(weights)} of {n_samples} samples: nothing to fit"
        )
    return weights


def check_folds(folds: int | Folds, n_samples: int, rows: np.ndarray | None = None) -> Folds:
    """Inner folds as a list of (train, test) rows of X, or an InputError that names the odd one.

    With `rows`, those in use: positions among them, folds without a scored row left out.
    """
    if isinstance(folds, (int, np.integer)):
        checked = contiguous(n_samples, int(folds))
    else:
        checked = [(_row_numbers(train), _row_numbers(test)) for train, test in folds]
        if not checked:
            raise SettingsError("no inner folds: give a number of at least 2, or a list of (train, test) rows")
        for i, fold in enumerate(checked):
            _check_fold(i, fold, n_samples)
    if rows is None or len(rows) == n_samples:
        return checked
    place = np.full(n_samples, -1)
    place[rows] = np.arange(len(rows))
    placed = [(place[train], place[test]) for train, test in checked]
    used = [(train[train >= 0], test[test >= 0]) for train, test in placed]
    used = [fold for fold in used if len(fold[0]) and len(fold[1])]
    if not used:
        raise InputError("no inner fold has both a training and a test row of weight above 0: use fewer, larger folds")
    return used


def _row_numbers(rows: Any) -> np.ndarray:
    rows = np.asarray(rows)
    return np.flatnonzero(rows) if rows.dtype == bool else rows


def _check_fold(i: int, fold: tuple[np.ndarray, np.ndarray], n_samples: int) -> None:
    train, test = fold
    for rows in fold:
        if rows.ndim != 1 or not len(rows) or rows.dtype.kind not in "iu":
            raise InputError(f"inner fold {i}: train and test are row numbers; found {rows.dtype} {rows.shape}")
        if not 0 <= rows.min() <= rows.max() < n_samples:
            raise InputError(f"inner fold {i}: rows {rows.min()}–{rows.max()}, X has rows 0–{n_samples - 1}")
        if len(np.unique(rows)) < len(rows):
            raise InputError(f"inner fold {i}: a row stands twice in train or in test; give sample_weight instead")
    shared = np.intersect1d(train, test)
    if len(shared):
        raise InputError(
            f"inner fold {i}: {len(shared)} rows are in both train and test, the first is {shared[0]}: "
            "a row that is fitted cannot be held out"
        )


def check_shrinkage(shrinkage: Any, n_bands: int, n_targets: int) -> np.ndarray:
    """(n_bands, n_targets) log10 λ."""
    values = np.asarray(shrinkage, float)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[0] != n_bands or values.shape[1] not in (1, n_targets):
        raise InputError(
            f"shrinkage is log10 λ, ({n_bands} bands,) or ({n_bands}, {n_targets} targets); "
            f"found shape {np.shape(shrinkage)}"
        )
    if np.isnan(values).any() or np.isneginf(values).any():
        raise InputError("shrinkage is log10 λ, a finite number or +inf (band dropped); found NaN or −inf")
    return np.broadcast_to(values, (n_bands, n_targets))
