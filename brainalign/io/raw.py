"""How is a file of an electric or magnetic recording opened, whatever its format, without reading it?"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError, did_you_mean, need_package
from brainalign.io.contacts import duplicates
from brainalign.io.edf_header import read_edf_header
from brainalign.io.nwb import ElectrodeTable, open_series

# Who does what. The tree and its tables are read here (io/bids.py, io/channels.py, io/electrodes.py): mne-bids names
# one recording at a time, refuses a tree whose tables and headers disagree in spelling, lets `units` of channels.tsv
# speak of values that mne has already brought to volts, and has no NWB. The files themselves are opened by mne, which
# reads any window of them without the rest; NWB by h5py.

FORMATS = {  # extension → the reader in mne.io; the first that is there is read where one recording has several
    ".vhdr": "read_raw_brainvision",
    ".edf": "read_raw_edf",
    ".bdf": "read_raw_bdf",
    ".fif": "read_raw_fif",
    ".fif.gz": "read_raw_fif",
    ".set": "read_raw_eeglab",
    ".nwb": "",
}
VOLTS = {"V": 1.0, "mV": 1e-3, "µV": 1e-6, "nV": 1e-9}
SPELLED = {"v": "V", "volt": "V", "volts": "V", "mv": "mV", "uv": "µV", "microv": "µV", "microvol": "µV", "nv": "nV"}
SCALED_BY_MNE = (
    "V",
    "mV",
    "µV",
    "μV",
    "\x83\xcaV",
    "uV",
)  # in EDF and BDF; it takes what is spelled otherwise for volts
NUMBERS = 8 << 20  # read together, of a file of which few channels are wanted
NAMED = re.compile(rb"^\s*(DataFile|MarkerFile)\s*=\s*(.+?)\s*$", re.M | re.I)  # in a header of BrainVision
SAID_BY_MNE = re.compile(r"units for the following channels|does not conform to MNE naming|meas(urement)? date", re.I)

Read = Callable[[int, int], np.ndarray]


@dataclass(frozen=True, eq=False)
class RawFile:
    """A file that is open, as it stands: nothing of it has been read but the header.

    Parameters
    ----------
    name : str
        What to call it in sentences.
    names : list of str, one per channel
    kinds : list of str, one per channel
        What mne takes it for: "eeg", "seeg", "mag", "stim", …
    units : list of str, one per channel
        By the header, as `unit_of` spells it; "" where it does not say.
    fs : float
        Hz.
    n_samples : int
    read : function (start, stop) → array (stop − start, n_channels), float64
        In volts (teslas of magnetometers) where the header says the unit; else volts if the file held `assumed`.
    annotations : DataFrame
        `onset`, `duration` (s from the first sample), `description`.
    assumed : str
        The unit that values are taken to have where the header says none.
    rates : dict of str → float
        Channels that are recorded at another rate than `fs` (Hz), and were brought to it.
    bads : tuple of str
        Channels that the file itself says are bad.
    places : ElectrodeTable or None
        Where the file itself says that electrodes are.
    inputs : tuple of Path
        Every file of it.
    notes : tuple of str
    """

    name: str
    names: list[str]
    kinds: list[str]
    units: list[str]
    fs: float
    n_samples: int
    read: Read
    annotations: pd.DataFrame
    assumed: str = "V"
    rates: dict[str, float] = field(default_factory=dict)
    bads: tuple[str, ...] = ()
    places: ElectrodeTable | None = None
    inputs: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def open_raw(path: Path, name: str, only: Sequence[str] | None = None) -> RawFile:
    """Open a recording: BrainVision, EDF, BDF, FIF (split files as one), EEGLAB or NWB.

    Parameters
    ----------
    path : Path
    name : str
        What to call the file in errors.
    only : sequence of str, optional
        The channels that are wanted. Of EDF and BDF, `fs` is then the highest rate among these.

    Raises
    ------
    InputError
        A format that is not read, a file that cannot be, or channels of the same name.
    SettingsError
        mne is not installed.
    """
    extension = next((form for form in sorted(FORMATS, key=len, reverse=True) if path.name.endswith(form)), None)
    if extension is None:
        raise InputError(
            f"{name} is of a format that is not read; {did_you_mean(path.suffix, FORMATS)}; convert it, by "
            "mne_bids.write_raw_bids for one"
        )
    _is_here(path, name)
    if extension == ".nwb":
        series = open_series(path, name)
        _no_duplicates(list(series.names), name)
        opened = RawFile(
            name, list(series.names), ["eeg"] * len(series.names), ["V"] * len(series.names), series.fs,
            series.n_samples, series.read, _table([], [], []), places=series.places, inputs=(path,), notes=series.notes,
        )  # fmt: skip
    else:
        need_package("mne", extra="ieeg", what=f"a recording in {extension}")
        opened = _open_by_mne(path, name, extension, only)
    return opened if only is None else some_channels(opened, only)


def _open_by_mne(path: Path, name: str, extension: str, only: Sequence[str] | None) -> RawFile:
    import mne

    header = read_edf_header(path, name) if extension in (".edf", ".bdf") else None
    if header is not None:
        _no_duplicates(header.names, name)
    beside, notes = _files_beside(path, name, extension)
    include = {} if header is None or only is None else {"include": list(only)}
    with _asking_mne(name) as said:
        raw = getattr(mne.io, FORMATS[extension])(path, preload=False, verbose="WARNING", **include)
    names, kinds = list(raw.ch_names), list(raw.get_channel_types())
    if header is None:
        stated, rates = _units(raw, extension), {}
    else:
        stated = dict(zip(header.names, header.units))
        rates = {one: rate for one, rate in zip(header.names, header.rates) if one in names}
    spelled = [unit_of(stated.get(one, "")) for one in names]
    if extension == ".vhdr":  # a unit that mne does not know makes a channel one of its "misc"
        unknown = [kind == "misc" and unit in VOLTS for kind, unit in zip(kinds, spelled, strict=True)]
        kinds = ["eeg" if yes else kind for yes, kind in zip(unknown, kinds, strict=True)]
    else:
        unknown = [header is not None and stated.get(one, "V") not in SCALED_BY_MNE for one in names]
    factors = np.array([VOLTS.get(unit, 1.0) if yes else 1.0 for yes, unit in zip(unknown, spelled, strict=True)])
    scaled = bool((factors == 1).all())
    fs = float(raw.info["sfreq"])

    def read(start: int, stop: int) -> np.ndarray:
        with _asking_mne(name):
            values = raw.get_data(start=start, stop=stop, verbose="ERROR").T  # each channel's samples side by side
        return values if scaled else values * factors

    files = tuple(Path(one) for one in raw.filenames if one is not None)
    notes += [f"{name}: {text}" for text in said if not SAID_BY_MNE.search(text)]
    if extension == ".set" and set(files) <= {path}:
        notes.append(
            f"{name} holds its samples in the .set itself, and these are in memory all together: for long recordings, "
            "save it with an .fdt"
        )
    at = raw.annotations
    late = raw.first_time if at.orig_time is not None else 0.0
    cut = at.description == "boundary"  # of EEGLAB: `duration` is that of what was cut out, and is not there
    return RawFile(
        name,
        names,
        kinds,
        spelled,
        fs,
        int(raw.n_times),
        read,
        _table(at.onset - late, np.where(cut, 0.0, at.duration), at.description),
        "µV" if extension == ".set" else "V",
        {one: rate for one, rate in rates.items() if abs(rate - fs) > 1e-6 * fs},
        tuple(raw.info["bads"]),
        inputs=tuple(dict.fromkeys([path, *files, *beside])),
        notes=tuple(notes),
    )


@contextmanager
def _asking_mne(name: str) -> Iterator[list[str]]:
    """What mne warns of is gathered; what it refuses becomes an error that names the file."""
    said: list[str] = []
    caught: list[warnings.WarningMessage] = []
    failed: Exception | None = None
    log = logging.getLogger("mne")  # it prints what it warns of too
    log.addFilter(_drop)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield said  # filled once mne is done
    except Exception as error:  # its readers raise whatever the bytes led them to
        failed = error
    finally:
        log.removeFilter(_drop)
    said += dict.fromkeys(" ".join(str(one.message).split()) for one in caught)
    twice = next((text for text in said if "not unique" in text), None)
    if twice is not None:
        raise InputError(f"{name}: {twice} Rename channels so that each has a name of its own") from failed
    if failed is not None:
        text = " ".join(str(failed).split()) or type(failed).__name__
        raise InputError(f"{name} cannot be read ({text}): fetch or export the file again") from failed


def _is_here(path: Path, name: str) -> None:
    """Refuse a link whose target was not fetched: git-annex and DataLad leave such."""
    if not path.exists():
        raise InputError(f"{name} is a link to a file that is not there: fetch it (datalad get, git annex get)")


def _files_beside(path: Path, name: str, extension: str) -> tuple[list[Path], list[str]]:
    """The files that a header names, and a note where samples are not those of a file called like it.

    Raises
    ------
    InputError
        Its samples are not there.
    """
    if extension not in (".vhdr", ".set"):
        return [], []
    if extension == ".set":
        _can_be_read(path, name)
        part = path.with_suffix(".fdt")
        if part.is_symlink():
            _is_here(part, f"{part.name}, the samples of {name},")
        return [part] * part.is_file(), []
    named = {key.decode().lower(): text.decode("utf-8", "replace") for key, text in NAMED.findall(path.read_bytes())}
    named = {key: text.replace("$b", path.stem) for key, text in named.items()}
    there = [path.parent / text for text in named.values() if (path.parent / text).is_file()]
    data = named.get("datafile")
    if data is None:
        return there, []
    if not (path.parent / data).exists():
        if (path.parent / data).is_symlink():
            _is_here(path.parent / data, f"{data}, the samples of {name},")
        like = [one.name for one in sorted(path.parent.glob(f"{path.stem}.*")) if one.suffix in (".eeg", ".dat")]
        hint = f"; {like[0]} is: correct DataFile in the header" if like else ": fetch it, or export the file again"
        raise InputError(f"{name} names {data} as its samples, which is not there{hint}")
    other = Path(data).name != data or Path(data).stem != path.stem
    return there, [f"{name}: its samples are those of {data}, as its header says"] * other


def _can_be_read(path: Path, name: str) -> None:
    """Refuse an EEGLAB file in MATLAB's HDF5 format where what mne reads it with is missing."""
    import h5py

    if find_spec("pymatreader") is None and h5py.is_hdf5(path):
        raise InputError(
            f"{name} is a MATLAB 7.3 file, which mne reads with pymatreader: pip install pymatreader, or save it from "
            "EEGLAB with an .fdt"
        )


def _drop(_: logging.LogRecord) -> bool:
    return False


def _units(raw: Any, extension: str) -> dict[str, str]:
    """Unit of each channel by the header; FIF is always in SI, EEGLAB says nothing."""
    if extension == ".vhdr":
        return dict(getattr(raw, "_orig_units", {}))
    return {} if extension == ".set" else dict.fromkeys(raw.ch_names, "V")


def unit_of(text: str) -> str:
    """A unit of voltage as `VOLTS` spells it; "" for n/a, any other text as it is.

    Examples
    --------
    >>> [unit_of(text) for text in ("uV", "Volts", "ÂµV", "n/a", "nA")]
    ['µV', 'V', 'µV', '', 'nA']
    """
    plain = text.replace("Â", "").replace("Î¼", "μ").strip()  # UTF-8 that was read as Latin-1
    plain = SPELLED.get(plain.replace("µ", "u").replace("μ", "u").replace("\x83\xca", "u").lower(), plain)
    return "" if plain.lower() == "n/a" else plain


def _no_duplicates(names: Sequence[str], name: str) -> None:
    twice = duplicates(names)
    if twice:
        raise InputError(
            f"{name} has several channels called {', '.join(map(repr, twice[:5]))}: which is which cannot be told; "
            "rename them in the file"
        )


def some_channels(opened: RawFile, only: Sequence[str]) -> RawFile:
    """The same file, some of its channels, in that order."""
    at = [opened.names.index(name) for name in only]
    every = at == list(range(len(opened.names)))
    pick = lambda values: [values[k] for k in at]  # noqa: E731
    return replace(
        opened,
        names=list(only),
        kinds=pick(opened.kinds),
        units=pick(opened.units),
        read=opened.read if every else lambda start, stop: _columns(opened, at, start, stop),
        rates={name: rate for name, rate in opened.rates.items() if name in only},
    )


def _columns(opened: RawFile, at: Sequence[int], start: int, stop: int) -> np.ndarray:
    """Some channels of some samples, without holding many of the others."""
    step = max(1, NUMBERS // len(opened.names))
    if stop - start <= step:
        return opened.read(start, stop)[:, at]
    return np.concatenate([opened.read(k, min(k + step, stop))[:, at] for k in range(start, stop, step)])


def _table(onset: Any, duration: Any, description: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "onset": np.asarray(onset, float),
            "duration": np.asarray(duration, float),
            "description": pd.Series(list(description), dtype="object").astype(str),
        }
    )
