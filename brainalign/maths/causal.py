"""How strong is each band by what has been recorded so far, without a look ahead?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isfinite

import numpy as np
from scipy.signal import bessel, butter, sosfilt, sosfilt_zi, sosfreqz

from brainalign.errors import InputError
from brainalign.maths.bands import Band, sub_bands
from brainalign.maths.line_noise import causal_notches
from brainalign.maths.overlap import REACH, checked, lasts

ORDER = 4
SMOOTHEST = 0.25  # of the output rate: where smoothing passes half of the power


@dataclass(frozen=True, eq=False)
class CausalPlan:
    """A band by filters that look back only.

    Each sub-band is filtered (Butterworth), rectified or squared, and smoothed (Bessel, which does not overshoot); π/2
    or 2 makes a sine of amplitude A come out as A or A². Output k is the last sample at or before k / rate. The first
    `reach_s` seconds rest on what came before the run, and count as touched.

    band, fs, rate, reach_s, delay_s : as of a `WindowPlan`
    ratio : samples per output
    filters : second-order sections of each sub-band
    smoothing : second-order sections; none for raw voltage
    """

    band: Band
    fs: float
    rate: float
    reach_s: float
    delay_s: float
    ratio: Fraction
    filters: tuple[np.ndarray, ...]
    smoothing: np.ndarray

    def pieces(self, blocks: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """As of a `WindowPlan`, with a piece for each block."""
        begin, k = 0, 0
        chains: list[_Chain] = []
        held, since = np.zeros(0), np.zeros(0, int)
        for block in checked(blocks):
            if not chains:
                held, since = _first(block), np.zeros(block.shape[1], int)
                chains = [_Chain(sections, self.smoothing, held) for sections in self.filters]
            values, age = _hold(block, held, since)
            stop = ceil((begin + len(block)) / self.ratio)
            at = np.array([int(n * self.ratio) - begin for n in range(k, stop)], int)
            out = np.stack([chain.run(values, self.band)[at] for chain in chains]).astype(np.float32)
            touched = age[at] <= self.reach_s * self.fs
            yield out, touched if touched.any() else None
            begin, k, held, since = begin + len(block), stop, values[-1], age[-1]
        if not chains:
            raise InputError("the run has no samples: leave it out")


class _Chain:
    """The filters of one sub-band, and where they are: at rest, as if the first sample had always been."""

    def __init__(self, sections: np.ndarray, smoothing: np.ndarray, start: np.ndarray) -> None:
        self.sections, self.smoothing = sections, smoothing
        self.state = sosfilt_zi(sections)[..., None] * start if len(sections) else None
        self.smoothed = np.zeros((len(smoothing), 2, len(start)))

    def run(self, values: np.ndarray, band: Band) -> np.ndarray:
        if self.state is not None:
            values, self.state = sosfilt(self.sections, values, axis=0, zi=self.state)
        if not band.envelope:
            return values
        made = 2 * values**2 if band.power else np.pi / 2 * np.abs(values)
        made, self.smoothed = sosfilt(self.smoothing, made, axis=0, zi=self.smoothed)
        return np.log(np.maximum(made, np.finfo(np.float32).tiny)) if band.log else made


def _first(block: np.ndarray) -> np.ndarray:
    """The first good value of each channel, 0 where there is none."""
    good = np.isfinite(block)
    at = good.argmax(axis=0)
    return np.where(good.any(axis=0), block[at, np.arange(block.shape[1])], 0)


def _hold(block: np.ndarray, held: np.ndarray, since: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The block with the last good value where one is missing, and how many samples ago one was."""
    at = np.arange(len(block))[:, None]
    missing = ~np.isfinite(block)
    if not missing.any():
        return block, since + 1 + at
    good = np.maximum.accumulate(np.where(missing, -1, at), axis=0)
    values = np.where(good < 0, held, np.take_along_axis(block, np.maximum(good, 0), axis=0))
    bad = np.maximum.accumulate(np.where(missing, at, -1), axis=0)
    return values, np.where(bad < 0, since + 1 + at, at - bad)


def causal_plan(band: Band, fs: float, rate: float, line_hz: float | None) -> CausalPlan:
    """Decide which filters; see `envelope_plan`."""
    if band.envelope:
        edges = sub_bands(band.low, band.high, band.n_sub)
        filters = [_butterworth((low, high), "bandpass", fs) for low, high in edges]
        middles = [np.sqrt(low * high) for low, high in edges]
        smoothing = np.asarray(bessel(ORDER, min(SMOOTHEST * rate, band.low / 2), norm="mag", output="sos", fs=fs))
    else:
        high = min(band.high, 0.35 * rate if rate < fs else np.inf)
        below = [_butterworth(band.low, "highpass", fs)] if band.low else []
        above = [_butterworth(high, "lowpass", fs)] if isfinite(high) else []
        filters, middles = [np.concatenate([np.empty((0, 6)), *below, *above])], [max(1e-3, 2 * band.low)]
        smoothing = np.empty((0, 6))
    cut = causal_notches(fs, line_hz, 1.5 * min(band.high, rate if not band.envelope else band.high))
    delays = [_delay(each, middle, fs) for each, middle in zip(filters, middles, strict=True)]
    filters = tuple(np.concatenate([each, cut]) for each in filters)
    return CausalPlan(
        band,
        fs,
        rate,
        reach_s=max(_lasts(each, fs) for each in filters) + _lasts(smoothing, fs),
        delay_s=float(np.mean(delays)) + _delay(smoothing, 1e-3, fs),
        ratio=Fraction(fs) / Fraction(rate),
        filters=filters,
        smoothing=smoothing,
    )


def _butterworth(hz: float | tuple[float, float], kind: str, fs: float) -> np.ndarray:
    return np.asarray(butter(ORDER, hz, kind, output="sos", fs=fs))


def _delay(sections: np.ndarray, hz: float, fs: float) -> float:
    """Group delay at a frequency, s: −dφ/2πdf."""
    if not len(sections):
        return 0.0
    apart = 1e-4 * max(hz, 1)
    gain = np.asarray(sosfreqz(sections, [hz, hz + apart], fs=fs)[1])
    return float(-np.angle(gain[1] / gain[0]) / (2 * np.pi * apart))


def _lasts(sections: np.ndarray, fs: float) -> float:
    """How long until nearly all of the response to an impulse is over, s."""
    if not len(sections):
        return 0.0
    impulse = np.zeros(int(20 * fs))
    impulse[0] = 1
    return lasts(np.square(sosfilt(sections, impulse)), REACH) / fs
