"""Prepares episodes side by side in worker processes, and gives them in order.

A worker hands an episode over in a file and says only its name. A pool waits for ever for the rest of a message of a
worker that was killed while it wrote it (out of memory, say); a message as short as a name is written at once.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import count, islice
from pathlib import Path

from salus_vla.dataset.prepare import LeftOut, Options, Prepared, prepare
from salus_vla.dataset.sources import Source
from salus_vla.errors import DatasetError, SalusError

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
    waiting: deque[tuple[Source, Path, Future[None]]] = deque()
    left, numbers = iter(sources), count()
    with tempfile.TemporaryDirectory(prefix="salus_export_") as folder:  # nobody else may write there: it is unpickled
        try:
            while True:
                for following in islice(left, _AHEAD * workers - len(waiting)):
                    file = Path(folder, str(next(numbers)))
                    waiting.append((following, file, pool.submit(_prepare_to_file, following, options, file)))
                if not waiting:
                    return
                source, file, future = waiting.popleft()
                future.result()
                prepared = pickle.loads(file.read_bytes())
                file.unlink()
                if isinstance(prepared, SalusError):
                    raise prepared
                yield prepared
        except BrokenProcessPool as error:
            ended = f"{source.path}: a worker process ended while this or the next episode was read"
            raise DatasetError(ended) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _prepare_to_file(source: Source, options: Options, file: Path) -> None:
    """The episode, or the error that it gave."""
    prepared: Prepared | LeftOut | SalusError
    try:
        prepared = prepare(source, options)
    except SalusError as error:
        prepared = error
    try:
        file.write_bytes(pickle.dumps(prepared))
    except OSError as error:
        raise DatasetError(f"{file.parent}: cannot be written ({error.strerror}); TMPDIR names another place") from None


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
