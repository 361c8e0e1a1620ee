"""Is this already computed, whole and unharmed? Content-addressed pieces on disk, shared by processes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from brainalign.errors import InputError
from brainalign.pieces import Piece, as_json, check_arrays, described_piece, flush, mark_used, read_piece, seal_piece

log = logging.getLogger(__name__)

PART_OF = "part_of"  # in a piece's meta: the key of what it is a part of, which is not finished yet
ABANDONED_S = 86_400.0  # an unfinished folder untouched for a day, whose lock is free, belongs to a process that died


def default_cache() -> Path:
    """The folder everything computed or fetched is kept in: BRAINALIGN_CACHE, else the user's cache folder.

    Examples
    --------
    >>> default_cache().is_absolute()
    True
    """
    chosen = os.environ.get("BRAINALIGN_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("brainalign", appauthor=False))


def key_of(**parts: Any) -> str:
    """The key of a piece: the sha256 of everything its content depends on.

    Parameters
    ----------
    **parts : JSON types
        Text, finite numbers, truth values, None, and lists, tuples (as lists) and dicts of them. 1 and 1.0 differ. What
        is larger (a file, an array, a table) is named by its hash: `hash_file`, `hash_array`, `hash_frame`.

    Returns
    -------
    str
        64 hex digits; the order of names makes no difference.

    Raises
    ------
    InputError
        A part is of another type, or not finite (NaN is not equal to itself, so it cannot find anything again).

    Examples
    --------
    >>> key_of(model="gpt2", layers=(1, 2)) == key_of(layers=[1, 2], model="gpt2")
    True
    """
    text = json.dumps(_canonical(parts, "key"), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any, place: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{place} is {value}: a key is made of finite numbers; say it in a word or with None")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_canonical(item, f"{place}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        odd = [name for name in value if not isinstance(name, str)]
        if odd:
            raise InputError(f"{place} has the name {odd[0]!r}: names in a key are text")
        return {name: _canonical(item, f"{place}.{name}") for name, item in value.items()}
    raise InputError(
        f"{place} is a {type(value).__name__}: a key is made of text, numbers, lists and dicts; "
        "hash a file, an array or a table first (hash_file, hash_array, hash_frame)"
    )


class Store:
    """Pieces under one folder; any number of processes may use it at once.

    A piece is written in a folder of its own, flushed to disk, and then renamed to where it is looked for: it is there
    whole or not at all, whatever is killed. Its checksums are verified every time it is asked for; a harmed one is
    moved to `harmed/`, a line in the log says so, and it counts as missing.

    Parameters
    ----------
    root : path, optional
        Default: `default_cache()`. Made when something is first put there.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store, key = Store(folder), key_of(model="gpt2", layer=8)
    ...     piece = store.compute(key, lambda: {"states": np.zeros((3, 2))}, meta={"unit": "a.u."})
    ...     store.get(key).arrays["states"].shape, store.get(key).meta
    ((3, 2), {'unit': 'a.u.'})
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root) if root is not None else default_cache()

    def get(self, key: str) -> Piece | None:
        """The piece of this key, its checksums verified; None if there is none."""
        folder = self._place(key)
        state = read_piece(folder) if folder.is_dir() else None
        if isinstance(state, str):
            with self._locked(key, wait=False) as ours:
                return self._look(key) if ours else None  # not ours: another process is mending it
        if state is not None:
            mark_used(state)
        return state

    def has(self, key: str) -> bool:
        """Whether there is a piece of this key, going by its description; this does not count as use."""
        return isinstance(described_piece(self._place(key)), Piece)

    def put(self, key: str, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> Piece:
        """Keep arrays under a key. What is already there, whole, stays: one key means one content.

        Parameters
        ----------
        key : str
            From `key_of`.
        arrays : dict of name → array
            Any type but Python objects; names of letters, digits and ``_ . -``.
        meta : dict
            JSON types.

        Raises
        ------
        InputError
            A name that is no plain file name, an array of objects, meta that is not JSON, or a folder not writable.
        """
        check_arrays(arrays)
        known = as_json(meta)
        with self._locked(key):
            return self._look(key) or self._write(key, lambda folder: self._save(arrays, folder), known)

    def compute(
        self, key: str, function: Callable[[], Mapping[str, np.ndarray]], *, meta: Mapping[str, Any] | None = None
    ) -> Piece:
        """The piece of this key; `function` makes its arrays if it is missing.

        Processes that ask for the same key at the same time compute it once: the others wait, and take over if the
        one that computes dies.
        """
        return self.compute_folder(key, lambda folder: self._save(function(), folder), meta=meta)

    def compute_folder(
        self, key: str, function: Callable[[Path], object], *, meta: Mapping[str, Any] | None = None
    ) -> Piece:
        """The piece of this key; `function(folder)` writes its files into an empty folder if it is missing.

        For what is a folder of files already, such as a converted model: hand on `Piece.folder`.
        """
        found = self.get(key)
        if found is not None:
            return found
        known = as_json(meta or {})
        with self._locked(key):
            return self._look(key) or self._write(key, function, known)

    def pieces(self) -> list[Piece]:
        """Every piece, without verifying the checksums; those whose description cannot be read are left out."""
        folders = sorted((self.root / "pieces").glob("*/*"))
        return [piece for piece in map(described_piece, folders) if isinstance(piece, Piece)]

    def size(self) -> int:
        """Bytes on disk of everything here, harmed and unfinished things included."""
        return sum(_folder_bytes(self.root / part) for part in ("pieces", "harmed", "unfinished"))

    def remove(self, key: str) -> bool:
        """Delete a piece; whether there was one."""
        place, gone = self._place(key), self._unfinished(key)
        if not place.is_dir():
            return False
        with self._writing():
            gone.parent.mkdir(exist_ok=True)
            try:
                place.rename(gone)  # vanishes at once: deleted file by file it would look harmed to others
            except FileNotFoundError:
                return False  # another process was quicker
        shutil.rmtree(gone, ignore_errors=True)
        return True

    def prune(self, pieces: Iterable[Piece] = ()) -> int:
        """Delete what is of no more use, and these pieces; the bytes freed.

        Of no more use are harmed pieces (also those whose description cannot be read and that nobody asked for since),
        what dead processes left half written, and parts of a whole that is there. Those of a whole that is not there
        yet stay: work that is taken up again goes on from them.
        """
        before = self.size()
        parts = [piece for piece in self.pieces() if PART_OF in piece.meta and self.has(piece.meta[PART_OF])]
        for piece in (*pieces, *parts):
            self.remove(piece.key)
        for folder in (self.root / "pieces").glob("*/*"):
            if isinstance(described_piece(folder), str) and re.fullmatch(r"[0-9a-f]{64}", folder.name):
                self.get(folder.name)  # sets it aside
        shutil.rmtree(self.root / "harmed", ignore_errors=True)
        self._sweep(older_than_s=0.0)
        return before - self.size()

    def _place(self, key: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{64}", key):
            raise InputError(f"{key!r} is no key: a key is the 64 hex digits that key_of(...) gives")
        return self.root / "pieces" / key[:2] / key

    def _unfinished(self, key: str) -> Path:
        return self.root / "unfinished" / f"{key}-{uuid.uuid4().hex}"

    @contextmanager
    def _locked(self, key: str, wait: bool = True) -> Iterator[bool]:
        """Hold the lock of a key; yields False if it is held elsewhere and `wait` is False."""
        import filelock

        name = f"{self._place(key).name}.lock"
        with self._writing():
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.root / "locks" / name)
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                if wait:
                    log.info("waiting for another process that computes %s", key[:12])
                    lock.acquire()
        try:
            yield lock.is_locked
        finally:
            lock.release()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"the cache {self.root} cannot be written ({error.strerror or error}): "
                "free some space there, or name another folder in BRAINALIGN_CACHE"
            ) from error

    def _look(self, key: str) -> Piece | None:
        """With the key's lock held: the piece if it is whole; a harmed one is set aside."""
        folder = self._place(key)
        state = read_piece(folder) if folder.is_dir() else None
        if not isinstance(state, str):
            return state
        aside = self.root / "harmed" / f"{key}-{uuid.uuid4().hex[:8]}"
        with self._writing():
            aside.parent.mkdir(exist_ok=True)
            folder.rename(aside)
        log.warning("a cached piece is harmed (%s): set aside as %s, it will be computed again", state, aside)
        return None

    def _save(self, arrays: Mapping[str, np.ndarray], folder: Path) -> None:
        check_arrays(arrays)
        with self._writing():
            for name, array in arrays.items():
                np.save(folder / f"{name}.npy", array, allow_pickle=False)

    def _write(self, key: str, fill: Callable[[Path], object], meta: dict[str, Any]) -> Piece:
        """With the key's lock held: fill a folder, flush it to disk, and rename it into place."""
        self._sweep(older_than_s=ABANDONED_S, ours=key)
        place, unfinished = self._place(key), self._unfinished(key)
        with self._writing():
            unfinished.mkdir(parents=True)
        try:
            fill(unfinished)
            with self._writing():
                seal_piece(unfinished, key, meta)
                place.parent.mkdir(parents=True, exist_ok=True)
                unfinished.rename(place)
                flush(place.parent)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        piece = described_piece(place)
        if isinstance(piece, str):
            raise InputError(f"the cache {self.root} does not keep what is written to it: {piece}")
        _ = piece.arrays
        return piece

    def _sweep(self, older_than_s: float, ours: str = "") -> None:
        """Delete unfinished folders whose process is dead: nobody holds the lock of their key (`ours`: we hold it)."""
        folder = self.root / "unfinished"
        for left in sorted(folder.iterdir()) if folder.is_dir() else []:
            key = left.name.partition("-")[0]
            if key == ours:
                shutil.rmtree(left, ignore_errors=True)
            elif re.fullmatch(r"[0-9a-f]{64}", key) and time.time() - _last_touched(left) >= older_than_s:
                with self._locked(key, wait=False) as dead:
                    if dead:
                        shutil.rmtree(left, ignore_errors=True)


def _last_touched(folder: Path) -> float:
    return max([0.0, *(status.st_mtime for status in _below(folder))])


def _folder_bytes(folder: Path) -> int:
    return sum(status.st_size for status in _below(folder) if stat.S_ISREG(status.st_mode))


def _below(folder: Path) -> list[os.stat_result]:
    """A folder and all in it; what another process or thread finishes or deletes meanwhile is left out."""
    found = []
    for place, _, files in os.walk(folder):  # passes over what has vanished
        for path in (Path(place), *(Path(place, name) for name in files)):
            with contextlib.suppress(FileNotFoundError):
                found.append(path.stat())
    return found
