"""What does it look like in the browser: one page, whole in itself?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from brainalign.encoding.result import Encoding
from brainalign.reporting.facts import data_facts
from brainalign.reporting.figures import draw_layers, draw_people, draw_targets
from brainalign.reporting.found import (
    axis_of,
    ceiling_of,
    gain_over_targets,
    mean_r,
    models_of,
    people_gains,
    things_of,
    without_lags,
)
from brainalign.reporting.lags import draw_lags
from brainalign.reporting.parts import draw_partition
from brainalign.reporting.peaks import lag_curves, lag_of_highest
from brainalign.reporting.places import draw_places
from brainalign.reporting.tables import (
    MANY,
    answer,
    control_table,
    gain_table,
    partition_table,
    target_table,
    warnings_in,
)
from brainalign.reporting.timelines import draw_course, draw_excerpt, draw_folds
from brainalign.reporting.venn import draw_venn
from brainalign.reporting.wording import number, percent, seconds, signed


def report(fit: Encoding, path: str | Path) -> Path:
    """Write the report of a fit: one HTML file that needs no network and no script.

    Parameters
    ----------
    fit : Encoding
        From `encode`, `run_study` or `load`. Parts that were not computed are left out, or said to be missing.
    path : str or Path
        The file; its folder is made where it is not there. The same fit gives the same bytes.

    Returns
    -------
    Path
        The file.

    Examples
    --------
    >>> import tempfile, numpy as np, pandas as pd
    >>> from brainalign.encoding.folds import by_run, drawn
    >>> from brainalign.signals import Signal
    >>> samples = pd.DataFrame({"run": ["1", "1", "2", "2"], "time": [0.0, 2.0, 0.0, 2.0], "fold": [1, 1, 2, 2]})
    >>> brain = Signal(np.eye(4, 1), samples, pd.DataFrame({"roi": ["LIFG"]}))
    >>> predicted = Signal(np.eye(4, 1), samples, pd.DataFrame({"roi": ["LIFG"], "model": ["full"]}))
    >>> blank = dict.fromkeys(("r_low", "r_high", "ceiling_r", "ceiling_p", "normalised_r", "p", "q"), np.nan)
    >>> known = {"roi": ["LIFG"], "model": "full", "r": 0.31, "r2": 0.09, "ceiling_kind": "none"}
    >>> scores = pd.DataFrame({**known, **blank})
    >>> fit = Encoding(scores, predicted, brain, drawn(by_run(brain), samples))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = report(fit, folder + "/x.html").read_text("utf-8")
    >>> page.startswith("<!doctype html>"), "LIFG is predicted with r .31" in page
    (True, True)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(fit), encoding="utf-8", newline="\n")
    return path


def render(fit: Encoding) -> str:
    """The page as text."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(content(fit))


def content(fit: Encoding) -> dict[str, Any]:
    """Everything the template asks for, in words, tables and drawings."""
    noun = things_of(fit.observed.columns)[0]
    return {
        "title": title_of(fit),
        "warnings": warnings_in(fit),
        "answer": answer(fit),
        "tiles": tiles(fit),
        "facts": data_facts(fit),
        "layers": draw_layers(fit),
        "axis": axis_of(fit.layers),
        "lags": draw_lags(fit),
        "targets": draw_targets(fit),
        "target_table": target_table(fit),
        "places": draw_places(fit),
        "people": draw_people(fit),
        "partition": draw_partition(fit),
        "venn": draw_venn(fit),
        "partition_table": partition_table(fit),
        "excerpt": draw_excerpt(fit),
        "folds": draw_folds(fit),
        "course": draw_course(fit),
        "gain": gain_table(fit),
        "controls": control_table(fit),
        "notes": list(fit.notes),
        "settings": _yaml(fit.settings),
        "inputs": sorted((str(k), str(v)) for k, v in _part(fit, "inputs").items()),
        "versions": sorted((str(k), str(v)) for k, v in _part(fit, "versions").items()),
        "record": _yaml({k: v for k, v in fit.provenance.items() if k not in ("inputs", "versions")}),
        "which": models_of(fit),
        "heading": f"{noun.capitalize()} by {noun}" if " " not in noun else "Person by person and region by region",
        "many": len(without_lags(fit.observed.columns)) > MANY,
    }


def title_of(fit: Encoding) -> str:
    """The study's own title, else what was compared."""
    own = str(fit.settings.get("title") or "")
    which = models_of(fit)
    if own:
        return own
    return f"How well does {which.added} predict the brain" + (" beyond the baseline?" if which.baseline else "?")


def tiles(fit: Encoding) -> list[tuple[str, str, str]]:
    """The three or four numbers one remembers: (number, what it is, of which model)."""
    which = models_of(fit)
    compared = bool(which.baseline) and which.baseline != which.lead
    shown = [(number(mean_r(fit, which.baseline)), "mean r of the baseline", "baseline")] if compared else []
    named = f"with {which.added}" if compared else f"of {which.lead}"
    shown.append((number(mean_r(fit, which.lead)), f"mean r {named}", "full"))
    if compared:
        shown.append((signed(gain_over_targets(fit).value), "gain in r", "full"))
    curve = lag_curves(fit).get("lead", pd.Series(dtype=float)).dropna()
    if len(curve):
        shown.append((seconds(lag_of_highest(curve)), f"lag of the highest mean r ({number(curve.max())})", "full"))
    people = people_gains(fit)
    if len(people):
        shown.append((f"{(people > 0).sum()} / {len(people)}", "people gain", "full"))
    share = ceiling_of(fit)[1]
    if share == share:
        shown.append((percent(share), "of the noise ceiling", "ceiling"))
    return shown


def _part(fit: Encoding, name: str) -> Mapping[str, Any]:
    part = fit.provenance.get(name, {})
    return part if isinstance(part, Mapping) else {}


def _yaml(values: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=100) if values else ""
