"""What a model is given around a passage, and whether it is what it says it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainalign.errors import SettingsError
from brainalign.features.loading import load
from brainalign.features.models import locate_model
from brainalign.features.reader import choose_sink, limit_of, open_reader, special_tokens
from brainalign.features.words import embed_words
from brainalign.shipped import shipped

WORDS = pd.DataFrame({"run": "1", "onset": [0.1, 0.6, 0.9, 1.4], "word": ["Once", "upon", "a", "time"]})


@pytest.mark.parametrize(
    ("kind", "before", "after", "mask"),
    [("gpt2", (1,), (), None), ("bert", (1,), (2,), 4), ("roberta", (1,), (2,), 4), ("t5", (), (2,), None)],
)
def test_what_is_put_around_a_passage(kind, before, after, mask, small_model):
    special = special_tokens(load(locate_model(small_model(kind)), device="cpu"))
    assert (special.before, special.after, special.mask, special.pad) == (before, after, mask, 0)


@pytest.mark.parametrize(("kind", "limit"), [("gpt2", 128), ("bert", 128), ("roberta", 128), ("t5", 128)])
def test_the_longest_text_a_model_reads(kind, limit, small_model):
    """RoBERTa counts its positions from the padding's; T5 has no limit of its own but what its tokenizer says."""
    model = load(locate_model(small_model(kind)), device="cpu")
    assert limit_of(model) == limit
    around = 1 if kind in ("gpt2", "t5") else 2
    assert embed_words(WORDS, model=small_model(kind), context=limit - around, device="cpu").shape == (4, 4 * 32)
    with pytest.raises(SettingsError, match=rf"reads at most {limit}: context can be up to {limit - around}"):
        embed_words(WORDS, model=small_model(kind), context=limit - around + 1)


def test_a_full_window_fits_into_roberta(small_model):
    words = pd.DataFrame({"run": "1", "onset": np.arange(90) / 2, "word": ["Lily", "ran", "away"] * 30})
    assert embed_words(words, model=small_model("roberta"), context=126, device="cpu").shape == (90, 4 * 32)


def test_a_causal_model_that_reads_ahead_is_refused(small_model, tmp_path):
    folder = Path(shutil.copytree(small_model("bert"), tmp_path / "liar"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["BertLMHeadModel"]}))
    with pytest.raises(SettingsError, match="'liar' calls itself causal, but reads words that come after"):
        embed_words(WORDS, model=folder, context=64)


def test_what_a_model_gives(small_model):
    tokens = np.array([5, 6, 7])
    causal = open_reader(load(locate_model(small_model("gpt2")), device="cpu"), tokens)
    assert (causal.n_states, causal.width, causal.vocabulary, causal.head_alone) == (4, 32, 400, True)
    masked = open_reader(load(locate_model(small_model("bert")), device="cpu"), tokens)
    assert masked.vocabulary > 0
    assert not masked.head_alone  # between the states and its output embedding stands another layer
    assert open_reader(load(locate_model(small_model("t5")), device="cpu"), tokens).vocabulary == 0


@pytest.mark.parametrize(
    ("special", "sink"),
    [
        ({}, 1),
        ({"bos_token": None}, 2),
        ({"bos_token": None, "eos_token": None}, 2),  # the padding token is </s> too
        ({"bos_token": None, "eos_token": None, "pad_token": None}, 0),
    ],
)
def test_the_sink_is_what_the_tokenizer_has(tmp_path, special, sink):
    folder = shutil.copytree(shipped("models", "stories260k"), tmp_path / "model")
    settings = json.loads((folder / "tokenizer_config.json").read_text()) | special
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = load(locate_model(folder), device="cpu").tokenizer
    assert choose_sink(tokenizer, "model") == sink


def test_a_tokenizer_without_any_special_token_is_said():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0})))
    with pytest.raises(SettingsError, match="tokenizer of model 'bare' has no special token to open a window with"):
        choose_sink(bare, "bare")
