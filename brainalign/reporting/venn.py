"""What does each feature explain alone, and what do several explain alike?"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from brainalign.encoding.result import Encoding
from brainalign.reporting import drawing
from brainalign.reporting.drawing import BASELINE, HAIR, HALF, INK, QUIET, WIDE, Drawing, Look, draw, short
from brainalign.reporting.found import labels_of, models_of, nouns_of, parts_of, parts_over_ceiling, rows_of, targets_of
from brainalign.reporting.parts import looks_of
from brainalign.reporting.wording import counted, listed, number, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AND = "&"  # between the names of features that share a part
MOST = 4
APART = 0.6  # of a circle's middle from the drawing's, in radii
LINE = 14  # letters of a name on one line
STEPS = 180  # corners of what is drawn as a circle
NEGATIVE: dict[str, Any] = {"facecolor": "#ffffff", "edgecolor": BASELINE, "hatch": "////"}


def draw_venn(fit: Encoding) -> Drawing | None:
    """Mean R² of what each feature explains alone and of what they share: circles, or bars where there are four."""
    names, parts = common_parts(fit)
    kept = parts[parts.notna().all(axis=1)]
    if not 2 <= len(names) <= MOST or kept.empty:
        return None
    means, shares = kept.mean().to_numpy(), parts_over_ceiling(fit, parts).to_numpy()
    over = f"on average over {targets_of(fit) if len(kept) == len(parts) else counted(len(kept), nouns_of(fit))}"
    if len(kept) == 1:
        over = f"in {labels_of(fit.observed.columns)[int(kept.index[0])]}"
    alone = [f"{name} alone {number(value, 3)}" for name, value in zip(names, means, strict=False)]
    alone[0] = alone[0].replace(" alone ", " alone explains ")
    title = f"Of a joint R² of {number(means.sum(), 3)} {over}, {listed(alone)}; "
    title += f"{number(means[len(names) :].sum(), 3)} is shared."
    alt = "; ".join(f"{' and '.join(some)} {number(m, 3)}" for some, m in zip(sets_of(names), means, strict=True))
    note = "Mean R², held out" + "; below it, its share of the ceiling" * bool(np.isfinite(shares).any()) + "."
    if (means < 0).any():
        note += " Hatched: negative, by suppression (a feature that helps only beside another) or by noise."
    note += " The size of circles means nothing." * (len(names) < MOST)
    looks = looks_of(fit, names, parts)[0]
    figure = _circles if len(names) < MOST else _bars
    return draw("venn", lambda: figure(looks, means, shares), title=title, alt=f"{alt}.", note=note)


def sets_of(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Every non-empty choice of features, small ones first.

    Examples
    --------
    >>> sets_of(["a", "b"])
    [('a',), ('b',), ('a', 'b')]
    """
    return [some for size in range(1, len(names) + 1) for some in combinations(names, size)]


def common_parts(fit: Encoding) -> tuple[list[str], pd.DataFrame]:
    """Features, and the R² that some of them and no others explain: (n_targets, 2^B − 1), columns as in `sets_of`.

    From the commonality analysis; where there is none, two features' unique parts and the joint R² say as much:
    shared = joint − unique(a) − unique(b).
    """
    parts = parts_of(fit, "common")
    names = [str(part) for part in parts if AND not in str(part)]
    if names:
        known = {frozenset(str(part).split(AND)): parts[part].to_numpy() for part in parts}
        missing = np.full(len(parts), np.nan)
        columns = [known.get(frozenset(some), missing) for some in sets_of(names)] if len(names) <= MOST else []
    else:
        unique = parts_of(fit, "unique")
        names = [str(part) for part in unique]
        own = [unique[name].to_numpy() for name in names]
        joint = rows_of(fit, models_of(fit).lead)["r2"].to_numpy(float)
        columns = [*own, joint - own[0] - own[1]] if len(names) == 2 else []
    return names, pd.DataFrame(dict(enumerate(columns)), index=parts.index)


def _circles(looks: dict[str, Look], means: np.ndarray, shares: np.ndarray) -> Figure:
    """Two or three equal circles, painted from what one has alone to what all share, a number in every region."""
    names = list(looks)
    angles = np.deg2rad([180.0, 0.0] if len(names) == 2 else [150.0, 30.0, 270.0])
    middles = APART * np.column_stack([np.cos(angles), np.sin(angles)])
    figure, axes = drawing.new_figure(HALF, 3.5 if len(names) == 2 else 4.6)
    for some, mean, share in zip(sets_of(names), means, shares, strict=True):
        mine = [names.index(name) for name in some]
        outline = _meeting(middles[mine])
        colours = [looks[name].colour for name in some]
        paint = NEGATIVE if mean < 0 else {"facecolor": _pale(colours), "edgecolor": "none"}
        axes.fill(*outline.T, linewidth=0, **paint)
        _number(axes, _place(middles, mine), mean, share)
    for k, (name, middle) in enumerate(zip(names, middles, strict=True)):
        axes.plot(*_meeting(middle[None]).T, color=looks[name].colour, linewidth=2.4)
        below = len(names) == 3 and k == 2
        where: Any = (0, middle[1] - 1.08) if below else (1.45 * middle[0], middle[1] + 1.08)
        said = textwrap.fill(short(name), LINE)
        axes.text(*where, said, ha="center", va="top" if below else "bottom", fontweight="bold", fontsize=11)
    two = len(names) == 2
    axes.set(xlim=(-2.05, 2.05), ylim=(-1.1, 1.5) if two else (-2.05, 1.85), aspect="equal")
    axes.axis("off")
    return figure


def _meeting(middles: np.ndarray) -> np.ndarray:
    """(n, 2) the outline of what circles have in common, which is convex."""
    angle = np.linspace(0, 2 * np.pi, STEPS + 1)
    rim = np.concatenate([middle + np.column_stack([np.cos(angle), np.sin(angle)]) for middle in middles])
    inside = np.linalg.norm(rim[:, None] - middles[None], axis=2).max(1) <= 1 + 1e-9
    if len(middles) == 1:
        return rim
    rim = rim[inside]
    around = rim - rim.mean(0)
    return rim[np.argsort(np.arctan2(around[:, 1], around[:, 0]))]


def _place(middles: np.ndarray, some: list[int]) -> np.ndarray:
    """Where a region's number stands: half-way between the region's ends on its way out from the middle."""
    direction = middles[some].sum(0)
    if len(some) == len(middles):
        return np.zeros(2)
    out = np.linspace(0, 2, 400)[:, None] * direction / np.linalg.norm(direction)
    inside = np.linalg.norm(out[:, None] - middles[None], axis=2) <= 1
    mine = (inside == np.isin(range(len(middles)), some)).all(1)
    return out[mine].mean(0)


def _pale(colours: Sequence[str]) -> np.ndarray:
    """The colours mixed, paler the fewer they are, so that ink can be read on it."""
    from matplotlib.colors import to_rgb

    strength = 0.12 + 0.1 * len(colours)
    return 1 - strength * (1 - np.mean([to_rgb(colour) for colour in colours], axis=0))


def _number(axes: Axes, place: np.ndarray, mean: float, share: float) -> None:
    behind = {"facecolor": "#ffffff", "edgecolor": "none", "pad": 1.5} if mean < 0 else None
    where: dict[str, Any] = {"ha": "center", "bbox": behind}
    second = share == share
    axes.text(place[0], place[1], number(mean, 3), va="bottom" if second else "center", fontsize=12.5, **where)
    if second:
        axes.text(place[0], place[1] - 0.03, percent(share), va="top", fontsize=9.5, color=INK, **where)


def _bars(looks: dict[str, Look], means: np.ndarray, shares: np.ndarray) -> Figure:
    """A bar for each choice of features; below, which features it is."""
    names = list(looks)
    sets = sets_of(names)
    figure, (top, bottom) = drawing.new_figure(WIDE, 5.2, rows=[2.6, 1.0])
    place = np.arange(len(sets)) + 0.5 * np.array([len(some) - 1 for some in sets])  # a gap where one more joins
    for x, some, mean, share in zip(place, sets, means, shares, strict=True):
        look = looks[some[0]] if len(some) == 1 else Look(INK, "", "")
        paint = NEGATIVE if mean < 0 else {"facecolor": look.colour, "edgecolor": "#ffffff", "hatch": look.hatch}
        top.bar(x, mean, 0.72, **paint)
        said = number(mean, 3) + (f"\n{percent(share)}" if share == share else "")
        top.annotate(said, (x, mean), (0, -3 if mean < 0 else 3), textcoords="offset points", ha="center",
                     va="top" if mean < 0 else "bottom", fontsize=9)  # fmt: skip
        rows = [names.index(name) for name in some]
        bottom.plot([x] * len(rows), rows, color=INK, linewidth=1.6, zorder=2)
        bottom.scatter([x] * len(names), range(len(names)), s=62, color=HAIR, linewidths=0, zorder=1)
        bottom.scatter([x] * len(rows), rows, s=62, color=INK, linewidths=0, zorder=3)
    top.axhline(0, color=QUIET, linewidth=0.9)
    top.margins(y=0.22)
    top.set(ylabel="R², held out", xticks=[])
    top.spines["bottom"].set_visible(False)
    drawing.grid_lines(top)
    drawing.plain_axis(top)
    bottom.set_yticks(range(len(names)), [short(name) for name in names])
    bottom.set(xticks=[], ylim=(len(names) - 0.5, -0.5), xlim=top.get_xlim())
    bottom.tick_params(axis="y", length=0)
    bottom.spines[:].set_visible(False)
    return figure
