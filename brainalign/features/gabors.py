"""How much energy has a picture at each place, orientation and spatial frequency?

The Gabor wavelet pyramid of Kay, Naselaris, Prenger & Gallant (2008, https://doi.org/10.1038/nature06713): quadrature
pairs of Gabor filters at f × f places for each frequency f, whose energy is the root of the sum of the two squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import SettingsError
from brainalign.features.decoding import is_number
from brainalign.features.describing import Describer, Unreadable, describe_band, per_picture
from brainalign.features.light import lightness_of
from brainalign.features.pixels import resized, resizing
from brainalign.progress import Progress, silent
from brainalign.signals import Signal
from brainalign.store import Store

METHOD = 1  # counts up when the same picture would get other numbers


def gabor_energy(
    images: Any,
    frequencies: Sequence[float] = (1, 2, 4, 8, 16, 32),
    orientations: int = 8,
    *,
    octaves: float = 1.0,
    side: int = 128,
    log: bool = False,
    degrees: float | None = None,
    column: str = "stim_file",
    root: str | Path | None = None,
    unreadable: Unreadable = "error",
    name: str = "gabor",
    store: Store | None = None,
    progress: Progress = silent,
) -> Signal:
    """The energy of every picture in a pyramid of Gabor filters.

    A picture is made square, its lightness (CIELAB L*, 0 to 100) taken and the mean subtracted, so that it stands on a
    uniform ground. A filter at (x₀, y₀), of frequency f and orientation θ, is

        g(x, y) = exp(−((x−x₀)² + (y−y₀)²) / 2σ²) · exp(2πi f ((x−x₀) sin θ + (y−y₀) cos θ)),

    and the energy is 2 |Σ g·L*| / Σ |g|: the root of the sum of the squares of a cosine and a sine filter, in units of
    L*. A grating of the filter's own frequency and orientation gives its amplitude, wherever it lies and whatever its
    phase.

    Parameters
    ----------
    images : DataFrame, list of paths, array, list of arrays, or Pictures
        As for `pictures_of`.
    frequencies : list of float
        Cycles per picture (its height, and its width once it is square). Those of Kay et al. (2008).
    orientations : int
        How many, evenly over 180°: 0° is horizontal bars, 90° vertical ones, 45° such as rise to the right.
    octaves : float
        Bandwidth of the filters, full at half amplitude; σ = √(ln 2 / 2) (2^octaves + 1) / (2^octaves − 1) / (π f).
    side : int
        Pixels that pictures are resized to. Where proportions matter, crop before.
    log : bool
        Give log(1 + energy), as Naselaris et al. (2009, https://doi.org/10.1016/j.neuron.2009.09.006) use it.
    degrees : float, optional
        How wide pictures were shown, in degrees of visual angle: then columns also say cycles per degree.
    column, root, unreadable, name, store, progress
        As for `luminance`.

    Returns
    -------
    Signal
        (n_pictures, n_orientations × Σ f²); f × f places for a frequency f (rounded up), in the middle of as many
        squares. 10,920 columns as it is. Columns have `frequency` (cycles per picture), `orientation` (degrees), `x`
        and `y` (0 to 1 from the left and from the top), `frequency_degrees` (cycles per degree) with `degrees`, and
        `unit`, which says it all.

    Raises
    ------
    InputError, SettingsError
        As `luminance`; frequencies, orientations or a bandwidth that do not make filters, or that `side` cannot show.

    Examples
    --------
    >>> x = np.arange(64) / 64
    >>> bars = np.broadcast_to(0.5 + 0.2 * np.sin(2 * np.pi * 4 * x), (1, 64, 64))
    >>> energy = gabor_energy(bars, frequencies=[2, 4, 8], orientations=4, side=64)
    >>> energy.columns["unit"][int(energy.values.argmax())][:20]
    '4 cycles/picture 90°'
    """
    settings = resizing(side, least=2)
    wanted = _checked(frequencies, orientations, octaves, side)
    columns = _columns(wanted, orientations, degrees)

    def begin() -> Describer:
        banks = [_bank(frequency, orientations, octaves, side) for frequency in wanted]
        return per_picture(len(columns), lambda picture: _energies(picture, banks, side, log))

    known = {
        "kind": "gabor_energy",
        "method": METHOD,
        "frequencies": wanted,
        "orientations": int(orientations),
        "octaves": float(octaves),
        "log": bool(log),
        **settings,
    }
    return describe_band(images, begin, columns, known, name, column, root, unreadable, store, progress)


def _checked(frequencies: Sequence[float], orientations: Any, octaves: Any, side: int) -> list[float]:
    given = np.atleast_1d(np.asarray(frequencies, object)).tolist()
    wanted = [float(frequency) for frequency in given if is_number(frequency)]
    if (
        not wanted
        or len(wanted) < len(given)
        or len(set(wanted)) < len(wanted)
        or not all(0 < f <= side / 2 for f in wanted)
    ):
        raise SettingsError(
            f"frequencies are different numbers of cycles per picture, above 0 and up to half of side ({side / 2:g}); "
            f"found {frequencies!r}: leave the highest out, or choose a larger side"
        )
    if isinstance(orientations, bool) or not isinstance(orientations, (int, np.integer)) or orientations < 1:
        raise SettingsError(f"orientations is how many there are, 1 or more; found {orientations!r}")
    if not (is_number(octaves) and octaves > 0):
        raise SettingsError(f"octaves is the bandwidth of the filters, more than 0; found {octaves!r}")
    return wanted


def _grid(frequency: float) -> np.ndarray:
    """Where the filters of a frequency stand along an axis, 0 to 1."""
    n = int(np.ceil(frequency))
    return (np.arange(n) + 0.5) / n


def _columns(frequencies: Sequence[float], orientations: int, degrees: float | None) -> pd.DataFrame:
    """Frequency by frequency, orientation by orientation, row by row."""
    each = []
    for frequency in frequencies:
        angles, y, x = np.meshgrid(
            np.arange(orientations) * 180 / orientations, _grid(frequency), _grid(frequency), indexing="ij"
        )
        each.append(
            pd.DataFrame({"frequency": frequency, "orientation": angles.ravel(), "x": x.ravel(), "y": y.ravel()})
        )
    columns = pd.concat(each, ignore_index=True)
    columns.insert(0, "unit", [f"{f:g} cycles/picture {a:g}° at {x:.2f}, {y:.2f}" for f, a, x, y in columns.to_numpy()])
    return with_degrees(columns, degrees)


def with_degrees(columns: pd.DataFrame, degrees: float | None) -> pd.DataFrame:
    """Columns that have `frequency` in cycles per picture, with it in cycles per degree beside it."""
    if degrees is None:
        return columns
    if not (is_number(degrees) and degrees > 0):
        raise SettingsError(f"degrees is how wide pictures were shown, more than 0° of visual angle; found {degrees!r}")
    return columns.assign(frequency_degrees=columns["frequency"] / degrees)


@dataclass(frozen=True, eq=False)
class _Bank:
    """The filters of one frequency. A Gabor with a round envelope is a product of one along x and one along y.

    across : (side, n_orientations × n_places) complex
    down : (n_orientations, n_places, side) complex
    weight : (n_places, n_places), Σ |g|
    """

    across: np.ndarray
    down: np.ndarray
    weight: np.ndarray


def _bank(frequency: float, orientations: int, octaves: float, side: int) -> _Bank:
    sigma = np.sqrt(np.log(2) / 2) * (2**octaves + 1) / (2**octaves - 1) / (np.pi * frequency)
    away = (np.arange(side) + 0.5) / side - _grid(frequency)[:, None]
    envelope = np.exp(-(away**2) / (2 * sigma**2))
    angles = np.arange(orientations) * np.pi / orientations
    wave = 2j * np.pi * frequency * away
    across, down = (envelope * np.exp(wave * part[:, None, None]) for part in (np.sin(angles), np.cos(angles)))
    return _Bank(
        across=np.ascontiguousarray(across.reshape(-1, side).T.astype(np.complex64)),
        down=down.astype(np.complex64),
        weight=np.outer(envelope.sum(1), envelope.sum(1)),
    )


def _energies(picture: np.ndarray, banks: Sequence[_Bank], side: int, log: bool) -> np.ndarray:
    light = lightness_of(resized(picture, side, side))
    light = (light - light.mean()).astype(np.complex64)
    found = []
    for bank in banks:
        lines = (light @ bank.across).reshape(side, len(bank.down), -1).transpose(1, 0, 2)
        found.append(2 * np.abs(bank.down @ np.ascontiguousarray(lines)) / bank.weight)
    energy = np.concatenate([one.ravel() for one in found])
    return np.log1p(energy) if log else energy
