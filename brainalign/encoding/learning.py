"""How much would more data bring? Scores from growing shares of the training samples, on the same test samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from brainalign.encoding.ceilings import none
from brainalign.encoding.chance import Chance
from brainalign.encoding.encode import encode
from brainalign.encoding.folds import Fixed, Folds, as_rule, by_run, folds_in_use, table_of
from brainalign.errors import InputError, SettingsError
from brainalign.signals import Signal

QUIET = Chance(permutations=0, bootstrap=0)
HALVES = np.geomspace(1e-2, 1e2, 400)  # of the training time seen at which half of r² might be reached


def learning_curve(
    X: Signal,
    Y: Signal,
    *,
    folds: Any = by_run,
    shares: Sequence[float] = (0.25, 0.5, 0.75, 1.0),
    draws: int = 2,
    ahead: float = 2.0,
    **how: Any,
) -> pd.DataFrame:
    """Mean r of a model against the training time it has seen, and where the curve would go.

    Parameters
    ----------
    X, Y : Signal
        As for `encode`.
    folds : fold rule
        The test samples are the same at every share.
    shares : sequence of float
        Of each fold's training samples, in (0, 1]. Less than all is a stretch of neighbours.
    draws : int
        Stretches for each share, from the beginning to the end of the training samples; r is their mean.
    ahead : float
        How many times as much as was seen the curve is carried on to; 1: not at all.
    **how
        For `encode`: `inner`, `within_fold`, `solver`, `seed`.

    Returns
    -------
    DataFrame
        `minutes` of training (mean over folds), `r` (mean over targets), `low`, `high` (over stretches),
        `extrapolated`. The carried-on row is r = √(a m / (m + b)) fitted to the others: a guess of one form of curve,
        labelled as such, NaN where r does not grow.

    Raises
    ------
    SettingsError
        Shares beyond (0, 1], fewer than two, or no stretches.
    InputError
        As for `encode`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> samples = pd.DataFrame({"run": np.repeat(["1", "2"], 150), "time": np.tile(np.arange(150) * 2.0, 2)})
    >>> x = Signal(rng.standard_normal((300, 20)), samples, pd.DataFrame({"band": ["lm"] * 20}))
    >>> y = Signal(x.values @ rng.standard_normal((20, 5)) + 6 * rng.standard_normal((300, 5)), samples,
    ...            pd.DataFrame({"roi": list("abcde")}))
    >>> curve = learning_curve(x, y, shares=(0.5, 1.0))
    >>> bool(curve["r"][1] > curve["r"][0]), curve["extrapolated"].tolist()
    (True, [False, False, True])
    """
    wanted = sorted(float(share) for share in shares)
    if len(wanted) < 2 or not 0 < wanted[0] <= wanted[-1] <= 1:
        raise SettingsError(f"shares are two or more numbers above 0 and up to 1; found {list(shares)}")
    if draws < 1:
        raise SettingsError(f"draws is a number of stretches, at least 1; found {draws}")
    if ahead < 1:
        raise SettingsError(f"ahead is 1 or more times what was seen; found {ahead:g}")
    rule, keep = as_rule(folds), np.flatnonzero(X.use & Y.use)
    pairs = folds_in_use(rule, Y, keep)
    X, Y = X.select(rows=keep), Y.select(rows=keep)
    rows = []
    for share in wanted:
        starts = np.linspace(0, 1, draws) if share < 1 else np.zeros(1)
        cuts = [Fixed(shortened(pairs, share, float(start)), rule, f"{rule}, {share:.0%} of it") for start in starts]
        scored = [_score(X, Y, cut, how) for cut in cuts]
        r = np.array([one for one, _ in scored])
        rows.append({"minutes": scored[0][1], "r": r.mean(), "low": r.min(), "high": r.max(), "extrapolated": False})
    if ahead > 1:
        minutes, r = (np.array([row[name] for row in rows]) for name in ("minutes", "r"))
        further = ahead * minutes[-1]
        guess = carried_on(minutes, r, further)
        rows.append({"minutes": further, "r": guess, "low": np.nan, "high": np.nan, "extrapolated": True})
    return pd.DataFrame(rows)


def shortened(folds: Folds, share: float, start: float) -> Folds:
    """Folds whose training samples are cut to a share: a stretch of neighbours, from `start` 0 (first) to 1 (last).

    Examples
    --------
    >>> [(train.tolist(), test.tolist()) for train, test in shortened([(np.arange(4), np.array([4]))], 0.5, 1.0)]
    [([2, 3], [4])]
    """
    out = []
    for train, test in folds:
        size = max(2, round(share * len(train)))
        first = round(start * (len(train) - size))
        out.append((train[first : first + size], test))
    return out


def carried_on(minutes: np.ndarray, r: np.ndarray, further: float) -> float:
    """√(a m / (m + b)) at `further` minutes, fitted to (minutes, r); NaN where r does not grow above zero.

    Examples
    --------
    >>> minutes = np.array([5.0, 10.0, 20.0])
    >>> round(carried_on(minutes, np.sqrt(0.25 * minutes / (minutes + 10)), 40.0), 3)  # √(.25 · 40 / 50)
    0.447
    """
    if (r <= 0).any() or r[-1] <= r[0]:
        return float("nan")
    shape = minutes[:, None] / (minutes[:, None] + HALVES * minutes[-1])
    height = (shape * r[:, None] ** 2).sum(0) / (shape**2).sum(0)
    best = int(np.argmin(((height * shape - r[:, None] ** 2) ** 2).sum(0)))
    return float(np.sqrt(height[best] * further / (further + HALVES[best] * minutes[-1])))


def _score(X: Signal, Y: Signal, rule: Fixed, how: dict[str, Any]) -> tuple[float, float]:
    """Mean r over targets, and minutes of training."""
    fit = encode(X, Y, folds=rule, ceiling=none, chance=QUIET, weights=False, **how)
    samples = table_of(Y)
    steps = samples.groupby("run", sort=False)["time"].diff()
    step = float(steps[steps > 0].median())
    if not np.isfinite(step):
        raise InputError("every run has one sample: nothing says how long training lasted")
    counts = [len(train) for train, _ in rule.pairs]
    full = fit.scores[fit.scores["model"] == "full"]["r"]
    return float(full.mean()), float(np.mean(counts)) * step / 60
