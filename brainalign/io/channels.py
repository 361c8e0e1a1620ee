"""Which channels of a recording measure the brain, which of them are bad, and in which unit?"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.io.contacts import contact_of, duplicates, match_names
from brainalign.io.people import list_names
from brainalign.io.raw import VOLTS, RawFile, unit_of
from brainalign.io.tables import MISSING, read_cells

Datatype = Literal["ieeg", "eeg", "meg"]

BRAIN: Mapping[str, tuple[str, ...]] = {  # the types of channels.tsv that are the brain's, in each kind of recording
    "ieeg": ("ECOG", "SEEG", "DBS"),
    "eeg": ("EEG",),
    "meg": ("MEGMAG", "MEGGRAD", "MEGGRADAXIAL", "MEGGRADPLANAR"),
}
OTHER = ("EEG", "EOG", "ECG", "EMG", "MISC", "TRIG", "REF", "AUDIO", "PD", "EYEGAZE", "PUPIL", "GSR", "RESP", "TEMP")
BY_MNE = {"mag": "MEGMAG", "grad": "MEGGRAD", "stim": "TRIG", "seeg": "SEEG", "ecog": "ECOG", "dbs": "DBS"}
PLAUSIBLE = (1e-7, 2e-2)  # V, the standard deviation of what an electrode measures: 0.1 µV to 20 mV
NOT_BRAIN = re.compile(
    r"(STI|STIM|TRIG|TRIGGER|STATUS|EVENTS?|MARKERS?|TTL|DC|PHOTO|DIODE|AUDIO|MIC|EKG|ECG|EMG|EOG|SPO2|OSAT|PR|PULSE)"
    r"[ _-]*(IN)?[ _-]*\d*",
    re.I,
)
FEW = 16  # values that differ: an amplifier gives thousands, a trigger a few


@dataclass(frozen=True)
class Sorted:
    """Every channel of a file, and what is known of it.

    Parameters
    ----------
    table : DataFrame, one row per channel of the file
        `name`, `type`, `status` ("good" or "bad"), `reason`, `group`, `units` (channels.tsv's, "" where it says none),
        `why` (why it is no data, else "").
    notes, problems : list of str
    """

    table: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_table(path: Path, name: str) -> tuple[pd.DataFrame, list[str]]:
    """A table of channels or of electrodes as text, n/a as "", and what is wrong with it.

    Parameters
    ----------
    path : Path
    name : str
        What to call it in sentences.
    """
    names, rows, problems = read_cells(path, name)
    if not problems and "name" not in names:
        problems = [f"{name} has no column 'name'; found {', '.join(names) or 'none'}: write the table again"]
    if problems:
        return pd.DataFrame({"name": []}), problems
    clean = [[("" if cell.strip().lower() in MISSING else cell.strip()) for cell in row] for row in rows]
    table = pd.DataFrame(clean, columns=names, dtype="object")
    twice = duplicates(table["name"].tolist())
    if twice:
        problems = [f"{name} has several rows for {', '.join(map(repr, twice[:5]))}: leave one of each"]
    return table, problems


def sort_channels(opened: RawFile, table: pd.DataFrame | None, datatype: Datatype, known: Sequence[str] = ()) -> Sorted:
    """Put the channels of a file beside their table, and say which are data.

    Types are channels.tsv's, else what mne takes a channel for; which are bad, channels.tsv's, else what the file says.
    What the table does not list is no data.

    Parameters
    ----------
    opened : RawFile
    table : DataFrame or None
        As `read_table` reads channels.tsv.
    datatype : "ieeg", "eeg" or "meg"
    known : sequence of str
        Electrodes that have a position: these are contacts, whatever they are called.
    """
    names, notes, listed = opened.names, [], np.ones(len(opened.names), bool)
    kinds = [_type_of(kind, datatype) for kind in opened.kinds]
    by_file = ["bad" if name in opened.bads else "good" for name in names]
    who = "the file itself"  # says which are bad
    if table is None:
        rows = pd.DataFrame({"name": names, "type": kinds, "status": by_file, "reason": "", "group": "", "units": ""})
        taken = "which are bad too" if opened.bads else "every channel is taken as good"
        notes.append(f"no channels.tsv: types are the file's own, {taken}")
    else:
        matched = match_names(names, table["name"].tolist())
        if not matched.pairs:
            return Sorted(
                pd.DataFrame(),
                problems=[
                    f"{opened.name}: not one channel is in channels.tsv, which names "
                    f"{list_names(matched.second_only)}; the file has {list_names(names)}"
                ],
            )
        listed = np.array([one in matched.pairs for one in names])
        notes += _note_names(opened.name, matched.respelled, matched.second_only)
        by_name = table.set_index("name").reindex([matched.pairs.get(one, "") for one in names])
        cell = lambda column: [  # noqa: E731
            text if isinstance(text, str) else "" for text in by_name.get(column, pd.Series(index=by_name.index))
        ]
        types, status = cell("type"), cell("status")
        who = "channels.tsv" if any(status) else who
        if not any(types):
            notes.append(f"{opened.name}: channels.tsv says no type: types are the file's own")
        rows = pd.DataFrame(
            {
                "name": names,
                "type": [text.upper() for text in types] if any(types) else kinds,
                "status": ["bad" if text.lower() == "bad" else "good" for text in status] if any(status) else by_file,
                "reason": cell("status_description"),
                "group": cell("group"),
                "units": cell("units"),
            }
        )
    contacts = set(match_names(names, list(known)).pairs)
    rows["why"] = [
        _why_not(one, kind, there, one in contacts, datatype)
        for one, kind, there in zip(rows["name"], rows["type"], listed.tolist(), strict=True)
    ]
    bad = rows["status"].eq("bad") & rows["reason"].eq("")
    rows.loc[bad, "reason"] = f"bad by {who}"
    return Sorted(rows, notes)


def note_left_out(table: pd.DataFrame) -> list[str]:
    """One note for each reason why channels are no data."""
    left = table[table["why"].ne("")]
    return [
        f"{len(rows)} channel{'s' * (len(rows) != 1)} left out, {why}: {list_names(rows['name'].tolist())}"
        for why, rows in left.groupby("why", sort=False)
    ]


@dataclass(frozen=True)
class Scaled:
    """What the values of each channel are to be multiplied by to be in volts.

    Parameters
    ----------
    factor : array (n_channels,)
    notes, problems : list of str
    """

    factor: np.ndarray
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def in_volts(opened: RawFile, table: pd.DataFrame, deviation: np.ndarray) -> Scaled:
    """Which unit values have, where header, channels.tsv and their size may disagree.

    The header is believed first, then channels.tsv, then what the format usually holds; the first of these under which
    the median deviation is one that electrodes have (0.1 µV to 20 mV) is taken, and a note says so where it was not the
    first word.

    Parameters
    ----------
    opened : RawFile
    table : DataFrame
        Rows of `Sorted.table`: data only.
    deviation : array (n_channels,)
        Standard deviation of what `opened.read` gives.
    """
    units = dict(zip(opened.names, opened.units))
    factor, notes, problems = np.ones(len(table)), [], []
    stated = [(units[one], unit_of(said)) for one, said in zip(table["name"], table["units"])]
    for pair in dict.fromkeys(stated):
        here = np.array([other == pair for other in stated])
        header, said = pair
        scale = _scale(header, said, opened.assumed, deviation[here])
        if scale.problem:
            problems.append(f"{opened.name}: {scale.problem}")
            continue
        factor[here] = scale.factor
        notes += [f"{opened.name}: {scale.note}"] * bool(scale.note)
    return Scaled(factor, notes, problems)


@dataclass(frozen=True)
class _Scale:
    factor: float = 1.0
    note: str = ""
    problem: str = ""


def _scale(header: str, said: str, assumed: str, deviation: np.ndarray) -> _Scale:
    """For channels of which header and table say the same: the factor, and what there is to say of it."""
    if header and header not in VOLTS:
        return _Scale(problem=f"channels are in {header!r} by the header, and are to be in volts: export them again")
    native = VOLTS[header or assumed]  # of what the file held, in what was read
    alive = deviation[np.isfinite(deviation) & (deviation > 0)] / native
    size = float(np.median(alive)) if len(alive) else float("nan")
    words = {"the header": header, "channels.tsv": said}
    words = {who: unit for who, unit in words.items() if unit in VOLTS}
    if not header:
        words |= {"the format": assumed, "its size": "µV"}
    fits = {who: unit for who, unit in words.items() if _plausible(size * VOLTS[unit]) or not len(alive)}
    disagree = header and said in VOLTS and VOLTS[said] != VOLTS[header]
    if not fits:
        first, unit = next(iter(words.items()))
        return _Scale(
            problem=f"values have a standard deviation of {size * VOLTS[unit]:.3g} V, taken in {unit} as {first} says; "
            "electrodes measure 0.1 µV to 20 mV: correct `units` in channels.tsv, or export the file again"
        )
    who, unit = next(iter(fits.items()))
    first, word = next(iter(words.items()))
    note = ""
    if who != first:
        note = f"in {word}, as {first} says, values would have a standard deviation of {size * VOLTS[word]:.3g} V: "
        note += f"taken in {unit}, by {who}"
    elif disagree:
        note = f"channels.tsv says {said}, the header {header}: the header's taken"
    elif not header and who != "channels.tsv":
        note = f"no unit is said: taken in {unit}"
    return _Scale(VOLTS[unit] / native, note)


def _plausible(volts: float) -> bool:
    return PLAUSIBLE[0] <= volts <= PLAUSIBLE[1]


def looks_like_trigger(values: np.ndarray) -> np.ndarray:
    """(n_channels,) bool: few values that differ, and more than one.

    Parameters
    ----------
    values : array (n_samples, n_channels)
    """
    if len(values) < 8 * FEW:
        return np.zeros(values.shape[1], bool)
    ordered = np.sort(values, axis=0)
    kinds = 1 + (np.diff(ordered, axis=0) != 0).sum(0)
    return (kinds > 1) & (kinds <= FEW) & np.isfinite(values).all(0)


def look_at(read: Callable[[int, int], np.ndarray], n_samples: int, fs: float) -> np.ndarray:
    """Five windows of 2 s spread over a recording, one below the other."""
    width = min(n_samples, max(1, round(2 * fs)))
    starts = dict.fromkeys(np.linspace(0, n_samples - width, 5).astype(int).tolist())
    return np.concatenate([read(start, start + width) for start in starts])


def wanted_channels(table: pd.DataFrame, wanted: str | Sequence[str], name: str) -> pd.Series:
    """Which rows are meant by names or types.

    Raises
    ------
    InputError
        A name or type that no channel has.
    """
    words = [wanted] if isinstance(wanted, str) else list(wanted)
    missing = [word for word in words if word not in {*table["name"], *table["type"]}]
    if missing:
        raise InputError(
            f"{name} has no channel and no type {list_names(missing)}; types are "
            f"{', '.join(dict.fromkeys(table['type']))}, channels {list_names(table['name'].tolist())}"
        )
    return table["name"].isin(words) | table["type"].isin(words)


def shafts_of(table: pd.DataFrame) -> pd.DataFrame:
    """The shaft and number that each name says: "" and missing where it says none, or on a scalp or helmet."""
    inside = table["type"].isin([*BRAIN["ieeg"], "IEEG"])
    found = [contact_of(name) if ok else None for name, ok in zip(table["name"], inside)]
    return pd.DataFrame(
        {
            "shaft": ["" if one is None else one[0] for one in found],
            "number": pd.array([None if one is None else one[1] for one in found], dtype="Int64"),
        },
        index=table.index,
    )


def _type_of(kind: str, datatype: Datatype) -> str:
    return "IEEG" if kind == "eeg" and datatype == "ieeg" else BY_MNE.get(kind, kind.upper())


def _why_not(name: str, kind: str, listed: bool, contact: bool, datatype: Datatype) -> str:
    if not listed:
        return "not in channels.tsv"
    if kind not in (*BRAIN[datatype], "IEEG"):
        return f"of type {kind or 'n/a'}"
    if datatype == "ieeg" and not contact and NOT_BRAIN.fullmatch(name.strip()):
        return f"of type {kind} but called like a trigger or a channel of the body"
    return ""


def _note_names(name: str, respelled: Sequence[tuple[str, str]], missing: Sequence[str]) -> list[str]:
    notes = []
    if respelled:
        pairs = list_names([f"{one} is {other}" for one, other in respelled])
        notes.append(f"{name}: channels.tsv spells names in another way: {pairs}")
    if missing:
        notes.append(f"{name} has no channel {list_names(list(missing))}, which channels.tsv lists")
    return notes
