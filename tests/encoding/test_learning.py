"""More training brings more, on the same test samples; where the curve goes is a guess with a name."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from brainalign.encoding.ceilings import none
from brainalign.encoding.chance import Chance
from brainalign.encoding.encode import encode
from brainalign.encoding.folds import by_group, contiguous
from brainalign.encoding.learning import Repeats, _tested, carried_on, learning_curve, shortened
from brainalign.errors import InputError, SettingsError
from brainalign.signals import Signal, average_people, average_repeats


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


def met_again(repeats=6, stimuli=200, width=20, targets=12, noise=3.0, seed=0, uneven=False):
    """Isolated stimuli shown several times, 4 s apart; the noise of each presentation is its own."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((stimuli, width))
    signal = x @ rng.standard_normal((width, targets)) / np.sqrt(width)
    order = np.concatenate([rng.permutation(stimuli) for _ in range(repeats)])
    times = np.repeat(np.arange(repeats), stimuli)
    if uneven:
        kept = ~((times > 1) & (order < 50))
        order, times = order[kept], times[kept]
    samples = pd.DataFrame({"run": "1", "time": np.arange(len(order)) * 4.0, "stimulus": order, "repeat": times})
    X = Signal(x[order], samples, pd.DataFrame({"band": ["lm"] * width}))
    y = signal[order] + noise * rng.standard_normal((len(order), targets))
    return X, Signal(y, samples, pd.DataFrame({"roi": [f"r{k}" for k in range(targets)]}))


def expected(k, most, noise, train, width):
    """r of least squares, signal variance 1: weights err by noise²/k · p/(n − p − 1), the test mean by noise²/most."""
    return np.sqrt(1 / (1 + noise**2 / k * width / (train - width - 1)) / (1 + noise**2 / most))


def test_over_repeats_r_grows_as_reliability_says():
    X, Y = met_again()
    curve = learning_curve(X, Y, folds=by_group("stimulus", 4), over="repeats", shares=(1 / 6, 0.5, 1.0), inner=3)
    assert curve["repeats"].tolist() == [1, 3, 6, 12]
    assert curve["extrapolated"].tolist() == [False, False, False, True]
    np.testing.assert_allclose(curve["r"][:3], expected(np.array([1, 3, 6]), 6, 3.0, 150, 20), atol=0.06)
    assert abs(curve["r"][3] - expected(12, 6, 3.0, 150, 20)) < 0.06
    np.testing.assert_allclose(
        np.diff(curve["r"][:3]), np.diff(expected(np.array([1, 3, 6]), 6, 3.0, 150, 20)), atol=0.03
    )


def test_stimuli_met_unequally_often_give_what_they_have():
    X, Y = met_again(repeats=4, uneven=True)
    how = {"folds": by_group("stimulus", 4), "over": "repeats", "draws": 1, "inner": 3, "ahead": 1.0}
    curve = learning_curve(X, Y, shares=(0.25, 1.0), **how)
    np.testing.assert_allclose(curve["repeats"], [1, 0.25 * 2 + 0.75 * 4])


def test_all_repeats_are_the_average_itself():
    X, Y = met_again(repeats=3, stimuli=100)
    rule = by_group("stimulus", 4)
    curve = learning_curve(X, Y, folds=rule, over="repeats", shares=(0.3, 1.0), draws=1, ahead=1.0)
    mean_x, mean_y = average_repeats(X), average_repeats(Y)
    whole = encode(mean_x, mean_y, folds=rule, ceiling=none, chance=Chance(0, 0), weights=False)
    assert curve["r"].iloc[-1] == pytest.approx(
        whole.scores["r"].mean(), abs=0.01
    )  # penalties' points are drawn by fold


def test_runs_of_the_same_story_are_averaged_moment_by_moment():
    rng = np.random.default_rng(0)
    moments, runs = np.arange(80) * 2.0, ["1", "2", "3", "4", "5", "6"]
    story = np.repeat(["a", "b", "a", "b", "a", "b"], 80)
    x = {name: rng.standard_normal((80, 12)) for name in "ab"}
    weights = rng.standard_normal((12, 60)) / np.sqrt(12)
    values = np.concatenate([x[name] for name in "ababab"])
    clock = {"run": np.repeat(runs, 80), "time": np.tile(moments, 6)}
    samples = pd.DataFrame(clock | {"stimulus": story, "stimulus_time": np.tile(moments, 6)})
    X = Signal(values, samples, pd.DataFrame({"band": ["lm"] * 12}))
    y = values @ weights + 4 * rng.standard_normal((480, 60))
    Y = Signal(y, samples, pd.DataFrame({"roi": [f"r{k}" for k in range(60)]}))
    curve = learning_curve(X, Y, over="repeats", shares=(1 / 3, 1.0), ahead=1.0, draws=3)
    assert curve["repeats"].tolist() == [1, 3]
    np.testing.assert_allclose(curve["r"], expected(np.array([1, 3]), 3, 4.0, 80, 12), atol=0.06)
    assert curve["r"][1] > curve["high"][0] + 0.03
    assert curve["low"][0] < curve["high"][0]


def crowd_of(n=8, noise=4.0, seed=0):
    """People whose responses share a signal; columns person by person."""
    X, Y = recording(n_runs=4, length=60, width=12, targets=8, seed=seed)
    rng = np.random.default_rng(seed)
    signal = X.values @ np.random.default_rng(99).standard_normal((12, 8)) / np.sqrt(12)
    values = np.concatenate([signal + noise * rng.standard_normal(signal.shape) for _ in range(n)], axis=1)
    columns = pd.DataFrame(
        {"subject": np.repeat([f"{k:02}" for k in range(n)], 8), "roi": Y.columns["roi"].tolist() * n}
    )
    return X, average_people(Signal(values, Y.samples, columns))


def test_over_people_r_grows_as_reliability_says():
    X, Y = crowd_of()
    curve = learning_curve(X, Y, over="people", shares=(0.125, 0.5, 1.0), draws=3)
    assert curve["people"].tolist() == [1, 4, 8, 16]
    truth = expected(np.array([1, 4, 8, 16]), 8, 4.0, 180, 12)
    np.testing.assert_allclose(curve["r"], truth, atol=0.08)
    np.testing.assert_allclose(np.diff(curve["r"][:3]), np.diff(truth[:3]), atol=0.05)
    again = learning_curve(X, Y, over="people", shares=(0.125, 0.5, 1.0), draws=3)
    pd.testing.assert_frame_equal(again, curve)
    other = learning_curve(X, Y, over="people", shares=(0.125, 1.0), draws=3, seed=1)
    assert other["r"][0] != curve["r"][0]


def test_what_is_tested_never_trains():
    """Test responses are the mean of all: poisoning them changes no prediction of that fold."""
    X, Y = met_again(repeats=2, stimuli=60, width=4)
    several = Repeats.of(X, Y)
    pair = (np.arange(40), np.arange(40, 60))
    some = several.some(1, np.random.default_rng(0))
    values = several.Y.array().copy()
    values[40:] = 1e3 * np.random.default_rng(1).standard_normal(values[40:].shape)
    poisoned = replace(several, Y=replace(several.Y, values=values))
    before, after = (_tested(one, pair, some, by_group("stimulus"), {"seed": 0}) for one in (several, poisoned))
    np.testing.assert_array_equal(before[1], after[1])
    assert not np.array_equal(before[0], after[0])


def test_curves_over_what_is_not_there_are_refused():
    X, Y = recording()
    with pytest.raises(InputError, match=r"a curve over people needs a recording that is their mean: average_people"):
        learning_curve(X, Y, over="people")
    with pytest.raises(
        InputError, match="a curve over repeats needs stimuli met several times: samples with `stimulus`"
    ):
        learning_curve(X, Y, over="repeats")
    with pytest.raises(
        SettingsError, match="a learning curve goes over something else than 'peopl'; did you mean 'people'"
    ):
        learning_curve(X, Y, over="peopl")
    X, Y = crowd_of(n=3)
    with pytest.raises(InputError, match="the recording's columns are not those of its people: select both alike"):
        learning_curve(X, Y.select(columns=[0, 2]), over="people")
