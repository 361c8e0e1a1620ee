"""Means over people, whatever each of them has."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from brainalign.encoding.chance import Chance
from brainalign.encoding.encode import encode
from brainalign.encoding.group import group, over_people
from brainalign.errors import InputError
from brainalign.maths.inference import fdr
from brainalign.maths.people import sign_flip
from brainalign.reporting.found import gain_over_people, people_gains
from brainalign.reporting.tables import gain_lines, gain_table
from brainalign.signals import Signal

fitted = partial(encode, chance=Chance(permutations=0, bootstrap=0), weights=False, baseline=["rate"])
REGIONS = {"a": ["A1", "LIFG"], "b": ["LIFG", "LIFG", "A1"], "c": ["LIFG"], "d": ["A1"] * 4 + ["LIFG"]}


def electrodes(X, who, seed):
    """A person's electrodes: all follow rate, those in LIFG follow lm.1 as well."""
    rng = np.random.default_rng(seed)
    roi = np.array(REGIONS[who])
    signal = X.values[:, :1] - 3 + np.where(roi == "LIFG", 1.0, 0.0) * (X.select(band="lm.1").values[:, :1] - 3) / 30
    columns = pd.DataFrame({"subject": who, "roi": roi})
    return Signal(signal + rng.standard_normal((len(signal), len(roi))), X.samples, columns)


@pytest.fixture(scope="module")
def people(planted):
    """Four people, each with an Encoding, the last one heard half as much."""
    X = planted[0].select(band=["rate", "lm.1"])
    shorter = X.select(run=["1", "2"])
    return [fitted(x, electrodes(x, who, k)) for k, (who, x) in enumerate(zip("abcd", [X, X, X, shorter], strict=True))]


def scored(r, subject, ceiling=0.5, roi="LIFG"):
    """The scores of one person, as `encode` writes them."""
    tables = [
        pd.DataFrame(
            {"subject": subject, "roi": roi, "model": name, "r": np.asarray(r) * factor, "ceiling_r": ceiling}
        ).assign(normalised_r=lambda t: t["r"] / t["ceiling_r"])
        for name, factor in (("baseline", 0.5), ("full", 1.0))
    ]
    return pd.concat(tables, ignore_index=True)


def test_everyone_counts_once(people):
    found = group(people, n=500).set_index("what")
    assert found.index.tolist() == ["full", "baseline", "gain"]
    each = [f.scores.groupby("model")["r"].mean() for f in people]
    for name in ("full", "baseline"):
        np.testing.assert_allclose(found.loc[name, "mean"], np.mean([one[name] for one in each]))
    np.testing.assert_allclose(found.loc["gain", "mean"], found.loc["full", "mean"] - found.loc["baseline", "mean"])
    assert found.loc["gain", "p"] == found.loc["gain", "p_floor"] == 1 / 2**4
    assert found.loc[["full", "baseline"], "p"].isna().all()
    assert (found[["n_people", "n_targets", "fewest", "most"]] == [4, 11, 1, 5]).all(axis=None)
    assert (found["low"] < found["mean"]).all()
    assert (found["mean"] < found["high"]).all()
    assert set(found["interval"]) == {"bootstrap over people and their targets"}
    assert found["normalised"].isna().all()
    assert (found["n_normalised"] == 0).all()


def test_one_encoding_of_several_people_is_the_same(planted):
    X = planted[0].select(band=["rate", "lm.1"])
    each = [electrodes(X, who, k) for k, who in enumerate("abcd")]
    both = Signal(
        np.concatenate([one.values for one in each], axis=1), X.samples, pd.concat([one.columns for one in each])
    )
    quick = Chance(permutations=19, bootstrap=99)
    fit = encode(X, both, baseline=["rate"], weights=False, chance=quick)
    whole = group(fit, n=99).set_index("what").loc["gain"]
    gain = fit.gain[fit.gain["over"] == "people"].iloc[0]
    assert gain["n"] == whole["n_people"] == 4
    np.testing.assert_allclose(
        gain[["gain_r", "low", "high", "p"]].tolist(), whole[["mean", "low", "high", "p"]].tolist()
    )
    assert gain["interval"] == "bootstrap over people and their targets"
    assert gain_over_people(fit).n == len(people_gains(fit)) == 4
    assert "over 4 people" in gain_lines(fit)[-1]
    assert "sign-flip p ≤ .062" in gain_lines(fit)[-1]
    table = gain_table(fit)
    assert table is not None
    assert table.rows[-1][0] == "mean of 4 people"


def test_people_behind_an_average_are_the_people(crowd):
    X, Y = crowd
    fit = fitted(X.select(band=["rate", "lm.1"]), Y)
    found = group(fit, n=99).set_index("what")
    by_hand = fit.people.groupby(["model", "subject"])["r"].mean().groupby("model").mean()
    np.testing.assert_allclose(found.loc["full", "mean"], by_hand["full"])
    assert found.loc["gain", "n_people"] == 5
    assert found.loc["gain", "interval"] == "bootstrap over people"


def test_regions_have_the_people_who_have_them(people):
    found = group(people, by="roi", n=99).set_index(["roi", "what"])
    gain = found.xs("gain", level="what")
    assert gain["n_people"].to_dict() == {"A1": 3, "LIFG": 4}
    assert gain["n_targets"].to_dict() == {"A1": 6, "LIFG": 5}
    assert gain["p_floor"].to_dict() == {"A1": 1 / 8, "LIFG": 1 / 16}
    np.testing.assert_allclose(gain["q"], fdr(gain["p"].to_numpy()))
    assert gain.loc["LIFG", "mean"] > 0.15 > abs(gain.loc["A1", "mean"])
    alone = group([people[0], people[2]], by="roi", n=99).set_index(["roi", "what"]).loc[("A1", "gain")]
    assert alone["n_people"] == 1
    assert alone[["low", "high", "p", "p_floor"]].isna().all()


def test_normalised_means_are_ratios_of_means(people):
    own = scored([0.2, 0.4], "a", ceiling=[0.5, 1.0])
    other = scored([0.3, 0.3, 0.3], "b", ceiling=[0.6, 0.6, 0.6])
    other.loc[other.index % 3 == 0, "normalised_r"] = np.nan  # one target's ceiling cannot be told from zero
    none = scored([0.1], "c", ceiling=np.nan)
    fits = [replace(people[0], scores=table) for table in (own, other, none)]
    found = group(fits, n=0).set_index("what")
    expected = np.mean([0.6 / 1.5, 0.6 / 1.2])
    np.testing.assert_allclose(found.loc["full", "normalised"], expected)
    np.testing.assert_allclose(found.loc["gain", "normalised"], expected / 2)
    assert (found["n_normalised"] == 2).all()
    assert found["low"].isna().all()


def test_what_is_no_group(people):
    with pytest.raises(InputError, match="at least two people; found 1"):
        group(people[:1])
    with pytest.raises(InputError, match="at least two people; found 0"):
        group([])
    with pytest.raises(InputError, match="subject 'a' is in two of the fits"):
        group([people[0], people[0]])
    with pytest.raises(InputError, match=r"fit 1 of 4 has no model 'lm.1' of people"):
        group(people, models=("lm.1", "baseline"))
    with pytest.raises(InputError, match="no column 'region'"):
        group(people, by="region")
    nameless = replace(people[1], scores=people[1].scores.drop(columns="subject"))
    with pytest.raises(InputError, match="targets of fit 2 of 2 have no `subject`"):
        group([people[0], nameless])


def test_signs_are_flipped_either_way_and_have_a_floor():
    gains = np.random.default_rng(0).standard_normal(12)
    who = np.arange(12)
    found = over_people(gains, who, n=0)
    assert found["p"] == sign_flip(gains)
    assert found["p_two_sided"] == min(1, 2 * min(sign_flip(gains), sign_flip(-gains)))
    assert over_people(np.zeros(3), np.arange(3))["p_two_sided"] == 1
    assert found["p_floor"] == 1 / 2**12
    assert (
        over_people(np.ones(18), np.arange(18))["p"] == over_people(np.ones(18), np.arange(18))["p_floor"] == 1 / 10_001
    )
    holes = over_people(np.r_[1.0, np.nan, 2.0, np.nan], np.array(["a", "a", "b", "c"]), n=9)
    assert (holes["mean"], holes["n_people"], holes["n_targets"]) == (1.5, 2, 2)
    nobody = over_people(np.full(2, np.nan), np.array(["a", "b"]))
    assert np.isnan(nobody["mean"])
    assert (nobody["n_people"], nobody["fewest"], nobody["most"]) == (0, 0, 0)
