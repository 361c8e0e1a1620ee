"""Does it hold over people? Signs flipped, people drawn again, and what each of them has."""

from __future__ import annotations

import numpy as np

from brainalign.maths.inference import LEVEL, Interval, interval
from brainalign.maths.rearrange import labelled

EXACT_PEOPLE = 17  # up to so many, every pattern of signs is tried (131,072)


def sign_flip(x: np.ndarray, n: int = 10_000, seed: int = 0) -> np.ndarray:
    """One-sided p of a mean above zero over people: each one's sign could as well have been the other.

    Parameters
    ----------
    x : array (n_people,) or (n_people, n_targets)
        A person who is NaN does not count; p is NaN where all are.
    n : int
        Random patterns of signs, where there are more than 17 people; up to 17 all patterns are tried and p is exact.

    Examples
    --------
    >>> float(sign_flip(np.array([1.0, 2.0, 3.0])))
    0.125
    """
    x = np.asarray(x, float)
    people = len(x)
    if people <= EXACT_PEOPLE:
        signs = 1.0 - 2.0 * ((np.arange(2**people)[:, None] >> np.arange(people)) & 1)
        extra = 0  # the observed pattern is one of them
    else:
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(n, people))
        extra = 1
    there = ~np.isnan(x)
    known = np.where(there, x, 0.0)  # nothing to flip: it adds to no sum
    null, observed = signs @ known, known.sum(0)
    slack = 1e-12 * np.abs(known).sum(0)  # equal up to rounding is as high
    p = (extra + (null >= observed - slack).sum(0)) / (extra + len(signs))
    return np.where(there.any(0), p, np.nan)


def bootstrap_mean(x: np.ndarray, n: int = 1000, seed: int = 0) -> Interval:
    """Interval of a mean over people, people resampled: the studentised bootstrap (Efron 1981; Hesterberg 2015).

    Every resample's distance from the mean is divided by that resample's own standard error. Percentiles of the means
    themselves cover too little: .92 with 20 people, .90 with 20 from an exponential distribution, instead of .95 and
    .94. Up to three people, or where a sizeable share of resamples hold one value only, they are all there is, and
    far too narrow.

    Parameters
    ----------
    x : array (n_people,) or (n_people, n_targets)
        NaN: not drawn from.
    n : int
        Resamples.
    seed : int

    Returns
    -------
    Interval
        Of shape () or (n_targets,).

    Examples
    --------
    >>> span = bootstrap_mean(np.arange(20.0))
    >>> bool(span.low < 9.5 < span.high)
    True
    """
    x = np.asarray(x, float)
    flat = x.reshape(len(x), -1)
    return _studentised(flat, flat, _drawn_people(len(x), n, np.random.default_rng(seed)), x.shape[1:])


def bootstrap_nested(x: np.ndarray, group: np.ndarray, n: int = 1000, seed: int = 0) -> Interval:
    """Interval of a mean over people who contribute unequal numbers: people are drawn, then what each of them has.

    The mean is that of the people's own means, so that whoever has most electrodes does not outweigh the others. To
    draw electrodes alone would treat a patient's many as so many patients. Studentised as in `bootstrap_mean`, by the
    spread of the people drawn, which also holds what drawing their electrodes adds.

    Parameters
    ----------
    x : array (m,) or (m, n_targets)
        A value of each electrode; NaN: not drawn from.
    group : array (m,)
        Whose it is.
    n : int
        Resamples.
    seed : int

    Returns
    -------
    Interval
        Of shape () or (n_targets,).

    Raises
    ------
    InputError
        Not one label for each value.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> patient = np.repeat(np.arange(12), 5)
    >>> span = bootstrap_nested(1 + rng.standard_normal(12)[patient] + rng.standard_normal(60), patient)
    >>> bool(span.low < 1 < span.high)
    True
    """
    x = np.asarray(x, float)
    labels = labelled(group, len(x))
    flat = x.reshape(len(x), -1)
    rng = np.random.default_rng(seed)
    people = labels.max() + 1
    drawn, own = np.empty((n, people, flat.shape[1])), np.empty((people, flat.shape[1]))
    for k in range(people):  # each person's mean, electrodes drawn anew in every resample
        mine = flat[labels == k]
        own[k] = _known_mean(mine)
        drawn[:, k] = _known_mean(mine[rng.integers(0, len(mine), (n, len(mine)))])
    return _studentised(own, drawn, _drawn_people(people, n, rng), x.shape[1:])


def _drawn_people(people: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, people) how often each is drawn."""
    return rng.multinomial(people, np.full(people, 1 / people), size=n).astype(float)


def _known_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the axis before the last of what is not NaN; NaN where all are."""
    there = ~np.isnan(values)
    return np.where(there, values, 0).sum(-2) / np.where(there.any(-2), there.sum(-2), np.nan)


def _studentised(own: np.ndarray, drawn: np.ndarray, counts: np.ndarray, shape: tuple[int, ...]) -> Interval:
    """Interval of the mean of `own` (k, t) from counts (n, k) of `drawn`, (k, t) or (n, k, t).

    Where a bound would be infinite (a share of the resamples holds one value only), percentiles of the means.
    """
    middle = _known_mean(own)
    _, se = _mean_and_error(own - middle, np.ones((1, len(own))))
    mean, error = _mean_and_error(drawn - middle, counts)  # less the mean: squares then keep their digits
    plain = interval((mean + middle).reshape(len(counts), *shape))
    flat = error <= 1e-9 * se
    far = np.divide(mean, error, out=np.copysign(np.inf, mean), where=~flat & (error > 0))
    far[mean == 0] = 0.0
    tail = (100 - LEVEL) / 2
    # at a rank, not between two: the outermost may be infinite
    below, above = np.nanpercentile(np.where(np.isnan(mean), 0.0, far), [100 - tail, tail], axis=0, method="nearest")
    with np.errstate(invalid="ignore"):
        low, high = ((middle - q * se[0]).reshape(shape) for q in (below, above))
    usable = np.isfinite(low) & np.isfinite(high)
    return Interval(np.where(usable, low, plain.low), np.where(usable, high, plain.high), plain.se)


def _mean_and_error(values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, t) mean and standard error of what was drawn; NaN where nothing was, error 0 where one value was."""
    there = ~np.isnan(values)
    known = np.where(there, values, 0.0)
    number, total, squares = ((counts[:, None] @ v)[:, 0] for v in (there.astype(float), known, known**2))
    size = np.where(number > 0, number, np.nan)
    mean = total / size
    spread = np.maximum(squares / size - mean**2, 0.0)
    return mean, np.sqrt(spread / np.maximum(size - 1, 1))
