"""Small pixels are the means of those they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from brainalign.errors import SettingsError
from brainalign.features.pixels import pixels


def test_pixels():
    rng = np.random.default_rng(0)
    shown = rng.integers(0, 256, (2, 8, 8, 3), np.uint8)
    found = pixels(shown, side=4, rgb=True)
    means = shown.reshape(2, 4, 2, 4, 2, 3).mean((2, 4)) / 255
    assert found.shape == (2, 48)
    for k in rng.integers(0, 48, 10):
        column = found.columns.iloc[k]
        row, place = int(column["y"] * 4), int(column["x"] * 4)
        channel = ["red", "green", "blue"].index(column["channel"])
        assert found.values[:, k] == pytest.approx(means[:, row, place, channel], abs=1.01 / 255)
    grey = pixels(shown, side=4)
    assert grey.values[:, 5] == pytest.approx(means[:, 1, 1] @ [0.299, 0.587, 0.114], abs=1.01 / 255)
    with pytest.raises(SettingsError, match="side is how many pixels wide and high pictures are made, 1 or more"):
        pixels(shown, side=0)
