"""What is removed from the responses within each run: slow drift and head motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from brainalign.design.resample import spacing
from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.signals import Signal, average_people

LONGEST_S = 128.0  # periods longer than this are drift (SPM's and fMRIPrep's convention)
MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")


def clean(signal: Signal, nuisance: Sequence[str] = ("drift", "motion"), within: str | np.ndarray = "run") -> Signal:
    """Remove nuisance by least squares, apart in each run (or in each segment of it), and z-score what is left.

    After it every person and run weighs alike: raw scanner units differ between sequences and sessions.

    Parameters
    ----------
    signal : Signal (n_samples, n_targets)
        With `related["people"]` each person is cleaned by their own confounds, and the mean is taken again.
    nuisance : sequence of str
        `drift` (mean, cubic polynomial, cosines of periods above 128 s), `motion` (the six rigid-body parameters
        of `related["confounds"]`), or the name of any other recorded confound.
    within : "run", or a label per sample (n_samples,)
        Labels cut the runs further: with the test fold of each sample as its label, nothing that is removed from a
        training sample was estimated on a test sample.

    Returns
    -------
    Signal
        The residuals, mean 0 and SD 1 within each run (or segment); samples with `use` False have no say in it. A
        column of which nothing is left is 0.

    Raises
    ------
    InputError
        Motion is asked for and was not recorded, or a segment has too few samples for what is to be removed.
    SettingsError
        A confound nobody recorded.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> t = np.arange(100) * 2.0
    >>> fast = np.sin(t)
    >>> x = Signal(np.c_[fast + 5 + 0.1 * t], pd.DataFrame({"run": "1", "time": t}), pd.DataFrame({"roi": ["LIFG"]}))
    >>> bool(np.corrcoef(clean(x, nuisance=["drift"]).values[:, 0], fast)[0, 1] > 0.99)
    True
    """
    people = signal.related.get("people")
    if people is not None:
        return average_people(clean(people, nuisance, within))
    labels = np.zeros(len(signal.samples), int) if isinstance(within, str) else np.asarray(within)
    if isinstance(within, str) and within != "run":
        raise SettingsError(f"within is 'run' or a label per sample; found {within!r}")
    if len(labels) != len(signal.samples):
        raise InputError(f"{len(labels)} labels for {len(signal.samples)} samples: within needs one per sample")
    values = signal.array().astype(np.float64)
    subjects = signal.columns["subject"] if "subject" in signal.columns else pd.Series("", index=signal.columns.index)
    motion = [name for name in nuisance if name != "drift"]
    segments = [
        (run, np.flatnonzero((signal.samples["run"] == run) & (labels == label)))
        for run in signal.runs
        for label in np.unique(labels)
    ]
    for run, rows in segments:
        if not len(rows):
            continue
        times = signal.samples["time"].to_numpy(float)[rows]
        slow = drift(len(rows), spacing(times, run)) if "drift" in nuisance else np.ones((len(rows), 1))
        for subject in dict.fromkeys(subjects):
            columns = np.flatnonzero(subjects == subject)
            extra = _recorded(signal, motion, subject)[rows] if motion else np.zeros((len(rows), 0))
            values[np.ix_(rows, columns)] = _residual(
                values[np.ix_(rows, columns)], np.c_[slow, extra], signal.use[rows], run
            )
    done = {"nuisance": list(nuisance), "within": "run" if isinstance(within, str) else "segment"}
    attrs: dict[str, Any] = {**signal.attrs, "cleaned": done}
    return replace(signal, values=values.astype(np.float32), attrs=attrs)


def drift(n: int, tr: float) -> np.ndarray:
    """(n, k) slow regressors of n samples: mean, linear, quadratic, cubic, and cosines with periods above 128 s."""
    t = np.linspace(-1, 1, n)
    order = int(2 * n * tr / LONGEST_S)
    cosines = np.cos(np.pi * np.outer(np.arange(n) + 0.5, np.arange(1, order + 1)) / n)
    return np.c_[np.polynomial.legendre.legvander(t, min(3, n - 1)), cosines]


def _recorded(signal: Signal, names: Sequence[str], subject: str) -> np.ndarray:
    """(n_samples, k) of one person's confounds; `motion` stands for the six rigid-body parameters."""
    confounds = signal.related.get("confounds")
    if confounds is None:
        raise InputError(
            f"{', '.join(names)} is to be removed, but no confounds were recorded beside this signal: add a "
            "confounds file, or leave it out of design.nuisance"
        )
    table = confounds.columns
    mine = table["subject"] == subject if "subject" in table and subject else np.ones(len(table), bool)
    wanted = [m for name in names for m in (MOTION if name == "motion" else (name,))]
    index = []
    for name in wanted:
        hit = np.flatnonzero(mine & (table["confound"] == name))
        if len(hit) != 1:
            who = f" of sub-{subject}" if subject else ""
            raise SettingsError(
                f"confound {name!r} is not among those{who}; "
                + did_you_mean(name, ["drift", "motion", *dict.fromkeys(table["confound"][mine])])
            )
        index.append(hit[0])
    return np.asarray(confounds.values[:, index], np.float64)


def _residual(values: np.ndarray, regressors: np.ndarray, use: np.ndarray, run: str) -> np.ndarray:
    """z-scored residuals of values (n, t) on regressors (n, k), fitted on the samples in use."""
    size = regressors.std(0)
    scaled = regressors / np.where(size > 0, size, 1)  # rotations in radians and translations in mm weigh alike
    if use.sum() <= scaled.shape[1]:
        raise InputError(
            f"run {run}: a segment of {int(use.sum())} samples cannot have {scaled.shape[1]} nuisance regressors "
            "removed; use fewer folds, clean: run, or a shorter design.nuisance"
        )
    weights = np.linalg.lstsq(scaled[use], values[use], rcond=None)[0]
    left = values - scaled @ weights
    spread = left[use].std(0)
    there = spread > 1e-7 * np.abs(values[use]).max(0)  # less is what rounding leaves of a column that was all nuisance
    return np.where(there, left - left[use].mean(0), 0) / np.where(there, spread, 1)
