"""How is the hum of the mains taken out, and how little else with it?"""

from __future__ import annotations

import numpy as np
from scipy.signal import iirnotch, tf2sos

from brainalign.errors import SettingsError

NOTCH_SD = 1.0  # Hz; of the Gaussian that is cut out
HARMONICS = 6  # that are fitted where a window is not whole, the first included
CYCLES = 10  # of line noise, at least, that it is fitted to
LEAST = 0.1  # of what is weighed: a channel of which less is there is left as it is
TOGETHER = 16  # channels
ROUNDS = 3  # of filling in what is missing by the fit, and fitting again


def check_line(line_hz: float | None, fs: float) -> float | None:
    """The frequency of the mains, or None where nothing is to be removed.

    Raises
    ------
    SettingsError
        Not a frequency, or beyond half of the sampling rate.
    """
    if line_hz is None:
        return None
    if not line_hz >= 10 * NOTCH_SD:
        raise SettingsError(f"line noise at {line_hz:g} Hz cannot be removed: give 50 or 60, or None")
    if not line_hz < fs / 2:
        raise SettingsError(
            f"line noise at {line_hz:g} Hz is not in {fs:g} samples per second, which end at {fs / 2:g} Hz: give None"
        )
    return float(line_hz)


def notches(hz: np.ndarray, line_hz: float | None) -> np.ndarray:
    """(f,) gains at frequencies `hz` that take out line noise and all its harmonics, without delay.

    g(f) = 1 − exp(−(f − n·line)² / 2σ²) around the nearest harmonic n ≥ 1, σ = 1 Hz: nothing is left at the harmonic,
    −46 dB 0.1 Hz beside it, half of the amplitude 1.2 Hz and all but 0.1 dB of it 3 Hz beside it. Being Gaussian, its
    response is over within a second.

    Examples
    --------
    >>> notches(np.array([0.0, 50.0, 53.0, 99.9, 125.0]), 50.0).round(3).tolist()
    [1.0, 0.0, 0.989, 0.005, 1.0]
    """
    if line_hz is None:
        return np.ones(len(hz))
    nearest = np.maximum(1, np.round(hz / line_hz)) * line_hz
    return -np.expm1(-0.5 * ((hz - nearest) / NOTCH_SD) ** 2)


def less_line_noise(window: np.ndarray, source: np.ndarray, own: np.ndarray, line_hz: float, fs: float) -> np.ndarray:
    """A window less its line noise where that would break off: at the ends of a run, and where samples are missing.

    A mirror image turns the phase of a hum round, and a bridge ends it, which rings in bands that a notch leaves alone.
    So a sine of each harmonic is fitted to the samples there are (weighted by a Hann window) and taken off, which
    changes nothing else: notches leave nothing of a steady sine.

    Parameters
    ----------
    window : (m, channels) float64
        NaN where a sample is missing.
    source : (m,) int
        Which sample of the run each is, or is the mirror image of.
    own : (m,) bool
        Whether it is itself.
    line_hz, fs : float
        Hz.

    Returns
    -------
    (m, channels)
        The window itself where it is whole. Channels of which all is there are changed at the ends of a run alone.

    Examples
    --------
    >>> at = np.arange(1000)
    >>> hum = np.sin(2 * np.pi * 0.05 * at + 1)[:, None]
    >>> hum[300:400] = np.nan
    >>> bool(np.nanmax(np.abs(less_line_noise(hum, at, at >= 0, 50.0, 1000.0))) < 1e-3)
    True
    """
    n = int(own.sum())
    if (n == len(own) and np.isfinite(window.sum())) or n < CYCLES * fs / line_hz:
        return window
    mine = slice(int(own.argmax()), int(own.argmax()) + n)
    hz = line_hz * np.arange(1, HARMONICS + 1)
    phase = 2 * np.pi * source[:, None] * hz[hz < 0.49 * fs] / fs
    waves = np.concatenate([np.cos(phase), np.sin(phase)], axis=1)
    weights = np.hanning(n + 2)[1:-1] / np.hanning(n + 2).sum()
    solve = np.linalg.solve((waves[mine].T * weights) @ waves[mine], waves[mine].T * weights)
    out = window.copy()
    for some in (slice(c, c + TOGETHER) for c in range(0, window.shape[1], TOGETHER)):
        there = np.isfinite(window[mine, some])
        changed = ~there.all(axis=0) | (n < len(own))
        share = weights @ there
        known = np.where(there, window[mine, some], 0)
        known = np.where(there, known - weights @ known / np.maximum(share, LEAST), 0)
        fitted = solve @ known
        for _ in range(ROUNDS if not there.all() else 0):
            fitted = solve @ np.where(there, known, waves[mine] @ fitted)
        out[:, some] -= waves @ np.where(changed & (share > LEAST), fitted, 0)
    return out


def causal_notches(fs: float, line_hz: float | None) -> np.ndarray:
    """(n, 6) second-order sections that take out line noise and its harmonics, one-sided.

    Half of the power 1.2 Hz beside each harmonic, −22 dB 0.1 Hz beside it; none within 1 % of the end of the spectrum.

    Examples
    --------
    >>> causal_notches(340.0, 50.0).shape
    (3, 6)
    """
    lines = np.arange(line_hz, 0.495 * fs, line_hz) if line_hz else []
    sections = [tf2sos(*iirnotch(hz, hz / (2.4 * NOTCH_SD), fs)) for hz in lines]
    return np.concatenate([np.empty((0, 6)), *sections])
