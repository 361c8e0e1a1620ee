"""The stations of a study: the recording, the stimuli, the features, the design, the folds."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from brainalign.design.clean import clean
from brainalign.design.conditions import condition_means, label_conditions
from brainalign.design.delays import delay
from brainalign.design.hrf import convolved
from brainalign.design.resample import Kernel, boxcar, in_use, lanczos, mean_within, resample, spacing, sum_within
from brainalign.encoding.ceilings import (
    CeilingRule,
    auto,
    between_repeats,
    between_subjects,
    check_people,
    from_ncsnr,
    none,
)
from brainalign.encoding.courses import is_series, place_in_course
from brainalign.encoding.folds import (
    ByGroup,
    Contiguous,
    FoldRule,
    Folds,
    HoldOut,
    Shuffled,
)
from brainalign.encoding.runs import between_runs
from brainalign.encoding.targets import Chosen, choose_targets
from brainalign.encoding.within import PCA, narrowest, pca
from brainalign.errors import InputError
from brainalign.signals import Signal, join
from brainalign.store import Store
from brainalign.study.extracting import Named
from brainalign.study.kinds_of_words import Category
from brainalign.study.reading import HRFS, nuisance_of
from brainalign.study.section import Held, Layered, Reduced
from brainalign.study.settings import Folds as FoldSettings
from brainalign.study.settings import Study
from brainalign.study.trials import are_trials, on_trials

KERNELS: dict[str, Kernel] = {"lanczos": lanczos, "sum": sum_within, "mean": mean_within, "boxcar": boxcar}
CEILINGS: dict[str, CeilingRule] = {
    "auto": auto,
    "between_subjects": between_subjects,
    **{kind: between_repeats(kind) for kind in ("ncsnr", "split_half", "explainable_variance")},
    "ncsnr_map": from_ncsnr(),
    "none": none,
}
EXCERPT_S = 40.0
CONTIGUOUS_FOLDS = 6  # of a single run, where the study names no folds
STIMULUS_FOLDS = 10  # of stimuli that trials repeat, likewise


def on_clock(study: Study, feature: Named, brain: Signal, met: pd.DataFrame) -> Signal:
    """A feature on the recording's samples: trial by trial, or on its clock.

    What lasts enters a volume by the share of a TR it fills, words by the study's kernel; both by the response to them
    where the study assumes one.
    """
    if are_trials(brain):
        return on_trials(feature.settings.name, feature.signal, brain, met)
    return resample(feature.signal, onto=brain, kernel=kernel_of(study, feature))


def kernel_of(study: Study, feature: Named) -> Kernel:
    """How a feature becomes volumes.

    A block, a picture or a frame counts for as long as it was there, so that a volume is the mean over its TR, whatever
    the rate of a film or a sound. Events of no duration are moments, as BIDS has it: each enters one volume whole.

    Where a response is assumed (`design.hrf`), a volume has what is left of all that was there before it; a word is a
    moment then, whatever its duration.

    Raises
    ------
    InputError
        Some events have a duration, others none: moments and blocks are on no common scale.
    """
    hrf = study.design.hrf
    if not isinstance(feature.settings, Held):
        return KERNELS[study.design.resample] if hrf is None else of_moments(convolved(HRFS[hrf]))
    moments = are_moments(feature.settings.name, feature.signal.samples)  # raises, whatever the kernel will be
    if hrf is not None:
        return convolved(HRFS[hrf])
    return sum_within if moments else boxcar


def of_moments(kernel: Kernel) -> Kernel:
    """A kernel that sees onsets alone, and no durations."""

    def moments(times: np.ndarray, onsets: np.ndarray, durations: np.ndarray, tr: float) -> np.ndarray:
        return kernel(times, onsets, np.zeros_like(durations), tr)

    moments.__name__ = getattr(kernel, "__name__", "kernel")
    return moments


def are_moments(name: str, samples: pd.DataFrame) -> bool:
    """Whether no sample of a feature has a duration.

    Raises
    ------
    InputError
        Some have one, others none.
    """
    moments = ~(samples["duration"].to_numpy(float) > 0)
    if moments.any() and not moments.all():
        first = samples[moments].iloc[0]
        raise InputError(
            f"feature {name!r}: {moments.sum():,} of {len(samples):,} events have no duration, the first in run "
            f"{first['run']} at {first['time']:g} s ({first['stimulus']}): write how long each was there, or 0 for all"
        )
    return bool(moments.all())


def lay_out(study: Study, features: list[Named], brain: Signal, met: pd.DataFrame, reverse: bool = False) -> Signal:
    """The design: every feature on the recording's clock, delayed; with `reverse`, time runs backwards in each run."""
    spaces = join(*(on_clock(study, feature, brain, met) for feature in features))
    if reverse:
        spaces = backwards(spaces)
    if study.design.hrf is not None or are_trials(brain):
        return spaces
    return delay(spaces, volumes=study.design.delays_volumes)


def excerpt(study: Study, features: list[Named], brain: Signal, met: pd.DataFrame) -> pd.DataFrame:
    """The first seconds of the first run, events and volumes, for a drawing of how one becomes the other.

    Columns `kind` (event, volume), `run`, `time`, `duration` (s), `text` (of words), `feature`, `value`: what the event
    has, and what the volume gets, before delays; `kernel`, by which it gets that. Empty of trials, and where a response
    is assumed: there are no delays to draw.
    """
    if study.design.hrf is not None or are_trials(brain):
        return pd.DataFrame()
    events = [f for f in features if "stimulus_time" not in f.signal.samples]  # of a film or a sound there are too many
    # a feature of one column can be drawn; of those, one that differs between events tells most
    narrow = [f for f in events if f.signal.shape[1] == 1] or [f for f in events if isinstance(f.settings, Category)]
    if not narrow:
        return pd.DataFrame()
    shown = max(narrow, key=lambda f: float(np.nanstd(f.signal.array()[:, 0])))
    run = brain.runs[0]
    seen = shown.signal.select(run=run) if run in shown.signal.runs else shown.signal
    volumes = on_clock(study, shown, brain, met).select(run=run)
    tr = spacing(volumes.samples["time"].to_numpy(float), run)
    words = "" if isinstance(shown.settings, Held) else seen.samples["stimulus"].astype(str)
    tables = []
    for kind, signal, text, duration in (
        ("event", seen, words, seen.samples.get("duration", 0.0)),
        ("volume", volumes, "", tr),
    ):
        table = signal.samples[["run", "time"]].assign(kind=kind, duration=duration, text=text)
        tables.append(table.assign(feature=shown.settings.name, value=signal.array()[:, 0]))
    both = pd.concat(tables, ignore_index=True).assign(kernel=volumes.attrs["resampled"])
    columns = ["kind", "run", "time", "duration", "text", "feature", "value", "kernel"]
    return both.loc[both["time"] < EXCERPT_S, columns].reset_index(drop=True)


def backwards(signal: Signal) -> Signal:
    """The same numbers, last sample first within each run: a control that keeps every feature's own statistics."""
    values = signal.array().copy()
    for run in signal.runs:
        rows = np.flatnonzero((signal.samples["run"] == run).to_numpy())
        values[rows] = values[rows[::-1]]
    return Signal(values, in_use(signal.samples, values), signal.columns, attrs=signal.attrs)


def cleaned(
    study: Study, brain: Signal, how: str, rule: FoldRule, store: Store | None = None
) -> tuple[Signal, list[str]]:
    """The recording without its nuisance, and what could not be removed; of trials it is not there any more.

    `segment`: apart in each test fold, so that nothing removed from training samples was estimated on test samples;
    a `Study` does not ask it of trials.
    """
    if are_trials(brain):
        return brain, []
    nuisance, notes = nuisance_of(study, brain, how)
    if how == "none":
        return brain, notes
    said = {"longest_s": study.design.drift_s, "store": store}
    if how == "run":
        return clean(brain, nuisance, **said), notes
    labels = np.zeros(len(brain.samples), int)
    for k, (_, test) in enumerate(rule(brain), start=1):
        labels[test] = k
    return clean(brain, nuisance, within=labels, **said), notes


def ceiling_rule(study: Study, met: pd.DataFrame) -> CeilingRule:
    """The ceiling a study names; between runs the labels of the conditions are made for it, and for nothing else."""
    if study.ceiling.kind == "run_reliability":
        return between_runs(partial(label_conditions, events=met, column=study.conditions))
    return CEILINGS[study.ceiling.kind]


def check_ceiling(study: Study, brain: Signal, met: pd.DataFrame, folds: Folds) -> None:
    """Refuse a ceiling that the samples asked do not allow, found out on one column where one is enough.

    Raises
    ------
    InputError
        Nothing that is met again, or too little; no map of the ceiling; people who are too few or not to be compared.
    """
    if study.ceiling.kind == "between_subjects":
        check_people(brain.related.get("people", brain))
    if study.ceiling.kind not in ("auto", "none", "between_subjects"):
        asked = np.unique(np.concatenate([test for _, test in folds]))
        ceiling_rule(study, met)(brain.select(rows=asked[brain.use[asked]], columns=slice(0, 1)))


def chosen(study: Study, brain: Signal, met: pd.DataFrame) -> Chosen | None:
    """The targets a study names, and the samples that did not choose them; None where it names none."""
    asked = study.targets
    if not asked.where and asked.reliability is None:
        return None
    drifts = asked.reliability is not None and not are_trials(brain)
    steady = clean(brain, ["drift"], longest_s=study.design.drift_s) if drifts else brain
    shown = None if asked.conditions is None else condition_means(steady, met, asked.conditions)
    return choose_targets(steady, asked.where, asked.reliability, asked.aside, shown, seed=study.encoding.seed)


def fold_rule(settings: FoldSettings, brain: Signal) -> FoldRule:
    """The fold rule a study names.

    `auto` leaves out stimuli where trials repeat them, blocks of a story that runs repeat, else runs where there are
    several, else contiguous blocks.
    """
    if settings.test is not None:
        return HoldOut({k: list(v) for k, v in settings.test.items()}, settings.gap_s)
    by = settings.by
    shown = brain.samples["stimulus"] if are_trials(brain) and "repeat" in brain.samples else pd.Series([])
    if by == "auto" and is_series(brain.samples) and place_in_course(brain.samples) is not None:
        by = "contiguous"
    if by == "auto" and shown.notna().all() and 1 < shown.nunique() < len(shown):
        return ByGroup("stimulus", settings.n or STIMULUS_FOLDS, settings.gap_s)
    if by == "auto":
        by = "run" if len(brain.runs) > 1 else "contiguous"
    if by == "contiguous":
        return Contiguous(settings.n or CONTIGUOUS_FOLDS, settings.gap_s)
    if by == "shuffled":
        return Shuffled(settings.n or CONTIGUOUS_FOLDS)
    return ByGroup(by, settings.n, settings.gap_s)


def reductions(features: list[Named], matched: bool = False) -> dict[str, PCA]:
    """What is fitted within each fold, by band; `matched`: all bands that could be, at the width of the narrowest."""
    asked, widths = {}, {}
    for f in features:
        if isinstance(f.settings, Reduced):
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
    return {f.settings.name: f.bands for f in features if isinstance(f.settings, Layered) and f.settings.varies}


def grouped(features: list[Named]) -> dict[str, list[str]]:
    """Feature → bands, of those that are not alternatives of each other."""
    apart = varied(features)
    return {f.settings.name: f.bands for f in features if f.settings.name not in apart}
