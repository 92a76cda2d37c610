"""Workers on a Ray cluster: the same as `worker_pool.py` with actors in the place of processes.

Episodes come back as the bytes of their files and are written by the process that gives them out: no shared disk. Every
node needs SALUS and the model as they are here; workers that would make other episodes are refused (see
`rollout_folder.py`).
"""

from __future__ import annotations

import ipaddress
import logging
import os
import platform
import re
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from salus_vla.config.policy_options import ENSEMBLE
from salus_vla.contract.errors import SalusError
from salus_vla.data.rollouts.episode_maker import EpisodeMaker
from salus_vla.data.rollouts.rollout_settings import RolloutSettings
from salus_vla.data.rollouts.rollout_store import encode
from salus_vla.data.rollouts.worker_results import Broken, Failed, Finished, Ready, Result, SeedQueue
from salus_vla.data.worker_process import ONE_THREAD
from salus_vla.policies.smolvla.loading.lean_imports import import_ensemble

LOCAL = "local"
_STORE_BYTES = 256 << 20  # episodes on their way; each has a few MB
_RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "A worker died or was killed",  # a paragraph on stdout; `Lost` says it in a line
}
# For a cluster of our own: nobody else may use it, nothing of it stays. Without a token here Ray puts one into ~/.ray.
_PRIVATE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # what makes Ray listen on 127.0.0.1 only
    "RAY_AUTH_MODE": "token",
}
_REACHABLE_S = 5.0
_POLL_S = 0.2  # Ray hears Ctrl-C between two waits


class RayWorker:
    """What an actor runs."""

    def __init__(self, settings: RolloutSettings) -> None:
        """Builds nothing yet, so that errors come back from `ready`."""
        self._settings = settings
        self._maker: EpisodeMaker | None = None

    def ready(self) -> Ready | Broken:
        """Builds simulator and policy."""
        if self._settings.policy == ENSEMBLE:
            import_ensemble()
        try:
            self._maker = EpisodeMaker(self._settings)
        except SalusError as error:
            return Broken(f"{platform.node()}: {error}")
        return Ready(self._maker.provenance(), os.getpid(), platform.node())

    def make(self, seed: int) -> Finished | Failed:
        """Makes one episode."""
        assert self._maker is not None
        try:
            return Finished(seed, encode(self._maker.make(seed), f"seed {seed}"))
        except SalusError as error:
            return Failed(seed, str(error))


def run_on_ray(
    settings: RolloutSettings, seeds: Sequence[int], workers: int, address: str
) -> Generator[Result, None, None]:
    """Makes the episodes of the seeds in actors of one CPU each.

    Args:
        settings: of every episode; the device can only be the CPU.
        seeds: which; every one comes back as `Finished` or `Failed` exactly once.
        workers: actors at most.
        address: of the cluster, as ray.init takes it; `local` starts one on this machine that ends with the run.

    Raises:
        SalusError: no Ray, no cluster, or the workers cannot be built with these settings or die again and again.
    """
    if settings.device != "cpu":
        raise SalusError(f"--ray: workers run on cpu only, --device is {settings.device!r}")
    queue = SeedQueue(seeds)
    with _connected(address, workers) as ray:
        actor_class = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(RayWorker)
        tasks: dict[Any, tuple[Any, int | None]] = {}  # reference of the result -> actor, seed; None while it is built
        idle: list[Any] = []
        while len(queue) or any(seed is not None for _, seed in tasks.values()):
            while idle and (seed := queue.take()) is not None:
                actor = idle.pop()
                tasks[actor.make.remote(seed)] = (actor, seed)
            for _ in range(min(workers - len(tasks), len(queue))):
                actor = actor_class.remote(settings)
                tasks[actor.ready.remote()] = (actor, None)
            done, _ = ray.wait(list(tasks), timeout=_POLL_S)
            for reference in done:
                actor, seed = tasks.pop(reference)
                try:
                    result = ray.get(reference)
                except ray.exceptions.RayError as error:
                    ray.kill(actor)
                    lines = str(error).strip().splitlines()
                    # Of an error that nobody foresaw the last line of the traceback; else Ray says it in the first.
                    reason = lines[-1] if isinstance(error, ray.exceptions.RayTaskError) else lines[0]
                    yield queue.worker_died(seed, reason)
                    continue
                if isinstance(result, Broken):
                    raise SalusError(result.message)
                if isinstance(result, Ready):
                    queue.worker_started()
                idle.append(actor)
                yield result


@contextmanager
def _connected(address: str, workers: int) -> Iterator[Any]:
    """The module `ray`, connected; all actors end with the connection."""
    _check_reachable(address)
    os.environ.update(_RAY_SETTINGS)  # Ray reads them when it is imported
    local: dict[str, Any] = {}
    scratch: Path | None = None
    if address == LOCAL:
        os.environ.update(ONE_THREAD)  # the workers inherit it
        os.environ.update(_PRIVATE, RAY_AUTH_TOKEN=secrets.token_hex(32))
        scratch = Path(tempfile.mkdtemp(prefix="salus-ray-"))
        local = {
            "num_cpus": workers,
            "object_store_memory": _STORE_BYTES,
            "include_dashboard": False,
            "_temp_dir": str(scratch),
        }
    try:
        try:
            import ray
        except ImportError as error:
            raise SalusError(f"--ray: Ray is not installed ({error}); see requirements-ray.txt") from error
        try:
            with _own_sigterm():
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
        except (OSError, RuntimeError, ValueError) as error:  # ConnectionError is an OSError
            raise SalusError(f"--ray {address}: no connection: {error}") from error
        try:
            if address == LOCAL and not ipaddress.ip_address(ray.util.get_node_ip_address()).is_loopback:
                raise SalusError(
                    "--ray local: Ray listens to other machines too: something imported it before its settings"
                )
            yield ray
        finally:
            ray.shutdown()
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def _check_reachable(address: str) -> None:
    """Ray itself tries for minutes to reach a port that nobody listens on."""
    match = re.fullmatch(r"([^:/]+):(\d{1,5})", address)
    if match is None:
        return
    try:
        socket.create_connection((match[1], int(match[2])), timeout=_REACHABLE_S).close()
    except (OSError, OverflowError) as error:
        raise SalusError(f"--ray {address}: nothing answers there: {error}") from error


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray's handlers of SIGTERM end the process with a core dump; what was there before comes back."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
