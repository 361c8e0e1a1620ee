"""What does each feature of a study make of what was met?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.features.frequency import word_frequency
from brainalign.features.loading import ResolvedModel
from brainalign.features.models import locate_model
from brainalign.features.phonemes import phoneme_rate
from brainalign.features.sentences import embed_sentences
from brainalign.features.simple import categories, word_length, word_position, word_rate
from brainalign.features.static import static_vectors
from brainalign.features.tagging import CARD
from brainalign.features.untrained import untrained
from brainalign.features.vectors import WordVectors, locate_vectors
from brainalign.features.word_class import word_class
from brainalign.features.words import embed_words
from brainalign.progress import Progress, silent
from brainalign.signals import Signal, join
from brainalign.store import Store
from brainalign.study.kinds import (
    AnyFeature,
    Category,
    PhonemeRate,
    ReadsWords,
    Sentence,
    Static,
    Surprisal,
    WordClass,
    WordFrequency,
    WordLength,
    WordPosition,
    WordRate,
)
from brainalign.study.met import Met, transcript


@dataclass(frozen=True)
class Named:
    """One feature of a study: a Signal per event, and the bands it has."""

    settings: AnyFeature
    signal: Signal

    @property
    def bands(self) -> list[str]:
        """Its bands, in order."""
        return self.signal.bands

    @property
    def about(self) -> Mapping[str, Any]:
        """What made it: model, revision, context, … (empty for a feature that is counted)."""
        return self.signal.attrs.get("features", {}).get(self.settings.name, {})


def extract(feature: AnyFeature, met: Met, store: Store | None, device: str, progress: Progress = silent) -> Named:
    """What one feature makes of the events; `progress` is told how far a model has read."""
    events = met.events
    if isinstance(feature, Category):
        return Named(feature, categories(events, column=feature.column, name=feature.name))
    check_stimuli(feature, events)
    if isinstance(feature, Sentence):
        read = {"name": feature.name, "device": device, "store": store, "progress": progress}
        return Named(feature, embed_sentences(events, feature.model, feature.column, **read))
    if isinstance(feature, WordRate):
        return Named(feature, word_rate(events, name=feature.name))
    if isinstance(feature, WordLength):
        return Named(feature, word_length(events, name=feature.name))
    if isinstance(feature, WordPosition):
        return Named(feature, word_position(events, name=feature.name))
    if isinstance(feature, WordFrequency):
        return Named(feature, word_frequency(events, language=feature.language, name=feature.name))
    if isinstance(feature, PhonemeRate):
        return Named(feature, counted_phonemes(feature, events))
    if isinstance(feature, WordClass):
        return Named(feature, word_class(events, tags=feature.tags, tagger=tagger_of(feature), name=feature.name))
    if isinstance(feature, Static):
        found = source(feature)
        assert found is not None  # the settings name one of the two
        return Named(feature, static_vectors(events, found, feature.name, unknown=feature.unknown, store=store))
    if isinstance(feature, Surprisal):
        return Named(feature, expected(feature, met, store, device, progress))
    layers = feature.layers if isinstance(feature.layers, list) else "all"
    read = _read(feature, met, store, device, progress)
    signals = [
        embed_words(events, layers=layers, context=context, pool=feature.pool, **read) for context in feature.contexts
    ]
    return Named(feature, signals[0] if len(signals) == 1 else beside(feature.name, signals, feature.contexts))


def check_stimuli(feature: AnyFeature, events: pd.DataFrame) -> None:
    """Refuse events without the words or the texts that a feature is made of.

    Raises
    ------
    InputError
        There is no such column, or it holds numbers where text is read: those of the sentences, not the sentences.
    """
    if isinstance(feature, Category):
        return
    if not isinstance(feature, Sentence):
        if "word" not in events:
            raise InputError(
                f"feature {feature.name!r} needs words, but the events have no 'word' (found "
                f"{', '.join(map(str, events))}): name a transcript under stimuli.words"
            )
        return
    if feature.column not in events:
        raise InputError(
            f"feature {feature.name!r}: the events have no column {feature.column!r}; "
            + did_you_mean(feature.column, events.columns)
        )
    texts = events[feature.column].dropna()
    numbers = pd.to_numeric(texts, errors="coerce").notna()
    if len(texts) and numbers.all():
        raise InputError(
            f"feature {feature.name!r}: column {feature.column!r} holds numbers ({texts.iloc[0]}, …), not text: name "
            "the column of the events that has the texts, such as caption"
        )


def expected(feature: Surprisal, met: Met, store: Store | None, device: str, progress: Progress) -> Signal:
    """How expected each word was: one band."""
    read = _read(feature, met, store, device, progress)
    found = embed_words(met.events, context=feature.contexts[0], bands=feature.measures, **read)
    measures = found.columns["band"].str.removeprefix(f"{feature.name}.")
    columns = pd.DataFrame({"band": feature.name, "unit": measures + " (" + found.columns["unit"] + ")"})
    return replace(found, columns=columns)


def _read(feature: ReadsWords, met: Met, store: Store | None, device: str, progress: Progress) -> dict[str, Any]:
    """How a language model reads, whatever is asked of it."""
    return {
        "model": feature.model if feature.untrained is None else untrained(feature.model, seed=feature.untrained),
        "unit": feature.unit,
        "exact": feature.exact,
        "ahead": feature.ahead,
        "reset": feature.reset,
        "dtype": feature.dtype,
        "text": met.reading,
        "name": feature.name,
        "device": device,
        "store": store,
        "progress": progress,
    }


def source(feature: AnyFeature) -> ResolvedModel | WordVectors | None:
    """Where a feature's language model or word vectors lie; None where it needs none.

    Raises
    ------
    SettingsError, InputError
        It is not there, or was not fetched yet.
    """
    if isinstance(feature, Static) and feature.vectors is not None:
        return locate_vectors(feature.vectors)
    if isinstance(feature, (ReadsWords, Sentence, Static)) and feature.model is not None:
        return locate_model(feature.model)
    return None


def reads_a_model(feature: AnyFeature) -> bool:
    """Whether a feature is made by a language model."""
    return isinstance(feature, (ReadsWords, Sentence)) or (isinstance(feature, Static) and feature.vectors is None)


def tagger_of(feature: WordClass) -> str | Path | None:
    """The folder of a feature's tagger, the card's name, or None, which is the card too.

    Installed packages are for Python alone: a study file that came from elsewhere must not choose what is imported.

    Raises
    ------
    SettingsError
        There is no such folder.
    """
    if feature.tagger is None or feature.tagger == CARD:
        return feature.tagger
    folder = Path(feature.tagger)
    if not folder.is_dir():
        raise SettingsError(
            f"feature {feature.name!r}, tagger: there is no folder {folder}; in a study file a tagger is {CARD!r} or "
            "the folder of a spaCy model (it holds config.cfg), not the name of an installed one"
        )
    return folder


def counted_phonemes(feature: PhonemeRate, met: pd.DataFrame) -> Signal:
    """Phonemes per word, with the file they were counted in among its inputs, if there is one."""
    if feature.phones is None:
        return phoneme_rate(met, name=feature.name)
    phones = transcript(feature.phones, feature.start_s, f"feature {feature.name!r}, phones", tier=feature.tier)
    counted = phoneme_rate(met, phones, name=feature.name)
    return replace(counted, attrs={**counted.attrs, "inputs": phones.attrs["inputs"]})


def beside(name: str, signals: list[Signal], contexts: list[int]) -> Signal:
    """One layer read with several contexts: bands `NAME.contextN`, columns with `context`.

    What is said of the feature is what is true of the longest context, with all of them listed.
    """
    named = [
        replace(one, columns=one.columns.assign(band=f"{name}.context{n}", context=n))
        for one, n in zip(signals, contexts, strict=True)
    ]
    about = {**signals[int(np.argmax(contexts))].attrs["features"][name], "context": contexts}
    both = join(*named)
    return replace(both, attrs={**both.attrs, "features": {name: {k: v for k, v in about.items() if k != "stride"}}})
