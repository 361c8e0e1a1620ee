"""Sentence embeddings: what sentence-transformers computes, of any kind of model, and what it shows."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from brainalign.errors import InputError, SettingsError
from brainalign.features import sentences as module
from brainalign.features.loading import load
from brainalign.features.models import is_here, locate_model
from brainalign.features.sentences import embed_sentences
from brainalign.features.untrained import untrained
from brainalign.signals import Signal, load_signal, save_signal
from brainalign.store import Store

DATA = Path(os.environ.get("BRAINALIGN_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
TEXTS = [
    "A dog runs over the grass .",
    "grass",
    "The cat and the dog and the cat and the dog and the cat sit .",
    "A cat runs .",
    "the dog sits on the grass and the cat runs over the dog",
]
WORDS = sorted({word.lower() for text in TEXTS for word in text.split()})

needs_minilm = pytest.mark.skipif(
    not is_here("minilm-l6"),
    reason="minilm-l6 was not fetched: brainalign models fetch minilm-l6",
)


def network(kind: str, **changes: Any) -> Any:
    """A small random network; every kind of attention, positions and special tokens there is."""
    import transformers as t

    small = {"vocab_size": 4 + len(WORDS), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    small |= {"intermediate_size": 64, "max_position_embeddings": 64, "pad_token_id": 0} | changes
    t5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "vocab_size": small["vocab_size"]}
    build = {
        "bert": lambda: t.BertForMaskedLM(t.BertConfig(**small)),
        "roberta": lambda: t.RobertaForMaskedLM(t.RobertaConfig(**small)),
        "t5": lambda: t.T5ForConditionalGeneration(t.T5Config(**t5, decoder_start_token_id=0)),
        "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**small)),
        "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(**small)),
    }
    t.set_seed(0)
    return build[kind]()


def saved(folder: Path, kind: str, recipe: dict[str, Any] | None = None, **changes: Any) -> Path:
    """A model folder whose tokenizer knows the words above and puts [CLS] and [SEP] around them; a recipe as files."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: k for k, word in enumerate(["[PAD]", "[CLS]", "[SEP]", "[UNK]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace("\u200b", "")])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 1), ("[SEP]", 2)])
    special = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    network(kind, **changes).save_pretrained(folder)
    for name, content in (recipe or {}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


def encoder_files(pooling: str, *, normalise: bool, **limits: Any) -> dict[str, Any]:
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalise else [])]
    steps = [
        {"path": f"{k}_{kind}" if k else "", "type": f"sentence_transformers.models.{kind}"}
        for k, kind in enumerate(kinds)
    ]
    return {
        "modules.json": steps,
        "1_Pooling/config.json": {f"pooling_mode_{pooling}": True},
        "sentence_bert_config.json": limits,
    }


def states_alone(folder: Path | str, text: str, limit: int | None = None) -> list[np.ndarray]:
    """Every layer's states (n_tokens, width) of one text read alone, by transformers' plain AutoModel."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    place = locate_model(folder).place
    tokenizer, plain = AutoTokenizer.from_pretrained(place), AutoModel.from_pretrained(place).eval()
    plain = plain.get_encoder() if plain.config.is_encoder_decoder else plain
    with torch.inference_mode():
        ids = tokenizer(
            text, truncation=limit is not None, max_length=limit, padding=False, return_tensors="pt"
        ).input_ids
        out = plain(input_ids=ids, output_hidden_states=True)
        return [layer[0].numpy() for layer in (*out.hidden_states[:-1], out.last_hidden_state)]


def furthest(a: np.ndarray, b: np.ndarray) -> float:
    """The largest ‖Δ‖/‖h‖ over samples."""
    return float((np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).max())


@pytest.mark.parametrize("pool", ["mean", "first", "last", "max"])
@pytest.mark.parametrize("kind", ["bert", "roberta", "t5", "llama", "gpt2"])
def test_padding_and_batches_change_nothing(kind, pool, tmp_path, monkeypatch):
    folder = saved(tmp_path / kind, kind)
    together = embed_sentences(TEXTS, model=folder, layers="all", pool=pool, device="cpu")
    monkeypatch.setattr("brainalign.features.batches.BATCH_TOKENS", 1)  # nothing is padded
    apart = embed_sentences(TEXTS, model=folder, layers="all", pool=pool, device="cpu")
    assert together.bands == [f"{kind}.{layer}" for layer in range(3)]
    for band in together.bands:
        assert furthest(together.select(band=band).array(), apart.select(band=band).array()) < 1e-5
    different = pool != "first" or kind not in ("llama", "gpt2")  # whose first token has read nothing but itself
    assert (furthest(apart.select(band=band).array()[:1], apart.select(band=band).array()[1:2]) > 1e-3) == different


@pytest.mark.parametrize(
    ("kind", "pool"), [("bert", "mean"), ("roberta", "mean"), ("t5", "mean"), ("llama", "last"), ("gpt2", "last")]
)
def test_where_a_folder_says_nothing_it_depends_on_the_kind(kind, pool, tmp_path):
    folder = saved(tmp_path / kind, kind)
    ours = embed_sentences(TEXTS, model=folder, device="cpu")
    last = [states_alone(folder, text)[-1] for text in TEXTS]
    expected = np.stack([h.mean(0) if pool == "mean" else h[-1] for h in last])
    assert furthest(ours.array(), expected) < 1e-5
    assert ours.bands == [kind]
    assert ours.attrs["features"][kind]["pool"] == pool
    assert ours.attrs["features"][kind]["normalise"] is False


@pytest.mark.parametrize(
    ("pooling", "by_hand"),
    [
        ("mean_tokens", lambda h: h.mean(0)),
        ("cls_token", lambda h: h[0]),
        ("lasttoken", lambda h: h[-1]),
        ("max_tokens", lambda h: h.max(0)),
    ],
)
def test_a_sentence_encoder_is_used_as_its_folder_says(pooling, by_hand, tmp_path):
    folder = saved(tmp_path / "enc", "bert", encoder_files(pooling, normalise=True, max_seq_length=9))
    ours = embed_sentences(TEXTS, model=folder, device="cpu")
    vectors = np.stack([by_hand(states_alone(folder, text, limit=9)[-1]) for text in TEXTS])
    assert furthest(ours.array(), vectors / np.linalg.norm(vectors, axis=1, keepdims=True)) < 1e-5
    asked = embed_sentences(TEXTS, model=folder, pool="first", normalise=False, device="cpu")
    assert furthest(asked.array(), np.stack([states_alone(folder, text, limit=9)[-1][0] for text in TEXTS])) < 1e-5


def test_a_prompt_and_lower_case_are_heeded(tmp_path):
    files = encoder_files("mean_tokens", normalise=False, do_lower_case=True)
    files["config_sentence_transformers.json"] = {"prompts": {"q": "the dog: "}, "default_prompt_name": "q"}
    folder = saved(tmp_path / "enc", "bert", files)
    ours = embed_sentences(["A CAT runs"], model=folder, device="cpu")
    assert furthest(ours.array(), states_alone(folder, "the dog: a cat runs")[-1].mean(0)[None]) < 1e-5
    assert ours.attrs["features"]["enc"]["prompt"] == "the dog: "


def test_layers_are_bands_and_are_not_divided(tmp_path):
    folder = saved(tmp_path / "enc", "bert", encoder_files("mean_tokens", normalise=True))
    profile = embed_sentences(TEXTS, model=folder, layers="all", name="m", device="cpu")
    for layer in range(3):
        expected = np.stack([states_alone(folder, text)[layer].mean(0) for text in TEXTS])
        assert furthest(profile.select(band=f"m.{layer}").array(), expected) < 1e-5
    last = profile.select(band="m.2").array()
    embedding = embed_sentences(TEXTS, model=folder, device="cpu").array()
    np.testing.assert_allclose(embedding, last / np.linalg.norm(last, axis=1, keepdims=True), atol=1e-6)
    some = embed_sentences(TEXTS, model=folder, layers=[2, 0], normalise=True, device="cpu")
    assert some.bands == ["enc.2", "enc.0"]
    assert some.columns.columns.tolist() == ["band", "layer", "unit"]
    np.testing.assert_allclose(some.select(band="enc.2").array(), embedding, atol=1e-6)


@pytest.mark.parametrize(("kind", "places", "read"), [("bert", 9, 9), ("gpt2", 9, 9), ("roberta", 10, 9)])
def test_what_is_too_long_is_cut_and_said(kind, places, read, tmp_path):
    # RoBERTa's first place is for the padding, so it reads one token less than it has places
    folder = saved(tmp_path / kind, kind, max_position_embeddings=places)
    ours = embed_sentences(TEXTS, model=folder, pool="mean", device="cpu")
    lengths = np.array([len(text.split()) + 2 for text in TEXTS])
    assert ours.samples["tokens_left_out"].tolist() == np.maximum(lengths - read, 0).tolist()
    assert ours.attrs["features"][kind]["max_tokens"] == read
    assert ours.attrs["features"][kind]["too_long"] == (lengths > read).sum() == 2
    assert ours.attrs["notes"] == [f"{kind}: 2 of 5 sentences are longer than the 9 tokens it reads"]
    expected = np.stack([states_alone(folder, text, limit=read)[-1].mean(0) for text in TEXTS])
    assert furthest(ours.array(), expected) < 1e-5
    short = embed_sentences(TEXTS[:2], model=folder, pool="mean", device="cpu")
    assert "notes" not in short.attrs


def test_a_model_without_a_limit_reads_everything(tmp_path):
    folder = saved(tmp_path / "t5", "t5")
    long = embed_sentences([" ".join(WORDS * 60)], model=folder, device="cpu")
    assert long.attrs["features"]["t5"]["max_tokens"] is None
    assert long.samples["tokens_left_out"].tolist() == [0]


def test_a_table_a_list_and_a_corpus():
    onset = np.arange(5) * 4.0
    table = pd.DataFrame({"run": "a", "onset": onset, "duration": 2.0, "caption": TEXTS, "image": [1, 1, 1, 8, 8]})
    timed = embed_sentences(table, model="stories260k", column="caption")
    assert timed.samples.columns.tolist() == ["run", "time", "duration", "stimulus", "caption", "tokens_left_out"]
    assert timed.samples["time"].tolist() == onset.tolist()
    listed = embed_sentences(TEXTS, model="stories260k")
    assert listed.samples["time"].tolist() == [0, 1, 2, 3, 4]
    assert listed.samples["sentence"].tolist() == TEXTS
    corpus = embed_sentences(table[["caption", "image"]], model="stories260k", column="caption", average="image")
    np.testing.assert_array_equal(listed.values, timed.values)
    np.testing.assert_allclose(corpus.values[0], timed.values[:3].mean(0), atol=1e-6)
    np.testing.assert_allclose(corpus.values[1], timed.values[3:].mean(0), atol=1e-6)
    assert corpus.samples[["stimulus", "n_averaged"]].values.tolist() == [["1", 3], ["8", 2]]
    assert corpus.attrs["features"]["stories260k"]["average"] == "image"


def test_it_is_kept_as_any_signal(tmp_path):
    signal = embed_sentences(TEXTS, model="stories260k", column="caption", layers=[0, 5])
    again = load_signal(save_signal(signal, tmp_path / "captions.zarr"))
    np.testing.assert_array_equal(again.array(), signal.array())
    assert again.samples["caption"].tolist() == TEXTS
    assert again.attrs == signal.attrs


def test_each_sentence_is_read_once(monkeypatch):
    read = []
    forward = module.forward
    monkeypatch.setattr(module, "forward", lambda *given, **how: read.append(len(given[1])) or forward(*given, **how))
    twice = embed_sentences(TEXTS + TEXTS[::-1], model="stories260k")
    assert sum(read) == len(TEXTS) + 1  # the shortest is tried out first
    np.testing.assert_array_equal(twice.values[:5], twice.values[:4:-1])


def test_a_hit_loads_no_model_whenever_and_in_whatever_order(tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    first = embed_sentences(TEXTS, model="stories260k", store=store)
    with monkeypatch.context() as patch:
        patch.setattr(module, "load", lambda *_, **__: pytest.fail("it was loaded again"))
        table = pd.DataFrame({"run": "3", "onset": [9.0, 11.0], "sentence": TEXTS[:2]})
        again = embed_sentences(TEXTS[::-1] + TEXTS[:1], model="stories260k", store=store, name="other")
    np.testing.assert_array_equal(again.values[:5], first.values[::-1])
    assert again.attrs["features"]["other"] == first.attrs["features"]["stories260k"]
    changes: list[dict[str, Any]] = [{}, {"pool": "mean"}, {"normalise": True}, {"layers": [5]}, {"dtype": "bfloat16"}]
    for change in changes:
        embed_sentences(table, model="stories260k", store=store, **change)
    assert len(store.pieces()) == 1 + len(changes)


def test_another_recipe_beside_the_same_weights_is_another_piece(tmp_path):
    store, folder = (
        Store(tmp_path / "store"),
        saved(tmp_path / "enc", "bert", encoder_files("mean_tokens", normalise=True)),
    )
    embed_sentences(TEXTS, model=folder, store=store, device="cpu")
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": "cls"}))
    first = embed_sentences(TEXTS, model=folder, store=store, device="cpu")
    assert first.attrs["features"]["enc"]["pool"] == "first"
    assert len(store.pieces()) == 2


def test_a_crash_costs_one_part(tmp_path, monkeypatch):
    store, whole = Store(tmp_path), embed_sentences(TEXTS, model="stories260k")
    monkeypatch.setattr(module, "PART_BYTES", 1)  # a part per sentence
    said = []

    def crash(done, total, what):
        said.append((done, total, what))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_sentences(TEXTS, model="stories260k", store=store, progress=crash)
    assert said[-1] == (3, 5, "reading 5 sentences with stories260k")
    read = []
    vectors = module._vectors
    monkeypatch.setattr(module, "_vectors", lambda *given: read.append(len(given[1])) or vectors(*given))
    resumed = embed_sentences(TEXTS, model="stories260k", store=store)
    assert read == [1, 1]
    np.testing.assert_allclose(resumed.array(), whole.array(), atol=1e-5)


def test_half_precision_is_near():
    whole = embed_sentences(TEXTS, model="stories260k", device="cpu")
    half = embed_sentences(TEXTS, model="stories260k", device="cpu", dtype="bfloat16")
    assert half.values.dtype == np.float32
    assert 1e-5 < furthest(half.array(), whole.array()) < 0.1


def test_what_cannot_be_embedded(tmp_path):
    with pytest.raises(InputError, match=r"row 1 has an empty sentence: leave such rows out"):
        embed_sentences(["a dog", " ", ""], model="stories260k")
    with pytest.raises(InputError, match="the events table is empty"):
        embed_sentences([], model="stories260k")
    with pytest.raises(InputError, match=r"event 1 .* has no caption"):
        embed_sentences(pd.DataFrame({"caption": ["a", None]}), model="stories260k", column="caption")
    nested = pd.DataFrame({"captions": [["a dog", "a cat"]]})
    with pytest.raises(InputError, match=r"row 0 has a list of 2 under 'captions': .*table.explode\('captions'\)"):
        embed_sentences(nested, model="stories260k", column="captions")
    folder = saved(tmp_path / "bert", "bert")
    with pytest.raises(InputError, match=r"sentence '\\u200b' has no token in this model's vocabulary"):
        embed_sentences(["a dog", "\u200b"], model=folder)


def test_settings_that_cannot_be():
    with pytest.raises(SettingsError, match="no layer 6: it has 6, from 0"):
        embed_sentences(TEXTS, model="stories260k", layers=[6])
    with pytest.raises(SettingsError, match=r"pool is one of 'mean', 'first', 'last', 'max', or None .* found 'cls'"):
        embed_sentences(TEXTS, model="stories260k", pool="cls")  # pyright: ignore[reportArgumentType]
    with pytest.raises(SettingsError, match=r"dtype is one of 'float32', 'float16', 'bfloat16'; found 'int8'"):
        embed_sentences(TEXTS, model="stories260k", dtype="int8")  # pyright: ignore[reportArgumentType]
    for layers in ([], [1, 1], "last", 3, [0.5]):
        with pytest.raises(SettingsError, match=r"layers is None \(the sentence embedding\), 'all', or a list"):
            embed_sentences(TEXTS, model="stories260k", layers=layers)  # pyright: ignore[reportArgumentType]


# ── what trained sentence encoders are for ──


def cosines(signal: Signal) -> np.ndarray:
    unit = signal.array() / np.linalg.norm(signal.array(), axis=1, keepdims=True)
    return unit @ unit.T


@needs_minilm
def test_minilm_is_computed_as_sentence_transformers_does():
    texts = [
        "A man is riding a bike.",
        "Dogs",
        "The stock market fell sharply on Monday, analysts said.",
        "word " * 300,
    ]
    ours = embed_sentences(texts, device="cpu")
    vectors = np.stack([states_alone("minilm-l6", text, limit=256)[-1].mean(0) for text in texts])
    np.testing.assert_allclose(ours.array(), vectors / np.linalg.norm(vectors, axis=1, keepdims=True), atol=1e-6)
    known = ours.attrs["features"]["minilm-l6"]
    assert (known["pool"], known["normalise"], known["max_tokens"], known["too_long"]) == ("mean", True, 256, 1)


@needs_minilm
def test_sentences_of_like_meaning_lie_near():
    pairs = [
        ("A man is riding a bicycle down the street.", "Someone cycles along a road."),
        ("The children are eating ice cream.", "Kids enjoy a frozen dessert."),
        ("She plays the violin in an orchestra.", "A musician performs with her string instrument."),
        ("The stock market fell sharply today.", "Share prices dropped."),
    ]
    likeness = cosines(embed_sentences([text for pair in pairs for text in pair]))
    alike = likeness[range(0, 8, 2), range(1, 8, 2)]
    other = likeness[np.triu_indices(8, 1)][~np.isin(likeness[np.triu_indices(8, 1)], alike)]
    assert alike.min() > 0.35 > other.max()
    assert 0.5 < alike.mean() < 0.8
    assert -0.1 < other.mean() < 0.15


@pytest.fixture(scope="module")
def things() -> tuple[list[str], np.ndarray]:
    """1,854 object names, and trials of three whose third is what a person called the odd one."""
    folder = DATA / "things-concepts"
    if not folder.is_dir():
        pytest.skip(f"no object concepts at {folder}: set BRAINALIGN_TEST_DATA")
    names = (folder / "unique_id.txt").read_text().split()
    trials = np.loadtxt(folder / "2171trials_humans.txt", int)
    return [name.rstrip("0123456789").replace("_", " ") for name in names], trials


def odd_one_out(signal: Signal, trials: np.ndarray) -> int:
    """In how many trials the third lies outside the most similar pair."""
    likeness = cosines(signal)
    a, b, odd = trials.T
    return int((np.argmax([likeness[a, b], likeness[a, odd], likeness[b, odd]], axis=0) == 0).sum())


@needs_minilm
def test_object_names_predict_what_people_call_the_odd_one_out(things):
    names, trials = things
    hits = odd_one_out(embed_sentences(names), trials)  # 42.1 % where chance is 33.3 %, and people themselves 67 %
    assert binomtest(hits, len(trials), 1 / 3, alternative="greater").pvalue < 1e-12
    assert 0.40 < hits / len(trials) < 0.44
    chance = odd_one_out(embed_sentences(names, model=untrained("minilm-l6")), trials)
    assert binomtest(chance, len(trials), 1 / 3, alternative="greater").pvalue > 0.01


def captions(images: int) -> pd.DataFrame:
    path = DATA / "coco-captions-1000/shared1000.csv"
    if not path.is_file():
        pytest.skip(f"no captions at {path}: set BRAINALIGN_TEST_DATA")
    table = pd.read_csv(path, nrows=images).rename(columns={"image_id": "image"})
    return table.assign(caption=table["coco_captions"].map(ast.literal_eval)).explode("caption")[["image", "caption"]]


@needs_minilm
@pytest.mark.parametrize("images", [60, pytest.param(1000, marks=pytest.mark.verify)])
def test_captions_of_one_picture_lie_nearer_than_those_of_others(images):
    table = captions(images)
    corpus = embed_sentences(table, column="caption")
    likeness, image = cosines(corpus), table["image"].to_numpy()
    same = image[:, None] == image
    np.fill_diagonal(likeness, np.nan)
    share = [np.mean(row[mine & ~np.isnan(row)][:, None] > row[~mine]) for row, mine in zip(likeness, same)]
    assert np.mean(share) > 0.98  # 0.990 over all thousand; 0.5 if pictures made no difference
    mean = embed_sentences(table, column="caption", average="image")
    by_hand = [corpus.array()[image == one].mean(0) for one in dict.fromkeys(image)]
    np.testing.assert_allclose(mean.array(), by_hand, atol=1e-6)
    assert np.linalg.norm(mean.array(), axis=1).max() < 1  # not divided again: the less they agree, the shorter


def test_a_loaded_masked_model_needs_no_head(tmp_path):
    """Sentence encoders come without one."""
    folder = saved(tmp_path / "enc", "bert")
    from transformers import BertModel

    BertModel.from_pretrained(folder).save_pretrained(folder)
    loaded = load(locate_model(folder), device="cpu")
    assert (loaded.kind, loaded.has_head) == ("masked", False)
    assert embed_sentences(TEXTS, model=folder, device="cpu").shape == (5, 32)
