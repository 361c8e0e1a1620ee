"""Which frames of a film were on the screen, and when?"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError
from brainalign.features.decoding import MID_GREY, check_ground, is_number
from brainalign.features.frames import Film, open_film, read_frames
from brainalign.features.pictures import Pictures, common_folder, relative_names
from brainalign.provenance import hash_file, versions
from brainalign.store import key_of

METHOD = 1  # counts up when the same film would give other pixels


def read_film(
    film: str | Path | Mapping[str, str | Path],
    rate: float = 2.0,
    onset: float | Mapping[str, float] = 0.0,
    start: float = 0.0,
    stop: float | None = None,
    *,
    ground: Sequence[int] = MID_GREY,
) -> Pictures:
    """The frames of a film, so many a second: each the one that was on the screen at its time.

    A frame is on the screen from its own presentation time to that of the next, whatever the frame rate and whether it
    changes. Nothing is decoded but what is read, forward from the key frame before it, one frame in memory at a time.

    Parameters
    ----------
    film : path, or mapping of run → path
        MP4/MOV, Matroska/WebM, AVI, MPEG, ASF, FLV, Ogg, animated GIF and PNG; its first video stream.
    rate : float
        Frames a second (Hz); faster than the film's own, frames repeat.
    onset : float, or mapping of run → float
        When, in its run, the film's time `start` was shown (s).
    start, stop : float
        The part that was shown (s of the film). Film time is 0 at the container's start, whatever time stamp it has;
        before its first frame a film shows that frame. Default: to the end.
    ground : (red, green, blue), 0 to 255
        What is seen where a frame is transparent.

    Returns
    -------
    Pictures
        Samples have `run`, `time` = onset + film time − start (s), `duration` = 1/rate (s), `stimulus` ("film.mp4 @
        12.500 s") and `stimulus_time`, the film's time (s). Frames are turned upright as the container says; pixels are
        as stored, not stretched where they are not square; colours are converted by FFmpeg. A film that was cut short
        is read to where it ends, which `notes` say, as they count what its container marks as damaged; damage that a
        decoder conceals cannot be seen.

    Raises
    ------
    InputError
        No such film, none that can be opened or decoded, no video in it, frames larger than 64 megapixels, or nothing
        between `start` and `stop`. When read: a frame that is broken.
    SettingsError
        PyAV is not installed; a rate that is no positive number; no onset for a run, or one that is no number.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     dark, bright = Image.new("L", (8, 8), 0), Image.new("L", (8, 8), 255)
    ...     dark.save(f"{folder}/a.gif", save_all=True, append_images=[bright], duration=[1000, 500])
    ...     shown = read_film(f"{folder}/a.gif", rate=2.0, onset=10.0)
    ...     [int(frame.mean()) for frame in shown.read([0, 1, 2])], shown.samples["time"].tolist()
    ([0, 0, 255], [10.0, 10.5, 11.0])
    """
    films = film if isinstance(film, Mapping) else {"1": film}
    _check_settings(films, rate, start, stop, onset)
    colour = check_ground(ground)
    paths = {str(run): Path(path).absolute() for run, path in films.items()}
    onsets = {str(run): float(at) for run, at in (onset.items() if isinstance(onset, Mapping) else ())}
    names = relative_names(paths.values(), common_folder(paths.values()))
    opened = {path: open_film(path, names[path]) for path in names}
    hashes = {path: hash_file(path) for path in names}
    tables, digests, places, notes = [], [], [], []
    for run, path in paths.items():
        one = opened[path]
        samples, frames = _sampled(one, rate, start, stop)
        notes += [*one.notes, *_short(one, stop)]
        begin = onsets[run] if isinstance(onset, Mapping) else float(onset)
        tables.append(samples.assign(run=run, time=begin + samples["stimulus_time"] - start))
        content = key_of(film=hashes[path], method=METHOD, ground=colour, av=versions("av")["av"].split(".")[0])
        digests += [f"{content}@{frame:09d}" for frame in frames]  # in the order of time, so that sorted means forward
        places += [(path, frame) for frame in frames]

    def read(rows: Sequence[int]):
        for path, wanted in itertools.groupby((places[row] for row in rows), key=lambda place: place[0]):
            yield from read_frames(opened[path], [frame for _, frame in wanted], colour)

    samples = pd.concat(tables, ignore_index=True)[["run", "time", "duration", "stimulus", "stimulus_time"]]
    inputs = {names[path]: sha256 for path, sha256 in hashes.items()}
    return Pictures(samples, digests, read, inputs, list(dict.fromkeys(notes)))


def _check_settings(
    films: Mapping[str, str | Path], rate: float, start: float, stop: float | None, onset: float | Mapping[str, float]
) -> None:
    if not (is_number(rate) and 0 < rate < math.inf):
        raise SettingsError(f"rate is how many frames a second are read, more than 0 Hz; found {rate!r}")
    begins = is_number(start) and 0 <= start < math.inf
    if not begins or not (stop is None or (is_number(stop) and start < stop)):
        raise SettingsError(f"start and stop are seconds of the film, 0 ≤ start < stop; found {start!r} and {stop!r}")
    if not films or any(not isinstance(path, (str, os.PathLike)) for path in films.values()):
        raise InputError("film is the path of a film, or a mapping such as {'1': 'first.mp4', '2': 'second.mp4'}")
    if isinstance(onset, Mapping):
        known = {str(run) for run in onset}
        missing = [run for run in films if str(run) not in known]
        if missing:
            raise SettingsError(f"onset says nothing of run {missing[0]!r}; it names {sorted(known)}: name every run")
    for at in onset.values() if isinstance(onset, Mapping) else [onset]:
        if not is_number(at) or not math.isfinite(at):
            raise SettingsError(f"onset is when the film was shown, a number of seconds of its run; found {at!r}")


def _sampled(film: Film, rate: float, start: float, stop: float | None) -> tuple[pd.DataFrame, list[int]]:
    """Times of the film that are sampled, and the number of the frame that is on the screen at each."""
    end = film.end if stop is None else min(stop, film.end)
    n = math.ceil((end - start) * rate - 1e-6)
    if n <= 0:
        raise InputError(f"film {film.name!r} is {film.end:.3f} s long: it has nothing to show from {start:g} s on")
    times = start + np.arange(n) / rate
    frames = np.searchsorted(film.times, times + 1e-6, side="right") - 1
    names = [f"{film.name} @ {time:.3f} s" for time in times]
    samples = pd.DataFrame({"duration": 1 / rate, "stimulus": names, "stimulus_time": times})
    return samples, np.maximum(frames, 0).tolist()


def _short(film: Film, stop: float | None) -> list[str]:
    if stop is None or stop <= film.end + 1e-3:
        return []
    return [f"film {film.name!r} ends at {film.end:.3f} s, before {stop:g} s where it was to stop"]
