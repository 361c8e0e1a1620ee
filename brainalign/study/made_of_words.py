"""What do features of words, texts and categories make of the events?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.features.frequency import word_frequency
from brainalign.features.phonemes import phoneme_rate
from brainalign.features.sentences import embed_sentences
from brainalign.features.simple import categories, word_length, word_position, word_rate
from brainalign.features.static import static_vectors
from brainalign.features.tagging import CARD
from brainalign.features.word_class import word_class
from brainalign.features.words import embed_words
from brainalign.signals import Signal, join
from brainalign.study.kinds_of_words import (
    Category,
    Language,
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
from brainalign.study.making import How, Make, network, source
from brainalign.study.met import Met, transcript
from brainalign.study.section import Feature


def check_words(feature: Feature, events: pd.DataFrame) -> None:
    """Refuse events without the words, or the texts, that a feature is made of.

    Raises
    ------
    InputError
        There is no such column, or it holds numbers where text is read: those of the sentences, not the sentences.
    """
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


def hidden_states(feature: Language, met: Met, how: How) -> Signal:
    """A band per layer, or per context."""
    asked: dict[str, Any] = {"layers": feature.asked, "pool": feature.pool, **_read(feature, met, how)}
    signals = [embed_words(met.events, context=context, **asked) for context in feature.contexts]
    return signals[0] if len(signals) == 1 else beside(feature.name, signals, feature.contexts)


def expected(feature: Surprisal, met: Met, how: How) -> Signal:
    """How expected each word was: one band."""
    read = _read(feature, met, how)
    found = embed_words(met.events, context=feature.contexts[0], bands=feature.measures, **read)
    measures = found.columns["band"].str.removeprefix(f"{feature.name}.")
    columns = pd.DataFrame({"band": feature.name, "unit": measures + " (" + found.columns["unit"] + ")"})
    return replace(found, columns=columns)


def _read(feature: ReadsWords, met: Met, how: How) -> dict[str, Any]:
    """How a language model reads, whatever is asked of it."""
    return {
        "model": network(feature),
        "unit": feature.unit,
        "exact": feature.exact,
        "ahead": feature.ahead,
        "reset": feature.reset,
        "dtype": feature.dtype,
        "text": met.reading,
        "name": feature.name,
        **how.said,
    }


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


def counted_phonemes(feature: PhonemeRate, events: pd.DataFrame) -> Signal:
    """Phonemes per word, with the file they were counted in among its inputs, if there is one."""
    if feature.phones is None:
        return phoneme_rate(events, name=feature.name)
    phones = transcript(feature.phones, feature.start_s, f"feature {feature.name!r}, phones", tier=feature.tier)
    counted = phoneme_rate(events, phones, name=feature.name)
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


def _tagged(feature: WordClass, met: Met, how: How) -> Signal:
    return word_class(met.events, tags=feature.tags, tagger=tagger_of(feature), name=feature.name)


def _gists(feature: Sentence, met: Met, how: How) -> Signal:
    return embed_sentences(met.events, feature.model, feature.column, name=feature.name, **how.said)


def _vectors(feature: Static, met: Met, how: How) -> Signal:
    found = source(feature)
    assert found is not None  # the settings name one of the two
    return static_vectors(met.events, found, feature.name, unknown=feature.unknown, store=how.store)


OF_WORDS: dict[type[Feature], Make] = {
    WordRate: lambda f, met, how: word_rate(met.events, name=f.name),
    WordLength: lambda f, met, how: word_length(met.events, name=f.name),
    WordPosition: lambda f, met, how: word_position(met.events, name=f.name),
    WordFrequency: lambda f, met, how: word_frequency(met.events, language=f.language, name=f.name),
    PhonemeRate: lambda f, met, how: counted_phonemes(f, met.events),
    WordClass: _tagged,
    Category: lambda f, met, how: categories(met.events, column=f.column, name=f.name),
    Language: hidden_states,
    Surprisal: expected,
    Sentence: _gists,
    Static: _vectors,
}
