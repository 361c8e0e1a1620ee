"""Which matrix turns training responses into test predictions?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainalign.errors import InputError
from brainalign.maths.arrays import home_of
from brainalign.maths.dual import Dual
from brainalign.maths.prepare import check_arrays, check_shrinkage, columns_of
from brainalign.maths.primal import Primal


def hat_operator(
    X_train: np.ndarray, X_test: np.ndarray, bands: Sequence, shrinkage: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The matrices that turn training responses into test predictions at fixed penalties.

    With H = ``operators[which[t]]``, the prediction of target t is ``mean(y_train) + H @ y_train``: H is centred, its
    rows sum to 0. It depends on the features and penalties only, so that shifted or permuted responses are
    predicted again at the price of one product.

    Parameters
    ----------
    X_train, X_test : array (n_train, n_features), (n_test, n_features)
        Features as `BandedRidge.fit` and `predict` were given them.
    bands : sequence of labels
        The band of each column.
    shrinkage : array (n_bands, n_targets)
        log10 λ_b (`BandedRidge.shrinkage_`). Give a few targets at a time where memory is short.

    Returns
    -------
    operators : array (n_distinct, n_test, n_train)
        One per distinct column of `shrinkage`.
    which : array (n_targets,) int
        The operator of each target.

    Raises
    ------
    InputError, SettingsError
        Shapes that do not agree, or numbers that are not finite.

    Examples
    --------
    >>> from brainalign.maths.banded import BandedRidge
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.standard_normal((30, 4)), rng.standard_normal((30, 2))
    >>> model = BandedRidge(bands="aabb").fit(X[:20], Y[:20])
    >>> operators, which = hat_operator(X[:20], X[20:], "aabb", model.shrinkage_)
    >>> again = Y[:20].mean(0) + np.stack([operators[which[t]] @ Y[:20, t] for t in range(2)], 1)
    >>> np.allclose(again, model.predict(X[20:]))
    True
    """
    X_train, X_test = check_arrays(X_train, X_test, rows_agree=False)
    if X_train.shape[1] != X_test.shape[1]:
        raise InputError(f"training features have {X_train.shape[1]} columns, test features {X_test.shape[1]}")
    labels, columns = columns_of(bands, X_train.shape[1])
    shrinkage = check_shrinkage(shrinkage, len(labels), np.shape(shrinkage)[-1] if np.ndim(shrinkage) else 0)
    distinct, which = np.unique(shrinkage, axis=1, return_inverse=True)
    n, mean = len(X_train), X_train.mean(0)
    centred = np.where(np.ptp(X_train, axis=0) > 0, X_train - mean, 0.0)
    home = home_of("cpu", 1)
    before = [centred[:, at] for at in columns]
    after = [np.where(part.any(0), X_test[:, at] - mean[at], 0.0) for part, at in zip(before, columns, strict=True)]
    power = np.array([np.square(part).sum() / n for part in before])
    gains = power[:, None] / 10.0**distinct
    with home.threads():
        space: Dual | Primal
        kind = Primal if X_train.shape[1] < n else Dual
        space = kind(
            home, before.__getitem__, [len(at) for at in columns], power, np.full(n, n**-0.5), [], np.dtype(float)
        )
        if isinstance(space, Primal):
            new = np.hstack(after) / np.where(space.root_power > 0, space.root_power, 1)
            made = (new @ space.projection(point) @ space.Z.T for point in gains.T)
        else:
            across = np.stack([b @ a.T / p if p else b @ a.T for a, b, p in zip(before, after, power, strict=True)])
            made = (home.combine(point, across) @ space.projection(point) for point in gains.T)
        operators = np.empty((gains.shape[1], len(X_test), n))  # of many points too large to be held twice
        for out, one in zip(operators, made, strict=True):
            out[:] = one
    return operators, which.ravel()
