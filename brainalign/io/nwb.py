"""What is in the electrical series of an NWB file, without reading it whole?"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError

# NWB 2 (Rübel et al. 2022, eLife 11: e78362; https://nwb-schema.readthedocs.io): volts are data · conversion ·
# channel_conversion + offset; time is starting_time + k / rate, or timestamps. Of positions in the table of electrodes
# the schema says that x points backwards, y down and z right, and neither unit nor frame; files of people mostly hold
# another frame, which one finds in a description or nowhere.

ELECTRODES = "general/extracellular_ephys/electrodes"
NAMES = ("channel_name", "label", "name", "electrode_name")  # columns of the table of electrodes that name a channel
FRAME = re.compile(r"\b(MNI\w*|ICBM\w*|fsaverage\w*|fsLR|Talairach|ACPC|ScanRAS|T1w|CTF|CapTrak)\b")  # as BIDS does
LOOKED = 4096  # timestamps looked at together
UNEVEN = 0.5  # of the interval: timestamps further off than that are no jitter


@dataclass(frozen=True, eq=False)
class ElectrodeTable:
    """Where the file itself says that electrodes are.

    Parameters
    ----------
    table : DataFrame
        `name`, `x`, `y`, `z`, as they stand.
    unit : str
        By an attribute of `x`; "n/a" where there is none.
    frame : str
        The one coordinate system that a description names; "n/a" where none or several do.
    """

    table: pd.DataFrame
    unit: str
    frame: str


@dataclass(frozen=True, eq=False)
class ElectricalSeries:
    """An electrical series that is open.

    Parameters
    ----------
    names : list of str
        Of the channels, by the table of electrodes; their numbers in it where they have no names.
    fs : float
        Hz.
    n_samples : int
    read : function (start, stop) → array (stop − start, n_channels), float64, volts
    places : ElectrodeTable or None
        None where there are no positions.
    notes : tuple of str
    """

    names: list[str]
    fs: float
    n_samples: int
    read: Callable[[int, int], np.ndarray]
    places: ElectrodeTable | None = None
    notes: tuple[str, ...] = ()


def open_series(path: Path, name: str) -> ElectricalSeries:
    """Open the electrical series of an NWB file: the one in `acquisition`, else the one in `processing`.

    Parameters
    ----------
    path : Path
    name : str
        What to call the file in errors.

    Raises
    ------
    InputError
        No HDF5 file, no series or several, another unit than volts, timestamps that are not even.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            place = _the_series(file, name)
            series: Any = file[place]
            data = series["data"]
            shape = (*data.shape, 1)[:2]
            unit = _text(data.attrs.get("unit", "volts"))
            if unit.lower() not in ("volts", "volt", "v"):
                raise InputError(f"{name}: {place} is in {unit!r}; an ElectricalSeries is in volts: write it again")
            factor = float(data.attrs.get("conversion", 1.0))
            offset = float(data.attrs.get("offset", 0.0))
            scale = np.full(shape[1], factor)
            if "channel_conversion" in series:
                scale = factor * series["channel_conversion"][:]
            fs, notes = _rate(series, shape[0], f"{name}: {place}")
            names = _names(file, series, shape[1])
            places = _places(file, series, names)
    except InputError:
        raise
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{name} cannot be read as NWB ({error}): fetch or export the file again") from error

    def read(start: int, stop: int) -> np.ndarray:
        with h5py.File(path, "r") as file:
            series: Any = file[place]
            values = np.asarray(series["data"][start:stop], dtype=np.float64)
        values = values.reshape(len(values), -1)
        values *= scale
        values += offset
        return values

    return ElectricalSeries(names, fs, shape[0], read, places, tuple(notes))


def _the_series(file: Any, name: str) -> str:
    import h5py

    found: dict[str, list[str]] = {"acquisition": [], "processing": []}
    for room, places in found.items():
        group = file.get(room)
        if not isinstance(group, h5py.Group):
            continue

        def look(place: str, thing: Any, room: str = room, places: list[str] = places) -> None:
            if _text(thing.attrs.get("neurodata_type", "")) == "ElectricalSeries":
                places.append(f"{room}/{place}")

        group.visititems(look)
    places = found["acquisition"] or found["processing"]
    if len(places) == 1:
        return places[0]
    if not places:
        raise InputError(f"{name} holds no ElectricalSeries, neither in acquisition nor in processing")
    raise InputError(f"{name} holds several ElectricalSeries: {', '.join(places)}; leave one in the file to be read")


def _rate(series: Any, n: int, what: str) -> tuple[float, list[str]]:
    if "starting_time" in series:
        rate = float(series["starting_time"].attrs["rate"])
        start = float(series["starting_time"][()])
    else:
        times = series["timestamps"]
        start = float(times[0]) if n else 0.0
        if n < 2 or len(times) != n:
            raise InputError(f"{what} has {len(times)} timestamps for {n} samples: its rate cannot be told")
        step = float(np.median(np.diff(times[:LOOKED])))
        for at in range(0, n - 1, LOOKED):
            off = np.abs(np.diff(times[at : at + LOOKED + 1]) - step) > UNEVEN * step
            if off.any():
                raise InputError(
                    f"{what}: timestamps are {step:g} s apart at the start, and not after sample "
                    f"{at + int(np.argmax(off))}: samples were lost there; cut the recording into runs"
                )
        rate = (n - 1) / (float(times[n - 1]) - start)
        rate = round(rate) if abs(rate - round(rate)) < 1e-4 * rate else rate
    notes = [] if abs(start) < 0.5 / rate else [f"{what} starts at {start:g} s of its own clock: taken as 0 s"]
    return float(rate), notes


def _rows(series: Any, n: int) -> np.ndarray:
    """The row of each channel in the table of electrodes."""
    return np.asarray(series["electrodes"][:], int) if "electrodes" in series else np.arange(n)


def _names(file: Any, series: Any, n: int) -> list[str]:
    table, rows = file.get(ELECTRODES), _rows(series, n)
    if len(rows) != n:
        raise InputError(f"{series.name} has {n} channels and names {len(rows)} electrodes: write the file again")
    column = None if table is None else next((table[one] for one in NAMES if one in table), None)
    if column is not None:
        return [_text(column[int(row)]) for row in rows]
    numbers = rows if table is None or "id" not in table else np.asarray(table["id"][:])[rows]
    return [str(number) for number in numbers.tolist()]


def _places(file: Any, series: Any, names: list[str]) -> ElectrodeTable | None:
    table = file.get(ELECTRODES)
    if table is None or not {"x", "y", "z"} <= set(table):
        return None
    rows = _rows(series, len(names))
    xyz = np.stack([np.asarray(table[axis][:], float)[rows] for axis in "xyz"], axis=1)
    if not np.isfinite(xyz).all(1).any() or (len(xyz) > 1 and (xyz == xyz[0]).all()):  # filled in, never measured
        return None
    places = pd.DataFrame(xyz, columns=list("xyz"))
    places.insert(0, "name", names)
    groups = [one for one in file[ELECTRODES].parent.values() if hasattr(one, "attrs")]
    about = [one.attrs.get(key, "") for one in (table, table["x"], *groups) for key in ("description", "location")]
    about += table["reference"][:].tolist() if "reference" in table else []
    frames = {found for text in about for found in FRAME.findall(_text(text))}
    return ElectrodeTable(
        places, _text(table["x"].attrs.get("unit", "n/a")), frames.pop() if len(frames) == 1 else "n/a"
    )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
