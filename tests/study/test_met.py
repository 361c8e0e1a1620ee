"""Tables that name what was met: how they are read, and what is said of one that cannot be."""

import pandas as pd
import pytest

from brainalign.errors import InputError, problems_of
from brainalign.signals import Signal
from brainalign.study.met import SHOWN_S, events_of, transcript
from brainalign.study.settings import study_from
from brainalign.study.trials import mark_trials

TWO = pd.DataFrame({"run": "01", "time": [0.0, 4.0], "stimulus": ["01", "02"]})
ONE_SENTENCE = r"table\.csv cannot be read as a table \([^\n]+\): write it as UTF-8 text with tabs \(\.tsv\) or commas"
BROKEN = {
    "empty": (b"", ONE_SENTENCE),
    "Latin-1": ("stimulus,caption\n01,café\n02,b\n".encode("latin-1"), ONE_SENTENCE),
    "a comma in every caption": (b"stimulus,caption\n01,a dog, running\n02,a cat, asleep\n", ONE_SENTENCE),
    "a comma in one caption": (b"stimulus,caption\n01,a dog\n02,a cat, asleep\n", r"Expected 2 fields in line 3"),
    "an open quote": (b'stimulus,caption\n01,"a dog\n02,a cat\n', ONE_SENTENCE),
    "another column": (b"stim\n01\n02\n", r"table\.csv has no column 'stimulus'; found stim: stimuli\.table is"),
    "columns of the recording": (
        b"stimulus,run,onset,caption\n01,1,0,a\n02,1,4,b\n",
        r"table\.csv has a column run and onset: when .* is for the recording to say: leave that out",
    ),
    "time": (b"stimulus,time\n01,0\n02,4\n", r"table\.csv has a column time: when"),
    "duration": (b"stimulus,duration\n01,3\n02,3\n", r"table\.csv has a column duration: when"),
}


def met(path):
    """What two trials of NSD show by a table."""
    content = {
        "data": {"nsd": "nsd", "subjects": "01"},
        "stimuli": {"table": str(path)},
        "features": [{"name": "kind", "kind": "category", "column": "kind"}],
    }
    return events_of(study_from(content), mark_trials(Signal([[1.0], [2.0]], TWO, pd.DataFrame({"roi": ["V1"]}))))


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_with_a_table_of_stimuli(tmp_path, case):
    content, message = BROKEN[case]
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        met(tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("table.csv", 'stimulus,kind\n02,"a cat, asleep"\n01,a dog\n'),
        ("table.csv", "\ufeffstimulus;kind\n02;a cat, asleep\n01;a dog\n"),
        ("table.tsv", "stimulus\tkind\n02\ta cat, asleep\n01\ta dog\n"),
        ("table.tsv", "stimulus\tkind\tone, two, three\n02\ta cat, asleep\t\n01\ta dog\n"),
        ("table.txt", "stimulus\tkind\n02\ta cat, asleep\n01\ta dog\n"),
    ],
    ids=["commas", "semicolons", "tabs", "commas in a header", "another suffix"],
)
def test_trials_take_the_row_of_their_stimulus_however_cells_are_set_apart(tmp_path, name, content):
    (tmp_path / name).write_text(content, "utf-8")
    found = met(tmp_path / name)
    assert found["kind"].tolist() == ["a dog", "a cat, asleep"]
    assert found["stimulus"].tolist() == ["01", "02"]
    assert found["onset"].tolist() == [0.0, 4.0]
    assert (found["duration"] == SHOWN_S).all()


@pytest.mark.parametrize("case", ["empty", "Latin-1", "a comma in every caption", "an open quote"])
def test_what_is_wrong_with_a_transcript(tmp_path, case):
    (tmp_path / "table.csv").write_bytes(BROKEN[case][0])
    with pytest.raises(InputError, match=ONE_SENTENCE):
        transcript(tmp_path / "table.csv", 0.0, "stimuli.words")


def test_a_transcript_of_one_column(tmp_path):
    (tmp_path / "words.csv").write_text("word\nthe\nend\n")
    with pytest.raises(InputError, match=r"words.csv: events have no column 'onset' and 'duration'; found 'word'"):
        transcript(tmp_path / "words.csv", 0.0, "stimuli.words")


def test_words_are_text_and_onsets_that_are_missing_are_named(tmp_path):
    (tmp_path / "words.csv").write_text("onset,duration,word\n1,0.2,NA\n2,0.2,007\n")
    assert transcript(tmp_path / "words.csv", 1.0, "stimuli.words")[["onset", "word"]].values.tolist() == [
        [0.0, "NA"],
        [1.0, "007"],
    ]
    (tmp_path / "words.csv").write_text("onset,duration,word\n1,0.2,a\nn/a,0.2,b\n")
    with pytest.raises(InputError, match=r"words\.csv: .*event 2 \(b\)"):
        transcript(tmp_path / "words.csv", 0.0, "stimuli.words")


def test_every_problem_of_every_run_is_a_line_of_its_own(tmp_path):
    (tmp_path / "words.csv").write_text("onset,duration,word\n-1,0.2,a\n1,-3,b\n")
    content = {
        "data": {"matrices": "stories", "tr": 2.0},
        "stimuli": {"words": {"a": str(tmp_path / "words.csv"), "b": "no.csv"}},
        "features": [{"name": "rate", "kind": "word_rate"}],
    }
    with pytest.raises(InputError) as caught:
        events_of(study_from(content), None)
    assert [problem[:14] for problem in problems_of(caught.value)] == ["run a: words.c"] * 2 + ["run b: stimuli"]
