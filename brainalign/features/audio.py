"""What does a speech model make of what was heard, up to each moment?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from brainalign.errors import SettingsError
from brainalign.features.hearing import Plan, Pool, heard_in
from brainalign.features.listening import Listener, Rows, check_positive, count_samples, key_for, listen, signal_of
from brainalign.features.loading import Dtype, ResolvedModel
from brainalign.features.models import locate_model
from brainalign.features.reader import choose_layers
from brainalign.features.sounds import Clip, Sounds, Unreadable, by_remark, sounds_of
from brainalign.features.speech import check_context, load_speech, preparation_of
from brainalign.features.tape import Tape
from brainalign.progress import Progress, silent
from brainalign.provenance import versions
from brainalign.signals import Signal
from brainalign.store import Store

METHOD = 1  # counts up when the same settings would give other numbers


def embed_audio(
    sound: Any,
    model: str | Path | ResolvedModel,
    layers: Literal["all"] | Sequence[int] = "all",
    *,
    context_s: float = 8.0,
    step_s: float = 0.5,
    ahead_s: float = 0.0,
    pool: Pool = "mean",
    column: str = "stim_file",
    root: str | Path | None = None,
    channel: int | None = None,
    unreadable: Unreadable = "error",
    name: str | None = None,
    device: str = "auto",
    dtype: Dtype = "float32",
    store: Store | None = None,
    progress: Progress = silent,
) -> Signal:
    """The hidden states of a speech model for what was heard up to each moment: look-back windows with a stride.

    Speech models read both ways. So that a sample does not know what had not been heard yet, each has a window of its
    own: the one at time t is what the model makes of the sound in (t − `context_s`, t], and of that what its frames of
    the last `step_s` seconds say. At the beginning of a sound windows are shorter: nothing is put before it, and what
    was heard before in the same run is not in it. All layers come from one pass; `context_s` / `step_s` times the sound
    are read.

    Sounds are resampled to the rate of the model (soxr) and prepared by the model's own feature extractor, window by
    window: where it normalises, no window knows the loudness of another. Whisper's encoder always reads 30 s: as it was
    trained, silence follows what was heard, whose frames alone are kept.

    Parameters
    ----------
    sound : path, (array, rate), mapping of run → either, DataFrame, or Sounds
        As for `sounds_of`, as are `column`, `root`, `channel` and `unreadable`.
    model : str, path or ResolvedModel
        A folder, a Hugging Face id, or what `untrained` gives: of the wav2vec 2.0 kind (wav2vec2, hubert, wavlm,
        data2vec-audio, …), or Whisper.
    layers : "all" or list of int
        0 is the input of the first block, L the output of the last (as in transformers' `hidden_states`).
    context_s, step_s : float
        How far back a sample hears, and how often there is one, s.
    ahead_s : float
        How much of what follows it a sample may have heard, s. With more than none a window serves all samples of its
        last `ahead_s` + `step_s` seconds, so there are 1 + `ahead_s` / `step_s` times fewer; each then hears back at
        least `context_s` − `ahead_s`.
    pool : {"mean", "last"}
        Over the frames (20 ms, mostly) whose middles lie in the last `step_s` seconds before t: their mean, or the
        last one.
    name : str, optional
        What comes before ".layer" in the bands; default the model's name.
    device : str
        What torch calls it; "auto" is the first GPU, else the CPU.
    dtype : {"float32", "float16", "bfloat16"}
        Of the model's weights and arithmetic; what is kept is float32.
    store : Store, optional
        Where the states are kept, and found again whenever sounds, model, preparation and settings are the same. They
        are written there as they come: memory does not grow with the sound, and after a crash, or if one sound cannot
        be read to its end, only what is missing is computed.
    progress : function (done, total, what), optional
        Told after each part.

    Returns
    -------
    Signal
        (n_samples, n_layers × width) float32; columns have `band` ("name.layer"), `layer`, `unit`. Samples: `run`,
        `time` (t, s: the sound's onset + k · `step_s`, k from 1; less than a step is left at a sound's end),
        `duration` (`step_s`), `stimulus`, `stimulus_time` (s in the sound).

    Raises
    ------
    InputError
        A sound that cannot be read (`sounds_of`) or is shorter than a step; a model that cannot be loaded, or whose
        weights are incomplete.
    SettingsError
        No speech model, or none of that name; a layer it does not have; a context it cannot hear; steps shorter than
        its frames.

    Examples
    --------
    A model has to be fetched first, so this is not run here::

        ba.embed_audio("story.wav", "facebook/hubert-base-ls960", layers=[9])
        # Signal(1,438 samples × 768 columns; 1 run; 0.5–719.0 s; bands hubert-base-ls960.9)
    """
    asked = _asked(layers, context_s, step_s, ahead_s, pool, dtype)
    found = model if isinstance(model, ResolvedModel) else locate_model(model, sense=None)
    preparation = preparation_of(found)
    sounds = sounds_of(sound, column, root, channel=channel, unreadable=unreadable)

    def settings(asked: _Asked) -> dict[str, Any]:
        packages = versions("torch", "transformers", "soxr")
        return {
            "kind": "speech",
            "method": METHOD,
            "model": found.revision,
            "preparation": preparation,
            "versions": {package: version.split(".")[0] for package, version in packages.items()},
            **asked.described(),
        }

    reads = asked
    if store is not None and asked.layers != "all":
        whole = replace(asked, layers="all")
        if store.has(key_for(sounds, asked.step_s, asked.step_s, settings(whole))):
            reads = whole
    values, samples, also = listen(
        sounds,
        asked.step_s,
        asked.step_s,
        lambda: _open(found, reads, device),
        settings(reads),
        f"hearing {len(sounds.clips):,} sounds with {found.name}",
        store=store,
        progress=progress,
    )
    numbers = also["layers"]
    if reads != asked:
        chosen = choose_layers(asked.layers, len(numbers), found.name)
        width = values.shape[1] // len(numbers)
        values = np.concatenate([values[:, layer * width : (layer + 1) * width] for layer in chosen], axis=1)
        numbers = np.array(chosen)
    name, width = name or found.name, values.shape[1] // len(numbers)
    columns = pd.DataFrame(
        {
            "band": np.repeat([f"{name}.{layer}" for layer in numbers], width),
            "layer": np.repeat(numbers, width),
            "unit": np.tile(np.arange(width), len(numbers)),
        }
    )
    known = {
        "kind": "speech",
        "model": found.name,
        "revision": found.revision,
        "architecture": str(also["architecture"]),
        "rate": int(also["rate"]),
        "step_s": asked.step_s,
        **asked.described(),
    }
    return signal_of(_with_rates(sounds, int(also["rate"]), name), values, samples, columns, name, known)


@dataclass(frozen=True)
class _Asked:
    layers: Literal["all"] | tuple[int, ...]
    context_s: float
    step_s: float
    ahead_s: float
    pool: Pool
    dtype: Dtype

    def described(self) -> dict[str, Any]:
        """What the numbers depend on but the step, which is that of the samples."""
        return {
            "layers": self.layers,
            "context_s": self.context_s,
            "ahead_s": self.ahead_s,
            "pool": self.pool,
            "dtype": self.dtype,
        }

    @property
    def together(self) -> int:
        """How many samples share a window."""
        return 1 + int(self.ahead_s / self.step_s + 1e-6)


def _asked(layers: Any, context_s: Any, step_s: Any, ahead_s: Any, pool: Any, dtype: Any) -> _Asked:
    check_positive(context_s=context_s, step_s=step_s, ahead_s=ahead_s or 1.0)
    if pool not in get_args(Pool):
        raise SettingsError(f"pool is one of {', '.join(map(repr, get_args(Pool)))}; found {pool!r}")
    if dtype not in get_args(Dtype):
        raise SettingsError(f"dtype is one of {', '.join(map(repr, get_args(Dtype)))}; found {dtype!r}")
    if step_s > context_s:
        raise SettingsError(f"step_s={step_s:g} is longer than context_s={context_s:g}: a step lies in its context")
    if ahead_s > context_s / 2:
        raise SettingsError(f"ahead_s={ahead_s:g} is more than half of context_s={context_s:g}: take less")
    listed = list(layers) if isinstance(layers, Iterable) and not isinstance(layers, str) else []
    whole = all(isinstance(layer, (int, np.integer)) and not isinstance(layer, bool) for layer in listed)
    if layers != "all" and (not listed or not whole or len(set(listed)) < len(listed)):
        raise SettingsError(f"layers is 'all' or a list of different numbers, such as [6]; found {layers!r}")
    chosen = "all" if isinstance(layers, str) else tuple(int(layer) for layer in listed)
    return _Asked(chosen, float(context_s), float(step_s), float(ahead_s), pool, dtype)


def _with_rates(sounds: Sounds, rate: int, name: str) -> Sounds:
    """Sounds whose notes say which of them have less to hear than the model is used to."""
    low = {clip.source.name: clip.rate for clip in sounds.clips if clip.rate < rate}
    why = f"fewer samples per second than the model hears, {rate:,}, which is used to what is above half of that"
    said = by_remark((why, stimulus, f"{there:,.0f}") for stimulus, there in low.items())
    return replace(sounds, notes=[*sounds.notes, *(f"{name}: {one}" for one in said)]) if said else sounds


def _open(found: ResolvedModel, asked: _Asked, device: str) -> Listener:
    model = load_speech(found, device, asked.dtype)
    check_context(found.name, asked.context_s, model.longest_s)
    if asked.step_s * model.rate < max(model.frame_reach, model.frame_step):
        least = max(model.frame_reach, model.frame_step) / model.rate
        raise SettingsError(
            f"step_s={asked.step_s:g} is too short for model {found.name!r}, whose frames are made of {least:g} s: "
            "take that or more"
        )
    chosen = choose_layers(asked.layers, model.n_states, found.name)

    def hear(clip: Clip) -> Rows:
        n = count_samples(clip.duration, asked.step_s, asked.step_s)
        plan = Plan(asked.context_s * model.rate, asked.step_s * model.rate, asked.together, n)
        tape = Tape(clip, model.rate)
        return lambda first, last: heard_in(tape, plan, first, last, model, chosen, asked.pool)

    also: Mapping[str, np.ndarray] = {
        "layers": np.array(chosen),
        "architecture": np.array(str(model.network.config.model_type)),
        "rate": np.array(model.rate),
    }
    return Listener(len(chosen) * model.width, hear, also)
