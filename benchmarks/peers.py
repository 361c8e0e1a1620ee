"""The field's solvers, each used as its own manual says, in its fastest form."""

import contextlib
import warnings

import numpy as np
from himalaya.backend import get_backend, set_backend
from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search
from himalaya.ridge import solve_group_ridge_random_search

ALPHAS = np.logspace(-1.5, 3, 10).astype(np.float32)  # for kernels of trace n: signal-to-noise ratios 10^1.5 to 10⁻³


@contextlib.contextmanager
def quiet(backend):
    """A himalaya backend for a while, without its warnings."""
    before = get_backend().name
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        set_backend(backend)
        try:
            yield get_backend()
        finally:
            set_backend(before)


def himalaya_banded(backend, kind, X, Y, bands, n_train, iterations, seed=0, alphas=ALPHAS):
    """Fit on the first rows and predict the rest: (n_test, t). `kind` is "kernel" or "group" (primal)."""
    mean_x, mean_y = X[:n_train].mean(0), Y[:n_train].mean(0)
    parts = []
    for band in dict.fromkeys(bands):
        part = X[:, bands == band] - mean_x[bands == band]
        parts.append(part / np.sqrt(np.square(part[:n_train]).sum() / n_train))
    y = Y[:n_train] - mean_y
    asked = {"n_iter": iterations, "alphas": alphas, "cv": 5, "progress_bar": False, "random_state": seed}
    asked["n_targets_batch"] = 2000  # larger batches are no faster and take gigabytes
    with quiet(backend) as b:
        if kind == "group":
            train = [b.asarray(part[:n_train], dtype="float32") for part in parts]
            _, coef, _ = solve_group_ridge_random_search(train, b.asarray(y), return_weights=True, **asked)
            predicted = b.to_numpy(b.asarray(np.hstack([part[n_train:] for part in parts])) @ b.asarray(coef))
        else:
            kernels = b.stack([b.asarray(p[:n_train]) @ b.asarray(p[:n_train]).T for p in parts])
            across = b.stack([b.asarray(p[n_train:]) @ b.asarray(p[:n_train]).T for p in parts])
            deltas, dual, _ = solve_multiple_kernel_ridge_random_search(
                kernels, b.asarray(y), return_weights="dual", n_targets_batch_refit=2000, **asked
            )
            dual, weights = b.asarray(dual), b.exp(b.asarray(deltas))
            predicted = b.to_numpy(sum((across[i] @ dual) * weights[i] for i in range(len(parts))))
    return predicted + mean_y
