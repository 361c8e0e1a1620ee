"""Words in context: exactly what one forward pass per word gives, whatever the tokenizer, casing and punctuation."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainalign.errors import InputError, SettingsError
from brainalign.features.loading import load
from brainalign.features.models import locate_model, model_folder
from brainalign.features.words import embed_words
from brainalign.shipped import shipped
from brainalign.signals import Signal, join
from brainalign.store import Store

STORY = (
    "Once upon a time , there was a little girl named Lily . She did n't like to eat her — “green” — peas , but her "
    "mom said : “You would grow BIG !” One day Lily went to the café with Zoë and saw a big red ball . It 's my ball , "
    "said the boy ... He ran , ran , ran away . Lily was sad , so her friend Tom said : do not cry , we can play with "
    "my toy car . They played all day and the sun was warm 🙂 . Then they went home and were happy ever after ."
)


def transcript(text: str = STORY, runs: int = 1) -> pd.DataFrame:
    words = text.split()
    run = np.repeat(np.arange(runs), -(-len(words) // runs))[: len(words)]
    onset = 0.4 * np.arange(len(words)) + 0.1
    return pd.DataFrame({"run": [f"{r + 1}" for r in run], "onset": onset, "duration": 0.3, "word": words})


def alice(n: int) -> pd.DataFrame:
    table = pd.read_csv(next(shipped("sample", "alice").rglob("*_events.tsv")), sep="\t", keep_default_na=False)
    return table.assign(run="1", word=table["word"] if "word" in table else table["trial_type"]).iloc[:n]


def tokens_of_words(tokenizer: object, words: list[str]) -> tuple[list[int], list[tuple[int, int]], list[list[int]]]:
    """Ids, offsets, and which tokens share a character with each word."""
    text = " ".join(words)
    read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    own, begin = [], 0
    for word in words:
        characters = set(range(begin, begin + len(word)))
        begin += len(word) + 1
        own.append([k for k, (a, b) in enumerate(read["offset_mapping"]) if characters & set(range(a, b))])
    return read["input_ids"], read["offset_mapping"], own


def naive_window(own: list[list[int]], word: int, begun: list[int], context: int, exact: bool, unit: str) -> int:
    """Where the context of a word begins. Shared windows begin half a window before the first word they are for."""
    if unit == "words":
        words = [[k] for k in range(len(own))]
        return own[naive_window(words, word, begun, context, exact, "tokens")][0]
    if exact:
        return max(0, own[word][-1] + 1 - context)
    if not begun or own[word][-1] + 1 > begun[0] + context:
        begun[:] = [max(0, own[word][0] - (context - context // 2))]
    return begun[0]


def one_pass_per_word(
    words: pd.DataFrame, model: str, context: int, pool: str = "mean", exact: bool = False, unit: str = "tokens"
) -> np.ndarray:
    """(n_words, n_layers, width): special tokens and the context, as far as the word, read alone; nothing shared."""
    import torch

    loaded = load(locate_model(model), device="cpu")
    tokenizer, network = loaded.tokenizer, loaded.network
    if loaded.kind == "causal":
        before, after = [tokenizer.bos_token_id], []
    else:
        before = [1] if tokenizer.mask_token_id is not None else []  # <s>, where the tokenizer has one in front
        after = [2]
    out = []
    for _, run in words.groupby("run", sort=False):
        ids, _, own = tokens_of_words(tokenizer, run["word"].tolist())
        begun: list[int] = []
        for word, tokens in enumerate(own):
            start = naive_window(own, word, begun, context, exact, unit)
            seen = torch.tensor([[*before, *ids[start : tokens[-1] + 1], *after]])
            with torch.inference_mode():
                reader = network.get_encoder() if loaded.kind == "encoder-decoder" else network
                states = reader(input_ids=seen, output_hidden_states=True).hidden_states
            kept = {"mean": tokens, "last": tokens[-1:], "first": tokens[:1]}[pool]
            out.append([state[0, [k - start + len(before) for k in kept]].mean(0).numpy() for state in states])
    return np.array(out)


def furthest(ours: Signal, expected: np.ndarray) -> float:
    """The largest ‖Δ‖/‖h‖ over words and layers."""
    n, layers, width = expected.shape
    assert ours.shape == (n, layers * width)
    difference = np.linalg.norm(ours.array().reshape(n, layers, width) - expected, axis=2)
    return float((difference / np.linalg.norm(expected, axis=2)).max())


@pytest.mark.parametrize("pool", ["mean", "last", "first"])
@pytest.mark.parametrize("context", [24, 64, 511])
def test_one_strided_pass_is_one_pass_per_word(context, pool):
    words = transcript(runs=2)
    ours = embed_words(words, model="stories260k", context=context, pool=pool, device="cpu")
    assert furthest(ours, one_pass_per_word(words, "stories260k", context, pool)) < 1e-5


@pytest.mark.parametrize("kind", ["gpt2", "bert", "roberta", "t5"])
@pytest.mark.parametrize("exact", [False, True])
def test_any_kind_of_model_is_read_as_one_pass_per_word(kind, exact, small_model):
    """Learned, relative and rotary positions; bytes, word pieces and sentence pieces; special tokens of every sort."""
    words, folder = transcript(runs=2), small_model(kind)
    ours = embed_words(words, model=folder, context=32, exact=exact, device="cpu")
    assert ours.bands == [f"{kind}.{layer}" for layer in range(4)]
    assert furthest(ours, one_pass_per_word(words, str(folder), 32, exact=exact)) < 1e-5


@pytest.mark.parametrize(("context", "exact"), [(5, False), (12, False), (5, True), (1, True)])
def test_a_context_in_words(context, exact):
    words = transcript(runs=2)
    ours = embed_words(words, model="stories260k", context=context, unit="words", exact=exact, device="cpu")
    expected = one_pass_per_word(words, "stories260k", context, exact=exact, unit="words")
    assert furthest(ours, expected) < 1e-5
    assert ours.attrs["features"]["stories260k"]["unit"] == "words"


@pytest.mark.parametrize("context", [16, 200])
def test_exact_is_one_pass_per_word_with_the_whole_context(context):
    words = transcript(runs=2)
    ours = embed_words(words, model="stories260k", context=context, exact=True, device="cpu")
    assert furthest(ours, one_pass_per_word(words, "stories260k", context, exact=True)) < 1e-5


@pytest.mark.parametrize("exact", [False, True])
def test_shown_ahead_a_word_is_read_with_what_follows(exact, small_model):
    import torch

    words, folder = transcript(), small_model("bert")
    ours = embed_words(words, model=folder, context=40, ahead=True, exact=exact, device="cpu")
    loaded = load(locate_model(folder), device="cpu")
    ids, _, own = tokens_of_words(loaded.tokenizer, words["word"].tolist())
    found = []
    for word, tokens in enumerate(own):  # whichever window of 40 it was: one of them gives what was found
        sides = range(max(0, tokens[-1] + 1 - 40), min(tokens[0], len(ids) - 40) + 1)
        seen = torch.tensor([[1, *ids[start : start + 40], 2] for start in sides])
        with torch.inference_mode():
            state = loaded.network(input_ids=seen, output_hidden_states=True).hidden_states[-1]
        at = [[k - start + 1 for k in tokens] for start in sides]
        pooled = torch.stack([one[places].mean(0) for one, places in zip(state, at)]).numpy()
        off = np.linalg.norm(pooled - ours.values[word, -32:], axis=1) / np.linalg.norm(pooled, axis=1)
        assert off.min() < 1e-5
        found.append(tokens[0] - list(sides)[int(off.argmin())])
    middle = [before for word, before in enumerate(found) if 40 < own[word][0] < len(ids) - 60]
    assert min(middle) >= (15 if exact else 10)
    assert max(middle) <= (20 if exact else 30)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("kind", ["stories260k", "gpt2"])
def test_how_expected_a_word_was(kind, exact, small_model):
    """Of one forward pass per word with all its predictions, by hand."""
    import torch

    words = transcript()
    folder = kind if kind == "stories260k" else str(small_model(kind))
    bands = ("surprisal", "hidden", "log_probability", "entropy")
    ours = embed_words(words, model=folder, layers=[3], context=32, exact=exact, bands=bands, device="cpu")
    assert ours.bands == [f"{kind}.{band}" for band in ("3", "surprisal", "entropy", "log_probability")]
    assert ours.columns["unit"].tolist()[-3:] == ["bits", "bits", "nats"]
    loaded = load(locate_model(folder), device="cpu")
    ids, offsets, own = tokens_of_words(loaded.tokenizer, words["word"].tolist())
    text = " ".join(words["word"])
    begun, expected = [], []
    for word, tokens in enumerate(own):
        start = naive_window(own, word, begun, 32, exact, "tokens")
        with torch.inference_mode():
            seen = torch.tensor([[loaded.tokenizer.bos_token_id, *ids[start : tokens[-1] + 1]]])
            log_p = log_softmax(loaded.network(input_ids=seen).logits[0].numpy())
        front = tokens[0]  # the space in front of a comma is a token of its own, and is the comma's
        while front > start and text[slice(*offsets[front - 1])] == " ":
            front -= 1
        # one on for the sink, one back for the prediction
        total = sum(log_p[k - start, ids[k]] for k in [*range(front, tokens[0]), *tokens])
        before = log_p[tokens[0] - start]
        expected.append([-total / np.log(2), -(np.exp(before) * before).sum() / np.log(2), total])
    np.testing.assert_allclose(ours.values[:, -3:], expected, rtol=1e-4, atol=1e-4)
    alone = embed_words(words, model=folder, context=32, exact=exact, bands=["surprisal"], device="cpu")
    np.testing.assert_allclose(alone.values[:, 0], ours.values[:, -3], rtol=1e-5)


@pytest.mark.parametrize("ahead", [False, True])
def test_how_expected_a_hidden_word_was(ahead, small_model):
    """A masked model: the word's tokens are hidden and shown again from the left; nothing after them unless asked."""
    import torch

    words, folder = transcript(), small_model("bert")
    bands = ("surprisal", "entropy", "log_probability")
    words = words.iloc[:30]
    ours = embed_words(words, model=folder, context=60, ahead=ahead, exact=not ahead, bands=bands, device="cpu")
    loaded = load(locate_model(folder), device="cpu")
    ids, _, own = tokens_of_words(loaded.tokenizer, words["word"].tolist())
    for word, tokens in enumerate(own):
        start, stop = (0, len(ids)) if ahead else (max(0, tokens[-1] + 1 - 60), tokens[-1] + 1)
        total = 0.0
        for k, token in enumerate(tokens):
            hidden = [4 if j in tokens[k:] else ids[j] for j in range(start, stop)]
            with torch.inference_mode():
                logits = loaded.network(input_ids=torch.tensor([[1, *hidden, 2]])).logits
            log_p = log_softmax(logits[0, token - start + 1].numpy())
            total += log_p[ids[token]]
            if k == 0:
                entropy = -(np.exp(log_p) * log_p).sum() / np.log(2)
        np.testing.assert_allclose(ours.values[word], [-total / np.log(2), entropy, total], rtol=1e-4)


def test_predictions_that_the_head_alone_does_not_give(tmp_path):
    """Gemma 2 caps its logits: what its output embedding gives is not what it predicts."""
    import torch
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=512,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=128,
        final_logit_softcapping=0.5,
        initializer_range=0.3,
    )
    Gemma2ForCausalLM(config).save_pretrained(tmp_path / "gemma")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(shipped("models", "stories260k", name), tmp_path / "gemma" / name)
    words = transcript("Once upon a time there was a little girl named Lily")
    ours = embed_words(words, model=tmp_path / "gemma", context=100, bands=["log_probability"], device="cpu")
    loaded = load(locate_model(tmp_path / "gemma"), device="cpu")
    ids, _, own = tokens_of_words(loaded.tokenizer, words["word"].tolist())
    with torch.inference_mode():
        log_p = log_softmax(loaded.network(input_ids=torch.tensor([[1, *ids]])).logits[0].numpy())
    expected = [sum(log_p[k, ids[k]] for k in tokens) for tokens in own]
    np.testing.assert_allclose(ours.values[:, 0], expected, rtol=1e-4)


def test_what_a_model_cannot_say(small_model, tmp_path):
    words = transcript().iloc[:8]
    with pytest.raises(SettingsError, match=r"need a causal or a masked language model; 't5' is an encoder–decoder"):
        embed_words(words, model=small_model("t5"), bands=["surprisal"])
    with pytest.raises(SettingsError, match=r"ahead=True needs a model that reads both ways; 'gpt2' is causal"):
        embed_words(words, model=small_model("gpt2"), ahead=True)
    import transformers

    folder = Path(shutil.copytree(small_model("bert"), tmp_path / "headless"))
    network = transformers.BertModel.from_pretrained(folder)
    network.save_pretrained(folder)
    with pytest.raises(SettingsError, match=r"the weights of its head are not among those of 'headless'"):
        embed_words(words, model=folder, context=64, bands=["entropy"])
    assert embed_words(words, model=folder, context=64).shape == (8, 4 * 32)
    maskless = Path(shutil.copytree(small_model("bert"), tmp_path / "maskless"))
    settings = json.loads((maskless / "tokenizer_config.json").read_text()) | {"mask_token": None}
    (maskless / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(SettingsError, match=r"hide words, but 'maskless' has no mask token"):
        embed_words(words, model=maskless, context=64, bands=["surprisal"])


PRINT = "“Once upon a time,” said Tom, “there was\na little _girl_ named Lily!” She didn’t cry."
SPOKEN = "once upon a time said tom there was a little girl named lily she did n't cry"
LETTERS = "Once upon a time said Tom there was a little girl named Lily She did n’t cry"


@pytest.mark.parametrize("reset", ["run", None])
def test_words_are_read_in_their_print(reset):
    """The model sees the printed text from the first word to the last of what is read as one; words keep their rows."""
    import torch

    words = transcript(SPOKEN, runs=2)
    ours = embed_words(
        words, model="stories260k", layers=[2], text=PRINT, reset=reset, bands=["hidden", "surprisal"], device="cpu"
    )
    assert ours.samples["stimulus"].tolist() == SPOKEN.split()
    assert "17 of 17 words match" in ours.attrs["features"]["stories260k"]["text"]
    one = "“Once upon a time,” said Tom, “there was a little girl named Lily!” She didn’t cry"
    texts = [one] if reset is None else [one[: one.index(" little")], one[one.index("little") :]]
    printed = LETTERS.split()
    loaded = load(locate_model("stories260k"), device="cpu")
    expected = []
    for text in texts:
        text = text.removeprefix("“")  # the first word is where the text begins
        read = loaded.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        with torch.inference_mode():
            seen = torch.tensor([[1, *read["input_ids"]]])
            out = loaded.network(input_ids=seen, output_hidden_states=True)
        log_p, at = log_softmax(out.logits[0].numpy()), 0
        while printed and (found := text.find(printed[0], at)) >= 0:
            begin, at = found, found + len(printed.pop(0))
            own = [k for k, (a, b) in enumerate(read["offset_mapping"]) if a < at and b > begin]
            state = out.hidden_states[2][0, [k + 1 for k in own]].mean(0).numpy()
            expected.append([*state, -sum(log_p[k, read["input_ids"][k]] for k in own) / np.log(2)])
    np.testing.assert_allclose(ours.values, expected, rtol=2e-4, atol=2e-4)


def test_a_text_aligned_with_other_words_is_said():
    from brainalign.features.transcript import align_words

    words = transcript(SPOKEN)
    with pytest.raises(InputError, match="text was aligned with 17 words, and here are 16: align it with these"):
        embed_words(words.iloc[:16], model="stories260k", text=align_words(words, PRINT))
    other = words.assign(word=["tree" if word == "girl" else word for word in words["word"]])
    message = r"aligned with other words: 'girl' of run 1 stands where here is 'tree' \(row 10, run 1, 4.1 s\)"
    with pytest.raises(InputError, match=message):
        embed_words(other, model="stories260k", text=align_words(words, PRINT))


def test_half_precision_is_close_and_says_so():
    words = transcript()
    full = embed_words(words, model="stories260k", context=64, device="cpu")
    for dtype, bound in [("bfloat16", 0.05), ("float16", 0.005)]:
        half = embed_words(words, model="stories260k", context=64, dtype=dtype, device="cpu")
        assert half.attrs["features"]["stories260k"]["dtype"] == dtype
        assert half.values.dtype == np.float32
        off = furthest(half, full.array().reshape(len(words), 6, 64))
        assert 1e-4 < off < bound


def test_real_speech_is_read_the_same_way():
    words = alice(150)
    ours = embed_words(words, model="stories260k", context=128, device="cpu")
    assert ours.samples["stimulus"].tolist() == words["word"].tolist()
    assert furthest(ours, one_pass_per_word(words, "stories260k", 128)) < 1e-5


@pytest.mark.verify
def test_smollm2_too():
    if model_folder("smollm2-135m") is None:
        pytest.skip("smollm2-135m was not fetched: brainalign models fetch smollm2-135m")
    words = alice(120)
    ours = embed_words(words, model="smollm2-135m", context=64, device="cpu")
    assert ours.shape == (120, 31 * 576)
    assert furthest(ours, one_pass_per_word(words, "smollm2-135m", 64)) < 1e-5


@pytest.mark.parametrize("kind", ["stories260k", "gpt2", "bert", "roberta", "t5"])
def test_padding_and_batches_change_nothing(kind, small_model, monkeypatch):
    words = transcript(runs=3)
    model = kind if kind == "stories260k" else small_model(kind)
    bands = ("hidden",) if kind == "t5" else ("hidden", "surprisal")
    together = embed_words(words, model=model, context=32, bands=bands, device="cpu")
    monkeypatch.setattr("brainalign.features.batches.BATCH_TOKENS", 1)  # one window at a time: nothing is padded
    apart = embed_words(words, model=model, context=32, bands=bands, device="cpu")
    hidden = [band for band in apart.bands if not band.endswith("surprisal")]
    states = [signal.select(band=hidden) for signal in (together, apart)]
    assert furthest(states[0], states[1].array().reshape(len(words), len(hidden), -1)) < 1e-5
    if kind != "t5":
        np.testing.assert_allclose(together.values[:, -1], apart.values[:, -1], rtol=1e-4)


def test_the_signal_says_what_it_is():
    words = transcript(runs=2)
    signal = embed_words(words, model="stories260k", context=64)
    assert signal.shape == (len(words), 6 * 64)
    assert signal.values.dtype == np.float32
    assert signal.bands == [f"stories260k.{layer}" for layer in range(6)]
    assert signal.columns["layer"].tolist() == np.repeat(range(6), 64).tolist()
    assert signal.columns["unit"].tolist() == list(range(64)) * 6
    assert list(signal.samples) == ["run", "time", "duration", "stimulus"]
    assert signal.samples["stimulus"].tolist() == words["word"].tolist()
    assert signal.samples["time"].tolist() == words["onset"].tolist()
    assert signal.attrs["features"]["stories260k"] == {
        "kind": "language",
        "model": "stories260k",
        "revision": locate_model("stories260k").revision,
        "architecture": "causal",
        "sink": "<s>",
        "context": 64,
        "unit": "tokens",
        "stride": 32,
        "ahead": False,
        "reset": "run",
        "pool": "mean",
        "bands": ["hidden"],
        "dtype": "float32",
        "context_crosses_runs": False,
        "context_s": 10.8,
    }


def test_layers_can_be_chosen_in_any_order():
    words = transcript()
    every = embed_words(words, model="stories260k", context=64)
    some = embed_words(words, model="stories260k", layers=[5, 0], context=64, name="lm")
    assert some.bands == ["lm.5", "lm.0"]
    assert (some.select(band="lm.0").array() == every.select(band="stories260k.0").array()).all()
    assert (some.select(band="lm.5").array() == every.select(band="stories260k.5").array()).all()
    both = join(every, some)
    assert set(both.attrs["features"]) == {"stories260k", "lm"}


def test_nothing_is_carried_from_one_run_into_the_next():
    words = transcript(runs=2)
    whole = embed_words(words, model="stories260k", context=64, device="cpu").split()
    for run, part in words.groupby("run"):
        alone = embed_words(part, model="stories260k", context=64, device="cpu")
        assert furthest(whole[run], alone.array().reshape(len(part), 6, 64)) < 1e-5


def test_without_reset_the_runs_are_one_text():
    words = transcript(runs=2)
    crossing = embed_words(words, model="stories260k", context=64, reset=None, device="cpu")
    one = embed_words(words.assign(run="1"), model="stories260k", context=64, device="cpu")
    assert (crossing.array() == one.array()).all()
    assert crossing.runs == ["1", "2"]
    assert crossing.attrs["features"]["stories260k"]["context_crosses_runs"] is True
    reset = embed_words(words, model="stories260k", context=64, device="cpu")
    first = int((words["run"] == "2").to_numpy().argmax())
    assert np.abs(crossing.values[first] - reset.values[first]).max() > 0.1


def test_a_run_does_not_begin_with_an_outlier():
    """Whatever token comes first in SmolLM2 has a state of 22,000 in its middle layers, a hundred times the others."""
    if model_folder("smollm2-135m") is None:
        pytest.skip("smollm2-135m was not fetched: brainalign models fetch smollm2-135m")
    signal = embed_words(transcript(runs=4), layers=[15], context=64)
    size = np.linalg.norm(signal.values, axis=1)
    firsts = ~signal.samples.duplicated("run").to_numpy()
    assert firsts.sum() == 4
    assert size[firsts].max() < 2 * np.median(size)
    assert signal.attrs["features"]["smollm2-135m"]["sink"] == "<|im_start|>"


def test_what_cannot_be_asked_for():
    words = transcript()
    for layers, message in [
        ([6], r"has no layer 6: it has 6, from 0 \(the embedding\) to 5"),
        ([0, -1], "has no layer -1"),
        ([], r"'all' or a list of numbers such as \[12\]; found \[\]"),
        ("best", "found 'best'"),
        (3, "found 3"),
        ([1.5], r"found \[1.5\]"),
        ([2, 2], "names a layer twice"),
        (np.array([0, 1, 1]), "names a layer twice"),
    ]:
        with pytest.raises(SettingsError, match=message):
            embed_words(words, model="stories260k", layers=layers)
    with pytest.raises(SettingsError, match=r"context=512 and 1 special token make 513 .* context can be up to 511"):
        embed_words(words, model="stories260k", context=512)
    with pytest.raises(SettingsError, match=r"context=900 words are up to \d+ tokens here, .* reads at most 511"):
        embed_words(transcript(STORY * 8), model="stories260k", context=900, unit="words")
    with pytest.raises(SettingsError, match="context is a number of tokens, at least 2; found 1"):
        embed_words(words, model="stories260k", context=1)
    with pytest.raises(SettingsError, match=r"reset is 'run' .* or None .* found 'session'"):
        embed_words(words, model="stories260k", reset="session")
    with pytest.raises(SettingsError, match="pool is 'mean', 'last' or 'first'; found 'max'"):
        embed_words(words, model="stories260k", pool="max")
    with pytest.raises(SettingsError, match="no model 'storys260'; did you mean 'stories260k'"):
        embed_words(words, model="storys260")


def test_words_that_cannot_be_read():
    words = transcript("Once upon a time")
    with pytest.raises(InputError, match=r"word '' \(row 2, run 1, 0.9 s\) has no token .* leave it out"):
        embed_words(words.assign(word=["Once", "upon", "  ", "time"]), model="stories260k")
    long = words.assign(word=["Once", "upon", "floccinaucinihilipilification", "time"])
    with pytest.raises(InputError, match=r"'floccinau.*' \(row 2, .*\) has 2\d tokens, more than half of context=16"):
        embed_words(long, model="stories260k", context=16)
    with pytest.raises(InputError, match="table is empty"):
        embed_words(words.iloc[:0], model="stories260k")
    with pytest.raises(InputError, match="no column 'word'"):
        embed_words(words.rename(columns={"word": "text"}), model="stories260k")


def test_a_tokenizer_without_offsets_is_said(monkeypatch):
    loaded = load(locate_model("stories260k"), device="cpu")
    monkeypatch.setattr(type(loaded.tokenizer), "is_fast", property(lambda self: False))
    monkeypatch.setattr("brainalign.features.words.load", lambda found, device, dtype: loaded)
    with pytest.raises(SettingsError, match=r"cannot say which characters a token covers: it needs tokenizer.json"):
        embed_words(transcript(), model="stories260k")


def test_what_is_kept_is_found_again_byte_for_byte(tmp_path):
    words, store = transcript(runs=2), Store(tmp_path)
    fresh = embed_words(words, model="stories260k", context=64)
    first = embed_words(words, model="stories260k", context=64, store=store)
    again = embed_words(words.assign(onset=words["onset"] + 1), model="stories260k", context=64, store=store, name="lm")
    assert fresh.array().tobytes() == first.array().tobytes() == again.array().tobytes()
    assert first.attrs == fresh.attrs
    assert again.bands[0] == "lm.0"
    assert again.samples["time"].iloc[0] == pytest.approx(1.1)
    assert len(store.pieces()) == 1


def test_anything_that_changes_the_numbers_is_another_piece(tmp_path):
    from brainalign.features.untrained import untrained

    words, store = transcript("Once upon a time there was a cat"), Store(tmp_path)
    settings = [
        {},
        {"context": 64},
        {"context": 64, "unit": "words"},
        {"context": 64, "exact": True},
        {"pool": "last"},
        {"dtype": "bfloat16"},
        {"bands": ("hidden", "surprisal")},
        {"bands": ("surprisal",)},
        {"model": untrained("stories260k", seed=0)},
        {"words": words.assign(word=words["word"].str.upper())},
        {"words": words.assign(run=["1"] * 4 + ["2"] * 4)},
    ]
    for change in settings:
        embed_words(**{"words": words, "model": "stories260k", "store": store} | change)
    assert len(store.pieces()) == len(settings)
    same = [
        {"device": "cpu"},
        {"name": "lm"},
        {"reset": None},  # there is one run
        {"layers": np.array([0])},  # a part of what is there
        {"layers": [5, 1]},
        {"layers": np.array([0, 1])},
        {"layers": iter([3])},
        {"words": words.assign(run="another", onset=words["onset"] * 2, duration=0.1, note="")},
        {"bands": ["surprisal", "hidden"]},
    ]
    for change in same:
        embed_words(**{"words": words, "model": "stories260k", "store": store} | change)
    assert len(store.pieces()) == len(settings)


def test_every_ingredient_alone_makes_another_piece(tmp_path, small_model, monkeypatch):
    """The tokenizer, the weights, a library's major version, the print, where runs begin, what lies ahead."""
    from safetensors.torch import load_file, save_file

    store, words = Store(tmp_path / "store"), transcript(SPOKEN, runs=2)

    def pieces_after(model, **settings):
        embed_words(words, model=model, context=64, store=store, device="cpu", **settings)
        return len(store.pieces())

    model = Path(shutil.copytree(shipped("models", "stories260k"), tmp_path / "same"))
    assert pieces_after(model) == 1
    assert pieces_after("stories260k") == 1  # the same model in another place
    weights = load_file(model / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] * 1.5
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    assert pieces_after(model) == 2
    config = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps(config | {"model_max_length": 400}))
    assert pieces_after(model) == 3
    assert pieces_after(model, text=PRINT) == 4
    assert pieces_after(model, text=PRINT + " The end.") == 4  # what was not heard is not read
    assert pieces_after(model, reset=None) == 5
    assert pieces_after(small_model("bert")) == 6
    assert pieces_after(small_model("bert"), ahead=True) == 7
    monkeypatch.setattr("brainalign.features.words.versions", lambda *names: dict.fromkeys(names, "99.0"))
    assert pieces_after(model) == 8


def test_a_hit_loads_no_model(tmp_path):
    words = transcript("Once upon a time")
    embed_words(words, model="stories260k", store=Store(tmp_path / "store"))
    words.to_csv(tmp_path / "words.tsv", sep="\t", index=False)
    code = (
        "import sys, pandas as pd\n"
        "from brainalign.features.words import embed_words\nfrom brainalign.store import Store\n"
        f"words = pd.read_csv({str(tmp_path / 'words.tsv')!r}, sep='\\t')\n"
        f"print(embed_words(words, model='stories260k', store=Store({str(tmp_path / 'store')!r})).shape)\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["(4, 384)", "[]"], done.stderr
