"""The printed text: its words, the marks between them, and where a sentence ends."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainalign.features.printed import bridge, clean, ends_sentence, letters, tokens


def words(text: str) -> list[str]:
    return [text[token.begin : token.end] for token in tokens(text)]


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("It was _very_\r\n\r\n   deep", "It was very deep"),
        ("_All of it_, he said_.", "All of it, he said."),
        ("snake_case stays", "snake_case stays"),
        ("off it.\n\n  *    *    *\n\n    *   *\n\nWhat", "off it. What"),
        ("cre\u0301me bru\u0302le\u0301e", "créme brûlée"),
        ("ef\ufb01cient de\u00adep \ufeffend", "efficient deep end"),
        ("a footnote* here", "a footnote* here"),
    ],
)
def test_what_was_made_for_the_eye_goes(printed, expected):
    assert clean(printed) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'Wouldn't the rabbit-hole--yes--do?'", ["Wouldn't", "the", "rabbit", "hole", "yes", "do"]),
        ("’Tis the dogs’ o’clock", ["Tis", "the", "dogs", "o’clock"]),
        ("3.5 × 1,000 at 50 %", ["3", "5", "1", "000", "at", "50", "%"]),
        ("小王子说：“你好！”", ["小", "王", "子", "说", "你", "好"]),
        ("रात को नदी", ["रात", "को", "नदी"]),
        ("note¹ of x²", ["note", "of", "x"]),
        ("-- ... 🙂", []),
    ],
)
def test_words_of_a_text(text, expected):
    assert words(text) == expected


@given(st.text(max_size=60))
def test_every_letter_is_in_one_word_and_comes_from_one_character(text):
    text = clean(text)
    found = tokens(text)
    assert all(a.end <= b.begin for a, b in pairwise(found))
    for token in found:
        assert token.letters
        assert len(token.places) == len(token.letters)
        assert list(token.places) == sorted(token.places)
        assert token.begin == token.places[0]
        assert letters(text[token.begin : token.end]) == token.letters


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ([" ", " "], " "),
        ([", ", ", "], ", "),
        ([" ", ", "], ", "),
        ([", ", ". "], ". "),
        (["; ", ", ", ": "], "; "),
        (["--", " "], "-- "),
        (["-", " "], " "),
        (["-", "-"], "-"),
        ([". [", "] "], ". "),
        ([" '", "' "], " "),
        ([" '", " "], " '"),  # the quotation goes on
        ([" ", "!' '"], "!' '"),
        (["!' ", " ", ", '"], "!' '"),
        ([") ", "; "], "); "),
        ([" (", " ", ") "], " "),
        ([" ", *[" '"] * 40, ". "], ". "),  # too far away to be partners of anything
    ],
)
def test_marks_around_words_that_are_left_out(gaps, expected):
    assert bridge(gaps) == expected


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("She ran. He sat.", 2),
        ("'Oh dear!' said Alice. 'Oh!'", 2),
        ("'Which way? Which way?', holding on", 2),
        ("Mr. Rabbit met Dr. Hare, J. K. and all.", 1),
        ("It was I. She saw.", 2),
        ("It cost 3.5 pounds... and so on… Then", 2),
        ("Wait (she did.) Then", 2),
        ("no capitals. none at all? no", 3),
        ("他来了。她走了！好", 3),
    ],
)
def test_where_a_sentence_ends(text, sentences):
    found = tokens(text)
    ends = [
        ends_sentence(
            text[a.begin : a.end], text[a.end : b.begin], text[b.begin : b.end], text != text.lower() or "他" in text
        )
        for a, b in pairwise(found)
    ]
    assert 1 + sum(ends) == sentences
