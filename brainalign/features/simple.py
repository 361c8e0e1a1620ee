"""What would a model know that only counts: a word was there, how long it is, which category was shown?"""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd

from brainalign.features.samples import samples_of, sentences_of
from brainalign.signals import Signal


def word_rate(words: pd.DataFrame, name: str = "word_rate") -> Signal:
    """One for every word: summed within volumes, or resampled onto them, it becomes how fast the words came.

    Parameters
    ----------
    words : DataFrame
        `run`, `onset` (s), `word`, and `duration` (s) where known; onsets never fall within a run.
    name : str
        The band.

    Returns
    -------
    Signal
        (n_words, 1), all ones; samples are the words (`run`, `time` = onset, `duration`, `stimulus` = the word).

    Raises
    ------
    InputError
        No words; a missing column, onset or word; onsets that fall within a run.

    Examples
    --------
    >>> words = pd.DataFrame({"run": "1", "onset": [0.1, 0.6], "word": ["Alice", "was"]})
    >>> word_rate(words).values.ravel().tolist()
    [1.0, 1.0]
    """
    samples = samples_of(words, "word")
    return _one_column(np.ones(len(samples)), samples, name)


def word_length(words: pd.DataFrame, name: str = "word_length") -> Signal:
    """How many characters each word has, as written; a letter with its accent is one.

    Parameters
    ----------
    words : DataFrame
        As for `word_rate`.
    name : str
        The band.

    Returns
    -------
    Signal
        (n_words, 1), characters; samples as in `word_rate`.

    Raises
    ------
    InputError
        As `word_rate`.

    Examples
    --------
    >>> words = pd.DataFrame({"run": "1", "onset": [0.1, 0.6], "word": ["Alice", "café"]})
    >>> word_length(words).values.ravel().tolist()
    [5.0, 4.0]
    """
    samples = samples_of(words, "word")
    letters = [len(unicodedata.normalize("NFC", word)) for word in samples["stimulus"]]
    return _one_column(np.array(letters, float), samples, name)


def word_position(words: pd.DataFrame, name: str = "position") -> Signal:
    """Where each word stands: in its run, and in its sentence where the words say which that is.

    Parameters
    ----------
    words : DataFrame
        As for `word_rate`; a column `sentence`, where there is one, is the same for all words of a sentence of a run.
    name : str
        The band.

    Returns
    -------
    Signal
        (n_words, 2 or 3); `unit` of the columns: `run_share`, the share of the time from the run's first onset to its
        last (0 to 1); `run_log`, log(1 + words before it in the run); `sentence`, words before it in its sentence.
        Samples as in `word_rate`.

    Raises
    ------
    InputError
        As `word_rate`; a column `sentence` in which a word has none.

    Notes
    -----
    Without a column `sentence`, a sentence ends as in print: with a word behind which `.`, `!`, `?` or `…` stands
    (closing quotes and brackets may follow), or with such a mark that stands as a word; not where the next word begins
    with a small letter, if there are capitals at all, nor after "Mr." and the like or an initial. A run begins a
    sentence. Transcripts without punctuation do not say where sentences end, so the unit `sentence` is left out unless
    one ends in every run.

    Examples
    --------
    >>> words = pd.DataFrame({"run": "1", "onset": [0.0, 1.0, 2.0, 4.0], "word": ["Oh", "dear!", "Said", "Alice."]})
    >>> word_position(words).values[:, [0, 2]].tolist()
    [[0.0, 0.0], [0.25, 1.0], [0.5, 0.0], [1.0, 1.0]]
    """
    samples = samples_of(words, "word")
    by_run = samples.groupby("run", sort=False)
    since = samples["time"] - by_run["time"].transform("min")
    length = by_run["time"].transform("max") - by_run["time"].transform("min")
    values = {
        "run_share": np.divide(since, length, out=np.zeros(len(samples)), where=length.to_numpy() > 0),
        "run_log": np.log1p(by_run.cumcount()),
    }
    sentences = sentences_of(words, samples)
    if sentences is not None:
        values["sentence"] = samples.groupby([samples["run"], sentences], sort=False).cumcount().to_numpy()
    columns = pd.DataFrame({"band": name, "unit": list(values)})
    return Signal(np.stack([np.asarray(v, np.float32) for v in values.values()], axis=1), samples, columns)


def categories(events: pd.DataFrame, column: str = "trial_type", name: str = "category") -> Signal:
    """One column per category: one where the event belongs to it, zero elsewhere.

    Parameters
    ----------
    events : DataFrame
        `run`, `onset` (s), `column`, and `duration` (s) where known; onsets never fall within a run.
    column : str
        Which column holds the categories.
    name : str
        The band.

    Returns
    -------
    Signal
        (n_events, n_categories), 0 or 1; `unit` of the columns is the category, in alphabetical order. A sample lies at
        its event's onset; `samples["duration"]` says how long it lasted, for whatever spreads it over volumes.

    Raises
    ------
    InputError
        No events; a missing column, onset or category; onsets that fall within a run.

    Examples
    --------
    >>> events = pd.DataFrame({"run": "1", "onset": [0.0, 9.0], "duration": 2.0, "trial_type": ["house", "face"]})
    >>> shown = categories(events)
    >>> shown.columns["unit"].tolist(), shown.values.tolist()
    (['face', 'house'], [[0.0, 1.0], [1.0, 0.0]])
    """
    samples = samples_of(events, column)
    units = sorted(set(samples["stimulus"]))
    belongs = samples["stimulus"].to_numpy(object)[:, None] == np.array(units, object)[None, :]
    return Signal(belongs.astype(np.float32), samples, pd.DataFrame({"band": name, "unit": units}))


def _one_column(values: np.ndarray, samples: pd.DataFrame, name: str) -> Signal:
    return Signal(values.astype(np.float32)[:, None], samples, pd.DataFrame({"band": [name]}))
