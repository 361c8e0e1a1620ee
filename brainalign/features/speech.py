"""How is a speech model loaded, and what does it make of a stretch of sound?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from brainalign.errors import InputError, SettingsError
from brainalign.features.beside import read_beside
from brainalign.features.loading import (
    Dtype,
    ResolvedModel,
    build_network,
    choose_device,
    loading,
    need_language_extra,
    source_of,
    unread,
)

# what changes when the same settings are saved again
VOLATILE = ("transformers_version", "processor_class", "feature_extractor_type", "auto_map", "_name_or_path")
HALVED = 2  # frames of Whisper's spectrum to a frame of its states
SPARE = ("masked_spec_embed",)  # weights that are used in training only, and that many published files lack


@dataclass(frozen=True, eq=False)
class SpeechModel:
    """A model that was loaded, ready to hear.

    Parameters
    ----------
    name : str
    network, extractor : objects of transformers
        What gives states, and what prepares sound for it.
    rate : int
        Of the sound it hears, Hz.
    frame_step, frame_middle, frame_reach : float
        How many samples of it a frame of states is after the one before; the middle of the first one; how many samples
        there have to be for one.
    longest_s : float or None
        The longest sound it can hear; it is then always given so much, with silence behind what was heard.
    n_states, width : int
        Layers of states (the input of the first block is one), and units in each.
    """

    name: str
    network: Any
    extractor: Any
    rate: int
    frame_step: float
    frame_middle: float
    frame_reach: float
    longest_s: float | None
    n_states: int = 0
    width: int = 0

    def n_frames(self, n_samples: int) -> int:
        """How many frames there are of so much sound, which is at least `frame_reach`."""
        return int((n_samples - self.frame_reach) // self.frame_step) + 1

    def middles(self, n_samples: int) -> np.ndarray:
        """(n_frames,) the middle of each frame, in samples from the beginning of what is heard."""
        return self.frame_middle + self.frame_step * np.arange(self.n_frames(n_samples))

    @property
    def numbers_per_frame(self) -> int:
        """About how many numbers are in memory at a time for each frame."""
        first = self.network.config.conv_dim[0] if self.longest_s is None else 0
        stride = self.network.config.conv_stride[0] if self.longest_s is None else 1
        return int(self.n_states * self.width + 2 * first * self.frame_step / stride)


def preparation_of(model: ResolvedModel) -> dict[str, Any]:
    """What a model's folder says of how sound is prepared for it; nothing heavy is loaded.

    Raises
    ------
    SettingsError
        It says nothing, or only how pictures are.
    """
    together = read_beside(model, "processor_config.json", dict) or {}
    settings = together.get("feature_extractor") or read_beside(model, "preprocessor_config.json", dict)
    if not settings:
        raise SettingsError(
            f"model {model.name!r} does not say how sound is prepared for it: its folder has no "
            "preprocessor_config.json. If it is a speech model, save its own beside the weights: "
            "`AutoFeatureExtractor.from_pretrained(ID).save_pretrained(FOLDER)`"
        )
    if "image_processor_type" in settings or "image_mean" in settings:
        raise SettingsError(
            f"model {model.name!r} is no speech model: its folder says how pictures are prepared for it; it sees: "
            "ba.embed_images is for such models"
        )
    return {key: value for key, value in settings.items() if key not in VOLATILE}


def check_context(name: str, context_s: float, longest_s: float | None) -> None:
    """Refuse more than a model can hear at once.

    Raises
    ------
    SettingsError
    """
    if longest_s is not None and context_s > longest_s:
        raise SettingsError(
            f"context_s={context_s:g} is more than model {name!r} can hear, {longest_s:g} s: take that or less"
        )


def longest_of(config: Mapping[str, Any], preparation: Mapping[str, Any]) -> float | None:
    """The longest sound (s) a model can hear by its configuration; None where there is no end to it, or it is not said.

    Examples
    --------
    >>> longest_of({"max_source_positions": 1500}, {"hop_length": 160, "sampling_rate": 16_000})
    30.0
    """
    most, hop, rate = (
        config.get("max_source_positions"),
        *(preparation.get(key) for key in ("hop_length", "sampling_rate")),
    )
    if not most or not hop or not rate:
        return None
    return most * HALVED * hop / rate


def load_speech(model: ResolvedModel, device: str = "auto", dtype: Dtype = "float32") -> SpeechModel:
    """A speech model, with what prepares sound for it.

    Parameters
    ----------
    model : ResolvedModel
        From `locate_model` or `untrained`: of the wav2vec 2.0 kind, whose convolutions hear the sound itself (wav2vec2,
        hubert, wavlm, data2vec-audio, unispeech …), or Whisper, of which the encoder is used.
    device : str
        What torch calls it; "auto" is the first GPU, else the CPU.
    dtype : {"float32", "float16", "bfloat16"}
        Of the weights, and of what is computed with them.

    Raises
    ------
    InputError
        It cannot be loaded, or weights are missing from it.
    SettingsError
        torch or transformers is not installed, there is no such device, it is no such model.
    """
    need_language_extra("speech models")
    from transformers import AutoConfig, AutoFeatureExtractor

    source = source_of(model)
    with loading(model):
        config = AutoConfig.from_pretrained(model.place, **source)
        whisper = config.model_type == "whisper"
        if not whisper and (not hasattr(config, "conv_kernel") or config.is_encoder_decoder):
            raise SettingsError(
                f"model {model.name!r} is no speech model: its architecture, {config.model_type}, does not hear; take "
                "one of the wav2vec 2.0 kind (wav2vec2, hubert, wavlm, data2vec-audio) or Whisper"
            )
        preparation_of(model)
        extractor = AutoFeatureExtractor.from_pretrained(model.place, **source)
        whole, _ = build_network(model, "AutoModel", config, dtype, _spare)
    network = _hearing(whole).to(choose_device(device)).eval()
    rate = int(extractor.sampling_rate)
    if whisper:
        step = extractor.hop_length * network.conv1.stride[0] * network.conv2.stride[0]
        longest = network.max_source_positions * step
        # its spectrum, too, looks at what is around a moment, so a frame's middle is where it begins
        opened = SpeechModel(model.name, network, extractor, rate, step, 0.0, 1.0, longest / rate)
    else:
        step, reach = 1, 1
        for kernel, stride in zip(config.conv_kernel, config.conv_stride):
            reach += (kernel - 1) * step
            step *= stride
        opened = SpeechModel(model.name, network, extractor, rate, step, (reach - 1) / 2, reach, None)
    return _tried(opened)


def _hearing(network: Any) -> Any:
    return network.get_encoder() if network.config.is_encoder_decoder else network


def _spare(network: Any) -> set[str]:
    return unread(network, _hearing(network)) | {key for key in network.state_dict() if key.endswith(SPARE)}


def _tried(model: SpeechModel) -> SpeechModel:
    """The model with its layers, once it was seen to lay out its frames in time as it should."""
    n = int(model.frame_reach + 5 * model.frame_step)
    try:
        states = states_of(model, [np.zeros(n, np.float32)])
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise SettingsError(
            f"model {model.name!r} cannot hear with what lies beside it to prepare sound "
            f"({type(model.extractor).__name__}): {str(error).splitlines()[0]}"
        ) from error
    shapes = {tuple(layer.shape) for layer in states}
    if len(shapes) != 1 or states[0].shape[1] != model.n_frames(n):
        found = ", ".join(str(shape) for shape in sorted(shapes))
        raise SettingsError(
            f"the states of model {model.name!r} are not laid out as those of wav2vec 2.0: of {n} samples "
            f"{model.n_frames(n)} frames were to be expected, and there is {found}; choose another model"
        )
    return replace(model, n_states=len(states), width=int(states[0].shape[-1]))


def states_of(model: SpeechModel, windows: Sequence[np.ndarray]) -> tuple[Any, ...]:
    """What a model makes of some stretches of sound, all layers in one pass.

    Parameters
    ----------
    windows : list of (n,) float32, all of one length
        At the model's own rate.

    Returns
    -------
    tuple of tensor (n_windows, n_frames, width)
        In the order of transformers' `hidden_states`: 0 is the input of the first block, L the output of the last. Of
        what was given it to hear only: what follows it to fill the 30 s of Whisper has no frames here.

    Raises
    ------
    InputError
        The states are not finite.
    """
    import torch

    given = model.extractor(list(windows), sampling_rate=model.rate, return_tensors="pt")
    name = model.network.main_input_name
    values = given[name].to(model.network.device, next(model.network.parameters()).dtype)
    with torch.inference_mode():
        states = model.network(**{name: values}, output_hidden_states=True).hidden_states
    if not torch.isfinite(states[-1]).all():
        raise InputError(f"model {model.name!r} gives states that are not finite: try dtype='float32'")
    return tuple(layer[:, : model.n_frames(len(windows[0]))] if model.longest_s else layer for layer in states)
