"""Responses and what they make of events, against nilearn's and against sums by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainalign.design.hrf import (
    DoubleGamma,
    convolved,
    dispersion_derivative,
    fir,
    glover,
    hrf_library,
    responder,
    spm,
    time_derivative,
    with_derivatives,
)
from brainalign.design.resample import resample
from brainalign.errors import InputError, SettingsError
from brainalign.signals import Signal

T = np.arange(0, 50, 0.01)
CLOCK = np.arange(200) * 2.0 + 1.0


def oracle(name):
    import nilearn.glm.first_level as nilearn

    return getattr(nilearn, name)


def alike(a, b):
    return np.corrcoef(a, b)[0, 1]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (spm, "spm_hrf"),
        (glover, "glover_hrf"),
        (time_derivative(spm), "spm_time_derivative"),
        (time_derivative(glover), "glover_time_derivative"),
        (dispersion_derivative(spm), "spm_dispersion_derivative"),
        (dispersion_derivative(glover), "glover_dispersion_derivative"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_responses_are_those_of_nilearn(ours, theirs):
    there = oracle(theirs)(2.0, oversampling=200, time_length=32.0)
    here = ours(np.linspace(0, 32, len(there)))
    assert alike(here, there) > 0.9999
    step = 32 / (len(there) - 1)  # nilearn's sum to 1, ours have an integral of 1
    assert np.abs(there).max() / step == pytest.approx(np.abs(here).max(), rel=5e-3)


@pytest.mark.parametrize("hrf", [spm, glover, *hrf_library()], ids=lambda hrf: hrf.name)
def test_a_response_has_unit_integral_and_begins_with_the_event(hrf):
    h = hrf(T)
    assert h.sum() * 0.01 == pytest.approx(1, abs=5e-3)
    assert not hrf(np.array([-5.0, 0.0])).any()
    assert h[-1] == pytest.approx(0, abs=2e-3 * h.max())


def test_the_library_varies_in_delay_and_width_and_holds_the_canonical_one():
    library = hrf_library()
    peaks = [T[hrf(T).argmax()] for hrf in library]
    widths = [0.01 * (hrf(T) > hrf(T).max() / 2).sum() for hrf in library]
    np.testing.assert_allclose(peaks, np.repeat([3.5, 4.25, 5, 6, 7], 4), atol=0.06)
    for k in range(0, 20, 4):
        assert (np.diff(widths[k : k + 4]) > 0.5).all()
    assert max(alike(spm(T), hrf(T)) for hrf in library) > 0.9999


@pytest.mark.parametrize("duration", [0.0, 0.3, 2.0, 20.0])
@pytest.mark.parametrize(("hrf", "name"), [(spm, "spm"), (glover, "glover")], ids=["spm", "glover"])
def test_events_are_convolved_as_by_nilearn(hrf, name, duration):
    onsets = np.sort(np.random.default_rng(0).uniform(0, 360, 25))
    lasting = np.full(25, duration)
    there, _ = oracle("compute_regressor")((onsets, lasting, np.ones(25)), name, CLOCK, oversampling=200)
    here = convolved(hrf)(CLOCK, onsets, lasting, 2.0).sum(1)
    assert alike(here, there[:, 0]) > 0.999
    gain = 2 / 200 if duration == 0 else 1  # their impulse lasts a step, ours counts as a second
    assert there[:, 0] @ here / (here @ here) == pytest.approx(gain, rel=0.01)


@settings(max_examples=25)
@given(st.floats(0, 60), st.floats(0.1, 40), st.floats(0.1, 40))
def test_an_event_is_the_sum_of_its_parts(onset, first, second):
    kernel = convolved(glover)
    parts = kernel(CLOCK, np.array([onset, onset + first]), np.array([first, second]), 2.0).sum(1)
    whole = kernel(CLOCK, np.array([onset]), np.array([first + second]), 2.0)[:, 0]
    np.testing.assert_allclose(parts, whole, atol=1e-9)


def test_a_weight_is_the_integral_over_the_event():
    def decay(t):
        return np.where(t >= 0, np.exp(-t / 3), 0.0)

    kernel = convolved(decay)
    found = kernel(np.array([1.0, 4.0, 10.0]), np.array([2.0]), np.array([5.0]), 1.0)[:, 0]
    by_hand = [0.0, 3 * (1 - np.exp(-2 / 3)), 3 * (np.exp(-3 / 3) - np.exp(-8 / 3))]
    np.testing.assert_allclose(found, by_hand, atol=1e-4)
    assert kernel.__name__ == "convolved(decay)"


def test_a_design_of_words_and_blocks():
    """Impulses where events have no durations; every word's features add up."""
    samples = pd.DataFrame({"run": "1", "time": [3.0, 3.5, 40.0]})
    words = Signal([[1.0, 0.0], [2.0, 1.0], [-1.0, 0.5]], samples, pd.DataFrame({"band": ["a", "b"]}))
    clock = pd.DataFrame({"run": "1", "time": CLOCK})
    found = resample(words, onto=clock, kernel=convolved(spm))
    by_hand = spm(CLOCK[:, None] - samples["time"].to_numpy()) @ words.values
    np.testing.assert_allclose(found.values, by_hand, atol=1e-5)
    assert found.attrs["resampled"] == "convolved(spm)"
    lasting = Signal(words.values, samples.assign(duration=[0.0, 2.0, np.nan]), words.columns)
    with pytest.raises(InputError, match="the event at 40 s of run 1 has no weight"):
        resample(lasting, onto=clock, kernel=convolved(spm))
    mixed = Signal(words.values, samples.assign(duration=[0.0, 2.0, 0.0]), words.columns)
    weight = np.c_[spm(CLOCK - 3), convolved(spm)(CLOCK, np.array([3.5]), np.array([2.0]), 2.0), spm(CLOCK - 40)]
    np.testing.assert_allclose(
        resample(mixed, onto=clock, kernel=convolved(spm)).values, weight @ words.values, atol=1e-5
    )


def test_fir_bins_hold_the_volumes_of_their_lag():
    basis = fir(stop_s=8.0, step_s=2.0)
    since = np.array([-2.0, 0.0, 1.9, 2.0, 7.98, 8.0])
    found = [responder(one)(since[:, None], np.zeros(1))[:, 0] * 2 for one in basis.functions]
    assert np.argmax(found, 0).tolist() == [0, 0, 0, 1, 3, 0]
    assert np.sum(found, 0).round(6).tolist() == [0, 1, 1, 1, 1, 0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DoubleGamma(dispersion=-1), "a double gamma has dispersions above 0"),
        (lambda: DoubleGamma(dispersion=0), "a double gamma has dispersions above 0"),
        (lambda: DoubleGamma(undershoot_dispersion=0), "a double gamma has dispersions above 0"),
        (lambda: DoubleGamma(ratio=1.0), "a ratio from 0 to below 1"),
        (lambda: convolved(lambda t: t[:5]), r"is no response: of 5001 times \(s\) it makes an array of shape \(5,\)"),
        (lambda: convolved(lambda t: t * np.nan), "with numbers that are not finite or all 0"),
        (lambda: with_derivatives(np.sinc, dispersion=True), "sinc is no DoubleGamma"),
        (lambda: fir(step_s=0), "lags go from 0 or more"),
        (lambda: fir(stop_s=90), "to at most 50 s"),
    ],
    ids=["dispersion", "zero", "undershoot", "ratio", "shape", "nan", "derivative", "step", "long"],
)
def test_what_is_no_response_is_refused(make, message):
    with pytest.raises(SettingsError, match=message):
        make()
