"""TR and start: which source comes first, and what is said where they disagree."""

import json

import pytest

from brainalign.io.bids import index_bids
from brainalign.io.clock import read_clock


def clock_of(root, header_tr=None, raw=None, own=None):
    """The clock of a preprocessed image, by what the raw sidecar and its own say."""
    func = root / "derivatives/fmriprep/sub-01/func"
    func.mkdir(parents=True)
    (func / "sub-01_task-x_desc-preproc_bold.nii.gz").write_bytes(b"not opened")
    for path, content in ((root / "task-x_bold.json", raw), (func / "sub-01_task-x_desc-preproc_bold.json", own)):
        if content is not None:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
    tree = index_bids(root)
    (file,) = tree.find("bold", ".nii.gz")
    return read_clock(tree, file, "the image", header_tr)


@pytest.mark.parametrize(
    ("raw", "own", "header", "tr", "start"),
    [
        ({"RepetitionTime": 2}, None, 2.0, 2.0, None),
        ({"RepetitionTime": 1.5}, {"RepetitionTime": 1.5, "StartTime": 0.75}, 1.5, 1.5, 0.75),
        ({"RepetitionTime": 2, "SliceTiming": [0, 0.5, 1]}, {"SkullStripped": True}, 2.0, 2.0, 0.5),
        ({"RepetitionTime": 2, "SliceTiming": [0, 0.5, 1]}, {"StartTime": 1}, 2.001, 2.0, 1.0),
    ],
)
def test_the_first_that_says_it_is_taken_and_nothing_is_said_where_they_agree(tmp_path, raw, own, header, tr, start):
    clock, problems = clock_of(tmp_path, header, raw, own)
    assert problems == []
    assert (clock.tr, clock.start, clock.notes) == (tr, start, [])


@pytest.mark.parametrize(
    ("raw", "header", "tr", "start", "note"),
    [
        (None, 1.5, 1.5, None, "no sidecar says RepetitionTime: 1.5 s by the header"),
        ({"StartTime": 0.25}, 1.5, 1.5, 0.25, "no sidecar says RepetitionTime: 1.5 s by the header"),
        (
            {"RepetitionTime": 2, "StartTime": 0},
            1.0,
            2.0,
            0.0,
            "RepetitionTime is 2 s in the sidecar, 1 s in the header: the sidecar's taken",
        ),
        (
            {"RepetitionTime": 2, "StartTime": 10, "SliceTiming": [0, 1]},
            2.0,
            2.0,
            10.0,
            "StartTime is 10 s, the mean of SliceTiming 0.5 s: StartTime taken",
        ),
    ],
)
def test_what_is_not_as_expected_is_a_note(tmp_path, raw, header, tr, start, note):
    clock, problems = clock_of(tmp_path, header, raw)
    assert problems == []
    assert (clock.tr, clock.start, clock.notes) == (tr, start, [note])


def test_its_own_sidecar_comes_before_that_of_the_raw_images(tmp_path):
    raw, own = {"RepetitionTime": 2, "StartTime": 0}, {"RepetitionTime": 1.5, "StartTime": 0.75}
    clock, _ = clock_of(tmp_path, 1.5, raw, own)
    assert (clock.tr, clock.start) == (1.5, 0.75)
    assert clock.notes == [
        "RepetitionTime is 1.5 s in its own sidecar, 2 s in that of the images it was made from: its own taken",
        "StartTime is 0.75 s in its own sidecar, 0 s in that of the images it was made from: its own taken",
    ]


def test_both_may_disagree(tmp_path):
    clock, _ = clock_of(tmp_path, 2.5, {"RepetitionTime": 2, "StartTime": 10, "SliceTiming": [0, 1]})
    assert len(clock.notes) == 2


@pytest.mark.parametrize(
    ("raw", "header", "message"),
    [
        (None, None, "the image has no sidecar: looked for sub-01_task-x_desc-preproc_bold.json beside it"),
        (
            {"StartTime": 0},
            None,
            "the image: no RepetitionTime in task-x_bold.json; add it, in seconds, to sub-01_",
        ),
        ({"RepetitionTime": 0}, 2.0, "its json says RepetitionTime 0; it is a number of seconds between 0 and 100"),
        (None, 2000.0, "its header says a RepetitionTime of 2000.0; it is a number of seconds between 0 and 100"),
        ({"VolumeTiming": [0, 3, 9]}, 3.0, "its json says VolumeTiming .* only volumes that follow one another evenly"),
        ({"SliceTiming": [0, 1.8]}, 1.5, "a slice is taken at 1.8 s, after the next volume has begun"),
        ("", 2.0, "task-x_bold.json is empty: write it again, or take it out of the tree"),
    ],
    ids=["nothing", "no TR", "zero", "milliseconds", "sparse", "slices", "empty sidecar"],
)
def test_what_cannot_be_a_clock_is_a_problem(tmp_path, raw, header, message):
    clock, problems = clock_of(tmp_path, header, raw)
    assert clock is None
    with pytest.raises(ValueError, match=message):
        raise ValueError(*problems)
