"""More training brings more, on the same test samples; where the curve goes is a guess with a name."""

import numpy as np
import pandas as pd
import pytest

from brainalign.encoding.folds import contiguous
from brainalign.encoding.learning import carried_on, learning_curve, shortened
from brainalign.errors import SettingsError
from brainalign.signals import Signal


def recording(n_runs=4, length=150, width=60, targets=20, seed=0):
    rng = np.random.default_rng(seed)
    n = n_runs * length
    samples = pd.DataFrame(
        {"run": np.repeat([str(k) for k in range(n_runs)], length), "time": np.tile(np.arange(length) * 2.0, n_runs)}
    )
    weights = np.random.default_rng(99).standard_normal((width, targets))
    x = rng.standard_normal((n, width))
    y = x @ weights / np.sqrt(width) + 1.5 * rng.standard_normal((n, targets))
    columns = pd.DataFrame({"roi": [f"r{k}" for k in range(targets)]})
    return Signal(x, samples, pd.DataFrame({"band": ["lm"] * width})), Signal(y, samples, columns)


def test_the_curve_rises_and_is_carried_on_to_about_where_it_goes():
    X, Y = recording(n_runs=8)
    short = [s.select(run=["0", "1", "2", "3"]) for s in (X, Y)]
    curve = learning_curve(*short, shares=(0.25, 0.5, 0.75, 1.0))
    seen = curve[~curve["extrapolated"]]
    assert (np.diff(seen["r"]) > 0).all()
    np.testing.assert_allclose(seen["minutes"], np.array([0.25, 0.5, 0.75, 1.0]) * 450 * 2 / 60, rtol=0.01)
    assert (seen["low"] <= seen["r"]).all()
    assert (seen["r"] <= seen["high"]).all()
    more = learning_curve(X, Y, shares=(0.5, 1.0), ahead=1.0)  # seven runs of training instead of three
    truth = np.interp(curve["minutes"].iloc[-1], more["minutes"], more["r"])
    assert abs(curve["r"].iloc[-1] - truth) < 0.05


def test_a_share_is_a_stretch_of_the_same_folds():
    _, Y = recording()
    whole = contiguous(4, gap_s=16)(Y)
    for start in (0.0, 1.0):
        for (train, test), (few, same) in zip(whole, shortened(whole, 0.5, start), strict=True):
            np.testing.assert_array_equal(test, same)
            assert len(few) == round(len(train) / 2)
            first = 0 if start == 0 else len(train) - len(few)
            np.testing.assert_array_equal(few, train[first : first + len(few)])


def test_splits_given_number_all_samples_though_some_are_censored():
    X, Y = recording(n_runs=2)
    use = np.arange(300) >= 20
    Y = Signal(Y.values, Y.samples.assign(use=use), Y.columns)
    curve = learning_curve(X, Y, folds=[(np.arange(150), np.arange(150, 300))], shares=(0.5, 1.0), draws=1, ahead=1.0)
    np.testing.assert_allclose(curve["minutes"], np.array([65, 130]) * 2 / 60)


def test_what_does_not_grow_is_not_carried_on():
    minutes = np.array([5.0, 10.0])
    assert np.isnan(carried_on(minutes, np.array([0.2, 0.1]), 20))
    assert np.isnan(carried_on(minutes, np.array([-0.1, 0.1]), 20))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"shares": (0.5,)}, r"two or more numbers above 0 and up to 1; found \[0.5\]"),
        ({"shares": (0.5, 1.5)}, r"two or more numbers above 0 and up to 1"),
        ({"draws": 0}, "draws is a number of stretches, at least 1; found 0"),
        ({"ahead": 0.5}, "ahead is 1 or more times what was seen; found 0.5"),
    ],
)
def test_what_is_refused(how, message):
    with pytest.raises(SettingsError, match=message):
        learning_curve(*recording(), **how)
