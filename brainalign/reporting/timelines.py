"""How does the design look in time: words, features and delays, the folds, observed beside predicted?"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from brainalign.encoding.result import Encoding
from brainalign.reporting import drawing
from brainalign.reporting.drawing import BASELINE, FULL, FULL_PALE, HAIR, INK, QUIET, TEST, TRAIN, WIDE, Drawing, draw
from brainalign.reporting.found import (
    asked,
    centred_in_fold,
    clock_of,
    labels_of,
    models_of,
    rows_of,
    samples_of,
    tr_of,
)
from brainalign.reporting.wording import counted, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORDS = 84  # more cannot be read in the width of the page
WORD_PT = 8.0  # from one upright word to the next
LOBES = 3  # of the Lanczos window, in volumes
ROW_OF_VOLUMES = 420  # of the time course; more cannot be told apart
ROWS = 4


def draw_excerpt(fit: Encoding) -> Drawing | None:
    """Half a minute of the design: events, a feature of theirs, its value per volume, and the delays.

    Of samples that are many a second only as many as can be told apart.
    """
    table = fit.excerpt
    if table.empty or not {"event", "volume"} <= set(table["kind"]):
        return None
    events, volumes = _window(table)
    if len(events) < 2 or len(volumes) < 3:
        return None
    feature = str(table["feature"].iloc[0])
    delays = [int(d) for d in asked(fit, "design", "delays_volumes", default=[0])]
    kernel = str(table["kernel"].iloc[0]) if "kernel" in table else ""
    tr = float(volumes["time"].diff().median())
    span = [min(delays) * tr, max(delays) * tr]
    what = "words" if _has_text(events) else "events"
    earlier = f"{span[0]:g} to {span[1]:g} s" if span[1] > span[0] else f"{span[1]:g} s"
    one, many = samples_of(fit)
    title = f"From {what} to {many}: each {one} is predicted from the {what}" + f" {earlier} earlier" * (span[1] > 0)
    alt = f"{counted(len(events), ('event', 'events'))}, their {feature}, its value in each of "
    alt += f"{counted(len(volumes), (one, many))} of {tr:g} s, and its {len(delays)} delayed copies."
    note = f"Orange: one {one}; the {what} that enter it, its value, and where its delayed copies stand in the design "
    note += "matrix. Every other feature takes the same way."

    def figure() -> Figure:
        return _excerpt(events, volumes, feature, delays, kernel, tr, one)

    return draw("excerpt", figure, title=title + ".", alt=alt, note=note)


def _window(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first run's events and volumes, as far as words can be read."""
    first = table[table["run"].astype(str) == str(table["run"].iloc[0])]
    events = first[first["kind"] == "event"].sort_values("time").head(WORDS)
    volumes = first[first["kind"] == "volume"].sort_values("time").head(ROW_OF_VOLUMES)
    if events.empty or volumes.empty:
        return events, volumes
    events = events[events["time"] <= volumes["time"].iloc[-1]]
    if events.empty:
        return events, volumes
    last = events.iloc[-1]
    end = last["time"] + (last["duration"] if last["duration"] == last["duration"] else 0)
    return events, volumes[volumes["time"] <= end]


def _excerpt(
    events: pd.DataFrame, volumes: pd.DataFrame, feature: str, delays: list[int], kernel: str, tr: float, noun: str
) -> Figure:
    has_text = _has_text(events)
    heights = [1.0 if has_text else 0.3, 0.7, 1.0, 0.26 * len(delays) + 0.1]
    figure, axes = drawing.new_figure(WIDE, sum(heights) + 0.9, rows=heights)
    ends = (min(volumes["time"].iloc[0], events["time"].iloc[0]) - tr / 2, volumes["time"].iloc[-1] + tr / 2)
    onset, value = events["time"].to_numpy(float), events["value"].to_numpy(float)
    clock, resampled = volumes["time"].to_numpy(float), volumes["value"].to_numpy(float)
    picked = min(len(clock) // 2, max(len(clock) - max(delays) - 2, 1))
    reach = LOBES * tr if kernel == "lanczos" else tr / 2
    inside = np.abs(onset - clock[picked]) < reach
    _words(axes[0], events, inside, ends)
    colours = [TEST if i else QUIET for i in inside]
    axes[1].vlines(onset, 0, value, color=colours, linewidth=1.5)
    axes[1].scatter(onset, value, s=9, color=colours, linewidths=0)
    axes[1].set_ylabel(f"{feature}\nper event")
    axes[2].bar(clock, resampled, width=tr * 0.86, color=[TEST if i == picked else TRAIN for i in range(len(clock))])
    _kernel(axes[2], clock[picked], resampled, kernel, tr)
    axes[2].set_ylabel(f"{feature}\nper {noun}")
    _delays(axes[3], clock, resampled, delays, picked, tr)
    for k, one in enumerate(axes):
        one.set_xlim(*ends)
        one.tick_params(axis="x", labelbottom=k == 3, length=3 if k == 3 else 0)
        one.spines["bottom"].set_visible(k != 0)
    axes[3].set_xlabel("time in the run (s)")
    figure.align_ylabels(list(axes))
    return figure


def _has_text(events: pd.DataFrame) -> bool:
    return any(_written(events))


def _written(events: pd.DataFrame) -> list[str]:
    return [word if isinstance(word, str) else "" for word in events["text"]]


def _words(axes: Axes, events: pd.DataFrame, inside: np.ndarray, ends: tuple[float, float]) -> None:
    """Ticks at the onsets; the words above them, moved apart as far as they must be to be read."""
    onset = events["time"].to_numpy(float)
    gap = WORD_PT * (ends[1] - ends[0]) / (0.91 * 72 * WIDE)
    at = apart(onset, gap, ends[0] + gap / 2, ends[1] - gap / 2)
    for x, label, word, near in zip(onset, at, _written(events), inside, strict=True):
        colour = TEST if near else INK
        axes.plot([x, x], [0, 0.1], color=colour, linewidth=1.3)
        if word:
            axes.plot([x, label], [0.1, 0.22], color=colour, linewidth=0.5, alpha=0.6)
            word = word if len(word) <= 12 else word[:11] + "…"
            axes.text(label, 0.25, word, rotation=90, ha="center", va="bottom", fontsize=7.4, color=colour)
    axes.set(ylim=(0, 1), yticks=[])
    axes.set_ylabel("words" if _has_text(events) else "events")
    axes.spines["left"].set_visible(False)


def apart(wanted: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Places in order, at least `gap` apart and as close as can be (least squares) to the wanted ones.

    Examples
    --------
    >>> apart(np.array([1.0, 1.0, 4.0]), gap=1.0, low=0.0, high=9.0).tolist()
    [0.5, 1.5, 4.0]
    """
    from sklearn.isotonic import isotonic_regression

    steps = gap * np.arange(len(wanted))
    top = max(high - steps[-1], low)
    return np.asarray(isotonic_regression(wanted - steps, y_min=low, y_max=top)) + steps


def _kernel(axes: Axes, centre: float, values: np.ndarray, kernel: str, tr: float) -> None:
    """The weights with which events enter the volume picked out, over its bar."""
    top = max(float(np.nanmax(values)), 1e-9)
    low = min(float(np.nanmin(values)), 0.0)
    if kernel == "lanczos":
        t = np.linspace(-LOBES, LOBES, 181)
        axes.plot(centre + t * tr, 1.22 * top * np.sinc(t) * np.sinc(t / LOBES), color=TEST, linewidth=1.6)
        low = min(low, -0.2 * top)
        said = "weight of an event at that time (Lanczos)"
        axes.text(centre + 0.6 * tr, 1.28 * top, said, color=TEST, fontsize=9, va="center")
    axes.axhline(0, color=QUIET, linewidth=0.8)
    axes.set_ylim(low * 1.1, 1.46 * top)


def _delays(axes: Axes, clock: np.ndarray, values: np.ndarray, delays: list[int], picked: int, tr: float) -> None:
    """The delayed copies as rows of a matrix; the volume picked out moves along them."""
    matrix = np.full((len(delays), len(clock)), np.nan)
    for row, d in enumerate(delays):
        shift = np.arange(len(clock)) - d
        known = (shift >= 0) & (shift < len(clock))
        matrix[row, known] = values[shift[known]]
    edges = np.append(clock - tr / 2, clock[-1] + tr / 2)
    shown = np.ma.masked_invalid(matrix)
    axes.pcolormesh(edges, np.arange(len(delays) + 1), shown, cmap=_pale(), edgecolors="white", linewidth=0.8)
    for row, d in enumerate(delays):
        if 0 <= picked + d < len(clock):
            left, right = edges[picked + d], edges[picked + d + 1]
            corners = [left, right, right, left, left], [row, row, row + 1, row + 1, row]
            axes.plot(*corners, color=TEST, linewidth=1.8, clip_on=False)
    axes.set_yticks(np.arange(len(delays)) + 0.5, [f"{d * tr:g} s" for d in delays])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_ylabel("design:\ndelayed by")
    axes.spines["left"].set_visible(False)


def _pale() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("pale", ["#eef2f6", FULL_PALE, FULL])


def draw_folds(fit: Encoding) -> Drawing | None:
    """A row per fold, and in time which samples taught, which were kept apart, and which were asked."""
    if fit.folds.empty:
        return None
    n = fit.folds["fold"].nunique()
    share = (fit.folds["role"] == "test").groupby(fit.folds["fold"]).mean().mean()
    runs = clock_of(fit)["run"].nunique()
    if n == 1:
        title = f"One part of the recording ({round(100 * share)} %) was held out once and never used for fitting"
    else:
        title = f"Every sample is predicted by models that never saw it: {n} folds in turn"
    gap = (fit.folds["role"] == "gap").any()
    title += ", with a gap on both sides of the test samples" if gap else ""
    alt = f"{counted(n, ('fold', 'folds'))} over {counted(runs, ('run', 'runs'))}: training, {'gap, ' * bool(gap)}test."
    note = "Lines: borders of runs." if runs > 1 else ""
    columns = fit.observed.columns
    if "lag" in columns and "subject" in columns and columns["subject"].nunique() > 1:
        note += (
            f" Time: when sub-{columns['subject'].iloc[0]} met the {samples_of(fit)[1]}; the others met the same at "
        )
        note += "times of their own."
    return draw("folds", lambda: _folds(fit), title=title + ".", alt=alt, note=note.strip())


def _folds(fit: Encoding) -> Figure:
    from matplotlib.patches import Patch

    clock, tr = clock_of(fit), tr_of(fit)
    tr = tr if tr == tr else 1.0
    starts, borders, length = _unrolled(clock, tr)
    numbers = list(dict.fromkeys(fit.folds["fold"]))
    row = float(np.clip(3.6 / len(numbers), 0.09, 0.36))
    figure, axes = drawing.new_figure(WIDE, row * len(numbers) + 1.15)
    look: dict[str, dict[str, Any]] = {
        "train": {"facecolor": TRAIN},
        "gap": {"facecolor": "white", "edgecolor": BASELINE, "hatch": "////"},
        "test": {"facecolor": TEST},
    }
    for k, fold in enumerate(numbers):
        part = fit.folds[fit.folds["fold"] == fold]
        at = part["time"].to_numpy(float) + part["run"].map(starts).to_numpy(float)
        for role, style in look.items():
            spans = _stretches(at, (part["role"] == role).to_numpy(), part["run"].to_numpy(), tr)
            axes.broken_barh([(a / 60, w / 60) for a, w in spans], (k + 0.08, 0.84), linewidth=0, **style)
    for border in borders:
        axes.axvline(border / 60, color=INK, linewidth=0.9)
    step = max(1, len(numbers) // 12)
    axes.set_yticks(np.arange(0, len(numbers), step) + 0.5, numbers[::step])
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0, length / 60), ylim=(len(numbers), 0), ylabel="fold")
    axes.set_xlabel("time (min)" + ", runs one after the other" * bool(borders))
    axes.spines["left"].set_visible(False)
    used = [role for role in look if (fit.folds["role"] == role).any()]
    handles = [Patch(label=role, linewidth=0, **look[role]) for role in used]
    drawing.legend_above(axes, handles=handles)
    return figure


def _unrolled(clock: pd.DataFrame, tr: float) -> tuple[dict[str, float], list[float], float]:
    """Runs one after the other: what to add to each run's times, where the borders fall, and the length of all."""
    starts: dict[str, float] = {}
    borders: list[float] = []
    end = 0.0
    for run, part in clock.groupby("run", sort=False):
        if starts:
            borders.append(end)
        starts[str(run)] = end - float(part["time"].min())
        end += float(part["time"].max() - part["time"].min()) + tr
    return starts, borders, end


def _stretches(at: np.ndarray, mask: np.ndarray, run: np.ndarray, tr: float) -> list[tuple[float, float]]:
    """(start, length) of every unbroken stretch of samples in the mask, runs kept apart."""
    index = np.flatnonzero(mask)
    if not len(index):
        return []
    cuts = np.flatnonzero((np.diff(index) > 1) | (run[index][1:] != run[index][:-1])) + 1
    return [(float(at[part[0]]), float(at[part[-1]] - at[part[0]] + tr)) for part in np.split(index, cuts)]


def draw_course(fit: Encoding) -> Drawing | None:
    """What was recorded in the best-predicted target, and what was predicted."""
    which = models_of(fit)
    r = rows_of(fit, which.lead)["r"]
    kept = fit.predictions.columns["model"]
    shown = which.lead if (kept == which.lead).any() else str(kept.iloc[0])
    if shown != which.lead:
        r = rows_of(fit, shown)["r"]
    if r.isna().all():
        return None
    best = int(np.nanargmax(r))
    name = labels_of(fit.observed.columns)[best]
    column = int(np.flatnonzero((kept == shown).to_numpy())[best])
    rows, left = _course_rows(fit)
    by = "" if shown == which.lead else f" of the {shown}"  # layers apart: only the baseline's predictions are kept
    title = (
        f"{name}, predicted best: the prediction{by}, never fitted on what it predicts, follows the recording with r "
    )
    title += number(r[best])
    alt = f"Time course of {name}: observed and predicted by {shown}."
    note = "Both centred within each test fold, as for r, and divided by their standard deviation."
    note += " Dashed lines: borders of folds." * (fit.folds["fold"].nunique() > 1)
    note += f" Shown: {rows[0][2]}–{rows[-1][3]} of {left}." if left else ""
    return draw("course", lambda: _course(fit, best, column, rows), title=title + ".", alt=alt, note=note)


def _course_rows(fit: Encoding) -> tuple[list[tuple[int, int, str, str]], str]:
    """(first sample, last sample + 1, first run, last run) of every row to draw; whole runs where they fit."""
    samples = fit.observed.samples
    bounds = np.append(np.flatnonzero(samples["run"].ne(samples["run"].shift()).to_numpy()), len(samples))
    rows: list[list[int]] = []
    for start, stop in pairwise(bounds):
        pieces = max(1, round((stop - start) / ROW_OF_VOLUMES))
        cuts = np.linspace(start, stop, pieces + 1).astype(int)
        for a, b in pairwise(cuts):
            if rows and pieces == 1 and b - rows[-1][0] <= ROW_OF_VOLUMES:
                rows[-1][1] = int(b)
            else:
                rows.append([int(a), int(b)])
    names = samples["run"].to_numpy()
    named = [(a, b, f"run {names[a]}", f"run {names[b - 1]}") for a, b in rows]
    return named[:ROWS], (counted(samples["run"].nunique(), ("run", "runs")) if len(named) > ROWS else "")


def _course(fit: Encoding, target: int, column: int, rows: list[tuple[int, int, str, str]]) -> Figure:
    samples, counts = fit.observed.samples, "lag" in fit.observed.columns
    if counts:  # words come at odd times; one after the other they can be seen
        samples = samples.assign(time=samples.groupby("run", sort=False).cumcount() + 1.0)
    fold = fit.predictions.samples["fold"].to_numpy() if "fold" in fit.predictions.samples else np.zeros(len(samples))
    seen = centred_in_fold(fit.observed.array()[:, target], fold)
    said = centred_in_fold(fit.predictions.array()[:, column], fold)
    tr = tr_of(fit)
    tr = tr if tr == tr and not counts else 1.0
    figure, axes = drawing.new_figure(WIDE, 1.75 * len(rows) + 1.0, rows=[1.0] * len(rows))
    high = 1.05 * float(np.nanmax(np.abs([seen, said]))) or 1.0
    for axis, (a, b, first, last) in zip(np.atleast_1d(axes), rows, strict=True):
        part = slice(a, b)
        _course_row(axis, samples.iloc[part], seen[part], said[part], fold[part], tr)
        axis.set_ylim(-high, high)
        if len(rows) > 1:
            axis.set_title(first if first == last else f"{first} to {last}", loc="left", fontsize=9)
    last_axis = np.atleast_1d(axes)[-1]
    place = samples_of(fit)[0] if counts else "time (s)"
    last_axis.set_xlabel(place if samples["run"].nunique() == 1 else f"{place}, runs one after the other")
    drawing.legend_above(np.atleast_1d(axes)[0], right=True)
    return figure


def _course_row(
    axes: Axes, samples: pd.DataFrame, seen: np.ndarray, said: np.ndarray, fold: np.ndarray, tr: float
) -> None:
    starts, borders, _ = _unrolled(samples, tr)
    at = samples["time"].to_numpy(float) + samples["run"].map(starts).to_numpy(float)
    at += 0.0 if borders else float(samples["time"].iloc[0])
    run = samples["run"].to_numpy()
    broken = np.flatnonzero((np.diff(at) > 1.5 * tr) | (run[1:] != run[:-1])) + 1
    for values, colour, width, label in ((seen, INK, 1.1, "observed"), (said, FULL, 2.0, "predicted")):
        x, y = (np.insert(v, broken, np.nan) for v in (at, values))
        axes.plot(x, y, color=colour, linewidth=width, label=label, alpha=0.9)
    for k in np.flatnonzero(np.diff(fold) != 0):
        axes.axvline((at[k] + at[k + 1]) / 2, color=BASELINE, linewidth=1.0, linestyle=(0, (4, 2)))
    for border in borders:
        axes.axvline(border - tr / 2, color=INK, linewidth=0.9)
    axes.axhline(0, color=HAIR, linewidth=0.8, zorder=0)
    axes.set(xlim=(at[0] - tr, at[-1] + tr), ylabel="z")
