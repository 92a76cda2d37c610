"""Run the processes of a graph until they end, one that is required ends, or a signal asks for the end."""

import contextlib
import os
import selectors
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from salus_vla.contract.errors import LaunchError
from salus_vla.processes import ending_signals
from salus_vla.ros.launch.launch_graph import ProcessSpec, build_graph
from salus_vla.ros.launch.launched_process import ChildProcess

_TERM_AFTER_S, _KILL_AFTER_S = 5.0, 10.0  # after SIGINT
_ESCALATION = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
_COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)


def launch(path: Path, arguments: Mapping[str, str], output: TextIO | None = None) -> int:
    """Evaluates a launch file and runs its graph; must be called from the main thread.

    Returns:
        0 after a normal end or a signal, else the exit code of the required process that ended the graph
        (128 + signal number if a signal killed it).

    Raises:
        LaunchError: the launch file is not valid, or a process could not be started (those started are ended).
    """
    with tempfile.TemporaryDirectory(prefix="salus_launch_") as folder:
        return Runner(build_graph(path, arguments, Path(folder)), output or sys.stdout).run()


class Runner:
    """Event loop over the output, the ends and the deadlines of the processes, and over signals."""

    def __init__(self, specs: Sequence[ProcessSpec], output: TextIO) -> None:
        """Prepares to run `specs`; lines go to `output`."""
        self._specs = specs
        self._output: TextIO | None = output
        self._colour = output.isatty()
        self._selector = selectors.DefaultSelector()
        self._children: list[ChildProcess] = []
        # Deadlines of a shutdown: (time, what to do).
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._stopping = False
        self._level = 0
        self._exit_code = 0

    def run(self) -> int:
        """Starts everything and returns the exit code when nothing runs any more.

        Raises:
            LaunchError: a process could not be started; those already started have been ended.
        """
        failure: LaunchError | None = None
        with self._signals():
            try:
                try:
                    for spec in self._specs:
                        self._start(spec)
                except LaunchError as error:
                    failure = error
                    self._stop("a process could not be started")
                while self._children:
                    self._step()
            finally:
                # Only after an unexpected error is there anything left: no child outlives the runner.
                for child in self._children:
                    child.send_signal(signal.SIGKILL)
                    child.finish()
                    child.close()
                self._selector.close()
        if failure is not None:
            raise failure
        return self._exit_code

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Turns signals into bytes on a socket that the event loop reads; installed before any child exists."""
        receiver, sender = socket.socketpair()
        with receiver, sender:
            receiver.setblocking(False)
            sender.setblocking(False)
            previous_fd = signal.set_wakeup_fd(sender.fileno())
            previous = {number: signal.signal(number, lambda *_: None) for number in ending_signals()}
            self._selector.register(receiver, selectors.EVENT_READ, lambda: self._on_signals(receiver.recv(64)))
            try:
                yield
            finally:
                for number, handler in previous.items():
                    signal.signal(number, handler)
                signal.set_wakeup_fd(previous_fd)

    def _step(self) -> None:
        now = time.monotonic()
        due = [action for when, action in self._timers if when <= now]
        self._timers = [timer for timer in self._timers if timer[0] > now]
        for action in due:
            action()
        if due:
            return
        timeout = min((when for when, _ in self._timers), default=None)
        for key, _ in self._selector.select(None if timeout is None else max(0.0, timeout - now)):
            # An earlier callback of this round may have closed the file: its number would then be unregistered.
            if key.fd in self._selector.get_map():
                key.data()

    def _start(self, spec: ProcessSpec) -> None:
        child = ChildProcess(spec)
        self._children.append(child)
        self._selector.register(child.output_fd, selectors.EVENT_READ, lambda: self._on_output(child))
        self._selector.register(child.exit_fd, selectors.EVENT_READ, lambda: self._on_exit(child))
        self._log("INFO", spec.label, f"process started with pid [{child.pid}]")

    def _on_output(self, child: ChildProcess) -> None:
        lines, ended = child.read_lines()
        for line in lines:
            self._write_line(child, line)
        if ended:
            self._selector.unregister(child.output_fd)

    def _on_exit(self, child: ChildProcess) -> None:
        spec = child.spec
        self._selector.unregister(child.exit_fd)
        code = child.finish()
        for line in child.drain():
            self._write_line(child, line)
        with contextlib.suppress(KeyError):  # already unregistered if the output had ended before
            self._selector.unregister(child.output_fd)
        child.close()
        self._children.remove(child)
        if code == 0:
            self._log("INFO", spec.label, f"process has finished cleanly [pid {child.pid}]")
        else:
            cause = f"exit code {code}" if code > 0 else f"signal {_signal_name(-code)}"
            command = " ".join(spec.command)
            self._log("ERROR", spec.label, f"process has died [pid {child.pid}, {cause}, cmd '{command}'].")
        if self._stopping:
            return
        if spec.required:
            self._exit_code = code if code >= 0 else 128 - code
            self._stop(f"process[{spec.label}] was required: shutting down launched system")

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number not in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                continue
            if not self._stopping:
                self._stop(f"user interrupted with {_signal_name(number)}")
            else:
                self._level = min(self._level + 1, len(_ESCALATION) - 1)
                stronger = _ESCALATION[self._level]
                self._log("WARNING", "launch", f"interrupted again, sending {stronger.name} to all processes")
                for child in self._children:
                    child.send_signal(stronger)

    def _stop(self, reason: str) -> None:
        """Asks every process to end, and arms the deadlines after which it is made to."""
        if self._stopping:
            return
        self._stopping = True
        self._log("INFO", "launch", reason)
        now = time.monotonic()
        for child in self._children:
            child.send_signal(signal.SIGINT)
            self._timers.append((now + _TERM_AFTER_S, lambda child=child: self._force(child, signal.SIGTERM)))  # type: ignore[misc]
            self._timers.append((now + _KILL_AFTER_S, lambda child=child: self._force(child, signal.SIGKILL)))  # type: ignore[misc]

    def _force(self, child: ChildProcess, number: signal.Signals) -> None:
        if child in self._children:
            self._log("ERROR", child.spec.label, f"process did not end in time, sending {number.name}")
            child.send_signal(number)

    def _write_line(self, child: ChildProcess, line: str) -> None:
        prefix = f"[{child.spec.label}]"
        if self._colour:
            position = next(index for index, spec in enumerate(self._specs) if spec is child.spec)
            prefix = f"\x1b[{_COLOURS[position % len(_COLOURS)]}m{prefix}\x1b[0m"
        self._write(f"{prefix} {line}")

    def _log(self, level: str, name: str, message: str) -> None:
        self._write(f"[{level}] [{name}]: {message}")

    def _write(self, line: str) -> None:
        if self._output is None:
            return
        try:
            self._output.write(line + "\n")
            self._output.flush()
        except OSError:
            # Nobody reads any more (`salus launch ... | head`): end the graph in order instead of leaving it behind.
            # Python would write the rest of the buffer at its exit and fail again: let that go nowhere.
            with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self._output.fileno())
            self._output = None
            self._stop("output closed")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
