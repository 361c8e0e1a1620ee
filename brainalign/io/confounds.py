"""What was recorded beside the brain: which of it may be removed, and which volumes are censored?"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from brainalign.errors import did_you_mean
from brainalign.io.bids import BidsFile, BidsTree
from brainalign.io.recordings import is_confounds, same_recording
from brainalign.io.tables import Table, read_recorded, without_gaps
from brainalign.io.wanted import Asked, Censor, Limit, Wanted, limits_of, wanted_confounds
from brainalign.provenance import relative_name


@dataclass(frozen=True)
class Beside:
    """What was recorded beside one run.

    Parameters
    ----------
    table : Table or None
        The confounds that were asked for, a number in every row; None where there are none, or problems.
    use : array (n_rows,) of bool, or None
        False: the volume is censored. None where nobody asked.
    inputs : list of Path
        Every file that was read.
    notes, problems : list of str
    """

    table: Table | None = None
    use: np.ndarray | None = None
    inputs: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_beside(
    tree: BidsTree,
    recording: BidsFile,
    name: str,
    n_rows: int,
    asked: Asked = None,
    censor: Censor = None,
    trim: int = 0,
) -> Beside:
    """Read the confounds of a run, choose among them, and find the volumes that are to be censored.

    Parameters
    ----------
    tree : BidsTree
    recording : BidsFile
    name : str
        What to call the recording in sentences.
    n_rows : int
        How many volumes it has.
    asked : None, list of str, or mapping
        None: every column. Else columns by name and strategies of `nilearn.interfaces.fmriprep.load_confounds`, as
        `wanted_confounds` takes them; volumes that a strategy marks (scrubbing; non-steady states, always) are
        censored.
    censor : mapping, optional
        Limits of columns, as `limits_of` takes them: volumes above are censored. The column need not be asked for. A
        volume without a value (n/a in the first row) is not above.
    trim : int
        Volumes at the start that will be left out: what is missing in them does not matter.

    Raises
    ------
    SettingsError
        `asked` or `censor` say what cannot be, whatever the file.
    """
    wanted, limits = wanted_confounds(asked), limits_of(censor)
    file, notes = find_confounds(tree, recording)
    if file is None:
        asking = wanted is not None and (wanted.columns or wanted.strategies)
        what = "confounds are asked for" if asking else "censoring needs confounds" if limits else ""
        why = f" ({notes[0]})" if notes else ""
        return Beside(notes=notes, problems=[f"{name}: {what}, and there are none beside it{why}"] if what else [])
    beside = relative_name(file.path, tree.root)
    whole, problems, said = read_recorded(file.path, beside)
    if whole is not None and len(whole.values) != n_rows:
        problems = [
            f"{beside} has {len(whole.values)} rows, {name} has {n_rows}: "
            "both have one per volume; is it of another run? Else cut the volumes dropped from one out of the other"
        ]
    if whole is None or problems:
        return Beside(notes=notes, problems=problems)
    columns, censored, problems = _chosen(whole, file, recording, beside, wanted)
    problems += _problems_in_limits(whole, limits, beside)
    if problems:
        return Beside(notes=notes, problems=problems)
    censored |= {f"{limit.column} above {limit.above:g}": _around(whole, limit) for limit in limits}
    use, told = _in_use(censored, n_rows, name)
    rows = (np.arange(n_rows) >= trim) & (True if use is None or not use.any() else use)
    asked_for = whole.drop([one for one in whole.names if one not in columns])
    table, problems, gaps = without_gaps(asked_for, beside, rows if rows.any() else None)
    if use is not None and not use.any():
        problems = [*problems, f"{told}: nothing is left; raise the limits, or take this run out"]
    if problems:
        return Beside(notes=notes, problems=problems)
    about = file.path.with_suffix(".json")
    inputs = [file.path, *([about] if wanted and wanted.strategies and about.is_file() else [])]
    notes = [*notes, *said, *gaps, *([told] if told else [])]
    return Beside(table if table is not None and table.names else None, use, inputs, notes)


def find_confounds(tree: BidsTree, recording: BidsFile) -> tuple[BidsFile | None, list[str]]:
    """The confounds of a recording: those of its own pipeline, else those of the only pipeline that has some."""
    forms = [(suffix, extension) for suffix in ("timeseries", "regressors") for extension in (".tsv", ".txt")]
    near = [file for form in forms for file in tree.in_folder(recording.folder, *form)]
    fits = [file for file in near if is_confounds(file) and same_recording(file, recording)]
    own = [file for file in fits if file.dataset == recording.dataset]
    tables = [file for file in own or fits if file.extension == ".tsv"] or own or fits
    if len(tables) > 1:
        names = ", ".join(sorted({f"derivatives/{file.dataset}: {file.path.name}" for file in tables})[:4])
        return None, [f"several tables of confounds, none of them used ({names})"]
    return (tables[0] if tables else None), []


def _chosen(
    whole: Table, file: BidsFile, recording: BidsFile, beside: str, wanted: Wanted | None
) -> tuple[set[str], dict[str, np.ndarray], list[str]]:
    """The columns that are wanted, and what the strategies censor, by what they are called."""
    if wanted is None:
        return set(whole.names), {}, []
    problems = [
        f"{beside} has no column {one!r}; {_closest(one, whole.names)}"
        for one in wanted.columns
        if one not in whole.names
    ]
    columns, censored = set(wanted.columns), {}
    if wanted.strategies:
        found, kept, trouble = _by_strategy(len(whole.values), file, recording, wanted)
        problems += [
            f"{beside}: {', '.join(wanted.strategies)} cannot be taken from it ({one}); strategies are for "
            "what fMRIPrep wrote: name columns instead"
            for one in trouble
        ]
        columns |= found
        censored = {"scrub" if "scrub" in wanted.strategies else "non_steady_state": ~kept}
    return columns, censored, problems


def _by_strategy(
    n_rows: int, file: BidsFile, recording: BidsFile, wanted: Wanted
) -> tuple[set[str], np.ndarray, list[str]]:
    """What `load_confounds` takes of a table: names of columns, volumes that are kept, and why it cannot."""
    from nilearn.interfaces.fmriprep import load_confounds

    kept = np.ones(n_rows, bool)
    # it looks for the table by the name of the image that was cleaned, which need not be there; full ICA-AROMA is for
    # images that it has cleaned already, and known by their name
    desc = recording.entities.get("desc") if recording.suffix == "bold" else None
    entities = {key: label for key, label in file.entities.items() if key != "desc"}
    entities["desc"] = desc if desc == "smoothAROMAnonaggr" else "preproc"
    image = file.path.with_name("_".join(f"{key}-{label}" for key, label in entities.items()) + "_bold.nii.gz")
    strategies: list[Any] = [name for name in wanted.strategies if name != "non_steady_state"]  # always looked for
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no other strategy, every volume scrubbed: both are said elsewhere
        try:
            taken, mask = load_confounds(str(image), strategy=strategies, demean=False, **wanted.options)
        except (ValueError, LookupError, TypeError, OSError) as error:
            missing = isinstance(error, KeyError)
            return set(), kept, [("no " if missing else "") + " ".join(str(error).split())]
    if mask is not None:
        kept[:] = False
        kept[mask] = True
    return set() if taken is None else set(map(str, taken.columns)), kept, []


def _problems_in_limits(table: Table, limits: Sequence[Limit], beside: str) -> list[str]:
    problems = []
    for one in limits:
        if one.column not in table.names:
            there = _closest(one.column, table.names)
            problems.append(f"{beside} has no column {one.column!r} to censor by; {there}")
        elif not np.isfinite(table.values[:, table.names.index(one.column)]).any():
            problems.append(f"{beside}: column {one.column!r} is n/a throughout, and cannot be censored by")
    return problems


def _closest(word: str, names: Sequence[str], most: int = 12) -> str:
    """The closest column, or some of the hundreds that fMRIPrep writes."""
    said = did_you_mean(word, names)
    if said.startswith("did") or len(names) <= most:
        return said
    return f"there are {len(names)}: {', '.join(names[:most])} …"


def _around(table: Table, limit: Limit) -> np.ndarray:
    """(n_rows,) True where a column is above its limit, or was or will be within the volumes before and after."""
    above = table.values[:, table.names.index(limit.column)] > limit.above  # n/a is not
    out = above.copy()
    for k in range(1, limit.before + 1):
        out[:-k] |= above[k:]
    for k in range(1, limit.after + 1):
        out[k:] |= above[:-k]
    return out


def _in_use(censored: dict[str, np.ndarray], n_rows: int, name: str) -> tuple[np.ndarray | None, str]:
    """Which volumes are in use, and a sentence on the others; None where nobody asked."""
    if not censored:
        return None, ""
    out = np.logical_or.reduce(list(censored.values()))
    each = ", ".join(f"{why}: {int(rows.sum())}" for why, rows in censored.items())
    return ~out, f"{name}: {int(out.sum())} of {n_rows} volumes censored ({each})"
