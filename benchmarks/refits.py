"""How fast is the null of cross-validated scores, beside fitting rearranged responses one after the other?

python benchmarks/refits.py writes results/benchmarks/refits.json: 1,000 shifts of 1,000 responses, 1,000 samples in one
run, 300 columns in three bands, five folds. Both keep each target's penalties. The plain way fits `BandedRidge` with
`shrinkage=` for every shift and fold; it is run for a few shifts and the rest counted at the same time each. A second
table: what each of B bands explains alone, against B + 1 times the whole fit.
"""

import json
import subprocess
import sys
import time

import numpy as np
import pandas as pd
from measure import RESULTS, facts, peak_bytes, save_json, today

SAMPLES, TARGETS, SHIFTS, LOOPED, FOLDS = 1000, 1000, 1000, 3, 5
WIDTHS = {"rate": 20, "sound": 80, "lm": 200}


def recording(targets, n=SAMPLES, widths=WIDTHS):
    """Responses that three bands explain in part, as Signals."""
    from brainalign.maths.simulate import simulate_bands
    from brainalign.signals import Signal

    data = simulate_bands(n, widths, targets, seed=1)
    samples = pd.DataFrame({"run": "1", "time": np.arange(n) * 2.0})
    X = Signal(data.X, samples, pd.DataFrame({"band": data.bands}))
    return X, Signal(data.Y, samples, pd.DataFrame({"roi": np.arange(targets).astype(str)}))


def posed(targets):
    """The problem, its fits, and the shifts."""
    from brainalign.encoding.fit import fit_models, models_of, pose
    from brainalign.encoding.folds import contiguous
    from brainalign.maths.banded import BandedRidge
    from brainalign.maths.rearrange import rearranged

    X, Y = recording(targets)
    # the best point alone, not an average: then the plain way can fit it too
    problem = pose(X, Y, folds=contiguous(FOLDS, gap_s=10), solver=BandedRidge)
    fits = fit_models(problem, [(model,) for model in models_of(X.bands, [], {})], None)
    return problem, fits, rearranged(np.zeros(SAMPLES), SHIFTS, "shift", 1)


def ours(targets):
    """Seconds for every shift of every target."""
    from brainalign.encoding.fit import sources_of
    from brainalign.encoding.nulls import null_r

    problem, fits, moved = posed(targets)
    began = time.perf_counter()
    null = [one for _, one in null_r(problem, sources_of(fits, "full"), np.arange(targets), moved)]
    seconds = (time.perf_counter() - began) * SHIFTS / len(moved)
    return {"seconds": seconds, "peak": peak_bytes(), "checks": np.concatenate(null, 1)[:LOOPED, :4].tolist()}


def refitted(targets):
    """Seconds of fitting the responses of each shift at the penalties found."""
    from brainalign.encoding.within import learn_space
    from brainalign.maths.banded import BandedRidge
    from brainalign.maths.scores import pearson_within

    problem, fits, moved = posed(targets)
    bands = problem.X.bands
    found = []
    began = time.perf_counter()
    for index in moved.index[:LOOPED]:
        Y = problem.targets[index]
        predicted, fold = np.empty(Y.shape), np.empty(len(Y), int)
        for k, ((train, test), fit) in enumerate(zip(problem.folds, fits.by_model["full"], strict=True)):
            space = learn_space(problem.X.values, problem.X.columns, tuple(bands), train, {})
            own = fit.points[:, fit.mixture.argmax(0)]
            model = BandedRidge(np.array(space.bands), shrinkage=own)
            model.fit(space.apply(problem.X.values[train]), Y[train])
            predicted[test], fold[test] = model.predict(space.apply(problem.X.values[test])), k
        found.append(pearson_within(Y, predicted, fold)[:4].tolist())
    seconds = (time.perf_counter() - began) / LOOPED * SHIFTS
    return {"seconds": seconds, "peak": peak_bytes(), "checks": found}


def alone(n_bands):
    """Seconds of one fit of all bands, and of what each explains alone."""
    from brainalign.maths.banded import BandedRidge
    from brainalign.maths.folds import contiguous
    from brainalign.maths.partition import averaged, unique_variance
    from brainalign.maths.simulate import simulate_bands

    data = simulate_bands(SAMPLES, {f"b{k}": 400 for k in range(n_bands)}, TARGETS, seed=1)
    folds = contiguous(SAMPLES, 4)

    def whole():
        for train, test in folds:
            BandedRidge(bands=data.bands, average=True).fit(data.X[train], data.Y[train]).predict(data.X[test])

    times = {"fit": [], "unique": []}
    for _ in range(3):
        for name, job in (
            ("fit", whole),
            ("unique", lambda: unique_variance(data.X, data.Y, data.bands, folds, solver=averaged)),
        ):
            began = time.perf_counter()
            job()
            times[name].append(time.perf_counter() - began)
    return {name: float(np.median(each)) for name, each in times.items()}


def main():
    found = {}
    for name, size in (("ours", TARGETS), ("refitted", TARGETS), ("ours", 10 * TARGETS), ("refitted", 10 * TARGETS)):
        command = [sys.executable, __file__, "--one", name, str(size)]
        found[f"{name} {size}"] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    for size in (TARGETS, 10 * TARGETS):
        mine, plain = found[f"ours {size}"], found[f"refitted {size}"]
        np.testing.assert_allclose(mine.pop("checks"), plain.pop("checks"), atol=1e-3)  # the same null
        plain["ratio"] = plain["seconds"] / mine["seconds"]
        sys.stdout.write(
            f"{size} targets: {mine['seconds']:.1f} s, refitting {plain['seconds']:.0f} s, {plain['ratio']:.0f} times; "
            f"{mine['peak'] / 1e9:.2f} GB\n"
        )
    for bands in (3, 6, 12):
        each = alone(bands)
        each["of (B + 1) fits"] = each["unique"] / ((bands + 1) * each["fit"])
        found[f"{bands} bands alone"] = each
        sys.stdout.write(f"{bands} bands: unique variance in {each['of (B + 1) fits']:.2f} of {bands + 1} fits\n")
    sizes = {"samples": SAMPLES, "shifts": SHIFTS, "folds": FOLDS, "widths": WIDTHS}
    save_json(RESULTS / "refits.json", {**sizes, "found": found, "machine": facts(), "day": today()})


if __name__ == "__main__":
    if "--one" in sys.argv:
        which, size = sys.argv[2], int(sys.argv[3])
        sys.stdout.write(json.dumps({"ours": ours, "refitted": refitted}[which](size)))
    else:
        main()
