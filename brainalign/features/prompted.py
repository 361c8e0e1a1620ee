"""What does a language model make of a picture and what is asked about it?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from brainalign.errors import SettingsError
from brainalign.features.loading import Dtype, ResolvedModel, build_network, quiet_transformers, unread
from brainalign.features.preprocessing import as_images, load_processor


class Read(NamedTuple):
    """What came of some pictures: layers, each (n, n_tokens, width), and which of the tokens are the picture's and the
    prompt's, (n, n_tokens) each; the rest is padding.
    """

    layers: tuple[Any, ...]
    image: Any
    prompt: Any


def load_prompted(found: ResolvedModel, config: Any, dtype: Dtype) -> tuple[Any, Callable[..., Any]]:
    """The network of a vision–language model, and what turns pictures and a prompt into what it takes.

    Its head, which makes words of the last states, may be missing from the file.

    Raises
    ------
    SettingsError
        Its processor needs a package that is not here, such as torchvision for one that also prepares films.
    """
    network, _ = build_network(
        found, "AutoModelForImageTextToText", config, dtype, lambda network: unread(network, network.base_model)
    )
    processor = load_processor(found, "AutoProcessor")
    edge = dict(getattr(getattr(processor, "image_processor", None), "size", None) or {}).get("shortest_edge")

    def prepare(pictures: Sequence[np.ndarray], prompt: str) -> Any:
        said = _said(processor, prompt, found.name)
        with quiet_transformers():
            return processor(
                images=[[image] for image in as_images(pictures, edge)],
                text=[said] * len(pictures),
                padding=True,
                padding_side="right",  # where no state that is kept can see it
                return_tensors="pt",
            )

    return network, prepare


def _said(processor: Any, prompt: str, name: str) -> str:
    """A prompt as the model's chat has it, with a token where the picture goes."""
    if getattr(processor, "chat_template", None):
        turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}
        return processor.apply_chat_template([turn], add_generation_prompt=True, tokenize=False)
    token = getattr(processor, "image_token", "<image>")
    if str(token) not in prompt:
        raise SettingsError(
            f"model {name!r} has no chat template, so the prompt itself says where the picture goes: put "
            f"{str(token)!r} into it, once; found {prompt!r}"
        )
    return prompt


def read_together(network: Any, given: Any, name: str) -> Read:
    """The hidden states of the language model: 0 is the embedding, L the last block after the final norm.

    Raises
    ------
    SettingsError
        Its pictures do not become tokens among those of the prompt.
    """
    import torch

    config, weight = network.config, next(network.parameters())
    moved = {key: value.to(weight.device) for key, value in given.items()}
    moved = {key: value.to(weight.dtype) if value.is_floating_point() else value for key, value in moved.items()}
    with torch.inference_mode():
        out = network.base_model(**moved, output_hidden_states=True, use_cache=False)
    there = moved["attention_mask"].bool()
    image = there & (moved["input_ids"] == getattr(config, "image_token_id", -1))
    layers = getattr(out, "hidden_states", None)
    if layers is None or not image.any(1).all() or any(layer.shape[:2] != there.shape for layer in layers):
        raise SettingsError(
            f"the pictures of model {name!r} ({type(network).__name__}) do not become tokens among the prompt's, "
            "so there are no states to take: choose a model of the LLaVA or Idefics kind"
        )
    return Read(tuple(layers), image, there & ~image)
