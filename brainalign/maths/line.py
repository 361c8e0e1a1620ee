"""Which of a row of penalties suits each target, or all together? Downhill from a guess, not all tried on all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from brainalign.maths.arrays import Array, NotPositiveError
from brainalign.maths.dual import Dual
from brainalign.maths.held_out import Read, block_of, chunks
from brainalign.maths.penalties import guess
from brainalign.maths.prepare import Prepared
from brainalign.maths.primal import Primal
from brainalign.maths.search import Found, Order
from brainalign.progress import Progress, silent

REACH = 0.5  # decades between the penalties first tried, about
DOUBT = 0.25  # how far off a parabola's minimum is, as a share of half its width
FEW = 4  # up to so many penalties are all tried


def first(where: np.ndarray, line: np.ndarray, reach: int, together: bool) -> np.ndarray:
    """(k, t) True at the penalties to try first: about where a target is guessed to be, and `reach` to both sides.

    Where next to no signal is guessed, also where the other targets are: errors that fall towards no weights at all may
    have another minimum there.

    Parameters
    ----------
    where : array (t,)
        Guessed log10 gains, −inf for none.
    line : array (k,)
        log10 gains of the penalties, ascending.
    reach : int
    together : bool
        Four, `reach` apart, instead of three.
    """
    k = len(line)
    at = np.abs(line[:, None] - where.clip(line[0], line[-1])).argmin(0)
    offsets = np.array([-3 * reach, -reach, reach, 3 * reach]) // 2 if together else np.array([-reach, 0, reach])
    tried = np.zeros((k, len(where)), bool)
    for offset in offsets:
        tried[(at + offset).clip(0, k - 1), np.arange(len(where))] = True
    weak = at <= 2 * reach
    usual = int(np.median(at[~weak])) if not weak.all() else k // 2
    tried[usual, weak] = True
    return tried


def proceed(losses: np.ndarray, line: np.ndarray, reach: int, together: bool) -> np.ndarray:
    """(k, t) True at the penalties to try next; nowhere, for a target that is done.

    While a target's best was not tried within `reach` on both sides, there. Then where the parabola through the
    best and its tried neighbours has its minimum: done, if that was tried. At the ends of the line, and `together`
    everywhere, halfway to the tried neighbours until they are next to the best.

    Parameters
    ----------
    losses : array (k, t)
        NaN where not tried, inf where it could not be judged.
    line, reach, together
        As for `first`.
    """
    k, t = losses.shape
    rows, at = np.arange(k)[:, None], np.arange(t)
    known = ~np.isnan(losses)
    best = np.where(known, losses, np.inf).argmin(0)
    best = np.where(known[best, at], best, known.argmax(0))
    left = np.where(known & (rows < best), rows, -1).max(0)
    right = np.where(known & (rows > best), rows, k).min(0)
    tried = np.zeros((k, t), bool)
    down = (best > 0) & ((left < 0) | (best - left > reach))
    up = (best < k - 1) & ((right == k) | (right - best > reach))
    tried[np.maximum(best - reach, 0)[down], at[down]] = True
    tried[np.minimum(best + reach, k - 1)[up], at[up]] = True
    closed = ~(down | up)
    inner = closed & (best > 0) & (best < k - 1)
    inner[inner] &= np.isfinite(losses[left[inner], at[inner]] + losses[right[inner], at[inner]])
    if together:
        inner[:] = False
    edge = closed & ~inner
    for side in (left, right):
        near = (best + side) // 2 if side is left else (best + side + 1) // 2
        near = np.where(np.abs(best - side) > 1, near, best)
        use = edge & (side >= 0) & (side < k) & (near != best)
        tried[near[use], at[use]] = True
    low, mid, high = (line[side[inner]] for side in (left, best, right))
    f, g, h = (losses[side[inner], at[inner]] for side in (left, best, right))
    a, b = (mid - low) * (g - h), (mid - high) * (g - f)
    flat = a == b
    vertex = mid - 0.5 * ((mid - low) * a - (mid - high) * b) / np.where(flat, 1, a - b)
    vertex = np.where(flat, mid, vertex)
    nearest = np.abs(line[:, None] - vertex).argmin(0)
    beyond = vertex + np.where(vertex < mid, -1, 1) * DOUBT * (high - low) / 2
    unsure = np.abs(line[:, None] - beyond).argmin(0)
    here = best[inner]
    tried[np.where(nearest == here, here + np.sign(unsure - here), nearest), at[inner]] = True
    return tried & ~known


def descend(
    fill: Callable[[np.ndarray, np.ndarray], None], where: np.ndarray, line: np.ndarray, together: bool, every: bool
) -> np.ndarray:
    """(k, t) losses, NaN where not tried. `fill(losses, tried)` computes those asked for."""
    losses = np.full((len(line), len(where)), np.nan)
    if every or len(line) <= FEW:
        fill(losses, np.ones(losses.shape, bool))
        return losses
    reach = max(1, round(REACH / float(np.median(np.diff(line)))))
    reach += reach % 2 if together else 0
    tried = first(where, line, reach, together)
    while tried.any():
        fill(losses, tried)
        tried = proceed(losses, line, reach, together)
    return losses


class Line:
    """Held-out losses along a row of gains. What judges a gain is kept for the next round where there is room.

    Parameters
    ----------
    space : Dual or Primal
        Of a single band.
    read : function
        (n, m) responses of some targets.
    data : Prepared
        What is known of targets once they are read: which are constant, what no features can tell apart.
    gains : array (k,)
        Ascending.
    order : Order
    progress : function (done, total, what), optional

    Attributes
    ----------
    found : Found
        The finished targets, also after an interruption.
    """

    def __init__(
        self,
        space: Dual | Primal,
        read: Read,
        data: Prepared,
        gains: np.ndarray,
        order: Order,
        progress: Progress = silent,
    ) -> None:
        self.space, self.read, self.data, self.order, self.progress = space, read, data, order, progress
        self.home, self.points = space.home, gains[None]
        self.line = np.log10(gains) if gains[0] > 0 else np.arange(len(gains), dtype=float)
        t, empty = data.targets, np.full(data.targets, np.nan)
        self.found = Found(
            self.points, csr_array((len(gains), t)), np.zeros(t, int), empty, empty.copy(), np.zeros(t, bool)
        )
        self.judgements: dict[int, Any] = {}
        self.whole: Any = None

    def each(self) -> np.ndarray:
        """Choose for each target. Returns squared errors (k, t), NaN where not tried."""
        found, curve = self.found, np.full((len(self.line), self.data.targets), np.nan)
        once, per_target = self.space.flops()
        every = self.data.targets * per_target <= once  # trying costs no more than what it needs
        try:
            for batch, Y in self._batches():
                found.nothing[batch] = self.space.nothing(Y)
                where = np.zeros(len(Y)) if every else self._guessed(Y)

                def fill(losses: np.ndarray, tried: np.ndarray, Y: Any = Y, before: int = batch.start) -> None:
                    self._try_each(losses, tried, Y)
                    self._tell(before * len(self.line) + len(Y) * int((~np.isnan(losses)).any(1).sum()))

                curve[:, batch] = losses = descend(fill, where, self.line, together=False, every=every)
                found.best[batch], found.loss[batch] = least(losses)
                self._done(batch, Y)
        finally:
            self._finish()
        self._tell(curve.size)
        return curve

    def together(self) -> np.ndarray:
        """Choose once for all targets. Returns errors (k,) relative to those of no weights, the mean over targets.

        Where targets outnumber samples, errors are ⟨R S, R⟩ with S = Σ_t y_t y_tᵀ / nothing_t and R from `Dual.judge`:
        no products with targets before the choice is made.
        """
        found, data = self.found, self.data
        moments, S = self._summary()
        weights = self._weights(slice(None))
        where = np.log10(np.maximum(guess(*moments, self.space.n)[0], 1e-30))

        def fill(losses: np.ndarray, tried: np.ndarray) -> None:
            self._try_together(losses[:, 0], np.flatnonzero(tried[:, 0]), S, weights)
            self._tell(int((~np.isnan(losses)).sum()) * data.targets)

        losses = descend(fill, where, self.line, together=True, every=False)
        found.best[:] = best = least(losses)[0][0]
        judged = self._judged(best)
        try:
            for batch, Y in self._batches():
                found.loss[batch] = np.nan if judged is None else self._loss(judged, Y)
                self._done(batch, Y)
        finally:
            self._finish()
        self._tell(len(self.line) * data.targets)
        return (losses[:, 0] + weights @ data.inside) / (np.count_nonzero(weights) or np.nan)

    def _batches(self) -> Iterator[tuple[slice, Any]]:
        for batch in chunks(self.data.targets, self.order.batch):
            if self.whole is not None:
                yield batch, self.whole
                continue
            Y = self.space.responses(self.read, np.arange(self.data.targets)[batch])
            if len(Y) == self.data.targets:
                self.whole = Y
            yield batch, Y

    def _judged(self, k: int) -> Any:
        """What judges a gain, or None where it cannot be judged."""
        if k in self.judgements:
            return self.judgements[k]
        try:
            judged = self.space.judge(self.points[:, k])
        except NotPositiveError:
            judged = None
        if self.order.keep:
            self.judgements[k] = judged
        return judged

    def _loss(self, judged: Any, Y: Any) -> np.ndarray:
        """(m,) squared errors, several chunks of targets at once."""
        return np.concatenate(list(self.home.map(lambda part: self.space.loss(judged, Y[part]), chunks(len(Y)))))

    def _guessed(self, Y: Any) -> np.ndarray:
        """(m,) log10 gains, without any fit."""
        parts = list(self.home.map(lambda part: self.space.moments(Y[part]), chunks(len(Y))))
        gains = guess(np.concatenate([q for q, _ in parts], 1), parts[0][1], self.space.size(Y), self.space.n)[0]
        return np.log10(np.maximum(gains, 1e-30))

    def _try_each(self, losses: np.ndarray, tried: np.ndarray, Y: Any) -> None:
        def one(k: int) -> tuple[int, np.ndarray, np.ndarray]:
            members, judged = np.flatnonzero(tried[k]), self._judged(k)
            if judged is None:
                return k, members, np.full(len(members), np.inf)
            parts = [self.space.loss(judged, Y[members[part]]) for part in chunks(len(members))]
            return k, members, np.concatenate(parts)

        sizes = tried.sum(1)  # the largest first: nobody waits long for the last one
        for k, members, loss in self.home.map(one, [k for k in np.argsort(-sizes, kind="stable") if sizes[k]]):
            losses[k, members] = np.where(np.isfinite(loss), loss, np.inf)

    def _try_together(self, losses: np.ndarray, asked: np.ndarray, S: Any, weights: np.ndarray) -> None:
        def with_sum(k: int) -> float:
            judged = self._judged(k)
            return np.inf if judged is None else float(self.home.rowdot(judged[1] @ S, judged[1]).sum())

        def with_targets(k: int, Y: Any, own: np.ndarray) -> float:
            judged = self._judged(k)
            if judged is None:
                return np.inf
            return float(sum(own[part] @ self.space.loss(judged, Y[part]) for part in chunks(len(Y))))

        if S is not None:
            losses[asked] = list(self.home.map(with_sum, asked))
        else:
            losses[asked] = 0
            for batch, Y in self._batches():
                losses[asked] += list(
                    self.home.map(lambda k, Y=Y, own=weights[batch]: with_targets(k, Y, own), asked)
                )  # fmt: skip
        losses[asked] = np.where(np.isfinite(losses[asked]), losses[asked], np.inf)

    def _summary(self) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], Any]:
        """What `guess` wants of the weighted sum over targets, and that sum (n, n) where it pays, else None."""
        space, total = self.space, None
        q, s, size = np.zeros((1, 1)), np.zeros((1, 1)), np.zeros(1)
        for batch, Y in self._batches():
            self.found.nothing[batch] = space.nothing(Y)
            weights = self._weights(batch)
            if isinstance(space, Dual) and self.data.targets > space.n:
                for part in self.home.map(
                    lambda part, Y=Y, own=weights: self._outer(Y[part], own[part]), chunks(len(Y))
                ):
                    total = part if total is None else total.__iadd__(part)
            else:
                own, s = space.moments(Y)
                q += own @ weights
                size += space.size(Y) @ weights
        if total is not None:
            assert isinstance(space, Dual)
            q[0, 0], s[0, 0] = _paired(space, total)
            size[0] = float(total.ravel()[:: space.n + 1].sum())
        return (q, s, size), total

    def _outer(self, Y: Array, weights: np.ndarray) -> Array:
        """(n, n) Σ_t weight_t y_t y_tᵀ."""
        scaled = Y * self.home.array(np.sqrt(weights), self.space.dtype)[:, None]
        return scaled.T @ scaled

    def _weights(self, batch: slice) -> np.ndarray:
        """(m,) one over the squared error of no weights; 0 for constant targets."""
        size = self.found.nothing[batch] + self.data.inside[batch]
        return np.divide(1, size, out=np.zeros_like(size), where=(size > 0) & ~self.data.constant[batch])

    def _done(self, batch: slice, Y: Any) -> None:
        self.found.products.append(self.space.products(Y))
        self.found.done[batch] = True

    def _finish(self) -> None:
        """What predictions need of the gains chosen, and nothing else, stays."""
        found, at = self.found, np.flatnonzero(self.found.done)
        shape = (len(self.line), self.data.targets)
        found.mixture = csr_array((np.ones(len(at)), (found.best[at], at)), shape=shape)
        for k in np.unique(found.best[at]):
            judged = self.judgements.get(int(k))
            if judged is not None:
                found.kept[int(k)] = self.space.remember(judged)
        self.judgements, self.whole = {}, None

    def _tell(self, done: int) -> None:
        self.progress(done, len(self.line) * self.data.targets, "searching penalties")


def least(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(t,) where the least of (k, t) losses is, the first of equals, and that loss; NaN where none could be judged."""
    known = np.where(np.isfinite(losses), losses, np.inf)
    loss = known.min(0)
    return known.argmin(0), np.where(np.isfinite(loss), loss, np.nan)


def _paired(space: Dual, S: Array) -> tuple[float, float]:
    """⟨K, S⟩ and ⟨K, K⟩ over pairs of rows in different folds, as `Dual.moments` of all targets at once."""
    q = s = 0.0
    for rows, others in space.pairs:
        K, products = (block_of(A, rows, others) for A in (space.kernels[0], S))
        q += float((K * products).sum())
        s += float((K * K).sum())
    return q, s
