"""Conversions lose no number: held against what the original runtime, or the original file, says."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brainalign.errors import InputError
from brainalign.features.cards import model_card
from brainalign.features.converting import (
    bert_weights,
    convert_names,
    convert_onnx,
    convert_torch,
    convert_vectors,
    dinov2_weights,
    joined,
)
from brainalign.features.efficientnet import build_efficientnet
from brainalign.features.fetching import gather
from brainalign.features.loading import LanguageModel, load
from brainalign.features.models import locate_model, model_folder
from brainalign.provenance import hash_file
from brainalign.shipped import shipped

HARBOUR = (
    "The old harbour was quiet in the early morning. A few fishermen were mending their nets beside the water, and the "
    "smell of salt and bread came down the narrow street. When the first boat came back, the children ran to see what "
    "had been caught, and their mothers stood in the doorways and talked about the weather and the price of fish."
)
CORTEX = (
    "Neurons in the visual cortex respond to edges of a certain orientation. Their tuning was measured with moving "
    "gratings, and a model of the receptive field was fitted to the responses, which explained most of the variance "
    "that could be explained given how noisy the recordings were."
)
PUPPY = (
    "Once upon a time there was a little girl named Sue. She had a big red ball. One day she went to the park with her "
    "mom to play. She saw a small dog. The dog wanted to play too. Sue threw the ball and the dog ran to get it. They "
    "were very happy."
)
SENTENCES = [
    "A dog runs across the field.",
    "The puppy is racing through the grass!",
    "Interest rates were raised by a quarter of a point on Tuesday.",
    "naïve café — 3.5 km, “don't”",
    CORTEX + " " + HARBOUR,
]


def here(name: str) -> Path:
    """The folder of a model that was fetched; the test is skipped if it was not."""
    folder = model_folder(name)
    if folder is None:
        terms = " --accept-terms" * bool(model_card(name).terms)
        pytest.skip(f"{name} was not fetched: brainalign models fetch {name}{terms}")
    return folder


@pytest.fixture
def original(tmp_path):
    """Gather the files of a model as they are published."""

    def gathered(name: str) -> Path:
        here(name)
        gather(model_card(name), tmp_path, lambda said: None)
        return tmp_path

    return gathered


# --- language models ------------------------------------------------------------------------------------------------


def loss(network: Any, tokenizer: Any, text: str) -> tuple[float, int]:
    """The mean loss per token (nats) and how many tokens were predicted."""
    import torch

    ids = tokenizer(text, return_tensors="pt").input_ids
    with torch.inference_mode():
        return float(network(input_ids=ids, labels=ids).loss), ids.shape[1] - 1


@cache
def loaded_model(name: str) -> LanguageModel:
    return load(locate_model(name), device="cpu")


@cache
def bits_per_character(name: str) -> list[float]:
    """On plain narrative, science, and a toddler's story, 250 characters of each: what the shortest window holds."""
    loaded = loaded_model(name)
    losses = [loss(loaded.network, loaded.tokenizer, text[:250]) for text in (HARBOUR, CORTEX, PUPPY)]
    return [per_token * n_tokens / np.log(2) / 250 for per_token, n_tokens in losses]


def test_the_shipped_character_model_knows_english_letter_by_letter():
    """Other passages gave 1.53, 3.12 and 0.98 bits when it was first converted, and random weights 6.8 for each."""
    import torch
    from transformers import AutoModelForCausalLM

    narrative, science, toddler = bits_per_character("babyllama-char105")
    assert toddler < 1.0 < narrative < 2.2 < science < 3.2
    loaded = loaded_model("babyllama-char105")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        random = AutoModelForCausalLM.from_config(loaded.network.config).eval()
    per_token, n_tokens = loss(random, loaded.tokenizer, HARBOUR[:250])
    assert per_token * n_tokens / np.log(2) / 250 > 6.5
    letters = loaded.tokenizer("a dog", add_special_tokens=False).input_ids
    assert loaded.tokenizer.convert_ids_to_tokens(letters)[-3:] == ["d", "o", "g"]


def test_models_rank_on_plain_and_childish_english_as_their_readmes_say():
    """Larger models know more of science and of harbours; on a toddler's story those trained on nothing else win."""
    here("smollm2-135m")
    stories, letters, large = map(bits_per_character, ("stories260k", "babyllama-char105", "smollm2-135m"))
    assert all(np.argsort(small).tolist() == [2, 0, 1] for small in (stories, letters))
    assert np.allclose(stories, letters, atol=0.2)  # in the readmes they differ by 0.08, 0.08 and 0.15
    assert max(large[:2]) + 0.5 < min(*stories[:2], *letters[:2])
    assert max(stories[2], letters[2]) + 0.1 < large[2]


def test_the_converted_model_knows_english():
    """A wrong conversion (rotary order, tied embeddings) would lose it.

    0.94 to 1.00 bits per character were measured on plain English, random weights need more than 2.9; a loss of 7.2 per
    token on shuffled words.
    """
    here("smollm2-135m")
    loaded = loaded_model("smollm2-135m")
    per_token, n_tokens = loss(loaded.network, loaded.tokenizer, HARBOUR)
    shuffled = " ".join(np.random.default_rng(0).permutation(HARBOUR.split()))
    assert 0.9 < per_token * n_tokens / np.log(2) / len(HARBOUR) < 1.05
    assert 6.7 < loss(loaded.network, loaded.tokenizer, shuffled)[0] < 7.5


@pytest.mark.verify
def test_gemma_knows_english():
    here("gemma3-270m")
    narrative, science, toddler = bits_per_character("gemma3-270m")
    assert max(narrative, science) < 1.1
    assert toddler < 0.9


def interleaved(matrix: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries or keys from half-split rotary order, as transformers has it, to pairs, as GGUF has it."""
    halves = matrix.reshape(heads, 2, len(matrix) // heads // 2, *matrix.shape[1:])
    return halves.swapaxes(1, 2).reshape(matrix.shape)


@pytest.mark.verify
@pytest.mark.parametrize("name", ["smollm2-135m", "gemma3-270m"])
def test_every_tensor_is_the_one_in_the_gguf_file_to_float16(name, original):
    import gguf
    from gguf.quants import dequantize
    from safetensors.numpy import load_file

    folder = here(name)
    parts = sorted(original(name).iterdir())
    whole = parts[0].with_name("joined.gguf")
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    reader = gguf.GGUFReader(whole)
    architecture = {"smollm2-135m": gguf.MODEL_ARCH.LLAMA, "gemma3-270m": gguf.MODEL_ARCH.GEMMA3}[name]
    names = gguf.get_tensor_name_map(architecture, model_card(name).layers or 0)
    published = {tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    config = loaded_model(name).network.config
    converted = load_file(folder / "model.safetensors")
    assert len(converted) == len(published)
    for key, tensor in converted.items():
        expected = published.pop(names.get_name(key, try_suffixes=(".weight",)) or key)
        if name == "gemma3-270m":
            expected = expected - np.float32("norm" in key)  # transformers multiplies by one plus the weight
        elif "q_proj" in key or "k_proj" in key:
            heads = config.num_attention_heads if "q_proj" in key else config.num_key_value_heads
            tensor = interleaved(tensor, heads)
        assert tensor.dtype == np.float16
        np.testing.assert_array_equal(tensor, expected.reshape(tensor.shape).astype(np.float16), err_msg=key)
    assert not published


def test_a_divided_file_is_joined_in_order(tmp_path):
    for part, content in (("m.gguf.part01", b"second"), ("m.gguf.part00", b"first ")):
        (tmp_path / part).write_bytes(content)
    assert joined(tmp_path).read_bytes() == b"first second"
    assert [p.name for p in tmp_path.iterdir()] == ["whole.gguf"]


# --- sentence encoders ----------------------------------------------------------------------------------------------


def states(folder: Path, texts: list[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The last layer, (texts, tokens, width), and what went in; transformers alone, as anyone would use it."""
    import torch
    from transformers import AutoTokenizer, BertModel

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    network = BertModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False).eval()
    given = tokenizer(texts, padding=True, truncation=True, max_length=128, return_tensors="pt")
    with torch.inference_mode():
        last = network(input_ids=given.input_ids, attention_mask=given.attention_mask).last_hidden_state
    return last.numpy(), {name: given[name].numpy() for name in ("input_ids", "attention_mask")}


def test_files_that_are_used_as_they_are_are_those_of_the_card():
    folder, card = here("minilm-l6"), model_card("minilm-l6")
    (package,) = card.packages
    assert {p.relative_to(folder).as_posix(): hash_file(p) for p in folder.rglob("*") if p.is_file()} == package.files


def test_loaded_as_a_language_model_its_states_are_those_of_transformers():
    import torch

    folder = here("minilm-l6")
    last, given = states(folder, SENTENCES)
    loaded = loaded_model("minilm-l6")
    assert loaded.kind == "masked"
    assert not loaded.has_head
    with torch.inference_mode():
        ours = loaded.reader(**{name: torch.from_numpy(array) for name, array in given.items()}).last_hidden_state
    assert np.array_equal(ours.numpy(), last)


def mean_of_tokens(last: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return (last * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)


def cosines(vectors: np.ndarray) -> np.ndarray:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit @ unit.T


@pytest.mark.parametrize("name", ["minilm-l6", "minilm-l3"])
def test_sentences_that_mean_the_same_are_alike(name):
    last, given = states(here(name), SENTENCES)
    alike = cosines(mean_of_tokens(last, given["attention_mask"]))
    assert alike[0, 1] > 0.45
    assert alike[0, 2:].max() < 0.1


@pytest.mark.verify
def test_the_small_sentence_encoder_does_what_onnxruntime_does_with_the_original(original):
    """States of every token and the mean over tokens; 1.3e-6 and 5e-7 were measured, on states of up to 5.7."""
    import onnxruntime

    last, given = states(here("minilm-l3"), SENTENCES)
    session = onnxruntime.InferenceSession(original("minilm-l3") / "paraphrase-MiniLM-L3-v2.onnx")
    outputs = dict(zip((o.name for o in session.get_outputs()), session.run(None, given), strict=True))
    (tokens,) = [array for array in outputs.values() if array.shape == last.shape]
    (pooled,) = [array for array in outputs.values() if array.shape == (len(SENTENCES), last.shape[-1])]
    said = given["attention_mask"].astype(bool)
    assert np.abs(tokens - last)[said].max() < 1e-5
    assert np.abs(last[said]).max() > 1
    assert np.abs(pooled - mean_of_tokens(last, given["attention_mask"])).max() < 1e-5
    assert np.linalg.norm(pooled, axis=1).min() > 2  # not brought to length one


def exported(weights: dict[str, np.ndarray], module: str, **unnamed: np.ndarray) -> Any:
    """The graph torch exports of a network: tensors and the nodes that use them; some have lost their names."""
    from onnx import helper, numpy_helper

    tensors, nodes = [], []
    path = f"/{module.replace('.', '/')}"
    for number, (name, array) in enumerate(weights.items()):
        if array.ndim == 2 and "embeddings" not in name:
            tensors.append(numpy_helper.from_array(np.ascontiguousarray(array.T), f"onnx::MatMul_{number}"))
            node = f"{path}/{name.removesuffix('.weight').replace('.', '/')}/MatMul"
            nodes.append(helper.make_node("MatMul", ["x", f"onnx::MatMul_{number}"], ["y"], name=node))
        else:
            tensors.append(numpy_helper.from_array(array, f"{module}.{name}"))
    tensors += [numpy_helper.from_array(array, f"onnx::{name}") for name, array in unnamed.items()]
    nodes.append(helper.make_node("MatMul", ["a", "b"], ["c"], name=f"{path}/encoder/MatMul"))
    return helper.make_graph(nodes, "exported", [], [], tensors)


def test_the_names_of_an_exported_bert_are_found_again():
    import torch
    from transformers import BertConfig, BertModel

    size = {"num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 12}
    network = BertModel(BertConfig(vocab_size=20, **size), add_pooling_layer=False)
    graph = exported({name: tensor.numpy() for name, tensor in network.state_dict().items()}, "model.0.auto_model")
    found = bert_weights(graph)
    expected = network.state_dict()
    assert set(found) == set(expected)
    assert all(np.array_equal(found[name], expected[name].numpy()) for name in expected)
    network.load_state_dict({name: torch.tensor(array) for name, array in found.items()})
    del graph.node[0]
    with pytest.raises(InputError, match=r"holds 37 tensors, and names were found for 36: it is no BERT as torch"):
        bert_weights(graph)


# --- vision models --------------------------------------------------------------------------------------------------


def test_a_dinov2_is_found_in_an_exported_network(tmp_path):
    """The position embeddings lie in two pieces without a name, and a decoder is there too."""
    import onnx
    import torch
    from safetensors.numpy import load_file
    from transformers import Dinov2Config, Dinov2Model

    size = {"num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "image_size": 28}
    torch.manual_seed(0)
    network = Dinov2Model(Dinov2Config(**size))
    network.save_pretrained(tmp_path / "published")
    weights = load_file(tmp_path / "published/model.safetensors")
    hidden = {
        name: weights[name] for name in weights if name.split(".")[-1] not in ("position_embeddings", "mask_token")
    }
    places = weights["embeddings.position_embeddings"]
    others = {"Reshape_9": places[:, 1:], "Concat_8": places[:, :1], "decoder": np.ones((8, 3), np.float32)}
    graph = exported(hidden, "backbone", **others)
    (tmp_path / "in").mkdir()
    onnx.save(onnx.helper.make_model(graph), tmp_path / "in/saliency.onnx")
    (tmp_path / "in/config.json").write_text((tmp_path / "published/config.json").read_text())
    convert_onnx(tmp_path / "in", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["config.json", "model.safetensors"]
    found, said = Dinov2Model.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(said.values())
    for name, tensor in network.state_dict().items():
        expected = torch.zeros_like(tensor) if "mask_token" in name else tensor
        assert torch.equal(found.state_dict()[name], expected), name
    del others["Concat_8"]
    with pytest.raises(InputError, match=r"needs two tensors that make the position embeddings, .*; found \(1, 4, 8\)"):
        dinov2_weights(exported(hidden, "backbone", **others))
    with pytest.raises(InputError, match=r"found none: it is no DINOv2 as torch exports it"):
        dinov2_weights(exported(hidden, "auto_model"))


@pytest.mark.verify
def test_the_dinov2_does_what_onnxruntime_does_with_the_original(original):
    """Tokens after the embedding, every block and the last normalisation; 3e-5 was measured, on states of up to 18."""
    import onnx
    import onnxruntime
    import torch
    from transformers import Dinov2Model

    folder = here("dinov2-small-derived")
    whole = onnx.load(original("dinov2-small-derived") / "vit_s_focus.onnx")
    names = ["/backbone/embeddings/Add_output_0"]
    names += [f"/backbone/encoder/layer.{block}/Add_1_output_0" for block in range(12)]
    names += ["/backbone/layernorm/Add_1_output_0"]
    whole.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in names)
    pixels = np.random.default_rng(0).normal(size=(2, 3, 224, 224)).astype(np.float32)
    session = onnxruntime.InferenceSession(whole.SerializeToString())
    theirs = session.run(names, {"input_image": pixels})
    network = Dinov2Model.from_pretrained(folder, local_files_only=True).eval()
    with torch.inference_mode():
        out = network(torch.from_numpy(pixels), output_hidden_states=True)
    ours = [*out.hidden_states, out.last_hidden_state]
    assert len(ours) == len(theirs)
    for state, expected in zip(ours, theirs):
        assert np.abs(expected).max() > 0.5
        assert np.abs(state.numpy() - expected).max() < 5e-5


def converted_network(folder: Path) -> Any:
    from safetensors.torch import load_file

    network = build_efficientnet(json.loads((folder / "config.json").read_text()))
    network.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    return network


def same_logits(ours: Any, theirs: Any, size: int) -> bool:
    import torch

    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return torch.equal(ours(pixels), theirs(pixels))


def test_what_torch_saved_stays_as_it_is_bit_for_bit(tmp_path):
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    (tmp_path / "in").mkdir()
    torch.manual_seed(0)
    theirs = EfficientNet.from_name("efficientnet-lite0", image_size=64).eval()
    torch.save(theirs.state_dict(), tmp_path / "in/lite.pth")
    (tmp_path / "in/config.json").write_text((shipped("models", "efficientnet-lite0") / "config.json").read_text())
    convert_torch(tmp_path / "in", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["config.json", "model.safetensors"]
    assert same_logits(converted_network(tmp_path / "out"), theirs, 64)


def test_a_file_of_torch_runs_no_code(tmp_path):
    import pickle

    import torch

    (tmp_path / "in").mkdir()
    torch.save({"x": Path("/")}, tmp_path / "in/lite.pth")  # an object, which takes code to make
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        convert_torch(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.verify
@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"])
def test_an_efficientnet_does_what_the_package_does_with_the_original_bit_for_bit(name, original, capsys):
    from efficientnet_lite_pytorch import EfficientNet

    folder, size = here(name), model_config(name)["image_size"]
    (weights,) = original(name).glob("*.pth")
    theirs = EfficientNet.from_pretrained(name, weights_path=str(weights)).eval()
    capsys.readouterr()  # it says that it has loaded them
    assert size == EfficientNet.get_image_size(name)
    assert same_logits(converted_network(folder), theirs, size)


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"])
def test_pictures_are_prepared_for_an_efficientnet_as_for_the_original(name):
    """Pixels minus 127 by 128, of the middle of a picture whose shorter side has 32 pixels more."""
    from transformers import BitImageProcessorPil

    size = model_config(name)["image_size"]
    processor = BitImageProcessorPil.from_pretrained(shipped("models", name), local_files_only=True)
    picture = np.random.default_rng(0).integers(0, 256, (size + 32, size + 60, 3), dtype=np.uint8)
    (made,) = processor(images=[picture], return_tensors="np").pixel_values
    middle = picture[16:-16, 30:-30].astype(np.float64)
    np.testing.assert_allclose(made, (middle.transpose(2, 0, 1) - 127) / 128, atol=1e-6)


def model_config(name: str) -> dict[str, Any]:
    return json.loads((shipped("models", name) / "config.json").read_text())


# --- names of classes, word vectors and taggers ---------------------------------------------------------------------


def test_names_of_classes_are_lines_in_their_order(tmp_path):
    (tmp_path / "in").mkdir()
    file = tmp_path / "in/names.json"
    file.write_text('["tench", "d\\u00f4me", "a \\u2028 b"]')
    convert_names(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out/classes.txt").read_bytes().decode().split("\n") == ["tench", "dôme", "a \u2028 b", ""]
    for odd in ('"a\\nb"', '" "', "3"):
        file.write_text(f'["tench", {odd}]')
        with pytest.raises(InputError, match=r"names.json has the name .*, which cannot stand on a line of its own"):
            convert_names(tmp_path / "in", tmp_path / "none")


def test_imagenet_has_its_thousand_names():
    names = (here("imagenet-classes") / "classes.txt").read_bytes().decode().split("\n")
    assert len(names) == 1001
    assert [names[k] for k in (0, 207, 388, 999, 1000)] == [
        "tench",
        "Golden Retriever",
        "giant panda",
        "toilet paper",
        "",
    ]


def write_vectors(folder: Path, words: list[str], n_rows: int) -> np.ndarray:
    import pyarrow as pa
    from pyarrow import parquet

    folder.mkdir()
    vectors = np.random.default_rng(0).normal(size=(n_rows, 3))
    np.save(folder / "emb.npy", vectors)
    parquet.write_table(pa.table({"index": words}), folder / "index.parquet")
    return vectors


def test_word_vectors_are_written_in_the_order_of_their_words(tmp_path):
    words = ["the", "über", "\u2028", "a b", "\x85", "x\r"]
    vectors = write_vectors(tmp_path / "in", words, 6)
    convert_vectors(tmp_path / "in", tmp_path / "out")
    found = np.load(tmp_path / "out" / "vectors.npy")
    assert found.dtype == np.float32
    assert np.array_equal(found, vectors.astype(np.float32))
    assert (tmp_path / "out" / "words.txt").read_bytes().decode().split("\n") == [*words, ""]


@pytest.mark.parametrize(
    ("words", "n_rows", "message"),
    [
        (["a", "b"], 3, r"emb.npy is \(3, 3\) for 2 words: it needs one row for each word"),
        (["a", "b\nc"], 2, r"index.parquet has the word 'b\\nc', which cannot stand on a line of its own"),
        (["a", ""], 2, r"index.parquet has the word ''"),
    ],
)
def test_word_vectors_that_cannot_be_told_apart_are_refused(tmp_path, words, n_rows, message):
    write_vectors(tmp_path / "in", words, n_rows)
    with pytest.raises(InputError, match=message):
        convert_vectors(tmp_path / "in", tmp_path / "out")


def test_glove_knows_kings_and_dogs():
    folder = here("glove-50d")
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    words = (folder / "words.txt").read_bytes().decode().removesuffix("\n").split("\n")
    assert vectors.shape == (400_000, 50)
    assert vectors.dtype == np.float32
    assert len(words) == len(set(words)) == 400_000
    assert words[:3] == ["the", ",", "."]
    row = {word: row for row, word in enumerate(words)}
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def cosine(a: str, b: str) -> float:
        return float(unit[row[a]] @ unit[row[b]])

    assert cosine("dog", "cat") == pytest.approx(0.92, abs=0.005)
    assert cosine("dog", "senate") == pytest.approx(0.17, abs=0.005)
    wanted = vectors[row["king"]] - vectors[row["man"]] + vectors[row["woman"]]
    nearest = [words[k] for k in np.argsort(-(unit @ wanted))[:4] if words[k] not in ("king", "man", "woman")]
    assert nearest[0] == "queen"


@pytest.mark.verify
def test_glove_is_the_published_table(original):
    from pyarrow import parquet

    folder, published = here("glove-50d"), original("glove-50d")
    assert np.array_equal(np.load(folder / "vectors.npy"), np.load(published / "glove_6B_50d_emb.npy"))
    words = parquet.read_table(published / "glove_6B_index.parquet").column("index").to_pylist()
    assert (folder / "words.txt").read_bytes().decode().split("\n") == [*words, ""]


def test_the_tagger_is_a_spacy_folder_with_a_description_of_its_own():
    spacy = pytest.importorskip("spacy")
    folder = here("en-core-web-sm")
    (package,) = model_card("en-core-web-sm").packages
    assert {p.relative_to(folder).as_posix(): hash_file(p) for p in folder.rglob("*") if p.is_file()} == package.files
    said = spacy.load(folder, exclude=["parser", "ner", "lemmatizer"])("The old dog quickly ran home.")
    assert [token.pos_ for token in said] == ["DET", "ADJ", "NOUN", "ADV", "VERB", "ADV", "PUNCT"]
