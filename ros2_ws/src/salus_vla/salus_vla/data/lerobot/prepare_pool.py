"""Prepares episodes side by side in worker processes, and gives them in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait

from salus_vla.contract.errors import DatasetError
from salus_vla.data.lerobot.prepare import LeftOut, Options, Prepared, prepare
from salus_vla.data.recording import Episode
from salus_vla.data.worker_process import WorkerProcess

_WORKER = "salus_vla.data.lerobot.prepare_worker"
_AHEAD = 2  # episodes in flight or waiting for each worker, which bounds the memory


def prepare_all(episodes: Sequence[Episode], options: Options, workers: int) -> Iterator[Prepared | LeftOut]:
    """Prepares episodes in their order.

    Args:
        episodes: of any runs.
        options: what is stored of them.
        workers: number of processes; 1 does it in this one.

    Raises:
        RecordingError: a recording cannot be read.
        DatasetError: images cannot be stored as video, or a worker has died.
    """
    if workers == 1:
        for episode in episodes:
            yield prepare(episode, options)
        return
    started: list[WorkerProcess[int]] = []
    try:
        for _ in range(min(workers, len(episodes))):
            started.append(WorkerProcess(_WORKER))
        yield from _in_order(episodes, options, started)
    finally:
        for worker in started:
            worker.end()


def _in_order(
    episodes: Sequence[Episode], options: Options, workers: list[WorkerProcess[int]]
) -> Iterator[Prepared | LeftOut]:
    done: dict[int, Prepared | LeftOut | Exception] = {}
    begun = 0
    for number in range(len(episodes)):
        while number not in done:
            for worker in workers:
                if worker.job is None and begun < min(len(episodes), number + _AHEAD * len(workers)):
                    worker.job, begun = begun, begun + 1
                    worker.send((episodes[worker.job], options))
            busy = {worker.connection: worker for worker in workers if worker.job is not None}
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                assert worker.job is not None
                result = worker.receive()
                if result is None:
                    path = episodes[worker.job].path
                    raise DatasetError(f"{path}: a worker process ended while this episode was read")
                done[worker.job] = result
                worker.job = None
        found = done.pop(number)
        if isinstance(found, Exception):
            raise found
        yield found
