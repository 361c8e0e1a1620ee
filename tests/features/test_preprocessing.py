"""What a model sees is what its own processor makes of a picture, bit for bit; all that decides it is in the key."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers as t
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from brainalign.errors import InputError, SettingsError
from brainalign.features.loading import ResolvedModel
from brainalign.features.preprocessing import load_preprocessor, preprocessing_of
from brainalign.store import key_of

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
STANDARD = {"image_mean": MEAN, "image_std": STD}
CROPPED = {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}, "resample": 3, **STANDARD}
PROCESSORS = {
    "cropped": t.BitImageProcessorPil(**CROPPED),  # DINOv2
    "clip": t.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
    "squeezed": t.ViTImageProcessorPil(size={"height": 32, "width": 32}),
    "siglip": t.SiglipImageProcessorPil(size={"height": 32, "width": 32}),
    "convnext": t.ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=0.8, resample=3, **STANDARD),
}


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def model_in(folder) -> ResolvedModel:
    return ResolvedModel("tiny", str(folder), "revision", "tokenizer")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = tmp_path_factory.mktemp("processors")
    for name, processor in PROCESSORS.items():
        processor.save_pretrained(made / name)
    return made


@pytest.mark.parametrize("name", PROCESSORS)
def test_pixels_are_those_of_the_models_own_processor(name, folders):
    pictures = [picture(*shape) for shape in [(50, 70), (32, 32), (3, 40), (1, 1), (3, 3)]]
    prepare = load_preprocessor(preprocessing_of(model_in(folders / name)))
    theirs = PROCESSORS[name](pictures, input_data_format="channels_last", return_tensors="pt")["pixel_values"]
    ours = prepare(pictures)
    assert ours.dtype == torch.float32
    assert ours.shape == (5, 3, 32, 32)
    assert torch.equal(ours, theirs)


def by_hand(shown: np.ndarray, size: tuple[int, int], way: Image.Resampling, mean, std) -> np.ndarray:
    """Resized with Pillow, the middle 32 × 32, standardised."""
    resized = np.asarray(Image.fromarray(shown).resize(size, way), float)
    top, left = (resized.shape[0] - 32) // 2, (resized.shape[1] - 32) // 2
    return ((resized[top : top + 32, left : left + 32] / 255 - mean) / std).transpose(2, 0, 1)


def test_they_are_what_the_settings_say(folders):
    shown = picture(60, 90)
    cases = {
        ("cropped", None): by_hand(shown, (60, 40), Image.Resampling.BICUBIC, MEAN, STD),
        ("cropped", 32): by_hand(shown, (48, 32), Image.Resampling.BICUBIC, MEAN, STD),  # no margin is cut off
        ("convnext", None): by_hand(shown, (60, 40), Image.Resampling.BICUBIC, MEAN, STD),
        ("convnext", 32): by_hand(shown, (48, 32), Image.Resampling.BICUBIC, MEAN, STD),
        ("squeezed", None): by_hand(shown, (32, 32), Image.Resampling.BILINEAR, 0.5, 0.5),
    }
    for (name, size), expected in cases.items():
        prepare = load_preprocessor(preprocessing_of(model_in(folders / name), size))
        np.testing.assert_allclose(prepare([shown])[0].numpy(), expected, atol=2e-6, err_msg=f"{name} {size}")


@settings(max_examples=15)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(8, 60), st.sampled_from(sorted(PROCESSORS)))
def test_whatever_the_shape_it_becomes_the_size_that_was_asked_for(folders, height, width, size, name):
    prepare = load_preprocessor(preprocessing_of(model_in(folders / name), size))
    assert prepare([picture(height, width)]).shape == (1, 3, size, size)


def test_all_that_decides_pixels_is_in_the_key(folders, tmp_path):
    def key(folder, size=None):
        return key_of(**preprocessing_of(model_in(folder), size).describe())

    keys = {key(folders / name, size) for name in PROCESSORS for size in (None, 32, 48)}
    assert len(keys) == 3 * len(PROCESSORS)
    text = (folders / "cropped/preprocessor_config.json").read_text()
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(json.loads(text) | {"processor_class": "Other"}))
    assert key(tmp_path) == key(folders / "cropped")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(json.loads(text) | {"resample": 2}))
    assert key(tmp_path) != key(folders / "cropped")
    # what chooses the class is part of it, whichever name it goes by; the older one beside the newer does nothing
    named = json.loads(text)
    kind = named.pop("image_processor_type")
    for older in (
        {"feature_extractor_type": "CLIPFeatureExtractor"},
        {"feature_extractor_type": "ViTFeatureExtractor"},
    ):
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(named | older))
        keys.add(key(tmp_path))
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(named | older | {"image_processor_type": kind}))
        assert key(tmp_path) == key(folders / "cropped")
    assert len(keys) == 3 * len(PROCESSORS) + 2
    # as folders have it where one file holds all that prepares what a model is given
    whole = {"processor_class": "CLIPProcessor", "image_processor": json.loads(text)}
    (tmp_path / "processor_config.json").write_text(json.dumps(whole))
    assert key(tmp_path) == key(folders / "cropped")


def test_a_folder_that_does_not_say_how_pictures_are_prepared(tmp_path):
    with pytest.raises(
        SettingsError, match=r"model 'tiny' does not say how .* no preprocessor_config.json. Save the mod"
    ):
        preprocessing_of(model_in(tmp_path))
    (tmp_path / "preprocessor_config.json").write_text("[]")
    with pytest.raises(InputError, match=r"preprocessor_config.json of model 'tiny' is no JSON dict: found list"):
        preprocessing_of(model_in(tmp_path))
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "NoSuchProcessor"}')
    with pytest.raises(InputError, match=r"model 'tiny' could not be loaded from .*image processor"):
        load_preprocessor(preprocessing_of(model_in(tmp_path)))


def test_what_cannot_be_prepared(folders, tmp_path):
    prepare = load_preprocessor(preprocessing_of(model_in(folders / "cropped")))
    for shown in (picture(4, 4).astype(float), picture(4, 4)[..., 0], picture(4, 4)[:0], [[1, 2, 3]]):
        with pytest.raises(InputError, match=r"a picture is an array \(height, width, 3\) of uint8; found"):
            prepare([shown])
    with pytest.raises(
        InputError, match=r"a picture of 90000 × 1 pixels is too thin: with a shorter side of 40, as the"
    ):
        prepare([picture(1, 90_000)])
    t.ViTImageProcessorPil(do_resize=False).save_pretrained(tmp_path)
    prepare = load_preprocessor(preprocessing_of(model_in(tmp_path)))
    with pytest.raises(
        SettingsError, match=r"pictures do not become one batch for model 'tiny'.*choose a size, such as"
    ):
        prepare([picture(4, 4), picture(5, 5)])
    t.CLIPImageProcessorPil(do_center_crop=False, size={"shortest_edge": 32}).save_pretrained(tmp_path)
    with pytest.raises(SettingsError, match=r"cannot be made 48 × 48: .* gives 50 × 48; leave size out"):
        load_preprocessor(preprocessing_of(model_in(tmp_path), 48))


def test_what_needs_a_package_that_is_not_here_is_said(folders, monkeypatch):
    monkeypatch.setattr("brainalign.errors.find_spec", lambda name: None)
    with pytest.raises(
        SettingsError, match=r"preparing pictures for model 'tiny' needs PIL: run `pip install 'brainalig"
    ):
        load_preprocessor(preprocessing_of(model_in(folders / "clip")))
