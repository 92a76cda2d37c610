"""What several commands print: facts in two columns, tables of figures, and what is done next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from salus_vla.learning.evaluation.tables import Table as Figures


def print_facts(console: Console, facts: Iterable[tuple[str, str]], title: str | None = None) -> None:
    """Prints names with their values; nothing of no facts."""
    table = Table(title=title, show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(escape(name), escape(value))
    if table.row_count:
        console.print(table)


def print_figures(console: Console, tables: Iterable[Figures], names: int = 1) -> None:
    """Prints tables of figures, of which the first columns are names."""
    for table in tables:
        shown = Table(title=table.title, title_justify="left", title_style="bold")
        for index, head in enumerate(table.head):
            shown.add_column(escape(head), justify="left" if index < names else "right")
        for row in table.rows:
            shown.add_row(*map(escape, row))
        console.print(shown)


def say(text: str) -> None:
    """Says on standard error what is done next."""
    Console(stderr=True).print(escape(text), soft_wrap=True)
