"""One line of the table of `salus check-sim`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True)
class Verdict:
    """A rule of the topic contract, and whether the simulator keeps it.

    Attributes:
        rule: short name, unique in a table.
        expected: what the contract says.
        seen: what came instead, or as well.
        passed: None where it cannot be judged here, or not before another rule is kept.
    """

    rule: str
    expected: str
    seen: str
    passed: bool | None

    def behind(self, cause: str) -> Self:
        """The same where it is kept; not judged where it is broken and `cause`, another rule, is why (empty: none)."""
        if not cause or self.passed is not False:
            return self
        return replace(self, seen=f"{self.seen}; see {cause!r}", passed=None)
