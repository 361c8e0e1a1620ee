"""Windows: every word is kept once, with the context it was promised."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from brainalign.features.windows import Context, plan_windows

TEXTS = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 1)), min_size=1, max_size=60)


def laid_out(text: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """First token of each word and the one after its last; some tokens between words belong to none."""
    lengths, gaps = np.array(text).T
    stop = np.cumsum(lengths + gaps)
    return stop - lengths, stop


def check(windows, first, stop, size):
    """Every word kept once and whole, no window too long."""
    assert [word for w in windows for word in range(w.first, w.last)] == list(range(len(first)))
    for w in windows:
        assert w.start >= 0
        assert w.stop - w.start <= size
        assert all(w.start <= first[word] and stop[word] <= w.stop for word in range(w.first, w.last))


@given(TEXTS, st.integers(8, 40))
def test_shared_windows_give_half_a_context_or_more(text, size):
    first, stop = laid_out(text)
    windows = plan_windows(first, stop, Context(size))
    check(windows, first, stop, size)
    for w in windows:
        for word in range(w.first, w.last):
            assert w.start == 0 or size - size // 2 <= first[word] - w.start < size


@given(TEXTS, st.integers(8, 40))
def test_exact_windows_give_all_of_it(text, size):
    first, stop = laid_out(text)
    windows = plan_windows(first, stop, Context(size, exact=True))
    check(windows, first, stop, size)
    for w in windows:
        for word in range(w.first, w.last):
            assert w.start == max(0, stop[word] - size)


@given(TEXTS, st.integers(8, 40), st.booleans())
def test_who_reads_both_ways_sees_nothing_that_comes_later(text, size, exact):
    first, stop = laid_out(text)
    causal = plan_windows(first, stop, Context(size, exact=exact))
    starts = {word: w.start for w in causal for word in range(w.first, w.last)}
    windows = plan_windows(first, stop, Context(size, exact=exact, both_ways=True))
    check(windows, first, stop, size)
    assert [(w.start, w.stop) for w in windows] == [(starts[k], stop[k]) for k in range(len(first))]


@given(TEXTS, st.integers(8, 40))
def test_what_is_shown_ahead_is_a_quarter_or_more_on_either_side(text, size):
    first, stop = laid_out(text)
    windows = plan_windows(first, stop, Context(size, both_ways=True, ahead=True))
    check(windows, first, stop, size)
    end = stop[-1]
    for w in windows:
        assert w.stop - w.start == min(size, end)
        for word in range(w.first, w.last):
            assert w.start == 0 or first[word] - w.start >= size // 4
            alone = w.last - w.first == 1  # a long word may reach into the last quarter
            assert w.stop == end or w.stop - stop[word] >= size // 4 or alone


@given(TEXTS, st.integers(8, 40))
def test_exactly_in_the_middle(text, size):
    first, stop = laid_out(text)
    windows = plan_windows(first, stop, Context(size, exact=True, both_ways=True, ahead=True))
    check(windows, first, stop, size)
    for word, w in enumerate(windows):
        assert w.stop - w.start == min(size, stop[-1])
        off = abs((first[word] - w.start) - (w.stop - stop[word]))
        assert off <= 1 or w.start == 0 or w.stop == stop[-1]


@given(TEXTS, st.integers(1, 9), st.booleans())
def test_a_context_counted_in_words(text, size, exact):
    first, stop = laid_out(text)
    size += not exact
    windows = plan_windows(first, stop, Context(size, "words", exact=exact))
    kept = [word for w in windows for word in range(w.first, w.last)]
    assert kept == list(range(len(first)))
    for w in windows:
        assert w.stop == stop[w.last - 1]
        opening = first.tolist().index(w.start) if w.start else 0
        for word in range(w.first, w.last):
            seen = word - opening + 1
            assert seen == min(size, word + 1) if exact else min(word + 1, size - size // 2 + 1) <= seen <= size


def test_windows_overlap_by_half():
    each = np.arange(100)
    windows = plan_windows(each, each + 1, Context(20))
    assert all(b.first == a.last and b.start == b.first - 10 for a, b in pairwise(windows))
    assert len(windows) == 9


def test_a_word_too_long_is_where_the_plan_ends():
    first, stop = np.array([0, 1, 9]), np.array([1, 9, 10])
    for context, kept in [(Context(10), 1), (Context(16), 3), (Context(8, exact=True), 3), (Context(7, exact=True), 1)]:
        windows = plan_windows(first, stop, context)
        assert (windows[-1].first == windows[-1].last) == (kept < 3)
        assert sum(w.last - w.first for w in windows) == kept
