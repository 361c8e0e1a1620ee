"""Which response does a voxel have, of a library?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainalign.design.trials import RunModel

RATIOS = (
    0.0,
    *(10.0 ** (k / 2) for k in range(-5, 4)),
)  # variance of trials over that of noise, in squared units of data


class Likelihood:
    """How likely a voxel's data are under one response, whatever the trials' amplitudes.

    Amplitudes are drawn around a mean, β ~ N(μ1, λσ²I), noise is white: y ~ N(μX1, σ²(I + λXXᵀ)) once nuisance is taken
    out, X being the responses expected of a run, μ, σ² and λ those of all its runs. With X = U diag(s) Vᵀ and z = Uᵀy
    everything but λ, which is looked for among `RATIOS`, is found in closed form:

        −2 log L = N log Q + Σ log(1 + λs²),    Q = ‖y‖² − ‖z‖² + Σ w z² − (Σ w x z)² / Σ w x²,

    w = 1 / (1 + λs²), x = UᵀX1. It asks nothing of labels, so what is chosen does not make repeats alike. λ = 0 is the
    variance explained by one regressor for all trials; a large λ comes to that explained by a regressor for each, which
    is what GLMsingle chooses by (Prince et al. 2022) and which, with noise twice as large as the response, is chosen by
    noise.
    """

    def __init__(self, models: Sequence[RunModel]) -> None:
        self.bases, parts, means = [], [], []
        self.lost = [model.lost for model in models]
        for model in models:
            responses = model.expected[:, :, 0]
            U, s, _ = np.linalg.svd(responses, full_matrices=False)
            self.bases.append(U)
            parts.append(s)
            means.append(U.T @ responses.sum(1))
        self.s, self.x = np.concatenate(parts), np.concatenate(means)
        self.n = sum(len(model.expected) - model.nuisance.shape[1] for model in models)

    def __call__(self, data: Sequence[np.ndarray], power: np.ndarray) -> np.ndarray:
        """Log-likelihood (m,) up to a constant: of the data of each run (n, m), whose power beside nuisance is (m,)."""
        z = np.concatenate([U.T @ y for U, y in zip(self.bases, data, strict=True)])
        for lost, y in zip(self.lost, data, strict=True):  # their amplitudes are not drawn around the mean
            power = np.maximum(power - ((lost.T @ y) ** 2).sum(0), 0)
        square = z**2
        rest = power - square.sum(0)
        best = np.full(len(power), -np.inf)
        for ratio in RATIOS:
            w = 1 / (1 + ratio * self.s**2)
            of_mean = (self.x * w) @ z
            left = rest + w @ square - of_mean**2 / ((self.x * w) @ self.x)
            # data that are all response leave nothing but rounding, whose logarithm says nothing
            left = np.maximum(left, 1e-12 * power)
            with np.errstate(divide="ignore"):
                best = np.maximum(best, -(self.n * np.log(left) + np.log1p(ratio * self.s**2).sum()) / 2)
        return best


def choose_response(
    library: Sequence[Likelihood], models: Sequence[RunModel], data: Sequence[np.ndarray]
) -> np.ndarray:
    """(m,) each voxel's likeliest response, as a place in the library; the first where all is nuisance."""
    power = np.zeros(data[0].shape[1])
    for model, y in zip(models, data, strict=True):
        centred = y - y.mean(0)  # the power left by nuisance is a small difference of large numbers otherwise
        power += ((centred - model.nuisance @ (model.nuisance.T @ centred)) ** 2).sum(0)
    return np.argmax([one(data, power) for one in library], axis=0)
