"""Which responses does each run's model expect, and of which trials can the recording say something?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from brainalign.design.clean import Part
from brainalign.design.estimates import APART, orthonormal, outside
from brainalign.design.hrf import LENGTH_S, Basis, responder
from brainalign.design.resample import spacing
from brainalign.errors import InputError, SettingsError, did_you_mean, one_message
from brainalign.events import check_events, name_event
from brainalign.signals import Signal

SEEN = 0.1  # share of a response's energy that has to be recorded, in volumes in use, for an amplitude to be given
OURS = ("onset", "run", "time", "use")  # columns of events that a Signal's samples have in their own way


@dataclass(frozen=True)
class Trials:
    """What amplitudes are asked for.

    Parameters
    ----------
    events : DataFrame
        `run`, `onset`, `duration`, sorted.
    row : array (n_events,)
        The row of the result an event belongs to.
    samples : DataFrame (n_rows, ..)
        Of the result.
    conditions : array (n_rows,)
        A number for each row's condition.
    names : list of str
        What rows are called in messages.
    notes : list of str
    """

    events: pd.DataFrame
    row: np.ndarray
    samples: pd.DataFrame
    conditions: np.ndarray
    names: list[str]
    notes: list[str]


def single_trials(brain: Signal, events: pd.DataFrame, column: str | None, stimulus: str | None) -> Trials:
    """A row per event; `stimulus` and `repeat` where a column says what was shown."""
    events, notes = _sorted(brain, events, column)
    shown = stimulus if stimulus is not None else next((c for c in ("stimulus", "stim_file") if c in events), None)
    if shown is not None and shown not in events:
        raise InputError(f"events have no column {shown!r} that names stimuli; " + did_you_mean(shown, events.columns))
    start: dict[str, Any] = {"run": events["run"], "time": events["onset"]}
    samples = pd.DataFrame({**start, **{c: events[c] for c in events.columns if c not in OURS}})
    if shown is not None:
        named = events[shown].notna()
        nth = events.groupby(shown, sort=False).cumcount() + 1
        samples["stimulus"] = events[shown].astype(str).where(named, None)
        samples["repeat"] = nth if named.all() else nth.where(named)
    conditions = np.zeros(len(events), int) if column is None else pd.factorize(events[column])[0]
    names = [f"the event{name_event(event)} at {event['onset']:g} s" for _, event in events.iterrows()]
    return Trials(events, np.arange(len(events)), samples, conditions, names, notes)


def conditions_by_run(brain: Signal, events: pd.DataFrame, column: str) -> Trials:
    """A row per run and condition: every run repeats the conditions."""
    events, notes = _sorted(brain, events, column)
    row = events.groupby(["run", column], sort=False).ngroup().to_numpy()
    first = events.iloc[np.unique(row, return_index=True)[1]].reset_index(drop=True)
    label = first[column].astype(str)
    samples = pd.DataFrame({"run": first["run"], "time": first["onset"], "stimulus": label, "repeat": first["run"]})
    return Trials(events, row, samples, pd.factorize(label)[0], [f"condition {name!r}" for name in label], notes)


def _sorted(brain: Signal, events: pd.DataFrame, column: str | None) -> tuple[pd.DataFrame, list[str]]:
    """The events that count, in the order of the recording's runs; or what is wrong with them."""
    if column is not None and column not in events:
        raise InputError(
            f"events have no column {column!r}; {did_you_mean(column, events.columns)}; column=None takes them all "
            "alike"
        )
    notes = []
    if column is not None and events[column].isna().any():
        notes = [f"{int(events[column].isna().sum())} events of {len(events)} without a {column} are no trials"]
        events = events[events[column].notna()]
    time = brain.samples["time"].to_numpy(float)
    ends = {}
    for run in brain.runs:
        clock = time[(brain.samples["run"] == run).to_numpy()]
        ends[run] = float(clock[-1]) + spacing(clock, run)
    events, said, problems = check_events(events, ends=ends)
    if not problems:
        known = list(dict.fromkeys(events["run"]))
        lost, empty = [r for r in known if r not in ends], [r for r in ends if r not in known]
        if lost:
            problems.append(f"events in run {', '.join(lost)}, but the recording has run {', '.join(ends)}")
        if empty:
            problems.append(
                f"run {', '.join(empty)} has no events{f' with a {column}' if column else ''}: leave it out "
                f"(brain.select(run={[r for r in ends if r in known]}))"
            )
    if problems:
        raise one_message(problems)
    place = events["run"].map({run: k for k, run in enumerate(ends)})
    return events.iloc[np.argsort(place.to_numpy(), kind="stable")].reset_index(drop=True), [*notes, *said]


@dataclass(frozen=True)
class RunModel:
    """One run of one person: what is expected of k rows of the result in the n volumes in use.

    Parameters
    ----------
    run, hrf : str
    volumes : array (n,)
        Volumes in use, as positions in the recording.
    rows : array (k,)
        Positions in the result of those of whose response enough was recorded.
    expected : array (n, k, b)
        Their responses to b functions, nuisance and what is lost taken out; 0 where nothing was recorded of one.
    nuisance : array (n, q)
        Orthonormal.
    lost : array (n, l)
        What was recorded of the responses of the other rows, outside of nuisance, orthonormal: it is nobody's, and
        would be told from nothing.
    """

    run: str
    hrf: str
    volumes: np.ndarray
    rows: np.ndarray
    expected: np.ndarray
    nuisance: np.ndarray
    lost: np.ndarray


def run_models(brain: Signal, trials: Trials, bases: Sequence[Basis], parts: Sequence[Part]) -> list[list[RunModel]]:
    """For each basis, the model of each run of one person, from what is removed from them.

    Raises
    ------
    InputError
        A trial that nuisance explains.
    """
    time = brain.samples["time"].to_numpy(float)
    usual = float(trials.events["duration"].median())
    models: list[list[RunModel]] = [[] for _ in bases]
    for part in parts:
        run, clock, use = brain.samples["run"].iloc[part.rows[0]], time[part.rows], part.use
        tr, removed = spacing(clock, run), part.basis[use]
        mine = (trials.events["run"] == run).to_numpy()
        rows, member = np.unique(trials.row[mine], return_inverse=True)
        onsets, durations = (trials.events[c].to_numpy(float)[mine] for c in ("onset", "duration"))
        responses, seen = [], np.ones(len(rows), bool)
        for basis in bases:
            whole, inside = _responses(basis, clock, tr, onsets, durations, usual)
            summed = np.stack([whole[:, member == k].sum(1) for k in range(len(rows))], 1)
            responses.append(summed[inside][use])
            seen &= _seen(basis, responses[-1], summed)  # whichever response is chosen, or never
        for found, basis, given in zip(models, bases, responses, strict=True):
            lost, _ = _outside(given[:, ~seen], removed)
            lost = orthonormal(lost.reshape(len(given), -1))
            left, told = _outside(given[:, seen], np.hstack([removed, lost]))
            odd = np.flatnonzero(~told[:, 0])
            if len(odd):
                raise InputError(
                    f"run {run}: {trials.names[rows[seen][odd[0]]]} cannot be told from what nuisance removes: take a "
                    "shorter nuisance, or leave the event out"
                )
            found.append(RunModel(run, basis.name, part.rows[use], rows[seen], left, removed, lost))
    return models


def _outside(given: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is left of responses (n, k, b) outside a basis, 0 where that is rounding; and of which (k, b) some is."""
    left = outside(given.reshape(len(given), -1), basis).reshape(given.shape)
    before, after = (np.linalg.norm(one, axis=0) for one in (given, left))
    return np.where(after < APART * before.max(initial=0), 0.0, left), after >= APART * before


def _responses(
    basis: Basis, clock: np.ndarray, tr: float, onsets: np.ndarray, durations: np.ndarray, usual: float
) -> tuple[np.ndarray, np.ndarray]:
    """(N, e, b) responses on the clock drawn out to where all are over, and which of its N volumes were recorded.

    In units that make the amplitude the height of the peak: of the response to an event of the usual duration, or of
    the lag's bin.
    """
    before = max(0, int(np.ceil((clock[0] - onsets.min()) / tr)))
    after = max(0, int(np.ceil(((onsets + durations).max() + LENGTH_S - clock[-1]) / tr)))
    grid = np.r_[clock[0] - tr * np.arange(before, 0, -1), clock, clock[-1] + tr * np.arange(1, after + 1)]
    since = grid[:, None] - onsets
    lasted = np.zeros_like(durations) if basis.lags else durations
    found = np.stack([responder(function)(since, lasted) for function in basis.functions], 2)
    found /= peak_of(basis, 0.0 if basis.lags else usual)
    inside = np.zeros(len(grid), bool)
    inside[before : before + len(clock)] = True
    if not basis.lags:  # derivatives take up what the response itself cannot
        for k in range(1, found.shape[2]):
            for other in range(k):
                seen = found[inside]
                power = np.einsum("ne,ne->e", seen[:, :, other], seen[:, :, other])
                shared = np.einsum("ne,ne->e", seen[:, :, other], seen[:, :, k])
                share = np.divide(shared, power, out=np.zeros_like(power), where=power > 0)
                found[:, :, k] -= share * found[:, :, other]
    return found, inside


def peak_of(basis: Basis, duration: float) -> float:
    """The height of the response to an event of this duration (s); it has to have one."""
    t = np.arange(0.0, duration + LENGTH_S, 0.02)
    height = float(responder(basis.functions[0])(t[:, None], np.array([duration])).max())
    if not height > 0:
        raise SettingsError(
            f"{basis.name} is never above 0, and an amplitude is the height of its peak: turn its sign, and take "
            "amplitudes below 0 for responses that fall"
        )
    return height


def _seen(basis: Basis, given: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Rows of whose response enough was recorded: at every lag, or of the response itself."""
    recorded, energy = ((one**2).sum(0) for one in (given, whole))
    enough = recorded >= SEEN * energy
    return (enough & (recorded > 0)).all(1) if basis.lags else enough[:, 0] & (recorded[:, 0] > 0)
