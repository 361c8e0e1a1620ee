"""Which columns lie within reach of each other, to be looked at together? Searchlights and regions, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.spatial import KDTree

from brainalign.encoding.neighbours import PLACE
from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.maths.clusters import neighbours_of_mesh
from brainalign.signals import Signal

ROUNDING_MM = 1e-4  # what is so little beyond the radius is at the radius
NUMBERS_TOGETHER = 1 << 22  # distances on a surface looked at together
BALLS_TOGETHER = 1024

Mesh = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""For every hemisphere, coordinates (n_vertices, 3) in mm and faces (n_faces, 3)."""


@dataclass(frozen=True, eq=False)
class Searchlight:
    """Columns within reach of one of them.

    Parameters
    ----------
    centre : int
        Position in the table of columns.
    members : array of int
        Positions of all within the radius, rising, the centre among them.
    """

    centre: int
    members: np.ndarray


@dataclass(frozen=True, eq=False)
class Region:
    """Columns that have one value in common.

    Parameters
    ----------
    name : str
        The value; with several people "subject value".
    members : array of int
        Positions in the table of columns, rising.
    """

    name: str
    members: np.ndarray


@dataclass(frozen=True, eq=False)
class Volume:
    """Places of one person in space; neighbours are those in a ball."""

    where: np.ndarray  # (n,) positions in the table of columns
    places: np.ndarray  # (n, 3) mm

    def within(self, radius: float) -> Iterator[np.ndarray]:
        """For every place, which are in the ball around it."""
        tree = KDTree(self.places)
        for start in range(0, len(self.places), BALLS_TOGETHER):
            near = tree.query_ball_point(self.places[start : start + BALLS_TOGETHER], radius, return_sorted=True)
            yield from map(np.asarray, near)


@dataclass(frozen=True, eq=False)
class Surface:
    """Vertices of one hemisphere of one person; neighbours are those along the edges of the mesh."""

    where: np.ndarray  # (n,) positions in the table of columns
    vertices: np.ndarray  # (n,) int
    edges: csr_array  # (n_vertices, n_vertices) lengths in mm, of the whole mesh
    n_vertices: int

    def within(self, radius: float) -> Iterator[np.ndarray]:
        """For every vertex, which are at most so far along edges; a way may lead over vertices that have no column."""
        from scipy.sparse.csgraph import dijkstra

        step = max(1, NUMBERS_TOGETHER // self.n_vertices)
        for start in range(0, len(self.vertices), step):
            asked = self.vertices[start : start + step]
            distance = dijkstra(self.edges, directed=False, indices=asked, limit=radius)
            yield from map(np.flatnonzero, distance[:, self.vertices] <= radius)


@dataclass(frozen=True, eq=False)
class Searchlights:
    """Searchlights of a table of columns: iterated, they are found a batch at a time; `len` says how many."""

    parts: Sequence[Volume | Surface]
    radius_mm: float
    minimum: int
    _counted: list[int] = field(default_factory=list, repr=False, init=False)

    def __iter__(self) -> Iterator[Searchlight]:
        for part in self.parts:
            for centre, near in zip(part.where, part.within(self.radius_mm + ROUNDING_MM), strict=True):
                if len(near) >= self.minimum:
                    yield Searchlight(int(centre), part.where[near])

    def __len__(self) -> int:
        if self.minimum <= 1:
            return sum(len(part.where) for part in self.parts)
        if not self._counted:
            self._counted.append(sum(1 for _ in self))
        return self._counted[0]


def searchlights(
    columns: pd.DataFrame, radius_mm: float = 8.0, *, mesh: Mesh | None = None, minimum: int = 1
) -> Searchlights:
    """Columns in groups, one around each: a ball in a volume, a disc on a surface.

    Parameters
    ----------
    columns : DataFrame, one row per column
        A Signal's `columns`. In a volume `x`, `y`, `z` (mm); on a surface `hemisphere` ("L", "R") and `vertex`. A
        table may have rows of both kinds. Groups never cross `subject`, a hemisphere, or from surface to volume.
    radius_mm : float, mm
        What is at the radius is inside.
    mesh : mapping of hemisphere → (coordinates, faces), optional
        Of surfaces: (n_vertices, 3) mm, as of the midthickness or white surface, and (n_faces, 3), triangles. One mesh
        for everybody: for people with meshes of their own, make searchlights of each person's columns.
    minimum : int
        Groups of fewer are left out.

    Returns
    -------
    Searchlights
        Any number of times iterated; each is a `Searchlight(centre, members)`, positions among the columns, so that
        ``signal.select(columns=light.members)`` is what it sees. Groups come person by person, centres in the
        table's order.

    Raises
    ------
    InputError
        Columns without a place, a vertex the mesh does not have, something that is no table or no mesh.
    SettingsError
        A radius or a minimum that is not above zero.

    Notes
    -----
    On a surface the distance is that of the shortest way along edges, which is never shorter than the geodesic, and
    up to 15 % longer (2/√3) on one of equilateral triangles.

    References
    ----------
    Kriegeskorte, Goebel & Bandettini (2006), PNAS 103; on surfaces Oosterhof et al. (2011), NeuroImage 56.

    Examples
    --------
    >>> line = pd.DataFrame({"x": [0.0, 3.0, 6.0, 30.0], "y": 0.0, "z": 0.0})
    >>> found = searchlights(line, radius_mm=3.0, minimum=2)
    >>> len(found), [(light.centre, light.members.tolist()) for light in found]
    (3, [(0, [0, 1]), (1, [0, 1, 2]), (2, [1, 2])])
    """
    if not (_is_number(radius_mm) and 0 < radius_mm < np.inf):
        raise SettingsError(f"radius_mm is above zero; found {radius_mm!r}")
    if not (_is_number(minimum) and minimum >= 1):
        raise SettingsError(f"minimum is at least 1, the centre itself; found {minimum!r}")
    columns = _table(columns).reset_index(drop=True)
    _check_mesh(mesh)
    surface = _on_surface(columns, mesh)
    parts: list[Volume | Surface] = []
    lengths = {side: edge_lengths(*mesh[side]) for side in surface.dropna().unique()} if mesh else {}
    for at in _each_person(columns):
        sides = surface.iloc[at]
        for side, edges in lengths.items():
            mine, n = at[(sides == side).to_numpy()], edges.indptr.size - 1
            if len(mine):
                parts.append(Surface(mine, _vertices(columns, mine, n, side), edges, n))
        mine = at[sides.isna().to_numpy()]
        if len(mine):
            parts.append(Volume(mine, _places(columns, mine, mesh)))
    return Searchlights(tuple(parts), float(radius_mm), int(minimum))


def regions(columns: pd.DataFrame, by: str = "roi", minimum: int = 1) -> list[Region]:
    """Columns in groups, one for each value of one of the table's columns, apart in each person.

    Parameters
    ----------
    columns : DataFrame, one row per column
        A Signal's `columns`.
    by : str
        `roi`, `hemisphere`, `structure`, …; where it is missing a column belongs to no region.
    minimum : int
        Regions of fewer columns are left out.

    Returns
    -------
    list of Region
        In order of appearance; used where searchlights are.

    Raises
    ------
    InputError
        No such column.

    Examples
    --------
    >>> [(r.name, r.members.tolist()) for r in regions(pd.DataFrame({"roi": ["V1", "V4", "V1"]}))]
    [('V1', [0, 2]), ('V4', [1])]
    """
    columns = _table(columns)
    if by not in columns:
        raise InputError(f"columns have no {by!r}; " + did_you_mean(by, columns.columns))
    several = "subject" in columns and by != "subject" and columns["subject"].nunique() > 1
    labels = columns[by].astype(str)
    if several:
        labels = columns["subject"].astype(str) + " " + labels
    labels = labels.reset_index(drop=True)[columns[by].notna().to_numpy()]
    groups = labels.groupby(labels, sort=False).groups
    return [Region(str(name), np.asarray(at)) for name, at in groups.items() if len(at) >= minimum]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _table(columns: pd.DataFrame) -> pd.DataFrame:
    if isinstance(columns, pd.DataFrame):
        return columns
    hint = ": give its columns, signal.columns" if isinstance(columns, Signal) else ""
    raise InputError(f"columns is a table with a row per column of a recording; found a {type(columns).__name__}{hint}")


def _check_mesh(mesh: object) -> None:
    if mesh is None:
        return
    if not isinstance(mesh, Mapping) or not all(
        isinstance(one, (tuple, list)) and len(one) == 2 for one in mesh.values()
    ):
        raise InputError(
            "mesh names the coordinates and faces of every hemisphere, {'L': (coordinates, faces), 'R': ..}; found "
            + (
                ", ".join(f"{side}: {type(one).__name__}" for side, one in mesh.items())
                if isinstance(mesh, Mapping)
                else f"a {type(mesh).__name__}"
            )
        )


def edge_lengths(coordinates: np.ndarray, faces: np.ndarray) -> csr_array:
    """Lengths in mm of the edges of a mesh, as a symmetric (n_vertices, n_vertices) graph.

    Raises
    ------
    InputError
        Coordinates that are not (n_vertices, 3) numbers, or faces that are not triangles of these vertices.

    Examples
    --------
    >>> edge_lengths(np.array([[0, 0, 0], [3, 0, 0], [0, 4, 0]]), np.array([[0, 1, 2]])).toarray()
    array([[0., 3., 4.],
           [3., 0., 5.],
           [4., 5., 0.]])
    """
    coordinates = np.asarray(coordinates, float)
    if coordinates.ndim != 2 or coordinates.shape[1] != 3 or not np.isfinite(coordinates).all():
        raise InputError(f"coordinates of a mesh are numbers (vertices, 3) in mm; found shape {coordinates.shape}")
    one, other = neighbours_of_mesh(faces, len(coordinates)).nonzero()
    length = np.linalg.norm(coordinates[one] - coordinates[other], axis=1)
    # two vertices at one place are still joined: 0 would be no edge
    return csr_array((np.maximum(length, np.finfo(float).tiny), (one, other)), shape=(len(coordinates),) * 2)


def _on_surface(columns: pd.DataFrame, mesh: Mesh | None) -> pd.Series:
    """The mesh each column is on; missing where it is in the volume."""
    if mesh is None:
        return pd.Series(None, index=columns.index, dtype=object)
    if not {"hemisphere", "vertex"} <= set(columns):
        raise InputError(
            "a mesh was given, and the columns have no `hemisphere` and `vertex`: leave the mesh out, or give a "
            "recording on a surface"
        )
    side = columns["hemisphere"].where(columns["vertex"].notna(), None)
    missing = sorted(set(side.dropna()) - set(mesh))
    if missing:
        raise InputError(f"no mesh for hemisphere {missing[0]!r}; {did_you_mean(missing[0], list(mesh))}")
    return side


def _each_person(columns: pd.DataFrame) -> list[np.ndarray]:
    if "subject" not in columns:
        return [np.arange(len(columns))]
    return [np.asarray(at) for at in columns.groupby("subject", sort=False, dropna=False).indices.values()]


def _vertices(columns: pd.DataFrame, at: np.ndarray, n: int, side: str) -> np.ndarray:
    given = columns["vertex"].iloc[at].to_numpy(float)
    odd = np.flatnonzero((given != np.round(given)) | (given < 0) | (given >= n))
    if len(odd):
        raise InputError(
            f"column {at[odd[0]]} is at vertex {given[odd[0]]:g} of hemisphere {side}, whose mesh has {n}, numbered "
            "from 0: give the mesh the recording is on"
        )
    return given.astype(int)


def _places(columns: pd.DataFrame, at: np.ndarray, mesh: Mesh | None) -> np.ndarray:
    if not set(PLACE) <= set(columns):
        hint = "give the mesh of the surface" if "vertex" in columns and mesh is None else "regions(..) need none"
        raise InputError(f"column {at[0]} has no place: searchlights need x, y, z in mm ({hint})")
    places = columns[PLACE].iloc[at].to_numpy(float)
    odd = np.flatnonzero(~np.isfinite(places).all(1))
    if len(odd):
        hint = ": give the mesh of the surface" if "vertex" in columns and mesh is None else ": leave it out"
        raise InputError(f"column {at[odd[0]]} has no finite x, y, z (mm){hint}")
    return places
