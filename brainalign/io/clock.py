"""When was each volume taken, by what the sidecars and the header say?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from brainalign.errors import InputError
from brainalign.io.bids import BidsFile, BidsTree

AGREES = 1e-3  # of the TR: what sidecar and header may differ by, in float32 and rounded


@dataclass(frozen=True)
class Clock:
    """Volume i is at ``start + i · tr``.

    Parameters
    ----------
    tr : float
        Seconds between volumes.
    start : float or None
        Seconds; None where nothing says when the first volume was.
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

    def starting(self, at: float | None) -> Clock:
        """The same clock, started at `at` (s) where the sidecars do not say."""
        return self if self.start is not None or at is None else replace(self, start=at)


def read_clock(
    tree: BidsTree, file: BidsFile, name: str, header_tr: float | None = None
) -> tuple[Clock | None, list[str]]:
    """TR, start time and unit of a recording.

    The TR is `RepetitionTime` in the sidecars, else what the header says; the start is `StartTime`, else the mean of
    `SliceTiming`, else not known. A table of regions, or an image of a pipeline that wrote no TR, has the clock of the
    raw images it was made from, if their sidecars are in the tree. Where two of these disagree the first is taken, and
    a note says so.

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
    notes = []
    if "RepetitionTime" not in said:
        notes.append(f"no sidecar says RepetitionTime: {tr:g} s by the header")
    elif header_tr is not None and abs(header_tr - tr) > AGREES * tr:
        notes.append(f"RepetitionTime is {tr:g} s in the sidecar, {header_tr:g} s in the header: the sidecar's taken")
    if start is not None and middle is not None and abs(start - middle) > tr / 2:
        notes.append(f"StartTime is {start:g} s, the mean of SliceTiming {middle:g} s: StartTime taken")
    first = middle if start is None else float(start)
    return Clock(tr, first, unit if isinstance(unit, str) else "arbitrary", sources, notes), []


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
    if not _is_seconds(tr) or not 0 < tr < 100:
        problems.append(f"{name}: {who} {tr!r}; it is a number of seconds between 0 and 100")
    if start is not None and not _is_seconds(start):
        problems.append(f"{name}: its json says StartTime {start!r}; it is a number of seconds")
    if slices is not None and not (isinstance(slices, list) and slices and all(map(_is_seconds, slices))):
        problems.append(f"{name}: its json says SliceTiming {str(slices)[:40]}; it is a list of seconds, one per slice")
    elif slices is not None and not problems and max(slices) > tr:
        problems.append(
            f"{name}: its json says a slice is taken at {max(slices):g} s, after the next volume has begun "
            f"(RepetitionTime {tr:g} s): SliceTiming is in seconds"
        )
    return problems


def _is_seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")
