"""Which penalty shortens a target's weights to a given fraction of their length without penalty?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import svd

from brainalign.errors import SettingsError
from brainalign.maths.arrays import Home
from brainalign.maths.cost import parse_bytes
from brainalign.maths.held_out import CHUNK, chunks
from brainalign.maths.prepare import Prepared
from brainalign.progress import Progress, silent

STEP = 0.1  # ln α between grid points: cubic interpolation is then good to 1e-6 and better


@dataclass(frozen=True)
class Rotation:
    """X = U diag(s) Vt, of full rank: U (n, r), s (r,) descending, Vt (r, p)."""

    U: np.ndarray
    s: np.ndarray
    Vt: np.ndarray


def rotate(X: np.ndarray, eps: float) -> Rotation:
    """Singular value decomposition; what is below `eps` × max(shape) of the largest value is rounding and left out."""
    U, s, Vt = svd(X, full_matrices=False, check_finite=False)
    kept = s > eps * max(X.shape) * s[0]
    return Rotation(U[:, kept], s[kept], Vt[kept])


def penalties_for(s: np.ndarray, Z: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """The α at which ‖w(α)‖ = γ‖w(0)‖, for every fraction γ and target.

    With Z = UᵀY, the weights along the right singular vectors are s z / (s² + α), hence

        ln(‖w(α)‖ / ‖w(0)‖) = ½ ln Σ_i (z_i / s_i)² (s_i² / (s_i² + α))² − ½ ln Σ_i (z_i / s_i)²,

    which falls with ln α. Computed with its slope on a grid of ln α, two matrix products for all targets, and inverted
    by cubic interpolation, the slope of the inverse being known too. Source: Rokem & Kay (2020), who interpolate
    linearly.

    Parameters
    ----------
    s : array (r,)
        Singular values, descending, above 0.
    Z : array (r, t)
    fractions : array (g,)
        Ascending, in (0, 1].

    Returns
    -------
    array (g, t)
        0 for γ = 1; +inf where a target has no weights at all.

    Examples
    --------
    >>> s, z = np.array([3.0, 1.0]), np.array([[3.0], [1.0]])
    >>> alpha = penalties_for(s, z, np.array([0.5]))
    >>> weights = s[:, None] * z / (s[:, None] ** 2 + alpha)
    >>> round(float(np.linalg.norm(weights) / np.linalg.norm(z / s[:, None])), 6)
    0.5
    """
    found = np.full((len(fractions), Z.shape[1]), np.inf)
    length = ((Z / s[:, None]) ** 2).sum(0)
    some = np.flatnonzero(length)
    found[np.ix_(fractions == 1, some)] = 0
    asked = np.log(fractions[fractions < 1])
    if not len(asked) or not len(some):
        return found
    share = ((Z[:, some] / s[:, None]) ** 2 / length[some]).T
    # the least shrunk component bounds the ratio from above, the most shrunk one from below
    low, high = 2 * np.log(s[-1]) + np.log(np.expm1(-asked[-1])), 2 * np.log(s[0]) + np.log(np.expm1(-asked[0]))
    grid = np.linspace(low - STEP, high + STEP, int((high - low) / STEP) + 4)
    kept = 1 / (1 + np.exp(grid - 2 * np.log(s)[:, None]))  # s² / (s² + α), (r, grid)
    square = share @ kept**2
    value = 0.5 * np.log(square)
    slope = -(share @ (kept**2 * (1 - kept))) / square
    at = np.stack([(value > one).sum(1) for one in asked]).clip(1, len(grid) - 1)
    rows = np.arange(len(share))
    (y0, y1), (m0, m1) = ((part[rows, at - 1], part[rows, at]) for part in (value, slope))
    width = y1 - y0
    x = (asked[:, None] - y0) / width
    rest = 1 - x
    log = grid[at - 1] * rest**2 * (1 + 2 * x) + grid[at] * x**2 * (3 - 2 * x)
    log += width * (x * rest**2 / m0 - x**2 * rest / m1)
    found[np.ix_(fractions < 1, some)] = np.exp(log)
    return found


@dataclass(frozen=True)
class Fractions:
    """What `choose` found: alpha, best (t,), the penalties in the solver's units and which fraction; loss (g, t) and
    nothing (t,), held-out squared errors with weights and without; rotation of all rows.
    """

    alpha: np.ndarray
    best: np.ndarray
    loss: np.ndarray
    nothing: np.ndarray
    rotation: Rotation


def choose(
    data: Prepared, fractions: np.ndarray, shared: bool, home: Home, memory: int | str, progress: Progress = silent
) -> Fractions:
    """The fraction with the least held-out error for each target, or for all of them together, and its penalties.

    In every fold the penalties that give a fraction are found anew, from the training rows' own weights.

    Parameters
    ----------
    data : Prepared
        Of a single band.
    fractions : array (g,)
        Ascending, in (0, 1].
    shared : bool
        One fraction for all targets: the least error relative to that of no weights, summed over targets.
    home : Home
        Folds are computed several at once.
    memory : int or str
        Bytes that may be taken.
    progress : function (done, total, what), optional
        Called after each fold.

    Returns
    -------
    Fractions

    Raises
    ------
    SettingsError
        Too little memory for a decomposition.
    """
    n, p = data.n, data.X.shape[1]
    room, need = parse_bytes(memory), 8 * (n * p + 3 * min(n, p) * (n + p))
    workers = max(1, min(home.workers, room // (2 * need)))
    size = int((room // workers - need) // (8 * 8 * n))
    if size < 1:
        raise SettingsError(
            f"memory={memory!r} is too little to decompose {n:,} samples × {p:,} columns, which takes about "
            f"{need / 1e9:.3g} GB: give more memory, or alphas= instead of fractions="
        )
    spans = chunks(data.targets, min(size, CHUNK))
    X, eps = data.part(0, np.dtype(float)), _eps(data)
    home.workers = workers
    errors = []
    for one in home.map(lambda fold: _held_out(data, X, fold, fractions, spans, eps), data.folds):
        errors.append(one)
        progress(len(errors), len(data.folds), "searching fractions")
    loss, nothing = (np.sum(part, axis=0) for part in zip(*errors, strict=True))
    best = _best_for_all(data, loss, nothing) if shared else np.argmin(loss, 0)
    rotation = rotate(X, eps)
    alpha = np.empty(data.targets)
    for span in spans:
        found = penalties_for(rotation.s, rotation.U.T @ _read(data, span), fractions)
        alpha[span] = np.take_along_axis(found, best[None, span], 0)[0]
    return Fractions(alpha, best, loss, nothing, rotation)


def _best_for_all(data: Prepared, loss: np.ndarray, nothing: np.ndarray) -> np.ndarray:
    size = nothing + data.inside
    weight = np.divide(1, size, out=np.zeros_like(size), where=(size > 0) & ~data.constant)
    return np.full(data.targets, np.argmin(loss @ weight))


def rotation_of(data: Prepared) -> Rotation:
    """Of all rows."""
    return rotate(data.part(0, np.dtype(float)), _eps(data))


def _read(data: Prepared, span: slice) -> np.ndarray:
    return data.read(np.arange(data.targets)[span], np.dtype(float))


def _eps(data: Prepared) -> float:
    return float(np.finfo(np.float32 if data.X.dtype == np.float32 else float).eps)


def _held_out(
    data: Prepared,
    X: np.ndarray,
    fold: tuple[np.ndarray, np.ndarray],
    fractions: np.ndarray,
    spans: list[slice],
    eps: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors (g, t) of one fold's test rows, and those of its training mean (t,)."""
    train, test = fold
    unit = data.unit[train] / (data.unit[train] @ data.unit[train])
    x_mean = unit @ X[train]
    rotation = rotate(X[train] - np.outer(data.unit[train], x_mean), eps)
    there = (X[test] - np.outer(data.unit[test], x_mean)) @ rotation.Vt.T
    loss, nothing = np.empty((len(fractions), data.targets)), np.empty(data.targets)
    for span in spans:
        Y = _read(data, span)
        y_mean = unit @ Y[train]
        Z = rotation.U.T @ (Y[train] - np.outer(data.unit[train], y_mean))
        scored = Y[test] - np.outer(data.unit[test], y_mean)
        nothing[span] = np.einsum("nt,nt->t", scored, scored)
        for g, alpha in enumerate(penalties_for(rotation.s, Z, fractions)):
            error = scored - there @ shrunk(rotation.s, Z, alpha)
            loss[g, span] = np.einsum("nt,nt->t", error, error)
    return loss, nothing


def shrunk(s: np.ndarray, Z: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(r, t) weights along the right singular vectors, s z / (s² + α)."""
    return Z * s[:, None] / (s[:, None] ** 2 + alpha)
