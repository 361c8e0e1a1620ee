"""Where is an array filled that may be larger than memory?"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainalign.errors import InputError

LARGE = 256 << 20  # bytes beyond which an array is kept in a file
BLOCK = 16_000_000  # bytes that are copied at a time


def room(shape: tuple[int, ...], dtype: Any = np.float32, whole: int = 0) -> np.ndarray:
    """An array of zeros to be filled: in memory where it is small, else in a file that vanishes with it.

    The file has no name, so that nothing is left behind, whatever is killed. It lies in the folder that TMPDIR names,
    else in /var/tmp, which is on a disk where /tmp is in memory.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    whole : int
        Bytes of all that this array is a part of: the parts of something large go into files too.

    Returns
    -------
    array
        Plain, or memory-mapped: its pages are the system's to write out, and no memory of the process's own.

    Raises
    ------
    InputError
        The disk has no space for it.

    Examples
    --------
    >>> float(room((2, 3)).sum())
    0.0
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if max(size, whole) <= LARGE or not size:
        return np.zeros(shape, dtype)
    folder = _folder()
    try:
        if shutil.disk_usage(folder).free < size:  # a full disk would end the process when pages are written out
            raise OSError(28, os.strerror(28))
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, dtype, "w+", shape=shape)
    except OSError as error:
        raise InputError(
            f"{size / 1e9:.3g} GB are written to {folder} while they are worked on, and cannot be "
            f"({error.strerror or error}): free some space there, or name another folder in TMPDIR"
        ) from error


def _folder() -> str:
    on_disk = Path("/var/tmp")  # noqa: S108  (nothing in it has a name that could be guessed)
    if "TMPDIR" in os.environ or not os.access(on_disk, os.W_OK):
        return tempfile.gettempdir()
    return str(on_disk)


def filled(
    shape: tuple[int, ...], read: Callable[[slice], np.ndarray], dtype: Any = np.float32, whole: int = 0
) -> np.ndarray:
    """An array whose rows `read` gives: at once where it is small, else some at a time into a file.

    Examples
    --------
    >>> filled((3, 2), lambda rows: np.eye(3, 2)[rows]).tolist()
    [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if max(size, whole) <= LARGE:
        return np.asarray(read(slice(0, shape[0])), dtype)
    out = room(shape, dtype, whole)
    for rows in blocks(shape[0], size // max(shape[0], 1)):
        out[rows] = read(rows)
    return out


def blocks(n_rows: int, row: int) -> list[slice]:
    """Slices of so many rows, each of `row` bytes, as are copied at a time.

    Examples
    --------
    >>> blocks(3, BLOCK // 2)
    [slice(0, 2, None), slice(2, 3, None)]
    """
    step = max(1, BLOCK // max(row, 1))
    return [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]


@dataclass(frozen=True, eq=False)
class RowsOf:
    """Some rows of a table, copied only as columns of them are read.

    Examples
    --------
    >>> some = RowsOf(np.arange(6).reshape(3, 2), np.array([0, 2]))
    >>> some.shape, some[:, 1:].tolist()
    ((2, 2), [[1], [5]])
    """

    values: np.ndarray
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.rows), self.values.shape[1]

    @property
    def dtype(self) -> np.dtype:
        """Of the numbers."""
        return self.values.dtype

    def __getitem__(self, index: tuple[slice, slice | np.ndarray]) -> np.ndarray:
        """All rows of some columns."""
        found = columns_of_rows(self.values, self.rows[index[0]], index[1])
        # columns by number lie in memory as numpy would lay them, so that sums come out alike to the last digit
        return found if isinstance(index[1], slice) else np.asfortranarray(found)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it, in memory."""
        return np.asarray(self.values[self.rows], dtype)


def span_of(index: np.ndarray) -> slice | np.ndarray:
    """Positions that follow one another as a slice, so that what is on disk stays there; others as they are.

    Examples
    --------
    >>> span_of(np.array([3, 4, 5])), span_of(np.array([3, 5])).tolist()
    (slice(3, 6, None), [3, 5])
    """
    neighbours = len(index) > 0 and bool((np.diff(index) == 1).all())
    return slice(int(index[0]), int(index[-1]) + 1) if neighbours else index


def rows_of(values: np.ndarray, rows: np.ndarray) -> np.ndarray | RowsOf:
    """Some rows: neighbours as they lie there, others copied, or where they are many copied as they are read."""
    span = span_of(rows)
    if isinstance(span, slice):
        return values[span]
    small = len(rows) * values.shape[1] * values.itemsize <= LARGE
    return values[rows] if small else RowsOf(values, rows)


def columns_of_rows(values: np.ndarray, rows: np.ndarray, columns: slice | np.ndarray) -> np.ndarray:
    """(rows, columns) of a table, in memory; neighbouring columns are read row by row."""
    columns = columns if isinstance(columns, slice) else span_of(columns)
    return values[:, columns][rows] if isinstance(columns, slice) else values[rows[:, None], columns]
