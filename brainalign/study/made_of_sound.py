"""What do features of sound make of what was heard?"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

from brainalign.features.acoustics import envelope, mel_spectrogram, onset_strength
from brainalign.features.audio import embed_audio
from brainalign.features.pitch import pitch
from brainalign.features.sounds import Sounds, sounds_of
from brainalign.signals import Signal
from brainalign.study.files import naming
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
    return _heard(met, feature.name, feature.column, feature.channel, feature.unreadable)


@lru_cache(maxsize=8)  # features of the same sounds read them through once
def _heard(met: Met, name: str, column: str, channel: int | None, unreadable: Any) -> Sounds:
    files, how = met.files, {"channel": channel, "unreadable": unreadable}
    if not files.sound:
        return sounds_of(naming(name, column, met.events, ("sound", "film")), column, files.folder, **how)
    sounds = sounds_of(files.sound, **how)
    return replace(sounds, samples=sounds.samples.assign(time=sounds.samples["time"] - files.start_s))


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
