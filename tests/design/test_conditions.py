"""Runs become repeats of their conditions."""

import numpy as np
import pandas as pd
import pytest

from brainalign.design.conditions import condition_means, label_conditions
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


def test_every_sample_is_labelled_by_the_condition_last_met():
    """Rounded to whole samples, across a run's border never, and before the first event by none."""
    brain = Signal(np.arange(40.0)[:, None], CLOCK, pd.DataFrame({"roi": ["FFA"]}))
    events = blocks("abba").assign(onset=[3.0, 20.9, 3.0, 21.0])
    samples = label_conditions(brain, events).samples
    for run, order in (("1", "ab"), ("2", "ba")):
        mine = samples[samples["run"] == run]
        assert mine["stimulus"].isna().tolist() == [True] * 2 + [False] * 18
        assert mine["stimulus"].dropna().tolist() == [order[0]] * 9 + [order[1]] * 9
        assert mine["stimulus_time"].dropna().tolist() == [2.0 * k for k in range(1, 10)] * 2
        assert mine["repeat"].dropna().unique().tolist() == [run]


def test_events_of_one_condition_are_a_block_and_blocks_are_told_apart():
    pictures = pd.DataFrame({"run": "1", "onset": [0.0, 2.0, 4.0, 20.0, 22.0], "duration": 1.0, "kind": list("aabaa")})
    brain = Signal(np.arange(40.0)[:, None], CLOCK, pd.DataFrame({"roi": ["FFA"]}))
    samples = label_conditions(brain, pictures, "kind").samples[:20]
    assert samples["stimulus"].tolist() == list("aa" + "b" * 8 + "a" * 10)
    assert samples["repeat"].tolist() == ["1.001"] * 10 + ["1.002"] * 10
    assert samples["stimulus_time"].tolist() == [0.0, 2.0, *np.arange(8) * 2.0, *np.arange(10) * 2.0]
    pictures["onset"] = [0.0, 8.0, 12.0, 20.0, 28.0]  # a pause between two of one condition
    assert label_conditions(brain, pictures, "kind").samples["repeat"][4] == "1.002"


def test_trials_have_a_condition_and_no_course():
    trials = blocks("abba")
    brain = Signal(np.arange(4.0)[:, None], trials[["run"]].assign(time=trials["onset"]), pd.DataFrame({"roi": ["V1"]}))
    samples = label_conditions(brain, trials).samples
    assert samples["stimulus"].tolist() == list("abba")
    assert "stimulus_time" not in samples


def test_labels_are_asked_of_the_runs_that_are_here():
    brain = Signal(np.arange(40.0)[:, None], CLOCK, pd.DataFrame({"roi": ["FFA"]}))
    second = brain.select(run="2")
    assert label_conditions(second, blocks("abba")).samples["stimulus"].tolist() == ["b"] * 10 + ["a"] * 10
    with pytest.raises(InputError, match="events in run 3, but the recording has run 1, 2"):
        label_conditions(brain, blocks("abba").assign(run="3"))
    with pytest.raises(InputError, match="did you mean 'trial_type'"):
        label_conditions(brain, blocks("abba"), "trial")
