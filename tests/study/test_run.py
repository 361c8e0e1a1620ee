"""A whole study: from a BIDS tree to a results folder, and every input that can be wrong."""

import json
import re

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml

from brainalign.encoding.result import load_encoding
from brainalign.errors import BrainalignError
from brainalign.provenance import hash_file
from brainalign.reporting.page import report
from brainalign.shipped import shipped
from brainalign.store import Store
from brainalign.study.run import audit_study, check_study, run_study
from brainalign.study.settings import read_study


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cache")


def run(path, store):
    study = read_study(path)
    return run_study(study, store), study.output


def test_a_study_from_tree_to_folder(study, store):
    fit, folder = run(study(controls=["reversed", "segment", "untrained"]), store)
    assert sorted(p.name for p in folder.iterdir()) == [
        "controls.tsv", "excerpt.tsv", "folds.tsv", "gain.tsv", "partition.tsv", "people.tsv", "predictions.zarr",
        "provenance.json", "scores.tsv", "settings.yaml",
    ]  # fmt: skip
    again = load_encoding(folder)
    assert list(dict.fromkeys(again.scores["model"])) == ["baseline", "full"]
    assert set(again.people["subject"]) == {"18", "22", "23"}
    decided = again.settings["decided"]
    assert decided["subjects"] == ["18", "22", "23"]
    assert [who["subject"] for who in decided["left_out"]] == ["33"]
    assert any(note.startswith("sub-33 left out: every value") for note in again.notes)
    assert any("context (128 tokens) crosses the borders of folds" in note for note in again.notes)
    assert decided["words"] == 2127
    controls = again.controls.set_index("control")
    assert list(controls.index) == ["as asked", "reversed", "segment", "untrained"]
    assert abs(controls.loc["reversed", "full_r"]) < controls.loc["as asked", "full_r"]
    assert controls.loc["untrained", "baseline_r"] == pytest.approx(controls.loc["as asked", "baseline_r"])
    assert list(again.controls)[2:] == ["baseline_r", "full_r", "gain_r", "difference", "low", "high", "p"]
    lost = controls.loc["as asked", "gain_r"] - controls.loc["untrained", "gain_r"]
    assert controls.loc["untrained", "difference"] == pytest.approx(lost, abs=1e-5)
    assert controls.loc["untrained", "low"] < lost < controls.loc["untrained", "high"]
    assert 1 / 8 <= controls.loc["untrained", "p"] <= 1  # three people
    assert fit.scores["ceiling_kind"].unique().tolist() == ["split_half"]


def test_all_controls_of_layers_to_choose_from(study, store):
    """Every one runs, the language features' single bands included, and what cannot be done is said."""
    lm = {"name": "lm", "kind": "language", "model": "stories260k", "layers": "best", "pca": 5}
    features = [{"name": "rate", "kind": "word_rate"}, {**lm, "context": 32}]
    encoding = {"baseline": ["rate"], "folds": {"by": "contiguous", "n": 4, "inner": 2}}
    inference = {"permutations": 0, "bootstrap": 20}
    short = {"delays_volumes": [2], "clean": "run"}
    path = study(features=features, encoding=encoding, inference=inference, design=short, controls="all")
    fit, _ = run(path, store)
    table = fit.controls.set_index("control")
    language = ["untrained", "static", "position", "shuffled", "residual"]
    assert list(table.index) == ["as asked", *language[:4], "reversed", "residual", "segment"]
    for name in language:  # the baseline is not theirs to change
        assert table.loc[name, "baseline_r"] == pytest.approx(table.loc["as asked", "baseline_r"])
    assert table["full_r"].nunique() == 8
    assert table.loc[language, ["low", "high", "p"]].notna().all(axis=None)
    assert not any("left out" in note for note in fit.notes if note.startswith("control"))
    settings = yaml.safe_load((path.parent / "out/settings.yaml").read_text())
    assert settings["controls"] == ["all"]
    assert settings["untrained_seeds"] == 1


def test_a_control_that_cannot_be_done_is_left_out_and_an_error_where_it_was_named(study, store):
    lm = {"name": "lm", "kind": "language", "model": "stories260k", "layers": [0], "pca": 5}
    features = [{"name": "rate", "kind": "word_rate"}, lm]
    encoding = {"baseline": ["rate"], "folds": {"by": "contiguous", "n": 4, "inner": 2}}
    more = {"inference": {"permutations": 0, "bootstrap": 0}, "design": {"delays_volumes": [2], "clean": "none"}}
    fit, _ = run(study(features=features, encoding=encoding, controls="all", **more), store)
    assert fit.controls["control"].tolist() == ["as asked", "untrained", "static", "position", "shuffled", "reversed"]
    assert any(note.startswith("control residual left out: nothing is left of feature 'lm'") for note in fit.notes)
    path = study(features=features, encoding=encoding, controls=["residual", "reversed"], output="named", **more)
    with pytest.raises(BrainalignError, match=r"control residual left out: nothing is left .*; all else is in .*named"):
        run(path, store)
    saved = load_encoding(path.parent / "named")  # what was computed is there, whatever came before or after
    assert saved.controls["control"].tolist() == ["as asked", "reversed"]
    assert any(note.startswith("control residual left out") for note in saved.notes)


def test_a_control_that_breaks_leaves_the_fit(study, store, monkeypatch):
    def broken(*arguments, **settings):
        raise MemoryError

    blocks = {"folds": {"by": "contiguous", "n": 4, "inner": 2}}
    monkeypatch.setattr("brainalign.study.run.row_of_control", broken)
    path = study(features=[{"name": "rate", "kind": "word_rate"}], encoding=blocks, controls=["reversed"])
    with pytest.raises(MemoryError):
        run(path, store)
    assert len(load_encoding(path.parent / "out").scores)


def test_position_and_static_vectors_as_features(study, store):
    features = [
        {"name": "where", "kind": "word_position"},
        {"name": "word", "kind": "static", "model": "stories260k", "pca": 5},
    ]
    encoding = {"baseline": ["where"], "folds": {"by": "contiguous", "n": 4, "inner": 2}}
    fit, folder = run(study(features=features, encoding=encoding), store)
    assert {"r2_where", "r2_word"} <= set(fit.scores)
    record = json.loads((folder / "provenance.json").read_text())
    assert record["features"]["word"]["kind"] == "static"
    assert record["versions"]["transformers"]
    path = study(features=[features[0], features[1] | {"model": "storis260k"}], encoding=encoding)
    assert any("storis260k" in problem for problem in check_study(read_study(path)))


@pytest.fixture
def dull(tree):
    """Dull features of every kind that reads a file or a column, and the files beside the study file."""
    words = pd.read_csv(tree / "task-alice_events.tsv", sep="\t", keep_default_na=False)
    words["pos"] = np.where(words["word"].isin(["the", "a", "an"]), "DT", "NN")
    words.to_csv(tree.parent / "tagged.csv", index=False)
    middle = words["onset"] + words["duration"] / 2
    phones = pd.DataFrame({"onset": middle + 20, "duration": 0.0, "phone": "x"})  # one in every word, on another clock
    (tree.parent / "phones").mkdir()
    phones.to_csv(tree.parent / "phones/tagged.csv", index=False)  # named as the words are, in a folder of its own
    (tree.parent / "tiny.txt").write_text("the 0.5 0.25 1\nalice -1 2 0.125\nwas 0 1 -1\n")
    return [
        {"name": "rate", "kind": "word_rate"},
        {"name": "zipf", "kind": "word_frequency"},
        {"name": "phones", "kind": "phoneme_rate", "phones": "phones/tagged.csv", "start_s": 20},
        {"name": "class", "kind": "word_class", "tags": "pos"},
        {"name": "glove", "kind": "static", "vectors": "tiny.txt", "unknown": "zero", "pca": 2},
    ]


def test_dull_features_and_vectors_of_a_file(study, store, dull, tmp_path):
    path = study(
        stimuli={"words": "tagged.csv"},
        features=dull,
        encoding={"baseline": ["rate"], "folds": {"by": "contiguous", "n": 3, "inner": 2}},
        inference={"permutations": 0, "bootstrap": 0},
        partition={"unique": False},
    )
    fit, folder = run(path, store)
    assert {f"r2_{f['name']}" for f in dull} <= set(fit.scores)
    record = json.loads((folder / "provenance.json").read_text())
    files = {"tagged.csv": "tagged.csv", "tagged.csv (2)": "phones/tagged.csv"}
    assert {name: record["inputs"][name] for name in files} == {n: hash_file(tmp_path / f) for n, f in files.items()}
    assert any("sub-18" in name for name in record["inputs"])
    about = record["features"]
    assert about["zipf"]["out_of_vocabulary"]["words"] == ["happpens"]
    assert (about["phones"]["source"], about["phones"]["without"]["count"]) == ("phones", 0)
    assert about["class"]["source"] == "column pos"
    assert (about["glove"]["model"], about["glove"]["unknown"]) == ("tiny", "zero")
    assert "transformers" not in record["versions"]  # no language model took part
    assert "zipf: 1 of 2127 words (0.047 %) are not in its list (happpens)" in fit.notes
    assert any(note.startswith("glove: 1") and "beginning, to, get" in note for note in fit.notes)
    asked = yaml.safe_load((folder / "settings.yaml").read_text())["features"]
    assert (asked[2]["phones"], asked[4]["vectors"]) == ("tagged.csv", "tiny.txt")
    assert str(tmp_path) not in (folder / "settings.yaml").read_text()


def test_what_is_missing_of_dull_features_is_found_before(study, dull, tmp_path):
    asked = {"stimuli": {"words": "tagged.csv"}, "encoding": {"baseline": ["rate"]}}
    assert check_study(read_study(study(features=dull, **asked))) == []
    zipf, phones, kinds, glove = (dict(one) for one in dull[1:])
    zipf["language"], phones["phones"], kinds["tags"], glove["vectors"] = "english", "none.csv", "poss", "none.txt"
    tagger = {"name": "tagged", "kind": "word_class", "tagger": "en_none"}
    broken = {"name": "broken", "kind": "static", "vectors": "broken.txt"}
    (tmp_path / "broken.txt").write_text("the 0.5 0.25\nalice 1\n")
    problems = check_study(read_study(study(features=[dull[0], zipf, phones, kinds, glove, tagger, broken], **asked)))
    expected = [
        r"there are no word vectors '.*none\.txt'",
        "wordfreq has no list of the language 'english'",
        r"feature 'phones', phones: there is no file .*none\.csv: check the path",
        r"no column 'poss' with their classes; did you mean 'pos'\?",
        r"feature 'tagged', tagger: there is no folder .*en_none; in a study file a tagger is 'en-core-web-sm' or",
        r"broken\.txt, line 2 .* has 1 numbers, not 2",
    ]
    assert len(problems) == len(expected)
    for said, problem in zip(expected, problems, strict=True):
        assert re.search(said, problem)


def test_captions_are_reduced_and_those_that_are_too_long_are_counted(study, store, tree):
    words = pd.read_csv(tree / "task-alice_events.tsv", sep="\t", keep_default_na=False)
    words["caption"] = "a dog is " + words["word"]
    words.loc[5, "caption"] = "a dog " * 600
    words.to_csv(tree.parent / "captions.csv", index=False)
    gist = {"name": "gist", "kind": "sentence", "model": "stories260k", "column": "caption", "pca": 3}
    fit, _ = run(
        study(
            stimuli={"words": "captions.csv"},
            features=[{"name": "rate", "kind": "word_rate"}, gist],
            encoding={"baseline": ["rate"], "folds": {"by": "contiguous", "n": 3, "inner": 2}},
            inference={"permutations": 0, "bootstrap": 0},
            partition={"unique": False},
        ),
        store,
    )
    assert list(fit.settings["decided"]["reduced"]) == ["gist"]
    assert fit.notes.count("gist: 1 of 2127 sentences are longer than the 512 tokens it reads") == 1


def test_phones_of_a_textgrid(study, tree, tmp_path):
    grid = next((tree / "stimuli").glob("*.TextGrid"))
    phones = {"name": "phones", "kind": "phoneme_rate", "phones": str(grid), "start_s": 20}
    features = [{"name": "rate", "kind": "word_rate"}, phones]
    path = study(features=features, encoding={"baseline": ["rate"]})
    assert any("no interval tier 'phone'; known: 'word'" in problem for problem in check_study(read_study(path)))
    path = study(features=[features[0], phones | {"tier": "word"}], encoding={"baseline": ["rate"]})
    assert check_study(read_study(path)) == []  # words stand in for phones: one in each


def test_provenance_names_every_input_and_nothing_of_the_host(study, store, tmp_path):
    _, folder = run(study(), store)
    record = json.loads((folder / "provenance.json").read_text())
    names = " ".join(record["inputs"])
    for part in ("sub-18", "sub-22", "sub-23", "confounds", "task-alice_events.tsv"):
        assert part in names
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in record["inputs"].values())
    assert record["features"]["lm"]["model"] == "stories260k"
    assert record["versions"]["transformers"]
    for file in ("provenance.json", "settings.yaml"):
        assert str(tmp_path) not in (folder / file).read_text()


def test_the_same_seed_gives_the_same_bytes(study, tmp_path):
    path = study()
    one = run(path, Store(tmp_path / "a"))[1] / "scores.tsv"
    first = one.read_bytes()
    assert run(path, Store(tmp_path / "b"))[1].joinpath("scores.tsv").read_bytes() == first  # computed anew
    assert run(path, Store(tmp_path / "b"))[1].joinpath("scores.tsv").read_bytes() == first  # taken from the store


def test_weights_on_request(study, store):
    encoding = {"baseline": ["rate"], "folds": {"n": 4, "by": "contiguous"}, "weights": True}
    fit, folder = run(study(encoding=encoding), store)
    assert (folder / "weights.zarr").is_dir()
    again = load_encoding(folder)
    assert again.weights.values.shape == fit.weights.values.shape


def test_a_context_is_chosen_per_region(study, store):
    lm = {"name": "lm", "kind": "language", "model": "stories260k", "layers": [3], "context": [32, 64], "pca": 10}
    path = study(features=[{"name": "rate", "kind": "word_rate"}, lm], encoding={"baseline": ["rate"]})
    fit, folder = run(path, store)
    assert fit.layers["model"].tolist() == ["lm.context32", "lm.context64"]
    assert fit.layers["context"].tolist() == [32, 64]
    assert "full" in set(fit.scores["model"])
    table = pd.read_csv(folder / "choices.tsv", sep="\t", na_values="n/a")
    assert table["roi"].tolist() == fit.observed.columns["roi"].tolist()
    assert set(table["place"]) <= {32, 64}
    assert (table["choice"] == "lm.context" + table["place"].astype(str)).all()
    assert fit.provenance["features"]["lm"]["context"] == [32, 64]
    assert any("context (64 tokens) crosses the borders of folds" in note for note in fit.notes)
    seen = report(fit, folder / "again.html").read_text("utf-8")
    assert "Context by context" in seen
    assert "context one of 32, 64 tokens" in seen
    assert fit.provenance["features"]["lm"]["context_s"] > 10  # that of the longest, for the leak audit


def test_one_person_is_named_and_scored_alone(study, store):
    data = {"bids": "tree", "task": "alice", "subjects": ["22"]}
    fit, _ = run(study(data=data), store)
    assert fit.scores["subject"].unique().tolist() == ["22"]
    assert fit.scores["ceiling_r"].isna().all()
    assert any("1 recording on this clock and no repeated presentations" in note for note in fit.notes)


def test_a_transcript_of_ones_own(study, store, tree):
    words = pd.read_csv(tree / "task-alice_events.tsv", sep="\t", keep_default_na=False)
    words[words["word"] != "the"].to_csv(tree.parent / "mine.csv", index=False)
    fit, _ = run(study(stimuli={"words": "mine.csv"}), store)
    assert fit.settings["decided"]["words"] < 2127
    assert "mine.csv" in fit.provenance["inputs"]
    grid = next((tree / "stimuli").glob("*.TextGrid"))
    with pytest.raises(BrainalignError, match="after the recording ends"):  # its clock starts 20 s before the volumes
        run(study(stimuli={"words": str(grid)}), store)
    fit, _ = run(study(stimuli={"words": str(grid), "start_s": 20}), store)
    assert fit.settings["decided"]["words"] == 2127
    with pytest.raises(BrainalignError, match=r"stimuli.words: there is no file .*none.csv"):
        run(study(stimuli={"words": "none.csv"}), store)


def test_images_blocks_and_a_held_out_run(tmp_path, store):
    """The haxby sample: categories predict voxels of a run never seen."""
    content = {
        "data": {"bids": str(shipped("sample", "haxby")), "subjects": ["1"], "derivatives": "raw"},
        "features": [{"name": "category", "kind": "category"}],
        "design": {"delays_volumes": [1, 2, 3, 4], "nuisance": ["drift"]},
        "encoding": {"folds": {"test": {"run": ["11", "12"]}, "inner": 4}},
        "inference": {"permutations": 0, "bootstrap": 0},
        "output": "out",
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    fit, _ = run(path, store)
    assert (fit.scores["n_test"] == 242).all()
    assert {"i", "j", "k", "x", "y", "z"} <= set(fit.scores.columns)
    best = fit.scores["r"].nlargest(20)
    assert best.min() > 0.4  # Haxby's voxels tell categories apart
    assert set(fit.observed.samples["run"]) == {"11", "12"}


def test_targets_by_region(study, store):
    fit, folder = run(study(targets={"where": {"roi": ["LATL", "LIFG"]}}), store)
    assert fit.scores["roi"].unique().tolist() == ["LATL", "LIFG"]
    assert fit.people["roi"].unique().tolist() == ["LATL", "LIFG"]
    decided = yaml.safe_load((folder / "settings.yaml").read_text())["decided"]
    assert decided["targets"] == "roi LATL, LIFG: 2 of 6 targets"
    assert "targets chosen by roi LATL, LIFG: 2 of 6 targets" in fit.notes
    with pytest.raises(BrainalignError, match="targets: no roi 'LATR'; did you mean 'LATL'"):
        run(study(targets={"where": {"roi": ["LATR"]}}), store)
    assert any(
        "did you mean 'LATL'" in one for one in check_study(read_study(study(targets={"where": {"roi": ["LATR"]}})))
    )


def test_targets_that_repeat_in_runs_which_are_not_scored(tmp_path, store, monkeypatch):
    """Haxby's voxels are chosen in four runs, and fitted and scored in the other eight."""
    content = {
        "data": {"bids": str(shipped("sample", "haxby")), "subjects": ["1"], "derivatives": "raw"},
        "features": [{"name": "category", "kind": "category"}],
        "design": {"delays_volumes": [1, 2, 3, 4], "nuisance": ["drift"]},
        "encoding": {"folds": {"by": "run", "n": 4}},
        "targets": {"reliability": 0.3, "aside": {"run": ["01", "02", "03", "04"]}, "conditions": "trial_type"},
        "inference": {"permutations": 0, "bootstrap": 0},
        "output": "out",
    }
    path = tmp_path / "study.yaml"
    runs = ba_runs()
    content["targets"]["aside"] = {"run": runs[:4]}
    asked = []
    with monkeypatch.context() as patch:
        patch.setattr("brainalign.study.run.tests_of", lambda *said: asked.append(said[2].events["run"]) or [])
        assert check_study(read_study(write(path, content))) == []
    assert set(asked[0]) == set(runs[4:])  # of what is not scored nothing is asked
    fit, _ = run(write(path, content), store)
    assert set(fit.observed.samples["run"]) == set(runs[4:])
    assert {"events", "words"} & set(fit.settings["decided"]) == {"events"}
    said = re.search(r": ([\d,]+) of ([\d,]+) targets", fit.settings["decided"]["targets"])
    kept, of = (int(count.replace(",", "")) for count in said.groups())
    assert 20 < kept < of / 4
    assert len(fit.scores) == kept
    everywhere, _ = run(write(path, {**content, "targets": {}}), store)
    assert fit.scores["r"].mean() > 1.5 * everywhere.scores["r"].mean()
    content["targets"]["conditions"] = "category"
    with pytest.raises(BrainalignError, match="events have no column 'category'"):
        run(write(path, content), store)


def write(path, content):
    path.write_text(yaml.safe_dump(content))
    return path


def ba_runs():
    """The runs of the haxby sample."""
    import brainalign as ba

    return ba.read_fmri(shipped("sample", "haxby"), subject="1", derivatives="raw").runs


def test_the_folds_of_a_study_are_audited(study, store):
    path = study(encoding={"folds": {"by": "contiguous", "n": 4, "inner": 3}})
    fair = audit_study(read_study(path), store)
    assert not fair["leaky"].any(), fair
    assert {"gap", "context", "time alone", "slow noise", "beyond strict folds"} <= set(fair["check"])
    assert "lm, up to" in fair.set_index("check").loc["context", "meaning"]
    leaky = audit_study(read_study(study(encoding={"folds": {"by": "shuffled", "n": 4, "inner": 3}})), store)
    found = leaky.set_index("check")["leaky"]
    assert found["gap"]
    assert found["time alone"]


def test_shuffled_folds_are_done_by_name_and_said(study, store):
    fit, _ = run(study(encoding={"folds": {"by": "shuffled", "n": 4, "inner": 3}}), store)
    assert fit.notes[0].startswith("LEAKY FOLDS") or any(n.startswith("LEAKY FOLDS") for n in fit.notes)


def test_planted_images_are_predicted_alike(tmp_path, store):
    """A NIfTI tree of one's own: a response planted four seconds after each event comes back at that delay."""
    rng = np.random.default_rng(0)
    root = tmp_path / "own"
    func = root / "sub-01/func"
    func.mkdir(parents=True)
    planted = {"face": [], "house": []}
    (root / "dataset_description.json").write_text('{"Name": "planted", "BIDSVersion": "1.9.0"}')
    (root / "task-look_bold.json").write_text('{"RepetitionTime": 2.0, "TaskName": "look", "StartTime": 0.0}')
    for name in ("1", "2", "3"):
        volumes = np.sort(rng.choice(np.arange(2, 95), 30, replace=False))
        onsets = volumes * 2.0 - 1  # two seconds around the time of a volume: it gets the whole block
        kinds = rng.choice(["face", "house"], 30)
        pd.DataFrame({"onset": onsets, "duration": 2.0, "trial_type": kinds}).to_csv(
            func / f"sub-01_task-look_run-{name}_events.tsv", sep="\t", index=False
        )
        data = rng.standard_normal((4, 4, 2, 100)) * 5 + 1000
        for place, kind in enumerate(("face", "house"), start=1):
            planted[kind].append(np.isin(np.arange(100), volumes[kinds == kind] + 2))
            data[place, 1, 0] += 20 * planted[kind][-1]
        image = nib.Nifti1Image(data.astype(np.float32), np.eye(4))
        image.header.set_zooms((1, 1, 1, 2.0))
        image.header.set_xyzt_units("mm", "sec")
        nib.save(image, func / f"sub-01_task-look_run-{name}_bold.nii.gz")
    mask = nib.Nifti1Image(np.ones((4, 4, 2), np.uint8), np.eye(4))
    nib.save(mask, tmp_path / "mask.nii.gz")
    content = {
        "data": {"bids": "own", "task": "look", "mask": "mask.nii.gz"},
        "features": [{"name": "kind", "kind": "category"}],
        "design": {"delays_volumes": [0, 1, 2, 3], "nuisance": ["drift"]},
        "encoding": {"weights": True},
        "inference": {"permutations": 99, "bootstrap": 0},
        "output": "out",
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    fit, _ = run(tmp_path / "study.yaml", store)
    scores = fit.scores.set_index(["i", "j", "k"])
    for place, kind in enumerate(("face", "house"), start=1):
        index = scores.index.get_loc((place, 1, 0))
        told = np.corrcoef(np.concatenate(planted[kind]), fit.observed.values[:, index])[0, 1]
        assert scores.loc[(place, 1, 0), "r"] > told - 0.05  # as good as knowing what was planted
    rest = scores.drop([(1, 1, 0), (2, 1, 0)])
    assert rest["r"].abs().max() < 0.3
    assert (rest["q"] > 0.05).mean() > 0.9
    table, place = fit.weights.columns, fit.weights.targets.query("i == 1 and j == 1 and k == 0").index[0]
    largest = table.iloc[int(np.abs(fit.weights.values[:, place]).argmax())]
    assert (largest["unit"], largest["delay"]) == ("face", 2)


def lines(path):
    return path.read_text().splitlines()


def rewrite(path, change):
    rows = [line.split("\t") for line in lines(path)]
    path.write_text("\n".join("\t".join(row) for row in change(rows)) + "\n")


def set_cell(row, column, value):
    def change(rows):
        rows[row][rows[0].index(column)] = value
        return rows

    return change


def constant(rows):
    at = rows[0].index("LIFG")
    return [rows[0]] + [[*r[:at], "7.0", *r[at + 1 :]] for r in rows[1:]]


def fewer(rows):
    return [row[:-1] for row in rows]


BROKEN = {
    "missing sidecar": (lambda tree, table: table.with_suffix(".json").unlink(), r"RepetitionTime"),
    "TR": (
        lambda tree, table: table.with_suffix(".json").write_text('{"RepetitionTime": 1.5, "StartTime": 0}'),
        r"sub-22.*(RepetitionTime|TR).*1\.5.*2",
    ),
    "constant column": (lambda tree, table: rewrite(table, constant), r"sub-22.*LIFG.*constant|LIFG.*sub-22"),
    "NaN": (lambda tree, table: rewrite(table, set_cell(5, "LATL", "n/a")), r"sub-22.*LATL"),
    "fewer columns": (lambda tree, table: rewrite(table, fewer), r"sub-22.*LIFG|LIFG.*sub-22"),
    "events past the end": (
        lambda tree, table: rewrite(tree / "task-alice_events.tsv", set_cell(2127, "onset", "9000")),
        r"onset 9000 s, after the recording ends \(724 s\)",
    ),
    "negative onset": (
        lambda tree, table: rewrite(tree / "task-alice_events.tsv", set_cell(1, "onset", "-3")),
        r"onset -3 s is negative",
    ),
    "no events": (lambda tree, table: (tree / "task-alice_events.tsv").unlink(), r"events"),
    "unknown subject": (None, r"99"),
    "unknown model": (None, r"no model|storis260k"),
    "unknown task": (None, r"alicia.*alice"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_bad_input_is_named_by_check_and_stops_the_fit(name, study, tree, table, store):
    breaks, message = BROKEN[name]
    path = study()
    if breaks:
        breaks(tree, table)
    elif name == "unknown model":
        path = study(features=[{"name": "lm", "kind": "language", "model": "storis260k", "layers": [1]}], encoding={})
        message = r"storis260k.*did you mean 'stories260k'"
    elif name == "unknown subject":
        path = study(data={"bids": "tree", "task": "alice", "subjects": ["18", "99"]})
    else:
        path = study(data={"bids": "tree", "task": "alicia"})
    problems = check_study(read_study(path))
    assert any(re.search(message, problem) for problem in problems), problems
    with pytest.raises(BrainalignError, match=message):
        run(path, store)
    assert not (path.parent / "out").exists()


def test_check_lists_all_problems_at_once(study, tree, table):
    rewrite(table, constant)
    rewrite(tree / "task-alice_events.tsv", set_cell(1, "onset", "-3"))
    path = study(features=[{"name": "lm", "kind": "language", "model": "storis260k", "layers": [1]}], encoding={})
    problems = "\n".join(check_study(read_study(path)))
    for part in ("storis260k", "LIFG", "onset -3 s is negative"):
        assert part in problems


def test_nothing_wrong_is_said_of_what_is_right(study):
    assert check_study(read_study(study())) == []


def test_folds_that_cannot_be_made_are_found_before_the_work(study, store):
    encoding = {"folds": {"by": "run"}}
    path = study(encoding=encoding)
    message = "folds by 'run' need at least two of them; found one"
    assert any(message in problem for problem in check_study(read_study(path)))
    with pytest.raises(BrainalignError, match=message):
        run(path, store)
    encoding = {"folds": {"by": "contiguous", "n": 60}}
    path = study(encoding=encoding, design={"clean": "segment"})
    assert any("nuisance regressors removed" in problem for problem in check_study(read_study(path)))


def test_unsorted_events_are_sorted_and_it_says_so(study, tree, store):
    events = tree / "task-alice_events.tsv"
    before = run(study(), store)[0]
    rewrite(events, lambda rows: [rows[0], *rows[:0:-1]])
    after = run(study(), store)[0]
    pd.testing.assert_frame_equal(before.scores, after.scores)
    assert any("sorted by onset" in note for note in after.notes)


def test_what_is_not_recorded_cannot_be_removed(study, tree, store):
    for file in tree.rglob("*desc-confounds*"):
        file.unlink()
    fit, _ = run(study(), store)
    assert "no confounds were recorded: head motion was not removed" in fit.notes
    with pytest.raises(BrainalignError, match="no confounds were recorded beside this signal"):
        run(study(design={"nuisance": ["drift", "motion"]}), store)


def test_language_features_at_one_width(study, store):
    """Two models, one reduced by its own `pca`: matched, both have as many components."""
    content = [
        {"name": "rate", "kind": "word_rate"},
        {"name": "lm", "kind": "language", "model": "stories260k", "layers": [3], "pca": 10},
        {"name": "early", "kind": "language", "model": "stories260k", "layers": [0]},
    ]
    encoding = {"baseline": ["rate"], "folds": {"by": "contiguous", "n": 4, "inner": 3}, "matched": True}
    fit, folder = run(study(features=content, encoding=encoding), store)
    expected = {"lm.3": "10 principal components", "early.0": "10 principal components"}
    assert fit.settings["decided"]["reduced"] == expected
    assert yaml.safe_load((folder / "settings.yaml").read_text())["encoding"]["matched"] is True
    encoding["matched"] = False
    free, _ = run(study(features=content, encoding=encoding), store)
    assert free.settings["decided"]["reduced"] == {"lm.3": "10 principal components"}
    assert free.scores["r"].tolist() != fit.scores["r"].tolist()
