"""Which alternative does each target take, and where along the axis of alternatives does its profile lie?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from brainalign.encoding.chance import Chance, drawn_for, resampled
from brainalign.encoding.fit import Fits, Problem
from brainalign.encoding.score import HeldOut, plain_r
from brainalign.maths import inference
from brainalign.maths.profile import centre_of_mass, peak

if TYPE_CHECKING:
    from brainalign.encoding.encode import Scored

AXES = ("layer", "lag", "context")  # columns of a design in which alternatives may differ
PLACES = ("centre", "centre_low", "centre_high", "peak", "peak_low", "peak_high")


def places_of(columns: pd.DataFrame, names: Sequence[str]) -> tuple[str, np.ndarray]:
    """What alternatives differ in, and each one's place there: its layer, lag (s) or context; else its number.

    Parameters
    ----------
    columns : DataFrame
        The design's, with `band`.
    names : sequence of str
        The alternatives' bands.

    Examples
    --------
    >>> places_of(pd.DataFrame({"band": ["lm.4", "lm.64"], "layer": 3, "context": [4, 64]}), ["lm.4", "lm.64"])
    ('context', array([ 4., 64.]))
    """
    for axis in AXES:
        if axis in columns:
            found = [columns.loc[columns["band"] == name, axis].unique() for name in names]
            if all(len(one) == 1 and pd.notna(one[0]) for one in found):
                places = np.array([float(one[0]) for one in found])
                if len(places) == 1 or len(np.unique(places)) > 1:
                    return axis, places
    return "number", np.arange(len(names), dtype=float)


def choice_table(problem: Problem, fits: Fits, scored: Mapping[str, Scored], chance: Chance) -> pd.DataFrame:
    """One row per target of the recording: the alternative its inner folds chose, and where its profile lies.

    Returns
    -------
    DataFrame
        The target's own columns, then `choice` (the alternative most folds chose; of several the one with the higher
        mean inner score), `share` (of folds that chose it), `place` (its layer, lag in s, or context); `centre` with
        `centre_low`, `centre_high`; `peak` with `peak_low`, `peak_high`.

    Notes
    -----
    `centre` is Σ place·w / Σ w with w = max(0, r − r of the baseline), without a baseline max(0, r), of held-out r:
    among layers the centre of gravity (Tenney et al. 2019), among lags the latency in s, among contexts the window.
    NaN where no alternative is better than the baseline. Noise counts where it is positive, and a profile ends where
    the places end: the centre leans to their middle, and is best compared between targets. An r that is not defined (a
    prediction that never changes) counts as 0. `peak` is the place with the highest held-out r. It is a finding, made
    on the test samples; its *score* is biased upwards, an honest score is that of the model "full".

    The 95 % intervals resample blocks of time, the same ones for all alternatives and the baseline, so that what these
    share cancels. They are conditional on the fitted models: that another recording would have given other weights is
    not in them. Resamples in which no alternative is better than the baseline have no centre and are left out.
    """
    names = [m.name for m in fits.models if m.alternative]
    _, places = places_of(problem.X.columns, names)
    picked, share = most_chosen(fits, problem.n_own)
    drawn = drawn_for(scored[names[0]].held, problem, chance) if chance.bootstrap else None
    found = np.full((6, problem.n_own), np.nan)
    tested = len(scored[names[0]].held.rows)
    for batch in problem.batches(problem.n_own, len(names) * max(chance.bootstrap, tested)):
        models = [scored[name].held.of(problem.own[batch]) for name in names]
        base = scored["baseline"].held.of(problem.own[batch]) if "baseline" in scored else None
        found[[0, 3], batch] = _where(models, base, places, plain_r)
        if drawn is not None:
            anew = _where(models, base, places, lambda held: resampled(held, drawn))
            spans = [inference.interval(one) for one in anew]
            found[[1, 2, 4, 5], batch] = [bound for span in spans for bound in (span.low, span.high)]
    table = {"choice": np.array(names, object)[picked], "share": share, "place": places[picked]}
    own = problem.Y.columns.reset_index(drop=True)
    return pd.concat([own, pd.DataFrame(table | dict(zip(PLACES, found, strict=True)), index=own.index)], axis=1)


def most_chosen(fits: Fits, n_own: int) -> tuple[np.ndarray, np.ndarray]:
    """(t,) by number the alternative most folds chose, and the share of folds that did, of the first n_own targets."""
    picked = fits.chosen()
    assert picked is not None  # there are alternatives
    names = [m.name for m in fits.models if m.alternative]
    votes = np.stack([(picked[:, :n_own] == k).sum(0) for k in range(len(names))])
    inner = np.stack([np.mean([f.cv_r2[:n_own] for f in fits.by_model[name]], axis=0) for name in names])
    tied = votes == votes.max(0)
    best = np.where(tied, np.nan_to_num(inner, nan=-1e30), -np.inf).argmax(0)
    return best, votes.max(0) / len(picked)


def _where(
    models: Sequence[HeldOut], baseline: HeldOut | None, places: np.ndarray, score: Callable[[HeldOut], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Centre and peak of a profile; of each resample, where the scores are resampled."""
    r = np.stack([score(one) for one in models])
    less = 0.0 if baseline is None else np.nan_to_num(score(baseline))
    return centre_of_mass(np.nan_to_num(r) - less, places), peak(r, places)
