"""A worker process and the connection to it: rollouts are made and data sets prepared in such.

Each worker has a connection of its own. In a pool that shares one, the others and the pool itself wait forever for the
rest of a message of a worker that was killed while it wrote it (out of memory, say); here its end is the end of its
connection. A worker ends with the process that started it, in whatever way that ends.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from typing import IO, Any, Final

from salus_vla.contract.errors import SalusError
from salus_vla.processes import end_with_parent

# One thread each: the workers are the parallelism, and the number of threads changes a network's last digits.
ONE_THREAD: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "LP_NUM_THREADS": "0",  # Mesa's software renderer: draw in the calling thread
    "TOKENIZERS_PARALLELISM": "false",
}


class WorkerProcess[JobT]:
    """One process.

    Attributes:
        connection: what it answers comes there; its end is the end of the process.
        job: what it works on, None when it waits.
    """

    def __init__(self, module: str, output: IO[bytes] | None = None) -> None:
        """Starts it.

        Args:
            module: whose function `work` is called with the worker's end of the connection.
            output: where its stdout and stderr go; those of this process by default.

        Raises:
            SalusError: it cannot be started.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", __name__, str(theirs.fileno()), str(os.getpid()), module],
                    env={**os.environ, **ONE_THREAD},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output and subprocess.STDOUT,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,  # the terminal's Ctrl-C is for the process that started it only
                )
            except OSError as error:
                ours.close()
                raise SalusError(f"a worker cannot be started: {error}") from error
        self.connection = Connection(ours.detach())
        self.job: JobT | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, what: object) -> None:
        """Sends it something; if it has died, `receive` tells."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(what)

    def receive(self) -> Any | None:
        """What it sent; None when it has died."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return None

    def end(self, patience_s: float = 0.0) -> str:
        """Ends it if it does not end by itself in time; says how it ended."""
        self.connection.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
            return self._how()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # not reaped yet, so the group is still this one
        self._process.wait()
        return self._how()

    def _how(self) -> str:
        code = self._process.returncode
        return f"it was ended by {signal.Signals(-code).name}" if code < 0 else f"it ended with exit code {code}"


def main(descriptor: int, module: str) -> int:
    """What the process runs: works until the other side closes the connection."""
    try:
        import_module(module).work(Connection(descriptor))
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the other side has ended
        return 0
    return 1  # it gave up, and has said why


if __name__ == "__main__":
    end_with_parent(int(sys.argv[2]))
    sys.exit(main(int(sys.argv[1]), sys.argv[3]))
