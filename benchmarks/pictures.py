"""How well do vision models predict neurons of macaque V4? How fast are pictures seen, and in how much memory?

python benchmarks/pictures.py v4       two recordings (BRAINALIGN_TEST_DATA/v4-natural-images), into results/benchmarks
python benchmarks/pictures.py speed    all layers of 640 pictures against the bare forward passes, in turns, one thread
python benchmarks/pictures.py memory   1,000 and 10,000 pictures into a store, each in a process of its own
"""

import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from measure import RESULTS

import brainalign as ba

DATA = Path(os.environ.get("BRAINALIGN_TEST_DATA", Path(__file__).parents[2] / "shared/data")) / "v4-natural-images"
DINO, SIZE = "dinov2-small-derived", 112  # pixels: what the monkey saw has no more
CNNS = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
STORE = RESULTS / "store"


def pictures_of(session, folder):
    """The session's pictures, in the order of its responses."""
    with zipfile.ZipFile(DATA / f"images_{session}.zip") as archive:
        archive.extractall(folder)
    return sorted(Path(folder).rglob("*.jpg"))


def responses_of(session, paths):
    """Mean spike counts, and (210325) every trial, each named after its picture."""
    names = [path.name for path in paths]
    average = np.load(DATA / f"responses_avg_{session}.npy").T
    samples = pd.DataFrame({"run": "1", "time": np.arange(len(names), dtype=float), "stimulus": names})
    columns = pd.DataFrame({"neuron": np.arange(average.shape[1])})
    mean = ba.Signal(average, samples, columns)
    raw = DATA / f"responses_raw_{session}.npy"
    if not raw.exists():
        return mean, None
    trials = np.load(raw).transpose(2, 1, 0)  # (repeats, pictures, neurons)
    met = ~np.isnan(trials).any(axis=2)
    repeat, which = np.nonzero(met)
    table = pd.DataFrame({"run": "1", "time": np.arange(len(which), dtype=float)})
    table = table.assign(stimulus=[names[k] for k in which], repeat=repeat)
    return mean, ba.Signal(trials[repeat, which], table, columns)
