"""How did the brain respond to every picture: the Natural Scenes Dataset's betas → Signal?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError, did_you_mean, one_message
from brainalign.io.atlases import read_names
from brainalign.io.holding import hold
from brainalign.io.nsd_design import COMPLETED, DESIGN, TIME_NOTE, basis_of, read_design, trials_of
from brainalign.io.nsd_sessions import TRIALS, open_session
from brainalign.io.people import labels_of
from brainalign.io.volumes import Mask, places, read_mask, read_volume
from brainalign.provenance import hash_file, relative_name
from brainalign.signals import Signal
from brainalign.store import Store

SPACES = ("func1pt8mm", "func1mm")
READ = 2  # counts up when the same files are read as other numbers


@dataclass(frozen=True, eq=False)
class Participant:
    """One participant's place in the tree.

    Parameters
    ----------
    number : int
        1 to 8.
    label : str
        "subj01".
    betas, anatomy : Path
        The folders of the betas, and of what describes their space.
    """

    number: int
    label: str
    betas: Path
    anatomy: Path


def read_nsd(
    root: str | Path,
    subject: str | int,
    sessions: str | int | Sequence[int] = "all",
    *,
    space: str = "func1pt8mm",
    betas: str = "betas_fithrf_GLMdenoise_RR",
    mask: str | Path | None = None,
    standardise: bool = True,
    store: Store | None = None,
) -> Signal:
    """Read single-trial responses of the Natural Scenes Dataset (Allen et al. 2022), a session at a time.

    Parameters
    ----------
    root : path
        The folder that holds `nsddata` and `nsddata_betas`.
    subject : str or int
        "subj01", "01" or 1.
    sessions : "all", a number or several
        With "all": those that are in the tree.
    space : "func1pt8mm" or "func1mm"
    betas : str
        The version, as its folder is called.
    mask : str or path, optional
        A NIfTI image on the betas' grid, or the name of one of the person's regions (`roi/NAME.nii.gz`: "nsdgeneral",
        "prf-visualrois", …): the voxels above 0. Left out: `brainmask.nii.gz`.
    standardise : bool
        z-score every voxel within each session (dividing by n); else the values are per cent signal change: whole
        numbers (int16) divided by 300, decimals as they stand.
    store : Store, optional
        Where more than 256 MB are written and memory-mapped; the user's cache if none is named.

    Returns
    -------
    Signal
        (trials, voxels). `samples`: `run` (the session, "01"), `time` (s, 4 × the number of the trial in its session:
        no real clock), `stimulus` ("nsd00001", of the 73,000, counted from 1), `repeat` (1, 2 or 3, counted over all
        sessions), `shared` (of the 1,000 that everybody saw). `columns`: `subject`, `i`, `j`, `k`, `x`, `y`, `z` (mm),
        `ncsnr` where the map is there (see `from_ncsnr`), `roi` where the mask's labels have names. `attrs`: `unit`,
        `inputs` (file → sha256), `ncsnr_of` (person → stimuli and presentations the map rests on), `notes`. Voxels that
        never change in a session (outside the field of view) are left out.

    Raises
    ------
    InputError
        Everything that is wrong with the files.
    SettingsError
        A person, session, space, version or region that is not there.

    Examples
    --------
    One session of a head of two voxels, in the places and the form it is published in:

    >>> import tempfile, h5py, nibabel, scipy.io
    >>> with tempfile.TemporaryDirectory() as tree:
    ...     design, space = Path(tree, "nsddata/experiments/nsd"), Path(tree, "nsddata/ppdata/subj01/func1pt8mm")
    ...     betas = Path(tree, "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR")
    ...     for folder in (design, space, betas):
    ...         folder.mkdir(parents=True)
    ...     order, images = np.arange(750) % 250 + 1, np.tile(np.arange(250) * 9 + 5, (8, 1))
    ...     scipy.io.savemat(design / "nsd_expdesign.mat", {"masterordering": order, "subjectim": images})
    ...     nibabel.save(nibabel.Nifti1Image(np.ones((2, 1, 1), np.int16), np.eye(4)), space / "brainmask.nii.gz")
    ...     with h5py.File(betas / "betas_session01.hdf5", "w") as file:
    ...         file["betas"] = np.arange(1500, dtype=np.int16).reshape(750, 1, 1, 2)
    ...     brain = read_nsd(tree, "subj01")
    >>> brain
    Signal(750 samples × 2 columns; 1 run; 0.0–2996.0 s; subject, i, j, k, x, y, z)
    >>> brain.samples.iloc[251].astype(str).tolist()
    ['01', '1004.0', 'nsd00014', '2', 'True']
    """
    root = Path(root)
    person = find_person(root, subject, space, betas)
    numbers = find_sessions(person, sessions)
    voxels, roi, used = find_voxels(root, person, mask)
    design = root / DESIGN
    trials = read_design(design, relative_name(design, root), person.number)
    columns = places(voxels.voxels, voxels.affine)
    ncsnr = person.betas / "ncsnr.nii.gz"
    if ncsnr.is_file():
        columns["ncsnr"] = _map_of(ncsnr, relative_name(ncsnr, root), voxels)
    if roi is not None:
        columns["roi"] = roi
    files = {number: _file_of(person.betas, number) for number in numbers}
    runs, problems = [], []
    for number, path in files.items():
        name = relative_name(path, root)
        try:
            if number * TRIALS > len(trials):
                raise InputError(f"{name}: the design ends with session {len(trials) // TRIALS}; take this one out")
            runs.append(open_session(path, name, voxels, columns, standardise))
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise one_message(problems)
    inputs = {relative_name(path, root): hash_file(path) for path in files.values()}
    made_from = {"nsd": inputs, "mask": hash_file(voxels.path), "standardise": standardise, "version": READ}
    held = hold(runs, store, made_from)
    if held.values is None:
        raise one_message(held.problems + [f"{dead}; leave this session out" for dead in held.dead if dead])
    if not held.values.shape[1]:
        raise InputError(f"no voxel of {voxels.name} varies in every session; name another mask, or fewer sessions")
    used = [design, voxels.path, *used, *([ncsnr] if ncsnr.is_file() else [])]
    kept = held.columns.copy()
    kept.insert(0, "subject", person.label)
    attrs = {
        "unit": "z" if standardise else "per cent signal change",
        "inputs": inputs | {relative_name(path, root): hash_file(path) for path in used},
        "ncsnr_of": {person.label: basis_of(trials, person.number)} if ncsnr.is_file() else {},
        "left_out": [],
        "notes": [TIME_NOTE, *held.notes],
    }
    samples = pd.concat([trials_of(trials, number) for number in numbers], ignore_index=True)
    return Signal(held.values, samples, kept, attrs=attrs)


def find_person(root: Path, subject: str | int, space: str, betas: str) -> Participant:
    """Where one participant's betas lie.

    Raises
    ------
    SettingsError
        No such person, space or version.
    InputError
        No betas of this person in the tree.
    """
    digits = str(subject).removeprefix("subj").lstrip("0")
    if not digits.isdigit() or not 1 <= int(digits) <= len(COMPLETED):
        raise SettingsError(f"subject {subject!r} is not of this data set: 'subj01' to 'subj08', or 1 to 8")
    if space not in SPACES:
        raise SettingsError(
            f"space {space!r} is not read (the volumes of each person are, surfaces are not); "
            + did_you_mean(space, SPACES)
        )
    label = f"subj{int(digits):02d}"
    folder = root / "nsddata_betas/ppdata" / label / space
    if not folder.is_dir():
        raise InputError(f"there are no betas of {label} in {root}: looked in {relative_name(folder, root)}")
    versions = sorted(one.name for one in folder.iterdir() if one.is_dir())
    if betas not in versions:
        raise SettingsError(f"{label} has no {betas} in {space}; " + did_you_mean(betas, versions))
    return Participant(int(digits), label, folder / betas, root / "nsddata/ppdata" / label / space)


def find_sessions(person: Participant, sessions: str | int | Sequence[int]) -> list[int]:
    """The sessions that are there and asked for, in order.

    Raises
    ------
    InputError
        There are none.
    SettingsError
        One that is not there.
    """
    found = (re.fullmatch(r"betas_session(\d+)\.(hdf5|nii\.gz)", path.name) for path in person.betas.iterdir())
    there = sorted({int(name[1]) for name in found if name})
    if not there:
        raise InputError(f"{person.label} has no betas_session*.hdf5 or .nii.gz in {person.betas.name}: fetch some")
    asked = labels_of(sessions)
    if asked == ["all"]:
        return there
    wanted = sorted({int(one) for one in asked if str(one).isdigit()})
    missing = [one for one in asked if not str(one).isdigit() or int(one) not in there]
    if missing or not wanted:
        known = ", ".join(map(str, there))
        raise SettingsError(f"{person.label} has no session {missing[0] if missing else asked}; there are {known}")
    return wanted


def find_voxels(root: Path, person: Participant, mask: str | Path | None) -> tuple[Mask, np.ndarray | None, list[Path]]:
    """The mask, the region of each voxel in it where the labels have names, and where the names are from.

    Raises
    ------
    SettingsError
        No such region.
    InputError
        No mask there, or nothing in it.
    """
    rois = person.anatomy / "roi"
    named = rois / f"{mask}.nii.gz"
    path = person.anatomy / "brainmask.nii.gz" if mask is None else named if named.is_file() else Path(mask)
    if not path.is_file():
        if mask is None:
            raise InputError(f"there is no {relative_name(path, root)}: fetch it, or name a mask")
        known = sorted(one.name.removesuffix(".nii.gz") for one in rois.glob("*.nii.gz")) if rois.is_dir() else []
        raise SettingsError(
            f"mask {str(mask)!r} is no file and no region of {person.label}; {did_you_mean(str(mask), known)}"
        )
    name = relative_name(path, root)
    voxels = read_mask(path, name)
    if not voxels.voxels.any():
        raise InputError(f"{name} has no voxel in its mask: name another")
    if path != named:
        return voxels, None, []
    labels = root / "nsddata/freesurfer"
    tables = [labels / of / f"label/{mask}.mgz.ctab" for of in (person.label, "fsaverage")]
    table = next((one for one in tables if one.is_file()), None)
    if table is None:
        return voxels, None, []
    names = read_names(table)
    numbers = read_volume(path, name, "a label image")[0][voxels.voxels].astype(int)
    return voxels, np.array([names.get(int(one), str(one)) for one in numbers], dtype=object), [table]


def _file_of(folder: Path, session: int) -> Path:
    """HDF5 comes first where there are both: a part of it can be read."""
    stem = folder / f"betas_session{session:02d}"
    return next((p for p in (stem.with_suffix(".hdf5"), stem.with_suffix(".nii.gz")) if p.is_file()), stem)


def _map_of(path: Path, name: str, mask: Mask) -> np.ndarray:
    values, _ = read_volume(path, name, "a map")
    if values.shape != mask.voxels.shape:
        raise InputError(f"{name} is of another grid than {mask.name} ({values.shape} and {mask.voxels.shape} voxels)")
    return values[mask.voxels].astype(float)
