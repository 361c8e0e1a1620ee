"""What came of some pictures, and where in them does each token lie?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from brainalign.errors import SettingsError

# what the embeddings of transformers' models call the tokens that stand before the patches
CLASS_TOKENS = ("cls_token", "class_embedding")
OTHER_TOKENS = ("distillation_token", "register_tokens")
TOKENS_BEHIND = ("detection_tokens",)  # and behind them


@dataclass(frozen=True)
class Layout:
    """How the tokens of a model's layers are ordered.

    Parameters
    ----------
    class_token : int or None
        Which token stands for the whole picture.
    n_special : int
        How many tokens stand before the patches: the class token, registers, a distillation token.
    n_behind : int
        How many stand behind them, such as those for objects that are to be found.
    patch : (int, int) or None
        Rows and columns of pixels of a patch.
    width : int or None
        Numbers of a token.
    """

    class_token: int | None = None
    n_special: int = 0
    n_behind: int = 0
    patch: tuple[int, int] | None = None
    width: int | None = None


@dataclass(frozen=True, eq=False)
class States:
    """What a model made of some pictures.

    Parameters
    ----------
    layers : tuple of tensor
        Each (n, n_tokens, width), or (n, channels, rows, columns) where a layer is a stack of maps, or (n, width).
    grids : tuple of (rows, columns) or None
        How the patches of each layer lie in the picture, row by row from the upper left. None: that is not known.
    layouts : tuple of Layout
        How the tokens of each layer are ordered; `Layout()` where all are patches, or that is not known.
    embedding : tensor (n, width), optional
        Of an image–text model: the projected picture, of length 1, which is compared with the projected text.
    image, prompt : bool tensor (n, n_tokens), optional
        Of a vision–language model: which tokens stand for the picture, and which for what else was said, the words of
        the chat's template too. Neither: padding.
    """

    layers: tuple[Any, ...]
    grids: tuple[tuple[int, int] | None, ...]
    layouts: tuple[Layout, ...]
    embedding: Any = None
    image: Any = None
    prompt: Any = None


def layout_of(network: Any) -> Layout:
    """The layout of a model of transformers, from the names of its parameters and its configuration."""
    counts = dict.fromkeys((*CLASS_TOKENS, *OTHER_TOKENS, *TOKENS_BEHIND), 0)
    for name, weight in getattr(network, "vision_model", network).named_parameters():
        module, _, last = name.rpartition(".")
        if last in counts and module.rpartition(".")[2] == "embeddings":
            counts[last] = weight.shape[1] if weight.dim() == 3 else 1
    has_class = any(counts[name] for name in CLASS_TOKENS)
    of = getattr(network.config, "vision_config", network.config)
    patch = getattr(of, "patch_stride", None) or getattr(of, "patch_size", None)
    if isinstance(patch, int):
        patch = (patch, patch)
    whole = isinstance(patch, Sequence) and len(patch) == 2 and all(isinstance(side, int) for side in patch)
    behind = sum(counts[name] for name in TOKENS_BEHIND)
    width = getattr(of, "hidden_size", None)
    return Layout(
        0 if has_class else None,
        sum(counts.values()) - behind,
        behind,
        (patch[0], patch[1]) if patch and whole else None,
        width if isinstance(width, int) else None,
    )


def laid_out(
    layers: Sequence[Any],
    names: Sequence[str],
    pixels: Sequence[int],
    layout: Layout,
    model: str,
    embedding: Any = None,
) -> States:
    """The layers of some pictures, each with how its tokens or maps lie.

    Parameters
    ----------
    layers : list of tensor
    names : list of str
        The modules that gave them; empty: they are the model's own layers.
    pixels : (n, 3, rows, columns)
        Shape of what the model saw.
    layout : Layout
        Of the model's own layers.
    model : str
        Its name, for errors.
    embedding : tensor (n, width), optional

    Raises
    ------
    SettingsError
        A layer that does not hold states of each picture, or whose axes cannot be told from each other.

    Examples
    --------
    >>> import torch
    >>> vit = Layout(class_token=0, n_special=1, patch=(8, 8))
    >>> laid_out([torch.zeros(2, 17, 24)], [], (2, 3, 32, 32), vit, "vit").grids
    ((4, 4),)
    """
    n, seen, own = pixels[0], pixels[-2:], not names
    turned, layouts = [], []
    for number, layer in enumerate(layers):
        name = f"{f'layer {number}' if own else f'module {names[number]!r}'} of model {model!r}"
        if not 2 <= layer.dim() <= 4 or len(layer) != n:
            raise SettingsError(
                f"{name} does not give states of each picture: of {n} it makes an array of {tuple(layer.shape)}; name "
                "another module, such as the one it is part of"
            )
        turned.append(channels_first(layer, seen, layout, own, name))
        layouts.append(layout_in(turned[-1].shape, seen, layout, own))
    grids = tuple(grid_of(layer.shape, seen, one) for layer, one in zip(turned, layouts))
    return States(tuple(turned), grids, tuple(layouts), embedding)


def layout_in(shape: Sequence[int], pixels: Sequence[int], layout: Layout, own: bool = True) -> Layout:
    """The layout of one layer: what modules in a network give may lack the tokens that do not stand for patches.

    Parameters
    ----------
    shape : (n, n_tokens, width), or another that has no tokens
    pixels : (rows, columns)
        Of what the model saw.
    layout : Layout
        Of the model's own layers.
    own : bool
        Whether it is one of the model's own layers, which have those tokens unless their number says otherwise. A
        module's output has them only where its number of tokens is that of the patches and them.

    Examples
    --------
    >>> dinov2 = Layout(class_token=0, n_special=1, patch=(8, 8))
    >>> [layout_in((1, n, 24), (32, 32), dinov2, own=False).n_special for n in (17, 16, 20)]
    [1, 0, 0]
    """
    n_others = layout.n_special + layout.n_behind
    if len(shape) != 3 or not n_others:
        return layout
    if layout.patch is None:  # a network of one's own, which takes squares: what was said of it holds if it can
        with_others, patches_alone = (math.isqrt(max(n, 0)) ** 2 == n for n in (shape[1] - n_others, shape[1]))
        fits = shape[1] > n_others and (with_others or not patches_alone)
    else:
        n_patches = (pixels[0] // layout.patch[0]) * (pixels[1] // layout.patch[1])
        fits, patches_alone = shape[1] == n_patches + n_others, shape[1] == n_patches
    return layout if fits or (own and not patches_alone and shape[1] > n_others) else Layout(patch=layout.patch)


def channels_first(layer: Any, pixels: Sequence[int], layout: Layout, own: bool, name: str) -> Any:
    """A stack of maps as (n, channels, rows, columns), which a transformer may have the other way round.

    Parameters
    ----------
    layer : tensor
    pixels : (rows, columns)
        Of what the model saw.
    layout : Layout
        Of the model.
    own : bool
        Whether it is one of the model's own layers.
    name : str
        Of the layer, for errors.

    Raises
    ------
    SettingsError
        Which axis is which cannot be seen by their lengths.

    Examples
    --------
    >>> import torch
    >>> channels_first(torch.zeros(1, 4, 4, 16), (32, 32), Layout(width=16), True, "layer 1").shape
    torch.Size([1, 16, 4, 4])
    """
    if layer.dim() != 4 or (layout.patch is None and layout.width is None):
        return layer
    shape, grids = tuple(layer.shape), _grids(pixels, layout)
    first = shape[1] == layout.width or shape[2:] in grids
    last = shape[3] == layout.width or shape[1:3] in grids
    if last and not first:
        return layer.permute(0, 3, 1, 2)
    if first and last and layout.width is not None:
        first, last = shape[1] == layout.width, shape[3] == layout.width
        if last and not first:
            return layer.permute(0, 3, 1, 2)
    if first != last or (own and layout.width is None):  # as transformers has maps
        return layer
    raise SettingsError(
        f"which axis of {name}, {shape}, are channels and which are rows and columns cannot be seen by their lengths: "
        "name another module, or choose another size"
    )


def _grids(pixels: Sequence[int], layout: Layout) -> list[tuple[int, int]]:
    """How patches may lie, those that are merged on the way too."""
    if layout.patch is None:
        return []
    rows, columns = pixels[0] // layout.patch[0], pixels[1] // layout.patch[1]
    grids = [(rows, columns)]
    while rows * columns > 1:
        rows, columns = -(-rows // 2), -(-columns // 2)
        grids.append((rows, columns))
    return grids


def grid_of(shape: Sequence[int], pixels: Sequence[int], layout: Layout) -> tuple[int, int] | None:
    """How the patches of a layer lie: rows and columns, row by row from the upper left; None where they are no grid.

    A transformer that merges its patches on the way halves the grid, rounding up.

    Parameters
    ----------
    shape : (n, n_tokens, width) or (n, channels, rows, columns)
        Of the layer.
    pixels : (rows, columns)
        Of what the model saw.
    layout : Layout
        Of this layer (`layout_in`).

    Examples
    --------
    >>> grid_of((1, 17, 32), pixels=(32, 32), layout=Layout(class_token=0, n_special=1, patch=(8, 8)))
    (4, 4)
    >>> grid_of((1, 6, 32), pixels=(32, 48), layout=Layout(patch=(8, 8)))
    (2, 3)
    >>> grid_of((1, 64, 7, 5), pixels=(224, 160), layout=Layout())
    (7, 5)
    """
    if len(shape) == 4:
        return int(shape[2]), int(shape[3])
    if len(shape) != 3 or layout.patch is None:
        return None
    wanted = shape[1] - layout.n_special - layout.n_behind
    return next((grid for grid in _grids(pixels, layout) if grid[0] * grid[1] == wanted), None)
