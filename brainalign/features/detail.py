"""How much of a picture is coarse, how much fine?"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.features.describing import Unreadable, describe_band, per_picture
from brainalign.features.gabors import with_degrees
from brainalign.features.light import lightness_of
from brainalign.features.pixels import resized, resizing
from brainalign.progress import Progress, silent
from brainalign.signals import Signal
from brainalign.store import Store

METHOD = 1  # counts up when the same picture would get other numbers


def spatial_frequency(
    images: Any,
    *,
    side: int = 128,
    log: bool = False,
    degrees: float | None = None,
    column: str = "stim_file",
    root: str | Path | None = None,
    unreadable: Unreadable = "error",
    name: str = "spatial_frequency",
    store: Store | None = None,
    progress: Progress = silent,
) -> Signal:
    """The energy of every picture's Fourier spectrum in octaves, over all orientations and places.

    A picture is made square, its lightness (CIELAB L*, 0 to 100) taken, the mean subtracted and a Hann window laid on
    it, without which its edges would have energy of their own.

    Parameters
    ----------
    images : DataFrame, list of paths, array, list of arrays, or Pictures
        As for `pictures_of`.
    side : int
        Pixels that pictures are resized to: half as many cycles per picture can be told apart. Where proportions
        matter, crop before.
    log : bool
        Give log(1 + amplitude).
    degrees : float, optional
        How wide pictures were shown, in degrees of visual angle: then columns also say cycles per degree.
    column, root, unreadable, name, store, progress
        As for `luminance`.

    Returns
    -------
    Signal
        (n_pictures, n_octaves): the root of the spectrum's energy from f/√2 to f√2 cycles per picture, f = 1, 2, 4 …
        as far as the octave is whole, as a standard deviation of L*: the squares of all octaves add up to nearly the
        variance under the window. Columns have `frequency` (f), `frequency_degrees` with `degrees`, and `unit`.

    Raises
    ------
    InputError, SettingsError
        As `luminance`; a side below 4 pixels.

    Examples
    --------
    >>> x = np.arange(64) / 64
    >>> bars = np.broadcast_to(0.5 + 0.2 * np.sin(2 * np.pi * 8 * x), (1, 64, 64))
    >>> energy = spatial_frequency(bars, side=64)
    >>> energy.columns["unit"][int(energy.values.argmax())]
    '8 cycles/picture'
    """
    settings = resizing(side, least=4)
    octaves = 2.0 ** np.arange(int(np.floor(np.log2(side / 2 / np.sqrt(2)))) + 1)
    columns = pd.DataFrame({"unit": [f"{f:g} cycles/picture" for f in octaves], "frequency": octaves})
    window = np.outer(*[np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2] * 2)
    window /= np.sqrt((window**2).mean())
    along = np.fft.fftfreq(side, 1 / side)
    radius = np.hypot(along[:, None], along[None, : side // 2 + 1])
    band = np.digitize(radius, np.append(octaves / np.sqrt(2), octaves[-1] * np.sqrt(2)))  # 0: below the first
    twice = np.full(radius.shape, 2.0)  # rfft leaves out the other half, but for the columns that are their own
    twice[:, 0] = 1
    if side % 2 == 0:
        twice[:, -1] = 1

    def measure(picture: np.ndarray) -> np.ndarray:
        light = lightness_of(resized(picture, side, side))
        light -= (light * window**2).sum() / (window**2).sum()
        power = twice * np.abs(np.fft.rfft2(light * window)) ** 2 / side**4
        energy = np.sqrt(np.bincount(band.ravel(), power.ravel(), len(octaves) + 2)[1:-1])
        return np.log1p(energy) if log else energy

    known = {"kind": "spatial_frequency", "method": METHOD, "log": bool(log), **settings}
    columns = with_degrees(columns, degrees)
    begin = partial(per_picture, len(octaves), measure)
    return describe_band(images, begin, columns, known, name, column, root, unreadable, store, progress)
