"""Batches: every text once, as many at once as there is room for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from brainalign.features.batches import BATCH_BYTES, BATCH_TOKENS, how_many_at_once, in_batches


class FakeGPU:
    """What is asked of a network on a GPU."""

    device = torch.device("cuda")

    def parameters(self):
        return iter([torch.zeros(1)])


@given(st.lists(st.integers(1, 900), max_size=60), st.sampled_from([1, 10_000]))
def test_every_text_comes_once_with_others_of_its_length(lengths, numbers):
    batches: list[list[int]] = []
    in_batches(lengths, _on_cpu(), numbers, batches.append)
    assert sorted(k for batch in batches for k in batch) == list(range(len(lengths)))
    read = [lengths[k] for batch in batches for k in batch]
    assert read == sorted(lengths, reverse=True)
    for batch in batches:
        tokens = len(batch) * lengths[batch[0]]
        assert len(batch) == 1 or (tokens <= BATCH_TOKENS and 4 * tokens * numbers <= BATCH_BYTES)


def _on_cpu():
    network = torch.nn.Linear(1, 1)
    network.device = torch.device("cpu")
    return network


def test_on_a_gpu_the_free_memory_decides(monkeypatch):
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (8 * 4_000, 1 << 40))
    assert how_many_at_once(FakeGPU(), longest=10, numbers=10) == 10
    assert how_many_at_once(FakeGPU(), longest=100, numbers=100) == 1
    assert how_many_at_once(FakeGPU(), longest=1, numbers=1) == 256


def test_a_gpu_with_less_room_than_it_said_is_asked_for_less(monkeypatch):
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (1 << 40, 1 << 40))
    done: list[int] = []

    def act(some):
        if len(some) > 3:
            raise torch.cuda.OutOfMemoryError
        done.extend(some)

    in_batches([5] * 10, FakeGPU(), 1, act)
    assert done == list(range(10))


def test_what_fails_for_one_text_fails():
    def act(some):
        raise torch.cuda.OutOfMemoryError

    with pytest.raises(RuntimeError):
        in_batches([5], _on_cpu(), 1, act)
