"""Which samples may teach and which are asked: fold rules, applied to the outer and the inner loop alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from brainalign.encoding.courses import is_series, place_in_course
from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.maths import folds as splits
from brainalign.signals import Signal

Folds = list[tuple[np.ndarray, np.ndarray]]
GAP_S = 16.0  # delays of 10 s and the tail of the haemodynamic response
BESIDE = 0.5  # share of test samples with a training sample right beside them from which folds are shuffled


@runtime_checkable
class FoldRule(Protocol):
    """A rule turns a recording into [(train, test), ..], positions of its samples."""

    def __call__(self, signal: Signal | pd.DataFrame) -> Folds:
        """Split a recording; folds that leak are refused."""
        ...

    def split(self, samples: pd.DataFrame) -> Folds:
        """Split a recording, leaks and all: for an audit."""
        ...

    def inner(self, n: int) -> FoldRule:
        """The rule of the loop inside the training samples: the same, with about n folds."""
        ...

    def __str__(self) -> str:
        """The rule in words, for reports."""
        ...


class Guarded(ABC):
    """What all rules have in common: repeats of a stimulus stay together, and no time series is shuffled unasked."""

    shuffles = False  # whether that was asked for by name

    @abstractmethod
    def split(self, samples: pd.DataFrame) -> Folds:
        """Split a recording, leaks and all."""

    def __call__(self, signal: Signal | pd.DataFrame) -> Folds:
        """Split a recording; folds that leak are refused."""
        samples = table_of(signal)
        folds = keep_repeats_together(samples, self.split(samples))
        return folds if self.shuffles else refuse_shuffled(folds, samples, str(self))


@dataclass(frozen=True)
class Contiguous(Guarded):
    """n blocks of neighbouring samples; the training samples keep a distance of `gap_s` to the block asked.

    Where runs repeat one course of stimuli, a block is the same stretch of it in all of them.
    """

    n: int
    gap_s: float = GAP_S

    def split(self, samples: pd.DataFrame) -> Folds:
        """Split a recording, leaks and all."""
        run, time = samples["run"].to_numpy(), samples["time"].to_numpy(float)
        out = []
        place = place_in_course(samples)
        course = np.arange(len(samples)) if place is None else place
        for k, (_, block) in enumerate(splits.contiguous(int(course.max(initial=-1)) + 1, self.n), start=1):
            test = np.flatnonzero(np.isin(course, block))
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
class ByGroup(Guarded):
    """Whole groups (runs, stimuli, sessions) are left out; all of them in turn, or packed into n folds."""

    column: str = "run"
    n: int | None = None
    gap_s: float = GAP_S  # of the inner loop's blocks, where training samples are of one group

    def split(self, samples: pd.DataFrame) -> Folds:
        """Split a recording, leaks and all."""
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
        return splits.by_group(groups, n=min(self.n, count) if self.n else None)

    def inner(self, n: int) -> FoldRule:
        """The rule of the loop inside the training samples."""
        return GroupsElseContiguous(self.column, n, self.gap_s)

    def __str__(self) -> str:
        several = {"stimulus": "stimuli", "story": "stories"}.get(self.column, f"{self.column}s")
        return f"one {self.column} left out at a time" if self.n is None else f"{self.n} folds of whole {several}"


@dataclass(frozen=True)
class GroupsElseContiguous(Guarded):
    """Whole groups while there are at least two among the samples; in a single one, or where they tell one story again,
    contiguous blocks with a gap.
    """

    column: str
    n: int
    gap_s: float = GAP_S

    def split(self, samples: pd.DataFrame) -> Folds:
        """Split a recording, leaks and all."""
        if samples[self.column].nunique() > 1:
            folds = ByGroup(self.column, self.n).split(samples)
            if place_in_course(samples) is None or not any(on_both_sides(samples, *fold) for fold in folds):
                return folds
        return Contiguous(self.n, self.gap_s).split(samples)

    def inner(self, n: int) -> FoldRule:
        """The rule of the loop inside the training samples."""
        return GroupsElseContiguous(self.column, n, self.gap_s)

    def __str__(self) -> str:
        return f"up to {self.n} folds of whole {self.column}s (contiguous blocks where only one is left)"


@dataclass(frozen=True)
class HoldOut(Guarded):
    """One test set, named once: everything else trains."""

    where: Mapping[str, Sequence[str]] = field(default_factory=dict)
    gap_s: float = GAP_S  # of the inner loop's blocks, where training samples are of one group

    def split(self, samples: pd.DataFrame) -> Folds:
        """Split a recording, leaks and all."""
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
        return [(np.flatnonzero(~test), np.flatnonzero(test))]

    def inner(self, n: int) -> FoldRule:
        """The rule of the loop inside the training samples."""
        return GroupsElseContiguous(next(iter(self.where)), n, self.gap_s)

    def __str__(self) -> str:
        return "held out once: " + "; ".join(f"{k} {', '.join(map(str, v))}" for k, v in self.where.items())


@dataclass(frozen=True)
class Shuffled(Guarded):
    """Samples dealt out at random. On a time series this leaks: whoever asks for it by this name is told so."""

    n: int
    seed: int = 0
    shuffles = True

    def split(self, samples: pd.DataFrame) -> Folds:
        """Split a recording, leaks and all."""
        return splits.shuffled(len(samples), self.n, self.seed)

    def inner(self, n: int) -> FoldRule:
        """The rule of the loop inside the training samples."""
        return Shuffled(n, self.seed)

    def __str__(self) -> str:
        return f"{self.n} shuffled folds"


@dataclass(frozen=True)
class Called(Guarded):
    """A function of one's own, Signal → [(train, test), ..], checked as splits given are."""

    function: Callable[[Any], Any]

    def __call__(self, signal: Signal | pd.DataFrame) -> Folds:
        """Split a recording; folds that leak are refused."""
        return Given(list(self.function(signal)))(signal)  # the function may want the Signal

    def split(self, samples: pd.DataFrame) -> Folds:
        """Split a recording, leaks and all."""
        return Given(list(self.function(samples))).split(samples)

    def inner(self, n: int) -> FoldRule:
        """The rule of the loop inside the training samples: whole runs, else contiguous blocks with a gap."""
        return GroupsElseContiguous("run", n)

    def __str__(self) -> str:
        return f"splits by {getattr(self.function, '__name__', type(self.function).__name__)}"


@dataclass(frozen=True)
class Given(Guarded):
    """Splits made elsewhere: a list of (train, test), or a scikit-learn splitter with the column its groups are in."""

    source: Any
    groups: str | None = None
    shuffles: bool = False

    def split(self, samples: pd.DataFrame) -> Folds:
        """Split a recording, leaks and all."""
        pairs = list(self._pairs(samples))
        if not pairs or any(not isinstance(pair, (tuple, list)) or len(pair) != 2 for pair in pairs):
            raise SettingsError("splits are a list of (train, test), such as [(train, test)] for a single one")
        folds = [(_rows(a, len(samples)), _rows(b, len(samples))) for a, b in pairs]
        for k, (train, test) in enumerate(folds, start=1):
            if not len(train) or not len(test):
                raise SettingsError(
                    f"fold {k} of the splits given has {len(train)} training and {len(test)} test samples"
                )
            both = np.intersect1d(train, test)
            if len(both):
                raise SettingsError(
                    f"fold {k} of the splits given has {len(both)} samples on both sides, the first sample {both[0]}"
                )
        asked = np.bincount(np.concatenate([test for _, test in folds]), minlength=len(samples))
        if asked.max() > 1:
            raise SettingsError(
                f"sample {int(np.argmax(asked))} is tested in {asked.max()} of the splits given: each sample is tested "
                "once at most (repeated splits are fitted apart)"
            )
        return folds

    def _pairs(self, samples: pd.DataFrame) -> Any:
        if not hasattr(self.source, "split"):
            return self.source
        if self.groups is not None and self.groups not in samples:
            raise SettingsError(
                f"splits grouped by {self.groups!r}: the samples have no such column; "
                + did_you_mean(self.groups, samples.columns)
            )
        groups = None if self.groups is None else samples[self.groups].to_numpy()
        try:
            return list(self.source.split(np.zeros((len(samples), 1)), groups=groups))
        except (ValueError, TypeError) as error:
            raise SettingsError(f"{self.source} cannot split these {len(samples)} samples: {error}") from error

    def inner(self, n: int) -> FoldRule:
        """The rule of the loop inside the training samples: whole groups, else contiguous blocks with a gap."""
        return GroupsElseContiguous(self.groups or "run", n)

    def __str__(self) -> str:
        if hasattr(self.source, "split"):
            return f"{self.source}" + (f", groups by {self.groups}" if self.groups else "")
        return f"{len(self.source)} splits given" + (", shuffled" if self.shuffles else "")


@dataclass(frozen=True)
class Fixed:
    """Folds that are made and checked already; the inner loop follows the rule they came from."""

    pairs: Folds
    rule: FoldRule
    said: str

    def __call__(self, signal: Signal | pd.DataFrame) -> Folds:
        """The folds."""
        return self.pairs

    def split(self, samples: pd.DataFrame) -> Folds:
        """The folds."""
        return self.pairs

    def inner(self, n: int) -> FoldRule:
        """The rule of the loop inside the training samples."""
        return self.rule.inner(n)

    def __str__(self) -> str:
        return self.said


by_run = ByGroup("run")
by_story = ByGroup("story")
by_session = ByGroup("session")
by_subject = ByGroup("subject")
by_stimulus = ByGroup("stimulus")


def by_group(column: str, n: int | None = None) -> ByGroup:
    """Leave out whole groups named by any column of the samples: passages, categories, sessions.

    Examples
    --------
    >>> import pandas as pd
    >>> samples = pd.DataFrame({"run": ["1", "1", "2"], "time": [0.0, 2.0, 0.0], "passage": ["a", "a", "b"]})
    >>> [test.tolist() for _, test in by_group("passage")(samples)]
    [[0, 1], [2]]
    """
    return ByGroup(column, n)


def shuffled(n: int, seed: int = 0) -> Shuffled:
    """Deal samples out at random. For isolated stimuli; on a time series the result says that it leaks.

    Examples
    --------
    >>> str(shuffled(5))
    '5 shuffled folds'
    """
    return Shuffled(n, seed)


def splits_of(source: Any, groups: str | None = None, allow_shuffled: bool = False) -> Given:
    """Splits made elsewhere as a fold rule: a list of (train, test), or any scikit-learn splitter.

    Parameters
    ----------
    source : list of (train, test) row numbers, or object with `split`
    groups : str, optional
        The column of the samples that a splitter such as `GroupKFold` keeps together.
    allow_shuffled : bool
        Splits that put training samples right beside most test samples of a time series are refused unless this is
        True; the result then says so.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.model_selection import GroupKFold
    >>> samples = pd.DataFrame({"run": ["1", "1", "2"], "time": [0.0, 2.0, 0.0]})
    >>> [test.tolist() for _, test in splits_of(GroupKFold(2), groups="run")(samples)]
    [[0, 1], [2]]
    """
    return Given(source if hasattr(source, "split") else list(source), groups, allow_shuffled)


def as_rule(folds: Any) -> FoldRule:
    """Whatever a user may pass as folds, as a fold rule.

    Raises
    ------
    SettingsError
        Something that is neither a rule, a list of splits, nor a splitter.
    """
    if isinstance(folds, FoldRule):
        return folds
    if (hasattr(folds, "split") and not isinstance(folds, str)) or isinstance(folds, (list, tuple)):
        return Given(folds)
    if callable(folds):
        return Called(folds)
    raise SettingsError(
        f"folds is a rule such as by_run or contiguous(6, gap_s=16), a list of (train, test), or a scikit-learn "
        f"splitter; found {folds!r}"
    )


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


def hold_out(**where: Any) -> HoldOut:
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
    named = {k: [v] if isinstance(v, str) or not hasattr(v, "__iter__") else list(v) for k, v in where.items()}
    return HoldOut(named)


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
    for k, (train, test) in enumerate(folds, start=1):
        both = on_both_sides(samples, train, test)
        if both:
            raise InputError(
                f"fold {k}: {len(both)} stimuli are on both sides, the first {min(map(str, both))!r}: repeats of "
                f"one stimulus belong to one fold (folds: {{by: {_keeps_together(samples)}}})"
            )
    return folds


def _keeps_together(samples: pd.DataFrame) -> str:
    return "contiguous" if is_series(samples) and place_in_course(samples) is not None else "stimulus"


def on_both_sides(samples: pd.DataFrame, train: np.ndarray, test: np.ndarray) -> set[Any]:
    """The stimuli met in training and in test; rest has none."""
    stimulus = samples["stimulus"]
    return set(stimulus.iloc[train].dropna()) & set(stimulus.iloc[test].dropna())


def folds_in_use(rule: FoldRule, signal: Signal, keep: np.ndarray, refuse: bool = True) -> Folds:
    """The folds among the samples `keep` of a recording, as positions among them.

    Splits made elsewhere number the samples of the whole recording; rules see only the samples in use.
    """
    if not isinstance(rule, (Given, Called)):
        kept = signal.select(rows=keep) if len(keep) < len(signal.samples) else signal
        return rule(kept) if refuse else rule.split(kept.samples)
    if isinstance(rule, Called):  # the function may want the Signal
        rule = Given(list(rule.function(signal)))
    folds = rule(signal) if refuse else rule.split(signal.samples)
    place = np.full(len(signal.samples), -1)
    place[keep] = np.arange(len(keep))
    return [(place[train][place[train] >= 0], place[test][place[test] >= 0]) for train, test in folds]


def beside(folds: Folds, samples: pd.DataFrame) -> float:
    """Share of test samples whose neighbour in the same run is a training sample."""
    run = samples["run"].to_numpy()
    same = np.r_[False, run[1:] == run[:-1], False]  # whether sample i and i − 1 are neighbours
    near, total = 0, 0
    for train, test in folds:
        taught = np.zeros(len(samples) + 2, bool)
        taught[train + 1] = True
        near += int((taught[test] & same[test] | taught[test + 2] & same[test + 1]).sum())
        total += len(test)
    return near / max(total, 1)


def refuse_shuffled(folds: Folds, samples: pd.DataFrame, what: str) -> Folds:
    """Refuse folds that deal out the samples of a time series at random.

    Raises
    ------
    SettingsError
        Says how many test samples have a training sample right beside them, and what to do.
    """
    if is_series(samples) and (share := beside(folds, samples)) > BESIDE:
        raise SettingsError(
            f"{what}: this shuffles a time series, {share:.0%} of test samples have a training sample right beside "
            "them, which says nearly the same; leave out runs (by_run) or blocks with a gap (contiguous(6, gap_s=16)), "
            "or ask for shuffled folds by name: shuffled(5), splits_of(.., allow_shuffled=True)"
        )
    return folds


def warnings_of(folds: Folds, samples: pd.DataFrame) -> list[str]:
    """What a reader of scores from these folds has to know."""
    if is_series(samples) and (share := beside(folds, samples)) > BESIDE:
        return [
            f"LEAKY FOLDS: the samples of a time series were shuffled; {share:.0%} of test samples have a training "
            "sample right beside them, so scores are too high (brainalign check --leak says how much)"
        ]
    return []


def _rows(part: Any, n_samples: int) -> np.ndarray:
    """Row numbers, sorted, of row numbers or a mask."""
    rows = np.asarray(part)
    if rows.dtype == bool and rows.shape == (n_samples,):
        return np.flatnonzero(rows)
    if rows.ndim != 1 or (len(rows) and (not np.issubdtype(rows.dtype, np.integer))):
        raise SettingsError(f"splits are row numbers or masks of {n_samples} samples; found {rows.dtype} {rows.shape}")
    if len(rows) and not 0 <= rows.min() <= rows.max() < n_samples:
        raise SettingsError(
            f"splits name rows {rows.min()} to {rows.max()}; there are {n_samples} samples (0 to {n_samples - 1})"
        )
    return np.unique(rows).astype(int)


def drawn(folds: Folds, samples: pd.DataFrame) -> pd.DataFrame:
    """Folds as a table to save and to draw: `fold`, `run`, `time` (s), `role` train | gap | test."""
    parts: list[Any] = []
    for k, (train, test) in enumerate(folds, start=1):
        role = np.full(len(samples), "gap", dtype=object)
        role[train], role[test] = "train", "test"
        parts.append(samples[["run", "time"]].assign(fold=k, role=role))
    return pd.concat(parts, ignore_index=True)[["fold", "run", "time", "role"]]
