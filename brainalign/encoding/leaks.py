"""Do the folds let the answer through? What a band that knows nothing scores, and what can be read off the design."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import erf
from typing import Any

import numpy as np
import pandas as pd

from brainalign.encoding.ceilings import none
from brainalign.encoding.chance import Chance
from brainalign.encoding.courses import is_series
from brainalign.encoding.encode import encode
from brainalign.encoding.folds import (
    ByGroup,
    Contiguous,
    Fixed,
    FoldRule,
    Folds,
    as_rule,
    folds_in_use,
    on_both_sides,
    table_of,
)
from brainalign.errors import BrainalignError, InputError
from brainalign.maths.scores import pearson_within
from brainalign.signals import Signal, same_samples

SIGMAS = (0.5, 1.0, 2.0, 4.8)  # samples; of the blur of a band that knows only when a sample was taken
RANDOM = 50  # columns of autocorrelated noise
PERSISTENCE = 0.95  # of it, from one sample to the next
MOST_SAMPLES = 2000  # looked at by ridge on as many columns; whole folds are kept while they fit
MOST_TARGETS = 200
MOST_FOLDS = 8  # of many, so many are looked at
EXACT = 1e-5  # how far from 0 rounding leaves a mean or a correlation that was made 0
BY_CHANCE = 1e-3
WORTH = 0.05  # a mean r below it is no leak worth the name
SURE = 4.0  # standard errors
ALPHAS = np.geomspace(1e-2, 1e4, 13)  # of ridge on columns of unit variance
STRICT_FOLDS = 6
QUIET = Chance(permutations=0, bootstrap=0)


@dataclass(frozen=True)
class Finding:
    """One check: what was measured, from where on it is a leak, and what it means."""

    check: str
    value: float
    threshold: float
    leaky: bool
    meaning: str


@dataclass(frozen=True)
class Unguarded:
    """A rule whose leaks are not refused, since they are what is measured."""

    rule: FoldRule

    def __call__(self, signal: Signal | pd.DataFrame) -> Folds:
        """Split a recording, leaks and all."""
        return self.rule.split(table_of(signal))

    def split(self, samples: pd.DataFrame) -> Folds:
        """Split a recording, leaks and all."""
        return self.rule.split(samples)

    def inner(self, n: int) -> FoldRule:
        """The rule of the loop inside the training samples."""
        return Unguarded(self.rule.inner(n))

    def __str__(self) -> str:
        return str(self.rule)


def leak_audit(features: Signal, brain: Signal, folds: Any, seed: int = 0) -> pd.DataFrame:
    """Ask of a design, a recording and their folds whether test responses reach the model on another way than by merit.

    Parameters
    ----------
    features : Signal (n_samples, n_columns)
        The design, delayed or not, on the brain's samples.
    brain : Signal (n_samples, n_targets)
    folds : fold rule, list of (train, test), or scikit-learn splitter
        As for `encode`; splits that `encode` would refuse are audited all the same.
    seed : int

    Returns
    -------
    DataFrame
        One row per check: `check`, `value`, `threshold`, `leaky`, `meaning`. `leaky` where the value is on the wrong
        side of its threshold. A check that does not apply has no row.

    Raises
    ------
    InputError
        Features and brain on different samples.

    Notes
    -----
    Measured, mean r over targets: `time alone` is ridge on the identity blurred within each run (the OASM of Feghhi et
    al. 2024; the best of σ = 0.5, 1, 2, 4.8 samples); `slow noise` is ridge on 50 random columns with autocorrelation
    .95. Both know nothing of the stimulus. Their penalties are chosen by leave-one-out within the training samples,
    which gives a leak its full size. `beyond strict folds` is the features' own score less that under whole runs, or
    contiguous folds with a gap. These three are leaks where they exceed .05 and four standard errors, computed from
    the effective numbers of samples and targets.

    Read off: seconds between test and training samples of one run against the longest delay; stimuli on both sides;
    bands z-scored, or turned to principal components, over training and test samples together; test samples whose
    model context reaches training samples.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> samples = pd.DataFrame({"run": "1", "time": np.arange(300.0) * 2})
    >>> x = Signal(rng.standard_normal((300, 4)), samples, pd.DataFrame({"band": ["a"] * 4}))
    >>> slow = np.cumsum(rng.standard_normal((300, 2)), axis=0)
    >>> from brainalign.encoding.folds import shuffled
    >>> found = leak_audit(x, Signal(slow, samples, pd.DataFrame({"roi": ["LATL", "LIFG"]})), shuffled(5))
    >>> bool(found.set_index("check").loc["time alone", "leaky"])
    True
    """
    if not same_samples(features.samples, brain.samples):
        raise InputError(
            f"features and brain are not on the same samples: {features!r} and {brain!r}; resample(X, onto=Y) first"
        )
    keep = np.flatnonzero(features.use & brain.use)
    rule = as_rule(folds)
    # those that `encode` refuses included: an audit looks at what it is given
    pairs = folds_in_use(rule, brain, keep, refuse=False)
    features, brain = features.select(rows=keep), brain.select(rows=keep)
    found = [
        *_distance(pairs, features, float(brain.attrs.get("lags", {}).get("window", 0))),
        *_repeats(pairs, brain.samples),
        *_context(pairs, features),
        *_scaled(features),
        *_measured(pairs, features, brain, rule, seed),
    ]
    return pd.DataFrame(found, columns=list(Finding.__dataclass_fields__))


def verdict(audit: pd.DataFrame) -> str:
    """An audit in a sentence."""
    leaky = audit[audit["leaky"]]
    if leaky.empty:
        return f"no leak found in {len(audit)} checks"
    each = "; ".join(f"{row.check} {row.value:.2f} (allowed {row.threshold:.2f})" for row in leaky.itertuples())
    return f"LEAKY: {len(leaky)} of {len(audit)} checks: {each}"


def _distance(folds: Folds, features: Signal, window: float) -> Iterator[Finding]:
    samples = features.samples
    if not is_series(samples):
        return
    nearest = min(_gap_s(train, test, samples) for train, test in folds)
    step = _step(samples)
    delays = features.columns["delay"].abs().max() if "delay" in features.columns else 0
    delayed = max(float(delays), 1.0) * step
    needed = max(delayed, window)
    reach = "window around a word" if window > delayed else "longest delay"
    yield Finding(
        "gap",
        nearest,
        needed,
        bool(nearest <= needed),
        f"seconds from a test sample to the nearest training sample of its run; the {reach} is {needed:g} s",
    )


def _gap_s(train: np.ndarray, test: np.ndarray, samples: pd.DataFrame) -> float:
    run, time = samples["run"].to_numpy(), samples["time"].to_numpy(float)
    nearest = np.inf
    for name in dict.fromkeys(run[test]):
        asked, taught = (np.sort(time[part[run[part] == name]]) for part in (test, train))
        if len(taught):
            at = np.searchsorted(taught, asked)
            before = asked - taught[np.maximum(at - 1, 0)]
            after = taught[np.minimum(at, len(taught) - 1)] - asked
            nearest = min(nearest, float(np.minimum(np.abs(before), np.abs(after)).min()))
    return nearest


def _step(samples: pd.DataFrame) -> float:
    steps = samples.groupby("run", sort=False)["time"].diff().to_numpy(float)
    steps = steps[steps > 0]
    return float(np.median(steps)) if len(steps) else 0.0


def _repeats(folds: Folds, samples: pd.DataFrame) -> Iterator[Finding]:
    if "stimulus" not in samples or ("repeat" not in samples and is_series(samples)):
        return
    shared = sum(len(on_both_sides(samples, train, test)) for train, test in folds)
    yield Finding("repeats", float(shared), 0.0, shared > 0, "stimuli met in training and in test of one fold")


def _context(folds: Folds, features: Signal) -> Iterator[Finding]:
    reach = {
        name: about["context_s"] for name, about in features.attrs.get("features", {}).items() if "context_s" in about
    }
    if not reach:
        return
    name = max(reach, key=lambda one: reach[one])
    samples = features.samples
    run, time = samples["run"].to_numpy(), samples["time"].to_numpy(float)
    delays = features.columns["delay"].max() if "delay" in features.columns else 0
    span = reach[name] + float(delays) * _step(samples)
    reached = total = 0
    for train, test in folds:
        for one in dict.fromkeys(run[test]):
            asked, taught = (np.sort(time[part[run[part] == one]]) for part in (test, train))
            before = np.searchsorted(taught, asked) - 1
            last = np.where(before >= 0, taught[np.maximum(before, 0)] if len(taught) else -np.inf, -np.inf)
            reached += int((asked - last <= span).sum())
        total += len(test)
    share = reached / total
    yield Finding(
        "context",
        share,
        0.5,
        share > 0.5,
        f"share of test samples whose context ({name}, up to {reach[name]:.0f} s) reaches back to training samples",
    )


def _scaled(features: Signal) -> Iterator[Finding]:
    """Bands whose columns have been fitted to training and test samples together."""
    values, columns = features.array().astype(float), features.columns
    if "band" not in columns:
        return
    runs = [np.flatnonzero((features.samples["run"] == run).to_numpy()) for run in features.runs]
    scaled, turned = [], []
    for band, at in columns.groupby("band", sort=False).indices.items():
        at, cut = np.asarray(at), 0
        if "delay" in columns:  # one copy tells; what its delay cut off blurs moments that were exact
            delay = columns["delay"].to_numpy()[at]
            cut = int(np.abs(delay).min())
            at = at[np.abs(delay) == cut]
        some = values[:, at]
        whole = _standard(some, cut * len(runs))
        each_run = len(runs) > 1 and all(_standard(some[rows], cut) for rows in runs)
        scaled += [band] * (whole and not each_run)
        turned += [band] * _uncorrelated(some, cut * len(runs))
    for what, bands, meaning in (
        ("z-scored", scaled, "bands with mean 0 and variance 1 over training and test together"),
        ("components", turned, "bands whose columns are uncorrelated over training and test together"),
    ):
        yield Finding(f"{what} over all samples", float(len(bands)), 0.0, bool(bands), meaning + _named(bands))


def _named(bands: list[Any]) -> str:
    return f": {', '.join(map(str, bands[:3]))}{' ..' if len(bands) > 3 else ''}" if bands else ""


def _standard(values: np.ndarray, cut: int) -> bool:
    """Whether every column has mean 0 and variance 1, but for `cut` samples that are not there."""
    allowed = EXACT + 3 * cut / len(values)
    same = (np.abs(values.mean(0)) < allowed).all() and (np.abs(values.std(0) - 1) < 3 * allowed).all()
    return bool(same) and _improbable(allowed, len(values), values.shape[1])


def _uncorrelated(values: np.ndarray, cut: int) -> bool:
    """Whether all columns are uncorrelated, but for `cut` samples that are not there."""
    moving = values[:, values.std(0) > 0]
    width = moving.shape[1]
    if not 2 <= width < len(values):
        return False
    C = np.corrcoef(moving.T)
    allowed = EXACT + 9 * cut / len(values)
    return bool(np.abs(C - np.diag(np.diag(C))).max() < allowed) and _improbable(
        allowed, len(values), width * (width - 1) // 2
    )


def _improbable(allowed: float, n: int, count: int) -> bool:
    """Whether chance would hardly leave so many means, or correlations, of n samples below what is allowed."""
    return erf(allowed * np.sqrt(n / 2)) ** count < BY_CHANCE


def _measured(folds: Folds, features: Signal, brain: Signal, rule: FoldRule, seed: int) -> Iterator[Finding]:
    """What bands that know nothing score, and what the features score beyond strict folds."""
    rng = np.random.default_rng(seed)
    some = np.sort(rng.permutation(brain.shape[1])[:MOST_TARGETS])
    Y = brain.select(columns=some).array().astype(float)
    Y = Y[:, np.ptp(Y, axis=0) > 0]
    rows = _few(len(Y))
    place = np.full(len(Y), -1)
    place[rows] = np.arange(len(rows))
    inside = [(place[a][place[a] >= 0], place[b][place[b] >= 0]) for a, b in folds]
    inside = [(a, b) for a, b in _some(inside) if len(a) > 1 and len(b) > 1]
    if not inside or not Y.shape[1]:
        return
    samples = features.samples.iloc[rows].reset_index(drop=True)
    error = _standard_error(Y[rows], samples, inside)
    allowed = max(WORTH, SURE * error)
    run = samples["run"].to_numpy()
    passage = samples["stimulus"].to_numpy() if "stimulus_time" in samples else run
    aware = {sigma: _mean_r(_blurred(run, passage, sigma), Y[rows], inside) for sigma in SIGMAS}
    best = max(aware, key=lambda sigma: aware[sigma])
    yield Finding(
        "time alone",
        aware[best],
        allowed,
        aware[best] > allowed,
        f"mean r of a band that knows only when a sample was taken (σ {best:g} samples)",
    )
    noise = _mean_r(_slow(run, rng), Y[rows], inside)
    yield Finding(
        "slow noise",
        noise,
        allowed,
        noise > allowed,
        f"mean r of {RANDOM} random columns, autocorrelation {PERSISTENCE:g}",
    )
    moving = brain.select(columns=some)
    moving = moving.select(columns=np.ptp(moving.array(), axis=0) > 0)
    yield from _beyond(features, moving, _to_measure(rule, folds), allowed)


def _beyond(features: Signal, brain: Signal, rule: FoldRule, allowed: float) -> Iterator[Finding]:
    whole = ByGroup("run") if len(brain.runs) > 1 else Contiguous(STRICT_FOLDS)
    try:
        strict = _to_measure(whole, whole.split(brain.samples))
        asked, fair = (
            encode(features, brain, folds=one, ceiling=none, chance=QUIET, weights=False).scores["r"].mean()
            for one in (rule, strict)
        )
    except BrainalignError:  # a recording too short for strict folds, stimuli that repeat across runs
        return
    more = float(asked - fair)
    allowed = max(2 * WORTH, np.sqrt(2) * allowed)
    yield Finding(
        "beyond strict folds",
        more,
        allowed,
        more > allowed,
        f"mean r of the features, {asked:.2f}, less that under strict folds, {fair:.2f} ({whole})",
    )


def _to_measure(rule: FoldRule, folds: Folds) -> Fixed:
    return Fixed(_some(folds), Unguarded(rule), str(rule))


def _some(folds: Folds) -> Folds:
    """All folds; or, of many, every eighth, seventh, .. together: what stood beside them in training stays there."""
    if len(folds) <= MOST_FOLDS:
        return folds
    n = 1 + max(int(part.max(initial=0)) for pair in folds for part in pair)
    out = []
    for k in range(MOST_FOLDS):
        group = folds[k::MOST_FOLDS]
        taught = np.bincount(np.concatenate([train for train, _ in group]), minlength=n) == len(group)
        test = np.unique(np.concatenate([test for _, test in group]))
        taught[test] = False
        out.append((np.flatnonzero(taught), test))
    return [(train, test) for train, test in out if len(train) and len(test)]


def _few(n: int) -> np.ndarray:
    """Rows to look at: all, or stretches of neighbours from all over the recording."""
    if n <= MOST_SAMPLES:
        return np.arange(n)
    stretches = np.array_split(np.arange(n), 20)
    return np.concatenate([part[: MOST_SAMPLES // 20] for part in stretches])


def _blurred(run: np.ndarray, passage: np.ndarray, sigma: float) -> np.ndarray:
    """(n, n): the identity, blurred along time within each run and passage by a Gaussian (Feghhi et al. 2024)."""
    n = len(run)
    lag = np.arange(n)[:, None] - np.arange(n)
    same = (run[:, None] == run) & (passage[:, None] == passage)
    return np.where(same, np.exp(-0.5 * (lag / sigma) ** 2), 0.0)


def _slow(run: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n, RANDOM) autoregressive noise that starts anew in each run."""
    from scipy.signal import lfilter

    white = rng.standard_normal((len(run), RANDOM))
    out = np.empty_like(white)
    for one in dict.fromkeys(run):
        out[run == one] = lfilter([1.0], [1.0, -PERSISTENCE], white[run == one], axis=0)
    return out


def _mean_r(X: np.ndarray, Y: np.ndarray, folds: Folds) -> float:
    """Mean over targets of the held-out correlation of ridge, penalties by leave-one-out within training."""
    from sklearn.linear_model import RidgeCV

    predicted, rows, labels = [], [], []
    for k, (train, test) in enumerate(folds):
        model = RidgeCV(alphas=ALPHAS, alpha_per_target=True).fit(X[train], Y[train])
        predicted.append(model.predict(X[test]).reshape(len(test), -1))
        rows.append(test)
        labels.append(np.full(len(test), k))
    r = pearson_within(Y[np.concatenate(rows)], np.concatenate(predicted), np.concatenate(labels))
    return float(np.nan_to_num(r).mean())


def _standard_error(Y: np.ndarray, samples: pd.DataFrame, folds: Folds) -> float:
    """Of a mean r that is nothing but chance, from the effective numbers of samples and of targets."""
    tested = np.unique(np.concatenate([test for _, test in folds]))
    run = samples["run"].to_numpy()
    same = run[1:] == run[:-1]
    Z = (Y - Y.mean(0)) / Y.std(0)
    rho = np.clip((Z[1:][same] * Z[:-1][same]).mean(0), 0, 0.99) if is_series(samples) else np.zeros(Y.shape[1])
    slow = rho * PERSISTENCE  # the prediction is at most so slow
    n = len(tested) * np.mean((1 - slow) / (1 + slow))
    C = np.corrcoef(Y.T).reshape(Y.shape[1], -1)
    targets = Y.shape[1] ** 2 / (C**2).sum()
    return float(1 / np.sqrt(max(n, 2) * targets))
