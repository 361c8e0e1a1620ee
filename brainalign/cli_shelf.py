"""What has a card, and what is kept on this disk? `brainalign models`, `datasets` and `cache`."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brainalign.errors import SettingsError

if TYPE_CHECKING:
    from brainalign.pieces import Piece

models_app = typer.Typer(help="The models that have a card: list, show, fetch, remove.", no_args_is_help=True)
datasets_app = typer.Typer(help="The data sets that have a card: list, show.", no_args_is_help=True)
cache_app = typer.Typer(help="What was computed or fetched and is kept: list, size, prune.", no_args_is_help=True)

Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of cards.")]
AsJson = Annotated[bool, typer.Option("--json")]
DAY_S = 86_400.0


@models_app.command("list")
def models_list() -> None:
    """Every model with a card, what it is for, and whether it is here."""
    from brainalign.features.cards import KINDS, model_cards
    from brainalign.features.models import is_here

    rows = [
        (card.name, card.title, card.licence, KINDS[card.kind].use, "here" if is_here(card.name) else "to fetch")
        for card in model_cards().values()
    ]
    table(("name", "what", "licence", "for", "files"), rows)
    typer.echo("\nA local folder or a Hugging Face id (org/name) stands wherever a model of text or pictures is named.")


@models_app.command("show")
def models_show(name: str) -> None:
    """A model's card."""
    from brainalign.features.cards import model_card

    show(model_card(name))


@models_app.command("fetch")
def models_fetch(
    names: Names,
    accept_terms: Annotated[bool, typer.Option("--accept-terms", help="You accept the terms on their cards.")] = False,
) -> None:
    """Download models, check them, convert them once; afterwards they work offline."""
    from brainalign.features.cards import model_card
    from brainalign.features.fetching import check_terms, fetch_model
    from brainalign.features.models import is_here

    for name in names:  # all are looked at before the first is downloaded
        if not is_here(name):
            check_terms(model_card(name), accept_terms)
    for name in names:
        typer.echo(fetch_model(name, progress=say, accept_terms=accept_terms))


@models_app.command("remove")
def models_remove(names: Names) -> None:
    """Delete models that were fetched."""
    from brainalign.features.cards import model_card
    from brainalign.store import Store

    for card in [model_card(name) for name in names]:
        if card.is_shipped:
            raise SettingsError(f"model {card.name!r} came with brainalign: there is nothing to remove")
        gone = Store().remove(card.key())
        typer.echo(f"{card.name}: {'removed' if gone else 'was not fetched'}")


@datasets_app.command("list")
def datasets_list() -> None:
    """Every data set with a card."""
    from brainalign.io.fetch import dataset_cards

    table(("name", "what", "licence"), [(c.name, c.title, c.licence) for c in dataset_cards().values()])


@datasets_app.command("show")
def datasets_show(name: str) -> None:
    """A data set's card: what it is, its licence, and its clock."""
    from brainalign.io.fetch import dataset_card

    show(dataset_card(name))


@cache_app.command("list")
def cache_list(as_json: AsJson = False) -> None:
    """Every piece that is kept, the longest unused first."""
    from brainalign.store import Store

    pieces = sorted(Store().pieces(), key=lambda piece: piece.used)
    if as_json:
        keys = ("key", "meta", "bytes", "made", "used")
        typer.echo(json.dumps([dict(zip(keys, _described(piece), strict=True)) for piece in pieces], indent=2))
        return
    rows = []
    for piece in pieces:
        key, meta, size, made, used = _described(piece)
        rows.append((key[:12], str(meta.get("what", "")), _about(meta), megabytes(size), made[:10], used[:10]))
    table(("key", "what", "about", "size", "made", "last used"), rows)


@cache_app.command("size")
def cache_size(as_json: AsJson = False) -> None:
    """How much disk it takes, and where it is."""
    from brainalign.store import Store

    store = Store()
    pieces = store.pieces()
    sizes = {"bytes": store.size(), "models_bytes": sum(p.bytes for p in pieces if is_model(p)), "pieces": len(pieces)}
    if as_json:
        typer.echo(json.dumps({"folder": str(store.root)} | sizes, indent=2))
        return
    typer.echo(
        f"{megabytes(sizes['bytes'])} in {len(pieces)} pieces, of which {megabytes(sizes['models_bytes'])} are fetched "
        f"models; in {store.root}"
    )


@cache_app.command("prune")
def cache_prune(
    older_than: Annotated[
        float | None, typer.Option(metavar="DAYS", min=0, help="Also what was not used for so many days.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also whatever else is kept.")] = False,
    models: Annotated[bool, typer.Option("--models", help="Fetched models too, which stay otherwise.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete what is of no use, and what else you say; it can all be made or fetched again.

    Of no use is what is harmed, what dead processes left half written, and parts of a whole that is there. Finished
    parts of a whole that is not there yet stay, because the run that is started again goes on from them.
    """
    from brainalign.store import Store

    if everything and older_than is not None:
        raise SettingsError("say either --all or --older-than DAYS")
    if models and not everything and older_than is None:
        raise SettingsError(
            "--models goes with --all or --older-than DAYS; one model is deleted by `brainalign models remove NAME`"
        )
    store = Store()
    pieces = store.pieces() if everything or older_than is not None else []
    since = math.inf if everything else time.time() - DAY_S * (older_than or 0.0)
    unwanted = choose(pieces, since, models)
    if unwanted and not yes and not _agreed(unwanted):
        typer.echo("nothing was deleted", err=True)
        return
    freed = store.prune(unwanted)
    if as_json:
        typer.echo(json.dumps({"pieces": len(unwanted), "bytes": freed}))
    else:
        typer.echo(f"{megabytes(freed)} freed: {len(unwanted)} pieces, and what was harmed or of no more use")


def choose(pieces: Iterable[Piece], unused_since: float, models: bool) -> list[Piece]:
    """The pieces that were not asked for since then (seconds since 1970); fetched models only if that is wanted."""
    return [piece for piece in pieces if piece.used <= unused_since and (models or not is_model(piece))]


def is_model(piece: Piece) -> bool:
    """Whether a kept piece is a model that was fetched, and not something computed."""
    from brainalign.features.fetching import KEPT_AS

    return piece.meta.get("what") == KEPT_AS


def _agreed(unwanted: list[Piece]) -> bool:
    size = megabytes(sum(piece.bytes for piece in unwanted))
    named = [piece.meta["model"] for piece in unwanted if is_model(piece)]
    models = f", with the models {', '.join(named)}" if named else ""
    try:
        return typer.confirm(f"Delete {len(unwanted)} pieces, {size}{models}?", err=True)
    except typer.Abort as error:  # nobody is there to answer
        raise SettingsError("nothing was deleted, there was no answer: --yes deletes without a question") from error


def _described(piece: Piece) -> tuple[str, dict[str, Any], int, str, str]:
    made, used = (datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds") for at in (piece.made, piece.used))
    return piece.key, piece.meta, piece.bytes, made, used


def _about(meta: Mapping[str, Any]) -> str:
    """What a piece's description says of it besides what it is, for a table."""
    from brainalign.store import PART_OF

    said = {name: value for name, value in meta.items() if name != "what"}
    first = []
    if PART_OF in said:
        number, of, whole = (said.pop(name) for name in ("part", "parts", PART_OF))
        first = [f"part {number + 1} of {of} of {whole[:12]}"]
    return ", ".join([*first, *(f"{name} {value}" for name, value in said.items())])


def megabytes(n: int) -> str:
    """A number of bytes for people: 1,234.5 MB."""
    return f"{n / 1e6:,.1f} MB"


def say(line: str) -> None:
    """Tell the person who waits, on stderr: stdout is for what was asked for."""
    typer.echo(line, err=True)


def show(card: Any) -> None:
    """Print a card, without what it leaves open."""
    import yaml

    said = {name: value for name, value in asdict(card).items() if value not in (None, {}, ())}
    typer.echo(yaml.safe_dump(said, sort_keys=False, allow_unicode=True).strip())


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print rows under a header; as wide as they need to be where no terminal sets a limit."""
    from rich.console import Console
    from rich.table import Table

    lines = Table(*header, box=None, pad_edge=False)
    for row in rows:
        lines.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 160).print(lines)
