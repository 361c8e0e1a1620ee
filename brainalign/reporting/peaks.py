"""At which lag is each electrode predicted best, and what is found at every lag?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from brainalign.encoding.latency import latency
from brainalign.encoding.result import Encoding
from brainalign.reporting.found import electrodes_of, event_of, has_lags, models_of, rows_of
from brainalign.reporting.wording import around, number


def at_peaks(fit: Encoding) -> Encoding:
    """Each electrode at the lag where r of the lead is highest on the test samples; without lags the fit itself.

    Scores of the baseline and of the lead alone, and no table of parts, gains or alternatives.
    """
    columns = fit.observed.columns
    if not has_lags(columns):
        return fit
    which = models_of(fit)
    r = rows_of(fit, which.lead)["r"].fillna(-np.inf)
    best = np.sort(r.groupby(electrodes_of(columns)).idxmax().to_numpy())
    scores = fit.scores[fit.scores["model"].isin([which.baseline, which.lead])]
    scores = scores[scores.groupby("model", sort=False).cumcount().isin(best)].reset_index(drop=True)
    gone = {name: pd.DataFrame() for name in ("partition", "gain", "layers", "choices")}
    return replace(fit, scores=scores, observed=fit.observed.select(columns=best), **gone)


def lag_curves(fit: Encoding) -> pd.DataFrame:
    """What is found at each lag, mean over electrodes; empty where there are not several lags.

    Returns
    -------
    DataFrame, one row per lag in s, in their order
        `lead`, `baseline`, `gain` (NaN without a baseline), `above`, in how many electrodes the lead has the higher r,
        `n` of them; `ceiling`, mean over those that have one, `told`, how many these are.
    """
    which, columns = models_of(fit), fit.observed.columns
    if not has_lags(columns) or columns["lag"].nunique() < 2:
        return pd.DataFrame()
    lead = rows_of(fit, which.lead)
    compared = bool(which.baseline) and which.baseline != which.lead
    base = rows_of(fit, which.baseline)["r"] if compared else lead["r"] * np.nan
    told = lead["normalised_r"].notna()
    table = pd.DataFrame({"lead": lead["r"], "baseline": base, "ceiling": lead["ceiling_r"].where(told), "told": told})
    table = table.assign(gain=table["lead"] - base, above=lead["r"] > base, n=1, lag=columns["lag"].to_numpy(float))
    by = table.groupby("lag")
    return by[["lead", "baseline", "gain", "ceiling"]].mean().join(by[["above", "told", "n"]].sum())


def lag_of_highest(curve: pd.Series) -> float:
    """The lag in s at which a column of `lag_curves` is highest, the first of several."""
    return float(curve.index.to_numpy(float)[np.nanargmax(curve)])


def nested_r(fit: Encoding, electrodes: pd.DataFrame) -> np.ndarray:
    """(n_electrodes,) r of the lead at lags chosen in inner folds, without the test samples; NaN where it is not known.

    Parameters
    ----------
    fit : Encoding
        With every lag.
    electrodes : DataFrame, one row per electrode
        Columns of targets: the electrodes that are asked about, each at any lag.
    """
    lead, columns = models_of(fit).lead, fit.observed.columns
    own = [name for name in columns if name != "lag"]
    keys, wanted = (list(map(str, table[own].to_numpy().tolist())) for table in (columns, electrodes))
    keep = np.isin(keys, wanted)
    kept = (fit.predictions.columns["model"] == lead).to_numpy()
    if not kept.any() or not has_lags(columns[keep]) or columns[keep].duplicated().any():
        return np.full(len(electrodes), np.nan)
    alone = fit.predictions.select(columns=np.flatnonzero(kept)[keep])
    asked = replace(fit, predictions=alone, observed=fit.observed.select(columns=keep))
    found = latency(asked, model=lead, bootstrap=0)
    known = dict(zip(map(str, found[own].to_numpy().tolist()), found["r_nested"], strict=True))
    return np.array([known[key] for key in wanted])


def peak_words(fit: Encoding) -> str:
    """Where the curve over lags is highest, in a sentence; "" where there is none."""
    curves = lag_curves(fit)
    if curves.empty or curves["lead"].isna().all():
        return ""
    at = lag_of_highest(curves["lead"])
    base = float(curves["baseline"][at])
    said = f"{around(at, event_of(fit))}: {number(float(curves['lead'][at]))}"
    return said + f", the baseline {number(base)}" * (base == base)
