"""How does an image–text model read a text, so that it can be compared with pictures?"""

from __future__ import annotations

from typing import Any

from brainalign.features.loading import LanguageModel
from brainalign.features.reader import choose_pad

FULL = ("siglip",)  # read all texts at their full length, as they were trained: their states see the padding


def as_trained(model: LanguageModel, tokens: list[list[int]], longest: int | None) -> list[list[int]]:
    """Tokens as the tower for texts was trained to read them: some are filled up to the longest text it reads."""
    if longest is None or model.network.config.model_type not in FULL:
        return tokens
    pad = choose_pad(model.tokenizer)
    return [ids + [pad] * (longest - len(ids)) for ids in tokens]


def projected(model: LanguageModel, batch: list[list[int]]) -> Any:
    """(n_texts, width) float32: the texts where pictures are, pooled and projected by the model itself."""
    import torch

    lengths = torch.tensor([[len(ids)] for ids in batch], device=model.network.device)
    longest, pad = int(lengths.max()), choose_pad(model.tokenizer)
    ids = torch.tensor([text + [pad] * (longest - len(text)) for text in batch], device=lengths.device)
    mask = None
    if int(lengths.min()) < longest:
        mask = (torch.arange(longest, device=lengths.device)[None, :] < lengths).long()
    with torch.inference_mode():
        return model.network.get_text_features(input_ids=ids, attention_mask=mask).pooler_output.float()
