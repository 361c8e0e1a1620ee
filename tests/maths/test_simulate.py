"""The known truth that solvers are measured against has to be true."""

import numpy as np
import pytest

from brainalign.errors import SettingsError
from brainalign.maths.simulate import PURE_NOISE, simulate_bands

WIDTHS = {"rate": 1, "sound": 5, "lm": 12}


def lag_one(series):
    centred = series - series.mean(0)
    return (centred[1:] * centred[:-1]).sum(0) / np.square(centred).sum(0)


def test_a_perfect_model_reaches_the_ceiling_and_bands_their_shares():
    """20,000 samples, as good as no noise in the weights: least squares over all columns, and over one band's alone."""
    data = simulate_bands(20_000, WIDTHS, 60, ar_features=0.0, ar_noise=0.3, explained=(0.1, 0.7), seed=1)
    X, Y = (a.astype(float) - a.mean(0) for a in (data.X, data.Y))
    coef = np.linalg.lstsq(X, Y, rcond=None)[0]
    total = np.square(Y).sum(0)
    r2 = 1 - np.square(Y - X @ coef).sum(0) / total
    np.testing.assert_allclose(r2, data.ceiling, atol=0.02)
    np.testing.assert_allclose(data.Y.var(0), 1, atol=0.1)
    for band, share in zip(WIDTHS, data.share, strict=True):
        own = X[:, data.bands == band] @ coef[data.bands == band]
        np.testing.assert_allclose(np.square(own).sum(0) / total, share * data.ceiling, atol=0.02)


def test_shares_ceilings_and_pure_noise():
    data = simulate_bands(50, WIDTHS, 1000, explained=(0.1, 0.3))
    silent = round(1000 * PURE_NOISE)
    assert not data.share[:, -silent:].any()
    assert not data.ceiling[-silent:].any()
    np.testing.assert_allclose(data.share[:, :-silent].sum(0), 1)
    live = data.ceiling[:-silent]
    assert live.min() >= 0.1
    assert live.max() <= 0.3
    assert abs(live.mean() - 0.2) < 0.01
    assert not simulate_bands(50, WIDTHS, 10, pure_noise=1.0).ceiling.any()
    assert simulate_bands(50, WIDTHS, 10, pure_noise=0.0).ceiling.all()


def test_features_and_noise_follow_time():
    data = simulate_bands(20_000, WIDTHS, 20, ar_features=0.6, ar_noise=0.3, seed=2)
    np.testing.assert_allclose(lag_one(data.X.astype(float)), 0.6, atol=0.04)
    np.testing.assert_allclose(lag_one(data.Y[:, -4:].astype(float)), 0.3, atol=0.03)
    first = np.stack([simulate_bands(3, WIDTHS, 5, ar_noise=0.9, pure_noise=1.0, seed=k).Y[0] for k in range(400)])
    assert abs(first.var() - 1) < 0.1  # begun in its stationary distribution


def test_columns_stand_by_band_and_delay():
    data = simulate_bands(100, WIDTHS, 4, delays=3)
    assert data.X.shape == (100, 54)
    assert data.X.dtype == data.Y.dtype == np.float32
    for band, width in WIDTHS.items():
        columns = data.X[:, data.bands == band]
        assert columns.shape[1] == 3 * width
        for delay in (1, 2):
            later = columns[:, delay * width : (delay + 1) * width]
            np.testing.assert_array_equal(later[delay:], columns[:-delay, :width])


def test_variance_falls_like_that_of_embeddings_and_related_bands_share_it():
    data = simulate_bands(20_000, {"a": 10, "b": 10}, 1, ar_features=0.0, related=0.7)
    a, b = (data.X[:, data.bands == band].astype(float) for band in "ab")
    size = np.sort(np.linalg.eigvalsh(np.cov(a.T)))[::-1]
    np.testing.assert_allclose(size, 1 / np.arange(1, 11), rtol=0.1)
    coef = np.linalg.lstsq(a, b, rcond=None)[0]
    assert abs(np.square(a @ coef).sum() / np.square(b).sum() - 0.7) < 0.02
    apart = simulate_bands(20_000, {"a": 10, "b": 10}, 1, ar_features=0.0)
    a, b = (apart.X[:, apart.bands == band].astype(float) for band in "ab")
    assert np.abs(np.corrcoef(a.T, b.T)[:10, 10:]).max() < 0.04


def test_seeds_repeat():
    one, same, other = (simulate_bands(20, WIDTHS, 3, seed=seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one.Y, same.Y)
    np.testing.assert_array_equal(one.X, same.X)
    assert not np.array_equal(one.Y, other.Y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"related": 1.0}, "related is 0 or more and less than 1; found 1.0"),
        ({"ar_noise": -0.1}, "ar_noise is 0 or more and less than 1; found -0.1"),
        ({"ar_features": 1}, "ar_features is 0 or more and less than 1; found 1"),
        ({"pure_noise": 1.1}, "pure_noise is a share .* found pure_noise=1.1"),
        ({"explained": (0.5, 0.2)}, r"explained two R² in order; found .* explained=\(0.5, 0.2\)"),
        ({"explained": (0.5, 1.0)}, r"explained two R² in order; found .* explained=\(0.5, 1.0\)"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        simulate_bands(10, WIDTHS, 2, **settings)
