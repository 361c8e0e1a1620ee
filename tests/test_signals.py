import string
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from brainalign.errors import InputError
from brainalign.signals import (
    Signal,
    average_people,
    concatenate,
    join,
    load_signal,
    merge_attrs,
    same_samples,
    save_signal,
)


def clock(n=6, runs=2, tr=2.0):
    """`n` samples in `runs` runs, each run beginning at 0 s."""
    each = n // runs
    return pd.DataFrame(
        {"run": np.repeat([str(r + 1) for r in range(runs)], each), "time": np.tile(np.arange(each) * tr, runs)}
    )


def brain(n=6, people=("18", "22"), rois=("LATL", "LIFG"), seed=0):
    columns = pd.DataFrame([(s, r) for s in people for r in rois], columns=["subject", "roi"])
    values = np.random.default_rng(seed).normal(size=(n, len(columns))).astype("f4")
    return Signal(values, clock(n), columns)


def features(name, n=6, width=3, seed=1):
    values = np.random.default_rng(seed).normal(size=(n, width)).astype("f4")
    return Signal(values, clock(n), pd.DataFrame({"band": name, "unit": range(width)}))


def assert_same(a, b):
    np.testing.assert_array_equal(a.array(), b.array())
    pd.testing.assert_frame_equal(a.samples, b.samples)
    pd.testing.assert_frame_equal(a.columns, b.columns)
    assert a.attrs == b.attrs
    assert set(a.related) == set(b.related)
    for name in a.related:
        assert_same(a.related[name], b.related[name])


# --- what is accepted -----------------------------------------------------------------------------------------------

TWO = pd.DataFrame({"band": ["a", "b"]})


@pytest.mark.parametrize(
    ("values", "samples", "columns", "message"),
    [
        (np.zeros(6), clock(), TWO, r"values are \(samples, columns\); found shape \(6,\)"),
        (np.zeros((6, 2, 1)), clock(), TWO, r"found shape \(6, 2, 1\)"),
        (np.array([["a", "b"]] * 6), clock(), TWO, r"values are numbers; found dtype <U1"),
        (np.zeros((6, 2), complex), clock(), TWO, r"real numbers; found complex ones: take \.real or abs\(\)"),
        (np.zeros((5, 2)), clock(), TWO, r"samples table has 6 rows, values have 5 samples: they must agree"),
        (np.zeros((6, 3)), clock(), TWO, r"columns table has 2 rows, values have 3 columns"),
        (np.zeros((6, 2)), clock().drop(columns="run"), TWO, r"no column 'run'; found time"),
        (np.zeros((6, 2)), clock().drop(columns="time"), TWO, r"no column 'time'; found run"),
        (
            np.zeros((6, 2)),
            clock().assign(time=["0", "2", "x", "0", "2", "4"]),
            TWO,
            r"sample 2 has no finite time \(s\); found 'x'",
        ),
        (np.zeros((6, 2)), clock().assign(time=[0, 2, np.nan, 0, 2, 4]), TWO, r"sample 2 has no finite time"),
        (np.zeros((6, 2)), clock().assign(time=[0, 2, np.inf, 0, 2, 4]), TWO, r"sample 2 has no finite time"),
        (
            np.zeros((6, 2)),
            clock().assign(time=[0, 2, 1, 0, 2, 4]),
            TWO,
            r"backwards at sample 2 \(run 1, 1 s\): sort each run",
        ),
        (np.zeros((6, 2)), clock().assign(run=["1", None, "1", "2", "2", "2"]), TWO, r"sample 1 has no run"),
        (np.zeros((6, 2)), clock().assign(use="no"), TWO, r"`use` says True or False; found 'no' at sample 0"),
    ],
)
def test_what_is_no_signal_is_refused(values, samples, columns, message):
    with pytest.raises(InputError, match=message):
        Signal(values, samples, columns)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named_by_its_place(bad):
    values = np.zeros((6, 2))
    values[4, 1] = bad
    with pytest.raises(InputError, match=r"run 2, 2 s \(sample 4\), band b; mark censored samples with use=False"):
        Signal(values, clock(), TWO)


def test_a_place_far_down_is_found_too(monkeypatch):
    monkeypatch.setattr("brainalign.signals.NUMBERS_PER_LOOK", 8)  # four rows at a time
    n = 13
    values = np.zeros((n, 2), "f4")
    values[-1, 0] = np.nan
    with pytest.raises(InputError, match=rf"\(sample {n - 1}\), band a"):
        Signal(values, pd.DataFrame({"run": "1", "time": np.arange(n)}), TWO)


def test_nan_is_allowed_where_a_sample_is_not_in_use():
    values = np.zeros((6, 2))
    values[4] = np.nan
    kept = Signal(values, clock().assign(use=[True] * 4 + [False, True]), TWO)
    assert kept.use.tolist() == [True] * 4 + [False, True]
    with pytest.raises(InputError, match="sample 4"):
        Signal(values, clock().assign(use=[True, True, True, False, True, True]), TWO)


def test_related_signals_are_on_the_same_samples():
    with pytest.raises(InputError, match="related signal 'confounds' is not on the same samples"):
        Signal(np.zeros((6, 2)), clock(), TWO, {"confounds": features("motion", n=4)})


def test_numbers_become_float32_and_runs_text():
    made = Signal(np.ones((6, 2), int), clock().assign(run=[1, 1, 1, 2, 2, 2]), TWO)
    assert made.values.dtype == np.float32
    assert made.runs == ["1", "2"]
    assert Signal([[1, 2]], pd.DataFrame({"run": ["a"], "time": [0]}), TWO).shape == (1, 2)


def test_the_tables_given_are_not_changed():
    samples = clock().assign(run=[1, 1, 1, 2, 2, 2]).set_axis(range(10, 16))
    before = samples.copy()
    made = Signal(np.zeros((6, 2)), samples, TWO)
    pd.testing.assert_frame_equal(samples, before)
    assert made.samples.index.tolist() == list(range(6))


def test_time_may_repeat_and_begin_again_in_the_next_run():
    samples = pd.DataFrame({"run": ["1", "1", "2"], "time": [3.0, 3.0, 0.0]})
    assert Signal(np.zeros((3, 2)), samples, TWO).runs == ["1", "2"]


def test_it_prints_itself_in_one_line():
    assert repr(features("lm", width=4)) == "Signal(6 samples × 4 columns; 2 runs; 0.0–4.0 s; bands lm)"
    many = join(*(features(f"lm.{k}") for k in range(9)))
    assert repr(many).endswith("bands lm.0, lm.1, lm.2, lm.3, … 9 in all)")
    assert (
        repr(average_people(brain())) == "Signal(6 samples × 2 columns; 2 runs; 0.0–4.0 s; subject, roi; with people)"
    )
    assert repr(features("lm").select(rows=[])) == "Signal(0 samples × 3 columns; 0 runs; bands lm)"


# --- taking apart and putting together ------------------------------------------------------------------------------


def test_select_by_position_mask_slice_and_name():
    whole = brain()
    np.testing.assert_array_equal(whole.select(rows=slice(1, 3)).values, whole.values[1:3])
    np.testing.assert_array_equal(whole.select(columns=[2, 0]).values, whole.values[:, [2, 0]])
    assert whole.select(columns=[2, 0]).columns["subject"].tolist() == ["22", "18"]
    one = whole.select(run="2", subject="22", roi=["LIFG", "LATL"])
    np.testing.assert_array_equal(one.values, whole.values[3:, 2:])
    assert one.samples["run"].tolist() == ["2"] * 3
    mask = (whole.samples["time"] > 0).to_numpy()
    np.testing.assert_array_equal(whole.select(rows=mask, run="1").values, whole.values[1:3])


def test_select_takes_the_related_samples_along_and_leaves_their_columns():
    whole = average_people(brain())
    part = whole.select(run="1", roi="LIFG")
    assert part.shape == (3, 1)
    assert part.related["people"].shape == (3, 4)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"rnu": "1"}, r"no table has a column 'rnu'; did you mean 'run'\?"),
        ({"roi": "LATT"}, r"no roi 'LATT' here; did you mean 'LATL'\?"),
        ({"run": 2}, r"no run 2 here; did you mean '2'\?"),
        ({"roi": ["LATL", "V1"]}, r"no roi 'V1' here"),
    ],
)
def test_select_names_what_is_not_there(where, message):
    with pytest.raises(InputError, match=message):
        brain().select(**where)


def test_select_asks_which_table_is_meant():
    both = Signal(np.zeros((6, 2)), clock().assign(band="x"), TWO)
    with pytest.raises(InputError, match="both tables have a column 'band': pass rows= or columns="):
        both.select(band="a")


def test_split_and_concatenate_are_inverse():
    whole = average_people(brain())
    parts = whole.split()
    assert list(parts) == ["1", "2"]
    assert_same(concatenate(list(parts.values())), whole)
    with pytest.raises(InputError, match=r"samples have no column 'runs'; did you mean 'run'\?"):
        whole.split("runs")


def test_concatenate_refuses_what_does_not_fit():
    with pytest.raises(InputError, match="at least one Signal"):
        concatenate([])
    with pytest.raises(InputError, match=r"signal 2 of 2 has other columns than the first \(2 and 3\)"):
        concatenate([features("lm"), features("lm", width=2)])
    with pytest.raises(InputError, match=r"signal 2 of 2 has \[\] beside it"):
        concatenate([average_people(brain()), Signal(np.zeros((6, 2)), clock(), average_people(brain()).columns)])


def test_concatenate_keeps_what_is_censored_when_one_part_censors_nothing(tmp_path):
    a = features("lm").select(run="1")
    b = Signal(np.full((3, 3), np.nan), clock().iloc[3:].assign(use=False), a.columns)
    whole = concatenate([a, b])
    assert whole.use.tolist() == [True] * 3 + [False] * 3
    assert load_signal(save_signal(whole, tmp_path / "s.zarr")).use.tolist() == whole.use.tolist()


def test_join_puts_bands_side_by_side():
    a, b = features("rate", width=1), features("lm", seed=2)
    both = join(a, b)
    assert both.bands == ["rate", "lm"]
    np.testing.assert_array_equal(both.values, np.hstack([a.values, b.values]))
    assert_same(both.select(band="lm"), b)
    assert join(a) is a


def test_join_keeps_a_sample_in_use_only_if_all_do():
    a = Signal(np.zeros((6, 1)), clock().assign(use=[False] + [True] * 5), pd.DataFrame({"band": ["a"]}))
    b = Signal(np.zeros((6, 1)), clock().assign(use=[True] * 5 + [False]), pd.DataFrame({"band": ["b"]}))
    assert join(a, b).use.tolist() == [False, True, True, True, True, False]


def test_join_refuses_what_does_not_fit():
    with pytest.raises(InputError, match="at least one Signal"):
        join()
    with pytest.raises(
        InputError, match=r"signal 2 of 2 is not on the samples of the first.*resample it onto the first"
    ):
        join(features("a"), features("b", n=4))
    with pytest.raises(InputError, match="band 'a' is in two of the signals"):
        join(features("a"), features("a"))


def test_join_merges_what_is_known():
    a = Signal(np.zeros((6, 2)), clock(), TWO, attrs={"tr": 2.0, "notes": ["x"], "inputs": {"f": "1"}})
    b = Signal(
        np.zeros((6, 1)),
        clock().assign(word="w"),
        pd.DataFrame({"band": ["c"]}),
        attrs={"tr": 1.0, "notes": ["y", "x"], "inputs": {"g": "2"}},
    )
    both = join(a, b)
    assert both.attrs == {"tr": 2.0, "notes": ["x", "y"], "inputs": {"f": "1", "g": "2"}}
    assert both.samples["word"].tolist() == ["w"] * 6


def test_merge_attrs_leaves_its_arguments_alone():
    first, second = {"a": {"x": 1}, "l": [1]}, {"a": {"x": 2, "y": 3}, "l": [2], "b": 0}
    assert merge_attrs(first, second) == {"a": {"x": 1, "y": 3}, "l": [1, 2], "b": 0}
    assert (first, second) == ({"a": {"x": 1}, "l": [1]}, {"a": {"x": 2, "y": 3}, "l": [2], "b": 0})


def test_the_mean_over_people_is_the_mean_over_people():
    people = brain(people=("18", "22", "23"))
    mean = average_people(people)
    assert mean.columns.to_dict("list") == {"subject": ["average"] * 2, "roi": ["LATL", "LIFG"]}
    expected = people.values.astype("f8").reshape(6, 3, 2).mean(1)
    np.testing.assert_allclose(mean.values, expected, rtol=1e-6)
    assert mean.related["people"] is people
    shuffled = average_people(people.select(columns=[5, 0, 3, 2, 1, 4]))
    np.testing.assert_allclose(shuffled.select(roi="LATL").values, expected[:, :1], rtol=1e-6)


def test_a_mean_over_people_needs_the_same_in_all():
    with pytest.raises(InputError, match="no `subject`"):
        average_people(features("lm"))
    with pytest.raises(InputError, match=r"LIFG.* is not recorded in each of the 2 people"):
        average_people(brain().select(columns=[0, 1, 2]))


def test_a_mean_over_people_leaves_their_confounds_with_them():
    people = brain()
    people = Signal(people.values, people.samples, people.columns, {"confounds": features("motion")})
    mean = average_people(people)
    assert set(mean.related) == {"people"}
    assert set(mean.related["people"].related) == {"confounds"}


def test_same_samples_to_a_microsecond():
    assert same_samples(clock(), clock().assign(time=clock()["time"] + 5e-7))
    assert not same_samples(clock(), clock().assign(time=clock()["time"] + 5e-6))
    assert not same_samples(clock(), clock().assign(run="1"))
    assert not same_samples(clock(), clock(4))


# --- larger than memory ---------------------------------------------------------------------------------------------


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(6, 2)).astype("f4"))
    return np.load(tmp_path / "x.npy", mmap_mode="r")


def test_memory_mapped_values_stay_on_disk(mapped):
    whole = Signal(mapped, clock(), TWO)
    assert whole.values is mapped
    for part in (whole.select(), whole.select(run="2"), whole.split()["1"], whole.select(rows=slice(2, 5))):
        assert isinstance(part.values, np.memmap)
        assert np.shares_memory(part.values, mapped)
    assert type(whole.array()) is np.ndarray


def test_zarr_values_are_read_when_asked_for(tmp_path, mapped):
    import zarr

    stored = zarr.create_array(tmp_path / "x.zarr", data=np.asarray(mapped), chunks=(2, 2))
    whole = Signal(stored, clock(), TWO)
    assert whole.values is stored
    np.testing.assert_array_equal(whole.select(run="2").values, mapped[3:])
    np.testing.assert_array_equal(whole.select(band="b").values, mapped[:, 1:])
    np.testing.assert_array_equal(whole.array(), mapped)


# --- to disk and to xarray ------------------------------------------------------------------------------------------

NAMES = st.text(string.ascii_lowercase + "_", min_size=1, max_size=8)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5).filter(lambda text: text != "n/a")


def table(n, fixed):
    """A table of `n` rows: the `fixed` columns and up to three more of any kind."""
    more = st.one_of(
        st.lists(TEXT | st.none(), min_size=n, max_size=n).map(lambda cells: pd.Series(cells, dtype="str")),
        hnp.arrays("i8", n).map(pd.Series),
        hnp.arrays("f8", n).map(pd.Series),
        hnp.arrays("bool", n).map(pd.Series),
        hnp.arrays("bool", n).map(lambda cells: pd.Series(cells).astype("boolean")),
    )
    names = NAMES.filter(lambda name: name not in ("run", "time", "use"))
    return st.dictionaries(names, more, max_size=3).map(lambda columns: pd.DataFrame({**fixed, **columns}))


@st.composite
def signals(draw):
    n, p = draw(st.integers(0, 5)), draw(st.integers(0, 3))
    values = draw(hnp.arrays("f4", (n, p), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
    runs = sorted(draw(st.lists(st.sampled_from(["1", "ses-2"]), min_size=n, max_size=n)))
    fixed = {"run": pd.Series(runs, dtype="str"), "time": np.arange(n, dtype="f8")}
    attrs = draw(st.dictionaries(NAMES, st.integers() | st.text() | st.lists(st.text()) | st.none(), max_size=2))
    return Signal(values, draw(table(n, fixed)), draw(table(p, {"at": range(p)})), attrs=attrs)


@settings(max_examples=25)  # each writes and reads a dozen files
@given(signals())
def test_save_and_load_are_inverse(original):
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_signal(save_signal(original, Path(folder) / "s.zarr"))
    assert_equal_content(loaded, original)


def assert_equal_content(a, b):
    """Equal but for how pandas keeps a column."""
    np.testing.assert_array_equal(a.array(), b.array())
    assert a.attrs == b.attrs
    for x, y in ((a.samples, b.samples), (a.columns, b.columns)):
        pd.testing.assert_frame_equal(x, y, check_dtype=False, check_column_type=False)


@settings(max_examples=40)
@given(signals())
def test_to_xarray_and_back_are_inverse(original):
    assert_equal_content(Signal.from_xarray(original.to_xarray()), original)


def test_xarray_opens_what_is_saved(tmp_path):
    whole = average_people(brain())
    path = save_signal(whole, tmp_path / "s.zarr")
    with xarray.open_zarr(path) as opened:
        np.testing.assert_array_equal(opened["values"].values, whole.values)
        assert opened["values"].dims == ("sample", "column")
        assert opened["values"].dtype == np.float32
        assert opened["run"].values.tolist() == whole.samples["run"].tolist()
        assert opened["roi"].values.tolist() == ["LATL", "LIFG"]
        assert_same(Signal.from_xarray(opened), Signal(whole.values, whole.samples, whole.columns))
    with xarray.open_zarr(path / "related" / "people") as opened:
        assert opened.sizes == {"sample": 6, "column": 4}
    assert_same(load_signal(path), whole)


def test_saving_again_replaces_what_was_there(tmp_path):
    save_signal(average_people(brain()), tmp_path / "s.zarr")
    alone = features("lm")
    assert_same(load_signal(save_signal(alone, tmp_path / "s.zarr")), alone)


def test_a_name_that_both_tables_have_is_told_apart():
    both = Signal(np.zeros((6, 2)), clock().assign(band="x", column=1), TWO)
    data = both.to_xarray()
    assert data["sample_band"].values.tolist() == ["x"] * 6
    assert data["column_band"].values.tolist() == ["a", "b"]
    assert_same(Signal.from_xarray(data), both)


@pytest.mark.parametrize("name", ["values", "sample", "column", "sample_run", "table", "name"])
def test_no_name_of_a_column_is_in_the_way(name, tmp_path):
    awkward = Signal(np.zeros((6, 2)), clock().assign(**{name: range(6)}), TWO.assign(**{name: ["p", "q"], "run": 1}))
    assert_same(load_signal(save_signal(awkward, tmp_path / "s.zarr")), awkward)


@pytest.mark.parametrize(
    "cells",
    [
        pd.array([1, None], dtype="Int64"),
        pd.array([True, None], dtype="boolean"),
        pd.Series(["a", None]).astype("category"),
        pd.Series([None, None], dtype="object"),
        pd.Series([1.5, np.nan]),
    ],
)
def test_missing_cells_stay_missing(cells, tmp_path):
    gaps = Signal(np.zeros((6, 2)), clock(), TWO.assign(cells=cells))
    found = load_signal(save_signal(gaps, tmp_path / "s.zarr")).columns["cells"]
    assert found.isna().tolist() == gaps.columns["cells"].isna().tolist()


def test_a_dataset_of_another_kind_is_refused():
    with pytest.raises(InputError, match=r"variable 'values' with dimensions \(sample, column\); found t\('x',\)"):
        Signal.from_xarray(xarray.Dataset({"t": ("x", [1, 2])}))


def test_a_dataset_made_by_someone_else_is_read():
    made = xarray.Dataset(
        {"values": (("sample", "column"), np.zeros((2, 1)))},
        coords={"run": ("sample", ["1", "1"]), "time": ("sample", [0.0, 2.0]), "roi": ("column", ["V1"])},
    )
    assert repr(Signal.from_xarray(made)) == "Signal(2 samples × 1 columns; 1 run; 0.0–2.0 s; roi)"


def test_loading_what_is_not_there_says_so(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.zarr holds no saved Signal"):
        load_signal(tmp_path / "nothing.zarr")


def test_a_column_may_be_called_as_the_variable_is():
    samples = pd.DataFrame({"run": ["1"], "time": [0.0], "values": ["x"]})
    one = Signal([[1.0]], samples, pd.DataFrame({"weights": [2.0]}))
    again = Signal.from_xarray(one.to_xarray())
    assert again.samples["values"].tolist() == ["x"]
    assert again.columns["weights"].tolist() == [2.0]
