"""Windows around words: means by hand, nothing across runs, what is not known is said."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import brainalign as ba
from brainalign import scratch
from brainalign.design import epochs as module
from brainalign.design.epochs import lags_of
from brainalign.errors import InputError, SettingsError

RATE = 100.0


def recording(*seconds, columns=3, rate=RATE, start=0.0, seed=0):
    """Noise in runs of so many seconds."""
    rng = np.random.default_rng(seed)
    sizes = [round(s * rate) for s in seconds]
    run = np.repeat([str(k) for k in range(1, len(sizes) + 1)], sizes)
    time = np.concatenate([start + np.arange(n) / rate for n in sizes])
    table = pd.DataFrame({"subject": "01", "channel": [f"LA{k}" for k in range(1, columns + 1)]})
    values = rng.standard_normal((len(time), columns)).astype(np.float32)
    return ba.Signal(values, pd.DataFrame({"run": run, "time": time}), table, attrs={"tr": 1 / rate})


def words(*onsets, run="1", **more):
    return pd.DataFrame({"onset": onsets, "duration": 0.2, "run": run} | more)


def test_a_window_is_the_mean_of_its_samples():
    brain = recording(20.0)
    found = ba.epochs(brain, words(5.0, 7.004, 12.341), start=-0.5, stop=0.5, step=0.25, window=0.2)
    assert found.shape == (3, 15)
    assert found.columns["lag"].tolist() == [-0.5, -0.25, 0.0, 0.25, 0.5] * 3
    assert found.columns["channel"].tolist() == ["LA1"] * 5 + ["LA2"] * 5 + ["LA3"] * 5
    time = brain.samples["time"].to_numpy()
    for row, onset in enumerate((5.0, 7.004, 12.341)):
        for column, (channel, lag) in found.columns[["channel", "lag"]].iterrows():
            middle = onset + lag
            there = np.argsort(np.abs(time - middle + 1e-7), kind="stable")[:20]  # the twenty nearest to its middle
            expected = brain.values[there, int(channel[2]) - 1].mean(dtype=float)
            assert found.values[row, column] == pytest.approx(expected, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    rate=st.sampled_from([50.0, 99.7, 100.0, 128.0]),
    window=st.floats(0.005, 0.6),
    onset=st.floats(3.0, 16.0),
    lag=st.floats(-2.0, 2.0),
    t0=st.floats(0.0, 1.0),
)
def test_a_window_lies_where_it_should_to_half_a_sample(rate, window, onset, lag, t0):
    brain = recording(20.0, columns=1, rate=rate, start=t0)
    ramp = ba.Signal(brain.samples["time"].to_numpy()[:, None], brain.samples, brain.columns, attrs=brain.attrs)
    found = ba.epochs(ramp, words(onset), start=lag, stop=lag, window=window)
    assert found.values[0, 0] == pytest.approx(onset + lag, abs=0.5 / rate + 1e-5)


def test_onsets_on_the_grid_are_never_moved_by_rounding():
    brain = recording(60.0, columns=1)
    index = ba.Signal(np.arange(6000.0)[:, None], brain.samples, brain.columns, attrs=brain.attrs)
    onsets = np.arange(3.0, 57.0, 0.1)
    found = ba.epochs(index, words(*onsets), start=-0.3, stop=0.3, step=0.1, window=0.2)
    expected = (onsets[:, None] + found.columns["lag"].to_numpy()) * RATE
    assert np.unique(np.round(found.values - expected, 2)).tolist() == [-0.5]  # twenty samples, from the tenth before


def test_a_window_shorter_than_a_sample_is_one_sample():
    brain = recording(20.0)
    found = ba.epochs(brain, words(5.0), start=0.1, stop=0.1, window=0.001)
    np.testing.assert_allclose(found.values[0], brain.values[510], rtol=1e-6)


def test_no_window_reaches_into_another_run():
    brain = recording(10.0, 10.0)
    loud = brain.values.copy()
    loud[1000:] += 1000
    both = ba.Signal(loud, brain.samples, brain.columns, attrs=brain.attrs)
    met = pd.concat([words(5.0, 9.5), words(0.5, 5.0, run="2")], ignore_index=True)
    found = ba.epochs(both, met, start=-1, stop=1, step=0.5, window=0.2)
    assert found.use.tolist() == [True, False, False, True]
    assert np.abs(found.values[0]).max() < 5
    assert found.values[3].min() > 990
    known = np.isfinite(found.values).all(1)
    assert known.tolist() == [True, False, False, True]
    assert np.isnan(found.values[1][found.columns["lag"] == 1.0]).all()
    assert "2 of 4 events are not in use: 2 as a window reaches beyond the run" in found.attrs["notes"]


def test_the_edges_of_a_run_are_used_to_the_last_sample():
    brain = recording(10.0, columns=1)
    found = ba.epochs(brain, words(1.0, 1.1, 8.9, 9.0), start=-1, stop=1, step=1, window=0.2)
    assert found.use.tolist() == [False, True, True, False]
    np.testing.assert_allclose(found.values[2, 2], brain.values[980:1000, 0].mean(), rtol=1e-5)


def test_samples_that_are_not_in_use_have_no_say():
    brain = recording(20.0)
    values, use = brain.values.copy(), np.ones(2000, bool)
    use[505:512] = False  # of the window 490 to 510 a quarter, of that from 510 to 530 a tenth
    use[996:1018] = False
    values[~use] = np.nan
    holey = ba.Signal(values, brain.samples.assign(use=use), brain.columns, attrs=brain.attrs)
    met = words(5.0, 10.0, 15.0)
    found = ba.epochs(holey, met, start=0.0, stop=0.2, step=0.2, window=0.2)
    assert found.use.tolist() == [True, False, True]
    np.testing.assert_allclose(found.values[0, 0], values[490:505, 0].mean(), rtol=1e-5)
    assert "1 of 3 events are not in use: 1 as too few samples of a window are in use" in found.attrs["notes"]
    strict = ba.epochs(holey, met, start=0.0, stop=0.2, step=0.2, window=0.2, least=1.0)
    assert strict.use.tolist() == [False, False, True]


def test_in_parts_it_is_the_same(monkeypatch):
    brain = recording(60.0, 40.0, columns=4)
    rng = np.random.default_rng(1)
    met = pd.concat([words(*np.sort(rng.uniform(0, 58, 80))), words(*np.sort(rng.uniform(0, 39, 50)), run="2")])
    whole = ba.epochs(brain, met)
    monkeypatch.setattr(module, "NUMBERS", 3000)
    monkeypatch.setattr(scratch, "LARGE", 1000)
    parts = ba.epochs(brain, met)
    assert isinstance(parts.values, np.memmap)
    np.testing.assert_allclose(parts.values, whole.values, atol=1e-6)
    pd.testing.assert_frame_equal(parts.samples, whole.samples)


def test_memory_does_not_grow_with_the_recording(monkeypatch):
    """Of a recording in parts never more is asked for than a part."""
    seen = []

    class Watched:
        def __init__(self, values):
            self.values, self.shape, self.dtype = values, values.shape, values.dtype

        def __getitem__(self, rows):
            seen.append(np.size(self.values[rows]))
            return self.values[rows]

    monkeypatch.setattr(module, "NUMBERS", 20_000)
    brain = recording(300.0, columns=10)
    watched = ba.Signal(Watched(brain.values), brain.samples, brain.columns, attrs=brain.attrs)
    seen.clear()
    ba.epochs(watched, words(*np.arange(3.0, 297.0, 0.5)), start=-0.5, stop=0.5, step=0.25)
    assert max(seen) <= 20_000


def test_what_events_say_goes_along():
    met = words(5.0, 6.0, word=["the", "river"], time=[1, 2])
    found = ba.epochs(recording(20.0), met, start=0, stop=0)
    assert found.samples.columns.tolist() == ["run", "time", "duration", "word"]
    assert found.samples["time"].tolist() == [5.0, 6.0]
    assert found.attrs["lags"] == {"start": 0.0, "stop": 0.0, "step": 0.2, "window": 0.2}
    assert "tr" not in found.attrs


def test_people_behind_a_mean_are_cut_too():
    people = [recording(20.0, seed=k) for k in (0, 1, 2)]
    named = [ba.Signal(p.values, p.samples, p.columns.assign(subject=f"0{k}")) for k, p in enumerate(people)]
    mean = ba.average_people(ba.join(*named))
    found = ba.epochs(mean, words(5.0, 6.0), start=0, stop=0.2)
    theirs = found.related["people"]
    assert theirs.shape == (2, 18)
    np.testing.assert_allclose(ba.average_people(theirs).values, found.values, atol=1e-6)


def test_events_come_in_the_order_of_the_runs():
    met = pd.concat([words(6.0, 5.0, run="2"), words(5.5, run="1")])
    found = ba.epochs(recording(10.0, 10.0), met, start=0, stop=0)
    assert found.samples[["run", "time"]].values.tolist() == [["1", 5.5], ["2", 5.0], ["2", 6.0]]


def test_lags_end_with_the_last():
    assert len(lags_of(-2.0, 2.0, 0.2)) == 21
    assert lags_of(-2.0, 2.0, 0.2)[10] == 0.0
    assert lags_of(0.0, 0.5, 0.2).tolist() == [0.0, 0.2, 0.4]
    assert lags_of(0.1, 0.1, 0.2).tolist() == [0.1]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"step": 0.0}, "in steps above 0, in seconds; found -2.0 to 2.0 by 0.0"),
        ({"start": 3.0}, "found 3.0 to 2.0 by 0.2"),
        ({"stop": np.inf}, "found -2.0 to inf by 0.2"),
        ({"window": 0.0}, "window is how long a window is, in seconds; found 0.0"),
        ({"least": 0.0}, "least is a share of a window's samples, above 0 and up to 1; found 0.0"),
    ],
)
def test_lags_that_are_none(how, said):
    with pytest.raises(SettingsError, match=said):
        ba.epochs(recording(20.0), words(5.0), **how)


def test_what_cannot_be_cut():
    brain = recording(10.0)
    with pytest.raises(InputError, match="onset 12 s, after the recording ends"):
        ba.epochs(brain, words(5.0, 12.0))
    with pytest.raises(InputError, match="events in run 3, but the recording has run 1: name the runs alike"):
        ba.epochs(brain, words(5.0, run="3"))
    with pytest.raises(InputError, match="no event to cut around"):
        ba.epochs(brain, words())
    with pytest.raises(InputError, match="have a `lag` already"):
        ba.epochs(ba.Signal(brain.values, brain.samples, brain.columns.assign(lag=0.0)), words(5.0))
    with pytest.raises(InputError, match=r"has all its windows \(-2.1 to 2.1 s around it\): 2 as a window reaches"):
        ba.epochs(brain, words(1.0, 9.0))
    with pytest.raises(InputError, match="run 1 is not evenly sampled"):
        ba.epochs(brain.select(rows=np.r_[0:300, 400:1000]), words(5.0))
    mixed = recording(5.0, 5.0)
    order = np.r_[0:250, 500:1000, 250:500]
    with pytest.raises(InputError, match="the samples of run 1 do not follow one another"):
        ba.epochs(mixed.select(rows=order), words(2.5), start=0, stop=0)
    short = recording(0.1)
    with pytest.raises(InputError, match="not one has all its windows"):
        ba.epochs(short, words(0.05), start=0, stop=0)


def test_events_of_one_person_are_not_anothers():
    brain = recording(20.0)
    both = ba.join(brain, replace(brain, columns=brain.columns.assign(subject="02")))
    mine = words(5.0, 6.0)
    mine.attrs["subjects"] = ["01"]
    with pytest.raises(InputError, match="the events are of sub-01, and the recording holds sub-02 too"):
        ba.epochs(both, mine, start=0, stop=0)
    assert ba.epochs(brain, mine, start=0, stop=0).shape == (2, 3)


def test_runs_without_events_are_said():
    found = ba.epochs(recording(10.0, 10.0), words(5.0), start=0, stop=0)
    assert "run 2 has no events and is left out" in found.attrs["notes"]


def person(name, *onsets, run="1", columns=2, said=("the", "river", "ran"), seed=0):
    brain = recording(20.0, columns=columns, seed=seed)
    brain = ba.Signal(
        brain.values, brain.samples.assign(run=run), brain.columns.assign(subject=name), attrs=brain.attrs
    )
    return ba.epochs(brain, words(*onsets, run=run, word=list(said[: len(onsets)])), start=-1, stop=1, step=1)


def test_people_on_clocks_of_their_own_meet_over_the_words():
    one, other = person("01", 4.0, 5.0, 6.0), person("02", 0.5, 8.0, 9.0, columns=3, seed=1)
    both = ba.join_events(one, other)
    assert both.shape == (3, 6 + 9)
    assert both.samples["time"].tolist() == [4.0, 5.0, 6.0]
    assert both.use.tolist() == [False, True, True]
    np.testing.assert_array_equal(both.values[1:, :6], one.values[1:])
    np.testing.assert_array_equal(both.values[1:, 6:], other.values[1:])
    assert any("1 of 3 events are out of use" in note and "(sub-02 1)" in note for note in both.attrs["notes"])


def test_people_who_met_other_words_are_kept_apart():
    one = person("01", 4.0, 5.0, 6.0)
    with pytest.raises(InputError, match=r"sub-01 and sub-02 met 3 and 2 events \(event 2: word 'river' and 'ran'\)"):
        ba.join_events(one, person("02", 4.0, 6.0, said=("the", "ran")))
    with pytest.raises(InputError, match=r"met other events \(event 2: word 'river' and 'brook'\): the same ones are"):
        ba.join_events(one, person("02", 4.0, 5.0, 6.0, said=("the", "brook", "ran")))
    with pytest.raises(InputError, match=r"no run is in everybody \(sub-01: 1; sub-02: 2\)"):
        ba.join_events(one, person("02", 4.0, 5.0, 6.0, run="2"))
    with pytest.raises(InputError, match="at least one Signal"):
        ba.join_events()
    assert ba.join_events(one).shape == one.shape


def test_a_recording_may_begin_late_or_stop_early():
    said = ("once", "upon", "a", "time", "there", "was", "a", "river")
    whole = person("01", *np.arange(4.0, 12.0), said=said)
    late = person("02", *np.arange(1.5, 7.5), said=said[2:], seed=1)
    short = person("03", *np.arange(6.0, 13.0), said=said[:7], seed=2)
    for people in ((whole, late, short), (late, short, whole)):
        found = ba.join_events(*people)
        assert found.samples["word"].tolist() == list(said[2:7])
        for one in people:
            mine = found.select(subject=one.columns["subject"][0])
            at = [one.samples["word"].tolist().index("time") + k for k in range(-1, 4)]
            np.testing.assert_array_equal(mine.values, one.values[at])
        assert "run 1: 5 of 8 events were met by everybody, the others are left out" in found.attrs["notes"]
    first, last = person("02", *np.arange(4.0, 8.0), said=said[:4]), person("03", *np.arange(4.0, 8.0), said=said[4:])
    with pytest.raises(InputError, match="run 1: 0 of 8 events were met by everybody, as recordings begin and end"):
        ba.join_events(whole, first, last)
    alike = person("02", *np.arange(4.0, 10.0), said=("a",) * 6)
    with pytest.raises(InputError, match="met 6 and 5 events: the same ones are needed"):  # any of the six may be lost
        ba.join_events(alike, person("03", *np.arange(4.0, 9.0), said=("a",) * 5))


def test_lags_are_no_closer_than_samples():
    with pytest.raises(SettingsError, match=r"lags 0\.001 s apart, in a recording with a sample every 0\.01 s"):
        ba.epochs(recording(20.0), words(5.0), start=0, stop=0.1, step=0.001)
    with pytest.raises(SettingsError, match="is more than 100,000 lags: take longer steps"):
        lags_of(-1e13, 1e13, 0.2)


def test_runs_that_one_person_lacks_are_left_out():
    brain = recording(20.0, 20.0)
    met = pd.concat([words(4.0, 5.0), words(4.0, run="2")])
    one = ba.epochs(brain, met, start=0, stop=0)
    table = brain.columns.assign(subject="02")
    other = ba.epochs(
        ba.Signal(brain.values, brain.samples, table).select(run="2"), words(7.0, run="2"), start=0, stop=0
    )
    both = ba.join_events(one, other)
    assert both.samples[["run", "time"]].values.tolist() == [["2", 4.0]]
    assert any("not in everybody are left out: 1 of sub-01" in note for note in both.attrs["notes"])


def test_a_lag_that_was_planted_is_found():
    rng = np.random.default_rng(3)
    brain = recording(200.0, columns=3)
    onsets = np.sort(rng.uniform(3, 197, 400))
    feature = rng.standard_normal(400)
    values = 0.5 * brain.values
    for onset, x in zip(onsets, feature, strict=True):
        at = round((onset + 0.35) * RATE)
        values[at - 5 : at + 5, 0] += x
    met = words(*onsets)
    around = ba.epochs(
        ba.Signal(values, brain.samples, brain.columns, attrs=brain.attrs),
        met,
        start=-0.5,
        stop=1,
        step=0.05,
        window=0.1,
    )
    x = ba.Signal(feature[:, None], around.samples[["run", "time"]], pd.DataFrame({"band": ["x"]}))
    fit = ba.encode(x, around, folds=ba.contiguous(4, gap_s=4), chance=ba.Chance(0, 0))
    found = ba.latency(fit, bootstrap=0)
    assert found["peak"][0] == pytest.approx(0.35)
    assert found["r_peak"][0] > 0.7 > 0.2 > found["r_peak"][1]
