"""Where do a model's weights come from, and which exactly are they?"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.features.cards import KINDS, ModelCard, Sense, model_card
from brainalign.features.loading import ResolvedModel, need_language_extra
from brainalign.provenance import hash_file
from brainalign.shipped import cards, shipped
from brainalign.store import Store, key_of

VOLATILE = ("transformers_version", "_name_or_path", "_commit_hash", "dtype", "torch_dtype", "use_cache")
TOKENIZER_FILES = re.compile(r"(tokenizer|vocab|merges|special_tokens|added_tokens).*|.*\.(model|tiktoken)")
# what a network that reads it is called, and one that is
NETWORKS: dict[Sense | None, tuple[str, str]] = {
    "text": ("language model", "stories260k"),
    "pictures": ("vision model", "dinov2-small-derived"),
    None: ("network with layers", "stories260k"),
}
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class ModelFiles(NamedTuple):
    """Where a model's files are, and the sha256 of those that the store has just verified."""

    folder: Path
    verified: Mapping[str, str]

    def sha256(self, file: str) -> str:
        """The sha256 of one file, read through only where it was not already."""
        return self.verified.get(file) or hash_file(self.folder / file)


def model_files(name: str) -> ModelFiles:
    """The files of a card's model, whatever its kind.

    Raises
    ------
    SettingsError
        No card of that name, or a model that was not fetched yet: the message names the command.

    Examples
    --------
    >>> model_files("stories260k").sha256("model.safetensors") == model_card("stories260k").files["model.safetensors"]
    True
    """
    card = model_card(name)
    files = _files_of(card)
    if files is None:
        raise SettingsError(not_fetched(card))
    return files


def _files_of(card: ModelCard) -> ModelFiles | None:
    if card.is_shipped:
        return ModelFiles(shipped("models", card.name), {})
    piece = Store().get(card.key())
    if piece is None:
        return None
    own = f"{card.name}/"
    return ModelFiles(piece.folder / card.name, {k.removeprefix(own): v["sha256"] for k, v in piece.files.items()})


def model_folder(name: str) -> Path | None:
    """Where the files of a card's model are, whatever its kind; None if it was not fetched yet.

    Raises
    ------
    SettingsError
        No card of that name; the closest is named.

    Examples
    --------
    >>> sorted(path.name for path in model_folder("stories260k").glob("*.safetensors"))
    ['model.safetensors']
    """
    files = _files_of(model_card(name))
    return files.folder if files else None


def is_here(name: str) -> bool:
    """Whether a card's model can be used without a network: it was shipped, or fetched before.

    As `model_folder` says it, but without reading its files through.
    """
    card = model_card(name)
    return card.is_shipped or Store().has(card.key())


def locate_model(name_or_path: str | Path, sense: Sense | None = "text") -> ResolvedModel:
    """Find a model by the name of its card, by its folder, or by its Hugging Face id.

    Parameters
    ----------
    name_or_path : str or path
        Looked for in this order: a card ("smollm2-135m"), a folder with `config.json` and safetensors weights, an id
        "organisation/name" (from the Hugging Face cache or the hub; HF_HOME and HF_HUB_OFFLINE are honoured).
    sense : {"text", "pictures"}, optional
        What it has to read: only the cards of language models and sentence encoders, or only those of vision models,
        are taken. None takes either.

    Raises
    ------
    SettingsError
        No such model, one that was not fetched yet (the message names the command), or a card of another kind.
    InputError
        A folder that does not hold a model brainalign can load.

    Examples
    --------
    >>> locate_model("stories260k").revision[:12]
    '49289e8d37c0'
    """
    known = cards("models")
    if isinstance(name_or_path, str) and name_or_path in known:
        card = model_card(name_or_path)
        reads = KINDS[card.kind].sense
        if reads is None or (sense is not None and reads != sense):
            wanted, one = NETWORKS[sense]
            raise SettingsError(
                f"{card.name!r} is no {wanted}: its kind is {card.kind!r}, and it is for {KINDS[card.kind].use}; "
                f"choose a {wanted} here, such as {one!r}"
            )
        return _resolved(card.name, model_files(card.name))
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return _resolved(path.resolve().name, ModelFiles(path, {}))
    if isinstance(name_or_path, str) and HUB_ID.fullmatch(name_or_path) and name_or_path[0] not in ".~":
        return _on_hub(name_or_path, sense)
    raise SettingsError(
        f"no model {str(name_or_path)!r}; {did_you_mean(str(name_or_path), known)} (a folder with config.json and "
        "safetensors weights works too, and so does a Hugging Face id, organisation/name)"
    )


def not_fetched(card: ModelCard) -> str:
    """What a person is told who asks for a model that is not on this disk yet."""
    instead = KINDS[card.kind].shipped
    return (
        f"model {card.name!r} was not fetched yet: run `brainalign models fetch {card.name}` ({card.download_mb} MB, "
        "once)" + (f"; or use {instead!r}, which came with brainalign" if instead else "")
    )


def _resolved(name: str, files: ModelFiles) -> ResolvedModel:
    folder = files.folder
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
        revision=key_of(config=_settled(config), weights={p.name: files.sha256(p.name) for p in weights}),
        tokenizer=key_of(files={p.name: files.sha256(p.name) for p in tokenizer}),
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


def _on_hub(name: str, sense: Sense | None) -> ResolvedModel:
    need_language_extra()
    from huggingface_hub import errors, hf_hub_download

    try:
        commit = Path(hf_hub_download(name, "config.json")).parent.name
    except (errors.EntryNotFoundError, errors.HFValidationError, OSError) as error:
        raise SettingsError(hub_problem(name, error, sense)) from error
    return ResolvedModel(name.split("/")[1], name, f"{name}@{commit}", commit, commit=commit)


def hub_problem(name: str, error: Exception, sense: Sense | None = "text") -> str:
    """What a person is told when the Hugging Face hub does not hand out a model."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return f"model {name!r} is gated: accept its terms on huggingface.co and log in with `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no folder and no Hugging Face model {name!r}: check the spelling"
    if isinstance(error, (errors.LocalEntryNotFoundError, ConnectionError)):
        instead = "" if sense == "pictures" else ", or use 'stories260k', which came with brainalign"
        return (
            f"there is no folder {name!r}, it is not in the Hugging Face cache, and the hub cannot be reached (no "
            f"network, or HF_HUB_OFFLINE is set): run `hf download {name}` once with a network{instead}"
        )
    if isinstance(error, errors.EntryNotFoundError):
        return f"{name!r} on the Hugging Face hub is no transformers model: it has no config.json"
    return f"{name!r} could not be found on the Hugging Face hub: {str(error).splitlines()[0]}"
