"""How long do the ceilings of a whole brain take: 200,000 voxels × 500 stimuli × 3 repeats, float32?

python benchmarks/ceilings.py [VOXELS] writes results/benchmarks/ceilings.json: value, standard error and p, each
estimator in a process of its own.
"""

import json
import subprocess
import sys
import time

import numpy as np
from measure import RESULTS, facts, peak_bytes, save_json, today

STIMULI, REPEATS = 500, 3
ESTIMATORS = ("noise_ceiling", "split_half", "cc_max", "explainable_variance")


def one(name, voxels):
    """Seconds and bytes of one estimator, data included."""
    from brainalign.maths import ceiling

    rng = np.random.default_rng(0)
    data = np.empty((REPEATS, STIMULI, voxels), np.float32)
    for start in range(0, voxels, 5000):  # the peak is to be that of the estimator
        some = data[:, :, start : start + 5000]
        signal = rng.standard_normal(some.shape[1:], np.float32) * np.float32(start / voxels)
        some[:] = signal + rng.standard_normal(some.shape, np.float32)
    began = time.perf_counter()
    found = getattr(ceiling, name)(data)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "peak": peak_bytes(), "data": data.nbytes, "told": int(found.told_from_zero().sum())}


def main():
    voxels = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    records = {}
    for name in ESTIMATORS:
        command = [sys.executable, __file__, "--one", name, str(voxels)]
        records[name] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        found = records[name]
        sys.stdout.write(f"{name}: {found['seconds']:.1f} s, {found['peak'] / 1e9:.2f} GB with the data\n")
    sizes = {"voxels": voxels, "stimuli": STIMULI, "repeats": REPEATS}
    save_json(RESULTS / "ceilings.json", {**sizes, "estimators": records, "machine": facts(), "day": today()})


if __name__ == "__main__":
    if "--one" in sys.argv:
        sys.stdout.write(json.dumps(one(sys.argv[2], int(sys.argv[3]))))
    else:
        main()
