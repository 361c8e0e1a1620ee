"""What do vision models say of V4? `python benchmarks/pictures_page.py` writes it into docs/ideas/vision.md.

Reads results/benchmarks/pictures-v4.json, draws docs/benchmarks/v4.svg, and leaves the numbers it used beside it.
"""

import sys

import numpy as np
from measure import RESULTS, load_json, save_json
from page import DOCS, figures, fill, image, rounded, table

from brainalign.reporting.drawing import CEILING, LOOKS, QUIET, WIDE, draw, grid_lines, new_figure, plain_axis
from brainalign.reporting.wording import DASH

NETWORKS = {
    "dinov2-small-derived": ("DINOv2, derived", LOOKS[0]),
    "untrained": ("the same, untrained", LOOKS[1]),
    "efficientnet-lite0": ("EfficientNet-Lite0", LOOKS[2]),
    "efficientnet-lite1": ("EfficientNet-Lite1", LOOKS[4]),
    "efficientnet-lite2": ("EfficientNet-Lite2", LOOKS[3]),
}
DULL = {"gabor": ("Gabor energy", "--"), "pixels": ("pixels", ":")}


def r(value):
    """A correlation: .53."""
    return DASH if value is None or value != value else f"{value:.3f}".replace("0.", ".", 1)


def scores_table(found):
    """Every feature in every recording: a layer chosen per neuron in inner folds, and the best layer of all."""
    head = ["recording, folds", "feature", "median r (95 %)", "of the ceiling (95 %)", "best layer by median r"]
    rows = []
    for session, kinds in found["sessions"].items():
        for kind, features in kinds.items():
            for name, one in features.items():
                layers = one["layers"]
                best = int(np.argmax(layers["median_r"]))
                where = ""
                if len(layers["median_r"]) > 1:
                    where = f"{layers['layer'][best]} of 0–{max(layers['layer'])}, {r(layers['median_r'][best])}"
                normalised = f"{r(one['full']['normalised_r'])} ({r(one['low'][1])}–{r(one['high'][1])})"
                rows.append(
                    [
                        f"{session}, {kind}",
                        name,
                        f"{r(one['full']['r'])} ({r(one['low'][0])}–{r(one['high'][0])})",
                        normalised if one["full"]["normalised_r"] == one["full"]["normalised_r"] else DASH,
                        where or DASH,
                    ]
                )
    return table(head, rows)


def draw_v4(found):
    """Mean r of every layer over its depth, a panel for each recording."""
    sessions = {name: kinds["shuffled"] for name, kinds in found["sessions"].items()}

    def figure():
        made, axes = new_figure(WIDE, 4.6, columns=[1.0] * len(sessions))
        for at, (session, features) in zip(np.atleast_1d(axes), sessions.items(), strict=True):
            for name, (label, look) in NETWORKS.items():
                one = features[name]["layers"]
                depth = np.array(one["layer"]) / max(one["layer"])
                at.fill_between(depth, one["r_low"], one["r_high"], color=look.colour, alpha=0.18, linewidth=0)
                at.plot(depth, one["r"], color=look.colour, marker=look.marker, ms=4, label=label)
            for name, (label, dashes) in DULL.items():
                at.axhline(features[name]["layers"]["r"][0], color=QUIET, linestyle=dashes, label=label)
            ceiling = features["pixels"]["full"]["ceiling_r"]
            if ceiling == ceiling:
                at.axhline(ceiling, color=CEILING, linestyle=(0, (6, 2)), linewidth=1, label="ceiling, median")
            at.set_xlabel("depth of the layer, 0 the first, 1 the last")
            at.set_title(f"session {session}", loc="left")
            at.set_ylim(0, 0.95)
            grid_lines(at)
            plain_axis(at)
        np.atleast_1d(axes)[0].set_ylabel("r, observed with predicted, mean over neurons")
        handles, labels = np.atleast_1d(axes)[0].get_legend_handles_labels()
        made.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False)
        return made

    said = []
    for session, features in sessions.items():
        for name, (label, _) in NETWORKS.items():
            one = features[name]["layers"]["r"]
            said.append(f"{session}, {label}: {r(one[0])} at first, {r(max(one))} at most, {r(one[-1])} at last")
    return draw("v4", figure, title="Layers and neurons of V4", alt="Lines over depth. " + "; ".join(said) + ".")


def ratios_table(speed, memory):
    """Time against the bare forward passes, and memory at ten times as many pictures."""
    head = ["", "", ""]
    rows = []
    if speed:
        for name, ratio in speed["ratios"].items():
            seconds = float(np.median(speed["rounds"][name]))
            rows.append([f"all 13 layers of 640 pictures, `pool={name!r}`", f"{figures(seconds)} s", f"{ratio:.2f}"])
        bare = float(np.median(speed["rounds"]["bare"]))
        rows.append(["the network alone, on pixels prepared beforehand", f"{figures(bare)} s", "1"])
    if memory:
        for n, one in memory["found"].items():
            rows.append([f"{int(n):,} pictures into a store", f"{one['own_bytes'] / 1e6:,.0f} MB", ""])
    return table(head, rows)


def main():
    page = DOCS / "ideas/vision.md"
    marks = {"by": "benchmarks/pictures_page.py", "page": "docs/ideas/vision.md"}
    text = page.read_text(encoding="utf-8")
    measured = {what: load_json(RESULTS / f"pictures-{what}.json", None) for what in ("v4", "speed", "memory")}
    if measured["v4"]:
        picture = image(draw_v4(measured["v4"]), DOCS / "benchmarks/v4.svg").replace("(benchmarks/", "(../benchmarks/")
        text = fill(text, "v4", f"{picture}\n\n{scores_table(measured['v4'])}", **marks)
    if measured["speed"] or measured["memory"]:
        text = fill(text, "cost", ratios_table(measured["speed"], measured["memory"]), **marks)
    page.write_text(text, encoding="utf-8", newline="\n")
    for what, found in measured.items():
        if found:
            save_json(DOCS / f"benchmarks/pictures-{what}.json", rounded(found))
    sys.stdout.write(f"written: {', '.join(what for what, found in measured.items() if found) or 'nothing'}\n")


if __name__ == "__main__":
    main()
