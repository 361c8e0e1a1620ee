"""Which samples does a feature of events have, one per event at its onset, and which sentences are they in?"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from brainalign.errors import InputError, did_you_mean

SENTENCE_END = re.compile(r"[.!?]+[\"'”’»)\]]*$")  # a full stop of an abbreviation looks the same


def samples_of(events: pd.DataFrame, column: str) -> pd.DataFrame:
    """The samples table of a feature: one row per event, in the order of the events.

    Parameters
    ----------
    events : DataFrame
        `run`, `onset` (s, never falling within a run), and the column that says what was shown or heard; `duration`
        (s) is kept where it is there.
    column : str
        Which column becomes `stimulus`, as text without surrounding white space.

    Returns
    -------
    DataFrame
        `run`, `time` (s), `duration` (where known), `stimulus`.

    Raises
    ------
    InputError
        No events; a missing column, onset or stimulus; onsets that fall within a run.

    Examples
    --------
    >>> events = pd.DataFrame({"run": "1", "onset": [0.5, 0.9], "word": ["Alice", "was"]})
    >>> samples_of(events, "word")["stimulus"].tolist()
    ['Alice', 'was']
    """
    for name in ("run", "onset", column):
        if name not in events:
            hint = "for a single run: events['run'] = '1'" if name == "run" else did_you_mean(name, events.columns)
            raise InputError(f"the events have no column {name!r}; {hint}")
    if len(events) == 0:
        raise InputError("the events table is empty: a feature needs at least one event")
    onset = pd.to_numeric(events["onset"], errors="coerce").to_numpy(float)
    if not np.isfinite(onset).all():
        row = int(np.flatnonzero(~np.isfinite(onset))[0])
        raise InputError(f"event {row} has no onset in seconds; found {events['onset'].iloc[row]!r}")
    missing = events[column].isna().to_numpy()
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise InputError(
            f"event {row} (onset {onset[row]:g} s) has no {column}: leave such events out; if it is a word such as "
            "'null' or 'nan', read the table with keep_default_na=False"
        )
    run = events["run"].astype(str).to_numpy()
    samples = pd.DataFrame({"run": run, "time": onset})
    step = samples.groupby("run", sort=False)["time"].diff().to_numpy(float)
    if (step < 0).any():
        row = int(np.flatnonzero(step < 0)[0])
        raise InputError(
            f"event {row} (run {run[row]}, onset {onset[row]:g} s) begins before the one above it: sort the events of "
            "each run by onset"
        )
    if "duration" in events:
        samples["duration"] = pd.to_numeric(events["duration"], errors="coerce").to_numpy(float)
    samples["stimulus"] = [str(text).strip() for text in events[column]]
    return samples


def sentences_of(words: pd.DataFrame, samples: pd.DataFrame) -> np.ndarray | None:
    """The number of each word's sentence, from 0 in each run; None where there is no telling.

    Parameters
    ----------
    words : DataFrame
        The events. A column `sentence` (numbers or text, the same for all words of a sentence of a run) is believed.
        Without it a sentence ends with a word that ends in `.`, `!` or `?` (closing quotes and brackets may follow),
        or with such a mark that stands as a word, unless there is a run without any.
    samples : DataFrame
        Of the same words, from `samples_of`.

    Returns
    -------
    (n_words,) int, or None

    Raises
    ------
    InputError
        A column `sentence` in which a word has none.

    Examples
    --------
    >>> words = pd.DataFrame({"run": "1", "onset": [0.0, 1.0, 2.0], "word": ["Oh", "dear!", "Said"]})
    >>> sentences_of(words, samples_of(words, "word")).tolist()
    [0, 0, 1]
    """
    if "sentence" in words:
        said = words["sentence"]
        missing = np.flatnonzero(said.isna().to_numpy())
        if len(missing):
            word, row = samples["stimulus"].iloc[missing[0]], missing[0]
            raise InputError(
                f"word {row} ({word!r}) has no sentence: number every word's, or leave the column `sentence` out"
            )
        return said.groupby(samples["run"].to_numpy(), sort=False).transform(lambda s: pd.factorize(s)[0]).to_numpy(int)
    ends = samples["stimulus"].str.contains(SENTENCE_END)
    if not ends.groupby(samples["run"]).any().all():
        return None
    return (ends.astype(int).groupby(samples["run"]).cumsum() - ends.astype(int)).to_numpy()
