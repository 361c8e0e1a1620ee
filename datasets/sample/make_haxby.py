"""How was `datasets/sample/haxby/` made? One participant of Haxby et al. (2001), laid out as BIDS, byte for byte.

    python datasets/sample/make_haxby.py SOURCE OUTPUT

SOURCE is the folder with `sub-1/`, `derivatives/` and SHA256SUMS; every file named there is checked and copied.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from registry import write_registry

BESIDE = ("README.md",)  # says where the data come from and under which licence; not in SHA256SUMS


def make_haxby(source: Path, output: Path) -> None:
    """Copy the tree at `source` to `output`, which must not exist yet."""
    output.mkdir(parents=True)
    expected = {}
    for line in (source / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, name = line.split(maxsplit=1)
        expected[name.lstrip("*").removeprefix("./")] = digest
    for name in sorted({*expected, *BESIDE}):
        content = (source / name).read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != expected.get(name, found):
            raise SystemExit(f"{source / name} is not the original file: sha256 {found}, expected {expected[name]}")
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_bytes(content)
    write_registry(output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the folder of the originals")
    parser.add_argument("output", type=Path, help="a folder that does not exist yet")
    arguments = parser.parse_args()
    make_haxby(arguments.source, arguments.output)
