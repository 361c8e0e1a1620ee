"""Vision models of every kind: what `see` gives is what transformers gives, and says where it lies in the picture."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import transformers as t
from safetensors.torch import load_file, save_file

from brainalign.errors import InputError, SettingsError
from brainalign.features.efficientnet import build_efficientnet
from brainalign.features.models import locate_model
from brainalign.features.untrained import untrained
from brainalign.features.vision import load_vision, see

SIDE = 32
COMMON = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": SIDE,
    "patch_size": 8,
}
STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}
LEVIT = {"hidden_sizes": [16, 32, 48], "num_attention_heads": [2, 2, 2], "depths": [1, 1, 1], "key_dim": [8, 8, 8]}
SWIN = {"image_size": SIDE, "patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}

# configuration, what stands before the patches, whether a class token does, and the grids of its layers
FAMILIES = {
    "vit": (t.ViTConfig(**COMMON), 1, True, [(4, 4)] * 4),
    "dinov2": (t.Dinov2Config(**COMMON), 1, True, [(4, 4)] * 4),
    "registers": (t.Dinov2WithRegistersConfig(**COMMON), 5, True, [(4, 4)] * 4),
    "beit": (t.BeitConfig(**COMMON), 1, True, [(4, 4)] * 4),
    "deit": (t.DeiTConfig(**COMMON), 2, True, [(4, 4)] * 4),
    "yolos": (t.YolosConfig(**COMMON | {"image_size": [SIDE, SIDE]}, num_detection_tokens=7), 1, True, [(4, 4)] * 4),
    "mae": (t.ViTMAEConfig(**COMMON), 1, True, [(4, 4)] * 4),
    "clip": (t.CLIPVisionConfig(**COMMON), 1, True, [(4, 4)] * 4),
    "siglip": (t.SiglipVisionConfig(**COMMON), 0, False, [(4, 4)] * 4),
    "swin": (t.SwinConfig(**SWIN), 0, False, [(8, 8), (4, 4), (4, 4)]),
    "levit": (t.LevitConfig(**LEVIT, image_size=SIDE), 0, False, [(2, 2), (1, 1), (1, 1), (1, 1)]),
    "convnext": (t.ConvNextConfig(**STAGES), 0, False, [(8, 8), (8, 8), (4, 4), (2, 2), (1, 1)]),
    "resnet": (t.ResNetConfig(**STAGES, embedding_size=8), 0, False, [(8, 8), (8, 8), (4, 4), (2, 2), (1, 1)]),
}


PROCESSOR = t.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})


def random_pictures(*shapes: tuple[int, int], seed: int = 0) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]


def write(folder, network, processor):
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder with a small model of each family, random weights, written once."""
    made = tmp_path_factory.mktemp("vision")
    for family, (config, *_) in FAMILIES.items():
        torch.manual_seed(0)
        write(made / family, t.AutoModel.from_config(config), PROCESSOR)
    return made


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_those_of_transformers(family, folders):
    _, n_special, has_class, grids = FAMILIES[family]
    pictures = random_pictures((40, 50), (32, 32), (9, 31))
    model = load_vision(locate_model(folders / family), device="cpu")
    ours = see(model, pictures)
    network = t.AutoModel.from_pretrained(folders / family).eval()
    given = t.AutoImageProcessor.from_pretrained(folders / family, backend="pil")(pictures, return_tensors="pt")
    if family == "mae":
        network.config.mask_ratio = 0.0
        given["noise"] = torch.arange(16.0).expand(3, -1)
    with torch.inference_mode():
        theirs = network(**given, output_hidden_states=True).hidden_states
    assert len(ours.layers) == len(theirs) == len(grids)
    assert all(torch.equal(a, b) for a, b in zip(ours.layers, theirs))
    assert {(one.n_special, one.class_token) for one in ours.layouts} == {(n_special, 0 if has_class else None)}
    assert list(ours.grids) == grids


def test_a_picture_alone_gives_what_it_gives_among_others(folders):
    pictures = random_pictures((40, 50), (32, 32), (9, 31))
    for family in ("dinov2", "swin", "resnet", "mae"):
        model = load_vision(locate_model(folders / family), device="cpu")
        together, alone = see(model, pictures), see(model, pictures[1:2])
        assert all(torch.allclose(a[1:2], b, atol=1e-5) for a, b in zip(together.layers, alone.layers))


INTERPOLATED = {"interpolate_pos_encoding": True}  # where transformers wants to be asked


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("vit", INTERPOLATED),
        ("dinov2", {}),
        ("mae", INTERPOLATED | {"noise": torch.arange(36.0)[None]}),
        ("clip", INTERPOLATED),
        ("siglip", INTERPOLATED),
        ("swin", INTERPOLATED),
        ("convnext", {}),
    ],
    ids=["vit", "dinov2", "mae", "clip", "siglip", "swin", "convnext"],
)
def test_another_size(family, more, folders):
    picture = random_pictures((48, 48))
    states = see(load_vision(locate_model(folders / family), device="cpu", size=48), picture)
    assert states.grids[0] == tuple(3 * side // 2 for side in FAMILIES[family][3][0])
    network = t.AutoModel.from_pretrained(folders / family).eval()
    network.config.mask_ratio = 0.0
    pixels = torch.tensor(picture[0] / 255 * 2 - 1).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        theirs = network(pixels, output_hidden_states=True, **more).hidden_states
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(states.layers, theirs, strict=True))


@pytest.mark.parametrize(
    ("family", "size", "said"),
    [
        ("vit", 50, r"size is a multiple of 8, the patch of model 'vit': 48 or 56; found 50"),
        ("levit", 48, r"model 'levit' cannot see at 48 × 48: "),
        ("vit", 0, r"size is a whole number of pixels, such as 224, or None \(the model's own\); found 0"),
        ("vit", 32.0, r"size is a whole number of pixels.*found 32.0"),
    ],
)
def test_a_size_that_cannot_be(family, size, said, folders):
    with pytest.raises(SettingsError, match=said):
        load_vision(locate_model(folders / family), device="cpu", size=size)


def test_half_precision_and_an_untrained_twin(folders):
    found = locate_model(folders / "resnet")
    assert {layer.dtype for layer in see(load_vision(found, "cpu", "bfloat16"), random_pictures((32, 32))).layers} == {
        torch.bfloat16
    }
    twins = [load_vision(untrained(found, seed=seed), "cpu").network for seed in (1, 1, 2)]
    weights = [twin.state_dict()["encoder.stages.0.layers.0.layer.0.convolution.weight"] for twin in twins]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    buffers = dict(twins[0].named_buffers())
    assert {float(b.unique()) for name, b in buffers.items() if name.endswith("running_mean")} == {0.0}
    assert {float(b.unique()) for name, b in buffers.items() if name.endswith("running_var")} == {1.0}


def test_what_takes_no_pictures_or_more_than_pictures(folders, tmp_path):
    with pytest.raises(SettingsError, match=r"model 'vit' reads no prompt: leave it out"):
        see(load_vision(locate_model(folders / "vit"), device="cpu"), random_pictures((32, 32)), "what is it?")
    with pytest.raises(InputError, match=r"a picture is an array \(height, width, 3\) of uint8"):
        see(load_vision(locate_model(folders / "vit"), device="cpu"), [np.zeros((3, 3))])
    text = t.GPT2Model(t.GPT2Config(vocab_size=16, n_embd=16, n_layer=1, n_head=2))
    with pytest.raises(SettingsError, match=r"model 'text' takes no pictures: its architecture, gpt2, is not one that"):
        load_vision(locate_model(write(tmp_path / "text", text, PROCESSOR)), device="cpu")
    film = t.VideoMAEModel(t.VideoMAEConfig(**COMMON, num_frames=2))
    with pytest.raises(
        SettingsError, match=r"model 'film' takes more than pictures, or other pictures than its prepro"
    ):
        load_vision(locate_model(write(tmp_path / "film", film, PROCESSOR)), device="cpu")


def without(folder, to, *gone):
    """A copy of a model whose file lacks the weights of these names."""
    shutil.copytree(folder, to)
    weights = load_file(to / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith(gone)}
    assert len(kept) < len(weights)
    save_file(kept, to / "model.safetensors", {"format": "pt"})
    return locate_model(to)


def test_weights_that_are_missing_are_not_made_up_but_what_states_do_without_may_be(folders, tmp_path):
    with pytest.raises(
        InputError, match=r"weights of model 'a' are incomplete: 1 tensors are missing \(embeddings.cls"
    ):
        load_vision(without(folders / "vit", tmp_path / "a", "embeddings.cls_token"), device="cpu")
    picture = random_pictures((32, 32))
    lacks = see(load_vision(without(folders / "vit", tmp_path / "b", "pooler."), device="cpu"), picture)
    whole = see(load_vision(locate_model(folders / "vit"), device="cpu"), picture)
    assert all(torch.equal(a, b) for a, b in zip(lacks.layers, whole.layers))


def test_modules_are_taken_instead_of_layers(folders):
    model, picture = load_vision(locate_model(folders / "vit"), device="cpu"), random_pictures((32, 32))
    name = next(name for name, _ in model.network.named_modules() if name.endswith("1.mlp"))
    states = see(model, picture, names=[name, "layernorm"])
    with torch.inference_mode():
        last = model.network(model.prepare(picture)).last_hidden_state
    assert torch.equal(states.layers[1], last)
    assert states.layers[0].shape == last.shape
    assert states.grids == ((4, 4), (4, 4))


def test_what_a_module_gives_is_laid_out_by_its_own_number_of_tokens(folders):
    model, picture = load_vision(locate_model(folders / "registers"), device="cpu"), random_pictures((32, 32))
    names = ["embeddings.patch_embeddings", "embeddings", "encoder.layer.0.attention"]
    layouts = see(model, picture, names=names).layouts
    assert [(one.n_special, one.class_token) for one in layouts] == [(0, None), (5, 0), (5, 0)]


def test_maps_are_channels_first_whichever_way_the_model_has_them(tmp_path):
    torch.manual_seed(0)
    config = t.SamVisionConfig(
        **COMMON | {"hidden_size": 16}, mlp_dim=24, output_channels=8, window_size=2, global_attn_indexes=[1]
    )
    network = t.SamVisionModel(config).eval()
    model = load_vision(locate_model(write(tmp_path / "sam", network, PROCESSOR)), device="cpu")
    pictures = random_pictures((32, 32), (40, 30))
    states = see(model, pictures)
    with torch.inference_mode():
        theirs = network(model.prepare(pictures), output_hidden_states=True).hidden_states
    assert theirs[0].shape == (2, 4, 4, 16)
    assert all(torch.allclose(a, b.permute(0, 3, 1, 2), atol=1e-5) for a, b in zip(states.layers, theirs, strict=True))
    assert set(states.grids) == {(4, 4)}
    mixed = see(model, pictures, names=["vision_encoder.layers.1.mlp.lin1", "vision_encoder.neck.conv1"])
    assert [layer.shape[1] for layer in mixed.layers] == [24, 8]
    with pytest.raises(
        SettingsError, match=r"module 'vision_encoder.layers.0.attn' of model 'sam' does not give states"
    ):
        see(model, pictures, names=["vision_encoder.layers.0.attn"])  # in windows, of which a picture has several


def test_an_efficientnet_has_its_blocks_for_layers(tmp_path):
    config = {"model_type": "efficientnet-lite", "variant": "efficientnet-lite0", "num_labels": 10}
    network = build_efficientnet(config, seed=0)
    folder = tmp_path / "lite"
    PROCESSOR.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(network.state_dict(), folder / "model.safetensors")
    picture = random_pictures((32, 32))
    model = load_vision(locate_model(folder), device="cpu")
    states = see(model, picture)
    assert (model.kind, len(states.layers)) == ("modules", 17)
    assert states.grids[0] == (16, 16)
    with torch.inference_mode():
        x = network._bn0(network._conv_stem(model.prepare(picture)))
        assert torch.equal(states.layers[0], x)
        assert torch.equal(states.layers[1], network._blocks[0](x.clamp(0, 6)))
    twin = load_vision(untrained(locate_model(folder), seed=1), device="cpu")
    assert not torch.equal(see(twin, picture).layers[-1], states.layers[-1])
    weights = {name: weight for name, weight in network.state_dict().items() if "_blocks.3" not in name}
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"model 'lite' could not be loaded from"):
        load_vision(locate_model(folder), device="cpu")
