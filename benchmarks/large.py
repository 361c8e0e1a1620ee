"""Does a whole fit of a large recording keep to its memory budget?

python benchmarks/large.py [CASE ..] writes results/benchmarks/large.json. 8 runs of 300 volumes × 200,000 voxels,
memory-mapped, two bands at five delays: fitted and scored, saved, and read again, each case in a process of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from measure import RESULTS, facts, load_json, own_bytes, save_json, today

RUNS, VOLUMES, VOXELS, PLANTED = 8, 300, 200_000, 100
BANDS, DELAYS, TR = {"a": 4, "b": 4}, (1, 2, 3, 4, 5), 2.0
BUDGET = "2GB"
CASES = {
    "one run held out": {"folds": "one"},
    "one run held out, with chance": {"folds": "one", "often": 100},
    "two folds": {"folds": "two"},
    "one run held out, censored, into a store": {"folds": "one", "censored": True, "store": True},
}


def clock(censored=False):
    """The samples table; of a censored recording every fiftieth volume is left out."""
    run = np.repeat([str(k + 1) for k in range(RUNS)], VOLUMES)
    samples = pd.DataFrame({"run": run, "time": np.tile(np.arange(VOLUMES) * TR, RUNS)})
    return samples.assign(use=np.arange(len(samples)) % 50 != 7) if censored else samples


def design(samples):
    """Random features at several delays."""
    from brainalign.design.delays import delay
    from brainalign.signals import Signal

    values = np.random.default_rng(1).standard_normal((len(samples), sum(BANDS.values())), np.float32)
    columns = pd.DataFrame({"band": np.repeat(list(BANDS), list(BANDS.values()))})
    return delay(Signal(values, samples, columns), volumes=DELAYS)


def write(path, voxels):
    """Noise, a run at a time, and in the first voxels as much of one delayed column of band a."""
    signal = design(clock()).values[:, 1]
    out = np.lib.format.open_memmap(path, "w+", np.float32, (RUNS * VOLUMES, voxels))
    for k in range(RUNS):
        rows = slice(k * VOLUMES, (k + 1) * VOLUMES)
        out[rows] = np.random.default_rng(k).standard_normal((VOLUMES, voxels), np.float32)
        out[rows, :PLANTED] += signal[rows, None] / signal.std()
    out.flush()


def one(path, folder, case):
    """Bytes of the process's own at the peak, and seconds: of the fit, of saving it and of reading it again."""
    from brainalign.encoding.chance import Chance
    from brainalign.encoding.encode import encode
    from brainalign.encoding.folds import contiguous, hold_out
    from brainalign.encoding.result import load, save
    from brainalign.maths.banded import BandedRidge
    from brainalign.signals import Signal
    from brainalign.store import Store

    samples = clock(case.get("censored", False))
    values = np.load(path, mmap_mode="r")
    brain = Signal(values, samples, pd.DataFrame({"voxel": np.arange(values.shape[1])}))
    folds = hold_out(run=[str(RUNS)]) if case["folds"] == "one" else contiguous(2)
    often = case.get("often", 0)
    asked = {"folds": folds, "baseline": ["b"], "chance": Chance(often, often)}
    asked["solver"] = partial(BandedRidge, average=True, memory=BUDGET)
    if case.get("store"):
        asked["store"] = Store(folder / "store")
    found, kept = {}, {}

    def measured(name, function):
        began, cpu_began = time.perf_counter(), time.process_time()
        with own_bytes() as most:
            kept[name] = function()
        took = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu_began}
        found[name] = {"own_bytes": most[0], **took}

    measured("fit", lambda: encode(design(samples), brain, **asked))
    measured("save", lambda: save(kept["fit"], folder / "fit"))
    full = kept["fit"].scores.query("model == 'full'")
    found["r_planted"], found["r_rest"] = (float(r.mean()) for r in (full["r"][:PLANTED], full["r"][PLANTED:]))
    kept.clear()
    measured("load", lambda: load(folder / "fit"))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {'; '.join(CASES)}; left out: all")
    parser.add_argument("--quick", action="store_true", help="few voxels, to try the script; into results/…/quick")
    asked = parser.parse_args()
    path = RESULTS / ("quick" if asked.quick else "") / "large.json"
    voxels = 500 if asked.quick else VOXELS
    about = {"shape": [RUNS * VOLUMES, voxels], "columns": len(DELAYS) * sum(BANDS.values()), "budget": BUDGET}
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        recording = Path(folder) / "recording.npy"
        write(recording, voxels)
        for name in asked.cases or CASES:
            with tempfile.TemporaryDirectory(dir="/var/tmp") as inside:
                command = [sys.executable, __file__, "--one", str(recording), inside, json.dumps(CASES[name])]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            said = ", ".join(
                f"{what} {found[what]['own_bytes'] / 1e6:,.0f} MB in {found[what]['seconds']:.0f} s"
                for what in ("fit", "save", "load")
            )
            sys.stdout.write(f"{name}: {said}; r {found['r_planted']:.2f} planted, {found['r_rest']:.2f} elsewhere\n")
            before = load_json(path, {}).get("cases", {})
            save_json(path, {**about, "cases": {**before, name: found}, "machine": facts(), "day": today()})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        sys.stdout.write(json.dumps(one(Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4]))) + "\n")
    else:
        main()
