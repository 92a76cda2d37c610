"""One worker thread for slow calls beside a single-threaded executor, with a newest-wins mailbox.

rclpy's multi-threaded executor is slow; inference must not block the callbacks that keep the arm's command stream
alive.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.node import Node

from salus_vla.contract.errors import SalusError


@dataclass(frozen=True)
class _Failure[Job]:
    job: Job
    error: Exception


class Worker[Job, Result]:
    """Runs jobs in a thread and hands results back in the executor's thread."""

    def __init__(
        self,
        node: Node,
        work: Callable[[Job], Result],
        on_result: Callable[[Result], None],
        on_error: Callable[[Job, Exception], None],
    ) -> None:
        """Starts the thread.

        Args:
            node: its executor runs `on_result` and `on_error`.
            work: runs in the thread.
            on_result: takes what `work` returned.
            on_error: takes the job and what `work` raised on it.
        """
        self._work, self._on_result, self._on_error = work, on_result, on_error
        self._node = node
        self._wake = node.create_guard_condition(self._deliver)
        self._results: deque[Result | _Failure[Job]] = deque()
        self._condition = threading.Condition()
        self._job: Job | None = None
        self._stopped = False
        self.overwritten = 0  # jobs replaced by a newer one before they began
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Puts a job into the mailbox; one that waits there is replaced."""
        with self._condition:
            if self._job is not None:
                self.overwritten += 1
            self._job = job
            self._condition.notify()

    def forget(self) -> None:
        """Drops a job that has not begun; the result of one that has is still delivered."""
        with self._condition:
            self._job = None

    def stop(self, patience_s: float) -> None:
        """Ends the thread after the job it is at, whose result is not delivered.

        Raises:
            SalusError: the job takes longer than that [s]; what it uses must not be freed.
        """
        with self._condition:
            self._stopped = True
            self._condition.notify()
        self._thread.join(timeout=patience_s)
        if self._thread.is_alive():
            raise SalusError(f"a decision is still being made after {patience_s:g} s")
        self._node.destroy_guard_condition(self._wake)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._job is not None or self._stopped)
                if self._stopped or self._job is None:
                    return
                job, self._job = self._job, None
            try:
                self._results.append(self._work(job))
            except Exception as error:  # whatever it is, the executor's thread must hear of it
                self._results.append(_Failure(job, error))
            with self._condition:
                if not self._stopped:
                    self._wake.trigger()

    def _deliver(self) -> None:
        while self._results:
            result = self._results.popleft()
            if isinstance(result, _Failure):
                self._on_error(result.job, result.error)
            else:
                self._on_result(result)
