"""What does blood flow make of a moment? Haemodynamic responses, and events convolved with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from brainalign.design.resample import Kernel
from brainalign.errors import SettingsError

LENGTH_S = 50.0  # a response is over by then
STEP_S = 0.01  # at which responses are tabled; linear in between, good to 1e-5 of the peak
PEAKS_S = (3.5, 4.25, 5.0, 6.0, 7.0)  # of the library: what is met between voxels and people (Handwerker et al. 2004)
DISPERSIONS_S = (0.65, 1.0, 1.5, 2.2)

Hrf = Callable[[np.ndarray], np.ndarray]
"""Seconds since a moment of stimulation, any shape → response to it; 0 before the moment and from `LENGTH_S` on."""


@dataclass(frozen=True)
class DoubleGamma:
    """A response that rises, falls and undershoots: the difference of two gamma densities, of unit integral.

    h(t) = [g(t; delay, dispersion) − ratio · g(t; undershoot, undershoot_dispersion)] / (1 − ratio), where g(t; m, d)
    is the gamma density of shape m / d and scale d: its mean is m, its mode m − d (all in s). With a unit integral a
    long block's response levels off at 1, as nilearn has it. Sources: Friston et al. (1998), Glover (1999).

    Parameters
    ----------
    delay, undershoot : float, seconds
        Means of the two densities.
    dispersion, undershoot_dispersion : float, seconds
        Their scales.
    ratio : float
        Area of the undershoot over that of the peak, at least 0 and below 1.
    name : str

    Raises
    ------
    SettingsError
        A parameter out of its range.

    Examples
    --------
    >>> t = np.arange(0, 40, 0.1)
    >>> h = DoubleGamma()(t)
    >>> round(float(t[h.argmax()]), 1), round(float(h.sum() * 0.1), 3)
    (5.0, 1.0)
    """

    delay: float = 6.0
    undershoot: float = 16.0
    dispersion: float = 1.0
    undershoot_dispersion: float = 1.0
    ratio: float = 1 / 6
    name: str = "double gamma"

    def __post_init__(self) -> None:
        pairs = ((self.delay, self.dispersion), (self.undershoot, self.undershoot_dispersion))
        if not (all(delay > scale > 0 for delay, scale in pairs) and 0 <= self.ratio < 1):
            raise SettingsError(
                f"a double gamma has dispersions above 0, delays above them and a ratio from 0 to below 1; found {self}"
            )

    def __call__(self, t: np.ndarray) -> np.ndarray:
        """The response at times t (s) after a moment of stimulation, per second."""
        t = np.asarray(t, float)
        peak = _gamma(t, self.delay, self.dispersion)
        return (peak - self.ratio * _gamma(t, self.undershoot, self.undershoot_dispersion)) / (1 - self.ratio)


def _gamma(t: np.ndarray, mean: float, scale: float) -> np.ndarray:
    from scipy.special import gammaln

    shape, after = mean / scale, t > 0
    x = np.where(after, t, 1.0) / scale
    return np.where(after, np.exp((shape - 1) * np.log(x) - x - gammaln(shape)) / scale, 0.0)


spm = DoubleGamma(name="spm")
"""SPM's canonical response: peak at 5 s, undershoot at 15 s (Friston et al. 1998)."""

glover = DoubleGamma(undershoot=12.0, dispersion=0.9, undershoot_dispersion=0.9, ratio=0.48, name="glover")
"""Glover's (1999) response to a sound, as nilearn parametrises it: peak at 5.1 s, a deep undershoot."""


def hrf_library(
    peaks_s: Sequence[float] = PEAKS_S, dispersions_s: Sequence[float] = DISPERSIONS_S
) -> tuple[DoubleGamma, ...]:
    """Responses that peak early or late, and are narrow or wide: one of them is chosen for each voxel.

    A grid of double gammas: of every time to peak with every dispersion, the undershoot moved along in proportion to
    SPM's. It does what the library of GLMsingle does (Allen et al. 2022; Prince et al. 2022), whose 20 responses were
    found in the data of NSD's people; these are computed, and SPM's is among them.

    Parameters
    ----------
    peaks_s : sequence of float, seconds
        Times to peak.
    dispersions_s : sequence of float, seconds
        Scales d; the response to a moment is about 2.4 √((peak + d) d) s wide at half its height.

    Returns
    -------
    tuple of DoubleGamma
        20 of them by default, called "peak 5 s, dispersion 1 s".

    Examples
    --------
    >>> len(hrf_library()), hrf_library()[9].name
    (20, 'peak 5 s, dispersion 1 s')
    """
    return tuple(
        DoubleGamma(
            peak + spread,
            (peak + spread) * spm.undershoot / spm.delay,
            spread,
            spread,
            name=f"peak {peak:g} s, dispersion {spread:g} s",
        )
        for peak, spread in product(peaks_s, dispersions_s)
    )


def time_derivative(hrf: Hrf, step_s: float = 0.1) -> Hrf:
    """How a response rises: (h(t) − h(t − step)) / step; added to it, it moves it to an earlier time.

    Examples
    --------
    >>> bool(time_derivative(spm)(np.array(2.0)) > 0 > time_derivative(spm)(np.array(8.0)))
    True
    """
    return _named(lambda t: (hrf(t) - hrf(np.asarray(t) - step_s)) / step_s, f"{name_of(hrf)} time derivative")


def dispersion_derivative(hrf: Hrf, step_s: float = 0.01) -> Hrf:
    """How a response narrows: (h of dispersion d − h of d + step) / step; added to it, it makes it narrower.

    Examples
    --------
    >>> bool(dispersion_derivative(spm)(np.array(5.0)) > 0)  # a narrow peak is a high one
    True
    """
    if not isinstance(hrf, DoubleGamma):
        raise SettingsError(f"{name_of(hrf)} is no DoubleGamma: only they have a dispersion; take dispersion=False")
    wider = replace(hrf, dispersion=hrf.dispersion + step_s)
    return _named(lambda t: (hrf(t) - wider(t)) / step_s, f"{hrf.name} dispersion derivative")


@dataclass(frozen=True)
class Basis:
    """Several responses that are fitted together to every event.

    Parameters
    ----------
    functions : tuple of Hrf
    name : str
    lags : tuple of float, seconds
        Of every function, where each has an amplitude of interest. Empty: only that of the first has, the others (made
        orthogonal to it) take up what its shape misses.
    """

    functions: tuple[Hrf, ...]
    name: str
    lags: tuple[float, ...] = ()


def with_derivatives(hrf: Hrf, dispersion: bool = False) -> Basis:
    """A response with its derivative in time, and in dispersion: for latencies that differ by about a second.

    Amplitudes are those of the response itself, to which the derivatives are made orthogonal for every event, as SPM
    and nilearn do it: signed, unbiased, linear in the data. The root of the sum of squares (Calhoun et al. 2004;
    Steffener et al. 2010), which gives back what a latency took, is none of these: the noise of the derivatives makes
    it larger, and in single trials most of it is noise.

    Examples
    --------
    >>> with_derivatives(spm, dispersion=True).name
    'spm with time and dispersion derivative'
    """
    functions = (hrf, time_derivative(hrf), *((dispersion_derivative(hrf),) if dispersion else ()))
    what = "time and dispersion" if dispersion else "time"
    return Basis(functions, f"{name_of(hrf)} with {what} derivative")


def fir(stop_s: float = 20.0, step_s: float = 2.0, start_s: float = 0.0) -> Basis:
    """No assumption on shape: an amplitude for each lag after the onset, a finite impulse response.

    Lag l is what volumes of l to l + step s after an onset show; how long the event lasted plays no part. The step is
    best the TR, or a multiple.

    Examples
    --------
    >>> fir(stop_s=6.0).lags
    (0.0, 2.0, 4.0)
    """
    if not (step_s > 0 and stop_s > start_s >= 0 and stop_s <= LENGTH_S):
        raise SettingsError(
            f"lags go from 0 or more to at most {LENGTH_S:g} s in steps above 0; found {start_s:g} to {stop_s:g} s in "
            f"steps of {step_s:g} s"
        )
    lags = tuple(round(float(lag), 6) for lag in np.arange(start_s, stop_s - 1e-6, step_s))
    return Basis(tuple(_bin(lag, step_s) for lag in lags), f"FIR, {lags[0]:g} to {lags[-1]:g} s", lags)


def _bin(lag: float, step: float) -> Hrf:
    low, high = lag - STEP_S / 2, lag + step - STEP_S / 2  # on the table's grid: lag itself is in, lag + step is not
    return _named(lambda t: ((np.asarray(t) >= low) & (np.asarray(t) < high)) / step, f"{lag:g} s")


def convolved(hrf: Hrf) -> Kernel:
    """A kernel for `resample`: what an event's response, summed over the time it was on, comes to in each volume.

    The weight of an event from o to o + d (s) in a volume at time t is ∫ h(t − o − s) ds over s from 0 to d: with a
    unit integral it is 1 when it has been on for long, as in nilearn (`compute_regressor`, gain 1). An event without
    duration is an impulse, h(t − o), that is as much as one second of stimulation; nilearn's impulse lasts TR /
    oversampling (TR / 50) s and is smaller by that factor.

    Parameters
    ----------
    hrf : function
        `spm`, `glover`, a `DoubleGamma`, or one of your own: seconds (any shape) → response.

    Returns
    -------
    Kernel

    Examples
    --------
    >>> import pandas as pd
    >>> from brainalign.design.resample import resample
    >>> from brainalign.signals import Signal
    >>> once = pd.DataFrame({"run": ["1"], "time": [4.0], "duration": [30.0]})
    >>> clock = pd.DataFrame({"run": "1", "time": np.arange(0.0, 60.0, 6.0)})
    >>> block = Signal([[1.0]], once, pd.DataFrame({"band": ["on"]}))
    >>> [round(float(w), 2) for w in resample(block, onto=clock, kernel=convolved(spm)).values[:, 0]]
    [0.0, 0.02, 0.97, 1.13, 1.03, 1.0, 0.98, 0.03, -0.13, -0.03]
    """
    respond = responder(hrf)

    def kernel(times: np.ndarray, onsets: np.ndarray, durations: np.ndarray, tr: float) -> np.ndarray:
        del tr  # seconds are all a response knows
        return respond(times[:, None] - onsets[None, :], durations)

    kernel.__name__ = f"convolved({name_of(hrf)})"
    return kernel


def responder(hrf: Hrf) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """(seconds since onset (.., e), durations (e,)) → responses (.., e), from one table of h and its integral.

    Raises
    ------
    SettingsError
        What is given is no response: not one finite number per time.
    """
    t, h = table_of(hrf)
    whole = np.r_[0.0, np.cumsum(h[1:] + h[:-1]) * STEP_S / 2]

    def respond(since: np.ndarray, durations: np.ndarray) -> np.ndarray:
        moments = durations == 0
        if moments.all():
            return np.interp(since, t, h, left=0.0, right=0.0)
        lasting = np.interp(since, t, whole) - np.interp(since - durations, t, whole)
        if moments.any():
            lasting[..., moments] = np.interp(since[..., moments], t, h, left=0.0, right=0.0)
        return lasting

    return respond


def table_of(hrf: Hrf) -> tuple[np.ndarray, np.ndarray]:
    """A response in steps of `STEP_S`: times (s), and its values."""
    t = np.linspace(0, LENGTH_S, round(LENGTH_S / STEP_S) + 1)
    h = np.asarray(hrf(t), float)
    if h.shape != t.shape or not np.isfinite(h).all() or not h.any():
        raise SettingsError(
            f"{name_of(hrf)} is no response: of {len(t)} times (s) it makes an array of shape {h.shape}"
            f"{'' if h.shape != t.shape else ', with numbers that are not finite or all 0'}; it has to give a finite "
            "number for each"
        )
    return t, h


def name_of(hrf: Hrf | Basis) -> str:
    """What a response is called."""
    return str(getattr(hrf, "name", "") or getattr(hrf, "__name__", repr(hrf)))


def _named(function: Hrf, name: str) -> Hrf:
    function.__name__ = name  # type: ignore[attr-defined]
    return function
