"""What may a study say of features that are made of pictures and film?"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from brainalign.features.cards import Sense
from brainalign.study.section import LAYER_WORDS, Held, Layered, Layers, Network, Reduced, check_layers


class OfPictures(Held):
    """What is said of any feature that is made of pictures: those that the events name, or the frames of a film."""

    column: str = "stim_file"  # of the events
    rate: float = Field(default=2.0, gt=0)  # frames a second that are taken from a film
    unreadable: Literal["error", "censor"] = "error"


PROJECTED = "projected"  # the one vector of an image–text model that is compared with texts
WORDS = (*LAYER_WORDS, PROJECTED)


class Vision(OfPictures, Layered):
    """Hidden states of a vision model."""

    sense: ClassVar[Sense | None] = "pictures"

    kind: Literal["vision"]
    layers: Annotated[Layers, BeforeValidator(partial(check_layers, words=WORDS, named=True))] = "best"
    pool: Literal["mean", "class", "grid", "tokens", "last"] = "mean"
    grid: int = Field(default=4, ge=1)  # rows and columns of tiles, with pool: grid
    size: int | None = Field(default=None, ge=1)  # pixels of each side; else the model's own
    reduce: int | None = Field(default=None, ge=1)  # random mixtures that are kept of each layer
    prompt: str | None = None  # what a vision–language model is asked

    @property
    def asked(self) -> Any:
        """The layers that are computed: a list, "all", or None for the projected vector."""
        return None if self.layers == PROJECTED else super().asked

    @property
    def n_bands(self) -> int:
        """One per layer; all layers are two at least."""
        return 1 if self.layers == PROJECTED else super().n_bands


class Conse(OfPictures, Network, Reduced):
    """Where each picture lies among sentences, by the names a network gives it."""

    sense: ClassVar[Sense | None] = "pictures"

    kind: Literal["conse"]
    model: str = "efficientnet-lite0"
    sentences: str = "minilm-l6"
    top: int = Field(default=10, ge=1)
    prompt: str = "a photo of a {}"

    @field_validator("prompt")
    @classmethod
    def _blank(cls, value: str) -> str:
        if "{}" not in value:
            raise ValueError("is a sentence with {} where the name goes")
        return value


class Luminance(OfPictures):
    """How bright each picture is."""

    kind: Literal["luminance"]


class Contrast(OfPictures):
    """How much the brightness of each picture varies."""

    kind: Literal["contrast"]


class Colour(OfPictures):
    """How much of which colour each picture has."""

    kind: Literal["colour"]


class Detailed(OfPictures):
    """What is said of any feature of detail, which is counted in cycles per picture."""

    side: int = Field(default=128, ge=8)  # pixels of each side that pictures are resized to
    log: bool = False
    degrees: float | None = Field(default=None, gt=0)  # how wide a picture was seen: columns say cycles per degree too


class SpatialFrequency(Detailed):
    """How much each picture has of coarse and fine detail."""

    kind: Literal["spatial_frequency"]


class Gabor(Detailed, Reduced):
    """Energy of Gabor filters: which orientations and spatial frequencies are where."""

    kind: Literal["gabor"]
    frequencies: list[float] = Field(default=[1, 2, 4, 8, 16, 32], min_length=1)  # cycles per picture
    orientations: int = Field(default=8, ge=1)
    octaves: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _shown_by_its_pixels(self) -> Gabor:
        if min(self.frequencies) <= 0 or max(self.frequencies) > self.side / 2:
            raise ValueError(
                f"frequencies are above 0 and at most half of side ({self.side / 2:g}); found {self.frequencies}: "
                "leave the highest out, or choose a larger side"
            )
        return self


class MotionEnergy(OfPictures, Reduced):
    """Energy of spatio-temporal filters: what moves where to, and how fast."""

    kind: Literal["motion_energy"]
    rate: int = Field(default=15, ge=2)  # type: ignore[assignment]  # whole numbers only
    spatial_frequencies: list[float] = Field(default=[0, 2, 4, 8, 16], min_length=1)  # cycles per picture height
    temporal_frequencies: list[float] = Field(default=[0, 2, 4], min_length=1)  # Hz
    directions: list[float] = Field(default=[0, 45, 90, 135, 180, 225, 270, 315], min_length=1)  # degrees
    side: int = Field(default=96, ge=2)  # pixels of a frame's height
    log: bool = True

    @model_validator(mode="after")
    def _shown_by_its_frames(self) -> MotionEnergy:
        for key, frequencies, sampled in (
            ("spatial_frequencies", self.spatial_frequencies, self.side),
            ("temporal_frequencies", self.temporal_frequencies, self.rate),
        ):
            if min(frequencies) < 0 or max(frequencies) > sampled / 2:
                raise ValueError(f"{key} are from 0 to {sampled / 2:g}, half of what is sampled; found {frequencies}")
        return self


class Pixels(OfPictures, Reduced):
    """The picture itself, made small."""

    kind: Literal["pixels"]
    side: int = Field(default=32, ge=1)
    rgb: bool = False
