"""Every message that docs/troubleshooting.md quotes is one of the source."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
PACKAGE = ROOT / "ros2_ws" / "src" / "salus_vla" / "salus_vla"
GAP = "\0"  # what is filled in
QUOTED = re.findall(r"^\| `(.+?)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def template(node: ast.AST) -> str | None:
    """A string of the source with a gap for each value; None for what is not a string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(template(value) or GAP for value in node.values)
    return None


@cache
def templates() -> tuple[str, ...]:
    """Every string of the package, and every line of the set-up scripts."""
    found: list[str] = []
    for file in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        found += [text for node in ast.walk(tree) if (text := template(node))]
    for file in (ROOT / "tools" / "env.sh", ROOT / "tools" / "setup.sh"):
        found += file.read_text(encoding="utf-8").splitlines()
    return tuple(found)


def is_in_source(message: str) -> bool:
    """Whether one string of the source has all the fixed words, in order."""
    pattern = re.compile(".*".join(re.escape(words.strip()) for words in message.split("…")), re.DOTALL)
    return any(pattern.search(text) for text in templates())


def test_there_are_messages() -> None:
    assert len(QUOTED) > 25
    assert len(QUOTED) == len(set(QUOTED))


@pytest.mark.parametrize("message", QUOTED)
def test_a_quoted_message_is_in_the_source(message: str) -> None:
    words = max(message.split("…"), key=len).strip()
    assert len(words) >= 8, "too few fixed words to find anything by"
    assert is_in_source(message)


def test_a_message_that_nobody_writes_is_noticed() -> None:
    assert not is_in_source("the flux capacitor of … is empty")
