"""How strong is a band, moment by moment? Against what was planted, and against scipy and MNE on the whole run."""

import tracemalloc
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, firwin, freqz, hilbert, oaconvolve, sosfiltfilt

import brainalign as ba
from brainalign.errors import InputError, SettingsError
from brainalign.maths.bands import Band, Butterworth, edwards, flat, gaussian, sub_bands
from brainalign.maths.envelopes import envelope_plan, envelopes, n_outputs

FS = 1000.0


def run(x, band, fs=FS, rate=100.0, cuts=(), line_hz=None):
    """All outputs of a run at once, and whether they were touched."""
    plan = envelope_plan(band, fs, rate, line_hz=line_hz)
    values, touched = zip(*envelopes(lambda: np.split(x, cuts), plan), strict=True)
    whole = np.concatenate(values)
    assert whole.dtype == np.float32
    assert len(whole) == n_outputs(len(x), fs, rate)
    return whole, np.concatenate([np.zeros(v.shape, bool) if t is None else t for v, t in zip(values, touched)])


def values_of(x, band, **kwargs):
    return run(x, band, **kwargs)[0]


def brown(seconds, channels, fs=FS, seed=0):
    """Voltages whose spectrum falls as that of a brain does, 1/f in amplitude."""
    n = int(seconds * fs)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal((n, channels)), axis=0)
    spectrum[1:] /= np.fft.rfftfreq(n, 1 / fs)[1:, None]
    spectrum[0] = 0
    x = np.fft.irfft(spectrum, n, axis=0)
    return 1e-4 * x / x.std()


def noise_of(low, high, seconds, channels, fs=FS, seed=0):
    """Noise of standard deviation 1 at these frequencies alone."""
    n = int(seconds * fs)
    hz = np.fft.rfftfreq(n, 1 / fs)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal((n, channels)), axis=0)
    x = np.fft.irfft(spectrum * ((hz > low) & (hz < high))[:, None], n, axis=0)
    return x / x.std()


def smoothed(envelope, fs, rate):
    """What is left of an envelope at a lower rate: scipy's windowed sinc, and every so manieth sample."""
    taps = firwin(2 * int(8.4 / rate * fs) + 1, 0.35 * rate, window=("kaiser", 7.86), fs=fs)
    return oaconvolve(envelope, taps[:, None], mode="same", axes=0)[:: round(fs / rate)]


def apart(found, expected, ends=100):
    """Root mean square difference, in standard deviations of what is expected; ends aside."""
    inside = slice(ends, -ends)
    return np.sqrt(np.mean((found - expected)[inside] ** 2) / np.var(expected[inside]))


def test_an_envelope_is_that_of_scipy_on_the_whole_run():
    x = brown(30, 3, fs=2000.0)
    filtered = sosfiltfilt(butter(4, (70, 200), "bandpass", fs=2000.0, output="sos"), x, axis=0)
    magnitude = np.abs(hilbert(filtered, axis=0))
    for band, expected, within in (
        (ba.band(70, 200), magnitude, 0.005),
        (ba.band(70, 200, power=True), magnitude**2, 0.005),
        (ba.band(70, 200, log=True), np.log(magnitude), 0.01),
    ):
        assert apart(values_of(x, band, fs=2000.0), smoothed(expected, 2000.0, 100.0)) < within


def test_an_envelope_is_that_of_mne_for_the_same_filter():
    from mne.filter import create_filter, filter_data

    x = np.random.default_rng(0).standard_normal((30_000, 2))
    taps = create_filter(None, FS, 70, 150, verbose="error")

    def shape(hz, low, high):
        return (freqz(taps, worN=hz, fs=FS)[1] * np.exp(1j * np.pi * hz / FS * (len(taps) - 1))).real

    magnitude = np.abs(hilbert(filter_data(x.T, FS, 70, 150, verbose="error").T, axis=0))
    assert apart(values_of(x, ba.band(70, 150, shape=shape)), smoothed(magnitude, FS, 100.0)) < 0.003


def test_sub_bands_are_relative_to_their_means_and_averaged():
    """The Chang lab's filter bank on the whole run: Gaussians times the spectrum of the analytic signal."""
    x = brown(20, 2)
    spectrum, hz = np.fft.fft(x, axis=0), np.abs(np.fft.fftfreq(len(x), 1 / FS))
    analytic = spectrum * (np.arange(len(x)) < len(x) / 2)[:, None] * 2
    expected = []
    for low, high in sub_bands(70, 150, 8):
        centre = np.sqrt(low * high)
        gain = np.exp(-((hz - centre) ** 2) / (2 * 0.39**2 * centre))
        envelope = smoothed(np.abs(np.fft.ifft(analytic * gain[:, None], axis=0)), FS, 100.0)
        expected.append(envelope / envelope.mean(axis=0))
    assert apart(values_of(x, ba.high_gamma()), np.mean(expected, axis=0)) < 0.01
    np.testing.assert_allclose(values_of(x, ba.high_gamma()).mean(axis=0), 1, atol=1e-4)
    z = values_of(x, ba.band(70, 150, relative="z"))
    np.testing.assert_allclose([z.mean(axis=0), z.std(axis=0)], [[0, 0], [1, 1]], atol=1e-4)
    logs = [values_of(x, ba.high_gamma(log=True)), values_of(x, ba.broadband(4, 100, n_sub=6))]
    np.testing.assert_allclose([v.mean(axis=0) for v in logs], 0, atol=1e-4)


@pytest.mark.parametrize(
    ("fs", "rate"), [(2000.0, 100.0), (512.0, 100.0), (1024.5, 64.0), (3051.7578125, 99.7), (500.0, 500.0)]
)
@pytest.mark.parametrize("made", ["amplitude", "power", "log"])
def test_a_modulated_tone_has_its_modulation(fs, rate, made):
    """A (1 + m cos 2πft) comes out as itself, at the very times of the samples, whatever the rates are."""
    t, at = np.arange(int(6 * fs))[:, None] / fs, np.arange(n_outputs(int(6 * fs), fs, rate)) / rate
    modulation = [3e-6 * (1 + 0.5 * np.cos(2 * np.pi * 4 * times)) for times in (t, at)]
    band = ba.band(70, 150, shape=flat, power=made == "power", log=made == "log")
    found = values_of(modulation[0] * np.sin(2 * np.pi * 110 * t), band, fs=fs, rate=rate)[:, 0]
    expected = {"amplitude": modulation[1], "power": modulation[1] ** 2, "log": np.log(modulation[1])}[made]
    inside = (at > 1) & (at < 5)
    scale = 1 if made == "log" else expected.max()
    np.testing.assert_allclose(found[inside] / scale, expected[inside] / scale, atol=2e-3)


def burst(start=2.0, stop=2.5, gain=3.0, seconds=5.0, hz=110.0):
    t = np.arange(int(seconds * FS)) / FS
    return t, np.where((t >= start) & (t < stop), gain, 1.0) * np.sin(2 * np.pi * hz * t)


def crossing(times, values, level):
    """When values first rise above a level, or fall below it if that is where they end."""
    sign = 1 if values[-1] > level else -1
    after = np.argmax(sign * values > sign * level)
    return np.interp(sign * level, sign * values[[after - 1, after]], times[[after - 1, after]])


@pytest.mark.parametrize("band", [ba.band(70, 200), ba.band(70, 150, shape=flat), ba.high_gamma()], ids=str)
def test_a_burst_is_as_strong_as_planted_and_nowhere_else(band):
    """Gain within 5 %; other channels, and what lies outside the band, 40 dB below it."""
    t, tone = burst()
    low, high = (np.sin(2 * np.pi * hz * t) for hz in (20.0, 440.0))
    found = values_of(np.stack([tone, np.zeros(len(t)), tone + low + high], 1), replace(band, relative=None))
    at = np.arange(len(found)) / 100
    before, during = found[(at > 1) & (at < 1.7), 0].mean(), found[(at > 2.15) & (at < 2.35), 0].mean()
    assert during / before == pytest.approx(3, rel=0.05)
    if band.n_sub == 1:
        np.testing.assert_allclose([before, during], [1, 3], rtol=0.02)
        for first, last, planted in ((1.7, 2.25, 2.0), (2.25, 2.8, 2.5)):
            inside = (at >= first) & (at <= last)
            assert crossing(at[inside], found[inside, 0], (before + during) / 2) == pytest.approx(planted, abs=0.01)
    assert np.abs(found[:, 1]).max() < 1e-2 * before
    assert np.abs(found[50:-50, 2] - found[50:-50, 0]).max() < 1e-2 * before


def test_both_ways_find_the_power_and_the_onset_that_were_planted():
    """Noise rises 2-fold in amplitude: sub-bands and one band say so within 3 %, and when within 10 ms."""
    x = noise_of(40, 260, 60, 12)
    t = np.arange(len(x)) / FS
    planted = np.where((t % 4 < 2)[:, None], 2.0, 1.0)  # at 0, 4, … s
    ratios = []
    for band in (ba.high_gamma(), ba.band(70, 200), ba.band(70, 200, relative="mean")):
        course = values_of(planted * x, band)[200:-200].mean(axis=1).reshape(-1, 400).mean(axis=0)
        at = np.arange(400) / 100 - 2  # s from a rise; the first 2 s are left out
        low, high = (course[np.abs(at - middle) < 0.7].mean() for middle in (-1, 1))
        ratios.append(high / low)
        inside = np.abs(at) < 0.3
        assert crossing(at[inside], course[inside], (low + high) / 2) == pytest.approx(0, abs=0.01)
    np.testing.assert_allclose(ratios, 2, rtol=0.03)
    assert ratios[0] == pytest.approx(ratios[1], rel=0.03)


steady = cache(noise_of)


def planted(fs, length, seconds=15):
    """Bursts of noise, three times as strong, every 1.5 s, on drift and hum: what was recorded, and when they begin."""
    activity = 1e-5 * steady(40, min(260, 0.49 * fs), seconds, 32, fs=fs)
    t, onsets = np.arange(len(activity))[:, None] / fs, np.arange(1.5, seconds - 1.5, 1.5)
    bursts = ((t >= onsets) & (t < onsets + length)).any(axis=1)
    hum = sum(5e-5 / k * np.sin(2 * np.pi * 60 * k * t + k) for k in (1, 2, 3, 4))
    drift = 5e-3 + 3e-4 * np.sin(2 * np.pi * 0.3 * t)
    return activity * np.where(bursts, 3.0, 1.0)[:, None] + hum + drift, onsets


@pytest.mark.parametrize(
    ("fs", "rate", "band", "length", "early"),
    [
        (512.0, 100.0, ba.band(70, 200), 0.05, 0.005),
        (512.0, 128.0, ba.high_gamma(), 0.2, 0.015),
        (1000.0, 128.0, ba.high_gamma(power=True), 0.5, 0.005),
        (1000.0, 100.0, ba.band(70, 200, power=True), 0.2, 0.005),
        (2048.0, 128.0, ba.band(70, 200, relative="mean"), 0.5, 0.005),
        (2048.0, 100.0, ba.high_gamma(power=True), 0.2, 0.005),
        (3051.7578125, 100.0, ba.high_gamma(), 0.5, 0.015),
        (3051.7578125, 128.0, ba.band(70, 200), 0.05, 0.005),
    ],
    ids=str,
)
def test_bursts_of_noise_on_drift_and_hum_are_as_strong_and_when_they_were_planted(fs, rate, band, length, early):
    """Gain within 5 %; half of the rise a few ms from the onset, and before it where amplitudes are smoothed."""
    x, onsets = planted(fs, length)
    course, lags = values_of(x, band, fs=fs, rate=rate, line_hz=60.0).mean(axis=1), np.arange(-0.6, length, 0.002)
    around = np.mean([np.interp(onset + lags, np.arange(len(course)) / rate, course) for onset in onsets], axis=0)
    before, during = around[lags < -0.3].mean(), around[np.abs(lags - length / 2) < length / 8].mean()
    assert (during / before) ** (0.5 if band.power else 1) == pytest.approx(3, rel=0.05)
    inside = (lags > -0.3) & (lags < length / 2)
    assert -early < crossing(lags[inside], around[inside], (before + during) / 2) < 0.005


SHORT = brown(7, 2, fs=300.0)
BANDS = [
    ba.high_gamma(70, 100),
    ba.band(8, 30, log=True),
    ba.raw(),
    ba.raw(causal=True),
    ba.high_gamma(70, 100, causal=True),
]


@pytest.mark.parametrize("band", BANDS, ids=str)
@settings(max_examples=6, deadline=None)
@given(cuts=st.lists(st.integers(0, len(SHORT)), max_size=12), gap=st.booleans())
def test_how_a_run_is_cut_into_blocks_does_not_matter(band, cuts, gap):
    x = SHORT.copy()
    if gap:
        x[900:1000, 1] = np.nan
        x[:200, 0] = np.nan
    values, touched = run(x, band, fs=300.0, rate=40.0, cuts=sorted(cuts), line_hz=50.0)
    whole, whole_touched = run(x, band, fs=300.0, rate=40.0, line_hz=50.0)
    np.testing.assert_array_equal(touched, whole_touched)
    np.testing.assert_array_equal(values, whole)


@pytest.mark.parametrize(
    ("band", "within"), [(ba.band(70, 150), 2e-3), (ba.band(8, 13), 2e-3), (ba.raw(), 2e-4), (ba.high_gamma(), 5e-3)]
)
def test_what_comes_later_comes_out_later(band, within):
    x = brown(40, 2)
    band = replace(band, relative=None)
    found, later = values_of(x, band), values_of(x[730:], band)
    assert apart(later, found[73:], ends=600) < within


def test_units():
    x = brown(10, 2)
    for band, factor in (
        (ba.band(70, 150), 5),
        (ba.band(70, 150, power=True), 25),
        (ba.raw(), 5),
        (ba.high_gamma(), 1),
    ):
        np.testing.assert_allclose(values_of(5 * x, band), factor * values_of(x, band), rtol=2e-3, atol=1e-9)


def test_raw_voltage_is_linear_and_free_of_aliases():
    x, y = brown(20, 2, seed=1), brown(20, 2, seed=2)
    made = [values_of(each, ba.raw()) for each in (x, y, 2 * x - 3 * y)]
    np.testing.assert_allclose(made[2], 2 * made[0] - 3 * made[1], atol=1e-6 * np.abs(made[2]).max())
    t, at = np.arange(20_000)[:, None] / FS, np.arange(2_000) / 100
    tones = np.sin(2 * np.pi * np.array([3.0, 38.0, 55.0, 103.0]) * t + 1) + 0.2
    found = values_of(tones, ba.raw())[100:-100]
    for column, hz in enumerate((3.0, 38.0)):
        np.testing.assert_allclose(found[:, column], np.sin(2 * np.pi * hz * at[100:-100] + 1) + 0.2, atol=2e-3)
    np.testing.assert_allclose(found[:, 2:], 0.2, atol=1e-3)  # beyond what the rate carries, −60 dB
    np.testing.assert_allclose(values_of(x, ba.raw(), rate=FS), x, atol=1e-6 * np.abs(x).max())
    drift = np.linspace(0, 3e-3, len(x))[:, None]
    kept, inside = values_of(x, ba.raw(2.0)), slice(500, -500)
    np.testing.assert_allclose(values_of(x + drift, ba.raw(2.0))[inside], kept[inside], atol=1e-2 * x.std())


def test_an_offset_and_a_drift_cost_no_digits_of_a_small_band():
    """Microvolts of high-gamma on millivolts of drift, in single precision."""
    small = 1e-6 * noise_of(75, 145, 30, 2)
    t = np.arange(len(small))[:, None] / FS
    large = 5e-3 + 1e-3 * np.sin(2 * np.pi * 0.2 * t)
    assert apart(values_of(small + large, ba.band(70, 150)), values_of(small, ba.band(70, 150))) < 2e-3


@pytest.mark.parametrize("band", [ba.high_gamma(), ba.band(70, 150), ba.raw(), ba.band(70, 150, causal=True)], ids=str)
def test_missing_samples_do_not_ring(band):
    """Where an artefact was taken out, outputs are touched; the others are what they would have been without it."""
    x = brown(20, 3)
    gone = x.copy()
    gone[9_000:9_400, 1] = np.nan
    gone[12_000, 1:] = np.inf
    band = replace(band, relative=None)
    plan = envelope_plan(band, FS, 100.0)
    values, touched = run(gone, band)
    before = values_of(x, band)
    assert np.isfinite(values).all()
    at = np.arange(len(values)) / 100
    after = at if band.causal else at + plan.reach_s
    near = ((after >= 9) & (at - plan.reach_s <= 9.399)) | ((after >= 12) & (at - plan.reach_s <= 12))
    if band.causal:
        near |= at <= plan.reach_s
        np.testing.assert_array_equal(touched[:, 0], at <= plan.reach_s)
    else:
        np.testing.assert_array_equal(values[:, 0], before[:, 0])
        assert not touched[:, 0].any()
    np.testing.assert_array_equal(touched[:, 1], near)
    assert plan.reach_s < 0.35
    assert np.abs(values - before)[~touched].max() < 0.25 * before.std()
    relative = run(
        np.where(np.isnan(gone), 0, gone) + np.where(np.isnan(gone), np.nan, 0), replace(band, relative="mean")
    )
    if band.envelope and not band.causal:
        assert relative[0][~touched[:, 1], 1].mean() == pytest.approx(1, abs=1e-4)


CONSTANT = np.repeat([[0.1, 0.00123, 0.0]], 1500, axis=0)  # as floats, means of the first two are a little off


@pytest.mark.parametrize("causal", [False, True])
def test_a_channel_that_does_not_change_is_nothing(causal):
    """Nothing is relative to nothing: no rounding errors as high-gamma."""
    for band in (ba.high_gamma(causal=causal), ba.high_gamma(log=True, causal=causal)):
        assert np.isnan(values_of(CONSTANT, band)[100:]).all()
    z = values_of(CONSTANT, ba.high_gamma(relative="z", causal=causal))
    assert np.isnan(z).all() if not causal else (z == 0).all()  # which is as is usual so far
    assert (values_of(CONSTANT, ba.band(70, 150, causal=causal)) == 0).all()
    assert (values_of(CONSTANT, ba.band(70, 150, log=True, causal=causal)) < -87).all()
    np.testing.assert_array_equal(values_of(CONSTANT, ba.raw(causal=causal)), CONSTANT[::10].astype(np.float32))


def test_a_run_of_which_nothing_is_there_is_touched_throughout():
    x = np.full((3000, 2), np.nan)
    x[:, 1] = brown(3, 1)[:, 0]
    values, touched = run(x, ba.band(70, 150))
    assert touched[:, 0].all()
    assert not touched[:, 1].any()
    assert np.isfinite(values).all()
    assert np.isnan(values_of(x, ba.high_gamma())[:, 0]).all()


@pytest.mark.parametrize("n", [1, 2, 37, 400])
@pytest.mark.parametrize("band", [ba.high_gamma(), ba.raw(), ba.band(4, 8, causal=True)], ids=str)
def test_a_run_may_be_shorter_than_the_filter(n, band):
    values = values_of(brown(1, 3)[:n] + 1, band, line_hz=50.0)
    assert values.shape == (-(-n // 10), 3)


def test_a_steady_tone_is_steady_up_to_the_ends():
    t = np.arange(4000)[:, None] / FS
    found = values_of(np.cos(2 * np.pi * 110 * t), ba.band(70, 150))
    np.testing.assert_allclose(found, 1, atol=0.1)
    np.testing.assert_allclose(found[20:-20], 1, atol=1e-3)


def test_nothing_is_known_before_it_happens():
    """Changed from 6 s on, a causal envelope is the same bit for bit before 6 s; it is late by what it says."""
    x = brown(10, 2)
    changed = x.copy()
    changed[6_000:] *= 100
    x[:1500, 1] = changed[:1500, 1] = np.nan
    for band in (
        ba.band(70, 150, causal=True),
        ba.high_gamma(causal=True),
        ba.high_gamma(causal=True, relative="z"),
        ba.broadband(20, 100, n_sub=3, causal=True),
        ba.raw(causal=True),
        ba.raw(1, causal=True),
    ):
        one, other = (values_of(each, band, line_hz=50.0) for each in (x, changed))
        np.testing.assert_array_equal(one[:600], other[:600])
        assert np.isfinite(one).all()
        assert np.abs(one[601:] - other[601:]).min(axis=1).max() > 0
    for band in (ba.band(70, 150, causal=True), ba.band(100, 120, causal=True, power=True)):
        tone = burst(2.0, 4.0)[1]
        plan = envelope_plan(band, FS, 100.0)
        found = values_of(tone[:, None], band)[:, 0]
        at = np.arange(len(found)) / 100
        levels = found[(at > 1.5) & (at < 2)].mean(), found[(at > 3) & (at < 4)].mean()
        np.testing.assert_allclose(levels, (1, 9) if band.power else (1, 3), rtol=0.02)
        inside = (at > 1.9) & (at < 3)
        reached = at[inside][np.argmax(found[inside] > np.mean(levels))]
        assert reached - 2 == pytest.approx(plan.delay_s, abs=0.03)


@pytest.mark.parametrize(
    "band",
    [ba.band(70, 200, causal=True), ba.band(13, 30, causal=True, power=True), ba.high_gamma(causal=True)],
    ids=str,
)
def test_a_causal_band_is_as_late_as_it_says(band):
    """Noise is modulated; the envelope follows that modulation, so many seconds later, within 10 ms."""
    times, at = np.arange(40_000) / FS, np.arange(4_000) / 100
    modulation = 1 + 0.25 * noise_of(0.2, 3, 40, 1, seed=1)[:, 0]
    found = values_of(steady(5, 450, 40, 12) * modulation[:, None], band)[500:].mean(axis=1)
    lags = np.arange(0, 0.2, 0.002)
    likeness = [np.corrcoef(found, np.interp(at[500:] - lag, times, modulation))[0, 1] for lag in lags]
    assert lags[np.argmax(likeness)] == pytest.approx(envelope_plan(band, FS, 100.0).delay_s, abs=0.01)


def test_a_causal_band_has_the_order_that_was_given_and_is_never_negative():
    plans = [envelope_plan(ba.band(70, 150, shape=Butterworth(n), causal=True), FS, 100.0) for n in (2, 4)]
    assert [len(plan.filters[0]) for plan in plans] == [2, 4]
    x = 1e-6 * noise_of(5, 450, 6, 4)
    x[3000:3200] *= 100  # a spike: smoothed power that overshoots would have no logarithm after it
    for band in (ba.band(70, 150, log=True, causal=True), ba.band(70, 150, power=True, log=True, causal=True)):
        found = values_of(x, band)
        assert found[320:].min() > found[100:300].min() - 2


def test_relative_so_far_is_relative_to_what_was_untouched_so_far():
    x = brown(8, 2)
    x[4000:4200, 1] = np.nan
    for relative in ("mean", "z"):
        volts, touched = run(x, ba.band(70, 150, causal=True))
        found = values_of(x, ba.band(70, 150, causal=True, relative=relative))
        for k in (300, 420, 799):
            for channel in (0, 1):
                past = volts[: k + 1, channel][~touched[: k + 1, channel]].astype(float)
                expected = volts[k, channel] / past.mean()
                if relative == "z":
                    expected = (volts[k, channel] - past.mean()) / past.std()
                assert found[k, channel] == pytest.approx(expected, rel=1e-4, abs=1e-4)
        assert (found[:2] == {"mean": 1, "z": 0}[relative]).all()  # as is usual, before there is anything


def test_a_causal_band_that_begins_with_nothing_does_not_start_with_a_bang():
    x = 1e-6 * noise_of(75, 145, 6, 2)
    late = x + 5e-3
    late[:1000] = np.nan
    found, touched = run(late, ba.band(70, 150, causal=True))
    before = values_of(x, ba.band(70, 150, causal=True))
    assert touched[:100].all()
    assert not touched[200:].any()
    np.testing.assert_allclose(found[~touched], before[~touched], atol=0.1 * before.std())


def test_memory_does_not_grow_with_the_run():
    block = brown(1, 6, fs=500.0)
    plan = envelope_plan(ba.high_gamma(70, 100), 500.0, 100.0)
    most = []
    for seconds in (30, 90):
        tracemalloc.start()
        assert sum(len(values) for values, _ in envelopes(lambda n=seconds: [block] * n, plan)) == 100 * seconds
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert most[1] < 1.1 * most[0]


def test_raw_voltage_of_a_butterworth_filter_has_an_edge_where_one_is_given():
    hz = np.array([1e-9, 2.0, 20.0, 200.0])
    for edges, expected in (((0, np.inf), [1, 1, 1, 1]), ((2, np.inf), [0, 0.5, 1, 1]), ((0, 20), [1, 1, 0.5, 0])):
        np.testing.assert_allclose(Butterworth(4)(hz, *edges), expected, atol=1e-6)


def test_sub_bands_are_as_many_as_lie_side_by_side():
    assert [ba.high_gamma(*edges).n_sub for edges in ((70, 150), (70, 200), (30, 60))] == [8, 11, 7]


def test_shapes_are_half_at_their_edges_and_sub_bands_lie_side_by_side():
    for shape in (gaussian, Butterworth(3)):
        np.testing.assert_allclose(shape(np.array([70.0, 150.0]), 70, 150), 0.5, rtol=1e-6)
    np.testing.assert_array_equal(flat(np.array([0.0, 1e3]), 0, np.inf), 1)
    edges = sub_bands(70, 150, 8)
    np.testing.assert_allclose(edges[1:, 0], edges[:-1, 1])
    np.testing.assert_allclose(np.diff(np.log(edges)), np.log(150 / 70) / 8)
    widths = 2 * np.sqrt(2 * np.log(2)) * 0.39 * np.sqrt(np.sqrt(edges.prod(1)))
    np.testing.assert_allclose(widths, np.diff(edges)[:, 0], rtol=0.25)  # as `edwards` says of itself
    assert edwards(np.array([100.0]), 80, 125).item() == 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ba.band(150, 70), "from a low to a higher frequency in Hz, both above 0; found 150 to 70"),
        (lambda: ba.band(0, 8), "found 0 to 8"),
        (lambda: ba.raw(-1), "found -1 to inf"),
        (lambda: ba.high_gamma(n_sub=0), "1 sub-band or more, raw voltage has one; found 0"),
        (lambda: Band(4, 8, relative="median"), "'mean', 'z' or None; found 'median'"),
        (lambda: envelope_plan(ba.high_gamma(), 300.0, 100.0), "70 to 150 Hz is not in 300 samples per second"),
        (lambda: envelope_plan(ba.raw(200), 300.0, 300.0), "end at 150 Hz: choose a lower band"),
        (lambda: envelope_plan(ba.raw(40), 300.0, 100.0), "above 40 Hz is not in 100 samples per second: ask for 120"),
        (lambda: envelope_plan(ba.raw(), 300.0, 400.0), "has none at 400: ask for 300 or less"),
        (lambda: envelope_plan(ba.raw(), 300.0, 0.0), "has none at 0"),
        (lambda: envelope_plan(ba.raw(), 300.0, 100.0, line_hz=150.0), "line noise at 150 Hz is not in 300"),
        (
            lambda: ba.high_gamma(n_sub=1),
            r"78 Hz apart, where each is 9 Hz wide: leave n_sub out, or .* band\(70, 150\)",
        ),
        (
            lambda: ba.band(70, 150, shape=gaussian, causal=True),
            "has Butterworth filters; found gaussian: leave shape out",
        ),
        (lambda: replace(ba.raw(), causal=True), r"found flat: leave shape out, or give Butterworth\(order\)"),
    ],
)
def test_what_cannot_be_is_refused(make, said):
    with pytest.raises(SettingsError, match=said):
        make()


@pytest.mark.parametrize("causal", [False, True])
def test_a_run_that_is_none_is_refused(causal):
    plan = envelope_plan(ba.band(70, 150, causal=causal), FS, 100.0)
    with pytest.raises(InputError, match="the run has no samples: leave it out"):
        list(envelopes(lambda: [np.zeros((0, 3))], plan))
    with pytest.raises(InputError, match=r"shape \(5, 2\), where \(samples, 3\) was expected"):
        list(envelopes(lambda: [np.zeros((5, 3)), np.zeros((5, 2))], plan))
    with pytest.raises(InputError, match=r"shape \(5,\), where \(samples, channels\) was expected"):
        list(envelopes(lambda: [np.zeros(5)], plan))
