"""What was recorded beside the brain: columns and strategies against nilearn's own, and who is censored."""

import json

import numpy as np
import pytest
from nilearn.interfaces.fmriprep import load_confounds
from nilearn.interfaces.fmriprep.load_confounds import COMPCOR_TYPES, CONFOUND_MODEL

from brainalign import SettingsError
from brainalign.io.bids import index_bids
from brainalign.io.confounds import read_beside
from brainalign.io.wanted import COMPCOR, MODELS, limits_of, wanted_confounds

N = 60


def beside(images, asked=None, censor=None, n=N, subject="01"):
    """As read for an image of fMRIPrep, which is written here where it is not there yet."""
    image = images.root / "derivatives/fmriprep" / images.name(subject, "1", "space-MNI_desc-preproc_bold.nii.gz")
    image.parent.mkdir(parents=True, exist_ok=True)
    image.touch()
    tree = index_bids(images.root)
    (file,) = tree.find("bold", ".nii.gz")
    return read_beside(tree, file, "the image", n, asked, censor)


def problem(images, *args, **kwargs):
    found = beside(images, *args, **kwargs)
    assert found.table is found.use is None
    (said,) = found.problems
    return said


STRATEGIES = {
    "names": (["motion", "wm_csf"], {"strategy": ("motion", "wm_csf")}),
    "all of it": (
        ["motion", "high_pass", "wm_csf", "global_signal", "compcor"],
        {"strategy": ("motion", "high_pass", "wm_csf", "global_signal", "compcor")},
    ),
    "options": (
        {"motion": "derivatives", "wm_csf": "power2", "global_signal": None},
        {"strategy": ("motion", "wm_csf", "global_signal"), "motion": "derivatives", "wm_csf": "power2"},
    ),
    "components": (
        {"high_pass": None, "compcor": {"compcor": "temporal_anat_separated", "n_compcor": 1}},
        {"strategy": ("high_pass", "compcor"), "compcor": "temporal_anat_separated", "n_compcor": 1},
    ),
    "aroma": ({"ica_aroma": "basic"}, {"strategy": ("ica_aroma",), "ica_aroma": "basic"}),
    "scrubbing": ({"motion": "basic", "scrub": 3}, {"strategy": ("motion", "scrub"), "motion": "basic", "scrub": 3}),
    "scrubbing more": (
        {"motion": "basic", "scrub": {"scrub": 0, "fd_threshold": 0.7, "std_dvars_threshold": 3.0}},
        {"strategy": ("motion", "scrub"), "motion": "basic", "scrub": 0, "fd_threshold": 0.7, "std_dvars_threshold": 3},
    ),
}


@pytest.mark.parametrize("suffix", ["timeseries", "regressors"])
@pytest.mark.parametrize("case", STRATEGIES)
def test_strategies_are_nilearns(images, case, suffix):
    asked, arguments = STRATEGIES[case]
    path, _ = images.fmriprep_confounds("01", "1", suffix=suffix)
    found = beside(images, asked)
    image = path.with_name(path.name.split("_desc-")[0] + "_space-MNI_desc-preproc_bold.nii.gz")
    theirs, mask = load_confounds(str(image), demean=False, **arguments)
    assert found.problems == []
    assert set(found.table.names) == set(theirs)
    np.testing.assert_allclose(found.table.values, theirs[found.table.names], rtol=1e-12)
    assert np.array_equal(np.flatnonzero(found.use), mask)
    assert found.inputs == [path, path.with_suffix(".json")]


def test_the_words_are_those_nilearn_knows():
    assert list(MODELS) == CONFOUND_MODEL
    assert list(COMPCOR) == COMPCOR_TYPES


def test_images_that_aroma_has_cleaned_need_no_more_of_it(images):
    images.fmriprep_confounds("01", "1")
    assert "Input must be desc-smoothAROMAnonaggr_bold for full ICA-AROMA" in problem(images, ["ica_aroma"])
    image = images.root / "derivatives/fmriprep" / images.name("01", "1", "space-MNI_desc-preproc_bold.nii.gz")
    image.rename(image.with_name(image.name.replace("preproc", "smoothAROMAnonaggr")))
    tree = index_bids(images.root)
    (file,) = tree.find("bold", ".nii.gz")
    found = read_beside(tree, file, "the image", N, ["ica_aroma", "csf"])
    assert found.table.names == ["csf"]


def test_columns_by_name_in_the_tables_order_and_all_of_them(images):
    path, table = images.fmriprep_confounds("01", "1")
    found = beside(images, ["trans_x_derivative1", "csf"])
    assert found.table.names == ["csf", "trans_x_derivative1"]
    assert found.use is None
    assert found.inputs == [path]
    filled = table["trans_x_derivative1"].bfill()
    np.testing.assert_allclose(found.table.values, np.c_[table["csf"], filled], rtol=1e-12)
    assert beside(images).table.names == list(table)
    both = beside(images, {"motion": "basic", "columns": ["csf", "rot_x"]}).table.names
    assert both == ["csf", "trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]
    assert beside(images, []).table is None


def test_of_many_columns_some_are_named(images):
    images.fmriprep_confounds("01", "1")
    said = problem(images, ["heart"])
    assert "has no column 'heart'; there are 55: global_signal, global_signal_derivative1," in said
    assert len(said) < 500
    assert problem(images, ["std_dvar"]).endswith("did you mean 'std_dvars'?")


def test_a_hole_matters_only_in_what_is_asked_for(images):
    path, table = images.fmriprep_confounds("01", "1")
    table.loc[9, "dvars"] = 1.0
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    assert beside(images, ["csf"]).problems == []
    table.loc[9, "csf"] = np.nan
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    assert "line 11, column 'csf': not a finite number; only the first rows" in problem(images, ["csf"])


def test_volumes_above_a_limit_are_censored_and_counted(images):
    images.fmriprep_confounds("01", "1")
    found = beside(images, ["csf"], {"framewise_displacement": 0.5, "std_dvars": 1.5})
    assert np.flatnonzero(~found.use).tolist() == [20, 30, 40]
    assert found.table.names == ["csf"]
    assert found.notes == [
        "the image: 3 of 60 volumes censored (framewise_displacement above 0.5: 2, std_dvars above 1.5: 2)"
    ]
    around = {"framewise_displacement": {"above": 0.8, "before": 1, "after": 2}}
    assert np.flatnonzero(~beside(images, None, around).use).tolist() == [19, 20, 21, 22]
    nobody = beside(images, None, {"framewise_displacement": 5})
    assert nobody.use.all()
    assert nobody.notes == ["the image: 0 of 60 volumes censored (framewise_displacement above 5: 0)"]


def test_neighbours_end_where_the_run_ends(images):
    images.confounds("01", "1", "fd\n" + "".join(f"{one}\n" for one in ("n/a", 0, 0, 9)))
    assert beside(images, None, {"fd": {"above": 1, "before": 2, "after": 7}}, n=4).use.tolist() == [True] + [False] * 3
    assert beside(images, None, {"fd": {"above": 1, "before": 3}}, n=4).problems == [
        "the image: 4 of 4 volumes censored (fd above 1: 4): nothing is left; raise the limits, or take this run out"
    ]


def test_limits_and_strategies_censor_together(images):
    images.fmriprep_confounds("01", "1")
    found = beside(images, ["non_steady_state"], {"std_dvars": 1.8})
    assert np.flatnonzero(~found.use).tolist() == [0, 30]
    assert found.table is None
    assert "(non_steady_state: 1, std_dvars above 1.8: 1)" in found.notes[0]


def test_a_table_of_another_pipeline_has_columns_and_what_nilearn_finds_in_it(images):
    names = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z", "pupil"]
    rows = np.random.default_rng(0).standard_normal((N, 7))
    text = "\t".join(names) + "\n" + "".join("\t".join(map(repr, row.tolist())) + "\n" for row in rows)
    images.confounds("01", "1", text)
    assert beside(images, ["pupil"]).table.names == ["pupil"]
    assert beside(images, {"motion": "basic"}).table.names == names[:6]
    said = problem(images, ["wm_csf"])
    assert "wm_csf cannot be taken from it (The following keywords or parameters are missing:" in said
    said = problem(images, ["scrub"])
    assert "scrub cannot be taken from it (no 'framewise_displacement'); strategies are for" in said
    said = problem(images, ["high_pass", "compcor"])
    assert "compcor cannot be taken from it (Could not find associated json" in said
    assert problem(images, ["pupli"]).endswith("confounds_timeseries.tsv has no column 'pupli'; did you mean 'pupil'?")
    assert problem(images, None, {"pupli": 1}).endswith("has no column 'pupli' to censor by; did you mean 'pupil'?")


def test_six_columns_without_a_header_are_motion_but_no_strategy(images):
    folder = images.root / "sub-01/func"
    folder.mkdir(parents=True)
    rows = "".join(f"{k}  0 0 {k} 0 1\n" for k in range(N))
    (folder / "sub-01_task-x_run-1_desc-confounds_regressors.txt").write_text(rows)
    found = beside(images, ["trans_x"])
    assert found.table.names == ["trans_x"]
    assert found.table.values[:, 0].tolist() == list(range(N))
    assert any("taken as motion, rotations first" in note for note in found.notes)
    assert "motion cannot be taken from it" in problem(images, ["motion"])


def test_where_nothing_was_recorded(images):
    nothing = beside(images)
    assert (nothing.table, nothing.use, nothing.problems, nothing.notes) == (None, None, [], [])
    assert problem(images, ["csf"]) == "the image: confounds are asked for, and there are none beside it"
    assert problem(images, censor={"fd": 1}) == "the image: censoring needs confounds, and there are none beside it"
    assert beside(images, []).problems == []


def test_tables_that_do_not_fit(images):
    path, table = images.fmriprep_confounds("01", "1")
    assert problem(images, n=61).endswith(
        "has 60 rows, the image has 61: both have one per volume; is it of another run? Else cut the volumes dropped "
        "from one out of the other"
    )
    table.assign(framewise_displacement=np.nan).to_csv(path, sep="\t", index=False, na_rep="n/a")
    assert beside(images).notes[0].endswith("framewise_displacement left out, n/a throughout")
    assert "'framewise_displacement' is n/a throughout, and cannot be censored by" in problem(
        images, censor={"framewise_displacement": 0.5}
    )
    path.write_text("csf\n1\nx\n")
    assert "line 3, column 'csf': 'x' is not a number" in problem(images, ["motion"])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (7, "confounds is a list of names; found 7"),
        ([7], r"confounds is a list of names; found \[7\]"),
        (
            {"columns": "csf", "moton": None},
            r"a strategy 'moton' that is not known; did you mean 'motion'\? \(",
        ),
        ({"motion": "ful"}, "confounds, motion: motion is 'ful'; it can be 'basic', 'power2', 'derivatives', 'full'"),
        ({"motion": False}, "confounds, motion: motion is False; it can be 'basic'"),
        ({"scrub": {"fd": 1}}, r"confounds, scrub: no option 'fd'; .*'scrub', 'fd_threshold', 'std_dvars_threshold'"),
        ({"scrub": {"fd_threshold": 0}}, "fd_threshold is 0; it can be a number above 0"),
        ({"scrub": True, "high_pass": 128}, "confounds, high_pass: no option 'high_pass'; it has none; name it alone"),
        ({"high_pass": None, "compcor": {"n_compcor": 2.5}}, "n_compcor is 2.5; it can be 'all', a whole number"),
        (
            {"high_pass": None, "compcor": {"n_compcor": "whole"}},
            "n_compcor is 'whole'; it can be 'all', a whole",
        ),
        (["compcor"], "confounds asks for compcor without high_pass: .* add high_pass"),
    ],
    ids=range(11),
)
def test_what_cannot_be_asked_for(asked, message):
    with pytest.raises(SettingsError, match=message):
        wanted_confounds(asked)


@pytest.mark.parametrize(
    ("censor", "message"),
    [
        (["framewise_displacement"], r"censor names columns and their limits, \{framewise_displacement: 0.5\}; found"),
        ({"fd": "0.5"}, "censor, fd: a limit is a number, or {above: 0.5, before: 1, after: 2} .* found '0.5'"),
        ({"fd": {"after": 1}}, "censor, fd: a limit is a number"),
        ({"fd": {"above": 1, "after": 0.5}}, "censor, fd: a limit is a number"),
        ({"fd": {"over": 1}}, "censor, fd: 'over' is not known; "),
    ],
    ids=range(5),
)
def test_what_cannot_be_a_limit(censor, message):
    with pytest.raises(SettingsError, match=message):
        limits_of(censor)


def test_a_yaml_file_can_say_it():
    import yaml

    text = "{motion: full, high_pass: , compcor: {compcor: temporal, n_compcor: 5}, columns: [pupil]}"
    wanted = wanted_confounds(yaml.safe_load(text))
    assert json.dumps(wanted.options) == '{"motion": "full", "compcor": "temporal", "n_compcor": 5}'
    assert (wanted.columns, wanted.strategies) == (("pupil",), ("motion", "high_pass", "compcor"))
