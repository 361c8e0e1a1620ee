"""What do the held-out predictions come to, target by target?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from brainalign.encoding.fit import Problem, Source, put_together
from brainalign.maths import scores
from brainalign.maths.ceiling import Ceiling
from brainalign.scratch import columns_of_rows


@dataclass(frozen=True)
class HeldOut:
    """Every held-out sample of one model and some targets, folds one after the other."""

    y: np.ndarray  # (n, t) float64, as observed
    predicted: np.ndarray  # (n, t)
    reference: np.ndarray  # (n, t) the training mean each prediction started from
    fold: np.ndarray  # (n,)

    def centred(self) -> tuple[np.ndarray, np.ndarray]:
        """Observed and predicted, each less its mean within every test fold: what `r` is computed on."""
        return scores.centre_within(self.y, self.fold), scores.centre_within(self.predicted, self.fold)


@dataclass(frozen=True)
class Tested:
    """The held-out samples of one model: of all targets they may be larger than memory, so some are read at a time."""

    problem: Problem
    sources: Sequence[Sequence[Source]]  # for every fold, which fitted model predicts which targets

    @cached_property
    def rows(self) -> np.ndarray:
        """(n,) positions among the samples in use."""
        return np.concatenate([test for _, test in self.problem.folds])

    @cached_property
    def fold(self) -> np.ndarray:
        """(n,) the fold of each."""
        sizes = [len(test) for _, test in self.problem.folds]
        return np.repeat(np.arange(len(sizes)), sizes)

    def of(self, targets: np.ndarray) -> HeldOut:
        """Some targets of it."""
        means = np.stack([fold[0][1].train_mean[targets] for fold in self.sources])
        y = columns_of_rows(self.problem.targets, self.rows, targets).astype(np.float64)
        return HeldOut(y, predicted_by(self.sources, targets), means[self.fold], self.fold)

    def batches(self, targets: np.ndarray, beside: int = 0) -> Iterator[tuple[slice, HeldOut]]:
        """Some targets at a time, where they stand among those asked for, and their samples.

        beside : how many numbers of each are held beside its samples, such as resamples
        """
        for at in self.problem.batches(len(targets), max(len(self.rows), beside)):
            yield at, self.of(targets[at])


def predicted_by(sources: Sequence[Sequence[Source]], targets: np.ndarray) -> np.ndarray:
    """(n_test, b) float64 held-out predictions of some targets, folds one after the other.

    sources : for every fold, which fitted model predicts which targets
    """
    out = []
    for fold in sources:
        if len(fold) == 1:
            predicted = fold[0][1].predicted
            out.append(columns_of_rows(predicted, np.arange(len(predicted)), targets))
            continue
        values = np.empty((len(fold[0][1].predicted), len(targets)))
        for _, fit, mine in fold:
            here = np.isin(targets, mine)
            values[:, here] = fit.predicted[:, targets[here]]
        out.append(values)
    return np.concatenate(out).astype(np.float64, copy=False)


def plain_scores(held: HeldOut) -> dict[str, np.ndarray]:
    """(t,) each: `r`, `r_fold_mean` and `r2`, which no ceiling has a part in."""
    return {
        "r": plain_r(held),
        "r_fold_mean": scores.pearson_fold_mean(held.y, held.predicted, held.fold),
        "r2": scores.r2(held.y, held.predicted, mean=held.reference),
    }


def score_table(
    held: Tested, targets: np.ndarray, columns: pd.DataFrame, model: str, bands: Sequence[str], ceiling: Ceiling | None
) -> pd.DataFrame:
    """One row per target: raw score, ceiling and normalised score side by side.

    Parameters
    ----------
    held : Tested
    targets : array (t,) of int
        Which of its targets.
    columns : DataFrame, t rows
        What each target is; its columns come first.
    model : str
    bands : sequence of str
        The parts that R² is split into.
    ceiling : Ceiling or None
    """
    n_targets = len(targets)
    r, fold_mean, r2, spread = np.empty((4, n_targets))
    for at, some in held.batches(targets):
        plain = plain_scores(some)
        r[at], fold_mean[at], r2[at] = plain["r"], plain["r_fold_mean"], plain["r2"]
        spread[at] = ((some.y - some.reference) ** 2).sum(0)
    table: dict[str, object] = {"model": model, "r": r, "r_fold_mean": fold_mean, "r2": r2, "n_test": len(held.rows)}
    table |= ceiling_columns(r, r2, ceiling, n_targets)
    for name in ("p", "p_floor", "q", "p_fwe", "r_low", "r_high"):
        table[name] = np.full(n_targets, np.nan)
    explained = np.sum([put_together(fold, "explained") for fold in held.sources], axis=0)[:, targets]
    for band, part in zip(bands, explained, strict=True):
        table[f"r2_{band}"] = np.divide(part, spread, out=np.full(n_targets, np.nan), where=spread > 0)
    own = columns.reset_index(drop=True)
    return pd.concat([own, pd.DataFrame(table, index=own.index)], axis=1)


def plain_r(held: HeldOut) -> np.ndarray:
    """(t,) Pearson's r, centred within each test fold."""
    return scores.pearson_within(held.y, held.predicted, held.fold)


def ceiling_columns(r: np.ndarray, r2: np.ndarray, ceiling: Ceiling | None, n: int) -> dict[str, object]:
    """The ceiling in both units, and both scores divided by it where it can be told from zero."""
    missing = np.full(n, np.nan)
    if ceiling is None:
        names = ("ceiling_r", "ceiling_r2", "ceiling_se", "ceiling_p", "normalised_r", "normalised_r2")
        out: dict[str, object] = dict.fromkeys(names, missing)
        out["ceiling_kind"] = "none"
    else:
        as_r, as_r2 = ceiling.as_r(), ceiling.as_r2()
        out = {
            "ceiling_r": as_r.value,
            "ceiling_r2": as_r2.value,
            "ceiling_kind": ceiling.kind,
            "ceiling_se": as_r.se,
            "ceiling_p": ceiling.p,
            "normalised_r": scores.normalise(r, "r", as_r),
            "normalised_r2": scores.normalise(r2, "r2", as_r2),
        }
    order = ("ceiling_r", "ceiling_r2", "ceiling_kind", "ceiling_se", "ceiling_p", "normalised_r", "normalised_r2")
    return {name: out[name] for name in order}


def ratio_of_means(score: np.ndarray, ceiling: np.ndarray, normalised: np.ndarray) -> float:
    """Mean score over mean ceiling, over the targets that could be normalised (never a mean of ratios)."""
    keep = np.isfinite(normalised)
    return float(score[keep].mean() / ceiling[keep].mean()) if keep.any() else float("nan")


def profile(tables: Mapping[str, pd.DataFrame], axis: str, places: np.ndarray) -> pd.DataFrame:
    """The layer profile: one row per alternative, mean over targets, normalised as a ratio of means.

    `axis` names the column of each one's place: layer, lag (s), context, or its number.
    """
    rows = []
    for (name, table), place in zip(tables.items(), places, strict=True):
        values = {c: table[c].to_numpy(float) for c in ("r", "r2", "ceiling_r", "normalised_r")}
        rows.append(
            {
                "model": name,
                axis: int(place) if place == int(place) else place,
                "r": values["r"].mean(),
                "r2": values["r2"].mean(),
                "normalised_r": ratio_of_means(values["r"], values["ceiling_r"], values["normalised_r"]),
                "n_targets": len(table),
            }
        )
    return pd.DataFrame(rows)
