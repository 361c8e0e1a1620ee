"""EfficientNet-Lite: the network is the package's own, and its layers are where they are said to be."""

from __future__ import annotations

import math

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet

from brainalign.errors import InputError, SettingsError
from brainalign.features.efficientnet import build_efficientnet, layers_of

LITE0 = {"variant": "efficientnet-lite0"}


@pytest.fixture(scope="module")
def drawn():
    return build_efficientnet(LITE0, seed=0)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [224, 96])
def test_it_is_the_packages_network_at_any_size(drawn, size):
    """The package fixes its padding at one size; at that size both pad alike, bit for bit."""
    fixed = EfficientNet.from_name("efficientnet-lite0", image_size=size).eval()
    fixed.load_state_dict(drawn.state_dict())
    pixels = noise(1, 3, size, size)
    with torch.inference_mode():
        assert torch.equal(drawn(pixels), fixed(pixels))


def test_pictures_may_be_odd_and_oblong(drawn):
    with torch.inference_mode():
        assert drawn(noise(2, 3, 65, 47)).shape == (2, 1000)
        assert build_efficientnet(LITE0 | {"num_labels": 7}, seed=0)(noise(1, 3, 33, 40)).shape == (1, 7)


def test_its_layers_are_the_stem_and_the_blocks_bit_for_bit(drawn):
    names = layers_of(drawn)
    caught: dict[str, torch.Tensor] = {}
    handles = [
        drawn.get_submodule(name).register_forward_hook(lambda module, given, out, at=name: caught.update({at: out}))
        for name in names
    ]
    pixels = noise(1, 3, 64, 64)
    with torch.inference_mode():
        logits = drawn(pixels)
        for handle in handles:
            handle.remove()
        x = drawn._bn0(drawn._conv_stem(pixels))
        assert torch.equal(caught["_bn0"], x)
        assert x.min() < 0
        x = x.clamp(0, 6)
        for number, block in enumerate(drawn._blocks):
            x = block(x)
            assert torch.equal(caught[f"_blocks.{number}"], x)
        head = drawn._bn1(drawn._conv_head(x)).clamp(0, 6).mean((2, 3))
        torch.testing.assert_close(drawn._fc(head), logits)
    assert names == list(caught)


@pytest.mark.parametrize(
    ("variant", "blocks", "widths"),
    [
        ("efficientnet-lite0", 16, (16, 320)),
        ("efficientnet-lite1", 21, (16, 320)),
        ("efficientnet-lite2", 21, (16, 352)),
    ],
)
def test_the_family_grows(variant, blocks, widths):
    network = build_efficientnet({"variant": variant})
    names = layers_of(network)
    assert len(names) == blocks + 1
    assert tuple(network.get_submodule(f"{names[k]}._bn2").num_features for k in (1, -1)) == widths


def test_untrained_weights_are_drawn_as_before_training_and_by_their_seed(drawn):
    before = torch.random.get_rng_state()
    again, other = build_efficientnet(LITE0, seed=0), build_efficientnet(LITE0, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(drawn.state_dict().values(), again.state_dict().values()))
    assert not torch.equal(drawn._conv_stem.weight, other._conv_stem.weight)
    assert float(drawn._conv_head.weight.detach().std()) == pytest.approx(math.sqrt(2 / 1280), rel=0.01)
    depthwise = drawn._blocks[15]._depthwise_conv.weight.detach()  # 3 × 3, each channel alone
    assert float(depthwise.std()) == pytest.approx(math.sqrt(2 / 9), rel=0.02)
    assert float(drawn._fc.weight.detach().abs().max()) == pytest.approx(1 / math.sqrt(1000), rel=0.01)
    assert not drawn.training


def test_what_is_not_there_is_said(monkeypatch):
    with pytest.raises(InputError, match=r"names its variant; found 'efficientnet-b0', did you mean 'efficient"):
        build_efficientnet({"variant": "efficientnet-b0"})
    with pytest.raises(InputError, match=r"names its variant; found None, known: 'efficientnet-lite0'"):
        build_efficientnet({})
    monkeypatch.setattr("brainalign.errors.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"needs efficientnet_lite_pytorch: run `pip install 'brainalign\[vision"):
        build_efficientnet(LITE0)
