"""How good are single-trial amplitudes: with one response or a library, least squares or ridge, and in real blocks?

python benchmarks/betas.py prints the numbers of docs/ideas/betas.md. Planted: 120 voxels whose responses peak from 3.5
to 7 s with dispersions of 0.7 to 1.8 s; 20 stimuli, shown twice in each of 6 runs, TR 2 s; amplitudes of a stimulus
have a mean of 1 % and an SD of 1 %, noise an SD as printed and an autocorrelation of .3; two seeds. Real: one slice of
Haxby et al. (2001), twelve runs of eight blocks.
"""

import sys
import warnings

import numpy as np
import pandas as pd

import brainalign as ba
from brainalign.design.clean import LONGEST_S, parts_to_clean
from brainalign.design.estimates import orthonormal, outside
from brainalign.design.hrf import Basis, responder
from brainalign.design.trials import run_models, single_trials

VOXELS, KINDS, RUNS, TWICE, TR = 120, 20, 6, 2, 2.0
SEEDS = range(2)


def simulate(gap, noise, seed, planted=True):
    """A recording, its events, and the amplitudes planted (events, voxels)."""
    rng = np.random.default_rng(seed)
    of_kind = rng.standard_normal((KINDS, VOXELS)) + 1
    widths = rng.uniform(0.7, 1.8, VOXELS)
    means = rng.uniform(3.5, 7, VOXELS) + widths
    hrfs = [ba.DoubleGamma(m, m * 16 / 6, w, w) for m, w in zip(means, widths, strict=True)]
    values, samples, events = [], [], []
    for run in range(RUNS):
        order = rng.permutation(np.repeat(np.arange(KINDS), TWICE))
        onsets, lasting = 4 + np.cumsum(rng.uniform(*gap, len(order))), np.ones(len(order))
        clock = np.arange(int((onsets[-1] + 16) / TR)) * TR + TR / 2
        white = noise * rng.standard_normal((len(clock), VOXELS))
        for k in range(1, len(clock)):
            white[k] = 0.3 * white[k - 1] + np.sqrt(1 - 0.3**2) * white[k]
        if planted:
            for column, hrf in enumerate(hrfs):
                respond = responder(hrf)
                height = respond(np.arange(0, 40, 0.02)[:, None], lasting[:1]).max()
                white[:, column] += respond(clock[:, None] - onsets, lasting) @ of_kind[order, column] / height
        values.append(100 + white)
        samples.append(pd.DataFrame({"run": str(run), "time": clock}))
        events.append(pd.DataFrame({"run": str(run), "onset": onsets, "duration": 1.0, "kind": order}))
    table = pd.concat(events, ignore_index=True)
    bold = ba.Signal(np.concatenate(values), pd.concat(samples), pd.DataFrame({"voxel": np.arange(VOXELS)}))
    return bold, table, of_kind[table["kind"]]


def columnwise(a, b):
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0))


def reliability(found, by):
    """Correlation of each column's means over odd and even runs, between stimuli, the runs' means taken out."""
    run = found.samples["run"].astype(int).to_numpy()
    values = pd.DataFrame(found.values)
    values -= values.groupby(run).transform("mean")
    kinds = found.samples[by].to_numpy()
    odd, even = (values[run % 2 == half].groupby(kinds[run % 2 == half]).mean().to_numpy() for half in (1, 0))
    return columnwise(odd, even)


def by_variance(bold, events, how):
    """The response with which a regressor for each trial explains most, as GLMsingle chooses it."""
    library = ba.hrf_library()
    bases = [Basis((hrf,), hrf.name) for hrf in library]
    explained = []
    parts = list(parts_to_clean(bold, ["drift"], np.zeros(len(bold.samples), int), LONGEST_S))
    for models in run_models(bold, single_trials(bold, events, "kind", None), bases, parts):
        spans = ((orthonormal(m.expected[:, :, 0]), outside(bold.values[m.volumes], m.nuisance)) for m in models)
        explained.append(sum(((span.T @ data) ** 2).sum(0) for span, data in spans))
    best = np.argmax(explained, axis=0)
    values = np.empty((len(events), VOXELS), np.float32)
    for k in np.unique(best):
        some = bold.select(columns=best == k)
        found = ba.betas(some, events, how=how, hrf=library[k], column="kind", nuisance=["drift"])
        values[:, best == k] = found.values
    return ba.Signal(values, found.samples, bold.columns)


def ways(bold, events):
    """Name → amplitudes."""
    same = {"column": "kind", "nuisance": ["drift"]}
    for how in (ba.lsa, ba.lss):
        yield f"{how.__name__}, SPM", ba.betas(bold, events, how=how, **same)
        yield f"{how.__name__}, by variance", by_variance(bold, events, how)
        yield f"{how.__name__}, by likelihood", ba.betas(bold, events, how=how, hrf=ba.hrf_library(), **same)
    yield "ridge, SPM", ba.betas(bold, events, ridge=True, **same)
    yield "ridge, by likelihood", ba.betas(bold, events, ridge=True, hrf=ba.hrf_library(), **same)


def blocks():
    """Real blocks: name → amplitudes of conditions in each run."""
    root = ba.sample_path("haxby")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bold = ba.read_fmri(root, subject="1", derivatives="raw")
    bold = bold.select(columns=bold.values.mean(0) > 300)
    tables = [
        pd.read_csv(path, sep="\t").assign(run=path.name.split("run-")[1][:2])
        for path in sorted(root.glob("sub-1/func/*_events.tsv"))
    ]
    events = pd.concat(tables, ignore_index=True)
    yield "mean over the block, 5 s later", ba.condition_means(ba.clean(bold, ["drift"]), events)
    for hrf in (ba.spm, ba.glover, ba.with_derivatives(ba.spm, dispersion=True), ba.hrf_library()):
        found = ba.condition_betas(bold, events, hrf=hrf, nuisance=["drift"])
        yield f"betas, {found.attrs['hrf']}", found


def main():
    for planted, gap, noise in ((1, (3, 5), 0.7), (1, (3, 5), 2), (1, (6, 9), 1), (1, (6, 9), 2), (0, (3, 5), 2)):
        found = {}
        for seed in SEEDS:
            bold, events, truth = simulate(gap, noise, seed, planted)
            for name, one in ways(bold, events):
                found.setdefault(name, []).append(
                    [reliability(one, "kind").mean(), columnwise(one.values, truth).mean()]
                )
        what = (
            f"a trial every {gap[0]} to {gap[1]} s, noise {noise} %"
            if planted
            else f"noise alone, {gap[0]} to {gap[1]} s"
        )
        for name, pairs in found.items():
            alike, true = np.mean(pairs, axis=0)
            sys.stdout.write(f"{what}: {name}: repeats {alike:.3f}, planted {true:.3f}\n")
    for name, one in blocks():
        r = reliability(one, "stimulus")
        sys.stdout.write(
            f"blocks, {len(one.samples)} rows: {name}: median {np.median(r):.2f}, nine tenths below "
            f"{np.quantile(r, 0.9):.2f}, {(r > 0.8).sum()} of {len(r)} voxels above .8\n"
        )


if __name__ == "__main__":
    main()
