"""What may a study say of features that are made of pictures and film?"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from brainalign.study.section import Held, Layered, Reduced


class OfPictures(Held):
    """What is said of any feature that is made of pictures: those that the events name, or the frames of a film."""

    column: str = "stim_file"  # of the events
    rate: float = Field(default=2.0, gt=0)  # frames a second that are taken from a film
    unreadable: Literal["error", "censor"] = "error"


class Vision(OfPictures, Layered):
    """Hidden states of a vision model."""

    kind: Literal["vision"]
    pool: Literal["class", "mean", "tokens", "grid"] = "mean"
    size: int | None = Field(default=None, ge=1)
    reduce: int | None = Field(default=None, ge=1)
    prompt: str | None = None


class Luminance(OfPictures):
    """How bright each picture is."""

    kind: Literal["luminance"]


class Contrast(OfPictures):
    """How much the brightness of each picture varies."""

    kind: Literal["contrast"]


class Colour(OfPictures):
    """How much of which colour each picture has."""

    kind: Literal["colour"]


class SpatialFrequency(OfPictures):
    """How much each picture has of coarse and fine detail."""

    kind: Literal["spatial_frequency"]


class Gabor(OfPictures, Reduced):
    """Energy of Gabor filters: which orientations and spatial frequencies are where."""

    kind: Literal["gabor"]


class MotionEnergy(OfPictures, Reduced):
    """Energy of spatio-temporal filters: what moves where to, and how fast."""

    kind: Literal["motion_energy"]
    rate: float = Field(default=24.0, gt=0)


class Pixels(OfPictures, Reduced):
    """The picture itself, made small."""

    kind: Literal["pixels"]
