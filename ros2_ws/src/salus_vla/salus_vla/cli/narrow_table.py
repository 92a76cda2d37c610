"""A table that leaves out columns where a terminal is narrow, instead of making every one of them unreadable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

_BETWEEN = 3  # cells that a column's border and padding take


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its head.
        rank: columns with the largest go first where there is no room; 0 stays always.
        right: set to the right, as numbers are.
        least: cells that it needs, where the rest of it may be cut; None where all of it is shown.
    """

    name: str
    rank: int = 0
    right: bool = False
    least: int | None = None


def narrow_table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    width: int,
    title: str | None = None,
    *,
    plain: bool = False,
) -> Table:
    """A table of at most `width` cells; its caption names the columns that are left out.

    Args:
        columns: in their order.
        rows: cells with rich's markup, one for each column.
        width: of the terminal.
        title: above the table.
        plain: without borders between the columns.
    """
    between = 1 if plain else _BETWEEN
    sizes = [
        max([cell_len(column.name), *(Text.from_markup(row[index]).cell_len for row in rows)])
        for index, column in enumerate(columns)
    ]
    needed = [min(sizes[index], column.least or sizes[index]) for index, column in enumerate(columns)]
    shown = list(range(len(columns)))
    while sum(needed[index] + between for index in shown) + 1 > width:
        last = max(shown, key=lambda index: columns[index].rank)
        if columns[last].rank == 0:
            break
        shown.remove(last)
    # Where one gives way no other does.
    whole = any(columns[index].least for index in shown) and sum(needed[i] + between for i in shown) + 1 <= width
    left_out = ", ".join(column.name for index, column in enumerate(columns) if index not in shown)
    caption = f"not shown: {left_out}" if left_out else None
    table = Table(title=title, caption=caption)
    if plain:
        table = Table(title=title, caption=caption, box=SIMPLE_HEAD, padding=0)
    for index in shown:
        column = columns[index]
        # A head is never cut; the last of what stays may take a second line.
        table.add_column(
            column.name,
            justify="right" if column.right else "left",
            no_wrap=column.right or (whole and column.least is None),
            overflow="fold" if column.least is None else "ellipsis",
            min_width=sizes[index]
            if column.right or (whole and column.least is None)
            else min(sizes[index], max(cell_len(column.name), 1)),
        )
    for row in rows:
        table.add_row(*(row[index] for index in shown))
    return table
