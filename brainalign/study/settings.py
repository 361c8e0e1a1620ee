"""What may a study file say?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, field_validator, model_validator

from brainalign.errors import InputError, SettingsError, did_you_mean, one_message
from brainalign.maths.cost import parse_bytes
from brainalign.study.kinds import FEATURE_KINDS, AnyFeature, Language, Reduced, Section
from brainalign.study.places import placed


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, (str, int)) else value


Names = Annotated[
    list[str], BeforeValidator(lambda v: [str(x) for x in _listed(v)] if isinstance(v, (str, int, list)) else v)
]
Text = Annotated[str, BeforeValidator(lambda v: str(v) if isinstance(v, int) else v)]  # task: 1 is a name, not a number


class Data(Section):
    """Which recording."""

    bids: Path
    kind: Literal["fmri"] = "fmri"
    subjects: Literal["all"] | Names = "all"
    task: Text | None = None
    session: Text | None = None
    run: Text | None = None
    space: str | None = None
    derivatives: str | None = None
    atlas: str | None = None
    mask: Path | None = None
    average: Literal["subjects", "none"] = "none"


class Stimuli(Section):
    """What was met; by default what the BIDS events say."""

    words: Path | None = None
    start_s: float = 0.0  # the second of that file's clock at which the recording's begins
    text: Path | dict[Text, Path] | None = None  # the words in print, of all runs or of each


ON_LANGUAGE = ("untrained", "static", "position", "shuffled", "residual")  # the controls that change those features
Control = Literal["all", "untrained", "static", "position", "shuffled", "reversed", "residual", "segment"]


class Design(Section):
    """From onsets to rows."""

    resample: Literal["lanczos", "sum", "mean", "boxcar"] = "lanczos"
    delays_volumes: list[int] = Field(default=[1, 2, 3, 4, 5], min_length=1)
    clean: Literal["run", "segment", "none"] = "run"
    nuisance: Names = Field(default=["drift", "motion"])


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

    kind: Literal["auto", "between_subjects", "ncsnr", "split_half", "explainable_variance", "none"] = "auto"


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
    """Where it runs, and how much memory one fit may take beside its data."""

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
    controls: Annotated[list[Control], BeforeValidator(_listed)] = Field(default=[])
    untrained_seeds: int = Field(default=1, ge=1)
    compute: Compute = Compute()
    output: Path = Path("results")

    @model_validator(mode="after")
    def _names_fit(self) -> Study:
        names = [feature.name for feature in self.features]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"two features are called {sorted(twice)[0]!r}: give each its own name")
        for name in self.encoding.baseline:
            if name not in names:
                raise ValueError(f"encoding.baseline names {name!r}, which is no feature; {did_you_mean(name, names)}")
        varied = [f.name for f in self.features if isinstance(f, Language) and f.varies]
        if len(varied) > 1:
            raise ValueError(
                f"features {', '.join(map(repr, varied))} all vary their layers or contexts: one feature at a time can "
                "have layers: each or best, or several contexts; give the others a list of layers and one context"
            )
        if set(varied) & set(self.encoding.baseline):
            axis = next(f.varies for f in self.features if f.name == varied[0] and isinstance(f, Language))
            raise ValueError(f"feature {varied[0]!r} varies its {axis}s and is in the baseline: a baseline is fixed")
        if self.encoding.matched and sum(f.n_bands for f in self.features if isinstance(f, Reduced)) < 2:
            raise ValueError("encoding.matched compares layers or language models at one width: give at least two")
        if set(names) == set(self.encoding.baseline):
            raise ValueError("every feature is in encoding.baseline: there is nothing to compare with it")
        if self.data.average == "subjects" and self.data.subjects != "all" and len(self.data.subjects) < 2:
            raise ValueError("data.average: subjects needs more than one subject; use average: none")
        changing = [name for name in self.controls if name in ON_LANGUAGE]
        if changing and not self.language:
            raise ValueError(
                f"controls: {changing[0]} needs a feature of kind language outside encoding.baseline: it is what is "
                "changed"
            )
        return self

    @property
    def language(self) -> list[str]:
        """The features of kind language that are asked about: those outside the baseline."""
        return [f.name for f in self.features if isinstance(f, Language) and f.name not in self.encoding.baseline]


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
        raise one_message((f"{name}: {line}" for line in _in_words(error)), SettingsError) from None
    data = study.data.model_copy(update={"bids": base / study.data.bids, "mask": _under(base, study.data.mask)})
    text = study.stimuli.text
    printed = {run: base / path for run, path in text.items()} if isinstance(text, dict) else _under(base, text)
    stimuli = study.stimuli.model_copy(update={"words": _under(base, study.stimuli.words), "text": printed})
    features = [placed(base, feature) for feature in study.features]
    changed = {"data": data, "stimuli": stimuli, "features": features, "output": base / study.output}
    return study.model_copy(update=changed)


def written_out(study: Study) -> dict[str, Any]:
    """The study with every default, as plain YAML types. Paths are cut to their last part: they name, not locate."""
    content = study.model_dump(mode="json")
    content["data"]["bids"] = study.data.bids.resolve().name
    content["output"] = study.output.name
    for feature in content["features"]:
        for key in ("model", "vectors", "phones", "tagger"):
            if Path(feature.get(key) or "").is_absolute():
                feature[key] = Path(feature[key]).name
    for section, key in (("data", "mask"), ("stimuli", "words"), ("stimuli", "text")):
        value = content[section][key]
        if isinstance(value, dict):
            content[section][key] = {run: Path(path).name for run, path in value.items()}
        elif value is not None:
            content[section][key] = Path(value).name
    return content


def _under(base: Path, path: Path | None) -> Path | None:
    return None if path is None else base / path


def _in_words(error: ValidationError) -> Iterable[str]:
    """Pydantic's findings as a person would say them; unknown keys name the close one."""
    for item in error.errors():
        place = [part for part in item["loc"] if part not in FEATURE_KINDS]
        where = ".".join(str(p + 1) if isinstance(p, int) else str(p) for p in place)
        if item["type"] == "extra_forbidden":
            yield f"unknown key {where!r}; {did_you_mean(str(place[-1]), _keys_at(item['loc']))}"
        elif item["type"] == "missing":
            yield f"{where} is missing"
        elif item["type"] in ("union_tag_invalid", "union_tag_not_found"):
            found = item["input"].get("kind") if isinstance(item["input"], dict) else item["input"]
            say = did_you_mean(str(found), FEATURE_KINDS) if found else "known: " + ", ".join(FEATURE_KINDS)
            yield f"{where}: no feature is of kind {found!r}; {say}"
        elif item["type"] == "literal_error" and isinstance(item["input"], str):
            known = [
                word.strip(" '") for word in item.get("ctx", {}).get("expected", "").replace(" or ", ",").split(",")
            ]
            yield f"{where}: {item['input']!r} is not known; {did_you_mean(item['input'], known)}"
        else:
            message = item["msg"].removeprefix("Value error, ")
            yield f"{where}: {message}; found {item['input']!r}" if place else message


def _keys_at(loc: tuple[Any, ...]) -> list[str]:
    """The keys that may stand where the unknown one was found."""
    model: Any = Study
    for part in loc[:-1]:
        if part in FEATURE_KINDS:
            model = FEATURE_KINDS[part]
        elif isinstance(part, str) and isinstance(model, type) and part in model.model_fields:
            model = model.model_fields[part].annotation
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
