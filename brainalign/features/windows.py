"""Which tokens does a language model read together, and which words are kept from each reading?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Unit = Literal["tokens", "words"]


@dataclass(frozen=True)
class Window:
    """Tokens `start` to `stop` of a text are read together; the words `first` to `last` (not included) are kept."""

    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True)
class Context:
    """What of a text a word is met in.

    Parameters
    ----------
    size : int
        The longest window; the word that is described counts.
    unit : {"tokens", "words"}
        Of `size`.
    exact : bool
        Whether every word gets the whole context, instead of half of it to all of it.
    both_ways : bool
        Whether the model's states depend on what follows: then a window ends with the word it is for.
    ahead : bool
        Whether a model that reads both ways is shown what follows a word.
    """

    size: int
    unit: Unit = "tokens"
    exact: bool = False
    both_ways: bool = False
    ahead: bool = False

    @property
    def longest_word(self) -> int:
        """How many tokens a word may have, where `size` counts tokens."""
        return self.size if self.exact else self.size // 2


def plan_windows(first: np.ndarray, stop: np.ndarray, context: Context) -> list[Window]:
    """Cut a text into windows such that every word is met as `context` says.

    Parameters
    ----------
    first, stop : (n_words,) int
        The first token of each word, and the one after its last; neither ever falls.
    context : Context

    Returns
    -------
    list of Window
        Every word is kept by exactly one. A word that is longer than it may be is kept by none: the last window ends
        before it (`last` == `first`).

    Examples
    --------
    >>> each = np.arange(6)  # six words of one token
    >>> plan_windows(each, each + 1, Context(4))
    [Window(start=0, stop=4, first=0, last=4), Window(start=2, stop=6, first=4, last=6)]
    >>> plan_windows(each, each + 1, Context(4, exact=True))[1:]
    [Window(start=1, stop=5, first=4, last=5), Window(start=2, stop=6, first=5, last=6)]
    """
    if context.unit == "words":
        word = np.arange(len(first))
        windows = _plan(word, word + 1, context)
        return [Window(int(first[w.start]), int(stop[w.stop - 1]), w.first, w.last) for w in windows]
    return _plan(first, stop, context)


def _plan(first: np.ndarray, stop: np.ndarray, context: Context) -> list[Window]:
    too_long = np.flatnonzero(stop - first > context.longest_word)
    n = int(too_long[0]) if len(too_long) else len(first)
    if context.ahead:
        windows = _around_each(first, stop, context.size, n) if context.exact else _ahead(first, stop, context, n)
    else:
        windows = _before_each(first, stop, context.size, n) if context.exact else _half(first, stop, context, n)
        if context.both_ways:
            windows = [Window(w.start, int(stop[k]), k, k + 1) for w in windows for k in range(w.first, w.last)]
    return windows if n == len(first) else [*windows, Window(int(first[n]), int(stop[n]), n, n)]


def _half(first: np.ndarray, stop: np.ndarray, context: Context, n: int) -> list[Window]:
    """Windows that share half their tokens with the one before: each word has half a context before it, or more."""
    windows: list[Window] = []
    word = 0
    while word < n:
        start = max(0, int(first[word]) - (context.size - context.size // 2))
        last = min(int(np.searchsorted(stop, start + context.size, side="right")), n)
        windows.append(Window(start, int(stop[last - 1]), word, last))
        word = last
    return windows


def _before_each(first: np.ndarray, stop: np.ndarray, size: int, n: int) -> list[Window]:
    """A window per word, the whole context up to its end; words that all see the text from its beginning share one."""
    together = min(int(np.searchsorted(stop, size, side="right")), n)
    opening = [Window(0, int(stop[together - 1]), 0, together)] if together else []
    return opening + [Window(int(stop[k]) - size, int(stop[k]), k, k + 1) for k in range(together, n)]


def _ahead(first: np.ndarray, stop: np.ndarray, context: Context, n: int) -> list[Window]:
    """Windows of which the middle half is kept: each word has a quarter of a context on either side, or more."""
    windows: list[Window] = []
    end, quarter = int(stop[n - 1]) if n else 0, context.size // 4
    word = 0
    while word < n:
        start = max(0, min(int(first[word]) - quarter, end - context.size))
        reach = start + context.size
        last = n if reach >= end else int(np.searchsorted(stop, reach - quarter, side="right"))
        last = max(last, word + 1)
        windows.append(Window(start, min(reach, end), word, min(last, n)))
        word = last
    return windows


def _around_each(first: np.ndarray, stop: np.ndarray, size: int, n: int) -> list[Window]:
    """A window per word with the word in its middle, moved inwards where the text begins or ends."""
    end = int(stop[n - 1]) if n else 0
    starts = (first[:n] + stop[:n] - size) // 2
    starts = np.maximum(0, np.minimum(starts, end - size))
    return [Window(int(s), min(int(s) + size, end), k, k + 1) for k, s in enumerate(starts)]
