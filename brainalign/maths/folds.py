"""Who may predict whom: which rows are fitted and which are scored."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError

Folds = list[tuple[np.ndarray, np.ndarray]]


class Nested(NamedTuple):
    """An outer fold and the folds inside its training rows; all row numbers are those of the whole."""

    train: np.ndarray
    test: np.ndarray
    inner: Folds


def contiguous(n_samples: int, n: int, gap: int = 0) -> Folds:
    """Cut a time series into `n` blocks; each is predicted from the rest, less a gap on both sides.

    Neighbouring samples of a slow signal say nearly the same. The gap keeps samples that share delays, haemodynamics
    or context with the test block out of training: at least the longest delay + response + context overlap.

    Parameters
    ----------
    n_samples : int
        Rows, in order of time.
    n : int
        Folds, at least 2; their sizes differ by one row at most.
    gap : int
        Rows (not seconds) left out of training on both sides of the test block.

    Returns
    -------
    list of (train, test)
        Sorted row numbers. Every row is in exactly one test block.

    Raises
    ------
    SettingsError
        Fewer than 2 folds, more folds than rows, a negative gap, or one that leaves no training rows.

    Examples
    --------
    >>> for train, test in contiguous(6, 3, gap=1):
    ...     print(train, test)
    [3 4 5] [0 1]
    [0 5] [2 3]
    [0 1 2] [4 5]
    """
    if n < 2 or n > n_samples:
        raise SettingsError(f"{n} folds of {n_samples} samples: ask for between 2 and {n_samples} folds")
    if gap < 0:
        raise SettingsError(f"a gap is a number of samples, 0 or more; found {gap}")
    rows = np.arange(n_samples)
    folds = []
    for test in np.array_split(rows, n):
        train = rows[(rows < test[0] - gap) | (rows > test[-1] + gap)]
        if not len(train):
            raise SettingsError(
                f"a gap of {gap} samples around samples {test[0]}–{test[-1]} leaves none of {n_samples} to train on: "
                "use a shorter gap, or more folds"
            )
        folds.append((train, test))
    return folds


def by_group(groups: np.ndarray, n: int | None = None) -> Folds:
    """Leave whole groups out: stories, runs, passages, stimuli. No group is ever on both sides.

    Parameters
    ----------
    groups : array (n_samples,)
        The group of each row: any labels, in any order.
    n : int, optional
        Folds made of whole groups, filled largest group first so that their sizes are as even as whole groups allow.
        Left out: one fold per group.

    Returns
    -------
    list of (train, test)
        Sorted row numbers, in the order in which the folds' first rows appear.

    Raises
    ------
    InputError
        Labels that are no list, or one group only.
    SettingsError
        Fewer than 2 folds, or more than there are groups.

    Examples
    --------
    >>> for train, test in by_group(["a", "a", "b", "c"], n=2):
    ...     print(train, test)
    [2 3] [0 1]
    [0 1] [2 3]
    """
    labels = np.asarray(groups)
    if labels.ndim != 1:
        raise InputError(f"groups is one label per sample; found an array of shape {labels.shape}")
    index, names = pd.factorize(labels)  # in order of appearance; labels of several types may stand side by side
    if (index < 0).any():
        raise InputError(
            f"sample {int(np.argmin(index))} has no group: every sample belongs to one, or is left out before"
        )
    sizes = np.bincount(index)
    if len(names) < 2:
        raise InputError(
            f"every sample belongs to {'the one group ' + repr(str(names[0])) if len(names) else 'no group'}: "
            "leaving it out leaves nothing to train on; use contiguous folds with a gap instead"
        )
    count = len(names) if n is None else n
    if count < 2 or count > len(names):
        raise SettingsError(f"{count} folds of {len(names)} groups: ask for between 2 and {len(names)} folds")
    fold_of = _fill(sizes, count)[index]
    tests = sorted((np.flatnonzero(fold_of == fold) for fold in range(count)), key=lambda test: test[0])
    rows = np.arange(len(labels))
    return [(np.setdiff1d(rows, test, assume_unique=True), test) for test in tests]


def shuffled(n_samples: int, n: int, seed: int = 0) -> Folds:
    """Rows dealt out at random: for samples that have nothing to do with one another, never for a time series.

    Of a slow signal every test row has training rows right beside it that say nearly the same: pure noise with
    autocorrelation .8 is "predicted" with r .84 from a band that knows nothing but the time (see `leak_audit`).

    Parameters
    ----------
    n_samples : int
    n : int
        Folds, at least 2; their sizes differ by one row at most.
    seed : int

    Returns
    -------
    list of (train, test)
        Sorted row numbers.

    Raises
    ------
    SettingsError
        Fewer than 2 folds, or more folds than rows.

    Examples
    --------
    >>> for train, test in shuffled(6, 3, seed=0):
    ...     print(train, test)
    [0 1 4 5] [2 3]
    [0 1 2 3] [4 5]
    [2 3 4 5] [0 1]
    """
    if n < 2 or n > n_samples:
        raise SettingsError(f"{n} folds of {n_samples} samples: ask for between 2 and {n_samples} folds")
    rows = np.arange(n_samples)
    tests = np.array_split(np.random.default_rng(seed).permutation(rows), n)
    return [(np.setdiff1d(rows, test, assume_unique=True), np.sort(test)) for test in tests]


def nested(outer: Folds, inner: Callable[[np.ndarray], Folds]) -> list[Nested]:
    """Folds within the training rows of every fold: penalties, layers and lags are chosen there.

    Parameters
    ----------
    outer : list of (train, test)
    inner : callable
        Training rows (m,) of a fold → folds of them, as positions 0 .. m − 1.

    Returns
    -------
    list of (train, test, inner)
        Row numbers of the whole; no row of a test set is in any of its inner folds.

    Raises
    ------
    SettingsError
        Inner folds that reach beyond the training rows.

    Examples
    --------
    >>> for train, test, inside in nested(contiguous(6, 3), lambda rows: contiguous(len(rows), 2)):
    ...     print(test, [each.tolist() for _, each in inside])
    [0 1] [[2, 3], [4, 5]]
    [2 3] [[0, 1], [4, 5]]
    [4 5] [[0, 1], [2, 3]]
    """
    out = []
    for train, test in outer:
        inside = inner(train)
        if any(len(part) and not 0 <= part.min() <= part.max() < len(train) for pair in inside for part in pair):
            raise SettingsError(
                f"inner folds are positions among the {len(train)} training rows of their fold, 0 to {len(train) - 1}"
            )
        out.append(Nested(train, test, [(train[a], train[b]) for a, b in inside]))
    return out


def _fill(sizes: np.ndarray, count: int) -> np.ndarray:
    """(groups,) → the fold of each: the largest group goes to the emptiest fold, and so on down."""
    fold_of, filled = np.zeros(len(sizes), int), np.zeros(count, int)
    for group in np.argsort(-sizes, kind="stable"):
        fold_of[group] = np.argmin(filled)
        filled[fold_of[group]] += sizes[group]
    return fold_of
