"""The stations of a study: the recording, the stimuli, the features, the design, the folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.design.clean import clean
from brainalign.design.conditions import condition_means
from brainalign.design.delays import delay
from brainalign.design.resample import Kernel, boxcar, lanczos, mean_within, resample, spacing, sum_within
from brainalign.encoding.folds import ByGroup, Contiguous, FoldRule, HoldOut, Shuffled
from brainalign.encoding.targets import Chosen, choose_targets
from brainalign.encoding.within import PCA, narrowest, pca
from brainalign.errors import InputError, one_message
from brainalign.events import check_events, run_ends
from brainalign.features.models import locate_model
from brainalign.features.simple import categories, word_length, word_position, word_rate
from brainalign.features.static import static_vectors
from brainalign.features.transcript import Reading, align_words
from brainalign.features.untrained import untrained
from brainalign.features.words import embed_words
from brainalign.io.fmri import read_fmri
from brainalign.io.transcripts import problems_in_events, read_events, read_textgrid
from brainalign.provenance import hash_file
from brainalign.signals import Signal, join
from brainalign.store import Store
from brainalign.study.settings import (
    AnyFeature,
    Category,
    Folds,
    Language,
    Static,
    Study,
    WordLength,
    WordPosition,
    WordRate,
)

KERNELS: dict[str, Kernel] = {"lanczos": lanczos, "sum": sum_within, "mean": mean_within, "boxcar": boxcar}
EXCERPT_S = 40.0
CONTIGUOUS_FOLDS = 6  # of a single run, where the study names no folds


@dataclass(frozen=True)
class Named:
    """One feature of a study: a Signal per event, and the bands it has."""

    settings: AnyFeature
    signal: Signal

    @property
    def bands(self) -> list[str]:
        """Its bands, in order."""
        return self.signal.bands

    @property
    def about(self) -> Mapping[str, Any]:
        """What made it: model, revision, context, … (empty for a feature that is counted)."""
        return self.signal.attrs.get("features", {}).get(self.settings.name, {})


def recording(study: Study) -> Signal:
    """Read what the study calls its data.

    Raises
    ------
    InputError
        Everything that is wrong with the files, in one message; or people on different clocks.
    """
    data = study.data
    found = read_fmri(
        data.bids,
        subject=data.subjects,
        task=data.task,
        session=data.session,
        run=data.run,
        space=data.space,
        derivatives=data.derivatives,
        atlas=data.atlas,
        mask=data.mask,
        average=data.average,
    )
    if isinstance(found, Signal):
        return found
    clocks = "; ".join(f"sub-{s.columns['subject'].iloc[0]}: {s!r}" for s in found)
    raise InputError(f"the people are on different clocks ({clocks}): fit them apart, one data.subjects at a time")


def events(study: Study, brain: Signal | None) -> pd.DataFrame:
    """The events of the study; with a recording, those past the end of their run are an error.

    Raises
    ------
    InputError
        Everything that is wrong with them, in one message.
    """
    ends = None if brain is None else run_ends(brain)
    if study.stimuli.words is not None:
        return transcript(study.stimuli.words, study.stimuli.start_s, ends)
    subject = None if study.data.subjects == "all" else list(study.data.subjects)
    where = (study.data.bids, study.data.task, subject, study.data.session, study.data.run)
    problems = problems_in_events(*where, ends=ends)
    if problems:
        raise one_message(problems)
    return read_events(*where)


def transcript(path: Path, start_s: float, ends: Mapping[str, float] | None) -> pd.DataFrame:
    """Words from a file of their own: a Praat TextGrid, or a table with onset, duration, word (and run, if several).

    `start_s` is the second of its clock at which the recording's begins.
    """
    if not path.is_file():
        raise InputError(f"stimuli.words: there is no file {path}: check the path")
    if path.suffix.lower() == ".textgrid":
        found = read_textgrid(path, start=start_s)
    else:
        text = {"word": str, "run": str}
        found = pd.read_csv(
            path, sep=None, engine="python", dtype=text, keep_default_na=False, na_values={"onset": ["n/a", ""]}
        )
        if "onset" in found:
            found["onset"] = pd.to_numeric(found["onset"], errors="coerce") - start_s
    found, notes, problems = check_events(found, ends=ends)
    if problems:
        raise one_message(f"{path.name}: {problem}" for problem in problems)
    found.attrs = {"notes": [f"{path.name}: {note}" for note in notes], "inputs": {path.name: hash_file(path)}}
    return found


def reading(study: Study, met: pd.DataFrame) -> Reading | None:
    """The words in the text the study names; None where it names none.

    The table's ``attrs`` are those of the events, with the text's hash among the inputs and a note of what was found.

    Raises
    ------
    InputError
        The events have no words, or what `align_words` raises.
    """
    text = study.stimuli.text
    if text is None:
        return None
    if "word" not in met:
        raise InputError(f"stimuli.text: the events have no 'word' (found {', '.join(map(str, met))})")
    try:
        found = align_words(met, text)
    except InputError as error:
        raise InputError(f"stimuli.text: {error}") from error
    paths = list(text.values()) if isinstance(text, dict) else [text]
    inputs = {**met.attrs.get("inputs", {}), **{path.name: hash_file(path) for path in paths}}
    found.table.attrs = {**met.attrs, "inputs": inputs, "notes": [*met.attrs.get("notes", []), f"text: {found}"]}
    return found


def models(study: Study) -> dict[str, Any]:
    """Where the language models of the study lie; an unknown or missing one is an error before anything is computed."""
    return {f.model: locate_model(f.model) for f in study.features if isinstance(f, (Language, Static))}


def extract(feature: AnyFeature, met: pd.DataFrame, store: Store | None, device: str) -> Named:
    """What one feature makes of the events."""
    if isinstance(feature, Category):
        return Named(feature, categories(met, column=feature.column, name=feature.name))
    if "word" not in met:
        raise InputError(
            f"feature {feature.name!r} needs words, but the events have no 'word' (found {', '.join(map(str, met))}): "
            "name a transcript under stimuli.words"
        )
    if isinstance(feature, WordRate):
        return Named(feature, word_rate(met, name=feature.name))
    if isinstance(feature, WordLength):
        return Named(feature, word_length(met, name=feature.name))
    if isinstance(feature, WordPosition):
        return Named(feature, word_position(met, name=feature.name))
    if isinstance(feature, Static):
        return Named(feature, static_vectors(met, model=feature.model, name=feature.name, store=store))
    model = feature.model if feature.untrained is None else untrained(feature.model, seed=feature.untrained)
    layers = feature.layers if isinstance(feature.layers, list) else "all"
    contexts = feature.context if isinstance(feature.context, list) else [feature.context]
    signals = [
        embed_words(
            met,
            model=model,
            layers=layers,
            context=context,
            reset=feature.reset,
            pool=feature.pool,
            name=feature.name,
            device=device,
            store=store,
        )
        for context in contexts
    ]
    return Named(feature, signals[0] if len(signals) == 1 else beside(feature.name, signals, contexts))


def beside(name: str, signals: list[Signal], contexts: list[int]) -> Signal:
    """One layer read with several contexts: bands `NAME.contextN`, columns with `context`.

    What is said of the feature is what is true of the longest context, with all of them listed.
    """
    named = [
        replace(one, columns=one.columns.assign(band=f"{name}.context{n}", context=n))
        for one, n in zip(signals, contexts, strict=True)
    ]
    about = {**signals[int(np.argmax(contexts))].attrs["features"][name], "context": contexts}
    both = join(*named)
    return replace(both, attrs={**both.attrs, "features": {name: {k: v for k, v in about.items() if k != "stride"}}})


def on_clock(study: Study, feature: Named, brain: Signal) -> Signal:
    """A feature on the recording's clock: blocks by the share of a TR they fill, words by the study's kernel."""
    kernel = boxcar if isinstance(feature.settings, Category) else KERNELS[study.design.resample]
    return resample(feature.signal, onto=brain, kernel=kernel)


def lay_out(study: Study, features: list[Named], brain: Signal, reverse: bool = False) -> Signal:
    """The design: every feature on the recording's clock, delayed; with `reverse`, time runs backwards in each run."""
    spaces = join(*(on_clock(study, feature, brain) for feature in features))
    if reverse:
        spaces = backwards(spaces)
    return delay(spaces, volumes=study.design.delays_volumes)


def excerpt(study: Study, features: list[Named], brain: Signal) -> pd.DataFrame:
    """The first seconds of the first run, events and volumes, for a drawing of how one becomes the other.

    Columns `kind` (event, volume), `run`, `time`, `duration` (s), `text`, `feature`, `value`: what the event has, and
    what the volume gets, before delays.
    """
    # a feature of one column can be drawn; of those, one that differs between events tells most
    narrow = [f for f in features if f.signal.shape[1] == 1] or [
        f for f in features if isinstance(f.settings, Category)
    ]
    if not narrow:
        return pd.DataFrame()
    shown = max(narrow, key=lambda f: float(f.signal.array()[:, 0].std()))
    run = brain.runs[0]
    seen = shown.signal.select(run=run) if run in shown.signal.runs else shown.signal
    volumes = on_clock(study, shown, brain).select(run=run)
    tr = spacing(volumes.samples["time"].to_numpy(float), run)
    tables = []
    for kind, signal, text, duration in (
        ("event", seen, seen.samples["stimulus"].astype(str), seen.samples.get("duration", 0.0)),
        ("volume", volumes, "", tr),
    ):
        table = signal.samples[["run", "time"]].assign(kind=kind, duration=duration, text=text)
        tables.append(table.assign(feature=shown.settings.name, value=signal.array()[:, 0]))
    both = pd.concat(tables, ignore_index=True)
    columns = ["kind", "run", "time", "duration", "text", "feature", "value"]
    return both.loc[both["time"] < EXCERPT_S, columns].reset_index(drop=True)


def backwards(signal: Signal) -> Signal:
    """The same numbers, last sample first within each run: a control that keeps every feature's own statistics."""
    values = signal.array().copy()
    for run in signal.runs:
        rows = np.flatnonzero((signal.samples["run"] == run).to_numpy())
        values[rows] = values[rows[::-1]]
    return Signal(values, signal.samples, signal.columns, attrs=signal.attrs)


def cleaned(study: Study, brain: Signal, how: str, rule: FoldRule) -> tuple[Signal, list[str]]:
    """The recording without its nuisance, and what could not be removed.

    `segment`: apart in each test fold, so that nothing removed from training samples was estimated on test samples.
    """
    if how == "none":
        return brain, ["drift and motion were not removed (design.clean: none)"]
    nuisance, notes = list(study.design.nuisance), []
    recorded = brain.related.get("people", brain).related.get("confounds")
    if recorded is None and "motion" in nuisance and "nuisance" not in study.design.model_fields_set:
        nuisance.remove("motion")
        notes.append("no confounds were recorded: head motion was not removed")
    if how == "run":
        return clean(brain, nuisance), notes
    labels = np.zeros(len(brain.samples), int)
    for k, (_, test) in enumerate(rule(brain), start=1):
        labels[test] = k
    return clean(brain, nuisance, within=labels), notes


def chosen(study: Study, brain: Signal, met: pd.DataFrame) -> Chosen | None:
    """The targets a study names, and the samples that did not choose them; None where it names none."""
    asked = study.targets
    if not asked.where and asked.reliability is None:
        return None
    steady = clean(brain, ["drift"]) if asked.reliability is not None else brain
    shown = None if asked.conditions is None else condition_means(steady, met, asked.conditions)
    return choose_targets(steady, asked.where, asked.reliability, asked.aside, shown, seed=study.encoding.seed)


def fold_rule(settings: Folds, brain: Signal) -> FoldRule:
    """The fold rule a study names; `auto` leaves out runs where there are several, else takes contiguous blocks."""
    if settings.test is not None:
        return HoldOut({k: list(v) for k, v in settings.test.items()})
    by = settings.by
    if by == "auto":
        by = "run" if len(brain.runs) > 1 else "contiguous"
    if by == "contiguous":
        return Contiguous(settings.n or CONTIGUOUS_FOLDS, settings.gap_s)
    if by == "shuffled":
        return Shuffled(settings.n or CONTIGUOUS_FOLDS)
    return ByGroup(by, settings.n)


def reductions(features: list[Named], matched: bool = False) -> dict[str, PCA]:
    """What is fitted within each fold, by band; `matched`: all language bands at the width of the narrowest."""
    asked, widths = {}, {}
    for f in features:
        if isinstance(f.settings, (Language, Static)):
            counts = f.signal.columns["band"].value_counts()
            for band in f.bands:
                widths[band] = min(int(counts[band]), f.settings.pca or int(counts[band]))
                if f.settings.pca:
                    asked[band] = pca(f.settings.pca)
    return narrowest(widths) if matched else asked


def bands_of(names: list[str], features: list[Named]) -> list[str]:
    """The bands of the features of these names."""
    return [band for f in features if f.settings.name in names for band in f.bands]


def varied(features: list[Named]) -> dict[str, list[str]]:
    """The feature whose layers or contexts are alternatives, if there is one."""
    return {f.settings.name: f.bands for f in features if isinstance(f.settings, Language) and f.settings.varies}


def grouped(features: list[Named]) -> dict[str, list[str]]:
    """Feature → bands, of those that are not alternatives of each other."""
    apart = varied(features)
    return {f.settings.name: f.bands for f in features if f.settings.name not in apart}
