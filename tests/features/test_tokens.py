"""Tokens → words: every word gets its own tokens, whatever the tokenizer, casing and punctuation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainalign.features.models import model_folder
from brainalign.features.tokens import Spelled, join_words, spell, tokenize, words_to_tokens
from brainalign.shipped import shipped

ODD = [
    "would",
    "n't",
    "don't",
    "—",
    "Café",
    "cafe\u0301",
    "你好",
    "🙂",
    "'",
    "O'Neill-Smith",
    "U.S.",
    "naïve…",
    "New York",
]


def tokenizer_of(place: Path, known: dict[Path, object] = {}):  # noqa: B006  (hypothesis runs this hundreds of times)
    from transformers import AutoTokenizer

    if place not in known:
        known[place] = AutoTokenizer.from_pretrained(place, local_files_only=True)
    return known[place]


def samples_of_words(words: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"run": "1", "time": np.arange(len(words)) / 2, "stimulus": words})


@given(st.lists(st.sampled_from(ODD), min_size=1, max_size=12))
def test_every_word_gets_its_own_tokens(words):
    tokenizer = tokenizer_of(shipped("models", "stories260k"))
    joined = join_words(samples_of_words(words), np.arange(len(words)))
    read = tokenizer(joined.text, add_special_tokens=False, return_offsets_mapping=True)
    covers = [np.arange(*cover) for cover in words_to_tokens(joined.spans, np.array(read["offset_mapping"]))]
    for word, (begin, end), tokens in zip(words, joined.spans, covers):
        spans = [read["offset_mapping"][k] for k in tokens]
        assert "".join(joined.text[a:b] for a, b in sorted(set(spans))).strip() == word
        assert all(a < end and b > begin for a, b in spans)
    used = np.concatenate(covers)
    assert len(set(used.tolist())) == len(used)
    unused = set(range(len(read["input_ids"]))) - set(used.tolist())
    assert all(joined.text[slice(*read["offset_mapping"][k])].isspace() for k in unused)


@pytest.mark.parametrize("kind", ["gpt2", "bert", "t5"])
def test_whatever_the_tokenizer_a_word_is_covered_by_its_own_letters(kind, small_model):
    """Bytes, lower-cased pieces, unknown words: the characters a word's tokens stand for are the word's, no other's."""
    words = [*ODD, "Unknown☃word", "UPPER", "x"]
    samples = samples_of_words(words)
    tokenizer = tokenizer_of(small_model(kind))
    joined = join_words(samples, np.arange(len(words)))
    text = tokenize(tokenizer, joined, samples)
    offsets = tokenizer(joined.text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    for word, (first, stop) in zip(words, text.covers):
        begin, end = offsets[first][0], offsets[stop - 1][1]
        assert word.removesuffix("\u0301") == joined.text[begin:end].strip().removesuffix(
            "\u0301"
        )  # BERT drops accents


def test_tokens_of_nobody_and_of_two():
    # 'ab' '␣' 'cd e' 'f' ' h', and some that stand for nothing
    offsets = np.array([(0, 0), (0, 2), (2, 3), (3, 7), (7, 7), (7, 8), (8, 10), (10, 10)])
    spans = np.array([[0, 2], [3, 5], [6, 8], [9, 10]])
    assert words_to_tokens(spans, offsets).tolist() == [[1, 2], [3, 4], [3, 6], [6, 7]]
    first, stop = words_to_tokens(spans[:2], np.array([(0, 2)])).T
    assert (stop - first).tolist() == [1, 0]
    first, stop = words_to_tokens(spans, np.array([(0, 0), (4, 4)])).T
    assert (stop == first).all()


def test_the_space_in_front_of_a_word_is_scored_with_it():
    """A model of characters spends a token on it; models with the space inside a token do not."""
    samples = samples_of_words(["Oh", "my", "cat"])
    characters = tokenize(tokenizer_of(model_folder("babyllama-char105")), *joined_with(samples))
    assert characters.covers.tolist() == [[0, 3], [4, 6], [7, 10]]  # its first mark claims the first letter
    assert characters.scored.tolist() == [[0, 0], [3, 4], [6, 7]]
    pieces = tokenize(tokenizer_of(shipped("models", "stories260k")), *joined_with(samples))
    assert (pieces.scored == pieces.covers[:, :1]).all()


def test_a_token_of_two_words_is_scored_once():
    """In print, "wouldn't" is two words, and a tokenizer may cut it elsewhere."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(shipped("models", "stories260k"), local_files_only=True)
    samples = samples_of_words(["wa", "s", "n't", "it"])
    text = tokenize(
        tokenizer, Spelled("was n't it", np.array([[0, 2], [2, 3], [4, 7], [8, 10]]), np.arange(4)), samples
    )
    assert text.covers[0].tolist() == text.covers[1].tolist() == [0, 1]  # "was" is one token
    assert text.scored[0].tolist() == [0, 0]
    assert text.scored[1].tolist() == [1, 1]  # nothing is left of it
    spent = [range(begin, stop) for (begin, _), (_, stop) in zip(text.scored, text.covers)]
    assert [k for one in spent for k in one] == list(range(len(text.tokens)))


def joined_with(samples: pd.DataFrame):
    return join_words(samples, np.arange(len(samples))), samples


def test_runs_are_texts_of_their_own_or_one():
    samples = pd.DataFrame({"run": ["1", "2", "1"], "stimulus": ["Oh", "said", "dear"]})
    one, two = spell(samples, "run")
    assert (one.text, one.rows.tolist(), two.text, two.rows.tolist()) == ("Oh dear", [0, 2], "said", [1])
    (whole,) = spell(samples, None)
    assert (whole.text, whole.rows.tolist()) == ("Oh said dear", [0, 1, 2])
    assert [whole.text[a:b] for a, b in whole.spans] == ["Oh", "said", "dear"]
