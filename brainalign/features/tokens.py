"""Which tokens of a model is each word of a transcript?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError
from brainalign.features.loading import quiet_transformers
from brainalign.features.transcript import Reading


@dataclass(frozen=True)
class Spelled:
    """A text as characters: which of them (`spans`, (n_words, 2)) are the words of these `rows` of the samples."""

    text: str
    spans: np.ndarray
    rows: np.ndarray


def spell(samples: pd.DataFrame, reset: Literal["run"] | None, reading: Reading | None = None) -> list[Spelled]:
    """The texts that are read: the words of a run, or of all of them, joined by single spaces or as a print has them.

    Examples
    --------
    >>> spell(pd.DataFrame({"run": ["1", "1", "2"], "stimulus": ["Oh", "dear", "said"]}), "run")[0].spans.tolist()
    [[0, 2], [3, 7]]
    """
    rows_of = samples.groupby("run", sort=False).indices.values() if reset == "run" else [np.arange(len(samples))]
    if reading is None:
        return [join_words(samples, np.asarray(rows)) for rows in rows_of]
    spelled = []
    for rows in map(np.asarray, rows_of):
        begin, end = int(reading.spans[rows[0], 0]), int(reading.spans[rows[-1], 1])
        spelled.append(Spelled(reading.text[begin:end], reading.spans[rows] - begin, rows))
    return spelled


def join_words(samples: pd.DataFrame, rows: np.ndarray) -> Spelled:
    """The words of these rows, joined by single spaces."""
    words = samples["stimulus"].iloc[rows].tolist()
    lengths = np.array([len(word) for word in words])
    begins = np.cumsum(lengths + 1) - lengths - 1
    return Spelled(" ".join(words), np.stack([begins, begins + lengths], axis=1), rows)


@dataclass(frozen=True)
class Text:
    """One text as a model reads it.

    Parameters
    ----------
    tokens : (n_tokens,) int
    covers : list of int arrays, one per word
        Which tokens cover one of its characters, ascending: its states are taken from them.
    scored : list of int arrays, one per word
        Which tokens make up its probability: those, and tokens of nothing but the white space in front of it.
    rows : (n_words,) int
        Which row of the samples each word is.
    """

    tokens: np.ndarray
    covers: list[np.ndarray]
    scored: list[np.ndarray]
    rows: np.ndarray


def words_to_tokens(spans: np.ndarray, offsets: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Which tokens cover a character of each word.

    Parameters
    ----------
    spans : (n_words, 2) int
        The characters of the text that each word is, from `begin` to `end` (not included); neither ever falls.
    offsets : list of (begin, end)
        Per token, the characters of the text it stands for; neither ever falls. Space around a word is no part of it,
        so ``" was"`` covers the word "was" alone, and a token that covers two words belongs to both.

    Returns
    -------
    list of int arrays, one per word
        Empty where a word has no token.

    Examples
    --------
    >>> spans = np.array([[0, 5], [6, 8]])  # "don't go"
    >>> [tokens.tolist() for tokens in words_to_tokens(spans, [(0, 3), (3, 5), (5, 8)])]
    [[0, 1], [2]]
    """
    bounds = np.asarray(offsets, int).reshape(-1, 2)
    first = np.searchsorted(bounds[:, 1], spans[:, 0], side="right")
    stop = np.searchsorted(bounds[:, 0], spans[:, 1], side="left")
    ranges = (np.arange(a, max(a, b)) for a, b in zip(first, stop))
    return [tokens[bounds[tokens, 1] > bounds[tokens, 0]] for tokens in ranges]


def tokenize(tokenizer: Any, spelled: Spelled, samples: pd.DataFrame) -> Text:
    """A text's tokens, and for each word which of them cover it.

    Raises
    ------
    InputError
        Words have no token.
    SettingsError
        The tokenizer does not say which characters a token covers.
    """
    if not tokenizer.is_fast:
        raise SettingsError("the model's tokenizer cannot say which characters a token covers: it needs tokenizer.json")
    with quiet_transformers():  # a text longer than the model's limit is what windows are for
        made = tokenizer(spelled.text, add_special_tokens=False, return_offsets_mapping=True, truncation=False)
    offsets = made["offset_mapping"]
    covers = words_to_tokens(spelled.spans, offsets)
    bare = list(dict.fromkeys(int(spelled.rows[word]) for word, tokens in enumerate(covers) if len(tokens) == 0))
    if bare:
        listed = ", ".join(f"{samples['stimulus'].iloc[row]!r} ({place_of(samples, row)})" for row in bare[:3])
        more = f" and {len(bare) - 3} more" * (len(bare) > 3)
        some, have, them = ("word", "has", "it") if len(bare) == 1 else ("words", "have", "them")
        raise InputError(
            f"{some} {listed}{more} {have} no token in this model's vocabulary: leave {them} out, or write {them} "
            "otherwise"
        )
    scored, after = [], 0
    for tokens in covers:
        begin = int(tokens[0])
        while begin > after and not spelled.text[slice(*offsets[begin - 1])].strip():
            begin -= 1
        scored.append(np.r_[begin : int(tokens[0]), tokens])
        after = int(tokens[-1]) + 1
    return Text(np.asarray(made["input_ids"], np.int64), covers, scored, spelled.rows)


def place_of(samples: pd.DataFrame, row: int) -> str:
    """Where a word stands, for messages."""
    return f"row {row}, run {samples['run'].iloc[row]}, {samples['time'].iloc[row]:g} s"
