"""What may a study say of features that are made of sound?"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from brainalign.features.cards import Sense
from brainalign.study.section import Feature, Held, Layered, Reduced


class OfSound(Held):
    """What is said of any feature that is made of sound: of files that the events name, or of one for each run."""

    column: str = "stim_file"  # of the events
    channel: int | None = Field(default=None, ge=0)  # which is heard; else the mean of all
    unreadable: Literal["error", "censor"] = "error"


class Speech(OfSound, Layered):
    """Hidden states of a speech model."""

    sense: ClassVar[Sense | None] = None

    kind: Literal["speech"]
    context_s: float = Field(default=8.0, gt=0)  # how far back each sample hears
    step_s: float = Field(default=0.5, gt=0)  # between samples
    ahead_s: float = Field(default=0.0, ge=0)  # how much of what follows a sample may have heard
    pool: Literal["mean", "last"] = "mean"  # over the frames of a step

    @model_validator(mode="after")
    def _within_the_context(self) -> Speech:
        if self.step_s > self.context_s or self.ahead_s > self.context_s / 2:
            raise ValueError(
                "step_s is at most context_s, and ahead_s at most half of it; found "
                f"step_s {self.step_s:g}, ahead_s {self.ahead_s:g} and context_s {self.context_s:g}"
            )
        return self


class Framed(OfSound):
    """What is said of any feature that is made so many times a second."""

    rate: float = Field(default=100.0, gt=0)


class InRange(Feature):
    """What is said of any feature of a range of frequencies."""

    low_hz: float = Field(default=0.0, ge=0)
    high_hz: float = 8000.0

    @model_validator(mode="after")
    def _rising(self) -> InRange:
        if self.low_hz >= self.high_hz:
            raise ValueError(f"low_hz is below high_hz; found {self.low_hz:g} and {self.high_hz:g}")
        return self


class Banded(Framed, InRange):
    """What is said of any feature that is made of a mel spectrogram."""

    bands: int = Field(default=80, ge=1)
    window_s: float = Field(default=0.025, gt=0)


class Mel(Banded, Reduced):
    """The mel spectrogram: how loud it is in each band of frequencies."""

    kind: Literal["mel"]


class Envelope(Framed):
    """How loud it is altogether."""

    kind: Literal["envelope"]
    window_s: float | None = Field(default=None, gt=0)


class OnsetStrength(Banded):
    """How much becomes louder."""

    kind: Literal["onset_strength"]


class Pitch(Framed, InRange):
    """How high the voice is, and whether there is one."""

    kind: Literal["pitch"]
    low_hz: float = Field(default=60.0, gt=0)
    high_hz: float = 500.0
    reference_hz: float | None = Field(default=None, gt=0)
