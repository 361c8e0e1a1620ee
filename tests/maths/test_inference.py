import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.signal import lfilter

from brainalign.errors import InputError, SettingsError
from brainalign.maths.banded import BandedRidge
from brainalign.maths.folds import contiguous
from brainalign.maths.hat import hat_operator
from brainalign.maths.inference import (
    block_bootstrap,
    drawn_blocks,
    exceeded,
    fdr,
    interval,
    max_statistic,
    permutation_test,
    weighted_r,
)
from brainalign.maths.rearrange import block_length, shifts
from brainalign.maths.scores import pearson, pearson_within


def slow(rng, n, t, rho=0.8):
    """AR(1) series of variance 1, (n, t)."""
    white = rng.standard_normal((n + 200, t))
    return lfilter([np.sqrt(1 - rho**2)], [1, -rho], white, axis=0)[200:]


def test_fdr_is_scipys_and_leaves_nan_out():
    p = np.random.default_rng(0).uniform(size=50) ** 2
    with_nan = np.insert(p, [3, 20], np.nan)
    q = fdr(with_nan)
    np.testing.assert_allclose(q[~np.isnan(with_nan)], stats.false_discovery_control(p))
    np.testing.assert_array_equal(np.isnan(q), np.isnan(with_nan))
    assert np.isnan(fdr(np.full(3, np.nan))).all()


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=4), block=st.integers(1, 12))
def test_blocks_stay_within_runs(lengths, block):
    run = np.repeat(np.arange(len(lengths)), lengths)
    counts = drawn_blocks(len(run), block, 20, run)
    for k, length in enumerate(lengths):
        np.testing.assert_array_equal(counts[:, run == k].sum(1), length)
        if block >= length:
            np.testing.assert_array_equal(counts[:, run == k], 1)


def test_blocks_are_neighbours_and_favour_no_sample():
    counts = drawn_blocks(100, 10, 4000, seed=0)
    np.testing.assert_allclose(counts.mean(0), 1, atol=0.08)  # five standard errors; the ends are no exception
    alike = (counts[:, 1:] == counts[:, :-1]).mean()
    assert alike > 0.8  # samples drawn one by one are as often drawn as their neighbour in 0.31
    one_by_one = drawn_blocks(100, 1, 500, seed=0)
    assert (one_by_one[:, 1:] == one_by_one[:, :-1]).mean() < 0.35


def test_weighted_r_is_the_correlation_of_what_was_drawn():
    rng = np.random.default_rng(0)
    y, yhat = rng.standard_normal((2, 40, 3)) + 1e4
    counts = drawn_blocks(40, 5, 6)
    for r, one in zip(weighted_r(y, yhat, counts), counts.astype(int), strict=True):
        np.testing.assert_allclose(r, pearson(np.repeat(y, one, 0), np.repeat(yhat, one, 0)), atol=1e-7)


@pytest.mark.parametrize("constant", [0.1, 1e6 + 0.1])
def test_a_constant_has_neither_interval_nor_evidence(constant):
    rng = np.random.default_rng(0)
    y, yhat = rng.standard_normal((2, 100, 3))
    yhat[:, 1] = constant
    span = block_bootstrap(y, yhat, n=50)
    for one in (span.low, span.high, span.se):
        np.testing.assert_array_equal(np.isnan(one), [False, True, False])
    assert permutation_test(y, yhat, n=50)[1] == 1


def test_intervals_of_an_untouched_test_set_cover():
    """True r 0.5 in AR(0.8) series of 1,000: 300 intervals cover 0.93 of the time (0.89–0.97: binomial, 99.9 %)."""
    rng = np.random.default_rng(0)
    signal, noise = slow(rng, 1000, 300), slow(rng, 1000, 300)
    y = 0.5 * signal + np.sqrt(0.75) * noise
    span = block_bootstrap(y, signal, n=400)
    covered = ((span.low < 0.5) & (span.high > 0.5)).mean()
    assert 0.89 <= covered <= 0.97
    np.testing.assert_allclose(span.se.mean(), pearson(y, signal).std(), rtol=0.2)
    single = block_bootstrap(y, signal, n=400, block=1)
    assert ((single.low < 0.5) & (single.high > 0.5)).mean() < 0.85  # samples drawn one by one do not


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_permutation_p_values_are_calibrated(rho):
    """400 unrelated pairs: rejections at 0.05 within the binomial's 99.8 %."""
    rng = np.random.default_rng(1)
    y, yhat = slow(rng, 362, 400, rho), slow(rng, 362, 400, rho)
    rejected = (permutation_test(y, yhat, n=400) <= 0.05).sum()
    low, high = stats.binom.ppf([0.001, 0.999], 400, 0.05)
    assert low <= rejected <= high


@pytest.mark.parametrize("run", [None, np.repeat(["a", "b", "c"], [60, 41, 19])])
def test_shifts_are_those_of_the_samples_themselves(run):
    """Looked up in cross-correlations, or with the responses moved and multiplied: the same p."""
    rng = np.random.default_rng(3)
    y, yhat = rng.standard_normal((120, 30)), rng.standard_normal((120, 30))
    yhat += 0.15 * y
    moved = shifts(np.zeros(120) if run is None else run, n=200, minimum=2, seed=5)
    null = np.stack([pearson(y[index], yhat) for index in moved])
    np.testing.assert_allclose(
        permutation_test(y, yhat, n=200, block=2, run=run, seed=5), exceeded(pearson(y, yhat), null)
    )
    highest = np.broadcast_to(null.max(1)[:, None], null.shape)
    np.testing.assert_allclose(
        max_statistic(y, yhat, n=200, block=2, run=run, seed=5), exceeded(pearson(y, yhat), highest)
    )


def test_blocks_are_permuted_within_runs():
    """Looked up in products of blocks, or permuted: the same null."""
    rng = np.random.default_rng(3)
    y, yhat = rng.standard_normal((50, 4)), rng.standard_normal((50, 4))
    run = np.repeat([0, 1], [33, 17])
    orders = np.random.default_rng(7)
    first, second = (orders.permuted(np.tile(np.arange(k), (99, 1)), axis=1) for k in (6, 3))
    null = []
    for one, other in zip(first, second, strict=True):
        index = np.arange(50)
        for start, order in ((0, one), (33, other)):
            for place, source in enumerate(order):
                index[start + 5 * place : start + 5 * place + 5] = start + 5 * source + np.arange(5)
        null.append(pearson(y[index], yhat))
    np.testing.assert_allclose(
        permutation_test(y, yhat, n=99, block=5, run=run, seed=7, how="blocks"),
        exceeded(pearson(y, yhat), np.array(null)),
    )


def test_targets_are_tested_some_at_a_time(monkeypatch):
    rng = np.random.default_rng(3)
    y, yhat = rng.standard_normal((200, 9)), rng.standard_normal((200, 9))
    whole = [test(y, yhat, n=50, how=how) for test in (permutation_test, max_statistic) for how in ("shift", "blocks")]
    monkeypatch.setattr("brainalign.maths.inference.NUMBERS_TOGETHER", 450)
    apart = [test(y, yhat, n=50, how=how) for test in (permutation_test, max_statistic) for how in ("shift", "blocks")]
    np.testing.assert_allclose(apart, whole)


SETTINGS = {  # (samples, autocorrelation, runs)
    "white": (1000, 0.0, 1),
    "AR 0.8": (1000, 0.8, 1),
    "few long blocks": (1000, 0.9, 1),
    "ragged runs": (1000, 0.8, 5),
}


def false_positives(setting, how, data_sets, seed=0):
    """Shares of unrelated pairs with p at most .05 and .01, each target a data set."""
    n, rho, n_runs = SETTINGS[setting]
    rng = np.random.default_rng(seed)
    run = np.sort(rng.integers(0, n_runs, n))
    y, yhat = (np.concatenate([slow(rng, (run == k).sum(), data_sets, rho) for k in range(n_runs)]) for _ in range(2))
    p = permutation_test(y, yhat, n=400, run=run, how=how)
    return (p <= 0.05).mean(), (p <= 0.01).mean()


@pytest.mark.parametrize("how", ["shift", "blocks"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_false_positives_of_a_test_set(setting, how):
    at_5, at_1 = false_positives(setting, how, 1000)
    slack = 3 * np.sqrt(0.05 * 0.95 / 1000)
    assert 0.02 - slack < at_5 < 0.065 + slack
    assert at_1 < 0.015 + 3 * np.sqrt(0.01 * 0.99 / 1000)


@pytest.mark.verify
@pytest.mark.parametrize("how", ["shift", "blocks"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_false_positives_of_a_test_set_in_ten_thousand(setting, how):
    at_5, at_1 = false_positives(setting, how, 10_000)
    assert 0.02 <= at_5 <= 0.065
    assert at_1 < 0.015


def test_fdr_is_held_among_true_effects():
    rng = np.random.default_rng(0)
    y, yhat = slow(rng, 1000, 1000), slow(rng, 1000, 1000)
    yhat[:, :200] += 0.5 * y[:, :200]
    found = fdr(permutation_test(y, yhat, n=990)) <= 0.05
    assert found[:200].mean() > 0.9
    assert found[200:].sum() / max(found.sum(), 1) < 0.07


def test_the_highest_of_many_is_judged_by_the_highest():
    rng = np.random.default_rng(0)
    rejected = 0
    for _ in range(200):
        y, yhat = slow(rng, 600, 30, 0.5), slow(rng, 600, 30, 0.5)
        rejected += max_statistic(y, yhat, n=99).min() <= 0.05
    assert stats.binom.ppf(0.001, 200, 0.05) <= rejected <= stats.binom.ppf(0.999, 200, 0.05)


def test_a_short_slow_test_set_is_warned_of():
    rng = np.random.default_rng(0)
    y, yhat = slow(rng, 120, 50), slow(rng, 120, 50)
    with pytest.warns(RuntimeWarning, match=r"120 test samples are fewer than 30 blocks of \d+ correlated ones"):
        permutation_test(y, yhat)
    with pytest.raises(SettingsError, match="how is 'shift' or 'blocks'; found 'swap'"):
        permutation_test(y, yhat, how="swap")
    white = rng.standard_normal((120, 2))
    with pytest.raises(InputError, match="no run holds two blocks of 90 samples"):
        permutation_test(white, white, block=90, how="blocks")


def test_permutation_finds_what_is_there_and_has_a_floor():
    rng = np.random.default_rng(2)
    signal = slow(rng, 362, 20)
    y = signal + slow(rng, 362, 20)
    run = np.repeat([1, 2], 181)
    assert (permutation_test(y, signal, n=199) == 1 / 200).all()
    assert (permutation_test(y, -signal, n=199) > 0.9).all()  # one-sided
    assert (permutation_test(y, signal, n=199, run=run) == 1 / 200).all()
    assert permutation_test(y, signal, n=10_000)[0] == 1 / 362  # every shift there is
    assert permutation_test(y, signal, n=10_000, block=10)[0] == 1 / (1 + 362 - 2 * 10 + 1)


@pytest.fixture(scope="module")
def folded():
    """K-fold ridge of AR(0.8) responses on AR(0.8) features; the last 20 of 400 targets depend on the features."""
    rng = np.random.default_rng(3)
    n, t = 362, 400
    bands = ["a"] * 5 + ["b"] * 60
    X, Y = slow(rng, n, 65), slow(rng, n, t)
    Y[:, -20:] += X[:, :5] @ rng.standard_normal((5, 20))
    folds = contiguous(n, 6, gap=8)
    predicted, models = np.empty((n, t)), []
    for train, test in folds:
        models.append(BandedRidge(bands, folds=5).fit(X[train], Y[train]))
        predicted[test] = models[-1].predict(X[test])
    return bands, X, Y, folds, predicted, models


def test_refitted_shifts_are_calibrated_for_cross_validated_predictions(folded):
    """Shift the whole series, predict anew at fixed penalties: false positives at most nominal, effects found."""
    bands, X, Y, folds, predicted, models = folded
    fold = np.empty(len(Y), int)
    for f, (_, test) in enumerate(folds):
        fold[test] = f
    moved = shifts(np.zeros(len(Y)), 200, block_length(Y))
    null_predicted = np.empty((len(moved), *Y.shape))
    for (train, test), model in zip(folds, models, strict=True):
        operators, which = hat_operator(X[train], X[test], bands, model.shrinkage_)
        for k in range(len(operators)):
            mine = np.flatnonzero(which == k)
            at = np.ix_(range(len(moved)), test, mine)
            null_predicted[at] = operators[k] @ Y[:, mine][moved[:, train]]
    null = np.stack([pearson_within(Y[index], one, fold) for index, one in zip(moved, null_predicted, strict=True)])
    p = exceeded(pearson_within(Y, predicted, fold), null)
    assert (p[-20:] == 1 / (1 + len(moved))).all()
    rejected = (p[:-20] <= 0.05).sum()
    assert rejected <= stats.binom.ppf(0.999, 380, 0.05)  # conservative: about 0.02–0.05 expected


def test_exceeded_counts_ties_and_leaves_undefined_alone():
    null = np.array([[0.1, np.nan, 0.3], [0.2, 0.1, 0.3], [0.3, -0.1, 0.3]])
    np.testing.assert_allclose(exceeded(np.array([0.2, 0.0, np.nan]), null), [3 / 4, 3 / 4, 1.0])


def test_interval_is_the_percentiles():
    samples = np.column_stack([np.arange(1001.0), np.full(1001, np.nan)])
    span = interval(samples)
    np.testing.assert_allclose([span.low[0], span.high[0]], [25, 975])
    np.testing.assert_allclose(span.se[0], np.arange(1001).std(ddof=1))
    assert np.isnan(span.low[1])


def test_shapes_that_do_not_agree():
    y = np.zeros((10, 2))
    with pytest.raises(InputError, match=r"one shape; found \(10, 2\) and \(10, 1\)"):
        block_bootstrap(y, y[:, :1])
    with pytest.raises(InputError, match="3 run labels for 10 samples"):
        permutation_test(y, y, run=np.zeros(3))
