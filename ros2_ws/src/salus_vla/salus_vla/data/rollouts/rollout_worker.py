"""What a worker of rollouts does.

Settings come in, `Ready` or `Broken` goes out; then seeds come in and their episodes go out. An error that nobody
foresaw ends the process, with a traceback in its output.
"""

from __future__ import annotations

import os
import platform
from multiprocessing.connection import Connection

from salus_vla.config.policy_options import ENSEMBLE
from salus_vla.contract.errors import SalusError
from salus_vla.data.rollouts.worker_results import Broken, Failed, Finished, Ready
from salus_vla.policies.smolvla.loading.lean_imports import import_ensemble


def work(connection: Connection) -> None:
    """Works until the other side closes the connection, which is an EOFError; returns when it cannot begin."""
    settings = connection.recv()
    # Only now: it takes seconds, and the other side waits for nothing.
    if settings.policy == ENSEMBLE:
        import_ensemble()
    from salus_vla.data.rollouts.episode_maker import EpisodeMaker
    from salus_vla.data.rollouts.rollout_store import encode

    try:
        maker = EpisodeMaker(settings)
    except SalusError as error:
        connection.send(Broken(str(error)))
        return
    with maker:
        connection.send(Ready(maker.provenance(), os.getpid(), platform.node()))
        while True:
            seed = connection.recv()
            try:
                data = encode(maker.make(seed), f"seed {seed}")
            except SalusError as error:
                connection.send(Failed(seed, str(error)))
            else:
                connection.send(Finished(seed, data))
