"""One line of the table of `salus check-sim`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """A rule of the topic contract, and whether the simulator keeps it.

    Attributes:
        rule: short name, unique in a table.
        expected: what the contract says.
        seen: what came instead, or as well.
        passed: None where it cannot be judged here.
    """

    rule: str
    expected: str
    seen: str
    passed: bool | None
