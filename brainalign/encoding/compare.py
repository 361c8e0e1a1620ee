"""Which of two models predicts better, target by target and over people?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from brainalign.encoding.chance import KIND
from brainalign.encoding.group import over_people
from brainalign.encoding.result import Encoding
from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.maths.inference import fdr
from brainalign.maths.paired import paired_interval, swap_test
from brainalign.maths.scores import pearson_within
from brainalign.signals import same_samples

Pair = tuple[str, str]
SWAPPED = "predictions swapped in blocks of time"
UNTESTED = "none: folds share training samples, and swapping would find 8 to 25 % where 5 are due"


def compare(
    a: Encoding,
    b: Encoding | None = None,
    models: Pair | Sequence[Pair] | None = None,
    n: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Paired difference in r between two models of one fit, or of two fits to the same responses.

    Parameters
    ----------
    a, b : Encoding
        With `b`: two language models, two designs; the same test samples, folds and targets.
    models : (str, str) or several of them, optional
        The first one's r less the second's; with `b` the first is a model of `a`, the second of `b`. By default
        ("full", "baseline"), with `b` ("full", "full"). Layers have predictions of their own where they were fitted
        with ``choose_one=False`` (study file: `layers: each`): ``models=[("lm.3", "lm.0"), ("lm.6", "lm.0")]``.
    n : int
        Bootstrap samples, and patterns of swaps.
    seed : int

    Returns
    -------
    DataFrame
        Rows `over` "target": the target's own columns, `model_a`, `model_b`, `r_a`, `r_b`, `difference`; `low`,
        `high` (95 %, blocks of time resampled, the same for both models) and `interval`, what they are conditional
        on; `p`, two-sided, and `test`, how; `q` (Benjamini–Hochberg over the targets of all pairs). Then, where the
        fits have people (behind an average, or as `subject` of the targets), a row `over` "people" per pair: means
        over people of each one's mean over targets; people resampled, their signs flipped; `n_people`, `n_targets`,
        `fewest` and `most` targets per person; q over these rows.

    Raises
    ------
    InputError
        Different samples, folds, targets or responses; a model whose predictions were not kept.
    SettingsError
        A model compared with itself.

    Warns
    -----
    RuntimeWarning
        Fewer than 12 blocks of correlated samples: p cannot be small.

    Notes
    -----
    The test (`swap_test`) asks whether these *fitted* models predict equally well, on one untouched test set: 5.0 % of
    true nulls are found at 5 % in white noise, 6.0 % with autocorrelation .8 (1,000 samples). About the two feature
    spaces, fitted on other data, it says less: two equally informative ones differ by the luck of training in 5 to 9 %.

    With several folds `p` of targets is NaN. Every pair of folds shares training samples, so that the luck of training
    is counted once per fold: of two equally informative spaces of 10 or 50 columns 8 and 14 % differed in white noise,
    22 and 25 % with autocorrelation .8 (600 samples, 6 folds), and intervals covered .90 to .65. Hold out a test set
    (`hold_out`), or compare over people, who are independent of each other whatever the folds.

    Examples
    --------
    >>> from brainalign.encoding.chance import Chance
    >>> from brainalign.encoding.encode import encode
    >>> from brainalign.encoding.folds import hold_out
    >>> from brainalign.signals import Signal
    >>> rng = np.random.default_rng(0)
    >>> samples = pd.DataFrame({"run": np.repeat(["1", "2", "3"], 100), "time": np.tile(np.arange(100.0), 3)})
    >>> x = Signal(rng.standard_normal((300, 2)), samples, pd.DataFrame({"band": ["rate", "lm"]}))
    >>> noise = rng.standard_normal((300, 2))
    >>> y = Signal(x.values @ [[1.0, 1.0], [1.0, 0.0]] + noise, samples, pd.DataFrame({"roi": ["LIFG", "A1"]}))
    >>> fit = encode(x, y, baseline=["rate"], folds=hold_out(run=["3"]), chance=Chance(permutations=0, bootstrap=0))
    >>> (compare(fit).set_index("roi")["q"] < 0.05).to_dict()
    {'LIFG': True, 'A1': False}
    """
    other = a if b is None else b
    if b is not None:
        _check_same(a, b)
    tables, people = [], []
    for first, second in _pairs(a, models, two=b is not None):
        one = _targets(a, other, (first, second), n, seed)
        tables.append(one)
        people += _people(a, other, one, (first, second), n, seed)
    targets = pd.concat(tables, ignore_index=True)
    targets["q"] = fdr(targets["p"].to_numpy(float))
    if not people:
        return targets
    over = pd.DataFrame(people)
    over["q"] = fdr(over["p"].to_numpy(float))
    columns = [*targets.columns, *(c for c in over.columns if c not in targets)]
    records = [*targets.to_dict("records"), *over.to_dict("records")]
    return pd.DataFrame(records, columns=columns)


def _pairs(a: Encoding, models: Pair | Sequence[Pair] | None, two: bool) -> list[Pair]:
    if models is None:
        return [("full", "full" if two else "baseline")]
    pairs: list[Any] = [models] if models and isinstance(models[0], str) else list(models)
    for pair in pairs:
        if isinstance(pair, str) or len(pair) != 2:
            raise SettingsError(f"models are pairs of names, such as ('full', 'baseline'); found {pair!r}")
        if not two and pair[0] == pair[1]:
            raise SettingsError(f"model {pair[0]!r} is compared with itself: name two, or give a second fit")
    if not pairs:
        raise SettingsError("models names no pair: give one, such as ('full', 'baseline')")
    return [(str(first), str(second)) for first, second in pairs]


def _targets(a: Encoding, b: Encoding, pair: Pair, n: int, seed: int) -> pd.DataFrame:
    """One row per target."""
    y = a.observed.array()
    fold = a.predictions.samples["fold"].to_numpy()
    first, second = (_predicted(fit, model) for fit, model in zip((a, b), pair, strict=True))
    several = len(np.unique(fold)) > 1
    r_a, r_b = (pearson_within(y, one, fold) for one in (first, second))
    span = paired_interval(y, first, second, fold, n=n, seed=seed)
    own = a.observed.columns.reset_index(drop=True)
    found = {
        "model_a": pair[0],
        "model_b": pair[1],
        "r_a": r_a,
        "r_b": r_b,
        "difference": r_a - r_b,
        "low": span.low,
        "high": span.high,
        "p": np.full(len(r_a), np.nan) if several else swap_test(y, first, second, fold, n=n, seed=seed),
        "q": np.nan,
        "interval": KIND[several],
        "test": UNTESTED if several else SWAPPED,
    }
    return pd.concat([pd.DataFrame({"over": "target"}, own.index), own, pd.DataFrame(found, own.index)], axis=1)


def _people(a: Encoding, b: Encoding, targets: pd.DataFrame, pair: Pair, n: int, seed: int) -> list[dict[str, Any]]:
    """The row over people, where there are at least two."""
    if len(a.people) and len(b.people):
        first, second = (
            fit.people[fit.people["model"] == model].reset_index(drop=True)
            for fit, model in zip((a, b), pair, strict=True)
        )
        if not len(first) or not len(second):
            return []  # people behind an average are scored by baseline and full only
        if first["subject"].astype(str).tolist() != second["subject"].astype(str).tolist():
            raise InputError("the two fits have different people behind their averages: average the same ones")
        subject, r_a, r_b = first["subject"], first["r"], second["r"]
    elif "subject" in targets and targets["subject"].nunique() > 1:
        subject, r_a, r_b = targets["subject"], targets["r_a"], targets["r_b"]
    else:
        return []
    who, means = subject.to_numpy(), []
    for values in (r_a, r_b, r_a - r_b):
        means.append(over_people(values.to_numpy(float), who, n, seed))
    whole = means[2]
    kept = {name: whole[name] for name in ("low", "high", "interval", "n_people", "n_targets", "fewest", "most")}
    return [
        {
            "over": "people",
            "model_a": pair[0],
            "model_b": pair[1],
            "r_a": means[0]["mean"],
            "r_b": means[1]["mean"],
            "difference": whole["mean"],
            "p": whole["p_two_sided"],
            "test": "signs of people flipped",
            **kept,
        }
    ]


def _predicted(fit: Encoding, model: str) -> np.ndarray:
    """(n_test, t) held-out predictions of one model."""
    kept = fit.predictions.columns["model"]
    mine = np.flatnonzero((kept == model).to_numpy())
    if not len(mine):
        names = list(dict.fromkeys(kept))
        if model in set(fit.scores["model"]):
            raise InputError(
                f"the predictions of {model!r} were not kept, only those of {', '.join(names)}: layers keep theirs "
                "where none is chosen, choose_one=False (study file: layers: each)"
            )
        raise InputError(f"there are no predictions of a model {model!r}; " + did_you_mean(model, names))
    return np.asarray(fit.predictions.values[:, mine])


def _check_same(a: Encoding, b: Encoding) -> None:
    """Both fits predict the same responses, sample by sample."""
    if not same_samples(a.observed.samples, b.observed.samples):
        raise InputError(
            f"the two fits were not tested on the same samples: {a.observed!r} and {b.observed!r}; "
            "encode both on one recording with the same folds"
        )
    folds = [pd.factorize(fit.predictions.samples["fold"])[0] for fit in (a, b)]
    if not np.array_equal(folds[0], folds[1]):
        raise InputError(
            f"the two fits have different folds ({folds[0].max() + 1} and {folds[1].max() + 1}): give both the same"
        )
    if a.observed.shape != b.observed.shape or not _same_targets(a.observed.columns, b.observed.columns):
        raise InputError(f"the two fits have different targets: {a.observed!r} and {b.observed!r}")
    if not np.allclose(a.observed.array(), b.observed.array(), rtol=1e-4, atol=1e-6):
        raise InputError(
            "the two fits were made on different responses (cleaned or averaged differently?): encode both on one"
        )


def _same_targets(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    shared = [c for c in a.columns if c in b.columns]
    return a[shared].astype(str).equals(b[shared].astype(str))
