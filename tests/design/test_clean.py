"""Cleaning against nilearn's own, in little memory, and without a say of what is censored."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.glm.first_level import make_first_level_design_matrix
from nilearn.signal import clean as nilearn_clean

from brainalign.design import clean as module
from brainalign.design.clean import MOTION, clean, drift, high_pass, linear
from brainalign.errors import InputError, SettingsError
from brainalign.signals import Signal, average_people
from brainalign.store import Store

TR = 1.5


def recording(n=150, runs=2, columns=6, confounds=5, seed=0, use=None, subject="01"):
    """Noise upon drift, a large mean, and a mixture of confounds."""
    rng = np.random.default_rng(seed)
    samples = pd.DataFrame(
        {"run": np.repeat([str(k) for k in range(runs)], n), "time": np.tile(np.arange(n) * TR, runs)}
    )
    if use is not None:
        samples["use"] = use
    beside = rng.standard_normal((n * runs, confounds)) * 10.0 ** np.arange(-2, confounds - 2) + 50
    slow = np.tile(np.linspace(-1, 1, n), runs)[:, None] * rng.standard_normal(columns) * 20
    values = rng.standard_normal((n * runs, columns)) + slow + 800 + beside @ rng.standard_normal((confounds, columns))
    names = pd.DataFrame({"subject": subject, "confound": [f"c{k}" for k in range(confounds)]})
    table = pd.DataFrame({"subject": subject, "roi": [f"r{k}" for k in range(columns)]})
    return Signal(values, samples, table, {"confounds": Signal(beside, samples, names)})


def per_run(signal, function):
    runs = signal.samples["run"].to_numpy()
    return np.concatenate([function(np.flatnonzero(runs == run)) for run in signal.runs])


@pytest.mark.parametrize("confounds", [False, True])
def test_high_pass_is_nilearns_cosine_filter(confounds):
    x = recording()
    beside = x.related["confounds"].values.astype(np.float64)

    def theirs(rows):
        return nilearn_clean(
            x.values[rows].astype(np.float64),
            confounds=beside[rows] if confounds else None,
            detrend=False,
            standardize="zscore_sample",
            filter="cosine",
            high_pass=1 / 128,
            t_r=TR,
        )

    ours = clean(x, ["high_pass", *["confounds"] * confounds]).values
    expected = per_run(x, theirs) * np.sqrt(150 / 149)  # they divide by n - 1
    np.testing.assert_allclose(ours, expected, atol=2e-5)


@pytest.mark.parametrize("longest_s", [128.0, 50.0])
def test_high_pass_spans_what_a_design_matrix_has(longest_s):
    matrix = make_first_level_design_matrix(np.arange(200) * TR, drift_model="cosine", high_pass=1 / longest_s)
    ours, theirs = (np.linalg.qr(one)[0] for one in (high_pass(200, TR, longest_s), matrix.to_numpy()))
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-12)


def test_linear_is_nilearns_detrending():
    x = recording()

    def theirs(rows):
        return nilearn_clean(x.values[rows].astype(np.float64), detrend=True, standardize="zscore_sample", filter=False)

    expected = per_run(x, theirs) * np.sqrt(150 / 149)
    np.testing.assert_allclose(clean(x, ["linear"]).values, expected, atol=2e-5)
    assert linear(150, TR).shape == (150, 2)


def test_censored_volumes_are_nilearns_sample_mask():
    use = np.ones(300, bool)
    use[[3, 4, 77, 149, 150, 260]] = False
    x = recording(use=use)

    def theirs(rows):
        kept = np.flatnonzero(use[rows])
        cleaned = nilearn_clean(
            x.values[rows].astype(np.float64),
            confounds=x.related["confounds"].values[rows].astype(np.float64),
            sample_mask=kept,
            detrend=False,
            standardize="zscore_sample",
            filter="cosine",
            high_pass=1 / 128,
            t_r=TR,
        )
        return cleaned * np.sqrt(len(kept) / (len(kept) - 1))

    ours = clean(x, ["high_pass", "confounds"]).values[use]
    np.testing.assert_allclose(ours, per_run(x, theirs), atol=2e-5)


def test_what_was_mixed_in_is_gone():
    x = recording()
    out = clean(x, ["drift", "confounds"])
    for run in x.runs:
        left = out.select(run=run).values.astype(np.float64)
        removed = np.c_[x.related["confounds"].select(run=run).values, drift(150, TR)[:, 1:]]
        both = np.corrcoef(left.T, removed.T)[: left.shape[1], left.shape[1] :]
        assert np.abs(both).max() < 1e-6
        np.testing.assert_allclose(left.mean(0), 0, atol=1e-6)
        np.testing.assert_allclose(left.std(0), 1, atol=1e-6)


def test_confounds_that_depend_on_each_other_do_no_harm():
    x = recording()
    beside = x.related["confounds"]
    cosines = np.tile(high_pass(150, TR), (2, 1))[:, 1:]
    more = np.c_[beside.values, beside.values[:, :3], beside.values.sum(1), np.zeros(300), np.full(300, 0.1), cosines]
    names = pd.DataFrame({"subject": "01", "confound": [f"c{k}" for k in range(more.shape[1])]})
    doubled = Signal(x.values, x.samples, x.columns, {"confounds": Signal(more, x.samples, names)})
    for words in (["high_pass", "confounds"], ["drift", "high_pass", "linear", "confounds", "c1"]):
        np.testing.assert_allclose(clean(doubled, words).values, clean(x, words).values, atol=1e-4)


@settings(max_examples=12, deadline=None)
@given(st.sets(st.integers(0, 79), min_size=1, max_size=30), st.sampled_from([np.nan, np.inf, -1e30, 3e38, 0.0]))
def test_what_is_censored_has_no_say_whatever_it_is(censored, wild):
    use = np.ones(80, bool)
    use[list(censored)] = False
    x = recording(n=80, runs=1, use=use)
    values, beside = x.values.copy(), x.related["confounds"].values.copy()
    values[~use], beside[~use] = wild, wild
    confounds = Signal(beside, x.samples, x.related["confounds"].columns)
    changed = clean(Signal(values, x.samples, x.columns, {"confounds": confounds}), ["drift", "confounds"])
    np.testing.assert_array_equal(changed.values[use], clean(x, ["drift", "confounds"]).values[use])


def test_a_censored_volume_keeps_what_is_its_own():
    use = np.arange(150) != 60
    x = recording(runs=1, use=use)
    values = x.values.copy()
    before = clean(x, ["drift", "confounds"]).values
    values[60] += 100
    after = clean(Signal(values, x.samples, x.columns, x.related), ["drift", "confounds"]).values
    spread = (x.values[:, 0].astype(float) - values[:, 0])[60] / (before - after)[60, 0]
    assert 0.5 < spread < 1.5  # what is left of noise of SD 1
    np.testing.assert_array_equal(before[use], after[use])


def test_periods_longer_than_asked_are_removed():
    t = np.arange(400) * TR
    x = Signal(
        np.sin(2 * np.pi * t / 100)[:, None], pd.DataFrame({"run": "1", "time": t}), pd.DataFrame({"roi": ["L"]})
    )
    noisy = Signal(x.values + 0.01 * np.random.default_rng(0).standard_normal((400, 1)), x.samples, x.columns)
    kept, gone = (clean(noisy, ["high_pass"], longest_s=s) for s in (128, 50))
    assert np.corrcoef(kept.values[:, 0], x.values[:, 0])[0, 1] > 0.9
    assert abs(np.corrcoef(gone.values[:, 0], x.values[:, 0])[0, 1]) < 0.2
    assert gone.attrs["cleaned"] == {"nuisance": ["high_pass"], "within": "run", "longest_s": 50.0}
    assert clean(x, ["linear"]).attrs["cleaned"] == {"nuisance": ["linear"], "within": "run"}


def test_some_columns_at_a_time_is_all_of_them_whoever_they_belong_to(monkeypatch):
    x = recording(columns=9)
    who = np.array(["a", "b", "b", "a", "a", "b", "a", "a", "b"])
    beside = x.related["confounds"]
    names = pd.DataFrame({"subject": ["a", "a", "b", "b", "b"], "confound": ["p", "q", "p", "q", "r"]})
    people = Signal(
        x.values, x.samples, x.columns.assign(subject=who), {"confounds": Signal(beside.values, x.samples, names)}
    )
    labels = np.arange(300) // 50
    whole = clean(people, ["drift", "confounds"], within=labels).values
    monkeypatch.setattr(module, "NUMBERS", 120)
    np.testing.assert_allclose(clean(people, ["drift", "confounds"], within=labels).values, whole, atol=1e-5)
    for person, columns in (("a", ["p", "q"]), ("b", ["p", "q", "r"])):
        alone = people.select(columns=who == person)
        np.testing.assert_allclose(clean(alone, ["drift", *columns], labels).values, whole[:, who == person], atol=1e-5)


def test_segments_need_not_be_in_one_piece():
    x = recording(runs=1)
    labels = np.arange(150) % 2
    out = clean(x, ["linear"], within=labels).values
    for label in (0, 1):
        alone = clean(x.select(rows=labels == label), ["linear"]).values
        np.testing.assert_allclose(out[labels == label], alone, atol=1e-5)


def test_a_large_result_is_kept_and_found_again(tmp_path, monkeypatch):
    x = recording()
    inside = clean(x, ["high_pass", "confounds"], store=Store(tmp_path))
    assert not isinstance(inside.values, np.memmap)
    monkeypatch.setattr(module, "LARGE", 1000)
    kept = clean(x, ["high_pass", "confounds"], store=Store(tmp_path))
    assert isinstance(kept.values, np.memmap)
    np.testing.assert_array_equal(kept.values, inside.values)
    assert len(Store(tmp_path).pieces()) == 1
    monkeypatch.setattr(module, "parts_to_clean", None)  # nothing is computed again
    np.testing.assert_array_equal(clean(x, ["high_pass", "confounds"], store=Store(tmp_path)).values, inside.values)


def test_nothing_is_found_for_what_has_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGE", 1000)
    x, store = recording(), Store(tmp_path)
    beside = x.related["confounds"]

    def with_(values=x.values, samples=x.samples, confounds=beside):
        return Signal(values, samples, x.columns, {"confounds": confounds})

    other, less = x.values.copy(), beside.values.copy()
    other[17, 2] += 1
    less[17, 2] += 1
    variants = [
        (x, ["linear"], {}),
        (x, ["linear", "c1"], {}),
        (x, ["drift"], {}),
        (x, ["drift"], {"longest_s": 60}),
        (x, ["linear"], {"within": np.arange(300) // 50}),
        (with_(values=other), ["linear"], {}),
        (with_(confounds=Signal(less, x.samples, beside.columns)), ["linear", "c1"], {}),
        (with_(samples=x.samples.assign(use=np.arange(300) != 9)), ["linear"], {}),
        (x.select(columns=[0, 1, 2, 3]), ["linear"], {}),
    ]
    for k, (signal, words, options) in enumerate(variants, start=1):
        out = clean(signal, words, store=store, **options)
        assert len(store.pieces()) == k
        np.testing.assert_array_equal(out.values, clean(signal, words, **options).values)


def test_people_of_a_mean_are_kept_too(tmp_path, monkeypatch):
    a, b = recording(seed=1, subject="a"), recording(seed=2, subject="b")
    both = Signal(np.c_[a.values, b.values], a.samples, pd.concat([a.columns, b.columns]))
    mean = average_people(both)
    plain = clean(mean, ["drift"], longest_s=60)
    monkeypatch.setattr(module, "LARGE", 1000)
    kept = clean(mean, ["drift"], longest_s=60, store=Store(tmp_path))
    assert isinstance(kept.related["people"].values, np.memmap)
    np.testing.assert_array_equal(kept.values, plain.values)


def test_it_never_holds_as_much_as_the_recording(tmp_path, monkeypatch):
    """32 MB on disk, cleaned on disk; what is hashed is in memory in pieces of 16."""
    n, p = 400, 20_000
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.standard_normal((n, 400), np.float32).repeat(p // 400, axis=1))
    samples = pd.DataFrame({"run": np.repeat(["1", "2"], n // 2), "time": np.tile(np.arange(n // 2) * TR, 2)})
    x = Signal(np.load(tmp_path / "x.npy", mmap_mode="r"), samples, pd.DataFrame({"i": np.arange(p)}))
    monkeypatch.setattr(module, "LARGE", 1 << 20)
    monkeypatch.setattr(module, "NUMBERS", 1 << 18)
    tracemalloc.start()
    try:
        clean(x, ["high_pass"], store=Store(tmp_path / "cache"))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 0.75 * x.values.nbytes


def test_what_cannot_be_removed_is_said():
    x = recording()
    for longest in (0, -1.0, np.inf, "128", True):
        with pytest.raises(SettingsError, match="longest_s is the longest period that is left in, in seconds; found"):
            clean(x, ["drift"], longest_s=longest)
    with pytest.raises(SettingsError, match="confound 'highpass' is not among those of sub-01; did you mean 'high_"):
        clean(x, ["highpass"])
    with pytest.raises(InputError, match="no confounds were recorded beside this signal"):
        clean(Signal(x.values, x.samples, x.columns), ["confounds"])
    other = Signal(x.values, x.samples, x.columns.assign(subject="02"), x.related)
    with pytest.raises(InputError, match="confounds is to be removed, but no confounds of sub-02 were recorded: leave"):
        clean(other, ["confounds"])
    with pytest.raises(InputError, match="run 0: a segment of 150 samples cannot have 150 nuisance regressors removed"):
        clean(x, ["high_pass"], longest_s=TR)
    nobody = Signal(x.values, x.samples.assign(use=False), x.columns, x.related)
    with pytest.raises(InputError, match="a segment of 0 samples cannot have 12 nuisance regressors removed"):
        clean(nobody, ["drift", "confounds"])


def test_one_word_is_one_thing_to_remove():
    x = recording()
    found, listed = clean(x, "drift"), clean(x, ["drift"])
    np.testing.assert_array_equal(found.values, listed.values)
    assert found.attrs["cleaned"] == listed.attrs["cleaned"]
    with pytest.raises(SettingsError, match=r"nuisance is a list of words, such as .*; found \[3\]"):
        clean(x, [3])


def test_all_confounds_are_one_persons_own():
    x = recording()
    by_name = clean(x, ["drift", *(f"c{k}" for k in range(5))]).values
    np.testing.assert_array_equal(clean(x, ["drift", "confounds"]).values, by_name)
    assert not set(MOTION) & set(x.related["confounds"].columns["confound"])
