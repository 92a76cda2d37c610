"""Worker processes on this machine: gives out seeds one at a time, replaces workers that die."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO

from salus_vla.contract.errors import SalusError
from salus_vla.data.rollouts.rollout_settings import RolloutSettings
from salus_vla.data.rollouts.worker_results import Broken, Failed, Finished, Ready, Result, SeedQueue

# One thread each: the workers are the parallelism, and the number of threads changes a network's last digits.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "LP_NUM_THREADS": "0",  # Mesa's software renderer: draw in the calling thread
    "TOKENIZERS_PARALLELISM": "false",
}

_LAST_WORDS_S = 5.0  # from the end of a worker's connection to the end of its process


def run_local(
    settings: RolloutSettings, seeds: Sequence[int], workers: int, log: Path
) -> Generator[Result, None, None]:
    """Makes the episodes of the seeds in worker processes.

    Closing the generator, or any error, ends the workers at once: they write no files.

    Args:
        settings: of every episode.
        seeds: which; every one comes back as `Finished` or `Failed` exactly once.
        workers: processes at most.
        log: file that the output of the workers is appended to.

    Raises:
        SalusError: workers cannot be built with these settings, cannot be started, or die again and again.
    """
    queue = SeedQueue(seeds)
    crew: list[_Worker] = []
    try:
        with _appending(log) as output:
            while len(queue) or any(worker.seed is not None for worker in crew):
                busy = sum(worker.seed is not None for worker in crew)
                while len(crew) < min(workers, busy + len(queue)):
                    crew.append(_Worker(settings, output))
                for worker in crew:
                    worker.work(queue)
                # A worker holds the only other end of its connection, so its death is the end of that.
                ready = wait([worker.connection for worker in crew])
                for worker in [worker for worker in crew if worker.connection in ready]:
                    result = worker.receive()
                    if result is None:
                        crew.remove(worker)
                        yield queue.worker_died(worker.seed, f"{worker.end(_LAST_WORDS_S)}; its output is in {log}")
                        continue
                    if isinstance(result, Broken):
                        raise SalusError(result.message)
                    if isinstance(result, Ready):
                        queue.worker_started()
                    yield result
    finally:
        for worker in crew:
            worker.end()


class _Worker:
    """One process; `seed` is the one that it works on."""

    def __init__(self, settings: RolloutSettings, output: IO[bytes]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        "salus_vla.data.rollouts.rollout_worker",
                        str(theirs.fileno()),
                        str(os.getpid()),
                    ],
                    env={**os.environ, **ONE_THREAD},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,  # the terminal's Ctrl-C is for this process only
                )
            except OSError as error:
                ours.close()
                raise SalusError(f"a worker cannot be started: {error}") from error
        self.connection = Connection(ours.detach())
        self.seed: int | None = None
        self._ready = False
        self._send(settings)

    def work(self, queue: SeedQueue) -> None:
        """Takes a seed from the queue if there is nothing else to do."""
        if self._ready and self.seed is None and (seed := queue.take()) is not None:
            self.seed = seed
            self._send(seed)

    def receive(self) -> Ready | Broken | Finished | Failed | None:
        """What has arrived; None when the process has died."""
        try:
            result: Ready | Broken | Finished | Failed = self.connection.recv()
        except (EOFError, OSError):
            return None
        if isinstance(result, Ready):
            self._ready = True
        else:
            self.seed = None
        return result

    def end(self, patience_s: float = 0.0) -> str:
        """Ends the process if it does not end by itself in time; says how it ended."""
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

    def _send(self, what: RolloutSettings | int) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # has died: `receive` will tell
            self.connection.send(what)


def _appending(log: Path) -> IO[bytes]:
    try:
        return log.open("ab")
    except OSError as error:
        raise SalusError(f"{log}: cannot be written ({error.strerror or error})") from error
