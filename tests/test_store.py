import hashlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from brainalign import store as store_module
from brainalign.errors import InputError
from brainalign.store import Store, default_cache, key_of

KEY = key_of(name="a test")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cache")


def unfinished(store):
    return sorted((store.root / "unfinished").glob("*"))


# --- keys -----------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
PARTS = st.dictionaries(st.text(min_size=1), JSON, max_size=5)


@settings(max_examples=40)
@given(PARTS)
def test_a_key_does_not_depend_on_the_order_of_names(parts):
    assert key_of(**dict(reversed(parts.items()))) == key_of(**parts)


@settings(max_examples=40)
@given(PARTS, PARTS)
def test_different_parts_have_different_keys(a, b):
    assert (key_of(**a) == key_of(**b)) == (json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True))


def test_a_key_is_pinned():
    # a change of this digest makes every cached piece of every user stale: it must be meant
    text = b'{"lag":0.1,"layers":[1,2],"model":"gpt2","run":"\\u00fc"}'
    assert key_of(model="gpt2", layers=(1, 2), lag=0.1, run="ü") == hashlib.sha256(text).hexdigest()


def test_numpy_scalars_are_the_numbers_they_are():
    assert key_of(n=np.int64(3), x=np.float64(0.1), b=np.True_) == key_of(n=3, x=0.1, b=True)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), r"key\.x is nan: a key is made of finite numbers"),
        (float("inf"), r"key\.x is inf"),
        ([1, float("-inf")], r"key\.x\[1\] is -inf"),
        (np.zeros(3), r"key\.x is a ndarray.*hash_array"),
        (pd.DataFrame(), r"key\.x is a DataFrame.*hash_frame"),
        (Path("a"), r"key\.x is a \w*Path.*hash_file"),
        ({1, 2}, r"key\.x is a set"),
        ({"a": {1: 2}}, r"key\.x\.a has the name 1: names in a key are text"),
        (b"bytes", r"key\.x is a bytes"),
    ],
)
def test_what_is_no_key_is_refused_by_place(value, message):
    with pytest.raises(InputError, match=message):
        key_of(x=value)


# --- keeping and finding --------------------------------------------------------------------------------------------

ARRAYS = st.dictionaries(
    st.from_regex(r"[a-z_][a-z0-9_.\-]{0,10}", fullmatch=True),
    hnp.arrays(
        dtype=hnp.scalar_dtypes() | hnp.unicode_string_dtypes(max_len=4),
        shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    max_size=3,
)


@settings(max_examples=40)
@given(ARRAYS, st.dictionaries(st.text(), JSON, max_size=3))
def test_what_is_put_is_what_is_found(arrays, meta):
    with tempfile.TemporaryDirectory() as folder:
        Store(folder).put(KEY, arrays, meta)
        piece = Store(folder).get(KEY)
        assert piece is not None
        assert piece.meta == meta
        assert set(piece.arrays) == set(arrays)
        for name, array in arrays.items():
            found = piece.arrays[name]
            assert (found.dtype, found.shape) == (array.dtype, array.shape)
            assert found.tobytes() == array.tobytes()


def test_arrays_are_memory_mapped_and_read_only(store):
    array = store.put(KEY, {"x": np.zeros(3)}, {}).arrays["x"]
    assert isinstance(array, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_the_layout_is_the_one_documented(store):
    store.put(KEY, {"x": np.zeros(3)}, {"unit": "s"})
    folder = store.root / "pieces" / KEY[:2] / KEY
    assert sorted(path.name for path in folder.iterdir()) == ["meta.json", "x.npy"]
    described = json.loads((folder / "meta.json").read_text())
    assert described["meta"] == {"unit": "s"}
    assert described["files"]["x.npy"]["bytes"] == (folder / "x.npy").stat().st_size
    assert unfinished(store) == []


def test_nothing_is_written_before_something_is_kept(tmp_path):
    store = Store(tmp_path / "cache")
    assert (store.get(KEY), store.pieces(), store.size(), store.remove(KEY)) == (None, [], 0, False)
    assert not store.root.exists()


def test_what_is_there_stays(store):
    store.put(KEY, {"x": np.zeros(3)}, {})
    assert store.put(KEY, {"x": np.ones(3)}, {}).arrays["x"].sum() == 0


def test_compute_computes_once(store):
    calls = []

    def function():
        calls.append(1)
        return {"x": np.arange(3)}

    first, second = (store.compute(KEY, function, meta={"a": (1, 2)}) for _ in range(2))
    assert calls == [1]
    assert first.meta == second.meta == {"a": [1, 2]}
    assert first.files == second.files


def test_what_fails_leaves_nothing(store):
    def function():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.compute(KEY, function)
    assert store.get(KEY) is None
    assert unfinished(store) == []
    assert store.compute(KEY, dict).arrays == {}


def test_folders_are_kept_whole(store):
    def convert(folder):
        (folder / "weights").mkdir()
        (folder / "weights/model.bin").write_bytes(b"\1" * 10)
        (folder / "config.json").write_text("{}")
        np.save(folder / "bias.npy", np.ones(2))

    made = store.compute_folder(KEY, convert, meta={"name": "tiny"})
    found = store.get(KEY)
    assert made == found
    assert (found.folder / "weights/model.bin").read_bytes() == b"\1" * 10
    assert set(found.files) == {"bias.npy", "config.json", "weights/model.bin"}
    assert list(found.arrays) == ["bias"]


def test_a_folder_may_not_bring_links_or_its_own_description(store, tmp_path):
    with pytest.raises(InputError, match=r"link\.bin is a link"):
        store.compute_folder(KEY, lambda folder: (folder / "link.bin").symlink_to(tmp_path))
    with pytest.raises(InputError, match=r"cannot keep a meta\.json of its own"):
        store.compute_folder(KEY, lambda folder: (folder / "meta.json").write_text("{}"))
    assert unfinished(store) == []


def test_pieces_and_size_and_remove(store):
    keys = sorted(key_of(i=i) for i in range(3))
    for i, key in enumerate(keys):
        store.put(key, {"x": np.zeros(i + 1)}, {"i": i})
    assert [piece.key for piece in store.pieces()] == keys
    assert store.size() > sum(piece.bytes for piece in store.pieces()) > 0
    kept = store.get(keys[0])
    assert store.remove(keys[0])
    assert not store.remove(keys[0])
    assert store.get(keys[0]) is None
    assert kept.arrays["x"].shape == (1,)  # what is in use stays readable
    assert unfinished(store) == []


def aged(piece, days):
    """As if a piece had been asked for last so many days ago."""
    then = time.time() - 86_400 * days
    os.utime(piece.folder / "meta.json", (then, then))


def test_asking_for_a_piece_counts_as_use_and_looking_whether_it_is_there_does_not(store):
    aged(store.put(KEY, {"x": np.zeros(1)}, {}), days=10)
    assert store.has(KEY)
    assert not store.has(key_of(other=1))
    (piece,) = store.pieces()
    assert time.time() - piece.used > 9 * 86_400
    assert time.time() - piece.made < 600
    assert store.get(KEY) == piece
    (piece,) = store.pieces()
    assert time.time() - piece.used < 600


def test_use_that_cannot_be_noted_is_no_error(store, monkeypatch):
    def refuse(path):
        raise PermissionError(path)

    store.put(KEY, {"x": np.zeros(1)}, {})
    monkeypatch.setattr(os, "utime", refuse)
    assert store.get(KEY) is not None


def test_pruning_deletes_what_it_is_given_and_what_cannot_be_read(store):
    keys = [key_of(i=i) for i in range(3)]
    first, second, third = (store.put(key, {"x": np.zeros(100)}, {}) for key in keys)
    (third.folder / "meta.json").write_text("{")
    size = store.size()
    freed = store.prune([first])
    assert [piece.key for piece in store.pieces()] == [second.key]
    assert not third.folder.exists()
    assert freed == size - store.size() > 1600
    assert store.prune() == 0
    assert sorted(path.name for path in store.root.iterdir()) == ["locks", "pieces", "unfinished"]


@pytest.mark.parametrize("name", ["a/b", "../x", "", ".hidden", "a\\b", "a b", "é", "x\0"])
def test_names_that_are_paths_are_refused(store, name):
    with pytest.raises(InputError, match="cannot name an array"):
        store.put(KEY, {name: np.zeros(1)}, {})


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.array([{}], dtype=object)}, "array 'x' holds Python objects"),
        ({"x": np.array([(1, None)], dtype=[("a", int), ("b", object)])}, "array 'x' holds Python objects"),
        ({"x": [1, 2]}, "array 'x' is a list: a store keeps plain numpy arrays"),
        ({"x": np.ma.masked_equal([1, 2], 1)}, "array 'x' is a MaskedArray"),
        ({"x": np.zeros(1), "X": np.zeros(1)}, "differ only in capitals"),
    ],
)
def test_arrays_that_cannot_be_kept_are_refused(store, arrays, message):
    with pytest.raises(InputError, match=message):
        store.put(KEY, arrays, {})
    with pytest.raises(InputError, match=message):
        store.compute(KEY, lambda: arrays)
    assert store.get(KEY) is None


@pytest.mark.parametrize("meta", [{"x": float("nan")}, {"x": np.zeros(2)}, {"x": Path("a")}])
def test_meta_that_is_not_json_is_refused(store, meta):
    with pytest.raises(InputError, match="meta is not JSON"):
        store.put(KEY, {}, meta)


@pytest.mark.parametrize("key", ["", "abc", "../../etc", KEY.upper(), KEY + "0", KEY[:-1] + "/"])
def test_what_is_no_key_finds_nothing(store, key):
    for ask in (store.get, store.remove, lambda k: store.put(k, {}, {})):
        with pytest.raises(InputError, match="is no key: a key is the 64 hex digits"):
            ask(key)


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file cannot be written.*BRAINALIGN_CACHE"):
        Store(tmp_path / "file").put(KEY, {"x": np.zeros(1)}, {})


def test_a_full_disk_says_what_to_do_and_leaves_nothing(store, monkeypatch):
    def full(path, array, allow_pickle):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\): free some space"):
        store.put(KEY, {"x": np.zeros(1)}, {})
    assert unfinished(store) == []


def test_an_error_of_the_function_is_not_blamed_on_the_cache(store):
    def function():
        raise FileNotFoundError("the user's own file")

    with pytest.raises(FileNotFoundError, match="the user's own file"):
        store.compute(KEY, function)


def test_default_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("BRAINALIGN_CACHE", str(tmp_path / "here"))
    assert default_cache() == Store().root == tmp_path / "here"
    monkeypatch.setenv("BRAINALIGN_CACHE", "")
    assert default_cache().name == "brainalign"


# --- harm -----------------------------------------------------------------------------------------------------------


def flip_last_bit(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def change_the_meta(path):
    path.write_text(path.read_text().replace('"unit": "s"', '"unit": "h"'))


@pytest.mark.parametrize(
    ("name", "harm", "said"),
    [
        ("x.npy", flip_last_bit, r"x\.npy is not what was written"),
        ("x.npy", lambda path: path.write_bytes(path.read_bytes()[:-1]), r"x\.npy is not what was written"),
        ("x.npy", lambda path: path.write_bytes(b""), r"x\.npy is not what was written"),
        ("x.npy", Path.unlink, r"x\.npy is missing or cannot be read"),
        ("meta.json", Path.unlink, r"meta\.json cannot be read \(FileNotFoundError\)"),
        ("meta.json", lambda path: path.write_bytes(b"\xff\xfe"), r"meta\.json cannot be read"),
        ("meta.json", lambda path: path.write_text("[]"), r"meta\.json cannot be read"),
        ("meta.json", lambda path: path.write_text("{}"), r"meta\.json cannot be read \(KeyError\)"),
        ("meta.json", change_the_meta, r"meta\.json is not what was written"),
    ],
)
def test_a_harmed_piece_is_set_aside_and_said(store, caplog, name, harm, said):
    folder = store.put(KEY, {"x": np.arange(5)}, {"unit": "s"}).folder
    harm(folder / name)
    with caplog.at_level(logging.WARNING):
        assert store.get(KEY) is None
    assert caplog.records[0].levelno == logging.WARNING
    assert re.search(said, caplog.text)
    aside = list((store.root / "harmed").iterdir())
    assert len(aside) == 1
    assert not folder.exists()
    caplog.clear()
    piece = store.compute(KEY, lambda: {"x": np.arange(5)}, meta={"unit": "s"})
    assert piece.arrays["x"].tolist() == [0, 1, 2, 3, 4]
    assert caplog.text == ""
    assert store.prune() > 0
    assert not (store.root / "harmed").exists()
    assert store.get(KEY) is not None


def test_a_piece_that_lies_under_another_key_is_not_taken_for_it(store):
    folder = store.put(KEY, {"x": np.arange(5)}, {}).folder
    other = key_of(other=1)
    (folder.parents[1] / other[:2]).mkdir(exist_ok=True)
    folder.rename(folder.parents[1] / other[:2] / other)
    assert store.get(other) is None


def test_compute_mends_a_harmed_piece(store, caplog):
    folder = store.put(KEY, {"x": np.arange(5)}, {}).folder
    flip_last_bit(folder / "x.npy")
    assert store.compute(KEY, lambda: {"x": np.arange(5)}).arrays["x"].sum() == 10
    assert "is harmed" in caplog.text


# --- several processes, some of them killed -------------------------------------------------------------------------

WORKER = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from brainalign import store as store_module
from brainalign.store import Store, key_of

root, diary, behaviour = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
store, key = Store(root), key_of(name="a test")

def write(line):
    with diary.open("a") as file:
        file.write(line + "\\n")

def slowly():
    write("computing")
    time.sleep(0.5)
    return {"x": np.arange(1000)}

def half(folder):
    (folder / "x.npy").write_bytes(b"half of it")
    write("half")
    time.sleep(60)

def die(*args, **kwargs):
    write("dying")
    os.kill(os.getpid(), signal.SIGKILL)

if behaviour == "compute":
    write("done %d" % store.compute(key, slowly).arrays["x"].sum())
elif behaviour == "half":
    store.compute_folder(key, half)
elif behaviour == "die before the rename":
    Path.rename = die
    store.compute(key, slowly)
elif behaviour == "die after the rename":
    store_module.flush = die
    store.compute(key, slowly)
elif behaviour == "put for ever":
    for i in range(len(store.pieces()), 1_000_000):
        store.put(key_of(i=i), {"x": np.full(20_000, i), "y": np.full(10, i)}, {"i": i})
        write("begun")
"""


@pytest.fixture
def start(store, tmp_path):
    started = []

    def begin(behaviour):
        command = [sys.executable, "-c", WORKER, str(store.root), str(tmp_path / "diary"), behaviour]
        started.append(subprocess.Popen(command))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


def wait_for(path, line, seconds=30.0):
    until = time.monotonic() + seconds
    while not path.exists() or line not in path.read_text().splitlines():
        assert time.monotonic() < until, f"{line!r} was not written within {seconds} s"
        time.sleep(0.01)


def finish(process):
    assert process.wait(timeout=60) == 0


def test_processes_compute_once(start, tmp_path):
    for process in [start("compute") for _ in range(3)]:
        finish(process)
    lines = (tmp_path / "diary").read_text().splitlines()
    assert lines.count("computing") == 1
    assert lines.count("done 499500") == 3


def test_another_finishes_what_a_killed_one_began(start, store, tmp_path):
    first = start("half")
    wait_for(tmp_path / "diary", "half")
    second = start("compute")
    time.sleep(0.3)
    assert store.get(KEY) is None  # half of it is on disk, and is not seen
    assert len(unfinished(store)) == 1
    first.send_signal(signal.SIGKILL)
    finish(second)
    assert store.get(KEY).arrays["x"].sum() == 499500
    assert unfinished(store) == []


@pytest.mark.parametrize(("when", "there"), [("before", False), ("after", True)])
def test_killed_around_the_rename(start, store, tmp_path, when, there):
    process = start(f"die {when} the rename")
    process.wait(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert (store.get(KEY) is not None) == there
    finish(start("compute"))
    assert store.get(KEY).arrays["x"].sum() == 499500
    assert not (store.root / "harmed").exists()
    assert unfinished(store) == []


@pytest.mark.parametrize("kills", [3, pytest.param(60, marks=pytest.mark.verify)])
def test_killed_at_any_moment_nothing_half_written_is_seen(start, store, tmp_path, kills):
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(kills):
        (tmp_path / "diary").unlink(missing_ok=True)
        process = start("put for ever")
        wait_for(tmp_path / "diary", "begun")
        time.sleep(rng.uniform(0.0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        there = {folder.name for folder in (store.root / "pieces").glob("*/*")}
        assert len(there) > len(seen)
        for key in there - seen:
            piece = store.get(key)
            assert (piece.arrays["x"] == piece.meta["i"]).all()
        seen = there
    assert not (store.root / "harmed").exists()
    store.prune()
    assert unfinished(store) == []


def test_only_what_is_old_and_whose_process_is_dead_is_swept(start, store, tmp_path, monkeypatch):
    process = start("half")
    wait_for(tmp_path / "diary", "half")
    store.put(key_of(other=1), {}, {})
    assert len(unfinished(store)) == 1  # young
    old = time.time() - 2 * store_module.ABANDONED_S
    for path in (unfinished(store)[0], unfinished(store)[0] / "x.npy"):
        os.utime(path, (old, old))
    store.put(key_of(other=2), {}, {})
    assert len(unfinished(store)) == 1  # old, but its process lives
    process.send_signal(signal.SIGKILL)
    process.wait()
    store.put(key_of(other=3), {}, {})
    assert unfinished(store) == []


def test_many_threads_fill_one_store_at_once(tmp_path):
    """Every thread sweeps what the others are about to finish: what vanishes meanwhile is nobody's error."""
    store = Store(tmp_path)

    def one(k):
        key = key_of(k=k % 150)
        return float(store.compute(key, lambda: {"x": np.full(10, k % 150)}).arrays["x"][0])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(300))) == [k % 150 for k in range(300)]
    assert len(store.pieces()) == 150
    assert store.size() > 0
