"""The main verb on recordings whose truth is known."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

from brainalign.encoding.ceilings import auto, between_subjects
from brainalign.encoding.chance import Chance
from brainalign.encoding.encode import encode
from brainalign.encoding.fit import models_of
from brainalign.encoding.folds import by_run, contiguous, hold_out
from brainalign.encoding.within import pca
from brainalign.errors import InputError, SettingsError
from brainalign.signals import Signal, join
from brainalign.store import Store

LAYERS = {"lm": ["lm.0", "lm.1", "lm.2"]}
FEW = Chance(permutations=199, bootstrap=200)


@pytest.fixture(scope="module")
def fit(planted):
    X, Y = planted
    return encode(X, Y, baseline=["rate"], alternatives=LAYERS, chance=FEW)


def score(fit, roi, model="full", column="r"):
    rows = fit.scores[(fit.scores["roi"] == roi) & (fit.scores["model"] == model)]
    return float(rows[column].iloc[0])


def test_what_was_planted_is_found(fit, planted):
    """As good as least squares that was told which bands are the right ones."""
    X, Y = planted
    for roi, bands, slack in (("rate", ["rate"], 0.03), ("both", ["rate", "lm.1"], 0.01)):
        right = X.select(band=bands).values
        told = cross_val_predict(LinearRegression(), right, Y.values, groups=Y.samples["run"], cv=GroupKFold(4))
        k = Y.columns["roi"].tolist().index(roi)
        assert score(fit, roi) > np.corrcoef(told[:, k], Y.values[:, k])[0, 1] - slack
    assert abs(score(fit, "noise")) < 0.15
    assert score(fit, "both") > score(fit, "both", "baseline") + 0.05


def test_the_planted_layer_is_chosen_and_leads_the_profile(fit):
    profile = fit.layers.set_index("layer")
    assert profile["r"].idxmax() == 1
    picked = encode_choice(fit, "both")
    assert picked == "lm.1"


def encode_choice(fit, roi):
    assert fit.weights is not None
    return fit.weights.targets.set_index("roi")["chosen"][roi]


def test_chance_and_intervals(fit):
    full = fit.scores[fit.scores["model"] == "full"].set_index("roi")
    assert full.loc["both", "p"] == pytest.approx(1 / 200)
    assert full.loc["noise", "p"] > 0.05
    assert (full["q"] >= full["p"]).all()
    assert ((full["r_low"] < full["r"]) & (full["r"] < full["r_high"])).all()
    assert any("conditional on the fitted models" in note for note in fit.notes)


def test_parts_sum_to_the_whole(fit):
    full = fit.scores[fit.scores["model"] == "full"]
    np.testing.assert_allclose(full[["r2_rate", "r2_lm"]].sum(axis=1), full["r2"], atol=1e-5)
    base = fit.scores[fit.scores["model"] == "baseline"].set_index("roi")["r2"]
    np.testing.assert_allclose(full["unique_lm"], full["r2"].to_numpy() - base.to_numpy(), atol=1e-12)
    assert score(fit, "both", column="r2_lm") == pytest.approx(1 / 3, abs=0.1)


def test_scores_are_those_of_the_held_out_predictions(fit):
    predicted = fit.predictions.select(model="full")
    fold = predicted.samples["fold"].to_numpy()
    for k, roi in enumerate(["rate", "both", "noise"]):
        y, yhat = fit.observed.values[:, k].astype(float), predicted.values[:, k].astype(float)
        for f in np.unique(fold):
            y[fold == f] -= y[fold == f].mean()
            yhat[fold == f] -= yhat[fold == f].mean()
        assert np.corrcoef(y, yhat)[0, 1] == pytest.approx(score(fit, roi), abs=1e-4)


def test_no_test_sample_has_a_say(planted):
    """Poison one run's responses: predictions of that run, made from the others, stay as they were."""
    X, Y = planted
    quiet = Chance(0, 0)
    values = Y.array().copy()
    third = (Y.samples["run"] == "3").to_numpy()
    values[third] = 1e3 * np.random.default_rng(0).standard_normal(values[third].shape)
    before, after = (
        encode(X, Signal(v, Y.samples, Y.columns), baseline=["rate"], alternatives=LAYERS, chance=quiet, weights=False)
        for v in (Y.values, values)
    )
    rows = (before.predictions.samples["run"] == "3").to_numpy()
    np.testing.assert_array_equal(before.predictions.values[rows], after.predictions.values[rows])
    assert not np.array_equal(before.predictions.values[~rows], after.predictions.values[~rows])


def test_no_test_feature_has_a_say_in_the_fit(planted):
    X, Y = planted
    values = X.array().copy()
    third = (X.samples["run"] == "3").to_numpy()
    values[third] *= 50
    reduce = {"lm.1": pca(3)}
    quiet = Chance(0, 0)
    fits = [
        encode(Signal(v, X.samples, X.columns).select(band=["rate", "lm.1"]), Y, within_fold=reduce, chance=quiet)
        for v in (X.values, values)
    ]
    third_fold = [f.predictions.values[(f.predictions.samples["run"] == "3").to_numpy()] for f in fits]
    slope = LinearRegression().fit(third_fold[0][:, :1], third_fold[1][:, :1])
    assert slope.coef_[0, 0] == pytest.approx(50, rel=0.05)  # the same weights, met by features 50 times as large


def test_predict_is_the_refitted_model(planted, fit):
    X, Y = planted
    again = fit.predict(X)
    assert again.columns["roi"].tolist() == ["rate", "both", "noise"]
    r = [np.corrcoef(again.values[:, k], Y.values[:, k])[0, 1] for k in range(3)]
    assert r[1] > score(fit, "both")  # these samples taught it, so it does better on them than held out
    shuffled = X.select(columns=np.random.default_rng(0).permutation(X.shape[1]))
    np.testing.assert_allclose(fit.predict(shuffled).values, again.values, atol=1e-4)
    with pytest.raises(
        InputError, match=r"the design lacks 2 of the 26 columns the weights are for, first \{'band': 'rate'"
    ):
        fit.predict(X.select(band=["lm.0", "lm.1", "lm.2"]))


def test_weights_are_kept_only_on_request(planted):
    X, Y = planted
    bare = encode(X.select(band="rate"), Y, chance=Chance(0, 0), weights=False)
    with pytest.raises(InputError, match=r"no weights were kept: fit again with .*weights: true"):
        bare.predict(X)
    assert bare.scores["p"].isna().all()
    assert bare.scores["model"].tolist() == ["full"] * 3


def test_people_are_scored_beside_their_mean(crowd):
    X, Y = crowd
    fit = encode(X, Y, baseline=["rate"], alternatives=LAYERS, ceiling=between_subjects, chance=FEW)
    assert len(fit.scores) == 3 * 5  # three regions; baseline, three layers, full
    assert len(fit.people) == 2 * 15
    full = fit.scores[fit.scores["model"] == "full"].set_index("roi")
    assert full.loc["both", "r"] > fit.people.query("model == 'full' and roi == 'both'")["r"].mean()
    people = fit.gain.set_index("over").loc["people"]
    assert people["n"] == 5
    assert people["gain_r"] > 0
    assert people["p"] == pytest.approx(1 / 32)  # all five gain: the smallest p that five people can give
    assert people["interval"] == "bootstrap over people"
    each = fit.gain[fit.gain["over"] == "person"]
    assert each["what"].tolist() == list("abcde")
    np.testing.assert_allclose(each["gain_r"].mean(), people["gain_r"])
    np.testing.assert_allclose(each["p_floor"], 1 / 200)
    clear = each["gain_r"] > 0.07  # more than in any shift of what the baseline leaves over
    assert clear.sum() == 3
    assert (each.loc[clear, "p"] == 1 / 200).all()
    assert each.loc[each["gain_r"] < 0.01, "p"].item() > 0.05  # one person gains next to nothing
    assert ((each["low"] < each["gain_r"]) & (each["gain_r"] < each["high"])).all()
    regions = fit.gain[fit.gain["over"] == "target"].set_index("what")["p"]
    assert regions["both"] == pytest.approx(1 / 200)
    assert regions["noise"] > 0.02
    # people share what was planted and its noise (variances 2, 3, 1), and differ by a noise of variance 2.25
    shared = np.array([2, 3, 1])
    np.testing.assert_allclose(full["ceiling_r"], np.sqrt(shared / (shared + 2.25 / 5)), atol=0.05)
    np.testing.assert_allclose(full["normalised_r"], full["r"] / full["ceiling_r"])


def test_ceilings_follow_the_data(planted, crowd):
    _, alone = planted
    assert auto(alone).own is None
    assert "1 recording on this clock" in auto(alone).why
    with pytest.raises(InputError, match="at least 3 of them on one clock; found 1: choose ceiling"):
        between_subjects(alone)
    _, mean = crowd
    people = mean.related["people"]
    single = between_subjects(people)
    assert single.people is None
    assert single.own.value.shape == (15,)
    group = between_subjects(mean)
    np.testing.assert_array_equal(group.people.value, single.own.value)
    torn = people.select(columns=np.arange(14))
    with pytest.raises(InputError, match="people do not have the same columns"):
        between_subjects(torn)


def test_order_of_people_and_places_does_not_matter(crowd):
    _, mean = crowd
    people = mean.related["people"]
    order = np.random.default_rng(0).permutation(people.shape[1])
    straight, mixed = between_subjects(people).own, between_subjects(people.select(columns=order)).own
    np.testing.assert_allclose(mixed.value, straight.value[order])


def test_one_held_out_run(planted):
    X, Y = planted
    fit = encode(X, Y, folds=hold_out(run=["4"]), baseline=["rate"], alternatives=LAYERS, chance=FEW)
    assert (fit.scores["n_test"] == 80).all()
    assert set(fit.observed.samples["run"]) == {"4"}
    assert fit.gain["interval"].iloc[0] == "blocks of the test set"
    assert set(fit.folds["role"]) == {"train", "test"}
    assert score(fit, "both") > 0.6


def test_censored_samples_are_neither_fitted_nor_scored(planted):
    X, Y = planted
    use = np.arange(len(Y.samples)) % 10 != 3
    values = np.where(use[:, None], Y.values, np.nan)
    fit = encode(X, Signal(values, Y.samples.assign(use=use), Y.columns), chance=Chance(0, 0))
    assert (fit.scores["n_test"] == use.sum()).all()
    assert np.isfinite(fit.scores["r"]).all()


def test_a_second_run_takes_up_where_the_first_stopped(planted, tmp_path):
    X, Y = planted
    store = Store(tmp_path)

    class StoppedError(Exception):
        pass

    def stop(done, total, what):
        if done == 5:
            raise StoppedError

    kwargs = {"baseline": ["rate"], "alternatives": LAYERS, "chance": FEW, "store": store, "weights": False}
    with pytest.raises(StoppedError):
        encode(X, Y, progress=stop, **kwargs)
    kept = len(store.pieces())
    assert 5 <= kept < 16
    times = {piece.key for piece in store.pieces()}
    whole = encode(X, Y, **kwargs)
    assert times < {piece.key for piece in store.pieces()}
    pd.testing.assert_frame_equal(whole.scores, encode(X, Y, **{**kwargs, "store": None}).scores)
    before = len(store.pieces())
    encode(X, Y, **kwargs)
    assert len(store.pieces()) == before


def test_other_data_is_another_piece(planted, tmp_path):
    X, Y = planted
    store = Store(tmp_path)
    kwargs = {"chance": Chance(0, 0), "store": store, "weights": False}
    encode(X.select(band="rate"), Y, **kwargs)
    first = len(store.pieces())
    encode(X.select(band="rate"), Signal(Y.values + 1e-3, Y.samples, Y.columns), **kwargs)
    assert len(store.pieces()) == 2 * first
    encode(X.select(band="rate"), Y, folds=contiguous(4), **kwargs)
    assert len(store.pieces()) == 3 * first


def test_null_is_calibrated_where_there_is_nothing(planted):
    """200 targets of slow noise, unrelated features: about 5 % of p-values below 0.05 (conservative is allowed)."""
    X, _ = planted
    rng = np.random.default_rng(3)
    samples = X.samples
    noise = np.zeros((len(samples), 200))
    shocks = rng.standard_normal(noise.shape)
    for i in range(len(noise)):
        noise[i] = 0.8 * noise[i - 1] + shocks[i] if i % 80 else shocks[i]
    Y = Signal(noise, samples, pd.DataFrame({"roi": [f"n{k}" for k in range(200)]}))
    fit = encode(X.select(band=["rate", "lm.0"]), Y, chance=Chance(199, 0), weights=False)
    share = float((fit.scores["p"] <= 0.05).mean())
    assert share <= 0.085  # 0.05 + 2.3 standard errors of a share among 200
    assert fit.scores["p"].between(0.3, 0.7).any()


def test_what_does_not_fit_is_said(planted):
    X, Y = planted
    with pytest.raises(InputError, match="design and recording are not on the same samples"):
        encode(X.select(rows=slice(0, 100)), Y)
    with pytest.raises(InputError, match="columns have no `band`"):
        encode(Signal(X.values, X.samples, pd.DataFrame({"unit": range(26)})), Y)
    with pytest.raises(SettingsError, match=r"within_fold names band 'lm.9'; did you mean 'lm"):
        encode(X, Y, within_fold={"lm.9": pca(2)})
    still = np.c_[Y.values[:, :2], np.ones(len(Y.samples))]
    with pytest.raises(InputError, match=r"1 targets never change, the first \{'roi': 'noise'\}: leave them out"):
        encode(X, Signal(still, Y.samples, Y.columns))
    dead = Signal(np.zeros((len(X.samples), 1)), X.samples, pd.DataFrame({"band": ["silence"]}))
    with pytest.raises(InputError, match="band 'silence' never changes over the samples"):
        encode(join(X, dead), Y)


def test_which_models_are_fitted():
    with pytest.raises(SettingsError, match=r"there is no band 'rat'; did you mean 'rate'\?"):
        models_of(["rate"], ["rat"], {})
    with pytest.raises(SettingsError, match="every band is in the baseline"):
        models_of(["rate"], ["rate"], {})
    with pytest.raises(SettingsError, match="one feature at a time can have alternatives; found a, b"):
        models_of(["x", "y"], [], {"a": ["x"], "b": ["y"]})
    with pytest.raises(SettingsError, match="band 'x' is named as baseline and as an alternative"):
        models_of(["x", "y"], ["x"], {"a": ["x"]})


def test_layers_each_apart(planted):
    X, Y = planted
    fit = encode(X, Y, baseline=["rate"], alternatives=LAYERS, choose_one=False, chance=Chance(0, 0), weights=False)
    assert list(dict.fromkeys(fit.scores["model"])) == ["baseline", "lm.0", "lm.1", "lm.2"]
    assert "chosen" not in fit.layers


def test_the_rule_is_written_down(fit):
    assert fit.settings["folds"] == str(by_run)
    assert fit.provenance["versions"]["numpy"] == np.__version__
    assert repr(fit).startswith("Encoding(3 targets, 5 models; mean r of full:")
