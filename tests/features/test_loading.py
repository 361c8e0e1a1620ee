"""Loading: float32 for reading, whole or not at all, and without running anyone's code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

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


BART = {"vocab_size": 512, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "max_position_embeddings": 64}
BART |= {f"{part}_{of}": n for part in ("encoder", "decoder") for of, n in (("attention_heads", 2), ("ffn_dim", 24))}
KINDS = {
    "llama": (transformers.LlamaConfig(**SMALL), "LlamaForCausalLM"),
    "gpt2": (transformers.GPT2Config(vocab_size=512, n_embd=16, n_layer=2, n_head=2), "GPT2LMHeadModel"),
    "bert": (transformers.BertConfig(**SMALL), "BertForMaskedLM"),
    "t5": (transformers.T5Config(**T5), "T5ForConditionalGeneration"),
    "bart": (transformers.BartConfig(**BART), "BartForConditionalGeneration"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a small model of each of the families above, written once."""
    made = tmp_path_factory.mktemp("whole")
    for family, (config, network) in KINDS.items():
        torch.manual_seed(0)
        written(made / family, getattr(transformers, network)(config))
    return made


def without(folder: Path, start: str) -> list[str]:
    """Take the weights whose names begin so out of a model's file; which they were."""
    weights = load_file(folder / "model.safetensors")
    gone = sorted(name for name in weights if name.startswith(start))
    kept = {name: weight for name, weight in weights.items() if name not in gone}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    return gone


@pytest.mark.parametrize(
    ("family", "start"),
    [
        ("llama", "model.layers.1."),
        ("llama", "model.embed_tokens"),
        ("gpt2", "transformer.h.1."),
        ("bert", "bert.encoder.layer.1."),
        ("t5", "encoder.block.1."),
        ("t5", "encoder.final_layer_norm"),
        ("bart", "model.encoder.layers.1."),
    ],
)
def test_weights_that_are_missing_are_not_made_up(family, start, whole, tmp_path):
    folder = Path(shutil.copytree(whole / family, tmp_path / family))
    gone = without(folder, start)
    said = rf"model '{family}' are incomplete: {len(gone)} tensors are missing \({gone[0]}, …\)"
    with pytest.raises(InputError, match=said):
        load(locate_model(folder), device="cpu")


@pytest.mark.parametrize(
    ("family", "start"),
    [("gpt2", "transformer.wte"), ("bert", "bert.embeddings.word"), ("t5", "shared"), ("bart", "model.shared")],
)
def test_embeddings_that_are_missing_are_not_made_up_where_the_head_shares_them(family, start, whole, tmp_path):
    folder = Path(shutil.copytree(whole / family, tmp_path / family))
    assert len(without(folder, start)) == 1
    with pytest.raises(InputError, match=rf"weights of model '{family}' are incomplete: [2-9] tensors are missing"):
        load(locate_model(folder), device="cpu")


@pytest.mark.parametrize(
    ("family", "start"), [("llama", "lm_head"), ("bert", "cls."), ("t5", "decoder."), ("bart", "model.decoder.layers")]
)
def test_what_reading_does_without_may_be_missing(family, start, whole, tmp_path):
    folder = Path(shutil.copytree(whole / family, tmp_path / family))
    assert without(folder, start)
    loaded, expected = (load(locate_model(place), device="cpu") for place in (folder, whole / family))
    assert not loaded.has_head
    assert expected.has_head
    seen = torch.tensor([[1, 5, 9, 44]])
    with torch.inference_mode():
        states = [model.reader(input_ids=seen).last_hidden_state for model in (loaded, expected)]
    assert torch.equal(*states)


def test_devices():
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == "cpu"
    with pytest.raises(SettingsError, match=r"no device 'warp' here: use 'auto' or 'cpu'"):
        choose_device("warp")


def test_without_torch_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("brainalign.features.loading.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"need torch and transformers: run `pip install 'brainalign\[language\]'`"):
        load(locate_model("stories260k"))
