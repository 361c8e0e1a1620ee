"""Context-free vectors: the rows of the embedding matrix, the same for a word wherever it stands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainalign.errors import InputError, SettingsError
from brainalign.features.loading import load
from brainalign.features.models import locate_model, model_folder
from brainalign.features.static import static_vectors
from brainalign.features.untrained import untrained
from brainalign.features.words import embed_words
from brainalign.store import Store

TEXT = "the big dog did n't see the cat , but the cat saw the café of Zoë — and the big dog !"


def transcript(text: str = TEXT, runs: int = 1) -> pd.DataFrame:
    words = text.split() * runs
    run = np.repeat([str(k + 1) for k in range(runs)], len(text.split()))
    return pd.DataFrame({"run": run, "onset": np.tile(np.arange(len(text.split())) * 0.5, runs), "word": words})


def rows_of_matrix(words: pd.DataFrame, model: str | Path) -> np.ndarray:
    """(n_words, width): of every word after another, the tokens past that other's, by torch's own look-up.

    A token that is nothing but the space between the two belongs to neither.
    """
    import torch

    loaded = load(locate_model(model), device="cpu")
    tokenizer, network = loaded.tokenizer, loaded.network
    before = len(tokenizer("so", add_special_tokens=False).input_ids)
    out = []
    for word in words["word"]:
        ids = tokenizer(f"so {word}", add_special_tokens=False).input_ids[before:]
        ids = [k for k in ids if tokenizer.convert_ids_to_tokens(k) not in ("▁", "Ġ")]
        out.append(network.get_input_embeddings()(torch.tensor(ids)).mean(0).detach().numpy())
    return np.stack(out)


def byte_level(folder: Path) -> Path:
    """A model whose tokenizer takes a word without a space before it for another word, as GPT-2 and SmolLM2 do."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator([TEXT] * 20, vocab_size=320, min_frequency=2, special_tokens=["<s>"])
    PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, bos_token="<s>").save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=trained.get_vocab_size(), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_they_are_rows_of_the_embedding_matrix():
    words = transcript()
    ours = static_vectors(words, model="stories260k")
    np.testing.assert_allclose(ours.values, rows_of_matrix(words, "stories260k"), atol=1e-6)


def test_a_word_has_one_vector_wherever_it_stands(tmp_path):
    words = transcript(runs=2)
    for model in ("stories260k", byte_level(tmp_path)):
        values = static_vectors(words, model=model).values
        for _, same in words.groupby("word"):
            assert np.ptp(values[same.index], axis=0).max() == 0
        assert len(np.unique(values, axis=0)) == words["word"].nunique()


def test_a_word_at_the_beginning_is_read_as_in_the_middle(tmp_path):
    folder, words = byte_level(tmp_path), transcript()
    ours = static_vectors(words, model=folder).values
    np.testing.assert_allclose(ours, rows_of_matrix(words, folder), atol=1e-7)
    first = embed_words(words, model=folder, layers=[0], context=32).values
    assert np.abs(ours[0] - first[0]).max() > 0.005  # there the reader sees "the", not " the"
    np.testing.assert_allclose(ours[1:], first[1:], atol=1e-7)


def test_layer_zero_of_a_llama_is_the_same():
    words = transcript(runs=2)  # this model spells "the" alike with and without a space before it
    layer = embed_words(words, model="stories260k", layers=[0]).values
    np.testing.assert_allclose(static_vectors(words, model="stories260k").values, layer, atol=1e-6)


def test_the_signal_says_what_it_is():
    signal = static_vectors(transcript(), model="stories260k", name="words")
    assert signal.bands == ["words"]
    assert signal.columns["unit"].tolist() == list(range(64))
    known = signal.attrs["features"]["words"]
    assert known == {"kind": "static", "model": "stories260k", "revision": locate_model("stories260k").revision}


def test_an_untrained_twin_has_vectors_of_its_own():
    words = transcript()
    trained, random = (static_vectors(words, model=m) for m in ("stories260k", untrained("stories260k", seed=3)))
    assert random.bands == ["stories260k-untrained-3-static"]
    assert abs(np.corrcoef(trained.values.ravel(), random.values.ravel())[0, 1]) < 0.2


def test_a_hit_loads_no_model_and_another_word_is_another_piece(tmp_path, monkeypatch):
    store, words = Store(tmp_path), transcript()
    first = static_vectors(words, model="stories260k", store=store)
    with monkeypatch.context() as patch:
        patch.setattr("brainalign.features.static.load", lambda *_, **__: pytest.fail("it was loaded again"))
        again = static_vectors(words, model="stories260k", store=store, name="other")
    assert np.asarray(again.values).tobytes() == np.asarray(first.values).tobytes()
    assert again.bands == ["other"]
    other = static_vectors(words.assign(word=words["word"][::-1].tolist()), model="stories260k", store=store)
    np.testing.assert_array_equal(other.values, first.values[::-1])


def test_what_cannot_be_looked_up():
    words = transcript("once upon a time")
    with pytest.raises(InputError, match=r"word '' \(row 2, run 1, 1 s\) has no token"):
        static_vectors(words.assign(word=["once", "upon", " ", "time"]), model="stories260k")
    with pytest.raises(SettingsError, match="no model 'storys260k'; did you mean 'stories260k'"):
        static_vectors(words, model="storys260k")


@pytest.mark.skipif(model_folder("smollm2-135m") is None, reason="smollm2-135m was not fetched")
def test_smollm2_too():
    words = transcript()
    np.testing.assert_allclose(
        static_vectors(words).values, rows_of_matrix(words, "smollm2-135m"), rtol=1e-5, atol=1e-6
    )
