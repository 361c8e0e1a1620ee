"""Where are penalties tried?"""

import numpy as np
import pytest

from brainalign.maths.arrays import Numpy
from brainalign.maths.dual import Dual
from brainalign.maths.folds import contiguous
from brainalign.maths.penalties import NEAREST, POINTS, STRONGEST, WEAKEST, guess, how_many, nearest, place, scale
from brainalign.maths.primal import Primal
from brainalign.maths.simulate import simulate_bands


def moments(kind, data, names, folds):
    parts = [data.X[:, data.bands == name] - data.X[:, data.bands == name].mean(0) for name in names]
    n = len(data.X)
    power = np.array([np.square(part).sum() / n for part in parts])
    Y = data.Y - data.Y.mean(0)
    space = kind(
        Numpy(1), parts.__getitem__, [p.shape[1] for p in parts], power, np.full(n, n**-0.5), folds, np.dtype(float)
    )
    responses = space.responses(lambda at: Y[:, at], np.arange(Y.shape[1]))
    return *space.moments(responses), space.size(responses)


@pytest.mark.parametrize("kind", [Dual, Primal])
def test_moments_alone_tell_how_much_each_band_explains(kind):
    """Without a fit: shares correlate with the truth over 0.8, gains are near signal over noise, noise earns little."""
    widths = {"rate": 1, "sound": 12, "lm": 40}
    data = simulate_bands(1500, widths, 400, ar_features=0.3, ar_noise=0.5, explained=(0.2, 0.6), seed=3)
    q, s, size = moments(kind, data, widths, contiguous(1500, 5))
    gains = guess(q, s, size, 1500)
    live = data.ceiling > 0
    shares = gains[:, live] / np.maximum(gains[:, live].sum(0), 1e-9)
    assert np.corrcoef(shares.ravel(), data.share[:, live].ravel())[0, 1] > 0.8
    truth = data.ceiling[live] / (1 - data.ceiling[live])
    assert np.corrcoef(np.log10(gains[:, live].sum(0) + WEAKEST), np.log10(truth))[0, 1] > 0.6
    assert 0.6 < np.median(gains[:, live].sum(0) / truth) < 1.4
    assert np.median(gains[:, ~live].sum(0)) < 0.03


def test_what_is_guessed_of_a_target_is_not_up_to_the_others():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((4, 9))
    s, q, power = A @ A.T, rng.standard_normal((4, 50)) * np.geomspace(1e-3, 1e3, 50), rng.uniform(50, 200, 50)
    together = guess(q, s, power, 100)
    apart = np.hstack([guess(q[:, [t]], s, power[[t]], 100) for t in range(50)])
    np.testing.assert_allclose(apart, together, rtol=1e-9)
    assert (together >= 0).all()
    assert together.max() <= STRONGEST


def test_bands_without_variance_and_targets_without_any_are_guessed_to_be_nothing():
    q = np.array([[3.0, 0.0], [0.0, 0.0]])
    found = guess(q, np.diag([10.0, 0.0]), np.array([100.0, 0.0]), 100)
    np.testing.assert_allclose(found, [[0.3 / 0.7, 0], [0, 0]], rtol=1e-6)


def test_points_are_placed_where_targets_are():
    """Three crowds of targets: each has a point in its midst, and the first point is no signal at all."""
    crowds = np.array([[1.0, 0.01, 0.0], [0.0, 0.5, 3.0]])
    gains = np.repeat(crowds, 400, axis=1) * np.random.default_rng(0).lognormal(0, 0.05, 1200)
    points = place(gains, seed=0, points=6)
    assert not points[:, 0].any()
    assert points.shape[1] <= 7
    for crowd in crowds.T:
        off = np.abs(scale(points) - scale(crowd)[:, None]).max(0)
        assert off.min() < 0.1
    np.testing.assert_array_equal(place(gains, seed=0), place(gains, seed=0))
    assert not np.array_equal(place(gains, seed=1), place(gains, seed=0))


@pytest.mark.parametrize("n_targets", [1, 3, 100])
def test_few_targets_are_tried_all_around(n_targets):
    gains = np.tile([[0.5], [0.05]], n_targets)
    points = place(gains, seed=0)
    assert POINTS // 2 < points.shape[1] <= POINTS + 1
    assert (points >= 0).all()
    spread = scale(points[:, 1:]).std(1)
    assert (spread > 0.15).all()
    np.testing.assert_allclose(scale(points[:, 1:]).mean(1), scale(gains[:, 0]), atol=0.25)


def test_points_of_targets_without_signal_are_that_point_alone_or_weak_ones():
    points = place(np.zeros((2, 1000)), seed=0)
    np.testing.assert_array_equal(points, np.zeros((2, 1)))


def test_each_target_tries_what_is_near_it_and_no_signal():
    points = np.array([[0, 0.01, 0.1, 1, 10], [0, 0.01, 0.1, 1, 10]])
    gains = np.array([[0.1, 9.0, 0.0], [0.1, 9.0, 0.0]])
    tried = nearest(gains, points, 2)
    expected = np.array([[1, 1, 1], [1, 0, 1], [1, 0, 0], [0, 1, 0], [0, 1, 0]], bool)
    np.testing.assert_array_equal(tried, expected)
    assert nearest(gains, points, 5).all()
    assert nearest(gains, points, 9).all()


def test_the_more_targets_the_fewer_points_each():
    counts = [how_many(t) for t in (0, 1, 100, 200, 400, 10_000, 1_000_000)]
    assert counts[:3] == [POINTS + 1] * 3
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == NEAREST
