"""Runs the benchmarks and prints their table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

import psutil
from rich.console import Console
from rich.table import Table

from salus_vla.bench import parts
from salus_vla.bench.realtime import RealtimePace, realtime_pace
from salus_vla.bench.startup import start_up
from salus_vla.bench.timing import Timing
from salus_vla.config.policy_options import BUILTIN_COMPACT, BUILTIN_TINY
from salus_vla.config.scene import load_scene
from salus_vla.contract import DECISION_HZ
from salus_vla.data.bags.run_info import read_run
from salus_vla.ros.environment.domains import private_graph

_FULL_NEEDS = 16 * 2**30  # five policies in fp32 one by one, then the engine with one and with five members [bytes]
_MODELS = (BUILTIN_TINY, BUILTIN_COMPACT)
_PARTS = ("physics", "rendering", "transport", "inference", "recording")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the engine against LeRobot, a decision part by part, the graph in lockstep and in realtime, and starts."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--calls", type=int, default=50, help="timed calls per part (default: 50)")
    parser.add_argument("--episodes", type=int, default=3, help="episodes of the whole graph (default: 3)")
    parser.add_argument("--decisions", type=int, default=100, help="decisions per episode (default: 100)")
    parser.add_argument("--starts", type=int, default=3, help="starts of the graph (default: 3)")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="the numbers (default: bench.json)")
    parser.add_argument(
        "--sizes", nargs="*", choices=("tiny", "full"), help="of the engine (default: what fits memory)"
    )
    arguments = parser.parse_args(argv)
    console = Console()
    sizes = arguments.sizes if arguments.sizes is not None else _sizes_that_fit(console)
    engines = {size: _engine(size) for size in sizes}
    scene = load_scene()
    with private_graph(os.environ):
        timings, observation = parts.simulation(scene, arguments.calls)
        inference = {name: parts.inference(scene, observation, arguments.calls, name) for name in _MODELS}
        timings += [inference[BUILTIN_TINY], parts.naive_loop(observation, arguments.calls)]
        timings.append(parts.recording(observation, arguments.calls))
        timings.append(parts.transport(observation, arguments.calls))
        rates = {name: graph_rates(name, arguments.episodes, arguments.decisions) for name in _MODELS}
        paces = [realtime_pace(name, arguments.episodes, arguments.decisions) for name in rates]
        starts = [
            start_up("hold", ["--policy", "hold"], arguments.starts),
            start_up(BUILTIN_COMPACT, ["--model", BUILTIN_COMPACT], arguments.starts),
        ]
    by_name = {timing.name: timing for timing in timings}
    _print(console, by_name)
    _print_rates(console, by_name, inference, rates)
    _print_paces(console, paces)
    for start in starts:
        each = ", ".join(f"{seconds:.1f}" for seconds in start.seconds)
        console.print(f"from the command to the first decision, {start.what}: {median(start.seconds):.1f} s ({each})")
    content = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "engines": engines,
        "parts": [asdict(timing) for timing in timings],
        "inference": {name: asdict(timing) for name, timing in inference.items()},
        "graph_decisions_per_s": rates,
        "realtime": [asdict(pace) for pace in paces],
        "starts": [asdict(start) for start in starts],
    }
    arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    console.print(f"numbers in {arguments.json}")
    return 0


def _sizes_that_fit(console: Console) -> list[str]:
    """`tiny`, and `full` where its five separate policies fit into memory."""
    available = psutil.virtual_memory().available
    if available >= _FULL_NEEDS:
        return ["tiny", "full"]
    console.print(f"full size left out: needs {_FULL_NEEDS / 2**30:.0f} GiB, available {available / 2**30:.1f} GiB")
    return ["tiny"]


def _engine(size: str) -> dict[str, object]:
    """Runs `salus_vla.bench.engine` in a process of its own, on the best device there is; it prints its table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "engine.json"
        command = [sys.executable, "-m", "salus_vla.bench.engine", "--size", size, "--json", str(path)]
        command += ["--calls", "3"] if size == "full" else ["--threads", "1"]
        subprocess.run(command, check=True)
        found: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return found


def graph_rates(model: str, episodes: int, decisions: int) -> list[float]:
    """Decisions per second of wall time in each episode of a run through the whole graph, lockstep."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "salus_vla.cli", "collect", "--episodes", str(episodes), "--run-id", "bench"]
        command += ["--model", model, "--max-decisions", str(decisions), "--out", out]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        entries = read_run(Path(out) / "bench").record.episodes
    return [entry.decisions / entry.wall_s for entry in entries if entry.wall_s]


def _print(console: Console, timings: dict[str, Timing]) -> None:
    total = sum(timings[name].median_ms for name in _PARTS)
    table = Table(title="One decision: five frames, one camera set, five members, two noise samples")
    table.add_column("part")
    for column in ("median [ms]", "p95 [ms]", "share"):
        table.add_column(column, justify="right")
    for name in _PARTS:
        timing = timings[name]
        share = timing.median_ms / total
        table.add_row(name, f"{timing.median_ms:.2f}", f"{timing.p95_ms:.2f}", f"{share:.0%}")
    table.add_section()
    table.add_row("sum, one after the other", f"{total:.2f}", "", "100%")
    console.print(table)
    naive, engine = timings["naive loop"], timings["inference"]
    console.print(
        f"the engine against LeRobot's policies one by one: {naive.median_ms:.1f} ms / {engine.median_ms:.1f} ms "
        f"= {naive.median_ms / engine.median_ms:.1f} x"
    )


def _print_rates(
    console: Console, timings: dict[str, Timing], inference: dict[str, Timing], rates: dict[str, list[float]]
) -> None:
    for name, found in rates.items():
        rate = median(found)
        needed_ms = inference[name].median_ms + timings["rendering"].median_ms + timings["physics"].median_ms
        console.print(
            f"whole graph, {name}, lockstep, recording: median {rate:.1f} decisions/s over {len(found)} episodes = "
            f"{rate / DECISION_HZ:.2f} x real time; {1e3 / rate - needed_ms:.0f} ms a decision beyond inference, "
            f"rendering and physics, which take {needed_ms:.0f} ms"
        )


def _print_paces(console: Console, paces: Sequence[RealtimePace]) -> None:
    for pace in paces:
        trips = ", ".join(f"{reason} {count}" for reason, count in pace.trips.items() if count) or "none"
        react = "not known: it ended before the policy said it"
        if pace.react_p50_ms is not None and pace.react_p99_ms is not None:
            react = f"{pace.react_p50_ms:.0f} ms (p99 {pace.react_p99_ms:.0f} ms)"
        console.print(
            f"realtime, {pace.model}: {pace.episodes} episodes, {pace.decisions} decisions, {pace.overtaken} "
            f"observations overtaken, from image to command {react}, trips: {trips}"
        )
