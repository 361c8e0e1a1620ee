"""What stands in the way of a feature, as far as its files and its model's configuration can tell?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError, need_package, one_message
from brainalign.features.decoding import FORMATS
from brainalign.features.decoding import check_size as check_pixels
from brainalign.features.listening import counts_of
from brainalign.features.loading import ResolvedModel, choose_device, kind_of, need_language_extra
from brainalign.features.models import locate_model, model_files, settled_config
from brainalign.features.pitch import check_range
from brainalign.features.preprocessing import preprocessing_of
from brainalign.features.reader import choose_layers
from brainalign.features.samples import samples_of
from brainalign.features.sound_spectra import MelBands, MelSpectrum
from brainalign.features.speech import check_context, longest_of, preparation_of
from brainalign.features.vectors import WordVectors
from brainalign.signals import Signal
from brainalign.study.extracting import reads_a_model
from brainalign.study.kinds import AnyFeature
from brainalign.study.kinds_of_pictures import Conse, MotionEnergy, OfPictures, Vision
from brainalign.study.kinds_of_sound import Banded, OfSound, Pitch, Speech
from brainalign.study.kinds_of_words import ReadsWords, Sentence, Surprisal
from brainalign.study.made_of_pictures import seen
from brainalign.study.made_of_sound import heard
from brainalign.study.made_of_words import check_words
from brainalign.study.met import Met
from brainalign.study.section import Held, Layered
from brainalign.study.stages import are_moments
from brainalign.study.trials import are_trials, on_trials

BLOCKS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")  # what families call the number of their blocks
TOWERS = ("vision_config", "text_config")  # where those of models with two are said
UNEVEN = 0.01  # of a step, by which frames of a film may be off
STEP_S = 0.1  # of a sound that is not computed yet
CLASSES = "imagenet-classes"


def tests_of(
    feature: AnyFeature, found: ResolvedModel | WordVectors | None, met: Met, device: str
) -> Iterator[Callable[[], Any]]:
    """Functions that raise what `extract` would raise once it got there; none for features that are counted.

    Without the model (`found`, what `source` gives) nothing is said of it. Whether words have tokens, how many, and
    whether a model's head has its weights is left to `extract`.
    """
    if isinstance(feature, OfPictures):
        yield lambda: check_pictures(feature, met)
    if isinstance(feature, MotionEnergy):
        yield lambda: need_package("moten", extra="vision", what="motion energy")
    if isinstance(feature, OfSound):
        yield lambda: check_sounds(feature, met)
    if isinstance(feature, Pitch):
        yield lambda: check_range(feature.low_hz, feature.high_hz)
    if isinstance(feature, (Speech, Pitch)):
        yield lambda: need_package("soxr", extra="audio", what="resampling sound")
    if not reads_a_model(feature):
        return
    yield need_language_extra
    if device != "auto":
        yield lambda: choose_device(device)
    if not isinstance(feature, Held):
        yield lambda: check_events(feature, met.events)
    if isinstance(feature, Conse):
        yield lambda: locate_model(feature.sentences)
        yield lambda: model_files(CLASSES)
    if not isinstance(found, ResolvedModel):
        return
    if isinstance(feature, Layered):
        yield lambda: check_layers(feature, found)
    if isinstance(feature, (Vision, Conse)):
        yield lambda: preprocessing_of(found, getattr(feature, "size", None))
    if isinstance(feature, Speech):
        yield lambda: check_context(
            found.name, feature.context_s, longest_of(settled_config(found), preparation_of(found))
        )
    if isinstance(feature, ReadsWords):
        yield lambda: check_size(feature, found)
        if feature.ahead or isinstance(feature, Surprisal):
            yield lambda: check_kind(feature, found)


def check_trials(feature: AnyFeature, met: Met, brain: Signal) -> None:
    """Refuse a feature that has no row for every trial, where the recording has a row per trial.

    Raises
    ------
    InputError
    """
    if not are_trials(brain):
        return
    if isinstance(feature, OfPictures):
        samples = seen(feature, met).samples
    elif isinstance(feature, OfSound):
        samples = _moments(heard(feature, met).samples)
    else:
        column = getattr(feature, "column", "word")
        if column not in met.events:
            return  # whoever makes the feature says so
        samples = met.events.rename(columns={"onset": "time"}).dropna(subset=[column])[["run", "time"]]
    rows = Signal(np.zeros((len(samples), 1)), samples, pd.DataFrame({"band": [feature.name]}))
    on_trials(feature.name, rows, brain, met.events)


def _moments(sounds: pd.DataFrame) -> pd.DataFrame:
    """When something is heard, ten times a second, as a feature of it would be told."""
    begins, lasts = (sounds[name].to_numpy(float) for name in ("time", "duration"))
    of_each = [
        pd.DataFrame({"run": run, "time": begin + np.arange(0, max(STEP_S, last), STEP_S)})
        for run, begin, last in zip(sounds["run"], begins, lasts, strict=True)
    ]
    return pd.concat(of_each, ignore_index=True).assign(stimulus_time=0.0)


def is_quick(feature: AnyFeature) -> bool:
    """Whether a feature is made in no time, so that it can be tried out: it is counted in the events."""
    return not reads_a_model(feature) and not isinstance(feature, (OfPictures, OfSound))


def check_pictures(feature: OfPictures, met: Met) -> None:
    """Refuse pictures that are not there, whose headers cannot be read, or of which only some have a duration.

    They are not decoded, which would take as long as most features do: one that breaks off stops `extract`.

    Raises
    ------
    InputError
        All that is wrong with them.
    """
    pictures = seen(feature, met)
    are_moments(feature.name, pictures.samples)
    if isinstance(feature, MotionEnergy):
        check_film(feature, pictures.samples)
    problems = []
    for row in np.unique(np.array(pictures.digests), return_index=True)[1] if feature.unreadable == "error" else ():
        path = met.files.folder / pictures.samples["stimulus"].iloc[row]
        if path.is_file() and not has_header(path):  # a frame of a film is no file
            try:
                next(pictures.read([row]))
            except InputError as error:
                problems.append(str(error))
    if problems:
        raise one_message(problems)


def check_film(feature: MotionEnergy, samples: pd.DataFrame) -> None:
    """Refuse frames between which something is missing, so that what moves cannot be told.

    Raises
    ------
    InputError
    """
    for run, frames in samples.groupby("run", sort=False):
        steps = np.diff(frames["time"].to_numpy(float))
        if len(steps) and np.abs(steps * feature.rate - 1).max() > UNEVEN:
            raise InputError(
                f"feature {feature.name!r}: motion energy needs the film of a whole run, and what was seen in run "
                f"{run} is {steps.min():.4g} to {steps.max():.4g} s apart, not {1 / feature.rate:.4g} s: name the film "
                "under stimuli"
            )


def has_header(path: Path) -> bool:
    """Whether a file begins as one picture does that can be decoded; nothing is decoded."""
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as image:
            check_pixels(image.width, image.height, path.name)
            return getattr(image, "n_frames", 1) == 1
    except Exception:  # decoders raise nearly anything; who reads it for good says what it is
        return False


def check_sounds(feature: OfSound, met: Met) -> None:
    """Refuse sounds that cannot be read, are shorter than a step, or have nothing in a feature's bands of frequencies.

    Raises
    ------
    InputError, SettingsError
    """
    sounds = heard(feature, met)
    if isinstance(feature, Speech):
        counts_of(sounds, feature.step_s, feature.step_s)
    if isinstance(feature, Banded):
        bands = MelBands(feature.bands, feature.low_hz, feature.high_hz)
        for clip in sounds.clips:
            MelSpectrum(clip, bands, feature.rate, feature.window_s)


def check_events(feature: AnyFeature, events: pd.DataFrame) -> None:
    """Refuse events that a feature's samples cannot be made of."""
    check_words(feature, events)
    samples_of(events, feature.column if isinstance(feature, Sentence) else "word")


def check_layers(feature: Layered, model: ResolvedModel) -> None:
    """Refuse layers that a model does not have by its configuration; names of modules are looked for by `extract`.

    Raises
    ------
    SettingsError
    """
    config = settled_config(model)
    parts = [config] + [config[part] for part in TOWERS if isinstance(config.get(part), dict)]
    blocks = [part[key] for part in parts for key in BLOCKS if isinstance(part.get(key), int)]
    if blocks and isinstance(feature.layers, list) and all(isinstance(layer, int) for layer in feature.layers):
        choose_layers(feature.asked, max(blocks) + 1, model.name)


def check_size(feature: ReadsWords, model: ResolvedModel) -> None:
    """Refuse contexts that a model does not have by its configuration.

    Raises
    ------
    SettingsError
    """
    limit, longest = settled_config(model).get("max_position_embeddings"), max(feature.contexts)
    if isinstance(limit, int) and feature.unit == "tokens" and longest >= limit:
        raise SettingsError(
            f"feature {feature.name!r}: context={longest} and the special tokens around it are more than the {limit} "
            f"tokens that model {model.name!r} reads: use a smaller one"
        )


def check_kind(feature: ReadsWords, model: ResolvedModel) -> None:
    """Refuse what a model of this kind cannot do: look ahead, or say how expected a word was.

    Raises
    ------
    SettingsError
    """
    config = settled_config(model)
    kind = kind_of(SimpleNamespace(architectures=config.get("architectures"), model_type=config.get("model_type")))
    if feature.ahead and kind == "causal":
        raise SettingsError(
            f"feature {feature.name!r}: ahead needs a model that reads both ways; {model.name!r} is causal: leave it "
            "out"
        )
    if isinstance(feature, Surprisal) and kind == "encoder-decoder":
        raise SettingsError(
            f"feature {feature.name!r}: {model.name!r} is an encoder–decoder, which does not say how expected a word "
            "was: use a causal or a masked language model"
        )
