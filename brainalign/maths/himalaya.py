"""The same regression, with its penalties searched by himalaya: for users who want the field's own search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from brainalign.errors import SettingsError
from brainalign.maths.banded import BandedRidge
from brainalign.maths.prepare import check_arrays, check_folds, columns_of
from brainalign.progress import Progress

SIGNAL_TO_NOISE = np.logspace(-3, 1.5, 8)  # tried for kernels scaled to trace n, weakest first: ties shrink more


class HimalayaRidge(BandedRidge):
    """`BandedRidge` whose penalties come from himalaya's random search over Dirichlet-drawn band ratios.

    Everything after the search (weights, inner R², parts) is computed by `BandedRidge` at the penalties found, so that
    both solvers' results are in the same units. himalaya's backend is a switch of the whole process; it is put back.
    Source: Dupré la Tour, Eickenberg, Nunez-Elizalde & Gallant (2022).

    Parameters
    ----------
    bands, folds, seed, n_jobs
        As for `BandedRidge`.
    n_candidates : int
        Band ratios drawn (himalaya's `n_iter`).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 6))
    >>> Y = X[:, :3] @ rng.standard_normal((3, 2)) + 0.1 * rng.standard_normal((100, 2))
    >>> HimalayaRidge(bands=["heard"] * 3 + ["unrelated"] * 3).fit(X, Y).cv_r2_.round(2)
    array([0.99, 1.  ])
    """

    def __init__(self, bands, folds: Any = 5, seed: int = 0, n_candidates: int = 40, n_jobs: int | None = None) -> None:
        super().__init__(bands, folds=folds, seed=seed, n_jobs=n_jobs)
        self.n_candidates = n_candidates

    def fit(self, X, Y, sample_weight=None, progress=None) -> HimalayaRidge:
        """Search penalties with himalaya, then fit at them; shapes as for `BandedRidge.fit`."""
        if sample_weight is not None:
            raise SettingsError("himalaya's search knows no sample weights: leave the samples out, or use BandedRidge")
        X, Y = check_arrays(X, Y)
        _, columns = columns_of(self.bands, X.shape[1])
        centred = X - X.mean(0)
        kernels = np.stack([centred[:, cols] @ centred[:, cols].T for cols in columns])
        power = np.trace(kernels, axis1=1, axis2=2) / len(X)
        scaled = kernels / np.where(power > 0, power, 1)[:, None, None]
        deltas = self._search(scaled, Y, check_folds(self.folds, len(X)))
        # himalaya's model is Σ exp(δ_b) K_b: 1/λ_b = exp(δ_b) / power_b in units of X as given
        self.shrinkage = np.log10(np.where(power > 0, power, 1))[:, None] - deltas / np.log(10)
        try:
            super().fit(X, Y, progress=progress)
        finally:
            self.shrinkage = None
        return self

    def without_each(self, choices: Sequence[Sequence[Any]], progress: Progress | None = None) -> Iterator[BandedRidge]:
        """Fits with some bands left out, as `BandedRidge.without_each`; each is a search of himalaya's from anew."""
        check_is_fitted(self, "points_")
        X, Y = self._data.X, self._data.Y
        labels = np.asarray(self.bands)
        for k, kept in enumerate([self._kept(choice) for choice in choices]):
            columns = np.isin(labels, np.asarray(self.bands_)[kept])
            few = HimalayaRidge(labels[columns], self.folds, self.seed, self.n_candidates, self.n_jobs)
            shrinkage = np.full((len(kept), Y.shape[1]), np.inf)
            shrinkage[kept] = few.fit(X[:, columns], Y).shrinkage_
            if progress:
                progress(k + 1, len(choices), "leaving bands out")
            yield BandedRidge(self.bands, self.folds, shrinkage, n_jobs=self.n_jobs).fit(X, Y)

    def _search(self, kernels: np.ndarray, Y: np.ndarray, folds: list) -> np.ndarray:
        from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search

        # its annotations are guessed from its defaults: arrays of alphas and lists of splits are what it documents
        asked: dict[str, Any] = {"n_iter": self.n_candidates, "alphas": 1 / SIGNAL_TO_NOISE, "cv": folds}
        asked |= {"fit_intercept": True, "return_weights": "dual"}  # it finds no intercept without the weights
        with _numpy_backend(), np.errstate(divide="ignore"):  # it takes the logarithm of bands it drops
            found = solve_multiple_kernel_ridge_random_search(
                kernels, Y, random_state=self.seed, progress_bar=False, **asked
            )
        return np.asarray(found[0], float)


@contextmanager
def _numpy_backend() -> Iterator[None]:
    from himalaya.backend import get_backend, set_backend

    before = get_backend().name
    try:
        set_backend("numpy")
        yield
    finally:
        set_backend(before)
