from dataclasses import replace

import nibabel
import numpy as np
import pandas as pd
import pytest
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis
from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiLabel, GiftiLabelTable

from brainalign import InputError
from brainalign.io.cifti import open_cifti
from brainalign.io.parcels import by_parcel, read_parcels
from brainalign.io.series import Series

LABELS = {"L": [0, 1, 1, 2, 0], "R": [2, 2, 1, 0, 1]}
NAMES = ["???", "V1", "MT"]
REGION = {side: ["" if k == 0 else NAMES[k] for k in labels] for side, labels in LABELS.items()}


def gifti(path, labels):
    table = GiftiLabelTable()
    for key, name in enumerate(NAMES):
        label = GiftiLabel(key=key, red=1, green=0, blue=0, alpha=1)
        label.label = name
        table.labels.append(label)
    nibabel.save(GiftiImage(labeltable=table, darrays=[GiftiDataArray(np.int32(labels), "NIFTI_INTENT_LABEL")]), path)


def annotation(path, labels):
    colours = np.array([[25, 5, 25, 0, 0], [10, 0, 0, 0, 0], [20, 0, 0, 0, 0]], np.int32)
    nibabel.freesurfer.write_annot(path, np.int32(labels), colours, NAMES, fill_ctab=True)


def surface(hemispheres="LR", n=5):
    """Three samples, whose numbers are those of their columns and rows."""
    columns = pd.DataFrame(
        {"hemisphere": np.repeat(list(hemispheres), n), "vertex": np.tile(np.arange(n), len(hemispheres))}
    )
    values = (np.arange(3)[:, None] * 100 + np.arange(len(columns))).astype(np.float32)
    grid = tuple((side, n) for side in hemispheres)
    blocks = lambda: iter([values[:2], values[2:]])  # noqa: E731
    return Series("run.func.gii", columns, ("hemisphere", "vertex"), 3, blocks, grid=grid), values


@pytest.mark.parametrize(
    ("write", "left", "right"),
    [
        (gifti, "tpl-x_hemi-L_dseg.label.gii", "tpl-x_hemi-R_dseg.label.gii"),
        (gifti, "x.L.label.gii", "x.R.label.gii"),
        (annotation, "lh.aparc.annot", "rh.aparc.annot"),
    ],
)
def test_regions_of_both_hemispheres_are_means_over_their_vertices(tmp_path, write, left, right):
    write(tmp_path / left, LABELS["L"])
    write(tmp_path / right, LABELS["R"])
    run, values = surface()
    for named in (left, right):
        found = by_parcel(run, read_parcels(tmp_path / named, named), "mean")
        names = ["L.V1", "L.MT", "R.MT", "R.V1"]
        assert found.columns["roi"].tolist() == names
        region = np.array([f"{side}.{name}" if name else "" for side in "LR" for name in REGION[side]])
        expected = np.stack([values[:, region == name].mean(1) for name in names], axis=1)
        np.testing.assert_allclose(np.concatenate(list(found.blocks())), expected, rtol=1e-6)
        assert {path.name for path in found.inputs} == {left, right}


def test_vertices_may_say_which_region_they_are_in(tmp_path):
    gifti(tmp_path / "hemi-L.label.gii", LABELS["L"])  # alone: the right hemisphere has no regions
    run, values = surface()
    found = by_parcel(run, read_parcels(tmp_path / "hemi-L.label.gii", "hemi-L.label.gii"), "voxels")
    assert found.columns.to_dict("list") == {"hemisphere": ["L"] * 3, "vertex": [1, 2, 3], "roi": ["V1", "V1", "MT"]}
    assert np.array_equal(np.concatenate(list(found.blocks())), values[:, 1:4])


def test_names_that_no_hemisphere_shares_stay_as_they_are(tmp_path):
    annotation(tmp_path / "lh.x.annot", [0, 1, 1, 1, 1])
    annotation(tmp_path / "rh.x.annot", [2, 2, 2, 2, 0])
    found = by_parcel(surface()[0], read_parcels(tmp_path / "lh.x.annot", "lh.x.annot"), "mean")
    assert found.columns["roi"].tolist() == ["V1", "MT"]


def a_dlabel(path):
    cortex = BrainModelAxis.from_mask(np.array([1, 1, 0, 1, 1], bool), "cortex_left")
    voxels = BrainModelAxis.from_mask(np.ones((2, 1, 1), bool), "thalamus_right", np.eye(4))
    table = {key: (name, (0.0, 0.0, 0.0, 1.0)) for key, name in enumerate(NAMES)}
    labels = np.array([[0, 1, 2, 0, 1, 2]], np.float32)
    nibabel.save(Cifti2Image(labels, (LabelAxis(["x"], table), cortex + voxels)), path)


def test_a_dlabel_has_regions_of_vertices_and_voxels(tmp_path):
    a_dlabel(tmp_path / "x.dlabel.nii")
    columns = pd.DataFrame(
        {
            "structure": ["CORTEX_LEFT"] * 4 + ["THALAMUS_RIGHT"] * 2,
            "hemisphere": ["L"] * 4 + ["R"] * 2,
            "vertex": [4, 3, 1, 0, -1, -1],
            "i": [-1, -1, -1, -1, 1, 0],
            "j": [-1, -1, -1, -1, 0, 0],
            "k": [-1, -1, -1, -1, 0, 0],
        }
    )
    values = np.arange(6, dtype=np.float32)[None]
    key = ("structure", "vertex", "i", "j", "k")
    grid = ((("CIFTI_STRUCTURE_CORTEX_LEFT", 5),), (2, 1, 1), np.eye(4))
    run = Series("run.dtseries.nii", columns, key, 1, lambda: iter([values]), grid=grid)
    parcels = read_parcels(tmp_path / "x.dlabel.nii", "x.dlabel.nii")
    found = by_parcel(run, parcels, "voxels")
    assert found.columns["roi"].tolist() == ["L.MT", "L.V1", "R.MT", "R.V1"]
    assert np.concatenate(list(found.blocks())).tolist() == [[1.0, 2.0, 4.0, 5.0]]
    other = replace(run, grid=((("CIFTI_STRUCTURE_CORTEX_LEFT", 9),), *grid[1:]))
    with pytest.raises(InputError, match=r"has 5 vertices in hemisphere L, run.dtseries.nii has 9: name a parcell"):
        by_parcel(other, parcels, "mean")


def test_vertices_are_counted_in_the_files_themselves(tmp_path, surfaces):
    a_dlabel(tmp_path / "x.dlabel.nii")
    run = open_cifti(surfaces.cifti(surfaces.data(0, places=10), surfaces.axis()), "run")
    with pytest.raises(InputError, match="has 5 vertices in hemisphere L, run has 6: name a parcellation"):
        by_parcel(run, read_parcels(tmp_path / "x.dlabel.nii", "x.dlabel.nii"), "mean")


def test_a_parcellation_of_another_surface_is_refused(tmp_path):
    gifti(tmp_path / "hemi-L.label.gii", LABELS["L"])
    parcels = read_parcels(tmp_path / "hemi-L.label.gii", "hemi-L.label.gii")
    with pytest.raises(InputError, match=r"has 5 vertices in hemisphere L, run.func.gii has 7: name a parcellation"):
        by_parcel(surface(n=7)[0], parcels, "mean")
    with pytest.raises(
        InputError, match=r"no region of hemi-L.label.gii is in run.func.gii: is it of the same surface"
    ):
        by_parcel(surface("R")[0], parcels, "mean")
    voxels = Series("run.nii", pd.DataFrame({"i": [0]}), ("i",), 1, lambda: iter([np.zeros((1, 1), np.float32)]))
    with pytest.raises(InputError, match=r"has regions of a surface, run.nii has no vertices: name the space of one"):
        by_parcel(voxels, parcels, "mean")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("aparc.label.gii", b"", "does not say which hemisphere it is of: call it .*hemi-L"),
        ("hemi-L.label.gii", b"no", "cannot be read as GIFTI"),
        ("lh.annot", b"no", "cannot be read as a FreeSurfer annotation"),
        ("x.dlabel.nii", b"no", "cannot be read as CIFTI"),
    ],
)
def test_a_file_that_is_no_parcellation_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_parcels(tmp_path / name, name)


def test_files_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "hemi-L.label.gii"
    nibabel.save(GiftiImage(darrays=[GiftiDataArray(np.zeros(5, "f4"), "NIFTI_INTENT_SHAPE")]), path)
    with pytest.raises(InputError, match=r"holds 1 maps and .* names: one map of named labels"):
        read_parcels(path, path.name)
    cortex = BrainModelAxis.from_mask(np.ones(4, bool), "cortex_left")
    series = nibabel.cifti2.SeriesAxis(0, 1, 2)
    nibabel.save(Cifti2Image(np.zeros((2, 4), np.float32), (series, cortex)), tmp_path / "x.dlabel.nii")
    with pytest.raises(InputError, match="is a matrix of series × brainmodel: an atlas is labels × places"):
        read_parcels(tmp_path / "x.dlabel.nii", "x.dlabel.nii")
