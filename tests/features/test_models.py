"""Cards, and finding a model wherever it lies: beside its card, in the cache, in a folder, on the hub."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from brainalign.errors import InputError, SettingsError
from brainalign.features.cards import KINDS, model_card, model_cards, read_card
from brainalign.features.efficientnet import build_efficientnet, layers_of
from brainalign.features.models import hub_problem, locate_model, model_folder
from brainalign.features.untrained import untrained
from brainalign.features.vectors import locate_vectors
from brainalign.features.words import embed_words
from brainalign.provenance import hash_file
from brainalign.shipped import cards, shipped
from brainalign.store import Store

PACKAGE = {"package": "a==1", "sha256": "0" * 64, "folder": "a", "files": {}}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def stories(tmp_path) -> Path:
    """A local folder with a copy of the shipped model, to be harmed."""
    return Path(shutil.copytree(shipped("models", "stories260k"), tmp_path / "my stories"))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_every_card_is_whole_and_names_its_files():
    known = model_cards()
    assert {card.kind for card in known.values()} == set(KINDS)
    for card in known.values():
        folder = shipped("models", card.name)
        beside = {p.relative_to(folder).as_posix(): hash_file(p) for p in folder.rglob("*") if p.is_file()}
        assert {name: beside[name] for name in beside if name not in ("card.yaml", "README.md")} == card.files
        if card.files:
            assert card.licence in (folder / "README.md").read_text()
        assert card.is_shipped == (card.download_mb == 0)
    assert [name for name, card in known.items() if card.is_shipped] == ["babyllama-char105", "stories260k"]


def test_the_numbers_on_a_card_are_those_of_the_model():
    """Of every model that is here; which ones are is up to who runs it."""
    for card in model_cards().values():
        folder = model_folder(card.name)
        if folder is None or "layers" not in KINDS[card.kind].numbers:
            continue
        config = json.loads((folder / "config.json").read_text())
        if card.kind == "convolutional vision network":
            assert len(layers_of(build_efficientnet(config))) == (card.layers or 0) + 1
            continue
        assert (config["num_hidden_layers"], config["hidden_size"]) == (card.layers, card.width)
        if "context" not in KINDS[card.kind].numbers:
            continue
        limits = folder / "sentence_bert_config.json"
        longest = (
            json.loads(limits.read_text())["max_seq_length"] if limits.is_file() else config["max_position_embeddings"]
        )
        assert longest == card.context


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"licens": "MIT"}, "unknown field 'licens'; did you mean 'licence'"),
        ({"width": "wide"}, r"needs 'width' \(int\); found 'wide'"),
        ({"width": None}, r"needs 'width' \(int\); found None"),
        ({"kind": "causal languge model"}, "a kind that is not known, .*did you mean 'causal language model'"),
        ({"kind": "part-of-speech tagger"}, "has 'layers', which means nothing for the kind 'part-of"),
        ({"format": "guff"}, "a format that is not known, 'guff'; did you mean 'gguf'"),
        ({"title": None}, r"needs 'title' \(str\); found None"),
        ({"name": "other"}, "calls itself 'other'"),
        ({"files": {}}, "names no file"),
        ({"files": {"model.safetensors": "abc"}}, r"needs a sha256 .* of model.safetensors; found 'abc'"),
        ({"packages": ["somewhere"]}, "a package on the card .* is no mapping; found 'somewhere'"),
        ({"packages": [PACKAGE | {"package": "somewhere"}]}, "a package is NAME==VERSION; found 'somewhere'"),
        ({"packages": [PACKAGE | {"package": "package; rm==1"}]}, "a package is NAME==VERSION"),
        ({"packages": [PACKAGE | {"package": "--index-url=http://a==1"}]}, "a package is NAME==VERSION"),
        ({"packages": [PACKAGE | {"package": "-r==1"}]}, "a package is NAME==VERSION; found '-r==1'"),
        ({"packages": [PACKAGE | {"sha256": "0" * 63}]}, r"needs a sha256 .* of a==1; found"),
        ({"packages": [PACKAGE | {"files": {"x": "y"}}]}, r"needs a sha256 .* of x; found 'y'"),
        ({"packages": [PACKAGE | {"url": "x"}]}, "a package on the card .* has an unknown field 'url'"),
        ({"packages": [{"package": "a==1"}]}, r"a package on the card .* needs 'sha256' \(str\); found None"),
    ],
)
def test_a_wrong_card_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        read_card("stories260k", cards("models")["stories260k"] | change)


@pytest.mark.parametrize(
    "file",
    [
        "../x",
        "a/../../x",
        "/etc/x",
        "..",
        "a//x",
        "./x",
        "",
        "..\\x",
        "a\\..\\x",
        "C:x",
        "C:/x",
        "-x",
        "a/-x",
        "x\0",
        3,
    ],
)
def test_no_card_writes_outside_its_folder(file):
    content, named = cards("models")["stories260k"], {file: "0" * 64}
    said = rf"names the file {re.escape(repr(file))}: a file is named by its path below the model's folder"
    with pytest.raises(InputError, match=said):
        read_card("stories260k", content | {"files": named})
    with pytest.raises(InputError, match=said):
        read_card("stories260k", content | {"packages": [PACKAGE | {"files": named}]})


def test_a_card_says_the_numbers_of_its_kind():
    content = cards("models")["glove-50d"]
    assert read_card("glove-50d", content).layers is None
    with pytest.raises(InputError, match=r"needs 'width' \(int\), which the kind 'static word vectors' has"):
        read_card("glove-50d", {key: value for key, value in content.items() if key != "width"})


def test_unknown_names_are_answered_with_the_closest():
    with pytest.raises(SettingsError, match=r"no model 'storys260k'; did you mean 'stories260k'"):
        model_card("storys260k")
    with pytest.raises(SettingsError, match=r"did you mean 'smollm2-135m'\? \(a folder with config.json .* works too"):
        locate_model("smollm-135m")
    with pytest.raises(SettingsError, match=r"no model '.*nowhere'.* \(a folder"):
        locate_model(Path("/nowhere"))


def test_not_fetched_yet_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINALIGN_CACHE", str(tmp_path))
    assert model_folder("smollm2-135m") is None
    with pytest.raises(SettingsError, match=r"run `brainalign models fetch smollm2-135m` .* or use 'stories260k'"):
        locate_model("smollm2-135m")
    with pytest.raises(SettingsError, match=r"run `brainalign models fetch minilm-l6` \(84 MB, once\)$"):
        locate_model("minilm-l6")


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("glove-50d", "static_vectors"),
        ("en-core-web-sm", "word_class"),
        ("imagenet-classes", "conse"),
        ("dinov2-small-derived", "embed_images"),
        ("efficientnet-lite1", "embed_images"),
    ],
)
def test_what_is_no_language_model_says_what_it_is_for(name, use):
    with pytest.raises(SettingsError, match=rf"'{name}' is no language model: its kind is .* it is for {use}; choose"):
        locate_model(name)
    events = pd.DataFrame({"run": "1", "onset": [0.0], "word": ["dog"]})
    with pytest.raises(SettingsError, match=rf"'{name}' is no language model: .*, such as 'stories260k'$"):
        embed_words(events, model=name)


def test_what_is_no_vision_model_says_what_it_is_for():
    said = r"'stories260k' is no vision model: .* it is for embed_words; choose a vision model here, such as 'dinov2-sm"
    with pytest.raises(SettingsError, match=said):
        locate_model("stories260k", sense="pictures")
    with pytest.raises(SettingsError, match=r"'imagenet-classes' is no vision model: its kind is 'class names'"):
        locate_model("imagenet-classes", sense="pictures")
    with pytest.raises(SettingsError, match=r"'glove-50d' is no network with layers: .* it is for static_vectors"):
        untrained("glove-50d")


def test_one_model_is_the_same_wherever_it_lies(stories):
    card, folder = locate_model("stories260k"), locate_model(stories)
    assert (card.name, folder.name) == ("stories260k", "my stories")
    assert (card.revision, card.tokenizer) == (folder.revision, folder.tokenizer)
    assert locate_model(str(stories)) == folder


@pytest.fixture
def read_through(monkeypatch) -> list[str]:
    """The names of the files that are read through to be hashed, in order."""
    read: list[str] = []

    def hashed(path: str | Path) -> str:
        read.append(Path(path).name)
        return hash_file(path)

    for place in ("pieces", "features.models"):
        monkeypatch.setattr(f"brainalign.{place}.hash_file", hashed)
    return read


def keep(name: str, files: Path) -> None:
    """Put files into the cache as those of a card's model."""
    Store().compute_folder(model_card(name).key(), lambda folder: shutil.copytree(files, folder / name))


def test_a_kept_model_is_read_through_once_and_is_the_same_as_its_folder(stories, tmp_path, monkeypatch, read_through):
    monkeypatch.setenv("BRAINALIGN_CACHE", str(tmp_path / "cache"))
    keep("smollm2-135m", stories)
    read_through.clear()
    kept = locate_model("smollm2-135m")
    assert sorted(read_through) == sorted(path.name for path in stories.iterdir())
    plain = locate_model(stories)
    assert (kept.revision, kept.tokenizer) == (plain.revision, plain.tokenizer)


def test_kept_vectors_are_read_through_once_and_are_the_same_as_their_folder(tmp_path, monkeypatch, read_through):
    monkeypatch.setenv("BRAINALIGN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine").mkdir()
    np.save(tmp_path / "mine/vectors.npy", np.eye(2, dtype=np.float32))
    (tmp_path / "mine/words.txt").write_text("the\ncat\n")
    with pytest.raises(SettingsError, match=r"'glove-50d' was not fetched yet: run `.* glove-50d` \(76 MB, once\)$"):
        locate_vectors("glove-50d")
    keep("glove-50d", tmp_path / "mine")
    read_through.clear()
    kept = locate_vectors("glove-50d")
    assert sorted(read_through) == ["vectors.npy", "words.txt"]
    assert kept.revision == locate_vectors(tmp_path / "mine").revision


def test_revision_follows_what_changes_the_numbers(stories):
    before = locate_model(stories)
    edit(stories / "config.json", transformers_version="9.9", use_cache=False)
    assert locate_model(stories).revision == before.revision
    edit(stories / "config.json", rms_norm_eps=1e-6)
    assert locate_model(stories).revision != before.revision
    edit(stories / "config.json", rms_norm_eps=1e-5)
    assert locate_model(stories).revision == before.revision
    weights = bytearray((stories / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (stories / "model.safetensors").write_bytes(weights)
    assert locate_model(stories).revision != before.revision
    assert locate_model(stories).tokenizer == before.tokenizer
    edit(stories / "tokenizer_config.json", bos_token="</s>")
    assert locate_model(stories).tokenizer != before.tokenizer


def test_folders_that_hold_no_model(stories):
    (stories / "model.safetensors").rename(stories / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"no safetensors weights; other formats can run code"):
        locate_model(stories)
    (stories / "pytorch_model.bin").rename(stories / "model.safetensors")
    (stories / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config.json is not JSON"):
        locate_model(stories)
    (stories / "config.json").write_text("[]")
    with pytest.raises(InputError, match=r"config.json is no model configuration: it holds a list"):
        locate_model(stories)
    (stories / "config.json").unlink()
    with pytest.raises(InputError, match=r"is no model: it has no config.json"):
        locate_model(stories)


def on_hub(home: Path, code: str, model: str = "org/tiny") -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter with a Hugging Face cache of its own and no network."""
    there = {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "error"}
    imports = "from brainalign.features.models import *\nfrom brainalign.features.loading import load"
    code = f"{imports}\nmodel = {model!r}\n{code}"
    return subprocess.run([sys.executable, "-c", code], env=os.environ | there, capture_output=True, text=True)


def test_a_hub_id_is_read_from_the_hugging_face_cache(tmp_path):
    repository = tmp_path / "hub" / "models--org--tiny"
    shutil.copytree(shipped("models", "stories260k"), repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    done = on_hub(
        tmp_path,
        "found = locate_model(model); loaded = load(found); network = loaded.network\n"
        "print(found.name, found.place, found.revision, network.config.num_hidden_layers, sep='|')\n"
        "print(settled_config(found)['hidden_size'])",
    )
    assert done.stdout.splitlines() == [f"tiny|org/tiny|org/tiny@{COMMIT}|5", "64"], done.stderr
    assert done.stderr == ""


def test_a_hub_id_that_cannot_be_reached(tmp_path):
    done = on_hub(tmp_path, "locate_model(model)", model="org/absent")
    last = done.stderr.splitlines()[-1]
    assert "SettingsError" in last
    assert "there is no folder 'org/absent', it is not in the Hugging Face cache, and the hub cannot be reached" in last
    assert "run `hf download org/absent` once" in last


def test_what_the_hub_says_is_told():
    from huggingface_hub import errors

    answer: Any = SimpleNamespace(headers={}, request=None)  # which HTTP library answers changes with the version
    gated = errors.GatedRepoError("403", response=answer)
    absent = errors.RepositoryNotFoundError("404", response=answer)
    empty = errors.RemoteEntryNotFoundError("404", response=answer)
    assert "is gated: accept its terms" in hub_problem("a/b", gated)
    assert "no folder and no Hugging Face model 'a/b'" in hub_problem("a/b", absent)
    assert "no transformers model" in hub_problem("a/b", empty)
    unreachable = errors.LocalEntryNotFoundError("offline")
    assert hub_problem("a/b", unreachable).endswith("or use 'stories260k', which came with brainalign")
    assert hub_problem("a/b", unreachable, "pictures").endswith("run `hf download a/b` once with a network")
    assert "could not be found on the Hugging Face hub: odd" in hub_problem("a/b", OSError("odd\nlines"))
