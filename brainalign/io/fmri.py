"""What did the scanner measure: images, surfaces, tables of regions → Signal?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError, did_you_mean, one_message
from brainalign.io.atlases import Atlas, Regions, read_atlas, segmentations
from brainalign.io.bids import index_bids
from brainalign.io.fetch import volume_clock
from brainalign.io.holding import Held, hold, noun_of
from brainalign.io.parcels import FORMS, Parcels, is_parcels, read_parcels
from brainalign.io.people import alike, by_clock, labels_of, list_names, side_by_side
from brainalign.io.recordings import Chosen, choose_recordings
from brainalign.io.runs import Run, RunSettings, open_run, share_mask
from brainalign.io.series import Series, same_grid, there_twice
from brainalign.io.volumes import Mask, read_mask
from brainalign.io.wanted import Asked, Censor, limits_of, trim_of, wanted_confounds
from brainalign.provenance import hash_array, hash_file, relative_name
from brainalign.signals import Signal, average_people
from brainalign.store import Store

Average = Literal["none", "subjects"]
READ = 2  # counts up when the same files are read as other numbers


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
    read : Series, optional
        The first run that the signal is made of.
    """

    subject: str
    signal: Signal | None
    dead: str
    problems: list[str]
    read: Series | None = None


def read_fmri(
    root: str | Path,
    subject: str | Sequence[str] = "all",
    *,
    task: str | None = None,
    session: str | None = None,
    run: str | None = None,
    space: str | None = None,
    derivatives: str | None = None,
    mask: str | Path | None = None,
    atlas: str | Path | None = None,
    regions: Regions = "mean",
    smooth_mm: float | None = None,
    confounds: Asked = None,
    censor: Censor = None,
    trim_volumes: int | None = None,
    dataset: str | None = None,
    average: Average = "none",
    store: Store | None = None,
) -> Signal | list[Signal]:
    """Read the fMRI recordings of a task from a BIDS tree: images, surfaces, or tables of regions.

    Where nothing more is named, tables of regions (`*_timeseries.tsv`) come before images (`*_bold.nii.gz`), the tree's
    own images before those of its derivatives; `attrs["notes"]` says what else there was.

    Files are gone through some volumes at a time: once, after they were hashed; an image without a mask twice, as its
    brain is looked for first. What is larger than 256 MB is written to the store and memory-mapped, and found there the
    next time.

    Parameters
    ----------
    root : path
        The BIDS tree, raw or derivative.
    subject : "all", a label, or several
        With "all", a person whose recording is empty or constant is left out and named in `attrs["left_out"]`.
    task, session, run : str, optional
        Labels, as in the file names. The task may be left out where there is one. Runs that differ in nothing but
        `acq-`, `ce-`, `rec-` or `dir-` are called "AP-1", "PA-1", and may be named so.
    space : str, optional
        Label of a volume or a surface, with further entities in fMRIPrep's spelling: "MNI152NLin2009cAsym:res-2",
        "fsaverage6" (GIFTI, both hemispheres), "fsLR:den-91k" (CIFTI).
    derivatives : str, optional
        A folder in `derivatives/`, or "raw" for the tree's own images.
    mask : path, optional
        A NIfTI mask on the images' grid. Else the `desc-brain_mask` beside each image, else the brain that
        `nilearn.masking.compute_epi_mask` finds; voxels have to be in the mask of every run. With an atlas no brain is
        looked for, and voxels outside a mask are in no region.
    atlas : str or path, optional
        Of tables of regions, the label in their names. Of images, a label image: its path, or the `atlas-`, `seg-` or
        `desc-` label of a `*_dseg.nii.gz` in the tree; the regions are named by its table. Of surfaces, the path of a
        parcellation: `.label.gii` or `.annot` (of either hemisphere, the other beside it), `.dlabel.nii`; names that
        both hemispheres have become "L.bankssts", "R.bankssts". A segmentation goes with images of its own space: in
        `anat/`, without `space-`, with those of T1w.
    regions : "mean" or "voxels"
        What an atlas makes of voxels (or vertices): the mean over each region, or voxels that say which they are in
        (`roi`).
    smooth_mm : float, optional
        Full width at half maximum of a Gaussian that images are smoothed by, before the mask.
    confounds : list of str or mapping, optional
        Which of the confounds recorded beside a run are kept: names of columns, or strategies of
        `nilearn.interfaces.fmriprep.load_confounds` (a mapping gives their options). By default every column.
    censor : mapping, optional
        Confound → threshold: volumes above it are not in use. {"framewise_displacement": 0.5, "std_dvars": 1.5}
    trim_volumes : int, optional
        Volumes left out at the start of every run; the clock goes on as if they were there.
    dataset : str, optional
        The card of a data set (`brainalign datasets list`), which says how many volumes those are, and when the first
        was taken where no sidecar does. Its TR decides nothing: a note says so where the recording's is another.
    average : "none" or "subjects"
        "subjects": the mean over people, with the people kept in `related["people"]`.
    store : Store, optional
        Where large recordings are kept; by default the user's cache.

    Returns
    -------
    Signal
        (volumes, columns), people side by side. `samples`: `run`, `time` = start + i · TR (s), start being the
        sidecar's StartTime, else a table's own first time, else the mean of SliceTiming, else the card's, else 0 with a
        note; `use` where volumes are censored (of people side by side: in any of them). `columns`: `subject` and, of
        regions, `roi`; of voxels, `i`, `j`, `k`, `x`, `y`, `z` (mm); of surfaces, `hemisphere` and `vertex`.
        `related["confounds"]`: `subject`, `confound`. `attrs`: `tr`, `start_time`, `unit`, `inputs` (file → sha256),
        `left_out`, `notes`.
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
    named = _atlas_of(atlas, root)
    label = None if named is not None or atlas is None else str(atlas)
    only_images = not (mask is smooth_mm is None) or isinstance(named, (Atlas, str))
    chosen = choose_recordings(root, subject, task, session, run, space, derivatives, label, nifti=only_images)
    settings = _settings_of(mask, named, regions, smooth_mm, confounds, censor, trim_volumes, dataset, root)
    people = [_read_person(chosen, one, settings, store) for one in chosen.subjects]
    problems, left_out = _sort_out(people, labels_of(subject) == ["all"])
    if problems:
        raise one_message(problems)
    for one in left_out:
        logging.getLogger(__name__).warning("sub-%s is left out: %s", one["subject"], one["why"])
    signals = [person.signal for person in people if person.signal is not None]
    notes = [*chosen.notes, *_gather_notes(signals)]
    signals = [replace(s, attrs={**s.attrs, "notes": notes, "left_out": left_out}) for s in signals]
    if average == "subjects":
        read = [person.read for person in people if person.read is not None]
        own = _spaces_of_ones_own(chosen, read)
        signals = [replace(s, attrs={**s.attrs, "notes": [*notes, *own]}) for s in signals]
        return average_people(side_by_side(alike(signals, read), store))
    together = [side_by_side(group, store) for group in by_clock(signals)]
    return together[0] if len(together) == 1 else together


def _spaces_of_ones_own(chosen: Chosen, read: list[Series]) -> list[str]:
    """An error where each person has a space of their own, of which no mean is taken; notes where it may be so."""
    if read[0].key == ("roi",):
        return []
    spaces = {r.file.entities.get("space") for r in chosen.recordings}
    own = next((space for space in ("fsnative", "T1w") if space in spaces), None)
    if own is not None:
        what, other = ("surfaces on which vertices", "fsaverage") if own == "fsnative" else ("voxels that", "MNI…")
        raise InputError(
            f"a mean over subjects needs {what} are alike: {own} is each person's own; name space {other}, or average: "
            "none"
        )
    if spaces == {None} and len(read) > 1:
        return ["people's native spaces are averaged, because their grids are the same: nothing says that they agree"]
    return []


def _settings_of(
    mask: str | Path | None,
    atlas: Atlas | Parcels | str | None,
    regions: Regions,
    smooth_mm: float | None,
    confounds: Asked,
    censor: Censor,
    trim_volumes: int | None,
    dataset: str | None,
    root: str | Path,
) -> RunSettings:
    """What is asked for, checked."""
    if regions not in ("mean", "voxels"):
        raise SettingsError(f"regions {regions!r} is not known; " + did_you_mean(str(regions), ["mean", "voxels"]))
    if smooth_mm is not None and not smooth_mm > 0:
        raise SettingsError(f"smooth_mm is a width in mm above 0; found {smooth_mm!r}: leave it out for none")
    if regions == "voxels" and atlas is None:
        raise SettingsError(
            "regions 'voxels' says what becomes of the regions of a label image or a parcellation: name one as atlas, "
            "or leave regions out"
        )
    wanted_confounds(confounds)  # what cannot be is an error before anything is read
    limits_of(censor)
    clock = volume_clock(dataset)
    return RunSettings(
        _find_mask_file(mask, root),
        atlas,
        regions,
        smooth_mm,
        confounds,
        censor,
        trim_of(trim_volumes, clock),
        None if clock is None else clock.start_time,
        None if clock is None else clock.tr,
    )


def _atlas_of(atlas: str | Path | None, root: str | Path) -> Atlas | Parcels | str | None:
    """An atlas that is named by its path, or the label of those in the tree; None where tables are meant."""
    if atlas is None:
        return None
    path = next((p for p in (Path(atlas), Path(root) / atlas) if p.is_file()), None)
    if path is not None:
        read = read_parcels if is_parcels(path) else read_atlas
        return read(path, relative_name(path, root))
    if str(atlas).endswith((".nii", ".nii.gz", *FORMS)) or len(Path(atlas).parts) > 1:
        raise InputError(f"there is no atlas {atlas}: looked for it as it stands and in {root}; check the path")
    tree = index_bids(root)
    tables = (
        tree.find("timeseries", ".tsv") + tree.find("timeseries", ".ptseries.nii") + tree.find("bold", ".ptseries.nii")
    )
    labels = {f.entities.get(entity) for f in tables for entity in ("atlas", "seg")}
    return str(atlas) if str(atlas) not in labels and segmentations(tree, str(atlas)) else None


def _read_person(chosen: Chosen, subject: str, settings: RunSettings, store: Store | None) -> Person:
    mine = [r for r in chosen.recordings if r.subject == subject]
    settings = share_mask(chosen.tree, mine, settings)
    runs = [open_run(chosen.tree, r, settings) for r in mine]
    held, hashes = None, {}
    problems = [problem for run in runs for problem in run.problems]
    opened = [run for run in runs if run.series is not None]
    if not problems and opened:
        problems = _problems_between_runs(subject, opened)
        problems += there_twice(subject, [(run.label, run.name) for run in runs])
        if not problems:
            hashes = {path: hash_file(path) for run in opened for path in dict.fromkeys(run.inputs)}
            held = _hold(opened, hashes, settings, store)
            problems = held.problems
            opened = [replace(run, dead=dead) for run, dead in zip(opened, held.dead, strict=True)]
    dead = [run.dead for run in (*runs, *opened) if run.dead]
    if len(dead) == len(runs):
        why = dead[0] + (f" (and so in all {len(dead)} runs)" if len(dead) > 1 else "")
        return Person(subject, None, why, [])
    problems += [
        f"sub-{subject}, run {run.label}: {run.dead}; take this run out" for run in (*runs, *opened) if run.dead
    ]
    if not problems and held is not None and not len(held.columns):
        one = noun_of(opened[0].series.key)[0] if opened[0].series else "column"
        problems = [f"sub-{subject}: no {one} is in the mask of every run and varies in all of them; name a mask"]
    if problems or held is None or held.values is None:
        return Person(subject, None, "", problems)
    return Person(subject, _signal_of(chosen, subject, opened, held, hashes), "", [], opened[0].series)


def _hold(runs: list[Run], hashes: dict[Path, str], settings: RunSettings, store: Store | None) -> Held:
    """Read the runs of one person; they are known by their files, and by what is done to them."""
    roles = {"mask": settings.mask is not None, "atlas": settings.atlas is not None}
    key = {
        "version": READ,
        "as": [role for role, named in roles.items() if named],  # what the images among the files are used for
        "files": [hashes[path] for run in runs for path in dict.fromkeys(run.inputs)],
        "runs": [run.label for run in runs],
        "regions": settings.regions,
        "smooth_mm": settings.smooth_mm,
        "trim_volumes": settings.trim_volumes,
    }
    use = [run.use for run in runs]
    key["use"] = [None if mask is None else hash_array(mask) for mask in use]
    return hold([run.series for run in runs if run.series is not None], store, key, use)


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
        if run.series is None or first.series is None:
            continue
        if not same_grid(run.series, first.series):
            problems.append(f"{where} is on another grid than run {first.label}: resample one onto the other")
        if "roi" not in first.series.key:
            continue
        have, want = run.series.columns["roi"].tolist(), first.series.columns["roi"].tolist()
        missing, extra = [c for c in want if c not in have], [c for c in have if c not in want]
        if (missing or extra) and run.series.inputs:  # regions that were made here, of an atlas
            one, other = (first, run) if missing else (run, first)
            problems.append(
                f"{where}: regions {', '.join(missing or extra)} have voxels in {one.name} and none in {other.name}: "
                "name one mask and one atlas for all runs, or read these apart, with run="
            )
            continue
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


def _signal_of(chosen: Chosen, subject: str, runs: list[Run], held: Held, hashes: dict[Path, str]) -> Signal:
    """Runs one after the other, with what was recorded beside them."""
    samples = pd.concat([run.samples() for run in runs], ignore_index=True)
    columns = held.columns.copy()
    columns.insert(0, "subject", subject)
    confounds, said = _confounds_of(subject, runs, samples)
    notes = dict.fromkeys([*(note for run in runs for note in run.notes), *held.notes, *said])
    attrs: dict[str, Any] = {
        "tr": runs[0].tr,
        "start_time": runs[0].start,
        "unit": runs[0].unit,
        "inputs": {relative_name(path, chosen.tree.root): digest for path, digest in hashes.items()},
        "notes": list(notes),
    }
    related = {} if confounds is None else {"confounds": confounds}
    return Signal(held.values, samples, columns, related, attrs)


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
    problems = list(dict.fromkeys(problem for person in people for problem in person.problems))
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


def _find_mask_file(mask: str | Path | None, root: str | Path) -> Mask | None:
    """A mask that was named: by its path, or by its path within the tree."""
    if mask is None:
        return None
    path = next((p for p in (Path(mask), Path(root) / mask) if p.is_file()), None)
    if path is None:
        raise InputError(f"there is no mask {mask}: looked for it as it stands and in {root}; check the path")
    return read_mask(path, relative_name(path, root))
