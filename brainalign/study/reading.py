"""How is the recording read that a study names, and how do its volumes become trials?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from brainalign.design.betas import betas, condition_betas
from brainalign.design.estimates import How, lsa, lss
from brainalign.design.hrf import Basis, Hrf, glover, hrf_library, spm, with_derivatives
from brainalign.errors import InputError
from brainalign.io.fmri import read_fmri
from brainalign.io.matrices import read_matrices
from brainalign.io.nsd import read_nsd
from brainalign.signals import Signal
from brainalign.store import Store
from brainalign.study.data import Data
from brainalign.study.settings import Study
from brainalign.study.trials import mark_trials

HRFS: dict[str, Hrf] = {"spm": spm, "glover": glover}
HOWS: dict[str, How] = {"lsa": lsa, "lss": lss}


def recording(study: Study, store: Store | None = None) -> Signal:
    """Read what the study calls its data; what is large is kept in the store, and looked at there.

    Raises
    ------
    InputError
        Everything that is wrong with the files, in one message; or people on different clocks.
    """
    found = _read(study.data, store)
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


def nuisance_of(study: Study, brain: Signal, how: str) -> tuple[list[str], list[str]]:
    """What is to be removed, and a note on what would be by default and was not recorded; `how` as in design.clean."""
    if how == "none":
        return [], ["drift and motion were not removed (design.clean: none)"]
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
