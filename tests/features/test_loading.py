"""Loading: float32 for reading, whole or not at all, and without running anyone's code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from brainalign.errors import InputError, SettingsError
from brainalign.features.loading import ResolvedModel, choose_device, load, load_problem
from brainalign.features.models import locate_model
from brainalign.shipped import shipped


@pytest.fixture
def stories(tmp_path) -> Path:
    """A local folder with a copy of the shipped model, to be harmed."""
    return Path(shutil.copytree(shipped("models", "stories260k"), tmp_path / "my stories"))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_load_gives_float32_for_reading_and_leaves_torch_as_it_was():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    tokenizer, network = load(locate_model("stories260k"), device="cpu")
    assert torch.equal(torch.rand(2), expected)
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    assert not network.training
    assert tokenizer.is_fast


def test_weights_that_are_missing_are_not_made_up(stories):
    from safetensors.torch import load_file, save_file

    weights = load_file(stories / "model.safetensors")
    gone = [name for name in weights if "layers.3" in name]
    save_file({k: v for k, v in weights.items() if k not in gone}, stories / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=rf"incomplete: {len(gone)} tensors are missing \(model.layers.3"):
        load(locate_model(stories))


def test_harmed_weights_are_said(stories):
    (stories / "model.safetensors").write_bytes((stories / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(InputError, match=r"model 'my stories' could not be loaded from"):
        load(locate_model(stories))


def test_code_that_comes_with_a_model_is_never_run(stories):
    mark = stories / "ran"
    (stories / "modeling_own.py").write_text(f"open({str(mark)!r}, 'w')\nclass Own: pass\nclass OwnConfig: pass\n")
    auto = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.Own"}
    edit(stories / "config.json", model_type="own", auto_map=auto)
    with pytest.raises(SettingsError, match=r"wants to run code of its own, which brainalign never does"):
        load(locate_model(stories))
    assert not mark.exists()


def test_a_model_of_another_kind_is_said():
    t5 = ResolvedModel("t5", "t5", "r", "t")
    message = "Unrecognized configuration class <T5Config> for this kind of AutoModel: AutoModelForCausalLM.\nModels …"
    assert "'t5' is not a causal language model" in str(load_problem(t5, ValueError(message)))
    assert isinstance(load_problem(t5, ValueError(message)), SettingsError)


def test_devices():
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == "cpu"
    with pytest.raises(SettingsError, match=r"no device 'warp' here: use 'auto' or 'cpu'"):
        choose_device("warp")


def test_without_torch_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("brainalign.features.loading.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"need torch and transformers: run `pip install 'brainalign\[language\]'`"):
        load(locate_model("stories260k"))
