"""What was found, as numbers and names the page, its figures and the command line all use?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from brainalign.encoding.choices import AXES
from brainalign.encoding.result import Encoding
from brainalign.reporting.wording import MINUS, at_floor, counted, p_value, seconds, span

NOT_THE_TARGET = ("model", "chosen")
NAMED = 4  # features in a sentence; beyond, they are counted
ELECTRODES = ("channel", "electrode")  # columns that name what was recorded from
INSIDE = ("ECOG", "SEEG", "DBS")  # types of electrodes; those of sensors outside the head begin as OUTSIDE says
OUTSIDE = ("EEG", "MEG")


@dataclass(frozen=True)
class Models:
    """Which rows of `scores` lead: the baseline, and the model it is compared with; "" where there is none."""

    baseline: str
    lead: str
    added: str  # the name of what the lead has and the baseline lacks
    seen: bool  # the lead is the best of several, picked by its score on the test samples


@dataclass(frozen=True)
class Gain:
    """A difference in r with what is known of its certainty."""

    value: float
    low: float = float("nan")
    high: float = float("nan")
    kind: str = ""  # of the interval
    p: float = float("nan")
    n: int = 0
    p_floor: float = float("nan")  # the smallest p there could have been


def models_of(fit: Encoding) -> Models:
    """Which models the report is about."""
    names = list(dict.fromkeys(fit.scores["model"]))
    baseline = "baseline" if "baseline" in names else ""
    rest = [name for name in names if name != baseline]
    if not rest:
        return Models("", baseline, baseline, False)
    if "full" in rest:
        return Models(baseline, "full", _added(fit, "full"), False)
    means = fit.scores.groupby("model", sort=False)["r"].mean()
    lead = str(means[rest].idxmax()) if means[rest].notna().any() else rest[0]
    return Models(baseline, lead, lead, len(rest) > 1)


def _added(fit: Encoding, lead: str) -> str:
    """What the full model has beside the baseline, by the names of the features."""
    bands, below = _bands(fit, lead), _bands(fit, "baseline")
    names = _features([band for band in bands if band not in below], fit)
    if len(names) > NAMED:
        names = [*names[: NAMED - 1], f"{len(names) - NAMED + 1} more"]
    return " + ".join(names) or lead


def _bands(fit: Encoding, model: str) -> list[str]:
    """The bands a model's R² was split into."""
    rows = rows_of(fit, model)
    return [str(c).removeprefix("r2_") for c in rows if str(c).startswith("r2_") and rows[c].notna().any()]


def _features(bands: list[str], fit: Encoding) -> list[str]:
    """Bands by the features they came from: lm.0, lm.1, … are lm."""
    known = {f["name"] for f in asked(fit, "features", default=[]) if isinstance(f, Mapping) and "name" in f}
    shortened = (b.rsplit(".", 1)[0] if b not in known and b.rsplit(".", 1)[0] in known else b for b in bands)
    return list(dict.fromkeys(shortened))


def baseline_bands(fit: Encoding) -> list[str]:
    """The names of the baseline's features."""
    named = asked(fit, "encoding", "baseline", default=None)
    return list(named if named is not None else asked(fit, "baseline", default=[]))


def rows_of(fit: Encoding, model: str) -> pd.DataFrame:
    """One model's rows of `scores`, numbered from 0 in the targets' order."""
    return fit.scores[fit.scores["model"] == model].reset_index(drop=True)


def mean_r(fit: Encoding, model: str) -> float:
    """Mean r over targets."""
    return float(rows_of(fit, model)["r"].mean()) if model else float("nan")


def ceiling_of(fit: Encoding) -> tuple[float, float, int]:
    """Mean ceiling over the targets that could be normalised, the lead's share of it (a ratio of means), how many."""
    rows = rows_of(fit, models_of(fit).lead)
    keep = rows[rows["normalised_r"].notna()]
    if keep.empty:
        return float("nan"), float("nan"), 0
    ceiling = float(keep["ceiling_r"].mean())
    return ceiling, float(keep["r"].mean()) / ceiling, len(keep)


def labels_of(columns: pd.DataFrame) -> list[str]:
    """What each target is called: its electrode, region, place or number, with person and lag where there are several.

    Examples
    --------
    >>> labels_of(pd.DataFrame({"subject": ["01", "02"], "channel": "LA3", "lag": [-0.2, 0.2]}))
    ['01 LA3 at −0.2 s', '02 LA3 at 0.2 s']
    """
    if "lag" in columns:
        names = labels_of(columns.drop(columns="lag"))
        if columns["lag"].nunique() < 2:
            return names
        return [f"{name} at {seconds(lag)}" for name, lag in zip(names, columns["lag"].astype(float), strict=True)]
    several = ["subject"] if "subject" in columns and columns["subject"].nunique() > 1 else []
    electrode = electrode_column(columns)
    if electrode:
        return [" ".join(cells) for cells in _cells(columns, [*several, electrode])]
    axes = next((list(a) for a in (("x", "y", "z"), ("i", "j", "k")) if set(a) <= set(columns)), [])
    if "roi" not in columns and axes:
        places = [f"({', '.join(cells).replace('-', MINUS)})" for cells in _cells(columns[axes].astype(float), axes)]
        return [" ".join([*who, place]) for who, place in zip(_cells(columns, several), places, strict=True)]
    names = [*several, "roi"] if "roi" in columns else several
    names = names or [str(c) for c in columns.columns if c not in (*NOT_THE_TARGET, "subject")]
    if not names:
        return [f"target {i}" for i in range(1, len(columns) + 1)]
    return [" ".join(cells) for cells in _cells(columns, names)]


def _cells(table: pd.DataFrame, names: list[str]) -> list[list[str]]:
    """Some columns of a table as text, row by row."""
    columns = [[f"{v:g}" if isinstance(v, float) else str(v) for v in table[name]] for name in names]
    return [[column[i] for column in columns] for i in range(len(table))]


def nouns_of(fit: Encoding) -> tuple[str, str]:
    """What a target is, one and many."""
    one, many = things_of(fit.observed.columns)
    return (f"{one} at a lag", f"{many} at lags") if has_lags(fit.observed.columns) else (one, many)


def things_of(columns: pd.DataFrame) -> tuple[str, str]:
    """What targets are, whichever lag they are at.

    Examples
    --------
    >>> things_of(pd.DataFrame({"channel": ["LA3"], "type": "SEEG"})), things_of(pd.DataFrame({"roi": ["LIFG"]}))
    (('electrode', 'electrodes'), ('region', 'regions'))
    """
    if electrode_column(columns):
        types = set(columns["type"].astype(str).str.upper()) if "type" in columns else set()
        if types and all(kind.startswith(OUTSIDE) for kind in types):
            return "sensor", "sensors"
        known = types <= set(INSIDE) and (bool(types) or electrode_column(columns) == "electrode")
        return ("electrode", "electrodes") if known else ("channel", "channels")
    if "roi" in columns:
        several = "subject" in columns and columns["subject"].nunique() > 1
        return ("region of a person", "regions of people") if several else ("region", "regions")
    if {"x", "y", "z"} <= set(columns) or {"i", "j", "k"} <= set(columns):
        return "voxel", "voxels"
    return "target", "targets"


def electrode_column(columns: pd.DataFrame) -> str:
    """The column that names electrodes or sensors; "" where targets are something else."""
    return next((name for name in ELECTRODES if name in columns), "")


def targets_of(fit: Encoding) -> str:
    """The targets, counted: electrodes × lags where each electrode is there at every lag."""
    columns = fit.observed.columns
    if has_lags(columns):
        things, lags = electrodes_of(columns).max() + 1, columns["lag"].nunique()
        if things * lags == len(columns):
            return f"{counted(int(things), things_of(columns))} × {counted(lags, ('lag', 'lags'))}"
    return counted(len(columns), nouns_of(fit))


def electrodes_of(columns: pd.DataFrame) -> np.ndarray:
    """(n_targets,) the number of each target's electrode: targets that differ in lag alone are of one.

    Examples
    --------
    >>> electrodes_of(pd.DataFrame({"channel": ["LA1", "LA1", "LA2"], "x": np.nan, "lag": [0.0, 0.2, 0.0]})).tolist()
    [0, 0, 1]
    """
    own = columns.drop(columns="lag", errors="ignore")
    if own.columns.empty:
        return np.zeros(len(columns), int)
    return own.groupby(list(own), sort=False, dropna=False).ngroup().to_numpy()


def without_lags(columns: pd.DataFrame) -> pd.DataFrame:
    """A row per electrode, whatever its lags; other targets as they are."""
    return columns.drop(columns="lag").drop_duplicates() if "lag" in columns else columns


def has_lags(columns: pd.DataFrame) -> bool:
    """Whether there are electrodes, or whatever targets are, at more than one lag."""
    return "lag" in columns and bool(len(columns)) and int(electrodes_of(columns).max()) + 1 < len(columns)


def event_of(fit: Encoding) -> str:
    """What lags are counted from: a word, or another event."""
    return "word" if "word" in fit.observed.samples else "event"


def samples_of(fit: Encoding) -> tuple[str, str]:
    """What a row of the recording is, one and many."""
    if "lag" in fit.observed.columns:
        what = event_of(fit)
    elif asked(fit, "design", "betas") or asked(fit, "data", "nsd"):
        what = "trial"
    else:
        voltages = asked(fit, "data", "kind", default="fmri") != "fmri" or electrode_column(fit.observed.columns)
        what = "sample" if voltages else "volume"
    return what, f"{what}s"


def people_gains(fit: Encoding) -> pd.Series:
    """Each person's gain in r, mean over targets, by name; empty where there is nothing to compare."""
    which = models_of(fit)
    table = fit.people if len(fit.people) else fit.scores
    if not which.baseline or which.lead == which.baseline or "subject" not in table:
        return pd.Series(dtype=float)
    lead, base = (
        table[table["model"] == m].groupby("subject", sort=False)["r"].mean() for m in (which.lead, which.baseline)
    )
    gains = (lead - base.reindex(lead.index)).dropna()
    return gains if len(gains) > 1 else pd.Series(dtype=float)


def gain_over_targets(fit: Encoding) -> Gain:
    """The mean gain over targets."""
    which = models_of(fit)
    found = _gains(fit, "targets")
    return found[0] if found else Gain(mean_r(fit, which.lead) - mean_r(fit, which.baseline))


def gain_over_people(fit: Encoding) -> Gain:
    """The mean gain over people; NaN where there are none."""
    found = _gains(fit, "people")
    people = people_gains(fit)
    return found[0] if found else Gain(float(people.mean()) if len(people) else float("nan"), n=len(people))


def gain_per_target(fit: Encoding) -> list[Gain]:
    """The gain of every target, in their order."""
    found = _gains(fit, "target")
    if found:
        return found
    which = models_of(fit)
    return [Gain(float(v)) for v in rows_of(fit, which.lead)["r"] - rows_of(fit, which.baseline)["r"]]


def gain_per_person(fit: Encoding) -> list[tuple[str, Gain]]:
    """Name and gain of every person, where they were judged one by one."""
    if fit.gain.empty:
        return []
    names = fit.gain.loc[fit.gain["over"] == "person", "what"].astype(str)
    return list(zip(names, _gains(fit, "person"), strict=True))


def _gains(fit: Encoding, over: str) -> list[Gain]:
    if fit.gain.empty:
        return []
    rows = fit.gain[fit.gain["over"] == over]
    rows = rows.assign(interval=rows["interval"].astype(object).fillna(""))
    return [
        Gain(
            float(row["gain_r"]),
            float(row["low"]),
            float(row["high"]),
            str(row["interval"]),
            float(row["p"]),
            int(row["n"]),
            float(row.get("p_floor", np.nan)),
        )
        for row in records(rows)
    ]


def interval_of(gain: Gain) -> str:
    """The interval as part of a sentence; "" where there is none.

    Examples
    --------
    >>> interval_of(Gain(0.07, 0.01, 0.12, "bootstrap over people"))
    '95 % interval .010 to .120, bootstrap over people'
    """
    if gain.low != gain.low:
        return ""
    return f"95 % interval {span(gain.low, gain.high)}" + f", {gain.kind}" * bool(gain.kind)


def chance_of(gain: Gain) -> str:
    """The p of a gain as part of a sentence; "" where there is none.

    Examples
    --------
    >>> chance_of(Gain(0.07, p=0.031, p_floor=1 / 128)), chance_of(Gain(0.07, p=1 / 128, p_floor=1 / 128))
    ('sign-flip p .031', 'sign-flip p ≤ .0078, the smallest possible')
    """
    if gain.p != gain.p:
        return ""
    return f"sign-flip p {p_value(gain.p, gain.p_floor)}" + ", the smallest possible" * at_floor(gain.p, gain.p_floor)


def parts_of(fit: Encoding, kind: str, column: str = "r2") -> pd.DataFrame:
    """One kind of part of the lead's R² ("product", "unique", "common"): a row per target, a column per part.

    Without columns where the fit has none. Of each part the table holds the targets in their order.
    """
    every = range(fit.observed.shape[1])
    if fit.partition.empty:
        return pd.DataFrame(index=every)
    rows = fit.partition[(fit.partition["kind"] == kind) & (fit.partition["model"] == models_of(fit).lead)]
    parts = {str(part): mine[column].to_numpy(float) for part, mine in rows.groupby("part", sort=False)}
    return pd.DataFrame({part: pd.Series(values) for part, values in parts.items()}, index=every)


def parts_over_ceiling(fit: Encoding, parts: pd.DataFrame) -> pd.Series:
    """Mean of every part over the mean ceiling (both in R²), over the targets whose ceiling is told from zero."""
    rows = rows_of(fit, models_of(fit).lead)
    if "normalised_r2" not in rows:
        return pd.Series(np.nan, parts.columns, dtype=float)
    ceiling = rows["ceiling_r2"].where(rows["normalised_r2"].notna())
    both = {name: pd.DataFrame({"part": parts[name], "ceiling": ceiling}).dropna().mean() for name in parts}
    return pd.Series({name: means["part"] / means["ceiling"] for name, means in both.items()}, dtype=float)


def best_layers(fit: Encoding, most: int = 3) -> pd.DataFrame:
    """The layers with the highest mean r, best first."""
    if fit.layers.empty:
        return fit.layers
    return fit.layers.sort_values("r", ascending=False, kind="stable").head(most)


def axis_of(layers: pd.DataFrame) -> str:
    """What the alternatives differ in: layer, lag or context; "alternative" where nothing says."""
    return next((axis for axis in AXES if axis in layers), "alternative")


def layer_places(layers: pd.DataFrame) -> pd.Series:
    """Each alternative's layer, lag or context; its place in the row where any has none."""
    numbers = layers.get(axis_of(layers), pd.Series(np.nan, layers.index)).astype(float)
    return numbers if numbers.notna().all() else pd.Series(np.arange(len(layers), dtype=float), layers.index)


def records(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """A table row by row."""
    return table.to_dict("records")


def asked(fit: Encoding, *keys: str, default: Any = None) -> Any:
    """A setting by its place, where settings have that place."""
    here: Any = fit.settings
    for key in keys:
        if not isinstance(here, Mapping) or key not in here or here[key] is None:
            return default
        here = here[key]
    return here


def fdr_of(fit: Encoding) -> float:
    """The false discovery rate that was asked for."""
    return float(asked(fit, "inference", "fdr", default=0.05))


def clock_of(fit: Encoding) -> pd.DataFrame:
    """`run` and `time` of every sample, test or not."""
    first = fit.folds[fit.folds["fold"] == fit.folds["fold"].iloc[0]]
    return first[["run", "time"]].reset_index(drop=True)


def tr_of(fit: Encoding) -> float:
    """The spacing of samples, in seconds."""
    steps = clock_of(fit).groupby("run", sort=False)["time"].diff().dropna()
    return float(steps.median()) if len(steps) else float("nan")


def centred_in_fold(values: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Less its mean within every test fold (and run), as `r` is computed; then over its standard deviation."""
    out = values.astype(float)
    for k in np.unique(fold):
        out[fold == k] -= out[fold == k].mean()
    spread = out.std()
    return out / spread if spread > 0 else out
