"""How do time and memory of a fit grow with samples, targets and bands, and what when memory or cores are short?

python benchmarks/cost.py [PART ..] writes results/benchmarks/cost.json. Parts: n, targets, bands (one size varied, the
others at a small base), large (a problem under a memory budget, memory-mapped), busy (a neighbour spinning on a core).
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from measure import RESULTS, call, cores, facts, insist, load_json, save, save_json, spread, today
from regimes import REGIMES

from brainalign.maths.simulate import simulate_bands

WIDTH = 500  # columns of a band
N_TEST = 100
BASE = {"n": 1000, "targets": 5000, "bands": 3}
VARIED = {
    "n": (500, 1000, 2000, 5000, 10_000),
    "targets": (1000, 10_000, 30_000, 100_000),
    "bands": (1, 3, 10, 30),
}
LARGE = {"n": 10_000, "targets": 20_000, "columns": 2_000, "bands": 2, "budget": "2.4GB"}
ROOM = 4e9  # bytes that LARGE may take in all, data included
SPIN = "import numpy as np\na = np.ones((400, 400), 'f4')\nwhile True:\n    a @ a"


def slope(sizes, values):
    """How a cost grows: b of cost ∝ size^b, by least squares of the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def vary(what, quick, repeats):
    """Fits at several values of one size: a record per value, and the slopes of time and memory."""
    base = {**BASE, "n": 300, "targets": 200} if quick else BASE
    width = 40 if quick else WIDTH
    records = []
    for value in VARIED[what]:
        value = max(value // 20, 100) if quick and what != "bands" else value
        sizes = {**base, what: value}
        records.append({what: value, **simulated(sizes, width, repeats)})
        sys.stdout.write(f"{what} {value:,}: {told(records[-1])}\n")
    at = [record[what] for record in records]
    slopes = {key: slope(at, [record[key] for record in records]) for key in ("seconds", "memory")}
    return {"base": {**base, "width": width}, "runs": records, "slopes": slopes, "day": today()}


def simulated(sizes, width, repeats):
    """The median fit of a simulated data set."""
    widths = {f"b{i}": width for i in range(sizes["bands"])}
    with tempfile.TemporaryDirectory() as folder:
        data = simulate_bands(sizes["n"] + N_TEST, widths, sizes["targets"])
        save(folder, data.X, data.Y, data.bands)
        del data
        return spread([insist(call(folder, "ours.banded", sizes["n"])) for _ in range(repeats)])


def told(run):
    """A run in a line."""
    return f"{run['seconds']:.2f} s, {run['memory'] / 1e9:.3f} GB beyond the data, {run['method']}"


def random_on_disk(folder, rows, columns, targets, bands, chunk=500):
    """Noise of any size, never all in memory: what a fit takes does not depend on what is in it."""
    rng = np.random.default_rng(0)
    for name, width in {"X": columns, "Y": targets}.items():
        out = np.lib.format.open_memmap(Path(folder) / f"{name}.npy", "w+", np.float32, (rows, width))
        for start in range(0, rows, chunk):
            part = out[start : start + chunk]
            part[:] = rng.standard_normal(part.shape, np.float32)
        out.flush()
    np.save(Path(folder) / "bands.npy", np.array([str(i * bands // columns) for i in range(columns)]))


def large(quick, _):
    """One fit larger than memory would hold carelessly: seconds, and bytes of the whole process at the peak."""
    sizes = {**LARGE, "n": 600, "targets": 500, "columns": 900, "budget": "60MB"} if quick else LARGE
    with tempfile.TemporaryDirectory() as folder:
        random_on_disk(folder, sizes["n"] + N_TEST, sizes["columns"], sizes["targets"], sizes["bands"])
        run = insist(
            call(folder, "ours.banded", sizes["n"], mmap=True, score=False, average=True, memory=sizes["budget"])
        )
    data = 4 * (sizes["n"] + N_TEST) * (sizes["columns"] + sizes["targets"])
    found = {**sizes, **run, "data": data, "room": ROOM, "fits": run["peak"] < ROOM, "day": today()}
    sys.stdout.write(f"large: {told(found)}; {found['peak'] / 1e9:.2f} GB in all, of it {data / 1e9:.2f} GB data\n")
    return found


@contextlib.contextmanager
def neighbour():
    """Another process that multiplies matrices on one core all the while."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    process = subprocess.Popen([sys.executable, "-c", SPIN], env={**os.environ, **one})
    try:
        yield
    finally:
        process.kill()
        process.wait()


def per_core(idle, busy, n_cores, neighbours=1):
    """Seconds × cores to be had, beside a busy neighbour over alone.

    Of c cores, c threads of ours and another's one are given c · c / (c + 1); `strict` counts the neighbour's core as
    all its own.
    """
    fair = n_cores * n_cores / (n_cores + neighbours)
    strict = max(n_cores - neighbours, fair / n_cores)
    return {"fair": busy * fair / (idle * n_cores), "strict": busy * strict / (idle * n_cores)}


def busy(quick, repeats):
    """The n800 regime alone and beside a spinning process, in turns."""
    regime = REGIMES["n800"].changed(quick=quick)
    alone, beside = [], []
    with tempfile.TemporaryDirectory() as folder:
        data = regime.data()
        save(folder, data.X, data.Y, data.bands)
        del data
        for _ in range(repeats):
            alone.append(insist(call(folder, "ours.banded", regime.n_train)))
            with neighbour():
                beside.append(insist(call(folder, "ours.banded", regime.n_train)))
    idle, loaded = spread(alone), spread(beside)
    found = {
        "cores": cores(),
        "idle": idle,
        "busy": loaded,
        "ratio": per_core(idle["seconds"], loaded["seconds"], cores()),
        "cpu_ratio": loaded["cpu_seconds"] / idle["cpu_seconds"],
        "day": today(),
    }
    sys.stdout.write(
        f"busy: {idle['seconds']:.2f} s alone, {loaded['seconds']:.2f} s beside another, per core "
        f"{found['ratio']['fair']:.2f} times (all of a core the other's: {found['ratio']['strict']:.2f})\n"
    )
    return found


PARTS = {
    **{what: lambda quick, repeats, what=what: vary(what, quick, repeats) for what in VARIED},
    "large": large,
    "busy": busy,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; left out: all")
    parser.add_argument("--repeats", type=int, default=3, help="fits of each size (3)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to try the script; into results/…/quick")
    asked = parser.parse_args()
    path = RESULTS / ("quick" if asked.quick else "") / "cost.json"
    for name in asked.parts or PARTS:
        record = PARTS[name](asked.quick, asked.repeats)
        save_json(path, {**load_json(path, {}), name: record, "machine": facts()})


if __name__ == "__main__":
    main()
