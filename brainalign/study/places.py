"""Where do the files and folders lie that a feature of a study file names?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from brainalign.features.tagging import CARD
from brainalign.shipped import cards
from brainalign.study.kinds import AnyFeature, PhonemeRate, ReadsWords, Sentence, Static, WordClass


def placed(base: Path, feature: AnyFeature) -> AnyFeature:
    """A feature whose files and folders lie in `base`, beside its study file; cards and hub ids stay names."""
    changed: dict[str, Any] = {}
    known = cards("models")

    def beside(name: str) -> str:
        return str((base / name).absolute())

    model = feature.model if isinstance(feature, (ReadsWords, Sentence, Static)) else None
    if model and model not in known and (base / model).is_dir():
        changed["model"] = beside(model)
    if isinstance(feature, Static) and feature.vectors and feature.vectors not in known:
        changed["vectors"] = beside(feature.vectors)
    if isinstance(feature, PhonemeRate) and feature.phones is not None:
        changed["phones"] = base / feature.phones
    if isinstance(feature, WordClass) and feature.tagger and feature.tagger != CARD:
        changed["tagger"] = beside(feature.tagger)
    return feature.model_copy(update=changed) if changed else feature
