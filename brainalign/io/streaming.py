"""How does one run go through reference, line noise and band, and which samples may be used then?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
from brainalign.maths.bands import Band, sub_bands
from brainalign.maths.envelopes import Plan, envelopes, n_outputs
from brainalign.provenance import hash_array
from brainalign.rows import LARGE
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
        return {"band": list(map(repr, said)), "shape": hash_array(np.stack(gains)), "rate": self.rate}


class Pass:
    """One run on its way through reference, line noise and band; what was touched is gathered as it goes.

    Parameters
    ----------
    opened : Opened
    where : array (n_channels,)
        Of the run's channels, those of the reference.
    reference : Reference
    plan : Plan
    """

    def __init__(self, opened: Opened, where: np.ndarray, reference: Reference, plan: Plan) -> None:
        self.opened, self.where, self.reference, self.plan = opened, where, reference, plan
        self.n_out = n_outputs(opened.n_samples, plan.fs, plan.rate)
        self.touched: np.ndarray | None = None  # (n_out,) bool, once it was gone through
        self.lacking = np.zeros(len(reference.columns))  # samples that only this column lacks
        self._banned = _stretches(opened)

    def voltages(self) -> Iterator[np.ndarray]:
        """Columns of the reference, NaN where annotations say that nothing is to be used."""
        step = max(1, NUMBERS // max(1, len(self.opened.channels)))
        every = len(self.where) == len(self.opened.channels) and (self.where == np.arange(len(self.where))).all()
        for start in range(0, self.opened.n_samples, step):
            stop = min(start + step, self.opened.n_samples)
            block = self.opened.blocks(start, stop)
            out = self.reference.apply(block if every else block[:, self.where])
            for first, last in self._banned:
                if first < stop and last > start:
                    out[max(0, first - start) : last - start] = np.nan
            yield out

    def values(self) -> Iterator[np.ndarray]:
        """What comes out, float32."""
        touched = np.zeros(self.n_out, bool)
        lacking = np.zeros(len(self.reference.columns))
        row = 0
        for values, seen in envelopes(self.voltages, self.plan):
            if seen is not None:
                touched[row : row + len(values)] = seen.any(1)
                lacking += (seen & ~seen.all(1)[:, None]).sum(0)
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
            why = f"annotations {list_names(sorted(said))}" if said else "missing values"
            notes.append(f"{one.opened.name}: {(~mask).mean():.1%} of the samples are not in use, by {why}")
        much = one.lacking > MUCH * one.n_out
        if much.any():
            who = list_names(reference.columns["channel"][much].tolist())
            notes.append(
                f"{one.opened.name}: values are missing in {who}; name them bad in channels.tsv to use the rest"
            )
    return notes


def _stretches(opened: Opened) -> list[tuple[int, int]]:
    """The samples that annotations take out of use: at least one each."""
    bad = opened.annotations[opened.annotations["bad"]]
    first = np.floor(bad["onset"].to_numpy(float) * opened.fs + 1e-6).astype(int)
    last = np.ceil((bad["onset"] + bad["duration"]).to_numpy(float) * opened.fs - 1e-6).astype(int)
    return [(a, max(b, a + 1)) for a, b in zip(first.tolist(), last.tolist(), strict=True)]
