"""Loading: float32 for reading, whole or not at all, and without running anyone's code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers

from brainalign.errors import InputError, SettingsError
from brainalign.features.loading import choose_device, load
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
    loaded = load(locate_model("stories260k"), device="cpu")
    assert torch.equal(torch.rand(2), expected)
    assert {weight.dtype for weight in loaded.network.parameters()} == {torch.float32}
    assert not loaded.network.training
    assert loaded.tokenizer.is_fast
    assert (loaded.kind, loaded.has_head) == ("causal", True)


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


def test_a_model_of_another_kind_is_said(stories):
    edit(stories / "config.json", model_type="vit", architectures=["ViTModel"])
    with pytest.raises(SettingsError, match=r"is no language model: its architecture, vit, is not one"):
        load(locate_model(stories))


def written(folder: Path, network: object) -> Path:
    """A model folder with these random weights and the tokenizer of stories260k."""
    network.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(shipped("models", "stories260k", name), folder / name)
    return folder


SMALL = {
    "vocab_size": 512,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
T5 = {"vocab_size": 512, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}


@pytest.mark.parametrize(
    ("config", "network", "kind", "has_head"),
    [
        (transformers.BertConfig(**SMALL), "BertForMaskedLM", "masked", True),
        (transformers.BertConfig(**SMALL), "BertModel", "masked", False),
        (transformers.BertConfig(**SMALL, is_decoder=True), "BertLMHeadModel", "causal", True),
        (transformers.GPT2Config(vocab_size=512, n_embd=16, n_layer=2, n_head=2), "GPT2Model", "causal", True),  # tied
        (transformers.T5Config(**T5), "T5ForConditionalGeneration", "encoder-decoder", True),
        (transformers.T5Config(**T5), "T5EncoderModel", "encoder-decoder", False),
    ],
)
def test_what_a_model_was_trained_to_do(config, network, kind, has_head, tmp_path):
    torch.manual_seed(0)
    expected = getattr(transformers, network)(config).eval()
    loaded = load(locate_model(written(tmp_path / "m", expected)), device="cpu")
    assert (loaded.kind, loaded.has_head) == (kind, has_head)
    seen = torch.tensor([[1, 5, 9, 44]])
    bare = expected.get_encoder() if kind == "encoder-decoder" else expected.base_model
    with torch.inference_mode():
        theirs, ours = (reader(input_ids=seen, output_hidden_states=True) for reader in (bare, loaded.reader))
    assert len(ours.hidden_states) == len(theirs.hidden_states) == 3
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(ours.hidden_states, theirs.hidden_states))


def test_devices():
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == "cpu"
    with pytest.raises(SettingsError, match=r"no device 'warp' here: use 'auto' or 'cpu'"):
        choose_device("warp")


def test_without_torch_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("brainalign.features.loading.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"need torch and transformers: run `pip install 'brainalign\[language\]'`"):
        load(locate_model("stories260k"))
