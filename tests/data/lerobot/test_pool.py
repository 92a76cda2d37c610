"""The processes that prepare episodes give them in order, and none outlives the export."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from recorded import make_episode, rollout_run
from salus_vla.contract.errors import RecordingError
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.lerobot.prepare import LeftOut, Options, Prepared
from salus_vla.data.lerobot.prepare_pool import prepare_all
from salus_vla.data.lerobot.sources import find_sources
from waiting import wait_until

# Prints the process ids of the workers, then dies as with kill -9.
PROGRAM = """
import os, signal, sys
import psutil
from pathlib import Path
from salus_vla.data.lerobot.prepare_pool import prepare_all
from salus_vla.data.lerobot.prepare import Options
from salus_vla.data.lerobot.sources import find_sources
from salus_vla.contract.outcomes import Outcome

prepared = prepare_all(find_sources([Path(sys.argv[1])], [Outcome.SUCCESS]).episodes, Options(), 2)
next(prepared)
print(*(worker.pid for worker in psutil.Process().children()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven episodes, of which the fourth says that it had more decisions than it has."""
    episodes = [make_episode(seed, decisions=1 + seed % 3, side=8) for seed in range(7)]
    episodes[3] = make_episode(3, decisions=2, side=8, planned=make_episode(3, decisions=2).planned * float("nan"))
    return rollout_run(tmp_path_factory.mktemp("runs"), "run1", episodes)


@pytest.mark.parametrize("workers", [1, 3])
def test_episodes_come_in_order(run: Path, workers: int) -> None:
    sources = find_sources([run], [Outcome.SUCCESS]).episodes
    prepared = list(prepare_all(sources, Options(action="planned"), workers))
    assert [item.source for item in prepared] == list(sources)
    assert [type(item) for item in prepared] == [Prepared] * 3 + [LeftOut] + [Prepared] * 3


def test_an_error_of_a_worker_is_the_same_error_here(tmp_path: Path) -> None:
    broken = rollout_run(tmp_path, "run1", [make_episode(1, images={}), make_episode(2)])
    sources = find_sources([broken], [Outcome.SUCCESS]).episodes
    with pytest.raises(RecordingError, match=r"seed_000001.safetensors: has no images"):
        list(prepare_all(sources, Options(), 2))


def test_workers_end_when_the_export_is_killed(run: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(run)], capture_output=True, text=True, env=environment, check=False
    )
    assert result.returncode == -9, result.stderr
    pids = [int(pid) for pid in result.stdout.split()]
    assert len(pids) == 2
    wait_until(lambda: not any(map(psutil.pid_exists, pids)), "end of the workers", 5.0)
