"""How loud is a sound, in which bands of frequencies, and when does something begin in it?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.features.listening import Listener, Rows, check_positive, listen, signal_of
from brainalign.features.sound_spectra import FLOOR_DB, Frames, MelBands, MelSpectrum, check_bands
from brainalign.features.sounds import Clip, Sounds, Unreadable, sounds_of
from brainalign.progress import Progress, silent
from brainalign.signals import Signal
from brainalign.store import Store

METHOD = 2  # counts up when the same settings would give other numbers


def mel_spectrogram(
    sound: Any,
    *,
    bands: int = 80,
    low_hz: float = 0.0,
    high_hz: float = 8_000.0,
    rate: float = 100.0,
    window_s: float = 0.025,
    column: str = "stim_file",
    root: str | Path | None = None,
    channel: int | None = None,
    unreadable: Unreadable = "error",
    name: str = "mel",
    store: Store | None = None,
    progress: Progress = silent,
) -> Signal:
    """How loud a sound is in each band of frequencies, bands being as wide as the ear's: the log-power mel spectrogram.

    In a Hann window around each moment: 10 log₁₀ of the mean-square amplitude that falls into each band, in dB above a
    floor, which is 100 dB below full scale: silence has 0, as has the time in which there is no sound when a recording
    is laid beside it, and a sine of amplitude 1 has 97 in all. What is below the floor has 0 too. Bands are triangles
    evenly spaced on Slaney's mel scale (Davis & Mermelstein 1980, https://doi.org/10.1109/TASSP.1980.1163420; Slaney
    1998, Auditory Toolbox). No resampling: sounds of any rate have the same values, as long as it is at least twice
    `high_hz`.

    Parameters
    ----------
    sound : path, (array, rate), mapping of run → either, DataFrame, or Sounds
        As for `sounds_of`, as are `column`, `root`, `channel` and `unreadable`.
    bands : int
        How many.
    low_hz, high_hz : float
        Where the first begins and the last ends, Hz.
    rate : float
        Samples per second, Hz.
    window_s : float
        How long the window is, s.
    name : str
        The band.
    store : Store, optional
        Where it is kept, and found again for the same sounds and settings. Memory then does not grow with them.
    progress : function (done, total, what), optional

    Returns
    -------
    Signal
        (n_samples, bands) float32, dB above the floor, 0 or more; `unit` of the columns is the number of the band, `hz`
        its peak. Samples lie at the centres of the windows, the first at the sound's onset: `run`, `time` (s),
        `duration` (1/rate), `stimulus`, `stimulus_time` (s in the sound). Outside it a sound is silent.

    Raises
    ------
    InputError
        A sound that cannot be read (`sounds_of`), or whose rate is too low for `high_hz`.
    SettingsError
        No such bands, or bands too narrow for the window.

    Examples
    --------
    >>> tone = np.sin(2 * np.pi * 1_000 * np.arange(8_000) / 16_000)
    >>> heard = mel_spectrogram((tone, 16_000), bands=20)
    >>> heard
    Signal(50 samples × 20 columns; 1 run; 0.0–0.5 s; bands mel)
    >>> heard.columns["hz"].round()[heard.values[25].argmax()]
    np.float64(1006.0)
    """
    chosen = check_bands(bands, low_hz, high_hz)
    check_positive(rate=rate, window_s=window_s)
    sounds = sounds_of(sound, column, root, channel=channel, unreadable=unreadable)

    def hear(clip: Clip) -> Rows:
        return MelSpectrum(clip, chosen, float(rate), float(window_s))

    settings = _settings(chosen, window_s)
    columns = pd.DataFrame({"band": name, "unit": np.arange(chosen.n), "hz": chosen.edges_hz[1:-1]})
    return describe("mel", sounds, rate, hear, columns, settings, store, progress)


def envelope(
    sound: Any,
    *,
    rate: float = 100.0,
    window_s: float | None = None,
    column: str = "stim_file",
    root: str | Path | None = None,
    channel: int | None = None,
    unreadable: Unreadable = "error",
    name: str = "envelope",
    store: Store | None = None,
    progress: Progress = silent,
) -> Signal:
    """How loud a sound is altogether, moment by moment: its broadband amplitude envelope.

    e(t) = π/2 · Σ w(τ) |x(t + τ)|: full-wave rectified and low-pass filtered with a Hann window w of sum 1, so that a
    sine of amplitude A has A. Rectifying and low-pass filtering as in Shannon et al. (1995,
    https://doi.org/10.1126/science.270.5234.303); the filter has no delay, and no negative values come of it.

    Parameters
    ----------
    sound, column, root, channel, unreadable
        As for `sounds_of`.
    rate : float
        Samples per second, Hz.
    window_s : float, optional
        How long w is, s: fluctuations of 1/window_s Hz come out half as large, those of 2/window_s Hz not at all.
        Default 2/rate, so that what the rate cannot carry is kept out.
    name : str
        The band.
    store, progress
        As for `mel_spectrogram`.

    Returns
    -------
    Signal
        (n_samples, 1) float32, in units of full scale; samples as in `mel_spectrogram`.

    Raises
    ------
    InputError
        A sound that cannot be read.

    Examples
    --------
    >>> envelope((0.5 * np.sin(np.arange(16_000)), 16_000)).values[50].round(2).tolist()
    [0.5]
    """
    check_positive(rate=rate)
    check_positive(window_s=2 / rate if window_s is None else window_s)
    length = 2 / float(rate) if window_s is None else float(window_s)
    sounds = sounds_of(sound, column, root, channel=channel, unreadable=unreadable)

    def hear(clip: Clip) -> Rows:
        frames = Frames(clip, float(rate), length)
        weights = frames.taper * (np.pi / 2 / frames.taper.sum())

        def rows(first: int, last: int) -> np.ndarray:
            out = np.empty((last - first, 1), np.float32)
            for some, windows in frames.chunks(first, last):
                out[some, 0] = np.abs(windows) @ weights
            return out

        return rows

    columns = pd.DataFrame({"band": [name], "unit": ["amplitude"]})
    return describe("envelope", sounds, rate, hear, columns, {"window_s": length}, store, progress)


def onset_strength(
    sound: Any,
    *,
    bands: int = 80,
    low_hz: float = 0.0,
    high_hz: float = 8_000.0,
    rate: float = 100.0,
    window_s: float = 0.025,
    column: str = "stim_file",
    root: str | Path | None = None,
    channel: int | None = None,
    unreadable: Unreadable = "error",
    name: str = "onset_strength",
    store: Store | None = None,
    progress: Progress = silent,
) -> Signal:
    """How much begins at each moment: spectral flux, the rise of the mel spectrogram summed up.

    o(t) = mean over bands of max(0, M(t) − M(t − 1/rate)), where M is `mel_spectrogram` in dB; what falls silent does
    not count (Böck & Widmer 2013, "Maximum filter vibrato suppression for onset detection", without the maximum
    filter; librosa's `onset_strength` is the same of its own spectrogram).

    Parameters
    ----------
    sound, column, root, channel, unreadable
        As for `sounds_of`.
    bands, low_hz, high_hz, rate, window_s, store, progress
        As for `mel_spectrogram`.
    name : str
        The band.

    Returns
    -------
    Signal
        (n_samples, 1) float32, dB per 1/rate s, 0 or more; samples as in `mel_spectrogram`. The first is what begins
        with the sound.

    Raises
    ------
    InputError, SettingsError
        As `mel_spectrogram`.

    Examples
    --------
    >>> click = np.zeros(16_000)
    >>> click[8_000:8_100] = 0.5
    >>> heard = onset_strength((click, 16_000))
    >>> heard.samples["time"][heard.values[:, 0].argmax()]
    np.float64(0.49)
    """
    chosen = check_bands(bands, low_hz, high_hz)
    check_positive(rate=rate, window_s=window_s)
    sounds = sounds_of(sound, column, root, channel=channel, unreadable=unreadable)

    def hear(clip: Clip) -> Rows:
        spectrum = MelSpectrum(clip, chosen, float(rate), float(window_s))

        def rows(first: int, last: int) -> np.ndarray:
            before = np.zeros((1, chosen.n), np.float32)  # silence, before it begins
            levels = np.concatenate([before, spectrum(0, last)]) if first == 0 else spectrum(first - 1, last)
            return np.maximum(0, np.diff(levels, axis=0)).mean(axis=1, keepdims=True)

        return rows

    columns = pd.DataFrame({"band": [name], "unit": ["flux"]})
    return describe("onset_strength", sounds, rate, hear, columns, _settings(chosen, window_s), store, progress)


def _settings(bands: MelBands, window_s: float) -> dict[str, Any]:
    low_hz, high_hz = bands.low_hz, bands.high_hz
    return {"bands": bands.n, "low_hz": low_hz, "high_hz": high_hz, "window_s": float(window_s), "floor_db": FLOOR_DB}


def describe(
    kind: str,
    sounds: Sounds,
    rate: float,
    hear: Callable[[Clip], Rows],
    columns: pd.DataFrame,
    settings: Mapping[str, Any],
    store: Store | None,
    progress: Progress,
) -> Signal:
    """A Signal of what is heard in sounds, a sample every 1/rate s from their onset on.

    Parameters
    ----------
    kind : str
        What it is.
    hear : function
        As in `Listener`.
    columns : DataFrame
        One row per number it gives; all of one band.
    settings : mapping of JSON types
        All that the numbers depend on but sounds and rate.
    """
    known = {"kind": kind, "rate": float(rate), **settings}
    values, samples, _ = listen(
        sounds,
        1 / float(rate),
        0.0,
        lambda: Listener(len(columns), hear),
        {"method": METHOD, **known},
        f"{kind} of {len(sounds.clips):,} sounds",
        store=store,
        progress=progress,
    )
    return signal_of(sounds, values, samples, columns, str(columns["band"].iloc[0]), known)
