"""A sentence encoder is used as its folder says, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from brainalign.errors import InputError, SettingsError
from brainalign.features.loading import ResolvedModel
from brainalign.features.pooling import POOLS, Recipe, pooled, recipe_of

FLAGS = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False}


def encoder(
    folder: Path,
    pooling: dict[str, Any] | None = None,
    modules: tuple[str, ...] = ("Transformer", "Pooling", "Normalize"),
    package: str = "sentence_transformers.models",
    **files: Any,
) -> ResolvedModel:
    """A folder as sentence-transformers writes it, without weights."""
    folder.mkdir(exist_ok=True)
    steps = [
        {"idx": k, "name": str(k), "path": f"{k}_{kind}" if k else "", "type": f"{package}.{kind}"}
        for k, kind in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(steps))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling/config.json").write_text(json.dumps(FLAGS if pooling is None else pooling))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return ResolvedModel(folder.name, str(folder), "r", "t")


def test_what_a_folder_says_is_read(tmp_path):
    limits = {"max_seq_length": 256, "do_lower_case": True}
    said = encoder(tmp_path / "a", sentence_bert_config=limits)
    assert recipe_of(said) == Recipe("mean", normalise=True, max_tokens=256, lower=True)
    older = encoder(tmp_path / "b", modules=("Transformer", "Pooling"), sentence_roberta_config={"max_seq_length": 128})
    assert recipe_of(older) == Recipe("mean", normalise=False, max_tokens=128)


def test_a_folder_that_says_nothing_asks_for_nothing(tmp_path):
    assert recipe_of(ResolvedModel("plain", str(tmp_path), "r", "t")) == Recipe()


@pytest.mark.parametrize(
    ("config", "pool"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "first"),
        ({"pooling_mode_lasttoken": True, "word_embedding_dimension": 8}, "last"),
        ({"pooling_mode_max_tokens": True, "include_prompt": True}, "max"),
        ({"embedding_dimension": 8, "pooling_mode": "mean"}, "mean"),  # since version 5
        ({"pooling_mode": "cls"}, "first"),
        ({"pooling_mode": ["lasttoken"]}, "last"),
    ],
)
def test_every_way_a_pooling_is_written(config, pool, tmp_path):
    package = "sentence_transformers.sentence_transformer.models"
    assert recipe_of(encoder(tmp_path / "a", config, package=package)).pool == pool


def test_the_default_prompt_is_put_before(tmp_path):
    prompts = {"prompts": {"query": "query: ", "other": "x"}, "default_prompt_name": "query"}
    assert recipe_of(encoder(tmp_path / "a", config_sentence_transformers=prompts)).prompt == "query: "
    silent = prompts | {"default_prompt_name": None}
    assert recipe_of(encoder(tmp_path / "b", config_sentence_transformers=silent)).prompt == ""
    with pytest.raises(SettingsError, match=r"puts 'query: ' before every sentence and leaves it out of the mean"):
        recipe_of(encoder(tmp_path / "c", FLAGS | {"include_prompt": False}, config_sentence_transformers=prompts))


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        (("Transformer", "Pooling", "Dense"), "Transformer, Pooling, Dense"),
        (("Transformer", "Pooling", "Dense", "Normalize"), "Transformer, Pooling, Dense, Normalize"),
        (("StaticEmbedding",), "StaticEmbedding"),
        ((), "nothing"),
    ],
)
def test_what_is_more_than_pooling_is_refused(modules, said, tmp_path):
    with pytest.raises(SettingsError, match=rf"model 'lab' makes its sentence embedding by {said} \(modules.json\)"):
        recipe_of(encoder(tmp_path / "lab", modules=modules))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (FLAGS | {"pooling_mode_max_tokens": True}, "pooling_mode_mean_tokens and pooling_mode_max_tokens"),
        ({"pooling_mode": "weightedmean"}, "pools its tokens by weightedmean"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "pooling_mode_mean_sqrt_len_tokens"),
        ({}, "pools its tokens by nothing"),
    ],
)
def test_another_pooling_is_refused(config, said, tmp_path):
    with pytest.raises(SettingsError, match=rf"{said}: brainalign does one of mean, cls, lasttoken and max"):
        recipe_of(encoder(tmp_path / "a", config))


def test_harmed_files_are_said(tmp_path):
    model = encoder(tmp_path / "a")
    (tmp_path / "a/1_Pooling/config.json").unlink()
    with pytest.raises(InputError, match=r"'a' lacks 1_Pooling/config.json, which its modules.json names"):
        recipe_of(model)
    (tmp_path / "a/modules.json").write_text("{")
    with pytest.raises(InputError, match=r"modules.json of model 'a' is not JSON"):
        recipe_of(model)
    (tmp_path / "a/modules.json").write_text("{}")
    with pytest.raises(InputError, match=r"modules.json of model 'a' is no JSON list: found dict"):
        recipe_of(model)


def test_weights_in_a_folder_of_their_own_are_refused(tmp_path):
    model = encoder(tmp_path / "a")
    steps = json.loads((tmp_path / "a/modules.json").read_text())
    steps[0]["path"] = "0_Transformer"
    (tmp_path / "a/modules.json").write_text(json.dumps(steps))
    with pytest.raises(SettingsError, match="the first in the folder itself"):
        recipe_of(model)


def test_a_model_of_the_hub_is_read_from_the_cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    commit = "c" * 40
    repository = tmp_path / "models--org--enc"
    model = ResolvedModel("enc", "org/enc", f"org/enc@{commit}", commit, commit=commit)
    (repository / "snapshots").mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"how model 'enc' is used cannot be seen: modules.json is not in"):
        recipe_of(model)
    encoder(repository / "snapshots" / commit)
    absent = repository / ".no_exist" / commit  # how the cache remembers what a repository does not have
    absent.mkdir(parents=True)
    for name in ("bert", "roberta", "distilbert", "albert", "xlm-roberta"):
        (absent / f"sentence_{name}_config.json").touch()
    (absent / "config_sentence_transformers.json").touch()
    assert recipe_of(model) == Recipe("mean", normalise=True)


def test_a_model_of_the_hub_that_was_fetched_whole_lacks_what_is_not_there(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    commit = "c" * 40
    model = ResolvedModel("enc", "org/enc", f"org/enc@{commit}", commit, commit=commit)
    folder = tmp_path / "models--org--enc" / "snapshots" / commit
    folder.parent.mkdir(parents=True)
    encoder(folder)
    (folder / "config.json").write_text("{}")
    with pytest.raises(
        SettingsError, match=r"cannot be seen: sentence_bert_config\.json is not in the Hugging Face cache"
    ):
        recipe_of(model)
    (folder / ".gitattributes").touch()
    assert recipe_of(model) == Recipe("mean", normalise=True)


def test_a_path_that_leads_outside_the_folder_is_refused(tmp_path):
    model = encoder(tmp_path / "a")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/config.json").write_text((tmp_path / "a/1_Pooling/config.json").read_text())
    steps = json.loads((tmp_path / "a/modules.json").read_text())
    steps[1]["path"] = "../secret"
    (tmp_path / "a/modules.json").write_text(json.dumps(steps))
    with pytest.raises(InputError, match=r"\.\./secret/config.json leads outside"):
        recipe_of(model)


@given(st.data())
def test_what_is_padded_never_counts(data):
    lengths = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    seed = data.draw(st.integers(0, 2**31))
    longest = max(lengths) + data.draw(st.integers(0, 2))
    states = torch.randn(len(lengths), longest, 3, generator=torch.Generator().manual_seed(seed))
    mask = torch.arange(longest)[None, :] < torch.tensor(lengths)[:, None]
    states[~mask] = float("nan")
    for pool in POOLS:
        expected = []
        for row, length in enumerate(lengths):
            kept = states[row, :length]
            one = {"mean": kept.mean(0), "first": kept[0], "last": kept[-1], "max": kept.max(0).values}
            expected.append(one[pool])
        torch.testing.assert_close(pooled(states, mask, pool), torch.stack(expected))
