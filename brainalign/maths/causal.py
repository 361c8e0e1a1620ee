"""How strong is each band by what has been recorded so far, without a look ahead?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isfinite

import numpy as np
from scipy.signal import butter, sosfilt

from brainalign.errors import InputError
from brainalign.maths.bands import Band, Butterworth, logarithm, sub_bands
from brainalign.maths.line_noise import causal_notches
from brainalign.maths.overlap import REACH, checked, lasts

POLES = 4  # of smoothing
SMOOTHEST = 0.25  # of the output rate: where smoothing passes half of the power
HORIZON_S = 20.0  # within which responses are looked at


@dataclass(frozen=True, eq=False)
class CausalPlan:
    """A band by filters that look back only.

    Line noise is taken out; each sub-band is filtered (Butterworth), rectified or squared, and smoothed by a kernel
    that is nowhere negative, so that no power is; π/2 or 2 makes a sine of amplitude A come out as A or A². Output k is
    the last sample at or before k / rate. The first `reach_s` seconds rest on what came before the run, and count as
    touched.

    band, fs, rate, reach_s : as of a `WindowPlan`
    delay_s : how late outputs are: the mean over sub-bands of where the energy of a response lies on average
    ratio : samples per output
    notches : second-order sections that take line noise out
    filters : those of each sub-band
    smoothing : those of what is smoothed; none for raw voltage
    """

    band: Band
    fs: float
    rate: float
    reach_s: float
    delay_s: float
    ratio: Fraction
    notches: np.ndarray
    filters: tuple[np.ndarray, ...]
    smoothing: np.ndarray

    def pieces(self, blocks: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """As of a `WindowPlan`, with a piece for each block."""
        begin, k = 0, 0
        going: tuple[_Past, _Filter, list[tuple[_Filter, _Filter]]] | None = None
        for block in checked(blocks):
            if going is None:
                n = block.shape[1]
                chains = [(_Filter(each, n), _Filter(self.smoothing, n)) for each in self.filters]
                going = _Past(n), _Filter(self.notches, n), chains
            past, cut, chains = going
            values, age = past.hold(block)
            level = np.where(np.isnan(values), 0, past.level)
            clean = cut(np.nan_to_num(values - level))
            stop = ceil((begin + len(block)) / self.ratio)
            at = np.array([int(n * self.ratio) - begin for n in range(k, stop)], int)
            out = np.stack([_made(clean, *chain, self.band)[at] for chain in chains])
            if not self.band.envelope and not self.band.low:
                out += level[at]
            touched = age[at] <= self.reach_s * self.fs
            yield out.astype(np.float32), touched if touched.any() else None
            begin, k = begin + len(block), stop
        if going is None:
            raise InputError("the run has no samples: leave it out")


class _Filter:
    """Second-order sections, and where they are: at rest to begin with."""

    def __init__(self, sections: np.ndarray, channels: int) -> None:
        self.sections, self.state = sections, np.zeros((len(sections), 2, channels))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        if len(self.sections):
            values, self.state = sosfilt(self.sections, values, axis=0, zi=self.state)
        return values


def _made(values: np.ndarray, within: _Filter, smooth: _Filter, band: Band) -> np.ndarray:
    """What a sub-band makes of voltages."""
    values = within(values)
    if not band.envelope:
        return values
    made = smooth(2 * values**2 if band.power else np.pi / 2 * np.abs(values))
    return logarithm(made) if band.log else made


class _Past:
    """What is known of each channel so far.

    level : (channels,) its first good value, NaN before there is one
    last : (channels,) its last good value, NaN before there is one
    since : (channels,) how many samples ago one was missing, or the run began
    """

    def __init__(self, channels: int) -> None:
        self.level, self.last = np.full((2, channels), np.nan)
        self.since = np.zeros(channels, int)

    def hold(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The block with the last good value where one is missing, and how many samples ago one was."""
        at = np.arange(len(block))[:, None]
        there = np.isfinite(block)
        first = block[there.argmax(axis=0), np.arange(block.shape[1])]
        self.level = np.where(np.isnan(self.level) & there.any(axis=0), first, self.level)
        values, age = block, self.since + 1 + at
        if not there.all():
            good = np.maximum.accumulate(np.where(there, at, -1), axis=0)
            values = np.where(good < 0, self.last, np.take_along_axis(block, np.maximum(good, 0), axis=0))
            bad = np.maximum.accumulate(np.where(there, -1, at), axis=0)
            age = np.where(bad < 0, age, at - bad)
        self.last, self.since = values[-1], age[-1]
        return values, age


def causal_plan(band: Band, fs: float, rate: float, line_hz: float | None) -> CausalPlan:
    """Decide which filters; see `envelope_plan`."""
    assert isinstance(band.shape, Butterworth)  # as `Band` has it
    order = band.shape.order
    if band.envelope:
        filters = [_butterworth(order, (low, high), fs) for low, high in sub_bands(band.low, band.high, band.n_sub)]
        smoothing = _smoothing(min(SMOOTHEST * rate, band.low / 2), fs)
    else:
        filters = [_butterworth(order, (band.low, min(band.high, 0.35 * rate if rate < fs else np.inf)), fs)]
        smoothing = np.empty((0, 6))
    cut = causal_notches(fs, line_hz)
    energies = [_response(np.concatenate([cut, each]), fs) ** 2 for each in filters]
    kernel = _response(smoothing, fs)
    return CausalPlan(
        band,
        fs,
        rate,
        reach_s=(max(lasts(energy, REACH) for energy in energies) + lasts(kernel**2, REACH)) / fs,
        delay_s=(sum(map(_middle, energies)) / len(energies) + _middle(kernel)) / fs,
        ratio=Fraction(fs) / Fraction(rate),
        notches=cut,
        filters=tuple(filters),
        smoothing=smoothing,
    )


def _butterworth(order: int, edges: tuple[float, float], fs: float) -> np.ndarray:
    """Second-order sections: a band-pass, or less where it has no lower or no upper edge."""
    low, high = edges
    if low and isfinite(high):
        return np.asarray(butter(order, edges, "bandpass", output="sos", fs=fs))
    if low:
        return np.asarray(butter(order, low, "highpass", output="sos", fs=fs))
    if isfinite(high):
        return np.asarray(butter(order, high, "lowpass", output="sos", fs=fs))
    return np.empty((0, 6))


def _smoothing(hz: float, fs: float) -> np.ndarray:
    """Second-order sections of equal real poles, with half of the power at hz; t³ exp(−at) is nowhere negative."""
    pole = np.exp(-2 * np.pi * hz / np.sqrt(2 ** (1 / POLES) - 1) / fs)
    return np.tile([(1 - pole) ** 2, 0, 0, 1, -2 * pole, pole**2], (POLES // 2, 1))


def _response(sections: np.ndarray, fs: float) -> np.ndarray:
    """What an impulse becomes."""
    impulse = np.zeros((int(HORIZON_S * fs), 1))
    impulse[0] = 1
    return _Filter(sections, 1)(impulse)[:, 0]


def _middle(weights: np.ndarray) -> float:
    """Where weights lie on average, in samples."""
    return float(np.arange(len(weights)) @ weights / weights.sum())
