"""What does a vision model make of each picture?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from brainalign.features.describing import Described, Describer, Unreadable, describe, piece_of
from brainalign.features.efficientnet import MODEL_TYPE, PACKAGE
from brainalign.features.loading import Dtype, ResolvedModel
from brainalign.features.models import locate_model, settled_config
from brainalign.features.modules import VisionModule, check_unchanged, resized
from brainalign.features.pictures import pictures_of
from brainalign.features.preprocessing import preprocessing_of
from brainalign.features.reader import choose_layers
from brainalign.features.seeing import describer, open_model
from brainalign.features.viewing import Asked, Pool, check_asked, columns_of
from brainalign.progress import Progress, silent
from brainalign.provenance import versions
from brainalign.scratch import span_of
from brainalign.signals import Signal
from brainalign.store import Store

METHOD = 1  # counts up when the same settings would give other numbers


def embed_images(
    images: Any,
    model: str | Path | ResolvedModel | VisionModule = "dinov2-small-derived",
    layers: Literal["all"] | Sequence[int] | Sequence[str] | None = "all",
    *,
    pool: Pool = "mean",
    grid: int = 4,
    size: int | None = None,
    reduce: Any = None,
    prompt: str | None = None,
    column: str = "stim_file",
    root: str | Path | None = None,
    unreadable: Unreadable = "error",
    name: str | None = None,
    device: str = "auto",
    dtype: Dtype = "float32",
    store: Store | None = None,
    progress: Progress = silent,
) -> Signal:
    """The hidden states of a vision model for every picture, all layers from one pass.

    Parameters
    ----------
    images : DataFrame, list of paths, array, list of arrays, or Pictures
        Events that name a file each under `column`, files, arrays (`pictures_of`), or the frames of a film
        (`read_film`). Each different picture is seen once.
    model : str, path, ResolvedModel or VisionModule
        A card's name, a folder, a Hugging Face id, what `untrained` gives, or a torch module of your own
        (`vision_module`). Of transformers: vision models, image–text models (their vision tower), and vision–language
        models, which also read a `prompt`.
    layers : "all", list of int, list of str, or None
        Numbers: 0 is the embedding, L the last block, as in transformers' `hidden_states` (what follows the last block,
        a final norm, is not in it); of a convolutional card 0 is the stem. Names: modules of the network, whose outputs
        are taken by forward hooks. None: the one vector of an image–text model, projected and of length 1, which is
        compared with the texts of `embed_sentences`.
    pool : {"mean", "class", "grid", "tokens", "last"}
        What becomes of the places of a layer. "mean": over the picture, without class token and registers (over all
        tokens of a module whose number of them is not the model's); of a vision–language model over the picture's
        tokens. "class": the class token. "grid": means within `grid` × `grid`
        tiles. "tokens": everything, place by place. "last": the last token of a vision–language model, which has seen
        the picture and the prompt. A layer without places (n, width) is taken as it is.
    grid : int
        Rows, and columns, of tiles for ``pool="grid"``.
    size : int, optional
        Pixels of each side that the model sees instead of its own size; position embeddings are interpolated.
    reduce : optional
        `random_projection(n)` or `incremental_pca(n)`: fewer numbers of each layer, before anything is kept. Within
        folds, `encode` has `pca`.
    prompt : str, optional
        What a vision–language model is asked about each picture.
    column, root : str, path
        Which column of events names the files, and what the names are relative to; in BIDS "stim_file" and the folder
        `stimuli`.
    unreadable : {"error", "censor"}
        What becomes of a picture that cannot be read: an error that names it, or NaN and `use` False. What was computed
        before an error stays in the store.
    name : str, optional
        What the bands are called; default the model's name.
    device : str
        What torch calls it; "auto" is the first GPU, else the CPU.
    dtype : {"float32", "float16", "bfloat16"}
        Of the model's weights and arithmetic; what is kept is float32.
    store : Store, optional
        Where the states are kept, part by part, and found again for the same model, settings and pictures, first shown
        in the same order (how often makes no difference). Memory does not grow with the number of pictures.
    progress : function (done, total, what), optional
        Told after each part.

    Returns
    -------
    Signal
        (n_samples, sum of the layers' widths) float32; samples as the pictures have them; columns have `band`
        ("name.layer"), `layer`, `unit`; the units of "grid" and "tokens" are ordered by place, then channel.
        ``attrs["features"][name]`` says how they were made: `model`, `revision`, `preprocessing`, `size`, `pool`,
        `reduce` and what it kept (`kept`), `prompt`, `dtype`, `modules`.

    Raises
    ------
    InputError
        Pictures that are not there or cannot be read, a model that cannot be loaded.
    SettingsError
        A layer, a size, a pooling or a prompt the model does not have, no vision model, or none of that name; a network
        of your own that was changed since.

    Examples
    --------
    >>> import torch
    >>> from brainalign.features.modules import vision_module
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 8, 3))
    >>> tiny = vision_module(network.eval(), ["1", "2"], size=16, name="tiny")
    >>> embed_images(np.zeros((3, 20, 20, 3), np.uint8), tiny)
    Signal(3 samples × 12 columns; 1 run; 0.0–2.0 s; bands tiny.0, tiny.1)
    """
    asked = check_asked(layers, pool, grid, reduce, prompt, dtype)
    pictures = pictures_of(images, column, root)
    found = model if isinstance(model, (ResolvedModel, VisionModule)) else locate_model(model, sense="pictures")
    if isinstance(found, VisionModule):
        check_unchanged(found)
        prepared = resized(found, size)
    else:
        prepared = preprocessing_of(found, size)
    key = partial(_key, found, prepared.describe())
    kept = asked
    if store is not None and asked.numbers:
        whole = replace(asked, layers="all")
        kept = whole if store.has(piece_of(pictures, key(whole))) else asked

    def begin() -> Describer:
        model = open_model(found, device, dtype, size)
        return describer(model, pictures, kept, unreadable, store, key(kept))

    described = describe(
        pictures, begin, key(kept), f"seeing with {found.name}", unreadable=unreadable, store=store, progress=progress
    )
    name = name or found.name
    if kept is not asked and asked.numbers:
        described = _some_layers(described, choose_layers(asked.numbers, len(described.also["layers"]), found.name))
    known = _known(found, prepared.describe(), asked, described.also)
    return described.signal(_columns(name, described.also, asked), {name: known}, _notes(asked, name))


def _key(found: ResolvedModel | VisionModule, preprocessing: Mapping[str, Any], asked: Asked) -> dict[str, Any]:
    """All that the numbers depend on but the pictures."""
    made_by = {package: version.split(".")[0] for package, version in versions("torch", "transformers").items()}
    if isinstance(found, ResolvedModel) and settled_config(found).get("model_type") == MODEL_TYPE:
        made_by |= versions(PACKAGE)
    if asked.reduce is not None:
        made_by |= {name: ".".join(v.split(".")[:2]) for name, v in versions("scikit-learn").items()}
    return {
        "kind": "images",
        "method": METHOD,
        "model": found.revision,
        "tokenizer": found.tokenizer if asked.prompt and isinstance(found, ResolvedModel) else None,
        "preprocessing": preprocessing,
        "layers": asked.layers,
        "versions": made_by,
        **asked.described(),
    }


def _some_layers(described: Described, layers: Sequence[int]) -> Described:
    """Some layers of what is kept of all of them."""
    widths = described.also["widths"]
    ends = np.cumsum(widths)
    taken = np.concatenate([np.arange(ends[layer] - widths[layer], ends[layer]) for layer in layers])
    also = {name: array[list(layers)] if len(array) else array for name, array in described.also.items()}
    return replace(described, values=described.values[:, span_of(taken)], also=also)


def _columns(name: str, also: Mapping[str, np.ndarray], asked: Asked) -> pd.DataFrame:
    numbers, widths = also["layers"].tolist(), also["widths"].tolist()
    if asked.layers is None:
        return columns_of([name], numbers, widths).drop(columns="layer")
    return columns_of([f"{name}.{one}" for one in asked.names or numbers], numbers, widths)


def _known(
    found: ResolvedModel | VisionModule, preprocessing: Mapping[str, Any], asked: Asked, also: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """How they were made, for those who read results."""
    known = {
        "kind": "vision",
        "model": found.name,
        "revision": found.revision,
        "preprocessing": preprocessing["settings"],
        "size": preprocessing["size"],
        **asked.described(),
    }
    if len(also["modules"]):
        known["modules"] = also["modules"].tolist()
    if asked.reduce is not None:
        known["kept"] = [round(float(share), 4) for share in also["kept"]]
    return known


def _notes(asked: Asked, name: str) -> list[str]:
    if asked.reduce is None or asked.reduce.method != "incremental PCA" or asked.reduce.fit_on is not None:
        return []
    return [
        f"{name}: its components were found in all pictures, those that are held out among them; fit_on= names others"
    ]
