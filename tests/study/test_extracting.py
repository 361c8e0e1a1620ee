"""What a study file asks of a model is what the model is asked."""

import json
import tempfile

import numpy as np
import pandas as pd
import pytest

from brainalign.errors import InputError, SettingsError
from brainalign.features import tagging, words
from brainalign.features.models import ModelFiles, is_here
from brainalign.features.sentences import embed_sentences
from brainalign.features.tagging import CARD
from brainalign.features.transcript import align_words
from brainalign.features.words import embed_words
from brainalign.reporting.page import report
from brainalign.store import Store
from brainalign.study.controls import CONTROLS
from brainalign.study.extracting import extract, reads_a_model
from brainalign.study.met import Met
from brainalign.study.run import run_study
from brainalign.study.settings import read_study, study_from

SPOKEN = "once upon a time said tom there was a little girl named lily she did n't cry"
PRINT = "“Once upon a time,” said Tom, “there was a little girl named Lily!” She didn’t cry."
WORDS = pd.DataFrame({"run": "1", "onset": np.arange(17) / 2, "word": SPOKEN.split()})
LM = {"name": "lm", "kind": "language", "model": "stories260k", "layers": [2]}


def asked(**feature):
    features = [{"name": "rate", "kind": "word_rate"}, feature]
    study = study_from({"data": {"bids": "tree"}, "features": features, "encoding": {"baseline": ["rate"]}})
    return study.features[1]


def made(met=None, **feature):
    return extract(asked(**feature), met or Met(WORDS), None, "cpu").signal


@pytest.mark.parametrize(
    "settings",
    [{"exact": True, "context": 6}, {"unit": "words", "context": 4}, {"dtype": "bfloat16"}, {"pool": "last"}],
)
def test_how_a_model_reads(settings):
    expected = embed_words(WORDS, model="stories260k", layers=[2], device="cpu", name="lm", **settings)
    ours = made(**LM, **settings)
    np.testing.assert_array_equal(ours.array(), expected.array())
    assert ours.attrs == expected.attrs


def test_words_are_read_in_print_where_there_is_one():
    reading = align_words(WORDS, PRINT)
    met = Met(reading.table, reading)
    np.testing.assert_array_equal(
        made(met, **LM).array(), embed_words(WORDS, model="stories260k", layers=[2], text=PRINT, device="cpu").array()
    )


def test_how_expected_words_are_is_one_band():
    measures = ["surprisal", "entropy"]
    ours = made(name="surprise", kind="surprisal", model="stories260k", measures=measures, context=64)
    expected = embed_words(WORDS, model="stories260k", bands=measures, context=64, device="cpu")
    assert ours.bands == ["surprise"]
    assert ours.columns["unit"].tolist() == ["surprisal (bits)", "entropy (bits)"]
    np.testing.assert_array_equal(ours.array(), expected.array())
    assert ours.attrs["features"]["surprise"]["kind"] == "language"
    assert reads_a_model(asked(name="surprise", kind="surprisal", model="stories260k"))


@pytest.mark.skipif(not is_here("minilm-l6"), reason="minilm-l6 was not fetched: brainalign models fetch minilm-l6")
def test_what_a_sentence_encoder_makes_of_captions():
    shown = pd.DataFrame({"run": "1", "onset": [0.0, 4.0], "caption": ["A dog runs.", "Two people eat lunch."]})
    ours = made(Met(shown), name="gist", kind="sentence", column="caption")
    assert ours.bands == ["gist"]
    expected = embed_sentences(shown, "minilm-l6", "caption", device="cpu")
    np.testing.assert_array_equal(ours.array(), expected.array())


def test_a_sentence_encoder_reads_text_and_no_numbers():
    gist = {"name": "gist", "kind": "sentence", "model": "stories260k"}
    reading = align_words(WORDS, PRINT)
    with pytest.raises(InputError, match=r"feature 'gist': column 'sentence' holds numbers \(1, …\), not text: name"):
        made(Met(reading.table, reading), **gist, column="sentence")
    written = reading.table.astype({"sentence": str})  # as a table is read from a file
    with pytest.raises(InputError, match="column 'sentence' holds numbers"):
        made(Met(written), **gist, column="sentence")
    with pytest.raises(InputError, match=r"feature 'gist': the events have no column 'wordd'; did you mean 'word'\?"):
        made(**gist, column="wordd")


def test_whoever_waits_is_told_how_far_a_model_has_read(monkeypatch):
    monkeypatch.setattr(words, "PART_BYTES", 1)
    told = []
    lm = asked(**LM, context=8)
    features = [extract(lm, Met(WORDS), None, "cpu", lambda *said: told.append(said))]
    assert len(told) > 3
    assert {what for _, _, what in told} == {"reading 17 words with stories260k"}  # one line where nobody watches a bar
    told.clear()
    study = study_from({"data": {"bids": "tree"}, "features": [lm.model_dump()]})
    with tempfile.TemporaryDirectory() as folder:
        twin = CONTROLS["untrained"]
        twin.applied(features, Met(WORDS), Store(folder), study, lambda *said: told.append(said))
    assert {what for _, _, what in told} == {"reading 17 words with stories260k-untrained-0"}
    told.clear()
    gist = asked(name="gist", kind="sentence", model="stories260k", column="word")
    extract(gist, Met(WORDS), None, "cpu", lambda *said: told.append(said))
    assert {what for _, _, what in told} == {"reading 16 sentences with stories260k"}


@pytest.fixture
def rules(tmp_path):
    """A spaCy model that calls every word a verb."""
    spacy = pytest.importorskip("spacy")
    language = spacy.blank("en")
    language.add_pipe("attribute_ruler").add([[{}]], {"POS": "VERB"})
    language.to_disk(tmp_path / "rules")
    return tmp_path / "rules"


def test_a_tagger_is_the_card_or_a_folder_and_no_installed_package(rules, tmp_path, monkeypatch):
    import spacy

    loaded = []
    load = spacy.load
    monkeypatch.setattr(spacy, "load", lambda place, **how: loaded.append(place) or load(place, **how))
    monkeypatch.setattr(tagging, "model_files", lambda name: ModelFiles({CARD: rules}[name], {}))  # fetched or not
    for tagger in (None, CARD, str(rules)):
        signal = made(name="class", kind="word_class", tagger=tagger)
        assert set(signal.columns["unit"][signal.array().argmax(1)]) == {"VERB"}
    assert loaded == [rules] * 3
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"feature 'class', tagger: there is no folder .*en_mine; in a study file"):
        made(name="class", kind="word_class", tagger="en_mine")
    (tmp_path / "en_mine").mkdir()  # a folder of a package's name is read as a folder
    with pytest.raises(SettingsError, match="no spaCy model"):
        made(name="class", kind="word_class", tagger="en_mine")
    assert loaded[3:] == [tmp_path / "en_mine"]


def test_what_cannot_be_said():
    with pytest.raises(SettingsError, match=r"measures.1: 'perplexity' is not known; known: 'surprisal', 'entropy'"):
        asked(name="s", kind="surprisal", model="stories260k", measures=["perplexity"])
    with pytest.raises(SettingsError, match=r"features.2.unit: 'letters' is not known; known: 'tokens', 'words'"):
        asked(**LM, unit="letters")
    nothing = Met(pd.DataFrame({"run": ["1"]}))
    with pytest.raises(InputError, match=r"feature 'lm' needs words, but the events have no 'word' \(found run\)"):
        made(nothing, **LM)


def test_a_study_of_surprisal_in_print(study, tree, tmp_path):
    """From the file to the report's list of features; the untrained twin reads the same print."""
    features = [
        {"name": "rate", "kind": "word_rate"},
        {"name": "surprise", "kind": "surprisal", "model": "stories260k", "context": 64},
        {**LM, "exact": True, "context": 16, "pca": 10},
    ]
    path = study(
        features=features,
        stimuli={"text": str(tree / "stimuli/chapter1.txt")},
        encoding={"baseline": ["rate", "surprise"], "folds": {"by": "contiguous", "n": 4, "inner": 3}},
        controls=["untrained"],
    )
    fit = run_study(read_study(path), Store(tmp_path / "cache"))
    assert any("text: Reading(2,110 of 2,127 words match" in note for note in fit.notes)
    about = json.loads((path.parent / "out/provenance.json").read_text())["features"]
    assert about["surprise"]["bands"] == ["surprisal"]
    assert about["lm"]["stride"] == "word"
    assert fit.controls["control"].tolist()[-1] == "untrained"
    assert np.isfinite(fit.scores["r"]).all()
    page = report(fit, path.parent / "out/report.html").read_text("utf-8")
    assert "surprise (stories260k, surprisal, context 64 tokens)" in page
    assert "context 16 tokens, all of it for each word" in page
