"""How much faster is ours than the field's fastest solver, fit and prediction together, at what held-out R²?

python benchmarks/speed.py [REGIME ..] writes results/benchmarks/speed.json, a regime at a time. Every fit has a process
of its own; ours and the peer take turns. A peer whose whole run exceeds the limit is run for as many iterations as fit
into it, and the rest is counted at the same time per iteration (it says so).
"""

import argparse
import os
import sys
import tempfile

from measure import RESULTS, call, facts, insist, load_json, save, save_json, spread, today
from regimes import ONE_PENALTY, REGIMES, alphas_of

PROBED = (500, 2000)  # targets at which the peer's variants are compared
PATIENCE = 3  # variants that take this many times as long as the best so far are given up
START_UP = 60  # seconds that a process may take to import what it needs
KERNEL_COPIES = 5  # himalaya holds about so many copies of its stack of kernels


def variants(regime, X):
    """The peer's ways to the same result, the likely fastest first."""
    if not regime.iterations:
        alphas, together = {"alphas": alphas_of(X[: regime.n_train])}, regime.name == "shared"
        himalaya = [
            {"solver": "peers.himalaya_single", "kind": kind, "backend": backend, "together": together, **alphas}
            for kind in ("kernel", "ridge")
            for backend in ("numpy", "torch")
        ]
        other = "peers.sklearn_shared" if together else "peers.fracridge_single"
        return [*himalaya, {"solver": other, **alphas}]
    kinds = ["group", "kernel"] if regime.columns < regime.n_train else ["kernel"]
    return [
        {"solver": "peers.himalaya_banded", "kind": kind, "backend": backend}
        for kind in kinds
        for backend in ("numpy", "torch")
    ]


def named(variant):
    """A variant's name in tables."""
    package, _ = variant["solver"].removeprefix("peers.").split("_")
    return " ".join([package, *(variant[key] for key in ("kind", "backend") if key in variant)])


def too_large(variant, regime):
    """Bytes that a variant's kernels take, where this machine has not got them; else 0."""
    if variant.get("kind") != "kernel":
        return 0
    size = KERNEL_COPIES * len(regime.widths) * regime.n_train**2 * 4
    return size if size > 0.7 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") else 0


def at_full(times, n_targets):
    """Seconds at all targets, on the line through two measured {targets: seconds}; of one, that one's."""
    (few, least), (more, most) = min(times.items()), max(times.items())
    if few == more:
        return least
    return max(most, least + (most - least) / (more - few) * (n_targets - few))


def probe(folder, regime, ways):
    """Each variant's first iteration at few targets and at more: records with the seconds expected at all targets."""
    records, best = [], float("inf")
    for way in ways:
        record = {"name": named(way), "times": {}}
        records.append(record)
        if size := too_large(way, regime):
            record["skipped"] = f"its kernels take about {size / 1e9:.0f} GB"
            continue
        options = {**way, **({"iterations": 1} if regime.iterations else {})}
        patience = None if best == float("inf") else PATIENCE * best + START_UP
        for targets in sorted({min(size, regime.n_targets) for size in PROBED}):
            found = call(folder, n_train=regime.n_train, targets=targets, timeout=patience, score=False, **options)
            if "seconds" not in found:
                record |= found
                break
            record["times"][targets] = found["seconds"]
        else:
            record["expected"] = at_full(record["times"], regime.n_targets)
            best = min(best, max(record["times"].values()))
    return records


def fastest(ways, records):
    """The variant expected to take least."""
    expected = [record.get("expected", float("inf")) for record in records]
    if min(expected) == float("inf"):
        raise RuntimeError(f"no peer finished its probe: {records}")
    return ways[expected.index(min(expected))]


def extrapolate(few, many, iterations):
    """Seconds of a whole run on the line through two (iterations, seconds), and the line itself."""
    each = (many[1] - few[1]) / (many[0] - few[0])
    setup = few[1] - each * few[0]
    return {"seconds": setup + each * iterations, "per_iteration": each, "setup": setup}


def fitting(few, more, iterations, limit):
    """How many iterations fit into the limit, by two short runs."""
    line = extrapolate(few, more, iterations)
    return max(more[0], min(iterations, int((limit - line["setup"]) / max(line["per_iteration"], 1e-9))))


def plan(folder, regime, way, limit):
    """How the peer is to be run: options of the measured run, how often, and the short run it is held against."""
    if not regime.iterations:
        first = insist(call(folder, n_train=regime.n_train, **way))
        return way, max(1, int(limit / first["seconds"])), None
    few, more = 1, min(2, regime.iterations)
    short = [(k, insist(call(folder, n_train=regime.n_train, iterations=k, **way))["seconds"]) for k in (few, more)]
    if more == few:
        return {**way, "iterations": few}, 1, None
    many = fitting(*short, regime.iterations, limit)
    if many >= regime.iterations:
        expected = extrapolate(*short, regime.iterations)["seconds"]
        return {**way, "iterations": regime.iterations}, max(1, int(limit / expected)), None
    return {**way, "iterations": many}, 1, short[0]


def take_turns(ours, theirs, repeats, rounds):
    """Runs of both; in every round the peer stands in the middle of ours."""
    mine, other = [], []
    for _ in range(rounds):
        mine += [ours() for _ in range((repeats + 1) // 2)]
        other.append(theirs())
        mine += [ours() for _ in range(repeats // 2)]
    return spread(mine), spread(other)


def compare(regime, data, repeats, limit):
    """The record of one regime."""
    with tempfile.TemporaryDirectory() as folder:
        save(folder, data.X, data.Y, data.bands)
        ways = variants(regime, data.X)
        columns = data.X.shape[1]
        del data
        records = probe(folder, regime, ways)
        way = fastest(ways, records)
        options, rounds, short = plan(folder, regime, way, limit)
        mine = {"solver": "ours.banded" if regime.iterations else f"ours.{regime.name}"}
        mine |= {"alphas": way["alphas"]} if "alphas" in way else {}
        ours, peer = take_turns(
            lambda: insist(call(folder, n_train=regime.n_train, **mine)),
            lambda: insist(call(folder, n_train=regime.n_train, **options)),
            repeats,
            min(rounds, repeats),
        )
    peer |= {"name": named(way), "iterations": options.get("iterations"), "extrapolated": short is not None}
    if short:
        measured = (options["iterations"], peer["seconds"])
        peer |= {"measured": [short, measured], **extrapolate(short, measured, regime.iterations)}
    sizes = {"what": regime.what, "n": regime.n_train, "columns": columns, "targets": regime.n_targets}
    bars = {"iterations": regime.iterations, "floor": regime.floor, "goal": regime.goal}
    ratio = peer["seconds"] / ours["seconds"]
    return {**sizes, **bars, "ratio": ratio, "ours": ours, "peer": peer, "probe": records, "day": today()}


def told(name, record):
    """A regime's record in a line."""
    ours, peer = record["ours"], record["peer"]
    about = " (extrapolated)" if peer["extrapolated"] else ""
    return (
        f"{name}: ours {ours['seconds']:.2f} s, {peer['name']} {peer['seconds']:.1f} s{about}, ratio "
        f"{record['ratio']:.1f} ({record['floor']:g} → {record['goal']:g}), R² {ours['r2']:.4f} / {peer['r2']:.4f}, "
        f"memory {ours['memory'] / 1e9:.2f} / {peer['memory'] / 1e9:.2f} GB"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = {**REGIMES, **ONE_PENALTY}
    parser.add_argument("regimes", nargs="*", metavar="REGIME", help=f"of {', '.join(known)}; left out: all")
    parser.add_argument("--targets", type=int, help="instead of the regime's own number")
    parser.add_argument("--iterations", type=int, help="the peer's, instead of the regime's own number")
    parser.add_argument("--repeats", type=int, default=3, help="fits of ours for each of the peer (3)")
    parser.add_argument("--limit", type=float, default=600, help="seconds the peer may take per regime (600)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to try the script; into results/…/quick")
    asked = parser.parse_args()
    path = RESULTS / ("quick" if asked.quick else "") / "speed.json"
    for name in asked.regimes or known:
        regime = known[name].changed(asked.targets, asked.iterations, asked.quick)
        record = compare(regime, regime.data(seed=asked.seed), asked.repeats, asked.limit)
        written = load_json(path, {"regimes": {}})
        written["regimes"][name] = record
        save_json(path, {**written, "machine": facts()})
        sys.stdout.write(told(name, record) + "\n")


if __name__ == "__main__":
    main()
