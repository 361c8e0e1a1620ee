"""Where are the files that came with the package: cards, samples, small models?"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from brainalign.errors import InputError, did_you_mean

CARDS = {"models": "models/*/card.yaml", "datasets": "cards/*.yaml"}


def shipped(*parts: str) -> Path:
    """The path of a file or folder that came with the package.

    Parameters
    ----------
    *parts : str
        The way to it from the folder of shipped things: ``shipped("sample", "alice")``. None: that folder itself.

    Returns
    -------
    Path
        It exists. In a checkout it lies under `datasets/`, in an installed wheel under `brainalign/_shipped/`.

    Raises
    ------
    InputError
        Nothing of that name came with the package.

    Examples
    --------
    >>> shipped().is_dir()
    True
    """
    return find_shipped(Path(__file__).parent, *parts)


def find_shipped(package: Path, *parts: str) -> Path:
    """As `shipped`, for a package that lies in the folder `package`."""
    path = package / "_shipped" if (package / "_shipped").is_dir() else package.parent / "datasets"
    for part in parts:
        if not (path / part).exists():
            beside = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
            raise InputError(f"{'/'.join(parts)} did not come with brainalign; " + did_you_mean(part, beside))
        path = path / part
    return path


def cards(kind: Literal["models", "datasets"]) -> dict[str, dict[str, Any]]:
    """The cards of the models or data sets the package knows, by name.

    Parameters
    ----------
    kind : {"models", "datasets"}
        A model's card is `models/NAME/card.yaml` (its files may lie beside it), a data set's `cards/NAME.yaml`.

    Returns
    -------
    dict
        name → the card's content, names sorted.

    Raises
    ------
    InputError
        A card is not a YAML mapping.

    Examples
    --------
    >>> all(isinstance(card, dict) for card in cards("models").values())
    True
    """
    return read_cards(shipped(), kind)


def read_cards(folder: Path, kind: Literal["models", "datasets"]) -> dict[str, dict[str, Any]]:
    """As `cards`, for the shipped things in `folder`."""
    import yaml

    found = {}
    for path in sorted(folder.glob(CARDS[kind])):
        try:
            card = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise InputError(f"{path} is not YAML: {error}") from error
        if not isinstance(card, dict):
            raise InputError(f"{path} is not a card: a card is a YAML mapping, found {type(card).__name__}")
        found[path.parent.name if kind == "models" else path.stem] = card
    return found
