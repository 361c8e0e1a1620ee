"""How far is it, and how long will it take? A bar where somebody looks, nothing animated where nobody does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int, str], None]
"""Called with (pieces done, pieces in all, what is being done)."""


def silent(done: int, total: int, what: str) -> None:
    """A Progress that says nothing."""


@contextmanager
def bar(elsewhere: Progress = silent) -> Iterator[Progress]:
    """A bar with the time left where stderr is a terminal; `elsewhere` is told where it is not.

    Examples
    --------
    >>> with bar() as tell:
    ...     for k in range(3):
    ...         tell(k + 1, 3, "counting")
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield elsewhere
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task("starting", total=1)
        yield lambda done, total, what: shown.update(task, completed=done, total=total, description=what)
