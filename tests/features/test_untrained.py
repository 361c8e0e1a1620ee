"""The untrained twin: the same body, weights that only the seed decides, nobody else's random numbers disturbed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from brainalign.errors import SettingsError
from brainalign.features.loading import load
from brainalign.features.models import locate_model
from brainalign.features.untrained import untrained
from brainalign.features.words import embed_words
from brainalign.shipped import shipped

WORDS = pd.DataFrame(
    {"run": "1", "onset": np.arange(9) * 0.5, "word": ["the", "cat", "sat", "on", "the", "mat", "and", "was", "happy"]}
)


def test_the_seed_alone_decides():
    one, again, other = (
        embed_words(WORDS, model=untrained("stories260k", seed=seed), device="cpu").array() for seed in (1, 1, 2)
    )
    assert one.tobytes() == again.tobytes()
    assert abs(np.corrcoef(one[:, -64:].ravel(), other[:, -64:].ravel())[0, 1]) < 0.2


def test_same_body_other_weights():
    twin = untrained("stories260k", seed=4)
    original, drawn_anew = load(locate_model("stories260k"), "cpu"), load(twin, "cpu")
    trained, random = original.network, drawn_anew.network
    text = "Once upon a time"
    assert original.tokenizer(text).input_ids == drawn_anew.tokenizer(text).input_ids
    shapes = [{name: weight.shape for name, weight in network.named_parameters()} for network in (trained, random)]
    assert shapes[0] == shapes[1]
    drawn = random.model.layers[2].self_attn.q_proj.weight
    assert float(drawn.detach().std()) == pytest.approx(random.config.initializer_range, rel=0.05)
    assert {weight.dtype for weight in random.parameters()} == {torch.float32}
    assert not random.training


def test_nobody_elses_random_numbers_are_disturbed():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load(untrained("stories260k", seed=0), device="cpu")
    assert torch.equal(torch.rand(3), expected)


def test_it_says_what_it_is(tmp_path):
    twin = untrained("stories260k", seed=3)
    assert twin.name == "stories260k-untrained-3"
    assert twin.revision.startswith("untrained:")
    assert twin.revision.endswith(":seed 3")
    signal = embed_words(WORDS, model=twin, layers=[2])
    assert signal.bands == ["stories260k-untrained-3.2"]
    assert signal.attrs["features"]["stories260k-untrained-3"]["revision"] == twin.revision
    folder = shutil.copytree(shipped("models", "stories260k"), tmp_path / "model")
    assert untrained(folder, seed=3).revision == twin.revision
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 4}))
    assert untrained(folder, seed=3).revision != twin.revision


@pytest.mark.parametrize("seed", [-1, 0.5, None, True])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(SettingsError, match="seed is a whole number, 0 or more; found"):
        untrained("stories260k", seed=seed)
