"""What is planted in a sound is found: tones in their band, loudness in the envelope, onsets, the pitch of a voice."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from brainalign.errors import InputError, SettingsError
from brainalign.features import listening, sound_spectra
from brainalign.features.acoustics import envelope, mel_spectrogram, onset_strength
from brainalign.features.pitch import pitch
from brainalign.features.sound_spectra import MelBands, fast_length, hz_of, mel_of
from brainalign.store import Store

RATE = 16_000
NOISE = (np.random.default_rng(0).normal(size=2 * RATE) / 10).astype(np.float32)
EACH = [mel_spectrogram, envelope, onset_strength, pitch]


def seconds(n: float, rate: float = RATE) -> np.ndarray:
    return np.arange(round(n * rate)) / rate


def voice(f0: np.ndarray, rate: float = RATE, harmonics: range = range(1, 12)) -> np.ndarray:
    """A sum of harmonics of a fundamental that moves; what is said by `harmonics` need not have it itself."""
    phase = 2 * np.pi * np.cumsum(f0) / rate
    return sum(np.sin(k * phase) / k for k in harmonics) / 10


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 48_000.0])
@pytest.mark.parametrize("band", [3, 20, 39])
def test_a_mel_band_peaks_at_the_tone_planted_in_it(band, rate):
    hz = MelBands(40, 0.0, 8_000.0).edges_hz[1 + band]
    heard = mel_spectrogram((np.sin(2 * np.pi * hz * seconds(0.5, rate)), rate), bands=40)
    inside = heard.values[5:-5]
    assert (inside.argmax(axis=1) == band).all()
    assert heard.columns["hz"].iloc[band] == pytest.approx(hz)
    assert inside.max(axis=1) == pytest.approx(97.0, abs=1.3)  # a sine's mean square, but for what the triangle takes
    assert (inside[:, [k for k in range(40) if abs(k - band) > 4]] < 70).all()


def test_mel_bands_are_those_of_another_implementation():
    audio = pytest.importorskip("transformers").audio_utils
    hz = np.linspace(0, 8_000, 513)
    theirs = audio.mel_filter_bank(513, 40, 100.0, 7_000.0, RATE, norm=None, mel_scale="slaney")
    np.testing.assert_allclose(MelBands(40, 100.0, 7_000.0).weights(hz), theirs, atol=1e-9)
    window = np.hanning(403)[1:-1]  # the same of one window by a plain Fourier sum
    middle = NOISE[8_000 - 200 : 8_000 + 201] * window
    size = fast_length(802)
    filters = audio.mel_filter_bank(size // 2 + 1, 40, 100.0, 7_000.0, RATE, norm=None, mel_scale="slaney")
    power = np.abs(np.exp(-2j * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(401)) / size) @ middle) ** 2
    expected = 10 * np.log10(power @ filters * 2 / (size * (window**2).sum())) + 100  # above the floor
    ours = mel_spectrogram((NOISE, RATE), bands=40, low_hz=100.0, high_hz=7_000.0)
    np.testing.assert_allclose(ours.values[50], expected, atol=1e-3)


@pytest.mark.verify
def test_mel_spectrogram_and_onsets_are_librosas():
    import librosa

    ours = mel_spectrogram((NOISE, RATE), bands=40, window_s=0.032)
    window = np.hanning(515)[1:-1]
    n = fast_length(2 * 513)
    frames = np.stack([np.pad(NOISE, 256)[160 * k : 160 * k + 513] for k in range(200)])
    power = np.abs(np.fft.rfft(frames * window, n)) ** 2
    filters = librosa.filters.mel(sr=RATE, n_fft=n, n_mels=40, fmin=0.0, fmax=8_000.0, norm=None, dtype=float)
    spectrum = librosa.power_to_db(power @ filters.T * 2 / (n * (window**2).sum()), amin=1e-10, top_db=None) + 100
    np.testing.assert_allclose(ours.values, spectrum, atol=1e-3)
    theirs = librosa.onset.onset_strength(S=spectrum.T, sr=RATE, center=False)
    found = onset_strength((NOISE, RATE), bands=40, window_s=0.032)
    np.testing.assert_allclose(found.values[1:, 0], theirs[1:], atol=1e-3)


def test_bands_of_the_same_noise_are_alike_whatever_its_rate():
    slow = mel_spectrogram((NOISE, RATE), bands=20, high_hz=7_000.0)
    twice = np.fft.irfft(np.pad(np.fft.rfft(NOISE), (0, len(NOISE) // 2)), 2 * len(NOISE)) * 2
    quick = mel_spectrogram((twice, 2 * RATE), bands=20, high_hz=7_000.0)
    assert np.abs(slow.values[3:-3] - quick.values[3:-3]).max() < 1.0


@given(st.floats(0, 20_000))
def test_mel_and_back_is_where_it_was(hz):
    assert float(hz_of(mel_of(hz))) == pytest.approx(hz, abs=1e-6)


@pytest.mark.parametrize(
    ("rate", "carrier", "modulation"), [(44_100, 1_000, 4.0), (16_000, 300, 8.0), (8_000, 500, 1.5)]
)
def test_the_envelope_of_an_amplitude_modulated_tone(rate, carrier, modulation):
    t = seconds(4, rate)
    amplitude = 0.5 * (1 + 0.8 * np.sin(2 * np.pi * modulation * t)) / 2
    heard = envelope((amplitude * np.sin(2 * np.pi * carrier * t), rate))
    expected = np.interp(heard.samples["time"], t, amplitude)
    assert np.corrcoef(heard.values[:, 0], expected)[0, 1] > 0.999
    assert np.abs(heard.values[5:-5, 0] - expected[5:-5]).max() < 0.01  # in the same units
    assert (heard.values >= 0).all()
    broad = np.random.default_rng(1).normal(size=len(t)) * amplitude
    assert np.corrcoef(envelope((broad, rate), window_s=0.1).values[:, 0], expected)[0, 1] > 0.95


def test_what_the_rate_cannot_carry_is_kept_out_of_the_envelope():
    t = seconds(4)
    quick = (1 + np.sin(2 * np.pi * 19.0 * t)) * np.sin(2 * np.pi * 1_000 * t) / 4  # at 20 Hz this would look like 1 Hz
    assert envelope((quick, RATE), rate=20).values[5:-5].std() < 0.03 * envelope((quick, RATE)).values.std()


def test_onsets_are_where_something_begins_and_not_where_it_ends():
    sound = np.zeros(4 * RATE)
    for k in (1, 2, 3):
        fades = np.minimum(1, 20 * (0.5 - seconds(0.5)))  # cut off at once, it would end with a click
        sound[k * RATE : k * RATE + RATE // 2] = 0.3 * fades * np.sin(2 * np.pi * 700 * k * seconds(0.5))
    heard = onset_strength((sound, RATE))
    time, flux = heard.samples["time"].to_numpy(), heard.values[:, 0]
    for k in (1, 2, 3):
        near = np.abs(time - k) < 0.025
        assert near[flux.argmax()] or flux[near].max() > 0.6 * flux.max()
        assert flux[np.abs(time - k - 0.22) < 0.18].max() < 0.01 * flux.max()
        assert flux[np.abs(time - k - 0.5) < 0.1].max() < 0.2 * flux[near].max()
    assert flux[time < 0.9].max() == 0
    assert (flux >= 0).all()


@pytest.mark.parametrize("harmonics", [range(1, 12), range(3, 9)], ids=["with", "without"])
def test_pitch_follows_a_voice_with_and_without_its_fundamental(harmonics):
    t = seconds(4, 44_100)
    f0 = 150 * 2 ** (0.5 * np.sin(2 * np.pi * 0.5 * t))
    heard = pitch((voice(f0, 44_100, harmonics), 44_100), reference_hz=150)
    assert heard.columns["unit"].tolist() == ["octaves", "voicing"]
    off = np.abs(heard.values[3:-3, 0] - np.interp(heard.samples["time"], t, np.log2(f0 / 150))[3:-3])
    assert np.quantile(off, 0.99) < 0.02  # a quarter of a semitone
    assert heard.values[3:-3, 1].min() > 0.9


def test_pitch_without_a_voice_is_that_of_the_median_and_says_so():
    t = seconds(1)
    low, high = voice(np.full(len(t), 110.0)), voice(np.full(len(t), 220.0))
    sound = np.concatenate([low, 0 * t, high, NOISE[:RATE], low, 0 * t + 0.5])
    heard = pitch((sound, RATE))
    octaves, voicing = heard.values.reshape(6, 100, 2)[:, 5:-5].transpose(2, 0, 1)
    np.testing.assert_allclose(octaves.mean(axis=1), [0, 0, 1, 0, 0, 0], atol=0.01)  # the median is the low one's
    assert (voicing[[0, 2, 4]] > 0.95).all()
    assert (voicing[[1, 5]] == 0).all()
    assert (voicing[3] < 0.5).all()
    assert heard.attrs["features"]["pitch"]["reference_hz"] is None


def test_of_several_speakers_each_has_their_own_median():
    t = seconds(1)
    sounds = {run: (voice(np.full(len(t), hz)), RATE) for run, hz in (("1", 110.0), ("2", 220.0))}
    assert np.abs(pitch(sounds).values[:, 0]).max() < 0.01
    both = pitch(sounds, reference_hz=110).values[:, 0].reshape(2, 100)[:, 5:-5]
    np.testing.assert_allclose(both.mean(axis=1), [0, 1], atol=0.01)


def test_of_a_piece_pitch_is_that_of_the_whole_if_counted_from_the_same():
    rises = voice(120 * 2 ** seconds(1))
    whole, piece = (pitch((sound, RATE), reference_hz=120).values for sound in (rises, rises[: RATE // 2]))
    np.testing.assert_array_equal(piece[:45], whole[:45])
    by_its_own = [pitch((sound, RATE)).values[10, 0] for sound in (rises, rises[: RATE // 2])]
    assert by_its_own[0] == pytest.approx(by_its_own[1] - 0.25, abs=0.02)  # medians, a quarter of an octave apart


@pytest.mark.parametrize("function", EACH, ids=lambda f: f.__name__)
def test_piece_by_piece_is_the_whole(function, monkeypatch, tmp_path):
    whole = function((NOISE, RATE)).array()
    monkeypatch.setattr(sound_spectra, "CHUNK_SAMPLES", 3_000)
    monkeypatch.setattr(listening, "PART_BYTES", 4 * whole.shape[1] * 33)
    np.testing.assert_allclose(function((NOISE, RATE)).array(), whole, atol=1e-4)
    kept = function((NOISE, RATE), store=Store(tmp_path))
    np.testing.assert_allclose(kept.array(), whole, atol=1e-4)
    assert len(Store(tmp_path).pieces()) == 1


@pytest.mark.parametrize("function", EACH, ids=lambda f: f.__name__)
def test_each_is_on_the_clock_of_its_runs(function, tmp_path):
    soundfile.write(tmp_path / "a.wav", NOISE, RATE, subtype="FLOAT")
    events = pd.DataFrame({"run": ["1", "2"], "onset": [3.0, 0.5], "duration": [1.0, 2.0], "stim_file": "a.wav"})
    heard = function(events, root=tmp_path, rate=10, name="x", channel=0)
    assert heard.bands == ["x"]
    assert heard.samples["time"].tolist() == pytest.approx(
        [3 + k / 10 for k in range(10)] + [0.5 + k / 10 for k in range(20)]
    )
    assert heard.samples["duration"].unique().tolist() == [0.1]
    assert heard.samples.columns.tolist() == ["run", "time", "duration", "stimulus", "stimulus_time"]
    assert heard.attrs["features"]["x"]["rate"] == 10.0
    assert list(heard.attrs["inputs"]) == ["a.wav"]
    assert np.isfinite(heard.values).all()


@pytest.mark.parametrize("function", EACH, ids=lambda f: f.__name__)
def test_silence_has_the_lowest_values_and_is_said(function):
    heard = function((np.zeros((RATE, 2)), RATE))
    assert set(heard.array().ravel().tolist()) == {0.0}  # as has the time without a sound
    assert heard.attrs["notes"] == ["sound: silent throughout"]


def test_what_is_kept_is_found_again_for_the_same_question_only(tmp_path, monkeypatch):
    store = Store(tmp_path)
    first = mel_spectrogram((NOISE, RATE), bands=20, store=store)
    with monkeypatch.context() as patch:
        patch.setattr("brainalign.features.acoustics.MelSpectrum", lambda *_: pytest.fail("it was computed again"))
        again = mel_spectrogram({"5": (NOISE, RATE)}, bands=20, store=store, name="other")
    np.testing.assert_array_equal(again.values, first.values)
    changes = [{"bands": 10}, {"low_hz": 50.0}, {"high_hz": 5_000.0}, {"rate": 50.0}, {"window_s": 0.05}]
    for change in changes:
        mel_spectrogram((NOISE, RATE), store=store, **({"bands": 20} | change))
    mel_spectrogram((NOISE[::-1], RATE), bands=20, store=store)
    onset_strength((NOISE, RATE), bands=20, store=store)
    assert len(store.pieces()) == 1 + len(changes) + 2


def test_the_others_of_a_batch_are_kept_when_one_changes_while_it_is_read(tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    for name in "abc":
        soundfile.write(tmp_path / f"{name}.wav", NOISE, RATE, subtype="FLOAT")
    paths = {name: tmp_path / f"{name}.wav" for name in "abc"}
    soundfile.write(paths["b"], NOISE / 2, RATE, subtype="FLOAT")
    soundfile.write(paths["c"], NOISE / 3, RATE, subtype="FLOAT")
    plain = listening.Listener

    def spoilt(width, hear, *also):
        soundfile.write(paths["c"], NOISE[:RATE], RATE, subtype="FLOAT")
        return plain(width, hear, *also)

    with monkeypatch.context() as patch:
        patch.setattr("brainalign.features.acoustics.Listener", spoilt)
        with pytest.raises(InputError, match=r"c.wav is shorter than it was a moment ago"):
            envelope(paths, store=store)
    assert len(store.pieces()) == 2
    done = []
    envelope({"a": paths["b"], "b": paths["a"]}, store=store, progress=lambda k, n, what: done.append((k, n)))
    assert done == [(0, 2), (1, 2), (2, 2)]
    assert len(store.pieces()) == 1  # both were there, and have become the new whole


@pytest.mark.parametrize(
    ("function", "asked", "message"),
    [
        (mel_spectrogram, {"bands": 0}, r"bands is how many there are, a whole number from 1; found 0"),
        (mel_spectrogram, {"low_hz": 500, "high_hz": 100}, r"low_hz is 0 or more and below high_hz; found 500 and 100"),
        (mel_spectrogram, {"bands": 400}, r"400 bands between 0 and 8000 Hz are too narrow for windows of 0.025 s"),
        (mel_spectrogram, {"rate": 0}, r"rate is a positive number; found 0"),
        (onset_strength, {"window_s": "long"}, r"window_s is a positive number; found 'long'"),
        (envelope, {"rate": float("inf")}, r"rate is a positive number; found inf"),
        (envelope, {"rate": 0}, r"rate is a positive number; found 0"),
        (envelope, {"rate": "a"}, r"rate is a positive number; found 'a'"),
        (mel_spectrogram, {"low_hz": "a"}, r"low_hz is 0 or more and below high_hz; found 'a' and 8000.0"),
        (onset_strength, {"high_hz": None}, r"low_hz is 0 or more and below high_hz; found 0.0 and None"),
        (
            pitch,
            {"low_hz": 300, "high_hz": 200},
            r"low_hz is below high_hz of a pitch, and that at most 4,000 Hz; found 300 and 200",
        ),
        (pitch, {"reference_hz": -1}, r"reference_hz is a positive number; found -1"),
    ],
)
def test_a_wrong_setting_says_what_to_do(function, asked, message):
    with pytest.raises(SettingsError, match=message):
        function((NOISE, RATE), **asked)


def test_bands_above_what_a_sound_has_are_refused():
    message = (
        r"sound has 11,025 samples per second, so nothing above 5,512 Hz, and bands go up to 8,000 Hz: take high_hz="
    )
    for function in (mel_spectrogram, onset_strength):
        with pytest.raises(InputError, match=message):
            function((NOISE, 11_025))
        assert np.isfinite(function((NOISE, 11_025), high_hz=5_500).values).all()
