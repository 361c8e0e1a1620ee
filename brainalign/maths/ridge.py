"""Which weights, all columns shrunk alike?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array, eye_array

from brainalign.errors import SettingsError
from brainalign.maths.arrays import home_of
from brainalign.maths.banded import SMALL, BandedRidge
from brainalign.maths.cost import dtype_of
from brainalign.maths.dual import Dual
from brainalign.maths.folds import Folds
from brainalign.maths.fractional import Rotation, choose, rotation_of, shrunk
from brainalign.maths.held_out import CHUNK, chunks
from brainalign.maths.line import Line
from brainalign.maths.search import Found
from brainalign.progress import Progress

RATIOS = np.logspace(-3, 1.5, 20)  # signal-to-noise ratios tried where no alphas are given
ROTATED = "singular values"
TRIES = 5  # penalties that a target is tried at, about


class RidgeCV(BandedRidge):
    """Ridge regression with one penalty for all columns, chosen for each target or once for all of them.

    Minimises, for each target y (both sides centred on the rows given to `fit`, intercept not penalised),

        Σ_i w_i (y_i − x_i w)² + α‖w‖²          X as given, w_i the sample weights,

    α being the one of `alphas` with the least error in inner folds. Errors are exact, each from one factorisation per
    alpha and all folds, but not every alpha is tried on every target: from a guess (second moments, no fit) a
    target goes downhill in steps of about half a decade until its best lies between two worse ones, then to where a
    parabola through the three has its minimum. That is the best of all alphas unless the error has several minima,
    or two alphas are as good as equal. Where targets are few, all are tried.

    With `fractions` the length of the weights is chosen instead: for a fraction γ each target gets the α at which
    ‖w(α)‖ = γ‖w(0)‖, w(0) the shortest of the least-squares solutions. In every fold that α is found anew. With about
    as many columns as samples ‖w(0)‖ is mostly noise, and a fraction chosen in folds says little about all rows: take
    alphas there. Source: Rokem & Kay (2020), Fractional ridge regression.

    Parameters
    ----------
    alphas : sequence of float, optional
        Penalties, in squared units of X. Left out, 20 of them: ‖X − mean‖² / (n δ) for signal-to-noise ratios δ from
        10^−3 to 10^1.5, evenly in log.
    folds : int or list of (train, test)
        Inner folds: contiguous blocks, or row numbers as `brainalign.maths.folds` makes them, with gaps or without.
        Both sides are centred on each fold's own training rows.
    shared : bool
        One alpha (or fraction) for all targets: the highest `cv_r2_` summed over targets, that is, the least squared
        error relative to the target's own, so that no target's units count more. Constant targets have no say.
    fractions : sequence of float, optional
        Fractions γ, above 0 and at most 1 (no penalty), instead of alphas. Computed on the CPU in float64.
    device, memory, n_jobs
        As for `BandedRidge`.
    seed : int
        Nothing is drawn at random; there for symmetry with the other solvers.

    Attributes
    ----------
    alpha_ : array (n_targets,), or float
        The penalties in units of X as given, one number if `shared` (not with `fractions`: the same fraction takes
        another α for every target). The largest for a constant target; with `fractions` +inf.
    fraction_ : array (n_targets,), or float
        With `fractions`, the chosen ones; the smallest for a constant target.
    alphas_ : array (n_alphas,)
        What was to choose from, the largest first. Not with `fractions`.
    cv_r2_ : array (n_targets,)
        Inner cross-validated R², pooled over folds, against each fold's training mean, at the penalty chosen; the best
        of those tried, hence optimistic. NaN for a constant target.
    cv_curve_ : array (n_alphas, n_targets), or (n_alphas,)
        The same at every alpha, in the order of `alphas_` (fractions: ascending), NaN where it was not tried. If
        `shared`, the mean over targets.
    method_ : str
        "dual", "primal" or "low-rank", see `BandedRidge`; "singular values" with `fractions`.
    coef_, intercept_, dual_coef_, shrinkage_, done_, …
        As for `BandedRidge`, with a single band: ``shrinkage_[0]`` is log10 α.

    Raises
    ------
    InputError, SettingsError
        By `fit`: as `BandedRidge`, and alphas or fractions that are none, or both.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 50))
    >>> Y = X[:, :5] @ rng.standard_normal((5, 3)) + 3 * rng.standard_normal((100, 3))
    >>> model = RidgeCV(alphas=[1, 10, 100, 1000]).fit(X, Y)
    >>> model.alpha_.tolist(), model.coef_.shape
    ([100.0, 100.0, 100.0], (50, 3))
    >>> float(RidgeCV(alphas=[1, 10, 100, 1000], shared=True).fit(X, Y).alpha_)
    100.0
    >>> half = RidgeCV(fractions=[0.5]).fit(X, Y)
    >>> full = np.linalg.lstsq(X - X.mean(0), Y - Y.mean(0))[0]
    >>> (np.linalg.norm(half.coef_, axis=0) / np.linalg.norm(full, axis=0)).round(6).tolist()
    [0.5, 0.5, 0.5]
    """

    # what BandedRidge asks of itself
    bands = None
    shrinkage = None
    average = False

    def __init__(
        self,
        alphas: Sequence[float] | np.ndarray | None = None,
        folds: int | Folds = 5,
        shared: bool = False,
        fractions: Sequence[float] | np.ndarray | None = None,
        device: str = "cpu",
        memory: int | str = "4GB",
        seed: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.alphas = alphas
        self.folds = folds
        self.shared = shared
        self.fractions = fractions
        self.device = device
        self.memory = memory
        self.seed = seed
        self.n_jobs = n_jobs

    def fit(
        self, X: np.ndarray, Y: Any, sample_weight: np.ndarray | None = None, progress: Progress | bool | None = None
    ) -> RidgeCV:
        """Choose penalties in inner folds and weigh the columns of X for Y; see `BandedRidge.fit`."""
        if self.alphas is not None and self.fractions is not None:
            raise SettingsError("both alphas and fractions are given: choose by penalty or by length, leave one out")
        check_alphas(self.alphas)
        check_fractions(self.fractions, self.device)
        super().fit(X, Y, sample_weight, progress)
        return self

    def _solve(self, fixed: np.ndarray | None, progress: Progress) -> None:
        for name in ("alphas_", "fraction_"):  # of a fit before, by other means
            vars(self).pop(name, None)
        self._power = self._data.power()
        self._turn: Rotation | None = None
        fractions = check_fractions(self.fractions, self.device)
        if fractions is None:
            self._by_penalty(progress)
        else:
            self._by_length(fractions, progress)

    def _by_penalty(self, progress: Progress) -> None:
        data, given = self._data, check_alphas(self.alphas)
        unit = float(self._power[0] or 1) * data.weight
        self.alphas_ = unit / RATIOS if given is None else given
        gains = float(self._power[0]) * data.weight / self.alphas_
        k = len(gains)
        home, way, order = self._plan(k, min(k, TRIES), gains, matrices=2)  # what judges and what predicts
        with home.threads():
            self._space = self._laid_out(home, way)
            line = Line(self._space, self._read, data, gains, order, progress)
            try:
                curve = line.together() if self.shared else line.each()
            except KeyboardInterrupt:
                if line.found.done.any():
                    self._chosen(line.found, np.full(k if self.shared else (k, data.targets), np.nan))
                raise
        self._chosen(line.found, curve)

    def _chosen(self, found: Found, curve: np.ndarray) -> None:
        with np.errstate(invalid="ignore"):  # features without variance have no gain at any penalty
            self._settle(found)
        alpha = np.where(self.done_, self.alphas_[found.best], np.nan)
        self.alpha_ = float(alpha[0]) if self.shared else alpha
        self.cv_curve_ = 1 - curve if self.shared else self._explained(curve)

    def _explained(self, losses: np.ndarray) -> np.ndarray:
        data = self._data
        inside = np.where(data.constant, np.nan, data.inside)
        return 1 - (losses + inside) / np.where(data.constant, np.nan, self._found.nothing + inside)

    def _by_length(self, fractions: np.ndarray, progress: Progress) -> None:
        data, t = self._data, self._data.targets
        self._dtype = dtype_of(data.X, data.Y, data.n <= SMALL)
        self._batch = CHUNK
        self.method_ = ROTATED
        home = home_of("cpu", self.n_jobs)
        with home.threads():
            chosen = choose(data, fractions, self.shared, home, self.memory, progress)
        self._turn = chosen.rotation
        self._penalty = chosen.alpha
        loss = chosen.loss[chosen.best, np.arange(t)]
        with np.errstate(divide="ignore"):
            gains = self._power[:, None] / chosen.alpha
        mixture = csr_array(eye_array(t))
        with np.errstate(invalid="ignore"):
            self._settle(Found(gains, mixture, np.arange(t), loss, chosen.nothing, np.ones(t, bool)))
        self.alpha_ = chosen.alpha * data.weight
        self.fraction_ = float(fractions[chosen.best[0]]) if self.shared else fractions[chosen.best]
        curve = self._explained(chosen.loss)
        varied = curve[:, ~data.constant]
        self.cv_curve_ = curve if not self.shared else varied.sum(1) / (varied.shape[1] or np.nan)

    def _rotated(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Responses of a batch of targets along the left singular vectors (r, m)."""
        for batch in chunks(self._data.targets, self._batch):
            yield batch, self._rotation.U.T @ self._data.read(np.arange(self._data.targets)[batch], np.dtype(float))

    @property
    def _rotation(self) -> Rotation:
        if self._turn is None:
            self._turn = rotation_of(self._data)
        return self._turn

    def _solutions(self) -> Iterator[tuple[slice, np.ndarray]]:
        if self.method_ != ROTATED:
            yield from super()._solutions()
            return
        rotation = self._rotation
        for batch, Z in self._rotated():
            coef = rotation.Vt.T @ shrunk(rotation.s, Z, self._penalty[batch])
            coef[self._data.flat] = 0
            yield batch, coef.astype(self._dtype)

    def _dual_weights(self, space: Dual) -> Iterator[tuple[slice, np.ndarray]]:
        if self.method_ != ROTATED:
            yield from super()._dual_weights(space)
            return
        rotation = self._rotation
        for batch, Z in self._rotated():
            dual = rotation.U @ (Z / (rotation.s[:, None] ** 2 + self._penalty[batch]))
            yield batch, dual.T[None].astype(self._dtype)

    def _operated(self, X: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        if self.method_ != ROTATED:
            yield from super()._operated(X)
            return
        new = self._data.new(X, 0, self._dtype)
        for batch, coef in self._solutions():
            yield batch, new @ coef + self._data.y_mean[batch].astype(self._dtype)

    def __getstate__(self) -> dict[str, Any]:
        """Without what can be computed again."""
        state = super().__getstate__()
        return {**state, "_turn": None} if "_turn" in state else state


def check_alphas(alphas: Any) -> np.ndarray | None:
    """Distinct penalties, the largest first, or a SettingsError."""
    if alphas is None:
        return None
    values = _row(alphas)
    if values is None or not (np.isfinite(values) & (values > 0)).all():
        raise SettingsError(f"alphas are finite numbers above 0, one or several in a row; found {_short(alphas)}")
    return np.unique(values)[::-1]


def check_fractions(fractions: Any, device: str = "cpu") -> np.ndarray | None:
    """Distinct fractions, ascending, or a SettingsError."""
    if fractions is None:
        return None
    values = _row(fractions)
    if values is None or not ((values > 0) & (values <= 1)).all():
        raise SettingsError(
            f"fractions of the unpenalised weights' length are above 0 and at most 1; found {_short(fractions)}"
        )
    if device != "cpu":
        raise SettingsError(f"fractions are computed on the CPU; found device={device!r}: leave device out")
    return np.unique(values)


def _row(values: Any) -> np.ndarray | None:
    try:
        row = np.atleast_1d(np.asarray(values, float))
    except (TypeError, ValueError):
        return None
    return row if row.ndim == 1 and len(row) else None


def _short(values: Any) -> str:
    text = repr(values)
    return text if len(text) <= 80 else text[:77] + "..."
