"""A worker process: `python -m salus_vla.data.rollouts.rollout_worker FD PARENT`, started by `worker_pool.py`.

It ends with the process PARENT, in whatever way that ends. FD is a socket: settings come in, `Ready` or `Broken` goes
out; then seeds come in and their episodes go out, until it is closed. An error that nobody foresaw ends the process,
with a traceback in its output.
"""

from __future__ import annotations

import os
import platform
import sys
from multiprocessing.connection import Connection

from salus_vla.contract.errors import SalusError
from salus_vla.data.rollouts.worker_results import Broken, Failed, Finished, Ready
from salus_vla.processes import end_with_parent


def main(descriptor: int) -> int:
    """Works until the other side closes the socket."""
    connection = Connection(descriptor)
    try:
        settings = connection.recv()
        # Only now: it takes seconds, and the other side waits for nothing.
        from salus_vla.data.rollouts.episode_maker import EpisodeMaker
        from salus_vla.data.rollouts.rollout_store import encode

        try:
            maker = EpisodeMaker(settings)
        except SalusError as error:
            connection.send(Broken(str(error)))
            return 1
        with maker:
            connection.send(Ready(maker.facts(), os.getpid(), platform.node()))
            while True:
                seed = connection.recv()
                try:
                    data = encode(maker.make(seed), f"seed {seed}")
                except SalusError as error:
                    connection.send(Failed(seed, str(error)))
                else:
                    connection.send(Finished(seed, data))
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the other side has ended
        return 0


if __name__ == "__main__":
    end_with_parent(int(sys.argv[2]))
    sys.exit(main(int(sys.argv[1])))
