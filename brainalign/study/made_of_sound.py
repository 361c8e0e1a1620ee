"""What do features of sound make of what was heard?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from brainalign.features.acoustics import envelope, mel_spectrogram, onset_strength
from brainalign.features.audio import embed_audio
from brainalign.features.pitch import pitch
from brainalign.features.sound_files import has_sound_track
from brainalign.features.sounds import Sounds, some_of, sounds_of
from brainalign.provenance import check_inside
from brainalign.signals import Signal
from brainalign.study.files import Files, medium_of, naming
from brainalign.study.kinds_of_sound import Envelope, Mel, OfSound, OnsetStrength, Pitch, Speech
from brainalign.study.making import How, Make, network
from brainalign.study.met import Met
from brainalign.study.section import Feature


def heard(feature: OfSound, met: Met) -> Sounds:
    """The sounds a feature is made of: of the file the study names, or of those its events name.

    Raises
    ------
    InputError
        Files that are not there or cannot be read, events that name no sound, sounds that overlap.
    SettingsError
        A package that reads them is not installed.
    """
    files, column = met.files, feature.column
    how = {"channel": feature.channel, "unreadable": feature.unreadable}
    if files.sound:
        return met.once(("sound", *how.values()), lambda: _of_runs(files, how))
    events = naming(feature.name, column, met.events, ("sound", "film"))
    return met.once(("sounds", column, *how.values()), lambda: _named(events, column, files.folder, how))


def _of_runs(files: Files, how: dict[str, Any]) -> Sounds:
    """The file of each run, on the recording's clock."""
    sounds = sounds_of(files.sound, **how)
    return replace(sounds, samples=sounds.samples.assign(time=sounds.samples["time"] - files.start_s))


def _named(events: pd.DataFrame, column: str, folder: Path, how: dict[str, Any]) -> Sounds:
    """The sounds that events name; films that have none are left out where the events name sounds beside them."""
    media = {file: medium_of(file) for file in events[column].unique()}
    films = [file for file, medium in media.items() if medium == "film"] if "sound" in media.values() else []
    mute = [file for file in films if not has_sound_track(check_inside(file, folder))]
    sounds = sounds_of(events[~events[column].isin(mute)].reset_index(drop=True), column, folder, **how)
    note = [f"{some_of(mute, ', ', 'films')}: no sound track, left out of what was heard"] if mute else []
    return replace(sounds, notes=[*sounds.notes, *note])


def layers_of_sound(feature: Speech, met: Met, how: How) -> Signal:
    """A band per layer. A sample is of the step that ends with it, so that step is when it was there."""
    asked = {key: getattr(feature, key) for key in ("context_s", "step_s", "ahead_s", "pool", "name", "dtype")}
    found = embed_audio(heard(feature, met), network(feature), feature.asked, **asked, **how.said)
    return replace(found, samples=found.samples.assign(time=found.samples["time"] - feature.step_s))


def _band(function: Any, *settings: str) -> Make:
    """The maker of a band: `settings` are those of its keys that its function takes under the same name."""

    def make(feature: OfSound, met: Met, how: How) -> Signal:
        said = {key: getattr(feature, key) for key in ("name", "rate", *settings)}
        return function(heard(feature, met), store=how.store, progress=how.progress, **said)

    return make


OF_SOUND: dict[type[Feature], Make] = {
    Speech: layers_of_sound,
    Mel: _band(mel_spectrogram, "bands", "low_hz", "high_hz", "window_s"),
    Envelope: _band(envelope, "window_s"),
    OnsetStrength: _band(onset_strength, "bands", "low_hz", "high_hz", "window_s"),
    Pitch: _band(pitch, "low_hz", "high_hz", "reference_hz"),
}
