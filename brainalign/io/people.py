"""Which people can stand side by side, and of which may a mean be taken?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.io.holding import noun_of
from brainalign.io.series import Series, same_grid
from brainalign.provenance import hash_array
from brainalign.rows import RowJob, keep_rows, parts_of
from brainalign.scratch import LARGE
from brainalign.signals import Signal, join, merge_attrs, same_samples
from brainalign.store import Store, key_of

PART = 64 << 20  # bytes written together


def list_names(who: list[str], most: int = 5) -> str:
    """Names for a sentence, the first few of many."""
    return ", ".join(who[:most]) + (f" and {len(who) - most} more" if len(who) > most else "")


def labels_of(said: Any) -> list[str]:
    """One label or several, as text: "01", 1, a number of numpy's, or a list of those."""
    return [str(said)] if isinstance(said, str) or np.ndim(said) == 0 else [str(one) for one in said]


def by_clock(signals: list[Signal]) -> list[list[Signal]]:
    """People grouped by the runs and times they share, in order of appearance."""
    groups: list[list[Signal]] = []
    for signal in signals:
        for group in groups:
            if same_samples(group[0].samples, signal.samples):
                group.append(signal)
                break
        else:
            groups.append([signal])
    return groups


def alike(people: list[Signal], read: list[Series]) -> list[Signal]:
    """People whose mean may be taken: on one clock and grid, with the same regions; else the places that everybody has.

    `read` is what each of them was read from: it knows the grid, and what a column is found by.
    """
    clocks = by_clock(people)
    if len(clocks) > 1:
        raise InputError(_different_clocks(clocks))
    if read[0].key != ("roi",):
        return _common_places(people, read)
    first = people[0].columns
    for other in people[1:]:
        differ = sorted(set(first["roi"]) ^ set(other.columns["roi"]))
        if differ:
            who = [f"sub-{columns['subject'].iloc[0]}" for columns in (first, other.columns)]
            raise InputError(
                f"a mean over subjects needs the same regions in all of them: {', '.join(differ)} in only one of "
                f"{' and '.join(who)}; take them out, or name those to be averaged"
            )
    return people


def _different_clocks(clocks: list[list[Signal]]) -> str:
    lines = []
    for group in clocks:
        who = list_names([f"sub-{signal.columns['subject'].iloc[0]}" for signal in group])
        first, runs = group[0], len(group[0].runs)
        n, start = len(first.samples), first.samples["time"].iloc[0]
        lines.append(
            f"{who}: {n} volumes in {runs} run{'s' * (runs != 1)}, TR {first.attrs['tr']:g} s, from {start:g} s"
        )
    return (
        "a mean over subjects needs all of them on one clock, found " + "; ".join(lines) + "; name those to be averaged"
    )


def _common_places(people: list[Signal], read: list[Series]) -> list[Signal]:
    """The voxels or vertices that everybody has."""
    key = list(read[0].key)
    places = [pd.MultiIndex.from_frame(p.columns[key].astype("object")) for p in people]
    shared = places[0][np.logical_and.reduce([places[0].isin(mine) for mine in places])]
    if not len(shared) or not all(same_grid(one, read[0]) for one in read):
        raise InputError(
            "a mean over subjects needs their recordings on one grid, in one space: name a space, or average: none"
        )
    kept = [p.select(columns=mine.get_indexer(shared)) for p, mine in zip(people, places, strict=True)]
    # what differs on one grid is rounding of the affine, and would keep the voxels apart
    mm = [axis for axis in ("x", "y", "z") if axis in kept[0].columns]
    kept = [replace(p, columns=p.columns.assign(**{axis: kept[0].columns[axis] for axis in mm})) for p in kept]
    note = f"mean over the {len(shared)} {noun_of(key)[1]} that all {len(people)} people have"
    return [replace(p, attrs={**p.attrs, "notes": [*p.attrs["notes"], note]}) for p in kept]


def side_by_side(people: list[Signal], store: Store | None = None) -> Signal:
    """People on one clock as columns of one Signal, their confounds alike; what is large is written to the store.

    A volume is in use where it is in everybody, and a note counts those that are not.
    """
    beside = [p.related["confounds"] for p in people if "confounds" in p.related]
    alone = [replace(p, related={}) for p in people]
    together = alone[0] if len(alone) == 1 else _joined(alone, store)
    attrs: dict[str, Any] = {}
    for p in reversed(people):
        attrs = merge_attrs(p.attrs, attrs)
    out = int((~together.use).sum())
    if out and len(people) > 1:
        note = (
            f"{out} of {len(together.use)} volumes are out of use, censored in at least one of the {len(people)} people"
        )
        attrs["notes"] = [*attrs.get("notes", []), note]
    return replace(together, attrs=attrs, related={"confounds": join(*beside)} if beside else {})


def _joined(people: list[Signal], store: Store | None) -> Signal:
    n, widths = len(people[0].samples), [p.shape[1] for p in people]
    if 4 * n * sum(widths) <= LARGE:
        return join(*people)

    def begin() -> RowJob:
        parts = parts_of([4 * sum(widths) / PART] * n)
        rows = lambda part: np.concatenate([p.values[part.start : part.stop] for p in people], axis=1)  # noqa: E731
        return RowJob((n, sum(widths)), [np.arange(p.start, p.stop) for p in parts], lambda k: rows(parts[k]))

    key = key_of(what="people side by side", people=[hash_array(p.values) for p in people])
    values = keep_rows(Store() if store is None else store, key, begin, {"what": "people side by side"})["values"]
    columns = pd.concat([p.columns for p in people], ignore_index=True)
    use = np.logical_and.reduce([p.use for p in people])
    samples = people[0].samples if use.all() else people[0].samples.assign(use=use)
    return Signal(values, samples, columns)
