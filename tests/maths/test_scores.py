import numpy as np
import pytest
from himalaya.scoring import r2_score_split
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import r2_score

from brainalign.errors import InputError, SettingsError
from brainalign.maths.ceiling import Ceiling
from brainalign.maths.scores import normalise, pearson, pearson_fold_mean, pearson_within, r2, r2_split


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((60, 4))
    return y, y + rng.standard_normal((60, 4))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pearson_is_scipys(pair, dtype):
    y, yhat = (a.astype(dtype) for a in pair)
    expected = stats.pearsonr(*pair, axis=0).statistic
    np.testing.assert_allclose(pearson(y, yhat), expected, atol=1e-6 if dtype == np.float32 else 1e-12)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e3))
def test_pearson_ignores_offset_and_scale_and_keeps_the_sign(offset, scale):
    rng = np.random.default_rng(1)
    y, yhat = rng.standard_normal((2, 40, 3))
    np.testing.assert_allclose(pearson(y, offset - scale * yhat), -pearson(y, yhat), atol=1e-5)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6 + 0.1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_has_no_correlation(pair, constant, dtype):
    y, yhat = (a.astype(dtype) for a in pair)
    y[:, 1] = constant
    yhat[:, 2] = constant
    np.testing.assert_array_equal(np.isnan(pearson(y, yhat)), [False, True, True, False])


def test_nan_stays_in_its_target(pair):
    y, yhat = pair
    y[3, 1] = np.nan
    np.testing.assert_array_equal(np.isnan(pearson(y, yhat)), [False, True, False, False])


def test_pooling_centres_within_folds(pair):
    y, yhat = pair
    fold = np.repeat([0, 1, 2], [10, 20, 30])
    shifted = yhat + 5.0 * fold[:, None]
    np.testing.assert_allclose(pearson_within(y, shifted, fold), pearson_within(y, yhat, fold), atol=1e-12)
    assert (np.abs(pearson(y, shifted)) < np.abs(pearson(y, yhat))).all()
    centred = [np.concatenate([a[fold == f] - a[fold == f].mean(0) for f in range(3)]) for a in (y, yhat)]
    np.testing.assert_allclose(pearson_within(y, yhat, fold), stats.pearsonr(*centred, axis=0).statistic)


def test_training_means_do_not_score_on_noise():
    """Predicting each fold by the mean of the others scores far below 0 unless folds are centred; then it has no r."""
    y = np.random.default_rng(2).standard_normal((120, 50))
    fold = np.repeat(np.arange(6), 20)
    yhat = np.stack([y[fold != f].mean(0) for f in fold])
    assert pearson(y, yhat).max() < 0
    assert np.isnan(pearson_within(y, yhat, fold)).all()


def test_fold_mean_skips_folds_without_a_correlation(pair):
    y, yhat = pair
    fold = np.repeat(["a", "b", "c"], 20)
    y[:20, 0] = 3.0
    y[:, 1] = 3.0
    rs = [stats.pearsonr(y[fold == f, 0], yhat[fold == f, 0]).statistic for f in "bc"]
    result = pearson_fold_mean(y, yhat, fold)
    np.testing.assert_allclose(result[0], np.mean(rs))
    assert np.isnan(result[1])


def test_r2_is_sklearns_and_takes_the_training_mean(pair):
    y, yhat = pair
    np.testing.assert_allclose(r2(y, yhat), r2_score(y, yhat, multioutput="raw_values"))
    mean = np.array([0.3, -1.0, 0.0, 2.0])
    np.testing.assert_allclose(r2(y, np.broadcast_to(mean, y.shape), mean), 0, atol=1e-12)
    per_row = np.repeat([mean, -mean], 30, axis=0)
    np.testing.assert_allclose(r2(y, per_row, per_row), 0, atol=1e-12)
    expected = 1 - ((y - yhat) ** 2).sum(0) / ((y - mean) ** 2).sum(0)
    np.testing.assert_allclose(r2(y, yhat, mean), expected)


def test_r2_of_a_constant_is_nan(pair):
    y, yhat = pair
    y[:, 0] = 0.1
    np.testing.assert_array_equal(np.isnan(r2(y, yhat)), [True, False, False, False])
    np.testing.assert_array_equal(np.isnan(r2_split(y, yhat[None])), [[True, False, False, False]])


@pytest.mark.parametrize("given_mean", [False, True])
def test_r2_split_sums_to_the_joint_r2(given_mean):
    rng = np.random.default_rng(3)
    y = (rng.standard_normal((80, 5)) + 4).astype(np.float32)
    parts = (0.3 * rng.standard_normal((3, 80, 5)) + 0.1 * y).astype(np.float32)
    mean = y[:40].mean(0) if given_mean else None
    joint = r2(y, parts.sum(0) + (y.mean(0) if mean is None else mean), mean)
    np.testing.assert_allclose(r2_split(y, parts, mean).sum(0), joint, atol=1e-5)


def test_r2_split_is_himalayas():
    rng = np.random.default_rng(4)
    y = rng.standard_normal((80, 5))
    y -= y.mean(0)
    parts = 0.3 * rng.standard_normal((3, 80, 5)) + 0.2 * y
    np.testing.assert_allclose(r2_split(y, parts), r2_score_split(y, parts), atol=1e-12)


def test_normalise_divides_like_by_like():
    reliability = Ceiling(
        value=np.array([0.64, 0.25, np.nan, -0.1, 0.5]),
        unit="r2",
        se=np.full(5, 0.01),
        p=np.array([0.005, 0.2, 0.005, 0.005, np.nan]),
        kind="split_half",
    )
    score = np.array([-0.4, 0.4, 0.4, 0.4, 0.6])
    np.testing.assert_allclose(normalise(score, "r2", reliability), [-0.625, np.nan, np.nan, np.nan, 1.2])
    np.testing.assert_allclose(normalise(score, "r2", reliability, alpha=0.3)[1], 1.6)
    np.testing.assert_allclose(normalise(score, "r", reliability.as_r())[0], -0.5)
    with pytest.raises(InputError, match=r"score is in r and the ceiling in r2: divide by ceiling.as_r\(\)"):
        normalise(score, "r", reliability)
    with pytest.raises(InputError, match=r"ceiling.as_r2\(\)"):
        normalise(score, "r2", reliability.as_r())
    with pytest.raises(SettingsError, match="'r' or 'r2'; found 'R2'"):
        normalise(score, "R2", reliability)


def test_shapes_that_do_not_agree(pair):
    y, yhat = pair
    with pytest.raises(InputError, match=r"both \(samples, targets\); found \(60, 4\) and \(60, 3\)"):
        pearson(y, yhat[:, :3])
    with pytest.raises(InputError, match=r"y\[:, None\]"):
        r2(y[:, 0], yhat[:, 0])
    with pytest.raises(InputError, match=r"one label per sample, \(60,\)"):
        pearson_within(y, yhat, [1, 2])
    with pytest.raises(InputError, match=r"parts \(bands, samples, targets\)"):
        r2_split(y, yhat)
