"""What a model cannot do is found before anything is computed, and without its weights."""

import json
import shutil

import pandas as pd
import pytest

from brainalign.errors import BrainalignError
from brainalign.features import loading
from brainalign.shipped import shipped
from brainalign.store import Store
from brainalign.study import checking
from brainalign.study.met import Met
from brainalign.study.run import check_study, prepare
from brainalign.study.settings import read_study, study_from

RATE = {"name": "rate", "kind": "word_rate"}
LM = {"name": "lm", "kind": "language", "model": "stories260k", "layers": [3]}
SURPRISE = {"name": "s", "kind": "surprisal", "model": "stories260k"}
GIST = {"name": "gist", "kind": "sentence", "model": "stories260k"}


@pytest.fixture(autouse=True)
def no_weights(monkeypatch):
    """Whoever loads weights fails."""
    monkeypatch.setattr(loading, "build_network", None)


@pytest.fixture
def said(study, tmp_path):
    """The one problem of a study with this feature, which `check` finds and `fit` stops at."""

    def problem(feature, **sections):
        path = study(features=[RATE, feature], **{"encoding": {"baseline": ["rate"]}, **sections})
        problems = check_study(read_study(path))
        assert len(problems) == 1
        with pytest.raises(BrainalignError) as error:
            prepare(read_study(path), Store(tmp_path / "store"), lambda done, total, what: None)
        assert str(error.value) == problems[0]
        return problems[0]

    return problem


@pytest.mark.parametrize(
    ("feature", "problem"),
    [
        ({**LM, "layers": [3, 6]}, "model 'stories260k' has no layer 6: it has 6, from 0 (the embedding) to 5"),
        ({**LM, "context": 512}, "feature 'lm': context=512 and the special tokens around it are more than the 512"),
        (
            {**SURPRISE, "context": 600},
            "feature 's': context=600 and the special tokens around it are more than the 51",
        ),
        ({**LM, "ahead": True}, "feature 'lm': ahead needs a model that reads both ways; 'stories260k' is causal"),
        ({**GIST, "column": "caption"}, "feature 'gist': the events have no column 'caption'; "),
    ],
)
def test_what_a_model_cannot_do(said, feature, problem):
    assert said(feature).startswith(problem)


def test_what_it_can_do_is_no_problem(study):
    fine = [RATE, {**LM, "context": [511, 64]}, {**SURPRISE, "context": 600, "unit": "words", "untrained": 0}]
    fine += [{**GIST, "column": "word"}, {"name": "word", "kind": "static", "model": "stories260k"}]
    path = study(features=fine, encoding={"baseline": ["rate"]})
    assert check_study(read_study(path)) == []


def test_an_encoder_decoder_does_not_say_how_expected_words_are(said, tmp_path):
    shutil.copytree(shipped("models", "stories260k"), tmp_path / "t5")
    config = {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "num_layers": 5}
    (tmp_path / "t5/config.json").write_text(json.dumps(config))
    assert said({**SURPRISE, "model": "t5"}).startswith("feature 's': 't5' is an encoder–decoder, which does not say")


def test_a_device_that_is_not_there(said):
    assert "gpu" in said(LM, compute={"device": "gpu"})


@pytest.mark.parametrize("feature", [LM, SURPRISE, {"name": "word", "kind": "static", "model": "stories260k"}])
def test_words_that_are_not_there(feature):
    events = pd.DataFrame({"run": ["1"], "onset": [0.0], "trial_type": ["face"]})
    asked = study_from({"data": {"bids": "x"}, "features": [feature]}).features[0]
    *_, test = checking.tests_of(asked, None, Met(events), "auto")
    with pytest.raises(BrainalignError, match=r"needs words, but the events have no 'word' \(found run, onset, trial"):
        test()
