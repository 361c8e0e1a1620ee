"""What came of some pictures, and where in them does each token lie?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# what the embeddings of transformers' models call the tokens that stand before the patches
CLASS_TOKENS = ("cls_token", "class_embedding")
OTHER_TOKENS = ("distillation_token", "register_tokens")


@dataclass(frozen=True)
class Layout:
    """How the tokens of a model's layers are ordered.

    Parameters
    ----------
    class_token : int or None
        Which token stands for the whole picture.
    n_special : int
        How many tokens stand before the patches: the class token, registers, a distillation token.
    patch : (int, int) or None
        Rows and columns of pixels of a patch.
    """

    class_token: int | None = None
    n_special: int = 0
    patch: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class States:
    """What a model made of some pictures.

    Parameters
    ----------
    layers : tuple of tensor
        Each (n, n_tokens, width), or (n, channels, rows, columns) where a layer is a stack of maps, or (n, width).
    grids : tuple of (rows, columns) or None
        How the patches of each layer lie in the picture, row by row from the upper left. None: that is not known.
    class_token : int or None
        Which token stands for the whole picture.
    n_special : int
        How many tokens stand before the patches.
    embedding : tensor (n, width), optional
        Of an image–text model: the projected picture, of length 1, which is compared with the projected text.
    image, prompt : bool tensor (n, n_tokens), optional
        Of a vision–language model: which tokens stand for the picture, and which for what else was said, the words of
        the chat's template too. Neither: padding.
    """

    layers: tuple[Any, ...]
    grids: tuple[tuple[int, int] | None, ...]
    class_token: int | None = None
    n_special: int = 0
    embedding: Any = None
    image: Any = None
    prompt: Any = None


def layout_of(network: Any) -> Layout:
    """The layout of a model of transformers, from the names of its parameters and its configuration."""
    counts = dict.fromkeys((*CLASS_TOKENS, *OTHER_TOKENS), 0)
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
    return Layout(0 if has_class else None, sum(counts.values()), (patch[0], patch[1]) if patch and whole else None)


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

    Examples
    --------
    >>> grid_of((1, 17, 32), pixels=(32, 32), layout=Layout(0, 1, (8, 8)))
    (4, 4)
    >>> grid_of((1, 6, 32), pixels=(32, 48), layout=Layout(None, 0, (8, 8)))
    (2, 3)
    >>> grid_of((1, 64, 7, 5), pixels=(224, 160), layout=Layout())
    (7, 5)
    """
    if len(shape) == 4:
        return int(shape[2]), int(shape[3])
    if len(shape) != 3 or layout.patch is None:
        return None
    rows, columns = pixels[0] // layout.patch[0], pixels[1] // layout.patch[1]
    wanted = shape[1] - layout.n_special
    while rows * columns > max(wanted, 1):
        rows, columns = -(-rows // 2), -(-columns // 2)
    return (rows, columns) if rows * columns == wanted else None
