"""What do features of pictures and film make of what was seen?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from brainalign.features.conse import conse
from brainalign.features.detail import spatial_frequency
from brainalign.features.films import read_film
from brainalign.features.gabors import gabor_energy
from brainalign.features.images import embed_images
from brainalign.features.light import colour, contrast, luminance
from brainalign.features.motion import motion_energy
from brainalign.features.pictures import Pictures, pictures_of
from brainalign.features.pixels import pixels
from brainalign.features.reducing import random_projection
from brainalign.provenance import check_inside
from brainalign.signals import Signal
from brainalign.study.files import Files, medium_of, naming
from brainalign.study.kinds_of_pictures import (
    Colour,
    Conse,
    Contrast,
    Gabor,
    Luminance,
    MotionEnergy,
    OfPictures,
    Pixels,
    SpatialFrequency,
    Vision,
)
from brainalign.study.making import How, Make, network
from brainalign.study.met import Met
from brainalign.study.section import Feature


def seen(feature: OfPictures, met: Met) -> Pictures:
    """The pictures a feature is made of: frames of the film the study names, or what its events name.

    Raises
    ------
    InputError
        Files that are not there, a film that cannot be opened, events that name no pictures.
    SettingsError
        A package that reads them is not installed.
    """
    files, column, rate = met.files, feature.column, feature.rate
    if files.film:
        onset, start = max(-files.start_s, 0.0), max(files.start_s, 0.0)
        return met.once(("film", rate), lambda: read_film(files.film, rate, onset=onset, start=start))
    events = naming(feature.name, column, met.events, ("picture", "film"))
    return met.once(("pictures", column, rate), lambda: _named(events, column, rate, files))


def _named(events: pd.DataFrame, column: str, rate: float, files: Files) -> Pictures:
    """The pictures and the frames of films that events name."""
    of_film = np.array([medium_of(file) == "film" for file in events[column]])
    if not of_film.any():
        return pictures_of(events, column, files.folder)
    parts = [pictures_of(events[~of_film], column, files.folder)] if not of_film.all() else []
    return in_turn([*parts, *_films(events[of_film], column, rate, files)])


def _films(events: pd.DataFrame, column: str, rate: float, files: Files) -> Iterator[Pictures]:
    """The frames of films that events name, each for as long as its event lasts; a film is opened once."""
    opened: dict[tuple[str, float], Pictures] = {}
    for file, run, onset, duration in zip(events[column], events["run"], events["onset"], events["duration"]):
        if (file, duration) not in opened:
            path = check_inside(file, files.folder)
            opened[file, duration] = read_film(path, rate, stop=duration if duration > 0 else None)
        film = opened[file, duration]
        yield replace(film, samples=film.samples.assign(run=run, time=film.samples["time"] + onset))


def in_turn(parts: Sequence[Pictures]) -> Pictures:
    """Pictures of several sources in the order they were shown."""
    samples = pd.concat([part.samples for part in parts], ignore_index=True)
    order = np.lexsort((samples["time"], pd.factorize(samples["run"])[0]))
    places = [(k, row) for k, part in enumerate(parts) for row in range(len(part))]
    digests = [digest for part in parts for digest in part.digests]

    def read(rows: Sequence[int]) -> Iterator[np.ndarray]:
        for k, some in groupby((places[order[row]] for row in rows), key=lambda place: place[0]):
            yield from parts[k].read([row for _, row in some])

    return Pictures(
        samples.iloc[order].reset_index(drop=True),
        [digests[row] for row in order],
        read,
        {name: digest for part in parts for name, digest in part.inputs.items()},
        list(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def layers_of_pictures(feature: Vision, met: Met, how: How) -> Signal:
    """A band per layer."""
    return embed_images(
        seen(feature, met),
        network(feature),
        feature.asked,
        pool=feature.pool,
        grid=feature.grid,
        size=feature.size,
        reduce=None if feature.reduce is None else random_projection(feature.reduce),
        prompt=feature.prompt,
        unreadable=feature.unreadable,
        name=feature.name,
        dtype=feature.dtype,
        **how.said,
    )


def _band(function: Any, *settings: str) -> Make:
    """The maker of a dull band: `settings` are those of its keys that its function takes under the same name."""

    def make(feature: OfPictures, met: Met, how: How) -> Signal:
        said = {key: getattr(feature, key) for key in ("name", "unreadable", *settings)}
        return function(seen(feature, met), store=how.store, progress=how.progress, **said)

    return make


def named(feature: Conse, met: Met, how: How) -> Signal:
    """What a sentence encoder makes of the names a network gives."""
    said = {"sentences": feature.sentences, "top": feature.top, "prompt": feature.prompt, "name": feature.name}
    return conse(seen(feature, met), network(feature), unreadable=feature.unreadable, **said, **how.said)


OF_PICTURES: dict[type[Feature], Make] = {
    Vision: layers_of_pictures,
    Conse: named,
    Luminance: _band(luminance),
    Contrast: _band(contrast),
    Colour: _band(colour),
    SpatialFrequency: _band(spatial_frequency, "side", "log", "degrees"),
    Gabor: _band(gabor_energy, "frequencies", "orientations", "octaves", "side", "log", "degrees"),
    MotionEnergy: _band(
        motion_energy, "rate", "spatial_frequencies", "temporal_frequencies", "directions", "side", "log"
    ),
    Pixels: _band(pixels, "side", "rgb"),
}
