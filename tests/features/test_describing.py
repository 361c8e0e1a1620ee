"""Each different picture is described once, kept, found again; what cannot be read is told or left out."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from brainalign.errors import InputError, SettingsError
from brainalign.features import describing
from brainalign.features.describing import Describer, describe, per_picture
from brainalign.features.light import luminance
from brainalign.features.pictures import Pictures, pictures_of
from brainalign.signals import join
from brainalign.store import Store

KEY = {"kind": "mean"}
COLUMNS = pd.DataFrame({"band": ["mean"], "unit": ["grey"]})


class Mean:
    """The mean of a picture; remembers what it was handed."""

    def __init__(self, batch=16):
        self.batches, self.begun, self.batch = [], 0, batch

    def begin(self):
        self.begun += 1
        return Describer(1, self.describe, self.batch, {"layers": np.array([4])})

    def describe(self, batch):
        self.batches.append(len(batch))
        return np.array([[picture.mean()] for picture in batch])


def grey(*levels):
    return pictures_of([np.full((2, 3 + level % 2), level, np.uint8) for level in levels])


@given(st.lists(st.integers(0, 20), min_size=1, max_size=30), st.integers(1, 5))
def test_each_different_picture_once_however_they_are_shown(levels, batch):
    mean = Mean(batch)
    found = describe(grey(*levels), mean.begin, KEY, "mean")
    assert found.values.ravel().tolist() == levels
    assert sum(mean.batches) == len(set(levels))
    assert max(mean.batches) <= batch
    assert found.also["layers"].tolist() == [4]


def test_found_again_by_the_order_of_first_showing_without_beginning(tmp_path):
    store, mean = Store(tmp_path), Mean()
    describe(grey(5, 9, 5, 1), mean.begin, KEY, "mean", store=store)
    again = describe(grey(5, 5, 9, 1, 9, 9), mean.begin, KEY, "mean", store=store)
    assert mean.begun == 1
    assert again.values.ravel().tolist() == [5, 5, 9, 1, 9, 9]
    assert again.also["layers"].tolist() == [4]
    describe(grey(5, 9), mean.begin, KEY, "mean", store=store)
    other = describe(grey(1, 5, 9), mean.begin, KEY, "mean", store=store)
    describe(grey(5, 9, 1), mean.begin, {"kind": "other"}, "mean", store=store)
    assert mean.begun == 4
    assert other.values.ravel().tolist() == [1, 5, 9]


def test_large_results_stay_on_disk_in_the_order_they_were_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(describing, "MEMORY_BYTES", 0)
    monkeypatch.setattr(describing, "PART_BYTES", 8)
    found = describe(grey(5, 9, 5, 1, 1), Mean().begin, KEY, "mean", store=Store(tmp_path))
    assert isinstance(found.values, np.memmap)
    assert found.values.ravel().tolist() == [5, 9, 5, 1, 1]


def test_pictures_are_handed_over_in_batches_of_limited_pixels(monkeypatch):
    monkeypatch.setattr(describing, "BATCH_BYTES", 2 * 3 * 3 * 2)
    mean = Mean()
    describe(grey(0, 2, 4, 6, 8), mean.begin, KEY, "mean")
    assert mean.batches == [2, 2, 1]


@pytest.fixture
def some_broken(tmp_path):
    for k in range(6):
        Image.new("L", (4, 4), 10 * k).save(tmp_path / f"{k}.png")
    for k in (0, 3):
        (tmp_path / f"{k}.png").write_bytes(b"no picture")
    (tmp_path / "3.png").write_bytes(b"none either")
    return pictures_of([tmp_path / f"{k}.png" for k in (0, 1, 2, 3, 4, 5, 3)])


def test_unreadable_pictures_are_censored_and_the_rest_is_kept(some_broken, tmp_path):
    for store in (None, Store(tmp_path / "store"), Store(tmp_path / "store")):
        found = describe(some_broken, Mean().begin, KEY, "mean", unreadable="censor", store=store)
        signal = found.signal(COLUMNS, {"mean": KEY})
        assert np.isnan(signal.values[[0, 3, 6]]).all()
        assert signal.values[[1, 2, 4, 5]].ravel().tolist() == [10, 20, 40, 50]
        assert signal.use.tolist() == [False, True, True, False, True, True, False]
        assert [one["stimulus"] for one in signal.attrs["left_out"]] == ["0.png", "3.png"]
        assert "found 10 bytes that begin with b'no picture'" in signal.attrs["left_out"][0]["why"]
        assert signal.attrs["notes"] == ["mean: 3 of 7 samples are censored: their pictures cannot be read"]
        assert signal.attrs["features"] == {"mean": KEY}
        assert set(signal.attrs["inputs"]) == {f"{k}.png" for k in range(6)}


def test_an_unreadable_picture_is_an_error_and_what_was_computed_stays(some_broken, tmp_path, monkeypatch):
    monkeypatch.setattr(describing, "PART_PICTURES", 1)
    store, mean = Store(tmp_path / "store"), Mean()
    with pytest.raises(InputError, match=r"picture '[03].png' cannot be read"):
        describe(some_broken, mean.begin, KEY, "mean", store=store)
    done = len(mean.batches)
    describe(some_broken, mean.begin, KEY, "mean", unreadable="censor", store=store)
    assert len(mean.batches) == 4
    assert len(store.pieces()) == 1
    with pytest.raises(InputError, match=r"picture '0.png' cannot be read"):  # also where the others are kept
        describe(some_broken, mean.begin, KEY, "mean", store=store)
    assert done < 4


def test_none_readable_is_an_error(some_broken):
    rows = [0, 3]
    none = Pictures(
        some_broken.samples.iloc[rows].reset_index(drop=True),
        [some_broken.digests[row] for row in rows],
        lambda asked: some_broken.read([rows[row] for row in asked]),
    )
    with pytest.raises(InputError, match=r"picture '0.png' cannot be read"):
        describe(none, Mean().begin, KEY, "mean", unreadable="censor")


def test_censored_samples_stay_so_beside_other_bands(some_broken):
    other = luminance(np.zeros((7, 2, 2), np.uint8))
    both = join(luminance(some_broken, unreadable="censor", name="light"), other)
    assert both.use.tolist() == [False, True, True, False, True, True, False]


def test_what_is_not_finite_is_not_kept_as_if_unreadable():
    with pytest.raises(InputError, match="mean of 'picture 0' is not a finite number"):
        describe(grey(5), lambda: per_picture(1, lambda picture: [np.inf]), KEY, "mean")


def test_another_word_for_unreadable():
    with pytest.raises(SettingsError, match="unreadable is one of 'error', 'censor'; found 'skip'"):
        describe(grey(5), Mean().begin, KEY, "mean", unreadable="skip")  # pyright: ignore[reportArgumentType]


def test_many_files_are_named_as_one_in_provenance(some_broken, monkeypatch):
    monkeypatch.setattr(describing, "INPUTS_LISTED", 3)
    signal = luminance(some_broken, unreadable="censor")
    assert list(signal.attrs["inputs"]) == ["6 pictures"]


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(describing, "PART_BYTES", 1 << 20)
    monkeypatch.setattr(describing, "MEMORY_BYTES", 1 << 20)

    def peak(n):
        samples = pd.DataFrame({"run": "1", "time": np.arange(n), "stimulus": [f"{k}" for k in range(n)]})
        shown = Pictures(samples, [f"{k:06d}" for k in range(n)], lambda rows: (SMALL for _ in rows))
        tracemalloc.start()
        found = describe(
            shown,
            lambda: per_picture(4096, lambda _: np.zeros(4096)),
            KEY,
            "x",
            store=Store(tmp_path),
            part_bytes=1 << 20,
        )
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found.values.shape == (n, 4096)
        return used

    small, large = peak(100), peak(1_000)
    assert large - small < 4 << 20  # of 16 KB a picture, 900 would take 15 MB


SMALL = np.zeros((2, 2, 3), np.uint8)
