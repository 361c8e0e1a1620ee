"""What may a study say of features that are made of sound?"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from brainalign.study.section import Held, Layered, Reduced


class OfSound(Held):
    """What is said of any feature that is made of sound: of files that the events name, or one for each run."""

    column: str = "stim_file"  # of the events


class Speech(OfSound, Layered):
    """Hidden states of a speech model."""

    kind: Literal["speech"]
    context_s: float = Field(default=8.0, gt=0)
    step_s: float = Field(default=0.5, gt=0)


class Mel(OfSound, Reduced):
    """The mel spectrogram: how loud it is in each band of frequencies."""

    kind: Literal["mel"]


class Envelope(OfSound):
    """How loud it is."""

    kind: Literal["envelope"]


class OnsetStrength(OfSound):
    """How much begins."""

    kind: Literal["onset_strength"]


class Pitch(OfSound):
    """How high the voice is, and whether there is one."""

    kind: Literal["pitch"]
