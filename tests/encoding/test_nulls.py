"""p of cross-validated scores: calibrated where nothing is there, found where something is."""

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict

from brainalign.encoding import nulls
from brainalign.encoding.chance import Chance
from brainalign.encoding.encode import encode
from brainalign.encoding.fit import fit_models, models_of, pose, sources_of
from brainalign.encoding.folds import by_run, contiguous, hold_out
from brainalign.encoding.parts import Partition
from brainalign.errors import SettingsError
from brainalign.maths.banded import BandedRidge
from brainalign.maths.inference import permutation_test
from brainalign.maths.rearrange import rearranged
from brainalign.maths.scores import centre_within, pearson_within
from brainalign.signals import Signal
from brainalign.store import Store

SETTINGS = {  # (samples of each run, autocorrelation, folds)
    "white": ([400], 0.0, contiguous(6, gap_s=16)),
    "AR 0.8": ([400], 0.8, contiguous(6, gap_s=16)),
    "few long blocks": ([100] * 4, 0.9, by_run),
    "ragged runs": ([40, 75, 90, 110, 85], 0.8, by_run),
}


def slow(rng, n, t, rho):
    white = rng.standard_normal((n + 200, t))
    return lfilter([np.sqrt(1 - rho**2)], [1, -rho], white, axis=0)[200:]


def unrelated(setting, targets, seed=0):
    """Features a (5 columns) and b (20), and responses that have nothing to do with them."""
    lengths, rho, folds = SETTINGS[setting]
    rng = np.random.default_rng(seed)
    X, Y = (np.concatenate([slow(rng, n, columns, rho) for n in lengths]) for columns in (25, targets))
    run = np.repeat(np.arange(len(lengths)), lengths).astype(str)
    samples = pd.DataFrame({"run": run, "time": np.concatenate([np.arange(n) * 2.0 for n in lengths])})
    bands = pd.DataFrame({"band": ["a"] * 5 + ["b"] * 20})
    return Signal(X, samples, bands), Signal(Y, samples, pd.DataFrame({"roi": np.arange(targets).astype(str)})), folds


def false_positives(setting, data_sets, together=250, **chance):
    """Shares of p at most .05 and .01: of r, of what b explains alone in R², and adds in r. A target is a data set."""
    of_r, alone, added = [], [], []
    for seed in range(data_sets // together):
        X, Y, folds = unrelated(setting, together, seed)
        how = {"baseline": ["a"], "partition": Partition(), "weights": False}
        fit = encode(X, Y, folds=folds, chance=Chance(199, 0, **chance), **how)
        of_r.append(fit.scores.query("model == 'full'")["p"])
        alone.append(fit.partition.query("kind == 'unique' and part == 'b'")["p"])
        added.append(fit.gain.query("over == 'target'")["p"])
    return [np.array([(np.concatenate(p) <= level).mean() for level in (0.05, 0.01)]) for p in (of_r, alone, added)]


@pytest.mark.parametrize("setting", SETTINGS)
def test_false_positives_of_folds(setting):
    """1,000 data sets: within three standard errors of the range that 10,000 are held to below."""
    of_r, alone, added = false_positives(setting, 1000)
    slack = 3 * np.sqrt(np.array([0.05, 0.01]) * [0.95, 0.99] / 1000)
    for found in (of_r, alone, added):
        assert (found < np.array([0.065, 0.015]) + slack).all()
    assert of_r[0] > 0.02 - slack[0]


@pytest.mark.verify
@pytest.mark.parametrize("how", ["shift", "blocks"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_false_positives_of_folds_in_ten_thousand(setting, how, request):
    if (setting, how) == ("few long blocks", "blocks"):  # liberal, and said: it would be noticed if it were not
        request.applymarker(pytest.mark.xfail(strict=True, reason=".016 at .01; docs/ideas/chance.md"))
    of_r, alone, added = false_positives(setting, 10_000, how=how)
    for found in (of_r, alone, added):
        assert found[0] <= 0.065
        assert found[1] < 0.015
    assert of_r[0] >= 0.02


@pytest.mark.verify
@pytest.mark.parametrize("setting", ["white", "AR 0.8"])
def test_false_positives_with_penalties_chosen_again(setting):
    of_r = []
    for seed in range(8):
        X, Y, folds = unrelated(setting, 250, seed)
        fit = encode(X, Y, folds=folds, chance=Chance(99, 0, choose_again=True), weights=False)
        of_r.append(fit.scores["p"])
    assert 0.03 < (np.concatenate(of_r) <= 0.05).mean() < 0.065 + 3 * np.sqrt(0.05 * 0.95 / 2000)


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_the_shortcut_is_wrong(rho):
    """Moving responses against the finished predictions of folds: the mistake that the other way avoids."""
    rng = np.random.default_rng(0)
    n, targets, fold = 362, 1000, np.arange(362) * 6 // 362
    X, Y = slow(rng, n, 100, rho), slow(rng, n, targets, rho)
    predicted = cross_val_predict(Ridge(1000.0), X, Y, groups=fold, cv=LeaveOneGroupOut())
    p = permutation_test(centre_within(Y, fold), centre_within(predicted, fold), n=361)
    assert (p <= 0.05).mean() > 0.10  # a valid p would stay below 0.065 + 3 standard errors = 0.088
    assert (p <= 0.01).mean() > 0.03


@pytest.mark.parametrize("how", ["shift", "blocks"])
def test_null_is_that_of_responses_written_out(planted, how):
    X, Y = planted
    problem = pose(X, Y, solver=BandedRidge)  # the best point alone: it can be fixed
    fits = fit_models(problem, [(model,) for model in models_of(X.bands, [], {})], None)
    moved = rearranged(Y.samples["run"].to_numpy(), 4, how, 5)
    ((some, null),) = nulls.null_r(problem, sources_of(fits, "full"), np.array([0, 2]), moved)
    assert some.tolist() == [0, 2]
    for index, found in zip(moved.index, null, strict=True):
        values = problem.targets[index]
        predicted, fold = np.empty(values.shape), np.empty(len(values), int)
        for k, (train, test) in enumerate(problem.folds):
            at = fits.by_model["full"][k]
            spread = X.array()[train].std(0, dtype=float)
            own = at.points[:, at.mixture.argmax(0)]  # (bands, targets), on z-scored columns
            ridge = BandedRidge(X.columns["band"], shrinkage=own).fit(X.array()[train] / spread, values[train])
            predicted[test], fold[test] = ridge.predict(X.array()[test] / spread), k
        np.testing.assert_allclose(found, pearson_within(values, predicted, fold)[[0, 2]], atol=2e-4)


def test_chosen_again_is_a_fit_of_moved_responses(planted):
    X, Y = planted
    layers = {"lm": ["lm.0", "lm.1"]}
    design = X.select(band=["rate", "lm.0", "lm.1"])
    problem = pose(design, Y)
    models = models_of(design.bands, [], layers)
    moved = rearranged(Y.samples["run"].to_numpy(), 3, "shift", 5)
    ((_, null),) = nulls.null_chosen_again(problem, models, "full", np.array([1]), moved)
    series = problem.targets[:, 1][moved.index].T
    again = encode(
        design,
        Signal(series, Y.samples, pd.DataFrame({"roi": list("abc")})),
        alternatives=layers,
        chance=Chance(0, 0),
        weights=False,
    )
    np.testing.assert_allclose(null[:, 0], again.scores.query("model == 'full'")["r"], atol=1e-6)
    said = encode(design, Y, alternatives=layers, chance=Chance(9, 0, choose_again=True), weights=False)
    assert any("penalties and choices made anew" in note for note in said.notes)
    assert said.scores.query("model == 'full' and roi == 'both'")["p"].item() == pytest.approx(1 / 10)


def test_an_untouched_test_set_is_moved_alone(planted):
    X, Y = planted
    fit = encode(X, Y, folds=hold_out(run=["4"]), chance=Chance(500, 0), partition=Partition(), weights=False)
    expected = permutation_test(fit.observed.array(), fit.predictions.array(), n=500)
    np.testing.assert_allclose(fit.scores["p"], expected)
    np.testing.assert_allclose(fit.scores["p_floor"], 1 / 80)  # 80 samples have 79 shifts
    assert any("against the finished predictions of the untouched test set" in note for note in fit.notes)
    alone = fit.partition.query("kind == 'unique' and part == 'rate'").set_index("roi")["p"]
    assert alone["rate"] == pytest.approx(1 / 80)
    assert alone["noise"] > 0.05


def test_a_short_slow_test_set_is_warned_of_in_the_notes():
    X, Y, _ = unrelated("few long blocks", 20)
    fit = encode(X, Y, folds=hold_out(run=["3"]), chance=Chance(99, 0), weights=False)
    assert any("100 test samples are fewer than 30 blocks of" in note for note in fit.notes)


def test_family_wise_p_and_its_floor(planted):
    X, Y = planted
    scores = encode(X, Y, chance=Chance(99, 0), weights=False).scores
    assert (scores["p_fwe"] >= scores["p"] - 1e-12).all()
    np.testing.assert_allclose(scores["p_floor"], 1 / 100)
    assert scores.set_index("roi")["p_fwe"]["both"] == pytest.approx(1 / 100)


def test_other_rearrangements_are_other_pieces(planted, tmp_path):
    X, Y = planted
    store = Store(tmp_path)
    for how in ("shift", "blocks", "shift"):
        encode(X, Y, chance=Chance(99, 0, how=how), partition=Partition(), store=store, weights=False)
    kinds = [piece.meta["what"] for piece in store.pieces()]
    assert kinds.count("p") == 2 * (1 + 4)  # r of the full model, and what each of four bands explains alone
    with pytest.raises(SettingsError, match="how is 'shift' or 'blocks'; found 'swap'"):
        encode(X, Y, chance=Chance(9, 0, how="swap"), weights=False)


def volume(targets):
    """Targets in a row of voxels; a stretch of them follows band a a little, none enough to stand alone."""
    X, Y, folds = unrelated("white", targets)
    values = Y.array().copy()
    values[:, 5:15] += 0.3 * X.array()[:, :1]
    places = pd.DataFrame({"i": np.arange(targets), "j": 0, "k": 0})
    return X.select(band="a"), Signal(values, Y.samples, places), folds


def test_clusters_of_neighbours():
    X, Y, folds = volume(40)
    fit = encode(X, Y, folds=folds, chance=Chance(199, 0, clusters=1.5), weights=False)
    scores = fit.scores
    assert (scores["cluster"].iloc[5:15] == 1).sum() >= 8
    assert scores.loc[scores["cluster"] == 1, "p_cluster"].unique() == pytest.approx([1 / 200])
    assert (scores["p_cluster"].iloc[20:] > 0.05).all()
    assert any("neighbours: voxels that share a face (i, j, k)" in note for note in fit.notes)
    row = np.diag(np.ones(39, bool), 1)
    given = encode(X, Y, folds=folds, chance=Chance(199, 0, clusters=1.5, beside=row | row.T), weights=False).scores
    np.testing.assert_array_equal(given["p_cluster"], scores["p_cluster"])


def test_regions_have_no_neighbours(planted):
    X, Y = planted
    with pytest.raises(SettingsError, match=r"there are none \(roi: regions are not neighbours\): give Chance\(beside"):
        encode(X, Y, chance=Chance(9, 0, clusters=2.33), weights=False)
