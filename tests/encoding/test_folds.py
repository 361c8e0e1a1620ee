"""Fold rules: what may teach never touches what is asked."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainalign.encoding.folds import ByGroup, by_run, by_stimulus, contiguous, drawn, hold_out
from brainalign.errors import InputError, SettingsError


def runs(*lengths: int, tr: float = 2.0) -> pd.DataFrame:
    parts = [pd.DataFrame({"run": str(k + 1), "time": np.arange(n) * tr}) for k, n in enumerate(lengths)]
    return pd.concat(parts, ignore_index=True)


@given(st.integers(2, 6), st.floats(0, 30), st.lists(st.integers(20, 60), min_size=1, max_size=3))
def test_contiguous_keeps_its_distance_and_asks_every_sample_once(n, gap_s, lengths):
    samples = runs(*lengths)
    try:
        folds = contiguous(n, gap_s)(samples)
    except SettingsError:
        return  # a gap that leaves nothing to train on is refused, tested below
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(samples)))
    for train, test in folds:
        for name in samples["run"].unique():
            a = samples["time"].to_numpy()[train][samples["run"].to_numpy()[train] == name]
            b = samples["time"].to_numpy()[test][samples["run"].to_numpy()[test] == name]
            if len(a) and len(b):
                assert np.abs(a[:, None] - b[None, :]).min() > gap_s


def test_the_gap_stops_at_the_border_of_a_run():
    train, test = contiguous(2, gap_s=10)(runs(10, 10))[0]
    assert test.tolist() == list(range(10))
    assert train.tolist() == list(range(10, 20))  # run 2 starts anew: nothing to keep away from


def test_a_gap_that_leaves_nothing():
    with pytest.raises(SettingsError, match="fold 1 of 2 leaves no training samples with a gap of 100 s"):
        contiguous(2, gap_s=100)(runs(20))


def test_whole_runs():
    folds = by_run(runs(5, 6, 7))
    assert [len(test) for _, test in folds] == [5, 6, 7]
    with pytest.raises(SettingsError, match=r"need at least two of them; found one \(1\): use contiguous folds"):
        by_run(runs(10))
    with pytest.raises(SettingsError, match="folds by 'stimulus': the samples have no such column"):
        by_stimulus(runs(10))
    assert len(ByGroup("run", 2)(runs(5, 5, 5, 5))) == 2


def test_the_inner_loop_follows_the_outer_rule():
    samples = runs(30, 30, 30)
    train, _ = by_run(samples)[0]
    inner = by_run.inner(5)(samples.iloc[train])
    for a, b in inner:
        assert not set(samples["run"].iloc[train].iloc[a]) & set(samples["run"].iloc[train].iloc[b])
    one_left = by_run.inner(3)(runs(60))  # a single run is left: contiguous blocks with a gap
    assert len(one_left) == 3
    assert all(len(a) + len(b) < 60 for a, b in one_left)
    a, b = contiguous(6, gap_s=16).inner(5)(samples.iloc[train])[2]
    assert len(b) == 12


def test_one_untouched_test_set():
    samples = runs(5, 6, 7)
    ((train, test),) = hold_out(run=["2"])(samples)
    assert set(samples["run"].iloc[test]) == {"2"}
    assert len(train) == 12
    with pytest.raises(SettingsError, match="hold_out: no run '9'; known: '1', '2', '3'"):
        hold_out(run=["9"])(samples)
    with pytest.raises(SettingsError, match="nothing is left to train on"):
        hold_out(run=["1", "2", "3"])(samples)
    with pytest.raises(SettingsError, match="needs to know what"):
        hold_out()
    with pytest.raises(SettingsError, match="hold_out by 'rum': the samples have no such column; did you mean 'run'"):
        hold_out(rum=["1"])(samples)


def test_repeats_stay_on_one_side():
    samples = runs(4, 4).assign(stimulus=list("abcdabcd"), repeat=[1] * 4 + [2] * 4)
    with pytest.raises(InputError, match="fold 1: 4 stimuli are on both sides, the first 'a'"):
        by_run(samples)
    assert len(by_stimulus(samples)) == 4


def test_drawn_tells_every_role():
    samples = runs(20)
    table = drawn(contiguous(2, gap_s=4)(samples), samples)
    for _, rows in table.groupby("fold"):
        assert rows["role"].value_counts().to_dict() == {"test": 10, "train": 8, "gap": 2}


def test_rules_say_what_they_do():
    assert str(contiguous(6, 16)) == "6 contiguous folds, 16 s left out on both sides"
    assert str(by_run) == "one run left out at a time"
    assert str(hold_out(run=["2"])) == "held out once: run 2"
