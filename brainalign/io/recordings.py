"""Which recordings of a BIDS tree are meant, when there may be several tasks, atlases, spaces and pipelines?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.io.bids import BidsFile, BidsTree, index_bids, natural
from brainalign.io.people import labels_of, list_names
from brainalign.io.versions import (
    CALLED,
    RAW,
    SAME_RECORDING,
    SIDE,
    Kind,
    Version,
    ambiguous,
    describe,
    meant,
    version_of,
)

WAYS = ("acq", "ce", "rec", "dir")  # entities that say how a run was scanned
HALF = ("phase", "real", "imag")  # parts of a complex image that say little alone; `part-mag` is the recording
KINDS: Mapping[tuple[str, str], Kind] = {
    ("timeseries", ".tsv"): "table",
    ("bold", ".nii.gz"): "nifti",
    ("bold", ".nii"): "nifti",
    ("bold", ".func.gii"): "gifti",  # as fMRIPrep calls them
    ("bold", ".time.gii"): "gifti",  # as the GIFTI standard would
    ("bold", ".dtseries.nii"): "cifti",
    ("bold", ".ptseries.nii"): "cifti",
    ("timeseries", ".ptseries.nii"): "cifti",
}


@dataclass(frozen=True)
class Recording:
    """One run of one person, in one file or (a surface) in one for each hemisphere.

    Parameters
    ----------
    file : BidsFile
        The left hemisphere's, where there are two.
    subject, run : str
        `run` as `run_labels` calls it.
    kind : "table", "nifti", "gifti" or "cifti"
    others : tuple of BidsFile
        The right hemisphere's.
    """

    file: BidsFile
    subject: str
    run: str
    kind: Kind
    others: tuple[BidsFile, ...] = field(default=())

    @cached_property
    def version(self) -> Version:
        """The version it is of."""
        return version_of(self.file, self.kind)


@dataclass(frozen=True)
class Chosen:
    """What was chosen, of which tree, and what else there would have been."""

    tree: BidsTree
    recordings: list[Recording]
    notes: list[str]

    @property
    def subjects(self) -> list[str]:
        """The people, in order."""
        return list(dict.fromkeys(recording.subject for recording in self.recordings))


def find_recordings(
    root: str | Path,
    subject: str | Sequence[str] = "all",
    task: str | None = None,
    session: str | None = None,
    run: str | None = None,
) -> tuple[BidsTree, list[Recording]]:
    """Every fMRI recording of one task, in whatever form and from whatever pipeline.

    Raises
    ------
    InputError
        There is no tree, or no recording in it.
    SettingsError
        The task is not named and there are several, or a task, subject, session or run does not exist.
    """
    tree = index_bids(root)
    files = [file for file in tree.files if recording_kind(file) and "sub" in file.entities]
    if not files:
        suffixes = sorted({f"_{file.suffix}{file.extension}" for file in tree.files})
        raise InputError(
            f"{tree.root} holds no fMRI recording: looked for sub-*_timeseries.tsv (regions) and for sub-*_bold with "
            f".nii.gz (images), .func.gii (surfaces) or .dtseries.nii (CIFTI), derivatives/ included, found "
            f"{', '.join(suffixes[:8])}; give the folder that holds sub-01/ …"
        )
    files, labels = narrow(files, tree.root, subject, task, session, run)
    recordings = [
        Recording(file, file.entities["sub"], labels[file.where], recording_kind(file) or "table", tuple(others))
        for file, *others in _with_hemispheres(files)
    ]
    return tree, sorted(recordings, key=lambda r: (natural(r.subject), natural(r.run)))


def narrow(
    files: Sequence[BidsFile],
    root: Path,
    subject: str | Sequence[str],
    task: str | None,
    session: str | None,
    run: str | None,
) -> tuple[list[BidsFile], dict[str, str]]:
    """The files that are asked for, and what the run of each is called.

    Raises
    ------
    SettingsError
        The task is not named and there are several, or a task, subject, session or run does not exist.
    """
    files = _with_label(files, "task", _the_task(files, task), root)
    labels = run_labels(files, several=session is None)
    if labels_of(subject) != ["all"]:
        wanted = dict.fromkeys(labels_of(subject))
        files = [file for one in wanted for file in _with_label(files, "sub", one, root)]
    files = _with_label(files, "ses", session, root)
    whole = [file for file in files if labels[file.where] == run]  # "AP-1"
    return whole or _with_label(files, "run", run, root), labels


def choose_recordings(
    root: str | Path,
    subject: str | Sequence[str] = "all",
    task: str | None = None,
    session: str | None = None,
    run: str | None = None,
    space: str | None = None,
    derivatives: str | None = None,
    atlas: str | None = None,
    nifti: bool = False,
) -> Chosen:
    """The recordings to be read: one form, one pipeline, one atlas or space.

    Tables of regions come before images and surfaces, the tree's own images before those of its derivatives, echoes
    combined before echoes apart; what else there is becomes a note. Versions that would do equally well are an error
    that says how to choose.

    Parameters
    ----------
    space, atlas : str, optional
        A label, with further entities in fMRIPrep's spelling: ``"MNI152NLin2009cAsym:res-2"``, ``"fsLR:den-91k"``;
        ``"none"`` where the file names have none. A name that says all that tells a version apart means that version:
        ``"MNI:desc-preproc"`` is not ``space-MNI_res-2_desc-preproc``, if both are there. Where only the form differs:
        ``"fsLR:cifti"``, ``"fsLR:gifti"``.
    nifti : bool
        Images are wanted whatever else is named (a mask was given, say).

    Raises
    ------
    InputError, SettingsError
        As `find_recordings`; SettingsError too for a pipeline, space or atlas that does not exist, or several;
        InputError for a hemisphere that is missing somewhere.
    """
    tree, everything = find_recordings(root, subject, task, session, run)
    left = everything
    if derivatives is not None:
        name = "" if derivatives == RAW else derivatives.removeprefix("derivatives/").rstrip("/")
        left = [r for r in left if r.file.dataset == name]
        if not left:
            known = {r.file.dataset or RAW for r in everything}
            raise SettingsError(
                f"no recording of this task in derivatives {derivatives!r} of {tree.root}; "
                + did_you_mean(derivatives, sorted(known))
            )
    if nifti:
        left = _images(left, tree.root, space)
    if space is not None and atlas is None:
        left = [r for r in left if not r.version.regions] or left
    for argument, wanted in (("atlas", atlas), ("space", space)):
        if wanted is not None:
            hit = meant([(r.file, r.version) for r in left], argument, wanted)
            left = [r for r, yes in zip(left, hit, strict=True) if yes]
    if space is not None and atlas is None and left[0].version.regions:
        raise SettingsError(f"only regions are in the space {space!r}: name their atlas, {describe(left[0].version)}")
    for better in (
        lambda r: r.kind == "table",
        lambda r: r.version.regions,
        lambda r: not r.file.dataset,
        lambda r: "echo" not in r.file.entities,
    ):
        left = [r for r in left if better(r)] or left
    versions = list(dict.fromkeys(r.version for r in left))
    if len(versions) > 1:
        raise ambiguous(versions, tree.root)
    read, notes = describe(versions[0]), _note_hemispheres(left, tree.root)
    others = [version for version in dict.fromkeys(r.version for r in everything) if version != versions[0]]
    if others and not nifti and space is derivatives is atlas is None:
        notes.append(f"read {read}; also there: {'; '.join(map(describe, others))}")
    there = {(r.subject, r.run) for r in left}
    people = {subject for subject, _ in there}
    without = ", ".join(dict.fromkeys(f"sub-{r.subject}" for r in everything if r.subject not in people))
    if without and labels_of(subject) != ["all"]:
        raise SettingsError(f"no recording of {without} as {read}: name others, or another form")
    if without:
        notes.append(f"no recording of {without} as {read}")
    lost = dict.fromkeys(
        f"sub-{r.subject} run {r.run}" for r in everything if r.subject in people and (r.subject, r.run) not in there
    )
    if lost:
        notes.append(f"not there as {read}, and so not read: {list_names([*lost])}")
    return Chosen(tree, left, notes)


def _images(recordings: list[Recording], root: Path, space: str | None) -> list[Recording]:
    """The volumes among them, of whatever space, if the one that is asked for has some."""
    images = [r for r in recordings if r.kind == "nifti"]
    if not images:
        raise InputError(
            f"{root} holds no *_bold.nii.gz of this task, and masks, label images and smoothing are for images"
        )
    hit = [] if space is None else meant([(r.file, r.version) for r in recordings], "space", space)
    kinds = [r.kind for r, yes in zip(recordings, hit, strict=bool(hit)) if yes]
    if kinds and "nifti" not in kinds:
        raise SettingsError(
            f"space {space!r} has {CALLED[kinds[0]]}; masks, smoothing and label images are for volumes: leave them "
            "out (an atlas of a surface is a .label.gii, .annot or .dlabel.nii), or name the space of a volume"
        )
    return images


def recording_kind(file: BidsFile) -> Kind | None:
    """What a file is: a table of regions, an image, a surface, a CIFTI, or (None) no recording."""
    kind = KINDS.get((file.suffix, file.extension))
    if kind is None or file.entities.get("part") in HALF or (kind == "table" and is_confounds(file)):
        return None
    return kind


def is_confounds(file: BidsFile) -> bool:
    """Whether a table holds what was recorded beside the brain: fMRIPrep's confounds (old and new name), motion."""
    desc = file.entities.get("desc", "")
    named = desc.startswith("confounds") or "motion" in desc
    return named and file.suffix in ("timeseries", "regressors") and file.extension in (".tsv", ".txt")


def run_labels(files: Sequence[BidsFile], several: bool) -> dict[str, str]:
    """What the run of each file is called: the label in its name, "1" where there is none.

    Where the files are of several sessions and none was named, it is "ses-run". Where some differ in nothing but the
    way they were scanned (`acq-`, `ce-`, `rec-`, `dir-`), every run has what differs before its own label: "AP-1",
    "PA-1"; "none" where a name lacks it.
    """
    with_session = several and len({file.entities.get("ses") for file in files}) > 1
    alike: dict[object, list[BidsFile]] = {}
    for file in files:
        rest = sorted(pair for pair in file.entities.items() if pair[0] not in WAYS)
        alike.setdefault((file.dataset, file.suffix, file.extension, *rest), []).append(file)
    ways = [way for way in WAYS if any(len({one.entities.get(way) for one in group}) > 1 for group in alike.values())]
    names = [*["ses"] * with_session, *ways]
    return {
        file.where: "-".join([*(file.entities.get(name, "none") for name in names), file.entities.get("run", "1")])
        for file in files
    }


def same_recording(a: BidsFile, b: BidsFile) -> bool:
    """Whether two files are of the same run of the same person, as far as their names say."""
    return all(a.entities.get(key) == b.entities.get(key) for key in SAME_RECORDING)


def _with_hemispheres(files: Sequence[BidsFile]) -> list[list[BidsFile]]:
    """The files of each recording, the left hemisphere before the right one."""
    groups: dict[object, list[BidsFile]] = {}
    for file in files:
        key: object = file.where
        if recording_kind(file) == "gifti" and SIDE in file.entities:
            entities = {name: label for name, label in file.entities.items() if name != SIDE}
            key = (file.dataset, file.folder, file.extension, *sorted(entities.items()))
        groups.setdefault(key, []).append(file)
    return [sorted(group, key=lambda file: file.entities.get(SIDE, "")) for group in groups.values()]


def _note_hemispheres(recordings: Sequence[Recording], root: Path) -> list[str]:
    """A note where all recordings have the same hemisphere alone; an error where one lacks what another has."""
    have = [[file.entities[SIDE] for file in (r.file, *r.others) if SIDE in file.entities] for r in recordings]
    every = list(dict.fromkeys(side for sides in have for side in sides))
    missing = [
        f"hemi-{side} of {r.file.path.relative_to(root).as_posix()}"
        for r, sides in zip(recordings, have, strict=True)
        for side in every
        if side not in sides
    ]
    if missing:
        raise InputError(
            f"a hemisphere is missing that is there elsewhere: {list_names(missing)}; fetch it, or leave that run out"
        )
    return [f"only one hemisphere is there: hemi-{every[0]}"] if len(every) == 1 else []


def _the_task(files: Sequence[BidsFile], task: str | None) -> str | None:
    tasks = list(dict.fromkeys(file.entities["task"] for file in files if "task" in file.entities))
    if task is None and len(tasks) > 1:
        raise SettingsError(f"there are recordings of several tasks: {', '.join(map(repr, tasks))}; name one as task")
    return tasks[0] if task is None and tasks else task


def _with_label(files: Sequence[BidsFile], entity: str, label: str | int | None, root: Path) -> list[BidsFile]:
    """The files with that label; sub-01 may be named as "01", "sub-01" or 1."""
    if label is None:
        return list(files)
    label = str(label).removeprefix(f"{entity}-")
    known = list(dict.fromkeys(file.entities[entity] for file in files if entity in file.entities))
    close = [name for name in known if name == label] or [n for n in known if n.lstrip("0") == label.lstrip("0")]
    if len(close) == 1:
        return [file for file in files if file.entities.get(entity) == close[0]]
    there = did_you_mean(label, known) if known else f"no file name has {entity}-…"
    if close:
        there = f"it could be any of {', '.join(map(repr, close))}"
    called = {"sub": "subject", "ses": "session"}.get(entity, entity)
    raise SettingsError(f"no {called} {label!r} among the recordings in {root}; {there}")
