"""Where the Panda's tool is, in closed form: no simulator is needed for it."""

from __future__ import annotations

from typing import Final

import numpy as np

from salus_vla.contract.robot import ARM_DOF
from salus_vla.contract.types import FloatArray

# Modified Denavit-Hartenberg parameters (documentation of the Franka Control Interface): a [m], d [m], alpha [rad].
_A: Final = (0.0, 0.0, 0.0, 0.0825, -0.0825, 0.0, 0.088)
_D: Final = (0.333, 0.0, 0.316, 0.0, 0.384, 0.0, 0.0)
_ALPHA: Final = (0.0, -np.pi / 2, np.pi / 2, np.pi / 2, -np.pi / 2, np.pi / 2, np.pi / 2)
_TOOL: Final = 0.107 + 0.1034  # m along the last axis: flange and hand
_HAND_TURN: Final = -np.pi / 4.0  # rad about it: how the hand is mounted


def tool_height(arm: FloatArray) -> float:
    """Height of the tool over the table at arm joints (7,) [m]."""
    # From the tool back to the base only the height counts: a row vector is enough.
    row, height = np.array([0.0, 0.0, 1.0]), 0.0
    for angle, a, d, alpha in zip(arm, _A, _D, _ALPHA, strict=True):
        ca, sa, ct, st = np.cos(alpha), np.sin(alpha), np.cos(angle), np.sin(angle)
        height += float(row @ (a, -d * sa, d * ca))
        row = row @ np.array([[ct, -st, 0.0], [st * ca, ct * ca, -sa], [st * sa, ct * sa, ca]])
    return height + float(row[2]) * _TOOL


def tool_poses(arm: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Poses of the tool, between the fingertips, in the base frame.

    Args:
        arm: joints, (N, 7) [rad].

    Returns:
        Positions (N, 3) [m] and rotations (N, 3, 3); the fingers open along the rotated y axis.
    """
    joints = np.asarray(arm, dtype=np.float64).reshape(-1, ARM_DOF)
    count = len(joints)
    rotation = np.broadcast_to(np.eye(3), (count, 3, 3)).copy()
    position = np.zeros((count, 3))
    for index, (a, d, alpha) in enumerate(zip(_A, _D, _ALPHA, strict=True)):
        ca, sa = np.cos(alpha), np.sin(alpha)
        position = position + rotation @ np.array([a, -d * sa, d * ca])
        rotation = rotation @ _turn(joints[:, index], ca, sa)
    position = position + rotation @ np.array([0.0, 0.0, _TOOL])
    return position, rotation @ _turn(np.full(count, _HAND_TURN), 1.0, 0.0)


def _turn(angle: FloatArray, ca: float, sa: float) -> FloatArray:
    """About z by angles (N,), behind a turn about x by alpha, (N, 3, 3)."""
    ct, st, zero = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    rows = [[ct, -st, zero], [st * ca, ct * ca, zero - sa], [st * sa, ct * sa, zero + ca]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
