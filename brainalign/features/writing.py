"""How is what was heard written down with the punctuation of the print?"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise

from brainalign.features.matching import match
from brainalign.features.printed import APOSTROPHES, Token, bridge, is_inner, is_unspaced, letters, split_gap, tokens
from brainalign.features.spellings import CLITIC

ATTACHED = re.compile(rf"(?:{CLITIC}|[{APOSTROPHES}]t)$", re.IGNORECASE)  # written without a space; can|'t too
PLAIN = str.maketrans('"‘’‚“”„–—', "'''''''--")  # which quotation marks, is a matter of the print


@dataclass(frozen=True)
class Place:
    """The characters `begin` to `end` of the print that a spoken word is; -1: nowhere, `match` is "inserted"."""

    begin: int = -1
    end: int = -1
    printed: str = ""
    match: str = "inserted"


@dataclass
class Page:
    """A text as it is written: `parts` joined are the text, `spans` the characters of each spoken word so far.

    `left_out`: printed words that were not spoken, and the row of the spoken word before each, -1 for none.
    """

    said: Sequence[str]
    places: list[Place]
    parts: list[str] = field(default_factory=list)
    length: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list)
    left_out: list[tuple[str, int]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What is written."""
        return "".join(self.parts)

    def write(self, text: str) -> None:
        """Write on."""
        if text:
            self.parts.append(text)
            self.length += len(text)

    def word(self, text: str) -> None:
        """Write the next word."""
        self.spans.append((self.length, self.length + len(text)))
        self.write(text)

    def gap(self, marks: str, unprinted: Sequence[int], before: str) -> None:
        """Write what stands before a printed word, and the words said there that are not printed.

        They come after the marks that close, but a clitic before them; a word that is itself a mark is the one there.
        """
        closing, rest = split_gap(marks) if self.parts else ("", marks)
        done, needs_space = 0, False
        for row in unprinted:
            said = self.said[row]
            found = -1 if letters(said) else marks.translate(PLAIN).find(said.translate(PLAIN), done)
            if found >= 0:
                self.write(marks[done:found])
                done = found + len(said)
                self.places[row] = Place(printed=marks[found:done], match="same")
                self.word(marks[found:done])
                needs_space = False
                continue
            clitic = bool(ATTACHED.match(said) and self.parts)
            if done < len(closing) and not clitic:
                self.write(closing[done:] if rest or closing != "-" else "")
                done = len(closing)
            self.space(said)
            self.word(said)
            needs_space = not clitic
        rest = marks[done:].rstrip() if ATTACHED.match(before) else marks[done:]
        if needs_space and before:
            self.space(rest or before)
        self.write(rest)

    def space(self, before: str) -> None:
        """Write a space, if one belongs between what is written and this."""
        last = self.parts[-1][-1] if self.parts else " "
        if not (
            last == " " or before[0] == " " or ATTACHED.match(before) or is_unspaced(last) or is_unspaced(before[0])
        ):
            self.write(" ")


def write_down(said: Sequence[str], print_: str) -> Page:
    """Match the words of a transcript with a printed text (as `clean` leaves it), and write down what was heard.

    Examples
    --------
    >>> page = write_down(["it", "'s", "um", "a", "hat"], "'It is a cat!' she said.")
    >>> page.text, [page.text[begin:end] for begin, end in page.spans]
    ("'It's um a hat!'", ['It', "'s", 'um', 'a', 'hat'])
    """
    said = [unicodedata.normalize("NFC", word) for word in said]
    if all(word == word.upper() for word in said):
        said = [word.lower() for word in said]  # capitals that say nothing
    there = tokens(print_)
    ends = [token.end for token in there]
    page = Page(said, find_places(said, print_, there))
    token, edge, last = 0, 0, -1  # the next printed word; where the last one ended, and its row
    for row, place in enumerate(page.places):
        if place.begin < 0:
            continue
        skipped = there[token : bisect_right(ends, place.begin, token)]
        text = _like(said[row], place.printed) if place.match == "slip" else print_[place.begin : place.end]
        page.gap(_between(print_, edge, skipped, place.begin), range(last + 1, row), text)
        if "slip" in (place.match, page.places[last].match) and place.begin == edge:
            page.space(text)  # signs are printed without: "$5"
        page.word(text)
        page.left_out += [(print_[t.begin : t.end], last) for t in skipped]
        token = bisect_right(ends, place.end, token)
        edge, last = place.end, row
    page.left_out += [(print_[t.begin : t.end], last) for t in there[token:]]
    marks = print_[edge : there[token].begin] if token < len(there) else print_[edge:] + " "
    page.gap(split_gap(bridge([marks, " "]))[0] if edge else "", range(last + 1, len(said)), "")
    return page


def find_places(said: Sequence[str], print_: str, there: Sequence[Token]) -> list[Place]:
    """The place of every spoken word in the print; an apostrophe belongs to the word that is spoken with it.

    Examples
    --------
    >>> text = "They'll be mice."
    >>> for place in find_places(["they", "'ll", "be", "mouse"], text, tokens(text)):
    ...     print(text[place.begin : place.end], "|", place.printed, "|", place.match)
    They | They'll | part
    'll | They'll | part
    be | be | same
    mice | mice | slip
    """
    pieces = tokens(" ".join(said))
    ends = list(accumulate(len(word) + 1 for word in said))
    rows = [bisect_right(ends, piece.begin) for piece in pieces]  # which word each is of
    at = [place for token in there for place in token.places]  # the character of each printed letter
    starts = [0, *accumulate(len(token.letters) for token in there)]  # the first letter of each printed word
    found: dict[int, list[tuple[int, int, bool]]] = {}  # row → of each of its pieces, which printed letters, alike?
    for block in match(pieces, there):
        letter = starts[block.begin]
        for row, piece in zip(rows[block.first : block.stop], pieces[block.first : block.stop]):
            stop = letter + len(piece.letters) if block.same else starts[block.end]
            found.setdefault(row, []).append((letter, stop, block.same))
            letter = stop
    counts = Counter(rows)
    borders = set(starts)
    places = []
    for row in range(len(said)):
        own = found.get(row)
        if own is None:
            places.append(Place())
            continue
        first, stop = own[0][0], own[-1][1]
        alike = len(own) == counts[row] and all(same for _, _, same in own)
        alike = alike and all(a[1] == b[0] for a, b in pairwise(own))
        kind = "slip" if not alike else "same" if {first, stop} <= borders else "part"
        whole = print_[there[bisect_right(starts, first) - 1].begin : there[bisect_right(starts, stop - 1) - 1].end]
        places.append(Place(at[first], at[stop - 1] + 1, whole, kind))
    return _with_apostrophes(said, print_, places)


def _with_apostrophes(said: Sequence[str], print_: str, places: list[Place]) -> list[Place]:
    """Spans that take in the apostrophes next to them that are spoken, or else that stand within a divided word."""
    placed = [place.begin for place in places if place.begin >= 0] + [len(print_)]
    edge = 0  # nothing before it can be taken
    for row, (place, word) in enumerate(zip(places, said)):
        if place.match not in ("same", "part"):
            continue
        begin, end = place.begin, place.end
        following = placed[bisect_right(placed, begin)]
        divided = place.match == "part" and edge and all(map(is_inner, print_[edge:begin]))
        while begin > edge and is_inner(print_[begin - 1]) and (divided or word[0] in APOSTROPHES):
            begin -= 1
        while end < following and print_[end] in APOSTROPHES and word[-1] in APOSTROPHES:
            end += 1
        if (begin, end) != (place.begin, place.end):
            places[row] = replace(place, begin=begin, end=end)
        edge = end
    return places


def _between(print_: str, edge: int, left_out: Sequence[Token], begin: int) -> str:
    """The marks between two words that are written; before the first one, those that open."""
    ends = [edge, *(token.end for token in left_out)]
    gaps = [print_[a:b] for a, b in zip(ends, [*(token.begin for token in left_out), begin])]
    if not edge:
        return split_gap(" " + gaps[-1])[1].lstrip()
    return bridge(gaps) if left_out else gaps[0]


def _like(said: str, printed: str) -> str:
    """A word said for another, with a capital where that has one."""
    return said[0].upper() + said[1:] if printed[0].isupper() and printed != printed.upper() else said
