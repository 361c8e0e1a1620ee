"""Which frequencies of a voltage are meant, through which filter, and what is made of them?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite
from typing import Literal

import numpy as np
from scipy.special import ndtr

from brainalign.errors import SettingsError

Shape = Callable[[np.ndarray, float, float], np.ndarray]
"""(frequencies (f,), low, high), all in Hz → real gains (f,), 1 in the middle: a filter without delay."""

EDGE_SD = 7  # an edge of `flat` goes from −73 dB to 1 within so many of its standard deviations
HALF = 2 * np.sqrt(2 * np.log(2))  # standard deviations between the points where a Gaussian has half its height


def edwards(hz: np.ndarray, low: float, high: float) -> np.ndarray:
    """A Gaussian at √(low · high) whose standard deviation is 0.39 √centre, as the Chang lab's filter banks have it.

    From Edwards (2007), "Electrocortical activation and brain mapping", a thesis of the University of California,
    Berkeley: wider at high frequencies, though by less than in proportion. For many sub-bands side by side; between 70
    and 150 Hz an eighth of the band is as wide as the Gaussian at half of its height.

    Examples
    --------
    >>> edwards(np.array([96.1, 100.0, 103.9]), 95.0, 10_000 / 95).round(3).tolist()
    [0.607, 1.0, 0.607]
    """
    centre = np.sqrt(low * high)
    return np.exp(-0.5 * ((hz - centre) / (0.39 * np.sqrt(centre))) ** 2)


def gaussian(hz: np.ndarray, low: float, high: float) -> np.ndarray:
    """A Gaussian that has half of its height at `low` and `high`: the shortest response in time for its width.

    Examples
    --------
    >>> gaussian(np.array([4.0, 6.0, 8.0]), 4.0, 8.0).round(3).tolist()
    [0.5, 1.0, 0.5]
    """
    return np.exp(-0.5 * ((hz - (low + high) / 2) / ((high - low) / HALF)) ** 2)


def flat(hz: np.ndarray, low: float, high: float) -> np.ndarray:
    """1 from `low` to `high`, with smooth edges outside that are as wide as those of MNE's FIR filters.

    They are a quarter of the edge's frequency wide, at least 2 Hz, half-way at half of the height. No edge below where
    `low` is 0, none above where `high` is infinite.

    Examples
    --------
    >>> flat(np.array([10.0, 70.0, 100.0, 200.0, 225.0]), 70.0, 200.0).round(3).tolist()
    [0.0, 1.0, 1.0, 1.0, 0.5]
    """
    gain = np.ones(len(hz))
    if low > 0:
        width = min(max(low / 4, 2), low)
        gain = gain * step(hz, low - width, low)
    if isfinite(high):
        gain = gain * step(-hz, -high - max(high / 4, 2), -high)
    return gain


def step(hz: np.ndarray, start: float, stop: float) -> np.ndarray:
    """From 0 at `start` to 1 at `stop` along the integral of a Gaussian, so that it rings as little as can be."""
    return ndtr((hz - (start + stop) / 2) / ((stop - start) / EDGE_SD))


@dataclass(frozen=True)
class Butterworth:
    """A Butterworth band-pass of this order, forwards and backwards (`filtfilt`): |H|², half at `low` and `high`.

    Examples
    --------
    >>> Butterworth(4)(np.array([35.0, 70.0, 118.0, 200.0]), 70.0, 200.0).round(3).tolist()
    [0.0, 0.5, 1.0, 0.5]
    """

    order: int = 4

    def __call__(self, hz: np.ndarray, low: float, high: float) -> np.ndarray:
        """The gain: that of the analogue filter, which the digital one is below a fraction of its sampling rate."""
        with np.errstate(divide="ignore"):
            ratio = (hz**2 - low * high) / (hz * (high - low))
        return 1 / (1 + ratio ** (2 * self.order))


@dataclass(frozen=True)
class Band:
    """What is to be made of a voltage.

    Parameters
    ----------
    low, high : float
        Hz.
    n_sub : int
        Into how many sub-bands it is cut, evenly in log frequency; their mean is taken in the end.
    shape : function (hz, low, high) → gain
        The filter of each sub-band: `Butterworth`, `edwards`, `gaussian`, `flat`, or one of your own.
    envelope : bool
        Its magnitude; else the filtered voltage itself.
    power : bool
        The square of the magnitude; a sine of amplitude A has A², without it A.
    log : bool
        The natural logarithm of that, before it is smoothed (the geometric mean); of causal bands, after.
    relative : "mean", "z" or None
        Each sub-band as a multiple of its own mean over the run (of its log: minus the mean), or z-scored within the
        run, so that low frequencies do not outweigh high ones; or in volts.
    causal : bool
        No sample knows what comes after it, but for what it is relative to; they come late instead (`delay_s` of the
        plan). Whatever `shape` is, filters are then Butterworth's, of order 4 and forwards alone.
    """

    low: float
    high: float
    n_sub: int = 1
    shape: Shape = Butterworth()
    envelope: bool = True
    power: bool = False
    log: bool = False
    relative: Literal["mean", "z"] | None = None
    causal: bool = False

    def __post_init__(self) -> None:
        least = 0 if not self.envelope else np.nextafter(0, 1)
        if not (least <= self.low < self.high and (isfinite(self.high) or not self.envelope)):
            raise SettingsError(
                f"a band goes from a low to a higher frequency in Hz, both above 0; found {self.low:g} to {self.high:g}"
            )
        if self.n_sub != int(self.n_sub) or self.n_sub < 1 or (self.n_sub > 1 and not self.envelope):
            raise SettingsError(f"a band has 1 sub-band or more, raw voltage has one; found {self.n_sub}")
        if self.relative not in ("mean", "z", None):
            raise SettingsError(f"relative is 'mean', 'z' or None; found {self.relative!r}")

    def __str__(self) -> str:
        if not self.envelope:
            upper = "" if self.high == inf else f", below {self.high:g} Hz"
            return "voltage" + (f", above {self.low:g} Hz" if self.low else "") + upper
        made = ("log " if self.log else "") + ("power" if self.power else "amplitude")
        cut = f" in {self.n_sub} sub-bands" if self.n_sub > 1 else ""
        against = {"mean": ", relative to the run's mean", "z": ", z-scored", None: ""}[self.relative]
        return f"{made} at {self.low:g}–{self.high:g} Hz{cut}{against}{', causal' if self.causal else ''}"


def sub_bands(low: float, high: float, n: int) -> np.ndarray:
    """(n, 2) edges in Hz of n bands side by side, equally wide in log frequency.

    Examples
    --------
    >>> sub_bands(10.0, 160.0, 2).round(6).tolist()
    [[10.0, 40.0], [40.0, 160.0]]
    """
    edges = np.geomspace(low, high, n + 1) if n > 1 else np.array([low, high])
    return np.stack([edges[:-1], edges[1:]], axis=1)


def high_gamma(
    low: float = 70.0,
    high: float = 150.0,
    *,
    n_sub: int = 8,
    power: bool = False,
    log: bool = False,
    relative: Literal["mean", "z"] | None = "mean",
    causal: bool = False,
) -> Band:
    """High-gamma activity: the envelopes of sub-bands, each relative to its own mean, averaged.

    Voltages fall off with frequency, so an envelope of the whole band is mostly that of its lower end. So it is cut
    into sub-bands (Gaussian filters evenly spaced in log frequency, eight from 70 to 150 Hz: Edwards 2007; Moses et al.
    2016, https://doi.org/10.1088/1741-2560/13/5/056004), the Hilbert envelope of each is divided by its mean over the
    run, and the mean over sub-bands is taken (Ossandón et al. 2011, https://doi.org/10.1523/JNEUROSCI.2483-11.2011):
    1 is as much as usual. The other published way, one band as it is, is `band(70, 200)`.

    Parameters
    ----------
    low, high : float
        Hz.
    n_sub : int
        How many sub-bands.
    power, log, relative, causal
        As for `Band`.

    Returns
    -------
    Band

    Examples
    --------
    >>> print(high_gamma())
    amplitude at 70–150 Hz in 8 sub-bands, relative to the run's mean
    """
    return Band(low, high, n_sub, edwards, power=power, log=log, relative=relative, causal=causal)


def band(
    low: float,
    high: float,
    *,
    shape: Shape = Butterworth(4),
    power: bool = False,
    log: bool = False,
    relative: Literal["mean", "z"] | None = None,
    causal: bool = False,
) -> Band:
    """One band of frequencies: its Hilbert envelope in volts.

    `band(70, 200)` is high-gamma the other published way, one Butterworth filter, forwards and backwards, and a Hilbert
    transform; `band(4, 8)` theta, `band(13, 30)` beta.

    Parameters
    ----------
    low, high : float
        Hz.
    shape : function (hz, low, high) → gain
        Default `Butterworth(4)`; see `Band`.
    power, log, relative, causal
        As for `Band`.

    Returns
    -------
    Band

    Examples
    --------
    >>> print(band(4, 8, power=True))
    power at 4–8 Hz
    """
    return Band(low, high, 1, shape, power=power, log=log, relative=relative, causal=causal)


def broadband(low: float = 2.0, high: float = 150.0, *, n_sub: int = 20, causal: bool = False) -> Band:
    """Broadband power: the mean of log power over all frequencies, each relative to its own mean.

    A rise of the whole spectrum follows the firing of neurons, which a rhythm in one band does not (Manning et al.
    2009, https://doi.org/10.1523/JNEUROSCI.2041-09.2009, who fit a line through log power at log-spaced frequencies;
    this is its height in the middle).

    Parameters
    ----------
    low, high : float
        Hz.
    n_sub : int
        How many sub-bands, evenly spaced in log frequency, each a Gaussian.
    causal : bool
        As for `Band`.

    Returns
    -------
    Band

    Examples
    --------
    >>> print(broadband())
    log power at 2–150 Hz in 20 sub-bands, relative to the run's mean
    """
    return Band(low, high, n_sub, gaussian, power=True, log=True, relative="mean", causal=causal)


def raw(low: float = 0.0, high: float = inf, *, causal: bool = False) -> Band:
    """The voltage itself, resampled: what the rate cannot carry is filtered out.

    Parameters
    ----------
    low, high : float
        Hz; what is below or above is filtered out too.
    causal : bool
        As for `Band`.

    Returns
    -------
    Band

    Examples
    --------
    >>> print(raw(0.5))
    voltage, above 0.5 Hz
    """
    return Band(low, high, 1, flat, envelope=False, causal=causal)
