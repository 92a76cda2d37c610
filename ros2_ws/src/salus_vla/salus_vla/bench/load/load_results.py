"""What was measured under load, as rows of a Markdown table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """One measurement: what was asked, what was seen, and what is wrong with it."""

    load: str
    seen: str
    problems: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Nothing is wrong."""
        return not self.problems


def table(results: Iterable[Result]) -> str:
    """A Markdown table, one row per measurement."""
    lines = ["| load | measured | verdict |", "|---|---|---|"]
    lines += [f"| {r.load} | {r.seen} | {'passed' if r.passed else '**failed**'} |" for r in results]
    return "\n".join(lines)
