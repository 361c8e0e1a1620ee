"""Fits to report on: simulated listening with a known truth, fitted by the real `encode`."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from brainalign.encoding.ceilings import between_subjects, none
from brainalign.encoding.chance import Chance
from brainalign.encoding.encode import encode
from brainalign.encoding.folds import by_run, contiguous, drawn, hold_out
from brainalign.encoding.parts import Partition
from brainalign.encoding.result import Encoding
from brainalign.signals import Signal, average_people

REGIONS = ["LATL", "RATL", "LPTL", "LIPL", "LPreM", "LIFG"]
TR = 2.0


def clock(runs: int, volumes: int) -> pd.DataFrame:
    run = np.repeat([str(k + 1) for k in range(runs)], volumes)
    return pd.DataFrame({"run": run, "time": np.tile(np.arange(volumes) * TR, runs)})


def smooth(rng: np.random.Generator, n: int, p: int) -> np.ndarray:
    x = rng.standard_normal((n + 4, p))
    return x[4:] + 0.9 * x[3:-1] + 0.7 * x[2:-2] + 0.4 * x[1:-3]


def design(samples: pd.DataFrame, layers: tuple[int, ...] = (0, 1, 2, 3, 4), seed: int = 0) -> Signal:
    """A rate and layers of three units; layer 2 is the one the brain listens to."""
    rng = np.random.default_rng(seed)
    n = len(samples)
    rate, truth = smooth(rng, n, 1), smooth(rng, n, 3)
    parts = [truth + 0.8 * abs(k - 2) * smooth(rng, n, 3) for k in layers]
    columns = pd.DataFrame(
        {
            "band": ["rate"] + [f"lm.{k}" for k in layers for _ in range(3)],
            "layer": [np.nan] + [float(k) for k in layers for _ in range(3)],
        }
    )
    return Signal(np.concatenate([rate, *parts], axis=1), samples, columns)


def brain(x: Signal, people: int, places: pd.DataFrame, noise: float = 3.6, seed: int = 1) -> Signal:
    """`people` who hear the rate and layer 2, each with noise of their own."""
    rng = np.random.default_rng(seed)
    n, t = len(x.samples), len(places)
    layer = x.values[:, (x.columns["band"] == "lm.2").to_numpy()]
    heard = x.values[:, :1] * rng.uniform(0.3, 1, t) + layer @ rng.standard_normal((3, t)) * rng.uniform(0.2, 0.8, t)
    values = np.concatenate([heard + noise * smooth(rng, n, t) for _ in range(people)], axis=1)
    columns = pd.concat([places.assign(subject=str(18 + k)) for k in range(people)], ignore_index=True)
    return Signal(values, x.samples, columns[["subject", *places.columns]])


SETTINGS = {
    "title": "Does a language model predict the brain of someone listening to a story?",
    "data": {"bids": "alice", "task": "alice", "average": "subjects"},
    "features": [
        {"name": "rate", "kind": "word_rate"},
        {"name": "lm", "kind": "language", "model": "smollm2-135m", "layers": "best", "context": 128, "pca": 50},
    ],
    "design": {"resample": "lanczos", "delays_volumes": [1, 2, 3, 4, 5], "clean": "run"},
    "encoding": {"baseline": ["rate"]},
    "decided": {
        "folds": "6 contiguous folds, 16 s left out on both sides",
        "ceiling": "split_half",
        "subjects": [str(18 + k) for k in range(7)],
        "left_out": [{"subject": "33", "why": "every value of sub-33_bold.tsv is 0"}],
        "words": 2127,
    },
}


def excerpt(seconds: float = 36.0) -> pd.DataFrame:
    text = [
        "Alice",
        "was",
        "beginning",
        "to",
        "get",
        "very",
        "tired",
        "of",
        "sitting",
        "by",
        "her",
        "sister",
        "on",
        "the",
    ]
    rng = np.random.default_rng(2)
    onset = np.cumsum(rng.uniform(0.15, 0.6, 200))
    onset = onset[onset < seconds]
    words = [text[k % len(text)] for k in range(len(onset))]
    length = np.array([float(len(w)) for w in words])
    times = np.arange(0, seconds, TR)
    t = (times[:, None] - onset[None, :]) / TR
    volumes = np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0) @ length
    events = pd.DataFrame({"kind": "event", "run": "1", "time": onset, "duration": 0.2, "text": words, "value": length})
    after = pd.DataFrame({"kind": "volume", "run": "1", "time": times, "duration": TR, "text": "", "value": volumes})
    both = pd.concat([events, after], ignore_index=True).assign(kernel="lanczos")
    both.insert(5, "feature", "length")
    return both


@pytest.fixture(scope="session")
def listening():
    """Seven people, six regions, five layers, one run, baseline and full."""
    x = design(clock(1, 180))
    people = brain(x, 7, pd.DataFrame({"roi": REGIONS}))
    fit = encode(
        x,
        average_people(people),
        folds=contiguous(6, gap_s=16),
        inner=3,
        baseline=["rate"],
        alternatives={"lm": [f"lm.{k}" for k in range(5)]},
        ceiling=between_subjects,
        chance=Chance(permutations=199, bootstrap=200),
        weights=False,
    )
    controls = pd.DataFrame(
        {
            "control": ["as asked", "untrained", "reversed"],
            "what": ["", "the same network with random weights", "the stimulus reversed in time"],
            "baseline_r": [0.25, 0.25, -0.02],
            "full_r": [0.32, 0.26, 0.01],
            "gain_r": [0.07, 0.01, 0.03],
            "difference": [np.nan, 0.06, 0.04],
            "low": [np.nan, 0.01, -0.02],
            "high": [np.nan, 0.11, 0.1],
            "p": [np.nan, 0.0078, 0.24],
        }
    )
    notes = ("sub-33 left out: every value of sub-33_bold.tsv is 0", *fit.notes)
    return replace(fit, settings=SETTINGS, controls=controls, excerpt=excerpt(), notes=notes)


@pytest.fixture(scope="session")
def alone():
    """One model, one person, three runs, no ceiling, no p, no interval."""
    x = design(clock(3, 60), layers=(2,))
    y = brain(x, 1, pd.DataFrame({"roi": REGIONS[:2]}), noise=1.0)
    y = Signal(y.values, y.samples, y.columns[["roi"]])
    return encode(x, y, folds=by_run, ceiling=none, chance=Chance(permutations=0, bootstrap=0), weights=False)


@pytest.fixture(scope="session")
def voxels():
    """500 voxels with coordinates, four runs of which one is held out."""
    x = design(clock(4, 60), layers=(2,))
    grid = np.stack(np.meshgrid(*[np.arange(k) * 8.0 - 40 for k in (10, 10, 5)], indexing="ij"), -1).reshape(-1, 3)
    y = brain(x, 1, pd.DataFrame(grid, columns=["x", "y", "z"]), noise=1.5)
    y = Signal(y.values, y.samples, y.columns[["x", "y", "z"]])
    return encode(
        x, y, folds=hold_out(run=["4"]), baseline=["rate"], ceiling=none, chance=Chance(permutations=19, bootstrap=50),
        weights=False,
    )  # fmt: skip


def partitioned(names=("rate", "lm"), n=3, kinds=("product", "unique"), seed=0, targets=None):
    """A fit of which only the partition matters: what is common to whom is drawn at random, the rest follows."""
    rng = np.random.default_rng(seed)
    columns = pd.DataFrame({"roi": [f"R{k}" for k in range(n)]}) if targets is None else targets
    sets = [s for k in (1, 2, 3, 4) if k == 1 or len(names) < 5 for s in combinations(names, k)]
    common = {some: rng.normal(0.05 if len(some) == 1 else 0.02, 0.02, n) for some in sets}
    joint = sum(common.values())
    share = rng.dirichlet(np.ones(len(names)), n).T
    ceiling = np.where(np.arange(n) % 3 == 2, np.nan, rng.uniform(0.3, 0.6, n))  # NaN: not told from zero
    values = {
        "product": dict(zip(names, share * joint, strict=True)),
        "unique": {name: common[(name,)] for name in names},
        "common": {"&".join(some): value for some, value in common.items()},
    }
    rows = []
    for kind in kinds:
        for part, r2 in values[kind].items():
            blank = dict.fromkeys(("low", "high", "p", "q"), np.nan)
            if kind == "unique":
                blank = {"low": r2 - 0.01, "high": r2 + 0.01, "p": 0.01, "q": np.where(r2 > 0.05, 0.01, 0.2)}
            rows.append(columns.assign(model="full", kind=kind, part=part, r2=r2, normalised_r2=r2 / ceiling, **blank))
    samples = pd.DataFrame({"run": np.repeat(["1", "2"], 10), "time": np.tile(np.arange(10) * 2.0, 2)})
    observed = noise(rng, samples, columns)
    predictions = noise(rng, samples, columns.assign(model="full"))
    blank = dict.fromkeys(("r_low", "r_high", "ceiling_p", "p", "q"), np.nan)
    scores = columns.assign(
        model="full", r=np.sqrt(joint.clip(0.01)), r2=joint, ceiling_r=np.sqrt(ceiling), ceiling_r2=ceiling,
        ceiling_kind="split_half", normalised_r=np.sqrt(joint.clip(0.01) / ceiling), normalised_r2=joint / ceiling,
        **{f"r2_{name}": value for name, value in values["product"].items()}, **blank,
    )  # fmt: skip
    table = pd.concat(rows, ignore_index=True)
    return Encoding(
        scores,
        predictions,
        observed,
        drawn(by_run(observed), samples),
        partition=table,
        settings={"encoding": {"baseline": ["rate"]}},
    )


def noise(rng, samples, columns):
    """A Signal of nothing."""
    values = rng.standard_normal((len(samples), len(columns)))
    return Signal(values, samples.assign(fold=np.repeat([1, 2], 10)), columns)


@pytest.fixture(scope="session")
def fit_of():
    """The maker of fits with a partition."""
    return partitioned


LAGS = (-0.2, 0.0, 0.2, 0.4, 0.6)


def electrodes(people=("01", "02", "03"), each=3, lags=LAGS, noise=2.0, words=240, seed=3, **how):
    """Electrodes that follow the length of each word as it begins and a model 0.2 s later, the last of each 0.4 s."""
    rng = np.random.default_rng(seed)
    run = np.repeat(["1", "2"], words // 2)
    onset = np.tile(np.cumsum(rng.uniform(0.2, 0.6, words // 2)), 2)
    samples = pd.DataFrame({"run": run, "time": onset, "word": [f"w{k}" for k in range(words)]})
    x = rng.standard_normal((words, 3))
    design = Signal(x, samples, pd.DataFrame({"band": ["length", "lm", "lm"]}))
    rows, columns = [], []
    for who in people:
        for k in range(each):
            place = dict(zip("xyz", rng.uniform(-60, 60, 3).round(1), strict=True))
            for lag in lags:
                seen = x[:, 0] * np.exp(-((lag / 0.1) ** 2))
                seen = seen + x[:, 1:].sum(1) * np.exp(-(((lag - (0.4 if k == each - 1 else 0.2)) / 0.1) ** 2))
                rows.append(seen + noise * rng.standard_normal(words))
                name = {"subject": who, "channel": f"LA{k + 1}", "type": "SEEG", **place, "frame": "MNI152Lin"}
                columns.append({**name, "shaft": "LA", "lag": lag})
    responses = Signal(np.array(rows).T, samples, pd.DataFrame(columns))
    how = {"folds": contiguous(4, gap_s=2), "inner": 3, "baseline": ["length"], "ceiling": none, "weights": False} | how
    return encode(design, responses, **{"chance": Chance(permutations=0, bootstrap=0), "partition": PARTS} | how)


PARTS = Partition(product=True, unique=True, features={"length": ["length"], "lm": ["lm"]})


@pytest.fixture(scope="session")
def lagged():
    """Three people with three electrodes each, at five lags."""
    fit = electrodes(chance=Chance(permutations=19, bootstrap=0))
    asked = {"start": -0.2, "stop": 0.6, "step": 0.2, "window": 0.2}
    settings = {"title": "What do electrodes follow?", "data": {"bids": "tree", "kind": "ieeg", "rate": 100.0}}
    recorded = {
        "band": "amplitude at 70–150 Hz in 8 sub-bands",
        "reference": "common_average",
        "line_noise": {"01, 1": 60.0, "01, 2": 60.0, "02, 1": None},
        "bad_channels": {"01": {"LA6": "flat", "LA7": "bad by channels.tsv", "LA8": "flat"}, "02": {}},
    }
    return replace(
        fit, settings=settings | {"design": {"lags": asked}, "decided": {"words": 240, "recorded": recorded}}
    )


@pytest.fixture(scope="session")
def electrodes_of():
    """The maker of fits of electrodes at lags."""
    return electrodes
