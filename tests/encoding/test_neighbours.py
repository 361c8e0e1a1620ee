"""Which targets are neighbours is read off their table; scikit-learn and MNE agree."""

import mne
import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.image import grid_to_graph

from brainalign.encoding.neighbours import neighbours
from brainalign.errors import InputError


def without_diagonal(graph):
    dense = graph.toarray() != 0
    np.fill_diagonal(dense, False)
    return dense


@pytest.fixture
def mask():
    return np.random.default_rng(0).random((6, 5, 4)) < 0.6


def voxels(mask, spacing=(2.0, 2.0, 3.3), origin=(-90.0, 12.5, 0.1)):
    """A table as `read_fmri` makes it."""
    ijk = np.argwhere(mask)
    return pd.DataFrame(
        {**dict(zip("ijk", ijk.T, strict=True)), **dict(zip("xyz", (ijk * spacing + origin).T, strict=True))}
    )


def test_voxels_by_index(mask):
    table = voxels(mask)
    expected = without_diagonal(grid_to_graph(6, 5, 4, mask=mask, dtype=bool))
    found = neighbours(table)
    np.testing.assert_array_equal(found.graph.toarray(), expected)
    assert found.rule == "voxels that share a face (i, j, k)"
    whole = neighbours(table[["i", "j", "k"]].astype(float).assign(roi="V1"))  # as read back from a table
    np.testing.assert_array_equal(whole.graph.toarray(), expected)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1)])
def test_voxels_by_place(mask, signs):
    rng = np.random.default_rng(1)
    table = voxels(mask, spacing=np.multiply(signs, (2.0, 2.0, 3.3)))[["x", "y", "z"]]
    expected = without_diagonal(grid_to_graph(6, 5, 4, mask=mask, dtype=bool))
    jitter = rng.uniform(-0.004, 0.004, table.shape)  # an affine in float32, rounded on its way through a table
    for given in (table, table.astype("float32"), table + jitter):
        found = neighbours(given)
        np.testing.assert_array_equal(found.graph.toarray(), expected)
        assert found.rule == "voxels that share a face (x, y, z on a grid)"


def test_the_spacing_of_a_long_axis_is_not_that_of_its_first_step():
    x = np.arange(200) * 1.6 + np.random.default_rng(0).uniform(-0.004, 0.004, 200)
    found = neighbours(pd.DataFrame({"x": x, "y": 0.0, "z": 0.0}))
    assert found.graph.nnz == 2 * 199
    gap = neighbours(pd.DataFrame({"x": np.delete(x, slice(50, 53)), "y": 0.0, "z": 0.0}))
    assert gap.graph.nnz == 2 * 195  # nobody is a neighbour across what is missing


def test_people_are_never_neighbours(mask):
    one = voxels(mask)
    other = voxels(np.roll(mask, 1, axis=0), spacing=(3.0, 2.5, 1.5), origin=(0.7, 0.3, 0.2))  # another native space
    both = pd.concat([one.assign(subject="01"), other.assign(subject="02")], ignore_index=True)
    for axes in (["i", "j", "k"], ["x", "y", "z"]):
        found = neighbours(both[["subject", *axes]])
        assert found.rule.endswith(", within each of 2 people")
        expected = [neighbours(table[axes]).graph.toarray() for table in (one, other)]
        n = len(one)
        np.testing.assert_array_equal(found.graph.toarray()[:n, :n], expected[0])
        np.testing.assert_array_equal(found.graph.toarray()[n:, n:], expected[1])
        assert found.graph[:n, n:].nnz == 0


def test_lags_of_one_electrode():
    lags = np.array([0.4, -0.2, 0.1 + 0.2, 0.0])  # next to each other in time, not in the table
    table = pd.DataFrame(
        {"electrode": np.repeat(["G1", "G2"], 4), "x": np.repeat([1.1, 9.2], 4), "lag": np.tile(lags, 2)}
    )
    found = neighbours(table)
    assert found.rule == "neighbouring lags of one target"
    pairs = {tuple(pair) for pair in np.argwhere(found.graph.toarray()).tolist()}
    expected = {(1, 3), (3, 2), (2, 0), (5, 7), (7, 6), (6, 4)}
    assert pairs == expected | {(b, a) for a, b in expected}
    shorter = neighbours(table.drop(index=3))  # G1 has no lag of 0, which G2 has
    assert shorter.graph.nnz == len(pairs) - 4
    rounded = neighbours(table.assign(lag=np.where(table["electrode"] == "G1", 0.3, 0.1 + 0.2) + table.index % 4))
    assert rounded.graph.nnz == 12  # 0.1 + 0.2 is 0.3
    regions = neighbours(pd.DataFrame({"roi": ["A", "A", "B"], "lag": [0.0, 0.2, 0.2]}))
    assert regions.graph.toarray().astype(int).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]


def test_electrodes_anywhere_have_lags_only():
    places = np.random.default_rng(0).uniform(-60, 60, (20, 3))
    table = pd.DataFrame(np.repeat(places, 3, axis=0), columns=list("xyz")).assign(
        electrode=np.repeat(np.arange(20), 3), lag=np.tile([0.0, 0.2, 0.4], 20)
    )
    assert neighbours(table).graph.nnz == 20 * 2 * 2
    alone = neighbours(table[table["lag"] == 0].drop(columns="lag"))
    assert alone.graph is None
    assert alone.rule == "x: targets do not lie on a grid along the axes"
    whole = neighbours(pd.DataFrame(np.round(places), columns=list("xyz")))  # on a grid of 1 mm, and never 1 mm apart
    assert whole.graph is None
    assert whole.rule == "voxels that share a face (x, y, z on a grid): no two targets are so"


def test_voxels_at_several_lags_are_mnes_lattice(mask):
    table = voxels(mask)
    n = len(table)
    space = grid_to_graph(6, 5, 4, mask=mask, dtype=bool)
    expected = without_diagonal(mne.stats.combine_adjacency(3, space))
    several = pd.concat([table.assign(lag=lag) for lag in (0.0, 0.2, 0.4)], ignore_index=True)
    found = neighbours(several)
    np.testing.assert_array_equal(found.graph.toarray(), expected)
    assert found.rule == "voxels that share a face (i, j, k) or neighbouring lags of one voxel"
    assert found.graph[:n, 2 * n :].nnz == 0


def test_bands_of_one_place_are_kept_apart(mask):
    table = voxels(mask).assign(roi=np.where(np.arange(mask.sum()) % 2, "V1", "V2"))
    one = neighbours(table).graph.toarray()  # across the border of regions
    assert one.any()
    both = pd.concat([table.assign(frequency=f) for f in ("theta", "gamma")], ignore_index=True)
    np.testing.assert_array_equal(neighbours(both).graph.toarray(), np.kron(np.eye(2, dtype=bool), one))
    with pytest.raises(InputError, match=r"targets \d+ and \d+ are both at"):
        neighbours(pd.concat([table, table], ignore_index=True))


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        ({"roi": ["A", "B"], "subject": ["1", "1"]}, "roi: regions are not neighbours"),
        ({"electrode": ["A", "B"]}, "electrode: says nothing of place or lag"),
        ({"subject": ["1", "1"]}, "no column: says nothing of place or lag"),
        ({"i": [0, 1], "j": [0, 0], "k": [0.5, 0.5]}, "i, j, k: not whole numbers for every target"),
        ({"i": [0, 1], "j": [0, 0], "k": [0, np.nan]}, "i, j, k: not whole numbers for every target"),
        ({"x": [0, np.nan], "y": [0, 0], "z": [0, 0]}, "x, y, z: not known for every target"),
        ({"roi": ["A", "B"], "lag": [0.1, 0.1]}, "neighbouring lags of one target: no two targets are so"),
    ],
)
def test_why_there_are_none(table, rule):
    found = neighbours(pd.DataFrame(table))
    assert found.graph is None
    assert found.rule == rule


def test_a_lag_is_a_number():
    with pytest.raises(InputError, match=r"lag \(s\) of target 1 is 'late': every target's has to be a number"):
        neighbours(pd.DataFrame({"roi": ["A", "A"], "lag": [0.1, "late"]}))
