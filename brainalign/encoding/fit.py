"""How well do these features predict this brain on samples never seen?"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from brainalign import scratch
from brainalign.encoding.folds import FoldRule, Folds, as_rule, by_run, folds_in_use
from brainalign.encoding.within import PCA, Space, learn_space
from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.maths.banded import BandedRidge
from brainalign.maths.cost import parse_bytes
from brainalign.maths.held_out import chunks
from brainalign.progress import Progress
from brainalign.provenance import hash_array, versions
from brainalign.scratch import columns_of_rows, filled, room, rows_of
from brainalign.signals import Signal, same_samples
from brainalign.store import Store, key_of

AVERAGED = partial(BandedRidge, average=True)  # better than the best point where responses are weak
HOW = ("memory", "device", "n_jobs")  # settings of a solver that do not change its results
SMALL = 2_000_000  # numbers in the responses up to which several fits are done at once
AT_ONCE = 4_000_000  # numbers of many targets that are held together: 32 MB, and several such arrays
EACH = 500  # bytes of the memory for each of them, where that allows fewer
SHARE, BESIDE = 0.75, 500_000_000  # of the memory, for the ridge of a large recording; bytes for all that is beside it
MAPPED = 1_000_000  # bytes of an array from which that of a large recording stays in its file


@dataclass(frozen=True)
class Model:
    """A named choice of bands; `alternative` is the one band in which it differs from its siblings.

    `dropped` are those of its bands that it is fitted without: a model nested in the one that has them all, and fitted
    beside it.
    """

    name: str
    bands: tuple[str, ...]
    alternative: str | None = None
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problem:
    """Everything that is held fixed while models and folds vary: samples in use, targets, splits."""

    X: Signal  # the design, samples in use only
    Y: Signal  # the recording, the same samples
    targets: np.ndarray  # (n, t) float32: the recording's own columns, then those of its people
    folds: Folds
    rule: FoldRule
    inner: int
    reduce: Mapping[str, PCA]
    solver: Callable[..., Any]
    seed: int
    hashes: dict[str, str] = field(default_factory=dict)

    @property
    def n_own(self) -> int:
        """How many targets are the recording's own (the rest are people's)."""
        return self.Y.shape[1]

    @property
    def own(self) -> np.ndarray:
        """(n_own,) their numbers."""
        return np.arange(self.n_own)

    @property
    def theirs(self) -> np.ndarray:
        """The numbers of people's targets."""
        return np.arange(self.n_own, self.targets.shape[1])

    @property
    def whole(self) -> int:
        """Bytes of the responses; where that is large, what is as long goes into files."""
        return int(self.targets.nbytes)

    @cached_property
    def memory(self) -> int:
        """Bytes that the fit may take."""
        unfitted = self.solver(bands=None, folds=2, seed=self.seed, n_jobs=None)
        return parse_bytes(getattr(unfitted, "memory", "4GB"))

    def batches(self, n: int, size: int) -> list[slice]:
        """Slices of so many targets that what is held of each, `size` numbers, is little beside the memory."""
        return chunks(n, max(1, min(AT_ONCE, self.memory // EACH) // max(size, 1)))

    def mean(self, rows: np.ndarray) -> np.ndarray:
        """(t,) float64, over some samples."""
        some = self.batches(self.targets.shape[1], len(rows))
        return np.concatenate([columns_of_rows(self.targets, rows, at).mean(0, dtype=np.float64) for at in some])

    def inner_folds(self, train: np.ndarray) -> Folds:
        """The inner loop over one fold's training samples, by the rule of the outer one."""
        return self.rule.inner(self.inner)(self.Y.samples.iloc[train])

    def hash_of(self, name: str) -> str:
        """The content of a band, or of all targets; each is read once."""
        if name not in self.hashes:
            if name == "targets":
                self.hashes[name] = hash_array(self.targets)
            else:
                mine = np.flatnonzero((self.X.columns["band"] == name).to_numpy())
                self.hashes[name] = hash_array(np.asarray(self.X.values[:, mine]))
        return self.hashes[name]


def pose(
    X: Signal,
    Y: Signal,
    *,
    folds: FoldRule = by_run,
    inner: int = 5,
    within_fold: Mapping[str, PCA] | None = None,
    solver: Callable[..., Any] = AVERAGED,
    seed: int = 0,
) -> Problem:
    """Check that design and recording fit together, and fix samples, targets and folds.

    Raises
    ------
    InputError
        Different samples, no bands, a band or a target that never changes.
    SettingsError
        A band named in `within_fold` that the design does not have.
    """
    if not same_samples(X.samples, Y.samples):
        raise InputError(
            f"design and recording are not on the same samples: {X!r} and {Y!r}; resample(X, onto=Y) first"
        )
    if not X.bands:
        raise InputError("the design's columns have no `band`: banded ridge needs to know which belong together")
    bands = X.bands
    for band in within_fold or {}:
        if band not in bands:
            raise SettingsError(f"within_fold names band {band!r}; " + did_you_mean(band, bands))
    keep = np.flatnonzero(X.use & Y.use)
    rule = as_rule(folds)
    splits = folds_in_use(rule, Y, keep)
    if len(keep) < len(Y.samples):
        X, Y = X.select(rows=keep), Y.select(rows=keep)
    people = Y.related.get("people")
    targets = Y.array()
    if people is not None:
        shape = (len(targets), targets.shape[1] + people.shape[1])
        targets = filled(shape, lambda rows: np.concatenate([Y.values[rows], people.values[rows]], axis=1))
    still = np.flatnonzero(np.ptp(targets, axis=0) == 0)
    if len(still):
        tables = [Y.columns] if people is None else [Y.columns, people.columns]
        where = pd.concat(tables, ignore_index=True).iloc[still[0]].to_dict()
        raise InputError(f"{len(still)} targets never change, the first {where}: leave them out")
    places = X.columns.groupby("band", sort=False).indices
    dead = [band for band, at in places.items() if not np.ptp(np.asarray(X.values[:, at]), axis=0).any()]
    if dead:
        raise InputError(f"band {dead[0]!r} never changes over the samples: leave it out, or look at how it was made")
    return Problem(X, Y, targets, splits, rule, inner, dict(within_fold or {}), solver, seed)


def models_of(bands: Sequence[str], baseline: Sequence[str], alternatives: Mapping[str, Sequence[str]]) -> list[Model]:
    """Which models are fitted: the baseline, then each alternative beside all other bands, or everything at once.

    Examples
    --------
    >>> [m.name for m in models_of(["rate", "lm.0", "lm.1"], ["rate"], {"lm": ["lm.0", "lm.1"]})]
    ['baseline', 'lm.0', 'lm.1']
    >>> [m.name for m in models_of(["rate", "lm.0"], [], {})]
    ['full']
    """
    if len(alternatives) > 1:
        raise SettingsError(f"one feature at a time can have alternatives; found {', '.join(alternatives)}")
    options = [band for group in alternatives.values() for band in group]
    for band in [*baseline, *options]:
        if band not in bands:
            raise SettingsError(f"there is no band {band!r}; " + did_you_mean(band, bands))
    both = set(baseline) & set(options)
    if both:
        raise SettingsError(f"band {sorted(both)[0]!r} is named as baseline and as an alternative: it can be one")
    rest = [band for band in bands if band not in options]
    models = [Model("baseline", tuple(baseline))] if baseline else []
    if options:
        return models + [Model(band, (*rest, band), band) for band in options]
    if list(baseline) == list(bands):
        raise SettingsError("every band is in the baseline: there is nothing to compare it with")
    return [*models, Model("full", tuple(bands))]


@dataclass(frozen=True)
class FoldFit:
    """One model on one fold: (n_test, t) predictions, and per target what the inner loop found."""

    predicted: np.ndarray  # (n_test, t) float32
    cv_r2: np.ndarray  # (t,)
    points: np.ndarray  # (b, k) log10 λ on the columns the ridge saw, of the k points its solutions are made of
    mixture: np.ndarray  # (k, t) the weight of each point in each target's solution
    explained: np.ndarray  # (b, t) Σ over test samples of f_b (2y − ŷ), y and ŷ less the training mean
    train_mean: np.ndarray  # (t,)


def fit_fold(problem: Problem, family: Sequence[Model], fold: int, **how: Any) -> list[dict[str, np.ndarray]]:
    """Fit models on the training samples of one fold and predict its test samples.

    A family has the same bands; its members differ in those that are dropped.
    """
    train, test = problem.folds[fold]
    space, ridge = _learn(problem, family[0], train, **how)
    Z = space.apply(np.asarray(problem.X.values[test]))
    found = {model: _predicted(problem, model, ridge, Z, train, test) for model in family if not model.dropped}
    nested = [model for model in family if model.dropped]
    if nested:
        for model, less in zip(nested, ridge.without_each([model.dropped for model in nested]), strict=True):
            found[model] = _predicted(problem, model, less, Z, train, test)
    return [found[model] for model in family]


def _predicted(
    problem: Problem, model: Model, ridge: Any, Z: np.ndarray, train: np.ndarray, test: np.ndarray
) -> dict[str, np.ndarray]:
    mean = problem.mean(train)
    shift = ridge.intercept_ - mean
    predicted = room((len(test), len(mean)), whole=problem.whole)
    explained = np.empty((len(model.bands), len(mean)))
    for batch, parts in ridge.predict_batches(Z, split=True):  # the parts of all targets are never held at once
        centred = parts.sum(0, dtype=np.float64) + shift[batch]
        y = columns_of_rows(problem.targets, test, batch) - mean[batch]
        predicted[:, batch] = centred + mean[batch]
        explained[:, batch] = np.einsum("bnt,nt->bt", parts, 2 * y - centred, dtype=np.float64)
    mixture = ridge.mixture_
    return {
        "predicted": predicted,
        "cv_r2": np.asarray(ridge.cv_r2_, np.float64),
        "points": ridge.points_,
        "mixture": filled(mixture.shape, mixture.__getitem__, mixture.dtype, problem.whole),
        "explained": explained,
        "train_mean": mean,
    }


Job = tuple[tuple[Model, ...], int]
"""A family of models, and the fold they are fitted on."""


def fit_models(
    problem: Problem, families: Sequence[tuple[Model, ...]], store: Store | None, progress: Progress | None = None
) -> Fits:
    """Fit every model on every fold; those of a family, which have the same bands, beside each other."""
    folds = range(len(problem.folds))
    done = fit_jobs(problem, [(family, fold) for family in families for fold in folds], store, progress)
    models = [model for family in families for model in family]
    return Fits(tuple(models), {model.name: [done[model.name, fold] for fold in folds] for model in models})


def fit_jobs(
    problem: Problem, jobs: Sequence[Job], store: Store | None, progress: Progress | None = None
) -> dict[tuple[str, int], FoldFit]:
    """Fits by (name of the model, fold).

    With a store every (model, fold) is kept, so that a second run takes up where one stopped. Small fits are done as
    many at once as there are cores; a large one takes all cores, and memory, itself.
    """
    cores = (os.cpu_count() or 1) if problem.targets.size <= SMALL else 1
    for name in {"targets", *(band for family, _ in jobs for band in family[0].bands)} if store else ():
        problem.hash_of(name)  # once, before several threads ask for it
    done: dict[tuple[str, int], FoldFit] = {}
    count = 0
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(max_workers=cores) as pool:
        try:
            how = {"n_jobs": 1} if cores > 1 else {"tell": _within(progress, lambda: count, len(jobs))}
            pieces = pool.map(lambda job: _kept_fits(problem, job[0], job[1], store, **how), jobs)
            for (family, fold), fits in zip(jobs, pieces, strict=True):
                done |= {(model.name, fold): fit for model, fit in zip(family, fits, strict=True)}
                count += 1
                if progress:
                    progress(count, len(jobs), f"fitting {family[0].name}")
        finally:
            pool.shutdown(cancel_futures=True)
    return done


def _within(progress: Progress | None, done: Callable[[], int], jobs: int) -> Progress | None:
    """How far the one fit is that is being done."""
    if progress is None:
        return None
    return lambda part, whole, what: progress(done(), jobs, f"fitting, {100 * part // whole} % of the next")


def _kept_fits(
    problem: Problem, family: tuple[Model, ...], fold: int, store: Store | None, **how: Any
) -> list[FoldFit]:
    if store is None:
        return [FoldFit(**one) for one in fit_fold(problem, family, fold, **how)]
    keys = [key_of_fit(problem, model, fold) for model in family]
    missing = tuple(model for model, key in zip(family, keys, strict=True) if store.get(key) is None)
    together = cache(lambda: dict(zip(missing, fit_fold(problem, missing, fold, **how), strict=True)))

    def fitted(model: Model) -> dict[str, np.ndarray]:
        return together()[model] if model in missing else fit_fold(problem, (model,), fold, **how)[0]

    pieces = [
        store.compute(key, partial(fitted, model), meta={"what": "fold fit"})
        for model, key in zip(family, keys, strict=True)
    ]
    return [
        FoldFit(**{name: _opened(problem, piece.arrays[name]) for name in FoldFit.__dataclass_fields__})
        for piece in pieces
    ]


def _opened(problem: Problem, array: np.ndarray) -> np.ndarray:
    """In memory, so that no file stays open for it; of a large recording what is long stays where it is kept."""
    return array if problem.whole > scratch.LARGE and array.nbytes >= MAPPED else np.array(array)


@dataclass(frozen=True)
class Fits:
    """All models on all folds."""

    models: tuple[Model, ...]
    by_model: Mapping[str, Sequence[FoldFit]]

    def model(self, name: str) -> Model:
        """The model of that name."""
        return next(m for m in self.models if m.name == name)

    def chosen(self) -> np.ndarray | None:
        """(n_folds, t) the alternative with the best inner cross-validated R², by number; None without alternatives."""
        names = [m.name for m in self.models if m.alternative]
        if not names:
            return None
        each = zip(*([f.cv_r2 for f in self.by_model[name]] for name in names), strict=True)
        inner = [np.stack(fold) for fold in each]  # for every fold (models, t)
        return np.stack([np.argmax(np.where(np.isnan(one), -np.inf, one), axis=0) for one in inner])


Source = tuple[Model, FoldFit, np.ndarray]
"""A fitted model, and the targets it predicts."""


def sources_of(fits: Fits, name: str) -> list[list[Source]]:
    """What the model of a name is made of, fold by fold: itself, or "full" of what was chosen for each target."""
    if name in fits.by_model:
        model = fits.model(name)
        return [[(model, fit, np.arange(fit.predicted.shape[1]))] for fit in fits.by_model[name]]
    picked = fits.chosen()
    if picked is None:
        raise SettingsError("there are no alternatives to choose from")
    options = [model for model in fits.models if model.alternative]
    return [
        [(options[c], fits.by_model[options[c].name][fold], np.flatnonzero(choice == c)) for c in np.unique(choice)]
        for fold, choice in enumerate(picked)
    ]


def put_together(sources: Sequence[Source], name: str) -> np.ndarray:
    """(.., t) an array of one fold's fits, `cv_r2` or `explained`: of each target from its own source."""
    first = getattr(sources[0][1], name)
    if len(sources) == 1:
        return first
    out = np.empty_like(first)
    for _, fit, mine in sources:
        out[..., mine] = getattr(fit, name)[..., mine]
    return out


def refit(problem: Problem, models: Sequence[Model]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Fit once more on every sample: weights (p, n_own) on the design's columns as given, intercept (n_own,), and the
    alternative used for each target (empty without alternatives).
    """
    candidates = [m for m in models if m.alternative] or [m for m in models if m.name == "full"] or list(models)
    rows = np.arange(len(problem.Y.samples))
    own = slice(0, problem.n_own)
    weights = room((problem.X.shape[1], problem.n_own), whole=problem.whole)
    intercept = np.zeros(problem.n_own)
    best = np.full(problem.n_own, -np.inf)
    used = [""] * problem.n_own
    for model in candidates:
        space, ridge = _learn(problem, model, rows, own)
        found = np.nan_to_num(ridge.cv_r2_, nan=-1e30)
        better = found > best
        for batch, coef in ridge.coef_batches():  # the weights of all targets are never in memory
            for few in problem.batches(coef.shape[1], len(weights)):
                some = slice(batch.start + few.start, batch.start + few.stop)
                hit = np.flatnonzero(better[some])
                back, shift = space.back(np.asarray(coef[:, few][:, hit], np.float64))
                weights[:, some.start + hit] = 0
                weights[np.ix_(space.columns, some.start + hit)] = back
                intercept[some.start + hit] = ridge.intercept_[some][hit] + shift
        best[better] = found[better]
        for t in np.flatnonzero(better):
            used[t] = model.alternative or ""
    return weights, intercept, used


def _learn(
    problem: Problem,
    model: Model,
    train: np.ndarray,
    targets: slice = slice(None),
    n_jobs: int | None = None,
    tell: Progress | None = None,
) -> tuple[Space, Any]:
    values = problem.X.values
    space = learn_space(values, problem.X.columns, model.bands, train, problem.reduce)
    ridge = problem.solver(
        bands=np.array(space.bands), folds=problem.inner_folds(train), seed=problem.seed, n_jobs=n_jobs
    )
    if problem.whole > scratch.LARGE and hasattr(ridge, "memory"):
        memory = parse_bytes(ridge.memory)
        ridge.memory = int(max(memory // 4, min(SHARE * memory, memory - BESIDE)))
    Z = space.apply(np.asarray(values[train]))
    return space, ridge.fit(Z, rows_of(problem.targets[:, targets], train), progress=tell)


def _said(solver: Callable[..., Any]) -> str:
    """A solver and its settings, less those that change how it is computed and not what comes out."""
    if not isinstance(solver, partial):
        return repr(solver)
    settings = {name: value for name, value in solver.keywords.items() if name not in HOW}
    return repr(partial(solver.func, *solver.args, **settings))


@cache
def _versions() -> dict[str, str]:
    return versions("brainalign", "numpy", "scikit-learn", "himalaya")


def key_of_fit(problem: Problem, model: Model, fold: int) -> str:
    """What a fit depends on; the same key is the same numbers."""
    train, test = problem.folds[fold]
    inner = np.concatenate([np.r_[-1, a, -2, b] for a, b in problem.inner_folds(train)])
    nested = {"dropped": list(model.dropped)} if model.dropped else {}
    return key_of(
        what="fold fit 4",
        **nested,
        bands=[[band, problem.hash_of(band), str(problem.reduce.get(band))] for band in model.bands],
        delays=hash_array(problem.X.columns["delay"].to_numpy()) if "delay" in problem.X.columns else "",
        targets=problem.hash_of("targets"),
        rows=hash_array(np.r_[train, -1, test]),
        inner=hash_array(inner),
        solver=_said(problem.solver),
        seed=problem.seed,
        versions=_versions(),
    )
