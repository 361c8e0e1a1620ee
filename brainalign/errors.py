"""What is said to a person when something cannot go on: what was wrong, what was found, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib.util import find_spec


class BrainalignError(ValueError):
    """Every error a user can cause; the command line prints it without a traceback and exits with 2."""


class InputError(BrainalignError):
    """A file, a recording or an array is not what it has to be."""


class SettingsError(BrainalignError):
    """A study file or an argument asks for something that does not exist or does not fit."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Name the closest known word, or list them all when none is close.

    Examples
    --------
    >>> did_you_mean("lanzcos", ["lanczos", "mean"])
    "did you mean 'lanczos'?"
    >>> did_you_mean("x", ["lanczos", "mean"])
    "known: 'lanczos', 'mean'"
    """
    names = [str(name) for name in known]
    close = difflib.get_close_matches(str(word), names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(map(repr, names))


def one_message(problems: Iterable[str], kind: type[BrainalignError] = InputError) -> BrainalignError:
    """Gather several problems of one group into one error, one line each.

    Examples
    --------
    >>> str(one_message(["run 1: no TR"]))
    'run 1: no TR'
    """
    lines = list(problems)
    if len(lines) == 1:
        return kind(lines[0])
    return kind(f"{len(lines)} problems:\n" + "\n".join(f"  - {line}" for line in lines))


def problems_of(error: BrainalignError) -> list[str]:
    """The problems that `one_message` gathered.

    Examples
    --------
    >>> problems_of(one_message(["run 1: no TR", "run 2: no TR"]))
    ['run 1: no TR', 'run 2: no TR']
    """
    first, *rest = str(error).split("\n  - ")
    return rest if first.endswith(" problems:") else [str(error)]


def need_package(package: str, extra: str, what: str) -> None:
    """Refuse, with what to install, where a package of an extra is missing.

    Parameters
    ----------
    package, extra : str
        What is imported, and the extra of brainalign that brings it.
    what : str
        Who needs it.

    Raises
    ------
    SettingsError

    Examples
    --------
    >>> need_package("numpy", extra="words", what="word_frequency")
    """
    if find_spec(package) is None:
        raise SettingsError(f"{what} needs {package}: run `pip install 'brainalign[{extra}]'`")
