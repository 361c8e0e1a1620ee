"""How is a band had from a narrow slice of the spectrum of each window?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np
from scipy.fft import ifft, irfft, next_fast_len, rfft

from brainalign.maths.bands import Band, logarithm, step, sub_bands
from brainalign.maths.line_noise import less_line_noise, notches
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

    band, fs, rate, line_hz : what was asked for
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
    line_hz: float | None
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
        for window, n, source in windows(blocks, self.window, self.pad):
            stop = ceil((begin + n) / ratio)  # outputs before sample begin + n
            first = k * ratio - begin + self.pad  # where the first lies in the window
            if self.line_hz:
                own = source == np.arange(begin - self.pad, begin - self.pad + self.window)
                window = less_line_noise(window, source, own, self.line_hz, self.fs)
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
            level = _level(window[:, some])
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


def _level(window: np.ndarray) -> np.ndarray:
    """The mean of each channel; of one that does not change its very value, of which nothing is left then."""
    mean, first = window.mean(axis=0), window[0]
    return np.where(np.isclose(mean, first, rtol=1e-12, atol=0), first, mean)


def made_of(magnitude: np.ndarray, band: Band) -> np.ndarray:
    """Power or amplitude, or its logarithm."""
    made = magnitude * magnitude if band.power else magnitude
    return logarithm(made) if band.log else made


def window_plan(band: Band, fs: float, rate: float, line: float | None) -> WindowPlan:
    """Decide which bins, which windows, and at which rates; see `envelope_plan`."""
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
        line,
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
    ratio = Fraction(fs) / Fraction(rate)
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
