"""Where do the files and folders lie that a study file names?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brainalign.shipped import cards
from brainalign.study.kinds import AnyFeature

FILES = ("model", "sentences", "vectors", "phones", "tagger")  # the keys of features that may name a file or a folder

MODELS = ("model", "sentences")  # which may as well be a Hugging Face id


def beside(base: Path, path: Path | Mapping[str, Path] | None) -> Any:
    """A path of a study file in `base`, the folder it lies in; several, by what they are called; or none."""
    if isinstance(path, Mapping):
        return {name: base / one for name, one in path.items()}
    return None if path is None else base / path


def placed(base: Path, feature: AnyFeature) -> AnyFeature:
    """A feature whose files and folders lie in `base`, beside its study file; cards and hub ids stay names."""
    changed: dict[str, Any] = {}
    named = {key: getattr(feature, key, None) for key in FILES}
    known = cards("models")
    for key, name in named.items():
        if isinstance(name, Path):
            changed[key] = base / name
        elif name and name not in known and (key not in MODELS or (base / name).is_dir()):
            changed[key] = str((base / name).absolute())
    return feature.model_copy(update=changed) if changed else feature


def last_parts(named: Any) -> Any:
    """A path, or several by what they are called, cut to the last part, which names it and does not locate it."""
    if isinstance(named, dict):
        return {name: Path(path).name for name, path in named.items()}
    return None if named is None else Path(named).name
