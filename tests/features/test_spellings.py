"""Which spellings of a word are looked up, and in which order."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainalign.features.captions import WORD
from brainalign.features.phonemes import CLITIC_PHONES
from brainalign.features.printed import APOSTROPHES
from brainalign.features.spellings import (
    CLITICS,
    FOUND_AS,
    cut_clitics,
    look_up,
    missing_words,
    spellings,
    without_punctuation,
)
from brainalign.features.writing import write_down

ODD = st.text("aB é’'-.,“” \u0301ßǅ", max_size=12) | st.text(max_size=8)


def test_the_order_is_the_table_s():
    found = [(what, " + ".join(parts)) for what, parts in spellings("“Rabbit-Hole’s,")]
    assert found == [
        ("as written", "“Rabbit-Hole’s,"),
        ("lower-cased", "“rabbit-hole’s,"),
        ("without punctuation", "Rabbit-Hole's"),
        ("without punctuation", "rabbit-hole's"),
        ("clitic apart", "Rabbit-Hole + 's"),
        ("clitic apart", "rabbit-hole + 's"),
        ("parts of a compound", "Rabbit + Hole + 's"),
        ("parts of a compound", "rabbit + hole + 's"),
    ]
    assert spellings("the") == [("as written", ("the",))]


@pytest.mark.parametrize("mark", APOSTROPHES)
def test_an_apostrophe_is_one_however_it_is_written(mark):
    """In what is looked up, in captions, and in the print of a transcript."""
    written = f"Don{mark}t"
    assert without_punctuation(written) == "Don't"
    assert cut_clitics(written) == ("Do", f"n{mark}t")
    assert WORD.findall(f"{written}, dog{mark}s o{mark}clock") == [
        "Do",
        f"n{mark}t",
        ",",
        "dog",
        f"{mark}s",
        f"o{mark}clock",
    ]
    assert write_down(["do", f"n{mark}t", "go"], "Do not. Go!").text == f"Don{mark}t. Go!"


@pytest.mark.parametrize("clitic", CLITICS)
def test_every_clitic_comes_apart_and_is_written_together(clitic):
    assert cut_clitics(f"we{clitic}") == ("we", clitic)
    assert WORD.findall(f"we{clitic}") == ["we", clitic]
    assert WORD.findall(f"well-{clitic[-1]}") == [f"well-{clitic[-1]}"]  # a hyphen is no apostrophe
    assert write_down(["we", clitic, "go"], "We go.").text == f"We{clitic} go."
    assert CLITIC_PHONES[clitic] >= 1


@pytest.mark.parametrize(
    ("word", "plain"),
    [
        ("alice", "alice"), ("“Oh!”", "Oh"), ("don’t.", "don't"), ("n’t", "n't"), ("'s,", "'s"), ("'S", "'S"),
        ("'em", "em"), ("U.S.", "U.S"), ("(4.5%)", "4.5"), ("rock-n-roll", "rock-n-roll"), ("—", ""), ("...", ""),
        ("", ""), ("cafe\u0301", "café"), ("dogs'", "dogs"), ("'tis", "tis"), ("$5", "5"),
    ],
)  # fmt: skip
def test_marks_go_and_clitics_stay(word, plain):
    assert without_punctuation(word) == plain


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("don't", ("do", "n't")), ("can't", ("ca", "n't")), ("couldn't've", ("could", "n't", "'ve")),
        ("Alice's", ("Alice", "'s")), ("n't", ("n't",)), ("'s", ("'s",)), ("o'clock", ("o'clock",)), ("", ("",)),
    ],
)  # fmt: skip
def test_clitics_are_cut_as_the_penn_treebank_does(word, parts):
    assert cut_clitics(word) == parts


@given(ODD)
def test_every_spelling_comes_once_and_says_its_row(word):
    found = spellings(word)
    parts = [one for _, one in found]
    assert len(set(parts)) == len(parts)
    assert all(one and all(one) for one in parts)
    rows = [FOUND_AS.index(what) for what, _ in found]
    assert rows == sorted(rows)
    if word:
        assert found[0] == ("as written", (word,))


@given(ODD)
def test_plain_words_have_no_marks_left_to_take_off(word):
    plain = without_punctuation(word)
    assert without_punctuation(plain) == plain
    if plain and plain.lower() not in CLITICS:
        assert unicodedata.category(plain[0])[0] not in "PSZ"
        assert unicodedata.category(plain[-1])[0] not in "PSZ"
    assert "".join(cut_clitics(plain)) == plain


def test_the_first_spelling_that_is_known_counts_and_all_of_its_parts_have_to_be():
    assert look_up("The", {"the", "The"}) == ("as written", ("The",))
    assert look_up("The", {"the"}) == ("lower-cased", ("the",))
    assert look_up("mother-in-law", {"mother", "law"}) is None
    assert look_up("mother-in-law's", {"mother", "in", "law", "'s"}) == (
        "parts of a compound",
        ("mother", "in", "law", "'s"),
    )
    assert look_up("—", {""}) is None


def test_missing_words_are_counted_and_named_once_each():
    said = missing_words(["b", "a", "b", "c"], np.array([True, False, True, True]))
    assert said == {"count": 3, "share": 0.75, "words": ["b", "c"]}
