"""How does a network of one's own take part, whichever torch module it is?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from brainalign.errors import SettingsError, need_package
from brainalign.features.hooks import modules_of
from brainalign.features.layout import Layout
from brainalign.features.loading import Dtype, choose_device
from brainalign.features.preprocessing import as_images
from brainalign.provenance import hash_array, versions
from brainalign.store import key_of

Interpolation = Literal["nearest", "bilinear", "bicubic"]
RESAMPLE = {"nearest": 0, "bilinear": 2, "bicubic": 3}  # as Pillow numbers them
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Prepared:
    """What decides the pixels a network of one's own sees; `vision_module` says what is what."""

    size: int
    resize: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Interpolation

    def describe(self) -> dict[str, Any]:
        """All that decides the pixels, for the key of what is computed from them."""
        made_by = {package: version.split(".")[0] for package, version in versions("pillow", "transformers").items()}
        settings = {"resize": self.resize, "mean": self.mean, "std": self.std, "interpolation": self.interpolation}
        return {"settings": settings, "size": self.size, "versions": made_by}


@dataclass(frozen=True, eq=False)
class VisionModule:
    """A torch module that takes pictures; `vision_module` makes one.

    Parameters
    ----------
    name : str
    network : torch module
    layers : tuple of str
        The modules that count as its layers, from the first to the last.
    prepared : Prepared
    revision : str
        Made of its parts and their weights.
    layout : Layout
        Which tokens of a layer stand before the patches.
    """

    name: str
    network: Any
    layers: tuple[str, ...]
    prepared: Prepared
    revision: str
    layout: Layout = field(default_factory=Layout)

    def __repr__(self) -> str:
        return f"VisionModule({self.name!r}, {len(self.layers)} layers, {self.prepared.size} pixels)"


def vision_module(
    network: Any,
    layers: Sequence[str],
    *,
    name: str,
    size: int = 224,
    resize: int | None = None,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    interpolation: Interpolation = "bicubic",
    class_token: int | None = None,
    n_special: int = 0,
) -> VisionModule:
    """A torch module of your own for `embed_images`, its layers named as `network.named_modules` names them.

    Pictures are resized so that the shorter side has `resize` pixels, the middle `size` × `size` of them are cut out,
    divided by 255, and standardised: (x − `mean`) / `std` for red, green and blue.

    Parameters
    ----------
    network : torch module
        Takes (n, 3, size, size) float; in evaluation mode (`network.eval()`). It is not changed, nor may you change it
        afterwards: `embed_images` refuses one that was.
    layers : list of str
        Modules whose outputs are its layers, in order; taken with forward hooks. Each gives (n, channels, rows,
        columns), (n, tokens, width) or (n, width).
    name : str
        What bands are called after.
    size, resize : int
        Pixels; `resize` is `size` unless said otherwise, so that no margin is cut off.
    mean, std : three float
        ImageNet's unless said otherwise.
    interpolation : {"nearest", "bilinear", "bicubic"}
        Pillow's, which smooths what it makes smaller.
    class_token, n_special : int
        Of a transformer: which token stands for the whole picture (None: none does), and how many tokens stand before
        the patches, it and registers. ``pool="class"`` takes the one, ``pool="mean"`` leaves the others out. A layer
        whose number of tokens is a square, but is none without `n_special` of them, is taken to be of patches alone.

    Returns
    -------
    VisionModule
        What is computed with it is found again in a store by the names and values of its weights and buffers (those too
        that it does not save), and how it prints itself; a change that shows in none of these (of the code in
        `forward`) is not seen: give it another `name`, which counts too.

    Raises
    ------
    SettingsError
        No torch module, one in training mode, no such layer, preprocessing or tokens that cannot be.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
    >>> vision_module(network, ["1"], size=16, name="tiny")
    VisionModule('tiny', 1 layers, 16 pixels)
    """
    import torch

    if not isinstance(network, torch.nn.Module):
        raise SettingsError(f"network is a torch module; found a {type(network).__name__}")
    _check_evaluating(network)
    names = (layers,) if isinstance(layers, str) else tuple(layers) if isinstance(layers, Iterable) else ()
    if not names or not all(isinstance(one, str) for one in names) or len(set(names)) < len(names):
        raise SettingsError(f"layers are different names of modules, at least one; found {layers!r}")
    modules_of(network, names)
    prepared = _prepared(size, resize, mean, std, interpolation)
    layout = _layout(class_token, n_special)
    return VisionModule(name, network, names, prepared, _revision(name, network, names, layout), layout)


def check_unchanged(module: VisionModule) -> None:
    """Refuse a network that is no more what it was when `vision_module` took it.

    Raises
    ------
    SettingsError
        It is in training mode, or its weights, buffers or parts are others.
    """
    _check_evaluating(module.network)
    if _revision(module.name, module.network, module.layers, module.layout) != module.revision:
        raise SettingsError(
            f"the network of {module.name!r} was changed after vision_module() took it, so what is in a store is not "
            "what it gives now: call vision_module() again"
        )


def _check_evaluating(network: Any) -> None:
    if any(module.training for module in network.modules()):
        raise SettingsError(
            "the network is in training mode, in which dropout and batch normalisation make a picture's states depend "
            "on chance and on other pictures: call network.eval() first"
        )


def _revision(name: str, network: Any, layers: Sequence[str], layout: Layout) -> str:
    """The same for the same network; buffers that are not saved (tables of positions, masks) are part of it."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    weights = {key: hash_array(_array(tensor)) for key, tensor in tensors}
    tokens = [layout.class_token, layout.n_special]
    return key_of(name=name, prints=str(network), weights=weights, layers=layers, tokens=tokens)


def _array(tensor: Any) -> np.ndarray:
    import torch

    tensor = tensor.detach().cpu()
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor.float()).numpy()


def _layout(class_token: Any, n_special: Any) -> Layout:
    for number in (n_special, 0 if class_token is None else class_token):
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 0:
            raise SettingsError(
                "class_token is the place of a token or None, n_special how many tokens stand before the patches; "
                f"found {class_token!r} and {n_special!r}"
            )
    if class_token is not None and class_token >= n_special:
        raise SettingsError(
            f"class_token={class_token} is one of the n_special tokens before the patches, counted from 0; found "
            f"n_special={n_special}: a ViT without registers has class_token=0, n_special=1"
        )
    return Layout(None if class_token is None else int(class_token), int(n_special))


def _prepared(size: Any, resize: Any, mean: Any, std: Any, interpolation: Any) -> Prepared:
    resize = size if resize is None else resize
    if any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1 for n in (size, resize)):
        raise SettingsError(f"size and resize are whole numbers of pixels; found {size!r} and {resize!r}")
    if resize < size:
        raise SettingsError(f"resize is at least size: a picture of {resize} pixels has no middle of {size}")
    if not (_three(mean) and _three(std)) or min(std) <= 0:
        raise SettingsError(f"mean and std are three numbers each, std above 0; found {mean!r} and {std!r}")
    if interpolation not in get_args(Interpolation):
        raise SettingsError(f"interpolation is one of {', '.join(map(repr, RESAMPLE))}; found {interpolation!r}")
    return Prepared(int(size), int(resize), tuple(map(float, mean)), tuple(map(float, std)), interpolation)


def _three(numbers: Any) -> bool:
    try:
        found = np.asarray(numbers, float)
    except (TypeError, ValueError):
        return False
    return found.shape == (3,) and bool(np.isfinite(found).all())


def resized(module: VisionModule, size: int | None) -> Prepared:
    """How its pictures are prepared, or would be at another size: the whole middle square then."""
    if size is None:
        return module.prepared
    now = module.prepared
    return _prepared(size, None, now.mean, now.std, now.interpolation)


def preparing(prepared: Prepared) -> Callable[[Sequence[np.ndarray]], Any]:
    """What turns pictures, (height, width, 3) uint8 each, into (n, 3, size, size) float32."""
    need_package("PIL", extra="vision", what="preparing pictures")
    from transformers import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil(
        size={"shortest_edge": prepared.resize},
        crop_size={"height": prepared.size, "width": prepared.size},
        image_mean=list(prepared.mean),
        image_std=list(prepared.std),
        resample=RESAMPLE[prepared.interpolation],
        do_convert_rgb=False,
    )
    return lambda pictures: processor(images=as_images(pictures, prepared.resize), return_tensors="pt")["pixel_values"]


def placed(module: VisionModule, device: str, dtype: Dtype) -> Any:
    """The network on a device and of a type; a copy where that is not how it is."""
    import torch

    device, wanted = choose_device(device), getattr(torch, dtype)
    tensors = [*module.network.parameters(), *module.network.buffers()]
    if all(t.device.type == torch.device(device).type and t.dtype in (wanted, torch.int64) for t in tensors):
        return module.network
    return deepcopy(module.network).to(device, wanted)
