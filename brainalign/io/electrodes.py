"""Where does each electrode lie, and in which frame, by electrodes.tsv and coordsystem.json?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from brainalign.io.bids import BidsFile, BidsTree, read_json
from brainalign.io.channels import read_table
from brainalign.io.contacts import match_names
from brainalign.io.nwb import ElectrodeTable
from brainalign.io.people import list_names
from brainalign.provenance import relative_name

KEYS = ("iEEG", "EEG", "MEG")  # before CoordinateSystem and CoordinateUnits
MILLIMETRES = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3}
HEAD = 300.0  # mm: nothing in or on a head is further from where its frame begins
NO_FRAME = "n/a"


@dataclass(frozen=True)
class Positions:
    """Electrodes and where they lie.

    Parameters
    ----------
    table : DataFrame
        `name`, `x`, `y`, `z` (mm, missing where they are n/a), `dimension` of its grid or shaft ("[4x8]"), else "".
    frame : str
        The coordinate system as coordsystem.json calls it ("ACPC", "MNI152NLin2009cAsym"); "n/a" where nobody says.
    inputs : list of BidsFile
    notes, problems : list of str
    """

    table: pd.DataFrame
    frame: str = NO_FRAME
    inputs: list[BidsFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_positions(tree: BidsTree, file: BidsFile, space: str | None = None) -> Positions:
    """The electrodes of a recording, in one frame.

    Parameters
    ----------
    tree : BidsTree
    file : BidsFile
        The recording.
    space : str, optional
        Label of the `space-` entity that is meant, or the name of a coordinate system; needed where there are several.
    """
    none = pd.DataFrame({"name": [], "x": [], "y": [], "z": [], "dimension": []})
    found = _beside(tree, file, "electrodes", ".tsv")
    spaces = {f.entities.get("space", ""): f for f in found}  # of one space, the one that says most
    systems = {label: _system(tree, file, label, len(spaces)) for label in spaces}
    if not spaces:
        note = "no electrodes.tsv: positions are not known" + f", {space!r} among them" * (space is not None)
        return Positions(none, notes=[note])
    where = " and ".join(f"space-{one}" if one else "without a space" for one in spaces)
    if space is not None:
        label = next((one for one in spaces if space in (one, _frame(systems[one][0], one))), None)
        if label is None:
            return Positions(none, problems=[f"sub-{file.entities['sub']} has electrodes {where}, not {space!r}"])
    elif len(spaces) > 1:
        names = ", ".join(repr(one or _frame(systems[one][0], one)) for one in spaces)
        said = (
            f"sub-{file.entities['sub']} has electrodes in several frames ({where}): name one of {names} as coordinates"
        )
        return Positions(none, problems=[said])
    else:
        label = next(iter(spaces))
    said, source = systems[label]
    return _positions(tree, spaces[label], said, source, _frame(said, label))


def positions_in_file(places: ElectrodeTable, name: str, space: str | None = None) -> Positions:
    """The electrodes of a recording by the file itself, where there is no electrodes.tsv.

    Parameters
    ----------
    places : ElectrodeTable
    name : str
        What to call the file in sentences.
    space : str, optional
        The coordinate system that is meant; positions in another one are not taken.
    """
    frame = places.frame
    said = f"no electrodes.tsv: {name} itself has positions, in " + (
        "a frame that it does not name" if frame == NO_FRAME else frame
    )
    if space not in (None, frame):
        return Positions(
            places.table.iloc[:0].assign(dimension=""), notes=[f"{said}, not {space!r}: they are not taken"]
        )
    table = places.table.assign(dimension="")
    xyz, notes = _in_mm(table[["x", "y", "z"]].to_numpy(copy=True), places.unit, name)
    table[["x", "y", "z"]] = xyz
    return Positions(table, frame, notes=[f"{said}, and these are taken, axes as they stand", *notes])


def place_channels(names: Sequence[str], positions: Positions) -> tuple[pd.DataFrame, list[str]]:
    """`x`, `y`, `z`, `dimension`, `frame` of each channel, and what did not match.

    Parameters
    ----------
    names : sequence of str
    positions : Positions
    """
    matched = match_names(names, positions.table["name"].tolist())
    rows = positions.table.set_index("name").reindex([matched.pairs.get(name, "") for name in names])
    placed = pd.DataFrame({axis: rows[axis].to_numpy(float) for axis in "xyz"})
    placed["frame"] = np.where(np.isfinite(placed["x"]), positions.frame, NO_FRAME)
    placed["dimension"] = [text if isinstance(text, str) else "" for text in rows["dimension"]]
    notes = []
    if len(positions.table):
        if matched.respelled:
            pairs = list_names([f"{one} is {other}" for one, other in matched.respelled])
            notes.append(f"electrodes.tsv spells names in another way: {pairs}")
        if matched.first_only:
            who = list_names(matched.first_only)
            notes.append(f"{len(matched.first_only)} of {len(names)} channels are not in electrodes.tsv: {who}")
        if matched.second_only:
            who = list_names(matched.second_only)
            notes.append(f"{len(matched.second_only)} electrodes are not among the channels: {who}")
        lost = [name for name, x in zip(names, placed["x"]) if name in matched.pairs and not np.isfinite(x)]
        if lost:
            notes.append(f"{len(lost)} electrodes have no position (n/a): {list_names(lost)}")
    return placed, notes


def _positions(
    tree: BidsTree, file: BidsFile, said: Mapping[str, Any], source: BidsFile | None, frame: str
) -> Positions:
    name = relative_name(file.path, tree.root)
    text, problems = read_table(file.path, name)
    missing = [axis for axis in "xyz" if axis not in text.columns]
    if missing and not problems:
        problems = [f"{name} has no column {', '.join(map(repr, missing))}: a position is x, y and z"]
    if problems:
        return Positions(text, problems=problems)
    table = pd.DataFrame({"name": text["name"], "dimension": text.get("dimension", "")})
    for axis in "xyz":
        numbers = pd.to_numeric(text[axis], errors="coerce").astype(float)
        odd = np.flatnonzero(numbers.isna().to_numpy() & text[axis].ne("").to_numpy())
        if len(odd):
            cell = text[axis].iloc[odd[0]]
            problems.append(
                f"{name}, line {odd[0] + 2}, column {axis!r}: {cell!r} is not a number; n/a where none is known"
            )
        table[axis] = numbers
    xyz = table[["x", "y", "z"]].to_numpy(copy=True)
    xyz[~np.isfinite(xyz).all(1)] = np.nan
    unit = next((str(said[f"{key}CoordinateUnits"]) for key in KEYS if f"{key}CoordinateUnits" in said), "n/a")
    xyz, notes = _in_mm(xyz, unit, name)
    table[["x", "y", "z"]] = xyz
    if source is None:
        notes.append(
            f"no coordsystem.json goes with {name}: the frame is " + (frame if frame != NO_FRAME else "not known")
        )
    return Positions(table, frame, [file] if source is None else [file, source], notes, problems)


def _in_mm(xyz: np.ndarray, unit: str, name: str) -> tuple[np.ndarray, list[str]]:
    """Positions in millimetres, by the unit that is said if a head of that size can be."""
    if unit.lower() in ("pixels", "pixel", "px"):
        return np.full_like(xyz, np.nan), [f"{name} is in pixels of a picture: positions are not known"]
    known = np.abs(xyz[np.isfinite(xyz).all(1)]).max(1)
    size = float(np.median(known)) if len(known) else 0.0  # one that is far off does not change the unit
    fits = [word for word, factor in MILLIMETRES.items() if HEAD / 100 < size * factor < HEAD] if size else [unit]
    best = unit if unit in fits or (unit in MILLIMETRES and not fits) else (fits or ["mm"])[0]
    notes = [f"{name}: coordinates are about {size:.3g} and said to be in {unit}: taken in {best}"] * (best != unit)
    placed = xyz * MILLIMETRES.get(best, 1.0)
    far = int((known * MILLIMETRES.get(best, 1.0) > HEAD).sum())
    notes += [f"{name}: {far} positions are more than {HEAD:g} mm from where the frame begins"] * bool(far)
    return placed, notes


def _system(tree: BidsTree, file: BidsFile, space: str, several: int) -> tuple[dict[str, Any], BidsFile | None]:
    """What coordsystem.json says of one space, and the file; one without a space goes with the only electrodes."""
    found = _beside(tree, file, "coordsystem", ".json")
    mine = [f for f in found if f.entities.get("space", "") == space]
    if not mine and several == 1:
        mine = found
    return (read_json(mine[-1].path), mine[-1]) if mine else ({}, None)


def _frame(said: Mapping[str, Any], space: str) -> str:
    for key in KEYS:
        system = said.get(f"{key}CoordinateSystem")
        if isinstance(system, str) and system not in ("", "n/a"):
            about = said.get(f"{key}CoordinateSystemDescription")
            return f"Other: {about}" if system == "Other" and about else system
    return space or NO_FRAME


def _beside(tree: BidsTree, file: BidsFile, suffix: str, extension: str) -> list[BidsFile]:
    """Files that speak of a recording's electrodes, the most general first: in any space, of no other person or run."""
    found = []
    for depth in range(len(file.folder) + 1):
        for other in tree.in_folder(file.folder[:depth], suffix, extension):
            entities = {key: label for key, label in other.entities.items() if key != "space"}
            if other.dataset in ("", file.dataset) and entities.items() <= file.entities.items():
                found.append((depth, len(entities), other))
    return [other for _, _, other in sorted(found, key=lambda one: one[:2])]
