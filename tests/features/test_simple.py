"""The dull features: known values by hand, samples that are the events', messages that say what to do."""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainalign.errors import InputError
from brainalign.features.samples import samples_of, sentences_of
from brainalign.features.simple import categories, word_length, word_position, word_rate
from brainalign.features.transcript import align_words


@pytest.fixture
def words() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "onset": [0.1, 0.6, 0.9, 0.0],
            "duration": [0.5, 0.2, 0.4, 0.3],
            "run": [1, 1, 1, 2],
            "word": ["Alice", "don't", "—", " Café "],
            "speaker": "x",
        }
    )


@pytest.mark.parametrize("feature", [word_rate, word_length])
def test_samples_are_the_words(words, feature):
    samples = feature(words).samples
    assert list(samples) == ["run", "time", "duration", "stimulus"]
    assert samples["run"].tolist() == ["1", "1", "1", "2"]
    assert samples["time"].tolist() == [0.1, 0.6, 0.9, 0.0]
    assert samples["duration"].tolist() == [0.5, 0.2, 0.4, 0.3]
    assert samples["stimulus"].tolist() == ["Alice", "don't", "—", "Café"]


def test_values_and_bands(words):
    assert word_rate(words).values.tolist() == [[1], [1], [1], [1]]
    assert word_length(words).values.tolist() == [[5], [5], [1], [4]]
    assert word_rate(words).bands == ["word_rate"]
    assert word_length(words, name="letters").bands == ["letters"]


def test_a_letter_and_its_accent_are_one_however_they_are_written(words):
    words["word"] = [unicodedata.normalize("NFD", word) for word in words["word"]]
    assert word_length(words).values.ravel().tolist() == [5, 5, 1, 4]


def test_duration_may_be_unknown(words):
    assert list(word_rate(words.drop(columns="duration")).samples) == ["run", "time", "stimulus"]


@given(st.lists(st.sampled_from(["face", "house", "chair", "Ω"]), min_size=1, max_size=30))
def test_categories_can_be_read_back(shown):
    events = pd.DataFrame({"run": "1", "onset": np.arange(len(shown)) * 2.0, "duration": 1.5, "trial_type": shown})
    signal = categories(events)
    units = signal.columns["unit"].to_numpy()
    assert (signal.values.sum(1) == 1).all()
    assert [units[k] for k in signal.values.argmax(1)] == shown
    assert units.tolist() == sorted(set(shown))
    assert signal.samples["duration"].tolist() == [1.5] * len(shown)


def test_categories_of_another_column():
    events = pd.DataFrame({"run": "1", "onset": [0.0, 1.0], "colour": ["red", "blue"]})
    signal = categories(events, column="colour", name="hue")
    assert signal.bands == ["hue"]
    assert signal.values.tolist() == [[0, 1], [1, 0]]


def test_what_is_wrong_is_said(words):
    with pytest.raises(InputError, match=r"no column 'run'; for a single run: events\['run'\] = '1'"):
        word_rate(words.drop(columns="run"))
    with pytest.raises(InputError, match="no column 'word'; did you mean 'words'"):
        word_rate(words.rename(columns={"word": "words"}))
    with pytest.raises(InputError, match="no column 'trial_type'"):
        categories(words)
    with pytest.raises(InputError, match="table is empty"):
        word_length(words.iloc[:0])
    with pytest.raises(InputError, match=r"event 2 \(onset 0.9 s\) has no word: .* keep_default_na=False"):
        word_length(words.assign(word=["a", "b", None, "c"]))
    with pytest.raises(InputError, match="event 1 has no onset in seconds; found 'soon'"):
        word_rate(words.assign(onset=[0, "soon", 1, 2]))
    with pytest.raises(InputError, match=r"event 1 \(run 1, onset 0.2 s\) begins before the one above it: sort"):
        word_rate(words.assign(onset=[0.5, 0.2, 0.9, 0.0]))


def told(text: str, step: float = 0.5) -> pd.DataFrame:
    return pd.DataFrame({"run": "1", "onset": np.arange(len(text.split())) * step, "word": text.split()})


def test_position_in_the_run_is_time_and_order():
    words = pd.concat([told("a b c d e"), told("f g h", step=2.0).assign(run="2", onset=[3.0, 3.5, 7.0])])
    signal = word_position(words)
    assert signal.columns["unit"].tolist() == ["run_share", "run_log"]
    np.testing.assert_allclose(signal.values[:, 0], [0, 0.25, 0.5, 0.75, 1, 0, 0.125, 1])
    np.testing.assert_allclose(signal.values[:, 1], np.log([1, 2, 3, 4, 5, 1, 2, 3]), rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "within"),
    [
        ("“Oh dear!” said Alice . She", [0, 1, 2, 3, 4, 0]),  # a small letter goes on
        ("“Oh dear!” She ( had none.) Was there? Yes… 3.5 miles...", [0, 1, 0, 1, 2, 3, 0, 1, 0, 0, 1]),
        ("Mr. Hare met J. Smith and Dr . No. I did. It", [0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0]),
        ("oh dear! said mr. hare . she", [0, 1, 0, 1, 2, 3, 0]),  # without capitals a mark is all there is
        ("Oh ! ' said she . ' No", [0, 1, 2, 3, 4, 5, 0, 1]),
        ("rabbit-hole. Down U.S. Down", [0, 0, 1, 2]),
    ],
)
def test_position_in_the_sentence_begins_anew_where_one_ends_in_print(text, within):
    signal = word_position(told(text), name="where")
    assert signal.bands == ["where"]
    assert signal.values[:, signal.columns["unit"] == "sentence"].ravel().tolist() == within


def test_sentences_end_where_the_printed_text_says():
    """Cut into words, a text has the sentences that its transcript has when it is aligned with it."""
    print_ = "“Oh, Mr. Hare!” said she. “It's a tea-party (at six). Come… or don't!” J. Hare did not. “Why?” He slept."
    words = told(print_)
    aligned = align_words(words, print_).table["sentence"].to_numpy()
    assert (sentences_of(words, samples_of(words, "word")) == aligned - 1).all()
    assert aligned[-1] == 6


def test_a_run_begins_a_sentence():
    words = pd.concat([told("and so on. Then she"), told("went away. Good").assign(run="2")])
    assert word_position(words).values[:, 2].tolist() == [0, 1, 2, 0, 1, 0, 1, 0]


def test_without_punctuation_in_every_run_there_is_no_sentence():
    words = pd.concat([told("Oh dear! she said"), told("and went away").assign(run="2")])
    assert "sentence" not in word_position(words).columns["unit"].tolist()


@pytest.mark.parametrize("numbers", [[4, 4, 4, 5, 5, 4, 4], list("aaabbaa")])
def test_a_column_says_which_sentence_a_word_is_in(numbers):
    words = pd.concat([told("Mr. Oh dear! she said"), told("and on").assign(run="2")])
    signal = word_position(words.assign(sentence=numbers))
    assert signal.columns["unit"].tolist() == ["run_share", "run_log", "sentence"]
    assert signal.values[:, 2].tolist() == [0, 1, 2, 0, 1, 0, 1]  # a run begins a sentence of its own


def test_a_word_without_its_sentence_is_named():
    with pytest.raises(InputError, match=r"word 1 \('dear!'\) has no sentence: number every word's, or leave"):
        word_position(told("Oh dear! she").assign(sentence=[1, None, 2]))


def test_one_word_alone_is_at_the_beginning():
    assert word_position(told("Alice")).values.tolist() == [[0, 0]]


def test_position_s_samples_are_the_words_too(words):
    pd.testing.assert_frame_equal(word_position(words).samples, word_rate(words).samples)
