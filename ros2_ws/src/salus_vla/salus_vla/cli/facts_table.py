"""Facts as two columns without lines: a name, and what folds beside it."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def print_facts(console: Console, facts: Iterable[tuple[str, str]], title: str | None = None) -> None:
    """Prints names with their values; nothing of no facts."""
    table = Table(title=title, show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(escape(name), escape(value))
    if table.row_count:
        console.print(table)
