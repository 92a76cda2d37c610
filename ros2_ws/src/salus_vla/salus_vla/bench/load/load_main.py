"""`make load`, `python -m salus_vla.bench.load`: puts load on real graphs, writes the table of what was measured."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from salus_vla.bench.faults.fault_results import replace_marked
from salus_vla.bench.load.large_images import run_images
from salus_vla.bench.load.load_results import Result, table
from salus_vla.bench.load.many_episodes import run_episodes
from salus_vla.bench.load.side_by_side import run_graphs
from salus_vla.cli.options import at_least
from salus_vla.contract.errors import SalusError
from salus_vla.ros.environment.domains import private_graph

BEGIN, END = "<!-- load -->", "<!-- /load -->"


def main(words: list[str] | None = None) -> int:
    """Measures, prints each result, writes the table; 1 when something was lost or grew."""
    arguments = _parser().parse_args(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no graph is left behind
    began, results = time.monotonic(), []
    try:
        with private_graph(os.environ), tempfile.TemporaryDirectory(prefix="salus_load_") as folder:
            for result in _measure(arguments, Path(folder)):
                results.append(result)
                print(f"{time.monotonic() - began:5.0f} s  {result.load}: {result.seen}", flush=True)
                for problem in result.problems:
                    print(f"      FAILED: {problem}", flush=True)
        if arguments.report is not None:
            options = f"--episodes {arguments.episodes} --graphs {arguments.graphs} --seconds {arguments.seconds}"
            took = f"{(time.monotonic() - began) / 60:.1f} minutes"
            heading = f'`make load ARGS="{options}"`, {os.cpu_count()} cores, {took}:'
            replace_marked(arguments.report, BEGIN, END, f"{heading}\n\n{table(results)}")
    except SalusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0 if all(result.passed for result in results) else 1


def _measure(arguments: argparse.Namespace, folder: Path) -> Iterator[Result]:
    parts = (
        (arguments.seconds, run_images),
        (arguments.graphs, run_graphs),
        (arguments.episodes, run_episodes),
    )
    for amount, measure in parts:
        if amount:
            with tempfile.TemporaryDirectory(dir=folder) as runs:
                yield measure(Path(runs), amount)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m salus_vla.bench.load",
        description="Records large pictures, runs graphs side by side and hundreds of episodes, and looks for losses.",
        epilog="exit codes: 0 nothing was lost and no memory grew, 1 something was, 2 wrong arguments",
    )
    add = parser.add_argument
    add("--episodes", type=at_least(0), default=500, help="unattended in one run; 0 leaves it out (default: 500)")
    add("--graphs", type=at_least(0), default=4, help="side by side; 0 leaves it out (default: 4)")
    add(
        "--seconds",
        type=at_least(0),
        default=20,
        help="of three cameras with 640x480 pixels at 30 Hz; 0 leaves it out (default: 20)",
    )
    add("--report", type=Path, metavar="FILE", help="Markdown file whose table between markers is replaced")
    return parser
