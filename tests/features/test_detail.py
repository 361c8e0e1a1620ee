"""The spectrum peaks at the planted octave, and its octaves are parts of the variance."""

from __future__ import annotations

import numpy as np
import pytest

from brainalign.features.detail import spatial_frequency
from brainalign.features.light import lightness_of


def grating(frequency, orientation, side=64):
    centres = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(centres, centres)
    angle = np.deg2rad(orientation)
    return 0.5 + 0.2 * np.sin(2 * np.pi * frequency * (x * np.sin(angle) + y * np.cos(angle)))[None]


@pytest.mark.parametrize("frequency", [2, 4, 8, 16])
@pytest.mark.parametrize("orientation", [0, 30, 90])
def test_the_spectrum_peaks_at_the_planted_octave(frequency, orientation):
    found = spatial_frequency(grating(frequency, orientation), side=64)
    assert found.columns["frequency"][int(found.values.argmax())] == frequency


@pytest.mark.parametrize("side", [32, 33])
def test_octaves_add_up_to_the_variance_under_the_window(side):
    rng = np.random.default_rng(0)
    shown = rng.integers(0, 256, (1, side, side, 3), np.uint8)
    found = spatial_frequency(shown, side=side)
    light = lightness_of(shown[0])
    ramp = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    weight = np.outer(ramp, ramp) ** 2
    variance = np.average((light - np.average(light, weights=weight)) ** 2, weights=weight)
    top = found.columns["frequency"].max() * np.sqrt(2)
    share = np.pi * top**2 / side**2  # of white noise's variance, as much as the octaves cover of the spectrum
    assert (found.values**2).sum() == pytest.approx(variance * share, rel=0.15)


def test_log_and_degrees():
    shown = grating(4, 0)
    logged = spatial_frequency(shown, log=True, degrees=16.0)
    assert logged.values == pytest.approx(np.log1p(spatial_frequency(shown).values), rel=1e-5)
    assert logged.columns["frequency_degrees"].tolist() == [f / 16 for f in logged.columns["frequency"]]
