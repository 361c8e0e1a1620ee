"""Which samples does a feature of events have, one per event at its onset, and which sentences are they in?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from brainalign.errors import InputError, did_you_mean
from brainalign.features.printed import ends_sentence, tokens


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
        Without it a sentence ends where it would in print (`printed.ends_sentence`), with a word that such a mark
        stands behind or with the mark itself where it stands as a word, unless there is a run without any.
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
    capitals = any(word != word.lower() for word in samples["stimulus"])
    ends = samples.groupby("run", sort=False)["stimulus"].transform(lambda said: _ends(said.tolist(), capitals))
    ends = ends.astype(int)
    if not ends.groupby(samples["run"]).any().all():
        return None
    return (ends.groupby(samples["run"]).cumsum() - ends).to_numpy()


def _ends(words: Sequence[str], capitals: bool) -> list[bool]:
    """Whether a sentence ends with each word of a run, which may have marks around it or be one."""
    parts = {word: _parts(word) for word in set(words)}
    following, after = "", []  # the next word that is not a mark, of each
    for word in reversed(words):
        after.append(following)
        following = parts[word][0] or following
    before, ends = "", []
    for word, behind in zip(words, reversed(after), strict=True):
        _, last, marks = parts[word]
        before = last or before
        ends.append(ends_sentence(before, f"{marks} ", behind, capitals))
    return ends


def _parts(word: str) -> tuple[str, str, str]:
    """A word without the marks before it; the last of it that hyphens and marks divide; the marks behind."""
    found = tokens(word)
    if not found:
        return "", "", word
    return word[found[0].begin :], word[found[-1].begin : found[-1].end], word[found[-1].end :]
