"""How fast is a permutation test of an untouched test set, beside a plain loop over permutations?

python benchmarks/permutations.py writes results/benchmarks/permutations.json: 10,000 permutations, 50,000 targets,
1,000 samples in eight runs, for shifts and for blocks. The loop is run for a few permutations and the rest counted at
the same time each.
"""

import json
import subprocess
import sys
import time

import numpy as np
from measure import RESULTS, facts, peak_bytes, save_json, today

N, SAMPLES, TARGETS, RUNS, LOOPED = 10_000, 1000, 50_000, 8, 10


def data(targets):
    """Unrelated responses and predictions, (samples, targets) each, and runs."""
    rng = np.random.default_rng(0)
    return *(rng.standard_normal((SAMPLES, targets), np.float32) for _ in range(2)), np.arange(
        SAMPLES
    ) * RUNS // SAMPLES


def ours(how, targets):
    """Seconds of the test and bytes of the whole process."""
    from brainalign.maths.inference import permutation_test

    y, yhat, run = data(targets)
    began = time.perf_counter()
    permutation_test(y, yhat, n=N, block=10, run=run, how=how)
    return {"seconds": time.perf_counter() - began, "peak": peak_bytes()}


def loop(targets):
    """Seconds of the same as one writes it down: move the responses, multiply, count."""
    from brainalign.maths.rearrange import shifts

    y, yhat, run = data(targets)
    moved = shifts(run, LOOPED, minimum=10)
    began = time.perf_counter()
    a, b = y - y.mean(0), yhat - yhat.mean(0)
    norm = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    observed, count = (a * b).sum(0) / norm, np.zeros(targets)
    start = time.perf_counter() - began
    began = time.perf_counter()
    for index in moved:
        count += (a[index] * b).sum(0) / norm >= observed
    return {"seconds": start + (time.perf_counter() - began) / LOOPED * N, "peak": peak_bytes()}


def main():
    targets = int(sys.argv[1]) if len(sys.argv) > 1 else TARGETS
    found = {}
    for name in ("loop", "shift", "blocks"):
        command = [sys.executable, __file__, "--one", name, str(targets)]
        found[name] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        ratio = found["loop"]["seconds"] / found[name]["seconds"]
        sys.stdout.write(
            f"{name}: {found[name]['seconds']:.1f} s, {ratio:.0f} times, {found[name]['peak'] / 1e9:.2f} GB\n"
        )
    sizes = {"permutations": N, "samples": SAMPLES, "targets": targets, "runs": RUNS}
    save_json(RESULTS / "permutations.json", {**sizes, "found": found, "machine": facts(), "day": today()})


if __name__ == "__main__":
    if "--one" in sys.argv:
        which, size = sys.argv[2], int(sys.argv[3])
        sys.stdout.write(json.dumps(loop(size) if which == "loop" else ours(which, size)))
    else:
        main()
