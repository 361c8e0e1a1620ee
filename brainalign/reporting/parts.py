"""Which feature earned the score: what is its share of R², and what does it alone explain?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from brainalign.encoding.result import Encoding
from brainalign.reporting import drawing
from brainalign.reporting.drawing import HAIR, INK, LOOKS, OTHERS, QUIET, WIDE, Drawing, Look, draw, short
from brainalign.reporting.found import (
    baseline_bands,
    event_of,
    fdr_of,
    labels_of,
    models_of,
    nouns_of,
    parts_of,
    rows_of,
    targets_of,
    things_of,
)
from brainalign.reporting.peaks import lag_curves
from brainalign.reporting.tables import MANY
from brainalign.reporting.wording import DASH, as_typed, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = len(LOOKS)  # features drawn apart; beyond, the least of them are drawn together
LOST = 0.3  # of a panel's width; what reaches less far is drawn on a larger scale of its own
HEADS = {
    "product": "product part:\nadds up to the joint R²",
    "unique": "unique part:\nwhat it alone explains",
}


def draw_partition(fit: Encoding) -> Drawing | None:
    """Product and unique part of every feature: target by target, or their distribution where targets are many."""
    kinds = {kind: parts_of(fit, kind) for kind in HEADS}
    kinds = {kind: parts for kind, parts in kinds.items() if parts.notna().any(axis=None)}
    names = list(dict.fromkeys(str(name) for parts in kinds.values() for name in parts))
    if len(names) < 2:
        return None
    many, lags = fit.observed.shape[1] > MANY, not lag_curves(fit).empty
    looks, others = looks_of(fit, names, next(iter(kinds.values())))
    note = " ".join(filter(None, [_how_to_read(fit, kinds, many, lags), _of_others(others)]))
    means = "; ".join(
        f"mean {kind} R² " + ", ".join(f"{name} {number(value, 3)}" for name, value in parts.mean().items())
        for kind, parts in kinds.items()
    )
    figure = _over_lags if lags else _strips if many else _rows
    return draw("parts", lambda: figure(fit, kinds, looks), title=_title(fit, kinds), alt=f"{means}.", note=note)


def _title(fit: Encoding, kinds: dict[str, pd.DataFrame]) -> str:
    over = f"on average over {targets_of(fit)}"
    over = over if fit.observed.shape[1] > 1 else f"in {labels_of(fit.observed.columns)[0]}"
    unique = kinds["unique"].mean() if "unique" in kinds else pd.Series(dtype=float)
    if "product" not in kinds and unique.max() <= 0:
        return f"No feature alone explains anything {over}."
    if "product" not in kinds:
        return f"{unique.idxmax()} alone explains most: R² {number(unique.max(), 3)} {over}."
    product, joint = kinds["product"].mean(), float(rows_of(fit, models_of(fit).lead)["r2"].mean())
    best = str(product.idxmax())
    if product[best] <= 0:
        return f"No feature earned anything {over} (joint R² {number(joint, 3)})."
    title = f"{best} earned most, {number(product[best], 3)} of a joint R² of {number(joint, 3)} {over}"
    if best in unique:
        title += f"; what it alone explains is {number(unique[best], 3)}"
    return title + "."


def _how_to_read(fit: Encoding, kinds: dict[str, pd.DataFrame], many: bool, lags: bool) -> str:
    if lags:
        return (
            f"At each lag the mean over {things_of(fit.observed.columns)[1]}; dashed line: the {event_of(fit)} begins."
        )
    if many:
        return (
            f"Line: from the 5th to the 95th percentile of {nouns_of(fit)[1]}; box: the middle half; "
            "stroke and number: the median."
        )
    note = "Joint R²: black stroke, the sum of the product parts, negative ones (left of 0) included. "
    note *= "product" in kinds
    if "unique" in kinds:
        note += "Whiskers: 95 % interval, given the fitted models. " * _any(parts_of(fit, "unique", "low"))
        note += f"Filled: q < {as_typed(fdr_of(fit))}; hollow: not. " * _any(parts_of(fit, "unique", "q"))
    return note.strip()


def _any(parts: pd.DataFrame) -> bool:
    return bool(parts.notna().any(axis=None))


def _of_others(others: list[str]) -> str:
    return f"Others: {len(others)} features with smaller parts, drawn together; the table has each." if others else ""


def looks_of(fit: Encoding, names: Sequence[str], parts: pd.DataFrame) -> tuple[dict[str, Look], list[str]]:
    """How each feature is painted, in the order they come, and which are left for the others.

    Blue for the first that is added and grey for the first of the baseline, as elsewhere on the page.
    """
    size = parts.mean().abs().reindex(list(names)).fillna(0).sort_values(ascending=False, kind="stable")
    shown = [name for name in names if len(names) <= MOST or name in size.index[: MOST - 1]]
    base = [name for name in shown if name in baseline_bands(fit)]
    added = [name for name in shown if name not in base]
    painted = dict(zip(dict.fromkeys([*added[:1], *base[:1], *shown]), LOOKS, strict=False))
    return {name: painted[name] for name in shown}, [name for name in names if name not in shown]


def _drawn(parts: pd.DataFrame, looks: dict[str, Look]) -> tuple[pd.DataFrame, dict[str, Look]]:
    """The parts to draw, those of the others summed."""
    rest = parts[[name for name in parts if name not in looks]]
    shown = parts[[name for name in looks if name in parts]]
    if rest.columns.empty:
        return shown, looks
    called = f"{len(rest.columns)} others"
    return shown.assign(**{called: rest.sum(axis=1, skipna=False)}), {**looks, called: OTHERS}


def _panels(kinds: dict[str, pd.DataFrame], spans: dict[str, tuple[float, float]], height: float) -> tuple[Figure, Any]:
    """A panel for each kind, side by side; an inch means the same R² in both, unless one would be lost in its panel."""
    reach = np.array([high - low for low, high in spans.values()])
    wide = (reach / reach.sum()).clip(0.36, 0.64) if len(reach) > 1 else np.ones(1)
    figure, axes = drawing.new_figure(WIDE, height, columns=wide.tolist())
    panels = dict(zip(kinds, np.atleast_1d(axes), strict=True))
    alike = float((reach / wide).max())
    for (kind, panel), share in zip(panels.items(), wide, strict=True):
        low, high = spans[kind]
        lost = bool(high - low < LOST * alike * share)
        panel.set_xlim(low, high if lost else max(high, low + alike * share))
        panel.set_title(HEADS[kind], loc="left", color=INK, fontweight="bold", linespacing=1.1)
        panel.set_xlabel("R², held out" + " (enlarged)" * lost)
        panel.axvline(0, color=QUIET, linewidth=0.9, zorder=1.5)
        panel.tick_params(axis="y", length=0)
        drawing.grid_lines(panel, "x")
        drawing.plain_axis(panel, "x")
    return figure, panels


def _span(*values: Any) -> tuple[float, float]:
    """What an axis has to reach, zero and some air included."""
    every = np.concatenate([np.ravel(np.asarray(v, float)) for v in values])
    every = np.append(every[np.isfinite(every)], 0.0)
    air = 0.04 * max(np.ptp(every), 1e-6)
    return float(every.min() - air), float(every.max() + air)


def _rows(fit: Encoding, kinds: dict[str, pd.DataFrame], looks: dict[str, Look]) -> Figure:
    """Product parts end to end on the left, unique parts with their intervals on the right; a row for each target."""
    labels = [short(name) for name in labels_of(fit.observed.columns)]
    place = np.arange(len(labels))
    joint = rows_of(fit, models_of(fit).lead)["r2"].to_numpy(float)
    spans = {}
    if "product" in kinds:
        parts = kinds["product"]
        spans["product"] = _span(parts.clip(lower=0).sum(axis=1), parts.clip(upper=0).sum(axis=1), joint)
    low, high = parts_of(fit, "unique", "low"), parts_of(fit, "unique", "high")
    if "unique" in kinds:
        spans["unique"] = _span(*(table[[n for n in looks if n in table]] for table in (kinds["unique"], low, high)))
    each = max(0.42, 0.085 * len(looks) + 0.1)
    figure, panels = _panels(kinds, spans, each * max(len(labels), 2) + 1.9)
    for k, (kind, panel) in enumerate(panels.items()):
        if kind == "product":
            _stacked(panel, place, *_drawn(kinds[kind], looks), joint)
        else:
            _marked(panel, place, fit, kinds[kind], looks)
        panel.set_yticks(place, labels if k == 0 else [""] * len(labels))
        panel.set_ylim(len(labels) - 0.5, -0.5)
        for edge in place[1:] - 0.5:
            panel.axhline(edge, color=HAIR, linewidth=0.7, zorder=0.5)
    everything = _drawn(kinds["product"], looks)[1] if "product" in kinds else looks
    _legend(figure, everything, list(kinds))
    return figure


def _stacked(axes: Axes, place: np.ndarray, parts: pd.DataFrame, looks: dict[str, Look], joint: np.ndarray) -> None:
    """Positive parts to the right of zero and negative ones to its left; a stroke where their sum lies."""
    ends = {True: np.zeros(len(place)), False: np.zeros(len(place))}
    for name in parts:
        values = parts[name].fillna(0).to_numpy(float)
        left = np.where(values >= 0, ends[True], ends[False])
        axes.barh(place, values, 0.56, left=left, **_paint(looks[str(name)]), zorder=2)
        ends[True] += values.clip(min=0)
        ends[False] += values.clip(max=0)
    axes.vlines(joint, place - 0.42, place + 0.42, color=INK, linewidth=2.2, zorder=3)
    for k in np.flatnonzero(parts.isna().all(axis=1)):
        axes.text(0, place[k], f" {DASH}", va="center")


def _marked(axes: Axes, place: np.ndarray, fit: Encoding, parts: pd.DataFrame, looks: dict[str, Look]) -> None:
    """A mark for each feature with its interval, hollow where it cannot be told from zero."""
    names = [name for name in looks if name in parts]
    low, high, q = (parts_of(fit, "unique", column) for column in ("low", "high", "q"))
    told = (q < fdr_of(fit)) | (not _any(q))
    for k, name in enumerate(names):
        at = place + (k - (len(names) - 1) / 2) * min(0.84 / len(names), 0.26)
        axes.hlines(at, low[name], high[name], color=INK, linewidth=1.1, zorder=2)
        for hollow in (False, True):
            mask = (told[name] != hollow).to_numpy()
            colour = "#ffffff" if hollow else looks[name].colour
            size: dict[str, Any] = {"s": 34 if len(names) < 5 else 24, "marker": looks[name].marker}
            axes.scatter(
                parts[name][mask], at[mask], **size, facecolors=colour, edgecolors=INK, linewidths=0.9, zorder=3
            )


def _paint(look: Look) -> dict[str, Any]:
    return {"facecolor": look.colour, "edgecolor": "#ffffff" if look is not OTHERS else QUIET, "hatch": look.hatch}


def _legend(figure: Figure, looks: dict[str, Look], kinds: list[str]) -> None:
    """Every feature with its bar and its mark, above all panels."""
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    for look in looks.values():
        mark: dict[str, Any] = {"marker": look.marker, "markerfacecolor": look.colour, "markeredgecolor": INK}
        bar = [Patch(**_paint(look))] * ("product" in kinds)
        handles.append(
            (*bar, *[Line2D([], [], linestyle="", markersize=6, **mark)] * ("unique" in kinds and look.marker != ""))
        )
    names = [short(name) for name in looks]
    if "product" in kinds:
        handles.append((Line2D([], [], linestyle="", marker="|", color=INK, markersize=11, markeredgewidth=2.2),))
        names.append("joint R²")
    room: Any = {"ncols": int(np.clip(100 // (max(map(len, names)) + 8), 1, 6)), "columnspacing": 1.4}
    figure.legend(
        handles,
        names,
        loc="outside upper left",
        handler_map={tuple: HandlerTuple(ndivide=None)},
        **room,
        handlelength=2.2,
    )


def _strips(fit: Encoding, kinds: dict[str, pd.DataFrame], looks: dict[str, Look]) -> Figure:
    """For each feature where most targets lie."""
    joint = rows_of(fit, models_of(fit).lead)["r2"].rename("joint R²")
    drawn, every = {}, dict(looks)
    for kind, parts in kinds.items():
        drawn[kind], named = (
            _drawn(parts, looks) if kind == "product" else (parts[[n for n in looks if n in parts]], looks)
        )
        every |= named
    marks = {kind: parts.quantile([0.05, 0.25, 0.5, 0.75, 0.95]) for kind, parts in drawn.items()}
    first = next(iter(kinds))
    if first == "product":
        marks[first] = marks[first].assign(**{"joint R²": joint.quantile([0.05, 0.25, 0.5, 0.75, 0.95])})
    rows = [*every, *(["joint R²"] if first == "product" else [])]
    spans = {kind: _span(table) for kind, table in marks.items()}
    figure, panels = _panels(kinds, spans, 0.46 * len(rows) + 1.3)
    for kind, panel in panels.items():
        for k, name in enumerate(rows):
            if name in marks[kind]:
                _strip(panel, k, marks[kind][name].to_numpy(float), every.get(name))
        panel.set_yticks(range(len(rows)), [short(n) for n in rows] if kind == first else [""] * len(rows))
        panel.set_ylim(len(rows) - 0.5, -0.5)
    return figure


def _over_lags(fit: Encoding, kinds: dict[str, pd.DataFrame], looks: dict[str, Look]) -> Figure:
    """For each feature its mean part at each lag, a panel for each kind."""
    lag = fit.observed.columns["lag"].to_numpy(float)
    drawn = {kind: _drawn(parts, looks)[0] if kind == "product" else parts for kind, parts in kinds.items()}
    means = {kind: parts.groupby(lag).mean() for kind, parts in drawn.items()}
    joint = rows_of(fit, models_of(fit).lead)["r2"].groupby(lag).mean()
    everything = _drawn(kinds["product"], looks)[1] if "product" in kinds else looks
    figure, axes = drawing.new_figure(WIDE, 4.6, columns=[1.0] * len(kinds))
    for (kind, table), panel in zip(means.items(), np.atleast_1d(axes), strict=True):
        if kind == "product":
            panel.plot(joint.index, joint, color=INK, linewidth=2.2, label="joint R²")
        for name in (one for one in everything if one in table):
            look = everything[name]
            dark = look.colour if look is not OTHERS else QUIET
            dots: dict[str, Any] = {"marker": look.marker or None, "markersize": 5, "markeredgecolor": INK}
            panel.plot(
                table.index, table[name], color=dark, linewidth=1.8, markeredgewidth=0.6, label=short(name), **dots
            )
        panel.axhline(0, color=QUIET, linewidth=0.9)
        if lag.min() < 0 < lag.max():
            panel.axvline(0, color=INK, linewidth=1.0, linestyle=(0, (4, 2)))
        panel.set_title(HEADS[kind], loc="left", color=INK, fontweight="bold", linespacing=1.1)
        panel.set(xlabel="lag (s)", ylabel="mean R², held out")
        drawing.grid_lines(panel)
        drawing.plain_axis(panel)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
    return figure


def _strip(axes: Axes, at: int, marks: np.ndarray, look: Look | None) -> None:
    """One distribution: line, box, median, and the median in figures."""
    axes.hlines(at, marks[0], marks[4], color=QUIET, linewidth=1.6, zorder=2)
    paint: dict[str, Any] = _paint(look) if look else {"facecolor": "#ffffff", "edgecolor": INK}
    axes.barh(at, marks[3] - marks[1], 0.5, left=marks[1], **paint, zorder=2.5)
    axes.vlines(marks[2], at - 0.34, at + 0.34, color=INK, linewidth=2.2, zorder=3)
    axes.text(1.01, at, number(marks[2], 3), transform=axes.get_yaxis_transform(), va="center", fontsize=9.5)
