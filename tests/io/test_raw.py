import re

import h5py
import mne
import numpy as np
import pytest

from brainalign import InputError
from brainalign.io import raw
from brainalign.io.edf_header import read_edf_header
from brainalign.io.raw import RawFile, open_raw, some_channels, unit_of

NAMES = ["LA1", "LA2", "LA3", "RB1"]
FORMATS = [".vhdr", ".edf", ".bdf", ".fif", ".set", ".nwb"]


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
    (".vhdr", "µV", "V"), (".edf", "µV", "V"), (".fif", "V", "V"), (".nwb", "V", "V"), (".set", "", "µV"),
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
    made = mne.io.RawArray(data.T, mne.create_info(NAMES, electric.fs, "seeg"), first_samp=1000, verbose="ERROR")
    made.set_meas_date(1e9)
    made.set_annotations(mne.Annotations([2.5], [0.5], ["BAD_move"], orig_time=made.info["meas_date"]))
    path = electric.path(".fif")
    made.save(path, verbose="ERROR")
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


@pytest.mark.parametrize(
    ("extension", "unit", "size"),
    [
        (".edf", "ÂµV", 1e-6), (".edf", "Î¼V", 1e-6), (".edf", "UV", 1e-6), (".edf", "microvol", 1e-6),
        (".edf", "nV", 1e-9), (".edf", "Volts", 1.0), (".vhdr", "μV", 1e-6), (".vhdr", "microV", 1e-6),
    ],
)  # fmt: skip
def test_a_unit_that_mne_does_not_know_is_read_however_it_is_spelled(electric, writers, extension, unit, size):
    data, path = electric.data(4), electric.path(extension)
    writers[extension](path, data, NAMES, electric.fs, unit=unit)
    opened = open_raw(path, "it")
    np.testing.assert_allclose(opened.read(0, 900), data[:900] / 1e-6 * size, rtol=2e-7, atol=1e-15)
    assert set(opened.units) == {unit_of(unit)}
    assert set(opened.kinds) == {"eeg"}


def test_of_few_channels_no_more_of_the_others_is_held_than_has_to_be(monkeypatch):
    values, asked = np.arange(600.0).reshape(60, 10), []

    def read(start, stop):
        asked.append(stop - start)
        return values[start:stop]

    opened = RawFile("it", list("abcdefghij"), ["eeg"] * 10, ["V"] * 10, 1.0, 60, read, None)
    monkeypatch.setattr(raw, "NUMBERS", 80)
    np.testing.assert_array_equal(some_channels(opened, ["h", "b"]).read(3, 50), values[3:50, [7, 1]])
    assert max(asked) == 8


@pytest.mark.parametrize("extension", [".edf", ".bdf"])
def test_a_recording_that_was_paused_is_refused_and_one_that_only_could_have_been_is_read(electric, writers, extension):
    data, path = electric.data(4), electric.path(extension)
    writers[extension](path, data, NAMES, electric.fs, times=2.5 + np.arange(6))
    opened = open_raw(path, "it")
    assert opened.names == NAMES
    np.testing.assert_allclose(opened.read(0, 3000), data, atol=1e-15)
    writers[extension](path, data, NAMES, electric.fs, times=[0, 1, 2, 3.5, 4.5, 5.5])
    with pytest.raises(InputError, match=r"it was paused after 3 s \(EDF\+D\): cut the recording into runs there"):
        open_raw(path, "it")
    path.write_bytes(path.read_bytes().replace(b"+3.5", b"now?"))
    with pytest.raises(InputError, match="record 4 does not say when it was"):
        open_raw(path, "it")


@pytest.mark.parametrize("struct", [False, True])
def test_samples_inside_a_set_are_said_to_be_in_memory(electric, writers, struct):
    data, path = electric.data(4), electric.path(".set")
    writers[".set"](path, data, NAMES, electric.fs, inside=True, struct=struct)
    opened = open_raw(path, "it")
    np.testing.assert_allclose(opened.read(100, 200), data[100:200], rtol=2e-7, atol=1e-15)
    assert "holds its samples in the .set itself, and these are in memory all together" in opened.notes[0]


def test_what_a_file_says_is_bad_is_known(electric, writers):
    path = electric.path(".fif")
    made = mne.io.RawArray(electric.data(4).T, mne.create_info(NAMES, electric.fs, "seeg"), verbose="ERROR")
    made.info["bads"] = ["LA2"]
    made.save(path, verbose="ERROR")
    assert open_raw(path, "it").bads == ("LA2",)


def point_to(path, name):
    path.write_text(path.read_text().replace(f"DataFile={path.stem}.eeg", f"DataFile={name}"))


def test_a_header_that_names_other_samples_is_said(electric):
    data = electric.data(4)
    first, second = (electric.write(".vhdr", data, NAMES, run=run) for run in "12")
    point_to(second, f"{first.stem}.eeg")
    opened = open_raw(second, "it")
    assert opened.notes == (f"it: its samples are those of {first.stem}.eeg, as its header says",)
    assert first.with_suffix(".eeg") in opened.inputs
    first.with_suffix(".eeg").rename(first.parent.parent / "elsewhere.eeg")
    point_to(first, "../elsewhere.eeg")
    assert "its samples are those of ../elsewhere.eeg" in open_raw(first, "it").notes[0]


def test_a_header_whose_samples_are_not_there_says_which_are(electric):
    path = electric.write(".vhdr", electric.data(4), NAMES)
    point_to(path, "old.eeg")
    with pytest.raises(
        InputError, match=r"it names old\.eeg as its samples, .* not there; .*ieeg\.eeg is: correct Data"
    ):
        open_raw(path, "it")
    path.with_suffix(".eeg").unlink()
    with pytest.raises(InputError, match="which is not there: fetch it, or export the file again"):
        open_raw(path, "it")


@pytest.mark.parametrize("extension", FORMATS)
def test_a_link_to_what_was_not_fetched_is_told_apart(electric, extension):
    path = electric.write(extension, electric.data(4), NAMES)
    for part in {path, path.with_suffix({".vhdr": ".eeg", ".set": ".fdt"}.get(extension, extension))}:
        kept = part.rename(path.with_name("kept"))
        part.symlink_to("../.git/annex/objects/nowhere")
        with pytest.raises(InputError, match=r"is a link to a file that is not there: fetch it \(datalad get"):
            open_raw(path, "it")
        part.unlink()
        kept.rename(part)


TRUNCATED = {
    ".edf": None, ".bdf": None, ".fif": "it cannot be read", ".set": "Incorrect number of samples", ".nwb": "truncated",
}  # fmt: skip


@pytest.mark.parametrize("extension", TRUNCATED)
def test_a_file_that_was_cut_off_is_said(electric, extension):
    path = electric.write(extension, electric.data(4), NAMES)
    part = path.with_suffix(".fdt") if extension == ".set" else path
    part.write_bytes(part.read_bytes()[: int(0.6 * part.stat().st_size) - 1])
    if TRUNCATED[extension] is None:  # whole records are left
        opened = open_raw(path, "it")
        assert opened.n_samples == 1500
        assert "does not match the file size" in opened.notes[0]
        return
    with pytest.raises(InputError, match=TRUNCATED[extension]):
        open_raw(path, "it").read(0, 3000)


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
    elif how == "7.3":
        h5py.File(path, "w").close()
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
        (".set", "7.3", "is a MATLAB 7.3 file, which mne reads with pymatreader: pip install pymatreader, or save"),
        (".mefd", "noise", "of a format that is not read"),
    ],
)
def test_what_cannot_be_opened_is_said(electric, writers, extension, how, said):
    path = electric.path(extension)
    damage(path, writers, electric, how)
    with pytest.raises(InputError, match=said) as caught:
        open_raw(path, "it")
    assert not re.search("(?i)traceback", str(caught.value))
