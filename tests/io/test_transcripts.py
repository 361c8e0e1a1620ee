import logging
import shutil

import numpy as np
import pandas as pd
import pytest

from brainalign import InputError, SettingsError
from brainalign.events import run_ends
from brainalign.io.fetch import sample_path
from brainalign.io.fmri import read_fmri
from brainalign.io.transcripts import problems_in_events, read_events, read_textgrid
from brainalign.provenance import hash_file


def test_words_by_inheritance():
    root = sample_path("alice")
    words = read_events(root, task="alice")
    assert list(words.columns) == ["onset", "duration", "run", "word"]
    assert len(words) == 2127
    assert words.iloc[0].to_dict() == {"onset": 0.0589, "duration": 0.5627, "run": "1", "word": "Alice"}
    assert words.attrs == {
        "notes": [],
        "inputs": {"task-alice_events.tsv": hash_file(root / "task-alice_events.tsv")},
    }
    assert problems_in_events(root, ends=run_ends(read_fmri(root, average="subjects"))) == []


def test_blocks_of_every_run_under_the_labels_the_recording_has():
    root = sample_path("haxby")
    blocks = read_events(root)
    assert blocks.groupby("run").size().to_dict() == {f"{run:02d}": 8 for run in range(1, 13)}
    direct = pd.read_csv(root / "sub-1/func/sub-1_task-objectviewing_run-07_events.tsv", sep="\t")
    seventh = blocks[blocks["run"] == "07"]
    assert list(seventh["trial_type"]) == list(direct["trial_type"])
    assert list(seventh["onset"]) == list(direct["onset"])
    assert list(dict.fromkeys(blocks["run"])) == read_fmri(root, derivatives="downsampled25mm").runs
    assert list(read_events(root, run="7")["run"].unique()) == ["07"]


def test_the_textgrid_gives_the_events():
    root = sample_path("alice")
    (path,) = (root / "stimuli").glob("*.TextGrid")
    spoken, words = read_textgrid(path, start=20.0), read_events(root)
    assert list(spoken["word"]) == list(words["word"])
    for column in ("onset", "duration"):
        assert np.array_equal(spoken[column].round(4), words[column])
    assert list(spoken["run"]) == ["1"] * len(words)


GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 3
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 3
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 1
            text = "sp"
        intervals [2]:
            xmin = 1
            xmax = 2
            text = " Käse "
        intervals [3]:
            xmin = 2
            xmax = 3
            text = "uh"
    item [2]:
        class = "TextTier"
        name = "clicks"
        xmin = 0
        xmax = 3
        points: size = 1
        points [1]:
            number = 1.5
            mark = "click"
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_what_is_a_word_can_be_said(tmp_path, encoding):
    path = tmp_path / "a.TextGrid"
    path.write_text(GRID, encoding=encoding)
    assert list(read_textgrid(path, tier="words")["word"]) == ["Käse", "uh"]
    only = read_textgrid(path, tier="words", silence=("sp", "uh"), start=0.5)
    assert only.to_dict("records") == [{"onset": 0.5, "duration": 1.0, "run": "1", "word": "Käse"}]


@pytest.mark.parametrize(
    ("text", "tier", "message"),
    [
        (GRID, "word", r"a.TextGrid has no interval tier 'word'; did you mean 'words'\?"),
        (GRID, "clicks", r"a.TextGrid has no interval tier 'clicks'; known: 'words'"),
        ("not a grid", "word", r"a.TextGrid cannot be read as a TextGrid .*: save it again from Praat"),
        (GRID[:400], "words", r"a.TextGrid cannot be read as a TextGrid .*: save it again from Praat"),
        (None, "word", r"there is no TextGrid .*a.TextGrid: check the path"),
    ],
)
def test_what_is_no_textgrid_is_refused(tmp_path, text, tier, message):
    path = tmp_path / "a.TextGrid"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_textgrid(path, tier=tier)


def test_unsorted_events_are_sorted_and_it_is_said(alice, caplog):
    alice.edit(alice.events, lambda rows: [rows[0], rows[2], rows[1], *rows[3:]])
    with caplog.at_level(logging.WARNING):
        words = read_events(alice.root)
    note = "task-alice_events.tsv, run 1: 1 event of 2127 was earlier than the one before it; sorted by onset"
    assert words.attrs["notes"] == [note]
    assert note in caplog.text
    assert list(words["word"][:3]) == ["Alice", "was", "beginning"]
    assert problems_in_events(alice.root) == []


def test_words_are_text_and_only_na_is_missing(alice):
    odd = ["null", "NA", "nan", "7", "1e3", "n/a", '"quoted', "None", "inf"]
    alice.events.write_text(
        "onset\tduration\tword\tloudness\n" + "".join(f"{k}\t0.5\t{word}\t{k}\n" for k, word in enumerate(odd))
    )
    words = read_events(alice.root)
    assert [None if pd.isna(word) else word for word in words["word"]] == [w if w != "n/a" else None for w in odd]
    assert words["loudness"].dtype == np.float64
    assert words["word"].dtype == "str"


def test_events_of_the_person_come_before_those_of_the_task(alice):
    own = alice.root / "sub-22/func/sub-22_task-alice_events.tsv"
    own.parent.mkdir(parents=True)
    own.write_text("onset\tduration\tword\n1\t0.5\tother\n")
    assert list(read_events(alice.root, subject="22")["word"]) == ["other"]
    assert len(read_events(alice.root, subject="18")) == 2127
    message = (
        r"run 1: the events of sub-18 \(task-alice_events.tsv\) and sub-22 \(sub-22_.*\) are not the same; name one"
    )
    with pytest.raises(InputError, match=message):
        read_events(alice.root)
    own.write_text(alice.events.read_text())
    assert len(read_events(alice.root)) == 2127


BROKEN = {
    "a negative onset": (
        lambda rows: [rows[0], ["-1.5", *rows[1][1:]], *rows[2:]],
        r"task-alice_events.tsv, run 1, event 1 \(Alice\): onset -1.5 s is negative \(1 event in all\); onset 0 is",
    ),
    "no onset": (
        lambda rows: [rows[0], ["n/a", *rows[1][1:]], *rows[2:]],
        r"event 1 \(Alice\): onset is missing, a number of seconds is needed",
    ),
    "an onset in words": (
        lambda rows: [rows[0], ["soon", *rows[1][1:]], *rows[2:]],
        r"event 1 \(Alice\): onset is 'soon', a number of seconds is needed",
    ),
    "no such column": (
        lambda rows: [["start", *rows[0][1:]], *rows[1:]],
        r"events have no column 'onset'; found 'start', 'duration', 'word'",
    ),
    "ragged rows": (
        lambda rows: [*rows[:3], rows[3][:-1], *rows[4:]],
        r"task-alice_events.tsv, line 4: 2 cells where the table has 3 columns",
    ),
    "no rows": (lambda rows: rows[:1], r"task-alice_events.tsv has no rows: write the events, or name another task"),
    "nothing": (lambda rows: [], r"task-alice_events.tsv has no rows"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_one_thing_broken_is_named_by_reader_and_check_alike(alice, case):
    change, message = BROKEN[case]
    alice.edit(alice.events, change)
    with pytest.raises(InputError, match=message) as caught:
        read_events(alice.root)
    assert problems_in_events(alice.root) == [str(caught.value)]


def test_events_after_the_end_of_their_run_are_a_problem(alice):
    (problem,) = problems_in_events(alice.root, ends={"1": 720.0})
    assert "onset 720." in problem
    assert "after the recording ends (720 s) (the first of" in problem


def test_a_run_without_events_is_named(alice):
    alice.events.unlink()
    message = (
        r"run 1: no \*_events.tsv applies to sub-18_.*timeseries.tsv and 3 more; looked in its folder and in every"
    )
    with pytest.raises(InputError, match=message):
        read_events(alice.root)


def test_what_is_not_there_is_named(alice):
    with pytest.raises(SettingsError, match=r"no task 'alcie' .*did you mean 'alice'"):
        read_events(alice.root, task="alcie")
    assert problems_in_events(alice.root, subject="77")[0].startswith("no subject '77' among the recordings")


def test_problems_of_all_runs_come_at_once(tmp_path):
    root = shutil.copytree(sample_path("haxby"), tmp_path / "haxby")
    for run in ("03", "05"):
        path = root / f"sub-1/func/sub-1_task-objectviewing_run-{run}_events.tsv"
        path.write_text(path.read_text().replace("15\t", "-15\t", 1))
    with pytest.raises(
        InputError, match=r"2 problems:\n  - .*run-03_events.tsv, run 03, event 1 .*\n  - .*run-05_events"
    ):
        read_events(root)


def test_events_follow_runs_that_differ_in_how_they_were_scanned(tmp_path):
    for way in ("AP", "PA"):
        (tmp_path / f"sub-1_task-x_dir-{way}_run-1_bold.nii.gz").touch()
        text = f"onset\tduration\ttrial_type\n1\t1\t{way}\n"
        (tmp_path / f"sub-1_task-x_dir-{way}_run-1_events.tsv").write_text(text)
    assert read_events(tmp_path)[["run", "trial_type"]].to_numpy().tolist() == [["AP-1", "AP"], ["PA-1", "PA"]]
    assert read_events(tmp_path, run="PA-1")["trial_type"].tolist() == ["PA"]
