"""Vision–language models: a picture and a prompt, read together, and which token is whose."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as t

from brainalign.errors import InputError, SettingsError
from brainalign.features.layout import Layout, States
from brainalign.features.models import locate_model
from brainalign.features.preprocessing import preprocessing_of
from brainalign.features.viewing import check_asked, pooled
from brainalign.features.vision import load_vision, see

SIDE = 32
COMMON = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
SEEN = {**COMMON, "image_size": SIDE, "patch_size": 8}
CHAT = (
    "{% for m in messages %}{{ m['role'] }}: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}"
)
PROMPT = "what is it?"


def words(**special: str) -> t.PreTrainedTokenizerFast:
    """A token for each letter, and those that stand for pictures."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    known = ["<pad>", "<s>", "</s>", "<unk>", *" abcdefghijklmnopqrstuvwxyz?:\n"]
    made = Tokenizer(models.WordLevel({letter: k for k, letter in enumerate(known)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return t.PreTrainedTokenizerFast(tokenizer_object=made, extra_special_tokens=special, **names)


def llava() -> tuple[t.PreTrainedModel, t.ProcessorMixin]:
    """As LLaVA: the patches of CLIP without its class token, 16 for each picture."""
    tokenizer = words(image_token="<image>")
    image = tokenizer.convert_tokens_to_ids("<image>")
    text = t.LlamaConfig(**COMMON, vocab_size=len(tokenizer))
    config = t.LlavaConfig(
        vision_config=t.CLIPVisionConfig(**SEEN), text_config=text, image_token_index=image, vision_feature_layer=-1
    )
    images = t.CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    processor = t.LlavaProcessor(
        images,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT,
    )
    return t.LlavaForConditionalGeneration(config), processor


def idefics() -> tuple[t.PreTrainedModel, t.ProcessorMixin]:
    """As Idefics3 and SmolVLM: a picture in as many tiles as its shape asks for, and whole, 4 tokens each."""
    around = {"fake_image_token": "<fake_token_around_image>", "global_image_tag": "<global-img>"}
    tokenizer = words(image_token="<image>", end_of_utterance_token="<end_of_utterance>", **around)
    images = t.Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": SIDE})
    processor = t.Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=CHAT)
    config = t.Idefics3Config(
        vision_config=SEEN,
        text_config=t.LlamaConfig(**COMMON, vocab_size=len(processor.tokenizer), pad_token_id=0),
        image_token_id=processor.tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=0,
    )
    return t.Idefics3ForConditionalGeneration(config), processor


MAKERS = {"llava": llava, "idefics": idefics}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("prompted")
    for name, make in MAKERS.items():
        torch.manual_seed(0)
        for part in make():
            part.save_pretrained(made / name)
    return made


def pictures(*shapes: tuple[int, int]) -> list[np.ndarray]:
    return [np.random.default_rng(k).integers(0, 256, (*shape, 3), np.uint8) for k, shape in enumerate(shapes)]


@pytest.mark.parametrize("name", MAKERS)
def test_states_are_those_of_the_language_model(name, folders):
    shown = pictures((30, 40))
    model = load_vision(locate_model(folders / name), device="cpu")
    states = see(model, shown, PROMPT)
    network = t.AutoModelForImageTextToText.from_pretrained(folders / name).eval()
    processor = t.AutoProcessor.from_pretrained(folders / name, backend="pil")
    given = processor(images=shown, text=[f"user: <image>{PROMPT}"], return_tensors="pt")
    with torch.inference_mode():
        theirs = network(**given, output_hidden_states=True).hidden_states
    assert model.kind == "vision-language"
    assert len(states.layers) == len(theirs) == 3
    assert all(torch.equal(a, b) for a, b in zip(states.layers, theirs))
    assert torch.equal(states.image, given["input_ids"] == network.config.image_token_id)
    assert torch.equal(states.prompt, ~states.image)
    assert states.grids == (None,) * 3
    assert int(states.image.sum()) == {"llava": 16, "idefics": 4 * 5}[name]  # 2 × 2 tiles, and the whole picture


@pytest.mark.parametrize("name", MAKERS)
def test_a_picture_alone_gives_what_it_gives_among_others(name, folders):
    shown = pictures((30, 40), (20, 60), (32, 32))
    model = load_vision(locate_model(folders / name), device="cpu")
    together = see(model, shown, PROMPT)
    for k, picture in enumerate(shown):
        alone = see(model, [picture], PROMPT)
        there = (together.image | together.prompt)[k]
        n_tokens = int(there.sum())
        assert n_tokens == alone.layers[0].shape[1]
        assert there[:n_tokens].all()
        for a, b in zip(together.layers, alone.layers):
            assert torch.allclose(a[k, :n_tokens], b[0], atol=1e-5)


def test_the_prompt_matters_only_after_the_picture(folders):
    model = load_vision(locate_model(folders / "llava"), device="cpu")
    one, other = (see(model, pictures((30, 40)), prompt) for prompt in ("what is it?", "what is on"))
    assert torch.allclose(one.layers[-1][one.image], other.layers[-1][other.image], atol=1e-6)
    assert (one.layers[-1][0, -1] - other.layers[-1][0, -1]).abs().max() > 1e-3


def harmed(folder: Path, to: Path, change: Callable[[Path], None]) -> Path:
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    change(to)
    return to


def test_without_a_chat_the_prompt_says_where_the_picture_goes(folders, tmp_path):
    bare = harmed(folders / "llava", tmp_path / "bare", lambda folder: (folder / "chat_template.jinja").unlink())
    assert preprocessing_of(locate_model(bare)) != preprocessing_of(locate_model(folders / "llava"))
    model = load_vision(locate_model(bare), device="cpu")
    states = see(model, pictures((30, 40)), f"<image>{PROMPT}")
    assert states.layers[0].shape[1] == 16 + len(PROMPT)
    with pytest.raises(
        SettingsError, match=r"model 'bare' has no chat template, so the prompt itself .* '<image>' into"
    ):
        see(model, pictures((30, 40)), PROMPT)


def test_the_mean_over_the_picture_is_of_any_size_a_half_can_hold():
    state = torch.full((1, 1000, 2), 300.0, dtype=torch.float16)  # its sum is more than 65,504
    image = torch.ones(1, 1000, dtype=torch.bool)
    states = States((state,), (None,), (Layout(),), image=image, prompt=~image)
    asked = check_asked([0], "mean", 1, None, PROMPT, "float16")
    assert pooled(states, 0, asked, "tiny").tolist() == [[300.0, 300.0]]


def test_what_a_vision_language_model_does_not_take(folders):
    found = locate_model(folders / "llava")
    model = load_vision(found, device="cpu")
    with pytest.raises(SettingsError, match=r"model 'llava' reads a picture together with what is asked about it: say"):
        see(model, pictures((30, 40)))
    with pytest.raises(SettingsError, match=r"modules are not for vision–language models such as 'llava'"):
        see(model, pictures((30, 40)), PROMPT, names=["model"])
    with pytest.raises(InputError, match=r"a picture of 90000 × 1 pixels is too thin: with a shorter side of 32, as"):
        see(model, [np.zeros((1, 90_000, 3), np.uint8)], PROMPT)
    with pytest.raises(SettingsError, match=r"size is not for vision–language models such as 'llava': leave it out"):
        load_vision(found, device="cpu", size=48)


def test_a_processor_that_cannot_be_made_here_is_said(folders, tmp_path):
    def as_qwen(folder: Path) -> None:
        (folder / "processor_config.json").unlink()
        (folder / "preprocessor_config.json").write_text(
            json.dumps({"image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2VLProcessor"})
        )

    folder = harmed(folders / "llava", tmp_path / "films", as_qwen)
    with pytest.raises(
        SettingsError, match=r"what prepares pictures for model 'films' needs a package that is not here"
    ):
        load_vision(locate_model(folder), device="cpu")
