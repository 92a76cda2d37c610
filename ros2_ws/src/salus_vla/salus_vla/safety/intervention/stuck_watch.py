"""When a try is hopeless: the hand has closed on nothing again and again, and the predictor does not believe in it."""

from __future__ import annotations

from typing import Final

TRIES: Final = 2  # closings on nothing before anybody gives up
CARRIED_S: Final = 1.0  # held for so long: closings from before do not count any more

FIRST: Final = "first"
AGAIN: Final = "again"


class TryWatch:
    """Counts closings on nothing since something was carried; `reset` begins an episode.

    Attributes:
        in_vain: of them, since something was carried or the episode began.
    """

    def __init__(self) -> None:
        """Nothing was tried."""
        self.reset()

    def reset(self) -> None:
        """Begins another episode."""
        self.in_vain = 0
        self._before_carry = 0
        self._seen = -1  # in vain, at the decision before; none yet

    def update(self, empty_closings: int, held_s: float) -> str:
        """Takes a decision.

        Args:
            empty_closings: so far in this episode.
            held_s: for how long something is held [s].

        Returns:
            `FIRST` at the first decision, `AGAIN` at the first behind another closing on nothing, else nothing.
        """
        if held_s >= CARRIED_S:
            self._before_carry = empty_closings
        self.in_vain = empty_closings - self._before_carry
        seen, self._seen = self._seen, self.in_vain
        if seen < 0:
            return FIRST
        return AGAIN if self.in_vain > seen else ""


def is_stuck(empty_closings: int, failure_logit: float, threshold: float, *, holds: bool) -> bool:
    """Whether to hand over.

    Args:
        empty_closings: closings on nothing since something was carried, or since the episode began.
        failure_logit: of the predictor; NaN counts as hopeful.
        threshold: of that logit, from successes: at most a chosen share of them is ever above it.
        holds: whether something is held.
    """
    return empty_closings >= TRIES and not holds and failure_logit > threshold


def stuck_words(empty_closings: int, failure: float) -> str:
    """Why, for a person."""
    return f"the hand closed on nothing {empty_closings} times, failure is {failure:.0%} likely: a person should look"
