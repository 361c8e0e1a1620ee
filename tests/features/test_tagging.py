"""Word classes: one per word, of the words as they are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from brainalign.errors import InputError, SettingsError
from brainalign.features.models import is_here
from brainalign.features.tagging import CARD, tag_texts, tag_words

needs_english = pytest.mark.skipif(not is_here(CARD), reason=f"{CARD} was not fetched: brainalign models fetch {CARD}")


@pytest.fixture
def rules(tmp_path) -> Path:
    """A spaCy model that knows a few words by heart, and calls all others X."""
    import spacy

    language = spacy.blank("en")
    ruler = language.add_pipe("attribute_ruler")
    known = {"dog": "NOUN", "don't": "AUX", "barks": "VERB", "New York": "PROPN"}
    ruler.add([[{"TEXT": {"NOT_IN": list(known)}}]], {"POS": "X"})
    for word, one in known.items():
        ruler.add([[{"TEXT": word}]], {"POS": one})
    language.to_disk(tmp_path / "rules")
    return tmp_path / "rules"


def test_words_are_tagged_as_they_are_given(rules):
    # spaCy's own tokenizer would make two words of "don't" and of "New York"
    assert tag_words(["New York", "dog", "don't", " barks "], tagger=rules) == ["PROPN", "NOUN", "AUX", "VERB"]
    assert tag_words(["dog"], tagger=str(rules)) == ["NOUN"]
    assert tag_words([], tagger=rules) == []


def test_texts_do_not_see_each_other():
    seen = []

    def listening(words):
        seen.append(words)
        return ["X"] * len(words)

    assert tag_texts([["a", "dog"], [], ["barks"]], tagger=listening) == [["X", "X"], [], ["X"]]
    assert seen == [["a", "dog"], [], ["barks"]]


@needs_english
def test_the_english_tagger_reads_in_context():
    text = "They watch a man riding his bike , and he is looking at his watch ."
    words = text.split()
    classes = tag_words(words)
    assert [word for word, one in zip(words, classes) if one == "NOUN"] == ["man", "bike", "watch"]
    assert [word for word, one in zip(words, classes) if one == "VERB"] == ["watch", "riding", "looking"]
    assert classes[words.index("is")] == "AUX"
    assert tag_texts([words, words]) == [classes, classes]


def test_what_cannot_be_tagged():
    with pytest.raises(InputError, match=r"^word 1 is empty: a word class is given to words"):
        tag_words(["a", " "], tagger=lambda words: ["X", "X"])
    with pytest.raises(InputError, match="word 0 of text 1 is empty"):
        tag_texts([["a"], [""]], tagger=lambda words: ["X"])
    with pytest.raises(InputError, match="the tagger gave 1 classes for 2 words"):
        tag_words(["a", "dog"], tagger=lambda words: ["X"])
    with pytest.raises(InputError, match=r"calls 'dog' 'NN', which is no universal word class; did you mean 'NOUN'"):
        tag_words(["dog"], tagger=lambda words: ["NN"])


def test_a_model_that_is_missing_or_another(tmp_path, monkeypatch):
    import spacy

    with pytest.raises(SettingsError, match=r"no spaCy model 'en_core_web_none': give the folder .*\[E050\]"):
        tag_words(["dog"], tagger="en_core_web_none")
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(SettingsError, match=r"does not give every word a class: .* it has no parts at all"):
        tag_words(["dog"], tagger=tmp_path / "blank")
    monkeypatch.setenv("BRAINALIGN_CACHE", str(tmp_path / "empty"))
    with pytest.raises(SettingsError, match=f"was not fetched yet: run `brainalign models fetch {CARD}`"):
        tag_words(["dog"])
    monkeypatch.setattr("brainalign.errors.find_spec", lambda name: None)
    message = r"the tagger of word classes needs spacy: run `pip install 'brainalign\[words\]'`"
    with pytest.raises(SettingsError, match=message):
        tag_words(["dog"], tagger=tmp_path)
