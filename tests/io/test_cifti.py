"""CIFTI-2 series: nibabel writes them, nibabel and nilearn are asked what is in them."""

import nibabel
import numpy as np
import pandas as pd
import pytest
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, ParcelsAxis, ScalarAxis, SeriesAxis

from brainalign import InputError, Signal
from brainalign.io import cifti
from brainalign.io.cifti import open_cifti
from brainalign.io.series import same_grid
from brainalign.signals import load_signal, save_signal


def values(series):
    return np.concatenate([*series.blocks()])


def test_values_and_clock_are_what_nibabel_reads(surfaces):
    path = surfaces.cifti(surfaces.data(1, places=10), surfaces.axis())
    series = open_cifti(path, "a")
    theirs = nibabel.load(path)
    np.testing.assert_array_equal(values(series), theirs.get_fdata(dtype=np.float32))
    assert series.n_samples == 7
    assert series.header_tr == theirs.header.get_axis(0).step == 1.5
    assert series.notes == ()
    np.testing.assert_array_equal(values(series), surfaces.data(1, places=10))  # again, from the file


def test_columns_are_the_places_nibabel_speaks_of(surfaces):
    series = open_cifti(surfaces.cifti(surfaces.data(1, places=10), surfaces.axis()), "a")
    columns, axis = series.columns, surfaces.axis()
    assert (STANDARD + columns["structure"]).tolist() == axis.name.tolist()
    assert columns["structure"].tolist() == [*["CORTEX_LEFT"] * 4, *["CORTEX_RIGHT"] * 3, *THALAMUS, "BRAIN_STEM"]
    assert columns["hemisphere"].fillna("none").tolist() == [*"LLLL", *"RRR", *"LL", "none"]
    assert columns["vertex"].tolist() == axis.vertex.tolist() == [1, 2, 3, 4, 1, 2, 3, -1, -1, -1]
    np.testing.assert_array_equal(columns[["i", "j", "k"]], axis.voxel)
    voxels = columns.iloc[7:]
    xyz = nibabel.affines.apply_affine(axis.affine, voxels[["i", "j", "k"]])
    np.testing.assert_array_equal(voxels[["x", "y", "z"]], xyz)
    assert columns.iloc[:7][["x", "y", "z"]].isna().all(axis=None)
    assert not columns.duplicated(list(series.key)).any()


STANDARD, THALAMUS = "CIFTI_STRUCTURE_", ["THALAMUS_LEFT"] * 2


def test_a_signal_of_them_is_saved_and_loaded_as_it_was(surfaces, tmp_path):
    series = open_cifti(surfaces.cifti(surfaces.data(1, places=10), surfaces.axis()), "a")
    samples = pd.DataFrame({"run": "1", "time": np.arange(7) * 1.5})
    signal = Signal(values(series), samples, series.columns.assign(subject="01"))
    again = load_signal(save_signal(signal, tmp_path / "s.zarr"))
    pd.testing.assert_frame_equal(again.columns, signal.columns)
    assert again.select(hemisphere="L").shape == (7, 6)
    assert again.select(structure="CORTEX_RIGHT").columns["vertex"].tolist() == [1, 2, 3]


def test_of_vertices_alone_and_of_voxels_alone_there_is_nothing_else(surfaces):
    cortex = BrainModelAxis.from_mask(np.ones(3, bool), "cortex_right")
    series = open_cifti(surfaces.cifti(surfaces.data(1, places=3), cortex), "a")
    assert list(series.columns) == ["structure", "hemisphere", "vertex"]
    assert series.key == ("structure", "vertex")
    stem = BrainModelAxis.from_mask(np.ones((1, 1, 3), bool), "brain_stem", affine=np.eye(4))
    series = open_cifti(surfaces.cifti(surfaces.data(1, places=3), stem), "a")
    assert list(series.columns) == ["structure", "hemisphere", "i", "j", "k", "x", "y", "z"]
    assert series.key == ("structure", "i", "j", "k")


def test_places_are_in_mm_whatever_the_file_measures_in(surfaces):
    image = Cifti2Image(surfaces.data(1, places=10), (SeriesAxis(0, 1.5, 7), surfaces.axis()))
    volume = image.header.matrix.get_index_map(1).volume.transformation_matrix_voxel_indices_ijk_to_xyz
    volume.meter_exponent = 0
    path = surfaces.place("bold.dtseries.nii")
    nibabel.save(image, path)
    assert open_cifti(path, "a").columns[["x", "y", "z"]].iloc[-1].tolist() == [-6000, 6000, 4000]


def test_parcels_are_regions_with_their_names(surfaces):
    axis = surfaces.axis()
    parcels = ParcelsAxis.from_brain_models([("L_V1", axis[:4]), ("R_V1", axis[4:7]), ("Thalamus", axis[7:])])
    path = surfaces.cifti(surfaces.data(1, places=3), parcels, "space-fsLR_seg-Glasser_bold.ptseries.nii")
    series = open_cifti(path, "a")
    assert series.columns["roi"].tolist() == ["L_V1", "R_V1", "Thalamus"]
    assert series.key == ("roi",)
    assert series.header_tr == 1.5
    np.testing.assert_array_equal(values(series), surfaces.data(1, places=3))


def test_integers_with_a_scale_are_scaled_as_nibabel_does(surfaces):
    axis, time = surfaces.axis(), SeriesAxis(0, 1.5, 7)
    path = surfaces.place("bold.dtseries.nii")
    image = Cifti2Image(np.arange(70, dtype=np.int16).reshape(7, 10), (time, axis))
    nibabel.save(image, path)
    raw = bytearray(path.read_bytes())
    with path.open("rb") as file:
        header = nibabel.Nifti2Header.from_fileobj(file, check=False)
    header["scl_slope"], header["scl_inter"] = 0.25, -3
    raw[: len(header.binaryblock)] = header.binaryblock
    path.write_bytes(raw)
    np.testing.assert_array_equal(values(open_cifti(path, "a")), np.arange(70).reshape(7, 10) * 0.25 - 3)
    np.testing.assert_array_equal(values(open_cifti(path, "a")), nibabel.load(path).get_fdata())


def test_blocks_are_some_time_points_at_a_time(surfaces, monkeypatch):
    monkeypatch.setattr(cifti, "BLOCK", 4 * 10 * 3)
    series = open_cifti(surfaces.cifti(surfaces.data(1, places=10), surfaces.axis()), "a")
    assert [block.shape for block in series.blocks()] == [(3, 10), (3, 10), (1, 10)]
    assert all(block.flags.c_contiguous for block in series.blocks())
    np.testing.assert_array_equal(values(series), surfaces.data(1, places=10))


def test_grids_are_the_same_where_meshes_and_volume_are(surfaces):
    data, name = surfaces.data(1, places=10), "run-{}_bold.dtseries.nii"
    one = open_cifti(surfaces.cifti(data, surfaces.axis(), name.format(1)), "a")
    assert same_grid(one, open_cifti(surfaces.cifti(data[:3], surfaces.axis(), name.format(2)), "b"))
    moved = surfaces.axis(affine=np.diag([2.0, 2, 2, 1]))
    assert not same_grid(one, open_cifti(surfaces.cifti(data, moved, name.format(3)), "c"))
    finer = surfaces.axis(left=5, right=2)
    assert not same_grid(one, open_cifti(surfaces.cifti(data, finer, name.format(4)), "d"))


def test_a_first_sample_that_is_late_is_noted_and_a_step_of_zero_is_no_tr(surfaces):
    data, axis = surfaces.data(1, places=10), surfaces.axis()
    assert open_cifti(surfaces.cifti(data, axis, start=6.0), "a").notes == (
        "a: its header says its first sample is at 6 s",
    )
    assert open_cifti(surfaces.cifti(data, axis, time=SeriesAxis(0, 0.0, 7)), "a").header_tr is None


def scalars(surfaces, path):
    names = ScalarAxis([f"map {k}" for k in range(7)])
    nibabel.save(Cifti2Image(surfaces.data(1, places=10), (names, surfaces.axis())), path)


def plain(surfaces, path):
    nibabel.save(nibabel.Nifti2Image(np.zeros((2, 2, 2, 3), np.float32), np.eye(4)), path)


def twice(surfaces, path):
    axis = surfaces.axis()
    nibabel.save(Cifti2Image(surfaces.data(1, places=20), (SeriesAxis(0, 1.5, 7), axis + axis)), path)


def of_hertz(surfaces, path):
    nibabel.save(Cifti2Image(surfaces.data(1, places=10), (SeriesAxis(0, 1.5, 7, "hertz"), surfaces.axis())), path)


def of_series(surfaces, path):
    nibabel.save(Cifti2Image(np.zeros((7, 3), np.float32), (SeriesAxis(0, 1.5, 7), SeriesAxis(0, 1.0, 3))), path)


def of_twins(surfaces, path):
    axis = surfaces.axis()
    parcels = ParcelsAxis.from_brain_models([("V1", axis[:4]), ("V1", axis[4:7])])
    nibabel.save(Cifti2Image(surfaces.data(1, places=2), (SeriesAxis(0, 1.5, 7), parcels)), path)


def lying(surfaces, path):
    raw = path.read_bytes()
    old = b'NumberOfSeriesPoints="7"'
    assert old in raw
    path.write_bytes(raw.replace(old, b'NumberOfSeriesPoints="9"'))


def cut(surfaces, path, share):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (scalars, r"^a is a matrix of scalar × brainmodel: a recording is a series over time"),
        (plain, r"^a is a Nifti2Image, no CIFTI-2: write it again"),
        (twice, r"^a has a place twice \(CORTEX_LEFT, 1, -1, -1, -1\)"),
        (of_hertz, r"^a is a series in hertz: a recording is one in seconds"),
        (of_series, r"^a is a series of series: a recording is of vertices and voxels"),
        (of_twins, r"^a has two parcels called 'V1'"),
        (lying, r"^a holds 7 × 10 numbers and speaks of 9 time points of 10 places"),
        (lambda s, p: p.write_bytes(b""), r"^a is an empty file"),
        (lambda s, p: p.unlink(), r"^there is no file a: check the path"),
        (lambda s, p: p.write_bytes(b"not an image" * 99), r"^a cannot be read as CIFTI"),
        (lambda s, p: cut(s, p, 0.2), r"^a cannot be read as CIFTI"),
        (lambda s, p: cut(s, p, 0.98), r"^a cannot be read to its end \(\d+ bytes are missing\): fetch it again"),
    ],
    ids=["scalar", "nifti", "twice", "hertz", "series", "twins", "lying", "empty", "absent", "text", "head", "tail"],
)
def test_a_broken_file_is_named_with_what_is_wrong(surfaces, change, message):
    path = surfaces.cifti(surfaces.data(1, places=10), surfaces.axis())
    change(surfaces, path)
    with pytest.raises(InputError, match=message):
        values(open_cifti(path, "a"))
