"""Is the hum of the mains gone, and is what lies beside it still there?"""

import numpy as np
import pytest

import brainalign as ba
from brainalign.errors import SettingsError
from brainalign.maths.envelopes import envelope_plan, envelopes
from brainalign.maths.line_noise import check_line, notches

FS = 1000.0
T = np.arange(12_000) / FS


def kept(hz, band, line_hz, fs_out=FS):
    """dB of tones that are left, each in a channel of its own, in the middle of the run."""
    tones = np.sin(2 * np.pi * np.asarray(hz) * T[:, None] + 1)
    plan = envelope_plan(band, FS, fs_out, line_hz=line_hz)
    values = np.concatenate([v for v, _ in envelopes(lambda: np.array_split(tones, 7), plan)])
    inside = slice(len(values) // 3, -len(values) // 3)
    return 20 * np.log10(np.sqrt(np.mean(np.square(values[inside].astype(float)), axis=0)) + 1e-12)


@pytest.mark.parametrize("line", [50.0, 60.0])
@pytest.mark.parametrize("causal", [False, True])
def test_hum_and_harmonics_are_40_db_less_and_their_neighbours_as_before(line, causal):
    harmonics = line * np.arange(1, 8)
    hz = np.concatenate([harmonics, harmonics - 3, harmonics + 3])
    before, after = (kept(hz, ba.raw(causal=causal), line_hz=given) for given in (None, line))
    hum, *beside = np.split(before - after, 3)
    assert hum.min() > 40
    assert np.abs(beside).max() < (1.0 if causal else 0.5)


def test_hum_within_a_band_is_gone_from_its_envelope():
    t = T[:, None]
    signal = np.sin(2 * np.pi * 110 * t) * (1 + 0.5 * np.sin(2 * np.pi * 3 * t))
    hum = sum(5 * np.sin(2 * np.pi * 50 * k * t + k) for k in (1, 2, 3, 4))
    plans = [envelope_plan(ba.band(70, 180), FS, 100.0, line_hz=line) for line in (None, 50.0, 50.0)]
    clean, cleaned, dirty = (
        np.concatenate([v for v, _ in envelopes(lambda x=x: [x], plan)])[200:-200]
        for x, plan in zip((signal, signal, signal + hum), plans, strict=True)
    )
    np.testing.assert_allclose(dirty, cleaned, atol=1e-3)
    np.testing.assert_allclose(cleaned, clean, atol=0.02)


def test_a_hum_that_is_a_tenth_of_a_hertz_off_is_gone_too():
    assert (kept([49.9, 50.1], ba.raw(), None) - kept([49.9, 50.1], ba.raw(), 50.0)).min() > 40


def test_nothing_is_taken_from_below_the_first_harmonic():
    np.testing.assert_allclose(notches(np.linspace(0, 45, 100), 50.0), 1, atol=1e-5)
    np.testing.assert_array_equal(notches(np.array([50.0, 60.0]), None), 1)


@pytest.mark.parametrize("line", [0.0, 5.0, 500.0, -50.0])
def test_what_is_no_line_noise_is_refused(line):
    with pytest.raises(SettingsError, match=r"line noise at .* Hz cannot be removed from 1000 samples .* 50 or 60"):
        check_line(line, FS)
