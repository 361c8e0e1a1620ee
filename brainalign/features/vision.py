"""What does a vision model make of each picture, layer by layer?"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from brainalign.errors import SettingsError
from brainalign.features.efficientnet import MODEL_TYPE
from brainalign.features.hooks import outputs_of
from brainalign.features.layout import Layout, States, laid_out, layout_of
from brainalign.features.loading import (
    IMAGE_TEXT,
    Dtype,
    ResolvedModel,
    build_network,
    choose_device,
    loading,
    need_language_extra,
    source_of,
)
from brainalign.features.models import settled_config
from brainalign.features.preprocessing import Preprocessing, load_preprocessor, preprocessing_of

if TYPE_CHECKING:
    from brainalign.features.modules import Prepared

VisionKind = Literal["vision", "image-text", "vision-language", "modules"]


@dataclass(frozen=True, eq=False)
class VisionModel:
    """A model that was loaded, ready to see.

    Parameters
    ----------
    name : str
        What bands are called after.
    kind : {"vision", "image-text", "vision-language", "modules"}
        A model of transformers that takes pictures; one that also has a tower for texts, to compare them with pictures;
        a language model that reads a picture and a prompt; any network whose layers are the outputs of its modules.
    network : torch module
        The whole model.
    preprocessing : Preprocessing or Prepared
        What decides the pixels it sees.
    prepare : function
        Pictures (and a prompt) → what the network takes, bit for bit as the model's own processor makes it.
    layout : Layout
        How its tokens are ordered.
    names : tuple of str
        Of "modules": those that are its layers, in order.
    """

    name: str
    kind: VisionKind
    network: Any
    preprocessing: Preprocessing | Prepared
    prepare: Callable[..., Any]
    layout: Layout = field(default_factory=Layout)
    names: tuple[str, ...] = ()


def load_vision(
    found: ResolvedModel, device: str = "auto", dtype: Dtype = "float32", size: int | None = None
) -> VisionModel:
    """A model that takes pictures, with its own preprocessing.

    Parameters
    ----------
    found : ResolvedModel
        From `locate_model` or `untrained`. The batch normalisation of an untrained twin has a running mean of 0 and a
        running variance of 1: it leaves what comes as it is.
    device : str
        What torch calls it; "auto" is the first GPU, else the CPU.
    dtype : {"float32", "float16", "bfloat16"}
        Of the weights, and of what is computed with them.
    size : int, optional
        Pixels of each side that the model sees, instead of its own (`preprocessing_of` says how pictures get there).
        Position embeddings are interpolated, as the model's own code does it.

    Returns
    -------
    VisionModel
        Code that comes with a model is never run, and only safetensors weights are read. The encoder of a masked
        autoencoder sees the whole picture: nothing is masked.

    Raises
    ------
    InputError
        It cannot be loaded, or weights are missing from it.
    SettingsError
        The extra is not installed, there is no such device, the model takes no pictures, takes more than pictures, or
        cannot see at this size; its folder does not say how pictures are prepared.
    """
    need_language_extra("vision models")
    preprocessing = preprocessing_of(found, size)
    content = settled_config(found)
    if content.get("model_type") == MODEL_TYPE:
        network, names = _efficientnet(found, content)
        kind, prepare, layout = "modules", load_preprocessor(preprocessing), Layout()
    else:
        kind, network, prepare = _of_transformers(found, preprocessing, dtype)
        names, layout = (), layout_of(network)
    import torch

    network = network.to(choose_device(device), getattr(torch, dtype)).eval()
    model = VisionModel(found.name, kind, network, preprocessing, prepare, layout, names)
    if kind != "vision-language":
        _try_out(model)
    return model


def _of_transformers(
    found: ResolvedModel, preprocessing: Preprocessing, dtype: Dtype
) -> tuple[VisionKind, Any, Callable[..., Any]]:
    """Kind, network, and what prepares pictures for it."""
    from transformers import AutoConfig

    with loading(found):
        config = AutoConfig.from_pretrained(found.place, **source_of(found))
        kind = vision_kind_of(config)
        if kind is None:
            raise SettingsError(
                f"model {found.name!r} takes no pictures: its architecture, {config.model_type}, is not one that "
                "transformers can use as a vision, image–text or vision–language model"
            )
        if kind == "vision-language":
            from brainalign.features.prompted import load_prompted

            if preprocessing.size is not None:
                raise SettingsError(f"size is not for vision–language models such as {found.name!r}: leave it out")
            return kind, *load_prompted(found, config, dtype)
        if config.model_type == "vit_mae":
            config.mask_ratio = 0.0
        network, _ = build_network(found, "AutoModel", config, dtype, _spare)
    return kind, network, load_preprocessor(preprocessing)


def vision_kind_of(config: Any) -> VisionKind | None:
    """What a model of transformers with this configuration takes; None: no pictures."""
    from transformers.models.auto import modeling_auto as auto

    family = config.model_type
    if family in IMAGE_TEXT:
        return "image-text"
    if family in auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return "vision-language"
    bare = auto.MODEL_MAPPING.get(type(config), None)
    return "vision" if getattr(bare, "main_input_name", None) == "pixel_values" else None


def _spare(network: Any) -> set[str]:
    """What hidden states do without: what makes one vector of the last, and what training hides patches with."""
    return {key for key in network.state_dict() if key.startswith("pooler.") or key.endswith("mask_token")}


def _efficientnet(found: ResolvedModel, config: dict[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """A network that is none of transformers', and the names of its layers."""
    from safetensors.torch import load_file

    from brainalign.features.efficientnet import build_efficientnet, layers_of

    network = build_efficientnet(config, seed=found.seed)
    if found.seed is None:
        with loading(found):
            parts = [load_file(path) for path in sorted(Path(found.place).glob("*.safetensors"))]
            network.load_state_dict({name: weight for part in parts for name, weight in part.items()}, strict=True)
    return network, tuple(layers_of(network))


def see(
    model: VisionModel, pictures: Sequence[np.ndarray], prompt: str | None = None, names: Sequence[str] | None = None
) -> States:
    """All layers of some pictures, from one pass.

    Parameters
    ----------
    model : VisionModel
    pictures : list of (height, width, 3) uint8 arrays
        RGB, each of any size.
    prompt : str, optional
        What a vision–language model is asked about each picture.
    names : list of str, optional
        Modules (`network.named_modules`) whose outputs are taken, instead of the model's own layers.

    Returns
    -------
    States
        Layers as transformers gives `hidden_states`: 0 is the embedding, L the last block. Of vision transformers (ViT,
        DINOv2, CLIP, SigLIP) the final norm, which follows the last block, is not in it; of the language model of a
        vision–language model it is.

    Raises
    ------
    InputError
        An array that is no picture.
    SettingsError
        A prompt that the model does not take, or none where it needs one; no such module, or one that gives something
        else than states of each picture.
    """
    import torch

    if model.kind == "vision-language":
        return _with_prompt(model, pictures, prompt, names)
    if prompt is not None:
        raise SettingsError(f"model {model.name!r} reads no prompt: leave it out")
    pixels = _placed(model, pictures)
    names, embedding = names or model.names, None
    with torch.inference_mode():
        if names:
            layers = outputs_of(model.network, names, lambda: _run(model, pixels), torch.clone)
        else:
            out = _run(model, pixels, output_hidden_states=True)
            layers = getattr(out, "hidden_states", None)
            if layers is None:
                raise SettingsError(
                    f"model {model.name!r} ({type(model.network).__name__}) gives no hidden states of pictures: name "
                    f"modules of it, such as {next(iter(dict(model.network.named_children())))!r}"
                )
            if model.kind == "image-text":
                embedding = torch.nn.functional.normalize(out.pooler_output.float(), dim=-1)
    return laid_out(layers, names, pixels.shape, model.layout, model.name, embedding)


def _placed(model: VisionModel, pictures: Sequence[np.ndarray]) -> Any:
    """What the network takes, where its weights are, if it has any."""
    pixels = model.prepare(pictures)
    weight = next(model.network.parameters(), pixels)
    return pixels.to(weight.device, weight.dtype)


def _with_prompt(
    model: VisionModel, pictures: Sequence[np.ndarray], prompt: str | None, names: Sequence[str] | None
) -> States:
    from brainalign.features.prompted import read_together

    if prompt is None:
        raise SettingsError(
            f"model {model.name!r} reads a picture together with what is asked about it: say it, such as "
            "prompt='What is in this picture?'"
        )
    if names:
        raise SettingsError(f"modules are not for vision–language models such as {model.name!r}: ask for layers")
    layers, image, said = read_together(model.network, model.prepare(pictures, prompt), model.name)
    return States(layers, (None,) * len(layers), (Layout(),) * len(layers), image=image, prompt=said)


def _run(model: VisionModel, pixels: Any, **asked: Any) -> Any:
    """The network's own output."""
    if model.kind == "modules":
        return model.network(pixels)
    images_only = model.kind == "image-text"
    call = model.network.get_image_features if images_only else model.network
    takes = inspect.signature(call if images_only else model.network.forward).parameters
    if model.preprocessing.size is not None and "interpolate_pos_encoding" in takes:
        asked["interpolate_pos_encoding"] = True
    if getattr(model.network.config, "model_type", "") == "vit_mae":
        import torch

        rows, columns = (n // side for n, side in zip(pixels.shape[-2:], model.layout.patch or (1, 1)))
        # a masked autoencoder orders its patches by random numbers: with these they stay in order
        asked["noise"] = torch.arange(rows * columns, device=pixels.device).expand(len(pixels), -1)
    return call(pixel_values=pixels, **asked)


def _try_out(model: VisionModel) -> None:
    """Refuse, after one grey picture, a model that takes more than pictures, or not of this size."""
    import torch

    size, patch = model.preprocessing.size, model.layout.patch
    pixels = _placed(model, [np.full((size or 32, size or 32, 3), 128, np.uint8)])
    try:
        with torch.inference_mode():
            out = _run(model, pixels)
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        said = str(error).strip().splitlines()[0]
        if size is None:
            does = "takes more than pictures, or other pictures than its preprocessing gives"
        else:
            does = f"cannot see at {size} × {size}"
        raise SettingsError(f"model {model.name!r} {does}: {said}") from error
    has_tokens = getattr(getattr(out, "last_hidden_state", None), "ndim", 0) == 3
    if size is not None and has_tokens and patch and (size % patch[0] or size % patch[1]):
        below = size // patch[0] * patch[0]
        near = f"{below} or {below + patch[0]}" if below else f"{patch[0]}"
        raise SettingsError(
            f"size is a multiple of {patch[0]}, the patch of model {model.name!r}: {near}; found {size}"
        )
