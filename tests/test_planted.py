"""One response, planted on a real transcript and written in every form a lab keeps: each is read, cleaned and fitted,
and what was planted is found in all of them alike."""

import json
import os
from collections.abc import Callable
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
from brainalign.encoding import ceilings

DATA = Path(os.environ.get("BRAINALIGN_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))

TR, START, VOLUMES = 2.0, 1.0, 210
RUNS, PEOPLE, COLUMNS = ("1", "2", "3", "4"), ("01", "02", "03"), 16
ROWS = {run: slice(k * VOLUMES, (k + 1) * VOLUMES) for k, run in enumerate(RUNS)}
AT = START + TR * np.arange(VOLUMES)
DELAYS = (0, 1, 2, 3, 4, 5)
LAG = 1 + np.arange(COLUMNS) % 4  # volumes
GAIN = np.linspace(1.0, 3.0, COLUMNS)  # what the scanner says of one word of five letters, times two
SHARE = 0.5  # of a person's variance that is the response, once drift is out
STEP, MIDDLE = 1 / 32, 600.0  # of whole numbers with a scale: what is written is the same number in every form
MOTION = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]
FD = 0.5
QUIET = ba.Chance(permutations=0, bootstrap=0)
AFFINE = np.diag([-3.0, 3, 3, 1])
MASK = np.zeros((4, 4, 4), bool)
MASK[1:3, :, 1:3] = True


@dataclass(frozen=True)
class Planted:
    """What was planted, and what of it is left for a perfect model to find."""

    words: pd.DataFrame
    unit: np.ndarray  # (samples, delays): what every response is a multiple of, at each lag
    noise: np.ndarray  # (columns,) SD
    still: np.ndarray  # (people, samples, columns) float32: drift, response, noise
    moved: np.ndarray  # the same after heads moved
    confounds: dict  # (person, run) → table

    def truth(self, motion):
        """(samples, columns) the mean person's response, cleaned; and the response's share of one person's variance."""
        tables = {who: table if motion else None for who, table in self.confounds.items()}
        left = np.stack([[without(self.unit[ROWS[r]], tables[p, r]) for r in RUNS] for p in PEOPLE])
        left = GAIN * left[..., LAG]
        signal = (left**2).mean(2, keepdims=True)
        total = signal + self.noise**2 * (1 - (10 + 6 * motion) / VOLUMES)
        return (left / np.sqrt(total)).mean(0).reshape(-1, COLUMNS), float((signal / total).mean())


def heard(words, times):
    """(times,) words, each with a fifth of its letters, low-passed at half the sampling rate (Lanczos)."""
    t = (times[:, None] - words["onset"].to_numpy()[None, :]) / TR
    return np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0.0) @ (1 + words["word"].str.len().to_numpy() / 5)


def without(values, confounds):
    """Values (volumes, m) less mean, cubic polynomial, cosines of periods above 128 s, and motion, by least squares."""
    t = np.arange(VOLUMES)
    cosines = [np.cos(np.pi * (t + 0.5) * k / VOLUMES) for k in range(1, int(2 * VOLUMES * TR / 128) + 1)]
    slow = np.column_stack([np.vander(np.linspace(-1, 1, VOLUMES), 4), *cosines])
    motion = np.zeros((VOLUMES, 0)) if confounds is None else confounds[MOTION].to_numpy()
    Q = np.linalg.qr(np.hstack([slow, motion / motion.std(0)]))[0]
    return values - Q @ (Q.T @ values)


@pytest.fixture(scope="module")
def planted():
    path = DATA / "speech-transcripts/podcast_monkey_words_512hz.csv"
    if not path.is_file():
        pytest.skip(f"no transcript at {path}: set BRAINALIGN_TEST_DATA")
    spoken = pd.read_csv(path).dropna().sort_values("onset", kind="stable", ignore_index=True)
    run, onset = np.divmod(spoken["onset"] / 512, VOLUMES * TR)
    duration = ((spoken["offset"] - spoken["onset"]) / 512).clip(lower=0)
    words = pd.DataFrame({"onset": onset.round(4), "duration": duration.round(4), "word": spoken["word"]})
    words = words.assign(run=(run + 1).astype(int).astype(str)).query("run in @RUNS")
    heard_by_run = [words[words["run"] == run] for run in RUNS]
    unit = np.concatenate([np.stack([heard(one, AT - TR * d) for d in DELAYS], axis=1) for one in heard_by_run])
    left = np.concatenate([without(unit[rows], None) for rows in ROWS.values()])
    noise = GAIN * left[:, LAG].std(0) * np.sqrt((1 - SHARE) / SHARE)
    rng = np.random.default_rng(0)
    confounds = {(person, run): _confounds(rng) for person in PEOPLE for run in RUNS}
    still = np.empty((len(PEOPLE), len(unit), COLUMNS))
    moved, t = np.empty_like(still), np.linspace(-1, 1, VOLUMES)
    for (person, run), table in confounds.items():
        here = PEOPLE.index(person), ROWS[run]
        drift = np.outer(t**3 - 2 * t, rng.normal(0, 20, COLUMNS)) + rng.normal(MIDDLE, 30, COLUMNS)
        motion = (table[MOTION] - table[MOTION].mean()).to_numpy()
        still[here] = drift + GAIN * unit[ROWS[run]][:, LAG] + noise * rng.standard_normal((VOLUMES, COLUMNS))
        moved[here] = still[here] + motion / motion.std(0) @ rng.normal(0, 2, (6, COLUMNS)) * noise
    still, moved = ((np.round(values / STEP) * STEP).astype(np.float32) for values in (still, moved))
    return Planted(words, unit, noise, still, moved, confounds)


def _confounds(rng):
    """As fMRIPrep writes them: motion, and a displacement that has no first value and is large in a few volumes."""
    steps = rng.normal(0, [0.02] * 3 + [0.0004] * 3, (VOLUMES, 6))
    displacement = rng.uniform(0.05, 0.3, VOLUMES)
    displacement[rng.choice(np.arange(5, VOLUMES), 12, replace=False)] += FD
    displacement[0] = np.nan
    table = pd.DataFrame(np.cumsum(steps, axis=0).round(6), columns=MOTION)
    return table.assign(framewise_displacement=displacement.round(6))


@dataclass(frozen=True)
class Tree:
    """A BIDS tree, with derivatives under fMRIPrep's names."""

    root: Path

    def place(self, person, run, rest):
        path = self.root / f"derivatives/fmriprep/sub-{person}/func/sub-{person}_task-podcast_run-{run}_{rest}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def table(self, path, table):
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, sep="\t", index=False, na_rep="n/a")

    def image(self, path, values, header=None):
        image = nibabel.Nifti1Image(values, AFFINE, header)
        image.header.set_xyzt_units("mm", "sec")
        image.header.set_zooms((3, 3, 3, TR)[: values.ndim])
        nibabel.save(image, path)

    def fill(self, planted, form, values=None, people=PEOPLE, **clock):
        """The events of every run, and everybody's recordings in one form with their confounds and a clock."""
        values = planted.moved if values is None else values
        for run, events in planted.words.groupby("run"):
            self.table(self.root / f"task-podcast_run-{run}_events.tsv", events.drop(columns="run"))
        for person in people:
            for run, rows in ROWS.items():
                form.write(self, person, run, values[PEOPLE.index(person), rows])
                confounds = planted.confounds[person, run]
                self.table(self.place(person, run, "desc-confounds_timeseries.tsv"), confounds)
        said = {"RepetitionTime": TR, "StartTime": START} | clock
        said = {key: value for key, value in said.items() if value is not None}
        (self.root / f"derivatives/fmriprep/task-podcast_{form.suffix}.json").write_text(json.dumps(said))
        return self.root


@dataclass(frozen=True)
class Form:
    """How one run of one person is written, and what has to be asked for to read it."""

    write: Callable
    suffix: str = "bold"
    asked: tuple = ()


def nifti(tree, person, run, values, kind=np.float32):
    """Voxels of a mask, and a background that never changes."""
    whole = np.full((*MASK.shape, len(values)), MIDDLE)
    whole[MASK] = values.T
    stem = "space-MNI152NLin2009cAsym_res-3_desc"
    header = nibabel.Nifti1Header()
    if kind == np.int16:
        header.set_slope_inter(STEP, MIDDLE)
        header.set_data_dtype(np.int16)
    tree.image(tree.place(person, run, f"{stem}-preproc_bold.nii.gz"), whole.astype(np.float32), header)
    tree.image(tree.place(person, run, f"{stem}-brain_mask.nii.gz"), MASK.astype(np.uint8))


def whole_numbers(tree, person, run, values):
    nifti(tree, person, run, values, np.int16)


def segmented(tree, person, run, values):
    """Every region is two voxels, whose mean is what was planted."""
    both, labels = np.concatenate([MASK, MASK]), np.zeros((8, 4, 4), np.int16)
    whole = np.full((*both.shape, len(values)), MIDDLE, np.float32)
    apart = STEP * np.arange(len(values))[:, None]
    whole[both], labels[both] = np.hstack([values + apart, values - apart]).T, np.tile(np.arange(COLUMNS) + 1, 2)
    tree.image(tree.place(person, run, "space-T1w_desc-preproc_bold.nii.gz"), whole)
    tree.image(tree.place(person, run, "space-T1w_desc-brain_mask.nii.gz"), both.astype(np.uint8))
    tree.image(tree.place(person, run, "space-T1w_desc-aparcaseg_dseg.nii.gz"), labels)
    names = pd.DataFrame({"index": np.arange(COLUMNS) + 1, "name": REGIONS})
    tree.table(tree.root / "derivatives/fmriprep/desc-aparcaseg_dseg.tsv", names)


def gifti(tree, person, run, values):
    """Two hemispheres, each with a medial wall of two vertices."""
    for side, half in (("L", values[:, :9]), ("R", values[:, 9:])):
        rows = np.hstack([half, np.zeros((len(half), 2), np.float32)])
        frames = [GiftiDataArray(row, "NIFTI_INTENT_TIME_SERIES") for row in rows]
        nibabel.save(GiftiImage(darrays=frames), tree.place(person, run, f"hemi-{side}_space-fsaverage5_bold.func.gii"))


def cifti(tree, person, run, values):
    """Seven vertices of the left, five of the right, and four voxels."""
    voxels = np.zeros((3, 3, 3), bool)
    voxels[1, :2, :2] = True
    places = (
        BrainModelAxis.from_mask(np.arange(9) % 8 > 0, "cortex_left")
        + BrainModelAxis.from_mask(np.arange(7) % 6 > 0, "cortex_right")
        + BrainModelAxis.from_mask(voxels, "thalamus_left", affine=AFFINE)
    )
    path = tree.place(person, run, "space-fsLR_den-91k_bold.dtseries.nii")
    nibabel.save(Cifti2Image(values, (SeriesAxis(0, TR, len(values)), places)), path)


def parcels(tree, person, run, values):
    cortex = [BrainModelAxis.from_mask(np.arange(COLUMNS) == k, "cortex_left") for k in range(COLUMNS)]
    places = ParcelsAxis.from_brain_models(list(zip(REGIONS, cortex, strict=True)))
    path = tree.place(person, run, "space-fsLR_seg-Glasser_bold.ptseries.nii")
    nibabel.save(Cifti2Image(values, (SeriesAxis(0, TR, len(values)), places)), path)


def regions(tree, person, run, values):
    table = pd.DataFrame(values.astype(float), columns=REGIONS)
    tree.table(tree.place(person, run, "seg-Glasser_timeseries.tsv"), table)


def regions_with_times(tree, person, run, values):
    table = pd.DataFrame(values.astype(float), columns=REGIONS)
    table.insert(0, "time", AT)
    tree.table(tree.place(person, run, "seg-Glasser_timeseries.tsv"), table)


REGIONS = [f"region {k}" for k in range(COLUMNS)]
FORMS = {
    "NIfTI of whole numbers": Form(whole_numbers),
    "NIfTI of float32": Form(nifti),
    "NIfTI and an atlas": Form(segmented, asked=(("atlas", "aparcaseg"),)),
    "GIFTI": Form(gifti),
    "CIFTI": Form(cifti),
    "CIFTI of parcels": Form(parcels),
    "a table of regions": Form(regions, "timeseries"),
}


def from_tree(planted, root, form):
    """Words and the mean over people, as both are read from a tree."""
    bold = ba.read_fmri(Tree(root).fill(planted, form) and root, average="subjects", **dict(form.asked))
    return ba.read_events(root), bold


def from_matrices(planted, root):
    """As LeBel et al. (2023) keep theirs: nothing but numbers, already without what motion did."""
    for k, person in enumerate(PEOPLE):
        folder = root / f"derivative/preprocessed_data/UTS{person}"
        folder.mkdir(parents=True)
        for run, rows in ROWS.items():
            with h5py.File(folder / f"{run}.hf5", "w") as file:
                file["data"] = planted.still[k, rows].astype(float)
    return planted.words, ba.average_people(ba.read_matrices(root, tr=TR, start_s=START))


def as_arrays(planted, motion):
    """What was planted, before heads moved, without any file."""
    samples = pd.DataFrame({"run": np.repeat(RUNS, VOLUMES), "time": np.tile(AT, len(RUNS))})
    columns = pd.DataFrame({"subject": np.repeat(PEOPLE, COLUMNS), "roi": REGIONS * len(PEOPLE)})
    tables = [pd.concat([planted.confounds[p, run][MOTION] for run in RUNS]).to_numpy() for p in PEOPLE]
    named = pd.DataFrame({"subject": np.repeat(PEOPLE, 6), "confound": MOTION * len(PEOPLE)})
    related = {"confounds": ba.Signal(np.hstack(tables), samples, named)} if motion else {}
    return planted.words, ba.average_people(ba.Signal(np.hstack(list(planted.still)), samples, columns, related))


def walk(words, brain, nuisance, **how):
    """The usual way from words and a recording to scores."""
    features = ba.join(ba.word_rate(words), ba.word_length(words))
    X = ba.delay(ba.resample(features, onto=brain), volumes=DELAYS)
    return X, ba.encode(X, ba.clean(brain, nuisance), chance=QUIET, **how)


def slopes(planted, X, weights):
    """(delays, columns) what weights make of the regressor at each lag: the response's course, as it was found."""
    out = []
    for k, delay in enumerate(DELAYS):
        mine, unit = (X.columns["delay"] == delay).to_numpy(), planted.unit[:, k] - planted.unit[:, k].mean()
        out.append(unit @ (X.values[:, mine] @ weights[mine]) / (unit @ unit))
    return np.stack(out)


@pytest.fixture(scope="module")
def reference(planted):
    """The same walk without files and without motion, once for each way of cleaning."""
    return {
        motion: walk(*as_arrays(planted, motion), ["drift", *["motion"] * motion], ceiling=ba.between_subjects)[1]
        for motion in (True, False)
    }


@pytest.mark.parametrize("form", [*FORMS, "HDF5"])
def test_lag_gain_and_ceiling_are_found_alike_in_every_form(planted, reference, tmp_path, form):
    motion = form != "HDF5"
    read = from_matrices(planted, tmp_path) if form == "HDF5" else from_tree(planted, tmp_path, FORMS[form])
    words, brain = read
    written = planted.moved if motion else planted.still
    assert np.array_equal(brain.related["people"].values, np.hstack(list(written)))

    X, fit = walk(words, brain, ["drift", *["motion"] * motion], ceiling=ba.between_subjects)
    course = slopes(planted, X, fit.weights.values)
    assert (np.abs(np.abs(course).argmax(0) - LAG) <= 1).all()
    clean, share = planted.truth(motion)
    centred = X.values - X.values.mean(0)
    least = slopes(planted, X, np.linalg.lstsq(centred.astype(float), clean, rcond=None)[0])
    at = LAG, np.arange(COLUMNS)
    gain = GAIN * course[at] / least[at]
    print(form, (np.abs(course).argmax(0) == LAG).mean(), np.corrcoef(gain, GAIN)[0,1], (gain / GAIN).mean(), (gain/GAIN).std(), (least[at]/GAIN).mean())

    people = len(PEOPLE)
    print(fit.scores["ceiling_r"].mean() - np.sqrt(people * share / (1 + (people - 1) * share)), fit.people["ceiling_r"].mean() - np.sqrt(share))
    assert abs(fit.scores["ceiling_r"].mean() - np.sqrt(people * share / (1 + (people - 1) * share))) < 0.03
    assert abs(fit.people["ceiling_r"].mean() - np.sqrt(share)) < 0.03
    for mine, want in ((fit.scores, reference[motion].scores), (fit.people, reference[motion].people)):
        for column in ("r", "r2", "ceiling_r", "normalised_r"):
            print(column, np.abs(mine[column] - want[column]).max())
            np.testing.assert_allclose(mine[column], want[column], atol=1e-3)
