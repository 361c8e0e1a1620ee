"""Amplitudes against nilearn's GLM, against what was planted, and against what has no say in them."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from brainalign.design import amplitudes
from brainalign.design import betas as module
from brainalign.design.betas import betas, condition_betas
from brainalign.design.clean import MOTION, clean, drift
from brainalign.design.conditions import condition_means
from brainalign.design.estimates import lsa, lss, orthonormal, outside
from brainalign.design.hrf import DoubleGamma, convolved, fir, glover, hrf_library, spm, with_derivatives
from brainalign.errors import InputError, SettingsError
from brainalign.io.fetch import sample_path
from brainalign.io.fmri import read_fmri
from brainalign.signals import Signal
from brainalign.store import Store

TR = 2.0


def make_events(rng, runs=2, kinds=("a", "b", "c", "d"), repeats=6, gap=(5, 8), duration=1.0):
    """Trials in random order, `repeats` of each kind in each run."""
    tables = []
    for run in range(runs):
        order = rng.permutation(np.repeat(list(kinds), repeats))
        onsets = 3 + np.cumsum(rng.uniform(*gap, len(order)))
        table = {"run": str(run + 1), "onset": onsets, "duration": duration, "trial_type": order}
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)


def scan(events, amplitudes, hrfs=spm, noise=0.0, rng=None, volumes=None, baseline=100.0):
    """A recording with planted amplitudes (n_events, m), peaks of that height, one response or one per column."""
    runs = list(dict.fromkeys(events["run"]))
    volumes = volumes or int((events["onset"].max() + 20) / TR)
    clock = np.arange(volumes) * TR + TR / 2
    samples = pd.DataFrame({"run": np.repeat(runs, volumes), "time": np.tile(clock, len(runs))})
    values = np.full((len(samples), amplitudes.shape[1]), baseline)
    columns = {hrf: [k] for k, hrf in enumerate(hrfs)} if isinstance(hrfs, list) else {hrfs: slice(None)}
    for k, run in enumerate(runs):
        mine = (events["run"] == run).to_numpy()
        onsets, durations = (events[c].to_numpy(float)[mine] for c in ("onset", "duration"))
        for hrf, some in columns.items():
            response = convolved(hrf)(clock, onsets, durations, TR) / peak(hrf, events["duration"].median())
            values[k * volumes : (k + 1) * volumes, some] += response @ amplitudes[mine][:, some]
    if noise:
        values += noise * rng.standard_normal(values.shape)
    return Signal(values, samples, pd.DataFrame({"roi": [f"r{k}" for k in range(amplitudes.shape[1])]}))


def peak(hrf, duration):
    return convolved(hrf)(np.arange(0, 60, 0.02), np.zeros(1), np.array([duration]), TR).max()


def columnwise(a, b):
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0))


def reliability(found, by="trial_type"):
    """Correlation of each column's means over odd and over even runs, between kinds."""
    odd = found.samples["run"].astype(int) % 2 == 1
    halves = [
        pd.DataFrame(found.values[m]).groupby(found.samples[by][m].to_numpy()).mean().to_numpy() for m in (odd, ~odd)
    ]
    return columnwise(*halves)


@pytest.fixture(scope="module")
def planted():
    rng = np.random.default_rng(0)
    events = make_events(rng, repeats=4)
    amplitudes = rng.standard_normal((len(events), 6)) + 1
    return events, amplitudes, scan(events, amplitudes, noise=0.7, rng=rng)


def nilearn_amplitudes(design, labels, data, how, kinds):
    """Amplitudes of single trials by nilearn's own models: `design(labels)` makes a matrix for labelled trials."""
    from nilearn.glm.first_level import run_glm

    def fit(named):
        matrix = design(named)
        found, results = run_glm(data, matrix.to_numpy(), noise_model="ols")
        theta = np.empty((matrix.shape[1], data.shape[1]))
        for one in results:
            theta[:, found == one] = results[one].theta
        return pd.DataFrame(theta, index=matrix.columns)

    if how == "lsa":
        return fit(labels).loc[labels].to_numpy()
    out = []
    for k, label in enumerate(labels):
        others = [kinds[j] if j != k else label for j in range(len(labels))]
        out.append(fit(others).loc[label].to_numpy())
    return np.array(out)


def our_matrix(run_events, clock, named):
    """Our responses and drift as a design matrix, trials with one name in one column."""
    weights = convolved(spm)(clock, *(run_events[c].to_numpy(float) for c in ("onset", "duration")), TR) / peak(
        spm, 1.0
    )
    columns = pd.DataFrame(weights, columns=named).T.groupby(level=0, sort=False).sum().T
    slow = drift(len(clock), TR)
    return pd.concat([columns, pd.DataFrame(slow, columns=[f"drift{k}" for k in range(slow.shape[1])])], axis=1)


@pytest.mark.parametrize("column", ["trial_type", None])
@pytest.mark.parametrize("how", [lsa, lss], ids=["lsa", "lss"])
def test_amplitudes_are_those_of_nilearn_given_the_same_design(planted, how, column):
    events, _, bold = planted
    found = betas(bold, events, how=how, column=column, nuisance=["drift"], unit="raw")
    for run in bold.runs:
        mine, rows = events[events["run"] == run], (bold.samples["run"] == run).to_numpy()
        clock, data = bold.samples["time"].to_numpy()[rows], bold.values[rows].astype(float)
        kinds = (mine["trial_type"] if column else pd.Series("all", mine.index)).tolist()
        labels = [f"trial{k}" for k in range(len(mine))]
        design = partial(our_matrix, mine, clock)
        there = nilearn_amplitudes(design, labels, data, how.__name__, kinds)
        np.testing.assert_allclose(found.select(run=run).values, there, atol=2e-5)
        # and before rounding to float32
        slow = orthonormal(drift(len(clock), TR))
        expected = outside(our_matrix(mine, clock, labels)[labels].to_numpy(), slow)[:, :, None]
        np.testing.assert_allclose(how(expected, pd.factorize(np.array(kinds))[0])[:, 0] @ data, there, atol=1e-8)


@pytest.mark.parametrize("how", [lsa, lss], ids=["lsa", "lss"])
def test_planted_amplitudes_are_recovered_as_well_as_by_nilearns_own_designs(planted, how):
    from nilearn.glm.first_level import make_first_level_design_matrix

    events, amplitudes, bold = planted
    found = betas(bold, events, how=how, nuisance=["drift"])
    there = []
    for run in bold.runs:
        mine, rows = events[events["run"] == run], (bold.samples["run"] == run).to_numpy()
        clock = bold.samples["time"].to_numpy()[rows]

        def design(named, mine=mine, clock=clock):
            trials = mine.assign(trial_type=named)[["onset", "duration", "trial_type"]]
            slow = drift(len(clock), TR)[:, 1:]
            return make_first_level_design_matrix(clock, trials, "spm", drift_model=None, add_regs=slow)

        labels = [f"trial{k}" for k in range(len(mine))]
        data = bold.values[rows].astype(float)
        there.append(nilearn_amplitudes(design, labels, data, how.__name__, mine["trial_type"].tolist()))
    ours, theirs = columnwise(found.values, amplitudes), columnwise(np.concatenate(there), amplitudes)
    assert ours.min() > 0.4
    np.testing.assert_allclose(ours, theirs, atol=0.01)


def test_the_result_says_what_its_rows_and_columns_are(planted):
    events, amplitudes, _ = planted
    shown = events.assign(stim_file=[f"{k % 9}.png" for k in range(len(events))], rt=0.5)
    found = betas(scan(events, amplitudes), shown.iloc[::-1], nuisance=["drift"])
    table = found.samples
    assert list(table) == ["run", "time", "duration", "trial_type", "stim_file", "rt", "stimulus", "repeat"]
    assert table["time"].tolist() == events["onset"].tolist()
    assert table["stimulus"].tolist() == shown["stim_file"].tolist()
    assert table["repeat"].tolist() == [k // 9 + 1 for k in range(len(events))]
    assert found.attrs["unit"] == "percent signal change"
    assert (found.attrs["how"], found.attrs["hrf"], found.attrs["nuisance"]) == ("lsa", "spm", ["drift"])
    assert list(found.columns) == ["roi"]
    by_kind = betas(scan(events, amplitudes), events, stimulus="trial_type", nuisance=["drift"])
    assert by_kind.samples.groupby("stimulus")["repeat"].apply(list).tolist() == [list(range(1, 9))] * 4
    assert "stimulus" not in betas(scan(events, amplitudes), events, nuisance=["drift"]).samples


def test_per_cent_of_the_mean_is_the_height_of_the_peak(planted):
    events, amplitudes, _ = planted
    bold = scan(events, amplitudes, baseline=500.0)
    raw = betas(bold, events, nuisance=["drift"], unit="raw").values
    np.testing.assert_allclose(raw, amplitudes, atol=1e-3)
    half = len(bold.values) // 2
    mean = np.repeat([bold.values[:half].mean(0), bold.values[half:].mean(0)], len(events) // 2, axis=0)
    np.testing.assert_allclose(betas(bold, events, nuisance=["drift"]).values, raw * 100 / mean, rtol=1e-4, atol=1e-6)


def test_censored_volumes_have_no_influence(planted):
    events, _, bold = planted
    use = np.ones(len(bold.samples), bool)
    use[[20, 21, 50, 100]] = False
    censored = replace(bold, samples=bold.samples.assign(use=use))
    spoilt = bold.values.copy()
    spoilt[~use] = np.nan
    found, other = (betas(one, events, nuisance=["drift"]) for one in (censored, replace(censored, values=spoilt)))
    np.testing.assert_array_equal(found.values, other.values)
    assert found.use.all()
    assert np.abs(found.values - betas(bold, events, nuisance=["drift"]).values).max() > 0.01


def test_a_trial_nobody_saw_is_out_of_use(planted):
    events, _, bold = planted
    first = events["onset"][0]
    time = bold.samples["time"].to_numpy()
    hidden = (bold.samples["run"] == "1").to_numpy() & (time > first) & (time < first + 30)
    late = pd.DataFrame({"run": ["2"], "onset": [time[-1] - 2], "duration": 1.0, "trial_type": "a"})
    events = pd.concat([events, late], ignore_index=True)
    found = betas(replace(bold, samples=bold.samples.assign(use=~hidden)), events, nuisance=["drift"])
    unseen = ~found.use
    assert unseen[0]
    assert unseen[-1]
    assert unseen.sum() < 7  # those within the half minute, and the one the run's end cut off
    assert np.isnan(found.values[unseen]).all()
    assert np.isfinite(found.values[~unseen]).all()
    assert (
        f"{unseen.sum()} trials of {len(events)}: their response was not recorded, or censored" in found.attrs["notes"]
    )


def with_late_ones(noise, after):
    """A recording, its events, and these with more at its end, too late for their response to be recorded."""
    rng = np.random.default_rng(0)
    events = make_events(rng, repeats=3)
    bold = scan(events, rng.standard_normal((len(events), 4)) + 1, noise=noise, rng=rng)
    onsets = bold.samples["time"].max() - np.array(after)
    late = pd.DataFrame({"run": "1", "onset": onsets, "duration": 1.0, "trial_type": "a"})
    return bold, events, pd.concat([events, late], ignore_index=True)


@pytest.mark.parametrize(
    "how", [{}, {"how": lss}, {"hrf": hrf_library()[8:11]}, {"hrf": with_derivatives(spm)}], ids=range(4)
)
def test_trials_hardly_recorded_leave_the_others_alone(how):
    bold, events, more = with_late_ones(0.1, [1.6, 1.2])
    found, alone = (betas(bold, shown, nuisance=["drift"], **how) for shown in (more, events))
    assert (~found.use).sum() == 2
    assert found.columns.equals(alone.columns)
    np.testing.assert_allclose(found.values[found.use], alone.values, atol=0.2)


def test_a_trial_hardly_recorded_has_no_say_in_ridge():
    bold, events, more = with_late_ones(1.0, [1.2])
    found, alone = (betas(bold, shown, nuisance=["drift"], ridge=True) for shown in (more, events))
    assert (~found.use).sum() == 1
    np.testing.assert_allclose(found.columns["ridge"], alone.columns["ridge"], atol=0.1)
    np.testing.assert_allclose(found.values[found.use], alone.values, atol=0.8)


def test_a_run_of_which_no_trial_was_recorded_does_no_harm(planted):
    events, _, bold = planted
    start = bold.samples["time"].max() - 2
    events = events[(events["run"] == "1") | (np.arange(len(events)) == len(events) - 1)]
    events = events.assign(onset=np.where(events["run"] == "2", start, events["onset"]))
    for how in ({}, {"how": lss}, {"ridge": True}, {"hrf": [spm, glover]}):
        found = betas(bold, events, nuisance=["drift"], **how)
        assert found.use.sum() == len(events) - 1
        alone = betas(bold.select(run="1"), events[events["run"] == "1"], nuisance=["drift"], **how)
        np.testing.assert_allclose(found.select(run="1").values, alone.values, atol=0.02)


def test_nuisance_is_part_of_the_model(planted):
    events, _, bold = planted
    rng = np.random.default_rng(3)
    moved = rng.standard_normal((len(bold.samples), 6)).cumsum(0) * 0.1
    names = pd.DataFrame({"confound": MOTION})
    beside = {"confounds": Signal(moved, bold.samples, names)}
    shaken = bold.values + moved @ rng.standard_normal((6, 6))
    still, found = (
        betas(replace(bold, values=values, related=beside), events, unit="raw") for values in (bold.values, shaken)
    )
    np.testing.assert_allclose(found.values, still.values, atol=1e-4)
    assert np.abs(betas(bold, events, nuisance=["drift"], unit="raw").values - still.values).max() > 0.01


def test_one_word_is_a_nuisance_too(planted):
    events, _, bold = planted
    for one in (betas, condition_betas):
        found, listed = (one(bold, events, nuisance=nuisance) for nuisance in ("drift", ["drift"]))
        np.testing.assert_array_equal(found.values, listed.values)
        assert found.attrs["nuisance"] == ["drift"]


def test_people_have_their_own_models_and_are_averaged(planted):
    events, _, bold = planted
    columns = pd.DataFrame({"subject": ["01"] * 3 + ["02"] * 3, "roi": [*"abc"] * 2})
    moved = np.random.default_rng(4).standard_normal((len(bold.samples), 12))
    who = pd.DataFrame({"subject": ["01"] * 6 + ["02"] * 6, "confound": [*MOTION] * 2})
    people = replace(bold, columns=columns, related={"confounds": Signal(moved, bold.samples, who)})
    both = betas(people, events)
    alone = betas(people.select(columns=slice(3, 6)), events)  # the confounds stay, and are told apart by their subject
    np.testing.assert_allclose(both.values[:, 3:], alone.values, atol=1e-6)
    mean = Signal((bold.values[:, :3] + bold.values[:, 3:]) / 2, bold.samples, columns[:3], {"people": people})
    averaged = betas(mean, events, hrf=[spm, glover])
    of_people = averaged.related["people"]
    np.testing.assert_allclose(averaged.values, (of_people.values[:, :3] + of_people.values[:, 3:]) / 2, atol=1e-6)
    assert set(of_people.columns["hrf"]) <= {"spm", "glover"}


def test_a_condition_and_run_have_one_amplitude(planted):
    events, _, bold = planted
    found = condition_betas(bold, events, nuisance=["drift"], unit="raw")
    means = condition_means(bold, events)
    assert found.samples.equals(means.samples)
    for run in bold.runs:
        mine, rows = events[events["run"] == run], (bold.samples["run"] == run).to_numpy()
        matrix = our_matrix(mine, bold.samples["time"].to_numpy()[rows], mine["trial_type"].tolist())
        by_hand = np.linalg.lstsq(matrix.to_numpy(), bold.values[rows].astype(float))[0][:4]
        order = [list(matrix.columns[:4]).index(kind) for kind in found.select(run=run).samples["stimulus"]]
        np.testing.assert_allclose(found.select(run=run).values, by_hand[order], atol=2e-5)


def test_fir_gives_the_course_of_the_response():
    rng = np.random.default_rng(5)
    events = make_events(rng, runs=1, kinds=("a", "b"), gap=(4, 12), repeats=10, duration=0.0)
    events["onset"] = events["onset"].round() // 2 * 2 + 1.0  # on volumes
    planted = np.where(events["trial_type"] == "a", 2.0, 1.0)[:, None]
    bold = scan(events, planted)
    found = condition_betas(bold, events, hrf=fir(stop_s=26.0, step_s=TR), nuisance=(), unit="raw")
    assert found.columns["lag"].tolist() == [2.0 * k for k in range(13)]
    course = spm(found.columns["lag"].to_numpy()) / peak(spm, 0.0)
    first, second = (found.select(stimulus=kind).values[0] for kind in "ab")
    np.testing.assert_allclose(first, 2 * course, atol=0.05)
    np.testing.assert_allclose(second, course, atol=0.05)


def test_derivatives_as_nilearn_has_them(planted):
    from nilearn.glm.first_level import compute_regressor

    events, _, bold = planted
    found = betas(bold, events, hrf=with_derivatives(spm, dispersion=True), nuisance=["drift"], how=lss, column=None)
    mine = events[events["run"] == "1"]
    one_run = bold.select(run="1")
    clock, data = one_run.samples["time"].to_numpy(), one_run.values.astype(float)
    onsets, ones = mine["onset"].to_numpy(), np.ones(len(mine))
    each = [
        compute_regressor((onsets[[k]], ones[:1], ones[:1]), "spm + derivative + dispersion", clock)[0]
        for k in range(len(mine))
    ]
    slow, theirs = drift(len(clock), TR), []
    for k, one in enumerate(each):
        matrix = np.c_[one, np.sum(each[:k] + each[k + 1 :], axis=0), slow]
        theirs.append(np.linalg.lstsq(matrix, data)[0][0])
    r = columnwise(found.select(run="1").values, np.array(theirs))
    assert r.min() > 0.995


@pytest.fixture(scope="module")
def varied():
    """Voxels whose responses peak from 3.5 to 7 s, met by 8 stimuli 3 times in each of 4 runs."""
    rng = np.random.default_rng(1)
    kinds = [f"s{k}" for k in range(8)]
    events = make_events(rng, runs=4, kinds=kinds, repeats=3, gap=(3, 5))
    of_kind = rng.standard_normal((8, 60)) + 1
    amplitudes = of_kind[[kinds.index(kind) for kind in events["trial_type"]]]
    peaks, widths = rng.uniform(3.5, 7, 60), rng.uniform(0.65, 1.6, 60)
    hrfs = [DoubleGamma(p + w, (p + w) * 16 / 6, w, w) for p, w in zip(peaks, widths, strict=True)]
    return events, amplitudes, scan(events, amplitudes, hrfs, 0.6, rng), peaks


def test_a_response_for_each_voxel_makes_repeats_more_alike_where_responses_vary(varied):
    events, amplitudes, bold, peaks = varied
    found, canonical = (betas(bold, events, how=lss, hrf=h, nuisance=["drift"]) for h in (hrf_library(), spm))
    chosen = found.columns["hrf"].str.extract(r"peak ([\d.]+) s")[0].astype(float)
    assert np.corrcoef(chosen, peaks)[0, 1] > 0.9
    assert reliability(found).mean() > reliability(canonical).mean() + 0.02
    assert columnwise(found.values, amplitudes).mean() > columnwise(canonical.values, amplitudes).mean() + 0.03
    assert found.attrs["hrf"] == "chosen from 20"


def test_the_response_planted_is_chosen(planted):
    events, amplitudes, _ = planted
    library = list(hrf_library())
    bold = scan(events, amplitudes, [library[k] for k in (0, 5, 9, 13, 15, 18)])
    found = betas(bold, events, hrf=library, nuisance=["drift"], unit="raw")
    assert found.columns["hrf"].tolist() == [library[k].name for k in (0, 5, 9, 13, 15, 18)]
    np.testing.assert_allclose(found.values, amplitudes, atol=2e-3)


def test_the_choice_of_a_response_does_not_make_noise_alike():
    rng = np.random.default_rng(2)
    events = make_events(rng, runs=4, repeats=6, gap=(3, 5))
    noise = scan(events, np.zeros((len(events), 200)), noise=1.0, rng=rng)
    found = reliability(betas(noise, events, how=lss, hrf=hrf_library(), nuisance=["drift"]))
    assert abs(found.mean()) < 3 * found.std() / np.sqrt(200)


def test_ridge_makes_repeats_of_noisy_voxels_more_alike_and_keeps_the_scale(varied):
    events, amplitudes, bold, _ = varied
    rng = np.random.default_rng(6)
    noisy = replace(bold, values=bold.values + 1.5 * rng.standard_normal(bold.shape))
    plain, found = (betas(noisy, events, nuisance=["drift"], ridge=ridge) for ridge in (False, True))
    assert reliability(found).mean() > reliability(plain).mean() + 0.05
    assert columnwise(found.values, amplitudes).mean() > columnwise(plain.values, amplitudes).mean() + 0.05
    assert found.columns["ridge"].between(0.05, 1).all()
    for k in range(5):
        slope, shift = np.polyfit(found.values[:, k], plain.values[:, k], 1)
        assert (slope, shift) == pytest.approx((1, 0), abs=1e-3)
    quiet = betas(scan(events, amplitudes), events, nuisance=["drift"], ridge=True)
    assert (quiet.columns["ridge"] > 0.9).all()
    np.testing.assert_allclose(
        quiet.values, betas(scan(events, amplitudes), events, nuisance=["drift"]).values, atol=0.1
    )
    whole = betas(noisy, events, nuisance=["drift"], ridge=[1.0])
    np.testing.assert_allclose(whole.values, plain.values, atol=1e-4)


def test_repeats_within_a_run_choose_a_ridge_too(varied):
    events, _, bold, _ = varied
    of_runs = events.assign(trial_type=events["trial_type"] + events["run"])
    found = betas(bold, of_runs, nuisance=["drift"], ridge=(0.2, 0.6, 1.0), hrf=hrf_library()[8:12])
    assert set(found.columns["ridge"]) <= {0.2, 0.6, 1.0}
    assert found.columns["ridge"].nunique() > 1
    assert found.columns["hrf"].nunique() > 1


def test_batches_and_the_store_change_nothing(planted, tmp_path, monkeypatch):
    events, _, bold = planted
    how = {"hrf": hrf_library()[8:11], "ridge": True, "nuisance": ["drift"]}
    found = betas(bold, events, **how)
    monkeypatch.setattr(amplitudes, "NUMBERS", 2 * len(bold.samples))
    monkeypatch.setattr(module, "LARGE", 0)
    store = Store(tmp_path)
    kept = betas(bold, events, store=store, **how)
    assert isinstance(kept.values, np.memmap)
    np.testing.assert_allclose(kept.values, found.values, rtol=1e-4, atol=1e-5)
    assert kept.columns.equals(found.columns)
    monkeypatch.setattr(module, "estimated", None)  # nothing is computed again
    again = betas(bold, events, store=store, **how)
    assert again.columns.equals(kept.columns)
    with pytest.raises(TypeError):
        betas(bold, events, store=store, **{**how, "hrf": spm})


def test_nothing_is_found_for_other_labels_or_another_model(planted, tmp_path, monkeypatch):
    events, _, bold = planted
    monkeypatch.setattr(module, "LARGE", 0)
    store = Store(tmp_path)
    labels = np.tile([*"ab"], len(events))[: len(events)]
    other = labels.copy()
    other[2], other[3] = other[3], other[2]  # where conditions come first stays what it was
    shown = events.assign(one=labels, other=other)
    for column in ("one", "other"):
        found, plain = (condition_betas(bold, shown, column, nuisance=["drift"], store=s) for s in (store, None))
        np.testing.assert_array_equal(found.values, plain.values)

    def times(k):
        def mine(expected, conditions):
            return lsa(expected, conditions) * k

        return mine

    for k in (1, 2):  # of one name
        found, plain = (betas(bold, events, how=times(k), nuisance=["drift"], store=s) for s in (store, None))
        np.testing.assert_array_equal(found.values, plain.values)
    assert len(store.pieces()) == 4


def test_a_result_too_large_for_the_disk_is_said(planted, tmp_path, monkeypatch):
    events, _, bold = planted
    monkeypatch.setattr(module, "LARGE", 0)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("brainalign.rows._write", full)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\); 0 MB are needed"):
        betas(bold, events, nuisance=["drift"], store=Store(tmp_path))


def test_real_blocks_repeat_as_well_as_their_means():
    root = sample_path("haxby")
    bold = read_fmri(root, subject="1", derivatives="raw")
    bold = bold.select(columns=bold.values.mean(0) > 300)
    tables = [
        pd.read_csv(path, sep="\t").assign(run=path.name.split("run-")[1][:2])
        for path in sorted(root.glob("sub-1/func/*_events.tsv"))
    ]
    events = pd.concat(tables, ignore_index=True)
    found = condition_betas(bold, events, hrf=glover, nuisance=["drift"])
    means = condition_means(clean(bold, ["drift"]), events)
    assert found.shape == (96, bold.shape[1])
    ours, theirs = (np.quantile(reliability(one, "stimulus"), 0.9) for one in (found, means))
    assert ours > 0.6
    assert ours > theirs - 0.05


EVENTS = make_events(np.random.default_rng(8), repeats=3)
BOLD = scan(EVENTS, np.ones((len(EVENTS), 2)), noise=1.0, rng=np.random.default_rng(9))
TWICE = pd.concat([EVENTS, EVENTS.iloc[[2]]], ignore_index=True)
UNIQUE = EVENTS.assign(trial_type=[f"t{k}" for k in range(len(EVENTS))])


@pytest.mark.parametrize(
    ("brain", "events", "how", "message"),
    [
        (BOLD, EVENTS, {"column": "kind"}, "events have no column 'kind'; .*column=None takes them all alike"),
        (BOLD, EVENTS, {"stimulus": "stim"}, "events have no column 'stim' that names stimuli"),
        (BOLD, EVENTS.assign(onset=EVENTS["onset"] + 200), {}, r"after the recording ends \(\d+ s\)"),
        (BOLD, EVENTS[EVENTS["run"] == "1"], {}, r"run 2 has no events with a trial_type: .*select\(run=\['1'\]\)"),
        (BOLD.select(run="1"), EVENTS, {}, "events in run 2, but the recording has run 1"),
        (BOLD, TWICE, {}, r"run 1: the event \((\w)\) at ([\d.]+) s and the event \(\1\) at \2 s are not told apart"),
        (
            scan(EVENTS, np.ones((24, 2)), volumes=20),
            EVENTS[EVENTS["onset"] < 41],
            {"hrf": with_derivatives(spm)},
            "run 1: 12 regressors for 6 trials and 4 for nuisance, but 15 volumes in use: take how=lss",
        ),
        (
            replace(BOLD, values=BOLD.values - 100),
            EVENTS,
            {},
            "the mean of roi r0 is .* no baseline to take per cent of",
        ),
        (BOLD, UNIQUE, {"ridge": True}, "no trial_type was shown twice: ridge is chosen by how well repeats"),
        (BOLD, EVENTS, {"ridge": True, "column": None}, "ridge needs stimulus= or column= to name repeats"),
        (BOLD, EVENTS, {"nuisance": ["motion"]}, "motion is to be removed, but no confounds were recorded"),
        (BOLD, EVENTS, {"hrf": fir(6.0, 0.7)}, "of no trial was the response recorded .* not shorter than the TR"),
    ],
    ids=range(12),
)
def test_what_cannot_be_estimated_is_refused(brain, events, how, message):
    if "regressors" in message:
        brain = brain.select(rows=np.tile(np.arange(20) < 15, 2))
        events = events.assign(onset=events["onset"] * 0.4)
    with pytest.raises(InputError, match=message):
        betas(brain, events, **{"nuisance": ["drift"], **how})


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"ridge": True, "how": lss}, "ridge shrinks the amplitudes of how=lsa, .*; found how=lss"),
        ({"ridge": True, "hrf": fir()}, "found FIR, 0 to 18 s"),
        ({"ridge": [2.0]}, "fractions of the unpenalised weights' length"),
        ({"unit": "psc"}, "unit 'psc' is not known; known: 'percent', 'raw'"),
        ({"hrf": []}, "hrf is a function of seconds, a basis, or several functions with names of their own"),
        ({"hrf": [spm, spm]}, "names of their own; found .*spm.*spm"),
        ({"hrf": lambda t: -spm(t) * (t < 10)}, "<lambda> is never above 0, .* turn its sign"),
        ({"nuisance": [1]}, r"nuisance is a list of words, .*; found \[1\]"),
        ({"nuisance": None}, "nuisance is a list of words, .*; found None"),
    ],
    ids=range(9),
)
def test_settings_that_do_not_fit_are_refused(how, message):
    with pytest.raises(SettingsError, match=message):
        betas(BOLD, EVENTS, **{"nuisance": ["drift"], **how})


def test_a_trial_like_all_others_together_is_refused_by_lss():
    both = pd.DataFrame({"run": "1", "onset": [10.0, 10.0], "duration": 1.0, "trial_type": "a"})
    with pytest.raises(
        InputError, match=r"the event \(a\) at 10 s and the others are not told apart, given the .* spm"
    ):
        betas(BOLD.select(run="1"), both, how=lss, nuisance=["drift"])


def test_lss_is_offered_only_where_it_can():
    both = pd.DataFrame({"run": "1", "onset": [10.0, 10.0, 40.0], "duration": 1.0, "trial_type": [*"aab"]})
    bold = BOLD.select(run="1")
    with pytest.raises(InputError, match=r"are not told apart, given the response spm: leave one out$"):
        betas(bold, both, nuisance=["drift"])
    third = pd.concat([both, both.iloc[[2]].assign(trial_type="a")])
    third["onset"] = [10.0, 10.0, 40.0, 60.0]
    with pytest.raises(InputError, match=r"are not told apart, .* leave one out, or take how=lss$"):
        betas(bold, third, nuisance=["drift"])
    assert np.isfinite(betas(bold, third, how=lss, nuisance=["drift"]).values).all()
    brief = bold.select(rows=slice(0, 11))
    crowd = pd.DataFrame({"run": "1", "onset": np.arange(8.0), "duration": 1.0, "trial_type": [*"abcdefgh"]})
    with pytest.raises(InputError, match=r"11 volumes in use: leave trials out, or take a shorter nuisance$"):
        betas(brief, crowd, nuisance=["drift"])


def test_a_model_of_ones_own_makes_weights_for_every_trial():
    def mine(expected, conditions):
        return lsa(expected, conditions) * 2

    own, plain = (betas(BOLD, EVENTS, how=how, nuisance=["drift"]) for how in (mine, lsa))
    np.testing.assert_allclose(own.values, plain.values * 2, rtol=1e-5)
    assert own.attrs["how"] == "mine"

    def flat(expected, conditions):
        return lsa(expected, conditions)[:, 0]

    with pytest.raises(SettingsError, match=r"weights \(trials, functions, volumes\), here \(12, 1, \d+\); flat made"):
        betas(BOLD, EVENTS, how=flat, nuisance=["drift"])
    with pytest.raises(SettingsError, match="<lambda> made an array of object"):
        betas(BOLD, EVENTS, how=lambda *_: None, nuisance=["drift"])


def test_a_block_as_long_as_the_run_is_the_mean():
    whole = pd.DataFrame({"run": "1", "onset": [0.0], "duration": 240.0, "trial_type": "on"})
    settled = BOLD.select(run="1").select(rows=slice(25, None))
    with pytest.raises(InputError, match="cannot be told from what nuisance removes"):
        betas(settled, whole, nuisance=())
