"""The field's solvers, each used as its own manual says, in its fastest form."""

import contextlib
import warnings

import numpy as np
from himalaya.backend import get_backend, set_backend
from himalaya.kernel_ridge import KernelRidgeCV, solve_multiple_kernel_ridge_random_search
from himalaya.ridge import RidgeCV, solve_group_ridge_random_search

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


def himalaya_single(backend, kind, X, Y, bands, n_train, alphas, together=False):
    """One penalty for all columns, for each target its own or for all `together`; `kind` is "kernel" or "ridge"."""
    mean_x, mean_y = X[:n_train].mean(0), Y[:n_train].mean(0)
    settings = {"alphas": np.asarray(alphas, np.float32), "cv": 5}
    batches = {"n_targets_batch": 2000, "n_targets_batch_refit": 2000, "local_alpha": not together}
    with quiet(backend) as b:
        if kind == "kernel":
            model = KernelRidgeCV(kernel="linear", solver_params=batches, warn=False, **settings)
        else:
            model = RidgeCV(solver_params={**batches, "n_alphas_batch": 5, "warn": False}, **settings)
        model.fit(b.asarray(X[:n_train] - mean_x), b.asarray(Y[:n_train] - mean_y))
        return b.to_numpy(model.predict(b.asarray(X[n_train:] - mean_x))) + mean_y


def sklearn_shared(X, Y, bands, n_train, alphas):
    """scikit-learn's RidgeCV: with folds it searches the grid for one penalty that all targets share."""
    from sklearn.linear_model import RidgeCV as Searched
    from sklearn.model_selection import KFold

    return Searched(alphas=alphas, cv=KFold(5)).fit(X[:n_train], Y[:n_train]).predict(X[n_train:])


def fracridge_single(X, Y, bands, n_train, alphas, chunk=500):
    """fracridge at as many fractions as there are penalties, the best of each target by the same folds.

    Its function, since its estimators ask scikit-learn for arguments that are gone; some targets at a time, since it
    returns the weights of every fraction.
    """
    from fracridge import fracridge

    fractions = np.linspace(1 / len(alphas), 1, len(alphas))

    def paths(train, test, y):
        """(rows, fractions, targets) predictions."""
        mean_x, mean_y = X[train].mean(0), y[train].mean(0)
        centred = X[train].astype(float) - mean_x  # in float32 it takes the direction that centring empties for data
        with quiet("numpy"):
            weights, _ = fracridge(centred, y[train] - mean_y, fractions, jit=False)
        return np.tensordot(X[test] - mean_x, weights, axes=1) + mean_y

    rows, rest = np.arange(n_train), np.arange(n_train, len(X))
    predicted = np.empty((len(rest), Y.shape[1]), Y.dtype)
    for start in range(0, Y.shape[1], chunk):
        y, loss = Y[:, start : start + chunk], 0
        for test in np.array_split(rows, 5):
            loss = loss + np.square(y[test][:, None] - paths(np.setdiff1d(rows, test), test, y)).sum(0)
        best = loss.argmin(0)[None, None]
        predicted[:, start : start + chunk] = np.take_along_axis(paths(rows, rest, y), best, axis=1)[:, 0]
    return predicted
