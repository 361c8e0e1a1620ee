"""Where do the pictures, films and sounds lie that were met?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from brainalign.errors import InputError, did_you_mean, one_message
from brainalign.signals import Signal
from brainalign.study.settings import Study

# by the ends of their names; what ends otherwise may be anything
MEDIA = {
    "picture": (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif", ".jp2", ".ppm", ".pgm"),
    "film": (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".ogv"),
    "sound": (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff"),
}


@dataclass(frozen=True)
class Files:
    """Where pictures, film and sound lie.

    Parameters
    ----------
    folder : Path
        Of the files that events name.
    film, sound : mapping of run → Path
        The file of each run; empty where the events name the files.
    start_s : float
        The second of film and sound at which the recording begins.
    """

    folder: Path = Path()
    film: Mapping[str, Path] = field(default_factory=dict)
    sound: Mapping[str, Path] = field(default_factory=dict)
    start_s: float = 0.0

    def of(self, runs: list[str]) -> Files:
        """Those of some runs."""
        film, sound = ({run: path for run, path in some.items() if run in runs} for some in (self.film, self.sound))
        return replace(self, film=film, sound=sound)


def files_of(study: Study, brain: Signal | None) -> Files:
    """Where pictures, film and sound lie, for each run of the recording where there is one.

    Raises
    ------
    InputError
        Everything that is wrong with the files the study names, in one message.
    """
    named, runs = study.stimuli, None if brain is None else brain.runs
    folder = named.images or study.data.root / "stimuli"
    film, sound, problems = *(_of_each(key, getattr(named, key), runs) for key in ("film", "sound")), []
    problems += [] if named.images is None or folder.is_dir() else [f"stimuli.images: there is no folder {folder}"]
    problems += [problem for found in (film, sound) for problem in found[1]]
    if problems:
        raise one_message(problems)
    return Files(folder, film[0], sound[0], named.start_s)


def _of_each(
    key: str, named: Path | Mapping[str, Path] | None, runs: list[str] | None
) -> tuple[dict[str, Path], list[str]]:
    """The file of each run, and what is wrong with them; without a recording one file is taken to be of one run."""
    if named is None:
        return {}, []
    if not isinstance(named, Mapping):
        if runs is not None and len(runs) > 1:
            each = ", ".join(f'"{run}": {named.name}' for run in runs[:2])
            say = f"stimuli.{key} names one file, but the recording has runs {', '.join(runs)}: name one for each"
            return {}, [f"{say}, {{{each}{', …' * (len(runs) > 2)}}}"]
        named = {"1" if runs is None else runs[0]: named}
    problems = [
        f"stimuli.{key}: there is no file {path}: check the path" for path in named.values() if not path.is_file()
    ]
    if runs is not None and set(named) != set(runs):
        problems.append(
            f"stimuli.{key} names files of runs {', '.join(named)}, but the recording has runs {', '.join(runs)}: name "
            "one for each"
        )
    return dict(named), problems


def medium_of(file: str) -> str:
    """What a file is by its name: "picture", "film" or "sound"; "" where that cannot be told.

    Examples
    --------
    >>> medium_of("faces/01.JPG"), medium_of("clip.mp4"), medium_of("stimulus.001")
    ('picture', 'film', '')
    """
    ends = Path(file).suffix.lower()
    return next((medium for medium, known in MEDIA.items() if ends in known), "")


def naming(name: str, column: str, events: pd.DataFrame, media: Sequence[str]) -> pd.DataFrame:
    """The events that name what a feature is made of; those that name nothing, or something else, are left out.

    Raises
    ------
    InputError
        There is no such column, or none of them does.
    """
    if column not in events:
        raise InputError(
            f"feature {name!r}: the events have no column {column!r} that names files; "
            f"{did_you_mean(column, events.columns)} A film or a sound of a whole run is named under stimuli"
        )
    files = events[column]
    wanted = [isinstance(file, str) and medium_of(file) in ("", *media) for file in files]
    if not any(wanted):
        named = files.dropna().unique()
        found = f"{', '.join(map(repr, named[:3]))}{', …' * (len(named) > 3)}" if len(named) else "nothing"
        raise InputError(
            f"feature {name!r}: no event names a {' or a '.join(media)} under {column!r} (found {found}): name the "
            "column that does"
        )
    return events[wanted].reset_index(drop=True)
