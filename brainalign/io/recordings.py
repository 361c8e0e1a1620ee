"""Which recordings of a BIDS tree are meant, when there may be several tasks, atlases, spaces and pipelines?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.io.bids import BidsFile, BidsTree, index_bids, natural

RAW = "raw"  # what `derivatives` is called when the tree itself is meant
SAME_RECORDING = ("sub", "ses", "task", "acq", "ce", "rec", "dir", "run")  # entities that name what was scanned


@dataclass(frozen=True)
class Recording:
    """One run of one person in one file.

    Parameters
    ----------
    file : BidsFile
    subject, run : str
        `run` is the label in the file name, "1" where there is none, "ses-run" where the task has several sessions.
    kind : "table" or "nifti"
    """

    file: BidsFile
    subject: str
    run: str
    kind: Literal["table", "nifti"]


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
            f"{tree.root} holds no fMRI recording: looked for sub-*_timeseries.tsv (regions) and sub-*_bold.nii.gz, "
            f"derivatives/ included, found {', '.join(suffixes[:8])}; give the folder that holds sub-01/ …"
        )
    files = _with_label(files, "task", _the_task(files, task), tree.root)
    labels = run_labels(files, several=session is None)
    if subject != "all":
        wanted = dict.fromkeys([subject] if isinstance(subject, (str, int)) else subject)
        files = [file for one in wanted for file in _with_label(files, "sub", one, tree.root)]
    files = _with_label(files, "ses", session, tree.root)
    files = _with_label(files, "run", run, tree.root)
    recordings = [Recording(f, f.entities["sub"], labels[f.path], recording_kind(f) or "table") for f in files]
    return tree, sorted(recordings, key=lambda r: (natural(r.subject), natural(r.run)))


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

    Tables of regions come before images, and the tree's own images before those of its derivatives; what else there
    is becomes a note. Two that would do equally well are an error that says how to choose.

    Parameters
    ----------
    space, atlas : str, optional
        A label, with further entities in fMRIPrep's spelling: ``"MNI152NLin2009cAsym:res-2"``.
    nifti : bool
        Images are wanted whatever else is named (a mask was given, say).

    Raises
    ------
    InputError, SettingsError
        As `find_recordings`; SettingsError too for a pipeline, space or atlas that does not exist, or several.
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
    if atlas is not None:
        left = _of_variant(left, "atlas", atlas, lambda r: r.file.entities.get("atlas", r.file.entities.get("seg")))
    if space is not None:
        left = _of_variant(left, "space", space, lambda r: r.file.entities.get("space"))
    if nifti or (space is not None and atlas is None):
        left = [r for r in left if r.kind == "nifti"]
        if not left:
            raise InputError(f"{tree.root} holds no *_bold.nii.gz of this task, and a mask or a space is for images")
    for better in (lambda r: r.kind == "table", lambda r: not r.file.dataset):
        left = [r for r in left if better(r)] or left
    variants = list(dict.fromkeys(variant(r.file) for r in left))
    if len(variants) > 1:
        lines = "".join(f"\n  - {describe_variant(v)}" for v in variants)
        raise SettingsError(
            f"{tree.root} holds {len(variants)} versions of this task's recordings; say which is meant:{lines}"
        )
    notes = []
    others = list(dict.fromkeys(variant(r.file) for r in everything if variant(r.file) != variants[0]))
    if others and not nifti and space is derivatives is atlas is None:
        also = "; ".join(map(describe_variant, others))
        notes.append(f"read {describe_variant(variants[0])}; also there: {also}")
    there = {r.subject for r in left}
    without = ", ".join(dict.fromkeys(f"sub-{r.subject}" for r in everything if r.subject not in there))
    if without and subject != "all":
        raise SettingsError(
            f"no recording of {without} as {describe_variant(variants[0])}: name others, or another form"
        )
    if without:
        notes.append(f"no recording of {without} as {describe_variant(variants[0])}")
    return Chosen(tree, left, notes)


def recording_kind(file: BidsFile) -> Literal["table", "nifti"] | None:
    """What a file is: a table of regions, an image, or (None) no recording."""
    if file.suffix == "timeseries" and file.extension == ".tsv" and not is_confounds(file):
        return "table"
    if file.suffix == "bold" and file.extension in (".nii.gz", ".nii"):
        return "nifti"
    return None


def is_confounds(file: BidsFile) -> bool:
    """Whether a table holds what was recorded beside the brain: fMRIPrep's confounds (old and new name), motion."""
    desc = file.entities.get("desc", "")
    named = desc.startswith("confounds") or "motion" in desc
    return named and file.suffix in ("timeseries", "regressors") and file.extension in (".tsv", ".txt")


def run_labels(files: Sequence[BidsFile], several: bool) -> dict[Path, str]:
    """What the run of each file is called: "ses-run" where the files are of several sessions and none was named."""
    sessions = {file.entities.get("ses") for file in files}
    with_session = several and len(sessions) > 1
    return {
        file.path: "-".join([file.entities.get("ses", "none")] * with_session + [file.entities.get("run", "1")])
        for file in files
    }


def same_recording(a: BidsFile, b: BidsFile) -> bool:
    """Whether two files are of the same run of the same person, as far as their names say."""
    return all(a.entities.get(key) == b.entities.get(key) for key in SAME_RECORDING)


def variant(file: BidsFile) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """What distinguishes versions of one recording: pipeline, form, and every entity that does not name the scan."""
    rest = tuple((key, label) for key, label in file.entities.items() if key not in SAME_RECORDING)
    return file.dataset, recording_kind(file) or "", rest


def describe_variant(key: tuple[str, str, tuple[tuple[str, str], ...]]) -> str:
    """One version as the arguments that choose it."""
    dataset, kind, entities = key
    labels = dict(entities)
    arguments = [f"derivatives={dataset or RAW!r}"]
    for argument, names in (("atlas", ("atlas", "seg")), ("space", ("space",))):
        hit = [name for name in names if name in labels]
        if hit and (argument == "atlas") == (kind == "table"):
            label = labels.pop(hit[0])
            arguments.append(f"{argument}={':'.join([label, *(f'{k}-{v}' for k, v in labels.items())])!r}")
            labels = {}
    rest = [f"{name}-{label}" for name, label in labels.items()]
    what = "tables of regions" if kind == "table" else "images"
    return ", ".join(arguments) + f" ({', '.join([what, *rest])})"


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


def _of_variant(
    recordings: list[Recording], argument: str, wanted: str, label_of: Callable[[Recording], str | None]
) -> list[Recording]:
    label, *more = wanted.split(":")
    pairs = {key: value for key, _, value in (entity.partition("-") for entity in more)}
    hit = [r for r in recordings if label_of(r) == label and pairs.items() <= r.file.entities.items()]
    if hit:
        return hit
    known = dict.fromkeys(name for r in recordings if (name := label_of(r)) is not None)
    there = did_you_mean(label, known) if known else f"no file name of this task has {argument}-…"
    if label in known:
        there = f"{label!r} is there, but not with {', '.join(more)}"
    raise SettingsError(f"no {argument} {wanted!r} among the recordings; {there}")
