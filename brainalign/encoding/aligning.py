"""How are people brought into one space, by what they share while being taught and nothing else?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from brainalign.errors import InputError, SettingsError
from brainalign.maths.reduced import mean_and_scale
from brainalign.maths.shared_space import SharedSpace, fit_shared_response, hyperalign
from brainalign.scratch import blocks, room, span_of
from brainalign.signals import Signal


@dataclass(frozen=True)
class People:
    """The recordings of several people on one clock: whose columns are which, and their responses as they lie."""

    names: tuple[str, ...]
    at: tuple[np.ndarray, ...]  # for every person, positions among the recording's columns
    values: tuple[np.ndarray, ...]  # (n_samples, n_voxels_k), views where a person's columns lie together
    columns: tuple[pd.DataFrame, ...]

    @classmethod
    def of(cls, signal: Signal) -> People:
        """Tell people apart by `subject`.

        Raises
        ------
        InputError
            No `subject`, or one person only.
        """
        if "subject" not in signal.columns:
            raise InputError("columns have no `subject`: nothing says which column is whose")
        where = signal.columns.groupby("subject", sort=False).indices
        if len(where) < 2:
            (only,) = where
            hint = ": give its related['people']" if "people" in signal.related else ""
            raise InputError(f"at least two people are brought together; `subject` is always {only!r}{hint}")
        values = signal.array()
        at = tuple(np.asarray(index) for index in where.values())
        return cls(
            tuple(str(name) for name in where),
            at,
            tuple(values[:, span_of(index)] for index in at),
            tuple(signal.columns.iloc[index].reset_index(drop=True) for index in at),
        )


Alignment = Callable[[Sequence[np.ndarray], Sequence[pd.DataFrame], np.ndarray], SharedSpace]
"""From every person's (n_samples, n_voxels) and columns, and the samples to learn from, to a common space."""


@dataclass(frozen=True)
class SharedResponse:
    """The shared response model, as an alignment."""

    features: int

    def __call__(self, people: Sequence[np.ndarray], columns: Sequence[pd.DataFrame], rows: np.ndarray) -> SharedSpace:
        """Learn it."""
        return fit_shared_response(people, self.features, rows=rows)

    def __str__(self) -> str:
        return f"shared response model of {self.features} features"


@dataclass(frozen=True)
class Hyperalignment:
    """Hyperalignment, as an alignment."""

    features: int | None

    def __call__(self, people: Sequence[np.ndarray], columns: Sequence[pd.DataFrame], rows: np.ndarray) -> SharedSpace:
        """Learn it."""
        return hyperalign(people, self.features, rows=rows)

    def __str__(self) -> str:
        several = "all" if self.features is None else str(self.features)
        return f"hyperalignment of {several} principal components"


def shared_response(features: int = 50) -> SharedResponse:
    """Bring people together by the shared response model (Chen et al. 2015; `fit_shared_response`).

    Parameters
    ----------
    features : int
        Dimensions of the common space.

    Examples
    --------
    >>> str(shared_response(20))
    'shared response model of 20 features'
    """
    if features < 1:
        raise SettingsError(f"a shared response has at least one feature; found {features}")
    return SharedResponse(int(features))


def hyperalignment(features: int | None = None) -> Hyperalignment:
    """Bring people together by rotations to a common template (Haxby et al. 2011; `hyperalign`).

    Parameters
    ----------
    features : int, optional
        Principal components of each person that are rotated; by default as many as everyone has.

    Examples
    --------
    >>> str(hyperalignment())
    'hyperalignment of all principal components'
    """
    if features is not None and features < 1:
        raise SettingsError(f"hyperalignment keeps at least one principal component; found {features}")
    return Hyperalignment(features)


def anatomical(people: Sequence[np.ndarray], columns: Sequence[pd.DataFrame], rows: np.ndarray) -> SharedSpace:
    """Take people as they lie: what has the same place (`roi`, `i`, `j`, `k`, `vertex` …) in all is the same.

    Nothing is learned but each voxel's mean and SD. Places have to mean the same in everyone: one template space, one
    surface, one atlas.

    Raises
    ------
    InputError
        People whose columns are not the same places.
    """
    places = same_places(columns)
    if places is None:
        raise InputError(
            "people do not have the same columns (all but `subject`), each once: nothing says which place of one is "
            "which of another's; align by shared_response(..) or hyperalignment(..)"
        )
    scaled = [mean_and_scale(X, rows) for X in people]
    n = len(places[0])
    bases = tuple(csr_array((np.ones(n), (at, np.arange(n))), shape=(n, n)) for at in places)
    space = SharedSpace(
        bases,
        np.zeros((0, n)),
        tuple(mean for mean, _ in scaled),
        tuple(scale for _, scale in scaled),
        (),
        True,
    )
    shared = room((len(rows), n), float)
    for k, X in enumerate(people):  # one after another, some samples at a time
        for some in blocks(len(rows), 8 * n):
            shared[some] += space.shared_of(k, X[rows[some]]) / len(people)
    return replace(space, shared=shared)


def same_places(columns: Sequence[pd.DataFrame]) -> list[np.ndarray] | None:
    """For every person, where each of the first person's places is; None where places are not the same.

    Examples
    --------
    >>> tables = [pd.DataFrame({"subject": s, "roi": rois}) for s, rois in (("1", ["A1", "FFA"]), ("2", ["FFA", "A1"]))]
    >>> [at.tolist() for at in same_places(tables)]
    [[0, 1], [1, 0]]
    """
    what = [name for name in columns[0] if name != "subject"]
    if any(len(table) != len(columns[0]) or set(table) != set(columns[0]) for table in columns):
        return None
    keys = [pd.MultiIndex.from_frame(table[what].astype(str)) if what else table.index for table in columns]
    if not all(key.is_unique for key in keys):
        return None
    found = [key.get_indexer(keys[0]) for key in keys]
    return None if any((at < 0).any() for at in found) else found


SHARED = SharedResponse(50)


def align_people(people: Signal, train: Any, how: Alignment = SHARED) -> Signal:
    """Everyone's responses in one space, which is learned from named samples only.

    Parameters
    ----------
    people : Signal (n_samples, columns of several people)
        People on one clock, `subject` in `columns`; voxels may differ in number.
    train : mask, positions or slice
        The samples to learn from: the training samples of whatever the result is used for. Of these, samples with
        `use` False are left out.
    how : alignment
        `shared_response(50)`, `hyperalignment()`, `anatomical`, or any function of that kind.

    Returns
    -------
    Signal (n_samples, n_people × n_dimensions)
        All samples, those of training among them; `columns`: `subject`, `dimension`. Responses are standardised by
        their training mean and SD, and every person weighs alike. `average_people` makes the shared response of it.

    Raises
    ------
    InputError, SettingsError
        Fewer than two people, more features than somebody has, fewer than two samples to learn from; samples that are
        not there; something that is no alignment.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> common = rng.standard_normal((120, 3))
    >>> values = np.concatenate([common @ rng.standard_normal((3, 30)) for _ in range(2)], axis=1)
    >>> samples = pd.DataFrame({"run": np.repeat(["1", "2"], 60), "time": np.tile(np.arange(60.0), 2)})
    >>> both = Signal(values, samples, pd.DataFrame({"subject": np.repeat(["a", "b"], 30), "vertex": [*range(30)] * 2}))
    >>> align_people(both, train=both.samples["run"] == "1", how=shared_response(3))
    Signal(120 samples × 6 columns; 2 runs; 0.0–59.0 s; subject, dimension)
    """
    check_alignment(how)
    everyone = People.of(people)
    taken = _taken(train, len(people.samples)) & people.use
    space = how(everyone.values, everyone.columns, np.flatnonzero(taken))
    n = space.shared.shape[1]
    values = room((len(taken), len(everyone.names) * n))
    for k, own in enumerate(everyone.values):
        for rows in blocks(len(own), 8 * own.shape[1]):
            values[rows, k * n : (k + 1) * n] = space.shared_of(k, own[rows])
    attrs: dict[str, Any] = {**people.attrs, "aligned": {"how": said(how), "samples": int(taken.sum())}}
    return Signal(values, people.samples, dimensions(everyone.names, n), attrs=attrs)


def check_alignment(how: Any) -> None:
    """Refuse what is no alignment: a word, or what makes one and was not called."""
    if how is shared_response or how is hyperalignment:
        raise SettingsError(f"{how.__name__} makes an alignment: call it, {how.__name__}(50) for 50 dimensions")
    if not callable(how):
        raise SettingsError(
            "an alignment is shared_response(50), hyperalignment(), anatomical, or a function of people, columns and "
            f"rows; found {how!r}"
        )


def _taken(train: Any, n: int) -> np.ndarray:
    """(n,) bool: the samples that are named by a mask, positions or a slice."""
    index = train if isinstance(train, slice) else np.asarray(train)
    taken = np.zeros(n, bool)
    if isinstance(index, np.ndarray) and index.dtype == bool and index.shape != (n,):
        raise InputError(f"train is a mask of shape {index.shape}, and there are {n} samples: give one value for each")
    if isinstance(index, np.ndarray) and index.dtype.kind not in "biu" and index.size:
        raise InputError(f"train is a mask, positions or a slice of the samples; found {train!r:.60}")
    try:
        taken[index if isinstance(index, slice) or index.size else np.zeros(0, int)] = True
    except IndexError as error:
        raise InputError(f"train names samples that are not there, of {n}: {error}") from error
    return taken


def dimensions(names: Sequence[str], n: int) -> pd.DataFrame:
    """Columns of everyone in a space of n dimensions: `subject`, `dimension` (from 1)."""
    return pd.DataFrame({"subject": np.repeat(list(names), n), "dimension": np.tile(np.arange(1, n + 1), len(names))})


def said(how: Alignment) -> str:
    """An alignment in words."""
    return getattr(how, "__name__", None) or str(how)
