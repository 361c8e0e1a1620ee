"""A run on surfaces and in grayordinates, read from a tree as fMRIPrep leaves it."""

import json

import nibabel
import numpy as np
import pandas as pd
import pytest

from brainalign import InputError, read_fmri

WALL = 2  # a vertex of the medial wall: fMRIPrep writes zeros there


@pytest.fixture
def tree(surfaces):
    """Two runs, each as GIFTI and as CIFTI, with confounds; only the raw tree says the TR."""
    (surfaces.root / "sub-01/func").mkdir(parents=True)
    (surfaces.root / "task-x_bold.json").write_text('{"RepetitionTime": 1.5, "SliceTiming": [0, 0.5, 1.0]}')
    for run in (1, 2):
        name = f"run-{run}_hemi-{{}}_space-fsaverage5_bold.func.gii"
        surfaces.gifti(half(surfaces, run, "L"), name=name.format("L"), step=1500)
        surfaces.gifti(half(surfaces, run, "R"), "R", name=name.format("R"), step=1500)
        data = surfaces.data([run, 3], places=10)
        surfaces.cifti(data, surfaces.axis(), f"run-{run}_space-fsLR_den-91k_bold.dtseries.nii")
        table = pd.DataFrame({"trans_x": np.arange(7.0) * run, "csf": np.ones(7)})
        table.to_csv(surfaces.place(f"run-{run}_desc-confounds_timeseries.tsv"), sep="\t", index=False)
    return surfaces


def half(surfaces, run, side):
    data = surfaces.data([run, ord(side)])
    data[:, WALL] = 0
    return data


def test_hemispheres_are_one_recording_without_their_medial_wall(tree):
    bold = read_fmri(tree.root, "01", space="fsaverage5")
    kept = [k for k in range(5) if k != WALL]
    expected = np.vstack([np.hstack([half(tree, run, side)[:, kept] for side in "LR"]) for run in (1, 2)])
    np.testing.assert_array_equal(bold.values, expected)
    assert bold.columns.drop(columns="subject").to_numpy().tolist() == [[side, k] for side in "LR" for k in kept]
    assert bold.samples["run"].tolist() == ["1"] * 7 + ["2"] * 7
    np.testing.assert_allclose(bold.samples["time"], np.tile(0.5 + 1.5 * np.arange(7), 2))
    assert bold.attrs["tr"] == 1.5
    assert "2 vertices of 10 constant or without a number in a run, dropped" in " ".join(bold.attrs["notes"])
    assert sum(name.endswith(".func.gii") for name in bold.attrs["inputs"]) == 4
    confounds = bold.related["confounds"]
    np.testing.assert_array_equal(confounds.select(confound="trans_x").values[7:, 0], np.arange(7) * 2)


def test_grayordinates_are_read_with_the_confounds_of_their_run(tree):
    bold = read_fmri(tree.root, "01", space="fsLR:den-91k", confounds=["trans_x"])
    np.testing.assert_array_equal(bold.values, np.vstack([tree.data([run, 3], places=10) for run in (1, 2)]))
    assert bold.columns["structure"].iloc[[0, 4, 7, 9]].tolist() == [
        "CORTEX_LEFT",
        "CORTEX_RIGHT",
        "THALAMUS_LEFT",
        "BRAIN_STEM",
    ]
    assert bold.select(hemisphere="R").shape == (14, 3)
    assert bold.related["confounds"].columns["confound"].tolist() == ["trans_x"]
    assert bold.samples["time"].iloc[0] == 0.5


@pytest.mark.parametrize("space", ["fsaverage5", "fsLR:den-91k"])
def test_without_a_sidecar_the_file_says_the_tr(tree, space):
    (tree.root / "task-x_bold.json").unlink()
    bold = read_fmri(tree.root, space=space)
    assert bold.attrs["tr"] == 1.5
    assert "no sidecar says RepetitionTime: 1.5 s by the header" in " ".join(bold.attrs["notes"])


@pytest.mark.parametrize("space", ["fsaverage5", "fsLR:den-91k"])
def test_a_sidecar_that_says_another_tr_is_taken_and_noted(tree, space):
    (tree.root / "task-x_bold.json").write_text(json.dumps({"RepetitionTime": 2.0, "StartTime": 0}))
    bold = read_fmri(tree.root, space=space)
    assert bold.attrs["tr"] == 2.0
    assert "2 s in the sidecar, 1.5 s in the header" in " ".join(bold.attrs["notes"])


def test_what_is_wrong_with_one_run_is_said_with_its_name(tree):
    tree.gifti(tree.data(9, volumes=6), "R", name="run-2_hemi-R_space-fsaverage5_bold.func.gii")
    with pytest.raises(InputError, match=r"run-2_hemi-L\S* has 7 time points, \S*run-2_hemi-R\S* has 6"):
        read_fmri(tree.root, space="fsaverage5")
    tree.gifti(tree.data(9, places=6), "R", name="run-2_hemi-R_space-fsaverage5_bold.func.gii")
    with pytest.raises(InputError, match="sub-01, run 2 is on another grid than run 1"):
        read_fmri(tree.root, space="fsaverage5")
    path = tree.place("run-1_space-fsLR_den-91k_bold.dtseries.nii")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"run-1_space-fsLR\S* cannot be read to its end \(8 bytes are missing\)"):
        read_fmri(tree.root, space="fsLR")


def test_a_mesh_and_a_volume_are_offered_by_name(tree):
    with pytest.raises(
        ValueError, match=r"2 versions .*\n.*space='fsaverage5' \(surfaces\)\n.*space='fsLR:den-91k' \("
    ):
        read_fmri(tree.root)
    with pytest.raises(
        InputError, match=r"holds no \*_bold.nii.gz of this task, and masks, label images and smoothing are for images"
    ):
        read_fmri(tree.root, mask="m.nii.gz")


@pytest.mark.parametrize(
    ("space", "places", "noun"), [("fsaverage5", 7, "vertices"), ("fsLR:den-91k", 10, "grayordinates")]
)
def test_a_mean_is_taken_of_the_vertices_that_everybody_has(tree, space, places, noun):
    right = [f"run-{run}_hemi-R_space-fsaverage5_bold.func.gii" for run in (1, 2)]
    for run, name in enumerate(right, start=1):
        tree.gifti(half(tree, run, "R") * (np.arange(5) != 4), "R", name=name)  # of the second person one vertex less
    for path in sorted(tree.place("").parent.iterdir()):
        other = tree.root / "derivatives/fmriprep/sub-02/func" / path.name.replace("sub-01", "sub-02")
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_bytes(path.read_bytes())
    for run, name in enumerate(right, start=1):
        tree.gifti(half(tree, run, "R"), "R", name=name)
    mean = read_fmri(tree.root, space=space, average="subjects")
    assert mean.shape == (14, places)
    assert any(f"mean over the {places} {noun} that all 2 people have" in note for note in mean.attrs["notes"])


def test_no_mean_is_taken_of_surfaces_of_each_persons_own(tree):
    for path in sorted(tree.place("").parent.iterdir()):
        if "fsaverage5" in path.name:
            path.rename(path.with_name(path.name.replace("fsaverage5", "fsnative")))
    with pytest.raises(InputError, match="surfaces on which vertices are alike: fsnative is each person's own"):
        read_fmri(tree.root, space="fsnative", average="subjects")


def test_a_parcellation_makes_regions_of_a_surface(tree):
    annotation = tree.root / "lh.two.annot"
    vertices = len(half(tree, 1, "L")[0])
    labels = np.arange(vertices) % 2
    colours = np.array([[25, 5, 25, 0, 0], [10, 0, 0, 0, 0]], np.int32)
    nibabel.freesurfer.write_annot(annotation, labels.astype(np.int32), colours, ["even", "odd"], fill_ctab=True)
    bold = read_fmri(tree.root, space="fsaverage5", atlas=annotation)
    assert bold.columns["roi"].tolist() == ["even", "odd"]
    left = np.concatenate([half(tree, run, "L") for run in (1, 2)])
    np.testing.assert_allclose(bold.values[:, 1], left[:, 1::2].mean(1), rtol=1e-5)
    assert "lh.two.annot" in bold.attrs["inputs"]
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 2, 2), np.int16), np.eye(4)), tree.root / "label.nii.gz")
    with pytest.raises(InputError, match="masks, label images and smoothing are for images"):
        read_fmri(tree.root, space="fsaverage5", atlas="label.nii.gz")
