"""Two predictions of the same responses, whose difference is known."""

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

from brainalign.errors import InputError
from brainalign.maths import paired
from brainalign.maths.paired import paired_interval, swap_test
from brainalign.maths.scores import pearson_within


def slow(rng, n, t, rho):
    noise = rng.standard_normal((n, t))
    noise[1:] *= np.sqrt(1 - rho**2)
    return lfilter([1], [1, -rho], noise, axis=0)


def two_alike(rng, n, t, rho, second=None):
    """Responses and two predictions that correlate with them equally: different noise, and different scales."""
    signal = slow(rng, n, t, rho)
    y = signal + slow(rng, n, t, rho)
    return y, signal + slow(rng, n, t, rho), 3 * (signal + slow(rng, n, t, rho if second is None else second))


def found(rho, second, n, sets, t=100):
    """Share of true nulls found at 5 %."""
    below = 0
    for k in range(sets):
        y, a, b = two_alike(np.random.default_rng(k), n, t, rho, second)
        below += np.sum(swap_test(y, a, b, n=199, seed=k) <= 0.05)
    return below / (sets * t)


@pytest.mark.parametrize(("rho", "second", "most"), [(0.0, 0.0, 0.05), (0.8, 0.8, 0.06), (0.8, 0.0, 0.06)])
def test_equally_good_predictions_are_found_different_as_often_as_said(rho, second, most):
    """1,000 samples, 1,500 tests, binomial 99.9 %: 5.0 % in white noise, 6.0 % with autocorrelation .8."""
    low, high = stats.binom.ppf([0.001, 0.999], 1_500, [0.05, most])
    assert low <= 1_500 * found(rho, second, 1_000, 15) <= high


@pytest.mark.verify
@pytest.mark.parametrize(("rho", "second", "most"), [(0.0, 0.0, 0.05), (0.8, 0.8, 0.06), (0.8, 0.0, 0.06)])
def test_equally_good_predictions_in_ten_thousand(rho, second, most):
    low, high = stats.binom.ppf([0.001, 0.999], 10_000, [0.05, most])
    assert low <= 10_000 * found(rho, second, 1_000, 100) <= high


def test_a_swap_is_that_of_the_samples_themselves(monkeypatch):
    """Sums over blocks give the r of swapped, centred predictions; some targets at a time give the same."""
    rng = np.random.default_rng(0)
    y, a, b = two_alike(rng, 90, 7, 0.3)
    a[:45] *= 4  # folds of different spread, of which a swap changes the norm
    fold = np.repeat([0, 1], 45)
    block = 6
    p = swap_test(y, a, b, fold, n=99, block=block, seed=3)
    which = np.repeat(np.arange(14), np.bincount(paired._blocks(fold, block)))
    signs = np.random.default_rng(3).choice(np.array([-1, 1], np.float32), size=(99, 14))
    centred = [one - np.stack([one[fold == f].mean(0) for f in (0, 1)])[fold] for one in (a, b)]
    unit = [one / np.sqrt((one**2).sum(0)) for one in centred]
    null = []
    for pattern in signs:
        turned = (pattern[which] < 0)[:, None]
        swapped = np.where(turned, unit[1], unit[0]), np.where(turned, unit[0], unit[1])
        null.append(np.subtract(*(pearson_within(y, one, fold) for one in swapped)))
    observed = pearson_within(y, a, fold) - pearson_within(y, b, fold)
    np.testing.assert_allclose(p, (1 + (np.abs(null) >= np.abs(observed) - 1e-6).sum(0)) / 100)
    monkeypatch.setattr(paired, "TOGETHER", 2 * 99)
    np.testing.assert_array_equal(swap_test(y, a, b, fold, n=99, block=block, seed=3), p)


def test_what_differs_is_found_from_either_side():
    rng = np.random.default_rng(1)
    y = slow(rng, 600, 20, 0.5)
    near, far = y + slow(rng, 600, 20, 0.5), y + 3 * slow(rng, 600, 20, 0.5)
    p = swap_test(y, near, far, n=999)
    assert (p <= 0.01).all()
    np.testing.assert_array_equal(swap_test(y, far, near, n=999), p)
    np.testing.assert_array_equal(swap_test(y, 100 * near + 5, far, n=999), p)


def test_a_prediction_is_no_better_than_itself_and_nothing_is_not_compared():
    rng = np.random.default_rng(2)
    y, a, b = two_alike(rng, 200, 2, 0.0)
    b[:, 1] = 7.0
    assert swap_test(y, a, a).tolist() == [1.0, 1.0]
    p = swap_test(y, a, b)
    assert np.isfinite(p[0])
    assert np.isnan(p[1])
    span = paired_interval(y, a, b, n=50)
    assert np.isfinite(span.low[0])
    assert np.isnan(span.low[1])


def test_few_blocks_and_one():
    rng = np.random.default_rng(3)
    y, a, b = two_alike(rng, 60, 2, 0.0)
    with pytest.warns(RuntimeWarning, match=r"60 test samples are 6 blocks of 10: no p can be below 0\.031"):
        p = swap_test(y, y, b, n=9_999, block=10)
    assert p.min() == pytest.approx(2 / 2**6, rel=0.25)
    with pytest.raises(InputError, match="60 samples are one block of 40"):
        swap_test(y, a, b, block=40)
    with pytest.raises(InputError, match=r"one shape; found \(60, 2\), \(60, 2\) and \(60, 1\)"):
        swap_test(y, a, b[:, :1])
    with pytest.raises(InputError, match="3 fold labels for 60 samples"):
        paired_interval(y, a, b, np.zeros(3))


def test_no_block_crosses_folds_and_none_is_shorter_than_asked():
    fold = np.repeat([0, 1, 2], [23, 5, 31])
    which = paired._blocks(fold, 6)
    assert len({(f, k) for f, k in zip(fold, which, strict=True)}) == which.max() + 1
    lengths = np.bincount(which)
    assert lengths.tolist()[3] == 5  # a whole fold
    assert min(np.delete(lengths, 3)) >= 6


@pytest.mark.parametrize(("rho", "least"), [(0.0, 0.93), (0.8, 0.86)])
def test_the_interval_of_a_difference_covers(rho, least):
    """One test set of 1,000 samples: .945 in white noise, .90 with autocorrelation .8."""
    inside = []
    for k in range(4):
        y, a, b = two_alike(np.random.default_rng(k), 1_000, 250, rho)
        span = paired_interval(y, a, b, n=400, seed=k)
        inside.append((span.low < 0) & (span.high > 0))
    assert least <= np.mean(inside) <= 0.965
