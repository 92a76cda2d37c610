"""The scripted expert as a policy: ground truth in, one chunk out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from salus_vla.config.scene import Scene
from salus_vla.contract import ARM_DOF
from salus_vla.contract.bodies import BIN, CUBE
from salus_vla.contract.errors import ModelError
from salus_vla.contract.geometry import rotate
from salus_vla.contract.types import ACTION_DIM, FloatArray, Observation, PolicyOutput, Pose
from salus_vla.policies.scripted.phases import Layout, Motion, Phase, World, act, advance
from salus_vla.signals.reference import NoveltyReference
from salus_vla.simulation.mujoco.kinematics import Kinematics, pointing_down, yaw_of_tool
from salus_vla.simulation.mujoco.mujoco_model import build_model

_SUBSTEPS = 5  # of the look-ahead in one control step
# kv / kp of the arm's servos: a moving joint is this far behind its target. The plan starts from where the arm is seen
# and leads by as much, so that the arm moves at the speed that is meant.
_SERVO_LAG_S = 0.1
_DAMPING, _PULL, _ITERATIONS = 0.005, 0.6, 10  # of the inverse kinematics: one solution for a tool pose, in few steps


class ScriptedPolicy:
    """Follows its own action field through a simple model of the next 1.6 s.

    A chunk is a function of the present joints and poses alone.
    """

    source = "expert"
    needs_images, needs_poses = False, True
    chunk_length = 16

    def __init__(self, scene: Scene, motion: Motion | None = None) -> None:
        """Builds the arm's model.

        Args:
            scene: sizes of cube and bin, home pose and rates.
            motion: speeds and tolerances.

        Raises:
            SimulatorError: the robot's files are missing.
        """
        self.reference: NoveltyReference | None = None  # there is no network whose state could be novel
        self._motion = motion or Motion()
        self._layout = Layout.of(scene)
        self._step_s = scene.rates.decision_dt_ns * 1e-9
        home = scene.robot.home_position[:ARM_DOF]
        self._kinematics = Kinematics(build_model(scene), home, iterations=_ITERATIONS)

    def start_episode(self, seed: int) -> None:
        """Nothing is remembered from one decision to the next."""

    def read_task(self, task: str) -> dict[str, str]:
        """It reads none."""
        return {}

    def predict(self, observation: Observation, decision: int) -> PolicyOutput:
        """One member, one sample, chunks of shape (1, 1, 16, 8).

        Raises:
            ModelError: the observation has no ground truth.
        """
        world = self._world(observation)
        arm = before = observation.arm
        rows = np.empty((self.chunk_length, ACTION_DIM))
        doing = act(world, self._layout, self._motion)
        for row in rows:
            row[ARM_DOF] = doing.grip
            for _ in range(_SUBSTEPS):
                advance(world, doing, self._layout, self._step_s / _SUBSTEPS)
                doing = act(world, self._layout, self._motion)
            ahead = np.array([world.x, world.y, world.z]) + _SERVO_LAG_S * np.array(doing.velocity)
            rotation = pointing_down(world.yaw + _SERVO_LAG_S * doing.yaw_rate)
            start, before = 2.0 * arm - before, arm  # the motion goes on as it went: close to the solution
            arm = self._kinematics.solve(start, ahead, rotation, damping=_DAMPING, pull=_PULL)
            row[:ARM_DOF] = arm
        return PolicyOutput(rows[None, None])

    def phase(self, observation: Observation) -> Phase:
        """What the expert does at an observation.

        Raises:
            ModelError: the observation has no ground truth.
        """
        return act(self._world(observation), self._layout, self._motion).phase

    def provenance(self) -> dict[str, str]:
        """Name and speed."""
        return {"policy": self.source, "speed_m_s": f"{self._motion.speed:g}", "chunk_size": str(self.chunk_length)}

    def _world(self, observation: Observation) -> World:
        cube, blue_bin = _poses(observation.poses)
        position, rotation = self._kinematics.tool(observation.arm)
        x, y, z = (float(value) for value in position)
        cube_x, cube_y, cube_z = (float(value) for value in cube.position)
        return World(
            x,
            y,
            z,
            yaw=yaw_of_tool(rotation),
            width=float(observation.state[ARM_DOF]),
            cube=(cube_x, cube_y, cube_z),
            cube_yaw=_yaw_of(cube.quaternion),
            bin=(float(blue_bin.position[0]), float(blue_bin.position[1])),
        )


def _poses(poses: Mapping[str, Pose] | None) -> tuple[Pose, Pose]:
    if poses is None or CUBE not in poses or BIN not in poses:
        raise ModelError(f"policy 'expert' needs the ground-truth poses of {CUBE} and {BIN} in each observation")
    return poses[CUBE], poses[BIN]


def _yaw_of(quaternion: FloatArray) -> float:
    """Yaw of the most level of the cube's axes: a cube that was tumbled lies on another side [rad]."""
    axes = [rotate(quaternion, axis) for axis in np.eye(3)]
    x, y, _ = min(axes, key=lambda axis: abs(float(axis[2])))
    return float(np.arctan2(y, x))
