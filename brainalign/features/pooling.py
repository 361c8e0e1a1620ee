"""What becomes of a sentence's tokens: how are their states made one vector, and what does a model's folder ask for?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from brainalign.errors import InputError, SettingsError
from brainalign.features.beside import read_beside
from brainalign.features.loading import IMAGE_TEXT, ResolvedModel

Pool = Literal["mean", "first", "last", "max"]
POOLS: tuple[Pool, ...] = ("mean", "first", "last", "max")

# sentence-transformers' names: one word since its version 5, a flag for each before
MODES: dict[str, Pool] = {
    "mean": "mean",
    "cls": "first",
    "lasttoken": "last",
    "max": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "first",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_max_tokens": "max",
}
MODULES = ("Transformer", "Pooling", "Normalize")
# the file was named after the architecture once
LIMITS = tuple(f"sentence_{kind}_config.json" for kind in ("bert", "roberta", "distilbert", "albert", "xlm-roberta"))


@dataclass(frozen=True)
class Recipe:
    """How a sentence encoder wants to be used, as sentence-transformers writes it beside the weights.

    Parameters
    ----------
    pool : {"mean", "first", "last", "max", "own"}, optional
        Of the tokens' last states; "own": an image–text model does it itself, and projects what comes. None where the
        folder says nothing.
    normalise : bool
        Whether the vector is divided by its length.
    max_tokens : int, optional
        How much of a sentence is read, special tokens included.
    lower : bool
        Whether it is written in lower case first.
    prompt : str
        What is put before every sentence.
    """

    pool: Pool | Literal["own"] | None = None
    normalise: bool = False
    max_tokens: int | None = None
    lower: bool = False
    prompt: str = ""


def recipe_of(model: ResolvedModel) -> Recipe:
    """What a model's folder says of how sentences are embedded with it.

    Read are `modules.json`, the configuration of its pooling, `sentence_bert_config.json` and the default prompt. A
    model without `modules.json` is no sentence encoder: nothing is asked for, but of an image–text model its own
    embedding of a text, of length 1.

    Raises
    ------
    SettingsError
        It asks for something brainalign does not do: a module such as Dense, a pooling other than the four, several at
        once. Or its files cannot be seen without a network.
    InputError
        A file that is not what sentence-transformers writes.

    Examples
    --------
    >>> from brainalign.features.models import locate_model
    >>> recipe_of(locate_model("stories260k")).pool is None
    True
    """
    modules = read_beside(model, "modules.json", list)
    if modules is None:
        has_towers = (read_beside(model, "config.json", dict) or {}).get("model_type") in IMAGE_TEXT
        return Recipe(pool="own", normalise=True) if has_towers else Recipe()
    steps = [(str(m.get("type", "")).rpartition(".")[2], str(m.get("path", ""))) for m in modules]
    kinds = tuple(kind for kind, _ in steps)
    if kinds not in (MODULES, MODULES[:2]) or steps[0][1]:
        raise SettingsError(
            f"model {model.name!r} makes its sentence embedding by {', '.join(kinds) or 'nothing'} (modules.json): "
            "brainalign does Transformer, Pooling and Normalize, the first in the folder itself; choose another model"
        )
    limits = next(filter(None, (read_beside(model, name, dict) for name in LIMITS)), {})
    general = read_beside(model, "config_sentence_transformers.json", dict) or {}
    pooling = read_beside(model, f"{steps[1][1]}/config.json", dict)
    if pooling is None:
        raise InputError(f"model {model.name!r} lacks {steps[1][1]}/config.json, which its modules.json names")
    prompt = (general.get("prompts") or {}).get(general.get("default_prompt_name"), "")
    if prompt and not pooling.get("include_prompt", True):
        raise SettingsError(
            f"model {model.name!r} puts {prompt!r} before every sentence and leaves it out of the mean (include_prompt "
            "is false), which brainalign does not do: choose another model"
        )
    return Recipe(
        pool=_pool_of(pooling, model.name),
        normalise="Normalize" in kinds,
        max_tokens=limits.get("max_seq_length"),
        lower=bool(limits.get("do_lower_case", False)),
        prompt=str(prompt),
    )


def _pool_of(config: Mapping[str, Any], name: str) -> Pool:
    said = config.get("pooling_mode") or [
        mode for mode, on in config.items() if on and str(mode).startswith("pooling_mode_")
    ]
    modes = [said] if isinstance(said, str) else list(said)
    if len(modes) != 1 or modes[0] not in MODES:
        raise SettingsError(
            f"model {name!r} pools its tokens by {' and '.join(map(str, modes)) or 'nothing'}: brainalign does one of "
            "mean, cls, lasttoken and max; choose another model"
        )
    return MODES[modes[0]]


def pooled(states: Any, mask: Any, pool: Pool) -> Any:
    """One vector per sentence from its tokens' states.

    Parameters
    ----------
    states : tensor (n_sentences, longest, width)
    mask : bool tensor (n_sentences, longest)
        False where a sentence is padded, on its right.
    pool : {"mean", "first", "last", "max"}
        The mean over its tokens, the first or last one's state, or every unit's largest value.

    Returns
    -------
    tensor (n_sentences, width), float32

    Examples
    --------
    >>> import torch
    >>> states, mask = torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[True, True, False]])
    >>> [pooled(states, mask, pool).item() for pool in ("mean", "first", "last", "max")]
    [2.0, 1.0, 3.0, 3.0]
    """
    states, inside = states.float(), mask.unsqueeze(-1)
    if pool == "mean":
        return states.masked_fill(~inside, 0).sum(1) / inside.sum(1)
    if pool == "max":
        return states.masked_fill(~inside, -float("inf")).amax(1)
    place = mask.sum(1) - 1 if pool == "last" else mask.sum(1) * 0
    return states.take_along_dim(place.view(-1, 1, 1), dim=1).squeeze(1)
