"""What would do without the sentence: labels of the picture, the nouns alone, the words in no order?

Controls for `embed_sentences`, all on the samples it gives with ``average="image"``. Those that Doerig et al. (2025,
https://doi.org/10.1038/s42256-025-01072-0) published beside sentence embeddings of captions, as their code has them
(https://github.com/adriendoerig/visuo_llm):

| their control | here, before `embed_sentences` |
|---|---|
| categories, multi-hot | ``multi_hot(pictures, "categories")``, a feature as it is |
| nouns as a string | ``keep_words(captions, "caption", ("NOUN",), "something")`` |
| nouns as words | ``split_words(captions, "caption", ("NOUN",), "something", per="image")`` |
| verbs as words | ``split_words(captions, "caption", ("VERB", "AUX"), "is", per="image")`` |
| all words | ``split_words(captions, "caption")`` |

Words are embedded alone, by the sentence encoder or as static vectors, and averaged over all words of all captions of a
picture. Their tagger is NLTK's, they mend some spellings by hand, and they keep punctuation marks among all words, so
the words kept here are not the same to the last one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.features.printed import APOSTROPHES
from brainalign.features.spellings import CLITIC
from brainalign.features.tagging import CLASSES, Tagger, tag_texts
from brainalign.features.texts import as_table, averaged, sample_each
from brainalign.signals import Signal

# Words, with what hyphens and apostrophes join; numbers; marks, one by one. English contractions come apart as they do
# in treebanks: do|n't, dog|'s.
LETTER = rf"[^\W_{APOSTROPHES}]"
WORD = re.compile(
    rf"{LETTER}+(?=n[{APOSTROPHES}]t\b)|{CLITIC}\b|\d+(?:[.,]\d+)+"
    rf"|{LETTER}+(?:(?!{CLITIC}\b)[-{APOSTROPHES}]{LETTER}+)*|[^\w\s]|[_{APOSTROPHES}]",
    re.IGNORECASE,
)


def multi_hot(
    table: pd.DataFrame,
    column: str,
    labels: Sequence[str] | None = None,
    average: str | None = None,
    name: str | None = None,
) -> Signal:
    """One column per label: one where it is among a row's labels, zero elsewhere.

    Parameters
    ----------
    table : DataFrame
        A sample per row, with or without a clock as for `embed_sentences`; `column` holds a list of labels in each row.
        A label that is listed twice (two dogs) counts once, an empty list is a row of zeros.
    column : str
        Such as "categories", and what the band is called by default.
    labels : list of str, optional
        The columns, in this order: for new rows the units of the ones seen first. Default: all there are, in
        alphabetical order.
    average : str, optional
        A column whose rows with the same value become one sample, as in `embed_sentences`.
    name : str, optional
        The band.

    Returns
    -------
    Signal
        (n_samples, n_labels), 0 or 1, or after averaging the share of rows; `unit` of the columns is the label,
        `stimulus` of the samples the row's labels.

    Raises
    ------
    InputError
        A cell that is no list, a label not among `labels`, or none at all.

    Examples
    --------
    >>> pictures = pd.DataFrame({"categories": [["dog", "ball", "dog"], []]})
    >>> shown = multi_hot(pictures, "categories")
    >>> shown.columns["unit"].tolist(), shown.values.tolist()
    (['ball', 'dog'], [[1.0, 1.0], [0.0, 0.0]])
    """
    if column not in table:
        raise InputError(f"the table has no column {column!r}; " + did_you_mean(column, table.columns))
    for row, cell in enumerate(table[column]):
        if not isinstance(cell, (list, tuple, set, np.ndarray)):
            raise InputError(
                f"row {row} has {cell!r} under {column!r}: it holds a list of labels; a list that was written as text "
                "is read with ast.literal_eval"
            )
    listed = [{str(label) for label in cell} for cell in table[column]]
    units = sorted(set().union(*listed)) if labels is None else list(labels)
    odd = sorted(set().union(*listed) - set(units))
    if odd:
        raise InputError(f"label {odd[0]!r} of column {column!r} is not among labels; " + did_you_mean(odd[0], units))
    samples = sample_each(table.assign(**{column: [", ".join(sorted(one)) for one in listed]}), column)
    return averaged(_hot(samples, listed, units, name or column), table, average)


def keep_words(
    sentences: pd.DataFrame | Sequence[str],
    column: str = "sentence",
    classes: Sequence[str] = ("NOUN",),
    instead: str | None = None,
    tagger: Tagger = None,
) -> pd.DataFrame:
    """Sentences reduced to their words of some classes, in order: "A dog chases a ball." → "dog ball".

    For ``embed_sentences(keep_words(captions, "caption"), column="caption", average="image")``, the sentence encoder's
    view of nouns alone.

    Parameters
    ----------
    sentences : DataFrame, or list of str
    column : str
        Which column holds the text.
    classes : list of str
        Universal word classes (`tag_words`). Doerig et al.'s nouns are ("NOUN",), their verbs ("VERB", "AUX").
    instead : str, optional
        What stands for a sentence that has no such word; Doerig et al. write "something" for nouns, "is" for verbs.
        Default: such a sentence is an error.
    tagger : optional
        What knows the classes, as for `tag_words`.

    Returns
    -------
    DataFrame
        The same table with the reduced text under `column`.

    Raises
    ------
    InputError
        No texts, or a sentence without such a word where `instead` is None.
    SettingsError
        No such class, or no tagger (`tag_words`).

    Examples
    --------
    >>> tags = {"A": "DET", "dog": "NOUN", "runs": "VERB", ".": "PUNCT"}
    >>> keep_words(["A dog runs."], tagger=lambda words: [tags[word] for word in words])["sentence"].tolist()
    ['dog']
    """
    table = as_table(sentences, column)
    texts = sample_each(table, column)["stimulus"].tolist()
    kept = _words_of(texts, classes, tagger)
    bare = [row for row, words in enumerate(kept) if not words]
    if bare and instead is None:
        raise _no_words(len(bare), f"of {len(kept)} sentences", bare[0], texts, classes)
    return table.assign(**{column: [" ".join(words) or str(instead) for words in kept]})


def split_words(
    sentences: pd.DataFrame | Sequence[str],
    column: str = "sentence",
    classes: Sequence[str] | None = None,
    instead: str | None = None,
    per: str | None = None,
    tagger: Tagger = None,
) -> pd.DataFrame:
    """Sentences taken apart: a row per word, for vectors of words that know nothing of one another.

    ``embed_sentences(split_words(captions, "caption"), column="word", average="image")`` reads each word alone and
    averages over all words of a picture's captions: Doerig et al.'s control "all words", with their own encoder. With
    static vectors (`static_vectors`, then `average_texts`) it is the same control with word vectors.

    Parameters
    ----------
    sentences : DataFrame, or list of str
    column : str
        Which column holds the text.
    classes : list of str, optional
        Keep words of these universal classes, as in `keep_words`. Default: all words; needs no tagger. Punctuation
        marks are no words (Doerig et al. keep them).
    instead : str, optional
        What stands in where there is no such word; default: that is an error.
    per : str, optional
        A column that says what has to have a word: with "image", `instead` stands in only where none of a picture's
        captions has one, as in Doerig et al. Default: every sentence.
    tagger : optional
        What knows the classes, as for `tag_words`.

    Returns
    -------
    DataFrame
        A row per word, in order: `word`, as it was written; `row`, the sentence's number (to average over sentences);
        and the sentence's other columns.

    Raises
    ------
    InputError, SettingsError
        As `keep_words`.

    Examples
    --------
    >>> split_words(["A dog's ball.", "Don't!"])[["row", "word"]].values.tolist()
    [[0, 'A'], [0, 'dog'], [0, "'s"], [0, 'ball'], [1, 'Do'], [1, "n't"]]
    """
    table = as_table(sentences, column)
    texts = sample_each(table, column)["stimulus"].tolist()
    if per is not None and per not in table:
        raise InputError(f"the table has no column {per!r}; " + did_you_mean(per, table.columns))
    kept = _words_of(texts, classes, tagger)
    things = np.arange(len(kept)) if per is None else pd.factorize(table[per], use_na_sentinel=False)[0]
    n_words = np.bincount(things, weights=[len(words) for words in kept])
    bare = np.flatnonzero(n_words == 0)
    firsts = [int(np.flatnonzero(things == thing)[0]) for thing in bare]
    if firsts and instead is None:
        what = f"of {len(n_words)} " + ("sentences" if per is None else f"values of {per!r}")
        raise _no_words(len(firsts), what, firsts[0], texts, classes)
    for row in firsts:
        kept[row] = [str(instead)]
    row = np.repeat(np.arange(len(kept)), [len(words) for words in kept])
    words = [word for words in kept for word in words]
    return table.iloc[row].drop(columns=column).assign(row=row, word=words).reset_index(drop=True)


def bag_of_words(
    sentences: pd.DataFrame | Sequence[str],
    column: str = "sentence",
    words: Sequence[str] | None = None,
    at_least: int = 1,
    average: str | None = None,
    name: str = "words",
) -> Signal:
    """One column per word, in lower case: one where the sentence has it, in whatever place.

    Parameters
    ----------
    sentences : DataFrame, or list of str
        As for `embed_sentences`. Of nouns alone after `keep_words`; a text may be empty.
    column : str
        Which column holds the text.
    words : list of str, optional
        The columns, in this order; other words are passed over. For new sentences, the units of those the model was
        fitted to: ``words=seen.columns["unit"]``.
    at_least : int
        Without `words`: in how many sentences a word has to be.
    average : str, optional
        A column whose rows with the same value become one sample, as in `embed_sentences`.
    name : str
        The band.

    Returns
    -------
    Signal
        (n_samples, n_words), 0 or 1, or after averaging the share of sentences; `unit` of the columns is the word, in
        alphabetical order.

    Raises
    ------
    InputError
        No texts, or no word that is in `at_least` sentences.

    Examples
    --------
    >>> seen = bag_of_words(["A dog, a ball.", "The dog"], at_least=2)
    >>> seen.columns["unit"].tolist(), bag_of_words(["Dogs and dog", "A cat"], words=["dog", "cat"]).values.tolist()
    (['dog'], [[1.0, 0.0], [0.0, 1.0]])
    """
    table = as_table(sentences, column)
    samples = sample_each(table, column)
    present = [{word.lower() for word in found} for found in _words_of(samples["stimulus"].tolist(), None, None)]
    if words is None:
        counts = pd.Series([word for found in present for word in sorted(found)], dtype=str).value_counts()
        words = sorted(counts.index[counts >= at_least])
        if not words:
            raise InputError(f"no word is in at least {at_least} of {len(samples)} sentences: ask for fewer (at_least)")
    return averaged(_hot(samples, present, list(words), name), table, average)


def _words_of(texts: list[str], classes: Sequence[str] | None, tagger: Tagger) -> list[list[str]]:
    """The words of each text, all or those of some classes; each different text is tagged once."""
    different = list(dict.fromkeys(texts))
    cut = [WORD.findall(text) for text in different]
    if classes is None:
        kept = [[word for word in words if re.search(LETTER, word)] for words in cut]
    else:
        wanted = [classes] if isinstance(classes, str) else list(classes)
        odd = [one for one in wanted if one not in CLASSES]
        if odd or not wanted:
            what = f"no word class {odd[0]!r}; " + did_you_mean(odd[0], CLASSES) if odd else "classes is empty"
            raise SettingsError(f"{what}: name universal classes such as 'NOUN' or 'VERB'")
        tags = tag_texts(cut, tagger)
        kept = [[w for w, tag in zip(words, found) if tag in wanted] for words, found in zip(cut, tags)]
    of = dict(zip(different, kept))
    return [list(of[text]) for text in texts]


def _no_words(n: int, what: str, row: int, texts: list[str], classes: Sequence[str] | None) -> InputError:
    kind = "word" if classes is None else f"word of class {' or '.join(classes)}"
    return InputError(
        f"{n} {what} have no {kind}, the first is row {row} ({texts[row]!r}): say what stands for such, as in "
        "instead='something', or leave them out"
    )


def _hot(samples: pd.DataFrame, present: Sequence[Iterable[str]], units: list[str], name: str) -> Signal:
    place = {unit: column for column, unit in enumerate(units)}
    values = np.zeros((len(samples), len(units)), np.float32)
    for row, found in enumerate(present):
        values[row, [place[unit] for unit in found if unit in place]] = 1
    return Signal(values, samples, pd.DataFrame({"band": name, "unit": units}))
