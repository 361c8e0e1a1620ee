"""In which windows is a sound heard, and what is kept of each?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from brainalign.features.batches import in_batches
from brainalign.features.speech import SpeechModel, states_of
from brainalign.features.tape import Tape

READ_TOGETHER = 64  # windows that are in memory at a time, at most, ..
READ_SAMPLES = 1 << 23  # .. or samples of them

Pool = Literal["mean", "last"]


@dataclass(frozen=True)
class Window:
    """Sound from `start` to `stop` is heard together; the steps `first` to `last` (not included) are kept of it."""

    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True)
class Plan:
    """How far back is heard, and how often.

    Parameters
    ----------
    context, step : float
        The longest window, and what is kept of it, in samples of sound.
    together : int
        How many steps share a window.
    n_steps : int
        How many the sound has; step k ends at (k + 1) · `step`.
    """

    context: float
    step: float
    together: int
    n_steps: int

    def windows(self, first: int, last: int) -> list[Window]:
        """Those in which the steps `first` to `last` are heard, which are the same whatever else is asked for.

        Examples
        --------
        >>> Plan(context=8, step=4, together=1, n_steps=3).windows(1, 3)
        [Window(start=0, stop=8, first=1, last=2), Window(start=4, stop=12, first=2, last=3)]
        >>> Plan(context=8, step=4, together=2, n_steps=3).windows(0, 3)
        [Window(start=0, stop=8, first=0, last=2), Window(start=4, stop=12, first=2, last=3)]
        """
        windows = []
        for group in range(first // self.together, (last - 1) // self.together + 1):
            begin, end = group * self.together, min((group + 1) * self.together, self.n_steps)
            stop = round(end * self.step)
            windows.append(Window(max(0, stop - round(self.context)), stop, max(first, begin), min(last, end)))
        return windows


def heard_in(
    tape: Tape, plan: Plan, first: int, last: int, model: SpeechModel, layers: Sequence[int], pool: Pool
) -> np.ndarray:
    """What a model makes of some steps of a sound.

    Parameters
    ----------
    tape : Tape
        At the model's rate.
    plan : Plan
    first, last : int
        Which steps.
    model : SpeechModel
    layers : list of int
    pool : {"mean", "last"}
        Over the frames whose middles lie in a step; of a step that has none, the frame before.

    Returns
    -------
    (last − first, n_layers × width) float32
    """
    import torch

    out = np.empty((last - first, len(layers) * model.width), np.float32)

    def act(heard: list[tuple[Window, np.ndarray]]) -> None:
        states = states_of(model, [sound for _, sound in heard])
        picked = torch.stack([states[layer].float() for layer in layers], dim=2)  # (window, frame, layer, width)
        for k, (window, sound) in enumerate(heard):
            middles = model.middles(len(sound)) + window.start
            for row in range(window.first, window.last):
                a, b = np.searchsorted(middles, [round(row * plan.step), round((row + 1) * plan.step)])
                frames = picked[k, min(a, b - 1) : b] if pool == "mean" else picked[k, b - 1 : b]
                out[row - first] = frames.mean(dim=0).flatten().cpu().numpy()

    for some in _alike(plan.windows(first, last)):
        heard = [(window, tape.read(window.start, window.stop)) for window in some]
        n_frames = model.n_frames(some[0].stop - some[0].start) if model.longest_s is None else _whole(model)
        in_batches(
            [n_frames] * len(heard),
            model.network,
            model.numbers_per_frame,
            lambda batch, heard=heard: act([heard[k] for k in batch]),
        )
    return out


def _whole(model: SpeechModel) -> int:
    return int((model.longest_s or 0) * model.rate / model.frame_step)


def _alike(windows: Sequence[Window]) -> Iterator[list[Window]]:
    """Windows that follow one another and are of one length, not too many at a time."""
    some: list[Window] = []
    for window in windows:
        length = window.stop - window.start
        if some and (
            length != some[0].stop - some[0].start
            or len(some) >= READ_TOGETHER
            or (len(some) + 1) * length > READ_SAMPLES
        ):
            yield some
            some = []
        some.append(window)
    if some:
        yield some
