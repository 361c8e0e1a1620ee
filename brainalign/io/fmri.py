"""What did the scanner measure: NIfTI images or tables of regions → Signal?"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import pandas as pd

from brainalign.errors import BrainalignError, InputError, SettingsError, did_you_mean, one_message
from brainalign.io.people import alike, by_clock, list_names, side_by_side
from brainalign.io.recordings import Chosen, choose_recordings
from brainalign.io.runs import Run, read_run
from brainalign.io.volumes import Mask, Volumes, read_mask
from brainalign.provenance import hash_file, relative_name
from brainalign.signals import Signal, average_people

Average = Literal["none", "subjects"]


@dataclass(frozen=True)
class Person:
    """One person's recording, or why there is none.

    Parameters
    ----------
    subject : str
    signal : Signal or None
    dead : str
        Why the recording says nothing (empty, constant), else "".
    problems : list of str
    """

    subject: str
    signal: Signal | None
    dead: str
    problems: list[str]


@overload
def read_fmri(
    root: str | Path,
    subject: str | Sequence[str] = ...,
    task: str | None = ...,
    session: str | None = ...,
    run: str | None = ...,
    space: str | None = ...,
    derivatives: str | None = ...,
    atlas: str | None = ...,
    mask: str | Path | None = ...,
    *,
    average: Literal["subjects"],
) -> Signal: ...
@overload
def read_fmri(
    root: str | Path,
    subject: str | Sequence[str] = ...,
    task: str | None = ...,
    session: str | None = ...,
    run: str | None = ...,
    space: str | None = ...,
    derivatives: str | None = ...,
    atlas: str | None = ...,
    mask: str | Path | None = ...,
    average: Average = ...,
) -> Signal | list[Signal]: ...
def read_fmri(
    root: str | Path,
    subject: str | Sequence[str] = "all",
    task: str | None = None,
    session: str | None = None,
    run: str | None = None,
    space: str | None = None,
    derivatives: str | None = None,
    atlas: str | None = None,
    mask: str | Path | None = None,
    average: Average = "none",
) -> Signal | list[Signal]:
    """Read the fMRI recordings of a task from a BIDS tree.

    Where nothing more is named, tables of regions (`*_timeseries.tsv`) come before images (`*_bold.nii.gz`), the tree's
    own images before those of its derivatives; `attrs["notes"]` says what else there was.

    Parameters
    ----------
    root : path
        The BIDS tree, raw or derivative.
    subject : "all", a label, or several
        With "all", a person whose recording is empty or constant is left out and named in `attrs["left_out"]`.
    task, session, run : str, optional
        Labels, as in the file names. The task may be left out where there is one.
    space, atlas : str, optional
        Labels of images and of tables; further entities in fMRIPrep's spelling ("MNI152NLin2009cAsym:res-2").
    derivatives : str, optional
        A folder in `derivatives/`, or "raw" for the tree's own images.
    mask : path, optional
        A NIfTI mask on the images' grid. Else the `desc-brain_mask` beside each image, else the brain that
        `nilearn.masking.compute_epi_mask` finds; voxels have to be in the mask of every run.
    average : "none" or "subjects"
        "subjects": the mean over people, with the people kept in `related["people"]`.

    Returns
    -------
    Signal
        (volumes, regions or voxels), people side by side. `samples`: `run` and `time` = start + i · TR (s), start being
        the sidecar's StartTime, else the mean of SliceTiming, else 0 with a note. `columns`: `subject` and `roi`, or
        `i`, `j`, `k`, `x`, `y`, `z` (mm). `related["confounds"]`: `subject`, `confound`. `attrs`: `tr`, `start_time`,
        `unit`, `inputs` (file → sha256), `left_out`, `notes`.
    list of Signal
        With people on different clocks (runs, TR, number of volumes): one Signal per clock.

    Raises
    ------
    InputError
        Everything that is wrong with the files, in one message.
    SettingsError
        A task, subject, space … that is not there, or several that would do.

    Examples
    --------
    >>> from brainalign.io.fetch import sample_path
    >>> read_fmri(sample_path("alice"), subject="18")
    Signal(362 samples × 6 columns; 1 run; 0.0–722.0 s; subject, roi; with confounds)
    """
    if average not in ("none", "subjects"):
        raise SettingsError(f"average {average!r} is not known; " + did_you_mean(str(average), ["none", "subjects"]))
    chosen = choose_recordings(root, subject, task, session, run, space, derivatives, atlas, nifti=mask is not None)
    people = list(_read_people(chosen, _find_mask_file(mask, root)))
    problems, left_out = _sort_out(people, subject == "all")
    if problems:
        raise one_message(problems)
    for one in left_out:
        logging.getLogger(__name__).warning("sub-%s is left out: %s", one["subject"], one["why"])
    signals = [person.signal for person in people if person.signal is not None]
    notes = [*chosen.notes, *_gather_notes(signals)]
    signals = [replace(s, attrs={**s.attrs, "notes": notes, "left_out": left_out}) for s in signals]
    if average == "subjects":
        return average_people(side_by_side(alike(signals)))
    together = [side_by_side(group) for group in by_clock(signals)]
    return together[0] if len(together) == 1 else together


def problems_in_fmri(
    root: str | Path,
    subject: str | Sequence[str] = "all",
    task: str | None = None,
    session: str | None = None,
    run: str | None = None,
    space: str | None = None,
    derivatives: str | None = None,
    atlas: str | None = None,
    mask: str | Path | None = None,
    average: Average = "none",
) -> list[str]:
    """Everything `read_fmri` would raise with the same arguments, one sentence each; empty when it would read.

    Examples
    --------
    >>> from brainalign.io.fetch import sample_path
    >>> problems_in_fmri(sample_path("alice"), subject="33")[0][:42]
    'sub-33: every value of derivatives/rois/su'
    """
    try:
        chosen = choose_recordings(root, subject, task, session, run, space, derivatives, atlas, nifti=mask is not None)
        voxels = _find_mask_file(mask, root)
    except BrainalignError as error:
        return [str(error)]
    people = [replace(p, signal=p.signal and _without_values(p.signal)) for p in _read_people(chosen, voxels)]
    problems, _ = _sort_out(people, subject == "all")
    if average == "subjects" and not problems:
        try:
            alike([person.signal for person in people if person.signal is not None])
        except InputError as error:
            problems.append(str(error))
    return problems


def _read_people(chosen: Chosen, mask: Mask | None) -> Iterator[Person]:
    for subject in chosen.subjects:
        runs = [read_run(chosen.tree, r, mask) for r in chosen.recordings if r.subject == subject]
        dead = [run for run in runs if run.dead]
        if len(dead) == len(runs):
            why = dead[0].dead + (f" (and so in all {len(dead)} runs)" if len(dead) > 1 else "")
            yield Person(subject, None, why, [])
            continue
        problems = [problem for run in runs for problem in run.problems]
        problems += [f"sub-{subject}, run {run.label}: {run.dead}; take this run out" for run in dead]
        labels = [run.label for run in runs]
        for label in sorted({label for label in labels if labels.count(label) > 1}):
            files = ", ".join(run.name for run in runs if run.label == label)
            problems.append(f"sub-{subject}, run {label} was recorded twice: {files}; keep one of them in the tree")
        if not problems:
            problems = _problems_between_runs(subject, runs)
        signal = None if problems else _one_person(chosen, subject, runs)
        if signal is not None and not signal.shape[1]:
            problems = [f"sub-{subject}: no voxel is in the mask of every run and varies in all of them; name a mask"]
        yield Person(subject, None if problems else signal, "", problems)


def _problems_between_runs(subject: str, runs: list[Run]) -> list[str]:
    """Where the runs of one person do not fit together."""
    first, problems = runs[0], []
    for run in runs[1:]:
        where = f"sub-{subject}, run {run.label}"
        if abs(run.tr - first.tr) > 1e-6:
            problems.append(
                f"{where} has a TR of {run.tr:g} s, run {first.label} of {first.tr:g} s: "
                "read the two apart, with run= or session="
            )
        if run.volumes is not None and first.volumes is not None and not run.volumes.on_grid_of(first.volumes):
            problems.append(f"{where} is on another grid than run {first.label}: resample one onto the other")
        if run.table is None or first.table is None:
            continue
        have, want = run.table.names, first.table.names
        missing, extra = [c for c in want if c not in have], [c for c in have if c not in want]
        if missing:
            problems.append(
                f"{where} has {len(have)} columns, run {first.label} has {len(want)}: {', '.join(missing)} missing in "
                f"{run.name}; add them, or take them out of every run"
            )
        if extra:
            problems.append(
                f"{where} has columns that run {first.label} has not: {', '.join(extra)} in {run.name}; "
                "add them there, or take them out here"
            )
    return problems


def _one_person(chosen: Chosen, subject: str, runs: list[Run]) -> Signal:
    """Runs one after the other, with what was recorded beside them."""
    notes = list(dict.fromkeys(note for run in runs for note in run.notes))
    tables = [run.table for run in runs if run.table is not None]
    if tables:
        columns = pd.DataFrame({"roi": tables[0].names})
        values = [table.values[:, [table.names.index(roi) for roi in tables[0].names]] for table in tables]
    else:
        values, columns, lost = _voxels_of([run.volumes for run in runs if run.volumes is not None])
        notes += [lost] * bool(lost)
    samples = pd.concat([run.samples() for run in runs], ignore_index=True)
    columns.insert(0, "subject", subject)
    confounds, said = _confounds_of(subject, runs, samples)
    files = dict.fromkeys(path for run in runs for path in run.inputs)
    attrs: dict[str, Any] = {
        "tr": runs[0].tr,
        "start_time": runs[0].start,
        "unit": runs[0].unit,
        "inputs": {relative_name(path, chosen.tree.root): hash_file(path) for path in files},
        "notes": notes + said,
    }
    related = {} if confounds is None else {"confounds": confounds}
    return Signal(np.concatenate(values), samples, columns, related, attrs)


def _voxels_of(volumes: list[Volumes]) -> tuple[list[np.ndarray], pd.DataFrame, str]:
    """The voxels in the mask of every run that vary in every run, and a sentence on those that do not."""
    shared = np.logical_and.reduce([v.mask for v in volumes])
    inside = [v.within(shared) for v in volumes]
    varies = np.logical_and.reduce([(v.values != v.values[:1]).any(0) & np.isfinite(v.values).all(0) for v in inside])
    lost = int((~varies).sum())
    note = (
        f"{lost} voxel{'s' * (lost != 1)} of {len(varies)} constant or without a number in a run, dropped"
        if lost
        else ""
    )
    return [v.values[:, varies] for v in inside], inside[0].columns()[varies].reset_index(drop=True), note


def _confounds_of(subject: str, runs: list[Run], samples: pd.DataFrame) -> tuple[Signal | None, list[str]]:
    """The confounds of every run under one another; a column that a run lacks is 0 there, which removes nothing."""
    tables = [run.confounds for run in runs if run.confounds is not None]
    without = [run.label for run in runs if run.confounds is None]
    if without:
        where = "" if not tables else " of run " + ", ".join(without)
        return None, [f"no confounds{where} beside the recording: motion cannot be removed"]
    names = list(dict.fromkeys(name for table in tables for name in table.names))
    frames = [
        pd.DataFrame(table.values, columns=table.names).reindex(columns=names, fill_value=0.0) for table in tables
    ]
    partial = [name for name in names if not all(name in table.names for table in tables)]
    notes = [f"{len(partial)} confounds are not in every run, and 0 where they are not"] * bool(partial)
    columns = pd.DataFrame({"subject": subject, "confound": names})
    return Signal(pd.concat(frames).to_numpy(np.float32), samples, columns), notes


def _sort_out(people: list[Person], everyone: bool) -> tuple[list[str], list[dict[str, str]]]:
    """Problems, and who is left out: only where nobody in particular was asked for, and somebody remains."""
    problems = [problem for person in people for problem in person.problems]
    dead = [person for person in people if person.dead]
    left_out = [{"subject": person.subject, "why": person.dead} for person in dead]
    if everyone and len(dead) < len(people):
        return problems, left_out
    advice = "there is nothing to fit" if everyone else 'leave this person out, or use subject "all", which does'
    return problems + [f"sub-{person.subject}: {person.dead}; {advice}" for person in dead], []


def _gather_notes(signals: list[Signal]) -> list[str]:
    """Each note once, with whom it is about unless that is everybody."""
    about: dict[str, list[str]] = {}
    for signal in signals:
        for note in signal.attrs["notes"]:
            about.setdefault(note, []).append(f"sub-{signal.columns['subject'].iloc[0]}")
    everyone = len(signals)
    return [note if len(who) == everyone > 1 else f"{list_names(who)}: {note}" for note, who in about.items()]


def _without_values(signal: Signal) -> Signal:
    """The same tables over zeros that take no memory: enough to see whether people go together."""
    return Signal(np.broadcast_to(np.float32(0), signal.shape), signal.samples, signal.columns, {}, signal.attrs)


def _find_mask_file(mask: str | Path | None, root: str | Path) -> Mask | None:
    """A mask that was named: by its path, or by its path within the tree."""
    if mask is None:
        return None
    path = next((p for p in (Path(mask), Path(root) / mask) if p.is_file()), None)
    if path is None:
        raise InputError(f"there is no mask {mask}: looked for it as it stands and in {root}; check the path")
    return read_mask(path, relative_name(path, root))
