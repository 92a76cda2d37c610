"""Messages without a stamp that wait until the sim time at which they were published is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from salus_vla.contract import Topic
from salus_vla.data.bags.published_clock import PublishedClock

_MOST = 4000  # that wait for a /clock


class UnstampedQueue:
    """Keeps them in the order in which they came.

    Attributes:
        size_bytes: of all messages that wait [bytes].
    """

    def __init__(self) -> None:
        """Starts empty, before the first /clock."""
        self._clock = PublishedClock()
        self._waiting: deque[tuple[Topic, bytes, int]] = deque()
        self.size_bytes = 0

    def tick(self, sent_ns: int, stamp_ns: int) -> None:
        """A /clock message with this stamp [ns] was published at `sent_ns`, wall time [ns]."""
        self._clock.tick(sent_ns, stamp_ns)

    def add(self, topic: Topic, cdr: bytes, sent_ns: int) -> None:
        """Takes a message that was published at `sent_ns`, wall time [ns]."""
        self._waiting.append((topic, cdr, sent_ns))
        self.size_bytes += len(cdr)

    def timed(self, end_ns: int | None) -> Iterator[tuple[Topic, bytes, int | None]]:
        """Gives those whose sim time is final [ns]: a later /clock is known, or that of the episode's end.

        Too many give way as `everything` does.
        """
        newest_ns = self._clock.newest_ns
        over = end_ns is not None and newest_ns is not None and newest_ns >= end_ns
        if over or len(self._waiting) > _MOST:
            yield from self.everything()
        while self._waiting and self._clock.is_past(self._waiting[0][2]):
            yield self._pop()

    def everything(self) -> Iterator[tuple[Topic, bytes, int | None]]:
        """Gives all that waits; sim time None where no /clock is known from before."""
        while self._waiting:
            yield self._pop()

    def _pop(self) -> tuple[Topic, bytes, int | None]:
        topic, cdr, sent_ns = self._waiting.popleft()
        self.size_bytes -= len(cdr)
        return topic, cdr, self._clock.at(sent_ns)
