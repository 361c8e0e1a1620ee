"""When after a word is what predicted: on average, and at each electrode?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from brainalign.encoding.result import Encoding
from brainalign.reporting import drawing
from brainalign.reporting.drawing import BASELINE, CEILING, FULL, INK, QUIET, WIDE, Drawing, draw, short
from brainalign.reporting.found import (
    asked,
    electrodes_of,
    event_of,
    fdr_of,
    labels_of,
    models_of,
    rows_of,
    things_of,
)
from brainalign.reporting.peaks import lag_curves, lag_of_highest
from brainalign.reporting.wording import around, as_typed, counted, number, seconds, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS = 40  # electrodes in the map; of more, the best
ROW = 0.15  # inches that a name in the map takes
LEAST = 4.9  # inches: the height of the curves
FEW = 8  # rows of a map that are as high as it is; fewer leave room below
PAINTED = 1500  # cells; more are painted into one picture
NEAR = 2.2  # times the highest score: a ceiling beyond would flatten the curves, and is said instead


def draw_lags(fit: Encoding) -> Drawing | None:
    """Mean r by lag of the lead and the baseline, what the lead adds, and r of each electrode at each lag."""
    curves = lag_curves(fit)
    if curves.empty or curves["lead"].isna().all():
        return None
    which, cells = models_of(fit), _cells(fit)
    mean = curves["lead"]
    alt = f"Mean r of {which.lead} at {len(mean)} lags from {seconds(mean.index[0])} to {seconds(mean.index[-1])}: "
    alt += f"{number(mean.min())} to {number(mean.max())}, highest at {seconds(lag_of_highest(mean))}"
    if len(cells) > 1:
        peaks = cells.idxmax(axis=1)
        alt += f"; r of {counted(len(cells), things_of(fit.observed.columns))} at each lag, highest between "
        alt += f"{seconds(peaks.min())} and {seconds(peaks.max())}"
    title, note = _title(fit, curves), _note(fit, curves, len(cells))
    return draw("lags", lambda: _lags(fit, curves, cells), title=title, alt=alt + ".", note=note)


def _title(fit: Encoding, curves: pd.DataFrame) -> str:
    which, what, columns = models_of(fit), event_of(fit), fit.observed.columns
    alone = not electrodes_of(columns).any()
    who = labels_of(columns.drop(columns="lag"))[0] if alone else things_of(columns)[1].capitalize()
    follow, are, r = ("follows", "is", "r") if alone else ("follow", "are", "mean r")
    peak, high = lag_of_highest(curves["lead"]), float(curves["lead"].max())
    if high <= 0:
        return f"{who} {follow} {which.added} at no lag: the highest {r} is {number(high)}."
    if curves["gain"].isna().all():
        return f"{who} {follow} {which.added} most {around(peak, what)} ({r} {number(high)})."
    title = f"{who} {are} predicted best {around(peak, what)} ({r} {number(high)}, the baseline "
    title += f"{number(curves['baseline'][peak])}); {which.added} adds "
    most = lag_of_highest(curves["gain"])
    if curves["gain"][most] <= 0:
        return title + "to the baseline at no lag."
    count = "" if alone else f", above the baseline in {curves['above'][most]:,} of {curves['n'][most]:,}"
    return title + f"most {'then' if most == peak else around(most, what)} ({signed(curves['gain'][most])}{count})."


def _note(fit: Encoding, curves: pd.DataFrame, shown: int) -> str:
    columns, peak = fit.observed.columns, lag_of_highest(curves["lead"])
    one, many = things_of(columns)
    whole = int(electrodes_of(columns).max()) + 1
    window = asked(fit, "design", "lags", "window")
    cut = f"a window of {window:g} s" if window else "a window"
    note = f"Lag: from the beginning of the {event_of(fit)} to the middle of {cut}, of which the mean is predicted; "
    note += f"above zero, the brain comes later. Means over {counted(whole, (one, many))}; which lag is highest was "
    note += "seen on the test samples."
    q = rows_of(fit, models_of(fit).lead)["q"][(columns["lag"] == peak).to_numpy()]
    if q.notna().any():
        note += f" At {seconds(peak)}, q < {as_typed(fdr_of(fit))} in {(q < fdr_of(fit)).sum():,} of {len(q):,}."
    if _ceilings(curves).notna().any():
        note += f" Ceiling: mean over those {many} where it can be told from zero, at lags where half or more are."
    if shown > 1:
        some = f"the {shown} best of {whole:,}" if shown < whole else "each"
        note += f" Map: {some}, sorted by the lag of the highest r (dot)."
    return note


def _ceilings(curves: pd.DataFrame) -> pd.Series:
    """The mean ceiling at each lag where at least half have one."""
    return curves["ceiling"].where(2 * curves["told"] >= curves["n"])


def _cells(fit: Encoding) -> pd.DataFrame:
    """The lead's r: a row per electrode by its name, those that peak first on top, a column per lag in s."""
    columns = fit.observed.columns
    electrode, names = electrodes_of(columns), labels_of(columns.drop(columns="lag"))
    r = rows_of(fit, models_of(fit).lead)["r"]
    table = pd.DataFrame({"electrode": electrode, "lag": columns["lag"].to_numpy(float), "r": r})
    cells = table.pivot_table(index="electrode", columns="lag", values="r").reindex(columns=np.unique(table["lag"]))
    cells = cells.loc[cells.max(axis=1).sort_values(ascending=False, kind="stable").index[:ROWS]]
    cells = cells.loc[cells.idxmax(axis=1).sort_values(kind="stable").index]
    first = pd.Series(names).groupby(electrode).first()
    return cells.set_axis(first[cells.index].to_numpy())


def _lags(fit: Encoding, curves: pd.DataFrame, cells: pd.DataFrame) -> Figure:
    compared, several = bool(curves["gain"].notna().any()), len(cells) > 1
    places = [["curve", "map"], ["gain", "map"]] if several else [["curve"], ["gain"]]
    height = max(LEAST, ROW * len(cells) + 1.1)
    shape: dict[str, Any] = {"height_ratios": [2.6, 1.0][: 1 + compared]}
    shape |= {"width_ratios": [1.25, 1.0]} if several else {}
    figure, panels = drawing.new_mosaic(WIDE, height, places[: 1 + compared], **shape)
    edges = _edges(curves.index.to_numpy(float))
    _draw_curves(panels["curve"], fit, curves)
    lowest = panels["curve"]
    if compared:
        lowest = panels["gain"]
        panels["curve"].tick_params(axis="x", labelbottom=False)
        _draw_gains(lowest, curves, edges)
    for panel in [panels["curve"], *([lowest] if compared else [])]:
        drawing.grid_lines(panel)
        drawing.plain_axis(panel)
        _beginning(panel, edges, INK)
    lowest.set_xlabel(f"lag (s); at 0 the {event_of(fit)} begins")
    if several:
        heading = f"r of {short(models_of(fit).lead)} at each {things_of(fit.observed.columns)[0]}"
        panels["map"].set_title(heading, loc="left")
        _draw_cells(figure, panels["map"], cells, edges)
    return figure


def _edges(lags: np.ndarray) -> np.ndarray:
    """The borders of each lag's cell, halfway to its neighbours."""
    middle = (lags[1:] + lags[:-1]) / 2
    return np.concatenate([[2 * lags[0] - middle[0]], middle, [2 * lags[-1] - middle[-1]]])


def _beginning(axes: Axes, edges: np.ndarray, colour: str) -> None:
    """A line where the word begins."""
    axes.set_xlim(edges[0], edges[-1])
    if edges[0] < 0 < edges[-1]:
        axes.axvline(0, color=colour, linewidth=1.0, linestyle=(0, (4, 2)))


def _draw_curves(axes: Axes, fit: Encoding, curves: pd.DataFrame) -> None:
    which, lags = models_of(fit), curves.index.to_numpy(float)
    dots: dict[str, Any] = {"marker": "o" if len(lags) <= 30 else "", "markersize": 4.5}
    axes.plot(lags, curves["lead"], color=FULL, linewidth=2.2, label=short(which.lead), zorder=3, **dots)
    if curves["baseline"].notna().any():
        axes.plot(lags, curves["baseline"], color=BASELINE, linewidth=1.8, label="baseline")
    people = _people(fit)
    for k, name in enumerate(people):
        axes.plot(lags, people[name], color=FULL, linewidth=0.9, alpha=0.4, label="one person" if k == 0 else None)
    drawn = np.concatenate([np.ravel(curves[["lead", "baseline"]].to_numpy(float)), np.ravel(people.to_numpy(float))])
    high, low = float(np.nanmax(drawn)), min(0.0, float(np.nanmin(drawn)))
    ceilings = _ceilings(curves)
    top = float(ceilings.max())
    if top <= NEAR * high:
        axes.plot(lags, ceilings, color=CEILING, linewidth=1.4, linestyle=(0, (6, 3)), label="ceiling")
        high = max(high, top)
    elif top == top:
        axes.text(
            0.99, 0.98, f"ceiling up to {number(top)}, above the axis", transform=axes.transAxes, ha="right", va="top"
        )
    axes.axhline(0, color=QUIET, linewidth=0.8)
    axes.set(ylabel="mean r", ylim=(low * 1.08, max(high, 1e-6) * 1.08))
    drawing.legend_above(axes, ncols=4)


def _people(fit: Encoding) -> pd.DataFrame:
    """Mean r of the lead, a row per lag and a column per person; without columns where there is one."""
    columns = fit.observed.columns
    if "subject" not in columns or columns["subject"].nunique() < 2:
        return pd.DataFrame()
    r = rows_of(fit, models_of(fit).lead)["r"]
    table = columns[["subject", "lag"]].reset_index(drop=True).assign(r=r)
    return table.pivot_table(index="lag", columns="subject", values="r").reindex(index=np.unique(table["lag"]))


def _draw_gains(axes: Axes, curves: pd.DataFrame, edges: np.ndarray) -> None:
    colours = [FULL if gain > 0 else BASELINE for gain in curves["gain"]]
    axes.bar(curves.index.to_numpy(float), curves["gain"].fillna(0), width=0.72 * np.diff(edges).min(), color=colours)
    axes.axhline(0, color=QUIET, linewidth=0.8)
    axes.set_ylabel("gain in r")


def _draw_cells(figure: Figure, axes: Axes, cells: pd.DataFrame, edges: np.ndarray) -> None:
    from matplotlib.colors import Normalize

    colours = Normalize(0, max(float(np.nanmax(cells.to_numpy())), 0.01))
    rows = np.arange(len(cells))
    shown = np.ma.masked_invalid(cells.to_numpy(float))
    look: dict[str, Any] = {"cmap": "cividis", "norm": colours, "rasterized": cells.size > PAINTED}
    look |= {} if cells.size > PAINTED else {"edgecolors": "#ffffff", "linewidth": 0.4}
    mesh = axes.pcolormesh(edges, np.append(rows, len(rows)), shown, **look)
    axes.scatter(cells.idxmax(axis=1), rows + 0.5, s=9, color="#ffffff", edgecolors=INK, linewidths=0.6, zorder=3)
    _beginning(axes, edges, "#ffffff")
    axes.set_ylim(max(len(rows), FEW), 0)
    axes.set_yticks(rows + 0.5, [short(str(name)) for name in cells.index], fontsize=7.4)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set(xlabel="lag (s)")
    drawing.r_bar(figure, mesh, axes, shrink=0.6, pad=0.02)
