"""States on their way to the store: killed, asked for twice, harmed, or many; always the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainalign.errors import InputError
from brainalign.features.words import embed_words
from brainalign.shipped import shipped
from brainalign.store import Store

PARTS = 13  # of the story, at 2¹⁸ bytes each
CODE = """
import hashlib, sys
import pandas as pd
import brainalign.features.words as module
from brainalign.store import Store
module.PART_BYTES = int(sys.argv[3])
words = pd.read_csv(sys.argv[1], sep="\\t", keep_default_na=False)
print("ready", flush=True)
signal = module.embed_words(words, model="stories260k", context=64, bands=("hidden", "surprisal"), device="cpu",
    store=Store(sys.argv[2]), progress=lambda done, total, what: print("part", done, total, flush=True))
print("bytes", hashlib.sha256(signal.array().tobytes()).hexdigest(), flush=True)
"""


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> Path:
    """The chapter of Alice as it was spoken."""
    table = pd.read_csv(next(shipped("sample", "alice").rglob("*_events.tsv")), sep="\t", keep_default_na=False)
    words = pd.DataFrame({"run": "1", "onset": table["onset"], "word": table["word"]})
    path = tmp_path_factory.mktemp("story") / "words.tsv"
    words.to_csv(path, sep="\t", index=False)
    return path


def start(story: Path, store: Path, part_bytes: int = 1 << 18) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CODE, str(story), str(store), str(part_bytes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process: subprocess.Popen[str]) -> tuple[list[str], str]:
    """Which parts it said it was at, and the hash of what it got."""
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    lines = out.splitlines()
    return [line for line in lines if line.startswith("part")], lines[-1].removeprefix("bytes ")


def kill_at(process: subprocess.Popen[str], moment: int, rng: random.Random) -> None:
    """After so many lines: "ready" (it then loads the model), one per part, one before sealing, one when it is done."""
    assert process.stdout is not None
    for _ in range(moment + 1):
        process.stdout.readline()
    time.sleep(rng.uniform(0.0, 2.0 if moment == 0 else 0.2 if moment <= PARTS else 0.0))
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def expected(story, tmp_path_factory) -> str:
    """The hash of the bytes when nothing comes between: two processes, of which one computes and both get them."""
    folder = tmp_path_factory.mktemp("expected") / "store"
    both = [start(story, folder) for _ in range(2)]
    (parts, found), (others, same) = (finish(process) for process in both)
    assert found == same
    assert sorted([len(parts), len(others)]) == [0, PARTS + 1]  # each part, and the end
    return found


def test_two_processes_compute_once_and_both_get_it(expected):
    assert len(expected) == 64


def check_kills(story: Path, folder: Path, expected: str, moments: list[int]) -> None:
    rng = random.Random(7)
    for k, moment in enumerate(moments):
        store = folder / f"store {k}"
        kill_at(start(story, store), moment, rng)
        parts, found = finish(start(story, store))
        assert found == expected
        assert len(parts) in (PARTS + 1, 0 if moment > PARTS - 3 else PARTS + 1)  # at the end it may have been done
        assert len(Store(store).pieces()) == 1 or moment > PARTS - 3


def test_killed_and_resumed_the_bytes_are_the_same(story, expected, tmp_path):
    check_kills(story, tmp_path, expected, [5])


@pytest.mark.verify
def test_killed_at_ten_random_moments_the_bytes_are_the_same(story, expected, tmp_path):
    check_kills(story, tmp_path, expected, [0, PARTS + 1, *random.Random(3).sample(range(1, PARTS + 1), 8)])


def test_a_flipped_byte_is_found_and_mended(tmp_path, caplog):
    words = pd.DataFrame({"run": "1", "onset": np.arange(40) / 2, "word": ["Lily", "ran"] * 20})
    store = Store(tmp_path)
    ask = {"model": "stories260k", "context": 64, "store": store, "device": "cpu"}
    fresh = embed_words(words, **ask).array().tobytes()
    (piece,) = store.pieces()
    path = piece.folder / "values.npy"
    harmed = bytearray(path.read_bytes())
    harmed[len(harmed) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(harmed)
    assert embed_words(words, **ask).array().tobytes() == fresh
    assert "a cached piece is harmed (values.npy is not what was written)" in caplog.text
    assert hashlib.sha256(path.read_bytes()).hexdigest() != hashlib.sha256(harmed).hexdigest()


def test_a_bad_word_costs_nothing_that_was_computed(tmp_path):
    """Words are looked at before anything is read; what is in the store stays there."""
    words = pd.DataFrame({"run": "1", "onset": np.arange(4) / 2, "word": ["Once", "upon", "a", "time"]})
    store = Store(tmp_path)
    embed_words(words, model="stories260k", store=store)
    bad = words.assign(word=["Once", "", "a", ""])
    message = r"words '' \(row 1, run 1, 0.5 s\), '' \(row 3, run 1, 1.5 s\) have no token .* leave them out"
    with pytest.raises(InputError, match=message):
        embed_words(bad, model="stories260k", store=store)
    assert len(store.pieces()) == 1
    assert not list((tmp_path / "unfinished").glob("*"))


MEMORY_CODE = """
import json, sys, tempfile, threading
from pathlib import Path
import numpy as np, pandas as pd
import brainalign.features.words as module
from brainalign.store import Store

module.PART_BYTES = 1 << 22
n, settings = int(sys.argv[1]), json.loads(sys.argv[2])
words = pd.DataFrame({"run": "1", "onset": np.arange(n) / 3, "word": np.resize(["Lily", "ran", "away", "and"], n)})
ask = {"model": "stories260k", "context": 64, "device": "cpu", **settings}
module.embed_words(words.iloc[:600], **ask)  # all that is loaded once is loaded

def own():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])

before, most, stop = own(), [0], threading.Event()

def watch():
    while not stop.wait(0.01):
        most[0] = max(most[0], own())

watcher = threading.Thread(target=watch)
watcher.start()
with tempfile.TemporaryDirectory() as folder:
    module.embed_words(words, store=Store(folder), **ask)
stop.set()
watcher.join()
print(most[0] - before)
"""


@pytest.mark.verify
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc, which is Linux'")
@pytest.mark.parametrize(
    ("settings", "few", "many", "more"),
    [({}, 5_000, 100_000, 160e6), ({"exact": True, "bands": ["surprisal"]}, 1_000, 10_000, 50e6)],
)
def test_memory_does_not_grow_with_what_is_computed(settings, few, many, more):
    """It grows with the text alone: while it is cut into tokens, about 1 kB a word.

    All layers of 100,000 words would be 154 MB besides, and 10,000 words read one by one 90 MB of passages.
    """
    grown = {}
    for n in (few, many):
        command = [sys.executable, "-c", MEMORY_CODE, str(n), json.dumps(settings)]
        grown[n] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown[many] - grown[few] < more, grown
