"""Trees to be read and broken: a copy of the alice sample, and generated images under fMRIPrep's names."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest

from brainalign.io.fetch import sample_path


@dataclass
class Alice:
    """The sample, to be broken one piece at a time."""

    root: Path

    def table(self, subject="18"):
        return (
            self.root / f"derivatives/rois/sub-{subject}/func/sub-{subject}_task-alice_atlas-sphere6mm_timeseries.tsv"
        )

    def sidecar(self, subject="18"):
        return self.table(subject).with_suffix(".json")

    def confounds(self, subject="18"):
        return self.table(subject).with_name(f"sub-{subject}_task-alice_desc-confounds_timeseries.tsv")

    @property
    def events(self):
        return self.root / "task-alice_events.tsv"

    def edit(self, path, change):
        """Rewrite a table by a function from its rows (lists of cells, the header first) to new rows."""
        rows = [line.split("\t") for line in path.read_text().splitlines()]
        path.write_text("".join("\t".join(row) + "\n" for row in change(rows)))

    def edit_json(self, path, **changes):
        content = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


@pytest.fixture
def alice(tmp_path):
    """Four of the eighteen, the one without a recording among them."""
    root = Path(shutil.copytree(sample_path("alice"), tmp_path / "alice"))
    for folder in (root / "derivatives/rois").glob("sub-*"):
        if folder.name not in ("sub-18", "sub-22", "sub-23", "sub-33"):
            shutil.rmtree(folder)
    return Alice(root)


@dataclass
class Images:
    """A generated tree of NIfTI images whose every number is known."""

    root: Path
    shape: tuple = (4, 5, 3)
    tr: float = 1.5
    affine: np.ndarray = field(
        default_factory=lambda: np.array([[-3.0, 0, 0, 30], [0, 3, 0, -40], [0, 0, 4, -20], [0, 0, 0, 1]])
    )

    def data(self, subject, run, volumes=6):
        """Numbers that int16 and float32 hold exactly, other ones for every person and run."""
        rng = np.random.default_rng([int(subject), int(run)])
        return rng.integers(100, 30_000, (*self.shape, volumes)).astype(np.float32)

    def name(self, subject, run, rest, session=None):
        within = [f"sub-{subject}", *([f"ses-{session}"] if session else [])]
        entities = "_".join([*within, "task-x", f"run-{run}"])
        return Path(*within, "func", f"{entities}_{rest}")

    def write(self, path, data, tr="same", affine=None):
        """Write an image in int16, with the TR in its header in seconds."""
        path.parent.mkdir(parents=True, exist_ok=True)
        image = nibabel.Nifti1Image(data.astype(np.int16), self.affine if affine is None else affine)
        image.header.set_xyzt_units("mm", "sec")
        if data.ndim == 4:
            image.header.set_zooms((*image.header.get_zooms()[:3], self.tr if tr == "same" else tr))
        nibabel.save(image, path)

    def preproc(self, subject, run, data=None, space="MNI", session=None, **sidecar):
        """One run as fMRIPrep leaves it, without a mask."""
        base = self.root / "derivatives/fmriprep"
        path = base / self.name(subject, run, f"space-{space}_desc-preproc_bold.nii.gz", session)
        self.write(path, self.data(subject, run) if data is None else data)
        content = {"RepetitionTime": self.tr, "StartTime": 0.25} | sidecar
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(content))
        return path

    def mask(self, subject, run, voxels, space="MNI", affine=None):
        """A brain mask beside a run."""
        path = self.root / "derivatives/fmriprep" / self.name(subject, run, f"space-{space}_desc-brain_mask.nii.gz")
        self.write(path, np.asarray(voxels, np.int16), affine=affine)
        return path

    def confounds(self, subject, run, text):
        path = self.root / "derivatives/fmriprep" / self.name(subject, run, "desc-confounds_timeseries.tsv")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def fmriprep_confounds(self, subject, run, volumes=60, suffix="timeseries"):
        """A table with the columns fMRIPrep 24 writes, n/a where it does, and what its json says of the components."""
        table, about = fmriprep_table(np.random.default_rng([int(subject), int(run), volumes]), volumes)
        text = table.to_csv(sep="\t", index=False, na_rep="n/a")
        path = self.confounds(subject, run, text)
        path = path.rename(path.with_name(path.name.replace("timeseries", suffix)))
        path.with_suffix(".json").write_text(json.dumps(about))
        return path, table

    def half(self, axis=0):
        """A mask of the first half of the grid."""
        voxels = np.zeros(self.shape, bool)
        voxels[tuple(slice(0, 2) if k == axis else slice(None) for k in range(3))] = True
        return voxels


def fmriprep_table(rng, n):
    """Six kinds of confounds: signals and motion with their expansions, components, cosines, outliers, quality."""
    columns = {}
    sizes = dict.fromkeys(("global_signal", "csf", "white_matter"), (900.0, 5.0))
    sizes |= {f"{kind}_{axis}": (0.0, 0.01) for kind in ("trans", "rot") for axis in "xyz"}
    for name, (mean, scale) in sizes.items():
        values = mean + scale * rng.standard_normal(n).cumsum()
        change = np.diff(values, prepend=np.nan)
        columns |= {name: values, f"{name}_derivative1": change}
        columns |= {f"{name}_power2": values**2, f"{name}_derivative1_power2": change**2}
    about = {}
    for prefix, masks in {"t": [None] * 3, "a": ["combined"] * 4 + ["CSF"] * 2 + ["WM"] * 2}.items():
        for k, mask in enumerate(masks):
            columns[f"{prefix}_comp_cor_{k:02d}"] = rng.standard_normal(n)
            about[f"{prefix}_comp_cor_{k:02d}"] = {"Method": f"{prefix}CompCor"} | ({"Mask": mask} if mask else {})
    for k in range(3):
        columns[f"cosine{k:02d}"] = np.cos(np.pi * (np.arange(n) + 0.5) * (k + 1) / n)
    columns["framewise_displacement"] = np.abs(rng.standard_normal(n)) * 0.1
    columns["std_dvars"] = 1 + 0.1 * rng.standard_normal(n)
    columns["framewise_displacement"][[20, 30]] = 0.9, 0.6
    columns["std_dvars"][[30, 40]] = 1.9, 1.7
    for name in ("framewise_displacement", "std_dvars"):
        columns[name][0] = np.nan
    columns["non_steady_state_outlier00"] = (np.arange(n) == 0).astype(int)
    columns["aroma_motion_01"] = rng.standard_normal(n)
    columns["motion_outlier00"] = (np.arange(n) == 20).astype(int)
    return pd.DataFrame(columns), about


@pytest.fixture
def images(tmp_path):
    return Images(tmp_path / "study")


@dataclass
class Surfaces:
    """Time series on surfaces and in grayordinates, written by nibabel, whose every number is known."""

    root: Path
    tr: float = 1.5

    def place(self, name):
        path = self.root / "derivatives/fmriprep/sub-01/func" / f"sub-01_task-x_{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def data(self, seed, volumes=7, places=5):
        return np.random.default_rng(seed).standard_normal((volumes, places)).astype(np.float32)

    def gifti(self, data, side="L", name=None, step=None, structure=None, intent="TIME_SERIES", **how):
        """A hemisphere: an array per time point, as FreeSurfer writes them."""
        from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiMetaData

        path = self.place(name or f"hemi-{side}_space-fsaverage5_bold.func.gii")
        meta = {} if step is None else {"TimeStep": str(step)}
        frames = [GiftiDataArray(row, f"NIFTI_INTENT_{intent}", meta=meta, **how) for row in data]
        about = None if structure is None else GiftiMetaData(AnatomicalStructurePrimary=structure)
        nibabel.save(GiftiImage(meta=about, darrays=frames), path)
        return path

    def axis(self, left=4, right=3, affine=None):
        """Two cortices without their medial walls, a thalamus and a brain stem of voxels."""
        from nibabel.cifti2 import BrainModelAxis

        voxels = np.zeros((4, 4, 3), bool)
        thalamus, stem = voxels.copy(), voxels.copy()
        thalamus[1, 2, :2], stem[3, 3, 2] = True, True
        affine = np.diag([-2.0, 2, 2, 1]) if affine is None else affine
        mask = lambda n: np.arange(n + 2) % (n + 1) > 0  # noqa: E731
        return (
            BrainModelAxis.from_mask(mask(left), "cortex_left")
            + BrainModelAxis.from_mask(mask(right), "cortex_right")
            + BrainModelAxis.from_mask(thalamus, "thalamus_left", affine=affine)
            + BrainModelAxis.from_mask(stem, "brain_stem", affine=affine)
        )

    def cifti(self, data, axis, name="space-fsLR_den-91k_bold.dtseries.nii", start=0.0, time=None, **how):
        from nibabel.cifti2 import Cifti2Image, SeriesAxis

        path = self.place(name)
        time = SeriesAxis(start, self.tr, len(data)) if time is None else time
        nibabel.save(Cifti2Image(data, (time, axis), **how), path)
        return path


@pytest.fixture
def surfaces(tmp_path):
    return Surfaces(tmp_path / "study")


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

    def write(self, extension, data, names, **place):
        """One run in a format, with its sidecar."""
        path = self.path(extension, **place)
        WRITERS[extension](path, data, names, self.fs)
        path.with_name(path.name.removesuffix(extension) + ".json").write_text('{"PowerLineFrequency": 50}')
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
    field = lambda values, width: "".join(f"{value!s:<{width}}"[:width] for value in values)  # noqa: E731
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
    ".vhdr": write_brainvision,
    ".edf": write_edf,
    ".bdf": write_edf,
    ".fif": write_fif,
    ".set": write_eeglab,
    ".nwb": write_nwb,
}


@pytest.fixture
def electric(tmp_path):
    return Electric(tmp_path / "study")


@pytest.fixture
def writers():
    return WRITERS
