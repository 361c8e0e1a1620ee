"""How bright is a picture, how much contrast has it, and which colours?

Pixels are taken as sRGB (IEC 61966-2-1). A pixel's light is what the standard's curve makes of its value, from 0 to 1;
relative luminance Y weighs red, green and blue by 0.2127, 0.7152 and 0.0722; CIELAB (CIE 15:2004) is computed from XYZ
with the white of sRGB itself (D65), so that grey has a* = b* = 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.features.describing import Unreadable, describe_band, per_picture
from brainalign.progress import Progress, silent
from brainalign.signals import Signal
from brainalign.store import Store

METHOD = 1  # counts up when the same picture would get other numbers
STRIP_PIXELS = 1 << 20  # looked at together, so that a large picture takes no more memory than itself

_TO_XYZ = np.array(  # of linear sRGB, D65
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
SHARES = _TO_XYZ / _TO_XYZ.sum(1, keepdims=True)  # X, Y, Z as shares of white's
_VALUES = np.arange(256) / 255
LIGHT = np.where(_VALUES <= 0.04045, _VALUES / 12.92, ((_VALUES + 0.055) / 1.055) ** 2.4)  # of each uint8 value


def luminance_of(picture: np.ndarray) -> np.ndarray:
    """Relative luminance Y of every pixel, 0 to 1: (.., 3) uint8 RGB → (..).

    Examples
    --------
    >>> luminance_of(np.array([[255, 255, 255], [128, 128, 128]], np.uint8)).round(4).tolist()
    [1.0, 0.2159]
    """
    return LIGHT[picture] @ SHARES[1]


def lab_of(picture: np.ndarray) -> np.ndarray:
    """CIELAB of every pixel, L* from 0 to 100: (.., 3) uint8 RGB → (.., 3).

    Examples
    --------
    >>> lab_of(np.array([255, 0, 0], np.uint8)).round(1).tolist()
    [53.2, 80.1, 67.2]
    """
    bent = _bent(LIGHT[picture] @ SHARES.T)
    x, y, z = np.moveaxis(bent, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def lightness_of(picture: np.ndarray) -> np.ndarray:
    """CIELAB L* of every pixel, 0 to 100: (.., 3) uint8 RGB → (..)."""
    return 116 * _bent(luminance_of(picture)) - 16


def _bent(share: np.ndarray) -> np.ndarray:
    """CIELAB's cube root, which is a line near black."""
    return np.where(share > (6 / 29) ** 3, np.cbrt(share), share * (29 / 6) ** 2 / 3 + 4 / 29)


def luminance(
    images: Any,
    *,
    column: str = "stim_file",
    root: str | Path | None = None,
    unreadable: Unreadable = "error",
    name: str = "luminance",
    store: Store | None = None,
    progress: Progress = silent,
) -> Signal:
    """The mean luminance of every picture.

    Parameters
    ----------
    images : DataFrame, list of paths, array, list of arrays, or Pictures
        As for `pictures_of`; of a film, what `read_film` gives.
    column, root
        As for `pictures_of`.
    unreadable : {"error", "censor"}
        What becomes of a picture that cannot be read: an error that names it, or samples that are NaN and not in use
        (`use` False), named in ``attrs["left_out"]``. A file that is not there is always an error.
    name : str
        The band.
    store : Store, optional
        Where the numbers are kept, part by part, and found again for the same pictures.
    progress : function (done, total, what), optional
        Told after each part.

    Returns
    -------
    Signal
        (n_pictures, 1): the mean over pixels of relative luminance Y, 0 (black) to 1 (white).

    Raises
    ------
    InputError
        Pictures that are not there, or cannot be read.
    SettingsError
        `unreadable` is another word; Pillow is not installed.

    Examples
    --------
    >>> luminance(np.array([[[0.0, 1.0]], [[1.0, 1.0]]])).values.ravel().tolist()
    [0.5, 1.0]
    """
    settings = {"kind": "luminance", "method": METHOD}
    columns = pd.DataFrame({"unit": ["relative luminance"]})
    begin = partial(per_picture, 1, _mean_luminance)
    return describe_band(images, begin, columns, settings, name, column, root, unreadable, store, progress)


def contrast(
    images: Any,
    *,
    column: str = "stim_file",
    root: str | Path | None = None,
    unreadable: Unreadable = "error",
    name: str = "contrast",
    store: Store | None = None,
    progress: Progress = silent,
) -> Signal:
    """The root-mean-square contrast of every picture.

    Parameters
    ----------
    images, column, root, unreadable, name, store, progress
        As for `luminance`.

    Returns
    -------
    Signal
        (n_pictures, 1): the standard deviation over pixels of relative luminance Y, which runs from 0 to 1 (Peli 1990,
        https://doi.org/10.1364/JOSAA.7.002032); 0 (uniform) to 0.5. It is not divided by the mean.

    Raises
    ------
    InputError, SettingsError
        As `luminance`.

    Examples
    --------
    >>> contrast(np.array([[[0.0, 1.0]], [[1.0, 1.0]]])).values.ravel().tolist()
    [0.5, 0.0]
    """
    settings = {"kind": "contrast", "method": METHOD}
    columns = pd.DataFrame({"unit": ["relative luminance, SD"]})
    begin = partial(per_picture, 1, _rms_contrast)
    return describe_band(images, begin, columns, settings, name, column, root, unreadable, store, progress)


def colour(
    images: Any,
    *,
    column: str = "stim_file",
    root: str | Path | None = None,
    unreadable: Unreadable = "error",
    name: str = "colour",
    store: Store | None = None,
    progress: Progress = silent,
) -> Signal:
    """Which colour every picture has on the whole, and how much of it.

    Parameters
    ----------
    images, column, root, unreadable, name, store, progress
        As for `luminance`.

    Returns
    -------
    Signal
        (n_pictures, 5); `unit` of the columns: `a*` (green to red) and `b*` (blue to yellow), the means over pixels in
        CIELAB; `chroma`, the mean of C* = √(a*² + b*²); `hue cos` and `hue sin`, Σa*/ΣC* and Σb*/ΣC*: the mean
        direction of hue, weighted by chroma, of length 1 where all pixels have one hue and 0 where hues cancel or there
        is none.

    Raises
    ------
    InputError, SettingsError
        As `luminance`.

    Examples
    --------
    >>> red = np.full((1, 2, 2, 3), [255, 0, 0], np.uint8)
    >>> dict(zip(colour(red).columns["unit"], colour(red).values[0].astype(float).round(2).tolist()))
    {'a*': 80.09, 'b*': 67.2, 'chroma': 104.55, 'hue cos': 0.77, 'hue sin': 0.64}
    """
    units = ["a*", "b*", "chroma", "hue cos", "hue sin"]
    settings = {"kind": "colour", "method": METHOD}
    columns = pd.DataFrame({"unit": units})
    begin = partial(per_picture, len(units), _mean_colour)
    return describe_band(images, begin, columns, settings, name, column, root, unreadable, store, progress)


def _mean_luminance(picture: np.ndarray) -> list[float]:
    return [sum(float(luminance_of(strip).sum()) for strip in _strips(picture)) / picture[..., 0].size]


def _rms_contrast(picture: np.ndarray) -> list[float]:
    (mean,) = _mean_luminance(picture)
    squares = sum(float(((luminance_of(strip) - mean) ** 2).sum()) for strip in _strips(picture))
    return [(squares / picture[..., 0].size) ** 0.5]


def _mean_colour(picture: np.ndarray) -> list[float]:
    sums = np.zeros(3)
    for strip in _strips(picture):
        a, b = np.moveaxis(lab_of(strip)[..., 1:], -1, 0)
        sums += a.sum(), b.sum(), np.hypot(a, b).sum()
    a, b, chroma = sums / picture[..., 0].size
    has_hue = chroma > 1e-6  # rounding gives grey no hue
    return [a, b, chroma, a / chroma if has_hue else 0.0, b / chroma if has_hue else 0.0]


def _strips(picture: np.ndarray) -> Iterator[np.ndarray]:
    rows = max(1, STRIP_PIXELS // picture.shape[1])
    return (picture[start : start + rows] for start in range(0, len(picture), rows))
