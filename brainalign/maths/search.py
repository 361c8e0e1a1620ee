"""Which of the points suits which target? Every target tried at the points near it, a batch of targets at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from scipy.sparse import csr_array

from brainalign.maths.arrays import Array, Home, NotPositiveError
from brainalign.maths.held_out import Read, chunks
from brainalign.maths.penalties import POINTS, guess, how_many, nearest, place
from brainalign.progress import Progress

# How sharply averaging prefers the better points: the value two prototypes settled on simulated data. That averaging
# is the default of `encode` was decided with scores of the alice sample in view (docs/decisions/0007).
TAU = 0.3
FAINT = 0.03  # weights below this share of the best point's are dropped: they cost as much and say next to nothing
SILENCE = 4  # points that "no signal" counts as in an average: all the weak ones nobody tries
CROWD = 4096  # targets at most by which points are placed


class Space(Protocol):
    """What a search asks of `Dual` and `Primal`. Responses and what judges a point are of the space's own kind."""

    home: Home
    n: int

    def responses(self, read: Read, targets: np.ndarray) -> Any: ...  # noqa: D102
    def moments(self, Y: Any) -> tuple[np.ndarray, np.ndarray]: ...  # noqa: D102
    def size(self, Y: Any) -> np.ndarray: ...  # noqa: D102
    def nothing(self, Y: Any) -> np.ndarray: ...  # noqa: D102
    def judge(self, gains: np.ndarray) -> Any: ...  # noqa: D102
    def loss(self, judged: Any, Y: Any) -> np.ndarray: ...  # noqa: D102
    def remember(self, judged: Any) -> Any: ...  # noqa: D102
    def products(self, Y: Any) -> Any: ...  # noqa: D102


@dataclass
class Found:
    """What the search knows so far; rows of `mixture` are points, columns targets.

    gains : (n_bands, k); mixture : (k, t) weights that sum to 1; best, loss, nothing : (t,), the point with the least
    held-out loss, that loss (averaged where points are), the loss of no signal; done : (t,) bool; kept : P by
    point, where there was room; products : YᵀZ of `Primal`, batch by batch.
    """

    gains: np.ndarray
    mixture: csr_array
    best: np.ndarray
    loss: np.ndarray
    nothing: np.ndarray
    done: np.ndarray
    kept: dict[int, Array] = field(default_factory=dict)
    products: list[Array] = field(default_factory=list)


@dataclass(frozen=True)
class Known:
    """Responses of all targets as their space keeps them, and their moments: the same for every search."""

    responses: Any
    moments: tuple[np.ndarray, np.ndarray]


def know(space: Space, read: Read, n_targets: int) -> Known:
    """Read all responses once."""
    responses = space.responses(read, np.arange(n_targets))
    return Known(responses, space.moments(responses))


@dataclass(frozen=True)
class Order:
    """How the work is laid out: targets in a batch, and whether what a point needs stays in memory between batches and
    for predictions.
    """

    batch: int
    keep: bool


def search(
    space: Space,
    read: Read,
    n_targets: int,
    order: Order,
    *,
    average: bool,
    seed: int = 0,
    gains: np.ndarray | None = None,
    own: np.ndarray | None = None,
    inside: np.ndarray | None = None,
    samples: int | None = None,
    bands: np.ndarray | None = None,
    points: int = POINTS,
    known: Known | None = None,
    progress: Progress | None = None,
) -> Found:
    """Try points and weigh them.

    Parameters
    ----------
    space : Dual or Primal
    read : function
        (n, m) responses of some targets, centred, as the space wants them.
    n_targets : int
    order : Order
    average : bool
        Weigh points by loss^(−τ n/2), else take the best alone.
    seed : int
    gains : array (n_bands, k), optional
        The points; left out, they are placed where the targets are.
    own : array (t,) int, optional
        The one point of each target: nothing is chosen.
    inside : array (t,), optional
        Squared error that no point can change, known once responses were read: of repeated samples, about their mean.
    samples : int, optional
        How many samples those of the space stand for.
    bands : array (n_bands,) of bool, optional
        Those that may predict where points are placed; by default all.
    points : int
        How many are placed.
    known : Known, optional
        What does not change from one search to the next in the same space.
    progress : function (done, total, what), optional

    Returns
    -------
    Found
        Of the targets that were finished, if interrupted: KeyboardInterrupt is raised again with `found` as attribute.
    """
    guessed = None
    if known is None and order.batch >= n_targets:
        known = know(space, read, n_targets)
    whole = None if known is None else known.responses
    if gains is None:
        some = np.arange(n_targets)
        if n_targets > CROWD:
            some = np.sort(np.random.default_rng(seed).choice(n_targets, CROWD, replace=False))
        if known is None:
            gains = _placed(_guessed(space, space.responses(read, some), bands), bands, points, seed)
        else:
            guessed = _guessed(space, known.responses, bands, known.moments)
            gains = _placed(guessed[:, some], bands, points, seed)
        count = how_many(n_targets)
    else:
        count = len(gains.T)
    k = len(gains.T)
    empty = np.full(n_targets, np.nan)
    found = Found(gains, csr_array((k, 0)), np.zeros(n_targets, int), empty, empty.copy(), np.zeros(n_targets, bool))
    judge = _Judge(space, gains, found, order.keep, again=whole is None)
    steps = max(int(np.count_nonzero(gains.any(0))), 1)  # the null point costs nothing
    weights = []
    try:
        for batch in chunks(n_targets, order.batch):
            Y = space.responses(read, np.arange(n_targets)[batch]) if whole is None else whole
            tried = _tried(space, Y, gains, count, None if own is None else own[batch], guessed, bands)
            found.nothing[batch] = space.nothing(Y)

            def tell(done: int, of: int, at: int = batch.start, size: int = len(Y)) -> None:
                if progress:
                    progress(at * steps + size * steps * done // of, n_targets * steps, "searching penalties")

            losses = judge.losses(Y, tried, found.nothing[batch], tell)
            more = 0.0 if inside is None else inside[batch]
            mixture, found.best[batch], loss = weigh(
                losses + more, tried, samples or space.n, average, silent=np.asarray(~gains.any(0))
            )
            found.loss[batch] = loss - more
            weights.append(csr_array(mixture))
            found.products.append(space.products(Y))
            found.done[batch] = True
    except KeyboardInterrupt as stop:
        found.mixture = _side_by_side(weights, k, n_targets)
        stop.found = found  # type: ignore[attr-defined]
        raise
    found.mixture = _side_by_side(weights, k, n_targets)
    if not order.keep:
        found.kept.clear()
    return found


class _Judge:
    """Held-out losses at points, what they take kept between batches where there is room."""

    def __init__(self, space: Space, gains: np.ndarray, found: Found, keep: bool, again: bool) -> None:
        self.space, self.gains, self.found, self.keep, self.again = space, gains, found, keep, again
        self.judged: dict[int, Any] = {}

    def losses(self, Y: Any, tried: np.ndarray, nothing: np.ndarray, tell: Callable[[int, int], None]) -> np.ndarray:
        """(k, t) summed squared error, inf where a point was not tried or cannot be judged."""
        losses = np.full(tried.shape, np.inf)
        silent = ~self.gains.any(0)
        losses[silent] = np.where(tried[silent], nothing, np.inf)
        busy = [k for k in np.flatnonzero(~silent) if tried[k].any()]
        for done, (k, members, loss) in enumerate(self.space.home.map(lambda k: self._one(k, Y, tried[k]), busy), 1):
            losses[k, members] = np.where(np.isfinite(loss), loss, np.inf)
            tell(done, len(busy))
        if not busy:
            tell(1, 1)
        return losses

    def _one(self, k: int, Y: Any, tried: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
        members = np.flatnonzero(tried)
        try:
            judged = self.judged.get(k) or self.space.judge(self.gains[:, k])
        except NotPositiveError:
            return k, members, np.full(len(members), np.inf)
        if self.keep:
            if self.again:
                self.judged[k] = judged
            self.found.kept[k] = self.space.remember(judged)
        losses = [self.space.loss(judged, Y[members[part]]) for part in chunks(len(members))]
        return k, members, np.concatenate(losses)


def _guessed(
    space: Space, Y: Any, bands: np.ndarray | None, moments: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """Gains (n_bands, t), 0 of bands that may not predict."""
    q, s = space.moments(Y) if moments is None else moments
    if bands is not None:
        s = s * np.outer(bands, bands)
    return guess(q, s, space.size(Y), space.n)


def _placed(guessed: np.ndarray, bands: np.ndarray | None, points: int, seed: int) -> np.ndarray:
    if bands is None:
        return place(guessed, seed, points)
    few = place(guessed[bands], seed, points)
    gains = np.zeros((len(bands), few.shape[1]))
    gains[bands] = few
    return gains


def _tried(
    space: Space,
    Y: Any,
    gains: np.ndarray,
    count: int,
    own: np.ndarray | None,
    guessed: np.ndarray | None,
    bands: np.ndarray | None,
) -> np.ndarray:
    if own is not None:
        return own == np.arange(len(gains.T))[:, None]
    if count >= len(gains.T):
        return np.ones((len(gains.T), len(Y)), bool)
    return nearest(_guessed(space, Y, bands) if guessed is None else guessed, gains, count)


def weigh(
    losses: np.ndarray, tried: np.ndarray, n: int, average: bool, silent: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From (k, t) losses: weights (k, t), the best point (t,), and its loss or the weighted mean loss (t,).

    `silent` (k,) marks the point without signal. On simulated data its counting fourfold took a third off the error of
    targets that are pure noise and nothing from the others. Where no point could be judged, the first that was tried is
    taken and its loss is NaN.
    """
    known = np.isfinite(losses)
    best = np.where(known.any(0), np.argmin(losses, 0), np.argmax(tried, 0))
    at = np.arange(losses.shape[1])
    lost = ~known[best, at]
    if average:
        least = np.finfo(float).tiny  # a constant target has no loss at any point: all weigh alike
        log = np.where(known, -TAU * n / 2 * np.log(np.maximum(losses, least, where=known, out=losses.copy())), -np.inf)
        weights = np.exp(log - np.where(lost, 0, log[best, at]))
        weights[weights < FAINT] = 0
        if silent is not None:
            weights[silent] *= SILENCE
        weights[best[lost], at[lost]] = 1
        weights /= weights.sum(0)
    else:
        weights = np.zeros(losses.shape)
        weights[best, at] = 1
    loss = np.where(weights > 0, weights * np.where(known, losses, 0), 0).sum(0)
    return weights, best, np.where(lost, np.nan, loss)


def _side_by_side(weights: list[csr_array], k: int, n_targets: int) -> csr_array:
    from scipy.sparse import hstack

    done = sum(one.shape[1] for one in weights)  # type: ignore[index]
    return csr_array(hstack([*weights, csr_array((k, n_targets - done))]))


def members(mixture: csr_array, point: int, within: slice) -> tuple[np.ndarray, np.ndarray]:
    """Which targets of a span are made of a point, counted from the span's start, and its weight in each."""
    span = slice(*mixture.indptr[point : point + 2])
    which, weight = mixture.indices[span], mixture.data[span]
    inside = (which >= within.start) & (which < within.stop)
    order = np.argsort(which[inside], kind="stable")
    return which[inside][order] - within.start, weight[inside][order]
