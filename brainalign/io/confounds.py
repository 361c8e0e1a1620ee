"""What was recorded beside a run, what of it is kept, and which volumes does it say to leave out?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from brainalign.io.bids import BidsFile, BidsTree
from brainalign.io.recordings import is_confounds, same_recording
from brainalign.io.tables import Table, read_confounds
from brainalign.provenance import relative_name


@dataclass(frozen=True)
class Beside:
    """What was recorded beside a run."""

    table: Table | None = None
    use: np.ndarray | None = None
    inputs: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_beside(
    tree: BidsTree,
    recording: BidsFile,
    name: str,
    n_rows: int,
    asked: Sequence[str] | Mapping[str, Any] | None = None,
    censor: Mapping[str, Any] | None = None,
) -> Beside:
    """Read the confounds of a run."""
    file, notes = find_confounds(tree, recording)
    if file is None:
        return Beside(notes=notes)
    beside = relative_name(file.path, tree.root)
    table, problems, said = read_confounds(file.path, beside)
    if table is not None and len(table.values) != n_rows:
        problems = [
            *problems,
            f"{beside} has {len(table.values)} rows, {name} has {n_rows}: "
            "both have one per volume; cut the volumes dropped from one out of the other",
        ]
    return Beside(table, None, [file.path], [*notes, *said], problems)


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
