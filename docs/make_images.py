"""Which pictures do README and docs show? `python docs/make_images.py RESULTS` draws them from a results folder."""

import re
import sys
from pathlib import Path

from brainalign.encoding.result import Encoding, load_encoding
from brainalign.reporting.drawing import Drawing
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
    for path in write_images(load_encoding(Path(sys.argv[1])), IMAGES):
        sys.stdout.write(f"{path} ({path.stat().st_size / 1000:.0f} kB)\n")
