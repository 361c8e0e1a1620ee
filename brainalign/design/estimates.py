"""How large was each trial's response? Least squares for all trials at once, or for each against the others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from brainalign.errors import InputError

APART = 1e-4  # singular value, of the largest, below which two responses are one: noise would grow ten-thousandfold

How = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(responses expected (n, k, b), conditions (k,)) → weights (k, b, n), that of the data make amplitudes.

n volumes, k trials, b functions for each; nuisance has been taken out of the responses expected, so that it has not to
be taken out of the data (Frisch–Waugh). A how of one's own is a function like this."""


class InseparableError(InputError):
    """Trials that the design does not tell apart: their places among the k, one or two of them."""

    def __init__(self, *trials: int) -> None:
        super().__init__(f"trials {', '.join(map(str, trials))} are not told apart by this design")
        self.trials = trials


def lsa(expected: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    """Least squares, all: one model with a regressor per trial (Rissman et al. 2004). Conditions play no part.

    Unbiased, and the best linear estimate where noise is white; where responses overlap noise is shared out between
    neighbours with opposite signs.

    Parameters
    ----------
    expected : array (n, k, b)
    conditions : array (k,)

    Returns
    -------
    array (k, b, n)
        The pseudo-inverse of the responses expected.

    Raises
    ------
    InseparableError
        Responses that are linear combinations of one another, or as good as.

    Examples
    --------
    >>> early, late = np.array([1.0, 2.0, 1.0, 0.0]), np.array([0.0, 1.0, 2.0, 1.0])
    >>> weights = lsa(np.stack([early, late], axis=1)[:, :, None], np.zeros(2))
    >>> (weights[:, 0] @ (3 * early + 5 * late)).round(6).tolist()
    [3.0, 5.0]
    """
    del conditions
    U, s, Vt, size = decompose(expected)
    weights = np.divide((Vt.T / s) @ U.T, size[:, None], out=np.zeros((len(size), len(U))), where=size[:, None] > 0)
    return weights.reshape(*expected.shape[1:], -1)


def decompose(expected: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Responses (n, k, b) as U diag(s) Vt diag(size): U (n, r), s (r,) descending, Vt (r, k b), size (k b,).

    Of the r columns that are not 0; the others have a size of 0, and no part in Vt.
    """
    n, k, b = expected.shape
    columns = expected.reshape(n, k * b)
    size = np.linalg.norm(columns, axis=0)
    there = np.flatnonzero(size)
    U, s, there_Vt = np.linalg.svd(columns[:, there] / size[there], full_matrices=False)
    if len(s) < len(there) or (len(s) and s[-1] < APART * s[0]):
        alike = np.zeros((k, b))
        alike.flat[there] = np.abs(there_Vt[-1])
        raise InseparableError(*sorted(np.argsort(-alike.max(1), kind="stable")[:2].tolist()))
    Vt = np.zeros((len(s), k * b))
    Vt[:, there] = there_Vt
    return U, s, Vt, size


def lss(expected: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    """Least squares, separate: a model for each trial, with one regressor for it, one for the others.

    In trial j's model are x_j, the sum of the other trials of its condition, and the sum of each other condition
    (Mumford et al. 2012; Turner et al. 2012); where all are of one condition, the sum of all others. More stable than
    `lsa` where responses overlap, at the price that neighbours are taken to be alike.

    Parameters
    ----------
    expected : array (n, k, b)
    conditions : array (k,)

    Returns
    -------
    array (k, b, n)

    Raises
    ------
    InseparableError
        A trial whose response is that of the others.

    Notes
    -----
    Closed form, one pass for all trials of a condition: once the other conditions' sums are taken out of x_j and of
    S = Σ x_j, the amplitude is the first of the solution of the 2 × 2 normal equations of [x_j, S − x_j].

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((50, 3))
    >>> weights = lss(x[:, :, None], np.zeros(3))[:, 0]
    >>> alone = np.linalg.lstsq(np.c_[x[:, 1], x[:, 0] + x[:, 2]], x @ [1.0, 2.0, 3.0])[0]
    >>> bool(np.isclose((weights @ x @ [1.0, 2.0, 3.0])[1], alone[0]))
    True
    """
    n, k, b = expected.shape
    weights = np.empty((k, b, n))
    kinds = list(dict.fromkeys(np.asarray(conditions).tolist()))
    sums = {kind: expected[:, conditions == kind].sum(1) for kind in kinds}
    for kind in kinds:
        mine = np.flatnonzero(conditions == kind)
        rest = orthonormal(np.concatenate([np.zeros((n, 0)), *(sums[other] for other in kinds if other != kind)], 1))
        given = expected[:, mine].reshape(n, -1)
        left = outside(given, rest)
        before, after = (np.linalg.norm(one, axis=0) for one in (given, left))
        if ((after < APART * before) & (before > 0)).any():
            raise InseparableError(int(mine[(after - APART * before).reshape(-1, b).min(1).argmin()]))
        x = left.reshape(n, len(mine), b)
        pair = x if len(mine) == 1 else np.concatenate([x, x.sum(1, keepdims=True) - x], axis=2)
        size = np.linalg.norm(pair, axis=0)[:, :, None]
        unit = np.moveaxis(pair, 0, 2) / np.where(size > 0, size, 1)  # (m, b or 2b, n)
        gram = unit @ unit.transpose(0, 2, 1) + np.eye(unit.shape[1]) * (size == 0)
        least = np.linalg.eigvalsh(gram)[:, 0]
        if (least < APART**2).any():
            raise InseparableError(int(mine[least.argmin()]))
        weights[mine] = (np.linalg.solve(gram, unit) / np.where(size > 0, size, np.inf))[:, :b]
    return weights


def orthonormal(columns: np.ndarray) -> np.ndarray:
    """(n, r) an orthonormal basis of the columns (n, q); those that add nothing leave nothing."""
    size = np.linalg.norm(columns, axis=0)
    columns = columns[:, size > 0] / size[size > 0]
    if not columns.size:
        return columns[:, :0]
    U, s, _ = np.linalg.svd(columns, full_matrices=False)
    return U[:, s > 1e-10 * s[0]]


def outside(columns: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """What is left of columns (n, p) outside the span of an orthonormal basis (n, r)."""
    left = columns - basis @ (basis.T @ columns)
    return left - basis @ (basis.T @ left)  # once more: rounding of the first pass is not orthogonal
