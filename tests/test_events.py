import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainalign.events import check_events, label_repeats, run_ends
from brainalign.signals import Signal


def words(**columns):
    return pd.DataFrame({"onset": [0.0, 1.0, 2.0], "duration": [0.5, 0.5, 0.5], "word": ["a", "b", "c"], **columns})


def test_good_events_come_back_as_they_are():
    events, notes, problems = check_events(words(run="1", stress=[1, 2, 3]), ends={"1": 3.0})
    pd.testing.assert_frame_equal(events, words(run="1", stress=[1, 2, 3])[list(events)])
    assert (notes, problems) == ([], [])


def test_events_without_a_run_are_of_run_1_and_runs_become_text():
    assert list(check_events(words())[0]["run"]) == ["1"] * 3
    assert list(check_events(words(run=[1, 1, 2]))[0]["run"]) == ["1", "1", "2"]


def test_unsorted_events_are_sorted_within_their_run_and_it_is_said():
    mixed = words(run=["2", "1", "2"], onset=[5.0, 9.0, 1.0])
    events, notes, problems = check_events(mixed)
    assert list(events["word"]) == ["c", "a", "b"]
    assert list(events["run"]) == ["2", "2", "1"]
    assert notes == ["run 2: 1 event of 2 was earlier than the one before it; sorted by onset"]
    assert problems == []
    _, notes, _ = check_events(words(onset=[3.0, 2.0, 1.0]))
    assert notes == ["run 1: 2 events of 3 were earlier than the one before it; sorted by onset"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 1e6)), min_size=1, max_size=30))
def test_sorting_loses_nothing_and_leaves_runs_where_they_first_stood(rows):
    table = pd.DataFrame({"run": [run for run, _ in rows], "onset": [onset for _, onset in rows], "duration": 0.1})
    table["number"] = range(len(table))
    events, notes, problems = check_events(table)
    assert sorted(events["number"]) == list(range(len(rows)))
    assert list(dict.fromkeys(events["run"])) == list(dict.fromkeys(table["run"]))
    for run, piece in events.groupby("run", sort=False):
        assert (np.diff(piece["onset"]) >= 0).all()
        same_time = piece[piece["onset"].duplicated(keep=False)]
        assert all((np.diff(group["number"]) > 0).all() for _, group in same_time.groupby("onset"))
        was_sorted = (np.diff(table.loc[table["run"] == run, "onset"]) >= 0).all()
        assert was_sorted != any(note.startswith(f"run {run}:") for note in notes)
    assert problems == []


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        (
            {"onset": [-1.0, -0.5, 2]},
            "run 1, event 1 (a): onset -1 s is negative (2 events in all); onset 0 is the first",
        ),
        (
            {"duration": [0.5, -2.0, 1]},
            "run 1, event 2 (b): duration -2 s is negative (1 event in all); a duration is 0",
        ),
        (
            {"onset": [0.0, np.nan, 2]},
            "run 1, event 2 (b): onset is missing, a number of seconds is needed (1 event in all)",
        ),
        ({"onset": [0.0, 1.0, np.inf]}, "run 1, event 3 (c): onset is inf, a number of seconds is needed"),
        ({"onset": ["0", "one", "2"]}, "run 1, event 2 (b): onset is 'one', a number of seconds is needed"),
        (
            {"duration": [None, None, 1]},
            "run 1, event 1 (a): duration is missing, a number of seconds is needed (2 events",
        ),
        (
            {"onset": [0.0, 1.0, 4.0]},
            "run 1, event 3 (c): onset 4 s, after the recording ends (4 s): the events belong",
        ),
        ({"onset": [0.0, 5, 6]}, "run 1, event 2 (b): onset 5 s, after the recording ends (4 s) (the first of 2): the"),
        ({"run": [1, 2, 2], "onset": [0, 0, -1]}, "run 2, event 2 (c): onset -1 s is negative"),
    ],
)
def test_what_cannot_be_true_is_named(columns, problem):
    (found,) = check_events(words(**columns), ends={"1": 4.0})[2]
    assert found.startswith(problem)


def test_several_problems_come_together():
    problems = check_events(words(onset=[-1.0, 1.0, 9.0], duration=[0, -1, 0]), ends={"1": 4.0})[2]
    assert [problem.split(":")[0] for problem in problems] == [
        "run 1, event 1 (a)",
        "run 1, event 2 (b)",
        "run 1, event 3 (c)",
    ]


def test_missing_columns_are_named_with_those_that_are_there():
    _, _, problems = check_events(pd.DataFrame({"start": [1.0], "word": ["a"]}))
    assert problems == ["events have no column 'onset' and 'duration'; found 'start', 'word'; both are in seconds"]


def test_an_event_may_last_beyond_the_end_and_runs_without_a_recording_are_not_judged():
    late = words(run=["1", "1", "9"], onset=[0.0, 3.9, 99.0])
    assert check_events(late, ends={"1": 4.0})[2] == []


def test_an_event_is_called_what_it_is():
    table = pd.DataFrame({"onset": [-1.0], "duration": [1.0]})
    assert check_events(table)[2][0].startswith("run 1, event 1: onset")
    assert check_events(table.assign(trial_type="face"))[2][0].startswith("run 1, event 1 (face): onset")


def test_a_run_ends_one_tr_after_its_last_volume_began():
    samples = pd.DataFrame({"run": ["a"] * 3 + ["b"] * 2, "time": [0.5, 2.0, 3.5, 0.5, 2.0]})
    brain = Signal(np.zeros((5, 1)), samples, pd.DataFrame({"roi": ["x"]}), attrs={"tr": 1.5})
    assert run_ends(brain) == {"a": 5.0, "b": 3.5}


def test_runs_that_repeat_a_story_are_found():
    met = pd.DataFrame({"run": list("aaabbbcccdd"), "word": [*"xyx", *"xyx", *"xyz", *"xy"]})
    found = label_repeats(met)
    assert found["stimulus"].tolist()[:6] == ["a.00001", "a.00002", "a.00003"] * 2
    assert found["repeat"].tolist() == [1] * 3 + [2] * 3 + [1] * 5
    assert found["stimulus"].nunique() == 3 + 3 + 2
    assert label_repeats(met[met["run"].isin(["a", "c", "d"])]).columns.tolist() == ["run", "word"]
    assert label_repeats(met, by="phone") is met
    own = met.assign(stimulus="mine", repeat=1)
    assert label_repeats(own) is own


TALE = tuple("once upon a time there was a river and a fish who did not want to swim at all".split())  # noqa: SIM905


def told(**runs):
    return pd.DataFrame([{"run": run, "word": word} for run, words in runs.items() for word in words])


def test_a_story_is_told_again_though_words_are_missing():
    found = label_repeats(told(a=TALE, b=TALE[:5] + TALE[6:], c=TALE[6:], d=(*TALE[:9], "brook", *TALE[10:])))
    name = dict(list(found.groupby("run")["stimulus"]))
    whole = name["a"].tolist()
    assert name["b"].tolist() == whole[:5] + whole[6:]
    assert name["c"].tolist() == whole[6:]
    assert name["d"].tolist() == [*whole[:9], "d.00010", *whole[10:]]
    assert found.loc[found["stimulus"].eq("a.00008"), "repeat"].tolist() == [1, 2, 3, 4]
    other = ("fish", *TALE[:3], "swim", "at", "the", "river", "where", "fish", "want", "to", "be")
    assert "stimulus" not in label_repeats(told(a=TALE, b=other))


def test_pictures_are_met_again_whenever_their_name_is():
    met = told(a="xyz", b="zxw").rename(columns={"word": "stim_file"})
    found = label_repeats(met, by="stim_file")
    assert found["stimulus"].tolist() == list("xyzzxw")
    assert found["repeat"].tolist() == [1, 1, 1, 2, 2, 1]
    assert "repeat" not in label_repeats(met[met["run"] == "a"], by="stim_file")
    assert "repeat" not in label_repeats(met, by="trial_type")


def test_lists_of_words_in_other_orders_are_repeats():
    found = label_repeats(told(a=["cup", "tree", "owl"], b=["owl", "cup", "tree"]))
    assert found["stimulus"].tolist() == ["cup", "tree", "owl", "owl", "cup", "tree"]
    assert "stimulus" not in label_repeats(told(a=["a", "cup", "a"], b=["a", "a", "cup"]))  # that is running text
