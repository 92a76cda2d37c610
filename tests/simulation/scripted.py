"""Scripted motions for the simulator's tests: straight lines of the tool by damped least squares, and the gripper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from salus_vla.config.scene import Scene
from salus_vla.contract import ARM_DOF, JOINTS
from salus_vla.contract.geometry import rotate
from salus_vla.contract.types import FloatArray, SimStep
from salus_vla.episode.outcome_monitor import TaskEvent, TaskMonitor
from salus_vla.simulation.mujoco.kinematics import Kinematics, pointing_down
from salus_vla.simulation.mujoco.simulator import Simulator

OPEN, CLOSED = 0.04, 0.0


def yaw_of(quaternion: FloatArray) -> float:
    """Yaw of a cube, folded into +-45 degrees because a cube looks alike from four sides [rad]."""
    x, y, _ = rotate(quaternion, np.array([1.0, 0.0, 0.0]))
    return float((np.arctan2(y, x) + np.pi / 4) % (np.pi / 2) - np.pi / 4)


@dataclass
class Script:
    """Drives a simulator and feeds a monitor; stops by itself when the episode has ended."""

    simulator: Simulator
    monitor: TaskMonitor
    events: list[TaskEvent] = field(default_factory=list)
    grip: float = OPEN

    def __post_init__(self) -> None:
        home = self.simulator.scene.robot.home_position[:ARM_DOF]
        self.kinematics = Kinematics(self.simulator.model, home)
        self.arm = home.copy()
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

    def _watch(self, frame: SimStep) -> None:
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
            self.rotation = pointing_down(yaw)
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
