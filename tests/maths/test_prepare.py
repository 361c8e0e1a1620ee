"""What do the solvers see of what one gives?"""

import numpy as np
import pytest

from brainalign.errors import InputError, SettingsError
from brainalign.maths.folds import by_group, contiguous
from brainalign.maths.prepare import (
    Prepared,
    check_arrays,
    check_finite,
    check_folds,
    check_shape,
    check_shrinkage,
    check_weights,
    columns_of,
)

FLOAT = np.dtype(float)


def example(n=30, t=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 6)) * 3 + 7, rng.standard_normal((n, t)) - 4, rng.uniform(0.2, 3, n)


def test_both_sides_are_centred_and_weighted():
    """√w (x − Σwx/Σw), orthogonal to √w; weights count by their ratios alone."""
    X, Y, w = example()
    data = Prepared(X, Y, list("aababb"), 5, w)
    root = np.sqrt(w / w.mean())
    expected = root[:, None] * (X - w @ X / w.sum())
    for band, columns in enumerate(([0, 1, 3], [2, 4, 5])):
        np.testing.assert_allclose(data.part(band, FLOAT), expected[:, columns], atol=1e-12)
        np.testing.assert_allclose(data.unit @ data.part(band, FLOAT), 0, atol=1e-12)
        np.testing.assert_allclose(data.power()[band], np.square(expected[:, columns]).sum() / 30)
    np.testing.assert_allclose(data.read(np.array([3, 1]), FLOAT), (root[:, None] * (Y - w @ Y / w.sum()))[:, [3, 1]])
    np.testing.assert_allclose(data.y_mean[[1, 3]], (w @ Y / w.sum())[[1, 3]])
    assert np.isnan(data.y_mean[[0, 2, 4]]).all()
    np.testing.assert_allclose(data.unit @ data.unit, 1)
    assert data.weight == pytest.approx(w.mean())
    np.testing.assert_allclose(data.new(X[:3], 0, FLOAT), X[:3, [0, 1, 3]] - (w @ X / w.sum())[[0, 1, 3]], atol=1e-12)


def test_rows_of_weight_0_are_not_seen():
    X, Y, w = example()
    w[[0, 4, 29]] = 0
    broken, gone = X.copy(), Y.copy()
    broken[w == 0], gone[w == 0] = np.nan, np.inf
    data = Prepared(broken, gone, None, 5, w)
    kept = Prepared(X[w > 0], Y[w > 0], None, 5, w[w > 0])
    assert data.n == 27
    np.testing.assert_allclose(data.part(0, FLOAT), kept.part(0, FLOAT))
    np.testing.assert_allclose(data.read(slice(0, 5), FLOAT), kept.read(slice(0, 5), FLOAT))
    place = np.cumsum(w > 0) - 1
    for (train, test), (before, after) in zip(data.folds, contiguous(30, 5), strict=True):
        np.testing.assert_array_equal(train, place[before[w[before] > 0]])
        np.testing.assert_array_equal(test, place[after[w[after] > 0]])
    out = data.spread(np.arange(27.0))
    np.testing.assert_array_equal(out[w > 0], np.arange(27))
    assert not out[w == 0].any()


def test_equal_samples_in_the_same_folds_become_one():
    X, Y, w = example()
    sample = np.repeat(np.arange(10), 3)
    X = X[sample]
    data = Prepared(X, Y, None, by_group(sample, 5), w)
    assert data.n == 10
    share = w / w.mean()
    totals = np.bincount(sample, share)
    means = np.stack([np.bincount(sample, share * y) for y in Y.T], 1) / totals[:, None]
    mean = w @ Y / w.sum()
    np.testing.assert_allclose(data.read(np.arange(5), FLOAT), np.sqrt(totals)[:, None] * (means - mean), atol=1e-12)
    np.testing.assert_allclose(data.inside, share @ (Y - means[sample]) ** 2)
    part = data.part(0, FLOAT)
    full = np.sqrt(share)[:, None] * (X - w @ X / w.sum())
    np.testing.assert_allclose(part.T @ part, full.T @ full)
    np.testing.assert_allclose(part.T @ data.read(np.arange(5), FLOAT), full.T @ (np.sqrt(share)[:, None] * (Y - mean)))
    for fold in data.folds:
        np.testing.assert_array_equal(np.sort(np.concatenate(fold)), np.arange(10))
    np.testing.assert_allclose(np.bincount(sample, data.spread(np.arange(10.0))), np.arange(10))
    crossed = Prepared(X, Y, None, contiguous(30, 4), w)  # folds cut through equal samples: those stay apart
    assert 10 < crossed.n <= 30


def test_inside_counts_what_is_scored():
    """Of folds that score the first samples only, what lies inside the others does not count."""
    X, Y, _ = example()
    sample = np.repeat(np.arange(10), 3)
    data = Prepared(X[sample], Y, None, [(np.arange(15, 30), np.arange(6))], None)
    data.read(np.arange(5), FLOAT)
    means = Y.reshape(10, 3, 5).mean(1)
    np.testing.assert_allclose(data.inside, ((Y - means[sample]) ** 2)[:6].sum(0))


def test_a_large_mean_costs_no_digits_of_what_varies():
    rng = np.random.default_rng(0)
    X, Y = (1e4 + rng.standard_normal((500, 4)).astype(np.float32) for _ in range(2))
    assert X.dtype == Y.dtype == np.float32
    data = Prepared(X, Y, None, 5, None)
    dtype = np.dtype(np.float32)
    for found, given in ((data.part(0, dtype), X), (data.read(np.arange(4), dtype), Y)):
        exact = given.astype(float) - given.astype(float).mean(0)
        assert np.abs(found - exact).max() < 1e-3
        assert np.abs(found.mean(0, dtype=float)).max() < 1e-3
    np.testing.assert_allclose(data.y_mean, Y.mean(0, dtype=float), rtol=1e-9)


def test_what_does_not_vary_is_exactly_0():
    X, Y, _ = example()
    X[:, [1, 4]], Y[:, 2] = 0.1, 1 / 3
    data = Prepared(X, Y, list("aabbbb"), 5, None)
    assert not data.part(0, FLOAT)[:, 1].any()
    assert not data.part(1, FLOAT)[:, 2].any()
    assert not data.new(X + 5, 0, FLOAT)[:, 1].any()
    assert not data.read(np.arange(5), FLOAT)[:, 2].any()
    np.testing.assert_array_equal(data.constant, [False, False, True, False, False])
    assert data.y_mean[2] == 1 / 3


def test_places_are_counted_as_the_caller_counts():
    X, Y, _ = example()
    mask = np.arange(30) != 3
    Y[7, 4] = np.nan
    data = Prepared(X, Y, None, 5, mask)
    data.read(np.array([0, 1]), FLOAT)
    with pytest.raises(
        InputError, match=r"Y has 1 values that are not finite .* first at row 7, column 4: leave those"
    ):
        data.read(np.array([1, 4]), FLOAT)
    X[7, 2] = -np.inf
    with pytest.raises(InputError, match=r"X has 1 values that are not finite .* first at row 7, column 2"):
        Prepared(X, Y, None, 5, mask)
    check_finite("X", np.array([[1e308, 1e308]]), np.arange(1))  # their sum is not, they are


def test_tables():
    np.testing.assert_array_equal(check_shape("X", [[1, 2], [3, 4]]), [[1, 2], [3, 4]])
    assert check_shape("X", np.array([[1, 2.5]], object)).dtype == float
    first, second = check_arrays([[1], [2]], [[3, 4], [5, 6]])
    assert first.dtype == second.dtype == float
    with pytest.raises(InputError, match="X has 2 rows and Y 1: one row per sample"):
        check_arrays([[1], [2]], [[3]])
    with pytest.raises(InputError, match="X_test has 1 values that are not finite"):
        check_arrays([[1], [2]], [[np.nan]], rows_agree=False)


def test_bands_stand_in_order_of_appearance():
    labels, columns = columns_of(["b", "a", "b", "c"], 4)
    assert labels == ["b", "a", "c"]
    assert [at.tolist() for at in columns] == [[0, 2], [1], [3]]
    assert columns_of(None, 3)[0] == ["all"]
    with pytest.raises(InputError, match="bands names 2 columns, X has 3: give one label per column"):
        columns_of("ab", 3)


def test_folds_are_numbers_masks_or_a_count():
    for given in (3, contiguous(9, 3), [(list(a), list(b)) for a, b in contiguous(9, 3)]):
        for (train, test), (before, after) in zip(check_folds(given, 9), contiguous(9, 3), strict=True):
            np.testing.assert_array_equal(train, before)
            np.testing.assert_array_equal(test, after)
    used = check_folds(3, 9, rows=np.array([3, 4, 8]))  # the first fold scores none of these
    assert [(list(a), list(b)) for a, b in used] == [([2], [0, 1]), ([0, 1], [2])]
    with pytest.raises(SettingsError, match="no inner folds: give a number of at least 2"):
        check_folds([], 9)
    with pytest.raises(InputError, match="inner fold 1: rows 0–9, X has rows 0–8"):
        check_folds([([0], [1]), ([0], [9, 0])], 9)
    with pytest.raises(InputError, match="no inner fold has both a training and a test row of weight above 0"):
        check_folds(3, 9, rows=np.array([0, 1]))


def test_weights_and_penalties():
    np.testing.assert_array_equal(check_weights(None, 3), np.ones(3))
    np.testing.assert_array_equal(check_weights([True, False, True], 3), [1, 0, 1])
    np.testing.assert_array_equal(check_weights(2, 3), [2, 2, 2])
    np.testing.assert_array_equal(check_shrinkage([1, np.inf], 2, 3), [[1, 1, 1], [np.inf] * 3])
    assert check_shrinkage(np.zeros((2, 3)), 2, 3).shape == (2, 3)
    for wrong in (np.zeros((3, 2)), 1.0, np.zeros((2, 3, 1))):
        with pytest.raises(InputError, match=r"\(2 bands,\) or \(2, 3 targets\); found shape"):
            check_shrinkage(wrong, 2, 3)
