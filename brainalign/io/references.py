"""Against what is each electrode measured: as recorded, all, its shaft, its neighbour, its neighbours?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.io.channels import shafts_of
from brainalign.io.grids import Grids, beside_each_other, size_of
from brainalign.io.people import list_names

KEPT = ["type", "x", "y", "z", "frame", "shaft"]


@dataclass(frozen=True, eq=False)
class Reference:
    """A linear map from channels to columns, ``values @ matrix``; no channel that is bad has a part in it.

    Parameters
    ----------
    matrix : array (n_channels, n_columns)
    columns : DataFrame, one row per column
        `channel` (its name: "LA1", of a pair "LA1-LA2"), `type`, `x`, `y`, `z` (mm, of a pair the middle), `frame`,
        `shaft`.
    medians : tuple of (rows, columns)
        Groups of which the median over channels is taken off first, sample by sample.
    notes : tuple of str
        What has no column, and why.
    """

    matrix: np.ndarray
    columns: pd.DataFrame
    medians: tuple[np.ndarray, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @cached_property
    def used(self) -> np.ndarray:
        """The channels that have a part in it: positions, rising."""
        return np.flatnonzero((self.matrix != 0).any(1))

    def apply(self, block: np.ndarray) -> np.ndarray:
        """Columns from channels, some samples at a time.

        Parameters
        ----------
        block : array (m, n_channels), float64

        Returns
        -------
        array (m, n_columns), float64
            The block itself where every column is a channel as it is.
        """
        if self.medians:
            block = block.copy()
            for rows in self.medians:
                block[:, rows] -= np.median(block[:, rows], axis=1, keepdims=True)
        mine = block if len(self.used) == block.shape[1] else block[:, self.used]
        if self._less is not None:
            own, shared, which = self._less
            out = mine if len(own) == mine.shape[1] and (own == np.arange(len(own))).all() else mine[:, own]
            means = mine @ shared if shared.any() else None
            return out if means is None else out - (means if means.shape[1] == 1 else means[:, which])
        return mine @ self.matrix[self.used] if self._sparse is None else (self._sparse @ mine.T).T

    @cached_property
    def _less(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Where columns are channels less a few means that many share: the channels, the means, whose is which."""
        mine = self.matrix[self.used]
        own = np.argmax(mine, axis=0)
        rest = -mine
        rest[own, np.arange(len(own))] += 1.0
        shared, which = np.unique(rest, axis=1, return_inverse=True)
        return (own, shared, which.ravel()) if shared.shape[1] * 4 <= mine.shape[1] or not rest.any() else None

    @cached_property
    def _sparse(self) -> Any:
        from scipy.sparse import csr_array

        mine = self.matrix[self.used]
        return csr_array(mine.T) if np.count_nonzero(mine) * 10 < mine.size else None


def as_recorded(channels: pd.DataFrame) -> Reference:
    """The good channels as they are, against whatever the amplifier measured them.

    Parameters
    ----------
    channels : DataFrame
        `name`, `type`, `status`, `shaft`, `number`, `x`, `y`, `z`, `frame`, as `Opened.channels` has them.

    Returns
    -------
    Reference

    Examples
    --------
    >>> channels = contacts(["LA1", "LA2", "LA3"], bad=["LA2"])
    >>> as_recorded(channels).columns["channel"].tolist()
    ['LA1', 'LA3']
    """
    good = _good(channels)
    return _singles(channels, good, np.eye(len(channels))[:, good])


def common_average(channels: pd.DataFrame, *, by: Sequence[str] = ("type",), median: bool = False) -> Reference:
    """Each good channel less the mean over the good channels of its kind, its own value among them.

    ``y_c = x_c − mean of x over the good channels of c's group``, as `mne.set_eeg_reference`.

    Parameters
    ----------
    channels : DataFrame
        As for `as_recorded`.
    by : sequence of str
        Columns of `channels` that are alike in a group: "type", "group" (of cables or amplifiers, by channels.tsv),
        "shaft". None: all channels together.
    median : bool
        The median over channels in place of the mean: large artefacts of a few do not reach the others. It is no linear
        map, and is taken sample by sample before whatever follows.

    Returns
    -------
    Reference
        A channel that is alone in its group has no column: it would be 0.

    Raises
    ------
    SettingsError
        A column that is not there.

    Examples
    --------
    >>> common_average(contacts(["LA1", "LA2"])).matrix
    array([[ 0.5, -0.5],
           [-0.5,  0.5]])
    """
    by = [by] if isinstance(by, str) else list(by)
    for word in by:
        if word not in channels.columns:
            raise SettingsError(f"channels have no column {word!r}; " + did_you_mean(word, channels.columns))
    return _less_the_rest(channels, by, "its group" if by else "the recording", median, others=False)


def per_shaft(channels: pd.DataFrame, *, others: bool = False) -> Reference:
    """Each good contact less the mean over the good contacts of its shaft, strip or grid.

    Parameters
    ----------
    channels : DataFrame
        As for `as_recorded`.
    others : bool
        The mean over the others alone; it differs by a factor, n / (n − 1) of n contacts.

    Returns
    -------
    Reference
        A contact that is alone on its shaft has no column.

    Raises
    ------
    InputError
        A good channel whose name says no shaft.

    Examples
    --------
    >>> per_shaft(contacts(["LA1", "LA2", "RB1", "RB2"])).matrix[:, 0]
    array([ 0.5, -0.5,  0. ,  0. ])
    """
    _shafts(channels, "per_shaft")
    return _less_the_rest(channels, ["type", "shaft"], "its shaft", median=False, others=others)


def bipolar(channels: pd.DataFrame, *, across_gaps: bool = False, grids: Grids | None = None) -> Reference:
    """Each good contact less the next on its shaft: "LA1-LA2", half-way between the two.

    On a grid whose size is known (`grids`, else `dimension` in electrodes.tsv) the last contact of a row and the first
    of the next are no neighbours.

    Parameters
    ----------
    channels : DataFrame
        As for `as_recorded`.
    across_gaps : bool
        Pair a contact with the next good one also where contacts between them are bad or not recorded.
    grids : mapping of shaft → (rows, columns), optional
        Contacts numbered, from 1 or from 0, along a row, then along the next.

    Returns
    -------
    Reference

    Raises
    ------
    InputError
        A good channel whose name says no shaft, or no two neighbours anywhere.

    Examples
    --------
    >>> pairs = bipolar(contacts(["LA1", "LA2", "LA3", "LA4"], bad=["LA2"]))
    >>> pairs.columns["channel"].tolist()
    ['LA3-LA4']
    """
    _shafts(channels, "bipolar")
    pairs: list[tuple[int, int]] = []
    notes: list[str] = []
    for shaft, array in _by_shaft(channels):
        rows, numbers = array.index.tolist(), array["number"].to_numpy(int)
        size, guess = size_of(array, shaft, grids)
        notes += guess
        for a, b, here, there in zip(rows, rows[1:], numbers, numbers[1:]):
            row_ends = size is not None and (here - 1) // size[1] != (there - 1) // size[1]
            if (there == here + 1 or across_gaps) and not row_ends:
                pairs.append((a, b))
    matrix = np.zeros((len(channels), len(pairs)))
    for k, (a, b) in enumerate(pairs):
        matrix[a, k], matrix[b, k] = 1.0, -1.0
    columns = pd.DataFrame([_middle(channels, a, b) for a, b in pairs], columns=["channel", *KEPT])
    made = Reference(matrix, columns, notes=tuple(notes))
    return _some(channels, made, made.used, "has no good neighbour on its shaft")


def laplacian(channels: pd.DataFrame, *, grids: Grids | None = None) -> Reference:
    """Each good contact less the mean of its good neighbours: two on a shaft, up to four on a grid.

    A contact needs two of them. Neighbours on a grid are those of the same row or column by number where its size is
    known (`grids`, else `dimension` in electrodes.tsv), else those nearer than 1.3 times its spacing where every
    contact of an ECOG array has a position; on a shaft, those before and after.

    Parameters
    ----------
    channels : DataFrame
        As for `as_recorded`.
    grids : mapping of shaft → (rows, columns), optional
        Contacts numbered, from 1 or from 0, along a row, then along the next.

    Returns
    -------
    Reference

    Raises
    ------
    InputError
        A good channel whose name says no shaft, or no contact with two neighbours.

    Examples
    --------
    >>> laplacian(contacts(["LA1", "LA2", "LA3"])).matrix[:, 0]
    array([-0.5,  1. , -0.5])
    """
    _shafts(channels, "laplacian")
    columns, kept, notes = [], [], []
    for shaft, array in _by_shaft(channels):
        lines = array.index.tolist()
        beside, guess = beside_each_other(array, shaft, grids)
        notes += guess
        for k, centre in enumerate(lines):
            around = [lines[j] for j in np.flatnonzero(beside[k])]
            if len(around) > 1:
                column = np.zeros(len(channels))
                column[centre], column[around] = 1.0, -1.0 / len(around)
                columns.append(column)
                kept.append(centre)
    order = np.argsort(kept, kind="stable")
    matrix = np.stack(columns, axis=1)[:, order] if columns else np.zeros((len(channels), 0))
    rows = np.array(kept, int)[order]
    made = replace(_singles(channels, rows, matrix), notes=tuple(notes))
    return _some(channels, made, rows, "has not two good neighbours")


def contacts(names: Sequence[str], bad: Iterable[str] = (), **more: object) -> pd.DataFrame:
    """A table of channels by their names alone, as the references take it.

    Parameters
    ----------
    names : sequence of str
    bad : iterable of str
        Those that are bad.
    **more : sequence
        Further columns, or other values of these: `type` ("SEEG"), `x`, `y`, `z`, `group` …

    Examples
    --------
    >>> contacts(["LA1", "LA2"])[["shaft", "number"]].values.tolist()
    [['LA', 1], ['LA', 2]]
    """
    lost = set(bad)
    start: dict[str, object] = {"name": list(names), "type": "SEEG"}
    start["status"] = ["bad" if name in lost else "good" for name in names]
    start |= {"reason": "", "x": np.nan, "y": np.nan, "z": np.nan, "frame": "n/a", "group": "", "dimension": ""} | more
    table = pd.DataFrame(start)
    return table.join(shafts_of(table))


def _good(channels: pd.DataFrame) -> np.ndarray:
    return np.flatnonzero(channels["status"].ne("bad").to_numpy())


def _singles(channels: pd.DataFrame, rows: np.ndarray, matrix: np.ndarray) -> Reference:
    """A reference whose columns are channels, less something."""
    columns = channels.iloc[rows][["name", *KEPT]].rename(columns={"name": "channel"})
    return Reference(matrix, columns.reset_index(drop=True))


def _shafts(channels: pd.DataFrame, what: str) -> None:
    good = channels[channels["status"].ne("bad")]
    nameless = good["name"][good["shaft"].eq("") | good["number"].isna()]
    if len(nameless):
        raise InputError(
            f"{what} goes by shaft and contact number (LA1, A'3, G_12), and {len(nameless)} names say none: "
            f"{list_names(nameless.tolist())}; leave them out (channels), or use as_recorded or common_average"
        )
    twice = good[good.duplicated(["type", "shaft", "number"], keep=False)]
    if len(twice):
        raise InputError(
            f"{what} goes by shaft and contact number, and several channels say the same: "
            f"{list_names(twice['name'].tolist())}; leave one of each (channels), or rename them"
        )


def _by_shaft(channels: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The good contacts of each shaft (of one type), in order and counted from 1, even where names begin with 0."""
    every = channels.reset_index(drop=True)
    good = every.loc[_good(channels)]
    from_0 = set(every["shaft"][every["number"].eq(0)])  # a bad contact 0 says it too
    arrays = [
        (str(shaft), rows.sort_values("number")) for (_, shaft), rows in good.groupby(["type", "shaft"], sort=False)
    ]
    return [(shaft, rows.assign(number=rows["number"].astype(int) + (shaft in from_0))) for shaft, rows in arrays]


def _less_the_rest(channels: pd.DataFrame, by: Sequence[str], what: str, median: bool, others: bool) -> Reference:
    good = _good(channels)
    table = channels.reset_index(drop=True).loc[good]
    groups = [rows.index.to_numpy() for _, rows in table.groupby(list(by), sort=False)] if by else [good]
    matrix = np.eye(len(channels))
    kept = np.zeros(len(channels), bool)
    for rows in groups:
        kept[rows] = len(rows) > 1
        if not median and len(rows) > 1:
            share = 1.0 / len(rows)
            weight = 1.0 / (1.0 - share) if others else 1.0
            matrix[np.ix_(rows, rows)] = weight * (np.eye(len(rows)) - share)
    rows = np.flatnonzero(kept)
    made = _singles(channels, rows, matrix[:, rows])
    medians = tuple(np.sort(group) for group in groups if len(group) > 1) if median else ()
    return _some(channels, replace(made, medians=medians), rows, f"is alone in {what}")


def _some(channels: pd.DataFrame, made: Reference, there: np.ndarray, why: str) -> Reference:
    """The reference, if it has a column; with a note of good channels that are not in one."""
    good = _good(channels)
    if not len(made.columns):
        raise InputError(f"of {len(good)} good channels each {why}: nothing is left; choose another reference")
    lost = channels["name"].iloc[np.setdiff1d(good, there)].tolist()
    note = f"{len(lost)} good channels have no column, each {why}: {list_names(lost)}"
    return replace(made, notes=(*made.notes, *[note] * bool(lost)))


def _middle(channels: pd.DataFrame, a: int, b: int) -> dict[str, object]:
    """What a pair is called and where it is."""
    one, other = channels.iloc[a], channels.iloc[b]
    same = one["frame"] == other["frame"]
    place = {axis: (one[axis] + other[axis]) / 2 if same else np.nan for axis in "xyz"}
    where = one["frame"] if same else "n/a"
    about = {"type": one["type"], **place, "frame": where, "shaft": one["shaft"]}
    return {"channel": f"{one['name']}-{other['name']}", **about}
