"""What is choosing worth: how much of a gain is made by looking at the test samples, and what does nested choice cost?

python benchmarks/choosing.py prints the numbers of docs/ideas/choosing.md. Alternatives: five runs of 60 samples, six
seeds with 20 targets each, a baseline of two columns that carries 10 % of the variance, and 32 alternatives of five
columns, of which none, or the first, carries 10 %. Lags: noise at 20 of them, 40 electrodes, six seeds. Intervals: five
layers of which neighbours correlate .6, one carries 30 %, four runs of 60 samples, twelve seeds with 10 targets each.
"""

import sys

import numpy as np
import pandas as pd

from brainalign.encoding.chance import Chance
from brainalign.encoding.encode import encode
from brainalign.encoding.fit import Fits, fit_models, models_of, pose, sources_of
from brainalign.encoding.latency import latency
from brainalign.encoding.score import Tested, plain_r
from brainalign.maths.scores import pearson_within
from brainalign.signals import Signal

RUNS, LENGTH, TARGETS, WIDTH, SHARE = 5, 60, 20, 5, 0.1
COUNTS = (1, 4, 12, 32)
SEEDS = range(6)


def clock(runs: int, length: int) -> pd.DataFrame:
    """Runs of samples 2 s apart."""
    names = [str(k) for k in range(runs)]
    return pd.DataFrame({"run": np.repeat(names, length), "time": np.tile(np.arange(length) * 2.0, runs)})


def simulate(planted: bool, seed: int) -> tuple[Signal, Signal]:
    """A design of a baseline and alternatives, and responses to the baseline and, if planted, the first of them."""
    rng = np.random.default_rng(seed)
    samples = clock(RUNS, LENGTH)
    names = ["rate", *(f"lm.{k}" for k in range(COUNTS[-1]))]
    bands = {name: rng.standard_normal((len(samples), 2 if name == "rate" else WIDTH)) for name in names}
    y = np.sqrt(1 - SHARE * (1 + planted)) * rng.standard_normal((len(samples), TARGETS))
    for name in names[: 1 + planted]:
        weights = rng.standard_normal((bands[name].shape[1], TARGETS))
        y += np.sqrt(SHARE) * bands[name] @ (weights / np.linalg.norm(weights, axis=0))
    columns = pd.DataFrame({"band": np.repeat(names, [values.shape[1] for values in bands.values()])})
    X = Signal(np.concatenate(list(bands.values()), axis=1), samples, columns)
    return X, Signal(y, samples, pd.DataFrame({"target": np.arange(TARGETS)}))


def gains(planted: bool, seed: int) -> np.ndarray:
    """(counts, 2) mean gain in r over the baseline: the best seen on test samples, the one chosen in inner folds."""
    X, Y = simulate(planted, seed)
    problem = pose(X, Y, seed=seed)
    models = models_of(X.bands, ["rate"], {"lm": X.bands[1:]})
    fits = fit_models(problem, [(model,) for model in models], None)

    def scored(some: Fits, name: str) -> np.ndarray:
        return plain_r(Tested(problem, sources_of(some, name)).of(problem.own))

    r = np.stack([scored(fits, model.name) for model in models])
    out = []
    for count in COUNTS:
        nested = scored(Fits(tuple(models[: count + 1]), fits.by_model), "full")
        out.append([(r[1 : count + 1].max(0) - r[0]).mean(), (nested - r[0]).mean()])
    return np.array(out)


def lags_of_noise(folds: int, seed: int, lags: int = 20, electrodes: int = 40) -> list[float]:
    """Mean r over electrodes: highest seen, at lags chosen in the other folds, at lags chosen in inner folds."""
    rng = np.random.default_rng(seed)
    samples = clock(folds, 400 // folds)
    X = Signal(rng.standard_normal((len(samples), 10)), samples, pd.DataFrame({"band": ["lm"] * 10}))
    columns = {"electrode": np.repeat(np.arange(electrodes), lags), "lag": np.tile(np.arange(lags) / 10, electrodes)}
    Y = Signal(rng.standard_normal((len(samples), electrodes * lags)), samples, pd.DataFrame(columns))
    fit = encode(X, Y, chance=Chance(0, 0), weights=False)
    y, predicted, fold = fit.observed.array(), fit.predictions.array(), fit.observed.samples["fold"].to_numpy()
    taken = np.empty((2, len(fold), electrodes))
    for one in np.unique(fold):
        there = fold == one
        r = pearson_within(y[~there], predicted[~there], fold[~there]).reshape(electrodes, lags)
        at = np.arange(electrodes) * lags + np.nanargmax(r, axis=1)
        taken[:, there] = y[there][:, at], predicted[there][:, at]
    found = latency(fit, bootstrap=0)
    return [found["r_peak"].mean(), pearson_within(*taken, fold).mean(), found["r_nested"].mean()]


def related_layers(planted: int, seed: int) -> np.ndarray:
    """(targets, 4): centre, whether its interval holds the planted layer, or the noiseless centre; chosen rightly."""
    rng = np.random.default_rng(seed)
    samples, places, width, targets = clock(4, 60), np.array([0, 3, 6, 9, 12]), 4, 10
    apart = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    drawn = rng.standard_normal((5, len(samples), width))
    layers = np.einsum("ij,jnw->inw", np.linalg.cholesky(0.6**apart), drawn)
    rate, weights = rng.standard_normal((len(samples), 1)), rng.standard_normal((width, targets))
    y = np.sqrt(0.1) * rate + np.sqrt(0.3) * layers[planted] @ (weights / np.linalg.norm(weights, axis=0))
    y += np.sqrt(0.6) * rng.standard_normal(y.shape)
    names = [f"lm.{place}" for place in places]
    columns = {"band": ["rate", *np.repeat(names, width).tolist()], "layer": [np.nan, *np.repeat(places, width)]}
    X = Signal(np.concatenate([rate, *layers], axis=1), samples, pd.DataFrame(columns))
    Y = Signal(y, samples, pd.DataFrame({"target": np.arange(targets)}))
    how = {"baseline": ["rate"], "alternatives": {"lm": names}, "chance": Chance(0, 200), "weights": False}
    table = encode(X, Y, inner=3, **how).choices
    gain = np.sqrt(0.1 + 0.3 * 0.36 ** apart[planted]) - np.sqrt(0.1)
    there = [
        table["centre_low"].le(at) & table["centre_high"].ge(at) for at in (places[planted], gain @ places / gain.sum())
    ]
    return np.stack([table["centre"], *there, table["place"] == places[planted]], axis=1).astype(float)


def main() -> None:
    for planted, what in ((False, "nothing planted"), (True, "one planted")):
        all_of = np.array([gains(planted, seed) for seed in SEEDS])
        mean, error = all_of.mean(0), all_of.std(0, ddof=1) / np.sqrt(len(all_of))
        for count, (seen, nested), (e_seen, e_nested) in zip(COUNTS, mean, error, strict=True):
            sys.stdout.write(
                f"{what}, {count:2d} alternatives: best seen {seen:+.3f} ({e_seen:.3f}), "
                f"nested {nested:+.3f} ({e_nested:.3f})\n"
            )
    for folds in (2, 5, 10):
        all_of = np.array([lags_of_noise(folds, seed) for seed in SEEDS])
        mean, error = all_of.mean(0), all_of.std(0, ddof=1) / np.sqrt(len(all_of))
        said = zip(("best seen", "chosen in other folds", "nested"), mean, error, strict=True)
        sys.stdout.write(f"{folds} folds: " + ", ".join(f"{a} {m:+.3f} ({e:.3f})" for a, m, e in said) + "\n")
    for planted in (2, 4):
        centre, layer, noiseless, right = np.concatenate([related_layers(planted, s) for s in range(12)]).mean(0)
        sys.stdout.write(
            f"layer {3 * planted} of 0 to 12: chosen in {right:.0%}, centre {centre:.1f}, its interval holds the layer "
            f"in {layer:.0%}, the noiseless centre in {noiseless:.0%}\n"
        )


if __name__ == "__main__":
    main()
