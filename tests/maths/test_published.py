"""A ceiling from a map of ncsnr is that of the responses the map was made from, and so are its p and se."""

import numpy as np
import pytest

from brainalign.errors import SettingsError
from brainalign.maths.ceiling import ncsnr, noise_ceiling
from brainalign.maths.published import ceiling_of_ncsnr


def responses(ratio, m=3, n=400, targets=1500, seed=0):
    """m presentations of n stimuli; signal to noise `ratio` (standard deviations)."""
    rng = np.random.default_rng(seed)
    return ratio * rng.standard_normal((1, n, targets)) + rng.standard_normal((m, n, targets))


def test_the_map_gives_what_the_responses_give():
    seen = responses(np.linspace(0.2, 1.5, 8), targets=8)
    for k in (1, 3):
        ours, theirs = ceiling_of_ncsnr(ncsnr(seen), k, (400, 3)), noise_ceiling(seen, k=k)
        np.testing.assert_allclose(ours.value, theirs.value, rtol=1e-6)
        np.testing.assert_allclose(ours.se, theirs.se, rtol=0.5)  # a jackknife over 20 blocks, itself ± 16 %


@pytest.mark.parametrize("m", [2, 3, 5])
def test_one_voxel_of_twenty_without_signal_passes_for_one_that_has_some(m):
    found = ceiling_of_ncsnr(ncsnr(responses(0.0, m)), 1, (400, m))
    assert abs((found.p < 0.05).mean() - 0.05) < 0.02
    assert abs(found.told_from_zero().mean() - 0.05) < 0.02
    untested = ceiling_of_ncsnr(ncsnr(responses(0.0, m)), 1)
    assert abs(untested.told_from_zero().mean() - 0.5) < 0.1
    assert np.isnan(untested.se).all()


@pytest.mark.parametrize("ratio", [0.3, 0.8])
@pytest.mark.parametrize("k", [1, 3])
def test_the_standard_error_is_the_spread_over_voxels_alike(ratio, k):
    found = ceiling_of_ncsnr(ncsnr(responses(ratio)), k, (400, 3))
    assert abs(found.se.mean() / found.value.std() - 1) < 0.1
    assert abs(found.value.mean() - ratio**2 / (ratio**2 + 1 / k)) < 0.01


def test_outside_the_brain_there_is_no_ceiling_and_without_signal_none_to_divide_by():
    found = ceiling_of_ncsnr(np.array([np.nan, 0.0, 0.5]), 3, (10_000, 3))
    assert np.isnan(found.value[0])
    assert found.told_from_zero().tolist() == [False, False, True]
    assert (found.unit, found.kind) == ("r2", "ncsnr_map")


def test_what_is_no_map_of_ncsnr():
    for arguments, message in [
        ((np.ones(1), 0.5), r"k is 0.5: how many presentations were averaged in the test data, at least 1"),
        ((np.array([-0.1, 1.0]), 1), r"a map of ncsnr is 0 or more; found -0.1: is it another map"),
        ((np.ones(1), 1, (1, 3)), r"needs 2 stimuli met 2 times at least; found 1 met 3 times"),
        ((np.ones(1), 1, (10, 1)), r"found 10 met 1 times"),
    ]:
        with pytest.raises(SettingsError, match=message):
            ceiling_of_ncsnr(*arguments)
