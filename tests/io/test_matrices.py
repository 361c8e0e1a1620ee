"""Matrices laid out as LeBel et al. (2023) publish theirs, and what may be wrong with them."""

import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest

import brainalign as ba
from brainalign.errors import InputError, SettingsError
from brainalign.io import holding, matrix_files
from brainalign.io.matrix_files import open_matrix
from brainalign.provenance import hash_file
from brainalign.store import Store

LEBEL = {"dataset": "lebel2023"}


@dataclass
class Stories:
    """A generated data set whose every number is known."""

    root: Path
    place: str = "derivative/preprocessed_data"

    def path(self, who, story, suffix=".hf5"):
        return self.root / self.place / who / f"{story}{suffix}"

    def data(self, who, story, rows=12, columns=7):
        seed = [int(letter, 36) for letter in f"{who}{story}" if letter.isalnum()]
        return np.random.default_rng(seed).standard_normal((rows, columns))

    def write(self, who, story, data=None, key="data", **shape):
        path = self.path(who, story)
        path.parent.mkdir(parents=True, exist_ok=True)
        data = self.data(who, story, **shape) if data is None else data
        with h5py.File(path, "a") as file:
            file[key] = data
        return np.asarray(data)


@pytest.fixture
def stories(tmp_path):
    return Stories(tmp_path / "ds003020")


def test_people_who_heard_the_same_stand_side_by_side_on_the_clock_of_the_card(stories):
    souls = {who: stories.write(who, "souls") for who in ("UTS01", "UTS02")}
    avatar = {who: stories.write(who, "avatar", rows=9) for who in ("UTS01", "UTS02")}
    brain = ba.read_matrices(stories.root, **LEBEL)
    assert brain.runs == ["avatar", "souls"]
    assert brain.samples["time"].tolist() == [10.0 + 2 * k for k in [*range(9), *range(12)]]
    assert brain.columns["subject"].tolist() == ["UTS01"] * 7 + ["UTS02"] * 7
    assert brain.columns["column"].tolist() == [*range(7)] * 2
    want = [np.concatenate([avatar[who], souls[who]]) for who in ("UTS01", "UTS02")]
    assert np.array_equal(brain.values, np.concatenate(want, axis=1).astype(np.float32))
    path = stories.path("UTS02", "souls")
    assert brain.attrs["inputs"][path.relative_to(stories.root).as_posix()] == hash_file(path)
    assert (brain.attrs["tr"], brain.attrs["start_time"], brain.attrs["notes"]) == (2.0, 10.0, [])


def test_people_on_different_clocks_come_apart_and_some_may_be_asked_for(stories):
    stories.write("UTS01", "souls")
    stories.write("UTS02", "souls", rows=8)
    stories.write("sub-UTS03", "souls", rows=8)
    stories.write("sub-UTS03", "avatar")
    apart = ba.read_matrices(stories.root, run="souls", **LEBEL)
    assert [one.columns["subject"].unique().tolist() for one in apart] == [["UTS01"], ["UTS02", "UTS03"]]
    one = ba.read_matrices(stories.root, "UTS02", **LEBEL)
    assert one.shape == (8, 7)
    some = ba.read_matrices(stories.root, run=["avatar"], **LEBEL)
    assert some.columns["subject"].unique().tolist() == ["UTS03"]
    assert [left["subject"] for left in some.attrs["left_out"]] == ["UTS01", "UTS02"]
    assert some.attrs["left_out"][0]["why"] == "has no run avatar"
    assert ba.read_matrices(stories.root, ["sub-UTS03"], "avatar", **LEBEL).runs == ["avatar"]


@pytest.mark.parametrize("place", ["derivatives/preprocessed_data", "preprocessed_data", "."])
def test_the_folder_may_be_named_from_above_or_itself(stories, place):
    stories.place = place
    data = stories.write("UTS01", "souls")
    for root in (stories.root, stories.root / place, stories.root / place / "UTS01"):
        brain = ba.read_matrices(root, tr=2.0045)
        assert np.array_equal(brain.values, data.astype(np.float32))
        assert brain.columns["subject"].unique().tolist() == ["UTS01"]
        assert brain.samples["time"].iloc[1] == 2.0045
        assert "nothing says when the first volume was taken" in brain.attrs["notes"][0]


def test_what_is_asked_for_comes_before_the_card_and_trimmed_volumes_leave_the_clock_alone(stories):
    data = stories.write("UTS01", "souls")
    brain = ba.read_matrices(stories.root, tr=1.5, start_s=3.0, trim_volumes=4, **LEBEL)
    assert np.array_equal(brain.values, data[4:].astype(np.float32))
    assert brain.samples["time"].tolist() == [3.0 + 1.5 * k for k in range(4, 12)]
    assert brain.attrs["notes"] == ["tr 1.5 s was asked for; the card lebel2023 says 2 s"]


def test_repeats_of_a_story_are_runs_whose_ceiling_is_found(stories):
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((200, 3))
    repeats = shared + rng.standard_normal((10, 200, 3))
    stories.write("UTS01", "wheretheressmoke", repeats.mean(0))
    stories.write("UTS01", "wheretheressmoke", repeats, key="individual_repeats")
    brain = ba.read_matrices(stories.root, run="wheretheressmoke", key="individual_repeats", **LEBEL)
    assert brain.runs == [f"wheretheressmoke-{k}" for k in range(1, 11)]
    assert np.array_equal(brain.values, repeats.reshape(2000, 3).astype(np.float32))
    assert brain.samples["repeat"].tolist() == np.repeat(range(1, 11), 200).tolist()
    assert abs(ba.between_repeats()(brain).own.value.mean() - 0.5) < 0.1


def test_numpy_files_will_do(stories):
    data = stories.data("UTS01", "souls")
    path = stories.path("UTS01", "souls", ".npy")
    path.parent.mkdir(parents=True)
    np.save(path, data.astype(np.int16))
    assert np.array_equal(ba.read_matrices(stories.root, **LEBEL).values, data.astype(np.int16))


def test_columns_that_say_nothing_in_a_run_are_dropped_with_a_note(stories):
    first, second = stories.data("UTS01", "souls"), stories.data("UTS01", "avatar")
    first[:, 2], second[:, 5] = 7.0, np.nan
    stories.write("UTS01", "souls", first)
    stories.write("UTS01", "avatar", second)
    brain = ba.read_matrices(stories.root, **LEBEL)
    assert brain.columns["column"].tolist() == [0, 1, 3, 4, 6]
    assert brain.attrs["notes"] == ["sub-UTS01: 2 columns of 7 constant or without a number in a run, dropped"]


def test_numbers_are_read_a_block_at_a_time_and_only_when_asked_for(stories, monkeypatch):
    monkeypatch.setattr(matrix_files, "NUMBERS_PER_BLOCK", 1 << 17)
    data = stories.write("UTS01", "souls", np.zeros((1000, 4000)) + np.arange(1000)[:, None])
    path = stories.path("UTS01", "souls")
    tracemalloc.start()
    (one,) = open_matrix(path, "souls.hf5")
    opened = tracemalloc.get_traced_memory()[1]
    sizes, rows = [], []
    for block in one.series.blocks():
        sizes.append(block.nbytes)
        rows += block[:, 17].tolist()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == list(range(1000))
    assert max(sizes) == 32 * 4000 * 4
    assert opened < 1e6
    assert peak < 6e6 < data.nbytes / 5


def test_what_is_large_is_written_to_the_store_once(stories, monkeypatch, tmp_path):
    data = stories.write("UTS01", "souls")
    data[:, 0] = 1.0
    stories.write("UTS01", "flat", data)
    monkeypatch.setattr(holding, "LARGE", 64)
    store = Store(tmp_path / "cache")
    brain = ba.read_matrices(stories.root, store=store, **LEBEL)
    again = ba.read_matrices(stories.root, store=store, **LEBEL)
    assert isinstance(brain.values.base, np.memmap) or isinstance(brain.values, np.memmap)
    assert len(store.pieces()) == 1
    ba.read_matrices(stories.root, trim_volumes=1, store=store, **LEBEL)
    assert len(store.pieces()) == 2
    want = np.concatenate([data[:, 1:], stories.data("UTS01", "souls")[:, 1:]]).astype(np.float32)
    assert np.array_equal(brain.values, want)
    assert np.array_equal(again.values, want)


def broken(stories):
    """A tree in which every file is wrong in a way of its own."""
    stories.write("UTS01", "souls")
    stories.write("UTS01", "avatar", key="resp")
    stories.write("UTS01", "flat", np.zeros((3,)))
    stories.write("UTS01", "none", np.zeros((0, 7)))
    stories.write("UTS01", "text", np.array([[b"a"]]))
    stories.write("UTS01", "legacy")
    path = stories.path("UTS01", "legacy")
    path.write_bytes(path.read_bytes()[:-300])
    stories.path("UTS01", "empty").write_bytes(b"")
    stories.path("UTS01", "annex").symlink_to(".git/annex/objects/MD5E-s278426480")
    np.save(stories.path("UTS01", "short", ".npy"), np.zeros((40, 7)))
    path = stories.path("UTS01", "short", ".npy")
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    "message",
    [
        r"UTS01/avatar.hf5 has no dataset 'data' \(found: 'resp'\): name it with key=, or name the runs that have it",
        r"UTS01/flat.hf5 has the shape \(3,\): needed are volumes × columns, or repeats × volumes × columns",
        r"UTS01/none.hf5 has the shape \(0, 7\): it holds nothing",
        r"UTS01/text.hf5 holds values of type \|S1: a recording holds one real number per column",
        r"UTS01/legacy.hf5 cannot be read \(.*truncated.*\): it is cut short or harmed; fetch it again",
        r"UTS01/empty.hf5 cannot be read \(.*\): it is cut short or harmed",
        r"UTS01/annex.hf5: its content was not fetched \(a link that leads nowhere\): `datalad get` it",
        r"UTS01/short.npy cannot be read \(.*\): it is cut short or harmed",
        r"^8 problems:",
    ],
)
def test_everything_that_is_wrong_with_the_files_is_said_at_once(stories, message):
    broken(stories)
    with pytest.raises(InputError, match=message):
        ba.read_matrices(stories.root, **LEBEL)


def test_runs_of_one_person_that_do_not_fit_together(stories):
    stories.write("UTS01", "avatar", rows=30)
    stories.write("UTS01", "souls", columns=6)
    with pytest.raises(InputError, match=r"souls.hf5 has 6 columns, .*avatar.hf5 has 7: .* Take one of them out"):
        ba.read_matrices(stories.root, **LEBEL)
    with pytest.raises(InputError, match=r"souls.hf5 has 12 volumes, 20 are to be left out at its start: nothing"):
        ba.read_matrices(stories.root, trim_volumes=20, **LEBEL)
    np.save(stories.path("UTS01", "souls", ".npy"), stories.data("UTS01", "souls"))
    with pytest.raises(InputError, match=r"sub-UTS01, run souls is there twice: .*souls.hf5, .*souls.npy; keep one"):
        ba.read_matrices(stories.root, **LEBEL)
    stories.write("UTS02", "avatar", stories.data("UTS02", "avatar", rows=30).T)
    stories.write("UTS02", "souls", stories.data("UTS02", "souls").T)
    with pytest.raises(InputError, match=r"Both have 7 rows: they look like voxels × volumes.*write them transposed"):
        ba.read_matrices(stories.root, "UTS02", **LEBEL)


def test_recordings_that_say_nothing(stories):
    data = stories.write("UTS01", "souls")
    stories.write("UTS01", "avatar", np.zeros((5, 7)))
    with pytest.raises(InputError, match=r"sub-UTS01: every value of .*avatar.hf5 is 0; take this run or this person"):
        ba.read_matrices(stories.root, **LEBEL)
    data[3, 2] = np.nan
    stories.write("UTS02", "souls", data)
    with pytest.raises(InputError, match=r"souls.hf5: not a finite number in volume 4, column .*2"):
        ba.read_matrices(stories.root, "UTS02", **LEBEL)
    one, other = np.zeros((5, 2)), np.zeros((5, 2))
    one[:, 0], other[:, 1] = np.arange(5), np.arange(5)
    stories.write("UTS03", "souls", one)
    stories.write("UTS03", "avatar", other)
    with pytest.raises(InputError, match="sub-UTS03: no column is a number throughout and varies in every run"):
        ba.read_matrices(stories.root, "UTS03", **LEBEL)


def test_what_is_not_there(stories, tmp_path):
    stories.write("UTS01", "souls")
    stories.write("UTS02", "avatar")
    for arguments, message in [
        ({}, r"a matrix does not say how far apart its volumes are: name tr= \(s\), or dataset= \(known: .*lebel2023"),
        ({"tr": 2000}, r"tr is 2000: it is a number of seconds between 0 and 100"),
        ({"tr": 2, "trim_volumes": -1}, "trim_volumes is -1: it is a number of volumes"),
        ({"tr": 2, "subject": "UTS9"}, "there is no person 'UTS9' in .*; did you mean 'UTS0"),
        ({"tr": 2, "run": "soul"}, "there is no run 'soul' in .*; did you mean 'souls'"),
        ({"tr": 2, "run": "souls", "subject": ["UTS01", "UTS02"]}, "sub-UTS02 has no run 'souls'; leave it or this"),
    ]:
        with pytest.raises(SettingsError, match=message):
            ba.read_matrices(stories.root, **arguments)
    with pytest.raises(InputError, match="no data set 'lebel'; did you mean 'lebel2023'"):
        ba.read_matrices(stories.root, dataset="lebel")
    with pytest.raises(InputError, match="nowhere is not a folder"):
        ba.read_matrices(tmp_path / "nowhere", tr=2)
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match=r"there are no matrices \(.hf5, .h5, .hdf5, .npy\) in .*bare: looked for"):
        ba.read_matrices(tmp_path / "bare", tr=2)
    stories.write("", "souls")
    with pytest.raises(InputError, match=r"holds matrices \(souls.hf5\) and folders of matrices \(UTS01\): name"):
        ba.read_matrices(stories.root, tr=2)
    with pytest.raises(InputError, match=r"there is no file gone.hf5: check the path"):
        open_matrix(tmp_path / "gone.hf5", "gone.hf5")


def test_people_called_by_numbers(tmp_path):
    for who in ("1", "2"):
        (tmp_path / who).mkdir()
        np.save(tmp_path / who / "7.npy", np.eye(5, 3, dtype=np.float32))
    for who in (1, np.int64(1), [1]):
        assert ba.read_matrices(tmp_path, who, 7, tr=2.0).shape == (5, 3)


def test_the_card_of_trials_has_no_tr(stories):
    with pytest.raises(
        SettingsError, match=r"the card nsd is of trials, 4 s apart, which is no TR: read them with read_nsd"
    ):
        ba.read_matrices(stories.root, dataset="nsd")
