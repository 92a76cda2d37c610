"""Hundreds of episodes without anybody looking: is anything lost, does the memory of any process grow?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from salus_vla.bench.faults.bag_checks import RunChecker
from salus_vla.bench.faults.running_graph import Collecting
from salus_vla.bench.load.load_results import Result
from salus_vla.contract.errors import SalusError
from salus_vla.data.bags.run_info import read_run
from salus_vla.ros.environment.shared_memory import SHM, segments_of

SEED = 20_000
DECISIONS = 8
_EVERY_S = 2.0
_MIB = 1024 * 1024
# From the second quarter of the run to the last. The recorder's list of episodes grows by some 100 kB in 500 of them.
GROWTH_ALLOWED_MIB = 8.0
_RUN = "run"


@dataclass
class Memory:
    """Samples of one run: resident memory per process and shared memory of all, [MiB], in order of time."""

    resident: dict[str, list[float]] = field(default_factory=dict)
    shared: list[float] = field(default_factory=list)

    def sample(self, processes: Mapping[str, psutil.Process]) -> None:
        """Adds a sample of each process that lives."""
        shared = 0
        for name, process in processes.items():
            with suppress(psutil.NoSuchProcess, OSError):
                self.resident.setdefault(name, []).append(process.memory_info().rss / _MIB)
                shared += sum((SHM / segment).stat().st_size for segment in segments_of(process.pid))
        self.shared.append(shared / _MIB)

    def growths(self) -> dict[str, float]:
        """Per process, and for /dev/shm: growth between the second quarter of the run and the last one [MiB]."""
        series = {**self.resident, str(SHM): self.shared}
        return {name: growth(samples) for name, samples in series.items() if len(samples) >= 8}


def growth(samples: Sequence[float]) -> float:
    """Difference of the medians of the last and the second quarter, in the unit of the samples.

    The first quarter is left out: caches fill and libraries are loaded in it.
    """
    quarter = len(samples) // 4
    return statistics.median(samples[-quarter:]) - statistics.median(samples[quarter : 2 * quarter])


def run_episodes(folder: Path, episodes: int) -> Result:
    """Collects episodes of `DECISIONS` decisions each with the policy `hold`, and looks at memory and bags."""
    options = ["--episodes", str(episodes), "--run-id", _RUN, "--seed", str(SEED)]
    collecting = Collecting(folder / "runs", [*options, "--policy", "hold", "--max-decisions", str(DECISIONS)])
    began, memory = time.monotonic(), Memory()
    try:
        while not collecting.ended:
            with suppress(SalusError):  # ended meanwhile
                memory.sample(collecting.processes())
            collecting.wait_at_most(_EVERY_S)
        code = collecting.wait()
    finally:
        collecting.kill_all()
    minutes = (time.monotonic() - began) / 60
    run = folder / "runs" / _RUN
    entries = read_run(run).record.episodes
    problems = [f"exit code {code}: {collecting.output}"] if code else []
    problems += RunChecker(run, SEED).problems()
    gaps = sum(entry.gaps for entry in entries)
    if len(entries) != episodes:
        problems.append(f"{len(entries)} episodes of {episodes}")
    if gaps:
        problems.append(f"{gaps} gaps in {[entry.path for entry in entries if entry.gaps]}")
    growths = memory.growths()
    problems += [f"{name} grew by {by:.1f} MiB" for name, by in growths.items() if by > GROWTH_ALLOWED_MIB]
    messages = sum(entry.messages for entry in entries)
    most = ", ".join(f"{name} {by:+.1f}" for name, by in sorted(growths.items(), key=lambda item: -item[1]))
    seen = f"{len(entries)} in {minutes:.1f} minutes, {messages} messages, {gaps} gaps; growth [MiB]: {most}"
    return Result(f"{episodes} episodes of {DECISIONS} decisions, unattended, in lockstep", seen, tuple(problems))
