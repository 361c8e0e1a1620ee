"""Do places rise along an axis over the electrodes: do deeper layers meet electrodes farther from a landmark?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from brainalign.encoding.group import over_people
from brainalign.errors import InputError, did_you_mean
from brainalign.maths.gradient import Gradient
from brainalign.maths.gradient import gradient as within_groups

LEAST = 8  # electrodes; of fewer p says little
LEAST_OF_ONE = 3  # two electrodes have r = ±1
AXES = ("x", "y", "z")
NAMES = ("channel", "electrode")  # what an electrode is called; else it is where it lies
FLIPPED = "signs of patterns flipped"


def gradient(
    electrodes: pd.DataFrame,
    of: str = "place",
    along: str = "landmark_mm",
    *,
    by: str = "subject",
    n: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Does what each electrode prefers go with where it lies: a gradient of layers, or of lags, over the brain?

    Parameters
    ----------
    electrodes : DataFrame
        A row per electrode, with `of`, `along`, `by` and its position `x`, `y`, `z` (mm): `fit.choices`, and the column
        that `distance_to` adds.
    of : str
        What may rise: "place", the layer that inner folds chose, "centre" or "peak"; of a table of `latency` "centre".
    along : str
        Along what: "landmark_mm", "y".
    by : str
        Whose an electrode is. Comparisons are within people only: neither a person whose layers are all deep nor one
        whose electrodes are all far away makes a gradient.
    n : int
        Flips for p; all patterns of signs where these are no more.
    seed : int

    Returns
    -------
    DataFrame
        One row over all electrodes, one over people, one per person: `over` is "electrodes", "people" or "person", and
        the column `by` says who. `r`: Spearman's within people; over people the mean of their own. `slope`: of `of` per
        unit of `along`, such as layers per mm, least squares within people. `low`, `high`: 95 % of r, and `interval`,
        how it was made. `p`, two-sided, and `p_floor`, the least it can be. `n_people`, `n_electrodes`, and `left_out`:
        electrodes without a position, `of`, `along` or `by`, and those of people who have fewer than three.

    Raises
    ------
    InputError
        A column that is not there or holds no numbers, an electrode that is there twice, a person in two frames, fewer
        than eight electrodes, or nothing that varies.

    Notes
    -----
    The two p speak of different things. Over electrodes: would maps as smooth as these, independent from person to
    person, go with the axis as closely? It speaks of these people. Over people: could each one's r as well have
    had the other sign? It speaks of people like these, whatever their maps; with five people it is at least .0625.

    Electrodes lie close together on shafts and grids, and neighbours record alike. To permute them makes p far too
    small, so p over electrodes flips the signs of each map's patterns (`brainalign.maths.gradient`). False positives at
    .05 of 3, 6 and 10 people, 20 to 120 electrodes each, 6,000 simulated studies for each number: .042 to .058 whether
    maps have no autocorrelation, one that falls to 1/e within 5, 10, 20 or 40 mm, another shape, a level for each
    shaft, or layers 0 to 12; .046 to .054 of one person. Permuted electrodes have .05, then .16 to .56.

    Where it does not hold. Maps whose amplitude differs over the brain (1/e within 30 mm of the landmark): .07 over
    electrodes, over people .05. People who share half of their maps for another reason than the axis: .10, .17 and .29
    of 3, 6 and 10 people, over people no better. Another landmark, which should show less, is the control.

    Power at r = .3 and 10 mm: .48, .86 and .98 with 3, 6 and 10 people, over people 0, .55 and .94; one person .15.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame(rng.uniform(0, 60, (90, 3)), columns=["x", "y", "z"])
    >>> table["subject"] = np.repeat(["01", "02", "03"], 30)
    >>> table["landmark_mm"] = np.linalg.norm(table[["x", "y", "z"]], axis=1)
    >>> table["place"] = np.round(table["landmark_mm"] / 10 + rng.standard_normal(90))
    >>> found = gradient(table, n=999)
    >>> print(found[["over", "subject", "slope", "p", "p_floor"]].round(3).to_string(index=False))
          over subject  slope     p  p_floor
    electrodes     all  0.093 0.001    0.001
        people     all  0.092 0.250    0.250
        person      01  0.080 0.053    0.001
        person      02  0.103 0.035    0.001
        person      03  0.095 0.006    0.001
    """
    known = _known(electrodes, of, along, by)
    people = known.groupby(by, sort=False)
    each = {who: _found(mine, of, along, None, n, seed) for who, mine in people}
    own = pd.DataFrame.from_dict({who: vars(one) for who, one in each.items()}, orient="index").dropna()
    if own.empty:
        still = [name for name in (of, along) if (people[name].nunique() == 1).all()] or [of, along]
        raise InputError(
            f"{' and '.join(map(repr, still))} is the same at all electrodes of each person: a gradient is looked for "
            "within people, where something varies"
        )
    counts, given = people.size(), electrodes[by].value_counts()
    group = over_people(own["r"].to_numpy(), own.index.to_numpy(), seed=seed)
    means = {"r": group["mean"], "slope": own["slope"].mean(), "p": group["p_two_sided"]}
    means |= {name: group[name] for name in ("low", "high", "interval")} | {"p_floor": 2 * group["p_floor"]}
    all_together = vars(_found(known, of, along, people.ngroup().to_numpy(), n, seed))
    rows: list[dict[str, Any]] = [
        {"over": "electrodes", by: "all", "n_people": len(each), "n_electrodes": len(known)} | all_together,
        {"over": "people", by: "all", "n_people": len(own), "n_electrodes": counts[own.index].sum()} | means,
    ]
    for who, one in each.items():
        rows.append({"over": "person", by: who, "n_people": 1, "n_electrodes": counts[who]} | vars(one))
    out = pd.DataFrame(rows)
    out["left_out"] = out[by].map(given).fillna(len(electrodes)).astype(int) - out["n_electrodes"]
    out["interval"] = out["interval"].fillna(FLIPPED)
    columns = ["over", by, "r", "slope", "low", "high", "p", "p_floor", "n_people", "n_electrodes", "left_out"]
    return out[[*columns, "interval"]]


def _found(table: pd.DataFrame, of: str, along: str, who: np.ndarray | None, n: int, seed: int) -> Gradient:
    values, axis, places = (table[names].to_numpy(float) for names in (of, along, list(AXES)))
    return within_groups(values, axis, places, who, n, seed)


def _known(electrodes: pd.DataFrame, of: str, along: str, by: str) -> pd.DataFrame:
    """The electrodes of which all is known, of people who have enough of them."""
    _check_columns(electrodes, of, along, by)
    numbers = electrodes[[of, along, *AXES]].to_numpy(float, na_value=np.nan)
    known = electrodes[np.isfinite(numbers).all(axis=1) & electrodes[by].notna().to_numpy()]
    _check_rows(known, by)
    known = known[known.groupby(by)[by].transform("size") >= LEAST_OF_ONE]
    if len(known) < LEAST:
        raise InputError(
            f"a gradient needs at least {LEAST} electrodes with {of!r}, {along!r} and a position, of people who have "
            f"{LEAST_OF_ONE} or more; found {len(known)} of {len(electrodes)}: take in more people, or fill in what is "
            "NaN"
        )
    return known


def _check_columns(electrodes: pd.DataFrame, of: str, along: str, by: str) -> None:
    if not isinstance(electrodes, pd.DataFrame):
        raise InputError(
            f"electrodes are a table with a row for each, such as fit.choices; found {type(electrodes).__name__}"
        )
    for name in (of, along, by, *AXES):
        if name not in electrodes:
            adds = " (distance_to adds distances)" * (name == along) + " (read_ieeg gives positions)" * (name in AXES)
            raise InputError(f"electrodes have no column {name!r}{adds}; " + did_you_mean(name, electrodes.columns))
    for name in (of, along, *AXES):
        if len(electrodes) and not pd.api.types.is_numeric_dtype(electrodes[name]):
            raise InputError(
                f"the column {name!r} holds no numbers, such as {electrodes[name].iloc[0]!r}: name one that does, "
                "'place' or 'centre'"
            )


def _check_rows(known: pd.DataFrame, by: str) -> None:
    """A row per electrode, each person in one frame."""
    called = [name for name in NAMES if name in known] or list(AXES)
    twice = known[known.duplicated([by, *called], keep=False)]
    if len(twice):
        one = twice.iloc[0]
        same = twice[(twice[[by, *called]] == one[[by, *called]]).all(axis=1)]
        lags = same["lag"].unique().tolist() if "lag" in same else []
        what_to_do = f"give a row per electrode, told apart by {' and '.join(called)}"
        if len(lags) > 1:
            what_to_do = f"choose one of its lags, {lags[0]} to {lags[-1]}: table[table['lag'] == {lags[0]}]"
        raise InputError(
            f"electrode {' '.join(str(one[name]) for name in called)} of {one[by]!r} has {len(same)} rows: {what_to_do}"
        )
    if "frame" in known:
        for who, frames in known.groupby(by)["frame"]:
            if frames.nunique() > 1:
                raise InputError(
                    f"electrodes of {who!r} are in {' and '.join(frames.dropna().unique())}: positions in two frames "
                    "are not compared; read those in one frame (coordinates)"
                )
