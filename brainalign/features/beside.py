"""What do the files say that lie beside a model's weights?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from brainalign.errors import InputError, SettingsError
from brainalign.features.loading import ResolvedModel


def read_beside(model: ResolvedModel, name: str, kind: type) -> Any:
    """What a JSON file of a model's folder holds, a `kind` (dict or list); None if there is no such file.

    Raises
    ------
    InputError
        It is no JSON, or holds something else.
    SettingsError
        A model of the hub whose file cannot be seen without a network.

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
    """Where a file of a model's folder is; None if there is none."""
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
        raise SettingsError(
            f"how model {model.name!r} is used cannot be seen: {name} is not in the Hugging Face cache, and the hub "
            "cannot be reached. Use the model once with a network, or give its folder instead of its id"
        ) from error
    except errors.EntryNotFoundError:
        return None
