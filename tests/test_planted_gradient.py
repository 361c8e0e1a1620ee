"""Layers planted along a distance from a landmark are found as a gradient; drawn without regard to it, as often as
chance allows."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import brainalign as ba
from brainalign.encoding import ceilings

LAYERS, WIDTH, WORDS, RUNS = 7, 6, 160, ("1", "2", "3", "4")
BANDS = [f"lm.{layer}" for layer in range(LAYERS)]
LANDMARK, FRAME = (-45.0, -25.0, 8.0), "MNI152NLin2009cAsym"
CONTACTS, APART = 8, 4.0  # of a shaft; mm from one to the next
OWN = 0.35  # of a layer's unit, what no other layer has
SIGNAL = 0.15  # of a response, for 1 of noise: a fold's choice is wrong at every third electrode
REACH = 15.0  # mm, over which what neighbours share falls to 1/e


def implanted(rng, draws, people, shafts):
    """Shafts from the side of the head inwards, of several people; as many implantations as there are draws."""
    n = draws * people * shafts
    entry = np.column_stack([np.full(n, -68.0), rng.uniform(-60, 30, n), rng.uniform(-25, 40, n)])
    way = np.column_stack([np.ones(n), rng.normal(0, 0.25, (n, 2))])
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    xyz = entry[:, None] + APART * np.arange(CONTACTS)[:, None] * way[:, None]
    table = pd.DataFrame(xyz.reshape(-1, 3), columns=["x", "y", "z"]).assign(frame=FRAME, lag=0.2)
    table["draw"] = np.repeat(np.arange(draws), people * shafts * CONTACTS)
    table["subject"] = np.tile(np.repeat([f"{k:02}" for k in range(1, people + 1)], shafts * CONTACTS), draws)
    names = [f"{shaft}{k}" for shaft in "ABC"[:shafts] for k in range(1, CONTACTS + 1)]
    return table.assign(channel=names * (draws * people))


def alike(rng, table):
    """(electrodes,) a map that says nothing of the landmark, in which each person's neighbours are alike; SD 1."""
    out = np.empty(len(table))
    for _, mine in table.groupby(["draw", "subject"]):
        xyz = mine[["x", "y", "z"]].to_numpy()
        near = np.exp(-np.linalg.norm(xyz[:, None] - xyz, axis=2) / REACH)
        out[mine.index] = np.linalg.cholesky(near) @ rng.standard_normal(len(mine))
    return out


def layered(values):
    return np.clip(np.round(values), 0, LAYERS - 1).astype(int)


def by_distance(rng, table):
    """Deeper layers farther away, give or take one."""
    return layered((far(table) - 20) / 35 * (LAYERS - 1) + alike(rng, table))


def anywhere(rng, table):
    return rng.integers(0, LAYERS, len(table))


def in_patches(rng, table):
    """As neighbours have it, wherever the landmark is."""
    return layered(3 + 2 * alike(rng, table))


def far(table):
    return ba.distance_to(table, LANDMARK, FRAME)["landmark_mm"].to_numpy()


def found(layers, draws, seed, people=4, shafts=2):
    """Respond as the planted layers say, and fit: which layer each electrode takes, and the layer it was given."""
    rng = np.random.default_rng(seed)
    table = implanted(rng, draws, people, shafts)
    layer = layers(rng, table)
    low, high = rng.standard_normal((2, WORDS, WIDTH))
    share = np.linspace(0, 1, LAYERS)[:, None, None]
    network = np.sqrt(1 - share) * low + np.sqrt(share) * high + OWN * rng.standard_normal((LAYERS, WORDS, WIDTH))
    response = np.einsum("twk,tk->wt", network[layer], rng.standard_normal((len(layer), WIDTH)))
    values = np.sqrt(SIGNAL) * response / response.std(0) + rng.standard_normal(response.shape)
    words = WORDS // len(RUNS)
    samples = pd.DataFrame({"run": np.repeat(RUNS, words), "time": np.tile(0.5 * np.arange(words), len(RUNS))})
    columns = pd.DataFrame({"band": np.repeat(BANDS, WIDTH), "layer": np.repeat(np.arange(LAYERS), WIDTH)})
    X, Y = ba.Signal(np.concatenate(list(network), axis=1), samples, columns), ba.Signal(values, samples, table)
    how = {"ceiling": ceilings.none, "chance": ba.Chance(permutations=0, bootstrap=0), "weights": False}
    fit = ba.encode(X, Y, inner=3, alternatives={"lm": BANDS}, **how)
    return ba.distance_to(fit.choices, LANDMARK, FRAME), layer


def test_a_gradient_that_was_planted_is_found():
    """Six people, 144 electrodes: the layers that were chosen rise with distance nearly as those that were planted."""
    choices, layer = found(by_distance, draws=1, seed=0, people=6, shafts=3)
    assert stats.spearmanr(choices["place"], layer).statistic > 0.7
    for of in ("place", "centre"):
        together = ba.gradient(choices, of).query("over == 'electrodes'").iloc[0]
        assert together["p"] < 0.01
        assert together["low"] > 0
        assert together["n_electrodes"] == len(layer)
    planted = ba.gradient(choices.assign(place=layer)).iloc[0]
    chosen = ba.gradient(choices).iloc[0]
    assert 0.6 < chosen["r"] / planted["r"] <= 1
    assert 0.6 < chosen["slope"] / planted["slope"] <= 1.1


def p_of(layers, draws, seed):
    """(draws,) p of as many data sets, each with electrodes and responses of its own."""
    choices, _ = found(layers, draws, seed)
    one = {"of": "place", "along": "landmark_mm", "n": 999}
    return np.array([ba.gradient(mine, **one)["p"].iloc[0] for _, mine in choices.groupby("draw")])


@pytest.mark.parametrize("layers", [anywhere, in_patches])
def test_layers_that_say_nothing_of_the_landmark_make_no_gradient(layers):
    p = p_of(layers, draws=20, seed=0)
    assert (p <= 0.05).sum() <= stats.binom.ppf(0.99, len(p), 0.05)
    assert abs(p.mean() - 0.5) < 3 / np.sqrt(12 * len(p))


@pytest.mark.verify
@pytest.mark.parametrize("layers", [anywhere, in_patches])
def test_false_positives_are_as_many_as_said(layers):
    """Of 2,000 data sets through the whole chain, also where neighbours are alike."""
    p = np.concatenate([p_of(layers, draws=50, seed=seed) for seed in range(1, 41)])
    assert abs((p <= 0.05).mean() - 0.05) < 0.015
    assert abs((p <= 0.01).mean() - 0.01) < 0.007
