"""What may be wrong with a tree of images: each a clear error, once, or a repair that is stated."""

import re

import numpy as np
import pytest

from brainalign import InputError, SettingsError
from brainalign.errors import problems_of
from brainalign.events import run_ends
from brainalign.io.fmri import read_fmri
from brainalign.io.transcripts import problems_in_events

# What is wrong with a single image, mask or table of a single run is in test_fmri_images and test_fmri_tables, with a
# surface in test_surface and test_cifti, with matrices and betas in test_matrices and test_nsd.


@pytest.fixture
def study(images):
    """One person, two runs of 6 and 8 volumes."""
    for run, volumes in (("1", 6), ("2", 8)):
        images.preproc("01", run, images.data("01", run, volumes))
        images.mask("01", run, images.half())
        images.confounds("01", run, "trans_x\tfd\n" + "".join(f"{k}\t0\n" for k in range(volumes)))
    return images


def prep(study, rest):
    return study.root / "derivatives/fmriprep" / rest


def swap(study, rest):
    """Exchange what two runs have under the same name."""
    one, other = (prep(study, study.name("01", run, rest)) for run in ("1", "2"))
    contents = one.read_bytes(), other.read_bytes()
    one.write_bytes(contents[1])
    other.write_bytes(contents[0])


def without_sidecars(study):
    for path in study.root.rglob("*_bold.json"):
        path.unlink()
    study.write(prep(study, study.name("01", "2", "space-MNI_desc-preproc_bold.nii.gz")), study.data("01", "2"), tr=2.0)


def native(study):
    """Both runs in the scanner's own space too, whose files have no `space-`."""
    for run in ("1", "2"):
        study.write(prep(study, study.name("01", run, "desc-preproc_bold.nii.gz")), study.data("01", run)[:3])


def elsewhere(study):
    """The second run in another space alone."""
    here = prep(study, study.name("01", "2", "space-MNI_desc-preproc_bold.nii.gz"))
    here.rename(here.with_name(here.name.replace("MNI", "T1w")))


def segmented(study):
    study.write(prep(study, "sub-01/anat/sub-01_space-T1w_desc-aseg_dseg.nii.gz"), np.ones(study.shape))


BROKEN = {
    "an empty sidecar of all runs": (
        lambda s: prep(s, "task-x_bold.json").write_text(""),
        {},
        InputError,
        [r"task-x_bold.json is empty: write it again, or take it out of the tree"],
    ),
    "an empty table of confounds": (
        lambda s: s.confounds("01", "1", ""),
        {},
        InputError,
        [r"run-1_desc-confounds_timeseries.tsv has 0 rows, .*run-1_.*bold.nii.gz has 6"],
    ),
    "confounds of two runs swapped": (
        lambda s: swap(s, "desc-confounds_timeseries.tsv"),
        {},
        InputError,
        [
            r"run-1_desc-confounds_timeseries.tsv has 8 rows, .*run-1_.*_bold.nii.gz has 6: .* is it of another run\?",
            r"run-2_desc-confounds_timeseries.tsv has 6 rows, .*run-2_.*_bold.nii.gz has 8: .* is it of another run\?",
        ],
    ),
    "a TR in one sidecar and another in the next": (
        lambda s: s.preproc("01", "2", s.data("01", "2", 8), RepetitionTime=2.0),
        {},
        InputError,
        [r"sub-01, run 2 has a TR of 2 s, run 1 of 1.5 s: read the two apart, with run= or session="],
    ),
    "a TR in one header and another in the next": (
        lambda s: (without_sidecars(s), s.confounds("01", "2", "trans_x\n" + "1\n" * 6)),
        {},
        InputError,
        [r"sub-01, run 2 has a TR of 2 s, run 1 of 1.5 s"],
    ),
    "one empty mask for all runs": (
        lambda s: s.write(s.root / "none.nii.gz", np.zeros(s.shape)),
        {"mask": "none.nii.gz"},
        InputError,
        [r"none.nii.gz has no voxel in its mask: name another mask"],
    ),
    "a space that is not there": (
        lambda s: None,
        {"space": "T1w"},
        SettingsError,
        [r"no space 'T1w' among the recordings; known: 'MNI'"],
    ),
    "names without a space beside others": (
        native,
        {},
        SettingsError,
        [r"(?s)2 versions .* say which is meant:.*space='none:desc-preproc'.*space='MNI:desc-preproc'"],
    ),
    "every run in a space of its own": (
        elsewhere,
        {},
        SettingsError,
        [r"(?s)2 versions .* say which is meant:.*space='MNI:desc-preproc'.*space='T1w:desc-preproc'"],
    ),
    "an atlas in another space": (
        segmented,
        {"atlas": "aseg", "run": "1"},
        InputError,
        [r"no segmentation 'aseg' goes with .*_space-MNI_.*; there are some of the space 'T1w': name that, or the at"],
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_mended_is_said_once(study, case):
    damage, asked, kind, messages = BROKEN[case]
    damage(study)
    with pytest.raises(kind) as caught:
        read_fmri(study.root, **asked)
    problems = problems_of(caught.value)
    assert len(problems) == len(messages)
    for problem, message in zip(problems, messages, strict=True):
        assert re.search(message, problem)


def test_smoothing_and_masks_are_not_for_surfaces(study):
    prep(study, study.name("01", "1", "space-fsLR_den-91k_bold.dtseries.nii")).touch()
    with pytest.raises(SettingsError, match=r"space 'fsLR' has grayordinates \(CIFTI\); masks, smoothing and label"):
        read_fmri(study.root, space="fsLR", smooth_mm=4)


def test_a_run_that_is_not_there_in_a_space_is_left_out_and_named(study):
    elsewhere(study)
    bold = read_fmri(study.root, space="space-MNI")
    assert bold.runs == ["1"]
    assert (
        "not there as derivatives='fmriprep', space='MNI:desc-preproc' (images), and so not read: sub-01 run 2"
        in (bold.attrs["notes"])
    )


def test_confounds_that_begin_late_take_their_first_value_and_say_so(study):
    study.confounds("01", "1", "trans_x\tfd\tlate\n1\tn/a\tn/a\n2\t5\tn/a\n" + "3\t6\t7\n" * 4)
    bold = read_fmri(study.root, run="1")
    assert bold.related["confounds"].values.tolist()[:3] == [[1, 5, 7], [2, 5, 7], [3, 6, 7]]
    (note,) = bold.attrs["notes"]  # that a displacement has no first value is how fMRIPrep writes it
    assert "desc-confounds_timeseries.tsv: late n/a in the first rows, taken to be what is in the first one" in note


def test_people_of_another_tr_stand_apart_and_have_no_mean(study):
    for run, volumes in (("1", 6), ("2", 8)):
        study.preproc("02", run, study.data("02", run, volumes), RepetitionTime=2.0)
        study.mask("02", run, study.half())
    assert [bold.attrs["tr"] for bold in read_fmri(study.root)] == [1.5, 2.0]
    with pytest.raises(InputError, match=r"one clock, found sub-01: 14 .* TR 1.5 s, .*; sub-02: 14 .* TR 2 s"):
        read_fmri(study.root, average="subjects")


def test_events_of_two_runs_swapped_are_found_where_one_ends_before_they_do(study):
    for run, last in (("1", 7.0), ("2", 11.5)):
        path = prep(study, study.name("01", run, "events.tsv"))
        path.write_text(f"onset\tduration\tword\n0.5\t0.2\tfirst\n{last}\t0.2\tlast\n")
    ends = run_ends(read_fmri(study.root))
    assert problems_in_events(study.root, ends=ends) == []
    swap(study, "events.tsv")
    (problem,) = problems_in_events(study.root, ends=ends)
    assert re.search(
        r"run 1, event 2 \(last\): onset 11.5 s, after the recording ends \(9.25 s\): .* another run", problem
    )


def test_vertices_of_meshes_of_other_sizes_have_no_mean(surfaces):
    for person, vertices in (("02", 6), ("01", 5)):
        here = surfaces.gifti(surfaces.data(0, places=vertices), name="hemi-L_space-subject_bold.func.gii")
        there = here.parents[2] / f"sub-{person}/func" / here.name.replace("sub-01", f"sub-{person}")
        there.parent.mkdir(parents=True, exist_ok=True)
        here.replace(there)
    (surfaces.root / "derivatives/fmriprep/task-x_bold.json").write_text('{"RepetitionTime": 1.5, "StartTime": 0}')
    assert read_fmri(surfaces.root).shape == (7, 11)
    with pytest.raises(InputError, match="a mean over subjects needs their recordings on one grid, in one space"):
        read_fmri(surfaces.root, average="subjects")
