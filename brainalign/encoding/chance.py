"""Could it be chance, and how sure is it? Nulls and intervals that cross-validated predictions allow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from brainalign.encoding.fit import Fits, Problem, key_of_fit
from brainalign.encoding.within import learn_space
from brainalign.maths import inference, scores
from brainalign.maths.hat import hat_operator
from brainalign.progress import Progress
from brainalign.provenance import hash_array
from brainalign.store import Store, key_of

if TYPE_CHECKING:
    from brainalign.encoding.encode import Scored
    from brainalign.encoding.score import HeldOut

KIND = {True: "conditional on the fitted models", False: "blocks of the test set"}  # whether there are several folds
NAMED = 1_000  # targets up to which the gain of each is listed


@dataclass(frozen=True)
class Chance:
    """How much is spent on chance: numbers of permutations and of bootstrap samples (0: none), and the FDR level."""

    permutations: int = 1000
    bootstrap: int = 1000
    fdr: float = 0.05


def judge(
    problem: Problem,
    fits: Fits,
    scored: Mapping[str, Scored],
    tables: Mapping[str, pd.DataFrame],
    people: Mapping[str, pd.DataFrame],
    chance: Chance,
    store: Store | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Fill `p`, `q`, `r_low`, `r_high` of every table, and say what kind of p and interval they are.

    People's tables get p for the models they hold (baseline, full); intervals for people come from `gain_table`.
    """
    own = np.arange(problem.n_own)
    theirs = np.arange(problem.n_own, problem.targets.shape[1])
    shifts = _shifts(problem, chance)
    for k, (name, one) in enumerate(scored.items()):
        if progress and shifts is not None:
            progress(k, len(scored), f"how likely by chance: {name}")
        for table, targets in ((tables[name], own), (people.get(name), theirs)):
            if table is None:
                continue
            if shifts is not None:
                observed = table["r"].to_numpy(float)
                table["p"] = _kept_p(problem, fits, one, targets, observed, shifts, store)
                table["q"] = inference.fdr(table["p"].to_numpy(float))
            if chance.bootstrap:
                held = one.held.columns(slice(targets[0], targets[-1] + 1))
                span = inference.interval(_resampled(held, problem, chance))
                table["r_low"], table["r_high"] = span.low, span.high
    return _say(problem, chance, shifts)


def mean_interval(held: HeldOut, problem: Problem, chance: Chance) -> tuple[float, float]:
    """Interval of the mean r over targets, blocks of time resampled for all targets together."""
    if not chance.bootstrap:
        return float("nan"), float("nan")
    span = inference.interval(_resampled(held, problem, chance).mean(1))
    return float(span.low), float(span.high)


def gain_table(
    baseline: HeldOut, full: HeldOut, problem: Problem, people: Mapping[str, pd.DataFrame], chance: Chance
) -> pd.DataFrame:
    """Full less baseline in r: for each target, for their mean, and over people (mean over each person's targets).

    Intervals of targets resample blocks of time, the fitted models held fixed ("conditional"); those over people
    resample people, and p is the sign-flip test of a mean gain above zero.
    """
    own = slice(0, problem.n_own)
    a, b = baseline.columns(own), full.columns(own)
    each = plain_r(b) - plain_r(a)
    rows = [{"over": "targets", "what": "mean over targets", "gain_r": each.mean(), "n": len(each)}]
    if problem.n_own <= NAMED:
        varying = [c for c in problem.Y.columns if problem.Y.columns[c].nunique() > 1] or list(problem.Y.columns[:1])
        places = problem.Y.columns[varying].astype(str).agg(" ".join, axis=1)
        rows += [{"over": "target", "what": place, "gain_r": each[k], "n": 1} for k, place in enumerate(places)]
    if chance.bootstrap:
        difference = _resampled(b, problem, chance) - _resampled(a, problem, chance)
        spans = [inference.interval(difference.mean(1)), *(inference.interval(one) for one in difference.T)]
        for row, span in zip(rows, spans, strict=False):
            row |= {"low": float(span.low), "high": float(span.high), "interval": KIND[len(problem.folds) > 1]}
    if people:
        by_person = per_person(people)
        row = {"over": "people", "what": "mean over people", "gain_r": by_person.mean(), "n": len(by_person)}
        if chance.bootstrap:
            span = inference.bootstrap_mean(by_person.to_numpy(), n=chance.bootstrap, seed=problem.seed)
            row |= {"low": float(span.low), "high": float(span.high), "interval": "bootstrap over people"}
        if chance.permutations:
            row["p"] = float(inference.sign_flip(by_person.to_numpy(), seed=problem.seed))
        rows.append(row)
    columns = ["over", "what", "gain_r", "low", "high", "p", "n", "interval"]
    return pd.DataFrame(rows).reindex(columns=columns)


def per_person(people: Mapping[str, pd.DataFrame]) -> pd.Series:
    """Each person's gain, the mean over their targets; indexed by subject."""
    means = [people[name].groupby("subject", sort=False)["r"].mean() for name in ("full", "baseline")]
    return means[0] - means[1]


def _kept_p(
    problem: Problem,
    fits: Fits,
    one: Scored,
    targets: np.ndarray,
    observed: np.ndarray,
    shifts: np.ndarray,
    store: Store | None,
) -> np.ndarray:
    if store is None:
        return _p_values(problem, fits, one, targets, observed, shifts)
    used = fits.models if one.name not in fits.by_model else [fits.model(one.name)]
    key = key_of(
        what="p of shifted responses 1",
        model=one.name,
        fits=[key_of_fit(problem, model, fold) for model in used for fold in range(len(problem.folds))],
        targets=targets.tolist(),
        shifts=hash_array(shifts),
    )
    piece = store.compute(
        key, lambda: {"p": _p_values(problem, fits, one, targets, observed, shifts)}, meta={"what": "p"}
    )
    return np.array(piece.arrays["p"])


def _p_values(
    problem: Problem, fits: Fits, one: Scored, targets: np.ndarray, observed: np.ndarray, shifts: np.ndarray
) -> np.ndarray:
    """Shift the responses, predict them anew at each target's fixed penalties, count how often r is as high.

    Training and test samples both come from the shifted series. Permuting finished predictions against responses would
    be invalid: every pair of folds shares training data (false positives 0.11–0.13 at 0.05).
    """
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        folds = pool.map(lambda k: _null_sums(problem, fits, one, k, targets, shifts), range(len(problem.folds)))
        covariance, predicted, seen = np.sum(list(folds), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        null = covariance / np.sqrt(predicted * seen)
    return inference.exceeded(observed, null.T)


def _null_sums(
    problem: Problem, fits: Fits, one: Scored, fold: int, targets: np.ndarray, shifts: np.ndarray
) -> np.ndarray:
    """(3, t, m): Σŷy, Σŷ², Σy² over one fold's test samples, both centred within it, for every target and shift."""
    train, test = problem.folds[fold]
    sums = np.zeros((3, len(targets), len(shifts)))
    for k, operator in _predictors(problem, fits, one, fold, targets):
        y = problem.targets[:, targets[k]].astype(np.float64)
        predicted = operator @ y[shifts[:, train]].T
        predicted -= predicted.mean(0)
        seen = y[shifts[:, test]].T
        seen -= seen.mean(0)
        for total, a, b in zip(sums, (predicted, predicted, seen), (seen, predicted, seen), strict=True):
            total[k] = np.einsum("nm,nm->m", a, b)
    return sums


def _predictors(
    problem: Problem, fits: Fits, one: Scored, fold: int, targets: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    """(position among `targets`, matrix (n_test, n_train) from training responses to test predictions), one by one."""
    train, test = problem.folds[fold]
    for name, mine in _models_used(fits, one.name, fold, targets):
        fitted = fits.by_model[name][fold]
        space = learn_space(problem.X.values, problem.X.columns, fits.model(name).bands, train, problem.reduce)
        before, after = (space.apply(np.asarray(problem.X.values[rows])) for rows in (train, test))
        operators, which = hat_operator(before, after, space.bands, fitted.points)
        for k in mine:
            weights = fitted.mixture[:, targets[k]]
            used = np.flatnonzero(weights)
            yield int(k), np.tensordot(weights[used], operators[which[used]], axes=1)


def _models_used(fits: Fits, name: str, fold: int, targets: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Which fitted model predicts which of the targets: itself, or what "full" chose for each in this fold."""
    names = [m.name for m in fits.models if m.alternative]
    if name != "full" or not names:
        return [(name, np.arange(len(targets)))]
    picked = fits.chosen()
    assert picked is not None  # there are alternatives
    choice = picked[fold, targets]
    return [(names[c], np.flatnonzero(choice == c)) for c in np.unique(choice)]


def _shifts(problem: Problem, chance: Chance) -> np.ndarray | None:
    """(m, n_samples) rows of the series shifted in a circle within each run; None where none are wanted."""
    if not chance.permutations:
        return None
    run = problem.Y.samples["run"].to_numpy()
    minimum = max(inference.block_length(problem.targets, run=run), 2)
    return inference.shifts(run, n=chance.permutations, minimum=minimum, seed=problem.seed)


def plain_r(held: HeldOut) -> np.ndarray:
    """(t,) Pearson's r, centred within each test fold."""
    return scores.pearson_within(held.y, held.predicted, held.fold)


def drawn_for(held: HeldOut, problem: Problem, chance: Chance) -> np.ndarray:
    """(n, n_test) how often each held-out sample is drawn; the same for every model of a problem."""
    block = inference.block_length(problem.targets[held.rows], run=held.fold)
    return inference.drawn_blocks(len(held.rows), block, chance.bootstrap, run=held.fold, seed=problem.seed)


def resampled(held: HeldOut, drawn: np.ndarray) -> np.ndarray:
    """(n, t) r in every bootstrap sample, as `drawn_for` drew them."""
    return inference.weighted_r(*held.centred(), drawn)


def _resampled(held: HeldOut, problem: Problem, chance: Chance) -> np.ndarray:
    return resampled(held, drawn_for(held, problem, chance))


def _say(problem: Problem, chance: Chance, shifts: np.ndarray | None) -> list[str]:
    notes = []
    if shifts is not None:
        notes.append(
            f"p: responses shifted in time within each run ({len(shifts)} distinct shifts, smallest possible p "
            f"{1 / (1 + len(shifts)):.4f}) and predicted anew at fixed penalties and choices; one-sided, conservative"
        )
    if chance.bootstrap:
        tested_once = len(problem.folds) == 1
        notes.append(
            "intervals of r: blocks of time resampled on the untouched test set"
            if tested_once
            else "intervals of r are conditional on the fitted models (blocks of time resampled): they do "
            "not contain the uncertainty of fitting, and cover less than 95 %"
        )
    return notes
