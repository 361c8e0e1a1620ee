"""Runs become repeats of their conditions."""

import numpy as np
import pandas as pd
import pytest

from brainalign.design.conditions import condition_means
from brainalign.errors import InputError
from brainalign.signals import Signal

CLOCK = pd.DataFrame({"run": np.repeat(["1", "2"], 20), "time": np.tile(np.arange(20) * 2.0, 2)})


def blocks(order):
    """Two blocks of 10 s in each run."""
    return pd.DataFrame(
        {"run": ["1", "1", "2", "2"], "onset": [0.0, 20.0, 0.0, 20.0], "duration": 10.0, "trial_type": list(order)}
    )


def test_each_condition_is_averaged_over_its_samples_a_lag_later():
    brain = Signal(np.arange(40.0)[:, None], CLOCK, pd.DataFrame({"roi": ["FFA"]}))
    found = condition_means(brain, blocks("abba"), lag_s=4.0)
    assert found.samples.to_dict("list") == {
        "run": ["1", "1", "2", "2"],
        "time": [0.0, 20.0, 0.0, 20.0],
        "stimulus": ["a", "b", "b", "a"],
        "repeat": ["1", "1", "2", "2"],
    }
    np.testing.assert_allclose(found.values[:, 0], [4.0, 14.0, 24.0, 34.0])  # volumes 2–6, 12–16 of each run


def test_several_events_of_a_condition_and_events_of_none():
    brain = Signal(np.arange(40.0)[:, None], CLOCK, pd.DataFrame({"roi": ["FFA"]}))
    events = blocks("aaab")
    events.loc[3, "trial_type"] = None
    found = condition_means(brain, events, lag_s=0.0)
    np.testing.assert_allclose(found.values[:, 0], [7.0, 22.0])


def test_censored_samples_are_left_out():
    values = np.arange(40.0)[:, None]
    values[2] = np.nan
    brain = Signal(values, CLOCK.assign(use=np.arange(40) != 2), pd.DataFrame({"roi": ["FFA"]}))
    assert condition_means(brain, blocks("abba"), lag_s=4.0).values[0, 0] == np.mean([3, 4, 5, 6])


@pytest.mark.parametrize(
    ("events", "how", "message"),
    [
        (blocks("abba"), {"column": "trial"}, "events have no column 'trial'; did you mean 'trial_type'"),
        (blocks("abba").assign(run="3"), {}, "events in run 3, but the recording has run 1, 2"),
        (blocks("abba"), {"lag_s": 60.0}, "run 1: no sample falls into condition 'a' moved by 60 s"),
        (blocks("abba").assign(trial_type=None), {}, "no event names a condition in column 'trial_type'"),
    ],
)
def test_what_is_refused(events, how, message):
    brain = Signal(np.arange(40.0)[:, None], CLOCK, pd.DataFrame({"roi": ["FFA"]}))
    with pytest.raises(InputError, match=message):
        condition_means(brain, events, **how)
