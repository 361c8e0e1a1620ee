"""A study of what fMRIPrep leaves: what was planted is found, from the files on, in volumes and in trials."""

import json
from dataclasses import replace

import nibabel
import numpy as np
import pandas as pd
import pytest
import yaml

from brainalign.design.betas import condition_betas
from brainalign.design.hrf import convolved, glover
from brainalign.errors import InputError
from brainalign.io.fetch import sample_path
from brainalign.io.fmri import read_fmri
from brainalign.io.transcripts import read_events
from brainalign.reporting.page import report
from brainalign.shipped import shipped
from brainalign.signals import Signal
from brainalign.store import Store
from brainalign.study.reading import as_trials, recording
from brainalign.study.run import audit_study, check_study, run_study
from brainalign.study.settings import Inference, read_study, study_from
from brainalign.study.trials import mark_trials, on_trials

RUNS, VOLUMES, TR = ("1", "2", "3"), 104, 2.0
KINDS = ("face", "house", "shoe", "cat", "chair", "bottle")
SHAPE = (3, 3, 2)
PLANTED = {"face": (0, 0, 0), "house": (1, 1, 0), "shoe": (2, 2, 1)}  # where each kind has its voxel
MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
SPIKES = (20, 21, 60)  # volumes at which the head jumped


def events_of(k):
    """Blocks of 8 s, two of each kind, in an order of the run's own."""
    order = np.random.default_rng(k).permutation(np.repeat(KINDS, 2))
    onset = 4.0 + 16 * np.arange(len(order))
    return pd.DataFrame({"onset": onset, "duration": 8.0, "trial_type": order})


def bold(events, rng):
    """Voxels that answer to one kind, in noise; a drift, and the head's movement in all of them."""
    time = TR * np.arange(VOLUMES)
    weights = convolved(glover)(time, events["onset"].to_numpy(), events["duration"].to_numpy(), TR)
    data = 1000 + 5 * rng.standard_normal((*SHAPE, VOLUMES)) + 20 * np.cos(np.pi * time / time[-1])
    for kind, voxel in PLANTED.items():
        data[voxel] += weights @ (20.0 * (events["trial_type"] == kind))
    moved = np.cumsum(rng.standard_normal(VOLUMES)) / 10
    displaced = np.r_[np.nan, np.abs(np.diff(moved))]
    displaced[list(SPIKES)] = 3.0
    data[..., list(SPIKES)] += 4000
    motion = {name: rng.standard_normal(VOLUMES) for name in MOTION} | {"trans_x": moved}
    return data + 30 * moved, pd.DataFrame({**motion, "framewise_displacement": displaced})


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Three runs of one person, as fMRIPrep leaves them."""
    root = tmp_path_factory.mktemp("fmri")
    rng = np.random.default_rng(0)
    raw, prep = root / "tree/sub-01/func", root / "tree/derivatives/fmriprep/sub-01/func"
    for folder in (raw, prep):
        folder.mkdir(parents=True)
    for where, more in ((root / "tree", {}), (prep.parents[1], {"DatasetType": "derivative"})):
        (where / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.10.0"} | more))
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    for k, run in enumerate(RUNS):
        events = events_of(k)
        events["stim_file"] = [f"{run}-{nth}.png" if k + nth else "n/a" for nth in range(len(events))]
        events.to_csv(raw / f"sub-01_task-see_run-{run}_events.tsv", sep="\t", index=False)
        data, confounds = bold(events, rng)
        stem = prep / f"sub-01_task-see_run-{run}"
        image = nibabel.Nifti1Image(data.astype(np.float32), affine)
        image.header.set_zooms((3, 3, 3, TR))
        nibabel.save(image, f"{stem}_space-MNI_desc-preproc_bold.nii.gz")
        sidecar = {"RepetitionTime": TR, "StartTime": 0.0}
        stem.with_name(f"{stem.name}_space-MNI_desc-preproc_bold.json").write_text(json.dumps(sidecar))
        nibabel.save(nibabel.Nifti1Image(np.ones(SHAPE, np.uint8), affine), f"{stem}_space-MNI_desc-brain_mask.nii.gz")
        confounds.to_csv(f"{stem}_desc-confounds_timeseries.tsv", sep="\t", index=False, na_rep="n/a")
    return root


@pytest.fixture
def study(tree, tmp_path):
    """A study of the tree; keyword arguments change its sections."""

    def write(**sections):
        content = {
            "data": {
                "bids": str(tree / "tree"),
                "space": "MNI",
                "confounds": ["trans_x"],
                "censor": {"framewise_displacement": 1.0},
            },
            "features": [{"name": "kind", "kind": "category"}],
            "design": {"hrf": "glover"},
            "encoding": {"folds": {"inner": 2}},
            "ceiling": {"kind": "run_reliability"},
            "inference": {"permutations": 0, "bootstrap": 0},
            "output": "out",
        }
        for name, section in sections.items():
            content[name] = {**content.get(name, {}), **section} if isinstance(section, dict) else section
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(content))
        return read_study(path)

    return write


def run(study):
    """Checked, and fitted."""
    store = Store(study.output.parent / "cache")
    assert check_study(study, store) == []
    return run_study(study, store)


def planted(scores):
    """(n,) whether a voxel answers to a kind."""
    return np.array([tuple(v) in PLANTED.values() for v in scores[["i", "j", "k"]].to_numpy().tolist()])


def test_what_was_planted_is_found_in_the_volumes_that_count(study):
    """Near its ceiling, with what moved the head removed, and the volumes at which it jumped left out."""
    asked = study()
    fit = run(asked)
    at = planted(fit.scores)
    assert fit.scores.loc[at, "r"].min() > 0.7
    assert fit.scores.loc[~at, "r"].max() < 0.3
    assert fit.scores["ceiling_kind"].unique().tolist() == ["run_reliability"]
    assert fit.scores.loc[at, "normalised_r"].between(0.85, 1.25).all()
    assert fit.scores.loc[~at, "normalised_r"].isna().mean() > 0.7
    assert len(fit.observed.samples) == len(RUNS) * (VOLUMES - len(SPIKES))
    settings = yaml.safe_load((asked.output / "settings.yaml").read_text())
    assert settings["design"]["nuisance"] == ["drift", "confounds"]
    assert settings["decided"]["ceiling"] == "run_reliability"
    assert any("12 of 300 volumes" in note or "censor" in note for note in fit.notes), fit.notes
    rest = run(study(data={"censor": {}}))
    assert rest.scores.loc[at, "r"].max() < 0.5  # a jump of the head is larger than any response


def test_delays_and_strategies_do_as_well(study):
    fit = run(study(data={"confounds": {"motion": "basic"}}, design={"hrf": None, "delays_volumes": [1, 2, 3, 4, 5]}))
    assert fit.scores.loc[planted(fit.scores), "r"].min() > 0.6


@pytest.mark.parametrize("how", ["lsa", "lss", "condition"])
def test_trials_are_matched_to_their_events(study, how):
    asked = study(design={"hrf": None, "betas": {"how": how, "hrf": "glover"}})
    fit = run(asked)
    at = planted(fit.scores)
    rows = 6 if how == "condition" else 12
    assert len(fit.observed.samples) == len(RUNS) * rows
    assert fit.scores.loc[at, "r"].min() > 0.9
    assert fit.scores["ceiling_kind"].unique().tolist() == ["run_reliability"]
    assert fit.excerpt.empty
    page = report(fit, asked.output / "report.html").read_text()
    assert f"3 runs, {3 * rows} trials" in page
    assert "volumes of" not in page


def test_a_recording_that_was_centred_before_has_betas_in_its_own_unit(study):
    design = {"hrf": None, "betas": {"how": "condition"}}
    percent, raw = study(design=design), study(design={**design, "betas": {"how": "condition", "unit": "raw"}})
    brain, events = recording(raw), read_events(raw.data.bids, "see")
    centred = replace(brain, values=brain.array() - brain.array().mean(0))
    with pytest.raises(InputError, match="there is no baseline to take per cent of"):
        as_trials(percent, centred, events, None)
    found = as_trials(raw, centred, events, None)
    np.testing.assert_allclose(found.values, as_trials(raw, brain, events, None).values, atol=0.05)
    assert found.values.max() > 10  # of the 20 that were planted; in per cent they are 2
    single = study(design={**design, "betas": {"how": "lsa", "unit": "raw"}})
    assert as_trials(single, centred, events, None).values.max() > 10


def test_all_controls_of_trials_leave_segments_out(study):
    fit = run(study(design={"hrf": None, "betas": {"how": "lsa"}}, controls="all"))
    assert fit.controls["control"].tolist() == ["as asked", "reversed"]


def test_the_audit_takes_trials(study):
    table = audit_study(study(design={"hrf": None, "betas": {"how": "lsa"}}), None)
    assert len(table)


def test_a_trial_of_which_a_feature_says_nothing(study, tree):
    image = pytest.importorskip("PIL.Image")
    (tree / "tree/stimuli").mkdir(exist_ok=True)
    for name in (f"{run}-{nth}.png" for run in RUNS for nth in range(12)):
        image.new("RGB", (8, 8)).save(tree / "tree/stimuli" / name)
    design = {"hrf": None, "betas": {"how": "lsa"}}
    said = "feature 'light' says nothing of 1 of 36 trials, the first in run 1 at 4 s"
    asked = study(features=[{"name": "light", "kind": "luminance"}], design=design)
    (problem,) = check_study(asked, Store(asked.output.parent / "cache"))
    assert problem.startswith(said)
    with pytest.raises(InputError, match=said):
        run_study(asked, Store(asked.output.parent / "cache"))
    loud = study(features=[{"name": "loud", "kind": "envelope"}], design=design)
    problems = check_study(loud, Store(asked.output.parent / "cache"))
    assert any("feature 'loud': no event names a sound" in problem for problem in problems)


def test_conditions_that_are_too_few_are_found_before_anything_is_fitted(study, tmp_path):
    asked = study(ceiling={"conditions": "duration"}, design={"hrf": None, "betas": {"how": "lsa"}})
    assert check_study(asked, Store(tmp_path / "cache")) == ["a ceiling needs at least 5 stimuli or samples; found 1"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("ncsnr_map", "a ceiling from a map needs `ncsnr` in the columns"),
        ("ncsnr", "a ceiling of kind ncsnr needs repeated presentations"),
    ],
)
def test_a_ceiling_that_cannot_be_had_is_found_before_anything_is_fitted(study, tmp_path, kind, message):
    (problem,) = check_study(study(ceiling={"kind": kind}), Store(tmp_path / "cache"))
    assert problem.startswith(message)


def test_of_sessions_that_cannot_be_read_nothing_else_is_said(tmp_path):
    content = {"data": {"nsd": "x", "subjects": "01"}, "features": [{"name": "kind", "kind": "category"}]}
    (problem,) = check_study(study_from(content, base=tmp_path), Store(tmp_path / "cache"))
    assert problem.startswith("there are no betas of subj01")


def test_matrices_and_a_transcript_for_each(tmp_path):
    """Words at a known rate, and a voxel that follows them two volumes later."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "stories/UTS01"
    folder.mkdir(parents=True)
    for story in ("a", "b", "c"):
        onset = np.sort(rng.uniform(0, 200, 120))
        counts = np.histogram(onset, np.arange(101) * 2.0)[0]
        response = np.roll(counts, 2)[:, None] + 0.3 * rng.standard_normal((100, 2)) * [1, 9]
        np.save(folder / f"{story}.npy", response.astype(np.float32))
        pd.DataFrame({"onset": onset, "duration": 0.1, "word": "x"}).to_csv(tmp_path / f"{story}.csv", index=False)
    content = {
        "data": {"matrices": "stories", "tr": 2.0, "start_s": 1.0},
        "stimuli": {"words": {name: f"{name}.csv" for name in "abc"}},
        "features": [{"name": "rate", "kind": "word_rate"}],
        "design": {"resample": "sum", "clean": "none", "delays_volumes": [1, 2, 3]},
        "inference": {"permutations": 0, "bootstrap": 0},
        "output": "out",
    }
    asked = study_from(content, base=tmp_path)
    fit = run(asked)
    assert fit.scores["r"].iloc[0] > 0.9 > 0.5 > fit.scores["r"].iloc[1]
    assert len(fit.provenance["inputs"]) == 6
    lost = study_from({**content, "stimuli": {"words": {"a": "a.csv", "b": "no.csv", "d": "b.csv"}}}, base=tmp_path)
    problems = check_study(lost, Store(tmp_path / "cache"))
    assert problems[0].startswith("stimuli.words names no transcript of run c: name one for each run")
    assert "run b: stimuli.words, run b: there is no file" in problems[1]
    assert problems[2].startswith("stimuli.words names run d, but the recording has runs a, b, c")
    (none,) = check_study(study_from({**content, "stimuli": {}}, base=tmp_path), Store(tmp_path / "cache"))
    assert none.startswith("only a BIDS tree has events beside its recordings: name a transcript under stimuli.words")


def shown(n=60):
    """Trials of 30 stimuli met twice, in two sessions, as `read_nsd` calls them."""
    order = np.random.default_rng(0).permutation(np.tile(np.arange(n // 2), 2))
    names = [f"nsd{k:05}" for k in order]
    samples = pd.DataFrame({"run": np.repeat(["01", "02"], n // 2), "time": np.tile(np.arange(n // 2) * 4.0, 2)})
    repeat = pd.Series(names).groupby(names).cumcount().to_numpy() + 1
    columns = pd.DataFrame({"subject": "01", "i": [0, 1], "j": 0, "k": 0, "ncsnr": [1.0, 0.1]})
    values = np.c_[order % 3 == 0, np.zeros(n)] + 0.5 * np.random.default_rng(1).standard_normal((n, 2))
    return Signal(values, samples.assign(stimulus=names, repeat=repeat), columns, attrs={"inputs": {}, "notes": []})


def test_trials_that_name_their_stimulus_take_it_from_a_table(tmp_path, monkeypatch):
    monkeypatch.setattr("brainalign.study.reading.read_nsd", lambda root, subject, store: shown())
    table = pd.DataFrame({"stimulus": [f"nsd{k:05}" for k in range(31)]})
    table["kind"] = np.where(np.arange(31) % 3 == 0, "face", "house")
    table.to_csv(tmp_path / "pictures.tsv", sep="\t", index=False)
    content = {
        "data": {"nsd": "nsd", "subjects": "01"},
        "stimuli": {"table": "pictures.tsv"},
        "features": [{"name": "kind", "kind": "category", "column": "kind"}],
        "ceiling": {"kind": "ncsnr_map"},
        "inference": {"permutations": 0, "bootstrap": 0},
        "output": "out",
    }
    fit = run(study_from(content, base=tmp_path))
    assert fit.scores["r"].iloc[0] > 0.5
    assert fit.scores["ceiling_r2"].round(2).tolist() == [0.5, 0.01]
    assert fit.settings["decided"]["folds"] == "10 folds of whole stimuli"
    table[1:].to_csv(tmp_path / "pictures.tsv", sep="\t", index=False)
    (problem,) = check_study(study_from(content, base=tmp_path), Store(tmp_path / "cache"))
    assert problem.startswith("pictures.tsv lacks 1 stimuli that were shown, the first 'nsd00000'")
    (problem,) = check_study(study_from({**content, "stimuli": {}}, base=tmp_path), Store(tmp_path / "cache"))
    assert problem.startswith("trials of a recording without events need stimuli.table")


CLOCK = pd.DataFrame({"run": ["1", "1", "2"], "time": [0.0, 10.0, 0.0]})


def test_rows_of_a_feature_go_to_the_trials_of_their_onsets():
    brain = mark_trials(Signal(np.eye(3), CLOCK, pd.DataFrame({"roi": list("abc")})))
    events = CLOCK.iloc[[2, 0, 1]].rename(columns={"time": "onset"})
    rows = pd.concat([CLOCK, pd.DataFrame({"run": ["2"], "time": [5.0]})], ignore_index=True)
    feature = Signal([[1.0], [2.0], [3.0], [9.0]], rows, pd.DataFrame({"band": ["x"]}))
    assert on_trials("x", feature, brain, events).values.ravel().tolist() == [1.0, 2.0, 3.0]
    unknown = Signal([[1.0], [np.nan], [3.0]], CLOCK.assign(use=[True, False, True]), pd.DataFrame({"band": ["x"]}))
    assert on_trials("x", unknown, brain, events).use.tolist() == [True, False, True]
    moving = Signal(np.ones((3, 1)), CLOCK.assign(stimulus_time=0.0), pd.DataFrame({"band": ["x"]}))
    with pytest.raises(InputError, match="feature 'x' has a course, of a film or a sound, and a trial one row"):
        on_trials("x", moving, brain, events)
    part = feature.select(rows=[0, 2])
    with pytest.raises(
        InputError, match=r"feature 'x' says nothing of 1 of 3 trials, the first in run 1 at 10 s \(its"
    ):
        on_trials("x", part, brain, events)


def test_a_condition_gets_the_mean_of_its_events():
    trials = pd.DataFrame({"run": "1", "time": [0.0, 4.0], "kind": ["a", "b"]})
    brain = mark_trials(Signal(np.eye(2), trials, pd.DataFrame({"roi": list("ab")})), by="kind")
    events = pd.DataFrame({"run": "1", "onset": [0.0, 4.0, 8.0], "kind": list("aba")})
    rows = pd.DataFrame({"run": "1", "time": [0.0, 4.0, 8.0]})
    feature = Signal([[1.0], [2.0], [5.0]], rows, pd.DataFrame({"band": ["x"]}))
    assert on_trials("x", feature, brain, events).values.ravel().tolist() == [3.0, 2.0]


@pytest.mark.verify
def test_the_figures_of_objects(tmp_path):
    """What docs/ideas/fmri.md says of the shipped study."""
    study = read_study(shipped("studies", "objects.yaml"))
    quick = Inference(permutations=1000, bootstrap=0)
    fit = run_study(study.model_copy(update={"output": tmp_path, "inference": quick}), Store(tmp_path / "cache"))
    told = fit.scores[fit.scores["normalised_r"].notna()]
    assert (len(fit.scores), len(told)) == (530, 338)
    assert told["r"].mean() == pytest.approx(0.276, abs=0.005)
    assert told["r"].mean() / told["ceiling_r"].mean() == pytest.approx(0.84, abs=0.01)
    assert told["r2"].mean() / told["ceiling_r2"].mean() == pytest.approx(0.78, abs=0.01)
    assert (fit.scores["q"] <= 0.05).sum() == pytest.approx(304, abs=10)


@pytest.mark.verify
@pytest.mark.parametrize(("shift", "right"), [(0.0, 47), (-5.0, 67)])
def test_kinds_of_objects_are_told_from_patterns(shift, right):
    """The same page's decoding: eight kinds, one run left out at a time."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    tree = sample_path("haxby")
    events = read_events(tree, "objectviewing")
    events = events.assign(onset=events["onset"] + shift)
    shown = condition_betas(read_fmri(tree, derivatives="raw"), events, hrf=glover, nuisance=("drift",))
    run_of, kind = shown.samples["run"], shown.samples["stimulus"].to_numpy(str)
    patterns = pd.DataFrame(shown.array()).groupby(run_of.to_numpy()).transform(lambda one: one - one.mean())
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    said = cross_val_predict(model, patterns.to_numpy(), kind, groups=run_of, cv=LeaveOneGroupOut())
    assert (said == kind).sum() == pytest.approx(right, abs=3)
