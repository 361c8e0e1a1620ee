"""Word frequency: the Zipf scale, what is not listed, and another corpus that counted the same words."""

from __future__ import annotations

import importlib.util
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wordfreq
from hypothesis import given
from hypothesis import strategies as st

from brainalign.errors import SettingsError
from brainalign.features.frequency import word_frequency
from brainalign.features.simple import word_rate
from brainalign.io.fetch import sample_path
from brainalign.io.transcripts import read_events

DATA = Path(os.environ.get("BRAINALIGN_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


def told(*words: str) -> pd.DataFrame:
    return pd.DataFrame({"run": "1", "onset": np.arange(len(words)) * 0.5, "duration": 0.4, "word": words})


def zipf(*words: str, **settings) -> list[float]:
    return word_frequency(told(*words), **settings).values.ravel().astype(float).round(2).tolist()


def test_a_zipf_is_the_log_of_a_count_in_a_billion():
    # the scale's own anchors (van Heuven et al. 2014): 3 is once in a million
    words = told("the", "rabbit")
    per_word = [wordfreq.word_frequency(word, "en") for word in words["word"]]
    np.testing.assert_allclose(word_frequency(words).values.ravel(), [math.log10(f * 1e9) for f in per_word], atol=0.01)
    assert wordfreq.zipf_to_freq(3) == pytest.approx(1e-6)


def test_samples_are_the_words_and_attrs_say_where_numbers_come_from():
    words = told("Alice", "was")
    signal = word_frequency(words, name="common")
    pd.testing.assert_frame_equal(signal.samples, word_rate(words).samples)
    assert signal.bands == ["common"]
    about = signal.attrs["features"]["common"]
    assert (about["kind"], about["language"]) == ("word_frequency", "en")
    assert about["source"].startswith("wordfreq 3.")


@given(st.sampled_from(["Alice", "don't", "the", "rabbit-hole", "café"]), st.sampled_from(["“", "(", "'", "—"]))
def test_case_and_marks_make_no_difference(word, mark):
    assert len(set(zipf(word, word.upper(), f"{mark}{word},", f"{word}.”"))) == 1


def test_an_apostrophe_is_one_however_it_is_written():
    assert zipf("don’t", "n’t", "’S") == zipf("don't", "n't", "'s")


def test_a_clitic_is_as_frequent_as_all_words_that_end_in_it():
    alone, listed = zipf("n't", "'s"), wordfreq.get_frequency_dict("en")
    assert alone == [
        round(math.log10(1e9 * sum(f for word, f in listed.items() if word.endswith(end))), 2) for end in ("n't", "'s")
    ]
    # in wordfreq's own tokens "n't" is what somebody typed apart, a thousand times rarer
    assert alone[0] > max(zipf("don't", "didn't")) > wordfreq.zipf_frequency("n't", "en") + 2
    assert zipf("'s", language="de") != zipf("'s")  # English clitics are English


def test_what_is_not_listed_is_as_rare_as_the_rarest_listed_word_and_named():
    signal = word_frequency(told("the", "zxqvy", "—", "zxqvy", "rabbit"))
    rarest = min(wordfreq.zipf_frequency(word, "en") for word in wordfreq.get_frequency_list("en")[-1])
    assert signal.values.ravel()[[1, 2, 3]].tolist() == [np.float32(rarest)] * 3
    said = signal.attrs["features"]["word_frequency"]["out_of_vocabulary"]
    assert said == {"count": 3, "share": 0.6, "words": ["zxqvy", "—"]}
    known = word_frequency(told("the", "rabbit")).attrs["features"]["word_frequency"]["out_of_vocabulary"]
    assert known == {"count": 0, "share": 0.0, "words": []}


def test_the_floor_is_the_language_s_own():
    (german,), (icelandic,) = zipf("zxqvy", language="de"), zipf("zxqvy", language="is")
    assert german == 1.01
    assert icelandic == 3.01  # its list stops at once in a million
    assert zipf("Kaninchen", language="de")[0] > 3


def test_languages_that_are_not_there():
    with pytest.raises(SettingsError, match="no list of the language 'english'; known: 'ar', 'bg'"):
        word_frequency(told("the"), language="english")
    with pytest.raises(SettingsError, match=r"no list of the language 'pt-BR'; did you mean 'pt'\?"):
        word_frequency(told("o"), language="pt-BR")


@pytest.mark.skipif(importlib.util.find_spec("jieba") is not None, reason="jieba is installed")
def test_a_language_that_needs_another_package():
    with pytest.raises(SettingsError, match=r"wordfreq needs jieba for the language 'zh': run `pip install 'wordfreq"):
        word_frequency(told("兔子"), language="zh")


def test_alice_s_words_are_known():
    signal = word_frequency(read_events(sample_path("alice")))
    said = signal.attrs["features"]["word_frequency"]["out_of_vocabulary"]
    assert said["words"] == ["happpens"]  # as the transcript spells it
    assert 5.9 < signal.values.mean() < 6.1


def test_subtitles_count_the_same_words_alike():
    path = DATA / "ucl205-erp" / "all_measures.csv"
    if not path.is_file():
        pytest.skip(f"no UCL sentences at {path}: set BRAINALIGN_TEST_DATA")
    table = pd.read_csv(path, keep_default_na=False, na_values={"Subtlex_log10": [""]})
    table = table.sort_values(["sent_id", "context_length"], kind="stable")
    words = pd.DataFrame({"run": table["sent_id"], "onset": table["context_length"], "word": table["word"]})
    ours, theirs = word_frequency(words).values.ravel(), table["Subtlex_log10"].to_numpy()
    there = np.isfinite(theirs)
    assert there.sum() == 1696
    assert np.corrcoef(ours[there], theirs[there])[0, 1] == pytest.approx(0.954, abs=0.01)
    # SUBTLEX cut words at apostrophes, so its "don't" is a typo's count
    whole = there & ~table["word"].str.contains("'").to_numpy()
    assert np.corrcoef(ours[whole], theirs[whole])[0, 1] == pytest.approx(0.972, abs=0.01)
    # the column is called log10, but is the natural log of a count in 51 million words
    as_zipf = theirs[whole] / np.log(10) - np.log10(51e6) + 9
    assert abs(np.median(ours[whole] - as_zipf)) < 0.1
