"""How do thousands of units become a few hundred numbers, where it must happen before anything is kept?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from brainalign.errors import InputError, SettingsError

if TYPE_CHECKING:
    from brainalign.features.pictures import Pictures


class Projection(Protocol):
    """Fewer numbers for each row."""

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """(n, width) → (n, fewer), float32."""
        ...


@dataclass(frozen=True)
class Reduce:
    """How wide layers are reduced; `random_projection` and `incremental_pca` make one.

    Parameters
    ----------
    method : {"random projection", "incremental PCA"}
    n : int
        Numbers that stay of a layer; a layer that has no more is left as it is.
    seed : int, optional
        Draws a random projection.
    fit_on : Pictures, optional
        Where components are found; None: in the pictures that are embedded.
    """

    method: Literal["random projection", "incremental PCA"]
    n: int
    seed: int | None = None
    fit_on: Pictures | None = None


def random_projection(n: int, seed: int = 0) -> Reduce:
    """Reduce each layer to `n` random mixtures of its units, drawn once, whatever the pictures.

    Distances between pictures are nearly kept, and so are linear kernels: to about √(2/n) of their size (Johnson and
    Lindenstrauss 1984). Each mixture is of some √width units, with weights ±√(√width / n) (Li, Hastie and Church 2006;
    scikit-learn's `SparseRandomProjection`). Nothing is learned, so nothing can leak between folds.

    Parameters
    ----------
    n : int
        Numbers that stay of a layer.
    seed : int
        Draws the mixtures; one seed gives the same ones for every layer of a width, and every time.

    Returns
    -------
    Reduce
        For `embed_images(reduce=...)`.

    Raises
    ------
    SettingsError
        A number or a seed that cannot be.

    Examples
    --------
    >>> random_projection(512)
    Reduce(method='random projection', n=512, seed=0, fit_on=None)
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise SettingsError(f"seed is a whole number, 0 or more; found {seed!r}")
    return Reduce("random projection", _number(n), seed=seed)


def incremental_pca(n: int, fit_on: Pictures | None = None) -> Reduce:
    """Reduce each layer to its first `n` principal components, found part by part (Ross et al. 2008).

    Parameters
    ----------
    n : int
        Components.
    fit_on : Pictures, optional
        What they are found in: pictures of which no response is scored. Without, they are found in the very pictures
        that are embedded, those that are later held out among them; no response is looked at, yet a note says so. To
        find components in the training pictures of every fold, embed whole layers and give `encode` a `pca` within
        folds.

    Returns
    -------
    Reduce
        For `embed_images(reduce=...)`, which then runs the network over the pictures twice.

    Raises
    ------
    SettingsError
        A number that cannot be.

    Examples
    --------
    >>> incremental_pca(50).n
    50
    """
    return Reduce("incremental PCA", _number(n), fit_on=fit_on)


def _number(n: Any) -> int:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise SettingsError(f"n is how many numbers stay of a layer, 1 or more; found {n!r}")
    return int(n)


@dataclass(frozen=True)
class Whole:
    """Nothing is left out."""

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """The rows as they are."""
        return rows


@dataclass(frozen=True, eq=False)
class Mixtures:
    """A random projection that was drawn; `weights` is sparse, (n, width)."""

    weights: Any

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """(n_rows, width) → (n_rows, n)."""
        return np.ascontiguousarray((self.weights @ rows.T).T, np.float32)


@dataclass(frozen=True, eq=False)
class Components:
    """Components that were found: `axes` (n, width) of unit length, `mean` (width,)."""

    axes: np.ndarray
    mean: np.ndarray

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """(n_rows, width) → (n_rows, n)."""
        return ((rows - self.mean) @ self.axes.T).astype(np.float32, copy=False)


def draw(reduce: Reduce, width: int) -> Projection:
    """The random projection of a layer; the layer as it is where it has no more units than are to stay.

    Examples
    --------
    >>> draw(random_projection(2), width=64).apply(np.ones((3, 64), np.float32)).shape
    (3, 2)
    """
    if width <= reduce.n:
        return Whole()
    from sklearn.random_projection import SparseRandomProjection

    n: Any = reduce.n  # scikit-learn's default is a word, for which its type is taken
    # fitting looks at the width only
    drawn = SparseRandomProjection(n, random_state=reduce.seed).fit(np.zeros((1, width), np.float32))
    return Mixtures(drawn.components_.astype(np.float32).tocsr())


def find(parts: Iterable[list[np.ndarray]], n: int) -> list[dict[str, np.ndarray]]:
    """Components of several layers at once.

    Parameters
    ----------
    parts : iterable of lists of arrays
        For each part of the pictures, the layers, (n_pictures_of_the_part, width) each.
    n : int

    Returns
    -------
    list of dict
        What `Components` is made of, of each layer; empty for a layer that has no more than `n` units.

    Raises
    ------
    InputError
        Fewer pictures than components.
    """
    from sklearn.decomposition import IncrementalPCA

    models: list[Any] = []
    n_seen = 0
    for layers in gathered(parts, n):
        rows = len(layers[0])
        if n_seen == 0 and rows < n:
            raise InputError(f"{n} components cannot be found in {rows} pictures: ask for {rows} at most")
        n_seen += rows
        models = models or [IncrementalPCA(n_components=n) if layer.shape[1] > n else None for layer in layers]
        for model, layer in zip(models, layers, strict=True):
            if model is not None:
                model.partial_fit(layer, check_input=False)
    return [
        {} if m is None else {"axes": m.components_.astype(np.float32), "mean": m.mean_.astype(np.float32)}
        for m in models
    ]


def gathered(parts: Iterable[list[np.ndarray]], n: int) -> Iterable[list[np.ndarray]]:
    """Parts put together until each has at least `n` rows, or it is the last."""
    held: list[list[np.ndarray]] = []
    for part in parts:
        held.append(part)
        if sum(len(one[0]) for one in held) >= n:
            yield [np.concatenate(layer) for layer in zip(*held)]
            held = []
    if held:
        yield [np.concatenate(layer) for layer in zip(*held)]
