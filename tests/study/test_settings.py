"""What a study file may say, and what is said when it says something else."""

import copy

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from brainalign.errors import InputError, SettingsError
from brainalign.features.asking import check_settings
from brainalign.shipped import shipped
from brainalign.study.settings import read_study, study_from, written_out

GOOD = {
    "data": {"bids": "tree", "task": "alice", "average": "subjects"},
    "features": [
        {"name": "rate", "kind": "word_rate"},
        {"name": "lm", "kind": "language", "model": "stories260k", "layers": "best", "pca": 50},
    ],
    "encoding": {"baseline": "rate"},
}
VISION = {"name": "v", "kind": "vision", "model": "efficientnet-lite0"}
NSD = {"data": {"nsd": "x", "subjects": "subj01"}, "features": [VISION]}
SURPRISE = {"name": "s", "kind": "surprisal", "model": "stories260k"}


def changed(*path_and_value):
    *path, last, value = path_and_value
    content = copy.deepcopy(GOOD)
    place = content
    for key in path:
        place = place.setdefault(key, {}) if isinstance(place, dict) else place[key]
    place[last] = value
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed("data", "bids", None), "data: a recording is named by one of bids, matrices, nsd; found none of them"),
        (changed("data", {"bids": "x", "nsd": "y"}), "named by one of bids, matrices, nsd; found bids and nsd"),
        (changed("data", "tr", 2.0), "data: tr goes with matrices, not with bids: leave it out"),
        (
            changed("data", {"matrices": "x", "tr": 2.0, "space": "MNI"}),
            "space goes with bids or nsd, not with matrices",
        ),
        (
            changed("data", {"matrices": "x"}),
            "matrices do not say when .* give tr, the seconds between them, or dataset",
        ),
        (changed("data", "run", ["1", "2"]), "run is one label, or left out for all; .* several go with matrices"),
        (changed("data", {"nsd": "x"}), "nsd is read for one person at a time"),
        (changed("data", "censor", {"std_dvars": "x"}), r"data.censor: censor, std_dvars: a limit is a number, or"),
        (
            changed("data", "confounds", {"motion": "bsic"}),
            r"data.confounds: confounds, motion: motion is 'bsic'; it can",
        ),
        (changed("data", "smooth_mm", 0), r"data.smooth_mm: Input should be greater than 0; found 0"),
        (
            changed("design", {"hrf": "spm", "delays_volumes": [1]}),
            "hrf assumes the response's shape, and delays_volumes",
        ),
        (changed("design", {"hrf": "spn"}), "design.hrf: 'spn' is not known; did you mean 'spm'"),
        (changed("design", {"betas": {"hw": "lsa"}}), r"unknown key 'design.betas.hw'; did you mean 'how'\?"),
        (changed("design", {"betas": {}, "hrf": "spm"}), "betas have a row per trial, .* leave out hrf"),
        (
            changed("design", {"betas": {}, "clean": "segment"}),
            r"segment .* design.betas has a row per trial: .* design.clean",
        ),
        (
            changed("controls", ["segment"]) | {"design": {"betas": {}}},
            r"segment .* design.betas has a row per trial: .* controls",
        ),
        (NSD | {"design": {"clean": "segment"}}, r"segment .* data.nsd has a row per trial: .* design.clean"),
        (NSD | {"controls": "segment"}, "segment .* data.nsd has a row per trial: .* controls"),
        (NSD | {"design": {"hrf": "spm", "nuisance": ["drift"]}}, "nsd has .* leave out design.hrf and .*nuisance"),
        (NSD | {"design": {"delays_volumes": [1], "betas": {}}}, "design: betas have a row per trial, .* delays_vol"),
        (NSD | {"design": {"delays_volumes": [1]}}, "nsd has a row per trial already, .* leave out design.delays_vol"),
        (NSD | {"design": {"betas": {}}}, "nsd has a row per trial already, .* leave out design.betas"),
        (NSD | {"design": {"resample": "sum", "drift_s": 100}}, "leave out design.resample and design.drift_s"),
        (
            changed("design", None),
            "design: is a section with keys of its own, resample, delays_volumes, .*; found None",
        ),
        (changed("data", ["x"]), r"data: is a section with keys of its own, bids, .*; found \['x'\]"),
        (changed("design", {"betas": {"unit": "z"}}), "design.betas.unit: 'z' is not known; known: 'percent', 'raw'"),
        (changed("design", {"betas": {}, "drift_s": 100}), "betas take the usual drift, .* leave drift_s out"),
        (
            changed("design", {"betas": {"how": "lss", "ridge": True}}),
            "design.betas: ridge shrinks .* goes with how: lsa",
        ),
        (
            changed("ceiling", {"conditions": "trial_type"}),
            "conditions are what runs repeat: they go with kind: run_rel",
        ),
        (changed("featurs", []), r"study: unknown key 'featurs'; did you mean 'features'\?"),
        (changed("data", "taks", "alice"), r"unknown key 'data.taks'; did you mean 'task'\?"),
        (changed("features", 1, "layer", 3), r"unknown key 'features.2.layer'; did you mean 'layers'\?"),
        (changed("encoding", "folds", {"gap": 3}), r"unknown key 'encoding.folds.gap'; did you mean 'gap_s'\?"),
        (changed("features", 1, "kind", "langage"), r"no feature is of kind 'langage'; did you mean 'language'\?"),
        (changed("features", 0, {"name": "x"}), r"features.1: no feature is of kind None; known: word_rate"),
        (changed("features", 1, "layers", "bst"), r"features.2.layers: .* did you mean 'best'\?"),
        (changed("features", 1, "context", 1), r"features.2.context: is a number of tokens, at least 2, or a list of"),
        (changed("features", 1, "layers", [-3]), r"layers: is a list of different layers .*; found \[-3\]"),
        (changed("features", 1, "layers", []), r"layers: is a list of different layers such as \[3, 5\]"),
        (changed("features", 1, "layers", [3, 3]), r"layers: is a list of different layers .*; 0 is the embedding"),
        (changed("features", 1, "layers", True), r"layers: is a list of different layers .*; found True"),
        (changed("features", 1, "untrained", -1), r"untrained: Input should be greater than or equal to 0; found -1"),
        (changed("features", 1, "untrained", True), r"untrained: Input should be a valid integer; found True"),
        (
            changed("features", 1, {**SURPRISE, "context": 1}),
            r"features.2.context: is a number of tokens, at least 2, or .*; found 1",
        ),
        (
            changed("features", 1, {**SURPRISE, "context": 1, "unit": "words"}),
            r"context: is a number of words, at least 2",
        ),
        (
            changed("features", 1, {**SURPRISE, "context": [8, 16]}),
            r"features.2.context: is one number: contexts are compared in features of kind language; found \[8, 16\]",
        ),
        (changed("features", 1, {"name": "s", "kind": "sentence"}), r"features.2.column is missing"),
        (
            changed("features", 1, "context", [4, 4]),
            r"context: is a number of tokens, .* different ones; found \[4, 4\]",
        ),
        (
            changed("features", 1, "context", [4, 16]),
            r"several contexts are compared at one layer, .* found layers best",
        ),
        (
            changed("features", 1, {"name": "s", "kind": "static"}),
            r"features.2: static needs one of model \(a language model\) and vectors \(a file of word vectors\)",
        ),
        (
            changed("features", 1, {"name": "s", "kind": "static", "model": "stories260k", "vectors": "x.txt"}),
            r"features.2: static needs one of model",
        ),
        (
            changed("features", 1, {"name": "s", "kind": "static", "vectors": "x.txt", "unknown": "zeros"}),
            r"features.2.unknown: 'zeros' is not known; did you mean 'zero'\?",
        ),
        (
            changed("features", 1, {"name": "f", "kind": "word_frequency", "langage": "de"}),
            r"unknown key 'features.2.langage'; did you mean 'language'\?",
        ),
        (
            changed("features", 1, {**VISION, "layers": "blocks.3"}),
            r"layers: is one of each, best, .* such as the module \[blocks",
        ),
        (changed("features", 1, {**VISION, "layers": [3, "stem"]}), r"layers: is a list of different .*or of names of"),
        (changed("features", 1, {**VISION, "pool": "max"}), r"features.2.pool: 'max' is not known; known: 'mean', 'cl"),
        (changed("features", 1, {"name": "f", "kind": "luminance", "root": "x"}), r"unknown key 'features.2.root'"),
        (changed("features", 1, {"name": "f", "kind": "conse", "prompt": "a cat"}), r"prompt: is a sentence with {} "),
        (
            changed("features", 1, {"name": "f", "kind": "mel", "low_hz": 9000}),
            r"features.2: low_hz is below high_hz; found 9000 and 8000$",
        ),
        (
            changed("features", 1, {"name": "f", "kind": "gabor", "side": 16}),
            r"features.2: frequencies are above 0 and at most half of side \(8\); found \[1.*32.*\]: leave the highest",
        ),
        (
            changed("features", 1, {"name": "f", "kind": "motion_energy", "side": 16, "spatial_frequencies": [9]}),
            r"features.2: spatial_frequencies are from 0 to 8, half of what is sampled; found \[9.0\]$",
        ),
        (
            changed("features", 1, {"name": "f", "kind": "motion_energy", "rate": 3}),
            r"features.2: temporal_frequencies are from 0 to 1.5, half",
        ),
        (
            changed("features", 1, {"name": "f", "kind": "pitch", "rat": 9}),
            r"unknown key 'features.2.rat'; did you mean 'r",
        ),
        (
            changed("stimuli", {"images": "a", "film": "b.mp4"}),
            r"stimuli: stimuli.images and stimuli.film: features of p",
        ),
        (
            changed("features", 1, {"name": "s", "kind": "speech", "model": "x/y", "step_s": 9}),
            r"step_s is at most context_s, and ahead_s at most half of it; found step_s 9, ahead_s 0 and context_s 8",
        ),
        (changed("stimuli", "film", 3), r"stimuli.film"),
        (changed("features", []), r"features: List should have at least 1 item"),
        (changed("features", 0, "name", "a b"), r"features.1.name: String should match pattern"),
        (changed("features", 1, "name", "rate"), r"two features are called 'rate'"),
        (
            changed("design", "resample", "lanzcos"),
            r"design.resample: 'lanzcos' is not known; did you mean 'lanczos'\?",
        ),
        (changed("design", "delays_volumes", []), r"design.delays_volumes: List should have at least 1 item"),
        (changed("encoding", "baseline", ["rat"]), r"encoding.baseline names 'rat', .* did you mean 'rate'\?"),
        (changed("encoding", "baseline", ["lm"]), r"feature 'lm' varies its layers and is in the baseline"),
        (changed("encoding", "baseline", ["rate", "lm"]), r"feature 'lm' varies its layers and is in the baseline"),
        (changed("encoding", "folds", {"by": "run", "test": {"run": "1"}}), r"folds.test holds out one named set"),
        (
            changed("encoding", "matched", True)
            | {"features": [GOOD["features"][0], {**GOOD["features"][1], "layers": 3}]},
            r"encoding.matched compares layers or language models at one width: give at least two",
        ),
        (changed("encoding", "seed", -1), r"encoding.seed: Input should be greater than or equal to 0; found -1"),
        (changed("data", "subjects", ["18"]), r"average: subjects needs more than one subject"),
        (changed("controls", ["untraind"]), r"controls.1: 'untraind' is not known; did you mean 'untrained'\?"),
        (changed("ceiling", {"kind": "between"}), r"ceiling.kind: 'between' is not known"),
        (
            changed("targets", {"reliability": 0.2}),
            r"targets: targets.reliability and targets.aside go together: aside names samples",
        ),
        (changed("targets", {"wher": {}}), r"unknown key 'targets.wher'; did you mean 'where'\?"),
        (changed("compute", "memory", "lots"), r"compute.memory: a size such as 4GB, or .*; found 'lots'"),
    ],
)
def test_every_mistake_is_named(content, message):
    with pytest.raises(SettingsError, match=message):
        study_from(content)


def test_all_mistakes_are_named_at_once():
    content = changed("design", {"resample": "lanzcos", "dealys": [1]})
    content["data"].pop("bids")
    with pytest.raises(SettingsError) as caught:
        study_from(content)
    assert str(caught.value).startswith("3 problems:")


def test_one_feature_varies_its_layers():
    content = changed("features", [dict(GOOD["features"][1], name=name) for name in "ab"])
    content["encoding"] = {}
    with pytest.raises(SettingsError, match=r"features 'a', 'b' all vary their layers"):
        study_from(content)


def test_contexts_vary_at_one_layer():
    content = changed("features", 1, "context", [4, 16])
    content["features"][1]["layers"] = [3]
    assert study_from(content).features[1].varies == "context"
    content["encoding"]["baseline"] = ["lm"]
    with pytest.raises(SettingsError, match="feature 'lm' varies its contexts and is in the baseline"):
        study_from(content)
    content["features"][1]["layers"] = [3, 5]
    with pytest.raises(SettingsError, match=r"several contexts are compared at one layer.*found layers \[3, 5\]"):
        study_from(content)
    content["features"][1] |= {"layers": "best", "context": [64]}  # one context in brackets is one context
    content["encoding"]["baseline"] = ["rate"]
    assert study_from(content).features[1].context == 64


def test_everything_in_the_baseline():
    content = changed("features", GOOD["features"][:1])
    with pytest.raises(SettingsError, match=r"every feature is in encoding.baseline"):
        study_from(content)


def test_untrained_control_needs_a_network():
    content = changed("features", [{"name": "rate", "kind": "word_rate"}, {"name": "length", "kind": "word_length"}])
    with pytest.raises(SettingsError, match="controls: untrained needs a feature of kind language, vision or speech"):
        study_from({**content, "controls": ["untrained"]})


def test_controls_of_language_need_it_outside_the_baseline():
    assert study_from(changed("controls", "all")).controls == ["all"]
    assert study_from(changed("controls", "reversed")).controls == ["reversed"]
    dull = [{"name": "rate", "kind": "word_rate"}, {"name": "length", "kind": "word_length"}]
    assert study_from({**changed("features", dull), "controls": "all"}).controls == ["all"]
    fixed = {**GOOD["features"][1], "layers": [3]}
    content = {"data": {"bids": "x"}, "features": [dull[0], fixed], "encoding": {"baseline": "lm"}}
    for name in ("untrained", "static", "position", "shuffled", "residual"):
        kinds = "language, vision or speech" if name in ("untrained", "shuffled") else "language"
        with pytest.raises(SettingsError, match=f"controls: {name} needs a feature of kind {kinds} outside encoding"):
            study_from({**content, "controls": ["reversed", name]})
    with pytest.raises(SettingsError, match="untrained_seeds: Input should be greater than or equal to 1"):
        study_from(changed("untrained_seeds", 0))


def test_files_that_are_no_studies(tmp_path):
    with pytest.raises(InputError, match="there is no such study file"):
        read_study(tmp_path / "none.yaml")
    for text, message in (
        ("a: [", "is not YAML"),
        ("- 1", r"a study file is a mapping .* found list"),
        ("", "found NoneType"),
    ):
        path = tmp_path / "s.yaml"
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_study(path)


def test_paths_are_relative_to_the_file_and_defaults_are_written_out(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(GOOD))
    study = read_study(path)
    assert study.data.bids == tmp_path / "tree"
    assert study.output == tmp_path / "results"
    full = written_out(study)
    assert full["encoding"]["folds"] == {"by": "auto", "n": None, "gap_s": 16.0, "inner": 5, "test": None}
    assert str(tmp_path) not in yaml.safe_dump(full)
    assert study_from(yaml.safe_load(yaml.safe_dump(full)), base=tmp_path) == study  # what is saved can be read


KINDS_WITH_A_MODEL = [
    {"kind": "language", "layers": [3]},
    {"kind": "surprisal"},
    {"kind": "sentence", "column": "caption"},
    {"kind": "static"},
    {"kind": "vision", "layers": [3]},
    {"kind": "speech", "layers": [3]},
    {"kind": "conse"},
]


@pytest.mark.parametrize("kind", KINDS_WITH_A_MODEL, ids=lambda kind: kind["kind"])
def test_a_model_in_a_folder_lies_beside_the_study_file(tmp_path, monkeypatch, kind):
    folder = tmp_path / "studies/mine"
    folder.mkdir(parents=True)
    content = changed("features", 1, {"name": "lm", "model": "mine", **kind})
    (folder.parent / "s.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.chdir(tmp_path)
    for path in (folder.parent / "s.yaml", "studies/s.yaml"):  # wherever the command is run
        study = read_study(path)
        assert study.features[1].model == str(folder)
        assert written_out(study)["features"][1]["model"] == "mine"


def test_a_card_is_no_folder_though_one_of_its_name_lies_there(tmp_path):
    (tmp_path / "stories260k").mkdir()
    assert study_from(GOOD, base=tmp_path).features[1].model == "stories260k"


def test_one_word_is_a_context_where_each_word_gets_all_of_it():
    one = {"context": 1, "unit": "words", "exact": True}
    for feature in ({**GOOD["features"][1], **one}, {**SURPRISE, **one}):
        assert study_from(changed("features", 1, feature)).features[1].contexts == [1]


@given(
    kind=st.sampled_from(["language", "surprisal"]),
    layers=st.lists(st.integers(-2, 3), max_size=3),
    context=st.integers(-1, 4) | st.lists(st.integers(0, 4), max_size=3),
    unit=st.sampled_from(["tokens", "words"]),
    exact=st.booleans(),
)
def test_a_study_file_says_what_embed_words_takes_and_all_of_it(kind, layers, context, unit, exact):
    asked = {"name": "f", "kind": kind, "model": "stories260k", "context": context, "unit": unit, "exact": exact}
    asked |= {"layers": layers} if kind == "language" else {}
    layers = layers if kind == "language" else "all"
    sizes = context if isinstance(context, list) else [context]
    good = len(set(sizes)) == len(sizes) > 0 and (len(sizes) == 1 or (kind == "language" and len(layers) == 1))
    try:
        for size in sizes:
            check_settings(layers, size, unit, exact, "run", "mean", ["hidden"], "float32")
    except SettingsError:
        good = False
    if good and (layers == "all" or min(layers) >= 0):
        assert study_from(changed("features", 1, asked)).features[1].contexts == sizes
    else:
        with pytest.raises(SettingsError):
            study_from(changed("features", 1, asked))


def test_matched_counts_every_feature_that_can_be_reduced():
    features = [{"name": "gist", "kind": "sentence", "column": "caption"}, {**GOOD["features"][1], "layers": [3]}]
    content = {"data": {"bids": "x"}, "features": features, "encoding": {"baseline": ["gist"], "matched": True}}
    assert study_from(content).encoding.matched


def test_files_of_features_lie_beside_the_study_file(tmp_path):
    (tmp_path / "tagger").mkdir()
    features = [
        {"name": "a", "kind": "static", "vectors": "glove.txt"},
        {"name": "b", "kind": "static", "vectors": "stories260k"},  # a card's name is no file
        {"name": "c", "kind": "phoneme_rate", "phones": "phones.TextGrid"},
        {"name": "d", "kind": "word_class", "tagger": "tagger"},
        {"name": "e", "kind": "word_class", "tagger": "en-core-web-sm"},  # nor is this one's
    ]
    study = study_from({"data": {"bids": "x"}, "features": features}, base=tmp_path)
    a, b, c, d, e = study.features
    assert (a.vectors, b.vectors) == (str(tmp_path / "glove.txt"), "stories260k")
    assert c.phones == tmp_path / "phones.TextGrid"
    assert (d.tagger, e.tagger) == (str(tmp_path / "tagger"), "en-core-web-sm")
    assert str(tmp_path) not in yaml.safe_dump(written_out(study))
    assert written_out(study)["features"][0]["vectors"] == "glove.txt"


def test_stimuli_lie_beside_the_study_file(tmp_path):
    stimuli = {"film": {1: "a/one.mp4", "2": "two.mp4"}, "sound": "talk.wav", "words": "talk.TextGrid"}
    study = study_from({**GOOD, "stimuli": stimuli}, base=tmp_path)
    assert study.stimuli.film == {"1": tmp_path / "a/one.mp4", "2": tmp_path / "two.mp4"}
    assert study.stimuli.sound == tmp_path / "talk.wav"
    full = written_out(study)["stimuli"]
    assert full["film"] == {"1": "one.mp4", "2": "two.mp4"}
    assert (full["sound"], full["images"], full["text"]) == ("talk.wav", None, None)


def test_whether_a_study_needs_events():
    film, light = {"stimuli": {"film": "a.mp4"}}, {"name": "light", "kind": "luminance"}
    loud = {"name": "loud", "kind": "envelope"}

    def needs(features, **more):
        return study_from({"data": {"bids": "x"}, "features": features, **more}).needs_events

    assert not needs([light], **film)
    assert needs([light])
    assert needs([light, loud], **film)
    assert not needs([light, loud], stimuli={"film": "a.mp4", "sound": "a.mp4"})
    assert needs([light], **film, targets={"conditions": "trial_type", "reliability": 0.1, "aside": {"run": "1"}})


def test_a_number_is_a_name_where_names_are_meant():
    content = changed("data", {"bids": "x", "task": 1, "subjects": [18, 22]})
    assert study_from(content).data.subjects == ["18", "22"]


@pytest.mark.parametrize(
    ("name", "sample"), [("listening.yaml", "alice"), ("listening-quick.yaml", "alice"), ("objects.yaml", "haxby")]
)
def test_the_shipped_studies_are_valid(name, sample):
    study = read_study(shipped("studies", name))
    assert study.data.bids.resolve() == shipped("sample", sample).resolve()


def test_a_recording_lies_beside_the_study_file_and_an_atlas_may(tmp_path):
    (tmp_path / "atlas.nii.gz").touch()
    data = {"bids": "tree", "atlas": "atlas.nii.gz", "mask": "mask.nii.gz"}
    study = study_from(changed("data", data), base=tmp_path)
    assert study.data.atlas == str(tmp_path / "atlas.nii.gz")
    assert study.data.mask == tmp_path / "mask.nii.gz"
    full = written_out(study)["data"]
    assert (full["bids"], full["atlas"], full["mask"]) == ("tree", "atlas.nii.gz", "mask.nii.gz")
    assert study_from(changed("data", {**data, "atlas": "schaefer"}), base=tmp_path).data.atlas == "schaefer"
    matrices = study_from(
        changed("data", {"matrices": "lebel", "dataset": "lebel2023", "run": ["a", "b"]}), base=tmp_path
    )
    assert matrices.data.root == tmp_path / "lebel"
    nsd = study_from(changed("data", {"nsd": "nsd", "subjects": "subj01", "mask": "nsdgeneral"}), base=tmp_path)
    assert (nsd.data.root, str(nsd.data.mask)) == (tmp_path / "nsd", "nsdgeneral")
    assert str(tmp_path) not in yaml.safe_dump([written_out(one) for one in (study, matrices, nsd)])


def test_confounds_that_are_chosen_are_removed_unless_something_is_said():
    chosen = changed("data", "confounds", ["csf", "motion"])
    assert study_from(chosen).design.nuisance == ["drift", "confounds"]
    assert study_from({**chosen, "design": {"nuisance": ["high_pass", "csf"]}}).design.nuisance == ["high_pass", "csf"]
    assert study_from(changed("data", "confounds", "csf")).data.confounds == ["csf"]
    assert study_from(GOOD).design.nuisance == ["drift", "motion"]
    for none in ([], {}):  # chosen are none
        study = study_from(changed("data", "confounds", none))
        assert study.design.nuisance == ["drift"]
        assert study_from(written_out(study)) == study


def test_what_nsd_may_be_asked():
    study = study_from(NSD | {"design": {"clean": "none"}, "controls": ["reversed", "untrained"]})
    assert study.of_trials
    assert study_from(written_out(study)) == study
    assert study_from(changed("design", {"betas": {}})).of_trials
    assert not study_from(GOOD).of_trials


def test_a_response_that_is_assumed_is_written_out_and_read_again():
    for design in ({"hrf": "glover"}, {"betas": {"how": "condition"}}):
        study = study_from(changed("design", design))
        assert study_from(written_out(study)) == study


def test_conditions_are_those_of_the_targets_unless_the_ceiling_names_its_own():
    again = {"kind": "run_reliability"}
    assert study_from(changed("ceiling", again)).conditions == "trial_type"
    content = changed("targets", {"conditions": "kind"})
    assert study_from({**content, "ceiling": again}).conditions == "kind"
    assert study_from({**content, "ceiling": {**again, "conditions": "other"}}).conditions == "other"
