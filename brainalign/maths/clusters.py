"""Which neighbouring targets are found together, and could so much in one place be chance?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from brainalign.errors import InputError, SettingsError

THRESHOLD = 2.33  # z: one-sided .01
ENTRIES_TOGETHER = 500_000  # above the threshold, whose neighbours are looked up at a time
CONSTANT = 1e-12  # of the mean square: a variance that is rounding of float32
ROUNDING = 1e-5  # of a target's z, r being float32


@dataclass(frozen=True, eq=False)
class ClusterResult:
    """Clusters of neighbouring targets, with family-wise p.

    Parameters
    ----------
    label : array (n_targets,) int
        Which cluster a target belongs to: 1, 2, … from the largest mass down, 0 where none.
    p : array (n_targets,)
        Family-wise p of that cluster; 1 where none. It says that the cluster is not chance, not which of its targets.
    clusters : DataFrame, one row per cluster, indexed by its label
        `size` (targets), `mass`, `p`, and `peak`, the target that is highest.
    largest : array (n,)
        Mass of the largest cluster of every rearrangement; 0 where there was none.
    """

    label: np.ndarray
    p: np.ndarray
    clusters: pd.DataFrame
    largest: np.ndarray


class Clusters:
    """Gathers what is above a threshold, some targets at a time, and finds the clusters in it.

    Each target's r becomes z = (r − mean) / SD over its rearrangements, the one observed among them, so that the map
    observed is treated as every other and targets whose nulls differ can be compared. Only what is above the threshold
    is kept: 12 bytes for about 1 % of the numbers.

    The mass of a cluster is Σ (z − threshold) over its targets, what rises above the threshold (Bullmore et al. 1999);
    Maris & Oostenveld (2007) sum z itself, which gives size more weight. Only correlations above zero make clusters.

    Parameters
    ----------
    neighbours : sparse or dense array (n_targets, n_targets)
        What is not zero joins two targets (`check_neighbours`).
    threshold : float
        Above which z a target belongs to a cluster.

    Raises
    ------
    SettingsError
        A threshold that is not above zero.
    InputError
        Neighbours that `check_neighbours` refuses.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> chain = neighbours_of_grid(np.arange(6)[:, None])
    >>> clusters = Clusters(chain)
    >>> observed = np.array([0.0, 0.5, 0.6, 0.0, -0.7, 0.0])
    >>> null = rng.normal(0, 0.1, (999, 6)).astype(np.float32)
    >>> clusters.add(slice(0, 4), observed[:4], null[:, :4])
    >>> clusters.add(slice(4, 6), observed[4:], null[:, 4:])
    >>> clusters.result().p
    array([1.   , 0.001, 0.001, 1.   , 1.   , 1.   ])
    """

    def __init__(self, neighbours: Any, threshold: float = THRESHOLD) -> None:
        if not (np.isfinite(threshold) and threshold > 0):
            raise SettingsError(
                f"the threshold of clusters is a z above zero, such as {THRESHOLD} (one-sided .01); found {threshold}"
            )
        graph: Any = csr_array(neighbours)
        self.neighbours = check_neighbours(graph, graph.shape[0])
        self.threshold = threshold
        self._seen = np.zeros(graph.shape[0], bool)
        self._found: list[tuple[np.ndarray, np.ndarray]] = []  # targets, what is above the threshold
        self._chance: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # the same, with the rearrangement before
        self._n = 0

    def add(self, targets: slice | np.ndarray, observed: np.ndarray, null: np.ndarray) -> None:
        """Take in some targets.

        Parameters
        ----------
        targets : slice or array (b,) int
            Which they are.
        observed : array (b,)
            Their r. A target that is NaN, here or in its null, or whose null is constant, belongs to no cluster.
        null : array (n, b), float32
            Their r in every rearrangement, the same ones for all targets.

        Raises
        ------
        InputError
            Shapes that do not agree, or a target that was there before.
        """
        which = np.arange(len(self._seen))[targets]
        if null.shape != (len(null), len(which)) or len(observed) != len(which) or not len(null):
            raise InputError(
                f"{len(which)} targets need as many observed values, and a null (rearrangements, targets); found "
                f"{len(observed)} and {null.shape}"
            )
        if self._n not in (0, len(null)):
            raise InputError(f"{len(null)} rearrangements after {self._n}: all targets are rearranged alike")
        if self._seen[which].any():
            raise InputError(f"target {which[self._seen[which]][0]} was added before: each target comes once")
        self._n = len(null)
        self._seen[which] = True
        observed = np.asarray(observed, null.dtype)  # rounded as the null is
        mean, sd = _mean_and_sd(observed, null)
        limit = (mean + self.threshold * sd).astype(null.dtype)  # NaN: nothing is above it
        at = np.flatnonzero(observed > limit)
        self._found.append((which[at], self._above(observed[at], mean[at], sd[at])))
        rows, at = np.nonzero(null > limit)
        above = self._above(null[rows, at], mean[at], sd[at])
        self._chance.append((rows.astype(np.int32), which[at].astype(np.int32), above))

    def _above(self, r: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
        return ((r - mean) / sd - self.threshold).astype(np.float32)

    def result(self) -> ClusterResult:
        """Find the clusters among all targets, and p = (1 + #{largest mass of a rearrangement ≥ mass}) / (1 + n).

        Raises
        ------
        InputError
            Some targets were never added.
        """
        missing = np.flatnonzero(~self._seen)
        if len(missing):
            raise InputError(
                f"{len(missing)} of {len(self._seen)} targets were never added, such as target {missing[0]}: clusters "
                "are found among all of them"
            )
        largest = self._largest()
        targets, above = (np.concatenate(part) for part in zip(*self._found, strict=True))
        order = np.argsort(targets)
        targets, above = targets[order], above[order]
        own = self._components(np.zeros(len(targets), int), targets)
        mass, size = np.bincount(own, above), np.bincount(own)
        by_mass = np.argsort(-mass, kind="stable")
        peaks = np.lexsort((-above, own))[np.cumsum(size) - size]
        slack = ROUNDING * size  # equal up to rounding is as large: the map observed may be one of the null's
        as_large = len(largest) - np.searchsorted(np.sort(largest), mass - slack)
        p = (1 + as_large) / (1 + len(largest))
        table = pd.DataFrame({"size": size, "mass": mass, "p": p, "peak": targets[peaks]}).iloc[by_mass]
        rank = np.empty(len(mass), int)
        rank[by_mass] = np.arange(1, len(mass) + 1)
        label, of_target = np.zeros(len(self._seen), int), np.ones(len(self._seen))
        label[targets], of_target[targets] = rank[own], p[own]
        table.index = pd.Index(np.arange(1, len(mass) + 1), name="cluster")
        return ClusterResult(label, of_target, table, largest)

    def _largest(self) -> np.ndarray:
        """(n,) mass of the largest cluster of every rearrangement."""
        rows, targets, above = (np.concatenate(part) for part in zip(*self._chance, strict=True))
        order = np.lexsort((targets, rows))
        rows, targets, above = rows[order], targets[order], above[order]
        largest = np.zeros(self._n)
        step = max(1, ENTRIES_TOGETHER * self._n // max(len(rows), 1))
        for first in range(0, self._n, step):  # whole rearrangements
            part = slice(*np.searchsorted(rows, [first, first + step]))
            label = self._components(rows[part], targets[part])
            mass = np.bincount(label, above[part])
            whose = np.zeros(len(mass), int)
            whose[label] = rows[part]
            np.maximum.at(largest, whose, mass)
        return largest

    def _components(self, rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Which component each entry belongs to; entries are sorted by rearrangement, then target."""
        from scipy.sparse.csgraph import connected_components

        if not len(targets):
            return np.zeros(0, int)
        n_targets = len(self._seen)
        key = rows.astype(np.int64) * n_targets + targets
        begin = self.neighbours.indptr[targets]
        degree = self.neighbours.indptr[targets + 1] - begin
        entry = np.repeat(np.arange(len(key)), degree)
        nth = np.arange(len(entry)) - np.repeat(np.cumsum(degree) - degree, degree)
        beside = rows[entry].astype(np.int64) * n_targets + self.neighbours.indices[begin[entry] + nth]
        later = beside > key[entry]  # every pair once
        entry, beside = entry[later], beside[later]
        at = np.minimum(np.searchsorted(key, beside), len(key) - 1)
        there = key[at] == beside
        graph = csr_array((np.ones(there.sum(), bool), (entry[there], at[there])), shape=(len(key), len(key)))
        return connected_components(graph, directed=False)[1]


def cluster_test(
    y: np.ndarray,
    yhat: np.ndarray,
    neighbours: Any,
    n: int = 1000,
    threshold: float = THRESHOLD,
    block: int | None = None,
    run: np.ndarray | None = None,
    seed: int = 0,
    how: str = "shift",
) -> ClusterResult:
    """Family-wise p of clusters of neighbouring targets with r > 0, for one untouched test set.

    As `max_statistic`, with the largest cluster mass in place of the highest r: more is found where effects are wide
    and weak, less where a single target stands alone. Not for K-fold predictions (`permutation_test` says why).

    Parameters
    ----------
    y, yhat : array (n_samples, n_targets)
    neighbours : sparse or dense array (n_targets, n_targets)
        Such as `neighbours_of_grid` and `neighbours_of_mesh` make.
    n, block, run, seed, how
        As for `permutation_test`. Over a family of targets "blocks" is liberal: .08 for .05 where "shift" gives .05
        (AR(0.5), 250 samples; `max_statistic` alike).
    threshold : float
        Above which z a target belongs to a cluster; 2.33 is one-sided .01. To be chosen before looking.

    Returns
    -------
    ClusterResult

    Raises
    ------
    InputError
        Neighbours of another number of targets, and what `permutation_test` raises.

    References
    ----------
    Bullmore et al. (1999), IEEE Transactions on Medical Imaging 18; Maris & Oostenveld (2007), Journal of Neuroscience
    Methods 164.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> places = np.argwhere(np.ones((5, 5, 5)))
    >>> y, yhat = rng.standard_normal((2, 300, 125))
    >>> inside = (places < 2).all(1)
    >>> y[:, inside] += 0.4 * yhat[:, inside]
    >>> found = cluster_test(y, yhat, neighbours_of_grid(places), n=199)
    >>> int(found.clusters["size"][1]), float(found.clusters["p"][1]), bool((found.label[inside] == 1).all())
    (8, 0.005, True)
    """
    from brainalign.maths import inference

    clusters = Clusters(check_neighbours(neighbours, np.shape(y)[-1]), threshold)
    for targets, observed, null in inference.rearranged_r(y, yhat, n, block, run, seed, how):
        clusters.add(targets, observed, null)
    return clusters.result()


def neighbours_of_grid(places: np.ndarray, group: np.ndarray | None = None) -> csr_array:
    """Which targets on a grid share a face: one step apart along one axis, at the same place along the others.

    Parameters
    ----------
    places : array (n_targets, n_axes) int
        Voxel indices i, j, k, or steps along any other axes. In any order; places may be missing, as outside a mask.
    group : array (n_targets,), optional
        Targets of different groups (people) are never neighbours, and may be at the same place.

    Returns
    -------
    csr_array (n_targets, n_targets) bool
        Symmetric, with an empty diagonal: at most 6 neighbours in a volume.

    Raises
    ------
    InputError
        Places that are not whole numbers, or two targets at one place.

    Examples
    --------
    >>> neighbours_of_grid(np.array([[0, 0], [0, 1], [1, 1], [5, 5]])).toarray().astype(int)
    array([[0, 1, 0, 0],
           [1, 0, 1, 0],
           [0, 1, 0, 0],
           [0, 0, 0, 0]])
    """
    places = np.asarray(places)
    if places.ndim != 2 or not np.issubdtype(places.dtype, np.integer):
        raise InputError(
            f"places on a grid are whole numbers (targets, axes); found shape {places.shape}, dtype {places.dtype}"
        )
    n_targets, n_axes = places.shape
    labels = np.zeros(n_targets, int) if group is None else np.unique(np.asarray(group), return_inverse=True)[1]
    if len(labels) != n_targets:
        raise InputError(f"{len(labels)} group labels for {n_targets} targets: one per target")
    keys = np.column_stack([labels, places.astype(np.int64)])
    pairs = []
    for axis in range(1, n_axes + 1):  # sorted with this axis running fastest, neighbours along it follow each other
        order = np.lexsort([keys[:, axis], *(keys[:, other] for other in range(n_axes + 1) if other != axis)])
        apart = np.diff(keys[order], axis=0)
        step = apart[:, axis].copy()
        apart[:, axis] = 0
        along = ~apart.any(1)
        twice = np.flatnonzero(along & (step == 0))
        if len(twice):
            one, other = sorted(order[[twice[0], twice[0] + 1]].tolist())
            raise InputError(
                f"targets {one} and {other} are both at {tuple(places[one].tolist())}: on a grid each has its own place"
            )
        at = np.flatnonzero(along & (step == 1))
        pairs.append(np.stack([order[at], order[at + 1]]))
    one, other = np.concatenate(pairs, axis=1)
    return _graph(np.r_[one, other], np.r_[other, one], n_targets)


def neighbours_of_mesh(faces: np.ndarray, n_vertices: int) -> csr_array:
    """Which vertices of a surface share an edge.

    For part of a surface take those rows and columns: ``neighbours[kept][:, kept]``.

    Parameters
    ----------
    faces : array (n_faces, 3) int
        The three vertices of every triangle.
    n_vertices : int

    Returns
    -------
    csr_array (n_vertices, n_vertices) bool
        Symmetric, with an empty diagonal.

    Raises
    ------
    InputError
        Faces that are not triangles of these vertices.

    Examples
    --------
    >>> neighbours_of_mesh(np.array([[0, 1, 2], [1, 2, 3]]), 4).toarray().astype(int)
    array([[0, 1, 1, 0],
           [1, 0, 1, 1],
           [1, 1, 0, 1],
           [0, 1, 1, 0]])
    """
    faces = np.asarray(faces)
    if faces.ndim != 2 or faces.shape[1] != 3 or not np.issubdtype(faces.dtype, np.integer):
        raise InputError(f"faces are triangles (faces, 3) of whole numbers; found {faces.shape}, dtype {faces.dtype}")
    if faces.size and not (faces.min() >= 0 and faces.max() < n_vertices):
        raise InputError(
            f"faces name vertices {faces.min()} to {faces.max()}, of {n_vertices} numbered from 0: give the mesh the "
            "targets are on"
        )
    one, other = np.concatenate([faces[:, [a, b]] for a in range(3) for b in range(3) if a != b]).T
    edge = one != other
    return _graph(one[edge], other[edge], n_vertices)


def check_neighbours(neighbours: Any, n_targets: int) -> csr_array:
    """A graph of neighbours as it is used: csr of truth values, no target its own neighbour.

    Parameters
    ----------
    neighbours : sparse or dense array (n_targets, n_targets)
        What is not zero joins two targets; the diagonal is left out (scikit-learn's and MNE's graphs have one).
    n_targets : int

    Raises
    ------
    InputError
        Another shape, or a target that is the neighbour of one that is not its.

    Examples
    --------
    >>> check_neighbours([[1, 1], [1, 1]], 2).toarray().astype(int)
    array([[0, 1],
           [1, 0]])
    """
    graph = csr_array(neighbours)
    if graph.shape != (n_targets, n_targets):
        raise InputError(
            f"neighbours are (targets, targets), here {(n_targets, n_targets)}; found {graph.shape}: a graph needs a "
            "row and a column for every target, in their order"
        )
    first, second = graph.nonzero()  # leaves out zeros that are stored
    apart = first != second
    joined = _graph(first[apart], second[apart], n_targets)
    back = joined.T.tocsr()
    if not (np.array_equal(joined.indptr, back.indptr) and np.array_equal(joined.indices, back.indices)):
        one, other = (int(found[0]) for found in (joined > back).nonzero())
        raise InputError(
            f"target {other} is a neighbour of target {one}, but {one} is none of {other}'s: neighbours are mutual; "
            "give graph.maximum(graph.T)"
        )
    return joined


def _graph(rows: np.ndarray, columns: np.ndarray, n: int) -> csr_array:
    """Pairs of neighbours, some of them perhaps there twice, in canonical order."""
    graph = csr_array((np.ones(len(rows), bool), (rows, columns)), shape=(n, n))
    graph.sum_duplicates()
    return graph


def _mean_and_sd(observed: np.ndarray, null: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Over the rearrangements (n, b) and what was observed (b,), float64; an SD that is rounding is NaN."""
    n = 1 + len(null)
    own = observed.astype(float)
    mean = (null.sum(0, dtype=float) + own) / n
    power = (np.einsum("ij,ij->j", null, null, dtype=float) + own**2) / n
    variance = power - mean**2
    return mean, np.sqrt(np.where(variance > CONSTANT * power, variance, np.nan))
