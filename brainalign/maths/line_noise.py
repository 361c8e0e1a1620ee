"""How is the hum of the mains taken out, and how little else with it?"""

from __future__ import annotations

import numpy as np
from scipy.signal import iirnotch, tf2sos

from brainalign.errors import SettingsError

NOTCH_SD = 1.0  # Hz; of the Gaussian that is cut out


def check_line(line_hz: float | None, fs: float) -> float | None:
    """The frequency of the mains, or None where nothing is to be removed.

    Raises
    ------
    SettingsError
        Not a frequency, or beyond half of the sampling rate.
    """
    if line_hz is None:
        return None
    if not 10 * NOTCH_SD <= line_hz < fs / 2:
        raise SettingsError(
            f"line noise at {line_hz:g} Hz cannot be removed from {fs:g} samples per second: give 50 or 60, or None"
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


def causal_notches(fs: float, line_hz: float | None, up_to_hz: float) -> np.ndarray:
    """(n, 6) second-order sections that take out line noise and its harmonics up to a frequency, one-sided.

    Half of the power 1.2 Hz beside each harmonic.

    Examples
    --------
    >>> causal_notches(1000.0, 50.0, 170.0).shape
    (3, 6)
    """
    lines = np.arange(line_hz, min(up_to_hz, 0.49 * fs), line_hz) if line_hz else []
    sections = [tf2sos(*iirnotch(hz, hz / (2.4 * NOTCH_SD), fs)) for hz in lines]
    return np.concatenate([np.empty((0, 6)), *sections])
