import json

import nibabel
import numpy as np
import pytest
from nilearn.maskers import NiftiMasker
from nilearn.masking import compute_epi_mask

from brainalign import BrainalignError, InputError, SettingsError
from brainalign.errors import problems_of
from brainalign.io import holding
from brainalign.io.fetch import sample_path
from brainalign.io.fmri import read_fmri
from brainalign.provenance import hash_file
from brainalign.store import Store


def problems_in_fmri(root, **which):
    """What is said when it is read, one sentence each."""
    try:
        read_fmri(root, **which)
    except BrainalignError as error:
        return problems_of(error)
    return []


def study(images, subjects=("01", "02"), runs=("1", "2")):
    for subject in subjects:
        for run in runs:
            images.preproc(subject, run)
            images.mask(subject, run, images.half())
    return images.root


def test_known_numbers_come_back_at_known_places(images):
    bold = read_fmri(study(images))
    voxels = np.argwhere(images.half())
    assert bold.shape == (12, 2 * len(voxels))
    assert list(bold.samples["run"]) == ["1"] * 6 + ["2"] * 6
    assert list(bold.samples["time"]) == [*(0.25 + 1.5 * np.arange(6))] * 2
    for subject in ("01", "02"):
        one = bold.select(subject=subject)
        expected = np.concatenate([images.data(subject, run)[images.half()].T for run in ("1", "2")])
        assert np.array_equal(one.values, expected)
        assert np.array_equal(one.columns[["i", "j", "k"]], voxels)
        places = nibabel.affines.apply_affine(images.affine, voxels)
        np.testing.assert_allclose(one.columns[["x", "y", "z"]], places)
    assert bold.attrs["tr"] == 1.5
    assert bold.attrs["start_time"] == 0.25


def test_it_is_what_nilearn_reads(images):
    root = study(images, subjects=["01"])
    image = root / "derivatives/fmriprep" / images.name("01", "1", "space-MNI_desc-preproc_bold.nii.gz")
    mask = root / "derivatives/fmriprep" / images.name("01", "1", "space-MNI_desc-brain_mask.nii.gz")
    theirs = NiftiMasker(mask_img=mask, standardize=None).fit_transform(image)
    assert np.array_equal(read_fmri(root, run="1").values, theirs)


def test_haxby_is_what_nilearn_reads_with_the_same_mask():
    root = sample_path("haxby")
    mask = root / "derivatives/downsampled25mm/sub-1/anat/sub-1_space-scanner_res-25mm_desc-gray_mask.nii.gz"
    bold = read_fmri(root, derivatives="downsampled25mm", mask=mask)
    for run in ("01", "12"):
        (path,) = (root / "derivatives/downsampled25mm/sub-1/func").glob(f"*run-{run}_*bold.nii.gz")
        theirs = NiftiMasker(mask_img=mask, standardize=None).fit_transform(path)
        assert np.array_equal(bold.select(run=run).values, theirs.astype(np.float32))
    relative = mask.relative_to(root).as_posix()
    assert bold.attrs["inputs"][relative] == hash_file(mask)
    assert bold.values.shape == read_fmri(root, derivatives="downsampled25mm", mask=relative).shape


def test_haxby_raw_is_the_default_and_the_derivative_is_said_to_be_there():
    bold = read_fmri(sample_path("haxby"))
    assert bold.shape == (12 * 121, 530)
    assert set(bold.columns["k"]) == {0}
    first = nibabel.load(sample_path("haxby") / "sub-1/func/sub-1_task-objectviewing_run-01_bold.nii.gz")
    i, j, k = bold.columns.loc[100, ["i", "j", "k"]].astype(int)
    assert np.array_equal(bold.select(run="01").values[:, 100], first.get_fdata(dtype=np.float32)[i, j, k])
    assert bold.related["confounds"].shape == (12 * 121, 6)
    also = "read derivatives='raw' (images); also there: derivatives='downsampled25mm', space='scanner:res-25mm:desc-"
    assert bold.attrs["notes"][0].startswith(also)
    assert any("columns are taken as motion, rotations first" in note for note in bold.attrs["notes"])
    assert any("taken as 0 s" in note for note in bold.attrs["notes"])
    assert not any("also there" in note for note in read_fmri(sample_path("haxby"), derivatives="raw").attrs["notes"])


def test_the_brain_mask_beside_the_images_is_used_and_hashed():
    bold = read_fmri(sample_path("haxby"), space="scanner")
    mask = "derivatives/downsampled25mm/sub-1/anat/sub-1_space-scanner_res-25mm_desc-brain_mask.nii.gz"
    n = int((nibabel.load(sample_path("haxby") / mask).get_fdata() > 0).sum())
    assert bold.shape == (1452, n) == (1452, 129)
    assert mask in bold.attrs["inputs"]


def test_without_any_mask_nilearn_finds_the_brain(images):
    images.shape = (16, 16, 16)
    middle = np.zeros(images.shape, bool)
    middle[4:12, 4:12, 4:12] = True
    data = np.random.default_rng(0).integers(0, 60, (*images.shape, 8)) + 9000 * middle[..., None]
    theirs = compute_epi_mask(images.preproc("01", "1", data)).get_fdata() > 0
    bold = read_fmri(images.root)
    assert theirs[5:11, 5:11, 5:11].all()
    assert theirs.sum() < theirs.size / 2
    assert np.array_equal(bold.columns[["i", "j", "k"]], np.argwhere(theirs))


def test_censored_volumes_and_missing_numbers_do_not_change_where_the_brain_is_found(images):
    images.shape = (16, 16, 16)
    middle = np.zeros(images.shape, bool)
    middle[4:12, 4:12, 4:12] = True
    data = np.random.default_rng(0).integers(0, 60, (*images.shape, 8)) + 9000.0 * middle[..., None]
    images.preproc("01", "1", data)
    images.confounds("01", "1", "fd\n" + "0\n" * 7 + "1\n")
    found = read_fmri(images.root, censor={"fd": 0.5})
    data[..., 7] = np.where(middle, np.nan, 30_000)
    write_floats(images, data)
    again = read_fmri(images.root, censor={"fd": 0.5})
    assert again.columns.equals(found.columns)
    assert np.array_equal(again.values[:7], found.values[:7])
    data[7, 7, 7, 3] = np.nan
    write_floats(images, data)
    with pytest.raises(InputError, match=r"not a finite number in volume 4, voxel \(7, 7, 7\)"):
        read_fmri(images.root, censor={"fd": 0.5})


def test_a_voxel_has_to_be_in_the_mask_of_every_run(images):
    study(images, subjects=["01"])
    images.mask("01", "2", images.half(axis=1))
    both = images.half() & images.half(axis=1)
    assert np.array_equal(read_fmri(images.root).columns[["i", "j", "k"]], np.argwhere(both))


def test_masks_without_a_voxel_in_common_are_a_problem(images):
    study(images, subjects=["01"])
    images.mask("01", "2", ~images.half())
    with pytest.raises(InputError, match="sub-01: no voxel is in the mask of every run and varies in all of them"):
        read_fmri(images.root)
    assert len(problems_in_fmri(images.root)) == 1


def test_constant_voxels_are_dropped_and_counted(images):
    study(images, subjects=["01"])
    data = images.data("01", "2")
    data[0, 0, 0] = 5
    data[1, 1, 1] = 0
    images.preproc("01", "2", data)
    bold = read_fmri(images.root)
    kept = set(map(tuple, bold.columns[["i", "j", "k"]].to_numpy().tolist()))
    assert set(map(tuple, np.argwhere(images.half()).tolist())) - kept == {(0, 0, 0), (1, 1, 1)}
    assert "sub-01: 2 voxels of 30 constant or without a number in a run, dropped" in bold.attrs["notes"]


def test_sessions_are_part_of_a_runs_name_unless_one_is_asked_for(images):
    for session in ("a", "b"):
        for run in ("1", "10", "2"):
            images.preproc("01", run, session=session)
    mask = images.root / "mask.nii.gz"
    images.write(mask, images.half().astype(np.int16))
    assert read_fmri(images.root, mask=mask).runs == ["a-1", "a-2", "a-10", "b-1", "b-2", "b-10"]
    assert read_fmri(images.root, mask=mask, session="ses-b").runs == ["1", "2", "10"]
    with pytest.raises(SettingsError, match=r"no session 'c' .*known: 'a', 'b'"):
        read_fmri(images.root, session="c")


def test_the_mean_over_people_is_over_the_voxels_all_have(images):
    study(images)
    for run in ("1", "2"):
        images.mask("02", run, images.half(axis=1))
    both = images.half() & images.half(axis=1)
    mean = read_fmri(images.root, average="subjects")
    stacked = [np.concatenate([images.data(s, run)[both].T for run in "12"]) for s in ("01", "02")]
    np.testing.assert_allclose(mean.values, np.mean(stacked, axis=0), rtol=1e-6)
    assert f"mean over the {both.sum()} voxels that all 2 people have" in mean.attrs["notes"]


def test_people_on_other_grids_have_no_mean(images):
    study(images, subjects=["01"], runs=["1"])
    images.affine = images.affine + np.array([[0, 0, 0, 3.0], *[[0] * 4] * 3])
    study(images, subjects=["02"], runs=["1"])
    with pytest.raises(
        InputError, match="a mean over subjects needs their recordings on one grid, in one space"
    ) as why:
        read_fmri(images.root, average="subjects")
    assert problems_in_fmri(images.root, average="subjects") == [str(why.value)]
    assert read_fmri(images.root).shape == (6, 60)


def test_space_and_resolution_choose(images):
    for space in ("MNI", "T1w"):
        images.preproc("01", "1", space=space)
        images.mask("01", "1", images.half(), space=space)
    with pytest.raises(SettingsError, match=r"(?s)2 versions .*space='MNI:desc-preproc'.*space='T1w:desc-preproc'"):
        read_fmri(images.root)
    assert read_fmri(images.root, space="T1w").shape == (6, 30)
    assert read_fmri(images.root, space="T1w:desc-preproc").shape == (6, 30)
    with pytest.raises(SettingsError, match=r"no space 'MNI:res-2' .*; 'MNI' is there, but not with res-2"):
        read_fmri(images.root, space="MNI:res-2")


@pytest.mark.parametrize(
    ("unit", "step", "agrees"),
    [("sec", 1.5, True), ("msec", 1500, True), ("sec", 1.0, False), ("msec", 1000, False), ("unknown", 1.0, True)],
)
def test_a_header_that_says_another_tr_is_reported(images, unit, step, agrees):
    path = images.preproc("01", "1")
    images.mask("01", "1", images.half())
    image = nibabel.load(path)
    changed = nibabel.Nifti1Image(image.get_fdata().astype(np.int16), image.affine)
    changed.header.set_xyzt_units("mm", unit)
    changed.header.set_zooms((*changed.header.get_zooms()[:3], step))
    nibabel.save(changed, path)
    bold = read_fmri(images.root)
    assert bold.attrs["tr"] == 1.5
    said = [note for note in bold.attrs["notes"] if "1.5 s in the sidecar, 1 s in the header" in note]
    assert len(said) == (0 if agrees else 1)


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[:-100])


def cut_mask(images):
    path = images.mask("01", "1", images.half())
    plain = path.with_name(path.name.removesuffix(".gz"))
    images.write(plain, images.half().astype(np.int16))
    path.unlink()
    truncate(plain)


def write_floats(images, data):
    path = images.preproc("01", "1")
    image = nibabel.Nifti1Image(data.astype(np.float32), images.affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_zooms((3, 3, 4, 1.5))
    nibabel.save(image, path)


def with_nan(images, voxel, volumes):
    data = images.data("01", "1")
    data[(*voxel, volumes)] = np.nan
    write_floats(images, data)


def without_clock(images):
    path = images.preproc("01", "1")
    images.write(path, images.data("01", "1"), tr=0)
    path.with_name("sub-01_task-x_run-1_space-MNI_desc-preproc_bold.json").unlink()


def unfetched(images):
    path = images.preproc("01", "1")
    path.unlink()
    path.symlink_to(images.root / ".git/annex/objects/not-here")


def twice(images):
    path = images.preproc("01", "1")
    images.write(path.with_suffix(""), images.data("01", "1"))


BROKEN = {
    "cut short": (
        lambda i: truncate(i.preproc("01", "1", i.data("01", "1", volumes=60))),
        r"desc-preproc_bold.nii.gz cannot be read to its end",
    ),
    "cut very short": (
        lambda i: truncate(i.preproc("01", "1")),
        r"desc-preproc_bold.nii.gz cannot be read as an image",
    ),
    "no image": (lambda i: i.preproc("01", "1").write_text("no"), r"bold.nii.gz cannot be read as an image"),
    "not fetched": (unfetched, r"there is no file .*desc-preproc_bold.nii.gz: check the path, or fetch it"),
    "three dimensions": (
        lambda i: i.preproc("01", "1", i.data("01", "1")[..., 0]),
        r"has the shape \(4, 5, 3\): a rec",
    ),
    "an empty mask": (
        lambda i: i.mask("01", "1", np.zeros(i.shape)),
        r"desc-brain_mask.nii.gz has no voxel in its mask",
    ),
    "a mask of another size": (
        lambda i: i.mask("01", "1", np.ones((3, 3, 3))),
        r"brain_mask.nii.gz is of another grid than .*bold.nii.gz \(\(3, 3, 3\) and \(4, 5, 3\) voxels",
    ),
    "a mask elsewhere": (
        lambda i: i.mask("01", "1", i.half(), affine=np.diag([3.0, 3, 4, 1])),
        r"is of another grid than .* or elsewhere in space\): resample the mask",
    ),
    "a mask of four dimensions": (lambda i: i.mask("01", "1", np.ones((4, 5, 3, 2))), r"a mask has three dimensions"),
    "a mask cut short": (lambda i: cut_mask(i), r"brain_mask.nii cannot be read to its end"),
    "a hole": (
        lambda i: with_nan(i, (1, 2, 0), 3),
        r"not a finite number in volume 4, voxel \(1, 2, 0\), and in 1 voxels in all",
    ),
    "no sidecar": (
        without_clock,
        r"bold.nii.gz has no sidecar: looked for .*_bold.json beside it",
    ),
    "other confounds": (
        lambda i: i.confounds("01", "1", "trans_x\n1\n2\n"),
        r"confounds_timeseries.tsv has 2 rows, .*bold.nii.gz has 6",
    ),
    "recorded twice": (twice, r"run 1 is there twice: .*bold.nii, .*bold.nii.gz; keep one"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_one_thing_broken_is_named(images, case):
    study(images, subjects=["01"], runs=["1"])
    damage, message = BROKEN[case]
    damage(images)
    if case == "recorded twice":
        images.mask("01", "1", images.half())
    with pytest.raises(InputError, match=message):
        read_fmri(images.root, subject="01")
    (problem,) = problems_in_fmri(images.root, subject="01")
    assert problem


def test_runs_on_other_grids_are_no_recording(images):
    study(images, subjects=["01"])
    path = images.preproc("01", "2")
    images.write(path, images.data("01", "2"), affine=np.diag([3.0, 3, 4, 1]))
    images.mask("01", "2", images.half(), affine=np.diag([3.0, 3, 4, 1]))
    with pytest.raises(InputError, match="sub-01, run 2 is on another grid than run 1: resample one onto the other"):
        read_fmri(images.root)


def test_a_voxel_without_any_number_is_dropped_like_a_constant_one(images):
    study(images, subjects=["01"], runs=["1"])
    with_nan(images, (1, 2, 0), slice(None))
    bold = read_fmri(images.root)
    assert bold.shape == (6, 29)
    assert "sub-01: 1 voxel of 30 constant or without a number in a run, dropped" in bold.attrs["notes"]


@pytest.mark.parametrize("masked", [True, False])
def test_dead_images_leave_their_person_out(images, masked):
    study(images)
    for run in ("1", "2"):
        images.preproc("02", run, np.zeros((*images.shape, 6)))
        if not masked:
            path = images.root / "derivatives/fmriprep" / images.name("02", run, "space-MNI_desc-brain_mask.nii.gz")
            path.unlink()
    bold = read_fmri(images.root)
    assert set(bold.columns["subject"]) == {"01"}
    (left_out,) = bold.attrs["left_out"]
    assert left_out["subject"] == "02"
    assert left_out["why"].endswith("is 0 (and so in all 2 runs)")


def test_an_empty_file_leaves_its_person_out(images):
    study(images, runs=["1"])
    images.preproc("02", "1").write_bytes(b"")
    assert read_fmri(images.root).attrs["left_out"][0]["why"].endswith("bold.nii.gz is an empty file")
    with pytest.raises(InputError, match=r"sub-02: .* is an empty file; leave this person out"):
        read_fmri(images.root, subject="02")


def test_a_brain_too_thin_for_nilearn_says_to_name_a_mask(images):
    images.shape = (16, 16, 16)
    data = np.random.default_rng(0).integers(0, 60, (*images.shape, 6))
    data[8] += 9000
    images.preproc("01", "1", data)
    with pytest.raises(InputError, match=r"no brain was found in .*bold.nii.gz .*: name a mask"):
        read_fmri(images.root)


def test_confounds_in_two_other_pipelines_are_not_guessed_at(images):
    images.write(images.root / images.name("01", "1", "bold.nii.gz"), images.data("01", "1"))
    (images.root / "task-x_bold.json").write_text(json.dumps({"RepetitionTime": 1.5, "StartTime": 0}))
    mask = images.root / "mask.nii.gz"
    images.write(mask, images.half().astype(np.int16))
    text = "trans_x\n" + "".join(f"{k}\n" for k in range(6))
    first = images.confounds("01", "1", text)
    bold = read_fmri(images.root, mask=mask)
    assert list(bold.related["confounds"].values[:, 0]) == [0, 1, 2, 3, 4, 5]
    second = images.root / "derivatives/other" / first.relative_to(images.root / "derivatives/fmriprep")
    second.parent.mkdir(parents=True)
    second.write_text(text)
    bold = read_fmri(images.root, mask=mask)
    assert bold.related == {}
    assert any("several tables of confounds, none of them used" in note for note in bold.attrs["notes"])


def test_a_mask_that_is_not_there(images):
    with pytest.raises(InputError, match=r"there is no mask nowhere.nii: looked for it as it stands and in"):
        read_fmri(study(images), mask="nowhere.nii")


def renamed(images, old, new):
    for path in sorted(images.root.rglob(f"*{old}*")):
        path.rename(path.with_name(path.name.replace(old, new)))


def test_no_mean_is_taken_of_voxels_of_each_persons_own_space(images):
    root = study(images)
    renamed(images, "space-MNI", "space-T1w")
    with pytest.raises(InputError, match="needs voxels that are alike: T1w is each person's own; name space MNI"):
        read_fmri(root, average="subjects")
    images.write(root / "atlas.nii.gz", images.half())
    assert read_fmri(root, atlas="atlas.nii.gz", average="subjects").columns["roi"].tolist() == ["1"]
    renamed(images, "space-T1w_", "")
    mean = read_fmri(root, average="subjects")
    assert any(note.startswith("people's native spaces are averaged") for note in mean.attrs["notes"])
    assert not any("native" in note for note in read_fmri(root).attrs["notes"])


def test_people_side_by_side_share_what_is_in_use(images):
    root = study(images, runs=["1"])
    for subject, bad in (("01", 2), ("02", 4)):
        images.confounds(subject, "1", "fd\n" + "".join(f"{int(k == bad)}\n" for k in range(6)))
    bold = read_fmri(root, censor={"fd": 0.5})
    assert np.flatnonzero(~bold.use).tolist() == [2, 4]
    said = "2 of 6 volumes are out of use, censored in at least one of the 2 people"
    assert said in bold.attrs["notes"]
    assert not any("out of use" in note for note in read_fmri(root, "01", censor={"fd": 0.5}).attrs["notes"])


def test_a_card_with_another_tr_is_a_note(images):
    root = study(images, runs=["1"])
    said = "the TR is 1.5 s, 2 s by the card of the data set: the recording's taken"
    assert said in read_fmri(root, dataset="alice").attrs["notes"]
    assert not any("card" in note for note in read_fmri(root).attrs["notes"])
    with pytest.raises(SettingsError, match="the card nsd is of trials, 4 s apart, which is no TR"):
        read_fmri(root, dataset="nsd")


def test_voxels_of_regions_need_an_atlas(images):
    with pytest.raises(SettingsError, match="regions 'voxels' says what becomes of the regions of a label image"):
        read_fmri(study(images), regions="voxels")


def test_one_file_as_a_mask_and_as_an_atlas_is_held_apart(images, monkeypatch, tmp_path):
    monkeypatch.setattr(holding, "LARGE", 0)
    root = study(images, subjects=["01"], runs=["1"])
    images.mask("01", "1", images.half()).unlink()
    one = root / "one.nii.gz"
    images.write(one, images.half())
    store = Store(tmp_path / "cache")
    regions = read_fmri(root, atlas=one, regions="voxels", store=store)
    assert "roi" in regions.columns
    both = [read_fmri(root, mask=one, store=store), read_fmri(root, atlas=one, store=store)]
    assert [signal.shape for signal in both] == [(6, 30), (6, 1)]
