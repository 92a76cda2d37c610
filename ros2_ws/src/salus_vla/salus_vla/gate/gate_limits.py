"""Limits of the nine joints as the gate checks them: plain numbers, because a command is checked joint by joint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from salus_vla.contract import ARM_DOF, JOINTS
from salus_vla.contract.robot_limits import PANDA, ArmLimits

# Franka's data sheet for the FER.
ARM_JERK: Final = (7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0)
# The data sheet gives none for the hand; its acceleration is reached in 2 ms, as the arm's is.
FINGER_JERK: Final = 2000.0


@dataclass(frozen=True)
class JointLimits:
    """Limits of the nine joints in contract order; arm in rad, fingers in m.

    Attributes:
        lower, upper: positions, 9 each.
        velocity: 9 [1/s].
        acceleration: 9 [1/s^2].
        jerk: 9 [1/s^3].
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    velocity: tuple[float, ...]
    acceleration: tuple[float, ...]
    jerk: tuple[float, ...]


def joint_limits(arm: ArmLimits = PANDA) -> JointLimits:
    """Limits of nine joints; each finger makes half of the opening."""
    fingers = len(JOINTS) - ARM_DOF

    def each(joints: list[float], opening: float) -> tuple[float, ...]:
        return (*joints, *[opening / 2.0] * fingers)

    return JointLimits(
        lower=each(arm.lower.tolist(), 0.0),
        upper=each(arm.upper.tolist(), arm.gripper_max),
        velocity=each(arm.velocity.tolist(), arm.gripper_velocity),
        acceleration=each(arm.acceleration.tolist(), arm.gripper_acceleration),
        jerk=(*ARM_JERK, *[FINGER_JERK] * fingers),
    )
