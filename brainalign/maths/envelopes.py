"""How strong is each band of frequencies, moment by moment, in a recording of any length?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np

from brainalign.errors import SettingsError
from brainalign.maths.bands import LEAST, Band
from brainalign.maths.causal import CausalPlan, causal_plan
from brainalign.maths.line_noise import check_line
from brainalign.maths.slices import WindowPlan, window_plan

Blocks = Callable[[], Iterable[np.ndarray]]
"""Called, a run from its beginning: arrays (m, channels), volts; NaN where a sample is not to be used."""

Plan = WindowPlan | CausalPlan
"""How a band is computed; made by `envelope_plan`."""


def n_outputs(n_samples: int, fs: float, rate: float) -> int:
    """How many outputs a run has: at 0, 1/rate, … up to the time of its last sample.

    Examples
    --------
    >>> n_outputs(2000, 2000.0, 100.0), n_outputs(2001, 2000.0, 100.0)
    (100, 101)
    """
    return ceil(n_samples * Fraction(rate) / Fraction(fs))


def envelope_plan(band: Band, fs: float, rate: float, *, line_hz: float | None = None) -> Plan:
    """Decide how a band is computed: which bins, which windows, at which rates, or which filters.

    Parameters
    ----------
    band : Band
    fs : float
        Samples per second of the recording, Hz.
    rate : float
        Samples per second of what comes out, Hz; any up to `fs`, not only whole parts of it.
    line_hz : float, optional
        Line noise, which is removed with its harmonics; see `notches`.

    Returns
    -------
    Plan
        For `envelopes`; `reach_s` and `delay_s` say how far and how late.

    Raises
    ------
    SettingsError
        A band the recording does not have, a rate above its own.

    Examples
    --------
    >>> from brainalign.maths.bands import high_gamma
    >>> plan = envelope_plan(high_gamma(), 2000.0, 100.0, line_hz=50.0)
    >>> len(plan.slices), round(plan.window / plan.fs), round(plan.points / plan.window * plan.fs)
    (8, 8, 169)
    """
    if not 0 < rate <= fs:
        raise SettingsError(f"a recording of {fs:g} samples per second has none at {rate:g}: ask for {fs:g} or less")
    top = band.high if band.envelope or np.isfinite(band.high) else band.low
    if not band.envelope and rate < fs and band.low >= 0.35 * rate:
        raise SettingsError(
            f"voltage above {band.low:g} Hz is not in {rate:g} samples per second: ask for {3 * band.low:g} or more"
        )
    if not top < fs / 2:
        raise SettingsError(
            f"{band.low:g} to {band.high:g} Hz is not in {fs:g} samples per second, which end at {fs / 2:g} Hz: "
            "choose a lower band"
        )
    line = check_line(line_hz, fs)
    return (causal_plan if band.causal else window_plan)(band, fs, rate, line)


@dataclass(frozen=True, eq=False)
class Scale:
    """What each sub-band is over a run, within the samples that nothing touches.

    mean, sd : (n_sub, channels) float64
    """

    mean: np.ndarray
    sd: np.ndarray

    def parts(self, band: Band) -> tuple[np.ndarray, np.ndarray]:
        """What each sub-band is less, and times what, so that their sum is relative; NaN for one that is nothing."""
        less = self.mean if band.log or band.relative == "z" else np.zeros_like(self.mean)
        with np.errstate(divide="ignore", invalid="ignore"):
            something = 1.0 * (self.mean > np.log(LEAST) + 1e-3)
            by = self.sd if band.relative == "z" else something if band.log else self.mean
            return less, np.where(by > 0, 1 / by, np.nan) / len(by)


def run_scale(blocks: Iterable[np.ndarray], plan: Plan) -> Scale:
    """One pass over a run for the mean and the standard deviation of each of its sub-bands.

    Parameters
    ----------
    blocks : iterable of arrays (m, channels)
    plan : Plan

    Returns
    -------
    Scale
        NaN for a channel none of whose samples are untouched.
    """
    count: np.ndarray | float = 0.0
    total, square, offset = (np.zeros(()),) * 3
    for values, touched in plan.pieces(blocks):
        if not values.shape[1]:
            continue
        good = np.ones(values.shape[1:]) if touched is None else (~touched).astype(float)
        if not offset.ndim:
            offset = values.mean(axis=1, dtype=float)  # so that squares do not swallow small differences
        apart = values - offset[:, None]
        count = count + good.sum(axis=0)
        total = total + np.einsum("skc,kc->sc", apart, good)
        square = square + np.einsum("skc,skc,kc->sc", apart, apart, good)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        return Scale(mean + offset, np.sqrt(np.maximum(square / count - mean**2, 0)))


def envelopes(blocks: Blocks, plan: Plan) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Carry out a plan for one run, in memory that does not depend on how long it is.

    With a band that is relative to its run, the run is gone through twice. Missing samples (NaN) are bridged by a
    straight line; output samples that rest on them are finite, and said to be touched. Before its beginning and
    behind its end a run goes on as its mirror image, of which the outputs within `plan.reach_s` of the ends rest too.
    A causal band holds the last good sample instead, takes the first to have been there for ever, and says that what
    rests on either is touched; where it is relative, it is so to what was untouched so far.

    Parameters
    ----------
    blocks : function → iterable of arrays (m, channels)
        The run from its beginning, in blocks of any size; what comes out does not depend on it.
    plan : Plan
        By `envelope_plan`.

    Yields
    ------
    values : (k, channels) float32
        Those that follow: altogether `n_outputs`, the first at the time of the run's first sample, then every 1/rate s.
        Volts, volts² of power, or relative. NaN where a channel has nothing to be relative to; while a causal one has
        nothing yet, 1, or 0 of logarithms and z-scores.
    touched : (k, channels) bool, or None where nothing is

    Raises
    ------
    InputError
        A run without samples, or with blocks of different widths.

    Examples
    --------
    >>> from brainalign.maths.bands import band
    >>> t = np.arange(4000)[:, None] / 1000
    >>> tone = np.where(t < 2, 1.0, 3.0) * np.sin(2 * np.pi * 100 * t)
    >>> pieces = envelopes(lambda: [tone], envelope_plan(band(70, 150), 1000.0, 10.0))
    >>> np.concatenate([values for values, _ in pieces])[[5, 10, 30, 35], 0].round().tolist()
    [1.0, 1.0, 3.0, 3.0]
    """
    if plan.band.relative is None:
        for values, touched in plan.pieces(blocks()):
            yield values.mean(axis=0), touched
        return
    if plan.band.causal:
        yield from _relative_so_far(blocks(), plan)
        return
    less, gain = run_scale(blocks(), plan).parts(plan.band)
    offset = -(less * gain).sum(axis=0)
    for values, touched in plan.pieces(blocks()):
        yield (np.einsum("skc,sc->kc", values, gain.astype(np.float32)) + offset).astype(np.float32), touched


def _relative_so_far(blocks: Iterable[np.ndarray], plan: Plan) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Each sub-band relative to its untouched samples up to each; before there is one, as is usual."""
    band = plan.band
    usual = 0.0 if band.log or band.relative == "z" else 1.0
    count, total, square, offset = (np.zeros(()),) * 4
    for values, touched in plan.pieces(blocks):
        n_sub, k, channels = values.shape
        if not k:
            yield values[0], touched
            continue
        if not offset.ndim:
            count, total, square = np.zeros((1, channels)), *np.zeros((2, n_sub, 1, channels))
            offset = values[:, :1].astype(float)
        good = np.ones((k, channels)) if touched is None else (~touched).astype(float)
        apart = (values - offset) * good
        count, total, square = (
            np.cumsum(np.concatenate([before[..., -1:, :], new], axis=-2), axis=-2)[..., 1:, :]
            for before, new in ((count, good), (total, apart), (square, apart**2))
        )
        some = np.maximum(count, 1)
        scale = Scale(total / some + offset, np.sqrt(np.maximum(square / some - (total / some) ** 2, 0)))
        less, gain = scale.parts(band)
        made = (values - less) * gain
        made = np.nan_to_num(made) if band.relative == "z" else made  # the first one has no deviation
        yield np.where(count > 0, made.sum(axis=0), usual).astype(np.float32), touched
