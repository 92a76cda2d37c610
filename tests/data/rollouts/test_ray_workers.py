"""Workers on a local Ray: the same files, a killed worker is replaced, nobody else can reach it, nothing stays."""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from stored import SEEDS, SHORT

from salus_vla.contract.errors import SalusError
from salus_vla.data.rollouts.ray_backend import LOCAL, run_on_ray
from salus_vla.data.rollouts.worker_results import Finished, Lost, Ready


@pytest.fixture
def same_environment() -> Iterator[None]:
    """Ray's settings are environment variables; no other test shall see them."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def scratch() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("salus-ray-*"))


@pytest.mark.timeout(300)  # Ray starts eight processes
@pytest.mark.usefixtures("same_environment")
def test_two_actors_make_what_one_process_makes_also_when_one_is_killed(
    expected: dict[int, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    me, results, actors = psutil.Process(), [], set()
    before, scratch_before = set(me.children(recursive=True)), scratch()
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    token = Path.home() / ".ray"
    had_token = token.exists()
    with closing(run_on_ray(SHORT, SEEDS, 2, LOCAL)) as run:
        for result in run:
            results.append(result)
            if isinstance(result, Ready):
                if not actors:
                    os.kill(result.process, signal.SIGKILL)
                    started = set(me.children(recursive=True)) - before
                    listening: set[str] = set()
                    for process in started:
                        with suppress(psutil.NoSuchProcess):  # the killed one, and Ray's short-lived helpers
                            connections = process.net_connections("inet")
                            listening |= {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
                    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
                    assert listening
                actors.add(result.process)
    finished = [result for result in results if isinstance(result, Finished)]
    assert sorted(result.seed for result in finished) == list(SEEDS)
    assert {result.seed: result.data for result in finished} == expected
    (lost,) = [result for result in results if isinstance(result, Lost)]
    assert lost.seed in SEEDS
    assert len(actors) in (2, 3)
    assert [process for process in started if process.is_running() and process.status() != "zombie"] == []
    assert scratch() == scratch_before
    assert token.exists() == had_token
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert capfd.readouterr() == ("", "")


def test_only_the_cpu_is_used() -> None:
    with pytest.raises(SalusError, match=r"cpu only.*cuda:0"):
        next(run_on_ray(replace(SHORT, device="cuda:0"), SEEDS, 1, LOCAL))
