"""Under which spellings may a word of a transcript stand in somebody's list of words?"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from brainalign.features.printed import APOSTROPHES

CLITICS = ("n't", "'s", "'ll", "'ve", "'re", "'m", "'d")  # as the Penn treebank and GloVe cut them off
CLITIC = rf"(?:{'|'.join(CLITICS)})".replace("'", f"[{APOSTROPHES}]")  # a pattern of any of them, however written
CLITIC_AT_END = re.compile(rf"(.+?)({CLITIC})", re.IGNORECASE)
STRAIGHT = str.maketrans(dict.fromkeys(APOSTROPHES, "'"))
FOUND_AS = ("as written", "lower-cased", "without punctuation", "clitic apart", "parts of a compound")


def spellings(word: str) -> list[tuple[str, tuple[str, ...]]]:
    """What to look a word up as, in this order; the first that is there counts.

    - "as written": the word as it stands in the transcript;
    - "lower-cased": the same in small letters;
    - "without punctuation": no marks around it, straight apostrophes, letters with their accents in one;
    - "clitic apart": of that, n't, 's, 'll, 've, 're, 'm, 'd cut off;
    - "parts of a compound": of that, cut at hyphens too.

    The last three are tried as they are and then lower-cased.

    Parameters
    ----------
    word : str

    Returns
    -------
    list of (str, tuple of str)
        Which row of the table, and the parts to look up, all of which have to be there. Each spelling stands once.

    Examples
    --------
    >>> [" + ".join(parts) for _, parts in spellings("“Don’t")]
    ['“Don’t', '“don’t', "Don't", "don't", "Do + n't", "do + n't"]
    """
    plain = without_punctuation(word)
    clitic = cut_clitics(plain)
    pieces = tuple(part for piece in plain.split("-") if piece for part in cut_clitics(piece))
    rows = [(word,), (word.lower(),), (plain,), clitic, pieces]
    found: dict[tuple[str, ...], str] = {}
    for what, parts in zip(FOUND_AS, rows, strict=True):
        for case in (parts, tuple(part.lower() for part in parts)):
            if case and all(case) and (what != "as written" or case == (word,)):
                found.setdefault(case, what)
    return [(what, parts) for parts, what in found.items()]


def look_up(word: str, known: Container[str]) -> tuple[str, tuple[str, ...]] | None:
    """The first of a word's spellings of which every part is known, and which it is; None where there is none.

    Examples
    --------
    >>> look_up("Alice's.", {"alice", "'s"})
    ('clitic apart', ('alice', "'s"))
    """
    return next((found for found in spellings(word) if all(part in known for part in found[1])), None)


def without_punctuation(word: str) -> str:
    """A word without the marks around it; a clitic keeps its apostrophe, and of marks alone nothing is left.

    Examples
    --------
    >>> [without_punctuation(word) for word in ("“Oh!”", "’s", "rabbit-hole,", "—")]
    ['Oh', "'s", 'rabbit-hole', '']
    """
    word = straightened(word)
    inside = [k for k, letter in enumerate(word) if unicodedata.category(letter)[0] not in "PSZ"]
    if not inside:
        return ""
    begun = word[: inside[-1] + 1]
    for clitic in CLITICS:
        if begun.lower().endswith(clitic) and inside[0] >= len(begun) - len(clitic):
            return begun[-len(clitic) :]
    return begun[inside[0] :]


def straightened(word: str) -> str:
    """A word with straight apostrophes, and letters with their accents in one.

    Examples
    --------
    >>> straightened("don’t")
    "don't"
    """
    return unicodedata.normalize("NFC", word).translate(STRAIGHT)


def cut_clitics(word: str) -> tuple[str, ...]:
    """A word and the clitics at its end, one after the other.

    Examples
    --------
    >>> cut_clitics("couldn't've")
    ('could', "n't", "'ve")
    """
    parts: list[str] = []
    while cut := CLITIC_AT_END.fullmatch(word):
        word = cut[1]
        parts.insert(0, cut[2])
    return (word, *parts)


def missing_words(words: Sequence[str], missing: np.ndarray) -> dict[str, Any]:
    """What is said of words that a list does not have: how many, which share of all that came, and which.

    Parameters
    ----------
    words : sequence of str
        As they came, one and the same as often as it did.
    missing : (n_words,) bool

    Examples
    --------
    >>> missing_words(["the", "jub", "jub", "bird"], np.array([False, True, True, False]))
    {'count': 2, 'share': 0.5, 'words': ['jub']}
    """
    which = list(dict.fromkeys(word for word, gone in zip(words, missing, strict=True) if gone))
    return {"count": int(missing.sum()), "share": float(missing.mean()), "words": which}
