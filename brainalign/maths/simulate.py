"""What would responses look like whose truth is known?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from brainalign.errors import SettingsError

PURE_NOISE = 0.2  # share of targets without any signal


@dataclass(frozen=True, eq=False)
class Simulated:
    """Features, responses, and what made them.

    X : (n_samples, n_features) float32, bands side by side, within a band the columns of delay 0, 1, …
    Y : (n_samples, n_targets) float32, variance 1
    bands : (n_features,) the band of each column
    share : (n_bands, n_targets) share of the explained variance that a band carries; 0 for pure noise
    ceiling : (n_targets,) variance of the signal, the R² a perfect model would reach; 0 for pure noise
    """

    X: np.ndarray
    Y: np.ndarray
    bands: np.ndarray
    share: np.ndarray
    ceiling: np.ndarray


def simulate_bands(
    n_samples: int,
    widths: Mapping[str, int],
    n_targets: int,
    *,
    delays: int = 1,
    related: float = 0.0,
    ar_features: float = 0.5,
    ar_noise: float = 0.5,
    pure_noise: float = PURE_NOISE,
    explained: tuple[float, float] = (0.05, 0.6),
    seed: int = 0,
) -> Simulated:
    """Simulate responses to several feature spaces that differ in width and in relevance.

    y = Σ_b √(ceiling · share_b) f_b + √(1 − ceiling) e with f_b = X_b w_b, w_b Gaussian, f_b and e of variance 1. The
    columns of a band have the power spectrum of embeddings (variance of the i-th principal component ∝ 1/i); features
    and noise follow AR(1) in time. Shares are Dirichlet around a relevance of each band that is itself drawn.

    Parameters
    ----------
    n_samples : int
    widths : mapping band → columns before delays
    n_targets : int
    delays : int
        Copies of each band, shifted by 0, 1, … samples.
    related : float
        How much of each band's variance is the band's before it, as in the layers of a network; 0 to <1.
    ar_features, ar_noise : float
        AR(1) coefficients.
    pure_noise : float
        Share of targets without signal, the last ones.
    explained : (low, high)
        Ceilings (R²) are uniform between these.
    seed : int

    Returns
    -------
    Simulated

    Raises
    ------
    SettingsError
        A share or coefficient out of its range.

    Examples
    --------
    >>> data = simulate_bands(200, {"rate": 1, "lm": 20}, 10, delays=3)
    >>> data.X.shape, data.Y.shape, [int(n) for n in (data.ceiling > 0).sum(keepdims=True)]
    ((200, 63), (200, 10), [8])
    >>> data.share[:, :8].sum(0).round(6).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    for name, value in {"related": related, "ar_features": ar_features, "ar_noise": ar_noise}.items():
        if not 0 <= value < 1:
            raise SettingsError(f"{name} is 0 or more and less than 1; found {value}")
    if not 0 <= pure_noise <= 1 or not 0 <= explained[0] <= explained[1] < 1:
        raise SettingsError(
            f"pure_noise is a share and explained two R² in order; found pure_noise={pure_noise}, explained={explained}"
        )
    rng = np.random.default_rng(seed)
    relevance = rng.dirichlet(np.full(len(widths), 1.0)) * len(widths)
    share = np.stack([rng.gamma(np.maximum(0.5 * r, 1e-3), size=n_targets) for r in relevance]) + 1e-12
    share /= share.sum(0)
    ceiling = rng.uniform(*explained, n_targets)
    if silent := round(pure_noise * n_targets):
        share[:, -silent:], ceiling[-silent:] = 0, 0
    Y = _ar(rng, ar_noise, (n_samples, n_targets)) * np.sqrt(1 - ceiling).astype(np.float32)
    X, before = [], None
    for width in widths.values():
        own = _ar(rng, ar_features, (n_samples + delays - 1, width))
        own *= (np.arange(1, width + 1) ** -0.5).astype(np.float32)
        own = own @ np.linalg.qr(rng.standard_normal((width, width)))[0].astype(np.float32)
        if related and before is not None:
            k = min(before.shape[1], width)
            own *= np.float32(np.sqrt(1 - related))
            own[:, :k] += np.float32(np.sqrt(related)) * before[:, :k]
        before = own
        band = np.hstack([own[delays - 1 - d : len(own) - d] for d in range(delays)])
        f = band @ rng.standard_normal((band.shape[1], n_targets), np.float32)
        f *= np.sqrt(ceiling * share[len(X)]).astype(np.float32) / f.std(0)
        Y += f
        X.append(band)
    labels = np.repeat(list(widths), [len(band.T) for band in X])
    return Simulated(np.hstack(X), Y, labels, share, ceiling)


def _ar(rng: np.random.Generator, coefficient: float, shape: tuple[int, int]) -> np.ndarray:
    """AR(1) series of variance 1, begun in its stationary distribution."""
    noise = rng.standard_normal(shape, np.float32)
    noise[1:] *= np.float32(np.sqrt(1 - coefficient**2))
    return np.asarray(lfilter([1.0], [1.0, -coefficient], noise, axis=0), np.float32)
