"""How should it be computed, and what fits into memory?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brainalign.errors import SettingsError
from brainalign.maths.folds import Folds
from brainalign.maths.held_out import CHUNK
from brainalign.maths.search import Order


@dataclass(frozen=True)
class Sizes:
    """Of one fit: samples, columns, bands, targets, points to try; bytes per number; cores."""

    n: int
    p: int
    bands: int
    targets: int
    points: int
    tried: int
    itemsize: int
    workers: int


def flops(method: str, sizes: Sizes, folds: Folds) -> float:
    """Multiplications and additions of a whole search, roughly."""
    n, p, t = float(sizes.n), float(sizes.p), float(sizes.targets)
    scored = [float(len(test)) for _, test in folds]
    left = [n - len(train) for train, _ in folds]
    if method == "dual":
        once = n**3 + sum(m**3 + 2 * m * s * n for m, s in zip(left, scored, strict=True))
        start = n * n * p + sizes.bands * n * n * t
        each = 2 * sum(scored) * n
    else:
        rows = [min(s, p) for s in scored]
        once = len(folds) * p**3 + 2 * sum(rows) * p * p
        start = 4 * n * p * p + 4 * n * p * t
        each = 2 * sum(rows) * p
    return start + sizes.points * once + sizes.tried * t * each


def cheaper(sizes: Sizes, folds: Folds) -> str:
    """The name of the way that costs less: "dual" or "primal"."""
    return min(("primal", "dual"), key=lambda method: flops(method, sizes, folds))


def lay_out(method: str, sizes: Sizes, folds: Folds, memory: int) -> tuple[Order, int]:
    """Batches of targets, and how many points at once, that stay within so many bytes beyond X and Y as given.

    Raises
    ------
    SettingsError
        Not even a small batch does.
    """
    n, p, s = sizes.n, sizes.p, sizes.itemsize
    scored = sum(len(test) for _, test in folds)
    if method == "dual":
        fixed, work = sizes.bands * n * n * s, 2 * n * n * s + CHUNK * (scored + n) * s
        kept, target = sizes.points * n * n * s, 3 * n * s
    else:
        rows = sum(min(len(test), p) for _, test in folds)
        fixed = n * p * s + (len(folds) + 2) * p * p * 8
        work = len(folds) * 3 * p * p * s + CHUNK * 2 * rows * s
        kept, target = len(folds) * p * p * s * sizes.points, (len(folds) + 2) * p * s + rows * s + 2 * n * s
    target += sizes.points * 4 * 8
    small = min(sizes.targets, 256)
    for workers in range(sizes.workers, 0, -1):
        left = memory - fixed - workers * work
        if left >= small * target:
            break
    else:
        raise SettingsError(
            f"memory={_say(memory)} is too little for {n:,} samples × {p:,} columns in {sizes.bands} bands: the "
            f"{method} way needs at least {_say(fixed + work + small * target)}; "
            "give more memory, or fewer samples or bands"
        )
    whole = sizes.targets * target
    if left >= whole + kept:
        return Order(sizes.targets, keep=True), workers
    if left >= whole:
        return Order(sizes.targets, keep=False), workers
    if left >= 2 * kept + small * target:
        return Order(int((left - 2 * kept) // target), keep=True), workers
    return Order(int(left // target), keep=False), workers


def parse_bytes(memory: int | str) -> int:
    """Bytes from a size: "4GB" is 4000000000; a number is bytes already."""
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        found = int(TypeAdapter(ByteSize).validate_python(memory))
    except ValidationError:
        found = 0
    if found <= 0:
        raise SettingsError(f"memory is a size such as '4GB', or a number of bytes; found {memory!r}")
    return found


def _say(size: float) -> str:
    return f"{size / 1e9:.3g} GB"


def dtype_of(X: np.ndarray, Y: np.ndarray, small: bool) -> np.dtype:
    """float32 where both sides are no finer and the problem is not small; else float64."""
    coarse = all(a.dtype.kind == "f" and a.dtype.itemsize <= 4 for a in (X, Y))
    return np.dtype(np.float32 if coarse and not small else np.float64)
