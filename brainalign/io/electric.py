"""Which recordings of electrodes or sensors does a BIDS tree hold?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from brainalign.errors import InputError, SettingsError
from brainalign.io.bids import BidsFile, BidsTree, index_bids, natural
from brainalign.io.channels import BRAIN, Datatype
from brainalign.io.people import list_names
from brainalign.io.raw import FORMATS
from brainalign.io.recordings import Recording, find_recordings, narrow, recording_kind
from brainalign.io.versions import SAME_RECORDING

SPLIT = "split"  # entity of the parts of one recording; the first leads to the others


def find_electric(
    root: str | Path,
    subject: str | Sequence[str] = "all",
    task: str | None = None,
    session: str | None = None,
    run: str | None = None,
    datatype: Datatype = "ieeg",
) -> tuple[BidsTree, list[Recording], list[str]]:
    """Every recording of one task and kind, in one format each, and what else there was.

    The tree's own recordings are meant; those of a derivative where it is the root.

    Parameters
    ----------
    root, subject, task, session, run
        As in `find_recordings`.
    datatype : "ieeg", "eeg" or "meg"

    Raises
    ------
    InputError
        There is no tree, or no recording in it.
    SettingsError
        The task is not named and there are several; a task, subject, session or run that does not exist; recordings
        that differ in another entity.
    """
    tree = index_bids(root)
    every = [file for file in tree.files if file.suffix == datatype and file.extension in FORMATS]
    files = [f for f in every if not f.dataset and "sub" in f.entities and _is_first(f, every)]
    if not files:
        raise InputError(_none_here(tree, every, datatype))
    files, labels = narrow(files, tree.root, subject, task, session, run)
    order = list(FORMATS)
    files = sorted(
        files, key=lambda f: (natural(f.entities["sub"]), natural(labels[f.where]), order.index(f.extension))
    )
    kept: dict[tuple[str, str], BidsFile] = {}
    notes = []
    for file in files:
        place = (file.entities["sub"], labels[file.where])
        first = kept.setdefault(place, file)
        if first is file:
            continue
        if first.entities != file.entities:
            odd = [key for key in {**first.entities, **file.entities} if key not in SAME_RECORDING]
            odd = odd or [k for k in SAME_RECORDING if first.entities.get(k) != file.entities.get(k)]
            raise SettingsError(
                f"sub-{place[0]} run {place[1]} was recorded twice, {first.path.name} and {file.path.name} "
                f"({', '.join(odd)}): keep one of them in the tree, or name a session or a run"
            )
        notes.append(f"{first.path.name} is read; also there: {file.extension}")
    found = [Recording(file, *place, "electric") for place, file in kept.items()]
    return tree, found, notes


def find_any(
    root: str | Path,
    subject: str | Sequence[str] = "all",
    task: str | None = None,
    session: str | None = None,
    run: str | None = None,
) -> tuple[BidsTree, list[Recording]]:
    """The fMRI recordings of a task; in a tree that has none, those of electrodes or sensors.

    Raises
    ------
    InputError, SettingsError
        As `find_recordings` and `find_electric`.
    """
    tree = index_bids(root)
    there = {f.suffix for f in tree.files if f.suffix in BRAIN and f.extension in FORMATS and not f.dataset}
    if not there or any(recording_kind(file) for file in tree.files):
        return find_recordings(root, subject, task, session, run)
    datatype: Datatype = "ieeg" if "ieeg" in there else "eeg" if "eeg" in there else "meg"
    return find_electric(root, subject, task, session, run, datatype)[:2]


def _is_first(file: BidsFile, every: Sequence[BidsFile]) -> bool:
    """Whether a file is whole, or the first part of a recording that is split."""
    if SPLIT not in file.entities:
        return True
    same = [f for f in every if (f.folder, f.dataset) == (file.folder, file.dataset) and SPLIT in f.entities]
    rest = lambda f: {key: label for key, label in f.entities.items() if key != SPLIT}  # noqa: E731
    parts = [f.entities[SPLIT] for f in same if rest(f) == rest(file)]
    return file.entities[SPLIT] == min(parts, key=natural)


def _none_here(tree: BidsTree, every: Sequence[BidsFile], datatype: Datatype) -> str:
    if every:
        where = list_names(sorted({f"derivatives/{file.dataset}" for file in every}))
        return f"{tree.root} holds recordings ({datatype}) in {where} alone: give that folder as the tree"
    others = [kind for kind in BRAIN if any(f.suffix == kind and f.extension in FORMATS for f in tree.files)]
    there = f"; it holds {' and '.join(others)}: name that as datatype" if others else ""
    suffixes = sorted({f"_{file.suffix}{file.extension}" for file in tree.files})
    return (
        f"{tree.root} holds no {datatype} recording: looked for sub-*_{datatype} with {', '.join(FORMATS)}, found "
        f"{', '.join(suffixes[:8])}{there}"
    )
