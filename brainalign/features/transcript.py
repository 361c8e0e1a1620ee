"""Where in the printed text is each spoken word?"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from brainalign.errors import InputError, did_you_mean
from brainalign.features.printed import clean, ends_sentence
from brainalign.features.samples import samples_of
from brainalign.features.writing import Page, write_down

LEAST_SHARE = 0.5  # of the words: below, the text is another one


@dataclass(frozen=True, eq=False, repr=False)
class Reading:
    """What was heard, as a text with the punctuation and the capitals of the print.

    text     : what a language model reads
    spans    : (n_words, 2) int, the characters [begin, end) of `text` that each spoken word is; ascending, none empty
    table    : the words' own table, a row per spoken word, with the columns
               `printed`: the word in print that it is, is part of, or was said for; "" if there is none
               `match`: "same", "part" (of a printed word: *would* and *n't* of *wouldn't*), "slip" (said for another
               word), or "inserted" (said, not printed)
               `sentence`: the number of its sentence in `text`, from 1
    left_out : a row per printed word that was not spoken: `printed`, and `after`, the row in `table` of the last
               printed word said before it (-1: it stands before the first)
    """

    text: str
    spans: np.ndarray
    table: pd.DataFrame
    left_out: pd.DataFrame

    @property
    def share(self) -> float:
        """Of the spoken words, how many the print has letter by letter: "same" or "part"."""
        return float(self.table["match"].isin(["same", "part"]).mean())

    def __repr__(self) -> str:
        count = self.table["match"].value_counts()
        same, part, slip, inserted = (int(count.get(match, 0)) for match in ("same", "part", "slip", "inserted"))
        slips = self.table[self.table["match"] == "slip"]
        example = ""
        if slip:
            row = slips.iloc[0]
            example = f" (e.g. {str(row['word']).strip()!r} for {row['printed']!r} at {float(row['onset']):.1f} s)"
        return (
            f"Reading({same + part:,} of {len(self.table):,} words match ({self.share:.1%}), {part:,} of them parts of "
            f"a word; {slip:,} slip{'s' * (slip != 1)}{example}, {inserted:,} inserted; "
            f"{len(self.left_out):,} printed words left out)"
        )


def align_words(words: pd.DataFrame, text: str | Path | Mapping[str, str | Path]) -> Reading:
    r"""Find the words of a transcript in the printed text, and write down what was heard with the print's punctuation.

    Transcripts that carry onsets have no punctuation, often no capitals, and clitics apart (*would* *n't*); language
    models were trained on print. In the text that results

    - words the print has are written as printed, with the marks around them;
    - a slip, a word said for another, is written as said, within the marks around the printed word, with a capital
      where that has one;
    - a word said and not printed is written as said, after the marks that follow the word before it; a clitic (*'s*,
      *n't*) before them and without a space;
    - a word printed and not said is left out. Of the marks around it the strongest stays (the end of a sentence before
      `;` and `:`, these before a dash, that before a comma); a quotation mark or bracket goes with its partner only;
    - what is printed before the first word said, and after the last, is left out, as are headings that were not read,
      ``[Illustration]``, underscores for _emphasis_ and rows of asterisks. Line breaks are spaces.

    Parameters
    ----------
    words : DataFrame
        `run`, `onset` (s), `word`; onsets never fall within a run, and the rows of a run are together.
    text : str, Path, or mapping of run → str or Path
        The text itself (str), or a UTF-8 file (Path): one for all runs, which then were heard in its order, or one per
        run. It may be longer than what was heard, a book of which a chapter was read. A text heard twice is given per
        run.

    Returns
    -------
    Reading

    Raises
    ------
    InputError
        The words cannot be read (`samples_of`), a run's rows stand apart or it has no text, a file is missing or not
        UTF-8, or less than half of the words are in the text.
    SettingsError
        The extra `words` is not installed, which brings rapidfuzz.

    Notes
    -----
    Words are compared by letters and digits, without case, after NFKC. So *labled* for *labelled*, *4* for *four* and
    *cafe* for *café* are slips: found in their places, written as in the transcript. What is found where, `match` says.
    A sentence ends at `.`, `!`, `?` or `…` with closing marks and a space, unless a small letter follows; not after
    *Mr.* and the like, nor after an initial (`ends_sentence`).

    Examples
    --------
    >>> said = ["why", "i", "would", "n't", "say", "nothing", "about", "the", "it"]
    >>> words = pd.DataFrame({"run": "1", "onset": range(9), "word": said})
    >>> reading = align_words(words, "‘Why, I _wouldn’t_ say anything\nabout it!’ (Which was very likely true.)")
    >>> reading.text
    '‘Why, I wouldn’t say nothing about the it!’'
    >>> reading  # doctest: +NORMALIZE_WHITESPACE
    Reading(7 of 9 words match (77.8%), 2 of them parts of a word; 1 slip (e.g. 'nothing' for 'anything' at 5.0 s),
    1 inserted; 5 printed words left out)
    """
    samples = samples_of(words, "word")
    runs = samples["run"].to_numpy(str)
    new = np.r_[True, runs[1:] != runs[:-1]]
    if new.sum() > len(set(runs)):
        row = next(k for k in np.flatnonzero(new) if runs[k] in runs[:k])
        raise InputError(f"event {row} is of run {runs[row]}, which began and ended above it: sort the events by run")
    said = samples["stimulus"].tolist()
    if isinstance(text, Mapping):
        given = {str(run): one for run, one in text.items()}
        for run in dict.fromkeys(runs):
            if run not in given:
                raise InputError(f"run {run} has no text; {did_you_mean(run, given)}")
        parts = [(np.flatnonzero(runs == run), given[run]) for run in dict.fromkeys(runs)]
    else:
        parts = [(np.arange(len(said)), text)]
    pages = []
    for rows, one in parts:
        page = write_down([said[k] for k in rows], _printed(one))
        _check_share(page, samples.iloc[rows], one)
        pages.append(page)
    return _bound(words, pages)


def _printed(text: str | Path) -> str:
    if not isinstance(text, os.PathLike):
        return clean(text)
    path = Path(text)
    if not path.is_file():
        raise InputError(f"there is no text {path}: check the path")
    try:
        return clean(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from error


def _check_share(page: Page, samples: pd.DataFrame, given: str | Path) -> None:
    """Another text than the one that was heard is an error."""
    found = np.array([place.match in ("same", "part") for place in page.places])
    if found.mean() >= LEAST_SHARE:
        return
    row = int(np.flatnonzero(~found)[0])
    name = f"the text {Path(given).name}" if isinstance(given, os.PathLike) else "the text"
    hint = ""
    if isinstance(given, str) and len(given.split()) < 2:
        hint = f"; {given!r} was taken for the text itself, a file is given as Path({given!r})"
    raise InputError(
        f"{name} is not what was heard: of {len(found):,} words {found.sum():,} are in it ({found.mean():.1%}), "
        f"at least {LEAST_SHARE:.0%} are needed; the first that is not is {samples['stimulus'].iloc[row]!r} "
        f"(run {samples['run'].iloc[row]}, {samples['time'].iloc[row]:.1f} s){hint}"
    )


def _bound(words: pd.DataFrame, pages: Sequence[Page]) -> Reading:
    """One reading of all pages, a space between them."""
    text, spans, left_out, places = "", [], [], []
    for page in pages:
        text += " " if text else ""
        spans += [(begin + len(text), end + len(text)) for begin, end in page.spans]
        left_out += [(printed, after + len(places)) for printed, after in page.left_out]
        places += page.places
        text += page.text
    table = words.assign(
        printed=[place.printed for place in places],
        match=[place.match for place in places],
        sentence=_sentences(text, spans),
    )
    return Reading(text, np.array(spans, int), table, pd.DataFrame(left_out, columns=["printed", "after"]))


def _sentences(text: str, spans: Sequence[tuple[int, int]]) -> list[int]:
    capitals = text != text.lower()
    numbers = [1]
    for (begin, end), (after, stop) in pairwise(spans):
        numbers.append(numbers[-1] + ends_sentence(text[begin:end], text[end:after], text[after:stop], capitals))
    return numbers
