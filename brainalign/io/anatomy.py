"""In which region of an atlas does each electrode lie, and how far from a landmark?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.io.atlases import Atlas, read_atlas
from brainalign.io.bids import parse_name
from brainalign.io.people import list_names
from brainalign.signals import Signal

Electrodes = TypeVar("Electrodes", Signal, pd.DataFrame)
NEAR_MM = 4.0
NEEDED = ["x", "y", "z", "frame"]
NOWHERE = "n/a"
OWN = ("ACPC", "ScanRAS", "T1w", "individual", "CTF", "ElektaNeuromag", "4DBti", "KitYokogawa", "ChietiItab", "CapTrak")
OWN += ("EEGLAB", "EEGLAB-HJ", "Other")  # frames that each person has one of


def label_electrodes(
    electrodes: Electrodes, atlas: str | Path, frame: str | None = None, *, within_mm: float = NEAR_MM
) -> Electrodes:
    """Name the region of an atlas that each electrode lies in, or the nearest one within some millimetres.

    Parameters
    ----------
    electrodes : Signal or DataFrame
        With columns `x`, `y`, `z` (mm) and `frame`, as `read_ieeg` gives them.
    atlas : path
        A label image (NIfTI); its regions are named by a .tsv, .csv or .txt beside it, as for `read_fmri`.
    frame : str, optional
        The coordinate system that the atlas is in, as coordsystem.json calls it: "MNI152NLin2009cAsym"; one person's
        own ("ACPC", "ScanRAS") of that person's segmentation. By default what `tpl-` or `space-` in its name says.
    within_mm : float
        How far from an electrode's centre the nearest labelled voxel's centre may be. It counts from there, so that a
        contact on the surface, or between voxels, still has the region it is next to.

    Returns
    -------
    Signal or DataFrame
        With two further columns: `region` ("n/a" where none is near, or the position is not known), and `region_mm`,
        how far its nearest voxel is; 0 where the electrode lies in it.

    Raises
    ------
    InputError
        An electrode in another frame than the atlas, people in a frame of their own, or no position at all.

    Examples
    --------
    >>> import tempfile, nibabel, numpy as np, pandas as pd
    >>> labels = np.zeros((10, 10, 10), np.int16)
    >>> labels[4, 4, 4] = 7
    >>> places = pd.DataFrame({"x": [4.2, 4.0, np.nan], "y": 4.0, "z": [4.0, 6.0, 4.0], "frame": "MNI152Lin"})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "atlas.nii")
    ...     nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), path)
    ...     label_electrodes(places, path, "MNI152Lin")[["region", "region_mm"]].values.tolist()
    [['7', 0.0], ['7', 2.0], ['n/a', nan]]
    """
    table = _table(electrodes)
    path = Path(atlas)
    if not path.is_file():
        raise InputError(f"there is no atlas {atlas}: check the path")
    regions = read_atlas(path, path.name)
    entities = (parse_name(path.name) or ({}, "", ""))[0]
    frame = frame or entities.get("space", entities.get("tpl"))
    if frame is None:
        raise InputError(f"nothing says which frame {path.name} is in: name it, as coordsystem.json would (frame)")
    xyz = _places(table, frame, f"the atlas {path.name}")
    label, distance = _nearest(regions, xyz, within_mm)
    named = [regions.regions.get(one, NOWHERE) for one in label.tolist()]
    return _with(electrodes, table.assign(region=named, region_mm=distance))


def distance_to(
    electrodes: Electrodes, landmark: Sequence[float] | Sequence[Sequence[float]], frame: str, *, name: str = "landmark"
) -> Electrodes:
    """How far each electrode is from a point, such as posteromedial Heschl's gyrus, in a straight line.

    Parameters
    ----------
    electrodes : Signal or DataFrame
        With columns `x`, `y`, `z` (mm) and `frame`, as `read_ieeg` gives them.
    landmark : (x, y, z), or several of them
        mm; of several (one in each hemisphere) the nearest counts. None is built in: take the point from the source you
        cite, say the centre of cytoarchitectonic area Te1.1 for posteromedial Heschl's gyrus (Morosan et al. 2001,
        https://doi.org/10.1006/nimg.2000.0715) in an atlas of your frame.
    frame : str
        The coordinate system the landmark is in.
    name : str
        The column that is added is called `NAME_mm`.

    Returns
    -------
    Signal or DataFrame
        With a further column, NaN where the position is not known.

    Raises
    ------
    InputError
        An electrode in another frame, or a landmark that is no point.

    Examples
    --------
    >>> places = pd.DataFrame({"x": [3.0], "y": [4.0], "z": [0.0], "frame": "MNI152Lin"})
    >>> distance_to(places, (0, 0, 0), "MNI152Lin", name="heschl")["heschl_mm"].tolist()
    [5.0]
    """
    table = _table(electrodes)
    points = np.atleast_2d(np.asarray(landmark, float))
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise InputError(f"a landmark is a point (x, y, z) in mm, or several; found {landmark!r}")
    xyz = _places(table, frame, "the landmark")
    apart = np.linalg.norm(xyz[:, None] - points, axis=2).min(1)
    return _with(electrodes, table.assign(**{f"{name}_mm": apart}))


def _table(electrodes: Signal | pd.DataFrame) -> pd.DataFrame:
    return electrodes.columns if isinstance(electrodes, Signal) else electrodes


def _with(electrodes: Signal | pd.DataFrame, table: pd.DataFrame) -> Any:
    return replace(electrodes, columns=table) if isinstance(electrodes, Signal) else table


def _places(table: pd.DataFrame, frame: str, what: str) -> np.ndarray:
    """(n, 3) positions, all of them in this frame or not known."""
    missing = [name for name in NEEDED if name not in table.columns]
    if missing:
        raise InputError(f"electrodes have no column {', '.join(map(repr, missing))}: read them with read_ieeg")
    xyz = table[["x", "y", "z"]].to_numpy(float)
    known = np.asarray(np.isfinite(xyz).all(axis=1))
    if not known.any():
        raise InputError("no electrode has a position: there is no electrodes.tsv, or it says n/a throughout")
    others = sorted(set(table["frame"][known].astype(str)) - {frame})
    if others:
        raise InputError(
            f"{what} is in {frame!r}, electrodes are in {list_names([repr(one) for one in others])}: positions in two "
            "frames are not compared; read those in its frame (coordinates), or bring them there"
        )
    people = table["subject"][known].unique().tolist() if "subject" in table else []
    if len(people) > 1 and frame.partition(":")[0] in OWN:
        raise InputError(
            f"{frame} is a frame of each person's own, and electrodes are of {list_names(people)}: take them one "
            "at a time, or in a frame that they share"
        )
    return xyz


def _nearest(atlas: Atlas, xyz: np.ndarray, within_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """For each place the label it lies in or near (0: none), and how far it is to there."""
    from scipy.spatial import KDTree

    known = np.isfinite(xyz).all(1)
    label = np.zeros(len(xyz), int)
    distance = np.full(len(xyz), np.nan)
    labelled = np.argwhere(atlas.labels != 0)
    tree = KDTree(labelled @ atlas.affine[:3, :3].T + atlas.affine[:3, 3])
    apart, at = map(np.asarray, tree.query(xyz[known], distance_upper_bound=within_mm))
    near = np.isfinite(apart)
    label[np.flatnonzero(known)[near]] = atlas.labels[tuple(labelled[at[near]].T)]
    distance[np.flatnonzero(known)[near]] = apart[near]
    inside = np.rint((xyz[known] - atlas.affine[:3, 3]) @ np.linalg.inv(atlas.affine[:3, :3]).T).astype(int)
    within = ((inside >= 0) & (inside < atlas.labels.shape)).all(1)
    own = np.zeros(len(inside), int)
    own[within] = atlas.labels[tuple(inside[within].T)]
    rows = np.flatnonzero(known)[own != 0]
    label[rows], distance[rows] = own[own != 0], 0.0
    return label, distance
