"""What may a study say of electrodes and sensors: against what, in which band, how often, what is left out?"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from brainalign.errors import SettingsError, did_you_mean
from brainalign.io.references import as_recorded, bipolar, common_average, laplacian, per_shaft
from brainalign.io.streaming import Referencing
from brainalign.maths.artefacts import Limits
from brainalign.maths.bands import Band, band, broadband, high_gamma, raw
from brainalign.study.section import Names, Section, Text

REFERENCES: dict[str, Callable[..., Any]] = {
    "as_recorded": as_recorded,
    "common_average": common_average,
    "per_shaft": per_shaft,
    "bipolar": bipolar,
    "laplacian": laplacian,
}
BANDS: dict[str, Callable[..., Band]] = {"high_gamma": high_gamma, "band": band, "broadband": broadband, "raw": raw}
NONE = "none"  # of an option that can be None, where that is not usual
USUAL = {"reference": "as_recorded", "line_noise": "sidecar", "rate": 100.0, "artefacts": False}
USUAL_BAND = "high_gamma"  # of electrodes on and in the brain; outside of it none is usual


def _by_name(value: Any) -> Any:
    """A word is that kind, with everything as it usually is."""
    return {"kind": value} if isinstance(value, str) else value


class _OfKind(Section):
    """A function that is named, and its options; those that are null are as usual."""

    def options(self) -> dict[str, Any]:
        """What was said of it."""
        said = {key: getattr(self, key) for key in type(self).model_fields if key != "kind"}
        return {key: None if value == NONE else value for key, value in said.items() if value is not None}

    def check(self, kind: str, functions: Mapping[str, Callable[..., Any]]) -> None:
        """Refuse options of another kind."""
        known = {name: list(inspect.signature(function).parameters) for name, function in functions.items()}
        for key in self.options():
            if key not in known[kind]:
                goes = " or ".join(name for name, options in known.items() if key in options)
                raise ValueError(f"{key} goes with {goes}, not with {kind}: leave it out")


class ReferenceSettings(_OfKind):
    """Against what each electrode is measured."""

    kind: Literal["as_recorded", "common_average", "per_shaft", "bipolar", "laplacian"]
    by: Names | None = None
    median: bool | None = None
    others: bool | None = None
    across_gaps: bool | None = None
    grids: dict[Text, tuple[int, int]] | None = None

    @model_validator(mode="after")
    def _options_fit(self) -> ReferenceSettings:
        self.check(self.kind, REFERENCES)
        return self

    def made(self) -> Referencing:
        """The function that is meant."""
        options = self.options()
        return partial(REFERENCES[self.kind], **options) if options else REFERENCES[self.kind]


class BandSettings(_OfKind):
    """Which frequencies are meant, and what is made of them."""

    kind: Literal["high_gamma", "band", "broadband", "raw"]
    low: float | None = None
    high: float | None = None
    n_sub: int | None = Field(default=None, ge=1)
    power: bool | None = None
    log: bool | None = None
    relative: Literal["mean", "z", "none"] | None = None
    causal: bool | None = None

    @model_validator(mode="after")
    def _options_fit(self) -> BandSettings:
        self.check(self.kind, BANDS)
        if self.kind == "band" and (self.low is None or self.high is None):
            raise ValueError("kind: band needs low and high, in Hz, such as {kind: band, low: 70, high: 200}")
        try:
            self.made()
        except SettingsError as error:
            raise ValueError(str(error)) from None
        return self

    def made(self) -> Band:
        """The band that is meant."""
        return BANDS[self.kind](**self.options())


def _limits(value: Any) -> Any:
    if isinstance(value, Mapping):
        known = [one.name for one in fields(Limits)]
        for key, number in value.items():
            if key not in known:
                raise ValueError(f"no limit is called {key!r}; {did_you_mean(str(key), known)}")
            if isinstance(number, bool) or not isinstance(number, (int, float)) or not number > 0:
                raise ValueError(f"the limit {key} is a number above 0; found {number!r}")
    return value


Reference = Annotated[ReferenceSettings | None, BeforeValidator(_by_name)]
Spectrum = Annotated[BandSettings | None, BeforeValidator(_by_name)]
Artefacts = Annotated[bool | dict[str, float], BeforeValidator(_limits)]


def artefact_limits(asked: bool | Mapping[str, float]) -> Limits | None:
    """The limits above which something is an artefact; None: nothing is looked for.

    Examples
    --------
    >>> artefact_limits(False) is None, artefact_limits({"peak": 12.0}).peak
    (True, 12.0)
    """
    if isinstance(asked, Mapping):
        return Limits(**asked)
    return Limits() if asked else None
