"""How long does one fit of banded ridge take, beside the field's solver with the same candidates and folds?"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several threads that wait for each other would time the waiting
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import time
import warnings

import numpy as np
from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search

from brainalign.maths.banded import BandedRidge
from brainalign.maths.folds import contiguous
from brainalign.maths.penalties import SIGNAL_TO_NOISE, candidate_ratios

ROWS, TARGETS, REPEATS = 290, 110, 5
WIDTHS = {"rate": 5, "length": 5, "lm": 250}


class SameFolds:
    """Folds as scikit-learn hands them out."""

    def __init__(self, folds):
        self.folds = folds

    def split(self, *_):
        return iter(self.folds)

    def get_n_splits(self, *_):
        return len(self.folds)


def seconds(function):
    """How long one call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def main():
    """Take turns, so that all meet the same machine; print the fastest and the slowest of each."""
    rng = np.random.default_rng(0)
    bands = np.repeat(list(WIDTHS), list(WIDTHS.values()))
    # float32, as `encode` hands over; himalaya computes in it, ours in float64
    X = rng.standard_normal((ROWS, len(bands)), np.float32)
    Y = X[:, :5] @ rng.standard_normal((5, TARGETS), np.float32) + 3 * rng.standard_normal((ROWS, TARGETS), np.float32)
    folds = contiguous(ROWS, 5, gap=8)
    parts = [X[:, bands == band] - X[:, bands == band].mean(0) for band in WIDTHS]
    kernels = np.stack([part @ part.T * (ROWS / np.square(part).sum()) for part in parts])
    settings = {"n_iter": candidate_ratios(3, None, 0), "alphas": 1 / SIGNAL_TO_NOISE, "cv": SameFolds(folds)}

    def best():
        BandedRidge(bands=bands, folds=folds).fit(X, Y)

    def average():
        BandedRidge(bands=bands, folds=folds, average=True).fit(X, Y)

    def theirs():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it takes the logarithm of bands it drops
            solve_multiple_kernel_ridge_random_search(
                kernels, Y, fit_intercept=True, return_weights="dual", progress_bar=False, **settings
            )

    fits = {"brainalign, best point": best, "brainalign, average of all points": average, "himalaya": theirs}
    times = [[seconds(fit) for fit in fits.values()] for _ in range(REPEATS)]
    for name, taken in zip(fits, zip(*times, strict=True), strict=True):
        print(f"{name}: {min(taken):.2f} to {max(taken):.2f} s")


if __name__ == "__main__":
    main()
