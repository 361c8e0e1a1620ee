"""Which region does each voxel belong to, by an atlas, and what is the mean over each region?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.io.bids import BidsFile, BidsTree
from brainalign.io.series import Series
from brainalign.io.volumes import GRID, SCANNED, Image, Mask, around, check_grid, read_volume, series_of

Regions = Literal["mean", "voxels"]
NAMED = ("atlas", "seg", "desc")  # the entities that say which atlas a segmentation is
NUMBERS, NAMES = ("index", "id", "label", "value"), ("name", "label", "region", "structure")  # columns of its table


@dataclass(frozen=True, eq=False)
class Atlas:
    """A label for every voxel.

    Parameters
    ----------
    labels : array (i, j, k), int
        0: no region.
    affine : array (4, 4)
    regions : dict of int → str
        What each label is called; those without a name are called by their number.
    path : Path
    name : str
        What to call the file in errors.
    named_by : Path or None
        The table the names are from.
    """

    labels: np.ndarray
    affine: np.ndarray
    regions: dict[int, str]
    path: Path
    name: str
    named_by: Path | None = None

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files it was read from."""
        return (self.path,) if self.named_by is None else (self.path, self.named_by)


def read_atlas(path: Path, name: str, named_by: Path | None = None) -> Atlas:
    """Read a label image and the names of its regions.

    Parameters
    ----------
    path : Path
        NIfTI of whole numbers.
    name : str
    named_by : Path, optional
        A table with the columns `index` and `name` (BIDS `*_dseg.tsv`); else a .tsv, .csv or .txt beside the image that
        is called like it. A .txt has a number and a name in each line, as FreeSurfer's and FSL's.

    Raises
    ------
    InputError
        Not three-dimensional, values that are no whole numbers, no region, or a table that cannot be read.
    """
    values, affine = read_volume(path, name, "an atlas")
    with np.errstate(invalid="ignore"):
        whole = np.rint(values)
    if not np.isfinite(values).all() or not np.array_equal(whole, values):
        raise InputError(
            f"{name} holds values that are no whole numbers: an atlas has a label for each voxel; of a probabilistic "
            "one take the maximum, or use a single map as a mask"
        )
    labels = whole.astype(np.int64)
    if not labels.any():
        raise InputError(f"{name} has no region: every label is 0")
    if named_by is None:
        stem = path.name.removesuffix(".gz").removesuffix(".nii")
        beside = (path.with_name(stem + ending) for ending in (".tsv", ".csv", ".txt"))
        named_by = next((p for p in beside if p.is_file()), None)
    names = {} if named_by is None else _read_names(named_by)
    present = np.unique(labels[labels != 0]).tolist()
    regions = {label: names.get(label, str(label)) for label in present}
    twice = {region for region in regions.values() if list(regions.values()).count(region) > 1}
    if twice:
        raise InputError(f"{named_by}: region {sorted(twice)[0]!r} has several labels: give each a name of its own")
    return Atlas(labels, affine, regions, path, name, named_by)


def find_atlas(tree: BidsTree, file: BidsFile, label: str) -> tuple[BidsFile, Path | None] | None:
    """The segmentation of that name that goes with a recording, and the table of its regions.

    It is called `atlas-`, `seg-` or `desc-LABEL` … `_dseg.nii.gz`, of the recording's space and resolution, and of its
    person (run, …) or of nobody in particular.
    """
    fits = [other for other in segmentations(tree, label) if _goes_with(other, file)]
    if not fits:
        return None
    best = max(fits, key=lambda other: (other.dataset == file.dataset, len(other.entities)))
    tables = tree.inherited(best, "dseg", ".tsv")
    return best, tables[-1].path if tables else None


def segmentations(tree: BidsTree, label: str) -> list[BidsFile]:
    """Every segmentation of that name in a tree."""
    found = [f for form in (".nii.gz", ".nii") for f in tree.find("dseg", form)]
    return [f for f in found if label in [f.entities.get(entity) for entity in NAMED]]


def by_region(image: Image, atlas: Atlas, mask: Mask | None, regions: Regions) -> Series:
    """One run within the regions of an atlas: their means, or their voxels.

    An atlas on another grid is resampled to that of the image, label by nearest neighbour, and a note says so.

    Parameters
    ----------
    image : Image
    atlas : Atlas
    mask : Mask, optional
        Voxels outside it are in no region.
    regions : "mean" or "voxels"
        A column `roi` for each region, or for each voxel `i` … `z` and the region it is in (`roi`).

    Raises
    ------
    InputError
        No region has a voxel in the image and the mask, or the mask is of another grid.
    """
    labels, notes = _on_grid_of(atlas, image)
    if mask is not None:
        check_grid(mask.voxels.shape, mask.affine, mask.name, image)
        labels = np.where(mask.voxels, labels, 0)
    if not labels.any():
        raise InputError(
            f"no region of {atlas.name} has a voxel in {image.name}{' and ' + mask.name if mask else ''}: "
            "is it of the same space?"
        )
    lost = [region for label, region in atlas.regions.items() if not (labels == label).any()]
    if lost:
        notes.append(f"{len(lost)} regions of {atlas.name} have no voxel in the recording: {', '.join(lost[:5])}")
    inputs = (*atlas.inputs, *((mask.path,) if mask else ()))
    inside = series_of(image, labels != 0, inputs)
    mine = labels[labels != 0]
    named = [atlas.regions[label] for label in mine.tolist()]
    return in_regions(replace(inside, notes=(*inside.notes, *notes)), named, regions, list(atlas.regions.values()))


def in_regions(inside: Series, named: Sequence[str], regions: Regions, order: Sequence[str]) -> Series:
    """The columns of a series by the region that each is in: means over regions, in order, or columns with a `roi`."""
    if regions == "voxels":
        return replace(inside, columns=inside.columns.assign(roi=list(named)))
    from scipy.sparse import csr_array

    there = set(named)
    present = [region for region in order if region in there]
    region = pd.Index(present).get_indexer(pd.Index(named))
    size = np.bincount(region)
    average = csr_array((1.0 / size[region], (np.arange(len(named)), region)), shape=(len(named), len(present)))

    def blocks() -> Iterator[np.ndarray]:
        for block in inside.blocks():
            yield (block @ average).astype(np.float32)

    return replace(inside, columns=pd.DataFrame({"roi": present}), key=("roi",), blocks=blocks, grid=())


def _on_grid_of(atlas: Atlas, image: Image) -> tuple[np.ndarray, list[str]]:
    if atlas.labels.shape == image.shape and np.allclose(atlas.affine, image.affine, atol=0.01):
        return atlas.labels, []
    from scipy.ndimage import affine_transform

    move = np.linalg.inv(atlas.affine) @ image.affine
    labels = affine_transform(atlas.labels, move[:3, :3], move[:3, 3], image.shape, order=0, mode="constant", cval=0)
    return labels, [f"{atlas.name} is of another grid than the recording: resampled to it, by nearest neighbour"]


def _goes_with(segmentation: BidsFile, file: BidsFile) -> bool:
    mine, theirs = file.entities, segmentation.entities
    near = not segmentation.folder or segmentation.folder in around(file)
    return (
        near
        and all(theirs[key] == mine.get(key) for key in (*SCANNED, "space") if key in theirs)
        and all(theirs[key] == mine[key] for key in GRID if key in theirs and key in mine)
    )


def _read_names(path: Path) -> dict[int, str]:
    """Label → name, of a table or of a FreeSurfer list."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}): write it again as UTF-8 text") from error
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if path.suffix == ".txt":
        cells = [line.split() for line in lines]
        return {int(row[0]): row[1] for row in cells if len(row) > 1 and row[0].lstrip("-").isdecimal()}
    rows = [[cell.strip() for cell in line.split("\t" if path.suffix == ".tsv" else ",")] for line in lines]
    head = [cell.lower() for cell in rows[0]] if rows else []
    number = next((head.index(name) for name in NUMBERS if name in head), None)
    called = next((head.index(name) for name in NAMES if name in head and head.index(name) != number), None)
    if number is None or called is None:
        raise InputError(
            f"{path} has the columns {', '.join(head) or '(none)'}: the regions of an atlas are named in columns index "
            "and name"
        )
    try:
        return {int(row[number]): row[called] for row in rows[1:] if len(row) > max(number, called)}
    except ValueError as error:
        raise InputError(f"{path}: an index is no whole number ({error}): write the table again") from error
