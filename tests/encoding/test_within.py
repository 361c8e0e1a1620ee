"""What is learned from training samples alone."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from brainalign.design.delays import delay
from brainalign.encoding.chance import Chance
from brainalign.encoding.encode import encode
from brainalign.encoding.folds import hold_out
from brainalign.encoding.within import learn_space, match_width, pca
from brainalign.errors import SettingsError
from brainalign.maths.banded import BandedRidge
from brainalign.signals import Signal


def design(n=80, width=12, seed=0):
    rng = np.random.default_rng(seed)
    wide = rng.standard_normal((n, 3)) @ rng.standard_normal((3, width)) + 0.1 * rng.standard_normal((n, width)) + 5
    values = np.c_[rng.standard_normal((n, 1)) * 40, wide, np.roll(wide, 1, 0)]
    columns = pd.DataFrame({"band": ["rate"] + ["lm"] * 2 * width, "delay": [0] + [1] * width + [2] * width})
    return values.astype(np.float32), columns


def test_test_samples_leave_the_space_alone():
    values, columns = design()
    train = np.arange(60)
    spaces = []
    for factor in (1, 1000):
        changed = values.copy()
        changed[60:] *= factor
        spaces.append(learn_space(changed, columns, ("rate", "lm"), train, {"lm": pca(3)}))
    np.testing.assert_array_equal(spaces[0].apply(values), spaces[1].apply(values))


def test_axes_are_shared_by_all_delays_and_scaled_by_training_spread():
    values, columns = design()
    train = np.arange(60)
    space = learn_space(values, columns, ("rate", "lm"), train, {"lm": pca(3)})
    z = space.apply(values)
    assert z.shape == (80, 1 + 2 * 3)
    assert space.bands == ("rate", *["lm"] * 6)
    np.testing.assert_allclose(z[train, 0].std(), 1, atol=1e-5)
    (_, first), (_, second) = space.loadings[1:]
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first.T @ first, np.eye(3), atol=1e-10)


def test_weights_come_back_to_the_columns_as_given():
    values, columns = design()
    space = learn_space(values, columns, ("rate", "lm"), np.arange(60), {"lm": pca(3)})
    weights = np.random.default_rng(1).standard_normal((7, 2))
    back, shift = space.back(weights)
    np.testing.assert_allclose(values @ back + shift, space.apply(values) @ weights, atol=1e-3)


def test_a_column_that_never_changes_in_training_is_silent():
    values, columns = design()
    values[:60, 0] = 0.1
    space = learn_space(values, columns, ("rate",), np.arange(60), {})
    assert not space.apply(values).any()


def test_components_are_counted():
    with pytest.raises(SettingsError, match="at least one component; found 0"):
        pca(0)
    values, columns = design()
    space = learn_space(values, columns, ("lm",), np.arange(60), {"lm": pca(500)})
    assert len(space.bands) == 2 * 12  # never more than there are


@pytest.mark.parametrize("shape", [(40, 90), (90, 40)])
def test_axes_are_those_of_scikit_learn(shape):
    from sklearn import decomposition

    z = np.random.default_rng(0).standard_normal(shape)
    z -= z.mean(0)
    ours, theirs = pca(5).axes(z), decomposition.PCA(5, svd_solver="full").fit(z).components_.T
    np.testing.assert_allclose(np.abs((ours * theirs).sum(0)), 1, atol=1e-10)


def test_no_axes_beyond_the_rank():
    z = np.outer(np.arange(30.0) - 14.5, np.ones(8))
    axes = pca(4).axes(z)
    np.testing.assert_allclose(np.linalg.norm(axes, axis=0), [1, 0, 0, 0], atol=1e-12)


def wide_and_narrow(seed=0, n=400, t=40):
    """Twenty sources seen by a band of 20 columns and by one of 300, which has the same 20 dimensions and noise."""
    rng = np.random.default_rng(seed)
    source = rng.standard_normal((n, 20))
    wide = source @ rng.standard_normal((20, 300)) + 0.5 * rng.standard_normal((n, 300))
    columns = pd.DataFrame({"band": ["small"] * 20 + ["large"] * 300})
    samples = pd.DataFrame({"run": np.repeat(list("1234"), n // 4), "time": np.tile(np.arange(n / 4), 4)})
    y = source @ rng.standard_normal((20, t)) / 20**0.5 + 2 * rng.standard_normal((n, t))
    return Signal(np.c_[source, wide], samples, columns), Signal(y, samples, pd.DataFrame({"voxel": range(t)}))


def test_matched_models_have_as_many_columns_and_the_same_score():
    """The same information in 20 and in 300 columns: hardly shrunk, 300 fit noise; reduced to 20, it is one model."""
    X, Y = wide_and_narrow()
    matched = match_width(X)
    assert matched == {"small": pca(20), "large": pca(20)}
    train = np.arange(300)
    free, held = (learn_space(X.values, X.columns, ("large",), train, how) for how in ({}, matched))
    assert (len(free.bands), len(held.bands)) == (300, 20)
    fits, hardly = {}, partial(BandedRidge, shrinkage=np.array([-2.0]))
    for band in ("small", "large"):
        for name, how in (("free", {}), ("matched", {band: matched[band]})):
            fit = encode(X.select(band=band), Y, within_fold=how, solver=hardly, chance=Chance(0, 0), weights=False)
            fits[band, name] = fit.scores["r"].mean()
    np.testing.assert_allclose(fits["small", "matched"], fits["small", "free"], atol=2e-3)  # turned, not reduced
    assert abs(fits["large", "matched"] - fits["small", "matched"]) < 0.01
    assert fits["small", "free"] - fits["large", "free"] > 0.1


def test_axes_of_matched_bands_are_those_of_training_samples():
    X, Y = wide_and_narrow(t=3)
    folds = hold_out(run="4")
    test = (X.samples["run"] == "4").to_numpy()
    half = np.flatnonzero(test)[:50]
    poisoned = X.values.copy()
    poisoned[half] *= 1_000
    kept = np.setdiff1d(np.flatnonzero(test), half) - np.flatnonzero(test)[0]
    seen = [
        encode(replace(X, values=v), Y, folds=folds, within_fold=match_width(X), chance=Chance(0, 0), weights=False)
        for v in (X.values, poisoned)
    ]
    first, second = (fit.predictions.array()[kept] for fit in seen)
    np.testing.assert_array_equal(first, second)
    assert seen[0].settings["within_fold"] == dict.fromkeys(["small", "large"], "20 principal components")


def test_delays_do_not_widen_a_band_that_is_matched():
    X, _ = wide_and_narrow(t=1)
    delayed = delay(X, volumes=[1, 2, 3])
    assert match_width(delayed) == match_width(X)
    assert match_width(delayed, ["large", "small"]) == {"large": pca(20), "small": pca(20)}


def test_what_cannot_be_matched():
    X, _ = wide_and_narrow(t=1)
    with pytest.raises(SettingsError, match="no band 'larg' to match; did you mean 'large'"):
        match_width(X, ["small", "larg"])
    with pytest.raises(SettingsError, match="at least two bands; found large"):
        match_width(X, ["large"])
