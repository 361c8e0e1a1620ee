"""Paired differences between models, layers and fits whose truth is known."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from brainalign.encoding.chance import Chance
from brainalign.encoding.compare import SWAPPED, UNTESTED, compare
from brainalign.encoding.encode import encode
from brainalign.encoding.folds import hold_out
from brainalign.encoding.result import load, save
from brainalign.errors import InputError, SettingsError
from brainalign.maths.banded import BandedRidge
from brainalign.maths.folds import contiguous
from brainalign.maths.inference import fdr
from brainalign.maths.paired import paired_interval, swap_test
from brainalign.signals import Signal

fitted = partial(encode, chance=Chance(permutations=0, bootstrap=0), weights=False)
ONE_SET = hold_out(run=["3", "4"])
LAYERS = {"lm": ["lm.0", "lm.1", "lm.2"]}


@pytest.fixture(scope="module")
def held(planted):
    """Baseline rate, each layer apart, one test set."""
    return fitted(*planted, baseline=["rate"], alternatives=LAYERS, choose_one=False, folds=ONE_SET)


def test_full_is_better_where_it_should_be(planted):
    X, Y = planted
    fit = fitted(X.select(band=["rate", "lm.1"]), Y, baseline=["rate"], folds=ONE_SET)
    found = compare(fit, n=499)
    assert found["over"].tolist() == ["target"] * 3
    assert found["roi"].tolist() == ["rate", "both", "noise"]
    r = fit.scores.set_index(["model", "roi"])["r"]
    np.testing.assert_allclose(found["r_a"], r["full"])
    np.testing.assert_allclose(found["r_b"], r["baseline"])
    np.testing.assert_allclose(found["difference"], r["full"] - r["baseline"])
    assert found["p"][1] == 1 / 500
    assert found["p"][0] > 0.05
    assert found["low"][1] > 0.1
    assert ((found["low"] <= found["difference"]) & (found["difference"] <= found["high"])).all()
    np.testing.assert_allclose(found["q"], fdr(found["p"].to_numpy()))
    assert set(found["interval"]) == {"blocks of the test set"}
    assert set(found["test"]) == {SWAPPED}


def test_layers_are_compared_in_pairs_with_q_over_all_rows(held):
    assert list(dict.fromkeys(held.predictions.columns["model"])) == ["baseline", "lm.0", "lm.1", "lm.2"]
    pairs = [("lm.1", "lm.0"), ("lm.2", "lm.0")]
    found = compare(held, models=pairs, n=499)
    assert len(found) == 2 * 3
    np.testing.assert_allclose(found["q"], fdr(found["p"].to_numpy()))
    one = found[found["model_a"] == "lm.1"].set_index("roi")
    assert one.loc["both", "q"] < 0.05
    assert one.loc["noise", "p"] > 0.05
    alone = compare(held, models=("lm.1", "lm.0"), n=499)
    np.testing.assert_array_equal(alone["p"], one["p"])
    back = compare(held, models=("lm.0", "lm.1"), n=499)
    np.testing.assert_allclose(back["difference"], -alone["difference"])
    np.testing.assert_array_equal(back["p"], alone["p"])


def test_two_fits_to_one_recording(planted, tmp_path):
    X, Y = planted
    wrong, right = (fitted(X.select(band=["rate", lm]), Y, folds=ONE_SET) for lm in ("lm.0", "lm.1"))
    found = compare(right, wrong, n=199).set_index("roi")
    assert found.loc["both", "p"] == 1 / 200
    again = compare(load(save(right, tmp_path / "right")), load(save(wrong, tmp_path / "wrong")), n=199)
    np.testing.assert_allclose(again["difference"], found["difference"])
    np.testing.assert_array_equal(again["p"], found["p"])


def test_folds_that_share_training_have_no_p_of_targets(planted):
    X, Y = planted
    fit = fitted(X.select(band=["rate", "lm.1"]), Y, baseline=["rate"])
    found = compare(fit, n=99)
    assert found[["p", "q"]].isna().all(axis=None)
    assert set(found["test"]) == {UNTESTED}
    assert set(found["interval"]) == {"conditional on the fitted models"}
    assert found["low"].notna().all()


def test_people_behind_an_average(crowd):
    X, Y = crowd
    fit = fitted(X.select(band=["rate", "lm.1"]), Y, baseline=["rate"])
    whole = compare(fit, n=199).iloc[-1]
    assert whole["over"] == "people"
    r = fit.people.groupby(["model", "subject"])["r"].mean()
    np.testing.assert_allclose(whole["difference"], (r["full"] - r["baseline"]).mean())
    np.testing.assert_allclose(whole["r_a"] - whole["r_b"], whole["difference"])
    assert whole["p"] == whole["q"] == 2 / 2**5  # all five gain, either sign would have counted
    assert (whole["n_people"], whole["n_targets"], whole["fewest"], whole["most"]) == (5, 15, 3, 3)
    assert whole["interval"] == "bootstrap over people"
    assert whole["low"] > 0
    layers = fitted(X, Y, baseline=["rate"], alternatives=LAYERS, choose_one=False)
    assert set(compare(layers, models=("lm.1", "lm.0"), n=99)["over"]) == {"target"}  # people have no layers
    two = compare(fit, fitted(X.select(band=["rate", "lm.0"]), Y), n=99).iloc[-1]
    assert two["difference"] > 0
    others = replace(fit, people=fit.people.replace({"subject": {"a": "z"}}))
    with pytest.raises(InputError, match="different people behind their averages"):
        compare(fit, others)


def test_people_as_targets_count_once_however_many_electrodes_they_have(planted):
    X, _ = planted
    rng = np.random.default_rng(0)
    subject = np.repeat(list("abcd"), [1, 2, 3, 10])
    lm = X.select(band="lm.1").values[:, :1] / 30
    Y = Signal(
        lm * rng.uniform(0, 1, 16) + rng.standard_normal((320, 16)), X.samples, pd.DataFrame({"subject": subject})
    )
    fit = fitted(X.select(band=["rate", "lm.1"]), Y, baseline=["rate"], folds=ONE_SET)
    found = compare(fit, n=199)
    whole, targets = found.iloc[-1], found.iloc[:-1]
    by_hand = targets.groupby("subject")["difference"].mean()
    np.testing.assert_allclose(whole["difference"], by_hand.mean())
    assert (whole["n_people"], whole["n_targets"], whole["fewest"], whole["most"]) == (4, 16, 1, 10)
    assert whole["interval"] == "bootstrap over people and their targets"
    np.testing.assert_allclose(targets["q"], fdr(targets["p"].to_numpy(float)))  # people do not count among targets


def test_what_cannot_be_compared(planted, held):
    X, Y = planted
    small = X.select(band=["rate", "lm.1"])
    fit = fitted(small, Y, folds=ONE_SET)
    with pytest.raises(InputError, match="not tested on the same samples"):
        compare(fit, fitted(small, Y, folds=hold_out(run="4")))
    with pytest.raises(InputError, match=r"different folds \(4 and 2\)"):
        compare(
            fitted(small, Y),
            fitted(
                small, Y, folds=lambda y: [(np.arange(160), np.arange(160, 320)), (np.arange(160, 320), np.arange(160))]
            ),
        )
    with pytest.raises(InputError, match="different targets"):
        compare(fit, fitted(small, Y.select(columns=[0, 2, 1]), folds=ONE_SET))
    with pytest.raises(InputError, match="made on different responses"):
        compare(fit, fitted(small, replace(Y, values=Y.values * 1.1), folds=ONE_SET))
    with pytest.raises(InputError, match="no predictions of a model 'ful'; did you mean 'full'"):
        compare(fit, fit, models=("full", "ful"))
    chosen = fitted(X, Y, baseline=["rate"], alternatives=LAYERS, folds=ONE_SET)
    with pytest.raises(
        InputError, match=r"predictions of 'lm.0' were not kept, only those of baseline, full: layers keep"
    ):
        compare(chosen, models=("full", "lm.0"))
    with pytest.raises(SettingsError, match=r"model 'lm.0' is compared with itself"):
        compare(held, models=("lm.0", "lm.0"))
    with pytest.raises(SettingsError, match=r"pairs of names, such as \('full', 'baseline'\); found \('lm.0',\)"):
        compare(held, models=[("lm.0",)])
    with pytest.raises(SettingsError, match="models names no pair"):
        compare(held, models=[])


def equally_informative(rng, n, width, rho, t):
    """Responses to a latent source, and two feature spaces that see it through different noise."""

    def slow(k):
        noise = rng.standard_normal((n, k))
        for row in range(1, n):
            noise[row] = rho * noise[row - 1] + np.sqrt(1 - rho**2) * noise[row]
        return noise

    source = slow(width)
    signal = source @ rng.standard_normal((width, t))
    y = np.sqrt(0.3) * signal / signal.std(0) + np.sqrt(0.7) * slow(t)
    return [one.astype(np.float32) for one in (y, source + slow(width), source + slow(width))]


def predicted(X, y, folds):
    out = np.zeros(y.shape)
    for train, test in folds:
        ridge = BandedRidge(["a"] * X.shape[1], folds=4, average=True).fit(X[train], y[train])
        out[test] = ridge.predict(X[test])
    return out


@pytest.mark.verify
def test_why_folds_that_share_training_have_no_p():
    """What `compare` says: of two equally informative spaces 25 % differ in K folds at 5 %, 9 % on one test set."""
    shares, covered = [], []
    for k in range(15):
        y, a, b = equally_informative(np.random.default_rng(k), 1_200, 50, 0.8, 60)
        y6, a6, b6 = y[:600], a[:600], b[:600]
        folds = contiguous(600, 6, gap=8)
        label = np.concatenate([np.full(len(test), f) for f, (_, test) in enumerate(folds)])
        kfold = [predicted(one, y6, folds) for one in (a6, b6)]
        span = paired_interval(y6, *kfold, label, n=299)
        covered.append(np.mean((span.low < 0) & (span.high > 0)))
        split = [(np.arange(600), np.arange(608, 1_200))]
        once = [predicted(one, y, split)[608:] for one in (a, b)]
        shares.append(
            [np.mean(swap_test(y6, *kfold, label, n=299) <= 0.05), np.mean(swap_test(y[608:], *once) <= 0.05)]
        )
    kfold, once = np.mean(shares, axis=0)
    assert 0.15 < kfold < 0.35
    assert once < 0.12
    assert 0.55 < np.mean(covered) < 0.75
