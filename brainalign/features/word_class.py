"""Which class does each word that was heard or read belong to, as a feature?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.features.samples import samples_of, sentences_of
from brainalign.features.spellings import cut_clitics, straightened, without_punctuation
from brainalign.features.tagging import CARD, CLASSES, Tagger, tag_texts
from brainalign.signals import Signal

UNITS = [one for one in CLASSES if one != "SPACE"]
CONTENT = ("ADJ", "ADV", "NOUN", "PROPN", "VERB")
# after https://universaldependencies.org/tagset-conversion/en-penn-uposf.html, with the second version's AUX for modals
# and PRON for possessives and relatives; of a tag used for several classes, the one it is used for most
PENN = {
    "ADJ": "AFX JJ JJR JJS",
    "ADP": "IN RP",
    "ADV": "RB RBR RBS WRB",
    "AUX": "MD",
    "CCONJ": "CC",
    "DET": "DT PDT",
    "INTJ": "UH",
    "NOUN": "NN NNS",
    "NUM": "CD",
    "PART": "POS TO",
    "PRON": "EX PRP PRP$ WDT WP WP$",
    "PROPN": "NNP NNPS",
    "PUNCT": "'' `` , . : -LRB- -RRB- ( ) HYPH NFP",
    "SYM": "# $ SYM",
    "VERB": "VB VBD VBG VBN VBP VBZ",
    "X": "ADD FW GW LS XX",
}
UNIVERSAL = {tag: one for one, tags in PENN.items() for tag in tags.split()}


def word_class(words: pd.DataFrame, tags: str | None = None, tagger: Tagger = None, name: str = "word_class") -> Signal:
    """One column per word class, noun, verb …: one where the word belongs to it, zero elsewhere.

    Parameters
    ----------
    words : DataFrame
        `run`, `onset` (s), `word`, and `duration` (s) where known; onsets never fall within a run.
    tags : str, optional
        A column of the words that has their classes: universal ones, or tags of the Penn treebank.
    tagger : optional
        Who gives classes where no column has them, as for `tag_words`: by default spaCy's small English model.
    name : str
        The band.

    Returns
    -------
    Signal
        (n_words, 17), 0 or 1; `unit` of the columns is the class, the 17 universal ones in alphabetical order whether
        they occur or not, so that one text has the same columns as another. Samples are the words (`run`, `time` =
        onset, `duration`, `stimulus` = the word).

    Raises
    ------
    InputError
        The words cannot be read (`samples_of`), a word without a tag, or tags of neither kind.
    SettingsError
        The tagger or its model is not installed, or both a column and a tagger were named.

    Notes
    -----
    A tagger reads one sentence at a time where the words say which they are in (a column `sentence`, or marks that
    end one, as in `word_position`), else a run. Marks and clitics are handed to it as words of their own ("isn't," as
    "is", "n't", ","), as it was trained on them; a word has the class of its first part.
    Penn tags say less than universal ones: all of "be", "have" and "do" become VERB, conjunctions tagged IN become ADP,
    every "to" PART, "that" and "this" on their own DET.

    References
    ----------
    de Marneffe, M.-C., Manning, C. D., Nivre, J., & Zeman, D. (2021). Universal Dependencies. *Computational
    Linguistics*, 47, 255-308.

    Examples
    --------
    >>> words = pd.DataFrame({"run": "1", "onset": [0.0, 1.0], "word": ["Alice", "ran"], "pos": ["NNP", "VBD"]})
    >>> heard = word_class(words, tags="pos")
    >>> heard.shape, heard.columns["unit"][heard.values.argmax(1)].tolist()
    ((2, 17), ['PROPN', 'VERB'])
    """
    samples = samples_of(words, "word")
    belongs = _classes(words, samples, tags, tagger)[:, None] == np.array(UNITS, object)[None, :]
    about = {"kind": "word_class", "source": _source(tags, tagger)}
    columns = pd.DataFrame({"band": name, "unit": UNITS})
    return Signal(belongs.astype(np.float32), samples, columns, attrs={"features": {name: about}})


def content_words(
    words: pd.DataFrame, tags: str | None = None, tagger: Tagger = None, name: str = "content_words"
) -> Signal:
    """One for a content word (noun, name, verb, adjective, adverb), zero for a function word.

    Parameters
    ----------
    words, tags, tagger, name
        As for `word_class`, of whose columns this is a sum: beside them it adds nothing.

    Returns
    -------
    Signal
        (n_words, 1), 0 or 1; samples as in `word_class`.

    Raises
    ------
    InputError, SettingsError
        As `word_class`.

    Examples
    --------
    >>> words = pd.DataFrame({"run": "1", "onset": [0.0, 1.0], "word": ["the", "bank"], "pos": ["DET", "NOUN"]})
    >>> content_words(words, tags="pos").values.ravel().tolist()
    [0.0, 1.0]
    """
    samples = samples_of(words, "word")
    content = np.isin(_classes(words, samples, tags, tagger).astype(str), CONTENT)
    about = {"kind": "content_words", "source": _source(tags, tagger)}
    columns = pd.DataFrame({"band": [name]})
    return Signal(content.astype(np.float32)[:, None], samples, columns, attrs={"features": {name: about}})


def _source(tags: str | None, tagger: Tagger) -> str:
    if tags is not None:
        return f"column {tags}"
    return Path(tagger or CARD).name if isinstance(tagger, (str, Path, type(None))) else "a function"


def _classes(words: pd.DataFrame, samples: pd.DataFrame, tags: str | None, tagger: Tagger) -> np.ndarray:
    """(n_words,) the universal class of each word."""
    if tags is not None and tagger is not None:
        raise SettingsError(
            f"name the column that has the classes, tags={tags!r}, or a tagger that finds them: not both"
        )
    return _tagged(words, samples, tagger) if tags is None else _of_column(words, tags)


def _of_column(words: pd.DataFrame, column: str) -> np.ndarray:
    if column not in words:
        raise InputError(
            f"the words have no column {column!r} with their classes; {did_you_mean(column, words.columns)}"
        )
    said = words[column].astype(object).where(words[column].notna(), "").map(lambda tag: str(tag).strip())
    for known in ({one: one for one in UNITS}, UNIVERSAL):
        if said.isin(known).all():
            return said.map(known).to_numpy(object)
    odd = ~said.isin(UNITS) if said.isin(UNITS).sum() > said.isin(UNIVERSAL).sum() else ~said.isin(UNIVERSAL)
    row = int(np.flatnonzero(odd)[0])
    raise InputError(
        f"word {row} ({words['word'].iloc[row]!r}) has the tag {said.iloc[row]!r} in column {column!r} "
        f"({int(odd.sum())} such words): tags are all universal ({', '.join(UNITS)}) or all of the Penn treebank"
    )


def _tagged(words: pd.DataFrame, samples: pd.DataFrame, tagger: Tagger) -> np.ndarray:
    """Each word's class among its neighbours: the tagger sees one sentence, or one run, at a time."""
    sentences = sentences_of(words, samples)
    together = [samples["run"], sentences] if sentences is not None else [samples["run"]]
    texts, places = [], []  # places: of each text's words, which row the first part of each is, -1 of what follows
    for rows in samples.groupby(together, sort=False).indices.values():
        text, place = [], []
        for row in rows:
            before, parts, after = _cut(samples["stimulus"].iloc[row])
            text += [*before, *parts, *after]
            place += [-1] * len(before) + [row] + [-1] * (len(parts) - 1 + len(after))
        texts.append(text)
        places.append(place)
    out = np.empty(len(samples), object)
    for place, classes in zip(places, tag_texts(texts, tagger)):
        for row, one in zip(place, classes):
            if row >= 0:
                out[row] = one if one in UNITS else "X"
    return out


def _cut(word: str) -> tuple[list[str], tuple[str, ...], list[str]]:
    """Marks before a word, the word and its clitics, marks after it; marks alone are the word."""
    straight, plain = straightened(word), without_punctuation(word)
    if not plain:
        return [], (word,), []
    start = straight.rindex(plain)
    before, after = straight[:start], straight[start + len(plain) :]
    return [before] if before else [], cut_clitics(plain), [after] if after else []
