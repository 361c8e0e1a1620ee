"""Which inputs and versions made this?"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError

CHUNK_BYTES = 1 << 24  # an array larger than memory is hashed this much at a time


def hash_file(path: str | Path) -> str:
    """The sha256 of a file's bytes, read as a stream.

    Returns
    -------
    str
        64 hex digits.

    Raises
    ------
    InputError
        There is no such file.

    Examples
    --------
    >>> len(hash_file(__file__))
    64
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file: it cannot be hashed")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_array(array: Any) -> str:
    """The sha256 of an array: its number type, its shape, its values row after row.

    Parameters
    ----------
    array : array of any shape
        In memory, memory-mapped or zarr-backed. Memory layout and byte order make no difference.

    Raises
    ------
    InputError
        The array holds Python objects.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.arange(6.0).reshape(2, 3)
    >>> hash_array(a) == hash_array(np.asfortranarray(a)), hash_array(a) == hash_array(a.T)
    (True, False)
    """
    array = array if hasattr(array, "dtype") and hasattr(array, "shape") else np.asarray(array)
    if array.dtype.hasobject:
        raise InputError("an array of Python objects has no stable bytes: hash a table with hash_frame")
    little = array.dtype.newbyteorder("<")
    digest = hashlib.sha256(json.dumps([little.str, list(array.shape)]).encode())
    if len(array.shape) == 0:
        digest.update(np.asarray(array[()]).astype(little).tobytes())
        return digest.hexdigest()
    row_bytes = max(1, little.itemsize * int(np.prod(array.shape[1:], dtype=np.int64)))
    step = max(1, CHUNK_BYTES // row_bytes)
    for start in range(0, array.shape[0], step):
        digest.update(np.asarray(array[start : start + step]).astype(little, copy=False).tobytes())
    return digest.hexdigest()


def hash_frame(frame: pd.DataFrame) -> str:
    """The sha256 of a table: names and values, column after column.

    How pandas keeps a column (object or str, int64 or Int64) makes no difference, and neither does its version:
    numbers are written as the shortest text that reads back the same, missing cells are all alike, text is quoted.
    The index is not part of it.

    Raises
    ------
    InputError
        A cell is something other than a number, a truth value, text, or missing.

    Examples
    --------
    >>> import pandas as pd
    >>> hash_frame(pd.DataFrame({"onset": [0.5, None]}))[:12]
    '0a1ea13cf415'
    """
    digest = hashlib.sha256()
    for position, name in enumerate(frame.columns):
        cells = [_plain_cell(cell, name) for cell in frame.iloc[:, position].tolist()]
        digest.update(json.dumps([str(name), cells], ensure_ascii=True).encode() + b"\n")
    return digest.hexdigest()


def _plain_cell(cell: Any, name: object) -> Any:
    if isinstance(cell, np.generic):
        cell = cell.item()
    if cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and np.isnan(cell)):
        return None
    if isinstance(cell, (bool, int, float, str)):
        return cell
    raise InputError(
        f"column {name!r} holds a {type(cell).__name__}: a table that is hashed holds numbers, truth values and text"
    )


def versions(*packages: str) -> dict[str, str]:
    """The installed versions of packages; `python` names the interpreter. What is not installed is left out.

    Examples
    --------
    >>> sorted(versions("python", "numpy", "no-such-package"))
    ['numpy', 'python']
    """
    found = {}
    for package in packages:
        if package == "python":
            found[package] = platform.python_version()
            continue
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def relative_name(path: str | Path, root: str | Path) -> str:
    """How a file is named in what is published: relative to `root`, or by its bare name when it lies elsewhere.

    Nothing about the machine (home folder, user) can get into a result this way.

    Examples
    --------
    >>> relative_name("/data/study/sub-1/func/bold.tsv", "/data/study")
    'sub-1/func/bold.tsv'
    >>> relative_name("/elsewhere/mask.nii.gz", "/data/study")
    'mask.nii.gz'
    """
    for path_, root_ in ((_absolute(path), _absolute(root)), (Path(path).resolve(), Path(root).resolve())):
        if path_.is_relative_to(root_):
            return path_.relative_to(root_).as_posix()
    return Path(path).name


def check_inside(path: str | Path, root: str | Path) -> Path:
    """The full path of a file that data names (a stimulus in an events table, say), which has to lie inside `root`.

    Judged by the name alone, with every `..` resolved in it: a link that lies inside the tree is the tree's owner's
    choice (DataLad makes every file one), a name that climbs out of it is not.

    Parameters
    ----------
    path : path, relative to `root` or absolute
    root : folder

    Returns
    -------
    Path
        Absolute, without `..`.

    Raises
    ------
    InputError
        The name leads outside.

    Examples
    --------
    >>> check_inside("stimuli/a.TextGrid", "/data/study").as_posix()
    '/data/study/stimuli/a.TextGrid'
    """
    inside = _absolute(root)
    if "\0" in str(path):
        raise InputError(f"{str(path)!r} is not a file name: it contains a null character")
    full = _absolute(inside / path)
    if not full.is_relative_to(inside):
        raise InputError(f"{path} leads outside {root}: a file that the data names has to lie inside its own folder")
    return full


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  (Path.absolute keeps `..`, Path.resolve follows links)
