"""What is in one run's file, on which clock, and is anything wrong with it?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.io.bids import BidsFile, BidsTree
from brainalign.io.clock import Clock, read_clock
from brainalign.io.recordings import Recording, is_confounds, same_recording
from brainalign.io.tables import (
    CLOCK_COLUMNS,
    Table,
    clock_of,
    problems_in_clock,
    problems_in_regions,
    read_confounds,
    read_numbers,
)
from brainalign.io.volumes import Mask, Volumes, find_mask, read_mask, read_volumes
from brainalign.provenance import relative_name

NO_START = "nothing says when the first volume was taken (StartTime, SliceTiming): taken as 0 s"


@dataclass(frozen=True)
class Run:
    """One run of one person, read; or what keeps it from being read.

    Parameters
    ----------
    label : str
        Of the run.
    name : str
        Of the file, within the tree.
    table, volumes : Table or Volumes, optional
        The regions or the voxels; neither where there are problems.
    tr, start, unit
        As in `Clock`, the start 0 where nothing is known.
    confounds : Table, optional
    inputs : list of Path
        Every file that was read.
    notes, problems : list of str
    dead : str
        Why the run says nothing (empty, constant), else "".
    """

    label: str
    name: str
    table: Table | None = None
    volumes: Volumes | None = None
    tr: float = 0.0
    start: float = 0.0
    unit: str = ""
    confounds: Table | None = None
    inputs: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    dead: str = ""

    @property
    def n_volumes(self) -> int:
        """How many volumes there are."""
        values = (
            self.table.values if self.table is not None else self.volumes.values if self.volumes is not None else ()
        )
        return len(values)

    def samples(self) -> pd.DataFrame:
        """The run's rows of a Signal's samples table."""
        return pd.DataFrame({"run": self.label, "time": self.start + self.tr * np.arange(self.n_volumes)})


def read_run(tree: BidsTree, recording: Recording, mask: Mask | None) -> Run:
    """Read one run with everything that belongs to it, and look at every number.

    Parameters
    ----------
    tree : BidsTree
    recording : Recording
    mask : Mask, optional
        For images; None: the brain mask beside them, or the brain that is found in them.
    """
    name = relative_name(recording.file.path, tree.root)
    clock, problems = read_clock(tree, recording.file, name)
    read = _read_table if recording.kind == "table" else _read_image
    return read(tree, recording, name, clock, problems, mask)


def _read_table(
    tree: BidsTree, recording: Recording, name: str, clock: Clock | None, problems: list[str], mask: Mask | None
) -> Run:
    del mask  # a table has no voxels
    table, broken = read_numbers(recording.file.path, name)
    if table is None:
        return Run(recording.run, name, problems=problems + broken)
    regions = table.drop(CLOCK_COLUMNS)
    dead = _why_dead(regions.values, name)
    if dead:
        return Run(recording.run, name, dead=dead, problems=problems)
    problems = problems + problems_in_regions(regions, name)
    problems += [
        f"{name}: column {regions.names[k]!r} is constant ({regions.values[0, k]:g} in all {len(regions.values)} "
        "rows): take this column or this person out"
        for k in np.flatnonzero((regions.values == regions.values[:1]).all(0))
    ]
    times = clock_of(table)
    if clock is not None:
        problems += problems_in_clock(table, name, clock.tr, clock.start)
        clock = clock.starting(None if times is None else float(times[0]))
    return _finish(tree, recording, name, clock, problems, regions, None, [])


def _read_image(
    tree: BidsTree, recording: Recording, name: str, clock: Clock | None, problems: list[str], mask: Mask | None
) -> Run:
    path, inputs = recording.file.path, []
    if path.is_file() and not path.stat().st_size:
        return Run(recording.run, name, dead=f"{name} is an empty file")
    try:
        beside = find_mask(tree, recording.file) if mask is None else None
        if beside is not None:
            mask = read_mask(beside.path, relative_name(beside.path, tree.root))
        inputs += [mask.path] if mask is not None else []
        volumes = read_volumes(path, name, mask)
    except InputError as error:
        return Run(recording.run, name, problems=[*problems, str(error)])
    dead = _why_dead(volumes.values, name)
    if dead:
        return Run(recording.run, name, dead=dead, problems=problems)
    finite = np.isfinite(volumes.values)
    patchy = finite.any(0) & ~finite.all(0)
    if patchy.any():
        voxel = int(np.flatnonzero(patchy)[0])
        volume = int(np.flatnonzero(~finite[:, voxel])[0])
        ijk = ", ".join(map(str, np.argwhere(volumes.mask)[voxel]))
        problems = [
            *problems,
            f"{name}: not a finite number in volume {volume + 1}, voxel ({ijk}), and in {int(patchy.sum())} voxels in "
            "all: write the image again, or name a mask without them",
        ]
    if clock is not None and volumes.header_tr is not None and abs(volumes.header_tr - clock.tr) > 1e-3 * clock.tr:
        problems = [
            *problems,
            f"{name}: its json says RepetitionTime {clock.tr:g} s, its header says {volumes.header_tr:g} s: "
            "find out which is right and correct the other",
        ]
    return _finish(tree, recording, name, clock, problems, None, volumes, inputs)


def _finish(
    tree: BidsTree,
    recording: Recording,
    name: str,
    clock: Clock | None,
    problems: list[str],
    table: Table | None,
    volumes: Volumes | None,
    inputs: list[Path],
) -> Run:
    """Put the clock and what was recorded beside the brain to it."""
    values = table.values if table is not None else volumes.values if volumes is not None else np.zeros((0, 0))
    file, notes = find_confounds(tree, recording.file)
    confounds = None
    if file is not None:
        beside = relative_name(file.path, tree.root)
        confounds, broken, said = read_confounds(file.path, beside)
        problems, notes = problems + broken, notes + said
        if confounds is not None and len(confounds.values) != len(values):
            problems = [
                *problems,
                f"{beside} has {len(confounds.values)} rows, {name} has {len(values)}: "
                "both have one per volume; cut the volumes dropped from one out of the other",
            ]
        inputs = [*inputs, file.path]
    if problems or clock is None:
        return Run(recording.run, name, problems=problems)
    if clock.start is None:
        notes = [*notes, NO_START]
    return Run(
        recording.run,
        name,
        table,
        volumes,
        clock.tr,
        clock.start or 0.0,
        clock.unit,
        confounds,
        [recording.file.path, *(source.path for source in clock.sources), *inputs],
        notes,
    )


def find_confounds(tree: BidsTree, recording: BidsFile) -> tuple[BidsFile | None, list[str]]:
    """The confounds of a recording: those of its own pipeline, else those of the only pipeline that has some."""
    forms = [(suffix, extension) for suffix in ("timeseries", "regressors") for extension in (".tsv", ".txt")]
    near = [file for form in forms for file in tree.in_folder(recording.folder, *form)]
    fits = [file for file in near if is_confounds(file) and same_recording(file, recording)]
    own = [file for file in fits if file.dataset == recording.dataset]
    tables = [file for file in own or fits if file.extension == ".tsv"] or own or fits
    if len(tables) > 1:
        names = ", ".join(sorted({f"derivatives/{file.dataset}: {file.path.name}" for file in tables})[:4])
        return None, [f"several tables of confounds, none of them used ({names})"]
    return (tables[0] if tables else None), []


def _why_dead(values: np.ndarray, name: str) -> str:
    """Why a recording says nothing at all; "" where it says something."""
    if not len(values):
        return f"{name} holds no rows"
    if not values.size or (values != values[:1]).any():
        # a column of NaN differs from itself, and is another problem
        return "" if not values.size or np.isfinite(values).any() else f"{name} holds not one finite number"
    first = np.unique(values[0])
    return f"every value of {name} is {first[0]:g}" if len(first) == 1 else f"every column of {name} is constant"
