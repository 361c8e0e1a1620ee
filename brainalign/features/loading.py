"""How is a model that was found loaded, without running anyone's code?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from brainalign.errors import InputError, SettingsError


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


def load(model: ResolvedModel, device: str = "auto") -> tuple[Any, Any]:
    """The tokenizer and the causal language model, in float32, ready to read.

    Parameters
    ----------
    model : ResolvedModel
        From `locate_model` or `untrained`.
    device : str
        What torch calls it; "auto" is the first GPU, else the CPU.

    Returns
    -------
    tokenizer, model
        Code that comes with a model is never run, and only safetensors weights are read.

    Raises
    ------
    InputError
        It cannot be loaded, or weights are missing from it.
    SettingsError
        The language extra is not installed, there is no such device, or the model wants to run its own code.
    """
    need_language_extra()
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source: dict[str, Any] = {"revision": model.commit} if model.commit else {"local_files_only": True}
    source["trust_remote_code"] = False
    with quiet_transformers():
        try:
            tokenizer = AutoTokenizer.from_pretrained(model.place, **source)
            if model.seed is not None:
                network = _random_weights(model, model.seed, source)
            else:
                loaded: Any = AutoModelForCausalLM.from_pretrained(
                    model.place, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **source
                )
                network, found = loaded
                _check_weights(model, network, found["missing_keys"])
        except InputError:
            raise
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise load_problem(model, error) from error
    return tokenizer, network.to(choose_device(device)).eval()


def _random_weights(model: ResolvedModel, seed: int, source: dict[str, Any]) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(model.place, **source)
    with torch.random.fork_rng(devices=[]):  # whoever uses torch beside us keeps their own random numbers
        torch.default_generator.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)


def _check_weights(model: ResolvedModel, network: Any, missing: list[str]) -> None:
    """Weights that are not in the file would be random ones; the output head alone is not needed."""
    gone = sorted(key for key in missing if key.startswith(network.base_model_prefix + "."))
    if gone:
        raise InputError(
            f"the weights of model {model.name!r} are incomplete: {len(gone)} tensors are missing ({gone[0]}, …); "
            "is it a causal language model, and was it downloaded whole?"
        )


def load_problem(model: ResolvedModel, error: Exception) -> InputError | SettingsError:
    """What a person is told when transformers cannot load a model."""
    said = str(error).strip().splitlines() or [type(error).__name__]
    if "trust_remote_code" in str(error):
        return SettingsError(
            f"model {model.name!r} wants to run code of its own, which brainalign never does: choose a model whose "
            "architecture is part of transformers"
        )
    if "Unrecognized configuration class" in said[0]:
        return SettingsError(f"model {model.name!r} is not a causal language model: {said[0]}")
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


def need_language_extra() -> None:
    """Refuse, with what to install, where torch or transformers is missing."""
    missing = [package for package in ("torch", "transformers") if find_spec(package) is None]
    if missing:
        raise SettingsError(f"language models need {' and '.join(missing)}: run `pip install 'brainalign[language]'`")


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
