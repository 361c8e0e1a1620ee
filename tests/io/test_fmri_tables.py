import json
import logging

import numpy as np
import pandas as pd
import pytest

from brainalign import BrainalignError, InputError, SettingsError
from brainalign.errors import problems_of
from brainalign.io.fetch import sample_path
from brainalign.io.fmri import read_fmri
from brainalign.provenance import hash_file

REGIONS = ["LATL", "RATL", "LPTL", "LIPL", "LPreM", "LIFG"]


def problems_in_fmri(root, **which):
    """What is said when it is read, one sentence each."""
    try:
        read_fmri(root, **which)
    except BrainalignError as error:
        return problems_of(error)
    return []


def test_everybody_side_by_side_and_the_broken_recording_named(caplog):
    with caplog.at_level(logging.WARNING):
        bold = read_fmri(sample_path("alice"), task="alice")
    assert bold.shape == (362, 17 * 6)
    assert list(bold.columns["roi"]) == REGIONS * 17
    assert bold.columns["subject"].nunique() == 17
    assert "33" not in set(bold.columns["subject"])
    assert [one["subject"] for one in bold.attrs["left_out"]] == ["33"]
    assert "every value of derivatives/rois/sub-33" in bold.attrs["left_out"][0]["why"]
    assert "sub-33 is left out: every value of" in caplog.text
    assert (bold.samples["time"] == np.arange(362) * 2.0).all()
    assert set(bold.samples["run"]) == {"1"}
    assert bold.attrs["tr"] == 2.0
    assert bold.attrs["start_time"] == 0.0
    assert bold.attrs["unit"] == "arbitrary"
    assert bold.attrs["notes"] == []


def test_the_numbers_are_those_in_the_files():
    root = sample_path("alice")
    bold = read_fmri(root, subject=["22", "18"])
    assert list(bold.columns["subject"]) == ["18"] * 6 + ["22"] * 6
    for subject in ("18", "22"):
        path = root / f"derivatives/rois/sub-{subject}/func/sub-{subject}_task-alice_atlas-sphere6mm_timeseries.tsv"
        direct = pd.read_csv(path, sep="\t")[REGIONS].to_numpy(np.float32)
        assert np.array_equal(bold.select(subject=subject).values, direct)
        motion = pd.read_csv(str(path).replace("atlas-sphere6mm", "desc-confounds"), sep="\t")
        confounds = bold.related["confounds"].select(subject=subject)
        assert list(confounds.columns["confound"]) == list(motion)
        assert np.array_equal(confounds.values, motion.to_numpy(np.float32))


def test_every_file_that_was_read_is_hashed():
    root = sample_path("alice")
    inputs = read_fmri(root, subject="18").attrs["inputs"]
    stem = "derivatives/rois/sub-18/func/sub-18_task-alice"
    assert set(inputs) == {
        f"{stem}_atlas-sphere6mm_timeseries.tsv",
        f"{stem}_atlas-sphere6mm_timeseries.json",
        f"{stem}_desc-confounds_timeseries.tsv",
    }
    assert all(inputs[name] == hash_file(root / name) for name in inputs)


def test_the_mean_keeps_the_people():
    mean = read_fmri(sample_path("alice"), average="subjects")
    people = mean.related["people"]
    assert list(mean.columns["roi"]) == REGIONS
    assert people.shape == (362, 102)
    stacked = people.values.reshape(362, 17, 6).astype(np.float64)
    np.testing.assert_allclose(mean.values, stacked.mean(1), rtol=1e-6)
    assert people.related["confounds"].shape == (362, 102)


def test_one_dataset_may_be_named_in_several_ways():
    root = sample_path("alice")
    plain = read_fmri(root, subject="18")
    for named in (
        read_fmri(root, subject="sub-18", task="task-alice"),
        read_fmri(root, subject=["18"], atlas="sphere6mm"),
        read_fmri(root, subject="18", derivatives="rois"),
        read_fmri(root, subject="18", derivatives="derivatives/rois"),
        read_fmri(root / "derivatives/rois", subject="18"),
    ):
        assert np.array_equal(named.values, plain.values)


def test_a_table_without_its_own_clock_takes_the_sidecars(alice):
    alice.edit(alice.table(), lambda rows: [row[1:] for row in rows])
    alice.edit_json(alice.sidecar(), StartTime=0.5, RepetitionTime=1.0)
    bold = read_fmri(alice.root, subject="18")
    assert bold.shape == (362, 6)
    assert list(bold.samples["time"][:3]) == [0.5, 1.5, 2.5]


def test_the_start_is_the_rows_then_the_mean_slice_then_zero_with_a_note(alice):
    alice.edit_json(alice.sidecar(), StartTime=None)
    alice.edit(alice.table(), lambda rows: [rows[0], *([repr(float(t) + 5), *rest] for t, *rest in rows[1:])])
    assert read_fmri(alice.root, subject="18").attrs["start_time"] == 5.0
    alice.edit(alice.table(), lambda rows: [row[1:] for row in rows])
    alice.edit_json(alice.sidecar(), SliceTiming=[0.0, 0.5, 1.0, 1.5])
    assert read_fmri(alice.root, subject="18").attrs["start_time"] == 0.75
    alice.edit_json(alice.sidecar(), SliceTiming=None)
    bold = read_fmri(alice.root, subject="18")
    assert bold.attrs["start_time"] == 0.0
    assert bold.attrs["notes"] == [
        "sub-18: nothing says when the first volume was taken (StartTime, SliceTiming): taken as 0 s"
    ]


def test_a_table_may_inherit_the_clock_of_the_raw_images(alice):
    alice.edit(alice.table(), lambda rows: [row[1:] for row in rows])
    alice.sidecar().unlink()
    (alice.root / "task-alice_bold.json").write_text('{"RepetitionTime": 3.0, "StartTime": 1.5}')
    assert list(read_fmri(alice.root, subject="18").samples["time"][:2]) == [1.5, 4.5]


def test_two_atlases_are_a_question_that_can_be_answered(alice):
    other = alice.table().with_name(alice.table().name.replace("sphere6mm", "sphere10mm"))
    other.write_text(alice.table().read_text())
    other.with_suffix(".json").write_text(alice.sidecar().read_text())
    pattern = (
        r"(?s)2 versions .* say which.*atlas='sphere6mm'.*atlas='sphere10mm'|atlas='sphere10mm'.*atlas='sphere6mm'"
    )
    with pytest.raises(SettingsError, match=pattern):
        read_fmri(alice.root)
    assert read_fmri(alice.root, atlas="sphere6mm").shape == (362, 18)
    with pytest.raises(SettingsError, match=r"no recording of sub-22 as .*atlas='sphere10mm'"):
        read_fmri(alice.root, subject=["18", "22"], atlas="sphere10mm")
    only = read_fmri(alice.root, atlas="sphere10mm")
    assert only.shape == (362, 6)
    assert any(note.startswith("no recording of sub-22, sub-23, sub-33") for note in only.attrs["notes"])


def test_people_on_different_clocks_are_a_list_and_have_no_mean(alice):
    alice.edit(alice.table("22"), lambda rows: rows[:301])
    alice.edit(alice.confounds("22"), lambda rows: rows[:301])
    two = read_fmri(alice.root, subject=["18", "22", "23"])
    assert [signal.shape for signal in two] == [(362, 12), (300, 6)]
    assert list(two[0].columns["subject"].unique()) == ["18", "23"]
    message = r"one clock, found sub-18, sub-23: 362 volumes in 1 run, TR 2 s, from 0 s; sub-22: 300 volumes in 1 run"
    with pytest.raises(InputError, match=message):
        read_fmri(alice.root, subject=["18", "22", "23"], average="subjects")
    (problem,) = problems_in_fmri(alice.root, subject=["18", "22", "23"], average="subjects")
    assert problem.startswith("a mean over subjects needs all of them on one clock")


def test_people_with_other_regions_have_no_mean(alice):
    alice.edit(alice.table("22"), lambda rows: [row[:-1] for row in rows])
    assert read_fmri(alice.root).shape == (362, 17)
    with pytest.raises(
        InputError, match=r"the same regions in all of them: LIFG in only one of sub-18 and sub-22"
    ) as why:
        read_fmri(alice.root, average="subjects")
    assert problems_in_fmri(alice.root, average="subjects") == [str(why.value)]


def break_nothing_left(alice):
    for path in alice.root.rglob("*_timeseries.tsv"):
        path.unlink()


BROKEN = {
    "an unknown task": (lambda a: {"task": "alcie"}, SettingsError, r"no task 'alcie' .*; did you mean 'alice'\?"),
    "an unknown person": (lambda a: {"subject": "17"}, SettingsError, r"no subject '17' among .* in .*alice; "),
    "an unknown run": (lambda a: {"run": "2"}, SettingsError, r"no run '2' .*no file name has run-"),
    "an unknown session": (lambda a: {"session": "2"}, SettingsError, r"no session '2' .*no file name has ses-"),
    "an unknown atlas": (lambda a: {"atlas": "sphere"}, SettingsError, r"no atlas 'sphere' .*did you mean 'sphere6mm'"),
    "an unknown pipeline": (
        lambda a: {"derivatives": "roi"},
        SettingsError,
        r"derivatives 'roi' .*did you mean 'rois'",
    ),
    "an unknown mean": (
        lambda a: {"average": "people"},
        SettingsError,
        r"average 'people' is not known; known: 'none'",
    ),
    "no space": (lambda a: {"space": "MNI"}, SettingsError, r"no space 'MNI' .*no file name of this task has space-"),
    "no images": (lambda a: {"mask": "m.nii"}, InputError, r"holds no \*_bold.nii.gz of this task"),
    "nothing to read": (lambda a: break_nothing_left(a), InputError, r"holds no fMRI recording: looked for .*found"),
    "no root": (lambda a: {"root": a.root / "no"}, InputError, r"there is no folder .*/no: .*holds .*participants.tsv"),
    "all zeros, named": (lambda a: {"subject": "33"}, InputError, r'sub-33: every value of .* is 0; leave .*"all"'),
    "no sidecar": (
        lambda a: a.sidecar().unlink(),
        InputError,
        r"sphere6mm_timeseries.tsv has no sidecar: looked for .*_timeseries.json beside it .*RepetitionTime",
    ),
    "an empty sidecar": (lambda a: a.sidecar().write_text(""), InputError, r"timeseries.json is empty: write it again"),
    "no TR": (
        lambda a: a.edit_json(a.sidecar(), RepetitionTime=None),
        InputError,
        r"no RepetitionTime in sub-18_.*timeseries.json; add it, in seconds",
    ),
    "a TR in milliseconds": (
        lambda a: a.edit_json(a.sidecar(), RepetitionTime=2000),
        InputError,
        r"says RepetitionTime 2000; it is a number of seconds between 0 and 100",
    ),
    "a TR in words": (
        lambda a: a.edit_json(a.sidecar(), RepetitionTime="2 s"),
        InputError,
        r"says RepetitionTime '2 s'; it is a number of seconds",
    ),
    "a start in words": (
        lambda a: a.edit_json(a.sidecar(), StartTime="0"),
        InputError,
        r"says StartTime '0'; it is a number of seconds",
    ),
    "slice times that are no list": (
        lambda a: a.edit_json(a.sidecar(), SliceTiming=0.5),
        InputError,
        r"says SliceTiming 0.5; it is a list of seconds, one per slice",
    ),
    "slice times in milliseconds": (
        lambda a: a.edit_json(a.sidecar(), SliceTiming=[0, 1000]),
        InputError,
        r"says a slice is taken at 1000 s, after the next volume has begun \(RepetitionTime 2 s\)",
    ),
    "another TR in the rows": (
        lambda a: a.edit_json(a.sidecar(), RepetitionTime=1.5),
        InputError,
        r"its json says RepetitionTime 1.5 s, its rows are 2 s apart: find out which is right",
    ),
    "another start in the rows": (
        lambda a: a.edit_json(a.sidecar(), StartTime=20.0),
        InputError,
        r"its json says StartTime 20 s, its first row is at 0 s",
    ),
    "a row lost": (
        lambda a: [a.edit(path, lambda rows: rows[:100] + rows[101:]) for path in (a.table(), a.confounds())],
        InputError,
        r"line 101: 4 s after the line before it, with a TR of 2 s: a volume is missing or there twice",
    ),
    "a time missing": (
        lambda a: a.edit(a.table(), lambda rows: [*rows[:5], ["n/a", *rows[5][1:]], *rows[6:]]),
        InputError,
        r"the time in line 6 is missing",
    ),
    "a missing number": (
        lambda a: a.edit(a.table(), lambda rows: [*rows[:9], [*rows[9][:-1], "n/a"], *rows[10:]]),
        InputError,
        r"line 10, column 'LIFG': not a finite number \(1 of 362 rows\)",
    ),
    "an infinite number": (
        lambda a: a.edit(a.table(), lambda rows: [*rows[:9], [*rows[9][:-1], "-inf"], *rows[10:]]),
        InputError,
        r"line 10, column 'LIFG': not a finite number",
    ),
    "a column of nothing": (
        lambda a: a.edit(a.table(), lambda rows: [rows[0], *([*row[:-1], "n/a"] for row in rows[1:])]),
        InputError,
        r"line 2, column 'LIFG': not a finite number in every row",
    ),
    "a constant column": (
        lambda a: a.edit(a.table(), lambda rows: [rows[0], *([row[0], "7", *row[2:]] for row in rows[1:])]),
        InputError,
        r"column 'LATL' is constant \(7 in all 362 rows\): take this column or this person out",
    ),
    "text in numbers": (
        lambda a: a.edit(a.table(), lambda rows: [*rows[:3], [rows[3][0], "4,5", *rows[3][2:]], *rows[4:]]),
        InputError,
        r"line 4, column 'LATL': '4,5' is not a number; the table holds numbers only",
    ),
    "ragged rows": (
        lambda a: a.edit(a.table(), lambda rows: [*rows[:3], rows[3][:-1], *rows[4:]]),
        InputError,
        r"line 4: 6 cells where the table has 7 columns \(1 such rows\)",
    ),
    "a column twice": (
        lambda a: a.edit(a.table(), lambda rows: [["time", "LATL", "LATL", *rows[0][3:]], *rows[1:]]),
        InputError,
        r"column 'LATL' is there twice",
    ),
    "a column without a name": (
        lambda a: a.edit(a.table(), lambda rows: [["", *rows[0][1:]], *rows[1:]]),
        InputError,
        r"column 1 has no name; the first line names every column",
    ),
    "no header": (
        lambda a: a.edit(a.table(), lambda rows: rows[1:]),
        InputError,
        r"the first line holds numbers; it has to name the columns",
    ),
    "no text at all": (lambda a: a.table().write_bytes(b"\xff\xfe\x00"), InputError, r"cannot be read .*UTF-8"),
    "only a clock": (
        lambda a: a.edit(a.table(), lambda rows: [row[:1] for row in rows]),
        InputError,
        r"sub-18_task-alice_atlas-sphere6mm_timeseries.tsv has no column of a region",
    ),
    "an empty table, named": (lambda a: [a.table().write_text(""), {"subject": "18"}][1], InputError, r"holds no rows"),
    "confounds of other length": (
        lambda a: a.edit(a.confounds(), lambda rows: [rows[0], *rows[1:2] * 10, *rows[1:]]),
        InputError,
        r"desc-confounds_timeseries.tsv has 372 rows, .*sphere6mm_timeseries.tsv has 362: both have one per volume",
    ),
    "a hole in the confounds": (
        lambda a: a.edit(a.confounds(), lambda rows: [*rows[:9], ["n/a", *rows[9][1:]], *rows[10:]]),
        InputError,
        r"confounds_timeseries.tsv, line 10, column 'trans_x': not a finite number; only the first rows",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_one_thing_broken_is_named_by_reader_and_check_alike(alice, case):
    damage, kind, message = BROKEN[case]
    changed = damage(alice)
    arguments = {"root": alice.root} | (changed if isinstance(changed, dict) else {})
    with pytest.raises(kind, match=message) as caught:
        read_fmri(**arguments)
    if case != "an unknown mean":
        (problem,) = problems_in_fmri(**arguments)
        assert problem == str(caught.value)


def test_all_problems_of_a_tree_come_at_once(alice):
    alice.edit_json(alice.sidecar("18"), RepetitionTime=1.5)
    alice.edit(alice.table("22"), lambda rows: [rows[0], *([row[0], "7", *row[2:]] for row in rows[1:])])
    alice.confounds("23").write_text("trans_x\nx\n")
    with pytest.raises(InputError, match=r"^3 problems:\n  - .*sub-18.*\n  - .*sub-22.*\n  - .*sub-23"):
        read_fmri(alice.root)
    assert len(problems_in_fmri(alice.root)) == 3


@pytest.mark.parametrize("text", ["", "time\tLATL\n"])
def test_an_empty_recording_is_left_out_like_a_constant_one(alice, text):
    alice.table("18").write_text(text)
    bold = read_fmri(alice.root)
    assert [one["subject"] for one in bold.attrs["left_out"]] == ["18", "33"]
    assert bold.attrs["left_out"][0]["why"].endswith("timeseries.tsv holds no rows")


def test_when_nobody_is_left_it_is_an_error(alice):
    for path in alice.root.rglob("*_atlas-*_timeseries.tsv"):
        path.write_text("LATL\n1\n1\n")
    with pytest.raises(InputError, match=r"4 problems:\n.*sub-18: every value of .* is 1; there is nothing to fit"):
        read_fmri(alice.root)


def test_confounds_as_fmriprep_writes_them(alice):
    def change(rows):
        head = [[*rows[0], "framewise_displacement", "std_dvars", "all_nan"]]
        first = [[*rows[1], "n/a", "n/a", "n/a"]]
        return head + first + [[*row, "0.5", "1.25", "n/a"] for row in rows[2:]]

    alice.edit(alice.confounds(), change)
    bold = read_fmri(alice.root, subject="18")
    confounds = bold.related["confounds"]
    assert list(confounds.columns["confound"][-3:]) == ["rot_z", "framewise_displacement", "std_dvars"]
    assert (confounds.select(confound="std_dvars").values == 1.25).all()
    assert any("all_nan left out, n/a throughout" in note for note in bold.attrs["notes"])


def test_rows_that_are_not_used_may_have_holes(alice):
    alice.edit(
        alice.table(), lambda rows: [rows[0], ["0.0", *["n/a"] * 6], *rows[2:9], ["16.0", *["n/a"] * 6], *rows[10:]]
    )
    alice.edit(alice.confounds(), lambda rows: [[*r, "fd" if k == 0 else str(int(k == 9))] for k, r in enumerate(rows)])
    with pytest.raises(InputError, match=r"line 2, column 'LATL': not a finite number \(2 of 362 rows\)"):
        read_fmri(alice.root, subject="18")
    with pytest.raises(InputError, match=r"line 10, column 'LATL': not a finite number \(1 of 362 rows\)"):
        read_fmri(alice.root, subject="18", trim_volumes=1)
    bold = read_fmri(alice.root, subject="18", trim_volumes=1, censor={"fd": 0.5})
    assert np.flatnonzero(~bold.use).tolist() == np.flatnonzero(np.isnan(bold.values).all(1)).tolist() == [7]


def test_no_confounds_is_a_note(alice):
    alice.confounds().unlink()
    bold = read_fmri(alice.root, subject="18")
    assert bold.related == {}
    assert bold.attrs["notes"] == ["sub-18: no confounds beside the recording: motion cannot be removed"]
    both = read_fmri(alice.root, subject=["18", "22"])
    assert set(both.related["confounds"].columns["subject"]) == {"22"}


def split_into_runs(alice, subject="18", second=lambda rows: rows):
    """Make two runs of one recording; `second` changes the table of the second."""
    table, json_, confounds = alice.table(subject), alice.sidecar(subject), alice.confounds(subject)
    rows = [line.split("\t") for line in table.read_text().splitlines()]
    motion = confounds.read_text().splitlines()
    halves = {"1": rows[:182], "2": [rows[0], *([row_1[0], *row_2[1:]] for row_1, row_2 in zip(rows[1:], rows[182:]))]}
    motions = {"1": motion[:182], "2": [motion[0], *motion[182:]]}
    for run in ("1", "2"):
        lines = second(halves[run]) if run == "2" else halves[run]
        name = table.name.replace("alice_", f"alice_run-{run}_")
        table.with_name(name).write_text("".join("\t".join(line) + "\n" for line in lines))
        json_.with_name(name.replace(".tsv", ".json")).write_text(json_.read_text())
        confounds.with_name(confounds.name.replace("alice_", f"alice_run-{run}_")).write_text("\n".join(motions[run]))
    for path in (table, json_, confounds):
        path.unlink()


def test_runs_follow_one_another_and_columns_keep_the_first_runs_order(alice):
    before = read_fmri(alice.root, subject="18")
    split_into_runs(alice, second=lambda rows: [[row[0], *row[:0:-1]] for row in rows])
    bold = read_fmri(alice.root, subject="18")
    assert bold.runs == ["1", "2"]
    assert list(bold.samples["time"]) == [*np.arange(181) * 2.0] * 2
    assert np.array_equal(bold.values, before.values)
    assert np.array_equal(bold.related["confounds"].values, before.related["confounds"].values)
    second = read_fmri(alice.root, subject="18", run="02")
    assert second.runs == ["2"]
    assert list(second.columns["roi"]) == REGIONS[::-1]
    assert np.array_equal(second.values, before.values[181:, ::-1])


def test_a_run_with_fewer_columns_names_them(alice):
    split_into_runs(alice, second=lambda rows: [row[:5] for row in rows])
    with pytest.raises(InputError, match=r"sub-18, run 2 has 4 columns, run 1 has 6: LPreM, LIFG missing in .*run-2"):
        read_fmri(alice.root, subject="18")


def test_a_run_with_more_columns_names_them(alice):
    split_into_runs(alice, second=lambda rows: [[*rows[0], "V1"], *([*row, row[1]] for row in rows[1:])])
    with pytest.raises(InputError, match=r"sub-18, run 2 has columns that run 1 has not: V1 in .*run-2"):
        read_fmri(alice.root, subject="18")


def test_one_dead_run_is_an_error_and_not_a_person_left_out(alice):
    split_into_runs(alice, second=lambda rows: [rows[0], *([row[0], *["3"] * 6] for row in rows[1:])])
    with pytest.raises(InputError, match=r"sub-18, run 2: every value of .* is 3; take this run out"):
        read_fmri(alice.root)


def test_runs_of_another_tr_are_not_one_recording(alice):
    split_into_runs(alice, second=lambda rows: [row[1:] for row in rows])
    path = next(alice.table().parent.glob("*run-2_atlas*.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"RepetitionTime": 1.0}))
    with pytest.raises(InputError, match=r"sub-18, run 2 has a TR of 1 s, run 1 of 2 s: read the two apart"):
        read_fmri(alice.root, subject="18")


def test_confounds_that_only_one_run_has_are_zero_in_the_other(alice):
    split_into_runs(alice)
    path = next(alice.table().parent.glob("*run-2_desc-confounds*.tsv"))
    alice.edit(path, lambda rows: [[*rows[0], "motion_outlier00"], *([*row, "1"] for row in rows[1:])])
    bold = read_fmri(alice.root, subject="18")
    outlier = bold.related["confounds"].select(confound="motion_outlier00").values[:, 0]
    assert list(outlier) == [0.0] * 181 + [1.0] * 181
    assert bold.attrs["notes"] == ["sub-18: 1 confounds are not in every run, and 0 where they are not"]
    path.unlink()
    without = read_fmri(alice.root, subject="18")
    assert without.attrs["notes"] == ["sub-18: no confounds of run 2 beside the recording: motion cannot be removed"]


def test_a_row_of_confounds_that_is_not_used_may_have_holes(alice):
    def change(rows):
        rows = [[*row, "fd" if k == 0 else str(int(k in (9, 10)))] for k, row in enumerate(rows)]
        for k in (5, 9, 10):
            rows[k][0] = "n/a"
        return rows

    alice.edit(alice.confounds(), change)
    with pytest.raises(InputError, match="line 10, column 'trans_x': not a finite number; only the first rows"):
        read_fmri(alice.root, subject="18", trim_volumes=5)
    bold = read_fmri(alice.root, subject="18", trim_volumes=5, censor={"fd": 0.5})
    moved = bold.related["confounds"].select(confound="trans_x").values.ravel()
    assert moved[3] == moved[4] == moved[2]
    assert np.isfinite(moved).all()


def test_a_run_of_which_nothing_is_left_is_dead(alice):
    alice.edit(alice.confounds(), lambda rows: [[*r, "fd" if k == 0 else str(int(k > 3))] for k, r in enumerate(rows)])
    how = {"trim_volumes": 3, "censor": {"fd": 0.5}}
    with pytest.raises(InputError, match=r"sub-18: .*timeseries.tsv holds no volume that may be used; leave this"):
        read_fmri(alice.root, subject="18", **how)
    for subject in ("22", "23"):
        alice.edit(alice.confounds(subject), lambda rows: [[*r, "0" if k else "fd"] for k, r in enumerate(rows)])
    bold = read_fmri(alice.root, **how)
    assert [one["subject"] for one in bold.attrs["left_out"]] == ["18", "33"]


def later(alice, seconds):
    alice.edit(alice.table(), lambda rows: [rows[0], *([repr(float(t) + seconds), *rest] for t, *rest in rows[1:])])


def test_rows_come_before_the_mean_of_the_slices(alice):
    (alice.root / "task-alice_bold.json").write_text(json.dumps({"RepetitionTime": 2.0, "SliceTiming": [0.0, 1.0]}))
    alice.edit_json(alice.sidecar(), StartTime=None)
    bold = read_fmri(alice.root, subject="18")
    assert bold.attrs["start_time"] == 0.0
    assert bold.attrs["notes"] == ["sub-18: the first row is at 0 s, the mean of SliceTiming is 0.5 s: the row's taken"]
    later(alice, 3.0)
    with pytest.raises(InputError, match=r"first row is at 3 s, the mean of SliceTiming is 0.5 s, more than a TR away"):
        read_fmri(alice.root, subject="18")
    alice.edit_json(alice.sidecar(), StartTime=3.0)
    assert read_fmri(alice.root, subject="18").attrs["start_time"] == 3.0
