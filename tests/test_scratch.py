"""What is filled in a file is what would have been filled in memory, and nothing of it is left."""

import os
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from brainalign import scratch
from brainalign.errors import InputError
from brainalign.scratch import RowsOf, blocks, columns_of_rows, filled, room, rows_of, span_of


@pytest.fixture
def everything_is_large(monkeypatch, tmp_path):
    monkeypatch.setattr(scratch, "LARGE", 0)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def test_small_arrays_are_plain_ones():
    assert type(room((3, 2))) is np.ndarray
    assert type(filled((3, 2), lambda rows: np.ones((3, 2))[rows])) is np.ndarray


def test_what_is_part_of_something_large_goes_into_a_file_too():
    assert isinstance(room((3, 2), whole=scratch.LARGE + 1), np.memmap)
    assert type(room((3, 2), whole=scratch.LARGE)) is np.ndarray


def test_a_file_has_no_name_and_holds_what_is_written(everything_is_large):
    out = room((40, 5), np.float64)
    assert isinstance(out, np.memmap)
    assert (out == 0).all()
    out[:] = np.arange(200).reshape(40, 5)
    np.testing.assert_array_equal(out, np.arange(200).reshape(40, 5))
    if os.name == "posix":
        assert list(everything_is_large.iterdir()) == []


def test_rows_are_read_some_at_a_time(everything_is_large, monkeypatch):
    monkeypatch.setattr(scratch, "BLOCK", 4 * 5 * 4)
    values, seen = np.arange(35, dtype=np.float32).reshape(7, 5), []

    def read(rows):
        seen.append(len(values[rows]))
        return values[rows]

    np.testing.assert_array_equal(filled(values.shape, read), values)
    assert seen == [4, 3]


def test_an_empty_array_needs_no_file(everything_is_large):
    assert room((0, 4)).shape == (0, 4)
    assert filled((0, 4), lambda rows: np.zeros((0, 4))).shape == (0, 4)
    assert blocks(0, 0) == []


def test_a_full_disk_is_said_before_anything_is_written(everything_is_large, monkeypatch):
    full = namedtuple("usage", "total used free")(10, 10, 0)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: full)
    with pytest.raises(InputError, match=r"GB are written to .*No space left.*name another folder in TMPDIR"):
        room((3, 2))


def test_the_folder_is_the_one_that_is_named_else_one_on_a_disk(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert Path(scratch._folder()) == tmp_path
    monkeypatch.delenv("TMPDIR")
    monkeypatch.setattr("tempfile.tempdir", None)
    assert Path(scratch._folder()).is_dir()


@pytest.mark.parametrize("rows", [[0, 1, 2], [0, 2, 5], [3]], ids=str)
@pytest.mark.parametrize("columns", [slice(1, 3), [0, 1, 2], [3, 0]], ids=str)
def test_rows_and_columns_are_those_of_the_table(everything_is_large, rows, columns):
    values = np.random.default_rng(0).standard_normal((6, 4))
    rows, columns = np.array(rows), columns if isinstance(columns, slice) else np.array(columns)
    wanted = values[rows][:, columns]
    np.testing.assert_array_equal(columns_of_rows(values, rows, columns), wanted)
    some = rows_of(values, rows)
    assert (some.shape, some.dtype) == ((len(rows), 4), values.dtype)
    np.testing.assert_array_equal(some[:, columns], wanted)
    np.testing.assert_array_equal(np.asarray(some), values[rows])


@pytest.mark.parametrize("index", [[2, 3, 4], [4, 3, 2], [0, 2], [3], []], ids=str)
def test_only_rising_neighbours_are_a_span(index):
    found = span_of(np.array(index, int))
    assert np.arange(6)[found].tolist() == index
    assert isinstance(found, slice) == (index in ([2, 3, 4], [3]))


def test_rows_are_copied_only_where_they_have_to_be(everything_is_large, monkeypatch):
    values = np.zeros((6, 4))
    assert np.shares_memory(rows_of(values, np.arange(2, 5)), values)
    assert isinstance(rows_of(values, np.array([0, 2])), RowsOf)
    monkeypatch.setattr(scratch, "LARGE", 1000)
    assert isinstance(rows_of(values, np.array([0, 2])), np.ndarray)
