"""What do the benchmarks say? `python benchmarks/page.py` writes it into docs/benchmarks.md, between the marks.

Reads results/benchmarks/{speed,accuracy,cost}.json, draws docs/benchmarks/{speed,cost}.svg, leaves the numbers it used
beside the page (docs/benchmarks/*.json). What was not measured leaves its part of the page as it is.
"""

import argparse
import re
import sys
from pathlib import Path

from measure import RESULTS, load_json, save_json

from brainalign.reporting.drawing import CEILING, FULL, QUIET, TEST, WIDE, Drawing, draw, grid_lines, new_figure
from brainalign.reporting.wording import DASH, MINUS

DOCS = Path(__file__).parents[1] / "docs"
GIGA = 1e9


def table(head, rows):
    """A table of the page; cells are text."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def figures(value, digits=3):
    """A positive number to so many figures, thousands apart: 0.0412, 5.31, 16,100."""
    if value is None or value != value:
        return DASH
    if value == 0 or value >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{float(f'{value:.{digits}g}'):g}"


def change(value):
    """A difference of R², with its sign: +.0012."""
    if value is None or value != value:
        return DASH
    text = f"{abs(value):.4f}".removeprefix("0")
    return (MINUS if value < 0 else "+") + text


def r2(value):
    """An R²: .1234."""
    return DASH if value is None or value != value else f"{value:.4f}".replace("0.", ".", 1).replace("-", MINUS)


def speed_table(found):
    """Seconds of both, their ratio, and what it was to be."""
    head = [
        "regime",
        "targets",
        "ours, s",
        "fastest peer, s",
        "ratio",
        "floor → goal",
        "R² ours, peer",
        "GB ours, peer",
    ]
    rows = []
    for record in found["regimes"].values():
        ours, peer = record["ours"], record["peer"]
        rows.append(
            [
                record["what"],
                f"{record['targets']:,}",
                figures(ours["seconds"]),
                f"{figures(peer['seconds'])} ({how_run(record)})",
                f"**{figures(record['ratio'], 3)}**",
                f"{record['floor']:g} → {record['goal']:,g}",
                f"{r2(ours['r2'])}, {r2(peer['r2'])}",
                f"{figures(ours['memory'] / GIGA, 2)}, {figures(peer['memory'] / GIGA, 2)}",
            ]
        )
    return table(head, rows)


def how_run(record):
    """Which peer, and whether all of it was run."""
    peer, iterations = record["peer"], record["iterations"]
    if not iterations:
        return peer["name"]
    if peer["extrapolated"]:
        return f"{peer['name']}, {iterations} iterations, extrapolated from {peer['iterations']}"
    return f"{peer['name']}, {iterations} iterations"


RIVALS = ("argmin", "average", "replayed", "himalaya averaged")


def accuracy_table(found):
    """Paired differences of held-out R² with their intervals, and how targets differ."""
    head = [
        "regime",
        "R² of himalaya",
        "best point",
        "averaged",
        "himalaya, exact folds",
        "himalaya averaged alike",
        "5 % quantile, averaged",
        "lose more than .01",
        "error on noise: best, averaged, himalaya, himalaya averaged alike",
    ]
    rows = []
    for record in found["regimes"].values():
        reference, pairs = record["reference"], record["pairs"]
        mean = pairs.get(f"average − {reference}", {})
        noise = [record["noise_error"].get(how) for how in ("argmin", "average", reference, "himalaya averaged")]
        rows.append(
            [
                record["what"] + (" *" if reference == "replayed" else ""),
                r2(record["r2"].get(reference)),
                *(interval(pairs.get(f"{how} − {reference}")) for how in RIVALS),
                change(mean.get("quantile_05")),
                f"{100 * mean['losing']:.1f} %" if mean else DASH,
                ", ".join(r2(value) for value in noise),
            ]
        )
    return table(head, rows)


def interval(pair):
    """A difference and its 95 % interval."""
    return f"{change(pair['difference'])} ({change(pair['low'])} to {change(pair['high'])})" if pair else DASH


def recovery_table(found):
    """Whether shares are those of the truth, and what float32 costs."""
    head = [
        "regime",
        "r with the true shares",
        "by band",
        "share of an irrelevant band",
        "float32 changes R² by > .001",
    ]
    rows = []
    for record in found["regimes"].values():
        shares, small = record["recovery"], record["float32"].get("average", {})
        bands = sorted(shares["r_by_band"])
        rows.append(
            [
                record["what"],
                f"{shares['r']:.3f}",
                f"{bands[0]:.2f} to {bands[-1]:.2f}",
                f"{shares['irrelevant']:.3f}",
                f"{100 * small['share']:.2f} % of targets" if small else DASH,
            ]
        )
    return table(head, rows)


VARIED = {"n": "samples", "targets": "targets", "bands": "bands"}


def cost_table(found):
    """Seconds and memory at each size, and how they grow."""
    head = ["varied", "", "seconds", "GB beyond the data", "computed"]
    rows = []
    for what, name in VARIED.items():
        if what not in found:
            continue
        for run in found[what]["runs"]:
            size, memory = f"{run[what]:,}", figures(run["memory"] / GIGA, 2)
            rows.append([name, size, figures(run["seconds"]), memory, run["method"]])
        slopes = found[what]["slopes"]
        rows.append([name, "**slope**", f"**{slopes['seconds']:.2f}**", f"**{slopes['memory']:.2f}**", ""])
    return table(head, rows)


def short_of(found):
    """Memory and cores that are short, in sentences."""
    said = []
    if one := found.get("large"):
        said.append(
            f"{one['n']:,} samples × {one['targets']:,} targets × {one['columns']:,} columns in {one['bands']} bands, "
            f'`memory="{one["budget"]}"`, data memory-mapped: {figures(one["seconds"] / 60)} minutes, '
            f"{one['peak'] / GIGA:.2f} GB in all, {one['data'] / GIGA:.2f} GB of it the data."
        )
    if one := found.get("busy"):
        idle, busy, ratio = one["idle"], one["busy"], one["ratio"]
        said.append(
            f"With another process multiplying matrices on one of {one['cores']} cores, the first regime takes "
            f"{figures(busy['seconds'])} s instead of {figures(idle['seconds'])} s: {ratio['fair']:.2f} times its time "
            f"per core when the other gets a fair share, {ratio['strict']:.2f} when a whole core is counted as the "
            "other's."
        )
    return "\n\n".join(said)


def machine(found):
    """What the numbers depend on."""
    of = found["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in of["versions"].items() if number)
    return f"{of['cores']} cores, {of['architecture']}; {', '.join(of['blas'])}; Python {of['python']}, {versions}."


def draw_speed(found):
    """A bar for each regime on an axis of ratios, with what was the least and what was hoped for."""
    records = list(found["regimes"].values())[::-1]

    def figure():
        made, axes = new_figure(WIDE, 1.1 + 0.42 * len(records))
        places = range(len(records))
        axes.barh(places, [record["ratio"] for record in records], color=FULL, height=0.55)
        for key, colour, label in (("floor", TEST, "floor"), ("goal", CEILING, "goal")):
            axes.plot([one[key] for one in records], places, "|", color=colour, ms=17, mew=2, label=label)
        for place, one in zip(places, records, strict=True):
            axes.text(1.06, place, f"{figures(one['ratio'], 3)} ×", va="center", color="white", weight="bold")
        axes.set_xscale("log")
        axes.set_xlim(1, 1.3 * max(max(one["ratio"], one["goal"]) for one in records))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        axes.set_yticks(places, [one["what"] for one in records])
        axes.set_xlabel("times as fast as the fastest peer, fit and prediction of the test rows together")
        grid_lines(axes, "x")
        axes.tick_params(axis="y", length=0)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.3)
        return made

    alt = "Bars on a logarithmic axis: " + "; ".join(
        f"{one['what']} {figures(one['ratio'], 3)} times, floor {one['floor']:g}, goal {one['goal']:,g}"
        for one in records[::-1]
    )
    return draw("speed", figure, title="Ratio of the peer's time to ours", alt=alt)


def draw_cost(found):
    """Seconds and memory against samples, targets and bands, both axes logarithmic."""
    from matplotlib.ticker import LogLocator, NullLocator

    kept = [what for what in VARIED if what in found]
    rows = {"seconds": ("seconds", FULL, 1.0), "memory": ("GB beyond the data", QUIET, GIGA)}

    def figure():
        made, axes = new_figure(WIDE, 5.4, rows=[1.0, 1.0], columns=[1.0] * len(kept))
        axes = axes.reshape(2, len(kept))
        for row, (key, (name, colour, unit)) in enumerate(rows.items()):
            for at, what in zip(axes[row], kept, strict=True):
                sizes = [run[what] for run in found[what]["runs"]]
                at.plot(sizes, [run[key] / unit for run in found[what]["runs"]], "o-", color=colour)
                at.text(0.05, 0.95, f"slope {found[what]['slopes'][key]:.2f}", transform=at.transAxes, va="top")
                at.set_xscale("log")
                at.set_yscale("log")
                at.set_xticks(sizes, [short(size) for size in sizes], minor=False)
                at.set_xticks([], minor=True)
                at.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                at.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
                at.yaxis.set_minor_locator(NullLocator())
                grid_lines(at)
                at.margins(y=0.25)
                if row:
                    at.set_xlabel(VARIED[what])
            axes[row, 0].set_ylabel(name)
        return made

    alt = "Lines on logarithmic axes. " + "; ".join(
        f"against {VARIED[what]}, time has slope {found[what]['slopes']['seconds']:.2f} and memory "
        f"{found[what]['slopes']['memory']:.2f}"
        for what in kept
    )
    return draw("cost", figure, title="What a fit costs", alt=alt)


def short(size):
    """A size as an axis says it: 500, 30k."""
    return f"{size // 1000}k" if size >= 1000 and size % 1000 == 0 else f"{size:,}"


def image(drawing: Drawing, path):
    """Write a drawing beside the page, and the line that shows it."""
    sys.path.append(str(DOCS))
    from make_images import standing_alone

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(standing_alone(drawing), encoding="utf-8", newline="\n")
    return f"![{drawing.alt}](benchmarks/{path.name})"


def fill(text, name, content, by="benchmarks/page.py", page="docs/benchmarks.md"):
    """The page with new content between the marks of that name."""
    begin, end = f"<!-- {name}: made by {by} -->", f"<!-- end of {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{page} has the marks {begin} and {end} once each, in this order")
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    return re.sub(pattern, lambda _: f"{begin}\n\n{content}\n\n{end}", text, flags=re.DOTALL)


def rounded(value, digits=5):
    """Numbers of a JSON to so many figures: what is committed is small and says no more than was measured."""
    if isinstance(value, dict):
        return {key: rounded(one, digits) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one, digits) for one in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def parts_of(found, images):
    """name → content of everything that can be said of {"speed": .., "accuracy": .., "cost": ..}."""
    parts = {}
    if speed := found.get("speed"):
        picture = image(draw_speed(speed), images / "speed.svg")
        parts["speed"] = f"{speed_table(speed)}\n\n{picture}\n\n{machine(speed)}"
    if accuracy := found.get("accuracy"):
        parts["accuracy"] = accuracy_table(accuracy)
        parts["recovery"] = f"{recovery_table(accuracy)}\n\n{machine(accuracy)}"
    if cost := found.get("cost"):
        if any(what in cost for what in VARIED):
            parts["cost"] = f"{cost_table(cost)}\n\n{image(draw_cost(cost), images / 'cost.svg')}"
        if said := short_of(cost):
            parts["short"] = f"{said}\n\n{machine(cost)}"
    return parts


def write_page(results, docs):
    """Bring the page up to what was measured; the names of the parts that were."""
    found = {name: load_json(results / f"{name}.json", None) for name in ("speed", "accuracy", "cost")}
    page = docs / "benchmarks.md"
    text = page.read_text(encoding="utf-8")
    parts = parts_of(found, docs / "benchmarks")
    for name, content in parts.items():
        text = fill(text, name, content)
    page.write_text(text, encoding="utf-8", newline="\n")
    for name, content in found.items():
        if content:
            save_json(docs / "benchmarks" / f"{name}.json", rounded(content))
    return list(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the measurements")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the page")
    asked = parser.parse_args()
    sys.stdout.write(f"written: {', '.join(write_page(asked.results, asked.docs)) or 'nothing was measured'}\n")


if __name__ == "__main__":
    main()
