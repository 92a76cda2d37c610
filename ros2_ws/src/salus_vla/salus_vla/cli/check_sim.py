"""`salus check-sim`: whether a simulator keeps the topic contract."""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from salus_vla.cli.commands import SUMMARIES
from salus_vla.cli.graph_process import TAIL, end_graph, output_lines, start_graph
from salus_vla.cli.launch import LAUNCH_FILE, find_launch_file, launch_command
from salus_vla.cli.options import number_above
from salus_vla.config.scene import load_scene
from salus_vla.contract.errors import SimulatorError
from salus_vla.ros.environment.domains import private_graph
from salus_vla.ros.environment.preflight import DOMAIN
from salus_vla.simulation.conformance.rules import verdicts
from salus_vla.simulation.conformance.verdict import Verdict
from salus_vla.simulation.isaac.host.installation import find_install

_DESCRIPTION = """\
Connects to a simulator and checks each rule of the topic contract: names, types, QoS, rates in sim time, encodings,
camera matrices, stamps, the clock over resets, what commands mean, ground truth, and what the cameras see. It resets
the simulator and moves the arm; nothing else may command it meanwhile.
"""
_EPILOG = """\
--sim mujoco and --sim isaac start that simulator and end it; --sim external connects to one that runs already, on the
domain of $ROS_DOMAIN_ID (default: 0).

exit codes: 0 every rule is kept, 1 a rule is broken or the simulator could not be started, 2 wrong arguments,
3 no simulator was heard
"""
SILENT = 3
_ERROR = "] error: "  # of a node, behind its name
_START_S = {"mujoco": 60.0, "isaac": 660.0, "external": 60.0}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `check-sim`."""
    parser = subparsers.add_parser(
        "check-sim",
        help=SUMMARIES["check-sim"],
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sim", choices=tuple(_START_S), default="mujoco", help="simulator (default: mujoco)")
    parser.add_argument("--pacing", choices=("lockstep", "realtime"), default="lockstep", help="default: lockstep")
    parser.add_argument(
        "--wait",
        metavar="S",
        type=number_above(0.0),
        help="wall time to wait for the first message (default: 60, for isaac 660) [s]",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Checks the simulator and prints the table.

    Raises:
        SimulatorError: the simulator could not be started.
        SalusError: contract.yaml is wrong, or no ROS domain is free.
    """
    console = Console()
    scene, sim = load_scene(), arguments.sim
    if sim == "isaac":
        find_install(os.environ)  # said here before anything starts; the node checks the rest
    if sim == "external":
        os.environ[DOMAIN] = os.environ.get(DOMAIN) or "0"
    wait_s = arguments.wait or _START_S[sim]
    with private_graph(os.environ), _simulator(sim, arguments.pacing) as process:
        from salus_vla.ros.clients.sim_checker import NODE, SimChecker
        from salus_vla.ros.clients.sim_listener import SimListener

        with SimListener(NODE) as listener:
            checker = SimChecker(listener, scene)
            with console.status(f"waiting for a simulator on ROS domain {os.environ['ROS_DOMAIN_ID']}"):
                listener.spin(wait_s, lambda: checker.heard() or _has_ended(process))
            if process is not None and _has_ended(process):
                raise SimulatorError(f"the simulator ended before it published: {_end_of(process)}")
            if not checker.heard():
                console.print(
                    f"[red]no simulator was heard[/red] within {wait_s:g} s on ROS domain {os.environ['ROS_DOMAIN_ID']}"
                )
                return SILENT
            with console.status("watching, resetting and commanding the simulator"):
                found = verdicts(checker.observe(), scene)
    print_table(console, found)
    return int(any(verdict.passed is False for verdict in found))


def print_table(console: Console, found: Sequence[Verdict]) -> None:
    """Prints a line per rule, and how many are broken."""
    words = {True: "ok", False: "[bold red]BROKEN[/bold red]", None: "[dim]not judged[/dim]"}
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("rule", no_wrap=True)
    for name in ("expected", "seen"):  # nothing is cut off in a narrow terminal
        table.add_column(name, overflow="fold")
    table.add_column("verdict", no_wrap=True)
    for verdict in found:
        table.add_row(escape(verdict.rule), escape(verdict.expected), escape(verdict.seen), words[verdict.passed])
    console.print(table)
    broken = sum(verdict.passed is False for verdict in found)
    skipped = sum(verdict.passed is None for verdict in found)
    console.print(f"{len(found)} rules: {len(found) - broken - skipped} kept, {broken} broken, {skipped} not judged")


class _Started:
    """A simulator that was started here, and the file that its output goes to."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log


@contextmanager
def _simulator(sim: str, pacing: str) -> Iterator[_Started | None]:
    """Starts the simulator of the launch file; nothing for one that runs already."""
    if sim == "external":
        yield None
        return
    arguments = {"graph": "simulator", "sim": sim, "pacing": pacing}
    with tempfile.TemporaryDirectory(prefix="salus_check_sim_") as folder:
        log = Path(folder) / "simulator.log"
        process = start_graph(launch_command(find_launch_file(LAUNCH_FILE), arguments), os.environ, log)
        try:
            yield _Started(process, log)
        finally:
            end_graph(process)


def _has_ended(started: _Started | None) -> bool:
    return started is not None and started.process.poll() is not None


def _end_of(started: _Started) -> str:
    """The error that the simulator printed, or else the end of its output."""
    lines = output_lines(started.log)[-TAIL:]
    errors = [line.partition(_ERROR)[2] for line in lines if _ERROR in line]
    return errors[-1] if errors else "\n".join(["", *lines])
