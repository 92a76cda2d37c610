"""`make faults`, `python -m salus_vla.bench.faults`: injects faults into real graphs, writes their table."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import batched, cycle, islice
from pathlib import Path

from salus_vla.bench.faults.disk import fill_disk, refuse_folder
from salus_vla.bench.faults.fault_results import Injection, table, write_table
from salus_vla.bench.faults.kills import IN_TURN, kill_at_random
from salus_vla.bench.faults.running_graph import Watch
from salus_vla.bench.faults.storm import Gust, storm, storm_table, write_storm
from salus_vla.cli.options import at_least, number_above
from salus_vla.contract.errors import SalusError
from salus_vla.ros.environment.domains import private_graph

_KILLS_PER_RUN = 10  # each run is resumed so often; a new one then, so that the disk does not fill


def main(words: list[str] | None = None) -> int:
    """Inject the faults, print each result, write the table; 1 when a fault did harm."""
    arguments = _parser().parse_args(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no graph is left behind
    if arguments.storm:
        return _storm(arguments)
    began = time.monotonic()
    results = []
    try:
        with private_graph(os.environ), tempfile.TemporaryDirectory(prefix="salus_faults_") as folder:
            for result in _injections(arguments, Path(folder)):
                results.append(result)
                _print(result, len(results), time.monotonic() - began)
        print(f"\n{table(results)}")
        if arguments.report is not None:
            options = f"--kills {arguments.kills} --disk {arguments.disk} --seed {arguments.seed}"
            took = f"{(time.monotonic() - began) / 60:.1f} minutes"
            heading = f'`make faults ARGS="{options}"`: {len(results)} faults in {took}.'
            write_table(arguments.report, results, heading)
    except SalusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0 if all(result.passed for result in results) else 1


def _storm(arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    gusts: list[Gust] = []
    try:
        with (
            private_graph(os.environ),
            tempfile.TemporaryDirectory(prefix="salus_storm_") as folder,
            Watch() as watch,
        ):
            for gust in storm(Path(folder), arguments.storm, arguments.seed, watch):
                gusts.append(gust)
                verdict = " FAILED" if gust.problems else ""
                words = (
                    f"{gust.fault}: {gust.outcome}, {gust.commands} commands, {gust.silence_s * 1e3:.0f} ms{verdict}"
                )
                print(f"{time.monotonic() - began:5.0f} s  {len(gusts):3}  {words}", flush=True)
                for problem in gust.problems:
                    print(f"      {problem}", flush=True)
        print(f"\n{storm_table(gusts)}")
        if arguments.report is not None:
            options = f"--storm {arguments.storm:g} --seed {arguments.seed}"
            commands = sum(gust.commands for gust in gusts)
            heading = f'`make faults ARGS="{options}"`: {len(gusts)} faults, {commands} commands observed.'
            write_storm(arguments.report, gusts, heading)
    except SalusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return int(any(gust.problems for gust in gusts))


def _injections(arguments: argparse.Namespace, folder: Path) -> Iterator[Injection]:
    names = list(islice(cycle(IN_TURN), arguments.kills))
    with Watch() as watch:
        for index, batch in enumerate(batched(names, _KILLS_PER_RUN)):
            with tempfile.TemporaryDirectory(dir=folder) as runs:
                yield from kill_at_random(Path(runs), batch, arguments.seed + index, watch)
    for index in range(arguments.disk):
        with tempfile.TemporaryDirectory(dir=folder) as runs:
            yield fill_disk(Path(runs), arguments.seed + index)
    if arguments.disk:
        with tempfile.TemporaryDirectory(dir=folder) as runs:
            yield refuse_folder(Path(runs))


def _print(result: Injection, number: int, elapsed_s: float) -> None:
    loss = "" if result.loss_s is None else f", {result.loss_s:.2f} s lost"
    verdict = "" if result.passed else " FAILED"
    print(f"{elapsed_s:5.0f} s  {number:3}  {result.fault}: {result.outcome}{loss}{verdict}", flush=True)
    for problem in result.problems:
        print(f"      {problem}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m salus_vla.bench.faults",
        description="Kills processes of real graphs at random moments, fills disks, and checks that no bag is harmed.",
        epilog="exit codes: 0 no fault did harm, 1 one did, 2 wrong arguments",
    )
    add = parser.add_argument
    add(
        "--kills",
        type=at_least(0),
        default=120,
        help="kill -9, mostly of recorder, simulator and graph, some of policy, gate and episode node (default: 120)",
    )
    add(
        "--disk",
        type=at_least(0),
        default=10,
        help="disks that fill up; with 0 none is read-only either (default: 10)",
    )
    add(
        "--storm",
        type=number_above(0.0, or_equal=True),
        default=0.0,
        metavar="MINUTES",
        help="instead of kills and disks: a storm of faults over an arm in motion, for so long",
    )
    add("--seed", type=at_least(0), default=0, help="of the random moments and sizes (default: 0)")
    add("--report", type=Path, metavar="FILE", help="Markdown file whose table between markers is replaced")
    return parser
