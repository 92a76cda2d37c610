"""How an episode can end."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

TAKEN_OVER: Final = "taken over"


class Outcome(IntEnum):
    """How an episode ended; the values of salus_msgs/Episode."""

    RUNNING = 0
    SUCCESS = 1
    COLLISION = 2
    DROP = 3
    MISS = 4
    TIMEOUT = 5  # censoring: nothing happened in time
    ABORTED = 6  # operator or fault; never detected here
    HANDED_OVER = 7  # to a person, because it would fail: neither a success nor a failure


def ended_as(outcome: Outcome, *, taken_over: bool) -> str:
    """What an episode counts as: one that another policy ended counts apart."""
    return f"{outcome.name} {TAKEN_OVER}" if taken_over else outcome.name
