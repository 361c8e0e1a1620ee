"""What would a model have predicted, had the responses come in another order?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.fft import irfft, rfft

from brainalign.maths.rearrange import Moved

MANY_RUNS = 16  # that are shifted one by one; beyond, a product with the shifted responses is as fast
TOGETHER = 8_000_000  # numbers of the predictions of several targets that are made at once: 32 MB


class Refit:
    """One fold of a model at fixed penalties, ready to predict rearranged responses from rearranged responses.

    The prediction of target t is H_t y with H_t = Σ_k w_kt H_k, H_k the operator of a point (`hat_operator`), made of
    features and penalties only. Where runs are shifted in a circle, H_t y for *every* shift of a run is a
    cross-correlation of the rows of H_t with y: one Fourier transform, n log n for each test sample instead of n times
    the number of shifts. Permuted blocks, and shifts of very many runs, are one product with the rearranged responses.

    Parameters
    ----------
    operators : array (n_points, n_test, n_train)
    train, test : array of int
        Rows of the recording.
    moved : Moved
        The rearrangements of the whole recording, training samples and test samples alike.

    Examples
    --------
    >>> from brainalign.maths.rearrange import rearranged
    >>> rng = np.random.default_rng(0)
    >>> H, y = rng.standard_normal((1, 4, 6)), rng.standard_normal((10, 1)).astype(np.float32)
    >>> moved = rearranged(np.zeros(10), n=5, how="shift", block=1)
    >>> fold = Refit(H, np.arange(6), np.arange(6, 10), moved)
    >>> (seen, predicted), = fold.again(y, np.ones((1, 1)))
    >>> np.allclose(predicted, H[0] @ y[moved.index[:, :6], 0].T, atol=1e-5)
    True
    """

    def __init__(self, operators: np.ndarray, train: np.ndarray, test: np.ndarray, moved: Moved) -> None:
        self.n_test = len(test)
        self.moved = moved
        self.seen = np.ascontiguousarray(moved.index[:, test].T)
        self.fourier = moved.steps is not None and len(moved.rows) <= MANY_RUNS
        self.spectra: list[np.ndarray] = []
        if not self.fourier:
            self.taught = np.ascontiguousarray(moved.index[:, train].T)
            self.operators = operators.astype(np.float32)
            return
        place = np.full(moved.n_samples, -1)
        place[train] = np.arange(len(train))
        for rows in moved.rows:
            known = place[rows] >= 0
            across = np.zeros((*operators.shape[:2], len(rows)), np.float32)
            across[..., known] = operators[..., place[rows[known]]]
            self.spectra.append(np.asarray(rfft(across, axis=-1)))

    def again(self, Y: np.ndarray, weights: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For one target after the other, observed and predicted test responses of every rearrangement.

        Parameters
        ----------
        Y : array (n_samples, n_targets) float32
        weights : array (n_points, n_targets)
            Of the points in each target's solution.

        Yields
        ------
        (n_test, m), (n_test, m) float32
            The prediction without the training mean. Both may be overwritten.
        """
        weights = np.asarray(weights, np.float32)
        step = max(1, TOGETHER // (self.n_test * Y.shape[0]))
        for start in range(0, Y.shape[1], step):
            some = slice(start, start + step)
            tables = self._tables(Y[:, some], weights[:, some]) if self.fourier else []
            for k in range(Y[:, some].shape[1]):
                y = np.ascontiguousarray(Y[:, start + k])
                if self.fourier:
                    yield y[self.seen], self._looked_up([table[k] for table in tables])
                else:
                    H = np.tensordot(weights[:, start + k], self.operators, axes=1)
                    yield y[self.seen], H @ y[self.taught]

    def _tables(self, Y: np.ndarray, weights: np.ndarray) -> list[np.ndarray]:
        """For every run (n_targets, n_test, n_samples of the run): what the run adds to a prediction at each shift."""
        tables = []
        for rows, spectra in zip(self.moved.rows, self.spectra, strict=True):
            flat = spectra.view(np.float32).reshape(len(spectra), -1)
            mixed = (weights.T @ flat).view(spectra.dtype).reshape(-1, *spectra.shape[1:])
            responses = np.asarray(rfft(np.ascontiguousarray(Y[rows].T), axis=-1))
            mixed *= responses.conj()[:, None]
            tables.append(np.asarray(irfft(mixed, len(rows), axis=-1, overwrite_x=True)))
        return tables

    def _looked_up(self, tables: list[np.ndarray]) -> np.ndarray:
        assert self.moved.steps is not None
        total = tables[0].take(self.moved.steps[:, 0], axis=-1)
        for table, steps in zip(tables[1:], self.moved.steps.T[1:], strict=True):
            total += table.take(steps, axis=-1)
        return total


def correlation_sums(fold: Refit, Y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(3, n_targets, m): Σŷy, Σŷ² and Σy² over a fold's test samples, each centred within it, for every rearrangement.

    Added up over folds they give the null of r: Σŷy / √(Σŷ² Σy²).
    """
    sums = np.empty((3, Y.shape[1], len(fold.moved)), np.float32)
    for k, (seen, predicted) in enumerate(fold.again(Y, weights)):
        seen -= seen.mean(0)
        predicted -= predicted.mean(0)
        sums[:, k] = [_products(predicted, seen), _products(predicted, predicted), _products(seen, seen)]
    return sums


def beyond_sums(
    whole: Refit, nested: Refit, Y: np.ndarray, weights: tuple[np.ndarray, np.ndarray], still: tuple[np.ndarray, ...]
) -> np.ndarray:
    """How much better a model predicts than one nested in it, whose residuals alone are rearranged: sums over a fold.

    The residuals are added to what the nested model predicts (Freedman & Lane 1983), y* = ŷ + e*, and both models
    predict y* anew.

    Parameters
    ----------
    whole, nested : Refit
        The last row of the nested one's operators averages the training responses.
    Y : array (n_samples, n_targets) float32
        Residuals e.
    weights : (n_points, n_targets) of the whole model and of the nested one
    still : (n_test, n_targets) each
        What stays: ŷ of the test samples less that of the training mean, and what the whole and the nested model make
        of the training samples' ŷ.

    Returns
    -------
    array (7, n_targets, m)
        The squared error that the nested model makes more; Σy*² about the new training mean; then, all centred within
        the fold, Σŷy*, Σŷ² of the whole model, the same of the nested one, and Σy*².
    """
    sums = np.empty((7, Y.shape[1], len(whole.moved)), np.float32)
    both = zip(whole.again(Y, weights[0]), nested.again(Y, weights[1]), strict=True)
    for k, ((seen, full), (_, less)) in enumerate(both):
        start, made, made_less = (one[:, k, None] for one in still)
        seen -= less[-1]
        seen += start
        full += made
        less = less[:-1] + made_less
        error, more = full - seen, less - seen
        sums[0, k] = _products(more, more) - _products(error, error)
        sums[1, k] = _products(seen, seen)
        for one in (seen, full, less):
            one -= one.mean(0)
        pairs = ((full, seen), (full, full), (less, seen), (less, less), (seen, seen))
        sums[2:, k] = [_products(a, b) for a, b in pairs]
    return sums


def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("nm,nm->m", a, b)
