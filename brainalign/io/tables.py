"""What numbers does a table of regions or of confounds hold, and where exactly is it broken?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROWS_AGREE = 0.01  # of the TR: what a table's first time and its sidecar may differ by
MISSING = ("n/a", "", "nan", "na")  # BIDS writes n/a; the others are seen
CLOCK_COLUMNS = ("time", "onset")  # not regions: the time (s) of each row
SIX_MOTION = ("rot_x", "rot_y", "rot_z", "trans_x", "trans_y", "trans_z")  # FSL's order, for files without a header


@dataclass(frozen=True)
class Table:
    """Numbers with named columns, as they stand in a file.

    Parameters
    ----------
    path : Path
    names : list of str
    values : array (n_rows, n_columns), float64
        NaN where the file says n/a.
    first_line : int
        The line of the file in which the first row stands.
    """

    path: Path
    names: list[str]
    values: np.ndarray
    first_line: int

    def place(self, row: int, column: int) -> str:
        """Where a number stands, for a person with an editor."""
        return f"line {self.first_line + row}, column {self.names[column]!r}"

    def drop(self, names: Sequence[str]) -> Table:
        """The table without some of its columns."""
        keep = [k for k, name in enumerate(self.names) if name not in names]
        return Table(self.path, [self.names[k] for k in keep], self.values[:, keep], self.first_line)


def read_numbers(path: Path, name: str, header: bool = True) -> tuple[Table | None, list[str]]:
    """Read a table of numbers; what is wrong with it comes back as sentences, with no table.

    Parameters
    ----------
    path : Path
        Tab-separated with a header, or (``header=False``) separated by any white space.
    name : str
        What to call the file in the sentences.

    Returns
    -------
    table : Table or None
        An empty file is a table without rows and columns: whether that is an error, the caller knows.
    problems : list of str
    """
    names, rows, problems = read_cells(path, name, header)
    if not names and not problems:
        return Table(path, [], np.zeros((0, 0)), 1), []
    problems += _problems_in_header(names, name)
    if problems:
        return None, problems
    first = 2 if header else 1
    values = np.full((len(rows), len(names)), np.nan)
    for k, row in enumerate(rows):
        for j, cell in enumerate(row):
            try:
                values[k, j] = float(cell)
            except ValueError:
                if cell.strip().lower() not in MISSING:
                    problems.append(
                        f"{name}, line {k + first}, column {names[j]!r}: {cell!r} is not a number; "
                        "the table holds numbers only, n/a where one is missing"
                    )
    return (None, problems[:3]) if problems else (Table(path, names, values, first), [])


def read_cells(path: Path, name: str, header: bool = True) -> tuple[list[str], list[list[str]], list[str]]:
    """Take a table apart into names and cells, as text.

    Returns
    -------
    names : list of str
        Of the columns; none for an empty file.
    rows : list of list of str
        Each as long as `names`, unless there are problems.
    problems : list of str
        A file that is no text, rows of different lengths.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return [], [], [f"{name} cannot be read ({error}): write it again as UTF-8 text"]
    while lines and not lines[-1].strip():
        lines.pop()
    rows = [line.split("\t") if header else line.split() for line in lines]
    if not rows:
        return [], [], []
    names = [cell.strip() for cell in rows.pop(0)] if header else [str(k + 1) for k in range(len(rows[0]))]
    ragged = [k for k, row in enumerate(rows) if len(row) != len(names)]
    if not ragged:
        return names, rows, []
    k = ragged[0]
    return (
        names,
        rows,
        [
            f"{name}, line {k + 1 + header}: {len(rows[k])} cells where the table has {len(names)} columns "
            f"({len(ragged)} such rows): fill them with n/a, or write the table again with tabs between cells"
        ],
    )


def problems_in_regions(table: Table, name: str, use: np.ndarray) -> list[str]:
    """Cells that are no finite number in the rows in use, of a table of regions without its clock column."""
    problems = []
    bad = ~np.isfinite(table.values) & use[:, None]
    for column in np.flatnonzero(bad.any(0)):
        row = int(np.flatnonzero(bad[:, column])[0])
        n = int(bad[:, column].sum())
        every = " in every row" if n == use.sum() else f" ({n} of {len(bad)} rows)"
        problems.append(
            f"{name}, {table.place(row, int(column))}: not a finite number{every}; "
            "repair the row, or take the region or this person out"
        )
    if not table.names:
        problems.append(f"{name} has no column of a region, only a clock: write the table again")
    return problems


def problems_in_clock(table: Table, name: str, tr: float, start: float | None) -> list[str]:
    """Whether the rows' own clock (a column `time` or `onset`) agrees with the sidecar's TR and start time."""
    times = clock_of(table)
    if times is None or len(times) < 2:
        return []
    if not np.isfinite(times).all():
        return [f"{name}: the time in line {table.first_line + int(np.flatnonzero(~np.isfinite(times))[0])} is missing"]
    step = float(np.median(np.diff(times)))
    if abs(step - tr) > 1e-3 * tr:
        return [
            f"{name}: its json says RepetitionTime {tr:g} s, its rows are {step:g} s apart: "
            "find out which is right and correct the other"
        ]
    if start is not None and abs(times[0] - start) > ROWS_AGREE * tr:
        return [
            f"{name}: its json says StartTime {start:g} s, its first row is at {times[0]:g} s: "
            "find out which is right and correct the other"
        ]
    off = np.abs(np.diff(times) - tr) > 0.25 * tr  # a volume lost or doubled; smaller differences are rounding
    if off.any():
        row = int(np.flatnonzero(off)[0]) + 1
        return [
            f"{name}, line {table.first_line + row}: {times[row] - times[row - 1]:g} s after the line before it, with "
            f"a TR of {tr:g} s: a volume is missing or there twice"
        ]
    return []


def clock_of(table: Table) -> np.ndarray | None:
    """(n_rows,) the rows' own times (s), where the table has them."""
    for column in CLOCK_COLUMNS:
        if column in table.names:
            return table.values[:, table.names.index(column)]
    return None


def read_recorded(path: Path, name: str) -> tuple[Table | None, list[str], list[str]]:
    """A table of confounds as it stands in the file; six columns without a header are motion.

    Returns
    -------
    table : Table or None
    problems, notes : list of str
    """
    header = path.suffix == ".tsv"
    table, problems = read_numbers(path, name, header)
    if table is None or header or len(table.names) != len(SIX_MOTION):
        return table, problems, []
    named = Table(path, list(SIX_MOTION), table.values, table.first_line)
    note = "confounds without a header: their six columns are taken as motion, rotations first (FSL's order)"
    return named, [], [note]


def without_gaps(table: Table, name: str, use: np.ndarray | None = None) -> tuple[Table | None, list[str], list[str]]:
    """Confounds with a number in every row.

    A column that starts with n/a (fMRIPrep's derivatives and framewise displacement have no value in the first row)
    takes its first value there, as `nilearn.interfaces.fmriprep.load_confounds` does; where that are several rows, a
    note says so. A column that is n/a throughout the rows in use is left out. In a row that is not in use, a missing
    value is that of the row before.

    Parameters
    ----------
    table : Table
    name : str
    use : array (n_rows,) bool, optional
        The rows in use; by default every one.

    Returns
    -------
    table : Table or None
    problems, notes : list of str
    """
    notes, problems = [], []
    use = np.ones(len(table.values), bool) if use is None else use
    empty = [table.names[k] for k in np.flatnonzero(~np.isfinite(table.values[use]).any(0))]
    if empty:
        notes.append(f"{name}: {', '.join(empty)} left out, n/a throughout")
        table = table.drop(empty)
    finite = np.isfinite(table.values)
    values = table.values.copy()
    late = []
    for k in range(values.shape[1]):
        first = int(np.argmax(finite[:, k]))
        late += [table.names[k]] * (first > 1)
        values[:first, k] = values[first, k]
        holes = np.flatnonzero(~finite[:, k] & (np.arange(len(values)) > first))
        for row in holes:
            values[row, k] = values[row - 1, k]
        later = holes[use[holes]]
        if len(later):
            problems.append(
                f"{name}, {table.place(int(later[0]), k)}: not a finite number; only the first rows of a "
                "confound may be n/a: repair the table, or take the column out"
            )
    if late:
        notes.append(
            f"{name}: {', '.join(late)} n/a in the first rows, taken to be what is in the first one that is not"
        )
    return (None, problems, []) if problems else (Table(table.path, table.names, values, table.first_line), [], notes)


def _problems_in_header(names: list[str], name: str) -> list[str]:
    unnamed = [k + 1 for k, column in enumerate(names) if not column]
    twice = sorted({column for column in names if names.count(column) > 1 and column})
    problems = []
    if unnamed:
        problems.append(f"{name}: column {unnamed[0]} has no name; the first line names every column")
    if twice:
        problems.append(f"{name}: column {twice[0]!r} is there twice: give one another name, or take it out")
    if (
        all(_reads_as_number(column) for column in names)
        and not all(map(str.isdecimal, names))
        and name.endswith(".tsv")
    ):
        problems.append(f"{name}: the first line holds numbers; it has to name the columns")
    return problems


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
