"""What do the held-out predictions come to, target by target?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from brainalign.encoding.fit import FoldFit, Problem, Source
from brainalign.maths import scores
from brainalign.maths.ceiling import Ceiling


@dataclass(frozen=True)
class HeldOut:
    """Every held-out sample of one model, folds one after the other."""

    y: np.ndarray  # (n, t) as observed
    predicted: np.ndarray  # (n, t)
    reference: np.ndarray  # (n, t) the training mean each prediction started from
    fold: np.ndarray  # (n,)
    rows: np.ndarray  # (n,) positions among the samples in use
    explained: np.ndarray  # (b, t)

    def columns(self, targets: slice | np.ndarray) -> HeldOut:
        """Some targets of it."""
        return HeldOut(
            self.y[:, targets],
            self.predicted[:, targets],
            self.reference[:, targets],
            self.fold,
            self.rows,
            self.explained[:, targets],
        )

    def centred(self) -> tuple[np.ndarray, np.ndarray]:
        """Observed and predicted, each less its mean within every test fold: what `r` is computed on."""
        return scores.centre_within(self.y, self.fold), scores.centre_within(self.predicted, self.fold)


def held_out(problem: Problem, fits: Sequence[FoldFit]) -> HeldOut:
    """Gather one model's folds."""
    tests = [test for _, test in problem.folds]
    rows = np.concatenate(tests)
    fold = np.repeat(np.arange(len(tests)), [len(t) for t in tests])
    return HeldOut(
        problem.targets[rows].astype(np.float64),
        np.concatenate([f.predicted for f in fits]).astype(np.float64),
        np.stack([f.train_mean for f in fits])[fold],
        fold,
        rows,
        np.sum([f.explained for f in fits], axis=0),
    )


def predicted_by(sources: Sequence[Sequence[Source]], targets: np.ndarray) -> np.ndarray:
    """(n_test, b) float64 held-out predictions of some targets, folds one after the other.

    sources : for every fold, which fitted model predicts which targets
    """
    out = []
    for fold in sources:
        values = np.empty((len(fold[0][1].predicted), len(targets)))
        for _, fit, mine in fold:
            here = np.isin(targets, mine)
            values[:, here] = fit.predicted[:, targets[here]]
        out.append(values)
    return np.concatenate(out)


def score_table(
    held: HeldOut, columns: pd.DataFrame, model: str, bands: Sequence[str], ceiling: Ceiling | None
) -> pd.DataFrame:
    """One row per target: raw score, ceiling and normalised score side by side.

    Parameters
    ----------
    held : HeldOut, (n, t)
    columns : DataFrame, t rows
        What each target is; its columns come first.
    model : str
    bands : sequence of str
        Names of the rows of `held.explained`.
    ceiling : Ceiling or None
    """
    n_targets = held.y.shape[1]
    r = scores.pearson_within(held.y, held.predicted, held.fold)
    r2 = scores.r2(held.y, held.predicted, mean=held.reference)
    spread = ((held.y - held.reference) ** 2).sum(0)
    table: dict[str, object] = {
        "model": model,
        "r": r,
        "r_fold_mean": scores.pearson_fold_mean(held.y, held.predicted, held.fold),
        "r2": r2,
        "n_test": len(held.y),
    }
    table |= ceiling_columns(r, r2, ceiling, n_targets)
    for name in ("p", "p_floor", "q", "p_fwe", "r_low", "r_high"):
        table[name] = np.full(n_targets, np.nan)
    for band, part in zip(bands, held.explained, strict=True):
        table[f"r2_{band}"] = np.divide(part, spread, out=np.full(n_targets, np.nan), where=spread > 0)
    own = columns.reset_index(drop=True)
    return pd.concat([own, pd.DataFrame(table, index=own.index)], axis=1)


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
