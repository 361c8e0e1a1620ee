"""What stands in a printed text: which words, which marks between them, where does a sentence end?"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

APOSTROPHES = "'’‘ʼ＇`´′"
SIGNS = "&%@#§°+="  # and currencies: marks that are read out as words
PAIRED = "'\"’‘‚”“„»«›‹()[]{}"  # after a word it closes, before one it opens
STRENGTH = (".!?…。！？", ";:", "—–", ",、，")  # which mark stays when the words between two of them go
NEAR = 30  # words: further apart, two quotation marks are not taken for partners
ENDS = re.compile(r"[.!?…][^\s\w]*\s|[。！？]")
ABBREVIATIONS = ("mr", "mrs", "ms", "dr", "st", "prof", "rev", "gen", "col", "capt", "lt", "jr", "sr", "vs", "mme")
UNSPACED = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF),
            (0x20000, 0x3FFFF))  # Thai and Lao, Burmese, Khmer, kana, Chinese characters  # fmt: skip

TOKEN = re.compile(r"l(?:[lm]|i+(?=l))*|um*|s")  # over `_kind` of every character


class Token(NamedTuple):
    """A word as printed: the characters `begin` to `end`; `places` is the character each of its `letters` is from."""

    begin: int
    end: int
    letters: str
    places: tuple[int, ...]


def clean(text: str) -> str:
    r"""A printed text without what was made for the eye: line breaks, `_emphasis_`, ligatures, rows of asterisks.

    Examples
    --------
    >>> clean("It was _very_\n  de\u00adep;\n\n * * *\n\nthe ﬁrst")
    'It was very deep; the first'
    """
    text = unicodedata.normalize("NFC", text)
    text = re.sub("[\ufb00-\ufb06]", lambda ligature: unicodedata.normalize("NFKC", ligature.group()), text)
    text = re.sub("[\u00ad\u200b\ufeff]", "", text)
    text = re.sub(r"(?<![^\W_])_+|_+(?![^\W_])", "", text)
    text = re.sub(r"(?m)^[ \t]*\*[* \t]*$", "", text)
    return " ".join(text.split())


def letters(word: str) -> str:
    """What is compared of a word: its letters and digits, without case and without the form they are written in.

    Examples
    --------
    >>> letters("Wouldn’t"), letters("rabbit-hole"), letters("—")
    ('wouldnt', 'rabbithole', '')
    """
    return "".join(map(_letters, unicodedata.normalize("NFC", word)))


def tokens(text: str) -> list[Token]:
    """The words of a text. A hyphen divides two, an apostrophe within a word does not.

    Where a script has no spaces between words, each character is a token, and so are signs that are read out.

    Examples
    --------
    >>> [text[t.begin : t.end] for text in ["'Wouldn't the rabbit-hole --", "小王子 & Co."] for t in tokens(text)]
    ["Wouldn't", 'the', 'rabbit', 'hole', '小', '王', '子', '&', 'Co']
    """
    found = []
    for match in TOKEN.finditer("".join(map(_kind, text))):
        own = [(letter, place) for place in range(*match.span()) for letter in _letters(text[place])]
        found.append(Token(*match.span(), "".join(a for a, _ in own), tuple(place for _, place in own)))
    return found


def is_inner(character: str) -> bool:
    """Whether a character can stand within a word without being a letter: an apostrophe, or one that is not seen."""
    return _kind(character) == "i"


def is_unspaced(character: str) -> bool:
    """Whether a character is of a script that has no spaces between words."""
    return _kind(character) == "u"


def split_gap(gap: str) -> tuple[str, str]:
    """The marks that follow a word, and the rest: a space and the marks that precede the next.

    Examples
    --------
    >>> split_gap(",' "), split_gap(". ('"), split_gap(" -- "), split_gap("-")
    ((",'", ' '), ('.', " ('"), (' --', ' '), ('-', ''))
    """
    space = gap.rfind(" ")
    return (gap, "") if space < 0 else (gap[:space], gap[space:])


def bridge(gaps: Sequence[str]) -> str:
    """What stands between two words when those that were printed between them are left out.

    The strongest of the marks stays (the end of a sentence, then `;` and `:`, a dash, a comma); a quotation mark or
    bracket goes only together with its partner. Where more than a sentence or so is left out, no partners are sought.

    Parameters
    ----------
    gaps : sequence of str
        What stands before, between and after the words that are left out.

    Examples
    --------
    >>> bridge([", ", ", "]), bridge([" ", "! "]), bridge([". [", "] "]), bridge([" ", ",' "]), bridge(["-", " "])
    (', ', '! ', '. ', ",' ", ' ')
    """
    if not any(" " in gap for gap in gaps):
        return gaps[0]
    after, before = zip(*map(split_gap, gaps))
    ranks = [_strength(marks) for marks in after]
    strongest = ranks.index(min(ranks))
    opened, closed = "", ""
    for k in range(1, len(gaps) if len(gaps) <= NEAR else 1):  # around each word that goes
        opened += "".join(mark for mark in before[k - 1] if mark in PAIRED)
        closes = "".join(mark for mark in after[k] if mark in PAIRED)
        partners = min(len(opened), len(closes))
        opened, closed = opened[: len(opened) - partners], closed + closes[partners:]
    kept = after[0]
    if strongest:
        kept = "".join(m for m in kept if m in PAIRED) + "".join(m for m in after[strongest] if m not in PAIRED)
    if kept == "-":
        kept = ""  # nothing to join
    return kept + closed + " " + opened + before[-1].strip()


def ends_sentence(before: str, gap: str, after: str, capitals: bool = True) -> bool:
    """Whether a sentence ends between two words.

    It does at `.`, `!`, `?` or `…`, closing marks and a space, unless the next word begins with a small letter
    (``"Oh!" said Alice``) or the full stop is that of an abbreviation or an initial. Texts without `capitals` cannot
    be told the first way.

    Examples
    --------
    >>> ends_sentence("dear", "!' ", "said"), ends_sentence("dear", "!' ", "She"), ends_sentence("Mr", ". ", "Hare")
    (False, True, False)
    """
    if not ENDS.search(gap) or (capitals and after[:1].islower()):
        return False
    initial = len(before) == 1 and before.isupper() and before != "I"
    return not (gap.startswith(". ") and (initial or before.lower() in ABBREVIATIONS))


def _strength(marks: str) -> int:
    """0 for the end of a sentence, 1 for a semicolon … ; len(STRENGTH) where there is none."""
    if "--" in marks:
        marks += "—"
    return next((k for k, kind in enumerate(STRENGTH) if any(mark in kind for mark in marks)), len(STRENGTH))


@cache
def _letters(character: str) -> str:
    if character in APOSTROPHES or unicodedata.decomposition(character).startswith("<super>"):
        return ""  # superscripts are notes
    if _is_sign(character):
        return character
    folded = unicodedata.normalize("NFKC", character).casefold()
    return "".join(letter for letter in folded if unicodedata.category(letter)[0] in "LMN")


@cache
def _kind(character: str) -> str:
    """l(etter), m(ark on a letter), u(nspaced letter), s(ign), i(nner: divides no word), or `.`."""
    category = unicodedata.category(character)
    if character in APOSTROPHES or category == "Cf":
        return "i"
    if _is_sign(character):
        return "s"
    if category[0] == "M":
        return "m"
    if not _letters(character):
        return "."
    return "u" if any(low <= ord(character) <= high for low, high in UNSPACED) else "l"


def _is_sign(character: str) -> bool:
    return character in SIGNS or unicodedata.category(character) == "Sc"
