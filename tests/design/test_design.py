"""Onsets → volumes, lags, cleaning: known inputs, known outputs."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainalign.design.clean import MOTION, clean, drift
from brainalign.design.delays import delay
from brainalign.design.resample import boxcar, lanczos, mean_within, resample, sum_within
from brainalign.errors import InputError, SettingsError
from brainalign.signals import Signal, average_people


def clock(n: int, tr: float = 2.0, run: str = "1") -> pd.DataFrame:
    return pd.DataFrame({"run": run, "time": np.arange(n) * tr})


def events(onsets, values=None, run="1", **columns) -> Signal:
    values = np.ones((len(onsets), 1)) if values is None else values
    return Signal(
        values, pd.DataFrame({"run": run, "time": onsets, **columns}), pd.DataFrame({"band": ["x"] * values.shape[1]})
    )


def test_lanczos_reproduces_a_band_limited_input():
    tr, n = 2.0, 200
    fine = np.arange(0, n * tr, 0.25)  # eight samples a volume
    wave = np.cos(2 * np.pi * 0.05 * fine) + 0.5 * np.sin(2 * np.pi * 0.02 * fine)  # well below 1 / (2 TR) = 0.25 Hz
    out = resample(events(fine, wave[:, None]), onto=clock(n, tr)).values.ravel() / 8
    inside = slice(5, n - 5)
    expected = np.interp(np.arange(n) * tr, fine, wave)
    assert np.abs(out[inside] - expected[inside]).max() < 0.01


def test_lanczos_weights_are_the_published_formula():
    t = np.array([-6.5, -3.0, 0.0, 1.0, 2.0, 5.9])
    weights = lanczos(np.array([0.0]), t, np.zeros(6), 2.0)[0]
    expected = [
        0,
        np.sinc(-1.5) * np.sinc(-0.5),
        1,
        np.sinc(0.5) * np.sinc(0.5 / 3),
        0,
        np.sinc(2.95) * np.sinc(2.95 / 3),
    ]
    np.testing.assert_allclose(weights, expected, atol=1e-12)


def test_counts_and_means_and_blocks():
    x = events([0.0, 0.5, 0.9, 4.1], np.array([[1.0], [2.0], [6.0], [5.0]]), duration=[1.0, 1.0, 1.0, 3.0])
    onto = clock(4)
    np.testing.assert_allclose(resample(x, onto, sum_within).values.ravel(), [9, 0, 5, 0])
    np.testing.assert_allclose(resample(x, onto, mean_within).values.ravel(), [3, 0, 5, 0])
    on = resample(events([4.0], duration=[3.0]), onto, boxcar).values.ravel()
    np.testing.assert_allclose(on, [0, 0, 0.5, 1.0])  # 4–7 s: half of 3–5 s, the whole of 5–7 s


def test_runs_do_not_touch_each_other():
    both = pd.concat([clock(5), clock(5, run="2")], ignore_index=True)
    x = events([0.0, 8.0], run=["2", "2"])
    out = delay(resample(x, both), volumes=(0, 1)).values
    assert not out[:5].any()
    np.testing.assert_allclose(out[5:], [[1, 0], [0, 1], [0, 0], [0, 0], [1, 0]], atol=1e-7)


@given(st.integers(1, 40), st.floats(0.3, 3))
def test_frames_without_gaps_are_their_mean_whatever_their_rate(rate, tr):
    """A quantity that rises evenly is, in a volume, what it is in its middle."""
    time = np.arange(0, 12 * tr, 1 / rate)
    middle = time + 0.5 / rate
    frames = events(time, middle[:, None], duration=1 / rate)
    out = resample(frames, clock(12, tr), boxcar).values.ravel()
    np.testing.assert_allclose(out[1:-1], np.arange(1, 11) * tr, atol=1 / rate)
    ones = events(time, duration=1 / rate)
    np.testing.assert_allclose(resample(ones, clock(12, tr), boxcar).values[1:-1], 1, atol=1e-6)


@pytest.mark.parametrize("kernel", [lanczos, sum_within, mean_within, boxcar])
def test_many_samples_are_resampled_some_volumes_at_a_time(monkeypatch, kernel):
    rng = np.random.default_rng(0)
    frames = events(np.arange(400) * 0.1, rng.standard_normal((400, 3)), duration=0.1)
    whole = resample(frames, clock(20), kernel).values
    monkeypatch.setattr("brainalign.design.resample.WEIGHTS", 1200)
    asked = []

    def watched(times, *rest):
        asked.append(len(times))
        return kernel(times, *rest)

    np.testing.assert_allclose(resample(frames, clock(20), watched).values, whole, atol=1e-6)
    assert asked == [3] * 6 + [2]


def test_a_picture_that_could_not_be_read_takes_the_volumes_it_enters_out_of_use():
    samples = pd.DataFrame({"run": "1", "time": [1.0, 5.0, 9.0], "duration": 2.0, "use": [True, False, True]})
    pictures = Signal([[1.0], [np.nan], [3.0]], samples, pd.DataFrame({"band": ["x"]}))
    out = resample(pictures, clock(8).assign(use=np.arange(8) != 7), boxcar)
    np.testing.assert_array_equal(out.values.ravel(), [0, 1, 0, np.nan, 0, 3, 0, 0])
    assert out.use.tolist() == [True, True, True, False, True, True, True, False]
    later = delay(out, volumes=(1, 2))
    assert later.use.tolist() == [True, True, True, False, False, False, True, False]
    np.testing.assert_array_equal(later.values[6], [3, 0])
    assert "use" not in resample(events([0.0]), clock(4)).samples


def test_events_of_a_run_that_was_not_recorded():
    with pytest.raises(InputError, match="events in run 3, but the recording has run 1"):
        resample(events([0.0], run="3"), clock(4))


def test_an_event_of_which_no_one_knows_how_long_it_was_is_named():
    samples = pd.DataFrame({"run": "2", "time": [1.0, 5.0], "duration": [2.0, np.nan], "stimulus": ["a.png", "b.png"]})
    pictures = Signal(np.ones((2, 1)), samples, pd.DataFrame({"band": ["x"]}))
    onto = clock(8).assign(run="2")
    with pytest.raises(
        InputError, match=r"the event \(b.png\) at 5 s of run 2 has no weight .* duration is nan s; write"
    ):
        resample(pictures, onto, boxcar)
    assert np.isfinite(resample(pictures, onto, lanczos).values).all()


def test_uneven_clock_is_refused():
    uneven = pd.DataFrame({"run": "1", "time": [0.0, 2.0, 5.0, 7.0]})
    with pytest.raises(InputError, match="not evenly sampled: steps of 2 to 3 s; keep dropped samples as rows"):
        resample(events([0.0]), uneven)
    with pytest.raises(InputError, match="run 1 has 1 sample"):
        resample(events([0.0]), clock(1))


@given(st.lists(st.integers(-4, 6), min_size=1, max_size=5, unique=True), st.integers(3, 12))
def test_a_delay_is_a_shift_within_the_run(shifts, n):
    rng = np.random.default_rng(0)
    samples = pd.concat([clock(n), clock(n, run="b")], ignore_index=True)
    x = Signal(rng.standard_normal((2 * n, 2)), samples, pd.DataFrame({"band": ["p", "q"]}))
    out = delay(x, volumes=shifts)
    for k, shift in enumerate(shifts):
        for start in (0, n):
            for row in range(n):
                source = row - shift
                expected = x.values[start + source] if 0 <= source < n else np.zeros(2)
                np.testing.assert_array_equal(out.values[start + row, 2 * k : 2 * k + 2], expected)
    assert out.columns["delay"].tolist() == [s for s in shifts for _ in range(2)]


@pytest.mark.parametrize("volumes", [(), (1, 1), (0.5, 1)])
def test_delays_are_different_whole_numbers(volumes):
    x = Signal(np.ones((4, 1)), clock(4), pd.DataFrame({"band": ["x"]}))
    with pytest.raises(SettingsError, match="different whole numbers of samples"):
        delay(x, volumes=volumes)


def two_people(n=120, seed=0):
    rng = np.random.default_rng(seed)
    motion = rng.standard_normal((n, 12)).cumsum(0)
    signal = rng.standard_normal((n, 4))
    slow = np.linspace(-1, 1, n)[:, None] ** 3
    values = signal.copy()
    for person in range(2):
        values[:, 2 * person : 2 * person + 2] += motion[:, 6 * person : 6 * person + 1] * 3 + 50 * slow + 900
    who = np.repeat(["a", "b"], 6)
    confounds = Signal(motion, clock(n), pd.DataFrame({"subject": who, "confound": MOTION * 2}))
    columns = pd.DataFrame({"subject": ["a", "a", "b", "b"], "roi": ["L", "R"] * 2})
    return Signal(values, clock(n), columns, related={"confounds": confounds}), signal, motion


def test_drift_and_own_motion_are_removed():
    people, signal, motion = two_people()
    out = clean(people).values
    for person in range(2):
        columns = slice(2 * person, 2 * person + 2)
        regressors = np.c_[drift(120, 2.0), motion[:, 6 * person : 6 * person + 6]]
        expected = signal[:, columns] - regressors @ np.linalg.lstsq(regressors, signal[:, columns], rcond=None)[0]
        np.testing.assert_allclose(out[:, columns], expected / expected.std(0), atol=2e-3)  # 900 in float32


def test_a_mean_over_people_is_cleaned_person_by_person():
    people, *_ = two_people()
    both = clean(average_people(people))
    one_by_one = clean(people).values
    np.testing.assert_allclose(both.values, (one_by_one[:, :2] + one_by_one[:, 2:]) / 2, atol=1e-5)
    done = {"nuisance": ["drift", "motion"], "within": "run", "longest_s": 128.0}
    assert both.related["people"].attrs["cleaned"] == done


def test_segments_are_cleaned_apart():
    people, *_ = two_people(n=240)
    labels = np.repeat([1, 2], 120)
    whole = clean(people, within=labels).values[120:]
    alone = clean(people.select(rows=slice(120, 240))).values
    np.testing.assert_allclose(whole, alone, atol=2e-3)


def test_censored_samples_have_no_say():
    people, *_ = two_people()
    censored = people.samples.assign(use=np.arange(120) != 60)
    confounds = people.related["confounds"]
    values = people.values.copy()
    outputs = []
    for spike in (0.0, 1e6):
        values[60] = spike
        beside = Signal(confounds.values, censored, confounds.columns)
        outputs.append(clean(Signal(values, censored, people.columns, {"confounds": beside})).values)
    keep = np.arange(120) != 60
    np.testing.assert_array_equal(outputs[0][keep], outputs[1][keep])


def test_units_do_not_matter_and_nothing_left_is_nothing():
    people, *_ = two_people()
    scale = np.array([1, 10, 1e3, 1e-2])
    scaled = Signal(people.values * scale, people.samples, people.columns, people.related)
    np.testing.assert_allclose(clean(scaled).values, clean(people).values, atol=2e-3)
    t = np.arange(60) * 2.0
    all_drift = Signal((3 + t)[:, None], clock(60), pd.DataFrame({"roi": ["L"]}))
    assert not clean(all_drift, ["drift"]).values.any()


def test_what_cannot_be_removed_is_said():
    people, *_ = two_people()
    with pytest.raises(SettingsError, match="confound 'trans_q' is not among those of sub-a; did you mean 'trans_"):
        clean(people, ["drift", "trans_q"])
    with pytest.raises(InputError, match="no confounds were recorded beside this signal"):
        clean(Signal(people.values, people.samples, people.columns))
    with pytest.raises(InputError, match="a segment of 6 samples cannot have 10 nuisance regressors removed"):
        clean(people, within=np.arange(120) // 6)
    with pytest.raises(InputError, match="3 labels for 120 samples"):
        clean(people, within=np.zeros(3))
    with pytest.raises(SettingsError, match="within is 'run' or a label per sample"):
        clean(people, within="fold")


def test_slow_cosines_stop_at_128_s():
    basis = drift(362, 2.0)
    assert basis.shape[1] == 4 + int(2 * 724 / 128)
    np.testing.assert_allclose(basis[:, 4:].T @ basis[:, 4:], np.eye(basis.shape[1] - 4) * 181, atol=1e-9)
