"""Which numbers do the voxels of an image hold, within a mask, and where in the head are they?"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.io.bids import BidsFile, BidsTree
from brainalign.io.series import Series

THIN = 12  # fewer slices than this, and nilearn's opening by two voxels wears the brain away
SCANNED = ("sub", "ses", "task", "acq", "ce", "rec", "dir", "run")
GRID = ("space", "res")  # a mask is of the same grid as its image
BLOCK = 32 << 20  # bytes of an image looked at together, as float64
KEY = ("i", "j", "k")


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
    others : tuple of Path
        Further masks that a voxel has to be in.
    """

    voxels: np.ndarray
    affine: np.ndarray
    path: Path
    name: str
    others: tuple[Path, ...] = ()

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files it was read from."""
        return (self.path, *self.others)


@dataclass(frozen=True)
class Image:
    """An image of four dimensions, of which nothing but the header has been read.

    Parameters
    ----------
    image : nibabel image
    name : str
    smooth_mm : float or None
        Full width at half maximum of the Gaussian it is seen through.
    """

    image: Any
    name: str
    smooth_mm: float | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the three axes."""
        i, j, k = self.image.shape[:3]
        return int(i), int(j), int(k)

    @property
    def n_samples(self) -> int:
        """Volumes, by the header."""
        return int(self.image.shape[3])

    @property
    def header_tr(self) -> float | None:
        """Seconds between volumes by the header; None where it gives no unit: the number is then often a filler."""
        step = float(self.image.header.get_zooms()[3])
        scale = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}.get(self.image.header.get_xyzt_units()[1])
        return None if scale is None or not step > 0 else step * scale

    @property
    def affine(self) -> np.ndarray:
        """(4, 4) from voxel indices to mm."""
        return np.asarray(self.image.affine, float)

    def blocks(self) -> Iterator[np.ndarray]:
        """(i, j, k, m) float32, some volumes at a time, in order: a compressed file is gone through once.

        Raises
        ------
        InputError
            The file ends before its header says it does, or goes on after.
        """
        from nibabel.openers import ImageOpener
        from nibabel.volumeutils import apply_read_scaling, array_from_file

        proxy, n = self.image.dataobj, self.n_samples
        volume = int(np.prod(self.shape))
        step = max(1, BLOCK // (8 * volume))
        size = volume * proxy.dtype.itemsize
        slope, inter = (np.float64(value) for value in (proxy.slope, proxy.inter))
        try:
            opened: Any = ImageOpener(self.image.file_map["image"].filename)
            with opened as file:
                for start in range(0, n, step):
                    shape = (*self.shape, min(step, n - start))
                    raw = array_from_file(shape, proxy.dtype, file, proxy.offset + start * size, order="F", mmap=False)
                    yield self._seen(np.asarray(apply_read_scaling(raw, slope, inter), np.float32))
                more = bool(file.read(1))
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise InputError(f"{self.name} cannot be read to its end ({_said(error)}): fetch it again") from error
        if more:
            raise InputError(
                f"{self.name} goes on after the {n} volumes its header speaks of: the header or the file is wrong; "
                "write the image again"
            )

    def _seen(self, block: np.ndarray) -> np.ndarray:
        if not self.smooth_mm:
            return block
        import nibabel
        from nilearn.image import smooth_img

        smoothed: Any = smooth_img(nibabel.Nifti1Image(block, self.affine), self.smooth_mm)
        # nilearn takes what is no number for 0: where it was in the image nothing is known after smoothing either
        return np.where(np.isfinite(block), np.asarray(smoothed.dataobj, np.float32), np.float32(np.nan))


def open_image(path: Path, name: str, smooth_mm: float | None = None) -> Image:
    """Open a recording, reading its header.

    Raises
    ------
    InputError
        Not an image, not four-dimensional, not of numbers.
    """
    image: Any = _load(path, name)
    if len(image.shape) != 4:
        raise InputError(f"{name} has the shape {image.shape}: a recording has four dimensions, volumes last")
    kind = np.dtype(image.dataobj.dtype)
    if kind.kind not in "iuf":
        raise InputError(f"{name} holds values of type {kind}: a recording holds one real number per voxel")
    return Image(image, name, smooth_mm)


def open_volumes(image: Image, mask: Mask | None, use: np.ndarray | None = None) -> Series:
    """One run's voxels within a mask.

    Parameters
    ----------
    image : Image
    mask : Mask, optional
        None: `nilearn.masking.compute_epi_mask` of the mean image, for which the file is read once more.
    use : array (n_volumes,) bool, optional
        The volumes that mean is over: what the others hold does not matter.

    Raises
    ------
    InputError
        A mask of another grid, an empty mask, or a file that breaks off.
    """
    if mask is not None:
        check_grid(mask.voxels.shape, mask.affine, mask.name, image)
    voxels = _epi_mask(image, use) if mask is None else mask.voxels
    if not voxels.any():
        raise InputError(f"{mask.name if mask else image.name} has no voxel in its mask: name another mask")
    return series_of(image, voxels, () if mask is None else mask.inputs)


def series_of(image: Image, voxels: np.ndarray, inputs: tuple[Path, ...] = ()) -> Series:
    """The chosen voxels (i, j, k) of a run, in C order."""

    def blocks() -> Iterator[np.ndarray]:
        for block in image.blocks():
            yield np.ascontiguousarray(block[voxels].T)

    wide = image.smooth_mm
    return Series(
        image.name,
        places(voxels, image.affine),
        KEY,
        image.n_samples,
        blocks,
        image.header_tr,
        (image.shape, image.affine),
        inputs,
        (f"smoothed by {wide:g} mm (FWHM) before the mask",) if wide else (),
    )


def places(voxels: np.ndarray, affine: np.ndarray) -> pd.DataFrame:
    """One row per voxel of a mask: indices i, j, k and the place x, y, z (mm) of its middle."""
    ijk = np.argwhere(voxels)
    xyz = ijk @ affine[:3, :3].T + affine[:3, 3]
    return pd.DataFrame(
        {**{axis: ijk[:, n] for n, axis in enumerate("ijk")}, **{axis: xyz[:, n] for n, axis in enumerate("xyz")}}
    )


def check_grid(shape: tuple[int, ...], affine: np.ndarray, name: str, image: Image) -> None:
    """Refuse a mask whose voxel i, j, k is not at the same place (to 0.01 mm) as that of the image.

    Raises
    ------
    InputError
    """
    if shape != image.shape or not np.allclose(affine, image.affine, atol=0.01):
        raise InputError(
            f"{name} is of another grid than {image.name} ({shape} and {image.shape} voxels, or "
            "elsewhere in space): resample the mask, or name one of the same space and resolution"
        )


def read_mask(path: Path, name: str) -> Mask:
    """A mask: the voxels above one half.

    Raises
    ------
    InputError
        Not an image, cut short, or not three-dimensional.
    """
    values, affine = read_volume(path, name, "a mask")
    return Mask(values > 0.5, affine, path, name)


def read_volume(path: Path, name: str, what: str) -> tuple[np.ndarray, np.ndarray]:
    """(i, j, k) the values of an image of three dimensions, and its affine (4, 4).

    Raises
    ------
    InputError
        Not an image, cut short, or not three-dimensional.
    """
    image: Any = _load(path, name)
    shape = image.shape[:3] if image.shape[3:] == (1,) else image.shape
    if len(shape) != 3:
        raise InputError(f"{name} has the shape {image.shape}: {what} has three dimensions")
    try:
        values = np.asarray(image.dataobj).reshape(shape)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{name} cannot be read to its end ({_said(error)}): fetch it again") from error
    return values, np.asarray(image.affine, float)


def find_mask(tree: BidsTree, file: BidsFile) -> BidsFile | None:
    """The brain mask beside a recording: of the same person, space and resolution, of its own run if there is one."""
    near = [f for form in (".nii.gz", ".nii") for place in around(file) for f in tree.in_folder(place, "mask", form)]
    fits = [
        other
        for other in near
        if other.dataset == file.dataset
        and other.entities.get("desc") == "brain"
        and all(other.entities.get(key) == file.entities.get(key) for key in GRID)
        and all(other.entities[key] == file.entities.get(key) for key in SCANNED if key in other.entities)
    ]
    return max(fits, key=lambda other: len(other.entities), default=None)


def around(file: BidsFile) -> list[tuple[str, ...]]:
    """Where what describes a recording's space lies: beside it, or in the person's `anat`."""
    return list(dict.fromkeys([file.folder, (*file.folder[:-1], "anat"), (*file.folder[:1], "anat")]))


def _said(error: Exception) -> str:
    """What nibabel says, in one line."""
    return " ".join(str(error).split())


def _load(path: Path, name: str) -> Any:
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        return nibabel.load(path)
    except FileNotFoundError as error:
        raise InputError(f"there is no file {name}: check the path, or fetch it") from error
    except (ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{name} cannot be read as an image ({_said(error)}): fetch it again") from error


def _epi_mask(image: Image, use: np.ndarray | None) -> np.ndarray:
    """Where nilearn sees a brain; everywhere, when nothing ever changes and there is none to be seen."""
    import nibabel
    from nilearn.exceptions import MaskWarning
    from nilearn.masking import compute_epi_mask

    total, count, first, changes, at = np.zeros(image.shape), np.zeros(image.shape), None, False, 0
    for block in image.blocks():
        seen = block if use is None else block[..., use[at : at + block.shape[-1]]]
        at += block.shape[-1]
        if not seen.shape[-1]:
            continue
        finite = np.isfinite(seen)
        total += seen.sum(-1, dtype=np.float64, where=finite)
        count += finite.sum(-1)
        first = seen[..., :1] if first is None else first
        changes = changes or bool((seen != first).any())
    if not changes:
        return np.ones(image.shape, bool)
    mean = nibabel.Nifti1Image(total / np.maximum(count, 1), image.affine)
    opening: Any = 2 if min(image.shape) >= THIN else False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", MaskWarning)
            return np.asarray(compute_epi_mask(mean, opening=opening, ensure_finite=True).dataobj) > 0
    except (ValueError, MaskWarning) as error:
        raise InputError(f"no brain was found in {image.name} ({error}): name a mask") from error
