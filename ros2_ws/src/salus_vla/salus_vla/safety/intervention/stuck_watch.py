"""When a try is hopeless: the hand has closed on nothing again and again, and the predictor does not believe in it."""

from __future__ import annotations

from typing import Final

TRIES: Final = 2  # closings on nothing before anybody gives up
CARRIED_S: Final = 1.0  # held for so long: closings from before do not count any more


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
