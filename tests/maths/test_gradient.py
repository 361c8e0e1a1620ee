"""Gradients whose truth is known, on maps in which neighbours are alike."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, rankdata, spearmanr

from brainalign.errors import InputError, SettingsError
from brainalign.maths import gradient as gradients
from brainalign.maths.gradient import gradient

LANDMARK = np.array([-45.0, -25.0, 8.0])


def shafts(rng, n):
    """Contacts of depth electrodes, 8 to 14 each, that enter at the side of the brain; n of them recorded."""
    places = np.zeros((0, 3))
    while len(places) < n:
        entry = np.array([-65 + rng.normal(0, 3), rng.uniform(-65, 45), rng.uniform(-30, 45)])
        way = np.array([1.0, *rng.normal(0, 0.2, 2)])
        steps = np.arange(rng.integers(8, 15))[:, None] * rng.uniform(3.5, 5)
        places = np.concatenate([places, entry + steps * way / np.linalg.norm(way)])
    return places[np.sort(rng.choice(len(places), n, replace=False))]


def grid(rng, n):
    """Of 8 × 8 contacts 10 mm apart those nearest to one of them."""
    across = (np.indices((8, 8)).reshape(2, -1).T - 3.5) * 10
    places = np.c_[-64 + (across**2).sum(1) / 200, across + rng.normal([-15, 12], [12, 10])]
    return places[np.sort(np.argsort(np.linalg.norm(places - places[rng.integers(64)], axis=1))[:n])]


def people(rng, count, fewest=20, most=60):
    """Places (n, 3), whose they are, distance from the landmark; two in three have shafts, the others a grid."""
    each = [(grid if rng.random() < 1 / 3 else shafts)(rng, rng.integers(fewest, most + 1)) for _ in range(count)]
    places = np.concatenate(each)
    return places, np.repeat(np.arange(count), [len(one) for one in each]), np.linalg.norm(places - LANDMARK, axis=1)


def maps(rng, places, who, reach, n):
    """(places, n) of variance 1, within a person correlated e^(−mm / reach), each person at a level of their own."""
    out = rng.standard_normal((len(places), n))
    for one in np.unique(who):
        at = who == one
        apart = np.linalg.norm(places[at, None] - places[at], axis=2)
        covariance = np.exp(-apart / reach) if reach else np.eye(at.sum())
        out[at] = np.linalg.cholesky(covariance) @ out[at] + rng.normal(0, 2, n)
    return out


def as_layers(values):
    return np.clip(np.round(6 + 3 * values), 0, 12)


def false_positives(count, reach, layouts, each, seed=0, change=lambda values: values, n=399):
    """Share of p ≤ .05 where nothing is planted: by flips, and by permutation within people."""
    rng = np.random.default_rng([seed, count, reach])
    flips, permuted = [], []
    for _ in range(layouts):
        places, who, along = people(rng, count)
        for values in change(maps(rng, places, who, reach, each)).T:
            flips.append(gradient(values, along, places, who, n=n, seed=len(flips)).p)
            permuted.append(permutation_p(rng, values, along, who))
    return np.mean(np.array(flips) <= 0.05), np.mean(np.array(permuted) <= 0.05)


def permutation_p(rng, values, along, who, n=99):
    null, observed = np.zeros(n), 0.0
    for one in np.unique(who):
        x, y = (rankdata(part[who == one]) / np.sum(who == one) for part in (along, values))
        observed += (x - x.mean()) @ y
        null += rng.permuted(np.tile(y, (n, 1)), axis=1) @ (x - x.mean())
    return (1 + (abs(null) >= abs(observed) - 1e-12).sum()) / (1 + n)


def by_hand(values, along, places, who):
    """r of every map whose patterns have other signs, the patterns from the double-centred weights themselves."""
    x, y, patterns = np.zeros(len(values)), np.zeros(len(values)), []
    for one in np.unique(who):
        at = np.flatnonzero(who == one)
        x[at], y[at] = (rankdata(part[at]) / len(at) for part in (along, values))
        x[at], y[at] = x[at] - x[at].mean(), y[at] - y[at].mean()
        centring = np.eye(len(at)) - 1 / len(at)
        apart = np.sqrt(((places[at, None] - places[at]) ** 2).sum(2))
        size, vectors = np.linalg.eigh(centring @ np.exp(-apart / 30) @ centring)
        for vector in vectors[:, size > 1e-9].T:
            patterns.append(np.zeros(len(values)))
            patterns[-1][at] = vector
    patterns = np.array(patterns)
    signs = np.array(list(product([1, -1], repeat=len(patterns))))
    return x / np.linalg.norm(x), y / np.linalg.norm(y), patterns, signs


def test_of_one_group_it_is_spearmans():
    rng = np.random.default_rng(0)
    places, _, along = people(rng, 1)
    values = np.round(3 * rng.standard_normal(len(places)))
    found = gradient(values, along, places, n=99)
    np.testing.assert_allclose(found.r, spearmanr(values, along).statistic)
    np.testing.assert_allclose(found.slope, np.polyfit(along, values, 1)[0])


@pytest.mark.parametrize("sizes", [(7,), (4, 5), (1, 6), (2, 3, 4)])
def test_few_places_are_exact(sizes):
    """Every pattern of signs, put together as maps; the interval holds what such a test does not reject."""
    rng = np.random.default_rng(sizes)
    who = np.repeat(np.arange(len(sizes)), sizes)
    places, values = rng.uniform(0, 50, (len(who), 3)), rng.integers(0, 5, len(who)).astype(float)
    along = places[:, 0]
    found = gradient(values, along, places, who)
    x, y, patterns, signs = by_hand(values, along, places, who)

    def p_of(rho):
        rest = patterns @ (y - rho * x)
        flipped = (signs * rest) @ patterns @ x
        return np.mean(abs(flipped) >= abs(rest @ (patterns @ x)) - 1e-9)

    np.testing.assert_allclose(found.r, x @ y)
    assert found.p == p_of(0)
    assert found.p_floor == 2 / len(signs)
    for bound, outside in ((found.low, -1e-6), (found.high, 1e-6)):
        if abs(bound) < 1:
            assert p_of(bound - outside) > 0.05 >= p_of(bound + outside)


def test_random_flips_agree_with_all_of_them_however_many_at_a_time(monkeypatch):
    rng = np.random.default_rng(1)
    places, values = rng.uniform(0, 50, (13, 3)), rng.standard_normal(13)
    values += places[:, 0] / 25
    exact = gradient(values, places[:, 0], places, n=5_000)
    drawn = gradient(values, places[:, 0], places, n=4_000)
    assert exact.p_floor == 2 / 2**12
    assert drawn.p_floor == 1 / 4_001
    assert abs(exact.p - drawn.p) < 4 * np.sqrt(exact.p / 4_000)
    np.testing.assert_allclose([drawn.low, drawn.high], [exact.low, exact.high], atol=0.1)
    monkeypatch.setattr(gradients, "SIGNS_TOGETHER", 1_000)
    few = gradient(values, places[:, 0], places, n=4_000)
    assert abs(few.p - exact.p) < 4 * np.sqrt(exact.p / 4_000)


@given(st.integers(0, 10_000))
def test_the_interval_leaves_zero_out_where_p_is_small(seed):
    rng = np.random.default_rng(seed)
    who = np.repeat([0, 1], 6)
    places = rng.uniform(0, 50, (12, 3))
    found = gradient(rng.integers(0, 4, 12) + places[:, 0] / 20, places[:, 0], places, who, n=2_000)
    assert -1 <= found.low <= found.r + 1e-9
    assert found.r - 1e-9 <= found.high <= 1
    assert (found.low > 1e-9 or found.high < -1e-9) == (found.p <= 0.05)


def test_levels_frames_and_directions_of_people_do_not_matter():
    rng = np.random.default_rng(2)
    places, who, along = people(rng, 3)
    values = maps(rng, places, who, 10, 1)[:, 0] + along / 30
    found = gradient(values, along, places, who, n=499)
    turned = places @ np.linalg.qr(rng.standard_normal((3, 3)))[0]
    moved = gradient(values + 7.0 * who, along - 20 * who, turned + 100 * who[:, None], who, n=499)
    np.testing.assert_allclose([moved.r, moved.slope], [found.r, found.slope])
    assert abs(moved.p - found.p) < 0.01
    against = gradient(-values, along, places, who, n=499)
    np.testing.assert_allclose([against.r, against.slope, against.p], [-found.r, -found.slope, found.p])
    np.testing.assert_allclose([against.low, against.high], [-found.high, -found.low])


def test_what_does_not_vary_has_no_gradient_and_one_flip_no_interval():
    rng = np.random.default_rng(3)
    places, who, along = people(rng, 2)
    flat = gradient(np.full(len(along), 0.1), along, places, who)
    assert np.isnan([flat.r, flat.slope, flat.low, flat.high, flat.p, flat.p_floor]).all()
    still = np.where(who == 0, 0.1, rng.standard_normal(len(who)))  # one person whose layers are all the same
    assert 0 < gradient(still, along, places, who, n=99).p <= 1
    once = gradient(rng.standard_normal(len(who)), along, places, who, n=1)
    assert (once.low, once.high, once.p_floor) == (-1, 1, 0.5)


def test_a_planted_gradient_is_found_and_smooth_maps_are_not_taken_for_one():
    """300 maps of reach 10 mm: flips stay within the binomial 99.9 %, permuted electrodes go far beyond it."""
    flips, permuted = false_positives(4, 10, layouts=10, each=30, n=199)
    low, high = binom.ppf([0.0005, 0.9995], 300, 0.05) / 300
    assert low <= flips <= high < permuted
    rng = np.random.default_rng(4)
    places, who, along = people(rng, 6)
    values = maps(rng, places, who, 10, 20) + along[:, None] / 20
    found = [gradient(one, along, places, who, n=499) for one in values.T]
    assert np.mean([one.p <= 0.05 for one in found]) > 0.9
    assert abs(np.mean([one.slope for one in found]) - 1 / 20) < 0.01


def test_what_is_refused():
    places = np.zeros((9, 3))
    with pytest.raises(InputError, match=r"values and along are \(places,\), .*found shapes \(9,\), \(8,\) and"):
        gradient(np.zeros(9), np.zeros(8), places)
    with pytest.raises(InputError, match="a number that is not finite: leave such places out"):
        gradient(np.r_[np.nan, np.zeros(8)], np.zeros(9), places)
    with pytest.raises(InputError, match="2 run labels for 9 samples"):
        gradient(np.zeros(9), np.zeros(9), places, [0, 1])
    with pytest.raises(SettingsError, match="at least once; found n=0"):
        gradient(np.zeros(9), np.zeros(9), places, n=0)


@pytest.mark.verify
@pytest.mark.parametrize("count", [3, 8])
@pytest.mark.parametrize(("reach", "change"), [(0, as_layers), (10, as_layers), (20, np.array)], ids=["0", "10", "20"])
def test_false_positives_are_five_in_a_hundred(count, reach, change):
    """5 ± 1.5 % of 2,000 studies in which no gradient is planted; permuted electrodes only without autocorrelation."""
    flips, permuted = false_positives(count, reach, layouts=80, each=25, change=change)
    assert 0.035 <= flips <= 0.065
    assert permuted > 0.2 or reach == 0
