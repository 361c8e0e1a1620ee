"""What models find surprising means something: they know the English they were trained on, and brains agree."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainalign.features.models import is_here
from brainalign.features.untrained import untrained
from brainalign.features.words import embed_words

DATA = Path(os.environ.get("BRAINALIGN_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
NOT_FETCHED = pytest.mark.skipif(
    not is_here("smollm2-135m"), reason="smollm2-135m was not fetched: brainalign models fetch smollm2-135m"
)
MODELS = ("stories260k", "babyllama-char105", "smollm2-135m")

NARRATIVE = (
    "The old man walked down to the river every morning before the town was awake. He carried a tin cup and a small "
    "wooden stool, and he sat under the same tree until the sun came over the hills. Nobody knew what he was waiting "
    "for. Some people said that his brother had left in a boat many years ago and had promised to come back. Others "
    "thought that he only liked the quiet. One day in spring a girl from the school asked him if she could sit with "
    "him. He moved a little to one side and poured some tea into the lid of his bottle. They watched the water for a "
    "long time without saying a word. When the bell rang she stood up, thanked him, and ran back along the path. The "
    "next morning there were two cups beside the stool, and the old man was smiling."
)
SCIENCE = (
    "When light enters the eye it is absorbed by pigments in the photoreceptors of the retina, which convert it into "
    "electrical signals. These signals pass through several layers of neurons before they leave the eye along the "
    "optic nerve. Each ganglion cell responds to a small region of the visual field, called its receptive field, and "
    "many of them compare the brightness of the center with that of the surround. In the primary visual cortex, cells "
    "respond to edges of a particular orientation. Higher areas of the temporal lobe respond to more complex shapes, "
    "including faces and scenes. Lesions of these areas produce specific deficits of recognition, while the ability "
    "to detect motion remains intact. The hierarchy is not strictly serial, because feedback connections are as "
    "numerous as the feedforward ones."
)
TODDLER = (
    "Once upon a time, there was a little boy named Tim. Tim had a small red car. He loved to play with his car all "
    'day. One day, Tim went to the park with his mom. He saw a big dog. The dog was very sad. Tim asked the dog, "Why '
    'are you sad?" The dog said, "I lost my ball. I can not find it." Tim wanted to help the dog. They looked and '
    'looked. They looked under the slide and behind the tree. Then Tim saw the ball in the grass. "Look, here it is!" '
    "he said. The dog was so happy. He jumped up and down. Tim and the dog played with the ball and the red car. At "
    "the end of the day, Tim went home. He told his mom about his new friend. Tim was happy and he slept well."
)


def bits_per_character(model: object, text: str) -> float:
    """Models differ in tokenizers: their surprisal is shared out over the characters."""
    words = text.split()
    table = pd.DataFrame({"run": "1", "onset": np.arange(len(words)) / 2, "word": words})
    bands = ["surprisal"]
    return float(embed_words(table, model=model, context=250, bands=bands, device="cpu").values.sum() / len(text))


@NOT_FETCHED
def test_models_know_the_english_they_were_trained_on():
    """Measured when they were chosen: 1.45, 3.04, 0.83 (stories), 1.53, 3.12, 0.98 (letters), 0.94, 1.00, 0.99."""
    stories, letters, large = ([bits_per_character(m, text) for text in (NARRATIVE, SCIENCE, TODDLER)] for m in MODELS)
    assert large[0] + 0.5 < stories[0] < letters[0] < 2.0
    assert large[1] + 1.5 < stories[1] < letters[1] < 4.0
    assert stories[2] < letters[2] < large[2] < 1.0  # whoever was trained on toddlers' stories alone knows them best
    for model, trained in zip(MODELS, (stories, letters, large)):
        chance = bits_per_character(untrained(model, seed=0), NARRATIVE)
        assert 2.9 < chance < 7.0
        assert chance > trained[0] + 2.0


@pytest.mark.skipif(not (DATA / "ucl205-erp").is_dir(), reason="the sentences of ucl205-erp are not here")
@NOT_FETCHED
def test_what_surprises_the_model_surprises_the_brain():
    """N400 against surprisal, 1,481 words (de Varda et al. 2023: GPT-2 −.278); a small model of stories less."""
    table = pd.read_csv(DATA / "ucl205-erp" / "all_measures.csv", keep_default_na=False)
    table = table.sort_values(["sent_id", "context_length"], kind="stable")
    place = table.groupby("sent_id").cumcount().astype(float)
    words = pd.DataFrame({"run": table["sent_id"].astype(str), "onset": place, "word": table["word"]})
    kept = ((table["is_start_end"] == 0) & (table["is_multitoken_GPT2"] == 0)).to_numpy()
    assert kept.sum() == 1_481
    amplitude = table["N400"].to_numpy(float)[kept]
    found = {}
    for model in ("smollm2-135m", "stories260k"):
        surprisal = embed_words(words, model=model, context=64, bands=["surprisal"], device="cpu").values[kept, 0]
        found[model] = float(np.corrcoef(surprisal, amplitude)[0, 1])
    assert found["smollm2-135m"] <= -0.20
    assert found["smollm2-135m"] < found["stories260k"] < 0
