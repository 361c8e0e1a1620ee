"""What do the voxels of one NSD session hold, trial by trial?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.io.series import Series
from brainalign.io.volumes import KEY, Mask, check_grid, open_image

TRIALS = 750  # of a session
WHOLE, PER_CENT = np.int16, 300.0  # the type of what is published times 300; decimals are per cent as they stand
ROWS_PER_BLOCK = 25
COLUMNS_PER_LOOK = 4096


def open_session(path: Path, name: str, mask: Mask, columns: pd.DataFrame, standardise: bool) -> Series:
    """One session's betas in the voxels of a mask, read when they are asked for and held as they are published.

    Whole numbers (int16, not scaled by a header) are divided by 300; others are per cent signal change already.

    Raises
    ------
    InputError
        Cut short, of another shape, or of another grid than the mask.
    """
    read = _from_hdf5(path, name, mask) if path.suffix == ".hdf5" else _from_nifti(path, name, mask)

    def blocks() -> Iterator[np.ndarray]:
        raw = read()
        shift, scale = (
            _moments(raw) if standardise else (np.float32(0), np.float32(PER_CENT if raw.dtype == WHOLE else 1))
        )
        for start in range(0, TRIALS, ROWS_PER_BLOCK):
            block = raw[start : start + ROWS_PER_BLOCK].astype(np.float32)
            block -= shift
            block /= scale
            yield block

    return Series(name, columns, KEY, TRIALS, blocks, grid=(mask.voxels.shape, mask.affine))


def _moments(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (dividing by n) of every column; 1 where nothing varies, which stays constant."""
    mean, sd = np.empty(raw.shape[1], np.float32), np.empty(raw.shape[1], np.float32)
    for start in range(0, raw.shape[1], COLUMNS_PER_LOOK):
        some = slice(start, start + COLUMNS_PER_LOOK)
        values = raw[:, some].astype(float)
        mean[some], sd[some] = values.mean(0), values.std(0)
    return mean, np.where(sd > 0, sd, np.float32(1))


def _from_hdf5(path: Path, name: str, mask: Mask) -> Callable[[], np.ndarray]:
    """(trials, voxels), a slice of the head at a time, as the file is cut into one piece per voxel."""
    import h5py

    want = (TRIALS, *mask.voxels.shape[::-1])
    i, j, k = np.nonzero(mask.voxels)
    try:
        with h5py.File(path, "r") as file:
            found = getattr(file["betas"], "shape", ())
    except (OSError, KeyError) as error:
        raise InputError(f"{name} has no `betas` that can be read ({error}): fetch it again") from error
    if found != want:
        raise InputError(
            f"{name} holds {found}, and {want} is needed: trials, and the mask {mask.name} back to front (z, y, x); "
            "name a mask of the same space"
        )

    def read() -> np.ndarray:
        try:
            with h5py.File(path, "r") as file:
                data: Any = file["betas"]
                out = np.empty((TRIALS, len(i)), data.dtype)
                for slice_ in np.unique(k):
                    here = np.flatnonzero(k == slice_)
                    x, y = i[here], j[here]
                    part = data[:, slice_, y.min() : y.max() + 1, x.min() : x.max() + 1]
                    out[:, here] = part[:, y - y.min(), x - x.min()]
        except (OSError, KeyError) as error:
            raise InputError(f"{name} cannot be read to its end ({error}): fetch it again") from error
        return out

    return read


def _from_nifti(path: Path, name: str, mask: Mask) -> Callable[[], np.ndarray]:
    image = open_image(path, name)
    check_grid(mask.voxels.shape, mask.affine, mask.name, image)
    if image.image.shape[3] != TRIALS:
        raise InputError(f"{name} holds {image.image.shape[3]} trials, a session has {TRIALS}: fetch it again")
    data = image.image.dataobj
    whole = data.dtype == WHOLE and (data.slope, data.inter) == (1, 0)

    def read() -> np.ndarray:
        out, at = np.empty((TRIALS, int(mask.voxels.sum())), WHOLE if whole else np.float32), 0
        for block in image.blocks():
            out[at : at + block.shape[3]] = block[mask.voxels].T
            at += block.shape[3]
        return out

    return read
