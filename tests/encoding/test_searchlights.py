"""Searchlights are nilearn's in a volume and a plain search's along a surface; categories are decoded from them."""

import heapq
from itertools import islice

import nibabel
import numpy as np
import pandas as pd
import pytest

from brainalign.design.clean import clean
from brainalign.design.conditions import condition_means
from brainalign.encoding.searchlights import edge_lengths, regions, searchlights
from brainalign.errors import InputError, SettingsError
from brainalign.io.fetch import sample_path
from brainalign.io.fmri import read_fmri
from brainalign.io.transcripts import read_events
from brainalign.signals import Signal


def found(lights):
    return {light.centre: light.members.tolist() for light in lights}


def grid(shape=(7, 6, 5), spacing=(3.5, 3.75, 3.75), seed=0):
    """Voxels of a mask, and the mask's image."""
    mask = np.random.default_rng(seed).random(shape) < 0.7
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-40, 12.5, 7]
    affine[0, 1] = 0.8  # not quite along the axes
    place = np.argwhere(mask) @ affine[:3, :3].T + affine[:3, 3]
    return pd.DataFrame(place, columns=["x", "y", "z"]), nibabel.Nifti1Image(mask.astype(np.int8), affine)


@pytest.mark.parametrize("radius", [3.6, 6.0, 7.5])  # 7.5: exactly two voxels along z
def test_balls_are_nilearns(radius):
    from nilearn.maskers.nifti_spheres_masker import apply_mask_and_get_affinity

    columns, mask = grid()
    centres = [tuple(place) for place in columns.to_numpy()]
    _, expected = apply_mask_and_get_affinity(centres, None, radius + 1e-6, True, mask)
    lights = searchlights(columns, radius)
    assert len(lights) == len(columns)
    assert found(lights) == {k: sorted(row) for k, row in enumerate(expected.rows)}


def icosphere(times=2, radius=20.0):
    """An icosahedron, every triangle cut into four so many times, on a ball."""
    golden = (1 + 5**0.5) / 2
    corners = [(0.0, a, b * golden) for a in (-1, 1) for b in (-1, 1)]
    points = [np.roll(corner, k) for k in range(3) for corner in corners]
    near = [{j for j in range(12) if 0 < np.linalg.norm(points[i] - points[j]) < 2.1} for i in range(12)]
    faces = [(i, j, k) for i in range(12) for j in near[i] if j > i for k in near[i] & near[j] if k > j]
    for _ in range(times):
        middle, finer = {}, []
        for face in faces:
            cut = []
            for a, b in ((0, 1), (1, 2), (2, 0)):
                edge = tuple(sorted((face[a], face[b])))
                if edge not in middle:
                    middle[edge] = len(points)
                    points.append((points[edge[0]] + points[edge[1]]) / 2)
                cut.append(middle[edge])
            finer += [(face[0], cut[0], cut[2]), (face[1], cut[1], cut[0]), (face[2], cut[2], cut[1]), tuple(cut)]
        faces = finer
    coordinates = np.array(points)
    return radius * coordinates / np.linalg.norm(coordinates, axis=1, keepdims=True), np.array(faces)


def reached(coordinates, faces, start, radius):
    """Vertices within a distance along edges, by plain search."""
    beside = {}
    for face in faces.tolist():
        for a in face:
            beside.setdefault(a, set()).update(set(face) - {a})
    best, waiting = {}, [(0.0, start)]
    while waiting:
        far, vertex = heapq.heappop(waiting)
        if vertex in best or far > radius:
            continue
        best[vertex] = far
        for other in beside[vertex]:
            heapq.heappush(waiting, (far + float(np.linalg.norm(coordinates[vertex] - coordinates[other])), other))
    return set(best)


@pytest.mark.parametrize("radius", [4.0, 9.0, 17.0])
def test_discs_are_those_of_a_plain_search(radius):
    coordinates, faces = icosphere()
    assert coordinates.shape == (162, 3)
    rng = np.random.default_rng(0)
    kept = rng.permutation(162)[:120]  # some vertices have no column, and columns are in no order
    columns = pd.DataFrame({"hemisphere": "L", "vertex": kept})
    place = {vertex: k for k, vertex in enumerate(kept.tolist())}
    lights = searchlights(columns, radius, mesh={"L": (coordinates, faces)})
    for light in lights:
        near = reached(coordinates, faces, int(kept[light.centre]), radius)
        assert light.members.tolist() == sorted(place[v] for v in near if v in place)
    assert len(lights) == 120


def test_nothing_crosses_people_or_hemispheres_or_leaves_the_surface():
    coordinates, faces = icosphere(1)
    both = {"L": (coordinates, faces), "R": (coordinates * [-1, 1, 1], faces)}
    surface = pd.DataFrame({"hemisphere": np.repeat(["L", "R"], 42), "vertex": [*range(42)] * 2})
    volume = pd.DataFrame(coordinates[:10], columns=["x", "y", "z"]).assign(structure="thalamus")
    one = pd.concat([surface, volume], ignore_index=True)
    two = pd.concat([one.assign(subject="b"), one.assign(subject="a")], ignore_index=True)
    two = two.sample(frac=1, random_state=0, ignore_index=True)
    kind = two["subject"] + two["hemisphere"].fillna("volume")
    lights = list(searchlights(two, 100.0, mesh=both))  # all that may be together is
    assert len(lights) == len(two)
    for light in lights:
        assert light.members.tolist() == np.flatnonzero(kind == kind[light.centre]).tolist()
    plain = searchlights(two.drop(columns=["hemisphere", "vertex"]).dropna(subset="x"), 100.0)
    assert {len(light.members) for light in plain} == {10}


def test_small_ones_are_left_out_and_the_first_is_there_at_once(monkeypatch):
    columns, _ = grid()
    all_of_them = found(searchlights(columns, 4.0))
    few = searchlights(columns, 4.0, minimum=5)
    kept = {k: members for k, members in all_of_them.items() if len(members) >= 5}
    assert 0 < len(kept) < len(all_of_them)
    assert found(few) == found(few) == kept  # as often as one likes
    assert len(few) == len(kept)
    monkeypatch.setattr("brainalign.encoding.searchlights.BALLS_TOGETHER", 3)
    assert found(searchlights(columns, 4.0)) == all_of_them
    asked = []
    tree = type("Tree", (), {"query_ball_point": lambda self, at, *_, **__: asked.append(len(at)) or [[0]] * len(at)})
    monkeypatch.setattr("brainalign.encoding.searchlights.KDTree", lambda places: tree())
    assert len(list(islice(searchlights(columns, 4.0), 2))) == 2
    assert asked == [3]


def test_regions_are_groups_of_every_person():
    table = pd.DataFrame({"subject": [*"aabab"], "roi": ["V1", "V4", "V1", "V1", None]})
    groups = regions(table)
    assert [(group.name, group.members.tolist()) for group in groups] == [
        ("a V1", [0, 3]),
        ("a V4", [1]),
        ("b V1", [2]),
    ]
    assert [group.name for group in regions(table, minimum=2)] == ["a V1"]
    assert [group.name for group in regions(table, by="subject")] == ["a", "b"]
    with pytest.raises(InputError, match="columns have no 'region'"):
        regions(table, by="region")


def test_what_has_no_place():
    coordinates, faces = icosphere(0)
    mesh = {"L": (coordinates, faces)}
    vertices = pd.DataFrame({"hemisphere": "L", "vertex": [0, 11]})
    with pytest.raises(InputError, match=r"column 0 has no place: .* \(give the mesh of the surface\)"):
        searchlights(vertices)
    with pytest.raises(InputError, match=r"column 0 has no place: .* \(regions\(..\) need none\)"):
        searchlights(pd.DataFrame({"roi": ["V1"]}))
    with pytest.raises(InputError, match="column 1 is at vertex 12 of hemisphere L, whose mesh has 12"):
        searchlights(vertices.assign(vertex=[0, 12]), mesh=mesh)
    with pytest.raises(InputError, match="no mesh for hemisphere 'R'"):
        searchlights(vertices.assign(hemisphere=["L", "R"]), mesh=mesh)
    with pytest.raises(InputError, match="a mesh was given, and the columns have no `hemisphere`"):
        searchlights(pd.DataFrame({"x": [0.0], "y": 0.0, "z": 0.0}), mesh=mesh)
    missing = pd.DataFrame({"x": [0.0, np.nan], "y": 0.0, "z": 0.0})
    with pytest.raises(InputError, match=r"column 1 has no finite x, y, z \(mm\): leave it out"):
        searchlights(missing)
    with pytest.raises(InputError, match="give the mesh of the surface"):
        searchlights(missing.assign(vertex=[np.nan, 3]))
    with pytest.raises(InputError, match=r"coordinates of a mesh are numbers \(vertices, 3\)"):
        edge_lengths(coordinates[:, :2], faces)
    with pytest.raises(SettingsError, match="radius_mm is above zero; found 0"):
        searchlights(missing, 0)
    with pytest.raises(SettingsError, match="minimum is at least 1"):
        searchlights(missing, minimum=0)
    with pytest.raises(SettingsError, match="radius_mm is above zero; found '8'"):
        searchlights(missing, "8")
    samples = pd.DataFrame({"run": "1", "time": [0.0, 1.0]})
    signal = Signal(np.zeros((2, 2)), samples, vertices)
    for ask in (searchlights, regions):
        with pytest.raises(InputError, match=r"found a Signal: give its columns, signal.columns"):
            ask(signal)
    with pytest.raises(InputError, match=r"found a ndarray$"):
        searchlights(coordinates)
    with pytest.raises(
        InputError, match=r"mesh names the coordinates and faces of every hemisphere, .*; found a tuple"
    ):
        searchlights(vertices, mesh=(coordinates, faces))
    with pytest.raises(InputError, match=r"mesh names .*; found L: ndarray"):
        searchlights(vertices, mesh={"L": coordinates})


@pytest.mark.verify
def test_categories_are_decoded_from_searchlights_of_haxbys_slice():
    """Eight categories, one run of twelve left out at a time; chance is labels permuted within runs, in every
    searchlight alike, and the best of them.
    """
    from sklearn.linear_model import Ridge

    root, n = sample_path("haxby"), 99
    bold = read_fmri(root)
    assert isinstance(bold, Signal)
    brain = condition_means(clean(bold, nuisance=["drift"]), read_events(root))
    values, run = brain.array(), brain.samples["run"].to_numpy()
    true = np.unique(brain.samples["stimulus"], return_inverse=True)[1]
    rng = np.random.default_rng(0)
    shuffled = np.tile(true, (n, 1))
    for one in brain.runs:
        rows = np.flatnonzero(run == one)
        shuffled[:, rows] = rng.permuted(shuffled[:, rows], axis=1)
    labels = np.stack([true, *shuffled], axis=1)  # (96, 1 + n)
    wanted = np.eye(8)[labels].reshape(len(labels), -1)
    lights = searchlights(brain.columns, 8.0, minimum=5)
    share = []
    for light in lights:
        right = 0
        for one in brain.runs:
            test = run == one
            model = Ridge(alpha=1.0).fit(values[~test][:, light.members], wanted[~test])  # of all labels at once
            said = model.predict(values[test][:, light.members]).reshape(test.sum(), 1 + n, 8).argmax(2)
            right += (said == labels[test]).sum(0)
        share.append(right / len(labels))
    share = np.array(share)
    best, mean = share.max(0), share.mean(0)
    print(f"{len(lights)} searchlights: best {best[0]:.3f} (chance up to {best[1:].max():.3f}), mean {mean[0]:.3f}")
    assert abs(mean[1:].mean() - 1 / 8) < 0.005
    assert best[0] > 0.4
    assert mean[0] > 0.17
    for found in (best, mean):
        assert (1 + (found[1:] >= found[0]).sum()) / (1 + n) == 0.01
    assert (share[:, 0] > np.quantile(best[1:], 0.95)).sum() > 20
