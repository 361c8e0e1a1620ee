"""Which tokens of a model is each word of a transcript?"""

from __future__ import annotations

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
    covers : (n_words, 2) int
        The tokens that cover a character of each word, from first to last (not included): its states are taken from
        them.
    scored : (n_words, 2) int
        Where the tokens begin that make up each word's probability, white space in front of it included, and where
        those of the word itself do; they end where `covers` does. A token that covers two words is the first one's.
    rows : (n_words,) int
        Which row of the samples each word is.
    """

    tokens: np.ndarray
    covers: np.ndarray
    scored: np.ndarray
    rows: np.ndarray


def words_to_tokens(spans: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Which tokens cover a character of each word.

    Parameters
    ----------
    spans : (n_words, 2) int
        The characters of the text that each word is, from `begin` to `end` (not included); neither ever falls.
    offsets : (n_tokens, 2) int
        Per token, the characters of the text it stands for; neither ever falls. Space around a word is no part of it,
        so ``" was"`` covers the word "was" alone, and a token that covers two words belongs to both.

    Returns
    -------
    (n_words, 2) int
        The first of them and the one after the last; the same where a word has no token.

    Examples
    --------
    >>> spans = np.array([[0, 5], [6, 8]])  # "don't go"
    >>> words_to_tokens(spans, np.array([(0, 3), (3, 5), (5, 8)])).tolist()
    [[0, 2], [2, 3]]
    """
    filled = np.flatnonzero(offsets[:, 1] > offsets[:, 0])
    begins, ends = offsets[filled].T
    first = np.searchsorted(ends, spans[:, 0], side="right")
    after = np.searchsorted(begins, spans[:, 1], side="left")
    none = after <= first
    if len(filled) == 0:
        return np.zeros((len(spans), 2), int)
    first = filled[np.minimum(first, len(filled) - 1)]
    return np.stack([first, np.where(none, first, filled[after - 1] + 1)], axis=1)


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
        made = tokenizer(
            spelled.text,
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=True,
            truncation=False,
        )
    tokens = np.asarray(made["input_ids"], np.int64)
    offsets = np.asarray(made["offset_mapping"], np.int64).reshape(-1, 2)
    covers = words_to_tokens(spelled.spans, offsets)
    bare = list(dict.fromkeys(spelled.rows[covers[:, 0] == covers[:, 1]].tolist()))
    if bare:
        listed = ", ".join(f"{samples['stimulus'].iloc[row]!r} ({place_of(samples, row)})" for row in bare[:3])
        more = f" and {len(bare) - 3} more" * (len(bare) > 3)
        some, have, them = ("word", "has", "it") if len(bare) == 1 else ("words", "have", "them")
        raise InputError(
            f"{some} {listed}{more} {have} no token in this model's vocabulary: leave {them} out, or write {them} "
            "otherwise"
        )
    blank = np.array([not spelled.text[begin:end].strip() for begin, end in offsets.tolist()])
    # the last token before each that is more than white space
    solid = np.maximum.accumulate(np.where(blank, -1, np.arange(len(tokens))))
    solid = np.r_[-1, solid[:-1]]
    taken = np.r_[0, np.maximum.accumulate(covers[:-1, 1])]
    own = np.maximum(covers[:, 0], taken)
    scored = np.stack([np.maximum(np.minimum(solid[covers[:, 0]] + 1, own), taken), own], axis=1)
    return Text(tokens, covers, scored, spelled.rows)


def place_of(samples: pd.DataFrame, row: int) -> str:
    """Where a word stands, for messages."""
    return f"row {row}, run {samples['run'].iloc[row]}, {samples['time'].iloc[row]:g} s"
