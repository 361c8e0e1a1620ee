"""Light and colour by the standards' own numbers; a film's frames as any picture's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from brainalign.features import light
from brainalign.features.light import colour, contrast, lab_of, lightness_of, luminance, luminance_of
from brainalign.store import Store

# sRGB's primaries and two more in CIELAB (D65), as tables of the standards' constants give them
KNOWN = {
    (255, 255, 255): (100.0, 0.0, 0.0),
    (0, 0, 0): (0.0, 0.0, 0.0),
    (255, 0, 0): (53.24, 80.09, 67.20),
    (0, 255, 0): (87.73, -86.18, 83.18),
    (0, 0, 255): (32.30, 79.19, -107.86),
    (255, 255, 0): (97.14, -21.55, 94.48),
    (0, 255, 255): (91.11, -48.09, -14.13),
    (119, 119, 119): (50.03, 0.0, 0.0),
}


@pytest.mark.parametrize("pixel", list(KNOWN), ids=str)
def test_cielab(pixel):
    picture = np.array([[pixel]], np.uint8)
    assert np.abs(lab_of(picture)[0, 0] - KNOWN[pixel]).max() < 0.02
    assert abs(lightness_of(picture)[0, 0] - KNOWN[pixel][0]) < 0.02


def test_relative_luminance():
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    linear = luminance_of(grey)
    assert linear[0] == 0
    assert linear[255] == pytest.approx(1)
    assert linear[10] == pytest.approx(10 / 255 / 12.92)
    assert linear[188] == pytest.approx(0.5029, abs=1e-4)  # half the light of white is the value 188
    assert (np.diff(linear) > 0).all()


def checks(low, high):
    return np.where(np.indices((6, 6)).sum(0) % 2, low, high).astype(np.uint8)


def test_luminance_and_contrast():
    shown = np.stack([checks(0, 255), checks(188, 188), checks(0, 188)])
    assert luminance(shown).values.ravel() == pytest.approx([0.5, 0.5029, 0.2514], abs=1e-4)
    assert contrast(shown).values.ravel() == pytest.approx([0.5, 0, 0.2514], abs=1e-4)
    assert contrast(np.zeros((1, 1, 1), np.uint8)).values.tolist() == [[0]]


def test_colour():
    red, cyan, grey = ([255, 0, 0], [0, 255, 255], [90, 90, 90])
    shown = np.array([[[red, red]], [[red, cyan]], [[grey, red]], [[grey, grey]]], np.uint8)
    found = pd.DataFrame(colour(shown).values, columns=colour(shown).columns["unit"])
    a, b = KNOWN[(255, 0, 0)][1:]
    assert found.iloc[0].to_numpy() == pytest.approx(
        [a, b, np.hypot(a, b), a / np.hypot(a, b), b / np.hypot(a, b)], abs=0.02
    )
    assert found["a*"][1] == pytest.approx((a - 48.09) / 2, abs=0.02)
    assert found["chroma"][1] == pytest.approx((np.hypot(a, b) + np.hypot(48.09, 14.13)) / 2, abs=0.02)
    assert found["chroma"][2] == pytest.approx(np.hypot(a, b) / 2, abs=0.02)
    assert found["hue cos"][2] == pytest.approx(found["hue cos"][0], abs=1e-4)  # grey has no hue to count
    assert np.abs(found.iloc[3]).max() < 1e-6


@pytest.mark.parametrize("band", [luminance, contrast, colour])
def test_large_pictures_are_looked_at_in_strips(band, monkeypatch):
    shown = np.random.default_rng(0).integers(0, 256, (1, 31, 17, 3), np.uint8)
    whole = band(shown).values
    monkeypatch.setattr(light, "STRIP_PIXELS", 40)
    assert band(shown).values == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("band", [luminance, contrast, colour])
def test_events_and_the_store(band, tmp_path):
    Image.new("RGB", (4, 4), (200, 10, 10)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"broken")
    events = pd.DataFrame({"run": "1", "onset": [0.0, 3.0, 6.0], "picture": ["a.png", "b.png", "a.png"]})
    found = band(
        events,
        column="picture",
        root=tmp_path,
        unreadable="censor",
        name="dull",
        store=Store(tmp_path / "store"),
    )
    assert found.bands == ["dull"]
    assert found.samples["time"].tolist() == [0, 3, 6]
    assert found.use.tolist() == [True, False, True]
    assert (found.values[0] == found.values[2]).all()
    assert found.attrs["features"]["dull"]["kind"] == band.__name__
    assert len(Store(tmp_path / "store").pieces()) == 1
