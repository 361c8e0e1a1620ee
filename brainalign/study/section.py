"""What has every part of a study file, and every feature it names?"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from brainalign.errors import did_you_mean

LAYER_WORDS = ("each", "best", "stack")


class Section(BaseModel):
    """A part of a study file: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Feature(Section):
    """What every feature has."""

    name: str = Field(pattern=r"^[A-Za-z][\w-]*$")


class Held(Feature):
    """A feature whose samples last: a value is true for as long as its block, picture or frame is there."""


class Reduced(Feature):
    """What is said of any feature that can be reduced to principal components, found on training samples."""

    pca: int | None = Field(default=None, ge=1)

    @property
    def n_bands(self) -> int:
        """How many bands it has, or at least has where that depends on the model."""
        return 1


class Network(Feature):
    """What is said of any feature that a network makes, and that an untrained one could make."""

    model: str
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    untrained: int | None = Field(default=None, ge=0, strict=True)  # a seed: the same network with random weights


def _layers(value: Any) -> Any:
    if isinstance(value, str) and value not in LAYER_WORDS:
        raise ValueError(f"is one of {', '.join(LAYER_WORDS)} or a list of layers; {did_you_mean(value, LAYER_WORDS)}")
    layers = value if isinstance(value, (list, str)) else [value]
    if isinstance(layers, list) and not different(layers, least=0):
        raise ValueError("is a list of different layers such as [3, 5]; 0 is the embedding")
    return layers


class Layered(Network, Reduced):
    """What is said of any feature that is a network's hidden states."""

    layers: Annotated[str | list[int], BeforeValidator(_layers)] = "best"

    @property
    def asked(self) -> list[int] | Literal["all"]:
        """The layers that are computed."""
        return self.layers if isinstance(self.layers, list) else "all"

    @property
    def n_bands(self) -> int:
        """One per layer; all layers are two at least."""
        return len(self.layers) if isinstance(self.layers, list) else 2

    @property
    def varies(self) -> str:
        """What its alternatives differ in: "layer", or "" where it has none."""
        return "layer" if self.layers in ("each", "best") else ""


def different(numbers: list[Any], least: int) -> bool:
    """Whether these are whole numbers, at least one, each at least `least` and named once."""
    good = {n for n in numbers if isinstance(n, int) and not isinstance(n, bool) and n >= least}
    return bool(numbers) and len(good) == len(numbers)
