"""Computed part by part: in little memory, and a crash costs one part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainalign.errors import InputError
from brainalign.rows import RowJob, compute_rows, keep_blocks, keep_rows, parts_of
from brainalign.store import Store, key_of

KEY = key_of(of="a test")


class CrashError(Exception):
    pass


def job_of(parts: list[list[int]], width: int, asked: list[int], dies_at: int | None = None) -> RowJob:
    n = sum(len(rows) for rows in parts)
    truth = np.random.default_rng(0).standard_normal((n, width)).astype(np.float32)

    def compute(part: int) -> np.ndarray:
        asked.append(part)
        if part == dies_at:
            raise CrashError
        return truth[parts[part]]

    return RowJob((n, width), [np.array(rows) for rows in parts], compute, {"layers": np.arange(3)})


@given(st.permutations(range(12)), st.sets(st.integers(1, 11)), st.integers(1, 4))
def test_whatever_the_order_of_rows_each_comes_to_its_place(order, cuts, width):
    parts = [list(part) for part in np.split(np.array(order), sorted(cuts))]
    job = job_of(parts, width, [])
    whole = compute_rows(job)
    assert (whole["values"] == np.random.default_rng(0).standard_normal((12, width)).astype(np.float32)).all()
    assert whole["layers"].tolist() == [0, 1, 2]


def test_kept_is_computed(tmp_path):
    job = job_of([[3, 0], [1, 2, 5], [4]], 7, [])
    kept = keep_rows(Store(tmp_path), KEY, lambda: job, meta={"model": "m"})
    assert isinstance(kept["values"], np.memmap)
    assert (np.asarray(kept["values"]) == compute_rows(job)["values"]).all()
    assert kept["values"].dtype == np.float32
    (piece,) = Store(tmp_path).pieces()  # the parts are gone
    assert piece.meta == {"model": "m"}


def test_a_hit_begins_nothing(tmp_path):
    keep_rows(Store(tmp_path), KEY, lambda: job_of([[0, 1]], 2, []), meta={})
    keep_rows(Store(tmp_path), KEY, lambda: pytest.fail("begun although the whole is there"), meta={})


@pytest.mark.parametrize("dies_at", [0, 1, 3])
def test_after_a_crash_only_what_is_missing_is_computed(tmp_path, dies_at):
    parts, asked, told = [[0, 1], [2], [3, 4], [5]], [], []
    with pytest.raises(CrashError):
        keep_rows(Store(tmp_path), KEY, lambda: job_of(parts, 3, asked, dies_at), meta={})
    assert len(Store(tmp_path).pieces()) == dies_at
    again: list[int] = []
    kept = keep_rows(
        Store(tmp_path), KEY, lambda: job_of(parts, 3, again), meta={}, progress=lambda *said: told.append(said)
    )
    assert again == list(range(dies_at, 4))
    assert (np.asarray(kept["values"]) == compute_rows(job_of(parts, 3, []))["values"]).all()
    assert [said[:2] for said in told] == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert len(Store(tmp_path).pieces()) == 1


def test_parts_that_a_kill_left_beside_the_whole_are_pruned(tmp_path, monkeypatch):
    store = Store(tmp_path)
    with monkeypatch.context() as killed:
        killed.setattr(Store, "remove", lambda self, key: False)  # killed before the parts went
        keep_rows(store, KEY, lambda: job_of([[0, 1], [2]], 3, []), meta={})
    with pytest.raises(CrashError):
        keep_rows(store, key_of(of="another"), lambda: job_of([[0, 1], [2]], 3, [], dies_at=1), meta={})
    assert len(store.pieces()) == 4
    assert store.prune() > 0
    left = store.pieces()
    assert {piece.key for piece in left} >= {KEY}
    assert [piece.meta for piece in left if piece.key != KEY] == [  # what is not finished is still of use
        {"part_of": key_of(of="another"), "part": 0, "parts": 2}
    ]


def test_other_parts_than_those_that_were_kept_are_computed(tmp_path):
    """Another plan after a crash: a part is found by its rows, not by its number."""
    with pytest.raises(CrashError):
        keep_rows(Store(tmp_path), KEY, lambda: job_of([[0, 1], [2, 3]], 2, [], dies_at=1), meta={})
    again: list[int] = []
    kept = keep_rows(Store(tmp_path), KEY, lambda: job_of([[2, 3], [0, 1]], 2, again), meta={})
    assert again == [0]  # the rows 0 and 1 were there
    assert (np.asarray(kept["values"]) == compute_rows(job_of([[0, 1], [2, 3]], 2, []))["values"]).all()


def full(*anything):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("columns", [[[0, 1, 2, 3, 4]], [[0, 1], [2, 3, 4]], [[0, 2, 3], [1, 4]], [[4], [0, 1, 2, 3]]])
@pytest.mark.parametrize("rows", [[[0, 1, 2], [3]], [[0, 2], [1, 3]]])
def test_blocks_land_where_they_belong(tmp_path, rows, columns):
    truth = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    tiles = [(np.array(r), np.array(c), truth[np.ix_(r, c)]) for r in rows for c in columns]
    seen = np.zeros(len(tiles), bool)

    def blocks():
        for k, tile in enumerate(tiles):
            seen[k] = True
            yield tile

    arrays = keep_blocks(Store(tmp_path), KEY, truth.shape, blocks, meta={}, also={"seen": seen})
    assert arrays["seen"].all()
    kept = arrays["values"]
    np.testing.assert_array_equal(kept, truth)
    assert isinstance(kept, np.memmap)
    again = keep_blocks(Store(tmp_path), KEY, truth.shape, full, meta={})["values"]  # nothing is computed
    np.testing.assert_array_equal(again, truth)


def test_blocks_on_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("brainalign.rows._write", full)
    tile = (np.arange(2), np.arange(3), np.zeros((2, 3), np.float32))
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\); 0 MB are needed: free some"):
        keep_blocks(Store(tmp_path), KEY, (2, 3), lambda: iter([tile]), meta={})
    assert Store(tmp_path).pieces() == []


def test_a_full_disk_is_said_and_parts_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("brainalign.rows._write", full)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\); what was computed is kept"):
        keep_rows(Store(tmp_path), KEY, lambda: job_of([[0, 1], [2]], 3, []), meta={})
    assert len(Store(tmp_path).pieces()) == 1


@given(st.lists(st.floats(0.01, 3), min_size=1, max_size=30))
def test_groups_are_neighbours_of_about_a_size(sizes):
    groups = parts_of(sizes)
    assert [k for group in groups for k in group] == list(range(len(sizes)))
    for group in groups[:-1]:
        assert sum(sizes[k] for k in group) >= 1
        assert sum(sizes[k] for k in list(group)[:-1]) < 1


def test_a_part_with_a_key_of_its_own_is_found_on_the_way_to_another_whole(tmp_path):
    keys, asked = [key_of(part=k) for k in range(3)], []
    store = Store(tmp_path)
    with pytest.raises(CrashError):
        keep_rows(store, KEY, lambda: replace(job_of([[0], [1], [2]], 2, [], dies_at=2), keys=keys), meta={})
    other = replace(job_of([[0], [1]], 2, asked), keys=[keys[1], key_of(part="new")])
    found = keep_rows(store, key_of(of="another"), lambda: other, meta={})["values"]
    assert asked == [1]
    whole = compute_rows(job_of([[0], [1], [2]], 2, []))["values"]
    np.testing.assert_array_equal(found[0], whole[1])
