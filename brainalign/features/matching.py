"""Which spoken words are which printed ones, in order?"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from brainalign.features.printed import Token

SEEDS = (5, 3)  # words in a row, found once in both: believed without weighing
CELLS = 1_000_000  # a stretch of more pairs than this is not weighed
INSERTED = 1.0  # a word spoken, not printed
LEFT_OUT = 1.001  # a stretch printed, not spoken, however long; above INSERTED: or one word would be sought far away
UNREAD = 1.0  # the same before the first word and after the last: a little less, so that words stay together
SLIP = (0.9, 0.2)  # another word in its place, plus so much times the share of its letters that differ
JOINED = 0.01  # per word more than one to one, where the letters are the same


class Block(NamedTuple):
    """The spoken words `first` to `stop` and the printed ones `begin` to `end`; `same`: letter by letter."""

    first: int
    stop: int
    begin: int
    end: int
    same: bool


def match(spoken: Sequence[Token], printed: Sequence[Token]) -> list[Block]:
    """Find the printed words of a transcript.

    Where five words in a row are found once in the transcript and once in the print, they are the same. Between such
    places every way to go through both is weighed, and the cheapest taken: words with the same letters cost nothing,
    divided alike or not (*would n't*, *wouldn't*); a word in another's place costs about one, so does a spoken word
    that is not printed, and so does a stretch of printed words that are not spoken, however long it is.

    Returns
    -------
    list of Block
        In order. Spoken words in none are not printed, printed ones in none were not spoken.

    Notes
    -----
    The distance of Levenshtein, which counts every printed word that is not spoken, is another: once much is left out,
    as when an excerpt is sought in a book, it finds the words after a slip scattered over the rest of the book.

    Examples
    --------
    >>> from brainalign.features.printed import tokens
    >>> match(tokens("they would n't go"), tokens("Well, they wouldn't come."))[1:]
    [Block(first=1, stop=3, begin=2, end=3, same=True), Block(first=3, stop=4, begin=3, end=4, same=False)]
    """
    whole = Block(0, len(spoken), 0, len(printed), False)
    return _within(spoken, printed, whole, whole, SEEDS)


def _within(
    spoken: Sequence[Token], printed: Sequence[Token], part: Block, whole: Block, sizes: tuple[int, ...]
) -> list[Block]:
    """The blocks of one stretch: between seeds, again, with shorter seeds where it is long."""
    cells = (part.stop - part.first) * (part.end - part.begin)
    if not cells:
        return []
    if not sizes or (sizes != SEEDS and cells <= CELLS):
        return _weigh(spoken, printed, part, whole) if cells <= CELLS else []
    found: list[Block] = []
    first, begin = part.first, part.begin
    for i, j, length in [*_seeds(spoken, printed, part, sizes[0]), (part.stop, part.end, 0)]:
        found += _within(spoken, printed, Block(first, i, begin, j, False), whole, sizes[1:])
        found += [Block(i + k, i + k + 1, j + k, j + k + 1, True) for k in range(length)]
        first, begin = i + length, j + length
    return found


def _seeds(spoken: Sequence[Token], printed: Sequence[Token], part: Block, size: int) -> list[tuple[int, int, int]]:
    """Runs (spoken, printed, length) of `size` words or more that are found once in both, the longest rising chain."""
    there = _once(printed, part.begin, part.end, size)
    pairs = sorted((i, there[gram]) for gram, i in _once(spoken, part.first, part.stop, size).items() if gram in there)
    runs: list[tuple[int, int, int]] = []
    i_end, j_end = part.first, part.begin
    for i, j in _rising(pairs):
        if runs and i <= i_end and j - i == j_end - i_end:
            begun = runs.pop()
            runs.append((begun[0], begun[1], i + size - begun[0]))
        else:
            shift = max(0, i_end - i, j_end - j)
            if shift >= size:
                continue
            runs.append((i + shift, j + shift, size - shift))
        i_end, j_end = i + size, j + size
    return runs


def _once(words: Sequence[Token], begin: int, end: int, size: int) -> dict[tuple[str, ...], int]:
    """Each sequence of `size` words that stands in one place only, and where."""
    texts = [token.letters for token in words[begin:end]]
    places: dict[tuple[str, ...], int] = {}
    for k, gram in enumerate(zip(*(texts[start:] for start in range(size)))):
        places[gram] = -1 if gram in places else begin + k
    return {gram: place for gram, place in places.items() if place >= 0}


def _rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest of the chains in which the second number rises too."""
    ends: list[int] = []  # the smallest second number with which a chain of each length can end
    at: list[int] = []
    back: list[int] = []
    for k, (_, j) in enumerate(pairs):
        length = bisect_left(ends, j)
        back.append(at[length - 1] if length else -1)
        ends[length : length + 1] = [j]
        at[length : length + 1] = [k]
    chain, k = [], at[-1] if at else -1
    while k >= 0:
        chain.append(pairs[k])
        k = back[k]
    return chain[::-1]


def _weigh(spoken: Sequence[Token], printed: Sequence[Token], part: Block, whole: Block) -> list[Block]:
    """The cheapest way through one stretch, by dynamic programming over all pairs of places."""
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

    a, b = spoken[part.first : part.stop], printed[part.begin : part.end]
    m, n = len(a), len(b)
    differ = cdist([t.letters for t in a], [t.letters for t in b], scorer=Levenshtein.normalized_distance).tolist()
    never = float("inf")
    cost = [[never] * (n + 1) for _ in range(m + 1)]  # the last step leaves nothing out
    gone = [[never] * (n + 1) for _ in range(m + 1)]  # the last step leaves a printed word out
    came: dict[tuple[int, int], tuple[int, int, bool]] = {}  # from which place, and whether the letters are the same
    left = [[0] * (n + 1) for _ in range(m + 1)]  # where the words that are left out begin
    cost[0][0] = 0.0
    for i in range(m + 1):
        outside = (i == 0 and part.first == whole.first and part.begin == whole.begin) or (
            i == m and part.stop == whole.stop and part.end == whole.end
        )
        for j in range(n + 1):
            here = min(cost[i][j], gone[i][j])
            if j < n:
                begun = cost[i][j] + (UNREAD if outside else LEFT_OUT)
                gone[i][j + 1], left[i][j + 1] = (begun, j) if begun < gone[i][j] else (gone[i][j], left[i][j])
            if i == m:
                continue
            steps = [(i + 1, j, here + INSERTED, False)]
            if j < n:
                joined = _joined(a, b, i, j)
                if joined is not None:
                    steps.append((*joined, here + JOINED * (sum(joined) - i - j - 2), True))
                if joined != (i + 1, j + 1):
                    steps.append((i + 1, j + 1, here + SLIP[0] + SLIP[1] * differ[i][j], False))
            for to_i, to_j, price, same in steps:
                if price < cost[to_i][to_j]:
                    cost[to_i][to_j] = price
                    came[to_i, to_j] = (i, j, same)
    found, i, j = [], m, n
    while i or j:
        if gone[i][j] < cost[i][j]:
            j = left[i][j]
            continue
        from_i, from_j, same = came[i, j]
        if from_j < j:
            found.append(Block(part.first + from_i, part.first + i, part.begin + from_j, part.begin + j, same))
        i, j = from_i, from_j
    return found[::-1]


def _joined(a: Sequence[Token], b: Sequence[Token], i: int, j: int) -> tuple[int, int] | None:
    """Where the words from i and from j on have had the same letters and both end; None where they differ before."""
    said, read = a[i].letters, b[j].letters
    while said != read:
        if said.startswith(read):
            j += 1
            if j == len(b):
                return None
            said, read = said[len(read) :], b[j].letters
        elif read.startswith(said):
            i += 1
            cut = len(b[j].letters) - len(read) + len(said)
            if i == len(a) or b[j].places[cut] == b[j].places[cut - 1]:  # within what one character stands for
                return None
            said, read = a[i].letters, read[len(said) :]
        else:
            return None
    return i + 1, j + 1
