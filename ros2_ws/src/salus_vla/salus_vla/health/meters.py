"""Rates, gaps, latencies and memory of a node, as the parts of its diagnostics."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

import numpy as np

SLOW = 0.8  # a rate below this share of what is expected is reported


class Level(IntEnum):
    """Levels of diagnostic_msgs/msg/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True)
class DiagnosticPart:
    """One line of a node's diagnostics.

    Attributes:
        name: what it is about, `camera front`.
        values: numbers, with the unit in the key.
        level: how bad it is.
        message: what is wrong, or `ok`.
    """

    name: str
    values: Mapping[str, float] = field(default_factory=dict)
    level: Level = Level.OK
    message: str = "ok"


class RateMeter:
    """Counts the messages of one topic between two reports."""

    def __init__(self, expected_hz: float, *, patience: int = 1) -> None:
        """Expects `expected_hz` messages per second of ROS time; warns when they are too few in `patience` reports."""
        self._expected_hz = expected_hz
        self._patience = patience
        self._slow_reports = 0
        self._count = self._total = 0
        self._since_ns: int | None = None
        self._last_ns: int | None = None
        self._longest_ns = 0

    def add(self, now_ns: int) -> None:
        """Counts a message at its stamp or, where it has none, at the time it came [ns]."""
        if self._last_ns is not None and now_ns < self._last_ns:
            self._since_ns, self._last_ns, self._count, self._longest_ns = now_ns, None, 0, 0  # the clock jumped back
        if self._last_ns is not None:
            self._longest_ns = max(self._longest_ns, now_ns - self._last_ns)
        if self._since_ns is None:
            self._since_ns = now_ns
        self._last_ns = now_ns
        self._count += 1
        self._total += 1

    def part(self, name: str, now_ns: int) -> DiagnosticPart:
        """What came since the last report, at ROS time `now_ns`; begins the next report."""
        if self._last_ns is None or self._since_ns is None:
            return DiagnosticPart(
                name, {"expected_hz": self._expected_hz, "messages": 0}, Level.STALE, "nothing received yet"
            )
        span_s = max(now_ns, self._last_ns) * 1e-9 - self._since_ns * 1e-9
        longest_s = max(self._longest_ns, now_ns - self._last_ns) * 1e-9
        rate = self._count / span_s if span_s > 0.0 else 0.0
        values = {
            "rate_hz": round(rate, 2),
            "expected_hz": self._expected_hz,
            "longest_gap_s": round(longest_s, 4),
            "messages": self._total,
        }
        # Below three periods a count says nothing about a rate.
        judged = span_s * self._expected_hz >= 3.0
        too_few = judged and self._count + 1 < SLOW * self._expected_hz * span_s
        self._slow_reports = self._slow_reports + 1 if too_few else 0
        slow = self._slow_reports >= self._patience
        self._since_ns, self._count, self._longest_ns = max(now_ns, self._last_ns), 0, 0
        message = f"{rate:.1f} Hz, expected {self._expected_hz:g} Hz" if slow else "ok"
        return DiagnosticPart(name, values, Level.WARN if slow else Level.OK, message)


class LatencyMeter:
    """The newest latencies of one stage."""

    def __init__(self, keep: int = 500) -> None:
        """Keeps this many."""
        self._milliseconds: deque[float] = deque(maxlen=keep)

    def add(self, milliseconds: float) -> None:
        """Adds one [ms]."""
        self._milliseconds.append(milliseconds)

    def values(self, stage: str) -> dict[str, float]:
        """Median and 99th percentile, `STAGE_ms_p50` and `STAGE_ms_p99`; nothing before the first."""
        if not self._milliseconds:
            return {}
        p50, p99 = np.percentile(np.array(self._milliseconds), (50, 99))
        return {f"{stage}_ms_p50": round(float(p50), 3), f"{stage}_ms_p99": round(float(p99), 3)}


def resources() -> DiagnosticPart:
    """Memory of this process [MB], and of torch on each GPU that it uses."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    values = {"process_memory_mb": round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)}
    torch = sys.modules.get("torch")  # never imported for its memory
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        for index in range(torch.cuda.device_count()):
            values[f"gpu{index}_allocated_mb"] = round(torch.cuda.memory_allocated(index) / 1e6, 1)
            values[f"gpu{index}_reserved_mb"] = round(torch.cuda.memory_reserved(index) / 1e6, 1)
    return DiagnosticPart("resources", values)


def disk(free_bytes: int, warn_gb: float) -> DiagnosticPart:
    """Disk space left; a warning below `warn_gb` [GB]."""
    free_gb = free_bytes / 1e9
    low = free_gb < warn_gb
    message = f"{free_gb:.2f} GB left, warned below {warn_gb:g} GB" if low else "ok"
    values = {"disk_free_gb": round(free_gb, 3), "warn_below_gb": warn_gb}
    return DiagnosticPart("disk", values, Level.WARN if low else Level.OK, message)
