"""The main job on the real recording, with the numbers it has to show (methods.md and the first replication)."""

import numpy as np
import pandas as pd
import pytest

from brainalign.shipped import shipped
from brainalign.study.run import run_study
from brainalign.study.settings import read_study

CEILINGS = {"LATL": 0.76, "RATL": 0.71, "LPTL": 0.89, "LIPL": 0.79, "LPreM": 0.73, "LIFG": 0.64}
ONE_PERSON = {"LATL": 0.27, "RATL": 0.24, "LPTL": 0.42, "LIPL": 0.29, "LPreM": 0.25, "LIFG": 0.19}


def run(name, out):
    study = read_study(shipped("studies", name)).model_copy(update={"output": out})
    return run_study(study)


def means(fit):
    return fit.scores.groupby("model")["r"].mean()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return run("listening-quick.yaml", tmp_path_factory.mktemp("small"))


def test_seventeen_people_and_one_left_out_by_name(small):
    assert small.people["subject"].nunique() == 17
    assert [who["subject"] for who in small.settings["decided"]["left_out"]] == ["33"]


def test_ceilings_are_those_of_the_reference(small):
    found = small.scores.query("model == 'full'").set_index("roi")["ceiling_r"]
    pd.testing.assert_series_equal(found, pd.Series(CEILINGS), atol=0.03, rtol=0, check_names=False)
    one = small.people.query("model == 'full'").groupby("roi", sort=False)["ceiling_r"].mean()
    pd.testing.assert_series_equal(one, pd.Series(ONE_PERSON), atol=0.03, rtol=0, check_names=False)
    assert (small.scores["ceiling_p"] < 0.05).all()
    assert small.people["normalised_r"].isna().any()  # some people's ceilings cannot be told from zero: no number


def test_word_rate_and_length_predict_as_they_should(small):
    assert 0.20 <= means(small)["baseline"] <= 0.33


def test_a_toddlers_model_costs_little(small):
    assert means(small)["full"] >= means(small)["baseline"] - 0.01


def test_the_gain_is_printed_with_its_interval_whatever_it_is(small):
    over = small.gain.set_index("over")
    for row in ("targets", "people"):
        assert over.loc[row, "low"] < over.loc[row, "gain_r"] < over.loc[row, "high"]
    assert 0 < over.loc["people", "p"] <= 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run("listening.yaml", tmp_path_factory.mktemp("whole"))


@pytest.mark.verify
def test_a_language_model_adds_to_the_baseline(whole):
    assert means(whole)["full"] >= 0.29
    assert means(whole)["full"] > means(whole)["baseline"]
    assert len(whole.layers) == 31
    assert np.isclose(whole.layers["chosen"].sum(), 1)


@pytest.mark.verify
def test_controls_fall_where_they_have_to(whole):
    controls = whole.controls.set_index("control")
    assert controls.loc["untrained", "full_r"] <= controls.loc["untrained", "baseline_r"] + 0.03
    assert abs(controls.loc["reversed", "full_r"]) <= 0.10
    assert abs(controls.loc["reversed", "baseline_r"]) <= 0.10
    assert np.isfinite(controls.loc["segment", "full_r"])
