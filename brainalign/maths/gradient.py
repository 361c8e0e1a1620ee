"""Do values rise along an axis, where neighbours have like values?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import helmert
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from brainalign.errors import InputError, SettingsError
from brainalign.maths.inference import LEVEL
from brainalign.maths.rearrange import labelled
from brainalign.maths.scores import centre_within

LENGTH_MM = 30.0  # over which two places' weight falls to 1/e
SIGNS_TOGETHER = 2_000_000  # of some flips: 16 MB
ROUNDING = 1e-9  # of a correlation: as high


@dataclass(frozen=True)
class Gradient:
    """How values go with an axis within groups, and whether that could be chance.

    Parameters
    ----------
    r : float
        Correlation of ranks within groups; NaN where either does not vary.
    slope : float
        Units of the values per unit of the axis, least squares within groups.
    low, high : float
        95 % interval of r.
    p, p_floor : float
        Two-sided, and the least it can be.
    """

    r: float
    slope: float
    low: float
    high: float
    p: float
    p_floor: float


def gradient(
    values: np.ndarray,
    along: np.ndarray,
    places: np.ndarray,
    group: np.ndarray | None = None,
    n: int = 10_000,
    seed: int = 0,
) -> Gradient:
    """Do values rise along an axis within groups? Compared with maps whose patterns came with other signs.

    r is Spearman's within groups: values and axis are ranked within each group, ranks are divided by the group's size
    and centred, and all groups together have one Pearson correlation. Of one group it is Spearman's.

    Parameters
    ----------
    values, along : array (n_places,)
    places : array (n_places, 3)
        In mm. They are compared within groups only, so each group may have a frame of its own.
    group : array (n_places,), optional
        Whose each place is.
    n : int
        Flips; all patterns of signs where there are no more than n, and p is exact.
    seed : int

    Raises
    ------
    InputError
        Shapes that do not agree, or a number that is not finite.
    SettingsError
        Fewer than one flip.

    Notes
    -----
    Two smooth maps correlate by chance far more than independent values do. Moran spectral randomisation (Wagner & Dray
    2015, https://doi.org/10.1111/2041-210X.12407; their singleton procedure) keeps the smoothness: each group's map is
    a sum of orthogonal patterns, from smooth to rough, the eigenvectors v of HWH with w = exp(−mm / 30) and H centring.
    Where w is the maps' autocovariance, whatever its scale and however much noise is added, the coefficients vᵀy are
    uncorrelated, and each might as well have had the other sign. With x and y of length 1, r is Σ (vᵀx)(vᵀy), and that
    of a flipped map Σ s (vᵀx)(vᵀy), s = ±1. How large coefficients are is the maps' own. Only the patterns are
    assumed, and they hardly depend on how far autocorrelation reaches: false positives are .042 to .058 for reaches of
    0 to 40 mm and other shapes (`brainalign.encoding.gradient`). Inverse distances as w give up to .068 there, and .081
    with a Gaussian of 50 mm.

    What it costs: an axis that is smooth itself has few patterns, and of few signs p cannot be small. Where the axis is
    one of the patterns, p is that of groups flipped as wholes. Surrogates that match variograms (Burt et al. 2020) come
    out too smooth with so few places: false positives of .001 to .014, and power .56 where flips have .81.

    p = (1 + #{|r flipped| ≥ |r|}) / (1 + n), or the share of all patterns of signs. The interval holds every ρ for
    which y − ρx has p > .05, by the same flips; it covers .94 to .97 at r = .3 (500 studies each), .99 at r = .7.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> places = rng.uniform(0, 60, (80, 3))
    >>> layer = places[:, 0] / 10 + rng.standard_normal(80)
    >>> found = gradient(layer, places[:, 0], places, np.repeat([1, 2], 40), n=999)
    >>> round(found.slope, 1), found.low > 0, found.p
    (0.1, True, 0.001)
    """
    values, along, places = (np.asarray(one, float) for one in (values, along, places))
    if n < 1:
        raise SettingsError(f"signs are flipped at least once; found n={n}")
    if values.ndim != 1 or along.shape != values.shape or places.shape != (len(values), 3):
        raise InputError(
            "values and along are (places,), and places (places, 3); found shapes "
            f"{values.shape}, {along.shape} and {places.shape}"
        )
    if not all(np.isfinite(one).all() for one in (values, along, places)):
        raise InputError("values, along or places hold a number that is not finite: leave such places out")
    labels = labelled(group, len(values))
    y, x = _ranks(values, labels), _ranks(along, labels)
    if not (y.any() and x.any()):
        return Gradient(*[float("nan")] * 6)
    r = float(x @ y / np.sqrt((x @ x) * (y @ y)))
    rise, axis = centre_within(np.stack([values, along], axis=1), labels).T
    ranks = np.stack([x, y], axis=1)
    parts = [_coefficients(places[labels == k], ranks[labels == k]) for k in np.unique(labels)]
    return Gradient(r, float(axis @ rise / (axis @ axis)), *_flipped(np.concatenate(parts), n, seed))


def _ranks(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Each group's ranks over its size, from −.5 to .5; exactly 0 where it does not vary."""
    out = np.empty(len(values))
    for k in np.unique(labels):
        at = labels == k
        out[at] = (rankdata(values[at]) - (at.sum() + 1) / 2) / at.sum()
    return out


def _coefficients(places: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(n − 1, k) of centred values (n, k), how much of each of the map's patterns is in them."""
    contrasts = helmert(len(places))
    _, patterns = np.linalg.eigh(contrasts @ np.exp(-cdist(places, places) / LENGTH_MM) @ contrasts.T)
    return patterns.T @ contrasts @ values


def _flipped(coefficients: np.ndarray, n: int, seed: int) -> tuple[float, float, float, float]:
    """Interval of r, p and its floor, from coefficients (k, 2) of axis and values whose signs might be others."""
    x, y = (coefficients / np.linalg.norm(coefficients, axis=0)).T
    terms = np.stack([x * y, x**2], axis=1)
    exact = 2 ** len(x) <= n
    drawn = _all_signs(len(x)) if exact else _random_signs(len(x), n, seed)
    r, (null, kept) = terms[:, 0].sum(), np.concatenate([signs @ terms for signs in drawn]).T
    extra = 0 if exact else 1  # of all patterns the observed one is one
    total = extra + len(null)
    p = (extra + np.count_nonzero(abs(null) >= abs(r) - ROUNDING)) / total
    # |null − ρ kept| ≥ |r − ρ| between two ρ, one on either side of r
    bounds = np.stack([_ratio(r - null, 1 - kept), _ratio(r + null, 1 + kept)])
    everywhere = np.isnan(bounds).any(0)
    lower, upper = np.where(everywhere, -np.inf, bounds.min(0)), np.where(everywhere, np.inf, bounds.max(0))
    at = (100 - LEVEL) * total // 100 - extra  # so many more flips are needed for p > .05
    if at < 0:
        return -1.0, 1.0, float(p), 1 / total
    low, high = np.clip([np.sort(lower)[at], -np.sort(-upper)[at]], -1, 1)
    return float(low), float(high), float(p), 2 / total if exact else 1 / total


def _ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """NaN where nothing of the axis was flipped, or all of it."""
    return np.divide(over, under, out=np.full(len(over), np.nan), where=under > ROUNDING)


def _all_signs(k: int) -> Iterator[np.ndarray]:
    yield 1.0 - 2.0 * ((np.arange(2**k)[:, None] >> np.arange(k)) & 1)


def _random_signs(k: int, n: int, seed: int) -> Iterator[np.ndarray]:
    """(n, k) in all, some flips at a time."""
    rng = np.random.default_rng(seed)
    step = max(1, SIGNS_TOGETHER // k)
    for start in range(0, n, step):
        yield 1.0 - 2.0 * rng.integers(0, 2, (min(step, n - start), k))
