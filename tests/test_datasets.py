"""Cards, samples, and the scripts that made the samples."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import mne_bids
import nibabel
import nilearn.image
import numpy as np
import pandas as pd
import pytest

from brainalign import InputError
from brainalign.events import run_ends
from brainalign.io.fetch import dataset_card, dataset_cards, parse_card, sample_path
from brainalign.io.fmri import read_fmri
from brainalign.io.transcripts import read_events
from brainalign.provenance import hash_file
from brainalign.shipped import shipped

REPOSITORY = Path(__file__).parents[1]
ORIGINALS = Path(os.environ.get("BRAINALIGN_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
SOURCES = {"alice": "alice-fmri-rois", "haxby": "haxby2001-bids"}


def test_datasets_is_no_package():
    assert not list((REPOSITORY / "datasets").rglob("__init__.py")), "it would hide Hugging Face's `datasets`"


@pytest.mark.parametrize("name", SOURCES)
def test_the_script_makes_the_sample_again_byte_for_byte(name, tmp_path):
    source = ORIGINALS / SOURCES[name]
    if not source.is_dir():
        pytest.skip(f"the originals are not here: {source} (set BRAINALIGN_TEST_DATA)")
    script = REPOSITORY / f"datasets/sample/make_{name}.py"
    subprocess.run([sys.executable, "-B", script, source, tmp_path / name], check=True, timeout=120)
    made, shipped_ = ({p.relative_to(r): p.read_bytes() for p in r.rglob("*") if p.is_file()} for r in (
        tmp_path / name, REPOSITORY / "datasets/sample" / name))  # fmt: skip
    assert sorted(made) == sorted(shipped_)
    assert [path for path in made if made[path] != shipped_[path]] == []
    registry = f"{name}-registry.txt"
    assert (tmp_path / registry).read_bytes() == (REPOSITORY / "datasets/sample" / registry).read_bytes()


@pytest.mark.parametrize("name", SOURCES)
def test_the_registry_lists_every_file_with_its_hash(name):
    lines = (shipped("sample") / f"{name}-registry.txt").read_text().splitlines()
    registry = dict(line.split(" sha256:") for line in lines)
    there = {p.relative_to(sample_path(name)).as_posix() for p in sample_path(name).rglob("*") if p.is_file()}
    assert set(registry) == there
    assert all(hash_file(sample_path(name) / path) == digest for path, digest in registry.items())


def test_alice_holds_every_published_number():
    source = ORIGINALS / "alice-fmri-rois"
    if not source.is_dir():
        pytest.skip(f"the originals are not here: {source} (set BRAINALIGN_TEST_DATA)")
    func = sample_path("alice") / "derivatives/rois"
    for original in sorted((source / "bold/6mm").iterdir()):
        person = original.name.split("-")[0].removeprefix("s")
        stem = func / f"sub-{person}/func/sub-{person}_task-alice"
        table = pd.read_csv(f"{stem}_atlas-sphere6mm_timeseries.tsv", sep="\t")
        assert list(table) == ["time", "LATL", "RATL", "LPTL", "LIPL", "LPreM", "LIFG"]
        assert np.array_equal(table.to_numpy()[:, 1:], np.loadtxt(original))
        (motion,) = (source / "motion").glob(f"s{person}-rp_*.txt")
        confounds = pd.read_csv(f"{stem}_desc-confounds_timeseries.tsv", sep="\t")
        assert np.array_equal(confounds.to_numpy(), np.loadtxt(motion)[-362:])


@pytest.mark.parametrize("name", ["alice", "haxby"])
def test_licence_and_citation_travel_with_the_sample(name):
    card, root = dataset_card(name), sample_path(name)
    text = "\n".join(path.read_text() for path in root.glob("README*"))
    assert card.licence.replace("-", " ").removesuffix(" 4.0").removesuffix(" 3.0") in text.replace("-", " ")
    assert card.citation.split(",")[0] in text
    if name == "alice":
        licences = sorted(path.name for path in root.glob("LICENSE*"))
        assert licences == ["LICENSE-stimulus.txt", "LICENSE-timecourses.txt"]


def test_participants_are_the_people_there_are():
    root = sample_path("alice")
    with (root / "participants.tsv").open() as file:
        rows = {row["participant_id"]: row["scanner_sequence"] for row in csv.DictReader(file, delimiter="\t")}
    assert set(rows) == {path.name for path in (root / "derivatives/rois").glob("sub-*")}
    assert len(rows) == 18
    assert (rows["sub-37"], rows["sub-38"], rows["sub-39"]) == ("single-echo", "n/a", "multi-echo")


def test_other_peoples_tools_read_the_samples():
    rois = sample_path("alice") / "derivatives/rois"
    people = [path.name.removeprefix("sub-") for path in sorted(rois.glob("sub-*"))]
    assert mne_bids.get_entity_vals(rois, "subject") == people
    haxby = sample_path("haxby")
    assert mne_bids.get_entity_vals(haxby, "subject") == ["1"]
    assert mne_bids.get_entity_vals(haxby, "run") == [f"{run:02d}" for run in range(1, 13)]
    bold = next(iter(sorted((haxby / "sub-1/func").glob("*_bold.nii.gz"))))
    image = nilearn.image.load_img(bold)
    assert isinstance(image, nibabel.Nifti1Image)
    assert image.shape == (40, 20, 1, 121)


@pytest.mark.parametrize("name", ["alice", "haxby"])
def test_a_card_says_the_clock_its_sample_has(name):
    card = dataset_card(name)
    bold = read_fmri(sample_path(name), task=card.task, average="subjects")
    assert bold.attrs["tr"] == card.clock.tr
    assert bold.attrs["start_time"] == card.clock.start_time
    events = read_events(sample_path(name), task=card.task)
    ends = run_ends(bold)
    assert set(events["run"]) == set(ends)
    assert all(events.loc[events["run"] == run, "onset"].max() < end for run, end in ends.items())
    size = sum(path.stat().st_size for path in sample_path(name).rglob("*") if path.is_file()) / 1e6
    assert card.size_mb == pytest.approx(size, abs=0.1)


def test_cards_are_known_by_name():
    assert sorted(dataset_cards()) == ["alice", "haxby", "lebel2023", "nsd"]
    with pytest.raises(InputError, match=r"no data set 'alcie'; did you mean 'alice'\?"):
        dataset_card("alcie")


@pytest.mark.parametrize("name", ["lebel2023", "nsd"])
def test_a_card_of_what_is_not_shipped_says_all_one_needs_to_begin(name):
    card = dataset_card(name)
    with pytest.raises(InputError, match=f"no sample of '{name}' came with brainalign: get it from https://"):
        sample_path(name)
    assert card.doi.startswith("10.")
    assert card.citation.split(",")[0] in {"LeBel", "Allen"}
    assert card.clock.trim_volumes == 0
    assert len(card.quirks) > 3


CARD = {
    "title": "t", "licence": "CC0-1.0", "doi": "10.1/x", "source": "https://x.org", "version": "1", "size_mb": 1,
    "citation": "c", "task": "t", "clock": {"tr": 2, "start_time": 0.0, "volumes_dropped": 0, "trims": "None."},
    "quirks": [],
}  # fmt: skip


def test_a_card_without_a_sample_says_where_to_get_the_data(monkeypatch):
    assert parse_card("x", CARD).sample == ""
    monkeypatch.setattr("brainalign.io.fetch.cards", lambda kind: {"x": CARD})
    with pytest.raises(InputError, match=r"no sample of 'x' came with brainalign: get it from https://x.org"):
        sample_path("x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"titel": "t"}, r"card 'x' has a field 'titel' that is not known; did you mean 'title'\?"),
        ({"doi": None}, r"card 'x': doi is None, a str is needed"),
        ({"size_mb": "big"}, r"card 'x': size_mb is 'big', a float is needed"),
        ({"clock": 2.0}, r"card 'x': clock is 2.0, a DatasetClock is needed"),
        ({"clock": {"tr": 2.0}}, r"the clock of card 'x' has no field 'start_time' \(float\): add it"),
        ({"clock": CARD["clock"] | {"trim_volumes": 1.5}}, r"trim_volumes is 1.5, a int is needed"),
        ({"clock": CARD["clock"] | {"volumes_dropped": -1}}, r"volumes_dropped is -1, 0 or more is needed"),
        ({"clock": CARD["clock"] | {"trim": 5}}, r"a field 'trim' that is not known; did you mean 'trims'\?"),
        ({"quirks": "many"}, r"card 'x': quirks is 'many', a tuple\[str, ...\] is needed"),
    ],
)
def test_a_card_is_held_to_its_fields(change, message):
    with pytest.raises(InputError, match=message):
        parse_card("x", CARD | change)


def test_a_card_may_say_how_many_volumes_are_left_out():
    assert parse_card("x", CARD).clock.trim_volumes == 0
    assert parse_card("x", CARD | {"clock": CARD["clock"] | {"trim_volumes": 5}}).clock.trim_volumes == 5
    assert "trim_volumes" not in CARD["clock"]


def test_a_card_lacks_nothing():
    for name in set(CARD) - {"sample"}:
        with pytest.raises(InputError, match=f"card 'x' has no field '{name}'"):
            parse_card("x", {key: value for key, value in CARD.items() if key != name})
