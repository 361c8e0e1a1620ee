"""What tells versions of one recording apart (pipeline, form, space, atlas, echo), and which words choose one?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from brainalign.errors import SettingsError, did_you_mean
from brainalign.io.bids import BidsFile

Kind = Literal["table", "nifti", "gifti", "cifti", "electric"]

RAW = "raw"  # what `derivatives` is called when the tree itself is meant
UNNAMED = "none"  # what `space` or `atlas` is called where file names have none: the scanner's own space
SAME_RECORDING = ("sub", "ses", "task", "acq", "ce", "rec", "dir", "run")  # entities that name what was scanned
SIDE = "hemi"  # both hemispheres are one recording
ARGUMENTS = {"space": ("space",), "atlas": ("atlas", "seg")}  # entities whose label the argument is
CALLED = {
    "table": "tables of regions",
    "nifti": "images",
    "gifti": "surfaces",
    "cifti": "grayordinates (CIFTI)",
    "electric": "recordings of electrodes or sensors",
}


@dataclass(frozen=True)
class Version:
    """One form in which recordings are there.

    Parameters
    ----------
    dataset : str
        The folder in `derivatives/`, "" for the tree itself.
    kind : "table", "nifti", "gifti" or "cifti"
    regions : bool
        Whether columns are regions: of a table, or of a CIFTI of parcels.
    entities : tuple of (key, label)
        Every one that does not name what was scanned.
    """

    dataset: str
    kind: Kind
    regions: bool
    entities: tuple[tuple[str, str], ...]

    @property
    def argument(self) -> str:
        """The argument that names it."""
        return "atlas" if self.regions else "space"


def version_of(file: BidsFile, kind: Kind) -> Version:
    """The version that a recording is of."""
    alike = (*SAME_RECORDING, SIDE, "part")
    rest = tuple((key, label) for key, label in file.entities.items() if key not in alike)
    return Version(file.dataset, kind, kind == "table" or file.extension == ".ptseries.nii", rest)


def describe(version: Version, among: Sequence[Version] = ()) -> str:
    """One version as the arguments that choose it; with `among`, whatever it takes to tell it from those.

    Examples
    --------
    >>> describe(Version("fmriprep", "cifti", False, (("space", "fsLR"), ("den", "91k"))))
    "derivatives='fmriprep', space='fsLR:den-91k' (grayordinates (CIFTI))"
    """
    labels = dict(version.entities)
    label = _label(labels, version.argument)
    parts = [label, *(f"{key}-{value}" for key, value in labels.items() if key not in ARGUMENTS[version.argument])]
    alike = [other for other in among if (other.dataset, other.entities) == (version.dataset, version.entities)]
    parts += [version.kind] * (len(alike) > 1)
    words = [f"derivatives={version.dataset or RAW!r}"]
    words += [f"{version.argument}={':'.join(parts)!r}"] * bool(among or parts != [UNNAMED])
    return f"{', '.join(words)} ({CALLED[version.kind]})"


def ambiguous(versions: Sequence[Version], where: object) -> SettingsError:
    """What is said where several would do, and how each is chosen; echoes are a case of their own."""
    lines = "".join(f"\n  - {describe(version, versions)}" for version in versions)
    if all("echo" in dict(version.entities) for version in versions):
        return SettingsError(
            f"{where} holds the echoes of this task's recordings apart; read them combined (fMRIPrep and tedana do "
            f"that, into derivatives/), or say which one is meant:{lines}"
        )
    return SettingsError(
        f"{where} holds {len(versions)} versions of this task's recordings; say which is meant:{lines}"
    )


def meant(files: Sequence[tuple[BidsFile, Version]], argument: str, wanted: str) -> list[bool]:
    """Which files an argument chooses: of that label, with the further entities asked for and, if there are, no more.

    Raises
    ------
    SettingsError
        None is.
    """
    label, *more = wanted.split(":")
    for key in ARGUMENTS[argument]:
        label = label.removeprefix(f"{key}-")
    kinds = [word for word in more if word in CALLED]
    asked = {key: value for key, _, value in (word.partition("-") for word in more if word not in kinds)}
    labels = [_label(file.entities, argument) for file, _ in files]
    hit = [
        one == label
        and version.kind in (kinds or CALLED)
        and SIDE not in asked
        and asked.items() <= file.entities.items()
        for one, (file, version) in zip(labels, files, strict=True)
    ]
    said = (*asked, *ARGUMENTS[argument])
    whole = [yes and all(key in said for key, _ in version.entities) for yes, (_, version) in zip(hit, files)]
    if any(hit):
        return whole if any(whole) else hit
    known = [one for one in dict.fromkeys(labels) if one != UNNAMED]
    there = did_you_mean(label, known) if known else f"no file name of this task has {argument}-…"
    if label in labels:
        there = f"{label!r} is there, but not with {', '.join(more)}"
    raise SettingsError(f"no {argument} {wanted!r} among the recordings; {there}")


def _label(entities: Mapping[str, str], argument: str) -> str:
    return next((entities[key] for key in ARGUMENTS[argument] if key in entities), UNNAMED)
