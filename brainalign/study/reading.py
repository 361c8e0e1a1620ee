"""How is the recording read that a study names?"""

from __future__ import annotations

from typing import Any

from brainalign.errors import InputError
from brainalign.io.fmri import read_fmri
from brainalign.signals import Signal
from brainalign.store import Store
from brainalign.study.data import Data
from brainalign.study.settings import Study


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
    said: dict[str, Any] = {"store": store, "trim_volumes": data.trim_volumes, "dataset": data.dataset}
    return read_fmri(
        data.root,
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
        **said,
    )
