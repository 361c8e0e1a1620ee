"""Which class does each word of a text belong to: noun, verb, …?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from brainalign.errors import InputError, SettingsError, did_you_mean, need_package
from brainalign.features.models import model_files

# https://universaldependencies.org/u/pos; SPACE is spaCy's own
CLASSES = (
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ",
    "SYM", "VERB", "X", "SPACE",
)  # fmt: skip
CARD = "en-core-web-sm"
UNNEEDED = ("ner", "parser", "senter", "lemmatizer")  # parts of spaCy's models that say nothing of word classes

Tagger = str | Path | Callable[[list[str]], Sequence[str]] | None


def tag_words(words: Sequence[str], tagger: Tagger = None) -> list[str]:
    """The class of every word of a text, each judged among its neighbours.

    Parameters
    ----------
    words : list of str
        One text, in order. Every word stays as it is: none is split or joined. Marks such as "," may stand among them
        as words of their own, and help.
    tagger : str, path or callable, optional
        Default: spaCy's small English model, the card "en-core-web-sm". A folder or an installed package with another
        spaCy model; or a function from the words of a text to their classes.

    Returns
    -------
    list of str
        One universal class per word: ADJ, ADP, ADV, AUX, CCONJ, DET, INTJ, NOUN, NUM, PART, PRON, PROPN, PUNCT, SCONJ,
        SYM, VERB, X (https://universaldependencies.org/u/pos). Auxiliary verbs, "is" in "is riding", are AUX.

    Raises
    ------
    InputError
        A word is empty, or a tagger gives something other than one class per word.
    SettingsError
        spaCy or its model is missing, or the model knows no word classes.

    Examples
    --------
    >>> tag_words(["A", "dog", "barks"], tagger=lambda words: ["DET", "NOUN", "VERB"])
    ['DET', 'NOUN', 'VERB']
    """
    return tag_texts([words], tagger)[0]


def tag_texts(texts: Sequence[Sequence[str]], tagger: Tagger = None) -> list[list[str]]:
    """As `tag_words` for many texts, none of which sees another: the tagger is loaded once."""
    plain = [[str(word).strip() for word in text] for text in texts]
    for row, text in enumerate(plain):
        if "" in text:
            where = f"word {text.index('')}" + (f" of text {row}" if len(plain) > 1 else "")
            raise InputError(f"{where} is empty: a word class is given to words; leave it out")
    if callable(tagger):
        return [_checked(text, tagger(text)) for text in plain]
    return _tagged_by_spacy(plain, tagger)


def _checked(words: list[str], classes: Sequence[str]) -> list[str]:
    if len(classes) != len(words):
        raise InputError(f"the tagger gave {len(classes)} classes for {len(words)} words: it has to give one for each")
    for word, one in zip(words, classes):
        if one not in CLASSES:
            raise InputError(
                f"the tagger calls {word!r} {one!r}, which is no universal word class; " + did_you_mean(one, CLASSES)
            )
    return list(classes)


def _tagged_by_spacy(texts: list[list[str]], tagger: str | Path | None) -> list[list[str]]:
    language = _load(tagger)
    from spacy.tokens import Doc

    docs = language.pipe(Doc(language.vocab, words=text) for text in texts)
    classes = [[token.pos_ for token in doc] for doc in docs]
    if any("" in text for text in classes):
        raise SettingsError(
            f"the spaCy model {str(tagger or CARD)!r} does not give every word a class: it needs a tagger and an "
            f"attribute_ruler, or a morphologizer; it has {', '.join(language.pipe_names) or 'no parts at all'}"
        )
    return classes


def _load(tagger: str | Path | None) -> Any:
    need_package("spacy", extra="words", what="the tagger of word classes")
    place = model_files(CARD).folder if tagger in (None, CARD) else tagger
    import spacy

    try:
        return spacy.load(place, exclude=UNNEEDED)
    except (OSError, ValueError) as error:
        said = str(error).strip().splitlines()[0]
        raise SettingsError(
            f"no spaCy model {str(place)!r}: give the folder of one (it holds config.cfg), or the name of one that is "
            f"installed ({said})"
        ) from error
