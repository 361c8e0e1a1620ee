"""Which samples may teach and which are asked: fold rules, applied to the outer and the inner loop alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.maths import folds as splits
from brainalign.signals import Signal

Folds = list[tuple[np.ndarray, np.ndarray]]
GAP_S = 16.0  # delays of 10 s and the tail of the haemodynamic response


class FoldRule(Protocol):
    """A rule turns a recording into [(train, test), ..], positions of its samples."""

    def __call__(self, signal: Signal | pd.DataFrame) -> Folds:
        """Split a recording."""
        ...

    def inner(self, n: int) -> FoldRule:
        """The rule of the loop inside the training samples: the same, with about n folds."""
        ...

    def __str__(self) -> str:
        """The rule in words, for reports."""
        ...


@dataclass(frozen=True)
class Contiguous:
    """n blocks of neighbouring samples; the training samples keep a distance of `gap_s` to the block asked."""

    n: int
    gap_s: float = GAP_S

    def __call__(self, signal: Signal | pd.DataFrame) -> Folds:
        """Split a recording."""
        samples = table_of(signal)
        run, time = samples["run"].to_numpy(), samples["time"].to_numpy(float)
        out = []
        for k, (_, test) in enumerate(splits.contiguous(len(samples), self.n), start=1):
            near = np.zeros(len(samples), bool)
            near[test] = True
            for name in dict.fromkeys(run[test]):
                mine = test[run[test] == name]
                low, high = time[mine].min() - self.gap_s, time[mine].max() + self.gap_s
                near |= (run == name) & (time >= low) & (time <= high)
            train = np.flatnonzero(~near)
            if not len(train):
                raise SettingsError(
                    f"fold {k} of {self.n} leaves no training samples with a gap of {self.gap_s:g} s: "
                    "use fewer folds or a shorter gap"
                )
            out.append((train, test))
        return out

    def inner(self, n: int) -> FoldRule:
        """The rule of the loop inside the training samples."""
        return Contiguous(n, self.gap_s)

    def __str__(self) -> str:
        return f"{self.n} contiguous folds, {self.gap_s:g} s left out on both sides"


@dataclass(frozen=True)
class ByGroup:
    """Whole groups (runs, stimuli, sessions) are left out; all of them in turn, or packed into n folds."""

    column: str = "run"
    n: int | None = None

    def __call__(self, signal: Signal | pd.DataFrame) -> Folds:
        """Split a recording."""
        samples = table_of(signal)
        if self.column not in samples:
            raise SettingsError(
                f"folds by {self.column!r}: the samples have no such column; "
                + did_you_mean(self.column, samples.columns)
            )
        groups = samples[self.column].to_numpy()
        count = len(dict.fromkeys(groups))
        if count < 2:
            raise SettingsError(
                f"folds by {self.column!r} need at least two of them; found one ({groups[0]}): "
                "use contiguous folds with a gap (folds: {by: contiguous, n: 6, gap_s: 16})"
            )
        return keep_repeats_together(samples, splits.by_group(groups, n=min(self.n, count) if self.n else None))

    def inner(self, n: int) -> FoldRule:
        """The rule of the loop inside the training samples."""
        return GroupsElseContiguous(self.column, n)

    def __str__(self) -> str:
        return f"one {self.column} left out at a time" if self.n is None else f"{self.n} folds of whole {self.column}s"


@dataclass(frozen=True)
class GroupsElseContiguous:
    """Whole groups while there are at least two among the samples; in a single one, contiguous blocks with a gap."""

    column: str
    n: int

    def __call__(self, signal: Signal | pd.DataFrame) -> Folds:
        """Split a recording."""
        samples = table_of(signal)
        if samples[self.column].nunique() > 1:
            return ByGroup(self.column, self.n)(samples)
        return Contiguous(self.n)(samples)

    def inner(self, n: int) -> FoldRule:
        """The rule of the loop inside the training samples."""
        return GroupsElseContiguous(self.column, n)

    def __str__(self) -> str:
        return f"up to {self.n} folds of whole {self.column}s (contiguous blocks where only one is left)"


@dataclass(frozen=True)
class HoldOut:
    """One test set, named once: everything else trains."""

    where: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __call__(self, signal: Signal | pd.DataFrame) -> Folds:
        """Split a recording."""
        samples = table_of(signal)
        test = np.zeros(len(samples), bool)
        for column, wanted in self.where.items():
            if column not in samples:
                raise SettingsError(
                    f"hold_out by {column!r}: the samples have no such column; " + did_you_mean(column, samples.columns)
                )
            known = dict.fromkeys(samples[column].astype(str))
            for value in wanted:
                if str(value) not in known:
                    raise SettingsError(f"hold_out: no {column} {str(value)!r}; " + did_you_mean(str(value), known))
            test |= samples[column].astype(str).isin([str(v) for v in wanted]).to_numpy()
        if test.all() or not test.any():
            raise SettingsError(
                f"hold_out {dict(self.where)}: {'nothing' if test.all() else 'everything'} is left to train on"
            )
        return keep_repeats_together(samples, [(np.flatnonzero(~test), np.flatnonzero(test))])

    def inner(self, n: int) -> FoldRule:
        """The rule of the loop inside the training samples."""
        return GroupsElseContiguous(next(iter(self.where)), n)

    def __str__(self) -> str:
        return "held out once: " + "; ".join(f"{k} {', '.join(map(str, v))}" for k, v in self.where.items())


by_run = ByGroup("run")
by_stimulus = ByGroup("stimulus")


def contiguous(n: int, gap_s: float = GAP_S) -> Contiguous:
    """Contiguous folds with a gap, for recordings in one long run.

    Parameters
    ----------
    n : int
        Number of folds.
    gap_s : float, seconds
        Training samples closer than this to the test block, in the same run, are left out. At least the longest delay
        plus the haemodynamic response.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> train, test = contiguous(3, gap_s=2.0)(pd.DataFrame({"run": "1", "time": np.arange(9) * 2.0}))[1]
    >>> test.tolist(), train.tolist()
    ([3, 4, 5], [0, 1, 7, 8])
    """
    return Contiguous(n, gap_s)


def hold_out(**where: Sequence[str]) -> HoldOut:
    """Keep named runs or stimuli as one untouched test set: ``hold_out(run=["10"])``.

    Examples
    --------
    >>> import pandas as pd
    >>> samples = pd.DataFrame({"run": ["1", "1", "2"], "time": [0.0, 2.0, 0.0]})
    >>> [part.tolist() for part in hold_out(run=["2"])(samples)[0]]
    [[0, 1], [2]]
    """
    if not where:
        raise SettingsError("hold_out needs to know what: hold_out(run=['10']) or hold_out(stimulus=[..])")
    return HoldOut({k: [v] if isinstance(v, str) else list(v) for k, v in where.items()})


def table_of(signal: Signal | pd.DataFrame) -> pd.DataFrame:
    """The samples table of a Signal, or the table itself."""
    return signal.samples if isinstance(signal, Signal) else signal.reset_index(drop=True)


def keep_repeats_together(samples: pd.DataFrame, folds: Folds) -> Folds:
    """Refuse folds with repeats of one stimulus on both sides: the model would have seen the answer.

    Raises
    ------
    InputError
        Names the fold and the first such stimulus.
    """
    if "repeat" not in samples or "stimulus" not in samples:
        return folds
    stimulus = samples["stimulus"].to_numpy(object)
    for k, (train, test) in enumerate(folds, start=1):
        both = set(stimulus[train]) & set(stimulus[test])
        if both:
            raise InputError(
                f"fold {k}: {len(both)} stimuli are on both sides, the first {min(map(str, both))!r}: repeats of "
                "one stimulus belong to one fold (folds: {by: stimulus})"
            )
    return folds


def drawn(folds: Folds, samples: pd.DataFrame) -> pd.DataFrame:
    """Folds as a table to save and to draw: `fold`, `run`, `time` (s), `role` train | gap | test."""
    parts: list[Any] = []
    for k, (train, test) in enumerate(folds, start=1):
        role = np.full(len(samples), "gap", dtype=object)
        role[train], role[test] = "train", "test"
        parts.append(samples[["run", "time"]].assign(fold=k, role=role))
    return pd.concat(parts, ignore_index=True)[["fold", "run", "time", "role"]]
