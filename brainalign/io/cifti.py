"""What do a brain's grayordinates, vertices and voxels in one table, do over time, by a CIFTI file?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.io.series import Series

BLOCK = 64 << 20  # bytes of a run handed on together: each block passes over the file, whose columns are contiguous
STANDARD = "CIFTI_STRUCTURE_"  # what the standard's names of structures begin with
CORTEX = STANDARD + "CORTEX"
SIDES = {"_LEFT": "L", "_RIGHT": "R"}
NOWHERE = -1  # the vertex of a voxel, the i, j, k of a vertex: as nibabel has it, and whole numbers stay whole


def open_cifti(path: Path, name: str) -> Series:
    """One run in CIFTI-2: a dense series (``.dtseries.nii``) or a series of parcels (``.ptseries.nii``).

    Parameters
    ----------
    path : Path
        ``sub-01_task-x_space-fsLR_den-91k_bold.dtseries.nii``
    name : str
        What to call it in errors.

    Returns
    -------
    Series
        Columns of a dense series: `structure`, the standard's name without ``CIFTI_STRUCTURE_`` ("CORTEX_LEFT",
        "THALAMUS_RIGHT", as Workbench's commands take it); `hemisphere` ("L", "R", missing for the brain stem and the
        like); `vertex`, -1 for voxels; `i`, `j`, `k` (-1 for vertices) and `x`, `y`, `z` (mm, NaN for vertices). A file
        of vertices alone has no columns for voxels, and the reverse. Of parcels: `roi`. The file is memory-mapped.

    Raises
    ------
    InputError
        Not CIFTI-2, not a series over time, cut short, or of another shape than it says.

    Examples
    --------
    >>> import tempfile, nibabel, numpy as np
    >>> from nibabel.cifti2 import BrainModelAxis, Cifti2Image, SeriesAxis
    >>> cortex = BrainModelAxis.from_mask(np.ones(4, bool), "cortex_left")
    >>> image = Cifti2Image(np.zeros((3, 4), "f4"), (SeriesAxis(0, 2.0, 3), cortex))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "sub-01_space-fsLR_bold.dtseries.nii")
    ...     nibabel.save(image, path)
    ...     series = open_cifti(path, path.name)
    >>> series.header_tr, series.columns.iloc[3].to_dict()
    (2.0, {'structure': 'CORTEX_LEFT', 'hemisphere': 'L', 'vertex': 3})
    """
    from nibabel.cifti2.cifti2_axes import BrainModelAxis, ParcelsAxis

    image = load_cifti(path, name)
    time, places = _axes(image, name)
    if isinstance(places, BrainModelAxis):
        columns, key, grid = grayordinates(places, image, name)
    elif isinstance(places, ParcelsAxis):
        columns, key, grid = _parcels(places, name)
    else:
        raise InputError(
            f"{name} is a series of {called(places)}: a recording is of vertices and voxels (.dtseries.nii) or of "
            "parcels (.ptseries.nii)"
        )
    missing = (
        image.dataobj.offset + image.shape[0] * image.shape[1] * image.dataobj.dtype.itemsize - path.stat().st_size
    )
    if missing > 0:
        raise InputError(f"{name} cannot be read to its end ({missing} bytes are missing): fetch it again")
    late = f"{name}: its header says its first sample is at {time.start:g} s"
    return Series(
        name,
        columns,
        key,
        len(time),
        lambda: _blocks(image, name),
        float(time.step) if 0 < time.step < np.inf else None,
        grid,
        notes=(late,) if time.start else (),
    )


def load_cifti(path: Path, name: str) -> Any:
    """A CIFTI-2 file, of which nothing but the header has been read.

    Raises
    ------
    InputError
        No such file, cut short, or another kind of file.
    """
    import nibabel
    from nibabel.cifti2.cifti2 import Cifti2HeaderError
    from nibabel.filebasedimages import ImageFileError

    broken = (ImageFileError, Cifti2HeaderError, ExpatError, OSError, EOFError, ValueError, KeyError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a shape that is not the header's is an error below
            image: Any = nibabel.load(path)
    except FileNotFoundError as error:
        raise InputError(f"there is no file {name}: check the path, or fetch it") from error
    except broken as error:
        what = "is an empty file" if not path.stat().st_size else f"cannot be read as CIFTI ({error})"
        raise InputError(f"{name} {what}: fetch it again") from error
    if not isinstance(image, nibabel.Cifti2Image):
        raise InputError(f"{name} is a {type(image).__name__}, no CIFTI-2: write it again (wb_command -cifti-convert)")
    return image


def _axes(image: Any, name: str) -> tuple[Any, Any]:
    """Time and places."""
    from nibabel.cifti2.cifti2_axes import SeriesAxis

    axes = [image.header.get_axis(k) for k in range(image.ndim)]
    if len(axes) != 2 or not isinstance(axes[0], SeriesAxis):
        raise InputError(
            f"{name} is a matrix of {' × '.join(map(called, axes))}: a recording is a series over time "
            "(.dtseries.nii, .ptseries.nii)"
        )
    if axes[0].unit != "SECOND":
        raise InputError(f"{name} is a series in {str(axes[0].unit).lower()}: a recording is one in seconds")
    says = tuple(map(len, axes))
    if image.shape != says:
        raise InputError(
            f"{name} holds {image.shape[0]} × {image.shape[1]} numbers and speaks of {says[0]} time points of "
            f"{says[1]} places: write it again"
        )
    return axes[0], axes[1]


def called(axis: Any) -> str:
    """What a CIFTI axis is of: series, brainmodel, parcels, label, scalar."""
    return type(axis).__name__.removesuffix("Axis").lower()


def grayordinates(axis: Any, image: Any, name: str) -> tuple[pd.DataFrame, tuple[str, ...], tuple[object, ...]]:
    """The table of a file's places, the columns by which one is found in another file, and what those mean it by."""
    structures = pd.Series(axis.name).str.removeprefix(STANDARD)
    sides = structures.str.extract(f"({'|'.join(SIDES)})$", expand=False).map(SIDES)
    columns = pd.DataFrame({"structure": structures, "hemisphere": sides.astype("str")})
    on_surface, key = np.asarray(axis.surface_mask, bool), ["structure"]
    if on_surface.any():
        columns["vertex"] = np.where(on_surface, axis.vertex, NOWHERE)
        key.append("vertex")
    affine: object = ()
    if not on_surface.all():
        affine = _affine(image, name)
        ijk = np.where(on_surface[:, None], NOWHERE, axis.voxel)
        xyz = np.where(on_surface[:, None], np.nan, ijk @ affine[:3, :3].T + affine[:3, 3])
        columns[[*"ijk"]], columns[[*"xyz"]] = ijk, xyz
        key += [*"ijk"]
    if columns.duplicated(key).any():
        twice = columns[columns.duplicated(key)].iloc[0]
        raise InputError(f"{name} has a place twice ({', '.join(str(twice[k]) for k in key)}): write it again")
    return columns, tuple(key), (tuple(sorted(axis.nvertices.items())), axis.volume_shape or (), affine)


def cortices(n_vertices: Any) -> dict[str, int]:
    """Hemisphere → vertices of its surface, of the first part of what `grayordinates` gives as a grid."""
    return {SIDES[name.removeprefix(CORTEX)]: int(n) for name, n in n_vertices if name.removeprefix(CORTEX) in SIDES}


def _affine(image: Any, name: str) -> np.ndarray:
    """(4, 4) from voxel indices to mm; nibabel's axis has it in the file's own unit."""
    volume = image.header.matrix.get_index_map(1).volume
    if volume is None:
        raise InputError(f"{name} has voxels and does not say where they are (no Volume): write it again")
    transform = volume.transformation_matrix_voxel_indices_ijk_to_xyz
    affine = np.array(transform.matrix, float)
    affine[:3] *= 10.0 ** (transform.meter_exponent + 3)
    return affine


def _parcels(axis: Any, name: str) -> tuple[pd.DataFrame, tuple[str, ...], tuple[object, ...]]:
    columns = pd.DataFrame({"roi": pd.Series(axis.name, dtype="str")})
    if columns["roi"].duplicated().any():
        twice = columns["roi"][columns["roi"].duplicated()].iloc[0]
        raise InputError(f"{name} has two parcels called {twice!r}: give one another name")
    return columns, ("roi",), ()


def _blocks(image: Any, name: str) -> Iterator[np.ndarray]:
    proxy = image.dataobj
    try:
        whole = proxy.get_unscaled()  # mapped, not read: CIFTI is not compressed
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{name} can no longer be read ({error}): fetch it again") from error
    n, width = whole.shape
    step = max(1, BLOCK // (4 * max(1, width)))
    for start in range(0, n, step):
        block = np.array(whole[start : start + step], np.float32, order="C")
        if proxy.slope != 1 or proxy.inter != 0:
            block = block * np.float32(proxy.slope) + np.float32(proxy.inter)
        yield block
