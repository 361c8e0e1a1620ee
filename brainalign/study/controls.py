"""Which one thing of a study can be changed, to see what a gain was due to?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from brainalign.design.residual import previous, residualise
from brainalign.errors import InputError
from brainalign.features.simple import word_length, word_position
from brainalign.features.static import static_vectors
from brainalign.progress import Progress
from brainalign.signals import Signal
from brainalign.store import Store
from brainalign.study.extracting import Named, extract
from brainalign.study.making import network
from brainalign.study.met import Met
from brainalign.study.section import Layered
from brainalign.study.settings import CHANGED, Study

TRACE = 0.01  # share of a layer's variance up to which what is left of it is no layer
Change = Callable[[Named, Met, Store, Study, Progress], Named]


@dataclass(frozen=True)
class Control:
    """One thing changed: what becomes of a model's features outside the baseline, of time, or of the cleaning."""

    what: str
    change: Change | None = None
    of: type[Layered] = Layered
    reverse: bool = False
    clean: str | None = None

    def applied(self, features: list[Named], met: Met, store: Store, study: Study, progress: Progress) -> list[Named]:
        """The study's features, those that are asked about changed."""
        if self.change is None:
            return features
        asked = study.asked_about(self.of)
        return [self.change(f, met, store, study, progress) if f.settings.name in asked else f for f in features]


def twin(feature: Named, met: Met, store: Store, study: Study, progress: Progress, seed: int = 0) -> Named:
    """The same network with random weights, drawn with `seed`."""
    return extract(_changed(feature, untrained=seed), met, store, study.compute.device, progress)


def context_free(feature: Named, met: Met, store: Store, study: Study, progress: Progress) -> Named:
    """Each word's row of the model's own embedding matrix: one band instead of layers."""
    return replace(feature, signal=_static(feature, met, store))


def position_and_length(feature: Named, met: Met, store: Store, study: Study, progress: Progress) -> Named:
    """Position in the run (and sentence) and number of characters: one band."""
    position, length = word_position(met.events, name=feature.settings.name), word_length(met.events)
    columns = pd.DataFrame({"band": feature.settings.name, "unit": [*position.columns["unit"], "characters"]})
    both = Signal(np.concatenate([position.array(), length.array()], axis=1), position.samples, columns)
    return Named(_changed(feature, pca=None), both)


def dealt_out(feature: Named, met: Met, store: Store, study: Study, progress: Progress) -> Named:
    """The vectors of each run given to its words, pictures or frames at random, alike in every layer; onsets stay."""
    values = feature.signal.array().copy()
    rng = np.random.default_rng(study.encoding.seed)
    for run in feature.signal.runs:
        rows = np.flatnonzero((feature.signal.samples["run"] == run).to_numpy() & feature.signal.use)
        values[rows] = values[rng.permutation(rows)]
    return replace(feature, signal=replace(feature.signal, values=values))


def beyond_words(feature: Named, met: Met, store: Store, study: Study, progress: Progress) -> Named:
    """Less what the static vectors of the word and of the one before predict; layers of which nothing is left go.

    The embedding layer goes but for the first words of runs, which a tokenizer may spell otherwise: a trace of which
    z-scoring would make a band of its own.
    """
    static = _static(feature, met, store)
    left = residualise(feature.signal, on=[static, previous(static)])
    before, after = (s.array().var(0, dtype=np.float64) for s in (feature.signal, left))
    share = np.divide(after, before, out=np.zeros_like(after), where=before > 0)
    bands = left.columns["band"]
    kept = (bands.map(pd.Series(share).groupby(bands.to_numpy()).mean()) > TRACE).to_numpy()
    if not kept.any():
        raise InputError(
            f"nothing is left of feature {feature.settings.name!r} once static vectors are taken out: its layers are "
            "the embedding alone"
        )
    return replace(feature, signal=left.select(columns=kept))


_CONTROLS = {
    "untrained": Control("the same network with random weights", change=twin),
    "static": Control("each word's embedding, without context", change=context_free),
    "position": Control("position and length of the words instead of the model", change=position_and_length),
    "shuffled": Control("the model's vectors dealt out at random", change=dealt_out),
    "reversed": Control("the stimulus reversed in time", reverse=True),
    "residual": Control("less what the word's and the previous word's embeddings predict", change=beyond_words),
    "segment": Control("drift and motion removed apart in each fold's segment", clean="segment"),
}
CONTROLS = {name: replace(control, of=CHANGED.get(name, Layered)) for name, control in _CONTROLS.items()}


def controls_of(study: Study) -> dict[str, Control]:
    """The controls a study asks for, by the name of their row; "all" is every one that changes something in it."""
    names = list(dict.fromkeys(study.controls))
    if "all" in names:
        names = [name for name in CONTROLS if name not in CHANGED or study.asked_about(CHANGED[name])]
        cut = study.design.clean == "run" and not study.of_trials
        names = [name for name in names if name != "segment" or cut]
    out: dict[str, Control] = {}
    for name in names:
        if name == "untrained" and study.untrained_seeds > 1:
            for seed in range(study.untrained_seeds):
                out[f"{name} {seed}"] = replace(CONTROLS[name], change=partial(twin, seed=seed))
        else:
            out[name] = CONTROLS[name]
    return out


def _changed(feature: Named, **settings: int | None) -> Layered:
    assert isinstance(feature.settings, Layered)  # others are never changed
    return feature.settings.model_copy(update=settings)


def _static(feature: Named, met: Met, store: Store) -> Signal:
    return static_vectors(met.events, model=network(_changed(feature)), name=feature.settings.name, store=store)
