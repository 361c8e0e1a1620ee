"""Whose matrices are in a folder, and what is in one of them before its numbers are read?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.io.people import labels_of, list_names
from brainalign.io.series import Series

SUFFIXES = (".hf5", ".h5", ".hdf5", ".npy")
PLACES = ("derivative/preprocessed_data", "derivatives/preprocessed_data", "preprocessed_data", ".")
NUMBERS_PER_BLOCK = 4 << 20


@dataclass(frozen=True)
class Matrix:
    """One run: what is in a file, or one of the repeats in it (counted from 1; 0: there is but one)."""

    story: str
    repeat: int
    series: Series

    @property
    def run(self) -> str:
        """What the run is called."""
        return f"{self.story}-{self.repeat}" if self.repeat else self.story


def find_matrices(
    root: str | Path, subject: str | Sequence[str], run: str | Sequence[str] | None
) -> tuple[dict[str, list[Path]], list[dict[str, str]]]:
    """The files of every person that is asked for, sorted by name, and who is left out.

    Raises
    ------
    InputError
        There are no matrices there, or it is not clear whose they are.
    SettingsError
        A person or a run that is not there.
    """
    everybody = _people_in(Path(root))
    everyone = labels_of(subject) == ["all"]
    wanted = list(everybody) if everyone else [label.removeprefix("sub-") for label in labels_of(subject)]
    for who in wanted:
        if who not in everybody:
            raise SettingsError(f"there is no person {who!r} in {root}; " + did_you_mean(who, everybody))
    runs = None if run is None else labels_of(run)
    chosen, left_out = {}, []
    known = dict.fromkeys(path.stem for who in wanted for path in everybody[who])
    for one in runs or []:
        if one not in known:
            raise SettingsError(f"there is no run {one!r} in {root}; " + did_you_mean(one, known))
    for who in wanted:
        files = [path for path in everybody[who] if runs is None or path.stem in runs]
        missing = [one for one in runs or [] if one not in {path.stem for path in files}]
        if missing and not everyone:
            raise SettingsError(f"sub-{who} has no run {missing[0]!r}; leave it or this person out")
        if missing and not files:
            left_out.append({"subject": who, "why": f"has no run {list_names(missing)}"})
            continue
        chosen[who] = files
    return chosen, left_out


def _people_in(root: Path) -> dict[str, list[Path]]:
    if not root.is_dir():
        raise InputError(f"{root} is not a folder: name the one the matrices are in")
    for folder in (root / place for place in PLACES):
        if not folder.is_dir():
            continue
        own = _matrices_in(folder)
        people = {one.name.removeprefix("sub-"): _matrices_in(one) for one in sorted(folder.iterdir()) if one.is_dir()}
        people = {who: files for who, files in people.items() if files}
        if own and people:
            raise InputError(
                f"{folder} holds matrices ({own[0].name}) and folders of matrices ({next(iter(people))}): name the "
                "folder of one person, or one with a folder per person"
            )
        if own or people:
            return people or {folder.resolve().name.removeprefix("sub-"): own}
    raise InputError(
        f"there are no matrices ({', '.join(SUFFIXES)}) in {root}: looked for a folder per person in "
        f"{', '.join(PLACES[:-1])} and in the folder itself"
    )


def _matrices_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and not path.name.startswith("."))


def open_matrix(path: Path, name: str, key: str = "data") -> list[Matrix]:
    """Open a file without reading its numbers: one run, or one per repeat.

    Parameters
    ----------
    path : Path
    name : str
        What to call it in errors.
    key : str
        The HDF5 dataset; an `.npy` file has but one.

    Raises
    ------
    InputError
        No such file or dataset, cut short, no numbers, or neither two- nor three-dimensional.
    """
    with _opened(path, name, key) as data:
        shape, kind = tuple(map(int, data.shape)), np.dtype(data.dtype)
    if kind.kind not in "iuf":
        raise InputError(f"{name} holds values of type {kind}: a recording holds one real number per column")
    if len(shape) not in (2, 3):
        raise InputError(
            f"{name} has the shape {shape}: needed are volumes × columns, or repeats × volumes × columns; "
            "name another of its datasets with key="
        )
    if not all(shape):
        raise InputError(f"{name} has the shape {shape}: it holds nothing; take it out")
    repeats = range(1, shape[0] + 1) if len(shape) == 3 else (0,)
    columns = pd.DataFrame({"column": range(shape[-1])})

    def series(repeat: int) -> Series:
        def blocks() -> Iterator[np.ndarray]:
            step = max(1, NUMBERS_PER_BLOCK // shape[-1])
            with _opened(path, name, key) as data:
                for start in range(0, shape[-2], step):
                    rows = slice(start, start + step)
                    yield np.asarray(data[(repeat - 1, rows) if repeat else rows], np.float32)

        label = f"{name}, repeat {repeat}" if repeat else name
        return Series(label, columns, ("column",), shape[-2], blocks, grid=(shape[-1],))

    return [Matrix(path.stem, repeat, series(repeat)) for repeat in repeats]


@contextmanager
def _opened(path: Path, name: str, key: str) -> Iterator[Any]:
    """The array in a file, on disk; what goes wrong with the file while it is open, in words."""
    if not path.is_file():
        away = "its content was not fetched (a link that leads nowhere): `datalad get` it" if path.is_symlink() else ""
        raise InputError(f"there is no file {name}: " + (away or "check the path, or fetch it"))
    try:
        if path.suffix == ".npy":
            yield np.load(path, mmap_mode="r", allow_pickle=False)
            return
        import h5py

        with h5py.File(path, "r") as file:
            found = file.get(key)
            if not isinstance(found, h5py.Dataset):
                there = [other for other, one in file.items() if isinstance(one, h5py.Dataset)]
                raise InputError(
                    f"{name} has no dataset {key!r} (found: {', '.join(map(repr, there)) or 'none'}): name it with "
                    "key=, or name the runs that have it with run="
                )
            yield found
    except InputError:
        raise
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{name} cannot be read ({error}): it is cut short or harmed; fetch it again") from error
