"""Which pictures do README and docs show?

`python docs/make_images.py RESULTS` draws those of a results folder, and without one those that are simulated.
"""

import re
import sys
from pathlib import Path

import numpy as np

from brainalign.encoding.result import Encoding, load_encoding
from brainalign.maths.ceiling import noise_ceiling
from brainalign.maths.scores import pearson
from brainalign.reporting.drawing import CEILING, HAIR, WIDE, Drawing, draw
from brainalign.reporting.figures import draw_layers, draw_people, draw_targets

IMAGES = Path(__file__).parent / "images"
# DejaVu Sans and Verdana are as wide as each other, so that the layout holds where either is there
FACE = "font-family: 'DejaVu Sans', Verdana, sans-serif"
MARGIN = 10  # points of white around a drawing


def write_images(fit: Encoding, folder: Path) -> list[Path]:
    """Layers, regions and people as one SVG file each; what a fit does not have is left out."""
    drawings = {"layers": draw_layers(fit), "targets": draw_targets(fit), "people": draw_people(fit)}
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, drawing in drawings.items():
        if drawing is not None:
            written.append(folder / f"{name}.svg")
            written[-1].write_text(standing_alone(drawing), encoding="utf-8", newline="\n")
    return written


STIMULI = (50, 100, 200, 515, 1000, 2000)
RATIOS = {0.1: "#0a5ea8", 0.5: "#d55e00", 2.0: "#5d6873"}  # σ_s² / σ_n², and a colour
TARGETS = 2000


def small_samples(k: int = 2, seed: int = 0) -> dict[float, np.ndarray]:
    """An oracle's normalised r and the share of targets that can be normalised: (sizes, 2) for each ratio."""
    rng = np.random.default_rng(seed)
    found = {}
    for ratio in RATIOS:
        rows = []
        for n in STIMULI:
            signal = np.sqrt(ratio) * rng.standard_normal((n, TARGETS))
            responses = signal + rng.standard_normal((k, n, TARGETS))
            ceiling = noise_ceiling(responses).as_r()
            kept = ceiling.told_from_zero()
            r = pearson(responses.mean(0), signal)
            rows.append((r[kept].mean() / ceiling.value[kept].mean(), kept.mean()))
        found[ratio] = np.array(rows)
    return found


def draw_small_samples() -> Drawing:
    """How dropping targets by significance moves the average of the rest."""

    def figure():
        from matplotlib.figure import Figure

        made = Figure(figsize=(WIDE * 0.8, 3.2), layout="constrained")
        left, right = made.subplots(1, 2)
        for ratio, rows in small_samples().items():
            for axes, values in zip((left, right), rows.T, strict=True):
                axes.plot(STIMULI, values, marker="o", color=RATIOS[ratio], label=f"signal / noise variance {ratio:g}")
        left.axhline(1, color=CEILING, linestyle="--", linewidth=0.8)
        left.set(ylabel="normalised r of a perfect model", ylim=(0.5, 1.1))
        right.set(ylabel="share of targets normalised", ylim=(0, 1.05))
        for axes in (left, right):
            axes.set(xlabel="stimuli, met twice each", xscale="log", xticks=STIMULI, xticklabels=STIMULI)
            axes.minorticks_off()
            axes.grid(color=HAIR, linewidth=0.6)
        right.legend(loc="lower right")
        return made

    return draw(
        "small samples",
        figure,
        title="With few stimuli a perfect model's average falls short of 1",
        alt="Normalised r of a perfect model against the number of stimuli, and the share of targets normalised",
    )


def standing_alone(drawing: Drawing) -> str:
    """A drawing of the report as a file of its own: with a size, a typeface, and paper behind it."""
    box = re.search(r'viewBox="([^"]+)"', drawing.svg)
    assert box  # every drawing has one
    width, height = (float(part) + 2 * MARGIN for part in box[1].split()[2:])
    frame = f'viewBox="{-MARGIN} {-MARGIN} {width:g} {height:g}" width="{width:g}" height="{height:g}" style="{FACE}"'
    paper = f'<rect x="{-MARGIN}" y="{-MARGIN}" width="{width:g}" height="{height:g}" fill="#ffffff"/>'
    opening, _, rest = drawing.svg.partition(">")
    opening = opening.replace(box[0], f'xmlns="http://www.w3.org/2000/svg" {frame}').replace(' class="half"', "")
    return f"{opening}>\n{paper}{rest}\n"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        written = write_images(load_encoding(Path(sys.argv[1])), IMAGES)
    else:
        written = [IMAGES / "small-samples.svg"]
        written[0].write_text(standing_alone(draw_small_samples()), encoding="utf-8", newline="\n")
    for path in written:
        sys.stdout.write(f"{path} ({path.stat().st_size / 1000:.0f} kB)\n")
