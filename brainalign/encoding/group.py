"""Does it hold over people?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from brainalign.encoding.result import Encoding
from brainalign.encoding.score import ratio_of_means
from brainalign.errors import InputError, did_you_mean
from brainalign.maths import inference
from brainalign.maths.people import EXACT_PEOPLE, bootstrap_mean, bootstrap_nested, sign_flip

FLIPS = 10_000  # random patterns of signs, above 17 people


def group(
    fits: Encoding | Sequence[Encoding],
    models: tuple[str, str] = ("full", "baseline"),
    by: str | None = None,
    n: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean over people of each person's mean over targets: r of two models, and the gain of the first on the second.

    Whoever has most electrodes or voxels counts no more than the others.

    Parameters
    ----------
    fits : Encoding, or one per person
        One whose targets have `subject` (or that keeps the people behind an average); or several, of people on
        different clocks, with whatever number of targets each has.
    models : (str, str)
        Which model's gain on which.
    by : str, optional
        A column of the targets, such as "roi": a block of rows per value. People without a target there do not count
        there.
    n : int
        Bootstrap samples.
    seed : int

    Returns
    -------
    DataFrame
        Three rows (per value of `by`), `what`: either model, and "gain". `mean`; `low`, `high` (95 %: people
        resampled, and what each of them has where they have unequal numbers); `interval`, which of the two; `p` of the
        gain, one-sided, signs of people flipped, and `p_floor`, the least it can be; with `by` also `q` over its values
        (Benjamini–Hochberg); `n_people`, `n_targets`, `fewest` and `most` per person; `normalised`, the mean over
        people of each one's ratio of means over the targets with a ceiling, and `n_normalised`, how many have one.

    Raises
    ------
    InputError
        Fewer than two people, a model or column that is not there, targets without `subject`, a person twice.

    Notes
    -----
    Intervals and p speak of people like these meeting these very stimuli, not of other stimuli. With one person, or
    none left in a region, they are NaN.

    Examples
    --------
    >>> from brainalign.encoding.chance import Chance
    >>> from brainalign.encoding.encode import encode
    >>> from brainalign.signals import Signal
    >>> rng = np.random.default_rng(0)
    >>> samples = pd.DataFrame({"run": np.repeat(["1", "2", "3"], 60), "time": np.tile(np.arange(60.0), 3)})
    >>> x = Signal(rng.standard_normal((180, 2)), samples, pd.DataFrame({"band": ["rate", "lm"]}))
    >>> brains = [
    ...     Signal(x.values[:, 1:] + rng.standard_normal((180, len(who))), samples, pd.DataFrame({"subject": who}))
    ...     for who in (["01"], ["02"] * 3, ["03"] * 2)
    ... ]
    >>> quick = Chance(permutations=0, bootstrap=0)
    >>> found = group([encode(x, y, baseline=["rate"], chance=quick) for y in brains])
    >>> print(found[["what", "p", "p_floor", "n_people", "fewest", "most"]].tail(1).to_string(index=False))
    what     p  p_floor  n_people  fewest  most
    gain 0.125    0.125         3       1     3
    """
    table = _by_person([fits] if isinstance(fits, Encoding) else list(fits), models)
    if by is not None and by not in table:
        raise InputError(f"targets have no column {by!r}; " + did_you_mean(by, [*_own(table)]))
    people = table["subject"].nunique()
    if people < 2:
        raise InputError(f"a group has at least two people; found {people}: give one Encoding per person")
    places = [(None, table)] if by is None else list(table.groupby(by, sort=False))
    rows = [row | ({} if by is None else {by: place}) for place, some in places for row in _rows(some, models, n, seed)]
    tested = ["p", "p_floor"] if by is None else ["p", "q", "p_floor"]
    columns = ["what", "mean", "low", "high", *tested, "n_people", "n_targets", "fewest", "most"]
    out = pd.DataFrame(rows).reindex(
        columns=[*([by] if by else []), *columns, "normalised", "n_normalised", "interval"]
    )
    if by is not None:
        out["q"] = inference.fdr(out["p"].to_numpy(float))
    return out


def over_people(values: np.ndarray, subject: np.ndarray, n: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Mean over people of each one's mean, its interval, and p of signs flipped.

    Parameters
    ----------
    values : array (m,)
        One per target; NaN does not count.
    subject : array (m,)
        Whose it is.
    n : int
        Bootstrap samples; 0: no interval.
    seed : int

    Returns
    -------
    dict
        `mean`, `low`, `high`, `interval` (how it was made), `p` (one-sided: above zero), `p_two_sided`, `p_floor`
        (one-sided), `n_people`, `n_targets`, `fewest`, `most`. Intervals and p are NaN of fewer than two people.

    Examples
    --------
    >>> found = over_people(np.array([1.0, 3.0, 1.0]), np.array(["a", "a", "b"]))
    >>> found["mean"], found["p"], found["n_people"], found["most"]
    (1.5, 0.25, 2, 2)
    """
    known = pd.Series(np.asarray(values, float), index=pd.Index(np.asarray(subject))).dropna()
    each = known.groupby(level=0, sort=False)
    means, counts = each.mean().to_numpy(), each.size().to_numpy()
    missing = float("nan")
    out: dict[str, Any] = {
        "mean": float(means.mean()) if len(means) else missing,
        **dict.fromkeys(("low", "high", "p", "p_two_sided", "p_floor"), missing),
        "interval": "",
        "n_people": len(means),
        "n_targets": int(counts.sum()),
        "fewest": int(counts.min(initial=len(known))),
        "most": int(counts.max(initial=0)),
    }
    if len(means) < 2:
        return out
    above, below = (float(sign_flip(sign * means, n=FLIPS, seed=seed)) for sign in (1, -1))
    floor = 0.5 ** len(means) if len(means) <= EXACT_PEOPLE else 1 / (1 + FLIPS)
    out |= {"p": above, "p_two_sided": min(1.0, 2 * min(above, below)), "p_floor": floor}
    if n:
        unequal = out["fewest"] < out["most"]
        span = (
            bootstrap_nested(known.to_numpy(), known.index.to_numpy(), n=n, seed=seed)
            if unequal
            else bootstrap_mean(means, n=n, seed=seed)
        )
        kind = "bootstrap over people" + " and their targets" * unequal
        out |= {"low": float(span.low), "high": float(span.high), "interval": kind}
    return out


def _rows(table: pd.DataFrame, models: tuple[str, str], n: int, seed: int) -> list[dict[str, Any]]:
    """Either model, and the gain."""
    subject = table["subject"].to_numpy()
    first, second = (table[f"r {name}"] for name in models)
    rows = []
    for what, values in ((models[0], first), (models[1], second), ("gain", first - second)):
        row = {"what": what, **over_people(values.to_numpy(float), subject, n, seed)}
        if what != "gain":
            row["p"] = row["p_floor"] = float("nan")
        shares = [
            ratio_of_means(*(some[c].to_numpy(float) for c in ("value", "ceiling_r", "normalised_r")))
            for _, some in table.assign(value=values).groupby("subject", sort=False)
        ]
        told = np.array(shares)[np.isfinite(shares)]
        row |= {"normalised": float(told.mean()) if len(told) else float("nan"), "n_normalised": len(told)}
        rows.append(row)
    return rows


def _by_person(fits: list[Encoding], models: tuple[str, str]) -> pd.DataFrame:
    """Every person's targets: their own columns, r of both models, the ceiling."""
    tables, seen = [], set()
    for k, fit in enumerate(fits, start=1):
        which = f"fit {k} of {len(fits)}" if len(fits) > 1 else "the fit"
        scores = fit.people if len(fit.people) else fit.scores
        if "subject" not in scores:
            raise InputError(f"the targets of {which} have no `subject`: give columns one before encode")
        known = list(dict.fromkeys(scores["model"]))
        for name in models:
            if name not in known:
                raise InputError(f"{which} has no model {name!r} of people; " + did_you_mean(name, known))
        first, second = (scores[scores["model"] == name].reset_index(drop=True) for name in models)
        twice = seen & set(first["subject"])
        if twice:
            raise InputError(f"subject {sorted(twice)[0]!r} is in two of the fits: one Encoding per person")
        seen |= set(first["subject"])
        own = first[_own(first)]
        rs = {f"r {name}": table["r"] for name, table in zip(models, (first, second), strict=True)}
        tables.append(own.assign(**rs, ceiling_r=first["ceiling_r"], normalised_r=first["normalised_r"]))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"subject": []})


def _own(table: pd.DataFrame) -> list[str]:
    """The targets' own columns: all before the model's."""
    columns = [str(c) for c in table.columns]
    return columns[: columns.index("model")] if "model" in columns else columns
