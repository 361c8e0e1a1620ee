"""Which weights, each band of features shrunk by its own amount?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from brainalign.errors import InputError, did_you_mean
from brainalign.maths.arrays import Home, home_of
from brainalign.maths.cost import Sizes, cheaper, dtype_of, lay_out, parse_bytes
from brainalign.maths.dual import Dual
from brainalign.maths.folds import Folds
from brainalign.maths.penalties import POINTS, how_many
from brainalign.maths.prepare import (
    Prepared,
    check_finite,
    check_rows,
    check_shape,
    check_shrinkage,
)
from brainalign.maths.search import Found, Order, know, search
from brainalign.maths.solution import Solution
from brainalign.progress import Progress, bar, silent

SMALL = 256  # samples up to which float64 costs next to nothing
EXTREME = 1e3  # gains beyond this want float64: I + δK then spans more digits than float32 has


class BandedRidge(Solution, MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression in which every band of columns has a penalty of its own, chosen for each target.

    Minimises, for each target y (both sides centred on the rows given to `fit`, intercept not penalised),

        Σ_i w_i (y_i − x_i w)² + Σ_b λ_b‖w_b‖²          λ_b = 10^shrinkage_[b], X as given, w_i the sample weights.

    The penalties are points (one λ_b for each band) placed where the targets are: a guess from second moments, without
    a fit, says for every target how much each band explains; the guesses are clustered into 32 points, and each target
    is tried at the points near it (all of them, where targets are few). Errors of the inner folds are exact, each from
    one factorisation per point. What is reported for a target depends on the seed, not on batches; which points are
    tried depends on which targets are fitted together. Source: the model is that of Nunez-Elizalde, Huth & Gallant
    (2019) and Dupré la Tour et al. (2022); the guess is Haseman–Elston regression; the search is our own (docs/ideas).

    Parameters
    ----------
    bands : sequence of labels, optional
        The band of each column of X. Left out, all columns are one band.
    folds : int or list of (train, test)
        Inner folds: contiguous blocks, or row numbers as `brainalign.maths.folds` makes them, with gaps or without.
        Both sides are centred on each fold's own training rows.
    shrinkage : array (n_bands,) or (n_bands, n_targets), optional
        Fixed log10 λ_b, bands in order of first appearance, +inf drops a band. Nothing is searched.
    average : bool
        Instead of the best point alone, average the solutions of the points tried, each with weight loss^(−τ n/2), loss
        the inner cross-validated squared error, τ = 0.3. No signal at all is one of the points and counts fourfold;
        weights under 3 % of the best point's are dropped. Where many points are about as good, as for weak responses,
        this predicts better than any single choice among them.
    device : str
        "cpu" computes with numpy; "cuda", "cuda:1", "mps" with torch there, and "torch:cpu" with torch on the CPU.
    memory : int or str
        Bytes, or a size such as "4GB", that the fit may take beyond X and Y as given: decides how many targets are
        fitted at a time and what is kept between.
    seed : int
        For placing the points.
    n_jobs : int, optional
        Points computed at once on the CPU, each on one thread; by default, and for −1, as many as there are cores.

    Attributes
    ----------
    bands_ : list
        The bands, in order of first appearance.
    method_ : str
        The way that cost least: "dual" (kernels between samples), "primal" (Gram matrices of columns), or "low-rank"
        (dual, on the distinct ones of samples that repeat).
    shrinkage_ : array (n_bands, n_targets)
        log10 λ_b, with `average` that of the best point; +inf: the band is dropped
        (its weights are 0), as are bands whose columns are all constant.
    cv_r2_ : array (n_targets,)
        Inner cross-validated R², pooled over folds, against each fold's training mean, at `shrinkage_`. Where the
        penalties were searched it is the best of all tried, hence optimistic; with `average` the weighted mean over
        points, which the averaged prediction can only exceed. NaN for a constant target, and where
        fixed penalties are so small that the held-out error is lost to rounding.
    coef_ : array (n_features, n_targets)
        Weights, computed when first asked for; 0 for constant columns and constant targets.
    intercept_ : array (n_targets,)
        Such that ``X @ coef_ + intercept_`` is the prediction.
    points_ : array (n_bands, n_points)
        log10 λ_b of the points that were tried.
    mixture_ : array (n_points, n_targets)
        The weight of each point in each target's solution; columns sum to 1. Without `average` a single 1 in each.
    dual_coef_ : array (n_bands, n_samples, n_targets)
        Such that the weights of band b are ``X_b.T @ dual_coef_[b]``, X centred; computed when asked for, and large.
    done_ : array (n_targets,) bool
        False for targets that an interruption left unfitted; their numbers are NaN.

    Raises
    ------
    InputError, SettingsError
        By `fit`: arrays that are not finite or do not fit one another, bands that do not name every column, inner
        folds that overlap, penalties of the wrong shape, too little memory.
    KeyboardInterrupt
        By `fit`, when interrupted: targets of finished batches (`done_`) are fitted and stay so.

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
        bands: Sequence | None = None,
        folds: int | Folds = 5,
        shrinkage: np.ndarray | None = None,
        average: bool = False,
        device: str = "cpu",
        memory: int | str = "4GB",
        seed: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.bands = bands
        self.folds = folds
        self.shrinkage = shrinkage
        self.average = average
        self.device = device
        self.memory = memory
        self.seed = seed
        self.n_jobs = n_jobs

    def fit(
        self, X: np.ndarray, Y: Any, sample_weight: np.ndarray | None = None, progress: Progress | bool | None = None
    ) -> BandedRidge:
        """Choose penalties in inner folds and weigh the columns of X for Y.

        Parameters
        ----------
        X : array (n_samples, n_features)
        Y : array (n_samples, n_targets)
            In memory, memory-mapped or zarr; read a batch of targets at a time. A single target may be (n_samples,):
            so are its predictions then, while attributes keep their last axis.
        sample_weight : array (n_samples,), optional
            Not negative; a mask is weights of 0 and 1. Rows of weight 0 (censored volumes) have no say, may hold NaN,
            and keep their place in time when contiguous folds are cut.
        progress : bool or function (done, total, what), optional
            True shows a bar with the time left where stderr is a terminal; a function is called as points are finished.

        Returns
        -------
        BandedRidge
        """
        validate_data(self, X, Y, skip_check_array=True)  # type: ignore[arg-type]  # notes the names of columns
        self._single = len(Y.shape if hasattr(Y, "shape") else np.asarray(Y).shape) == 1
        X, Y = check_shape("X", X), check_shape("Y", np.asarray(Y)[:, None] if self._single else Y)
        check_rows(X, Y)
        data = Prepared(np.asarray(X), Y, self.bands, self.folds, sample_weight)
        fixed = None if self.shrinkage is None else check_shrinkage(self.shrinkage, len(data.bands), data.targets)
        self._begin(data)
        with bar() if progress is True else nullcontext(progress or silent) as tell:
            self._solve(fixed, tell)
        return self

    def without_each(self, choices: Sequence[Sequence[Any]], progress: Progress | None = None) -> Iterator[BandedRidge]:
        """Fits of the same responses with some bands left out, one after the other: the nested models of a partition.

        Kernels or Gram matrices, responses and moments are those of this fit; only penalties are searched anew, among
        points of the remaining bands, which are as many fewer as there are fewer bands. `shrinkage_` is +inf, and
        weights are 0, for the bands left out.

        Parameters
        ----------
        choices : sequence of sequences of labels
            Which bands each of the models lacks.
        progress : function (done, total, what), optional

        Yields
        ------
        BandedRidge
            Predict with one before the next is asked for, where memory is short.

        Raises
        ------
        InputError
            A label that is no band, or all of them in one choice.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> X = rng.standard_normal((300, 6))
        >>> Y = X[:, :3] @ rng.standard_normal((3, 2)) + rng.standard_normal((300, 2))
        >>> whole = BandedRidge(bands="aaabbb").fit(X, Y)
        >>> [bool((one.cv_r2_ > 0.5).all()) for one in whole.without_each(["a", "b"])]
        [False, True]
        """
        check_is_fitted(self, "points_")
        data, found = self._data, self._found
        masks = [self._kept(choice) for choice in choices]
        found.kept.clear()  # what this fit's own predictions need is computed again when they are asked for
        fixed = None if self.shrinkage is None else found.gains
        points, tried = (POINTS + 1, how_many(data.targets)) if fixed is None else (len(fixed.T), 1)
        home, way, order = self._plan(points, tried, fixed)
        with home.threads():
            space = self._space if self._space is not None and self._space.name == way else self._laid_out(home, way)
            self._space = space
            known = know(space, self._read, data.targets) if order.batch >= data.targets else None
        for k, mask in enumerate(masks):
            with home.threads():
                gains = None if fixed is None else fixed * mask[:, None]
                own = None if fixed is None else found.best
                other = copy(self)
                other._coef = other._intercept = None
                other._settle(
                    search(
                        space, self._read, data.targets, order,
                        average=self.average, seed=self.seed, gains=gains, own=own, inside=data.inside,
                        samples=len(data.rows), bands=mask, points=_fewer(mask), known=known,
                    )
                )  # fmt: skip
            if progress:
                progress(k + 1, len(masks), "leaving bands out")
            yield other

    def _kept(self, left_out: Sequence[Any]) -> np.ndarray:
        """(n_bands,) bool: the bands that stay."""
        unknown = [label for label in left_out if label not in self.bands_]
        if unknown:
            raise InputError(f"there is no band {unknown[0]!r} to leave out; {did_you_mean(unknown[0], self.bands_)}")
        kept = np.array([band not in left_out for band in self.bands_])
        if not kept.any():
            raise InputError("all bands are left out: a model keeps at least one")
        return kept

    def _begin(self, data: Prepared) -> None:
        self._data = data
        self.bands_ = data.bands
        self.n_features_in_ = data.X.shape[1]
        self._coef = self._intercept = self._space = None
        vars(self).pop("points_", None)  # not fitted, if what was fitted before is interrupted now

    def _gains(self, shrinkage: np.ndarray, power: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fixed penalties as points: gains (n_bands, k), and which is whose (t,)."""
        distinct, own = np.unique(shrinkage, axis=1, return_inverse=True)
        return power[:, None] / 10.0**distinct * self._data.weight, own.ravel()

    def _solve(self, fixed: np.ndarray | None, progress: Progress) -> None:
        data = self._data
        self._power = data.power()
        gains, own = (None, None) if fixed is None else self._gains(fixed, self._power)
        k, tried = (POINTS + 1, how_many(data.targets)) if gains is None else (len(gains.T), 1)
        home, way, order = self._plan(k, tried, gains)
        with home.threads():
            self._space = self._laid_out(home, way)
            try:
                found = search(
                    self._space, self._read, data.targets, order,
                    average=self.average, seed=self.seed, gains=gains, own=own, inside=data.inside,
                    samples=len(data.rows), progress=progress,
                )  # fmt: skip
            except KeyboardInterrupt as stop:
                if hasattr(stop, "found"):  # else the responses were still being read
                    self._settle(stop.found)  # type: ignore[attr-defined]
                raise
        self._settle(found)

    def _plan(self, points: int, tried: int, gains: np.ndarray | None, matrices: int = 1) -> tuple[Home, str, Order]:
        """Precision, method and batches for so many points, with so many matrices each; a target tries some."""
        data = self._data
        home = home_of(self.device, self.n_jobs)
        small = data.n <= SMALL or (gains is not None and gains.max(initial=0) > EXTREME)
        self._dtype = dtype_of(data.X, data.Y, small) if home.fine else np.dtype(np.float32)
        sizes = Sizes(
            data.n, data.X.shape[1], len(data.bands), data.targets, points, tried, self._dtype.itemsize, home.workers
        )
        way = cheaper(sizes, data.folds)
        kept = replace(sizes, points=matrices * points)
        order, home.workers = lay_out(way, kept, data.folds, parse_bytes(self.memory))
        self.method_ = "low-rank" if way == "dual" and data.first is not None else way
        self._batch = order.batch
        return home, way, order

    def _settle(self, found: Found) -> None:
        """What was found, in the units of X and Y as given."""
        data = self._data
        self._found, self.done_ = found, found.done
        with np.errstate(divide="ignore", invalid="ignore"):  # a band without variance has no power and no gain
            self.points_ = np.log10(self._power * data.weight)[:, None] - np.log10(found.gains)
        self.points_[self._power == 0] = np.inf
        self.shrinkage_ = np.where(found.done, self.points_[:, found.best], np.nan)
        inside = np.where(data.constant, np.nan, data.inside)
        self.cv_r2_ = 1 - (found.loss + inside) / np.where(data.constant, np.nan, found.nothing + inside)

    @property
    def mixture_(self) -> np.ndarray:
        """(n_points, n_targets) the weight of each point in each target's solution."""
        check_is_fitted(self, "points_")
        return self._found.mixture.toarray()

    @property
    def intercept_(self) -> np.ndarray:
        """(n_targets,) the prediction at features of 0."""
        check_is_fitted(self, "points_")
        if self._intercept is None:
            self._intercept = np.concatenate(
                [at[0] for _, at in self.predict_batches(np.zeros((1, self.n_features_in_)))]
            )
        return self._intercept

    @property
    def coef_(self) -> np.ndarray:
        """(n_features, n_targets) weights on X as given."""
        check_is_fitted(self, "points_")
        if self._coef is None:
            coef = np.zeros((self.n_features_in_, self._data.targets), self._dtype)
            for batch, values in self.coef_batches():
                coef[:, batch] = values
            self._coef = coef
        return self._coef

    def coef_batches(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Weights of a batch of targets at a time: (which targets, (n_features, m))."""
        check_is_fitted(self, "points_")
        place = np.argsort(np.concatenate(self._data.columns))
        for batch, values in self._solutions():
            yield batch, self._blank(values[place], batch)

    @property
    def dual_coef_(self) -> np.ndarray:
        """(n_bands, n_samples, n_targets) weights on the samples; X_bᵀ of them, X centred, are the band's weights."""
        check_is_fitted(self, "points_")
        data, space = self._data, self._dual_space()
        dual = np.zeros((len(data.bands), len(data.X), data.targets), self._dtype)
        for batch, weights in self._dual_weights(space):
            for b in range(len(data.bands)):
                dual[b, :, batch] = data.spread((weights[b] * data.root.astype(self._dtype)).T)
        return self._blank(dual)

    def predict(self, X: np.ndarray, split: bool = False, out: np.ndarray | None = None) -> np.ndarray:
        """Predict (n_samples, n_targets); with `split`, each band's part (n_bands, n_samples, n_targets).

        The parts leave the intercept out: ``parts.sum(0) + intercept_`` is the prediction. They take n_bands times the
        memory: give `out`, memory-mapped for instance, or take them batch by batch from `predict_batches`.
        """
        check_is_fitted(self, "points_")
        X = self._new(X)
        shape = (len(X), self._data.targets)
        shape = (len(self.bands_), *shape) if split else shape
        shape = shape[:-1] if self._single else shape
        if out is None:
            out = np.empty(shape, np.result_type(self._dtype, np.float32))
        elif out.shape != shape:
            raise InputError(f"out has shape {out.shape}, the prediction {shape}")
        table = out[..., None] if self._single else out
        for batch, values in self._predicted(X, split):
            table[..., batch] = values
        return out

    def predict_batches(self, X: np.ndarray, split: bool = False) -> Iterator[tuple[slice, np.ndarray]]:
        """Predictions of a batch of targets at a time: (which targets, (n_samples, m) or (n_bands, n_samples, m))."""
        check_is_fitted(self, "points_")
        return self._predicted(self._new(X), split)

    def _new(self, X: Any) -> np.ndarray:
        values = np.asarray(check_shape("X", X))
        if values.shape[1] != self.n_features_in_:
            raise InputError(
                f"X has {values.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} "
                "features as input: give the columns it was fitted on"
            )
        validate_data(self, X, reset=False, skip_check_array=True)  # compares the names of columns
        check_finite("X", values, np.arange(len(values)))
        return values if values.dtype == np.float32 else values.astype(float)

    def __getstate__(self) -> dict[str, Any]:
        """Without what can be computed again: kernels and projections."""
        state = dict(vars(self))
        if isinstance(state.get("_space"), Dual):
            state = {**state, "_space": None, "_found": replace(state["_found"], kept={})}
        return state


def _fewer(kept: np.ndarray) -> int:
    """Points for some of the bands: as dense as those of all, where there are fewer dimensions to fill."""
    return max(POINTS // 2, round(POINTS * kept.sum() / len(kept)))
