"""How is a model that was found loaded, without running anyone's code?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

from brainalign.errors import InputError, SettingsError

Kind = Literal["causal", "masked", "encoder-decoder", "image-text"]
Dtype = Literal["float32", "float16", "bfloat16"]
BUILDERS: dict[Kind, str] = {
    "causal": "AutoModelForCausalLM",
    "masked": "AutoModelForMaskedLM",
    "encoder-decoder": "AutoModelForSeq2SeqLM",
    "image-text": "AutoModel",
}
# two towers, one for pictures and one for texts, which end in the same space
IMAGE_TEXT = ("align", "altclip", "chinese_clip", "clip", "metaclip_2", "siglip")


@dataclass(frozen=True)
class ResolvedModel:
    """A model that was found, and what makes it this one and no other.

    Parameters
    ----------
    name : str
        What bands are called after.
    place : str
        A local folder, or a Hugging Face id.
    revision : str
        The sha256 over its weights and configuration; for a hub model id@commit.
    tokenizer : str
        The sha256 over its tokenizer's files; for a hub model the commit.
    commit : str, optional
        Set for a hub model: what exactly is loaded from there.
    seed : int, optional
        Set for an untrained twin: random weights drawn with it instead of the trained ones.
    """

    name: str
    place: str
    revision: str
    tokenizer: str
    commit: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class LanguageModel:
    """A model that was loaded, ready to read.

    Parameters
    ----------
    name : str
        What bands are called after.
    kind : {"causal", "masked", "encoder-decoder", "image-text"}
        What it was trained to do. A causal model never looks ahead; the two others read both ways. An image–text model
        reads a text to compare it with pictures.
    tokenizer, network : objects of transformers
        `network` is the whole model, with what turns states into predictions.
    has_head : bool
        Whether the weights of its predictions were in the file: without them there are states, but no probabilities.
    """

    name: str
    kind: Kind
    tokenizer: Any
    network: Any
    has_head: bool

    @property
    def reader(self) -> Any:
        """The part that gives hidden states of a text: all but the head; an encoder; the tower for texts."""
        return _reader(self.network, self.kind)


def load(model: ResolvedModel, device: str = "auto", dtype: Dtype = "float32", towers: bool = False) -> LanguageModel:
    """A language model with its tokenizer: causal, masked or encoder–decoder.

    Parameters
    ----------
    model : ResolvedModel
        From `locate_model` or `untrained`.
    device : str
        What torch calls it; "auto" is the first GPU, else the CPU.
    dtype : {"float32", "float16", "bfloat16"}
        Of the weights, and of what is computed with them.
    towers : bool
        Whether an image–text model is taken too.

    Returns
    -------
    LanguageModel
        Code that comes with a model is never run, and only safetensors weights are read.

    Raises
    ------
    InputError
        It cannot be loaded, or weights are missing from it.
    SettingsError
        The language extra is not installed, there is no such device, the model is no language model, or it wants to
        run its own code.
    """
    need_language_extra()
    from transformers import AutoConfig, AutoTokenizer

    source = source_of(model)
    with loading(model):
        config = AutoConfig.from_pretrained(model.place, **source)
        kind = "image-text" if towers and config.model_type in IMAGE_TEXT else kind_of(config)
        if kind is None:
            raise SettingsError(
                f"model {model.name!r} is no language model: its architecture, {config.model_type}, is not one "
                "that transformers can use as a causal, masked or encoder–decoder language model"
                + ("; it hears: ba.embed_audio is for such models" if hears(config) else "")
            )
        tokenizer = AutoTokenizer.from_pretrained(model.place, **source)
        network, gone = build_network(model, BUILDERS[kind], config, dtype, lambda network: _spare(network, kind))
    return LanguageModel(model.name, kind, tokenizer, network.to(choose_device(device)).eval(), not gone)


def source_of(model: ResolvedModel) -> dict[str, Any]:
    """What every `from_pretrained` of transformers is told of where a model lies: that commit, and no code."""
    return {"trust_remote_code": False} | ({"revision": model.commit} if model.commit else {"local_files_only": True})


def kind_of(config: Any) -> Kind | None:
    """What a model of this configuration was trained to do; None if it is no language model.

    Parameters
    ----------
    config : PretrainedConfig
        What it says of its `architectures` comes first; where it says nothing of use, what its family can be used as.
    """
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    )

    said, family = " ".join(config.architectures or []), config.model_type
    if hears(config):
        return None  # Whisper's decoder could be one
    if family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and ("CausalLM" in said or "LMHead" in said):
        return "causal"
    if family in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        return "encoder-decoder"
    if family in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return "masked"
    return "causal" if family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else None


def hears(config: Any) -> bool:
    """Whether a model of this configuration takes speech."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CTC_MAPPING_NAMES,
        MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
    )

    return config.model_type in {*MODEL_FOR_CTC_MAPPING_NAMES, *MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES}


def build_network(
    model: ResolvedModel, builder: str, config: Any, dtype: Dtype, spare: Callable[[Any], set[str]]
) -> tuple[Any, list[str]]:
    """A model's network with its weights, or with random ones if it is an untrained twin.

    Parameters
    ----------
    model : ResolvedModel
    builder : str
        A class of transformers: "AutoModel", …
    config : PretrainedConfig
    dtype : {"float32", "float16", "bfloat16"}
    spare : function
        Network → names of the weights that what is asked for does without.

    Returns
    -------
    network
    missing : list of str
        Which of the `spare` weights are not in the file: they are random.

    Raises
    ------
    InputError
        Other weights are missing.
    """
    import torch
    import transformers

    build, precision = getattr(transformers, builder), getattr(torch, dtype)
    if model.seed is not None:
        with seeded(model.seed):
            return build.from_config(config, dtype=precision, trust_remote_code=False), []
    network, found = build.from_pretrained(
        model.place,
        config=config,
        dtype=precision,
        use_safetensors=True,
        output_loading_info=True,
        **source_of(model),
    )
    missing, known = sorted(found["missing_keys"]), spare(network)
    # weights that are not in the file would be random ones
    gone = [key for key in missing if key not in known]
    if gone:
        raise InputError(
            f"the weights of model {model.name!r} are incomplete: {len(gone)} tensors are missing ({gone[0]}, …); "
            "was it downloaded whole?"
        )
    return network, missing


def _spare(network: Any, kind: Kind) -> set[str]:
    return set() if kind == "image-text" else unread(network, _reader(network, kind))


def unread(network: Any, reader: Any) -> set[str]:
    """The names of the weights of a network that one part of it, which is used alone, does without."""
    read = {id(tensor) for tensor in reader.state_dict(keep_vars=True).values()}
    return {key for key, tensor in network.state_dict(keep_vars=True).items() if id(tensor) not in read}


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw with a seed; whoever uses torch beside us keeps their own random numbers."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _reader(network: Any, kind: Kind) -> Any:
    if kind == "image-text":
        return network.text_model
    return network.get_encoder() if kind == "encoder-decoder" else network.base_model


@contextmanager
def loading(model: ResolvedModel) -> Iterator[None]:
    """Load quietly, and say to a person why something of a model cannot be loaded."""
    from safetensors import SafetensorError

    with quiet_transformers():
        try:
            yield
        except (InputError, SettingsError):
            raise
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise load_problem(model, error) from error


def load_problem(model: ResolvedModel, error: Exception) -> InputError | SettingsError:
    """What a person is told when transformers cannot load a model."""
    said = str(error).strip().splitlines() or [type(error).__name__]
    if "trust_remote_code" in str(error):
        return SettingsError(
            f"model {model.name!r} wants to run code of its own, which brainalign never does: choose a model whose "
            "architecture is part of transformers"
        )
    return InputError(f"model {model.name!r} could not be loaded from {model.place}: {said[0]}")


def choose_device(device: str) -> str:
    """Which device "auto" means here; any other name as it is, if torch has it."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SettingsError(f"no device {device!r} here: use 'auto' or 'cpu' ({str(error).splitlines()[0]})") from error
    return device


def need_language_extra(what: str = "language models") -> None:
    """Refuse, with what to install, where torch or transformers is missing."""
    missing = [package for package in ("torch", "transformers") if find_spec(package) is None]
    if missing:
        raise SettingsError(f"{what} need {' and '.join(missing)}: run `pip install 'brainalign[language]'`")


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bars and its remarks on loading off stderr; its errors still come."""
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
