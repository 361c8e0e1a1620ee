import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainalign.errors import InputError, SettingsError
from brainalign.maths.folds import by_group, contiguous, nested, shuffled


@given(n_samples=st.integers(10, 200), n=st.integers(2, 10), gap=st.integers(0, 4))
def test_contiguous_blocks_cover_every_row_once_and_keep_their_distance(n_samples, n, gap):
    try:
        folds = contiguous(n_samples, n, gap)
    except SettingsError:  # only a gap that reaches both ends may be refused
        assert -(-n_samples // n) + 2 * gap >= n_samples
        return
    assert len(folds) == n
    np.testing.assert_array_equal(np.concatenate([test for _, test in folds]), np.arange(n_samples))
    sizes = [len(test) for _, test in folds]
    assert max(sizes) - min(sizes) <= 1
    for train, test in folds:
        expected = [i for i in range(n_samples) if min(abs(i - j) for j in (test[0], test[-1])) > gap]
        np.testing.assert_array_equal(train, [i for i in expected if not test[0] <= i <= test[-1]])


def test_contiguous_gap_counts_samples_on_both_sides():
    train, test = contiguous(12, 3, gap=2)[1]
    np.testing.assert_array_equal(test, [4, 5, 6, 7])
    np.testing.assert_array_equal(train, [0, 1, 10, 11])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 6), r"6 folds of 5 samples: ask for between 2 and 5"),
        ((5, 1), r"1 folds of 5 samples"),
        ((10, 2, 5), r"a gap of 5 samples around samples 0–4 leaves none of 10"),
        ((10, 2, -1), r"a gap is a number of samples, 0 or more; found -1"),
    ],
)
def test_contiguous_refuses(arguments, message):
    with pytest.raises(SettingsError, match=message):
        contiguous(*arguments)


@given(st.lists(st.sampled_from("abcdefg"), min_size=2, max_size=60).filter(lambda x: len(set(x)) > 1), st.data())
def test_groups_are_never_divided(groups, data):
    labels = np.array(groups)
    n = data.draw(st.none() | st.integers(2, len(set(groups))))
    folds = by_group(labels, n)
    assert len(folds) == (n or len(set(groups)))
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in folds])), np.arange(len(labels)))
    for train, test in folds:
        assert not set(labels[train]) & set(labels[test])
        assert len(train) + len(test) == len(labels)
        assert (np.diff(test) > 0).all()


def test_folds_of_groups_are_balanced():
    groups = np.repeat(np.arange(6), [10, 9, 8, 3, 2, 1])
    sizes = sorted(len(test) for _, test in by_group(groups, 3))
    assert sizes == [11, 11, 11]


def test_folds_follow_the_order_of_the_rows():
    assert [test[0] for _, test in by_group(["z", "z", "a", "m"])] == [0, 2, 3]


def test_by_group_refuses():
    with pytest.raises(InputError, match=r"the one group 'a'.*contiguous folds"):
        by_group(["a", "a"])
    with pytest.raises(InputError, match="no group"):
        by_group([])
    with pytest.raises(InputError, match=r"one label per sample.*\(2, 2\)"):
        by_group(np.zeros((2, 2)))
    with pytest.raises(SettingsError, match="4 folds of 3 groups: ask for between 2 and 3"):
        by_group([1, 2, 3], n=4)


@given(n_samples=st.integers(4, 100), n=st.integers(2, 4), seed=st.integers(0, 9))
def test_shuffled_folds_deal_out_every_row_once(n_samples, n, seed):
    folds = shuffled(n_samples, n, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in folds])), np.arange(n_samples))
    for train, test in folds:
        np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(n_samples))
    again = shuffled(n_samples, n, seed)
    assert all((a[1] == b[1]).all() for a, b in zip(folds, again, strict=True))


def test_shuffled_refuses():
    with pytest.raises(SettingsError, match="7 folds of 5 samples: ask for between 2 and 5"):
        shuffled(5, 7)


@given(n_samples=st.integers(20, 80), gap=st.integers(0, 2))
def test_inner_folds_never_touch_the_outer_test_rows(n_samples, gap):
    for train, test, inner in nested(contiguous(n_samples, 3, gap), lambda rows: contiguous(len(rows), 2, gap)):
        assert len(inner) == 2
        for a, b in inner:
            assert not set(a) & set(b)
            assert set(a) | set(b) <= set(train)
            assert not (set(a) | set(b)) & set(test)


def test_nested_refuses_rows_beyond_the_training_set():
    with pytest.raises(SettingsError, match=r"positions among the 4 training rows of their fold, 0 to 3"):
        nested(contiguous(6, 3), lambda rows: [(rows, rows[:1])])
