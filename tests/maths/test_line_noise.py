"""Is the hum of the mains gone, and is what lies beside it still there?"""

import numpy as np
import pytest

import brainalign as ba
from brainalign.errors import SettingsError
from brainalign.maths.envelopes import envelope_plan, envelopes
from brainalign.maths.line_noise import check_line, less_line_noise, notches

FS = 1000.0
T = np.arange(8_000) / FS


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


def brown(seconds, channels, seed=0):
    n = int(seconds * FS)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal((n, channels)), axis=0)
    x = np.fft.irfft(spectrum / np.maximum(np.fft.rfftfreq(n, 1 / FS), 0.1)[:, None], n, axis=0)
    return 1e-4 * x / x.std()


@pytest.mark.parametrize("band", [ba.high_gamma(relative=None), ba.band(70, 200), ba.band(4, 8)], ids=str)
def test_hum_does_not_break_off_where_a_run_ends_or_samples_are_missing(band):
    """With hum and harmonics as without, within a tenth of a standard deviation, at the very ends and in gaps."""
    x = brown(6, 4)
    t, phase = np.arange(len(x))[:, None] / FS + 1000, np.random.default_rng(1).uniform(0, 6, 4)
    hum = sum(size * np.sin(2 * np.pi * 50 * k * t + k * phase) for k, size in ((1, 5e-5), (2, 1e-5), (3, 2e-5)))
    made = []
    for voltage in (x, x + hum):
        voltage[2000:2300] = np.nan
        voltage[4000:4050, ::2] = np.nan
        pieces = envelopes(lambda v=voltage: [v], envelope_plan(band, FS, 100.0, line_hz=50.0))
        made.append(np.concatenate([values for values, _ in pieces]))
    np.testing.assert_allclose(made[1], made[0], atol=0.1 * made[0].std())


def test_only_what_is_not_whole_is_changed_and_a_run_of_few_cycles_is_not():
    x, at = brown(2, 3), np.arange(2000)
    own = at >= 0
    assert less_line_noise(x, at, own, 50.0, FS) is x
    gap = x.copy()
    gap[500:600, 1] = np.nan
    found = less_line_noise(gap, at, own, 50.0, FS)
    np.testing.assert_array_equal(found[:, [0, 2]], x[:, [0, 2]])
    np.testing.assert_array_equal(np.isnan(found), np.isnan(gap))
    short = gap[450:640]
    assert less_line_noise(short, at[:190], own[:190], 50.0, FS) is short
    gone = np.full((2000, 1), np.nan)
    np.testing.assert_array_equal(less_line_noise(gone, at, own, 50.0, FS), gone)


@pytest.mark.parametrize("line", [0.0, 5.0, -50.0, np.nan])
def test_what_is_no_line_noise_is_refused(line):
    with pytest.raises(SettingsError, match=r"line noise at .* Hz cannot be removed: give 50 or 60, or None"):
        check_line(line, FS)


def test_what_a_recording_cannot_have_is_refused():
    said = r"line noise at 500 Hz is not in 1000 samples per second, which end at 500 Hz: give None"
    with pytest.raises(SettingsError, match=said):
        check_line(500.0, FS)
