"""No terminal is too narrow for the number of an episode and how it ended."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from salus_vla.cli.bag import _EPISODE_COLUMNS, _TOPIC_COLUMNS
from salus_vla.cli.narrow_table import Column, narrow_table

ROWS = [
    ("0", "500000", "SUCCESS", "61", "6.1", "0", "episode_000000"),
    ("123456", "500001", "TIMEOUT", "200", "20.0", "[red]3[/red]", "episode_123456"),
]


def shown(width: int, rows: list[tuple[str, ...]] = ROWS) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(narrow_table(_EPISODE_COLUMNS, rows, width))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= width
    return str(text)


def test_a_wide_terminal_shows_everything() -> None:
    text = shown(100)
    assert all(cell.removeprefix("[red]").removesuffix("[/red]") in text for row in ROWS for cell in row)
    assert "not shown" not in text


def test_a_narrow_one_says_what_is_left_out() -> None:
    text = shown(40)
    assert "not shown: decisions, seconds, bag" in " ".join(text.split())
    assert "gaps" in text


@given(st.integers(26, 120))
def test_number_and_outcome_are_whole_at_every_width(width: int) -> None:
    text = shown(width)
    for row in ROWS:
        assert row[0] in text
        assert row[2] in text
    assert "…" not in text


def test_a_long_outcome_takes_a_second_line() -> None:
    text = shown(26, [("0", "1", "COLLISION (recovered)", "1", "0.1", "0", "episode_000000")])
    assert "COLLISION" in text
    assert "recovered" in text


@pytest.mark.parametrize("rows", [[], [("", "")]])
def test_empty_tables_are_no_error(rows: list[tuple[str, str]]) -> None:
    Console(file=io.StringIO(), width=10).print(narrow_table((Column("a"), Column("b", rank=1)), rows, 10))


TOPICS = [
    ("/ground_truth/red_cube/pose", "geometry_msgs/PoseStamped", "3051", "50", "50", "[red]1[/red]", "2"),
    ("/salus/episode", "salus_msgs/Episode", "12", "-", "-", "-", "-"),
]


@pytest.mark.parametrize(
    ("width", "cells"),
    [
        (120, "geometry_msgs/PoseStamped 3051 missing due"),
        (72, "geometry_msg 3051 missing due"),
        (40, "pose 3051 gaps"),
    ],
)
def test_topics_keep_their_names_and_counts(width: int, cells: str) -> None:
    console = Console(file=io.StringIO(), width=width)
    console.print(narrow_table(_TOPIC_COLUMNS, TOPICS, width, "Topics", plain=True))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= width
    assert all(row[0] in text and f" {row[2]} " in f"{text} " for row in TOPICS)
    assert all(cell in text for cell in cells.split())
    if width == 40:
        assert "not shown: type" in " ".join(text.split())
