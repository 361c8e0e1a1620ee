"""What is in one run's file before its numbers are read: which columns, how many samples, and the way to the rest?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd


@dataclass(frozen=True, eq=False)
class Series:
    """One run of one recording, opened and not yet read: an hour of voxels need never be in memory at once.

    Parameters
    ----------
    name : str
        What to call the file in sentences.
    columns : DataFrame, one row per column
        Without `subject`: `i`, `j`, `k`, `x`, `y`, `z` of voxels; `hemisphere`, `vertex` of surfaces; `roi` of regions.
    key : tuple of str
        Those of `columns` by which a column of one run is found in another: ("i", "j", "k"), ("hemisphere", "vertex").
    n_samples : int
    blocks : function → iterator of arrays (m, n_columns), float32
        The samples in order of time, some at a time. May be called again, and then reads again. Raises InputError
        where the file breaks off.
    header_tr : float or None
        Seconds between samples by the file itself; None where it does not say.
    grid : tuple
        What has to be equal for the keys of two runs to mean the same place (see `same_grid`): arrays and plain values.
    inputs : tuple of Path
        What was opened besides the recording itself: a mask, an atlas.
    notes : tuple of str
    """

    name: str
    columns: pd.DataFrame
    key: tuple[str, ...]
    n_samples: int
    blocks: Callable[[], Iterator[np.ndarray]]
    header_tr: float | None = None
    grid: tuple[object, ...] = ()
    inputs: tuple[Path, ...] = ()
    notes: tuple[str, ...] = field(default=())


def there_twice(subject: str, runs: Sequence[tuple[str, str]]) -> list[str]:
    """Labels, of (label, name of the file), that several runs of one person have."""
    labels = [label for label, _ in runs]
    return [
        f"sub-{subject}, run {label} is there twice: {', '.join(name for one, name in runs if one == label)}; keep one "
        "of them"
        for label in sorted({label for label in labels if labels.count(label) > 1})
    ]


def same_grid(a: Series, b: Series) -> bool:
    """Whether the keys of two runs mean the same places: grids are equal, affines to 0.01 mm."""
    return len(a.grid) == len(b.grid) and all(map(_same, a.grid, b.grid))


def _same(one: object, other: object) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.shape == other.shape and bool(np.allclose(one, other, atol=0.01))
    return type(one) is type(other) and one == other
