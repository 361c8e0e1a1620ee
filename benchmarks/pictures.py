"""How well do vision models predict neurons of macaque V4? How fast are pictures seen, and in how much memory?

python benchmarks/pictures.py v4       two recordings (BRAINALIGN_TEST_DATA/v4-natural-images), into results/benchmarks
python benchmarks/pictures.py speed    all layers of 640 pictures against the bare forward passes, in turns, one thread
python benchmarks/pictures.py memory   1,000 and 10,000 pictures into a store, each in a process of its own
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from measure import RESULTS, facts, own_bytes, save_json, today

import brainalign as ba
from brainalign.encoding.ceilings import none
from brainalign.store import Store

DATA = Path(os.environ.get("BRAINALIGN_TEST_DATA", Path(__file__).parents[2] / "shared/data")) / "v4-natural-images"
SESSIONS = ("210325", "201025")
DINO, SIZE = "dinov2-small-derived", 112  # pixels: what the monkey saw has no more
CNNS = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
MIXTURES = 2_048  # of the units of a convolutional layer, which has up to 100,000


def pictures_of(session, folder):
    """The session's pictures, in the order of its responses."""
    with zipfile.ZipFile(DATA / f"images_{session}.zip") as archive:
        archive.extractall(folder)
    return sorted(Path(folder).rglob("*.jpg"))


def responses_of(session, names):
    """Mean spike counts, and (210325) every trial, each named after its picture."""
    average = np.load(DATA / f"responses_avg_{session}.npy").T
    columns = pd.DataFrame({"neuron": np.arange(average.shape[1])})
    samples = pd.DataFrame({"run": "1", "time": np.arange(len(names), dtype=float), "stimulus": names})
    mean = ba.Signal(average, samples, columns)
    raw = DATA / f"responses_raw_{session}.npy"
    if not raw.exists():
        return mean, none
    trials = np.load(raw).transpose(2, 1, 0)  # (repeats, pictures, neurons), NaN where there was none
    repeat, which = np.nonzero(~np.isnan(trials).any(axis=2))
    table = pd.DataFrame({"run": "1", "time": np.arange(len(which), dtype=float), "repeat": repeat})
    single = ba.Signal(trials[repeat, which], table.assign(stimulus=np.array(names)[which]), columns)
    return mean, ba.between_repeats(of=single)


def features_of(paths, store):
    """Name → Signal, each band of which is an alternative: layers, or the one band there is."""
    kept = {"store": store}
    yield "pixels", ba.pixels(paths, side=32, **kept)
    yield "gabor", ba.gabor_energy(paths, **kept)
    wide = {"size": SIZE, "pool": "tokens", **kept}
    yield DINO, ba.embed_images(paths, DINO, **wide)
    yield "untrained", ba.embed_images(paths, ba.untrained(DINO, seed=0), [0, 4, 8, 12], name="untrained", **wide)
    for name in CNNS:
        yield name, ba.embed_images(paths, name, reduce=ba.random_projection(MIXTURES), **wide)


def v4():
    """Held-out scores of every feature, its layers apart and one of them chosen per neuron in inner folds."""
    store = Store(RESULTS / "store")
    found = {}
    for session in SESSIONS:
        with tempfile.TemporaryDirectory() as folder:
            paths = pictures_of(session, folder)
            brain, ceiling = responses_of(session, [path.name for path in paths])
            for name, X in features_of(paths, store):
                design = ba.Signal(X.values, brain.samples, X.columns, attrs=X.attrs)
                rules = {"shuffled": ba.shuffled(5)}
                if session == "210325" and name in ("pixels", "gabor", DINO):
                    rules["categories"] = ba.contiguous(8)  # 80 pictures each, one category after the other
                for kind, folds in rules.items():
                    began = time.perf_counter()
                    fit = ba.encode(
                        design,
                        brain,
                        folds=folds,
                        alternatives={name: X.bands},
                        ceiling=ceiling,
                        chance=ba.Chance(permutations=0),
                        weights=False,
                        store=store,
                        progress=watch,
                    )
                    found.setdefault(session, {}).setdefault(kind, {})[name] = summary(fit, X)
                    say(f"{session} {kind} {name}: {time.perf_counter() - began:.0f} s", found[session][kind][name])
    return {"size": SIZE, "mixtures": MIXTURES, "sessions": found}


def watch(done, total, what):
    """How far a fit is."""
    if done == total or done % 13 == 0:
        sys.stdout.write(f"  {what}: {done} of {total}\n")
        sys.stdout.flush()


def summary(fit, X):
    """Medians over neurons with 95 % intervals (neurons drawn again), and the mean of every layer with its own."""
    medians = fit.scores.groupby("model", sort=False)[["r", "normalised_r", "ceiling_r"]].median()
    draw = np.random.default_rng(0)
    full = fit.scores.query("model == 'full'")[["r", "normalised_r"]].to_numpy()
    again = np.nanmedian(full[draw.integers(0, len(full), (2_000, len(full)))], axis=1)
    layers = fit.layers.assign(median_r=medians["r"].reindex(fit.layers["model"]).to_numpy())
    layers = layers.assign(median_normalised_r=medians["normalised_r"].reindex(fit.layers["model"]).to_numpy())
    return {
        "full": medians.loc["full"].to_dict(),
        "low": np.nanpercentile(again, 2.5, axis=0).tolist(),
        "high": np.nanpercentile(again, 97.5, axis=0).tolist(),
        "layers": layers.to_dict(orient="list"),
        "columns": X.shape[1],
        "notes": list(fit.notes),
    }


def say(what, one):
    """A line for those who watch."""
    best = ", ".join(f"{key} {value:.3f}" for key, value in one["full"].items())
    sys.stdout.write(f"{what}; {best}; layers {np.round(one['layers']['median_r'], 3).tolist()}\n")
    sys.stdout.flush()


ROUNDS = 2


def speed():
    """All 13 layers of 640 pictures against the bare forward passes of the same network, one thread, in turns."""
    import torch
    from transformers import AutoImageProcessor, Dinov2Model

    from brainalign.features.models import model_folder
    from brainalign.features.seeing import BATCH

    torch.set_num_threads(1)
    network = Dinov2Model.from_pretrained(model_folder(DINO)).eval()
    processor = AutoImageProcessor.from_pretrained(model_folder(DINO), backend="pil")
    with tempfile.TemporaryDirectory() as folder:
        paths = pictures_of("210325", folder)
        from PIL import Image

        # their pixels, prepared beforehand: what is timed is the network alone
        seen = torch.cat([processor(Image.open(p).convert("RGB"), return_tensors="pt")["pixel_values"] for p in paths])

        def bare():
            with torch.inference_mode():
                for start in range(0, len(seen), BATCH):
                    network(pixel_values=seen[start : start + BATCH])

        ways = {
            "bare": bare,
            "mean": lambda: ba.embed_images(paths, DINO, store=Store(tempfile.mkdtemp(dir=folder))),
        }
        seconds = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - began)
                sys.stdout.write(f"{name} {seconds[name][-1]:.1f} s\n")
                sys.stdout.flush()
    medians = {name: float(np.median(some)) for name, some in seconds.items()}
    ratios = {"mean": medians["mean"] / medians["bare"]}
    return {"pictures": len(paths), "layers": 13, "rounds": seconds, "ratios": ratios}


def one_memory(n):
    """Bytes of its own at the peak of a process that sees n pictures, all tokens of all layers, into a store."""
    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        from PIL import Image

        paths = [Path(folder) / f"{k}.png" for k in range(n)]
        for path in paths:
            Image.fromarray(draw.integers(0, 256, (28, 28, 3), dtype=np.uint8)).save(path)
        with own_bytes() as most:
            began = time.perf_counter()
            shape = ba.embed_images(paths, DINO, size=28, pool="tokens", store=Store(folder)).shape
            seconds = time.perf_counter() - began
    return {"shape": shape, "own_bytes": most[0], "seconds": seconds}


def memory():
    """The same at ten times as many pictures."""
    found = {}
    for n in (1_000, 10_000):
        done = subprocess.run([sys.executable, __file__, "memory", str(n)], capture_output=True, text=True, check=True)
        found[n] = json.loads(done.stdout.splitlines()[-1])
        sys.stdout.write(f"{n}: {found[n]}\n")
    return {"found": found, "ratio": found[10_000]["own_bytes"] / found[1_000]["own_bytes"]}


if __name__ == "__main__":
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    if what == "memory" and len(sys.argv) > 2:
        sys.stdout.write(json.dumps(one_memory(int(sys.argv[2]))) + "\n")
    elif what in ("v4", "speed", "memory"):
        save_json(
            RESULTS / f"pictures-{what}.json", {"model": DINO, "machine": facts(), "day": today(), **globals()[what]()}
        )
    else:
        sys.exit(__doc__)
