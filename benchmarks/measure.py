"""What does one fit take, in seconds and in bytes, in a process of its own?

A parent writes a data set as .npy (`save`) and asks for a fit (`call`); the child, this file run as a script, reads it,
fits, predicts the test rows, and prints one line of JSON.
"""

import importlib
import json
import os
import platform
import resource
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parents[1] / "results/benchmarks"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
PACKAGES = ("brainalign", "himalaya", "numpy", "scipy", "scikit-learn", "torch", "fracridge")


def save(folder, X, Y, bands):
    """Write a data set for children to read."""
    for name, values in {"X": X, "Y": Y, "bands": np.asarray(bands, str)}.items():
        np.save(Path(folder) / f"{name}.npy", values)


def call(folder, solver, n_train, *, targets=None, mmap=False, score=True, timeout=None, **options):
    """Fit in a fresh process.

    Parameters
    ----------
    folder : where `save` wrote
    solver : "module.function", called as ``function(X=, Y=, bands=, n_train=, **options)``
    targets : int, fit only the first so many
    mmap : bool, map X and Y instead of reading them
    score : bool, mean held-out R²
    timeout : seconds after which the child is ended

    Returns
    -------
    dict
        seconds and cpu_seconds of fit and prediction; memory, bytes at the peak beyond what was there before the fit;
        peak, bytes of the whole process; r2; load, the machine's before; what the solver says about itself. Or
        `timeout`, or `failed` with the reason.
    """
    job = {"folder": str(folder), "solver": solver, "n_train": n_train, "targets": targets, "mmap": mmap}
    job |= {"score": score, "options": options}
    clean = {name: value for name, value in os.environ.items() if name not in THREADS}
    command = [sys.executable, __file__, json.dumps(job)]
    try:
        done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {"timeout": timeout}
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return {"failed": said[-1] if said else f"ended with {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def insist(found):
    """What `call` found, or an error where it found nothing."""
    if "seconds" not in found:
        raise RuntimeError(f"a benchmark's process did not finish: {found}")
    return found


def spread(runs):
    """Of several runs of one fit: median seconds, all of them, the most memory, and what else the last one said."""
    seconds = [run["seconds"] for run in runs]
    most = {key: max(run[key] for run in runs) for key in ("memory", "peak")}
    return {
        **runs[-1],
        **most,
        "seconds": float(np.median(seconds)),
        "runs": seconds,
        "load": [r["load"] for r in runs],
    }


def facts():
    """What numbers depend on, without saying whose machine it is."""
    from threadpoolctl import threadpool_info

    blas = [one for one in threadpool_info() if one["user_api"] == "blas"]
    kernels = sorted(
        {f"{one['internal_api']} {one['version']} {one.get('architecture') or ''}".strip() for one in blas}
    )
    return {
        "cores": cores(),
        "architecture": platform.machine(),
        "blas": kernels,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
    }


def cores():
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def today():
    """The day, as benchmarks note it."""
    return datetime.now(UTC).date().isoformat()


def load_json(path, default):
    """What was written before, or the default."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else default


def save_json(path, content):
    """Write it whole, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def own_bytes():
    """Watch what of this process's memory is its own, mapped files aside; [0] is the most, when all is done."""
    most, going = [0], threading.Event()

    def watch():
        while not going.wait(0.05):
            most[0] = max(most[0], _status("RssAnon") or 0)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        going.set()
        watcher.join()


def peak_bytes():
    """Bytes of main memory at the most; of this program alone, which getrusage's figure is not on Linux: it starts
    from that of the parent.
    """
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def _resident():
    return _status("VmRSS") or peak_bytes()


def _status(key):
    path = Path("/proc/self/status")
    if not path.exists():
        return 0
    return next(int(line.split()[1]) * 1024 for line in path.read_text().splitlines() if line.startswith(f"{key}:"))


def _forget_peak():
    """Reading the data may have taken more for a moment than it keeps: that is not the fit's."""
    path = Path("/proc/self/clear_refs")
    if path.exists():
        path.write_text("5")


def _warm(solver, options):
    """A fit of nothing much: what is imported or built when first needed is not the fit's either."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((60, 4), np.float32), rng.standard_normal((60, 3), np.float32)
    fewer = {"iterations": 1} if "iterations" in options else {}
    solver(X=X, Y=Y, bands=np.array(["a", "a", "b", "b"]), n_train=50, **{**options, **fewer})


def work(job):
    """Read, fit, predict; the child's part of `call`."""
    module, function = job["solver"].split(".")
    solver = getattr(importlib.import_module(module), function)
    folder, n_train = Path(job["folder"]), job["n_train"]
    X, Y = (np.load(folder / f"{name}.npy", mmap_mode="r" if job["mmap"] else None) for name in ("X", "Y"))
    if job["targets"]:
        Y = np.ascontiguousarray(Y[:, : job["targets"]])
    bands = np.load(folder / "bands.npy")
    _warm(solver, job["options"])
    whole = peak_bytes()
    _forget_peak()
    before, load = _resident(), os.getloadavg()[0]
    began, cpu_began = time.perf_counter(), time.process_time()
    found = solver(X=X, Y=Y, bands=bands, n_train=n_train, **job["options"])
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    peak = peak_bytes()
    predicted, about = found if isinstance(found, tuple) else (found, {})
    found = {"seconds": seconds, "cpu_seconds": cpu_seconds, "memory": peak - before, "peak": max(peak, whole)}
    if job["score"]:
        from regimes import held_out_r2

        found["r2"] = float(np.mean(held_out_r2(Y[n_train:], predicted, Y[:n_train].mean(0))))
    return {**found, "load": load, **about}


if __name__ == "__main__":
    print(json.dumps(work(json.loads(sys.argv[1]))))
