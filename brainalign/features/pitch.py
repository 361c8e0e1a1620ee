"""How high is the voice, and is there one?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import SettingsError
from brainalign.features.acoustics import describe
from brainalign.features.listening import Rows, check_positive
from brainalign.features.sound_spectra import Frames
from brainalign.features.sounds import Clip, Unreadable, sounds_of
from brainalign.progress import Progress, silent
from brainalign.provenance import versions
from brainalign.signals import Signal
from brainalign.store import Store

SOUND_RATE = 16_000.0  # Hz: what is above tells nothing of a voice's pitch
DIP = 0.1  # the first dip of d′ below this is taken for the period (YIN, step 4)
VOICED = 0.8  # share of a window's power that is periodic from which on it counts as voiced
FLAT = 1e-9  # of a window's power: what changes less is silence


def pitch(
    sound: Any,
    *,
    low_hz: float = 60.0,
    high_hz: float = 500.0,
    reference_hz: float | None = None,
    rate: float = 100.0,
    column: str = "stim_file",
    root: str | Path | None = None,
    channel: int | None = None,
    unreadable: Unreadable = "error",
    name: str = "pitch",
    store: Store | None = None,
    progress: Progress = silent,
) -> Signal:
    """How high the voice is at each moment, and how much of the sound is voice: fundamental frequency and voicing.

    The YIN estimator (de Cheveigné & Kawahara 2002, https://doi.org/10.1121/1.1458024), steps 1 to 5: in a window of
    two of the longest periods around each moment, d(τ) is the power of the difference between the sound and itself τ
    later, and d′(τ) the ratio of d(τ) to its mean up to τ; the period is the first dip of d′ below 0.1, or the deepest,
    to a part of a sample. Voicing is 1 − d′ there: 1 for what repeats exactly, about 0 for noise. No F0 depends on
    another, so there is no path that a later sound could change; the default reference is of all the sound.

    Parameters
    ----------
    sound, column, root, channel, unreadable
        As for `sounds_of`.
    low_hz, high_hz : float
        The lowest and the highest F0 that is looked for.
    reference_hz : float, optional
        What pitch is counted from, in octaves. Default: each sound's own median, so that it says how the voice moves,
        whoever speaks; that knows the sound to its end, so give a number where a sample must not.
    rate : float
        Samples per second, Hz.
    name : str
        The band.
    store, progress
        As for `mel_spectrogram`.

    Returns
    -------
    Signal
        (n_samples, 2) float32; `unit` "octaves": log₂(F0 / reference) where voicing is at least 0.8, else 0 (with the
        default: as if nothing deviated from the median; `voicing` tells the two apart); "voicing": 0 to 1, and 0 where
        it is silent. Samples as in `mel_spectrogram`.

    Raises
    ------
    InputError
        A sound that cannot be read.
    SettingsError
        Frequencies that do not rise, or go up to more than 4 kHz, a quarter of the 16 kHz that sounds are resampled to.

    Examples
    --------
    >>> voice = np.sign(np.sin(2 * np.pi * 220 * np.arange(8_000) / 16_000)) / 2
    >>> pitch((voice, 16_000), reference_hz=110).values[25].round(1).tolist()
    [1.0, 1.0]
    """
    check_range(low_hz, high_hz)
    check_positive(rate=rate, reference_hz=1 if reference_hz is None else reference_hz)
    sounds = sounds_of(sound, column, root, channel=channel, unreadable=unreadable)

    def hear(clip: Clip) -> Rows:
        return _Yin(clip, float(low_hz), float(high_hz), float(rate))

    columns = pd.DataFrame({"band": name, "unit": ["octaves", "voicing"]})
    soxr = {package: version.split(".")[0] for package, version in versions("soxr").items()}
    settings = {"low_hz": float(low_hz), "high_hz": float(high_hz), "versions": soxr}
    found = describe("pitch", sounds, rate, hear, columns, settings, store, progress)
    values = found.array().copy()
    voiced = values[:, 1] >= VOICED
    octaves = pd.Series(np.where(voiced, values[:, 0], np.nan))
    medians = octaves.groupby(found.samples["stimulus"]).transform("median")
    start = medians if reference_hz is None else np.log2(reference_hz)
    values[found.use, 0] = (octaves - start).fillna(0.0).to_numpy()[found.use]
    known = {**found.attrs["features"][name], "reference_hz": reference_hz, "voiced_from": VOICED}
    return Signal(values, found.samples, columns, attrs={**found.attrs, "features": {name: known}})


def check_range(low_hz: Any, high_hz: Any) -> None:
    """Refuse frequencies between which no pitch can be looked for.

    Raises
    ------
    SettingsError
    """
    check_positive(low_hz=low_hz, high_hz=high_hz)
    if not low_hz < high_hz <= SOUND_RATE / 4:
        raise SettingsError(
            f"low_hz is below high_hz of a pitch, and that at most {SOUND_RATE / 4:,.0f} Hz; found {low_hz:g} and "
            f"{high_hz:g}"
        )


class _Yin:
    """log₂ F0 in Hz, whether or not there is a voice, and voicing."""

    def __init__(self, clip: Clip, low_hz: float, high_hz: float, rate: float) -> None:
        sound_rate = min(SOUND_RATE, clip.rate)
        self.longest = int(np.ceil(sound_rate / low_hz)) + 1
        self.shortest = max(2, int(sound_rate / high_hz))
        self.frames = Frames(clip, rate, 2 * self.longest / sound_rate, sound_rate)

    def __call__(self, first: int, last: int) -> np.ndarray:
        out = np.empty((last - first, 2), np.float32)
        for rows, windows in self.frames.chunks(first, last):
            period, aperiodic = self._periods(windows)
            out[rows, 0] = np.log2(self.frames.tape.rate / period)
            out[rows, 1] = np.clip(1 - aperiodic, 0, 1)
        return out

    def _periods(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) samples, and (n,) d′: 0 for what repeats exactly, 1 for silence."""
        n_lags, width = self.longest + 2, windows.shape[1]
        length = width - n_lags + 1  # of what is compared at every lag
        size = 1 << (width + length - 1).bit_length()
        spectrum = np.fft.rfft(windows, size) * np.fft.rfft(windows[:, :length], size).conj()
        together = np.fft.irfft(spectrum, size)[:, :n_lags]
        power = np.concatenate([np.zeros((len(windows), 1)), np.cumsum(windows**2, axis=1)], axis=1)
        alone = power[:, length : length + n_lags] - power[:, :n_lags]
        d = np.maximum(alone[:, :1] + alone - 2 * together, 0.0)
        total = np.cumsum(d[:, 1:], axis=1)
        flat = total <= FLAT * np.arange(1, n_lags) * np.maximum(alone[:, :1], np.finfo(float).tiny)
        ratio = np.where(flat, 1.0, d[:, 1:] * np.arange(1, n_lags) / np.where(flat, 1.0, total))
        ratio = np.concatenate([np.ones((len(windows), 1)), ratio], axis=1)  # by lag
        inner = ratio[:, self.shortest : self.longest + 1]
        dips = (inner <= ratio[:, self.shortest - 1 : self.longest]) & (inner < ratio[:, self.shortest + 1 : n_lags])
        good = dips & (inner < DIP)
        best = np.where(good.any(1), good.argmax(1), np.where(dips, inner, 2.0).argmin(1)) + self.shortest
        each = np.arange(len(windows))
        before, here, after = (ratio[each, best + k] for k in (-1, 0, 1))
        curve = before + after - 2 * here
        shift = np.where(curve > 0, 0.5 * (before - after) / np.where(curve > 0, curve, 1.0), 0.0)
        return best + np.clip(shift, -0.5, 0.5), here
