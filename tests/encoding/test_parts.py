"""What each feature explains alone and what features share: nested models, held out, against known truth."""

import numpy as np
import pandas as pd
import pytest

from brainalign.encoding.ceilings import between_subjects
from brainalign.encoding.chance import Chance
from brainalign.encoding.encode import encode
from brainalign.encoding.fit import AVERAGED
from brainalign.encoding.folds import by_run
from brainalign.encoding.parts import Partition
from brainalign.errors import SettingsError
from brainalign.maths.himalaya import HimalayaRidge
from brainalign.maths.partition import commonality, unique_variance
from brainalign.signals import Signal

QUIET = Chance(0, 0)
FEW = Chance(199, 200)
LAYERS = {"lm": ["lm.0", "lm.1", "lm.2"]}


def two_bands(correlation, runs=4, n=1000, targets=10):
    """y = 0.6 a + 0.4 b + noise, var a = var b = var y = 1."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((runs * n, 1))
    b = correlation * a + np.sqrt(1 - correlation**2) * rng.standard_normal((runs * n, 1))
    noise = 1 - (0.36 + 0.16 + 2 * 0.24 * correlation)
    y = 0.6 * a + 0.4 * b + np.sqrt(noise) * rng.standard_normal((runs * n, targets))
    samples = pd.DataFrame(
        {"run": np.repeat(np.arange(runs), n).astype(str), "time": np.tile(np.arange(n) * 2.0, runs)}
    )
    X = Signal(np.c_[a, b], samples, pd.DataFrame({"band": ["a", "b"]}))
    return X, Signal(y, samples, pd.DataFrame({"roi": np.arange(targets).astype(str)}))


def parts_of(fit, kind):
    """Part → its R² in every target."""
    rows = fit.partition[fit.partition["kind"] == kind]
    return {part: table["r2"].to_numpy() for part, table in rows.groupby("part", sort=False)}


@pytest.mark.parametrize(
    ("correlation", "truth"), [(0.0, (0.36, 0.16, 0.0)), (0.5, (0.27, 0.12, 0.37))], ids=["apart", "correlated"]
)
def test_the_known_partition_is_found(correlation, truth):
    X, Y = two_bands(correlation)
    fit = encode(X, Y, partition=Partition(common=True), chance=QUIET, weights=False)
    common = parts_of(fit, "common")
    assert list(common) == ["a", "b", "a&b"]
    for part, value in zip(common, truth, strict=True):
        assert abs(common[part].mean() - value) < 0.02
    for name, values in parts_of(fit, "unique").items():
        np.testing.assert_allclose(values, common[name])
    for kind in ("product", "common"):
        np.testing.assert_allclose(sum(parts_of(fit, kind).values()), fit.scores["r2"], atol=1e-5)
    np.testing.assert_allclose(fit.scores["unique_a"], common["a"])


def test_it_is_the_partition_of_plain_arrays(planted):
    X, Y = planted
    z = (X.array() - X.array().mean(0)) / X.array().std(0)  # encode z-scores by training samples: next to the same
    fit = encode(X, Y, partition=Partition(common=True), chance=QUIET, weights=False)
    bands, folds = X.columns["band"].tolist(), by_run(Y)
    for kind, plain in (("unique", unique_variance), ("common", commonality)):
        expected = plain(z, Y.array().astype(float), bands, folds)
        found = parts_of(fit, kind)
        assert list(found) == list(expected)
        for part in found:
            np.testing.assert_allclose(found[part], expected[part], atol=0.02)


def test_alone_nothing_is_explained_by_what_is_irrelevant(planted):
    X, Y = planted
    fit = encode(X, Y, partition=Partition(), chance=FEW, weights=False)
    unique = fit.partition.query("kind == 'unique'").set_index(["part", "roi"])
    assert unique.loc[("lm.1", "both"), "r2"] == pytest.approx(1 / 3, abs=0.1)
    assert unique.loc[("lm.1", "both"), "p"] == pytest.approx(1 / 200)
    assert unique.loc[("rate", "rate"), "p"] == pytest.approx(1 / 200)
    nothing = unique.drop([("lm.1", "both"), ("rate", "both"), ("rate", "rate")])
    assert nothing["r2"].abs().max() < 0.05
    assert (nothing["p"] > 0.02).all()
    told = unique.dropna(subset=["low"])
    assert len(told) == len(unique)
    assert ((told["low"] <= told["r2"]) & (told["r2"] <= told["high"])).all()
    assert unique.loc[("lm.1", "both"), "low"] > 0.1
    assert (unique["q"] >= unique["p"] - 1e-12).all()
    assert fit.partition.query("kind == 'product'")[["low", "p"]].isna().all(axis=None)


def test_the_chosen_alternative_is_held(crowd):
    """Without the layers: the baseline itself. Without the rate: the layers that were chosen, alone."""
    X, Y = crowd
    fit = encode(
        X,
        Y,
        baseline=["rate"],
        alternatives=LAYERS,
        partition=Partition(common=True),
        ceiling=between_subjects,
        chance=FEW,
        weights=False,
    )
    full = fit.scores.query("model == 'full'").set_index("roi")
    base = fit.scores.query("model == 'baseline'").set_index("roi")
    np.testing.assert_allclose(full["unique_lm"], full["r2"] - base["r2"], atol=1e-9)
    unique = parts_of(fit, "unique")
    assert list(unique) == ["rate", "lm"]
    np.testing.assert_allclose(full["unique_rate"], unique["rate"])
    assert full.loc["rate", "unique_rate"] > 0.3
    assert abs(full.loc["noise", "unique_rate"]) < 0.05
    rows = fit.partition.set_index(["kind", "part", "roi"])
    row = rows.loc[("unique", "lm", "both")]
    assert row["normalised_r2"] == pytest.approx(row["r2"] / full.loc["both", "ceiling_r2"])
    assert row["p"] == pytest.approx(1 / 200)
    assert rows.loc[("unique", "lm", "noise"), "p"] > 0.02
    np.testing.assert_allclose(sum(parts_of(fit, "common").values()), full["r2"], atol=1e-5)
    people = fit.people.query("model == 'full'")
    assert np.isfinite(people["unique_rate"]).all()
    assert "unique_lm" in people


def test_bands_that_belong_together(planted):
    X, Y = planted
    together = Partition(features={"network": ["lm.0", "lm.1", "lm.2"]})
    fit = encode(X, Y, partition=together, chance=QUIET, weights=False)
    assert list(parts_of(fit, "product")) == ["rate", "network"]
    alone = encode(X.select(band="rate"), Y, chance=QUIET, weights=False)
    np.testing.assert_allclose(parts_of(fit, "unique")["network"], fit.scores["r2"] - alone.scores["r2"], atol=0.01)


def test_himalaya_is_partitioned_too(planted):
    X, Y = planted
    design = X.select(band=["rate", "lm.1"])
    ours, theirs = (
        parts_of(encode(design, Y, partition=Partition(), solver=solver, chance=QUIET, weights=False), "unique")
        for solver in (AVERAGED, HimalayaRidge)
    )
    for part in ours:
        np.testing.assert_allclose(theirs[part], ours[part], atol=0.05)


def test_what_is_refused(planted):
    X, Y = planted
    five = Signal(X.array(), X.samples, pd.DataFrame({"band": [f"b{k % 5}" for k in range(26)]}))
    for design, partition, message in (
        (five, Partition(common=True), r"what 5 features share has 31 parts .* join bands to 4 features at most"),
        (
            X,
            Partition(features={"lm": ["lm.9"]}),
            r"feature 'lm' of the partition has no band 'lm.9'; did you mean 'lm",
        ),
        (X, Partition(features={"a": ["lm.0"], "b": ["lm.0"]}), "a band is in two features"),
    ):
        with pytest.raises(SettingsError, match=message):
            encode(design, Y, partition=partition, chance=QUIET)


def test_one_feature_has_nothing_to_be_parted_from(planted):
    X, Y = planted
    fit = encode(X.select(band="rate"), Y, partition=Partition(), chance=QUIET, weights=False)
    assert fit.partition["kind"].unique().tolist() == ["product"]
    np.testing.assert_allclose(fit.partition["r2"], fit.scores["r2"], atol=1e-5)
