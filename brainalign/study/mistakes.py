"""What is wrong with a study file, as a person would say it?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from brainalign.errors import did_you_mean
from brainalign.study.kinds import FEATURE_KINDS


def in_words(error: ValidationError, whole: type[BaseModel]) -> Iterable[str]:
    """Pydantic's findings as a person would say them; unknown keys name the close one."""
    for item in error.errors():
        place = [part for k, part in enumerate(item["loc"]) if not _is_kind(item["loc"], k)]
        where = ".".join(str(p + 1) if isinstance(p, int) else str(p) for p in place)
        if item["type"] == "extra_forbidden":
            yield f"unknown key {where!r}; {did_you_mean(str(place[-1]), _keys_at(item['loc'], whole))}"
        elif item["type"] == "missing":
            yield f"{where} is missing"
        elif item["type"] == "model_type":
            keys = ", ".join(_keys_at((*item["loc"], ""), whole))
            yield f"{where}: is a section with keys of its own, {keys}; found {item['input']!r}"
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
            found = "" if isinstance(item["input"], dict) else f"; found {item['input']!r}"  # it is a whole part
            yield f"{where}: {message}{found}" if place else message


def _keys_at(loc: tuple[Any, ...], whole: type[BaseModel]) -> list[str]:
    """The keys that may stand where the unknown one was found."""
    model: Any = whole
    for k, part in enumerate(loc[:-1]):
        if _is_kind(loc, k):
            model = FEATURE_KINDS[part]
        elif isinstance(part, str) and isinstance(model, type) and part in model.model_fields:
            model = _section_of(model.model_fields[part].annotation)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _section_of(annotation: Any) -> Any:
    """The section itself where one may be left out: `Betas | None`."""
    return next(
        (one for one in get_args(annotation) if isinstance(one, type) and issubclass(one, BaseModel)), annotation
    )


def _is_kind(loc: tuple[Any, ...], k: int) -> bool:
    """Whether part k is what pydantic puts behind a feature's number: no key, though some keys are called alike."""
    return k > 0 and isinstance(loc[k - 1], int) and loc[k] in FEATURE_KINDS
