"""What does a word mean to a language model before any context: a vector per word, the same wherever it stands?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from brainalign.features.loading import ResolvedModel, load
from brainalign.features.models import locate_model
from brainalign.features.samples import samples_of
from brainalign.features.tokens import join_words, tokenize
from brainalign.provenance import hash_frame, versions
from brainalign.signals import Signal
from brainalign.store import Store, key_of

METHOD = 1  # counts up when the same settings would give other numbers


def static_vectors(
    words: pd.DataFrame,
    model: str | Path | ResolvedModel = "smollm2-135m",
    name: str | None = None,
    store: Store | None = None,
) -> Signal:
    """Each word's row of a language model's input embedding matrix: what the model starts from, before it reads.

    A word of several tokens gets the mean of their rows. Every word is cut into tokens as it is in the middle of a
    text, with a space before it, so that the same word has the same vector wherever it stands. What a contextual model
    predicts beyond these vectors is not explained by which words were heard.

    Parameters
    ----------
    words : DataFrame
        `run`, `onset` (s), `word`, and `duration` (s) where known; onsets never fall within a run.
    model : str, path or ResolvedModel
        A card's name, a folder, a Hugging Face id, or what `untrained` gives.
    name : str, optional
        The band; by default the model's name and "-static".
    store : Store, optional
        Where the vectors are kept, and found again whenever words and model are the same.

    Returns
    -------
    Signal
        (n_words, width) float32, the units of the embedding; samples are the words, as in `embed_words`.
        ``attrs["features"][name]`` has `kind`, `model` and `revision`.

    Raises
    ------
    InputError
        The words cannot be read (`samples_of`), or one has no token.
    SettingsError
        No such model, or its tokenizer does not say which characters a token covers.

    Notes
    -----
    In models without position embeddings at the input (Llama and its kind) this is layer 0 of `embed_words`, but for
    the first word of a run where the tokenizer spells a word without a space before it in another way.

    Examples
    --------
    >>> words = pd.DataFrame({"run": "1", "onset": [0.1, 0.6, 0.9], "word": ["the", "big", "the"]})
    >>> vectors = static_vectors(words, model="stories260k")
    >>> vectors, bool((vectors.values[0] == vectors.values[2]).all())
    (Signal(3 samples × 64 columns; 1 run; 0.1–0.9 s; bands stories260k-static), True)
    """
    samples = samples_of(words, "word")
    found = model if isinstance(model, ResolvedModel) else locate_model(model)
    if store is None:
        values = _rows_of(samples, found)
    else:
        key = key_of(
            kind="static",
            method=METHOD,
            words=hash_frame(samples[["stimulus"]]),
            model=found.revision,
            tokenizer=found.tokenizer,
            versions={package: version.split(".")[0] for package, version in versions("torch", "transformers").items()},
        )
        piece = store.compute(
            key, lambda: {"values": _rows_of(samples, found)}, meta={"model": found.name, "n_words": len(samples)}
        )
        values = piece.arrays["values"]
    name = name or f"{found.name}-static"
    known = {"kind": "static", "model": found.name, "revision": found.revision}
    columns = pd.DataFrame({"band": name, "unit": np.arange(values.shape[1])})
    return Signal(values, samples, columns, attrs={"features": {name: known}})


def _rows_of(samples: pd.DataFrame, found: ResolvedModel) -> np.ndarray:
    """(n_words, width): each different word is looked up once, where it first stands."""
    _, first, which = np.unique(samples["stimulus"].to_numpy(str), return_index=True, return_inverse=True)
    loaded = load(found, device="cpu")
    # the word in front is there so that every one that counts has a space before it
    text = tokenize(loaded.tokenizer, join_words(samples, np.r_[first[:1], first]), samples)
    matrix = loaded.network.get_input_embeddings().weight.detach()
    means = [matrix[text.tokens[cover]].float().mean(0).numpy() for cover in text.covers[1:]]
    return np.stack(means)[which]
