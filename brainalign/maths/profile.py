"""Where along an axis does a profile of scores lie: at which layer, at which lag?"""

from __future__ import annotations

import numpy as np

from brainalign.errors import InputError


def centre_of_mass(weights: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The mean place, each place weighted by the positive part of its score: Σ place·w / Σ w, w = max(0, weight).

    The centre of gravity of a layer profile (Tenney et al. 2019), of held-out scores.

    Parameters
    ----------
    weights : array (k, ..)
        What each place scores, a baseline subtracted where there is one. Negative and NaN count as nothing.
    places : array (k,)
        Layers, lags (s), windows; in any order.

    Returns
    -------
    array (..)
        In the unit of the places; NaN where no weight is above zero.

    Raises
    ------
    InputError
        Not a weight per place, or a place that is no finite number.

    Examples
    --------
    >>> centre_of_mass(np.array([[0.0, -0.1], [0.2, 0.0], [0.2, -0.3]]), np.array([0, 4, 8]))
    array([ 6., nan])
    """
    weights, places = _checked(weights, places)
    w = np.where(weights > 0, weights, 0.0)
    total = w.sum(0)
    return np.divide(np.tensordot(places, w, axes=1), total, out=np.full(total.shape, np.nan), where=total > 0)


def peak(profile: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The place of the highest score, the first of several; a NaN is no score, and where all are NaN so is the place.

    Parameters
    ----------
    profile : array (k, ..)
    places : array (k,)

    Raises
    ------
    InputError
        As for `centre_of_mass`.

    Examples
    --------
    >>> peak(np.array([[0.1, np.nan], [0.3, np.nan], [0.2, np.nan]]), np.array([-0.2, 0.0, 0.2]))
    array([ 0., nan])
    """
    profile, places = _checked(profile, places)
    seen = ~np.isnan(profile)
    return np.where(seen.any(0), places[np.where(seen, profile, -np.inf).argmax(0)], np.nan)


def _checked(profile: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    profile, places = np.asarray(profile, float), np.asarray(places, float)
    if places.ndim != 1 or not len(places) or profile.shape[:1] != places.shape:
        raise InputError(
            f"a profile has a row per place; found a profile of shape {profile.shape}, places of shape {places.shape}"
        )
    if not np.isfinite(places).all():
        raise InputError(f"places are finite numbers; found {places.tolist()}")
    return profile, places
