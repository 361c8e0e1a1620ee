"""How is a sound read, whatever file it is in, a block at a time, and what can be wrong with it?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainalign.errors import InputError, need_package

BLOCK = 1 << 16  # samples of each channel that are in memory at a time
SLOWEST_HZ, FASTEST_HZ = 1_000.0, 768_000.0  # sampling rates that can be meant
WIDEST = 4  # bytes of a whole number in a sound file
MOST_CHANNELS = 64  # more are samples in the wrong place
SLACK_S = 0.05  # by which what a header promises and what is there may differ
LOUD = 0.999  # of full scale: where a recording that was too loud is cut off, ..
CLIPPED_SHARE = 1e-3  # .. if as much of it lies there
# what FFmpeg may take a file for: no list of other files, no device, no address
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,aac,mp3,ogg,flac,wav,aiff,asf,flv,caf,amr,ac3"


@dataclass(frozen=True)
class Source:
    """A sound that was opened: what it says of itself, and how it is read.

    Parameters
    ----------
    name : str
        As in messages.
    rate : float
        Samples per second, Hz.
    channels : int
    promised : int or None
        How many samples there should be, where that is known.
    blocks : function
        Gives it from its beginning, as often as it is called: arrays (n, channels) float32, where full scale is ±1.
    """

    name: str
    rate: float
    channels: int
    promised: int | None
    blocks: Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Looked:
    """What a sound is like once it was read through: its samples, the largest of them, and the share at full scale."""

    n_samples: int
    peak: float
    share_loud: float


def open_file(path: Path, name: str) -> Source:
    """A sound file, or the sound track of a film.

    Parameters
    ----------
    path : Path
        wav, flac, ogg, mp3, aiff … are read with libsndfile; what that cannot read (m4a, mp4, mkv …) with FFmpeg.
    name : str
        As in messages.

    Raises
    ------
    InputError
        There is no such file, neither can read it, or it is a film without sound.
    SettingsError
        soundfile or PyAV is not installed.
    """
    if not path.is_file():
        raise InputError(f"there is no sound file {name}: check the name, and the folder it is relative to")
    need_package("soundfile", extra="audio", what="reading sound")
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            promised = _promised(file, path)
            return Source(name, float(file.samplerate), file.channels, promised, lambda: _from_soundfile(path, name))
    except (soundfile.SoundFileError, TypeError) as error:  # of a name that says it has no header it wants to be told
        return _open_film(path, name, _first_line(error))


def open_array(array: Any, rate: Any, name: str) -> Source:
    """A sound that is in memory already.

    Parameters
    ----------
    array : (n,) or (n, channels)
        Float (full scale is ±1), or whole numbers of up to 32 bits as they stand in a wav file: their type's range is
        full scale.
    rate : float
        Hz.

    Raises
    ------
    InputError
        Another shape or number type, or a rate that is none.
    """
    values = np.asarray(array)
    if values.dtype.kind not in "iuf":
        raise InputError(f"{name} is an array of {values.dtype}: a sound's samples are real numbers")
    if values.dtype.kind in "iu" and values.dtype.itemsize > WIDEST:
        raise InputError(
            f"{name} is an array of {values.dtype}: whole numbers are taken as a wav file has them, where their "
            "type says what full scale is, up to 32 bits; give them in the type they came in, such as astype(np.int16)"
        )
    if values.ndim not in (1, 2) or (values.ndim == 2 and not 1 <= values.shape[1] <= MOST_CHANNELS):
        raise InputError(
            f"{name} is an array of shape {values.shape}: a sound is (samples,) or (samples, channels); transpose it"
        )
    columns = values[:, None] if values.ndim == 1 else values
    if isinstance(rate, bool) or not isinstance(rate, (int, float, np.integer, np.floating)):
        raise InputError(f"the rate of {name} is in Hz, such as 44100; found {rate!r}")

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(columns), BLOCK):
            yield _as_float(columns[start : start + BLOCK])

    return Source(name, float(rate), columns.shape[1], len(columns), blocks)


def look_through(source: Source) -> Looked:
    """Read a sound once, a block at a time, and refuse what cannot be used.

    Raises
    ------
    InputError
        An impossible sampling rate; no samples; fewer than its header promises; a value that is no number; a file that
        cannot be read to its end.
    """
    if not SLOWEST_HZ <= source.rate <= FASTEST_HZ:
        raise InputError(
            f"{source.name} is said to have {source.rate:g} samples per second: sound has between {SLOWEST_HZ:,.0f} "
            f"and {FASTEST_HZ:,.0f} Hz; is the rate in kHz?"
        )
    n, peak, loud = 0, 0.0, 0
    for block in source.blocks():
        odd = ~np.isfinite(block).all(axis=1)
        if odd.any():
            at = int(odd.argmax())
            value = block[at][~np.isfinite(block[at])][0]
            raise InputError(
                f"{source.name} has a sample that is no number ({value}, at {(n + at) / source.rate:.3f} s): mend it, "
                "such as with np.nan_to_num"
            )
        size = np.abs(block).max(axis=1)
        peak = max(peak, float(size.max()))
        loud += int((size >= LOUD).sum())
        n += len(block)
    if n == 0:
        raise InputError(f"{source.name} holds no sound, 0 samples: is it empty, or was it cut off?")
    if source.promised is not None and n < source.promised - SLACK_S * source.rate:
        raise InputError(
            f"{source.name} is cut off: it should last {source.promised / source.rate:.2f} s, and {n / source.rate:.2f}"
            " s of it are there; get the whole file, or save again what is there"
        )
    return Looked(n, peak, loud / n)


def remarks_on(looked: Looked) -> list[tuple[str, str]]:
    """What someone should know of a sound that is used as it is, and how much of it there is.

    Examples
    --------
    >>> remarks_on(Looked(n_samples=8_000, peak=0.0, share_loud=0.0))
    [('silent throughout', '')]
    """
    if looked.peak == 0:
        return [("silent throughout", "")]
    if looked.peak > 1.0:
        return [("beyond full scale (±1), used as it is", f"up to {looked.peak:.3g}")]
    if looked.share_loud >= CLIPPED_SHARE:
        return [("seems clipped, used as it is", f"{looked.share_loud:.1%} at full scale")]
    return []


def _as_float(block: np.ndarray) -> np.ndarray:
    if block.dtype.kind == "f":
        return block.astype(np.float32)
    bits = 8 * block.dtype.itemsize - 1
    middle = 2.0**bits if block.dtype.kind == "u" else 0.0  # as 8-bit wav files have it
    return ((block.astype(np.float64) - middle) / 2.0**bits).astype(np.float32)


def _promised(file: Any, path: Path) -> int | None:
    """How many samples a file's header says there are; libsndfile mends some headers, but tells what they said."""
    if file.format == "MP3":
        with path.open("rb") as head:
            start = head.read(BLOCK)
        return file.frames if b"Xing" in start or b"Info" in start else None  # otherwise it is a guess
    for said, there in re.findall(r"^ *(?:RIFF|riff|FORM) *: (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE):
        if int(there) < int(said) < 0xFFFF0000:  # the largest numbers are those of programs that do not know yet
            return round(file.frames * int(said) / int(there))
    return file.frames


def _from_soundfile(path: Path, name: str) -> Iterator[np.ndarray]:
    import soundfile

    n = 0
    with soundfile.SoundFile(path) as file:
        while True:
            try:
                block = file.read(BLOCK, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                raise _breaks_off(name, n / file.samplerate, error) from error
            if not len(block):
                return
            n += len(block)
            yield block


def _breaks_off(name: str, seconds: float, error: Exception) -> InputError:
    return InputError(
        f"{name} cannot be read beyond {seconds:.2f} s ({_first_line(error)}): is it damaged, or cut off? Get the "
        "whole file, or save again what is there"
    )


def _first_line(error: Exception) -> str:
    text = str(getattr(error, "error_string", None) or getattr(error, "strerror", None) or error)
    return text.strip().splitlines()[0].rstrip(".")


def has_sound_track(path: Path) -> bool:
    """Whether a film has any sound; of what cannot be opened that is not known, and who reads it says what it is."""
    need_package("av", extra="audio", what="reading the sound of films")
    from av.error import FFmpegError

    try:
        with _container(path) as container:
            return bool(container.streams.audio)
    except FFmpegError:
        return True


def _open_film(path: Path, name: str, also: str) -> Source:
    """With FFmpeg; `also`: what libsndfile said."""
    need_package("av", extra="audio", what=f"reading {name}")
    from av.error import FFmpegError

    try:
        with _container(path) as container:
            if not container.streams.audio:
                raise InputError(f"{name} has no sound track")
            stream = container.streams.audio[0]
            rate, channels = stream.codec_context.sample_rate, stream.codec_context.layout.nb_channels
            promised = _promised_seconds(container, stream)
    except FFmpegError as error:
        raise InputError(
            f"{name} cannot be read as sound (libsndfile: {also}; FFmpeg: {_first_line(error)}): is it a sound file, "
            "and whole?"
        ) from error
    n = None if promised is None else round(promised * rate)
    return Source(name, float(rate), channels, n, lambda: _from_film(path, name, rate, n))


def _promised_seconds(container: Any, stream: Any) -> float | None:
    """When a sound track should end; a film's pictures may go on for longer."""
    if stream.duration is not None and stream.time_base is not None:
        return float((max(0, stream.start_time or 0) + stream.duration) * stream.time_base)
    said = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))  # as Matroska has it
    if said:
        hours, minutes, seconds = map(float, said.groups())
        return 3600 * hours + 60 * minutes + seconds
    return None if container.streams.video or container.duration is None else container.duration / 1e6


def _container(path: Path) -> Any:
    import av

    return av.open(str(path), options={"format_whitelist": FORMATS, "protocol_whitelist": "file"})


def _from_film(path: Path, name: str, rate: int, promised: int | None) -> Iterator[np.ndarray]:
    """The first sound track from the film's beginning on: silence where it has a gap, without what pads its end."""
    import av
    from av.error import FFmpegError

    n = 0
    with _container(path) as container:
        stream = container.streams.audio[0]
        to_float = av.AudioResampler(format="fltp", rate=rate)
        frames = container.decode(stream)
        while promised is None or n < promised:
            try:
                frame = next(frames, None)
            except FFmpegError as error:
                raise _breaks_off(name, n / rate, error) from error
            if frame is None:
                return
            at = n if frame.time is None else round(frame.time * rate)
            for made in to_float.resample(frame):
                block = made.to_ndarray().T[max(0, -at) :]  # before the beginning is what primed the decoder
                if at - n > (SLACK_S * rate if n else 0):
                    yield from _silence(at - n, block.shape[1])
                    n = at
                at += made.samples
                block = block[: None if promised is None else max(0, promised - n)]
                n += len(block)
                if len(block):
                    yield np.ascontiguousarray(block, np.float32)


def _silence(n: int, channels: int) -> Iterator[np.ndarray]:
    for start in range(0, n, BLOCK):
        yield np.zeros((min(BLOCK, n - start), channels), np.float32)
