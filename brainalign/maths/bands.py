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
EDWARDS = 0.39  # √Hz; times √centre, the standard deviation of a sub-band
PER_OCTAVE = 7  # sub-bands of that width side by side
LEAST = np.finfo(np.float32).tiny  # what the logarithm of nothing is taken of
HALF = 2 * np.sqrt(2 * np.log(2))  # standard deviations between the points where a Gaussian has half its height


def edwards(hz: np.ndarray, low: float, high: float) -> np.ndarray:
    """A Gaussian at √(low · high) whose standard deviation is 0.39 √centre, as the Chang lab's filter banks have it.

    From Erik Edwards's thesis (page 143; https://faculty.washington.edu/seattle/brain-physics/theses/Edwards-thesis.pdf),
    as code of that school has it: wider at high frequencies, though by less than in proportion. For sub-bands side by
    side, seven to an octave: from 70 to 150 Hz an eighth of the band is as wide as the Gaussian at half of its height.

    Examples
    --------
    >>> edwards(np.array([96.1, 100.0, 103.9]), 95.0, 10_000 / 95).round(3).tolist()
    [0.607, 1.0, 0.607]
    """
    centre = np.sqrt(low * high)
    return np.exp(-0.5 * ((hz - centre) / (EDWARDS * np.sqrt(centre))) ** 2)


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
            if isfinite(high):
                ratio = (hz**2 - low * high) / (hz * (high - low)) if low else hz / high
            else:
                ratio = low / hz if low else np.zeros(len(hz))
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
        No sample knows what comes after it; they come late instead (`delay_s` of the plan). `shape` is `Butterworth`,
        which then goes forwards alone, and what is relative is so to what has been: not the run, but the run so far.
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
        if self.causal and not isinstance(self.shape, Butterworth):
            raise SettingsError(
                f"a causal band has Butterworth filters; found {getattr(self.shape, '__name__', self.shape)}: leave "
                "shape out, or give Butterworth(order)"
            )

    def __str__(self) -> str:
        if not self.envelope:
            upper = "" if self.high == inf else f", below {self.high:g} Hz"
            return "voltage" + (f", above {self.low:g} Hz" if self.low else "") + upper
        made = ("log " if self.log else "") + ("power" if self.power else "amplitude")
        cut = f" in {self.n_sub} sub-bands" if self.n_sub > 1 else ""
        so_far = " so far" if self.causal else ""
        against = {"mean": f", relative to the run's mean{so_far}", "z": f", z-scored{so_far}", None: ""}[self.relative]
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


def logarithm(values: np.ndarray) -> np.ndarray:
    """The natural logarithm; of nothing at all, that of the least number above 0.

    Examples
    --------
    >>> logarithm(np.array([1.0, 0.0])).round(1).tolist()
    [0.0, -87.3]
    """
    return np.log(np.maximum(values, LEAST))


def high_gamma(
    low: float = 70.0,
    high: float = 150.0,
    *,
    n_sub: int | None = None,
    power: bool = False,
    log: bool = False,
    relative: Literal["mean", "z"] | None = "mean",
    causal: bool = False,
) -> Band:
    """High-gamma activity: the envelopes of sub-bands, each relative to its own mean, averaged.

    Voltages fall off with frequency, so an envelope of the whole band is mostly that of its lower end. So it is cut
    into sub-bands (`edwards`: Gaussian filters evenly spaced in log frequency, the eight from 70 to 150 Hz that the
    Chang lab averages, https://changlabucsf.github.io/intonatang/_sources/preprocessing.txt), the Hilbert envelope of
    each is divided by its mean over the run, and the mean over sub-bands is taken: 1 is as much as usual. Others
    z-score each sub-band: `relative="z"`. The other published way, one band as it is, is `band(70, 200)`.

    Parameters
    ----------
    low, high : float
        Hz.
    n_sub : int, optional
        How many sub-bands; seven to an octave where it is not said, as wide as they are apart.
    power, log, relative, causal
        As for `Band`. Causal sub-bands are Butterworth's, side by side.

    Returns
    -------
    Band

    Raises
    ------
    SettingsError
        So few sub-bands that most of what lies between them would go unheard.

    Examples
    --------
    >>> print(high_gamma())
    amplitude at 70–150 Hz in 8 sub-bands, relative to the run's mean
    """
    shape = Butterworth() if causal else edwards
    if n_sub is None:
        n_sub = max(1, round(PER_OCTAVE * np.log2(high / low))) if 0 < low < high < inf else 1
    found = Band(low, high, n_sub, shape, power=power, log=log, relative=relative, causal=causal)
    middles = np.sqrt(sub_bands(low, high, int(n_sub)).prod(axis=1))
    apart, wide = middles[-1] * np.log(high / low) / n_sub, HALF * EDWARDS * np.sqrt(middles[-1])
    if apart > 2 * wide and not causal:
        raise SettingsError(
            f"{n_sub} sub-bands from {low:g} to {high:g} Hz are {apart:.0f} Hz apart, where each is {wide:.0f} Hz "
            f"wide: leave n_sub out, or take one band({low:g}, {high:g})"
        )
    return found


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
        Default `Butterworth(4)`, and no other where it is causal; see `Band`.
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

    A rise of the whole spectrum follows the firing of neurons more reliably than power in one narrow band does (Manning
    et al. 2009, https://doi.org/10.1523/JNEUROSCI.2041-09.2009, from 2 to 150 Hz).

    Parameters
    ----------
    low, high : float
        Hz.
    n_sub : int
        How many sub-bands, evenly spaced in log frequency, each a Gaussian; Butterworth's where they are causal.
    causal : bool
        As for `Band`. The lower a sub-band the later it comes: at 2 Hz by seconds. Begin higher.

    Returns
    -------
    Band

    Examples
    --------
    >>> print(broadband())
    log power at 2–150 Hz in 20 sub-bands, relative to the run's mean
    """
    shape = Butterworth() if causal else gaussian
    return Band(low, high, n_sub, shape, power=True, log=True, relative="mean", causal=causal)


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
    return Band(low, high, 1, Butterworth() if causal else flat, envelope=False, causal=causal)
