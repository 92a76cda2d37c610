"""Worker processes on this machine: gives out seeds one at a time, replaces workers that die."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO

from salus_vla.contract.errors import SalusError
from salus_vla.data.rollouts.rollout_settings import RolloutSettings
from salus_vla.data.rollouts.worker_results import Broken, Failed, Finished, Ready, Result, SeedQueue
from salus_vla.data.worker_process import WorkerProcess

_WORKER = "salus_vla.data.rollouts.rollout_worker"
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
            while len(queue) or any(worker.job is not None for worker in crew):
                busy = sum(worker.job is not None for worker in crew)
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
                        yield queue.worker_died(worker.job, f"{worker.end(_LAST_WORDS_S)}; its output is in {log}")
                        continue
                    if isinstance(result, Broken):
                        raise SalusError(result.message)
                    if isinstance(result, Ready):
                        queue.worker_started()
                    yield result
    finally:
        for worker in crew:
            worker.end()


class _Worker(WorkerProcess[int]):
    """One process; its job is the seed that it works on."""

    def __init__(self, settings: RolloutSettings, output: IO[bytes]) -> None:
        super().__init__(_WORKER, output)
        self._ready = False
        self.send(settings)

    def work(self, queue: SeedQueue) -> None:
        """Takes a seed from the queue if there is nothing else to do."""
        if self._ready and self.job is None and (seed := queue.take()) is not None:
            self.job = seed
            self.send(seed)

    def receive(self) -> Ready | Broken | Finished | Failed | None:
        """What has arrived; None when the process has died."""
        result: Ready | Broken | Finished | Failed | None = super().receive()
        if isinstance(result, Ready):
            self._ready = True
        elif result is not None:
            self.job = None
        return result


def _appending(log: Path) -> IO[bytes]:
    try:
        return log.open("ab")
    except OSError as error:
        raise SalusError(f"{log}: cannot be written ({error.strerror or error})") from error
