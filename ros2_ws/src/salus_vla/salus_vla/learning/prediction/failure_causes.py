"""Why an episode failed: told from ground truth by rules, from one closing of the hand.

It is the last one, in which the cube was lost or hit something. Of a MISS, three closings on nothing, it is the
first: the others happen in a scene that it has changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from salus_vla.contract.outcomes import Outcome
from salus_vla.learning.prediction.hand_attempts import Attempt, Grasp
from salus_vla.learning.prediction.samples import SLIPPED

CROOKED = 0.053  # m, wider than this .3 s after the touch the fingers stand on an edge or across a corner
SHORT_S = 0.3  # a grasp that is over sooner never had a settled width
EDGE = (0.020, 0.015)  # m off the middle of the pads, across and along the approach: only an edge is gripped
BESIDE = 0.015  # m: open fingers stand 15 mm from each side of the cube
SHOVE_S = 0.4  # a shove lasts 0.2 s at most, and what it moved has left the hand soon after


class Cause(StrEnum):
    """What ended an episode, in words."""

    CROOKED_GRASP = "crooked grasp"
    LET_GO = "straight grasp, hand opened"
    SLIPPED = "slipped out of the hand"
    EDGE_GRIPPED = "gripped at an edge"
    SHOVED_IN_HAND = "shoved out of the hand"
    SHOVED_BEFORE = "shoved away before the hand closed"
    CLOSED_BESIDE = "closed beside the cube"
    CLOSED_ON = "closed above or on the cube"
    OUT_OF_REACH = "cube knocked out of reach"
    SAGGED_INTO_BIN = "sagged in the hand, hit the bin"
    COLLIDED = "arm or hand collided"
    STUCK = "no end in time"
    OTHER = "none of these"


@dataclass(frozen=True)
class Ending:
    """What the rules look at, and what the arm did under its load.

    Attributes:
        outcome: how the episode ended.
        attempts: the times that the hand closed.
        out_of_reach: whether the cube was left where the arm cannot grasp it.
        shove_s: when somebody began to shove the cube [s]; infinite if nobody did.
        sag: how far the tool was below where it was told to be when the last grasp ended [m]; NaN without one.
    """

    outcome: str
    attempts: tuple[Attempt, ...]
    out_of_reach: bool
    shove_s: float
    sag: float = float("nan")


def cause_of(ending: Ending) -> Cause:
    """The cause of a failure; the first rule that holds."""
    closing = _decisive(ending)
    grasp = closing.grasp if closing is not None else None
    if ending.outcome == Outcome.TIMEOUT.name:
        return Cause.STUCK
    if ending.outcome == Outcome.COLLISION.name:
        return Cause.SAGGED_INTO_BIN if grasp is not None and grasp.slid > SLIPPED else Cause.COLLIDED
    if ending.out_of_reach:
        return Cause.OUT_OF_REACH
    if grasp is not None:
        return _of_grasp(grasp, ending)
    if closing is None:
        return Cause.OTHER
    if ending.shove_s < closing.begin_s:
        return Cause.SHOVED_BEFORE
    return Cause.CLOSED_BESIDE if closing.beside > BESIDE else Cause.CLOSED_ON


def _decisive(ending: Ending) -> Attempt | None:
    if not ending.attempts:
        return None
    return ending.attempts[0 if ending.outcome == Outcome.MISS.name else -1]


def _of_grasp(grasp: Grasp, ending: Ending) -> Cause:
    if grasp.begin_s - SHOVE_S <= ending.shove_s <= grasp.end_s:
        return Cause.SHOVED_IN_HAND
    if grasp.end_s - grasp.begin_s >= SHORT_S and grasp.width > CROOKED:
        return Cause.CROOKED_GRASP
    if abs(grasp.off_centre[0]) > EDGE[0] or grasp.off_centre[1] > EDGE[1]:
        return Cause.EDGE_GRIPPED
    if grasp.slid > SLIPPED:
        return Cause.SLIPPED
    return Cause.LET_GO if grasp.told_to_open else Cause.OTHER
