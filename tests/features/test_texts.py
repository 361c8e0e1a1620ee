"""Samples of texts, with and without a clock, and the mean of several texts of one thing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainalign.errors import InputError
from brainalign.features.texts import as_table, average_texts, averaged, sample_each
from brainalign.signals import Signal, join


def signal_of(values, run="1", time=None, **more) -> Signal:
    values = np.asarray(values, np.float32)
    time = np.arange(len(values), dtype=float) if time is None else time
    columns = pd.DataFrame({"band": "lm", "unit": np.arange(values.shape[1])})
    return Signal(values, pd.DataFrame({"run": run, "time": time, **more}), columns, attrs={"features": {"lm": {}}})


def test_with_onsets_texts_lie_in_time():
    table = pd.DataFrame({"run": ["1", "2"], "onset": [3.5, 0.5], "duration": 4.0, "caption": [" a dog ", "a cat"]})
    samples = sample_each(table, "caption")
    assert samples["time"].tolist() == [3.5, 0.5]
    assert samples["run"].tolist() == ["1", "2"]
    assert samples["stimulus"].tolist() == ["a dog", "a cat"]
    with pytest.raises(InputError, match="no column 'run'; for a single run"):
        sample_each(table.drop(columns="run"), "caption")


def test_without_onsets_time_is_the_number_of_the_row():
    samples = sample_each(pd.DataFrame({"caption": ["a", "b", "a"]}, index=[7, 7, 2]), "caption")
    assert samples["time"].tolist() == [0.0, 1.0, 2.0]
    assert set(samples["run"]) == {"1"}
    runs = sample_each(pd.DataFrame({"caption": ["a", "b"], "run": ["x", "y"]}), "caption")
    assert runs["run"].tolist() == ["x", "y"]


def test_a_list_is_a_table():
    assert as_table(["a", "b"], "sentence")["sentence"].tolist() == ["a", "b"]
    with pytest.raises(InputError, match=r"'a dog' is one text: give a list of them"):
        as_table("a dog", "sentence")
    with pytest.raises(InputError, match="the events table is empty"):
        sample_each(as_table([], "sentence"), "sentence")


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=30), st.integers(0, 2**31))
def test_it_is_the_mean_of_each_things_texts(of, seed):
    values = np.random.default_rng(seed).normal(size=(len(of), 3)).astype(np.float32)
    mean = average_texts(signal_of(values), of)
    things = list(dict.fromkeys(of))
    assert mean.samples["stimulus"].tolist() == things
    assert mean.samples["n_averaged"].tolist() == [of.count(thing) for thing in things]
    assert mean.samples["time"].tolist() == list(range(len(things)))
    for row, thing in enumerate(things):
        np.testing.assert_allclose(mean.values[row], values[np.array(of) == thing].mean(0), rtol=1e-4, atol=1e-6)


def test_texts_of_one_presentation_keep_its_time():
    shown = signal_of(np.eye(4), run=["1", "1", "2", "2"], time=[3.0, 3.0, 1.0, 1.0], duration=2.0)
    mean = average_texts(shown, of=["beach", "beach", "kitchen", "kitchen"])
    assert mean.samples[["run", "time", "duration"]].values.tolist() == [["1", 3.0, 2.0], ["2", 1.0, 2.0]]


def test_texts_met_at_several_times_have_no_clock():
    within = average_texts(signal_of(np.eye(4), run=["1", "1", "2", "2"], duration=2.0), of=[5, 5, 9, 9])
    assert within.samples[["run", "time"]].values.tolist() == [["1", 0.0], ["2", 1.0]]
    assert "duration" not in within.samples
    across = average_texts(signal_of(np.eye(4), run=["1", "1", "2", "2"], time=[0.0, 4.0, 0.0, 4.0]), of=[5, 9, 5, 9])
    assert across.samples[["run", "time"]].values.tolist() == [["1", 0.0], ["1", 1.0]]


def test_two_ways_to_describe_the_same_things_join():
    captions = average_texts(signal_of(np.eye(5)), of=[3, 3, 1, 1, 1])
    words = average_texts(signal_of(np.eye(3)), of=[3, 1, 1])
    renamed = Signal(words.values, words.samples, words.columns.assign(band="words"))
    assert join(captions, renamed).bands == ["lm", "words"]


def test_tokens_left_out_are_added_up():
    mean = average_texts(signal_of(np.eye(3), tokens_left_out=[2, 0, 1]), of=["a", "b", "a"])
    assert mean.samples["tokens_left_out"].tolist() == [3, 0]


def test_what_cannot_be_averaged():
    with pytest.raises(InputError, match=r"of has 2 values, there are 3 samples: it names one for each"):
        average_texts(signal_of(np.eye(3)), of=["a", "b"])
    with pytest.raises(InputError, match="of is missing for sample 1"):
        average_texts(signal_of(np.eye(3)), of=["a", None, "b"])
    table = pd.DataFrame({"image": [1, 1, 2]})
    with pytest.raises(InputError, match=r"no column 'imag' to average over; did you mean 'image'\?"):
        averaged(signal_of(np.eye(3)), table, "imag")
    assert averaged(signal_of(np.eye(3)), table, None).shape == (3, 3)
