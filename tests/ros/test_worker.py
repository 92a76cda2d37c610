"""The worker runs slow calls beside the executor; every wait here is for an event."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor

from salus_vla.contract.errors import SalusError
from salus_vla.ros.adapters.worker import Worker

StartRos = Callable[..., None]
PATIENCE = 20.0  # s until a test that hangs is a failure


class Bench:
    """A worker whose jobs wait until they are let through, and an executor to spin."""

    def __init__(self) -> None:
        self.node = rclpy.create_node("bench")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.begun = threading.Semaphore(0)
        self.gate = threading.Event()
        self.started: list[int] = []
        self.finished: list[int] = []
        self.delivered: list[object] = []
        self.threads: set[threading.Thread] = set()
        self.delivery_threads: set[threading.Thread] = set()
        self.worker: Worker[int, int] = Worker(
            self.node, self._work, self._deliver, lambda _, error: self._deliver(error)
        )

    def _work(self, job: int) -> int:
        self.threads.add(threading.current_thread())
        self.started.append(job)
        self.begun.release()
        assert self.gate.wait(PATIENCE)
        if job < 0:
            raise ValueError(f"job {job}")
        self.finished.append(job)
        return job * 10

    def _deliver(self, result: object) -> None:
        self.delivery_threads.add(threading.current_thread())
        self.delivered.append(result)

    def submit_and_wait_until_begun(self, job: int) -> None:
        self.worker.submit(job)
        assert self.begun.acquire(timeout=PATIENCE)

    def spin_until_delivered(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while len(self.delivered) < count:
            assert time.monotonic() < deadline, f"delivered {self.delivered}, expected {count}"
            self.executor.spin_once(timeout_sec=PATIENCE)

    def opened_by(self, call: Callable[..., object]) -> Callable[..., object]:
        """`call`, which first lets the jobs through: used where something waits for a job that is under way."""

        def opening(*args: object, **kwargs: object) -> object:
            self.gate.set()
            return call(*args, **kwargs)

        return opening

    def close(self) -> None:
        self.gate.set()
        self.worker.stop(PATIENCE)
        self.executor.shutdown()
        self.node.destroy_node()


@pytest.fixture
def bench(start_ros: StartRos) -> Iterator[Bench]:
    start_ros()
    made = Bench()
    yield made
    made.close()


def test_a_result_is_delivered_in_the_thread_of_the_executor(bench: Bench) -> None:
    bench.gate.set()
    bench.worker.submit(1)
    bench.spin_until_delivered(1)
    assert bench.delivered == [10]
    assert bench.delivery_threads == {threading.current_thread()}
    assert threading.current_thread() not in bench.threads


def test_the_executor_is_free_while_a_job_is_under_way(bench: Bench) -> None:
    bench.submit_and_wait_until_begun(1)
    ticked = threading.Event()
    timer = bench.node.create_timer(0.0, ticked.set)
    while not ticked.is_set():
        bench.executor.spin_once(timeout_sec=PATIENCE)
    timer.cancel()
    assert bench.delivered == []
    bench.gate.set()
    bench.spin_until_delivered(1)


def test_the_newest_job_replaces_those_that_wait(bench: Bench) -> None:
    bench.submit_and_wait_until_begun(1)
    for job in (2, 3, 4):
        bench.worker.submit(job)
    assert bench.worker.overwritten == 2
    bench.gate.set()
    bench.spin_until_delivered(2)
    assert bench.delivered == [10, 40]
    assert bench.started == [1, 4]


def test_a_job_that_waits_for_nobody_is_not_counted_as_replaced(bench: Bench) -> None:
    bench.gate.set()
    for count in (1, 2, 3):
        bench.worker.submit(count)
        bench.spin_until_delivered(count)
    assert bench.worker.overwritten == 0
    assert bench.delivered == [10, 20, 30]


def test_an_error_is_delivered_and_the_worker_lives_on(bench: Bench) -> None:
    bench.gate.set()
    bench.worker.submit(-1)
    bench.spin_until_delivered(1)
    bench.worker.submit(2)
    bench.spin_until_delivered(2)
    error, result = bench.delivered
    assert isinstance(error, ValueError)
    assert str(error) == "job -1"
    assert result == 20


def test_results_and_errors_go_to_different_callbacks(start_ros: StartRos) -> None:
    start_ros()
    node = rclpy.create_node("bench")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    results: list[float] = []
    errors: list[Exception] = []

    def take_error(job: float, error: Exception) -> None:
        assert job == 0.0
        errors.append(error)

    worker: Worker[float, float] = Worker(node, lambda job: 1.0 / job, results.append, take_error)
    deadline = time.monotonic() + PATIENCE
    for count, job in enumerate((0.0, 4.0), start=1):
        worker.submit(job)
        while len(results) + len(errors) < count and time.monotonic() < deadline:
            executor.spin_once(timeout_sec=PATIENCE)
    worker.stop(PATIENCE)
    executor.shutdown()
    node.destroy_node()
    assert results == [0.25]
    assert [type(error) for error in errors] == [ZeroDivisionError]


def test_forget_drops_what_waits_and_not_what_runs(bench: Bench) -> None:
    bench.submit_and_wait_until_begun(1)
    bench.worker.submit(2)
    bench.worker.forget()
    bench.gate.set()
    bench.spin_until_delivered(1)
    bench.worker.submit(3)
    bench.spin_until_delivered(2)
    assert bench.delivered == [10, 30]
    assert bench.started == [1, 3]


def test_forget_never_waits_for_a_job_that_is_under_way(bench: Bench) -> None:
    bench.submit_and_wait_until_begun(1)
    bench.worker.forget()  # would never return: nothing lets the job through yet
    assert bench.finished == []


def test_stop_says_when_a_job_is_still_under_way(bench: Bench) -> None:
    bench.submit_and_wait_until_begun(1)
    with pytest.raises(SalusError, match="still being made"):
        bench.worker.stop(0.01)
    (thread,) = bench.threads
    assert thread.is_alive()


def test_stop_ends_the_thread(bench: Bench) -> None:
    bench.gate.set()
    bench.worker.submit(1)
    bench.spin_until_delivered(1)
    bench.worker.stop(PATIENCE)
    (thread,) = bench.threads
    assert not thread.is_alive()


def test_stop_finishes_the_job_under_way_but_begins_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.submit_and_wait_until_begun(1)
    bench.worker.submit(2)
    (thread,) = bench.threads
    monkeypatch.setattr(thread, "join", bench.opened_by(thread.join))
    bench.worker.stop(PATIENCE)
    assert not thread.is_alive()
    assert bench.started == bench.finished == [1]
