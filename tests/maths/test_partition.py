"""What one band explains alone, and what bands share: held-out, signed, against known truth."""

import numpy as np
import pytest

from brainalign.errors import InputError, SettingsError
from brainalign.maths.banded import BandedRidge
from brainalign.maths.folds import contiguous
from brainalign.maths.himalaya import HimalayaRidge
from brainalign.maths.partition import commonality, unique_variance
from brainalign.maths.simulate import simulate_bands


def two_bands(correlation, n=4000, targets=10, seed=0):
    """y = 0.6 a + 0.4 b + noise, var a = var b = var y = 1."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((n, 1))
    b = correlation * a + np.sqrt(1 - correlation**2) * rng.standard_normal((n, 1))
    signal = 0.6 * a + 0.4 * b
    noise = 1 - (0.36 + 0.16 + 2 * 0.24 * correlation)
    return np.c_[a, b], signal + np.sqrt(noise) * rng.standard_normal((n, targets))


@pytest.mark.parametrize(
    ("correlation", "parts"), [(0.0, (0.36, 0.16, 0.0)), (0.5, (0.27, 0.12, 0.37))], ids=["apart", "correlated"]
)
def test_the_known_partition_is_found(correlation, parts):
    X, Y = two_bands(correlation)
    unique = unique_variance(X, Y, ["a", "b"], 4)
    common = commonality(X, Y, ["a", "b"], 4)
    assert list(common) == ["a", "b", "a&b"]
    for band, truth in zip(("a", "b"), parts, strict=False):
        assert abs(unique[band].mean() - truth) < 0.02
        np.testing.assert_allclose(common[band], unique[band])
    assert abs(common["a&b"].mean() - parts[2]) < 0.02
    assert abs(sum(common.values()).mean() - sum(parts)) < 0.02


def test_parts_of_three_bands_sum_to_the_whole():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((400, 9)).cumsum(1)  # all columns correlate
    Y = X @ rng.standard_normal((9, 4)) + 3 * rng.standard_normal((400, 4))
    bands = np.repeat(["a", "b", "c"], 3)
    folds = contiguous(400, 4, gap=5)
    parts = commonality(X, Y, bands, folds)
    assert set(parts) == {"a", "b", "c", "a&b", "a&c", "b&c", "a&b&c"}
    left = spread = 0
    for train, test in folds:
        model = BandedRidge(bands=bands, average=True).fit(X[train], Y[train])
        left = left + np.square(Y[test] - model.predict(X[test])).sum(0)
        spread = spread + np.square(Y[test] - Y[train].mean(0)).sum(0)
    np.testing.assert_allclose(sum(parts.values()), 1 - left / spread, atol=1e-5)


def test_the_unique_variance_of_an_irrelevant_band_is_centred_on_zero():
    rng = np.random.default_rng(2)
    X = rng.standard_normal((300, 20))
    Y = X[:, :10] @ rng.standard_normal((10, 200)) / 3 + rng.standard_normal((300, 200))
    unique = unique_variance(X, Y, ["a"] * 10 + ["b"] * 10, 5)
    assert abs(unique["b"].mean()) < 0.005
    assert unique["a"].mean() > 0.3


def test_a_constant_target_is_nan():
    X, Y = two_bands(0.0, n=200, targets=2)
    Y[:, 1] = 3.0
    found = unique_variance(X, Y, ["a", "b"], 3)["a"]
    assert np.isnan(found).tolist() == [False, True]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"bands": ["a"]}, InputError, "one label per column of X: 2 columns, 1 labels"),
        ({"bands": ["a", "a"]}, InputError, "at least two bands; found a"),
        ({"bands": ["a", "a&b"]}, SettingsError, "band 'a&b': '&' joins the names"),
        ({"Y": np.ones(200)}, InputError, r"found \(200, 2\) and \(200,\)"),
        ({"folds": 1}, SettingsError, "1 folds of 200 samples"),
    ],
)
def test_what_is_refused(change, error, message):
    X, Y = two_bands(0.0, n=200, targets=2)
    with pytest.raises(error, match=message):
        unique_variance(**{"X": X, "Y": Y, "bands": ["a", "b"], "folds": 3, **change})


def test_five_bands_share_too_much():
    X = np.random.default_rng(0).standard_normal((100, 5))
    with pytest.raises(SettingsError, match=r"of 5 bands needs 31 models .* join bands to 4"):
        commonality(X, X[:, :1], list("abcde"), 3)


def test_folds_may_come_from_a_generator():
    from sklearn.model_selection import KFold

    X, Y = two_bands(0.0, n=400, targets=2)
    found = unique_variance(X, Y, ["a", "b"], KFold(4).split(X))
    expected = unique_variance(X, Y, ["a", "b"], np.int64(4))
    np.testing.assert_allclose(found["a"], expected["a"])
    with pytest.raises(SettingsError, match="there are no folds"):
        unique_variance(X, Y, ["a", "b"], [])


@pytest.mark.parametrize("widths", [(5, 60, 200), (5, 20, 40)], ids=["dual", "primal"])
@pytest.mark.parametrize("average", [True, False])
def test_a_nested_model_is_as_good_as_the_fit_of_the_columns_that_are_left(widths, average):
    data = simulate_bands(240, dict(zip("abc", widths, strict=True)), 40, seed=3)
    whole = BandedRidge(data.bands, average=average).fit(data.X, data.Y)
    before = whole.predict(data.X)
    left_out = [["a"], ["b"], ["a", "b"]]
    for gone, nested in zip(left_out, whole.without_each(left_out), strict=True):
        left, dropped = ~np.isin(data.bands, gone), np.isin(whole.bands_, gone)
        alone = BandedRidge(data.bands[left], average=average).fit(data.X[:, left], data.Y)
        assert abs((nested.cv_r2_ - alone.cv_r2_).mean()) < 0.002  # points differ, and with them single targets
        if not average:  # what was found, fitted to the columns that are left
            fixed = BandedRidge(data.bands[left], shrinkage=nested.shrinkage_[~dropped]).fit(data.X[:, left], data.Y)
            np.testing.assert_allclose(nested.predict(data.X), fixed.predict(data.X[:, left]), atol=1e-4)
            np.testing.assert_allclose(nested.coef_[left], fixed.coef_, atol=1e-4)
            np.testing.assert_allclose(nested.cv_r2_, fixed.cv_r2_, atol=1e-4)
        assert not nested.coef_[~left].any()
        assert np.isposinf(nested.shrinkage_[dropped]).all()
        assert not nested.predict(data.X, split=True)[dropped].any()
    np.testing.assert_array_equal(whole.predict(data.X), before)


def test_nested_at_fixed_penalties_in_batches_and_by_himalaya():
    data = simulate_bands(200, {"a": 5, "b": 30}, 50, seed=3)
    fixed = np.array([1.0, 2.0])
    (nested,) = BandedRidge(data.bands, shrinkage=fixed).fit(data.X, data.Y).without_each(["a"])
    alone = BandedRidge(shrinkage=fixed[1:]).fit(data.X[:, 5:], data.Y)
    np.testing.assert_allclose(nested.predict(data.X), alone.predict(data.X[:, 5:]), atol=1e-5)
    data = simulate_bands(200, {"a": 5, "b": 30}, 600, seed=3)
    batched = BandedRidge(data.bands, memory="6MB", n_jobs=1).fit(data.X, data.Y)
    assert len(list(batched.predict_batches(data.X))) > 1
    small, large = (
        next(BandedRidge(data.bands, memory=memory, n_jobs=1).fit(data.X, data.Y).without_each(["b"]))
        for memory in ("6MB", "1GB")
    )
    np.testing.assert_allclose(small.predict(data.X), large.predict(data.X), atol=1e-4)
    told = []
    (theirs,) = HimalayaRidge(data.bands).fit(data.X, data.Y).without_each(["a"], progress=lambda *at: told.append(at))
    few = HimalayaRidge(data.bands[5:]).fit(data.X[:, 5:], data.Y)
    np.testing.assert_allclose(theirs.predict(data.X), few.predict(data.X[:, 5:]), atol=1e-5)
    assert told == [(1, 1, "leaving bands out")]


def test_what_cannot_be_left_out():
    data = simulate_bands(60, {"rate": 2, "lm": 3}, 3)
    model = BandedRidge(data.bands).fit(data.X, data.Y)
    with pytest.raises(InputError, match=r"no band 'rat' to leave out; did you mean 'rate'\?"):
        list(model.without_each([["rat"]]))
    with pytest.raises(InputError, match="all bands are left out"):
        list(model.without_each([["rate", "lm"]]))
