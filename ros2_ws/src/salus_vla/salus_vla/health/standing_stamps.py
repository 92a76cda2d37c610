"""Whether the stamps of a topic go on: messages that all have one stamp are no measurements."""

from __future__ import annotations


class StandingStamps:
    """The stamps of one topic."""

    MOST = 5  # messages in a row with one stamp: an image may be sent again, a latched one by each new publisher

    def __init__(self) -> None:
        """Nothing came yet."""
        self._stamp_ns: int | None = None
        self._count = 0

    def judge(self, stamp_ns: int) -> str:
        """Takes the stamp of a message [ns]; what is wrong with it in words, empty where nothing is."""
        self._count = self._count + 1 if stamp_ns == self._stamp_ns else 1
        self._stamp_ns = stamp_ns
        if self._count <= self.MOST:
            return ""
        return f"is stamped {stamp_ns * 1e-9:g} s, as the messages before it: the stamps stand still"
