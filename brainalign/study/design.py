"""What may a study say of the design: how do onsets become rows?"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from brainalign.design.epochs import lags_of
from brainalign.errors import SettingsError
from brainalign.study.section import Names, Section, default_of

Hrf = Literal["spm", "glover"]


class Betas(Section):
    """The response to each trial, or to each condition in each run, instead of a course of volumes."""

    how: Literal["lsa", "lss", "condition"] = "lsa"
    hrf: Hrf | Literal["derivatives", "library"] = "spm"
    column: str = "trial_type"
    ridge: bool = False
    unit: Literal["percent", "raw"] = "percent"

    @model_validator(mode="after")
    def _one_model(self) -> Betas:
        if self.ridge and (self.how != "lsa" or self.hrf == "derivatives"):
            raise ValueError("ridge shrinks the trials of one model: it goes with how: lsa, and not with derivatives")
        return self


class Lags(Section):
    """Windows around every word, at lags in s."""

    start: float = -2.0
    stop: float = 2.0
    step: float = 0.2
    window: float = Field(default=0.2, gt=0)
    least: float = Field(default=0.5, gt=0, le=1)
    column: str = "word"  # of the events: those that have one are cut around

    @model_validator(mode="after")
    def _are_lags(self) -> Lags:
        try:
            lags_of(self.start, self.stop, self.step)
        except SettingsError as error:
            raise ValueError(str(error)) from None
        return self


class Design(Section):
    """From onsets to rows."""

    resample: Literal["lanczos", "sum", "mean", "boxcar"] = "lanczos"
    delays_volumes: list[int] = Field(default=[1, 2, 3, 4, 5], min_length=1)
    hrf: Hrf | None = None
    betas: Betas | None = None
    lags: Lags | None = None
    clean: Literal["run", "segment", "none"] = "run"
    nuisance: Names = Field(default=["drift", "motion"])
    drift_s: float = Field(default=128.0, gt=0)

    @model_validator(mode="after")
    def _one_way(self) -> Design:
        other = [key for key in ("resample", "delays_volumes", "hrf") if getattr(self, key) != default_of(self, key)]
        if self.hrf is not None and "delays_volumes" in other:
            raise ValueError("hrf assumes the response's shape, and delays_volumes fit it: leave one of the two out")
        if self.betas is not None and other:
            raise ValueError(f"betas have a row per trial, nothing is put on a clock: leave out {' and '.join(other)}")
        if self.lags is not None and (other or self.betas is not None):
            said = " and ".join([*other, *["betas"] * (self.betas is not None)])
            raise ValueError(f"lags have a row per word, nothing is put on a clock: leave out {said}")
        if self.betas is not None and self.drift_s != default_of(self, "drift_s"):
            raise ValueError("betas take the usual drift, periods above 128 s: leave drift_s out")
        return self
