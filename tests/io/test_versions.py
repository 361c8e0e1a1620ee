"""Versions of one recording: what each is called, and that its name chooses it and no other."""

import ast
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainalign import SettingsError
from brainalign.io.bids import BidsFile
from brainalign.io.recordings import choose_recordings, find_recordings, recording_kind
from brainalign.io.versions import ambiguous, describe, meant, version_of

# what fMRIPrep (old and new) and XCP-D write of one run, pipeline by pipeline; every line is a version
PREP, XCP = (
    "derivatives/fmriprep/sub-01/ses-1/func/sub-01_ses-1_task-x_run-1_",
    "derivatives/xcp_d/sub-01/ses-1/func/sub-01_ses-1_task-x_run-1_",
)
RAW = "sub-01/ses-1/func/sub-01_ses-1_task-x_run-1_"
EVERY = {
    "raw": [f"{RAW}bold.nii.gz"],
    "its own space": [f"{PREP}desc-preproc_bold.nii.gz"],
    "MNI": [f"{PREP}space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"],
    "MNI 2 mm": [f"{PREP}space-MNI152NLin2009cAsym_res-2_desc-preproc_bold.nii.gz"],
    "T1w": [f"{PREP}space-T1w_desc-preproc_bold.nii.gz"],
    "fsaverage6": [f"{PREP}hemi-{side}_space-fsaverage6_bold.func.gii" for side in "LR"],
    "fsnative": [f"{PREP}hemi-{side}_space-fsnative_bold.func.gii" for side in "LR"],
    "fsLR, GIFTI": [f"{PREP}hemi-{side}_space-fsLR_den-91k_bold.func.gii" for side in "LR"],
    "fsLR, CIFTI": [f"{PREP}space-fsLR_den-91k_bold.dtseries.nii"],
    "CIFTI, as before 20.2": [f"{PREP}bold.dtseries.nii"],
    "denoised": [f"{XCP}space-fsLR_den-91k_desc-denoised_bold.dtseries.nii"],
    "smoothed": [f"{XCP}space-fsLR_den-91k_desc-denoisedSmoothed_bold.dtseries.nii"],
    "parcels": [f"{XCP}space-fsLR_seg-Glasser_den-91k_stat-mean_timeseries.ptseries.nii"],
    "parcels of fewer": [f"{XCP}space-fsLR_seg-Tian_den-91k_stat-mean_timeseries.ptseries.nii"],
    "their table": [f"{XCP}space-fsLR_seg-Glasser_stat-mean_timeseries.tsv"],
}


@pytest.fixture
def full(tmp_path):
    for names in EVERY.values():
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
    return tmp_path


def arguments(line):
    """The arguments that a line of the message says to pass."""
    call = ast.parse(f"f({line.strip().removeprefix('- ').partition(' (')[0]})", mode="eval").body
    return {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}


def versions_in(root):
    return list(dict.fromkeys(recording.version for recording in find_recordings(root)[1]))


def test_every_version_is_chosen_by_what_it_is_called(full):
    versions = versions_in(full)
    assert len(versions) == len(EVERY)
    message = str(ambiguous(versions, "here"))
    chosen = []
    for line in message.splitlines()[1:]:
        found = choose_recordings(full, **arguments(line))
        (recording,) = found.recordings
        chosen.append(sorted(f.path.relative_to(full).as_posix() for f in (recording.file, *recording.others)))
    assert sorted(chosen) == sorted(sorted(names) for names in EVERY.values())


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"space": "fsaverage6"}, "fsaverage6"),
        ({"space": "fsLR:den-91k:gifti"}, "fsLR, GIFTI"),
        ({"space": "fsLR:den-91k", "derivatives": "xcp_d"}, None),
        ({"space": "MNI152NLin2009cAsym:res-2"}, "MNI 2 mm"),
        ({"space": "MNI152NLin2009cAsym:desc-preproc"}, "MNI"),
        ({"space": "T1w"}, "T1w"),
        ({"atlas": "Glasser"}, "their table"),
        ({"atlas": "Glasser:cifti"}, "parcels"),
        ({"atlas": "Tian"}, "parcels of fewer"),
        ({}, "their table"),
        ({"derivatives": "raw"}, "raw"),
    ],
)
def test_what_a_person_would_type_chooses(full, asked, name):
    if name is None:
        with pytest.raises(SettingsError, match=r"2 versions .*\n.*:desc-denoisedSmoothed' .*\n.*:desc-denoised'"):
            choose_recordings(full, **asked)
        return
    (recording,) = choose_recordings(full, **asked).recordings
    assert recording.file.path == full / EVERY[name][0]


def test_versions_that_differ_in_form_alone_are_told_apart_by_it(full):
    with pytest.raises(SettingsError, match=r"2 versions") as caught:
        choose_recordings(full, space="fsLR:den-91k", derivatives="fmriprep")
    assert re.findall(r"space='(\S+)' \((.*)\)", str(caught.value)) == [
        ("fsLR:den-91k:gifti", "surfaces"),
        ("fsLR:den-91k:cifti", "grayordinates (CIFTI)"),
    ]


def test_a_space_that_only_regions_are_in_says_so(tmp_path):
    (tmp_path / "sub-1").mkdir()
    (tmp_path / "sub-1/sub-1_space-fsLR_seg-Glasser_timeseries.tsv").touch()
    with pytest.raises(
        SettingsError,
        match=r"only regions are in the space 'fsLR': name their atlas, .*atlas='Glasser:space-fsLR' \(tables of reg",
    ):
        choose_recordings(tmp_path, space="fsLR")


def test_one_hemisphere_is_not_a_version(full):
    with pytest.raises(SettingsError, match="'fsaverage6' is there, but not with hemi-L"):
        choose_recordings(full, space="fsaverage6:hemi-L")


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_set_of_versions_is_told_apart(data):
    forms = [("bold", ".nii.gz"), ("bold", ".func.gii"), ("bold", ".dtseries.nii")]
    some = st.dictionaries(st.sampled_from(["space", "res", "den", "desc", "echo"]), st.sampled_from(["1", "a"]))
    drawn = data.draw(st.lists(st.tuples(some, st.sampled_from(forms)), min_size=1, max_size=6))
    files = [BidsFile("", "", (), entities, *form) for entities, form in drawn]
    pairs = [(file, version_of(file, recording_kind(file))) for file in files]
    versions = list(dict.fromkeys(version for _, version in pairs))
    for version in versions:
        said = re.search(r"space='(\S+)'", describe(version, versions))[1]
        chosen = {v for (_, v), yes in zip(pairs, meant(pairs, "space", said), strict=True) if yes}
        assert version in chosen
        assert {frozenset(v.entities) for v in chosen} == {frozenset(version.entities)}
        if sum(v.entities == version.entities for v in versions) == 1:
            assert all(set(v.entities) == set(version.entities) for v in chosen)
