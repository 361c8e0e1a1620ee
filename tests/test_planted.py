"""One response, planted on a real transcript and written in every form a lab keeps: each is read, cleaned and fitted,
and what was planted is found in all of them alike."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, ParcelsAxis, SeriesAxis
from nibabel.gifti import GiftiDataArray, GiftiImage

import brainalign as ba

DATA = Path(os.environ.get("BRAINALIGN_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))

TR, START, VOLUMES = 2.0, 0.5, 210
RUNS, PEOPLE, COLUMNS = ("1", "2", "3", "4"), ("01", "02", "03"), 24
ROWS = {run: slice(k * VOLUMES, (k + 1) * VOLUMES) for k, run in enumerate(RUNS)}
DELAYS = (0, 1, 2, 3, 4, 5)
LAG = 1 + np.arange(COLUMNS) % 4  # volumes
GAIN = np.linspace(1.0, 3.0, COLUMNS)  # what the scanner says of one word of five letters
SHARE = 0.5  # of a person's variance that is the response, once drift and motion are out
STEP, MIDDLE = 1 / 32, 600.0  # of whole numbers with a scale: what is written is the same number in every form
MOTION = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]
QUIET = ba.Chance(permutations=0, bootstrap=0)
AT = START + TR * np.arange(VOLUMES)


def heard(words, times):
    """(times,) words, each with a fifth of its letters, low-passed at half the sampling rate (Lanczos)."""
    t = (times[:, None] - words["onset"].to_numpy()[None, :]) / TR
    return np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0.0) @ (1 + words["word"].str.len().to_numpy() / 5)


def nuisance_of(confounds):
    """(volumes, k) orthonormal: cubic polynomial, cosines of periods above 128 s, motion."""
    t = np.arange(VOLUMES)
    cosines = [np.cos(np.pi * (t + 0.5) * k / VOLUMES) for k in range(1, int(2 * VOLUMES * TR / 128) + 1)]
    slow = np.column_stack([np.vander(np.linspace(-1, 1, VOLUMES), 4), *cosines])
    motion = confounds[MOTION].to_numpy(float)
    return np.linalg.qr(np.hstack([slow, motion / motion.std(0)]))[0]


@dataclass(frozen=True)
class Planted:
    """What was planted, and what of it a perfect reader of the files would find."""

    words: pd.DataFrame
    unit: np.ndarray  # (samples, delays): what every response is a multiple of, at each lag
    still: np.ndarray  # (people, samples, columns): drift, response, noise
    values: np.ndarray  # the same after heads moved
    confounds: dict  # (person, run) → table
    clean: np.ndarray  # (samples, columns): the response alone, cleaned and brought to one scale, mean over people
    share: float  # of one person's variance

    def of(self, person, run):
        """(volumes, columns) float32, as the scanner has them."""
        return self.values[PEOPLE.index(person), ROWS[run]]


@pytest.fixture(scope="module")
def planted():
    path = DATA / "speech-transcripts/podcast_monkey_words_512hz.csv"
    if not path.is_file():
        pytest.skip(f"no transcript at {path}: set BRAINALIGN_TEST_DATA")
    words = pd.read_csv(path).dropna().sort_values("onset", kind="stable", ignore_index=True)
    onset, length = words["onset"] / 512, VOLUMES * TR
    run = (onset // length).astype(int)
    words = pd.DataFrame(
        {
            "run": (run + 1).astype(str),
            "onset": (onset - run * length).round(4),
            "duration": ((words["offset"] - words["onset"]) / 512).clip(0).round(4),
            "word": words["word"],
        }
    )
    words = words[words["run"].isin(RUNS)]
    rng = np.random.default_rng(0)
    unit = np.vstack([np.stack([heard(words[words["run"] == r], AT - TR * d) for d in DELAYS], axis=1) for r in RUNS])
    response = GAIN * unit[:, LAG]
    confounds = {(p, r): _confounds(rng) for p in PEOPLE for r in RUNS}
    left = np.empty((len(PEOPLE), *response.shape))
    for p, person in enumerate(PEOPLE):
        for run, rows in ROWS.items():
            Q = nuisance_of(confounds[person, run])
            left[p, rows] = response[rows] - Q @ (Q.T @ response[rows])
    k = Q.shape[1]
    noise = np.sqrt((left**2).mean((0, 1)) * (1 - SHARE) / SHARE * VOLUMES / (VOLUMES - k))
    signal = (left.reshape(len(PEOPLE), len(RUNS), VOLUMES, COLUMNS) ** 2).mean(2)
    total = signal + noise**2 * (VOLUMES - k) / VOLUMES
    scale = np.repeat(np.sqrt(total), VOLUMES, axis=1)
    still = np.empty((len(PEOPLE), len(unit), COLUMNS))
    moved = np.empty_like(still)
    t = np.linspace(-1, 1, VOLUMES)
    for p, person in enumerate(PEOPLE):
        for run, rows in ROWS.items():
            drift = np.outer(t**3 - 2 * t, rng.normal(0, 20, COLUMNS)) + rng.normal(0, 30, COLUMNS)
            still[p, rows] = MIDDLE + drift + response[rows] + noise * rng.standard_normal((VOLUMES, COLUMNS))
            motion = confounds[person, run][MOTION].to_numpy(float)
            motion = (motion - motion.mean(0)) / motion.std(0)
            moved[p, rows] = still[p, rows] + 2 * motion @ rng.standard_normal((6, COLUMNS)) * noise
    rounded = [(np.round(v / STEP) * STEP).astype(np.float32) for v in (still, moved)]
    return Planted(words, unit, *rounded, confounds, (left / scale).mean(0), float((signal / total).mean()))


def _confounds(rng):
    """As fMRIPrep writes them: motion, a displacement without a first value, which a few volumes exceed."""
    steps = rng.normal(0, [0.02] * 3 + [0.0004] * 3, (VOLUMES, 6))
    table = pd.DataFrame(np.cumsum(steps, axis=0).round(6), columns=MOTION)
    displacement = rng.uniform(0.05, 0.3, VOLUMES)
    displacement[rng.choice(np.arange(5, VOLUMES), 12, replace=False)] += 0.6
    displacement[0] = np.nan
    return table.assign(framewise_displacement=displacement.round(6))


class Tree:
    """A BIDS tree with fMRIPrep's names."""

    def __init__(self, root, planted):
        self.root, self.planted = root, planted
        for run, events in planted.words.groupby("run"):
            self.write_table(root / f"task-podcast_run-{run}_events.tsv", events.drop(columns="run"))

    def write_table(self, path, table):
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, sep="\t", index=False, na_rep="n/a")

    def place(self, person, run, rest):
        folder = self.root / f"derivatives/fmriprep/sub-{person}/func"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"sub-{person}_task-podcast_run-{run}_{rest}"

    def fill(self, write, sidecar, **clock):
        """Every run of everybody by a function, with its confounds, and one sidecar for all."""
        said = {"RepetitionTime": TR, "StartTime": START} | clock
        (self.root / "derivatives/fmriprep" / f"task-podcast_{sidecar}.json").parent.mkdir(parents=True)
        (self.root / "derivatives/fmriprep" / f"task-podcast_{sidecar}.json").write_text(
            json.dumps({key: value for key, value in said.items() if value is not None})
        )
        for person, run in self.planted.confounds:
            self.write_table(
                self.place(person, run, "desc-confounds_timeseries.tsv"), self.planted.confounds[person, run]
            )
            write(self, person, run, self.planted.of(person, run))
        return self


MASK = np.zeros((5, 4, 4), bool)
MASK[1:4, :, 1:3] = True
AFFINE = np.diag([-3.0, 3, 3, 1])


def nifti(tree, person, run, values, kind=np.int16):
    """An image of whole numbers with a scale, and its mask."""
    stem = "space-MNI152NLin2009cAsym_res-3_desc"
    whole = np.zeros((*MASK.shape, len(values)))
    whole[MASK] = values.T
    image = nibabel.Nifti1Image(whole.astype(kind), AFFINE)
    if kind == np.int16:
        image = nibabel.Nifti1Image(np.round((whole - MIDDLE) / STEP).astype(kind), AFFINE)
        image.header.set_slope_inter(STEP, MIDDLE)
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_zooms((3, 3, 3, TR))
    nibabel.save(image, tree.place(person, run, f"{stem}-preproc_bold.nii.gz"))
    mask = nibabel.Nifti1Image(MASK.astype(np.uint8), AFFINE)
    nibabel.save(mask, tree.place(person, run, f"{stem}-brain_mask.nii.gz"))


def nifti_float(tree, person, run, values):
    nifti(tree, person, run, values, np.float32)


def segmented(tree, person, run, values):
    """An image twice as long as the mask: a region is two voxels, whose mean is what was planted."""
    both = np.concatenate([MASK, MASK])
    whole = np.zeros((*both.shape, len(values)), np.float32)
    apart = STEP * np.arange(len(values))[:, None]
    whole[both] = np.concatenate([values + apart, values - apart], axis=1).T
    labels = np.zeros(both.shape, np.int16)
    labels[both] = np.tile(np.arange(1, COLUMNS + 1), 2)
    image = nibabel.Nifti1Image(whole, AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_zooms((3, 3, 3, TR))
    nibabel.save(image, tree.place(person, run, "space-T1w_desc-preproc_bold.nii.gz"))
    nibabel.save(
        nibabel.Nifti1Image(both.astype(np.uint8), AFFINE), tree.place(person, run, "space-T1w_desc-brain_mask.nii.gz")
    )
    nibabel.save(nibabel.Nifti1Image(labels, AFFINE), tree.place(person, run, "space-T1w_desc-aparcaseg_dseg.nii.gz"))
    names = pd.DataFrame({"index": np.arange(1, COLUMNS + 1), "name": [f"region {k}" for k in range(COLUMNS)]})
    tree.write_table(tree.root / "derivatives/fmriprep/desc-aparcaseg_dseg.tsv", names)


def gifti(tree, person, run, values):
    """Two hemispheres of twelve vertices and a medial wall of two."""
    for side, half in (("L", values[:, :12]), ("R", values[:, 12:])):
        wall = np.zeros((len(half), 2), np.float32)
        frames = [GiftiDataArray(row, "NIFTI_INTENT_TIME_SERIES") for row in np.hstack([half, wall])]
        nibabel.save(GiftiImage(darrays=frames), tree.place(person, run, f"hemi-{side}_space-fsaverage5_bold.func.gii"))


def cifti(tree, person, run, values):
    """Ten vertices of the left, eight of the right, and six voxels."""
    voxels = np.zeros((3, 3, 3), bool)
    voxels[1, :2] = True
    places = (
        BrainModelAxis.from_mask(np.arange(12) % 11 > 0, "cortex_left")
        + BrainModelAxis.from_mask(np.arange(10) % 9 > 0, "cortex_right")
        + BrainModelAxis.from_mask(voxels, "thalamus_left", affine=AFFINE)
    )
    path = tree.place(person, run, "space-fsLR_den-91k_bold.dtseries.nii")
    nibabel.save(Cifti2Image(values, (SeriesAxis(0, TR, len(values)), places)), path)


def parcels(tree, person, run, values):
    cortex = [BrainModelAxis.from_mask(np.arange(COLUMNS) == k, "cortex_left") for k in range(COLUMNS)]
    places = ParcelsAxis.from_brain_models([(f"region {k}", one) for k, one in enumerate(cortex)])
    path = tree.place(person, run, "space-fsLR_seg-Glasser_bold.ptseries.nii")
    nibabel.save(Cifti2Image(values, (SeriesAxis(0, TR, len(values)), places)), path)


def table(tree, person, run, values):
    named = pd.DataFrame(values.astype(float), columns=[f"region {k}" for k in range(COLUMNS)])
    tree.write_table(tree.place(person, run, "seg-Glasser_timeseries.tsv"), named)


FORMS = {
    "NIfTI of whole numbers": (nifti, "bold", {}),
    "NIfTI of float32": (nifti_float, "bold", {}),
    "NIfTI and an atlas": (segmented, "bold", {"atlas": "aparcaseg"}),
    "GIFTI": (gifti, "bold", {}),
    "CIFTI": (cifti, "bold", {}),
    "CIFTI of parcels": (parcels, "bold", {}),
    "a table of regions": (table, "timeseries", {}),
}


def walk(words, brain, nuisance=("drift", "motion"), ceiling=ba.between_subjects):
    """The usual way from words and a recording to scores."""
    features = ba.join(ba.word_rate(words), ba.word_length(words))
    X = ba.delay(ba.resample(features, onto=brain), volumes=DELAYS)
    return X, ba.encode(X, ba.clean(brain, nuisance), ceiling=ceiling, chance=QUIET)
