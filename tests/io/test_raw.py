import re

import h5py
import mne
import numpy as np
import pytest

from brainalign import InputError
from brainalign.io.edf_header import read_edf_header
from brainalign.io.raw import open_raw

NAMES = ["LA1", "LA2", "LA3", "RB1"]
FORMATS = [".vhdr", ".edf", ".fif", ".set", ".nwb"]


@pytest.mark.parametrize("extension", FORMATS)
def test_any_window_of_any_format_is_what_was_written(electric, extension):
    data = electric.data(4)
    opened = open_raw(electric.write(extension, data, NAMES), "it")
    assert (opened.names, opened.fs, opened.n_samples) == (NAMES, electric.fs, len(data))
    for start, stop in ((0, 10), (495, 1503), (len(data) - 7, len(data))):
        block = opened.read(start, stop)
        assert block.dtype == np.float64
        np.testing.assert_allclose(block, data[start:stop], rtol=2e-7, atol=1e-15)
    assert opened.notes == ()


@pytest.mark.parametrize("extension", FORMATS)
def test_some_channels_come_in_the_order_asked_for(electric, extension):
    data = electric.data(4)
    opened = open_raw(electric.write(extension, data, NAMES), "it", only=["RB1", "LA2"])
    assert opened.names == ["RB1", "LA2"]
    np.testing.assert_allclose(opened.read(20, 90), data[20:90, [3, 1]], rtol=2e-7, atol=1e-15)


@pytest.mark.parametrize(("extension", "units", "assumed"), [
    (".vhdr", "µV", "V"), (".edf", "uV", "V"), (".fif", "V", "V"), (".nwb", "V", "V"), (".set", "", "µV"),
])  # fmt: skip
def test_the_unit_is_the_headers(electric, extension, units, assumed):
    opened = open_raw(electric.write(extension, electric.data(4), NAMES), "it")
    assert set(opened.units) == {units}
    assert opened.assumed == assumed


def test_split_files_are_one_recording(electric, writers):
    data = electric.data(8, seconds=100)
    path = electric.path(".fif", split="01")
    writers[".fif"](path, data, [f"A{k}" for k in range(8)], electric.fs, split_size="2MB", split_naming="bids")
    files = sorted(path.parent.glob("*.fif"))
    opened = open_raw(files[0], "it")
    assert sorted(opened.inputs) == files
    assert len(files) > 1
    np.testing.assert_array_equal(opened.read(0, len(data)), data)


def test_annotations_start_at_the_first_sample_whatever_the_file_counts_from(electric):
    data = electric.data(4)
    raw = mne.io.RawArray(data.T, mne.create_info(NAMES, electric.fs, "seeg"), first_samp=1000, verbose="ERROR")
    raw.set_meas_date(1e9)
    raw.set_annotations(mne.Annotations([2.5], [0.5], ["BAD_move"], orig_time=raw.info["meas_date"]))
    path = electric.path(".fif")
    raw.save(path, verbose="ERROR")
    (row,) = open_raw(path, "it").annotations.to_dict("records")
    assert row == {
        "onset": pytest.approx(2.5 - 1000 / electric.fs),
        "duration": pytest.approx(0.5),
        "description": "BAD_move",
    }


def test_a_slower_channel_is_known_and_left_aside_when_others_are_asked_for(electric, writers):
    data, path = electric.data(4), electric.path(".edf")
    writers[".edf"](path, data, NAMES, electric.fs, rates={"LA1": 100, "LA2": 100, "LA3": 100})
    assert read_edf_header(path, "it").rates == (100, 100, 100, 500)
    assert set(open_raw(path, "it").rates.values()) == {100.0}
    slow = open_raw(path, "it", only=["LA1", "LA3"])
    assert (slow.fs, slow.rates, slow.n_samples) == (100.0, {}, 600)
    np.testing.assert_allclose(slow.read(0, 600), data[::5, [0, 2]], atol=1e-15)


def test_nwb_scales_shifts_and_reads_its_own_clock(electric, writers):
    data, path = electric.data(4), electric.path(".nwb")
    writers[".nwb"](path, data, NAMES, electric.fs, timestamps=3 + np.arange(len(data)) / electric.fs, offset=2e-6)
    with h5py.File(path, "r+") as file:
        file["acquisition/ElectricalSeries/channel_conversion"] = [1.0, 2.0, 1.0, 1.0]
    opened = open_raw(path, "it")
    assert opened.fs == electric.fs
    expected = (data - 2e-6) * [1, 2, 1, 1] + 2e-6
    np.testing.assert_allclose(opened.read(5, 50), expected[5:50], atol=1e-15)
    assert "starts at 3 s of its own clock: taken as 0 s" in opened.notes[0]


def lost_sample(n, fs):
    times = np.arange(n) / fs
    times[1000:] += 3 / fs
    return times


def damage(path, writers, electric, how):
    data = electric.data(4)
    if how == "timestamps":
        writers[".nwb"](path, data, NAMES, electric.fs, timestamps=lost_sample(len(data), electric.fs))
    elif how == "unit":
        writers[".nwb"](path, data, NAMES, electric.fs, unit="pA")
    elif how == "none":
        writers[".nwb"](path, data, NAMES, electric.fs, where="stimulus/ElectricalSeries")
    elif how == "two":
        writers[".nwb"](path, data, NAMES, electric.fs)
        with h5py.File(path, "r+") as file:
            file.copy("acquisition/ElectricalSeries", "acquisition/Again")
    elif how == "twice":
        writers[path.suffix](path, data, ["LA1", "LA1", "LA3", "RB1"], electric.fs)
    else:
        path.write_bytes(b"these are no bytes of a recording" * 20)


@pytest.mark.parametrize(
    ("extension", "how", "said"),
    [
        (
            ".nwb",
            "timestamps",
            "timestamps are 0.002 s apart at the start, and not after sample 999: samples were lost",
        ),
        (".nwb", "unit", "ElectricalSeries is in 'pA'; an ElectricalSeries is in volts"),
        (".nwb", "none", "holds no ElectricalSeries"),
        (".nwb", "two", "several ElectricalSeries: acquisition/Again, acquisition/ElectricalSeries"),
        (".nwb", "twice", "several channels called 'LA1'"),
        (".nwb", "noise", "cannot be read as NWB"),
        (".edf", "twice", "several channels called 'LA1'.*rename them"),
        (".edf", "noise", "no readable EDF header"),
        (".vhdr", "twice", "not unique.*Rename channels"),
        (".vhdr", "noise", "it cannot be read"),
        (".fif", "noise", "it cannot be read"),
        (".set", "noise", "it cannot be read"),
        (".mefd", "noise", "of a format that is not read"),
    ],
)
def test_what_cannot_be_opened_is_said(electric, writers, extension, how, said):
    path = electric.path(extension)
    damage(path, writers, electric, how)
    with pytest.raises(InputError, match=said) as caught:
        open_raw(path, "it")
    assert not re.search("(?i)traceback", str(caught.value))
