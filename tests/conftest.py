"""How the suite runs: examples without a time limit (machines are shared), the longest files first; and recordings of
electrodes in every format, for all who read some."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

settings.register_profile("brainalign", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("brainalign")

LONGEST = ("test_packaging.py", "test_cli.py", "test_store.py")  # begun last, one of them would run on alone


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


MICRO = 1e-6


@dataclass
class Electric:
    """A generated tree of recordings of electrodes, in every format that is read, whose every number is known."""

    root: Path
    fs: float = 500.0

    def data(self, channels, seconds=6.0, seed=0):
        """(samples, channels) volts: whole numbers of 0.1 µV, so that 16 bits hold them exactly."""
        rng = np.random.default_rng(seed)
        return rng.integers(-2000, 2000, (int(seconds * self.fs), channels)) * 1e-7

    def path(self, extension, run="1", subject="01", datatype="ieeg", **entities):
        said = {"sub": subject, "task": "x", "run": run} | entities
        folder = self.root / f"sub-{subject}" / datatype
        folder.mkdir(parents=True, exist_ok=True)
        return folder / ("_".join(f"{key}-{label}" for key, label in said.items() if label) + f"_{datatype}{extension}")

    def write(self, extension, data, names, line=50, **place):
        """One run in a format, with its sidecar; `line` is the frequency of the mains, Hz."""
        path = self.path(extension, **place)
        WRITERS[extension](path, data, names, self.fs)
        path.with_name(path.name.removesuffix(extension) + ".json").write_text(f'{{"PowerLineFrequency": {line}}}')
        return path

    def table(self, name, rows, subject="01", datatype="ieeg"):
        """A table or a sidecar beside the recordings of a person; `rows` is a mapping of columns, text, or JSON."""
        path = self.root / f"sub-{subject}" / datatype / f"sub-{subject}_{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".json"):
            path.write_text(json.dumps(rows))
        else:
            path.write_text(rows if isinstance(rows, str) else pd.DataFrame(rows).to_csv(sep="\t", index=False))
        return path


def write_brainvision(path, data, names, fs, unit="µV", resolution=0.1, markers=()):
    """A header, markers and float32 values, by the format's own description."""
    head = "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
    head += f"DataFile={path.stem}.eeg\nMarkerFile={path.stem}.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
    head += f"NumberOfChannels={len(names)}\nSamplingInterval={1e6 / fs}\n[Binary Infos]\n"
    head += "BinaryFormat=IEEE_FLOAT_32\n[Channel Infos]\n"
    head += "".join(f"Ch{k}={name},,{resolution},{unit}\n" for k, name in enumerate(names, start=1))
    path.write_text(head, encoding="utf-8")
    text = "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
    text += f"DataFile={path.stem}.eeg\n[Marker Infos]\nMk1=New Segment,,1,1,0,20200101000000000000\n"
    text += "".join(
        f"Mk{k}=Comment,{what},{1 + round(onset * fs)},{round(length * fs)},0\n"
        for k, (onset, length, what) in enumerate(markers, start=2)
    )
    path.with_suffix(".vmrk").write_text(text, encoding="utf-8")
    (data / MICRO / resolution).astype("<f4").tofile(path.with_suffix(".eeg"))


def write_edf(path, data, names, fs, unit="uV", rates=None, record=1.0, times=None):
    """Values of 16 bits (BDF: 24) in steps of 0.1 µV, records of a second.

    `rates` are those of channels that are slower, `times` when each record was (s), of a recording that was paused.
    """
    rates = dict.fromkeys(names, fs) | (rates or {})
    n_records = int(len(data) / fs / record)
    bdf, said = path.suffix == ".bdf", times is not None
    whole = np.rint(data / MICRO * 10).astype("<i4")
    names = [*names, *["BDF Annotations" if bdf else "EDF Annotations"] * said]

    def field(values, width):
        return "".join(f"{value!s:<{width}}"[:width] for value in values)

    n = len(names)
    kind = ("BDF+D" if bdf else "EDF+D") if said else "24BIT" if bdf else ""
    head = field(["X", "X"], 80) + f"01.01.2000.00.00{256 * (n + 1):<8}{kind:<44}{n_records:<8}{record:<8g}{n:<4}"
    samples = [round(rates.get(name, 20) * record) for name in names]
    head += field(names, 16) + field([""] * n, 80) + field([unit] * n, 8) + field([-3276.8] * n, 8)
    head += field([3276.7] * n, 8) + field([-32768] * n, 8) + field([32767] * n, 8) + field([""] * n, 80)
    head += field(samples, 8) + field([""] * n, 32)
    with path.open("wb") as file:
        file.write((b"\xffBIOSEMI" if bdf else b"0       ") + head.encode("latin-1"))
        for k in range(n_records):
            second = whole[round(k * record * fs) : round((k + 1) * record * fs)]
            for j, size in enumerate(samples[: whole.shape[1]]):
                values = np.ascontiguousarray(second[:: len(second) // size, j][:size])
                file.write(values.view("u1").reshape(-1, 4)[:, : 2 + bdf].tobytes())
            if said:
                file.write(f"+{times[k]:g}\x14\x14\0".encode().ljust(samples[-1] * (2 + bdf), b"\0"))


def write_fif(path, data, names, fs, kinds="seeg", annotations=None, **how):
    import mne

    raw = mne.io.RawArray(data.T, mne.create_info(list(names), fs, kinds), verbose="ERROR")
    raw.set_annotations(annotations)
    raw.save(path, fmt="double", overwrite=True, verbose="ERROR", **how)


def write_eeglab(path, data, names, fs, inside=False, struct=False, events=()):
    """Values in µV: EEGLAB's files say no unit.

    Samples lie in an .fdt, or `inside`; fields side by side, or in one `struct`; `events`: (type, latency, duration).
    """
    from scipy.io import savemat

    eeg = {"setname": "x", "nbchan": len(names), "pnts": len(data), "trials": 1, "srate": fs, "xmin": 0.0}
    eeg |= {"xmax": (len(data) - 1) / fs, "data": f"{path.stem}.fdt", "icawinv": [], "icasphere": [], "icaweights": []}
    eeg["chanlocs"] = np.array([(name, "") for name in names], [("labels", object), ("type", object)])
    happened = np.array(list(events), [("type", object), ("latency", float), ("duration", float)])
    eeg |= {"event": happened if events else [], "epoch": [], "chaninfo": {"nosedir": "+X"}, "ref": "common"}
    if inside:
        eeg["data"] = (data.T / MICRO).astype("f4")
    savemat(path, {"EEG": eeg} if struct else eeg, appendmat=False)
    if not inside:
        (data / MICRO).astype("<f4").tofile(path.with_suffix(".fdt"))


def write_nwb(path, data, names, fs, timestamps=None, offset=0.0, where="acquisition/ElectricalSeries", unit="volts"):
    """The layout of NWB 2: whole numbers with a conversion, and the table of electrodes."""
    import h5py

    with h5py.File(path, "w") as file:
        table = file.create_group("general/extracellular_ephys/electrodes")
        table["id"] = np.arange(len(names))
        table["channel_name"] = [name.encode() for name in names][::-1]
        series = file.create_group(where)
        series.attrs["neurodata_type"] = "ElectricalSeries"
        values = series.create_dataset("data", data=np.rint((data - offset) / 1e-7).astype(np.int32))
        values.attrs.update({"conversion": 1e-7, "offset": offset, "unit": unit})
        series["electrodes"] = np.arange(len(names))[::-1]
        if timestamps is None:
            series["starting_time"] = 0.0
            series["starting_time"].attrs["rate"] = fs
        else:
            series["timestamps"] = timestamps


WRITERS = {
    ".bdf": write_edf,
    ".vhdr": write_brainvision,
    ".edf": write_edf,
    ".fif": write_fif,
    ".set": write_eeglab,
    ".nwb": write_nwb,
}


@pytest.fixture(scope="session")
def electric_at():
    """A tree of recordings of electrodes anywhere: (root, fs) → Electric."""
    return Electric


@pytest.fixture
def electric(tmp_path, electric_at):
    return electric_at(tmp_path / "study")


@pytest.fixture(scope="session")
def writers():
    return WRITERS
