"""How do the scores look: by layer, by target, by person?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from brainalign.encoding.result import Encoding
from brainalign.reporting import drawing
from brainalign.reporting.drawing import (
    BASELINE,
    CEILING,
    FULL,
    FULL_PALE,
    HAIR,
    HALF,
    INK,
    QUIET,
    WIDE,
    Drawing,
    draw,
    short,
)
from brainalign.reporting.found import (
    axis_of,
    ceiling_of,
    chance_of,
    gain_over_people,
    has_lags,
    interval_of,
    labels_of,
    layer_places,
    mean_r,
    models_of,
    nouns_of,
    people_gains,
    rows_of,
    targets_of,
)
from brainalign.reporting.peaks import at_peaks
from brainalign.reporting.tables import MANY
from brainalign.reporting.wording import number, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNITS = {"lag": " s"}  # of an axis of alternatives
SIDE_BY_SIDE = 44  # letters of all names together
DRAWN_AS_SHAPES = 1500  # targets; more are painted into one picture, or the page grows heavy


def draw_layers(fit: Encoding) -> Drawing | None:
    """Mean r of every layer against baseline, nested choice and ceiling; below, how often each was chosen."""
    if len(fit.layers) < 2 or fit.layers["r"].isna().all():
        return None
    which = models_of(fit)
    best = int(np.nanargmax(fit.layers["r"]))
    place = layer_places(fit.layers)
    axis = axis_of(fit.layers)
    title = f"{axis.capitalize()} {place.iloc[best]:g}{UNITS.get(axis, '')}"
    title += f" of {place.max():g} predicts best " if axis == "layer" else " predicts best "
    title += f"(r {number(fit.layers['r'].iloc[best])}, seen on the test samples)"
    if which.lead == "full":
        title += f"; choosing the {axis} without looking at them gives {number(mean_r(fit, 'full'))}"
    if which.baseline:
        title += f", the baseline {number(mean_r(fit, which.baseline))}"
    ceiling = ceiling_of(fit)[0]
    r = fit.layers["r"]
    alt = f"Mean r of {len(r)} {axis}s, from {number(r.min())} to {number(r.max())}"
    alt += f"; ceiling {number(ceiling)}." if ceiling == ceiling else "."
    note = f"Mean over {targets_of(fit)}; every {axis} beside the baseline's features."
    if fit.layers["r_low"].notna().any() if "r_low" in fit.layers else False:
        note += " Band: 95 % interval, given the fitted models."
    if "chosen" in fit.layers:
        note += f" Below: share of folds and targets in which the inner folds chose the {axis}."
    return draw("layers", lambda: _layers(fit), title=title + ".", alt=alt, note=note)


def _layers(fit: Encoding) -> Figure:
    chosen = "chosen" in fit.layers and fit.layers["chosen"].notna().any()
    figure, axes = drawing.new_figure(WIDE, 5.2 if chosen else 4.2, rows=[3.4, 1.0] if chosen else None)
    top = axes[0] if chosen else axes
    axis, place = axis_of(fit.layers), layer_places(fit.layers).sort_values(kind="stable")
    table = fit.layers.loc[place.index]
    x, r = place.to_numpy(float), table["r"].to_numpy(float)
    if "r_low" in table and table["r_low"].notna().any():
        top.fill_between(x, table["r_low"].astype(float), table["r_high"].astype(float), color=FULL_PALE, linewidth=0)
    top.plot(x, r, color=FULL, linewidth=2.2, marker="o", markersize=4.5, clip_on=False)
    which = models_of(fit)
    levels: list[tuple[float, str, str, Any, float]] = []
    if which.baseline:
        levels.append((mean_r(fit, which.baseline), "baseline", QUIET, "-", 1.8))
    if which.lead == "full":
        levels.append((mean_r(fit, "full"), f"{axis} chosen\nin inner folds", FULL, (0, (1, 1.2)), 1.8))
    high = np.nanmax([*r, *table.get("r_high", pd.Series(dtype=float)), *(v for v, *_ in levels)])
    low = min(0.0, np.nanmin([*r, *table.get("r_low", pd.Series(dtype=float)), *(v for v, *_ in levels)]))
    ceiling = ceiling_of(fit)[0]
    if ceiling <= 2.2 * high:
        levels.append((ceiling, "ceiling", CEILING, (0, (6, 3)), 1.4))
        high = max(high, ceiling)
    elif ceiling == ceiling:
        top.set_title(f"ceiling {number(ceiling)}, above the axis", loc="right", color=INK)
    _levels(top, x, levels, 0.055 * (1.08 * high - low))
    top.set_ylim(low * 1.08, high * 1.08)
    _layer_axes(top, x, "mean r")
    if chosen:
        axes[1].bar(x, 100 * table["chosen"].to_numpy(float), width=0.72 * _spacing(x), color=FULL)
        _layer_axes(axes[1], x, "chosen (%)")
        axes[1].set_ylim(0, None)
        top.tick_params(axis="x", labelbottom=False)
    (axes[1] if chosen else top).set_xlabel(f"{axis} (s)" if axis in UNITS else axis)
    return figure


def _levels(axes: Axes, x: np.ndarray, levels: list[tuple[float, str, str, Any, float]], least: float) -> None:
    """Horizontal lines, each named at its right end; names are moved apart where they would touch."""
    placed = -np.inf
    for value, name, colour, dashes, width in sorted(levels):
        axes.axhline(value, color=colour, linestyle=dashes, linewidth=width)
        lines = name.count("\n") + 1
        at = max(value, placed + least * (1 + lines) / 2)
        placed = at + least * (lines - 1) / 2
        text = f"{number(value)} {name}"
        look = {"color": colour, "va": "center", "fontweight": "bold", "fontsize": 9.5}
        axes.text(1.008, at, text, transform=axes.get_yaxis_transform(), **look)


def _layer_axes(axes: Axes, x: np.ndarray, label: str) -> None:
    drawing.grid_lines(axes)
    if "r" in label.split():
        drawing.plain_axis(axes)
    axes.set_ylabel(label)
    step = max(1, int(np.ceil(len(x) / 16)))
    axes.set_xticks(x[::step])
    axes.set_xlim(x.min() - _spacing(x) / 2, x.max() + _spacing(x) / 2)


def _spacing(x: np.ndarray) -> float:
    """The least distance of two places; 1 where there is one place."""
    steps = np.diff(np.unique(x))
    return float(steps.min()) if len(steps) else 1.0


def draw_targets(fit: Encoding) -> Drawing | None:
    """Bars per target, each electrode at its best lag; a distribution where they are many."""
    which, picked = models_of(fit), has_lags(fit.observed.columns)
    fit = at_peaks(fit)
    lead = rows_of(fit, which.lead)
    known = lead["r"].dropna()
    if known.empty:
        return None
    many = len(lead) > MANY
    labels, (one, several) = labels_of(fit.observed.columns), nouns_of(fit)
    best, worst = (labels[int(pick(lead["r"]))] for pick in (np.nanargmax, np.nanargmin))
    if many:
        title = f"Half of {len(known):,} {several} are predicted with r above {number(known.median())}"
        title += " at their best lag" * picked + f", the best, {best}, with {number(known.max())}"
    elif len(known) == 1:
        title = f"{best} is predicted with r {number(known.max())}"
    else:
        title = f"{best} is predicted best (r {number(known.max())}), {worst} least (r {number(known.min())})"
    compared = bool(which.baseline) and which.baseline != which.lead
    if compared:
        base = rows_of(fit, which.baseline)["r"]
        above = int((lead["r"] > base).sum())
        title += f"; {which.added} adds to the baseline in {above:,} of {len(lead):,}"
    note = "" if many else "Whiskers: 95 % interval, given the fitted models. " * bool(lead["r_low"].notna().any())
    if lead["ceiling_r"].notna().any():
        note += "Dashed: the ceiling, what a perfect model could reach. " if not many else ""
    note += f"Each {one} at the lag where r of {which.lead} is highest on the test samples, which flatters it." * picked
    alt = f"r of {which.lead} per {one}, from {number(known.min())} to {number(known.max())}, "
    alt += f"mean {number(known.mean())}."
    figure = (lambda: _distribution(fit)) if many else (lambda: _bars(fit))
    return draw("targets", figure, title=title + ".", alt=alt, note=note.strip())


def _bars(fit: Encoding) -> Figure:
    """Horizontal where names are many or long, so that they can be read; upright otherwise."""
    which = models_of(fit)
    labels = labels_of(fit.observed.columns)
    flat = len(labels) > 8 or max(map(len, labels)) > 12 or sum(map(len, labels)) > SIDE_BY_SIDE
    names = [name for name in (which.baseline, which.lead) if name]
    names = list(dict.fromkeys(names))
    figure, axes = drawing.new_figure(HALF, max(4.3, 0.42 * len(labels) + 1.2) if flat else 4.3)
    place = np.arange(len(labels))
    thick = 0.76 / len(names)
    for k, name in enumerate(names):
        rows = rows_of(fit, name)
        at = place + (k - (len(names) - 1) / 2) * thick
        colour = FULL if name == which.lead else BASELINE
        bars = axes.barh if flat else axes.bar
        bars(at, rows["r"].fillna(0), thick * 0.94, color=colour, label=_model_label(fit, name))
        _whiskers(axes, at, rows, flat)
    _ceiling_marks(axes, place, rows_of(fit, which.lead), flat)
    (axes.set_yticks if flat else axes.set_xticks)(place, [short(name) for name in labels])
    if not flat and len(labels) < 4:
        axes.set_xlim(-1.6, len(labels) + 0.6)  # or two bars would be as wide as the figure
    axes.tick_params(axis="y" if flat else "x", length=0)
    (axes.set_xlabel if flat else axes.set_ylabel)("r, observed with predicted")
    if flat:
        axes.invert_yaxis()
    value = "x" if flat else "y"
    drawing.grid_lines(axes, value)
    drawing.plain_axis(axes, value)
    (axes.axvline if flat else axes.axhline)(0, color=QUIET, linewidth=0.8)
    drawing.legend_above(axes)
    return figure


def _whiskers(axes: Axes, at: np.ndarray, rows: pd.DataFrame, flat: bool) -> None:
    low, high = rows["r_low"].to_numpy(float), rows["r_high"].to_numpy(float)
    if np.isfinite(low).any():
        (axes.hlines if flat else axes.vlines)(at, low, high, color=INK, linewidth=1.1)


def _ceiling_marks(axes: Axes, place: np.ndarray, rows: pd.DataFrame, flat: bool) -> None:
    """A dashed line over each target's bars; dotted where the ceiling cannot be told from zero."""
    ceiling = rows["ceiling_r"].to_numpy(float)
    told = rows["normalised_r"].notna().to_numpy()
    lines = axes.vlines if flat else axes.hlines
    for mask, dashes, label in ((told, (0, (3, 1.6)), "ceiling"), (~told, (0, (1, 1.6)), "not above 0")):
        use = mask & np.isfinite(ceiling)
        if use.any():
            look: dict[str, Any] = {"color": CEILING, "linewidth": 1.7, "linestyle": dashes, "label": label}
            lines(ceiling[use], place[use] - 0.42, place[use] + 0.42, **look)


def _model_label(fit: Encoding, name: str) -> str:
    which = models_of(fit)
    if name != "full":
        return name
    return short("baseline + " * bool(which.baseline) + which.added)


def _distribution(fit: Encoding) -> Figure:
    """A histogram of r; beside it, target by target, the lead against the baseline, or against the ceiling."""
    which = models_of(fit)
    lead = rows_of(fit, which.lead)
    r = lead["r"].to_numpy(float)
    compared = bool(which.baseline) and which.baseline != which.lead
    against = rows_of(fit, which.baseline)["r"].to_numpy(float) if compared else lead["ceiling_r"].to_numpy(float)
    second = np.isfinite(against).any()
    figure, axes = drawing.new_figure(WIDE, 3.7, columns=[1.6, 1.0] if second else None)
    left = axes[0] if second else axes
    both = np.concatenate([r, against]) if compared else r
    low, high = np.nanmin(both), np.nanmax(both)
    edges = np.linspace(low, high if high > low else low + 1, int(np.clip(2 * np.sqrt(len(r)), 10, 40)) + 1)
    if compared:
        left.hist(against[np.isfinite(against)], edges, color=BASELINE, alpha=0.75, label="baseline")
    left.hist(r[np.isfinite(r)], edges, histtype="step", color=FULL, linewidth=1.8, label=_model_label(fit, which.lead))
    left.axvline(float(np.nanmedian(r)), color=FULL, linewidth=1.2, linestyle=(0, (1, 1.2)))
    left.set(xlabel="r", ylabel=f"number of {nouns_of(fit)[1]}")
    drawing.legend_above(left)
    drawing.grid_lines(left)
    drawing.plain_axis(left, "x")
    if second:
        _pairs(axes[1], against, r, "r of baseline" if compared else "ceiling r", f"r of {which.lead}")
    return figure


def _pairs(axes: Axes, x: np.ndarray, y: np.ndarray, x_label: str, y_label: str) -> None:
    axes.scatter(x, y, s=7, color=FULL, alpha=0.45, linewidths=0, rasterized=len(x) > DRAWN_AS_SHAPES)
    ends = [np.nanmin([np.nanmin(x), np.nanmin(y)]), np.nanmax([np.nanmax(x), np.nanmax(y)])]
    axes.plot(ends, ends, color=QUIET, linewidth=1)
    axes.set(xlabel=x_label, ylabel=y_label, aspect="equal")
    for axis in ("x", "y"):
        drawing.plain_axis(axes, axis)
    axes.grid(color=HAIR, linewidth=0.7)
    axes.set_axisbelow(True)


def draw_people(fit: Encoding) -> Drawing | None:
    """Each person's gain, and the mean over people with its interval."""
    gains = people_gains(fit)
    if gains.empty:
        return None
    whole = gain_over_people(fit)
    title = f"{(gains > 0).sum()} of {len(gains)} people are predicted better with {models_of(fit).added} "
    title += f"({', '.join(filter(None, (f'mean gain {signed(whole.value)}', chance_of(whole))))})"
    alt = f"Gain in r of {len(gains)} people, from {signed(gains.min())} to {signed(gains.max())}, "
    alt += f"mean {signed(whole.value)}."
    note = "Each dot: one person, fitted alone and scored against their own responses, mean over targets."
    if whole.low == whole.low:
        note += f" Diamond: mean with its {interval_of(whole)}."
    return draw("people", lambda: _people(gains, whole), title=title + ".", alt=alt, note=note)


def _people(gains: pd.Series, whole: Any) -> Figure:
    ranked = gains.sort_values(kind="stable")
    named = len(ranked) <= 60
    figure, axes = drawing.new_figure(WIDE, 3.5)
    x = np.arange(len(ranked))
    axes.axhline(0, color=QUIET, linewidth=1)
    axes.vlines(x, 0, ranked, color=HAIR, linewidth=1.6)
    axes.scatter(x, ranked, s=52, c=[FULL if g > 0 else BASELINE for g in ranked], zorder=3, linewidths=0)
    aside = len(ranked) + 0.6
    if whole.low == whole.low:
        axes.vlines(aside, whole.low, whole.high, color=INK, linewidth=2.2)
    axes.scatter([aside], [whole.value], s=80, marker="D", color=INK, zorder=3)
    axes.set_xticks([*(x if named else []), aside], [*(ranked.index if named else []), "mean"])
    axes.tick_params(axis="x", length=0)
    if named and max(len(str(name)) for name in ranked.index) * len(ranked) > 110:
        axes.tick_params(axis="x", labelrotation=90)
    axes.set(ylabel="gain in r", xlabel="person" if named else "people, by gain", xlim=(-0.8, aside + 0.8))
    axes.spines["bottom"].set_visible(False)
    drawing.grid_lines(axes)
    drawing.plain_axis(axes)
    return figure
