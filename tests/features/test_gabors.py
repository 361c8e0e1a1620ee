"""Gabor energy peaks at the planted orientation, frequency and place, in the units that are said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainalign.errors import SettingsError
from brainalign.features.gabors import gabor_energy
from brainalign.features.light import lightness_of

SIDE = 64


def grating(frequency, orientation, phase=0.0, side=SIDE, within=None):
    """Bars at an angle, anticlockwise from horizontal; `within`: left, right, top, bottom of where they are, 0 to 1."""
    centres = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(centres, centres)
    angle = np.deg2rad(orientation)
    bars = 0.5 + 0.2 * np.sin(2 * np.pi * frequency * (x * np.sin(angle) + y * np.cos(angle)) + phase)
    if within is not None:
        left, right, top, bottom = within
        bars = np.where((x > left) & (x < right) & (y > top) & (y < bottom), bars, 0.5)
    return bars[None]


def swing(shown):
    """Half of the range of lightness."""
    light = lightness_of(np.repeat(np.rint(shown * 255).astype(np.uint8)[..., None], 3, axis=-1))
    return (light.max() - light.min()) / 2


@settings(max_examples=12)
@given(st.sampled_from([2, 4, 8]), st.integers(0, 7), st.floats(0, 6))
def test_energy_peaks_at_the_planted_orientation_and_frequency(frequency, step, phase):
    shown = grating(frequency, 22.5 * step, phase)
    found = gabor_energy(shown, frequencies=(1, 2, 4, 8), side=SIDE)
    best = found.columns.iloc[int(found.values.argmax())]
    assert (best["frequency"], best["orientation"]) == (frequency, 22.5 * step)
    right = ((found.columns["frequency"] == frequency) & (found.columns["orientation"] == 22.5 * step)).to_numpy()
    assert found.values[0, right] == pytest.approx(swing(shown), rel=0.12)  # its amplitude, wherever and whatever phase


def test_45_degrees_rise_to_the_right():
    shown = np.fliplr(np.eye(32))[None]  # a line from the lower left to the upper right
    found = gabor_energy(shown, frequencies=[4], orientations=4, side=32)
    assert found.columns["orientation"][int(found.values.argmax())] == 45


@pytest.mark.parametrize(
    ("within", "x", "y"), [((0.5, 1, 0, 0.5), 0.75, 0.25), ((0, 0.5, 0.5, 1), 0.25, 0.75)], ids=str
)
def test_energy_is_where_the_grating_is(within, x, y):
    found = gabor_energy(grating(8, 45, within=within), frequencies=[8], orientations=4, side=SIDE)
    best = found.columns["orientation"].to_numpy() == 45
    place = found.columns[best][["x", "y"]].to_numpy()
    middle = (found.values[0, best][:, None] * place).sum(0) / found.values[0, best].sum()
    assert middle == pytest.approx([x, y], abs=0.07)
    assert f"8 cycles/picture 45° at {0.0625:.2f}, {0.0625:.2f}" in found.columns["unit"].tolist()


def test_energy_is_that_of_the_filters_as_they_are_defined():
    rng = np.random.default_rng(0)
    shown = rng.integers(0, 256, (1, 32, 32, 3), np.uint8)
    found = gabor_energy(shown, frequencies=[2, 5], orientations=3, octaves=1.5, side=32)
    light = lightness_of(shown[0])
    light = light - light.mean()
    centres = (np.arange(32) + 0.5) / 32
    x, y = np.meshgrid(centres, centres)
    for k in rng.integers(0, found.shape[1], 12):
        column = found.columns.iloc[k]
        f, angle = column["frequency"], np.deg2rad(column["orientation"])
        sigma = np.sqrt(np.log(2) / 2) * (2**1.5 + 1) / (2**1.5 - 1) / (np.pi * f)
        envelope = np.exp(-((x - column["x"]) ** 2 + (y - column["y"]) ** 2) / (2 * sigma**2))
        along = 2 * np.pi * f * ((x - column["x"]) * np.sin(angle) + (y - column["y"]) * np.cos(angle))
        pair = [(light * envelope * wave(along)).sum() for wave in (np.cos, np.sin)]
        assert found.values[0, k] == pytest.approx(2 * np.hypot(*pair) / envelope.sum(), rel=1e-4)


def test_kay_2008_has_10920_filters_and_a_bandwidth_of_an_octave():
    found = gabor_energy(np.zeros((1, 8, 8), np.uint8))
    assert found.shape == (1, 10_920)
    assert np.abs(found.values).max() < 1e-4
    tuned = [gabor_energy(grating(f, 0), [8], 1, side=SIDE).values.mean() for f in (8 * 2**-0.5, 8, 8 * 2**0.5)]
    assert tuned[0] / tuned[1] == pytest.approx(0.55, abs=0.1)
    assert tuned[2] / tuned[1] == pytest.approx(0.35, abs=0.15)


def test_log_and_degrees():
    shown = grating(4, 0)
    plain, logged = (gabor_energy(shown, [4], 2, side=SIDE, log=log, degrees=8.0) for log in (False, True))
    assert logged.values == pytest.approx(np.log1p(plain.values), rel=1e-5)
    assert set(plain.columns["frequency_degrees"]) == {0.5}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"frequencies": [2, 40]}, r"up to half of side \(32\)"),
        ({"frequencies": [2, 2]}, "different numbers"),
        ({"frequencies": []}, "frequencies are"),
        ({"orientations": 0}, "orientations is how many there are"),
        ({"octaves": 0}, "octaves is the bandwidth"),
        ({"octaves": "x"}, "octaves is the bandwidth of the filters, more than 0; found 'x'"),
        ({"frequencies": ["x"]}, r"frequencies are different numbers of .*; found \['x'\]"),
        ({"degrees": "x"}, "degrees is how wide pictures were shown, more than 0° of visual angle; found 'x'"),
        ({"side": 1.5}, "side is how many pixels"),
        ({"degrees": -1}, "degrees is how wide"),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
)
def test_settings_that_make_no_filters(given, said):
    with pytest.raises(SettingsError, match=said):
        gabor_energy(grating(2, 0), **({"side": SIDE, "frequencies": [2]} | given))
