"""Follows a plan in the way of a motion, from the closing of the hand to its release."""

from __future__ import annotations

from typing import Final

import numpy as np

from salus_vla.contract import ARM_DOF
from salus_vla.contract.forward_kinematics import tool_poses
from salus_vla.contract.robot_limits import PANDA
from salus_vla.contract.types import FloatArray
from salus_vla.safety.intervention.candidates import CLOSING, MOTIONS, PLAN, HandState, Motion, grasps
from salus_vla.safety.intervention.ways import back, retimed, stand

_WIDTH: Final = ARM_DOF  # column of the gripper's width
_OPENS: Final = 0.065  # m, what asks for less is no clear opening; the cube of the contract is 50 mm, 71 across
_SOON_ROWS: Final = 3
_AHEAD_ROWS: Final = 4  # that a release comes earlier, 0.4 s
_SETTLE_S: Final = 0.1  # after the fingers have met something: their force is there then
_SETTLE_PACE: Final = 0.1
_CARRIED: Final = 0.1  # m sideways from where it was grasped: nearer, an opening is a second try
_RAISED: Final = 0.006  # m above where it was grasped: lower, nothing is dropped
_RELEASE_DECISIONS: Final = 4  # for which the hand is told to open where it has put something down


class GraspFollower:
    """Follows one grasp after the other, decision by decision; `reset` begins an episode."""

    def __init__(self) -> None:
        """Nothing is grasped."""
        self.reset()

    def reset(self) -> None:
        """Forgets the grasp."""
        self._way: list[FloatArray] = []  # commands since the hand began to close, one for each decision
        self._grasped_at: FloatArray | None = None  # position of the tool
        self._lowering = False
        self._releasing = 0

    @property
    def lowering(self) -> bool:
        """Whether something is being put down near the place where it was grasped."""
        return self._lowering or self._releasing > 0

    def update(self, chunk: FloatArray, motion: Motion, told: FloatArray, hand: HandState) -> FloatArray:
        """The chunk to follow from a decision on, (H, 8); the plan's own while nothing is grasped.

        Args:
            chunk: of the plan, (H, 8) [rad, m].
            motion: how it is followed.
            told: command in force, (8,) [rad, m].
            hand: at the decision.
        """
        if self._releasing > 0:
            self._releasing -= 1
            if not self._releasing:
                self.reset()
            return stand(told, len(chunk), PANDA.gripper_max)
        if not grasps(hand):
            self.reset()
            return chunk
        tool = tool_poses(told[:ARM_DOF])[0][0]
        if self._grasped_at is None:
            self._grasped_at = tool
        self._way.append(told.copy())
        if motion == MOTIONS[PLAN]:
            return chunk
        if not motion.careful:
            return retimed(chunk, motion.pace, told)
        moved = tool - self._grasped_at
        carried, raised = float(np.hypot(*moved[:2])) > _CARRIED, float(moved[2]) > _RAISED
        opens = bool(chunk[:_SOON_ROWS, _WIDTH].max() > _OPENS)
        if hand.holds and not carried and (self._lowering or opens):
            if raised and len(self._way) > 1:
                return self._lower(len(chunk))
            self._lowering, self._releasing = False, _RELEASE_DECISIONS
            return stand(told, len(chunk), PANDA.gripper_max)
        self._lowering = False
        found = chunk.copy()
        found[:, _WIDTH] = _two_answers(chunk[:, _WIDTH], hand, carried=carried)
        settles = not hand.holds or hand.held_s < _SETTLE_S
        return retimed(found, min(motion.pace, _SETTLE_PACE) if settles else motion.pace, told)

    def _lower(self, rows: int) -> FloatArray:
        """Back along the way since the hand closed; what was gone back is forgotten."""
        self._lowering = True
        found = back(np.array(self._way), rows, 0.0)
        del self._way[-2:]  # the command in force, and the one that this decision goes back to
        return found


def _two_answers(widths: FloatArray, hand: HandState, *, carried: bool) -> FloatArray:
    """Closed or open, and an opening over the goal a little earlier."""
    if not hand.holds:
        return np.where(widths < CLOSING, 0.0, widths)
    if carried:
        last = np.repeat(widths[-1], min(_AHEAD_ROWS, len(widths)))
        widths = np.append(widths[_AHEAD_ROWS:], last)[: len(widths)]
    return np.where(widths > _OPENS, PANDA.gripper_max, 0.0)
