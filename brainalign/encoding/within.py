"""What is learned from the training samples before the ridge: the scale of a column, the axes of a wide band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from brainalign.errors import SettingsError, did_you_mean
from brainalign.signals import Signal


@dataclass(frozen=True)
class PCA:
    """Principal components of a band, fitted on training samples only."""

    n: int

    def axes(self, train: np.ndarray) -> np.ndarray:
        """(n_columns, k) orthonormal axes of centred columns, most variance first; k = min(n, samples, columns).

        From the smaller of the two Gram matrices: exact, and a tenth of the time of the singular value decomposition
        that scikit-learn's PCA takes at 300 samples × 600 columns, of which a layer profile needs hundreds.
        """
        from scipy.linalg import eigh

        n, p = train.shape
        k = min(self.n, n, p)
        wide = p > n
        gram = train @ train.T if wide else train.T @ train
        power, vectors = eigh(gram, subset_by_index=[len(gram) - k, len(gram) - 1])
        there = power[::-1] > 1e-12 * power[-1]  # beyond the rank there is no axis
        axes = (train.T @ vectors if wide else vectors)[:, ::-1] * there
        return axes / np.where(there, np.linalg.norm(axes, axis=0), 1)

    def __str__(self) -> str:
        return f"{self.n} principal components"


def pca(n: int) -> PCA:
    """Reduce a band to n principal components within each fold.

    Parameters
    ----------
    n : int
        Number of components; a band with fewer columns keeps them all.

    Notes
    -----
    Every column is z-scored on the training samples first. A delayed band is reduced before its delays: the axes are
    found on one copy and used for all, so 50 components and 5 delays are 250 columns.

    Examples
    --------
    >>> str(pca(50))
    '50 principal components'
    """
    if n < 1:
        raise SettingsError(f"pca needs at least one component; found {n}")
    return PCA(int(n))


def match_width(X: Signal, bands: Sequence[str] | None = None) -> dict[str, PCA]:
    """Reduce bands to the width of the narrowest of them, so that what is compared is not how many columns a model has.

    Parameters
    ----------
    X : Signal (n_samples, n_features)
        The design; columns at other delays do not count.
    bands : sequence of str, optional
        By default all.

    Returns
    -------
    mapping band → PCA
        For ``encode(within_fold=...)``: axes are found on each fold's training samples. The result's
        ``settings["within_fold"]`` says how many.

    Raises
    ------
    SettingsError
        Fewer than two bands, or one the design does not have.

    Notes
    -----
    Principal components keep what varies most in a band, not what predicts best: a wide model may lose in them what a
    narrow one has. Say both scores, matched and unmatched.

    Examples
    --------
    >>> import numpy as np
    >>> samples = pd.DataFrame({"run": "1", "time": np.arange(9.0)})
    >>> X = Signal(np.eye(9, 7), samples, pd.DataFrame({"band": ["small"] * 2 + ["large"] * 5}))
    >>> {band: str(step) for band, step in match_width(X).items()}
    {'small': '2 principal components', 'large': '2 principal components'}
    """
    first = X.columns.groupby("band", sort=False)
    # as many as at one delay: all delays of a band have the same columns
    widths = {str(band): len(at) // (at["delay"].nunique() if "delay" in at else 1) for band, at in first}
    for band in bands or ():
        if band not in widths:
            raise SettingsError(f"there is no band {band!r} to match; " + did_you_mean(band, widths))
    return narrowest({band: widths[band] for band in (widths if bands is None else bands)})


def narrowest(widths: Mapping[str, int]) -> dict[str, PCA]:
    """Every band reduced to as many components as the narrowest has columns.

    Examples
    --------
    >>> narrowest({"gpt": 768, "glove": 300})["gpt"]
    PCA(n=300)
    """
    if len(widths) < 2:
        raise SettingsError(
            f"widths are matched between at least two bands; found {', '.join(widths) or 'none'}: leave it out"
        )
    return dict.fromkeys(widths, pca(min(widths.values())))


@dataclass(frozen=True)
class Space:
    """A linear map from columns as given to the columns the ridge sees: z = ((x − mean) / scale) @ loadings."""

    columns: np.ndarray  # positions in the whole design
    mean: np.ndarray
    scale: np.ndarray
    loadings: tuple[tuple[np.ndarray, np.ndarray], ...]  # (positions within `columns`, axes or empty for identity)
    bands: tuple[str, ...]  # a label for every column of z

    def apply(self, values: np.ndarray) -> np.ndarray:
        """(n, k) float32 of new samples, values as given (n, p)."""
        z = (values[:, self.columns] - self.mean) / self.scale
        return np.concatenate(
            [z[:, at] @ axes if axes.size else z[:, at] for at, axes in self.loadings], axis=1
        ).astype(np.float32)

    def back(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights (k, t) on z as weights (p', t) on the columns as given, and what they add to the intercept (t,)."""
        out = np.zeros((len(self.columns), weights.shape[1]))
        start = 0
        for at, axes in self.loadings:
            width = axes.shape[1] if axes.size else len(at)
            part = weights[start : start + width]
            out[at] = axes @ part if axes.size else part
            start += width
        out /= self.scale[:, None]
        return out, -(self.mean @ out)


def learn_space(
    values: np.ndarray, columns: pd.DataFrame, bands: tuple[str, ...], train: np.ndarray, reduce: Mapping[str, PCA]
) -> Space:
    """Find scale and axes of the named bands on the training samples.

    Parameters
    ----------
    values : array (n_samples, n_columns)
    columns : DataFrame
        With `band`, and `delay` where the design was delayed.
    bands : tuple of str
    train : array of int
        Training positions.
    reduce : mapping band → PCA
    """
    where = [np.flatnonzero((columns["band"] == band).to_numpy()) for band in bands]
    at = np.concatenate(where)
    block = np.asarray(values[train][:, at], np.float64)
    mean = block.mean(0)
    spread = block.std(0)
    # a column that never changes in training carries nothing, whatever rounding says about its spread
    scale = np.where(spread > 1e-6 * np.maximum(np.abs(mean), 1e-30), spread, np.inf)
    z = (block - mean) / scale
    loadings, labels, start = [], [], 0
    for band, index in zip(bands, where, strict=True):
        here = np.arange(start, start + len(index))
        start += len(index)
        for positions, axes in _reduced(z, here, columns.iloc[index], reduce.get(band)):
            loadings.append((positions, axes))
            labels += [band] * (axes.shape[1] if axes.size else len(positions))
    return Space(at, mean, scale, tuple(loadings), tuple(labels))


def _reduced(
    z: np.ndarray, here: np.ndarray, columns: pd.DataFrame, reduce: PCA | None
) -> list[tuple[np.ndarray, np.ndarray]]:
    if reduce is None:
        return [(here, np.zeros(0))]
    delays = columns["delay"].to_numpy() if "delay" in columns else np.zeros(len(columns), int)
    groups = [here[delays == d] for d in sorted(set(delays), key=abs)]
    if len({len(g) for g in groups}) > 1:
        raise SettingsError("a band that is reduced has the same columns at every delay")
    axes = reduce.axes(z[:, groups[0]])
    return [(group, axes) for group in groups]
