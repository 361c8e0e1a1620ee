import json
import time
from pathlib import Path

import mne_bids
import pytest

from brainalign import InputError
from brainalign.io.bids import index_bids, parse_name, read_json
from brainalign.io.fetch import sample_path


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("sub-01_bold.nii", ({"sub": "01"}, "bold", ".nii")),
        ("task-x_events.tsv", ({"task": "x"}, "events", ".tsv")),
        ("participants.tsv", ({}, "participants", ".tsv")),
        ("sub-01_atlas-sphere6mm_timeseries.tsv", ({"sub": "01", "atlas": "sphere6mm"}, "timeseries", ".tsv")),
        (
            "sub-01_hemi-L_den-91k_bold.dtseries.nii",
            ({"sub": "01", "hemi": "L", "den": "91k"}, "bold", ".dtseries.nii"),
        ),
        ("notes_about_bold.nii", None),
        ("sub-_bold.nii", None),
        ("README", None),
        ("README.md", None),
    ],
)
def test_a_name_is_taken_apart(name, parsed):
    assert parse_name(name) == parsed


def test_names_mean_what_mne_bids_says():
    long = {"sub": "subject", "ses": "session", "desc": "description", "rec": "reconstruction", "res": "resolution"}
    seen = 0
    for file in index_bids(sample_path("haxby")).files:
        if not file.entities.get("sub"):
            continue
        theirs = mne_bids.get_entities_from_fname(file.path, on_error="ignore")
        shared = {long.get(key, key): label for key, label in file.entities.items() if long.get(key, key) in theirs}
        assert shared == {key: label for key, label in theirs.items() if label is not None and key in shared}
        assert {"subject"} <= shared.keys()
        seen += 1
    assert seen == 12 * 4 + 5


def test_sidecars_are_merged_from_the_root_down(tmp_path):
    func = tmp_path / "sub-1/func"
    func.mkdir(parents=True)
    (func / "sub-1_task-x_run-1_bold.nii.gz").touch()
    (tmp_path / "bold.json").write_text('{"A": "root", "B": "root", "C": "root", "D": "root"}')
    (tmp_path / "task-x_bold.json").write_text('{"B": "task", "C": "task", "D": "task"}')
    (tmp_path / "task-y_bold.json").write_text('{"A": "another task"}')
    (tmp_path / "sub-1/sub-1_bold.json").write_text('{"C": "person", "D": "person"}')
    (func / "sub-1_task-x_run-1_bold.json").write_text('{"D": "run"}')
    (func / "sub-1_task-x_run-2_bold.json").write_text('{"D": "another run"}')
    tree = index_bids(tmp_path)
    (bold,) = tree.find("bold", ".nii.gz")
    merged, sources = tree.sidecar(bold)
    assert merged == {"A": "root", "B": "task", "C": "person", "D": "run"}
    assert len(sources) == 4


def test_a_derivative_inherits_from_the_raw_tree_before_its_own(tmp_path):
    name = "sub-1/func/sub-1_task-x_space-MNI_desc-preproc_bold"
    (tmp_path / "derivatives/prep/sub-1/func").mkdir(parents=True)
    (tmp_path / f"derivatives/prep/{name}.nii.gz").touch()
    (tmp_path / f"derivatives/prep/{name}.json").write_text('{"StartTime": 1}')
    (tmp_path / "task-x_bold.json").write_text('{"StartTime": 0, "RepetitionTime": 2}')
    tree = index_bids(tmp_path)
    assert tree.sidecar(tree.find("bold", ".nii.gz", dataset="prep")[0])[0] == {"StartTime": 1, "RepetitionTime": 2}


@pytest.mark.parametrize(
    ("recording", "sidecar"),
    [
        ("space-MNI_res-2_desc-preproc_bold.nii.gz", "space-MNI_res-2_desc-preproc_bold.json"),
        ("hemi-L_space-fsnative_bold.func.gii", "hemi-L_space-fsnative_bold.json"),
        ("space-fsaverage5_hemi-L_bold.func.gii", "space-fsaverage5_hemi-L_bold.json"),
        ("space-fsLR_den-91k_bold.dtseries.nii", "space-fsLR_den-91k_bold.json"),
        ("space-fsLR_den-91k_bold.dtseries.nii", "space-fsLR_den-91k_bold.dtseries.json"),
        ("bold.dtseries.nii", "bold.dtseries.json"),
    ],
)
def test_the_sidecar_that_fmriprep_writes_is_found(tmp_path, recording, sidecar):
    func, name = tmp_path / "derivatives/fmriprep/sub-1/ses-1/func", "sub-1_ses-1_task-x_run-1_"
    func.mkdir(parents=True)
    (func / f"{name}{recording}").touch()
    (func / f"{name}{sidecar}").write_text('{"RepetitionTime": 2}')
    (func / f"{name}space-other_bold.json").write_text('{"RepetitionTime": 3}')
    (tmp_path / "task-x_bold.json").write_text('{"RepetitionTime": 4, "SliceTiming": [0, 1]}')
    tree = index_bids(tmp_path)
    (file,) = (f for f in tree.files if f.path.name == f"{name}{recording}")
    merged, sources = tree.sidecar(file)
    assert merged == {"RepetitionTime": 2, "SliceTiming": [0, 1]}
    assert [source.path.name for source in sources] == ["task-x_bold.json", f"{name}{sidecar}"]


def test_only_subjects_and_derivatives_are_entered(tmp_path):
    for folder in ("sourcedata/sub-1", "code", "sub-1/func", "derivatives/prep/sub-1", "derivatives/.hidden/sub-1"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "sub-1_bold.nii").touch()
    (tmp_path / "sub-1/func/.sub-1_hidden-1_bold.nii").touch()
    places = {file.path.relative_to(tmp_path).as_posix() for file in index_bids(tmp_path).files}
    assert places == {"sub-1/func/sub-1_bold.nii", "derivatives/prep/sub-1/sub-1_bold.nii"}


def test_files_that_are_links_are_found_and_rings_of_links_are_walked_once(tmp_path):
    real = tmp_path / "annex/abc"
    real.parent.mkdir()
    real.write_text("")
    root = tmp_path / "tree"
    (root / "sub-1/func").mkdir(parents=True)
    (root / "sub-1/func/sub-1_bold.nii").symlink_to(real)
    (root / "sub-1/func/again").symlink_to(root / "sub-1")
    names = [file.path.name for file in index_bids(root).find("bold", ".nii")]
    assert names == ["sub-1_bold.nii"] * 2  # once as it is, once through the link, and not for ever


def test_a_hundred_people_with_ten_runs_are_indexed_in_seconds(tmp_path):
    for subject in range(100):
        func = tmp_path / f"sub-{subject:03d}/func"
        func.mkdir(parents=True)
        for run in range(10):
            for rest in ("bold.nii.gz", "bold.json", "events.tsv"):
                (func / f"sub-{subject:03d}_task-x_run-{run:02d}_{rest}").touch()
    start = time.perf_counter()
    assert len(index_bids(tmp_path).files) == 3000
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, r"there is no folder .*tree: .* is empty; give the folder"),
        (lambda root: root.write_text(""), r"there is no folder .*tree: it is a file"),
        (lambda root: root.mkdir(), r"holds no BIDS file, .*: it is empty; give the folder"),
        (lambda root: [root.mkdir(), (root / "notes.md").touch()], r"holds no BIDS file, .*: it holds notes.md; give"),
    ],
)
def test_what_is_no_tree_is_refused(tmp_path, make, message):
    root = tmp_path / "tree"
    make(root)
    with pytest.raises(InputError, match=message):
        index_bids(root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: write it again"),
        ("{", "cannot be read as JSON"),
        ("[1]", r"holds list, a sidecar holds an object"),
    ],
)
def test_a_broken_sidecar_is_named(tmp_path, text, message):
    path = tmp_path / "task-x_bold.json"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"task-x_bold.json {message}"):
        read_json(path)


def test_a_byte_order_mark_is_no_obstacle(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"RepetitionTime": 2}), encoding="utf-8-sig")
    assert read_json(Path(path)) == {"RepetitionTime": 2}
