"""What does a language model have to be given, and what does it give?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from brainalign.errors import SettingsError
from brainalign.features.loading import LanguageModel

CAUSAL_TOLERANCE = 1e-4  # relative; a model that reads ahead changes its states by the order of 1


@dataclass(frozen=True)
class Special:
    """What a model is given around a passage, discarded afterwards: `before` it, `after` it, for a hidden word, to pad.

    Parameters
    ----------
    before, after : tuple of int
        Token ids. `before` opens with the sink of a causal model (a model's first token is an outlier).
    mask : int or None
        What stands for a word that is to be guessed.
    pad : int
        What fills up the shorter passages of a batch.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    mask: int | None
    pad: int


@dataclass(frozen=True)
class Reader:
    """A model that was tried out.

    Parameters
    ----------
    model : LanguageModel
    special : Special
    n_states, width : int
        Layers of states (the embedding is one), and units in each.
    vocabulary : int
        How many tokens a prediction is over; 0: it makes none.
    head_alone : bool
        Whether its head can be put on the states of some places only, instead of on all of them.
    """

    model: LanguageModel
    special: Special
    n_states: int
    width: int
    vocabulary: int
    head_alone: bool


def special_tokens(model: LanguageModel) -> Special:
    """What a model is given around a passage.

    A causal model: a sink (BOS, else the token that ends or pads texts, else the first special one). A model that
    reads both ways: what its tokenizer puts around a text (``[CLS] … [SEP]``, ``… </s>``).

    Raises
    ------
    SettingsError
        A causal model's tokenizer has no special token.
    """
    tokenizer = model.tokenizer
    pad = choose_pad(tokenizer)
    mask = None if tokenizer.mask_token_id is None else int(tokenizer.mask_token_id)
    if model.kind == "causal":
        return Special((choose_sink(tokenizer, model.name),), (), mask, pad)
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    dressed = tokenizer("a", add_special_tokens=True)["input_ids"]
    at = next((k for k in range(len(dressed)) if dressed[k : k + len(bare)] == bare), 0)
    return Special(tuple(dressed[:at]), tuple(dressed[at + len(bare) :]), mask, pad)


def choose_pad(tokenizer: Any) -> int:
    """The token that fills up shorter texts: the padding, else what ends texts, else any."""
    return next((int(t) for t in (tokenizer.pad_token_id, tokenizer.eos_token_id) if t is not None), 0)


def choose_sink(tokenizer: Any, name: str) -> int:
    """The token a causal model's window opens with: BOS, else the one that ends or pads texts, else the first special.

    Raises
    ------
    SettingsError
        The tokenizer has no special token.
    """
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, *tokenizer.all_special_ids):
        if token is not None:
            return int(token)
    raise SettingsError(f"the tokenizer of model {name!r} has no special token to open a window with: it needs a BOS")


def open_reader(model: LanguageModel, tokens: np.ndarray) -> Reader:
    """Try a model out on the first tokens of a text.

    Shared windows and padding are only right for a causal model where no state depends on later tokens: two texts that
    differ in their last token must have the same states before it.

    Raises
    ------
    SettingsError
        A model that calls itself causal reads ahead, or has no special token to open a window with.
    """
    special = special_tokens(model)
    seen = [*special.before, *tokens[:7].tolist(), *special.after]
    states, logits = forward(model, [seen], special.pad, whole=model.kind != "encoder-decoder")
    if model.kind == "causal":
        last = seen[-1]
        other = [*seen[:-1], next(token for token in (*tokens.tolist(), seen[0], abs(last - 1)) if token != last)]
        for here, there in zip(states, forward(model, [other], special.pad, whole=False)[0]):
            a, b = here[0, :-1].float(), there[0, :-1].float()
            if (a - b).norm() > CAUSAL_TOLERANCE * a.norm():
                raise SettingsError(
                    f"model {model.name!r} calls itself causal, but reads words that come after the one it describes: "
                    "its states cannot be trusted; is it a masked model saved under another name?"
                )
    vocabulary = 0 if logits is None else int(logits.shape[-1])
    alone = _head_alone(model, states[-1], logits)
    return Reader(model, special, len(states), int(states[0].shape[-1]), vocabulary, alone)


def _head_alone(model: LanguageModel, states: Any, logits: Any) -> bool:
    """Whether the output embedding on the last states gives the model's predictions (some scale or cap them)."""
    head = model.network.get_output_embeddings()
    if head is None or logits is None:
        return False
    import torch

    with torch.inference_mode():
        alone = head(states).float()
    return alone.shape == logits.shape and bool((alone - logits.float()).norm() <= 1e-4 * logits.float().norm())


def limit_of(model: LanguageModel) -> int | None:
    """The longest text a model reads, in tokens with the special ones; None if it does not say."""
    config = model.network.config.get_text_config()
    positions = getattr(config, "max_position_embeddings", None)
    tables = [part for name, part in model.reader.named_modules() if name.endswith("position_embeddings")]
    padding = next((t.padding_idx for t in tables if getattr(t, "padding_idx", None) is not None), None)
    if positions is not None and padding is not None:
        positions -= padding + 1  # RoBERTa, MPNet and their kind count positions from behind the padding's
    said = model.tokenizer.model_max_length
    known = [int(limit) for limit in (positions, said if model.kind != "causal" else None) if limit and limit < 1e9]
    return min(known) if known else None


def choose_layers(layers: Literal["all"] | Sequence[int], n_states: int, name: str) -> list[int]:
    """Which layers are asked for, as numbers.

    Raises
    ------
    SettingsError
        One that the model does not have.

    Examples
    --------
    >>> choose_layers("all", n_states=3, name="tiny")
    [0, 1, 2]
    """
    if isinstance(layers, str):
        return list(range(n_states))
    odd = [layer for layer in layers if not 0 <= layer < n_states]
    if odd:
        raise SettingsError(
            f"model {name!r} has no layer {odd[0]}: it has {n_states}, from 0 (the embedding) to {n_states - 1}"
        )
    return [int(layer) for layer in layers]


def forward(model: LanguageModel, texts: list[list[int]], pad: int, whole: bool) -> tuple[Any, Any]:
    """States of all layers, each (n_texts, longest, width), and predictions at all places if the `whole` model is run.

    Shorter texts are padded on the right. A causal model gets no mask: nothing that is kept can see the padding, and
    without a mask the fast path of attention is taken.
    """
    import torch

    longest = max(len(text) for text in texts)
    ids = torch.tensor([text + [pad] * (longest - len(text)) for text in texts], device=model.network.device)
    given: dict[str, Any] = {"input_ids": ids, "output_hidden_states": True}
    if model.kind == "causal":
        given["use_cache"] = False
    elif min(len(text) for text in texts) < longest:
        lengths = torch.tensor([[len(text)] for text in texts], device=ids.device)
        given["attention_mask"] = (torch.arange(longest, device=ids.device)[None, :] < lengths).long()
    with torch.inference_mode():
        if whole:
            out = model.network(**given)
            return out.hidden_states, out.logits
        return model.reader(**given).hidden_states, None
