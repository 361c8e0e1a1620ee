import copy
import pickle
import warnings

import himalaya.backend
import numpy as np
import pytest
from himalaya.kernel_ridge import KernelRidgeCV
from himalaya.scoring import r2_score
from sklearn.linear_model import Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from brainalign.errors import InputError, SettingsError
from brainalign.maths import line
from brainalign.maths.arrays import NotPositiveError
from brainalign.maths.dual import Dual
from brainalign.maths.folds import contiguous
from brainalign.maths.ridge import RidgeCV
from brainalign.maths.scores import r2
from brainalign.maths.simulate import simulate_bands

ALPHAS = np.logspace(-1, 5, 20)

REFUSED = {
    "check_sample_weight_equivalence_on_dense_data": "the second argument of fit is called Y, as in formulas",
    "check_dtype_object": "tables of objects are refused with our own message, not converted",
    "check_estimators_empty_data_messages": "our message for empty tables says what was found in our own words",
}


@parametrize_with_checks([RidgeCV(), RidgeCV(shared=True)], expected_failed_checks=lambda estimator: REFUSED)
def test_scikit_learn_can_use_it(estimator, check):
    check(estimator)


def simulate(n=120, p=30, t=6, seed=0, noise=2.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * rng.uniform(0.5, 2, p) + rng.standard_normal(p)
    signal = X @ rng.standard_normal((p, t)) / np.sqrt(p)
    return X, signal + noise * rng.uniform(0.3, 3, t) * rng.standard_normal((n, t)) + 5 * rng.standard_normal(t)


def refitted(X, Y, alpha, folds, weights=None):
    """Inner R² from one fit of scikit-learn per fold."""
    weights = np.ones(len(X)) if weights is None else weights
    error, total = 0, 0
    for train, test in folds:
        predicted = Ridge(alpha).fit(X[train], Y[train], weights[train]).predict(X[test])
        mean = np.average(Y[train], 0, weights[train])
        error = error + weights[test] @ (Y[test] - predicted) ** 2
        total = total + weights[test] @ (Y[test] - mean) ** 2
    return 1 - error / total


@pytest.mark.parametrize(("n", "p"), [(15, 8), (60, 200), (300, 20)])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("alpha", [1e-2, 30.0])
def test_a_single_alpha_is_scikit_learn_s_ridge(n, p, shared, alpha):
    X, Y = simulate(n, p)
    model, theirs = RidgeCV(alphas=alpha, shared=shared).fit(X, Y), Ridge(alpha).fit(X, Y)
    np.testing.assert_allclose(model.coef_, theirs.coef_.T, atol=1e-6)
    np.testing.assert_allclose(model.intercept_, theirs.intercept_, atol=1e-6)
    np.testing.assert_allclose(model.predict(X + 1), theirs.predict(X + 1), atol=1e-6)
    np.testing.assert_allclose(model.alpha_, alpha)
    np.testing.assert_allclose(model.shrinkage_, np.log10(alpha))
    np.testing.assert_allclose(model.cv_r2_, refitted(X, Y, alpha, contiguous(n, 5)), atol=1e-8)


@pytest.mark.parametrize(
    ("n", "p", "folds"),
    [(80, 100, 4), (80, 100, contiguous(80, 4, gap=5)), (300, 30, 5), (300, 30, contiguous(300, 5, gap=7))],
    ids=["dual", "dual, gap", "primal", "primal, gap"],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_choice_and_its_inner_score_are_those_of_refitting(n, p, folds, weighted):
    X, Y = simulate(n, p, t=5)
    weights = np.random.default_rng(1).integers(0, 3, n) * 1.5 if weighted else None
    cut = contiguous(n, folds) if isinstance(folds, int) else folds
    curve = np.array([refitted(X, Y, a, cut, weights) for a in ALPHAS])
    own = RidgeCV(ALPHAS, folds).fit(X, Y, weights)
    np.testing.assert_allclose(own.alphas_, ALPHAS[::-1])
    np.testing.assert_allclose(own.alpha_, ALPHAS[curve.argmax(0)])
    np.testing.assert_allclose(own.cv_r2_, curve.max(0), atol=1e-8)
    np.testing.assert_allclose(own.cv_curve_, curve[::-1], atol=1e-8)  # few targets: tried everywhere
    shared = RidgeCV(ALPHAS, folds, shared=True).fit(X, Y, weights)
    best = curve.mean(1).argmax()
    assert shared.alpha_ == pytest.approx(ALPHAS[best])
    assert isinstance(shared.alpha_, float)
    np.testing.assert_allclose(shared.cv_r2_, curve[best], atol=1e-8)
    tried = np.isfinite(shared.cv_curve_)
    assert 3 <= tried.sum() < 12
    np.testing.assert_allclose(shared.cv_curve_[tried], curve.mean(1)[::-1][tried], atol=1e-8)
    theirs = Ridge(shared.alpha_).fit(X, Y, weights)
    np.testing.assert_allclose(shared.predict(X), theirs.predict(X), atol=1e-6)


def test_himalaya_chooses_the_same():
    """Folds of equal size whose training means are the same: there its centring over all rows is ours."""
    rng = np.random.default_rng(0)
    x = np.tile(rng.standard_normal((20, 60)), (5, 1))
    Y = x @ rng.standard_normal((60, 40)) * rng.uniform(0, 0.2, 40)
    own = rng.standard_normal((5, 20, 40))
    Y += (own - own.mean(1, keepdims=True)).reshape(100, 40)
    assert himalaya.backend.get_backend().name == "numpy"
    theirs = KernelRidgeCV(alphas=ALPHAS, cv=contiguous(100, 5), fit_intercept=True, warn=False).fit(x, Y)
    ours = RidgeCV(ALPHAS).fit(x, Y)
    assert len(np.unique(ours.alpha_)) > 3
    np.testing.assert_allclose(ours.alpha_, theirs.best_alphas_)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), atol=1e-8)
    assert r2_score(Y, ours.predict(x)).mean() > 0


def full_grid(monkeypatch):
    downhill = line.descend
    monkeypatch.setattr(line, "descend", lambda *args, every, **kw: downhill(*args, every=True, **kw))


@pytest.mark.parametrize(
    ("n", "widths"), [(500, {"a": 400, "b": 200}), (400, {"a": 40, "b": 10})], ids=["dual", "primal"]
)
def test_going_downhill_ends_where_trying_everything_does(monkeypatch, n, widths):
    data = simulate_bands(n + 300, widths, 1500, seed=1)
    X, Y, mean = data.X, data.Y, data.Y[:n].mean(0)
    few = [RidgeCV(shared=shared).fit(X[:n], Y[:n]) for shared in (False, True)]
    full_grid(monkeypatch)
    all_of_them = [RidgeCV(shared=shared).fit(X[:n], Y[:n]) for shared in (False, True)]
    assert np.isfinite(few[0].cv_curve_).sum(0).mean() < 5.5
    assert np.isfinite(few[1].cv_curve_).sum() < 10
    assert np.isfinite(all_of_them[0].cv_curve_).all()
    assert np.isfinite(all_of_them[1].cv_curve_).all()
    assert (few[0].alpha_ == all_of_them[0].alpha_).mean() > 0.985
    assert few[1].alpha_ == all_of_them[1].alpha_
    held = [r2(Y[n:], models[0].predict(X[n:]), mean) for models in (few, all_of_them)]
    assert abs(np.mean(held[0] - held[1])) < 1e-4
    assert np.mean(all_of_them[0].cv_r2_ - few[0].cv_r2_) < 2e-5


def test_errors_summed_before_or_after_are_the_same():
    """More targets than samples: one matrix stands for all; fewer: each by itself. The same choice, the same curve."""
    X, Y = simulate(60, 90, t=200)
    model = RidgeCV(ALPHAS, shared=True).fit(X, Y)
    assert model.method_ == "dual"
    curve = np.array([refitted(X, Y, a, contiguous(60, 5)).mean() for a in ALPHAS[::-1]])
    tried = np.isfinite(model.cv_curve_)
    np.testing.assert_allclose(model.cv_curve_[tried], curve[tried], atol=1e-8)
    assert model.alpha_ == pytest.approx(ALPHAS[::-1][curve.argmax()])


@pytest.mark.parametrize("p", [90, 15], ids=["dual", "primal"])
@pytest.mark.parametrize("shared", [False, True])
def test_batches_of_targets_change_nothing(p, shared, tmp_path):
    n, t = 400, 1100
    X, Y = (a.astype(np.float32) for a in simulate(n, p * (1 if p < 50 else 9), t=t))
    np.save(tmp_path / "Y.npy", Y)
    mapped = np.load(tmp_path / "Y.npy", mmap_mode="r")
    whole = RidgeCV(shared=shared, n_jobs=2).fit(X, Y)
    memory = 8_000_000 if p > 50 else 2_200_000
    parts = RidgeCV(shared=shared, memory=memory, n_jobs=1).fit(X, mapped)
    assert parts._batch < t
    np.testing.assert_allclose(parts.cv_r2_, whole.cv_r2_, atol=1e-5)
    same = np.isclose(parts.alpha_, whole.alpha_)
    assert same.mean() > 0.98  # the guess of one batch may begin elsewhere
    np.testing.assert_allclose(parts.predict(X)[:, same | shared], whole.predict(X)[:, same | shared], atol=1e-3)


def test_units_of_targets_do_not_count():
    X, Y = simulate(t=40)
    scale = np.logspace(-3, 3, 40)
    assert RidgeCV(shared=True).fit(X, Y * scale).alpha_ == RidgeCV(shared=True).fit(X, Y).alpha_
    assert RidgeCV(shared=True).fit(X, np.c_[Y, np.full(120, 3.0)]).alpha_ == RidgeCV(shared=True).fit(X, Y).alpha_


def test_default_alphas_follow_the_features_power():
    X, Y = simulate()
    one, other = RidgeCV().fit(X, Y), RidgeCV().fit(100 * X, Y)
    power = ((X - X.mean(0)) ** 2).sum() / len(X)
    np.testing.assert_allclose(one.alphas_, power / np.logspace(-3, 1.5, 20))
    np.testing.assert_allclose(other.alpha_, 1e4 * one.alpha_)
    np.testing.assert_allclose(RidgeCV().fit(X, Y, np.full(120, 7.0)).alpha_, 7 * one.alpha_)


def test_pure_noise_is_shrunk_most():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((200, 300)), rng.standard_normal((200, 400))
    model = RidgeCV().fit(X, Y)
    assert (model.alpha_ == model.alphas_[0]).mean() > 0.3
    assert RidgeCV(shared=True).fit(X, Y).alpha_ == model.alphas_[0]
    assert np.abs(model.cv_r2_).mean() < 0.02


@pytest.mark.parametrize("how", [{}, {"shared": True}, {"fractions": [0.3, 1.0]}], ids=str)
@pytest.mark.parametrize(("n", "p"), [(12, 3), (12, 500), (300, 20)])
def test_constant_targets_and_columns(how, n, p):
    X, Y = simulate(n, p, t=4)
    X[:, 1], Y[:, 2] = 0.1, 0.3
    model = RidgeCV(folds=3, **how).fit(X, Y)
    assert not model.coef_[1].any()
    assert not model.coef_[:, 2].any()
    np.testing.assert_allclose(model.predict(X)[:, 2], 0.3)
    np.testing.assert_array_equal(np.isnan(model.cv_r2_), [False, False, True, False])
    nothing = RidgeCV(folds=3, **how).fit(np.full_like(X, 7.0), Y)
    assert not nothing.coef_.any()
    np.testing.assert_allclose(nothing.cv_r2_[:2], 0, atol=1e-12)
    np.testing.assert_allclose(nothing.predict(X), np.tile(Y.mean(0), (n, 1)))


def test_a_constant_target_takes_the_largest_alpha():
    X, Y = simulate()
    Y[:, 1] = 2.0
    model = RidgeCV(ALPHAS).fit(X, Y)
    assert model.alpha_[1] == ALPHAS[-1]
    halves = RidgeCV(fractions=[0.5, 1]).fit(X, Y)
    assert halves.fraction_[1] == 0.5
    assert halves.alpha_[1] == np.inf


@pytest.mark.parametrize("how", [{"shared": True}, {"shared": True, "fractions": [0.3, 1.0]}], ids=str)
def test_nothing_but_constant_targets(how):
    X, _ = simulate()
    model = RidgeCV(**how).fit(X, np.ones((120, 2)))
    assert np.isnan(model.cv_r2_).all()
    assert np.isnan(model.cv_curve_).all()
    np.testing.assert_array_equal(model.predict(X), 1)


@pytest.mark.parametrize("t", [3, 50], ids=["few", "many"])
@pytest.mark.parametrize("shared", [False, True])
def test_alphas_that_cannot_be_judged_are_not_taken(monkeypatch, shared, t):
    X, Y = simulate(30, 200, t=t)
    whole = RidgeCV(ALPHAS, shared=shared).fit(X, Y)
    floor = np.min(whole.alpha_) * 1.1  # the best of some targets cannot be judged
    power = ((X - X.mean(0)) ** 2).sum() / 30
    judge = Dual.judge

    def fails(self, gains):
        if power / gains[0] < floor:
            raise NotPositiveError
        return judge(self, gains)

    monkeypatch.setattr(Dual, "judge", fails)
    model = RidgeCV(ALPHAS, shared=shared).fit(X, Y)
    assert np.min(model.alpha_) >= floor
    assert np.isfinite(model.cv_r2_).all()
    lost = RidgeCV(ALPHAS[floor > ALPHAS], shared=shared).fit(X, Y)
    assert np.isnan(lost.cv_r2_).all()
    assert (lost.alpha_ == lost.alphas_[0]).all() if not shared else lost.alpha_ == lost.alphas_[0]


def test_tiny_alphas_are_least_squares():
    X, Y = simulate(30, 200)
    model = RidgeCV([1e-15, 1e-14]).fit(X, Y)
    np.testing.assert_allclose(model.predict(X), Y, atol=1e-6)
    with np.errstate(invalid="ignore"):
        assert (np.isnan(model.cv_r2_) | (np.abs(model.cv_r2_ - refitted(X, Y, 1e-7, contiguous(30, 5))) < 1e-5)).all()


def test_repeated_samples_are_fitted_once():
    X, Y = simulate(40, 60, t=5)
    X = np.repeat(X, 3, 0)
    Y = np.repeat(Y, 3, 0) + np.random.default_rng(1).standard_normal((120, 5))
    for shared in (False, True):
        model = RidgeCV(ALPHAS, shared=shared).fit(X, Y)
        assert model.method_ == "low-rank"
        curve = np.array([refitted(X, Y, a, contiguous(120, 5)) for a in ALPHAS])
        best = curve.mean(1).argmax() if shared else curve.argmax(0)
        np.testing.assert_allclose(model.alpha_, ALPHAS[best])
        np.testing.assert_allclose(model.cv_r2_, curve[best] if shared else curve.max(0), atol=1e-8)


def test_torch_agrees():
    pytest.importorskip("torch")
    X, Y = simulate(70, 90, t=100)
    for shared in (False, True):
        ours, theirs = (RidgeCV(ALPHAS, shared=shared, device=at).fit(X, Y) for at in ("cpu", "torch:cpu"))
        np.testing.assert_allclose(theirs.alpha_, ours.alpha_)
        np.testing.assert_allclose(theirs.predict(X), ours.predict(X), atol=1e-8)


@pytest.mark.parametrize("how", [{}, {"shared": True}, {"fractions": [0.2, 0.6]}], ids=str)
def test_parts_duals_and_copies(how):
    X, Y = simulate(50, 80, t=4)
    model = RidgeCV(**how).fit(X, Y)
    predicted = model.predict(X + 0.5)
    np.testing.assert_allclose(model.predict(X + 0.5, split=True)[0] + model.intercept_, predicted, atol=1e-9)
    np.testing.assert_allclose((X - X.mean(0)).T @ model.dual_coef_[0], model.coef_, atol=1e-9)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_allclose(other.predict(X + 0.5), predicted, atol=1e-9)


@pytest.mark.parametrize("how", [{}, {"shared": True}, {"fractions": [0.2, 0.6]}], ids=str)
def test_progress_ends_at_its_total(how):
    told = []
    RidgeCV(**how).fit(*simulate(), progress=lambda *args: told.append(args))
    assert [done for done, *_ in told] == sorted(done for done, *_ in told)
    assert told[-1][0] == told[-1][1]


def test_an_interruption_leaves_finished_batches():
    X, Y = (a.astype(np.float32) for a in simulate(400, 15, t=1100))

    def stop(done, total, what):
        if done > 0.6 * total:
            raise KeyboardInterrupt

    model = RidgeCV(memory=2_200_000, n_jobs=1)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, progress=stop)
    assert 0 < model.done_.sum() < 1100
    np.testing.assert_array_equal(np.isnan(model.alpha_), ~model.done_)
    np.testing.assert_array_equal(np.isnan(model.predict(X)[0]), ~model.done_)
    whole = RidgeCV().fit(X, Y)
    np.testing.assert_allclose(model.cv_r2_[model.done_], whole.cv_r2_[model.done_], atol=1e-4)


def test_another_fit_forgets_the_first():
    X, Y = simulate()
    model = RidgeCV(fractions=[0.5]).fit(X, Y)
    model.set_params(fractions=None).fit(X, Y)
    assert not hasattr(model, "fraction_")
    np.testing.assert_array_equal(model.predict(X), RidgeCV().fit(X, Y).predict(X))


# fractional ridge


def length(coef):
    return np.linalg.norm(coef, axis=0)


@pytest.mark.parametrize(("n", "p"), [(60, 20), (30, 100)], ids=["tall", "wide"])
@pytest.mark.parametrize("weighted", [False, True])
def test_weights_are_as_long_as_was_asked(n, p, weighted):
    X, Y = simulate(n, p)
    weights = np.random.default_rng(1).integers(0, 4, n).astype(float) if weighted else np.ones(n)
    root = np.sqrt(weights)[:, None]
    full = np.linalg.lstsq(root * (X - np.average(X, 0, weights)), root * (Y - np.average(Y, 0, weights)), rcond=1e-12)[
        0
    ]
    for fraction in (0.02, 0.3, 0.95, 1.0):
        model = RidgeCV(fractions=fraction).fit(X, Y, weights)
        np.testing.assert_allclose(length(model.coef_) / length(full), fraction, rtol=2e-6)
        np.testing.assert_array_equal(model.fraction_, fraction)
        if fraction < 1:
            by_alpha = np.stack([Ridge(a).fit(X, y, weights).coef_ for a, y in zip(model.alpha_, Y.T, strict=True)], 1)
            np.testing.assert_allclose(model.coef_, by_alpha, atol=1e-6)
        else:
            np.testing.assert_allclose(model.coef_, full, atol=1e-8)


def test_the_chosen_fraction_is_that_of_refitting():
    X, Y = simulate(100, 30, t=12)
    Y[:, 6:] += 10 * np.random.default_rng(2).standard_normal((100, 6))
    fractions = np.linspace(0.1, 1, 10)
    error, total = 0, 0
    for train, test in contiguous(100, 5):
        each = [RidgeCV(fractions=f, folds=2).fit(X[train], Y[train]).predict(X[test]) for f in fractions]
        error = error + ((Y[test] - np.array(each)) ** 2).sum(1)
        total = total + ((Y[test] - Y[train].mean(0)) ** 2).sum(0)
    curve = 1 - error / total
    model = RidgeCV(fractions=fractions[::-1]).fit(X, Y)
    np.testing.assert_allclose(model.cv_curve_, curve, atol=1e-8)
    np.testing.assert_allclose(model.fraction_, fractions[curve.argmax(0)])
    np.testing.assert_allclose(model.cv_r2_, curve.max(0), atol=1e-8)
    assert len(np.unique(model.fraction_)) > 2
    shared = RidgeCV(fractions=fractions, shared=True).fit(X, Y)
    assert shared.fraction_ == pytest.approx(fractions[curve.mean(1).argmax()])
    assert shared.alpha_.shape == (12,)
    np.testing.assert_allclose(shared.cv_curve_, curve.mean(1), atol=1e-8)


def test_fracridge_agrees():
    """Its interpolation is linear on a coarser grid: weights agree to 2 % of their length, ours being exact."""
    fracridge = pytest.importorskip("fracridge").fracridge
    X, Y = simulate(80, 20)
    fractions = np.linspace(0.1, 1, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, _ = fracridge(X - X.mean(0), Y - Y.mean(0), fractions, jit=False)
    for at, fraction in enumerate(fractions):
        ours = RidgeCV(fractions=fraction).fit(X, Y).coef_
        assert (length(ours - theirs[:, at]) < 0.02 * length(theirs[:, at])).all()


def test_what_fit_refuses():
    X, Y = simulate()
    cases = [
        ({"alphas": [1.0], "fractions": [0.5]}, SettingsError, "both alphas and fractions are given.* leave one out"),
        ({"alphas": []}, SettingsError, r"alphas are finite numbers above 0, one or several in a row; found \[\]"),
        ({"alphas": [1.0, 0.0]}, SettingsError, r"alphas are finite .* found \[1.0, 0.0\]"),
        ({"alphas": [np.inf]}, SettingsError, "alphas are finite"),
        ({"alphas": "many"}, SettingsError, "found 'many'"),
        ({"alphas": np.ones((2, 2))}, SettingsError, "in a row; found array"),
        ({"alphas": [-1.0] * 100}, SettingsError, r"found \[-1.0, .*\.\.\.$"),
        ({"fractions": [0.0, 0.5]}, SettingsError, r"above 0 and at most 1; found \[0.0, 0.5\]"),
        ({"fractions": [1.1]}, SettingsError, r"at most 1; found \[1.1\]"),
        ({"fractions": [np.nan]}, SettingsError, r"at most 1; found \[nan\]"),
        ({"fractions": [0.5], "device": "cuda"}, SettingsError, "on the CPU; found device='cuda': leave device out"),
        (
            {"fractions": [0.5], "memory": 1000},
            SettingsError,
            "memory=1000 is too little to decompose 120 samples × 30",
        ),
        ({"memory": 1000}, SettingsError, "too little for 120 samples"),
        ({"folds": 1}, SettingsError, "1 folds of 120 samples"),
    ]
    for settings, error, message in cases:
        with pytest.raises(error, match=message):
            RidgeCV(**settings).fit(X, Y)
    X[3, 4] = np.nan
    with pytest.raises(InputError, match=r"X has 1 values that are not finite .* row 3, column 4"):
        RidgeCV().fit(X, Y)
