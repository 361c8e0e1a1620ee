"""The stations of a study: the recording, the stimuli, the features, the design, the folds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from brainalign.design.clean import clean
from brainalign.design.conditions import condition_means
from brainalign.design.delays import delay
from brainalign.design.resample import Kernel, boxcar, in_use, lanczos, mean_within, resample, spacing, sum_within
from brainalign.encoding.folds import ByGroup, Contiguous, FoldRule, HoldOut, Shuffled
from brainalign.encoding.targets import Chosen, choose_targets
from brainalign.encoding.within import PCA, narrowest, pca
from brainalign.errors import InputError
from brainalign.io.fmri import read_fmri
from brainalign.signals import Signal, join
from brainalign.study.extracting import Named
from brainalign.study.kinds_of_words import Category
from brainalign.study.section import Held, Layered, Reduced
from brainalign.study.settings import Folds, Study

KERNELS: dict[str, Kernel] = {"lanczos": lanczos, "sum": sum_within, "mean": mean_within, "boxcar": boxcar}
EXCERPT_S = 40.0
CONTIGUOUS_FOLDS = 6  # of a single run, where the study names no folds


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


def on_clock(study: Study, feature: Named, brain: Signal) -> Signal:
    """A feature on the recording's clock: what lasts by the share of a TR it fills, words by the study's kernel."""
    return resample(feature.signal, onto=brain, kernel=kernel_of(study, feature))


def kernel_of(study: Study, feature: Named) -> Kernel:
    """How a feature becomes volumes.

    A block, a picture or a frame counts for as long as it was there, so that a volume is the mean over its TR, whatever
    the rate of a film or a sound. Events of no duration are moments, as BIDS has it: each enters one volume whole.

    Raises
    ------
    InputError
        Some events have a duration, others none: moments and blocks are on no common scale.
    """
    if not isinstance(feature.settings, Held):
        return KERNELS[study.design.resample]
    return sum_within if are_moments(feature.settings.name, feature.signal.samples) else boxcar


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


def lay_out(study: Study, features: list[Named], brain: Signal, reverse: bool = False) -> Signal:
    """The design: every feature on the recording's clock, delayed; with `reverse`, time runs backwards in each run."""
    spaces = join(*(on_clock(study, feature, brain) for feature in features))
    if reverse:
        spaces = backwards(spaces)
    return delay(spaces, volumes=study.design.delays_volumes)


def excerpt(study: Study, features: list[Named], brain: Signal) -> pd.DataFrame:
    """The first seconds of the first run, events and volumes, for a drawing of how one becomes the other.

    Columns `kind` (event, volume), `run`, `time`, `duration` (s), `text` (of words), `feature`, `value`: what the event
    has, and what the volume gets, before delays; `kernel`, by which it gets that.
    """
    events = [f for f in features if "stimulus_time" not in f.signal.samples]  # of a film or a sound there are too many
    # a feature of one column can be drawn; of those, one that differs between events tells most
    narrow = [f for f in events if f.signal.shape[1] == 1] or [f for f in events if isinstance(f.settings, Category)]
    if not narrow:
        return pd.DataFrame()
    shown = max(narrow, key=lambda f: float(np.nanstd(f.signal.array()[:, 0])))
    run = brain.runs[0]
    seen = shown.signal.select(run=run) if run in shown.signal.runs else shown.signal
    volumes = on_clock(study, shown, brain).select(run=run)
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
