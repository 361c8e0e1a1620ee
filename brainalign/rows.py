"""How is an array of many rows computed part by part, in little memory, so that a crash costs one part?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from brainalign.errors import InputError
from brainalign.progress import Progress, silent
from brainalign.provenance import hash_array
from brainalign.store import PART_OF, Store, key_of

Block = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Rows, columns (both rising), and what stands there (n_rows, n_columns)."""


@dataclass(frozen=True)
class RowJob:
    """An array (n_rows, n_columns) float32, computed part by part.

    Parameters
    ----------
    shape : (n_rows, n_columns)
    parts : list of int arrays
        The rows of each part; every row is in exactly one.
    compute : function
        Number of a part → its block (n_rows_of_the_part, n_columns). The same whenever it is called.
    also : dict of name → array
        What is kept beside it.
    what : str
        What is being done, for those who watch.
    keys : list of str, optional
        Of each part, where its content depends on less than the whole: a part that was kept on the way to another whole
        is then found. Parts with the same key have the same content.
    """

    shape: tuple[int, int]
    parts: Sequence[np.ndarray]
    compute: Callable[[int], np.ndarray]
    also: Mapping[str, np.ndarray] = field(default_factory=dict)
    what: str = "computing"
    keys: Sequence[str] = ()


def parts_of(sizes: Sequence[float]) -> list[range]:
    """Group neighbours so that the sizes of each group sum to about one.

    Parameters
    ----------
    sizes : list of float
        Of each of the things that are grouped, as a share of what a part should be.

    Examples
    --------
    >>> parts_of([0.5, 0.5, 0.5, 0.25])
    [range(0, 2), range(2, 4)]
    """
    groups: list[range] = []
    begin, total = 0, 0.0
    for k, size in enumerate(sizes):
        total += size
        if total >= 1.0 or k == len(sizes) - 1:
            groups.append(range(begin, k + 1))
            begin, total = k + 1, 0.0
    return groups


def compute_rows(job: RowJob, progress: Progress = silent) -> dict[str, np.ndarray]:
    """The whole array under the name `values`, in memory, and what belongs beside it.

    Examples
    --------
    >>> job = RowJob((4, 2), [np.arange(2), np.arange(2, 4)], lambda k: np.full((2, 2), k, np.float32))
    >>> compute_rows(job)["values"][:, 0].tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    values = np.zeros(job.shape, np.float32)
    for k, rows in enumerate(job.parts):
        progress(k, len(job.parts), job.what)
        values[rows] = job.compute(k)
    progress(len(job.parts), len(job.parts), job.what)
    return {"values": values, **job.also}


def keep_rows(
    store: Store, key: str, begin: Callable[[], RowJob], meta: Mapping[str, Any], progress: Progress = silent
) -> Mapping[str, np.ndarray]:
    """As `compute_rows`, kept in a store; `values` stays on disk, memory-mapped.

    Never more than one part is in memory. Every part is kept as soon as it is computed: whoever asks for the same key
    after a crash computes what is missing, and gets the same bytes. When the whole is there the parts are removed; till
    then both take disk.

    Parameters
    ----------
    store : Store
    key : str
        Of the whole.
    begin : function
        Gives the job; not called if the whole is there.
    meta : dict
        JSON types.
    progress : function (done, total, what)

    Raises
    ------
    InputError
        The store cannot be written; the parts that were kept stay.

    Examples
    --------
    >>> import tempfile
    >>> job = RowJob((4, 2), [np.arange(2), np.arange(2, 4)], lambda k: np.full((2, 2), k, np.float32))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kept = keep_rows(Store(folder), key_of(of="an example"), lambda: job, meta={})
    ...     kept["values"][:, 0].tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    done: list[str] = []

    def fill(folder: Path) -> None:
        job = begin()
        size = 4 * job.shape[0] * job.shape[1]
        needed = f"what was computed is kept. Up to twice {size / 1e6:,.0f} MB are needed until it is put together"
        with _writing(store, needed):
            _save(job.also, folder)
            file = (folder / "values.npy").open("wb")
        with file:
            with _writing(store, needed):
                start = begin_values(file, job.shape)
            for k, rows in enumerate(job.parts):
                progress(k, len(job.parts), job.what)
                block = job.compute(k) if len(job.parts) == 1 else part_of(job, k)
                with _writing(store, needed):
                    _write(file, start, rows, block, job.shape[1])
            with _writing(store, needed):
                file.truncate(start + size)
                file.flush()
        progress(len(job.parts), len(job.parts), job.what)

    def part_of(job: RowJob, k: int) -> np.ndarray:
        done.append(job.keys[k] if job.keys else key_of(of=key, rows=hash_array(job.parts[k])))
        about = {**meta, PART_OF: key, "part": k, "parts": len(job.parts)}
        return store.compute(done[-1], lambda: {"block": job.compute(k)}, meta=about).arrays["block"]

    arrays = store.compute_folder(key, fill, meta=meta).arrays
    for part in done:
        store.remove(part)
    return arrays


def keep_blocks(
    store: Store,
    key: str,
    shape: tuple[int, int],
    blocks: Callable[[], Iterator[Block]],
    meta: Mapping[str, Any],
    also: Mapping[str, np.ndarray] | None = None,
) -> Mapping[str, np.ndarray]:
    """An array `values` (n_rows, n_columns) float32, computed block by block and kept in a store, memory-mapped.

    For blocks that are sooner computed again than kept apart: a crash costs all of them.

    Parameters
    ----------
    store : Store
    key : str
    shape : (n_rows, n_columns)
    blocks : function
        Gives every block, in any order; together they are the whole. Not called if it is there.
    meta : dict
        JSON types.
    also : dict of name → array
        What is kept beside it, as it is once all blocks were given: they may fill it.

    Raises
    ------
    InputError
        The store cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> halves = [(np.arange(2), np.array([k]), np.full((2, 1), k, np.float32)) for k in (0, 1)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kept = keep_blocks(Store(folder), key_of(of="an example"), (2, 2), lambda: iter(halves), meta={})
    ...     kept["values"].tolist()
    [[0.0, 1.0], [0.0, 1.0]]
    """
    needed = f"{4 * shape[0] * shape[1] / 1e6:,.0f} MB are needed"

    def fill(folder: Path) -> None:
        with _writing(store, needed):
            file = (folder / "values.npy").open("wb")
        with file:
            with _writing(store, needed):
                start = begin_values(file, shape)
            for rows, columns, block in blocks():
                with _writing(store, needed):
                    _write(file, start, rows, block, shape[1], columns)
            with _writing(store, needed):
                file.flush()
                _save(also or {}, folder)

    return store.compute_folder(key, fill, meta=meta).arrays


def _save(arrays: Mapping[str, np.ndarray], folder: Path) -> None:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


@contextmanager
def _writing(store: Store, needed: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the cache {store.root} cannot be written ({error.strerror or error}); {needed}: free some space there, "
            "or name another folder in BRAINALIGN_CACHE"
        ) from error


def begin_values(file: BinaryIO, shape: tuple[int, int]) -> int:
    """Say in a .npy file what follows, rows of float32; where they begin."""
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.tell()


def _write(
    file: BinaryIO, start: int, rows: np.ndarray, block: np.ndarray, width: int, columns: np.ndarray | None = None
) -> None:
    """Numbers that follow one another in the file are written together."""
    block = np.ascontiguousarray(block, "<f4")
    if columns is None or len(columns) == width:
        for a, b in _stretches(rows):
            file.seek(start + 4 * width * int(rows[a]))
            file.write(block[a:b].data)
        return
    for a, b in _stretches(columns):
        for k, row in enumerate(rows.tolist()):
            file.seek(start + 4 * (width * row + int(columns[a])))
            file.write(block[k, a:b].data)


def _stretches(index: np.ndarray) -> Iterable[tuple[int, int]]:
    """Where runs of neighbours begin and end in a list of positions."""
    breaks = (np.flatnonzero(np.diff(index) != 1) + 1).tolist()
    return zip([0, *breaks], [*breaks, len(index)])
