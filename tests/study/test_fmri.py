"""A study of what fMRIPrep leaves: what was planted is found, from the files on, in volumes and in trials."""

import json

import nibabel
import numpy as np
import pandas as pd
import pytest
import yaml

from brainalign.design.hrf import convolved, glover
from brainalign.errors import InputError
from brainalign.reporting.page import report
from brainalign.signals import Signal
from brainalign.store import Store
from brainalign.study.run import audit_study, check_study, run_study
from brainalign.study.settings import read_study
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
    assert fit.scores.loc[planted(fit.scores), "r"].min() > 0.7


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


def test_all_controls_of_trials_leave_segments_out(study):
    fit = run(study(design={"hrf": None, "betas": {"how": "lsa"}}, controls="all"))
    assert fit.controls["control"].tolist() == ["as asked", "reversed"]


def test_the_audit_takes_trials(study):
    table = audit_study(study(design={"hrf": None, "betas": {"how": "lsa"}}), None)
    assert len(table)


def test_words_say_nothing_of_a_trial(study, tree, tmp_path):
    words = pd.concat([events_of(k).assign(run=run, word="x") for k, run in enumerate(RUNS)])
    words.assign(onset=words["onset"] + 1).to_csv(tmp_path / "words.csv", index=False)
    asked = study(
        stimuli={"words": "words.csv"},
        features=[{"name": "rate", "kind": "word_rate"}],
        design={"hrf": None, "betas": {"how": "lsa"}},
    )
    assert check_study(asked, Store(tmp_path / "cache")) == []  # trials are those of the words
    table = words.assign(word=["", *["x"] * (len(words) - 1)])
    assert len(table)


CLOCK = pd.DataFrame({"run": ["1", "1", "2"], "time": [0.0, 10.0, 0.0]})


def test_rows_of_a_feature_go_to_the_trials_of_their_onsets():
    brain = mark_trials(Signal(np.eye(3), CLOCK, pd.DataFrame({"roi": list("abc")})))
    events = CLOCK.iloc[[2, 0, 1]].rename(columns={"time": "onset"})
    rows = pd.concat([CLOCK, pd.DataFrame({"run": ["2"], "time": [5.0]})], ignore_index=True)
    feature = Signal([[1.0], [2.0], [3.0], [9.0]], rows, pd.DataFrame({"band": ["x"]}))
    assert on_trials("x", feature, brain, events).values.ravel().tolist() == [1.0, 2.0, 3.0]
    unknown = Signal([[1.0], [np.nan], [3.0]], CLOCK.assign(use=[True, False, True]), pd.DataFrame({"band": ["x"]}))
    assert on_trials("x", unknown, brain, events).use.tolist() == [True, False, True]
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
