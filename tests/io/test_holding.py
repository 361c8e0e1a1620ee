import numpy as np
import pandas as pd
import pytest

from brainalign import InputError
from brainalign.io import holding
from brainalign.io.holding import hold, trimmed
from brainalign.io.series import Series
from brainalign.store import Store


def a_run(values, names=None, step=4, name="a.nii"):
    """A run whose blocks are counted as they are read."""
    values = np.asarray(values, np.float32)
    reads = []

    def blocks():
        reads.append(1)
        for k in range(0, len(values), step):
            yield values[k : k + step]

    columns = pd.DataFrame({"roi": names or [f"r{k}" for k in range(values.shape[1])]})
    return Series(name, columns, ("roi",), len(values), blocks), reads


def some(n=10, p=5, seed=0):
    return np.random.default_rng(seed).standard_normal((n, p)).astype(np.float32)


@pytest.fixture
def on_disk(monkeypatch):
    """Everything counts as large."""
    monkeypatch.setattr(holding, "LARGE", 0)


def test_runs_come_one_below_the_other(tmp_path):
    first, second = some(7), some(10, seed=1)
    held = hold([a_run(first)[0], a_run(second)[0]], Store(tmp_path), {"of": "two"})
    assert np.array_equal(held.values, np.concatenate([first, second]))
    assert isinstance(held.values, np.ndarray)
    assert not list(tmp_path.iterdir())  # small: nothing is written


def test_what_is_large_is_written_once_and_found_again(tmp_path, on_disk):
    run, reads = a_run(some())
    held = hold([run], Store(tmp_path), {"of": "one"})
    again = hold([run], Store(tmp_path), {"of": "one"})
    assert len(reads) == 1
    assert isinstance(held.values, np.memmap)
    assert not held.values.flags.writeable
    assert np.array_equal(held.values, some())
    assert np.array_equal(again.values, some())
    other = hold([a_run(some(seed=3))[0]], Store(tmp_path), {"of": "another"})
    assert np.array_equal(other.values, some(seed=3))


@pytest.mark.parametrize("limit", [0, 1 << 30], ids=["on disk", "in memory"])
def test_columns_are_those_of_all_runs_that_vary_in_all_runs(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(holding, "LARGE", limit)
    first, second = some(6), some(9, seed=1)
    first[:, 2] = 4.0
    second[:, 0] = np.nan
    runs = [a_run(first, list("abcde"))[0], a_run(second[:, ::-1], list("xdcba"))[0]]
    held = hold(runs, Store(tmp_path), {"of": "two"})
    assert held.columns["roi"].tolist() == ["b", "d"]  # a: constant in one, c: as well, e: not in both
    expected = [[*first[:, k], *second[:, k]] for k in (1, 3)]  # the second run has them in another order
    assert np.array_equal(held.values.T, np.float32(expected))
    assert held.notes == ["2 regions of 4 constant or without a number in a run, dropped"]
    assert held.problems == []


@pytest.mark.parametrize("limit", [0, 1 << 30], ids=["on disk", "in memory"])
def test_a_hole_is_a_problem_unless_its_sample_is_censored(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(holding, "LARGE", limit)
    values = some()
    values[6, 1] = np.nan
    held = hold([a_run(values)[0]], Store(tmp_path), {"of": "holes"})
    assert held.values is None
    assert held.problems == [
        "a.nii: not a finite number in volume 7, region 'r1', and in 1 regions in all: "
        "write the file again, name a mask without them, or censor the volume"
    ]
    assert not list((tmp_path / "pieces").glob("*/*") if (tmp_path / "pieces").exists() else [])
    use = np.arange(10) != 6
    held = hold([a_run(values)[0]], Store(tmp_path), {"of": "holes", "use": 1}, [use])
    assert held.problems == []
    assert np.array_equal(held.values[use], values[use])


def test_what_varies_only_where_it_is_censored_does_not_vary(tmp_path):
    values = some()
    values[:, 0] = 1.0
    values[9, 0] = 2.0
    held = hold([a_run(values)[0]], Store(tmp_path), {}, [np.arange(10) != 9])
    assert held.columns["roi"].tolist() == ["r1", "r2", "r3", "r4"]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.zeros((4, 3)), "every value of a.nii is 0"),
        (np.tile([1.0, 2.0, 3.0], (4, 1)), "every column of a.nii is constant"),
        (np.full((4, 3), np.nan), "a.nii holds not one finite number"),
        (np.zeros((0, 3)), "a.nii holds no volume that may be used"),
    ],
)
def test_a_run_that_says_nothing_is_dead(tmp_path, values, why):
    held = hold([a_run(some())[0], a_run(values)[0]], Store(tmp_path), {})
    assert held.dead == ["", why]
    assert held.values is None


def test_a_trimmed_run_lacks_its_first_samples():
    values = some(11)
    for volumes in (0, 3, 4, 9):
        run = trimmed(a_run(values)[0], volumes)
        assert run.n_samples == 11 - volumes
        assert np.array_equal(np.concatenate(list(run.blocks())), values[volumes:])


def test_a_full_disk_says_how_much_is_needed(tmp_path, on_disk):
    def blocks():
        raise OSError(28, "No space left on device")
        yield

    run = Series("a.nii", pd.DataFrame({"roi": ["a"]}), ("roi",), 1000, blocks)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\): a recording of 1,000 × 1"):
        hold([run], Store(tmp_path), {"of": "much"})
