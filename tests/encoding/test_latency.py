"""Electrodes whose lag is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from brainalign.encoding.chance import Chance
from brainalign.encoding.encode import encode
from brainalign.encoding.folds import hold_out
from brainalign.encoding.latency import latency
from brainalign.encoding.result import load, save
from brainalign.errors import InputError
from brainalign.signals import Signal

LAGS = np.arange(9) * 0.1
QUIET = Chance(0, 0)


def electrodes(planted, seed=0, runs=4, length=60, share=0.4, lags=LAGS):
    """Each electrode follows a word's features most at its own lag, less at the lags beside it; None: not at all."""
    rng = np.random.default_rng(seed)
    clock = {"run": np.repeat([str(k) for k in range(runs)], length), "time": np.tile(np.arange(length) * 2.0, runs)}
    x = rng.standard_normal((runs * length, 4))
    values = rng.standard_normal((runs * length, len(planted), len(lags)))
    for e, at in enumerate(planted):
        if at is not None:
            weights = rng.standard_normal(4)
            heard = x @ (weights / np.linalg.norm(weights))
            values[:, e] += np.sqrt(share / (1 - share)) * heard[:, None] * np.exp(-((lags - at) ** 2) / 0.02)
    columns = {"electrode": np.repeat([f"G{e}" for e in range(len(planted))], len(lags)), "lag": [*lags] * len(planted)}
    samples = pd.DataFrame(clock)
    X = Signal(x, samples, pd.DataFrame({"band": ["lm"] * 4}))
    return X, Signal(values.reshape(len(samples), -1), samples, pd.DataFrame(columns))


@pytest.fixture(scope="module")
def gradient():
    return encode(*electrodes(np.repeat(LAGS[1:-1], 2)), chance=QUIET, weights=False)


def test_a_gradient_of_lags_is_found(gradient):
    found, truth = latency(gradient), np.repeat(LAGS[1:-1], 2)
    assert found["electrode"].tolist() == [f"G{e}" for e in range(14)]
    assert (abs(found["peak"] - truth) < 0.1 + 1e-9).all()
    inside = (truth > 0.25) & (truth < 0.55)  # near the ends the centre leans to the middle: noise counts if positive
    assert (abs(found["centre"] - truth)[inside] < 0.1).all()
    assert np.corrcoef(found["centre"], truth)[0, 1] > 0.95
    for name in ("peak", "centre"):
        assert ((found[f"{name}_low"] <= found[name]) & (found[name] <= found[f"{name}_high"])).all()
    assert ((found["peak_low"] <= truth + 1e-9) & (truth - 1e-9 <= found["peak_high"])).mean() > 0.9
    assert (found["r_nested"] > 0.4).all()
    assert (found["r_nested"] < found["r_peak"] + 0.02).all()


def test_it_is_read_from_a_saved_fit_and_without_intervals(gradient, tmp_path):
    again = load(save(gradient, tmp_path / "out"))
    pd.testing.assert_frame_equal(latency(again, bootstrap=50), latency(gradient, bootstrap=50), atol=1e-6)
    bare = latency(gradient, bootstrap=0)
    assert bare[["peak_low", "peak_high", "centre_low", "centre_high"]].isna().all(axis=None)


def test_the_nested_score_of_noise_is_zero_and_the_one_seen_is_not():
    """20 unrelated lags, 30 electrodes × 4 seeds: within 3 standard errors over seeds."""
    means = []
    for seed in range(4):
        fit = encode(*electrodes([None] * 30, seed, lags=np.arange(20) / 10), inner=3, chance=QUIET, weights=False)
        means.append(latency(fit, bootstrap=0)[["r_nested", "r_peak"]].mean())
    means = np.array(means)
    nested, seen = means.mean(0)
    error, _ = means.std(0, ddof=1) / 2
    assert abs(nested) < 3 * error
    assert seen > 0.05


def test_a_baseline_is_subtracted_and_fits_without_inner_scores_have_no_nested_one():
    X, Y = electrodes([0.4] * 3)
    columns = X.columns.assign(band=["rate", "rate", "lm", "lm"])
    X = Signal(X.values, X.samples, columns)
    slow = np.repeat(X.values[:, :1] * 2, Y.shape[1], axis=1) * np.tile(LAGS == 0.0, 3)  # the baseline's, at lag 0
    Y = Signal(Y.values + slow, Y.samples, Y.columns)
    fit = encode(X, Y, baseline=["rate"], chance=QUIET, weights=False)
    assert (abs(latency(fit, bootstrap=0)["centre"] - 0.4) < 0.15).all()
    assert (latency(fit, model="baseline", bootstrap=0)["peak"] == 0).all()
    kept = [c for c in fit.predictions.columns if not c.startswith("inner_r2")]
    older = replace(fit, predictions=replace(fit.predictions, columns=fit.predictions.columns[kept]))
    assert latency(older, bootstrap=0)["r_nested"].isna().all()


def test_one_held_out_set_has_a_nested_score_too():
    fit = encode(*electrodes([0.2, 0.6]), folds=hold_out(run=["3"]), chance=QUIET, weights=False)
    found = latency(fit, bootstrap=0)
    assert (abs(found["peak"] - [0.2, 0.6]) < 0.11).all()
    assert (found["r_nested"] > 0.3).all()


def test_what_is_refused(gradient):
    with pytest.raises(InputError, match=r"the targets have no column 'lags'; did you mean 'lag'\?"):
        latency(gradient, over="lags")
    with pytest.raises(InputError, match="no predictions of a model 'ful' were kept; did you mean 'full'"):
        latency(gradient, model="ful")
    with pytest.raises(InputError, match="no electrode has two values of 'electrode'"):
        latency(replace(gradient, observed=gradient.observed.select(electrode=["G0"])), over="electrode")
    one = gradient.observed.columns.assign(electrode="G0")
    with pytest.raises(InputError, match=r"\{'electrode': 'G0'\} has lag 0.0 twice"):
        latency(replace(gradient, observed=replace(gradient.observed, columns=one)))
