"""When does each electrode follow the features? Its lag, where every target is one electrode at one lag."""

from __future__ import annotations

import numpy as np
import pandas as pd

from brainalign.encoding.result import Encoding
from brainalign.errors import InputError, did_you_mean
from brainalign.maths import inference, scores
from brainalign.maths.profile import centre_of_mass, peak


def latency(
    fit: Encoding, over: str = "lag", model: str = "full", *, bootstrap: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Where along an axis of the targets a model predicts best: the latency of every electrode.

    Parameters
    ----------
    fit : Encoding
        Targets with a column `over` and at least one more, such as `electrode`; targets that differ in `over` only are
        one row of the result.
    over : str
        The axis: lags in s.
    model : str
        Whose held-out predictions; where there is a baseline beside it, `centre` weighs what it adds to that.
    bootstrap : int
        Resamples for the intervals; 0: none.
    seed : int

    Returns
    -------
    DataFrame, one row per electrode
        What the electrode is (all target columns but `over`); `peak`, the lag with the highest held-out r, with
        `peak_low`, `peak_high`; `centre` with `centre_low`, `centre_high`, Σ lag·w / Σ w with w = max(0, r − r of the
        baseline), NaN where no w is above zero; `r_peak`, the r seen at the peak, which is biased upwards; `r_nested`.

    Raises
    ------
    InputError
        No such axis or model, an electrode that has a lag twice, or no electrode with two lags.

    Notes
    -----
    A feature that goes with what its neighbours have, as the length of words goes with when the next one comes, may
    have its peak a little beside the lag of the response, without any noise. Noise at lags that carry nothing counts
    for `centre` where it is positive, so the centre leans to the middle of the lags, and is best compared between
    electrodes. Intervals resample blocks of time, the same for all lags and the
    baseline, and are conditional on the fitted models.

    `r_nested` is the r at lags chosen without the test fold: in each fold the lag whose fit the inner folds like best,
    within that fold's training samples. The lag with the highest r over the *other* folds' test samples would not do:
    the models of those folds were trained on the fold in question. Of pure noise at 20 unrelated lags (400 samples;
    two, five and ten folds) the highest r seen is .11, .09 and .09 on average, r at lags chosen in the other folds .10,
    .05 and .05, and `r_nested` .00, .00 and .00. NaN where the fit kept no inner scores.

    Examples
    --------
    >>> from brainalign.encoding.encode import encode
    >>> from brainalign.encoding.chance import Chance
    >>> from brainalign.signals import Signal
    >>> rng = np.random.default_rng(0)
    >>> samples = pd.DataFrame({"run": np.repeat(["1", "2", "3"], 60), "time": np.tile(np.arange(60.0), 3)})
    >>> x = rng.standard_normal((180, 2))
    >>> responses = rng.standard_normal((180, 3)) + x[:, :1] * [0.0, 1.0, 0.2]
    >>> lags = pd.DataFrame({"electrode": "G1", "lag": [0.0, 0.2, 0.4]})
    >>> X = Signal(x, samples, pd.DataFrame({"band": ["lm", "lm"]}))
    >>> latency(encode(X, Signal(responses, samples, lags), chance=Chance(0, 0)))[["electrode", "peak"]].values.tolist()
    [['G1', 0.2]]
    """
    groups = _electrodes(fit, over)
    predicted = _predicted(fit, model)
    base = _predicted(fit, "baseline") if _has(fit, "baseline") and model != "baseline" else None
    observed, fold = fit.observed.array().astype(float), fit.observed.samples["fold"].to_numpy()
    drawn = None
    if bootstrap:
        block = inference.block_length(observed, run=fold)
        drawn = inference.drawn_blocks(len(fold), block, bootstrap, run=fold, seed=seed)
    inner = _inner(fit, model)
    rows = []
    for at in groups:
        places = fit.observed.columns[over].to_numpy(float)[at]
        y, full = observed[:, at], predicted[:, at]
        less = None if base is None else base[:, at]
        r = scores.pearson_within(y, full, fold)
        row = {
            **fit.observed.columns.drop(columns=over).iloc[at[0]].to_dict(),
            "peak": float(peak(r, places)),
            "centre": float(centre_of_mass(_gain(r, less, y, fold), places)),
        }
        if drawn is not None:
            again = _resampled(y, full, fold, drawn)
            gain = np.nan_to_num(again) - (0 if less is None else np.nan_to_num(_resampled(y, less, fold, drawn)))
            for name, value in (("peak", peak(again.T, places)), ("centre", centre_of_mass(gain.T, places))):
                span = inference.interval(value)
                row |= {f"{name}_low": float(span.low), f"{name}_high": float(span.high)}
        row["r_peak"] = float(np.fmax.reduce(r))
        row["r_nested"] = _nested(y, full, inner[:, at], fold)
        rows.append(row)
    own = [name for name in fit.observed.columns if name != over]
    found = ["peak", "peak_low", "peak_high", "centre", "centre_low", "centre_high", "r_peak", "r_nested"]
    return pd.DataFrame(rows).reindex(columns=[*own, *found])


def _electrodes(fit: Encoding, over: str) -> list[np.ndarray]:
    """The positions of the targets of every electrode."""
    columns = fit.observed.columns
    if over not in columns:
        raise InputError(f"the targets have no column {over!r}; " + did_you_mean(over, columns.columns))
    own = [name for name in columns if name != over]
    found = columns.groupby(own, sort=False, dropna=False).indices if own else {"all": np.arange(len(columns))}
    groups = [np.asarray(at) for at in found.values()]
    for at in groups:
        twice = columns[over].iloc[at].duplicated()
        if twice.any():
            raise InputError(
                f"{columns[own].iloc[at[0]].to_dict()} has {over} {columns[over].iloc[at][twice].iloc[0]} twice: the "
                f"columns beside {over!r} are to say which electrode is which"
            )
    if max(len(at) for at in groups) < 2:
        raise InputError(f"no electrode has two values of {over!r}: targets that differ in {over!r} only are one row")
    return groups


def _has(fit: Encoding, model: str) -> bool:
    return bool((fit.predictions.columns["model"] == model).any())


def _predicted(fit: Encoding, model: str) -> np.ndarray:
    if not _has(fit, model):
        known = fit.predictions.columns["model"].unique()
        raise InputError(f"no predictions of a model {model!r} were kept; " + did_you_mean(model, known))
    return fit.predictions.select(model=model).array().astype(float)


def _gain(r: np.ndarray, baseline: np.ndarray | None, y: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """What the model adds to the baseline; an r that is not defined is 0."""
    less = 0.0 if baseline is None else np.nan_to_num(scores.pearson_within(y, baseline, fold))
    return np.nan_to_num(r) - less


def _resampled(y: np.ndarray, predicted: np.ndarray, fold: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """(n, k) r in every resample."""
    return inference.weighted_r(scores.centre_within(y, fold), scores.centre_within(predicted, fold), drawn)


def _inner(fit: Encoding, model: str) -> np.ndarray:
    """(folds, t) the R² that the inner folds found within each fold's training samples; NaN where none were kept."""
    columns = fit.predictions.columns
    wanted = [f"inner_r2_{k}" for k in np.unique(fit.observed.samples["fold"])]
    return columns.loc[columns["model"] == model].reindex(columns=wanted).to_numpy(float).T


def _nested(y: np.ndarray, predicted: np.ndarray, inner: np.ndarray, fold: np.ndarray) -> float:
    """The r of predictions (n, k), each fold's taken at the lag that its inner folds (folds, k) like best."""
    if np.isnan(inner).all(1).any():
        return float("nan")
    lags = np.where(np.isnan(inner), -np.inf, inner).argmax(1)[np.unique(fold, return_inverse=True)[1]]
    at = np.arange(len(fold))
    return float(scores.pearson_within(y[at, lags][:, None], predicted[at, lags][:, None], fold)[0])
