"""Sim time of messages that carry no stamp: that of the /clock message that was published last before them.

A reader takes what waits on one topic after the other, so the newest /clock that it has taken may be many frames ahead
of a message on another topic, or behind it. The moments of publishing do not depend on that: a simulator publishes a
frame's /clock and then what has no stamp.
"""

from __future__ import annotations

from collections import deque

_KEPT = 4000  # /clock messages; more than what waits on any queue


class PublishedClock:
    """Remembers when which sim time was published. All times are [ns]; `sent` is wall time of the publisher."""

    def __init__(self) -> None:
        """Nothing was published yet."""
        self._ticks: deque[tuple[int, int]] = deque(maxlen=_KEPT)

    @property
    def newest_ns(self) -> int | None:
        """The sim time that was published last; None before the first."""
        return self._ticks[-1][1] if self._ticks else None

    def tick(self, sent_ns: int, stamp_ns: int) -> None:
        """A /clock message with this stamp was published at `sent_ns`."""
        self._ticks.append((sent_ns, stamp_ns))

    def is_past(self, sent_ns: int) -> bool:
        """Whether a /clock message that was published later is known, so that `at` is final."""
        return bool(self._ticks) and self._ticks[-1][0] > sent_ns

    def at(self, sent_ns: int) -> int | None:
        """Sim time of a message that was published at `sent_ns`; None when no /clock is known from before."""
        for sent, stamp_ns in reversed(self._ticks):
            if sent <= sent_ns:
                return stamp_ns
        return None
