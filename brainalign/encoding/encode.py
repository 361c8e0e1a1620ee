"""From a design and a recording to scores one may quote: the main verb."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from brainalign.encoding.ceilings import CeilingRule, auto
from brainalign.encoding.chance import Chance, gain_table, judge, mean_interval
from brainalign.encoding.choices import choice_table, places_of
from brainalign.encoding.fit import (
    AVERAGED,
    Fits,
    Model,
    Problem,
    Source,
    fit_models,
    models_of,
    pose,
    put_together,
    refit,
    sources_of,
)
from brainalign.encoding.folds import FoldRule, by_run, drawn, warnings_of
from brainalign.encoding.parts import Partition, Parts
from brainalign.encoding.result import Encoding, Weights
from brainalign.encoding.score import Tested, predicted_by, profile, score_table
from brainalign.encoding.within import PCA
from brainalign.maths.ceiling import Ceiling
from brainalign.progress import Progress
from brainalign.provenance import versions
from brainalign.scratch import room
from brainalign.signals import Signal
from brainalign.store import Store

CHANCE = Chance()  # as much as is usual


def encode(
    X: Signal,
    Y: Signal,
    *,
    folds: FoldRule = by_run,
    inner: int = 5,
    baseline: Sequence[str] = (),
    alternatives: Mapping[str, Sequence[str]] | None = None,
    choose_one: bool = True,
    within_fold: Mapping[str, PCA] | None = None,
    ceiling: CeilingRule = auto,
    chance: Chance = CHANCE,
    partition: Partition | None = None,
    solver: Callable[..., Any] = AVERAGED,
    seed: int = 0,
    weights: bool = True,
    store: Store | None = None,
    progress: Progress | None = None,
) -> Encoding:
    """Fit banded ridge from features to responses, and score it on samples never seen.

    Parameters
    ----------
    X : Signal (n_samples, n_features)
        The design, columns with `band` (and `delay`). Every column is z-scored on the training samples of each fold.
    Y : Signal (n_samples, n_targets)
        Responses on the same samples. With `related["people"]` every person is scored too.
    folds : fold rule
        `by_run`, `by_stimulus`, `contiguous(6, gap_s=16)`, `hold_out(run=["10"])`, or any callable of that kind.
    inner : int
        Folds of the inner loop, which chooses penalties (and the alternative) by the same rule.
    baseline : sequence of str
        Bands of the model called "baseline".
    alternatives : mapping name → bands
        Bands of which a model takes one, beside all others: the layers of a network.
    choose_one : bool
        Whether the model "full" takes, per fold and target, the alternative the inner folds like best.
    within_fold : mapping band → `pca(n)`
        Fitted on the outer training samples.
    ceiling : ceiling rule
        `between_subjects`, `auto` (what the data allow), `none`.
    chance : Chance
        How many permutations and bootstrap samples, and of which kind.
    partition : Partition, optional
        What each feature explains alone, and what features share, by nested models; the product measure is always
        there.
    solver : callable
        With the parameters and attributes of `BandedRidge`; by default that with ``average=True``.
    seed : int
    weights : bool
        Fit once more on every sample, so that `Encoding.predict` works.
    store : Store, optional
        Keeps every (model, fold); a second run takes up where the first one stopped.
    progress : function (done, total, what), optional

    Returns
    -------
    Encoding

    Raises
    ------
    InputError, SettingsError
        Design and recording do not fit together, or a band is not there.

    Notes
    -----
    `r` is Pearson's, observed and predicted centred within each test fold, then pooled. `r2` is against the training
    mean; `r2_<band>` is the product measure, which sums to it (Pratt 1987). `p` shifts the responses in time and
    predicts them anew at fixed penalties.

    Of a recording above 256 MB (`brainalign.scratch.LARGE`) nothing that is as long is held in memory: a memory-mapped
    one is read a batch of targets at a time, what is predicted lies in files (the store's, or some without a name in
    TMPDIR or /var/tmp) and the result is memory-mapped too. The solver's `memory` is then the budget of the whole fit,
    of which the ridge is given three quarters, or all but 500 MB where that is less.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> samples = pd.DataFrame({"run": np.repeat(["1", "2", "3"], 60), "time": np.tile(np.arange(60.0), 3)})
    >>> x = Signal(rng.standard_normal((180, 3)), samples, pd.DataFrame({"band": ["a", "a", "b"]}))
    >>> y = Signal(x.values[:, :1] + rng.standard_normal((180, 1)), samples, pd.DataFrame({"roi": ["LIFG"]}))
    >>> fit = encode(x, y, chance=Chance(permutations=99, bootstrap=100))
    >>> bool(fit.scores["r"][0] > 0.5)
    True
    """
    problem = pose(X, Y, folds=folds, inner=inner, within_fold=within_fold, solver=solver, seed=seed)
    alternatives = dict(alternatives or {})
    models = models_of(X.bands, baseline, alternatives)
    split = Parts(problem, models, alternatives, partition)
    fits = fit_models(problem, split.families(), store, progress)
    scored = gather(problem, fits, alternatives, choose_one)
    ceilings = ceiling(problem.Y.select(rows=np.unique(np.concatenate([test for _, test in problem.folds]))))
    tables = {name: one.table(problem.Y.columns, problem.own, ceilings.own) for name, one in scored.items()}
    people = _people_tables(problem, scored, ceilings.people)
    notes = [
        *warnings_of(problem.folds, problem.Y.samples),
        f"ceiling: {ceilings.why}",
        *(_not_told(ceilings.own) if ceilings.own is not None else []),
        *_silent(tables),
        *judge(problem, fits, scored, tables, people, chance, store, progress),
    ]
    parts = split.table(fits, scored, tables, people, chance, store, progress)
    gain = pd.DataFrame()
    if {"baseline", "full"} <= set(scored):
        for both in filter(None, (tables, people)):
            _add_unique(both["full"], both["baseline"], scored)
        gain = gain_table(scored, problem, people, chance, store)
    main = [name for name in ("baseline", "full") if name in scored] if "full" in scored else list(scored)
    predictions, observed = _signals(problem, {name: scored[name] for name in main})
    return Encoding(
        scores=pd.concat([tables[name] for name in [*main, *(n for n in tables if n not in main)]], ignore_index=True),
        people=pd.concat(people.values(), ignore_index=True) if people else pd.DataFrame(),
        layers=layer_profile(problem, fits, scored, tables, chance) if alternatives else pd.DataFrame(),
        choices=choice_table(problem, fits, scored, chance) if alternatives else pd.DataFrame(),
        partition=parts,
        gain=gain,
        predictions=predictions,
        observed=observed,
        folds=drawn(problem.folds, problem.Y.samples),
        settings=_settings(folds, inner, baseline, alternatives, within_fold, seed),
        provenance=_provenance(X, Y, seed),
        notes=tuple(notes),
        weights=_weights(problem, models) if weights else None,
    )


@dataclass(frozen=True)
class Scored:
    """One model's held-out samples, and the names of the parts its R² is split into."""

    name: str
    held: Tested
    bands: tuple[str, ...]

    @property
    def sources(self) -> Sequence[Sequence[Source]]:
        """For every fold, the fits it comes from."""
        return self.held.sources

    def table(self, columns: pd.DataFrame, targets: np.ndarray, ceiling: Ceiling | None) -> pd.DataFrame:
        """Its score table, for some of the targets."""
        return score_table(self.held, targets, columns, self.name, self.bands, ceiling)


def gather(
    problem: Problem, fits: Fits, alternatives: Mapping[str, Sequence[str]], choose_one: bool
) -> dict[str, Scored]:
    """The held-out samples of every model, and of "full" where it is chosen among alternatives."""
    group = {band: name for name, bands in alternatives.items() for band in bands}
    names = [model.name for model in fits.models if not model.dropped]
    bands = {model.name: tuple(group.get(band, band) for band in model.bands) for model in fits.models}
    if alternatives and choose_one:
        names.append("full")
        bands["full"] = next(bands[model.name] for model in fits.models if model.alternative)
    return {name: Scored(name, Tested(problem, sources_of(fits, name)), bands[name]) for name in names}


def _not_told(ceiling: Ceiling) -> list[str]:
    """How many targets are not normalised."""
    dropped = int((~ceiling.told_from_zero()).sum())
    why = "p > .05, against rearranged repeats or people"
    if ceiling.kind == "ncsnr_map":  # nothing of it can be rearranged
        untested = bool(np.isnan(ceiling.p).all())
        why = "the map is 0 or missing there" if untested else "p > .05 in an F test of the map, or nothing in it"
    return [
        f"the ceiling of {dropped:,} of {ceiling.value.size:,} targets cannot be told from zero ({why}): their "
        "normalised scores are NaN"
    ] * (dropped > 0)


def _silent(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """In how many targets r is not defined."""
    silent = {name: int(table["r"].isna().sum()) for name, table in tables.items()}
    return [
        f"{name}: r is NaN in {count:,} targets, where the prediction never changes within a test fold"
        for name, count in silent.items()
        if count
    ]


def layer_profile(
    problem: Problem, fits: Fits, scored: Mapping[str, Scored], tables: Mapping[str, pd.DataFrame], chance: Chance
) -> pd.DataFrame:
    """One row per alternative: mean score over the recording's own targets, its interval, how often it was chosen."""
    names = [m.name for m in fits.models if m.alternative]
    axis, places = places_of(problem.X.columns, names)
    table = profile({name: tables[name] for name in names}, axis, places)
    own = problem.own
    spans = [mean_interval(scored[name].held, problem, chance) for name in names]
    table["r_low"], table["r_high"] = [s[0] for s in spans], [s[1] for s in spans]
    if "full" in scored:
        picked = fits.chosen()
        assert picked is not None  # there are alternatives
        table["chosen"] = np.bincount(picked[:, own].ravel(), minlength=len(names)) / picked[:, own].size
    return table


def _people_tables(problem: Problem, scored: Mapping[str, Scored], ceiling: Any) -> dict[str, pd.DataFrame]:
    people = problem.Y.related.get("people")
    if people is None:
        return {}
    return {
        name: scored[name].table(people.columns, problem.theirs, ceiling)
        for name in ("baseline", "full")
        if name in scored
    }


def _add_unique(full: pd.DataFrame, baseline: pd.DataFrame, scored: Mapping[str, Scored]) -> None:
    """What the bands beside the baseline explain that it cannot: the difference of nested models' held-out R²."""
    added = [b for b in scored["full"].bands if b not in scored["baseline"].bands]
    name = "unique_" + "+".join(added)
    if name not in full:  # a partition may have said it already
        full[name] = full["r2"].to_numpy() - baseline["r2"].to_numpy()


def _signals(problem: Problem, scored: Mapping[str, Scored]) -> tuple[Signal, Signal]:
    """Held-out predictions and observations of the recording's own targets, in order of time."""
    first = next(iter(scored.values())).held
    order = np.argsort(first.rows, kind="stable")
    observed = replace(problem.Y, related={}).select(rows=first.rows[order])
    samples = observed.samples.assign(fold=first.fold[order] + 1)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    predicted = room((len(order), len(scored) * problem.n_own), whole=problem.whole)
    named = []
    for k, (name, one) in enumerate(scored.items()):
        inner = [put_together(fold, "cv_r2")[problem.own] for fold in one.sources]
        named.append(problem.Y.columns.assign(model=name, **{f"inner_r2_{i}": r2 for i, r2 in enumerate(inner, 1)}))
        for at in problem.batches(problem.n_own, len(order)):
            columns = slice(k * problem.n_own + at.start, k * problem.n_own + at.stop)
            predicted[place, columns] = predicted_by(one.sources, problem.own[at])
    return (
        Signal(predicted, samples, pd.concat(named, ignore_index=True)),
        Signal(observed.values, samples, problem.Y.columns),
    )


def _weights(problem: Problem, models: Sequence[Model]) -> Weights:
    values, intercept, used = refit(problem, models)
    targets = problem.Y.columns.assign(chosen=used) if any(used) else problem.Y.columns
    return Weights(values, intercept, problem.X.columns, targets)


def _settings(
    folds: FoldRule,
    inner: int,
    baseline: Sequence[str],
    alternatives: Mapping[str, Sequence[str]],
    within_fold: Mapping[str, PCA] | None,
    seed: int,
) -> dict[str, Any]:
    return {
        "folds": str(folds),
        "inner": inner,
        "baseline": list(baseline),
        "alternatives": {name: list(bands) for name, bands in alternatives.items()},
        "within_fold": {band: str(step) for band, step in (within_fold or {}).items()},
        "seed": seed,
    }


def _provenance(X: Signal, Y: Signal, seed: int) -> dict[str, Any]:
    inputs = {**X.attrs.get("inputs", {}), **Y.attrs.get("inputs", {})}
    names = ("brainalign", "numpy", "scipy", "pandas", "scikit-learn")
    return {"inputs": inputs, "features": dict(X.attrs.get("features", {})), "versions": versions(*names), "seed": seed}
