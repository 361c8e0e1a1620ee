"""Which spoken words are which printed ones, in order?"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from brainalign.errors import need_package
from brainalign.features.printed import Token

SEED = 5  # so many words in a row, found once in both, are believed without weighing
CELLS = 4_000_000  # and so many where a stretch has more pairs than can be weighed at once, as Levenshtein finds them
INSERTED = 1.0  # a word spoken, not printed
LEFT_OUT = ((0.9, 0.025), (1.001, 0.0))  # a stretch printed, not spoken: what it costs, plus per word; the cheaper
UNREAD = ((0.9, 0.0),)  # the same before the first spoken word and after the last
SLIP = (0.9, 0.2)  # another word in its place, plus so much times the share of its letters that differ
JOINED = 0.01  # per word more than one to one, where the letters are the same
_INSERT, _OTHER, _JOIN = range(3)  # a word that is not printed; one for one; letters divided in another way


class Block(NamedTuple):
    """The spoken words `first` to `stop` and the printed ones `begin` to `end`; `same`: letter by letter."""

    first: int
    stop: int
    begin: int
    end: int
    same: bool


class Run(NamedTuple):
    """So many words in a row that are the same, from the spoken word `first` and the printed word `begin` on."""

    first: int
    begin: int
    length: int


def match(spoken: Sequence[Token], printed: Sequence[Token]) -> list[Block]:
    """Find the printed words of a transcript.

    Where five words in a row are found once in the transcript and once in the print, they are the same. Between such
    places every way to go through both is weighed, and the cheapest taken: words with the same letters cost nothing,
    divided alike or not (*would n't*, *wouldn't*); a word in another's place costs about one, so does a spoken word
    that is not printed, and so does a stretch of printed words that are not spoken, however long it is. A long stretch
    costs a trifle more than a word: so a single word is not fetched from far away.

    Returns
    -------
    list of Block
        In order. Spoken words in none are not printed, printed ones in none were not spoken.

    Raises
    ------
    SettingsError
        The extra `words` is not installed, which brings rapidfuzz.

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
    need_package("rapidfuzz", extra="words", what="finding the words of a transcript in its text")
    whole = Block(0, len(spoken), 0, len(printed), False)
    return _between(spoken, printed, whole, _seeds(spoken, printed), whole)


def _between(
    spoken: Sequence[Token], printed: Sequence[Token], part: Block, runs: Sequence[Run], whole: Block
) -> list[Block]:
    """The blocks of one stretch, of which some runs are known."""
    found: list[Block] = []
    first, begin = part.first, part.begin
    for run in [*runs, Run(part.stop, part.end, 0)]:
        rest = Block(first, run.first, begin, run.begin, False)
        if (rest.stop - rest.first) * (rest.end - rest.begin) <= CELLS:
            found += _weigh(spoken, printed, rest, whole)
        elif more := _equal_runs(spoken, printed, rest):
            found += _between(spoken, printed, rest, more, whole)
        found += [
            Block(run.first + k, run.first + k + 1, run.begin + k, run.begin + k + 1, True) for k in range(run.length)
        ]
        first, begin = run.first + run.length, run.begin + run.length
    return found


def _equal_runs(spoken: Sequence[Token], printed: Sequence[Token], part: Block) -> list[Run]:
    """The runs of words in a row that Levenshtein's way through a long stretch leaves as they are."""
    from rapidfuzz.distance import Levenshtein

    a = [token.letters for token in spoken[part.first : part.stop]]
    b = [token.letters for token in printed[part.begin : part.end]]
    return [
        Run(part.first + op.src_start, part.begin + op.dest_start, op.src_end - op.src_start)
        for op in Levenshtein.opcodes(a, b)
        if op.tag == "equal" and op.src_end - op.src_start >= SEED
    ]


def _seeds(spoken: Sequence[Token], printed: Sequence[Token]) -> list[Run]:
    """Runs of words in a row that are found once in both: of those, the most that stand in one order."""
    there = _once(printed)
    pairs = sorted((i, there[gram]) for gram, i in _once(spoken).items() if gram in there)
    runs: list[Run] = []
    i_end, j_end = 0, 0
    for i, j in _rising(pairs):
        if runs and i <= i_end and j - i == j_end - i_end:
            runs[-1] = runs[-1]._replace(length=i + SEED - runs[-1].first)
        else:
            shift = max(0, i_end - i, j_end - j)
            if shift >= SEED:
                continue
            runs.append(Run(i + shift, j + shift, SEED - shift))
        i_end, j_end = i + SEED, j + SEED
    return runs


def _once(words: Sequence[Token]) -> dict[tuple[str, ...], int]:
    """Each sequence of so many words that stands in one place only, and where."""
    texts = [token.letters for token in words]
    places: dict[tuple[str, ...], int] = {}
    for k, gram in enumerate(zip(*(texts[start:] for start in range(SEED)))):
        places[gram] = -1 if gram in places else k
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
    """The cheapest way through one stretch, by dynamic programming over all pairs of places.

    `cost[i, j]` is that of having gone through i spoken and j printed words, the last printed one not left out;
    `gone[i, j]` with the last printed one left out; `step[i, j]` says how cost[i, j] came about.
    """
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

    a, b = spoken[part.first : part.stop], printed[part.begin : part.end]
    m, n = len(a), len(b)
    if not m or not n:
        return []
    differ = cdist([t.letters for t in a], [t.letters for t in b], scorer=Levenshtein.normalized_distance)
    joined = _joins(a, b)
    cost, gone = np.full((2, m + 1, n + 1), np.inf)
    step = np.full((m + 1, n + 1), _JOIN, np.int8)
    since = np.zeros((m + 1, n + 1), np.int32)  # where the words that are left out begin
    cost[0, 0] = 0.0
    for i in range(m + 1):
        first = i == 0 and (part.first, part.begin) == (whole.first, whole.begin)
        last = i == m and (part.stop, part.end) == (whole.stop, whole.end)
        gone[i, 1:], since[i, 1:] = _leave_out(cost[i, :-1], UNREAD if first or last else LEFT_OUT)
        if i == m:
            break
        here = np.minimum(cost[i], gone[i])
        one = here + INSERTED
        other = np.r_[np.inf, here[:-1] + np.where(differ[i] > 0, SLIP[0] + SLIP[1] * differ[i], 0.0)]
        cheaper = np.minimum(one, other) < cost[i + 1]  # than what was joined before
        step[i + 1, cheaper] = np.where(other < one, _OTHER, _INSERT)[cheaper]
        cost[i + 1] = np.minimum(cost[i + 1], np.minimum(one, other))
        for j, (to_i, to_j) in joined[i]:
            price = here[j] + JOINED * (to_i - i + to_j - j - 2)
            if price < cost[to_i, to_j]:
                cost[to_i, to_j], step[to_i, to_j] = price, _JOIN
    found, i, j = [], m, n
    came = {(to_i, to_j): (i, j) for i, row in enumerate(joined) for j, (to_i, to_j) in row}
    while i or j:
        if gone[i, j] < cost[i, j]:
            j = int(since[i, j])
            continue
        if step[i, j] == _INSERT:
            i -= 1
            continue
        alike = bool(step[i, j] == _JOIN or differ[i - 1, j - 1] == 0)
        before = came[i, j] if step[i, j] == _JOIN else (i - 1, j - 1)
        found.append(Block(part.first + before[0], part.first + i, part.begin + before[1], part.begin + j, alike))
        i, j = before
    return found[::-1]


def _leave_out(cost: np.ndarray, prices: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """The cheapest way to leave out the word at each place, given the `cost` of having come there, and since where."""
    place = np.arange(len(cost))
    best, since = np.full(len(cost), np.inf), np.zeros(len(cost), int)
    for begun, each in prices:
        level = cost - each * place
        least = np.minimum.accumulate(level)
        price = least + begun + each * (place + 1)
        since = np.where(price < best, np.maximum.accumulate(np.where(level == least, place, 0)), since)
        best = np.minimum(best, price)
    return best, since


def _joins(a: Sequence[Token], b: Sequence[Token]) -> list[list[tuple[int, tuple[int, int]]]]:
    """For each word of `a`, from which words of `b` on both go on with the same letters, and where both end.

    Only where they are divided in another way: one is then the beginning of the other.
    """
    begins: dict[str, list[int]] = {}  # the beginnings of the words of b, and whose
    whole: dict[str, list[int]] = {}
    for j, token in enumerate(b):
        whole.setdefault(token.letters, []).append(j)
        for length in range(1, len(token.letters)):
            begins.setdefault(token.letters[:length], []).append(j)
    rows = []
    for i, token in enumerate(a):
        shorter = [j for length in range(1, len(token.letters)) for j in whole.get(token.letters[:length], ())]
        ends = [(j, _joined(a, b, i, j)) for j in sorted({*begins.get(token.letters, ()), *shorter})]
        rows.append([(j, end) for j, end in ends if end is not None])
    return rows


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
