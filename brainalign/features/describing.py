"""How are many pictures described, each different one once, in little memory, and kept?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError
from brainalign.features.pictures import Pictures, pictures_of
from brainalign.progress import Progress, silent
from brainalign.provenance import hash_array
from brainalign.rows import RowJob, compute_rows, keep_rows
from brainalign.signals import Signal
from brainalign.store import Store, key_of

PART_BYTES = 64 << 20  # of what is computed between two savings, ..
PART_PICTURES = 512  # .. or as many pictures, whichever comes first
BATCH_BYTES = 64 << 20  # of pixels that are handed over together
MEMORY_BYTES = 256 << 20  # a result up to this size is put in the order of the samples in memory, else on disk
INPUTS_LISTED = 1_000  # files that provenance names one by one

Unreadable = Literal["error", "censor"]


@dataclass(frozen=True)
class Describer:
    """What turns pictures into numbers.

    Parameters
    ----------
    width : int
        Numbers it makes of a picture.
    describe : function
        A list of n pictures, (height, width, 3) uint8 RGB each and not all of one size → (n, width), finite. What it
        makes of a picture may not depend on those beside it.
    batch : int
        Pictures that are handed over together, at most.
    also : mapping of name → array
        What is kept beside the numbers, such as which layers they are of.
    """

    width: int
    describe: Callable[[list[np.ndarray]], np.ndarray]
    batch: int = 16
    also: Mapping[str, np.ndarray] = field(default_factory=dict)


def per_picture(width: int, measure: Callable[[np.ndarray], Any]) -> Describer:
    """A Describer that measures one picture after the other: (height, width, 3) uint8 → `width` numbers."""
    return Describer(width, lambda batch: np.array([measure(picture) for picture in batch]))


@dataclass(frozen=True, eq=False)
class Described:
    """What `describe` found.

    Parameters
    ----------
    pictures : Pictures
    values : (n_samples, width) float32
        In the order of the samples; with a store on disk, memory-mapped. NaN where a picture could not be read.
    also : mapping of name → array
    left_out : mapping of stimulus → str
        Why it could not be read.
    """

    pictures: Pictures
    values: np.ndarray
    also: Mapping[str, np.ndarray]
    left_out: Mapping[str, str]

    def signal(
        self, columns: pd.DataFrame, known: Mapping[str, Mapping[str, Any]], notes: Sequence[str] = ()
    ) -> Signal:
        """The Signal of it.

        Parameters
        ----------
        columns : DataFrame, one row per column
        known : mapping of feature's name → how it was made
            Goes into ``attrs["features"]``, with what was left out.
        notes : list of str
            What else a reader of the results should know.
        """
        samples, notes = self.pictures.samples, [*self.pictures.notes, *notes]
        attrs: dict[str, Any] = {"features": {name: dict(one) for name, one in known.items()}}
        if self.left_out:
            gone = np.isnan(self.values[:, 0])
            samples = samples.assign(use=~gone)
            attrs["left_out"] = [{"stimulus": one, "why": why} for one, why in self.left_out.items()]
            censored = f"{int(gone.sum())} of {len(gone)} samples are censored: their pictures cannot be read"
            notes.append(f"{', '.join(known)}: {censored}")
        if self.pictures.inputs:
            attrs["inputs"] = _listed(self.pictures.inputs)
        return Signal(self.values, samples, columns, attrs=attrs | ({"notes": notes} if notes else {}))


def describe(
    pictures: Pictures,
    begin: Callable[[], Describer],
    key: Mapping[str, Any],
    what: str,
    *,
    unreadable: Unreadable = "error",
    store: Store | None = None,
    progress: Progress = silent,
    part_bytes: int = PART_BYTES,
) -> Described:
    """Describe every different picture once, part by part.

    Parameters
    ----------
    pictures : Pictures
    begin : function
        Gives what describes them; loads what is heavy. Not called where all is in the store.
    key : mapping of JSON types
        All that the numbers depend on but the pictures: kind, method, model, settings, versions.
    what : str
        For those who watch: "luminance".
    unreadable : {"error", "censor"}
        What becomes of a picture that cannot be read. "error": an InputError names it, and the parts that were finished
        stay in the store. "censor": its samples are NaN and not in use (`use` False), and named in the Signal's
        ``attrs["left_out"]``; all others are described.
    store : Store, optional
        Where the numbers are kept, and found again for the same key and pictures, first shown in the same order. Memory
        does not grow with their number.
    progress : function (done, total, what), optional
        Told after each part.
    part_bytes : int
        How much is computed between two savings.

    Raises
    ------
    InputError
        A picture that cannot be read, or none that can.
    SettingsError
        `unreadable` is another word.

    Examples
    --------
    >>> from brainalign.features.pictures import pictures_of
    >>> bright = Describer(1, lambda batch: np.array([[picture.mean()] for picture in batch]))
    >>> found = describe(pictures_of(np.full((3, 2, 2), 7, np.uint8)), lambda: bright, {"kind": "bright"}, "bright")
    >>> found.values.ravel().tolist()
    [7.0, 7.0, 7.0]
    """
    if unreadable not in get_args(Unreadable):
        raise SettingsError(f"unreadable is one of {', '.join(map(repr, get_args(Unreadable)))}; found {unreadable!r}")
    which, first = different(pictures)

    def start() -> RowJob:
        return _job(pictures, first, begin(), what, unreadable, part_bytes)

    if store is None:
        arrays: dict[str, np.ndarray] = compute_rows(start(), progress)
        values = _as_shown(arrays.pop("values"), which)
    else:
        whole = piece_of(pictures, key)
        arrays = dict(keep_rows(store, whole, start, {"what": what, "n_pictures": len(first)}, progress))
        values = _as_shown(arrays.pop("values"), which, store, whole, what)
    return Described(pictures, values, arrays, why_left_out(pictures, values, unreadable))


def describe_band(
    images: Any,
    begin: Callable[[], Describer],
    columns: pd.DataFrame,
    settings: Mapping[str, Any],
    name: str,
    column: str,
    root: str | Path | None,
    unreadable: Unreadable,
    store: Store | None,
    progress: Progress,
) -> Signal:
    """A band of features, from whatever `pictures_of` takes.

    Parameters
    ----------
    columns : DataFrame, one row per number a picture gets
        What each is; `band` is added.
    settings : mapping of JSON types
        `kind`, `method`, and all the numbers depend on; becomes part of the key and of ``attrs["features"][name]``.
    """
    found = describe(
        pictures_of(images, column, root),
        begin,
        settings,
        str(settings["kind"]).replace("_", " "),
        unreadable=unreadable,
        store=store,
        progress=progress,
    )
    columns = pd.concat([pd.DataFrame({"band": name}, index=columns.index), columns], axis=1)
    return found.signal(columns, {name: settings})


def different(pictures: Pictures) -> tuple[np.ndarray, np.ndarray]:
    """Which of the different pictures each row shows, and the row where each of those was shown first.

    In the order of their first showing: where none comes twice, what is kept is what is given back, without a copy.

    Examples
    --------
    >>> from brainalign.features.pictures import pictures_of
    >>> which, first = different(pictures_of(np.array([[[7]], [[3]], [[7]]], np.uint8)))
    >>> which.tolist(), first.tolist()
    ([0, 1, 0], [0, 1])
    """
    which, _ = pd.factorize(np.array(pictures.digests, object))
    return which, np.unique(which, return_index=True)[1]


def piece_of(pictures: Pictures, key: Mapping[str, Any]) -> str:
    """The store's key of what `describe` keeps."""
    _, first = different(pictures)
    return key_of(pictures=[pictures.digests[row] for row in first], **key)


def _job(
    pictures: Pictures, first: np.ndarray, describer: Describer, what: str, unreadable: Unreadable, part_bytes: int
) -> RowJob:
    n, width = len(first), describer.width
    size = max(1, min(PART_PICTURES, part_bytes // (4 * width)))
    parts = [np.arange(start, min(start + size, n)) for start in range(0, n, size)]

    def compute(part: int) -> np.ndarray:
        rows = parts[part]
        block = np.full((len(rows), width), np.nan, np.float32)
        for places, batch in batches(pictures, first[rows], describer.batch, unreadable):
            block[places] = describer.describe(batch)
            odd = ~np.isfinite(block[places]).all(axis=1)
            if odd.any():
                name = pictures.samples["stimulus"].iloc[first[rows[places[int(odd.argmax())]]]]
                raise InputError(f"{what} of {name!r} is not a finite number: is the picture, or the model, sound?")
        return block

    return RowJob((n, width), parts, compute, describer.also, f"{what} of {n:,} pictures")


def batches(
    pictures: Pictures, rows: np.ndarray, most: int, unreadable: Unreadable
) -> Iterator[tuple[list[int], list[np.ndarray]]]:
    """Some pictures with their places in `rows`, `most` at once or fewer; without those that are censored."""
    places: list[int] = []
    batch: list[np.ndarray] = []
    for place, picture in each_readable(pictures, rows, unreadable):
        places.append(place)
        batch.append(picture)
        if len(batch) >= most or sum(one.nbytes for one in batch) >= BATCH_BYTES:
            yield places, batch
            places, batch = [], []
    if batch:
        yield places, batch


def each_readable(pictures: Pictures, rows: np.ndarray, unreadable: Unreadable) -> Iterator[tuple[int, np.ndarray]]:
    """Pictures with their places in `rows`; without those that are censored."""
    place = 0
    while place < len(rows):
        try:
            for picture in pictures.read(rows[place:].tolist()):
                yield place, picture
                place += 1
        except InputError:
            if unreadable == "error":
                raise
            place += 1  # and go on behind it


def _as_shown(
    values: np.ndarray, which: np.ndarray, store: Store | None = None, key: str = "", what: str = ""
) -> np.ndarray:
    """The rows of the different pictures as often and in the order they were shown; large ones stay on disk."""
    if len(which) == len(values) and (which == np.arange(len(values))).all():
        return values
    row_bytes = 4 * values.shape[1]
    if store is None or row_bytes * len(which) <= MEMORY_BYTES:
        return values[which]
    size = max(1, PART_BYTES // row_bytes)
    parts = [np.arange(start, min(start + size, len(which))) for start in range(0, len(which), size)]
    job = RowJob((len(which), values.shape[1]), parts, lambda part: values[which[parts[part]]])
    about = {"what": f"{what}, as shown", "n_samples": len(which)}
    return keep_rows(store, key_of(of=key, rows=hash_array(which)), lambda: job, about)["values"]


def why_left_out(pictures: Pictures, values: np.ndarray, unreadable: Unreadable) -> dict[str, str]:
    """Why there are no numbers of some pictures (their first is NaN): they are read again, to be told."""
    gone = np.flatnonzero(np.isnan(values[:, 0])).tolist()
    if not gone:
        return {}
    if len(gone) == len(values):
        next(pictures.read([0]))  # says what is wrong with the first
    said: dict[str, str] = {}
    why: dict[str, str] = {}  # of a digest
    for row in gone:
        digest = pictures.digests[row]
        if digest not in why:
            try:
                next(pictures.read([row]))
                why[digest] = "it can be read, but what is beside it could not"
            except InputError as error:
                if unreadable == "error":
                    raise
                why[digest] = str(error)
        said[str(pictures.samples["stimulus"].iloc[row])] = why[digest]
    return said


def _listed(inputs: Mapping[str, str]) -> dict[str, str]:
    """The files by name; many of them as one, so that a result does not carry thousands of lines."""
    if len(inputs) <= INPUTS_LISTED:
        return dict(inputs)
    return {f"{len(inputs):,} pictures": key_of(files=dict(inputs))}
