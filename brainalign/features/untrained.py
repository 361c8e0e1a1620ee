"""What would the same model say had it never learned anything?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from brainalign.errors import SettingsError
from brainalign.features.loading import ResolvedModel
from brainalign.features.models import locate_model, settled_config
from brainalign.store import key_of


def untrained(model: str | Path | ResolvedModel, seed: int = 0) -> ResolvedModel:
    """The untrained twin of a model: its architecture, and what prepares its input, with random weights.

    Parameters
    ----------
    model : str, path or ResolvedModel
        A card's name, a folder, or a Hugging Face id.
    seed : int
        Draws the weights, as the model's configuration says they are drawn before training. Batch normalisation has
        a running mean of 0 and a running variance of 1: it leaves what comes as it is.

    Returns
    -------
    ResolvedModel
        For `embed_words(model=...)`, `embed_images(model=...)` of a vision model, `embed_audio(model=...)` of a speech
        model; its `revision` is made of the configuration and the seed.

    Raises
    ------
    SettingsError, InputError
        No such model (`locate_model`), or a seed that is no whole number.

    Examples
    --------
    >>> untrained("stories260k", seed=1).name
    'stories260k-untrained-1'
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise SettingsError(f"seed is a whole number, 0 or more; found {seed!r}")
    found = model if isinstance(model, ResolvedModel) else locate_model(model, sense=None)
    config = key_of(config=settled_config(found))
    return replace(found, name=f"{found.name}-untrained-{seed}", revision=f"untrained:{config}:seed {seed}", seed=seed)
