"""Matching: the cheapest way there is, whatever was said; and long texts in the same way as short ones."""

from __future__ import annotations

import functools
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from brainalign.features import matching
from brainalign.features.matching import INSERTED, JOINED, LEFT_OUT, SLIP, UNREAD, match
from brainalign.features.printed import letters, tokens

SMALL = st.lists(st.sampled_from(["a", "b", "ab", "ba", "abc", "c", "bca"]), max_size=4)


def price_of_leaving_out(length, prices):
    return min(begun + each * length for begun, each in prices) if length else 0.0


def price_of(blocks, said, printed):
    """What the blocks cost, by the table alone."""
    total, i, j = 0.0, 0, 0
    ends = matching.Block(len(said), len(said), len(printed), len(printed), True)
    for block in [*blocks, ends]:
        total += INSERTED * (block.first - i)
        if block.begin > j:
            # whether it is before the first word or after the last depends on where the inserted words are put
            outside = (j == 0 and not any(b.begin < block.begin for b in blocks)) or block is ends
            total += price_of_leaving_out(block.begin - j, UNREAD if outside else LEFT_OUT)
        if block is not ends:
            a, b = "".join(said[block.first : block.stop]), "".join(printed[block.begin : block.end])
            if block.same:
                assert a == b
                total += JOINED * (block.stop - block.first + block.end - block.begin - 2)
            else:
                assert (block.stop - block.first, block.end - block.begin) == (1, 1)
                total += SLIP[0] + SLIP[1] * Levenshtein.normalized_distance(a, b)
        i, j = block.stop, block.end
    return total


def cheapest(said, printed):
    """The same by trying everything."""

    @functools.cache
    def rest(i, j, skipped):
        if i == len(said) and j == len(printed):
            return 0.0
        ways = []
        if i < len(said):
            ways.append(INSERTED + rest(i + 1, j, 0))
        if j < len(printed):
            prices = UNREAD if i in (0, len(said)) else LEFT_OUT
            more = price_of_leaving_out(skipped + 1, prices) - price_of_leaving_out(skipped, prices)
            ways.append(more + rest(i, j + 1, skipped + 1))
        for m in range(1, len(said) - i + 1):
            for n in range(1, len(printed) - j + 1):
                if "".join(said[i : i + m]) == "".join(printed[j : j + n]):
                    ways.append(JOINED * (m + n - 2) + rest(i + m, j + n, 0))
        if i < len(said) and j < len(printed) and said[i] != printed[j]:
            differ = Levenshtein.normalized_distance(said[i], printed[j])
            ways.append(SLIP[0] + SLIP[1] * differ + rest(i + 1, j + 1, 0))
        return min(ways)

    return rest(0, 0, 0)


@given(SMALL, SMALL)
def test_no_way_is_cheaper(said, printed):
    blocks = match(tokens(" ".join(said)), tokens(" ".join(printed)))
    assert all(a.stop <= b.first and a.end <= b.begin for a, b in pairwise(blocks))
    assert price_of(blocks, said, printed) == pytest.approx(cheapest(said, printed), abs=1e-9)


@given(
    st.lists(
        st.sampled_from(["the", "a", "cat", "sat", "on", "mat", "would", "wouldn't", "rabbit-hole"]),
        min_size=1,
        max_size=40,
    )
)
def test_a_text_read_out_is_itself(said):
    there = tokens(" ".join(said))
    blocks = match(there, there)
    assert blocks == [(k, k + 1, k, k + 1, True) for k in range(len(there))]


@pytest.mark.parametrize(
    ("said", "printed", "expected"),
    [
        ("they would n't go", "they wouldn't go", [(0, 1, 0, 1, 1), (1, 3, 1, 2, 1), (3, 4, 2, 3, 1)]),
        ("a rabbithole", "a rabbit-hole", [(0, 1, 0, 1, 1), (1, 2, 1, 3, 1)]),
        ("al lof it", "all of it", [(0, 2, 0, 2, 1), (2, 3, 2, 3, 1)]),
        ("U S army", "us army", [(0, 2, 0, 1, 1), (2, 3, 1, 2, 1)]),
        ("can not", "cannot", [(0, 2, 0, 1, 1)]),
        ("one labled jar", "one labelled jar", [(0, 1, 0, 1, 1), (1, 2, 1, 2, 0), (2, 3, 2, 3, 1)]),
        ("the grosse", "the große", [(0, 1, 0, 1, 1), (1, 2, 1, 2, 1)]),
        ("the gros se", "the große", [(0, 1, 0, 1, 1), (1, 2, 1, 2, 0)]),  # no cut within a character
    ],
)
def test_words_divided_in_another_way(said, printed, expected):
    assert [tuple(map(int, block)) for block in match(tokens(said), tokens(printed))] == expected


def random_words(n, kinds, seed=0):
    rng = np.random.default_rng(seed)
    return [f"{chr(97 + k % 26)}{chr(97 + k // 26 % 26)}x" for k in rng.integers(0, kinds, n)]


def test_a_text_that_repeats_itself_is_matched_too():
    there = tokens(" ".join(random_words(4000, kinds=7)))  # no five words in a row are found once
    kept = [token for k, token in enumerate(there) if k % 50]
    assert (len(there) * len(kept)) > matching.CELLS
    blocks = match(kept, there)
    assert len(blocks) == len(kept)
    assert all(block.same for block in blocks)


def test_long_stretches_are_cut_as_short_ones_are_weighed(monkeypatch):
    printed = random_words(300, kinds=200, seed=1)
    said = [word for k, word in enumerate(printed) if k % 17] + ["zz"]
    said[40:42] = ["qq"]
    whole = match(tokens(" ".join(said)), tokens(" ".join(printed)))
    monkeypatch.setattr(matching, "_seeds", lambda spoken, printed: [])
    assert match(tokens(" ".join(said)), tokens(" ".join(printed))) == whole
    monkeypatch.setattr(matching, "CELLS", 2000)
    assert match(tokens(" ".join(said)), tokens(" ".join(printed))) == whole


def test_what_is_too_long_and_has_nothing_in_common_is_not_weighed(monkeypatch):
    monkeypatch.setattr(matching, "CELLS", 100)
    assert match(tokens("a " * 20), tokens("b " * 20)) == []


def test_letters_are_compared_without_their_dress():
    assert letters("ＡLICE’S") == letters("alice's") == "alices"
    assert letters("Straße") == letters("STRASSE")
