import himalaya.backend
import numpy as np
import pytest
from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search
from sklearn.base import clone

from brainalign.errors import InputError, SettingsError
from brainalign.maths.banded import TAU, BandedRidge, hat_operator
from brainalign.maths.folds import contiguous
from brainalign.maths.penalties import SIGNAL_TO_NOISE, candidate_ratios
from brainalign.maths.scores import r2, r2_split

BANDS = ["rate"] * 3 + ["lm"] * 20 + ["noise"] * 10


def simulate(n=120, t=6, seed=0, bands=BANDS, weights=(1.0, 0.3, 0.0), noise=1.0):
    """Responses in which each band carries a given share of signal."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, len(bands))) * rng.uniform(0.5, 2, len(bands)) + rng.standard_normal(len(bands))
    scale = np.array([dict(zip(dict.fromkeys(bands), weights, strict=True))[b] for b in bands])
    size = np.array([bands.count(b) for b in bands])
    signal = X @ (scale[:, None] / np.sqrt(size)[:, None] * rng.standard_normal((len(bands), t)))
    return X, signal + noise * rng.standard_normal((n, t)) + 5 * rng.standard_normal(t)


def closed_form(X, Y, penalties):
    """(XᵀX + diag λ)⁻¹ XᵀY on centred data; a dropped band has no columns."""
    Xc, Yc = X - X.mean(0), Y - Y.mean(0)
    kept = np.isfinite(penalties)
    coef = np.zeros((X.shape[1], Y.shape[1]))
    coef[kept] = np.linalg.solve(Xc[:, kept].T @ Xc[:, kept] + np.diag(penalties[kept]), Xc[:, kept].T @ Yc)
    return coef


def refit_error(X, Y, bands, log_penalties, folds):
    """Held-out errors from one closed-form fit per fold, nothing shared between them."""
    names = list(dict.fromkeys(bands))
    penalties = 10.0 ** np.array([log_penalties[names.index(b)] for b in bands])
    error, total = 0, 0
    for train, test in folds:
        coef = closed_form(X[train], Y[train], penalties)
        predicted = Y[train].mean(0) + (X[test] - X[train].mean(0)) @ coef
        error = error + ((Y[test] - predicted) ** 2).sum(0)
        total = total + ((Y[test] - Y[train].mean(0)) ** 2).sum(0)
    return 1 - error / total


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [20, 120, 400])
def test_the_convention_is_the_closed_form(n, dtype):
    X, Y = (a.astype(dtype) for a in simulate(n=n))
    log_penalties = np.array([0.5, 2.0, 1.0])
    model = BandedRidge(BANDS, shrinkage=log_penalties).fit(X, Y)
    penalties = np.repeat(10.0**log_penalties, [3, 20, 10])
    np.testing.assert_allclose(model.coef_, closed_form(X.astype(float), Y.astype(float), penalties), atol=1e-9)
    np.testing.assert_allclose(model.shrinkage_, np.repeat(log_penalties[:, None], 6, 1))
    Xc = X.astype(float) - X.astype(float).mean(0)
    parts = np.split(Xc, [3, 23], axis=1)
    coef = np.concatenate([part.T @ dual for part, dual in zip(parts, model.dual_coef_, strict=True)])
    np.testing.assert_allclose(model.coef_, coef, atol=1e-12)


def test_penalties_of_its_own_for_every_target_and_dropped_bands():
    X, Y = simulate()
    rng = np.random.default_rng(1)
    shrinkage = rng.uniform(-1, 4, (3, 6))
    shrinkage[1, 2] = shrinkage[0, 3] = shrinkage[2, 3] = np.inf
    shrinkage[:, 4] = np.inf
    model = BandedRidge(BANDS, shrinkage=shrinkage).fit(X, Y)
    for t in range(6):
        penalties = np.repeat(10.0 ** shrinkage[:, t], [3, 20, 10])
        np.testing.assert_allclose(model.coef_[:, [t]], closed_form(X, Y[:, [t]], penalties), atol=1e-9)
    np.testing.assert_array_equal(model.shrinkage_[:, 4], np.inf)
    np.testing.assert_allclose(model.predict(X)[:, 4], Y[:, 4].mean())
    np.testing.assert_allclose(model.shrinkage_, shrinkage, atol=1e-8)


@pytest.mark.parametrize(
    ("n", "folds"),
    [(60, 5), (60, contiguous(60, 4, gap=5)), (400, 4), (400, contiguous(400, 5, gap=7))],
    ids=["dual", "dual, gap", "primal", "primal, gap"],
)
def test_held_out_errors_equal_refitting_each_fold(n, folds):
    X, Y = simulate(n=n)
    for log_penalties in ([1.0, 2.0, 0.0], [-1.0, np.inf, 3.0]):
        model = BandedRidge(BANDS, folds=folds, shrinkage=np.array(log_penalties)).fit(X, Y)
        expected = refit_error(X, Y, BANDS, log_penalties, contiguous(n, folds) if isinstance(folds, int) else folds)
        np.testing.assert_allclose(model.cv_r2_, expected, atol=1e-8)


def test_folds_may_score_some_rows_only():
    X, Y = simulate()
    folds = [(np.arange(60), np.arange(70, 90)), (np.arange(40, 120), np.array([3, 1, 20]))]
    model = BandedRidge(BANDS, folds=folds, shrinkage=np.ones(3)).fit(X, Y)
    np.testing.assert_allclose(model.cv_r2_, refit_error(X, Y, BANDS, np.ones(3), folds), atol=1e-9)


def test_the_search_takes_the_best_point_and_reports_it():
    """Every point of the design tried by hand, with one fit per fold."""
    X, Y = simulate(n=60, t=4)
    model = BandedRidge(BANDS, folds=4).fit(X, Y)
    folds = contiguous(60, 4)
    Xc = X - X.mean(0)
    power = np.array([(Xc[:, np.array(BANDS) == b] ** 2).sum() / 60 for b in model.bands_])
    tried = []
    for ratio in candidate_ratios(3, None, 0):
        for delta in SIGNAL_TO_NOISE:
            with np.errstate(divide="ignore"):
                tried.append(-np.log10(delta * ratio / power))
    scores = np.array([refit_error(X, Y, BANDS, point, folds) for point in tried])
    np.testing.assert_allclose(model.cv_r2_, scores.max(0), atol=1e-8)
    np.testing.assert_allclose(model.shrinkage_, np.array(tried)[scores.argmax(0)].T, atol=1e-8)
    again = BandedRidge(BANDS, folds=4, shrinkage=model.shrinkage_).fit(X, Y)
    np.testing.assert_allclose(again.coef_, model.coef_, atol=1e-9)
    np.testing.assert_allclose(again.cv_r2_, model.cv_r2_, atol=1e-8)


def test_himalaya_agrees():
    """The same candidates in the field's solver: same choice, same inner error, same predictions."""
    X, Y = simulate(n=90, t=5)
    columns = [np.flatnonzero(np.array(BANDS) == b) for b in dict.fromkeys(BANDS)]
    Xc = X - X.mean(0)
    Ks = np.stack([Xc[:, c] @ Xc[:, c].T for c in columns])
    Ks *= 90 / np.trace(Ks, axis1=1, axis2=2)[:, None, None]
    assert himalaya.backend.get_backend().name == "numpy"
    with np.errstate(divide="ignore"):  # it takes the logarithm of bands it drops
        deltas, dual, _, intercept = solve_multiple_kernel_ridge_random_search(
            Ks,
            Y,
            n_iter=candidate_ratios(3, None, 0),
            alphas=1 / SIGNAL_TO_NOISE,
            cv=5,
            fit_intercept=True,
            return_weights="dual",
            progress_bar=False,
        )
    model = BandedRidge(BANDS).fit(X, Y)
    theirs = np.einsum("bt,bnm,mt->nt", np.exp(deltas), Ks, dual) + intercept
    np.testing.assert_allclose(model.predict(X), theirs, atol=1e-6)


@pytest.mark.parametrize("offset", [1e3, -5.0])
def test_a_constant_added_changes_nothing_but_the_intercept(offset):
    X, Y = simulate()
    plain, moved = BandedRidge(BANDS).fit(X, Y), BandedRidge(BANDS).fit(X + offset, Y + 2 * offset)
    for name in ("shrinkage_", "cv_r2_", "coef_"):
        np.testing.assert_allclose(getattr(moved, name), getattr(plain, name), atol=1e-7)
    np.testing.assert_allclose(moved.predict(X + offset), plain.predict(X) + 2 * offset, atol=1e-6)


def test_units_of_a_band_do_not_matter():
    X, Y = simulate()
    scale = np.repeat([1e-3, 1.0, 1e4], [3, 20, 10])
    plain, scaled = BandedRidge(BANDS).fit(X, Y), BandedRidge(BANDS).fit(X * scale, Y)
    np.testing.assert_allclose(scaled.predict(X * scale), plain.predict(X), atol=1e-7)
    finite = np.isfinite(plain.shrinkage_)
    moved = scaled.shrinkage_ - 2 * np.log10([[1e-3], [1.0], [1e4]])
    np.testing.assert_allclose(moved[finite], plain.shrinkage_[finite], atol=1e-7)


def test_other_targets_and_columns_order_change_nothing():
    X, Y = simulate(t=30)
    together = BandedRidge(BANDS).fit(X, Y)
    alone = BandedRidge(BANDS).fit(X, Y[:, 11:12])
    np.testing.assert_allclose(alone.coef_[:, 0], together.coef_[:, 11], atol=1e-9)
    np.testing.assert_allclose(alone.shrinkage_[:, 0], together.shrinkage_[:, 11])
    order = np.random.default_rng(0).permutation(len(BANDS))
    mixed = BandedRidge([BANDS[i] for i in order]).fit(X[:, order], Y)
    rows = [together.bands_.index(b) for b in mixed.bands_]
    np.testing.assert_allclose(mixed.cv_r2_, together.cv_r2_, atol=0.02)  # the design is not symmetric to the digit
    np.testing.assert_allclose(mixed.shrinkage_, together.shrinkage_[rows], atol=1e-7)


def test_parts_sum_to_the_prediction():
    X, Y = simulate()
    model = BandedRidge(BANDS).fit(X[:80], Y[:80])
    parts = model.predict(X[80:], split=True)
    assert parts.shape == (3, 40, 6)
    np.testing.assert_allclose(parts.sum(0) + model.intercept_, model.predict(X[80:]), atol=1e-10)
    np.testing.assert_allclose(parts[0], X[80:, :3] @ model.coef_[:3])


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
    assert (model.shrinkage_[1] - model.shrinkage_[0]).min() >= 1 - 1e-9  # at least tenfold


def test_beats_one_shared_penalty_where_bands_differ_in_relevance():
    bands = ["a"] * 5 + ["b"] * 200
    X, Y = simulate(n=1000, t=40, bands=bands, weights=(1.0, 0.2), noise=2.0)
    train, test = slice(0, 250), slice(250, None)
    mean = Y[train].mean(0)
    own = r2(Y[test], BandedRidge(bands).fit(X[train], Y[train]).predict(X[test]), mean)
    shared = r2(Y[test], BandedRidge(["all"] * 205).fit(X[train], Y[train]).predict(X[test]), mean)
    assert (own > shared).mean() > 0.9
    assert np.mean(own - shared) > 0.1


def test_seeds_and_clones_repeat():
    bands = list(np.repeat(list("abcdef"), 4))
    X, Y = simulate(bands=bands, weights=(1, 0.5, 0, 0, 1, 0.1))
    model = BandedRidge(bands, n_candidates=20, seed=3).fit(X, Y)
    again = clone(model).fit(X, Y)
    np.testing.assert_array_equal(again.shrinkage_, model.shrinkage_)
    np.testing.assert_array_equal(again.coef_, model.coef_)
    other = clone(model).set_params(seed=4).fit(X, Y)
    assert not np.array_equal(other.shrinkage_, model.shrinkage_)


def test_constant_columns_bands_and_targets():
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
    np.testing.assert_allclose(model.coef_[:23], BandedRidge(BANDS[:23]).fit(X[:, :23], Y).coef_)
    nothing = BandedRidge(BANDS).fit(np.full_like(X, 7.0), Y)
    assert not nothing.coef_.any()
    np.testing.assert_allclose(nothing.cv_r2_[[0, 1]], 0, atol=1e-12)


def test_duplicated_columns_share_their_weight():
    X, Y = simulate(n=60)
    doubled = np.hstack([X[:, :3], X[:, :3]])
    model = BandedRidge(["a"] * 6, shrinkage=[1.0]).fit(doubled, Y)
    np.testing.assert_allclose(model.coef_[:3], model.coef_[3:], atol=1e-9)
    np.testing.assert_allclose(model.predict(doubled), _ridge(X[:, :3] * np.sqrt(2), Y, 10.0), atol=1e-9)


def _ridge(X, Y, penalty):
    return Y.mean(0) + (X - X.mean(0)) @ closed_form(X, Y, np.full(X.shape[1], penalty))


@pytest.mark.parametrize("n", [12, 30])
def test_many_more_features_than_samples(n):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 2000)).astype(np.float32)
    Y = (X[:, :1] * 3 + rng.standard_normal((n, 2))).astype(np.float32)
    bands = ["one"] + ["many"] * 1999
    model = BandedRidge(bands, folds=3).fit(X, Y)
    penalties = np.repeat(10.0 ** model.shrinkage_[:, 0], [1, 1999])
    np.testing.assert_allclose(
        model.coef_[:, [0]], closed_form(X.astype(float), Y[:, [0]].astype(float), penalties), atol=1e-8
    )


def test_penalties_too_small_to_be_cross_validated_are_not_scored():
    """Features that fit every training row exactly leave a held-out error of rounding: NaN, not a number."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((20, 50)), rng.standard_normal((20, 3))
    model = BandedRidge(["a"] * 50, shrinkage=[-13.0]).fit(X, Y)
    assert np.isnan(model.cv_r2_).all()
    np.testing.assert_allclose(model.predict(X), Y, atol=1e-9)
    assert np.isfinite(BandedRidge(["a"] * 50, shrinkage=[-5.0]).fit(X, Y).cv_r2_).all()


def test_hat_operators_are_the_fitted_model():
    X, Y = simulate(n=90, t=8)
    model = BandedRidge(BANDS).fit(X[:60], Y[:60])
    shrinkage = model.shrinkage_.copy()
    shrinkage[:, 0], shrinkage[:, 7] = np.inf, shrinkage[:, 1]
    model = BandedRidge(BANDS, shrinkage=shrinkage).fit(X[:60], Y[:60])
    operators, which = hat_operator(X[:60], X[60:], BANDS, shrinkage)
    assert operators.shape == (len(np.unique(shrinkage, axis=1).T), 30, 60)
    predicted = np.stack([Y[:60, t].mean() + operators[which[t]] @ Y[:60, t] for t in range(8)], 1)
    np.testing.assert_allclose(predicted, model.predict(X[60:]), atol=1e-9)
    np.testing.assert_allclose(operators.sum(2), 0, atol=1e-10)


def test_an_average_is_the_mixture_of_its_points():
    X, Y = simulate(t=4)
    Y[:, 3] = 7.0
    model = BandedRidge(BANDS, average=True).fit(X, Y)
    np.testing.assert_allclose(model.mixture_.sum(0), 1)
    coef = sum(
        BandedRidge(BANDS, shrinkage=point).fit(X, Y).coef_ * weight
        for point, weight in zip(model.points_.T, model.mixture_, strict=True)
    )
    np.testing.assert_allclose(model.coef_, coef, atol=1e-8)
    best = BandedRidge(BANDS).fit(X, Y)
    np.testing.assert_allclose(model.shrinkage_[:, :3], best.shrinkage_[:, :3])
    assert (model.cv_r2_[:3] <= best.cv_r2_[:3]).all()
    assert not model.coef_[:, 3].any()
    assert np.isnan(model.cv_r2_[3])
    alone = BandedRidge(BANDS, average=True).fit(X, Y[:, 1:2])
    np.testing.assert_allclose(alone.coef_, model.coef_[:, 1:2], atol=1e-10)


def test_an_average_weighs_points_by_their_held_out_error():
    X, Y = simulate(t=3)
    model = BandedRidge(BANDS, average=True).fit(X, Y)
    losses = np.array([1 - BandedRidge(BANDS, shrinkage=point).fit(X, Y).cv_r2_ for point in model.points_.T])
    weights = losses ** (-TAU * len(X) / 2)
    np.testing.assert_allclose(model.mixture_, weights / weights.sum(0), atol=1e-8)
    np.testing.assert_allclose(model.cv_r2_, 1 - (model.mixture_ * losses).sum(0), atol=1e-8)


def test_an_average_predicts_weak_responses_better():
    """400 targets of which a tenth can be explained, three bands: above the best point's held-out R² on three seeds."""
    for seed in range(3):
        X, Y = simulate(n=240, t=400, seed=seed, weights=(0.3, 0.3, 0.0), noise=1.2)
        scores = [r2(Y[120:], BandedRidge(BANDS, average=a).fit(X[:120], Y[:120]).predict(X[120:])) for a in (0, 1)]
        assert scores[1].mean() > scores[0].mean() + 0.003


@pytest.mark.parametrize("n_bands", [1, 2, 3, 4, 5, 13])
def test_candidates_lie_on_the_simplex_and_differ(n_bands):
    for n in (None, 3, 60):
        ratios = candidate_ratios(n_bands, n, seed=0)
        assert ratios.shape[1] == n_bands
        assert n is None or len(ratios) == n
        np.testing.assert_allclose(ratios.sum(1), 1)
        assert (ratios >= 0).all()
    design = candidate_ratios(n_bands, None, seed=0)
    assert len(np.unique(design, axis=0)) == len(design)
    for corner in np.eye(n_bands):
        assert (design == corner).all(1).any()


def test_the_number_of_threads_is_left_alone():
    from threadpoolctl import threadpool_info

    before = [(pool["prefix"], pool["num_threads"]) for pool in threadpool_info()]
    BandedRidge(BANDS).fit(*simulate())
    assert [(pool["prefix"], pool["num_threads"]) for pool in threadpool_info()] == before


def test_what_fit_refuses():
    X, Y = simulate()
    broken = X.copy()
    broken[4, 2] = np.nan
    cases = [
        (
            BandedRidge(BANDS),
            (broken, Y),
            InputError,
            r"X has 1 values that are not finite, the first at row 4, column 2",
        ),
        (
            BandedRidge(BANDS),
            (X, np.where(np.arange(720).reshape(120, 6), Y, np.inf)),
            InputError,
            r"Y has 1 values .* row 0, column 0",
        ),
        (BandedRidge(BANDS), (X, Y[:, 0]), InputError, r"Y is \(samples, columns\).*Y\[:, None\]"),
        (BandedRidge(BANDS), (X, Y[:0]), InputError, r"neither empty; found shape \(0, 6\)"),
        (BandedRidge(BANDS), (X[:100], Y), InputError, r"X has 100 rows and Y 120"),
        (BandedRidge(BANDS[:-1]), (X, Y), InputError, r"bands names 32 columns, X has 33"),
        (BandedRidge(BANDS, folds=1), (X, Y), SettingsError, r"1 folds of 120 samples"),
        (BandedRidge(BANDS, folds=[]), (X, Y), SettingsError, r"no inner folds"),
        (
            BandedRidge(BANDS, folds=[([0, 1, 2], [2, 3])]),
            (X, Y),
            InputError,
            r"fold 0: 1 rows are in both .* first is 2",
        ),
        (BandedRidge(BANDS, folds=[([0, 1], [120])]), (X, Y), InputError, r"rows 120–120, X has rows 0–119"),
        (
            BandedRidge(BANDS, folds=[([0.5], [2])]),
            (X, Y),
            InputError,
            r"train and test are row numbers; found float64",
        ),
        (BandedRidge(BANDS, shrinkage=[1.0, 2.0]), (X, Y), InputError, r"\(3 bands,\) or \(3, 6 targets\).*\(2,\)"),
        (BandedRidge(BANDS, shrinkage=[1.0, 2.0, np.nan]), (X, Y), InputError, r"found NaN or −inf"),
        (BandedRidge(BANDS, n_candidates=0), (X, Y), SettingsError, r"at least 1; found 0"),
        (BandedRidge(BANDS, device="cuda"), (X, Y), SettingsError, r"'cpu' only; found device='cuda'"),
    ]
    for model, data, error, message in cases:
        with pytest.raises(error, match=message):
            model.fit(*data)
    with pytest.raises(InputError, match=r"fitted on 33 columns, asked to predict from shape \(120, 4\)"):
        BandedRidge(BANDS, shrinkage=np.ones(3)).fit(X, Y).predict(X[:, :4])
    with pytest.raises(InputError, match="training features have 33 columns, test features 4"):
        hat_operator(X, X[:, :4], BANDS, np.ones((3, 6)))
    with pytest.raises(InputError, match="X_train has 1 values"):
        hat_operator(broken, X, BANDS, np.ones((3, 6)))
