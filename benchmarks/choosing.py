"""What is choosing worth: how much of a gain is made by looking at the test samples, and what does nested choice cost?

python benchmarks/choosing.py prints the table of docs/ideas/choosing.md: five runs of 60 samples, six
seeds with 20 targets each, a baseline of two columns that carries 10 % of the variance, and 32 alternatives of five
columns, of which none, or the first, carries 10 %.
"""

import sys

import numpy as np
import pandas as pd

from brainalign.encoding.chance import plain_r
from brainalign.encoding.fit import Fits, choose, fit_models, models_of, pose
from brainalign.encoding.score import held_out
from brainalign.signals import Signal

RUNS, LENGTH, TARGETS, WIDTH, SHARE = 5, 60, 20, 5, 0.1
COUNTS = (1, 4, 12, 32)
SEEDS = range(6)


def simulate(planted: bool, seed: int) -> tuple[Signal, Signal]:
    """A design of a baseline and alternatives, and responses to the baseline and, if planted, the first of them."""
    rng = np.random.default_rng(seed)
    clock = {"run": np.repeat([str(k) for k in range(RUNS)], LENGTH), "time": np.tile(np.arange(LENGTH) * 2.0, RUNS)}
    samples = pd.DataFrame(clock)
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
    fits = fit_models(problem, models, None)
    r = np.stack([plain_r(held_out(problem, fits.by_model[model.name])) for model in models])
    out = []
    for count in COUNTS:
        nested = plain_r(held_out(problem, choose(Fits(tuple(models[: count + 1]), fits.by_model))))
        out.append([(r[1 : count + 1].max(0) - r[0]).mean(), (nested - r[0]).mean()])
    return np.array(out)


def main() -> None:
    for planted, what in ((False, "nothing planted"), (True, "one planted")):
        all_of = np.array([gains(planted, seed) for seed in SEEDS])
        mean, error = all_of.mean(0), all_of.std(0, ddof=1) / np.sqrt(len(all_of))
        for count, (seen, nested), (e_seen, e_nested) in zip(COUNTS, mean, error, strict=True):
            sys.stdout.write(
                f"{what}, {count:2d} alternatives: best seen {seen:+.3f} ({e_seen:.3f}), "
                f"nested {nested:+.3f} ({e_nested:.3f})\n"
            )


if __name__ == "__main__":
    main()
