"""One child process of the graph: start, read its output, signal it, see it end."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator

from salus_vla.contract.errors import LaunchError
from salus_vla.processes import start_with_parent
from salus_vla.ros.launch.launch_graph import ProcessSpec

_READ_SIZE = 65536
# A program that never ends its line (a progress bar) is shown in pieces of this size, not kept forever.
_LONGEST_LINE = 65536


class ChildProcess:
    """A started process, in a session of its own so that a terminal's Ctrl-C reaches it only through the runner."""

    def __init__(self, spec: ProcessSpec) -> None:
        """Starts the process.

        Raises:
            LaunchError: the system could not start it.
        """
        self.spec = spec
        environment = {"PYTHONUNBUFFERED": "1", **spec.environment}
        try:
            self._popen = start_with_parent(
                spec.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise LaunchError(f"cannot start {spec.label} ({spec.command[0]}): {error}") from error
        assert self._popen.stdout is not None
        self.pid = self._popen.pid
        self.output_fd = self._popen.stdout.fileno()
        os.set_blocking(self.output_fd, False)
        self.exit_fd = os.pidfd_open(self.pid)
        self._partial = b""

    def read_lines(self) -> tuple[list[str], bool]:
        """Returns the lines that have arrived, and whether the output has ended."""
        try:
            data = os.read(self.output_fd, _READ_SIZE)
        except BlockingIOError:
            return [], False
        *lines, self._partial = (self._partial + data).split(b"\n")
        if self._partial and (not data or len(self._partial) > _LONGEST_LINE):
            lines.append(self._partial)
            self._partial = b""
        return [line.decode(errors="replace").removesuffix("\r") for line in lines], not data

    def drain(self) -> Iterator[str]:
        """Returns what is still in the pipe of a process that has ended, without waiting for more."""
        ended = False
        while not ended:
            lines, ended = self.read_lines()
            if not lines and not ended:
                break
            yield from lines
        if self._partial:
            yield self._partial.decode(errors="replace")
            self._partial = b""

    def send_signal(self, number: signal.Signals) -> None:
        """Signals the process, by the handle that cannot mean another process; SIGKILL also takes its helpers along."""
        with contextlib.suppress(ProcessLookupError):
            if number is signal.SIGKILL:
                # Not reaped before `finish`, so the group id still belongs to this process.
                os.killpg(self.pid, signal.SIGKILL)
            else:
                signal.pidfd_send_signal(self.exit_fd, number)

    def finish(self) -> int:
        """Reaps the ended process; returns its exit code, negative for a signal; helpers it left behind are ended."""
        # Before the reaping: the zombie keeps its group id from being given to anyone else.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGTERM)
        return self._popen.wait()

    def close(self) -> None:
        """Gives back the file descriptors."""
        os.close(self.exit_fd)
        assert self._popen.stdout is not None
        self._popen.stdout.close()
