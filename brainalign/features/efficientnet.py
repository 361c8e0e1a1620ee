"""How is an EfficientNet-Lite built, and what are its layers called?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from brainalign.errors import InputError, did_you_mean, need_package
from brainalign.features.loading import seeded

if TYPE_CHECKING:
    from torch import nn

MODEL_TYPE = "efficientnet-lite"  # what a folder's config.json says of itself
PACKAGE = "efficientnet-lite-pytorch"  # what builds it
CLASSES = 1000  # of ImageNet
VARIANTS = tuple(f"{MODEL_TYPE}{size}" for size in range(5))


def build_efficientnet(config: Mapping[str, Any], seed: int | None = None) -> nn.Module:
    """The network of an EfficientNet-Lite with random weights, ready for those of its file.

    Parameters
    ----------
    config : mapping
        What the folder's config.json says: `variant` ("efficientnet-lite0" to "efficientnet-lite4") and, where they
        are not 1,000, `num_labels`.
    seed : int, optional
        Draws the weights as TensorFlow's original draws them before training: kernels from a normal distribution of
        variance 2 / fan-out, the last layer uniformly between ±1 / √classes. Without one they are left to be
        overwritten.

    Returns
    -------
    torch.nn.Module
        In evaluation mode, (n, 3, height, width) → (n, classes) logits. Pictures may have any size: convolutions pad
        to ⌈size / stride⌉, which at the size it was trained on is what fixed padding does.

    Raises
    ------
    InputError
        The configuration names no variant.
    SettingsError
        The vision extra is not installed.

    References
    ----------
    Tan & Le (2019), EfficientNet, ICML, arXiv:1905.11946; the Lite variants (TensorFlow, 2020) have no squeeze and
    excitation, and ReLU6 for swish.

    Examples
    --------
    >>> network = build_efficientnet({"variant": "efficientnet-lite0"})
    >>> len(layers_of(network))
    17
    """
    variant = config.get("variant")
    if variant not in VARIANTS:
        raise InputError(
            f"an EfficientNet-Lite's config.json names its variant; found {variant!r}, "
            + did_you_mean(str(variant), VARIANTS)
        )
    need_package("efficientnet_lite_pytorch", extra="vision", what=variant)
    from efficientnet_lite_pytorch import EfficientNet

    with seeded(seed or 0):
        network = EfficientNet.from_name(variant, image_size=None, num_classes=config.get("num_labels", CLASSES))
        if seed is not None:
            _draw(network)
    return network.eval()


def _draw(network: nn.Module) -> None:
    """Random weights as the original draws them; normalisations begin as none."""
    from torch import nn

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        elif isinstance(module, nn.Linear):
            limit = 1 / math.sqrt(module.out_features)
            nn.init.uniform_(module.weight, -limit, limit)
            nn.init.zeros_(module.bias)


def layers_of(network: nn.Module) -> list[str]:
    """The names of its layers in order, for forward hooks: the stem, which is layer 0, then the blocks.

    The stem is taken after its normalisation and before its activation, so that all layers are what a block is, sums
    that no activation has cut, and that layer 0 is an affine function of the picture as in a vision transformer.

    Examples
    --------
    >>> layers_of(build_efficientnet({"variant": "efficientnet-lite1"}))[:3]
    ['_bn0', '_blocks.0', '_blocks.1']
    """
    return ["_bn0", *(f"_blocks.{number}" for number, _ in enumerate(network.get_submodule("_blocks").children()))]
