import os
import time
from itertools import combinations
from pathlib import Path

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

ALL = [split_half, noise_ceiling, explainable_variance, cc_max]


def repeats(k=4, n=2000, targets=40, ratio=0.5, seed=0):
    """Signal plus noise of variance 1; `ratio` is σ_s² / σ_n²."""
    rng = np.random.default_rng(seed)
    return np.sqrt(ratio) * rng.standard_normal((1, n, targets)) + rng.standard_normal((k, n, targets))


@pytest.fixture
def few_draws(monkeypatch):
    """A shorter null, where p is not what is tested."""
    monkeypatch.setattr("brainalign.maths.ceiling.NULL_DRAWS", 9)


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


@pytest.mark.parametrize(("k", "truth"), [(2, 1 / 6), (3, 0.231), (5, 1 / 3), (7, 7 / 17)])
def test_spearman_brown_holds_for_odd_numbers_of_repeats(k, truth, few_draws):
    found = split_half(repeats(k=k, targets=60, ratio=0.1))
    assert abs(np.mean(found.value) - truth) < 3 / np.sqrt(60) * found.se.mean() + 0.001


def test_split_half_averages_over_every_split_when_there_are_few():
    data = repeats(k=5, n=50, targets=3)
    rs = []
    for one in combinations(range(5), 2):
        for other in combinations(sorted(set(range(5)) - set(one)), 2):
            rs.append(stats.pearsonr(data[list(one)].mean(0), data[list(other)].mean(0), axis=0).statistic)
    r = np.mean(rs, axis=0)
    one = r / (2 - r)
    np.testing.assert_allclose(split_half(data).value, 5 * one / (1 + 4 * one))
    np.testing.assert_array_equal(split_half(data, seed=1).value, split_half(data, seed=2).value)
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
def test_noise_has_no_ceiling(estimate):
    """P-values of pure noise are uniform: with 200 targets at most 21 fall below 0.05 (binomial, 99.9 %)."""
    found = estimate(repeats(n=100, targets=200, ratio=0))
    assert (found.p <= 0.05).sum() <= stats.binom.ppf(0.999, 200, 0.05)
    assert (found.p > 0).all()
    typical = np.nanmedian(found.value if found.unit == "r2" else found.as_r2().value)
    assert typical < 0.2


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
    np.testing.assert_allclose(ncsnr(data).mean(), 1, atol=0.02)
    whole = data[:, :2000]
    np.testing.assert_allclose(explainable_variance(data).value, explainable_variance(whole).value)
    np.testing.assert_allclose(cc_max(data).value, cc_max(whole).value)
    with pytest.raises(InputError, match=r"repeat 1, sample 3600, target 0 is NaN.*noise_ceiling"):
        split_half(data)


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
    monkeypatch.setattr("brainalign.maths.ceiling.NUMBERS_TOGETHER", 700)
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
    with pytest.raises(InputError, match="at least 20 samples present in every repeat; found 19"):
        noise_ceiling(data[:, :19])
    with pytest.raises(InputError, match="infinite"):
        ncsnr(np.where(data > data.max() - 1, np.inf, data))
    lonely = data.copy()
    lonely[1:] = np.nan
    with pytest.raises(InputError, match="no stimulus was repeated"):
        ncsnr(lonely)
    with pytest.raises(SettingsError, match=r"'permute' .* or 'shift' .*; found 'bootstrap'"):
        split_half(data, null="bootstrap")
    with pytest.raises(SettingsError, match=r"splits is a number .* found 0"):
        split_half(data, splits=0)
    with pytest.raises(SettingsError, match=r"k is a number of repeats .* found 0"):
        noise_ceiling(data, k=0)


@pytest.fixture(scope="module")
def alice():
    """(17 people, 362 volumes, 6 regions), drift, a 128 s cosine basis and head motion regressed out, then scaled."""
    default = Path(__file__).parents[2].parent / "shared" / "data"
    root = Path(os.environ.get("BRAINALIGN_TEST_DATA", default)) / "alice-fmri-rois"
    if not root.exists():
        pytest.skip(f"no real recordings at {root}: set BRAINALIGN_TEST_DATA")
    n, tr = 362, 2.0
    time_ = np.linspace(-1, 1, n)
    cosines = [np.cos(np.pi * k * (np.arange(n) + 0.5) / n) for k in range(1, int(2 * n * tr / 128) + 1)]
    people = []
    for path in sorted((root / "bold" / "6mm").glob("s*-timecourses.txt")):
        name = path.name.split("-")[0]
        if name == "s33":  # a broken recording, all zeros
            continue
        motion = np.loadtxt(next((root / "motion").glob(f"{name}-rp*")))[-n:]
        nuisance = np.column_stack([time_**power for power in range(4)] + cosines + [motion])
        y = np.loadtxt(path)
        y -= nuisance @ np.linalg.lstsq(nuisance, y, rcond=None)[0]
        people.append(y / y.std(0))
    return np.array(people)


def test_ceilings_of_people_listening_to_alice(alice):
    """The known values of the 17 usable people, and within two seconds."""
    assert alice.shape == (17, 362, 6)
    start = time.process_time()
    group = split_half(alice, null="shift").as_r()
    one, bound = leave_one_out(alice), leave_one_out(alice, corrected=False)
    assert time.process_time() - start < 4
    np.testing.assert_allclose(group.value, [0.76, 0.71, 0.89, 0.79, 0.73, 0.64], atol=0.03)
    np.testing.assert_allclose(one.value.mean(0), [0.27, 0.24, 0.42, 0.29, 0.25, 0.19], atol=0.03)
    np.testing.assert_allclose(bound.value.mean(0), [0.20, 0.16, 0.37, 0.23, 0.18, 0.12], atol=0.03)
    assert (group.p == 1 / 201).all()
