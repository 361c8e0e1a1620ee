"""Which region does each vertex of a surface belong to, by a parcellation of the cortex?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.io.atlases import Regions, in_regions
from brainalign.io.cifti import called, cortices, grayordinates, load_cifti
from brainalign.io.series import Series

FORMS = (".label.gii", ".annot", ".dlabel.nii")
# how files of the two hemispheres are told apart: BIDS and templateflow, FreeSurfer, the HCP
PAIRS = (("hemi-L", "hemi-R"), ("lh.", "rh."), (".L.", ".R."), ("_L.", "_R."))
NO_REGION = ("???", "unknown", "medial_wall", "medial wall", "background+freesurfer_defined_medial_wall")


@dataclass(frozen=True, eq=False)
class Parcels:
    """A region for every vertex, and for every voxel a CIFTI file has beside them.

    Parameters
    ----------
    places : DataFrame
        `hemisphere`, `vertex`, of CIFTI `structure`, `i`, `j`, `k` too; and `roi`, "" for none.
    paths : tuple of Path
    name : str
        What to call the file in errors.
    vertices : mapping of hemisphere → int
        How many the surface has, the medial wall included.
    """

    places: pd.DataFrame
    paths: tuple[Path, ...]
    name: str
    vertices: Mapping[str, int] = field(default_factory=dict)


def is_parcels(path: Path) -> bool:
    """Whether a file is a parcellation of a surface, by its name."""
    return path.name.endswith(FORMS)


def read_parcels(path: Path, name: str) -> Parcels:
    """Read a parcellation: GIFTI labels or FreeSurfer annotations, of both hemispheres, or a CIFTI dlabel.

    Left and right are never one region. Where a name is in both hemispheres (FreeSurfer's aparc), every region of the
    parcellation that is in a hemisphere is called with it: "L.bankssts", "R.bankssts". Where every region has a name of
    its own ("L_V1_ROI") they stay as they are.

    Parameters
    ----------
    path : Path
        Of either hemisphere; the other one's file is the one called alike (`hemi-L` and `hemi-R`, `lh.` and `rh.`).
    name : str

    Raises
    ------
    InputError
        A file that cannot be read, that holds no labels, or does not say which hemisphere it is of.
    """
    if path.name.endswith(".dlabel.nii"):
        table, vertices = _of_cifti(path, name)
        return Parcels(_told_apart(table), (path,), name, vertices)
    sides = _hemispheres(path, name)
    tables = []
    for side, file in sides.items():
        regions = _of_gifti(file) if file.name.endswith(".label.gii") else _of_annotation(file)
        tables.append(pd.DataFrame({"hemisphere": side, "vertex": np.arange(len(regions)), "roi": regions}))
    vertices = {side: len(table) for side, table in zip(sides, tables, strict=True)}
    return Parcels(_told_apart(pd.concat(tables, ignore_index=True)), tuple(sides.values()), name, vertices)


def _told_apart(places: pd.DataFrame) -> pd.DataFrame:
    """The hemisphere before every name that has one, where one name is in both."""
    found = places[places["roi"] != ""].groupby("hemisphere")["roi"].agg(set)
    if len(found) < 2 or not set.intersection(*found):
        return places
    sided = (places["roi"] != "") & places["hemisphere"].isin(["L", "R"])
    return places.assign(roi=places["roi"].where(~sided, places["hemisphere"].astype("str") + "." + places["roi"]))


def by_parcel(run: Series, parcels: Parcels, regions: Regions) -> Series:
    """One run within the regions of a parcellation: their means, or their vertices (and voxels).

    Raises
    ------
    InputError
        A recording of another surface, or no region in it.
    """
    if "vertex" not in run.columns:
        raise InputError(f"{parcels.name} has regions of a surface, {run.name} has no vertices: name the space of one")
    for side, n in _vertices(run).items():
        theirs = parcels.vertices.get(side, n)
        if theirs != n:
            raise InputError(
                f"{parcels.name} has {theirs} vertices in hemisphere {side}, {run.name} has {n}: "
                "name a parcellation of the recording's own surface"
            )
    named = _looked_up(run.columns, parcels.places)
    if not any(named):
        raise InputError(f"no region of {parcels.name} is in {run.name}: is it of the same surface?")
    kept = np.flatnonzero(np.array(named) != "")
    inside = replace(
        run,
        columns=run.columns.iloc[kept].reset_index(drop=True),
        blocks=lambda: _some(run, kept),
        inputs=(*run.inputs, *parcels.paths),
    )
    return in_regions(inside, [named[k] for k in kept], regions, list(dict.fromkeys(parcels.places["roi"])))


def _vertices(run: Series) -> dict[str, int]:
    """Hemisphere → vertices of the surface that a recording is on, by its grid: of CIFTI the medial wall too."""
    grid: Any = run.grid
    return cortices(grid[0]) if "structure" in run.columns else dict(grid)


def _some(run: Series, columns: np.ndarray) -> Iterator[np.ndarray]:
    for block in run.blocks():
        yield block[:, columns]


def _looked_up(columns: pd.DataFrame, places: pd.DataFrame) -> list[str]:
    """The region of each column, "" for none: vertices by hemisphere, voxels by i, j, k."""
    found = np.full(len(columns), "", dtype=object)
    for keys, there in ((["hemisphere", "vertex"], "vertex"), (["i", "j", "k"], "i")):
        if not set(keys) <= set(columns) & set(places.columns):
            continue
        known = places[places[there] >= 0]
        table = dict(zip(known[keys].itertuples(index=False, name=None), known["roi"], strict=True))
        mine = np.flatnonzero(columns[there].to_numpy() >= 0)
        for row, key in zip(mine, columns.iloc[mine][keys].itertuples(index=False, name=None), strict=True):
            found[row] = table.get(key, "")
    return found.tolist()


def _hemispheres(path: Path, name: str) -> dict[str, Path]:
    """Hemisphere → file, of those of the two that are there."""
    for pair in PAIRS:
        for mine, other in (pair, pair[::-1]):
            if mine in path.name:
                twin = path.with_name(path.name.replace(mine, other, 1))
                found = {mine: path, other: twin}
                return {side: found[part] for side, part in zip("LR", pair) if found[part].is_file()}
    raise InputError(f"{name} does not say which hemisphere it is of: call it …hemi-L… or …hemi-R… (or lh., rh.)")


def _of_gifti(path: Path) -> list[str]:
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        image: Any = nibabel.load(path)
    except (ImageFileError, ExpatError, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as GIFTI ({error}): fetch it again") from error
    names = image.labeltable.get_labels_as_dict()
    if len(image.darrays) != 1 or not names:
        raise InputError(f"{path} holds {len(image.darrays)} maps and {len(names)} names: one map of named labels")
    return [_region(names.get(int(label), "")) for label in np.asarray(image.darrays[0].data)]


def _of_annotation(path: Path) -> list[str]:
    from nibabel.freesurfer.io import read_annot

    try:
        labels, _, names = read_annot(path)
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"{path} cannot be read as a FreeSurfer annotation ({error}): fetch it again") from error
    spelled = [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names]
    return [_region(spelled[label]) if label >= 0 else "" for label in labels.tolist()]


def _of_cifti(path: Path, name: str) -> tuple[pd.DataFrame, dict[str, int]]:
    from nibabel.cifti2.cifti2_axes import BrainModelAxis, LabelAxis

    image = load_cifti(path, name)
    axes = [image.header.get_axis(k) for k in range(image.ndim)]
    if len(axes) != 2 or not isinstance(axes[0], LabelAxis) or not isinstance(axes[1], BrainModelAxis):
        raise InputError(f"{name} is a matrix of {' × '.join(map(called, axes))}: an atlas is labels × places (dlabel)")
    columns, _, grid = grayordinates(axes[1], image, name)
    names = {label: text for label, (text, _) in axes[0].label[0].items()}
    labels = np.asarray(image.dataobj[0]).astype(int)
    regions = [_region(names.get(label, "")) if label else "" for label in labels.tolist()]
    return columns.assign(roi=regions), cortices(grid[0])


def _region(name: str) -> str:
    return "" if name.lower() in NO_REGION else name
