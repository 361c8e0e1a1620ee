"""Which features may a study name?"""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from brainalign.study.kinds_of_pictures import (
    Colour,
    Conse,
    Contrast,
    Gabor,
    Luminance,
    MotionEnergy,
    Pixels,
    SpatialFrequency,
    Vision,
)
from brainalign.study.kinds_of_sound import Envelope, Mel, OnsetStrength, Pitch, Speech
from brainalign.study.kinds_of_words import (
    Category,
    Language,
    PhonemeRate,
    Sentence,
    Static,
    Surprisal,
    WordClass,
    WordFrequency,
    WordLength,
    WordPosition,
    WordRate,
)
from brainalign.study.section import Feature

OfWords = WordRate | WordLength | WordPosition | WordFrequency | PhonemeRate | WordClass
OfModels = Language | Surprisal | Sentence | Static
OfImages = Vision | Conse | Luminance | Contrast | Colour | SpatialFrequency | Gabor | MotionEnergy | Pixels
OfSounds = Speech | Mel | Envelope | OnsetStrength | Pitch
AnyFeature = Annotated[OfWords | Category | OfModels | OfImages | OfSounds, Field(discriminator="kind")]

FEATURE_KINDS: dict[str, type[Feature]] = {
    get_args(one.model_fields["kind"].annotation)[0]: one for one in get_args(get_args(AnyFeature)[0])
}
