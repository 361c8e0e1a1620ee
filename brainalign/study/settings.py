"""What may a study file say?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from brainalign.errors import InputError, SettingsError, did_you_mean, one_message
from brainalign.maths.cost import parse_bytes
from brainalign.study.data import ELECTRIC, Data, cut, placed_data
from brainalign.study.design import Design
from brainalign.study.kinds import AnyFeature
from brainalign.study.kinds_of_pictures import OfPictures
from brainalign.study.kinds_of_sound import OfSound
from brainalign.study.kinds_of_words import Language, WordRate
from brainalign.study.mistakes import in_words
from brainalign.study.places import FILES, beside, last_parts, placed
from brainalign.study.section import Files, Layered, Names, Reduced, Section, default_of, listed


class Stimuli(Section):
    """What was met; by default what the BIDS events say."""

    words: Files | None = None
    table: Path | None = None  # with a row per `stimulus`, of trials that name theirs
    images: Path | None = None  # the folder of the files that events name; else stimuli/ of the BIDS tree
    film: Files | None = None
    sound: Files | None = None
    start_s: float = 0.0  # the second of words, film and sound at which the recording begins
    text: Files | None = None  # the words in print

    @model_validator(mode="after")
    def _one_to_see(self) -> Stimuli:
        if self.images is not None and self.film is not None:
            raise ValueError(
                "stimuli.images and stimuli.film: features of pictures are made of one of the two, of the files that "
                "events name or of a film: leave one out"
            )
        return self


# the controls that change a model's features, and which kinds of them
CHANGED: dict[str, type[Layered]] = {
    "untrained": Layered,
    "static": Language,
    "position": Language,
    "shuffled": Layered,
    "residual": Language,
}
Control = Literal["all", "untrained", "static", "position", "shuffled", "reversed", "residual", "segment"]


class Folds(Section):
    """Who may predict whom."""

    by: Literal["auto", "run", "story", "session", "subject", "stimulus", "contiguous", "shuffled"] = "auto"
    n: int | None = Field(default=None, ge=2)
    gap_s: float = Field(default=16.0, ge=0)
    inner: int = Field(default=5, ge=2)
    test: dict[str, Names] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Folds:
        if self.test is not None and (self.by != "auto" or self.n is not None):
            raise ValueError("folds.test holds out one named set: leave folds.by and folds.n away")
        return self


class EncodingSettings(Section):
    """How it is fitted."""

    solver: Literal["banded", "himalaya"] = "banded"
    folds: Folds = Folds()
    seed: int = Field(default=0, ge=0)
    baseline: Names = Field(default=[])
    matched: bool = False  # features that can have pca reduced to the width of the narrowest
    weights: bool = False


class CeilingSettings(Section):
    """How good a model could be."""

    kind: Literal[
        "auto",
        "between_subjects",
        "ncsnr",
        "ncsnr_map",
        "split_half",
        "explainable_variance",
        "run_reliability",
        "none",
    ] = "auto"
    conditions: str | None = None  # of run_reliability: the column of the events that names what runs repeat

    @model_validator(mode="after")
    def _of_conditions(self) -> CeilingSettings:
        if self.conditions is not None and self.kind != "run_reliability":
            raise ValueError("conditions are what runs repeat: they go with kind: run_reliability alone")
        return self


class Targets(Section):
    """Which targets are fitted and scored; all, unless something is said."""

    where: dict[str, Names] = Field(default={})
    reliability: float | None = Field(default=None, ge=0, le=1)
    aside: dict[str, Names] = Field(default={})
    conditions: str | None = None  # a column of the events: runs then repeat its conditions

    @model_validator(mode="after")
    def _apart(self) -> Targets:
        if (self.reliability is None) != (not self.aside):
            raise ValueError(
                "targets.reliability and targets.aside go together: aside names samples (such as {run: ['1', '2']}) "
                "that choose the targets and are not scored"
            )
        return self


class Inference(Section):
    """Could it be chance?"""

    permutations: int = Field(default=1000, ge=0)
    bootstrap: int = Field(default=1000, ge=0)
    fdr: float = Field(default=0.05, gt=0, lt=1)
    how: Literal["shift", "blocks"] = "shift"
    choose_again: bool = False
    clusters: float | None = Field(default=None, gt=0)


class PartitionSettings(Section):
    """Which feature earned it?"""

    product: bool = True
    unique: bool = True
    common: bool = False


class Compute(Section):
    """Where it runs, and how much memory a fit may take, files that are mapped aside."""

    device: str = "auto"
    memory: int | str = "4GB"

    @field_validator("memory")
    @classmethod
    def _a_size(cls, value: int | str) -> int | str:
        try:
            parse_bytes(value)
        except SettingsError:
            raise ValueError("a size such as 4GB, or a number of bytes") from None
        return value


STIMULI = ("words", "table", "images", "film", "sound", "text")  # files and folders


class Study(Section):
    """A whole study file; the saved `settings.yaml` is this with every default written out."""

    title: str = ""
    data: Data
    stimuli: Stimuli = Stimuli()
    features: list[AnyFeature] = Field(min_length=1)
    design: Design = Design()
    encoding: EncodingSettings = EncodingSettings()
    targets: Targets = Targets()
    ceiling: CeilingSettings = CeilingSettings()
    inference: Inference = Inference()
    partition: PartitionSettings = PartitionSettings()
    controls: Annotated[list[Control], BeforeValidator(listed)] = Field(default=[])
    untrained_seeds: int = Field(default=1, ge=1)
    compute: Compute = Compute()
    output: Path = Path("results")

    @model_validator(mode="before")
    @classmethod
    def _around_words(cls, said: Any) -> Any:
        """Voltages are cut around words, unless they are asked for as they run; there is no head motion in them."""
        data, design = (said.get(key) or {} for key in ("data", "design")) if isinstance(said, dict) else ({}, {})
        if not isinstance(data, dict) or not isinstance(design, dict) or data.get("kind") not in ELECTRIC:
            return said
        design = {"nuisance": ["drift"]} | design
        if not {"lags", "delays_volumes", "resample", "hrf", "betas"} & set(design):
            design["lags"] = {}
        return {**said, "design": design}

    @model_validator(mode="after")
    def _names_fit(self) -> Study:
        names = [feature.name for feature in self.features]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"two features are called {sorted(twice)[0]!r}: give each its own name")
        for name in self.encoding.baseline:
            if name not in names:
                raise ValueError(f"encoding.baseline names {name!r}, which is no feature; {did_you_mean(name, names)}")
        varied = [f.name for f in self.features if isinstance(f, Layered) and f.varies]
        if len(varied) > 1:
            raise ValueError(
                f"features {', '.join(map(repr, varied))} all vary their layers or contexts: one feature at a time can "
                "have layers: each or best, or several contexts; give the others a list of layers and one context"
            )
        if set(varied) & set(self.encoding.baseline):
            axis = next(f.varies for f in self.features if f.name == varied[0] and isinstance(f, Layered))
            raise ValueError(f"feature {varied[0]!r} varies its {axis}s and is in the baseline: a baseline is fixed")
        if self.encoding.matched and sum(f.n_bands for f in self.features if isinstance(f, Reduced)) < 2:
            raise ValueError("encoding.matched compares layers or language models at one width: give at least two")
        if set(names) == set(self.encoding.baseline):
            raise ValueError("every feature is in encoding.baseline: there is nothing to compare with it")
        if self.data.average == "subjects" and self.data.subjects != "all" and len(self.data.subjects) < 2:
            raise ValueError("data.average: subjects needs more than one subject; use average: none")
        for name in self.controls:
            if name in CHANGED and not self.asked_about(CHANGED[name]):
                kinds = "language" if CHANGED[name] is Language else "language, vision or speech"
                raise ValueError(
                    f"controls: {name} needs a feature of kind {kinds} outside encoding.baseline: it is what is changed"
                )
        return self

    @model_validator(mode="after")
    def _trials_fit(self) -> Study:
        of_volumes = ("resample", "delays_volumes", "hrf", "betas", "nuisance", "drift_s")
        said = [f"design.{key}" for key in of_volumes if getattr(self.design, key) != default_of(self.design, key)]
        if self.data.nsd is not None and said:
            raise ValueError(f"nsd has a row per trial already, less its nuisance: leave out {' and '.join(said)}")
        if self.design.lags is not None and not self.data.electric:
            raise ValueError("design.lags goes with data.kind: ieeg, eeg or meg; a volume lasts longer than a word")
        if self.data.electric and (self.design.betas is not None or self.design.hrf is not None):
            raise ValueError("design.betas and design.hrf are of blood: leave them out of voltages")
        counted = [f.name for f in self.features if isinstance(f, WordRate)]
        if counted and self.design.lags is not None:
            raise ValueError(
                f"feature {counted[0]!r} is 1 for every word, and with design.lags every row is a word: leave it out; "
                "word_length, word_frequency or the envelope of the sound say something of each"
            )
        if self.design.lags is not None and self.encoding.folds.gap_s < self.design.lags.window:
            raise ValueError(
                f"encoding.folds.gap_s {self.encoding.folds.gap_s:g} is shorter than the window of design.lags, "
                f"{self.design.lags.window:g} s: words of training and test would share samples; make it longer"
            )
        cut = "design.clean" if self.design.clean == "segment" else "controls" if "segment" in self.controls else ""
        if self.of_trials and cut:
            ways = {"data.nsd": self.data.nsd, "design.betas": self.design.betas, "design.lags": self.design.lags}
            row = "trial" if self.design.lags is None else "word"
            what = next(name for name, asked in ways.items() if asked is not None)
            raise ValueError(
                f"segment is a stretch of a recording, and {what} has a row per {row}: leave segment out of {cut}"
            )
        return self

    @property
    def of_trials(self) -> bool:
        """Whether what is fitted has a row per trial or word, of which nuisance is gone, and not per volume."""
        return any(asked is not None for asked in (self.data.nsd, self.design.betas, self.design.lags))

    @property
    def needs_events(self) -> bool:
        """Whether anything is made of events: not where all features are of a film and a sound."""
        sources = ((OfPictures, self.stimuli.film), (OfSound, self.stimuli.sound))
        named = tuple(kind for kind, file in sources if file is not None)
        conditions = self.targets.conditions or self.ceiling.kind == "run_reliability" or self.of_trials
        return bool(conditions) or not all(isinstance(f, named) for f in self.features)

    @property
    def conditions(self) -> str:
        """The column of the events that names what runs repeat."""
        return self.ceiling.conditions or self.targets.conditions or "trial_type"

    def asked_about(self, kind: type[Layered]) -> list[str]:
        """The features of a kind that are asked about: those outside the baseline."""
        return [f.name for f in self.features if isinstance(f, kind) and f.name not in self.encoding.baseline]


def read_study(path: str | Path) -> Study:
    """Read and validate a study file; relative paths in it are relative to it.

    Raises
    ------
    InputError
        There is no such file, or it is not YAML.
    SettingsError
        Everything in it that is unknown, missing or out of range, in one message.
    """
    import yaml

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such study file")
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: a study file is a mapping with data, features, …; found {type(content).__name__}")
    return study_from(content, base=path.parent, name=str(path))


def study_from(content: dict[str, Any], base: Path = Path(), name: str = "study") -> Study:
    """Validate a study given as a mapping; relative paths are relative to `base`."""
    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        raise one_message((f"{name}: {line}" for line in in_words(error, Study)), SettingsError) from None
    named = {key: beside(base, getattr(study.stimuli, key)) for key in STIMULI}
    stimuli = study.stimuli.model_copy(update=named)
    features = [placed(base, feature) for feature in study.features]
    changed = {"data": placed_data(base, study.data), "stimuli": stimuli, "features": features}
    changed |= {"design": _all_of_them(study), "output": base / study.output}
    return study.model_copy(update=changed)


def written_out(study: Study) -> dict[str, Any]:
    """The study with every default, as plain YAML types. Paths are cut to their last part: they name, not locate."""
    content = study.model_dump(mode="json")
    content["data"] = cut(study.data)
    content["output"] = study.output.name
    for feature in content["features"]:
        for key in FILES:
            if Path(feature.get(key) or "").is_absolute():
                feature[key] = last_parts(feature[key])
    for key in STIMULI:
        content["stimuli"][key] = last_parts(content["stimuli"][key])
    return content


def _all_of_them(study: Study) -> Design:
    """The design; where is chosen which confounds are read, and nothing else is said, all of those are removed."""
    if study.data.confounds is None or "nuisance" in study.design.model_fields_set:
        return study.design
    return study.design.model_copy(update={"nuisance": ["drift", "confounds"] if study.data.confounds else ["drift"]})
