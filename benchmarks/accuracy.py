"""How well does it predict, beside the peer, and does it find which band matters?

python benchmarks/accuracy.py [REGIME ..] writes results/benchmarks/accuracy.json, a regime at a time. The peer's R² of
a data set is computed once and kept (himalaya-REGIME-SEED.npz), as is that of its candidates with exact inner folds
(replayed-REGIME-SEED.npz). Where a run of the peer takes a quarter of an hour (`REPLAYED`), these stand for it.
"""

import argparse
import sys
from dataclasses import dataclass

import numpy as np
from measure import RESULTS, facts, load_json, save_json, today
from peers import ALPHAS, himalaya_banded, quiet
from regimes import REGIMES, held_out_r2
from scipy.stats import t as student

from brainalign.maths.banded import BandedRidge
from brainalign.maths.scores import r2_split
from brainalign.maths.simulate import simulate_bands

TARGETS = 1000
REPLAYED = ("tall",)  # the peer's own run is only looked at where it was kept
LOSING = 0.01  # targets that lose more are counted
IRRELEVANT = 0.01  # bands whose true share is below
LEGIBLE = 0.2  # shares are compared with the truth for targets with at least this ceiling
ROUNDING = 1e-3  # held-out R² that float32 may cost
IN_FLOAT64 = 3  # data sets on which that is looked at


class Replayed(BandedRidge):
    """Ridge that tries the points it is given, gains (n_bands, k), every one for every target, and places none."""

    def __init__(self, bands, points, average):
        super().__init__(bands, average=average, shrinkage=np.zeros(len(points)))
        self.points = points

    def _gains(self, shrinkage, power):
        return self.points, None


def candidates(n_bands, iterations, seed, alphas=ALPHAS):
    """The gains (n_bands, iterations × alphas) that himalaya's random search tries: every draw at every alpha."""
    from himalaya.kernel_ridge import generate_dirichlet_samples

    with quiet("numpy"):
        gammas = generate_dirichlet_samples(iterations, n_bands, concentration=[0.1, 1.0], random_state=seed)
    gammas[0] = 1 / n_bands
    return (gammas[:, None] / np.asarray(alphas, float)[None, :, None]).reshape(-1, n_bands).T


def check_replay(seed=0, iterations=6):
    """Does the replay choose as himalaya does? Of a small simulation, in float64, both with the folds' own means."""
    from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search

    n, data = 200, simulate_bands(300, {"a": 30, "b": 120, "c": 5}, 100, seed=seed)
    X, Y = data.X.astype(float), data.Y.astype(float)
    centred = X - X[:n].mean(0)
    parts = [centred[:, data.bands == band] for band in "abc"]
    parts = [part / np.sqrt(np.square(part[:n]).sum() / n) for part in parts]
    kernels, across = (np.stack([part[rows] @ part[:n].T for part in parts]) for rows in (slice(n), slice(n, None)))
    asked = {"n_iter": iterations, "alphas": ALPHAS.astype(float), "random_state": seed, "return_weights": "dual"}
    with quiet("numpy"):
        deltas, dual, _, intercept = solve_multiple_kernel_ridge_random_search(
            kernels, Y[:n], fit_intercept=True, progress_bar=False, **asked
        )
    theirs = np.einsum("bt,bmn,nt->mt", np.exp(deltas), across, dual) + intercept
    model = Replayed(data.bands, candidates(3, iterations, seed), average=False).fit(X[:n], Y[:n])
    mean = Y[:n].mean(0)
    apart = np.abs(held_out_r2(Y[n:], model.predict(X[n:]), mean) - held_out_r2(Y[n:], theirs, mean))
    return {"largest_difference": float(apart.max()), "agree": bool(apart.max() < 1e-4), "targets": len(apart)}


def kept_file(kind, regime, seed, targets, iterations):
    """Where results of a data set are kept; sizes other than the regime's own have files of their own."""
    usual = (
        targets == TARGETS
        and iterations == REGIMES[regime.name].iterations
        and regime.n_train == (REGIMES[regime.name].n_train)
    )
    sizes = "" if usual else f"-{regime.n_train}x{targets}x{iterations}"
    return RESULTS / f"{kind}-{regime.name}-{seed}{sizes}.npz"


def himalayas(regime, data, seed, cached_only):
    """(t,) the peer's held-out R², computed if it is not there; None if it may not be."""
    path = kept_file("himalaya", regime, seed, data.Y.shape[1], regime.iterations)
    if not path.exists():
        if cached_only or regime.name in REPLAYED:
            return None
        kind = "group" if regime.columns < regime.n_train else "kernel"
        predicted = himalaya_banded(
            "numpy", kind, data.X, data.Y, data.bands, regime.n_train, regime.iterations, seed=seed
        )
        n = regime.n_train
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, r2=held_out_r2(data.Y[n:], predicted, data.Y[:n].mean(0)))
    return np.load(path)["r2"]


def replays(regime, data, seed):
    """(t,), (t,) held-out R² of the peer's candidates with exact inner folds: the best, and averaged as ours."""
    path = kept_file("replayed", regime, seed, data.Y.shape[1], regime.iterations)
    if not path.exists():
        points = candidates(len(regime.widths), regime.iterations, seed)
        model, averaged = scored(Replayed(data.bands, points, average=True), regime.n_train, data.X, data.Y)
        # shrinkage_ is that of the best point
        _, best = scored(BandedRidge(data.bands, shrinkage=model.shrinkage_), regime.n_train, data.X, data.Y)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, argmin=best, average=averaged)
    kept = np.load(path)
    if not np.isfinite([kept["argmin"], kept["average"]]).all():
        raise ValueError(f"{path} holds R² that are not finite: delete it")
    return kept["argmin"], kept["average"]


def scored(model, n, X, Y):
    """A model fitted on the first n rows, and (t,) its R² on the others."""
    model.fit(X[:n], Y[:n])
    return model, held_out_r2(Y[n:], model.predict(X[n:]), Y[:n].mean(0))


def shares(model, n, X, Y):
    """(n_bands, t) each band's part of what is explained of the test rows, none below 0."""
    parts = model.predict(X[n:], split=True) - model.predict(X[:n].mean(0, keepdims=True), split=True)
    explained = np.maximum(r2_split(Y[n:], parts, Y[:n].mean(0)), 0)
    total = explained.sum(0)
    return explained / np.where(total > 0, total, 1)


@dataclass
class Run:
    """What one data set gave: (t,) held-out R² by method, shares found and true (n_bands, t), ceiling (t,)."""

    r2: dict
    found: np.ndarray
    true: np.ndarray
    ceiling: np.ndarray


def run(regime, seed, targets, cached_only, replaying):
    """Every method on one data set."""
    data, n = regime.data(targets, seed), regime.n_train
    r2 = {}
    if (theirs := himalayas(regime, data, seed, cached_only)) is not None:
        r2["himalaya"] = theirs
    if replaying:
        r2["replayed"], r2["himalaya averaged"] = replays(regime, data, seed)
    _, r2["argmin"] = scored(BandedRidge(data.bands), n, data.X, data.Y)
    model, r2["average"] = scored(BandedRidge(data.bands, average=True), n, data.X, data.Y)
    if seed < IN_FLOAT64:
        wide = (data.X.astype(float), data.Y.astype(float))
        _, r2["average in float64"] = scored(BandedRidge(data.bands, average=True), n, *wide)
        _, r2["argmin in float64"] = scored(BandedRidge(data.bands), n, *wide)
    return Run(r2, shares(model, n, data.X, data.Y), data.share, data.ceiling)


def paired(ours, theirs):
    """Over data sets, each (t,): mean difference in R², its 95 % interval (Student's t), and how targets differ."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    means = np.array([one.mean() for one in differences])
    everyone = np.concatenate(differences)
    d = len(means)
    half = student.ppf(0.975, d - 1) * means.std(ddof=1) / np.sqrt(d) if d > 1 else float("nan")
    return {
        "difference": float(means.mean()),
        "low": float(means.mean() - half),
        "high": float(means.mean() + half),
        "quantile_05": float(np.quantile(everyone, 0.05)),
        "losing": float((everyone < -LOSING).mean()),
        "data_sets": d,
    }


def recovery(runs):
    """Correlation of shares with the truth, by band and all together, and the share of bands that do not matter."""
    found, true = (
        np.hstack([getattr(one, side)[:, one.ceiling > LEGIBLE] for one in runs]) for side in ("found", "true")
    )
    moving = [b for b in range(len(true)) if np.ptp(true[b]) > 0 and np.ptp(found[b]) > 0]
    each = [float(np.corrcoef(found[b], true[b])[0, 1]) for b in moving]
    idle = true < IRRELEVANT
    return {
        "r": float(np.corrcoef(found.ravel(), true.ravel())[0, 1]),
        "r_by_band": each,
        "irrelevant": float(found[idle].mean()) if idle.any() else float("nan"),
        "irrelevant_cases": int(idle.sum()),
    }


def rounding(runs):
    """Share of targets whose held-out R² float32 changes by more than `ROUNDING`, and by how much at most."""
    found = {}
    for how in ("argmin", "average"):
        apart = [abs(one.r2[how] - one.r2[f"{how} in float64"]) for one in runs if f"{how} in float64" in one.r2]
        if apart:
            apart = np.concatenate(apart)
            found[how] = {"share": float((apart > ROUNDING).mean()), "largest": float(apart.max())}
    return found


def summary(regime, runs):
    """The record of one regime."""
    methods = [how for how in runs[0].r2 if all(how in one.r2 for one in runs)]
    reference = next((how for how in ("himalaya", "replayed") if how in methods), None)
    pairs = {}
    for ours, theirs in (
        ("argmin", reference),
        ("average", reference),
        ("argmin", "himalaya"),  # where its own runs were kept for some data sets only
        ("average", "himalaya"),
        ("himalaya averaged", reference),
        ("average", "himalaya averaged"),
        ("replayed", "himalaya"),  # what its inner folds lose by the mean of all rows
        ("argmin", "replayed"),
    ):
        both = [one.r2 for one in runs if ours in one.r2 and theirs in one.r2]
        if both:
            pairs[f"{ours} − {theirs}"] = paired([one[ours] for one in both], [one[theirs] for one in both])
    noise = {how: float(-np.mean([one.r2[how][one.ceiling == 0].mean() for one in runs])) for how in methods}
    return {
        "what": regime.what,
        "targets": len(runs[0].ceiling),
        "data_sets": len(runs),
        "iterations": regime.iterations,
        "reference": reference,
        "r2": {how: float(np.mean([one.r2[how].mean() for one in runs])) for how in methods},
        "pairs": pairs,
        "noise_error": noise,
        "recovery": recovery(runs),
        "float32": rounding(runs),
        "day": today(),
    }


def told(name, record):
    """A regime's record in a few lines."""
    lines = [f"{name}: R² " + ", ".join(f"{how} {value:.4f}" for how, value in record["r2"].items())]
    for pair, found in record["pairs"].items():
        lines.append(
            f"  {pair}: {found['difference']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}], 5 % quantile "
            f"{found['quantile_05']:+.4f}, {found['losing']:.1%} of targets lose more than {LOSING}"
        )
    lines.append("  noise: " + ", ".join(f"{how} {value:.4f}" for how, value in record["noise_error"].items()))
    found = record["recovery"]
    bands = ", ".join(f"{r:.2f}" for r in found["r_by_band"])
    lines.append(f"  shares: r {found['r']:.3f} (bands {bands}), irrelevant bands {found['irrelevant']:.3f}")
    lines += [f"  float32, {how}: {found['share']:.2%}" for how, found in record["float32"].items()]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("regimes", nargs="*", metavar="REGIME", help=f"of {', '.join(REGIMES)}; left out: all")
    parser.add_argument("--seeds", type=int, default=10, help="data sets (10)")
    parser.add_argument("--targets", type=int, default=TARGETS, help=f"of each data set ({TARGETS})")
    parser.add_argument("--iterations", type=int, help="the peer's, instead of the regime's own number")
    parser.add_argument("--cached-only", action="store_true", help="never run the peer: leave out what is not kept")
    parser.add_argument("--no-replay", action="store_true", help="leave out the peer's candidates with exact folds")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to try the script; into results/…/quick")
    asked = parser.parse_args()
    path = RESULTS / ("quick" if asked.quick else "") / "accuracy.json"
    checked = check_replay()
    sys.stdout.write(f"replay against himalaya: {checked}\n")
    for name in asked.regimes or REGIMES:
        regime = REGIMES[name].changed(asked.targets, asked.iterations, asked.quick)
        replaying = not asked.no_replay or name in REPLAYED
        runs = [run(regime, seed, asked.targets, asked.cached_only, replaying) for seed in range(asked.seeds)]
        record = summary(regime, runs)
        written = load_json(path, {"regimes": {}})
        written["regimes"][name] = record
        save_json(path, {**written, "machine": facts(), "replay": checked})
        sys.stdout.write(told(name, record) + "\n")


if __name__ == "__main__":
    main()
