"""The few operations of the solvers, in numpy and in torch."""

import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from brainalign.errors import SettingsError
from brainalign.maths.arrays import NotPositiveError, Numpy, Torch, home_of


@pytest.fixture(params=["cpu", "torch:cpu"])
def home(request):
    return home_of(request.param, 2)


def positive(n, dtype=float, seed=0):
    A = np.random.default_rng(seed).standard_normal((n, n + 3))
    return (A @ A.T / n + np.eye(n)).astype(dtype)


@pytest.mark.parametrize("n", [1, 2, 3, 255, 256, 257, 600])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_inverse_is_the_inverse_and_symmetric(home, n, dtype):
    A = positive(n, dtype)
    found = home.numpy(home.inverse(home.array(A.copy(), np.dtype(dtype))))
    np.testing.assert_allclose(found @ A, np.eye(n), atol=1e-4 if dtype == np.float32 else 1e-11)
    np.testing.assert_allclose(found, found.T, atol=1e-5 if dtype == np.float32 else 1e-13)
    assert found.dtype == dtype


def test_a_matrix_that_is_not_positive_definite_is_said_to_be_none(home):
    for A in (np.array([[-1.0]]), np.diag([1.0, -1e-3, 2.0]), np.ones((3, 3)) - 1e-6 * np.eye(3)):
        with pytest.raises(NotPositiveError, match="penalties are so small that rounding is all that is left"):
            home.inverse(home.array(A, np.dtype(float)))


def test_sums_and_products(home):
    rng = np.random.default_rng(0)
    stack, a, b = rng.standard_normal((3, 4, 4)), rng.standard_normal((5, 7)), rng.standard_normal((5, 7))
    to = lambda values: home.array(values, np.dtype(float))  # noqa: E731
    weights = np.array([[0.5, 9.0], [0.0, 9.0], [2.0, 9.0]])[:, 0]
    np.testing.assert_allclose(home.numpy(home.combine(weights, to(stack))), np.tensordot(weights, stack, 1))
    np.testing.assert_allclose(home.rowdot(to(a), to(b)), (a * b).sum(1))
    np.testing.assert_allclose(home.coldot(to(a), to(b)), (a * b).sum(0))
    assert home.rowdot(to(a), to(b)).dtype == float
    assert home.empty((2, 3), to(a)).shape == (2, 3)
    np.testing.assert_array_equal(home.numpy(home.array(a.T, np.dtype(np.float32))), a.T.astype(np.float32))
    again = home.array(to(a), np.dtype(np.float32))  # from the device to the device
    assert home.numpy(again).dtype == np.float32


def test_results_come_in_order(home):
    def slow(k):
        time.sleep(0.02 if k == 0 else 0)
        return k * k

    assert list(home.map(slow, range(9))) == [k * k for k in range(9)]
    assert list(home.map(slow, [])) == []


def test_an_error_in_one_is_raised(home):
    def fail(k):
        if k == 3:
            raise ZeroDivisionError("the third")
        return k

    seen = []
    with pytest.raises(ZeroDivisionError, match="the third"):
        seen.extend(home.map(fail, range(50)))
    assert seen == [0, 1, 2]


def test_no_more_is_begun_than_there_are_workers():
    """Results that nobody has taken wait in memory: with two workers never more than two of them."""
    begun, lock = [], threading.Lock()

    def begin(k):
        with lock:
            begun.append(k)
        return k

    for taken, _ in enumerate(Numpy(2).map(begin, range(20)), 1):
        time.sleep(0.002)
        assert len(begun) <= taken + 2
    assert len(begun) == 20


def test_blas_keeps_to_one_thread_inside_and_gets_its_own_back():
    before = [pool["num_threads"] for pool in threadpool_info()]
    with Numpy(2).threads():
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}
    assert [pool["num_threads"] for pool in threadpool_info()] == before


def test_homes_by_name():
    assert isinstance(home_of("cpu"), Numpy)
    assert home_of("cpu", 3).workers == 3
    home = home_of("cpu", 4)
    for workers, threads in ((4, 1), (3, 1), (2, 2), (1, 4)):  # cores that memory leaves without a point of their own
        home.workers = workers
        with home.threads():
            assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {threads}
    assert home_of("cpu", -1).workers == home_of("cpu").workers >= 1
    assert isinstance(home_of("torch:cpu"), Torch)
    for jobs in (0, -2):
        with pytest.raises(SettingsError, match=f"n_jobs is 1 or more, or -1 .*; found {jobs}"):
            home_of("cpu", jobs)
    with pytest.raises(SettingsError, match="torch cannot compute on device='abacus' here: "):
        home_of("abacus")
