import os
import re
import shutil
from functools import partial
from pathlib import Path

import h5py
import mne
import mne_bids
import numpy as np
import pandas as pd
import pytest

import brainalign as ba
from brainalign import InputError, SettingsError
from brainalign.io import streaming
from brainalign.io.bids import index_bids
from brainalign.io.opened import open_recording
from brainalign.maths.artefacts import Limits
from brainalign.maths.bands import band, high_gamma, raw
from brainalign.store import Store

NAMES = ["LA1", "LA2", "LA3", "LA4", "RB1", "RB2"]
VOLTS = raw()
TINY = Path(os.environ.get("BRAINALIGN_TEST_DATA", "/nowhere"), "ieeg-bids-tiny")
tiny = pytest.mark.skipif(not TINY.is_dir(), reason="BRAINALIGN_TEST_DATA does not hold ieeg-bids-tiny")


def read(electric, **how):
    """Voltages as they are, at the recording's own rate."""
    return ba.read_ieeg(electric.root, **{"band": VOLTS, "rate": electric.fs, "line_noise": None} | how)


def channels(names, kinds="SEEG", status="good", **more):
    return {"name": names, "type": kinds, "units": "µV", "status": status} | more


def electrodes(names, **more):
    n = len(names)
    return {"name": names, "x": np.arange(n) + 10.0, "y": -20.0, "z": 30.0} | more


MNI = {"iEEGCoordinateSystem": "MNI152NLin2009cAsym", "iEEGCoordinateUnits": "mm"}
ACPC = {"iEEGCoordinateSystem": "ACPC", "iEEGCoordinateUnits": "mm"}


@pytest.fixture
def person(electric):
    """One person's run in BrainVision, with every table beside it."""
    data = electric.data(6)
    electric.write(".vhdr", data, NAMES)
    electric.table("task-x_channels.tsv", channels(NAMES))
    electric.table("electrodes.tsv", electrodes(NAMES))
    electric.table("coordsystem.json", ACPC)
    return electric, data


@tiny
def test_the_tiny_recording_is_what_mne_reads(tmp_path):
    file = index_bids(TINY).find("ieeg", ".vhdr")[0]
    opened = open_recording(index_bids(TINY), file)
    theirs = mne.io.read_raw_brainvision(file.path, preload=True, verbose="ERROR")
    assert opened.channels["name"].tolist() == theirs.ch_names
    np.testing.assert_array_equal(opened.blocks(0, opened.n_samples), theirs.get_data().T)
    assert opened.line_freq == 50
    assert "channels.tsv says V, the header µV: the header's taken" in opened.notes[0]
    signal = ba.read_ieeg(TINY, band=VOLTS, rate=2000.0, line_noise=None, reference=ba.bipolar)
    pairs = [name.split("-") for name in signal.columns["channel"]]
    volts = theirs.get_data([a for a, _ in pairs]) - theirs.get_data([b for _, b in pairs])
    np.testing.assert_allclose(signal.values, volts.T, atol=1e-9)
    assert len(pairs) == 43
    assert signal.attrs["line_noise"] == {"01, 01": None}
    events = ba.read_events(TINY)
    assert len(events) == 68
    assert set(events["run"]) == set(signal.samples["run"]) == {"01"}


@pytest.mark.parametrize("extension", [".vhdr", ".edf", ".bdf", ".fif", ".set", ".nwb"])
def test_every_format_gives_the_same_signal(electric, extension):
    data = electric.data(6)
    electric.write(extension, data, NAMES)
    electric.table("task-x_channels.tsv", channels(NAMES, units="V" if extension in (".fif", ".nwb") else "µV"))
    signal = read(electric)
    np.testing.assert_allclose(signal.values, data, atol=1e-10)
    assert signal.samples["time"].iloc[[0, -1]].tolist() == [0, (len(data) - 1) / electric.fs]
    assert signal.columns["channel"].tolist() == NAMES
    assert signal.attrs["unit"] == "V"
    assert [note for note in signal.attrs["notes"] if "electrodes.tsv" not in note] == []


@pytest.mark.parametrize(
    ("extension", "reader"),
    [(".vhdr", "brainvision"), (".edf", "edf"), (".set", "eeglab")],
)
def test_a_tree_that_mne_bids_wrote_is_read(electric, writers, tmp_path, extension, reader):
    data = {session: electric.data(6, seed=k) for k, session in enumerate("ab")}
    places = {name: np.array([0.01 * k, 0.02, 0.03]) for k, name in enumerate(NAMES)}
    for session, values in data.items():
        path = tmp_path / f"recorded_in_{session}{extension}"
        writers[extension](path, values, NAMES, electric.fs, **{"struct": True} if extension == ".set" else {})
        theirs = getattr(mne.io, f"read_raw_{reader}")(path, verbose="ERROR")
        theirs.set_channel_types(dict.fromkeys(NAMES, "seeg"), on_unit_change="ignore", verbose="ERROR")
        theirs.info["line_freq"], theirs.info["bads"] = 60, ["LA3"]
        theirs.set_montage(mne.channels.make_dig_montage(places, coord_frame="mni_tal"), verbose="ERROR")
        theirs.set_annotations(mne.Annotations([1.0], [0.5], ["BAD_move"]))
        to = {"subject": "01", "session": session, "task": "x", "run": "1", "acquisition": "hi", "datatype": "ieeg"}
        mne_bids.write_raw_bids(theirs, mne_bids.BIDSPath(**to, root=electric.root), verbose="ERROR")
    signal = read(electric)
    kept = [0, 1, 3, 4, 5]
    assert signal.runs == ["a-1", "b-1"]
    assert signal.attrs["bad_channels"] == {"01": {"LA3": "bad by channels.tsv"}}
    assert signal.columns.iloc[-1].to_list() == ["01", "RB2", "SEEG", 50, 20, 30, "fsaverage", "RB"]
    assert read(electric, line_noise="sidecar").attrs["line_noise"] == {"01, a-1": 60.0, "01, b-1": 60.0}
    for session, values in data.items():
        run = signal.select(run=f"{session}-1")
        np.testing.assert_allclose(run.values[run.use], values[run.use][:, kept], atol=1e-10)
        assert set(range(500, 750)) <= set(np.flatnonzero(~run.use))


def test_split_magnetoencephalography_is_one_run(electric, writers):
    data = electric.data(8, seconds=100) * 1e-9
    names, kinds = [f"MEG{k:04d}" for k in range(7)] + ["STI101"], ["mag"] * 3 + ["grad"] * 4 + ["stim"]
    path = electric.path(".fif", datatype="meg", split="01")
    writers[".fif"](path, data, names, electric.fs, kinds, split_size="2MB", split_naming="bids")
    assert len(list(path.parent.glob("*_split-*_meg.fif"))) > 1
    signal = read(electric, datatype="meg")
    np.testing.assert_allclose(signal.values, data[:, :7], atol=1e-18)
    assert signal.runs == ["1"]


def test_types_and_bads_are_those_mne_bids_reads(person):
    electric, _ = person
    kinds, status = ["SEEG"] * 4 + ["EOG", "SEEG"], ["good", "bad"] + ["good"] * 4
    electric.table("task-x_channels.tsv", channels(NAMES, kinds, status))
    (electric.root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    path = mne_bids.BIDSPath(subject="01", task="x", run="1", datatype="ieeg", root=electric.root)
    theirs = mne_bids.read_raw_bids(path, verbose="ERROR")
    signal = read(electric)
    good = mne.pick_types(theirs.info, seeg=True, exclude="bads")
    assert signal.columns["channel"].tolist() == [theirs.ch_names[k] for k in good]
    np.testing.assert_allclose(signal.values, theirs.get_data(good).T, atol=1e-10)
    assert signal.attrs["bad_channels"] == {"01": {"LA2": "bad by channels.tsv"}}
    assert "1 channel left out, of type EOG: RB1" in signal.attrs["notes"]


def test_positions_types_and_frame_come_along(person):
    electric, _ = person
    columns = read(electric, reference=ba.bipolar).columns
    assert columns.iloc[0].to_list() == ["01", "LA1-LA2", "SEEG", 10.5, -20, 30, "ACPC", "LA"]
    assert columns.columns.to_list() == ["subject", "channel", "type", "x", "y", "z", "frame", "shaft"]


@pytest.mark.parametrize("worth", [1e6, np.nan, np.inf], ids=["large", "missing", "infinite"])
@pytest.mark.parametrize(
    "reference",
    [
        ba.as_recorded,
        ba.common_average,
        ba.per_shaft,
        ba.bipolar,
        ba.laplacian,
        partial(ba.common_average, median=True),
    ],
    ids=["recorded", "average", "shaft", "bipolar", "laplacian", "median"],
)
def test_a_bad_channel_is_in_no_reference(person, reference, worth):
    electric, data = person
    names = ["LA1", "LA2", "LA3", "LA4", "LA5", "RB1"]
    electric.table("task-x_channels.tsv", channels(names, ["SEEG"] * 5 + ["ECOG"], ["bad"] + ["good"] * 5))
    electric.write(".vhdr", data, names)
    before = read(electric, reference=reference)
    data[:, 0] = worth * np.linspace(0.5, 1, len(data))
    electric.write(".vhdr", data, names)
    after = read(electric, reference=reference)
    np.testing.assert_array_equal(after.values, before.values)
    assert after.use.all()
    assert not after.columns["channel"].str.contains("LA1").any()
    assert after.attrs["bad_channels"] == {"01": {"LA1": "bad by channels.tsv"}}


def test_the_reference_is_named_with_its_options(person):
    electric, _ = person
    named = read(electric, reference=partial(ba.common_average, by=["shaft"])).attrs["reference"]
    assert named == "common_average(by=['shaft'])"


def test_high_gamma_at_a_hundred_hertz_is_the_default(person):
    electric, _ = person
    signal = ba.read_ieeg(electric.root)
    assert signal.shape == (600, 6)
    assert signal.attrs["band"] == str(high_gamma())
    assert signal.attrs["line_noise"] == {"01, 1": 50.0}
    np.testing.assert_allclose(signal.array().mean(0), 1, atol=0.05)


def test_runs_have_the_channels_in_common_and_what_is_bad_in_one_is_bad_in_all(person):
    electric, data = person
    other = ["LA2", "LA1", "LA4", "RB1", "RB2", "TP1"]
    electric.write(".vhdr", data[:1500], other, run="2")
    electric.table("task-x_run-2_channels.tsv", channels(other, status=["good"] * 3 + ["bad", "good", "good"]))
    signal = read(electric)
    assert signal.columns["channel"].tolist() == ["LA1", "LA2", "LA4", "RB2"]
    np.testing.assert_allclose(signal.select(run="2").values, data[:1500, [1, 0, 2, 4]], atol=1e-10)
    assert signal.attrs["bad_channels"] == {"01": {"RB1": "run 2: bad by channels.tsv"}}
    said = "2 channels are not in every run, and are left out: LA3 (run 1), TP1 (run 2)"
    assert said in signal.attrs["notes"]


def test_runs_that_spell_names_in_two_ways_have_them_in_common(person):
    electric, data = person
    other = ["la 1", "LA02", "LA3", "LA4", "RB1", "RB2"]
    electric.write(".vhdr", data[:, ::-1], other[::-1], run="2")
    electric.table("task-x_run-2_channels.tsv", channels(other))
    signal = read(electric)
    assert signal.columns["channel"].tolist() == NAMES
    np.testing.assert_allclose(signal.select(run="2").values, data, atol=1e-10)
    assert "run 2 spells names in another way than run 1: LA1 is la 1, LA2 is LA02" in signal.attrs["notes"]


def test_runs_of_two_rates_come_out_at_one(person):
    electric, data = person
    electric.fs = 1000.0
    electric.write(".vhdr", data, NAMES, run="2")
    signal = ba.read_ieeg(electric.root, rate=100.0)
    assert signal.samples.groupby("run").size().to_dict() == {"1": 600, "2": 300}
    assert "runs were sampled at 500 and 1000 Hz: each is brought to 100 Hz by itself" in signal.attrs["notes"]


def test_people_on_one_clock_are_columns_and_others_a_list(person):
    electric, data = person
    electric.write(".vhdr", data[:, :2], ["G1", "G2"], subject="02")
    together = read(electric)
    assert together.columns.groupby("subject").size().to_dict() == {"01": 6, "02": 2}
    electric.write(".vhdr", data[:2000], NAMES, subject="03")
    assert [s.shape for s in read(electric)] == [(3000, 8), (2000, 6)]


def test_frames_of_several_people_are_kept_and_said(person):
    electric, data = person
    electric.write(".vhdr", data, NAMES, subject="02")
    electric.table("electrodes.tsv", electrodes(NAMES), subject="02")
    electric.table("coordsystem.json", MNI, subject="02")
    signal = read(electric)
    assert signal.columns.groupby("subject")["frame"].unique().map(list).to_dict() == {
        "01": ["ACPC"],
        "02": ["MNI152NLin2009cAsym"],
    }
    assert "positions are in several frames" in signal.attrs["notes"][0]


def test_annotations_take_samples_out_of_use_and_are_clipped(electric, writers):
    data, path = electric.data(6, seconds=20), electric.path(".vhdr")
    markers = [(2.0, 1.0, "BAD_move"), (6.0, 0.5, "word: bad luck"), (30.0, 1.0, "bad")]
    writers[".vhdr"](path, data, NAMES, electric.fs, markers=markers)
    electric.table(
        "task-x_events.tsv", {"onset": [10.0, 19.0], "duration": [1.0, 5.0], "trial_type": ["artefact", "seizure"]}
    )
    signal = read(electric)
    time, use = signal.samples["time"], signal.use
    inside = ((time >= 2) & (time < 3)) | ((time >= 10) & (time < 11)) | (time >= 19)
    assert not use[inside].any()
    assert (~use).sum() <= inside.sum() + 5  # a sample or so beside each
    np.testing.assert_allclose(signal.values[use], data[use], atol=1e-10)
    said = "\n".join(signal.attrs["notes"])
    assert "annotations go beyond the recording and are clipped" in said
    assert re.search(r"15\.\d% of the samples are not in use, by annotations .*BAD_move, artefact, seizure", said)
    assert "Omitted 1 annotation" in said
    wide = ba.read_ieeg(electric.root, band=band(70, 150))
    assert not wide.use[(wide.samples["time"] > 1.99) & (wide.samples["time"] < 3.01)].any()
    assert np.isfinite(wide.values).all()


def test_missing_values_take_samples_out_of_use(electric):
    data = electric.data(6)
    data[700:720, 2] = np.nan
    electric.write(".fif", data, NAMES)
    signal = read(electric)
    assert set(np.flatnonzero(~signal.use)) - {699, 720} == set(range(700, 720))
    assert "0.7% of the samples are not in use, by missing values" in "\n".join(signal.attrs["notes"])


def test_artefacts_are_looked_for_where_that_is_asked(person):
    electric, data = person
    names = [*NAMES, "RB3", "RB4"]
    data = electric.data(8, seconds=20)
    data[:, 3] *= 30  # loose
    data[:, 6] = 0.0  # not plugged in
    data[4000:4010] += 0.05  # somebody kicked the cable
    electric.write(".vhdr", data, names)
    electric.table("task-x_channels.tsv", channels(names, status=["bad"] + ["good"] * 7))
    assert read(electric).use.all()
    signal = read(electric, artefacts=Limits(), reference=ba.common_average)
    bad = signal.attrs["bad_channels"]["01"]
    assert list(bad) == ["LA1", "LA4", "RB3"]
    assert bad["LA1"] == "bad by channels.tsv"
    assert bad["LA4"].startswith("amplitude 30")
    assert bad["RB3"].startswith("flat for 100 %")
    kept = [1, 2, 4, 5, 7]
    assert signal.columns["channel"].tolist() == [names[k] for k in kept]
    out = np.flatnonzero(~signal.use)
    assert set(range(4000, 4010)) <= set(out)
    assert len(out) < 100
    expected = data[:, kept] - data[:, kept].mean(1, keepdims=True)
    np.testing.assert_allclose(signal.values[signal.use], expected[signal.use], atol=1e-9)
    assert "samples are not in use, by artefacts that were found" in "\n".join(signal.attrs["notes"])


@pytest.mark.parametrize(
    ("how", "reference"),
    [(VOLTS, ba.as_recorded), (high_gamma(), ba.common_average), (band(70, 150, causal=True), ba.bipolar)],
    ids=["raw", "sub-bands", "causal"],
)
def test_channels_that_cost_much_are_named_with_what_they_cost(person, how, reference):
    electric, _ = person
    names = [f"LA{k}" for k in range(1, 9)]
    data = electric.data(8, seconds=20)
    data[np.ix_(np.arange(1000, 3000), [3])] = np.nan
    data[np.ix_(np.arange(2500, 3500), [6])] = np.nan
    electric.write(".vhdr", data, names)
    electric.table("task-x_channels.tsv", channels(names))
    electric.table("task-x_events.tsv", {"onset": [6.4], "duration": [1.0], "trial_type": ["bad"]})
    signal = read(electric, reference=reference, band=how, rate=100.0)
    (said,) = [note for note in signal.attrs["notes"] if "most by" in note]
    found = re.findall(r"(LA\d) (\d+\.\d)% \((\d+\.\d)% by it alone\)", said)
    assert [name for name, _, _ in found] == ["LA4", "LA7"]
    assert said.endswith("name such a channel bad in channels.tsv, to have those samples of the others")
    for name, whole, alone in found:
        status = ["bad" if one == name else "good" for one in names]
        electric.table("task-x_channels.tsv", channels(names, status=status))
        without = read(electric, reference=reference, band=how, rate=100.0)
        assert 100 * (without.use.mean() - signal.use.mean()) == pytest.approx(float(alone), abs=0.11)
        assert float(whole) == pytest.approx({"LA4": 20, "LA7": 10}[name], abs=3)


def test_a_noisy_channel_is_named_and_what_all_share_is_not(person):
    electric, _ = person
    names = [f"LA{k}" for k in range(1, 9)]
    data = electric.data(8, seconds=30)
    rng = np.random.default_rng(1)
    data[rng.choice(len(data), 60), 3] += 0.02
    data[5000:5400] += 0.05
    electric.write(".vhdr", data, names)
    electric.table("task-x_channels.tsv", channels(names))
    said = "\n".join(read(electric, artefacts=Limits(), reference=ba.common_average).attrs["notes"])
    assert re.search(r"most by LA4 2\d\.\d% \(\d+\.\d% by it alone\): name such .*, or do not look for artefacts", said)
    assert "LA3" not in said


@pytest.mark.parametrize("extension", [".set", ".vhdr"])
def test_where_a_recording_was_cut_nothing_is_in_use(electric, writers, extension):
    data, path = electric.data(6), electric.path(extension)
    data[1000:] += 1e-3
    if extension == ".set":  # counted from 1, between two samples; its duration is that of what is gone
        writers[extension](path, data, NAMES, electric.fs, events=[("boundary", 1000.5, 400.0), ("word", 90.0, 0.0)])
    else:
        writers[extension](path, data, NAMES, electric.fs)
        markers = path.with_suffix(".vmrk")
        markers.write_text(markers.read_text() + "Mk2=New Segment,,1001,1,0,20200101000010000000\n")
    signal = read(electric)
    out = np.flatnonzero(~signal.use)
    assert {999, 1000} & set(out)
    assert len(out) < 6
    assert re.search(r"not in use, by annotations (boundary|New Segment)", "\n".join(signal.attrs["notes"]))


def test_positions_in_an_nwb_file_are_taken_where_there_is_no_other(electric, writers):
    path = electric.write(".nwb", electric.data(6), NAMES)
    xyz = np.array([[-40.0 - k, 10.0, 5.0] for k in range(6)])
    xyz[5] = np.nan

    def fill(frame="", unit=None, scale=1.0):
        with h5py.File(path, "r+") as file:
            table = file["general/extracellular_ephys/electrodes"]
            for k, axis in enumerate("xyz"):
                table.pop(axis, None)
                table[axis] = scale * xyz[::-1, k]  # rows of the table are in another order than channels
                table[axis].attrs["description"] = f"{axis} {frame}"
            if unit is not None:
                table["x"].attrs["unit"] = unit

    fill(frame="in MNI152NLin2009cAsym space", unit="mm")
    signal = read(electric)
    np.testing.assert_array_equal(signal.columns[["x", "y", "z"]], xyz.astype(np.float32))
    assert signal.columns["frame"].tolist() == ["MNI152NLin2009cAsym"] * 5 + ["n/a"]
    assert "itself has positions, in MNI152NLin2009cAsym, and these are taken, axes as" in "\n".join(
        signal.attrs["notes"]
    )
    assert read(electric, coordinates="MNI152NLin2009cAsym").columns["x"].notna().sum() == 5
    other = read(electric, coordinates="ACPC")
    assert other.columns["x"].isna().all()
    assert "in MNI152NLin2009cAsym, not 'ACPC': they are not taken" in "\n".join(other.attrs["notes"])
    for scale, unit in ((1e-3, "m"), (1e3, "um")):
        fill(scale=scale)
        signal = read(electric)
        np.testing.assert_allclose(signal.columns["x"], xyz[:, 0], rtol=1e-6)
        assert set(signal.columns["frame"]) == {"n/a"}
        assert re.search(
            rf"a frame that it does not name.*said to be in n/a: taken in {unit}", "".join(signal.attrs["notes"])
        )
    electric.table("electrodes.tsv", electrodes(NAMES))
    electric.table("coordsystem.json", ACPC)
    assert read(electric).columns["x"].tolist() == [10, 11, 12, 13, 14, 15]
    (electric.root / "sub-01/ieeg/sub-01_electrodes.tsv").unlink()
    xyz[:] = 0.0  # as some write where nobody measured
    fill()
    assert read(electric).columns["x"].isna().all()


def test_what_is_large_is_kept_in_the_store_with_what_is_in_use(person, tmp_path, monkeypatch):
    electric, _ = person
    electric.table("task-x_events.tsv", {"onset": [1.0], "duration": [0.5], "trial_type": ["bad"]})
    small = ba.read_ieeg(electric.root)
    store = Store(tmp_path / "store")
    for module in ("brainalign.io.holding", "brainalign.io.streaming"):
        monkeypatch.setattr(f"{module}.LARGE", 100)
    large = ba.read_ieeg(electric.root, store=store)
    assert isinstance(large.values, np.memmap)
    np.testing.assert_array_equal(large.values, small.values)
    monkeypatch.setattr(streaming.Pass, "values", lambda _: pytest.fail("read again"))
    again = ba.read_ieeg(electric.root, store=store)
    np.testing.assert_array_equal(again.use, small.use)
    assert not again.use.all()


def test_a_run_is_gone_through_some_samples_at_a_time(person, monkeypatch):
    electric, _ = person
    before = ba.read_ieeg(electric.root, reference=ba.common_average)
    monkeypatch.setattr(streaming, "NUMBERS", 6 * 177)
    after = ba.read_ieeg(electric.root, reference=ba.common_average)
    np.testing.assert_allclose(after.values, before.values, rtol=1e-5)


def test_electrodes_of_several_spaces_are_chosen_by_name(person):
    electric, _ = person
    electric.table("space-MNI_electrodes.tsv", electrodes(NAMES, x=0.05, y=0.01, z=0.02))
    electric.table("space-MNI_coordsystem.json", MNI | {"iEEGCoordinateUnits": "m"})
    with pytest.raises(InputError, match=r"electrodes in several frames .*: name one of 'ACPC', 'MNI' as coordinates"):
        read(electric)
    assert read(electric, coordinates="ACPC").columns["x"].tolist() == [10, 11, 12, 13, 14, 15]
    for name in ("MNI", "MNI152NLin2009cAsym"):
        columns = read(electric, coordinates=name).columns
        assert columns["x"].tolist() == pytest.approx([50] * 6)
        assert set(columns["frame"]) == {"MNI152NLin2009cAsym"}
    with pytest.raises(InputError, match="has electrodes without a space and space-MNI, not 'Talairach'"):
        read(electric, coordinates="Talairach")


@pytest.mark.parametrize("table_too", [False, True], ids=["no table", "a table without status"])
def test_what_the_file_itself_says_is_bad_is_bad_where_channels_tsv_says_nothing(electric, table_too):
    path = electric.path(".fif")
    made = mne.io.RawArray(electric.data(6).T, mne.create_info(NAMES, electric.fs, "seeg"), verbose="ERROR")
    made.info["bads"] = ["LA2"]
    made.save(path, verbose="ERROR")
    if table_too:
        electric.table("task-x_channels.tsv", {"name": NAMES, "type": "SEEG"})
    signal = read(electric)
    assert signal.attrs["bad_channels"] == {"01": {"LA2": "bad by the file itself"}}
    assert signal.columns["channel"].tolist() == [name for name in NAMES if name != "LA2"]
    electric.table("task-x_channels.tsv", channels(NAMES))
    assert read(electric).attrs["bad_channels"] == {"01": {}}


def test_scalp_and_sensors_go_the_same_way(electric, writers):
    data = electric.data(4)
    electric.write(".edf", data, ["Fz", "Cz", "Pz", "EOG1"], datatype="eeg")
    electric.table("task-x_channels.tsv", channels(["Fz", "Cz", "Pz", "EOG1"], ["EEG"] * 3 + ["EOG"]), datatype="eeg")
    signal = read(electric, datatype="eeg", reference=ba.common_average)
    np.testing.assert_allclose(signal.values, data[:, :3] - data[:, :3].mean(1, keepdims=True), atol=1e-10)
    path = electric.path(".fif", datatype="meg")
    writers[".fif"](
        path, data * 1e-6, ["MEG0111", "MEG0112", "MEG0113", "STI101"], electric.fs, ["mag", "grad", "grad", "stim"]
    )
    signal = read(electric, datatype="meg", channels="MEGMAG")
    assert signal.columns[["channel", "type"]].values.tolist() == [["MEG0111", "MEGMAG"]]
    np.testing.assert_allclose(signal.values[:, 0], data[:, 0] * 1e-6, atol=1e-16)
    assert signal.attrs["unit"] == "T"


# What real recordings are like. Each row breaks a good one, and says what is then written or raised.


def rewrite(extension=".vhdr", names=NAMES, data=None, **how):
    def breaks(electric, writers):
        values = electric.data(len(names)) if data is None else data(electric)
        for old in electric.path(".vhdr").parent.glob("*_ieeg.*"):
            old.unlink()
        writers[extension](electric.path(extension), values, names, electric.fs, **how)

    return breaks


def table(name, rows):
    return lambda electric, _: electric.table(name, rows)


def remove(name):
    return lambda electric, _: (electric.root / "sub-01/ieeg" / f"sub-01_{name}").unlink()


def both(*breaks):
    return lambda electric, writers: [one(electric, writers) for one in breaks]


def with_trigger(electric):
    data = electric.data(6)
    data[:, 5] = (np.arange(len(data)) % 500 < 20) * 1e-4
    return data


LIKE_BODY = [*NAMES[:4], "DC1", "EKG"]
ZEROS = ["LA01", "LA02", "LA03", "la 4", "RB1", "RB2"]
MIXED = {"rates": dict.fromkeys(["RB1", "RB2"], 100)}

TOLD = {
    "no electrodes": (
        both(remove("electrodes.tsv"), remove("coordsystem.json")),
        "no electrodes.tsv: positions are not",
    ),
    "no coordsystem": (remove("coordsystem.json"), "no coordsystem.json goes with .*: the frame is not known"),
    "no channels.tsv": (remove("task-x_channels.tsv"), "no channels.tsv: types are the file's own"),
    "electrodes not among channels": (
        table("electrodes.tsv", electrodes([*NAMES, "X1"])),
        "1 electrodes are not .*: X1",
    ),
    "channels not among electrodes": (table("electrodes.tsv", electrodes(NAMES[:4])), "2 of 6 channels .*: RB1, RB2"),
    "zeros in names": (
        table("electrodes.tsv", electrodes(ZEROS)),
        "another way: LA1 is LA01, LA2 is LA02, .*LA4 is la 4",
    ),
    "n/a positions": (
        table("electrodes.tsv", electrodes(NAMES, x=["n/a", *range(11, 16)])),
        "1 electrodes have no position .*LA1",
    ),
    "metres said to be millimetres": (
        table("electrodes.tsv", electrodes(NAMES, x=0.05, y=0.0, z=0.01)),
        "are about 0.05 and said to be in mm: taken in m",
    ),
    "unit of channels.tsv wrong": (
        table("task-x_channels.tsv", channels(NAMES, units="V")),
        "channels.tsv says V, the header µV: the header's",
    ),
    "unit of the header wrong": (
        rewrite(unit="V", resolution=0.1),
        "as the header says, values would have .* V: taken in µV, by channels.tsv",
    ),
    "no unit in the header": (
        both(rewrite(".edf", unit=""), table("task-x_channels.tsv", channels(NAMES, units="n/a"))),
        "values would have|taken in µV",
    ),
    "names like triggers": (
        both(rewrite(names=LIKE_BODY), table("task-x_channels.tsv", channels(LIKE_BODY)), remove("electrodes.tsv")),
        "2 channels left out, of type SEEG but called like .*: DC1, EKG",
    ),
    "a trigger typed as a contact": (
        rewrite(data=with_trigger),
        "1 channel left out, values are a few steps as of a trigger.*: RB2",
    ),
    "channels.tsv lists more": (
        table("task-x_channels.tsv", channels([*NAMES, "Z9"])),
        "has no channel Z9, which channels.tsv lists",
    ),
    "channels.tsv lists fewer": (
        table("task-x_channels.tsv", channels(NAMES[:5])),
        "1 channel left out, not in channels.tsv: RB2",
    ),
    "no line frequency": (
        lambda electric, _: electric.path(".json").write_text("{}"),
        "no sidecar says PowerLineFrequency",
    ),
    "another rate in the sidecar": (
        lambda electric, _: electric.path(".json").write_text('{"SamplingFrequency": 250}'),
        "its json says 250 Hz, the file 500 Hz",
    ),
    "a position that cannot be": (
        table("electrodes.tsv", electrodes(NAMES, x=[9999, *range(11, 16)])),
        "1 positions are more than 300 mm from where the frame begins",
    ),
    "no types": (
        both(rewrite(".fif"), table("task-x_channels.tsv", {"name": NAMES})),
        "channels.tsv says no type: types are the file's own",
    ),
    "prefixes of a clinic": (
        both(
            rewrite(names=[f"Pol {one}" for one in NAMES[:3]] + [f"eeg {one}-REF" for one in NAMES[3:]]),
            table("task-x_channels.tsv", channels([name.lower() for name in NAMES])),
        ),
        "in another way: Pol LA1 is la1, .*eeg LA4-REF is la4",
    ),
    "a unit in words": (
        table("task-x_channels.tsv", channels(NAMES, units="Volts")),
        "channels.tsv says V, the header µV",
    ),
    "shorter than the sidecar says": (
        lambda electric, _: electric.path(".json").write_text('{"RecordingDuration": 600}'),
        "its json says 600 s, the file has 6 s: is it whole",
    ),
    "an annotation before the start": (
        table("task-x_events.tsv", {"onset": [-5], "duration": [1], "trial_type": ["bad"]}),
        "1 annotations outside 0 to 6 s are left out",
    ),
    "pixels": (
        table("coordsystem.json", {"iEEGCoordinateSystem": "Pixels", "iEEGCoordinateUnits": "pixels"}),
        "is in pixels of a picture",
    ),
}

REFUSED = {
    "duplicate channels": (
        table("task-x_channels.tsv", channels([*NAMES[:5], "LA1"])),
        "channels.tsv has several rows for 'LA1'",
    ),
    "duplicate electrodes": (
        table("electrodes.tsv", electrodes([*NAMES, "LA1"])),
        "electrodes.tsv has several rows for 'LA1'",
    ),
    "duplicate names in the file": (rewrite(".edf", names=[*NAMES[:5], "LA1"]), "several channels called 'LA1'"),
    "units that cannot be": (
        both(rewrite(unit="V", resolution=0.1), table("task-x_channels.tsv", channels(NAMES, units="V"))),
        "standard deviation of .* V, taken in V as the header says; electrodes measure .*correct `units`",
    ),
    "mixed rates": (rewrite(".edf", **MIXED), r"several sampling rates, 500 Hz and RB1 \(100 Hz\), RB2"),
    "empty file": (
        lambda electric, _: electric.path(".eeg").write_bytes(b""),
        "ieeg.eeg is an empty file; there is nothing to read",
    ),
    "no contact among the types": (
        table("task-x_channels.tsv", channels(NAMES, "MISC")),
        "no channel of type ECOG, SEEG, DBS; types are MISC",
    ),
    "other names altogether": (
        table("task-x_channels.tsv", channels([f"Q{k}" for k in range(6)])),
        "not one channel is in channels.tsv, which names Q0",
    ),
    "no name column": (table("task-x_channels.tsv", "label\ttype\nLA1\tSEEG\n"), "channels.tsv has no column 'name'"),
    "a position that is a word": (
        table("electrodes.tsv", electrodes(NAMES, x=["left", *range(5)])),
        "line 2, column 'x': 'left' is not a number",
    ),
    "no z": (table("electrodes.tsv", {"name": NAMES, "x": 1, "y": 2}), "electrodes.tsv has no column 'z'"),
    "artefacts throughout": (
        table("task-x_events.tsv", {"onset": [0], "duration": [60], "trial_type": ["bad"]}),
        "annotations say that nothing of it is to be used; there is nothing",
    ),
    "an artefact of no length": (
        table("task-x_events.tsv", {"onset": [0], "duration": ["n/a"], "trial_type": ["bad"]}),
        "'bad' has no onset or no duration",
    ),
    "an artefact at no number": (
        table("task-x_events.tsv", {"onset": ["1,5"], "duration": [1], "trial_type": ["bad"]}),
        "'bad' is at '1,5' for '1' s: write seconds, as 1.5",
    ),
    "ragged events": (
        table("task-x_events.tsv", "onset\tduration\ttrial_type\n1\t1\n"),
        "events.tsv, line 2: 2 cells where the table has 3 columns",
    ),
    "ragged channels": (
        table("task-x_channels.tsv", "name\ttype\tunits\nLA1\tSEEG\n"),
        "channels.tsv, line 2: 2 cells where the table has 3 columns",
    ),
    "ragged electrodes": (
        table("electrodes.tsv", "name\tx\ty\tz\nLA1\t1\t2\n"),
        "electrodes.tsv, line 2: 3 cells where the table has 4 columns",
    ),
    "a broken coordsystem": (
        lambda electric, _: electric.table("coordsystem.json", {}).write_text("{"),
        "coordsystem.json cannot be read as JSON",
    ),
    "a table in Latin-1": (
        lambda electric, _: electric.table("task-x_channels.tsv", "").write_bytes(b"name\tunits\nLA1\t\xb5V\n"),
        "channels.tsv cannot be read .*write it again as UTF-8",
    ),
    "no samples": (
        lambda electric, _: electric.path(".eeg").unlink(),
        "names sub-01_task-x_run-1_ieeg.eeg as its samples, which is not there",
    ),
    "every channel bad": (
        table("task-x_channels.tsv", channels(NAMES, status="bad")),
        r"every channel is bad: LA1 \(bad by channels.tsv\), .*correct status in channels.tsv",
    ),
    "no number anywhere": (
        rewrite(".fif", data=lambda electric: np.full((3000, 6), np.nan)),
        r"every channel is bad: LA1 \(holds no finite number where it was looked at\)",
    ),
    "names without a channel": (rewrite(".edf", names=[*NAMES[:4], "", ""]), "several channels called ''"),
    "an empty EDF": (rewrite(".edf", data=lambda electric: electric.data(6)[:0]), "has no sample; there is nothing"),
    "current, not voltage": (rewrite(".edf", unit="nA"), "channels are in 'nA' by the header"),
}


@pytest.mark.parametrize("what", TOLD)
def test_what_is_odd_is_mended_and_said(person, writers, what):
    electric, _ = person
    breaks, said = TOLD[what]
    breaks(electric, writers)
    signal = read(electric, line_noise="sidecar" if what == "no line frequency" else None)
    assert pd.Series(signal.attrs["notes"]).str.contains(said).any(), signal.attrs["notes"]
    assert 1e-5 < signal.array().std() < 1e-3


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_read_is_said(person, writers, what):
    electric, _ = person
    breaks, said = REFUSED[what]
    breaks(electric, writers)
    with pytest.raises(InputError, match=said):
        read(electric)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"datatype": "ecog"}, "datatype 'ecog' is not known"),
        ({"task": "y"}, "no task 'y'"),
        ({"band": band(200, 260)}, "sub-01, run 1: 200 to 260 Hz is not in 500 samples per second"),
        ({"band": "high_gamma"}, r"band is a Band, such as ba.high_gamma\(\); found 'high_gamma'"),
        ({"reference": "bipolar"}, "reference is a function, such as ba.bipolar; found 'bipolar'"),
        ({"reference": str}, "str gives a str, not a Reference"),
        ({"artefacts": True}, r"artefacts is Limits, such as Limits\(\); found True"),
        ({"line_noise": "mains"}, "line_noise is 'sidecar', a frequency in Hz, or None; found 'mains'"),
    ],
    ids=["datatype", "task", "band", "no band", "no function", "no reference", "no limits", "line"],
)
def test_what_does_not_exist_cannot_be_asked_for(person, how, said):
    with pytest.raises(SettingsError, match=said):
        read(person[0], **how)


def test_a_channel_that_is_not_there_cannot_be_asked_for(person):
    electric, data = person
    np.testing.assert_allclose(read(electric, channels=["RB2", "LA1"]).values, data[:, [0, 5]], atol=1e-10)
    with pytest.raises(InputError, match="no channel and no type LB1; types are SEEG, channels LA1, LA2"):
        read(electric, channels=["LB1"])


def test_trees_without_such_recordings_say_what_they_hold(person, tmp_path):
    electric, _ = person
    with pytest.raises(InputError, match=r"holds no eeg recording.*it holds ieeg: name that as datatype"):
        read(electric, datatype="eeg")
    shutil.move(electric.root / "sub-01", electric.root / "derivatives/clean/sub-01")
    with pytest.raises(InputError, match="in derivatives/clean alone: give that folder as the tree"):
        read(electric)


def test_one_recording_in_two_formats_is_read_once_and_two_recordings_are_two_runs(person):
    electric, data = person
    electric.write(".edf", data, NAMES)
    assert ".vhdr is read; also there: .edf" in read(electric).attrs["notes"][0]
    electric.write(".vhdr", data, NAMES, acq="high")
    assert read(electric).runs == ["high-1", "none-1"]


def test_a_run_without_a_sample_is_left_out_beside_others(person):
    electric, data = person
    electric.write(".vhdr", data[:0], NAMES, run="2")
    signal = read(electric)
    assert signal.runs == ["1"]
    assert "run-2_ieeg.eeg is an empty file: this run is left out" in "\n".join(signal.attrs["notes"])
    electric.write(".vhdr", data[:0], NAMES, subject="02")
    assert read(electric).attrs["left_out"][0]["subject"] == "02"


def test_a_person_whose_voltages_never_change_is_left_out_beside_others(person):
    electric, data = person
    electric.write(".vhdr", np.zeros_like(data), NAMES, subject="02")
    (left,) = read(electric).attrs["left_out"]
    assert left["subject"] == "02"
    assert "every value of" in left["why"]
    with pytest.raises(InputError, match=r"sub-02: every value of .* is 0; there is nothing to read"):
        read(electric, subject=["01", "02"])


def test_electrodes_by_atlas_and_landmark(images, person):
    electric, _ = person
    labels = np.zeros((20, 20, 20), np.int16)
    labels[10, 10, 10], labels[12:14, 10, 10] = 3, 5
    atlas = electric.root / "tpl-MNI152NLin2009cAsym_dseg.nii"
    images.write(atlas, labels, affine=np.array([[1.0, 0, 0, 0], [0, 1, 0, -30], [0, 0, 1, 20], [0, 0, 0, 1]]))
    atlas.with_suffix(".tsv").write_text("index\tname\n3\tHeschl\n5\tSTG\n")
    places = electrodes(NAMES, x=[10.4, 11.4, 12.0, 13.0, 16.0, "n/a"])
    electric.table("electrodes.tsv", places)
    with pytest.raises(InputError, match="is in 'MNI152NLin2009cAsym', electrodes are in 'ACPC'"):
        ba.label_electrodes(read(electric), atlas)
    electric.table("coordsystem.json", MNI)
    signal = ba.label_electrodes(read(electric), atlas, within_mm=2.0)
    assert signal.columns["region"].tolist() == ["Heschl", "STG", "STG", "STG", "n/a", "n/a"]
    np.testing.assert_allclose(signal.columns["region_mm"], [0, 0.6, 0, 0, np.nan, np.nan], atol=1e-6)
    far = ba.distance_to(signal, [(10.4, -20, 33), (99, 0, 0)], "MNI152NLin2009cAsym", name="heschl")
    np.testing.assert_allclose(
        far.columns["heschl_mm"], [3, 10**0.5, np.hypot(1.6, 3), np.hypot(2.6, 3), np.hypot(5.6, 3), np.nan]
    )
    two = pd.concat([signal.columns.assign(frame="ACPC", subject=one) for one in ("01", "02")])
    for breaks, said in [
        (lambda: ba.label_electrodes(two, atlas, "ACPC"), "ACPC is a frame of each person's own, .* of 01, 02"),
        (lambda: ba.distance_to(signal, (1, 2), "MNI152NLin2009cAsym"), "a landmark is a point"),
        (lambda: ba.label_electrodes(signal, electric.root / "atlas.nii"), "there is no atlas"),
        (lambda: ba.label_electrodes(signal.columns[["x"]], atlas), "no column 'y', 'z', 'frame'"),
        (lambda: ba.distance_to(signal.columns.assign(x=np.nan), (0, 0, 0), "ACPC"), "no electrode has a position"),
    ]:
        with pytest.raises(InputError, match=said):
            breaks()


def test_a_trigger_that_is_faster_than_the_contacts_does_not_set_their_rate(electric, writers):
    data = electric.data(4)
    names = ["LA1", "LA2", "LA3", "TRIG"]
    writers[".edf"](electric.path(".edf"), data, names, electric.fs, rates=dict.fromkeys(names[:3], 250))
    electric.table("task-x_channels.tsv", channels(names, ["SEEG"] * 3 + ["TRIG"]))
    signal = read(electric, rate=250.0)
    np.testing.assert_allclose(signal.values, data[::2, :3], atol=1e-10)
