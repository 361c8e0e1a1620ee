"""Trees to be read and broken: a copy of the alice sample, and generated images under fMRIPrep's names."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

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
