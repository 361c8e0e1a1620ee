"""What is the spectrum of a sound around each moment, in bands as the ear has them?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.fft import rfft

from brainalign.errors import InputError, SettingsError
from brainalign.features.listening import is_number
from brainalign.features.sounds import Clip
from brainalign.features.tape import Tape

CHUNK_S = 30.0  # of sound that is in memory at a time, ..
CHUNK_SAMPLES = 1 << 19  # .. and of windows, which overlap
FLOOR_DB = -100.0  # of full scale: about what the rounding of 16-bit samples amounts to
LINEAR_HZ, LINEAR_MEL = 1_000.0, 15.0  # up to here mels are proportional to Hz, ..
LOG_STEP = np.log(6.4) / 27  # .. and beyond, to their logarithm


def fast_length(n: int) -> int:
    """The next length, from `n` on, of which a Fourier transform is quick: 2ᵃ·3ᵇ·5ᶜ.

    Examples
    --------
    >>> fast_length(2207)
    2250
    """
    while True:
        left = n
        for factor in (2, 3, 5):
            while left % factor == 0:
                left //= factor
        if left == 1:
            return n
        n += 1


def mel_of(hz: np.ndarray | float) -> np.ndarray:
    """Hertz → mel: 3/200 per Hz up to 1 kHz, logarithmic above, 27 mels for a factor of 6.4 (Slaney 1998).

    Examples
    --------
    >>> mel_of(np.array([0.0, 200.0, 1000.0, 6400.0])).tolist()
    [0.0, 3.0, 15.0, 42.0]
    """
    hz = np.asarray(hz, float)
    above = LINEAR_MEL + np.log(np.maximum(hz, LINEAR_HZ) / LINEAR_HZ) / LOG_STEP
    return np.where(hz < LINEAR_HZ, hz * LINEAR_MEL / LINEAR_HZ, above)


def hz_of(mel: np.ndarray | float) -> np.ndarray:
    """The inverse of `mel_of`."""
    mel = np.asarray(mel, float)
    above = LINEAR_HZ * np.exp(LOG_STEP * (np.maximum(mel, LINEAR_MEL) - LINEAR_MEL))
    return np.where(mel < LINEAR_MEL, mel * LINEAR_HZ / LINEAR_MEL, above)


@dataclass(frozen=True)
class MelBands:
    """Triangles that are evenly spaced in mel; each begins and ends at the peaks of its neighbours.

    Parameters
    ----------
    n : int
    low_hz, high_hz : float
        Where the first begins and the last ends.
    """

    n: int
    low_hz: float
    high_hz: float

    @property
    def edges_hz(self) -> np.ndarray:
        """(n + 2,): where the first begins, all peaks, where the last ends."""
        return hz_of(np.linspace(mel_of(self.low_hz), mel_of(self.high_hz), self.n + 2))

    def weights(self, hz: np.ndarray) -> np.ndarray:
        """(len(hz), n) weights of frequencies, 1 at a band's peak.

        Examples
        --------
        >>> MelBands(3, 0.0, 800.0).weights(np.array([200.0, 300.0])).tolist()
        [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]
        """
        below, peak, above = self.edges_hz[:-2], self.edges_hz[1:-1], self.edges_hz[2:]
        rising, falling = (hz[:, None] - below) / (peak - below), (above - hz[:, None]) / (above - peak)
        return np.maximum(0.0, np.minimum(rising, falling))


def check_bands(bands: Any, low_hz: Any, high_hz: Any) -> MelBands:
    """Mel bands as they were asked for.

    Raises
    ------
    SettingsError
        No whole number of bands, or frequencies that do not rise.
    """
    if isinstance(bands, bool) or not isinstance(bands, (int, np.integer)) or bands < 1:
        raise SettingsError(f"bands is how many there are, a whole number from 1; found {bands!r}")
    if not (is_number(low_hz) and is_number(high_hz) and 0 <= low_hz < high_hz):
        raise SettingsError(f"low_hz is 0 or more and below high_hz; found {low_hz!r} and {high_hz!r}")
    return MelBands(int(bands), float(low_hz), float(high_hz))


class Frames:
    """Windows of a sound, centred on moments that are 1/`rate` seconds apart, from its very beginning.

    Centres lie at the nearest sample, which is off by half a sample at most, and never by more. Before its beginning
    and behind its end a sound is silent.

    Parameters
    ----------
    clip : Clip
    rate : float
        Windows per second, Hz.
    window_s : float
        How long each is.
    sound_rate : float, optional
        What the sound is resampled to, Hz; default as it is.
    """

    def __init__(self, clip: Clip, rate: float, window_s: float, sound_rate: float | None = None) -> None:
        self.tape, self.rate = Tape(clip, sound_rate), rate
        self.half = max(1, round(window_s * self.tape.rate / 2))
        # symmetrical about the centre, and 0 just beyond both ends
        self.taper = np.hanning(2 * self.half + 3)[1:-1]

    def chunks(self, first: int, last: int) -> Iterator[tuple[slice, np.ndarray]]:
        """Windows `first` to `last`, (n, 2·half + 1) float64 and not yet tapered, some at a time with their places."""
        step = max(1, int(min(CHUNK_S * self.rate, CHUNK_SAMPLES / len(self.taper))))
        for a in range(first, last, step):
            centres = np.round(np.arange(a, min(a + step, last)) / self.rate * self.tape.rate).astype(int)
            start = int(centres[0]) - self.half
            heard = self.tape.read(start, int(centres[-1]) + self.half + 1)
            every = np.lib.stride_tricks.sliding_window_view(heard, len(self.taper))
            yield slice(a - first, a - first + len(centres)), every[centres - int(centres[0])].astype(float)


class MelSpectrum:
    """The mean-square amplitude of a sound within mel bands, around each moment, in dB above `FLOOR_DB`: silence has 0.

    Parameters
    ----------
    clip : Clip
    bands : MelBands
    rate, window_s : float
        As for `Frames`.

    Raises
    ------
    InputError
        Bands above half the sound's sampling rate.
    SettingsError
        Bands that are too narrow to have a frequency of their own.
    """

    def __init__(self, clip: Clip, bands: MelBands, rate: float, window_s: float) -> None:
        if bands.high_hz > clip.rate / 2:
            raise InputError(
                f"{clip.source.name} has {clip.rate:,.0f} samples per second, so nothing above {clip.rate / 2:,.0f} "
                f"Hz, and bands go up to {bands.high_hz:,.0f} Hz: take high_hz={clip.rate / 2:.0f} or less for all"
            )
        self.frames = Frames(clip, rate, window_s)
        taper = self.frames.taper
        self.size = fast_length(2 * len(taper))
        hz = np.fft.rfftfreq(self.size, 1 / clip.rate)
        weights = bands.weights(hz)
        empty = np.flatnonzero(weights.sum(0) == 0)
        if len(empty):
            peak = bands.edges_hz[1 + empty[0]]
            raise SettingsError(
                f"{bands.n} bands between {bands.low_hz:g} and {bands.high_hz:g} Hz are too narrow for windows of "
                f"{window_s:g} s: the one at {peak:.0f} Hz would be empty; take fewer, or longer windows"
            )
        # mean square of a band: both halves of the spectrum, summed over frequencies (Parseval)
        self.weights = weights * 2 / (self.size * (taper**2).sum())

    def __call__(self, first: int, last: int) -> np.ndarray:
        """(last − first, n) float32, dB: the windows `first` to `last`."""
        out = np.empty((last - first, self.weights.shape[1]), np.float32)
        for rows, windows in self.frames.chunks(first, last):
            spectrum: Any = rfft(windows * self.frames.taper, self.size)
            power = spectrum.real**2 + spectrum.imag**2
            out[rows] = 10 * np.log10(np.maximum(power @ self.weights, 10 ** (FLOOR_DB / 10))) - FLOOR_DB
        return out
