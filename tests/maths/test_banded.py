"""The banded ridge against closed forms, refits, himalaya and scikit-learn."""

import pickle
import tracemalloc
from unittest.mock import patch

import himalaya.backend
import numpy as np
import pytest
import zarr
from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from brainalign.errors import InputError, SettingsError
from brainalign.maths import banded, prepare
from brainalign.maths.arrays import Numpy
from brainalign.maths.banded import BandedRidge
from brainalign.maths.dual import Dual
from brainalign.maths.folds import by_group, contiguous
from brainalign.maths.hat import hat_operator
from brainalign.maths.scores import r2, r2_split
from brainalign.maths.search import FAINT, SILENCE, TAU, Order, search
from brainalign.maths.simulate import simulate_bands

BANDS = ["rate"] * 3 + ["lm"] * 20 + ["noise"] * 10
PLACES = [slice(0, 3), slice(3, 23), slice(23, 33)]


def simulate(n=120, t=6, seed=0, bands=BANDS, weights=(1.0, 0.3, 0.0), noise=1.0):
    """Responses in which each band carries a given share of signal."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, len(bands))) * rng.uniform(0.5, 2, len(bands)) + rng.standard_normal(len(bands))
    scale = np.array([dict(zip(dict.fromkeys(bands), weights, strict=True))[b] for b in bands])
    size = np.array([bands.count(b) for b in bands])
    signal = X @ (scale[:, None] / np.sqrt(size)[:, None] * rng.standard_normal((len(bands), t)))
    return X, signal + noise * rng.standard_normal((n, t)) + 5 * rng.standard_normal(t)


def closed_form(X, Y, penalties, weights=None):
    """(XᵀWX + diag λ)⁻¹ XᵀWY about weighted means; a dropped band has no columns. Weights, then means of X and Y."""
    w = np.ones(len(X)) if weights is None else weights
    x_mean, y_mean = w @ X / w.sum(), w @ Y / w.sum()
    Xc, Yc = X - x_mean, Y - y_mean
    kept = np.isfinite(penalties)
    coef = np.zeros((X.shape[1], Y.shape[1]))
    A = Xc[:, kept].T @ (w[:, None] * Xc[:, kept]) + np.diag(penalties[kept])
    coef[kept] = np.linalg.solve(A, Xc[:, kept].T @ (w[:, None] * Yc))
    return coef, x_mean, y_mean


def refit_error(X, Y, bands, log_penalties, folds, weights=None):
    """Held-out R² from one closed-form fit per fold, nothing shared between them."""
    names = list(dict.fromkeys(bands))
    penalties = 10.0 ** np.array([log_penalties[names.index(b)] for b in bands])
    w = np.ones(len(X)) if weights is None else weights
    error, total = 0, 0
    for train, test in folds:
        coef, x_mean, y_mean = closed_form(X[train], Y[train], penalties, w[train])
        error = error + w[test] @ (Y[test] - y_mean - (X[test] - x_mean) @ coef) ** 2
        total = total + w[test] @ (Y[test] - y_mean) ** 2
    return 1 - error / total


@pytest.fixture(params=["dual", "primal"])
def way(request, monkeypatch):
    """Both ways of computing the same, whichever costs less."""
    monkeypatch.setattr(banded, "cheaper", lambda *_: request.param)
    return request.param


def ungathered(X, rows, folds):
    """In place of `prepare._gather`: equal samples stay apart."""
    return None, np.arange(len(rows))


# ---- the solution at given penalties


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [20, 120, 400])
def test_the_convention_is_the_closed_form(n, dtype, way):
    """In float64 to 1e-9; 400 samples in float32 are computed in float32."""
    X, Y = (a.astype(dtype) for a in simulate(n=n))
    log_penalties = np.array([0.5, 2.0, 1.0])
    model = BandedRidge(BANDS, shrinkage=log_penalties).fit(X, Y)
    penalties = np.repeat(10.0**log_penalties, [3, 20, 10])
    expected, x_mean, y_mean = closed_form(X.astype(float), Y.astype(float), penalties)
    exact = dtype == np.float64 or n <= 256
    tolerance = {"rtol": 1e-5, "atol": 1e-9} if exact else {"rtol": 1e-3, "atol": 2e-5}
    np.testing.assert_allclose(model.coef_, expected, **tolerance)
    np.testing.assert_allclose(model.intercept_, y_mean - x_mean @ expected, atol=1e-9 if exact else 5e-4)
    near = 1e-9 if dtype == np.float64 else 1e-6 if exact else 5e-4  # new samples are as coarse as they come
    np.testing.assert_allclose(model.predict(X), X @ model.coef_ + model.intercept_, atol=near)
    np.testing.assert_allclose(model.shrinkage_, np.repeat(log_penalties[:, None], 6, 1))
    Xc = X.astype(float) - X.astype(float).mean(0)
    parts = [Xc[:, at].T @ dual for at, dual in zip(PLACES, model.dual_coef_, strict=True)]
    near = 1e-10 if dtype == np.float64 else 1e-6 if exact else 2e-5
    np.testing.assert_allclose(model.coef_, np.concatenate(parts), atol=near)
    assert model.coef_.dtype == (np.float64 if exact else np.float32)


def test_penalties_of_its_own_for_every_target_and_dropped_bands(way):
    X, Y = simulate()
    rng = np.random.default_rng(1)
    shrinkage = rng.uniform(-1, 4, (3, 6))
    shrinkage[1, 2] = shrinkage[0, 3] = shrinkage[2, 3] = np.inf
    shrinkage[:, 4] = np.inf
    model = BandedRidge(BANDS, shrinkage=shrinkage).fit(X, Y)
    for t in range(6):
        penalties = np.repeat(10.0 ** shrinkage[:, t], [3, 20, 10])
        np.testing.assert_allclose(model.coef_[:, [t]], closed_form(X, Y[:, [t]], penalties)[0], atol=1e-9)
        if t != 4:
            np.testing.assert_allclose(
                model.cv_r2_[[t]], refit_error(X, Y[:, [t]], BANDS, shrinkage[:, t], contiguous(120, 5)), atol=1e-9
            )
    np.testing.assert_array_equal(model.shrinkage_[:, 4], np.inf)
    np.testing.assert_allclose(model.predict(X)[:, 4], Y[:, 4].mean())
    np.testing.assert_allclose(model.cv_r2_[4], 0, atol=1e-9)
    np.testing.assert_allclose(model.shrinkage_, shrinkage, atol=1e-8)


def test_one_band_is_sklearn_s_ridge(way):
    X, Y = simulate()
    model, theirs = BandedRidge(shrinkage=[1.3]).fit(X, Y), Ridge(10**1.3).fit(X, Y)
    np.testing.assert_allclose(model.coef_, theirs.coef_.T, atol=1e-10)
    np.testing.assert_allclose(model.intercept_, theirs.intercept_, atol=1e-10)
    weights = np.random.default_rng(0).uniform(0.1, 3, 120)
    model.fit(X, Y, sample_weight=weights)
    np.testing.assert_allclose(model.predict(X), theirs.fit(X, Y, sample_weight=weights).predict(X), atol=1e-9)


@pytest.mark.parametrize(
    "folds",
    [4, contiguous(150, 4, gap=5), by_group(np.random.default_rng(0).integers(0, 9, 150), 3)],
    ids=["unequal", "gap", "scattered"],
)
def test_held_out_errors_equal_refitting_each_fold(folds, way):
    X, Y = simulate(n=150)
    for log_penalties in ([1.0, 2.0, 0.0], [-1.0, np.inf, 3.0]):
        model = BandedRidge(BANDS, folds=folds, shrinkage=np.array(log_penalties)).fit(X, Y)
        expected = refit_error(X, Y, BANDS, log_penalties, contiguous(150, 4) if folds == 4 else folds)
        np.testing.assert_allclose(model.cv_r2_, expected, atol=1e-9)


def test_held_out_errors_in_float32_equal_refitting(way):
    X, Y = (a.astype(np.float32) for a in simulate(n=400))
    folds = contiguous(400, 5, gap=7)
    model = BandedRidge(BANDS, folds=folds, shrinkage=np.array([1.0, 2.0, 0.0])).fit(X, Y)
    expected = refit_error(X.astype(float), Y.astype(float), BANDS, [1.0, 2.0, 0.0], folds)
    np.testing.assert_allclose(model.cv_r2_, expected, atol=1e-5)


def test_folds_may_score_some_rows_only_and_some_twice(way):
    X, Y = simulate()
    folds = [(np.arange(60), np.arange(70, 90)), (np.arange(40, 120), np.array([3, 1, 20])), (np.arange(70), [80, 71])]
    model = BandedRidge(BANDS, folds=folds, shrinkage=np.ones(3)).fit(X, Y)
    np.testing.assert_allclose(model.cv_r2_, refit_error(X, Y, BANDS, np.ones(3), folds), atol=1e-9)
    masks = [(np.isin(np.arange(120), train), np.isin(np.arange(120), test)) for train, test in folds]
    by_mask = BandedRidge(BANDS, folds=masks, shrinkage=np.ones(3)).fit(X, Y)
    np.testing.assert_allclose(by_mask.cv_r2_, model.cv_r2_, atol=1e-12)


def test_the_fold_mean_does_not_leak():
    """Pure noise with slow drifts, nothing but the mean predicted: R² against each fold's training mean is 0."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 8))
    Y = rng.standard_normal((60, 50)) + np.linspace(-3, 3, 60)[:, None]
    model = BandedRidge(shrinkage=[7.0]).fit(X, Y)
    np.testing.assert_allclose(model.cv_r2_, refit_error(X, Y, ["all"] * 8, [7.0], contiguous(60, 5)), atol=1e-12)
    assert np.abs(model.cv_r2_).max() < 1e-4


def test_penalties_next_to_nothing_are_exact_while_there_are_digits_left():
    """More columns than samples: the shortest weights that fit; as many as some training samples: NaN, not a number."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((20, 50)), rng.standard_normal((20, 3))
    expected = refit_error(X, Y, ["a"] * 50, [-7.0], contiguous(20, 5))
    for shrinkage in (-5.0, -9.0, -13.0, -17.0):
        model = BandedRidge(["a"] * 50, shrinkage=[shrinkage]).fit(X, Y)
        np.testing.assert_allclose(model.cv_r2_, expected, atol=1e-5)
        np.testing.assert_allclose(model.predict(X), Y, atol=1e-5)


def test_penalties_lost_to_rounding_are_not_scored_and_not_predicted_with(way):
    rng = np.random.default_rng(0)
    X, Y = np.tile(rng.standard_normal((20, 5)), 2), rng.standard_normal((20, 3))
    model = BandedRidge(shrinkage=[-25.0]).fit(X, Y)
    assert np.isnan(model.cv_r2_).all()
    with pytest.raises(SettingsError, match="penalties are so small that rounding is all that is left: give larger"):
        model.predict(X)


def test_hat_operators_are_the_fitted_model():
    X, Y = simulate(n=90, t=8)
    shrinkage = BandedRidge(BANDS).fit(X[:60], Y[:60]).shrinkage_.copy()
    shrinkage[:, 0], shrinkage[:, 7] = np.inf, shrinkage[:, 1]
    X[:, 1] = 3.0
    for width in (33, 90):  # columns fewer, and more, than the 60 samples
        wide, bands = np.hstack([X, X**2, X**3])[:, :width], (BANDS * 3)[:width]
        model = BandedRidge(bands, shrinkage=shrinkage).fit(wide[:60], Y[:60])
        operators, which = hat_operator(wide[:60], wide[60:], bands, shrinkage)
        assert operators.shape == (len(np.unique(shrinkage, axis=1).T), 30, 60)
        predicted = np.stack([Y[:60, t].mean() + operators[which[t]] @ Y[:60, t] for t in range(8)], 1)
        np.testing.assert_allclose(predicted, model.predict(wide[60:]), atol=1e-9)
        np.testing.assert_allclose(operators.sum(2), 0, atol=1e-10)


# ---- the search


def test_the_search_takes_the_best_point_and_reports_it(way):
    """Every point it tried, tried again by hand with one fit per fold."""
    X, Y = simulate(n=60, t=4)
    model = BandedRidge(BANDS, folds=4).fit(X, Y)
    scores = np.array([refit_error(X, Y, BANDS, point, contiguous(60, 4)) for point in model.points_.T])
    np.testing.assert_allclose(model.cv_r2_, scores.max(0), atol=1e-8)
    np.testing.assert_allclose(model.shrinkage_, model.points_[:, scores.argmax(0)])
    np.testing.assert_array_equal(model.mixture_, np.arange(len(scores))[:, None] == scores.argmax(0))
    assert np.isinf(model.points_[:, 0]).all()  # no signal at all is one of them
    again = BandedRidge(BANDS, folds=4, shrinkage=model.shrinkage_).fit(X, Y)
    np.testing.assert_allclose(again.coef_, model.coef_, atol=1e-9)
    np.testing.assert_allclose(again.cv_r2_, model.cv_r2_, atol=1e-8)


def test_himalaya_chooses_the_same_of_the_same_candidates():
    X, Y = simulate(n=90, t=12)
    parts = [(X - X.mean(0))[:, at] for at in PLACES]
    power = np.array([np.square(part).sum() / 90 for part in parts])
    kernels = np.stack([part @ part.T / p for part, p in zip(parts, power, strict=True)])
    gammas, alphas = np.random.default_rng(0).dirichlet([0.7] * 3, 9), np.logspace(-1.5, 3, 7)
    assert himalaya.backend.get_backend().name == "numpy"
    deltas, dual, _, intercept = solve_multiple_kernel_ridge_random_search(
        kernels, Y, n_iter=gammas, alphas=alphas, cv=5, fit_intercept=True, return_weights="dual", progress_bar=False
    )
    theirs = np.einsum("bt,bnm,mt->nt", np.exp(deltas), kernels, dual) + intercept
    points = (gammas.T[:, :, None] / alphas).reshape(3, -1)
    mean = Y.mean(0)
    space = Dual(
        Numpy(1), parts.__getitem__, [3, 20, 10], power, np.full(90, 90**-0.5), contiguous(90, 5), np.dtype(float)
    )
    found = search(space, lambda at: (Y - mean)[:, at], 12, Order(12, keep=False), average=False, gains=points)
    np.testing.assert_allclose(found.gains[:, found.best], np.exp(deltas), rtol=1e-6)
    assert len(np.unique(found.best)) > 3
    own = BandedRidge(BANDS, shrinkage=np.log10(power)[:, None] - np.log10(found.gains[:, found.best])).fit(X, Y)
    np.testing.assert_allclose(own.predict(X), theirs, atol=1e-7)


def test_progress_rises_to_its_total(way):
    X, Y = simulate()
    for model in (
        BandedRidge(BANDS),
        BandedRidge(BANDS, shrinkage=np.ones(3)),
        BandedRidge(BANDS, shrinkage=[np.inf] * 3),
    ):
        told = []
        model.fit(X, Y, progress=lambda done, total, what, told=told: told.append((done, total, what)))
        counts = [done for done, _, _ in told]
        assert len({total for _, total, _ in told}) == 1
        assert counts == sorted(counts)
        assert counts[0] >= 0
        assert counts[-1] == told[-1][1] > 0


def test_a_band_of_noise_earns_nothing():
    bands = ["a"] * 10 + ["b"] * 40
    X, Y = simulate(n=900, t=40, bands=bands, weights=(1.0, 0.0))
    model = BandedRidge(bands).fit(X[:300], Y[:300])
    centred = X[300:] - X[:300].mean(0)
    mean = Y[:300].mean(0)
    shares = r2_split(Y[300:], model.predict(centred, split=True), mean)
    joint = r2(Y[300:], model.predict(X[300:]), mean)
    np.testing.assert_allclose(shares.sum(0), joint, atol=1e-9)
    assert np.abs(shares[1]).mean() < 0.005 * joint.mean()
    assert (np.abs(shares[1]) < 0.1 * joint).all()
    assert (model.shrinkage_[1] - model.shrinkage_[0]).min() >= 1  # at least tenfold


def test_beats_one_shared_penalty_where_bands_differ_in_relevance():
    bands = ["a"] * 5 + ["b"] * 200
    X, Y = simulate(n=1000, t=40, bands=bands, weights=(1.0, 0.2), noise=2.0)
    train, test = slice(0, 250), slice(250, None)
    mean = Y[train].mean(0)
    own = r2(Y[test], BandedRidge(bands).fit(X[train], Y[train]).predict(X[test]), mean)
    shared = r2(Y[test], BandedRidge(["all"] * 205).fit(X[train], Y[train]).predict(X[test]), mean)
    assert (own > shared).mean() > 0.9
    assert np.mean(own - shared) > 0.1


def test_shares_of_bands_are_recovered():
    """The share of the explained variance on samples not fitted, of targets with at least 20 % to explain."""
    data = simulate_bands(3000, {"rate": 1, "sound": 12, "lm": 60}, 300, ar_noise=0.3, explained=(0.2, 0.6), seed=1)
    rng = np.random.default_rng(0)
    X = np.hstack([data.X, rng.standard_normal((3000, 30), np.float32)])
    model = BandedRidge([*data.bands, *["idle"] * 30], average=True).fit(X[:2000], data.Y[:2000])
    parts = model.predict(X[2000:], split=True)
    split = r2_split(data.Y[2000:], parts - parts.mean(1, keepdims=True), data.Y[2000:].mean(0))
    live = data.ceiling > 0
    share = split[:, live] / split[:, live].sum(0)
    assert np.corrcoef(share[:3].ravel(), data.share[:, live].ravel())[0, 1] > 0.9
    assert np.abs(share[3]).mean() < 0.03
    assert model.method_ == "primal"


def test_an_average_is_the_mixture_of_its_points(way):
    X, Y = simulate(t=4)
    Y[:, 3] = 7.0
    model = BandedRidge(BANDS, average=True).fit(X, Y)
    np.testing.assert_allclose(model.mixture_.sum(0), 1)
    coef = sum(
        BandedRidge(BANDS, shrinkage=point).fit(X, Y).coef_ * weight
        for point, weight in zip(model.points_.T, model.mixture_, strict=True)
    )
    np.testing.assert_allclose(model.coef_, coef, atol=1e-8)
    np.testing.assert_allclose(model.predict(X), X @ model.coef_ + model.intercept_, atol=1e-9)
    best = BandedRidge(BANDS).fit(X, Y)
    np.testing.assert_allclose(model.shrinkage_[:, :3], best.shrinkage_[:, :3])
    assert (model.cv_r2_[:3] <= best.cv_r2_[:3]).all()
    assert not model.coef_[:, 3].any()
    assert np.isnan(model.cv_r2_[3])


def test_an_average_weighs_points_by_their_held_out_error():
    X, Y = simulate(t=3)
    model = BandedRidge(BANDS, average=True).fit(X, Y)
    losses = np.array([1 - BandedRidge(BANDS, shrinkage=point).fit(X, Y).cv_r2_ for point in model.points_.T])
    weights = losses ** (-TAU * len(X) / 2)
    weights[weights < FAINT * weights.max(0)] = 0
    weights[0] *= SILENCE  # the first point is no signal at all
    assert ((weights > 0).sum(0) > 1).all()
    assert (weights == 0).any()
    np.testing.assert_allclose(model.mixture_, weights / weights.sum(0), atol=1e-8)
    np.testing.assert_allclose(model.cv_r2_, 1 - (model.mixture_ * losses).sum(0), atol=1e-8)


def test_an_average_predicts_weak_responses_better():
    """400 targets of which a tenth can be explained, three bands: above the best point's held-out R² on three seeds."""
    for seed in range(3):
        X, Y = simulate(n=240, t=400, seed=seed, weights=(0.3, 0.3, 0.0), noise=1.2)
        models = [BandedRidge(BANDS, average=average).fit(X[:120], Y[:120]) for average in (False, True)]
        best, averaged = (r2(Y[120:], model.predict(X[120:])).mean() for model in models)
        assert averaged > best + 0.003


# ---- what must not matter


@pytest.mark.parametrize("offset", [1e3, -5.0])
def test_a_constant_added_changes_nothing_but_the_intercept(offset, way):
    X, Y = simulate()
    plain, moved = BandedRidge(BANDS).fit(X, Y), BandedRidge(BANDS).fit(X + offset, Y + 2 * offset)
    for name in ("shrinkage_", "cv_r2_", "coef_"):
        np.testing.assert_allclose(getattr(moved, name), getattr(plain, name), atol=1e-7)
    np.testing.assert_allclose(moved.predict(X + offset), plain.predict(X) + 2 * offset, atol=1e-6)


def test_units_of_a_band_do_not_matter(way):
    X, Y = simulate()
    scale = np.repeat([1e-3, 1.0, 1e4], [3, 20, 10])
    plain, scaled = BandedRidge(BANDS).fit(X, Y), BandedRidge(BANDS).fit(X * scale, Y)
    np.testing.assert_allclose(scaled.predict(X * scale), plain.predict(X), atol=1e-7)
    finite = np.isfinite(plain.shrinkage_)
    moved = scaled.shrinkage_ - 2 * np.log10([[1e-3], [1.0], [1e4]])
    np.testing.assert_allclose(moved[finite], plain.shrinkage_[finite], atol=1e-7)


def test_the_order_of_columns_hardly_matters():
    X, Y = simulate(t=30)
    together = BandedRidge(BANDS).fit(X, Y)
    order = np.arange(len(BANDS))[::-1]
    mixed = BandedRidge([BANDS[i] for i in order]).fit(X[:, order], Y)
    assert mixed.bands_ != together.bands_
    np.testing.assert_allclose(mixed.cv_r2_, together.cv_r2_, atol=0.02)  # the points are not the same to the digit
    fixed = np.array([0.5, 2.0, 1.0])
    rows = [together.bands_.index(b) for b in mixed.bands_]
    plain = BandedRidge(BANDS, shrinkage=fixed).fit(X, Y)
    mixed = BandedRidge([BANDS[i] for i in order], shrinkage=fixed[rows]).fit(X[:, order], Y)
    np.testing.assert_allclose(mixed.coef_, plain.coef_[order], atol=1e-10)


def test_seeds_and_clones_repeat():
    bands = list(np.repeat(list("abcdef"), 4))
    X, Y = simulate(bands=bands, weights=(1, 0.5, 0, 0, 1, 0.1))
    model = BandedRidge(bands, seed=3).fit(X, Y)
    again = clone(model).fit(X, Y)
    np.testing.assert_array_equal(again.shrinkage_, model.shrinkage_)
    np.testing.assert_array_equal(again.coef_, model.coef_)
    other = clone(model).set_params(seed=4).fit(X, Y)
    assert not np.array_equal(other.shrinkage_, model.shrinkage_)


def test_the_number_of_threads_is_left_alone():
    from threadpoolctl import threadpool_info

    before = [(pool["prefix"], pool["num_threads"]) for pool in threadpool_info()]
    BandedRidge(BANDS).fit(*simulate())
    assert [(pool["prefix"], pool["num_threads"]) for pool in threadpool_info()] == before


def test_the_number_of_jobs_does_not_matter():
    X, Y = simulate()
    one, three = (BandedRidge(BANDS, average=True, n_jobs=jobs).fit(X, Y).predict(X) for jobs in (1, 3))
    np.testing.assert_allclose(three, one, atol=1e-10)


def batched(model, X, Y, memory):
    """The same fit within so little memory that several batches are needed."""
    small = clone(model).set_params(memory=memory).fit(X, Y)
    assert small._batch < Y.shape[1] / 2
    return small


@pytest.mark.parametrize("average", [False, True])
def test_batches_do_not_matter(way, average):
    X, Y = simulate(t=3000)
    Y = Y * np.linspace(0.01, 100, 3000)
    model = BandedRidge(BANDS, average=average, n_jobs=1)
    whole, small = clone(model).fit(X, Y), batched(model, X, Y, "7MB")
    assert whole._batch == 3000
    np.testing.assert_allclose(small.shrinkage_, whole.shrinkage_, atol=1e-6)
    np.testing.assert_allclose(small.cv_r2_, whole.cv_r2_, atol=1e-6)
    np.testing.assert_allclose(small.predict(X) / Y.std(0), whole.predict(X) / Y.std(0), atol=1e-6)
    np.testing.assert_allclose(small.mixture_, whole.mixture_, atol=1e-6)


def test_batches_do_not_matter_where_points_are_placed_by_some_of_the_targets():
    X, Y = simulate(n=24, t=5000, bands=list("aab"), weights=(1.0, 0.2))
    model = BandedRidge(list("aab"), folds=2, n_jobs=1)
    whole, small = clone(model).fit(X, Y), batched(model, X, Y, "2MB")
    np.testing.assert_allclose(small.shrinkage_, whole.shrinkage_, atol=1e-6)
    np.testing.assert_allclose(small.predict(X), whole.predict(X), atol=1e-6)


def test_responses_may_lie_on_disk(tmp_path, way):
    X, Y = simulate(n=60, t=2000)
    np.save(tmp_path / "Y.npy", Y)
    array = zarr.create_array(tmp_path / "Y.zarr", shape=Y.shape, chunks=(60, 300), dtype=Y.dtype)
    array[:] = Y
    model = BandedRidge(BANDS, average=True, n_jobs=1)
    expected = clone(model).fit(X, Y)
    for there in (np.load(tmp_path / "Y.npy", mmap_mode="r"), array):
        small = batched(model, X, there, "4MB")
        np.testing.assert_allclose(small.predict(X), expected.predict(X), atol=1e-6)
        np.testing.assert_allclose(small.coef_, expected.coef_, atol=1e-6)


@pytest.mark.parametrize("average", [False, True])
def test_a_fit_stays_within_its_memory(way, average):
    """What numpy allocates at most, beyond X and Y, where less than half of the targets fit at a time."""
    rng = np.random.default_rng(0)
    n, p, memory = {"dual": (300, 600, 24e6), "primal": (2000, 60, 50e6)}[way]
    X, Y = rng.standard_normal((n, p)).astype(np.float32), rng.standard_normal((n, 8000)).astype(np.float32)
    tracemalloc.start()
    try:
        batched(BandedRidge(np.arange(p) % 3, average=average, n_jobs=2), X, Y, int(memory))
        assert tracemalloc.get_traced_memory()[1] < 1.15 * memory
    finally:
        tracemalloc.stop()


# ---- weights, masks, repeated samples


def test_weights_are_repetitions(way):
    """Weights 0 to 3 against rows that stand so often, repeats on one side of every fold; NaN where the weight is 0."""
    X, Y = simulate(n=70)
    weights = np.random.default_rng(2).integers(0, 4, 70)
    rows = np.repeat(np.arange(70), weights)
    folds = contiguous(70, 4, gap=2)
    again = [tuple(np.flatnonzero(np.isin(rows, side)) for side in fold) for fold in folds]
    repeated = BandedRidge(BANDS, folds=again, shrinkage=[0.5, 2.0, 1.0]).fit(X[rows], Y[rows])
    holed, gone = X.copy(), Y.copy()
    holed[weights == 0], gone[weights == 0] = np.nan, np.nan
    weighted = BandedRidge(BANDS, folds=folds, shrinkage=[0.5, 2.0, 1.0]).fit(holed, gone, sample_weight=weights)
    for name in ("coef_", "intercept_", "cv_r2_", "shrinkage_"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(repeated, name), atol=1e-9)
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), atol=1e-9)
    np.testing.assert_allclose(
        weighted.cv_r2_, refit_error(X, Y, BANDS, [0.5, 2.0, 1.0], folds, weights.astype(float)), atol=1e-9
    )
    dual = weighted.dual_coef_
    assert not dual[:, weights == 0].any()
    centred = X - weights @ X / weights.sum()
    parts = [centred[:, at].T @ one for at, one in zip(PLACES, dual, strict=True)]
    np.testing.assert_allclose(np.concatenate(parts), weighted.coef_, atol=1e-9)


def test_a_mask_leaves_rows_out_but_not_of_the_folds(way):
    X, Y = simulate(n=80)
    keep = np.ones(80, bool)
    keep[[0, 5, 6, 7, 40, 79]] = False
    place = np.cumsum(keep) - 1
    folds = [tuple(place[side[keep[side]]] for side in fold) for fold in contiguous(80, 5)]
    without = BandedRidge(BANDS, folds=folds, average=True).fit(X[keep], Y[keep])
    X[~keep], Y[~keep] = np.inf, np.nan
    masked = BandedRidge(BANDS, average=True).fit(X, Y, sample_weight=keep)
    for name in ("coef_", "intercept_", "cv_r2_", "shrinkage_", "points_"):
        np.testing.assert_allclose(getattr(masked, name), getattr(without, name), atol=1e-9)


def test_the_unit_of_weights_is_that_of_penalties(way):
    X, Y = simulate()
    weights = np.random.default_rng(0).uniform(0, 2, 120)
    plain = BandedRidge(BANDS, shrinkage=[0.5, 2.0, 1.0]).fit(X, Y, sample_weight=weights)
    scaled = BandedRidge(BANDS, shrinkage=[1.5, 3.0, 2.0]).fit(X, Y, sample_weight=10 * weights)
    np.testing.assert_allclose(scaled.coef_, plain.coef_, atol=1e-10)
    np.testing.assert_allclose(scaled.cv_r2_, plain.cv_r2_, atol=1e-10)
    searched = [BandedRidge(BANDS).fit(X, Y, sample_weight=c * weights) for c in (1, 10)]
    np.testing.assert_allclose(searched[1].predict(X), searched[0].predict(X), atol=1e-9)
    finite = np.isfinite(searched[0].shrinkage_)
    np.testing.assert_allclose((searched[1].shrinkage_ - searched[0].shrinkage_)[finite], 1, atol=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_repeated_samples_are_gathered_into_one(weighted):
    """40 samples, each seen one to five times: the same solution and held-out error as with every row by itself."""
    rng = np.random.default_rng(0)
    sample = np.sort(np.r_[np.arange(40), rng.integers(0, 40, 80)])
    X = rng.standard_normal((40, 300))[sample]
    Y = X[:, :1] * np.array([3.0, 0.0, 1.0]) + rng.standard_normal((120, 3)) + 4
    bands = ["one"] + ["many"] * 299
    weights = rng.uniform(0.2, 3, 120) if weighted else None
    folds = by_group(sample, 4)
    together = BandedRidge(bands, folds=folds).fit(X, Y, sample_weight=weights)
    assert together.method_ == "low-rank"
    assert together._data.n == 40
    with patch.object(prepare, "_gather", ungathered):
        apart = BandedRidge(bands, folds=folds, shrinkage=together.shrinkage_).fit(X, Y, sample_weight=weights)
    assert apart.method_ == "dual"
    for name in ("coef_", "intercept_", "cv_r2_"):
        np.testing.assert_allclose(getattr(together, name), getattr(apart, name), atol=1e-8)
    mean = X.mean(0) if weights is None else weights @ X / weights.sum()
    for model in (together, apart):  # different duals, for equal samples share theirs in any way, of the same weights
        np.testing.assert_allclose((X - mean)[:, 1:].T @ model.dual_coef_[1], model.coef_[1:], atol=1e-8)
    np.testing.assert_allclose(together.predict(X), apart.predict(X), atol=1e-8)
    jittered = BandedRidge(bands, folds=folds, shrinkage=together.shrinkage_)
    jittered.fit(X + 1e-7 * rng.standard_normal(X.shape), Y, sample_weight=weights)
    assert jittered.method_ == "dual"
    np.testing.assert_allclose(jittered.predict(X), together.predict(X), atol=1e-4)
    np.testing.assert_allclose(jittered.cv_r2_, together.cv_r2_, atol=1e-4)


def test_repeats_on_both_sides_of_a_fold_stay_apart():
    rng = np.random.default_rng(0)
    X, Y = np.tile(rng.standard_normal((20, 50)), (2, 1)), rng.standard_normal((40, 3))
    model = BandedRidge(folds=4, shrinkage=[1.0]).fit(X, Y)
    assert model._data.n == 40
    np.testing.assert_allclose(model.cv_r2_, refit_error(X, Y, ["all"] * 50, [1.0], contiguous(40, 4)), atol=1e-9)


def test_the_cheaper_way_is_taken_and_said():
    rng = np.random.default_rng(0)
    Y = rng.standard_normal((300, 5)).astype(np.float32)
    wide = rng.standard_normal((300, 3000)).astype(np.float32)
    assert BandedRidge(shrinkage=[2.0]).fit(wide, Y).method_ == "dual"
    assert BandedRidge(shrinkage=[2.0]).fit(wide[:, :10], Y).method_ == "primal"
    folds = by_group(np.repeat(np.arange(10), 30), 5)
    assert BandedRidge(shrinkage=[2.0], folds=folds).fit(np.repeat(wide[:30], 10, 0), Y).method_ == "low-rank"


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(6, 40),
    widths=st.lists(st.integers(1, 25), min_size=1, max_size=4),
    kind=st.sampled_from(["contiguous", "gap", "groups", "some"]),
    weighting=st.sampled_from(["none", "any", "zeros"]),
    repeats=st.booleans(),
    seed=st.integers(0, 99),
)
def test_held_out_errors_equal_refits_at_any_shape(n, widths, kind, weighting, repeats, seed):
    rng = np.random.default_rng(seed)
    bands = np.repeat(np.arange(len(widths)), widths)
    sample = rng.integers(0, max(3, n // 2), n) if repeats else np.arange(n)
    X = rng.standard_normal((n, len(bands)))[sample] + 2
    Y = rng.standard_normal((n, 3)) + X[:, :1]
    folds = {
        "contiguous": lambda: contiguous(n, int(rng.integers(2, 5))),
        "gap": lambda: contiguous(n, 3, gap=1),
        "groups": lambda: by_group(np.r_[np.arange(3), rng.integers(0, 5, n - 3)]),
        "some": lambda: [(np.arange(n // 2), np.arange(n // 2 + 1, n)), (np.arange(2, n), np.array([1]))],
    }[kind]()
    weights = {"none": np.ones(n), "any": rng.uniform(0.1, 4, n), "zeros": np.where(rng.random(n) < 0.2, 0, 2.0)}[
        weighting
    ]
    if any(np.count_nonzero(weights[side]) < 2 for fold in folds for side in fold if len(side) > 1):
        weights = np.ones(n)
    shrinkage = rng.uniform(-1, 3, len(widths))
    expected = refit_error(X, Y, list(bands), shrinkage, folds, weights)
    coef, _, _ = closed_form(X, Y, 10.0 ** shrinkage[bands], weights)
    for name in ("dual", "primal"):
        with patch.object(banded, "cheaper", return_value=name):
            model = BandedRidge(bands, folds=folds, shrinkage=shrinkage, n_jobs=1).fit(X, Y, sample_weight=weights)
        np.testing.assert_allclose(model.cv_r2_, expected, atol=1e-7)
        np.testing.assert_allclose(model.coef_, coef, atol=1e-8)


# ---- hard cases


def test_constant_columns_bands_and_targets(way):
    X, Y = simulate()
    X[:, 1] = 0.1
    X[:, 23:] = 1e5 + 0.1
    Y[:, 2] = 0.3
    model = BandedRidge(BANDS).fit(X, Y)
    assert not model.coef_[[1, *range(23, 33)]].any()
    np.testing.assert_array_equal(model.shrinkage_[2], np.inf)
    assert not model.coef_[:, 2].any()
    np.testing.assert_array_equal(np.isnan(model.cv_r2_), [False, False, True, False, False, False])
    np.testing.assert_allclose(model.predict(X)[:, 2], 0.3)
    fixed = BandedRidge(BANDS, shrinkage=model.shrinkage_).fit(X, Y)
    alone = BandedRidge(BANDS[:23], shrinkage=model.shrinkage_[:2]).fit(X[:, :23], Y)
    np.testing.assert_allclose(fixed.coef_[:23], alone.coef_, atol=1e-12)
    nothing = BandedRidge(BANDS, average=True).fit(np.full_like(X, 7.0), Y)
    assert not nothing.coef_.any()
    np.testing.assert_allclose(nothing.cv_r2_[[0, 1]], 0, atol=1e-12)
    np.testing.assert_allclose(nothing.predict(X), np.tile(Y.mean(0), (120, 1)))


def test_duplicated_columns_share_their_weight(way):
    X, Y = simulate(n=60)
    doubled = np.hstack([X[:, :3], X[:, :3]])
    model = BandedRidge(["a"] * 6, shrinkage=[1.0]).fit(doubled, Y)
    np.testing.assert_allclose(model.coef_[:3], model.coef_[3:], atol=1e-9)
    scaled = X[:, :3] * np.sqrt(2)
    coef, x_mean, y_mean = closed_form(scaled, Y, np.full(3, 10.0))
    np.testing.assert_allclose(model.predict(doubled), y_mean + (scaled - x_mean) @ coef, atol=1e-9)


@pytest.mark.parametrize("n", [12, 30])
def test_many_more_features_than_samples(n):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 2000)).astype(np.float32)
    Y = (X[:, :1] * 3 + rng.standard_normal((n, 2))).astype(np.float32)
    model = BandedRidge(["one"] + ["many"] * 1999, folds=3).fit(X, Y)
    penalties = np.repeat(10.0 ** model.shrinkage_[:, 0], [1, 1999])
    expected, _, _ = closed_form(X.astype(float), Y[:, [0]].astype(float), penalties)
    np.testing.assert_allclose(model.coef_[:, [0]], expected, atol=1e-8)


@pytest.mark.parametrize("average", [False, True])
def test_few_samples_are_not_extrapolated_wildly(average, way):
    """6 to 20 samples, a band of one column, one of five and one of 200, half of the targets noise."""
    bands = ["one"] + ["some"] * 5 + ["many"] * 200
    for n in (6, 7, 8, 10, 13, 17, 20):
        rng = np.random.default_rng(n)
        X = rng.standard_normal((n + 200, 206))
        Y = rng.standard_normal((n, 24))
        Y[:, :12] += 2 * X[:n, :1] + X[:n, 3:4]
        predicted = BandedRidge(bands, average=average).fit(X[:n], Y).predict(X[n:])
        off = np.abs(predicted - Y.mean(0)) / Y.std(0)
        assert np.isfinite(off).all()
        assert off.max() < 9  # the signal itself reaches 5 standard deviations of the few samples, once 13
        assert np.sqrt(np.mean(off**2)) < 1.3


def hard(n, dtype):
    """A band of one column, a constant one, duplicated and nearly duplicated columns, one with a large mean."""
    rng = np.random.default_rng(0)
    base = rng.standard_normal((n, 20))
    columns = {
        "one": base[:, :1],
        "still": np.full((n, 3), 0.1),
        "doubled": np.hstack([base[:, 1:8], base[:, 1:8]]),
        "nearly": np.hstack([base[:, 8:14], base[:, 8:14] + 1e-4 * rng.standard_normal((n, 6))]),
        "far": base[:, 14:] + 300,
        "wide": rng.standard_normal((n, 30)),
    }
    bands = np.repeat(list(columns), [part.shape[1] for part in columns.values()])
    Y = base @ rng.standard_normal((20, 40)) * np.linspace(0, 1, 40) + rng.standard_normal((n, 40)) + 50
    Y[:, 38] = 3.1
    Y[:, 39] = base[:, 0]  # no noise at all
    return np.hstack(list(columns.values())).astype(dtype), Y.astype(dtype), bands


@pytest.mark.parametrize("average", [False, True])
def test_hard_cases_in_float32_are_those_in_float64(average, way):
    X, Y, bands = hard(600, np.float32)
    coarse = BandedRidge(bands, average=average).fit(X[:400], Y[:400])
    fine = BandedRidge(bands, average=average).fit(X[:400].astype(float), Y[:400].astype(float))
    assert (coarse.coef_.dtype, fine.coef_.dtype) == (np.float32, np.float64)
    live = np.arange(40) != 38
    mean = Y[:400].mean(0, dtype=float)
    scores = [
        r2(Y[400:, live].astype(float), m.predict(X[400:])[:, live].astype(float), mean[live]) for m in (coarse, fine)
    ]
    assert np.isfinite(coarse.coef_).all()
    assert np.abs(scores[0] - scores[1]).max() < 1e-3
    assert np.abs(coarse.cv_r2_ - fine.cv_r2_)[live].max() < 1e-3
    np.testing.assert_allclose(coarse.predict(X)[:, 38], 3.1, rtol=1e-6)
    assert np.isnan(coarse.cv_r2_[38])
    assert coarse.cv_r2_[39] > 0.99
    assert scores[0][0] > -0.02  # pure noise costs next to nothing
    assert np.isinf(coarse.shrinkage_[1]).all()


# ---- devices


@pytest.fixture
def one_thread():
    """Torch's own threads wait for each other where other tests are busy."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("average", [False, True])
def test_torch_computes_the_same(way, average, one_thread):
    X, Y = simulate(n=100, t=30)
    Y[:, 7] = 2.0
    weights = np.random.default_rng(0).uniform(0.5, 2, 100)
    for folds, sample_weight in ((5, None), (contiguous(100, 4, gap=3), weights)):
        here, there = (
            BandedRidge(BANDS, folds=folds, average=average, device=device).fit(X, Y, sample_weight=sample_weight)
            for device in ("cpu", "torch:cpu")
        )
        for name in ("shrinkage_", "cv_r2_", "coef_", "intercept_", "dual_coef_", "mixture_"):
            np.testing.assert_allclose(getattr(there, name), getattr(here, name), atol=1e-8, err_msg=name)
        np.testing.assert_allclose(there.predict(X), here.predict(X), atol=1e-8)
        np.testing.assert_allclose(there.predict(X, split=True), here.predict(X, split=True), atol=1e-8)


def test_torch_computes_the_same_in_float32(way, one_thread):
    X, Y = (a.astype(np.float32) for a in simulate(n=300, t=30))
    here, there = (BandedRidge(BANDS, average=True, device=device).fit(X, Y) for device in ("cpu", "torch:cpu"))
    assert here._dtype == np.float32
    np.testing.assert_allclose(there.predict(X), here.predict(X), atol=2e-3)
    np.testing.assert_allclose(there.cv_r2_, here.cv_r2_, atol=1e-4)


@pytest.mark.parametrize(
    ("device", "message"),
    [("cuda", r"torch cannot compute on device='cuda' here: .*CUDA"), ("abacus", r"on device='abacus' here")],
)
def test_a_device_that_is_not_there_is_named(device, message):
    import torch

    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one here")
    with pytest.raises(SettingsError, match=message):
        BandedRidge(BANDS, device=device).fit(*simulate())


# ---- predictions


def test_parts_sum_to_the_prediction(way):
    X, Y = simulate()
    model = BandedRidge(BANDS, average=True).fit(X[:80], Y[:80])
    parts = model.predict(X[80:], split=True)
    assert parts.shape == (3, 40, 6)
    np.testing.assert_allclose(parts.sum(0) + model.intercept_, model.predict(X[80:]), atol=1e-10)
    for part, at in zip(parts, PLACES, strict=True):
        np.testing.assert_allclose(part, X[80:, at] @ model.coef_[at], atol=1e-10)


def test_predictions_come_in_batches_and_into_arrays_that_are_given(way, tmp_path):
    X, Y = simulate(t=2000)
    model = batched(BandedRidge(BANDS, n_jobs=1), X, Y, "6MB")
    for split in (False, True):
        whole = model.predict(X[:9], split=split)
        pieces = list(model.predict_batches(X[:9], split=split))
        assert len(pieces) > 1
        assert [at.start for at, _ in pieces[1:]] == [at.stop for at, _ in pieces[:-1]]
        assert (pieces[0][0].start, pieces[-1][0].stop) == (0, 2000)
        np.testing.assert_array_equal(np.concatenate([values for _, values in pieces], -1), whole)
        out = np.lib.format.open_memmap(tmp_path / f"{split}.npy", "w+", np.float64, whole.shape)
        assert model.predict(X[:9], split=split, out=out) is out
        np.testing.assert_array_equal(out, whole)
    with pytest.raises(InputError, match=r"out has shape \(9, 2000\), the prediction \(3, 9, 2000\)"):
        model.predict(X[:9], split=True, out=np.empty((9, 2000)))


def test_one_target_may_be_a_row():
    X, Y = simulate()
    model, table = BandedRidge(BANDS).fit(X, Y[:, 0]), BandedRidge(BANDS).fit(X, Y[:, :1])
    np.testing.assert_array_equal(model.predict(X), table.predict(X)[:, 0])
    np.testing.assert_array_equal(model.predict(X, split=True), table.predict(X, split=True)[..., 0])
    assert model.coef_.shape == (33, 1)
    assert model.intercept_.shape == (1,)
    with pytest.raises(InputError, match=r"out has shape \(120, 1\), the prediction \(120,\)"):
        model.predict(X, out=np.empty((120, 1)))


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
def test_pickles_predict_the_same(way, device, one_thread):
    X, Y = simulate()
    model = BandedRidge(BANDS, average=True, device=device).fit(X, Y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_allclose(again.predict(X), model.predict(X), atol=1e-12)
    np.testing.assert_allclose(again.predict(X, split=True), model.predict(X, split=True), atol=1e-12)
    np.testing.assert_allclose(again.coef_, model.coef_, atol=1e-12)
    np.testing.assert_array_equal(again.mixture_, model.mixture_)


# ---- interruptions


def test_an_interruption_keeps_finished_batches(way):
    X, Y = simulate(t=2000)
    whole = BandedRidge(BANDS, n_jobs=1).fit(X, Y)

    def stop(done, total, what):
        if done > 0.6 * total:
            raise KeyboardInterrupt

    model = BandedRidge(BANDS, n_jobs=1, memory="6MB")
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, progress=stop)
    done = model.done_
    assert 0 < done.sum() < 2000
    assert not done[done.sum() :].any()
    for values, expected in (
        (model.predict(X), whole.predict(X)),
        (model.predict(X, split=True), whole.predict(X, split=True)),
        (model.coef_, whole.coef_),
        (model.intercept_, whole.intercept_),
        (model.shrinkage_, whole.shrinkage_),
        (model.cv_r2_, whole.cv_r2_),
        (model.dual_coef_, whole.dual_coef_),
    ):
        np.testing.assert_allclose(values[..., done], expected[..., done], atol=1e-6)
        assert np.isnan(values[..., ~done]).all()
    np.testing.assert_allclose(model.mixture_.sum(0), done)


def test_interrupted_before_anything_is_finished_it_is_not_fitted(way):
    X, Y = simulate()
    model = BandedRidge(BANDS).fit(X, Y)

    class Stubborn:
        shape, dtype, ndim = Y.shape, Y.dtype, 2

        asked = 0

        def __getitem__(self, key):
            self.asked += 1
            if self.asked == 1:
                raise KeyboardInterrupt
            return Y[key]

    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Stubborn())
    with pytest.raises(NotFittedError):
        model.predict(X)


# ---- what is refused


def refusals():
    X, Y = simulate()
    broken, infinite, complex_ = X.copy(), Y.copy(), X.astype(complex)
    broken[4, 2], infinite[3, 1] = np.nan, np.inf
    fit, own = BandedRidge(BANDS), np.ones(120)
    yield fit, (broken, Y), InputError, r"X has 1 values .*NaN or infinity.* first at row 4, column 2: leave those"
    yield fit, (X, infinite), InputError, r"Y has 1 values .* row 3, column 1"
    yield fit, (X[:, 0], Y), InputError, r"X is \(samples, columns\).*found shape \(120,\).*X\[:, None\]"
    yield fit, (X, Y[:0]), InputError, r"neither empty; found shape \(0, 6\)"
    yield fit, (X, Y[None]), InputError, r"Y is \(samples, columns\).*found shape \(1, 120, 6\)"
    yield fit, (X[:100], Y), InputError, r"X has 100 rows and Y 120"
    yield fit, (complex_, Y), InputError, r"X is a table of real numbers; found dtype complex128"
    yield fit, (X, Y.astype(complex)), InputError, r"Y is a table of real numbers; found dtype complex128"
    yield fit, (X.astype(str).astype(object) + "?", Y), InputError, r"X is a table of real numbers; found dtype object"
    yield BandedRidge(BANDS[:-1]), (X, Y), InputError, r"bands names 32 columns, X has 33"
    yield BandedRidge(BANDS, folds=1), (X, Y), SettingsError, r"1 folds of 120 samples"
    yield BandedRidge(BANDS, folds=[]), (X, Y), SettingsError, r"no inner folds"
    cases = {
        r"fold 0: 1 rows are in both .* first is 2": ([0, 1, 2], [2, 3]),
        r"rows 120–120, X has rows 0–119": ([0, 1], [120]),
        r"train and test are row numbers; found float64": ([0.5], [2]),
        r"a row stands twice in train or in test": ([0, 1, 1], [2]),
        r"train and test are row numbers; found .* \(0,\)": ([0], np.array([], int)),
    }
    for message, fold in cases.items():
        yield BandedRidge(BANDS, folds=[fold]), (X, Y), InputError, message
    yield BandedRidge(BANDS, shrinkage=[1.0, 2.0]), (X, Y), InputError, r"\(3 bands,\) or \(3, 6 targets\).*\(2,\)"
    yield BandedRidge(BANDS, shrinkage=[1.0, 2.0, np.nan]), (X, Y), InputError, r"found NaN or −inf"
    yield BandedRidge(BANDS, memory="1kB"), (X, Y), SettingsError, r"memory=.* is too little for 120 samples × 33 col"
    yield BandedRidge(BANDS, memory="much"), (X, Y), SettingsError, r"a size such as '4GB'.*found 'much'"
    yield BandedRidge(BANDS, n_jobs=0), (X, Y), SettingsError, r"n_jobs is 1 or more, or -1 .*; found 0"
    yield fit, (X, Y, own[:-1]), InputError, r"one number per sample, \(120,\); found shape \(119,\)"
    yield fit, (X, Y, -own), InputError, r"sample_weight is finite and not negative"
    yield fit, (X, Y, own * np.nan), InputError, r"sample_weight is finite and not negative"
    yield fit, (X, Y, np.arange(120) == 3), InputError, r"sample_weight is zero for all but 1 of 120 samples"
    yield fit, (X, Y, np.arange(120) < 20), InputError, r"no inner fold has both a training and a test row of weight"


@pytest.mark.parametrize(("model", "data", "error", "message"), list(refusals()))
def test_what_fit_refuses(model, data, error, message):
    with pytest.raises(error, match=message):
        clone(model).fit(*data)


def test_what_predict_and_operators_refuse():
    import scipy.sparse

    X, Y = simulate()
    broken = X.copy()
    broken[4, 2] = np.nan
    model = BandedRidge(BANDS, shrinkage=np.ones(3))
    with pytest.raises(NotFittedError):
        model.predict(X)
    with pytest.raises(NotFittedError):
        _ = model.coef_
    model.fit(X, Y)
    with pytest.raises(InputError, match=r"X has 4 features, but BandedRidge is expecting 33 features"):
        model.predict(X[:, :4])
    with pytest.raises(InputError, match=r"X has 1 values .* row 4, column 2"):
        model.predict(broken)
    with pytest.raises(InputError, match=r"found a sparse csr_array: give X.toarray\(\)"):
        model.predict(scipy.sparse.csr_array(X))
    with pytest.raises(InputError, match="training features have 33 columns, test features 4"):
        hat_operator(X, X[:, :4], BANDS, np.ones((3, 6)))
    with pytest.raises(InputError, match="X_train has 1 values"):
        hat_operator(broken, X, BANDS, np.ones((3, 6)))


# ---- scikit-learn

EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "calls fit(y=…), ours are called Y; that weights are "
    "repetitions is tested above",
    "check_dtype_object": "wants a TypeError for cells that are no numbers: ours is an InputError, a ValueError",
    "check_estimators_empty_data_messages": "wants scikit-learn's own words: ours name the shape",
}


@parametrize_with_checks(
    [BandedRidge(n_jobs=1), BandedRidge(average=True, n_jobs=1), BandedRidge(shrinkage=[0.0], n_jobs=1)],
    expected_failed_checks=lambda _: EXPECTED,
)
def test_it_is_a_scikit_learn_estimator(estimator, check):
    check(estimator)
