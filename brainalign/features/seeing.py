"""How do pictures become the numbers that are asked for, batch by batch?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from brainalign.errors import SettingsError
from brainalign.features.describing import Describer, Unreadable, batches, different, piece_of
from brainalign.features.loading import Dtype, ResolvedModel
from brainalign.features.modules import VisionModule, placed, preparing, resized
from brainalign.features.pictures import Pictures
from brainalign.features.reader import choose_layers
from brainalign.features.reducing import Components, Projection, Reduce, Whole, draw, find
from brainalign.features.viewing import Asked, pooled
from brainalign.features.vision import States, VisionModel, load_vision, see
from brainalign.store import Store

BATCH = 16  # pictures that are seen together
GREY = np.full((64, 64, 3), 128, np.uint8)  # what a model is tried out on
SAMPLE = 64  # pictures in which it is looked how much a reduction keeps

Look = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


def open_model(
    found: ResolvedModel | VisionModule, device: str = "auto", dtype: Dtype = "float32", size: int | None = None
) -> VisionModel:
    """A model that was found, or a network of one's own, ready to see."""
    if isinstance(found, ResolvedModel):
        return load_vision(found, device, dtype, size)
    prepared = resized(found, size)
    network = placed(found, device, dtype)
    return VisionModel(found.name, "modules", network, prepared, preparing(prepared), found.layout, found.layers)


def describer(
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
    if asked.numbers is None:
        return (list(range(len(asked.names))), list(asked.names)) if asked.names else ([-1], None)
    n_layers = len(model.names) or len(see(model, [GREY], asked.prompt).layers)
    numbers = choose_layers(asked.numbers, n_layers, model.name)
    return numbers, [model.names[number] for number in numbers] if model.names else None


def _projected(states: States, name: str) -> np.ndarray:
    if states.embedding is None:
        raise SettingsError(
            f"layers=None is the vector that an image–text model compares with texts, and {name!r} is none: "
            "use layers='all', or a list"
        )
    return states.embedding.float().cpu().numpy()


def _some(
    pictures: Pictures, first: np.ndarray, look: Callable[..., list[np.ndarray]], unreadable: Unreadable
) -> list[np.ndarray]:
    """The layers of a few pictures, by which it is said what a reduction keeps."""
    parts: list[list[np.ndarray]] = []
    for _, batch in batches(pictures, first, BATCH, unreadable):
        parts.append(look(batch))
        if sum(len(part[0]) for part in parts) >= SAMPLE:
            break
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
