"""A recording larger than memory is scored as one that is not."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from brainalign import scratch
from brainalign.encoding import fit as fitting
from brainalign.encoding.chance import Chance
from brainalign.encoding.encode import encode
from brainalign.encoding.folds import contiguous, hold_out
from brainalign.encoding.parts import Partition
from brainalign.encoding.result import TABLES, load, save
from brainalign.maths.banded import BandedRidge
from brainalign.signals import Signal, average_people
from brainalign.store import Store

FEW = Chance(permutations=9, bootstrap=10)
LAYERS = {"lm": ["lm.0", "lm.1"]}
NESTED = {"baseline": ["rate"], "partition": Partition(), "inner": 2}
ASKED = {
    "layers": {**NESTED, "alternatives": LAYERS, "folds": contiguous(2)},
    "nested": {**NESTED, "folds": contiguous(2)},
    "untouched": {**NESTED, "folds": hold_out(run=["2"])},
}


def same(a, b, **close):
    for name in TABLES:
        one, other = getattr(a, name), getattr(b, name)
        if name == "gain" and close:  # of three people resamples tie with the mean, and rounding decides ties
            one, other = (table[table["over"] != "people"] for table in (one, other))
        pd.testing.assert_frame_equal(one, other, check_exact=not close, **close)
    for one, other in ((a.predictions, b.predictions), (a.observed, b.observed)):
        assert one.columns.equals(other.columns) or close
        np.testing.assert_allclose(one.values, other.values, rtol=0, atol=close.get("atol", 0))
    np.testing.assert_allclose(a.weights.values, b.weights.values, rtol=0, atol=close.get("atol", 0))
    np.testing.assert_allclose(a.weights.intercept, b.weights.intercept, rtol=0, atol=close.get("atol", 0))
    assert a.notes == b.notes


@pytest.fixture(scope="module")
def crowd():
    """The mean of three people and who they are, whose samples in use are not one stretch."""
    rng = np.random.default_rng(3)
    samples = pd.DataFrame({"run": np.repeat(["1", "2", "3"], 40), "time": np.tile(np.arange(40) * 2.0, 3)})
    samples["use"] = np.arange(120) % 30 != 7
    x = rng.standard_normal((120, 5))
    y = np.stack([x[:, 0], x[:, 0] + x[:, 1], np.zeros(120)], 1)[:, None] + rng.standard_normal((120, 3, 3))
    columns = pd.DataFrame({"subject": np.repeat(list("abc"), 3), "roi": ["V1", "V2", "V4"] * 3})
    bands = pd.DataFrame({"band": ["rate", "lm.0", "lm.0", "lm.1", "lm.1"]})
    return Signal(x, samples, bands), average_people(Signal(y.reshape(120, 9), samples, columns))


@pytest.mark.parametrize(("name", "kept"), [("layers", True), ("nested", False), ("untouched", True)])
def test_what_lies_in_files_gives_the_same_numbers(crowd, name, kept, monkeypatch, tmp_path):
    X, Y = crowd
    small = encode(X, Y, chance=FEW, **ASKED[name])
    monkeypatch.setattr(scratch, "LARGE", 0)
    monkeypatch.setattr(scratch, "BLOCK", 2000)
    monkeypatch.setattr(fitting, "MAPPED", 0)
    store = Store(tmp_path) if kept else None
    large = encode(X, Y, chance=FEW, store=store, **ASKED[name])
    assert isinstance(large.predictions.values, np.memmap)
    assert isinstance(large.weights.values, np.memmap)
    same(small, large)


@pytest.mark.parametrize("name", ["nested", "untouched"])
def test_some_targets_at_a_time_give_the_same_scores(crowd, name, monkeypatch):
    X, Y = crowd
    whole = encode(X, Y, chance=FEW, **ASKED[name])
    monkeypatch.setattr(fitting, "AT_ONCE", 2 * len(Y.samples))
    monkeypatch.setattr("brainalign.maths.solution.TOGETHER", 2 * len(Y.samples))
    same(whole, encode(X, Y, chance=FEW, **ASKED[name]), rtol=1e-6, atol=1e-6)


def test_a_memory_mapped_recording_is_not_copied(planted, monkeypatch, tmp_path):
    X, Y = planted
    np.save(tmp_path / "y.npy", Y.values)
    mapped = Signal(np.load(tmp_path / "y.npy", mmap_mode="r"), Y.samples, Y.columns)
    monkeypatch.setattr(scratch, "LARGE", 0)
    fit = encode(X, mapped, chance=Chance(0, 0))
    assert np.shares_memory(fit.observed.values, mapped.values)
    same(fit, encode(X, Y, chance=Chance(0, 0)))


def test_a_large_result_is_saved_and_read_some_rows_at_a_time(planted, monkeypatch, tmp_path):
    X, Y = planted
    fit = encode(X, Y, chance=Chance(0, 0))
    monkeypatch.setattr(scratch, "LARGE", 0)
    monkeypatch.setattr(scratch, "BLOCK", 2000)
    again = load(save(fit, tmp_path / "r"))
    for one in (again.predictions.values, again.observed.values, again.weights.values):
        assert isinstance(one, np.memmap)
    np.testing.assert_array_equal(again.predictions.values, fit.predictions.values)
    np.testing.assert_array_equal(again.observed.values, fit.observed.values)
    monkeypatch.setattr("brainalign.encoding.result.TOGETHER", len(Y.samples))
    np.testing.assert_allclose(again.predict(X).values, fit.predict(X).values, atol=1e-6)


@pytest.mark.parametrize(("memory", "given"), [("4GB", 3_000_000_000), ("1GB", 500_000_000), ("400MB", 100_000_000)])
def test_the_ridge_of_a_large_recording_leaves_memory_for_the_rest(planted, monkeypatch, memory, given):
    seen = []

    def solver(**asked):
        ridge = BandedRidge(**asked, memory=memory)
        seen.append(ridge)
        return ridge

    X, Y = planted
    encode(X, Y, chance=Chance(0, 0), solver=solver)
    assert {ridge.memory for ridge in seen if hasattr(ridge, "bands_")} == {memory}
    seen.clear()
    monkeypatch.setattr(scratch, "LARGE", 0)
    encode(X, Y, chance=Chance(0, 0), solver=solver)
    assert {ridge.memory for ridge in seen if hasattr(ridge, "bands_")} == {given}


def test_weights_are_never_held_at_once(planted, monkeypatch):
    X, Y = planted
    whole = encode(X, Y, chance=Chance(0, 0))
    monkeypatch.setattr(BandedRidge, "coef_", None)
    monkeypatch.setattr(fitting, "AT_ONCE", 2 * X.shape[1])
    some = encode(X, Y, chance=Chance(0, 0))
    np.testing.assert_array_equal(some.weights.values, whole.weights.values)
    np.testing.assert_allclose(some.weights.intercept, whole.weights.intercept, atol=1e-6)


BOUNDED = """
import sys
import numpy as np, pandas as pd
from functools import partial
sys.path.insert(0, "benchmarks")
from measure import own_bytes
from brainalign import scratch
from brainalign.encoding.chance import Chance
from brainalign.encoding.encode import encode
from brainalign.encoding.folds import contiguous
from brainalign.maths.banded import BandedRidge
from brainalign.signals import Signal, average_people
scratch.LARGE = 1 << 20
n, t = 1200, 60_000
y = np.lib.format.open_memmap(sys.argv[1], "w+", np.float32, (n, t))
for start in range(0, n, 100):
    y[start : start + 100] = np.random.default_rng(start).standard_normal((100, t), np.float32)
samples = pd.DataFrame({"run": np.repeat(["1", "2"], n // 2), "time": np.tile(np.arange(n // 2) * 2.0, 2)})
samples["use"] = np.arange(n) % 50 != 7
x = Signal(np.random.default_rng(0).standard_normal((n, 8)), samples, pd.DataFrame({"band": list("aaaabbbb")}))
brain = Signal(np.load(sys.argv[1], mmap_mode="r"), samples, pd.DataFrame({"voxel": np.arange(t)}))
with own_bytes() as most:
    solver = partial(BandedRidge, memory="600MB")
    encode(x, brain, baseline=["a"], folds=contiguous(2), chance=Chance(0, 20), solver=solver)
print(most[0])
"""


@pytest.mark.verify
def test_own_memory_stays_within_the_budget(tmp_path):
    """288 MB of responses, as much again of predictions for each of two models, under 600 MB."""
    done = subprocess.run([sys.executable, "-c", BOUNDED, str(tmp_path / "y.npy")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 0 < int(done.stdout) < 600e6
