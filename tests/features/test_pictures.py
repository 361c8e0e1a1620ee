"""Events, files and arrays give the same pictures, in their order; missing files are all told at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from brainalign.errors import InputError, SettingsError
from brainalign.features import pictures as module
from brainalign.features.captions import multi_hot
from brainalign.features.pictures import pictures_of
from brainalign.provenance import hash_file


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "objects").mkdir()
    for k, name in enumerate(["a.png", "objects/b.png", "c.png"]):
        Image.new("RGB", (4, 3), (k, 0, 0)).save(tmp_path / name)
    return tmp_path


@pytest.fixture
def events():
    files = ["objects/b.png", "a.png", "./a.png", "objects/b.png"]
    return pd.DataFrame({"run": [1, 1, 1, 2], "onset": [0.5, 2.0, 4.0, 0.0], "duration": 1.5, "stim_file": files})


def reds(pictures, rows=None):
    return [int(picture[0, 0, 0]) for picture in pictures.read(range(len(pictures)) if rows is None else rows)]


def test_events(folder, events):
    found = pictures_of(events, root=folder)
    assert reds(found) == [1, 0, 0, 1]
    assert reds(found, [3, 1]) == [1, 0]
    assert list(found.samples) == ["run", "time", "duration", "stimulus"]
    assert found.samples["run"].tolist() == ["1", "1", "1", "2"]
    assert found.samples["time"].tolist() == [0.5, 2.0, 4.0, 0.0]
    assert found.samples["stimulus"].tolist() == ["objects/b.png", "a.png", "a.png", "objects/b.png"]
    assert found.digests[0] == found.digests[3] != found.digests[1] == found.digests[2]
    assert found.inputs == {name: hash_file(folder / name) for name in ("objects/b.png", "a.png")}
    assert repr(found) == "Pictures(4 shown, 2 different)"
    assert pictures_of(found) is found


def test_without_a_root_names_are_those_below_the_current_folder(folder, events, monkeypatch):
    monkeypatch.chdir(folder)
    assert pictures_of(events).inputs == pictures_of(events, root=folder).inputs
    named = events.rename(columns={"stim_file": "picture"})
    assert reds(pictures_of(named.drop(columns=["run", "onset"]), column="picture")) == [1, 0, 0, 1]


def test_a_list_of_files_says_nothing_of_the_machine(folder):
    found = pictures_of([folder / "c.png", str(folder / "objects/b.png")])
    assert reds(found) == [2, 1]
    assert found.samples["stimulus"].tolist() == ["c.png", "objects/b.png"]
    assert found.samples["time"].tolist() == [0, 1]
    assert str(folder) not in found.samples.to_json() + str(found.inputs)
    assert reds(pictures_of(["c.png"], root=folder)) == [2]


def test_files_in_an_array(folder, events):
    for names in (np.array(["c.png", "a.png"]), events["stim_file"].to_numpy(object)[:2], np.array("c.png")):
        expected = pictures_of(np.atleast_1d(names).tolist(), root=folder)
        assert pictures_of(names, root=folder).digests == expected.digests


def test_the_same_bytes_are_the_same_picture_whatever_their_name(folder):
    (folder / "d.png").write_bytes((folder / "a.png").read_bytes())
    found = pictures_of([folder / "a.png", folder / "d.png"])
    assert found.digests[0] == found.digests[1]
    assert pictures_of([folder / "a.png"], ground=(0, 0, 0)).digests[0] != found.digests[0]


def test_arrays_of_every_form():
    shown = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), np.uint8)
    found = pictures_of(shown)
    for same in (list(shown), shown / 255, [shown[0], shown[1] / 255, shown[2].astype(np.uint16) * 257]):
        assert pictures_of(same).digests == found.digests
    assert all((a == b).all() for a, b in zip(found.read([2, 0]), shown[[2, 0]], strict=True))
    assert [p.shape for p in pictures_of([np.zeros((2, 3)), np.zeros((1, 1))]).read([0, 1])] == [(2, 3, 3), (1, 1, 3)]
    assert pictures_of(shown[..., :1]).digests == pictures_of(shown[..., 0]).digests


def test_missing_files_are_told_at_once(folder, events, monkeypatch):
    events["stim_file"] = [f"gone{k}.png" for k in range(3)] + ["a.png"]
    monkeypatch.setattr(module, "NAMED", 2)
    with pytest.raises(
        InputError, match=r"3 of 4 pictures are not there: 'gone0.png', 'gone1.png', …; looked in .*root="
    ):
        pictures_of(events, root=folder)
    (folder / "gone0.png").symlink_to(folder / "annex")
    with pytest.raises(InputError, match="1 are links that lead nowhere: fetch what they stand for"):
        pictures_of(events, root=folder)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "objects/../../secret.png"])
def test_names_that_lead_outside_are_refused(folder, events, name):
    events.loc[2, "stim_file"] = name
    with pytest.raises(InputError, match="leads outside"):
        pictures_of(events, root=folder / "objects")


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ("a.png", r"'a.png' is one file or folder: give a list"),
        (np.zeros((4, 5, 3)), r"found \(4, 5, 3\); this looks like one picture: give images\[None\]"),
        (np.zeros((2, 3, 8, 8)), r"found \(2, 3, 8, 8\); channels stand last"),
        ([], "there are no pictures"),
        (np.zeros((0, 4, 4)), "there are no pictures"),
        ([np.zeros((2, 2)), "a.png"], "the pictures are array and path"),
        ([Image.new("L", (2, 2))], "the pictures are Image: give only paths or only arrays"),
        ([np.zeros((2, 2)), np.full((2, 2), 2.0)], "picture 1 has numbers whose black and white are unknown"),
    ],
    ids=["one path", "one picture", "channels first", "none", "no rows", "both", "pillow", "scale"],
)
def test_what_is_no_pictures(images, said):
    with pytest.raises(InputError, match=said):
        pictures_of(images)


def test_pillow_is_asked_for(folder, monkeypatch):
    monkeypatch.setattr("brainalign.errors.find_spec", lambda package: None)
    with pytest.raises(SettingsError, match=r"reading pictures needs PIL: run `pip install 'brainalign\[vision\]'`"):
        pictures_of([folder / "a.png"])


def test_several_categories_of_each_picture(events):
    events["categories"] = [["dog", "ball"], ["cat"], [], ["ball"]]
    shown = multi_hot(events, "categories")
    assert shown.columns["unit"].tolist() == ["ball", "cat", "dog"]
    assert shown.values.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 0, 0]]
    assert shown.samples["time"].tolist() == [0.5, 2.0, 4.0, 0.0]
