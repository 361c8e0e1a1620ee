"""A study of electrodes: what was planted in voltages is found around words, from the files on."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.signal import butter, sosfiltfilt

import brainalign as ba
from brainalign.errors import BrainalignError, InputError, SettingsError
from brainalign.store import Store
from brainalign.study.reading import apart_by_events, recording
from brainalign.study.run import audit_study, check_study, run_study
from brainalign.study.settings import read_study, study_from
from brainalign.study.trials import mark_trials, on_trials

FS, SECONDS = 400.0, 70.0
CHANNELS = ["LA1", "LA2", "LA3", "RB1"]
LAG = {"LA1": 0.1, "LA2": 0.3}  # s; the others follow nothing
SKIP = {"01": 1.5, "02": 0.0}  # s of the story before a recording begins
FORMAT = {"01": ".vhdr", "02": ".edf"}


def story(seed=0):
    """Words with times and lengths that have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    onset = 4.0 + np.cumsum(rng.uniform(0.25, 0.6, 140))
    words = ["".join(rng.choice(list("aeioust"), n)) for n in rng.integers(1, 10, 140)]
    return pd.DataFrame({"onset": onset.round(3), "duration": 0.2, "word": words})


def voltages(words, rng):
    """(samples, 4) V: what is slow, line noise, and high-gamma as strong as words are long."""
    t = np.arange(int(SECONDS * FS)) / FS
    length = words["word"].str.len().to_numpy(float)
    size = (length - length.mean()) / length.std()
    sos = butter(4, [70, 150], "bandpass", fs=FS, output="sos")
    out = np.empty((len(t), len(CHANNELS)))
    for k, name in enumerate(CHANNELS):
        strength = np.ones(len(t))
        if name in LAG:
            for onset, more in zip(words["onset"] + LAG[name], size, strict=True):
                strength[int((onset - 0.1) * FS) : int((onset + 0.1) * FS)] += 0.45 * more
        carrier = sosfiltfilt(sos, rng.standard_normal(len(t)))
        slow = np.sin(2 * np.pi * (0.3 + k) * t)
        out[:, k] = 1e-5 * strength.clip(0.05) * carrier / carrier.std() + 5e-5 * slow
    return np.rint((out + 2e-5 * np.sin(2 * np.pi * 50 * t)[:, None]) * 1e7) * 1e-7


@pytest.fixture(scope="module")
def tree(tmp_path_factory, writers):
    """Two people, each on a clock of their own, who heard a story twice."""
    root = tmp_path_factory.mktemp("electric")
    folder = root / "tree"
    for person, skip in SKIP.items():
        rng = np.random.default_rng(int(person))
        where = folder / f"sub-{person}/ieeg"
        where.mkdir(parents=True)
        for run in "12":
            heard = story().assign(onset=lambda words, skip=skip, run=run: words["onset"] - skip - 0.25 * int(run))
            stem = where / f"sub-{person}_task-story_run-{run}"
            path = stem.with_name(f"{stem.name}_ieeg{FORMAT[person]}")
            writers[FORMAT[person]](path, voltages(heard, rng), CHANNELS, FS)
            path.with_name(f"{stem.name}_ieeg.json").write_text(json.dumps({"PowerLineFrequency": 50}))
            button = pd.DataFrame({"onset": [2.0], "duration": [0.0], "word": ["n/a"]})
            table = pd.concat([button, heard]) if person == "01" else heard
            table.to_csv(stem.with_name(f"{stem.name}_events.tsv"), sep="\t", index=False)
        types = ["SEEG"] * len(CHANNELS)
        channels = pd.DataFrame({"name": CHANNELS, "type": types, "units": "V", "status": "good"})
        channels.to_csv(where / f"sub-{person}_task-story_channels.tsv", sep="\t", index=False)
    (folder / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.10.0"}))
    return folder


@pytest.fixture
def study(tree, tmp_path):
    """A study of the tree; keyword arguments replace whole sections."""

    def read(**sections):
        content = {
            "data": {"bids": str(tree), "kind": "ieeg", "task": "story"},
            "features": [{"name": "length", "kind": "word_length"}, {"name": "place", "kind": "word_position"}],
            "design": {"lags": {"start": -0.3, "stop": 0.7, "step": 0.1, "window": 0.2}},
            "encoding": {"folds": {"n": 4, "gap_s": 3, "inner": 3}},
            "inference": {"permutations": 19, "bootstrap": 0},
            "output": "out",
        } | sections
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(content))
        return read_study(path)

    return read


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("cache"))


def test_what_was_planted_is_found_around_the_words_of_people_on_different_clocks(study, store, tree):
    asked = study()
    assert check_study(asked, store) == []
    fit = run_study(asked, store)
    best = fit.scores[fit.scores["model"] == "full"]
    assert len(best) == 2 * len(CHANNELS) * 11
    peaks = ba.latency(fit, bootstrap=0).set_index(["subject", "channel"])
    for person in SKIP:
        for channel, lag in LAG.items():
            assert peaks.loc[(person, channel), "peak"] == pytest.approx(lag)
            assert peaks.loc[(person, channel), "r_peak"] > 0.75
        assert peaks.loc[(person, "RB1"), "r_peak"] < 0.3
    there = best[best["lag"].round(1).eq(best["channel"].map(LAG))]
    assert (there["p"] == 0.05).all()  # as small as 19 permutations go
    assert set(best["ceiling_kind"]) == {"noise_ceiling"}  # the story is told twice
    assert there["normalised_r"].between(0.85, 1.1).all()
    assert fit.settings["decided"]["folds"] == "4 contiguous folds, 3 s left out on both sides"
    assert fit.settings["decided"]["recorded"] == {
        "band": str(ba.high_gamma()),
        "reference": "as_recorded",
        "line_noise": {f"{person}, {run}": 50.0 for person in SKIP for run in "12"},
        "bad_channels": {person: {} for person in SKIP},
    }
    assert any("within each run, runs of one story alike (19 times" in note for note in fit.notes)
    assert any("2 of 282 events have no word and are left out" in note for note in fit.notes)
    assert not any("motion" in note for note in fit.notes)
    assert {name for name in fit.provenance["inputs"] if name.endswith((".eeg", ".edf"))}
    saved = yaml.safe_load((asked.output / "settings.yaml").read_text())
    assert saved["design"]["lags"]["window"] == 0.2
    assert saved["data"]["band"]["kind"] == "high_gamma"
    assert saved["data"]["reference"]["kind"] == "as_recorded"
    again = study_from(
        {**{k: v for k, v in saved.items() if k != "decided"}, "data": saved["data"] | {"bids": str(tree)}}
    )
    assert again.data == asked.data.model_copy(update={"bids": tree})
    assert again.design == asked.design


def test_a_story_told_twice_never_teaches_what_it_is_asked(study, store):
    brain = recording(study(), store)
    assert brain.samples["stimulus"].nunique() == 140
    assert brain.samples["repeat"].tolist() == [1] * 140 + [2] * 140
    for train, test in ba.contiguous(4, gap_s=3)(brain):
        named = brain.samples["stimulus"].to_numpy()
        assert not set(named[train]) & set(named[test])
    with pytest.raises(InputError, match="stimuli are on both sides"):
        ba.by_run(brain)
    audit = audit_study(study(), store)
    assert not audit["leaky"].any()


def test_recordings_of_one_length_with_words_at_other_times_are_told_apart(study, store):
    asked = study()
    whole = ba.read_ieeg(asked.data.bids, task="story", store=store)
    assert isinstance(whole, ba.Signal)  # both are 70 s long, and stand side by side
    apart = apart_by_events(asked, [whole])
    assert [list(dict.fromkeys(one.columns["subject"])) for one in apart] == [["01"], ["02"]]
    alone = study(data={"bids": str(asked.data.bids), "kind": "ieeg", "task": "story", "subjects": ["02"]})
    one = ba.read_ieeg(asked.data.bids, "02", task="story", store=store)
    assert apart_by_events(alone, [one]) == [one]
    both, second = recording(asked, store), recording(alone, store)
    np.testing.assert_allclose(both.select(subject="02").values, second.values, atol=1e-5)
    np.testing.assert_array_equal(both.samples["time"], recording(study_of(asked, "01"), store).samples["time"])


def study_of(asked, person):
    return asked.model_copy(update={"data": asked.data.model_copy(update={"subjects": [person]})})


def test_voltages_as_they_run_are_fitted_on_their_clock(study, store, tree):
    """A temporal response function: the words on the recording's own clock, delayed sample by sample."""
    data = {"bids": str(tree), "kind": "ieeg", "task": "story", "rate": 20, "subjects": ["02"]}
    asked = study(
        data=data,
        features=[{"name": "length", "kind": "word_length"}],
        design={"resample": "sum", "delays_volumes": list(range(10))},
        encoding={"folds": {"by": "run", "inner": 3}},
        inference={"permutations": 0, "bootstrap": 0},
    )
    assert asked.design.lags is None
    fit = run_study(asked, store)
    r = fit.scores.set_index("channel")["r"]
    assert r[["LA1", "LA2"]].min() > 0.4 > 0.15 > r[["LA3", "RB1"]].max()


def test_usual_settings_are_written_out(study, tree):
    asked = study(data={"bids": str(tree), "kind": "ieeg"}, design={})
    assert asked.design.lags is not None
    assert asked.design.lags.model_dump() == {
        "start": -2.0, "stop": 2.0, "step": 0.2, "window": 0.2, "least": 0.5, "column": "word",
    }  # fmt: skip
    assert asked.design.nuisance == ["drift"]
    assert (asked.data.rate, asked.data.line_noise, asked.data.artefacts) == (100.0, "sidecar", False)
    assert str(asked.data.band.made()) == str(ba.high_gamma())


def test_options_reach_what_they_are_of(study, tree):
    data = {"bids": str(tree), "kind": "ieeg", "line_noise": "none", "artefacts": {"peak": 12}, "channels": "LA1"}
    data |= {"band": {"kind": "band", "low": 70, "high": 120, "relative": "z"}}
    asked = study(data=data | {"reference": {"kind": "common_average", "by": "type", "median": True}}).data
    assert asked.reference.made().keywords == {"by": ["type"], "median": True}
    assert str(asked.band.made()) == str(ba.band(70, 120, relative="z"))
    assert asked.channels == ["LA1"]
    volts = study(data={"bids": str(tree), "kind": "ieeg", "band": {"kind": "high_gamma", "relative": "none"}})
    assert volts.data.band.made().relative is None
    grids = study(data={"bids": str(tree), "kind": "ieeg", "reference": {"kind": "laplacian", "grids": {"G": [8, 8]}}})
    assert grids.data.reference.made().keywords == {"grids": {"G": (8, 8)}}


IEEG = {"bids": "tree", "kind": "ieeg"}
WORDS = [{"name": "length", "kind": "word_length"}]


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"data": IEEG | {"mask": "m.nii"}}, "mask goes with kind: fmri, not with ieeg: leave it out"),
        ({"data": {"bids": "tree", "rate": 50}}, "rate goes with kind: ieeg or eeg or meg, not with fmri"),
        ({"data": {"bids": "tree", "kind": "eeg"}}, "kind: eeg has no usual band: name one"),
        ({"data": {"matrices": "m", "kind": "ieeg", "tr": 1}}, "kind: ieeg is read from a BIDS tree"),
        ({"data": IEEG | {"band": "hg"}}, "'hg' is not known; known: 'high_gamma', 'band'"),
        ({"data": IEEG | {"band": "band"}}, "kind: band needs low and high, in Hz"),
        ({"data": IEEG | {"band": {"kind": "raw", "power": True}}}, "power goes with high_gamma or band, not with raw"),
        ({"data": IEEG | {"band": {"kind": "band", "low": 90, "high": 70}}}, "from a low to a higher frequency"),
        ({"data": IEEG | {"reference": {"kind": "bipolar", "median": True}}}, "median goes with common_average, not"),
        ({"data": IEEG | {"reference": "common"}}, "'common' is not known; did you mean 'common_average'"),
        ({"data": IEEG | {"artefacts": {"peek": 3}}}, "no limit is called 'peek'; did you mean 'peak'"),
        ({"data": IEEG | {"artefacts": {"peak": 0}}}, "the limit peak is a number above 0; found 0"),
        ({"data": IEEG | {"rate": 0}}, "data.rate: .* greater than 0"),
        ({"data": IEEG, "design": {"lags": {"step": 0}}}, "lags go from start up to stop in steps above 0"),
        ({"data": IEEG, "design": {"lags": {}, "hrf": "spm"}}, "nothing is put on a clock: leave out hrf"),
        ({"data": IEEG, "design": {"hrf": "spm"}}, "design.betas and design.hrf are of blood"),
        ({"data": IEEG, "design": {"clean": "segment"}}, "design.lags has a row per word: leave segment out"),
        ({"data": {"bids": "tree"}, "design": {"lags": {}}}, "design.lags goes with data.kind: ieeg, eeg or meg"),
        ({"data": IEEG, "features": [{"name": "rate", "kind": "word_rate"}]}, "feature 'rate' is 1 for every word"),
        (
            {"data": IEEG, "encoding": {"folds": {"gap_s": 0.1}}},
            "gap_s 0.1 is shorter than the window of design.lags, 0.2 s: words of training and test would share",
        ),
        ({"data": IEEG, "design": {"lags": {"stop": 1e13}}}, "is more than 100,000 lags: take longer steps"),
        ({"data": IEEG, "design": "lags"}, "design: is a section with keys of its own"),
    ],
)
def test_what_a_study_of_electrodes_may_not_say(sections, said):
    with pytest.raises(SettingsError, match=said):
        study_from({"features": WORDS} | sections)


def test_events_without_words_are_an_error(study, store, tree):
    asked = study(design={"lags": {"column": "wrd"}})
    assert any("have no column 'wrd' to cut around; did you mean 'word'" in one for one in check_study(asked, store))
    with pytest.raises(InputError, match=r"design\.lags: the events have no column 'wrd'"):
        run_study(asked, store)


def one_problem(asked, store):
    """What `check` finds and `fit` stops at."""
    (problem,) = check_study(asked, store)
    with pytest.raises(BrainalignError) as error:
        run_study(asked, store)
    assert str(error.value) == problem
    return problem


def test_check_says_what_fit_stops_at(study, store, tree, tmp_path):
    from scipy.io import wavfile

    hum = np.random.default_rng(0).integers(-3000, 3000, 8000 * 30).astype(np.int16)
    wavfile.write(tmp_path / "short.wav", 8000, hum)
    sound = {run: str(tmp_path / "short.wav") for run in "12"}
    alone = {"bids": str(tree), "kind": "ieeg", "task": "story", "subjects": ["02"]}
    heard = study(data=alone, features=[{"name": "e", "kind": "envelope"}], stimuli={"sound": sound})
    assert "feature 'e' says nothing of" in (said := one_problem(heard, store))
    assert "a film or a sound has to last as long as the words do" in said
    shown = study(data=alone, features=[{"name": "c", "kind": "category"}])
    assert "the events have no column 'trial_type'" in one_problem(shown, store)
    between = study(data=alone, ceiling={"kind": "between_subjects"})
    assert "needs at least 3 of them on one clock; found 1" in one_problem(between, store)
    held = study(data=alone, encoding={"folds": {"test": {"run": ["2"]}}})
    assert "belong to one fold (folds: {by: contiguous})" in one_problem(held, store)


N_PICTURES = 30
LIGHT = np.random.default_rng(7).integers(20, 230, N_PICTURES)


@pytest.fixture(scope="module")
def seen(tmp_path_factory, writers):
    """Two people in caps who saw pictures, in another order in each run; Cz follows how light they are, at 0.2 s."""
    from PIL import Image

    folder, fs = tmp_path_factory.mktemp("seen") / "tree", 100.0
    (folder / "stimuli").mkdir(parents=True)
    for k, light in enumerate(LIGHT):
        Image.fromarray(np.full((8, 8, 3), light, np.uint8)).save(folder / f"stimuli/{k:02}.png")
    (folder / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.10.0"}))
    for person in ("01", "02"):
        where = folder / f"sub-{person}/eeg"
        where.mkdir(parents=True)
        for run in "12":
            order = np.random.default_rng(int(run)).permutation(N_PICTURES)
            onset = 2 + 0.8 * np.arange(N_PICTURES)
            volts = 4e-6 * np.random.default_rng(int(person + run)).standard_normal((2900, 3))
            for at, light in zip(onset, LIGHT[order], strict=True):
                start = round((at + 0.15) * fs)
                volts[start : start + 10, 1] += 1e-5 * (light - LIGHT.mean()) / LIGHT.std()
            stem = f"sub-{person}_task-see_run-{run}"
            writers[".vhdr"](where / f"{stem}_eeg.vhdr", volts, ["Fz", "Cz", "Pz"], fs)
            (where / f"{stem}_eeg.json").write_text(json.dumps({"PowerLineFrequency": 50}))
            table = pd.DataFrame({"onset": onset, "duration": 0.3, "stim_file": [f"{k:02}.png" for k in order]})
            table.to_csv(where / f"{stem}_events.tsv", sep="\t", index=False)
    return folder


def test_pictures_in_other_orders_are_never_taught_and_asked(study, store, seen):
    sections = {
        "data": {"bids": str(seen), "kind": "eeg", "band": {"kind": "raw", "low": 0.5, "high": 30}, "rate": 50},
        "features": [{"name": "light", "kind": "luminance"}],
        "design": {"lags": {"start": -0.2, "stop": 0.5, "step": 0.1, "window": 0.1, "column": "stim_file"}},
        "encoding": {"folds": {"gap_s": 2, "inner": 3}},
    }
    asked = study(**sections)
    assert check_study(asked, store) == []
    fit = run_study(asked, store)
    assert fit.settings["decided"]["folds"] == "10 folds of whole stimuli"
    peaks = ba.latency(fit, bootstrap=0).set_index(["subject", "channel"])
    for person in ("01", "02"):
        assert peaks.loc[(person, "Cz"), "peak"] == pytest.approx(0.2)
        assert peaks.loc[(person, "Cz"), "r_peak"] > 0.8 > 0.4 > peaks.loc[(person, "Fz"), "r_peak"]
    assert any("30 stimuli met 2 times" in note for note in fit.notes)
    by_run = study(**sections | {"encoding": {"folds": {"by": "run"}}})
    said = one_problem(by_run, store)
    assert "30 stimuli are on both sides" in said
    assert "repeats of one stimulus belong to one fold (folds: {by: stimulus})" in said


def test_every_persons_events_are_looked_at(study, store, tree, tmp_path):
    import shutil

    broken = shutil.copytree(tree, tmp_path / "broken")
    for person, row in (("01", "90.0\t0.2\tlate\n"), ("02", "-1.0\t0.2\tearly\n")):
        path = broken / f"sub-{person}/ieeg/sub-{person}_task-story_run-2_events.tsv"
        path.write_text(path.read_text() + row)
    problems = check_study(study(data={"bids": str(broken), "kind": "ieeg", "task": "story"}), store)
    assert len(problems) == 2
    assert any("onset 90 s, after the recording ends" in one for one in problems)
    assert any("onset -1 s is negative" in one for one in problems)


def cut(times, durations):
    """A recording cut around words."""
    samples = pd.DataFrame({"run": "1", "time": times, "duration": durations})
    values = np.zeros((len(times), 1))
    return mark_trials(ba.Signal(values, samples, pd.DataFrame({"channel": ["LA1"]}), attrs={"lags": {}}))


def sound(step=0.1, seconds=10.0):
    time = np.arange(0, seconds, step)
    samples = pd.DataFrame({"run": "1", "time": time, "stimulus_time": time, "duration": step})
    return ba.Signal(time[:, None], samples, pd.DataFrame({"band": ["envelope"]}))


def test_a_sound_is_its_mean_while_a_word_lasts():
    brain = cut([1.0, 2.04, 5.0], [0.5, 0.01, 0.1])
    found = on_trials("envelope", sound(), brain, pd.DataFrame())
    np.testing.assert_allclose(found.values[:, 0], [1.2, 2.0, 5.0], atol=1e-5)
    assert found.attrs["resampled"] == "the mean while each word lasted"
    gone = replace(sound(), samples=sound().samples.assign(use=np.arange(100) != 12))
    assert on_trials("envelope", gone, brain, pd.DataFrame()).use.tolist() == [False, True, True]


def test_a_word_in_a_pause_between_sounds_is_not_the_next_sound():
    parts = sound(seconds=10.0)
    with_pause = parts.select(rows=np.r_[0:30, 60:100])
    found = on_trials("e", with_pause, cut([1.0, 2.8, 7.0], [0.2, 0.6, 0.05]), pd.DataFrame())
    np.testing.assert_allclose(found.values[:, 0], [1.05, 2.85, 7.0], atol=1e-5)
    with pytest.raises(InputError, match="says nothing of 1 of 2 words, the first in run 1 at 4 s"):
        on_trials("e", with_pause, cut([1.0, 4.0], [0.2, 0.5]), pd.DataFrame())


def test_a_sound_that_ends_before_the_words_is_an_error():
    with pytest.raises(InputError, match="feature 'envelope' says nothing of 1 of 2 words, the first in run 1 at 12 s"):
        on_trials("envelope", sound(), cut([1.0, 12.0], [0.5, 0.5]), pd.DataFrame())
    volumes = replace(cut([1.0], [0.5]), attrs={"trials": ""})
    with pytest.raises(InputError, match="has a course, of a film or a sound, and a trial one row"):
        on_trials("envelope", sound(), volumes, pd.DataFrame())
