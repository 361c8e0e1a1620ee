"""What does a kept piece look like on disk, and is it unharmed?"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from brainalign.errors import InputError
from brainalign.provenance import hash_file

FORMAT = 1  # of meta.json


@dataclass(frozen=True)
class Piece:
    """Something computed once and kept: a folder that is never changed afterwards.

    Parameters
    ----------
    key : str
        What it was computed from, as `store.key_of` says it.
    folder : Path
        Where it lies.
    meta : dict
        What was said about it when it was put; JSON types.
    files : dict
        name → {"bytes", "sha256"} of every file in it.
    made, used : float
        When it was put there, and when it was last asked for before this was read, in seconds since 1970.
    """

    key: str
    folder: Path
    meta: dict[str, Any]
    files: dict[str, dict[str, Any]]
    made: float = field(compare=False)
    used: float = field(compare=False)

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """Every array by its name, memory-mapped and read-only."""
        names = [name for name in self.files if name.endswith(".npy") and "/" not in name]
        return {n.removesuffix(".npy"): np.load(self.folder / n, mmap_mode="r", allow_pickle=False) for n in names}

    @property
    def bytes(self) -> int:
        """How much disk its files take."""
        return sum(file["bytes"] for file in self.files.values())


def read_piece(folder: Path) -> Piece | str:
    """The piece in a folder, every checksum verified and its arrays open; else what is wrong with it."""
    piece = described_piece(folder)
    if isinstance(piece, str):
        return piece
    for name, file in piece.files.items():
        path = folder / name
        try:
            same = path.stat().st_size == file["bytes"] and hash_file(path) == file["sha256"]
        except (OSError, InputError):
            return f"{name} is missing or cannot be read"
        if not same:
            return f"{name} is not what was written"
    _ = piece.arrays  # opened now: they stay readable when another process removes the piece
    return piece


def described_piece(folder: Path) -> Piece | str:
    """As `read_piece`, going by the description alone."""
    try:
        body = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        whole = body.pop("sha256") == _seal(body) and body["key"] == folder.name and body["format"] == FORMAT
        made, used = folder.stat().st_mtime, (folder / "meta.json").stat().st_mtime
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"meta.json cannot be read ({type(error).__name__})"
    if not whole:
        return "meta.json is not what was written"
    return Piece(body["key"], folder, body["meta"], body["files"], made, used)


def mark_used(piece: Piece) -> None:
    """Note that a piece was asked for: the time of its description says when; a disk that is read only is left alone.

    The system's own times of access will not do: most systems do not keep them, and backups change them.
    """
    with contextlib.suppress(OSError):
        os.utime(piece.folder / "meta.json")


def seal_piece(folder: Path, key: str, meta: dict[str, Any]) -> None:
    """Write the description of a filled folder and flush everything in it to disk."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise InputError(f"{name} is a link: a piece keeps its own files, so copy what it points to")
        if name == "meta.json":
            raise InputError("a piece cannot keep a meta.json of its own: the store's description has that name")
        if path.is_file():
            files[name] = {"bytes": path.stat().st_size, "sha256": hash_file(path)}
    body = {"format": FORMAT, "key": key, "meta": meta, "files": files}
    text = json.dumps({**body, "sha256": _seal(body)}, indent=1, sort_keys=True)
    (folder / "meta.json").write_text(text, encoding="utf-8")
    for path in (*folder.rglob("*"), folder):
        flush(path)


def flush(path: Path) -> None:
    """Make sure a file or folder survives a power cut."""
    if path.is_dir() and os.name != "posix":
        return  # a folder cannot be opened there
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_arrays(arrays: Mapping[str, Any]) -> None:
    """Refuse what cannot be kept as plain .npy files; `InputError` says which array and why."""
    for name, array in arrays.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*", name):
            raise InputError(f"{name!r} cannot name an array: use letters, digits, '_', '.' and '-'")
        if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
            raise InputError(f"array {name!r} is a {type(array).__name__}: a store keeps plain numpy arrays")
        if array.dtype.hasobject:
            raise InputError(f"array {name!r} holds Python objects, which a store never keeps: make it numbers or text")
    if len({name.lower() for name in arrays}) < len(arrays):
        raise InputError(f"two of {sorted(arrays)} differ only in capitals: some disks cannot keep them apart")


def as_json(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What `meta` will be when it is read again (tuples are lists then); `InputError` if it is not JSON."""
    try:
        return json.loads(json.dumps(dict(meta), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"meta is not JSON ({error}): use text, finite numbers, lists and dicts") from error


def _seal(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
