"""What may be asked of a language model that reads words, and of this one?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from brainalign.errors import SettingsError
from brainalign.features.loading import Dtype, LanguageModel
from brainalign.features.passages import MEASURES, Measure, Pool
from brainalign.features.reader import Reader, limit_of
from brainalign.features.windows import Context

Band = Literal["hidden", "surprisal", "entropy", "log_probability"]


@dataclass(frozen=True)
class Asked:
    """What is asked of a model, whichever it is."""

    layers: Literal["all"] | tuple[int, ...]
    context: Context
    pool: Pool
    bands: tuple[Band, ...]
    dtype: Dtype

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Those of the bands that are a column each."""
        return tuple(measure for measure in MEASURES if measure in self.bands)

    def described(self) -> dict[str, Any]:
        """The settings the numbers depend on, in JSON types."""
        size, unit = self.context.size, self.context.unit
        stride = 1 if self.context.exact else size // 2
        return {
            "context": size,
            "unit": unit,
            "stride": "word" if self.context.exact else stride,
            "ahead": self.context.ahead,
            "pool": self.pool,
            "bands": list(self.bands),
            "dtype": self.dtype,
        }


def check_settings(
    layers: Any, context: Any, unit: Any, exact: Any, reset: Any, pool: Any, bands: Any, dtype: Any
) -> None:
    """Refuse settings that no model could do anything with; `SettingsError` says which, and what could be said."""
    whole = (int, np.integer)
    listed = isinstance(layers, Iterable) and not isinstance(layers, (str, bytes))
    if layers != "all" and not (listed and len(list(layers)) and all(isinstance(k, whole) for k in layers)):
        raise SettingsError(f"layers is 'all' or a list of numbers such as [12]; found {layers!r}")
    if layers != "all" and len(set(layers)) < len(list(layers)):
        raise SettingsError(f"layers names a layer twice: {list(layers)}")
    for setting, value, choices in (
        ("unit", unit, ("tokens", "words")),
        ("pool", pool, ("mean", "last", "first")),
        ("dtype", dtype, ("float32", "float16", "bfloat16")),
    ):
        if value not in choices:
            raise SettingsError(f"{setting} is {_or([repr(choice) for choice in choices])}; found {value!r}")
    least = 1 if exact and unit == "words" else 2
    if not isinstance(context, whole) or context < least:
        raise SettingsError(f"context is a number of {unit}, at least {least}; found {context!r}")
    if reset not in ("run", None):
        raise SettingsError(f"reset is 'run' (each run begins anew) or None (the runs are one text); found {reset!r}")
    known = ("hidden", *MEASURES)
    if isinstance(bands, str) or not list(bands) or any(band not in known for band in bands):
        raise SettingsError(f"bands is a list of {_or([repr(band) for band in known])}; found {bands!r}")


def _or(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def check_model(model: LanguageModel, asked: Asked) -> None:
    """Refuse what this model cannot do: look ahead, or say how expected a word was."""
    if asked.context.ahead and model.kind == "causal":
        raise SettingsError(f"ahead=True needs a model that reads both ways; {model.name!r} is causal: leave it out")
    if not asked.measures:
        return
    if model.kind == "encoder-decoder":
        raise SettingsError(
            f"bands {list(asked.measures)} need a causal or a masked language model; {model.name!r} is an "
            "encoder–decoder: ask for bands=('hidden',)"
        )
    if not model.has_head:
        raise SettingsError(
            f"bands {list(asked.measures)} need a model's predictions, and the weights of its head are not among those "
            f"of {model.name!r}: ask for bands=('hidden',), or use the model it was made from"
        )
    if model.kind == "masked" and model.tokenizer.mask_token_id is None:
        raise SettingsError(f"bands {list(asked.measures)} hide words, but {model.name!r} has no mask token")


def check_limit(reader: Reader, longest: int, context: Context) -> None:
    """Refuse windows (the longest has so many tokens) that are longer than the model reads."""
    limit, around = limit_of(reader.model), len(reader.special.before) + len(reader.special.after)
    if limit is None:
        return
    if context.unit == "tokens" and context.size + around > limit:
        raise SettingsError(
            f"context={context.size} and {around} special token{'s' * (around != 1)} make {context.size + around} "
            f"tokens, model {reader.model.name!r} reads at most {limit}: context can be up to {limit - around}"
        )
    if longest + around > limit:
        raise SettingsError(
            f"context={context.size} words are up to {longest} tokens here, model {reader.model.name!r} reads at most "
            f"{limit - around}: use fewer words"
        )
