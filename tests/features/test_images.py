"""Pictures through `embed_images`: as a plain forward pass has them, pooled and reduced as said, found again."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers as t
from PIL import Image

import brainalign.features.images as images_module
import brainalign.features.seeing as seeing_module
from brainalign.errors import InputError, SettingsError
from brainalign.features.images import embed_images
from brainalign.features.models import locate_model
from brainalign.features.modules import vision_module
from brainalign.features.pictures import pictures_of
from brainalign.features.reducing import draw, incremental_pca, random_projection
from brainalign.features.untrained import untrained
from brainalign.store import Store

SIDE, PATCH, WIDTH = 32, 8, 24


def some_pictures(n, side=SIDE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A DINOv2 with random weights."""
    torch.manual_seed(0)
    config = t.Dinov2Config(
        hidden_size=WIDTH, num_hidden_layers=3, num_attention_heads=2, image_size=SIDE, patch_size=PATCH
    )
    made = tmp_path_factory.mktemp("models") / "tiny"
    t.Dinov2Model(config).save_pretrained(made)
    t.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def by_hand(folder):
    """The hidden states of four pictures, (4, 17, WIDTH) each, from transformers."""
    network = t.Dinov2Model.from_pretrained(folder).eval()
    given = t.AutoImageProcessor.from_pretrained(folder, backend="pil")(list(some_pictures(4)), return_tensors="pt")
    with torch.inference_mode():
        return [state.numpy() for state in network(**given, output_hidden_states=True).hidden_states]


def conv_net():
    torch.manual_seed(1)
    first, second = torch.nn.Conv2d(3, 4, 3, stride=2), torch.nn.Conv2d(4, 6, 3, stride=2)
    return torch.nn.Sequential(first, torch.nn.ReLU(inplace=True), second, torch.nn.Flatten()).eval()


def close(a, b):
    return np.linalg.norm(a - b) <= 1e-6 * np.linalg.norm(b)


def test_all_layers_are_the_hidden_states_in_order(folder, by_hand):
    found = embed_images(some_pictures(4), folder)
    assert found.bands == [f"tiny.{k}" for k in range(4)]
    for k, state in enumerate(by_hand):
        assert close(found.select(band=f"tiny.{k}").values, state[:, 1:].mean(1))
    assert found.columns.groupby("band")["layer"].first().tolist() == [0, 1, 2, 3]
    about = found.attrs["features"]["tiny"]
    assert about["preprocessing"]["size"] == {"height": SIDE, "width": SIDE}
    assert (about["pool"], about["size"], about["revision"]) == ("mean", None, locate_model(folder).revision)


def test_what_is_pooled_is_what_its_name_says(folder, by_hand):
    state, pictures = by_hand[2], some_pictures(4)
    maps = state[:, 1:].reshape(4, 2, 2, 2, 2, WIDTH)  # rows of tiles, rows within, columns of tiles, columns within
    wanted = {
        "class": state[:, 0],
        "tokens": state.reshape(4, -1),
        "grid": maps.mean((2, 4)).reshape(4, -1),
    }
    for pool, values in wanted.items():
        assert close(embed_images(pictures, folder, [2], pool=pool, grid=2).values, values)


def test_more_pictures_than_a_batch_are_what_each_alone_is(folder):
    pictures = some_pictures(seeing_module.BATCH + 3)
    together = embed_images(pictures, folder, [1, 3]).values
    assert all(close(together[k], embed_images(pictures[[k]], folder, [1, 3]).values[0]) for k in (0, 15, 16, 18))


def test_a_picture_that_is_shown_twice_is_seen_once(folder, monkeypatch):
    seen = []
    see = seeing_module.see
    monkeypatch.setattr(seeing_module, "see", lambda model, batch, *a: seen.append(len(batch)) or see(model, batch, *a))
    pictures = some_pictures(3)
    found = embed_images(pictures[[2, 0, 2, 1, 1]], folder, [3])
    assert sum(seen) - seen.count(1) == 3  # it is tried out on one
    assert close(found.values, embed_images(pictures, folder, [3]).values[[2, 0, 2, 1, 1]])


def test_modules_by_name_give_what_they_give_by_hand_bit_for_bit(folder):
    pictures = some_pictures(3)
    found = embed_images(pictures, folder, ["encoder.layer.1.mlp", "layernorm"], pool="tokens")
    network = t.Dinov2Model.from_pretrained(folder).eval()
    given = t.AutoImageProcessor.from_pretrained(folder, backend="pil")(list(pictures), return_tensors="pt")
    kept = {}
    network.encoder.layer[1].mlp.register_forward_hook(lambda module, given, output: kept.update(mlp=output.clone()))
    with torch.inference_mode():
        last = network(**given).last_hidden_state
    assert found.bands == ["tiny.encoder.layer.1.mlp", "tiny.layernorm"]
    assert np.array_equal(found.values, torch.cat([kept["mlp"].flatten(1), last.flatten(1)], 1).numpy())
    assert found.attrs["features"]["tiny"]["modules"] == ["encoder.layer.1.mlp", "layernorm"]


def test_a_network_of_ones_own_gives_what_it_gives_by_hand_bit_for_bit():
    network, pictures = conv_net(), some_pictures(3)
    mine = vision_module(network, ["0", "1", "3"], size=SIDE, name="mine", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    pixels = (torch.tensor(pictures).double() / 255 - torch.tensor([0.5, 0.4, 0.3])) / torch.tensor([0.2, 0.3, 0.4])
    pixels = mine_pixels = pixels.permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        first = network[0](mine_pixels)
        by_hand = [first.mean((2, 3)), first.relu().mean((2, 3)), network(pixels)]
    found = embed_images(pictures, mine)
    assert found.bands == ["mine.0", "mine.1", "mine.2"]
    assert all(close(found.select(band=f"mine.{k}").values, value.numpy()) for k, value in enumerate(by_hand))
    whole = embed_images(pictures, mine, [1], pool="tokens").values
    assert close(whole, first.relu().permute(0, 2, 3, 1).flatten(1).numpy())


def test_a_network_of_ones_own_is_prepared_for_as_said():
    network = torch.nn.Sequential(torch.nn.Identity()).eval()
    picture = some_pictures(1, side=40)
    plain = {"mean": (0, 0, 0), "std": (1, 1, 1), "name": "mine"}
    cut = embed_images(picture, vision_module(network, ["0"], size=20, resize=40, **plain), pool="tokens")
    assert np.allclose(cut.values, picture[:, 10:30, 10:30].reshape(1, -1) / 255, atol=1e-6)
    squeezed = embed_images(picture, vision_module(network, ["0"], size=20, **plain), pool="tokens", size=10)
    small = np.asarray(Image.fromarray(picture[0]).resize((10, 10), Image.Resampling.BICUBIC))
    assert np.allclose(squeezed.values, small.reshape(1, -1) / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": 3}, "network is a torch module; found a int"),
        ({"network": torch.nn.Sequential(torch.nn.Dropout())}, "in training mode.*call network.eval"),
        ({"layers": []}, "layers are different names of modules, at least one"),
        ({"layers": 3}, "layers are different names of modules, at least one; found 3"),
        ({"layers": [3]}, "layers are different names of modules"),
        ({"class_token": 0}, "class_token=0 is one of the n_special tokens.*found n_special=0"),
        ({"n_special": 1.5}, "n_special how many tokens stand before the patches; found None and 1.5"),
        ({"layers": ["0", "0"]}, "layers are different names of modules"),
        ({"layers": ["9"]}, "has no module '9'"),
        ({"size": 0}, "size and resize are whole numbers of pixels; found 0"),
        ({"size": 32, "resize": 16}, "a picture of 16 pixels has no middle of 32"),
        ({"std": (1, 1, 0)}, "mean and std are three numbers each, std above 0"),
        ({"mean": (1, 1)}, "mean and std are three numbers each"),
        ({"mean": 3}, "mean and std are three numbers each"),
        ({"interpolation": "lanczos"}, "interpolation is one of 'nearest', 'bilinear', 'bicubic'; found 'lanczos'"),
    ],
)
def test_a_network_of_ones_own_that_cannot_be_used_is_said(change, message):
    given = {"network": conv_net(), "layers": ["1"], "name": "mine", **change}
    with pytest.raises(SettingsError, match=message):
        vision_module(given.pop("network"), given.pop("layers"), **given)


def test_a_network_of_ones_own_is_another_when_its_weights_are():
    network = conv_net()
    one = vision_module(network, ["1"], name="mine").revision
    assert vision_module(network, ["1"], name="mine").revision == one
    with torch.no_grad():
        network[0].weight[0, 0, 0, 0] += 1e-3
    changed = vision_module(network, ["1"], name="mine")
    assert changed.revision != one
    network.register_buffer("table", torch.zeros(2), persistent=False)
    with_table = vision_module(network, ["1"], name="mine")
    network.table += 1
    revisions = [vision_module(network, ["1"], name="mine", n_special=n).revision for n in (0, 1)]
    assert len({one, changed.revision, with_table.revision, *revisions}) == 5


def test_a_network_that_changed_since_it_was_taken_is_refused():
    network, pictures = conv_net(), some_pictures(1)
    mine = vision_module(network, ["1"], size=SIDE, name="mine")
    network.train()
    with pytest.raises(SettingsError, match=r"in training mode.*call network\.eval"):
        embed_images(pictures, mine)
    network.eval()
    embed_images(pictures, mine)
    with torch.no_grad():
        network[0].bias += 1
    with pytest.raises(
        SettingsError, match=r"of 'mine' was changed after vision_module\(\).*call vision_module\(\) again"
    ):
        embed_images(pictures, mine)


def test_a_picture_that_is_too_thin_is_refused():
    mine = vision_module(conv_net(), ["1"], size=SIDE, name="mine")
    with pytest.raises(InputError, match=r"a picture of 90000 × 1 pixels is too thin: with a shorter side of 32"):
        embed_images([np.zeros((1, 90_000, 3), np.uint8)], mine)


class Tokens(torch.nn.Module):
    """Patches of 8 × 8 pixels, a class token and a register before them."""

    def __init__(self):
        super().__init__()
        self.patches = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 8, 8), torch.nn.Flatten(2))
        self.turned, self.whole = torch.nn.Identity(), torch.nn.Identity()

    def forward(self, pixels):
        tokens = self.turned(self.patches(pixels).mT)
        return self.whole(torch.cat([torch.full_like(tokens[:, :2], 7.0), tokens], 1))


def test_tokens_before_the_patches_are_left_out_where_they_are():
    torch.manual_seed(0)
    network, pictures = Tokens().eval(), some_pictures(2)
    mine = vision_module(network, ["turned", "whole"], size=SIDE, name="mine", class_token=0, n_special=2)
    found = embed_images(pictures, mine)
    turned = embed_images(pictures, mine, ["turned"], pool="tokens").values.reshape(2, 16, 6)
    assert close(found.select(band="mine.0").values, turned.mean(1))
    assert close(found.select(band="mine.1").values, turned.mean(1))
    assert (embed_images(pictures, mine, [1], pool="class").values == 7).all()
    with pytest.raises(
        SettingsError, match=r"'mine' has no class token in a layer of \(16, 6\), which is of patches alone"
    ):
        embed_images(pictures, mine, [0], pool="class")
    unsaid = vision_module(network, ["whole"], size=SIDE, name="mine")
    assert not close(embed_images(pictures, unsaid).values, turned.mean(1))


def test_a_module_that_gives_patches_alone_keeps_the_first(folder):
    pictures, names = some_pictures(2), ["embeddings.patch_embeddings", "embeddings"]
    patches = embed_images(pictures, folder, names[:1], pool="tokens").values.reshape(2, 16, WIDTH)
    assert close(embed_images(pictures, folder, names[:1]).values, patches.mean(1))
    with pytest.raises(SettingsError, match=r"'tiny' has no class token in a layer of \(16, 24\)"):
        embed_images(pictures, folder, names, pool="class")


def test_layers_are_reduced_before_they_are_kept(folder, by_hand):
    pictures = some_pictures(4)
    found = embed_images(pictures, folder, pool="tokens", reduce=random_projection(10, seed=3))
    step = draw(random_projection(10, seed=3), by_hand[0][0].size)
    for k, state in enumerate(by_hand):
        assert close(found.select(band=f"tiny.{k}").values, step.apply(state.reshape(4, -1)))
    about = found.attrs["features"]["tiny"]
    assert about["reduce"] == {"method": "random projection", "n": 10, "seed": 3, "fit_on": None}
    assert len(about["kept"]) == 4
    assert all(0.3 < share < 3 for share in about["kept"])


def test_components_keep_the_variance_they_say_and_where_they_were_found(folder, tmp_path):
    pictures, store = some_pictures(40), Store(tmp_path)
    whole = embed_images(pictures, folder, [2]).values
    found = embed_images(pictures, folder, [2], reduce=incremental_pca(5), store=store)
    (kept,) = found.attrs["features"]["tiny"]["kept"]
    power = np.sort(np.linalg.svd(whole - whole.mean(0), compute_uv=False) ** 2)[::-1]
    assert kept == pytest.approx(power[:5].sum() / power.sum(), abs=0.03)  # found part by part
    assert found.attrs["notes"] == [
        "tiny: its components were found in all pictures, those that are held out among them; fit_on= names others"
    ]
    others = pictures_of(some_pictures(40, seed=1))
    elsewhere = embed_images(pictures, folder, [2], reduce=incremental_pca(5, fit_on=others), store=store)
    assert "notes" not in elsewhere.attrs
    assert elsewhere.attrs["features"]["tiny"]["kept"][0] < kept


def test_what_is_kept_is_found_again_without_the_model(folder, tmp_path, monkeypatch):
    store, pictures = Store(tmp_path), some_pictures(4)
    first = embed_images(pictures, folder, store=store)
    monkeypatch.setattr(seeing_module, "load_vision", None)
    again = embed_images(pictures, folder, store=store, name="other", device="cpu")
    assert np.array_equal(again.values, first.values)
    assert again.bands == [f"other.{k}" for k in range(4)]
    some = embed_images(pictures, folder, [3, 1], store=store)
    assert some.bands == ["tiny.3", "tiny.1"]
    assert np.array_equal(some.values, np.hstack([first.select(band=f"tiny.{k}").values for k in (3, 1)]))
    assert some.columns["layer"].unique().tolist() == [3, 1]


CHANGES = {
    "pictures": {"images": some_pictures(4, seed=9)},
    "order": {"images": some_pictures(4)[::-1]},
    "size": {"size": 16},
    "pool": {"pool": "class"},
    "grid": {"pool": "grid"},
    "layers": {"layers": ["layernorm"]},
    "reduce": {"reduce": random_projection(5)},
    "seed": {"reduce": random_projection(5, seed=1)},
    "fit_on": {"reduce": incremental_pca(5, fit_on=pictures_of(some_pictures(9)))},
    "order of fit_on": {"reduce": incremental_pca(5, fit_on=pictures_of(some_pictures(9)[::-1]))},
    "dtype": {"dtype": "bfloat16"},
}


def test_whatever_changes_the_numbers_is_in_the_key(folder, tmp_path, monkeypatch):
    keys = []
    monkeypatch.setattr(images_module, "describe", lambda p, begin, key, *a, **k: keys.append(piece(p, key)) or stop())
    piece = images_module.piece_of

    def stop():
        raise InterruptedError

    def key_with(**change):
        given = {"images": some_pictures(4), "model": folder, **change}
        with pytest.raises(InterruptedError):
            embed_images(**given)
        return keys[-1]

    plain = key_with()
    assert key_with(name="other", device="cpu", unreadable="censor") == plain
    assert key_with(model=untrained(folder, seed=0)) != plain
    # another preprocessing beside the same weights
    other = tmp_path / "tiny"
    t.Dinov2Model.from_pretrained(folder).save_pretrained(other)
    t.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}, image_mean=[0.1] * 3).save_pretrained(other)
    assert locate_model(other).revision == locate_model(folder).revision
    assert key_with(model=other) != plain
    for change in CHANGES.values():
        key_with(**change)
    # the packages that take part, where they do
    (other / "config.json").write_text('{"model_type": "efficientnet-lite", "variant": "efficientnet-lite0"}')
    key_with(model=other)
    releases = {"scikit-learn": "0.1.0", "efficientnet-lite-pytorch": "9.0"}
    real = images_module.versions
    monkeypatch.setattr(
        images_module, "versions", lambda *names: {n: releases.get(n, v) for n, v in real(*names).items()}
    )
    assert key_with() == plain
    key_with(model=other)
    key_with(**CHANGES["reduce"])
    assert len(set(keys)) == len(keys) - 2


def test_another_size_is_seen_and_stands_beside_the_numbers(folder):
    found = embed_images(some_pictures(2, side=64), folder, [1], pool="tokens", size=64)
    assert found.shape == (2, 65 * WIDTH)
    assert found.attrs["features"]["tiny"]["size"] == 64


def test_an_untrained_twin_is_drawn_by_its_seed(folder):
    pictures = some_pictures(2)
    zero, again, one = (embed_images(pictures, untrained(folder, seed=seed), [3]).values for seed in (0, 0, 1))
    assert np.array_equal(zero, again)
    assert not np.allclose(zero, one)


def test_half_precision_is_near(folder, by_hand):
    found = embed_images(some_pictures(4), folder, [3], dtype="bfloat16")
    wanted = by_hand[3][:, 1:].mean(1)
    assert found.values.dtype == np.float32
    assert 1e-5 < np.linalg.norm(found.values - wanted) / np.linalg.norm(wanted) < 0.05


def test_an_unreadable_picture_is_named_or_censored_and_the_others_are_kept(folder, tmp_path, monkeypatch):
    paths = []
    for k, picture in enumerate(some_pictures(5)):
        paths.append(tmp_path / f"{k}.png")
        Image.fromarray(picture).save(paths[-1])
    paths[3].write_bytes(paths[3].read_bytes()[:200])
    with pytest.raises(InputError, match=r"'3\.png' cannot be read to its end"):
        embed_images(paths, folder, [2])
    found = embed_images(paths, folder, [2], unreadable="censor")
    assert found.use.tolist() == [True, True, True, False, True]
    assert np.isnan(found.values[3]).all()
    assert close(found.values[[0, 1, 2, 4]], embed_images(some_pictures(5), folder, [2]).values[[0, 1, 2, 4]])
    assert found.attrs["left_out"][0]["stimulus"] == "3.png"
    monkeypatch.setattr(seeing_module, "SAMPLE", 1)  # what is looked at first
    paths = [paths[3], *paths[:3], paths[4]]
    reduced = embed_images(paths, folder, [2], unreadable="censor", reduce=incremental_pca(3))
    assert reduced.use.tolist() == [False, True, True, True, True]


def test_what_was_computed_before_a_bad_picture_is_not_computed_again(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("brainalign.features.describing.PART_PICTURES", 2)
    pictures, store = pictures_of(some_pictures(6)), Store(tmp_path)
    read = pictures.read

    def broken(rows):
        for row in rows:
            if row == 5:
                raise InputError("picture 5 cannot be read")
            yield next(read([row]))

    with pytest.raises(InputError, match="picture 5 cannot be read"):
        embed_images(replace(pictures, read=broken), folder, [1], store=store)
    seen = []
    see = seeing_module.see
    monkeypatch.setattr(seeing_module, "see", lambda model, batch, *a: seen.append(len(batch)) or see(model, batch, *a))
    found = embed_images(pictures, folder, [1], store=store)
    assert seen[-1] == 2
    assert sum(seen) - seen.count(1) == 2
    assert close(found.values, embed_images(some_pictures(6), folder, [1]).values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": [9]}, "model 'tiny' has no layer 9: it has 4, from 0"),
        ({"layers": []}, "layers is 'all', a list of different numbers such as"),
        ({"layers": "best"}, "layers is 'all'.*found 'best'"),
        ({"layers": [1, "layernorm"]}, "layers is 'all'"),
        ({"layers": ["layernom"]}, r"has no module 'layernom'; did you mean 'layernorm'\?"),
        ({"layers": None}, "layers=None is the vector that an image–text model compares.*and 'tiny' is none"),
        ({"pool": "max"}, "pool is one of 'mean', 'class', 'grid', 'tokens', 'last'; found 'max'"),
        ({"pool": "last"}, "pool='last' is for vision–language models, and 'tiny' is none"),
        ({"pool": "grid", "grid": 5}, "has 4 × 4 places, fewer than grid=5: choose 4 at most"),
        ({"grid": 0}, "grid is how many rows and columns of places stay, 1 or more; found 0"),
        ({"reduce": 50}, r"reduce is random_projection\(n\), incremental_pca\(n\) or None; found 50"),
        ({"reduce": incremental_pca(9)}, "9 components cannot be found in 2 pictures"),
        ({"prompt": "What?"}, "model 'tiny' reads no prompt"),
        ({"prompt": ""}, "prompt is what a vision–language model is asked"),
        ({"dtype": "int8"}, "dtype is one of 'float32'"),
        ({"size": 30}, "size is a multiple of 8, the patch of model 'tiny': 24 or 32; found 30"),
        ({"unreadable": "skip"}, "unreadable is one of 'error', 'censor'; found 'skip'"),
        ({"model": "stories260k"}, "'stories260k' is no vision model"),
        ({"model": vision_module(conv_net(), ["0"], size=SIDE, name="m"), "pool": "class"}, "'m' has no class token"),
    ],
)
def test_what_cannot_be_asked_is_said(folder, change, message):
    with pytest.raises((SettingsError, InputError), match=message):
        embed_images(**{"images": some_pictures(2), "model": folder, **change})


def test_pictures_of_other_shapes_are_said_where_every_token_is_kept(tmp_path, monkeypatch):
    config = t.ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic")
    t.ResNetModel(config).save_pretrained(tmp_path)
    t.ViTImageProcessorPil(do_resize=False).save_pretrained(tmp_path)
    pictures = [some_pictures(1, side)[0] for side in (64, 32)]
    with pytest.raises(SettingsError, match="the pictures do not become one batch for model"):
        embed_images(pictures, tmp_path)
    monkeypatch.setattr(seeing_module, "BATCH", 1)
    assert embed_images(pictures, tmp_path).shape == (2, 16)
    with pytest.raises(SettingsError, match=r"makes 256 numbers of one picture and 1,024 of another.*use pool='mean'"):
        embed_images(pictures, tmp_path, [0], pool="tokens")
