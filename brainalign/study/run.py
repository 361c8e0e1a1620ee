"""Which verbs, in which order, resumed where?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd

from brainalign.encoding.chance import Chance
from brainalign.encoding.controls import Changed, as_table, row_as_asked, row_of_control
from brainalign.encoding.encode import encode
from brainalign.encoding.fit import AVERAGED
from brainalign.encoding.folds import FoldRule
from brainalign.encoding.leaks import leak_audit
from brainalign.encoding.parts import Partition
from brainalign.encoding.result import Encoding, save
from brainalign.encoding.targets import Chosen
from brainalign.errors import BrainalignError, one_message, problems_of
from brainalign.maths.himalaya import HimalayaRidge
from brainalign.progress import Progress
from brainalign.provenance import versions
from brainalign.signals import Signal
from brainalign.store import Store
from brainalign.study import stages
from brainalign.study.checking import check_trials, is_quick, tests_of
from brainalign.study.controls import controls_of
from brainalign.study.extracting import Named, extract, packages_of
from brainalign.study.files import Files, files_of
from brainalign.study.kinds_of_words import ReadsWords
from brainalign.study.making import source
from brainalign.study.met import Met, apart, events_of, in_print
from brainalign.study.reading import as_trials, recording
from brainalign.study.section import Layered
from brainalign.study.settings import Study, written_out

OF_VOLTAGES = ("band", "reference", "line_noise", "bad_channels")  # what `read_ieeg` says in attrs
SOLVERS: dict[str, Callable[..., Any]] = {"banded": AVERAGED, "himalaya": HimalayaRidge}


@dataclass(frozen=True)
class Prepared:
    """Everything that is there before the first fit."""

    brain: Signal
    met: Met
    features: list[Named]
    rule: FoldRule
    chosen: Chosen | None  # which targets; None: all


def run_study(study: Study, store: Store | None = None, progress: Progress | None = None) -> Encoding:
    """Do what a study file says, and save the results in its `output`.

    Parameters
    ----------
    study : Study
    store : Store, optional
        Where finished pieces are kept; by default the user's cache.
    progress : function (done, total, what), optional

    Returns
    -------
    Encoding

    Raises
    ------
    InputError, SettingsError
        The first group of problems found; `check_study` lists all of them. Or a control that was named and could not be
        done: the fit and the other controls are saved then.
    """
    store = Store() if store is None else store
    tell = progress or (lambda done, total, what: None)
    ready = prepare(study, store, tell)
    tell(0, 1, "laying out the design")
    X = stages.lay_out(study, ready.features, ready.brain, ready.met.events)
    Y, notes = stages.cleaned(study, ready.brain, study.design.clean, ready.rule, store)
    chance = Chance(**study.inference.model_dump())
    fit = encode(
        X,
        Y,
        **_asked(study, ready),
        ceiling=stages.ceiling_rule(study, ready.met.events),
        chance=chance,
        partition=Partition(**study.partition.model_dump(), features=stages.grouped(ready.features)),
        weights=study.encoding.weights,
        store=store,
        progress=tell,
    )
    fit = replace(
        fit,
        excerpt=stages.excerpt(study, ready.features, ready.brain, ready.met.events),
        settings={**written_out(study), "decided": _decided(study, ready, fit)},
        provenance=_provenance(ready, fit),
        notes=(*_notes(ready), *notes, *fit.notes),
    )
    save(fit, study.output)
    if not study.controls:
        return fit
    controls, undone = run_controls(study, ready, fit, store, tell)
    fit = replace(fit, controls=controls, notes=(*fit.notes, *undone))
    save(fit, study.output)
    if undone and "all" not in study.controls:
        raise one_message(f"{what}; all else is in {study.output}" for what in undone)
    return fit


def prepare(study: Study, store: Store, tell: Progress) -> Prepared:
    """Read the recording and the events, and extract every feature."""
    tell(0, 1, "looking for models")
    sources = [source(feature) for feature in study.features]  # what is missing is an error before anything is computed
    tell(0, 1, "reading the recording")
    brain = recording(study, store)
    events, files = events_of(study, brain), files_of(study, brain)
    chosen = stages.chosen(study, brain, events)
    brain, events, files = _scored(chosen, brain, events, files)
    brain = as_trials(study, brain, events, store)
    met = in_print(study, events, files)
    rule = stages.fold_rule(study.encoding.folds, brain)
    stages.check_ceiling(study, brain, met.events, rule(brain))  # what cannot be is an error before an hour of features
    for feature, found in zip(study.features, sources):
        for test in tests_of(feature, found, met, study.compute.device):
            test()
        check_trials(feature, met, brain)
    features = []
    for k, feature in enumerate(study.features):
        tell(k, len(study.features), f"extracting {feature.name}")
        features.append(extract(feature, met, store, study.compute.device, tell))
    return Prepared(brain, met, features, rule, chosen)


def check_study(study: Study, store: Store | None = None) -> list[str]:
    """Every problem of a study's inputs, all at once; the tests are those `run_study` stops at."""
    store = Store() if store is None else store
    problems: list[str] = []

    def attempt(what: Callable[[], Any]) -> Any:
        try:
            return what()
        except BrainalignError as error:
            problems.extend(problems_of(error))
            return None

    sources = [attempt(lambda f=feature: source(f)) for feature in study.features]
    brain = attempt(lambda: recording(study, store))
    lost = brain is None and study.data.nsd is not None  # its events are its trials
    events = None if lost else attempt(lambda: events_of(study, brain))
    files = attempt(lambda: files_of(study, brain))
    there = files is not None
    if brain is not None and events is not None:
        shown = events
        chosen = attempt(lambda: stages.chosen(study, brain, shown))
        brain, events, files = _scored(chosen, brain, shown, files or Files())
        brain = attempt(lambda: as_trials(study, brain, events, store))
    if brain is not None:
        rule = attempt(lambda: stages.fold_rule(study.encoding.folds, brain))
        folds = None if rule is None else attempt(lambda: rule(brain))
        if rule is not None and folds is not None:
            if events is not None:
                attempt(lambda: stages.check_ceiling(study, brain, events, folds))
            attempt(lambda: stages.cleaned(study, brain, study.design.clean, rule, store))
    if events is not None and there:
        met = attempt(lambda: in_print(study, events, files)) or Met(events, files=files)
        for feature, found in zip(study.features, sources):
            before = len(problems)
            for test in tests_of(feature, found, met, study.compute.device):
                attempt(test)
            if is_quick(feature):
                attempt(lambda f=feature: extract(f, met, None, "cpu"))
            if brain is not None and len(problems) == before:
                attempt(lambda f=feature: check_trials(f, met, brain))
    return list(dict.fromkeys(problems))  # vectors that are missing are looked for twice


def _scored(
    chosen: Chosen | None, brain: Signal, events: pd.DataFrame, files: Files
) -> tuple[Signal, pd.DataFrame, Files]:
    """Recording, events and files without those that only chose the targets: of what is not scored nothing is asked."""
    if chosen is not None:
        brain = chosen.of(brain)
        events = events[events["run"].isin(brain.runs)].reset_index(drop=True)
    return brain, events, files.of(brain.runs)


def audit_study(study: Study, store: Store | None = None, progress: Progress | None = None) -> pd.DataFrame:
    """The leak audit of a study: its design, its recording, its folds. Of alternatives the middle one is asked.

    Returns
    -------
    DataFrame
        As `leak_audit`.
    """
    store = Store() if store is None else store
    tell = progress or (lambda done, total, what: None)
    ready = prepare(study, store, tell)
    tell(0, 1, "auditing the folds")
    X = stages.lay_out(study, ready.features, ready.brain, ready.met.events)
    for bands in stages.varied(ready.features).values():
        spared = set(bands) - {bands[len(bands) // 2]}
        X = X.select(columns=~X.columns["band"].isin(spared).to_numpy())
    Y, _ = stages.cleaned(study, ready.brain, study.design.clean, ready.rule, store)
    return leak_audit(X, Y, ready.rule, seed=study.encoding.seed)


def run_controls(
    study: Study, ready: Prepared, fit: Encoding, store: Store, tell: Progress
) -> tuple[pd.DataFrame, list[str]]:
    """The battery of controls a study asks for, and which of them could not be done.

    The same targets are fitted, people included: penalties are placed for all of them together.
    """
    rows, notes = [row_as_asked(fit)], []
    controls = controls_of(study)
    for name, control in controls.items():
        tell(0, 1, f"control: {control.what}")
        try:
            other = replace(ready, features=control.applied(ready.features, ready.met, store, study, tell))
            X = stages.lay_out(study, other.features, ready.brain, ready.met.events, reverse=control.reverse)
            Y, _ = stages.cleaned(study, ready.brain, control.clean or study.design.clean, ready.rule, store)
            how = {**_asked(study, other), "bootstrap": study.inference.bootstrap, "store": store, "progress": tell}
            rows.append(row_of_control(name, Changed(X, Y, control.what), fit, **how))
        except BrainalignError as error:
            notes.append(f"control {name} left out: {error}")
    return (as_table(rows) if len(rows) > 1 else pd.DataFrame()), notes


def _asked(study: Study, ready: Prepared) -> dict[str, Any]:
    """What main fit and controls have in common."""
    alternatives = stages.varied(ready.features)
    return {
        "folds": ready.rule,
        "inner": study.encoding.folds.inner,
        "baseline": stages.bands_of(study.encoding.baseline, ready.features),
        "alternatives": alternatives,
        "choose_one": not any(isinstance(f.settings, Layered) and f.settings.layers == "each" for f in ready.features),
        "within_fold": stages.reductions(ready.features, study.encoding.matched),
        "solver": _solver(study),
        "seed": study.encoding.seed,
    }


def _solver(study: Study) -> Callable[..., Any]:
    solver = SOLVERS[study.encoding.solver]
    return partial(solver, memory=study.compute.memory) if solver is AVERAGED else solver


def _decided(study: Study, ready: Prepared, fit: Encoding) -> dict[str, Any]:
    """What `auto` came to, and who was left out."""
    kinds = fit.scores["ceiling_kind"].unique().tolist()
    return {
        "folds": str(ready.rule),
        "ceiling": kinds[0] if len(kinds) == 1 else kinds,
        "subjects": list(dict.fromkeys(ready.brain.related.get("people", ready.brain).columns["subject"])),
        "left_out": ready.brain.attrs.get("left_out", []),
        "targets": "all" if ready.chosen is None else str(ready.chosen),
        "words" if "word" in ready.met.events else "events": len(ready.met.events),
        "reduced": dict(fit.settings["within_fold"]),
        **({"recorded": {key: ready.brain.attrs[key] for key in OF_VOLTAGES}} if study.data.electric else {}),
    }


def _provenance(ready: Prepared, fit: Encoding) -> dict[str, Any]:
    met = (ready.brain.attrs, ready.met.events.attrs, *(feature.signal.attrs for feature in ready.features))
    packages = ("himalaya", "nibabel", "nilearn", *packages_of([f.settings for f in ready.features]))
    return {
        **fit.provenance,
        "inputs": apart(*(attrs.get("inputs", {}) for attrs in met)),
        "versions": {**fit.provenance["versions"], **versions("python", *packages)},
    }


def _notes(ready: Prepared) -> list[str]:
    notes = [f"sub-{who['subject']} left out: {who['why']}" for who in ready.brain.attrs.get("left_out", [])]
    if ready.chosen is not None:
        notes.append(f"targets chosen by {ready.chosen}")
    notes += list(ready.brain.attrs.get("notes", [])) + list(ready.met.events.attrs.get("notes", []))
    if len(ready.brain.runs) == 1:
        session = "session" if "reference" in ready.brain.attrs else "scanner session"
        notes.append(
            f"one run only: every fold shares its {session}, and slow changes are shared by neighbouring folds"
        )
    for feature in ready.features:
        unlisted = feature.about.get("out_of_vocabulary", {"count": 0})
        if unlisted["count"]:
            some = ", ".join(unlisted["words"][:5]) + (" …" if len(unlisted["words"]) > 5 else "")
            notes.append(
                f"{feature.settings.name}: {unlisted['count']} of {feature.signal.shape[0]} words "
                f"({100 * unlisted['share']:.2g} %) are not in its list ({some})"
            )
        notes += feature.signal.attrs.get("notes", [])
        if feature.about.get("context_crosses_runs"):
            notes.append(f"{feature.settings.name}: the model's context crosses runs")
        elif isinstance(feature.settings, ReadsWords) and len(ready.brain.runs) == 1:
            notes.append(
                f"{feature.settings.name}: the model's context ({max(feature.settings.contexts)} "
                f"{feature.settings.unit}) crosses the borders of folds, since they lie within one run; it sees words "
                "only, never responses"
            )
    return list(dict.fromkeys(notes))  # features of the same sounds say the same of them
