"""Which ceiling the data allow is found in the samples and columns."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from brainalign.encoding.ceilings import auto, between_repeats, between_subjects, from_ncsnr, none, repeats_of
from brainalign.encoding.chance import Chance
from brainalign.encoding.encode import encode
from brainalign.encoding.folds import by_stimulus, hold_out
from brainalign.errors import InputError, SettingsError
from brainalign.maths.ceiling import noise_ceiling, split_half
from brainalign.maths.published import ceiling_of_ncsnr
from brainalign.signals import Signal, average_people, average_repeats

QUIET = Chance(permutations=0, bootstrap=0)


def presented(k=3, n=200, targets=4, ratio=1.0, seed=0):
    """k presentations of n stimuli in mixed order, one by one; their responses (k, n, targets) beside them."""
    rng = np.random.default_rng(seed)
    responses = np.sqrt(ratio) * rng.standard_normal((n, targets)) + rng.standard_normal((k, n, targets))
    order = rng.permutation(k * n)
    repeat, stimulus = np.divmod(order, n)
    samples = pd.DataFrame(
        {"run": "1", "time": np.arange(k * n) * 4.0, "stimulus": [f"i{s:03d}" for s in stimulus], "repeat": repeat}
    )
    return Signal(responses[repeat, stimulus], samples, pd.DataFrame({"unit": range(targets)})), responses


def test_repeats_are_found_whatever_their_order():
    brain, responses = presented()
    found = repeats_of(brain)
    assert found.responses.shape == (3, 200, 4)
    assert found.null == "permute"
    order = found.stimuli["stimulus"].str[1:].astype(int)
    np.testing.assert_allclose(np.sort(found.responses, axis=0), np.sort(responses[:, order], axis=0), rtol=1e-6)


def test_runs_of_one_story_are_repeats():
    rng = np.random.default_rng(0)
    samples = pd.concat(
        [
            pd.DataFrame(
                {"run": str(k), "time": np.arange(50) * 2.0, "stimulus": "tale", "stimulus_time": np.arange(50)}
            )
            for k in range(3)
        ]
    )
    shared = rng.standard_normal((50, 2))
    brain = Signal(np.tile(shared, (3, 1)) + rng.standard_normal((150, 2)), samples, pd.DataFrame({"roi": ["a", "b"]}))
    found = repeats_of(brain)
    assert (found.responses.shape, found.null) == ((3, 50, 2), "shift")
    np.testing.assert_array_equal(found.responses[1], brain.array()[50:100])
    assert auto(brain).own.kind == "noise_ceiling"


def test_what_is_no_repeat():
    brain, _ = presented(k=1)
    assert repeats_of(brain) is None
    assert repeats_of(Signal(brain.values, brain.samples.drop(columns="stimulus"), brain.columns)) is None
    blocks = brain.samples.drop(columns="repeat").assign(stimulus="face")  # a block of many volumes
    assert repeats_of(Signal(brain.values, blocks, brain.columns)) is None
    with pytest.raises(InputError, match="stimulus 'face', repeat 0 has several samples: a time series needs"):
        repeats_of(Signal(brain.values, brain.samples.assign(stimulus="face", repeat=0), brain.columns))
    with pytest.raises(InputError, match="kind ncsnr needs repeated presentations"):
        between_repeats()(brain)


def test_censored_presentations_do_not_count():
    brain, _ = presented(k=2)
    use = np.ones(400, bool)
    use[:40] = False
    found = repeats_of(Signal(brain.values, brain.samples.assign(use=use), brain.columns))
    assert found.stimuli["repeats"].eq(2).all()
    assert len(found.stimuli) == 200 - brain.samples["stimulus"][:40].nunique()


@pytest.mark.parametrize(("kind", "estimate"), [("ncsnr", noise_ceiling), ("split_half", split_half)])
def test_each_presentation_or_their_mean(kind, estimate):
    brain, responses = presented()
    one = between_repeats(kind)(brain).own
    np.testing.assert_allclose(one.value, estimate(responses, k=1).value, rtol=1e-3)
    mean = average_repeats(brain)
    assert mean.shape == (200, 4)
    assert mean.samples["repeats"].eq(3).all()
    whole = between_repeats(kind, of=brain)(mean).own
    np.testing.assert_allclose(whole.value, estimate(responses).value, rtol=1e-3)


def test_explainable_variance_is_of_one_presentation():
    brain, _ = presented(n=1000)
    assert abs(between_repeats("explainable_variance")(brain).own.value.mean() - 0.5) < 0.05


def test_auto_says_what_it_found_and_why():
    brain, _ = presented()
    assert auto(brain).why.endswith("chosen because the scored samples hold 200 stimuli met 3 times")
    alone = Signal(brain.values, brain.samples.drop(columns=["stimulus", "repeat"]), brain.columns)
    assert "no repeated presentations" in auto(alone).why
    columns = pd.DataFrame({"subject": list("1234"), "roi": "LIFG"})
    people = Signal(brain.values, alone.samples, columns)
    assert auto(people).own.kind == "leave_one_out"
    assert auto(average_people(people)).own.kind == "split_half"
    assert none(brain).own is None
    with pytest.raises(SettingsError, match="another kind than 'ncnsr'; did you mean 'ncsnr'"):
        between_repeats("ncnsr")
    with pytest.raises(InputError, match="at least 3 of them on one clock; found 1"):
        between_subjects(alone)


def test_the_ceiling_of_a_fixed_test_set_comes_from_its_own_repeats():
    """Training stimuli met once, test stimuli three times, as in NSD; an oracle's normalised score is 1."""
    rng = np.random.default_rng(0)
    shown = np.concatenate([np.arange(400), np.tile(np.arange(400, 600), 3)])
    order = np.r_[np.arange(400), 400 + rng.permutation(600)]
    repeat = np.concatenate([np.zeros(400, int), np.repeat([0, 1, 2], 200)])[order]
    x = rng.standard_normal((600, 5))
    y = x @ rng.standard_normal((5, 40)) / np.sqrt(5)
    samples = pd.DataFrame({"run": "1", "time": np.arange(1000) * 4.0, "stimulus": shown[order], "repeat": repeat})
    X = Signal(x[shown[order]], samples, pd.DataFrame({"band": ["a"] * 5}))
    Y = Signal(y[shown[order]] + rng.standard_normal((1000, 40)), samples, pd.DataFrame({"unit": range(40)}))
    test = [str(s) for s in range(400, 600)]
    fit = encode(X, Y, folds=hold_out(stimulus=test), chance=QUIET, weights=False)
    assert set(fit.scores["ceiling_kind"]) == {"noise_ceiling"}
    assert any("200 stimuli met 3 times" in note for note in fit.notes)
    ratio = fit.scores["r"].mean() / fit.scores["ceiling_r"].mean()
    assert abs(ratio - 1) < 0.03


def test_averages_keep_design_and_recording_together():
    brain, _ = presented()
    design = Signal(brain.values[:, :1], brain.samples, pd.DataFrame({"band": ["a"]}))
    a, b = average_repeats(design), average_repeats(brain)
    pd.testing.assert_frame_equal(a.samples, b.samples)
    with pytest.raises(InputError, match="no `stimulus`"):
        average_repeats(Signal(brain.values, brain.samples[["run", "time"]], brain.columns))
    with pytest.raises(InputError, match="the presentations have 1 columns and the recording 4"):
        between_repeats(of=design)(b)
    with pytest.raises(InputError, match="needs `stimulus` in the samples of both"):
        between_repeats(of=Signal(brain.values, brain.samples[["run", "time"]], brain.columns))(b)


def test_the_average_holds_stimuli_met_once_too():
    """Half met once, half three times: mean 1/k is 2/3, and the average's ceiling 1 / (1 + 2/3)."""
    rng = np.random.default_rng(0)
    shown = np.concatenate([np.arange(2000), np.arange(1000), np.arange(1000)])
    samples = pd.DataFrame({"run": "1", "time": np.arange(4000) * 4.0, "stimulus": shown})
    samples["repeat"] = np.repeat([1, 2, 3], [2000, 1000, 1000])
    signal = rng.standard_normal((2000, 20))
    brain = Signal(signal[shown] + rng.standard_normal((4000, 20)), samples, pd.DataFrame({"unit": range(20)}))
    for kind in ("ncsnr", "split_half"):
        assert abs(between_repeats(kind, of=brain)(average_repeats(brain)).own.value.mean() - 0.6) < 0.02
    with pytest.raises(SettingsError, match="explainable_variance is the ceiling of one presentation"):
        between_repeats("explainable_variance", of=brain)


def test_rest_is_no_stimulus():
    samples = pd.DataFrame({"run": "1", "time": [0.0, 4.0, 8.0, 12.0], "stimulus": ["a", None, "b", "a"]})
    mean = average_repeats(Signal([[1.0], [9.0], [5.0], [3.0]], samples, pd.DataFrame({"roi": ["V4"]})))
    assert mean.values.ravel().tolist() == [2.0, 5.0]
    with pytest.raises(InputError, match="no sample in use names its stimulus"):
        average_repeats(Signal([[1.0]], samples.iloc[1:2], pd.DataFrame({"roi": ["V4"]})))


def test_people_whose_places_differ_have_no_ceiling_of_their_own():
    rng = np.random.default_rng(0)
    samples = pd.DataFrame({"run": "1", "time": np.arange(40.0)})
    alone = Signal(rng.standard_normal((40, 4)), samples, pd.DataFrame({"subject": list("1234")}))
    assert auto(alone).own.kind == "leave_one_out"
    own = pd.DataFrame({"subject": ["1", "2", "3"], "contact": ["A1", "B1", "C1"]})
    found = auto(Signal(rng.standard_normal((40, 3)), samples, own))
    assert found.own is None
    assert "do not have the same columns" in found.why
    voxels = pd.DataFrame({"subject": np.repeat(["1", "2", "3"], 2), "roi": "V4"})
    with pytest.raises(InputError, match=r"sub-1 has \{'roi': 'V4'\} more than once"):
        between_subjects(Signal(rng.standard_normal((40, 6)), samples, voxels))


def capped(people="1234", lacking=(), kind="EEG"):
    """People with caps of four sensors, that lie a little elsewhere on each head; what they have in common is Fz's."""
    rng = np.random.default_rng(0)
    shared, parts, tables = rng.standard_normal(300), [], []
    for person in people:
        names = [name for name in ("Fz", "Cz", "Pz") if (person, name) not in lacking]
        noise = rng.standard_normal((300, 2 * len(names)))
        noise[:, [2 * k for k, name in enumerate(names) if name == "Fz"]] += shared[:, None]
        parts.append(noise)
        rows = pd.DataFrame({"channel": np.repeat(names, 2), "lag": [0.0, 0.1] * len(names), "type": kind})
        tables.append(rows.assign(subject=person, x=rng.normal(size=len(rows)), frame="CapTrak"))
    samples = pd.DataFrame({"run": "1", "time": np.arange(300) * 0.4})
    return Signal(np.concatenate(parts, axis=1), samples, pd.concat(tables, ignore_index=True))


def test_people_meet_at_a_sensor_wherever_it_was():
    found = between_subjects(capped()).own
    fz = (capped().columns["channel"].eq("Fz") & capped().columns["lag"].eq(0)).to_numpy()
    assert found.value[fz].min() > 0.5
    assert abs(np.nanmedian(found.value[~fz])) < 0.2
    brain = capped(lacking=[("3", "Cz"), ("4", "Pz")])
    value, fz = auto(brain).own.value, brain.columns["channel"].eq("Fz").to_numpy()
    assert np.isnan(value[~fz]).all()  # of a sensor that one person lacks nothing is said
    assert value[fz & brain.columns["lag"].eq(0)].min() > 0.5
    nothing = capped(lacking=[("1", "Fz"), ("3", "Cz"), ("4", "Pz")])
    with pytest.raises(InputError, match="people do not have the same columns"):
        between_subjects(nothing)


def test_electrodes_of_one_name_are_not_one_place():
    with pytest.raises(InputError, match=r"electrodes in the head \(SEEG\) lie elsewhere in everybody"):
        between_subjects(capped(kind="SEEG"))
    found = auto(capped(kind="ECOG"))
    assert found.own is None
    assert "electrodes in the head (ECOG)" in found.why


def mapped(n=200, ratio=1.0, targets=30, **columns):
    """Three presentations of n stimuli in two columns' worth of people, with the true map beside them."""
    brain, _ = presented(k=3, n=n, targets=targets, ratio=ratio)
    table = pd.DataFrame({"ncsnr": np.full(targets, np.sqrt(ratio))}).assign(**columns)
    return Signal(brain.values, brain.samples, table)


def test_a_published_map_is_the_ceiling_of_one_presentation_or_of_their_mean():
    brain = mapped(ratio=0.5)
    one, mean = from_ncsnr()(brain), from_ncsnr()(average_repeats(brain))
    np.testing.assert_allclose(one.own.value, 0.5 / 1.5)
    np.testing.assert_allclose(mean.own.value, 0.5 / (0.5 + 1 / 3))
    np.testing.assert_allclose(from_ncsnr(k=2)(brain).own.value, 0.5)
    assert one.why.startswith("the map of ncsnr that came with the data, for one presentation; 30 columns not tested")
    assert "for the mean of 3 presentations" in mean.why
    uneven = average_repeats(brain.select(rows=np.arange(250)))
    want = 0.5 / (0.5 + (1 / uneven.samples["repeats"]).mean())
    np.testing.assert_allclose(from_ncsnr()(uneven).own.value, want)
    with pytest.raises(
        InputError, match="a ceiling from a map needs `ncsnr` in the columns of the recording; found unit"
    ):
        from_ncsnr()(presented()[0])


def test_a_map_is_tested_where_it_is_known_what_it_rests_on():
    brain = mapped(targets=4, subject=["a", "a", "b", "c"], ncsnr=[0.0, 0.5, 0.05, 0.05])
    known = Signal(brain.values, brain.samples, brain.columns, attrs={"ncsnr_of": {"a": [500, 3], "b": [500, 3]}})
    found = from_ncsnr()(known)
    assert found.own.told_from_zero().tolist() == [False, True, False, True]
    assert np.isnan(found.own.p).tolist() == [False, False, False, True]
    assert "; 1 column not tested against zero" in found.why
    want = ceiling_of_ncsnr(np.array([0.5, 0.05]), 1, (500, 3))
    assert found.own.se[1:3].tolist() == want.se.tolist()
    assert found.own.p[1:3].tolist() == want.p.tolist()
    np.testing.assert_allclose(np.array(found.own.interval())[:, 1:3], np.array(want.interval()))
    uneven = replace(known, attrs={"ncsnr_of": {"a": [30, 3], "b": [500, 3]}})
    assert from_ncsnr()(uneven).own.freedom[:3].tolist() == [29, 29, 499]
    everywhere = from_ncsnr(met=(10_000, 3))(known)
    assert everywhere.own.freedom == 9_999
    assert np.isfinite(everywhere.own.se).all()
    assert "not tested" not in everywhere.why


@pytest.mark.parametrize(
    ("rule", "ncsnr", "why"),
    [
        (
            from_ncsnr(met=(200, 3)),
            [0.9, 0.01, 0.0],
            "2 of 3 targets .* (p > .05 in an F test of the map, or nothing in",
        ),
        (from_ncsnr(), [0.9, 0.01, 0.0], "1 of 3 targets .* (the map is 0 or missing there): their"),
        (between_repeats(), [0.9, 0.01, 0.0], "(p > .05, against rearranged repeats or people): their normalised"),
    ],
    ids=["tested", "untested", "rearranged"],
)
def test_the_note_says_how_a_ceiling_was_told_from_zero(rule, ncsnr, why):
    rng = np.random.default_rng(0)
    shown = np.tile(np.arange(40), 3)
    samples = pd.DataFrame({"run": np.repeat(["1", "2", "3"], 40), "time": np.tile(np.arange(40) * 4.0, 3)})
    samples = samples.assign(stimulus=shown, repeat=samples["run"])
    X = Signal(rng.standard_normal((40, 2))[shown], samples, pd.DataFrame({"band": ["a"] * 2}))
    Y = Signal(rng.standard_normal((120, 3)), samples, pd.DataFrame({"ncsnr": ncsnr}))
    fit = encode(X, Y, folds=by_stimulus, ceiling=rule, chance=Chance(0, 0), weights=False)
    (note,) = (note for note in fit.notes if "told from zero" in note)
    assert re.search(why.replace("(", r"\(").replace(")", r"\)"), note)


def test_auto_takes_the_map_where_no_presentation_is_repeated():
    brain = mapped()
    assert auto(brain).own.kind == "noise_ceiling"
    assert auto(average_repeats(brain)).own.kind == "ncsnr_map"


def test_an_oracle_reaches_the_ceiling_of_the_map():
    rng = np.random.default_rng(0)
    n, ratio = 600, 0.5
    x = rng.standard_normal((n, 5))
    y = np.sqrt(ratio / 5) * x @ rng.standard_normal((5, 40))
    ncsnr = y.std(0)
    shown = np.tile(np.arange(n), 3)
    samples = pd.DataFrame({"run": shown % 3, "time": np.arange(3 * n) * 4.0, "stimulus": shown})
    samples["repeat"] = np.repeat([1, 2, 3], n)
    X = Signal(x[shown], samples, pd.DataFrame({"band": ["a"] * 5}))
    Y = Signal(y[shown] + rng.standard_normal((3 * n, 40)), samples, pd.DataFrame({"ncsnr": ncsnr}))
    fit = encode(average_repeats(X), average_repeats(Y), ceiling=from_ncsnr(met=(n, 3)), chance=QUIET, weights=False)
    assert set(fit.scores["ceiling_kind"]) == {"ncsnr_map"}
    assert abs(fit.scores["r"].mean() / fit.scores["ceiling_r"].mean() - 1) < 0.03
