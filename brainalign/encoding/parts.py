"""Which feature earned it? What each explains alone, and what features share, on samples never seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from brainalign.encoding.chance import Chance, beyond, drawn_for, rearrangements
from brainalign.encoding.fit import Fits, FoldFit, Job, Model, Problem, Source, fit_jobs
from brainalign.encoding.score import predicted_by
from brainalign.errors import SettingsError, did_you_mean
from brainalign.maths import inference
from brainalign.maths.partition import AND, MOST_BANDS, shared_by, subsets
from brainalign.progress import Progress
from brainalign.store import Store

if TYPE_CHECKING:
    from brainalign.encoding.encode import Scored

Left = tuple[str, ...]
"""Features that a model is fitted without."""


@dataclass(frozen=True)
class Partition:
    """How the R² of "full" is split.

    Parameters
    ----------
    product : bool
        Parts that sum to it (Pratt 1987): no further fit is needed.
    unique : bool
        What is lost when a feature is taken away: one nested model for each.
    common : bool
        What exactly each pair, triple, … of features shares as well: 2ᴮ − 1 models, of at most four features.
    features : mapping name → bands, optional
        Bands that belong together; every other band is a feature of its own, alternatives are one together.
    """

    product: bool = True
    unique: bool = True
    common: bool = False
    features: Mapping[str, Sequence[str]] | None = None


class Parts:
    """The nested models a partition needs, and what comes out of them.

    Among alternatives the choice is held: a model without a feature takes, per fold and target, the alternative that
    "full" took.
    """

    def __init__(
        self,
        problem: Problem,
        models: Sequence[Model],
        alternatives: Mapping[str, Sequence[str]],
        partition: Partition | None,
    ) -> None:
        self.problem, self.models = problem, models
        self.group = next(iter(alternatives), "")
        self.baseline = next((model for model in models if model.name == "baseline"), None)
        whole = next(model for model in reversed(models))  # all have the same fixed bands
        fixed = [band for band in whole.bands if band != whole.alternative]
        self.features = _grouped(fixed, partition)
        if self.group:
            self.features[self.group] = ()
        self.left_out = _choices(list(self.features), partition)
        self.partition = partition or Partition(unique=False)

    def families(self) -> list[tuple[Model, ...]]:
        """The models of the fit, each beside those nested in it, where it is known beforehand which are needed."""
        if self.group:
            return [(model,) for model in self.models]
        return [
            (model, *(less for less in self._nested(model, self.left_out) if less.name != "baseline"))
            if model.name == "full"
            else (model,)
            for model in self.models
        ]

    def table(
        self,
        fits: Fits,
        scored: Mapping[str, Scored],
        tables: Mapping[str, pd.DataFrame],
        people: Mapping[str, pd.DataFrame],
        chance: Chance,
        store: Store | None = None,
        progress: Progress | None = None,
    ) -> pd.DataFrame:
        """One row per target and part; `unique_<feature>` is added to the score tables of "full"."""
        if "full" not in scored:
            return pd.DataFrame()
        full, table = scored["full"], tables["full"]
        rows = self._product(full, table) if self.partition.product else []
        if self.left_out:
            nested = self._sources(fits, full.sources, store, progress)
            lost = self._lost(full, nested)
            own = slice(0, self.problem.n_own)
            for (name,) in (some for some in lost if len(some) == 1):
                table[f"unique_{name}"] = lost[name,][own]
                if people:
                    people["full"][f"unique_{name}"] = lost[name,][self.problem.n_own :]
            if self.partition.unique:
                rows += self._unique(full, table, nested, lost, chance, store, progress)
            if self.partition.common:
                rows += self._common(full, table, nested, lost, chance)
        return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()

    def _nested(self, model: Model, left_out: Sequence[Left]) -> list[Model]:
        """The models without each choice of features, `model` being the one with all of them."""
        return [self._less(model, some) for some in left_out]

    def _less(self, model: Model, some: Left) -> Model:
        gone = tuple(band for name in some for band in self.features[name])
        bands = model.bands[:-1] if self.group in some else model.bands
        if self.baseline is not None and self.baseline.bands == tuple(band for band in bands if band not in gone):
            return self.baseline
        if self.group in some:
            return Model("without " + "+".join(some), bands, None, gone)
        return Model(f"{model.name} without {'+'.join(some)}", bands, model.alternative, gone)

    def _sources(
        self, fits: Fits, whole: Sequence[Sequence[Source]], store: Store | None, progress: Progress | None
    ) -> dict[Left, list[list[Source]]]:
        """For every choice that is left out and every fold, which nested model predicts which targets."""
        done = {(name, fold): fit for name, all_ in fits.by_model.items() for fold, fit in enumerate(all_)}
        jobs = [job for job in self._jobs(whole) if (job[0][0].name, job[1]) not in done]
        done |= fit_jobs(self.problem, jobs, store, progress) if jobs else {}
        return {some: [self._fold(some, sources, k, done) for k, sources in enumerate(whole)] for some in self.left_out}

    def _fold(
        self, some: Left, sources: Sequence[Source], fold: int, done: Mapping[tuple[str, int], FoldFit]
    ) -> list[Source]:
        found = [(self._less(model, some), mine) for model, _, mine in sources]
        if self.group in some:  # whichever was chosen, the rest is the same
            found = [(found[0][0], np.arange(self.problem.targets.shape[1]))]
        return [(model, done[model.name, fold], mine) for model, mine in found]

    def _jobs(self, whole: Sequence[Sequence[Source]]) -> list[Job]:
        """Families of nested models, on the folds they are needed for."""
        families: dict[tuple[tuple[str, ...], int], dict[str, Model]] = {}
        for fold, sources in enumerate(whole):
            for model, _, _ in sources:
                for less in self._nested(model, self.left_out):
                    if less.name != "baseline":
                        families.setdefault((less.bands, fold), {})[less.name] = less
        return [(tuple(family.values()), fold) for (_, fold), family in families.items()]

    def _lost(self, full: Scored, nested: Mapping[Left, list[list[Source]]]) -> dict[Left, np.ndarray]:
        """(t,) R² lost without each choice."""
        targets = np.arange(self.problem.targets.shape[1])
        lost = {some: np.full(len(targets), np.nan) for some in nested}
        for at, held in full.held.batches(targets):
            spread = ((held.y - held.reference) ** 2).sum(0)
            error = ((held.y - held.predicted) ** 2).sum(0)
            for some, sources in nested.items():
                less = ((held.y - predicted_by(sources, targets[at])) ** 2).sum(0)
                np.divide(less - error, spread, out=lost[some][at], where=spread > 0)
        return lost

    def _product(self, full: Scored, table: pd.DataFrame) -> list[pd.DataFrame]:
        """Parts that sum to R², of bands that belong together summed."""
        own = {name: [f"r2_{band}" for band in bands or (name,)] for name, bands in self.features.items()}
        return [self._rows(table, "product", name, table[columns].sum(axis=1)) for name, columns in own.items()]

    def _unique(
        self,
        full: Scored,
        table: pd.DataFrame,
        nested: Mapping[Left, list[list[Source]]],
        lost: Mapping[Left, np.ndarray],
        chance: Chance,
        store: Store | None,
        progress: Progress | None,
    ) -> list[pd.DataFrame]:
        moved = rearrangements(self.problem, chance)
        rows = []
        for name in self.features:
            part = self._rows(table, "unique", name, lost[name,][: self.problem.n_own])
            if chance.bootstrap:
                part["low"], part["high"] = self._interval(full, nested, {(name,): 1}, chance)
            if moved is not None:
                if progress:
                    progress(len(rows), len(self.features), f"how likely by chance: {name} alone")
                part["p"] = beyond(self.problem, full, nested[name,], self.problem.own, moved, store).r2
                part["q"] = inference.fdr(part["p"].to_numpy())
            rows.append(part)
        return rows

    def _common(
        self,
        full: Scored,
        table: pd.DataFrame,
        nested: Mapping[Left, list[list[Source]]],
        lost: Mapping[Left, np.ndarray],
        chance: Chance,
    ) -> list[pd.DataFrame]:
        """What exactly each choice of features shares; the parts sum to R²."""
        everything = tuple(self.features)
        own = {some: values[: self.problem.n_own] for some, values in lost.items()}
        shared = shared_by({**own, everything: table["r2"].to_numpy(float)})
        rows = []
        for some, values in shared.items():
            part = self._rows(table, "common", AND.join(some), values)
            if chance.bootstrap:
                signs = {few: (-1) ** (len(some) - len(few)) for few in subsets(some)}
                part["low"], part["high"] = self._interval(full, nested, signs, chance)
            rows.append(part)
        return rows

    def _rows(self, table: pd.DataFrame, kind: str, name: str, values: pd.Series | np.ndarray) -> pd.DataFrame:
        own = self.problem.Y.columns.reset_index(drop=True)
        told = table["normalised_r2"].notna().to_numpy()
        ceiling = np.where(told, table["ceiling_r2"].to_numpy(float), np.nan)
        values = np.asarray(values, float)
        blank = dict.fromkeys(("low", "high", "p", "q"), np.nan)
        return own.assign(model="full", kind=kind, part=name, r2=values, normalised_r2=values / ceiling, **blank)

    def _interval(
        self, full: Scored, nested: Mapping[Left, list[list[Source]]], signs: Mapping[Left, int], chance: Chance
    ) -> tuple[np.ndarray, np.ndarray]:
        """95 % over blocks of time, the fitted models held fixed, of Σ sign · (R² lost without a choice).

        Without all of them everything is lost: the training mean is left.
        """
        counts = drawn_for(full.held, self.problem, chance)
        low, high = (np.full(self.problem.n_own, np.nan) for _ in range(2))
        for some, held in full.held.batches(self.problem.own, beside=len(counts)):
            spread = (held.y - held.reference) ** 2
            error = (held.y - held.predicted) ** 2
            lost = np.zeros(spread.shape)
            for choice, sign in signs.items():
                known = choice in nested
                less = (held.y - predicted_by(nested[choice], self.problem.own[some])) ** 2 if known else spread
                lost += sign * (less - error)
            moving = np.where(spread.any(0), 1.0, np.nan)
            with np.errstate(invalid="ignore"):
                span = inference.interval((counts @ lost) / (counts @ spread * moving))
            low[some], high[some] = span.low, span.high
        return low, high


def _grouped(bands: Sequence[str], partition: Partition | None) -> dict[str, Left]:
    """Feature → its bands, in the order of the bands."""
    named = {name: tuple(some) for name, some in ((partition and partition.features) or {}).items()}
    for name, some in named.items():
        for band in some:
            if band not in bands:
                raise SettingsError(
                    f"feature {name!r} of the partition has no band {band!r}; {did_you_mean(band, bands)}"
                )
    owner = {band: name for name, some in named.items() for band in some}
    if len(owner) < sum(map(len, named.values())):
        raise SettingsError("a band is in two features of the partition: it can be in one")
    out: dict[str, list[str]] = {}
    for band in bands:
        out.setdefault(owner.get(band, band), []).append(band)
    return {name: tuple(some) for name, some in out.items()}


def _choices(features: list[str], partition: Partition | None) -> list[Left]:
    """What models are fitted without."""
    if partition is None or len(features) < 2 or not (partition.unique or partition.common):
        return []
    if not partition.common:
        return [(name,) for name in features]
    if len(features) > MOST_BANDS:
        raise SettingsError(
            f"what {len(features)} features share has {2 ** len(features) - 1} parts and takes as many models: "
            f"join bands to {MOST_BANDS} features at most, or leave `common` out"
        )
    return subsets(features)[:-1]
