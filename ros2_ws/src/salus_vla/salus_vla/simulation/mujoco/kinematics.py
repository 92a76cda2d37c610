"""Forward and inverse kinematics of the Panda by damped least squares on MuJoCo's own model."""

from __future__ import annotations

import mujoco
import numpy as np

from salus_vla.contract import ARM_JOINTS
from salus_vla.contract.robot_limits import PANDA
from salus_vla.contract.types import FloatArray
from salus_vla.simulation.mujoco.mujoco_model import TCP_SITE

DOWN = np.diag([1.0, -1.0, -1.0])  # axes of a tool that points at the table, its fingers along y
_TOLERANCE = 1e-4  # m and rad, of a solution
_STEP = 0.2  # rad, the largest of one iteration, so that the linear model stays valid


def pointing_down(yaw: float) -> FloatArray:
    """Rotation (3, 3) of a tool that points at the table, its fingers turned by a yaw [rad]."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ DOWN


def yaw_of_tool(rotation: FloatArray) -> float:
    """Yaw of a tool (3, 3) that points down; the inverse of `pointing_down` [rad]."""
    return float(np.arctan2(rotation[1, 0], rotation[0, 0]))


class Kinematics:
    """Kinematics of the arm on an own copy of a model's state: the simulator is not touched."""

    def __init__(self, model: mujoco.MjModel, home: FloatArray, *, iterations: int = 30) -> None:
        """Finds the arm in a model.

        Args:
            model: with the contract's joints and the tool's site.
            home: arm joints that the redundant seventh degree of freedom is pulled to, shape (7,) [rad].
            iterations: of `solve`, at most.
        """
        self._model = model
        self._data = mujoco.MjData(model)
        self._qpos = np.array([model.joint(name).qposadr[0] for name in ARM_JOINTS])
        self._dof = np.array([model.joint(name).dofadr[0] for name in ARM_JOINTS])
        ranges = np.array([model.joint(name).range for name in ARM_JOINTS])
        self._lower, self._upper = np.maximum(ranges[:, 0], PANDA.lower), np.minimum(ranges[:, 1], PANDA.upper)
        self._site = model.site(TCP_SITE).id
        self._home = home
        self._iterations = iterations
        self._jacobian = np.zeros((6, model.nv))

    def tool(self, arm: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Position (3,) [m] and rotation (3, 3) of the tool at arm joints (7,) [rad]."""
        self._data.qpos[self._qpos] = arm
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        return self._data.site_xpos[self._site].copy(), self._data.site_xmat[self._site].reshape(3, 3).copy()

    def solve(
        self, arm: FloatArray, position: FloatArray, rotation: FloatArray, *, damping: float = 0.02, pull: float = 0.05
    ) -> FloatArray:
        """Arm joints for a tool pose.

        Args:
            arm: start, close to the solution, shape (7,) [rad].
            position: of the tool, shape (3,) [m].
            rotation: of the tool, shape (3, 3).
            damping: of the least squares, against large steps near a singularity.
            pull: of the null space towards home, as a share of the distance per iteration. A small one keeps the elbow
                of the start; about .6 gives the one solution nearest to home in the fewest iterations.

        Returns:
            Shape (7,), inside the joint limits; a pose out of reach is approached as far as it goes.
        """
        error, damper = np.empty(6), damping**2 * np.eye(6)
        for _ in range(self._iterations):
            at, axes = self.tool(arm)
            turn = (rotation @ axes.T - axes @ rotation.T) / 2.0  # sin of the angle between both, about its axis
            error[:3], error[3:] = position - at, (turn[2, 1], turn[0, 2], turn[1, 0])
            mujoco.mj_jacSite(self._model, self._data, self._jacobian[:3], self._jacobian[3:], self._site)
            j = self._jacobian[:, self._dof]
            inverse = np.linalg.solve(j @ j.T + damper, j).T
            null = pull * (self._home - arm)
            step = inverse @ error + null - inverse @ (j @ null)
            if np.abs(error).max() < _TOLERANCE and np.abs(step).max() < 10.0 * _TOLERANCE:
                break
            arm = np.clip(arm + np.clip(step, -_STEP, _STEP), self._lower, self._upper)
        return arm
