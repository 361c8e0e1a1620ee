"""Motion energy peaks at the planted direction; a film in pieces is as a film in one, and as pymoten has it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from brainalign.errors import InputError, SettingsError
from brainalign.features import motion
from brainalign.features.light import lightness_of
from brainalign.features.motion import motion_energy
from brainalign.features.pictures import Pictures, pictures_of
from brainalign.store import Store

SMALL = {"rate": 10, "side": 24, "spatial_frequencies": [0, 2], "temporal_frequencies": [0, 2]}


def film(shown, rate=10, runs=None):
    found = pictures_of(shown)
    n = len(shown)
    runs = np.array(["1"] * n) if runs is None else np.array(runs)
    time = np.concatenate([np.arange((runs == run).sum()) for run in dict.fromkeys(runs)]) / rate
    return Pictures(found.samples.assign(run=runs, time=time), found.digests, found.read)


def noise(n, height=24, width=24):
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), np.uint8)


def drifting(direction, frequency=2, hertz=2, n=24, rate=10, side=24):
    centres = (np.arange(side) + 0.5) / side
    right, up = np.meshgrid(centres, centres[::-1])
    angle = np.deg2rad(direction)
    along = right * np.cos(angle) + up * np.sin(angle)
    time = np.arange(n)[:, None, None] / rate
    return 0.5 + 0.3 * np.sin(2 * np.pi * (frequency * along - hertz * time))


@pytest.mark.parametrize("direction", range(0, 360, 45))
def test_energy_peaks_at_the_planted_direction(direction):
    found = motion_energy(film(drifting(direction)), **SMALL)
    assert strongest(found, 12) == (direction, 2)


def test_what_stands_still_and_what_flickers():
    still = motion_energy(film(np.repeat(drifting(90, n=1), 24, axis=0)), **SMALL)
    assert strongest(still, 12) == (90, 0)
    whole = still.columns["frequency"] == 0
    assert still.columns["direction"][whole].isna().all()
    flicker = np.where(np.arange(24) % 5 < 2, 40, 200).astype(np.uint8)[:, None, None] * np.ones((1, 24, 24), np.uint8)
    found = motion_energy(film(flicker), **SMALL, log=False)  # twice a second
    fast = found.columns["temporal_frequency"] == 2
    assert found.values[12, whole & fast].min() > 10 * found.values[12, ~whole & fast].max()


def strongest(found, row):
    """Direction and temporal frequency of the filter that is moved most, of those that have a direction."""
    columns = found.columns[found.columns["frequency"] > 0]
    best = columns.loc[columns.index[found.values[row, columns.index].argmax()]]
    return best["direction"], best["temporal_frequency"]


def as_pymoten(shown, size, log):
    """All at once by pymoten itself; what it calls a direction is the opposite one."""
    from moten.core import project_stimulus_batched

    names = ("spatial_frequencies", "temporal_frequencies")
    pyramid = motion._pyramid(size, 10, *[SMALL[name] for name in names], directions=list(range(0, 360, 45)))
    light = lightness_of(shown).astype(np.float32)
    how = {} if log else {"output_nonlinearity": lambda energy: energy}
    columns = motion._columns(pyramid, size)
    moves = (columns["temporal_frequency"] > 0) & (columns["frequency"] > 0)
    columns["direction"] = columns["direction"].where(~moves, (columns["direction"] + 180) % 360)
    return pd.DataFrame(project_stimulus_batched(light, pyramid.filters, **how).T).set_index(
        [columns[name].fillna(-1) for name in ("frequency", "temporal_frequency", "direction", "x", "y")]
    )


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("width", [24, 40])
def test_pieces_give_what_pymoten_gives_for_the_whole(monkeypatch, width, log):
    shown = noise(45, 24, width)
    monkeypatch.setattr(motion, "PART_FRAMES", 7)
    found = motion_energy(film(shown), **SMALL, log=log)
    whole = as_pymoten(shown, (24, width), log)
    keys = found.columns[["frequency", "temporal_frequency", "direction", "x", "y"]].fillna(-1)
    expected = whole.loc[list(keys.itertuples(index=False, name=None))].to_numpy().T
    assert found.values == pytest.approx(expected, rel=1e-3, abs=2e-3)
    assert found.columns["x"].between(0, 1).all()


def test_runs_do_not_touch_and_the_store_finds_them(tmp_path, monkeypatch):
    monkeypatch.setattr(motion, "PART_FRAMES", 8)
    shown = noise(40)
    apart = [motion_energy(film(part), **SMALL).values for part in (shown[:25], shown[25:])]
    both = film(shown, runs=["a"] * 25 + ["b"] * 15)
    store = Store(tmp_path)
    found = motion_energy(both, **SMALL, store=store, name="moves")
    assert found.values == pytest.approx(np.concatenate(apart), abs=1e-3)
    assert isinstance(found.values, np.memmap)
    assert found.bands == ["moves"]
    monkeypatch.setattr(motion, "_filters", None)  # nothing is computed again
    again = motion_energy(both, **SMALL, store=store, name="moves")
    assert (again.values == found.values).all()
    assert found.attrs["features"]["moves"]["directions"] == list(range(0, 360, 45))


def test_moments_beside_a_broken_frame_are_censored(monkeypatch):
    monkeypatch.setattr(motion, "PART_FRAMES", 8)
    shown = film(noise(30))

    def read(rows):
        for row in rows:
            if row == 15:
                raise InputError("picture 15 is broken")
            yield from shown.read([row])

    broken = Pictures(shown.samples, shown.digests, read)
    found = motion_energy(broken, **SMALL, unreadable="censor")
    out = np.flatnonzero(~found.use)
    assert 15 in out
    assert out.tolist() == list(range(out[0], out[-1] + 1))
    assert len(out) == 6  # as long as a filter
    whole = motion_energy(shown, **SMALL)
    assert found.values[found.use] == pytest.approx(whole.values[found.use], abs=1e-3)
    why = {one["stimulus"]: one["why"] for one in found.attrs["left_out"]}
    assert why["picture 15"] == "picture 15 is broken"
    assert why["picture 14"] == "it can be read, but what is beside it could not"
    with pytest.raises(InputError, match="picture 15 is broken"):
        motion_energy(broken, **SMALL)


def test_a_film_by_its_path(tmp_path):
    frames = [Image.fromarray((255 * frame).astype(np.uint8)) for frame in drifting(180)]
    frames[0].save(tmp_path / "left.gif", save_all=True, append_images=frames[1:], duration=100)
    found = motion_energy(tmp_path / "left.gif", **SMALL)
    assert found.samples["time"].tolist() == pytest.approx([k / 10 for k in range(24)])
    assert strongest(found, 12) == (180, 2)
    assert list(found.attrs["inputs"]) == ["left.gif"]


def test_a_film_in_an_array():
    shown = noise(12)
    found = motion_energy(shown, **SMALL)
    assert (found.values == motion_energy(film(shown), **SMALL).values).all()
    assert found.samples["run"].unique().tolist() == ["1"]
    assert found.samples["time"].tolist() == pytest.approx([k / 10 for k in range(12)])
    assert found.samples["stimulus"].tolist()[-1] == "frame 11"


def test_what_is_wrong_is_said():
    shown = film(noise(4))
    with pytest.raises(SettingsError, match=r"rate is a whole number of frames a second, 2 or more; found 2.5"):
        motion_energy(shown, rate=2.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(SettingsError, match=r"rate is a whole number of frames a second, 2 or more; found 'x'"):
        motion_energy(shown, rate="x")  # pyright: ignore[reportArgumentType]
    with pytest.raises(SettingsError, match=r"directions are of motion, one or more, in degrees; found \[\]"):
        motion_energy(shown, **SMALL, directions=[])
    with pytest.raises(SettingsError, match="temporal_frequencies are from 0 to 5, half of what is sampled; found"):
        motion_energy(shown, rate=10, temporal_frequencies=[6])
    with pytest.raises(SettingsError, match="spatial_frequencies are from 0 to 12"):
        motion_energy(shown, rate=10, side=24)
    with pytest.raises(InputError, match=r"run 1 are not 0.0667 s apart, as .* 15 Hz .* 0.1000 to 0.1000 s: read"):
        motion_energy(shown, rate=15)
    wide = [*noise(2), *noise(2, 24, 40)]
    with pytest.raises(InputError, match=r"the films differ in width / height, 1.00 in run a and 1.67 in run b"):
        motion_energy(film(wide, runs=["a", "a", "b", "b"]), **SMALL)
