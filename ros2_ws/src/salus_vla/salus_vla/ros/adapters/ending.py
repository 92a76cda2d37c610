"""SIGINT, SIGTERM and SIGHUP end a node between two of its steps, not in the middle of one.

rclpy's own handler lets Python raise KeyboardInterrupt wherever the main thread is: in a callback that is converted for
the bindings, which lose it, in a constructor, whose half-made object then complains, or while a bag is being closed.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Final, Self

import rclpy

from salus_vla.processes import ending_signals

_STEP_S: Final = 3.0  # wall time for a step, such as a model that loads; then it is interrupted
_CLOSES_S: Final = 5.0  # wall time after which a third signal ends a node that still closes
_LONGEST_S: Final = 60.0  # wall time for closing after a signal; then the process ends as it is
_POLL_S: Final = 0.1


def leave() -> None:
    """Nothing of the process is left to do: no signal may end it in another way.

    The interpreter puts the default actions back while it ends, but of what is ignored.
    """
    for number in ending_signals():
        signal.signal(number, signal.SIG_IGN)


class Ending:
    """Shuts rclpy down at the first signal; a context manager of the main thread.

    A step that takes too long is interrupted by KeyboardInterrupt. Further signals are counted: the third ends the
    process if it has been closing for so long that a person gives up.
    """

    def __init__(self, *, last: bool) -> None:
        """Watches from `__enter__` on; after the `last` thing of a process no signal does anything."""
        self._last = last
        self._signals = 0
        self._begun = 0.0  # when the first signal came, or the last interrupt
        self._closing: float | None = None
        self._interrupts = False
        self._over = threading.Event()

    def __enter__(self) -> Self:
        """Takes the signals over."""
        self._before = {number: signal.signal(number, self._on_signal) for number in ending_signals()}
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        # Python runs a handler only between two steps of the main thread, which may wait in rcl: a byte comes at once.
        self._wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        threading.Thread(target=self._count, daemon=True, name="signals").start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Gives the signals back, unless nothing follows."""
        self._over.set()
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._writer)
        if self._last:
            leave()
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def closes(self) -> None:
        """The node closes now: from here on no signal interrupts it."""
        self._closing = time.monotonic()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._interrupts and self._closing is None:
            self._interrupts = False
            raise KeyboardInterrupt

    def _watch(self) -> None:
        """After the first signal."""
        while not self._over.wait(_POLL_S):
            now = time.monotonic()
            if self._closing is not None:
                closing_s = now - self._closing
                if closing_s > _LONGEST_S or (self._signals > 2 and closing_s > _CLOSES_S):
                    os._exit(1)
            elif now - self._begun > _STEP_S and not self._interrupts:
                self._begun, self._interrupts = now, True
                os.kill(os.getpid(), signal.SIGINT)

    def _count(self) -> None:
        """Reads a byte for each signal."""
        while data := os.read(self._reader, 64):
            if self._interrupts:  # it is our own
                continue
            self._signals += len(data)
            if self._signals == len(data):  # the first
                self._begun = time.monotonic()
                threading.Thread(target=self._watch, daemon=True, name="ending").start()
                rclpy.try_shutdown()
        os.close(self._reader)
