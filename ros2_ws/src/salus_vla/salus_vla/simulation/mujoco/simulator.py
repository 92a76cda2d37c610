"""The embedded simulator: steps the MuJoCo scene in frames of the topic contract.

Deterministic: the same scene, seed and commands give the same frames and images, bit for bit, whatever ran before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import mujoco
import numpy as np

from salus_vla.config.profiles import DEFAULT_PROFILE
from salus_vla.config.scene import Scene
from salus_vla.contract import ARM_DOF, CAMERAS, ENTITIES, JOINTS
from salus_vla.contract.bodies import BIN, CUBE
from salus_vla.contract.errors import SimulatorError
from salus_vla.contract.joint_command import read_command
from salus_vla.contract.types import FloatArray, ImageArray, Pose, SimStep
from salus_vla.simulation.mujoco.mujoco_contacts import ContactTracker
from salus_vla.simulation.mujoco.mujoco_model import build_model
from salus_vla.simulation.mujoco.randomise import Randomiser
from salus_vla.simulation.mujoco.render import CameraRenderer, SegmentArray
from salus_vla.simulation.variation import sample_variation, start_poses

# MuJoCo's own handler writes MUJOCO_LOG.TXT into the working folder; a divergence is an exception here.
mujoco.set_mju_user_warning(lambda message: None)

JOINT_DECIMALS = 4  # what Isaac Sim's bridge makes of joint states; so that a policy meets the same in both
SETTLE_STEPS = 100  # physics steps after a reset in which the cube comes to rest on the table
DIVERGED = (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC)


def _rounded(values: FloatArray) -> FloatArray:
    """Round as /joint_states does; adding 0 turns -0.0 into 0.0."""
    return np.round(values, JOINT_DECIMALS) + 0.0


class Simulator:
    """One robot, one cube, one bin. Not thread safe; several may live in one process.

    Attributes:
        scene: the contract's scene.
        profile: name of the randomisation profile.
        variation: what the last reset drew for it.
    """

    def __init__(
        self,
        scene: Scene,
        *,
        profile: str = DEFAULT_PROFILE,
        camera_size: tuple[int, int] | None = None,
        seed: int = 0,
    ) -> None:
        """Builds the scene and resets it.

        Args:
            scene: the contract's scene.
            profile: one of `scene.profiles`: how a seed changes the scene.
            camera_size: width and height of the images [px]; the scene's by default.
            seed: seed of the first reset.

        Raises:
            ConfigError: the scene has no such profile.
            SimulatorError: the robot's files are missing or MuJoCo refuses the scene.
        """
        self.scene = scene
        self.profile = profile
        self._profile = scene.profile(profile)
        distractors = self._profile.distractors
        self.model = build_model(scene, camera_size, distractors.objects if distractors is not None else ())
        self.data = mujoco.MjData(self.model)
        self._qpos = np.array([self.model.joint(name).qposadr[0] for name in JOINTS])
        self._dof = np.array([self.model.joint(name).dofadr[0] for name in JOINTS])
        self._actuator = {name: self.model.actuator(name).id for name in JOINTS}
        self._actuators = np.array([self._actuator[name] for name in JOINTS])
        self._randomiser = Randomiser(scene, self._profile, self.model)
        self._bin_mocap = int(self.model.body(BIN).mocapid[0])
        self._bodies = {self.model.body(i).name: i for i in range(1, self.model.nbody)}
        self._entities = [(name, self._bodies[name]) for name in ENTITIES]
        self._cube_dof = int(self.model.joint(CUBE).dofadr[0])
        self._offset = np.zeros(len(JOINTS))
        self._steps = scene.rates.physics_steps
        self._contacts = ContactTracker(self.model)
        self._renderer: CameraRenderer | None = None
        self._frames_since_reset = 0
        self._stamp_ns = 0
        self._frame = self.reset(seed)

    # -- stepping ------------------------------------------------------------------------------------------------------

    def reset(self, seed: int, *, poses: Mapping[str, Pose] | None = None) -> SimStep:
        """Starts over in place: home pose, open fingers, what the profile draws from the seed, cube settled.

        The clock goes on by one frame. Nothing depends on earlier resets.

        Args:
            seed: of everything that is drawn, at least 0.
            poses: poses of entities that replace the drawn cube pose or the bin's place.

        Raises:
            SimulatorError: an unknown entity, a pose that is not finite or has no orientation, or no place for a
                distractor; nothing has changed then.
        """
        chosen = start_poses(self.scene, self._profile, seed, poses or {})
        self.variation = sample_variation(self.scene, self._profile, seed, chosen)
        self._randomiser.apply(self.variation, self.data)
        if self._renderer is not None and self.variation.light is not None:
            self._renderer.forget_textures()
        mujoco.mj_resetData(self.model, self.data)
        self._offset[:ARM_DOF] = 0.0 if self.variation.joint_offset is None else self.variation.joint_offset
        home = self.scene.robot.home_position - self._offset  # where it says that it is home
        self.data.qpos[self._qpos] = home
        self.data.ctrl[self._actuators] = home
        free = {CUBE: chosen[CUBE], **self._randomiser.distractor_poses(self.variation)}
        for name, pose in free.items():
            self.data.joint(name).qpos = [*pose.position, *np.roll(pose.quaternion, 1)]
        self.data.mocap_pos[self._bin_mocap] = chosen[BIN].position
        self.data.mocap_quat[self._bin_mocap] = np.roll(chosen[BIN].quaternion, 1)
        mujoco.mj_step(self.model, self.data, SETTLE_STEPS)
        self._contacts.clear()
        self._frames_since_reset = -1  # the frame that follows is number 0
        return self._advance()

    def set_command(self, names: Sequence[str], positions: Sequence[float]) -> None:
        """Sets position targets, held until they are set again.

        Args:
            names: any subset of the contract's joints, in any order.
            positions: a target for each name [rad, m]; NaN keeps the joint's last target.

        Raises:
            SimulatorError: unknown or repeated name, wrong length, or infinite value; no target has changed then.
        """
        for name, value in read_command(names, positions).items():
            self.data.ctrl[self._actuator[name]] = value - self._offset[JOINTS.index(name)]

    def step(self) -> SimStep:
        """Simulates one frame and returns it.

        Raises:
            SimulatorError: the physics diverged.
        """
        return self._advance()

    def _advance(self) -> SimStep:
        began = self._frames_since_reset * self.scene.rates.frame_dt
        for step in range(self._steps):
            self._push(began + step * self.model.opt.timestep)
            mujoco.mj_step(self.model, self.data)
            self._contacts.add_step(self.data)
        # mj_step ends with the integration: bring body poses, forces and images to the new joint positions.
        mujoco.mj_forward(self.model, self.data)
        if any(self.data.warning[kind].number for kind in DIVERGED):
            raise SimulatorError(f"the physics diverged in the frame after stamp {self._stamp_ns} ns; reset the scene")
        self._stamp_ns += self.scene.rates.frame_dt_ns
        self._frames_since_reset += 1
        self._frame = self._observe()
        return self._frame

    def _push(self, since_reset: float) -> None:
        """The hand that shoves the cube is stronger than a grip."""
        push = self.variation.push
        if push is not None and push.begin <= since_reset < push.end:
            self.data.qvel[self._cube_dof : self._cube_dof + 2] = push.velocity

    def _observe(self) -> SimStep:
        contacts = self._contacts.end_frame()
        poses = {name: self._pose(body) for name, body in self._entities}
        return SimStep(
            stamp_ns=self._stamp_ns,
            camera_due=self._frames_since_reset % self.scene.rates.frames_per_decision == 0,
            joint_position=_rounded(self.data.qpos[self._qpos] + self._offset),
            joint_velocity=_rounded(self.data.qvel[self._dof]),
            joint_effort=_rounded(self.data.actuator_force[self._actuators]),
            poses=poses,
            contacts=contacts,
        )

    # -- what there is to see ------------------------------------------------------------------------------------------

    @property
    def frame(self) -> SimStep:
        """The last frame, of a step or a reset."""
        return self._frame

    def render(self, names: Sequence[str] = CAMERAS) -> dict[str, ImageArray]:
        """Images of the last frame: camera -> fresh C-contiguous uint8 RGB array, shape (height, width, 3).

        The first call opens OpenGL, in the calling thread.

        Raises:
            SimulatorError: no OpenGL works here, or a name is not a camera.
        """
        return self._cameras().render(self.data, names)

    def segment(self, name: str) -> SegmentArray:
        """Id of the body behind each pixel of a camera, shape (height, width), -1 for the sky; see `body_names`."""
        return self._cameras().segment(self.data, name)

    @property
    def body_names(self) -> tuple[str, ...]:
        """Body names by the ids of `segment`; 0 is the world with its floor."""
        return ("world", *self._bodies)

    def body_poses(self) -> dict[str, Pose]:
        """Pose in the world of every body, for /tf."""
        return {name: self._pose(body) for name, body in self._bodies.items()}

    def close(self) -> None:
        """Frees the cameras; a later render opens them again."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def __enter__(self) -> Self:
        """Nothing to open: the cameras open on the first render."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Frees the cameras."""
        self.close()

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _cameras(self) -> CameraRenderer:
        if self._renderer is None:
            self._renderer = CameraRenderer(self.model)
        return self._renderer

    def _pose(self, body: int) -> Pose:
        return Pose(self.data.xpos[body].copy(), np.roll(self.data.xquat[body], -1))
