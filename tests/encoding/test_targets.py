"""Targets are chosen by name, or by samples that are not scored."""

import numpy as np
import pandas as pd
import pytest

from brainalign.encoding.targets import choose_targets
from brainalign.errors import InputError, SettingsError
from brainalign.signals import Signal, average_people


def recording(n=300, seed=0):
    """Ten targets that repeat and ten that do not, every stimulus met twice in each of two sessions."""
    rng = np.random.default_rng(seed)
    shown = np.tile(np.arange(n // 2), 4)
    signal = rng.standard_normal((n // 2, 10))
    values = np.concatenate(
        [signal[shown] + rng.standard_normal((2 * n, 10)), rng.standard_normal((2 * n, 10))], axis=1
    )
    samples = pd.DataFrame(
        {
            "run": np.repeat(["1", "2"], n),
            "time": np.tile(np.arange(n) * 4.0, 2),
            "stimulus": shown,
            "repeat": np.repeat([1, 2, 3, 4], n // 2),
        }
    )
    return Signal(values, samples, pd.DataFrame({"roi": ["V4"] * 10 + ["out"] * 10, "unit": range(20)}))


def test_by_name():
    brain = recording()
    chosen = choose_targets(brain, where={"roi": ["V4"]})
    assert str(chosen) == "roi V4: 10 of 20 targets"
    assert chosen.of(brain).shape == (600, 10)


def test_by_reliability_of_other_samples():
    brain = recording()
    chosen = choose_targets(brain, reliability=0.2, aside={"run": ["1"]})
    assert chosen.columns[:10].all()
    assert not chosen.columns[10:].any()
    left = chosen.of(brain)
    assert left.runs == ["2"]
    assert str(chosen) == (
        "reliability of one presentation at least 0.2 in run 1 (150 stimuli met 2 times), which is not scored: "
        "10 of 20 targets"
    )
    other = brain.array().copy()
    other[300:] = np.random.default_rng(5).standard_normal((300, 20))
    again = choose_targets(Signal(other, brain.samples, brain.columns), reliability=0.2, aside={"run": ["1"]})
    np.testing.assert_array_equal(again.columns, chosen.columns)  # what is scored has no say


def test_people_are_chosen_with_their_mean():
    rng = np.random.default_rng(0)
    columns = pd.DataFrame({"subject": np.repeat(["1", "2", "3"], 2), "roi": ["LATL", "LIFG"] * 3})
    samples = pd.DataFrame({"run": "1", "time": np.arange(10.0)})
    mean = average_people(Signal(rng.standard_normal((10, 6)), samples, columns))
    left = choose_targets(mean, where={"roi": ["LIFG"]}).of(mean)
    assert left.shape == (10, 1)
    assert left.related["people"].columns["roi"].tolist() == ["LIFG"] * 3


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"where": {"rio": ["V4"]}}, SettingsError, "the columns have no column 'rio'; did you mean 'roi'"),
        ({"where": {"roi": ["V5"]}}, SettingsError, "targets: no roi 'V5'; known: 'V4', 'out'"),
        ({"reliability": 0.2}, SettingsError, "need samples that are not scored"),
        ({"reliability": 0.2, "aside": {"run": ["1", "2"]}}, SettingsError, "names every sample"),
        (
            {"reliability": 0.2, "aside": {"repeat": ["1"]}},
            InputError,
            "nothing is met twice in the samples of targets.aside",
        ),
        ({"reliability": 0.99, "aside": {"run": ["1"]}}, InputError, "no target is left by reliability"),
    ],
)
def test_choices_that_cannot_be(how, error, message):
    with pytest.raises(error, match=message):
        choose_targets(recording(), **how)
