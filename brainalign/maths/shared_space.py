"""In which common space do people's responses to the same stimuli agree, though no two brains have the same voxels?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from brainalign.errors import InputError, SettingsError
from brainalign.maths.reduced import Reduced, principal, reduced, standard, voxels_together

ITERATIONS = 500
TOLERANCE = 1e-7  # of the share explained: where an iteration adds less, it has converged


@dataclass(frozen=True, eq=False)
class SharedSpace:
    """One space, and for every person the orthonormal axes in which their responses are there.

    A person's responses X become Z = (X − mean) / scale, where mean and SD are those of the samples learned from and
    scale is SD √n_voxels, so that every person weighs alike whatever they have. Z W is what they share, S Wᵀ what the
    shared response is in their own voxels.

    Parameters
    ----------
    bases : tuple of arrays (n_voxels_k, n_features)
        W of every person, WᵀW = 1, dense; of `anatomical`, which only reorders, a square permutation, sparse. A voxel
        that never changes has a row of zeros (in a permutation it keeps its 1, and is 0 in Z).
    shared : array (n_samples, n_features)
        The shared response S: the mean over people of Z W, on its principal axes.
    means, scales : tuple of arrays (n_voxels_k,)
    explained : tuple of float
        The share of all people's variance that S accounts for, n_people ‖S‖² / Σ‖Z‖², after every iteration: it never
        falls.
    converged : bool
        Whether the last iteration added less than the tolerance.
    """

    bases: tuple[Any, ...]
    shared: np.ndarray
    means: tuple[np.ndarray, ...]
    scales: tuple[np.ndarray, ...]
    explained: tuple[float, ...]
    converged: bool

    def shared_of(self, k: int, X: np.ndarray) -> np.ndarray:
        """Responses of person k to anything, in the shared space: (n, n_voxels_k) → (n, n_features)."""
        self._check(k, X, "voxels")
        out = np.zeros((len(X), self.shared.shape[1]))
        for part in voxels_together(X.shape[1], len(X)):
            out += standard(X[:, part], self.means[k][part], self.scales[k][part]) @ self.bases[k][part]
        return out

    def back(self, k: int, S: np.ndarray, voxels: slice = slice(None)) -> np.ndarray:
        """What a response of the shared space is in (some) voxels of person k: (n, n_features) → (n, n_voxels_k)."""
        self._check(k, S, "features")
        return (S @ self.bases[k][voxels].T) * self.scales[k][voxels] + self.means[k][voxels]

    def add(self, X: np.ndarray, rows: np.ndarray | None = None) -> SharedSpace:
        """The same space with one more person, whose basis is the rotation closest to the shared response.

        Parameters
        ----------
        X : array (n_samples, n_voxels)
            Responses to what the shared response was learned from, in its order.
        rows : array of int, optional
            Which samples of X those are.

        Returns
        -------
        SharedSpace
            The new person is the last one; `shared` stays what it was.
        """
        part = reduced(X, _rows(rows, len(X)))
        n, d = self.shared.shape
        if len(part.F) != n:
            raise InputError(f"{len(part.F)} samples of a new person for the {n} of the shared response: name its rows")
        _check_features(d, [part])
        basis = part.lifted(_closest(part.F.T @ self.shared))
        return replace(
            self,
            bases=(*self.bases, basis),
            means=(*self.means, part.mean),
            scales=(*self.scales, part.scale),
        )

    def _check(self, k: int, values: np.ndarray, what: str) -> None:
        if not 0 <= k < len(self.bases):
            raise InputError(f"there is no person {k}: the space has {len(self.bases)}, numbered from 0")
        wanted = len(self.means[k]) if what == "voxels" else self.shared.shape[1]
        if values.ndim != 2 or values.shape[1] != wanted:
            raise InputError(f"person {k} has {wanted} {what} in this space; found an array {values.shape}")


def fit_shared_response(
    people: Sequence[np.ndarray],
    features: int,
    *,
    rows: np.ndarray | None = None,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
) -> SharedSpace:
    """The shared response model: orthonormal W of every person and a common S with least Σ‖Z − S Wᵀ‖².

    Parameters
    ----------
    people : sequence of arrays (n_samples, n_voxels_k)
        Responses to the same stimuli in the same order; voxels may differ in number. May be memory-mapped: read a few
        voxels at a time.
    features : int
        Dimensions of the shared space; at most n_samples − 1, and what each person has.
    rows : array of int, optional
        The samples to learn from; nothing else of `people` is looked at.
    iterations : int
        At most so many.
    tolerance : float
        The rise of the share explained, as a part of it, below which it has converged.

    Returns
    -------
    SharedSpace

    Raises
    ------
    InputError, SettingsError
        Fewer than two people, unequal samples, a response that is not finite, more features than anybody has.

    Notes
    -----
    Alternates S = mean Z W and W = the orthonormal matrix closest to ZᵀS (Chen et al. 2015, the deterministic model),
    from the principal components of everyone's responses side by side: nothing is drawn at random. Where there are
    more voxels than samples it works on Z Zᵀ (samples × samples), which has all that W depends on; Z itself is read
    twice.

    References
    ----------
    Chen et al. (2015), A reduced-dimension fMRI shared response model, NeurIPS 28. Richard et al. (2019), Fast shared
    response model for fMRI data, arXiv 1909.12537: that the small matrix is enough.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> S = rng.standard_normal((100, 3))
    >>> people = [S @ rng.standard_normal((3, n)) for n in (20, 200)]
    >>> space = fit_shared_response(people, 3)
    >>> space.bases[1].shape, space.converged
    ((200, 3), True)
    >>> bool(np.corrcoef(space.shared_of(0, people[0])[:, 0], space.shared_of(1, people[1])[:, 0])[0, 1] > 0.9)
    True
    """
    parts = _all_reduced(people, rows, iterations, tolerance)
    _check_features(features, parts)
    S = _leading(parts, features)
    turns: list[np.ndarray] = []

    def step() -> np.ndarray:
        nonlocal S, turns
        turns = [_closest(part.F.T @ S) for part in parts]
        S = np.mean([part.F @ turn for part, turn in zip(parts, turns, strict=True)], axis=0)
        return S

    explained, converged = _iterated(step, parts, iterations, tolerance)
    return _space(parts, turns, S, explained, converged)


def hyperalign(
    people: Sequence[np.ndarray],
    features: int | None = None,
    *,
    rows: np.ndarray | None = None,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
) -> SharedSpace:
    """Hyperalignment: everyone is rotated, by Procrustes, to a template that is the mean of all rotated.

    Parameters
    ----------
    people : sequence of arrays (n_samples, n_voxels_k)
        As for `fit_shared_response`. The first person is the first template.
    features : int, optional
        Principal components of each person that are rotated. By default as many as everyone has: of people with the
        same number of voxels, fewer than samples, that is a rotation of the voxels themselves, as published.
    rows, iterations, tolerance
        As for `fit_shared_response`.

    Returns
    -------
    SharedSpace

    Raises
    ------
    InputError, SettingsError
        As `fit_shared_response`.

    Notes
    -----
    Haxby et al. (2011) rotate voxels, of which everyone has to have as many. Here each person's responses go to their
    own principal components first, so that voxels may differ in number and no rotation is voxels × voxels. Each person
    in turn is rotated to the mean of those before, then over and over to the mean of all others, until the mean stays
    (generalised Procrustes; Gower 1975). Unlike `fit_shared_response` it keeps what varies most in each person, shared
    or not. With about as many components as samples anyone can be rotated to anyone: give far fewer.

    References
    ----------
    Haxby et al. (2011), Neuron 72; Guntupalli et al. (2016), Cerebral Cortex 26; Gower (1975), Psychometrika 40.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 5))
    >>> turned = X @ np.linalg.qr(rng.standard_normal((5, 5)))[0]
    >>> space = hyperalign([X, turned])
    >>> space.explained[-1] > 0.95
    True
    """
    parts = _all_reduced(people, rows, iterations, tolerance)
    kept = min(part.F.shape[1] for part in parts) if features is None else features
    _check_features(kept, parts)
    F = [part.F[:, :kept] for part in parts]
    turned = [F[0]]
    for k in range(1, len(F)):
        turned.append(F[k] @ _closest(F[k].T @ np.mean(turned, axis=0)))
    turns: list[np.ndarray] = []
    S = np.mean(turned, axis=0)

    def step() -> np.ndarray:
        nonlocal S, turns
        turns = []
        for k, own in enumerate(F):
            turns.append(_closest(own.T @ (np.sum(turned, axis=0) - turned[k])))
            turned[k] = own @ turns[k]
        S = np.mean(turned, axis=0)
        return S

    explained, converged = _iterated(step, parts, iterations, tolerance)
    none = [np.zeros((part.F.shape[1] - kept, kept)) for part in parts]
    return _space(parts, [np.r_[turn, rest] for turn, rest in zip(turns, none, strict=True)], S, explained, converged)


def _all_reduced(
    people: Sequence[np.ndarray], rows: np.ndarray | None, iterations: int, tolerance: float
) -> list[Reduced]:
    if len(people) < 2:
        raise InputError(f"a space is shared by at least two people; found {len(people)}")
    shapes = [np.shape(X) for X in people]
    if any(len(shape) != 2 or shape[0] != shapes[0][0] for shape in shapes):
        raise InputError(
            f"people are (samples, voxels) with the same samples each; found {', '.join(map(str, shapes))}"
        )
    if iterations < 1 or not tolerance >= 0:
        raise SettingsError(f"iterations is at least 1 and tolerance not below 0; found {iterations} and {tolerance:g}")
    taken = _rows(rows, shapes[0][0])
    return [reduced(np.asarray(X), taken) for X in people]


def _rows(rows: np.ndarray | None, n: int) -> np.ndarray:
    taken = np.arange(n) if rows is None else np.arange(n)[rows]
    if len(taken) < 2:
        raise InputError(f"a space is learned from at least two samples; found {len(taken)}")
    return taken


def _check_features(features: int, parts: Sequence[Reduced]) -> None:
    ranks = [part.F.shape[1] for part in parts]
    if not 1 <= features <= min(ranks):
        k = int(np.argmin(ranks))
        raise SettingsError(
            f"features is a number from 1 to {min(ranks)}, all that person {k} has ({parts[k].X.shape[1]} voxels, "
            f"{len(parts[k].rows)} samples to learn from); found {features}"
        )


def _leading(parts: Sequence[Reduced], features: int) -> np.ndarray:
    """(n, features) principal components of everyone's responses side by side, from the smaller Gram matrix."""
    n, width = len(parts[0].F), sum(part.F.shape[1] for part in parts)
    if width < n:
        both = np.concatenate([part.F for part in parts], axis=1)
        return both @ principal(both.T @ both)[1][:, :features]
    power, vectors = principal(np.sum([part.F @ part.F.T for part in parts], axis=0))
    return vectors[:, :features] * np.sqrt(power[:features])


def _iterated(
    step: Callable[[], np.ndarray], parts: Sequence[Reduced], iterations: int, tolerance: float
) -> tuple[list[float], bool]:
    """Repeat a step, which gives S, until it explains no more."""
    whole = sum(float(part.power.sum()) for part in parts) / len(parts)
    explained: list[float] = []
    for _ in range(iterations):
        explained.append(float((step() ** 2).sum()) / whole)
        if len(explained) > 1 and explained[-1] - explained[-2] <= tolerance * explained[-1]:
            return explained, True
    return explained, False


def _space(
    parts: Sequence[Reduced], turns: Sequence[np.ndarray], S: np.ndarray, explained: list[float], converged: bool
) -> SharedSpace:
    """Turned to the principal axes of S: the fit is the same in any rotation of the common space, this one is named."""
    axes = np.linalg.eigh(S.T @ S)[1][:, ::-1]
    largest = np.argmax(np.abs(S @ axes), axis=0)
    axes = axes * np.sign((S @ axes)[largest, np.arange(len(largest))])
    return SharedSpace(
        bases=tuple(part.lifted(turn @ axes) for part, turn in zip(parts, turns, strict=True)),
        shared=S @ axes,
        means=tuple(part.mean for part in parts),
        scales=tuple(part.scale for part in parts),
        explained=tuple(explained),
        converged=converged,
    )


def _closest(M: np.ndarray) -> np.ndarray:
    """The matrix with orthonormal columns closest to M: U Vᵀ of its singular value decomposition."""
    U, _, V = np.linalg.svd(M, full_matrices=False)
    return U @ V
