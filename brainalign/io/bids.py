"""Where are the files of a BIDS tree, and which sidecars speak of them?"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from brainalign.errors import InputError

# A walk of our own, forty lines, because what exists leaves out what is needed here (bids2table 2.3, ancpbids 0.4 and
# mne-bids 0.20 were tried). bids2table sees only the subject folders of a raw tree: no tree of derivatives alone (as
# the alice sample), no file at the root and so no inheritance; it needs pyarrow. ancpbids and bids2table turn run
# labels into numbers, so that a run cannot be named as its files name it. mne-bids looks for electrophysiology.


DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class BidsFile:
    """One file whose name follows BIDS.

    Parameters
    ----------
    where : str
        Its absolute path; `path` is the same as a Path, made for the few files of a tree that are looked at.
    dataset : str
        "" for the tree itself, else the name of the folder in `derivatives/`.
    folder : tuple of str
        The folders between the dataset's root and the file: ("sub-01", "func").
    entities : mapping
        {"sub": "01", "task": "story", …}, labels as written.
    suffix, extension : str
        "bold", ".nii.gz".
    """

    where: str
    dataset: str
    folder: tuple[str, ...]
    entities: Mapping[str, str]
    suffix: str
    extension: str

    @cached_property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.where)


@dataclass(frozen=True)
class BidsTree:
    """Every BIDS file below a root, its derivatives included, and what each inherits.

    Examples
    --------
    >>> from brainalign.io.fetch import sample_path
    >>> tree = index_bids(sample_path("haxby"))
    >>> len(tree.find(suffix="bold", extension=".nii.gz", dataset=""))
    12
    """

    root: Path
    files: tuple[BidsFile, ...]
    _places: dict[tuple[str, tuple[str, ...], str, str], list[BidsFile]] = field(repr=False, compare=False)

    def find(self, suffix: str, extension: str, dataset: str | None = None, **entities: str) -> list[BidsFile]:
        """Files of a suffix and extension, in one dataset or (None) in all, that carry the given entities."""
        return [
            file
            for file in self.files
            if file.suffix == suffix
            and file.extension == extension
            and dataset in (None, file.dataset)
            and entities.items() <= file.entities.items()
        ]

    def in_folder(self, folder: tuple[str, ...], suffix: str, extension: str) -> list[BidsFile]:
        """Files at one place, such as ("sub-01", "func"), in the tree itself and in each of its derivatives."""
        datasets = dict.fromkeys(dataset for dataset, *_ in self._places)
        return [f for dataset in datasets for f in self._places.get((dataset, folder, suffix, extension), [])]

    def inherited(self, file: BidsFile, suffix: str, extension: str) -> list[BidsFile]:
        """What applies to `file` by the inheritance principle, the most general first.

        A file applies when it lies in the same folder or further up and names no entity that `file` does not share. A
        derivative inherits from its own dataset and, before that, from the raw tree at the same place.
        """
        found = []
        for dataset in dict.fromkeys(("", file.dataset)):
            for depth in range(len(file.folder) + 1):
                here = self._places.get((dataset, file.folder[:depth], suffix, extension), [])
                fits = [other for other in here if other.entities.items() <= file.entities.items()]
                found += sorted(fits, key=lambda other: len(other.entities))
        return found

    def sidecar(self, file: BidsFile, suffix: str | None = None) -> tuple[dict[str, Any], list[BidsFile]]:
        """The merged JSON that applies to `file` (or would, were its suffix `suffix`), and the files it came from.

        That of ``_bold.dtseries.nii`` is ``_bold.json``; older fMRIPrep called it ``_bold.dtseries.json``.

        Raises
        ------
        InputError
            A sidecar that is not a JSON object.
        """
        merged: dict[str, Any] = {}
        forms = dict.fromkeys([".json", file.extension.rpartition(".")[0] + ".json"])
        sources = [source for form in forms for source in self.inherited(file, suffix or file.suffix, form)]
        for source in sources:
            merged |= read_json(source.path)
        return merged, sources


def index_bids(root: str | Path) -> BidsTree:
    """List the BIDS files of a tree: at its root, in `sub-*`, and the same in every folder of `derivatives/`.

    Parameters
    ----------
    root : path
        The folder with `dataset_description.json`; a derivative folder may be a root too.

    Raises
    ------
    InputError
        No such folder, or no BIDS file in it.
    """
    root = Path(root)
    if not root.is_dir():
        found = "it is a file" if root.exists() else f"{root.parent} " + _listing(root.parent)
        raise InputError(f"there is no folder {root}: {found}; give the folder that holds dataset_description.json")
    root = root.absolute()
    files = list(_files_of(root, ""))
    derivatives = root / "derivatives"
    if derivatives.is_dir():
        for folder in sorted(derivatives.iterdir()):
            if folder.is_dir() and not folder.name.startswith("."):
                files += _files_of(folder, folder.name)
    if not files:
        raise InputError(
            f"{root} holds no BIDS file, neither at its root nor in sub-*/ nor in derivatives/: it {_listing(root)}; "
            "give the folder that holds dataset_description.json and sub-01/ …"
        )
    places: dict[tuple[str, tuple[str, ...], str, str], list[BidsFile]] = {}
    for file in files:
        places.setdefault((file.dataset, file.folder, file.suffix, file.extension), []).append(file)
    return BidsTree(root, tuple(files), places)


def parse_name(name: str) -> tuple[dict[str, str], str, str] | None:
    """Take a BIDS file name apart into entities, suffix and extension; None for any other name.

    Examples
    --------
    >>> parse_name("sub-01_task-story_run-02_bold.nii.gz")
    ({'sub': '01', 'task': 'story', 'run': '02'}, 'bold', '.nii.gz')
    >>> parse_name("README.md") is None
    True
    """
    stem, dot, extension = name.partition(".")
    *parts, suffix = stem.split("_")
    pairs = [part.partition("-") for part in parts]
    if not dot or not suffix.isalnum() or not all(key and label for key, _, label in pairs):
        return None
    if not pairs and extension not in ("json", "tsv"):  # bold.json speaks of every recording, README.md of none
        return None
    return {key: label for key, _, label in pairs}, suffix, "." + extension


def natural(text: str) -> tuple[list[str | int], str]:
    """A sorting key under which run-2 comes before run-10.

    Examples
    --------
    >>> sorted(["run-10", "run-2"], key=natural)
    ['run-2', 'run-10']
    """
    pieces: list[str | int] = [*DIGITS.split(text)]  # text, digits, text, …: like is compared with like
    pieces[1::2] = map(int, pieces[1::2])
    return pieces, text


def read_json(path: Path) -> dict[str, Any]:
    """Read a sidecar.

    Raises
    ------
    InputError
        The file is empty, is not JSON, or holds no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        what = "is empty" if path.is_file() and not path.stat().st_size else f"cannot be read as JSON ({error})"
        raise InputError(f"{path} {what}: write it again, or take it out of the tree") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds {type(content).__name__}, a sidecar holds an object {{…}}: write it again")
    return content


def _files_of(folder: Path, dataset: str) -> Iterator[BidsFile]:
    """The BIDS files of one dataset. Only `sub-*` is entered: `sourcedata`, `code` and `stimuli` hold other things."""
    entries = _entries(folder)
    yield from _named(entries, dataset, ())
    seen: set[Path] = set()
    for entry in entries:
        if entry.name.startswith("sub-") and entry.is_dir():
            yield from _below(entry, dataset, (entry.name,), seen)


def _below(folder: os.DirEntry[str], dataset: str, place: tuple[str, ...], seen: set[Path]) -> Iterator[BidsFile]:
    if folder.is_symlink():
        real = Path(folder.path).resolve()
        if real in seen:  # links are the tree's owner's choice, but a ring of them would be walked for ever
            return
        seen.add(real)
    entries = _entries(folder)
    yield from _named(entries, dataset, place)
    for entry in entries:
        if entry.is_dir() and not entry.name.startswith("."):
            yield from _below(entry, dataset, (*place, entry.name), seen)


def _named(entries: Iterable[os.DirEntry[str]], dataset: str, place: tuple[str, ...]) -> Iterator[BidsFile]:
    for entry in entries:
        parsed = None if entry.name.startswith(".") else parse_name(entry.name)
        if parsed and not entry.is_dir():
            yield BidsFile(entry.path, dataset, place, *parsed)


def _entries(folder: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    return sorted(os.scandir(folder), key=lambda entry: natural(entry.name))


def _listing(folder: Path, most: int = 8) -> str:
    """What a folder holds, for an error message."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not names:
        return "is empty" if folder.is_dir() else "does not exist either"
    return "holds " + ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
