"""What is there before anything was computed: the pixels of a picture, made small?"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import SettingsError, need_package
from brainalign.features.describing import Unreadable, describe_band, per_picture
from brainalign.progress import Progress, silent
from brainalign.provenance import versions
from brainalign.signals import Signal
from brainalign.store import Store

METHOD = 1  # counts up when the same picture would get other numbers
LUMA = np.array([0.299, 0.587, 0.114])  # Rec. 601, of the values as they are stored


def resized(picture: np.ndarray, height: int, width: int, *, box: bool = False) -> np.ndarray:
    """A picture of another size: (.., .., 3) uint8 RGB → (height, width, 3) uint8 RGB.

    Smoothed before it is made small: by Lanczos' filter, or with `box` by the mean over the area of each new pixel.

    Examples
    --------
    >>> resized(np.full((30, 20, 3), 7, np.uint8), 2, 3)[..., 0].tolist()
    [[7, 7, 7], [7, 7, 7]]
    """
    from PIL import Image

    if picture.shape[:2] == (height, width):
        return picture
    how = Image.Resampling.BOX if box else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(picture).resize((width, height), how))


def resizing(side: Any, least: int) -> dict[str, Any]:
    """What numbers depend on that are computed after `resized`; or what is wrong with the side."""
    need_package("PIL", extra="vision", what="resizing pictures")
    if isinstance(side, bool) or not isinstance(side, (int, np.integer)) or side < least:
        raise SettingsError(f"side is how many pixels wide and high pictures are made, {least} or more; found {side!r}")
    return {"side": int(side), "pillow": versions("pillow")["pillow"].split(".")[0]}


def pixels(
    images: Any,
    side: int = 32,
    *,
    rgb: bool = False,
    column: str = "stim_file",
    root: str | Path | None = None,
    unreadable: Unreadable = "error",
    name: str = "pixels",
    store: Store | None = None,
    progress: Progress = silent,
) -> Signal:
    """The pixels of every picture, made small: the feature that has nothing computed.

    There are many columns: give `encode` a `pca` of the band, which it fits within each fold.

    Parameters
    ----------
    images : DataFrame, list of paths, array, list of arrays, or Pictures
        As for `pictures_of`.
    side : int
        Pixels of its height and width. Every picture is made square; where proportions matter, crop before.
    rgb : bool
        Red, green and blue apart; else grey, their luma (Rec. 601).
    column, root, unreadable, name, store, progress
        As for `luminance`.

    Returns
    -------
    Signal
        (n_pictures, side² or 3 side²), 0 to 1, the mean over the area of each new pixel, of the values as stored
        (gamma is left in). Columns have `x`, `y` (the pixel's centre, 0 to 1 from the left and from the top), `unit`,
        and with `rgb` `channel`.

    Raises
    ------
    InputError, SettingsError
        As `luminance`; a `side` that is no number of pixels.

    Examples
    --------
    >>> halves = np.repeat([[[0.0, 1.0]]], 2, axis=1)
    >>> small = pixels(halves, side=2)
    >>> small.values.tolist(), small.columns["x"].tolist()
    ([[0.0, 1.0, 0.0, 1.0]], [0.25, 0.75, 0.25, 0.75])
    """
    settings = resizing(side, least=1)
    centres = (np.arange(side) + 0.5) / side
    y, x = (axis.ravel() for axis in np.meshgrid(centres, centres, indexing="ij"))
    columns = pd.DataFrame({"unit": "grey", "x": x, "y": y})
    if rgb:
        each = [columns.assign(unit=channel, channel=channel) for channel in ("red", "green", "blue")]
        columns = pd.concat(each, ignore_index=True)

    def measure(picture: np.ndarray) -> np.ndarray:
        small = resized(picture, side, side, box=True) / 255
        return np.moveaxis(small, -1, 0).ravel() if rgb else (small @ LUMA).ravel()

    known = {"kind": "pixels", "method": METHOD, "rgb": bool(rgb), **settings}
    begin = partial(per_picture, len(columns), measure)
    return describe_band(images, begin, columns, known, name, column, root, unreadable, store, progress)
