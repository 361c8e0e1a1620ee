"""Which pictures were shown, when, and how are they read one by one?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError, need_package
from brainalign.features.decoding import METHOD, MID_GREY, as_rgb, check_ground, decode
from brainalign.features.texts import sample_each
from brainalign.provenance import check_inside, hash_array, hash_file, versions
from brainalign.store import key_of

NAMED = 5  # missing files that a message names


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures in the order they were shown, read when they are asked for.

    Parameters
    ----------
    samples : DataFrame, one row per picture shown
        `run`, `time` (s), `duration` (s, where known), `stimulus`: the file as named in the events, "picture 3", or
        "film.mp4 @ 12.500 s".
    digests : list of str, one per row
        Of what each shows; rows with equal digests show the same picture, which need be read only once.
    read : function
        ``read(rows)`` gives (height, width, 3) uint8 RGB for each of these rows in turn, one in memory at a time. It
        raises an InputError that names the picture at the first that cannot be read. Frames of a film are read
        fastest in the order of their digests, which is that of time.
    inputs : mapping of file name → sha256
        What was read; empty for arrays.
    notes : list of str
        What a reader of the results should know.

    Examples
    --------
    >>> pictures = pictures_of(np.zeros((2, 4, 6), np.uint8))
    >>> [picture.shape for picture in pictures.read([0, 1])], pictures.samples["stimulus"].tolist()
    ([(4, 6, 3), (4, 6, 3)], ['picture 0', 'picture 1'])
    """

    samples: pd.DataFrame
    digests: Sequence[str]
    read: Callable[[Sequence[int]], Iterator[np.ndarray]]
    inputs: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f"Pictures({len(self):,} shown, {len(set(self.digests)):,} different)"


def pictures_of(
    images: Any, column: str = "stim_file", root: str | Path | None = None, *, ground: Sequence[int] = MID_GREY
) -> Pictures:
    """Pictures from wherever they are: events that name files, files, arrays.

    Parameters
    ----------
    images : DataFrame, list of paths, array, list of arrays, or Pictures
        Events name a file each under `column`; with `run` and `onset` (s; `duration` where known) they lie in time.
        Everything else has no clock: `time` is the row's number, `run` "1". Arrays are (n, height, width) or
        (n, height, width, 1, 3 or 4), or a list of pictures without the n; uint8, uint16, or float from 0 to 1.
        Pictures are given back as they are.
    column : str
        Of the events. In BIDS it is `stim_file`, relative to the folder `stimuli` of the data set.
    root : path, optional
        What the names of files are relative to; in BIDS that folder `stimuli`. Names that lead outside it are refused.
        Default: for events the current folder; a list of paths may then lie anywhere.
    ground : (red, green, blue), 0 to 255
        What is seen where a picture is transparent; mid-grey unless said otherwise.

    Returns
    -------
    Pictures
        Nothing is decoded yet; files were read through once, for their digests.

    Raises
    ------
    InputError
        Events that cannot be read (`samples_of`), arrays of another shape, files that are not there: all are counted,
        and the first are named.
    SettingsError
        Pillow is not installed and files are to be read, or `ground` is no colour.

    Examples
    --------
    >>> edges = np.zeros((3, 8, 8))
    >>> edges[1, :, 4:] = 1.0
    >>> pictures = pictures_of(edges)
    >>> len(pictures), len(set(pictures.digests)), next(pictures.read([1]))[0, 7].tolist()
    (3, 2, [255, 255, 255])
    """
    if isinstance(images, Pictures):
        return images
    colour = check_ground(ground)
    if isinstance(images, pd.DataFrame):
        samples = sample_each(images, column)
        folder = check_inside(".", Path.cwd() if root is None else root)
        paths = [check_inside(name, folder) for name in samples["stimulus"]]
        return _from_files(samples, paths, folder, colour)
    if isinstance(images, (str, os.PathLike)):
        raise InputError(
            f"{os.fspath(images)!r} is one file or folder: give a list of pictures, such as [path] or "
            "sorted(folder.glob('*.png')), or open a film with ba.read_film"
        )
    if isinstance(images, np.ndarray) and images.dtype.kind in "OTU":  # paths, as a table or NumPy has them
        images = np.atleast_1d(images).tolist()
    items: Any = np.atleast_1d(images) if isinstance(images, np.ndarray) else list(images)
    if len(items) == 0:
        raise InputError("there are no pictures: give at least one")
    if isinstance(items, np.ndarray):
        _check_stack(items)
    kinds = {_kind(item) for item in items} if isinstance(items, list) else {"array"}
    if kinds == {"array"}:
        return _from_arrays(list(items), colour)
    if kinds == {"path"}:
        folder = common_folder(items) if root is None else check_inside(".", root)
        paths = [check_inside(Path(path).absolute() if root is None else path, folder) for path in items]
        return _from_files(_no_clock([str(p) for p in items]), paths, folder, colour)
    raise InputError(
        f"the pictures are {' and '.join(sorted(kinds))}: give only paths or only arrays; what Pillow or torch holds "
        "becomes an array with np.asarray (a Pillow image first .convert('RGB'))"
    )


def common_folder(paths: Iterable[str | Path]) -> Path:
    """The folder all these files are in, or below."""
    return check_inside(".", os.path.commonpath([Path(path).absolute().parent for path in paths]))


def relative_names(paths: Iterable[Path], root: Path) -> dict[Path, str]:
    """What each different file is called in results: nothing of the machine, and no two alike."""
    return {path: os.path.relpath(path, root).replace(os.sep, "/") for path in paths}


def _kind(item: Any) -> str:
    if isinstance(item, np.ndarray):
        return "array"
    return "path" if isinstance(item, (str, os.PathLike)) else type(item).__name__


def _check_stack(images: np.ndarray) -> None:
    single = images.ndim == 2 or (images.ndim == 3 and images.shape[-1] in (3, 4))
    if single or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] not in (1, 3, 4)):
        hint = "this looks like one picture: give images[None]" if single else "channels stand last: np.moveaxis"
        raise InputError(
            f"an array of pictures is (n, height, width) or (n, height, width, 1, 3 or 4); found {images.shape}; {hint}"
        )


def _no_clock(names: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({"run": "1", "time": np.arange(len(names), dtype=float), "stimulus": names})


def _from_arrays(items: Sequence[np.ndarray] | np.ndarray, ground: tuple[int, ...]) -> Pictures:
    names = [f"picture {k}" for k in range(len(items))]

    def read(rows: Sequence[int]) -> Iterator[np.ndarray]:
        return (as_rgb(items[row], names[row], ground) for row in rows)

    digests = [hash_array(picture) for picture in read(range(len(items)))]
    return Pictures(_no_clock(names), digests, read)


def _from_files(samples: pd.DataFrame, paths: Sequence[Path], root: Path, ground: tuple[int, ...]) -> Pictures:
    need_package("PIL", extra="vision", what="reading pictures")
    different = dict.fromkeys(paths)
    _check_there(list(different), root)
    names = relative_names(different, root)
    hashes = {path: hash_file(path) for path in different}
    settled = {"decoding": METHOD, "ground": ground, "pillow": versions("pillow")["pillow"].split(".")[0]}
    digests = {path: key_of(file=sha256, **settled) for path, sha256 in hashes.items()}

    def read(rows: Sequence[int]) -> Iterator[np.ndarray]:
        return (decode(paths[row], names[paths[row]], ground) for row in rows)

    return Pictures(
        samples.assign(stimulus=[names[path] for path in paths]),
        [digests[path] for path in paths],
        read,
        {names[path]: sha256 for path, sha256 in hashes.items()},
    )


def _check_there(paths: Sequence[Path], root: Path) -> None:
    missing = [path for path in paths if not path.is_file()]
    if not missing:
        return
    listed = ", ".join(repr(os.path.relpath(path, root)) for path in missing[:NAMED])
    more = ", …" if len(missing) > NAMED else ""
    links = sum(path.is_symlink() for path in missing)
    hint = (
        f"{links} are links that lead nowhere: fetch what they stand for (datalad get)"
        if links
        else "check what the names are relative to (root=; in BIDS the folder stimuli)"
    )
    raise InputError(f"{len(missing)} of {len(paths)} pictures are not there: {listed}{more}; looked in {root}; {hint}")
