"""Poses as the seven numbers of `spec`: x, y, z, qx, qy, qz, qw."""

from __future__ import annotations

import numpy as np

from salus_vla.contract.types import Pose
from salus_vla.simulation.isaac.scene_spec import Numbers


def numbers_of(pose: Pose) -> list[float]:
    """A pose as seven numbers."""
    return [float(value) for value in (*pose.position, *pose.quaternion)]


def pose_of(numbers: Numbers) -> Pose:
    """Seven numbers as a pose."""
    values = np.asarray(numbers, dtype=np.float64)
    return Pose(values[:3], values[3:])
