"""What does a vision model make of each picture, layer by layer?"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from brainalign.errors import SettingsError
from brainalign.features.loading import (
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

VisionKind = Literal["vision", "image-text", "vision-language", "convolutional"]

# what transformers' embeddings call the tokens that stand before the patches
CLASS_TOKENS = ("cls_token", "class_embedding")
OTHER_TOKENS = ("distillation_token", "register_tokens")
# weights that hidden states do without: what makes one vector of the last ones, and what training hides patches with
UNREAD = ("pooler.", "mask_token")
EFFICIENTNET = "efficientnet-lite"


@dataclass(frozen=True, eq=False)
class VisionModel:
    """A model that was loaded, ready to see.

    Parameters
    ----------
    name : str
        What bands are called after.
    kind : {"vision", "image-text", "vision-language", "convolutional"}
        A model of transformers that takes pictures; one that also has a tower for texts to compare them with; a
        language model that reads a picture and a prompt; a network whose layers are the outputs of its modules.
    network : torch module
        The whole model.
    preprocessing : Preprocessing
        What decides the pixels it sees.
    prepare : function
        Pictures → what the network takes, bit for bit as the model's own processor does it.
    class_token : int or None
        Which token stands for the whole picture.
    n_special : int
        How many tokens stand before the patches: the class token, registers, a distillation token.
    patch : (int, int) or None
        Rows and columns of pixels of a patch.
    names : tuple of str or None
        The modules whose outputs are its layers; None: its hidden states are.
    """

    name: str
    kind: VisionKind
    network: Any
    preprocessing: Preprocessing
    prepare: Callable[..., Any]
    class_token: int | None = None
    n_special: int = 0
    patch: tuple[int, int] | None = None
    names: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class States:
    """What a model made of some pictures.

    Parameters
    ----------
    layers : tuple of tensor
        Each (n, n_tokens, width), or (n, channels, rows, columns) where a layer is a stack of maps.
    grids : tuple of (rows, columns) or None
        How the patches of each layer lie in the picture: row by row from the upper left. None: they are not known to.
    class_token : int or None
        Which token stands for the whole picture.
    n_special : int
        How many tokens stand before the patches.
    embedding : tensor (n, width), optional
        Of an image–text model: the projected picture, of length 1, which is compared with the projected text.
    image, prompt : bool tensor (n, n_tokens), optional
        Of a vision–language model: which tokens stand for the picture, and which for what else was said (the words of
        the chat's template too). Neither: padding.
    """

    layers: tuple[Any, ...]
    grids: tuple[tuple[int, int] | None, ...]
    class_token: int | None = None
    n_special: int = 0
    embedding: Any = None
    image: Any = None
    prompt: Any = None


def load_vision(
    found: ResolvedModel, device: str = "auto", dtype: Dtype = "float32", size: int | None = None
) -> VisionModel:
    """A model that takes pictures, with its own preprocessing.

    Parameters
    ----------
    found : ResolvedModel
        From `locate_model` or `untrained`. An untrained twin with batch normalisation has a running mean of 0 and a
        running variance of 1: it does not normalise.
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
    if content.get("model_type") == EFFICIENTNET:
        from brainalign.features.efficientnet import layers_of

        kind, network, config = "convolutional", _efficientnet(found, content, dtype), None
        names = tuple(layers_of(network))
    else:
        from transformers import AutoConfig

        with loading(found):
            config = AutoConfig.from_pretrained(found.place, **source_of(found))
            kind = vision_kind_of(config)
            if kind is None:
                raise SettingsError(
                    f"model {found.name!r} takes no pictures: its architecture, {config.model_type}, is not one that "
                    "transformers can use as a vision, image–text or vision–language model"
                )
            if config.model_type == "vit_mae":
                config.mask_ratio = 0.0
            network, _ = build_network(found, "AutoModel", config, dtype, _spare)
            names = None
    network = network.to(choose_device(device)).eval()
    special, n_special = _special_tokens(network)
    model = VisionModel(
        name=found.name,
        kind=kind,
        network=network,
        preprocessing=preprocessing,
        prepare=load_preprocessor(preprocessing),
        class_token=special,
        n_special=n_special,
        patch=_patch_of(config),
        names=names,
    )
    _check(model)
    return model


def vision_kind_of(config: Any) -> VisionKind | None:
    """What a model of transformers with this configuration takes; None: no pictures."""
    from transformers.models.auto import modeling_auto as auto

    family = config.model_type
    if family in auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES:
        return "image-text"
    if family in auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return "vision-language"
    bare = auto.MODEL_MAPPING.get(type(config), None)
    return "vision" if getattr(bare, "main_input_name", None) == "pixel_values" else None


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
        Modules (`network.named_modules`) whose outputs are the layers, instead of the model's hidden states.

    Returns
    -------
    States
        As transformers gives `hidden_states`: 0 is the embedding, L the last block. What vision transformers do after
        the last block, the final norm, is not in it (DINOv2, ViT, CLIP, SigLIP).

    Raises
    ------
    InputError
        An array that is no picture.
    SettingsError
        A prompt for a model that takes none, or no layers in a model of another kind.
    """
    import torch

    if prompt is not None:
        raise SettingsError(f"model {model.name!r} reads no prompt: leave it out")
    weight = next(model.network.parameters())
    pixels = model.prepare(pictures).to(weight.device, weight.dtype)
    names = names or model.names
    with torch.inference_mode():
        if names:
            from brainalign.features.hooks import outputs_of

            layers = tuple(outputs_of(model.network, names, lambda: _run(model, pixels), torch.clone))
            embedding = None
        else:
            out = _run(model, pixels, output_hidden_states=True)
            layers = getattr(out, "hidden_states", None)
            if layers is None:
                raise SettingsError(
                    f"model {model.name!r} ({type(model.network).__name__}) gives no hidden states of pictures: name "
                    f"modules, such as {_some(model)}"
                )
            embedding = out.pooler_output if model.kind == "image-text" else None
        if embedding is not None:
            embedding = torch.nn.functional.normalize(embedding.float(), dim=-1)
    grids = tuple(grid_of(layer.shape, pixels.shape[-2:], model.patch, model.n_special) for layer in layers)
    return States(tuple(layers), grids, model.class_token, model.n_special, embedding)


def grid_of(
    shape: Sequence[int], pixels: Sequence[int], patch: tuple[int, int] | None, n_special: int
) -> tuple[int, int] | None:
    """How the patches of a layer lie: rows and columns; None where its tokens are no grid.

    A transformer whose patches are merged on the way halves the grid, rounding up.

    Examples
    --------
    >>> grid_of((1, 17, 32), pixels=(32, 32), patch=(8, 8), n_special=1)
    (4, 4)
    >>> grid_of((1, 6, 32), pixels=(32, 48), patch=(8, 8), n_special=0)
    (2, 3)
    >>> grid_of((1, 64, 7, 5), pixels=(224, 160), patch=None, n_special=0)
    (7, 5)
    """
    if len(shape) == 4:
        return int(shape[2]), int(shape[3])
    if len(shape) != 3 or patch is None:
        return None
    rows, columns, wanted = pixels[0] // patch[0], pixels[1] // patch[1], shape[1] - n_special
    while rows * columns > wanted and rows * columns > 1:
        rows, columns = -(-rows // 2), -(-columns // 2)
    return (rows, columns) if rows * columns == wanted else None


def _run(model: VisionModel, pixels: Any, **asked: Any) -> Any:
    """The network's own output."""
    if model.kind == "convolutional":
        return model.network(pixels)
    call = model.network.get_image_features if model.kind == "image-text" else model.network
    takes = inspect.signature(model.network.get_image_features if model.kind == "image-text" else model.network.forward)
    if model.preprocessing.size is not None and "interpolate_pos_encoding" in takes.parameters:
        asked["interpolate_pos_encoding"] = True
    if getattr(model.network.config, "mask_ratio", None) == 0 and "noise" in takes.parameters and model.patch:
        import torch

        n_patches = (pixels.shape[-2] // model.patch[0]) * (pixels.shape[-1] // model.patch[1])
        # a masked autoencoder orders its patches by random numbers: these keep them in order
        asked["noise"] = torch.arange(n_patches, device=pixels.device).expand(len(pixels), -1)
    return call(pixel_values=pixels, **asked)


def _spare(network: Any) -> set[str]:
    return {key for key in network.state_dict() if key.startswith(UNREAD[0]) or key.endswith(UNREAD[1])}


def _efficientnet(found: ResolvedModel, config: dict[str, Any], dtype: Dtype) -> Any:
    """A network that is none of transformers', with its weights or drawn ones."""
    from pathlib import Path

    import torch
    from safetensors.torch import load_file

    from brainalign.features.efficientnet import build_efficientnet

    network = build_efficientnet(config, seed=found.seed)
    if found.seed is None:
        weights: dict[str, Any] = {}
        with loading(found):
            for path in sorted(Path(found.place).glob("*.safetensors")):
                weights |= load_file(path)
            network.load_state_dict(weights, strict=True)
    return network.to(getattr(torch, dtype))


def _special_tokens(network: Any) -> tuple[int | None, int]:
    """Which token stands for the whole picture, and how many tokens stand before the patches."""
    tower = getattr(network, "vision_model", network)
    counts = dict.fromkeys((*CLASS_TOKENS, *OTHER_TOKENS), 0)
    for name, weight in tower.named_parameters():
        module, _, last = name.rpartition(".")
        if last in counts and module.rpartition(".")[2] == "embeddings":
            counts[last] = weight.shape[1] if weight.dim() == 3 else 1
    return (0 if any(counts[name] for name in CLASS_TOKENS) else None), sum(counts.values())


def _patch_of(config: Any) -> tuple[int, int] | None:
    """Rows and columns of pixels of a patch, where patches do not overlap or say how far they lie apart."""
    of = getattr(config, "vision_config", config)
    patch = getattr(of, "patch_stride", None) or getattr(of, "patch_size", None)
    if isinstance(patch, int):
        return patch, patch
    return (int(patch[0]), int(patch[1])) if patch is not None and len(patch) == 2 else None


def _check(model: VisionModel) -> None:
    """Try a model on a grey picture: does it take pictures alone, and of this size?"""
    import torch

    size = model.preprocessing.size
    if model.kind == "convolutional":
        return
    side = size or 32
    try:
        layers = see(model, [np.full((side, side, 3), 128, np.uint8)]).layers
    except (ValueError, RuntimeError, TypeError) as error:
        if isinstance(error, (SettingsError, torch.OutOfMemoryError)):
            raise
        said = str(error).strip().splitlines()[0]
        if size is not None:
            raise SettingsError(
                f"model {model.name!r} cannot see at {size} × {size}: {said}; leave size out"
            ) from error
        raise SettingsError(
            f"model {model.name!r} does not take pictures alone, as brainalign gives them: {said}"
        ) from error
    if size is not None and layers[0].ndim == 3 and model.patch and (size % model.patch[0] or size % model.patch[1]):
        patch = model.patch[0]
        raise SettingsError(
            f"size is a multiple of {patch}, the patch of model {model.name!r}: {size // patch * patch} or "
            f"{(size // patch + 1) * patch}; found {size}"
        )


def _some(model: VisionModel) -> str:
    """A few names of modules."""
    names = [name for name, _ in model.network.named_children()]
    return ", ".join(map(repr, names[:4]))
