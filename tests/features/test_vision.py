"""Vision models of every kind: what `see` gives is what transformers gives, and says where it lies in the picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers as t

from brainalign.features.models import locate_model
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
SWIN = {"image_size": SIDE, "patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}

# configuration, what stands before the patches, whether a class token does, and the grids of its layers
FAMILIES = {
    "vit": (t.ViTConfig(**COMMON), 1, True, [(4, 4)] * 4),
    "dinov2": (t.Dinov2Config(**COMMON), 1, True, [(4, 4)] * 4),
    "registers": (t.Dinov2WithRegistersConfig(**COMMON), 5, True, [(4, 4)] * 4),
    "beit": (t.BeitConfig(**COMMON), 1, True, [(4, 4)] * 4),
    "deit": (t.DeiTConfig(**COMMON), 2, True, [(4, 4)] * 4),
    "mae": (t.ViTMAEConfig(**COMMON), 1, True, [(4, 4)] * 4),
    "clip": (t.CLIPVisionConfig(**COMMON), 1, True, [(4, 4)] * 4),
    "siglip": (t.SiglipVisionConfig(**COMMON), 0, False, [(4, 4)] * 4),
    "swin": (t.SwinConfig(**SWIN), 0, False, [(8, 8), (4, 4), (4, 4)]),
    "convnext": (t.ConvNextConfig(**STAGES), 0, False, [(8, 8), (8, 8), (4, 4), (2, 2), (1, 1)]),
    "resnet": (t.ResNetConfig(**STAGES, embedding_size=8), 0, False, [(8, 8), (8, 8), (4, 4), (2, 2), (1, 1)]),
}


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
    processor = t.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})
    for family, (config, *_) in FAMILIES.items():
        torch.manual_seed(0)
        write(made / family, t.AutoModel.from_config(config), processor)
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
    assert (ours.n_special, ours.class_token) == (n_special, 0 if has_class else None)
    assert list(ours.grids) == grids
