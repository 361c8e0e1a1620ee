"""GIFTI time series: nibabel writes them, nibabel and nilearn are asked what is in them."""

import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.gifti import GiftiDataArray, GiftiImage
from nilearn.surface import InMemoryMesh, PolyMesh, SurfaceImage, load_surf_data

from brainalign import InputError
from brainalign.io import surface
from brainalign.io.series import same_grid
from brainalign.io.surface import open_gifti


def values(series):
    return np.concatenate([*series.blocks()])


def test_both_hemispheres_are_what_nilearn_reads(surfaces):
    left, right = surfaces.gifti(surfaces.data(1)), surfaces.gifti(surfaces.data(2, places=4), "R")
    series = open_gifti(left, right, "left.func.gii")
    theirs = np.concatenate([load_surf_data(left), load_surf_data(right)])  # vertices first
    np.testing.assert_array_equal(values(series), theirs.T)
    assert values(series).dtype == np.float32
    assert series.n_samples == 7
    assert series.columns["hemisphere"].tolist() == ["L"] * 5 + ["R"] * 4
    assert series.columns["vertex"].tolist() == [*range(5), *range(4)]
    assert series.inputs == (right,)
    np.testing.assert_array_equal(values(series), theirs.T)  # again, from the file


def test_what_freesurfer_wrote_is_read(surfaces):
    path = Path(nibabel.__file__).parent / "gifti/tests/data/task.func.gii"
    with pytest.raises(InputError, match=r"^task does not say which hemisphere it is of"):
        open_gifti(path, None, "task")
    named = surfaces.place("hemi-R_bold.func.gii")
    named.write_bytes(path.read_bytes())
    series = open_gifti(named, None, "task")
    np.testing.assert_array_equal(values(series), load_surf_data(path).T)
    assert series.header_tr is None  # a TimeStep of 0


def test_the_right_hemisphere_alone_is_the_right_one(surfaces):
    series = open_gifti(surfaces.gifti(surfaces.data(1), "R"), None, "right")
    assert set(series.columns["hemisphere"]) == {"R"}
    assert series.inputs == ()


def test_left_comes_first_however_they_are_given(surfaces):
    left, right = surfaces.gifti(surfaces.data(1)), surfaces.gifti(surfaces.data(2), "R")
    np.testing.assert_array_equal(values(open_gifti(right, left, "r")), values(open_gifti(left, right, "l")))


@pytest.mark.parametrize("structure", ["CortexLeft", None])
def test_the_file_says_which_hemisphere_it_is_where_its_name_does_not(surfaces, structure):
    path = surfaces.gifti(surfaces.data(1), name="space-fsaverage5_bold.func.gii", structure=structure)
    if structure:
        assert set(open_gifti(path, None, "a").columns["hemisphere"]) == {"L"}
        return
    with pytest.raises(InputError, match=r"^a does not say which hemisphere it is of: name it …_hemi-L_…"):
        open_gifti(path, None, "a")


@pytest.mark.parametrize(
    ("step", "tr"),
    [("2000.000000", 2.0), ("720", 0.72), ("0.720000", 0.72), ("0.000000", None), ("?", None), (None, None)],
)
def test_the_time_step_is_in_seconds_whoever_wrote_it(surfaces, step, tr):
    assert open_gifti(surfaces.gifti(surfaces.data(1), step=step), None, "a").header_tr == tr


@pytest.mark.parametrize("encoding", ["ASCII", "B64BIN", "B64GZ"])
@pytest.mark.parametrize("endian", ["little", "big"])
def test_every_encoding_is_read(surfaces, encoding, endian):
    data = surfaces.data(3)
    path = surfaces.gifti(data, encoding=f"GIFTI_ENCODING_{encoding}", endian=f"GIFTI_ENDIAN_{endian.upper()}")
    np.testing.assert_allclose(values(open_gifti(path, None, "a")), data, atol=1e-6)


@pytest.mark.parametrize("intent", ["NONE", "NORMAL"])
def test_samples_as_workbench_calls_them_are_samples(surfaces, intent):
    assert open_gifti(surfaces.gifti(surfaces.data(1), intent=intent), None, "a").n_samples == 7


def test_one_array_of_vertices_by_time_is_read_as_nilearn_writes_it(surfaces):
    data = surfaces.data(4, places=12)
    mesh = InMemoryMesh(np.zeros((12, 3)), np.zeros((1, 3), int))
    image = SurfaceImage(PolyMesh(left=mesh, right=mesh), {"left": data.T, "right": 2 * data.T})
    image.data.to_filename(surfaces.place("bold.gii"))
    left, right = (surfaces.place(f"bold_hemi-{side}.gii") for side in "LR")
    left, right = (path.rename(path.with_name(f"sub-01_{path.name[-10:-4]}_bold.func.gii")) for path in (left, right))
    np.testing.assert_array_equal(values(open_gifti(left, right, "a")), np.hstack([data, 2 * data]))


def test_blocks_are_some_time_points_at_a_time(surfaces, monkeypatch):
    monkeypatch.setattr(surface, "BLOCK", 4 * 10 * 3)
    left, right = surfaces.gifti(surfaces.data(1)), surfaces.gifti(surfaces.data(2), "R")
    series = open_gifti(left, right, "a")
    assert [len(block) for block in series.blocks()] == [3, 3, 1]
    np.testing.assert_array_equal(values(series), np.hstack([surfaces.data(1), surfaces.data(2)]))


def test_vertices_mean_the_same_places_on_meshes_of_one_size(surfaces):
    one = open_gifti(surfaces.gifti(surfaces.data(1)), None, "a")
    assert same_grid(one, open_gifti(surfaces.gifti(surfaces.data(2, volumes=3)), None, "b"))
    assert not same_grid(one, open_gifti(surfaces.gifti(surfaces.data(2, places=6)), None, "c"))


def cut(path, at):
    path.write_bytes(path.read_bytes()[: int(at * path.stat().st_size)])


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def pair(surfaces, **right):
    left = surfaces.gifti(surfaces.data(1))
    return left, surfaces.gifti(surfaces.data(2, **right), "R")


def test_hemispheres_have_to_go_together(surfaces):
    left, right = pair(surfaces, volumes=6)
    with pytest.raises(InputError, match=r"hemi-L.* has 7 time points, f/.*hemi-R.* has 6: the hemispheres of a run"):
        open_gifti(left, right, f"f/{left.name}")
    with pytest.raises(InputError, match="are both of hemisphere L: name the left and the right"):
        open_gifti(left, left, "a")
    wrong = surfaces.gifti(surfaces.data(1), "R", structure="CortexLeft")
    with pytest.raises(InputError, match=r"hemi-R by its name and CortexLeft by its metadata: find out which"):
        open_gifti(wrong, None, "a")


@pytest.mark.parametrize("intent", ["POINTSET", "LABEL", "SHAPE", "TTEST"])
def test_what_is_no_series_is_refused(surfaces, intent):
    dtype = np.int32 if intent == "LABEL" else np.float32
    path = surfaces.gifti(surfaces.data(1).astype(dtype), intent=intent)
    with pytest.raises(InputError, match=rf"^a holds NIFTI_INTENT_{intent} of 1 dimensions: a recording holds NIFTI_"):
        open_gifti(path, None, "a")


def test_a_file_of_no_array_is_refused(surfaces):
    path = surfaces.place("hemi-L_bold.func.gii")
    nibabel.save(GiftiImage(), path)
    with pytest.raises(InputError, match="a holds no data array: it is no recording"):
        open_gifti(path, None, "a")


@pytest.mark.parametrize("share", [0.05, 0.3, 0.8, 0.995])
def test_a_file_that_breaks_off_is_refused(surfaces, share):
    path = surfaces.gifti(surfaces.data(1, places=300))
    cut(path, share)
    with pytest.raises(InputError, match=r"^a cannot be read to its end \(.*\): fetch it again"):
        values(open_gifti(path, None, "a"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.write_text(""), r"^a is an empty file"),
        (lambda p: p.unlink(), r"^there is no file a: check the path"),
        (lambda p: p.write_text("<html></html>"), r"^a is XML of the kind <html>, no GIFTI"),
        (lambda p: p.write_bytes(b"\x00\x01no XML"), r"^a cannot be read to its end"),
        (lambda p: edit(p, 'Arrays="7"', 'Arrays="9"'), r"^a speaks of 9 time points and ends after 7"),
        (lambda p: edit(p, 'Arrays="7"', 'Arrays="5"'), r"^a speaks of 5 time points of 5 vertices and has more"),
        (lambda p: edit(p, 'Arrays="7"', 'Arrays="x"'), r"^a does not say how many data arrays it has \(found 'x'\)"),
        (lambda p: edit(p, 'Dim0="5"', 'Dim0="50"'), r"^a has a data array that cannot be read \(cannot reshape"),
        (lambda p: edit(p, 'Dim0="5"', ""), r"^a has a data array whose shape is not said \('Dim0'\)"),
        (lambda p: edit(p, "FLOAT32", "FLOAT31"), r"^a has a data array that cannot be read \('NIFTI_TYPE_FLOAT31'\)"),
        (lambda p: edit(p, "GZipBase64Binary", "ExternalFileBinary"), r"^a keeps its numbers as ExternalFileBinary"),
    ],
    ids=["empty", "absent", "html", "binary", "fewer", "more", "uncounted", "shape", "no shape", "type", "elsewhere"],
)
def test_a_broken_file_is_named_with_what_is_wrong(surfaces, change, message):
    path = surfaces.gifti(surfaces.data(1))
    change(path)
    with pytest.raises(InputError, match=message):
        values(open_gifti(path, None, "a"))


def test_an_array_of_another_length_is_refused(surfaces):
    path = surfaces.place("hemi-L_bold.func.gii")
    frames = [GiftiDataArray(np.zeros(n, "f4"), "NIFTI_INTENT_TIME_SERIES") for n in (4, 4, 3)]
    nibabel.save(GiftiImage(darrays=frames), path)
    with pytest.raises(InputError, match="a speaks of 3 time points of 4 vertices and has one of 3 vertices"):
        values(open_gifti(path, None, "a"))


def test_the_file_need_not_fit_in_memory(surfaces, monkeypatch):
    path = surfaces.gifti(surfaces.data(1, volumes=80, places=20_000))  # 6.4 MB of numbers
    monkeypatch.setattr(surface, "BLOCK", 1 << 19)
    series = open_gifti(path, None, "a")
    next(series.blocks())  # imports
    tracemalloc.start()
    try:
        assert sum(block.size for block in series.blocks()) == 80 * 20_000
        assert tracemalloc.get_traced_memory()[1] < 3e6
    finally:
        tracemalloc.stop()
