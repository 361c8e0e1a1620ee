"""Which weights, each band of features shrunk by its own amount?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.linalg import eigh, get_lapack_funcs, svd
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from brainalign.errors import InputError, SettingsError
from brainalign.maths.folds import Folds, contiguous
from brainalign.maths.penalties import Step, fixed_plan, search_plan

SMALL = 1_000  # rows up to which LAPACK on several threads loses more than it wins (up to 20 × at a few hundred)

Blocks = list[tuple[np.ndarray, np.ndarray, np.ndarray]]  # per fold: V at the rows left out, those rows, which to score


# How sharply averaging prefers the better points: the value two prototypes settled on simulated data. That averaging
# is the default of `encode` was decided with scores of the alice sample in view (docs/decisions/0007).
TAU = 0.3


class BandedRidge(RegressorMixin, BaseEstimator):
    """Ridge regression in which every band of columns has a penalty of its own, chosen for each target.

    Minimises, for each target y (both sides centred on the rows given to `fit`),

        ‖y − Xw‖² + Σ_b λ_b‖w_b‖²          λ_b = 10^shrinkage_[b], X as given.

    The penalties are searched on a small design: ratios between bands (their kernels scaled to trace n, so that a
    band's columns and units do not matter) times overall signal-to-noise ratios from 10⁻³ to 10^1.5; each target takes
    the point with the least inner cross-validated squared error. Each target's result is its own: fitting others
    beside it changes nothing. Source: Nunez-Elizalde, Huth & Gallant (2019); Dupré la Tour et al. (2022).

    Parameters
    ----------
    bands : sequence of labels
        The band of each column of X.
    folds : int or list of (train, test)
        Inner folds: contiguous blocks, or row numbers as `brainalign.maths.folds` makes them. Both sides are centred on
        each fold's own training rows.
    shrinkage : array (n_bands,) or (n_bands, n_targets), optional
        Fixed log10 λ_b, bands in order of first appearance, +inf drops a band. Nothing is searched.
    average : bool
        Instead of the best point alone, average the solutions of all points of the search, each with weight
        loss^(−τ n/2), loss the inner cross-validated squared error, τ = 0.3. Where many points are about as good, as
        for weak responses, it predicts better than any single choice among them.
    device : "cpu"
        Where to compute.
    seed : int
        For the candidate ratios that are drawn at random (five bands and more, or a large `n_candidates`).
    n_candidates : int, optional
        Band ratios tried. Left out: 1, 7, 10 and 19 for one to four bands, 48 for more.

    Attributes
    ----------
    bands_ : list
        The bands, in order of first appearance.
    shrinkage_ : array (n_bands, n_targets)
        log10 λ_b, with `average` that of the best point; +inf: the band is dropped
        (its weights are 0), as are bands whose columns are all constant.
    cv_r2_ : array (n_targets,)
        Inner cross-validated R², pooled over folds, against each fold's training mean, at `shrinkage_`. Where the
        penalties were searched it is the best of all tried, hence optimistic; with `average` the weighted mean over
        points, which the averaged prediction can only exceed. NaN for a constant target, and where
        fixed penalties are so small that training rows are fitted exactly and the held-out error is lost to rounding.
    coef_ : array (n_features, n_targets)
        Weights; 0 for constant columns and constant targets.
    intercept_ : array (n_targets,)
        Such that ``X @ coef_ + intercept_`` is the prediction.
    points_ : array (n_bands, n_points)
        log10 λ_b of the points that the solution is made of.
    mixture_ : array (n_points, n_targets)
        The weight of each point in each target's solution; columns sum to 1. Without `average` a single 1 in each.
    dual_coef_ : array (n_bands, n_samples, n_targets)
        Such that the weights of band b are ``X_b.T @ dual_coef_[b]``, X centred.

    Raises
    ------
    InputError, SettingsError
        By `fit`: arrays that are not finite or do not fit one another, bands that do not name every column, inner
        folds that overlap, penalties of the wrong shape.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 6))
    >>> Y = X[:, :3] @ rng.standard_normal((3, 2)) + 0.1 * rng.standard_normal((100, 2))
    >>> model = BandedRidge(bands=["heard"] * 3 + ["unrelated"] * 3).fit(X, Y)
    >>> model.cv_r2_.round(2)
    array([0.99, 1.  ])
    >>> heard, unrelated = model.predict(X, split=True)
    >>> bool(np.abs(unrelated).max() < 0.05 * np.abs(heard).max())
    True
    """

    def __init__(
        self,
        bands: Sequence,
        folds: int | Folds = 5,
        shrinkage: np.ndarray | None = None,
        average: bool = False,
        device: str = "cpu",
        seed: int = 0,
        n_candidates: int | None = None,
    ) -> None:
        self.bands = bands
        self.folds = folds
        self.shrinkage = shrinkage
        self.average = average
        self.device = device
        self.seed = seed
        self.n_candidates = n_candidates

    def fit(self, X: np.ndarray, Y: np.ndarray) -> BandedRidge:
        """Choose penalties in inner folds and weigh the columns of X (n_samples, n_features) for Y (.., n_targets)."""
        if self.device != "cpu":
            raise SettingsError(f"BandedRidge computes on 'cpu' only; found device={self.device!r}")
        X, Y = check_arrays(X, Y)
        self.bands_, columns = columns_of(self.bands, X.shape[1])
        folds = check_folds(self.folds, len(X))
        x_mean, y_mean = X.mean(0), Y.mean(0)
        X, Y = _centre(X), _centre(Y)
        parts = [X[:, cols] for cols in columns]
        if self.shrinkage is None:
            plan = search_plan(parts, self.n_candidates, self.seed)
        else:
            plan = fixed_plan(_check_shrinkage(self.shrinkage, len(parts), Y.shape[1]))
        solve = _solve_average if self.average and self.shrinkage is None else _solve_best
        with _threads_for(len(X)):
            gains, self.dual_coef_, loss, points, self.mixture_ = solve(parts, Y, folds, plan)
            self.coef_ = np.empty((X.shape[1], Y.shape[1]))
            for part, cols, dual in zip(parts, columns, self.dual_coef_, strict=True):
                self.coef_[cols] = part.T @ dual
        silent = [not part.any() for part in parts]
        with np.errstate(divide="ignore"):
            self.shrinkage_, self.points_ = -np.log10(gains), -np.log10(points)
        self.shrinkage_[silent], self.points_[silent] = np.inf, np.inf
        baseline = sum(((Y[test] - Y[train].mean(0)) ** 2).sum(0) for train, test in folds)
        self.cv_r2_ = 1 - loss / np.where(Y.any(0), baseline, np.nan)
        self.intercept_ = y_mean - x_mean @ self.coef_
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: np.ndarray, split: bool = False) -> np.ndarray:
        """Predict (n_samples, n_targets); with `split`, each band's part (n_bands, n_samples, n_targets).

        The parts leave the intercept out: ``parts.sum(0) + intercept_`` is the prediction.
        """
        check_is_fitted(self)
        X = np.asarray(X, float)
        if X.ndim != 2 or X.shape[1] != self.n_features_in_:
            raise InputError(f"fitted on {self.n_features_in_} columns, asked to predict from shape {X.shape}")
        if not split:
            return X @ self.coef_ + self.intercept_
        _, columns = columns_of(self.bands, self.n_features_in_)
        return np.stack([X[:, cols] @ self.coef_[cols] for cols in columns])


def hat_operator(
    X_train: np.ndarray, X_test: np.ndarray, bands: Sequence, shrinkage: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The matrices that turn training responses into test predictions at fixed penalties.

    With H = ``operators[which[t]]``, the prediction of target t is ``mean(y_train) + H @ y_train``: H is centred, its
    rows sum to 0. It depends on the features and penalties only, so that shifted or permuted responses are
    predicted again at the price of one product.

    Parameters
    ----------
    X_train, X_test : array (n_train, n_features), (n_test, n_features)
        Features as `BandedRidge.fit` and `predict` were given them.
    bands : sequence of labels
        The band of each column.
    shrinkage : array (n_bands, n_targets)
        log10 λ_b (`BandedRidge.shrinkage_`). Give a few targets at a time where memory is short.

    Returns
    -------
    operators : array (n_distinct, n_test, n_train)
        One per distinct column of `shrinkage`.
    which : array (n_targets,) int
        The operator of each target.

    Raises
    ------
    InputError, SettingsError
        Shapes that do not agree, or numbers that are not finite.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.standard_normal((30, 4)), rng.standard_normal((30, 2))
    >>> model = BandedRidge(bands="aabb").fit(X[:20], Y[:20])
    >>> operators, which = hat_operator(X[:20], X[20:], "aabb", model.shrinkage_)
    >>> again = Y[:20].mean(0) + np.stack([operators[which[t]] @ Y[:20, t] for t in range(2)], 1)
    >>> np.allclose(again, model.predict(X[20:]))
    True
    """
    X_train, X_test = check_arrays(X_train, X_test, rows_agree=False)
    if X_train.shape[1] != X_test.shape[1]:
        raise InputError(f"training features have {X_train.shape[1]} columns, test features {X_test.shape[1]}")
    labels, columns = columns_of(bands, X_train.shape[1])
    shrinkage = _check_shrinkage(shrinkage, len(labels), np.shape(shrinkage)[-1] if np.ndim(shrinkage) else 0)
    centred, test = _centre(X_train), X_test - X_train.mean(0)
    train_parts, test_parts = ([values[:, cols] for cols in columns] for values in (centred, test))
    operators, which, kernels = [], np.empty(shrinkage.shape[1], int), {}
    with _threads_for(len(X_train)):
        for gains, steps in fixed_plan(shrinkage):
            U, s = _space(train_parts, gains, kernels)
            across = sum(gain * (b @ (a.T @ U)) for gain, a, b in zip(gains, train_parts, test_parts, strict=True))
            for delta, targets in steps:
                which[targets] = len(operators)
                operators.append((across * (delta / (1 + delta * s))) @ U.T)
    return np.stack(operators), which


# gains 1/λ of the best point (b, t), dual weights (b, n, t), summed held-out loss (t,), gains of the points the
# solution is made of (b, k), the weight of each (k, t)
Solution = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _solve_best(parts: list[np.ndarray], Y: np.ndarray, folds: Folds, plan: Iterator[Step]) -> Solution:
    """Each target takes the point of the plan with the least held-out loss."""
    n, t = Y.shape
    gains_of, dual, best = np.zeros((len(parts), t)), np.zeros((n, t)), np.full(t, np.inf)
    seen = np.zeros(t, bool)
    for gain, targets, reached, loss in _try(parts, Y, folds, plan):
        where = np.arange(t)[targets]
        better = (loss < best[where]) | ~seen[where]
        where = where[better]
        best[where], dual[:, where], gains_of[:, where] = loss[better], reached[:, better], gain[:, None]
        seen[where] = True
    points, which = np.unique(gains_of, axis=1, return_inverse=True)
    mixture = (which.ravel() == np.arange(points.shape[1])[:, None]).astype(float)
    return gains_of, gains_of[:, None] * dual, best, points, mixture


def _solve_average(parts: list[np.ndarray], Y: np.ndarray, folds: Folds, plan: Iterator[Step]) -> Solution:
    """Each target takes every point of the plan, with weight loss^(−τ n/2); sums are rescaled when a better comes."""
    n, t = Y.shape
    gains_of, best = np.zeros((len(parts), t)), np.full(t, np.inf)
    dual, total, summed = np.zeros((len(parts), n, t)), np.zeros(t), np.zeros(t)
    points, logs, top = [], [], np.full(t, -np.inf)
    least = np.finfo(float).tiny  # a constant target has no loss at any point: all weigh alike
    for gain, _, reached, loss in _try(parts, Y, folds, plan):
        log = np.where(np.isfinite(loss), -TAU * n / 2 * np.log(np.maximum(loss, least)), -np.inf)
        new = np.maximum(top, log)
        known = np.isfinite(new)
        fade = np.where(known, np.exp(np.where(known, top - new, 0)), 0)
        weight = np.where(known, np.exp(np.where(known, log - new, 0)), 0)
        dual *= fade
        dual += gain[:, None, None] * (weight * reached)
        total = total * fade + weight
        summed = summed * fade + weight * np.where(weight > 0, loss, 0)
        better = loss < best
        best[better], gains_of[:, better] = loss[better], gain[:, None]
        points.append(gain)
        logs.append(log)
        top = new
    share = np.where(total > 0, total, 1)
    mixture = np.exp(np.array(logs) - np.where(np.isfinite(top), top, 0)) / share
    return gains_of, dual / share, np.where(total > 0, summed / share, np.nan), np.array(points).T, mixture


def _try(
    parts: list[np.ndarray], Y: np.ndarray, folds: Folds, plan: Iterator[Step]
) -> Iterator[tuple[np.ndarray, np.ndarray | slice, np.ndarray, np.ndarray]]:
    """Every point of the plan: gains (b,), which targets, their dual weights over the gain (n, t'), loss (t',)."""
    n = len(Y)
    kernels: dict[int, np.ndarray] = {}
    held_out = [(left := np.setdiff1d(np.arange(n), train), np.searchsorted(left, test)) for train, test in folds]
    for gains, steps in plan:
        U, s = _space(parts, gains, kernels)
        V = np.hstack([U, np.full((n, 1), n**-0.5)])
        blocks = [(V[left], left, read) for left, read in held_out]
        projected = U.T @ Y
        beyond = Y - U @ projected  # what no weights can reach
        for delta, targets in steps:
            reached = U @ (projected[:, targets] / (1 + delta * s)[:, None])
            residual = reached + beyond[:, targets]
            yield gains * delta, targets, reached, _held_out_loss(blocks, delta * s / (1 + delta * s), residual)


def _space(parts: list[np.ndarray], gains: np.ndarray, kernels: dict[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """U (n, k), s (k,): Σ_b gain_b X_b X_bᵀ = U diag(s) Uᵀ, from columns where they are few, else from `kernels`.

    Kernels are made when first needed, and kept for the next call.
    """
    used = [b for b, part in enumerate(parts) if gains[b] > 0 and part.any()]
    n = len(parts[0])
    if not used:
        return np.zeros((n, 0)), np.zeros(0)
    if 2 * sum(parts[b].shape[1] for b in used) <= n:
        U, root, _ = svd(np.hstack([np.sqrt(gains[b]) * parts[b] for b in used]), full_matrices=False)
        s = np.square(root)
    else:
        for b in set(used) - set(kernels):
            kernels[b] = parts[b] @ parts[b].T
        s, U = eigh(sum(gains[b] * kernels[b] for b in used), driver="evd", overwrite_a=True, check_finite=False)
    keep = s > n * np.finfo(float).eps * s.max()
    return U[:, keep], s[keep]


def _held_out_loss(blocks: Blocks, w: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """(t,) squared error on rows not fitted, as if each fold had been fitted apart, from one fit to all rows.

    With P = I − 11ᵀ/n − U diag(w) Uᵀ = I − V diag(w) Vᵀ (V: U and the constant) and residual = P Y, leaving the rows L
    out (fold and gap, intercept fitted again) predicts them with the error P_LL⁻¹ (P Y)_L, exactly. Where L is larger
    than the rank, the inverse is taken on the other side (Woodbury).
    """
    potrf, potri, potrs = get_lapack_funcs(("potrf", "potri", "potrs"), dtype=float)
    root = np.sqrt(np.append(w, 1.0))
    loss = np.zeros(residual.shape[1])
    for V, left, read in blocks:
        A, r = V * root, residual[left]
        primal = A.shape[1] < len(left)
        inner = A.T @ A if primal else A @ A.T
        np.negative(inner, out=inner)
        inner.flat[:: len(inner) + 1] += 1
        factor, failed = potrf(inner.T, lower=1, clean=0, overwrite_a=1)
        if failed or factor.diagonal().min() ** 2 < 1e-10:  # too few digits are left to tell a held-out error
            return np.full_like(loss, np.nan)
        if primal:
            error = r + A @ potrs(factor, A.T @ r, lower=1)[0]
        else:  # the inverse once and one product: a third of the time of solving for each target
            lower = np.tril(potri(factor, lower=1)[0])
            error = lower @ r + np.tril(lower, -1).T @ r
        loss += np.einsum("nt,nt->t", error[read], error[read])
    return loss


def _centre(values: np.ndarray) -> np.ndarray:
    """Less the column means; a constant column becomes exactly 0, not what rounding leaves of it."""
    return np.where(np.ptp(values, axis=0) > 0, values - values.mean(0), 0.0)


def _threads_for(n: int) -> contextlib.AbstractContextManager:
    return threadpool_limits(1, user_api="blas") if n <= SMALL else contextlib.nullcontext()


def check_arrays(X: np.ndarray, Y: np.ndarray, rows_agree: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 (samples, columns), or an InputError that says what is wrong and where."""
    arrays = []
    for name, values in (("X", X), ("Y", Y)) if rows_agree else (("X_train", X), ("X_test", Y)):
        array = np.asarray(values)
        if array.ndim != 2 or not array.size:
            raise InputError(
                f"{name} is (samples, columns), neither empty; found shape {array.shape}"
                + (f"; give a single column as {name}[:, None]" if array.ndim == 1 else "")
            )
        array = array.astype(float)
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            row, column = bad[0]
            raise InputError(
                f"{name} has {len(bad)} values that are not finite, the first at row {row}, column {column}: "
                "leave those rows out of fit and score"
            )
        arrays.append(array)
    first, second = arrays
    if rows_agree and len(first) != len(second):
        raise InputError(f"X has {len(first)} rows and Y {len(second)}: one row per sample in both")
    return first, second


def columns_of(bands: Sequence, n_columns: int) -> tuple[list, list[np.ndarray]]:
    """The bands in order of first appearance, and the columns of each."""
    labels = list(bands)
    if len(labels) != n_columns:
        raise InputError(f"bands names {len(labels)} columns, X has {n_columns}: give one label per column")
    names = list(dict.fromkeys(labels))
    return names, [np.flatnonzero([label == name for label in labels]) for name in names]


def check_folds(folds: int | Folds, n_samples: int) -> Folds:
    """Inner folds as a list of (train, test) rows of X, or an InputError that names the odd one."""
    if isinstance(folds, (int, np.integer)):
        return contiguous(n_samples, int(folds))
    checked = [(np.asarray(train), np.asarray(test)) for train, test in folds]
    if not checked:
        raise SettingsError("no inner folds: give a number of at least 2, or a list of (train, test) rows")
    for i, (train, test) in enumerate(checked):
        for rows in (train, test):
            if rows.ndim != 1 or not len(rows) or rows.dtype.kind not in "iu":
                raise InputError(f"inner fold {i}: train and test are row numbers; found {rows.dtype} {rows.shape}")
            if not 0 <= rows.min() <= rows.max() < n_samples:
                raise InputError(f"inner fold {i}: rows {rows.min()}–{rows.max()}, X has rows 0–{n_samples - 1}")
        shared = np.intersect1d(train, test)
        if len(shared):
            raise InputError(
                f"inner fold {i}: {len(shared)} rows are in both train and test, the first is {shared[0]}: "
                "a row that is fitted cannot be held out"
            )
    return checked


def _check_shrinkage(shrinkage: np.ndarray, n_bands: int, n_targets: int) -> np.ndarray:
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
