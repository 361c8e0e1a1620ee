from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from brainalign.errors import InputError, SettingsError
from brainalign.maths.ceiling import (
    Ceiling,
    cc_max,
    explainable_variance,
    leave_one_out,
    ncsnr,
    noise_ceiling,
    split_half,
)
from brainalign.maths.scores import cc_norm, normalise, pearson, r2, signal_power_explained

ALL = [split_half, noise_ceiling, explainable_variance, cc_max]


def repeats(k=4, n=2000, targets=40, ratio=0.5, seed=0):
    """Signal plus noise of variance 1; `ratio` is σ_s² / σ_n²."""
    rng = np.random.default_rng(seed)
    return np.sqrt(ratio) * rng.standard_normal((1, n, targets)) + rng.standard_normal((k, n, targets))


@pytest.fixture
def few_draws(monkeypatch):
    """A shorter null, where p is not what is tested."""
    monkeypatch.setattr("brainalign.maths.agreement.CHANCES", 9)


def uneven(k, n=2000, targets=40, ratio=0.5, seed=0):
    """As `repeats`, but a third of the stimuli met once less, and a few once only."""
    data = repeats(k, n, targets, ratio, seed)
    some = np.random.default_rng(seed + 1).permutation(n)
    data[-1, some[: n // 3]] = np.nan
    data[1:, some[: n // 20]] = np.nan
    return data


def mean_inverse(data):
    """Mean over stimuli of 1/k_i."""
    return (1 / (~np.isnan(data[..., 0])).sum(0)).mean()


def slow_noise(*shape, rho=0.8, seed=0):
    """AR(1) along the second axis, (people, samples, targets)."""
    white = np.random.default_rng(seed).standard_normal(shape)
    series = np.empty(shape)
    series[:, 0] = white[:, 0]
    for i in range(1, shape[1]):
        series[:, i] = rho * series[:, i - 1] + np.sqrt(1 - rho**2) * white[:, i]
    return series


@pytest.mark.parametrize(("ratio", "ceiling", "single"), [(0.1, 0.286, 0.091), (0.5, 0.667, 0.333), (2, 0.889, 0.667)])
def test_every_estimator_finds_the_planted_ceiling(ratio, ceiling, single, few_draws):
    data = repeats(ratio=ratio)
    sure = 3 / np.sqrt(40)  # the mean of 40 targets, three standard errors
    for found, truth in [
        (noise_ceiling(data), ceiling),
        (split_half(data), ceiling),
        (cc_max(data).as_r2(), ceiling),
        (explainable_variance(data), single),
        (noise_ceiling(data, k=1), single),
    ]:
        assert abs(found.value.mean() - truth) < sure * found.se.mean() + 0.0005, found.kind
        np.testing.assert_allclose(found.value.std(ddof=1), found.se.mean(), rtol=0.4)  # the error bar is the spread
        assert (found.p == 1 / 10).all()
    np.testing.assert_allclose(ncsnr(data).mean(), np.sqrt(ratio), rtol=0.03)
    same = [noise_ceiling(data).value.mean(), split_half(data).value.mean(), cc_max(data).as_r2().value.mean()]
    assert max(same) - min(same) < 0.002


@pytest.mark.parametrize("ratio", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("k", [2, 3, 4, 5, 7, 8])
def test_families_agree_on_the_truth_for_any_number_of_repeats(k, ratio, few_draws):
    data = repeats(k=k, targets=60, ratio=ratio)
    truth, single = ratio / (ratio + 1 / k), ratio / (ratio + 1)
    whole = [noise_ceiling(data), split_half(data), cc_max(data).as_r2()]
    one = [noise_ceiling(data, k=1), split_half(data, k=1), explainable_variance(data)]
    for family, expected in ((whole, truth), (one, single)):
        means = [np.nanmean(found.value) for found in family]
        assert max(means) - min(means) < 0.002
        for found, mean in zip(family, means, strict=True):
            assert abs(mean - expected) < 3 / np.sqrt(60) * np.nanmean(found.se) + 0.001, found.kind


@pytest.mark.parametrize("ratio", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("k", [3, 4, 8])
def test_families_agree_where_stimuli_were_met_unequally_often(k, ratio, few_draws):
    data = uneven(k=k, targets=60, ratio=ratio)
    truth, single = ratio / (ratio + mean_inverse(data)), ratio / (ratio + 1)
    whole = [noise_ceiling(data), cc_max(data).as_r2()]
    one = [noise_ceiling(data, k=1), split_half(data, k=1), explainable_variance(data)]
    for family, expected in ((whole, truth), (one, single)):
        means = [np.nanmean(found.value) for found in family]
        assert max(means) - min(means) < 0.01
        for found, mean in zip(family, means, strict=True):
            assert abs(mean - expected) < 3 / np.sqrt(60) * np.nanmean(found.se) + 0.003, found.kind


@pytest.mark.parametrize("ratio", [0.1, 0.5, 2.0])
def test_an_oracle_reaches_every_ceiling(ratio, few_draws):
    """Normalised, the noiseless signal scores 1: ratio of means over targets, 2,000 stimuli."""
    rng = np.random.default_rng(3)
    signal = np.sqrt(ratio) * rng.standard_normal((2000, 60))
    data = signal + rng.standard_normal((4, 2000, 60))
    mean, single = data.mean(0), data[0]
    r, r_single = pearson(mean, signal), pearson(single, signal)
    variance = r2(mean, signal)
    for ceiling, score in [
        (noise_ceiling(data).as_r(), r),
        (split_half(data).as_r(), r),
        (cc_max(data), r),
        (noise_ceiling(data, k=1).as_r(), r_single),
        (split_half(data, k=1).as_r(), r_single),
        (explainable_variance(data).as_r(), r_single),
        (noise_ceiling(data), variance),
        (split_half(data), variance),
        (cc_max(data).as_r2(), variance),
    ]:
        assert abs(score.mean() / ceiling.value.mean() - 1) < 0.02, ceiling.kind
    assert abs(cc_norm(data, signal).mean() - 1) < 0.02
    assert abs(signal_power_explained(data, signal).mean() - 1) < 0.02


@pytest.mark.parametrize(("n", "share"), [(200, 0.80), (515, 0.92), (2000, 1.00)])
def test_dropping_targets_by_significance_lowers_the_average_where_stimuli_are_few(n, share):
    """An oracle at σ_s²/σ_n² = 0.1, two presentations: the ceilings of those kept are too high."""
    rng = np.random.default_rng(1)
    signal = np.sqrt(0.1) * rng.standard_normal((n, 2000))
    data = signal + rng.standard_normal((2, n, 2000))
    ceiling = noise_ceiling(data).as_r()
    kept = np.isfinite(normalise(np.ones(2000), "r", ceiling))
    assert abs(pearson(data.mean(0), signal)[kept].mean() / ceiling.value[kept].mean() - share) < 0.02


def test_the_best_of_part_and_whole_is_no_ceiling():
    """max over trials of corr(mean, trial) makes .595 of pure noise: a warning, and no function of ours."""
    noise = np.random.default_rng(0).standard_normal((3, 1000, 200))
    mean = noise.mean(0)
    assert abs(np.max([pearson(mean, one) for one in noise], axis=0).mean() - 0.595) < 0.01
    assert noise_ceiling(noise).told_from_zero().mean() < 0.1


def test_oracles_of_people_reach_theirs(few_draws):
    rng = np.random.default_rng(3)
    shared = rng.standard_normal((2000, 60))
    people = shared + rng.standard_normal((8, 2000, 60))
    reached = np.stack([pearson(one, shared) for one in people])
    assert abs(reached.mean() / leave_one_out(people).value.mean() - 1) < 0.02
    group = split_half(people, null="shift").as_r()
    assert abs(pearson(people.mean(0), shared).mean() / group.value.mean() - 1) < 0.02


@pytest.mark.parametrize(
    "estimate",
    [
        noise_ceiling,
        split_half,
        cc_max,
        explainable_variance,
        lambda data: split_half(data, null="shift"),
        lambda data: leave_one_out(data.transpose(0, 1, 2)),
    ],
    ids=["noise_ceiling", "split_half", "cc_max", "explainable_variance", "shifted", "leave_one_out"],
)
@pytest.mark.parametrize(("k", "n", "ratio"), [(3, 200, 0.5), (4, 500, 0.2), (5, 100, 1.0)])
def test_intervals_cover_the_truth(estimate, k, n, ratio, few_draws):
    """2,000 data sets at once: each target is one."""
    data = repeats(k=k, n=n, targets=2000, ratio=ratio, seed=5)
    found = estimate(data)
    single = ratio / (1 + ratio)
    truth = {"explainable_variance": single, "leave_one_out": np.sqrt(single)}.get(found.kind, ratio / (ratio + 1 / k))
    truth = np.sqrt(truth) if found.kind == "cc_max" else truth
    low, high = found.interval()
    known = ~np.isnan(low)
    assert known.mean() > 0.99
    assert 0.90 <= ((low <= truth) & (truth <= high))[known].mean() <= 0.98


def test_intervals_are_those_of_t():
    found = noise_ceiling(repeats(k=3, n=200, targets=3))
    low, high = found.interval(0.9)
    np.testing.assert_allclose(high - low, 2 * stats.t.ppf(0.95, 19) * found.se)
    assert noise_ceiling(repeats(k=3, n=12, targets=3)).freedom == 11


def test_spe_and_cc_norm_by_hand():
    """Schoppe et al. (2016), their formulae written out."""
    data = repeats(k=4, n=300, targets=3)
    yhat = data.mean(0) + np.random.default_rng(9).standard_normal((300, 3))
    mean = data.mean(0)
    power = (data.sum(0).var(0) - data.var(1).sum(0)) / 12
    covariance = ((mean - mean.mean(0)) * (yhat - yhat.mean(0))).mean(0)
    np.testing.assert_allclose(cc_norm(data, yhat), covariance / np.sqrt(power * yhat.var(0)))
    np.testing.assert_allclose(signal_power_explained(data, yhat), (mean.var(0) - (mean - yhat).var(0)) / power)
    np.testing.assert_allclose(cc_norm(data, yhat), pearson(mean, yhat) / cc_max(data).value)
    np.testing.assert_allclose(cc_max(data).value, np.sqrt(power / mean.var(0)))
    assert np.isnan(cc_norm(data, np.ones((300, 3)))).all()
    shared = repeats(k=2, n=300, targets=1)
    opposed = np.stack([shared[0], -shared[0]])  # no power in what repeats share
    assert np.isnan(cc_norm(opposed, shared[0])).all()
    assert np.isnan(signal_power_explained(opposed, shared[0])).all()
    with pytest.raises(InputError, match=r"predictions \(stimuli, targets\); found \(4, 300, 3\) and \(300,\)"):
        cc_norm(data, yhat[:, 0])
    data[:, 7] = np.nan
    with pytest.raises(InputError, match="stimulus 7 has no response"):
        cc_norm(data, yhat)


def test_explainable_variance_by_hand():
    """Hsu et al. (2004) as the Gallant lab writes it: z-score, var(mean) / mean(var), corrected for k."""
    data = repeats(k=5, n=300, targets=3)
    z = (data - data.mean(1, keepdims=True)) / data.std(1, keepdims=True)
    ev = z.mean(0).var(0) / z.var(1).mean(0)
    np.testing.assert_allclose(explainable_variance(data).value, ev - (1 - ev) / 4)


def test_ncsnr_by_hand():
    """Allen et al. (2022): what their code computes for three presentations."""
    data = repeats(k=3, n=300, targets=3)
    noise = data.var(0, ddof=1).mean(0)
    signal = np.maximum(0, data.mean(0).var(0, ddof=1) - noise / 3)
    np.testing.assert_allclose(ncsnr(data), np.sqrt(signal / noise))
    np.testing.assert_allclose(noise_ceiling(data).value, signal / (signal + noise / 3))


def test_odd_against_even():
    data = repeats(k=12, n=30, targets=4)
    found = split_half(data, splits="odd-even", corrected=False)
    expected = stats.pearsonr(data[::2].mean(0), data[1::2].mean(0), axis=0).statistic
    np.testing.assert_allclose(found.value, expected)
    assert found.kind == "split_half_uncorrected"
    np.testing.assert_allclose(split_half(data, splits="odd-even").value, 2 * expected / (1 + expected))


def test_split_half_averages_over_every_split_when_there_are_few():
    data = repeats(k=5, n=50, targets=3)
    rs = []
    for one in combinations(range(5), 2):
        for other in combinations(sorted(set(range(5)) - set(one)), 2):
            rs.append(stats.pearsonr(data[list(one)].mean(0), data[list(other)].mean(0), axis=0).statistic)
    r = np.mean(rs, axis=0)
    one = r / (2 - r)
    np.testing.assert_allclose(split_half(data).value, 5 * one / (1 + 4 * one))
    np.testing.assert_allclose(split_half(data, seed=1).value, split_half(data, seed=2).value)
    assert not np.array_equal(split_half(data, splits=5, seed=1).value, split_half(data, splits=5, seed=2).value)


def test_leave_one_out_is_the_correlation_with_the_mean_of_the_others():
    people = repeats(k=6, n=80, targets=3)
    raw = leave_one_out(people, corrected=False)
    for i in range(6):
        others = np.delete(people, i, 0).mean(0)
        np.testing.assert_allclose(raw.value[i], stats.pearsonr(people[i], others, axis=0).statistic)
    assert raw.unit == "r"
    assert raw.se.shape == raw.p.shape == (6, 3)


def test_leave_one_out_finds_what_one_person_shares(few_draws):
    """σ_s² = σ_n²: one person correlates 0.707 with the signal, and 0.667 with the noisy mean of eight others."""
    people = repeats(k=9, n=2000, targets=20, ratio=1.0)
    np.testing.assert_allclose(leave_one_out(people).value.mean(), np.sqrt(0.5), atol=0.01)
    np.testing.assert_allclose(leave_one_out(people, corrected=False).value.mean(), np.sqrt(0.5 * 8 / 9), atol=0.01)


@pytest.mark.parametrize("estimate", ALL)
@pytest.mark.parametrize("make", [repeats, uneven])
def test_noise_has_no_ceiling(estimate, make):
    """P-values of pure noise are uniform: of 1,000 targets at most 5 % pass, within what chance allows (99.9 %)."""
    found = estimate(make(k=3, n=100, targets=1000, ratio=0))
    assert (found.p <= 0.05).sum() <= stats.binom.ppf(0.999, 1000, 0.05)
    assert (found.p <= 0.05).sum() >= stats.binom.ppf(0.001, 1000, 0.05)
    assert found.told_from_zero().sum() <= stats.binom.ppf(0.999, 1000, 0.05)
    assert (found.p > 0).all()
    typical = np.nanmedian(found.value if found.unit == "r2" else found.as_r2().value)
    assert typical < 0.2


@pytest.mark.parametrize("k", [2, 3, 6])
def test_p_of_noise_is_uniform(k):
    found = noise_ceiling(repeats(k=k, n=60, targets=4000, ratio=0))
    assert stats.kstest(found.p, "uniform").pvalue > 0.001


def test_shifts_allow_for_autocorrelation_and_permutations_do_not():
    noise = slow_noise(4, 300, 200)
    allowed = stats.binom.ppf(0.999, 200, 0.05)
    assert (split_half(noise, null="shift").p <= 0.05).sum() <= allowed
    assert (leave_one_out(noise, corrected=False).p[0] <= 0.05).sum() <= allowed
    assert (split_half(noise, null="permute").p <= 0.05).sum() > 1.5 * allowed


def test_missing_repeats(few_draws):
    """Three repeats of half the stimuli, two or one of the rest: the ceiling of their mean is found all the same."""
    data = repeats(k=3, n=4000, targets=30, ratio=1.0)
    data[2, 2000:] = np.nan
    data[1, 3600:] = np.nan
    mean_inverse = 0.5 / 3 + 0.4 / 2 + 0.1
    np.testing.assert_allclose(noise_ceiling(data).value.mean(), 1 / (1 + mean_inverse), atol=0.01)
    np.testing.assert_allclose(noise_ceiling(data, k=3).value.mean(), 0.75, atol=0.01)
    np.testing.assert_allclose(split_half(data, k=3).value.mean(), 0.75, atol=0.01)
    np.testing.assert_allclose(ncsnr(data).mean(), 1, atol=0.02)
    holes = np.array(data)
    holes[0, 2000:], holes[2, 2000:] = data[2, 2000:], data[0, 2000:]  # which of its places is empty says nothing
    np.testing.assert_allclose(noise_ceiling(holes).value, noise_ceiling(data).value)
    with pytest.raises(InputError, match=r"person 1, sample 3600, target 0 is NaN"):
        leave_one_out(data)


def test_targets_may_miss_different_repeats(few_draws):
    data = uneven(k=4, n=200, targets=2)
    both = np.concatenate([data, uneven(k=4, n=200, targets=1, seed=9)], axis=2)
    for estimate in ALL:
        np.testing.assert_allclose(estimate(both).value[:2], estimate(data).value)
        np.testing.assert_allclose(estimate(both).se[:2], estimate(data).se)


def test_a_target_missing_or_constant_is_nan_and_leaves_the_others_alone():
    data = repeats(k=3, n=200, targets=3)
    broken = data.copy()
    broken[:, :, 1] = np.nan
    found = noise_ceiling(broken)
    np.testing.assert_array_equal(np.isnan(found.value), [False, True, False])
    np.testing.assert_array_equal(np.isnan(found.p), [False, True, False])
    np.testing.assert_allclose(found.value[[0, 2]], noise_ceiling(data).value[[0, 2]])
    broken[:, :, 1] = data[:, :, 1]
    broken[1, :, 1] = 0.1  # one repeat of one target never changes
    for estimate in (split_half, explainable_variance):
        np.testing.assert_array_equal(np.isnan(estimate(broken).value), [False, True, False])
    np.testing.assert_array_equal(np.isnan(leave_one_out(broken).value[1]), [False, True, False])


def test_targets_are_judged_apart_and_seeds_repeat(monkeypatch):
    data = repeats(k=5, n=60, targets=7)
    together = split_half(data)
    monkeypatch.setattr("brainalign.maths.agreement.NUMBERS_TOGETHER", 2000)
    apart = split_half(data)
    for name in ("value", "se", "p"):
        np.testing.assert_allclose(getattr(apart, name), getattr(together, name))
        np.testing.assert_allclose(getattr(split_half(data[..., 2:3]), name)[0], getattr(together, name)[2])


def test_units_and_their_errors():
    r2 = Ceiling(np.array([0.64, -0.1, 0.0]), "r2", np.array([0.08, 0.08, 0.08]), np.array([0.01, 0.5, 0.4]), "x")
    r = r2.as_r()
    np.testing.assert_allclose(r.value, [0.8, np.nan, 0.0])
    np.testing.assert_allclose(r.se, [0.05, np.nan, np.nan])
    assert (r.unit, r.kind) == ("r", "x")
    assert r.as_r() is r
    assert r2.as_r2() is r2
    back = r.as_r2()
    np.testing.assert_allclose([back.value[0], back.se[0]], [0.64, 0.08])
    negative = Ceiling(np.array([-0.3]), "r", np.array([0.1]), np.array([0.9]), "x")
    assert np.isnan(negative.as_r2().value[0])


def test_what_is_refused():
    data = repeats(k=3, n=30, targets=2)
    with pytest.raises(InputError, match=r"\(repeats or people, samples, targets\); found shape \(3, 30\)"):
        split_half(data[..., 0])
    with pytest.raises(InputError, match="at least 2 repeats or people; found 1"):
        cc_max(data[:1])
    with pytest.raises(InputError, match="at least 3 repeats or people; found 2"):
        leave_one_out(data[:2])
    with pytest.raises(InputError, match="at least 5 stimuli or samples; found 4"):
        noise_ceiling(data[:, :4])
    with pytest.raises(InputError, match="infinite"):
        ncsnr(np.where(data > data.max() - 1, np.inf, data))
    lonely = data.copy()
    lonely[1:] = np.nan
    with pytest.raises(InputError, match="no stimulus was repeated"):
        ncsnr(lonely)
    with pytest.raises(SettingsError, match=r"'permute' .* or 'shift' .*; found 'bootstrap'"):
        split_half(data, null="bootstrap")
    with pytest.raises(SettingsError, match=r"splits is a number .*'odd-even'; found 0"):
        split_half(data, splits=0)
    with pytest.raises(SettingsError, match=r"k is a number of repeats .* found 0"):
        noise_ceiling(data, k=0)
    with pytest.raises(SettingsError, match=r"k is a number of repeats .* found -1"):
        split_half(data, k=-1)
