"""When was each volume taken, by what the sidecars and the header say?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from brainalign.errors import InputError
from brainalign.io.bids import BidsFile, BidsTree, read_json
from brainalign.io.tables import ROWS_AGREE
from brainalign.io.wanted import is_number

AGREES = 1e-3  # of the TR: what sidecar and header may differ by, in float32 and rounded
LONGEST_TR = 100.0  # s; more is milliseconds
NO_START = "nothing says when the first volume was taken"


@dataclass(frozen=True)
class Clock:
    """Volume i is at ``start + i · tr``.

    Parameters
    ----------
    tr : float
        Seconds between volumes.
    start : float or None
        Seconds; None where nothing says when the first volume was.
    stated : bool
        Whether the start is a StartTime, and no mean of SliceTiming.
    unit : str
        Of the values; "arbitrary" where nothing is said.
    sources : list of BidsFile
        The sidecars this was read from.
    notes : list of str
        What was not as expected: a TR that only the header says, sources that disagree.
    """

    tr: float
    start: float | None
    unit: str = "arbitrary"
    sources: list[BidsFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stated: bool = False

    def starting(self, at: float | None) -> Clock:
        """The same clock, started at `at` (s) where the sidecars do not say."""
        return self if self.start is not None or at is None else replace(self, start=at)

    def beside(self, card_tr: float | None) -> Clock:
        """The same clock, with a note where the card of the data set has another TR (s)."""
        if card_tr is None or abs(card_tr - self.tr) <= AGREES * self.tr:
            return self
        note = f"the TR is {self.tr:g} s, {card_tr:g} s by the card of the data set: the recording's taken"
        return replace(self, notes=[*self.notes, note])

    def by_rows(self, times: np.ndarray | None, name: str) -> tuple[Clock, list[str]]:
        """The same clock, started where the rows' own times (s) start unless a StartTime is stated; and problems.

        The mean of SliceTiming is when the raw volume was taken; a table may have been made at another time within the
        TR, and a note says so. Further away the two are not of one recording.
        """
        if times is None or not len(times) or self.stated or not np.isfinite(times[0]):
            return self, []
        first = float(times[0])
        if self.start is None or abs(first - self.start) <= ROWS_AGREE * self.tr:
            return self.starting(first), []
        both = f"first row is at {first:g} s, the mean of SliceTiming is {self.start:g} s"
        if abs(first - self.start) > self.tr:
            return self, [f"{name}: its {both}, more than a TR away: write StartTime, which decides, to its json"]
        return replace(self, start=first, notes=[*self.notes, f"the {both}: the row's taken"]), []


def read_clock(
    tree: BidsTree, file: BidsFile, name: str, header_tr: float | None = None
) -> tuple[Clock | None, list[str]]:
    """TR, start time and unit of a recording.

    The TR is `RepetitionTime` in the sidecars, else what the header says; the start is `StartTime`, else the mean of
    `SliceTiming`, else not known. A table of regions, or an image of a pipeline that wrote no TR, has the clock of the
    raw images it was made from, if their sidecars are in the tree; what its own sidecar says comes before theirs. Where
    two of these disagree the first is taken, and a note says so.

    Parameters
    ----------
    tree : BidsTree
    file : BidsFile
    name : str
        What to call it in sentences.
    header_tr : float, optional
        Seconds between volumes by the file's own header; None where it does not say.

    Returns
    -------
    clock : Clock or None
    problems : list of str
    """
    try:
        raw, raw_sources = tree.sidecar(file, suffix="bold") if file.suffix != "bold" else ({}, [])
        own, own_sources = tree.sidecar(file)
    except InputError as error:
        return None, [str(error)]
    said, sources = raw | own, raw_sources + own_sources
    problems = _problems_in_clock(said, sources, file, name, header_tr)
    if problems:
        return None, problems
    tr = float(said.get("RepetitionTime", header_tr))
    slices, start, unit = said.get("SliceTiming"), said.get("StartTime"), said.get("Units")
    middle = sum(slices) / len(slices) if slices else None
    notes = _disagreements(sources, file, tr)
    if "RepetitionTime" not in said:
        notes.append(f"no sidecar says RepetitionTime: {tr:g} s by the header")
    elif header_tr is not None and abs(header_tr - tr) > AGREES * tr:
        notes.append(f"RepetitionTime is {tr:g} s in the sidecar, {header_tr:g} s in the header: the sidecar's taken")
    if start is not None and middle is not None and abs(start - middle) > tr / 2:
        notes.append(f"StartTime is {start:g} s, the mean of SliceTiming {middle:g} s: StartTime taken")
    first = middle if start is None else float(start)
    unit = unit if isinstance(unit, str) else "arbitrary"
    return Clock(tr, first, unit, sources, notes, start is not None), []


def _disagreements(sources: Sequence[BidsFile], file: BidsFile, tr: float) -> list[str]:
    """Where what a recording was made from has another clock than its own sidecars say."""
    own: dict[str, Any] = {}
    theirs: dict[str, Any] = {}
    for source in sources:
        mine = (source.dataset, source.suffix) == (file.dataset, file.suffix)
        (own if mine else theirs).update(read_json(source.path))
    return [
        f"{key} is {own[key]:g} s in its own sidecar, {theirs[key]:g} s in that of the images it was made from: its "
        "own taken"
        for key in ("RepetitionTime", "StartTime")
        if is_number(own.get(key)) and is_number(theirs.get(key)) and abs(own[key] - theirs[key]) > AGREES * tr
    ]


def _problems_in_clock(
    said: Mapping[str, Any], sources: Sequence[BidsFile], file: BidsFile, name: str, header_tr: float | None
) -> list[str]:
    beside = file.path.name.removesuffix(file.extension) + ".json"
    if "VolumeTiming" in said:
        return [
            f"{name}: its json says VolumeTiming (volumes with silence between them), and only volumes that follow one "
            "another evenly can be read; if these do, write RepetitionTime, the seconds from one to the next, instead"
        ]
    if "RepetitionTime" not in said and header_tr is None:
        if sources:
            which = ", ".join(source.path.name for source in sources)
            return [f"{name}: no RepetitionTime in {which}; add it, in seconds, to {beside}"]
        return [
            f"{name} has no sidecar: looked for {beside} beside it and for what it may inherit further up, found none; "
            'write one with {"RepetitionTime": seconds}'
        ]
    who = "its json says RepetitionTime" if "RepetitionTime" in said else "its header says a RepetitionTime of"
    tr, start, slices = said.get("RepetitionTime", header_tr), said.get("StartTime"), said.get("SliceTiming")
    problems = []
    if not is_number(tr) or not 0 < tr < LONGEST_TR:
        problems.append(f"{name}: {who} {tr!r}; it is a number of seconds between 0 and {LONGEST_TR:g}")
    if start is not None and not is_number(start):
        problems.append(f"{name}: its json says StartTime {start!r}; it is a number of seconds")
    if slices is not None and not (isinstance(slices, list) and slices and all(map(is_number, slices))):
        problems.append(f"{name}: its json says SliceTiming {str(slices)[:40]}; it is a list of seconds, one per slice")
    elif slices is not None and not problems and max(slices) > tr:
        problems.append(
            f"{name}: its json says a slice is taken at {max(slices):g} s, after the next volume has begun "
            f"(RepetitionTime {tr:g} s): SliceTiming is in seconds"
        )
    return problems
