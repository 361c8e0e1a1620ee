"""How fast does high-gamma come out of a recording, and in how much memory, beside MNE's filter and Hilbert transform?

python benchmarks/envelopes.py [MINUTES [BESIDE]] writes results/benchmarks/envelopes.json: 200 channels at 2 kHz,
MINUTES (10) of them and twice as many, with line noise removed, both published ways; and BESIDE (1) minutes of them
beside MNE, in turn, which holds all of a recording in memory. Each in a process of its own with one thread; the
recording is a mapped file of int16, as recordings are.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import RESULTS, THREADS, facts, own_bytes, save_json, spread, today

FS, RATE, CHANNELS, LINE, BLOCK = 2000, 100.0, 200, 50.0, 20_000
MINUTES, BESIDE, REPEATS = 10, 1, 3
FASTER, MOST = 20, 1e9  # than real time; bytes
VOLTS = 1e-7  # of a step


def write(path, minutes):
    """Noise whose spectrum falls as that of a brain does, with line noise."""
    rng = np.random.default_rng(0)
    t = np.arange(BLOCK)
    hum = 200 * np.sin(2 * np.pi * LINE * t / FS)[:, None]
    with path.open("wb") as file:
        for _ in range(minutes * 60 * FS // BLOCK):
            walk = np.cumsum(rng.standard_normal((BLOCK, CHANNELS), np.float32), axis=0)
            (walk * 20 + hum).astype(np.int16).tofile(file)


def recording(path, minutes):
    """The run in blocks of volts, from a file that is gone through again where it is shorter."""
    mapped = np.memmap(path, np.int16, "r").reshape(-1, CHANNELS)
    for start in range(0, round(minutes * 60 * FS), BLOCK):
        yield mapped[start % len(mapped) :][:BLOCK] * VOLTS


def bands():
    """The two ways by name."""
    import brainalign as ba

    return {"sub-bands": ba.high_gamma(), "one band": ba.band(70, 200)}


def ours(path, minutes, way):
    """All envelopes, kept as they come."""
    from brainalign.maths.envelopes import envelope_plan, envelopes, n_outputs

    plan = envelope_plan(bands()[way], FS, RATE, line_hz=LINE)
    out, k = np.empty((n_outputs(round(minutes * 60 * FS), FS, RATE), CHANNELS), np.float32), 0
    for values, _ in envelopes(lambda: recording(path, minutes), plan):
        out[k : k + len(values)] = values
        k += len(values)
    return out


def beside_mne(path, minutes, way):
    """The same as one writes it with MNE."""
    import mne

    from brainalign.maths.bands import sub_bands

    mne.set_log_level("error")
    values = np.empty((CHANNELS, round(minutes * 60 * FS)))
    for k, block in enumerate(recording(path, minutes)):
        values[:, k * BLOCK : (k + 1) * BLOCK] = block.T
    raw = mne.io.RawArray(values, mne.create_info(CHANNELS, FS, "seeg"), copy=None)
    raw.notch_filter(np.arange(LINE, 250, LINE), picks="all")
    if way == "one band":
        raw.filter(70, 200, picks="all").apply_hilbert(picks="all", envelope=True)
        return raw.resample(RATE).get_data().T
    total = 0.0
    for low, high in sub_bands(70, 150, 8):
        one = raw.copy().filter(low, high, picks="all").apply_hilbert(picks="all", envelope=True).resample(RATE)
        envelope = one.get_data().T
        total = total + envelope / envelope.mean(axis=0) / 8
    return total


def one(who, path, minutes, way):
    """Seconds, imports aside, and bytes of this process's own beyond those before."""
    function = {"ours": ours, "mne": beside_mne}[who]
    function(path, 1 / 6, way)  # what is imported is nobody's
    with own_bytes() as idle:
        time.sleep(0.2)
    load, began, cpu_began = os.getloadavg()[0], time.perf_counter(), time.process_time()
    with own_bytes() as most:
        made = function(path, minutes, way)
    found = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu_began, "load": load}
    return {**found, "memory": most[0] - idle[0], "peak": most[0], "shape": made.shape, "mean": float(made.mean())}


def call(*arguments):
    """`one` in a process of its own, of one thread."""
    command = [sys.executable, __file__, "--one", *map(str, arguments)]
    env = {**os.environ, **dict.fromkeys(THREADS, "1")}
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout)


def main():
    minutes, beside = (int(word) for word in [*sys.argv[1:], *map(str, (MINUTES, BESIDE)[len(sys.argv) - 1 :])])
    found, failed = {}, []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.dat")
        write(path, min(minutes, 2))
        for way in bands():
            pairs = [(call("ours", path, beside, way), call("mne", path, beside, way)) for _ in range(REPEATS)]
            a, b = (spread(runs) for runs in zip(*pairs, strict=True))
            cpu = [np.median([pair[k]["cpu_seconds"] for pair in pairs]) for k in (0, 1)]
            long = [call("ours", path, m, way) for m in (minutes, 2 * minutes)]
            times = [m * 60 / run["cpu_seconds"] for m, run in zip((minutes, 2 * minutes), long, strict=True)]
            found[way] = {"ours": a, "mne": b, "ratio": cpu[1] / cpu[0], "long": long, "times_real_time": times}
            sys.stdout.write(
                f"{way}: {beside} min, ours {cpu[0]:.1f} s, MNE {cpu[1]:.1f} s of a core "
                f"({cpu[1] / cpu[0]:.1f} times), {a['memory'] / 1e6:.0f} and {b['memory'] / 1e6:,.0f} MB\n"
            )
            for run, faster, m in zip(long, times, (minutes, 2 * minutes), strict=True):
                sys.stdout.write(
                    f"  {m} min: {run['cpu_seconds']:.1f} s of a core "
                    f"({run['seconds']:.1f} s, load {run['load']:.1f}), {faster:.0f} times real time, "
                    f"{run['memory'] / 1e6:.0f} MB\n"
                )
                failed += [f"{way}: {faster:.0f} times real time"] * (faster < FASTER)
                failed += [f"{way}: {run['memory'] / 1e9:.2f} GB"] * (run["memory"] > MOST)
            failed += [f"{way}: slower than MNE"] * bool(cpu[1] < cpu[0])
    save_json(RESULTS / "envelopes.json", {**found, "machine": facts(), "day": today()})
    if failed:
        sys.exit("; ".join(failed))


if __name__ == "__main__":
    if "--one" in sys.argv:
        who, path, minutes, way = sys.argv[2:]
        sys.stdout.write(json.dumps(one(who, Path(path), int(minutes), way)))
    else:
        main()
