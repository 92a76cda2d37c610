"""Repeated timing of one call."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Wall times of repeated calls [ms].

    Attributes:
        name: what was timed.
        median_ms, p95_ms: over the calls, warm-up left out.
        calls: how many were timed.
    """

    name: str
    median_ms: float
    p95_ms: float
    calls: int


def summarize(name: str, seconds: list[float]) -> Timing:
    """Median and 95th percentile of wall times [s]."""
    milliseconds = np.array(seconds) * 1e3
    return Timing(name, float(np.median(milliseconds)), float(np.percentile(milliseconds, 95)), len(seconds))


def measure(name: str, call: Callable[[], object], *, calls: int, warm_up: int = 3) -> Timing:
    """Times a call."""
    seconds = []
    for i in range(calls + warm_up):
        began = time.perf_counter()
        call()
        if i >= warm_up:
            seconds.append(time.perf_counter() - began)
    return summarize(name, seconds)


def measure_in_turns(
    calls_by_name: Mapping[str, Callable[[], object]], *, calls: int, warm_up: int = 1
) -> dict[str, Timing]:
    """Times several calls in turns: what slows the machine for a while slows all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in calls_by_name}
    for i in range(calls + warm_up):
        for name, call in calls_by_name.items():
            began = time.perf_counter()
            call()
            if i >= warm_up:
                seconds[name].append(time.perf_counter() - began)
    return {name: summarize(name, times) for name, times in seconds.items()}
