"""Which confounds are wanted, and above which limits is a volume censored: what may be said, and what it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from brainalign.errors import SettingsError, did_you_mean
from brainalign.io.fetch import DatasetClock

MODELS = ("basic", "power2", "derivatives", "full")
COMPCOR = ("anat_combined", "anat_separated", "temporal", "temporal_anat_combined", "temporal_anat_separated")

# The strategies of nilearn.interfaces.fmriprep.load_confounds and the options of each, the first of which may be given
# alone; an option has these words, or (whole) is a whole number, or (above) a number above 0. TEDANA reads other files.
STRATEGIES: dict[str, dict[str, tuple[str, ...]]] = {
    "motion": {"motion": MODELS},
    "wm_csf": {"wm_csf": MODELS},
    "global_signal": {"global_signal": MODELS},
    "high_pass": {},
    "compcor": {"compcor": COMPCOR, "n_compcor": ("all", "whole")},
    "ica_aroma": {"ica_aroma": ("full", "basic")},
    "scrub": {"scrub": ("whole",), "fd_threshold": ("above",), "std_dvars_threshold": ("above",)},
    "non_steady_state": {},
}

Asked = str | Sequence[str] | Mapping[str, Any] | None
Censor = Mapping[str, Any] | None


@dataclass(frozen=True)
class Wanted:
    """Confounds by name, and strategies of `load_confounds` with what was said about them.

    Parameters
    ----------
    columns, strategies : tuple of str
    options : mapping
        Arguments of `load_confounds`; those that are not there have nilearn's defaults.
    """

    columns: tuple[str, ...] = ()
    strategies: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Limit:
    """Volumes in which `column` is above `above` are censored, and so many before and after each of them."""

    column: str
    above: float
    before: int = 0
    after: int = 0


def wanted_confounds(asked: Asked) -> Wanted | None:
    """What is meant by ``confounds=``; None where every column is.

    Parameters
    ----------
    asked : None, name, list of names, or mapping
        A name of `STRATEGIES` is that strategy with nilearn's defaults, any other a column. In a mapping, each strategy
        has None (YAML: nothing) for the defaults, the value of the option that is called like it, or a mapping of
        options; `columns` has a list of columns.

    Raises
    ------
    SettingsError
        A strategy, option or value that does not exist, or CompCor without the cosines it was computed with.

    Examples
    --------
    >>> wanted_confounds(["csf", "high_pass"])
    Wanted(columns=('csf',), strategies=('high_pass',), options={})
    >>> wanted_confounds({"motion": "basic", "scrub": {"fd_threshold": 0.9}}).options
    {'motion': 'basic', 'fd_threshold': 0.9}
    """
    if asked is None:
        return None
    if isinstance(asked, Mapping):
        given = dict(asked)
        columns = _names(given.pop("columns", ()), "columns")
    else:
        names = _names(asked, "confounds")
        columns = tuple(name for name in names if name not in STRATEGIES)
        given = dict.fromkeys(name for name in names if name in STRATEGIES)
    options: dict[str, Any] = {}
    for strategy, said in given.items():
        if strategy not in STRATEGIES:
            raise SettingsError(
                f"confounds has a strategy {strategy!r} that is not known; {did_you_mean(strategy, STRATEGIES)} "
                "(columns by their names: {columns: [..]})"
            )
        options |= _options(strategy, said)
    if "compcor" in given and "high_pass" not in given:
        raise SettingsError(
            "confounds asks for compcor without high_pass: fMRIPrep's components were computed after its cosines had "
            "been removed, and are to be removed together with them; add high_pass"
        )
    return Wanted(columns, tuple(given), options)


def limits_of(censor: Censor) -> tuple[Limit, ...]:
    """What is meant by ``censor=``.

    Parameters
    ----------
    censor : mapping of column → number, or mapping
        ``{"framewise_displacement": 0.5}``; with neighbours ``{"framewise_displacement": {"above": 0.5, "after": 2}}``.

    Raises
    ------
    SettingsError
        What is said is no number, or has an unknown word in it.

    Examples
    --------
    >>> limits_of({"framewise_displacement": 0.5, "std_dvars": {"above": 1.5, "before": 1}})[1]
    Limit(column='std_dvars', above=1.5, before=1, after=0)
    """
    if censor is not None and not isinstance(censor, Mapping):
        raise SettingsError(f"censor names columns and their limits, {{framewise_displacement: 0.5}}; found {censor!r}")
    limits = []
    for column, said in (censor or {}).items():
        words = dict(said) if isinstance(said, Mapping) else {"above": said}
        odd = [word for word in words if word not in ("above", "before", "after")]
        if odd:
            raise SettingsError(
                f"censor, {column}: {odd[0]!r} is not known; " + did_you_mean(odd[0], ("above", "before", "after"))
            )
        around = [words.get(side, 0) for side in ("before", "after")]
        if not is_number(words.get("above")) or not all(map(_is_count, around)):
            raise SettingsError(
                f"censor, {column}: a limit is a number, or {{above: 0.5, before: 1, after: 2}} with volumes around; "
                f"found {said!r}"
            )
        limits.append(Limit(str(column), float(words["above"]), *around))
    return tuple(limits)


def trim_of(asked: int | None, card: DatasetClock | None) -> int:
    """How many volumes are left out at the start: as asked for, else as the data set's card says, else none.

    Raises
    ------
    SettingsError
        It is no number of volumes.
    """
    if asked is None:
        return 0 if card is None else card.trim_volumes
    if not is_number(asked) or asked < 0 or asked != int(asked):
        raise SettingsError(f"trim_volumes is {asked!r}: it is a number of volumes, 0 or more")
    return int(asked)


def _options(strategy: str, said: Any) -> dict[str, Any]:
    known = STRATEGIES[strategy]
    if said is None or said is True:
        return {}
    if not isinstance(said, Mapping):
        said = {strategy: said}
    for option, value in said.items():
        if option not in known:
            there = did_you_mean(option, known) if known else "it has none; name it alone"
            raise SettingsError(f"confounds, {strategy}: no option {option!r}; {there}")
        allowed = known[option]
        fits = (
            (isinstance(value, str) and value in allowed and value not in ("whole", "above"))
            or ("whole" in allowed and _is_count(value))
            or ("above" in allowed and is_number(value) and value > 0)
        )
        if not fits:
            words = {"whole": "a whole number", "above": "a number above 0"}
            what = ", ".join(words.get(word, repr(word)) for word in allowed)
            raise SettingsError(f"confounds, {strategy}: {option} is {value!r}; it can be {what}")
    return dict(said)


def _names(said: Any, what: str) -> tuple[str, ...]:
    names = [said] if isinstance(said, str) else said
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise SettingsError(f"{what} is a list of names; found {said!r}")
    return tuple(dict.fromkeys(names))


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a finite number was given: YAML and JSON know texts and truth values too."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
