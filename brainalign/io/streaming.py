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
METHOD = 2  # one more whenever the same voltages come out as other numbers: what was kept is then made anew
MUCH = 0.01  # of a run: what a channel costs before it is named
WORST = 3  # channels that are named
ROUND = 1e-6  # of an output: what a time may be off by


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
        numbers = {"method": METHOD, "rate": self.rate, "artefacts": repr(self.artefacts)}
        return numbers | {"band": list(map(repr, said)), "shape": hash_array(np.stack(gains))}


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
        self.costs = np.zeros((2, len(where)))  # of each channel: shares of the run that it, and it alone, takes out
        self._banned = _stretches(opened)
        self._gaps: list[np.ndarray] = []  # (n, 3): channel, first and last sample that is missing

    def columns(self) -> Iterator[np.ndarray]:
        """Columns of the reference, NaN where annotations or marks say that nothing is to be used."""
        start = 0
        self._gaps = []
        for block in voltages(self.opened, self.where) if self.marks is None else self._marked(self.marks):
            if not np.isfinite(block.sum()):
                self._gaps.append(_gaps(block, self.reference.used, start))
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
        row = 0
        for values, seen in envelopes(self.columns, self.plan):
            if seen is not None:
                touched[row : row + len(values)] = seen.any(1)
            row += len(values)
            yield values
        self.touched, self.costs = touched, self._shares()

    def _shares(self) -> np.ndarray:
        """(2, n_channels): of what comes out, what each channel takes out of use, and what nothing else does."""
        gaps = np.concatenate([np.zeros((0, 3), int), *self._gaps])
        mine = {k: gaps[gaps[:, 0] == k, 1:] for k in np.unique(gaps[:, 0]).tolist()}
        count = self._rests_on(np.array(self._banned, int).reshape(-1, 2) - [0, 1]).astype(int)
        for stretches in mine.values():
            count += self._rests_on(stretches)
        shares = np.zeros((2, len(self.where)))
        for k, stretches in mine.items():
            lost = self._rests_on(stretches)
            shares[:, k] = lost.mean(), (lost & (count == 1)).mean()
        return shares

    def _rests_on(self, stretches: np.ndarray) -> np.ndarray:
        """(n_out,) bool: which outputs rest on samples from the first to the last of a stretch."""
        plan = self.plan
        before = 0.0 if plan.band.causal else plan.reach_s
        first = np.ceil((stretches[:, 0] / plan.fs - before) * plan.rate - ROUND).clip(0, self.n_out).astype(int)
        last = np.floor((stretches[:, 1] / plan.fs + plan.reach_s) * plan.rate + ROUND).clip(-1, self.n_out - 1)
        begins, ends = (np.bincount(at, minlength=self.n_out + 1) for at in (first, last.astype(int) + 1))
        return np.cumsum(begins - ends)[: self.n_out] > 0


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
        return {"use": ~np.concatenate(gone), "costs": np.stack([one.costs for one in passes])}

    if 4 * sum(one.n_out for one in passes) * len(reference.columns) <= LARGE:
        arrays = masks()
    else:
        meta = {"what": "which samples of a recording are in use, and which channels cost how many"}
        arrays = dict(
            (Store() if store is None else store)
            .compute(key_of(what="use and costs", made_from=key), masks, meta=meta)
            .arrays
        )
    for one, costs in zip(passes, arrays["costs"], strict=True):
        one.costs = np.asarray(costs)
    ends = np.cumsum([one.n_out for one in passes])
    return held, np.split(np.asarray(arrays["use"]), ends[:-1])


def notes_of_use(passes: Sequence[Pass], names: Sequence[str], use: Sequence[np.ndarray]) -> list[str]:
    """How much of each run is not in use, which channels cost most of it, and what can be done."""
    notes = []
    for one, mask in zip(passes, use, strict=True):
        if not mask.all():
            said = one.opened.annotations
            said = said[said["bad"]]["description"].unique().tolist()
            why = [f"annotations {list_names(sorted(said))}"] * bool(said)
            why += ["artefacts that were found"] * (one.marks is not None)
            why = " and ".join(why) or "missing values"
            notes.append(f"{one.opened.name}: {(~mask).mean():.1%} of the samples are not in use, by {why}")
        whole, alone = one.costs
        usual = np.median(whole[one.reference.used])  # what all share is no channel's own
        worst = [k for k in np.argsort(-whole, kind="stable")[:WORST].tolist() if whole[k] - usual >= MUCH]
        if worst:
            most = ", ".join(f"{names[k]} {whole[k]:.1%} ({alone[k]:.1%} by it alone)" for k in worst)
            what = "name such a channel bad in channels.tsv, to have those samples of the others"
            notes.append(
                f"{one.opened.name}: what is out of use in one channel is for all; most by {most}: {what}"
                + ", or do not look for artefacts" * (one.marks is not None)
            )
    return notes


def _gaps(block: np.ndarray, used: np.ndarray, start: int) -> np.ndarray:
    """(n, 3): channel, first and last sample of each stretch in which a channel that is used is missing."""
    missing = np.pad(~np.isfinite(block[:, used]), ((1, 1), (0, 0)))
    turns = np.diff(missing.astype(np.int8), axis=0).T  # channel by channel, so that begins and ends are in step
    channel, first = np.nonzero(turns == 1)
    last = np.nonzero(turns == -1)[1] - 1
    return np.stack([used[channel], first + start, last + start], axis=1)


def _stretches(opened: Opened) -> list[tuple[int, int]]:
    """The samples that annotations take out of use: at least one each."""
    bad = opened.annotations[opened.annotations["bad"]]
    first = np.floor(bad["onset"].to_numpy(float) * opened.fs + 1e-6).astype(int)
    last = np.ceil((bad["onset"] + bad["duration"]).to_numpy(float) * opened.fs - 1e-6).astype(int)
    return [(a, max(b, a + 1)) for a, b in zip(first.tolist(), last.tolist(), strict=True)]
