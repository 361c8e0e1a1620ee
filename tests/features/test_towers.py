"""Image–text models: pictures and texts meet where the model itself compares them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as t
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from brainalign.errors import InputError, SettingsError
from brainalign.features.loading import load
from brainalign.features.models import locate_model
from brainalign.features.sentences import embed_sentences
from brainalign.features.untrained import untrained
from brainalign.features.vision import load_vision, see

SIDE = 32
TOWER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
PICTURE = {**TOWER, "image_size": SIDE, "patch_size": 8}
TEXT = {**TOWER, "vocab_size": 32, "max_position_embeddings": 24, "bos_token_id": 1, "eos_token_id": 2}
TEXTS = ["a red ball", "there was a little girl and a big dog", "it"]  # the second is longer than 24 letters
PICTURES = [np.random.default_rng(seed).integers(0, 256, (40, 36, 3), dtype=np.uint8) for seed in range(4)]


def letters(around: str, **names: str) -> t.PreTrainedTokenizerFast:
    """A token for each letter, and what ends a text."""
    known = ["<pad>", "<s>", "</s>", "<unk>", *" abcdefghijklmnopqrstuvwxyz"]
    made = Tokenizer(models.WordLevel({letter: k for k, letter in enumerate(known)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made.post_processor = TemplateProcessing(single=around, special_tokens=[("<s>", 1), ("</s>", 2)])
    return t.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", eos_token="</s>", **names)


def write(folder: Path, family: str) -> Path:
    """A small image–text model with random weights, its tokenizer and its image processor."""
    torch.manual_seed(0)
    if family == "clip":
        letters("<s> $A </s>", bos_token="<s>", pad_token="</s>").save_pretrained(folder)
        t.CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=SIDE).save_pretrained(folder)
        network = t.CLIPModel(t.CLIPConfig(text_config=TEXT, vision_config=PICTURE, projection_dim=16))
    else:
        letters("$A </s>", pad_token="<pad>").save_pretrained(folder)
        t.SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
        network = t.SiglipModel(t.SiglipConfig(text_config=TEXT, vision_config=PICTURE))
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["clip", "siglip"])
def folder(request, tmp_path_factory):
    return write(tmp_path_factory.mktemp("towers") / request.param, request.param)


def compared(folder: Path) -> tuple[t.PreTrainedModel, dict[str, torch.Tensor], torch.Tensor]:
    """The model as transformers runs it, what it is given, and how alike it finds pictures and texts."""
    network = t.AutoModel.from_pretrained(folder).eval()
    tokenizer, padding = t.AutoTokenizer.from_pretrained(folder), "longest" if folder.name == "clip" else "max_length"
    given = dict(tokenizer(TEXTS, padding=padding, truncation=True, max_length=24, return_tensors="pt"))
    if folder.name == "siglip":  # sees its padding
        given = {"input_ids": given["input_ids"]}
    given |= t.AutoImageProcessor.from_pretrained(folder, backend="pil")(PICTURES, return_tensors="pt")
    with torch.inference_mode():
        return network, given, network(**given).logits_per_image


def test_cosines_are_what_the_model_compares_pictures_and_texts_by(folder):
    texts = embed_sentences(TEXTS, model=folder, device="cpu")
    model = load_vision(locate_model(folder), device="cpu")
    states = see(model, PICTURES)
    network, _, expected = compared(folder)
    cosines = states.embedding.numpy() @ texts.array().T
    scale, shift = network.logit_scale.detach().exp(), getattr(network, "logit_bias", torch.zeros(1)).detach()
    scaled = cosines * float(scale) + float(shift)
    assert model.kind == "image-text"
    np.testing.assert_allclose(scaled, expected.numpy(), atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(texts.array(), axis=1), 1, atol=1e-6)
    known = texts.attrs["features"][folder.name]
    assert (known["pool"], known["normalise"], known["max_tokens"], known["too_long"]) == ("own", True, 24, 1)


def test_layers_are_those_of_the_towers(folder):
    network, given, _ = compared(folder)
    with torch.inference_mode():
        seen = network.vision_model(given["pixel_values"], output_hidden_states=True).hidden_states
        read = network.text_model(input_ids=given["input_ids"], output_hidden_states=True).hidden_states
    states = see(load_vision(locate_model(folder), device="cpu"), PICTURES)
    assert all(torch.equal(a, b) for a, b in zip(states.layers, seen, strict=True))
    assert states.grids == ((4, 4),) * 3
    assert {(one.n_special, one.class_token) for one in states.layouts} == {
        (1, 0) if folder.name == "clip" else (0, None)
    }
    layers = embed_sentences(TEXTS, model=folder, layers="all", device="cpu").array().reshape(3, 3, 32)
    # the end of the text of CLIP, which its padding is called too; the last of all places of SigLIP
    ids = given["input_ids"]
    last = (ids == 2).int().argmax(1) if folder.name == "clip" else torch.full((3,), ids.shape[1] - 1)
    theirs = torch.stack([layer[torch.arange(3), last] for layer in read], 1)
    np.testing.assert_allclose(layers, theirs.numpy(), atol=1e-5)


def test_a_size_of_ones_own_and_another_pooling(folder):
    states = see(load_vision(locate_model(folder), device="cpu", size=48), PICTURES)
    assert states.grids[0] == (6, 6)
    mean = embed_sentences(TEXTS, model=folder, pool="mean", normalise=False, device="cpu")
    assert mean.array().shape == (3, 32)
    twin = embed_sentences(TEXTS, model=untrained(folder, seed=3), device="cpu").array()
    assert np.isfinite(twin).all()


def test_an_image_text_model_is_no_language_model(folder):
    with pytest.raises(SettingsError, match=rf"{folder.name}' is no language model: its architecture, {folder.name}, "):
        load(locate_model(folder), device="cpu")


def test_both_towers_have_to_be_there(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    (tmp_path / "m").mkdir()
    for path in folder.iterdir():
        (tmp_path / "m" / path.name).write_bytes(path.read_bytes())
    kept = {k: v for k, v in load_file(folder / "model.safetensors").items() if "text_model.final_layer_norm" not in k}
    save_file(kept, tmp_path / "m/model.safetensors", {"format": "pt"})
    found = locate_model(tmp_path / "m")
    for loading in (lambda: load_vision(found, device="cpu"), lambda: load(found, device="cpu", towers=True)):
        with pytest.raises(InputError, match=r"model 'm' are incomplete: 2 tensors are missing \(text_model.final_lay"):
            loading()
