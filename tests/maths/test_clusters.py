"""Neighbours are those of scikit-learn and MNE; clusters are scipy's; what is planted is found and noise is not."""

import mne
import numpy as np
import pytest
from mne.stats import permutation_cluster_1samp_test
from scipy import stats
from scipy.ndimage import gaussian_filter, label
from scipy.signal import lfilter
from scipy.sparse import csr_array, csr_matrix
from scipy.spatial import ConvexHull
from sklearn.feature_extraction.image import grid_to_graph

from brainalign.errors import InputError, SettingsError
from brainalign.maths.clusters import Clusters, check_neighbours, cluster_test, neighbours_of_grid, neighbours_of_mesh


def without_diagonal(graph):
    dense = graph.toarray() != 0
    np.fill_diagonal(dense, False)
    return dense


def sphere(n=300, seed=0):
    """Vertices on a ball, and the triangles between them."""
    points = np.random.default_rng(seed).standard_normal((n, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points, ConvexHull(points).simplices.astype(int)


def smooth(rng, n, shape, rho=0.5, width=1.0):
    """AR(1) series on a grid, smoothed over it; (n, targets)."""
    white = rng.standard_normal((n + 30, *shape))
    wide = gaussian_filter(white, (0, *(width for _ in shape))).reshape(n + 30, -1)
    return lfilter([1], [1, -rho], wide, axis=0)[30:]


@pytest.mark.parametrize("shape", [(40,), (9, 7), (6, 5, 7)])
def test_neighbours_on_a_grid_are_scikit_learns(shape):
    rng = np.random.default_rng(0)
    mask = rng.random(shape) < 0.6
    padded = mask.reshape(shape + (1,) * (3 - len(shape)))
    expected = without_diagonal(grid_to_graph(*padded.shape, mask=padded, dtype=bool))
    places = np.argwhere(mask)
    found = neighbours_of_grid(places)
    assert found.dtype == bool
    np.testing.assert_array_equal(found.toarray(), expected)
    order = rng.permutation(len(places))
    moved = neighbours_of_grid(places[order] - 1000)  # in any order, from anywhere
    np.testing.assert_array_equal(moved.toarray(), expected[np.ix_(order, order)])


def test_grids_of_two_people_do_not_touch():
    places = np.argwhere(np.ones((3, 4)))
    one = neighbours_of_grid(places).toarray()
    both = neighbours_of_grid(np.concatenate([places, places]), np.repeat(["b", "a"], 12)).toarray()
    np.testing.assert_array_equal(both, np.kron(np.eye(2, dtype=bool), one))


def test_what_is_no_grid_is_refused():
    with pytest.raises(InputError, match=r"targets 1 and 3 are both at \(0, 1\): on a grid each has its own place"):
        neighbours_of_grid(np.array([[0, 0], [0, 1], [2, 2], [0, 1]]))
    with pytest.raises(InputError, match=r"whole numbers \(targets, axes\); found shape \(4, 3\), dtype float64"):
        neighbours_of_grid(np.zeros((4, 3)))
    with pytest.raises(InputError, match="3 group labels for 2 targets"):
        neighbours_of_grid(np.array([[0], [1]]), ["a", "a", "b"])


def test_neighbours_on_a_mesh_are_mnes():
    _, faces = sphere()
    expected = without_diagonal(mne.spatial_tris_adjacency(faces, verbose=False))
    np.testing.assert_array_equal(neighbours_of_mesh(faces, 300).toarray(), expected)
    apart = neighbours_of_mesh(np.array([[0, 1, 1]]), 3).toarray().astype(int)  # a triangle without area
    np.testing.assert_array_equal(apart, [[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    with pytest.raises(InputError, match="faces name vertices 0 to 299, of 200 numbered from 0"):
        neighbours_of_mesh(faces, 200)
    with pytest.raises(InputError, match=r"triangles \(faces, 3\) of whole numbers; found \(300, 3\), dtype float64"):
        neighbours_of_mesh(sphere()[0], 300)


def test_a_graph_of_ones_own_is_looked_at():
    own = np.array([[2.0, 0.5, 0.0], [0.5, 0.0, 1.0], [0.0, 1.0, 0.0]])
    for given in (own, own.tolist(), csr_matrix(own), csr_array(own).tocoo()):
        np.testing.assert_array_equal(check_neighbours(given, 3).toarray(), without_diagonal(csr_array(own)))
    stored = csr_array((np.array([1.0, 0.0]), ([0, 1], [1, 0])), shape=(2, 2))  # joined one way, a zero the other
    with pytest.raises(InputError, match="target 1 is a neighbour of target 0, but 0 is none of 1's"):
        check_neighbours(stored, 2)
    check_neighbours(stored.maximum(stored.T), 2)  # as the message says
    with pytest.raises(InputError, match=r"here \(4, 4\); found \(3, 3\): a graph needs a row and a column for every"):
        check_neighbours(own, 4)
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"here \(4, 4\); found \(3, 3\)"):
        cluster_test(*rng.standard_normal((2, 100, 4)), own)


def slowly(observed, null, mask, threshold):
    """Largest mass of every map, and (labels, masses) of the first, by scipy, one map at a time."""
    maps = np.concatenate([observed[None], null]).astype(float)
    z = (maps - maps.mean(0)) / maps.std(0)
    largest, first = [], None
    for one in z:
        full = np.full(mask.shape, -np.inf)
        full[mask] = one
        labels, count = label(full > threshold)
        above = np.where(labels > 0, full - threshold, 0.0)
        masses = np.array([above[labels == k].sum() for k in range(1, count + 1)])
        largest.append(masses.max(initial=0))
        first = (labels[mask], masses) if first is None else first
    return np.array(largest), *first


@pytest.mark.parametrize("shape", [(60,), (12, 11), (6, 7, 5)])
@pytest.mark.parametrize("threshold", [0.8, 2.33])
def test_clusters_are_those_of_scipy(shape, threshold):
    rng = np.random.default_rng(1)
    mask = rng.random(shape) < 0.8
    maps = gaussian_filter(rng.standard_normal((200, *shape)), (0, *(0.7 for _ in shape)))[:, mask]
    maps[0] *= 2
    observed, null = maps[0].astype(np.float32), maps[1:].astype(np.float32)
    clusters = Clusters(neighbours_of_grid(np.argwhere(mask)), threshold)
    clusters.add(slice(None), observed, null)
    found = clusters.result()
    largest, labels, masses = slowly(observed, null, mask, threshold)
    np.testing.assert_allclose(found.largest, largest[1:], atol=1e-4)
    np.testing.assert_allclose(found.clusters["mass"], np.sort(masses)[::-1], atol=1e-4)
    for number, row in found.clusters.iterrows():
        mine = found.label == number
        theirs = np.unique(labels[mine])
        assert len(theirs) == 1
        np.testing.assert_array_equal(mine, labels == theirs[0])
        assert mine.sum() == row["size"]
        assert mine[int(row["peak"])]
        p = (1 + (largest[1:] >= row["mass"] - 1e-5 * row["size"]).sum()) / 200
        np.testing.assert_allclose(found.p[mine], p)
        np.testing.assert_allclose(row["p"], p)
    assert len(found.clusters) > 0
    np.testing.assert_array_equal(found.label > 0, labels > 0)
    np.testing.assert_array_equal(found.p[found.label == 0], 1)


def test_clusters_on_a_surface_are_mnes():
    """MNE sums z itself: its sums are ours and the threshold once for each target."""
    points, faces = sphere()
    rng = np.random.default_rng(0)
    null = rng.standard_normal((999, 300)).astype(np.float32)
    observed = (1.2 * (np.sin(4 * points[:, 0]) + np.cos(5 * points[:, 1])) + rng.standard_normal(300)).astype("f4")
    clusters = Clusters(neighbours_of_mesh(faces, 300), 1.5)
    clusters.add(slice(None), observed, null)
    found = clusters.result()
    maps = np.vstack([observed, null]).astype(float)
    z = ((maps - maps.mean(0)) / maps.std(0))[0]
    _, masks, _, _ = permutation_cluster_1samp_test(
        np.stack([z, z]),
        threshold=1.5,
        n_permutations=1,
        tail=1,
        adjacency=mne.spatial_tris_adjacency(faces, verbose=False),
        stat_fun=lambda x: x.mean(0),
        out_type="mask",
        verbose=False,
    )
    theirs = sorted(([z[one].sum() - 1.5 * one.sum(), *np.flatnonzero(one)] for one in masks), reverse=True)
    assert len(theirs) > 5
    for number, (mass, *members) in enumerate(theirs, start=1):
        np.testing.assert_array_equal(np.flatnonzero(found.label == number), members)
        assert found.clusters["mass"][number] == pytest.approx(mass, abs=1e-4)
        assert found.clusters["peak"][number] == members[np.argmax(z[members])]


def test_some_targets_at_a_time_are_all_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    places = np.argwhere(np.ones((10, 10)))
    graph = neighbours_of_grid(places)
    y, yhat = smooth(rng, 200, (10, 10)), smooth(rng, 200, (10, 10))
    whole = {how: cluster_test(y, yhat, graph, n=99, threshold=1.5, how=how) for how in ("shift", "blocks")}
    monkeypatch.setattr("brainalign.maths.inference.NUMBERS_TOGETHER", 1400)
    monkeypatch.setattr("brainalign.maths.clusters.ENTRIES_TOGETHER", 50)
    for how, once in whole.items():
        apart = cluster_test(y, yhat, graph, n=99, threshold=1.5, how=how)
        np.testing.assert_array_equal(apart.label, once.label)
        np.testing.assert_allclose(apart.p, once.p)
        np.testing.assert_allclose(apart.largest, once.largest, rtol=1e-5)
    null, observed = rng.standard_normal((99, 100)).astype(np.float32), rng.standard_normal(100) + 1
    results = []
    for batches in ([np.arange(100)], np.split(rng.permutation(100), 4)):
        clusters = Clusters(graph, 1.5)
        for which in batches:
            clusters.add(which, observed[which], null[:, which])
        results.append(clusters.result())
    np.testing.assert_array_equal(results[0].label, results[1].label)
    np.testing.assert_allclose(results[0].p, results[1].p)


def test_only_what_is_above_the_threshold_is_kept():
    rng = np.random.default_rng(0)
    clusters = Clusters(neighbours_of_grid(np.arange(500)[:, None]))
    clusters.add(slice(None), np.zeros(500), rng.standard_normal((1000, 500)).astype(np.float32))
    kept = sum(len(part[0]) for part in clusters._chance)
    assert kept == pytest.approx(500_000 * stats.norm.sf(2.33), rel=0.06)  # four standard errors


def test_a_planted_blob_is_found_whole_and_scattered_targets_are_not():
    """One correlation everywhere: 27 targets together, and 8 alone in the same smooth noise."""
    rng = np.random.default_rng(4)
    shape = (14, 14, 8)
    places = np.argwhere(np.ones(shape))
    noise = smooth(rng, 400, shape, width=1.5)
    y = noise / noise.std(0)
    yhat = lfilter([1], [1, -0.5], rng.standard_normal((430, len(places))), axis=0)[30:]
    yhat = gaussian_filter(yhat.reshape(-1, *shape), (0, 1.5, 1.5, 1.5)).reshape(400, -1)
    yhat /= yhat.std(0)
    blob = ((places >= 2) & (places < 5)).all(1)
    alone = np.flatnonzero(((places[:, :2] >= 7) & (places[:, :2] % 4 == 0)).all(1) & (places[:, 2] % 4 == 2))
    planted = blob.copy()
    planted[alone] = True
    y[:, planted] += 0.4 * yhat[:, planted]
    found = cluster_test(y, yhat, neighbours_of_grid(places), n=199, seed=1)
    assert len(alone) == 8
    assert (found.label[blob] == 1).all()
    assert (found.p[blob] == 1 / 200).all()
    assert found.clusters["size"][1] < 2 * blob.sum()  # with neighbours that noise lifts over the threshold
    assert blob[found.clusters["peak"][1]]
    assert (found.label[alone] > 0).mean() > 0.7  # most are above the threshold as well
    assert found.p[alone].min() > 0.05


def test_what_never_varies_never_clusters():
    rng = np.random.default_rng(0)
    y, yhat = rng.standard_normal((2, 200, 9))
    yhat[:, :6] = y[:, :6] + rng.standard_normal((200, 6))
    yhat[:, 2] = 0.1  # cuts the chain
    found = cluster_test(y, yhat, neighbours_of_grid(np.arange(9)[:, None]), n=99)
    assert found.label[[0, 1, 3, 4, 5]].tolist() == [2, 2, 1, 1, 1]
    assert found.label[2] == 0
    assert found.p[2] == 1
    null = rng.standard_normal((99, 4)).astype(np.float32)
    null[:, 0], null[3, 1] = 0.1, np.nan
    clusters = Clusters(np.ones((4, 4)))
    clusters.add(slice(None), np.array([0.1, 9.0, np.nan, 9.0]), null)
    np.testing.assert_array_equal(clusters.result().label, [0, 0, 0, 1])
    nothing = Clusters(np.ones((4, 4)))
    nothing.add(slice(None), np.zeros(4), np.zeros((9, 4), np.float32))
    found = nothing.result()
    assert len(found.clusters) == 0
    np.testing.assert_array_equal(found.p, 1)
    np.testing.assert_array_equal(found.largest, 0)


def test_p_has_a_floor_and_counts_a_rearrangement_that_is_no_other():
    rng = np.random.default_rng(0)
    null = rng.standard_normal((19, 3)).astype(np.float32)
    chain = neighbours_of_grid(np.arange(3)[:, None])
    first = Clusters(chain, 1.0)
    first.add(slice(None), np.full(3, 9.0), null)
    assert first.result().p.tolist() == [1 / 20] * 3
    null[4] = 9.0  # one rearrangement gives the very same map
    second = Clusters(chain, 1.0)
    second.add(slice(None), np.full(3, 9.0), null)
    assert second.result().p.tolist() == [2 / 20] * 3


def test_targets_come_once_and_all_of_them():
    clusters = Clusters(np.ones((5, 5)))
    null = np.random.default_rng(0).standard_normal((19, 5)).astype(np.float32)
    clusters.add(slice(0, 2), np.zeros(2), null[:, :2])
    with pytest.raises(InputError, match="3 of 5 targets were never added, such as target 2"):
        clusters.result()
    with pytest.raises(InputError, match="target 1 was added before: each target comes once"):
        clusters.add(np.array([1, 2]), np.zeros(2), null[:, :2])
    with pytest.raises(InputError, match="18 rearrangements after 19: all targets are rearranged alike"):
        clusters.add(slice(2, 5), np.zeros(3), null[1:, :3])
    with pytest.raises(InputError, match=r"3 targets need as many observed values.*; found 2 and \(19, 3\)"):
        clusters.add(slice(2, 5), np.zeros(2), null[:, :3])
    for threshold in (0, -1.0, np.nan):
        with pytest.raises(SettingsError, match="threshold of clusters is a z above zero"):
            Clusters(np.ones((5, 5)), threshold)
    with pytest.raises(InputError, match=r"one shape; found \(9, 2\) and \(9, 3\)"):
        cluster_test(np.zeros((9, 2)), np.zeros((9, 3)), np.ones((2, 2)))


def false_alarms(data_sets, seed=0):
    """In how many of the data sets any cluster has p at most .05: AR(0.5) noise smoothed over 8 × 8 × 3 targets."""
    rng = np.random.default_rng(seed)
    shape = (8, 8, 3)
    graph = neighbours_of_grid(np.argwhere(np.ones(shape)))
    found = 0
    for k in range(data_sets):
        y, yhat = smooth(rng, 250, shape), smooth(rng, 250, shape)
        found += cluster_test(y, yhat, graph, n=99, seed=k).p.min() <= 0.05
    return found


def test_false_alarms_of_the_family():
    """200 data sets: as many as the binomial's 99.8 % allow."""
    assert stats.binom.ppf(0.001, 200, 0.05) <= false_alarms(200) <= stats.binom.ppf(0.999, 200, 0.05)


@pytest.mark.verify
def test_false_alarms_of_the_family_in_two_thousand():
    assert 0.02 <= false_alarms(2000, seed=1) / 2000 <= 0.065
