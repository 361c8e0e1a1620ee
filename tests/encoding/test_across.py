"""People predict each other through what they share, and nobody's test responses tell anything."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from brainalign.encoding.across import encode_across
from brainalign.encoding.aligning import align_people, anatomical, hyperalignment, shared_response
from brainalign.encoding.chance import Chance
from brainalign.encoding.encode import encode
from brainalign.encoding.folds import by_run, contiguous, hold_out, shuffled, splits_of
from brainalign.errors import InputError, SettingsError
from brainalign.maths.banded import BandedRidge
from brainalign.maths.scores import pearson_fold_mean, pearson_within
from brainalign.signals import Signal, average_people
from brainalign.store import Store

FEATURES = 4
FIXED = partial(BandedRidge, shrinkage=np.array([1.0, 1.0]))  # penalties do not depend on who else is fitted
QUIET = Chance(permutations=0, bootstrap=0)
SAME, OTHER = (30, 30, 30), (20, 35, 150)


def crowd(voxels=SAME, signal=1.0, noise=1.5, seed=0, runs=3):
    """A design, and people who respond to it through random bases; voxels have a place, the same ones in everyone."""
    rng = np.random.default_rng(seed)
    samples = pd.DataFrame({"run": np.repeat([*"1234"[:runs]], 80), "time": np.tile(np.arange(80) * 2.0, runs)})
    x = rng.standard_normal((len(samples), 6))
    S = x @ rng.standard_normal((6, FEATURES)) / np.sqrt(6)
    values = [
        signal * S @ np.linalg.qr(rng.standard_normal((v, FEATURES)))[0].T * np.sqrt(v / FEATURES)
        + noise * rng.standard_normal((len(samples), v))
        for v in voxels
    ]
    columns = pd.concat([pd.DataFrame({"subject": f"{k:02d}", "vertex": np.arange(v)}) for k, v in enumerate(voxels)])
    X = Signal(x, samples, pd.DataFrame({"band": ["rate"] * 2 + ["lm"] * 4}))
    return X, Signal(np.concatenate(values, axis=1), samples, columns)


@pytest.fixture(scope="module")
def found():
    X, people = crowd()
    return X, people, encode_across(X, people, align=shared_response(FEATURES), baseline=["rate"])


def means(found, model="full"):
    return found.people[found.people["model"] == model].groupby("way")["r"].mean()


def test_others_predict_a_person_as_well_as_their_own_model(found):
    _, _, fit = found
    r = means(fit)
    assert r["within"] > 0.4
    assert abs(r["across"] - r["within"]) < 0.03
    assert abs(r["anatomical"]) < 0.1
    assert means(fit, "baseline")["across"] < r["across"] - 0.1
    group = fit.group.set_index(["what", "model"])
    np.testing.assert_allclose(group.loc[("across", "full"), "mean"], r["across"])
    gain = group.loc[("across − anatomical", "full")]
    np.testing.assert_allclose(gain["mean"], r["across"] - r["anatomical"])
    assert gain["p"] == gain["p_floor"] == 1 / 8
    assert gain["n_people"] == 3
    assert repr(fit).startswith(f"Across(3 people; mean r across {r['across']:.3f}, within ")


@pytest.mark.parametrize("align", [hyperalignment(FEATURES), hyperalignment(12)], ids=str)
def test_hyperalignment_does_too(found, align):
    X, people, fit = found
    r = means(encode_across(X, people, align=align, beside=False))["across"]
    assert abs(r - means(fit)["across"]) < 0.04


def test_people_may_have_any_number_of_voxels():
    X, people = crowd(OTHER)
    fit = encode_across(X, people, align=shared_response(FEATURES))
    r = means(fit)
    assert abs(r["across"] - r["within"]) < 0.03
    assert set(r.index) == {"across", "within"}
    assert fit.notes == ("no scores without alignment: people do not have the same columns",)
    assert fit.people.groupby("subject")["n_targets"].first().tolist() == list(OTHER)


@pytest.mark.parametrize("align", [shared_response(FEATURES), hyperalignment(20)], ids=str)
def test_of_noise_nothing_is_predicted(align):
    scores = [
        means(encode_across(*crowd((50,) * 3, signal=0, seed=seed), align=align, solver=FIXED, beside=False))["across"]
        for seed in range(3)
    ]
    assert abs(np.mean(scores)) < 0.02


def test_what_everybody_answered_in_the_test_has_no_say():
    X, people = crowd((15, 60), runs=2)
    rng = np.random.default_rng(1)
    for run in people.runs:
        test = (people.samples["run"] == run).to_numpy()
        predicted = []
        for rows in (np.zeros(0, int), np.flatnonzero(test), np.flatnonzero(~test)[:5]):
            values = people.array().copy()
            values[rows] = 50 * rng.standard_normal((len(rows), values.shape[1])) + 9
            fit = encode_across(
                X,
                replace(people, values=values),
                align=shared_response(3),
                folds=hold_out(run=[run]),
                solver=FIXED,
                beside=False,
            )
            predicted.append(np.concatenate([fit.predictions(f"{k:02d}").values for k in range(2)], axis=1))
        truth, altered, taught_otherwise = predicted
        np.testing.assert_array_equal(altered, truth)
        assert np.abs(taught_otherwise - truth).max() > 0.1, "a change that counts would not be seen"


def test_scores_are_those_of_the_predictions(found):
    _, people, fit = found
    scores = fit.scores[(fit.scores["way"] == "across") & (fit.scores["model"] == "full")]
    for who in ("00", "02"):
        mine = people.select(subject=who)
        predicted = fit.predictions(who)
        assert predicted.samples[["run", "time"]].equals(mine.samples[["run", "time"]])
        r = pearson_within(mine.array(), predicted.array(), predicted.samples["fold"].to_numpy())
        np.testing.assert_allclose(scores.loc[scores["subject"] == who, "r"], r, atol=1e-5)
    assert scores[["subject", "vertex"]].reset_index(drop=True).equals(people.columns)
    with pytest.raises(InputError, match="no subject 'sub-00'"):
        fit.predictions("sub-00")


@pytest.mark.parametrize("order", [None, [2, 0, 3, 1]], ids=["shuffled", "by run"])
def test_predictions_are_in_order_of_time_whatever_that_of_the_folds(order):
    X, people = crowd((10, 12), runs=4)
    runs = by_run(people.samples)
    folds = shuffled(5) if order is None else splits_of([runs[k] for k in order])
    fit = encode_across(X, people, align=shared_response(3), folds=folds, solver=FIXED, beside=False)
    scores = fit.scores[fit.scores["model"] == "full"]
    for who in ("00", "01"):
        predicted = fit.predictions(who)
        assert predicted.samples[["run", "time"]].equals(people.samples[["run", "time"]])
        r = pearson_within(people.select(subject=who).array(), predicted.array(), predicted.samples["fold"].to_numpy())
        np.testing.assert_allclose(scores.loc[scores["subject"] == who, "r"], r, atol=1e-5)


def test_within_is_what_encode_finds(found):
    X, people, fit = found
    own = encode(X, people, baseline=["rate"], chance=QUIET, weights=False).scores
    scores = fit.scores[fit.scores["way"] == "within"]
    np.testing.assert_array_equal(scores["r"], own["r"])
    assert fit.folds["role"].value_counts().to_dict() == {"train": 480, "test": 240}
    assert fit.settings["align"] == "shared response model of 4 features"


def test_unaligned_is_the_model_of_the_others_same_places():
    X, people = crowd((6, 6))
    how = {"folds": contiguous(3, gap_s=4.0), "solver": FIXED}
    fit = encode_across(X, people, align=anatomical, **how)
    assert set(fit.scores["way"]) == {"across", "within"}
    other = encode(X, people.select(subject="01"), **how, chance=QUIET, weights=False)
    predicted = other.predictions.select(model="full").array()
    fold = other.predictions.samples["fold"].to_numpy()
    r = pearson_fold_mean(people.select(subject="00").array(), predicted, fold)  # scales are each fold's own
    scores = fit.scores[(fit.scores["way"] == "across") & (fit.scores["subject"] == "00")]
    np.testing.assert_allclose(scores["r_fold_mean"], r, atol=1e-5)


def test_columns_may_lie_in_any_order():
    X, people = crowd((12, 12, 12), runs=2)
    order = np.random.default_rng(0).permutation(people.shape[1])
    tables = []
    for one in (people, people.select(columns=order)):
        fit = encode_across(X, one, align=shared_response(FEATURES), solver=FIXED)
        assert fit.scores[fit.scores["way"] == "across"][["subject", "vertex"]].equals(one.columns)
        tables.append(fit.scores.sort_values(["way", "model", "subject", "vertex"], ignore_index=True))
    one, other = tables
    names = ["way", "model", "subject", "vertex"]
    assert one[names].equals(other[names])
    np.testing.assert_allclose(one["r"], other["r"], atol=1e-4)


def test_a_second_run_takes_up_what_is_kept(tmp_path):
    X, people = crowd((8, 8), runs=2)
    store, seen = Store(tmp_path), []
    how = {"align": shared_response(2), "solver": FIXED}
    once = encode_across(X, people, **how, store=store, progress=lambda done, total, what: seen.append(what))
    assert "shared response model of 2 features, fold 2" in seen
    pieces = len(list(store.pieces()))
    assert pieces == 2 * 3  # folds × ways
    again = encode_across(X, people, **how, store=store)
    assert len(list(store.pieces())) == pieces
    assert again.scores.equals(once.scores)
    assert encode_across(X, people, **how).scores.equals(once.scores)


def test_aligned_people_share_what_they_were_not_taught():
    _, people = crowd(OTHER, noise=0.5)
    taught = people.samples["run"] != "3"
    aligned = align_people(people, train=taught, how=shared_response(3))
    assert aligned.shape == (240, 9)
    assert aligned.columns["dimension"].tolist() == [1, 2, 3] * 3
    assert aligned.attrs["aligned"] == {"how": "shared response model of 3 features", "samples": 160}
    new = aligned.select(run="3").array().reshape(-1, 3, 3)
    r = [np.corrcoef(new[:, 0, d], new[:, 2, d])[0, 1] for d in range(3)]
    assert min(r) > 0.8
    assert average_people(aligned).shape == (240, 3)
    altered = people.array().copy()
    altered[160:] = np.random.default_rng(3).standard_normal(altered[160:].shape)
    again = align_people(replace(people, values=altered), train=np.arange(160), how=shared_response(3))
    np.testing.assert_array_equal(again.values[:160], aligned.values[:160])


def test_censored_samples_teach_nothing():
    _, people = crowd((10, 12))
    values = people.array().copy()
    values[[3, 70]] = np.nan
    use = np.ones(len(values), bool)
    use[[3, 70]] = False
    censored = replace(people, values=values, samples=people.samples.assign(use=use))
    for how in (shared_response(3), anatomical):
        if how is anatomical:
            censored = censored.select(columns=(censored.columns["vertex"] < 10).to_numpy())
        aligned = align_people(censored, train=slice(0, 160), how=how)
        assert np.isnan(aligned.values[3]).all()
        assert np.isfinite(aligned.values[use]).all()


def test_what_cannot_be_aligned():
    X, people = crowd((10, 12))
    with pytest.raises(InputError, match="people do not have the same columns"):
        encode_across(X, people, align=anatomical)
    with pytest.raises(InputError, match="columns have no `subject`"):
        align_people(replace(people, columns=people.columns[["vertex"]]), train=slice(0, 80))
    average = average_people(crowd()[1])
    with pytest.raises(InputError, match=r"`subject` is always 'average': give its related\['people'\]"):
        encode_across(X, average)
    with pytest.raises(SettingsError, match="from 1 to 10, all that person 0 has"):
        align_people(people, train=slice(0, 80))  # 50 features
    with pytest.raises(SettingsError, match="at least one feature; found 0"):
        shared_response(0)
    with pytest.raises(SettingsError, match="at least one principal component; found -2"):
        hyperalignment(-2)
    twice = replace(people, columns=people.columns.assign(vertex=0))
    with pytest.raises(InputError, match="each once"):
        align_people(twice.select(columns=slice(5, 15)), train=slice(0, 80), how=anatomical)


@pytest.mark.parametrize(
    ("align", "message"),
    [
        (shared_response, r"shared_response makes an alignment: call it, shared_response\(50\)"),
        (hyperalignment, r"hyperalignment makes an alignment: call it"),
        ("srm", r"an alignment is shared_response\(50\), .*; found 'srm'"),
    ],
    ids=["not called", "neither", "a word"],
)
def test_what_is_no_alignment_is_refused(align, message):
    X, people = crowd((10, 12))
    with pytest.raises(SettingsError, match=message):
        encode_across(X, people, align=align)
    with pytest.raises(SettingsError, match=message):
        align_people(people, train=slice(0, 80), how=align)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (np.ones(80, bool), r"train is a mask of shape \(80,\), and there are 240 samples"),
        ([0, 1, 240], "train names samples that are not there, of 240: index 240"),
        ("run-1", "train is a mask, positions or a slice of the samples; found 'run-1'"),
        ([0.5, 1.0], "train is a mask, positions or a slice"),
        ([], "at least two samples; found 0"),
    ],
    ids=["short", "beyond", "word", "parts", "none"],
)
def test_samples_that_are_not_there_teach_nothing(train, message):
    with pytest.raises(InputError, match=message):
        align_people(crowd((10, 12))[1], train=train, how=shared_response(2))


def test_some_samples_at_a_time_are_all_of_them(monkeypatch):
    X, people = crowd((12, 12))
    how = {"align": shared_response(3), "solver": FIXED}

    def found():
        fit = encode_across(X, people, **how)
        return fit.scores["r"], [align_people(people, slice(0, 80), one).values for one in (how["align"], anatomical)]

    scores, aligned = found()
    monkeypatch.setattr("brainalign.scratch.BLOCK", 1000)
    monkeypatch.setattr("brainalign.scratch.LARGE", 0)
    again, others = found()
    np.testing.assert_allclose(again, scores, atol=1e-5)
    for one, other in zip(aligned, others, strict=True):
        assert isinstance(other, np.memmap)
        np.testing.assert_allclose(other, one, atol=1e-6)


def test_an_alignment_that_goes_on_is_said():
    X, people = crowd((10, 12))

    def hasty(people, columns, rows):
        return replace(shared_response(2)(people, columns, rows), converged=False)

    fit = encode_across(X, people, align=hasty, beside=False)
    assert fit.notes[0].startswith("hasty: not converged after ")
    assert fit.notes[0].endswith("iterations in 3 of 3 folds")
