"""What did each trial show? Amplitudes of single trials, or of conditions, from a recording as it was scanned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from brainalign.design.amplitudes import Weights, estimated, estimator, said_of, weigh
from brainalign.design.clean import LONGEST_S, parts_to_clean, words_of
from brainalign.design.estimates import How, lsa, lss
from brainalign.design.hrf import Basis, Hrf, name_of, spm, table_of
from brainalign.design.shrunken import FRACTIONS, find_repeats
from brainalign.design.trials import Trials, conditions_by_run, run_models, single_trials
from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.maths.ridge import check_fractions
from brainalign.provenance import hash_array, hash_frame
from brainalign.rows import Block, keep_blocks
from brainalign.scratch import LARGE, span_of
from brainalign.signals import Signal, average_people
from brainalign.store import Store, key_of

UNITS = ("percent", "raw")

Unit = Literal["percent", "raw"]


def betas(
    brain: Signal,
    events: pd.DataFrame,
    *,
    how: How = lsa,
    hrf: Hrf | Basis | Sequence[Hrf] = spm,
    column: str | None = "trial_type",
    stimulus: str | None = None,
    nuisance: str | Sequence[str] = ("drift", "motion"),
    ridge: bool | Sequence[float] = False,
    unit: Unit = "percent",
    store: Store | None = None,
) -> Signal:
    """How strongly each column of the brain responded in each trial: a row per event.

    Each run has its own ordinary least-squares model of what was scanned: responses to the trials, and nuisance, which
    enters the same model (it is projected out of the responses expected, which comes to the same). Samples with `use`
    False have no part in it.

    Parameters
    ----------
    brain : Signal (n_volumes, n_columns)
        Not cleaned: what is to be removed is removed here. With `related["people"]` each person has their own model,
        and the mean is taken again.
    events : DataFrame
        `run`, `onset`, `duration` (s), on the clock of the brain's `time`.
    how : function
        `lsa`: all trials in one model; `lss`: a model for each, for trials so close that `lsa` is noisy.
    hrf : function, Basis, or several functions
        Of seconds: `spm`, `glover`. A basis: ``with_derivatives(spm)`` (the amplitude of the first function),
        ``fir(...)`` (an amplitude for each lag). Several functions, such as ``hrf_library()``: for every column the one
        is taken under which its data are likeliest, over all runs (`brainalign.design.choosing`).
    column : str, optional
        Of the events, that names conditions: `lss` sums the others by them. An event where it is missing (n/a) is no
        trial. None: all events are of one kind.
    stimulus : str, optional
        Of the events, that names what was shown. By default `stimulus` or `stim_file`, where there is one.
    nuisance : word, or sequence of words
        As `clean` takes it. A mean for each run is always removed.
    ridge : bool or fractions
        True: `FRACTIONS`. The amplitudes of all trials are shrunk by a fraction chosen for each column by how well
        repeats of a stimulus (or where none is named, of a condition) predict one another between runs, and then
        brought back to scale (`brainalign.design.shrunken`; GLMsingle's type D).
    unit : "percent" or "raw"
        "percent": of the column's mean in the run. "raw": as the recording, such as where it was cleaned before.
    store : Store, optional
        Where a result above 256 MB is kept, and memory-mapped.

    Returns
    -------
    Signal (n_events, n_columns)
        An amplitude is the height of the peak of the response, to an event of the median duration of all. `samples`:
        `run`, `time` (onset, s), `duration`, the events' other columns; `stimulus` and `repeat` (1, 2, …) where it is
        known what was shown; `use` False, and no number, for trials of whose response less than a tenth (of its
        energy) was recorded in volumes in use. `columns`: the brain's own, with `hrf` where one was chosen, `ridge`
        (the fraction), `lag` (s; lag after lag). `attrs`: `hrf`, `how`, `nuisance`, `unit`.

    Raises
    ------
    InputError
        No such column; events outside the recording; runs without events; trials that the design does not tell apart
        (two are named); fewer volumes than regressors; no repeats to choose a ridge by; a brain that was centred, with
        unit "percent".
    SettingsError
        A ridge with another model than `lsa`, or with a basis; a response that is never above 0; a `how` that makes no
        weights.

    Notes
    -----
    Noise is taken to be white. Sources: Rissman et al. (2004); Mumford et al. (2012); Allen et al. (2022); Prince et
    al. (2022).

    Examples
    --------
    >>> from brainalign.design.hrf import convolved
    >>> from brainalign.design.resample import resample
    >>> trials = pd.DataFrame({"run": "1", "onset": [4.0, 14.0, 21.0], "duration": 1.0, "trial_type": ["a", "b", "a"]})
    >>> clock = pd.DataFrame({"run": "1", "time": np.arange(30) * 1.5})
    >>> planted = Signal([[2.0], [3.0], [5.0]], trials.rename(columns={"onset": "time"}), pd.DataFrame({"roi": ["V1"]}))
    >>> bold = resample(planted, onto=clock, kernel=convolved(spm))
    >>> found = betas(bold, trials, nuisance=(), unit="raw")
    >>> (found.values[:, 0] / found.values[0, 0] * 2).round(3).tolist()
    [2.0, 3.0, 5.0]
    """
    asked = _Asked(how, *_bases(hrf), words_of(nuisance), _fractions(ridge, how, hrf), unit)
    return _each(brain, lambda one: single_trials(one, events, column, stimulus), asked, column, store)


def condition_betas(
    brain: Signal,
    events: pd.DataFrame,
    column: str = "trial_type",
    *,
    hrf: Hrf | Basis | Sequence[Hrf] = spm,
    nuisance: str | Sequence[str] = ("drift", "motion"),
    unit: Unit = "percent",
    store: Store | None = None,
) -> Signal:
    """How strongly each column of the brain responded to each condition in each run: runs become repeats.

    One regressor for all events of a condition in a run, in place of the mean over a window (`condition_means`).

    Parameters
    ----------
    brain, events, column, hrf, nuisance, unit, store
        As for `betas`.

    Returns
    -------
    Signal (n_runs × n_conditions, n_columns)
        `samples` as those of `condition_means`: `run`, `time` (s, when the condition first came in the run),
        `stimulus` (the condition), `repeat` (the run). `columns` and `attrs` as of `betas`.

    Raises
    ------
    InputError
        As `betas`.

    Examples
    --------
    >>> blocks = pd.DataFrame({"run": "1", "onset": [0.0, 40.0], "duration": 20.0, "trial_type": ["face", "house"]})
    >>> clock = pd.DataFrame({"run": "1", "time": np.arange(40) * 2.0})
    >>> shown = np.where(clock["time"] < 36, 103.0, 100.0)
    >>> bold = Signal(shown[:, None], clock, pd.DataFrame({"roi": ["FFA"]}))
    >>> found = condition_betas(bold, blocks, nuisance=())
    >>> found.samples["stimulus"].tolist(), bool(found.values[0, 0] > found.values[1, 0])
    (['face', 'house'], True)
    """
    asked = _Asked(lsa, *_bases(hrf), words_of(nuisance), None, unit)
    return _each(brain, lambda one: conditions_by_run(one, events, column), asked, column, store)


@dataclass(frozen=True)
class _Asked:
    """The settings, looked at: `bases` is one, or a library of one function each."""

    how: How
    bases: tuple[Basis, ...]
    hrf: str
    nuisance: tuple[str, ...]
    fractions: np.ndarray | None
    unit: str

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise SettingsError(f"unit {self.unit!r} is not known; " + did_you_mean(self.unit, UNITS))


def _bases(hrf: Hrf | Basis | Sequence[Hrf]) -> tuple[tuple[Basis, ...], str]:
    if isinstance(hrf, Basis):
        return (hrf,), hrf.name
    if callable(hrf):
        return (Basis((hrf,), name_of(hrf)),), name_of(hrf)
    library = tuple(hrf)
    names = [name_of(one) for one in library]
    if not library or not all(callable(one) for one in library) or len(set(names)) < len(names):
        raise SettingsError(
            "hrf is a function of seconds, a basis, or several functions with names of their own; found "
            f"{names or repr(hrf)}"
        )
    return tuple(Basis((one,), name_of(one)) for one in library), f"chosen from {len(library)}"


def _fractions(ridge: bool | Sequence[float], how: How, hrf: object) -> np.ndarray | None:
    if ridge is False:
        return None
    if how is not lsa or isinstance(hrf, Basis):
        what = name_of(hrf) if isinstance(hrf, Basis) else f"how={said_of(how)}"
        raise SettingsError(f"ridge shrinks the amplitudes of how=lsa, one for each trial; found {what}: leave one out")
    return check_fractions(FRACTIONS if ridge is True else ridge)


def _each(
    brain: Signal, rows: Callable[[Signal], Trials], asked: _Asked, label: str | None, store: Store | None
) -> Signal:
    """Of a mean over people: each person's, and their mean; people may differ in what was chosen for them."""
    people = brain.related.get("people")
    if people is None:
        return _betas(brain, rows(brain), asked, label, store)
    each = _betas(people, rows(people), asked, label, store)
    own = [name for name in ("hrf", "ridge") if name in each.columns]
    mean = average_people(replace(each, columns=each.columns.drop(columns=own)))
    return replace(mean, related={**mean.related, "people": each})


def _betas(brain: Signal, trials: Trials, asked: _Asked, label: str | None, store: Store | None) -> Signal:
    """The result of one recording; people side by side have a model each, of their own confounds."""
    whole = np.zeros(len(brain.samples), int)  # one segment a run
    parts = list(parts_to_clean(brain, asked.nuisance, whole, LONGEST_S))
    people = len(parts) // len(brain.runs)
    groups = [(parts[k].columns, run_models(brain, trials, asked.bases, parts[k::people])) for k in range(people)]
    usable = np.zeros(len(trials.samples), bool)
    usable[np.concatenate([model.rows for model in groups[0][1][0]])] = True  # people have one clock
    if not usable.any():
        raise InputError(
            "of no trial was the response recorded in volumes in use: check the clock of the events"
            + (", and that FIR steps are not shorter than the TR" if asked.bases[0].lags else "")
        )
    of_lags = asked.bases[0].lags
    lags = max(1, len(of_lags))
    repeats = None if asked.fractions is None else find_repeats(trials.samples, _label(trials, label), usable)
    (n_rows, width), every = (len(trials.samples), brain.shape[1]), np.arange(len(trials.samples))
    weights = [weigh(models, trials, asked.how, lags) for _, models in groups]
    said = {"hrf": np.zeros(width, int), "ridge": np.ones(width)}

    def blocks() -> Iterator[Block]:
        for (mine, models), weight in zip(groups, weights, strict=True):
            estimate = estimator(models, weight, n_rows, lags, repeats, asked.fractions)
            for some, found, best, fraction in estimated(brain, mine, estimate, models[0], asked.unit):
                said["hrf"][some], said["ridge"][some] = best, fraction
                found[~usable] = np.nan
                for lag in range(lags):
                    yield every, some + lag * width, found[:, :, lag]

    if store is None or 4 * n_rows * width * lags <= LARGE:
        values = np.empty((n_rows, width * lags), np.float32)
        for _, which, block in blocks():
            values[:, span_of(which)] = block
    else:
        key, meta = _key(brain, trials, asked, weights), {"what": "betas", "shape": [n_rows, width * lags]}
        said = dict(keep_blocks(store, key, (n_rows, width * lags), blocks, meta, said))
        values = said.pop("values")
    columns = brain.columns
    if len(asked.bases) > 1:
        columns = columns.assign(hrf=[asked.bases[k].name for k in said["hrf"]])
    if asked.fractions is not None:
        columns = columns.assign(ridge=said["ridge"])
    if of_lags:
        columns = pd.concat([columns.assign(lag=lag) for lag in of_lags], ignore_index=True)
    notes = [*brain.attrs.get("notes", []), *trials.notes]
    samples = trials.samples
    if not usable.all():
        samples = samples.assign(use=usable)
        notes.append(f"{int((~usable).sum())} trials of {len(usable)}: their response was not recorded, or censored")
    attrs: dict[str, Any] = {k: v for k, v in brain.attrs.items() if k not in ("tr", "start_time")}
    attrs |= {
        "how": said_of(asked.how),
        "hrf": asked.hrf,
        "nuisance": list(asked.nuisance),
    }
    unit = "percent signal change" if asked.unit == "percent" else brain.attrs.get("unit", "")
    return Signal(values, samples, columns, attrs={**attrs, "unit": unit, "notes": notes})


def _label(trials: Trials, column: str | None) -> str:
    """The column of the result that says what was shown again."""
    if "stimulus" in trials.samples:
        return "stimulus"
    if column is None:
        raise InputError("nothing says what was shown twice: ridge needs stimulus= or column= to name repeats")
    return column


def _key(brain: Signal, trials: Trials, asked: _Asked, weights: Sequence[Weights]) -> str:
    confounds = brain.related.get("confounds")
    made = (one for person in weights for response in person for one in response)
    return key_of(
        what="betas",
        version=2,
        brain=[hash_array(brain.values), hash_frame(brain.samples), hash_frame(brain.columns)],
        confounds=None if confounds is None else [hash_array(confounds.values), hash_frame(confounds.columns)],
        events=[hash_frame(trials.events), hash_frame(trials.samples)],
        rows=[hash_array(trials.row), hash_array(trials.conditions)],
        how=said_of(asked.how) if asked.how in (lsa, lss) else [hash_array(one) for one in made],
        hrf=[[hash_array(table_of(one)[1]) for one in basis.functions] for basis in asked.bases],
        lags=[list(basis.lags) for basis in asked.bases],
        nuisance=asked.nuisance,
        fractions=None if asked.fractions is None else asked.fractions.tolist(),
        unit=asked.unit,
    )
