"""How does a recording of any length go through a filter a window at a time, without seams?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from brainalign.errors import InputError

REACH = 2.5e-3  # of the energy of a filter's response: what of it may lie in missing samples (5 % of amplitude)


def windows(blocks: Iterable[np.ndarray], window: int, pad: int) -> Iterator[tuple[np.ndarray, int, np.ndarray]]:
    """Cut a run that comes in blocks of any size into overlapping windows, which do not depend on those sizes.

    Window j begins `pad` samples before sample j · hop, hop = window − 2 · pad, and is for the hop samples from there
    on; what lies before the beginning and behind the end of the run is its mirror image.

    Parameters
    ----------
    blocks : iterable of arrays (m, channels)
        The run, in order.
    window, pad : int
        Samples.

    Yields
    ------
    values : (window, channels) float64
    n : how many of its hop samples are in the run
    source : (window,) int, which sample of the run each is, or is the mirror image of

    Raises
    ------
    InputError
        No samples at all, or blocks of different widths.

    Examples
    --------
    >>> [(w.ravel().tolist(), n, s.tolist()) for w, n, s in windows([np.array([[5.0], [6.0], [7.0]])], 4, 1)]
    [([6.0, 5.0, 6.0, 7.0], 2, [1, 0, 1, 2]), ([6.0, 7.0, 6.0, 7.0], 1, [1, 2, 1, 2])]
    """
    hop = window - 2 * pad
    held, source = np.empty((0, 0)), np.empty(0, int)
    seen = 0
    for gathered in _gather(blocks, max(hop, pad + 1)):
        new = np.arange(seen, seen + len(gathered))
        if seen:
            held, source = np.concatenate([held, gathered]), np.concatenate([source, new])
        else:
            held, source = np.pad(gathered, ((pad, 0), (0, 0)), "reflect"), np.pad(new, (pad, 0), "reflect")
        seen += len(gathered)
        while len(held) >= window:
            yield held[:window], hop, source[:window]
            held, source = held[hop:], source[hop:]
    if not seen:
        raise InputError("the run has no samples: leave it out")
    left = len(held) - pad
    if left > 0:
        held = np.pad(held, ((0, window + hop), (0, 0)), "reflect")
        source = np.pad(source, (0, window + hop), "reflect")
    while left > 0:
        yield held[:window], min(hop, left), source[:window]
        held, source, left = held[hop:], source[hop:], left - hop


def checked(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Blocks as float64, those without samples left out.

    Raises
    ------
    InputError
        One is no (samples, channels), or has other channels than the first.
    """
    width: int | str = "channels"
    for given in blocks:
        block = np.asarray(given, float)
        if block.ndim != 2 or width not in ("channels", block.shape[1]):
            raise InputError(f"a block has shape {block.shape}, where (samples, {width}) was expected")
        width = block.shape[1]
        if len(block):
            yield block


def _gather(blocks: Iterable[np.ndarray], least: int) -> Iterator[np.ndarray]:
    """Blocks joined until there are enough samples, for those of few."""
    some: list[np.ndarray] = []
    for block in checked(blocks):
        some.append(block)
        if sum(map(len, some)) >= least:
            yield np.concatenate(some) if len(some) > 1 else block
            some = []
    if some:
        yield np.concatenate(some)


def fill(window: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Bridge what is not finite by a straight line within each channel, so that no filter rings from it.

    Returns
    -------
    filled : (m, channels)
        The window itself where nothing was missing; a channel of which nothing is there is 0.
    missing : (m, channels) bool, or None where nothing was

    Examples
    --------
    >>> filled, missing = fill(np.array([[0.0], [np.nan], [2.0], [np.inf]]))
    >>> filled.ravel().tolist(), missing.ravel().tolist()
    ([0.0, 1.0, 2.0, 2.0], [False, True, False, True])
    """
    if np.isfinite(window.sum()):
        return window, None
    missing = ~np.isfinite(window)
    filled, at = window.copy(), np.arange(len(window))
    for column in np.flatnonzero(missing.any(axis=0)):
        there = ~missing[:, column]
        filled[:, column] = np.interp(at, at[there], window[there, column]) if there.any() else 0
    return filled, missing


def near(missing: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """(k, channels) bool: whether anything is missing between two samples of a window, both included.

    Parameters
    ----------
    missing : (m, channels) bool
    first, last : (k,) int
        Where each of k stretches begins and ends; cut where the window does.
    """
    count = np.concatenate([np.zeros((1, missing.shape[1]), np.int32), np.cumsum(missing, axis=0, dtype=np.int32)])
    return count[np.clip(last + 1, 0, len(missing))] > count[np.clip(first, 0, len(missing))]


def lasts(sizes: np.ndarray, share: float) -> int:
    """How many of sizes, from the first on, hold all of their sum but a share.

    Examples
    --------
    >>> lasts(np.array([1.0, 0.5, 0.25, 0.0]), 0.2)
    2
    """
    left = np.cumsum(sizes[::-1])[::-1]
    return int(np.count_nonzero(left > share * left[0]))
