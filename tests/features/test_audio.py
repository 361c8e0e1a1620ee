"""Speech models in look-back windows: what a plain pass over each window gives, and nothing of what is to come."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from brainalign.errors import InputError, SettingsError
from brainalign.features import audio, hearing, listening
from brainalign.features.audio import embed_audio
from brainalign.features.untrained import untrained
from brainalign.features.words import embed_words
from brainalign.store import Store

RATE = 16_000
NOISE = (np.random.default_rng(0).normal(size=int(3.3 * RATE)) / 10).astype(np.float32)
KINDS = ["wav2vec2", "hubert", "wavlm", "whisper"]


@pytest.fixture(scope="module")
def speech_model(tmp_path_factory) -> Callable[[str], Path]:
    """A folder with a small random model of a kind and its own feature extractor."""
    root = tmp_path_factory.mktemp("speech")

    def folder(kind: str) -> Path:
        if not (root / kind).is_dir():
            network, extractor = made(kind)
            network.save_pretrained(root / kind)
            extractor.save_pretrained(root / kind)
        return root / kind

    return folder


def made(kind: str) -> tuple[Any, Any]:
    import torch
    import transformers as t

    torch.manual_seed(0)
    if kind == "whisper":
        small = {f"{part}_{what}": n for part in ("encoder", "decoder") for what, n in (("layers", 2), ("ffn_dim", 24))}
        heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_source_positions": 100}
        tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
        config = t.WhisperConfig(d_model=16, num_mel_bins=16, vocab_size=40, **small, **heads, **tokens)
        return t.WhisperModel(config), t.WhisperFeatureExtractor(feature_size=16, chunk_length=2)
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    small |= {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
    kinds = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert", "wavlm": "WavLM"}
    config = getattr(t, f"{kinds[kind]}Config")(**small)
    return getattr(t, f"{kinds[kind]}Model")(config), t.Wav2Vec2FeatureExtractor(do_normalize=True)


@cache
def plain_model(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoFeatureExtractor, AutoModel

    network = AutoModel.from_pretrained(folder).eval()
    whole = AutoFeatureExtractor.from_pretrained(folder)
    return network.get_encoder() if network.config.is_encoder_decoder else network, whole


def states_alone(folder: Path, sound: np.ndarray) -> list[np.ndarray]:
    """Every layer's frames (n_frames, width) of one stretch heard alone, by transformers' plain AutoModel."""
    import torch

    network, extractor = plain_model(folder)
    given = extractor(sound, sampling_rate=RATE, return_tensors="pt")
    with torch.inference_mode():
        out = network(**{k: v for k, v in given.items() if k != "attention_mask"}, output_hidden_states=True)
    return [layer[0].numpy() for layer in out.hidden_states]


def furthest(a: np.ndarray, b: np.ndarray) -> float:
    """The largest ‖Δ‖/‖h‖ over samples."""
    return float((np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).max())


@pytest.mark.parametrize("kind", KINDS)
def test_each_sample_is_what_one_pass_over_its_own_window_gives(kind, speech_model):
    folder = speech_model(kind)
    ours = embed_audio((NOISE, RATE), folder, context_s=1.5, step_s=0.5, device="cpu")
    assert ours.bands == [f"{kind}.{layer}" for layer in range(3)]
    assert ours.samples["time"].tolist() == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    for row, t in enumerate(ours.samples["time"]):
        start = max(0.0, t - 1.5)
        alone = states_alone(folder, NOISE[int(start * RATE) : int(t * RATE)])
        # wav2vec 2.0: a frame per 320 samples, made of 400; Whisper: a frame every 320
        middle = (start * RATE + 320 * np.arange(len(alone[0])) + (0 if kind == "whisper" else 199.5)) / RATE
        kept = (middle >= t - 0.5) & (middle < t)
        assert kept.sum() in (24, 25)
        for layer, states in enumerate(alone):
            band = ours.select(band=f"{kind}.{layer}").array()
            assert furthest(band[row : row + 1], states[kept].mean(0, keepdims=True)) < 1e-5


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper"])
def test_alone_or_many_together_is_the_same(kind, speech_model, monkeypatch):
    ask = {"context_s": 1.0, "step_s": 0.1, "device": "cpu"}
    sizes = []
    plain = hearing.states_of
    monkeypatch.setattr(hearing, "states_of", lambda model, some: sizes.append(len(some)) or plain(model, some))
    together = embed_audio((NOISE, RATE), speech_model(kind), **ask).array()
    assert max(sizes) > 1
    monkeypatch.setattr("brainalign.features.batches.BATCH_TOKENS", 1)
    sizes.clear()
    assert furthest(together, embed_audio((NOISE, RATE), speech_model(kind), **ask).array()) < 1e-5
    assert set(sizes) == {1}


@pytest.mark.parametrize("kind", ["hubert", "whisper"])
def test_nothing_of_what_is_to_come_is_known(kind, speech_model):
    other = NOISE.copy()
    other[int(1.7 * RATE) :] = 0.05
    ask = {"context_s": 1.0, "step_s": 0.25, "device": "cpu"}
    ours, theirs = (embed_audio((sound, RATE), speech_model(kind), **ask) for sound in (NOISE, other))
    before = ours.samples["time"].to_numpy() <= 1.7
    np.testing.assert_array_equal(ours.values[before], theirs.values[before])
    assert (np.abs(ours.values[~before] - theirs.values[~before]).max(axis=1) > 1e-3).all()


def test_with_some_sound_ahead_windows_are_shared(speech_model):
    folder, times = speech_model("wav2vec2"), []
    ours = embed_audio((NOISE, RATE), folder, context_s=2.0, step_s=0.5, ahead_s=0.5, layers=[2], device="cpu")
    for row, end in enumerate([1.0, 1.0, 2.0, 2.0, 3.0, 3.0]):  # two samples to a window
        start, t = max(0.0, end - 2.0), 0.5 * (row + 1)
        states = states_alone(folder, NOISE[int(start * RATE) : int(end * RATE)])[2]
        middle = (start * RATE + 320 * np.arange(len(states)) + 199.5) / RATE
        kept = (middle >= t - 0.5) & (middle < t)
        times.append(t)
        assert furthest(ours.values[row : row + 1], states[kept].mean(0, keepdims=True)) < 1e-5
    assert ours.samples["time"].tolist() == times


def test_the_last_frame_instead_of_the_mean(speech_model):
    folder = speech_model("wav2vec2")
    ours = embed_audio((NOISE, RATE), folder, context_s=1.0, step_s=0.5, pool="last", layers=[2, 0], device="cpu")
    alone = states_alone(folder, NOISE[: RATE // 2])
    np.testing.assert_allclose(ours.values[0], np.concatenate([alone[2][-1], alone[0][-1]]), atol=1e-5)
    assert ours.bands == ["wav2vec2.2", "wav2vec2.0"]


def test_sounds_lie_where_they_were_heard_and_each_is_heard_once(speech_model, tmp_path, monkeypatch):
    import soundfile

    soundfile.write(tmp_path / "a.wav", NOISE[:RATE], RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", NOISE[RATE : 2 * RATE], RATE, subtype="FLOAT")
    heard = {"run": ["1", "1", "2"], "onset": [2.0, 10.0, 4.0], "stim_file": ["a.wav", "b.wav", "a.wav"]}
    seconds = []
    plain = hearing.states_of
    monkeypatch.setattr(hearing, "states_of", lambda m, some: seconds.extend(len(s) for s in some) or plain(m, some))
    ask = {"context_s": 1.0, "step_s": 0.5, "device": "cpu"}
    ours = embed_audio(pd.DataFrame(heard), speech_model("hubert"), root=tmp_path, **ask)
    assert ours.samples["time"].tolist() == [2.5, 3.0, 10.5, 11.0, 4.5, 5.0]
    assert ours.samples["stimulus_time"].tolist() == [0.5, 1.0] * 3
    assert ours.samples["run"].tolist() == ["1"] * 4 + ["2"] * 2
    np.testing.assert_array_equal(ours.values[:2], ours.values[4:])
    assert len(seconds) == 4
    alone = embed_audio((NOISE[RATE : 2 * RATE], RATE), speech_model("hubert"), **ask)  # nothing of a.wav is in b.wav
    assert furthest(ours.values[2:4], alone.array()) < 1e-5
    assert set(ours.attrs["inputs"]) == {"a.wav", "b.wav"}


def test_another_rate_is_resampled_and_too_low_a_one_is_said(speech_model):
    seconds = np.arange(2 * 48_000) / 48_000
    tune = sum(np.sin(2 * np.pi * f * seconds) for f in (200, 450, 1_130)) / 10
    ask = {"context_s": 1.0, "step_s": 0.5, "device": "cpu"}
    high = embed_audio((tune, 48_000), speech_model("wav2vec2"), **ask)
    own = embed_audio((tune[::3], RATE), speech_model("wav2vec2"), **ask)
    low = embed_audio((tune[::6], 8_000), speech_model("wav2vec2"), **ask)
    assert furthest(high.array()[1:-1], own.array()[1:-1]) < 1e-2
    assert furthest(low.array()[1:-1], own.array()[1:-1]) < 1e-2
    assert "notes" not in high.attrs
    (note,) = low.attrs["notes"]
    assert note.startswith("wav2vec2: sound (8,000): fewer samples per second than the model hears, 16,000")


def test_silence_gives_finite_states_and_is_said(speech_model):
    for kind in ("wav2vec2", "whisper"):
        ours = embed_audio((np.zeros(RATE), RATE), speech_model(kind), context_s=1.0, device="cpu")
        assert np.isfinite(ours.values).all()
        assert ours.attrs["notes"] == ["sound: silent throughout"]


def test_what_is_kept_is_found_again_for_the_same_question_only(speech_model, tmp_path, monkeypatch):
    store, folder = Store(tmp_path / "store"), tmp_path / "model"
    sound = NOISE[:RATE]
    shutil.copytree(speech_model("wav2vec2"), folder)
    ask = {"context_s": 1.0, "step_s": 0.5, "device": "cpu", "store": store}
    first = embed_audio((sound, RATE), folder, **ask)
    with monkeypatch.context() as patch:
        patch.setattr(audio, "load_speech", lambda *_, **__: pytest.fail("it was loaded again"))
        again = embed_audio({"7": (sound, RATE)}, folder, name="other", **ask)
        some = embed_audio((sound, RATE), folder, layers=[2, 1], **ask)
    np.testing.assert_array_equal(again.values, first.values)
    assert again.runs == ["7"]
    assert some.bands == ["model.2", "model.1"]
    two = [first.select(band=band).array() for band in some.bands]
    np.testing.assert_array_equal(some.values, np.concatenate(two, axis=1))
    changes: list[dict[str, Any]] = [{"pool": "last"}, {"context_s": 0.5}, {"step_s": 0.25}, {"ahead_s": 0.5}]
    changes += [{"dtype": "bfloat16"}]
    for change in changes:
        embed_audio((sound, RATE), folder, **(ask | change))
    embed_audio((sound[::-1], RATE), folder, **ask)
    embed_audio((sound, RATE), untrained(folder, seed=1), **ask)
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | {"do_normalize": False}))
    plain = embed_audio((sound, RATE), folder, **ask)
    assert furthest(plain.array(), first.array()) > 1e-6
    assert len(store.pieces()) == 1 + len(changes) + 3


def test_what_was_heard_of_a_batch_is_kept(speech_model, tmp_path, monkeypatch):
    """A crash costs one part; a sound that was heard on the way to another batch is not heard again."""
    store, folder = Store(tmp_path), speech_model("wav2vec2")
    monkeypatch.setattr(listening, "PART_BYTES", 4 * 48 * 2)  # two samples
    sounds = {run: (NOISE[int(run) * 100 :][:RATE], RATE) for run in "123"}
    ask = {"context_s": 1.0, "step_s": 0.25, "device": "cpu"}
    whole = embed_audio(sounds, folder, **ask)
    heard: list[float] = []
    plain = hearing.states_of

    def dies(model: Any, some: Any) -> Any:
        heard.append(len(some))
        if sum(heard) > 9:
            raise KeyboardInterrupt
        return plain(model, some)

    monkeypatch.setattr(hearing, "states_of", dies)
    with pytest.raises(KeyboardInterrupt):
        embed_audio(sounds, folder, store=store, **ask)
    assert len(store.pieces()) == 4
    heard.clear()
    monkeypatch.setattr(hearing, "states_of", lambda model, some: heard.append(len(some)) or plain(model, some))
    fewer = embed_audio({run: sounds[run] for run in "13"}, folder, store=store, **ask)  # without the second
    assert sum(heard) == 4
    np.testing.assert_array_equal(fewer.values, whole.select(run=["1", "3"]).values)


def test_an_untrained_twin_has_other_weights_always_the_same(speech_model):
    ask = {"context_s": 1.0, "step_s": 0.5, "device": "cpu"}
    for kind in ("hubert", "whisper"):
        trained = embed_audio((NOISE, RATE), speech_model(kind), **ask).array()
        twins = [embed_audio((NOISE, RATE), untrained(speech_model(kind), seed=s), **ask).array() for s in (1, 1, 2)]
        np.testing.assert_array_equal(twins[0], twins[1])
        assert furthest(twins[0], twins[2]) > 1e-2
        assert furthest(twins[0], trained) > 1e-2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step_s": 0.01}, r"step_s=0.01 is too short for model 'wav2vec2', whose frames are made of 0.025 s"),
        ({"step_s": 2.0, "context_s": 1.0}, r"step_s=2 is longer than context_s=1"),
        ({"ahead_s": 0.8, "context_s": 1.0}, r"ahead_s=0.8 is more than half of context_s=1"),
        ({"context_s": -1.0}, r"context_s is a positive number; found -1.0"),
        ({"layers": [3]}, r"model 'wav2vec2' has no layer 3: it has 3, from 0"),
        ({"layers": []}, r"layers is 'all' or a list of different numbers, such as \[6\]; found \[\]"),
        ({"pool": "max"}, r"pool is one of 'mean', 'last'; found 'max'"),
        ({"dtype": "int8"}, r"dtype is one of 'float32', 'float16', 'bfloat16'; found 'int8'"),
    ],
)
def test_a_wrong_setting_says_what_to_do(settings, message, speech_model):
    with pytest.raises(SettingsError, match=message):
        embed_audio((NOISE, RATE), speech_model("wav2vec2"), device="cpu", **settings)


def test_whisper_hears_no_more_than_it_can(speech_model):
    with pytest.raises(SettingsError, match=r"context_s=8 is more than model 'whisper' can hear, 2 s"):
        embed_audio((NOISE, RATE), speech_model("whisper"), device="cpu")


def test_a_sound_shorter_than_a_step_is_refused(speech_model):
    with pytest.raises(InputError, match=r"sound is too short: it was heard for 0.250 s, and a sample needs 0.5 s"):
        embed_audio((NOISE[: RATE // 4], RATE), speech_model("wav2vec2"), device="cpu")


def test_other_models_are_named(speech_model, tmp_path):
    with pytest.raises(SettingsError, match=r"'stories260k' does not say how sound is prepared for it"):
        embed_audio((NOISE, RATE), "stories260k")
    with pytest.raises(SettingsError, match=r"'hubert' is no language model: .*; it hears: ba.embed_audio"):
        embed_words(pd.DataFrame({"run": "1", "onset": [0.0], "word": ["so"]}), speech_model("hubert"))
    with pytest.raises(SettingsError, match=r"'whisper' is no language model: .*; it hears: ba.embed_audio"):
        embed_words(pd.DataFrame({"run": "1", "onset": [0.0], "word": ["so"]}), speech_model("whisper"))
    from transformers import BertConfig, BertModel, Wav2Vec2FeatureExtractor

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    BertModel(BertConfig(vocab_size=9, **small)).save_pretrained(tmp_path / "bert")
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "bert")
    with pytest.raises(SettingsError, match=r"model 'bert' is no speech model: its architecture, bert, does not hear"):
        embed_audio((NOISE, RATE), tmp_path / "bert")


def test_missing_weights_are_refused_but_for_those_of_training(speech_model, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "cut"
    shutil.copytree(speech_model("wav2vec2"), folder)
    tensors = load_file(folder / "model.safetensors")
    whole = embed_audio((NOISE, RATE), folder, context_s=1.0, device="cpu").array()
    del tensors["masked_spec_embed"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    np.testing.assert_array_equal(embed_audio((NOISE, RATE), folder, context_s=1.0, device="cpu").array(), whole)
    del tensors["encoder.layers.1.attention.k_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"the weights of model 'cut' are incomplete: 1 tensors are missing"):
        embed_audio((NOISE, RATE), folder, context_s=1.0, device="cpu")
