"""How is the recording read that a study names, and how do its samples become trials or words?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from brainalign.design.betas import betas, condition_betas
from brainalign.design.clean import clean
from brainalign.design.epochs import epochs
from brainalign.design.estimates import How, lsa, lss
from brainalign.design.hrf import Basis, Hrf, glover, hrf_library, spm, with_derivatives
from brainalign.design.joining import join_events
from brainalign.errors import InputError, one_message, problems_of
from brainalign.events import label_repeats
from brainalign.io.fmri import read_fmri
from brainalign.io.ieeg import read_ieeg
from brainalign.io.matrices import read_matrices
from brainalign.io.nsd import read_nsd
from brainalign.signals import Signal
from brainalign.store import Store
from brainalign.study.data import Data
from brainalign.study.electric import artefact_limits
from brainalign.study.met import words_of
from brainalign.study.settings import Study
from brainalign.study.trials import mark_trials

HRFS: dict[str, Hrf] = {"spm": spm, "glover": glover}
HOWS: dict[str, How] = {"lsa": lsa, "lss": lss}


def recording(study: Study, store: Store | None = None) -> Signal:
    """Read what the study calls its data; what is large is kept in the store, and looked at there.

    Around words (`design.lags`) a row is a word, and people on different clocks meet over the words; the rows have the
    onsets of the first.

    Raises
    ------
    InputError
        Everything that is wrong with the files, in one message; or people on different clocks.
    """
    found = _read(study.data, store)
    if study.design.lags is not None:
        return around_words(study, [found] if isinstance(found, Signal) else found, store)
    if isinstance(found, Signal):
        return found
    clocks = "; ".join(f"sub-{s.columns['subject'].iloc[0]}: {s!r}" for s in found)
    raise InputError(f"the people are on different clocks ({clocks}): fit them apart, one data.subjects at a time")


def _read(data: Data, store: Store | None) -> Signal | list[Signal]:
    if data.nsd is not None:
        asked = {"space": data.space, "betas": data.betas, "mask": data.mask, "sessions": data.sessions}
        named = {key: value for key, value in asked.items() if value is not None}
        return mark_trials(read_nsd(data.nsd, data.subjects[0], store=store, **named))
    first: dict[str, Any] = {"trim_volumes": data.trim_volumes, "dataset": data.dataset, "store": store}
    if data.matrices is not None:
        how = {"tr": data.tr, "start_s": data.start_s, "key": data.key}
        return read_matrices(data.matrices, data.subjects, data.run, **how, **first)
    assert data.bids is not None  # one of the three is named
    assert not isinstance(data.run, list)
    if data.electric:
        return _read_electric(data, store)
    return read_fmri(
        data.bids,
        subject=data.subjects,
        task=data.task,
        session=data.session,
        run=data.run,
        space=data.space,
        derivatives=data.derivatives,
        atlas=data.atlas,
        mask=data.mask,
        average=data.average,
        regions=data.regions,
        smooth_mm=data.smooth_mm,
        confounds=data.confounds,
        censor=data.censor or None,
        **first,
    )


def _read_electric(data: Data, store: Store | None) -> Signal | list[Signal]:
    assert data.bids is not None
    assert data.kind != "fmri"
    assert not isinstance(data.run, list)
    assert data.reference is not None  # as the band and the rate it is written out by `Data`
    assert data.band is not None
    assert data.rate is not None
    return read_ieeg(
        data.bids,
        subject=data.subjects,
        task=data.task,
        session=data.session,
        run=data.run,
        datatype=data.kind,
        channels=data.channels,
        reference=data.reference.made(),
        line_noise=None if data.line_noise == "none" else data.line_noise,
        band=data.band.made(),
        rate=data.rate,
        artefacts=artefact_limits(data.artefacts or False),
        coordinates=data.coordinates,
        store=store,
    )


def around_words(study: Study, people: list[Signal], store: Store | None) -> Signal:
    """A row per word, its columns the windows at every lag, of people who may be on different clocks.

    Runs are cleaned before they are cut. Where runs tell the same story, its words are labelled as repeats.

    Raises
    ------
    InputError
        Everything that is wrong with anybody's events.
    """
    asked = study.design.lags
    assert asked is not None
    how = asked.model_dump(exclude={"column"})
    cut, problems = [], []
    for one in apart_by_events(study, people):
        nuisance, notes = nuisance_of(study, one, study.design.clean)
        try:
            met = label_repeats(words_of(study, one), asked.column)
            steady = (
                one
                if study.design.clean == "none"
                else clean(one, nuisance, longest_s=study.design.drift_s, store=store)
            )
            found = epochs(steady, met, **how)
        except InputError as error:
            problems += problems_of(error)
            continue
        cut.append(replace(found, attrs={**found.attrs, "notes": [*found.attrs["notes"], *notes]}))
    if problems:
        raise one_message(dict.fromkeys(problems))
    return mark_trials(join_events(*cut))


def apart_by_events(study: Study, people: Sequence[Signal]) -> list[Signal]:
    """People who stand side by side, as their recordings are equally long, apart where they met words at other times.

    What is wrong with events is not said here: whoever reads them for good says it.
    """
    out = []
    for together in people:
        who = list(dict.fromkeys(together.columns["subject"]))
        groups: list[tuple[pd.DataFrame | None, list[str]]] = []
        for one in who if len(who) > 1 else ():
            try:
                met = words_of(study, together.select(columns=(together.columns["subject"] == one).to_numpy()))
            except InputError:
                met = None
            mine = [names for other, names in groups if met is not None and other is not None and met.equals(other)]
            if mine:
                mine[0].append(one)
            else:
                groups.append((met, [one]))
        if len(groups) < 2:
            out.append(together)
        else:
            out += [together.select(columns=together.columns["subject"].isin(names).to_numpy()) for _, names in groups]
    return out


def nuisance_of(study: Study, brain: Signal, how: str) -> tuple[list[str], list[str]]:
    """What is to be removed, and a note on what would be by default and was not recorded; `how` as in design.clean."""
    if how == "none":
        what = "drift was" if study.data.electric else "drift and motion were"
        return [], [f"{what} not removed (design.clean: none)"]
    nuisance = list(study.design.nuisance)
    recorded = brain.related.get("people", brain).related.get("confounds")
    if recorded is None and "motion" in nuisance and "nuisance" not in study.design.model_fields_set:
        nuisance.remove("motion")
        return nuisance, ["no confounds were recorded: head motion was not removed"]
    return nuisance, []


def as_trials(study: Study, brain: Signal, met: pd.DataFrame, store: Store | None) -> Signal:
    """The response to every trial, or to every condition in every run, where a study asks for it.

    Conditions are no `stimulus` here, of which fold rules would refuse one in training that is tested too.

    Raises
    ------
    InputError
        Whatever keeps the trials from being told apart.
    """
    asked = study.design.betas
    if asked is None:
        return brain
    nuisance, notes = nuisance_of(study, brain, study.design.clean)
    brain = replace(brain, attrs={**brain.attrs, "notes": [*brain.attrs.get("notes", []), *notes]})
    said: dict[str, Any] = {"hrf": _responses(asked.hrf), "nuisance": nuisance, "unit": asked.unit, "store": store}
    if asked.how != "condition":
        return mark_trials(betas(brain, met, how=HOWS[asked.how], column=asked.column, ridge=asked.ridge, **said))
    found = condition_betas(brain, met, asked.column, **said)
    samples = found.samples.rename(columns={"stimulus": asked.column}).drop(columns="repeat")
    return mark_trials(replace(found, samples=samples), by=asked.column)


def _responses(name: str) -> Hrf | Basis | tuple[Hrf, ...]:
    if name == "derivatives":
        return with_derivatives(spm)
    return hrf_library() if name == "library" else HRFS[name]
