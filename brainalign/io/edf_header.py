"""What does an EDF or BDF file say of each channel: name, unit, sampling rate?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from brainalign.errors import InputError

# Kemp et al. (1992), Electroencephalogr. clin. Neurophysiol. 82: 391; https://www.edfplus.info/specs/edf.html. The
# header is read here too, since mne brings channels of several rates to the highest of them without a word.

FIXED = 256  # bytes before the fields of the channels
FIELDS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)  # bytes for each channel: label, transducer, unit, …, samples a record


@dataclass(frozen=True)
class EdfHeader:
    """Channels without those of annotations, as the file calls them.

    Parameters
    ----------
    names, units : tuple of str
    rates : tuple of float
        Hz.
    n_records : int
        By the header; −1 where it does not know.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    rates: tuple[float, ...]
    n_records: int


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
        It is no such header, or ends early.
    """
    try:
        with path.open("rb") as file:
            fixed = file.read(FIXED)
            n = int(fixed[252:256])
            table = file.read(sum(FIELDS) * n)
        records, seconds = int(fixed[236:244]), float(fixed[244:252])
        if n < 1 or len(table) < sum(FIELDS) * n or not seconds > 0:
            raise ValueError("it ends early, or its records have no length")
        columns, at = [], 0
        for width in FIELDS:
            columns.append([table[at + k * width :][:width].decode("latin-1").strip() for k in range(n)])
            at += width * n
        samples = [int(text) for text in columns[8]]
    except ValueError as error:
        raise InputError(f"{name} has no readable EDF header ({error}): fetch or export the file again") from error
    kept = [k for k, label in enumerate(columns[0]) if not label.endswith("Annotations")]
    return EdfHeader(
        tuple(columns[0][k] for k in kept),
        tuple(columns[2][k] for k in kept),
        tuple(samples[k] / seconds for k in kept),
        records,
    )
