"""Which samples are one course of time, and which runs tell the same story?"""

from __future__ import annotations

import heapq
from collections import defaultdict

import numpy as np
import pandas as pd

APART_S = 2.0  # stimuli at least so far apart are met one by one; closer ones share a response
SAME = 0.5  # share of stimuli met again after the one they followed before, up to which their order was drawn anew


def place_in_course(samples: pd.DataFrame) -> np.ndarray | None:
    """(n,) the place of each sample's stimulus in the one order in which runs met them, some of which a run may lack.

    None where some have no label, where nothing is met again, or where runs met them in several orders.

    Examples
    --------
    >>> story = pd.DataFrame({"run": ["1", "1", "2", "2"], "stimulus": ["a", "b"] * 2, "repeat": [1, 1, 2, 2]})
    >>> place_in_course(story).tolist()
    [0, 1, 0, 1]
    """
    if not {"stimulus", "repeat"} <= set(samples) or not len(samples):
        return None
    what = ["stimulus", *(["stimulus_time"] if "stimulus_time" in samples else [])]
    if samples[what].isna().any(axis=None):
        return None
    label = samples.groupby(what, sort=False).ngroup().to_numpy()
    return None if label.max() == len(label) - 1 else _one_order(label, samples["run"].to_numpy())


def _one_order(label: np.ndarray, run: np.ndarray) -> np.ndarray | None:
    """(n,) places of labels in an order that all runs keep, by first appearance where they leave it open; or None."""
    same = run[1:] == run[:-1]
    steps = np.unique(np.stack([label[:-1][same], label[1:][same]], axis=1), axis=0)
    count = int(label.max()) + 1
    waits = np.bincount(steps[:, 1], minlength=count)
    after: dict[int, list[int]] = defaultdict(list)
    for one, following in steps.tolist():
        after[one].append(following)
    ready = np.flatnonzero(waits == 0).tolist()
    order: list[int] = []
    while ready:
        order.append(heapq.heappop(ready))
        for following in after[order[-1]]:
            waits[following] -= 1
            if not waits[following]:
                heapq.heappush(ready, following)
    if len(order) < count:
        return None
    place = np.empty(count, int)
    place[order] = np.arange(count)
    return place[label]


def told_together(samples: pd.DataFrame) -> np.ndarray:
    """(n,) which runs tell one story: those that share stimuli in one order have one number.

    Examples
    --------
    >>> story = pd.DataFrame({"run": ["1", "1", "2", "2", "3"], "stimulus": [*"abab", "c"], "repeat": [1, 1, 2, 2, 1]})
    >>> told_together(story).tolist()
    [0, 0, 0, 0, 1]
    """
    run = pd.factorize(samples["run"])[0]
    place = place_in_course(samples)
    if place is None:
        return run
    story = np.arange(run.max() + 1)
    met = pd.DataFrame({"run": run, "place": place}).drop_duplicates()
    for _, some in met.groupby("place")["run"]:
        known = story[some.to_numpy()]
        story[np.isin(story, known)] = known.min()
    return np.unique(story, return_inverse=True)[1][run]


def is_series(samples: pd.DataFrame) -> bool:
    """Whether neighbouring samples belong to one course of time, and not to stimuli met one by one.

    Stimuli met one by one are named (`stimulus`, without `stimulus_time`), and at least APART_S seconds apart or
    (`repeat`) met again in an order drawn anew.
    """
    if "stimulus" not in samples or "stimulus_time" in samples:
        return True
    steps = samples.groupby("run", sort=False)["time"].diff().to_numpy(float)
    steps = steps[steps > 0]
    return bool(len(steps)) and float(np.median(steps)) < APART_S and not _drawn_anew(samples)


def _drawn_anew(samples: pd.DataFrame) -> bool:
    """Whether stimuli that are met again seldom follow the one that they followed before."""
    if "repeat" not in samples or samples["stimulus"].isna().any():
        return False
    run, stimulus = samples["run"].to_numpy(), samples["stimulus"].to_numpy()
    same = run[1:] == run[:-1]
    pairs = pd.DataFrame({"before": stimulus[:-1][same], "what": stimulus[1:][same]})
    times, together = (pairs.groupby(by).size().to_numpy() for by in ("what", ["before", "what"]))
    again = (times * (times - 1)).sum()
    return bool(again) and (together * (together - 1)).sum() < SAME * again
