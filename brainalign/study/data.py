"""Which recording may a study name, and what is made of it as it is read?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from brainalign.errors import SettingsError
from brainalign.io.wanted import limits_of, wanted_confounds
from brainalign.study.electric import USUAL, USUAL_BAND, Artefacts, Reference, Spectrum
from brainalign.study.places import beside, last_parts
from brainalign.study.section import Names, Section, Text, default_of

IMAGES = (
    "space", "derivatives", "atlas", "mask", "regions", "average", "smooth_mm", "confounds", "censor", "trim_volumes",
    "dataset",
)  # fmt: skip
VOLTAGES = ("channels", "reference", "line_noise", "band", "rate", "artefacts", "coordinates")
# the keys that go with each form of a recording; whom, all of them are asked
LAYOUTS: dict[str, tuple[str, ...]] = {
    "bids": ("task", "session", "run", *IMAGES, *VOLTAGES),
    "matrices": ("run", "tr", "start_s", "key", "trim_volumes", "dataset"),
    "nsd": ("sessions", "betas", "space", "mask"),
}
ELECTRIC = ("ieeg", "eeg", "meg")
KINDS = {"fmri": IMAGES} | dict.fromkeys(ELECTRIC, VOLTAGES)  # of a BIDS tree, the keys of each kind


def _meant(parse: Callable[[Any], Any], value: Any) -> Any:
    """The value, if it can be parsed."""
    try:
        parse(value)
    except SettingsError as error:
        raise ValueError(str(error)) from None
    return value


def _named(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Data(Section):
    """Which recording, in one of three forms: a BIDS tree, matrices of responses, the sessions of NSD."""

    bids: Path | None = None
    matrices: Path | None = None
    nsd: Path | None = None
    kind: Literal["fmri", "ieeg", "eeg", "meg"] = "fmri"
    subjects: Literal["all"] | Names = "all"
    task: Text | None = None
    session: Text | None = None
    run: Text | list[Text] | None = None
    space: str | None = None
    derivatives: str | None = None
    atlas: str | None = None
    regions: Literal["mean", "voxels"] = "mean"
    mask: Path | None = None
    average: Literal["subjects", "none"] = "none"
    smooth_mm: float | None = Field(default=None, gt=0)
    confounds: Annotated[list[str] | dict[str, Any] | None, BeforeValidator(_named)] = None
    censor: dict[str, Any] = Field(default={})
    trim_volumes: int | None = Field(default=None, ge=0)
    dataset: str | None = None
    tr: float | None = Field(default=None, gt=0)
    start_s: float | None = None
    key: str = "data"
    sessions: list[int] | None = Field(default=None, min_length=1)
    betas: str | None = None
    channels: Names | None = None
    reference: Reference = None
    line_noise: float | Literal["sidecar", "none"] | None = None
    band: Spectrum = None
    rate: float | None = Field(default=None, gt=0)
    artefacts: Artefacts | None = None
    coordinates: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, said: Any) -> Any:
        """Of voltages, what is usual is written out where nothing is said."""
        if not isinstance(said, dict) or said.get("kind") not in ELECTRIC:
            return said
        usual = USUAL | ({"band": USUAL_BAND} if said["kind"] == "ieeg" else {})
        return said | {key: value for key, value in usual.items() if said.get(key) is None}

    @model_validator(mode="after")
    def _one_form(self) -> Data:
        named = [form for form in LAYOUTS if getattr(self, form) is not None]
        if len(named) != 1:
            found = " and ".join(named) or "none of them"
            raise ValueError(f"a recording is named by one of {', '.join(LAYOUTS)}; found {found}")
        (form,) = named
        self._check_kind(form)
        for key in dict.fromkeys(key for keys in LAYOUTS.values() for key in keys):
            if key not in LAYOUTS[form] and getattr(self, key) != default_of(self, key):
                goes = [one for one, keys in LAYOUTS.items() if key in keys]
                raise ValueError(f"{key} goes with {' or '.join(goes)}, not with {form}: leave it out")
        if form == "matrices" and self.tr is None and self.dataset is None:
            raise ValueError(
                "matrices do not say when their rows were taken: give tr, the seconds between them, or dataset, a card "
                "that knows them"
            )
        if form == "nsd" and (self.subjects == "all" or len(self.subjects) > 1):
            raise ValueError("nsd is read for one person at a time, whose pictures are their own: subjects: subj01")
        if form == "bids" and isinstance(self.run, list):
            raise ValueError(f"run is one label, or left out for all; found {self.run}: several go with matrices")
        return self

    def _check_kind(self, form: str) -> None:
        if form != "bids":
            if self.kind != "fmri":
                raise ValueError(f"kind: {self.kind} is read from a BIDS tree: name it as bids, not as {form}")
            return
        for key in (key for key in (*IMAGES, *VOLTAGES) if key not in KINDS[self.kind]):
            if getattr(self, key) != default_of(self, key):
                goes = " or ".join(kind for kind, keys in KINDS.items() if key in keys)
                raise ValueError(f"{key} goes with kind: {goes}, not with {self.kind}: leave it out")
        if self.kind in ELECTRIC and self.band is None:
            raise ValueError(
                f"kind: {self.kind} has no usual band: name one, such as band: {{kind: raw, low: 0.5, high: 30}}"
            )

    @property
    def electric(self) -> bool:
        """Whether it is of voltages (or fields), and not of volumes."""
        return self.kind in ELECTRIC

    @field_validator("confounds")
    @classmethod
    def _strategies(cls, value: Any) -> Any:
        return _meant(wanted_confounds, value)

    @field_validator("censor")
    @classmethod
    def _limits(cls, value: Any) -> Any:
        return _meant(limits_of, value)

    @property
    def root(self) -> Path:
        """The folder the recording lies in."""
        return next(path for path in (self.bids, self.matrices, self.nsd) if path is not None)


def placed_data(base: Path, data: Data) -> Data:
    """The same, its files in `base`, the folder the study file lies in; an atlas that is no file there is a label."""
    changed: dict[str, Any] = {form: beside(base, getattr(data, form)) for form in LAYOUTS}
    if data.nsd is None or (data.mask is not None and (base / data.mask).is_file()):  # of NSD it may name a region
        changed["mask"] = beside(base, data.mask)
    if data.atlas is not None and (base / data.atlas).is_file():
        changed["atlas"] = str(base / data.atlas)
    return data.model_copy(update=changed)


def cut(data: Data) -> dict[str, Any]:
    """A data section as plain types, its paths cut to what names them."""
    roots = {form: None if getattr(data, form) is None else getattr(data, form).resolve().name for form in LAYOUTS}
    return {**data.model_dump(mode="json"), **roots, "mask": last_parts(data.mask), "atlas": last_parts(data.atlas)}
