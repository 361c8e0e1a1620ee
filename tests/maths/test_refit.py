"""Rearranged responses predicted anew: looked up, or moved and multiplied, the same."""

import numpy as np
import pytest

from brainalign.maths import refit
from brainalign.maths.rearrange import rearranged
from brainalign.maths.refit import Refit, beyond_sums, correlation_sums
from brainalign.maths.scores import pearson

RUNS = {"one run": [60], "ragged runs": [25, 8, 27]}


def fold_of(lengths, how, points=3, targets=4):
    """Operators of some points between training and test samples that lie here and there, and the rest of a fold."""
    rng = np.random.default_rng(0)
    n = sum(lengths)
    order = rng.permutation(n)
    train, test = np.sort(order[:40]), np.sort(order[45:])
    moved = rearranged(np.repeat(np.arange(len(lengths)), lengths), 30, how, 2, seed=1)
    operators = rng.standard_normal((points, len(test), len(train)))
    weights = rng.dirichlet(np.ones(points), targets).T
    return operators, weights, rng.standard_normal((n, targets)).astype(np.float32), train, test, moved


@pytest.mark.parametrize("way", ["transform", "product"])
@pytest.mark.parametrize("how", ["shift", "blocks"])
@pytest.mark.parametrize("lengths", RUNS.values(), ids=RUNS)
def test_a_prediction_of_moved_responses(lengths, how, way, monkeypatch):
    monkeypatch.setattr(refit, "MANY_RUNS", 16 if way == "transform" else 0)
    monkeypatch.setattr(refit, "TOGETHER", 2 * 15 * 60)  # two targets at once
    operators, weights, Y, train, test, moved = fold_of(lengths, how)
    fold = Refit(operators, train, test, moved)
    assert fold.fourier == (way == "transform" and how == "shift")
    found = list(fold.again(Y, weights))
    assert len(found) == 4
    for k, (seen, predicted) in enumerate(found):
        series = Y[moved.index, k]  # every rearrangement written out
        H = np.tensordot(weights[:, k], operators, axes=1)
        np.testing.assert_array_equal(seen, series[:, test].T)
        np.testing.assert_allclose(predicted, H @ series[:, train].T, atol=1e-4)


@pytest.mark.parametrize("how", ["shift", "blocks"])
def test_sums_make_the_correlation(how):
    operators, weights, Y, train, test, moved = fold_of([60], how)
    covariance, predicted, seen = correlation_sums(Refit(operators, train, test, moved), Y, weights)
    for k in range(4):
        series = Y[moved.index, k]
        H = np.tensordot(weights[:, k], operators, axes=1)
        r = pearson(series[:, test].T, H @ series[:, train].T)
        np.testing.assert_allclose(covariance[k] / np.sqrt(predicted[k] * seen[k]), r, atol=1e-5)


@pytest.mark.parametrize("how", ["shift", "blocks"])
def test_what_a_nested_model_loses_with_its_residuals_moved(how):
    operators, weights, Y, train, test, moved = fold_of([60], how)
    rng = np.random.default_rng(1)
    less, fitted = 0.1 * rng.standard_normal(operators.shape), rng.standard_normal(Y.shape).astype(np.float32)
    mean = np.full((3, 1, len(train)), 1 / len(train))
    whole, nested = Refit(operators, train, test, moved), Refit(np.hstack([less, mean]), train, test, moved)
    start = fitted[test] - fitted[train].mean(0)
    made = [np.einsum("kb,kib->ib", weights, H @ fitted[train]) for H in (operators, less)]
    sums = beyond_sums(whole, nested, Y, (weights, weights), (start, *made))
    for k in range(4):
        for m, index in enumerate(moved.index):
            series = fitted[:, k] + Y[index, k]
            centre = series[train].mean()
            said = [np.tensordot(weights[:, k], H, axes=1) @ series[train] for H in (operators, less)]
            error = [((series[test] - centre - one) ** 2).sum() for one in said]
            np.testing.assert_allclose(sums[0, k, m], error[1] - error[0], rtol=1e-3)
            np.testing.assert_allclose(sums[1, k, m], ((series[test] - centre) ** 2).sum(), rtol=1e-4)
            for (covariance, size), one in zip((sums[2:4, k, m], sums[4:6, k, m]), said, strict=True):
                r = covariance / np.sqrt(size * sums[6, k, m])
                np.testing.assert_allclose(r, np.corrcoef(series[test], one)[0, 1], atol=1e-4)
