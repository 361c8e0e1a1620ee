"""What does a model make of each sentence or caption as a whole?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError
from brainalign.features.batches import in_batches
from brainalign.features.loading import Dtype, LanguageModel, ResolvedModel, load, quiet_transformers
from brainalign.features.models import locate_model
from brainalign.features.pooling import POOLS, Pool, Recipe, pooled, recipe_of
from brainalign.features.reader import choose_layers, choose_pad, forward, limit_of
from brainalign.features.texts import as_table, averaged, sample_each
from brainalign.features.towers import as_trained, projected
from brainalign.progress import Progress, silent
from brainalign.provenance import hash_frame, versions
from brainalign.rows import RowJob, compute_rows, keep_rows, parts_of
from brainalign.signals import Signal
from brainalign.store import Store, key_of

METHOD = 1  # counts up when the same settings would give other numbers
PART_BYTES = 64 << 20  # of what is computed between two savings


def embed_sentences(
    sentences: pd.DataFrame | Sequence[str],
    model: str | Path | ResolvedModel = "minilm-l6",
    column: str = "sentence",
    *,
    layers: Literal["all"] | Sequence[int] | None = None,
    pool: Pool | None = None,
    normalise: bool | None = None,
    average: str | None = None,
    name: str | None = None,
    device: str = "auto",
    dtype: Dtype = "float32",
    store: Store | None = None,
    progress: Progress = silent,
) -> Signal:
    """One vector per sentence: a model's hidden states, pooled over the sentence's tokens.

    A sentence encoder is used as its folder says (`modules.json`, as sentence-transformers writes it): its pooling,
    whether the vector is divided by its length, how many tokens are read. Where a folder says nothing, the vector is
    the mean over the tokens of a masked or encoder–decoder model (its encoder), and the last token of a causal one,
    which alone has read them all; nothing is divided. The special tokens that the tokenizer adds count as tokens.

    An image–text model (CLIP, SigLIP and their kind) gives its own projected embedding of a text, of length 1: its dot
    product with the projected embedding of a picture (`embed_images` with ``layers=None``) is their cosine, which the
    model was trained on.

    Parameters
    ----------
    sentences : DataFrame, or list of str
        A sample per row. With `run` and `onset` (s; `duration` where known) a sentence lies in time. A list, or a table
        without `onset`, has no clock: `time` is then the row's number.
    model : str, path or ResolvedModel
        A card's name, a folder, a Hugging Face id, or what `untrained` gives.
    column : str
        Which column holds the text. A column called "caption" makes the result a caption corpus.
    layers : None, "all" or list of int
        None: the sentence embedding, from the last layer. Else each layer is a band of its own; 0 is the embedding, L
        the last block (after the final norm).
    pool : {"mean", "first", "last", "max"}, optional
        Over the tokens; "first" is what is called CLS. Default: as the model's folder says.
    normalise : bool, optional
        Whether each vector is divided by its length. Default: as the folder says for the sentence embedding; False for
        `layers`, so that a profile compares layers as they are.
    average : str, optional
        A column whose rows with the same value become one sample, the mean of their vectors: "image" for a picture's
        captions (`average_texts`, which says where the means lie).
    name : str, optional
        The band, or with `layers` what comes before ".layer"; default the model's name.
    device : str
        What torch calls it; "auto" is the first GPU, else the CPU.
    dtype : {"float32", "float16", "bfloat16"}
        What the model computes in; vectors are pooled in float32.
    store : Store, optional
        Where the vectors are kept, and found again whenever texts, model and settings are the same, in any order and at
        any time. They are written part by part: a crash costs one part.
    progress : function (done, total, what), optional
        Told after each part.

    Returns
    -------
    Signal
        (n_samples, width) or (n_samples, n_layers × width) float32; columns have `band`, `layer`, `unit`. Samples have
        `stimulus`, the text, which also stands under its column's own name, and `tokens_left_out`: how many of its
        tokens were beyond the model's limit and are not read, while those before them are.
        ``attrs["features"][name]`` counts such sentences (`too_long`; a note says it too) and tells how all was made:
        `model`, `revision`, `pool`, `normalise`, `max_tokens`, `prompt`, `dtype`, `average`. Each different sentence is
        read once. Memory: four bytes per value, the model's weights, and up to 64 MB of states being pooled.

    Raises
    ------
    InputError
        The table cannot be read (`samples_of`), or a sentence is empty or has no token.
    SettingsError
        A layer the model does not have, a sentence encoder that needs more than pooling (`recipe_of`), no such model.

    Examples
    --------
    >>> captions = pd.DataFrame({"image": [7, 7, 9], "caption": ["A dog runs.", "There is a dog.", "A red ball"]})
    >>> embed_sentences(captions, model="stories260k", column="caption", average="image")
    Signal(2 samples × 64 columns; 1 run; 0.0–1.0 s; bands stories260k)
    """
    _check_settings(layers, pool, dtype)
    table = as_table(sentences, column)
    samples = _samples(table, column)
    found = model if isinstance(model, ResolvedModel) else locate_model(model)
    recipe = recipe_of(found)
    asked = _Asked(
        layers=layers if layers is None or isinstance(layers, str) else tuple(int(layer) for layer in layers),
        pool=pool,
        normalise=recipe.normalise and layers is None if normalise is None else bool(normalise),
        dtype=dtype,
    )
    which, different = pd.factorize(samples["stimulus"], sort=True)
    texts = different.tolist()
    if store is None:
        arrays = compute_rows(_begin(texts, found, recipe, asked, device), progress)
    else:
        key = key_of(
            kind="sentences",
            method=METHOD,
            texts=hash_frame(pd.DataFrame({"text": texts})),
            model=found.revision,
            tokenizer=found.tokenizer,
            recipe=asdict(recipe),
            versions={package: version.split(".")[0] for package, version in versions("torch", "transformers").items()},
            **asdict(asked),
        )
        about = {"model": found.name, "n_sentences": len(texts)}
        arrays = keep_rows(store, key, lambda: _begin(texts, found, recipe, asked, device), about, progress)
    name = name or found.name
    left_out = arrays["left_out"][which]
    too_long = int((left_out > 0).sum())
    known = {
        "kind": "sentences",
        "model": found.name,
        "revision": found.revision,
        "pool": str(arrays["pool"]),
        "normalise": asked.normalise,
        "max_tokens": int(arrays["max_tokens"]) or None,
        "prompt": recipe.prompt,
        "dtype": dtype,
        "average": average,
        "too_long": too_long,
    }
    said = f"{name}: {too_long} of {len(samples)} sentences are longer than the {known['max_tokens']} tokens it reads"
    signal = Signal(
        arrays["values"][which],
        samples.assign(tokens_left_out=left_out),
        _columns(name, arrays["layers"], arrays["values"].shape[1], apart=layers is not None),
        attrs={"features": {name: known}} | ({"notes": [said]} if too_long else {}),
    )
    return averaged(signal, table, average)


@dataclass(frozen=True)
class _Asked:
    """What is asked of a model, whichever it is; `pool` None: what it says itself."""

    layers: Literal["all"] | tuple[int, ...] | None
    pool: Pool | None
    normalise: bool
    dtype: Dtype


def _check_settings(layers: Any, pool: Any, dtype: Any) -> None:
    if pool is not None and pool not in POOLS:
        raise SettingsError(
            f"pool is one of {', '.join(map(repr, POOLS))}, or None (as the model says); found {pool!r}"
        )
    if dtype not in get_args(Dtype):
        raise SettingsError(f"dtype is one of {', '.join(map(repr, get_args(Dtype)))}; found {dtype!r}")
    listed = list(layers) if isinstance(layers, Iterable) and not isinstance(layers, str) else []
    whole = all(isinstance(layer, (int, np.integer)) for layer in listed)
    if layers is not None and layers != "all" and (not listed or not whole or len(set(listed)) < len(listed)):
        raise SettingsError(
            "layers is None (the sentence embedding), 'all', or a list of different numbers such as [6]; found "
            f"{layers!r}"
        )


def _samples(table: pd.DataFrame, column: str) -> pd.DataFrame:
    if column in table:
        for row, cell in enumerate(table[column]):
            if isinstance(cell, (list, tuple, set, np.ndarray)):
                raise InputError(
                    f"row {row} has a {type(cell).__name__} of {len(cell)} under {column!r}: a row holds one text; "
                    f"table.explode({column!r}) gives each a row of its own"
                )
    samples = sample_each(table, column)
    empty = np.flatnonzero(samples["stimulus"] == "")
    if len(empty):
        raise InputError(f"row {empty[0]} has an empty {column}: leave such rows out")
    return samples.assign(**{column: samples["stimulus"]})


def _columns(name: str, layers: np.ndarray, n_columns: int, apart: bool) -> pd.DataFrame:
    width = n_columns // len(layers)
    bands = [f"{name}.{layer}" for layer in layers] if apart else [name]
    return pd.DataFrame(
        {
            "band": np.repeat(bands, width),
            "layer": np.repeat(layers, width),
            "unit": np.tile(np.arange(width), len(layers)),
        }
    )


def _begin(texts: list[str], found: ResolvedModel, recipe: Recipe, asked: _Asked, device: str) -> RowJob:
    """Load the model and cut the texts into tokens; nothing is computed yet."""
    model = load(found, device, asked.dtype, towers=True)
    own = recipe.pool if asked.layers is None or recipe.pool != "own" else "last"
    pool = asked.pool or own or ("last" if model.kind == "causal" else "mean")
    limit = min(filter(None, (recipe.max_tokens, limit_of(model))), default=None)
    tokens, left_out = _tokenize(model.tokenizer, texts, recipe, limit)
    if model.kind == "image-text":
        tokens = as_trained(model, tokens, limit)
    order = np.argsort([len(ids) for ids in tokens], kind="stable")  # texts of a length side by side
    shortest = _states(model, [tokens[order[0]]])
    n_states, width = len(shortest), int(shortest[-1].shape[-1])
    if pool == "own":
        width = int(projected(model, [tokens[order[0]]]).shape[-1])
    chosen = [n_states - 1] if asked.layers is None else choose_layers(asked.layers, n_states, found.name)
    parts = [order[part.start : part.stop] for part in parts_of([4 * width * len(chosen) / PART_BYTES] * len(texts))]
    lengths = np.array([len(ids) for ids in tokens])

    def compute(part: int) -> np.ndarray:
        rows = parts[part]
        block = np.empty((len(rows), width * len(chosen)), np.float32)

        def act(some: list[int]) -> None:
            block[some] = _vectors(model, [tokens[row] for row in rows[some]], chosen, pool, asked.normalise)

        in_batches(lengths[rows].tolist(), model.network, n_states * width, act)
        return block

    also = {
        "layers": np.array(chosen),
        "left_out": np.array(left_out),
        "pool": np.array(pool),
        "max_tokens": np.array(limit or 0),
    }
    what = f"reading {len(texts)} sentences with {found.name}"
    return RowJob((len(texts), width * len(chosen)), parts, compute, also, what)


def _tokenize(tokenizer: Any, texts: list[str], recipe: Recipe, limit: int | None) -> tuple[list[list[int]], list[int]]:
    """The token ids of every text, as many as are read, and how many are not."""
    written = [recipe.prompt + (text.lower() if recipe.lower else text) for text in texts]
    with quiet_transformers():  # what is too long is cut below, and said
        whole = tokenizer(written, truncation=False, padding=False, return_special_tokens_mask=True)
    tokens, special = whole["input_ids"], whole["special_tokens_mask"]
    for text, mask in zip(texts, special):
        if all(mask):
            raise InputError(f"sentence {text!r} has no token in this model's vocabulary: leave it out")
    left_out = [0] * len(texts)
    for row, ids in enumerate(tokens):
        if limit and len(ids) > limit:  # the tokenizer keeps the special tokens at both ends
            tokens[row] = tokenizer(written[row], truncation=True, max_length=limit, padding=False)["input_ids"]
            left_out[row] = len(ids) - len(tokens[row])
    return tokens, left_out


def _states(model: LanguageModel, batch: list[list[int]]) -> Any:
    return forward(model, batch, choose_pad(model.tokenizer), whole=False)[0]


def _vectors(
    model: LanguageModel, batch: list[list[int]], layers: Sequence[int], pool: Pool | Literal["own"], normalise: bool
) -> np.ndarray:
    """(n_texts, n_layers × width): the vectors of texts that are read together."""
    import torch

    if pool == "own":
        vectors = [projected(model, batch)]
    else:
        states = _states(model, batch)
        lengths = torch.tensor([[len(ids)] for ids in batch], device=states[0].device)
        mask = torch.arange(states[0].shape[1], device=lengths.device)[None, :] < lengths
        vectors = [pooled(states[layer], mask, pool) for layer in layers]
    if normalise:
        vectors = [torch.nn.functional.normalize(one, dim=-1) for one in vectors]
    return torch.cat(vectors, dim=1).cpu().numpy()
