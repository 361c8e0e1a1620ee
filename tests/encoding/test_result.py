"""What is saved is what is loaded."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray

from brainalign.encoding.chance import Chance
from brainalign.encoding.encode import encode
from brainalign.encoding.result import TABLES, Encoding, load, save
from brainalign.errors import InputError


@pytest.fixture(scope="module")
def fit(crowd):
    X, Y = crowd
    layers = {"lm": ["lm.0", "lm.1", "lm.2"]}
    return encode(X, Y, baseline=["rate"], alternatives=layers, chance=Chance(99, 99))


def test_a_results_folder_comes_back_whole(fit, crowd, tmp_path):
    again = load(save(fit, tmp_path / "r"))
    assert isinstance(again, Encoding)
    for name in TABLES:
        kept, found = getattr(fit, name), getattr(again, name)
        assert list(kept.columns) == list(found.columns)
        if len(kept):
            pd.testing.assert_frame_equal(kept.reset_index(drop=True), found, check_dtype=False, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(fit.predictions.values, again.predictions.values)
    np.testing.assert_array_equal(fit.observed.values, again.observed.values)
    assert again.settings == fit.settings
    assert again.notes == fit.notes
    assert again.provenance == fit.provenance
    np.testing.assert_array_equal(again.predict(crowd[0]).values, fit.predict(crowd[0]).values)


def test_the_same_fit_is_the_same_bytes(fit, tmp_path):
    for name in ("a", "b"):
        save(fit, tmp_path / name)
    for file in ("scores.tsv", "people.tsv", "layers.tsv", "gain.tsv", "settings.yaml", "provenance.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_xarray_opens_predictions_and_weights(fit, tmp_path):
    folder = save(fit, tmp_path / "r")
    with xarray.open_zarr(folder / "predictions.zarr") as data:
        assert data["values"].shape == fit.predictions.shape
        assert set(data["model"].values) == {"baseline", "full"}
    with xarray.open_zarr(folder / "weights.zarr") as data:
        assert data["weights"].dims == ("feature", "target")


def test_what_is_no_results_folder(tmp_path):
    with pytest.raises(InputError, match=r"is not a results folder: scores.tsv, settings.yaml, .* missing"):
        load(tmp_path)


def test_what_an_earlier_fit_left_in_the_folder_goes(fit, tmp_path):
    folder = save(fit, tmp_path / "x")
    assert (folder / "layers.tsv").exists()
    save(replace(fit, layers=fit.layers.iloc[:0], weights=None), folder)
    assert not (folder / "layers.tsv").exists()
    assert not (folder / "weights.zarr").exists()
    assert len(load(folder).scores) == len(fit.scores)
