"""What was recorded, who is in and who is not, and what was heard?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from brainalign.encoding.result import Encoding
from brainalign.reporting.found import (
    asked,
    clock_of,
    electrode_column,
    event_of,
    labels_of,
    nouns_of,
    samples_of,
    things_of,
    tr_of,
    without_lags,
)
from brainalign.reporting.wording import around, counted, listed, minutes, seconds

NAMED = 30  # targets; more are counted


def data_facts(fit: Encoding) -> list[tuple[str, str]]:
    """What was recorded, who is in and who is not, and what was heard: (name, value) pairs."""
    met = () if "lag" in fit.observed.columns else ("words", "events")  # these are counted as what was recorded
    facts = [
        ("Dataset", _dataset(fit)),
        ("People", _people(fit)),
        ("Left out", "; ".join(f"sub-{who['subject']}: {who['why']}" for who in left_out(fit))),
        ("Recording", _recording(fit)),
        *_recorded(fit),
        (_many_of(fit), _targets(fit)),
        ("Positions", _positions(fit)),
        ("Windows", _windows(fit)),
        *((what.capitalize(), f"{n:,}") for what in met if (n := asked(fit, "decided", what))),
        ("Features", "; ".join(_feature(f) for f in asked(fit, "features", default=[]))),
        ("Folds", str(asked(fit, "decided", "folds") or asked(fit, "folds", default=""))),
    ]
    return [(name, value) for name, value in facts if value]


def left_out(fit: Encoding) -> list[dict[str, str]]:
    """Who was left out, and why."""
    return list(asked(fit, "decided", "left_out", default=[]))


def _targets(fit: Encoding) -> str:
    columns = without_lags(fit.observed.columns)
    labels = labels_of(columns)
    if electrode_column(columns):
        kinds = f" {'/'.join(dict.fromkeys(columns['type'].astype(str)))}" if "type" in columns else ""
        people = Counter(columns.get("subject", ()))
        if len(people) > 1:
            return f"{len(labels):,}{kinds}: {listed((f'{n} in {who}' for who, n in people.items()), most=40)}"
        return f"{len(labels):,}{kinds}" + (f": {', '.join(labels)}" if len(labels) <= NAMED else "")
    if "roi" in columns and " " in nouns_of(fit)[1]:
        shared = (("region", "regions"), columns["roi"].nunique()), (("person", "people"), columns["subject"].nunique())
        return f"{len(labels):,}: " + " × ".join(counted(n, nouns) for nouns, n in shared)
    return f"{len(labels):,}" + (f": {', '.join(labels)}" if len(labels) <= NAMED else "")


def _many_of(fit: Encoding) -> str:
    many = things_of(fit.observed.columns)[1]
    return "Targets" if " " in many else many.capitalize()


def _recorded(fit: Encoding) -> list[tuple[str, str]]:
    """What was made of voltages before they were fitted, and which channels have no part in it."""
    recorded = asked(fit, "decided", "recorded", default={})
    if not recorded:
        return []
    rate = asked(fit, "data", "rate")
    line = Counter(recorded.get("line_noise", {}).values())
    removed = {hz: "not removed" if hz is None else f"{hz:g} Hz and its harmonics removed" for hz in line}
    if len(line) > 1:
        removed = {hz: f"{said} in {counted(line[hz], ('run', 'runs'))}" for hz, said in removed.items()}
    bad = {who: channels for who, channels in sorted(recorded.get("bad_channels", {}).items()) if channels}
    return [
        ("Signal", str(recorded.get("band", "")) + (f", {rate:g} times a second" if rate else "")),
        ("Reference", str(recorded.get("reference", "")).replace("_", " ")),
        ("Line noise", "; ".join(removed.values())),
        ("Bad channels", "; ".join(f"sub-{who}: {_reasons(channels)}" for who, channels in bad.items())),
    ]


def _reasons(channels: Mapping[str, str]) -> str:
    """Channels by why they are bad: LA6, LA7 (bad by channels.tsv), RB1 (flat)."""
    reasons = dict.fromkeys(channels.values())
    named = {why: [name for name, one in channels.items() if one == why] for why in reasons}
    return ", ".join(f"{listed(names)} ({why})" for why, names in named.items())


def _positions(fit: Encoding) -> str:
    """How many electrodes have a place, and in which frame."""
    columns = without_lags(fit.observed.columns)
    if not electrode_column(columns) or not {"x", "y", "z", "frame"} <= set(columns):
        return ""
    known = columns[["x", "y", "z"]].notna().all(axis=1)
    if not known.any():
        return "not known"
    frames = columns["frame"][known].astype(str).replace("n/a", "a frame without a name").value_counts()
    held = [str(name) if len(frames) == 1 else f"{n:,} in {name}" for name, n in frames.items()]
    return ", ".join(held) + f"; {(~known).sum():,} not known" * bool((~known).any())


def _windows(fit: Encoding) -> str:
    """Which windows were cut around words."""
    if "lag" not in fit.observed.columns:
        return ""
    lags, window = np.unique(fit.observed.columns["lag"].astype(float)), asked(fit, "design", "lags", "window")
    size = f" of {window:g} s" if window else ""
    if len(lags) == 1:
        return f"one{size}, its middle {around(lags[0], event_of(fit))}"
    ends = f"{seconds(lags[0])} to {seconds(lags[-1])}"
    return f"{len(lags)}{size}, their middles from {ends}; at 0 s the {event_of(fit)} begins"


def _dataset(fit: Encoding) -> str:
    name = next((one for form in ("bids", "matrices", "nsd") if (one := asked(fit, "data", form))), "")
    task = asked(fit, "data", "task", default="")
    return f"{name}, task {task}" if task and task != name else str(name)


def _people(fit: Encoding) -> str:
    named = asked(fit, "decided", "subjects")
    if named is None and "subject" in fit.people:
        named = list(dict.fromkeys(fit.people["subject"]))
    if named is None and "subject" in fit.observed.columns:
        named = list(dict.fromkeys(fit.observed.columns["subject"]))
    if not named:
        return ""
    together = ", averaged" if asked(fit, "data", "average") == "subjects" or len(fit.people) else ""
    return f"{len(named)}{together}: {listed((str(n) for n in named), most=40)}"


def _recording(fit: Encoding) -> str:
    clock, tr = clock_of(fit), tr_of(fit)
    said = f"{counted(clock['run'].nunique(), ('run', 'runs'))}, {counted(len(clock), samples_of(fit))}"
    if "lag" in fit.observed.columns:
        times = clock.groupby("run")["time"]
        return f"{said} in {minutes(float((times.max() - times.min()).sum()))}"
    if samples_of(fit)[0] == "trial":
        return said
    return f"{said} of {tr:g} s: {minutes(len(clock) * tr)}"


def _feature(feature: Any) -> str:
    kind = feature.get("kind")
    if kind == "sentence":
        return f"{feature['name']} ({feature['model']}, a vector per {feature['column']})"
    if kind not in ("language", "surprisal"):
        return f"{feature['name']} ({str(kind or '').replace('_', ' ')})"
    context = feature.get("context")
    size = f"one of {listed(map(str, context))}" if isinstance(context, list) else context
    parts = [str(feature["model"])]
    parts += [_layers(feature.get("layers"))] if kind == "language" else [listed(feature["measures"]).replace("_", " ")]
    parts += [f"context {size} {feature.get('unit', 'tokens')}"]
    parts += ["all of it for each word"] if feature.get("exact") else []
    parts += ["shown what follows"] if feature.get("ahead") else []
    parts += [f"{feature['pca']} principal components"] if feature.get("pca") else []
    parts += ["random weights"] if feature.get("untrained") is not None else []
    return f"{feature['name']} ({', '.join(parts)})"


def _layers(which: Any) -> str:
    layers = {
        "best": "one layer, chosen in inner folds",
        "each": "every layer apart",
        "all": "all layers",
        "stack": "all layers",
    }
    return layers.get(which, which) if isinstance(which, str) else f"layers {listed(map(str, which or []))}"
