"""From the file to windows around words: in which time, in how much memory, and beside MNE?

    python benchmarks/electrodes.py [--minutes 10]

A BrainVision recording of 200 channels at 2 kHz, so long and twice as long, goes through `read_ieeg` (common average,
line noise, high-gamma at 100 Hz, to a store) and `epochs` (every 0.4 s, 21 lags); a minute of it beside MNE, which does
the same with the recording in memory. Each in a process of its own with one thread; written to
results/benchmarks/electrodes.json.
"""

import argparse
import importlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import RESULTS, THREADS, facts, own_bytes, save_json, spread, today

FS, RATE, CHANNELS, LINE, EVERY = 2000, 100.0, 200, 50.0, 0.4
REPEATS = 3
FASTER, MOST = 20, 1e9  # than real time; bytes


def write(root, minutes):
    """A BIDS tree with one recording of int16: noise that falls off with frequency, and line noise."""
    names = [
        f"{shaft}{k}" for shaft in ("LA", "LB", "LC", "LD", "LE", "RA", "RB", "RC", "RD", "RE") for k in range(1, 21)
    ]
    folder = Path(root) / "sub-01" / "ieeg"
    folder.mkdir(parents=True)
    stem = folder / "sub-01_task-story"
    head = "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
    head += (
        f"DataFile={stem.name}_ieeg.eeg\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\nNumberOfChannels={CHANNELS}\n"
    )
    head += f"SamplingInterval={1e6 / FS}\n[Binary Infos]\nBinaryFormat=INT_16\n[Channel Infos]\n"
    head += "".join(f"Ch{k}={name},,0.1,µV\n" for k, name in enumerate(names, start=1))
    stem.with_name(f"{stem.name}_ieeg.vhdr").write_text(head, encoding="utf-8")
    rng = np.random.default_rng(0)
    with stem.with_name(f"{stem.name}_ieeg.eeg").open("wb") as file:
        for second in range(60 * minutes):
            walk = np.cumsum(rng.standard_normal((FS, CHANNELS), np.float32), axis=0)
            t = second + np.arange(FS) / FS
            hum = 200 * np.sin(2 * np.pi * LINE * t)[:, None]
            (20 * (walk - walk.mean(0)) + hum).astype("<i2").tofile(file)
    stem.with_name(f"{stem.name}_ieeg.json").write_text(json.dumps({"PowerLineFrequency": LINE}))
    table = "".join(f"{name}\tSEEG\tV\tgood\n" for name in names)
    stem.with_name(f"{stem.name}_channels.tsv").write_text("name\ttype\tunits\tstatus\n" + table)
    (Path(root) / "dataset_description.json").write_text(json.dumps({"Name": "made", "BIDSVersion": "1.10.0"}))


def words(seconds):
    """An event every 0.4 s."""
    import pandas as pd

    onset = np.arange(3.0, seconds - 3, EVERY)
    return pd.DataFrame({"onset": onset, "duration": 0.3, "run": "1"})


def ours(root, minutes):
    """From the tree to a Signal of words."""
    import brainalign as ba
    from brainalign.store import Store

    with tempfile.TemporaryDirectory(dir=root) as cache:
        brain = ba.read_ieeg(root, task="story", reference=ba.common_average, store=Store(cache))
        around = ba.epochs(brain, words(60 * minutes))
        return around.shape, float(np.mean(around.values[:100]))


def theirs(root, minutes):
    """The same as one writes it with MNE."""
    import mne

    mne.set_log_level("error")
    (path,) = Path(root).glob("sub-01/ieeg/*.vhdr")
    raw = mne.io.read_raw_brainvision(path, preload=True).set_channel_types(dict.fromkeys(_names(path), "seeg"))
    raw.set_eeg_reference("average", ch_type="seeg").notch_filter(np.arange(LINE, 250, LINE), picks="all")
    total = 0.0
    edges = np.geomspace(70, 150, 9)
    for low, high in itertools.pairwise(edges):
        one = raw.copy().filter(low, high, picks="all").apply_hilbert(picks="all", envelope=True).resample(RATE)
        envelope = one.get_data().T
        total = total + envelope / envelope.mean(axis=0) / 8
    whole = mne.io.RawArray(total.T, mne.create_info(CHANNELS, RATE, "misc"))
    onset = words(60 * minutes)["onset"].to_numpy()
    events = np.c_[np.rint(onset * RATE).astype(int), np.zeros((len(onset), 2), int)]
    cut = mne.Epochs(whole, events, tmin=-2.1, tmax=2.1, baseline=None, preload=True, picks="all").get_data()
    lags = np.stack([cut[..., k : k + 20].mean(-1) for k in range(0, 401, 20)], -1)
    return lags.shape, float(lags.mean())


def _names(path):
    return [line.split("=")[1].split(",")[0] for line in path.read_text().splitlines() if line.startswith("Ch")]


def child(name, root, minutes):
    """Read, and print one line of JSON: seconds, imports aside, and bytes of this process's own beyond those before."""
    for module in ("brainalign.io.ieeg", "mne.io"):  # importing is not reading
        importlib.import_module(module)
    with own_bytes() as idle:
        time.sleep(0.2)
    load, began, cpu_began = os.getloadavg()[0], time.perf_counter(), time.process_time()
    with own_bytes() as most:
        shape, mean = {"ours": ours, "theirs": theirs}[name](root, minutes)
    told = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu_began, "load": load}
    print(json.dumps({**told, "memory": most[0] - idle[0], "peak": most[0], "shape": shape, "mean": mean}))


def call(name, root, minutes):
    """`child` in a process of its own, of one thread."""
    command = [sys.executable, __file__, "--child", name, str(root), str(minutes)]
    env = {**os.environ, **dict.fromkeys(THREADS, "1")}
    return json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.splitlines()[-1]
    )


def main():
    """Write the trees, go through them, print and save what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        name, root, minutes = asked.child
        child(name, root, int(minutes))
        return
    found, failed = {}, []
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, "beside"), 1)
        pairs = [
            (call("ours", Path(folder, "beside"), 1), call("theirs", Path(folder, "beside"), 1)) for _ in range(REPEATS)
        ]
        mine, peer = (spread(runs) for runs in zip(*pairs, strict=True))
        cpu = [float(np.median([pair[k]["cpu_seconds"] for pair in pairs])) for k in (0, 1)]
        found |= {"ours": mine, "mne": peer, "ratio": cpu[1] / cpu[0]}
        sizes = [one["memory"] / 1e6 for one in (mine, peer)]
        print(
            f"1 min: {cpu[0]:.1f} s of a core, {sizes[0]:,.0f} MB; MNE {cpu[1]:.1f} s, {sizes[1]:,.0f} MB", flush=True
        )
        failed += ["slower than MNE"] * (cpu[1] < cpu[0]) + ["more memory than MNE"] * (mine["memory"] > peer["memory"])
        for minutes in (asked.minutes, 2 * asked.minutes):
            write(Path(folder, str(minutes)), minutes)
            one = call("ours", Path(folder, str(minutes)), minutes)
            faster = 60 * minutes / one["cpu_seconds"]
            found[f"{minutes} min"] = {**one, "times_real_time": faster}
            print(
                f"{minutes} min: {one['cpu_seconds']:.1f} of {one['seconds']:.1f} s of a core, load {one['load']:.1f}, "
                f"{faster:.0f} times real time, {one['memory'] / 1e6:,.0f} MB, {one['shape']}",
                flush=True,
            )
            failed += [f"{minutes} min: {faster:.0f} times real time"] * (faster < FASTER)
            failed += [f"{minutes} min: {one['memory'] / 1e9:.2f} GB"] * (one["memory"] > MOST)
    save_json(RESULTS / "electrodes.json", {"date": today(), "facts": facts(), **found})
    if failed:
        sys.exit("; ".join(failed))


if __name__ == "__main__":
    main()
