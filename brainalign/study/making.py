"""With what is a feature of a study made?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from brainalign.features.loading import ResolvedModel
from brainalign.features.models import locate_model
from brainalign.features.untrained import untrained
from brainalign.features.vectors import WordVectors, locate_vectors
from brainalign.progress import Progress, silent
from brainalign.signals import Signal
from brainalign.store import Store
from brainalign.study.met import Met
from brainalign.study.section import Feature, Network


@dataclass(frozen=True)
class How:
    """Where networks run, where what they make is kept, and who is told how far it is."""

    device: str = "auto"
    store: Store | None = None
    progress: Progress = silent

    @property
    def said(self) -> dict[str, Any]:
        """The same, as the functions take it that run networks."""
        return {"device": self.device, "store": self.store, "progress": self.progress}


Make = Callable[[Any, Met, How], Signal]
"""(feature, what was met, how) → the feature's Signal."""


def source(feature: Feature) -> ResolvedModel | WordVectors | None:
    """Where a feature's model or word vectors lie; None where it needs none.

    Raises
    ------
    SettingsError, InputError
        It is not there, or was not fetched yet.
    """
    vectors, model = getattr(feature, "vectors", None), getattr(feature, "model", None)
    if model is not None:
        return locate_model(model, getattr(feature, "sense", "text"))
    return None if vectors is None else locate_vectors(vectors)


def network(feature: Network) -> ResolvedModel:
    """The model a feature names, or its twin with random weights where it asks for that."""
    found = locate_model(feature.model, feature.sense)
    return found if feature.untrained is None else untrained(found, seed=feature.untrained)
