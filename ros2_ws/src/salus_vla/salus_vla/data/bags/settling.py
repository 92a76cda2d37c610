"""Messages that wait until it is known whether they belong to the episode, in the order of their stamps.

A message is settled once sim time is `hold_back_ns` beyond its stamp. A stamp that lies in the future may be true: the
queue of /clock may be taken last. Once sim time is `hold_back_ns` beyond the moment at which such a message came and
its stamp is still that far ahead, it was not; it then belongs to the sim time at which it came. So a message whose
stamp is not ahead waits for `hold_back_ns`, and no other for more than three times as long: one until its stamp is
looked at again, one until the clock reaches it, one until it is settled.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from salus_vla.data.bags.open_episode import Message


class SettlingBuffer:
    """Keeps messages by stamp.

    Attributes:
        size_bytes: of all messages that wait [bytes].
        misplaced: messages whose stamp was not true.
    """

    def __init__(self, hold_back_ns: int) -> None:
        """Starts empty; sim time for which a message waits [ns]."""
        self._hold_back_ns = hold_back_ns
        self._heap: list[tuple[int, int, Message]] = []
        self._ahead: deque[tuple[int, Message]] = deque()  # sim time at which it came; its stamp may not be true
        self._order = count()
        self._newest_ns = 0
        self.size_bytes = self.misplaced = 0

    def __len__(self) -> int:
        """Messages that wait."""
        return len(self._heap) + len(self._ahead)

    def add(self, message: Message, now_ns: int) -> None:
        """Takes a message that came at sim time `now_ns` [ns]."""
        self.size_bytes += len(message.cdr)
        if message.time_ns > now_ns + self._hold_back_ns:
            self._ahead.append((now_ns, message))
        else:
            self._push(message)

    def settled(self, now_ns: int) -> Iterator[Message]:
        """Gives what need not wait any longer at sim time `now_ns` [ns]; everything where that jumped back."""
        if now_ns < self._newest_ns - self._hold_back_ns:
            self._newest_ns = now_ns
            yield from self.everything(now_ns)
            return
        self._newest_ns = max(self._newest_ns, now_ns)
        while self._ahead and self._ahead[0][0] <= now_ns - self._hold_back_ns:
            self._push(self._placed(*self._ahead.popleft(), now_ns))
        while self._heap and self._heap[0][0] <= now_ns - self._hold_back_ns:
            yield self._pop()

    def everything(self, now_ns: int) -> Iterator[Message]:
        """Gives all that waits, at sim time `now_ns` [ns]."""
        while self._ahead:
            self._push(self._placed(*self._ahead.popleft(), now_ns))
        while self._heap:
            yield self._pop()

    def _placed(self, came_ns: int, message: Message, now_ns: int) -> Message:
        if message.time_ns <= now_ns + self._hold_back_ns:
            return message
        self.misplaced += 1
        return replace(message, time_ns=came_ns, own_stamp=False, misplaced=True)

    def _push(self, message: Message) -> None:
        heapq.heappush(self._heap, (message.time_ns, next(self._order), message))

    def _pop(self) -> Message:
        message = heapq.heappop(self._heap)[2]
        self.size_bytes -= len(message.cdr)
        return message
