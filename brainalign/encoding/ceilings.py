"""Which ceiling do the data allow, for every target?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from brainalign.encoding.courses import is_series, place_in_course
from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.maths.ceiling import Ceiling, explainable_variance, leave_one_out, noise_ceiling, split_half
from brainalign.maths.published import ceiling_of_ncsnr
from brainalign.scratch import blocks, room
from brainalign.signals import Signal

ENOUGH_PEOPLE = 3  # with two, a half is one person and the spread over splits is nil
ENOUGH_REPEATS = 2
IN_THE_HEAD = ("ECOG", "SEEG", "DBS")  # electrodes, which lie elsewhere in everybody
WHERE = ("x", "y", "z", "frame", "shaft")  # where a sensor was, and not which it is


@dataclass(frozen=True)
class Ceilings:
    """Ceilings of a recording's own columns, and of its people where it is their mean; None: the data allow none."""

    own: Ceiling | None
    people: Ceiling | None
    why: str


CeilingRule = Callable[[Signal], Ceilings]


def between_subjects(brain: Signal) -> Ceilings:
    """How far people agree: the ceiling of a recording in which everybody met the stimulus once.

    Parameters
    ----------
    brain : Signal
        A mean over people (`related["people"]`), or one column per person and place (`subject` and at least one more).

    Returns
    -------
    Ceilings
        For the mean: split-half reliability over people with Spearman–Brown (unit r2). For one person: correlation
        with the mean of the others over the root of that mean's reliability (unit r). NaN for a sensor (`channel`) that
        not everybody has.

    Raises
    ------
    InputError
        Fewer than three people, columns of which nothing says that they are the same place in everybody, or electrodes
        in the head.
    """
    people = brain.related.get("people", brain)
    stacked, place = by_person(people)
    one = leave_one_out(stacked, corrected=True)
    value, se, p = (np.where(place[1] < 0, np.nan, numbers[place]) for numbers in (one.value, one.se, one.p))
    single = replace(one, value=value, se=se, p=p)
    if people is brain:
        return Ceilings(single, None, "each person against the mean of the others")
    group = split_half(stacked, null="shift")
    return Ceilings(group, single, f"agreement between {stacked.shape[0]} people")


@dataclass(frozen=True)
class Repeats:
    """A ceiling rule: how far repeated presentations agree. Made by `between_repeats`."""

    kind: str
    of: Signal | None = None

    def __call__(self, brain: Signal) -> Ceilings:
        """The ceilings of a recording's own columns."""
        found = repeats_of(brain if self.of is None else _same_stimuli(self.of, brain))
        if found is None:
            raise InputError(
                f"a ceiling of kind {self.kind} needs repeated presentations: samples with `stimulus` (and "
                "`stimulus_time` in a time series) met more than once, told apart by `repeat` or by `run`"
            )
        averaged = self.of is not None
        own = KINDS[self.kind](found, found.averaged if averaged else 1)
        what = "the mean of all presentations" if averaged else "one presentation"
        return Ceilings(own, None, f"agreement between repeats ({self.kind}, {found.said}), for {what}")


@dataclass(frozen=True)
class Presentations:
    """Responses (repeats, stimuli, targets), NaN where a stimulus was met less often; `null` as in `split_half`.

    `averaged`: how many presentations a mean over them amounts to, 1 / mean(1/k_i), stimuli met once included.
    """

    responses: np.ndarray
    null: str
    stimuli: pd.DataFrame
    averaged: float

    @property
    def said(self) -> str:
        """How many stimuli, how often."""
        counts = self.stimuli["repeats"]
        often = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
        return f"{len(counts):,} {'moments' if self.null == 'shift' else 'stimuli'} met {often} times"


KINDS: dict[str, Callable[[Presentations, float], Ceiling]] = {
    "ncsnr": lambda found, k: noise_ceiling(found.responses, k=k, null=found.null),
    "split_half": lambda found, k: split_half(found.responses, k=k, null=found.null),
    "explainable_variance": lambda found, _: explainable_variance(found.responses, null=found.null),
}


def between_repeats(kind: str = "ncsnr", of: Signal | None = None) -> Repeats:
    """How far repeated presentations agree, found in the samples that are scored.

    Parameters
    ----------
    kind : "ncsnr", "split_half" or "explainable_variance"
        NC(k) of Allen et al. (2022), Spearman–Brown of random halves, or the mean correlation of two presentations.
    of : Signal, optional
        Where the recording is an average over presentations (`average_repeats`): the presentations. The ceiling then is
        that of the average. Left out: they are in the recording, each is scored apart, and the ceiling is that of one.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> samples = pd.DataFrame({"run": "1", "time": np.arange(400.0) * 4, "stimulus": np.tile(np.arange(200), 2)})
    >>> responses = np.tile(rng.standard_normal((200, 1)), (2, 1)) + rng.standard_normal((400, 1))
    >>> brain = Signal(responses, samples.assign(repeat=np.repeat([1, 2], 200)), pd.DataFrame({"roi": ["V4"]}))
    >>> between_repeats()(brain).own.value.round(1)
    array([0.5])
    """
    if kind not in KINDS:
        raise SettingsError(f"a ceiling between repeats is of another kind than {kind!r}; " + did_you_mean(kind, KINDS))
    if of is not None and kind == "explainable_variance":
        raise SettingsError(
            "explainable_variance is the ceiling of one presentation; of an average use ncsnr or split_half"
        )
    return Repeats(kind, of)


@dataclass(frozen=True)
class Published:
    """A ceiling rule: what a map of ncsnr that came with the data allows. Made by `from_ncsnr`."""

    k: float | None = None
    met: tuple[int, int] | None = None

    def __call__(self, brain: Signal) -> Ceilings:
        """The ceilings of a recording's own columns."""
        if "ncsnr" not in brain.columns:
            raise InputError(
                "a ceiling from a map needs `ncsnr` in the columns of the recording; found "
                f"{', '.join(map(str, brain.columns))}: read it with the map beside it, or choose another ceiling"
            )
        ratio = brain.columns["ncsnr"].to_numpy(float)
        k = _averaged(brain) if self.k is None else self.k
        own = ceiling_of_ncsnr(ratio, k, self.met)
        people = brain.columns["subject"] if "subject" in brain.columns else pd.Series("", index=brain.columns.index)
        bases = {} if self.met is not None else brain.attrs.get("ncsnr_of", {})
        freedom = np.full(len(ratio), own.freedom)
        for who in [one for one in dict.fromkeys(people) if one in bases]:
            stimuli, times = bases[who]
            tested, mine = ceiling_of_ncsnr(ratio, k, (int(stimuli), int(times))), (people == who).to_numpy()
            freedom[mine] = tested.freedom
            own = replace(own, se=np.where(mine, tested.se, own.se), p=np.where(mine, tested.p, own.p))
        if bases:
            own = replace(own, freedom=freedom)  # people's maps may rest on more or less
        untested = int((np.isnan(own.p) & np.isfinite(own.value)).sum())
        s = "s" * (untested != 1)
        said = f"; {untested:,} column{s} not tested against zero, as it is not said what the map rests on"
        what = "one presentation" if k == 1 else f"the mean of {k:.3g} presentations"
        return Ceilings(own, None, f"the map of ncsnr that came with the data, for {what}" + said * (untested > 0))


def from_ncsnr(k: float | None = None, met: tuple[int, int] | None = None) -> Published:
    """The ceiling of a published map, `columns["ncsnr"]`: NC(k) = ncsnr² / (ncsnr² + 1/k) (Allen et al. 2022).

    Parameters
    ----------
    k : float, optional
        Presentations averaged in the samples that are scored. Left out: 1 / mean(1/`repeats`) of a recording made by
        `average_repeats`, else 1.
    met : (n, m), optional
        Stimuli, and presentations of each, that the map was estimated from; p and se follow from it (see
        `ceiling_of_ncsnr`). Left out: what the recording says of each person in `attrs["ncsnr_of"]` (`read_nsd` does),
        else p and se are NaN and every column above zero counts as told from zero.

    Examples
    --------
    >>> samples = pd.DataFrame({"run": "1", "time": [0.0, 4.0], "stimulus": ["a", "b"], "repeats": [3, 3]})
    >>> brain = Signal(np.eye(2), samples, pd.DataFrame({"ncsnr": [0.5, np.nan]}))
    >>> from_ncsnr()(brain).own.value.round(2), from_ncsnr(k=1)(brain).own.value.round(2)
    (array([0.43,  nan]), array([0.2, nan]))
    """
    return Published(k, met)


def _averaged(brain: Signal) -> float:
    """How many presentations a sample is the mean of: 1 / mean(1/k_i)."""
    if "repeats" not in brain.samples:
        return 1.0
    return float(1 / (1 / brain.samples["repeats"][brain.use].to_numpy(float)).mean())


def none(brain: Signal) -> Ceilings:
    """No ceiling: scores stay as they are and nothing is normalised."""
    return Ceilings(None, None, "no ceiling was asked for")


def auto(brain: Signal) -> Ceilings:
    """The ceiling the data allow, and why; none where they allow none.

    People on one clock come first where the recording is their mean, then repeated presentations, then a map of ncsnr
    that came with the data, then people.
    """
    people = brain.related.get("people")
    count = _people(people if people is not None else brain)
    if people is not None and count >= ENOUGH_PEOPLE:
        return between_subjects(brain)
    if (found := repeats_of(brain)) is not None:
        ceilings = Repeats("ncsnr")(brain)
        return replace(ceilings, why=f"{ceilings.why}: chosen because the scored samples hold {found.said}")
    if "ncsnr" in brain.columns:
        return from_ncsnr()(brain)
    if count >= ENOUGH_PEOPLE:
        try:
            return between_subjects(brain)
        except InputError as error:  # people with electrodes of their own
            return Ceilings(None, None, str(error))
    return Ceilings(
        None,
        None,
        f"{count} recording{'s' * (count != 1)} on this clock and no repeated presentations: "
        "nothing says how good a model could be",
    )


def repeats_of(signal: Signal) -> Presentations | None:
    """Repeated presentations, found in the samples; None where nothing was met twice.

    A stimulus is what has the same `stimulus`, and `stimulus_time` where there is one. Presentations of it are told
    apart by `repeat`, or where there is none by `run`, if it has each stimulus once.

    Raises
    ------
    InputError
        A stimulus with several samples in one repeat.
    """
    samples = signal.samples
    if "stimulus" not in samples:
        return None
    what = ["stimulus", *(["stimulus_time"] if "stimulus_time" in samples else [])]
    met_one = signal.use & samples[what].notna().all(axis=1).to_numpy()
    used = samples[met_one]
    index = used.groupby(what, sort=False).ngroup().to_numpy()
    if not len(used) or np.bincount(index).max() < ENOUGH_REPEATS:
        return None
    told_by = "repeat" if "repeat" in used else "run"
    twice = used.assign(index=index).duplicated(["index", told_by])
    if twice.any():
        if told_by == "run":
            return None  # several samples of a stimulus in a run are its course, not its repeats
        first = used[twice.to_numpy()].iloc[0]
        raise InputError(
            f"stimulus {first['stimulus']!r}, repeat {first['repeat']} has several samples: a time series needs "
            "`stimulus_time` beside `stimulus`; isolated presentations need a `repeat` each"
        )
    order = used.assign(index=index, row=np.flatnonzero(met_one))
    order["nth"] = order.sort_values(["run", "time"] if told_by == "run" else ["repeat"]).groupby("index").cumcount()
    stimuli = order.drop_duplicates("index")[what].assign(repeats=np.bincount(index)).reset_index(drop=True)
    met = stimuli["repeats"].to_numpy() >= ENOUGH_REPEATS
    order, place = order[met[order["index"]]], np.cumsum(met) - 1
    nth, at, rows = (order[name].to_numpy() for name in ("nth", "index", "row"))
    values = signal.array()
    out = room((stimuli["repeats"].max(), int(met.sum()), signal.shape[1]))
    out.fill(np.nan)
    for some in blocks(len(rows), out.itemsize * out.shape[2]):
        out[nth[some], place[at[some]]] = values[rows[some]]
    course = "stimulus_time" in samples or (is_series(samples) and place_in_course(samples) is not None)
    null = "shift" if course else "permute"
    averaged = float(1 / (1 / stimuli["repeats"]).mean())
    return Presentations(out, null, stimuli[met].reset_index(drop=True), averaged)


def _people(signal: Signal) -> int:
    return signal.columns["subject"].nunique() if "subject" in signal.columns else 1


def _same_stimuli(presentations: Signal, brain: Signal) -> Signal:
    """The presentations of the stimuli that a recording has."""
    if "stimulus" not in brain.samples or "stimulus" not in presentations.samples:
        raise InputError("a ceiling from presentations needs `stimulus` in the samples of both signals")
    if presentations.shape[1] != brain.shape[1]:
        raise InputError(
            f"the presentations have {presentations.shape[1]} columns and the recording {brain.shape[1]}: "
            "they must agree"
        )
    return presentations.select(rows=presentations.samples["stimulus"].isin(brain.samples["stimulus"]).to_numpy())


def by_person(people: Signal) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """(people, samples, places) float64, and for every column of `people` its (person, place).

    Places come in the order of the first person's columns. Of sensors they are those that everybody has; the others
    have place -1.
    """
    names, person, column, count = _places_of(people)
    out = room((len(names), len(people.samples), count), float)
    there = column >= 0
    out[person[there], :, column[there]] = people.array().T[there]
    return out, (person, column)


def check_people(people: Signal) -> None:
    """Refuse people of whom nothing says which column of one is which of another's.

    Raises
    ------
    InputError
    """
    _places_of(people)


def _places_of(people: Signal) -> tuple[list[str], np.ndarray, np.ndarray, int]:
    """The people; of every column its person and place, -1 for a sensor that not everybody has; how many places."""
    if (count := _people(people)) < ENOUGH_PEOPLE:
        raise InputError(
            f"a ceiling between people needs at least {ENOUGH_PEOPLE} of them on one clock; found {count}: "
            "choose ceiling: {kind: none}"
        )
    sensors = "channel" in people.columns
    inside = sorted(set(people.columns["type"]) & set(IN_THE_HEAD)) if sensors and "type" in people.columns else []
    if inside:
        raise InputError(
            f"electrodes in the head ({', '.join(inside)}) lie elsewhere in everybody, whatever they are called: "
            "people are no ceiling for one another; have the story told twice, or choose ceiling: {kind: none}"
        )
    what = [c for c in people.columns.columns if c != "subject" and not (sensors and c in WHERE)]
    table = people.columns[what].astype(str) if what else pd.DataFrame({"all": "all"}, index=people.columns.index)
    keys = pd.MultiIndex.from_frame(table)
    names = list(dict.fromkeys(people.columns["subject"]))
    mine = [keys[(people.columns["subject"] == name).to_numpy()] for name in names]
    for name, own in zip(names, mine, strict=True):
        if not own.is_unique:
            twice = dict(zip(table.columns, own[own.duplicated()][0], strict=True))
            raise InputError(
                f"sub-{name} has {twice} more than once: a ceiling between people needs columns that say which place "
                "of one person is which of another's"
            )
    first = mine[0]
    if sensors:
        first = first[np.logical_and.reduce([first.isin(own) for own in mine])]
    person = np.array([names.index(s) for s in people.columns["subject"]])
    column = first.get_indexer(keys)
    if not len(first) or (not sensors and ((column < 0).any() or len(people.columns) != len(names) * len(first))):
        raise InputError(
            f"people do not have the same columns (first difference: sub-{names[int(person[np.argmin(column)])]}): "
            "a ceiling between people compares like with like"
        )
    return names, person, column, len(first)
