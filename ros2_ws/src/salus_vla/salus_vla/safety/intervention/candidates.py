"""What the arm could do instead of the plan: each candidate is a chunk that starts where the arm is told to be.

    name         | what it does
    -------------|------------------------------------------------------------------------------------------------------
    plan         | what the policy wants: the mean of its members
    slow_F       | the same path of the arm, at F of its speed; the hand in its own time
    careful      | grips with full force while the plan does not open the hand, does not lift before the fingers have
                 | closed, and opens over the place a little before the plan does
    careful_F    | the same, and slow from the closing of the hand to the release
    member_K     | what one member wants
    projected    | the plan, moved onto the manifold of successful actions
    lower        | back along the way the hand has come since it closed; it opens there, and the policy tries again
    retreat      | back along the way travelled, with the hand as it is
    hand_over    | brakes, holds, and leaves the arm to a person

The force of a grip is what the distance between the fingers and their target makes it: a mean of members of which some
already want to open asks for a weak one, and what is held slips. A load makes the arm sag and hang low in the hand, so
that a hand which opens where it always does presses it on the ground.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from salus_vla.contract import ARM_DOF
from salus_vla.contract.robot_limits import PANDA
from salus_vla.contract.types import FloatArray

PLAN: Final = "plan"
PROJECTED: Final = "projected"
LOWER: Final = "lower"
RETREAT: Final = "retreat"
HAND_OVER: Final = "hand_over"
PACES: Final = (0.5, 0.35, 0.25)
CAREFUL: Final = "careful"
SLOW: Final = "slow"

_WIDTH = ARM_DOF  # column of the gripper's width
_CLOSING: Final = 0.045  # m, a hand told to be narrower closes
_NEAR: Final = 0.072  # m, a wider hand has not begun to close
_OPENS: Final = 0.003  # m that it is told to be wider than it is
_FIRM_ROWS: Final = 4  # rows for which a closing hand is told to close
_SOON_ROWS: Final = 3
_AHEAD_ROWS: Final = 4  # rows that a release comes earlier, 0.4 s
_SETTLE_S: Final = 0.1  # after the fingers have met something: their force is there then
_SETTLE_PACE: Final = 0.1
_CARRIED_S: Final = 1.0  # held for less: an opening is a second try, not a release


@dataclass(frozen=True)
class Motion:
    """How a candidate follows the plan.

    Attributes:
        pace: of the arm.
        careful: see the table above.
    """

    pace: float = 1.0
    careful: bool = False


MOTIONS: Final = {
    PLAN: Motion(),
    **{f"{SLOW}_{pace:g}": Motion(pace) for pace in PACES},
    CAREFUL: Motion(careful=True),
    **{f"{CAREFUL}_{pace:g}": Motion(pace, careful=True) for pace in PACES},
}


CHOICES: Final = (*MOTIONS, HAND_OVER)  # in the order of the numbers in files


@dataclass(frozen=True)
class HandState:
    """The hand at a decision.

    Attributes:
        width: measured [m].
        held_s: for how long it has held something [s]; 0 while it holds nothing.
    """

    width: float
    held_s: float

    @property
    def holds(self) -> bool:
        """Whether it holds something."""
        return self.held_s > 0.0


def grasps(chunk: FloatArray, hand: HandState) -> bool:
    """Whether the hand holds something or is about to close on it, if it follows a chunk (H, 8)."""
    return hand.holds or bool(chunk[:_SOON_ROWS, _WIDTH].min() < _CLOSING and hand.width < _NEAR)


def follow(chunk: FloatArray, motion: Motion, told: FloatArray, hand: HandState) -> FloatArray:
    """The chunk (H, 8) that follows a plan in another way; the plan itself while nothing is grasped.

    Args:
        chunk: of the plan, (H, 8) [rad, m].
        motion: how.
        told: command in force, (8,) [rad, m].
        hand: at the decision.
    """
    if not grasps(chunk, hand) or motion == MOTIONS[PLAN]:
        return chunk
    found, pace = chunk.copy(), motion.pace
    if motion.careful:
        found[:, _WIDTH] = _careful_widths(chunk[:, _WIDTH], hand)
        if hand.held_s < _SETTLE_S:
            pace = min(pace, _SETTLE_PACE)
    return retimed(found, pace, told)


def retimed(chunk: FloatArray, pace: float, told: FloatArray) -> FloatArray:
    """The same path of the arm at another speed, from the command in force (8,) on; the hand in its own time."""
    path = np.vstack((told[None], chunk))
    steps = pace * np.arange(1, len(chunk) + 1)
    found = chunk.copy()
    for joint in range(ARM_DOF):
        found[:, joint] = np.interp(steps, np.arange(len(path)), path[:, joint])
    return found


def _careful_widths(widths: FloatArray, hand: HandState) -> FloatArray:
    """A firm grip until the plan opens the hand, and the opening a little earlier."""
    found = widths.copy()
    if hand.held_s > _CARRIED_S:
        ahead = np.append(widths[_AHEAD_ROWS:], np.repeat(widths[-1], min(_AHEAD_ROWS, len(widths))))[: len(widths)]
        if ahead[:2].max() > hand.width + _OPENS:
            found = ahead
            found[:2] = PANDA.gripper_max
    found[found < hand.width - _OPENS] = 0.0
    if not hand.holds:
        found[:_FIRM_ROWS] = 0.0
    return found


def back(way: FloatArray, rows: int, *, width: float | None = None) -> FloatArray:
    """Back along a way of commands, one for each control step, oldest first.

    Args:
        way: (N, 8), N > 0; the last one is the command in force.
        rows: H.
        width: of the hand meanwhile [m]; None for that of the last command.

    Returns:
        Chunk (H, 8); where the way is used up it stands.
    """
    order = np.maximum(len(way) - 2 - np.arange(rows), 0)
    found: FloatArray = way[order].copy()
    found[:, _WIDTH] = way[-1, _WIDTH] if width is None else width
    return found
