"""Prepares episodes side by side in worker processes, and gives them in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

from salus_vla.dataset.prepare import LeftOut, Options, Prepared, prepare
from salus_vla.dataset.sources import Source
from salus_vla.errors import DatasetError

_AHEAD = 2  # episodes in flight for each worker, which bounds the memory


def prepare_all(sources: Sequence[Source], options: Options, workers: int) -> Iterator[Prepared | LeftOut]:
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
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)
    waiting: deque[tuple[Source, Future[Prepared | LeftOut]]] = deque()
    left = iter(sources)
    try:
        while True:
            for following in islice(left, _AHEAD * workers - len(waiting)):
                waiting.append((following, pool.submit(prepare, following, options)))
            if not waiting:
                return
            source, future = waiting.popleft()
            yield future.result()
    except BrokenProcessPool as error:
        raise DatasetError(f"{source.path}: a worker process ended while this or the next episode was read") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Leaves Ctrl-C to the main process, ends with it however it ends, and gives torch one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # the pool's own wait for work would last forever
