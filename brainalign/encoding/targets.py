"""Which targets are scored: a choice made on anything but the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from brainalign.encoding.ceilings import repeats_of
from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.maths.ceiling import split_half
from brainalign.signals import Signal


@dataclass(frozen=True)
class Chosen:
    """Which targets are fitted and scored, on which samples, and the rule in words."""

    columns: np.ndarray  # (n_targets,) bool
    samples: np.ndarray  # (n_samples,) bool: those that did not choose
    rule: str

    def of(self, brain: Signal) -> Signal:
        """The chosen part of a recording, and of the people it is the mean of."""
        out = brain.select(rows=self.samples, columns=self.columns)
        people = out.related.get("people")
        if people is None or self.columns.all():
            return out
        what = [c for c in brain.columns.columns if c != "subject" and c in people.columns]
        kept = set(out.columns[what].astype(str).itertuples(index=False, name=None))
        theirs = [row in kept for row in people.columns[what].astype(str).itertuples(index=False, name=None)]
        return replace(out, related={**out.related, "people": people.select(columns=np.flatnonzero(theirs))})

    def __str__(self) -> str:
        return f"{self.rule}: {self.columns.sum():,} of {len(self.columns):,} targets"


def choose_targets(
    brain: Signal,
    where: Mapping[str, Sequence[str]] | None = None,
    reliability: float | None = None,
    aside: Mapping[str, Sequence[str]] | None = None,
    presentations: Signal | None = None,
    seed: int = 0,
) -> Chosen:
    """Choose targets by what they are called, or by how well they repeat in samples that are not scored.

    Parameters
    ----------
    brain : Signal
    where : mapping column → values, optional
        Regions, hemispheres, people: values of the columns table.
    reliability : float, optional
        Keep targets whose presentations agree: split-half reliability of one presentation (unit r2) at least this, and
        told from zero at p ≤ .05.
    aside : mapping samples column → values
        The samples `reliability` is computed on, such as ``{"run": ["1", "2"]}``. They are not fitted and not scored:
        chosen by the noise they are scored on, targets look better than they are.
    presentations : Signal, optional
        Where the repeats are, if not among the brain's own samples: `condition_means` of it, which has runs repeat
        conditions.
    seed : int

    Returns
    -------
    Chosen
        `of` takes the choice from a Signal.

    Raises
    ------
    SettingsError
        A column or value that is not there; `reliability` without `aside`, or `aside` naming every sample.
    InputError
        Nothing repeats in the samples named, or no target is left.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> samples = pd.DataFrame({"run": "1", "time": np.arange(4.0)})
    >>> brain = Signal(np.eye(4, 2), samples, pd.DataFrame({"roi": ["LATL", "LIFG"]}))
    >>> chosen = choose_targets(brain, where={"roi": ["LIFG"]})
    >>> print(chosen, chosen.of(brain).shape)
    roi LIFG: 1 of 2 targets (4, 1)
    """
    keep, rest = np.ones(brain.shape[1], bool), np.ones(brain.shape[0], bool)
    said = []
    for column, values in (where or {}).items():
        keep &= _named(brain, "columns", column, values)
        said.append(f"{column} {', '.join(map(str, values))}")
    if reliability is not None:
        if not aside:
            raise SettingsError(
                "targets chosen by reliability need samples that are not scored: name them, such as "
                "aside: {run: ['1', '2']} (they are left out of fit and score)"
            )
        rest = ~_all_named(brain, aside)
        if not rest.any():
            raise SettingsError(f"targets.aside {dict(aside)} names every sample: none is left to fit and score")
        source = brain if presentations is None else presentations
        found = repeats_of(source.select(rows=_all_named(source, aside)))
        if found is None:
            raise InputError(
                f"nothing is met twice in the samples of targets.aside {dict(aside)}: reliability needs `stimulus` met "
                "more than once there, or conditions met in several runs"
            )
        agreed = split_half(found.responses, k=1, null=found.null, seed=seed)
        keep &= agreed.told_from_zero() & (agreed.value >= reliability)
        where_from = "; ".join(f"{c} {', '.join(map(str, v))}" for c, v in aside.items())
        said.append(
            f"reliability of one presentation at least {reliability:g} in {where_from} ({found.said}), "
            "which is not scored"
        )
    if not keep.any():
        raise InputError(f"no target is left by {' and '.join(said)}: loosen the rule")
    return Chosen(keep, rest, " and ".join(said))


def _all_named(signal: Signal, where: Mapping[str, Sequence[str]]) -> np.ndarray:
    return np.logical_or.reduce([_named(signal, "samples", column, values) for column, values in where.items()])


def _named(brain: Signal, axis: str, column: str, values: Sequence[str]) -> np.ndarray:
    table = getattr(brain, axis)
    if column not in table:
        raise SettingsError(f"targets: the {axis} have no column {column!r}; " + did_you_mean(column, table.columns))
    known = table[column].astype(str)
    for value in values:
        if not (known == str(value)).any():
            raise SettingsError(f"targets: no {column} {value!r}; " + did_you_mean(str(value), dict.fromkeys(known)))
    return known.isin([str(value) for value in values]).to_numpy()
