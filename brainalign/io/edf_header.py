"""What does an EDF or BDF file say of each channel: name, unit, sampling rate?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from brainalign.errors import InputError

# Kemp et al. (1992), Electroencephalogr. clin. Neurophysiol. 82: 391; https://www.edfplus.info/specs/edf.html. The
# header is read here too, since mne brings channels of several rates to the highest of them, and joins the pieces of a
# recording that was paused (EDF+D), without a word.

FIXED = 256  # bytes before the fields of the channels
FIELDS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)  # bytes for each channel: label, transducer, unit, …, samples a record
ONSET = 32  # bytes at the start of a record's annotations: its time is in there
TIME = re.compile(rb"([+-]?[0-9.]+)[\x14\x15]")


@dataclass(frozen=True)
class EdfHeader:
    """Channels without those of annotations, as the file calls them.

    Parameters
    ----------
    names, units : tuple of str
    rates : tuple of float
        Hz.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    rates: tuple[float, ...]


def read_edf_header(path: Path, name: str) -> EdfHeader:
    """Read the header of an EDF or BDF file.

    Parameters
    ----------
    path : Path
    name : str
        What to call the file in errors.

    Raises
    ------
    InputError
        It is no such header, or ends early, or the recording was paused.
    """
    try:
        with path.open("rb") as file:
            fixed = file.read(FIXED)
            n = int(fixed[252:256])
            table = file.read(sum(FIELDS) * n)
            seconds = float(fixed[244:252])
            if n < 1 or len(table) < sum(FIELDS) * n or not seconds > 0:
                raise ValueError("it ends early, or its records have no length")
            columns, at = [], 0
            for width in FIELDS:
                columns.append([table[at + k * width :][:width].decode("latin-1").strip() for k in range(n)])
                at += width * n
            labels, units, samples = columns[0], columns[2], [int(text) for text in columns[8]]
            paused = fixed[192:197] in (b"EDF+D", b"BDF+D")  # may have been: many say so and were not
            pause = _first_pause(file, labels, samples, seconds, 2 + (path.suffix == ".bdf")) if paused else None
    except ValueError as error:
        raise InputError(f"{name} has no readable EDF header ({error}): fetch or export the file again") from error
    if pause is not None:
        raise InputError(f"{name} was paused after {pause:g} s (EDF+D): cut the recording into runs there")
    kept = [k for k, label in enumerate(labels) if not label.endswith("Annotations")]
    return EdfHeader(
        tuple(labels[k] for k in kept), tuple(units[k] for k in kept), tuple(samples[k] / seconds for k in kept)
    )


def _first_pause(file: BinaryIO, labels: list[str], samples: list[int], seconds: float, width: int) -> float | None:
    """After how many seconds of samples a record is not where the one before ends, by the times that records have."""
    begins = [k for k, label in enumerate(labels) if label.endswith("Annotations")]
    if not begins:
        return None
    record, start = width * sum(samples), None
    at = FIXED + sum(FIELDS) * len(labels) + width * sum(samples[: begins[0]])
    n_records = (file.seek(0, 2) - at) // record + 1
    for k in range(n_records):
        file.seek(at + k * record)
        found = TIME.match(file.read(ONSET))
        if found is None:
            raise ValueError(f"record {k + 1} does not say when it was")
        start = float(found[1]) if start is None else start
        if abs(float(found[1]) - start - k * seconds) > 0.5 * seconds / max(samples):
            return k * seconds
    return None
