"""Runs that repeat conditions say how good a model could be."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from brainalign.design.conditions import label_conditions
from brainalign.encoding.chance import Chance
from brainalign.encoding.encode import encode
from brainalign.encoding.folds import by_run, hold_out
from brainalign.encoding.runs import between_runs
from brainalign.errors import InputError
from brainalign.signals import Signal

QUIET = Chance(permutations=0, bootstrap=0)


def viewed(runs=8, conditions=40, ratio=0.5, seed=0):
    """Runs of blocks of 10 samples, each in another order; signal and noise of known variance."""
    rng = np.random.default_rng(seed)
    shape = np.sqrt(ratio) * rng.standard_normal((conditions, 10, 3))
    orders = np.stack([rng.permutation(conditions) for _ in range(runs)])
    samples = pd.DataFrame({"run": np.repeat(np.arange(runs).astype(str), conditions * 10)})
    samples["time"] = np.tile(np.arange(conditions * 10) * 2.0, runs)
    events = samples.iloc[::10].rename(columns={"time": "onset"}).assign(duration=20.0)
    events["trial_type"] = [f"c{k}" for k in orders.ravel()]
    clean = shape[orders.ravel()].reshape(-1, 3)
    return Signal(clean + rng.standard_normal(clean.shape), samples, pd.DataFrame({"roi": list("abc")})), events


def test_runs_that_repeat_conditions_in_another_order():
    """The ceiling is the planted one, and labels that are for the ceiling alone forbid no fold."""
    brain, events = viewed()
    rule = between_runs(partial(label_conditions, events=events))
    found = rule(brain)
    np.testing.assert_allclose(found.own.value, 1 / 3, atol=0.08)
    assert (found.own.kind, found.own.unit) == ("run_reliability", "r2")
    assert found.why == (
        "agreement between runs that repeat conditions (ncsnr, 400 moments met 8 times, 40 conditions), for one run"
    )
    design = Signal(brain.array()[:, :1], brain.samples, pd.DataFrame({"band": ["a"]}))
    fit = encode(design, brain, ceiling=rule, folds=by_run, chance=QUIET, weights=False)
    assert fit.scores["ceiling_kind"].unique().tolist() == ["run_reliability"]
    np.testing.assert_allclose(fit.scores["ceiling_r2"], found.own.value, rtol=1e-5)
    held = encode(design, brain, ceiling=rule, folds=hold_out(run=["5", "6", "7"]), chance=QUIET, weights=False)
    assert any("met 3 times, 40 conditions" in note for note in held.notes)


def test_trials_of_conditions_are_presentations():
    brain, events = viewed()
    trials = Signal(brain.array()[::10], brain.samples.iloc[::10], brain.columns)
    found = between_runs(partial(label_conditions, events=events))(trials)
    np.testing.assert_allclose(found.own.value, 1 / 3, atol=0.15)
    assert "40 stimuli met 8 times" in found.why


def test_runs_that_repeat_nothing():
    brain, events = viewed(runs=1)
    rule = between_runs(partial(label_conditions, events=events))
    with pytest.raises(InputError, match=r"nothing is in the runs that are scored \(0\): choose"):
        rule(brain)
