"""The word before, and what is left of a feature once others have explained their part."""

import numpy as np
import pandas as pd
import pytest

from brainalign.design.residual import COLUMNS, previous, residualise
from brainalign.errors import InputError, SettingsError
from brainalign.signals import Signal, join

N = 300


def words(runs: int = 1, n: int = N) -> pd.DataFrame:
    run = np.repeat([str(k + 1) for k in range(runs)], n // runs)
    return pd.DataFrame({"run": run, "time": np.tile(np.arange(n // runs) * 0.4, runs)})


def feature(values: np.ndarray, band: str, samples: pd.DataFrame | None = None) -> Signal:
    columns = pd.DataFrame({"band": band, "unit": np.arange(values.shape[1])})
    return Signal(values, words(n=len(values)) if samples is None else samples, columns, attrs={"features": {band: {}}})


def correlations(a: Signal, b: Signal, rows: slice = slice(None)) -> np.ndarray:
    """|r| of every column of a with every column of b."""
    x, y = (s.values[rows].astype(float) - s.values[rows].mean(0, dtype=float) for s in (a, b))
    return np.abs(x.T @ y) / np.outer(np.linalg.norm(x, axis=0), np.linalg.norm(y, axis=0))


@pytest.fixture
def known():
    return feature(np.random.default_rng(0).standard_normal((N, 4)) * [1, 30, 0.1, 5] + 7, "static")


class TestPrevious:
    def test_the_word_before_within_its_run(self):
        x = feature(np.arange(1.0, 9).reshape(8, 1), "lm.3", words(runs=2, n=8))
        assert previous(x).values.ravel().tolist() == [0, 1, 2, 3, 0, 5, 6, 7]
        assert previous(x, n=3).values.ravel().tolist() == [0, 0, 0, 1, 0, 0, 0, 5]
        assert not previous(x, n=4).values.any()
        assert not previous(x, n=9).values.any()

    def test_its_band_has_a_name_of_its_own(self, known):
        both = join(known, previous(known), previous(known, n=2))
        assert both.bands == ["static", "static.previous", "static.previous2"]
        assert both.columns["unit"].tolist() == [0, 1, 2, 3] * 3

    def test_what_cannot_be_asked_for(self, known):
        for n in (0, 1.5, True):
            with pytest.raises(SettingsError, match=f"n is a whole number of words, 1 or more; found {n}"):
                previous(known, n=n)
        bare = Signal(known.values, known.samples, pd.DataFrame({"roi": list("abcd")}))
        with pytest.raises(InputError, match="no `band`: a feature needs a name"):
            previous(bare)


class TestResidualise:
    def test_what_the_word_before_explains_is_gone(self, known):
        rng = np.random.default_rng(1)
        before = previous(known)
        signal = feature(before.values @ rng.standard_normal((4, 6)) + rng.standard_normal((N, 6)), "lm.1")
        assert correlations(signal, before).max() > 0.5
        left = residualise(signal, on=[before], penalty=0)
        assert correlations(left, before).max() < 1e-6  # float32
        assert np.abs(left.values.mean(0)).max() < 1e-5 * signal.values.std()
        assert left.bands == ["lm.1"]
        assert left.attrs["residual_on"] == {"lm.1": ["static.previous"]}
        assert left.attrs["features"] == {"lm.1": {}}

    def test_what_is_independent_is_kept(self, known):
        own = np.random.default_rng(2).standard_normal((N, 1))
        x = known.values.astype(float) - known.values.mean(0)
        own -= x @ np.linalg.lstsq(x, own, rcond=None)[0]
        own -= own.mean()  # nothing of it is in the others
        left = residualise(feature(own + x[:, :1] + 3, "lm.1"), on=[known])
        np.testing.assert_allclose(left.values, own, atol=1e-4)

    def test_several_features_are_taken_out_together(self, known):
        rng = np.random.default_rng(3)
        other = feature(known.values[:, :2] + rng.standard_normal((N, 2)), "other")
        signal = feature(rng.standard_normal((N, 3)) + other.values[:, :1], "lm.1")
        left = residualise(signal, on=[known, other, previous(other)], penalty=0)
        for one in (known, other, previous(other)):
            assert correlations(left, one).max() < 1e-6
        assert left.attrs["residual_on"]["lm.1"] == ["static", "other", "other.previous"]

    def test_it_is_ridge_in_closed_form(self, known):
        rng = np.random.default_rng(4)
        y = rng.standard_normal((N, 2)) + known.values[:, :1] + 5
        z = (known.values - known.values.mean(0, dtype=float)) / known.values.std(0, dtype=float)
        w = np.linalg.solve(z.T @ z + 0.3 * N * np.eye(4), z.T @ (y - y.mean(0)))
        left = residualise(feature(y, "lm.1"), on=[known], penalty=0.3)
        np.testing.assert_allclose(left.values, y - y.mean(0) - z @ w, atol=1e-5)

    def test_only_the_rows_given_teach(self, known):
        rng = np.random.default_rng(5)
        y = known.values[:, :1] + rng.standard_normal((N, 1))
        train = np.arange(N) < 200
        left = residualise(feature(y, "lm.1"), on=[known], penalty=0, rows=train)
        assert correlations(left, known, slice(0, 200)).max() < 1e-6
        assert correlations(left, known, slice(200, None)).max() > 1e-3
        changed, moved = y.copy(), known.values.copy()
        changed[200:] *= -3
        moved[200:] += 9
        again = residualise(feature(changed, "lm.1"), on=[known], penalty=0, rows=np.flatnonzero(train))
        np.testing.assert_array_equal(again.values[:200], left.values[:200])
        again = residualise(feature(y, "lm.1"), on=[feature(moved, "static")], penalty=0, rows=train)
        np.testing.assert_array_equal(again.values[:200], left.values[:200])

    def test_what_is_wholly_explained_is_zero_and_not_noise_to_be_scaled_up(self, known):
        signal = feature(np.c_[known.values @ np.ones((4, 1)), np.random.default_rng(6).standard_normal((N, 1))], "lm")
        for penalty in (0, 1e-6):
            left = residualise(signal, on=[known], penalty=penalty).values
            assert not left[:, 0].any()
            assert left[:, 1].std() > 0.5

    def test_columns_that_depend_on_each_other_or_never_change_do_no_harm(self, known):
        double = feature(np.c_[known.values, known.values[:, :1] * 2, np.ones(N)], "double")
        signal = feature(np.random.default_rng(7).standard_normal((N, 1)), "lm")
        one, two = (residualise(signal, on=[on], penalty=0).values for on in (known, double))
        np.testing.assert_allclose(one, two, atol=1e-5)

    def test_wide_signals_are_done_in_parts(self, known):
        wide = feature(np.random.default_rng(8).standard_normal((N, COLUMNS + 5)), "lm")
        left = residualise(wide, on=[known])
        last = residualise(wide.select(columns=slice(COLUMNS, None)), on=[known])
        np.testing.assert_allclose(left.values[:, COLUMNS:], last.values, atol=1e-5)

    def test_what_cannot_be_asked_for(self, known):
        signal = feature(np.ones((N, 1)), "lm")
        with pytest.raises(InputError, match="on is empty: name at least one feature"):
            residualise(signal, on=[])
        with pytest.raises(SettingsError, match="penalty is a number, 0 or more; found -1"):
            residualise(signal, on=[known], penalty=-1)
        with pytest.raises(InputError, match="is not on the samples of the first"):
            residualise(signal, on=[known.select(rows=slice(0, 5))])
        with pytest.raises(InputError, match="estimated on at least two words; found 1"):
            residualise(signal, on=[known], rows=[3])
        with pytest.raises(InputError, match="no `band`"):
            residualise(signal, on=[Signal(known.values, known.samples, pd.DataFrame({"x": range(4)}))])
