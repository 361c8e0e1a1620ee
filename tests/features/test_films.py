"""Each frame is the one that was on the screen then, in whatever container, from wherever it is read."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from brainalign.errors import InputError, SettingsError
from brainalign.features import decoding, frames
from brainalign.features.films import read_film
from brainalign.features.light import luminance
from brainalign.store import Store

LEVELS = [10 * k for k in range(20)]  # the grey of each frame, two seconds at 10 Hz


def write(path, levels=LEVELS, codec="mpeg4", rate=10, at=None, rotate=None, b_frames=0, top=None, size=(64, 48)):
    """A film of uniform frames, its key frames every five; `at`: when each is shown, in tenths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 5
        stream.codec_context.max_b_frames = b_frames
        if at is not None:
            stream.codec_context.time_base = Fraction(1, 10)
        if rotate is not None:
            stream.set_display_rotation(rotate)
        for k, level in enumerate(levels):
            pixels = np.full((*size[::-1], 3), level, np.uint8)
            if top is not None:
                pixels[:16] = top
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts = k if at is None else at[k]
            if at is not None:
                frame.time_base = Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def greys(film, rows=None):
    """The grey of frames, to the nearest ten."""
    rows = range(len(film)) if rows is None else rows
    return [round(float(frame[24:, 16:48].mean()) / 10) * 10 for frame in film.read(rows)]


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.mp4", {}),
        ("a.mp4", {"codec": "h264", "b_frames": 2}),
        ("a.mkv", {"codec": "h264", "b_frames": 2}),
        ("a.ts", {"codec": "h264", "b_frames": 2}),  # its first time stamp is not 0
        ("a.avi", {"codec": "h264", "b_frames": 2}),  # it has no presentation times
        ("a.avi", {}),
        ("a.webm", {"codec": "libvpx"}),  # it hides frames
    ],
    ids=["mp4", "mp4 with b frames", "mkv", "ts", "avi with b frames", "avi", "webm"],
)
def test_every_frame_in_order_and_in_none(tmp_path, name, how):
    if how.get("codec") == "h264" and "libx264" not in av.codecs_available:
        pytest.skip("FFmpeg has no H.264 encoder here")
    film = read_film(write(tmp_path / name, **how), rate=10)
    assert greys(film) == LEVELS
    rows = np.random.default_rng(0).permutation(20).tolist()
    assert greys(film, rows) == [LEVELS[row] for row in rows]
    assert film.notes == []
    assert len(set(film.digests)) == 20
    assert sorted(film.digests) == film.digests  # read in the order of digests, nothing is sought


def test_samples(tmp_path):
    film = read_film(write(tmp_path / "a.mp4"), rate=4, onset=100.0, start=0.5, stop=1.5)
    assert film.samples["time"].tolist() == [100, 100.25, 100.5, 100.75]
    assert film.samples["stimulus_time"].tolist() == [0.5, 0.75, 1.0, 1.25]
    assert film.samples["stimulus"].tolist() == [f"a.mp4 @ {t:.3f} s" for t in (0.5, 0.75, 1.0, 1.25)]
    assert film.samples["duration"].unique().tolist() == [0.25]
    assert greys(film) == [50, 70, 100, 120]
    assert list(film.inputs) == ["a.mp4"]


def test_a_film_slower_than_the_rate_repeats_its_frames(tmp_path):
    film = read_film(write(tmp_path / "a.mp4", LEVELS[:5]), rate=20)
    assert greys(film) == [0, 0, 10, 10, 20, 20, 30, 30, 40, 40]
    assert len(set(film.digests)) == 5


def test_frames_are_taken_by_when_they_are_shown(tmp_path):
    at = [0, 1, 5, 6, 20, 30, 31, 32, 33, 34]
    film = read_film(write(tmp_path / "a.mkv", LEVELS[:10], at=at), rate=2)
    assert greys(film) == [0, 20, 30, 30, 40, 40, 50]


def test_time_begins_where_the_film_begins(tmp_path):
    film = read_film(write(tmp_path / "a.mkv", LEVELS[:10], at=range(25, 35)), rate=10)
    assert greys(film) == LEVELS[:10]
    assert film.samples["time"].tolist() == pytest.approx([k / 10 for k in range(10)])


def test_a_film_that_was_turned_is_shown_upright(tmp_path):
    film = read_film(write(tmp_path / "a.mp4", [0] * 5, rotate=90, top=200), rate=1)
    frame = next(film.read([0]))
    assert frame.shape == (64, 48, 3)
    assert frame[:, :12].mean() > 190  # a quarter turn anticlockwise: what was on top is left
    assert frame[:, 24:].mean() < 10


def test_an_animated_gif_and_what_is_transparent_in_it(tmp_path):
    pictures = [Image.new("RGBA", (8, 8), (0, 0, 0, 0)), Image.new("RGBA", (8, 8), (50, 50, 50, 255))]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=[300, 100], disposal=2)
    film = read_film(tmp_path / "a.gif", rate=10, ground=(255, 255, 255))
    assert [int(frame.mean()) for frame in film.read(range(len(film)))] == [255, 255, 255, 50]


def test_a_film_for_every_run(tmp_path):
    (tmp_path / "b").mkdir()
    films = {"1": write(tmp_path / "a.mp4"), "2": write(tmp_path / "b/a.mp4", LEVELS[::-1]), "3": tmp_path / "a.mp4"}
    shown = read_film(films, rate=1, onset={"1": 0.0, "2": 5.0, "3": 9.0})
    assert shown.samples["run"].tolist() == ["1", "1", "2", "2", "3", "3"]
    assert shown.samples["time"].tolist() == [0, 1, 5, 6, 9, 10]
    assert greys(shown) == [0, 100, 190, 90, 0, 100]
    assert shown.digests[:2] == shown.digests[4:]
    assert sorted(shown.inputs) == ["a.mp4", "b/a.mp4"]
    found = luminance(shown, store=Store(tmp_path / "store"))
    assert found.values[0] == found.values[4]
    assert isinstance(found.samples, pd.DataFrame)


def remuxed(source, path, **options):
    """The same packets in another container."""
    with av.open(str(source)) as given, av.open(str(path), "w", options=options) as out:
        stream = out.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(given.streams.video[0]):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    return path


def test_a_film_that_was_cut_short_is_read_to_where_it_ends(tmp_path):
    whole = remuxed(write(tmp_path / "a.mp4"), tmp_path / "b.mp4", movflags="faststart").read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[: len(whole) - (len(whole) - whole.index(b"mdat")) // 2])
    film = read_film(tmp_path / "b.mp4", rate=10)
    assert 5 < len(film) < 15
    assert greys(film) == LEVELS[: len(film)]
    end = film.samples["stimulus_time"].max() + 0.1
    assert film.notes == [f"film 'b.mp4' was cut short: its header says 2.0 s, its frames end at {end:.3f} s"]
    assert luminance(film).attrs["notes"] == film.notes
    assert read_film(tmp_path / "b.mp4", stop=1.9).notes[1].startswith("film 'b.mp4' ends at")


def test_a_film_without_its_table_of_contents(tmp_path):
    whole = write(tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"film 'a.mp4' cannot be opened: .*, or was not copied whole"):
        read_film(tmp_path / "a.mp4")


@pytest.mark.parametrize("kept", [0.1, 0.5], ids=["without a stream", "with one that has no table"])
def test_a_film_cut_inside_its_table_of_contents(tmp_path, kept):
    whole = remuxed(write(tmp_path / "a.mp4"), tmp_path / "b.mp4", movflags="faststart").read_bytes()
    begin, end = whole.index(b"moov"), whole.index(b"mdat")
    (tmp_path / "b.mp4").write_bytes(whole[: begin + round(kept * (end - begin))])
    with pytest.raises(InputError, match=r"film 'b.mp4' .*(neither video nor sound: it|or) was not copied whole"):
        read_film(tmp_path / "b.mp4")


def test_a_stream_of_no_known_kind(tmp_path):
    film = write(tmp_path / "a.mp4", LEVELS[:2])
    film.write_bytes(film.read_bytes().replace(b"mp4v", b"zzzz").replace(b"esds", b"free"))
    with pytest.raises(InputError, match=r"film 'a.mp4' has video of a kind that FFmpeg does not know: was it copied"):
        read_film(film)


def test_packets_marked_as_damaged_are_counted(tmp_path):
    path = write(tmp_path / "a.ts", codec="mpeg2video", rate=25)
    with av.open(str(path)) as container:
        place = [packet.pos for packet in container.demux(video=0) if packet.size][8]
    content = bytearray(path.read_bytes())
    assert place is not None
    content[place + 3] ^= 5  # the counter of MPEG-TS, by which what was lost is seen
    path.write_bytes(content)
    film = read_film(path, rate=25)
    assert film.notes == [
        "film 'a.ts' is damaged: 2 of its 20 packets are marked so, from 0.240 s on; they and those that build on them "
        "are as FFmpeg mends them"
    ]
    assert greys(film) == LEVELS


def packets_overwritten(path, numbers):
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for number in numbers:
        pos, size = places[number]
        content[pos : pos + size] = b"\0" * size
    path.write_bytes(bytes(content))


def test_broken_frames_are_named_or_censored_and_the_rest_is_kept(tmp_path):
    film = write(tmp_path / "a.mp4")
    packets_overwritten(film, [15, 16, 17, 18, 19])
    shown = read_film(film, rate=10)
    assert greys(shown, range(15)) == LEVELS[:15]
    with pytest.raises(InputError, match=r"'a.mp4 @ 1.[5-9]00 s' cannot be decoded: its data are broken or missing"):
        luminance(shown)
    found = luminance(shown, unreadable="censor")
    assert found.use.tolist() == [True] * 15 + [False] * 5
    assert found.attrs["left_out"][0]["stimulus"] == "a.mp4 @ 1.500 s"


def test_nothing_that_decodes(tmp_path):
    film = write(tmp_path / "a.mp4", LEVELS[:5])
    packets_overwritten(film, range(5))
    with pytest.raises(InputError, match=r"film 'a.mp4' cannot be decoded: not one of its 5 frames gives a picture"):
        read_film(film)


def test_what_is_no_film(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(InputError, match=r"film 'a.mkv' has no video: found audio"):
        read_film(tmp_path / "a.mkv")
    (tmp_path / "a.txt").write_text("no film" * 100)  # FFmpeg would show the text
    with pytest.raises(InputError, match=r"film 'a.txt' cannot be opened: found 700 bytes, of which FFmpeg says"):
        read_film(tmp_path / "a.txt")
    with pytest.raises(InputError, match=r"there is no film 'none.mp4' in .*: check the path"):
        read_film(tmp_path / "none.mp4")
    with pytest.raises(InputError, match="film is the path of a film, or a mapping"):
        read_film({})


def test_no_list_has_other_files_opened(tmp_path):
    write(tmp_path / "a.ts", codec="mpeg2video", rate=25)
    (tmp_path / "b.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\na.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(InputError, match=r"film 'b.mp4' cannot be opened"):
        read_film(tmp_path / "b.mp4")


def test_frames_larger_than_the_limit_are_refused_from_the_header(tmp_path, monkeypatch):
    film = write(tmp_path / "a.mp4", LEVELS[:2])
    monkeypatch.setattr(decoding, "MAX_MEGAPIXELS", 0.001)
    monkeypatch.setattr(frames, "_decoded_from", None)  # nothing is decoded
    with pytest.raises(InputError, match=r"'a.mp4' is refused, .* its header says 64 × 48"):
        read_film(film)


def test_a_stream_that_goes_on_larger_is_refused_there(tmp_path, monkeypatch):
    sizes = [(64, 48), (640, 480)]
    parts = [write(tmp_path / f"{w}.m2v", LEVELS[:5], "mpeg2video", 25, size=(w, h)).read_bytes() for w, h in sizes]
    (tmp_path / "a.m2v").write_bytes(b"".join(parts))
    film = read_film(tmp_path / "a.m2v", rate=25)
    assert next(film.read([len(film) - 1])).shape == (480, 640, 3)
    monkeypatch.setattr(decoding, "MAX_MEGAPIXELS", 0.25)
    assert next(film.read([2])).shape == (48, 64, 3)
    with pytest.raises(InputError, match=r"or it is larger than 0.25 megapixels"):
        next(film.read([len(film) - 1]))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rate": "2"}, "rate is how many frames a second are read, more than 0 Hz; found '2'"),
        ({"start": "1"}, "start and stop are seconds of the film, .* found '1' and None"),
        ({"stop": "1"}, "start and stop are seconds of the film, .* found 0.0 and '1'"),
        ({"onset": "x"}, "onset is when the film was shown, a number of seconds of its run; found 'x'"),
        ({"onset": {"1": None}}, "onset is when the film was shown, a number of seconds of its run; found None"),
        ({"rate": 0}, "rate is how many frames a second"),
        ({"rate": float("inf")}, "rate is how many frames a second"),
        ({"start": -1}, "start and stop are seconds"),
        ({"start": 1, "stop": 1}, "start and stop are seconds"),
        ({"onset": {"2": 0.0}}, r"onset says nothing of run '1'; it names \['2'\]"),
        ({"ground": "white"}, "ground is"),
    ],
    ids=[
        "rate",
        "start",
        "stop",
        "no time",
        "nothing for an onset",
        "no rate",
        "infinite",
        "negative",
        "no length",
        "onset",
        "ground",
    ],
)
def test_settings_that_make_no_samples(tmp_path, given, said):
    with pytest.raises(SettingsError, match=said):
        read_film(tmp_path / "a.mp4", **given)


def test_a_start_behind_the_end(tmp_path):
    with pytest.raises(InputError, match=r"film 'a.mp4' is 2.000 s long: it has nothing to show from 3 s on"):
        read_film(write(tmp_path / "a.mp4"), start=3.0)


def test_pyav_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("brainalign.errors.find_spec", lambda package: None)
    with pytest.raises(SettingsError, match=r"reading films needs av: run `pip install 'brainalign\[vision\]'`"):
        read_film(tmp_path / "a.mp4")
