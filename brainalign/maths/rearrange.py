"""In which other order could the responses have come?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from brainalign.errors import InputError, SettingsError
from brainalign.maths.scores import rounding

LOOKED_AT = 2000  # targets by whose autocorrelation a block's length is settled


@dataclass(frozen=True, eq=False)
class Moved:
    """Ways in which the samples of a recording might have come.

    n_samples : of the recording
    rows : of every run its samples; of permuted blocks (count, block), a row for each
    steps : (m, n_runs), by how many samples each run was shifted; None for blocks
    orders : per run (m, count), which block stands at the place of each; empty for shifts
    """

    n_samples: int
    rows: Sequence[np.ndarray]
    steps: np.ndarray | None = None
    orders: Sequence[np.ndarray] = ()

    def __len__(self) -> int:
        return len(self.orders[0] if self.steps is None else self.steps)

    @cached_property
    def index(self) -> np.ndarray:
        """(m, n_samples) int, which sample stands at each place; made when it is first asked for."""
        if self.steps is not None:
            return _turned(self.rows, self.steps, self.n_samples)
        index = np.tile(np.arange(self.n_samples), (len(self), 1))
        for places, order in zip(self.rows, self.orders, strict=True):
            index[:, places.ravel()] = places[order].reshape(len(self), places.size)
        return index


def rearranged(
    run: np.ndarray, n: int, how: str, block: int, seed: int = 0, together: np.ndarray | None = None
) -> Moved:
    """Shift each run in a circle by at least `block` samples (how "shift"), or permute blocks of it (how "blocks").

    Runs of one label in `together` (n_samples,) are moved alike: what they repeat would else be counted for each anew,
    and p be too small (.11 for .05: two tellings of a story with nine tenths of their variance in common).

    Raises
    ------
    InputError
        As for `shifts` and `blocks`.
    SettingsError
        Another `how`.

    Examples
    --------
    >>> rearranged(np.zeros(5), n=10, how="shift", block=2).steps.ravel().tolist()
    [2, 3]
    """
    if how not in ("shift", "blocks"):
        raise SettingsError(f"how is 'shift' or 'blocks'; found {how!r}")
    labels = labelled(run, len(run))
    alike = None if together is None else labelled(together, len(run))
    if how == "shift":
        rows, steps = steps_of(labels, n, block, seed, alike)
        return Moved(len(labels), rows, steps)
    cut, orders = orders_of(labels, n, block, seed, alike)
    return Moved(len(labels), cut, orders=orders)


def block_length(values: np.ndarray, run: np.ndarray | None = None) -> int:
    """How many neighbouring samples belong together: the lag at which autocorrelation is lost in noise.

    The first lag at which the autocorrelation, averaged over targets and runs, is below 2/√n; at least 2, at most a
    quarter of the longest run. Of very many targets some thousand tell as much: every k-th is looked at.

    Parameters
    ----------
    values : array (n_samples, n_targets)
    run : array (n_samples,), optional

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> block_length(rng.standard_normal((500, 3)))
    2
    """
    labels = labelled(run, len(values))
    values = values[:, :: max(1, values.shape[1] // LOOKED_AT)]
    longest = max(np.bincount(labels))
    most = max(longest // 4, 2)
    size = 1 << int(np.ceil(np.log2(2 * longest)))
    total = np.zeros(size)
    for k in range(labels.max() + 1):
        part = centred(np.asarray(values[labels == k]))
        scale = np.sqrt((part**2).sum(0))
        spectrum = np.fft.fft(part[:, scale > 0] / scale[scale > 0], size, axis=0)
        total += np.fft.ifft((np.abs(spectrum) ** 2).mean(1)).real * len(part) if spectrum.size else 0
    acf = total[1 : most + 1] / total[0] if total[0] > 0 else np.zeros(most)
    below = np.flatnonzero(acf < 2 / np.sqrt(len(values)))
    return int(max(2, below[0] + 1)) if len(below) else int(most)


def shifts(run: np.ndarray, n: int, minimum: int, seed: int = 0) -> np.ndarray:
    """Rows of a recording moved in a circle within each run, each run by its own amount.

    Parameters
    ----------
    run : array (n_samples,)
        The rows of a run are neighbours.
    n : int
        How many; all there are where there are fewer different ones.
    minimum : int
        No run is moved by less (in either direction), nor by more than half its length where that is shorter.

    Returns
    -------
    array (m, n_samples) int
        All different; none leaves the recording where it was.

    Raises
    ------
    InputError
        No run longer than one sample.

    Examples
    --------
    >>> shifts(np.zeros(5), n=10, minimum=2).tolist()
    [[3, 4, 0, 1, 2], [2, 3, 4, 0, 1]]
    """
    labels = labelled(run, len(run))
    return _turned(*steps_of(labels, n, minimum, seed), len(labels))


def _turned(rows: Sequence[np.ndarray], steps: np.ndarray, n_samples: int) -> np.ndarray:
    """(m, n_samples) each run turned by its steps."""
    out = np.tile(np.arange(n_samples), (len(steps), 1))
    for at, step in zip(rows, steps.T, strict=True):
        out[:, at] = at[(np.arange(len(at)) - step[:, None]) % len(at)]
    return out


def steps_of(
    labels: np.ndarray, n: int, minimum: int, seed: int, together: np.ndarray | None = None
) -> tuple[list[np.ndarray], np.ndarray]:
    """The rows of every run, and by how many samples each run is moved: (m, runs), all different.

    Runs of one number in `together` (n_samples,) are moved alike.
    """
    rows = [np.flatnonzero(labels == k) for k in range(labels.max() + 1)]
    if max(len(r) for r in rows) < 2:
        raise InputError("no run is longer than one sample: there is nothing to shift in time")
    group = _groups(rows, together)
    lengths = [min(len(r) for r, mine in zip(rows, group) if mine == k) for k in range(group.max() + 1)]
    return rows, _drawn_steps([_steps(length, minimum) for length in lengths], n, seed)[:, group]


def _groups(rows: Sequence[np.ndarray], together: np.ndarray | None) -> np.ndarray:
    """(runs,) which runs are moved alike, as 0, 1, …"""
    if together is None:
        return np.arange(len(rows))
    return np.unique([together[r[0]] for r in rows], return_inverse=True)[1]


def _drawn_steps(options: list[list[int]], n: int, seed: int) -> np.ndarray:
    """(m, groups) all there are, or n of them, all different."""
    count = float(np.prod([float(len(o)) for o in options]))
    if count <= n:
        return np.array(list(product(*options)))
    rng = np.random.default_rng(seed)
    if len(options) == 1:
        return np.sort(rng.choice(options[0], n, replace=False))[:, None]
    seen: dict[tuple[int, ...], None] = {}
    while len(seen) < n:
        drawn = np.stack([rng.choice(o, n) for o in options], axis=1)
        seen |= dict.fromkeys(map(tuple, drawn.tolist()))
    return np.array(list(seen)[:n])


def orders_of(
    labels: np.ndarray, n: int, block: int, seed: int, together: np.ndarray | None = None
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of every run its blocks (count, block), as rows, and which block stands at the place of each: (n, count).

    Of runs of one number in `together` (n_samples,), as many blocks as all have are moved, alike; the rest stay.
    """
    rng = np.random.default_rng(seed)
    runs = [np.flatnonzero(labels == k) for k in range(labels.max() + 1)]
    cut = [at[: len(at) // block * block].reshape(-1, block) for at in runs]
    if max(len(places) for places in cut) < 2:
        raise InputError(f"no run holds two blocks of {block} samples: there is nothing to permute; use how='shift'")
    group = _groups(runs, together)
    orders = [np.tile(np.arange(len(places)), (n, 1)) for places in cut]
    for k in range(group.max() + 1):
        mine = [order for order, which in zip(orders, group) if which == k]
        count = min(order.shape[1] for order in mine)
        drawn = rng.permuted(mine[0][:, :count], axis=1)
        for order in mine:
            order[:, :count] = drawn
    return cut, orders


def labelled(run: Any, n: int) -> np.ndarray:
    """Runs as 0, 1, …"""
    if run is None:
        return np.zeros(n, int)
    if len(run) != n:
        raise InputError(f"{len(run)} run labels for {n} samples: one per sample")
    return np.unique(np.asarray(run), return_inverse=True)[1]


def centred(values: np.ndarray) -> np.ndarray:
    """Less the mean, float64; a column that is constant up to rounding becomes exactly 0."""
    deviation = values - values.mean(0, dtype=float)
    return np.where((deviation**2).sum(0) > rounding(values), deviation, 0.0)


def _steps(length: int, minimum: int) -> list[int]:
    least = min(max(minimum, 1), max(length // 2, 1))
    return list(range(least, length - least + 1)) or [0]
