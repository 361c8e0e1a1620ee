"""Which numbers do the voxels of an image hold, within a mask, and where in the head are they?"""

from __future__ import annotations

import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.io.bids import BidsFile, BidsTree

THIN = 12  # fewer slices than this, and nilearn's opening by two voxels wears the brain away
SCANNED = ("sub", "ses", "task", "acq", "ce", "rec", "dir", "run")
GRID = ("space", "res")  # a mask is of the same grid as its image


@dataclass(frozen=True)
class Mask:
    """Which voxels are looked at.

    Parameters
    ----------
    voxels : array (i, j, k), bool
    affine : array (4, 4)
    path : Path
    name : str
        What to call it in errors.
    """

    voxels: np.ndarray
    affine: np.ndarray
    path: Path
    name: str


@dataclass(frozen=True)
class Volumes:
    """One run's voxels.

    Parameters
    ----------
    values : array (n_volumes, n_voxels), float32
    mask : array (i, j, k), bool
        Which voxels they are, in C order.
    affine : array (4, 4)
        Voxel indices to mm.
    header_tr : float or None
        Seconds; None where the header does not say.
    """

    values: np.ndarray
    mask: np.ndarray
    affine: np.ndarray
    header_tr: float | None

    def within(self, mask: np.ndarray) -> Volumes:
        """The same run, within a smaller mask."""
        return Volumes(self.values[:, mask[self.mask]], mask, self.affine, self.header_tr)

    def on_grid_of(self, other: Volumes) -> bool:
        """Whether voxel i, j, k is at the same place (to 0.01 mm) in both."""
        return self.mask.shape == other.mask.shape and np.allclose(self.affine, other.affine, atol=0.01)

    def columns(self) -> pd.DataFrame:
        """One row per voxel: indices i, j, k and the place x, y, z (mm) of its middle."""
        ijk = np.argwhere(self.mask)
        xyz = ijk @ self.affine[:3, :3].T + self.affine[:3, 3]
        return pd.DataFrame(
            {**{axis: ijk[:, n] for n, axis in enumerate("ijk")}, **{axis: xyz[:, n] for n, axis in enumerate("xyz")}}
        )


def read_volumes(path: Path, name: str, mask: Mask | None) -> Volumes:
    """Read one run once, as float32, and keep the voxels of the mask.

    Parameters
    ----------
    path : Path
    name : str
        What to call the file in errors.
    mask : Mask, optional
        None: `nilearn.masking.compute_epi_mask` of the mean image.

    Raises
    ------
    InputError
        Not an image, cut short, not four-dimensional, a mask of another grid, or an empty mask.
    """
    image: Any = _load(path, name)
    if len(image.shape) != 4:
        raise InputError(f"{name} has the shape {image.shape}: a recording has four dimensions, volumes last")
    affine = np.asarray(image.affine, float)
    if mask is not None and (mask.voxels.shape != image.shape[:3] or not np.allclose(mask.affine, affine, atol=0.01)):
        raise InputError(
            f"{mask.name} is of another grid than {name} ({mask.voxels.shape} and {image.shape[:3]} voxels, or "
            "elsewhere in space): resample the mask, or name one of the same space and resolution"
        )
    try:
        data = image.get_fdata(dtype=np.float32, caching="unchanged")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{name} cannot be read to its end ({error}): fetch it again") from error
    voxels = _epi_mask(data, affine, name) if mask is None else mask.voxels
    if not voxels.any():
        raise InputError(f"{mask.name if mask else name} has no voxel in its mask: name another mask")
    return Volumes(np.ascontiguousarray(data[voxels].T), voxels, affine, _header_tr(image))


def read_mask(path: Path, name: str) -> Mask:
    """A mask: the voxels above one half.

    Raises
    ------
    InputError
        Not an image, cut short, or not three-dimensional.
    """
    image: Any = _load(path, name)
    if len(image.shape) != 3:
        raise InputError(f"{name} has the shape {image.shape}: a mask has three dimensions")
    try:
        voxels = np.asarray(image.dataobj) > 0.5
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{name} cannot be read to its end ({error}): fetch it again") from error
    return Mask(voxels, np.asarray(image.affine, float), path, name)


def find_mask(tree: BidsTree, file: BidsFile) -> BidsFile | None:
    """The brain mask beside a recording: of the same person, space and resolution, of its own run if there is one."""
    places = dict.fromkeys([file.folder, (*file.folder[:-1], "anat"), (*file.folder[:1], "anat")])
    near = [f for place in places for form in (".nii.gz", ".nii") for f in tree.in_folder(place, "mask", form)]
    fits = [
        other
        for other in near
        if other.dataset == file.dataset
        and other.entities.get("desc") == "brain"
        and all(other.entities.get(key) == file.entities.get(key) for key in GRID)
        and all(other.entities[key] == file.entities.get(key) for key in SCANNED if key in other.entities)
    ]
    return max(fits, key=lambda other: len(other.entities), default=None)


def _load(path: Path, name: str) -> Any:
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        return nibabel.load(path)
    except FileNotFoundError as error:
        raise InputError(f"there is no file {name}: check the path, or fetch it") from error
    except (ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{name} cannot be read as an image ({error}): fetch it again") from error


def _epi_mask(data: np.ndarray, affine: np.ndarray, name: str) -> np.ndarray:
    """Where nilearn sees a brain; everywhere, when nothing ever changes and there is none to be seen."""
    import nibabel
    from nilearn.exceptions import MaskWarning
    from nilearn.masking import compute_epi_mask

    if not (data != data[..., :1]).any():
        return np.ones(data.shape[:3], bool)
    mean = nibabel.Nifti1Image(data.mean(-1, dtype=np.float64), affine)
    opening: Any = 2 if min(data.shape[:3]) >= THIN else False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", MaskWarning)
            return np.asarray(compute_epi_mask(mean, opening=opening, ensure_finite=True).dataobj) > 0
    except (ValueError, MaskWarning) as error:
        raise InputError(f"no brain was found in {name} ({error}): name a mask") from error


def _header_tr(image: Any) -> float | None:
    """Seconds between volumes by the header; None where it gives no unit, as then the number is often a filler."""
    step = float(image.header.get_zooms()[3])
    scale = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}.get(image.header.get_xyzt_units()[1])
    return None if scale is None or not step > 0 else step * scale
