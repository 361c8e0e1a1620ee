"""What does each feature of a study make of what was met?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from brainalign.progress import Progress, silent
from brainalign.signals import Signal
from brainalign.store import Store
from brainalign.study.kinds_of_pictures import MotionEnergy, OfPictures
from brainalign.study.kinds_of_sound import OfSound
from brainalign.study.kinds_of_words import Sentence, Static
from brainalign.study.made_of_pictures import OF_PICTURES
from brainalign.study.made_of_sound import OF_SOUND
from brainalign.study.made_of_words import OF_WORDS, check_words
from brainalign.study.making import How, Make
from brainalign.study.met import Met
from brainalign.study.section import Feature, Held, Network

MAKERS: dict[type[Feature], Make] = {**OF_WORDS, **OF_PICTURES, **OF_SOUND}

READERS: dict[type[Feature], tuple[str, ...]] = {
    OfPictures: ("pillow", "av"),
    MotionEnergy: ("pymoten",),
    OfSound: ("soundfile", "soxr", "av"),
}


@dataclass(frozen=True)
class Named:
    """One feature of a study: a Signal of its own samples (words, pictures, frames), and the bands it has."""

    settings: Feature
    signal: Signal

    @property
    def bands(self) -> list[str]:
        """Its bands, in order."""
        return self.signal.bands

    @property
    def about(self) -> Mapping[str, Any]:
        """What made it: model, revision, context, … (empty for a feature that is counted)."""
        return self.signal.attrs.get("features", {}).get(self.settings.name, {})


def extract(feature: Feature, met: Met, store: Store | None, device: str, progress: Progress = silent) -> Named:
    """What one feature makes of what was met; `progress` is told how far a model has read."""
    if not isinstance(feature, Held):
        check_words(feature, met.events)
    return Named(feature, MAKERS[type(feature)](feature, met, How(device, store, progress)))


def reads_a_model(feature: Feature) -> bool:
    """Whether a feature is made by a network."""
    return isinstance(feature, (Network, Sentence)) or (isinstance(feature, Static) and feature.vectors is None)


def packages_of(features: Iterable[Feature]) -> list[str]:
    """The packages that features are made with, whose versions may make a difference."""
    features = list(features)
    models = ["torch", "transformers", "tokenizers"] if any(map(reads_a_model, features)) else []
    readers = [one for kind, some in READERS.items() if any(isinstance(f, kind) for f in features) for one in some]
    return models + list(dict.fromkeys(readers))
