"""Controls of sentence embeddings: labels, word classes, single words, on the same samples."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainalign.errors import InputError, SettingsError
from brainalign.features.captions import WORD, bag_of_words, keep_words, multi_hot, split_words
from brainalign.features.models import is_here
from brainalign.features.sentences import embed_sentences
from brainalign.features.static import static_vectors
from brainalign.features.tagging import CARD
from brainalign.features.texts import average_texts
from brainalign.signals import join

DATA = Path(os.environ.get("BRAINALIGN_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
KNOWN = {
    "dog": "NOUN", "dogs": "NOUN", "ball": "NOUN", "beach": "NOUN", "runs": "VERB", "chasing": "VERB", "is": "AUX",
    "sandy": "ADJ", ".": "PUNCT", ",": "PUNCT",
}  # fmt: skip
CAPTIONS = pd.DataFrame(
    {
        "image": [7, 7, 3, 3],
        "caption": ["A dog is chasing a ball.", "The dog runs.", "Sandy beach, dogs", "Sandy and sandy ."],
    }
)


def tagger(words):
    return [KNOWN.get(word.lower(), "X") for word in words]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't! It isn't a dog's ball; CAN'T", "Do n't ! It is n't a dog 's ball ; CA N'T"),
        ("They’re well-known, aren’t they?", "They ’re well-known , are n’t they ?"),
        ("3.5 km, 1,000 m and 10-year-old café", "3.5 km , 1,000 m and 10-year-old café"),
        ("o'clock 'quoted' rock'n'roll", "o'clock ' quoted ' rock'n'roll"),
        ("a_b ... 🙂", "a _ b . . . 🙂"),
        ("Ein Hund läuft über Gras", "Ein Hund läuft über Gras"),
        ("", ""),
    ],
)
def test_texts_are_cut_into_words_and_marks(text, words):
    assert WORD.findall(text) == words.split()


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=40) | st.text(alphabet="an't 's_.-’ʼ1,", max_size=30))
def test_no_character_is_lost(text):
    assert "".join(WORD.findall(text)) == "".join(text.split())


def test_labels_become_columns():
    table = pd.DataFrame({"image": [5, 6, 6], "cats": [["dog", "dog", "ball"], [], {"ball"}]})
    shown = multi_hot(table, "cats")
    assert shown.columns.to_dict("list") == {"band": ["cats", "cats"], "unit": ["ball", "dog"]}
    assert shown.values.tolist() == [[1, 1], [0, 0], [1, 0]]
    assert shown.samples["stimulus"].tolist() == ["ball, dog", "", "ball"]
    mean = multi_hot(table, "cats", average="image", name="labels")
    assert mean.values.tolist() == [[1, 1], [0.5, 0]]
    assert mean.samples["stimulus"].tolist() == ["5", "6"]
    seen = multi_hot(table.iloc[:1], "cats", labels=["sky", "dog", "ball"])
    assert seen.values.tolist() == [[0, 1, 1]]


def test_labels_that_cannot_be_read():
    table = pd.DataFrame({"cats": [["dog"], ["cow"]], "text": ["['dog']", "['cow']"]})
    with pytest.raises(InputError, match=r"no column 'cat'; did you mean 'cats'\?"):
        multi_hot(table, "cat")
    with pytest.raises(InputError, match=r"row 0 has \"\['dog'\]\" under 'text': .* read with ast.literal_eval"):
        multi_hot(table, "text")
    with pytest.raises(InputError, match=r"label 'cow' of column 'cats' is not among labels; did you mean 'cows'\?"):
        multi_hot(table, "cats", labels=["dog", "cows"])
    with pytest.raises(InputError, match="table is empty"):
        multi_hot(table.iloc[:0], "cats")


def test_words_of_a_class_are_kept_in_order():
    nouns = keep_words(CAPTIONS, "caption", instead="something", tagger=tagger)
    assert nouns["caption"].tolist() == ["dog ball", "dog", "beach dogs", "something"]
    assert nouns["image"].tolist() == CAPTIONS["image"].tolist()
    verbs = keep_words(CAPTIONS["caption"].tolist(), classes=("VERB", "AUX"), instead="", tagger=tagger)
    assert verbs["sentence"].tolist() == ["is chasing", "runs", "", ""]
    assert CAPTIONS["caption"].tolist()[1] == "The dog runs."  # the table itself is not touched


def test_each_different_sentence_is_tagged_once():
    seen = []
    keep_words(["A dog", "dogs", "A dog"], tagger=lambda words: seen.append(words) or tagger(words))
    assert seen == [["A", "dog"], ["dogs"]]


def test_sentences_come_apart_into_words():
    words = split_words(CAPTIONS, "caption")
    assert words.columns.tolist() == ["image", "row", "word"]
    assert " ".join(words["word"]) == "A dog is chasing a ball The dog runs Sandy beach dogs Sandy and sandy"
    assert words["row"].tolist() == [0] * 6 + [1] * 3 + [2] * 3 + [3] * 3
    assert words["image"].tolist() == [7] * 9 + [3] * 6
    timed = split_words(CAPTIONS.assign(run="1", onset=[0.0, 0.0, 4.0, 4.0]), "caption", ("VERB",), "is", tagger=tagger)
    assert timed[["onset", "word"]].values.tolist() == [[0.0, "chasing"], [0.0, "runs"], [4.0, "is"], [4.0, "is"]]


def test_what_stands_in_for_missing_words_can_be_asked_of_a_picture():
    verbs = split_words(CAPTIONS, "caption", ("VERB", "AUX"), instead="is", per="image", tagger=tagger)
    assert verbs[["image", "word"]].values.tolist() == [[7, "is"], [7, "chasing"], [7, "runs"], [3, "is"]]
    nouns = split_words(CAPTIONS, "caption", ("NOUN",), per="image", tagger=tagger)  # the last caption has none, its
    assert nouns["word"].tolist() == ["dog", "ball", "dog", "beach", "dogs"]  # picture has: nothing stands in


def test_what_has_no_such_word():
    with pytest.raises(
        InputError, match=r"1 of 4 sentences have no word of class NOUN, the first is row 3 \('Sandy and"
    ):
        keep_words(CAPTIONS, "caption", tagger=tagger)
    with pytest.raises(InputError, match=r"2 of 4 sentences have no word of class VERB or AUX, the first is row 2"):
        split_words(CAPTIONS, "caption", ("VERB", "AUX"), tagger=tagger)
    with pytest.raises(InputError, match=r"1 of 2 values of 'image' have no word of class VERB, the first is row 2"):
        split_words(CAPTIONS, "caption", ("VERB",), per="image", tagger=tagger)
    with pytest.raises(InputError, match=r"1 of 2 sentences have no word, the first is row 1 \('\.\.\. _'\): say what"):
        split_words(["dog", "... _"])
    with pytest.raises(InputError, match=r"no column 'imge'; did you mean 'image'\?"):
        split_words(CAPTIONS, "caption", per="imge")
    with pytest.raises(SettingsError, match=r"no word class 'NOUNS'; did you mean 'NOUN'\?: name universal classes"):
        keep_words(CAPTIONS, "caption", classes=("NOUNS",), tagger=tagger)
    with pytest.raises(SettingsError, match="classes is empty: name universal classes"):
        keep_words(CAPTIONS, "caption", classes=(), tagger=tagger)


def test_a_bag_holds_words_in_no_order():
    bag = bag_of_words(CAPTIONS, "caption")
    assert " ".join(bag.columns["unit"]) == "a and ball beach chasing dog dogs is runs sandy the"
    assert set(bag.columns["band"]) == {"words"}
    assert bag.select(unit="dog").values.ravel().tolist() == [1, 1, 0, 0]
    shuffled = bag_of_words(
        [" ".join(reversed(text.split())) for text in CAPTIONS["caption"]], words=bag.columns["unit"]
    )
    np.testing.assert_array_equal(shuffled.values, bag.values)
    common = bag_of_words(CAPTIONS, "caption", at_least=2, average="image")
    assert common.columns["unit"].tolist() == ["dog", "sandy"]
    assert common.values.tolist() == [[1, 0], [0, 1]]  # "Sandy and sandy" counts once
    with pytest.raises(InputError, match="no word is in at least 9 of 4 sentences"):
        bag_of_words(CAPTIONS, "caption", at_least=9)


def test_words_of_new_sentences_go_to_the_columns_of_the_old():
    seen = bag_of_words(CAPTIONS, "caption", at_least=2)
    new = bag_of_words(["a sandy cat", ""], words=seen.columns["unit"])
    assert new.columns.equals(seen.columns)
    assert new.values.tolist() == [[0, 1], [0, 0]]


def test_all_controls_lie_on_the_same_samples():
    labels = pd.DataFrame({"image": [7, 3], "cats": [["dog"], ["dog", "beach"]]})
    how = {"model": "stories260k", "average": "image"}
    apart = split_words(CAPTIONS, "caption")
    static = static_vectors(apart.assign(run="1", onset=np.arange(len(apart))), model="stories260k")
    nouns = keep_words(CAPTIONS, "caption", instead="something", tagger=tagger)
    spaces = join(
        embed_sentences(CAPTIONS, column="caption", name="sentence", **how),
        embed_sentences(nouns, column="caption", name="nouns", **how),
        embed_sentences(apart, column="word", name="apart", **how),
        average_texts(static, of=apart["image"]),
        bag_of_words(CAPTIONS, "caption", average="image"),
        multi_hot(labels, "cats"),
    )
    assert spaces.bands == ["sentence", "nouns", "apart", "stories260k-static", "words", "cats"]
    assert spaces.samples["stimulus"].tolist() == ["7", "3"]


def test_words_read_apart_know_nothing_of_their_order():
    texts = ["the dog sees the cat", "the cat sees the dog"]
    table = pd.DataFrame({"sentence": texts})
    whole = embed_sentences(table, model="stories260k").values
    apart = embed_sentences(split_words(table), model="stories260k", column="word", average="row").values
    assert np.abs(whole[0] - whole[1]).max() > 0.1
    np.testing.assert_allclose(apart[0], apart[1], atol=1e-5)
    each = embed_sentences(texts[0].split(), model="stories260k").values
    np.testing.assert_allclose(apart[0], each.mean(0), atol=1e-5)


@pytest.mark.skipif(not is_here(CARD), reason=f"{CARD} was not fetched: brainalign models fetch {CARD}")
def test_captions_of_real_pictures_are_reduced_to_their_nouns_and_verbs():
    path = DATA / "coco-captions-1000/shared1000.csv"
    if not path.is_file():
        pytest.skip(f"no captions at {path}: set BRAINALIGN_TEST_DATA")
    table = pd.read_csv(path, nrows=40)
    table["caption"], table["cats"] = (table[f"coco_{what}"].map(ast.literal_eval) for what in ("captions", "categs"))
    each = table[["image_id", "caption"]].explode("caption")
    nouns = keep_words(each, "caption", instead="something")
    assert nouns["caption"].tolist()[:2] == ["plate food kind", "Food plate vegetables garnish"]
    # what people say is in a picture is what others marked in it, more often than in another picture
    bag = bag_of_words(nouns, "caption", average="image_id")
    marked = multi_hot(table, "cats")
    both = sorted(set(bag.columns["unit"]) & set(marked.columns["unit"]))
    said, seen = (signal.select(unit=both).array() for signal in (bag, marked))
    assert len(both) > 15
    assert said[seen == 1].mean() > 5 * said[seen == 0].mean()
    verbs = split_words(each, "caption", ("VERB", "AUX"), instead="is", per="image_id")
    assert set(verbs["image_id"]) == set(table["image_id"])
    assert {"sitting", "is"} <= set(verbs["word"].str.lower())
