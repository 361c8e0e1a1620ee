"""What would be found if nothing were there? Responses rearranged in time, and predicted anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Lock

import numpy as np
from threadpoolctl import threadpool_limits

from brainalign.encoding.fit import FoldFit, Model, Problem, Source, fit_models, sources_of
from brainalign.encoding.score import Tested, plain_r, predicted_by
from brainalign.encoding.within import learn_space
from brainalign.maths.hat import hat_operator
from brainalign.maths.penalties import POINTS
from brainalign.maths.rearrange import Moved
from brainalign.maths.refit import Refit, beyond_sums, correlation_sums

TOGETHER = 60_000_000  # numbers of a null distribution that are held at once: 240 MB
FEW = 256  # targets a thread looks at before it adds up
AGAIN = 20_000_000  # numbers in rearranged responses that are fitted together

Batch = tuple[np.ndarray, np.ndarray]
"""Some targets, and the statistic of every rearrangement of each: (m, b)."""


def null_r(problem: Problem, sources: Sequence[Sequence[Source]], targets: np.ndarray, moved: Moved) -> Iterator[Batch]:
    """The null of r: every rearrangement predicted anew at each target's fixed penalties and choices.

    Training and test samples both come from the rearranged series. To rearrange finished predictions against responses
    would be invalid: every pair of folds shares training data (false positives 0.11–0.13 at 0.05).

    Parameters
    ----------
    sources
        For every fold, which fitted model predicts which targets.
    targets : array of int
        Among those of the problem.
    moved : Moved
        Rearrangements of the samples in use.
    """

    def sums(fold: int, source: Source, _: Source, mine: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        train, test = problem.folds[fold]
        operators, weights = _operators(problem, source[0], source[1], fold, mine)
        refit = Refit(operators, train, test, moved)
        return lambda few: correlation_sums(refit, _responses(problem, mine[few]), weights[:, few])

    for some, (covariance, predicted, seen) in _summed(problem, sources, sources, targets, 3, len(moved), sums):
        with np.errstate(invalid="ignore", divide="ignore"):
            yield some, np.nan_to_num(covariance / np.sqrt(predicted * seen)).T


def null_beyond(
    problem: Problem,
    whole: Sequence[Sequence[Source]],
    nested: Sequence[Sequence[Source]],
    targets: np.ndarray,
    moved: Moved,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """How much better than a model nested in it, in R² and in r, when what that one lacks tells nothing.

    Its residuals are rearranged (Freedman & Lane 1983). What it says of a sample is its held-out prediction (of a
    sample never tested, the mean): residuals within training would be too small, and p with them.

    Yields
    ------
    some targets, and (m, b) each: R² that the nested model loses, r that it loses
    """
    tested = np.concatenate([test for _, test in problem.folds])

    def known(at: np.ndarray) -> np.ndarray:
        kept = np.tile(problem.targets[:, at].mean(0), (len(problem.targets), 1))
        kept[tested] = predicted_by(nested, at)
        return kept

    def sums(fold: int, source: Source, less: Source, mine: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        train, test = problem.folds[fold]
        full, full_weights = _operators(problem, source[0], source[1], fold, mine)
        few_bands, less_weights = _operators(problem, less[0], less[1], fold, mine)
        mean = np.full((len(few_bands), 1, len(train)), 1 / len(train))
        first = Refit(full, train, test, moved)
        second = Refit(np.concatenate([few_bands, mean], axis=1), train, test, moved)

        def beyond(few: np.ndarray) -> np.ndarray:
            at = mine[few]
            fitted = known(at)
            start = fitted[test] - fitted[train].mean(0)
            weights = full_weights[:, few], less_weights[:, few]
            made = [
                np.einsum("kb,kib->ib", w, operators @ fitted[train])
                for operators, w in zip((full, few_bands), weights, strict=True)
            ]
            return beyond_sums(first, second, _responses(problem, at) - fitted, weights, (start, *made))

        return beyond

    for some, total in _summed(problem, whole, nested, targets, 7, len(moved), sums):
        lost, spread, covariance, predicted, less_covariance, less_predicted, seen = total
        with np.errstate(invalid="ignore", divide="ignore"):
            r = np.nan_to_num(covariance / np.sqrt(predicted * seen))
            r -= np.nan_to_num(less_covariance / np.sqrt(less_predicted * seen))
            yield some, np.nan_to_num(lost / spread).T, r.T


def null_chosen_again(
    problem: Problem, models: Sequence[Model], name: str, targets: np.ndarray, moved: Moved
) -> Iterator[Batch]:
    """The null of r, penalties (and the alternative) chosen anew: whole fits of rearranged responses."""
    step = max(1, AGAIN // moved.index.size)
    for start in range(0, len(targets), step):
        some = targets[start : start + step]
        again = problem.targets[:, some][moved.index]  # (m, n, b)
        series = np.ascontiguousarray(again.transpose(1, 2, 0)).reshape(len(problem.targets), -1)
        copies = replace(problem, targets=series, hashes={})
        fits = fit_models(copies, [(model,) for model in models], None)
        r = plain_r(Tested(copies, sources_of(fits, name)).of(np.arange(series.shape[1])))
        yield some, np.nan_to_num(r).reshape(len(some), -1).T


def _summed(
    problem: Problem,
    sources: Sequence[Sequence[Source]],
    others: Sequence[Sequence[Source]],
    targets: np.ndarray,
    kinds: int,
    m: int,
    sums: Callable[[int, Source, Source, np.ndarray], Callable[[np.ndarray], np.ndarray]],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Sums over folds, (kinds, b, m), for some targets at a time; folds, and models within them, side by side."""
    step = max(1, min(TOGETHER, problem.memory // 48) // (kinds * m))  # 4 bytes, and as much for what becomes of it
    workers = _workers(problem)
    for start in range(0, len(targets), step):
        some = targets[start : start + step]
        total, lock = np.zeros((kinds, len(some), m), np.float32), Lock()
        place = np.full(problem.targets.shape[1], -1)
        place[some] = np.arange(len(some))

        def one(
            job: tuple[int, Source, Source, np.ndarray],
            total: np.ndarray = total,
            lock: Lock = lock,
            place: np.ndarray = place,
        ) -> None:
            mine = job[-1]
            adding = sums(*job)
            for few in np.array_split(np.arange(len(mine)), -(-len(mine) // FEW)):
                part = adding(few)
                with lock:
                    total[:, place[mine[few]]] += part

        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(max_workers=workers) as pool:
            list(pool.map(one, _jobs(sources, others, some)))
        yield some, total


def _workers(problem: Problem) -> int:
    """How many folds are predicted anew side by side: no more than a quarter of the memory has room for."""
    fold = max(len(train) * len(test) for train, test in problem.folds)
    return max(1, min(os.cpu_count() or 1, problem.memory // 4 // (16 * (POINTS + 1) * fold)))


def _jobs(
    sources: Sequence[Sequence[Source]], others: Sequence[Sequence[Source]], some: np.ndarray
) -> Iterator[tuple[int, Source, Source, np.ndarray]]:
    for fold, (firsts, seconds) in enumerate(zip(sources, others, strict=True)):
        for first in firsts:
            for second in seconds if others is not sources else (first,):
                mine = np.intersect1d(np.intersect1d(first[2], second[2]), some)
                if len(mine):
                    yield fold, first, second, mine


def _operators(
    problem: Problem, model: Model, fit: FoldFit, fold: int, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(k, n_test, n_train) from training responses to test predictions at the points in use, and their weights."""
    train, test = problem.folds[fold]
    mixture = fit.mixture[:, targets]
    used = np.flatnonzero(mixture.any(1))
    space = learn_space(problem.X.values, problem.X.columns, model.bands, train, problem.reduce)
    before, after = (space.apply(np.asarray(problem.X.values[rows])) for rows in (train, test))
    operators, which = hat_operator(before, after, space.bands, fit.points[:, used])
    return operators.astype(np.float32)[which], mixture[used].astype(np.float32)


def _responses(problem: Problem, targets: np.ndarray) -> np.ndarray:
    """(n, b) less their mean: float32 then keeps the digits."""
    values = problem.targets[:, targets].astype(np.float64)
    return (values - values.mean(0)).astype(np.float32)
