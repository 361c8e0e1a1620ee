"""When was each volume taken, by what the sidecars say?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from brainalign.errors import InputError
from brainalign.io.bids import BidsFile, BidsTree


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
    """

    tr: float
    start: float | None
    unit: str = "arbitrary"
    sources: list[BidsFile] = field(default_factory=list)

    def starting(self, at: float | None) -> Clock:
        """The same clock, started at `at` (s) where the sidecars do not say."""
        return self if self.start is not None or at is None else replace(self, start=at)


def read_clock(tree: BidsTree, file: BidsFile, name: str) -> tuple[Clock | None, list[str]]:
    """TR, start time and unit of a recording: `StartTime`, else the mean of `SliceTiming`, else not known.

    A table of regions, or an image of a pipeline that wrote no TR, has the clock of the raw images it was made from, if
    their sidecars are in the tree.

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
    beside = file.path.name.removesuffix(file.extension) + ".json"
    if not sources:
        return None, [
            f"{name} has no sidecar: looked for {beside} beside it and for what it may inherit further up, found none; "
            'write one with {"RepetitionTime": seconds}'
        ]
    if "RepetitionTime" not in said:
        which = ", ".join(source.path.name for source in sources)
        return None, [f"{name}: no RepetitionTime in {which}; add it, in seconds, to {beside}"]
    tr, start, slices = said["RepetitionTime"], said.get("StartTime"), said.get("SliceTiming")
    problems = []
    if not _is_seconds(tr) or not 0 < tr < 100:
        problems.append(f"{name}: its json says RepetitionTime {tr!r}; it is a number of seconds between 0 and 100")
    if start is not None and not _is_seconds(start):
        problems.append(f"{name}: its json says StartTime {start!r}; it is a number of seconds")
    if slices is not None and not (isinstance(slices, list) and slices and all(map(_is_seconds, slices))):
        problems.append(f"{name}: its json says SliceTiming {str(slices)[:40]}; it is a list of seconds, one per slice")
    elif slices is not None and not problems and max(slices) > tr:
        problems.append(
            f"{name}: its json says a slice is taken at {max(slices):g} s, after the next volume has begun "
            f"(RepetitionTime {tr:g} s): SliceTiming is in seconds"
        )
    if problems:
        return None, problems
    if start is None and slices is not None:
        start = sum(slices) / len(slices)
    unit = said.get("Units")
    first = None if start is None else float(start)
    return Clock(float(tr), first, unit if isinstance(unit, str) else "arbitrary", sources), []


def _is_seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")
