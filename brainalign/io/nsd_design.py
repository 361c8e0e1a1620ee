"""Which picture did a participant of NSD see in which trial, and how often before?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.io.nsd_sessions import TRIALS

DESIGN = "nsddata/experiments/nsd/nsd_expdesign.mat"
SPACING_S = 4.0  # from the onset of one trial to that of the next
SHARED = 1000  # the first images of everybody's list are the same
PRESENTATIONS = 3
COMPLETED = (40, 40, 32, 30, 40, 32, 40, 30)  # sessions of each person, on which the maps of ncsnr rest
TIME_NOTE = (
    f"`time` is {SPACING_S:g} s × the number of the trial in its session: blank trials and breaks are not counted"
)


def read_design(path: Path, name: str, number: int) -> pd.DataFrame:
    """Every trial of a participant in order: `stimulus`, `repeat`, `shared`.

    Raises
    ------
    InputError
        No such file, or not what it has to be.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if not path.is_file():
        raise InputError(f"there is no {name}: it says which image was shown when; fetch it")
    try:
        design = loadmat(path, variable_names=["masterordering", "subjectim"])
        order = np.asarray(design["masterordering"]).ravel().astype(int)
        images = np.asarray(design["subjectim"]).astype(int)[number - 1]
    except (MatReadError, NotImplementedError, OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise InputError(
            f"{name} has no `masterordering` (1 × trials) and `subjectim` (8 × images) that can be read ({error}): "
            "fetch it again"
        ) from error
    lowest, highest = (int(order.min()), int(order.max())) if len(order) else (0, 0)
    if lowest < 1 or highest > len(images):
        raise InputError(
            f"{name}: masterordering speaks of images {lowest} to {highest}, subjectim has {len(images)}, counted from "
            "1: fetch it again"
        )
    trials = pd.DataFrame({"stimulus": [f"nsd{one:05d}" for one in images[order - 1]]})
    return trials.assign(repeat=trials.groupby("stimulus").cumcount() + 1, shared=order <= SHARED)


def trials_of(trials: pd.DataFrame, session: int) -> pd.DataFrame:
    """A session's rows of a Signal's samples table."""
    mine = trials.iloc[(session - 1) * TRIALS : session * TRIALS].reset_index(drop=True)
    mine.insert(0, "run", f"{session:02d}")
    mine.insert(1, "time", SPACING_S * np.arange(TRIALS))
    return mine


def basis_of(trials: pd.DataFrame, number: int) -> list[int]:
    """How many stimuli, how often met, a person's map of ncsnr rests on."""
    met = trials["stimulus"].iloc[: TRIALS * COMPLETED[number - 1]].value_counts()
    return [int((met == PRESENTATIONS).sum()), PRESENTATIONS]
