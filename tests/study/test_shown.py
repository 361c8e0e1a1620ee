"""Pictures, films and sounds in a study: planted causes are found again, from the files on."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml

from brainalign.design.resample import boxcar, lanczos, sum_within
from brainalign.errors import BrainalignError, InputError, SettingsError
from brainalign.features import loading
from brainalign.features.acoustics import envelope, mel_spectrogram, onset_strength
from brainalign.features.audio import embed_audio
from brainalign.features.detail import spatial_frequency
from brainalign.features.gabors import gabor_energy
from brainalign.features.images import embed_images
from brainalign.features.light import colour, contrast
from brainalign.features.motion import motion_energy
from brainalign.features.pitch import pitch
from brainalign.features.pixels import pixels
from brainalign.features.reducing import random_projection
from brainalign.progress import silent
from brainalign.provenance import hash_file
from brainalign.signals import Signal
from brainalign.store import Store
from brainalign.study import checking
from brainalign.study.controls import CONTROLS, controls_of
from brainalign.study.extracting import Named, extract
from brainalign.study.files import Files, files_of, naming
from brainalign.study.kinds import FEATURE_KINDS
from brainalign.study.kinds_of_sound import OfSound
from brainalign.study.made_of_pictures import seen
from brainalign.study.made_of_sound import heard
from brainalign.study.making import source
from brainalign.study.met import Met
from brainalign.study.run import check_study, run_study
from brainalign.study.settings import read_study, study_from
from brainalign.study.stages import kernel_of

pytest.importorskip("PIL")
soundfile = pytest.importorskip("soundfile")

VOLUMES, TR, LAG = 240, 1.0, 2  # s, volumes
RATE = 4000  # of the sounds, Hz
STEP = 0.05  # s, of the truth


def held(onsets, durations, values):
    """The mean over each volume of what is held from each onset on, by adding up in small steps."""
    fine = np.arange(-TR / 2, VOLUMES * TR - TR / 2, STEP) + STEP / 2
    now = np.zeros(len(fine))
    for onset, duration, value in zip(onsets, durations, values):
        now[(fine >= onset) & (fine < onset + duration)] = value
    return now.reshape(VOLUMES, -1).mean(1)


def record(root, causes, seed=0, noise=0.5):
    """A region per cause, which follows it two volumes later."""
    rng = np.random.default_rng(seed)
    table = {}
    for name, cause in causes.items():
        late = np.r_[np.zeros(LAG), cause[:-LAG]]
        table[name] = 100 + (late - late.mean()) / late.std() + noise * rng.standard_normal(VOLUMES)
    folder = root / "derivatives/rois/sub-01/func"
    folder.mkdir(parents=True)
    (root / "dataset_description.json").write_text(json.dumps({"Name": "shown", "BIDSVersion": "1.10.0"}))
    place = folder / "sub-01_task-show_atlas-two_timeseries"
    pd.DataFrame(table).to_csv(place.with_suffix(".tsv"), sep="\t", index=False)
    place.with_suffix(".json").write_text(json.dumps({"RepetitionTime": TR, "StartTime": 0.0}))


def noise_of(amplitudes, seconds, rng):
    """Noise whose amplitude changes every so many seconds."""
    return np.repeat(amplitudes, round(seconds * RATE)) * rng.uniform(-1, 1, len(amplitudes) * round(seconds * RATE))


def grey(value, spread, rng):
    """A picture of a mean luminance and a spread about it, in linear light, which sRGB then bends."""
    light = np.clip(value + spread * rng.choice([-1, 1], (16, 16)), 0, 1)
    bent = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * bent).astype(np.uint8)


def study_file(folder, features, **sections):
    content = {
        "data": {"bids": "tree", "task": "show"},
        "features": features,
        "design": {"delays_volumes": [2, 3]},
        "encoding": {"folds": {"by": "contiguous", "n": 4, "gap_s": 4, "inner": 2}},
        "ceiling": {"kind": "none"},
        "inference": {"permutations": 0, "bootstrap": 0},
        "partition": {"unique": False},
        "output": "out",
    } | sections
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    return read_study(folder / "study.yaml")


@pytest.fixture
def shown(tmp_path):
    """Pictures one after the other, and sounds beside them; what is seen has nothing to do with what is heard."""
    from PIL import Image

    rng = np.random.default_rng(1)
    stimuli = tmp_path / "tree/stimuli"
    stimuli.mkdir(parents=True)
    pictures = {f"p{k}.png": (rng.uniform(0.2, 0.8), rng.uniform(0.02, 0.2)) for k in range(30)}
    for name, (value, spread) in pictures.items():
        Image.fromarray(grey(value, spread, rng)).save(stimuli / name)
    loud = {f"s{k}.wav": rng.uniform(0.05, 0.9) for k in range(20)}
    for name, amplitude in loud.items():
        soundfile.write(stimuli / name, noise_of([amplitude], 3.0, rng), RATE)
    seen = pd.DataFrame({"duration": rng.choice([1.5, 2.5, 4.0], 90), "stim_file": rng.choice(list(pictures), 90)})
    seen["onset"] = seen["duration"].cumsum() - seen["duration"]
    heard = pd.DataFrame({"onset": np.arange(77) * 3.1, "duration": 3.0, "stim_file": rng.choice(list(loud), 77)})
    seen = seen[seen["onset"] < VOLUMES * TR - 5]
    events = pd.concat([seen, heard, pd.DataFrame({"onset": [7.0], "duration": 0.0})]).sort_values("onset")
    events[["onset", "duration", "stim_file"]].to_csv(
        tmp_path / "tree/task-show_events.tsv", sep="\t", index=False, na_rep="n/a"
    )
    light = held(seen["onset"], seen["duration"], [pictures[name][0] for name in seen["stim_file"]])
    sound = held(heard["onset"], heard["duration"], [loud[name] for name in heard["stim_file"]])
    record(tmp_path / "tree", {"eye": light, "ear": sound})
    return tmp_path


BANDS = [
    {"name": "light", "kind": "luminance"},
    {"name": "spread", "kind": "contrast"},
    {"name": "loudness", "kind": "envelope", "rate": 20},
]


def parts(fit):
    """Region × feature: the parts of R²."""
    table = fit.scores.set_index("roi")
    return table.rename(columns=lambda name: str(name).removeprefix("r2_"))


def test_pictures_and_sounds_that_events_name(shown):
    study = study_file(shown, BANDS)
    assert check_study(study) == []
    fit = run_study(study, Store(shown / "cache"))
    found = parts(fit)
    assert (found["r"] > 0.8).all()  # 0.89 is what the noise leaves
    assert found.loc["eye", "light"] > 0.6
    assert found.loc["ear", "loudness"] > 0.6
    assert found.loc["eye", ["spread", "loudness"]].abs().max() < 0.05
    assert found.loc["ear", ["spread", "light"]].abs().max() < 0.05
    record = json.loads((shown / "out/provenance.json").read_text())
    assert {name: record["inputs"][name] for name in ("p0.png", "s0.wav")} == {
        name: hash_file(shown / "tree/stimuli" / name) for name in ("p0.png", "s0.wav")
    }
    assert {"pillow", "soundfile"} <= set(record["versions"])
    assert "torch" not in record["versions"]
    assert fit.excerpt["kernel"].unique().tolist() == ["boxcar"]
    assert set(fit.excerpt["text"]) == {""}


def test_a_picture_that_cannot_be_read_costs_its_own_volumes(shown):
    whole = shown / "tree/stimuli/p3.png"
    whole.write_bytes(whole.read_bytes()[:20])
    study = study_file(shown, BANDS[:1])
    (problem,) = check_study(study)
    assert "'p3.png'" in problem
    with pytest.raises(InputError, match=r"'p3\.png'"):
        run_study(study, Store(shown / "cache"))
    study = study_file(shown, [{**BANDS[0], "unreadable": "censor"}])
    assert check_study(study) == []
    fit = run_study(study, Store(shown / "cache"))
    assert any("censored" in note for note in fit.notes)
    used = fit.scores["n_test"].iloc[0]
    assert VOLUMES * 0.7 < used < VOLUMES
    assert fit.scores.set_index("roi").loc["eye", "r"] > 0.8


def test_a_film_and_a_sound_of_the_whole_run_need_no_events(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(2)
    before, seconds = 6.0, VOLUMES + 20  # s that were shown before the recording began, and in all
    (tmp_path / "tree").mkdir()
    levels, loud = rng.integers(30, 226, seconds), rng.uniform(0.05, 0.9, seconds)
    first, *rest = (Image.new("L", (8, 8), int(level)) for level in levels)
    first.save(tmp_path / "film.gif", save_all=True, append_images=rest, duration=1000)
    soundfile.write(tmp_path / "talk.wav", noise_of(loud, 1.0, rng), RATE)
    light = ((levels / 255 + 0.055) / 1.055) ** 2.4
    begins, lasts = np.arange(seconds) - before, np.ones(seconds)
    record(tmp_path / "tree", {"eye": held(begins, lasts, light), "ear": held(begins, lasts, loud)})
    stimuli = {"film": "film.gif", "sound": {1: "talk.wav"}, "start_s": before}
    study = study_file(tmp_path, [{**BANDS[0], "rate": 4}, BANDS[2]], stimuli=stimuli)
    assert check_study(study) == []
    fit = run_study(study, Store(tmp_path / "cache"))
    found = parts(fit)
    assert (found["r"] > 0.8).all()
    assert found.loc["eye", "light"] > 0.6
    assert found.loc["ear", "loudness"] > 0.6
    assert max(abs(found.loc["eye", "loudness"]), abs(found.loc["ear", "light"])) < 0.05
    assert {"film.gif", "talk.wav"} <= set(fit.provenance["inputs"])
    assert fit.excerpt.empty
    settings = yaml.safe_load((tmp_path / "out/settings.yaml").read_text())
    assert settings["stimuli"]["sound"] == {"1": "talk.wav"}


def test_a_film_that_events_name_is_seen_as_long_as_its_event_lasts(tmp_path):
    from PIL import Image

    for name, levels in (("a.gif", (0, 255, 0, 255)), ("b.gif", (255, 255, 0, 0))):
        first, *rest = (Image.new("L", (8, 8), level) for level in levels)
        first.save(tmp_path / name, save_all=True, append_images=rest, duration=500)
        (tmp_path / name).rename(tmp_path / name.replace(".gif", ".mov"))  # what opens it looks into it
    Image.new("L", (8, 8), 255).save(tmp_path / "white.png")
    events = pd.DataFrame(
        {
            "run": ["1", "1", "1", "2"],
            "onset": [1.0, 3.0, 5.0, 0.0],
            "duration": [1.0, 2.0, 3.0, 0.0],
            "stim_file": ["a.mov", "white.png", "b.mov", "a.mov"],
        }
    )
    feature = study_from({"data": {"bids": "x"}, "features": [{**BANDS[0], "rate": 2}]}).features[0]
    signal = extract(feature, Met(events, files=Files(tmp_path)), None, "cpu").signal
    table = signal.samples.assign(value=signal.array()[:, 0])
    assert table["run"].tolist() == ["1"] * 7 + ["2"] * 4
    assert table["time"].tolist() == [1.0, 1.5, 3.0, 5.0, 5.5, 6.0, 6.5, 0.0, 0.5, 1.0, 1.5]
    assert table["duration"].tolist() == [0.5, 0.5, 2.0] + [0.5] * 8
    assert table["value"].round(2).tolist() == [0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 1]
    assert set(signal.attrs["inputs"]) == {"a.mov", "b.mov", "white.png"}


def test_everything_that_is_wrong_with_the_files_is_said_at_once(shown):
    stimuli = shown / "tree/stimuli"
    (stimuli / "p1.png").write_bytes(b"no picture")
    (stimuli / "p2.png").write_bytes(b"")
    (stimuli / "s4.wav").write_bytes(b"no sound")
    features = [*BANDS, {"name": "named", "kind": "pixels", "column": "picture"}]
    problems = check_study(study_file(shown, features))
    for said in (r"'p1\.png'", r"'p2\.png'", r"s4\.wav", "'named': the events have no column 'picture'"):
        assert [problem for problem in problems if re.search(said, problem)], said
    (stimuli / "p7.png").unlink()
    assert any("p7.png" in problem for problem in check_study(study_file(shown, BANDS)))


@pytest.mark.parametrize(
    ("stimuli", "problem"),
    [
        ({"images": "nowhere"}, "stimuli.images: there is no folder "),
        ({"film": "none.mp4"}, "stimuli.film: there is no file "),
        ({"sound": {"1": "tree/stimuli/s0.wav", "2": "tree/stimuli/s1.wav"}}, "stimuli.sound names files of runs 1, 2"),
    ],
)
def test_files_a_study_names(shown, stimuli, problem):
    study = study_file(shown, BANDS, stimuli=stimuli)
    (found,) = [one for one in check_study(study) if one.startswith(problem)]
    with pytest.raises(InputError, match=re.escape(found)):
        run_study(study, Store(shown / "cache"))


def test_one_film_is_not_that_of_several_runs():
    study = study_from({"data": {"bids": "x"}, "features": BANDS[:1], "stimuli": {"film": __file__}})
    clock = pd.DataFrame({"run": ["1", "2", "3"], "time": 0.0})
    brain = Signal(np.zeros((3, 1)), clock, pd.DataFrame({"roi": ["V1"]}))
    with pytest.raises(InputError, match=r'runs 1, 2, 3: name one for each, \{"1": test_shown.py, "2": .*…\}'):
        files_of(study, brain)


def samples(durations):
    table = pd.DataFrame({"run": "1", "time": np.arange(3.0), "duration": durations, "stimulus": list("abc")})
    return Signal(np.ones((3, 1)), table, pd.DataFrame({"band": ["x"]}))


def test_how_what_lasts_becomes_volumes():
    study = study_from({"data": {"bids": "x"}, "features": [*BANDS, {"name": "rate", "kind": "word_rate"}]})
    light, *_, rate = study.features
    assert kernel_of(study, Named(light, samples(0.5))) is boxcar
    assert kernel_of(study, Named(light, samples(0.0))) is sum_within
    assert kernel_of(study, Named(rate, samples(0.5))) is lanczos
    with pytest.raises(InputError, match=r"'light': 1 of 3 events have no duration, the first in run 1 at 1 s \(b\)"):
        kernel_of(study, Named(light, samples([2.0, 0.0, 2.0])))


def test_events_that_name_nothing():
    for files, found in ((["a.wav", None], r"found 'a\.wav'"), ([None, None], "found nothing")):
        events = pd.DataFrame({"run": "1", "onset": [0.0, 1.0], "duration": 1.0, "stim_file": files})
        with pytest.raises(InputError, match=rf"feature 'light': no event names a picture or a film .*{found}"):
            naming("light", "stim_file", events, ("picture", "film"))


@pytest.mark.parametrize(
    ("kind", "function", "said"),
    [
        ("contrast", contrast, {}),
        ("colour", colour, {}),
        ("spatial_frequency", spatial_frequency, {"side": 32, "log": True, "degrees": 10.0}),
        ("gabor", gabor_energy, {"side": 32, "frequencies": [2.0], "orientations": 3, "octaves": 1.5, "log": True}),
        ("pixels", pixels, {"side": 4, "rgb": True}),
        ("mel", mel_spectrogram, {"bands": 4, "low_hz": 50.0, "high_hz": 1500.0, "window_s": 0.05, "rate": 10.0}),
        ("envelope", envelope, {"window_s": 0.2, "rate": 10.0}),
        ("onset_strength", onset_strength, {"bands": 4, "high_hz": 1500.0, "rate": 10.0, "window_s": 0.05}),
        ("pitch", pitch, {"low_hz": 90.0, "high_hz": 300.0, "reference_hz": 100.0, "rate": 10.0}),
    ],
)
def test_a_dull_band_is_what_its_function_gives(shown, kind, function, said):
    root = shown / "tree/stimuli"
    files = ["s0.wav", "p0.png", "s1.wav", "p1.png", None]  # a feature takes what it is made of
    events = pd.DataFrame({"run": "1", "onset": np.arange(5.0), "duration": 1.0, "stim_file": files})
    mine = events.iloc[[0, 2]] if issubclass(FEATURE_KINDS[kind], OfSound) else events.iloc[[1, 3]]
    feature = study_from({"data": {"bids": "x"}, "features": [{"name": "x", "kind": kind, **said}]}).features[0]
    ours = extract(feature, Met(events, files=Files(root)), None, "cpu").signal
    expected = function(mine, root=root, name="x", **said)
    np.testing.assert_array_equal(ours.array(), expected.array())
    pd.testing.assert_frame_equal(ours.samples, expected.samples)
    pd.testing.assert_frame_equal(ours.columns, expected.columns)
    assert ours.attrs == expected.attrs


def test_motion_energy_is_of_the_film_of_a_run(tmp_path):
    pytest.importorskip("moten")
    from PIL import Image

    rng = np.random.default_rng(0)
    first, *rest = (Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)) for _ in range(12))
    first.save(tmp_path / "film.gif", save_all=True, append_images=rest, duration=100)
    said = {"rate": 10, "side": 16, "spatial_frequencies": [2.0], "temporal_frequencies": [2.0], "directions": [0.0]}
    kind = {"name": "m", "kind": "motion_energy", "log": False}
    feature = study_from({"data": {"bids": "x"}, "features": [{**kind, **said}]}).features[0]
    files = Files(film={"1": tmp_path / "film.gif"}, start_s=-3.0)
    ours = extract(feature, Met(pd.DataFrame(), files=files), None, "cpu").signal
    expected = motion_energy(tmp_path / "film.gif", name="m", log=False, **said)
    np.testing.assert_array_equal(ours.array(), expected.array())
    np.testing.assert_allclose(ours.samples["time"], expected.samples["time"] + 3.0)


@pytest.fixture(scope="module")
def sees(tmp_path_factory):
    """A folder with a small vision model of random weights."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("models") / "sees"
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    config = transformers.ViTConfig(num_hidden_layers=2, image_size=16, patch_size=8, **sizes)
    transformers.ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    transformers.ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


VISION = {"name": "v", "kind": "vision", "layers": [0, 2]}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({}, {}),
        ({"layers": "stack", "pool": "class"}, {"layers": "all", "pool": "class"}),
        ({"pool": "grid", "grid": 1, "size": 24}, {"pool": "grid", "grid": 1, "size": 24}),
        ({"reduce": 3}, {"reduce": random_projection(3)}),
        ({"layers": ["layers.0"]}, {"layers": ["layers.0"]}),
    ],
)
def test_how_a_vision_model_sees(shown, sees, said, meant):
    stimuli = shown / "tree/stimuli"
    events = pd.DataFrame({"run": "1", "onset": [0.0, 1.0], "duration": 1.0, "stim_file": ["p0.png", "p1.png"]})
    feature = study_from({"data": {"bids": "x"}, "features": [{**VISION, "model": str(sees), **said}]}).features[0]
    ours = extract(feature, Met(events, files=Files(stimuli)), None, "cpu").signal
    expected = embed_images(events, sees, **{"layers": [0, 2], "root": stimuli, "name": "v", "device": "cpu", **meant})
    np.testing.assert_array_equal(ours.array(), expected.array())
    assert ours.attrs == expected.attrs


def problems_of(said, met):
    """What the tests of a feature find."""
    feature = study_from({"data": {"bids": "x"}, "features": [said]}).features[0]
    found = []
    for test in checking.tests_of(feature, source(feature), met, "cpu"):
        try:
            test()
        except BrainalignError as error:
            found.append(str(error))
    return found


def met_in(shown, *files):
    """Files that were met one after the other, a second each."""
    events = pd.DataFrame({"run": "1", "onset": np.arange(float(len(files))), "duration": 1.0, "stim_file": files})
    return Met(events, files=Files(shown / "tree/stimuli"))


def test_what_a_vision_model_cannot_do_is_found_without_its_weights(shown, sees, monkeypatch):
    monkeypatch.setattr(loading, "build_network", None)
    met, asked = met_in(shown, "p0.png"), {**VISION, "model": str(sees)}
    assert problems_of(asked, met) == []
    assert problems_of({**asked, "layers": ["layers.0"]}, met) == []
    no_layer = "model 'sees' has no layer 3: it has 3, from 0 (the embedding) to 2"
    assert problems_of({**asked, "layers": [3]}, met) == [no_layer]
    with pytest.raises(SettingsError, match="is no vision model"):
        problems_of({**asked, "model": "stories260k"}, met)
    (sees / "preprocessor_config.json").rename(sees / "elsewhere.json")
    (problem,) = problems_of(asked, met)
    assert "does not say how pictures are prepared" in problem
    (sees / "elsewhere.json").rename(sees / "preprocessor_config.json")


def test_what_motion_energy_cannot_do(shown):
    pytest.importorskip("moten")
    (problem,) = problems_of({"name": "m", "kind": "motion_energy"}, met_in(shown, "p0.png", "p1.png"))
    assert problem.startswith(
        "feature 'm': motion energy needs the film of a whole run, and what was seen in run 1 is 1"
    )


def test_controls_change_a_vision_model_too(shown, sees):
    features = [BANDS[0], {**VISION, "layers": "best", "model": str(sees)}]
    study = study_file(shown, features, encoding={"baseline": ["light"]}, controls="all")
    assert list(controls_of(study)) == ["untrained", "shuffled", "reversed", "segment"]
    names = [f"p{k}.png" for k in range(6)]
    events = pd.DataFrame({"run": "1", "onset": np.arange(6.0), "duration": 1.0, "stim_file": names})
    met, store = Met(events, files=Files(shown / "tree/stimuli")), Store(shown / "cache")
    before = [extract(feature, met, store, "cpu") for feature in study.features]
    for name in ("untrained", "shuffled"):
        light, vision = CONTROLS[name].applied(before, met, store, study, silent)
        assert light is before[0]
        assert vision.bands == before[1].bands == ["v.0", "v.1", "v.2"]
        assert (vision.signal.array() != before[1].signal.array()).any()
    assert sorted(vision.signal.array()[:, 0]) == sorted(before[1].signal.array()[:, 0])


def test_how_a_speech_model_hears(shown, sees, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    sizes |= {"conv_dim": (4,) * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
    torch.manual_seed(0)
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**sizes)).save_pretrained(tmp_path / "hears")
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path / "hears")
    said = {"layers": [1], "context_s": 1.0, "step_s": 0.25, "ahead_s": 0.25, "pool": "last"}
    asked = {"name": "s", "kind": "speech", "model": str(tmp_path / "hears")}
    feature = study_from({"data": {"bids": "x"}, "features": [{**asked, **said}]}).features[0]
    files = Files(sound={"1": shown / "tree/stimuli/s0.wav"}, start_s=1.0)
    ours = extract(feature, Met(pd.DataFrame(), files=files), None, "cpu").signal
    expected = embed_audio(files.sound, tmp_path / "hears", name="s", device="cpu", **said)
    np.testing.assert_array_equal(ours.array(), expected.array())
    np.testing.assert_allclose(
        ours.samples["time"], expected.samples["time"] - 1.0 - 0.25
    )  # lasts for the step it is of

    met = met_in(shown, "s0.wav", "s1.wav")
    assert problems_of({**asked, **said}, met) == []
    no_layer = "model 'hears' has no layer 3: it has 3, from 0 (the embedding) to 2"
    assert problems_of({**asked, "layers": [3]}, met) == [no_layer]
    (problem,) = problems_of({**asked, "step_s": 4.0}, met)
    assert problem.startswith("s0.wav is too short: it was heard for 1.000 s, and a sample needs 4 s")
    assert "does not say how sound is prepared" in problems_of({**asked, "model": "stories260k"}, met)[0]
    assert (
        "no speech model: its folder says how pictures are prepared"
        in problems_of({**asked, "model": str(sees)}, met)[0]
    )
    whisper = tmp_path / "whisper"
    transformers.WhisperConfig().save_pretrained(whisper)
    transformers.WhisperFeatureExtractor().save_pretrained(whisper)
    (whisper / "model.safetensors").touch()
    assert problems_of({**asked, "model": str(whisper), "context_s": 30.0}, met) == []
    (problem,) = problems_of({**asked, "model": str(whisper), "context_s": 31.0}, met)
    assert problem == "context_s=31 is more than model 'whisper' can hear, 30 s: take that or less"


def test_what_cannot_be_heard_is_found_before_it_is_tried(shown):
    met = met_in(shown, "s0.wav")
    (problem,) = problems_of({"name": "mel", "kind": "mel"}, met)
    assert "nothing above 2,000 Hz, and bands go up to 8,000 Hz" in problem
    (problem,) = problems_of({"name": "p", "kind": "pitch", "high_hz": 5000}, met)
    assert "that at most 4,000 Hz; found 60 and 5000" in problem


def test_features_of_the_same_files_look_at_them_once(shown):
    met = met_in(shown, "s0.wav", "p0.png")
    say = [*BANDS, {**BANDS[2], "name": "again"}, {**BANDS[2], "name": "left", "channel": 0}]
    light, spread, loud, again, left = study_from({"data": {"bids": "x"}, "features": say}).features
    assert seen(light, met) is seen(spread, met)
    assert heard(loud, met) is heard(again, met) is not heard(left, met)
    with pytest.raises(InputError, match="feature 'spread': no event names a picture"):
        seen(spread, met_in(shown, "s0.wav"))


def test_a_silent_film_is_not_missed_beside_sounds(shown):
    av = pytest.importorskip("av")
    with av.open(shown / "tree/stimuli/mute.mp4", "w") as container:
        film = container.add_stream("mpeg4", rate=10)
        film.width, film.height, film.pix_fmt = 32, 32, "yuv420p"
        container.mux(film.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        container.mux(film.encode())
    (loud,) = study_from({"data": {"bids": "x"}, "features": [BANDS[2]]}).features
    sounds = heard(loud, met_in(shown, "mute.mp4", "s0.wav"))
    assert sounds.samples["stimulus"].tolist() == ["s0.wav"]
    assert sounds.notes == ["mute.mp4: no sound track, left out of what was heard"]
    with pytest.raises(InputError, match=r"mute.mp4 has no sound track"):
        heard(loud, met_in(shown, "mute.mp4"))
