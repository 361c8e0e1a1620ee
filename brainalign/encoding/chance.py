"""Could it be chance, and how sure is it? Nulls and intervals that cross-validated predictions allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from brainalign.encoding import nulls
from brainalign.encoding.courses import told_together
from brainalign.encoding.fit import Fits, Problem, Source, key_of_fit
from brainalign.encoding.group import over_people
from brainalign.encoding.neighbours import neighbours
from brainalign.encoding.score import HeldOut, Tested, plain_r, predicted_by
from brainalign.errors import SettingsError
from brainalign.maths import inference
from brainalign.maths.clusters import THRESHOLD, Clusters, check_neighbours
from brainalign.maths.rearrange import LOOKED_AT, Moved, block_length, rearranged
from brainalign.progress import Progress
from brainalign.provenance import hash_array
from brainalign.store import Store, key_of

if TYPE_CHECKING:
    from brainalign.encoding.encode import Scored

KIND = {True: "conditional on the fitted models", False: "blocks of the test set"}  # whether there are several folds
NAMED = 1_000  # targets up to which the gain of each is listed


@dataclass(frozen=True)
class Chance:
    """How much is spent on chance, and on which kind.

    Parameters
    ----------
    permutations, bootstrap : int
        Numbers of each; 0: none.
    fdr : float
        The level of the false discovery rate the report uses.
    how : "shift" or "blocks"
        Responses are shifted in a circle within each run, or permuted in blocks of neighbours within it.
    clusters : float, optional
        Also join neighbouring targets whose r is above so many standard deviations of their own null, and judge each
        cluster's mass by the largest of every rearrangement; 2.33 is one-sided .01.
    beside : sparse array (n_targets, n_targets), optional
        Which targets are neighbours; by default what their columns say (`neighbours`).
    choose_again : bool
        Of every rearrangement, choose penalties (and the alternative) anew, instead of keeping what was found: whole
        fits, hundreds of times as long. Not for an untouched test set, whose predictions are finished.
    """

    permutations: int = 1000
    bootstrap: int = 1000
    fdr: float = 0.05
    how: Literal["shift", "blocks"] = "shift"
    choose_again: bool = False
    clusters: float | None = None
    beside: Any = None


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
    """Fill `p`, `p_floor`, `q`, `p_fwe`, `r_low`, `r_high` of every table; say what kind of p and interval they are.

    People's tables get p for the models they hold (baseline, full); intervals for people come from `gain_table`.
    """
    own = problem.own
    moved = rearrangements(problem, chance)
    beside, said = _beside(problem, chance)
    for k, (name, one) in enumerate(scored.items()):
        if progress and moved is not None:
            progress(k, len(scored), f"how likely by chance: {name}")
        for table, targets in ((tables[name], own), (people.get(name), problem.theirs)):
            if table is None:
                continue
            if moved is not None:
                graph = beside if targets is own else None
                found = _kept_p(problem, fits, one, targets, table["r"].to_numpy(float), moved, chance, graph, store)
                for column, values in found.items():
                    table[column] = values
                table["p_floor"] = floor_of(moved)
                table["q"] = inference.fdr(found["p"])
            if chance.bootstrap:
                table["r_low"], table["r_high"] = _spans([one.held], targets, problem, chance)
    return [*_say(problem, chance, moved), *said]


def _beside(problem: Problem, chance: Chance) -> tuple[csr_array | None, list[str]]:
    """Which of the recording's own targets are neighbours, where clusters are wanted, and by what rule."""
    if chance.clusters is None or not chance.permutations:
        return None, []
    if chance.beside is not None:
        graph, rule = check_neighbours(chance.beside, problem.n_own), "as given"
    else:
        found = neighbours(problem.Y.columns)
        if found.graph is None:
            raise SettingsError(
                f"clusters of neighbours were asked for, but there are none ({found.rule}): give Chance(beside=..), "
                "or leave clusters out"
            )
        graph, rule = found.graph, found.rule
    said = (
        f"p_cluster: of the mass of the cluster a target is in (z > {chance.clusters:g}; neighbours: {rule}), against "
    )
    return graph, [said + "the largest of every rearrangement"]


def mean_interval(held: Tested, problem: Problem, chance: Chance) -> tuple[float, float]:
    """Interval of the mean r over the recording's own targets, blocks of time resampled for all of them together."""
    if not chance.bootstrap:
        return float("nan"), float("nan")
    return _span_of_mean([held], problem.own, problem, chance)


def _spans(models: Sequence[Tested], targets: np.ndarray, problem: Problem, chance: Chance) -> np.ndarray:
    """(2, t) the interval of each target's r: of one model, or of what the first has more than the second."""
    each = np.empty((2, len(targets)))
    for at, r in _resamples(models, targets, problem, chance):
        span = inference.interval(r)
        each[:, at] = span.low, span.high
    return each


def _span_of_mean(
    models: Sequence[Tested], targets: np.ndarray, problem: Problem, chance: Chance
) -> tuple[float, float]:
    """As `_spans`, of the mean over targets."""
    total = sum((r.sum(1) for _, r in _resamples(models, targets, problem, chance)), start=np.zeros(()))
    span = inference.interval(total / len(targets))
    return float(span.low), float(span.high)


def _resamples(
    models: Sequence[Tested], targets: np.ndarray, problem: Problem, chance: Chance
) -> Iterator[tuple[slice, np.ndarray]]:
    """Some targets at a time: which, and (n, b) their r in every bootstrap sample, less that of a second model."""
    drawn = drawn_for(models[0], problem, chance)
    for at, held in models[0].batches(targets, beside=len(drawn)):
        r = resampled(held, drawn)
        for other in models[1:]:
            r -= resampled(other.of(targets[at]), drawn)
        yield at, r


def gain_table(
    scored: Mapping[str, Scored],
    problem: Problem,
    people: Mapping[str, pd.DataFrame],
    chance: Chance,
    store: Store | None = None,
) -> pd.DataFrame:
    """Full less baseline in r: for the mean over targets, for each of them, for each person, and over people.

    Intervals of targets and of a person resample blocks of time, the fitted models held fixed ("conditional"); their p
    is that "full" predicts better than the baseline (`beyond`). Over people, people are resampled and p flips signs.
    """
    a, b = (scored[name].held for name in ("baseline", "full"))
    each = np.empty(problem.n_own)
    for at, held in b.batches(problem.own):
        each[at] = plain_r(held) - plain_r(a.of(problem.own[at]))
    rows = [{"over": "targets", "what": "mean over targets", "gain_r": each.mean(), "n": len(each)}]
    if problem.n_own <= NAMED:
        varying = [c for c in problem.Y.columns if problem.Y.columns[c].nunique() > 1] or list(problem.Y.columns[:1])
        places = problem.Y.columns[varying].astype(str).agg(" ".join, axis=1)
        rows += [{"over": "target", "what": place, "gain_r": each[k], "n": 1} for k, place in enumerate(places)]
    if chance.bootstrap:
        spans = [_span_of_mean([b, a], problem.own, problem, chance)]
        if len(rows) > 1:
            spans += [*_spans([b, a], problem.own, problem, chance).T]
        for row, (low, high) in zip(rows, spans, strict=True):
            row |= {"low": float(low), "high": float(high), "interval": KIND[len(problem.folds) > 1]}
    _add_p(rows, scored, problem, problem.own, chance, store)
    who = people["full"] if people else problem.Y.columns
    if "subject" in who and who["subject"].nunique() > 1:
        gains = people["full"]["r"].to_numpy() - people["baseline"]["r"].to_numpy() if people else each
        rows += _each_person(scored, problem, who["subject"].to_numpy(), gains, chance, store)
        found = over_people(gains, who["subject"].to_numpy(), chance.bootstrap, problem.seed)
        row = {"over": "people", "what": "mean over people", "gain_r": found["mean"], "n": found["n_people"]}
        if chance.bootstrap:
            row |= {name: found[name] for name in ("low", "high", "interval")}
        if chance.permutations:
            row |= {name: found[name] for name in ("p", "p_floor")}
        rows.append(row)
    columns = ["over", "what", "gain_r", "low", "high", "p", "p_floor", "n", "interval"]
    return pd.DataFrame(rows).reindex(columns=columns)


def _add_p(
    rows: list[dict[str, Any]],
    scored: Mapping[str, Scored],
    problem: Problem,
    targets: np.ndarray,
    chance: Chance,
    store: Store | None,
) -> None:
    """Add p to the first row, the mean over all targets, and where they are listed of each one."""
    moved = rearrangements(problem, chance)
    if moved is None:
        return
    p = beyond(problem, scored["full"], scored["baseline"].sources, targets, moved, store)
    for row, one in zip(rows, [*p.mean_r, *p.r], strict=False):  # of very many targets the mean alone has a row
        row |= {"p": float(one), "p_floor": floor_of(moved)}


def _each_person(
    scored: Mapping[str, Scored],
    problem: Problem,
    subject: np.ndarray,
    gains: np.ndarray,
    chance: Chance,
    store: Store | None,
) -> list[dict[str, Any]]:
    """The gain of every person, the mean over their targets (the last ones of the problem)."""
    moved = rearrangements(problem, chance)
    targets = np.arange(problem.targets.shape[1])[-len(subject) :]
    names = list(dict.fromkeys(subject))
    rows = [{"over": "person", "what": name, "gain_r": gains[subject == name].mean()} for name in names]
    if moved is not None:
        p = beyond(problem, scored["full"], scored["baseline"].sources, targets, moved, store, subject)
        for row, one in zip(rows, p.mean_r, strict=True):
            row |= {"p": float(one), "p_floor": floor_of(moved)}
    for row, name in zip(rows, names, strict=True):
        mine = targets[subject == name]
        row["n"] = len(mine)
        if chance.bootstrap:
            both = [scored[model].held for model in ("full", "baseline")]
            low, high = _span_of_mean(both, mine, problem, chance)
            row |= {"low": low, "high": high, "interval": KIND[len(problem.folds) > 1]}
    return rows


def _kept_p(
    problem: Problem,
    fits: Fits,
    one: Scored,
    targets: np.ndarray,
    observed: np.ndarray,
    moved: Moved,
    chance: Chance,
    beside: csr_array | None,
    store: Store | None,
) -> dict[str, np.ndarray]:
    """`p`, `p_fwe` and, with neighbours, `cluster` (0: in none) and `p_cluster` of some targets."""

    def compute() -> dict[str, np.ndarray]:
        tally = inference.Tally(len(targets))
        clusters = None if beside is None else Clusters(beside, chance.clusters or THRESHOLD)
        place = np.full(problem.targets.shape[1], -1)
        place[targets] = np.arange(len(targets))
        for some, null in _null(problem, fits, one, targets, moved, chance):
            at = place[some]
            tally.add(at, observed[at], null)
            if clusters is not None:
                clusters.add(at, observed[at], null)
        alone = {"p": tally.p, "p_fwe": tally.family_wise()}
        if clusters is None:
            return alone
        found = clusters.result()
        return {**alone, "cluster": found.label, "p_cluster": found.p}

    if store is None:
        return compute()
    models = {model for sources in one.sources for model, _, _ in sources}
    key = key_of(
        what="p of rearranged responses 2",
        model=one.name,
        fits=sorted(key_of_fit(problem, model, fold) for model in models for fold in range(len(problem.folds))),
        targets=targets.tolist(),
        moved=hash_array(moved.index),
        again=chance.choose_again and [model.name for model in fits.models],
        clusters=None if beside is None else [chance.clusters, hash_array(beside.indptr), hash_array(beside.indices)],
    )
    return {name: np.array(values) for name, values in store.compute(key, compute, meta={"what": "p"}).arrays.items()}


def _null(
    problem: Problem, fits: Fits, one: Scored, targets: np.ndarray, moved: Moved, chance: Chance
) -> Iterator[nulls.Batch]:
    if tested_once(problem):
        return (
            (targets[at][some], null)
            for at, held in one.held.batches(targets, beside=len(moved))
            for some, _, null in inference.null_batches(*held.centred(), moved)
        )
    if chance.choose_again:
        models = [model for model in fits.models if model.alternative] if one.name not in fits.by_model else []
        return nulls.null_chosen_again(problem, models or [fits.model(one.name)], one.name, targets, moved)
    return nulls.null_r(problem, one.sources, targets, moved)


@dataclass(frozen=True)
class Beyond:
    """p that "full" explains more than a model nested in it: of the loss in R² and in r of each target, and of the mean
    loss in r over the targets of each label, labels in order of first appearance.
    """

    r2: np.ndarray
    r: np.ndarray
    mean_r: np.ndarray


def beyond(
    problem: Problem,
    full: Scored,
    nested: Sequence[Sequence[Source]],
    targets: np.ndarray,
    moved: Moved,
    store: Store | None,
    whose: np.ndarray | None = None,
) -> Beyond:
    """Judge "full" against a model nested in it; `whose` labels the targets, by default all are one.

    What the nested model leaves over is moved in time (`nulls.null_beyond`). Penalties stay as they were found, with
    which useless features cost something in every rearrangement: where nothing was gained p is 1, however much less
    that is than usual. Of an untouched test set what is left over is correlated with what the rest of the model says.
    """
    labels = pd.factorize(np.zeros(len(targets)) if whose is None else whose)[0]
    share = 1 / np.bincount(labels)[labels]  # of each target in its label's mean

    def add_up(total: np.ndarray, at: np.ndarray, values: np.ndarray) -> None:
        np.add.at(total, labels[at], values * share[at][:, None])

    def compute() -> dict[str, np.ndarray]:
        in_r2, in_r = (inference.Tally(len(targets), family=False) for _ in range(2))
        means = np.zeros((labels.max() + 1, len(moved)))
        gained_r2, gained_r, seen = np.zeros((3, len(targets)))
        for batch, held in full.held.batches(targets, beside=len(moved)):
            at, less = np.arange(len(targets))[batch], predicted_by(nested, targets[batch])
            spread = ((held.y - held.reference) ** 2).sum(0)
            lost = ((held.y - less) ** 2).sum(0) - ((held.y - held.predicted) ** 2).sum(0)
            gained_r2[at] = np.nan_to_num(lost / np.where(spread > 0, spread, np.inf))
            gained_r[at] = np.nan_to_num(plain_r(held) - plain_r(replace(held, predicted=less)))
            if not tested_once(problem):
                continue
            for some, observed, null in inference.null_batches(held.y - less, held.predicted - less, moved):
                for tally in (in_r2, in_r):
                    tally.add(at[some], observed, null)
                seen[at[some]] = np.nan_to_num(observed)
                add_up(means, at[some], null.T)
        if not tested_once(problem):
            seen = gained_r
            place = np.full(problem.targets.shape[1], -1)
            place[targets] = np.arange(len(targets))
            for some, null_r2, null_r in nulls.null_beyond(problem, full.sources, nested, targets, moved):
                at = place[some]
                in_r2.add(at, gained_r2[at], null_r2)
                in_r.add(at, gained_r[at], null_r)
                add_up(means, at, null_r.T)
        observed_means, gains_of_labels = (np.bincount(labels, one * share) for one in (seen, gained_r))
        return {
            "r2": np.where(gained_r2 > 0, in_r2.p, 1.0),
            "r": np.where(gained_r > 0, in_r.p, 1.0),
            "mean_r": np.where(gains_of_labels > 0, inference.exceeded(observed_means, means.T), 1.0),
        }

    if store is None:
        return Beyond(**compute())
    models = {model for fold in [*full.sources, *nested] for model, _, _ in fold}
    folds = range(len(problem.folds))
    key = key_of(
        what="p beyond a nested model 2",
        nested=sorted({model.name for fold in nested for model, _, _ in fold}),
        fits=sorted(key_of_fit(problem, model, fold) for model in models for fold in folds),
        targets=targets.tolist(),
        whose=labels.tolist(),
        moved=hash_array(moved.index),
    )
    found = store.compute(key, compute, meta={"what": "p"}).arrays
    return Beyond(**{name: np.array(values) for name, values in found.items()})


def tested_once(problem: Problem) -> bool:
    """Whether there is one untouched test set: predictions of it are finished, and only its responses are moved."""
    return len(problem.folds) == 1


def rearrangements(problem: Problem, chance: Chance) -> Moved | None:
    """In which other order the responses might have come, within runs: all samples, or those of an untouched test set
    (counted as they stand in it). Runs that tell one story are moved alike. None where none are wanted.
    """
    if not chance.permutations:
        return None
    rows = problem.folds[0][1] if tested_once(problem) else np.arange(len(problem.targets))
    samples = problem.Y.samples.iloc[rows].reset_index(drop=True)
    run = samples["run"].to_numpy()
    usual = 1 if chance.how == "shift" else 2 * _block_of(problem, rows, run)
    return rearranged(run, chance.permutations, chance.how, usual, problem.seed, told_together(samples))


def floor_of(moved: Moved) -> float:
    """The smallest p there can be."""
    return 1 / (1 + len(moved))


def _block_of(problem: Problem, rows: np.ndarray, run: np.ndarray) -> int:
    """How many neighbours among some samples belong together; of very many targets every k-th tells."""
    every = max(1, problem.targets.shape[1] // LOOKED_AT)
    return block_length(problem.targets[:, ::every][rows], run=run)


def drawn_for(held: Tested, problem: Problem, chance: Chance) -> np.ndarray:
    """(n, n_test) how often each held-out sample is drawn, in blocks of neighbours within its test fold; the same for
    every model of a problem.
    """
    block = _block_of(problem, held.rows, held.fold)
    return inference.drawn_blocks(len(held.rows), block, chance.bootstrap, run=held.fold, seed=problem.seed)


def resampled(held: HeldOut, drawn: np.ndarray) -> np.ndarray:
    """(n, t) r in every bootstrap sample, as `drawn_for` drew them."""
    return inference.weighted_r(*held.centred(), drawn)


def _say(problem: Problem, chance: Chance, moved: Moved | None) -> list[str]:
    notes = []
    if moved is not None:
        what = "shifted in time" if chance.how == "shift" else "permuted in blocks of neighbours"
        stories, runs = int(told_together(problem.Y.samples).max()) + 1, len(problem.Y.runs)
        alike = ", runs of one story alike" if stories < runs else ""
        how = f"responses {what} within each run{alike} ({len(moved)} times, smallest possible p {floor_of(moved):.4f})"
        if tested_once(problem):
            notes.append(f"p: {how} against the finished predictions of the untouched test set; one-sided")
            rows = problem.folds[0][1]
            slow = _block_of(problem, rows, problem.Y.samples["run"].to_numpy()[rows])
            notes += [few for few in [inference.few_blocks(len(rows), slow)] if few]
        else:
            kept = "penalties and choices made anew" if chance.choose_again else "fixed penalties and choices"
            small = (
                ", conservative"
                if chance.how == "shift"
                else "; where runs are few blocks long, p as small as .01 come a little too often"
            )
            notes.append(f"p: {how} and predicted anew at {kept}; one-sided" + small * (not chance.choose_again))
        liberal = "; with permuted blocks it is too small (.08 to .1 for .05)" * (chance.how == "blocks")
        notes.append("p_fwe: as p, of the highest r among all targets of a table (family-wise error)" + liberal)
    if chance.bootstrap:
        notes.append(
            "intervals of r: blocks of time resampled on the untouched test set"
            if tested_once(problem)
            else "intervals of r are conditional on the fitted models (blocks of time resampled): they do "
            "not contain the uncertainty of fitting, and cover less than 95 %"
        )
    return notes
