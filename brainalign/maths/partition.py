"""Which band earned it? Held-out variance that only one band explains, and what bands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from numbers import Integral
from typing import Any

import numpy as np

from brainalign.errors import InputError, SettingsError
from brainalign.maths.banded import BandedRidge
from brainalign.maths.folds import Folds, contiguous

MOST_BANDS = 4  # of a commonality analysis: 2⁴ − 1 models
AND = "&"
Solver = Callable[..., Any]


def averaged(**settings: Any) -> BandedRidge:
    """The solver of `encode`: banded ridge averaged over points."""
    return BandedRidge(average=True, **settings)


def unique_variance(
    X: np.ndarray, Y: np.ndarray, bands: Sequence[str], folds: int | Folds, seed: int = 0, solver: Solver = averaged
) -> dict[str, np.ndarray]:
    """Held-out R² that is lost when a band is taken away: R²(all) − R²(all but the band).

    Every model chooses its own penalties in inner folds. What two bands could each explain is in neither's unique
    variance; with an irrelevant band the difference is centred on zero, and negative as often as positive.

    Parameters
    ----------
    X : array (n_samples, n_features)
    Y : array (n_samples, n_targets)
    bands : sequence of str, one per column of X
    folds : int or list of (train, test)
        Outer folds; an int makes contiguous ones, without a gap.
    seed : int
    solver : callable
        With the parameters and methods of `BandedRidge`.

    Returns
    -------
    dict
        Band → (n_targets,) R², in the order of the columns.

    Raises
    ------
    InputError, SettingsError
        Labels that do not fit the columns, one band only, folds that cannot be.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((2000, 2))
    >>> Y = X @ [[0.6], [0.4]] + np.sqrt(0.48) * rng.standard_normal((2000, 1))
    >>> {band: value.round(1).tolist() for band, value in unique_variance(X, Y, ["a", "b"], 4).items()}
    {'a': [0.4], 'b': [0.2]}
    """
    held = _Models(X, Y, bands, folds, seed, solver)
    whole, *nested = held.r2([(band,) for band in held.names])
    return {band: whole - less for band, less in zip(held.names, nested, strict=True)}


def commonality(
    X: np.ndarray, Y: np.ndarray, bands: Sequence[str], folds: int | Folds, seed: int = 0, solver: Solver = averaged
) -> dict[str, np.ndarray]:
    """Held-out R² of all bands, split into what each alone, each pair together, .. explains (Mood 1969; de Heer 2017).

    With f(T) = R²(all) − R²(all but T), what the bands of S share and no other band has is
    C(S) = Σ_{T ⊆ S} (−1)^(|S| − |T|) f(T). Parts may be negative: suppression, or noise of a difference.

    Parameters
    ----------
    X, Y, bands, folds, seed, solver
        As for `unique_variance`; up to four bands, which are 15 models.

    Returns
    -------
    dict
        "a", "b", "a&b", .. → (n_targets,) R²; they sum to that of all bands.

    Raises
    ------
    InputError, SettingsError
        As for `unique_variance`, or more than four bands.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((2000, 2))
    >>> Y = X @ [[0.6], [0.4]] + np.sqrt(0.48) * rng.standard_normal((2000, 1))
    >>> {part: value.round(1).tolist() for part, value in commonality(X, Y, ["a", "b"], 4).items()}
    {'a': [0.4], 'b': [0.2], 'a&b': [-0.0]}
    """
    held = _Models(X, Y, bands, folds, seed, solver)
    if len(held.names) > MOST_BANDS:
        raise SettingsError(
            f"a commonality analysis of {len(held.names)} bands needs {2 ** len(held.names) - 1} models "
            f"and has as many parts; join bands to {MOST_BANDS} at most, or ask for unique_variance"
        )
    *some, everything = subsets(held.names)
    whole, *nested = held.r2(some)
    lost = {one: whole - less for one, less in zip(some, nested, strict=True)}
    return {AND.join(one): part for one, part in shared_by({**lost, everything: whole}).items()}


def shared_by(lost: Mapping[tuple[str, ...], Any]) -> dict[tuple[str, ...], Any]:
    """What exactly the bands of each choice share, from what is lost without the bands of each choice.

    C(S) = Σ_{T ⊆ S} (−1)^(|S| − |T|) f(T).

    Examples
    --------
    >>> shared_by({("a",): 2.0, ("b",): 1.0, ("a", "b"): 5.0})  # shared by both: 5 less 2 less 1
    {('a',): 2.0, ('b',): 1.0, ('a', 'b'): 2.0}
    """
    return {some: sum((-1) ** (len(some) - len(part)) * lost[part] for part in subsets(some)) for some in lost}


class _Models:
    """Models of some of the bands, scored on the same held-out samples."""

    def __init__(
        self, X: np.ndarray, Y: np.ndarray, bands: Sequence[str], folds: int | Folds, seed: int, solver: Solver
    ) -> None:
        self.X, self.Y, self.seed, self.solver = np.asarray(X), np.asarray(Y), seed, solver
        self.labels = np.array([str(band) for band in bands])
        if self.X.ndim != 2 or self.Y.ndim != 2 or len(self.X) != len(self.Y):
            raise InputError(
                "X is (samples, features) and Y (samples, targets) on the same samples; found "
                f"{self.X.shape} and {self.Y.shape}"
            )
        if len(self.labels) != self.X.shape[1]:
            raise InputError(
                f"bands is one label per column of X: {self.X.shape[1]} columns, {len(self.labels)} labels"
            )
        self.names: list[str] = list(dict.fromkeys(self.labels.tolist()))
        if len(self.names) < 2:
            raise InputError(f"a partition needs at least two bands; found {', '.join(self.names) or 'none'}")
        odd = [name for name in self.names if AND in name]
        if odd:
            raise SettingsError(f"band {odd[0]!r}: '{AND}' joins the names of bands that share; leave it out of names")
        self.folds: Folds = contiguous(len(self.X), int(folds)) if isinstance(folds, (int, Integral)) else list(folds)
        if not self.folds:
            raise SettingsError("there are no folds: give a number, or (train, test) pairs")
        self.spread = sum((self._errors(test, self._mean(train)) for train, test in self.folds), np.zeros(1))

    def r2(self, left_out: Sequence[tuple[str, ...]]) -> list[np.ndarray]:
        """(n_targets,) held-out R² against the training mean, of all bands, then without each choice of them.

        A model shares with those nested in it what does not depend on penalties; all of them are searched anew.
        """
        left = np.zeros((1 + len(left_out), self.Y.shape[1]))
        for train, test in self.folds:
            model = self.solver(bands=self.labels, seed=self.seed).fit(self.X[train], self.Y[train])
            left[0] += self._errors(test, model.predict(self.X[test]))
            for total, nested in zip(left[1:], model.without_each(left_out), strict=True):
                total += self._errors(test, nested.predict(self.X[test]))
        return list(1 - left / np.where(self.spread > 0, self.spread, np.nan))

    def _mean(self, train: np.ndarray) -> np.ndarray:
        return self.Y[train].mean(0, dtype=float)

    def _errors(self, test: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        return np.square(self.Y[test] - predicted, dtype=float).sum(0)


def subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Every non-empty choice of names, small ones first."""
    return [some for size in range(1, len(names) + 1) for some in combinations(names, size)]
