"""What is in one run's file, on which clock, and is anything wrong with it?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.io.atlases import Atlas, Regions, by_region, find_atlas, read_atlas, segmentations, space_of
from brainalign.io.bids import BidsFile, BidsTree
from brainalign.io.cifti import open_cifti
from brainalign.io.clock import NO_START, Clock, read_clock
from brainalign.io.confounds import Beside, read_beside
from brainalign.io.holding import NO_VOLUME, trimmed
from brainalign.io.parcels import Parcels, by_parcel
from brainalign.io.recordings import Recording
from brainalign.io.series import Series
from brainalign.io.surface import open_gifti
from brainalign.io.tables import CLOCK_COLUMNS, Table, clock_of, problems_in_clock, problems_in_regions, read_numbers
from brainalign.io.versions import UNNAMED
from brainalign.io.volumes import Image, Mask, find_mask, open_image, open_volumes, read_mask
from brainalign.io.wanted import Asked, Censor
from brainalign.provenance import relative_name

SAID_NOWHERE = f"{NO_START} (StartTime, SliceTiming): taken as 0 s"


@dataclass(frozen=True)
class RunSettings:
    """What is to be read of every run, and how.

    Parameters
    ----------
    mask : Mask or None
        The one that was named.
    atlas : Atlas, Parcels, str or None
        A label image or a parcellation of a surface that was named by its path, or the label of segmentations in the
        tree.
    regions : "mean" or "voxels"
    smooth_mm : float or None
    confounds, censor
        As in `read_beside`.
    trim_volumes : int
        Volumes left out at the start.
    start : float or None
        When the first volume of the file was taken (s), where its sidecars do not say.
    tr : float or None
        What the card of the data set says it is (s).
    """

    mask: Mask | None = None
    atlas: Atlas | Parcels | str | None = None
    regions: Regions = "mean"
    smooth_mm: float | None = None
    confounds: Asked = None
    censor: Censor = None
    trim_volumes: int = 0
    start: float | None = None
    tr: float | None = None


@dataclass(frozen=True)
class Run:
    """One run of one person, opened; or what keeps it from being read.

    Parameters
    ----------
    label : str
        Of the run.
    name : str
        Of the file, within the tree.
    series : Series, optional
        None where there are problems.
    tr, start, unit
        As in `Clock`, the start 0 where nothing is known; of the first volume that is kept.
    confounds : Table, optional
    use : array (n_samples,) bool, optional
        None: nothing is censored.
    inputs : list of Path
        Every file that was opened.
    notes, problems : list of str
    dead : str
        Why the run says nothing (an empty file), else "".
    """

    label: str
    name: str
    series: Series | None = None
    tr: float = 0.0
    start: float = 0.0
    unit: str = ""
    confounds: Table | None = None
    use: np.ndarray | None = None
    inputs: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    dead: str = ""

    def samples(self) -> pd.DataFrame:
        """The run's rows of a Signal's samples table."""
        n = 0 if self.series is None else self.series.n_samples
        samples = pd.DataFrame({"run": self.label, "time": self.start + self.tr * np.arange(n)})
        return samples if self.use is None else samples.assign(use=self.use)


def share_mask(tree: BidsTree, recordings: Sequence[Recording], settings: RunSettings) -> RunSettings:
    """What is asked of one person's runs, with one mask for all where means over regions are taken of images.

    It is of the voxels that the masks beside every run have in common: else a region would be the mean over other
    voxels in each run. Masks that cannot be read, or are on different grids, are left to each run, which says so.
    """
    images = [one.file for one in recordings if one.kind == "nifti"]
    if settings.mask is not None or settings.atlas is None or settings.regions != "mean" or len(images) < 2:
        return settings
    beside = {mask.path: mask for mask in (find_mask(tree, file) for file in images) if mask is not None}
    try:
        masks = [read_mask(path, relative_name(path, tree.root)) for path in beside]
    except InputError:
        return settings
    if not masks or not all(
        one.voxels.shape == masks[0].voxels.shape and np.allclose(one.affine, masks[0].affine, atol=0.01)
        for one in masks[1:]
    ):
        return settings
    shared = np.logical_and.reduce([one.voxels for one in masks])
    others = tuple(one.path for one in masks[1:])
    return replace(settings, mask=replace(masks[0], voxels=shared, others=others))


def open_run(tree: BidsTree, recording: Recording, settings: RunSettings) -> Run:
    """Open one run with everything that belongs to it; of tables every number is looked at, of the rest the header.

    Parameters
    ----------
    tree : BidsTree
    recording : Recording
    settings : RunSettings
    """
    path, name = recording.file.path, relative_name(recording.file.path, tree.root)
    if recording.kind != "table" and path.is_file() and not path.stat().st_size:
        return Run(recording.run, name, dead=f"{name} is an empty file")
    opened, problems = _open(recording, name, settings)
    if isinstance(opened, Table) and not len(opened.values):
        return Run(recording.run, name, dead=f"{name} holds no rows")
    table = opened if isinstance(opened, Table) else None
    header_tr = None if opened is None or isinstance(opened, Table) else opened.header_tr
    clock, odd = read_clock(tree, recording.file, name, header_tr)
    problems = odd + problems
    if clock is not None and table is not None:
        problems += problems_in_clock(table, name, clock.tr, clock.start if clock.stated else None)
        clock, odd = clock.by_rows(clock_of(table), name)
        problems += odd
    if opened is None:
        return Run(recording.run, name, problems=problems)
    n = len(opened.values) if isinstance(opened, Table) else opened.n_samples
    beside = read_beside(tree, recording.file, name, n, settings.confounds, settings.censor, settings.trim_volumes)
    problems += beside.problems
    if n <= settings.trim_volumes:
        problems.append(
            f"{name} has {n} volumes, and {settings.trim_volumes} are to be left out at the start: nothing is left"
        )
        return Run(recording.run, name, problems=problems)
    use = np.arange(n) >= settings.trim_volumes
    use = use if beside.use is None else use & beside.use
    if not use.any() and not problems:
        return Run(recording.run, name, dead=f"{name} {NO_VOLUME}")
    series: Series | None = None
    if isinstance(opened, Table):
        series, dead, wrong = _series_of(opened, name, use)
        if dead:
            return Run(recording.run, name, dead=dead)
        problems += wrong
    elif isinstance(opened, Image):
        try:
            series = _voxels(tree, recording.file, opened, settings, use)
        except InputError as error:
            problems.append(str(error))
    else:
        series = opened
    if problems or clock is None or series is None:
        return Run(recording.run, name, problems=problems)
    return _finish(recording, name, clock.starting(settings.start).beside(settings.tr), series, beside, settings)


def _open(recording: Recording, name: str, settings: RunSettings) -> tuple[Table | Image | Series | None, list[str]]:
    """A table with its numbers, a surface or an image with its header; or what keeps it from being opened."""
    path = recording.file.path
    if recording.kind == "table":
        return read_numbers(path, name)
    try:
        if recording.kind == "nifti":
            return open_image(path, name, settings.smooth_mm), []
        return _open_surface(recording, name, settings), []
    except InputError as error:
        return None, [str(error)]


def _finish(
    recording: Recording, name: str, clock: Clock, series: Series, beside: Beside, settings: RunSettings
) -> Run:
    """Put the clock and what was recorded beside the brain to it, less the first volumes."""
    table, trim = beside.table, settings.trim_volumes
    return Run(
        recording.run,
        name,
        trimmed(series, trim),
        clock.tr,
        (clock.start or 0.0) + trim * clock.tr,
        clock.unit,
        table and replace(table, values=table.values[trim:], first_line=table.first_line + trim),
        None if beside.use is None else beside.use[trim:],
        [
            recording.file.path,
            *(other.path for other in recording.others),
            *(source.path for source in clock.sources),
            *series.inputs,
            *beside.inputs,
        ],
        [*series.notes, *beside.notes, *clock.notes, *([SAID_NOWHERE] if clock.start is None else [])],
    )


def _series_of(table: Table, name: str, use: np.ndarray) -> tuple[Series | None, str, list[str]]:
    """The regions of a table, why they are dead, and what is wrong with them, by the rows that are used."""
    regions = table.drop(CLOCK_COLUMNS)
    used = regions.values[use]
    if used.size and not np.isfinite(used).any():
        return None, f"{name} holds not one finite number", []
    constant = (used == used[:1]).all(0)
    if used.size and constant.all():
        return None, _all_constant(used[0], name), []
    problems = problems_in_regions(regions, name, use)
    problems += [
        f"{name}: column {regions.names[k]!r} is constant ({used[0, k]:g} in all {len(used)} "
        "rows): take this column or this person out"
        for k in np.flatnonzero(constant)
    ]

    def blocks() -> Iterator[np.ndarray]:
        yield regions.values.astype(np.float32)

    columns = pd.DataFrame({"roi": regions.names})
    return Series(name, columns, ("roi",), len(regions.values), blocks), "", problems


def _all_constant(first: np.ndarray, name: str) -> str:
    values = np.unique(first)
    return f"every value of {name} is {values[0]:g}" if len(values) == 1 else f"every column of {name} is constant"


def _voxels(tree: BidsTree, file: BidsFile, image: Image, settings: RunSettings, use: np.ndarray) -> Series:
    beside = find_mask(tree, file) if settings.mask is None else None
    mask = settings.mask if beside is None else read_mask(beside.path, relative_name(beside.path, tree.root))
    if settings.atlas is None:
        return open_volumes(image, mask, use)
    return by_region(image, _segmentation_for(tree, file, settings.atlas), mask, settings.regions)


def _open_surface(recording: Recording, name: str, settings: RunSettings) -> Series:
    atlas = settings.atlas
    if settings.mask is not None or settings.smooth_mm is not None or not (atlas is None or isinstance(atlas, Parcels)):
        raise InputError(
            f"{name} is a surface; masks, smoothing and label images are for volumes: leave them out (an atlas of a "
            "surface is a .label.gii, .annot or .dlabel.nii), or name the space of a volume"
        )
    right = recording.others[0].path if recording.others else None
    opened = (
        open_cifti(recording.file.path, name)
        if recording.kind == "cifti"
        else open_gifti(recording.file.path, right, name)
    )
    return opened if atlas is None else by_parcel(opened, atlas, settings.regions)


def _segmentation_for(tree: BidsTree, file: BidsFile, atlas: Atlas | Parcels | str) -> Atlas:
    if isinstance(atlas, Atlas):
        return atlas
    if isinstance(atlas, Parcels):
        raise InputError(
            f"{atlas.name} has regions of a surface, {file.path.name} is a volume: name the space of a surface"
        )
    found = find_atlas(tree, file, atlas)
    if found is None:
        there = dict.fromkeys(repr(space_of(other) or UNNAMED) for other in segmentations(tree, atlas))
        raise InputError(
            f"no segmentation {atlas!r} goes with {relative_name(file.path, tree.root)}: looked for atlas-, seg- or "
            f"desc-{atlas}_dseg.nii.gz of its space and resolution; there are some of the space {', '.join(there)}: "
            "name that, or the atlas by its path"
        )
    segmentation, table = found
    return read_atlas(segmentation.path, relative_name(segmentation.path, tree.root), table)
