"""Which data sets are known, what is their clock, and where do their files lie?"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.shipped import cards, shipped


@dataclass(frozen=True)
class DatasetClock:
    """How a data set's volumes lie in time.

    Parameters
    ----------
    tr : float
        Seconds between volumes.
    start_time : float
        Seconds from the events' zero to the first volume of the published files.
    volumes_dropped : int
        Volumes at the start that the published files no longer hold.
    trims : str
        What was cut, in words.
    trim_volumes : int
        Volumes at the start of the published files that whoever reads them is to leave out; a card may leave it away.
    samples : "volumes" or "trials"
        What is so far apart; a card may leave it away.
    """

    tr: float
    start_time: float
    volumes_dropped: int
    trims: str
    trim_volumes: int = 0
    samples: str = "volumes"


@dataclass(frozen=True)
class DatasetCard:
    """What is known about a data set before it is opened.

    Parameters
    ----------
    name, title, licence, doi, source, version, citation : str
        The licence by its SPDX name.
    size_mb : float
    task : str
        Of the recordings.
    sample : str
        The folder under `sample/` that came with the package, "" where none did.
    clock : DatasetClock
    quirks : tuple of str
        What one has to know not to be fooled.
    """

    name: str
    title: str
    licence: str
    doi: str
    source: str
    version: str
    size_mb: float
    citation: str
    task: str
    sample: str
    clock: DatasetClock
    quirks: tuple[str, ...]


def dataset_cards() -> dict[str, DatasetCard]:
    """Every data set that has a card, by name.

    Raises
    ------
    InputError
        A card lacks a field, has one too many, or has one of the wrong type.

    Examples
    --------
    >>> sorted(dataset_cards())
    ['alice', 'haxby', 'lebel2023', 'nsd']
    """
    return {name: parse_card(name, content) for name, content in cards("datasets").items()}


def dataset_card(name: str) -> DatasetCard:
    """The card of one data set.

    Raises
    ------
    InputError
        There is no card of that name; the closest is named.

    Examples
    --------
    >>> dataset_card("alice").clock.tr
    2.0
    """
    known = dataset_cards()
    if name not in known:
        raise InputError(f"no data set {name!r}; " + did_you_mean(name, known))
    return known[name]


def volume_clock(name: str | None) -> DatasetClock | None:
    """The clock that a data set's card has for volumes; None where no data set is named.

    Raises
    ------
    InputError
        There is no card of that name.
    SettingsError
        Its samples are trials: what lies between them is no TR.
    """
    clock = None if name is None else dataset_card(name).clock
    if clock is not None and clock.samples != "volumes":
        raise SettingsError(
            f"the card {name} is of {clock.samples}, {clock.tr:g} s apart, which is no TR: read them with read_{name}, "
            "or leave dataset out"
        )
    return clock


def sample_path(name: str) -> Path:
    """Where the BIDS tree of a sample lies that came with the package.

    Raises
    ------
    InputError
        No card of that name, or nothing of it came with the package.

    Examples
    --------
    >>> (sample_path("alice") / "participants.tsv").is_file()
    True
    """
    card = dataset_card(name)
    if not card.sample:
        raise InputError(f"no sample of {name!r} came with brainalign: get it from {card.source}")
    return shipped("sample", card.sample)


def parse_card(name: str, content: dict[str, Any]) -> DatasetCard:
    """Make a card of what its YAML file says, and hold it to the fields above.

    Raises
    ------
    InputError
        A field is missing, unknown, or of the wrong type, or a number of volumes is negative.
    """
    content = {"sample": "", **content}
    _hold_to(DatasetCard, content, f"card {name!r}", given=("name",))
    content["clock"] = {"trim_volumes": 0, "samples": "volumes", **content["clock"]}
    _hold_to(DatasetClock, content["clock"], f"the clock of card {name!r}")
    clock = DatasetClock(**content["clock"])
    for field in ("volumes_dropped", "trim_volumes"):
        if content["clock"][field] < 0:
            raise InputError(f"the clock of card {name!r}: {field} is {content['clock'][field]}, 0 or more is needed")
    if clock.samples not in ("volumes", "trials"):
        raise InputError(f"the clock of card {name!r}: samples is {clock.samples!r}, volumes or trials is needed")
    return DatasetCard(name=name, **{**content, "clock": clock, "quirks": tuple(content["quirks"])})


def _hold_to(kind: type, content: Any, what: str, given: tuple[str, ...] = ()) -> None:
    types = {"str": str, "float": (int, float), "int": int, "DatasetClock": dict, "tuple[str, ...]": list}
    wanted = {field.name: str(field.type) for field in fields(kind) if field.name not in given}
    if not isinstance(content, dict):
        raise InputError(f"{what} is {type(content).__name__}, a mapping is needed")
    for name in content:
        if name not in wanted:
            raise InputError(f"{what} has a field {name!r} that is not known; " + did_you_mean(str(name), wanted))
    for name, kind_name in wanted.items():
        if name not in content:
            raise InputError(f"{what} has no field {name!r} ({kind_name}): add it")
        value = content[name]
        if not isinstance(value, types[kind_name]) or isinstance(value, bool):
            raise InputError(f"{what}: {name} is {value!r}, a {kind_name} is needed")
