"""What the arm could do instead of the plan: motions, each a way to follow it while the hand holds something.

    name         | what it does
    -------------|------------------------------------------------------------------------------------------------------
    plan         | what the policy wants: the mean of its members
    slow_F       | the same path of the arm, at F of its speed; the hand in its own time
    careful      | holds with full force whatever is not a clear opening; does not lift before the fingers have closed;
                 | puts down what the plan wants to let go in the air near the place where it was grasped; opens over
                 | the goal a little earlier
    careful_F    | the same, and slow from the closing of the hand to the release
    hand_over    | brakes, holds, and leaves the arm to a person

The force of a grip is what the distance between the fingers and their target makes it. A mean of members of which some
want to open asks for a weak one, or for half an opening, which lets go in the air; a gripper is asked a question of two
answers. A load hangs low in the hand, so that a hand which opens where it always does presses it on the ground.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PLAN: Final = "plan"
HAND_OVER: Final = "hand_over"
PACES: Final = (0.5, 0.35, 0.25)
CAREFUL: Final = "careful"
SLOW: Final = "slow"

CLOSING: Final = 0.045  # m, a hand told to be narrower closes
_NEAR: Final = 0.072  # m, a wider hand has not begun to close


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
SLOW_MOTIONS: Final = tuple(name for name, motion in MOTIONS.items() if motion.pace < 1.0 and not motion.careful)


MEAN: Final = "mean"
MEMBER: Final = "member"
SAMPLE: Final = "sample"
NEAREST: Final = "nearest"
PROJECTED: Final = "projected"
RETREAT: Final = "retreat"
APPROACHES: Final = (MEAN, MEMBER, SAMPLE, NEAREST, PROJECTED, RETREAT)  # while the hand is free, see `approaches`

ALWAYS_CHOICES: Final = (*MOTIONS, *(name for name in APPROACHES if name != MEAN))  # that may be followed all the time
CHOICES: Final = (*MOTIONS, HAND_OVER, *APPROACHES)  # in the order of the numbers in files


@dataclass(frozen=True)
class HandState:
    """The hand at a decision.

    Attributes:
        width: measured [m].
        told: by the command in force [m].
        held_s: for how long it has held something [s]; 0 while it holds nothing.
    """

    width: float
    told: float
    held_s: float

    @property
    def holds(self) -> bool:
        """Whether it holds something."""
        return self.held_s > 0.0


def grasps(hand: HandState) -> bool:
    """Whether the hand holds something or closes: an arm that is slowed down before that closes above its goal."""
    return hand.holds or (hand.told < CLOSING and hand.width < _NEAR)
