"""Limits of the Franka Emika Panda (FER): what the arm may be commanded to do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salus_vla.contract.types import FloatArray


@dataclass(frozen=True)
class ArmLimits:
    """Joint limits and the gripper's range.

    Attributes:
        lower, upper: positions, shape (7,) [rad].
        velocity: shape (7,) [rad/s].
        acceleration: shape (7,) [rad/s^2].
        gripper_max: widest opening, the sum of both fingers [m].
        gripper_velocity: speed of the opening [m/s].
        gripper_acceleration: [m/s^2].
    """

    lower: FloatArray
    upper: FloatArray
    velocity: FloatArray
    acceleration: FloatArray
    gripper_max: float = 0.08
    gripper_velocity: float = 0.4
    gripper_acceleration: float = 8.0

    @property
    def all_lower(self) -> FloatArray:
        """Lower limits with the gripper width, shape (8,)."""
        return np.append(self.lower, 0.0)

    @property
    def all_upper(self) -> FloatArray:
        """Upper limits with the gripper width, shape (8,)."""
        return np.append(self.upper, self.gripper_max)

    @property
    def all_velocity(self) -> FloatArray:
        """Speed limits with the gripper's, shape (8,)."""
        return np.append(self.velocity, self.gripper_velocity)

    @property
    def all_acceleration(self) -> FloatArray:
        """Acceleration limits with the gripper's, shape (8,)."""
        return np.append(self.acceleration, self.gripper_acceleration)


# Franka's data sheet for the FER ("Panda"), not the FR3, whose limits differ.
PANDA = ArmLimits(
    lower=np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973]),
    upper=np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973]),
    velocity=np.array([2.1750, 2.1750, 2.1750, 2.1750, 2.6100, 2.6100, 2.6100]),
    acceleration=np.array([15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0]),
)
