from functools import partial

import mne
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainalign import InputError, SettingsError
from brainalign.io.contacts import contact_of, match_names
from brainalign.io.references import as_recorded, bipolar, common_average, contacts, laplacian, per_shaft

NAMES = ["LA1", "LA2", "LA3", "LA4", "RB1", "RB2", "RB3"]
ALL = [as_recorded, common_average, partial(common_average, median=True), per_shaft, bipolar, laplacian]
DIFFERENCES = [common_average, per_shaft, partial(per_shaft, others=True), bipolar, laplacian]


def noise(n, seed=0, m=50):
    return np.random.default_rng(seed).standard_normal((m, n))


def raw_of(x, names, bad=()):
    raw = mne.io.RawArray(x.T, mne.create_info(list(names), 100.0, "seeg"), verbose="ERROR")
    raw.info["bads"] = list(bad)
    return raw


def columns(reference):
    return reference.columns["channel"].tolist()


def test_hand_made_numbers():
    x = np.array([[1.0, 4.0, 9.0, 16.0, 100.0, 300.0, 900.0]])
    table = contacts(NAMES)
    exact = partial(np.testing.assert_allclose, rtol=0, atol=1e-12)
    exact(as_recorded(table).apply(x), x)
    exact(common_average(table).apply(x), x - 190.0)
    exact(common_average(table, median=True).apply(x), x - 16.0)
    exact(per_shaft(table).apply(x)[0], [-6.5, -3.5, 1.5, 8.5, *(np.array([100, 300, 900]) - 1300 / 3)])
    exact(per_shaft(table, others=True).apply(x)[0, :2], [1 - 29 / 3, 4 - 26 / 3])
    exact(bipolar(table).apply(x)[0], [-3, -5, -7, -200, -600])
    assert columns(bipolar(table)) == ["LA1-LA2", "LA2-LA3", "LA3-LA4", "RB1-RB2", "RB2-RB3"]
    exact(laplacian(table).apply(x)[0], [4 - 5, 9 - 10, 300 - 500])
    assert columns(laplacian(table)) == ["LA2", "LA3", "RB2"]


@pytest.mark.parametrize("bad", [[], ["LA2", "RB3"]], ids=["good", "bad"])
def test_common_average_is_mnes(bad):
    x = noise(7)
    theirs = mne.set_eeg_reference(raw_of(x, NAMES, bad), "average", ch_type="seeg", verbose="ERROR")[0]
    made = common_average(contacts(NAMES, bad))
    np.testing.assert_allclose(made.apply(x), theirs.get_data(columns(made)).T, rtol=0, atol=1e-12)


def test_bipolar_is_mnes():
    x, made = noise(7), bipolar(contacts(NAMES))
    first, second = zip(*(name.split("-") for name in columns(made)))
    theirs = mne.set_bipolar_reference(raw_of(x, NAMES), list(first), list(second), verbose="ERROR")
    np.testing.assert_allclose(made.apply(x), theirs.get_data(columns(made)).T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("reference", ALL)
@settings(max_examples=8)
@given(st.integers(1, 60), st.sets(st.integers(0, 11), max_size=7))
def test_what_is_bad_reaches_no_column(reference, seed, bad):
    names = [f"{shaft}{k}" for shaft in ("LA", "RB") for k in range(1, 7)]
    lost = [names[k] for k in sorted(bad)]
    x = noise(12, seed, m=4)
    try:
        made = reference(contacts(names, lost))
    except InputError:  # nothing is left
        return
    before = made.apply(x)
    x[:, sorted(bad)] = np.nan
    np.testing.assert_array_equal(made.apply(x), before)
    assert not set(columns(made)) & set(lost)


@pytest.mark.parametrize("reference", DIFFERENCES)
@settings(max_examples=5)
@given(st.integers(0, 50))
def test_what_all_share_is_gone(reference, seed):
    made = reference(contacts(NAMES, bad=["LA4"]))
    x = noise(7, seed, m=5)
    np.testing.assert_allclose(made.apply(x + noise(1, seed + 1, m=5) * 100), made.apply(x), atol=1e-10)


def test_median_is_not_moved_by_one_wild_channel():
    x = noise(7)
    wild = x + 1e6 * (np.arange(7) == 6)
    made = common_average(contacts(NAMES), median=True)
    assert np.abs(made.apply(wild) - made.apply(x))[:, :6].max() < 3
    np.testing.assert_allclose(made.apply(x), x - np.median(x, axis=1, keepdims=True))


def test_groups_of_cables_and_types_are_averaged_apart():
    x = noise(7)
    table = contacts(NAMES, type=["ECOG"] * 2 + ["SEEG"] * 5, group=["a", "a", "a", "b", "b", "b", "b"])
    made = common_average(table, by=["type", "group"]).apply(x)
    np.testing.assert_allclose(made[:, :2], x[:, :2] - x[:, :2].mean(1, keepdims=True), atol=1e-12)
    np.testing.assert_allclose(made[:, 2:], x[:, 3:] - x[:, 3:].mean(1, keepdims=True), atol=1e-12)
    kept = common_average(table, by=["type", "group"])
    assert columns(kept) == ["LA1", "LA2", "LA4", "RB1", "RB2", "RB3"]
    assert kept.notes == ("1 good channels have no column, each is alone in its group: LA3",)
    np.testing.assert_allclose(common_average(table, by=[]).apply(x), x - x.mean(1, keepdims=True), atol=1e-12)


def test_a_pair_lies_in_the_middle_and_has_no_place_where_one_has_none():
    x = [0.0, 4.0, np.nan, 8.0]
    table = contacts(["LA1", "LA2", "LA3", "LA4"], x=x, y=1.0, z=[0.0, 2.0, 4.0, 6.0], frame="ACPC")
    pairs = bipolar(table).columns
    assert pairs.iloc[0][["channel", "type", "x", "y", "z", "frame", "shaft"]].tolist() == [
        "LA1-LA2", "SEEG", 2.0, 1.0, 1.0, "ACPC", "LA",
    ]  # fmt: skip
    assert np.isnan(pairs["x"][1:]).all()
    assert laplacian(table).columns["x"].iloc[0] == 4.0


def test_a_gap_is_bridged_where_that_is_asked_for():
    table = contacts(["LA1", "LA2", "LA3", "LA5", "LA10"], bad=["LA2"])
    with pytest.raises(InputError, match="of 4 good channels each has no good neighbour on its shaft: nothing is left"):
        bipolar(table)
    assert columns(bipolar(table, across_gaps=True)) == ["LA1-LA3", "LA3-LA5", "LA5-LA10"]


def test_contacts_are_in_order_of_number_whatever_the_order_of_channels():
    assert columns(bipolar(contacts(["LA10", "RB2", "LA9", "RB1", "LA11"]))) == ["LA9-LA10", "LA10-LA11", "RB1-RB2"]


GRID = [f"G{k}" for k in range(1, 13)]  # three rows of four


def grid_positions():
    row, column = np.divmod(np.arange(12), 4)
    return {"x": 10.0 * column, "y": 10.0 * row, "z": 0.3 * column, "frame": "ACPC"}


def four_neighbours(bad=()):
    """By the definition, cell by cell."""
    expected = {}
    for k in range(12):
        row, column = divmod(k, 4)
        around = [(row + a, column + b) for a, b in ((-1, 0), (1, 0), (0, -1), (0, 1))]
        beside = [4 * r + c for r, c in around if 0 <= r < 3 and 0 <= c < 4]
        beside = [j for j in beside if GRID[j] not in bad]
        if GRID[k] not in bad and len(beside) > 1:
            expected[GRID[k]] = beside
    return expected


@pytest.mark.parametrize("bad", [(), ("G6",), ("G2", "G5")], ids=["none", "middle", "corner"])
@pytest.mark.parametrize("known", ["grids", "dimension", "positions"])
def test_laplacian_on_a_grid_is_four_neighbours(known, bad):
    more = {"grids": {}, "dimension": {"dimension": "[3x4]"}, "positions": grid_positions()}[known]
    table = contacts(GRID, bad, type="ECOG", **more)
    made = laplacian(table, grids={"G": (3, 4)} if known == "grids" else None)
    expected, x = four_neighbours(bad), noise(12)
    assert columns(made) == list(expected)
    theirs = [x[:, GRID.index(one)] - x[:, beside].mean(1) for one, beside in expected.items()]
    np.testing.assert_allclose(made.apply(x), np.stack(theirs, axis=1), rtol=0, atol=1e-12)


def test_rows_of_a_grid_end():
    table = contacts(GRID, type="ECOG")
    assert len(columns(bipolar(table))) == 11
    pairs = columns(bipolar(table, grids={"G": (3, 4)}))
    assert len(pairs) == 9
    assert "G4-G5" not in pairs


@pytest.mark.parametrize("bad", [(), (0,), (5,)], ids=["none", "the first", "middle"])
def test_a_grid_that_is_counted_from_0_is_the_same_grid(bad):
    counted = [contacts([f"G{k + a}" for k in range(12)], [f"G{k + a}" for k in bad], type="ECOG") for a in (0, 1)]
    for reference in (bipolar, laplacian):
        from_0, from_1 = (reference(table, grids={"G": (3, 4)}) for table in counted)
        np.testing.assert_array_equal(from_0.matrix, from_1.matrix)
        ends = [[int(end[1:]) + (k == 0) for name in columns(made) for end in name.split("-")]
                for k, made in enumerate((from_0, from_1))]  # fmt: skip
        assert ends[0] == ends[1]
    assert len(columns(bipolar(counted[0], grids={"G": (3, 4)}))) == 9 - len(bad) * (1 + (5 in bad))


def test_a_large_array_of_unknown_size_is_said_to_be_taken_as_a_line():
    made = bipolar(contacts([f"G{k}" for k in range(1, 65)], type="ECOG"))
    assert made.notes == (
        "G has contacts up to 64 and no size is known: taken as one line; name its rows and columns as grids",
    )


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lambda: per_shaft(contacts(["LA1", "Cz", "LA2"])), InputError, "per_shaft goes by .* 1 names say none: Cz"),
        (lambda: bipolar(contacts(["LA1-LA2", "LA2-LA3"])), InputError, "bipolar goes by shaft"),
        (lambda: laplacian(contacts(["LA1", "RB1"])), InputError, "each has not two good neighbours: nothing is left"),
        (lambda: common_average(contacts(["LA1"])), InputError, "each is alone in its group"),
        (lambda: common_average(contacts(["LA1"]), by=["grup"]), SettingsError, "column 'grup'; did you mean 'group'"),
        (lambda: bipolar(contacts(["LA1", "LA 1", "LA2"])), InputError, "several channels say the same: LA1, LA 1"),
        (lambda: laplacian(contacts(GRID), grids={"G": (2, 4)}), InputError, "2 × 4, grids says, and has a contact 12"),
    ],
    ids=["nameless", "pairs", "neighbours", "alone", "column", "twice", "size"],
)  # fmt: skip
def test_what_cannot_be_is_said(make, kind, said):
    with pytest.raises(kind, match=said):
        make()


def test_names_without_a_shaft_are_no_matter_where_they_are_bad():
    assert columns(per_shaft(contacts(["LA1", "Cz", "LA2"], bad=["Cz"]))) == ["LA1", "LA2"]


@pytest.mark.parametrize(
    ("name", "contact"),
    [
        ("LA1", ("LA", 1)), ("LA01", ("LA", 1)), ("A'3", ("A'", 3)), ("G_12", ("G", 12)), ("TP 4", ("TP", 4)),
        ("POL LA1", ("LA", 1)), ("EEG LA10-Ref", ("LA", 10)), ("LA-3", ("LA", 3)), ("3B5", ("3B", 5)), ("L0", ("L", 0)),
        ("Pol LA1", ("LA", 1)), ("eeg LA1-REF", ("LA", 1)),
        ("LA1-LA2", None), ("LA1-2", None), ("Cz", None), ("17", None), ("", None), ("Ref", None),
    ],
)  # fmt: skip
def test_shaft_and_number_of_a_name(name, contact):
    assert contact_of(name) == contact


def test_names_that_would_fit_several_are_not_matched():
    found = match_names(["LA1", "LA01", "A1", "a 2", "B3"], ["LA001", "A'1", "A2", "B03", "B3"])
    assert found.pairs == {"a 2": "A2", "B3": "B3"}
    assert found.first_only == ["LA1", "LA01", "A1"]
    assert found.second_only == ["LA001", "A'1", "B03"]
