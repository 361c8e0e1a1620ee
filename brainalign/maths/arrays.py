"""Where do the numbers live? numpy on the CPU or torch on any device, behind the few operations the solvers need."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from brainalign.errors import SettingsError

Array = Any  # a numpy array or a torch tensor: both know @, +, slices, .T


class NotPositiveError(SettingsError):
    """A matrix that should be positive definite is not, at the precision it was computed in."""

    def __init__(self) -> None:
        super().__init__(
            "penalties are so small that rounding is all that is left: give larger ones, or leave out columns that say "
            "the same"
        )


class Numpy:
    """Arrays in main memory."""

    fine = True

    def __init__(self, workers: int | None = None) -> None:
        self.workers = self.cores = workers or _cores()

    def array(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """On the device, in C order."""
        return np.ascontiguousarray(values, dtype)

    def numpy(self, values: np.ndarray) -> np.ndarray:
        """Back in main memory."""
        return values

    def empty(self, shape: tuple[int, ...], like: np.ndarray) -> np.ndarray:
        """Not initialised, of the dtype of `like`."""
        return np.empty(shape, like.dtype)

    def inverse(self, A: np.ndarray) -> np.ndarray:
        """Inverse of a symmetric positive definite matrix, in its place."""
        # the upper triangle in C order is the lower one in LAPACK's; what comes back is mirrored block by block
        potrf, potri = (_lapack(("s" if A.dtype == np.float32 else "d") + name) for name in ("potrf", "potri"))
        potrf(A)
        potri(A)
        step = 256
        for i in range(0, len(A), step):
            here = A[i : i + step, i : i + step]
            here[:] = np.triu(here) + np.triu(here, 1).T
            A[i + step :, i : i + step] = A[i : i + step, i + step :].T
        return A

    def combine(self, weights: np.ndarray, stack: np.ndarray) -> np.ndarray:
        """Σ_b weights_b stack_b."""
        flat = stack.reshape(len(stack), -1)
        return (weights.astype(stack.dtype) @ flat).reshape(stack.shape[1:])

    def rowdot(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(n,) float64 products of the rows of two (n, m) arrays, summed in the arrays' own precision."""
        return np.einsum("ij,ij->i", a, b).astype(float)

    def coldot(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(m,) float64, as `rowdot`, of columns."""
        return np.einsum("ij,ij->j", a, b).astype(float)

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Several at once, in order, each on one thread of BLAS: nobody waits for anybody, so a busy machine costs
        what it takes and no more. No more results wait than there are workers.
        """
        if self.workers == 1:
            yield from map(function, items)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            left = iter(items)
            running = [pool.submit(function, item) for item in islice(left, self.workers)]
            try:
                while running:
                    done = running.pop(0).result()
                    running += [pool.submit(function, item) for item in islice(left, 1)]
                    yield done
            finally:
                for one in running:
                    one.cancel()

    @contextmanager
    def threads(self) -> Iterator[None]:
        """While several points are computed at once each has one BLAS thread; where memory is for one, it has all."""
        with threadpool_limits(max(1, self.cores // self.workers), user_api="blas"):
            yield


class Torch:
    """Tensors on any device that torch knows. One point at a time: the device is busy with one."""

    workers = 1

    def __init__(self, device: str) -> None:
        torch = self.torch
        try:
            self.device = torch.device(device)
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise SettingsError(f"torch cannot compute on device={device!r} here: {reason}") from None

    @property
    def torch(self) -> Any:
        """The package, imported when first needed."""
        import torch

        return torch

    @property
    def fine(self) -> bool:
        """Whether the device knows float64."""
        return self.device.type != "mps"

    def array(self, values: Any, dtype: np.dtype) -> Array:
        """On the device, in C order."""
        if isinstance(values, self.torch.Tensor):
            return values.to(device=self.device, dtype=getattr(self.torch, dtype.name)).contiguous()
        return self.torch.as_tensor(np.ascontiguousarray(values, dtype)).to(self.device)

    def numpy(self, values: Array) -> np.ndarray:
        """Back in main memory."""
        return values.cpu().numpy()

    def empty(self, shape: tuple[int, ...], like: Array) -> Array:
        """Not initialised, of the dtype of `like`."""
        return self.torch.empty(shape, dtype=like.dtype, device=like.device)

    def inverse(self, A: Array) -> Array:
        """Inverse of a symmetric positive definite matrix."""
        factor, failed = self.torch.linalg.cholesky_ex(A)
        if int(failed):
            raise NotPositiveError
        return self.torch.cholesky_inverse(factor)

    def combine(self, weights: np.ndarray, stack: Array) -> Array:
        """Σ_b weights_b stack_b."""
        given = self.torch.as_tensor(weights).to(stack)
        return (given @ stack.reshape(len(stack), -1)).reshape(stack.shape[1:])

    def rowdot(self, a: Array, b: Array) -> np.ndarray:
        """(n,) float64 products of the rows of two (n, m) arrays."""
        return self.numpy((a * b).sum(1)).astype(float)

    def coldot(self, a: Array, b: Array) -> np.ndarray:
        """(m,) float64, as `rowdot`, of columns."""
        return self.numpy((a * b).sum(0)).astype(float)

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """One after another."""
        return map(function, items)

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Torch keeps its own threads."""
        yield


Home = Numpy | Torch


def home_of(device: str, workers: int | None = None) -> Home:
    """Numpy for "cpu"; torch for its devices: "cuda", "cuda:1", "mps", and "torch:cpu"."""
    if workers is not None and workers != -1 and workers < 1:
        raise SettingsError(f"n_jobs is 1 or more, or -1 for as many as there are cores; found {workers}")
    if device == "cpu":
        return Numpy(None if workers == -1 else workers)
    return Torch(device.removeprefix("torch:"))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _lapack(name: str) -> Callable[[np.ndarray], None]:
    """LAPACK as it comes with scipy, called so that other Python threads go on: scipy's wrappers keep the GIL.

    The address comes from the table scipy publishes for Cython. For routines (uplo, n, A, lda, info) on a square array.
    """
    from scipy.linalg import cython_lapack  # type: ignore[attr-defined]

    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    capsule = cython_lapack.__pyx_capi__[name]
    address = api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))
    number = ctypes.POINTER(ctypes.c_int)
    routine = ctypes.CFUNCTYPE(None, ctypes.c_char_p, number, ctypes.c_void_p, number, number)(address)

    def call(A: np.ndarray) -> None:
        assert A.flags.c_contiguous
        n, info = ctypes.c_int(len(A)), ctypes.c_int(0)
        routine(b"L", ctypes.byref(n), A.ctypes.data, ctypes.byref(n), ctypes.byref(info))
        if info.value:
            raise NotPositiveError

    return call
