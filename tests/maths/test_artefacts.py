"""Are channels and samples that are no signal of a brain told from those that are?"""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainalign.errors import InputError
from brainalign.maths.artefacts import Limits, bad_channels, mark, survey

FS = 500.0

DATA = Path(os.environ.get("BRAINALIGN_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


def recording(seconds=12, channels=8, seed=0):
    """Volts: noise of a spectrum that falls with frequency, about as loud in each channel, on offsets."""
    rng = np.random.default_rng(seed)
    n = int(seconds * FS)
    spectrum = np.fft.rfft(rng.standard_normal((n, channels)), axis=0)
    spectrum /= np.maximum(np.fft.rfftfreq(n, 1 / FS), 1)[:, None]
    x = np.fft.irfft(spectrum, n, axis=0)
    return 5e-5 * x / x.std(axis=0) * np.linspace(0.6, 1.6, channels) + 1e-3 * rng.standard_normal(channels)


def marked(x, found, limits=None, **kwargs):
    values, where = zip(*mark([x], found, limits or Limits(), **kwargs), strict=True)
    np.testing.assert_array_equal(np.concatenate(values), x)
    return np.concatenate(where)


def test_a_survey_says_what_each_channel_is_like():
    rng = np.random.default_rng(0)
    x = 3e-5 * rng.standard_normal((int(20 * FS), 3)) * [1, 2, 4] + [0, 1e-3, -1e-3]
    x[:3000, 2] += 1.0  # a third of the time, something else: the median does not mind
    t = np.arange(len(x)) / FS
    x[:, 1] += 1e-4 * np.sin(2 * np.pi * 60 * t) + 5e-5 * np.sin(2 * np.pi * 120 * t)
    x[200:700, 0] = np.nan
    found = survey([x], FS, line_hz=60.0)
    assert found.n_samples == len(x)
    np.testing.assert_allclose(found.amplitude[[0, 2]], [3e-5, 12e-5], rtol=0.1)
    np.testing.assert_allclose(found.step[[0, 2]] / 0.6745 / np.sqrt(2), [3e-5, 12e-5], rtol=0.1)
    np.testing.assert_allclose(found.missing, [0.05, 0, 0])
    np.testing.assert_allclose(found.levels[[2, -1], 2], [0.999, -1e-3], atol=1e-4)
    hum = (1e-4**2 + 5e-5**2) / 2
    assert found.line[1] == pytest.approx(np.sqrt(hum), rel=0.02)
    assert found.line_share[1] == pytest.approx(hum / (hum + 6e-5**2), rel=0.05)
    assert found.line_share[[0, 2]].max() < 0.02
    without = survey([x], FS)
    assert np.isnan([without.line, without.line_share]).all()


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 1700), max_size=8))
def test_blocks_do_not_matter(cuts):
    x = recording(3.4, 3)
    x[800:900, 1] = x[800, 1]
    x[1200, 2] += 0.01
    whole, blocks = survey([x], FS, line_hz=50.0), np.split(x, sorted(cuts))
    found = survey(blocks, FS, line_hz=50.0)
    for name in ("amplitude", "step", "flat", "clipped", "line", "line_share", "levels", "low", "high"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    where = np.concatenate([each for _, each in mark(blocks, found)])
    np.testing.assert_array_equal(where, marked(x, whole))
    assert where[800:900, 1].all()
    assert where[1200, 2]


def test_bad_channels_are_named_with_the_reason():
    x = recording(10, 9)
    t = np.arange(len(x)) / FS
    x[80:, 1] = x[80, 1]
    x[:, 2] = (x[:, 2] - x[:, 2].mean()) * 9 * x[:, 4].std() / x[:, 2].std()
    x[:, 3] += 2e-4 * np.sin(2 * np.pi * 50 * t)
    x[:, 5] = np.clip(x[:, 5], *np.quantile(x[:, 5], [0.2, 0.8]))
    x[:4000, 6] = np.nan
    x[:, 7] = 1e-7 * np.random.default_rng(1).standard_normal(len(x))
    x += 1e-7 * np.random.default_rng(2).standard_normal((len(x), 1)) * (np.arange(9) == 0)
    reasons = bad_channels(survey([x], FS, line_hz=50.0))
    assert [bool(each) for each in reasons] == [False, True, True, True, False, True, True, True, False]
    assert reasons[1] == "flat for 98 % of the run"
    assert reasons[2].startswith("amplitude ")
    assert 6 < float(reasons[2].split()[1]) < 14
    assert "line noise " in reasons[3]
    assert "× the median of the other channels" in reasons[3]
    assert reasons[5].startswith("clipped for ")
    assert reasons[6] == "not recorded for 80 % of the run"
    assert reasons[7].startswith("amplitude 0.00")


def test_good_channels_are_good_and_few_are_not_compared():
    assert bad_channels(survey([recording()], FS, line_hz=50.0)) == [""] * 8
    x = recording(10, 4) * [1, 1, 1, 50]
    assert bad_channels(survey([x], FS)) == [""] * 4
    hum = recording(10, 6) + 2e-4 * np.sin(2 * np.pi * 50 * np.arange(5000)[:, None] / FS)
    assert bad_channels(survey([hum], FS, line_hz=50.0)) == [""] * 6  # all alike: a notch will do


def test_a_channel_that_only_jitters_is_restless():
    x = recording(10, 6)
    x[:, 2] += 2e-4 * np.random.default_rng(0).standard_normal(len(x))
    assert "steps " in bad_channels(survey([x], FS))[2]


def test_samples_are_marked_and_nothing_else():
    x = recording()
    x[1000:1005, 0] += 0.05  # a spike
    x[2000:2100, 1] = x[2000, 1]  # nothing moves
    x[2500:2520, 1] = x[2500, 1]  # for 40 ms: that happens
    x[3000:, 2] += 0.004  # a step, and a new level from then on
    top = x[:, 3].mean() + 1.5 * x[:, 3].std()
    x[:, 3] = np.minimum(x[:, 3], top)
    x[4000:4010, 4] = np.nan
    guard = 25
    where = marked(x, survey([x], FS), Limits(guard_s=guard / FS))
    expected = np.zeros(x.shape, bool)
    expected[999 - guard : 1006 + guard, 0] = True
    expected[2000 - guard : 2100 + guard, 1] = True
    expected[2999 - guard : 3001 + guard, 2] = True
    expected[4000 - guard : 4010 + guard, 4] = True
    np.testing.assert_array_equal(where[:, [0, 1, 2, 4, 5, 6, 7]], expected[:, [0, 1, 2, 4, 5, 6, 7]])
    stays = np.flatnonzero((x[1:, 3] == top) & (x[:-1, 3] == top)) + 1
    far = np.abs(np.arange(len(x))[:, None] - stays).min(axis=1) > guard + 1
    assert where[stays, 3].all()
    assert not where[far, 3].any()


def test_where_many_channels_are_bad_all_are_but_bad_channels_have_no_say():
    x = recording()
    x[1000, :3] += 0.05
    found, limits = survey([x], FS), Limits(guard_s=0)
    assert marked(x, found, limits)[1000].all()
    assert marked(x, found, limits, bad=[0])[1000].tolist() == [True] * 3 + [False] * 5
    assert not marked(x, found, limits)[[998, 1002]].any()


def brain(seconds=30, channels=64, seed=0):
    """Volts in steps of 0.1 µV: amplitude that falls as f⁻¹ to f⁻², waxing and waning, unequally loud, with hum."""
    rng, n = np.random.default_rng(seed), int(seconds * FS)
    hz, t = np.maximum(np.fft.rfftfreq(n, 1 / FS), 0.5)[:, None], np.arange(n)[:, None] / FS
    x = np.fft.irfft(
        np.fft.rfft(rng.standard_normal((n, channels)), axis=0) / hz ** rng.uniform(1, 2, channels), n, axis=0
    )
    x *= 5e-5 / x.std(axis=0) * np.exp(0.5 * rng.standard_normal(channels))
    x *= np.exp(0.4 * np.sin(2 * np.pi * t / rng.uniform(10, 40, channels)))
    hum = 1e-5 * np.exp(0.7 * rng.standard_normal(channels)) * np.sin(2 * np.pi * 50 * t + 1)
    return (
        np.round((x + hum + 1e-6 * rng.standard_normal(x.shape) + 1e-3 * rng.standard_normal(channels)) / 1e-7) * 1e-7
    )


def test_a_brain_is_no_artefact():
    """Simulated: no channel is bad, 0.3 % of the samples marked in any of 64 channels; 5 and 10 would take a tenth."""
    x = brain()
    found = survey([x], FS, line_hz=50.0)
    assert bad_channels(found) == [""] * 64
    assert marked(x, found).any(axis=1).mean() < 0.003
    assert marked(x, found, Limits(peak=5, jump=10)).any(axis=1).mean() > 0.1


def test_a_real_recording_between_seizures_is_no_artefact():
    """50 contacts, 5 s of sleep with interictal spikes: nothing is marked, and no contact is bad."""
    path = DATA / "ieeg-bids-tiny/sub-01/ieeg/sub-01_task-interictalsleep_run-01_ieeg.eeg"
    if not path.exists():
        pytest.skip(f"no recording at {path}: set BRAINALIGN_TEST_DATA")
    x = 1e-7 * np.fromfile(path, "<f4").reshape(10_000, -1)
    found = survey([x], 2000.0, line_hz=50.0)
    assert set(bad_channels(found)) == {""}
    assert not marked(x, found).any()


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        (np.ones(1), 10),
        (np.minimum(1, np.arange(150) / 2) * np.exp(-np.arange(150) / 40), 12),
        (np.ones(1000), 12),
        (np.hanning(35), 15),
        (np.random.default_rng(2).standard_normal(150), 5),
    ],
    ids=["glitch", "pop", "step", "spike", "muscle"],
)
def test_artefacts_of_many_kinds_are_marked(shape, size):
    """Added to every eighth channel three times, so many usual standard deviations high: 95 % are found."""
    x = brain()
    usual = survey([x], FS).amplitude
    begins = [(channel, start + 37 * channel) for channel in range(0, 64, 8) for start in (2000, 6000, 10_000)]
    for channel, at in begins:
        x[at : at + len(shape), channel] += size * usual[channel] * shape
    where = marked(x, survey([x], FS), Limits(together=2))
    hits = [where[at : at + len(shape), channel].any() for channel, at in begins]
    assert np.mean(hits) >= 0.95


def test_a_missing_part_is_neither_a_clip_nor_a_quiet_channel():
    """Bridges of missing seconds are no measurement: not the lowest value where there is an offset, nor the usual."""
    x = recording(12, 5) + 5e-3
    gone = x.copy()
    gone[1000:3600, 2] = np.nan
    whole, found = survey([x], FS, line_hz=50.0), survey([gone], FS, line_hz=50.0)
    assert found.missing[2] == pytest.approx(2600 / 6000)
    assert (found.clipped == 0).all()
    assert np.isnan([found.low, found.high]).all()
    for name in ("amplitude", "step"):
        assert getattr(found, name)[2] == pytest.approx(getattr(whole, name)[2], rel=0.25)
    nothing = survey([np.full((2000, 2), np.nan)], FS, line_hz=50.0)
    assert bad_channels(nothing) == ["not recorded for 100 % of the run"] * 2
    assert marked(np.full((2000, 2), np.nan), nothing).all()


def test_the_tip_of_a_slow_wave_is_no_clip_and_an_infinite_value_is_always_marked():
    t = np.arange(4000) / FS
    x = np.round(1e-4 * np.sin(2 * np.pi * 0.3 * t + 0.2 * t)[:, None] / 1e-6) * 1e-6  # stays at its top for 70 ms
    x += 1e-6 * (np.arange(4000) % 3 == 0)[:, None]
    assert survey([x], FS).clipped.max() == 0
    flat = np.zeros((2000, 1))
    flat[700] = np.inf
    assert marked(flat, survey([flat], FS), Limits(guard_s=0))[700].all()


def test_a_run_of_nothing_is_refused_and_a_short_one_surveyed():
    with pytest.raises(InputError, match="the run has no samples"):
        survey([], FS)
    found = survey([recording()[:100]], FS, line_hz=50.0)
    assert found.n_samples == 100
    assert (found.amplitude > 0).all()
    constant = np.ones((1000, 2))
    assert bad_channels(survey([constant], FS)) == ["flat for 100 % of the run"] * 2
