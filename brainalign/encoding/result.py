"""What was found: scores, the predictions behind them, and what made them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.maths.held_out import chunks
from brainalign.scratch import filled, room
from brainalign.signals import Signal, coordinate_tables, load_signal, save_signal, table_coordinates

TABLES = ("scores", "people", "layers", "choices", "partition", "gain", "folds", "controls", "excerpt")
TOGETHER = 4_000_000  # numbers of a prediction, or of the weights behind it, that are worked on at once
DIGITS = "%.6g"  # what float32 fits hold; the same seed then gives the same bytes


@dataclass(frozen=True, eq=False)
class Weights:
    """A linear map from a design's columns as given to the targets: predicted = X @ values + intercept.

    values : (n_columns, n_targets) float32; intercept : (n_targets,); columns : the design's columns table;
    targets : the recording's columns table, with `chosen`, the alternative used for each target where there was one.
    """

    values: np.ndarray
    intercept: np.ndarray
    columns: pd.DataFrame
    targets: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Encoding:
    """The result of `encode`.

    Parameters
    ----------
    scores : DataFrame, one row per target and model
        The target's own columns, `model` (baseline, full, or a layer), `r`, `r2`, ceilings, normalised scores, `p`,
        `q`, intervals, `r2_<band>`.
    predictions, observed : Signal (n_test, targets)
        Held-out predictions and what was recorded there, training means not removed. Columns of predictions have
        `model`, and `inner_r2_1` …: the cross-validated R² within the training samples of every fold.
    folds : DataFrame
        `fold`, `run`, `time` (s), `role`: train, gap, test.
    people : DataFrame
        As `scores`, for every person behind an average; empty where there are none.
    layers : DataFrame
        The profile over alternatives: mean over targets with its interval, share of choices.
    choices : DataFrame, one row per target
        Among alternatives (layers, lags, contexts): which the inner folds chose, and where the profile's centre lies.
    partition : DataFrame, one row per target and part
        Which band earned it: the target's own columns, `model`, `kind` (product, unique or common), `part` (a feature,
        or several joined by "&"), `r2`, `normalised_r2`, `low`, `high`, `p`, `q`.
    gain : DataFrame
        Full less baseline in r: per target, over targets, over people, with intervals.
    controls : DataFrame
        The same study with one thing changed, and what that cost: as `control_battery`.
    excerpt : DataFrame
        The first half minute of the design, to be drawn: `kind` (event, volume), `run`, `time` (s), `duration` (s),
        `text`, `feature` (its name), `value` (per event as extracted, per volume as resampled).
    settings, provenance : mapping
        What was asked; which inputs and versions answered.
    notes : tuple of str
        Caveats a reader has to know.
    weights : Weights or None
        Fitted on every sample; `predict` uses them.
    """

    scores: pd.DataFrame
    predictions: Signal
    observed: Signal
    folds: pd.DataFrame
    people: pd.DataFrame = field(default_factory=pd.DataFrame)
    layers: pd.DataFrame = field(default_factory=pd.DataFrame)
    choices: pd.DataFrame = field(default_factory=pd.DataFrame)
    partition: pd.DataFrame = field(default_factory=pd.DataFrame)
    gain: pd.DataFrame = field(default_factory=pd.DataFrame)
    controls: pd.DataFrame = field(default_factory=pd.DataFrame)
    excerpt: pd.DataFrame = field(default_factory=pd.DataFrame)
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    weights: Weights | None = None

    def __repr__(self) -> str:
        models = list(dict.fromkeys(self.scores["model"]))
        best = "full" if "full" in models else models[-1]
        mean = self.scores.loc[self.scores["model"] == best, "r"].mean()
        return f"Encoding({self.observed.shape[1]:,} targets, {len(models)} models; mean r of {best}: {mean:.3f})"

    def predict(self, new: Signal) -> Signal:
        """Predict the brain's response to a new design.

        Parameters
        ----------
        new : Signal (n_samples, n_columns)
            The same bands and delays as the design that was fitted, in any order.

        Returns
        -------
        Signal (n_samples, n_targets)

        Raises
        ------
        InputError
            Weights were not kept, or a column is missing.
        """
        if self.weights is None:
            raise InputError(
                "no weights were kept: fit again with weights=True (study file: encoding: {weights: true})"
            )
        named = [c for c in ("band", "unit", "delay") if c in self.weights.columns]
        wanted, given = (_labels(table, named) for table in (self.weights.columns, new.columns))
        order = given.get_indexer(wanted)
        if (order < 0).any():
            raise InputError(
                f"the design lacks {int((order < 0).sum())} of the {len(wanted)} columns the weights are for, first "
                f"{dict(zip(named, wanted[int(np.argmin(order))], strict=True))}: build it as the fitted one was built"
            )
        X, weights = new.array()[:, order], self.weights
        values = room((len(X), weights.values.shape[1]))
        for some in chunks(values.shape[1], max(1, TOGETHER // max(X.shape))):
            values[:, some] = X @ weights.values[:, some] + weights.intercept[some]
        return Signal(values, new.samples, weights.targets)


def save(what: Encoding | Signal, path: str | Path) -> Path:
    """Write an Encoding as a results folder, or a Signal as a zarr group.

    Examples
    --------
    >>> import tempfile, pandas as pd
    >>> x = Signal([[1.0]], pd.DataFrame({"run": ["1"], "time": [0.0]}), pd.DataFrame({"roi": ["LIFG"]}))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load(save(x, folder + "/x.zarr"))
    Signal(1 samples × 1 columns; 1 run; 0.0–0.0 s; roi)
    """
    if isinstance(what, Signal):
        return save_signal(what, path)
    import yaml

    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        table, place = getattr(what, name), folder / f"{name}.tsv"
        if len(table):
            table.to_csv(place, sep="\t", index=False, float_format=DIGITS, na_rep="n/a", lineterminator="\n")
        else:
            place.unlink(missing_ok=True)  # an earlier fit's, of which this one knows nothing
    (folder / "settings.yaml").write_text(
        yaml.safe_dump(dict(what.settings), sort_keys=False, allow_unicode=True), "utf-8"
    )
    record = {**what.provenance, "notes": list(what.notes)}
    (folder / "provenance.json").write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", "utf-8")
    save_signal(replace(what.predictions, related={"observed": what.observed}), folder / "predictions.zarr")
    if what.weights is not None:
        _save_weights(what.weights, folder / "weights.zarr")
    else:
        shutil.rmtree(folder / "weights.zarr", ignore_errors=True)
    return folder


def load(path: str | Path) -> Encoding | Signal:
    """Read what `save` wrote.

    Raises
    ------
    InputError
        Neither a results folder nor a saved Signal lies there.
    """
    folder = Path(path)
    if (folder / ".zgroup").exists():
        return load_signal(folder)
    return load_encoding(folder)


def load_encoding(path: str | Path) -> Encoding:
    """Read a results folder."""
    import yaml

    folder = Path(path)
    needed = ("scores.tsv", "settings.yaml", "provenance.json", "predictions.zarr", "folds.tsv")
    missing = [name for name in needed if not (folder / name).exists()]
    if missing:
        raise InputError(
            f"{folder} is not a results folder: {', '.join(missing)} missing; make one with brainalign fit"
        )
    tables = {}
    for name in TABLES:
        file = folder / f"{name}.tsv"
        tables[name] = _read_table(file) if file.exists() else pd.DataFrame()
    record = json.loads((folder / "provenance.json").read_text("utf-8"))
    predictions = load_signal(folder / "predictions.zarr")
    weights = folder / "weights.zarr"
    return Encoding(
        predictions=replace(predictions, related={}),
        observed=predictions.related["observed"],
        settings=yaml.safe_load((folder / "settings.yaml").read_text("utf-8")),
        notes=tuple(record.pop("notes")),
        provenance=record,
        weights=_load_weights(weights) if weights.exists() else None,
        **tables,
    )


def _read_table(file: Path) -> pd.DataFrame:
    """Only n/a is missing: a word may be "null", a region "NA"."""
    text = dict.fromkeys(
        ("subject", "roi", "run", "model", "kind", "text", "feature", "control", "what", "part", "choice"), str
    )
    return pd.read_csv(file, sep="\t", na_values="n/a", keep_default_na=False, dtype=text)


def _labels(table: pd.DataFrame, names: list[str]) -> pd.Index:
    return pd.MultiIndex.from_frame(table[names].astype(str))


def _save_weights(weights: Weights, path: Path) -> None:
    """Rows are the design's columns: a zarr group like a Signal's, the intercept as one more variable."""
    import xarray

    data = xarray.Dataset(
        {"weights": (("feature", "target"), weights.values), "intercept": ("target", weights.intercept)},
        coords=table_coordinates({"feature": weights.columns, "target": weights.targets}),
    )
    data.to_zarr(path, mode="w", zarr_format=2, consolidated=True)


def _load_weights(path: Path) -> Weights:
    import xarray

    with xarray.open_zarr(path, consolidated=True, chunks=None) as data:
        tables, values = coordinate_tables(data, ("feature", "target")), data["weights"]
        read = filled(values.shape, lambda rows: values[rows].values, values.dtype)
        return Weights(read, data["intercept"].values, tables["feature"], tables["target"])
