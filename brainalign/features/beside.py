"""What do the files say that lie beside a model's weights?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from brainalign.errors import InputError, SettingsError
from brainalign.features.loading import ResolvedModel
from brainalign.provenance import check_inside

WHOLE = ("config.json", ".gitattributes")  # files of a repository of the hub that was fetched as a whole


def read_beside(model: ResolvedModel, name: str, kind: type) -> Any:
    """What a JSON file of a model's folder holds, a `kind` (dict or list); None if there is no such file.

    Raises
    ------
    InputError
        It is no JSON, or holds something else.
    SettingsError
        A model of the hub whose file cannot be seen without a network.

    Notes
    -----
    Without a network, a file that is not in the cache is known not to be there where the cache says so, or where the
    whole repository was fetched (`hf download ID`): config.json is there, and .gitattributes, which nothing else
    fetches.

    Examples
    --------
    >>> from brainalign.features.models import locate_model
    >>> read_beside(locate_model("stories260k"), "config.json", dict)["model_type"]
    'llama'
    """
    path = beside(model, name)
    if path is None:
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{name} of model {model.name!r} is not JSON: {error}") from error
    if not isinstance(content, kind):
        raise InputError(f"{name} of model {model.name!r} is no JSON {kind.__name__}: found {type(content).__name__}")
    return content


def beside(model: ResolvedModel, name: str) -> Path | None:
    """Where a file of a model's folder is; None if there is none.

    Raises
    ------
    InputError
        The name, which another file may have given, leads outside the folder.
    SettingsError
        As `read_beside`.
    """
    check_inside(name, model.place)
    path = Path(model.place, name) if model.commit is None else _on_hub(model, name)
    return path if path is not None and path.is_file() else None


def _on_hub(model: ResolvedModel, name: str) -> Path | None:
    from huggingface_hub import errors, hf_hub_download, try_to_load_from_cache

    known = try_to_load_from_cache(model.place, name, revision=model.commit)
    if known is not None:
        return Path(known) if isinstance(known, str) else None  # else it is known that there is none
    try:
        return Path(hf_hub_download(model.place, name, revision=model.commit))
    except (errors.LocalEntryNotFoundError, ConnectionError) as error:
        whole = (try_to_load_from_cache(model.place, one, revision=model.commit) for one in WHOLE)
        if all(isinstance(path, str) for path in whole):
            return None
        raise SettingsError(
            f"how model {model.name!r} is used cannot be seen: {name} is not in the Hugging Face cache, and the hub "
            "cannot be reached. Use the model once with a network, or give its folder instead of its id"
        ) from error
    except errors.EntryNotFoundError:
        return None
