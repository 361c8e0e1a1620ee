"""How does one run go through reference, line noise and band, and which samples may be used then?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import SettingsError
from brainalign.io.channels import Datatype
from brainalign.io.holding import Held, hold
from brainalign.io.opened import Opened
from brainalign.io.people import list_names
from brainalign.io.references import Reference
from brainalign.io.series import Series
from brainalign.maths.artefacts import Limits, Survey, bad_channels, mark, survey
from brainalign.maths.bands import Band, sub_bands
from brainalign.maths.envelopes import Plan, envelopes, n_outputs
from brainalign.provenance import hash_array
from brainalign.scratch import LARGE
from brainalign.store import Store, key_of

Referencing = Callable[[pd.DataFrame], Reference]
NUMBERS = 4 << 20  # read together
MUCH = 0.1  # of a run: what a channel may lack before it is named


@dataclass(frozen=True)
class Made:
    """What is made of voltages: the arguments of `read_ieeg`."""

    reference: Referencing
    line_noise: float | str | None
    band: Band
    rate: float
    artefacts: Limits | None = None
    datatype: Datatype = "ieeg"

    def line_of(self, opened: Opened) -> float | None:
        """What is removed from one run (Hz): nothing where the file has no such frequency."""
        line = opened.line_freq if self.line_noise == "sidecar" else self.line_noise
        if isinstance(line, str):
            raise SettingsError(f"line_noise is 'sidecar', a frequency in Hz, or None; found {line!r}")
        return None if self.line_noise == "sidecar" and line is not None and line >= opened.fs / 2 else line

    @property
    def unit(self) -> str:
        """Of what comes out."""
        if self.band.relative or self.band.log:
            return "arbitrary"
        volts = "T" if self.datatype == "meg" else "V"  # gradiometers have teslas per metre
        return f"{volts}²" if self.band.power else volts

    def key(self) -> dict[str, Any]:
        """Everything that numbers depend on, as JSON types; a filter by its gains."""
        band = self.band
        hz = np.geomspace(0.1, 10_000, 400)
        gains = [band.shape(hz, low, high) for low, high in sub_bands(band.low, band.high, band.n_sub)]
        said = [band.low, band.high, band.n_sub, band.envelope, band.power, band.log, band.relative, band.causal]
        shape = hash_array(np.stack(gains))
        return {"band": list(map(repr, said)), "shape": shape, "rate": self.rate, "artefacts": repr(self.artefacts)}


@dataclass(frozen=True, eq=False)
class Marks:
    """What tells the samples of one run that are no signal.

    Parameters
    ----------
    found : Survey
        Of the channels in `among`.
    limits : Limits
    among : array of int
        Those that were looked at: good by channels.tsv.
    bad : list of int
        Of these, those that are bad, and have no say in whether a sample is bad for all.
    """

    found: Survey
    limits: Limits
    among: np.ndarray
    bad: list[int]


def voltages(opened: Opened, where: np.ndarray) -> Iterator[np.ndarray]:
    """Some channels of a run, (m, n_channels) volts, a few million numbers at a time."""
    step = max(1, NUMBERS // max(1, len(opened.channels)))
    every = len(where) == len(opened.channels) and (where == np.arange(len(where))).all()
    for start in range(0, opened.n_samples, step):
        block = opened.blocks(start, min(start + step, opened.n_samples))
        yield block if every else block[:, where]


def judge(
    channels: pd.DataFrame, runs: Sequence[Opened], labels: Sequence[str], where: Sequence[np.ndarray], made: Made
) -> tuple[pd.DataFrame, list[Marks | None]]:
    """Look for artefacts, where that is asked for: the channels with those that are bad marked, and how samples are.

    Parameters
    ----------
    channels : DataFrame
        That all runs have; what is bad already is not looked at.
    runs, labels, where
        The runs, what they are called, and where each has those channels.
    made : Made
    """
    if made.artefacts is None:
        return channels, [None] * len(runs)
    among = np.flatnonzero(channels["status"].ne("bad"))
    surveys = [
        survey(voltages(one, at[among]), one.fs, line_hz=made.line_of(one)) for one, at in zip(runs, where, strict=True)
    ]
    kinds = channels["type"].to_numpy()[among]
    status, reason = channels["status"].tolist(), channels["reason"].tolist()
    for label, found in zip(labels, surveys, strict=True):
        for kind in dict.fromkeys(kinds):  # a magnetometer is not measured by gradiometers
            rows = np.flatnonzero(kinds == kind)
            for row, why in zip(among[rows].tolist(), bad_channels(_some(found, rows), made.artefacts), strict=True):
                if why and status[row] != "bad":
                    status[row], reason[row] = "bad", f"run {label}: {why}" if len(runs) > 1 else why
    channels = channels.assign(status=status, reason=reason)
    bad = [k for k, row in enumerate(among.tolist()) if status[row] == "bad"]
    return channels, [Marks(found, made.artefacts, among, bad) for found in surveys]


def _some(found: Survey, which: np.ndarray) -> Survey:
    """A survey of some of its channels."""
    arrays = {key: value[..., which] for key, value in vars(found).items() if isinstance(value, np.ndarray)}
    return replace(found, **arrays)


class Pass:
    """One run on its way through reference, line noise and band; what was touched is gathered as it goes.

    Parameters
    ----------
    opened : Opened
    where : array (n_channels,)
        Of the run's channels, those of the reference.
    reference : Reference
    plan : Plan
    marks : Marks, optional
        What else is not to be used than annotations say.
    """

    def __init__(
        self, opened: Opened, where: np.ndarray, reference: Reference, plan: Plan, marks: Marks | None = None
    ) -> None:
        self.opened, self.where, self.reference, self.plan, self.marks = opened, where, reference, plan, marks
        self.n_out = n_outputs(opened.n_samples, plan.fs, plan.rate)
        self.touched: np.ndarray | None = None  # (n_out,) bool, once it was gone through
        self.lacking = np.zeros(len(reference.columns))  # samples that only this column lacks
        self._banned = _stretches(opened)

    def columns(self) -> Iterator[np.ndarray]:
        """Columns of the reference, NaN where annotations or marks say that nothing is to be used."""
        start = 0
        for block in voltages(self.opened, self.where) if self.marks is None else self._marked(self.marks):
            out, stop = self.reference.apply(block), start + len(block)
            for first, last in self._banned:
                if first < stop and last > start:
                    out = out.copy() if out is block else out
                    out[max(0, first - start) : last - start] = np.nan
            start = stop
            yield out

    def _marked(self, marks: Marks) -> Iterator[np.ndarray]:
        looked_at = voltages(self.opened, self.where[marks.among])
        for values, marked in mark(looked_at, marks.found, marks.limits, bad=marks.bad):
            block = np.zeros((len(values), len(self.where)))
            block[:, marks.among] = np.where(marked, np.nan, values)
            yield block

    def values(self) -> Iterator[np.ndarray]:
        """What comes out, float32."""
        touched = np.zeros(self.n_out, bool)
        lacking = np.zeros(len(self.reference.columns))
        row = 0
        for values, seen in envelopes(self.columns, self.plan):
            if seen is not None:
                touched[row : row + len(values)] = seen.any(1)
                lacking += (seen & ~np.all(seen, axis=1, keepdims=True)).sum(0)
            row += len(values)
            yield values
        self.touched, self.lacking = touched, lacking


def hold_passes(
    passes: Sequence[Pass], reference: Reference, key: dict[str, Any], store: Store | None
) -> tuple[Held, list[np.ndarray]]:
    """Values in memory or in the store, and which samples of each run are in use."""
    series = [Series(one.opened.name, reference.columns, ("channel",), one.n_out, one.values) for one in passes]
    held = hold(series, store, key)
    if held.values is None:
        return held, []

    def masks() -> dict[str, np.ndarray]:
        for one in passes:
            if one.touched is None:  # the values were found in the store
                for _ in one.values():
                    pass
        gone = [one.touched for one in passes if one.touched is not None]
        return {"use": ~np.concatenate(gone), "lacking": np.stack([one.lacking for one in passes])}

    if 4 * sum(one.n_out for one in passes) * len(reference.columns) <= LARGE:
        arrays = masks()
    else:
        meta = {"what": "which samples of a recording are in use"}
        arrays = dict(
            (Store() if store is None else store).compute(key_of(what="use", made_from=key), masks, meta=meta).arrays
        )
    for one, lacking in zip(passes, arrays["lacking"], strict=True):
        one.lacking = np.asarray(lacking)
    ends = np.cumsum([one.n_out for one in passes])
    return held, np.split(np.asarray(arrays["use"]), ends[:-1])


def notes_of_use(passes: Sequence[Pass], reference: Reference, use: Sequence[np.ndarray]) -> list[str]:
    """How much of each run is not in use, and which channels alone would lose more."""
    notes = []
    for one, mask in zip(passes, use, strict=True):
        if not mask.all():
            said = one.opened.annotations
            said = said[said["bad"]]["description"].unique().tolist()
            why = [f"annotations {list_names(sorted(said))}"] * bool(said)
            why += ["artefacts that were found"] * (one.marks is not None)
            why = " and ".join(why) or "missing values"
            notes.append(f"{one.opened.name}: {(~mask).mean():.1%} of the samples are not in use, by {why}")
        much = one.lacking > MUCH * one.n_out
        if much.any():
            who = list_names(reference.columns["channel"][much].tolist())
            notes.append(
                f"{one.opened.name}: values are missing in {who}; name them bad in channels.tsv, to use the rest"
            )
    return notes


def _stretches(opened: Opened) -> list[tuple[int, int]]:
    """The samples that annotations take out of use: at least one each."""
    bad = opened.annotations[opened.annotations["bad"]]
    first = np.floor(bad["onset"].to_numpy(float) * opened.fs + 1e-6).astype(int)
    last = np.ceil((bad["onset"] + bad["duration"]).to_numpy(float) * opened.fs - 1e-6).astype(int)
    return [(a, max(b, a + 1)) for a, b in zip(first.tolist(), last.tolist(), strict=True)]
