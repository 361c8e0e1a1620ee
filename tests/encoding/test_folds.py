"""Fold rules: what may teach never touches what is asked."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, KFold, LeaveOneGroupOut

from brainalign.encoding.courses import is_series, place_in_course, told_together
from brainalign.encoding.folds import (
    ByGroup,
    GroupsElseContiguous,
    as_rule,
    beside,
    by_group,
    by_run,
    by_session,
    by_stimulus,
    contiguous,
    drawn,
    folds_in_use,
    hold_out,
    shuffled,
    splits_of,
    warnings_of,
)
from brainalign.errors import InputError, SettingsError
from brainalign.signals import Signal


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
    mixed = samples.assign(stimulus=list("abcdbadc"))
    with pytest.raises(InputError, match="fold 1: 4 stimuli are on both sides"):
        contiguous(2, gap_s=0)(mixed)
    assert len(by_stimulus(apart(samples))) == 4


def test_blocks_of_a_course_that_runs_repeat_are_the_same_stretch_of_it():
    samples = runs(6, 6).assign(stimulus=list("abcdefabcdef"), repeat=[1] * 6 + [2] * 6)
    folds = contiguous(3, gap_s=2.0)(samples)
    assert [test.tolist() for _, test in folds] == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]
    assert folds[0][0].tolist() == [3, 4, 5, 9, 10, 11]  # a gap of one sample in both runs
    inner = contiguous(3, gap_s=0).inner(2)(samples.iloc[folds[1][0]].reset_index(drop=True))
    for train, test in inner:
        named = samples["stimulus"].to_numpy()[folds[1][0]]
        assert not set(named[train]) & set(named[test])


def test_a_place_in_a_course_needs_an_order_that_is_kept():
    twice = runs(3, 3).assign(stimulus=list("abcabc"), repeat=[1] * 3 + [2] * 3)
    assert place_in_course(twice).tolist() == [0, 1, 2, 0, 1, 2]
    assert place_in_course(twice.assign(stimulus=list("abcacb"))) is None
    assert place_in_course(twice.assign(stimulus=["a", "b", "c", "a", "b", None])) is None
    assert place_in_course(twice.drop(columns="repeat")) is None
    lacking = runs(3, 4).assign(stimulus=list("acdabcd"), repeat=[1] * 3 + [2] * 4)  # run 1 lacks b
    assert place_in_course(lacking).tolist() == [0, 2, 3, 0, 1, 2, 3]
    for train, test in contiguous(2, gap_s=0)(lacking):
        assert not set(lacking["stimulus"][train]) & set(lacking["stimulus"][test])
    assert place_in_course(runs(3).assign(stimulus=list("abc"), repeat=1)) is None  # nothing comes again


def test_runs_that_tell_one_story_are_told_together():
    samples = runs(3, 2, 2, 3).assign(stimulus=list("abcxyabbcd"), repeat=[1] * 5 + [2] * 5)
    assert told_together(samples).tolist() == [0] * 3 + [1] * 2 + [0] * 5
    assert told_together(runs(2, 2)).tolist() == [0, 0, 1, 1]


def test_the_inner_loop_keeps_a_story_together_and_its_gap():
    twice = runs(40, 40).assign(stimulus=[f"{k:02}" for k in range(40)] * 2, repeat=[1] * 40 + [2] * 40)
    for train, test in GroupsElseContiguous("run", 4, gap_s=2.0)(twice):
        assert not set(twice["stimulus"][train]) & set(twice["stimulus"][test])
    inner = ByGroup("run", gap_s=2.0).inner(3)
    assert len(inner(runs(12))) == 3  # 24 s, of which gaps of 16 s would leave nothing


def test_stimuli_that_come_again_beside_others_are_no_course():
    rng = np.random.default_rng(0)
    for n, times in ((30, 2), (8, 20)):
        fast = runs(*[n] * times, tr=0.5)
        order = np.concatenate([rng.permutation(n) for _ in range(times)])
        drawn = fast.assign(stimulus=order.astype(str), repeat=np.repeat(np.arange(times), n))
        assert not is_series(drawn)
        assert is_series(drawn.drop(columns="repeat"))
        assert is_series(drawn.assign(stimulus=np.tile(np.arange(n), times).astype(str)))
        assert len(by_group("stimulus", 4)(drawn)) == 4
    with pytest.raises(InputError, match=r"repeats of one stimulus belong to one fold \(folds: \{by: stimulus\}\)"):
        by_run(drawn)
    with pytest.raises(InputError, match=r"belong to one fold \(folds: \{by: contiguous\}\)"):
        by_run(drawn.assign(stimulus=np.tile(np.arange(n), times).astype(str)))


def apart(samples: pd.DataFrame) -> pd.DataFrame:
    """Stimuli met one by one, ten seconds apart."""
    return samples.assign(time=samples["time"] * 5)


def test_any_column_may_be_what_is_left_out():
    samples = runs(4, 4, 4).assign(session=list("aaaabbbbbbbb"), passage=list("ppppqqqqrrrr"))
    assert [len(test) for _, test in by_session(samples)] == [4, 8]
    assert [len(test) for _, test in by_group("passage")(samples)] == [4, 4, 4]
    assert str(by_group("passage", 2)) == "2 folds of whole passages"


def test_what_is_a_time_series():
    words = runs(20, tr=0.3).assign(stimulus=[f"w{i}" for i in range(20)])
    assert is_series(runs(20))
    assert is_series(words)
    assert not is_series(apart(words.assign(time=words["time"] * 10)))
    assert is_series(apart(words).assign(stimulus_time=0.0))


def test_shuffling_a_time_series_is_refused_unless_asked_for_by_name():
    samples = runs(60)
    with pytest.raises(SettingsError, match=r"KFold.*this shuffles a time series, \d+% of test samples.*shuffled\(5\)"):
        as_rule(KFold(5, shuffle=True, random_state=0))(samples)
    with pytest.raises(SettingsError, match="5 splits given: this shuffles a time series"):
        as_rule(list(KFold(5, shuffle=True, random_state=0).split(samples)))(samples)
    with pytest.raises(SettingsError, match="one stimulus left out at a time: this shuffles"):
        by_stimulus(samples.assign(stimulus=list("abcde") * 12, time=np.arange(60) * 0.4))
    allowed = splits_of(KFold(5, shuffle=True, random_state=0), allow_shuffled=True)
    for rule in (shuffled(5), allowed):
        folds = rule(samples)
        assert sorted(np.concatenate([test for _, test in folds])) == list(range(60))
        (said,) = warnings_of(folds, samples)
        assert said.startswith("LEAKY FOLDS")
        assert rule.inner(3)(samples.iloc[:40])
    images = apart(runs(60)).assign(stimulus=range(60))
    assert warnings_of(shuffled(5)(images), images) == []
    assert as_rule(KFold(5, shuffle=True, random_state=0))(images)


def test_splits_made_elsewhere():
    samples = runs(10, 10, 10)
    rule = as_rule(KFold(3))
    assert [test[0] for _, test in rule(samples)] == [0, 10, 20]
    assert str(rule).startswith("KFold(n_splits=3")
    grouped = splits_of(LeaveOneGroupOut(), groups="run")
    assert [len(test) for _, test in grouped(samples)] == [10, 10, 10]
    assert str(grouped) == "LeaveOneGroupOut(), groups by run"
    assert all(len(test) == 10 for _, test in splits_of(GroupKFold(3), groups="run")(samples))
    mask = np.arange(30) < 10
    ((train, test),) = as_rule([(~mask, mask)])(samples)
    assert test.tolist() == list(range(10))
    assert len(train) == 20

    def first_run(signal):
        return [(np.arange(10, 30), np.arange(10))]

    assert str(as_rule(first_run)) == "splits by first_run"
    assert as_rule(first_run)(samples)[0][1].tolist() == list(range(10))
    assert len(as_rule(first_run).inner(2)(samples.iloc[10:])) == 2
    assert as_rule(by_run) is by_run


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([([0, 1], [1, 2])], "fold 1 of the splits given has 1 samples on both sides, the first sample 1"),
        ([([], [1, 2])], "fold 1 of the splits given has 0 training and 2 test samples"),
        ([([0, 1], [40])], r"splits name rows 40 to 40; there are 30 samples \(0 to 29\)"),
        ([([0.5], [1.0])], "splits are row numbers or masks of 30 samples; found float64"),
        ([([0], [1]), ([2], [1])], "sample 1 is tested in 2 of the splits given"),
        ([], "splits are a list of"),
        ((np.arange(5), np.arange(5, 9)), r"such as \[\(train, test\)\] for a single one"),
        (GroupKFold(3), "GroupKFold.* cannot split these 30 samples: The 'groups' parameter should not be None"),
    ],
)
def test_splits_that_cannot_be_are_refused(source, message):
    with pytest.raises(SettingsError, match=message):
        as_rule(source)(runs(10, 10, 10))


def test_what_is_no_rule():
    with pytest.raises(SettingsError, match=r"folds is a rule such as by_run .* found 5"):
        as_rule(5)
    with pytest.raises(SettingsError, match=r"folds is a rule .* found 'by_run'"):
        as_rule("by_run")
    with pytest.raises(
        SettingsError, match="splits grouped by 'rum': the samples have no such column; did you mean 'run'"
    ):
        splits_of(GroupKFold(2), groups="rum")(runs(4, 4))


def test_beside_counts_neighbours_of_one_run():
    samples = runs(4, 4)
    assert beside([(np.arange(4, 8), np.arange(4))], samples) == 0  # neighbours in the table, not in time
    assert beside([(np.array([0, 3, 4]), np.array([1, 2]))], samples) == 1
    assert beside([(np.array([0, 4]), np.array([1, 2]))], samples) == 0.5


def test_drawn_tells_every_role():
    samples = runs(20)
    table = drawn(contiguous(2, gap_s=4)(samples), samples)
    for _, rows in table.groupby("fold"):
        assert rows["role"].value_counts().to_dict() == {"test": 10, "train": 8, "gap": 2}


def test_rules_say_what_they_do():
    assert str(contiguous(6, 16)) == "6 contiguous folds, 16 s left out on both sides"
    assert str(by_run) == "one run left out at a time"
    assert str(hold_out(run=["2"])) == "held out once: run 2"


def test_splits_number_the_samples_of_the_whole_recording():
    """Censored samples fall out of the folds; the rows that were meant stay the rows that were meant."""
    samples = runs(30).assign(use=np.arange(30) != 3)
    brain = Signal(np.arange(30.0)[:, None], samples, pd.DataFrame({"roi": ["LIFG"]}))
    keep = np.flatnonzero(brain.use)
    given = as_rule([(np.arange(10, 30), np.arange(10))])
    wants_signal = as_rule(lambda signal: [(np.arange(10, len(signal.values)), np.arange(10))])
    for rule in (given, wants_signal):
        for refuse in (True, False):
            ((train, test),) = folds_in_use(rule, brain, keep, refuse)
            np.testing.assert_array_equal(keep[test], [0, 1, 2, 4, 5, 6, 7, 8, 9])
            np.testing.assert_array_equal(keep[train], np.arange(10, 30))
    assert len(folds_in_use(contiguous(2, 0), brain, keep)[0][1]) == 15


def test_rest_between_stimuli_is_on_no_side():
    samples = apart(runs(6, 6)).assign(
        stimulus=["a", "b", None] * 2 + ["c", "d", None] * 2, repeat=[1] * 3 + [2] * 3 + [1] * 3 + [2] * 3
    )
    assert len(by_run(samples)) == 2
    assert hold_out(repeat=2).where == {"repeat": [2]}
    with pytest.raises(InputError, match="sample 2 has no group"):
        by_stimulus(samples)
