"""A gradient of layers over electrodes: planted, not planted, and tables that hold none."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

import brainalign as ba
from brainalign.encoding.chance import Chance
from brainalign.encoding.group import over_people
from brainalign.errors import InputError
from brainalign.maths.people import sign_flip

LAYERS = [0, 3, 6, 9, 12]
FRAME = "MNI152NLin2009cAsym"
HESCHL = (-45.0, -25.0, 8.0)


def electrodes(seed=0, people=6, shafts=4, contacts=8, level=4.0):
    """Contacts 5 mm apart on shafts into the side of the brain; layers of noise, each person's around their own."""
    rng = np.random.default_rng(seed)
    entry = np.column_stack(
        [np.full(people * shafts, -65.0), *rng.uniform([[-65], [-30]], [[45], [45]], (2, people * shafts))]
    )
    places = entry[:, None] + np.arange(contacts)[:, None] * np.array([5.0, 0, 0])
    table = pd.DataFrame(places.reshape(-1, 3), columns=["x", "y", "z"])
    table["subject"] = np.repeat([f"{k + 1:02d}" for k in range(people)], shafts * contacts)
    table["channel"] = [f"{'ABCDEFGH'[k // contacts % shafts]}{k % contacts + 1}" for k in range(len(table))]
    table["frame"] = FRAME
    table = ba.distance_to(table, HESCHL, FRAME)
    levels = np.repeat(rng.normal(6, level, people), shafts * contacts)
    return table.assign(place=np.round(levels + 2 * rng.standard_normal(len(table))))


@pytest.fixture(scope="module")
def planted():
    """Deeper layers farther away: a layer per 10 mm."""
    table = electrodes()
    return table.assign(place=np.round(table["place"] + table["landmark_mm"] / 10))


def recorded(where, depth, seed=0, share=0.3, width=4):
    """A recording of electrodes that follow the layer next to `depth`, and the five layers, neighbours alike."""
    rng = np.random.default_rng(seed)
    samples = pd.DataFrame({"run": np.repeat(list("abcd"), 50), "time": np.tile(np.arange(50.0), 4)})
    apart = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    spaces = np.einsum("ij,jnw->inw", np.linalg.cholesky(0.6**apart), rng.standard_normal((5, 200, width)))
    weights = rng.standard_normal((width, len(where)))
    weights /= np.linalg.norm(weights, axis=0)
    heard = np.stack([spaces[k] @ weights[:, t] for t, k in enumerate(np.rint(depth / 3).astype(int))], axis=1)
    y = np.sqrt(share) * heard + np.sqrt(1 - share) * rng.standard_normal(heard.shape)
    columns = pd.DataFrame({"band": np.repeat([f"lm.{k}" for k in LAYERS], width), "layer": np.repeat(LAYERS, width)})
    X = ba.Signal(np.concatenate(spaces, axis=1), samples, columns)
    return X, ba.Signal(y, samples, where)


def test_from_recordings_to_a_gradient():
    """Three people whose electrodes follow deeper layers farther from the landmark, each person at another depth."""
    where = electrodes(people=3).drop(columns=["place", "landmark_mm"])
    away = ba.distance_to(where, HESCHL, FRAME)["landmark_mm"]
    shift = where["subject"].map({"01": -2, "02": 0, "03": 2})
    depth = np.clip(6 + shift + (away - away.groupby(where["subject"]).transform("mean")) / 8, 0, 12).to_numpy()
    X, Y = recorded(where, depth)
    fit = ba.encode(X, Y, alternatives={"lm": X.bands}, chance=Chance(0, 0), weights=False)
    for of in ("place", "centre"):
        found = ba.gradient(ba.distance_to(fit.choices, HESCHL, FRAME), of, n=999).set_index("over")
        assert found.loc["electrodes", "p"] <= 0.01
        assert found.loc["electrodes", "low"] > 0.2
        assert 0.03 < found.loc["electrodes", "slope"] < 0.15  # a layer per 8 mm, less at the ends and by noise
        assert (found.loc["person", "r"] > 0.2).all()


def test_a_row_over_electrodes_one_over_people_and_one_of_each(planted):
    found = ba.gradient(planted, n=999)
    assert found["over"].tolist() == ["electrodes", "people", *["person"] * 6]
    assert found["subject"].tolist() == ["all", "all", *sorted(planted["subject"].unique())]
    assert found["n_electrodes"].tolist() == [192, 192, *[32] * 6]
    assert found["n_people"].tolist() == [6, 6, *[1] * 6]
    assert (found["left_out"] == 0).all()
    first, second, each = found.iloc[0], found.iloc[1], found.iloc[2:]
    assert first["p"] <= 0.01
    assert first["p_floor"] == 0.001
    assert abs(first["slope"] - 1 / 10) < 0.02
    assert 0 < first["low"] < first["r"] < first["high"]
    by_hand = [spearmanr(one["place"], one["landmark_mm"]).statistic for _, one in planted.groupby("subject")]
    np.testing.assert_allclose(each["r"], by_hand)
    np.testing.assert_allclose(first["r"], np.mean(by_hand), atol=0.03)  # as many electrodes each
    over = over_people(np.array(by_hand), each["subject"].to_numpy())
    assert second[["r", "low", "high", "p"]].tolist() == [over[k] for k in ("mean", "low", "high", "p_two_sided")]
    assert second["p"] == 2 * sign_flip(np.array(by_hand))
    assert second["p_floor"] == 2 / 2**6
    assert second["interval"] == "bootstrap over people"
    assert set(found["interval"].drop(1)) == {"signs of patterns flipped"}


def test_levels_of_people_are_no_gradient():
    """People whose electrodes are all far away and whose layers are all deep: within them there is nothing."""
    table = electrodes(seed=3, level=0)
    far = table["subject"].isin(["04", "05", "06"])
    table = table.assign(place=table["place"] + 6 * far, landmark_mm=table["landmark_mm"] + 60 * far)
    assert spearmanr(table["place"], table["landmark_mm"]).statistic > 0.6
    found = ba.gradient(table, n=999).iloc[0]
    assert abs(found["r"]) < 0.2
    assert found["p"] > 0.05


def test_what_is_not_known_is_left_out_and_counted(planted):
    table = planted.copy()
    table.loc[[0, 1], "place"] = np.nan  # 01
    table.loc[[1, 40], "x"] = np.nan  # 01 and 02
    table.loc[41, "landmark_mm"] = np.inf  # 02
    table.loc[42, "subject"] = None
    table = table.drop(index=table.index[table["subject"] == "06"][2:])  # two electrodes of 06
    found = ba.gradient(table, n=99)
    assert found["subject"].tolist() == ["all", "all", "01", "02", "03", "04", "05"]
    assert found["n_electrodes"].tolist() == [155, 155, 30, 29, 32, 32, 32]
    assert found["left_out"].tolist() == [7, 7, 2, 2, 0, 0, 0]
    assert found["n_people"].tolist()[:2] == [5, 5]
    kept = table.drop(index=[0, 1, 40, 41, 42, *table.index[table["subject"] == "06"]])
    pd.testing.assert_frame_equal(ba.gradient(kept, n=99).drop(columns="left_out"), found.drop(columns="left_out"))
    same = table.assign(place=table["place"].astype("Float64"))
    pd.testing.assert_frame_equal(ba.gradient(same, n=99), found)


def test_a_person_at_one_layer_has_no_r_of_their_own(planted):
    table = planted.assign(place=planted["place"].where(planted["subject"] != "02", 6.0))
    found = ba.gradient(table, n=99).set_index(["over", "subject"])
    assert found.loc[("person", "02"), ["r", "slope", "low", "high", "p", "p_floor"]].isna().all()
    assert found.loc[("people", "all"), ["n_people", "n_electrodes", "left_out"]].tolist() == [5, 160, 32]
    assert found.loc[("electrodes", "all"), ["n_people", "n_electrodes", "left_out"]].tolist() == [6, 192, 0]


def test_one_person_and_other_names(planted):
    one = planted[planted["subject"] == "01"].rename(columns={"subject": "patient", "place": "centre"})
    found = ba.gradient(one.drop(columns=["channel", "frame"]), "centre", "y", by="patient", n=999)
    assert found["over"].tolist() == ["electrodes", "people", "person"]
    same = ["r", "slope", "low", "high", "p", "p_floor"]
    assert found.loc[0, same].tolist() == found.loc[2, same].tolist()
    assert found.loc[1, ["p", "p_floor", "low", "high"]].isna().all()
    assert found.loc[1, "n_people"] == 1
    again = ba.gradient(one, "centre", "y", by="patient", n=999)
    pd.testing.assert_frame_equal(again, found)


def test_what_is_refused(planted):
    def refused(said, table=planted, **how):
        with pytest.raises(InputError, match=said):
            ba.gradient(table, **how)

    refused(r"no column 'landmark_mm' \(distance_to adds distances\); known: ", planted.drop(columns="landmark_mm"))
    refused(r"no column 'landmark'.*; did you mean 'landmark_mm'\?", along="landmark")
    refused(r"no column 'places'; did you mean 'place'\?", of="places")
    refused(r"no column 'person'", by="person")
    refused(r"no column 'y' \(read_ieeg gives positions\)", planted.drop(columns="y"))
    refused(r"the column 'channel' holds no numbers, such as 'A1': name one that does", of="channel")
    refused("a table with a row for each, such as fit.choices; found dict", {})
    refused("at least 8 electrodes with 'place', 'landmark_mm' and a position, .*; found 7 of 7", planted[:7])
    refused("found 0 of 192: take in more people", planted.assign(z=np.nan))
    refused("found 0 of 0", planted[:0])
    lags = pd.concat([planted.assign(lag=lag) for lag in (-0.2, 0.0, 0.2, 0.4)])
    refused(r"'01' has 4 rows: choose one of its lags, -0.2 to 0.4: table\[table\['lag'\] == -0.2\]", lags)
    models = pd.concat([planted.assign(model=model) for model in ("full", "baseline")])
    refused("electrode A1 of '01' has 2 rows: give a row per electrode, told apart by channel", models)
    nameless = models.drop(columns="channel")
    refused("electrode -65.0 .* of '01' has 2 rows: .*, told apart by x and y and z", nameless)
    mixed = planted.assign(frame=np.where(planted.index == 3, "ACPC", FRAME))
    refused(f"electrodes of '01' are in {FRAME} and ACPC: positions in two frames", mixed)
    refused("'place' is the same at all electrodes of each person", planted.assign(place=3))
    level = planted.assign(landmark_mm=planted["subject"].astype(float))
    refused("'landmark_mm' is the same at all electrodes of each person", level)


@pytest.mark.verify
def test_gradients_are_found_where_planted_and_five_in_a_hundred_where_not():
    """1,000 studies of six people without a gradient, 200 with one."""
    p = np.array([ba.gradient(electrodes(seed), n=399).loc[[0, 1], "p"] for seed in range(1000)])
    assert (abs((p <= 0.05).mean(0) - 0.05) <= 0.015)[0]
    assert (p[:, 1] <= 0.05).mean() <= 0.05  # of six people only 1/32 can be
    found = []
    for seed in range(200):
        table = electrodes(seed)
        found.append(ba.gradient(table.assign(place=table["place"] + table["landmark_mm"] / 10), n=399).loc[0, "p"])
    assert (np.array(found) <= 0.05).mean() > 0.9
