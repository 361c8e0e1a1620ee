"""How far do runs agree that repeat their conditions, each in an order of its own?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from brainalign.encoding.ceilings import Ceilings, repeats_of
from brainalign.errors import InputError
from brainalign.maths.ceiling import noise_ceiling
from brainalign.signals import Signal


@dataclass(frozen=True)
class Runs:
    """A ceiling rule: how far runs agree that repeat conditions. Made by `between_runs`."""

    label: Callable[[Signal], Signal]

    def __call__(self, brain: Signal) -> Ceilings:
        """The ceilings of a recording's own columns."""
        labelled = self.label(brain)
        found = repeats_of(labelled)
        if found is None:
            raise InputError(
                "a ceiling between runs needs conditions that are met more than once, and nothing is in the runs that "
                f"are scored ({', '.join(brain.runs)}): choose ceiling: {{kind: none}}"
            )
        own = replace(noise_ceiling(found.responses, k=1, null=found.null), kind="run_reliability")
        conditions = labelled.samples["stimulus"].nunique()
        said = f"{found.said}, {conditions} conditions" if found.null == "shift" else found.said
        return Ceilings(own, None, f"agreement between runs that repeat conditions (ncsnr, {said}), for one run")


def between_runs(label: Callable[[Signal], Signal]) -> Runs:
    """How far runs agree that repeat their conditions, each in an order of its own: NC(1) of Allen et al. (2022).

    The labels are for the ceiling alone: a model may be trained on a condition and asked about it in another run, which
    fold rules refuse of a stimulus that is labelled in the recording itself.

    Parameters
    ----------
    label : function Signal → Signal
        Gives samples `stimulus`, `repeat` and (of a time series) `stimulus_time`, as `label_conditions` does.

    Returns
    -------
    ceiling rule
        Its ceilings are of the kind `run_reliability`, unit r2, of the response to one presentation. What is left of
        the response to the condition before counts as noise: a model of blocks that follow one another closely may come
        out above it.

    Examples
    --------
    >>> from functools import partial
    >>> import numpy as np, pandas as pd
    >>> import brainalign as ba
    >>> rng = np.random.default_rng(0)
    >>> clock = pd.DataFrame({"run": np.repeat(["1", "2", "3"], 40), "time": np.tile(np.arange(40) * 2.0, 3)})
    >>> orders = [["face", "house"], ["house", "face"], ["face", "house"]]
    >>> events = pd.DataFrame({"run": np.repeat(["1", "2", "3"], 2), "onset": [0.0, 40.0] * 3, "duration": 20.0})
    >>> events["trial_type"] = sum(orders, [])
    >>> shape = {"face": rng.standard_normal(20), "house": rng.standard_normal(20)}
    >>> response = np.concatenate([shape[name] for name in events["trial_type"]])[:, None]
    >>> brain = ba.Signal(response + rng.standard_normal((120, 1)), clock, pd.DataFrame({"roi": ["FFA"]}))
    >>> between_runs(partial(ba.label_conditions, events=events))(brain).own.kind
    'run_reliability'
    """
    return Runs(label)
