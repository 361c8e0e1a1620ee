"""Betas in the layout and the form of the Natural Scenes Dataset, whose every number is known."""

import gzip
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from scipy.io import savemat
from scipy.stats import zscore

import brainalign as ba
from brainalign.errors import InputError, SettingsError
from brainalign.io import holding
from brainalign.provenance import hash_file
from brainalign.store import Store

TRIALS, IMAGES = 750, 10_000
VERSION = "betas_fithrf_GLMdenoise_RR"


@dataclass
class Scenes:
    """A tree with a small head in it, and the design at its full size."""

    root: Path
    shape: tuple = (4, 5, 3)
    affine: np.ndarray = field(default_factory=lambda: np.diag([1.8, 1.8, 1.8, 1.0]))
    subject: str = "subj01"

    def __post_init__(self):
        rng = np.random.default_rng(0)
        self.order = rng.permutation(np.tile(np.arange(1, IMAGES + 1), 3))
        self.images = np.stack([rng.permutation(np.arange(1, 73_001))[:IMAGES] for _ in range(8)])
        self.brain = np.ones(self.shape, bool)
        self.brain[0] = False
        self.write_design()
        self.write_image(self.anatomy / "brainmask.nii.gz", self.brain)

    @property
    def design(self):
        return self.root / "nsddata/experiments/nsd/nsd_expdesign.mat"

    @property
    def anatomy(self):
        return self.root / "nsddata/ppdata" / self.subject / "func1pt8mm"

    @property
    def betas(self):
        return self.root / "nsddata_betas/ppdata" / self.subject / "func1pt8mm" / VERSION

    def write_design(self, **changes):
        self.design.parent.mkdir(parents=True, exist_ok=True)
        savemat(self.design, {"masterordering": self.order[None], "subjectim": self.images} | changes)

    def write_image(self, path, data, affine=None):
        path.parent.mkdir(parents=True, exist_ok=True)
        data = data.astype(np.int16) if data.dtype.kind in "bi" else data.astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(data, self.affine if affine is None else affine), path)
        return path

    def data(self, session):
        """(i, j, k, trials) whole numbers; outside the brain 0."""
        numbers = np.random.default_rng(session).integers(-3000, 3000, (*self.shape, TRIALS))
        return (numbers * self.brain[..., None]).astype(np.int16)

    def write(self, session, data=None, form="hdf5"):
        """As MATLAB writes it: the axes back to front, one piece per voxel."""
        data = self.data(session) if data is None else data
        path = self.betas / f"betas_session{session:02d}.{form}"
        if form != "hdf5":
            return self.write_image(path, data)
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file.create_dataset("betas", data=data.T, chunks=(len(data.T), 1, 1, 1))
        return path


@pytest.fixture(scope="module")
def read_only(tmp_path_factory):
    """Sessions 1 and 2 in HDF5, session 3 in NIfTI, a map and two regions."""
    scenes = Scenes(tmp_path_factory.mktemp("nsd"))
    scenes.write(1)
    data = scenes.data(2)
    data[3, 4, 2] = 0  # out of the field of view
    scenes.write(2, data)
    scenes.write(3, form="nii.gz")
    ncsnr = np.linspace(0, 0.6, 60).reshape(scenes.shape)
    ncsnr[~scenes.brain] = np.nan
    scenes.write_image(scenes.betas / "ncsnr.nii.gz", ncsnr)
    roi = np.full(scenes.shape, -1)
    roi[1:, 0], roi[1:, 1], roi[1, 2, 2] = 0, 1, 7
    scenes.write_image(scenes.anatomy / "roi/prf-visualrois.nii.gz", roi)
    scenes.write_image(scenes.anatomy / "roi/nsdgeneral.nii.gz", np.where(roi > 0, 1, roi))
    labels = scenes.root / "nsddata/freesurfer/subj01/label/prf-visualrois.mgz.ctab"
    labels.parent.mkdir(parents=True)
    labels.write_text("0 Unknown\n1 V1v\n7 hV4\n")
    return scenes


@pytest.fixture
def scenes(tmp_path):
    return Scenes(tmp_path / "nsd")


def test_per_cent_signal_change_in_every_voxel_of_the_brain(read_only):
    brain = ba.read_nsd(read_only.root, "subj01", [1, 3], standardise=False)
    i, j, k = np.nonzero(read_only.brain)
    assert brain.columns[["i", "j", "k"]].to_numpy().tolist() == np.stack([i, j, k], 1).tolist()
    assert np.allclose(brain.columns[["x", "y", "z"]], 1.8 * np.stack([i, j, k], 1))
    want = np.concatenate([read_only.data(session)[i, j, k].T / 300 for session in (1, 3)])
    np.testing.assert_allclose(brain.values, want, rtol=1e-6)
    assert brain.attrs["unit"] == "per cent signal change"
    mask = read_only.anatomy / "brainmask.nii.gz"
    assert brain.attrs["inputs"][mask.relative_to(read_only.root).as_posix()] == hash_file(mask)


def test_z_scores_within_session_leave_out_what_left_the_field_of_view(read_only):
    brain = ba.read_nsd(read_only.root, 1)
    inside = read_only.brain.copy()
    inside[3, 4, 2] = False
    want = np.concatenate([zscore(read_only.data(session)[inside].T.astype(float)) for session in (1, 2, 3)])
    np.testing.assert_allclose(brain.values, want, atol=1e-5)
    assert brain.attrs["unit"] == "z"
    assert any("1 voxel of 45 constant" in note for note in brain.attrs["notes"])
    assert any("no real clock" in note or "not counted" in note for note in brain.attrs["notes"])
    ncsnr = np.linspace(0, 0.6, 60).reshape(read_only.shape)[inside]
    np.testing.assert_allclose(brain.columns["ncsnr"], ncsnr, rtol=1e-6)


def test_every_trial_has_its_image_its_repeat_and_a_place_in_its_session(read_only):
    samples = ba.read_nsd(read_only.root, "01", [2, 3]).samples
    assert samples["run"].tolist() == ["02"] * 750 + ["03"] * 750
    assert samples["time"].tolist() == [4.0 * t for t in range(750)] * 2
    seen = {}
    for trial, image in enumerate(read_only.order[: 3 * TRIALS]):  # repeats count from the first session on
        seen[image] = seen.get(image, 0) + 1
        if trial >= TRIALS:
            row = samples.iloc[trial - TRIALS]
            assert row["stimulus"] == f"nsd{read_only.images[0, image - 1]:05d}"
            assert (row["repeat"], row["shared"]) == (seen[image], image <= 1000)
    assert samples["repeat"].max() > 1


def test_a_region_is_a_mask_and_names_its_voxels(read_only):
    rois = ba.read_nsd(read_only.root, "subj01", 1, mask="prf-visualrois").columns
    assert rois["roi"].value_counts().to_dict() == {"V1v": 9, "hV4": 1}
    assert rois.loc[rois["roi"] == "hV4", ["i", "j", "k"]].to_numpy().tolist() == [[1, 2, 2]]
    general = ba.read_nsd(read_only.root, "subj01", 1, mask="nsdgeneral")
    assert general.shape == (750, 10)
    assert "roi" not in general.columns
    path = read_only.anatomy / "roi/nsdgeneral.nii.gz"
    again = ba.read_nsd(read_only.root, "subj01", "1", mask=path)
    assert np.array_equal(again.values, general.values)


def test_the_map_rests_on_what_was_met_three_times_in_the_sessions_a_person_completed(read_only, scenes):
    assert ba.read_nsd(read_only.root, "subj01", 1).attrs["ncsnr_of"] == {"subj01": [10_000, 3]}
    fourth = Scenes(scenes.root, subject="subj04")
    fourth.write(1)
    fourth.write_image(fourth.betas / "ncsnr.nii.gz", np.ones(fourth.shape, np.float32))
    (fourth.betas / "betas_session02.hdf5.part").touch()
    met = np.bincount(fourth.order[: 30 * TRIALS])
    brain = ba.read_nsd(scenes.root, 4)
    assert brain.attrs["ncsnr_of"] == {"subj04": [int((met == 3).sum()), 3]}
    assert brain.samples["stimulus"][0] == f"nsd{fourth.images[3, fourth.order[0] - 1]:05d}"


def test_the_ceiling_of_the_average_over_repeats(read_only):
    brain = ba.read_nsd(read_only.root, "subj01")
    mean = ba.average_repeats(brain)
    ceiling = ba.from_ncsnr()(mean).own
    s2 = brain.columns["ncsnr"].to_numpy() ** 2
    np.testing.assert_allclose(ceiling.value, s2 / (s2 + (1 / mean.samples["repeats"]).mean()))
    assert np.isfinite(ceiling.p).all()


def test_sessions_go_to_the_store_one_by_one(read_only, monkeypatch, tmp_path):
    small = ba.read_nsd(read_only.root, "subj01")
    monkeypatch.setattr(holding, "LARGE", 1024)
    store = Store(tmp_path / "cache")
    large = ba.read_nsd(read_only.root, "subj01", store=store)
    assert np.array_equal(large.values, small.values)
    assert len(store.pieces()) == 1
    ba.read_nsd(read_only.root, "subj01", store=store)
    assert len(store.pieces()) == 1
    ba.read_nsd(read_only.root, "subj01", standardise=False, store=store)
    ba.read_nsd(read_only.root, "subj01", mask="nsdgeneral", store=store)
    assert len(store.pieces()) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subject": "subj09"}, "subject 'subj09' is not of this data set: 'subj01' to 'subj08', or 1 to 8"),
        ({"space": "fsaverage"}, r"space 'fsaverage' is not read \(the volumes of each person are"),
        ({"betas": "betas_fithrf"}, "subj01 has no betas_fithrf in func1pt8mm; did you mean 'betas_fithrf_GLM"),
        ({"sessions": [1, 7]}, "subj01 has no session 7; there are 1, 2, 3"),
        ({"sessions": []}, r"subj01 has no session \[\]; there are 1, 2, 3"),
        ({"mask": "nsdgenral"}, "mask 'nsdgenral' is no file and no region of subj01; did you mean 'nsdgeneral'"),
    ],
)
def test_what_is_asked_for_and_not_there(read_only, arguments, message):
    with pytest.raises(SettingsError, match=message):
        ba.read_nsd(read_only.root, **({"subject": "subj01"} | arguments))


def test_what_is_not_in_the_tree(scenes):
    with pytest.raises(InputError, match=r"there are no betas of subj01 in .*: looked in nsddata_betas/ppdata/subj01"):
        ba.read_nsd(scenes.root, "subj01")
    path = scenes.write(1)
    scenes.design.unlink()
    with pytest.raises(InputError, match=r"there is no nsddata/experiments/nsd/nsd_expdesign.mat: it says which image"):
        ba.read_nsd(scenes.root, "subj01")
    scenes.write_design()
    (scenes.anatomy / "brainmask.nii.gz").unlink()
    with pytest.raises(InputError, match=r"there is no .*brainmask.nii.gz: fetch it, or name a mask"):
        ba.read_nsd(scenes.root, "subj01")
    path.unlink()
    with pytest.raises(
        InputError, match=r"subj01 has no betas_session\*.hdf5 or .nii.gz in betas_fithrf_GLMdenoise_RR"
    ):
        ba.read_nsd(scenes.root, "subj01")


def test_a_design_that_is_none(scenes):
    scenes.write(1)
    for changes, message in [
        (
            {"masterordering": np.arange(5)},
            r"masterordering speaks of images 0 to 4, subjectim has 10000, counted from 1",
        ),
        ({"subjectim": np.ones((2, 9)), "masterordering": [[10]]}, "speaks of images 10 to 10, subjectim has 9"),
    ]:
        scenes.write_design(**changes)
        with pytest.raises(InputError, match=message):
            ba.read_nsd(scenes.root, "subj01")
    for content in (b"", b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM", b"nothing of the kind" * 20):
        scenes.design.write_bytes(content)
        with pytest.raises(InputError, match=r"nsd_expdesign.mat has no `masterordering` \(1 × trials\) and"):
            ba.read_nsd(scenes.root, "subj01")
    savemat(scenes.design, {"masterordering": scenes.order[None]})
    with pytest.raises(InputError, match=r"nsd_expdesign.mat has no `masterordering` \(1 × trials\) and `subjectim`"):
        ba.read_nsd(scenes.root, "subj01")


def test_everything_that_is_wrong_with_the_sessions_is_said_at_once(scenes):
    scenes.write(1, scenes.data(1)[..., :700])
    scenes.write(2, scenes.data(2)[:3])
    with h5py.File(scenes.write(3), "a") as file:
        file.move("betas", "data")
    path = scenes.write(4)
    path.write_bytes(path.read_bytes()[:-400])
    scenes.write(5, scenes.data(5)[..., :700], form="nii.gz")
    scenes.write_image(scenes.betas / "betas_session06.nii.gz", scenes.data(6), np.eye(4))
    scenes.write(41)
    with pytest.raises(InputError, match=r"^7 problems") as caught:
        ba.read_nsd(scenes.root, "subj01")
    said = str(caught.value)
    for part in [
        "session01.hdf5 holds (700, 3, 5, 4), and (750, 3, 5, 4) is needed: trials, and the mask",
        "session02.hdf5 holds (750, 3, 5, 3), and (750, 3, 5, 4) is needed",
        "session03.hdf5 has no `betas` that can be read",
        "session04.hdf5 has no `betas` that can be read",
        "session05.nii.gz holds 700 trials, a session has 750",
        "brainmask.nii.gz is of another grid than nsddata_betas/",
        "session41.hdf5: the design ends with session 40; take this one out",
    ]:
        assert part in said


def test_sessions_that_break_off_or_say_nothing(scenes):
    path = scenes.write(1, form="nii.gz")
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[: len(content) // 2]))
    with pytest.raises(InputError, match=r"betas_session01.nii.gz cannot be read to its end"):
        ba.read_nsd(scenes.root, "subj01")
    path.unlink()
    scenes.write(1, np.zeros((*scenes.shape, TRIALS), np.int16))
    with pytest.raises(InputError, match=r"every value of .*betas_session01.hdf5 is 0; leave this session out"):
        ba.read_nsd(scenes.root, "subj01")
    left, right = scenes.data(1), scenes.data(2)
    left[:2], right[2:] = 0, 0
    scenes.write(1, left)
    scenes.write(2, right)
    with pytest.raises(InputError, match=r"no voxel of .*brainmask.nii.gz varies in every session"):
        ba.read_nsd(scenes.root, "subj01")


def test_masks_and_maps_of_another_grid(scenes, tmp_path):
    scenes.write(1)
    empty = scenes.write_image(tmp_path / "empty.nii.gz", np.zeros(scenes.shape, np.int16))
    with pytest.raises(InputError, match=r"empty.nii.gz has no voxel in its mask: name another"):
        ba.read_nsd(scenes.root, "subj01", mask=empty)
    other = scenes.write_image(tmp_path / "other.nii.gz", np.ones((2, 2, 2), np.int16))
    with pytest.raises(InputError, match=r"session01.hdf5 holds .*the mask other.nii.gz back to front"):
        ba.read_nsd(scenes.root, "subj01", mask=other)
    scenes.write_image(scenes.betas / "ncsnr.nii.gz", np.ones((2, 2, 2)))
    with pytest.raises(InputError, match=r"ncsnr.nii.gz is of another grid than .*brainmask.nii.gz \(\(2, 2, 2\)"):
        ba.read_nsd(scenes.root, "subj01")


def test_decimals_are_per_cent_as_they_stand(scenes):
    scenes.write(1, scenes.data(1).astype(np.float32) / 300)
    scenes.write(2, scenes.data(2).astype(np.float32) / 300, form="nii.gz")
    brain = ba.read_nsd(scenes.root, 1, np.array([1, 2]), standardise=False)
    want = np.concatenate([scenes.data(session)[scenes.brain].T / 300 for session in (1, 2)])
    np.testing.assert_allclose(brain.values, want, rtol=1e-5)
