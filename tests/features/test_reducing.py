import numpy as np
import pytest
from sklearn.decomposition import PCA

from brainalign.errors import InputError, SettingsError
from brainalign.features.reducing import Components, Whole, draw, find, gathered, incremental_pca, random_projection


def layer(n=300, width=80, rank=5, seed=0):
    """Few dimensions that matter, and a little of everything."""
    rng = np.random.default_rng(seed)
    strong = rng.standard_normal((n, rank)) * np.array([9, 7, 5, 4, 3][:rank])
    return (strong @ rng.standard_normal((rank, width)) + 0.1 * rng.standard_normal((n, width)) + 4).astype(np.float32)


def test_a_random_projection_nearly_keeps_distances():
    x = np.random.default_rng(1).standard_normal((40, 5_000)).astype(np.float32)
    y = draw(random_projection(1_000, seed=3), 5_000).apply(x)
    apart = [np.linalg.norm(z[1:] - z[:-1], axis=1) ** 2 for z in (x, y)]
    ratio = apart[1] / apart[0]
    assert y.shape == (40, 1_000)
    assert abs(ratio.mean() - 1) < 0.03
    assert ratio.std() < 1.5 * np.sqrt(2 / 1_000)


def test_a_seed_draws_the_same_and_another_another():
    x = layer(n=5, width=400)
    one, again, other = (draw(random_projection(10, seed=seed), 400).apply(x) for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.allclose(one, other)


def test_a_layer_that_is_no_wider_is_left_as_it_is():
    x = layer(n=40, width=10)
    assert draw(random_projection(10), 10).apply(x) is x
    assert isinstance(draw(random_projection(11), 10), Whole)
    assert find([[x, layer(n=40, width=20)]], n=10)[0] == {}


def test_components_that_are_found_part_by_part_are_those_of_all_pictures():
    whole = layer()
    (found,) = find(([part] for part in np.array_split(whole, 7)), n=5)
    oracle = PCA(5).fit(whole)
    agreement = np.abs(np.sum(found["axes"] * oracle.components_, axis=1))
    assert np.allclose(found["mean"], whole.mean(axis=0), atol=1e-4)
    assert (agreement > 0.999).all()
    ours, theirs = Components(**found).apply(whole), oracle.transform(whole)
    assert np.allclose(np.abs(ours), np.abs(theirs), atol=0.02 * np.abs(theirs).max())


def test_parts_are_put_together_until_there_are_enough_rows():
    sizes = [len(part[0]) for part in gathered(([np.zeros((3, 2))] for _ in range(8)), n=10)]
    assert sizes == [12, 12]
    assert [len(part[0]) for part in gathered([[np.zeros((3, 2))]], n=10)] == [3]


def test_more_components_than_pictures_is_said():
    with pytest.raises(InputError, match="60 components cannot be found in 40 pictures: ask for 40 at most"):
        find([[layer(n=40)]], n=60)


@pytest.mark.parametrize("make", [random_projection, incremental_pca])
@pytest.mark.parametrize("n", [0, 1.5, True, "many"])
def test_a_number_that_cannot_be_is_said(make, n):
    with pytest.raises(SettingsError, match="n is how many numbers stay of a layer, 1 or more; found"):
        make(n)


@pytest.mark.parametrize("seed", [-1, 1.5, None, True])
def test_a_seed_that_cannot_be_is_said(seed):
    with pytest.raises(SettingsError, match="seed is a whole number, 0 or more; found"):
        random_projection(5, seed=seed)
