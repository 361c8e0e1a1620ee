"""Which shaft and which number does the name of a contact say, and which names mean the same contact?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

ADDED = re.compile(r"^(?:(?:EEG|SEEG|ECOG|POL)\s+)?(.*?)(?:-?\s*(?:Ref|AVG))?$", re.I)  # what EDF writes around a name
NUMBERED = re.compile(r"^(.*?)[\s_-]*(\d+)$")


@dataclass(frozen=True)
class Matched:
    """Which names of one list are which of another.

    Parameters
    ----------
    pairs : dict of str → str
        From the first list to the second.
    respelled : list of (str, str)
        Pairs that are spelled in two ways.
    first_only, second_only : list of str
        Names without a partner.
    """

    pairs: dict[str, str]
    respelled: list[tuple[str, str]] = field(default_factory=list)
    first_only: list[str] = field(default_factory=list)
    second_only: list[str] = field(default_factory=list)


def contact_of(name: str) -> tuple[str, int] | None:
    """Shaft (or strip, or grid) and contact number; None for a name that has no number or is a pair of contacts.

    Examples
    --------
    >>> [contact_of(name) for name in ("LA10", "A'3", "G_1", "EEG LA01-Ref")]
    [('LA', 10), ("A'", 3), ('G', 1), ('LA', 1)]
    >>> contact_of("Cz"), contact_of("LA1-LA2"), contact_of("12")
    (None, None, None)
    """
    found = NUMBERED.match(_plain(name))
    if found is None or not found[1]:
        return None
    before, dash, _ = _plain(name).rpartition("-")
    if dash and NUMBERED.match(before):  # LA1-LA2, LA1-2: recorded between two contacts
        return None
    return found[1], int(found[2])


def match_names(first: Sequence[str], second: Sequence[str]) -> Matched:
    """Find each name of one list in another: as it is written, else whatever its case, spaces and zeros.

    Names that would fit several are not matched. "LA1", "la 01" and "EEG LA1-Ref" are one contact; "A1" and "A'1" two.

    Parameters
    ----------
    first, second : sequence of str
        Each without doubles.

    Examples
    --------
    >>> match_names(["LA1", "LA2"], ["LA01", "LA2", "LA3"])
    Matched(pairs={'LA1': 'LA01', 'LA2': 'LA2'}, respelled=[('LA1', 'LA01')], first_only=[], second_only=['LA3'])
    """
    there = set(second)
    pairs = {name: name for name in first if name in there}
    mine, theirs = ([_canonical(name) for name in names if name not in pairs] for names in (first, second))
    meant = {_canonical(name): name for name in second if name not in pairs}
    taken = {_canonical(name) for name in pairs}
    respelled = []
    for name in first:
        key = _canonical(name)
        if name not in pairs and key in meant and key not in taken and mine.count(key) == theirs.count(key) == 1:
            respelled.append((name, meant[key]))
    pairs |= dict(respelled)
    found = set(pairs.values())
    return Matched(
        {name: pairs[name] for name in first if name in pairs},
        respelled,
        [name for name in first if name not in pairs],
        [name for name in second if name not in found],
    )


def duplicates(names: Sequence[str]) -> list[str]:
    """The names that are there more than once, in order.

    Examples
    --------
    >>> duplicates(["LA1", "LA2", "LA1"])
    ['LA1']
    """
    seen: set[str] = set()
    return list(dict.fromkeys(name for name in names if name in seen or seen.add(name)))


def _plain(name: str) -> str:
    found = ADDED.match(name.strip())
    return found[1].strip() if found and found[1].strip() else name.strip()


def _canonical(name: str) -> str:
    contact = contact_of(name)
    text = _plain(name) if contact is None else f"{contact[0]}{contact[1]}"
    return re.sub(r"[\s_]", "", text).casefold()
