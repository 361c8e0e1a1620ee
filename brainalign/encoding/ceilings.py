"""Which ceiling do the data allow, for every target?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.maths.ceiling import Ceiling, leave_one_out, split_half
from brainalign.signals import Signal

ENOUGH_PEOPLE = 3  # with two, a half is one person and the spread over splits is nil


@dataclass(frozen=True)
class Ceilings:
    """Ceilings of a recording's own columns, and of its people where it is their mean; None: the data allow none."""

    own: Ceiling | None
    people: Ceiling | None
    why: str


CeilingRule = Callable[[Signal], Ceilings]


def between_subjects(brain: Signal) -> Ceilings:
    """How far people agree: the ceiling of a recording in which everybody met the stimulus once.

    Parameters
    ----------
    brain : Signal
        A mean over people (`related["people"]`), or one column per person and place (`subject` and at least one more).

    Returns
    -------
    Ceilings
        For the mean: split-half reliability over people with Spearman–Brown (unit r2). For one person: correlation
        with the mean of the others over the root of that mean's reliability (unit r).

    Raises
    ------
    InputError
        Fewer than three people.
    """
    people = brain.related.get("people", brain)
    if "subject" not in people.columns or people.columns["subject"].nunique() < ENOUGH_PEOPLE:
        found = people.columns["subject"].nunique() if "subject" in people.columns else 1
        raise InputError(
            f"a ceiling between people needs at least {ENOUGH_PEOPLE} of them on one clock; found {found}: "
            "choose ceiling: {kind: none}"
        )
    stacked, place = by_person(people)
    one = leave_one_out(stacked, corrected=True)
    single = Ceiling(one.value[place], one.unit, one.se[place], one.p[place], one.kind)
    if people is brain:
        return Ceilings(single, None, "each person against the mean of the others")
    group = split_half(stacked, null="shift")
    return Ceilings(group, single, f"agreement between {stacked.shape[0]} people")


def none(brain: Signal) -> Ceilings:
    """No ceiling: scores stay as they are and nothing is normalised."""
    return Ceilings(None, None, "no ceiling was asked for")


def auto(brain: Signal) -> Ceilings:
    """The ceiling the data allow, and why; none where they allow none."""
    people = brain.related.get("people", brain)
    count = people.columns["subject"].nunique() if "subject" in people.columns else 1
    if count >= ENOUGH_PEOPLE:
        return between_subjects(brain)
    return Ceilings(
        None,
        None,
        f"{count} recording{'s' * (count != 1)} on this clock and no repeated presentations: "
        "nothing says how good a model could be",
    )


def by_person(people: Signal) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """(people, samples, places) float64, and for every column of `people` its (person, place).

    Places come in the order of the first person's columns.
    """
    what = [c for c in people.columns.columns if c != "subject"]
    keys = pd.MultiIndex.from_frame(people.columns[what].astype(str))
    names = list(dict.fromkeys(people.columns["subject"]))
    first = keys[(people.columns["subject"] == names[0]).to_numpy()]
    person = np.array([names.index(s) for s in people.columns["subject"]])
    column = first.get_indexer(keys)
    out = np.full((len(names), len(people.samples), len(first)), np.nan)
    if (column < 0).any() or len(people.columns) != len(names) * len(first):
        raise InputError(
            f"people do not have the same columns (first difference: sub-{names[int(person[np.argmin(column)])]}): "
            "a ceiling between people compares like with like"
        )
    out[person, :, column] = people.array().T
    return out, (person, column)
