"""How strong is each band of frequencies, moment by moment, in a recording of any length?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np
from scipy.fft import ifft, irfft, next_fast_len, rfft

from brainalign.errors import SettingsError
from brainalign.maths.bands import Band, step, sub_bands
from brainalign.maths.causal import CausalPlan, causal_plan
from brainalign.maths.line_noise import check_line, notches
from brainalign.maths.overlap import REACH, fill, lasts, near, windows

SUPPORT = 1e-5  # of its height: where a filter's gain is below, frequencies are left out
TAIL = 1e-5  # of the sum of its absolute values: what of a filter's response in time is cut off
# how often each is sampled at least: per hertz of a filter's width, per hertz of all it lets anything of through, and
# per output; the less smooth, the more often, so that what aliases is 0.1, 0.2 and 2 % of their standard deviation
POWER, AMPLITUDE, LOG = (4, 1, 0.5), (6, 3, 1.5), (24, 4.4, 3)
PADS = 10  # a window is so many times as long as what it shares with the next on one side
HORIZON_S = 40.0  # within which a response in time has to be over
PASS, STOP = 0.2, 0.5  # of the output rate: smoothing leaves what is below the one, and nothing above the other
KAISER = 7.86  # the window of the smoothing kernel: −80 dB
HALF_LENGTH = 2.51  # of that kernel, in 1/(STOP − PASS)
NUMBERS = 4 << 20  # transformed together

Blocks = Callable[[], Iterable[np.ndarray]]
"""Called, a run from its beginning: arrays (m, channels), volts; NaN where a sample is not to be used."""

Reading = tuple[slice, slice, np.ndarray]
"""Rows of the output, the points they are read from, and the weights, (rows, points)."""


@dataclass(frozen=True, eq=False)
class Slice:
    """What a sub-band takes of a window's spectrum: bins from `first` on, and their gains."""

    first: int
    gain: np.ndarray


@dataclass(frozen=True, eq=False)
class Grid:
    """Where outputs lie and how they are read.

    ratio : samples per output, exactly
    middle : Hz, where the smoothing kernel passes half
    half_s : how far it reaches, s
    """

    ratio: Fraction
    middle: float
    half_s: float

    def kernel(self, t: np.ndarray) -> np.ndarray:
        """The smoothing kernel at times t, s: a sinc under a Kaiser window."""
        inside = np.sqrt(np.maximum(0, 1 - (t / self.half_s) ** 2))
        return np.where(np.abs(t) < self.half_s, np.sinc(2 * self.middle * t) * np.i0(KAISER * inside), 0)

    @property
    def reach_s(self) -> float:
        """How far of that it matters, s."""
        times = np.linspace(0, self.half_s, 1000)
        return times[lasts(self.kernel(times) ** 2, REACH) - 1]


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """A band without delay: overlapping windows, each sub-band a slice of their spectra.

    The analytic signal of a sub-band is the inverse transform of those bins alone where its filter lets anything
    through: so few that it comes out at a low rate. Its magnitude is smoothed and read at k / rate by one kernel.

    band, fs, rate : what was asked for
    reach_s : outputs closer than this to a missing sample rest on it
    delay_s : how late outputs are
    window, pad : samples per window, and what of them on each side is for its neighbours
    points : samples per window of the analytic signals
    slices : of each sub-band
    grid : where outputs lie
    """

    band: Band
    fs: float
    rate: float
    reach_s: float
    window: int
    pad: int
    points: int
    slices: tuple[Slice, ...]
    grid: Grid
    delay_s: float = 0.0

    def pieces(self, blocks: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Of one pass over a run: some outputs, (n_sub, k, channels), and whether each is touched, (k, channels)."""
        ratio, begin, k = self.grid.ratio, 0, 0
        kept: dict[tuple[Fraction, int], list[Reading]] = {}
        for window, n in windows(blocks, self.window, self.pad):
            stop = ceil((begin + n) / ratio)  # outputs before sample begin + n
            first = k * ratio - begin + self.pad  # where the first lies in the window
            values, missing = fill(window)
            if (first, stop - k) not in kept:  # where rates allow, outputs lie alike in every window
                kept = {(first, stop - k): list(self._read(first, stop - k))}
            out = self._act(values, kept[first, stop - k])
            yield out, None if missing is None else self._touched(missing, first, stop - k)
            begin, k = begin + n, stop

    def _act(self, window: np.ndarray, reading: list[Reading]) -> np.ndarray:
        n_out = reading[-1][0].stop if reading else 0
        out = np.empty((len(self.slices), n_out, window.shape[1]), np.float32)
        together = max(1, NUMBERS // self.window)
        for some in (slice(c, c + together) for c in range(0, window.shape[1], together)):
            level = window[:, some].mean(axis=0)
            spectrum = np.asarray(rfft((window[:, some] - level).astype(np.float32), axis=0))
            for each, to in zip(self.slices, out[..., some], strict=True):
                made = self._made(spectrum[each.first : each.first + len(each.gain)] * each.gain[:, None])
                for rows, points, weights in reading:
                    np.matmul(weights, made[points], out=to[rows])
                if not self.band.envelope and self.band.low == 0:
                    to += level.astype(np.float32)
        return out

    def _made(self, spectrum: np.ndarray) -> np.ndarray:
        """(points, channels) what is smoothed, of the bins of a sub-band."""
        if not self.band.envelope:
            return np.asarray(irfft(spectrum, self.points, axis=0))
        return made_of(np.abs(np.asarray(ifft(spectrum, self.points, axis=0, overwrite_x=True))), self.band)

    def _read(self, first: Fraction, n: int) -> Iterator[Reading]:
        """How n outputs, the first at such a sample of the window, are read from points."""
        per_point = self.window / self.points
        at = (float(first) + float(self.grid.ratio) * np.arange(n)) / per_point  # in points
        half = self.grid.half_s * self.fs / per_point
        together = max(64, int(4 * half / (float(self.grid.ratio) / per_point)))
        for rows in (slice(r, min(r + together, n)) for r in range(0, n, together)):
            points = slice(max(0, int(at[rows][0] - half)), min(self.points, ceil(at[rows][-1] + half) + 1))
            weights = self.grid.kernel((at[rows, None] - np.arange(points.start, points.stop)) * per_point / self.fs)
            yield rows, points, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)

    def _touched(self, missing: np.ndarray, first: Fraction, n: int) -> np.ndarray:
        at, reach = float(first) + float(self.grid.ratio) * np.arange(n), self.reach_s * self.fs
        return near(missing, np.ceil(at - reach).astype(int), np.floor(at + reach).astype(int))


Plan = WindowPlan | CausalPlan
"""How a band is computed; made by `envelope_plan`."""


def made_of(magnitude: np.ndarray, band: Band) -> np.ndarray:
    """Power or amplitude, or its logarithm."""
    made = magnitude * magnitude if band.power else magnitude
    return np.log(np.maximum(made, np.finfo(np.float32).tiny)) if band.log else made


def n_outputs(n_samples: int, fs: float, rate: float) -> int:
    """How many outputs a run has: at 0, 1/rate, … up to the time of its last sample.

    Examples
    --------
    >>> n_outputs(2000, 2000.0, 100.0), n_outputs(2001, 2000.0, 100.0)
    (100, 101)
    """
    return ceil(n_samples / _ratio(fs, rate))


def _ratio(fs: float, rate: float) -> Fraction:
    return Fraction(fs) / Fraction(rate)


def envelope_plan(band: Band, fs: float, rate: float, *, line_hz: float | None = None) -> Plan:
    """Decide how a band is computed: which bins, which windows, at which rates.

    Parameters
    ----------
    band : Band
    fs : float
        Samples per second of the recording, Hz.
    rate : float
        Samples per second of what comes out, Hz; any up to `fs`, not only whole parts of it.
    line_hz : float, optional
        Line noise, which is removed with its harmonics; see `notches`.

    Returns
    -------
    Plan
        For `envelopes`; `reach_s` and `delay_s` say how far and how late.

    Raises
    ------
    SettingsError
        A band the recording does not have, a rate above its own.

    Examples
    --------
    >>> from brainalign.maths.bands import high_gamma
    >>> plan = envelope_plan(high_gamma(), 2000.0, 100.0, line_hz=50.0)
    >>> len(plan.slices), round(plan.window / plan.fs), round(plan.points / plan.window * plan.fs)
    (8, 8, 169)
    """
    if not 0 < rate <= fs:
        raise SettingsError(f"a recording of {fs:g} samples per second has none at {rate:g}: ask for {fs:g} or less")
    top = band.high if band.envelope or np.isfinite(band.high) else band.low
    if not top < fs / 2:
        raise SettingsError(
            f"{band.low:g} to {band.high:g} Hz is not in {fs:g} samples per second, which end at {fs / 2:g} Hz: "
            "choose a lower band"
        )
    line = check_line(line_hz, fs)
    if band.causal:
        return causal_plan(band, fs, rate, line)
    gains = [_gain(band, low, high, fs, rate, line) for low, high in sub_bands(band.low, band.high, band.n_sub)]
    hz = np.arange(0, fs / 2, 1 / HORIZON_S)
    shapes = [gain(hz) for gain in gains]
    supports = [hz[np.flatnonzero(shape >= SUPPORT * shape.max())[[0, -1]]] for shape in shapes]
    if band.envelope:
        width = max(np.square(shape).sum() / HORIZON_S for shape in shapes)  # of noise that it lets through
        inner, outer, often = LOG if band.log else POWER if band.power else AMPLITUDE
        least = max(outer * max(high - low for low, high in supports), inner * width, often * rate + 2 * width)
        grid = _grid(fs, rate, PASS * rate, STOP * rate)
    else:
        least = min(fs, 2 * rate)
        grid = _grid(fs, rate, rate / 2, least - rate / 2)
    lasting = [_lasting(shape, fs, band.envelope) for shape in shapes]
    window, pad = _window(max(whole for whole, _ in lasting) + grid.half_s, fs, grid.ratio)
    slices = [_slice(*each, band.envelope, window, fs) for each in zip(gains, supports, strict=True)]
    points = min(window, _quick(ceil(max(least * window / fs, *(len(each.gain) for each in slices)))))
    return WindowPlan(
        band,
        fs,
        rate,
        reach_s=max(reach for _, reach in lasting) + grid.reach_s,
        window=window,
        pad=pad,
        points=points,
        slices=tuple(Slice(each.first, each.gain * np.float32(points / window)) for each in slices),
        grid=grid,
    )


def _gain(
    band: Band, low: float, high: float, fs: float, rate: float, line: float | None
) -> Callable[[np.ndarray], np.ndarray]:
    """The whole filter of a sub-band: its shape without line noise, and without what would ring for ever."""
    bottom, top = band.shape(np.array([1e-9, fs / 2]), low, high)

    def gain(hz: np.ndarray) -> np.ndarray:
        found = band.shape(hz, low, high) * notches(hz, line)
        if band.envelope and bottom > SUPPORT:
            found = found * step(hz, 0, low)
        if band.envelope and top > SUPPORT:
            found = found * step(-hz, -fs / 2, -max(high, 0.4 * fs))
        if not band.envelope and rate < fs:
            found = found * step(-hz, -rate / 2, -0.4 * rate)
        return found

    return gain


def _grid(fs: float, rate: float, start: float, stop: float) -> Grid:
    ratio = _ratio(fs, rate)
    if ratio == 1 and start >= stop:  # each output is a sample
        return Grid(ratio, fs / 2, 0.5 / fs)
    return Grid(ratio, (start + stop) / 2, HALF_LENGTH / max(stop - start, 0.05 * rate))


def _lasting(shape: np.ndarray, fs: float, analytic: bool) -> tuple[float, float]:
    """How long a filter's response lasts on each side: all of it, and as far as it matters, s."""
    response = np.abs(np.asarray(ifft(shape) if analytic else irfft(shape)))
    half = response[: len(response) // 2]  # the other side is its mirror image
    per = 1 / (fs / 2 if analytic else fs)
    return lasts(half, TAIL) * per, lasts(half**2, REACH) * per


def _window(pad_s: float, fs: float, ratio: Fraction) -> tuple[int, int]:
    """Samples per window, and on each side: quickly transformed, and outputs lie alike in each where that can be."""
    pad = ceil(pad_s * fs)
    hop, per = max((PADS - 2) * pad, ceil(fs)), ratio.numerator
    if per <= hop:
        hop = ceil(hop / per) * per
    window = _quick(hop + 2 * pad)
    while (window - hop) % 2:
        window = _quick(window + 1)
    return window, (window - hop) // 2


def _quick(n: int) -> int:
    """The least number from n on that is quickly transformed."""
    return int(next_fast_len(n, real=True))  # type: ignore[arg-type]


def _slice(
    gain: Callable[[np.ndarray], np.ndarray], support: np.ndarray, analytic: bool, window: int, fs: float
) -> Slice:
    low, high = support * window / fs
    first = int(low) if analytic else 0
    bins = np.arange(first, min(ceil(high + window / fs / HORIZON_S), window // 2) + 1)
    return Slice(first, (gain(bins * fs / window) * (2 if analytic else 1)).astype(np.float32))


@dataclass(frozen=True, eq=False)
class Scale:
    """What each sub-band is over a run, within the samples that nothing touches.

    mean, sd : (n_sub, channels) float64
    """

    mean: np.ndarray
    sd: np.ndarray


def run_scale(blocks: Iterable[np.ndarray], plan: Plan) -> Scale:
    """One pass over a run for the mean and the standard deviation of each of its sub-bands.

    Parameters
    ----------
    blocks : iterable of arrays (m, channels)
    plan : Plan

    Returns
    -------
    Scale
        NaN for a channel none of whose samples are untouched.
    """
    count: np.ndarray | float = 0.0
    total, square, offset = (np.zeros(()),) * 3
    for values, touched in plan.pieces(blocks):
        if not values.shape[1]:
            continue
        good = np.ones(values.shape[1:]) if touched is None else (~touched).astype(float)
        if not offset.ndim:
            offset = values.mean(axis=1, dtype=float)  # so that squares do not swallow small differences
        apart = values - offset[:, None]
        count = count + good.sum(axis=0)
        total = total + np.einsum("skc,kc->sc", apart, good)
        square = square + np.einsum("skc,skc,kc->sc", apart, apart, good)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        return Scale(mean + offset, np.sqrt(np.maximum(square / count - mean**2, 0)))


def envelopes(blocks: Blocks, plan: Plan) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Carry out a plan for one run, in memory that does not depend on how long it is.

    With a band that is relative to its run, the run is gone through twice. Missing samples (NaN) are bridged by a
    straight line; output samples that rest on them are finite, and said to be touched. Before its beginning and
    behind its end a run goes on as its mirror image.

    Parameters
    ----------
    blocks : function → iterable of arrays (m, channels)
        The run from its beginning, in blocks of any size; what comes out does not depend on it.
    plan : Plan
        By `envelope_plan`.

    Yields
    ------
    values : (k, channels) float32
        Those that follow: altogether `n_outputs`, the first at the time of the run's first sample, then every 1/rate s.
        Volts, volts² of power, or relative. NaN where a channel has nothing to be relative to.
    touched : (k, channels) bool, or None where nothing is

    Raises
    ------
    InputError
        A run without samples, or with blocks of different widths.

    Examples
    --------
    >>> from brainalign.maths.bands import band
    >>> t = np.arange(4000)[:, None] / 1000
    >>> tone = np.where(t < 2, 1.0, 3.0) * np.sin(2 * np.pi * 100 * t)
    >>> pieces = envelopes(lambda: [tone], envelope_plan(band(70, 150), 1000.0, 10.0))
    >>> np.concatenate([values for values, _ in pieces])[[5, 10, 30, 35], 0].round().tolist()
    [1.0, 1.0, 3.0, 3.0]
    """
    if plan.band.relative is None:
        for values, touched in plan.pieces(blocks()):
            yield values.mean(axis=0), touched
        return
    scale = run_scale(blocks(), plan)
    divides = plan.band.relative == "z" or not plan.band.log
    less = scale.mean if plan.band.relative == "z" or plan.band.log else np.zeros_like(scale.mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        by = (scale.sd if plan.band.relative == "z" else scale.mean) if divides else np.ones_like(scale.mean)
        gain = np.where(by > 0, 1 / by, np.nan) / len(by)
    offset = -(less * gain).sum(axis=0)
    for values, touched in plan.pieces(blocks()):
        yield (np.einsum("skc,sc->kc", values, gain.astype(np.float32)) + offset).astype(np.float32), touched
