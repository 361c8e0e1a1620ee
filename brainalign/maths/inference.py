"""Could it be chance, and how sure is it?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.fft import irfft, rfft

from brainalign.errors import InputError
from brainalign.maths.rearrange import Moved, block_length, centred, labelled, rearranged

NUMBERS_TOGETHER = 20_000_000  # of a null distribution: 160 MB
FEW_BLOCKS = 30  # a test set of fewer is liberal
PRODUCT = 200  # entries for each one picked up to which a matrix product is faster
Lookup = tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], np.ndarray]
"""Centred (n, t) each → sums of products (entries, t); and the entries of every rearrangement, (m, k)."""
LEVEL = 95  # per cent


@dataclass(frozen=True, eq=False)
class Interval:
    """A 95 % percentile interval and the standard error, arrays of one shape."""

    low: np.ndarray
    high: np.ndarray
    se: np.ndarray


def interval(samples: np.ndarray) -> Interval:
    """The percentile interval of bootstrap samples (n_resamples, ..); NaN samples are left out, NaN where all are.

    Examples
    --------
    >>> interval(np.arange(1001.0)).low
    array(25.)
    """
    tail = (100 - LEVEL) / 2
    samples = np.asarray(samples, float)
    usable = (~np.isnan(samples)).sum(0) > 1
    filled = np.where(usable, samples, 0.0)  # keeps numpy from warning of columns without a number
    percentile = np.nanpercentile if np.isnan(filled).any() else np.percentile  # the first goes column by column
    low, high = percentile(filled, [tail, 100 - tail], axis=0)
    low, high, se = (np.where(usable, one, np.nan) for one in (low, high, np.nanstd(filled, axis=0, ddof=1)))
    return Interval(low, high, se)


def fdr(p: np.ndarray) -> np.ndarray:
    """Benjamini–Hochberg q-values; a NaN stays NaN and does not count as a test.

    Parameters
    ----------
    p : array (n_targets,)

    Examples
    --------
    >>> fdr(np.array([0.01, 0.04, np.nan, 0.5]))
    array([0.03, 0.06,  nan, 0.5 ])
    """
    from scipy.stats import false_discovery_control

    p = np.asarray(p, float)
    out = np.full(p.shape, np.nan)
    tested = np.isfinite(p)
    if tested.any():
        out[tested] = false_discovery_control(p[tested])
    return out


def drawn_blocks(n_samples: int, block: int, n: int, run: np.ndarray | None = None, seed: int = 0) -> np.ndarray:
    """How often each sample is drawn when blocks of neighbours are drawn with replacement, within each run.

    Blocks go round the end of a run to its beginning (Politis & Romano 1992), so that every sample is as likely as any
    other; moving blocks that stop at the ends draw the first and last samples too rarely.

    Returns
    -------
    array (n, n_samples)
        Counts; each run keeps its number of samples.
    """
    labels = labelled(run, n_samples)
    rng = np.random.default_rng(seed)
    counts = np.zeros((n, n_samples))
    for k in range(labels.max() + 1):
        rows = np.flatnonzero(labels == k)
        length = min(block, len(rows))
        starts = rng.integers(0, len(rows), size=(n, -(-len(rows) // length)))
        drawn = ((starts[:, :, None] + np.arange(length)) % len(rows)).reshape(n, -1)[:, : len(rows)]
        cells = drawn + len(rows) * np.arange(n)[:, None]
        counts[:, rows] = np.bincount(cells.ravel(), minlength=n * len(rows)).reshape(n, len(rows))
    return counts


def weighted_r(y: np.ndarray, yhat: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(n, t) Pearson correlation of each target in each resample, from how often each sample was drawn.

    `counts` is (n, n_samples), as `drawn_blocks` makes it; NaN where what was drawn is constant.
    """
    w = counts / counts.sum(1, keepdims=True)
    a, b = centred(np.asarray(y)), centred(np.asarray(yhat))
    mean_a, mean_b = w @ a, w @ b
    cov = w @ (a * b) - mean_a * mean_b
    power_a, power_b = w @ a**2, w @ b**2
    left_a, left_b = power_a - mean_a**2, power_b - mean_b**2
    moving = (left_a > 1e-12 * power_a) & (left_b > 1e-12 * power_b)  # less is rounding
    return np.divide(cov, np.sqrt(np.maximum(left_a * left_b, 0)), out=np.full(cov.shape, np.nan), where=moving)


def block_bootstrap(
    y: np.ndarray,
    yhat: np.ndarray,
    n: int = 1000,
    block: int | None = None,
    run: np.ndarray | None = None,
    seed: int = 0,
) -> Interval:
    """Interval of r on an untouched test set, blocks of neighbouring samples resampled (Politis & Romano 1992).

    On K-fold predictions it holds the fitted models fixed and undercovers (0.72–0.82 for a nominal 0.95).

    Parameters
    ----------
    y, yhat : array (n_samples, n_targets)
    n : int
        Resamples.
    block : int, optional
        Samples in a block; by default `block_length(y)`.
    run : array (n_samples,), optional
        No block crosses runs.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.standard_normal((400, 1))
    >>> span = block_bootstrap(y, y + rng.standard_normal((400, 1)), n=500)
    >>> bool(span.low[0] < 0.5**0.5 < span.high[0])
    True
    """
    y, yhat = _pair(y, yhat)
    block = block_length(y, run) if block is None else block
    return interval(weighted_r(y, yhat, drawn_blocks(len(y), block, n, run, seed)))


def permutation_test(
    y: np.ndarray,
    yhat: np.ndarray,
    n: int = 1000,
    block: int | None = None,
    run: np.ndarray | None = None,
    seed: int = 0,
    how: str = "shift",
) -> np.ndarray:
    """One-sided p of r > 0 for one untouched test set: responses moved in time against fixed predictions.

    Not for K-fold predictions: every pair of folds shares training data, and such p-values are too small.

    Parameters
    ----------
    y, yhat : array (n_samples, n_targets)
    n : int
        Rearrangements; of shifts all distinct ones where there are fewer. The floor of p is 1 / (1 + n).
    block : int, optional
        The least shift, or the length of a block, in samples. By default 1, every shift there is, or twice
        `block_length(y)`: to leave short shifts out, or to cut at every lost correlation, makes p too small.
    run : array (n_samples,), optional
        Nothing crosses runs.
    seed : int
    how : "shift" or "blocks"
        Shift each run in a circle, which keeps all of its autocorrelation; or permute blocks of neighbours within each
        run, of which there are more in a single run (what a run's length leaves over stays where it is).

    Returns
    -------
    array (n_targets,)
        (1 + #{null ≥ observed}) / (1 + n).

    Raises
    ------
    InputError
        Shapes that do not agree, or runs too short for any rearrangement.
    SettingsError
        Another `how`.

    Warns
    -----
    RuntimeWarning
        Fewer than 30 blocks of correlated samples: p then is too small (.09 for .05: 120 samples, autocorrelation .8).

    Notes
    -----
    Every shift of a run comes from one Fourier transform, every block permutation from the products of all pairs of
    blocks: a rearrangement costs one addition per run or block, not one per sample.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.standard_normal((300, 2))
    >>> yhat = np.c_[y[:, 0] + rng.standard_normal(300), rng.standard_normal(300)]
    >>> bool(permutation_test(y, yhat, n=199)[0] == 1 / 200)
    True
    """
    return _tallied(y, yhat, n, block, run, seed, how, family=False).p


def max_statistic(
    y: np.ndarray,
    yhat: np.ndarray,
    n: int = 1000,
    block: int | None = None,
    run: np.ndarray | None = None,
    seed: int = 0,
    how: str = "shift",
) -> np.ndarray:
    """As `permutation_test`, corrected for all targets together: p of the highest r anywhere (Nichols & Holmes 2002).

    With permuted blocks it is liberal (.08 to .1 for .05 over a hundred targets of 250 samples): shift where runs have
    shifts enough.

    Parameters
    ----------
    y, yhat, n, block, run, seed, how
        As for `permutation_test`.

    Returns
    -------
    array (n_targets,)
        Family-wise p: (1 + #{max over targets of null ≥ observed}) / (1 + n).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.standard_normal((300, 50))
    >>> yhat = rng.standard_normal((300, 50))
    >>> yhat[:, 0] += y[:, 0]
    >>> p = max_statistic(y, yhat, n=199)
    >>> bool(p[0] == 1 / 200), bool(p[1:].min() > 0.01)
    (True, True)
    """
    return _tallied(y, yhat, n, block, run, seed, how).family_wise()


class Tally:
    """p of every target, alone and family-wise, from a null that comes some targets at a time.

    Examples
    --------
    >>> tally = Tally(2)
    >>> tally.add(np.arange(2), np.array([0.5, 0.1]), np.array([[0.1, 0.2], [0.2, 0.0], [0.0, 0.3]]))
    >>> tally.p.tolist(), tally.family_wise().tolist()
    ([0.25, 0.75], [0.25, 1.0])
    """

    def __init__(self, n_targets: int, family: bool = True) -> None:
        self.p = np.ones(n_targets)
        self._family = family  # or the highest of every rearrangement is not looked for
        self._observed = np.full(n_targets, np.nan)
        self._highest = np.zeros(0)

    def add(self, targets: np.ndarray | slice, observed: np.ndarray, null: np.ndarray) -> None:
        """Some targets: observed (b,), NaN where it is not defined, and rearranged (m, b), without NaN."""
        self._observed[targets] = observed
        self.p[targets] = _share_as_high(observed, null)
        if not self._family:
            return
        highest = null.max(1)
        self._highest = np.maximum(self._highest, highest) if len(self._highest) else highest

    def family_wise(self) -> np.ndarray:
        """(n_targets,) p of the highest of all targets added."""
        return _share_as_high(
            self._observed, np.broadcast_to(self._highest[:, None], (len(self._highest), len(self.p)))
        )


def _tallied(
    y: np.ndarray,
    yhat: np.ndarray,
    n: int,
    block: int | None,
    run: np.ndarray | None,
    seed: int,
    how: str,
    family: bool = True,
) -> Tally:
    tally = Tally(np.shape(yhat)[-1], family)
    for targets, observed, null in rearranged_r(y, yhat, n, block, run, seed, how):
        tally.add(targets, observed, null)
    return tally


def rearranged_r(
    y: np.ndarray, yhat: np.ndarray, n: int, block: int | None, run: np.ndarray | None, seed: int, how: str
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """`null_batches` of an untouched test set, as `permutation_test` is asked for them; warns of a short, slow one."""
    y, yhat = _pair(y, yhat)
    labels = labelled(run, len(y))
    slow = block_length(y, labels)
    usual = 1 if how == "shift" else 2 * slow
    moved = rearranged(labels, n, how, usual if block is None else block, seed)
    if said := few_blocks(len(y), slow):
        warnings.warn(said, RuntimeWarning, stacklevel=4)
    yield from null_batches(y, yhat, moved)


def null_batches(y: np.ndarray, yhat: np.ndarray, moved: Moved) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Some targets at a time: which, their r (b,), and r of every rearrangement (m, b), 0 where it is not defined."""
    tables, picked = (_permuted if moved.steps is None else _shifted)(moved)
    step = max(1, NUMBERS_TOGETHER // max(len(picked), len(y), int(picked.max()) + 1))
    for start in range(0, y.shape[1], step):
        some = slice(start, start + step)
        a, b = centred(y[:, some]), centred(yhat[:, some])
        norm = np.sqrt((a**2).sum(0) * (b**2).sum(0))
        known = np.where(norm > 0, norm, np.inf)
        observed = np.where(norm > 0, (a * b).sum(0) / known, np.nan)
        yield some, observed, _looked_up((tables(a, b) / known).astype(np.float32), picked)


def _looked_up(table: np.ndarray, picked: np.ndarray) -> np.ndarray:
    """(m, t): in each row the sum of the rows of `table` (entries, t) that are picked (m, k).

    Many of few entries are fetched faster by a matrix product with zeros and ones.
    """
    m, k = picked.shape
    if len(table) > PRODUCT * k:
        total = table[picked[:, 0]]
        for column in picked.T[1:]:
            total += table[column]
        return total
    which = np.zeros((m, len(table)), np.float32)
    np.put_along_axis(which, picked, 1, axis=1)
    return which @ table


def few_blocks(n_samples: int, block: int) -> str:
    """What has to be said of a test on a short, slow series; "" where it is long enough."""
    if block <= 2 or n_samples / block >= FEW_BLOCKS:
        return ""
    return (
        f"{n_samples} test samples are fewer than {FEW_BLOCKS} blocks of {block} correlated ones: p is too small "
        "(about .09 for .05 at 120 samples with autocorrelation .8)"
    )


def _shifted(moved: Moved) -> Lookup:
    """Σ y ŷ of every shift of every run, and which of them make up each set of shifts."""
    before = np.cumsum([0, *(len(at) for at in moved.rows[:-1])])

    def tables(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        parts = []
        for at in moved.rows:
            spectra: Any = rfft(np.stack([a[at], b[at]]), axis=1)
            parts.append(irfft(spectra[0].conj() * spectra[1], len(at), axis=0))  # at distance d: Σ a[i] b[i + d]
        return np.concatenate(parts)

    assert moved.steps is not None
    return tables, moved.steps + before


def _permuted(moved: Moved) -> Lookup:
    """Σ y ŷ of every pair of blocks of a run, and which of them make up each permutation of blocks."""
    picked, entries = [np.zeros((len(moved), 1), int)], 1  # what is left over stays where it is: the first entry
    for order in moved.orders:
        count = order.shape[1]
        picked.append(entries + order * count + np.arange(count))
        entries += count**2
    rest = np.setdiff1d(np.arange(moved.n_samples), np.concatenate([cut.ravel() for cut in moved.rows]))

    def tables(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        parts = [(a[rest] * b[rest]).sum(0)[None]]
        for places in moved.rows:
            pairs = np.einsum("ikt,jkt->ijt", a[places], b[places], optimize=True)
            parts.append(pairs.reshape(-1, a.shape[1]))
        return np.concatenate(parts)

    return tables, np.concatenate(picked, axis=1)


def exceeded(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """One-sided p = (1 + #{null ≥ observed}) / (1 + n) of observed (t,), null (n, t); 1 where nothing was observed.

    A null value that is not defined counts as 0: a prediction that never changes correlates with nothing.

    Examples
    --------
    >>> exceeded(np.array([0.5, np.nan]), np.array([[0.1, 0.2], [0.6, 0.0], [0.2, 0.1]]))
    array([0.5, 1. ])
    """
    return _share_as_high(observed, np.nan_to_num(null))


def _share_as_high(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """`exceeded`, of a null (n, t) without NaN."""
    # equal up to rounding is as high: the observed score may itself be one of the null's
    slack = 1e-9 if null.dtype == np.float64 else 3e-6
    as_high = np.count_nonzero(null >= (observed - slack).astype(null.dtype), axis=0)
    return np.where(np.isfinite(observed), (1 + as_high) / (1 + len(null)), 1.0)


def _pair(y: np.ndarray, yhat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, yhat = np.asarray(y, float), np.asarray(yhat, float)
    if y.ndim != 2 or y.shape != yhat.shape:
        raise InputError(f"y and yhat are (samples, targets) of one shape; found {y.shape} and {yhat.shape}")
    return y, yhat
