import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nilearn.maskers import NiftiLabelsMasker

from brainalign import InputError, SettingsError
from brainalign.io.atlases import Atlas, by_region, find_atlas, read_names
from brainalign.io.bids import index_bids
from brainalign.io.fmri import read_fmri
from brainalign.io.volumes import Image
from brainalign.provenance import hash_file


@pytest.fixture
def labelled(images):
    """Two runs of one person, and an atlas of three regions on their grid."""
    for run in ("1", "2"):
        images.preproc("01", run)
    labels = np.zeros(images.shape, np.int16)
    labels[0], labels[1, :3], labels[3, 4, 2] = 7, 300, -2
    atlas = images.root / "atlas.nii.gz"
    images.write(atlas, labels)
    return images, labels, atlas


def means(images, labels, run):
    data = images.data("01", run)
    return np.stack([data[labels == label].mean(0) for label in (-2, 7, 300)], axis=1)


def test_regions_are_means_over_their_voxels(labelled):
    images, labels, atlas = labelled
    bold = read_fmri(images.root, atlas=atlas)
    assert bold.columns["roi"].tolist() == ["-2", "7", "300"]
    np.testing.assert_allclose(bold.values, np.concatenate([means(images, labels, run) for run in "12"]), rtol=1e-6)
    assert bold.attrs["inputs"]["atlas.nii.gz"] == hash_file(atlas)


def test_it_is_what_nilearns_labels_masker_gives(labelled):
    images, labels, atlas = labelled
    images.write(atlas, np.abs(labels))
    image = images.root / "derivatives/fmriprep" / images.name("01", "1", "space-MNI_desc-preproc_bold.nii.gz")
    theirs = NiftiLabelsMasker(atlas, standardize=None).fit_transform(image)
    np.testing.assert_allclose(read_fmri(images.root, atlas=atlas, run="1").values, theirs, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("atlas.tsv", "index\tname\tcolour\n-2\tleft\tred\n7\tanterior\tred\n300\tmiddle\tblue\n9\tnowhere\tred\n"),
        ("atlas.csv", "name,label\nleft,-2\nanterior,7\nmiddle,300\n"),
        ("atlas.txt", "# a list\n-2 left 1 2 3 0\n7 anterior\n300 middle\n"),
    ],
)
def test_names_come_from_the_table_beside_the_atlas(labelled, name, text):
    images, _, atlas = labelled
    atlas.with_name(name).write_text(text)
    bold = read_fmri(images.root, atlas="atlas.nii.gz")
    assert bold.columns["roi"].tolist() == ["left", "anterior", "middle"]
    assert name in bold.attrs["inputs"]


def test_voxels_may_say_which_region_they_are_in(labelled):
    images, labels, atlas = labelled
    bold = read_fmri(images.root, atlas=atlas, regions="voxels")
    assert np.array_equal(bold.columns[["i", "j", "k"]], np.argwhere(labels != 0))
    assert bold.columns["roi"].tolist() == [str(label) for label in labels[labels != 0]]
    expected = np.concatenate([images.data("01", run)[labels != 0].T for run in "12"])
    assert np.array_equal(bold.values, expected)


def test_a_mask_takes_voxels_out_of_regions(labelled):
    images, labels, atlas = labelled
    mask = images.root / "mask.nii.gz"
    images.write(mask, np.indices(images.shape)[2] < 2)
    bold = read_fmri(images.root, atlas=atlas, mask=mask)
    inside = np.where(np.indices(images.shape)[2] < 2, labels, 0)
    expected = np.concatenate(
        [np.stack([images.data("01", run)[inside == n].mean(0) for n in (7, 300)], axis=1) for run in "12"]
    )
    np.testing.assert_allclose(bold.values, expected, rtol=1e-6)
    assert "1 regions of atlas.nii.gz have no voxel in the recording: -2" in bold.attrs["notes"][0]


def test_an_atlas_of_another_resolution_is_resampled_and_says_so(labelled):
    images, labels, atlas = labelled
    fine = np.repeat(np.repeat(np.repeat(np.abs(labels), 2, 0), 2, 1), 2, 2)
    half = np.diag([0.5, 0.5, 0.5, 1.0])
    half[:3, 3] = -0.25
    nibabel.save(nibabel.Nifti1Image(fine, images.affine @ half), atlas)
    bold = read_fmri(images.root, atlas=atlas)
    assert any("is of another grid than the recording: resampled to it" in note for note in bold.attrs["notes"])
    order = [bold.columns["roi"].tolist().index(name) for name in ("2", "7", "300")]
    expected = np.concatenate([means(images, labels, run) for run in "12"])
    np.testing.assert_allclose(bold.values[:, order], expected, rtol=1e-6)


def test_a_segmentation_in_the_tree_is_found_by_its_label(labelled):
    images, labels, _ = labelled
    base = images.root / "derivatives/fmriprep"
    fit = base / "sub-01/anat/sub-01_space-MNI_seg-mine_dseg.nii.gz"
    other = base / "sub-01/anat/sub-01_space-T1w_seg-mine_dseg.nii.gz"
    images.write(fit, labels)
    images.write(other, labels * 0 + 1)
    (base / "seg-mine_dseg.tsv").write_text("index\tname\n7\tanterior\n300\tmiddle\n")
    bold = read_fmri(images.root, atlas="mine")
    assert bold.columns["roi"].tolist() == ["-2", "anterior", "middle"]
    with pytest.raises(SettingsError, match="no atlas 'yours' among the recordings"):
        read_fmri(images.root, atlas="yours")
    fit.unlink()
    with pytest.raises(
        InputError, match=r"no segmentation 'mine' goes with .*run-1.*: looked for atlas-, seg- or desc-"
    ):
        read_fmri(images.root, atlas="mine")


def a_label_image(path, labels, at=0.0):
    affine = np.eye(4)
    affine[0, 3] = at
    nibabel.save(nibabel.Nifti1Image(labels.astype(np.int16), affine), path)


BROKEN = {
    "probabilities": (
        lambda p: nibabel.save(nibabel.Nifti1Image(np.full((4, 5, 3), 0.5, np.float32), np.eye(4)), p),
        "atlas.nii.gz holds values that are no whole numbers",
    ),
    "nothing": (
        lambda p: a_label_image(p, np.zeros((4, 5, 3))),
        "atlas.nii.gz has no region: every label is 0",
    ),
    "maps": (
        lambda p: a_label_image(p, np.ones((4, 5, 3, 2))),
        "an atlas has three dimensions",
    ),
    "elsewhere": (
        lambda p: a_label_image(p, np.ones((4, 5, 3)), at=900.0),
        r"no region of atlas.nii.gz has a voxel in .*bold.nii.gz: is it of the same space",
    ),
    "one name for two": (
        lambda p: p.with_name("atlas.tsv").write_text("index\tname\n7\ta\n300\ta\n"),
        "region 'a' has several labels: give each a name",
    ),
    "no names": (
        lambda p: p.with_name("atlas.tsv").write_text("colour\tsize\nred\t1\n"),
        "atlas.tsv has the columns colour, size: the regions of an atlas are named in columns index and name",
    ),
    "a word for a number": (
        lambda p: p.with_name("atlas.tsv").write_text("index\tname\nseven\ta\n"),
        "atlas.tsv: an index is no whole number",
    ),
    "no file": (lambda p: p.unlink(), "there is no atlas .*atlas.nii.gz: looked for it as it stands and in"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_with_an_atlas_is_said(labelled, case):
    images, _, atlas = labelled
    damage, message = BROKEN[case]
    damage(atlas)
    with pytest.raises(InputError, match=message):
        read_fmri(images.root, atlas=atlas)


def test_regions_is_one_of_two_words(labelled):
    images, _, atlas = labelled
    with pytest.raises(SettingsError, match="regions 'means' is not known; did you mean 'mean'"):
        read_fmri(images.root, atlas=atlas, regions="means")


def test_smoothing_is_nilearns(images):
    from nilearn.image import smooth_img

    path = images.preproc("01", "1")
    images.mask("01", "1", images.half())
    bold = read_fmri(images.root, smooth_mm=5.0)
    theirs = smooth_img(nibabel.load(path), 5.0).get_fdata(dtype=np.float32)[images.half()].T
    np.testing.assert_allclose(bold.values, theirs, rtol=1e-5)
    assert "sub-01: smoothed by 5 mm (FWHM) before the mask" in bold.attrs["notes"]
    with pytest.raises(SettingsError, match="smooth_mm is a width in mm above 0; found -1"):
        read_fmri(images.root, smooth_mm=-1)


def test_first_volumes_are_left_out_and_the_clock_goes_on(images):
    images.preproc("01", "1")
    images.mask("01", "1", images.half())
    images.confounds("01", "1", "trans_x\n" + "".join(f"{k}\n" for k in range(6)))
    bold = read_fmri(images.root, trim_volumes=2)
    assert bold.samples["time"].tolist() == [0.25 + 1.5 * k for k in range(2, 6)]
    assert np.array_equal(bold.values, images.data("01", "1")[images.half()].T[2:])
    assert bold.related["confounds"].values.ravel().tolist() == [2, 3, 4, 5]
    with pytest.raises(InputError, match="has 6 volumes, and 6 are to be left out at the start: nothing is left"):
        read_fmri(images.root, trim_volumes=6)
    with pytest.raises(SettingsError, match="trim_volumes is -1: it is a number of volumes, 0 or more"):
        read_fmri(images.root, trim_volumes=-1)


def test_a_card_says_what_is_trimmed_and_when_the_first_volume_was(images, monkeypatch):
    from dataclasses import replace

    from brainalign.io import fmri
    from brainalign.io.fetch import dataset_card

    path = images.preproc("01", "1", StartTime=None)
    sidecar = path.with_name(path.name.replace(".nii.gz", ".json"))
    sidecar.write_text(json.dumps({"RepetitionTime": 1.5}))
    images.mask("01", "1", images.half())
    card = dataset_card("alice")
    clock = replace(card.clock, trim_volumes=2, start_time=20.0)
    monkeypatch.setattr(fmri, "volume_clock", lambda name: clock)
    assert read_fmri(images.root, dataset="mine").samples["time"].tolist() == [23.0, 24.5, 26.0, 27.5]
    assert read_fmri(images.root, dataset="mine", trim_volumes=0).samples["time"][0] == 20.0
    path.with_name(path.name.replace(".nii.gz", ".json")).write_text(
        json.dumps({"RepetitionTime": 1.5, "StartTime": 1})
    )
    assert read_fmri(images.root, dataset="mine").samples["time"][0] == 4.0


def test_a_data_set_without_a_card_names_the_closest(images):
    images.preproc("01", "1")
    with pytest.raises(InputError, match="no data set 'alise'; did you mean 'alice'"):
        read_fmri(images.root, dataset="alise")


@pytest.mark.parametrize(("volumes", "message"), [(9, "cannot be read to its end"), (4, "goes on after the 4 volumes")])
def test_a_header_that_lies_about_its_length_is_caught(images, volumes, message):
    path = images.preproc("01", "1")
    images.mask("01", "1", images.half())
    plain = path.with_name(path.name.removesuffix(".gz"))
    images.write(plain, images.data("01", "1"))
    path.unlink()
    content = bytearray(plain.read_bytes())
    content[48:50] = np.int16(volumes).tobytes()  # dim[4]
    plain.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_fmri(images.root)


def test_numbers_that_are_scaled_in_the_file_are_scaled(images):
    path = images.preproc("01", "1")
    images.mask("01", "1", images.half())
    image = nibabel.Nifti1Image(images.data("01", "1") / 7 + 0.1, images.affine)
    image.header.set_data_dtype(np.int16)
    nibabel.save(image, path)
    theirs = nibabel.load(path).get_fdata()[images.half()].T
    assert np.array_equal(read_fmri(images.root).values, theirs.astype(np.float32))


@pytest.mark.parametrize(
    ("image", "segmentation", "fits"),
    [
        ("space-MNI_", "anat/sub-01_", False),
        ("space-T1w_", "anat/sub-01_", True),
        ("", "anat/sub-01_", False),
        ("", "func/sub-01_task-x_", True),
        ("space-MNI_", "func/sub-01_task-x_", False),
        ("space-MNI_", "", True),
        ("space-MNI_", "space-T1w_", False),
        ("space-MNI_res-2_", "space-MNI_res-1_", False),
        ("space-MNI_res-2_", "anat/sub-01_space-MNI_", True),
    ],
)
def test_a_segmentation_lies_over_images_of_its_own_space_alone(tmp_path, image, segmentation, fits):
    *within, stem = segmentation.split("/")
    paths = [
        tmp_path / "sub-01/func" / f"sub-01_task-x_{image}bold.nii.gz",
        tmp_path.joinpath(*["sub-01"] * bool(within), *within, f"{stem}seg-mine_dseg.nii.gz"),
    ]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    tree = index_bids(tmp_path)
    (file,) = tree.find("bold", ".nii.gz")
    assert (find_atlas(tree, file, "mine") is not None) == fits


def test_resampling_keeps_the_outer_half_of_the_outermost_voxels():
    coarse, fine = np.diag([2.0, 2, 2, 1]), np.eye(4)
    fine[:3, 3] = -0.5
    labels = np.arange(1, 65).reshape(4, 4, 4)
    atlas = Atlas(labels, coarse, {n: str(n) for n in range(1, 65)}, Path("a.nii"), "a.nii")
    image = Image(nibabel.Nifti1Image(np.zeros((8, 8, 8, 2), np.float32), fine), "image")
    found = by_region(image, atlas, None, "voxels").columns
    assert len(found) == 512
    i, j, k = (found[axis].to_numpy() // 2 for axis in "ijk")
    assert found["roi"].tolist() == [str(label) for label in labels[i, j, k]]


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("a.csv", 'index,name\n1,"Gyrus, left"\n2,b\n', ["Gyrus, left", "b"]),
        ("a.tsv", "index\tname\n1\tGyrus, left\n2\tb\n", ["Gyrus, left", "b"]),
        ("a.txt", "1 Frontal Pole\n2 Area 17\n", ["Frontal Pole", "Area 17"]),
        ("a.ctab", "1  Left-Gyrus  220 248 164 0\n2 Area 17 1 2 3 0\n", ["Left-Gyrus", "Area 17"]),
        ("a.txt", "1 Area 1 1 2 3\n2 b c 1 2 3\n", ["Area 1", "b c"]),
        ("a.txt", "1 17 1 2 3 0\n2 18 1 2 3 0\n", ["17", "18"]),
    ],
)
def test_names_may_have_commas_and_several_words(tmp_path, name, text, names):
    (tmp_path / name).write_text(text)
    assert read_names(tmp_path / name) == {1: names[0], 2: names[1]}


def test_what_is_no_number_is_not_smeared_by_smoothing(images):
    path = images.preproc("01", "1")
    images.mask("01", "1", images.half())
    data = images.data("01", "1")
    data[3, 4, 2], around = np.nan, data.copy()
    nibabel.save(nibabel.Nifti1Image(data, images.affine), path)
    assert np.isfinite(read_fmri(images.root, smooth_mm=5.0).values).all()
    around[0, 0, 0, 2] = np.nan
    nibabel.save(nibabel.Nifti1Image(around, images.affine), path)
    with pytest.raises(InputError, match=r"not a finite number in volume 3, voxel \(0, 0, 0\), and in 1 voxels in all"):
        read_fmri(images.root, smooth_mm=5.0)


def test_regions_are_means_over_the_same_voxels_in_every_run(labelled):
    images, labels, atlas = labelled
    masks = {"1": np.indices(images.shape)[2] < 2, "2": np.indices(images.shape)[1] > 0}
    paths = [images.mask("01", run, mask) for run, mask in masks.items()]
    bold = read_fmri(images.root, atlas=atlas)
    inside = np.where(masks["1"] & masks["2"], labels, 0)
    assert bold.columns["roi"].tolist() == ["7", "300"]  # -2 is in the mask of one run alone
    expected = [np.stack([images.data("01", run)[inside == n].mean(0) for n in (7, 300)], axis=1) for run in "12"]
    np.testing.assert_allclose(bold.values, np.concatenate(expected), rtol=1e-6)
    assert {path.relative_to(images.root).as_posix() for path in paths} <= set(bold.attrs["inputs"])


def test_a_region_that_one_runs_segmentation_lacks_is_named(labelled):
    images, labels, _ = labelled
    for run, there in (("1", labels), ("2", np.where(labels == 7, 0, labels))):
        images.write(
            images.root / "derivatives/fmriprep" / images.name("01", run, "space-MNI_seg-x_dseg.nii.gz"), there
        )
    with pytest.raises(
        InputError, match=r"run 2: regions 7 have voxels in .*run-1.* and none in .*run-2.*: name one m"
    ):
        read_fmri(images.root, atlas="x")
