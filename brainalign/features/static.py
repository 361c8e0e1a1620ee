"""What is known of a word before any context: a vector per word, the same wherever it stands?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError
from brainalign.features.loading import ResolvedModel, load
from brainalign.features.models import locate_model
from brainalign.features.samples import samples_of
from brainalign.features.spellings import FOUND_AS, look_up, missing_words, spellings
from brainalign.features.tokens import join_words, tokenize
from brainalign.features.vectors import WordVectors, locate_vectors, means_vectors
from brainalign.provenance import hash_frame, versions
from brainalign.signals import Signal
from brainalign.store import Store, key_of

METHOD = 1  # counts up when the same settings would give other numbers
MISSING = -1  # in place of a row of FOUND_AS
UNKNOWN = ("mean", "zero", "error")


def static_vectors(
    words: pd.DataFrame,
    model: str | Path | ResolvedModel | WordVectors = "smollm2-135m",
    name: str | None = None,
    unknown: Literal["mean", "zero", "error"] = "mean",
    store: Store | None = None,
) -> Signal:
    """Each word's vector without context: from a file of word vectors, or a language model's input embedding matrix.

    What a contextual model predicts beyond these vectors is not explained by which words were heard.

    Parameters
    ----------
    words : DataFrame
        `run`, `onset` (s), `word`, and `duration` (s) where known; onsets never fall within a run.
    model : str, path, ResolvedModel or WordVectors
        Word vectors: a card's name ("glove-50d"), a file as GloVe, word2vec (text or binary) or fastText (`.vec`) write
        them, packed with gzip or not, or a folder with `vectors.npy` and `words.txt`.
        A language model: a card's name, a folder, a Hugging Face id, or what `untrained` gives.
    name : str, optional
        The band; by default the name of the card, file or folder of vectors, or the model's name and "-static".
    unknown : {"mean", "zero", "error"}
        What a word gets that is not among the vectors: the mean over the words that are, as often as they came, so
        that it says nothing of its meaning; zeros; or nothing, an error names such words.
    store : Store, optional
        Where the vectors are kept, and found again whenever words and model are the same.

    Returns
    -------
    Signal
        (n_words, width) float32, the units of the vectors; samples are the words, as in `embed_words`.
        ``attrs["features"][name]`` has `kind`, `model` and `revision`; of word vectors also `unknown`,
        `out_of_vocabulary` (`count`, `share` and the `words`) and `found_as`: how many words were found in which
        spelling.

    Raises
    ------
    InputError
        The words cannot be read (`samples_of`), or one has no token; a file that is no whole file of vectors; none of
        the words is in it, or with unknown="error" one is not.
    SettingsError
        No such model, file or `unknown`, or a tokenizer that does not say which characters a token covers.

    Notes
    -----
    In a file, a word is looked up in the spellings of `brainalign.features.spellings`, in that order: as written,
    lower-cased, without the marks around it, its clitic apart ("do" and "n't"), cut at hyphens. Of several parts, all
    of which have to be there, it gets the mean. In a file that is not UTF-8 only ASCII words are found. A line with the
    wrong count of numbers is an error that names it; the numbers of words that are not asked for are not read.
    In a language model a word of several tokens gets the mean of their rows. Every word is cut into tokens as it is in
    the middle of a text, with a space before it, so that the same word has the same vector wherever it stands. In
    models without position embeddings at the input (Llama and its kind) this is layer 0 of `embed_words`, but for the
    first word of a run where the tokenizer spells a word without a space before it in another way.

    References
    ----------
    Pennington, J., Socher, R., & Manning, C. D. (2014). GloVe: Global vectors for word representation. *EMNLP*,
    1532-1543.

    Examples
    --------
    >>> words = pd.DataFrame({"run": "1", "onset": [0.1, 0.6, 0.9], "word": ["the", "big", "the"]})
    >>> vectors = static_vectors(words, model="stories260k")
    >>> vectors, bool((vectors.values[0] == vectors.values[2]).all())
    (Signal(3 samples × 64 columns; 1 run; 0.1–0.9 s; bands stories260k-static), True)
    """
    if unknown not in UNKNOWN:
        raise SettingsError(f"unknown={unknown!r} is not one of {', '.join(UNKNOWN)}: what words without a vector get")
    samples = samples_of(words, "word")
    source = model if isinstance(model, (ResolvedModel, WordVectors)) else _located(model)
    if isinstance(source, WordVectors):
        arrays = _kept(store, lambda: _looked_up(samples, source), samples, source, vectors=source.revision)
        values, about = _filled(arrays["values"], arrays["found_as"], samples, source, unknown)
        name = name or source.name
    else:
        values = _kept(
            store,
            lambda: {"values": _rows_of(samples, source)},
            samples,
            source,
            model=source.revision,
            tokenizer=source.tokenizer,
            versions={package: version.split(".")[0] for package, version in versions("torch", "transformers").items()},
        )["values"]
        name, about = name or f"{source.name}-static", {}
    known = {"kind": "static", "model": source.name, "revision": source.revision, **about}
    columns = pd.DataFrame({"band": name, "unit": np.arange(values.shape[1])})
    return Signal(values, samples, columns, attrs={"features": {name: known}})


def _located(model: str | Path) -> ResolvedModel | WordVectors:
    return locate_vectors(model) if means_vectors(model) else locate_model(model)


def _kept(
    store: Store | None,
    make: Callable[[], dict[str, np.ndarray]],
    samples: pd.DataFrame,
    source: ResolvedModel | WordVectors,
    **depends: Any,
) -> Mapping[str, np.ndarray]:
    """What `make` makes of the words, found again where it was kept."""
    if store is None:
        return make()
    key = key_of(kind="static", method=METHOD, words=hash_frame(samples[["stimulus"]]), **depends)
    return store.compute(key, make, meta={"what": "word vectors", "model": source.name, "n_words": len(samples)}).arrays


def _looked_up(samples: pd.DataFrame, source: WordVectors) -> dict[str, np.ndarray]:
    """`values` (n_words, width), 0 where there is none, and `found_as` (n_words,), the row of FOUND_AS or MISSING."""
    different, which = np.unique(samples["stimulus"].to_numpy(str), return_inverse=True)
    asked = {part for word in different for _, parts in spellings(word) for part in parts}
    vectors = source.of(asked)
    found = [look_up(word, vectors) for word in different]
    if not any(found):
        raise InputError(
            f"{source.name} has none of the {len(different)} words ({', '.join(map(repr, different[:5].tolist()))} …): "
            "are its words of this language, and written as these are?"
        )
    nothing = np.zeros_like(next(iter(vectors.values())))
    means = [np.mean([vectors[part] for part in one[1]], axis=0) if one else nothing for one in found]
    rows = [FOUND_AS.index(one[0]) if one else MISSING for one in found]
    return {"values": np.stack(means).astype(np.float32)[which], "found_as": np.array(rows, np.int8)[which]}


def _filled(
    values: np.ndarray, found_as: np.ndarray, samples: pd.DataFrame, source: WordVectors, unknown: str
) -> tuple[np.ndarray, dict[str, Any]]:
    """The vectors with something in place of those that are missing, and what is said of them."""
    missing = np.asarray(found_as) == MISSING
    gone = missing_words(samples["stimulus"].tolist(), missing)
    if missing.any() and unknown == "error":
        names = ", ".join(map(repr, gone["words"][:10])) + (" …" if len(gone["words"]) > 10 else "")
        raise InputError(
            f"{source.name} has no vector of {gone['count']} of {len(missing)} words ({names}): spell them otherwise, "
            "leave them out, or say what they get, unknown='mean' or 'zero'"
        )
    if missing.any() and unknown == "mean":
        values = np.array(values)
        values[missing] = values[~missing].mean(0, dtype=np.float64)
    counts = {what: int((found_as == row).sum()) for row, what in enumerate(FOUND_AS)}
    return values, {"unknown": unknown, "found_as": counts, "out_of_vocabulary": gone}


def _rows_of(samples: pd.DataFrame, found: ResolvedModel) -> np.ndarray:
    """(n_words, width): each different word is looked up once, where it first stands."""
    _, first, which = np.unique(samples["stimulus"].to_numpy(str), return_index=True, return_inverse=True)
    loaded = load(found, device="cpu")
    # the word in front is there so that every one that counts has a space before it
    text = tokenize(loaded.tokenizer, join_words(samples, np.r_[first[:1], first]), samples)
    matrix = loaded.network.get_input_embeddings().weight.detach()
    means = [matrix[text.tokens[first:stop]].float().mean(0).numpy() for first, stop in text.covers[1:]]
    return np.stack(means)[which]
