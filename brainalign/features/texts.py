"""Which samples do texts have, timed or not, and what of several texts that describe one thing?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError, did_you_mean
from brainalign.features.samples import samples_of
from brainalign.signals import Signal


def as_table(texts: pd.DataFrame | Sequence[str], column: str) -> pd.DataFrame:
    """Texts as a table: one that was given as it is, a list as the column `column` of a new one.

    Raises
    ------
    InputError
        A single string.
    """
    if isinstance(texts, pd.DataFrame):
        return texts
    if isinstance(texts, str):
        raise InputError(f"{texts!r} is one text: give a list of them, or a table with a column {column!r}")
    return pd.DataFrame({column: list(texts)})


def sample_each(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The samples of a table, one a row: as `samples_of` where it has an `onset`.

    Without one there is no clock: `time` is then the row's number, and `run`, where it is missing, "1".
    """
    if "onset" in table:
        return samples_of(table, column)
    return samples_of(table.assign(run=table.get("run", "1"), onset=np.arange(len(table))), column)


def average_texts(signal: Signal, of: Sequence[Any] | pd.Series) -> Signal:
    """The mean over the texts of each thing: of the five captions of a picture, of the words of a sentence.

    Vectors that were divided by their length are averaged as they are and the mean is not divided again, as in Doerig
    et al. (2025, https://doi.org/10.1038/s42256-025-01072-0): the more the texts disagree, the shorter it is.

    Parameters
    ----------
    signal : Signal
        A sample per text (or word), from any function that makes features.
    of : one value per sample
        What each text is of, such as the column `image` of its table.

    Returns
    -------
    Signal
        A sample per thing, in the order they first came; `stimulus` is its value as text, `n_averaged` how many texts
        it had. `run` and `time` are those of its texts where these agree; where they do not, there is no clock: `time`
        is then the thing's number, and `run` "1".

    Raises
    ------
    InputError
        Not one value per sample, or a missing one.

    Examples
    --------
    >>> samples = pd.DataFrame({"run": "1", "time": [0.0, 1.0, 2.0]})
    >>> signal = Signal([[1.0], [5.0], [3.0]], samples, pd.DataFrame({"band": ["lm"]}))
    >>> mean = average_texts(signal, of=["beach", "kitchen", "beach"])
    >>> mean.values.ravel().tolist(), mean.samples["stimulus"].tolist(), mean.samples["time"].tolist()
    ([2.0, 5.0], ['beach', 'kitchen'], [0.0, 1.0])
    """
    which = pd.Series(list(of))
    if len(which) != len(signal.samples):
        raise InputError(f"of has {len(which)} values, there are {len(signal.samples)} samples: it names one for each")
    if which.isna().any():
        raise InputError(f"of is missing for sample {int(np.flatnonzero(which.isna())[0])}: say what its text is of")
    number, things = pd.factorize(which)
    by_thing = signal.samples.groupby(number, sort=False)
    samples = by_thing.first()[["run", "time", *[c for c in ("duration",) if c in signal.samples]]]
    if (by_thing["run"].nunique() > 1).any():
        samples["run"] = "1"
    if (by_thing[["run", "time"]].nunique() > 1).any(axis=None):
        samples["time"] = np.arange(len(things), dtype=float)
        samples = samples.drop(columns="duration", errors="ignore")
    samples = samples.assign(stimulus=[str(thing) for thing in things], n_averaged=by_thing.size())
    if "tokens_left_out" in signal.samples:
        samples["tokens_left_out"] = by_thing["tokens_left_out"].sum()
    values = signal.array()
    means = np.stack([values[rows].mean(0, dtype=np.float64) for rows in _rows_of_each(number)])
    return Signal(means, samples, signal.columns, attrs=signal.attrs)


def averaged(signal: Signal, table: pd.DataFrame, average: str | None) -> Signal:
    """`average_texts` by a column of the table the signal was made from; None: as it is."""
    if average is None:
        return signal
    if average not in table:
        raise InputError(
            f"the table has no column {average!r} to average over; " + did_you_mean(average, table.columns)
        )
    return average_texts(signal, of=table[average])


def _rows_of_each(number: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(number, kind="stable")
    return np.split(order, np.cumsum(np.bincount(number))[:-1])
