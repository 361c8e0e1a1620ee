"""himalaya behind our own API."""

import himalaya.backend
import numpy as np
import pytest
from himalaya.kernel_ridge import MultipleKernelRidgeCV

from brainalign.errors import InputError
from brainalign.maths.banded import BandedRidge
from brainalign.maths.folds import contiguous
from brainalign.maths.himalaya import SIGNAL_TO_NOISE, HimalayaRidge
from brainalign.maths.scores import r2

BANDS = ["a"] * 4 + ["b"] * 30


def simulate(seed=0, n=240):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 34)) * rng.uniform(0.5, 20, 34) + 4
    Y = X @ (rng.standard_normal((34, 20)) / X.std(0)[:, None] * np.repeat([1, 0.2], [4, 30])[:, None])
    return X, Y + 3 * rng.standard_normal(Y.shape) + 7


def test_it_is_himalaya_s_own_estimator():
    """The same search through himalaya's estimator gives the same predictions."""
    X, Y = simulate()
    train, test = slice(0, 160), slice(160, 240)
    mean = X[train].mean(0)
    power = [((X[train] - mean)[:, cols] ** 2).sum() / 160 for cols in (slice(0, 4), slice(4, 34))]
    parts = [(X - mean)[:, cols] / np.sqrt(p) for cols, p in zip((slice(0, 4), slice(4, 34)), power, strict=True)]
    kernels = np.stack([p[train] @ p[train].T for p in parts])
    theirs = MultipleKernelRidgeCV(
        kernels="precomputed",
        cv=contiguous(160, 5),
        fit_intercept=True,
        random_state=0,
        solver_params={"n_iter": 40, "alphas": 1 / SIGNAL_TO_NOISE, "progress_bar": False},
    ).fit(kernels, Y[train])
    expected = theirs.predict(np.stack([p[test] @ p[train].T for p in parts]))
    ours = HimalayaRidge(BANDS).fit(X[train], Y[train])
    np.testing.assert_allclose(ours.predict(X[test]), expected, atol=1e-5)


def test_both_solvers_do_as_well():
    gains = []
    for seed in range(3):
        X, Y = simulate(seed)
        held = [
            r2(Y[160:], m(BANDS).fit(X[:160], Y[:160]).predict(X[160:])).mean() for m in (HimalayaRidge, BandedRidge)
        ]
        gains.append(held[1] - held[0])
    assert abs(np.mean(gains)) < 0.01


def test_the_backend_is_put_back():
    himalaya.backend.set_backend("torch")
    try:
        HimalayaRidge(BANDS, n_candidates=3).fit(*simulate())
        assert himalaya.backend.get_backend().name == "torch"
    finally:
        himalaya.backend.set_backend("numpy")


def test_bad_input_is_ours_to_name():
    X, Y = simulate()
    with pytest.raises(InputError, match="bands names 3 columns, X has 34"):
        HimalayaRidge(["a"] * 3).fit(X, Y)
