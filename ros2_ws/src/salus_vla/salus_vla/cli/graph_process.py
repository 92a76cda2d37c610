"""The graph as one child process: start it, end it, show the end of its output."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from salus_vla.processes import start_with_parent

TAIL = 25  # lines of output shown after a failure
_END_S = 20.0


def start_graph(command: list[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Starts the command of a launch; its output goes to the file."""
    with log.open("wb") as output:
        # A session of its own: the terminal's Ctrl-C reaches the graph through us only, once.
        return start_with_parent(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def end_graph(graph: subprocess.Popen[bytes]) -> None:
    """Ends the graph if it still runs; the runner itself escalates from SIGINT to SIGKILL for its nodes."""
    if graph.poll() is None:
        graph.send_signal(signal.SIGINT)
    try:
        graph.wait(timeout=_END_S)
    except subprocess.TimeoutExpired:
        graph.kill()
        graph.wait()


def output_lines(log: Path) -> list[str]:
    """What the graph has printed."""
    return log.read_text(encoding="utf-8", errors="replace").splitlines()
