"""Where in the head is how much predicted?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from brainalign.encoding.result import Encoding
from brainalign.reporting import drawing
from brainalign.reporting.drawing import QUIET, WIDE, Drawing, draw
from brainalign.reporting.found import electrode_column, has_lags, labels_of, models_of, nouns_of, rows_of
from brainalign.reporting.peaks import at_peaks
from brainalign.reporting.tables import MANY
from brainalign.reporting.wording import counted, listed, number, seconds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL_PT = 180  # side of a panel
DRAWN_AS_SHAPES = 1500  # voxels; more are painted into one picture, or the page grows heavy
VIEWS = (  # axes across and up, and what they are called
    (0, 2, "from behind", "left – right (mm)", "up (mm)"),
    (1, 2, "from the side", "back – front (mm)", "up (mm)"),
    (0, 1, "from above", "left – right (mm)", "back – front (mm)"),
)
# frames of coordsystem.json in which x does not go to the right, or nobody knows where it goes
OTHER_AXES = ("n/a", "CTF", "4DBti", "KitYokogawa", "EEGLAB", "EEGLAB-HJ", "Pixels", "Other")


def draw_places(fit: Encoding) -> Drawing | None:
    """Voxels, or electrodes at their best lag, in three projections, coloured by r, the best on top.

    Of positions in several frames those in one, which holds most.
    """
    picked = has_lags(fit.observed.columns)
    fit = at_peaks(fit)
    columns, (one, several), lead = fit.observed.columns, nouns_of(fit), models_of(fit).lead
    electrodes = bool(electrode_column(columns))
    if not {"x", "y", "z"} <= set(columns) or not (electrodes or len(columns) > MANY):
        return None
    place, r = columns[["x", "y", "z"]].to_numpy(float), rows_of(fit, lead)["r"].to_numpy(float)
    known = np.asarray(np.isfinite(place).all(axis=1))
    frame = columns.get("frame", pd.Series("", columns.index)).astype(str)
    held = frame[known].value_counts()
    drawn = known & (frame == held.index[0]).to_numpy() if len(held) else known
    if drawn.sum() < 2 or np.isnan(r[drawn]).all():
        return None
    best = int(np.nanargmax(np.where(drawn, r, np.nan)))
    named = f", {labels_of(columns.drop(columns='lag', errors='ignore'))[best]}," if electrodes else ""
    point = labels_of(columns[["x", "y", "z"]])[best]
    when = f" at {seconds(columns['lag'].iloc[best])}" if picked else ""
    of_these = "" if drawn.all() else f" of {drawn.sum():,} that are drawn"
    title = f"The best {one}{of_these}{named} lies at {point} mm (r {number(r[best])}{when})"
    note = f"r of {lead}" + f", each {one} at its best lag, which was seen on the test samples" * picked
    note += f"; {'all ' * bool(drawn.all())}{drawn.sum():,} {several} through the head from three sides, the best "
    note += "predicted in front." + _frames(held, (~known).sum(), (one, several))
    alt = f"{several.capitalize()} from three sides, coloured by r."
    to_the_right = not len(held) or held.index[0] not in OTHER_AXES

    def figure() -> Figure:
        return _places(place[drawn], r[drawn], electrodes, to_the_right)

    return draw("places", figure, title=title + ".", alt=alt, note=note)


def _frames(held: pd.Series, unknown: int, nouns: tuple[str, str]) -> str:
    """In which frame positions are, and how many are not drawn; held: electrodes in each frame, most first."""
    frame, others = str(held.index[0]), held.iloc[1:]
    said = {"": "", "n/a": " In which frame they are is not known."}.get(frame, f" Frame: {frame}.")
    if len(others):
        said += (
            f" Not drawn: {counted(int(others.sum()), nouns)} in {listed(map(str, others.index))}; frames are not to "
        )
        said += "be compared."
    return said + f" Not drawn: {counted(int(unknown), nouns)} of unknown position." * bool(unknown)


def _places(place: np.ndarray, r: np.ndarray, electrodes: bool, to_the_right: bool) -> Figure:
    """Voxels as squares as large as they are apart, electrodes as dots that can be seen."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    figure, axes = drawing.new_figure(WIDE, 3.9, columns=[1.0, 1.0, 1.0])
    order = np.argsort(np.where(np.isfinite(r), r, -np.inf), kind="stable")
    middle, reach = (place.min(0) + place.max(0)) / 2, np.ptp(place, axis=0).max() / 2
    colours = Normalize(0, max(float(np.nanmax(r)), 0.01))
    look: dict[str, Any] = {"cmap": "cividis", "norm": colours}
    if electrodes:
        reach = max(1.07 * reach, 1.0)
        look |= {"s": 34 if len(r) <= 100 else 18, "marker": "o", "linewidths": 0.5, "edgecolors": QUIET}
    else:
        step = _step(place)
        reach += step
        look |= {"s": (0.94 * PANEL_PT * step / (2 * reach)) ** 2, "marker": "s", "linewidths": 0}
    for panel, (across, up, *names) in zip(axes, VIEWS, strict=True):
        name, across_label, up_label = names if to_the_right else _plain(across, up)
        panel.scatter(
            place[order, across],
            place[order, up],
            c=r[order],
            plotnonfinite=True,
            rasterized=len(r) > DRAWN_AS_SHAPES,
            **look,
        )
        panel.set(title=name, xlabel=across_label, ylabel=up_label, aspect="equal")
        panel.set_xlim(middle[across] - reach, middle[across] + reach)
        panel.set_ylim(middle[up] - reach, middle[up] + reach)
    drawing.r_bar(figure, ScalarMappable(colours, "cividis"), list(axes), shrink=0.8, pad=0.01)
    return figure


def _plain(across: int, up: int) -> tuple[str, str, str]:
    """A view of which nobody knows what it shows of a head."""
    x, y = "xyz"[across], "xyz"[up]
    return f"{x} and {y}", f"{x} (mm)", f"{y} (mm)"


def _step(place: np.ndarray) -> float:
    """How far voxels are apart."""
    sides = (np.unique(side.round(3)) for side in place.T)
    return max(float(np.median(np.diff(side))) if len(side) > 1 else 1.0 for side in sides)
