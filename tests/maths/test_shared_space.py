"""What people share is found again, whatever voxels they have."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes, subspace_angles

from brainalign.errors import InputError, SettingsError
from brainalign.maths.reduced import mean_and_scale
from brainalign.maths.shared_space import fit_shared_response, hyperalign

N, FEATURES = 120, 4
FEW, MANY = (30, 50, 41), (300, 500, 410)  # voxels: fewer and more than samples


def planted(voxels, noise=0.3, seed=0, n=N, features=FEATURES, own=0.0):
    """A shared response, and people who have it through random bases, beside things of their own, in noise."""
    rng = np.random.default_rng(seed)
    S = rng.standard_normal((n, features)) * np.sqrt(np.arange(features, 0, -1))
    bases = [np.linalg.qr(rng.standard_normal((v, features)))[0] * np.sqrt(v) for v in voxels]
    own_things = [own * rng.standard_normal((n, 2)) @ rng.standard_normal((2, v)) for v in voxels]
    noises = [noise * rng.standard_normal((n, v)) for v in voxels]
    return S, [S @ W.T + mine + e + 7 for W, mine, e in zip(bases, own_things, noises, strict=True)]


def standard(X):
    mean, scale = mean_and_scale(X, np.arange(len(X)))
    return (X - mean) / scale


def correlation(a, b):
    """r of each column of a with the same of b."""
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0))


@pytest.mark.parametrize("fit", [fit_shared_response, hyperalign])
@pytest.mark.parametrize("voxels", [FEW, MANY], ids=["few", "many"])
def test_a_planted_shared_response_is_found_again(fit, voxels):
    S, people = planted(voxels)
    taught, new = np.arange(80), np.arange(80, N)
    space = fit(people, FEATURES, rows=taught)
    assert np.cos(subspace_angles(space.shared, S[taught] - S[taught].mean(0))).min() > 0.99
    assert space.converged
    assert list(space.explained) == sorted(space.explained)
    others = np.mean([space.shared_of(k, people[k][new]) for k in (1, 2)], axis=0)
    assert correlation(space.shared_of(0, people[0][new]), others).min() > 0.95  # intersubject correlation
    clean = S[new] @ np.linalg.lstsq(S[taught], people[0][taught] - people[0][taught].mean(0))[0]
    assert np.median(correlation(space.back(0, others), clean)) > 0.97
    np.testing.assert_allclose(space.back(0, others, slice(3, 9)), space.back(0, others)[:, 3:9])


@pytest.mark.parametrize("voxels", [FEW, MANY], ids=["few", "many"])
def test_nobody_finds_a_better_shared_response(voxels):
    """The model as it is written down, in voxels, from random bases."""
    _, people = planted(voxels, noise=2.0, own=2.0)
    Z = [standard(X) for X in people]
    best = 0.0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        W = [np.linalg.qr(rng.standard_normal((z.shape[1], FEATURES)))[0] for z in Z]
        for _ in range(150):
            S = np.mean([z @ w for z, w in zip(Z, W, strict=True)], axis=0)
            W = [u @ v for u, _, v in (np.linalg.svd(z.T @ S, full_matrices=False) for z in Z)]
        S = np.mean([z @ w for z, w in zip(Z, W, strict=True)], axis=0)
        left = sum(((z - S @ w.T) ** 2).sum() for z, w in zip(Z, W, strict=True))
        best = max(best, 1 - left / sum((z**2).sum() for z in Z))
    space = fit_shared_response(people, FEATURES)
    left = sum(((z - space.shared @ w.T) ** 2).sum() for z, w in zip(Z, space.bases, strict=True))
    np.testing.assert_allclose(space.explained[-1], 1 - left / sum((z**2).sum() for z in Z))
    assert space.explained[-1] > best - 1e-5
    assert space.explained[-1] - space.explained[0] > 1e-4, "nothing was left to find after the first step"


def test_two_people_are_rotated_as_procrustes_says():
    _, people = planted((12, 12), noise=2.0)
    space = hyperalign(people, tolerance=1e-12)
    a, b = (standard(X) for X in people)
    R, nuclear = orthogonal_procrustes(b, a)
    power = (a**2).sum() + (b**2).sum()
    np.testing.assert_allclose(space.explained[-1], (power + 2 * nuclear) / (2 * power), rtol=1e-6)
    np.testing.assert_allclose(space.bases[1] @ space.bases[0].T, R, atol=1e-6)  # from b's voxels to a's


@settings(max_examples=25)
@given(voxels=st.lists(st.integers(3, 40), min_size=2, max_size=4), features=st.integers(1, 3), seed=st.integers(0, 99))
def test_what_every_space_is(voxels, features, seed):
    _, people = planted(voxels, noise=1.0, seed=seed, n=20, features=2)
    for fit in (fit_shared_response, hyperalign):
        space = fit(people, features)
        assert (np.diff(space.explained) > -1e-9).all()
        assert 0 < space.explained[-1] <= 1
        for W in space.bases:
            np.testing.assert_allclose(W.T @ W, np.eye(features), atol=1e-6)
        mean = np.mean([space.shared_of(k, X) for k, X in enumerate(people)], axis=0)
        np.testing.assert_allclose(mean, space.shared, atol=1e-6)
        power = space.shared.T @ space.shared
        np.testing.assert_allclose(power, np.diag(np.sort(np.diag(power))[::-1]), atol=1e-6)


def test_voxels_seen_twice_and_people_in_another_order_change_nothing():
    _, people = planted((30, 50, 41), noise=2.0, n=55)
    once = fit_shared_response(people, 3)
    twice = fit_shared_response([np.tile(X, 2) for X in people[::-1]], 3)  # 60 to 100 voxels: the other way to compute
    np.testing.assert_allclose(np.abs((once.shared * twice.shared).sum(0)), (once.shared**2).sum(0), rtol=1e-4)


def test_one_with_louder_or_with_more_voxels_weighs_no_more():
    _, people = planted(FEW, noise=1.0)
    louder = [people[0] * 1000, *people[1:]]
    np.testing.assert_allclose(
        fit_shared_response(louder, 3).shared, fit_shared_response(people, 3).shared, rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("fit", [fit_shared_response, hyperalign])
def test_only_the_samples_named_are_looked_at(fit):
    _, people = planted((30, 200))
    rows = np.arange(0, N, 2)
    blind = [X.copy() for X in people]
    for X in blind:
        X[1::2] = np.nan
    one, other = fit(people, 3, rows=rows), fit(blind, 3, rows=rows)
    for a, b in zip([*one.bases, one.shared], [*other.bases, other.shared], strict=True):
        np.testing.assert_array_equal(a, b)
    mask = np.isin(np.arange(N), rows)
    np.testing.assert_array_equal(fit(people, 3, rows=mask).shared, one.shared)


def test_someone_new_comes_into_the_space():
    _, people = planted((*MANY, 220))
    taught, new = np.arange(80), np.arange(80, N)
    space = fit_shared_response(people[:3], FEATURES, rows=taught).add(people[3], rows=taught)
    assert len(space.bases) == 4
    known = np.mean([space.shared_of(k, people[k][new]) for k in range(3)], axis=0)
    assert correlation(space.shared_of(3, people[3][new]), known).min() > 0.95
    with pytest.raises(InputError, match="120 samples of a new person for the 80 of the shared response"):
        space.add(people[3])
    with pytest.raises(SettingsError, match=r"from 1 to 2, all that person 0 has \(2 voxels, 80 samples"):
        space.add(people[3][:, :2], rows=taught)


def test_a_voxel_that_never_changes_has_no_part():
    _, people = planted((30, 200))
    people = [np.c_[X, np.full(len(X), 5.0)] for X in people]
    space = fit_shared_response(people, 3)
    for k, W in enumerate(space.bases):
        np.testing.assert_allclose(W[-1], 0, atol=1e-12)
        np.testing.assert_allclose(space.back(k, space.shared)[:, -1], 5.0)


def test_sixty_thousand_voxels_are_no_matter(tmp_path):
    """Voxels × voxels would be 29 GB."""
    rng = np.random.default_rng(0)
    S = rng.standard_normal((24, 2)).astype(np.float32)
    people = []
    for k in range(2):
        values = S @ rng.standard_normal((2, 60_000), dtype=np.float32)
        np.save(tmp_path / f"{k}.npy", values + rng.standard_normal(values.shape, dtype=np.float32))
        people.append(np.load(tmp_path / f"{k}.npy", mmap_mode="r"))
    space = fit_shared_response(people, 2)
    assert space.bases[0].dtype == np.float32
    assert np.cos(subspace_angles(space.shared, S - S.mean(0))).min() > 0.999
    np.testing.assert_allclose(space.bases[1].T @ space.bases[1], np.eye(2), atol=1e-5)


def test_what_is_no_space():
    _, people = planted((30, 200))
    with pytest.raises(InputError, match="shared by at least two people; found 1"):
        fit_shared_response(people[:1], 3)
    with pytest.raises(InputError, match=r"with the same samples each; found \(120, 30\), \(60, 200\)"):
        hyperalign([people[0], people[1][:60]])
    with pytest.raises(SettingsError, match=r"from 1 to 30, all that person 0 has \(30 voxels, 120 samples.*found 31"):
        fit_shared_response(people, 31)
    with pytest.raises(SettingsError, match=r"from 1 to 9, all that person .* 10 samples to learn from"):
        hyperalign(people, 10, rows=np.arange(10))
    with pytest.raises(SettingsError, match="iterations is at least 1"):
        fit_shared_response(people, 3, iterations=0)
    with pytest.raises(InputError, match="at least two samples; found 1"):
        fit_shared_response(people, 1, rows=np.array([3]))
    broken = people[0].copy()
    broken[7, 4] = np.nan
    with pytest.raises(InputError, match="voxel 4 is not finite in every sample to be learned from"):
        fit_shared_response([broken, people[1]], 3)
    with pytest.raises(InputError, match="no voxel of a person ever changes"):
        fit_shared_response([np.ones((N, 3)), people[1]], 1)
    space = fit_shared_response(people, 3, iterations=1)
    assert not space.converged
    with pytest.raises(InputError, match=r"person 1 has 200 voxels in this space; found an array \(120, 30\)"):
        space.shared_of(1, people[0])
    with pytest.raises(InputError, match=r"person 0 has 3 features in this space; found an array \(5, 4\)"):
        space.back(0, np.ones((5, 4)))
    with pytest.raises(InputError, match="there is no person 2: the space has 2"):
        space.shared_of(2, people[0])
