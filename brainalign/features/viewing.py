"""What is asked of a vision model, and what becomes of each of its layers?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from brainalign.errors import SettingsError
from brainalign.features.loading import Dtype
from brainalign.features.reducing import Reduce
from brainalign.store import key_of

if TYPE_CHECKING:
    from brainalign.features.layout import Layout, States

Pool = Literal["mean", "class", "grid", "tokens", "last"]
POOLS = get_args(Pool)


@dataclass(frozen=True)
class Asked:
    """What is asked of a model, whichever it is.

    Parameters
    ----------
    layers : None, "all", tuple of int or tuple of str
        None: one vector per picture that is compared with texts; numbers; names of modules.
    pool : str
        What becomes of the places of a layer.
    grid : int
        Rows, and columns, of places that stay with ``pool="grid"``.
    reduce : Reduce or None
    prompt : str or None
    dtype : str
    """

    layers: Literal["all"] | tuple[int, ...] | tuple[str, ...] | None
    pool: Pool
    grid: int
    reduce: Reduce | None
    prompt: str | None
    dtype: Dtype

    @property
    def numbers(self) -> Literal["all"] | tuple[int, ...] | None:
        """The layers where they are chosen by number, else None."""
        if self.layers is None or isinstance(self.layers, str):
            return self.layers
        return tuple(layer for layer in self.layers if isinstance(layer, int)) or None

    @property
    def names(self) -> tuple[str, ...]:
        """The layers where they are modules that were named."""
        return tuple(layer for layer in self.layers or () if isinstance(layer, str) and self.layers != "all")

    def described(self) -> dict[str, Any]:
        """As JSON, for keys and for those who read results; the pictures of `fit_on` by a hash of their digests.

        In the order in which they were first shown, on which components that are found part by part depend.
        """
        reduce = self.reduce
        return {
            "pool": f"grid {self.grid} × {self.grid}" if self.pool == "grid" else self.pool,
            "reduce": None
            if reduce is None
            else {
                "method": reduce.method,
                "n": reduce.n,
                "seed": reduce.seed,
                "fit_on": None
                if reduce.fit_on is None
                else key_of(pictures=list(dict.fromkeys(reduce.fit_on.digests))),
            },
            "prompt": self.prompt,
            "dtype": self.dtype,
        }


def check_asked(layers: Any, pool: Any, grid: Any, reduce: Any, prompt: Any, dtype: Any) -> Asked:
    """What may be asked of a vision model.

    Raises
    ------
    SettingsError
        Something that no model has.
    """
    if pool not in POOLS:
        raise SettingsError(f"pool is one of {', '.join(map(repr, POOLS))}; found {pool!r}")
    if isinstance(grid, bool) or not isinstance(grid, (int, np.integer)) or grid < 1:
        raise SettingsError(f"grid is how many rows and columns of places stay, 1 or more; found {grid!r}")
    if reduce is not None and not isinstance(reduce, Reduce):
        raise SettingsError(
            f"reduce is random_projection(n), incremental_pca(n) or None; found {reduce!r}. A pca within folds is for "
            "encode(within_fold=...)"
        )
    if prompt is not None and (not isinstance(prompt, str) or not prompt.strip()):
        raise SettingsError(f"prompt is what a vision–language model is asked about each picture; found {prompt!r}")
    if dtype not in get_args(Dtype):
        raise SettingsError(f"dtype is one of {', '.join(map(repr, get_args(Dtype)))}; found {dtype!r}")
    return Asked(_layers(layers), pool, int(grid), reduce, prompt, dtype)


def _layers(layers: Any) -> Any:
    if layers is None or (isinstance(layers, str) and layers == "all"):
        return layers
    listed = list(layers) if isinstance(layers, Iterable) and not isinstance(layers, str) else []
    numbers = all(isinstance(one, (int, np.integer)) and not isinstance(one, bool) for one in listed)
    names = all(isinstance(one, str) for one in listed)
    if not listed or not (numbers or names) or len(set(listed)) < len(listed):
        raise SettingsError(
            "layers is 'all', a list of different numbers such as [6], a list of different names of modules such as "
            f"['layer3.0.conv1'], or None (the one vector of an image–text model); found {layers!r}"
        )
    return tuple(map(int, listed)) if numbers else tuple(listed)


def pooled(states: States, number: int, asked: Asked, name: str) -> Any:
    """(n, width) float32 tensor: what is kept of one layer.

    Raises
    ------
    SettingsError
        The layer has no such places.
    """
    layer, layout = states.layers[number], states.layouts[number]
    if layer.dim() == 2:
        return layer.float()
    if asked.pool == "tokens":
        return (layer if layer.dim() == 3 else layer.permute(0, 2, 3, 1)).flatten(1).float()
    if asked.pool == "class":
        if layout.class_token is None or layer.dim() != 3:
            raise SettingsError(
                f"model {name!r} has no class token in a layer of {tuple(layer.shape[1:])}, which is of patches alone, "
                "or of tokens in an order that is not known: use pool='mean'"
            )
        return layer[:, layout.class_token].float()
    if asked.pool == "last":
        if states.prompt is None:
            raise SettingsError(f"pool='last' is for vision–language models, and {name!r} is none: use pool='mean'")
        return _last(layer, states.image | states.prompt).float()
    if asked.pool == "grid":
        return _gridded(layer, states.grids[number], layout, asked.grid, name).flatten(1)
    if states.image is not None:
        seen = states.image[..., None].float()  # a sum of hundreds of tokens may be more than float16 can hold
        return (layer.float() * seen).sum(1) / seen.sum(1)
    return layer.float().mean((2, 3)) if layer.dim() == 4 else _patches(layer, layout).float().mean(1)


def _patches(layer: Any, layout: Layout) -> Any:
    return layer[:, layout.n_special : layer.shape[1] - layout.n_behind]


def _last(layer: Any, there: Any) -> Any:
    """The state of the last token, whichever side a batch was padded on."""
    import torch

    places = torch.arange(layer.shape[1], device=layer.device)
    last = torch.where(there, places, -1).max(dim=1).values
    return layer[torch.arange(len(layer), device=layer.device), last]


def _gridded(layer: Any, shape: tuple[int, int] | None, layout: Layout, grid: int, name: str) -> Any:
    """(n, grid, grid, width): means over neighbouring places."""
    import torch

    if shape is None:
        raise SettingsError(f"how the tokens of model {name!r} lie in the picture is not known: use pool='mean'")
    if grid > min(shape):
        raise SettingsError(
            f"a layer of model {name!r} has {shape[0]} × {shape[1]} places, fewer than grid={grid}: choose "
            f"{min(shape)} at most, or pool='mean'"
        )
    maps = layer.float()
    if layer.dim() == 3:
        maps = _patches(maps, layout).transpose(1, 2).unflatten(2, shape)
    return torch.nn.functional.adaptive_avg_pool2d(maps, grid).permute(0, 2, 3, 1)


def columns_of(bands: Sequence[str], layers: Sequence[int], widths: Sequence[int]) -> pd.DataFrame:
    """One row per column: `band`, `layer`, `unit` (its number within the layer).

    Examples
    --------
    >>> columns_of(["a.0", "a.5"], [0, 5], [2, 1]).values.tolist()
    [['a.0', 0, 0], ['a.0', 0, 1], ['a.5', 5, 0]]
    """
    return pd.DataFrame(
        {
            "band": np.repeat(list(bands), widths),
            "layer": np.repeat(list(layers), widths),
            "unit": np.concatenate([np.arange(width) for width in widths]),
        }
    )
