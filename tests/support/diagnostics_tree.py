"""The tree that diagnostic_aggregator 4.0 makes of /diagnostics by rules such as config/rqt/diagnostics.yaml.

After its sources `generic_analyzer_base.hpp` and `analyzer_group.cpp`, for the settings that the file uses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

OK, WARN, ERROR, STALE = range(4)
_KNOWN = {"type", "path", "startswith", "timeout", "num_items"}
_ANY = -1  # num_items where it is not given


@dataclass
class Branch:
    """One GenericAnalyzer."""

    path: str
    startswith: tuple[str, ...]
    timeout_s: float
    num_items: int
    items: dict[str, tuple[int, float]] = field(default_factory=dict)  # name -> level, wall time of the newest [s]

    def matches(self, name: str) -> bool:
        return name.startswith(self.startswith)

    def level(self, wall_s: float) -> int:
        if not self.items and self.num_items == 0:
            return OK
        assert self.num_items in (0, _ANY), "more is not written here"
        stale = {name: wall_s - at > self.timeout_s for name, (_, at) in self.items.items()}
        level = max((STALE if stale[name] else item for name, (item, _) in self.items.items()), default=STALE)
        if all(stale[name] or item == STALE for name, (item, _) in self.items.items()):
            return STALE
        return ERROR if level == STALE else level


class Tree:
    """Feeds rules with diagnostics; wall times are of any clock [s]."""

    def __init__(self, rules: Path) -> None:
        parameters: dict[str, Any] = yaml.safe_load(rules.read_text(encoding="utf-8"))["/**"]["ros__parameters"]
        self.branches: list[Branch] = []
        for value in (value for value in parameters.values() if isinstance(value, dict)):
            assert value["type"] == "diagnostic_aggregator/GenericAnalyzer"
            assert set(value) <= _KNOWN, "not written here"
            self.branches.append(
                Branch(value["path"], tuple(value["startswith"]), value["timeout"], value.get("num_items", _ANY))
            )

    def heard(self, array: Any, wall_s: float) -> None:
        """A diagnostic_msgs/DiagnosticArray, of rclpy or of a bag."""
        for status in array.status:
            level = status.level[0] if isinstance(status.level, bytes) else int(status.level)
            for branch in self.branches:
                if branch.matches(status.name):
                    branch.items[status.name] = level, wall_s

    def levels(self, wall_s: float) -> dict[str, int]:
        """Level of each branch, by its path."""
        return {branch.path: branch.level(wall_s) for branch in self.branches}

    def top(self, wall_s: float) -> int:
        """Level of the whole tree."""
        levels = self.levels(wall_s).values()
        return ERROR if max(levels) == STALE and min(levels) != STALE else max(levels)
