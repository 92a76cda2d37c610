"""Prepares episodes side by side in worker processes, and gives them in order.

Each worker has a pipe of its own. In a pool that shares one, the others and the pool itself wait for ever for the rest
of a message of a worker that was killed while it wrote it (out of memory, say); here its end is the end of its pipe.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from salus_vla.contract.errors import DatasetError
from salus_vla.data.lerobot.prepare import LeftOut, Options, Prepared, prepare
from salus_vla.data.recording import Episode

_AHEAD = 2  # episodes in flight or waiting for each worker, which bounds the memory


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    episode: int | None = None  # place of the episode that it prepares


def prepare_all(sources: Sequence[Episode], options: Options, workers: int) -> Iterator[Prepared | LeftOut]:
    """Prepares episodes in the order of their sources.

    Args:
        sources: the episodes.
        options: what is stored of them.
        workers: number of processes; 1 does it in this one.

    Raises:
        RecordingError: a recording cannot be read.
        DatasetError: pictures cannot be stored as video, or a worker has died.
    """
    if workers == 1:
        for source in sources:
            yield prepare(source, options)
        return
    started = [_start_worker() for _ in range(min(workers, len(sources)))]
    try:
        yield from _in_order(sources, options, started)
    finally:
        for worker in started:
            worker.process.terminate()
            worker.connection.close()
        for worker in started:
            worker.process.join()


def _in_order(sources: Sequence[Episode], options: Options, workers: list[_Worker]) -> Iterator[Prepared | LeftOut]:
    done: dict[int, Prepared | LeftOut | Exception] = {}
    begun = 0
    for number in range(len(sources)):
        while number not in done:
            for worker in workers:
                if worker.episode is None and begun < min(len(sources), number + _AHEAD * len(workers)):
                    worker.episode, begun = begun, begun + 1
                    _send(worker, sources[worker.episode], options)
            busy = {worker.connection: worker for worker in workers if worker.episode is not None}
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                assert worker.episode is not None
                done[worker.episode] = _receive(worker, sources[worker.episode])
                worker.episode = None
        found = done.pop(number)
        if isinstance(found, Exception):
            raise found
        yield found


def _send(worker: _Worker, source: Episode, options: Options) -> None:
    try:
        worker.connection.send((source, options))
    except OSError as error:
        raise _has_died(source) from error


def _receive(worker: _Worker, source: Episode) -> Prepared | LeftOut | Exception:
    try:
        found: Prepared | LeftOut | Exception = worker.connection.recv()
    except (EOFError, OSError) as error:
        raise _has_died(source) from error
    return found


def _has_died(source: Episode) -> DatasetError:
    return DatasetError(f"{source.path}: a worker process ended while this episode was read")


# -- in the worker -----------------------------------------------------------------------------------------------------


def _start_worker() -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,), daemon=True)
    with theirs:  # the worker's end must be the worker's alone, or its death would not end the pipe
        process.start()
    return _Worker(process, ours)


def _work(connection: Connection) -> None:
    """Leaves Ctrl-C to the main process, ends with it however it ends, and gives torch one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            source, options = connection.recv()
        except EOFError:
            return
        result: Prepared | LeftOut | Exception
        try:
            result = prepare(source, options)
        except Exception as error:  # raised again where the episode is asked for
            result = error
        connection.send(result)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
