import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from brainalign import provenance
from brainalign.errors import InputError
from brainalign.provenance import check_inside, hash_array, hash_file, hash_frame, relative_name, versions


def test_hash_file_is_the_sha256_of_the_bytes(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"brain" * 100_000)
    assert hash_file(path) == hashlib.sha256(b"brain" * 100_000).hexdigest()


def test_hash_file_says_which_file_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.tsv is not a file"):
        hash_file(tmp_path / "nothing.tsv")
    with pytest.raises(InputError, match="is not a file"):
        hash_file(tmp_path)


ARRAYS = hnp.arrays(
    dtype=st.sampled_from(["<f4", ">f4", "<f8", "<i8", "|b1", "<U3"]), shape=hnp.array_shapes(min_dims=0, max_dims=3)
)


@given(ARRAYS)
def test_hash_array_does_not_see_layout_or_byte_order(array):
    same = np.copy(array, order="F").astype(array.dtype.newbyteorder("<"))
    assert hash_array(same) == hash_array(array)


@given(ARRAYS, st.data())
def test_hash_array_sees_every_byte(array, data):
    if array.dtype.kind == "U":
        return
    flat = array.reshape(-1).copy()
    at = data.draw(st.integers(0, flat.size - 1))
    flat.view(np.uint8)[at * flat.itemsize] ^= 1
    assert hash_array(flat.reshape(array.shape)) != hash_array(array)


def test_hash_array_sees_type_and_shape():
    zeros = [np.zeros(4, "f4"), np.zeros((2, 2), "f4"), np.zeros((4, 1), "f4"), np.zeros(2, "f8"), np.zeros(4, "i4")]
    assert len({hash_array(z) for z in zeros}) == len(zeros)


def test_hash_array_in_pieces_is_the_same(tmp_path, monkeypatch):
    array = np.random.default_rng(0).normal(size=(37, 5)).astype("f4")
    whole = hash_array(array)
    np.save(tmp_path / "a.npy", array)
    monkeypatch.setattr(provenance, "CHUNK_BYTES", 64)
    assert hash_array(np.load(tmp_path / "a.npy", mmap_mode="r")) == whole


def test_hash_array_reads_zarr(tmp_path):
    import zarr

    array = np.random.default_rng(0).normal(size=(37, 5)).astype("f4")
    stored = zarr.create_array(tmp_path / "a.zarr", data=array, chunks=(10, 5))
    assert hash_array(stored) == hash_array(array)


def test_hash_array_refuses_objects():
    with pytest.raises(InputError, match="Python objects has no stable bytes"):
        hash_array(np.array([{}], dtype=object))


def test_hash_frame_is_pinned():
    # a change of this digest makes every cached piece of every user stale: it must be meant
    frame = pd.DataFrame(
        {"onset": [0.0, 1e-7, 123456.789], "run": ["1", None, "ü"], "n": [1, 2, 3], "use": [True, False, True]}
    )
    assert hash_frame(frame) == "1f0d6976c63b0513adca05ae91a223bb4d3f20836712c712071b701e56067096"


def test_hash_frame_does_not_see_how_pandas_keeps_a_column():
    plain = pd.DataFrame({"word": ["a", None, "b"], "n": [1, 2, 3]})
    kept = [
        plain.astype({"word": "object", "n": "int32"}),
        plain.astype({"word": "category", "n": "Int64"}),
        plain.astype({"word": "string"}).set_axis([7, 8, 9]),
        plain.astype("object").where(plain.notna(), np.nan),
    ]
    assert {hash_frame(frame) for frame in kept} == {hash_frame(plain)}


@pytest.mark.parametrize(
    "other",
    [
        pd.DataFrame({"a": ["1"]}),
        pd.DataFrame({"a": [1.0]}),
        pd.DataFrame({"a": [True]}),
        pd.DataFrame({"b": [1]}),
        pd.DataFrame({"a": [1, 1]}),
        pd.DataFrame({"a": [1], "b": [1]}),
        pd.DataFrame({"a": [None]}),
        pd.DataFrame({"a": ["null"]}),
    ],
)
def test_hash_frame_sees_what_a_cell_is(other):
    assert hash_frame(other) != hash_frame(pd.DataFrame({"a": [1]}))


def test_hash_frame_refuses_other_things_and_names_the_column():
    with pytest.raises(InputError, match=r"column 'when' holds a Timestamp"):
        hash_frame(pd.DataFrame({"when": [pd.Timestamp("2020-01-01")]}))


def test_versions_are_those_of_the_installed_packages():
    assert versions("numpy") == {"numpy": np.__version__}
    assert versions("not-a-package-anyone-has") == {}
    assert versions("python")["python"].startswith("3.")


def test_relative_name_follows_links_only_when_it_must(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store/bold.tsv").write_text("")
    (tmp_path / "study").symlink_to(tmp_path / "store")
    assert relative_name(tmp_path / "study/bold.tsv", tmp_path / "study") == "bold.tsv"
    assert relative_name(tmp_path / "store/bold.tsv", tmp_path / "study") == "bold.tsv"
    (tmp_path / "store/link.tsv").symlink_to(tmp_path / "annexed")
    assert relative_name(tmp_path / "store/link.tsv", tmp_path / "store") == "link.tsv"


@pytest.mark.parametrize("name", ["../secret", "a/../../secret", "/etc/passwd", "..", "a/../../study2/x"])
def test_a_name_that_climbs_out_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="leads outside"):
        check_inside(name, tmp_path / "study")


def test_a_null_character_is_refused(tmp_path):
    with pytest.raises(InputError, match="null character"):
        check_inside("a\0b", tmp_path)


@given(st.lists(st.sampled_from(["..", ".", "a", "b", "c.tsv"]), max_size=8))
def test_what_check_inside_returns_is_inside_and_has_no_dots(parts):
    try:
        full = check_inside("/".join(parts), "/data/study")
    except InputError:
        assert ".." in parts
    else:
        assert full.is_relative_to("/data/study")
        assert ".." not in full.parts


def test_an_absolute_name_inside_is_allowed(tmp_path):
    assert check_inside(tmp_path / "a/../b", tmp_path) == tmp_path / "b"
