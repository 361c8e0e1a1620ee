"""Which channels and which samples of a recording are no signal of a brain, and how can one tell?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from brainalign.maths.line_noise import check_line
from brainalign.maths.overlap import fill, near, windows

OF_A_SECOND = 250  # samples that its median and deviation are taken from
FLAT_S = 0.05  # a value that does not change for so long is no measurement
MAD = 1.4826  # standard deviations of a Gaussian in a median absolute deviation
HARMONICS = 4  # of line noise, the first included
BESIDE_HZ = 5.0  # from line noise to where the signal itself is measured
FEW = 4  # channels with fewer others are compared with none
FAR = np.finfo(float).max  # what is finite is no farther
OFTEN = 4  # seconds in which an extreme is stayed at: fewer are the tip of a slow wave in coarse steps


@dataclass(frozen=True, eq=False)
class Survey:
    """What one pass over a run says about each channel.

    n_samples : int
    fs : float, Hz
    levels : (seconds, channels) float32, the median of each second, V
    amplitude : (channels,) the median over seconds of 1.48 · MAD within the second, V: the usual standard deviation
    step : (channels,) the median over seconds of the median |x[i] − x[i − 1]| within the second, V
    missing, flat, clipped : (channels,) shares of the run: not finite; not changing for 50 ms; at a value that is never
        passed, and returned to
    low, high : (channels,) such values, V; NaN where there are none
    line : (channels,) root mean square of line noise and three harmonics above what lies beside them, V; NaN unless
        its frequency was given
    line_share : (channels,) its share of the power within seconds
    """

    n_samples: int
    fs: float
    levels: np.ndarray
    amplitude: np.ndarray
    step: np.ndarray
    missing: np.ndarray
    flat: np.ndarray
    clipped: np.ndarray
    low: np.ndarray
    high: np.ndarray
    line: np.ndarray
    line_share: np.ndarray


@dataclass(frozen=True)
class Limits:
    """From where on a channel or a sample is bad.

    Wider than what is usual for averages of many trials (robust z-scores of 5 between channels in PREP, 3 to 5 standard
    deviations for samples): a sample that is bad in one electrode is lost for all, and what an epileptic brain does
    between seizures is its own. At 5 standard deviations and 10 steps a quarter of a clean simulated run of 64
    channels would go, at 10 and 20 it is 0.1 %; docs/ideas/high-gamma.md has the figures.

    Channels:

    missing, flat, clipped : shares of the run
    loud, quiet, restless : multiples of the other channels' median amplitude, and step
    line, line_share : a multiple of the other channels' median line noise, which is also such a share of the power

    Samples:

    peak : distance from the level of its second, in the channel's usual standard deviations
    jump : distance from the sample before, in the channel's usual steps
    guard_s : how far around it others are bad too, s
    together : where such a share of channels is bad, all are
    """

    missing: float = 0.5
    flat: float = 0.5
    clipped: float = 0.05
    loud: float = 6.0
    quiet: float = 0.05
    restless: float = 10.0
    line: float = 10.0
    line_share: float = 0.2
    peak: float = 10.0
    jump: float = 20.0
    guard_s: float = 0.05
    together: float = 0.3


def survey(blocks: Iterable[np.ndarray], fs: float, *, line_hz: float | None = None) -> Survey:
    """Go through a run once and say what each of its channels is like, second by second.

    Parameters
    ----------
    blocks : iterable of arrays (m, channels)
        V; NaN where a sample is missing.
    fs : float
        Hz.
    line_hz : float, optional
        Where line noise is to be looked for.

    Returns
    -------
    Survey
        A few numbers per channel and second are kept, the samples are not.

    Raises
    ------
    InputError
        A run without samples.

    Examples
    --------
    >>> t = np.arange(3000)[:, None] / 1000
    >>> hum = 1e-5 * np.sin(2 * np.pi * np.array([50, 7.3]) * t)
    >>> found = survey([hum], 1000.0, line_hz=50.0)
    >>> found.line_share.round(2).tolist(), (found.line * 1e6).round(1).tolist()
    ([1.0, 0.0], [7.1, 0.0])
    """
    line = check_line(line_hz, fs)
    second = max(2, round(fs))
    kept: list[tuple[np.ndarray, ...]] = []  # of each second
    n, counted = 0, 0.0
    extremes: _Extremes | None = None
    waves: np.ndarray | None = None
    for window, size, _ in windows(blocks, second, 0):
        values, missing = fill(window[:size])
        gone = np.zeros(values.shape[1]) if missing is None else missing.sum(axis=0)
        extremes = _Extremes(values.shape[1]) if extremes is None else extremes
        extremes.add(values if missing is None else np.where(missing, np.nan, values))
        if size < second / 2 and kept:  # the rest of a second is no second
            n += size
            counted = counted + gone
            continue
        every = max(1, size // OF_A_SECOND)
        some, after = values[::every], values[1::every]
        level, steps = np.median(some, axis=0), np.abs(after - some[: len(after)])
        if waves is None or waves.shape[1] != size:
            waves = _waves(size, fs, line)
        power, hum = _powers(values, waves)
        known = np.where(gone > size / 2, np.nan, 1.0)  # a bridge is no signal
        kept.append(
            (
                level,
                known * MAD * np.median(np.abs(some - level), axis=0),
                known * np.median(steps, axis=0) if len(steps) else np.zeros(values.shape[1]),
                _flat_share(values if missing is None else np.where(missing, np.nan, values), fs) * size,
                known * power,
                known * hum,
            )
        )
        n, counted = n + size, counted + gone
    assert extremes is not None
    levels, amplitudes, steps, flats, powers, hums = (np.stack(each) for each in zip(*kept, strict=True))
    total, hum = _over_seconds(np.mean, powers), np.maximum(_over_seconds(np.mean, hums), 0)
    hum = hum if line else np.full_like(hum, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(total > 0, np.minimum(1, hum / total), 0.0 * hum)
    return Survey(
        n_samples=n,
        fs=fs,
        levels=levels.astype(np.float32),
        amplitude=_over_seconds(np.median, amplitudes),
        step=_over_seconds(np.median, steps),
        missing=np.asarray(counted) / n,
        flat=flats.sum(axis=0) / n,
        clipped=extremes.share(n),
        low=extremes.clips()[0],
        high=extremes.clips()[1],
        line=np.sqrt(hum),
        line_share=share,
    )


def _over_seconds(middle: Callable[..., np.ndarray], values: np.ndarray) -> np.ndarray:
    """The mean or median over the seconds that are known, 0 where none is."""
    known = np.isfinite(values)
    if known.all():
        return middle(values, axis=0)
    return np.array([middle(one[there]) if there.any() else 0.0 for one, there in zip(values.T, known.T, strict=True)])


class _Extremes:
    """The lowest and the highest value so far, for how many samples a channel stayed there, and in how many seconds.

    sides : (2, channels) of −x and x
    """

    def __init__(self, channels: int) -> None:
        self.sides = np.full((2, channels), -np.inf)
        self.samples, self.seconds = np.zeros((2, 2, channels))

    def add(self, values: np.ndarray) -> None:
        """One more second."""
        known = np.isfinite(values)
        for side, towards in enumerate((-values, values)):
            top = np.where(known, towards, -np.inf).max(axis=0)
            stays = _stays(towards, top)
            for held, new in ((self.samples, stays.sum(axis=0)), (self.seconds, stays.any(axis=0))):
                held[side] = np.where(top > self.sides[side], 0, held[side]) + (top >= self.sides[side]) * new
            self.sides[side] = np.maximum(top, self.sides[side])

    def clips(self) -> np.ndarray:
        """(2, channels) the lowest and the highest value, NaN where it is no clip."""
        clips = (self.seconds >= OFTEN) & (self.sides[1] > -self.sides[0])
        return np.where(clips, self.sides, np.nan) * [[-1], [1]]

    def share(self, n: int) -> np.ndarray:
        return np.where(np.isfinite(self.clips()), self.samples, 0).sum(axis=0) / n


def _stays(values: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Whether a sample and the one before are both there."""
    at = values == level
    return at[1:] & at[:-1]


def _flat_share(values: np.ndarray, fs: float) -> np.ndarray:
    """Share of stretches of 50 ms within which nothing changes."""
    stretch = max(2, round(FLAT_S * fs))
    whole = values[: len(values) // stretch * stretch].reshape(-1, stretch, values.shape[1])
    return (whole == whole[:, :1]).all(axis=1).mean(axis=0) if len(whole) else np.zeros(values.shape[1])


def _waves(n: int, fs: float, line: float | None) -> np.ndarray:
    """(6 h, n) cosines, then sines, at h harmonics of line noise, below each, above each; their squares are V²."""
    at = line * np.arange(1, HARMONICS + 1) if line else np.zeros(0)
    at = at[at + BESIDE_HZ < fs / 2]
    hz = np.concatenate([at, at - BESIDE_HZ, at + BESIDE_HZ])
    phase = 2 * np.pi * hz[:, None] * np.arange(n) / fs
    taper = _taper(n)
    return np.sqrt(2) / taper.sum() * np.concatenate([np.cos(phase), np.sin(phase)]) * taper


def _taper(n: int) -> np.ndarray:
    return np.hanning(n + 2)[1:-1]


def _powers(values: np.ndarray, waves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean square about the mean, and of it line noise above what lies beside it: V², in a Hann window."""
    apart, weights = values - values.mean(axis=0), _taper(len(values)) ** 2
    power = np.einsum("tc,tc,t->c", apart, apart, weights) / weights.sum()
    if not len(waves):
        return power, np.full(len(power), np.nan)
    there, *beside = np.square(waves @ apart).reshape(2, 3, -1, values.shape[1]).sum(axis=0)
    return power, (there - np.mean(beside, axis=0)).sum(axis=0)


def bad_channels(found: Survey, limits: Limits = Limits()) -> list[str]:
    """Judge channels by a survey.

    Parameters
    ----------
    found : Survey
    limits : Limits

    Returns
    -------
    list of str
        For each channel why it is bad, all reasons in one; "" for a good one.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal((4000, 6))
    >>> noise[:, 1] = 0
    >>> noise[:, 4] = 9 * noise[:, 3]
    >>> bad_channels(survey([noise], 1000.0))
    ['', 'flat for 100 % of the run', '', '', 'amplitude 9.6 × the median of the other channels', '']
    """
    reasons: list[list[str]] = [[] for _ in found.amplitude]
    for share, limit, said in (
        (found.missing, limits.missing, "not recorded"),
        (found.flat, limits.flat, "flat"),
        (found.clipped, limits.clipped, "clipped"),
    ):
        for channel in np.flatnonzero(share > limit):
            reasons[channel].append(f"{said} for {100 * share[channel]:.0f} % of the run")
    good = np.array([not each for each in reasons])
    hums = good & (found.line_share > limits.line_share)
    for values, asked, low, high, said in (
        (found.amplitude, good, limits.quiet, limits.loud, "amplitude"),
        (found.step, good, 0.0, limits.restless, "steps"),
        (found.line, hums, 0.0, limits.line, "line noise"),
    ):
        for channel in np.flatnonzero(asked):
            others = values[good & (np.arange(len(good)) != channel)]
            usual = np.median(others) if len(others) >= FEW else 0
            times = values[channel] / usual if usual > 0 else 1
            if not low <= times <= high:
                reasons[channel].append(f"{said} {times:.{1 if times > 1 else 3}f} × the median of the other channels")
    return ["; ".join(each) for each in reasons]


def mark(
    blocks: Iterable[np.ndarray],
    found: Survey,
    limits: Limits = Limits(),
    *,
    bad: Iterable[int] = (),
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Go through a run again and mark the samples that are no signal: nothing is changed, and nothing interpolated.

    Parameters
    ----------
    blocks : iterable of arrays (m, channels)
        The run that was surveyed.
    found : Survey
    limits : Limits
    bad : iterable of int
        Channels that have no say in whether a sample is bad for all.

    Yields
    ------
    values : (m, channels) float64
        As they were, a second at a time.
    marked : (m, channels) bool
        Not finite, far from the level of its second, far from the sample before, flat for 50 ms, or clipped; and what
        is within `guard_s` of these.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal((2000, 1))
    >>> noise[1500] = 99
    >>> (_, first), (_, second) = mark([noise], survey([noise], 1000.0))
    >>> int(first.sum()), np.flatnonzero(second)[[0, -1]].tolist()
    (0, [449, 551])
    """
    second = max(2, round(found.fs))
    stretch, guard = max(2, round(FLAT_S * found.fs)), round(limits.guard_s * found.fs)
    pad = stretch + guard + 1
    counts = np.setdiff1d(np.arange(len(found.amplitude)), list(bad))
    peak, jump = limits.peak * found.amplitude, limits.jump * found.step
    clips = np.flatnonzero(found.clipped > 0)
    freezes = np.flatnonzero(found.flat > 0)
    for k, (window, size, _) in enumerate(windows(blocks, second + 2 * pad, pad)):
        level = found.levels[min(k, len(found.levels) - 1)]
        with np.errstate(invalid="ignore"):
            marked = ~(np.abs(window - level) <= np.where(peak > 0, peak, FAR))
            leaps = np.abs(np.diff(window, axis=0)) > np.where(jump > 0, jump, FAR)
        marked[1:] |= leaps
        marked[:-1] |= leaps
        for extreme in (found.low, found.high):
            stays = _stays(window[:, clips], extreme[clips])
            marked[1:, clips] |= stays
            marked[:-1, clips] |= stays
        marked[:, freezes] |= _frozen(window[:, freezes], stretch)
        if guard and marked.any():
            at = np.arange(len(window))
            marked = near(marked, at - guard, at + guard)
        values, marked = window[pad : pad + size], marked[pad : pad + size]
        if len(counts):
            marked = marked | (marked[:, counts].mean(axis=1) >= limits.together)[:, None]
        yield values, marked


def _frozen(window: np.ndarray, stretch: int) -> np.ndarray:
    """Whether a sample is one of at least `stretch` equal ones."""
    moves = np.concatenate([np.ones((1, window.shape[1]), bool), np.diff(window, axis=0) != 0])
    at = np.arange(len(window) - stretch + 1)
    begins = np.zeros(window.shape, bool)
    begins[: len(at)] = ~near(moves, at + 1, at + stretch - 1)
    every = np.arange(len(window))
    return near(begins, every - stretch + 1, every)
