"""What is in one run's recording of electrodes or sensors, and what do the files beside it say of it?"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.io.bids import BidsFile, BidsTree
from brainalign.io.channels import (
    BRAIN,
    Datatype,
    in_volts,
    look_at,
    looks_like_trigger,
    note_left_out,
    read_table,
    shafts_of,
    sort_channels,
    wanted_channels,
)
from brainalign.io.electrodes import place_channels, positions_in_file, read_positions
from brainalign.io.people import list_names
from brainalign.io.raw import RawFile, open_raw, some_channels
from brainalign.io.tables import MISSING, read_cells
from brainalign.provenance import relative_name

BAD = re.compile(r"^(\w+/)?bad|seizure|\bartefact|\bartifact|^ictal", re.I)  # do not use; mne writes Comment/bad
BREAK = re.compile(r"boundary|new segment/?", re.I)  # what EEGLAB and BrainVision write where a recording was cut
LATE_S = 1.0  # by how much the duration of a sidecar may differ
COLUMNS = ["name", "type", "status", "reason", "shaft", "number", "x", "y", "z", "frame", "group", "dimension"]


@dataclass(frozen=True, eq=False)
class Opened:
    """One run of one person, opened and not yet read.

    Parameters
    ----------
    name : str
        What to call it in sentences.
    channels : DataFrame, one row per channel
        Data only, good and bad: `name`, `type` (BIDS: "SEEG", "ECOG", "EEG", "MEGMAG", …), `status` ("good", "bad"),
        `reason` (why it is bad), `shaft`, `number`, `x`, `y`, `z` (mm), `frame`, `group` (of cables or amplifiers),
        `dimension` (of its grid).
    fs : float
        Hz.
    n_samples : int
    blocks : function (start, stop) → array (stop − start, n_channels), float64
        Those samples, in volts (teslas, or teslas per metre, of MEG).
    annotations : DataFrame
        `onset`, `duration` (s from the first sample), `description`, `bad` (whether it says: do not use, or that the
        recording was cut there).
    line_freq : float or None
        Hz; None where the sidecar does not say.
    inputs : list of Path
    notes : list of str
    dead : str
        Why the run says nothing (it has no sample), else "".
    """

    name: str
    channels: pd.DataFrame
    fs: float
    n_samples: int
    blocks: Callable[[int, int], np.ndarray]
    annotations: pd.DataFrame
    line_freq: float | None = None
    inputs: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dead: str = ""


def open_recording(
    tree: BidsTree,
    file: BidsFile,
    datatype: Datatype = "ieeg",
    wanted: str | Sequence[str] | None = None,
    space: str | None = None,
) -> Opened:
    """Open one recording with everything that belongs to it; of the samples, ten seconds are looked at.

    Parameters
    ----------
    tree : BidsTree
    file : BidsFile
    datatype : "ieeg", "eeg" or "meg"
    wanted : str or sequence of str, optional
        Names or types of channels; by default those that measure the brain.
    space : str, optional
        As in `read_positions`.

    Raises
    ------
    InputError
        Whatever keeps it from being read, of one file.
    """
    name = relative_name(file.path, tree.root)
    empty = _nothing_in(file.path)
    if empty:
        return _dead(name, f"{name}: {empty}")
    opened = open_raw(file.path, name)
    tables = tree.inherited(file, "channels", ".tsv")
    table, problems = None, []
    if tables:
        table, problems = read_table(tables[-1].path, relative_name(tables[-1].path, tree.root))
    positions = read_positions(tree, file, space)
    if problems + positions.problems:
        raise InputError("; ".join(problems + positions.problems))
    if not positions.inputs and opened.places is not None:
        positions = positions_in_file(opened.places, name, space)
    if not opened.n_samples:
        return _dead(name, f"{name} has no sample")
    every = sort_channels(opened, table, datatype, positions.table["name"].tolist())
    if every.problems:
        raise InputError("; ".join(every.problems))
    rows = _data(every.table, wanted, name, datatype)
    notes = [*opened.notes, *every.notes]
    mine = rows[rows["why"].eq("")]
    opened = _narrowed(opened, file.path, mine["name"].tolist())
    seen = look_at(opened.read, opened.n_samples, opened.fs)
    seen = np.where(np.isfinite(seen), seen, np.nan)
    trigger = looks_like_trigger(seen) if wanted is None else np.zeros(len(mine), bool)
    rows.loc[mine.index[trigger], "why"] = "values are a few steps as of a trigger, whatever its type"
    notes += note_left_out(rows)
    mine, seen = mine[~trigger].reset_index(drop=True), seen[:, ~trigger]
    if not len(mine):
        raise InputError(f"{name} has no channel of the brain left: {'; '.join(note_left_out(rows))}")
    opened = some_channels(opened, mine["name"].tolist()) if trigger.any() else opened
    factor = np.ones(len(mine))
    if datatype != "meg":
        good = mine["status"].eq("good").to_numpy()
        scaled = in_volts(opened, mine, np.where(good | ~good.any(), _deviation(seen), np.nan))
        if scaled.problems:
            raise InputError("; ".join(scaled.problems))
        factor, notes = scaled.factor, notes + scaled.notes
    placed, said = place_channels(mine["name"].tolist(), positions)
    notes += [*positions.notes, *said]
    silent = ~np.isfinite(seen).any(0) & mine["status"].eq("good").to_numpy()
    mine.loc[silent, ["status", "reason"]] = ["bad", "holds no finite number where it was looked at"]
    sidecar, sources = tree.sidecar(file)
    line, more = _sidecar_says(sidecar, opened, name)
    annotations, events, clipped = _annotations(tree, file, opened)
    if _covered(annotations, opened.n_samples / opened.fs):
        return _dead(name, f"{name}: annotations say that nothing of it is to be used")
    plain = bool((factor == 1).all())
    return Opened(
        name,
        pd.concat([mine, shafts_of(mine), placed], axis=1)[COLUMNS],
        opened.fs,
        opened.n_samples,
        opened.read if plain else lambda start, stop: opened.read(start, stop) * factor,
        annotations,
        line,
        [*opened.inputs, *(f.path for f in (*tables[-1:], *positions.inputs, *sources, *events))],
        [*notes, *more, *clipped],
    )


def _data(every: pd.DataFrame, wanted: str | Sequence[str] | None, name: str, datatype: Datatype) -> pd.DataFrame:
    """Every channel, with why it is not to be read."""
    rows = every.copy()
    if wanted is None:
        if not rows["why"].eq("").any():
            types = ", ".join(dict.fromkeys(rows["type"]))
            raise InputError(
                f"{name} has no channel of type {', '.join(BRAIN[datatype])}; types are {types}: name those that are "
                "meant as channels"
            )
        return rows
    meant = wanted_channels(rows, wanted, name)
    rows.loc[meant, "why"] = ""
    rows.loc[~meant & rows["why"].eq(""), "why"] = "not asked for"
    return rows


def _narrowed(opened: RawFile, path: Path, names: list[str]) -> RawFile:
    """Those channels, at their own rate where others of the file are faster."""
    opened = open_raw(path, opened.name, only=names) if opened.rates else some_channels(opened, names)
    if opened.rates:
        slow = list_names([f"{one} ({rate:g} Hz)" for one, rate in opened.rates.items()])
        raise InputError(
            f"{opened.name} holds channels of several sampling rates, {opened.fs:g} Hz and {slow}: name those of one "
            "rate as channels, or export them apart"
        )
    return opened


def _sidecar_says(sidecar: dict[str, Any], opened: RawFile, name: str) -> tuple[float | None, list[str]]:
    """Line noise (Hz), and where else sidecar and file differ."""
    line, fs, lasts = (sidecar.get(key) for key in ("PowerLineFrequency", "SamplingFrequency", "RecordingDuration"))
    notes = []
    if isinstance(fs, (int, float)) and abs(fs - opened.fs) > 1e-3 * opened.fs:
        notes.append(f"{name}: its json says {fs:g} Hz, the file {opened.fs:g} Hz: the file's taken")
    there = opened.n_samples / opened.fs
    if isinstance(lasts, (int, float)) and abs(lasts - there) > max(LATE_S, 1e-3 * there):
        notes.append(f"{name}: its json says {lasts:g} s, the file has {there:g} s: is it whole?")
    if isinstance(line, (int, float)) and not isinstance(line, bool) and line > 0:
        return float(line), notes
    return None, [*notes, f"{name}: no sidecar says PowerLineFrequency"]


def _annotations(tree: BidsTree, file: BidsFile, opened: RawFile) -> tuple[pd.DataFrame, list[BidsFile], list[str]]:
    """The file's own, and those of events.tsv that say what is not to be used; clipped to the recording."""
    end, table, notes = opened.n_samples / opened.fs, opened.annotations, []
    sources = tree.inherited(file, "events", ".tsv")[-1:]
    if sources:
        more = _bad_events(sources[0], relative_name(sources[0].path, tree.root))
        table = pd.concat([table, more], ignore_index=True) if len(more) else table
        sources = sources if len(more) else []
    start, stop = table["onset"].to_numpy(float), (table["onset"] + table["duration"]).to_numpy(float)
    outside = (start >= end) | (stop < 0)
    over = ~outside & ((stop > end + 0.5 / opened.fs) | (start < 0))
    cut = np.array([BREAK.fullmatch(text) is not None for text in table["description"]], bool) & (start > 0)
    bad = _says_bad(table["description"]) | cut
    if (outside & bad).any():
        notes.append(f"{opened.name}: {int((outside & bad).sum())} annotations outside 0 to {end:g} s are left out")
    if (over & bad).any():
        notes.append(
            f"{opened.name}: {int((over & bad).sum())} annotations go beyond the recording and are clipped to it"
        )
    start, stop = np.clip(start, 0, end), np.clip(stop, 0, end)
    table = pd.DataFrame({"onset": start, "duration": stop - start, "description": table["description"], "bad": bad})
    return table[~outside].reset_index(drop=True), sources, notes


def says_bad(description: str) -> bool:
    """Whether an annotation says that what it covers is not to be used.

    Examples
    --------
    >>> [says_bad(text) for text in ("BAD_move", "Comment/bad", "Seizure onset", "the word bad")]
    [True, True, True, False]
    """
    return BAD.search(description) is not None


def _says_bad(descriptions: pd.Series) -> np.ndarray:
    return np.array([says_bad(text) for text in descriptions], bool)


def _bad_events(file: BidsFile, name: str) -> pd.DataFrame:
    names, rows, problems = read_cells(file.path, name)
    if problems:
        raise InputError("; ".join(problems))
    if not {"onset", "duration", "trial_type"} <= set(names):
        return pd.DataFrame({"onset": [], "duration": [], "description": []})
    table = pd.DataFrame(rows, columns=names, dtype="object")
    table = table[_says_bad(table["trial_type"])]
    missing = table[["onset", "duration"]].apply(lambda column: column.str.strip().str.lower().isin(MISSING))
    if missing.to_numpy().any():
        raise InputError(f"{name}: {table['trial_type'][missing.any(axis=1)].iloc[0]!r} has no onset or no duration")
    times = table[["onset", "duration"]].apply(pd.to_numeric, errors="coerce").astype(float)
    odd = np.flatnonzero(~np.isfinite(times.to_numpy()).all(axis=1))
    if len(odd):
        onset, duration, what = table[["onset", "duration", "trial_type"]].iloc[odd[0]]
        raise InputError(f"{name}: {what!r} is at {onset!r} for {duration!r} s: write seconds, as 1.5")
    return times.assign(description=table["trial_type"].astype(str)).reset_index(drop=True)


def _covered(annotations: pd.DataFrame, end: float) -> bool:
    """Whether those that say: do not use leave nothing."""
    reached = 0.0
    for _, row in annotations[annotations["bad"]].sort_values("onset").iterrows():
        if row["onset"] > reached:
            return False
        reached = max(reached, row["onset"] + row["duration"])
    return reached >= end


def _nothing_in(path: Path) -> str:
    """Why a recording is empty, by the size of its files; "" where it is not."""
    samples = {".vhdr": (".eeg", ".dat"), ".set": (".fdt",)}.get(path.suffix, ())
    for part in (path, *(path.with_suffix(ending) for ending in samples)):
        if part.is_file() and not part.stat().st_size:
            return f"{part.name} is an empty file"
    return ""


def _dead(name: str, why: str) -> Opened:
    none = pd.DataFrame({"onset": [], "duration": [], "description": [], "bad": []})
    return Opened(name, pd.DataFrame(columns=COLUMNS), 0.0, 0, lambda _, __: np.zeros((0, 0)), none, dead=why)


def _deviation(seen: np.ndarray) -> np.ndarray:
    """Of each channel, where it was looked at; NaN for one without a number."""
    finite = np.isfinite(seen).any(0)
    out = np.full(seen.shape[1], np.nan)
    out[finite] = np.nanstd(seen[:, finite], axis=0)
    return out
