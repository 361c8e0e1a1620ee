"""What may a study say of features that are made of words, texts and categories?"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from brainalign.study.section import Feature, Held, Layered, Network, Reduced, Typed, different


class WordRate(Feature):
    """One per word."""

    kind: Literal["word_rate"]


class WordLength(Feature):
    """Characters per word."""

    kind: Literal["word_length"]


class WordPosition(Feature):
    """Where each word stands in its run, and in its sentence if the words say which that is."""

    kind: Literal["word_position"]


class WordFrequency(Feature):
    """How frequent each word is in its language."""

    kind: Literal["word_frequency"]
    language: str = "en"


class PhonemeRate(Feature):
    """Phonemes per word, from a transcript of them or a dictionary."""

    kind: Literal["phoneme_rate"]
    phones: Path | None = None
    tier: str = "phone"
    start_s: float = 0.0  # the second of that file's clock at which the recording's begins


class WordClass(Feature):
    """Noun, verb, …: one column each."""

    kind: Literal["word_class"]
    tags: str | None = None
    tagger: str | None = None


class Category(Held):
    """One column per category of a column of the events."""

    kind: Literal["category"]
    column: str = "trial_type"


class ReadsWords(Network, Typed):
    """What is said of any feature that a language model makes of words in context."""

    unit: Literal["tokens", "words"] = "tokens"  # of the context
    exact: bool = False
    context: int | list[int] = 128
    ahead: bool = False
    reset: Literal["run"] | None = "run"

    @field_validator("context", mode="before")
    @classmethod
    def _sizes(cls, value: Any, info: ValidationInfo) -> Any:
        many = value if isinstance(value, list) else [value]
        unit = info.data.get("unit", "tokens")
        least = 1 if info.data.get("exact") and unit == "words" else 2
        if not different(many, least):
            raise ValueError(f"is a number of {unit}, at least {least}, or a list of different ones")
        return many[0] if len(many) == 1 else value

    @property
    def contexts(self) -> list[int]:
        """The context, or those that are compared."""
        return self.context if isinstance(self.context, list) else [self.context]


class Language(ReadsWords, Layered):
    """Hidden states of a language model."""

    kind: Literal["language"]
    pool: Literal["mean", "last", "first"] = "mean"

    @property
    def n_bands(self) -> int:
        """One per layer or context; all layers are two at least."""
        return len(self.contexts) * super().n_bands

    @property
    def varies(self) -> str:
        """What its alternatives differ in: layer or context; "" where it has none."""
        return "context" if isinstance(self.context, list) else super().varies

    @model_validator(mode="after")
    def _one_axis(self) -> Language:
        if isinstance(self.context, list) and not (isinstance(self.layers, list) and len(self.layers) == 1):
            raise ValueError(
                f"several contexts are compared at one layer, layers: [12]; found layers {self.layers} and contexts "
                f"{self.context}: name one layer, or one context"
            )
        return self


class Surprisal(ReadsWords):
    """How expected each word was to a language model: one band, a column per measure."""

    kind: Literal["surprisal"]
    measures: list[Literal["surprisal", "entropy", "log_probability"]] = Field(default=["surprisal"], min_length=1)

    @field_validator("context", mode="after")
    @classmethod
    def _one_context(cls, value: int | list[int]) -> int | list[int]:
        if isinstance(value, list):
            raise ValueError("is one number: contexts are compared in features of kind language")
        return value


class Sentence(Reduced):
    """What a sentence encoder makes of each event's text."""

    kind: Literal["sentence"]
    model: str = "minilm-l6"
    column: str


class Static(Reduced):
    """A vector of each word without context: a language model's, or from a file of word vectors."""

    kind: Literal["static"]
    model: str | None = None
    vectors: str | None = None
    unknown: Literal["mean", "zero", "error"] = "mean"

    @model_validator(mode="after")
    def _one_source(self) -> Static:
        if (self.model is None) == (self.vectors is None):
            raise ValueError("static needs one of model (a language model) and vectors (a file of word vectors)")
        return self
