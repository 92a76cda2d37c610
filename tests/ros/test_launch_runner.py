"""The built-in runner with real processes; each wait is for an event (a line, an end), and has a limit."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import salus_vla

LIMIT_S = 20.0
PACKAGE_ROOT = str(Path(salus_vla.__file__).parents[1])

# Programs of the package `demo`; each says "ready" when its signal handlers are in place.
PROGRAMS = {
    "polite": """
        def stop(number, frame):
            print("stopped by", signal.Signals(number).name)
            raise SystemExit(0)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        print("ready", os.getpid())
        signal.pause()""",
    "deaf": """
        signal.signal(signal.SIGINT, lambda number, frame: print("heard SIGINT"))
        print("ready", os.getpid())
        while True: signal.pause()""",
    "stone": """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: print("heard", signal.Signals(number).name))
        print("ready", os.getpid())
        while True: signal.pause()""",
    "ends": """
        print("ending")
        raise SystemExit(int(sys.argv[1]))""",
    "crashes": """
        os.kill(os.getpid(), signal.SIGKILL)""",
    "talks": """
        print("out")
        print("err", file=sys.stderr)
        print("no newline", end="")""",
    "parent": """
        import subprocess
        helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        print("ready", helper.pid)
        raise SystemExit(0)""",
    "shows": """
        index = sys.argv.index("--params-file") + 1
        print("file", sys.argv[index], open(sys.argv[index]).read().replace("\\n", "|"))
        signal.pause()""",
}


# As `python -m salus_vla.ros.launch`, with the times after SIGINT at which it becomes stronger.
RUN = """
import sys
from salus_vla.ros.launch import __main__ as command, runner
runner._TERM_AFTER_S, runner._KILL_AFTER_S = map(float, sys.argv[1:3])
sys.exit(command.main(sys.argv[3:]))
"""


class Graph:
    """A runner in a process of its own, whose output is read line by line."""

    def __init__(
        self, folder: Path, body: str, *arguments: str, temporary: Path, deadlines_s: tuple[float, float]
    ) -> None:
        path = folder / "t.launch.xml"
        path.write_text(f"<launch>{body}</launch>")
        environment = {
            **os.environ,
            "PYTHONPATH": PACKAGE_ROOT,
            "AMENT_PREFIX_PATH": str(folder),
            "TMPDIR": str(temporary),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, *map(str, deadlines_s), str(path), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self.process.stdout is not None
        self._fd = self.process.stdout.fileno()
        self._rest = b""
        self.lines: list[str] = []

    def wait_for(self, text: str) -> str:
        """Read until a line has `text` in it, and return that line."""
        end = time.monotonic() + LIMIT_S
        while True:
            while b"\n" in self._rest:
                line, self._rest = self._rest.split(b"\n", 1)
                self.lines.append(line.decode())
                if text in self.lines[-1]:
                    return self.lines[-1]
            ready, _, _ = select.select([self._fd], [], [], max(0.0, end - time.monotonic()))
            data = os.read(self._fd, 65536) if ready else b""
            assert data, f"no line with {text!r} in\n" + "\n".join(self.lines)
            self._rest += data

    def finish(self) -> int:
        """Wait for the end of the runner; all its output is in `lines` then."""
        rest, _ = self.process.communicate(timeout=LIMIT_S)
        self.lines += (self._rest + rest).decode().splitlines()
        self._rest = b""
        return self.process.returncode


Start = Callable[..., Graph]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    programs = tmp_path / "lib" / "demo"
    programs.mkdir(parents=True)
    (tmp_path / "share" / "demo").mkdir(parents=True)
    (tmp_path / "tmp").mkdir()
    for name, code in PROGRAMS.items():
        lines = [line.removeprefix("        ") for line in code.splitlines()]
        (programs / name).write_text("\n".join([f"#!{sys.executable} -S", "import os, signal, sys", *lines]) + "\n")
        (programs / name).chmod(0o755)
    graphs: list[Graph] = []

    def start_graph(body: str, *arguments: str, deadlines_s: tuple[float, float] = (5.0, 10.0)) -> Graph:
        graphs.append(Graph(tmp_path, body, *arguments, temporary=tmp_path / "tmp", deadlines_s=deadlines_s))
        return graphs[-1]

    yield start_graph
    for graph in graphs:
        if graph.process.poll() is None:
            graph.process.kill()
            graph.process.wait()
        assert graph.process.stdout is not None
        graph.process.stdout.close()


def node(name: str, **attributes: str) -> str:
    words = " ".join(f'{key}="{value}"' for key, value in attributes.items())
    return f'<node pkg="demo" exec="{name}" {words}/>'


def wait_until_gone(pid: int, handle: int) -> None:
    """Wait for the end of a process that is not a child of this one, by a handle taken while it lived."""
    ready, _, _ = select.select([handle], [], [], LIMIT_S)
    os.close(handle)
    assert ready, f"process {pid} is still there"


def test_output_has_the_name_and_both_streams(start: Start, tmp_path: Path) -> None:
    graph = start(node("talks") + node("talks"))
    assert graph.finish() == 0
    for label in ("talks-1", "talks-2"):
        said = [line for line in graph.lines if line.startswith(f"[{label}] ")]
        assert sorted(said) == [f"[{label}] err", f"[{label}] no newline", f"[{label}] out"]
        assert any(line.startswith(f"[INFO] [{label}]: process started with pid [") for line in graph.lines)
        assert any(line.startswith(f"[INFO] [{label}]: process has finished cleanly") for line in graph.lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_graph_with_sigint(start: Start, number: signal.Signals) -> None:
    graph = start(node("polite") + node("polite"))
    graph.wait_for("[polite-1] ready")
    if not any("[polite-2] ready" in line for line in graph.lines):
        graph.wait_for("[polite-2] ready")
    began = time.monotonic()
    graph.process.send_signal(number)
    assert graph.finish() == 0
    assert time.monotonic() - began < 3.0
    assert "[polite-1] stopped by SIGINT" in graph.lines
    assert "[polite-2] stopped by SIGINT" in graph.lines


def test_ctrl_c_of_a_terminal_reaches_a_node_once(start: Start) -> None:
    graph = start(node("deaf"), deadlines_s=(2.0, 4.0))
    pid = int(graph.wait_for("ready").split()[-1])
    assert os.getsid(pid) == pid  # a session of its own: the terminal cannot signal it
    graph.process.send_signal(signal.SIGINT)
    assert graph.finish() == 0
    assert graph.lines.count("[deaf-1] heard SIGINT") == 1


def test_escalation_by_time(start: Start) -> None:
    graph = start(node("stone"), deadlines_s=(2.0, 4.0))
    graph.wait_for("ready")
    graph.process.send_signal(signal.SIGINT)
    graph.wait_for("heard SIGINT")
    graph.wait_for("process did not end in time, sending SIGTERM")
    graph.wait_for("heard SIGTERM")
    graph.wait_for("process did not end in time, sending SIGKILL")
    assert graph.finish() == 0
    assert any("process has died" in line and "signal SIGKILL" in line for line in graph.lines)


def test_a_second_ctrl_c_escalates(start: Start) -> None:
    graph = start(node("stone"))
    graph.wait_for("ready")
    for expected in ("heard SIGINT", "heard SIGTERM", "signal SIGKILL"):
        graph.process.send_signal(signal.SIGINT)
        graph.wait_for(expected)
    assert graph.finish() == 0


def test_the_end_of_a_required_node_ends_the_graph(start: Start) -> None:
    graph = start(node("polite") + node("ends", args="0", on_exit="shutdown"))
    assert graph.finish() == 0
    assert any("process[ends-2] was required: shutting down launched system" in line for line in graph.lines)


def test_the_exit_code_of_a_failed_required_node(start: Start) -> None:
    graph = start(node("polite") + node("ends", args="7", on_exit="shutdown"))
    assert graph.finish() == 7
    assert any("[ERROR] [ends-2]: process has died [pid" in line and "exit code 7" in line for line in graph.lines)


def test_the_signal_that_killed_a_required_node(start: Start) -> None:
    graph = start(node("polite") + node("crashes", on_exit="shutdown"))
    assert graph.finish() == 128 + signal.SIGKILL
    assert any("process has died" in line and "signal SIGKILL" in line for line in graph.lines)


def test_the_death_of_another_node_is_reported_and_the_graph_goes_on(start: Start) -> None:
    graph = start(node("polite") + node("ends", args="7"))
    graph.wait_for("ready")
    if not any("exit code 7" in line for line in graph.lines):
        graph.wait_for("exit code 7")
    assert graph.process.poll() is None
    graph.process.send_signal(signal.SIGINT)
    assert graph.finish() == 0


def test_kill_9_of_the_runner_leaves_no_node_behind(start: Start) -> None:
    graph = start(node("polite"))
    pid = int(graph.wait_for("ready").split()[-1])
    handle = os.pidfd_open(pid)
    graph.process.kill()
    wait_until_gone(pid, handle)
    assert graph.finish() == -signal.SIGKILL


def test_helpers_that_a_node_leaves_behind_are_ended(start: Start) -> None:
    graph = start(node("parent") + node("polite"))
    pid = int(graph.wait_for("[parent-1] ready").split()[-1])
    # Already gone is fine too; the helper holds the node's output open, which must not keep the runner waiting.
    with contextlib.suppress(ProcessLookupError):
        wait_until_gone(pid, os.pidfd_open(pid))
    graph.process.send_signal(signal.SIGINT)
    assert graph.finish() == 0


def test_parameter_files_are_removed(start: Start, tmp_path: Path) -> None:
    graph = start('<node pkg="demo" exec="shows"><param name="p" value="1"/></node>')
    words = graph.wait_for("[shows-1] file").split(maxsplit=3)
    assert Path(words[2]).is_relative_to(tmp_path / "tmp")
    assert words[3] == "/**:|  ros__parameters:|    p: 1|"
    graph.process.send_signal(signal.SIGINT)
    assert graph.finish() == 0
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_program_that_cannot_start_ends_the_others(start: Start, tmp_path: Path) -> None:
    (tmp_path / "lib" / "demo" / "broken").write_text("#!/nonexistent/interpreter\n")
    (tmp_path / "lib" / "demo" / "broken").chmod(0o755)
    graph = start(node("polite") + node("broken"))
    assert graph.finish() == 2
    assert any("error: cannot start broken-2" in line for line in graph.lines)
    assert any("[polite-1]: process has died" in line or "stopped by SIGINT" in line for line in graph.lines)


def test_a_closed_output_ends_the_graph(start: Start) -> None:
    graph = start(node("deaf"), deadlines_s=(0.1, 5.1))
    pid = int(graph.wait_for("ready").split()[-1])
    handle = os.pidfd_open(pid)
    assert graph.process.stdout is not None
    graph.process.stdout.close()
    graph.process.send_signal(signal.SIGINT)  # its lines have no reader any more
    wait_until_gone(pid, handle)
    assert graph.process.wait(LIMIT_S) == 0


def test_a_wrong_launch_file_starts_nothing(start: Start) -> None:
    graph = start(node("polite") + "<frob/>")
    assert graph.finish() == 2
    assert len(graph.lines) == 1
    assert graph.lines[0].startswith("error: ")
    assert "t.launch.xml:1: <frob>: unknown tag" in graph.lines[0]


def test_undeclared_and_malformed_arguments(start: Start) -> None:
    graph = start('<arg name="a" default="1"/>' + node("polite"), "b:=2")
    assert graph.finish() == 2
    assert "has no argument b; declared: a" in graph.lines[-1]
    graph = start(node("polite"), "b=2")
    assert graph.finish() == 2
    assert "expected name:=value" in graph.lines[-1]
