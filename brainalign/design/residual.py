"""What is left of a word's features once those of other words, or simpler ones, have explained their part?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from brainalign.errors import InputError, SettingsError
from brainalign.signals import Signal, join

COLUMNS = 2048  # of the signal that are looked at together
NOTHING = 1e-6  # share of a column's variance below which what is left is rounding and ridge


def previous(signal: Signal, n: int = 1) -> Signal:
    """The features of the word n before, within its run.

    Parameters
    ----------
    signal : Signal (n_words, n_columns)
        A row per word.
    n : int
        1 is the word before.

    Returns
    -------
    Signal
        The same samples and columns; bands are called "NAME.previous" (from n = 2 on "NAME.previous2", …). The first n
        words of a run have zeros.

    Raises
    ------
    SettingsError
        n is no whole number of at least 1.
    InputError
        Columns without `band`.

    Examples
    --------
    >>> import pandas as pd
    >>> words = pd.DataFrame({"run": ["1", "1", "2"], "time": [0.0, 0.5, 0.0]})
    >>> before = previous(Signal([[3.0], [5.0], [7.0]], words, pd.DataFrame({"band": ["length"]})))
    >>> before.bands, before.values.ravel().tolist()
    (['length.previous'], [0.0, 3.0, 0.0])
    """
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise SettingsError(f"n is a whole number of words, 1 or more; found {n!r}")
    _need_bands(signal)
    values = signal.array()
    out = np.zeros_like(values)
    run_of = signal.samples["run"].to_numpy()
    for run in signal.runs:
        rows = np.flatnonzero(run_of == run)
        out[rows[n:]] = values[rows[:-n]]
    ending = ".previous" if n == 1 else f".previous{n}"
    columns = signal.columns.assign(band=signal.columns["band"] + ending)
    return Signal(out, signal.samples, columns, attrs=signal.attrs)


def residualise(signal: Signal, on: Sequence[Signal], penalty: float = 1e-6, rows: Any = None) -> Signal:
    """A word's features less what other features predict of them linearly: features only, never responses.

    If responses before a word's onset are still predicted by what is left of its features after the previous word and
    static vectors, then not because neighbouring words go together (Goldstein et al. 2022; Schönmann et al. 2025).

    Parameters
    ----------
    signal : Signal (n_words, n_columns)
    on : sequence of Signal
        Features on the same samples, such as ``[static, previous(static)]``.
    penalty : float
        With Z the columns of `on`, z-scored over `rows` (n of them), the weights minimise ‖y − Zw‖² + penalty · n ‖w‖².
        0 is least squares, of least norm where the columns depend on each other.
    rows : mask or positions, optional
        The words on which means and weights are estimated, such as those of the training samples; by default all.

    Returns
    -------
    Signal
        The same samples, columns and bands; ``attrs["residual_on"]`` names for every band those that were taken out. A
        column of which less than a millionth of its variance is left is 0: what the penalty leaves of it is no signal.

    Raises
    ------
    InputError
        Nothing to take out, other samples, columns without `band`, or fewer than two rows.
    SettingsError
        A negative penalty.

    Notes
    -----
    In closed form, from the singular values s of Z and y less its mean: w = V diag(s / (s² + penalty · n)) Uᵀy. The p
    columns of `on` explain p / n of a column that has nothing to do with them, on the words they are fitted to.

    Examples
    --------
    >>> import pandas as pd
    >>> words = pd.DataFrame({"run": "1", "time": [0.0, 1.0, 2.0, 3.0]})
    >>> length = Signal([[1.0], [2.0], [3.0], [4.0]], words, pd.DataFrame({"band": ["length"]}))
    >>> lm = Signal([[3.0], [3.0], [7.0], [7.0]], words, pd.DataFrame({"band": ["lm.1"]}))
    >>> [round(float(value), 2) for value in residualise(lm, on=[length]).values[:, 0]]
    [0.4, -1.2, 1.2, -0.4]
    """
    if not on:
        raise InputError("on is empty: name at least one feature that is to be taken out")
    if not penalty >= 0:
        raise SettingsError(f"penalty is a number, 0 or more; found {penalty!r}")
    for one in (signal, *on):
        _need_bands(one)
    known = join(*on)
    together = join(signal.select(columns=slice(0, 0)), known)  # refuses other samples
    use = signal.use & together.use
    fitted = np.flatnonzero(use) if rows is None else np.arange(len(use))[rows]
    if len(fitted) < 2:
        raise InputError(f"what is taken out is estimated on at least two words; found {len(fitted)}")
    Z = known.array().astype(np.float64)
    spread = Z[fitted].std(0)
    Z = np.divide(Z - Z[fitted].mean(0), spread, out=np.zeros_like(Z), where=spread > 0)
    U, s, Vt = np.linalg.svd(Z[fitted], full_matrices=False)
    there = s > s.max(initial=0) * max(Z.shape) * np.finfo(float).eps
    shrunk = np.divide(s, s**2 + penalty * len(fitted), out=np.zeros_like(s), where=there)
    values, out = signal.values, np.empty(signal.shape, np.float32)
    for start in range(0, signal.shape[1], COLUMNS):
        some = slice(start, start + COLUMNS)
        y = np.asarray(values[:, some], np.float64)
        y = y - y[fitted].mean(0)
        left = y - Z @ (Vt.T @ (shrunk[:, None] * (U.T @ y[fitted])))
        left[:, (left[fitted] ** 2).sum(0) <= NOTHING * (y[fitted] ** 2).sum(0)] = 0
        out[:, some] = left
    taken = {**signal.attrs.get("residual_on", {}), **dict.fromkeys(signal.bands, known.bands)}
    return Signal(out, signal.samples, signal.columns, signal.related, {**signal.attrs, "residual_on": taken})


def _need_bands(signal: Signal) -> None:
    if not signal.bands:
        raise InputError("the columns have no `band`: a feature needs a name")
