"""Shifts and permuted blocks: what moves, what stays, and how far."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from brainalign.errors import InputError, SettingsError
from brainalign.maths.inference import exceeded, null_batches
from brainalign.maths.rearrange import block_length, rearranged, shifts


def slow(rng, n, t, rho=0.8):
    """AR(1) series of variance 1, (n, t)."""
    white = rng.standard_normal((n + 200, t))
    return lfilter([np.sqrt(1 - rho**2)], [1, -rho], white, axis=0)[200:]


def test_block_length_follows_the_autocorrelation():
    rng = np.random.default_rng(0)
    lengths = [block_length(slow(rng, 1000, 50, rho)) for rho in (0.0, 0.5, 0.8, 0.95)]
    # the first lag with rho^lag < 2/√1000: 1, 4, 13, 54
    np.testing.assert_allclose(lengths, [2, 4, 13, 54], rtol=0.15)
    step = np.repeat([[0.0], [1.0]], 200, axis=0)
    assert block_length(step) == 100  # never more than a quarter


def test_block_length_looks_within_runs_only():
    rng = np.random.default_rng(0)
    run = np.repeat(["a", "b", "c"], 200)
    levels = rng.standard_normal((600, 20)) + 10 * np.repeat(np.arange(3), 200)[:, None]
    assert block_length(levels, run) == 2
    assert block_length(levels) > 20
    constant = np.hstack([slow(rng, 500, 5), np.full((500, 100), 0.1)])
    assert block_length(constant) == block_length(constant[:, :5])


@given(
    lengths=st.lists(st.integers(4, 40), min_size=1, max_size=4),
    n=st.integers(1, 30),
    minimum=st.integers(1, 10),
    seed=st.integers(0, 3),
)
def test_shifts_turn_each_run_far_enough_and_never_twice_alike(lengths, n, minimum, seed):
    run = np.repeat(np.arange(len(lengths)), lengths)
    moved = shifts(run, n, minimum, seed)
    possible = np.prod([length - 2 * min(minimum, length // 2) + 1 for length in lengths])
    assert len(moved) == min(n, possible)
    assert len(np.unique(moved, axis=0)) == len(moved)
    for index in moved:
        for k, length in enumerate(lengths):
            rows = np.flatnonzero(run == k)
            turn = (rows - index[rows]) % length
            assert (turn == turn[0]).all()
            assert (run[index[rows]] == k).all()
            assert min(turn[0], length - turn[0]) >= min(minimum, length // 2)


def test_shifts_have_a_floor_and_a_seed():
    run = np.zeros(362)
    assert len(shifts(run, 1000, 16)) == 362 - 31
    np.testing.assert_array_equal(shifts(run, 50, 16, seed=1), shifts(run, 50, 16, seed=1))
    assert not np.array_equal(shifts(run, 50, 16, seed=1), shifts(run, 50, 16, seed=2))
    with pytest.raises(InputError, match="no run is longer than one sample"):
        shifts(np.arange(5), 10, 1)


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=4), block=st.integers(1, 8), seed=st.integers(0, 3))
def test_permuted_blocks_keep_their_neighbours_and_their_run(lengths, block, seed):
    run = np.repeat(np.arange(len(lengths)), lengths)
    if max(lengths) < 2 * block:
        with pytest.raises(InputError, match=f"no run holds two blocks of {block} samples"):
            rearranged(run, 5, "blocks", block, seed)
        return
    moved = rearranged(run, 5, "blocks", block, seed)
    for index in moved.index:
        np.testing.assert_array_equal(np.sort(index), np.arange(len(run)))
        np.testing.assert_array_equal(run[index], run)
        for k, length in enumerate(lengths):
            rows = np.flatnonzero(run == k)
            whole = length // block * block
            np.testing.assert_array_equal(index[rows[whole:]], rows[whole:])
            inside = index[rows[:whole]].reshape(-1, block)
            np.testing.assert_array_equal(inside - inside[:, :1], np.tile(np.arange(block), (len(inside), 1)))


def test_a_rearrangement_is_the_same_by_name():
    run = np.repeat([0, 1], [30, 20])
    moved = rearranged(run, 40, "shift", 3, seed=2)
    np.testing.assert_array_equal(moved.index, shifts(run, 40, 3, seed=2))
    for index, steps in zip(moved.index, moved.steps, strict=True):
        for rows, step in zip(moved.rows, steps, strict=True):
            np.testing.assert_array_equal(index[rows], np.roll(rows, step))
    with pytest.raises(SettingsError, match="how is 'shift' or 'blocks'; found 'swap'"):
        rearranged(run, 5, "swap", 1)


def test_runs_of_one_story_are_moved_alike():
    run, story = np.repeat([0, 1, 2], [12, 10, 12]), np.repeat([0, 0, 1], [12, 10, 12])
    moved = rearranged(run, 40, "shift", 1, together=story)
    assert (moved.steps[:, 0] == moved.steps[:, 1]).all()
    assert (moved.steps[:, 0] != moved.steps[:, 2]).any()
    assert moved.steps[:, :2].max() < 10  # none comes round again in the shorter one
    one = rearranged(run[:22], 40, "shift", 1, together=story[:22])
    assert sorted(one.steps[:, 0]) == list(range(1, 10))
    blocks = rearranged(run, 20, "blocks", 2, together=story)
    np.testing.assert_array_equal(blocks.orders[0][:, :5], blocks.orders[1])
    assert (blocks.orders[0][:, 5] == 5).all()
    assert (blocks.orders[0] != blocks.orders[2]).any()


@pytest.mark.parametrize(("together", "low", "high"), [(None, 0.10, 0.2), ("story", 0.03, 0.065)])
def test_what_two_tellings_have_in_common_is_no_second_witness(together, low, high):
    """Responses to something else in the story, the same in both runs but for a tenth, and an unrelated prediction."""
    rng = np.random.default_rng(0)
    n, p = 150, []
    for seed in range(5):
        heard, other = slow(rng, n, 400, 0.5), slow(rng, n, 400, 0.5)
        y = np.concatenate([np.sqrt(0.9) * heard + np.sqrt(0.1) * slow(rng, n, 400, 0.5) for _ in range(2)])
        story = None if together is None else np.zeros(2 * n)
        moved = rearranged(np.repeat([0, 1], n), 149, "shift", 1, seed, story)
        p += [exceeded(observed, null) for _, observed, null in null_batches(y, np.r_[other, other], moved)]
    assert low < (np.concatenate(p) <= 0.05).mean() < high
