"""How is a file of an electric or magnetic recording opened, whatever its format, without reading it?"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError, did_you_mean, need_package
from brainalign.io.contacts import duplicates
from brainalign.io.edf_header import read_edf_header
from brainalign.io.nwb import open_series

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
NO_UNIT = ("", "n/a")
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
        By the header; "" where it does not say.
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
    if extension == ".nwb":
        series = open_series(path, name)
        _no_duplicates(list(series.names), name)
        opened = RawFile(
            name, list(series.names), ["eeg"] * len(series.names), ["V"] * len(series.names), series.fs,
            series.n_samples, series.read, _table([], [], []), inputs=(path,), notes=series.notes,
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
    include = {} if header is None or only is None else {"include": list(only)}
    with _asking_mne(name) as said:
        raw = getattr(mne.io, FORMATS[extension])(path, preload=False, verbose="WARNING", **include)
    names, kinds = list(raw.ch_names), list(raw.get_channel_types())
    if header is None:
        stated, rates = _units(raw, extension), {}
    else:
        stated = dict(zip(header.names, header.units))
        rates = {one: rate for one, rate in zip(header.names, header.rates) if one in names}
    fs = float(raw.info["sfreq"])

    def read(start: int, stop: int) -> np.ndarray:
        with _asking_mne(name):
            return raw.get_data(start=start, stop=stop, verbose="ERROR").T  # each channel's samples side by side

    files = tuple(Path(one) for one in raw.filenames if one is not None)
    markers = [path.with_suffix(ending) for ending in (".vmrk", ".fdt")] if extension in (".vhdr", ".set") else []
    notes = [f"{name}: {text}" for text in said if not SAID_BY_MNE.search(text)]
    if extension == ".set" and raw.preload:
        notes.append(f"{name} holds its samples in the .set itself: they are in memory all together")
    at = raw.annotations
    late = raw.first_time if at.orig_time is not None else 0.0
    return RawFile(
        name,
        names,
        kinds,
        [("" if stated.get(one, "") in NO_UNIT else stated[one]) for one in names],
        fs,
        int(raw.n_times),
        read,
        _table(at.onset - late, at.duration, at.description),
        "µV" if extension == ".set" else "V",
        {one: rate for one, rate in rates.items() if abs(rate - fs) > 1e-6 * fs},
        tuple(dict.fromkeys([path, *files, *(one for one in markers if one.is_file())])),
        tuple(notes),
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


def _drop(_: logging.LogRecord) -> bool:
    return False


def _units(raw: Any, extension: str) -> dict[str, str]:
    """Unit of each channel by the header; FIF is always in SI, EEGLAB says nothing."""
    if extension == ".vhdr":
        return dict(getattr(raw, "_orig_units", {}))
    return {} if extension == ".set" else dict.fromkeys(raw.ch_names, "V")


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
        read=opened.read if every else lambda start, stop: opened.read(start, stop)[:, at],
        rates={name: rate for name, rate in opened.rates.items() if name in only},
    )


def _table(onset: Any, duration: Any, description: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "onset": np.asarray(onset, float),
            "duration": np.asarray(duration, float),
            "description": pd.Series(list(description), dtype="object").astype(str),
        }
    )
