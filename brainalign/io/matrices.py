"""What was recorded, where it is kept as matrices of volumes × voxels, a file per run → Signal?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError, one_message
from brainalign.io.clock import LONGEST_TR, NO_START
from brainalign.io.fetch import dataset_cards, volume_clock
from brainalign.io.holding import hold, trimmed
from brainalign.io.matrix_files import Matrix, find_matrices, open_matrix
from brainalign.io.people import by_clock, side_by_side
from brainalign.io.series import there_twice
from brainalign.io.wanted import trim_of
from brainalign.provenance import hash_file, relative_name
from brainalign.signals import Signal
from brainalign.store import Store


@dataclass(frozen=True)
class MatrixClock:
    """Volume i of a file is at ``start + i · tr`` (s), the first `trim` of them are left out."""

    tr: float
    start: float
    trim: int
    notes: tuple[str, ...] = ()


def read_matrices(
    root: str | Path,
    subject: str | Sequence[str] = "all",
    run: str | Sequence[str] | None = None,
    *,
    tr: float | None = None,
    start_s: float | None = None,
    key: str = "data",
    trim_volumes: int | None = None,
    dataset: str | None = None,
    store: Store | None = None,
) -> Signal | list[Signal]:
    """Read recordings kept as matrices, as those of LeBel et al. (2023) are: `preprocessed_data/UTS01/STORY.hf5`.

    Parameters
    ----------
    root : path
        The data set, its `preprocessed_data`, a folder with one folder per person, or the folder of one person. Files
        are HDF5 (`.hf5`, `.h5`, `.hdf5`) or `.npy`; each is a run, called as the file is.
    subject : "all", a label, or several
        The folder's name, without `sub-`.
    run : str or several, optional
        With subject "all", people who have none of them are left out and named in `attrs["left_out"]`.
    tr : float, optional
        Seconds between volumes. Left out: by the data set's card.
    start_s : float, optional
        When the first volume of each file was taken (s, on the clock of the events). Left out: by the card, else 0.
    key : str
        The HDF5 dataset: (volumes, columns), or (repeats, volumes, columns), where every repeat becomes a run.
    trim_volumes : int, optional
        Volumes left out at the start of each file; those that stay keep their times. Left out: by the card, else 0.
    dataset : str, optional
        A card that knows the clock: "lebel2023".
    store : Store, optional
        Where more than 256 MB are written and memory-mapped; the user's cache if none is named.

    Returns
    -------
    Signal
        (volumes, columns), people side by side. `samples`: `run`, `time` (s); of repeats `stimulus`, `stimulus_time`
        and `repeat`. `columns`: `subject`, `column` (counted from 0, as in the file). `attrs`: `tr`, `start_time`,
        `unit`, `inputs` (file → sha256), `left_out`, `notes`.
    list of Signal
        With people on different clocks (runs, number of volumes): one Signal per clock.

    Raises
    ------
    InputError
        Everything that is wrong with the files, in one message.
    SettingsError
        No TR, a person or run that is not there, a card of trials (nsd: see `read_nsd`).

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     (Path(folder) / "UTS01").mkdir()
    ...     np.save(Path(folder) / "UTS01/souls.npy", np.eye(5, 3))
    ...     read_matrices(folder, dataset="lebel2023")
    Signal(5 samples × 3 columns; 1 run; 10.0–18.0 s; subject, column)
    """
    clock = matrix_clock(tr, start_s, trim_volumes, dataset)
    people, left_out = find_matrices(root, subject, run)
    signals: list[Signal] = []
    problems: list[str] = []
    for who, files in people.items():
        signal, wrong = _read_person(who, files, Path(root), clock, key, store)
        problems += wrong
        signals += [] if signal is None else [signal]
    if problems:
        raise one_message(problems)
    signals = [replace(one, attrs={**one.attrs, "left_out": left_out}) for one in signals]
    together = [side_by_side(group, store) for group in by_clock(signals)]
    return together[0] if len(together) == 1 else together


def matrix_clock(tr: float | None, start_s: float | None, trim_volumes: int | None, dataset: str | None) -> MatrixClock:
    """When the volumes were taken: what was asked for, else what the card says.

    Raises
    ------
    SettingsError
        No TR, or one that is no number of seconds; fewer than no volumes.

    Examples
    --------
    >>> matrix_clock(None, None, None, "lebel2023").start
    10.0
    """
    card = volume_clock(dataset)
    notes = []
    if tr is None and card is None:
        raise SettingsError(
            "a matrix does not say how far apart its volumes are: name tr= (s), or dataset= (known: "
            f"{', '.join(name for name, one in dataset_cards().items() if one.clock.samples == 'volumes')})"
        )
    if tr is not None and not 0 < tr < LONGEST_TR:
        raise SettingsError(f"tr is {tr!r}: it is a number of seconds between 0 and {LONGEST_TR:g}")
    if tr is not None and card is not None and tr != card.tr:
        notes.append(f"tr {tr:g} s was asked for; the card {dataset} says {card.tr:g} s")
    if start_s is None and card is None:
        notes.append(f"{NO_START}: taken as 0 s; start_s= says otherwise")
    known = 0.0 if card is None else card.start_time
    trim = trim_of(trim_volumes, card)
    seconds = tr if tr is not None else card.tr if card is not None else 0.0
    return MatrixClock(float(seconds), float(known if start_s is None else start_s), trim, tuple(notes))


def _read_person(
    who: str, files: list[Path], root: Path, clock: MatrixClock, key: str, store: Store | None
) -> tuple[Signal | None, list[str]]:
    """One person's runs one below the other, or what keeps them from it."""
    runs: list[Matrix] = []
    problems = []
    for path in files:
        try:
            runs += open_matrix(path, relative_name(path, root), key)
        except InputError as error:
            problems.append(str(error))
    problems = problems or _problems_between(who, runs, clock.trim)
    if problems:
        return None, problems
    inputs = {relative_name(path, root): hash_file(path) for path in files}
    made_from = {"matrices": inputs, "key": key, "trim": clock.trim}
    held = hold([trimmed(one.series, clock.trim) for one in runs], store, made_from)
    if held.values is None:
        dead = [f"sub-{who}: {why}; take this run or this person out" for why in held.dead if why]
        return None, held.problems + dead
    if not held.values.shape[1]:
        return None, [f"sub-{who}: no column is a number throughout and varies in every run; take the broken runs out"]
    attrs = {
        "tr": clock.tr,
        "start_time": clock.start,
        "unit": "arbitrary",
        "inputs": inputs,
        "notes": [*clock.notes, *(f"sub-{who}: {note}" for note in held.notes)],
    }
    columns = held.columns.copy()
    columns.insert(0, "subject", who)
    samples = pd.concat([_samples(one, clock) for one in runs], ignore_index=True)
    return Signal(held.values, samples, columns, attrs=attrs), []


def _samples(one: Matrix, clock: MatrixClock) -> pd.DataFrame:
    time = clock.start + clock.tr * np.arange(clock.trim, one.series.n_samples)
    samples = pd.DataFrame({"run": one.run, "time": time})
    return samples.assign(stimulus=one.story, stimulus_time=time, repeat=one.repeat) if one.repeat else samples


def _problems_between(who: str, runs: list[Matrix], trim: int) -> list[str]:
    """Where the runs of one person do not fit together."""
    problems = there_twice(who, [(one.run, one.series.name) for one in runs])
    for one in runs:
        if one.series.n_samples <= trim:
            problems.append(
                f"{one.series.name} has {one.series.n_samples} volumes, {trim} are to be left out at its start: "
                "nothing remains; take it out, or trim less"
            )
    first = runs[0].series
    for one in runs[1:]:
        here = one.series
        if len(here.columns) == len(first.columns):
            continue
        lying = here.n_samples == first.n_samples
        problems.append(
            f"{here.name} has {len(here.columns)} columns, {first.name} has {len(first.columns)}: the runs of one "
            "person have the same. "
            + (
                f"Both have {first.n_samples} rows: they look like voxels × volumes, and volumes × voxels are needed; "
                "write them transposed"
                if lying
                else "Take one of them out"
            )
        )
    return problems
