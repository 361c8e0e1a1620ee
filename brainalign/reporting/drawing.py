"""What do all figures share: colours, type, and the way into a page?"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1c2530"
QUIET = "#5d6873"  # axes, labels of second rank
HAIR = "#d5dae0"
BASELINE = "#9aa3ad"
FULL = "#0a5ea8"  # told from grey and from vermilion with any kind of colour vision, and in print by its darkness
FULL_PALE = "#cfe0f0"
TEST = "#d55e00"
TRAIN = "#c4d3e3"
CEILING = "#1c2530"  # always dashed or hatched, never filled


@dataclass(frozen=True)
class Look:
    """How a feature is painted: its colour, hatch and marker."""

    colour: str
    hatch: str
    marker: str


# four steps of darkness without a hatch, four with: told apart in grey, and with any kind of colour vision
LOOKS = (
    Look(FULL, "", "o"),
    Look(BASELINE, "", "s"),
    Look("#f2cf63", "", "D"),
    Look("#5a1846", "", "^"),
    Look("#e07b39", "////", "v"),
    Look("#0f7a6b", "\\\\\\\\", "P"),
    Look("#6f3215", "||||", "X"),
    Look("#bfe0f5", "xxxx", "p"),
)
OTHERS = Look("#eef1f4", "", "")  # features beyond eight, together

WIDE = 10.6  # inches: the width of the page's column
HALF = 5.6  # inches: beside a table
LABEL = 26  # letters of a name in a figure; the table has them all

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: searchable, small, and in the page's own face
    "font.family": ["DejaVu Sans"],  # wider than the page's face, so that what fits here fits there
    "font.size": 10,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "hatch.linewidth": 0.7,
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a region's name is a dollar sign
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
}


@dataclass(frozen=True)
class Drawing:
    """A figure for the page: what it found in one sentence, what it looks like in words, how to read it."""

    title: str
    alt: str
    note: str
    svg: str

    @property
    def wide(self) -> bool:
        """Whether it fills the page's column; else it stands beside a table."""
        return not self.svg.startswith('<svg class="half"')


@contextmanager
def styled(name: str) -> Iterator[None]:
    """Draw with matplotlib as it comes and our style; `name` keeps the ids of two figures on a page apart."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        settings: Any = matplotlib.rcParams
        settings.update({**STYLE, "svg.hashsalt": f"brainalign {name}"})
        yield


def draw(name: str, figure: Callable[[], Figure], *, title: str, alt: str, note: str = "") -> Drawing:
    """Make a figure in the page's style and put it into words and SVG.

    Parameters
    ----------
    name : str
        Of the figure; unique on the page.
    figure : function
        Draws it; called with the style in force.
    title, alt, note : str
        The finding in one sentence; what is seen, for those who do not see it; how to read it.
    """
    with styled(name), warnings.catch_warnings():
        # the layout may not know how wide a word in another script is; the reader's browser has the letters
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        made = figure()
        out = io.StringIO()
        made.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Drawing(title, alt, note, inline(out.getvalue(), alt))


def inline(svg: str, alt: str) -> str:
    """An SVG document as part of a page: sized by it, named for screen readers, without ids nobody refers to."""
    from html import escape

    body = svg[svg.index("<svg") :]
    body = re.sub(r"<style.*?</style>", "", body, count=1, flags=re.DOTALL)  # it would style the whole page
    referred = set(re.findall(r'#([\w.-]+)[")]', body))
    body = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in referred else "", body)
    body = re.sub(r"font-family: [^;\"]+(; )?", "", body)
    body = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", body)
    body = re.sub(r"(?<=\d)\s*\n\s*(?=[LCQz])", " ", body)
    body = re.sub(r"\n\s*", "\n", body)
    opening = body[: body.index(">")]
    box = re.search(r'viewBox="([^"]+)"', opening)
    assert box  # matplotlib always writes one
    half = ' class="half"' * (float(box[1].split()[2]) < 72 * (HALF + WIDE) / 2)
    named = f'<svg{half} viewBox="{box[1]}" role="img" aria-label="{escape(alt)}" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return named + body[body.index(">") :].strip()


def new_figure(
    width: float, height: float, rows: list[float] | None = None, columns: list[float] | None = None
) -> tuple[Figure, Any]:
    """A figure and its axes (an array where there are several), laid out without overlaps; never pyplot's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    rows, columns = rows or [1.0], columns or [1.0]
    axes = figure.subplots(
        len(rows), len(columns), squeeze=True, gridspec_kw={"height_ratios": rows, "width_ratios": columns}
    )
    for one in figure.axes:
        one.set_facecolor("none")
    return figure, axes


def new_mosaic(width: float, height: float, places: list[list[str]], **shape: Any) -> tuple[Figure, dict[str, Axes]]:
    """As `new_figure`, of panels by name that may be as high as several rows."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    layout: Any = places
    panels: Any = figure.subplot_mosaic(layout, **shape)
    for one in panels.values():
        one.set_facecolor("none")
    return figure, panels


def r_bar(figure: Figure, colours: Any, axes: Any, **more: Any) -> None:
    """Say which colour is which r, beside some axes."""
    from matplotlib.ticker import FuncFormatter

    from brainalign.reporting.wording import number

    bar = figure.colorbar(colours, ax=axes, **more)
    bar.set_label("r (0 and below: darkest)")
    outline: Any = bar.outline  # the stubs take Spine for a sequence of them
    outline.set_visible(False)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value) if value else "0"))


def grid_lines(axes: Axes, axis: Any = "y") -> None:
    """Hair lines behind the data, and no ticks on the side they come from."""
    axes.grid(axis=axis, color=HAIR, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(axis=axis, length=0)


def plain_axis(axes: Axes, axis: str = "y") -> None:
    """Write .3 and −.1 on an axis of correlations."""
    from matplotlib.ticker import FuncFormatter

    from brainalign.reporting.wording import number

    def write(value: float, _: int) -> str:
        return "0" if abs(value) < 1e-9 else number(value, 3).rstrip("0").rstrip(".")

    (axes.yaxis if axis == "y" else axes.xaxis).set_major_formatter(FuncFormatter(write))


def short(name: str) -> str:
    """A name that fits into a figure, with both its ends: names of one study often begin alike.

    Examples
    --------
    >>> short("LIFG"), short("inferior frontal gyrus, triangular part, left")
    ('LIFG', 'inferior fronta…part, left')
    """
    return name if len(name) <= LABEL else f"{name[: LABEL - 11]}…{name[-10:]}"


def legend_above(axes: Axes, right: bool = False, **more: Any) -> None:
    """Name what is drawn above the axes, where it covers nothing."""
    corner: Any = ("lower right", (1, 1.0)) if right else ("lower left", (0, 1.0))
    figure: Any = axes.get_figure()
    long = sum(6.2 * len(name) + 36 for name in axes.get_legend_handles_labels()[1])  # points
    columns = 2 if long > 0.8 * 72 * figure.get_figwidth() else 4
    settings: dict[str, Any] = {"ncols": columns, "borderaxespad": 0.3, "handlelength": 1.4, "columnspacing": 1.2}
    axes.legend(loc=corner[0], bbox_to_anchor=corner[1], **settings | more)
