"""What is learned from training samples alone."""

import numpy as np
import pandas as pd
import pytest

from brainalign.encoding.within import learn_space, pca
from brainalign.errors import SettingsError


def design(n=80, width=12, seed=0):
    rng = np.random.default_rng(seed)
    wide = rng.standard_normal((n, 3)) @ rng.standard_normal((3, width)) + 0.1 * rng.standard_normal((n, width)) + 5
    values = np.c_[rng.standard_normal((n, 1)) * 40, wide, np.roll(wide, 1, 0)]
    columns = pd.DataFrame({"band": ["rate"] + ["lm"] * 2 * width, "delay": [0] + [1] * width + [2] * width})
    return values.astype(np.float32), columns


def test_test_samples_leave_the_space_alone():
    values, columns = design()
    train = np.arange(60)
    spaces = []
    for factor in (1, 1000):
        changed = values.copy()
        changed[60:] *= factor
        spaces.append(learn_space(changed, columns, ("rate", "lm"), train, {"lm": pca(3)}))
    np.testing.assert_array_equal(spaces[0].apply(values), spaces[1].apply(values))


def test_axes_are_shared_by_all_delays_and_scaled_by_training_spread():
    values, columns = design()
    train = np.arange(60)
    space = learn_space(values, columns, ("rate", "lm"), train, {"lm": pca(3)})
    z = space.apply(values)
    assert z.shape == (80, 1 + 2 * 3)
    assert space.bands == ("rate", *["lm"] * 6)
    np.testing.assert_allclose(z[train, 0].std(), 1, atol=1e-5)
    (_, first), (_, second) = space.loadings[1:]
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first.T @ first, np.eye(3), atol=1e-10)


def test_weights_come_back_to_the_columns_as_given():
    values, columns = design()
    space = learn_space(values, columns, ("rate", "lm"), np.arange(60), {"lm": pca(3)})
    weights = np.random.default_rng(1).standard_normal((7, 2))
    back, shift = space.back(weights)
    np.testing.assert_allclose(values @ back + shift, space.apply(values) @ weights, atol=1e-3)


def test_a_column_that_never_changes_in_training_is_silent():
    values, columns = design()
    values[:60, 0] = 0.1
    space = learn_space(values, columns, ("rate",), np.arange(60), {})
    assert not space.apply(values).any()


def test_components_are_counted():
    with pytest.raises(SettingsError, match="at least one component; found 0"):
        pca(0)
    values, columns = design()
    space = learn_space(values, columns, ("lm",), np.arange(60), {"lm": pca(500)})
    assert len(space.bands) == 2 * 12  # never more than there are


@pytest.mark.parametrize("shape", [(40, 90), (90, 40)])
def test_axes_are_those_of_scikit_learn(shape):
    from sklearn import decomposition

    z = np.random.default_rng(0).standard_normal(shape)
    z -= z.mean(0)
    ours, theirs = pca(5).axes(z), decomposition.PCA(5, svd_solver="full").fit(z).components_.T
    np.testing.assert_allclose(np.abs((ours * theirs).sum(0)), 1, atol=1e-10)


def test_no_axes_beyond_the_rank():
    z = np.outer(np.arange(30.0) - 14.5, np.ones(8))
    axes = pca(4).axes(z)
    np.testing.assert_allclose(np.linalg.norm(axes, axis=0), [1, 0, 0, 0], atol=1e-12)
