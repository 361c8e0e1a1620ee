"""Centre and peak of a profile, on profiles whose place is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from brainalign.errors import InputError
from brainalign.maths.profile import centre_of_mass, peak

profiles = arrays.arrays(float, (5, 3), elements=st.floats(-1, 1, allow_subnormal=False))


def test_a_symmetric_profile_lies_in_its_middle():
    lags = np.arange(-10, 11) / 10
    bump = np.exp(-((lags - 0.3) ** 2) / 0.02)
    assert centre_of_mass(bump, lags) == pytest.approx(0.3, abs=1e-6)
    assert peak(bump, lags) == 0.3


@given(profiles)
def test_centre_lies_between_the_places_that_weigh_something(weights):
    places = np.array([0.0, 1.0, 4.0, 16.0, 64.0])
    centre = centre_of_mass(weights, places)
    for t in range(3):
        heavy = places[weights[:, t] > 0]
        if len(heavy):
            assert heavy.min() - 1e-9 <= centre[t] <= heavy.max() + 1e-9
        else:
            assert np.isnan(centre[t])


@given(profiles, st.permutations(range(5)))
def test_the_order_of_places_is_nothing_and_their_unit_carries_over(weights, order):
    places, order = np.array([-0.4, -0.2, 0.0, 0.2, 0.5]), np.array(order)
    centre = centre_of_mass(weights, places)
    np.testing.assert_allclose(centre_of_mass(weights[order], places[order]), centre, atol=1e-9)
    np.testing.assert_allclose(centre_of_mass(weights, 1000 * places + 7), 1000 * centre + 7, atol=1e-6)


def test_what_is_negative_or_missing_weighs_nothing():
    places = np.array([1, 2, 3])
    assert centre_of_mass(np.array([-5.0, 0.1, np.nan]), places) == 2
    assert np.isnan(centre_of_mass(np.array([-1.0, 0.0, np.nan]), places))


def test_peak_is_the_first_of_equals_and_passes_over_nan():
    places = np.array([8, 2, 4])
    assert peak(np.array([[0.2, np.nan], [0.2, -0.5], [0.1, -0.4]]), places).tolist() == [8, 4]
    assert np.isnan(peak(np.full(3, np.nan), places))


def test_resamples_stand_behind_the_places():
    found = peak(np.arange(24.0).reshape(2, 3, 4), np.array([0, 1]))
    assert found.shape == (3, 4)
    assert centre_of_mass(np.ones((2, 3, 4)), np.array([0, 1])).tolist() == np.full((3, 4), 0.5).tolist()


@pytest.mark.parametrize("function", [centre_of_mass, peak])
def test_what_is_refused(function):
    with pytest.raises(InputError, match=r"a row per place; found a profile of shape \(2, 3\), places of shape \(3,\)"):
        function(np.zeros((2, 3)), np.arange(3))
    with pytest.raises(InputError, match=r"places are finite numbers; found \[0.0, nan\]"):
        function(np.zeros(2), np.array([0, np.nan]))
