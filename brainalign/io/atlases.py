"""Which region does each voxel belong to, by an atlas, and what is the mean over each region?"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.io.bids import BidsFile, BidsTree
from brainalign.io.series import Series
from brainalign.io.volumes import SCANNED, Image, Mask, around, check_grid, read_volume, series_of

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
        is called like it, as `read_names` takes it.

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
    names = {} if named_by is None else read_names(named_by)
    present = np.unique(labels[labels != 0]).tolist()
    regions = {label: names.get(label, str(label)) for label in present}
    twice = {region for region in regions.values() if list(regions.values()).count(region) > 1}
    if twice:
        raise InputError(f"{named_by}: region {sorted(twice)[0]!r} has several labels: give each a name of its own")
    return Atlas(labels, affine, regions, path, name, named_by)


def find_atlas(tree: BidsTree, file: BidsFile, label: str) -> tuple[BidsFile, Path | None] | None:
    """The segmentation of that name that goes with a recording, and the table of its regions.

    It is called `atlas-`, `seg-` or `desc-LABEL` … `_dseg.nii.gz`, of the recording's space (`space_of`) and
    resolution, and of its person (run, …) or of nobody in particular. At a dataset's root a name without `space-` is of
    every space.
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
    inputs = (*atlas.inputs, *(mask.inputs if mask else ()))
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
    # mode "constant" would end in the middle of the outermost voxels
    how: dict[str, Any] = {"offset": move[:3, 3], "order": 0, "mode": "grid-constant", "cval": 0}
    labels = affine_transform(atlas.labels, move[:3, :3], output_shape=image.shape, **how)
    return labels, [f"{atlas.name} is of another grid than the recording: resampled to it, by nearest neighbour"]


def _goes_with(segmentation: BidsFile, file: BidsFile) -> bool:
    mine, theirs = file.entities, segmentation.entities
    anywhere = not segmentation.folder
    return (
        (anywhere or segmentation.folder in around(file))
        and (space_of(segmentation) == space_of(file) or (anywhere and "space" not in theirs))
        and all(theirs[key] == mine.get(key) for key in SCANNED if key in theirs)
        and ("res" not in theirs or theirs["res"] == mine.get("res", theirs["res"]))
    )


def space_of(file: BidsFile) -> str | None:
    """The space a file is in: without `space-` its own, which of what lies in `anat/` is the person's T1w."""
    return file.entities.get("space", "T1w" if "anat" in file.folder else None)


def read_names(path: Path) -> dict[int, str]:
    """Label → name, of a table or of a list.

    Parameters
    ----------
    path : Path
        A .tsv or .csv with the columns index and name (or what `NUMBERS` and `NAMES` have for them); anything else is a
        list as FreeSurfer's (.ctab, .txt) and FSL's: a number, a name of one or more words, and in some the colour, of
        three or four numbers.

    Raises
    ------
    InputError
        It cannot be read, or lacks a column.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}): write it again as UTF-8 text") from error
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if path.suffix not in (".tsv", ".csv"):
        return _named_in_list([line.split() for line in lines])
    try:
        cells = list(csv.reader(lines, delimiter="\t" if path.suffix == ".tsv" else ",", skipinitialspace=True))
    except csv.Error as error:
        raise InputError(f"{path} cannot be read as a table ({error}): write it again") from error
    rows = [[cell.strip() for cell in row] for row in cells]
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


def _named_in_list(rows: list[list[str]]) -> dict[int, str]:
    """Label → name: the words after the number, up to the colour."""
    rows = [row for row in rows if len(row) > 1 and row[0].lstrip("-").isdecimal()]
    numbers = [next((n for n, word in enumerate(row[:0:-1]) if not word.isdecimal()), len(row) - 1) for row in rows]
    # a name may end in a number: as many are of the colour as every line with a colour has
    colour = min((4, *(n for n in numbers if n >= 3)))
    return {
        int(row[0]): " ".join(row[1 : max(2, len(row) - colour * (n >= 3))])
        for row, n in zip(rows, numbers, strict=True)
    }
