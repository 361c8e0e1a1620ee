"""Where do a recording's numbers stay: in memory, or written once to the store and memory-mapped?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.io.series import Series
from brainalign.rows import begin_values
from brainalign.scratch import LARGE
from brainalign.store import Store, key_of

NOUNS = {
    "structure": ("grayordinate", "grayordinates"),
    "channel": ("channel", "channels"),
    "vertex": ("vertex", "vertices"),
    "i": ("voxel", "voxels"),
    "roi": ("region", "regions"),
}
NO_VOLUME = "holds no volume that may be used"
NOUN = ("column", "columns")


@dataclass(frozen=True, eq=False)
class Held:
    """The numbers of several runs, one below the other; none where something keeps them from being used.

    Parameters
    ----------
    values : array (n_samples, n_columns), float32, or None
        In memory, or memory-mapped and read-only.
    columns : DataFrame, one row per column
    dead : list of str, one per run
        Why a run says nothing (empty, constant), else "".
    problems, notes : list of str
    """

    values: np.ndarray | None
    columns: pd.DataFrame
    dead: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Look:
    """What was seen of one run while it was read.

    Parameters
    ----------
    varies, whole : array (n_columns,), bool
        Whether a column ever changes, and is a finite number throughout.
    dead : str
        Why the run says nothing at all, else "".
    problem : str
        The first number that is missing in a column that has some, else "".
    """

    varies: np.ndarray
    whole: np.ndarray
    dead: str
    problem: str


class _UnusableError(Exception):
    """Nothing is kept of what cannot be used."""

    def __init__(self, looks: list[Look]) -> None:
        super().__init__()
        self.looks = looks


def hold(
    runs: Sequence[Series],
    store: Store | None,
    key: Mapping[str, Any],
    use: Sequence[np.ndarray | None] = (),
) -> Held:
    """Read runs once, a block at a time, look at every number, and keep the columns that all runs have.

    Columns that never change in a run, or hold no number in it, are dropped with a note: nothing can be fitted to them.

    Parameters
    ----------
    runs : sequence of Series
        On one grid, with keys of the same name.
    store : Store, optional
        Where values larger than 256 MB are written; the user's cache if none is named. They are found there again.
    key : mapping
        What the values are made from and by, JSON types: hashes of files, settings.
    use : sequence of array (n_samples,) bool, or None
        For every run, which samples may be fitted; what the others hold does not matter.

    Returns
    -------
    Held
    """
    columns, where = common_columns(runs)
    shape = (sum(run.n_samples for run in runs), len(columns))
    masks = list(use) or [None] * len(runs)
    large = 4 * shape[0] * shape[1] > LARGE
    try:
        values, kept = (
            _on_disk(runs, where, masks, shape, store, key) if large else _in_memory(runs, where, masks, shape)
        )
    except _UnusableError as error:
        dead = [look.dead for look in error.looks]
        return Held(None, columns, dead, [look.problem for look in error.looks if look.problem and not look.dead])
    lost = int((~kept).sum())
    one, many = noun_of(runs[0].key)
    note = f"{lost} {many if lost > 1 else one} of {len(kept)} constant or without a number in a run, dropped"
    return Held(values, columns[kept].reset_index(drop=True), [""] * len(runs), [], [note] * bool(lost))


def common_columns(runs: Sequence[Series]) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """The columns that every run has, in the order of the first, and where each run has them."""
    first = runs[0]
    keys = [pd.MultiIndex.from_frame(run.columns[list(run.key)].astype("object")) for run in runs]
    if all(key.equals(keys[0]) for key in keys[1:]):
        return first.columns, [np.arange(len(first.columns))] * len(runs)
    shared = np.logical_and.reduce([keys[0].isin(key) for key in keys])
    return first.columns[shared].reset_index(drop=True), [key.get_indexer(keys[0][shared]) for key in keys]


def trimmed(run: Series, volumes: int) -> Series:
    """The same run without its first samples."""

    def blocks() -> Iterator[np.ndarray]:
        left = volumes
        for block in run.blocks():
            yield block[left:] if left else block
            left = max(0, left - len(block))

    return replace(run, n_samples=run.n_samples - volumes, blocks=blocks) if volumes else run


def noun_of(key: Sequence[str]) -> tuple[str, str]:
    """What the columns of such a key are called, one and many."""
    return next((noun for name, noun in NOUNS.items() if name in key), NOUN)


Sink = Callable[[np.ndarray], object]


def _filling(values: np.ndarray) -> Sink:
    """What puts blocks one below the other into an array."""
    at = 0

    def take(block: np.ndarray) -> None:
        nonlocal at
        values[at : at + len(block)] = block
        at += len(block)

    return take


def _copy(
    runs: Sequence[Series], where: Sequence[np.ndarray], use: Sequence[np.ndarray | None], sink: Sink
) -> list[Look]:
    return [_copy_run(run, at, mask, sink) for run, at, mask in zip(runs, where, use, strict=True)]


def _copy_run(run: Series, where: np.ndarray, use: np.ndarray | None, sink: Sink) -> Look:
    """Hand the columns of a run on, a block at a time, and look at them."""
    n, every = len(where), _is_range(where, len(run.columns))
    first: np.ndarray | None = None
    varies, whole, some = np.zeros(n, bool), np.ones(n, bool), np.zeros(n, bool)
    bad_at = np.full(n, -1)
    row = 0
    for block in run.blocks():
        mine = block if every else block[:, where]
        sink(mine)
        rows = np.arange(row, row + len(mine))
        row += len(mine)
        if use is not None:
            rows, mine = rows[use[rows]], mine[use[rows]]
        if not len(mine):
            continue
        first = mine[0].copy() if first is None else first
        varies |= (mine != first).any(0)
        finite = np.isfinite(mine)
        if finite.all():
            some[:] = True
            continue
        some |= finite.any(0)
        broken = np.flatnonzero(~finite.all(0) & (bad_at < 0))
        bad_at[broken] = rows[np.argmin(finite[:, broken], axis=0)]
        whole &= finite.all(0)
    patchy = np.flatnonzero(some & ~whole)
    problem = ""
    if len(patchy):
        problem = _hole(run, int(where[patchy[0]]), int(bad_at[patchy[0]]), len(patchy))
    return Look(varies, whole, _why_dead(run.name, first, varies, some), problem)


def _hole(run: Series, column: int, sample: int, count: int) -> str:
    one, many = noun_of(run.key)
    named = [run.columns[name].iloc[column] for name in run.key]
    named = [one.item() if isinstance(one, np.generic) else one for one in named]
    place = f"({', '.join(map(str, named))})" if len(named) > 1 else repr(named[0])
    return (
        f"{run.name}: not a finite number in volume {sample + 1}, {one} {place}, and in {count} {many} in all: "
        "write the file again, name a mask without them, or censor the volume"
    )


def _why_dead(name: str, first: np.ndarray | None, varies: np.ndarray, some: np.ndarray) -> str:
    """Why a recording says nothing at all; "" where it says something, or has no column to say it in."""
    if first is None:
        return f"{name} {NO_VOLUME}"
    if not len(varies):
        return ""
    if varies.any():
        # a column of NaN differs from itself, and is another problem
        return "" if some.any() else f"{name} holds not one finite number"
    values = np.unique(first)
    return f"every value of {name} is {values[0]:g}" if len(values) == 1 else f"every column of {name} is constant"


def _unusable(looks: Sequence[Look]) -> bool:
    return any(look.dead or look.problem for look in looks)


def _kept(looks: Sequence[Look]) -> np.ndarray:
    return np.logical_and.reduce([look.varies & look.whole for look in looks])


def _in_memory(
    runs: Sequence[Series], where: Sequence[np.ndarray], use: Sequence[np.ndarray | None], shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The values, and which columns they are of those in common."""
    values = np.empty(shape, np.float32)
    looks = _copy(runs, where, use, _filling(values))
    if _unusable(looks):
        raise _UnusableError(looks)
    kept = _kept(looks)
    return values if kept.all() else values[:, kept], kept


def _on_disk(
    runs: Sequence[Series],
    where: Sequence[np.ndarray],
    use: Sequence[np.ndarray | None],
    shape: tuple[int, int],
    store: Store | None,
    key: Mapping[str, Any],
) -> tuple[np.ndarray, np.ndarray]:
    """The values, memory-mapped, and which columns they are of those in common."""

    def fill(folder: Path) -> None:
        whole = folder / "values.npy"
        with whole.open("wb") as file:
            begin_values(file, shape)
            looks = _copy(runs, where, use, lambda block: file.write(np.ascontiguousarray(block, "<f4").data))
        if _unusable(looks):
            raise _UnusableError(looks)
        kept = _kept(looks)
        np.save(folder / "kept.npy", kept)
        if not kept.all():
            _narrow(whole, kept)

    meta = {"what": "recording", "files": [run.name for run in runs], "shape": list(shape)}
    store = Store() if store is None else store
    try:
        piece = store.compute_folder(key_of(what="recording", made_from=dict(key)), fill, meta=meta)
    except OSError as error:
        raise InputError(
            f"the cache {store.root} cannot be written ({error.strerror or error}): a recording of {shape[0]:,} × "
            f"{shape[1]:,} needs up to {8 * shape[0] * shape[1] / 1e6:,.0f} MB there; free some space, or name another "
            "folder in BRAINALIGN_CACHE"
        ) from error
    return piece.arrays["values"], np.asarray(piece.arrays["kept"])


def _narrow(path: Path, kept: np.ndarray) -> None:
    """Write an array's file again with some of its columns, some rows at a time."""
    values = np.load(path, mmap_mode="r")
    less = path.with_suffix(".less")
    step = max(1, (LARGE >> 3) // (4 * len(kept)))
    with less.open("wb") as file:
        begin_values(file, (len(values), int(kept.sum())))
        for start in range(0, len(values), step):
            file.write(np.ascontiguousarray(values[start : start + step, kept]).data)
    del values
    less.replace(path)


def _is_range(where: np.ndarray, n: int) -> bool:
    return len(where) == n and bool((where == np.arange(n)).all())
