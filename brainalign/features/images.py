"""What does a vision model make of each picture?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from brainalign.errors import SettingsError
from brainalign.features.describing import (
    Described,
    Describer,
    Unreadable,
    batches,
    describe,
    different,
    piece_of,
)
from brainalign.features.loading import Dtype, ResolvedModel
from brainalign.features.models import locate_model
from brainalign.features.modules import VisionModule, placed, preparing, resized
from brainalign.features.pictures import Pictures, pictures_of
from brainalign.features.preprocessing import preprocessing_of
from brainalign.features.reader import choose_layers
from brainalign.features.reducing import Components, Projection, Reduce, Whole, draw, find
from brainalign.features.viewing import Asked, Pool, check_asked, columns_of, pooled
from brainalign.features.vision import States, VisionModel, load_vision, see
from brainalign.progress import Progress, silent
from brainalign.provenance import versions
from brainalign.signals import Signal
from brainalign.store import Store

METHOD = 1  # counts up when the same settings would give other numbers
BATCH = 16  # pictures that are seen together
GREY = np.full((64, 64, 3), 128, np.uint8)  # what a model is tried out on
SAMPLE = 64  # pictures in which it is looked how much a reduction keeps


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
        What becomes of the places of a layer. "mean": over the picture, without class token and registers; of a
        vision–language model over the picture's tokens. "class": the class token. "grid": means within `grid` × `grid`
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
        Where the states are kept, part by part, and found again for the same pictures, model and settings, in whatever
        order they are shown. Memory does not grow with the number of pictures.
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
        A layer, a size, a pooling or a prompt the model does not have, no vision model, or none of that name.

    Examples
    --------
    >>> import torch
    >>> from brainalign.features.modules import vision_module
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 8, 3))
    >>> tiny = vision_module(network, ["1", "2"], size=16, name="tiny")
    >>> embed_images(np.zeros((3, 20, 20, 3), np.uint8), tiny)
    Signal(3 samples × 12 columns; 1 run; 0.0–2.0 s; bands tiny.0, tiny.1)
    """
    asked = check_asked(layers, pool, grid, reduce, prompt, dtype)
    pictures = pictures_of(images, column, root)
    found = model if isinstance(model, (ResolvedModel, VisionModule)) else locate_model(model, sense="pictures")
    prepared = resized(found, size) if isinstance(found, VisionModule) else preprocessing_of(found, size)
    key = partial(_key, found, prepared.describe())
    kept = asked
    if store is not None and _are_numbers(asked.layers):
        whole = replace(asked, layers="all")
        kept = whole if store.has(piece_of(pictures, key(whole))) else asked

    def begin() -> Describer:
        model = open_model(found, device, dtype, size)
        return _describer(model, pictures, kept, unreadable, store, key(kept))

    described = describe(
        pictures, begin, key(kept), f"seeing with {found.name}", unreadable=unreadable, store=store, progress=progress
    )
    name = name or found.name
    columns = _columns(name, described.also, asked.layers)
    if kept is not asked:
        chosen = choose_layers(asked.layers, len(described.also["layers"]), found.name)
        described, columns = _some_layers(described, columns, chosen)
    known = _known(found, prepared.describe(), asked, described.also)
    return described.signal(columns, {name: known}, _notes(asked, name))


def open_model(
    found: ResolvedModel | VisionModule, device: str = "auto", dtype: Dtype = "float32", size: int | None = None
) -> VisionModel:
    """A model of transformers, a card's, or a module of one's own, ready to see."""
    if isinstance(found, ResolvedModel):
        return load_vision(found, device, dtype, size)
    prepared = resized(found, size)
    network = placed(found, device, dtype)
    return VisionModel(found.name, "convolutional", network, prepared, preparing(prepared), names=found.layers)


def _key(found: ResolvedModel | VisionModule, preprocessing: Mapping[str, Any], asked: Asked) -> dict[str, Any]:
    """All that the numbers depend on but the pictures."""
    packages = versions("torch", "transformers")
    return {
        "kind": "images",
        "method": METHOD,
        "model": found.revision,
        "tokenizer": found.tokenizer if asked.prompt and isinstance(found, ResolvedModel) else None,
        "preprocessing": preprocessing,
        "layers": asked.layers,
        "versions": {package: version.split(".")[0] for package, version in packages.items()},
        **asked.described(),
    }


def _are_numbers(layers: Any) -> bool:
    return isinstance(layers, tuple) and isinstance(layers[0], int)


def _describer(
    model: VisionModel, pictures: Pictures, asked: Asked, unreadable: Unreadable, store: Store | None, key: Any
) -> Describer:
    """Choose the layers, learn how wide they are, and find or draw what reduces them."""
    layers, names = _choose(model, asked)

    def look(batch: Sequence[np.ndarray]) -> list[np.ndarray]:
        """(n, width) of each layer."""
        states = see(model, batch, asked.prompt, names)
        if asked.layers is None:
            return [_projected(states, model.name)]
        places = range(len(layers)) if names is not None else layers
        return [pooled(states, place, asked, model.name).cpu().numpy() for place in places]

    _, first = different(pictures)
    some = _some(pictures, first, look, unreadable) if asked.reduce else look([GREY])
    steps: list[Projection] = [Whole() for _ in some]
    also = {"layers": np.array(layers), "modules": np.array(names or [], str)}
    if asked.reduce is not None:
        steps = _steps(asked.reduce, some, pictures, look, unreadable, store, key)
        also["kept"] = np.array([_kept(step, layer) for step, layer in zip(steps, some, strict=True)])
    widths = [step.apply(layer[:1]).shape[1] for step, layer in zip(steps, some, strict=True)]

    def act(batch: list[np.ndarray]) -> np.ndarray:
        found = [step.apply(layer) for step, layer in zip(steps, look(batch), strict=True)]
        _check_widths([one.shape[1] for one in found], widths, model.name)
        return np.concatenate(found, axis=1)

    return Describer(sum(widths), act, BATCH, {**also, "widths": np.array(widths)})


def _choose(model: VisionModel, asked: Asked) -> tuple[list[int], list[str] | None]:
    """The numbers of the layers, and the modules they are where they are outputs of modules."""
    if asked.layers is None:
        return [-1], None
    if asked.layers != "all" and not _are_numbers(asked.layers):
        return list(range(len(asked.layers))), [str(layer) for layer in asked.layers]
    own = model.names
    n_layers = len(own) if own else len(see(model, [GREY], asked.prompt).layers)
    numbers = choose_layers(asked.layers, n_layers, model.name)
    return numbers, [own[number] for number in numbers] if own else None


def _projected(states: States, name: str) -> np.ndarray:
    if states.embedding is None:
        raise SettingsError(
            f"layers=None is the vector that an image–text model compares with texts, and {name!r} is none: use "
            "layers='all', or a list"
        )
    return states.embedding.float().cpu().numpy()


def _some(
    pictures: Pictures, first: np.ndarray, look: Callable[..., list[np.ndarray]], unreadable: Unreadable
) -> list[np.ndarray]:
    """The layers of a few pictures, by which it is said what a reduction keeps."""
    parts = [look(batch) for _, batch in batches(pictures, first[:SAMPLE], BATCH, unreadable)]
    if not parts:
        next(pictures.read(first[:1].tolist()))  # says what is wrong with it
    return [np.concatenate(layer) for layer in zip(*parts)]


def _steps(
    reduce: Reduce,
    some: list[np.ndarray],
    pictures: Pictures,
    look: Callable[..., list[np.ndarray]],
    unreadable: Unreadable,
    store: Store | None,
    key: Any,
) -> list[Projection]:
    """What reduces each layer; components are kept in the store too, so that they are found once."""
    if reduce.method == "random projection":
        return [draw(reduce, layer.shape[1]) for layer in some]
    fit_on = pictures if reduce.fit_on is None else reduce.fit_on
    _, first = different(fit_on)

    def fit() -> dict[str, np.ndarray]:
        found = find((look(batch) for _, batch in batches(fit_on, first, BATCH, unreadable)), reduce.n)
        return {f"{kind}.{k}": array for k, one in enumerate(found) for kind, array in one.items()}

    if store is None:
        arrays: Mapping[str, np.ndarray] = fit()
    else:
        about = {"what": f"components of {len(first)} pictures"}
        arrays = store.compute(piece_of(fit_on, {"components": key}), fit, meta=about).arrays
    return [
        Components(arrays[f"axes.{k}"], arrays[f"mean.{k}"]) if f"axes.{k}" in arrays else Whole()
        for k in range(len(some))
    ]


def _kept(step: Projection, layer: np.ndarray) -> float:
    """The share of the variance that a reduction keeps, over some pictures."""
    before, after = (float(x.var(axis=0, dtype=np.float64).sum()) for x in (layer, step.apply(layer)))
    return after / before if before > 0 else 1.0


def _check_widths(found: list[int], widths: list[int], name: str) -> None:
    if found != widths:
        raise SettingsError(
            f"model {name!r} makes {found[0]:,} numbers of one picture and {widths[0]:,} of another, which is of "
            "another shape: use pool='mean' or 'grid', or a size"
        )


def _some_layers(described: Described, columns: pd.DataFrame, layers: Sequence[int]) -> tuple[Described, pd.DataFrame]:
    """Some layers of what is kept of all of them."""
    also = described.also
    ends = np.cumsum(also["widths"])
    taken = np.concatenate([np.arange(ends[layer] - also["widths"][layer], ends[layer]) for layer in layers])
    values = described.values[:, taken[0] : taken[-1] + 1] if (np.diff(taken) == 1).all() else described.values[:, taken]
    some = {name: array[list(layers)] if len(array) == len(ends) else array for name, array in also.items()}
    return replace(described, values=values, also=some), columns.iloc[taken].reset_index(drop=True)


def _columns(name: str, also: Mapping[str, np.ndarray], layers: Any) -> pd.DataFrame:
    numbers, widths = also["layers"].tolist(), also["widths"].tolist()
    if layers is None:
        return columns_of([name], numbers, widths).drop(columns="layer")
    named = also["modules"].tolist() if layers != "all" and not _are_numbers(layers) else numbers
    return columns_of([f"{name}.{one}" for one in named], numbers, widths)


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
