"""What a measurement is: numbers with a row per sample and a column per something, and a table for each axis."""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError, did_you_mean
from brainalign.scratch import columns_of_rows, filled, room, span_of

if TYPE_CHECKING:
    import xarray

VARIABLES = ("values", "weights", "intercept")  # of the Datasets written here: no column of a table may hide them
NUMBERS_PER_LOOK = 16 << 20  # looked at together when values may be larger than memory


@dataclass(frozen=True, eq=False)
class Signal:
    """values[sample, column], with one table describing each axis.

    Parameters
    ----------
    values : array (n_samples, n_columns), float32
        In memory, memory-mapped, or zarr-backed. Other number types are converted once.
    samples : DataFrame, one row per sample
        Always `run` and `time` (s, never falling within a run); where they apply `stimulus`, `stimulus_time`,
        `repeat`, and `use` (False: censored, kept out of fit and score).
    columns : DataFrame, one row per column
        `band` for features; `roi`, `x`, `y`, `z`, `subject` … for the brain.
    related : mapping of name → Signal on the same samples
        `people`: the recordings this one is the mean of (the ceiling is read from them); `confounds`: what was
        recorded beside it and may be removed from it.
    attrs : mapping
        What else is known: `tr` (s), `inputs` (file → sha256), `left_out`, `notes`. JSON types only.

    Raises
    ------
    InputError
        Shapes that do not fit, missing `run` or `time`, time running backwards, or a NaN in a sample in use.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> samples = pd.DataFrame({"run": "1", "time": np.arange(4) * 2.0})
    >>> Signal(np.zeros((4, 2)), samples, pd.DataFrame({"roi": ["LATL", "LIFG"]}))
    Signal(4 samples × 2 columns; 1 run; 0.0–6.0 s; roi)
    """

    values: Any
    samples: pd.DataFrame
    columns: pd.DataFrame
    related: Mapping[str, Signal] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = self.values if hasattr(self.values, "shape") else np.asarray(self.values)
        if len(values.shape) != 2:
            raise InputError(f"a Signal's values are (samples, columns); found shape {tuple(values.shape)}")
        if not np.issubdtype(values.dtype, np.number) and values.dtype != bool:
            raise InputError(f"a Signal's values are numbers; found dtype {values.dtype}")
        if np.issubdtype(values.dtype, np.complexfloating):
            raise InputError("a Signal's values are real numbers; found complex ones: take .real or abs() first")
        if values.dtype != np.float32:
            given = values
            values = filled(given.shape, lambda rows: np.asarray(given[rows]))
        samples, columns = (pd.DataFrame(t).reset_index(drop=True) for t in (self.samples, self.columns))
        for table, axis, name in ((samples, 0, "samples"), (columns, 1, "columns")):
            if len(table) != values.shape[axis]:
                raise InputError(
                    f"the {name} table has {len(table)} rows, values have {values.shape[axis]} {name}: they must agree"
                )
        _check_clock(samples)
        samples["run"] = samples["run"].astype(str)
        if "use" in samples:
            samples["use"] = _as_use(samples["use"])
        _check_nan(values, samples, columns)
        for name, other in self.related.items():
            if not same_samples(samples, other.samples):
                raise InputError(f"related signal {name!r} is not on the same samples (run and time must agree)")
        for key, value in (("values", values), ("samples", samples), ("columns", columns)):
            object.__setattr__(self, key, value)

    def __repr__(self) -> str:
        n, p = self.shape
        runs = len(self.runs)
        parts = [f"{n:,} samples × {p:,} columns", f"{runs} run{'s' * (runs != 1)}"]
        if n:
            parts.append(f"{self.samples['time'].min():.1f}–{self.samples['time'].max():.1f} s")
        parts.append(
            "bands " + ", ".join(_shorten(self.bands)) if "band" in self.columns else ", ".join(map(str, self.columns))
        )
        parts += [f"with {name}" for name in self.related]
        return f"Signal({'; '.join(part for part in parts if part)})"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of `values`."""
        return int(self.values.shape[0]), int(self.values.shape[1])

    @property
    def runs(self) -> list[str]:
        """The runs, in order of appearance."""
        return list(dict.fromkeys(self.samples["run"]))

    @property
    def bands(self) -> list[str]:
        """The bands, in order of appearance; empty where columns have no `band`."""
        return self.columns["band"].unique().tolist() if "band" in self.columns else []

    @property
    def use(self) -> np.ndarray:
        """(n_samples,) bool: True where a sample may be fitted and scored."""
        if "use" not in self.samples:
            return np.ones(len(self.samples), bool)
        return self.samples["use"].to_numpy(bool)

    def array(self) -> np.ndarray:
        """The values as one numpy array; reads them when they are kept on disk."""
        return np.asarray(self.values[:])

    def select(self, rows: Any = None, columns: Any = None, **where: Any) -> Signal:
        """Keep some samples, some columns, or both.

        Parameters
        ----------
        rows, columns : mask, positions or slice, optional
        **where : value or list of values
            Matched against the column of that name in `samples` or in `columns`: ``select(run="2", band=["lm.1"])``.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> samples = pd.DataFrame({"run": ["1", "1", "2"], "time": [0.0, 2.0, 0.0]})
        >>> both = Signal(np.eye(3, 2), samples, pd.DataFrame({"band": ["a", "b"]}))
        >>> both.select(run="1", band="b").values.tolist()
        [[0.0], [1.0]]
        """
        keep_rows = _positions(rows, len(self.samples))
        keep_columns = _positions(columns, len(self.columns))
        for name, wanted in where.items():
            keep_rows, keep_columns = self._match(name, wanted, keep_rows, keep_columns)
        values = self.values
        if not _is_all(keep_rows, len(self.samples)):
            values = _take_rows(values, keep_rows)
        if not _is_all(keep_columns, len(self.columns)):
            values = _take_columns(values, keep_columns)
        return replace(
            self,
            values=values,
            samples=self.samples.iloc[keep_rows],
            columns=self.columns.iloc[keep_columns],
            related={name: other.select(rows=keep_rows) for name, other in self.related.items()},
        )

    def _match(self, name: str, wanted: Any, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        in_samples, in_columns = name in self.samples, name in self.columns
        if in_samples and in_columns:
            raise InputError(f"both tables have a column {name!r}: pass rows= or columns= to say which is meant")
        if not (in_samples or in_columns):
            raise InputError(
                f"no table has a column {name!r}; " + did_you_mean(name, [*self.samples.columns, *self.columns.columns])
            )
        many = list(wanted) if isinstance(wanted, (list, tuple, set, np.ndarray, pd.Series)) else [wanted]
        table = self.samples if in_samples else self.columns
        missing = [w for w in many if not (table[name] == w).any()]
        if missing:
            known = dict.fromkeys(table[name].tolist())
            raise InputError(f"no {name} {missing[0]!r} here; " + did_you_mean(missing[0], known))
        hit = np.flatnonzero(table[name].isin(many).to_numpy())
        return (np.intersect1d(rows, hit), columns) if in_samples else (rows, np.intersect1d(columns, hit))

    def split(self, by: str = "run") -> dict[str, Signal]:
        """One Signal per run (or per value of another column of `samples`), in order of appearance."""
        if by not in self.samples:
            raise InputError(f"samples have no column {by!r}; " + did_you_mean(by, self.samples.columns))
        return {key: self.select(rows=(self.samples[by] == key).to_numpy()) for key in dict.fromkeys(self.samples[by])}

    def to_xarray(self) -> xarray.Dataset:
        """The same numbers as an xarray Dataset: variable `values`, both tables as coordinates.

        A name that both tables have is written as `sample_NAME` and `column_NAME`.
        """
        import xarray

        coords = table_coordinates({"sample": self.samples, "column": self.columns})
        data = xarray.DataArray(self.array(), dims=("sample", "column"))
        known = {"attrs": dict(self.attrs)}
        return xarray.Dataset({"values": data}, coords=coords, attrs={"brainalign": json.dumps(known, sort_keys=True)})

    @classmethod
    def from_xarray(cls, dataset: xarray.Dataset) -> Signal:
        """Inverse of `to_xarray`; a large Dataset that was opened lazily is read some rows at a time into a file."""
        if "values" not in dataset or dataset["values"].dims != ("sample", "column"):
            raise InputError(
                "a Signal's Dataset has a variable 'values' with dimensions (sample, column); found "
                + ", ".join(f"{name}{tuple(map(str, v.dims))}" for name, v in dataset.data_vars.items())
            )
        known = json.loads(dataset.attrs.get("brainalign", "{}"))
        tables = coordinate_tables(dataset, ("sample", "column"))
        data = dataset["values"]
        values = filled(data.shape, lambda rows: data[rows].values, data.dtype)
        return cls(values, tables["sample"], tables["column"], attrs=known.get("attrs", {}))


def join(*signals: Signal) -> Signal:
    """Put Signals on the same samples side by side: feature spaces become bands of one design.

    Parameters
    ----------
    *signals : Signal
        All with the same `run` and `time`.

    Returns
    -------
    Signal
        (n_samples, sum of columns). `related` and `attrs` of the first are kept, later ones add what is new.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> samples = pd.DataFrame({"run": "1", "time": [0.0, 2.0]})
    >>> a, b = (Signal(np.ones((2, 1)), samples, pd.DataFrame({"band": [name]})) for name in "ab")
    >>> join(a, b).bands
    ['a', 'b']
    """
    if not signals:
        raise InputError("join needs at least one Signal")
    first = signals[0]
    for k, other in enumerate(signals[1:], start=2):
        if not same_samples(first.samples, other.samples):
            raise InputError(
                f"signal {k} of {len(signals)} is not on the samples of the first: {other!r} beside {first!r}; "
                "resample it onto the first"
            )
    if len(signals) == 1:
        return first
    twice = [b for k, s in enumerate(signals) for b in s.bands if any(b in o.bands for o in signals[:k])]
    if twice:
        raise InputError(f"band {twice[0]!r} is in two of the signals to be joined: give one another name")
    attrs: dict[str, Any] = {}
    related: dict[str, Signal] = {}
    for signal in reversed(signals):
        attrs = merge_attrs(signal.attrs, attrs)
        related |= signal.related
    samples = first.samples
    for signal in signals[1:]:
        new = [c for c in signal.samples.columns if c not in samples]
        samples = pd.concat([samples, signal.samples[new]], axis=1) if new else samples
    if "use" in samples:
        samples = samples.assign(use=np.logical_and.reduce([s.use for s in signals]))
    shape = (len(samples), sum(s.shape[1] for s in signals))
    return Signal(
        filled(shape, lambda rows: np.concatenate([s.values[rows] for s in signals], axis=1)),
        samples,
        pd.concat([s.columns for s in signals], ignore_index=True),
        related,
        attrs,
    )


def concatenate(signals: Sequence[Signal]) -> Signal:
    """Put Signals with the same columns one after the other: runs become one recording."""
    if not signals:
        raise InputError("concatenate needs at least one Signal")
    first = signals[0]
    for k, other in enumerate(signals[1:], start=2):
        if not first.columns.equals(other.columns):
            raise InputError(
                f"signal {k} of {len(signals)} has other columns than the first ({other.shape[1]} and {first.shape[1]})"
            )
        if set(other.related) != set(first.related):
            raise InputError(f"signal {k} of {len(signals)} has {sorted(other.related)} beside it, the first another")
    attrs: dict[str, Any] = {}
    for signal in reversed(signals):
        attrs = merge_attrs(signal.attrs, attrs)
    values = room((sum(s.shape[0] for s in signals), first.shape[1]))
    end = 0
    for signal in signals:
        start, end = end, end + signal.shape[0]
        values[start:end] = signal.array()
    return Signal(
        values,
        pd.concat([s.samples for s in signals], ignore_index=True),
        first.columns,
        {name: concatenate([s.related[name] for s in signals]) for name in first.related},
        attrs,
    )


def average_people(people: Signal) -> Signal:
    """The mean over people of every other column, with the people kept under `related`.

    Parameters
    ----------
    people : Signal
        Columns with `subject` and at least one more (`roi`, …) that says which are alike; every person has each once.

    Returns
    -------
    Signal
        (n_samples, n_columns / n_people), `subject` is "average".
    """
    if "subject" not in people.columns:
        raise InputError("columns have no `subject`: there are no people to average")
    what = [c for c in people.columns.columns if c != "subject"]
    groups = (
        people.columns.groupby(what, sort=False, dropna=False).indices if what else {"all": np.arange(people.shape[1])}
    )
    n_people = people.columns["subject"].nunique()
    odd = [key for key, index in groups.items() if people.columns["subject"].iloc[index].nunique() != n_people]
    if odd:
        raise InputError(
            f"{odd[0]} is not recorded in each of the {n_people} people: a mean over people needs it in all"
        )
    columns = people.columns.iloc[[index[0] for index in groups.values()]].reset_index(drop=True)
    order, counts = np.concatenate(list(groups.values())), [len(index) for index in groups.values()]
    starts = np.cumsum([0, *counts[:-1]])

    def mean(rows: slice) -> np.ndarray:
        return np.add.reduceat(people.values[rows][:, order], starts, axis=1, dtype=np.float64) / counts

    return Signal(
        filled((people.shape[0], len(groups)), mean),
        people.samples,
        columns.assign(subject="average"),
        {"people": people} | {k: v for k, v in people.related.items() if k != "confounds"},
        people.attrs,
    )


def average_repeats(signal: Signal) -> Signal:
    """The mean over presentations of every stimulus (at every `stimulus_time`, where there is one).

    Averages a design and a recording alike, so that both stay on the same samples. Samples with `use` False, or
    without a stimulus, are left out. For the ceiling of the average: ``between_repeats(of=signal)``.

    Parameters
    ----------
    signal : Signal
        Samples with `stimulus`.

    Returns
    -------
    Signal
        A sample per stimulus, in the order they first came; `repeats` says how often it was met. `run` and `time` are
        those of the first presentation.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> samples = pd.DataFrame({"run": "1", "time": [0.0, 4.0, 8.0], "stimulus": ["a", "b", "a"]})
    >>> average_repeats(Signal([[1.0], [5.0], [3.0]], samples, pd.DataFrame({"roi": ["V4"]}))).values.ravel().tolist()
    [2.0, 5.0]
    """
    if "stimulus" not in signal.samples:
        raise InputError("samples have no `stimulus`: there are no presentations to average")
    what = ["stimulus", *(["stimulus_time"] if "stimulus_time" in signal.samples else [])]
    met = signal.use & signal.samples[what].notna().all(axis=1).to_numpy()
    if not met.any():
        raise InputError("no sample in use names its stimulus: there are no presentations to average")
    used = signal.samples[met]
    index = used.groupby(what, sort=False).ngroup().to_numpy()
    rows = [np.flatnonzero(met)[index == one] for one in range(index.max(initial=-1) + 1)]
    values = signal.array()
    samples = signal.samples.iloc[[row[0] for row in rows]].drop(columns=["repeat", "use"], errors="ignore")
    return Signal(
        filled(
            (len(rows), signal.shape[1]),
            lambda part: np.stack([values[row].mean(0, dtype=np.float64) for row in rows[part]]),
        ),
        samples.assign(repeats=[len(row) for row in rows]),
        signal.columns,
        attrs=signal.attrs,
    )


def same_samples(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Whether two samples tables have the same runs at the same times (to a microsecond)."""
    return (
        len(a) == len(b)
        and bool((a["run"].astype(str).to_numpy() == b["run"].astype(str).to_numpy()).all())
        and bool(np.allclose(a["time"].to_numpy(float), b["time"].to_numpy(float), rtol=0, atol=1e-6))
    )


def table_coordinates(tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Tables that describe dimensions, as coordinates xarray takes; a name that is taken becomes `dimension_name`."""
    names = [name for table in tables.values() for name in table.columns]
    out = {}
    for dim, table in tables.items():
        for place, name in enumerate(table.columns):
            taken = names.count(name) > 1 or name in tables or name in VARIABLES
            label = f"{dim}_{name}" if taken else str(name)
            out[label] = (dim, _plain(table[name]), {"table": dim, "name": str(name), "place": place})
    return out


def coordinate_tables(dataset: xarray.Dataset, dims: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Inverse of `table_coordinates`; coordinates of another's Dataset become columns too."""
    out = {}
    for dim in dims:
        mine = [(str(label), coord) for label, coord in dataset.coords.items() if coord.dims == (dim,)]
        mine.sort(key=lambda pair: pair[1].attrs.get("place", len(dataset.coords)))
        columns = {coord.attrs.get("name", label): _restored(coord.values) for label, coord in mine}
        out[dim] = pd.DataFrame(columns, index=range(dataset.sizes[dim]))
    return out


def merge_attrs(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Two attrs as one: mappings are merged, lists joined without doubles, else the first one's word stands."""
    merged = dict(second)
    for key, value in first.items():
        there = merged.get(key)
        if isinstance(value, Mapping) and isinstance(there, Mapping):
            merged[key] = {**there, **value}
        elif isinstance(value, list) and isinstance(there, list):
            merged[key] = value + [item for item in there if item not in value]
        else:
            merged[key] = value
    return merged


def save_signal(signal: Signal, path: str | Path) -> Path:
    """Write a Signal as a zarr group that `xarray.open_zarr` reads; `related` Signals are groups inside it."""
    path = Path(path)
    # zarr's format 2 stores text columns by a settled specification; format 3 warns that its own is not settled yet
    signal.to_xarray().to_zarr(path, mode="w", zarr_format=2, consolidated=True)
    for name, other in signal.related.items():
        save_signal(other, path / "related" / name)
    return path


def load_signal(path: str | Path) -> Signal:
    """Read a Signal that `save_signal` wrote.

    Raises
    ------
    InputError
        There is no Signal at `path`.
    """
    import xarray

    path = Path(path)
    if not (path / ".zgroup").exists():
        raise InputError(f"{path} holds no saved Signal (a zarr group): check the path")
    with xarray.open_zarr(path, consolidated=True, chunks=None) as dataset:
        signal = Signal.from_xarray(dataset)
    inside = path / "related"
    related = {p.name: load_signal(p) for p in sorted(inside.iterdir()) if p.is_dir()} if inside.is_dir() else {}
    return replace(signal, related=related)


def _check_clock(samples: pd.DataFrame) -> None:
    for name in ("run", "time"):
        if name not in samples:
            raise InputError(f"the samples table has no column {name!r}; found {', '.join(map(str, samples.columns))}")
    time = pd.to_numeric(samples["time"], errors="coerce").to_numpy(float)
    if not np.isfinite(time).all():
        row = int(np.flatnonzero(~np.isfinite(time))[0])
        raise InputError(f"sample {row} has no finite time (s); found {samples['time'].iloc[row]!r}")
    if samples["run"].isna().any():
        row = int(np.flatnonzero(samples["run"].isna())[0])
        raise InputError(f"sample {row} has no run: name the run of every sample, also when there is only one")
    step = samples.assign(time=time).groupby("run", sort=False)["time"].diff().to_numpy(float)
    if (step < 0).any():
        row = int(np.flatnonzero(step < 0)[0])
        raise InputError(
            f"time runs backwards at sample {row} (run {samples['run'].iloc[row]}, {time[row]:g} s): "
            "sort each run by time"
        )


def _as_use(use: pd.Series) -> np.ndarray:
    """As truth values; missing (a recording that censors nothing, put beside one that does) means in use."""
    odd = np.flatnonzero(use.notna() & ~use.isin([True, False]))
    if len(odd):
        raise InputError(f"`use` says True or False; found {use.iloc[odd[0]]!r} at sample {odd[0]}")
    return use.astype("boolean").fillna(True).to_numpy(bool)


def _check_nan(values: Any, samples: pd.DataFrame, columns: pd.DataFrame) -> None:
    use = samples["use"].to_numpy() if "use" in samples else None
    step = max(1, NUMBERS_PER_LOOK // max(1, values.shape[1]))
    for start in range(0, values.shape[0], step):
        bad = ~np.isfinite(np.asarray(values[start : start + step]))
        let_go(values)
        if use is not None:
            bad &= use[start : start + step, None]
        if bad.any():
            row, column = (int(k) for k in np.argwhere(bad)[0])
            place = samples.iloc[start + row]
            what = ", ".join(f"{k} {v}" for k, v in columns.iloc[column].items()) or f"column {column}"
            raise InputError(
                f"not a finite number at run {place['run']}, {place['time']:g} s (sample {start + row}), {what}; "
                "mark censored samples with use=False, or leave the column out"
            )


def let_go(values: Any) -> None:
    """Take the pages of a memory-mapped file out of this process, once they have been looked at.

    They stay in the system's cache as long as there is room; only who counts what a process uses sees a difference.
    """
    base = values.base if isinstance(values, np.memmap) and values.mode == "r" else None
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def _positions(index: Any, n: int) -> np.ndarray:
    return np.arange(n) if index is None else np.arange(n)[index]


def _is_all(index: np.ndarray, n: int) -> bool:
    return len(index) == n and bool((index == np.arange(n)).all())


def _take_rows(values: Any, rows: np.ndarray) -> Any:
    """A run of neighbouring rows stays a view (so a memory-mapped array stays on disk)."""
    span = span_of(rows)
    if isinstance(values, np.ndarray) and isinstance(span, slice):
        return values[span]
    by_number = getattr(values, "oindex", values)  # zarr's way to take rows by number
    return filled((len(rows), values.shape[1]), lambda part: np.asarray(by_number[rows[part], :]))


def _take_columns(values: Any, columns: np.ndarray) -> np.ndarray:
    n = values.shape[0]

    def read(part: slice) -> np.ndarray:
        if isinstance(values, np.ndarray):
            return columns_of_rows(values, np.arange(n)[part], columns)
        return np.asarray(values.oindex[part, columns])

    return filled((n, len(columns)), read)


def _plain(column: pd.Series) -> np.ndarray:
    """A table's column as an array zarr stores: numbers and booleans as they are, the rest as text."""
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
        return column.to_numpy("float64", na_value=np.nan) if column.isna().any() else column.to_numpy()
    return column.astype("object").where(column.notna(), "n/a").map(str).to_numpy(dtype=np.str_)


def _restored(values: np.ndarray) -> Any:
    if values.dtype.kind not in "UTO":
        return values
    return pd.Series(values, dtype="str").replace("n/a", None)


def _shorten(names: Sequence[str], most: int = 4) -> list[str]:
    return [*names] if len(names) <= most else [*names[:most], f"… {len(names)} in all"]
