"""Layers, lags and contexts whose place is known, and what choosing costs where there is nothing to choose."""

import numpy as np
import pandas as pd
import pytest

from brainalign.encoding import fit as fitting
from brainalign.encoding.chance import Chance
from brainalign.encoding.choices import most_chosen, places_of
from brainalign.encoding.encode import encode
from brainalign.encoding.fit import Fits, FoldFit, Model
from brainalign.encoding.result import load, save
from brainalign.signals import Signal

QUIET = Chance(0, 0)
BOOTSTRAP = Chance(0, 200)
LAYERS = [0, 3, 6, 9, 12]


def graded(planted, places, seed=0, share=0.3, axis="layer", runs=4, length=60, baseline=0.1, width=4):
    """Alternatives in a row, neighbours correlated .6; each target follows the one planted (by number; None: none)."""
    rng = np.random.default_rng(seed)
    clock = {"run": np.repeat([str(k) for k in range(runs)], length), "time": np.tile(np.arange(length) * 2.0, runs)}
    samples, k = pd.DataFrame(clock), len(places)
    apart = np.abs(np.subtract.outer(np.arange(k), np.arange(k)))
    drawn = rng.standard_normal((k, len(samples), width))
    spaces = np.einsum("ij,jnw->inw", np.linalg.cholesky(0.6**apart), drawn)
    rate = rng.standard_normal((len(samples), 1))
    y = np.sqrt(1 - baseline - share) * rng.standard_normal((len(samples), len(planted))) + np.sqrt(baseline) * rate
    for t, one in enumerate(planted):
        if one is not None:
            weights = rng.standard_normal(width)
            y[:, t] += np.sqrt(share) * spaces[one] @ (weights / np.linalg.norm(weights))
    names = [f"lm.{place}" for place in places]
    columns = {"band": ["rate", *np.repeat(names, width).tolist()], axis: [np.nan, *np.repeat(places, width)]}
    X = Signal(np.concatenate([rate, *spaces], axis=1), samples, pd.DataFrame(columns))
    return X, Signal(y, samples, pd.DataFrame({"roi": [f"r{t}" for t in range(len(planted))]}))


def fitted(X, Y, chance=QUIET, **how):
    alternatives = {"lm": [band for band in X.bands if band != "rate"]}
    return encode(X, Y, baseline=["rate"], alternatives=alternatives, chance=chance, weights=False, **how)


@pytest.fixture(scope="module")
def middle():
    """Three recordings of 30 targets that follow layer 6, which carries 30 % of their variance."""
    return [fitted(*graded([2] * 30, LAYERS, seed), chance=BOOTSTRAP) for seed in range(3)]


def test_the_planted_layer_is_chosen_and_the_centre_lies_there(middle):
    table = pd.concat([fit.choices for fit in middle])
    assert (table["choice"] == "lm.6").mean() > 0.9
    assert ((table["place"] == 6) == (table["choice"] == "lm.6")).all()
    assert table["share"].mean() > 0.9
    assert abs(table["centre"].mean() - 6) < 0.3
    assert (abs(table["centre"] - 6) < 1.5).mean() > 0.95
    assert (table["peak"] == 6).mean() > 0.9


def test_intervals_cover_the_place_conditionally(middle):
    """For a nominal 95 %: all targets of a recording share its features, and the fits are held fixed."""
    table = pd.concat([fit.choices for fit in middle])
    assert (table["peak_low"].le(6) & table["peak_high"].ge(6)).mean() > 0.95
    assert (table["centre_low"].le(6) & table["centre_high"].ge(6)).mean() > 0.8  # .89 in benchmarks/choosing.py
    assert ((table["centre_low"] < table["centre"]) & (table["centre"] < table["centre_high"])).all()
    assert table[["centre_low", "centre_high"]].diff(axis=1)["centre_high"].max() < 6


def test_each_target_has_its_own_place():
    planted = [0, 1, 2, 3, 4] * 4
    table = fitted(*graded(planted, LAYERS)).choices
    assert (table["place"] == np.array(LAYERS)[planted]).mean() > 0.9
    assert np.corrcoef(table["centre"], planted)[0, 1] > 0.95
    assert table["centre_low"].isna().all()
    assert list(table)[:4] == ["roi", "choice", "share", "place"]


@pytest.mark.parametrize(("axis", "places"), [("lag", [-0.2, 0.0, 0.2, 0.4]), ("context", [4, 16, 64, 128])])
def test_lags_and_contexts_are_places_too(axis, places, tmp_path):
    X, Y = graded([0, 2, 3] * 4, places, axis=axis)
    fit = fitted(X, Y)
    assert (fit.choices["place"] == np.array(places)[[0, 2, 3] * 4]).mean() > 0.9
    assert fit.layers[axis].tolist() == places
    assert "layer" not in fit.layers
    again = load(save(fit, tmp_path / "out"))
    pd.testing.assert_frame_equal(again.choices, fit.choices, atol=1e-5, check_dtype=False)
    assert again.layers[axis].tolist() == places


def test_a_planted_window_is_found():
    """Responses follow a running mean over 16 samples; the alternatives are such means, as contexts are."""
    rng = np.random.default_rng(0)
    samples = pd.DataFrame({"run": np.repeat(list("abcd"), 150), "time": np.tile(np.arange(150) * 2.0, 4)})
    word, windows = rng.standard_normal((600 + 64, 4)), [1, 4, 16, 64]
    means = [np.stack([word[64 + i - n : 64 + i].mean(0) * np.sqrt(n) for i in range(600)]) for n in windows]
    columns = {"band": np.repeat([f"lm.context{n}" for n in windows], 4), "layer": 3, "context": np.repeat(windows, 4)}
    X = Signal(np.concatenate(means, axis=1), samples, pd.DataFrame(columns))
    y = means[2] @ rng.standard_normal((4, 20)) / 2 + 1.5 * rng.standard_normal((600, 20))
    Y = Signal(y, samples, pd.DataFrame({"electrode": np.arange(20)}))
    table = encode(X, Y, alternatives={"lm": X.bands}, chance=QUIET, weights=False).choices
    assert (table["place"] == 16).mean() > 0.9
    assert table["centre"].between(8, 40).all()


def test_where_nothing_is_planted_the_nested_gain_is_zero_and_the_best_seen_is_not():
    """30 targets × 6 recordings of noise, within 3 standard errors over recordings."""
    gains = []
    for seed in range(6):
        fit = fitted(*graded([None] * 30, [0, 1, 2, 3], seed, share=0, baseline=0, length=50), inner=3)
        r = fit.scores.pivot_table(index="roi", columns="model", values="r")
        seen = r.drop(columns=["baseline", "full"]).max(axis=1)
        gains.append([(r["full"] - r["baseline"]).mean(), (seen - r["baseline"]).mean()])
    mean, error = np.mean(gains, axis=0), np.std(gains, axis=0, ddof=1) / np.sqrt(6)
    assert abs(mean[0]) < 3 * error[0]
    assert mean[1] > 3 * error[1]
    assert mean[1] > 0.04


def test_without_anything_better_than_the_baseline_there_is_no_centre():
    X, Y = graded([None] * 20, LAYERS, share=0, baseline=0.5)
    fit = fitted(X, Y, chance=BOOTSTRAP)
    r = fit.scores.pivot_table(index="roi", columns="model", values="r").loc[fit.choices["roi"]]
    worse = (r.drop(columns=["baseline", "full"]).max(axis=1) <= r["baseline"]).to_numpy()
    assert worse.any()
    np.testing.assert_array_equal(fit.choices["centre"].isna(), worse)
    assert fit.choices["peak"].notna().all()


def test_batches_change_nothing(monkeypatch):
    X, Y = graded([0, 2, 4], LAYERS)
    whole = fitted(X, Y, chance=BOOTSTRAP).choices
    monkeypatch.setattr(fitting, "AT_ONCE", 1)
    pd.testing.assert_frame_equal(fitted(X, Y, chance=BOOTSTRAP).choices, whole)


def fold(*cv_r2):
    nothing = np.zeros((0, len(cv_r2)))
    return FoldFit(nothing, np.array(cv_r2), nothing, nothing, nothing, nothing)


def test_of_alternatives_chosen_as_often_the_one_with_the_higher_inner_score_is_taken():
    models = tuple(Model(name, (name,), name) for name in "ab")
    a, b = [fold(0.3, 0.9, np.nan, 0), fold(0.1, 0.2, np.nan, 0)], [fold(0.2, 0.1, 0.1, 1), fold(0.4, 0.3, 0.1, 1)]
    picked, share = most_chosen(Fits(models, {"a": a, "b": b}), n_own=3)  # the fourth is a person's
    assert picked.tolist() == [1, 0, 1]
    assert share.tolist() == [0.5, 0.5, 1]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"layer": [2, 2, 5]}, ("layer", [2, 5])),
        ({"layer": [3, 3, 3], "lag": [0.1, 0.1, -0.1]}, ("lag", [0.1, -0.1])),
        ({"layer": [3, 3, np.nan]}, ("number", [0, 1])),
        ({"layer": [3, 4, 5]}, ("number", [0, 1])),  # a band of several layers has no place
        ({}, ("number", [0, 1])),
    ],
)
def test_a_place_is_what_the_alternatives_differ_in(columns, expected):
    axis, places = places_of(pd.DataFrame({"band": ["a", "a", "b"]} | columns), ["a", "b"])
    assert (axis, places.tolist()) == expected


def test_a_single_alternative_has_its_layer():
    axis, places = places_of(pd.DataFrame({"band": ["a"], "layer": [7]}), ["a"])
    assert (axis, places.tolist()) == ("layer", [7])
