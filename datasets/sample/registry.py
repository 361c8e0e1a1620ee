"""Which files belong to a sample, and what is the sha256 of each? Written in pooch's registry format."""

from __future__ import annotations

import hashlib
from pathlib import Path


def write_registry(folder: Path) -> Path:
    """List every file of `folder` with its sha256 in `<folder>-registry.txt`, which lies beside it.

    `pooch.Pooch.load_registry` reads the file, and so does anyone with eyes.
    """
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    lines = [f"{name} sha256:{hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n" for name in files]
    registry = folder.with_name(folder.name + "-registry.txt")
    registry.write_text("".join(lines), encoding="utf-8", newline="\n")
    return registry
