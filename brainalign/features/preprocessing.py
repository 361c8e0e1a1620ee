"""How does a model want its pictures prepared?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainalign.errors import InputError, SettingsError, need_package
from brainalign.features.beside import beside, read_beside
from brainalign.features.loading import ResolvedModel, loading, source_of
from brainalign.provenance import versions

# what changes when the same settings are saved again, or names what goes with them
VOLATILE = ("auto_map", "processor_class", "transformers_version", "_name_or_path")
MOST_PIXELS = 64 << 20  # a picture may have after it was resized: a thin one grows with its shorter side


@dataclass(frozen=True)
class Preprocessing:
    """What decides the pixels a model sees.

    Parameters
    ----------
    model : ResolvedModel
    settings : dict
        What `preprocessor_config.json` says (or `processor_config.json` under "image_processor", as newer folders
        have it): resizing, crop, interpolation, mean, standard deviation, size. What it leaves out is what transformers
        does by default. Of a model that also reads a prompt: the rest of `processor_config.json`, and the template of
        its chat, too.
    size : int, optional
        Pixels of each side that the model sees instead.
    """

    model: ResolvedModel
    settings: dict[str, Any]
    size: int | None = None

    def describe(self) -> dict[str, Any]:
        """All that decides the pixels, for the key of what is computed from them."""
        made_by = {package: version.split(".")[0] for package, version in versions("pillow", "transformers").items()}
        return {"settings": self.settings, "size": self.size, "versions": made_by}


def preprocessing_of(model: ResolvedModel, size: int | None = None) -> Preprocessing:
    """What a model's folder says of how pictures are prepared; nothing heavy is loaded.

    Parameters
    ----------
    model : ResolvedModel
    size : int, optional
        Let the model see `size` × `size` pixels instead of what it was made for. A model that takes the middle square
        of a picture takes the whole middle square: the shorter side is resized to `size`, and no margin is cut off
        first. One that squeezes pictures into a square (as ConvNeXt does from 384 pixels on) squeezes them into this
        one. Interpolation, mean and standard deviation stay the model's own.

    Raises
    ------
    SettingsError
        The folder does not say how pictures are prepared, or `size` is no whole number of pixels.
    """
    if size is not None and (isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1):
        raise SettingsError(f"size is a whole number of pixels, such as 224, or None (the model's own); found {size!r}")
    together = read_beside(model, "processor_config.json", dict) or {}
    settings = together.get("image_processor") or read_beside(model, "preprocessor_config.json", dict)
    if not settings:
        raise SettingsError(
            f"model {model.name!r} does not say how pictures are prepared for it: its folder has no "
            "preprocessor_config.json. Save the model's own beside the weights: "
            "`AutoImageProcessor.from_pretrained(ID).save_pretrained(FOLDER)`"
        )
    chat = beside(model, "chat_template.jinja")
    kept = {
        **_lasting(settings),
        "together": _lasting(together),
        "chat": chat.read_text(encoding="utf-8") if chat else read_beside(model, "chat_template.json", dict),
    }
    return Preprocessing(
        model, {key: value for key, value in kept.items() if value}, None if size is None else int(size)
    )


def _lasting(settings: Mapping[str, Any]) -> dict[str, Any]:
    gone = {*VOLATILE, "image_processor"}
    if settings.get("image_processor_type"):  # else it is the older name that chooses the class
        gone.add("feature_extractor_type")
    return {key: value for key, value in settings.items() if key not in gone}


def load_preprocessor(preprocessing: Preprocessing) -> Callable[[Sequence[np.ndarray]], Any]:
    """What turns pictures into what a network takes.

    Returns
    -------
    function
        List of (height, width, 3) uint8 arrays → float32 tensor (n, 3, rows, columns), bit for bit what the model's own
        image processor of transformers makes of them (the one that uses Pillow, so that it is the same wherever it
        runs; the other where there is only that).

    Raises
    ------
    SettingsError
        There is no such processor here, or it does not give pictures of the size that was asked for.
    """
    processor = load_processor(preprocessing.model, "AutoImageProcessor")
    given = {} if preprocessing.size is None else _sized(processor, preprocessing)

    edge = (given.get("size") or dict(getattr(processor, "size", None) or {})).get("shortest_edge")

    def prepare(pictures: Sequence[np.ndarray]) -> Any:
        images = as_images(pictures, edge)
        try:
            return processor(images=images, return_tensors="pt", **given)["pixel_values"]
        except ValueError as error:  # pictures of different sizes are no tensor
            raise SettingsError(
                f"the pictures do not become one batch for model {preprocessing.model.name!r}: its preprocessing "
                f"leaves them as different as they are ({_first_line(error)}); choose a size, such as size=224"
            ) from error

    if preprocessing.size is not None:
        side = preprocessing.size
        seen = tuple(prepare([np.zeros((side + 8, side + 5, 3), np.uint8)]).shape[-2:])
        if seen != (side, side):
            raise SettingsError(
                f"the pictures of model {preprocessing.model.name!r} cannot be made {side} × {side}: its preprocessing "
                f"({type(processor).__name__}) gives {seen[0]} × {seen[1]}; leave size out"
            )
    return prepare


def load_processor(model: ResolvedModel, kind: str) -> Any:
    """A processor of transformers ("AutoImageProcessor", "AutoProcessor"), one that prepares pictures with Pillow."""
    need_package("PIL", extra="vision", what=f"preparing pictures for model {model.name!r}")
    import transformers

    with loading(model):
        try:
            return getattr(transformers, kind).from_pretrained(model.place, backend="pil", **source_of(model))
        except (ImportError, AttributeError, ValueError) as error:
            if isinstance(error, ValueError) and "torchvision" not in str(error):
                raise
            raise SettingsError(
                f"what prepares pictures for model {model.name!r} needs a package that is not here (torchvision, "
                f"mostly, in the version that goes with this torch): {_first_line(error)}; install it, or choose "
                "another model"
            ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _sized(processor: Any, preprocessing: Preprocessing) -> dict[str, Any]:
    """What a processor is told so that what comes out has the size that was asked for."""
    side, own = preprocessing.size, dict(processor.size or {})
    square = {"height": side, "width": side}
    given: dict[str, Any] = {"do_resize": True, "size": {"shortest_edge": side} if "shortest_edge" in own else square}
    if getattr(processor, "do_center_crop", False):
        given["crop_size"] = square
    if hasattr(processor, "crop_pct"):  # the share of the picture that ConvNeXt's kind keeps
        given["crop_pct"] = 1.0
    return given


def as_images(pictures: Sequence[np.ndarray], edge: int | None = None) -> list[Any]:
    """Pictures as Pillow has them.

    Parameters
    ----------
    pictures : list of (height, width, 3) uint8 arrays
    edge : int, optional
        What their shorter sides will be resized to.

    Raises
    ------
    InputError
        An array that is no picture, or one that would become enormous.
    """
    from PIL import Image

    for picture in pictures:
        shape, kind = getattr(picture, "shape", None), getattr(picture, "dtype", type(picture).__name__)
        if shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape or kind != np.uint8:
            raise InputError(f"a picture is an array (height, width, 3) of uint8; found {kind} of shape {shape}")
        n_pixels = (edge or 0) ** 2 * max(shape[:2]) / min(shape[:2])
        if n_pixels > MOST_PIXELS:
            raise InputError(
                f"a picture of {shape[1]} × {shape[0]} pixels is too thin: with a shorter side of {edge}, as the model "
                f"wants it, it would have {n_pixels / 1e6:,.0f} million pixels; crop it first"
            )
    return [Image.fromarray(picture) for picture in pictures]
