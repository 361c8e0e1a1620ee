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
from hypothesis import given
from hypothesis import strategies as st

from brainalign.errors import InputError, SettingsError
from brainalign.features.loading import load
from brainalign.features.models import locate_model, model_folder
from brainalign.features.words import choose_sink, embed_words, plan_windows, words_to_tokens
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


def one_pass_per_word(words: pd.DataFrame, model: str, context: int, pool: str = "mean") -> np.ndarray:
    """(n_words, n_layers, width): the sink and the context, as far as the word, read alone; nothing shared with ours.

    The context of a word begins where ours says it does: half a window before the first word a window is for.
    """
    import torch

    loaded = load(locate_model(model), device="cpu")
    tokenizer, network = loaded.tokenizer, loaded.network
    out = []
    for _, run in words.groupby("run", sort=False):
        text = " ".join(run["word"])
        read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        ids, spans = read["input_ids"], read["offset_mapping"]
        begin, window_start, window_first = 0, 0, None
        for word in run["word"]:
            characters = set(range(begin, begin + len(word)))
            begin += len(word) + 1
            own = [k for k, (a, b) in enumerate(spans) if characters & set(range(a, b))]
            if window_first is None or own[-1] + 1 > window_start + context:
                window_first = own[0]
                window_start = max(0, window_first - (context - context // 2))
            seen = torch.tensor([[tokenizer.bos_token_id, *ids[window_start : own[-1] + 1]]])
            with torch.inference_mode():
                states = network(input_ids=seen, output_hidden_states=True).hidden_states
            kept = {"mean": own, "last": own[-1:], "first": own[:1]}[pool]
            out.append([state[0, [k - window_start + 1 for k in kept]].mean(0).numpy() for state in states])
    return np.array(out)


def furthest(ours: Signal, expected: np.ndarray) -> float:
    """The largest ‖Δ‖/‖h‖ over words and layers."""
    n, layers, width = expected.shape
    difference = np.linalg.norm(ours.array().reshape(n, layers, width) - expected, axis=2)
    return float((difference / np.linalg.norm(expected, axis=2)).max())


@pytest.mark.parametrize("pool", ["mean", "last", "first"])
@pytest.mark.parametrize("context", [24, 64, 511])
def test_one_strided_pass_is_one_pass_per_word(context, pool):
    words = transcript(runs=2)
    ours = embed_words(words, model="stories260k", context=context, pool=pool, device="cpu")
    assert furthest(ours, one_pass_per_word(words, "stories260k", context, pool)) < 1e-5


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


def test_padding_and_batches_change_nothing(monkeypatch):
    words = transcript(runs=3)
    together = embed_words(words, model="stories260k", context=32, device="cpu")
    monkeypatch.setattr("brainalign.features.words.BATCH_BYTES", 1)  # one window at a time: nothing is padded
    apart = embed_words(words, model="stories260k", context=32, device="cpu")
    assert furthest(together, apart.array().reshape(len(words), 6, 64)) < 1e-5


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
        "sink": "<s>",
        "context": 64,
        "stride": 32,
        "reset": "run",
        "pool": "mean",
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


ODD = [
    "would",
    "n't",
    "don't",
    "—",
    "Café",
    "cafe\u0301",
    "你好",
    "🙂",
    "'",
    "O'Neill-Smith",
    "U.S.",
    "naïve…",
    "New York",
]


@given(st.lists(st.sampled_from(ODD), min_size=1, max_size=12))
def test_every_word_gets_its_own_tokens(words):
    tokenizer = tokenizer_of("stories260k")
    text = " ".join(words)
    read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    covers = words_to_tokens(words, read["offset_mapping"])
    begin = 0
    for word, tokens in zip(words, covers):
        spans = [read["offset_mapping"][k] for k in tokens]
        assert "".join(text[a:b] for a, b in sorted(set(spans))).strip() == word
        assert all(a < begin + len(word) and b > begin for a, b in spans)
        begin += len(word) + 1
    used = np.concatenate(covers)
    assert len(set(used.tolist())) == len(used)
    unused = set(range(len(read["input_ids"]))) - set(used.tolist())
    assert all(text[slice(*read["offset_mapping"][k])].isspace() for k in unused)


def tokenizer_of(name: str, known: dict[str, object] = {}):  # noqa: B006  (hypothesis runs this hundreds of times)
    from transformers import AutoTokenizer

    if name not in known:
        known[name] = AutoTokenizer.from_pretrained(model_folder(name), local_files_only=True)
    return known[name]


def test_tokens_of_nobody_and_of_two():
    offsets = [(0, 0), (0, 2), (2, 3), (3, 7), (7, 7), (7, 8), (8, 10)]  # "ab cd", " ", "ef": 'ab' '␣' 'cd e' … 'f gh'
    assert [t.tolist() for t in words_to_tokens(["ab", "cd", "ef", "h"], offsets)] == [[1], [3], [3, 5], [6]]
    assert [t.tolist() for t in words_to_tokens(["ab", "cd"], [(0, 2)])] == [[0], []]


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=60),
    st.lists(st.integers(0, 1), min_size=60, max_size=60),
    st.integers(8, 40),
)
def test_windows_keep_every_word_once_with_enough_before_it(lengths, gaps, context):
    stop = np.cumsum(np.add(lengths, gaps[: len(lengths)]))
    first = stop - lengths
    windows = plan_windows(first, stop, context)
    kept = [word for window in windows for word in range(window.first, window.last)]
    assert kept == list(range(len(lengths)))
    for window in windows:
        assert window.stop - window.start <= context
        for word in range(window.first, window.last):
            assert window.start <= first[word]
            assert stop[word] <= window.stop
            assert window.start == 0 or context - context // 2 <= first[word] - window.start < context


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
    ]:
        with pytest.raises(SettingsError, match=message):
            embed_words(words, model="stories260k", layers=layers)
    with pytest.raises(
        SettingsError, match=r"context=512 and the sink make 513 .* at most 512: context can be up to 51"
    ):
        embed_words(words, model="stories260k", context=512)
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


def save_model(folder: Path, config: object, network: object) -> Path:
    shutil.copytree(shipped("models", "stories260k"), folder, ignore=shutil.ignore_patterns("model.*", "config.json"))
    network.save_pretrained(folder)
    return folder


def test_a_model_that_reads_ahead_is_refused(tmp_path):
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=512, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    folder = save_model(tmp_path / "bert", config, BertForMaskedLM(config))
    with pytest.raises(SettingsError, match="'bert' reads words that come after the one it describes"):
        embed_words(transcript(), model=folder)


def test_another_architecture_from_a_folder(tmp_path):
    """Learned positions, other names for everything: GPT-2."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=512, n_embd=32, n_layer=3, n_head=2, n_positions=64)
    folder = save_model(tmp_path / "gpt", config, GPT2LMHeadModel(config))
    words = transcript()
    ours = embed_words(words, model=folder, context=40, device="cpu")
    assert ours.bands == [f"gpt.{layer}" for layer in range(4)]
    assert furthest(ours, one_pass_per_word(words, str(folder), 40)) < 1e-5
    with pytest.raises(SettingsError, match="reads at most 64: context can be up to 63"):
        embed_words(words, model=folder, context=64)


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


def test_a_tokenizer_without_offsets_is_said(monkeypatch):
    loaded = load(locate_model("stories260k"), device="cpu")
    monkeypatch.setattr(type(loaded.tokenizer), "is_fast", property(lambda self: False))
    monkeypatch.setattr("brainalign.features.words.load", lambda found, device: loaded)
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
        {"layers": [0]},
        {"context": 64},
        {"reset": None},
        {"pool": "last"},
        {"model": untrained("stories260k", seed=0)},
        {"words": words.assign(word=words["word"].str.upper())},
        {"words": words.assign(run=["1"] * 4 + ["2"] * 4)},
    ]
    for change in settings:
        embed_words(**{"words": words, "model": "stories260k", "store": store} | change)
    assert len(store.pieces()) == len(settings)
    embed_words(words, model="stories260k", store=store, layers=np.array([0]), device="cpu")
    assert len(store.pieces()) == len(settings)


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
