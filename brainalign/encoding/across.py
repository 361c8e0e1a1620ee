"""Does a model of other people's brains predict this one's?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from brainalign.encoding.aligning import (
    SHARED,
    Alignment,
    People,
    anatomical,
    check_alignment,
    dimensions,
    said,
    same_places,
)
from brainalign.encoding.ceilings import none
from brainalign.encoding.chance import Chance
from brainalign.encoding.encode import encode
from brainalign.encoding.fit import AVERAGED, Problem, fit_models, models_of, pose
from brainalign.encoding.folds import Fixed, FoldRule, by_run, drawn, warnings_of
from brainalign.encoding.group import over_people
from brainalign.encoding.score import HeldOut, plain_scores
from brainalign.encoding.within import PCA
from brainalign.errors import InputError, did_you_mean
from brainalign.maths.shared_space import SharedSpace
from brainalign.progress import Progress
from brainalign.scratch import blocks, room
from brainalign.signals import Signal
from brainalign.store import Store

QUIET = Chance(permutations=0, bootstrap=0)
SCORES = ["r", "r_fold_mean", "r2", "n_test"]
NUMBERS_TOGETHER = 4 << 20  # of one person's held-out responses, as float64


@dataclass(frozen=True, eq=False)
class Across:
    """The result of `encode_across`.

    Parameters
    ----------
    scores : DataFrame, one row per column of the people, way and model
        The column's own table, `way` (across; for comparison within, anatomical), `model` (full, baseline), `r`,
        `r_fold_mean`, `r2`, `n_test`, as `encode` has them.
    people : DataFrame, one row per person, way and model
        Mean `r` over the person's columns, `n_targets`.
    group : DataFrame
        Means over people of these, and of the differences between ways ("across − within"): `mean`, `low`, `high`
        (95 %), `p` (one-sided), `p_two_sided`, `p_floor`, `n_people`.
    predicted : Signal (n_test, n_people × n_dimensions × n_models)
        The held-out predictions in the shared space; `columns`: `subject` (who was left out), `dimension`, `model`;
        `samples` with `fold`. `predictions` has them in a person's own voxels.
    spaces : tuple of SharedSpace
        Of every fold, learned from its training samples.
    columns : DataFrame
        The people's columns table.
    folds : DataFrame
        `fold`, `run`, `time` (s), `role`: train, gap, test.
    settings : mapping
    notes : tuple of str
        Caveats a reader has to know.
    """

    scores: pd.DataFrame
    people: pd.DataFrame
    group: pd.DataFrame
    predicted: Signal
    spaces: tuple[SharedSpace, ...]
    columns: pd.DataFrame
    folds: pd.DataFrame
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        means = self.people[self.people["model"] == "full"].groupby("way", sort=False)["r"].mean()
        n = self.people["subject"].nunique()
        return f"Across({n} people; mean r {', '.join(f'{way} {r:.3f}' for way, r in means.items())})"

    def predictions(self, subject: str, model: str = "full") -> Signal:
        """Held-out predictions of a person's own voxels by the others: (n_test, n_voxels).

        Raises
        ------
        InputError
            Nobody of that name.
        """
        names = list(dict.fromkeys(self.predicted.columns["subject"]))
        if subject not in names:
            raise InputError(f"there is no subject {subject!r}; " + did_you_mean(subject, names))
        fold = self.predicted.samples["fold"].to_numpy()
        shared = self.predicted.select(columns=(self.predicted.columns["subject"] == subject).to_numpy(), model=model)
        k = names.index(subject)
        columns = self.columns[self.columns["subject"].astype(str) == subject]
        values = room((len(fold), len(columns)))
        for f, space in enumerate(self.spaces, start=1):  # folds need not come in the order of time
            values[fold == f] = space.back(k, shared.values[fold == f])
        return Signal(values, self.predicted.samples, columns)


def encode_across(
    X: Signal,
    people: Signal,
    *,
    folds: FoldRule = by_run,
    inner: int = 5,
    align: Alignment = SHARED,
    baseline: Sequence[str] = (),
    within_fold: Mapping[str, PCA] | None = None,
    solver: Callable[..., Any] = AVERAGED,
    beside: bool = True,
    seed: int = 0,
    store: Store | None = None,
    progress: Progress | None = None,
) -> Across:
    """Fit an encoding model on the shared response of all people but one, and predict that one's own voxels.

    In every fold a space is learned from the training samples of everyone; in it, the model is fitted to the mean
    training response of the others; what it predicts for the test samples goes back through the left-out person's own
    basis, and is scored against what was recorded there. No test response of anybody has a say before the score.

    Parameters
    ----------
    X : Signal (n_samples, n_features)
        The design, columns with `band`, as for `encode`.
    people : Signal (n_samples, columns of several people)
        People on one clock, `subject` in `columns`; voxels may differ in number.
    folds, inner, baseline, within_fold, solver
        As for `encode`.
    align : alignment
        `shared_response(50)`, `hyperalignment()`, `anatomical`, or any function of that kind.
    beside : bool
        Whether to score, for comparison, each person's own model ("within"), and the same without alignment
        ("anatomical": the mean of the others' same places), where people have the same columns.
    seed : int
        Of the fits; alignments draw nothing.
    store : Store, optional
        Keeps every fit, as for `encode`.
    progress : function (done, total, what), optional

    Returns
    -------
    Across

    Raises
    ------
    InputError, SettingsError
        Design and recording do not fit together, fewer than two people, more features than somebody has.

    Notes
    -----
    The left-out person's *training* responses take part in learning the space (of which their basis is a part), not
    in the model. People's scores are not independent, since each is predicted from all others: p and intervals over
    people are as for `group`, too small and too narrow.

    Examples
    --------
    >>> from brainalign.encoding.aligning import shared_response
    >>> rng = np.random.default_rng(0)
    >>> samples = pd.DataFrame({"run": np.repeat(["1", "2"], 60), "time": np.tile(np.arange(60.0), 2)})
    >>> x = Signal(rng.standard_normal((120, 3)), samples, pd.DataFrame({"band": ["lm"] * 3}))
    >>> brains = np.concatenate([x.values @ rng.standard_normal((3, n)) for n in (20, 30, 25)], axis=1)
    >>> brains += 2 * rng.standard_normal(brains.shape)
    >>> y = Signal(brains, samples, pd.DataFrame({"subject": np.repeat(["a", "b", "c"], [20, 30, 25])}))
    >>> found = encode_across(x, y, align=shared_response(3), beside=False)
    >>> bool(found.group["mean"][0] > 0.4), found.predictions("b").shape
    (True, (120, 30))
    """
    check_alignment(align)
    problem = pose(X, people, folds=folds, inner=inner, within_fold=within_fold, solver=solver, seed=seed)
    everyone = People.of(problem.Y)
    spaces, shared = _by_others(problem, everyone, align, baseline, store, progress)
    tables = [_scored(problem, everyone, spaces, shared, "across")]
    notes = [*warnings_of(problem.folds, problem.Y.samples), *_unconverged(spaces, align)]
    if beside:
        quick = {"folds": folds, "inner": inner, "baseline": baseline, "within_fold": within_fold, "solver": solver}
        own = encode(
            X, people, **quick, seed=seed, ceiling=none, chance=QUIET, weights=False, store=store, progress=progress
        )
        tables.append(own.scores[[*people.columns, "model", *SCORES]].assign(way="within"))
        if same_places(everyone.columns) is None:
            notes.append("no scores without alignment: people do not have the same columns")
        elif align is not anatomical:
            unaligned = _by_others(problem, everyone, anatomical, baseline, store, progress)
            tables.append(_scored(problem, everyone, *unaligned, "anatomical"))
    first = [*people.columns, "way", "model"]
    scores = pd.concat([table[[*first, *SCORES]] for table in tables], ignore_index=True)
    each = scores.groupby(["way", "model", "subject"], sort=False)["r"].agg(["mean", "size"]).reset_index()
    return Across(
        scores=scores,
        people=each.rename(columns={"mean": "r", "size": "n_targets"})[["subject", "way", "model", "r", "n_targets"]],
        group=_over_people(scores, seed),
        predicted=_signal(problem, everyone, shared),
        spaces=tuple(spaces),
        columns=problem.Y.columns,
        folds=drawn(problem.folds, problem.Y.samples),
        settings={
            "align": said(align),
            "folds": str(folds),
            "inner": inner,
            "baseline": list(baseline),
            "within_fold": {band: str(step) for band, step in (within_fold or {}).items()},
            "seed": seed,
        },
        notes=tuple(notes),
    )


def _by_others(
    problem: Problem,
    everyone: People,
    align: Alignment,
    baseline: Sequence[str],
    store: Store | None,
    progress: Progress | None,
) -> tuple[list[SharedSpace], dict[str, list[np.ndarray]]]:
    """Every fold's space, and what each model of the others predicts in it: name → (n_test, people × dimensions)."""
    families = [(model,) for model in models_of(problem.X.bands, baseline, {})]
    spaces: list[SharedSpace] = []
    predicted: dict[str, list[np.ndarray]] = {model.name: [] for (model,) in families}
    for k, (train, test) in enumerate(problem.folds):
        if progress:
            progress(k, len(problem.folds), f"{said(align)}, fold {k + 1}")
        space = align(everyone.values, everyone.columns, train)
        posed = pose(
            problem.X,
            taught(problem.Y, everyone, space, train),
            folds=Fixed([(train, test)], problem.rule, str(problem.rule)),
            inner=problem.inner,
            within_fold=problem.reduce,
            solver=problem.solver,
            seed=problem.seed,
        )
        fits = fit_models(posed, families, store)
        for name, of_model in predicted.items():
            of_model.append(fits.by_model[name][0].predicted)
        spaces.append(space)
    return spaces, predicted


def taught(people: Signal, everyone: People, space: SharedSpace, train: np.ndarray) -> Signal:
    """What the model that is to predict a person is fitted to: the mean training response of the others.

    Parameters
    ----------
    people : Signal
        The recording.
    everyone : People
        The same, told apart.
    space : SharedSpace
        Learned from the training samples.
    train : array of int
        The training samples.

    Returns
    -------
    Signal (n_samples, n_people × n_dimensions)
        `subject` is who is left out. All samples but those of training are 0: there is nothing to leak.
    """
    m, n = len(everyone.names), space.shared.shape[1]
    values = room((len(people.samples), m * n))
    for rows in blocks(len(train), 8 * max(m * n, *(own.shape[1] for own in everyone.values))):
        each = np.stack([space.shared_of(k, own[train[rows]]) for k, own in enumerate(everyone.values)], axis=1)
        others = (each.sum(1, keepdims=True) - each) / (m - 1)
        values[train[rows]] = others.reshape(len(others), m * n)
    return Signal(values, people.samples, dimensions(everyone.names, n))


def _scored(
    problem: Problem,
    everyone: People,
    spaces: Sequence[SharedSpace],
    predicted: Mapping[str, Sequence[np.ndarray]],
    way: str,
) -> pd.DataFrame:
    """Predictions of the shared space in everyone's own voxels, scored there; some voxels at a time."""
    tests = [test for _, test in problem.folds]
    rows = np.concatenate(tests)
    fold = np.repeat(np.arange(len(tests)), [len(test) for test in tests])
    n = spaces[0].shared.shape[1]
    tables = []
    for model, shared in predicted.items():
        of_model = []
        for k, values in enumerate(everyone.values):
            own = [one[:, k * n : (k + 1) * n] for one in shared]
            step = max(1, NUMBERS_TOGETHER // len(rows))
            for start in range(0, values.shape[1], step):
                part = slice(start, min(start + step, values.shape[1]))
                held = HeldOut(
                    y=values[rows, part].astype(np.float64),
                    predicted=np.concatenate([s.back(k, one, part) for s, one in zip(spaces, own, strict=True)]),
                    reference=np.stack([s.means[k][part] for s in spaces])[fold],
                    fold=fold,
                )
                told = {"model": model, **plain_scores(held), "n_test": len(rows)}
                of_model.append(everyone.columns[k].iloc[part].assign(**told))
        order = np.argsort(np.concatenate(everyone.at))  # as the recording has them
        tables.append(pd.concat(of_model, ignore_index=True).iloc[order])
    return pd.concat(tables, ignore_index=True).assign(way=way)


def _over_people(scores: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Means over people, of every way and of what "across" has more than the others."""
    each = {key: table.reset_index(drop=True) for key, table in scores.groupby(["way", "model"], sort=False)}
    rows = [{"what": way, "model": model, **_mean(table["r"], table, seed)} for (way, model), table in each.items()]
    for (way, model), table in each.items():
        if way != "across":
            gain = each["across", model]["r"] - table["r"]
            rows.append({"what": f"across − {way}", "model": model, **_mean(gain, table, seed)})
    return pd.DataFrame(rows)


def _mean(values: pd.Series, table: pd.DataFrame, seed: int) -> dict[str, Any]:
    found = over_people(values.to_numpy(float), table["subject"].to_numpy(), seed=seed)
    return {name: found[name] for name in ("mean", "low", "high", "p", "p_two_sided", "p_floor", "n_people")}


def _signal(problem: Problem, everyone: People, predicted: Mapping[str, Sequence[np.ndarray]]) -> Signal:
    tests = [test for _, test in problem.folds]
    fold = np.repeat(np.arange(1, len(tests) + 1), [len(test) for test in tests])
    order = np.argsort(np.concatenate(tests), kind="stable")
    values = [np.concatenate(shared)[order] for shared in predicted.values()]
    n = values[0].shape[1] // len(everyone.names)
    columns = [dimensions(everyone.names, n).assign(model=model) for model in predicted]
    samples = problem.Y.samples.iloc[np.concatenate(tests)[order]].assign(fold=fold[order])
    return Signal(np.concatenate(values, axis=1), samples, pd.concat(columns, ignore_index=True))


def _unconverged(spaces: Sequence[SharedSpace], align: Alignment) -> list[str]:
    n = sum(not space.converged for space in spaces)
    steps = max(len(space.explained) for space in spaces)
    return [f"{said(align)}: not converged after {steps} iterations in {n} of {len(spaces)} folds"] * (n > 0)
