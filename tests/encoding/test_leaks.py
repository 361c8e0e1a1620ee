"""The audit: designs that leak are flagged, designs that do not are left in peace."""

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter

from brainalign.encoding.folds import by_group, by_run, by_stimulus, contiguous, shuffled, splits_of
from brainalign.encoding.leaks import _blurred, _mean_r, _slow, leak_audit, verdict
from brainalign.errors import InputError
from brainalign.maths import folds as splits
from brainalign.signals import Signal


def slow(rng, lengths, columns, persistence):
    """Autoregressive noise of variance 1 that starts anew in each run."""
    parts = []
    for length in lengths:
        white = rng.standard_normal((length + 200, columns)) * np.sqrt(1 - persistence**2)
        parts.append(lfilter([1.0], [1.0, -persistence], white, axis=0)[200:])
    return np.concatenate(parts)


def design(seed, n_runs=None, persistence=None, signal=None):
    """Features with a delay or two, responses they explain in part, on one to six runs."""
    rng = np.random.default_rng(seed)
    n_runs = int(rng.integers(1, 7)) if n_runs is None else n_runs
    lengths = rng.integers(240, 400, n_runs) if n_runs < 3 else rng.integers(80, 160, n_runs)
    persistence = rng.uniform(0, 0.95) if persistence is None else persistence
    n_targets, tr = int(rng.integers(3, 30)), float(rng.choice([1.0, 1.5, 2.0]))
    x = slow(rng, lengths, 6, rng.uniform(0, 0.9)) * rng.uniform(0.5, 3) + rng.uniform(-1, 1)
    gain = rng.choice([0.0, 0.3, 1.0]) if signal is None else signal
    y = gain * x @ rng.standard_normal((6, n_targets)) / 3 + slow(rng, lengths, n_targets, persistence)
    run = np.repeat([str(k + 1) for k in range(n_runs)], lengths)
    samples = pd.DataFrame({"run": run, "time": np.concatenate([np.arange(n) * tr for n in lengths])})
    columns = pd.DataFrame({"band": ["a"] * 3 + ["b"] * 3})
    return (
        rng,
        Signal(x, samples, columns),
        Signal(y, samples, pd.DataFrame({"roi": [f"r{k}" for k in range(n_targets)]})),
    )


def with_delay(features, delay):
    return Signal(features.values, features.samples, features.columns.assign(delay=delay))


def clean_design(seed):
    """Whole runs, contiguous blocks with a sufficient gap, or isolated stimuli whose repeats stay together."""
    rng, x, y = design(seed)
    kind = rng.integers(3)
    if kind == 0 and len(x.runs) > 1:
        return x, y, by_run
    if kind == 1:
        repeats, n = int(rng.integers(2, 5)), int(rng.integers(60, 300))
        shown = np.concatenate([rng.permutation(n) for _ in range(repeats)])
        samples = pd.DataFrame({"run": "1", "time": np.arange(len(shown)) * 4.0, "stimulus": shown})
        samples["repeat"] = np.repeat(np.arange(repeats), n)
        features = rng.standard_normal((n, 6)) * 2 + 1
        response = features @ rng.standard_normal((6, y.shape[1])) / 5
        noise = rng.standard_normal((len(shown), y.shape[1]))  # noise that ran on from trial to trial would leak
        return (
            Signal(features[shown], samples, x.columns),
            Signal(response[shown] + noise, samples, y.columns),
            by_group("stimulus", 6),
        )
    delay = int(rng.integers(1, 6))
    tr = float(np.diff(x.samples["time"][:2])[0])
    return with_delay(x, delay), y, contiguous(int(rng.integers(3, 7)), gap_s=max(16.0, (delay + 1) * tr))


def leaky_design(seed):
    """Shuffled samples, no gap, repeats on both sides, or scaling and components fitted to everything."""
    rng, x, y = design(seed)
    kind = seed % 5
    if kind == 0:
        return x, y, shuffled(int(rng.integers(3, 8)), seed)
    if kind == 1:
        return with_delay(x, int(rng.integers(2, 6))), y, contiguous(int(rng.integers(3, 7)), gap_s=1.0)
    if kind == 2:
        n = len(x.samples) // 2
        samples = x.samples.iloc[: 2 * n].assign(stimulus=np.tile(np.arange(n), 2), repeat=np.repeat([1, 2], n))
        keep = np.arange(2 * n)
        return (
            Signal(x.values[keep], samples, x.columns),
            Signal(y.values[keep], samples, y.columns),
            splits_of(splits.contiguous(2 * n, 4)),
        )
    rule = by_run if len(x.runs) > 1 else contiguous(5)
    values = x.array().astype(float)
    values = (values - values.mean(0)) / values.std(0)
    if kind == 4:
        values = np.linalg.qr(values - values.mean(0))[0] * np.arange(1, 7)
    return Signal(values, x.samples, x.columns), y, rule


@pytest.mark.parametrize("seed", range(10))
def test_leaky_designs_are_flagged(seed):
    assert leak_audit(*leaky_design(seed))["leaky"].any()


@pytest.mark.parametrize("seed", range(12))
def test_clean_designs_are_left_in_peace(seed):
    found = leak_audit(*clean_design(seed))
    assert not found["leaky"].any(), verdict(found)


@pytest.mark.verify
def test_fifty_of_fifty_and_at_most_two_of_two_hundred():
    assert all(leak_audit(*leaky_design(seed))["leaky"].any() for seed in range(1000, 1050))
    assert sum(leak_audit(*clean_design(seed))["leaky"].any() for seed in range(2000, 2200)) <= 2


def test_what_knows_nothing_of_the_stimulus_scores_when_folds_are_shuffled():
    """The table of leaks: time alone at AR .8, slow noise at AR .95; 400 samples, 20 targets, 5 folds."""
    rng = np.random.default_rng(0)
    run = np.repeat("1", 400)
    shuffle, block = splits.shuffled(400, 5), splits.contiguous(400, 5, gap=10)
    y = slow(rng, [400], 20, 0.8)
    time_alone = _blurred(run, run, 2.0)
    assert abs(_mean_r(time_alone, y, shuffle) - 0.84) < 0.04
    assert abs(_mean_r(time_alone, y, block) - 0.02) < 0.05
    y = slow(rng, [400], 20, 0.95)
    noise = _slow(run, rng)
    assert 0.68 < _mean_r(noise, y, shuffle) < 0.87
    assert abs(_mean_r(noise, y, block) - 0.04) < 0.1


def test_the_audit_says_which_leak():
    _, x, y = design(3, n_runs=1, persistence=0.9, signal=0.0)
    found = leak_audit(x, y, shuffled(5)).set_index("check")
    for check in ("gap", "time alone", "slow noise"):
        assert found.loc[check, "leaky"], check
    assert found.loc["time alone", "value"] > 0.5
    assert not found.loc["repeats" if "repeats" in found.index else "z-scored over all samples", "leaky"]
    assert verdict(found.reset_index()).startswith("LEAKY: ")
    fair = leak_audit(x, y, contiguous(5))
    assert verdict(fair) == f"no leak found in {len(fair)} checks"
    assert list(fair.columns) == ["check", "value", "threshold", "leaky", "meaning"]


def test_slow_features_gain_beyond_strict_folds():
    rng, _, y = design(4, n_runs=1, persistence=0.95, signal=0.0)
    wide = slow(rng, [len(y.samples)], 60, 0.95)
    x = Signal(wide, y.samples, pd.DataFrame({"band": ["lm"] * 60}))
    found = leak_audit(x, y, shuffled(5)).set_index("check")
    assert found.loc["beyond strict folds", "leaky"]
    assert found.loc["beyond strict folds", "value"] > 0.3


def test_stimuli_on_both_sides_are_counted():
    _, x, y = design(5, n_runs=2, persistence=0.0)
    samples = x.samples.assign(stimulus=np.arange(len(x.samples)) % 50, repeat=np.arange(len(x.samples)) // 50)
    a, b = Signal(x.values, samples, x.columns), Signal(y.values, samples, y.columns)
    with pytest.raises(InputError, match="are on both sides"):
        by_run(a)
    found = leak_audit(a, b, by_run).set_index("check")
    assert (found.loc["repeats", "value"], found.loc["repeats", "leaky"]) == (100, True)
    isolated = samples.assign(time=np.arange(len(samples)) * 4.0)
    whole = leak_audit(Signal(a.values, isolated, a.columns), Signal(b.values, isolated, b.columns), by_stimulus)
    assert whole.set_index("check").loc["repeats", "value"] == 0


def test_scaling_and_components_over_everything_are_seen_through_delays():
    from brainalign.design.delays import delay

    _, x, y = design(6, n_runs=3, persistence=0.5)
    values = x.array().astype(float)
    scaled = Signal((values - values.mean(0)) / values.std(0), x.samples, x.columns)
    found = leak_audit(scaled, y, by_run).set_index("check")
    assert found.loc["z-scored over all samples", "value"] == 2
    assert "a, b" in found.loc["z-scored over all samples", "meaning"]
    wide = np.random.default_rng(0).standard_normal((len(values), 40)) * 2
    wide = (wide - wide.mean(0)) / wide.std(0)
    many = Signal(wide, x.samples, pd.DataFrame({"band": ["lm"] * 40}))
    assert leak_audit(delay(many, (1, 2, 3)), y, by_run).set_index("check").loc["z-scored over all samples", "leaky"]
    own = Signal(wide * 2 + 1, x.samples, many.columns)
    assert not leak_audit(delay(own, (1, 2, 3)), y, by_run)["leaky"].any()
    per_run = np.concatenate([(p - p.mean(0)) / p.std(0) for p in (values[(x.samples["run"] == r)] for r in x.runs)])
    fair = leak_audit(Signal(per_run, x.samples, x.columns), y, by_run).set_index("check")
    assert not fair.loc["z-scored over all samples", "leaky"]


def test_a_context_that_reaches_back_to_training():
    _, x, y = design(7, n_runs=1, persistence=0.0)
    about = {"features": {"lm": {"context_s": 30.0}}}
    x = Signal(x.values, x.samples, x.columns, attrs=about)
    near = leak_audit(x, y, contiguous(20, gap_s=5.0)).set_index("check")
    assert near.loc["context", "leaky"]
    far = leak_audit(x, y, contiguous(3, gap_s=16.0)).set_index("check")
    assert not far.loc["context", "leaky"]
    assert 0 < far.loc["context", "value"] < 0.3
    assert "up to 30 s" in far.loc["context", "meaning"]


def test_long_recordings_are_looked_at_in_stretches(monkeypatch):
    monkeypatch.setattr("brainalign.encoding.leaks.MOST_SAMPLES", 200)
    _, x, y = design(8, n_runs=2, persistence=0.9, signal=0.0)
    assert leak_audit(x, y, shuffled(5)).set_index("check").loc["time alone", "leaky"]
    assert not leak_audit(x, y, by_run)["leaky"].any()


def test_samples_must_agree():
    _, x, y = design(9, n_runs=1)
    with pytest.raises(InputError, match="not on the same samples"):
        leak_audit(x, y.select(rows=slice(0, 50)), by_run)


def test_one_stimulus_a_fold_and_folds_of_ones_own_function():
    """Test sets of one sample are asked some together; what stood beside them in training stays there."""
    from sklearn.model_selection import LeaveOneOut

    _, x, y = design(11, n_runs=1, persistence=0.9, signal=0.0)
    found = leak_audit(x, y, LeaveOneOut()).set_index("check")
    assert found.loc["time alone", "leaky"]
    rng = np.random.default_rng(0)
    samples = pd.DataFrame({"run": "1", "time": np.arange(80) * 4.0, "stimulus": range(80)})
    a = Signal(rng.standard_normal((80, 3)) + 1, samples, pd.DataFrame({"band": ["a"] * 3}))
    b = Signal(rng.standard_normal((80, 5)), samples, pd.DataFrame({"unit": range(5)}))
    assert not leak_audit(a, b, by_stimulus)["leaky"].any()
    half = leak_audit(x, y, lambda signal: [(np.arange(100, len(signal.samples)), np.arange(50))])
    assert "time alone" in set(half["check"])
    still = Signal(np.ones((80, 2)), samples, pd.DataFrame({"unit": range(2)}))
    assert "time alone" not in set(leak_audit(a, still, by_stimulus)["check"])
