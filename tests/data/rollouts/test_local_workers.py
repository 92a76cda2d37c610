"""Worker processes: the number of them changes nothing, one that is killed is replaced, errors end the run."""

import os
import signal
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from stored import SEEDS, SHORT

from salus_vla.contract.errors import SalusError
from salus_vla.data.rollouts.worker_pool import run_local
from salus_vla.data.rollouts.worker_results import REDONE_AT_MOST, Finished, Lost, Ready, SeedQueue


def test_two_workers_make_what_one_process_makes_also_when_one_is_killed(
    tmp_path: Path, expected: dict[int, bytes]
) -> None:
    log = tmp_path / "workers.log"
    results = []
    processes = []
    with closing(run_local(SHORT, SEEDS, 2, log)) as run:
        for result in run:
            results.append(result)
            if isinstance(result, Ready):
                if not processes:
                    os.kill(result.process, signal.SIGKILL)
                processes.append(result.process)
    finished = [result for result in results if isinstance(result, Finished)]
    assert sorted(result.seed for result in finished) == list(SEEDS)
    assert {result.seed: result.data for result in finished} == expected
    (lost,) = [result for result in results if isinstance(result, Lost)]
    assert lost == Lost(SEEDS[0], f"it was ended by SIGKILL; its output is in {log}")
    assert len(processes) in (2, 3)  # the second worker may have made everything before the third was ready
    assert not any(psutil.pid_exists(process) for process in processes)


class InterruptError(Exception):
    """As KeyboardInterrupt, which would end pytest."""


def test_an_interrupt_ends_workers_in_the_middle_of_an_episode(tmp_path: Path) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise InterruptError

    run = run_local(replace(SHORT, max_decisions=10**6, images=False), SEEDS, 1, tmp_path / "workers.log")
    first = next(run)
    assert isinstance(first, Ready)
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    began = time.monotonic()
    try:
        with pytest.raises(InterruptError):
            next(run)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began < 3.0
    assert not psutil.pid_exists(first.process)


def test_a_worker_that_cannot_be_built_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(SalusError, match="policy 'nobody' is not known"):
        next(run_local(replace(SHORT, policy="nobody"), SEEDS, 1, tmp_path / "workers.log"))


def test_a_log_that_cannot_be_written_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(SalusError, match="nowhere"):
        next(run_local(SHORT, SEEDS, 1, tmp_path / "nowhere" / "workers.log"))


def test_an_episode_is_given_out_again_until_its_workers_died_too_often() -> None:
    queue = SeedQueue([8, 9])
    for _ in range(REDONE_AT_MOST):
        assert queue.take() == 8
        assert queue.worker_died(8, "ended by SIGSEGV") == Lost(8, "ended by SIGSEGV")
        assert len(queue) == 2
    assert queue.take() == 8
    with pytest.raises(SalusError, match=r"seed 8 died 4 times, the last time: ended by SIGSEGV"):
        queue.worker_died(8, "ended by SIGSEGV")
    assert queue.take() == 9
    assert queue.take() is None


def test_workers_that_die_while_they_start_end_the_run_unless_one_succeeds() -> None:
    queue = SeedQueue([1])
    for _ in range(2):
        for _ in range(REDONE_AT_MOST):
            queue.worker_died(None, "ended by SIGKILL")
        queue.worker_started()
    for _ in range(REDONE_AT_MOST):
        queue.worker_died(None, "ended by SIGKILL")
    with pytest.raises(SalusError, match="while it was starting"):
        queue.worker_died(None, "ended by SIGKILL")
