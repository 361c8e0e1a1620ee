"""Which frames does a film's file hold, and how is one of them decoded?"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainalign.errors import InputError, need_package
from brainalign.features import decoding
from brainalign.features.decoding import as_rgb, check_size

SHORT_S = 0.5  # a film that ends so much before its header says was cut short
# what may be opened: others of FFmpeg's formats are text, or lists that have it open further files and addresses
FORMATS = ("apng", "asf", "avi", "flv", "gif", "h264", "hevc", "matroska", "mov", "mpeg", "mpegts", "mpegvideo", "ogg")
WITHOUT_TIMES = ("avi",)  # such packets are stamped in the order of decoding, which with B-frames is another


@dataclass(frozen=True, eq=False)
class Film:
    """What the packets of a film say, none of them decoded.

    Parameters
    ----------
    path : Path
    name : str
        What it is called.
    stamps : (n_frames,) int
        When each is shown, in the stream's own unit, rising.
    times : (n_frames,) float
        The same in seconds from the film's start.
    keys : (n_keys,) int
        Which of them can be decoded without others.
    end : float
        When the film ends (s).
    counted : bool
        Whether frames are told apart by counting, for want of presentation times; then there is no seeking.
    notes : tuple of str
        That it was cut short, or what of it is damaged.
    """

    path: Path
    name: str
    stamps: np.ndarray
    times: np.ndarray
    keys: np.ndarray
    end: float
    counted: bool
    notes: tuple[str, ...]


def open_film(path: Path, name: str) -> Film:
    """List the frames of a film's first video stream, and decode one to see that it can be.

    Raises
    ------
    InputError
        No such file, nothing FFmpeg can open, no video, or not one frame that can be decoded.
    SettingsError
        PyAV is not installed.
    """
    need_package("av", extra="vision", what="reading films")
    if not path.is_file():
        raise InputError(f"there is no film {name!r} in {path.parent}: check the path")
    film = _listed(path, name)
    with contextlib.closing(_decoded_from(film, 0, set())) as frames:
        first = next(frames, None)
    if first is None:
        raise InputError(
            f"film {name!r} cannot be decoded: not one of its {len(film.stamps)} frames gives a picture; was it copied "
            "whole? Does it play elsewhere?"
        )
    return film


def read_frames(film: Film, wanted: Sequence[int], ground: Sequence[int]) -> Iterator[np.ndarray]:
    """Frames by their number, (height, width, 3) uint8 RGB each; fastest where the numbers rise.

    A frame the decoder passes over without complaint (some codecs have hidden ones) is what a screen would show then:
    the one before.

    Raises
    ------
    InputError
        A frame cannot be decoded; it is named.
    """
    broken: set[int] = set()
    end = (len(film.stamps), None)  # a frame behind the last
    frames: Iterator[tuple[int, Any]] = iter(())
    before, after = (-1, None), end
    shown = (-1, np.empty(0))
    for number in wanted:
        skipping = not film.counted and _key_before(film, number) > after[0]
        if number < before[0] or before[1] is None or (skipping and after is not end):
            frames, before = _decoded(film, number, broken), (-1, None)
            after = next(frames, end)
        while after[0] <= number:
            before, after = after, next(frames, end)
        missed = before[0] != number and (number in broken or after is end)
        if before[1] is None or missed or before[1].is_corrupt:
            raise InputError(
                f"'{film.name} @ {film.times[number]:.3f} s' cannot be decoded: its data are broken or missing, or "
                f"it is larger than {decoding.MAX_MEGAPIXELS} megapixels; copy the film again, stop before it, "
                "or leave such frames out with unreadable='censor'"
            )
        if shown[0] != before[0]:
            name = f"{film.name} @ {film.times[number]:.3f} s"
            check_size(before[1].width, before[1].height, name)  # a stream may go on larger than it begins
            shown = (before[0], _pixels(before[1], name, ground))
        yield shown[1]


def _key_before(film: Film, number: int) -> int:
    return int(film.keys[max(np.searchsorted(film.keys, number, side="right") - 1, 0)])


def _listed(path: Path, name: str) -> Film:
    import av
    from av.error import FFmpegError

    try:
        container = _container(path)
    except (FFmpegError, UnicodeDecodeError) as error:
        raise InputError(
            f"film {name!r} cannot be opened: found {path.stat().st_size:,} bytes, of which FFmpeg says "
            f"'{getattr(error, 'strerror', error)}'; it is none of {', '.join(FORMATS)}, or was not copied whole and "
            "lacks its table of contents: copy it again, or save it as MP4"
        ) from error
    with container:
        stream = _video(container, name)
        check_size(stream.codec_context.width, stream.codec_context.height, name)
        packets, corrupt = [], []
        with contextlib.suppress(FFmpegError):  # it ends here
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard:
                    packets.append((packet.pts, packet.is_keyframe, packet.duration or 0))
                    corrupt.append(packet.is_corrupt)
        while corrupt and corrupt[-1]:  # what is left of a frame at which it was cut off
            corrupt.pop()
            packets.pop()
        if not packets:
            raise InputError(f"film {name!r} has a video stream without a single frame: was it copied whole?")
        unit = float(stream.time_base)
        stamps = [stamp for stamp, _, _ in packets]
        begin = (container.start_time or 0) / av.time_base / unit
        counted = container.format.name in WITHOUT_TIMES or len(set(stamps)) < len(stamps) or None in stamps
        if counted and None not in stamps:
            begin = min(stamps)
        elif counted:
            rate = stream.average_rate or stream.guessed_rate
            if not rate:
                raise InputError(
                    f"film {name!r} says neither when its frames are shown nor how many there are a second: save it as "
                    "MP4 or Matroska"
                )
            unit, begin, stamps = 1 / float(rate), 0.0, list(range(len(packets)))
        order = np.argsort(np.array(stamps), kind="stable")
        sorted_stamps = np.array(stamps)[order]
        times = (sorted_stamps - begin) * unit
        step = float(np.median(np.diff(times))) if len(times) > 1 else 1 / float(stream.average_rate or 1)
        said = _said_end(container, stream, begin * unit)
        reached = float(times[-1]) + (packets[order[-1]][2] * unit or step)
        cut = said is not None and said - reached > max(SHORT_S, 2 * step)
        notes = []
        if cut:
            notes.append(f"film {name!r} was cut short: its header says {said} s, its frames end at {reached:.3f} s")
        if any(corrupt):
            first = times[int(np.flatnonzero(np.array(corrupt)[order])[0])]
            notes.append(
                f"film {name!r} is damaged: {sum(corrupt)} of its {len(corrupt)} packets are marked so, from "
                f"{first:.3f} s on; they and those that build on them are as FFmpeg mends them"
            )
        keys = np.flatnonzero(np.array([key for _, key, _ in packets])[order])
        return Film(
            path=path,
            name=name,
            stamps=sorted_stamps,
            times=times,
            keys=keys if len(keys) else np.zeros(1, int),
            end=reached if cut or said is None else max(said, float(times[-1]) + 1e-3),
            counted=counted,
            notes=tuple(notes),
        )


def _container(path: Path) -> Any:
    import av

    return av.open(str(path), options={"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"})


def _video(container: Any, name: str) -> Any:
    """The first video stream that is no cover picture."""
    from av.stream import Disposition

    for stream in container.streams.video:
        if stream.disposition & Disposition.attached_pic:
            continue
        if stream.codec_context is None:
            raise InputError(
                f"film {name!r} has video of a kind that FFmpeg does not know: was it copied whole? If so, save it as "
                "H.264 in MP4"
            )
        # a stream that goes on larger than its header says is not decoded there
        stream.codec_context.options = {"max_pixels": str(int(decoding.MAX_MEGAPIXELS * 1_000_000))}
        return stream
    found = {stream.type for stream in container.streams}
    if found <= {"data"}:
        raise InputError(
            f"film {name!r} has neither video nor sound: it was not copied whole and lacks part of its table of "
            "contents: copy it again"
        )
    raise InputError(
        f"film {name!r} has no video: found {', '.join(sorted(found))}; a sound goes where sounds are described"
    )


def _said_end(container: Any, stream: Any, begin_s: float) -> float | None:
    """When the film ends by its header (s of the film), where the header says it of this stream."""
    if stream.duration:
        return round(
            float((stream.start_time or 0) * stream.time_base) - begin_s + stream.duration * stream.time_base, 3
        )
    tag = stream.metadata.get("DURATION", "")  # Matroska: 00:00:02.000000000, of the time stamps
    if tag.count(":") == 2:
        hours, minutes, seconds = tag.split(":")
        return round(3600 * int(hours) + 60 * int(minutes) + float(seconds) - begin_s, 3)
    return None


def _decoded(film: Film, begin: int, broken: set[int]) -> Iterator[tuple[int, Any]]:
    """Number and frame of all that can be decoded, from the key frame before `begin` on; `broken` gets the others."""
    key = 0 if film.counted else _key_before(film, begin)
    if key > 0:
        frames = _decoded_from(film, key, broken)
        first = next(frames, None)
        if first is not None and first[0] <= key:
            yield first
            yield from frames
            return
    yield from _decoded_from(film, 0, broken)  # also where there is no seeking, or it goes too far


def _decoded_from(film: Film, key: int, broken: set[int]) -> Generator[tuple[int, Any], None, None]:
    from av.error import FFmpegError

    with _container(film.path) as container:
        stream = _video(container, film.name)
        number = -1
        with contextlib.suppress(FFmpegError):  # no seeking, or the container ends in the middle of something
            if key > 0:
                container.seek(int(film.stamps[key]), stream=stream)
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except FFmpegError:
                    number = number + 1 if film.counted or packet.pts is None else _number(film, packet.pts)
                    broken.add(number)
                    continue
                for frame in frames:
                    if not film.counted and frame.pts is not None and frame.pts > film.stamps[-1]:
                        return  # what is left of a frame at which a film was cut off
                    number = number + 1 if film.counted or frame.pts is None else _number(film, frame.pts)
                    yield number, frame


def _number(film: Film, stamp: int) -> int:
    """Which frame is shown then."""
    return int(np.searchsorted(film.stamps, stamp, side="right")) - 1


def _pixels(frame: Any, name: str, ground: Sequence[int]) -> np.ndarray:
    opaque = not any(component.is_alpha for component in frame.format.components)
    pixels = as_rgb(frame.to_ndarray(format="rgb24" if opaque else "rgba"), name, ground)
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))
