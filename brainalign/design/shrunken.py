"""How much of a voxel's trial-by-trial variation repeats? Amplitudes shrunk by a fraction that repeats choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from brainalign.design.estimates import decompose
from brainalign.design.trials import RunModel
from brainalign.errors import InputError
from brainalign.maths.fractional import penalties_for, shrunk

FRACTIONS = tuple(round(0.05 * k, 2) for k in range(1, 21))  # as in GLMsingle


@dataclass(frozen=True)
class LeftOut:
    """Who predicts whom: trials that are left out, and the means of their stimulus's trials elsewhere.

    Parameters
    ----------
    tested : array (m,)
        Positions of trials.
    others : sparse array (m, n_trials)
        A mean over the trials of the same stimulus in other folds.
    usable : array (n_trials,) bool
    left_out : str
        What a fold is: "run" or "repeat".
    """

    tested: np.ndarray
    others: csr_array
    usable: np.ndarray
    left_out: str


def find_repeats(samples: pd.DataFrame, label: str, usable: np.ndarray) -> LeftOut:
    """Folds are runs, where a stimulus recurs between runs; else the first presentations, the second ones, ….

    Raises
    ------
    InputError
        Nothing was shown twice.
    """
    known = np.flatnonzero(usable & samples[label].notna().to_numpy())
    shown = pd.factorize(samples[label].iloc[known].astype(str))[0]
    run = pd.factorize(samples["run"].iloc[known])[0]
    if not len(known) or np.bincount(shown).max() < 2:
        raise InputError(
            f"no {label} was shown twice: ridge is chosen by how well repeats predict one another; leave ridge out, or "
            "name the column of events that says what was shown (stimulus=)"
        )
    between = pd.DataFrame({"shown": shown, "run": run}).groupby("shown")["run"].nunique().max() > 1
    fold = run if between else pd.Series(shown).groupby(shown).cumcount().to_numpy()
    tested, at, means = [], [], []
    for kind in range(shown.max() + 1):
        mine = np.flatnonzero(shown == kind)
        for one in mine:
            others = mine[fold[mine] != fold[one]]
            if len(others):
                at.append(known[others])
                means.append(np.full(len(others), 1 / len(others)))
                tested.append(known[one])
    ends = np.cumsum([0, *map(len, at)])
    matrix = csr_array((np.concatenate(means), np.concatenate(at), ends), shape=(len(tested), len(samples)))
    return LeftOut(np.array(tested), matrix, usable, "run" if between else "repeat")


class Shrinker:
    """Fractional ridge of all trials of all runs together, for the voxels of one response.

    Amplitudes β(α) = V s (s² + α)⁻¹ Uᵀy, each run with its own singular values, one α for each voxel: the one at which
    ‖β(α)‖ = γ ‖β(0)‖ (Rokem & Kay 2020). Of the fractions γ that one is taken with the least squared error when a left
    out trial's least-squares amplitude is predicted by the mean shrunken amplitude of its stimulus's trials in other
    folds. At last a straight line brings β(γ) back to the scale of β(0): shrinking everything alike is no gain, and
    would be a bias (Prince et al. 2022).
    """

    def __init__(self, models: Sequence[RunModel], n_rows: int, repeats: LeftOut, fractions: np.ndarray) -> None:
        self.models, self.repeats, self.fractions, self.n_rows = models, repeats, fractions, n_rows
        self.parts = []
        for model in models:
            # in the units of the amplitudes, whose length counts: columns are not brought to one size
            U, s, Vt, size = decompose(model.expected)
            left, s, right = np.linalg.svd((s[:, None] * Vt) * size, full_matrices=False)
            self.parts.append((U @ left, s, right))
        self.order = np.argsort(-np.concatenate([s for _, s, _ in self.parts]), kind="stable")

    def __call__(self, data: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Data of each run (n, m) → amplitudes (n_rows, m) and the fractions chosen (m,)."""
        Z = [U.T @ y for (U, _, _), y in zip(self.parts, data, strict=True)]
        s = np.concatenate([one for _, one, _ in self.parts])
        alphas = penalties_for(s[self.order], np.concatenate(Z)[self.order], self.fractions)
        plain = self._amplitudes(Z, np.zeros(alphas.shape[1]))
        target = plain[self.repeats.tested]
        best, least = np.full(alphas.shape[1], len(alphas) - 1), np.full(alphas.shape[1], np.inf)
        kept = plain.copy()
        for k, alpha in enumerate(alphas):
            found = self._amplitudes(Z, alpha)
            loss = ((target - self.repeats.others @ found) ** 2).sum(0)
            better = loss < least
            best[better], least[better] = k, loss[better]
            kept[:, better] = found[:, better]
        return self._rescaled(kept, plain), self.fractions[best]

    def _amplitudes(self, Z: Sequence[np.ndarray], alpha: np.ndarray) -> np.ndarray:
        out = np.zeros((self.n_rows, len(alpha)))
        for model, (_, s, Vt), z in zip(self.models, self.parts, Z, strict=True):
            out[model.rows] = Vt.T @ shrunk(s, z, alpha)
        return out

    def _rescaled(self, found: np.ndarray, plain: np.ndarray) -> np.ndarray:
        use = self.repeats.usable
        x, y = found[use] - found[use].mean(0), plain[use] - plain[use].mean(0)
        power = (x**2).sum(0)
        slope = np.divide((x * y).sum(0), power, out=np.ones_like(power), where=power > 0)
        turned = slope <= 0
        slope[turned] = 1
        shift = np.where(turned, 0, plain[use].mean(0) - slope * found[use].mean(0))
        return found * slope + shift
