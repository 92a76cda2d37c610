"""For how long the last messages of an episode are waited for.

They come within milliseconds, or not at all: an episode that was aborted in lockstep ends in a world that stands still,
in which the command or the signals of its last frame are never made.
"""

from __future__ import annotations

import math
from typing import Final

QUIET_S: Final = 0.5  # of silence: what was sent and is still under way comes one message after the other


class ClosingWait:
    """Wall time at which an open bag is closed without what is missing.

    Attributes:
        timeout_s: longest wait [s].
    """

    def __init__(self, timeout_s: float) -> None:
        """Waits for nothing yet; longest wait [s]."""
        self.timeout_s = timeout_s
        self._deadline = self._quiet_from = math.inf

    def begin(self, now: float, *, aborted: bool = False) -> None:
        """Something is waited for from now on; after an abort a silence ends it, too. Monotonic time [s]."""
        self._deadline = now + self.timeout_s
        self._quiet_from = now if aborted else math.inf

    def heard(self, now: float) -> None:
        """A message of the episode came."""
        if self._quiet_from < math.inf:
            self._quiet_from = now

    def end(self) -> None:
        """Nothing is waited for any more."""
        self._deadline = self._quiet_from = math.inf

    def over(self, now: float) -> bool:
        """Whether what is missing is given up."""
        return now > min(self._deadline, self._quiet_from + QUIET_S)
