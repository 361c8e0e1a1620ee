"""One response, planted on a real transcript and written in every form a lab keeps: each is read, cleaned and fitted,
and what was planted is found in all of them alike."""

import ast
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, ParcelsAxis, SeriesAxis
from nibabel.gifti import GiftiDataArray, GiftiImage
from scipy.io import savemat

import brainalign as ba
from brainalign.encoding import ceilings

DATA = Path(os.environ.get("BRAINALIGN_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))

TR, START, VOLUMES = 2.0, 1.0, 160
RUNS, PEOPLE, COLUMNS = ("1", "2", "3", "4"), ("01", "02", "03"), 12
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
MASK = np.zeros((4, 3, 4), bool)
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
        total = signal + self.noise**2 * (1 - (slow().shape[1] + 6 * motion) / VOLUMES)
        return (left / np.sqrt(total)).mean(0).reshape(-1, COLUMNS), float((signal / total).mean())


def heard(words, times):
    """(times,) words, each with a fifth of its letters, low-passed at half the sampling rate (Lanczos)."""
    t = (times[:, None] - words["onset"].to_numpy()[None, :]) / TR
    return np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0.0) @ (1 + words["word"].str.len().to_numpy() / 5)


def slow():
    """(volumes, k) mean, cubic polynomial, cosines of periods above 128 s."""
    t, n = np.arange(VOLUMES), int(2 * VOLUMES * TR / 128)
    cosines = [np.cos(np.pi * (t + 0.5) * k / VOLUMES) for k in range(1, n + 1)]
    return np.column_stack([np.vander(np.linspace(-1, 1, VOLUMES), 4), *cosines])


def without(values, confounds):
    """Values (volumes, m) less what is slow and (if there are confounds) motion, by least squares."""
    motion = np.zeros((VOLUMES, 0)) if confounds is None else confounds[MOTION].to_numpy()
    Q = np.linalg.qr(np.hstack([slow(), motion / motion.std(0)]))[0]
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

    def image(self, path, values, scale=(None, None)):
        image = nibabel.Nifti1Image(values, AFFINE)
        image.header.set_slope_inter(*scale)
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


def nifti(tree, person, run, values, scale=(None, None)):
    """Voxels of a mask, and a background that never changes."""
    whole = np.zeros((*MASK.shape, len(values)), values.dtype)
    whole[MASK] = values.T
    stem = "space-MNI152NLin2009cAsym_res-3_desc"
    tree.image(tree.place(person, run, f"{stem}-preproc_bold.nii.gz"), whole, scale)
    tree.image(tree.place(person, run, f"{stem}-brain_mask.nii.gz"), MASK.astype(np.uint8))


def whole_numbers(tree, person, run, values):
    nifti(tree, person, run, np.round((values - MIDDLE) / STEP).astype(np.int16), (STEP, MIDDLE))


def segmented(tree, person, run, values):
    """Every region is two voxels, whose mean is what was planted."""
    both, labels = np.concatenate([MASK, MASK]), np.zeros((8, 3, 4), np.int16)
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
    for side, half in (("L", values[:, :7]), ("R", values[:, 7:])):
        rows = np.hstack([half, np.zeros((len(half), 2), np.float32)])
        frames = [GiftiDataArray(row, "NIFTI_INTENT_TIME_SERIES") for row in rows]
        nibabel.save(GiftiImage(darrays=frames), tree.place(person, run, f"hemi-{side}_space-fsaverage5_bold.func.gii"))


def cifti(tree, person, run, values):
    """Five vertices of the left, three of the right, and four voxels."""
    voxels = np.zeros((3, 3, 3), bool)
    voxels[1, :2, :2] = True
    places = (
        BrainModelAxis.from_mask(np.arange(7) % 6 > 0, "cortex_left")
        + BrainModelAxis.from_mask(np.arange(5) % 4 > 0, "cortex_right")
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
    bold = ba.read_fmri(Tree(root).fill(planted, form), average="subjects", **dict(form.asked))
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
    return X, ba.encode(X, ba.clean(brain, nuisance), chance=QUIET, inner=3, **how)


def slopes(planted, X, weights):
    """(delays, columns) what weights make of the regressor at each lag: the response's course, as it was found."""
    out = []
    for k, delay in enumerate(DELAYS):
        mine, unit = (X.columns["delay"] == delay).to_numpy(), planted.unit[:, k] - planted.unit[:, k].mean()
        out.append(unit @ (X.values[:, mine] @ weights[mine]) / (unit @ unit))
    return np.stack(out)


def lag_of(course):
    """(columns,) the centre of mass of what is above zero in each response's course, in volumes."""
    above = np.clip(course, 0, None)
    return (above * np.array(DELAYS)[:, None]).sum(0) / above.sum(0)


@pytest.fixture(scope="module")
def reference(planted):
    """The same walk without files and without motion, once for each way of cleaning."""
    return {
        motion: walk(*as_arrays(planted, motion), ["drift", *["motion"] * motion], ceiling=ba.between_subjects)[1]
        for motion in (True, False)
    }


@pytest.mark.parametrize("form", [*FORMS, "HDF5"])
def test_lag_gain_and_ceiling_are_found_alike_in_every_form(planted, reference, tmp_path, form):
    """Heads moved in all but the last, so what is compared with is what motion was removed from."""
    motion = form != "HDF5"
    words, brain = from_tree(planted, tmp_path, FORMS[form]) if motion else from_matrices(planted, tmp_path)
    written = planted.moved if motion else planted.still
    assert np.array_equal(brain.related["people"].values, np.hstack(list(written)))

    X, fit = walk(words, brain, ["drift", *["motion"] * motion], ceiling=ba.between_subjects)
    course = slopes(planted, X, fit.weights.values)
    assert (np.abs(course).argmax(0) == LAG).all()

    # responses were cleaned and z-scored, the design was not: what least squares finds of the response alone, per gain
    clean, share = planted.truth(motion)
    at = LAG, np.arange(COLUMNS)
    least = np.linalg.lstsq(X.values - X.values.mean(0, dtype=float), clean, rcond=None)[0]
    gain = course[at] / (slopes(planted, X, least)[at] / GAIN)
    np.testing.assert_allclose(gain, GAIN, rtol=0.1)
    assert abs((gain / GAIN).mean() - 1) < 0.02

    of_mean = len(PEOPLE) * share / (1 + (len(PEOPLE) - 1) * share)  # Spearman and Brown
    assert abs(fit.scores["ceiling_r"].mean() - np.sqrt(of_mean)) < 0.03
    assert abs(fit.people["ceiling_r"].mean() - np.sqrt(share)) < 0.03
    for mine, want in ((fit.scores, reference[motion].scores), (fit.people, reference[motion].people)):
        for column in ("r", "r2", "ceiling_r", "normalised_r"):
            np.testing.assert_allclose(mine[column], want[column], atol=1e-3)


def test_motion_that_is_not_removed_costs(planted, reference):
    words, brain = as_arrays(replace(planted, still=planted.moved), motion=True)
    scores = walk(words, brain, ["drift"], ceiling=ba.between_subjects)[1].people["r"]
    assert (reference[True].people["r"] - scores).mean() > 0.2


@pytest.mark.parametrize("form", [form for form in FORMS if form != "CIFTI of parcels"])
def test_what_censored_volumes_hold_has_no_say(planted, tmp_path, form):
    def fitted(root, values, confounds):
        Tree(root).fill(replace(planted, confounds=confounds), FORMS[form], values, people=["01"])
        asked = dict(FORMS[form].asked) | {"censor": {"framewise_displacement": FD}}
        brain = ba.read_fmri(root, **asked)
        folds = ba.hold_out(run=["4"])
        fit = walk(planted.words, brain, ["drift", "motion"], folds=folds, ceiling=ceilings.none)[1]
        return brain.use, fit

    censored = np.concatenate([planted.confounds["01", run]["framewise_displacement"] > FD for run in RUNS])
    rng = np.random.default_rng(1)
    other = planted.moved.copy()
    other[0, censored] = rng.uniform(0, 1600, (censored.sum(), COLUMNS))
    if form != "NIfTI of whole numbers":
        other[0, censored] = np.where(rng.random((censored.sum(), COLUMNS)) < 0.3, np.nan, other[0, censored])
    moved = {who: table.copy() for who, table in planted.confounds.items()}
    for table in moved.values():
        table.loc[table["framewise_displacement"] > FD, MOTION] *= 1000
    use, before = fitted(tmp_path / "before", planted.moved, planted.confounds)
    _, after = fitted(tmp_path / "after", other, moved)
    assert np.array_equal(use, ~censored)
    assert before.scores["n_test"].iloc[0] == (~censored)[ROWS["4"]].sum()
    pd.testing.assert_frame_equal(after.scores, before.scores, check_exact=True)
    assert np.array_equal(after.predictions.values, before.predictions.values)
    assert np.array_equal(after.weights.values, before.weights.values)


CLOCKS = {
    "StartTime": ("NIfTI of float32", {}),
    "SliceTiming": ("NIfTI of float32", {"StartTime": None, "SliceTiming": [0.2, 1.8, 0.6, 1.4, 1.0]}),
    "the rows of a table": ("a table with its times", {"StartTime": None}),
    "nothing": ("NIfTI of float32", {"StartTime": None}),
}


@pytest.mark.parametrize("said_by", CLOCKS)
def test_the_first_volume_is_where_its_clock_says(planted, tmp_path, said_by):
    """It was taken half a TR after the events' zero; who does not know that finds responses half a TR too early."""
    name, clock = CLOCKS[said_by]
    forms = FORMS | {"a table with its times": Form(regions_with_times, "timeseries")}
    root = Tree(tmp_path).fill(planted, forms[name], planted.still, people=["01"], **clock)
    brain = ba.read_fmri(root)
    X, fit = walk(ba.read_events(root), brain, ["drift"], folds=ba.hold_out(run=["4"]), ceiling=ceilings.none)
    course = slopes(planted, X, fit.weights.values)
    early = (LAG - lag_of(course)).mean()
    assert any("taken as 0 s" in note for note in brain.attrs["notes"]) == (said_by == "nothing")
    assert abs(early - (0.5 if said_by == "nothing" else 0)) < 0.15


@pytest.fixture(scope="module")
def pictures():
    """(stimulus, kind) which supercategories people marked in 500 pictures."""
    path = DATA / "coco-captions-1000/shared1000.csv"
    if not path.is_file():
        pytest.skip(f"no captions at {path}: set BRAINALIGN_TEST_DATA")
    marked = pd.read_csv(path, nrows=500)["coco_supercategs"].map(ast.literal_eval)
    table = pd.DataFrame({"kinds": marked, "image": [f"nsd{number:05d}" for number in NUMBERS]})
    return ba.multi_hot(table, "kinds", average="image")


NUMBERS = 70 * np.arange(500) + 9  # of NSD's 73,000
RATIO = 0.6  # of signal to noise in one trial


def nsd(root, order, betas):
    """Sessions of 750 trials (order: positions among the pictures), in a 300th of a per cent."""
    space, version = "ppdata/subj01/func1pt8mm", "betas_fithrf_GLMdenoise_RR"
    anatomy, folder = root / "nsddata" / space, root / "nsddata_betas" / space / version
    design = root / "nsddata/experiments/nsd/nsd_expdesign.mat"
    for place in (anatomy, folder, design.parent):
        place.mkdir(parents=True)
    savemat(design, {"masterordering": order[None] + 1, "subjectim": np.tile(NUMBERS, (8, 1))})
    nibabel.save(nibabel.Nifti1Image(MASK.astype(np.int16), AFFINE), anatomy / "brainmask.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.where(MASK, RATIO, np.nan).astype("f4"), AFFINE), folder / "ncsnr.nii.gz")
    for number, some in enumerate(np.split(betas, len(betas) // 750), start=1):
        whole = np.zeros((750, *MASK.shape), np.int16)
        whole[:, MASK] = some
        with h5py.File(folder / f"betas_session{number:02d}.hdf5", "w") as file:
            file["betas"] = whole.transpose(0, 3, 2, 1)


def test_gain_and_ceiling_are_found_in_the_trials_of_nsd(pictures, tmp_path):
    rng = np.random.default_rng(0)
    order = rng.permutation(np.tile(np.arange(500), 3))
    response = pictures.values @ rng.standard_normal((pictures.shape[1], COLUMNS))
    noise = response.std(0) / RATIO * rng.standard_normal((1500, COLUMNS))
    betas = np.round(300 * (response[order] + noise)).astype(np.int16)
    nsd(tmp_path, order, betas)

    brain = ba.read_nsd(tmp_path, "subj01")
    both = betas.reshape(2, 750, COLUMNS).astype(float)
    sd = both.std(1, keepdims=True)
    written = (both - both.mean(1, keepdims=True)) / sd
    np.testing.assert_allclose(brain.values, written.reshape(1500, COLUMNS), atol=1e-5)
    assert brain.samples["stimulus"].tolist() == [f"nsd{number:05d}" for number in NUMBERS[order]]

    mean = ba.average_repeats(brain)
    place = pd.Index(pictures.samples["stimulus"]).get_indexer(mean.samples["stimulus"])
    X = ba.Signal(pictures.values[place], mean.samples, pictures.columns)
    truth = np.sqrt(RATIO**2 / (RATIO**2 + 1 / 3))
    for rule in (ba.between_repeats(of=brain), ba.from_ncsnr()):
        fit = ba.encode(X, mean, folds=ba.by_group("stimulus", 5), ceiling=rule, chance=QUIET, inner=3)
        assert abs(fit.scores["ceiling_r"].mean() - truth) < 0.03
        assert abs(fit.scores["normalised_r"].mean() - 1) < 0.05

    found, want = X.values @ fit.weights.values * sd.mean(0) / 300, response[place]
    gain = ((found - found.mean(0)) * (want - want.mean(0))).mean(0) / want.var(0)
    np.testing.assert_allclose(gain, 1, atol=0.2)
    assert abs(gain.mean() - 1) < 0.06
