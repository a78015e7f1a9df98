"""The terminal: the one console that everything is printed on, and its progress bars."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

console = Console()


@contextmanager
def bar(title: str, total: int) -> Iterator[Any]:
    """Show a progress bar; yields the function that moves it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        task = progress.add_task(title, total=total or None, note="")
        yield lambda done, note: progress.update(task, completed=done, note=note)


@contextmanager
def silent(title: str, total: int) -> Iterator[Any]:
    """Show nothing, where what is printed is to be read by a program."""
    yield lambda done, note: None
