"""How many texts are read at once?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

BATCH_TOKENS = 512  # read at once on a CPU: fewer do not fill it, and more are no faster (benchmarks/words.py)
BATCH_BYTES = 64 << 20  # of states held at once there, whatever the tokens
BATCH_TEXTS = 256


def in_batches(lengths: Sequence[int], network: Any, numbers: int, act: Callable[[list[int]], object]) -> None:
    """Do something with all texts, as many at once as fit; those of a length side by side, so that little is padded.

    Parameters
    ----------
    lengths : list of int
        Tokens of each text.
    network : torch module
        What reads them.
    numbers : int
        Numbers it makes per token that are held until a batch is done.
    act : function
        Called with the texts (positions in `lengths`) of a batch, the longest first. If a GPU has less room than it
        said, the batch is halved and tried again.
    """
    order = sorted(range(len(lengths)), key=lambda k: -lengths[k])
    begin, most = 0, BATCH_TEXTS
    while begin < len(order):
        size = min(most, how_many_at_once(network, lengths[order[begin]], numbers))
        try:
            act(order[begin : begin + size])
        except RuntimeError as error:
            if type(error).__name__ != "OutOfMemoryError" or size == 1:
                raise
            most = size // 2
        else:
            begin += size


def how_many_at_once(network: Any, longest: int, numbers: int) -> int:
    """Texts in a batch.

    Parameters
    ----------
    network : torch module
        Where it lies decides: on a GPU states may take an eighth of the memory that is free now.
    longest : int
        Tokens of the longest.
    numbers : int
        Numbers a model makes per token that are held until the batch is done.
    """
    import torch

    size = next(network.parameters()).element_size() * longest * numbers
    if network.device.type == "cuda":
        return min(BATCH_TEXTS, max(1, torch.cuda.mem_get_info(network.device)[0] // 8 // size))
    return min(BATCH_TEXTS, max(1, min(BATCH_TOKENS // longest, BATCH_BYTES // size)))
