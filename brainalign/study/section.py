"""What has every part of a study file, and every feature it names?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from brainalign.errors import did_you_mean
from brainalign.features.cards import Sense

LAYER_WORDS = ("each", "best", "stack")


class Section(BaseModel):
    """A part of a study file: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def default_of(section: Section, key: str) -> Any:
    """What a key is where nothing is said."""
    return type(section).model_fields[key].default


def listed(value: Any) -> Any:
    """One name or number as a list of it."""
    return [value] if isinstance(value, (str, int)) else value


Names = Annotated[
    list[str], BeforeValidator(lambda v: [str(x) for x in listed(v)] if isinstance(v, (str, int, list)) else v)
]
Text = Annotated[str, BeforeValidator(lambda v: str(v) if isinstance(v, int) else v)]  # task: 1 is a name, not a number
Files = Path | dict[Text, Path]  # one for all runs, or one for each


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

    sense: ClassVar[Sense | None] = "text"  # what its model reads

    model: str
    untrained: int | None = Field(default=None, ge=0, strict=True)  # a seed: the same network with random weights


class Typed(Feature):
    """What is said of any feature whose network computes in a type that can be chosen."""

    dtype: Literal["float32", "float16", "bfloat16"] = "float32"


def check_layers(value: Any, words: tuple[str, ...] = LAYER_WORDS, named: bool = False) -> Any:
    """A word, or a list of different layers; `named`: layers may be names of modules too."""
    if isinstance(value, str) and value not in words:
        more = f", such as the module [{value}]" if named else ""
        raise ValueError(f"is one of {', '.join(words)} or a list of layers{more}; {did_you_mean(value, words)}")
    layers = value if isinstance(value, (list, str)) else [value]
    by_name = named and isinstance(layers, list) and all(isinstance(layer, str) for layer in layers)
    if isinstance(layers, list) and not (len(set(layers)) == len(layers) > 0 if by_name else different(layers, 0)):
        names = ", or of names of modules such as [layer3.0]" * named
        raise ValueError(f"is a list of different layers such as [3, 5]{names}; 0 is the embedding")
    return layers


Layers = str | list[int] | list[str]  # a word, numbers, or names of modules


class Layered(Network, Typed, Reduced):
    """What is said of any feature that is a network's hidden states."""

    layers: Annotated[Layers, BeforeValidator(check_layers)] = "best"

    @property
    def asked(self) -> Any:
        """The layers that are computed: a list, or "all"."""
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
