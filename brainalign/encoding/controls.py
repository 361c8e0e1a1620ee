"""What is a gain still worth when one thing is changed that should destroy it, or should leave it alone?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from brainalign.encoding.ceilings import none
from brainalign.encoding.chance import Chance
from brainalign.encoding.encode import encode
from brainalign.encoding.result import Encoding
from brainalign.errors import InputError
from brainalign.maths import inference
from brainalign.maths.people import sign_flip
from brainalign.maths.scores import centre_within
from brainalign.signals import Signal, same_samples

ASKED = "as asked"
COLUMNS = ("control", "what", "baseline_r", "full_r", "gain_r", "difference", "low", "high", "p")
NUMBERS_TOGETHER = 20_000_000  # of the resamples of some targets: 160 MB
QUIET = {"ceiling": none, "chance": Chance(permutations=0, bootstrap=0), "weights": False}  # r is all that is read


@dataclass(frozen=True)
class Changed:
    """A study with one thing changed.

    Parameters
    ----------
    X, Y : Signal
        Design and recording, as for `encode`.
    what : str
        What was changed, in words.
    how : mapping
        What `encode` has to be told otherwise, such as `alternatives` where the design has no layers to choose from.
    """

    X: Signal
    Y: Signal
    what: str = ""
    how: Mapping[str, Any] = field(default_factory=dict)


def control_battery(
    X: Signal,
    Y: Signal,
    controls: Mapping[str, Signal | tuple[Signal, Signal] | Changed],
    *,
    asked: Encoding | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    **how: Any,
) -> pd.DataFrame:
    """The same question with one thing changed at a time: same folds, seed and solver, one table.

    Parameters
    ----------
    X, Y : Signal
        Design and recording, as for `encode`.
    controls : mapping name → Signal, (Signal, Signal) or `Changed`
        Another design; another design and another recording; or these with what `encode` has to be told otherwise. One
        is taken at a time, so a mapping that makes them when they are asked for need not hold all of them.
    asked : Encoding, optional
        The fit of X to Y, made with the same `how` and `seed`, if there is one already.
    bootstrap : int
        Resamples for the interval; 0: none.
    seed : int
        Of fits and resamples.
    **how
        As for `encode`: `folds`, `inner`, `baseline`, `alternatives`, `within_fold`, `solver`, `store`, … Without a
        word of it there is no ceiling, no p of single targets, and no refit on all samples.

    Returns
    -------
    DataFrame, first row "as asked"
        `control`, `what`; `baseline_r`, `full_r`, means over the recording's own targets (without a model "full" the
        mean of all alternatives), and `gain_r`, the second less the first; `difference`, the gain as asked less the
        control's (without a baseline: of full_r); `low`, `high`, its 95 % interval; with people `p`.

    Raises
    ------
    InputError, SettingsError
        As `encode`; or a changed study that is scored on other samples.

    Notes
    -----
    The interval is paired: blocks of time within test folds are drawn once, as long as the responses' autocorrelation
    says, and both gains are taken on the same draws. It is conditional on the fitted models, which makes it too narrow,
    as in `gain`. `p` is the one-sided sign-flip test over people of the mean difference above zero. Both are NaN where
    the models hold no held-out predictions to compare: alternatives of which none is chosen. Where nothing was gained
    nothing can be lost: a model of no use costs a little r, more in one design than in another, and `difference` is
    then no more than that.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> samples = pd.DataFrame({"run": np.repeat(["1", "2", "3"], 60), "time": np.tile(np.arange(60.0), 3)})
    >>> columns = pd.DataFrame({"band": ["rate", "lm", "lm"]})
    >>> x = Signal(rng.standard_normal((180, 3)), samples, columns)
    >>> y = Signal(x.values[:, 1:2] + rng.standard_normal((180, 1)), samples, pd.DataFrame({"roi": ["LIFG"]}))
    >>> other = Signal(np.c_[x.values[:, :1], rng.standard_normal((180, 2))], samples, columns)
    >>> table = control_battery(x, y, {"other numbers": other}, baseline=["rate"], bootstrap=200)
    >>> table["control"].tolist(), bool(table["low"][1] > 0)
    (['as asked', 'other numbers'], True)
    """
    if asked is None:
        asked = encode(X, Y, seed=seed, **{**QUIET, **how})
    rows = [row_as_asked(asked)]
    for name in controls:
        given = controls[name]
        changed = given if isinstance(given, Changed) else Changed(*(given if isinstance(given, tuple) else (given, Y)))
        rows.append(row_of_control(name, changed, asked, bootstrap=bootstrap, seed=seed, **how))
    return as_table(rows)


def row_as_asked(asked: Encoding) -> dict[str, Any]:
    """The first row of the battery."""
    return {"control": ASKED, "what": "", **_means(asked)}


def row_of_control(
    name: str, changed: Changed, asked: Encoding, *, bootstrap: int = 1000, seed: int = 0, **how: Any
) -> dict[str, Any]:
    """Fit a changed study, and say how far its gain falls behind the one as asked."""
    again = encode(changed.X, changed.Y, seed=seed, **{**QUIET, **how, **changed.how})
    ours, theirs = _means(asked), _means(again)
    told = "full_r" if np.isnan(ours["gain_r"]) else "gain_r"
    row = {"control": name, "what": changed.what, **theirs, "difference": ours[told] - theirs[told]}
    if not same_samples(asked.predictions.samples, again.predictions.samples):
        raise InputError(
            f"control {name!r} is scored on other samples than the study as asked: {again.predictions!r} and "
            f"{asked.predictions!r}; change what is known of the samples, not which there are"
        )
    models = set(asked.predictions.columns["model"]) & set(again.predictions.columns["model"])
    if bootstrap and "full" in models:
        n = len(asked.observed.samples)
        fold = asked.predictions.samples["fold"].to_numpy()
        block = inference.block_length(asked.observed.array(), run=fold)
        counts = inference.drawn_blocks(n, block, bootstrap, run=fold, seed=seed)
        span = inference.interval(_resampled_gain(asked, counts) - _resampled_gain(again, counts))
        row |= {"low": float(span.low), "high": float(span.high)}
    if len(asked.people) and "full" in models:
        apart = _gains_of_people(asked) - _gains_of_people(again)
        row["p"] = float(sign_flip(apart.to_numpy(), seed=seed))
    return row


def as_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows of the battery as its table; `p` only where there are people."""
    return pd.DataFrame(rows).reindex(columns=[c for c in COLUMNS if c != "p" or any("p" in row for row in rows)])


def _means(fit: Encoding) -> dict[str, float]:
    means = fit.scores.groupby("model", sort=False)["r"].mean()
    full = means["full"] if "full" in means else means.drop("baseline", errors="ignore").mean()
    baseline = means.get("baseline", np.nan)
    return {"baseline_r": float(baseline), "full_r": float(full), "gain_r": float(full - baseline)}


def _resampled_gain(fit: Encoding, counts: np.ndarray) -> np.ndarray:
    """(n,) the gain in mean r over targets in every resample; without a baseline the mean r itself."""
    models = set(fit.predictions.columns["model"])
    gain = _resampled_mean(fit, "full", counts)
    return gain - _resampled_mean(fit, "baseline", counts) if "baseline" in models else gain


def _resampled_mean(fit: Encoding, model: str, counts: np.ndarray) -> np.ndarray:
    """(n,) mean over targets of r in every resample, some targets at a time; a target without an r is left out."""
    fold = fit.predictions.samples["fold"].to_numpy()
    mine = np.flatnonzero((fit.predictions.columns["model"] == model).to_numpy())
    step = max(1, NUMBERS_TOGETHER // max(counts.shape))
    total, known = np.zeros(len(counts)), np.zeros(len(counts))
    for start in range(0, len(mine), step):
        some = slice(start, start + step)
        y = centre_within(np.asarray(fit.observed.values[:, some], float), fold)
        predicted = centre_within(np.asarray(fit.predictions.values[:, mine[some]], float), fold)
        r = inference.weighted_r(y, predicted, counts)
        there = ~np.isnan(r)
        total += np.where(there, r, 0).sum(1)
        known += there.sum(1)
    return np.divide(total, known, out=np.full(len(counts), np.nan), where=known > 0)


def _gains_of_people(fit: Encoding) -> pd.Series:
    """Each person's gain; without a baseline their mean r."""
    models = {str(name): table for name, table in fit.people.groupby("model", sort=False)}
    means = {name: table.groupby("subject", sort=False)["r"].mean() for name, table in models.items()}
    return means["full"] - means["baseline"] if "baseline" in means else means["full"]
