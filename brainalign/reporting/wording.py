"""How are numbers, names and lists put into words?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EM DASH}"  # a number there is not
SMALLEST = "≤: the smallest possible p, since there are so few rearrangements to compare with."  # below a table


def number(value: float, digits: int = 2) -> str:
    """A correlation or a share as papers print it: no leading zero, a real minus, a dash for NaN.

    Examples
    --------
    >>> number(0.254), number(-0.5, 3), number(1.07), number(float("nan")), number(-0.0001)
    ('.25', '−.500', '1.07', '—', '.00')
    """
    if not math.isfinite(value):
        return DASH
    text = f"{abs(value):.{digits}f}"
    negative = bool(value < 0 and float(text) > 0)
    return MINUS * negative + (text.removeprefix("0") if digits else text)


def signed(value: float, digits: int = 3) -> str:
    """As `number`, with its sign, for differences.

    Examples
    --------
    >>> signed(0.07), signed(-0.07, 2), signed(0.0)
    ('+.070', '−.07', '±.000')
    """
    text = number(value, digits)
    if text == DASH or text.startswith(MINUS):
        return text
    return ("+" if float(text) > 0 else "±") + text


def percent(value: float) -> str:
    """A share in whole per cent.

    Examples
    --------
    >>> percent(0.432), percent(float("nan"))
    ('43 %', '—')
    """
    return f"{MINUS * (round(100 * value) < 0)}{abs(round(100 * value))} %" if math.isfinite(value) else DASH


def p_value(value: float, floor: float = math.nan) -> str:
    """A p with two digits that count; "≤" where it is the smallest that so few rearrangements can give (`floor`).

    Examples
    --------
    >>> p_value(0.000999), p_value(0.0312), p_value(0.4321), p_value(1.0), p_value(1e-6), p_value(float("nan"))
    ('.0010', '.031', '.43', '1', '< .0001', '—')
    >>> p_value(1 / 363, 1 / 363), p_value(2 / 363, 1 / 363), p_value(1e-5, 1e-5)
    ('≤ .0028', '.0055', '≤ .000010')
    """
    if not math.isfinite(value):
        return DASH
    least = at_floor(value, floor)
    if value < 1e-4 and not least:
        return "< .0001"
    if value >= 0.995:
        return "1"
    digits = max(2, 1 - math.floor(math.log10(value)))
    return "≤ " * least + number(value, min(digits, 4) if value >= 1e-4 else digits)


def at_floor(value: float, floor: float) -> bool:
    """Whether a p is the smallest possible; both may have been rounded to six digits in a file.

    Examples
    --------
    >>> at_floor(0.00275482, 1 / 363), at_floor(2 / 363, 1 / 363), at_floor(0.01, float("nan"))
    (True, False, False)
    """
    return bool(0 < value <= floor * (1 + 1e-5))


def as_typed(value: float) -> str:
    """A level somebody chose, with the digits they chose.

    Examples
    --------
    >>> as_typed(0.05), as_typed(0.001)
    ('.05', '.001')
    """
    return f"{value:g}".removeprefix("0")


def span(low: float, high: float, digits: int = 3) -> str:
    """An interval.

    Examples
    --------
    >>> span(-0.01, 0.11), span(float("nan"), float("nan"))
    ('−.010 to .110', '—')
    """
    return f"{number(low, digits)} to {number(high, digits)}" if math.isfinite(low) and math.isfinite(high) else DASH


def listed(words: Iterable[str], most: int = 12) -> str:
    """Words in a row, the rest counted.

    Examples
    --------
    >>> listed(["a", "b", "c"], most=2), listed(["a"])
    ('a, b and 1 more', 'a')
    """
    words = list(words)
    if len(words) <= most:
        return ", ".join(words)
    return f"{', '.join(words[:most])} and {len(words) - most:,} more"


def counted(n: int, nouns: Sequence[str]) -> str:
    """A number with its noun.

    Examples
    --------
    >>> counted(1, ("run", "runs")), counted(2000, ("word", "words"))
    ('1 run', '2,000 words')
    """
    return f"{n:,} {nouns[n != 1]}"


def seconds(value: float) -> str:
    """A lag.

    Examples
    --------
    >>> seconds(0.2), seconds(-0.4), seconds(0.0)
    ('0.2 s', '−0.4 s', '0 s')
    """
    return f"{value:g} s".replace("-", MINUS)


def around(lag: float, what: str) -> str:
    """When a lag is, seen from the beginning of a word or an event.

    Examples
    --------
    >>> around(0.2, "word"), around(-0.4, "word"), around(0.0, "event")
    ('0.2 s after a word begins', '0.4 s before a word begins', 'as an event begins')
    """
    begins = f"{'an' if what[0] in 'aeiou' else 'a'} {what} begins"
    return f"as {begins}" if lag == 0 else f"{abs(lag):g} s {'after' if lag > 0 else 'before'} {begins}"


def minutes(seconds: float) -> str:
    """A duration for people.

    Examples
    --------
    >>> minutes(724), minutes(40), minutes(7320)
    ('12 min 4 s', '40 s', '2 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + f" {whole % 60} s" * bool(whole % 60)
    return f"{whole // 3600} h {whole % 3600 // 60} min"
