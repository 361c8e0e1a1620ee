"""What stands in the way of a feature that a model makes, as far as can be told without its weights?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pandas as pd

from brainalign.errors import SettingsError
from brainalign.features.loading import ResolvedModel, choose_device, kind_of, need_language_extra
from brainalign.features.models import settled_config
from brainalign.features.reader import choose_layers
from brainalign.features.samples import samples_of
from brainalign.features.vectors import WordVectors
from brainalign.study.extracting import reads_a_model
from brainalign.study.kinds import AnyFeature
from brainalign.study.kinds_of_words import Language, ReadsWords, Sentence, Surprisal
from brainalign.study.made_of_words import check_words
from brainalign.study.met import Met

BLOCKS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")  # what families call the number of their blocks


def tests_of(
    feature: AnyFeature, found: ResolvedModel | WordVectors | None, met: Met, device: str
) -> Iterator[Callable[[], Any]]:
    """Functions that raise what `extract` would raise once it got there; none for features that are counted.

    Without the model (`found`, what `source` gives) nothing is said of it. Whether words have tokens, how many, and
    whether a model's head has its weights is left to `extract`.
    """
    if not reads_a_model(feature):
        return
    yield need_language_extra
    if device != "auto":
        yield lambda: choose_device(device)
    yield lambda: check_events(feature, met.events)
    if isinstance(feature, ReadsWords) and isinstance(found, ResolvedModel):
        yield lambda: check_size(feature, found)
        if feature.ahead or isinstance(feature, Surprisal):
            yield lambda: check_kind(feature, found)


def check_events(feature: AnyFeature, events: pd.DataFrame) -> None:
    """Refuse events that a feature's samples cannot be made of."""
    check_words(feature, events)
    samples_of(events, feature.column if isinstance(feature, Sentence) else "word")


def check_size(feature: ReadsWords, model: ResolvedModel) -> None:
    """Refuse layers and contexts that a model does not have by its configuration.

    Raises
    ------
    SettingsError
    """
    config = settled_config(model)
    blocks = next((config[key] for key in BLOCKS if isinstance(config.get(key), int)), None)
    if blocks is not None and isinstance(feature, Language) and isinstance(feature.layers, list):
        choose_layers(feature.layers, blocks + 1, model.name)
    limit, longest = config.get("max_position_embeddings"), max(feature.contexts)
    if isinstance(limit, int) and feature.unit == "tokens" and longest >= limit:
        raise SettingsError(
            f"feature {feature.name!r}: context={longest} and the special tokens around it are more than the {limit} "
            f"tokens that model {model.name!r} reads: use a smaller one"
        )


def check_kind(feature: ReadsWords, model: ResolvedModel) -> None:
    """Refuse what a model of this kind cannot do: look ahead, or say how expected a word was.

    Raises
    ------
    SettingsError
    """
    config = settled_config(model)
    kind = kind_of(SimpleNamespace(architectures=config.get("architectures"), model_type=config.get("model_type")))
    if feature.ahead and kind == "causal":
        raise SettingsError(
            f"feature {feature.name!r}: ahead needs a model that reads both ways; {model.name!r} is causal: leave it "
            "out"
        )
    if isinstance(feature, Surprisal) and kind == "encoder-decoder":
        raise SettingsError(
            f"feature {feature.name!r}: {model.name!r} is an encoder–decoder, which does not say how expected a word "
            "was: use a causal or a masked language model"
        )
