"""Scripted motions for the simulator's tests: straight lines of the tool by damped least squares, and the gripper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import mujoco
import numpy as np

from salus_vla.contract import ARM_DOF, ARM_JOINTS, JOINTS
from salus_vla.frames import FloatArray, Frame
from salus_vla.geometry import rotate
from salus_vla.scene import Scene
from salus_vla.sim.model import TCP_SITE
from salus_vla.sim.simulator import Simulator
from salus_vla.task.monitor import TaskEvent, TaskMonitor

OPEN, CLOSED = 0.04, 0.0
DOWN = np.diag([1.0, -1.0, -1.0])  # axes of a tool that points at the table, its fingers along y


def yaw_of(quaternion: FloatArray) -> float:
    """Yaw of a cube, folded into +-45 degrees because a cube looks alike from four sides [rad]."""
    x, y, _ = rotate(quaternion, np.array([1.0, 0.0, 0.0]))
    return float((np.arctan2(y, x) + np.pi / 4) % (np.pi / 2) - np.pi / 4)


class Kinematics:
    """Inverse kinematics of the simulator's own model, on a copy of its state."""

    def __init__(self, simulator: Simulator) -> None:
        self._model = simulator.model
        self._data = mujoco.MjData(self._model)
        self._qpos = np.array([self._model.joint(name).qposadr[0] for name in ARM_JOINTS])
        self._dof = np.array([self._model.joint(name).dofadr[0] for name in ARM_JOINTS])
        self._range = np.array([self._model.joint(name).range for name in ARM_JOINTS])
        self._site = self._model.site(TCP_SITE).id
        self._home = simulator.scene.robot.home_position[:ARM_DOF]

    def tool(self, arm: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Position (3,) and rotation (3, 3) of the tool at arm joints (7,)."""
        self._data.qpos[self._qpos] = arm
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        return self._data.site_xpos[self._site].copy(), self._data.site_xmat[self._site].reshape(3, 3).copy()

    def solve(self, arm: FloatArray, position: FloatArray, rotation: FloatArray, damping: float = 0.02) -> FloatArray:
        """Arm joints (7,) for a tool pose, from a start close to it; the null space pulls towards home."""
        jacobian = np.zeros((6, self._model.nv))
        for _ in range(30):
            at, axes = self.tool(arm)
            turn = 0.5 * sum(np.cross(axes[:, i], rotation[:, i]) for i in range(3))
            error = np.concatenate([position - at, turn])
            if np.linalg.norm(error) < 1e-4:
                break
            mujoco.mj_jacSite(self._model, self._data, jacobian[:3], jacobian[3:], self._site)
            j = jacobian[:, self._dof]
            inverse = j.T @ np.linalg.inv(j @ j.T + damping**2 * np.eye(6))
            step = inverse @ error + (np.eye(ARM_DOF) - inverse @ j) @ (0.05 * (self._home - arm))
            arm = np.clip(arm + np.clip(step, -0.2, 0.2), self._range[:, 0], self._range[:, 1])
        return arm


@dataclass
class Script:
    """Drives a simulator and feeds a monitor; stops by itself when the episode has ended."""

    simulator: Simulator
    monitor: TaskMonitor
    events: list[TaskEvent] = field(default_factory=list)
    grip: float = OPEN

    def __post_init__(self) -> None:
        self.kinematics = Kinematics(self.simulator)
        self.arm = self.simulator.scene.robot.home_position[:ARM_DOF].copy()
        self.position, self.rotation = self.kinematics.tool(self.arm)
        self.monitor.start(self.simulator.frame.stamp_ns)
        self._watch(self.simulator.frame)

    @property
    def scene(self) -> Scene:
        return self.simulator.scene

    @property
    def ended(self) -> bool:
        return any(event.outcome is not None for event in self.events)

    @property
    def cube(self) -> FloatArray:
        return self.simulator.frame.poses["red_cube"].position

    def _watch(self, frame: Frame) -> None:
        self.events += self.monitor.update(frame.stamp_ns, frame.joint_position, frame.poses, frame.contacts)

    def frames(self, count: int) -> Iterator[None]:
        """Send the present target once per frame."""
        for _ in range(count):
            if self.ended:
                return
            yield
            self.simulator.set_command(JOINTS, [*self.arm, self.grip, self.grip])
            self._watch(self.simulator.step())

    def move(
        self, position: FloatArray | tuple[float, float, float], yaw: float | None = None, speed: float = 0.5
    ) -> None:
        """Straight line of the tool at a speed [m/s], pointing down; yaw of the fingers [rad]."""
        start, goal = self.position.copy(), np.asarray(position, dtype=float)
        if yaw is not None:
            c, s = np.cos(yaw), np.sin(yaw)
            self.rotation = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ DOWN
        count = max(5, int(np.ceil(np.linalg.norm(goal - start) / speed / self.scene.rates.frame_dt)))
        for i, _ in enumerate(self.frames(count), start=1):
            self.position = start + (goal - start) * i / count
            self.arm = self.kinematics.solve(self.arm, self.position, self.rotation)

    def wait(self, seconds: float) -> None:
        """Hold the target."""
        for _ in self.frames(round(seconds / self.scene.rates.frame_dt)):
            pass

    def gripper(self, width: float, seconds: float = 0.5) -> None:
        """Move the fingers, each to `width` [m], and wait."""
        self.grip = width
        self.wait(seconds)

    def pick(self, grip: float = CLOSED, lift: float = 0.18) -> None:
        """Above the cube, down, close, lift."""
        x, y, _ = self.cube
        yaw = yaw_of(self.simulator.frame.poses["red_cube"].quaternion)
        self.move((x, y, 0.15), yaw)
        self.move((x, y, 0.025), yaw, speed=0.3)
        self.wait(0.2)
        self.gripper(grip)
        self.move((x, y, lift), speed=0.3)

    def place(self) -> None:
        """Carry the cube over the bin, lower it, let go and retreat."""
        x, y, _ = self.simulator.frame.poses["blue_bin"].position
        self.move((x, y, 0.2), 0.0)
        self.wait(0.2)
        self.move((x, y, 0.07), speed=0.3)
        self.wait(0.2)
        self.gripper(OPEN)
        self.move((x, y, 0.2))
        self.wait(1.0)
