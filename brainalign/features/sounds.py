"""Which sounds were heard, and when?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError, one_message
from brainalign.features.samples import samples_of
from brainalign.features.sound_files import Source, look_through, open_array, open_file, remarks_on
from brainalign.provenance import check_inside, hash_array, hash_file
from brainalign.store import key_of

NAMED = 5  # sounds that a note names
OVERLAP_S = 0.05  # by which a sound may last into the next one, which then cuts it off

Unreadable = Literal["error", "censor"]


@dataclass(frozen=True, eq=False)
class Clip:
    """A sound, or its beginning, as it was heard.

    Parameters
    ----------
    source : Source
    n_samples : int
        How much of it was heard, at the rate of the source.
    channel : int or None
        Which channel was heard; None: their mean.
    content : str
        The sha256 of the file, or of the array.
    """

    source: Source
    n_samples: int
    channel: int | None
    content: str

    @property
    def rate(self) -> float:
        """Samples per second, Hz."""
        return self.source.rate

    @property
    def duration(self) -> float:
        """How long it was heard, s."""
        return self.n_samples / self.rate

    @cached_property
    def digest(self) -> str:
        """Of what was heard: equal digests, equal sounds."""
        return key_of(content=self.content, rate=self.rate, n_samples=self.n_samples, channel=self.channel)


@dataclass(frozen=True, eq=False)
class Sounds:
    """Sounds that were heard.

    Parameters
    ----------
    samples : DataFrame, one row per sound heard
        `run`, `time` (s, when it began), `duration` (s, how long it was heard), `stimulus` (the file as named in the
        events, or "sound"); `use`, False for what could not be read.
    clips : list of Clip
        The different sounds, in the order they were first heard.
    which : (n_rows,) int
        The clip of each row; −1 for what could not be read.
    inputs : mapping of file name → sha256
    notes : list of str
        What a reader of the results should know of them: silent, clipped, each said once for all it is true of.
    left_out : mapping of name → str
        Why it could not be read.
    """

    samples: pd.DataFrame
    clips: Sequence[Clip]
    which: np.ndarray
    inputs: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        runs = self.samples["run"].nunique()
        return (
            f"Sounds({len(self):,} heard in {runs} run{'s' * (runs != 1)}, {len(self.clips):,} different; "
            f"{self.samples['duration'].sum():,.1f} s)"
        )


def sounds_of(
    sound: Any,
    column: str = "stim_file",
    root: str | Path | None = None,
    *,
    channel: int | None = None,
    unreadable: Unreadable = "error",
) -> Sounds:
    """Sounds from wherever they are: a file, a file per run, events that name files, an array.

    Every different sound is read through once, a block at a time, so that all that is wrong with any is said before
    anything is computed. A sound that is silent throughout, clipped or beyond full scale is used as it is, and `notes`
    say so. Any sampling rate from 1 to 768 kHz will do.

    Parameters
    ----------
    sound : path, (array, rate), mapping of run → either, DataFrame, or Sounds
        A file (wav, flac, ogg, mp3, aiff; m4a, mp4 and the sound track of a film) is run "1", and begins with it at
        0 s; in a mapping each begins with its run. An array is (n,) or (n, channels), its rate in Hz; whole numbers are
        taken as a wav file has them. Events have `run`, `onset` (s, never falling within a run), `column` and, where
        known, `duration` (s): a sound that lasts longer was heard only so long (0 or missing: to its end). One that
        lasts up to 50 ms into the next is cut off by it. Sounds are given back as they are.
    column : str
        Of the events: which holds the file. In BIDS it is `stim_file`, relative to the folder `stimuli`.
    root : path, optional
        What file names are relative to; names that lead outside it are refused. Default: for events the current folder;
        a path of its own may then lie anywhere.
    channel : int, optional
        Which channel is heard, from 0. Default: the mean of all.
    unreadable : {"error", "censor"}
        What becomes of a sound that cannot be read, or not to its end. "error": an InputError names every one.
        "censor": its samples are NaN and not in use, for as long as its event's `duration` says, and it is named in the
        Signal's ``attrs["left_out"]``. A file of a whole run has no event that would say so, and is always an error.

    Returns
    -------
    Sounds

    Raises
    ------
    InputError
        Files that cannot be read (all are named), sounds that overlap within a run, a channel that one does not have.
    SettingsError
        The extra `audio` is not installed.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(16_000, 2)) / 10
    >>> sounds_of({"1": (noise, 8_000), "2": (noise[:4_000], 8_000)})
    Sounds(2 heard in 2 runs, 2 different; 2.5 s)
    """
    if isinstance(sound, Sounds):
        return sound
    if unreadable not in get_args(Unreadable):
        raise SettingsError(f"unreadable is one of {', '.join(map(repr, get_args(Unreadable)))}; found {unreadable!r}")
    if channel is not None and (isinstance(channel, bool) or not isinstance(channel, (int, np.integer)) or channel < 0):
        raise SettingsError(f"channel is the number of one, from 0, or None (the mean of all); found {channel!r}")
    samples, items = _listed(sound, column, root)
    opened = {name: _open(item, name, None if channel is None else int(channel)) for name, item in items.items()}
    problems = {name: one for name, one in opened.items() if isinstance(one, str)}
    if problems and (unreadable == "error" or len(problems) == len(opened)):
        raise one_message(problems.values())
    if problems and "duration" not in samples:
        raise InputError(
            "nothing can be censored where no event says how long it was heard: give events with a column `duration` "
            f"(s), or leave out what cannot be read: {'; '.join(problems.values())}"
        )
    heard = _heard(samples, {name: one.duration for name, one in opened.items() if isinstance(one, _Opened)})
    clips: dict[str, int] = {}
    found, which = [], []
    for name, seconds in zip(samples["stimulus"], heard):
        one = opened[name]
        if isinstance(one, str):
            which.append(-1)
            continue
        clip = replace(one.clip, n_samples=min(one.clip.n_samples, round(seconds * one.clip.rate)))
        if clip.digest not in clips:
            clips[clip.digest] = len(found)
            found.append(clip)
        which.append(clips[clip.digest])
    samples = samples.assign(duration=heard)
    said = [(what, name, how) for name, one in opened.items() if isinstance(one, _Opened) for what, how in one.remarks]
    return Sounds(
        samples.assign(use=np.array(which) >= 0) if problems else samples,
        found,
        np.array(which),
        {name: one.clip.content for name, one in opened.items() if isinstance(one, _Opened) and one.is_file},
        by_remark(said),
        problems,
    )


def by_remark(said: Iterable[tuple[str, str, str]]) -> list[str]:
    """(what, sound, how much) → a sentence for each `what`, with the first sounds it is true of.

    Examples
    --------
    >>> by_remark([("silent throughout", "a.wav", ""), ("clipped", "b.wav", "3 %"), ("silent throughout", "c.wav", "")])
    ['a.wav, c.wav: silent throughout', 'b.wav (3 %): clipped']
    """
    sounds: dict[str, list[str]] = {}
    for what, name, how in said:
        sounds.setdefault(what, []).append(f"{name} ({how})" if how else name)
    return [f"{some_of(names, ', ', 'sounds')}: {what}" for what, names in sounds.items()]


def some_of(names: Sequence[str], between: str, of_what: str) -> str:
    """The first five of many, and how many there are."""
    more = f"{between}… ({len(names):,} {of_what})" if len(names) > NAMED else ""
    return between.join(names[:NAMED]) + more


@dataclass(frozen=True)
class _Opened:
    clip: Clip
    remarks: list[tuple[str, str]]
    is_file: bool

    @property
    def duration(self) -> float:
        return self.clip.duration


def _listed(sound: Any, column: str, root: str | Path | None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The samples, a row per sound heard, and each different thing that is named in them: a path or (array, rate)."""
    if isinstance(sound, pd.DataFrame):
        samples = samples_of(sound, column)
        folder = Path.cwd() if root is None else Path(root)
        return samples, {name: check_inside(name, folder) for name in dict.fromkeys(samples["stimulus"])}
    runs = dict(sound) if isinstance(sound, Mapping) else {"1": sound}
    if not runs:
        raise InputError("there is no sound: the mapping of run → file is empty")
    items: dict[str, Any] = {}
    names = []
    for run, one in runs.items():
        if isinstance(one, (str, os.PathLike)):
            path = check_inside(Path(one), root) if root is not None else Path(one).expanduser()
            name, number = path.name, 1
            while items.get(name, path) != path:  # of one name in several folders, which say too much of this machine
                number += 1
                name = f"{path.name} ({number})"
            items[name] = path
        elif isinstance(one, Sequence) and len(one) == 2 and not isinstance(one[0], (str, os.PathLike)):
            name = "sound" if len(runs) == 1 else f"sound of run {run}"
            items[name] = tuple(one)
        else:
            raise InputError(
                f"a sound is a path, or (array, rate in Hz); found a {type(one).__name__}: give a path, "
                "{run: path}, (array, rate), or events with a column that names files"
            )
        names.append(name)
    return pd.DataFrame({"run": [str(run) for run in runs], "time": 0.0, "stimulus": names}), items


def _open(item: Any, name: str, channel: int | None) -> _Opened | str:
    """A sound that was read through, or what is wrong with it."""
    try:
        is_file = isinstance(item, Path)
        source = open_file(item, name) if is_file else open_array(item[0], item[1], name)
        looked = look_through(source)
        if channel is not None and channel >= source.channels:
            raise InputError(f"{name} has no channel {channel}: it has {source.channels}, from 0")
        content = hash_file(item) if is_file else hash_array(item[0])
    except InputError as error:
        return str(error)
    return _Opened(Clip(source, looked.n_samples, channel, content), remarks_on(looked), is_file)


def _heard(samples: pd.DataFrame, lasts: Mapping[str, float]) -> np.ndarray:
    """How long each sound was heard (s); `lasts`: how long those last that can be read."""
    said = samples["duration"].to_numpy(float) if "duration" in samples else np.full(len(samples), np.nan)
    until = np.where(np.isfinite(said) & (said > 0), said, np.inf)
    heard = np.minimum([lasts.get(name, np.inf) for name in samples["stimulus"]], until)
    unknown = np.flatnonzero(np.isinf(heard))
    if len(unknown):
        raise InputError(
            f"{samples['stimulus'].iloc[unknown[0]]} cannot be read, and its event has no duration: how long is to be "
            "censored? Write it under `duration` (s), or leave that one out"
        )
    for _, run in samples.groupby("run", sort=False):
        rows, time = run.index.to_numpy(), run["time"].to_numpy(float)
        late = time[:-1] + heard[rows[:-1]] - time[1:]
        if (late > OVERLAP_S).any():
            at = int((late > OVERLAP_S).argmax())
            raise InputError(
                f"two sounds at once in run {run['run'].iloc[0]}: {run['stimulus'].iloc[at]}, from {time[at]:g} s, is "
                f"heard for {heard[rows[at]]:.2f} s, and {run['stimulus'].iloc[at + 1]} begins at {time[at + 1]:g} s; "
                "say in a column `duration` how long each was heard, or mix them into one file"
            )
        heard[rows[:-1]] -= np.maximum(late, 0)
    return heard
