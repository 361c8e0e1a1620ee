"""Context-free vectors, of an embedding matrix or a file: the same for a word wherever it stands."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainalign.errors import InputError, SettingsError
from brainalign.features.loading import load
from brainalign.features.models import is_here, locate_model, model_folder
from brainalign.features.static import static_vectors
from brainalign.features.untrained import untrained
from brainalign.features.words import embed_words
from brainalign.io.fetch import sample_path
from brainalign.io.transcripts import read_events
from brainalign.provenance import hash_file
from brainalign.store import Store

DATA = Path(os.environ.get("BRAINALIGN_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
GLOVE = DATA.parent / "models" / "glove-6b-50d-top40k"
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


@pytest.fixture
def vectors(tmp_path) -> Path:
    """A file of vectors of the words of TEXT, lower-cased, but for "café" and "Zoë"; clitics are apart."""
    known = sorted(set(TEXT.lower().split()) - {"café", "zoë", "—"})
    rows = np.random.default_rng(0).standard_normal((len(known), 6)).round(3)
    lines = [" ".join([word, *map(str, row)]) for word, row in zip(known, rows)]
    path = tmp_path / "tiny.6d.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def row_of(path: Path, word: str) -> np.ndarray:
    (line,) = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith(word + " ")]
    return np.array(line.split(" ")[1:], np.float32)


def test_vectors_of_a_file_are_its_rows(vectors):
    words = transcript("The big dog, didn’t SEE the big-dog")
    signal = static_vectors(words, model=vectors)
    the, big, dog, did, not_, see = (row_of(vectors, word) for word in ("the", "big", "dog", "did", "n't", "see"))
    expected = [the, big, dog, (did + not_) / 2, see, the, (big + dog) / 2]
    np.testing.assert_allclose(signal.values, expected, rtol=1e-6)
    assert signal.bands == ["tiny.6d"]
    assert signal.columns["unit"].tolist() == list(range(6))
    known = signal.attrs["features"]["tiny.6d"]
    assert known["revision"] == hash_file(vectors)
    assert known["found_as"] == {
        "as written": 2,
        "lower-cased": 2,
        "without punctuation": 1,
        "clitic apart": 1,
        "parts of a compound": 1,
    }
    assert known["out_of_vocabulary"] == {"count": 0, "share": 0.0, "words": []}


def test_a_word_that_is_not_there_gets_the_mean_of_what_was_heard_and_is_named(vectors):
    words = transcript()
    signal = static_vectors(words, model=vectors, name="glove")
    gone = words["word"].isin(["café", "Zoë", "—"]).to_numpy()
    said = signal.attrs["features"]["glove"]
    assert said["unknown"] == "mean"
    assert said["out_of_vocabulary"] == {"count": 3, "share": 3 / len(words), "words": ["café", "Zoë", "—"]}
    np.testing.assert_allclose(signal.values[gone], [signal.values[~gone].mean(0)] * 3, rtol=1e-5)
    zeros = static_vectors(words, model=vectors, unknown="zero")
    assert not zeros.values[gone].any()
    np.testing.assert_array_equal(zeros.values[~gone], signal.values[~gone])
    with pytest.raises(InputError, match=r"tiny.6d has no vector of 3 of 23 words \('café', 'Zoë', '—'\): spell them"):
        static_vectors(words, model=vectors, unknown="error")
    assert static_vectors(words[~gone], model=vectors, unknown="error").shape == (20, 6)
    with pytest.raises(SettingsError, match="unknown='men' is not one of mean, zero, error"):
        static_vectors(words, model=vectors, unknown="men")  # pyright: ignore[reportArgumentType]


def test_words_of_another_language_are_an_error(vectors):
    with pytest.raises(InputError, match=r"tiny.6d has none of the 3 words \('Hund', 'aß', 'der' …\): are its"):
        static_vectors(transcript("der Hund aß"), model=vectors)


def test_vectors_are_kept_whatever_unknown_words_get_and_another_file_is_another_piece(vectors, tmp_path, monkeypatch):
    store, words = Store(tmp_path / "store"), transcript()
    first = static_vectors(words, model=vectors, store=store)
    with monkeypatch.context() as patch:
        patch.setattr("brainalign.features.vectors._in_file", lambda *_: pytest.fail("it was read again"))
        again = static_vectors(words, model=vectors, store=store)
        zeros = static_vectors(words, model=vectors, unknown="zero", store=store)
    assert np.asarray(again.values).tobytes() == np.asarray(first.values).tobytes()
    assert again.attrs == first.attrs
    np.testing.assert_array_equal(zeros.values, static_vectors(words, model=vectors, unknown="zero").values)
    vectors.write_text(vectors.read_text(encoding="utf-8").replace("the ", "the 9"), encoding="utf-8")
    assert np.abs(static_vectors(words, model=vectors, store=store).values - first.values).max() > 5


def test_where_there_is_no_file():
    with pytest.raises(SettingsError, match=r"there are no word vectors 'nowhere/glove.6B.txt'; known: .*\(a file as"):
        static_vectors(transcript(), model="nowhere/glove.6B.txt")


def test_glove_knows_what_is_like_what():
    if not GLOVE.is_dir():
        pytest.skip(f"no vectors at {GLOVE}: set BRAINALIGN_TEST_DATA")
    words = transcript("dog cat senate king man woman queen")
    signal = static_vectors(words, model=GLOVE)
    assert signal.bands == [GLOVE.name]
    v = dict(zip(words["word"], signal.values))

    def cosine(a, b):
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert cosine(v["dog"], v["cat"]) == pytest.approx(0.92, abs=0.01)
    assert cosine(v["dog"], v["senate"]) == pytest.approx(0.17, abs=0.01)
    every = np.load(GLOVE / "vectors.npy").astype(np.float32)
    names = (GLOVE / "vocab.txt").read_text(encoding="utf-8").splitlines()
    wanted = v["king"] - v["man"] + v["woman"]
    order = np.argsort(-(every @ wanted) / np.linalg.norm(every, axis=1))
    assert next(names[k] for k in order if names[k] not in ("king", "man", "woman")) == "queen"


def test_alice_in_glove():
    if not GLOVE.is_dir():
        pytest.skip(f"no vectors at {GLOVE}: set BRAINALIGN_TEST_DATA")
    signal = static_vectors(read_events(sample_path("alice")), model=GLOVE, name="glove")
    said = signal.attrs["features"]["glove"]
    assert said["out_of_vocabulary"]["count"] == 28
    assert {"waistcoat", "Ma'am", "marmalade"} <= set(said["out_of_vocabulary"]["words"])
    assert said["found_as"]["clitic apart"] == 5


@pytest.mark.skipif(
    not is_here("glove-50d"),
    reason="glove-50d was not fetched: brainalign models fetch glove-50d",
)
def test_the_card_of_glove():
    words = transcript("dog cat")
    signal = static_vectors(words, model="glove-50d")
    assert signal.bands == ["glove-50d"]
    dog, cat = signal.values
    assert dog @ cat / np.linalg.norm(dog) / np.linalg.norm(cat) == pytest.approx(0.92, abs=0.01)
