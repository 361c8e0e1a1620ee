"""Sounds as they come: every kind of file, any rate, one or more channels, long, silent, clipped, cut off, none."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from brainalign.errors import InputError, SettingsError
from brainalign.features.acoustics import envelope
from brainalign.features.listening import Listener, listen, signal_of
from brainalign.features.sound_files import BLOCK
from brainalign.features.sounds import Sounds, sounds_of
from brainalign.features.tape import Tape
from brainalign.progress import silent

RATE = 22_050
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE)).astype(np.float32)
NOISE = (np.random.default_rng(0).normal(size=BLOCK + 9_000) / 10).astype(np.float32)


def film(path: Path, begins_s: float = 0.0, pictures: bool = True, **options: str) -> Path:
    """A film (or without pictures a sound file) of 3 s with the tone, louder on the left, from `begins_s` on."""
    import av

    with av.open(path, "w", options=options) as container:
        sound: Any = container.add_stream("aac", rate=RATE)
        sound.layout = "stereo"
        if pictures:
            seen: Any = container.add_stream("mpeg4", rate=10)
            seen.width = seen.height = 32
            seen.pix_fmt = "yuv420p"
            for k in range(30):
                picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 8 * k, np.uint8), format="rgb24")
                picture.pts = k
                container.mux(seen.encode(picture))
            container.mux(seen.encode())
        for k in range(0, len(TONE), 1024):
            both = np.ascontiguousarray(np.stack([TONE, TONE / 2])[:, k : k + 1024])
            frame = av.AudioFrame.from_ndarray(both, format="fltp", layout="stereo")
            frame.rate, frame.pts = RATE, k + round(begins_s * RATE)
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
    return path


def cut(path: Path, share: float = 0.5) -> Path:
    """The beginning of a file, as of a copy that broke off."""
    part = path.with_name(f"cut_{path.name}")
    part.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return part


def whole(sounds: Sounds, rate: float | None = None) -> np.ndarray:
    """All of the one sound there is."""
    (clip,) = sounds.clips
    return Tape(clip, rate).read(0, round(clip.duration * (rate or clip.rate)))


@pytest.mark.parametrize(
    ("ending", "subtype", "close"),
    [
        ("wav", "PCM_16", 1e-4),
        ("wav", "FLOAT", 0),
        ("wav", "PCM_U8", 0.01),
        ("flac", "PCM_24", 1e-6),
        ("aiff", "PCM_16", 1e-4),
        ("ogg", "VORBIS", 0.02),
    ],
)
def test_every_kind_of_sound_file_is_read(ending, subtype, close, tmp_path):
    soundfile.write(tmp_path / f"a.{ending}", TONE, RATE, subtype=subtype)
    sounds = sounds_of(tmp_path / f"a.{ending}")
    assert repr(sounds) == "Sounds(1 heard in 1 run, 1 different; 3.0 s)"
    assert sounds.samples.to_dict("records") == [{"run": "1", "time": 0.0, "stimulus": f"a.{ending}", "duration": 3.0}]
    assert np.abs(whole(sounds) - TONE).max() <= close
    assert sounds.notes == []


def test_an_mp3_is_read(tmp_path):
    soundfile.write(tmp_path / "a.mp3", TONE, RATE)
    heard = whole(sounds_of(tmp_path / "a.mp3"))
    assert len(heard) == len(TONE)
    inner = slice(RATE // 2, -RATE // 2)  # libsndfile's encoder stumbles over the beginning
    assert np.corrcoef(heard[inner], TONE[inner])[0, 1] > 0.999  # not a sample off


@pytest.mark.parametrize("ending", ["mp4", "mkv", "m4a"])
def test_the_sound_track_of_a_film_is_read(ending, tmp_path):
    sounds = sounds_of({"2": film(tmp_path / f"a.{ending}", pictures=ending != "m4a")})
    assert sounds.samples["duration"].tolist() == pytest.approx([3.0], abs=0.03)  # Matroska counts what pads the end
    heard = whole(sounds)[: len(TONE)]
    assert np.corrcoef(heard[RATE // 2 :], TONE[RATE // 2 :])[0, 1] > 0.999  # not a sample off
    assert np.abs(heard).max() == pytest.approx(0.75 * 0.3, rel=0.05)  # the mean of both channels
    left = whole(sounds_of(tmp_path / f"a.{ending}", channel=0))
    assert np.abs(left).max() == pytest.approx(0.3, rel=0.05)


def test_a_track_that_begins_later_than_its_film_stays_in_time(tmp_path):
    heard = whole(sounds_of(film(tmp_path / "a.mkv", begins_s=0.5)))
    begins = np.flatnonzero(np.abs(heard) > 0.05)[0] / RATE
    assert begins == pytest.approx(0.5, abs=0.06)
    assert len(heard) / RATE == pytest.approx(3.5, abs=0.06)


@pytest.mark.parametrize(
    "array",
    [
        TONE,
        TONE.astype(float),
        np.stack([TONE, TONE], axis=1),
        (TONE * 2**15).astype(np.int16),
        (TONE * 2.0**31).astype(np.int32),
        (TONE * 128 + 128).round().astype(np.uint8),
        TONE.tolist(),
    ],
    ids=["float32", "float64", "stereo", "int16", "int32", "uint8", "list"],
)
def test_arrays_are_taken_as_a_wav_file_has_them(array):
    heard = whole(sounds_of((array, RATE)))
    assert np.abs(heard - TONE).max() < (0.01 if getattr(array, "dtype", None) == np.uint8 else 1e-4)


@given(st.lists(st.tuples(st.integers(-9_000, 90_000), st.integers(1, 30_000)), min_size=1, max_size=6))
@settings(max_examples=20)
def test_any_stretch_of_a_tape_is_that_of_the_whole(stretches):
    (clip,) = sounds_of((NOISE, RATE)).clips
    padded = np.concatenate([np.zeros(9_000), NOISE, np.zeros(60_000)]).astype(np.float32)
    tape = Tape(clip)
    for start, n in stretches:
        np.testing.assert_array_equal(tape.read(start, start + n), padded[9_000 + start : 9_000 + start + n])


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100.0])
def test_resampled_block_by_block_is_resampled_whole(rate):
    (clip,) = sounds_of((NOISE, RATE)).clips
    expected, tape = soxr.resample(NOISE, RATE, rate), Tape(clip, rate)
    blocks = [tape.read(a, min(a + 7_001, len(expected))) for a in range(0, len(expected), 7_001)]
    np.testing.assert_array_equal(np.concatenate(blocks), expected)


def test_a_long_sound_takes_no_more_memory_than_a_short_one(tmp_path):
    def most(seconds: int) -> int:
        path = tmp_path / f"{seconds}.wav"
        with soundfile.SoundFile(path, "w", 16_000, 1, "PCM_16") as file:
            for _ in range(seconds // 10):
                file.write(np.tile(TONE[:16_000], 10))
        tracemalloc.start()
        tracemalloc.reset_peak()
        found = envelope(path, rate=20)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found.shape == (20 * seconds, 1)
        return peak

    most(10)  # what is imported once is imported
    assert most(900) < most(90) + (8 << 20)  # the 15 minutes would be 58 MB as float32


def test_sounds_of_events_lie_in_time_and_each_is_opened_once(tmp_path):
    soundfile.write(tmp_path / "a.wav", TONE, RATE)
    soundfile.write(tmp_path / "b.wav", TONE[:RATE], RATE)
    names, onsets = ["a.wav", "b.wav", "a.wav"], [1.0, 4.5, 0.0]
    events = pd.DataFrame({"run": [1, 1, 2], "onset": onsets, "duration": [np.nan, 0.0, 2.0], "stim_file": names})
    sounds = sounds_of(events, root=tmp_path)
    assert sounds.samples["duration"].tolist() == [3.0, 1.0, 2.0]  # missing or 0: to its end
    assert sounds.which.tolist() == [0, 1, 2]  # a.wav was heard whole, and cut short
    assert [round(clip.duration, 3) for clip in sounds.clips] == [3.0, 1.0, 2.0]
    assert sorted(sounds.inputs) == ["a.wav", "b.wav"]
    again = sounds_of(events.assign(duration=np.nan), root=tmp_path)
    assert again.which.tolist() == [0, 1, 0]
    assert sounds_of(again) is again


@pytest.mark.parametrize(("onset", "heard"), [(2.0, None), (2.98, 2.98), (3.0, 3.0), (9.0, 3.0)])
def test_how_far_sounds_may_overlap(onset, heard, tmp_path):
    soundfile.write(tmp_path / "a.wav", TONE, RATE)
    events = pd.DataFrame({"run": "1", "onset": [0.0, onset], "stim_file": "a.wav"})
    if heard is None:
        with pytest.raises(InputError, match=r"two sounds at once in run 1: a.wav, from 0 s, is heard for 3.00 s, and"):
            sounds_of(events, root=tmp_path)
    else:
        assert sounds_of(events, root=tmp_path).samples["duration"].tolist() == pytest.approx([heard, 3.0])


def bad(folder: Path, what: str) -> Path:
    """A file that cannot be used."""
    path = folder / what
    kind, _, ending = what.partition(".")
    if kind == "cut" and ending in ("mp4", "mkv"):
        return cut(film(path, **({"movflags": "faststart"} if ending == "mp4" else {}))).rename(path)
    if kind in ("cut", "nan", "none"):
        values = TONE.copy()
        values[RATE : RATE + 2] = np.nan if kind == "nan" else 0.0
        values = values[:0] if kind == "none" else values
        soundfile.write(path, values, RATE, subtype="FLOAT" if kind == "nan" else None)
        return cut(path).rename(path) if kind == "cut" else path
    if kind == "mute":
        import av

        with av.open(path, "w") as container:
            seen: Any = container.add_stream("mpeg4", rate=10)
            seen.width = seen.height = 32
            seen.pix_fmt = "yuv420p"
            container.mux(seen.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
            container.mux(seen.encode())
        return path
    text = {"text": "no sound at all", "empty": "", "list": "#EXTM3U\n#EXTINF:3,\na.mp4\n#EXT-X-ENDLIST\n"}
    path.write_text(text[kind])
    return path


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("cut.wav", r"cut.wav is cut off: it should last 3.00 s, and 1.50 s of it are there; get the whole file"),
        ("cut.aiff", r"cut.aiff is cut off: it should last 3.00 s, and 1.50 s of it are there"),
        ("cut.flac", r"cut.flac cannot be read beyond .* is it damaged, or cut off\?"),
        ("cut.ogg", r"cut.ogg (holds no sound, 0 samples: is it empty, or was it cut off\?|is cut off)"),
        ("cut.mp4", r"cut.mp4 (cannot be read beyond 1.\d\d s .* is it damaged, or cut off|is cut off: it should)"),
        ("cut.mkv", r"cut.mkv is cut off: it should last 3.\d\d s"),
        ("nan.wav", r"nan.wav has a sample that is no number \(nan, at 1.000 s\): mend it"),
        ("none.wav", r"none.wav holds no sound, 0 samples"),
        ("text.wav", r"text.wav cannot be read as sound \(libsndfile: Format not recognised; FFmpeg: .*\): is it"),
        ("empty.wav", r"empty.wav cannot be read as sound"),
        ("text.raw", r"text.raw cannot be read as sound"),
        ("list.m3u8", r"list.m3u8 cannot be read as sound"),
        ("mute.mp4", r"mute.mp4 has no sound track"),
    ],
)
def test_what_cannot_be_read_says_so(what, message, tmp_path):
    with pytest.raises(InputError, match=message):
        sounds_of(bad(tmp_path, what))


def test_all_that_cannot_be_read_is_said_at_once_or_censored(tmp_path):
    soundfile.write(tmp_path / "good.wav", TONE, RATE)
    for what in ("text.wav", "cut.wav"):
        bad(tmp_path, what)
    names = ["good.wav", "text.wav", "cut.wav", "gone.wav", "good.wav"]
    events = pd.DataFrame({"run": "1", "onset": np.arange(5) * 4.0, "duration": 2.0, "stim_file": names})
    with pytest.raises(InputError, match=r"(?s)3 problems:.*text.wav cannot.*cut.wav is cut.*no sound file gone.wav"):
        sounds_of(events, root=tmp_path)
    heard = envelope(events, root=tmp_path, unreadable="censor", rate=10)
    assert heard.shape == (100, 1)
    assert heard.use.reshape(5, 20).all(axis=1).tolist() == [True, False, False, False, True]
    assert (np.isnan(heard.values[:, 0]) == ~heard.use).all()
    np.testing.assert_array_equal(heard.values[:20], heard.values[80:])
    assert [one["stimulus"] for one in heard.attrs["left_out"]] == ["text.wav", "cut.wav", "gone.wav"]
    (note,) = heard.attrs["notes"]
    assert note.startswith("envelope: 60 of 100 samples are censored, sounds that could not be read: text.wav cannot")
    assert "; there is no sound file gone.wav" in note
    with pytest.raises(InputError, match=r"text.wav cannot be read, and its event has no duration"):
        sounds_of(events.assign(duration=0.0), root=tmp_path, unreadable="censor")
    with pytest.raises(InputError, match=r"nothing can be censored where no event says .*: cut.wav is cut"):
        sounds_of({"1": tmp_path / "good.wav", "2": tmp_path / "cut.wav"}, unreadable="censor")
    sounds = sounds_of(events[:2].assign(duration=[2.0, 0.05]), root=tmp_path, unreadable="censor")
    listener = Listener(1, lambda clip: lambda first, last: np.ones((last - first, 1), np.float32))
    found = listen(sounds, 0.5, 0.5, lambda: listener, {}, "x", progress=silent)[:2]  # of the second no sample is due
    last = signal_of(sounds, *found, pd.DataFrame({"band": ["x"]}), "x", {})
    assert last.use.tolist() == [True] * 4
    assert [one["stimulus"] for one in last.attrs["left_out"]] == ["text.wav"]
    with pytest.raises(InputError, match=r"(?s)text.wav cannot be read as sound"):
        sounds_of(events[1:2], root=tmp_path, unreadable="censor")


@pytest.mark.parametrize(
    ("sound", "message"),
    [
        ((TONE, 44.1), r"sound is said to have 44.1 samples per second: .* is the rate in kHz\?"),
        ((TONE, "44100"), r"the rate of sound is in Hz, such as 44100; found '44100'"),
        ((TONE, float("nan")), r"sound is said to have nan samples per second"),
        ((TONE[None], RATE), r"sound is an array of shape \(1, 66150\): a sound is .*; transpose it"),
        ((TONE[:, None, None], RATE), r"sound is an array of shape \(66150, 1, 1\)"),
        ((TONE > 0, RATE), r"sound is an array of bool: a sound's samples are real numbers"),
        (
            ((TONE * 2**15).astype(np.int64), RATE),
            r"sound is an array of int64: .* up to 32 bits; .*astype\(np.int16\)",
        ),
        ((TONE[:0], RATE), r"sound holds no sound, 0 samples"),
        ((np.append(TONE, np.inf), RATE), r"sound has a sample that is no number \(inf, at 3.000 s\)"),
        (TONE, r"a sound is a path, or \(array, rate in Hz\); found a ndarray"),
        ({}, r"there is no sound: the mapping of run → file is empty"),
    ],
)
def test_an_array_that_is_no_sound_says_so(sound, message):
    with pytest.raises(InputError, match=message):
        sounds_of(sound)


def test_silent_and_clipped_sounds_are_used_and_said():
    clipped = np.clip(5 * TONE, -1, 1)
    mute = {str(run): (0 * TONE[run:], RATE) for run in range(4, 11)}
    sounds = sounds_of({"1": (TONE, RATE), "2": (clipped, RATE), "3": (9 * TONE, RATE), **mute})
    assert sounds.notes == [
        "sound of run 2 (53.6% at full scale): seems clipped, used as it is",
        "sound of run 3 (up to 2.7): beyond full scale (±1), used as it is",
        f"{', '.join(f'sound of run {run}' for run in range(4, 9))}, … (7 sounds): silent throughout",
    ]


def test_a_channel_is_chosen(tmp_path):
    both = np.stack([TONE, -TONE], axis=1)
    assert np.abs(whole(sounds_of((both, RATE)))).max() == 0
    np.testing.assert_array_equal(whole(sounds_of((both, RATE), channel=1)), -TONE)
    np.testing.assert_array_equal(whole(sounds_of((both, RATE), channel=np.int64(0))), TONE)
    with pytest.raises(InputError, match=r"sound has no channel 2: it has 2, from 0"):
        sounds_of((both, RATE), channel=2)
    with pytest.raises(SettingsError, match=r"channel is the number of one, from 0, or None .* found 'left'"):
        sounds_of((both, RATE), channel="left")  # pyright: ignore[reportArgumentType]
    with pytest.raises(SettingsError, match=r"unreadable is one of 'error', 'censor'; found 'skip'"):
        sounds_of((both, RATE), unreadable="skip")  # pyright: ignore[reportArgumentType]


def test_files_of_one_name_are_told_apart_without_their_folders(tmp_path):
    for folder, sound in (("a", TONE), ("b", -TONE)):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "talk.wav", sound, RATE)
    runs = {"1": "a", "2": "b", "3": "a"}
    sounds = sounds_of({run: tmp_path / folder / "talk.wav" for run, folder in runs.items()})
    assert sounds.samples["stimulus"].tolist() == ["talk.wav", "talk.wav (2)", "talk.wav"]
    assert list(sounds.inputs) == ["talk.wav", "talk.wav (2)"]
    assert sounds.which.tolist() == [0, 1, 0]


def test_names_stay_inside_their_folder(tmp_path):
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "a.wav", TONE, RATE)
    events = pd.DataFrame({"run": "1", "onset": [0.0], "stim_file": ["../a.wav"]})
    with pytest.raises(InputError, match=r"../a.wav leads outside"):
        sounds_of(events, root=tmp_path / "in")


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path):
    soundfile.write(tmp_path / "a.wav", TONE, RATE)
    (clip,) = sounds_of(tmp_path / "a.wav").clips
    soundfile.write(tmp_path / "a.wav", TONE[:RATE], RATE)
    with pytest.raises(InputError, match=r"a.wav is shorter than it was a moment ago"):
        Tape(clip).read(0, 3 * RATE)


@pytest.mark.parametrize("package", ["soundfile", "soxr", "av"])
def test_a_missing_package_is_named(package, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", TONE, RATE)
    (tmp_path / "a.mp4").write_bytes(b"no film")
    monkeypatch.setattr("brainalign.errors.find_spec", lambda name: None if name == package else name)
    with pytest.raises(SettingsError, match=rf"needs {package}: run `pip install 'brainalign\[audio\]'`"):
        Tape(sounds_of(tmp_path / ("a.mp4" if package == "av" else "a.wav")).clips[0], 16_000).read(0, 9)
