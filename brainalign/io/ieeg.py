"""What did electrodes or sensors measure: voltages → the activity of a band at each → Signal?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError, did_you_mean, one_message
from brainalign.io.bids import BidsTree
from brainalign.io.channels import BRAIN, Datatype
from brainalign.io.contacts import match_names
from brainalign.io.electric import find_electric
from brainalign.io.opened import Opened, open_recording
from brainalign.io.people import by_clock, list_names, side_by_side
from brainalign.io.recordings import Recording
from brainalign.io.references import Reference, as_recorded
from brainalign.io.streaming import Made, Pass, Referencing, hold_passes, judge, notes_of_use
from brainalign.maths.artefacts import Limits
from brainalign.maths.bands import Band, high_gamma
from brainalign.maths.envelopes import envelope_plan
from brainalign.provenance import hash_array, hash_file, relative_name
from brainalign.signals import Signal
from brainalign.store import Store

COLUMNS = ["subject", "channel", "type", "x", "y", "z", "frame", "shaft"]


def read_ieeg(
    root: str | Path,
    subject: str | Sequence[str] = "all",
    *,
    task: str | None = None,
    session: str | None = None,
    run: str | None = None,
    datatype: Datatype = "ieeg",
    channels: str | Sequence[str] | None = None,
    reference: Referencing = as_recorded,
    line_noise: float | Literal["sidecar"] | None = "sidecar",
    band: Band | None = None,
    rate: float = 100.0,
    artefacts: Limits | None = None,
    coordinates: str | None = None,
    store: Store | None = None,
) -> Signal | list[Signal]:
    """Read recordings of electrodes from a BIDS tree: the activity of a band of frequencies at each, over time.

    Samples go through reference, line noise, band and resampling some seconds at a time, so that memory does not depend
    on how long a recording is. What is larger than 256 MB is written to the store and memory-mapped.

    Parameters
    ----------
    root : path
        The BIDS tree. BrainVision, EDF, BDF, FIF, EEGLAB and NWB are read.
    subject : "all", a label, or several
        With "all", a person whose recordings are empty is left out and named in `attrs["left_out"]`.
    task, session, run : str, optional
        Labels, as in the file names. The task may be left out where there is one.
    datatype : "ieeg", "eeg" or "meg"
        MEG from FIF.
    channels : str or sequence of str, optional
        Names, or types of channels.tsv ("SEEG"); by default all that measure the brain (ECOG, SEEG, DBS; EEG; MEG).
        What is bad by channels.tsv is left out.
    reference : function (channels) → Reference
        `as_recorded`, `common_average`, `per_shaft`, `bipolar`, `laplacian`, with `functools.partial` for their
        options; or one of your own.
    line_noise : "sidecar", number or None
        Frequency of the mains (Hz), which is removed with its harmonics: PowerLineFrequency, another, or none.
    band : Band, optional
        `high_gamma()` where none is given; `band`, `broadband`, `raw`.
    rate : float
        Samples per second of what comes out, Hz.
    artefacts : Limits, optional
        Look for artefacts, above these limits (`Limits()` for the usual ones): channels are bad by amplitude, line
        noise or being flat, samples are not in use by amplitude and jumps. By default only channels.tsv and annotations
        count.
    coordinates : str, optional
        Of electrodes in several frames, the `space-` label or the coordinate system that is meant.
    store : Store, optional
        Where large recordings are kept; by default the user's cache.

    Returns
    -------
    Signal
        (samples, columns), people side by side where they have the same runs of the same length. `samples`: `run`,
        `time` (s from the recording's first sample), `use`: False where an annotation says so (`BAD_…`, seizure,
        artefact), the recording was cut, or a value of any channel is missing, and where what comes out rests on that.
        `columns`: `subject`, `channel`, `type`, `x`, `y`, `z` (mm; by electrodes.tsv, else by an NWB file itself),
        `frame`, `shaft`. `attrs`: `tr` (s from one sample to the next), `unit`, `band`,
        `reference`, `line_noise` (Hz, of each run), `bad_channels` (person → channel → why), `inputs`, `left_out`,
        `notes`.
    list of Signal
        With people on different clocks: one Signal per clock.

    Raises
    ------
    InputError
        Everything that is wrong with the files, in one message.
    SettingsError
        What is asked for does not exist, or mne is not installed.

    Examples
    --------
    >>> import tempfile, h5py
    >>> from brainalign.io.references import bipolar
    >>> with tempfile.TemporaryDirectory() as root:
    ...     path = Path(root, "sub-01", "ieeg", "sub-01_task-story_ieeg.nwb")
    ...     path.parent.mkdir(parents=True)
    ...     with h5py.File(path, "w") as file:
    ...         series = file.create_group("acquisition/ElectricalSeries")
    ...         series.attrs["neurodata_type"] = "ElectricalSeries"
    ...         series["data"] = np.random.default_rng(0).normal(scale=1e-4, size=(1000, 3))
    ...         series.create_dataset("starting_time", data=0.0).attrs["rate"] = 500.0
    ...         file["general/extracellular_ephys/electrodes/label"] = ["LA1", "LA2", "LA3"]
    ...     read_ieeg(root, reference=bipolar).columns["channel"].tolist()
    ['LA1-LA2', 'LA2-LA3']
    """
    if datatype not in BRAIN:
        raise SettingsError(f"datatype {datatype!r} is not known; " + did_you_mean(str(datatype), BRAIN))
    for argument, given, fits, such in (
        ("reference", reference, callable(reference), "a function, such as ba.bipolar"),
        ("band", band, band is None or isinstance(band, Band), "a Band, such as ba.high_gamma()"),
        ("artefacts", artefacts, artefacts is None or isinstance(artefacts, Limits), "Limits, such as Limits()"),
    ):
        if not fits:
            raise SettingsError(f"{argument} is {such}; found {given!r}")
    made = Made(reference, line_noise, high_gamma() if band is None else band, float(rate), artefacts, datatype)
    tree, recordings, notes = find_electric(root, subject, task, session, run, datatype)
    people = list(dict.fromkeys(recording.subject for recording in recordings))
    signals: list[Signal] = []
    left_out: list[dict[str, str]] = []
    problems: list[str] = []
    for one in people:
        mine = [recording for recording in recordings if recording.subject == one]
        try:
            opened = [open_recording(tree, recording.file, datatype, channels, coordinates) for recording in mine]
            dead = [each.dead for each in opened if each.dead]
            found = dead[0] if len(dead) == len(opened) else _read_person(tree, mine, opened, made, store)
            if isinstance(found, Signal):
                signals.append(found)
            elif subject == "all" and len(people) > 1:
                left_out.append({"subject": one, "why": found})
            else:
                problems.append(f"sub-{one}: {found}; there is nothing to read")
        except InputError as error:
            problems.append(f"sub-{one}: {error}")
    if problems or not signals:
        raise one_message(problems or [f"{one['why']}; there is nothing to read" for one in left_out])
    for one in left_out:
        logging.getLogger(__name__).warning("sub-%s is left out: %s", one["subject"], one["why"])
    frames = {frame for signal in signals for frame in signal.columns["frame"] if frame != "n/a"}
    if len(frames) > 1:
        notes.append(f"positions are in several frames, which are not to be compared: {list_names(sorted(frames))}")
    signals = [
        replace(s, attrs={**s.attrs, "notes": [*notes, *s.attrs["notes"]], "left_out": left_out}) for s in signals
    ]
    together = [side_by_side(group, store) for group in by_clock(signals)]
    return together[0] if len(together) == 1 else together


def _read_person(
    tree: BidsTree, recordings: Sequence[Recording], opened: Sequence[Opened], made: Made, store: Store | None
) -> Signal | str:
    """The runs of one person one after the other; or why there is nothing in any of them."""
    subject = recordings[0].subject
    notes = [f"{one.dead}: this run is left out" for one in opened if one.dead]
    alive = [(recording.run, one) for recording, one in zip(recordings, opened, strict=True) if not one.dead]
    runs, labels = [one for _, one in alive], [label for label, _ in alive]
    channels, where, said = common_channels(runs, labels)
    channels, marks = judge(channels, runs, labels, where, made)
    if channels["status"].eq("bad").all():
        why = list_names([f"{name} ({reason})" for name, reason in zip(channels["name"], channels["reason"])])
        raise InputError(f"every channel is bad: {why}; correct status in channels.tsv, or the limits of artefacts")
    reference = made.reference(channels)
    if not isinstance(reference, Reference):
        raise SettingsError(f"{_name_of(made.reference)} gives a {type(reference).__name__}, not a Reference")
    notes += [*said, *reference.notes]
    rates = dict.fromkeys(f"{one.fs:g}" for one in runs)
    if len(rates) > 1:
        notes.append(f"runs were sampled at {' and '.join(rates)} Hz: each is brought to {made.rate:g} Hz by itself")
    passes = []
    for label, one, at, mine in zip(labels, runs, where, marks, strict=True):
        try:
            plan = envelope_plan(made.band, one.fs, made.rate, line_hz=made.line_of(one))
        except SettingsError as error:
            raise SettingsError(f"sub-{subject}, run {label}: {error}") from error
        passes.append(Pass(one, at, reference, plan, mine))
    hashes = {path: hash_file(path) for one in runs for path in dict.fromkeys(one.inputs)}
    key = made.key() | {
        "files": list(hashes.values()),
        "runs": labels,
        "channels": [channels["name"].tolist(), [at.tolist() for at in where]],
        "reference": hash_array(reference.matrix),
        "medians": [group.tolist() for group in reference.medians],
        "line": [made.line_of(one) for one in runs],
    }
    held, use = hold_passes(passes, reference, key, store)
    if held.values is None and all(held.dead) and not held.problems:
        return held.dead[0]
    if held.values is None:
        raise InputError("; ".join(dict.fromkeys([*held.problems, *filter(None, held.dead)])))
    notes += notes_of_use(passes, channels["name"].tolist(), use)
    if not any(mask.any() for mask in use):
        raise InputError(f"no sample of {list_names([one.name for one in runs])} is in use: {'; '.join(notes[-1:])}")
    times = [np.arange(one.n_out) / made.rate for one in passes]
    samples = pd.DataFrame({"run": np.repeat(labels, [len(t) for t in times]), "time": np.concatenate(times)})
    if not all(mask.all() for mask in use):
        samples["use"] = np.concatenate(use)
    columns = held.columns.assign(subject=subject)[COLUMNS]
    bad = channels[channels["status"].eq("bad")]
    late = passes[0].plan.delay_s
    every = [*(note for one in runs for note in one.notes), *notes, *held.notes]
    every += [f"the band is causal: what comes out is {late:.3g} s late"] * bool(late)
    attrs: dict[str, Any] = {
        "tr": 1 / made.rate,
        "unit": made.unit,
        "band": str(made.band),
        "reference": _name_of(made.reference),
        "line_noise": {f"{subject}, {label}": line for label, line in zip(labels, key["line"])},
        "bad_channels": {subject: dict(zip(bad["name"], bad["reason"]))},
        "inputs": {relative_name(path, tree.root): digest for path, digest in hashes.items()},
        "notes": list(dict.fromkeys(every)),
    }
    return Signal(held.values, samples, columns, attrs=attrs)


def common_channels(runs: Sequence[Opened], labels: Sequence[str]) -> tuple[pd.DataFrame, list[np.ndarray], list[str]]:
    """The channels that every run has, where each run has them, and what differs; bad in one run is bad in all.

    They are called as in the first run, whatever case, spaces and zeros the others write them with.

    Parameters
    ----------
    runs : sequence of Opened
    labels : sequence of str
        What they are called.

    Raises
    ------
    InputError
        No channel is in all of them.
    """
    names = [one.channels["name"].tolist() for one in runs]
    matched = [match_names(names[0], other) for other in names]
    shared = [name for name in names[0] if all(name in one.pairs for one in matched)]
    notes = []
    if not shared:
        raise InputError(f"no channel is in every run ({', '.join(labels)}): read them apart, with run=")
    for label, one in zip(labels, matched, strict=True):
        if one.respelled:
            pairs = list_names([f"{first} is {other}" for first, other in one.respelled])
            notes.append(f"run {label} spells names in another way than run {labels[0]}: {pairs}")
    there: dict[str, list[str]] = {name: [] for name in names[0]}
    for label, one, other in zip(labels, matched, names, strict=True):
        back: dict[str, str] = {theirs: first for first, theirs in one.pairs.items()}
        for name in other:
            there.setdefault(str(back.get(name, name)), []).append(label)
    lost = [f"{name} (run {', '.join(which)})" for name, which in there.items() if len(which) < len(labels)]
    if lost:
        notes.append(f"{len(lost)} channels are not in every run, and are left out: {list_names(lost)}")
    where = [
        np.array([other.index(one.pairs[name]) for name in shared]) for one, other in zip(matched, names, strict=True)
    ]
    tables = [one.channels.iloc[at].reset_index(drop=True) for one, at in zip(runs, where, strict=True)]
    table = tables[0].copy()
    for label, other in zip(labels, tables, strict=True):
        new = other["status"].eq("bad") & table["status"].ne("bad")
        table.loc[new, "status"] = "bad"
        table.loc[new, "reason"] = f"run {label}: " + other.loc[new, "reason"].astype(str)
        moved = ~np.isclose(table[list("xyz")].astype(float), other[list("xyz")].astype(float), equal_nan=True).all(1)
        if moved.any() or table["frame"].ne(other["frame"]).any():
            notes.append(f"positions differ between runs {labels[0]} and {label}: those of run {labels[0]} are taken")
    return table, where, notes


def _name_of(reference: Referencing) -> str:
    """What a reference is called, with its options."""
    function = getattr(reference, "func", reference)
    options = [f"{key}={value!r}" for key, value in getattr(reference, "keywords", {}).items()]
    name = getattr(function, "__name__", type(function).__name__)
    return f"{name}({', '.join(options)})" if options else name
