"""How much would more data bring? Scores from growing shares of what was recorded, on the same test samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd

from brainalign.encoding.ceilings import none, repeats_of
from brainalign.encoding.chance import Chance
from brainalign.encoding.encode import encode
from brainalign.encoding.folds import Fixed, FoldRule, Folds, as_rule, by_run, folds_in_use, table_of
from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.maths.scores import pearson_within
from brainalign.signals import Signal, average_people, average_repeats, same_samples

QUIET = Chance(permutations=0, bootstrap=0)
HALVES = np.geomspace(1e-2, 1e2, 400)  # of the training time seen at which half of r² might be reached


def learning_curve(
    X: Signal,
    Y: Signal,
    *,
    folds: Any = by_run,
    over: str = "minutes",
    shares: Sequence[float] = (0.25, 0.5, 0.75, 1.0),
    draws: int = 2,
    ahead: float = 2.0,
    seed: int = 0,
    **how: Any,
) -> pd.DataFrame:
    """Mean r of a model against how much it was trained on, and where the curve would go.

    Parameters
    ----------
    X, Y : Signal
        As for `encode`.
    folds : fold rule
        The test samples are the same at every share. Over repeats they are folds of the averaged samples, one for each
        stimulus (and moment): `by_stimulus`, say.
    over : "minutes", "repeats" or "people"
        Minutes: fewer training samples. Repeats: as many, but responses (and features) are the mean over fewer
        presentations of each stimulus. People: responses are the mean over fewer of ``Y.related["people"]``. What is
        tested stays the mean of all, so that only the training data change.
    shares : sequence of float
        Of each fold's training samples, or of all repeats or people (rounded, at least one), in (0, 1].
    draws : int
        Of samples less than all are a stretch of neighbours, and so many stretches are taken for each share, from the
        beginning to the end. Of repeats and people it is so many random subsets. r is their mean.
    ahead : float
        How many times as much as was seen the curve is carried on to; 1: not at all.
    seed : int
        Of the subsets, and of the fits.
    **how
        For `encode`: `inner`, `within_fold`, `solver`.

    Returns
    -------
    DataFrame
        `minutes` of training, or how many `repeats` or `people` (a mean over folds, and over stimuli that were met
        unequally often); `r` (mean over targets), `low`, `high` (over stretches or subsets), `extrapolated`. The
        carried-on row is r = √(a m / (m + b)) fitted to the others: a guess of one form of curve, labelled as such, NaN
        where r does not grow.

    Raises
    ------
    SettingsError
        Shares beyond (0, 1], fewer than two, no stretches, or another `over`.
    InputError
        As for `encode`; no people, or no repeats.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> samples = pd.DataFrame({"run": np.repeat(["1", "2"], 150), "time": np.tile(np.arange(150) * 2.0, 2)})
    >>> x = Signal(rng.standard_normal((300, 20)), samples, pd.DataFrame({"band": ["lm"] * 20}))
    >>> y = Signal(x.values @ rng.standard_normal((20, 5)) + 6 * rng.standard_normal((300, 5)), samples,
    ...            pd.DataFrame({"roi": list("abcde")}))
    >>> curve = learning_curve(x, y, shares=(0.5, 1.0))
    >>> bool(curve["r"][1] > curve["r"][0]), curve["extrapolated"].tolist()
    (True, [False, False, True])
    """
    wanted = sorted(float(share) for share in shares)
    if len(wanted) < 2 or not 0 < wanted[0] <= wanted[-1] <= 1:
        raise SettingsError(f"shares are two or more numbers above 0 and up to 1; found {list(shares)}")
    if draws < 1:
        raise SettingsError(f"draws is a number of stretches, at least 1; found {draws}")
    if ahead < 1:
        raise SettingsError(f"ahead is 1 or more times what was seen; found {ahead:g}")
    if over not in (known := ["minutes", *OVER]):
        raise SettingsError(f"a learning curve goes over something else than {over!r}; " + did_you_mean(over, known))
    keep = np.flatnonzero(X.use & Y.use)
    rule, how = as_rule(folds), how | {"seed": seed}
    if over == "minutes":
        steps = _minutes(X, Y, keep, rule, wanted, draws, how)
    else:
        several = OVER[over](X.select(rows=keep), Y.select(rows=keep))
        steps = _several(several, rule, wanted, draws, how)
    rows = []
    for amount, scores in steps:
        r = np.array(scores)
        rows.append({over: amount, "r": r.mean(), "low": r.min(), "high": r.max(), "extrapolated": False})
    if ahead > 1:
        amounts, r = (np.array([row[name] for row in rows]) for name in (over, "r"))
        further = ahead * amounts[-1]
        guess = carried_on(amounts, r, further)
        rows.append({over: further, "r": guess, "low": np.nan, "high": np.nan, "extrapolated": True})
    return pd.DataFrame(rows)


def _minutes(
    X: Signal, Y: Signal, keep: np.ndarray, rule: FoldRule, shares: list[float], draws: int, how: dict[str, Any]
) -> Iterator[tuple[float, list[float]]]:
    """Minutes of training and mean r of every stretch, for each share of the samples."""
    pairs = folds_in_use(rule, Y, keep)
    X, Y = X.select(rows=keep), Y.select(rows=keep)
    for share in shares:
        starts = np.linspace(0, 1, draws) if share < 1 else np.zeros(1)
        cuts = [Fixed(shortened(pairs, share, float(start)), rule, f"{rule}, {share:.0%} of it") for start in starts]
        scored = [_score(X, Y, cut, how) for cut in cuts]
        yield scored[0][1], [one for one, _ in scored]


class Several(Protocol):
    """A recording that is the mean of several: `X` and `Y` are means over all of `most`."""

    X: Signal
    Y: Signal
    most: int

    def some(self, k: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features, responses and how many were averaged, of every sample, for a random k of them."""
        ...


@dataclass(frozen=True)
class People:
    """A mean over people."""

    X: Signal
    Y: Signal
    most: int
    people: Signal

    @classmethod
    def of(cls, X: Signal, Y: Signal) -> People:
        """Find the people behind a mean."""
        people = Y.related.get("people")
        if people is None:
            raise InputError(
                "a curve over people needs a recording that is their mean: average_people(..), or "
                "data: {average: subjects}"
            )
        what = [name for name in people.columns if name != "subject"]
        if not average_people(people).columns[what].equals(Y.columns.reindex(columns=what)):
            raise InputError("the recording's columns are not those of its people: select both alike")
        return cls(X, replace(Y, related={}), people.columns["subject"].nunique(), people)

    def some(self, k: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The mean of k people."""
        taken = rng.permutation(self.people.columns["subject"].unique())[:k].tolist()
        mean = average_people(self.people.select(subject=taken))
        return self.X.array(), mean.array(), np.full(len(self.Y.samples), k)


@dataclass(frozen=True)
class Repeats:
    """A mean over presentations of each stimulus; `index` says which stimulus (and moment) a presentation is of."""

    X: Signal
    Y: Signal
    most: int
    each: tuple[np.ndarray, np.ndarray]  # features and responses of every presentation
    index: np.ndarray
    stimulus: np.ndarray  # by number, the same at all its moments
    told_by: np.ndarray  # by number, which presentation

    @classmethod
    def of(cls, X: Signal, Y: Signal) -> Repeats:
        """Find the presentations, as `repeats_of` does."""
        if not same_samples(X.samples, Y.samples):
            raise InputError("design and recording are not on the same samples: resample(X, onto=Y) first")
        if repeats_of(Y) is None:
            raise InputError(
                "a curve over repeats needs stimuli met several times: samples with `stimulus` (and `stimulus_time` in "
                "a time series), told apart by `repeat` or by `run`"
            )
        what = [name for name in ("stimulus", "stimulus_time") if name in Y.samples]
        met = Y.samples[what].notna().all(axis=1).to_numpy()
        used = Y.samples[met]
        index = used.groupby(what, sort=False).ngroup().to_numpy()
        stimulus = used.groupby("stimulus", sort=False).ngroup().to_numpy()
        told_by = used.groupby("repeat" if "repeat" in used else "run", sort=False).ngroup().to_numpy()
        x = replace(X, samples=Y.samples)
        each = (X.array()[met], Y.array()[met])
        most = int(np.bincount(index).max())
        return cls(average_repeats(x), average_repeats(Y), most, each, index, stimulus, told_by)

    def some(self, k: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The mean of k presentations of each stimulus; of all it has, where it has fewer."""
        chance = rng.random((self.stimulus.max() + 1, self.told_by.max() + 1))[self.stimulus, self.told_by]
        rank = pd.Series(chance).groupby(self.index).rank(method="first").to_numpy()
        taken = np.flatnonzero(rank <= k)
        count = np.bincount(self.index[taken])
        means = []
        for values in self.each:
            total = np.zeros((len(count), values.shape[1]))
            np.add.at(total, self.index[taken], values[taken])
            means.append(total / count[:, None])
        return means[0], means[1], count


OVER: dict[str, Any] = {"repeats": Repeats.of, "people": People.of}


def _several(
    several: Several, rule: FoldRule, shares: list[float], draws: int, how: dict[str, Any]
) -> Iterator[tuple[float, list[float]]]:
    """How many were averaged and mean r of every subset, for each number of repeats or people."""
    pairs = folds_in_use(rule, several.Y, np.arange(len(several.Y.samples)))
    for k in sorted({max(1, round(share * several.most)) for share in shares}):
        amounts, scores = [], []
        for draw in range(draws if k < several.most else 1):
            some = several.some(k, np.random.default_rng([how["seed"], k, draw]))
            held = [_tested(several, pair, some, rule, how) for pair in pairs]
            amounts.append(np.mean([some[2][train].mean() for train, _ in pairs]))
            y, predicted = (np.concatenate([one[part] for one in held]) for part in (0, 1))
            fold = np.repeat(np.arange(len(held)), [len(one[0]) for one in held])
            scores.append(float(pearson_within(y, predicted, fold).mean()))
        yield float(np.mean(amounts)), scores


def _tested(
    several: Several,
    pair: tuple[np.ndarray, np.ndarray],
    some: tuple[np.ndarray, np.ndarray, np.ndarray],
    rule: FoldRule,
    how: dict[str, Any],
) -> tuple[np.ndarray, np.ndarray]:
    """Observed and predicted of one fold's test samples, which are means of all; training samples are means of some."""
    train, _ = pair
    signals = []
    for mean, values in ((several.X, some[0]), (several.Y, some[1])):
        mixed = mean.array().copy()
        mixed[train] = values[train]
        signals.append(replace(mean, values=mixed))
    fit = encode(*signals, folds=Fixed([pair], rule, str(rule)), ceiling=none, chance=QUIET, weights=False, **how)
    return fit.observed.array().astype(float), fit.predictions.select(model="full").array().astype(float)


def shortened(folds: Folds, share: float, start: float) -> Folds:
    """Folds whose training samples are cut to a share: a stretch of neighbours, from `start` 0 (first) to 1 (last).

    Examples
    --------
    >>> [(train.tolist(), test.tolist()) for train, test in shortened([(np.arange(4), np.array([4]))], 0.5, 1.0)]
    [([2, 3], [4])]
    """
    out = []
    for train, test in folds:
        size = max(2, round(share * len(train)))
        first = round(start * (len(train) - size))
        out.append((train[first : first + size], test))
    return out


def carried_on(minutes: np.ndarray, r: np.ndarray, further: float) -> float:
    """√(a m / (m + b)) at `further` minutes, fitted to (minutes, r); NaN where r does not grow above zero.

    Examples
    --------
    >>> minutes = np.array([5.0, 10.0, 20.0])
    >>> round(carried_on(minutes, np.sqrt(0.25 * minutes / (minutes + 10)), 40.0), 3)  # √(.25 · 40 / 50)
    0.447
    """
    if (r <= 0).any() or r[-1] <= r[0]:
        return float("nan")
    shape = minutes[:, None] / (minutes[:, None] + HALVES * minutes[-1])
    height = (shape * r[:, None] ** 2).sum(0) / (shape**2).sum(0)
    best = int(np.argmin(((height * shape - r[:, None] ** 2) ** 2).sum(0)))
    return float(np.sqrt(height[best] * further / (further + HALVES[best] * minutes[-1])))


def _score(X: Signal, Y: Signal, rule: Fixed, how: dict[str, Any]) -> tuple[float, float]:
    """Mean r over targets, and minutes of training."""
    fit = encode(X, Y, folds=rule, ceiling=none, chance=QUIET, weights=False, **how)
    samples = table_of(Y)
    steps = samples.groupby("run", sort=False)["time"].diff()
    step = float(steps[steps > 0].median())
    if not np.isfinite(step):
        raise InputError("every run has one sample: nothing says how long training lasted")
    counts = [len(train) for train, _ in rule.pairs]
    full = fit.scores[fit.scores["model"] == "full"]["r"]
    return float(full.mean()), float(np.mean(counts)) * step / 60
