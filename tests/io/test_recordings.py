import numpy as np
import pytest

from brainalign import InputError, SettingsError
from brainalign.io.recordings import choose_recordings, find_recordings


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}" if name.endswith(".json") else "")
    return root


def labels(recordings):
    return [(recording.subject, recording.run) for recording in recordings]


def test_people_and_runs_are_in_their_natural_order(tmp_path):
    names = [f"sub-{s}/func/sub-{s}_task-x_run-{r}_bold.nii.gz" for s in ("2", "10", "1") for r in ("10", "9")]
    _, recordings = find_recordings(make(tmp_path, *names))
    assert labels(recordings) == [(s, r) for s in ("1", "2", "10") for r in ("9", "10")]


def test_runs_are_named_alike_whatever_part_of_the_tree_is_asked_for(tmp_path):
    root = make(
        tmp_path,
        "sub-1/ses-a/func/sub-1_ses-a_task-x_bold.nii.gz",
        "sub-1/ses-b/func/sub-1_ses-b_task-x_run-2_bold.nii.gz",
        "sub-2/ses-a/func/sub-2_ses-a_task-x_bold.nii.gz",
    )
    assert labels(find_recordings(root)[1]) == [("1", "a-1"), ("1", "b-2"), ("2", "a-1")]
    assert labels(find_recordings(root, subject="2")[1]) == [("2", "a-1")]
    assert labels(find_recordings(root, session="a")[1]) == [("1", "1"), ("2", "1")]


def test_several_tasks_are_a_question(tmp_path):
    root = make(tmp_path, *(f"sub-1/func/sub-1_task-{task}_bold.nii.gz" for task in ("rest", "story")))
    with pytest.raises(SettingsError, match="several tasks: 'rest', 'story'; name one as task"):
        find_recordings(root)
    assert find_recordings(root, task="story")[1][0].file.entities["task"] == "story"


def test_a_tree_without_tasks_has_recordings_too(tmp_path):
    assert labels(find_recordings(make(tmp_path, "sub-1/func/sub-1_bold.nii"))[1]) == [("1", "1")]


def test_leading_zeros_need_not_be_typed_unless_they_decide(tmp_path):
    root = make(tmp_path, *(f"sub-{s}/func/sub-{s}_task-x_bold.nii.gz" for s in ("01", "1", "001", "02")))
    assert find_recordings(root, subject="2")[1][0].subject == "02"
    assert find_recordings(root, subject=2)[1][0].subject == "02"
    assert find_recordings(root, subject="1")[1][0].subject == "1"
    with pytest.raises(SettingsError, match=r"no subject '0001' .*; it could be any of '001', '01', '1'"):
        find_recordings(root, subject="0001")
    assert labels(find_recordings(root, subject=["02", "01", "02"])[1]) == [("01", "1"), ("02", "1")]


def test_what_is_at_hand_decides_and_the_rest_is_a_note(tmp_path):
    raw, prep = "sub-1/func/sub-1_task-x_", "derivatives/prep/sub-1/func/sub-1_task-x_"
    root = make(tmp_path, f"{prep}space-MNI_res-2_desc-preproc_bold.nii.gz", f"{prep}desc-confounds_timeseries.tsv")
    assert choose_recordings(root).notes == []
    make(root, f"{raw}bold.nii.gz")
    chosen = choose_recordings(root)
    assert chosen.recordings[0].file.dataset == ""
    (note,) = chosen.notes
    assert note == (
        "read derivatives='raw' (images); also there: derivatives='prep', space='MNI:res-2:desc-preproc' (images)"
    )
    make(root, f"{prep}seg-Schaefer_timeseries.tsv")
    assert choose_recordings(root).recordings[0].kind == "table"
    assert choose_recordings(root, atlas="Schaefer").recordings[0].kind == "table"
    for arguments in ({"space": "MNI"}, {"space": "MNI:res-2"}, {"nifti": True, "derivatives": "prep"}):
        chosen = choose_recordings(root, **arguments)
        assert chosen.recordings[0].file.entities.get("space") == "MNI"
        assert chosen.notes == []
    assert choose_recordings(root, derivatives="raw").recordings[0].file.dataset == ""


def test_tables_of_nobody_are_no_recordings(tmp_path):
    with pytest.raises(
        InputError, match=r"holds no fMRI recording: looked for sub-\*_timeseries.tsv .*found _timeseries"
    ):
        find_recordings(make(tmp_path, "task-x_timeseries.tsv", "sub-1/func/sub-1_desc-confounds_timeseries.tsv"))


def test_both_hemispheres_are_one_recording(tmp_path):
    names = [f"sub-1/func/sub-1_task-x_run-{r}_hemi-{h}_space-fsaverage_bold.func.gii" for r in "12" for h in "RL"]
    chosen = choose_recordings(make(tmp_path, *names))
    assert labels(chosen.recordings) == [("1", "1"), ("1", "2")]
    for recording in chosen.recordings:
        assert recording.kind == "gifti"
        assert [f.entities["hemi"] for f in (recording.file, *recording.others)] == ["L", "R"]
    assert chosen.notes == []


def test_a_hemisphere_that_is_missing_somewhere_is_named_and_one_that_is_missing_everywhere_is_a_note(tmp_path):
    name = "sub-{}/func/sub-{}_task-x_run-{}_hemi-{}_space-fsaverage_bold.func.gii"
    root = make(tmp_path, *(name.format(s, s, r, "L") for s in "12" for r in "12"))
    assert choose_recordings(root).notes == ["only one hemisphere is there: hemi-L"]
    make(root, *(name.format(1, 1, r, "R") for r in "12"), name.format(2, 2, 1, "R"))
    with pytest.raises(
        InputError,
        match=r"a hemisphere is missing .*: hemi-R of sub-2/func/sub-2_task-x_run-2_hemi-L\S*; fetch it, or leave",
    ):
        choose_recordings(root)
    assert choose_recordings(root, subject="1").notes == []
    (root / name.format(2, 2, 1, "L")).unlink()
    with pytest.raises(InputError, match=r"hemi-L of \S*run-1_hemi-R\S*, hemi-R of \S*run-2_hemi-L"):
        choose_recordings(root, subject="2")


def test_echoes_apart_are_a_question_and_echoes_combined_an_answer(tmp_path):
    root = make(tmp_path, *(f"sub-1/func/sub-1_task-x_echo-{echo}_part-mag_bold.nii.gz" for echo in "12"))
    with pytest.raises(
        SettingsError,
        match=r"holds the echoes .* apart; read them combined .*tedana.*\n.*space='none:echo-1' .*\n.*'none:echo-2'",
    ):
        choose_recordings(root)
    assert choose_recordings(root, space="none:echo-2").recordings[0].file.entities["echo"] == "2"
    prep = "derivatives/fmriprep/sub-1/func/sub-1_task-x_"
    make(root, *(f"{prep}echo-{echo}_desc-preproc_bold.nii.gz" for echo in "12"), f"{prep}desc-preproc_bold.nii.gz")
    (recording,) = choose_recordings(root, derivatives="fmriprep").recordings
    assert "echo" not in recording.file.entities


def test_references_and_phases_are_no_recordings(tmp_path):
    name = "sub-1/func/sub-1_task-x_"
    root = make(
        tmp_path, *(f"{name}{rest}.nii.gz" for rest in ("sbref", "boldref", "part-phase_bold", "part-mag_bold"))
    )
    (recording,) = choose_recordings(root).recordings
    assert recording.file.entities["part"] == "mag"
    assert labels(find_recordings(root)[1]) == [("1", "1")]


def test_runs_that_are_not_in_the_chosen_form_are_named(tmp_path):
    raw, prep = (
        "sub-1/func/sub-1_task-x_run-{}_bold.nii.gz",
        "derivatives/p/sub-1/func/sub-1_task-x_run-{}_space-T1w_bold.nii.gz",
    )
    root = make(tmp_path, *(raw.format(r) for r in "123"), prep.format(2))
    chosen = choose_recordings(root, space="T1w")
    assert labels(chosen.recordings) == [("1", "2")]
    assert chosen.notes == [
        "not there as derivatives='p', space='T1w' (images), and so not read: sub-1 run 1, sub-1 run 3"
    ]


def test_runs_that_differ_in_how_they_were_scanned_have_that_in_their_label(tmp_path):
    names = [f"dir-{way}_run-{run}" for way in ("AP", "PA") for run in "12"]
    raw = [f"sub-1/func/sub-1_task-x_{name}_bold.nii.gz" for name in names]
    root = make(tmp_path, *raw, "sub-2/func/sub-2_task-x_dir-AP_run-1_bold.nii.gz")
    every = [("1", "AP-1"), ("1", "AP-2"), ("1", "PA-1"), ("1", "PA-2"), ("2", "AP-1")]
    assert labels(find_recordings(root)[1]) == every
    assert labels(find_recordings(root, run="PA-1")[1]) == [("1", "PA-1")]
    assert labels(find_recordings(root, "1", run="2")[1]) == [("1", "AP-2"), ("1", "PA-2")]


def test_what_all_runs_share_is_not_in_their_labels(tmp_path):
    root = make(tmp_path, *(f"sub-1/func/sub-1_task-x_acq-a_dir-{w}_run-{r}_bold.nii" for w, r in ("A1", "P2")))
    assert labels(find_recordings(root)[1]) == [("1", "1"), ("1", "2")]
    make(root, "sub-2/func/sub-2_task-x_bold.nii", "sub-2/func/sub-2_task-x_rec-b_bold.nii")
    every = [("1", "none-1"), ("1", "none-2"), ("2", "b-1"), ("2", "none-1")]
    assert labels(find_recordings(root)[1]) == every


def test_a_number_may_be_numpys(tmp_path):
    root = make(tmp_path, *(f"sub-{s}/func/sub-{s}_task-x_bold.nii.gz" for s in ("01", "02")))
    assert labels(find_recordings(root, subject=np.int64(2))[1]) == [("02", "1")]
    assert labels(choose_recordings(root, subject=np.array([1, 2])).recordings) == [("01", "1"), ("02", "1")]
