"""How is each different sound described once, part by part, and put where it was heard?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError
from brainalign.features.sounds import Clip, Sounds, some_of
from brainalign.progress import Progress
from brainalign.rows import RowJob, compute_rows, keep_rows
from brainalign.signals import Signal
from brainalign.store import Store, key_of

PART_BYTES = 64 << 20  # of what is computed between two savings
INPUTS_LISTED = 1_000  # files that provenance names one by one

Rows = Callable[[int, int], np.ndarray]


@dataclass(frozen=True)
class Listener:
    """What turns sounds into numbers.

    Parameters
    ----------
    width : int
        Numbers per sample.
    hear : function
        A clip → a function that gives its samples `first` to `last`, (last − first, width) float32; they are asked for
        in order.
    also : mapping of name → array
        What is kept beside the numbers.
    """

    width: int
    hear: Callable[[Clip], Rows]
    also: Mapping[str, np.ndarray] = field(default_factory=dict)


def listen(
    sounds: Sounds,
    step_s: float,
    first_s: float,
    begin: Callable[[], Listener],
    settings: Mapping[str, Any],
    what: str,
    *,
    store: Store | None = None,
    progress: Progress,
) -> tuple[np.ndarray, pd.DataFrame, Mapping[str, np.ndarray]]:
    """Describe every different sound, a sample every `step_s` seconds.

    Parameters
    ----------
    sounds : Sounds
    step_s, first_s : float
        Samples lie at `first_s` + k · `step_s` seconds of each sound. With `first_s` 0 they go on as long as they lie
        in it; otherwise one that is due at its very end still counts.
    begin : function
        Gives what describes them; loads what is heavy. Not called where all is in the store.
    settings : mapping of JSON types
        All that the numbers depend on but the sounds.
    what : str
        For those who watch.

    Returns
    -------
    values : (n_samples, width) float32
        NaN where a sound could not be read. With a store on disk, memory-mapped, unless a sound was heard twice.
    samples : DataFrame
        `run`, `time` (s), `duration` (s: a step), `stimulus`, `stimulus_time` (s in the sound), `use` where something
        could not be read.
    also : mapping of name → array

    Raises
    ------
    InputError
        A sound that is too short to have a sample.
    """
    counts = counts_of(sounds, step_s, first_s)
    every = {"step_s": step_s, "first_s": first_s, **settings}

    def start() -> RowJob:
        return _job(sounds.clips, counts, begin(), every, what)

    if store is None:
        arrays: Mapping[str, np.ndarray] = compute_rows(start(), progress)
    else:
        arrays = keep_rows(
            store, key_for(sounds, step_s, first_s, settings), start, {"what": what, "n_sounds": len(counts)}, progress
        )
    first = np.concatenate([[0], np.cumsum(counts)])
    places, pieces = [], []
    heard = sounds.samples
    for row, clip in enumerate(sounds.which.tolist()):
        run, onset, seconds, stimulus = (heard[c].iloc[row] for c in ("run", "time", "duration", "stimulus"))
        n = counts[clip] if clip >= 0 else count_samples(float(seconds), step_s, first_s)
        places.append(first[clip] + np.arange(n) if clip >= 0 else np.full(n, -1))
        at = first_s + step_s * np.arange(n)
        piece = {"run": run, "time": float(onset) + at, "duration": step_s, "stimulus": stimulus, "stimulus_time": at}
        pieces.append(pd.DataFrame(piece))
    samples, place = pd.concat(pieces, ignore_index=True), np.concatenate(places)
    values = arrays["values"]
    if len(place) != len(values) or (place != np.arange(len(values))).any():
        values = values[place]
    if (place < 0).any():
        values[place < 0] = np.nan
    if sounds.left_out:  # it may have been too short to have a sample
        samples["use"] = place >= 0
    return values, samples, {name: array for name, array in arrays.items() if name != "values"}


def key_for(sounds: Sounds, step_s: float, first_s: float, settings: Mapping[str, Any]) -> str:
    """Under which key `listen` keeps what it found."""
    return key_of(sounds=[clip.digest for clip in sounds.clips], step_s=step_s, first_s=first_s, **settings)


def counts_of(sounds: Sounds, step_s: float, first_s: float) -> list[int]:
    """How many samples each different sound has.

    Raises
    ------
    InputError
        One that is too short to have any.
    """
    counts = [count_samples(clip.duration, step_s, first_s) for clip in sounds.clips]
    for clip, count in zip(sounds.clips, counts):
        if count == 0:
            raise InputError(
                f"{clip.source.name} is too short: it was heard for {clip.duration:.3f} s, and a sample needs "
                f"{first_s:g} s; take smaller steps, or leave it out"
            )
    return counts


def count_samples(seconds: float, step_s: float, first_s: float) -> int:
    """How many samples a sound has; a thousandth of a step is nothing."""
    last = (seconds - first_s) / step_s
    return max(0, int(np.floor(last + 1e-3)) + 1 if first_s else int(np.ceil(last - 1e-3)))


def _job(
    clips: Sequence[Clip], counts: Sequence[int], listener: Listener, settings: Mapping[str, Any], what: str
) -> RowJob:
    size = max(1, PART_BYTES // (4 * listener.width))
    parts = [
        (k, a, min(a + size, count)) for k, count in enumerate(counts) for a in range(0, count, size)
    ]  # each of one sound, so that what is wrong with one costs the others nothing
    first = np.concatenate([[0], np.cumsum(counts)])
    at: dict[int, Rows] = {}  # the sound that is being heard

    def compute(part: int) -> np.ndarray:
        k, a, b = parts[part]
        if k not in at:
            at.clear()
            at[k] = listener.hear(clips[k])
        block = at[k](a, b)
        if not np.isfinite(block).all():
            raise InputError(f"{what}: {clips[k].source.name} gave numbers that are not finite; is the model sound?")
        return block

    return RowJob(
        (int(first[-1]), listener.width),
        [first[k] + np.arange(a, b) for k, a, b in parts],
        compute,
        listener.also,
        what,
        [key_of(part_of=clips[k].digest, rows=[a, b], **settings) for k, a, b in parts],
    )


def signal_of(
    sounds: Sounds,
    values: np.ndarray,
    samples: pd.DataFrame,
    columns: pd.DataFrame,
    name: str,
    known: Mapping[str, Any],
) -> Signal:
    """The Signal of what was found; what is known of the sounds comes with it."""
    attrs: dict[str, Any] = {"features": {name: dict(known)}}
    notes = list(sounds.notes)
    if sounds.left_out:
        attrs["left_out"] = [{"stimulus": one, "why": why} for one, why in sounds.left_out.items()]
        gone = int((~samples["use"]).sum())
        why = some_of(list(sounds.left_out.values()), "; ", "in all")
        notes.append(f"{name}: {gone:,} of {len(samples):,} samples are censored, sounds that could not be read: {why}")
    if sounds.inputs:
        many = len(sounds.inputs) > INPUTS_LISTED
        attrs["inputs"] = (
            {f"{len(sounds.inputs):,} sounds": key_of(files=dict(sounds.inputs))} if many else dict(sounds.inputs)
        )
    return Signal(values, samples, columns, attrs=attrs | ({"notes": notes} if notes else {}))


def check_positive(**settings: Any) -> None:
    """Refuse what is no positive number.

    Raises
    ------
    SettingsError

    Examples
    --------
    >>> check_positive(rate=100.0)
    """
    for name, value in settings.items():
        if not is_number(value) or value <= 0:
            raise SettingsError(f"{name} is a positive number; found {value!r}")


def is_number(value: Any) -> bool:
    """Whether it is a finite real number."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return number and bool(np.isfinite(value))
