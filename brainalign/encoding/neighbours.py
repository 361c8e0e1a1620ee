"""Which targets of a recording lie next to each other?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from brainalign.errors import InputError
from brainalign.maths.clusters import neighbours_of_grid

VOXEL, PLACE = ["i", "j", "k"], ["x", "y", "z"]
SAME = 0.01  # mm: as near as that is the same place
OFF_GRID = 0.05  # share of the spacing that a place may lie beside its grid
NANOSECONDS = 9  # digits to which lags are told apart


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Which targets are neighbours, and by what rule.

    Parameters
    ----------
    graph : csr_array (n_targets, n_targets) bool, or None
        Symmetric, with an empty diagonal; None where no two targets are neighbours.
    rule : str
        In words: what makes neighbours, or why there are none.
    """

    graph: csr_array | None
    rule: str


def neighbours(columns: pd.DataFrame) -> Neighbours:
    """Decide from a recording's table of columns which targets are neighbours, for clusters of them.

    In space: voxels that share a face, by `i`, `j`, `k`, or by `x`, `y`, `z` (mm) where these lie on a grid along the
    axes; never across `subject`. In time: one target at the next `lag` (s) that the table has. With both, a step in
    space at the same lag, or to the next lag at the same place. Regions and single electrodes have no neighbours in
    space. What else tells targets of one place apart (a frequency band, a session) is the same in neighbours.

    For a surface make the graph with `brainalign.maths.clusters.neighbours_of_mesh`.

    Parameters
    ----------
    columns : DataFrame, one row per target
        A Signal's `columns`.

    Returns
    -------
    Neighbours

    Raises
    ------
    InputError
        Two targets that nothing in the table tells apart, or a lag that is not a number.

    Examples
    --------
    >>> import pandas as pd
    >>> found = neighbours(pd.DataFrame({"i": [0, 0, 4], "j": [0, 0, 4], "k": [0, 1, 4]}))
    >>> found.graph.nnz, found.rule
    (2, 'voxels that share a face (i, j, k)')
    >>> neighbours(pd.DataFrame({"roi": ["LIFG", "LATL"]})).rule
    'roi: regions are not neighbours'
    """
    who = ["subject"] if "subject" in columns else []
    places, said = _in_space(columns, who)
    time = ["lag"] if "lag" in columns else []
    if not time and places is None:
        return Neighbours(None, said)
    rules = [] if places is None else [said]
    axes = [] if places is None else list(places.T)
    if time:
        axes.append(_steps_of_lag(columns["lag"]))
        rules.append("neighbouring lags of one target" if places is None else "neighbouring lags of one voxel")
    group = _group(columns, who, places, np.column_stack(axes))
    graph = neighbours_of_grid(np.column_stack(axes), group)
    rule = " or ".join(rules) + (f", within each of {columns['subject'].nunique()} people" if _several(columns) else "")
    return Neighbours(graph, rule) if graph.nnz else Neighbours(None, f"{rule}: no two targets are so")


def _in_space(columns: pd.DataFrame, who: list[str]) -> tuple[np.ndarray | None, str]:
    """(n_targets, 3) steps along the axes of a grid and what they are, or None and why there is none."""
    if set(VOXEL) <= set(columns):
        given = columns[VOXEL].to_numpy(float)
        if np.isfinite(given).all() and (given == np.round(given)).all():
            return given.astype(int), "voxels that share a face (i, j, k)"
        return None, "i, j, k: not whole numbers for every target"
    if not set(PLACE) <= set(columns):
        what = [str(c) for c in columns if c not in who]
        if "roi" in what:
            return None, "roi: regions are not neighbours"
        return None, f"{', '.join(what) or 'no column'}: says nothing of place or lag"
    given = columns[PLACE].to_numpy(float)
    if not np.isfinite(given).all():
        return None, "x, y, z: not known for every target"
    out = np.zeros(given.shape, int)
    people = columns.groupby(who, sort=False, dropna=False).indices.values() if who else [np.arange(len(given))]
    for mine in people:
        for axis in range(3):
            steps = _steps_of_place(given[mine, axis])
            if steps is None:
                return None, f"{PLACE[axis]}: targets do not lie on a grid along the axes"
            out[mine, axis] = steps
    return out, "voxels that share a face (x, y, z on a grid)"


def _steps_of_place(values: np.ndarray) -> np.ndarray | None:
    """Which step of an evenly spaced axis each value (mm) is; None where they are not evenly spaced."""
    order = np.argsort(values, kind="stable")
    apart = np.diff(values[order])
    apart = np.where(apart > SAME, apart, 0.0)
    if not apart.any():
        return np.zeros(len(values), int)
    smallest = apart[apart > 0].min()
    steps = np.empty(len(values), int)
    steps[order] = np.cumsum([0, *np.round(apart / smallest).astype(int)])
    first, last = values[order[0]], values[order[-1]]
    spacing = (last - first) / steps.max()  # over the whole axis: rounding of the smallest does not add up
    on_grid = np.abs(values - first - spacing * steps).max() <= OFF_GRID * spacing
    return steps if on_grid else None


def _steps_of_lag(lag: pd.Series) -> np.ndarray:
    """Which of the table's lags each is, from the earliest."""
    seconds = pd.to_numeric(lag, errors="coerce").to_numpy(float)
    odd = np.flatnonzero(~np.isfinite(seconds))
    if len(odd):
        raise InputError(f"lag (s) of target {odd[0]} is {lag.iloc[odd[0]]!r}: every target's has to be a number")
    return np.unique(np.round(seconds, NANOSECONDS), return_inverse=True)[1]


def _group(columns: pd.DataFrame, who: list[str], places: np.ndarray | None, steps: np.ndarray) -> np.ndarray:
    """Number of the group within which targets may be neighbours: a person's, and what else is told apart in one place.

    Without a place that is everything but the lag.
    """
    rest = [c for c in columns if c not in (*who, *VOXEL, *PLACE, "lag")]
    if places is None:
        apart = [c for c in columns if c != "lag"]
    else:
        at = pd.DataFrame(steps).assign(who=columns[who[0]].to_numpy() if who else "")
        place = at.groupby(list(at.columns), sort=False, dropna=False).ngroup().to_numpy()
        several = columns[rest].groupby(place).nunique(dropna=False) > 1
        apart = [*who, *(c for c in rest if several[c].any())]
    if not apart:
        return np.zeros(len(columns), int)
    return columns.groupby(apart, sort=False, dropna=False).ngroup().to_numpy()


def _several(columns: pd.DataFrame) -> bool:
    return "subject" in columns and columns["subject"].nunique() > 1
