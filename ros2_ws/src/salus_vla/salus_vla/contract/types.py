"""What passes between simulator, task, policy and recorder inside one process: plain numpy, no ROS.

A *frame* is one control step of 20 ms; an *observation* is a camera set with the joints of the same stamp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.errors import ModelError
from salus_vla.contract.robot import ARM_DOF, JOINTS

FloatArray = NDArray[np.float64]
ImageArray = NDArray[np.uint8]

ACTION_DIM = ARM_DOF + 1  # 7 absolute joint targets [rad] and the gripper width [m]


@dataclass(frozen=True)
class Pose:
    """Position [m], shape (3,), and quaternion x, y, z, w, shape (4,), in the world frame."""

    position: FloatArray
    quaternion: FloatArray


@dataclass(frozen=True)
class Contact:
    """A pair of bodies that began to touch, touch harder or softer, or stopped touching (force 0).

    Attributes:
        body_a, body_b: body names, sorted, for example `panda_leftfinger` and `red_cube`.
        force: normal force of the pair in this frame, the largest over its physics steps [N].
    """

    body_a: str
    body_b: str
    force: float


@dataclass(frozen=True)
class SimStep:
    """State of the simulated world at one control frame.

    Attributes:
        stamp_ns: sim time [ns], monotonic also across resets.
        camera_due: True on frames on which the cameras publish (each 5th since the reset).
        joint_position: shape (9,), contract order, rounded to 4 decimals [rad, m].
        joint_velocity: shape (9,), rounded likewise [rad/s, m/s].
        joint_effort: shape (9,), rounded likewise; what the arm feels, optional for a robot [N m, N].
        poses: entity name -> pose in the world.
        contacts: what changed in this frame, in sorted order of the pair.
    """

    stamp_ns: int
    camera_due: bool
    joint_position: FloatArray
    joint_velocity: FloatArray
    joint_effort: FloatArray
    poses: Mapping[str, Pose]
    contacts: tuple[Contact, ...]


@dataclass(frozen=True)
class Observation:
    """A camera set with the joints of the same stamp: what a policy decides on.

    Attributes:
        stamp_ns: stamp of the images, sim time [ns].
        images: camera name -> uint8 RGB array, shape (height, width, 3).
        joint_position: shape (9,), contract order [rad, m].
        task: instruction in words.
        poses: ground truth, entity name -> pose in the world; only a scripted policy reads it.
    """

    stamp_ns: int
    images: Mapping[str, ImageArray]
    joint_position: FloatArray
    task: str
    joint_velocity: FloatArray = field(default_factory=lambda: np.zeros(len(JOINTS)))
    poses: Mapping[str, Pose] | None = None

    @property
    def arm(self) -> FloatArray:
        """Measured arm joints, shape (7,) [rad]."""
        return self.joint_position[:ARM_DOF]

    @property
    def state(self) -> FloatArray:
        """Policy state: 7 arm joints [rad] and the gripper width, the sum of both fingers [m], shape (8,)."""
        return np.append(self.arm, self.joint_position[ARM_DOF:].sum())


@dataclass(frozen=True)
class PolicyOutput:
    """Everything a policy says about one observation.

    Attributes:
        chunks: shape (K, S, H, 8): member, noise sample, control step, action. Absolute joint targets [rad] and gripper
            width [m]. Row 0 is the current control step. The S noise tensors are the same for all members.
        prefix_state: mean-pooled last hidden state of the VLM prefix, mean over members, shape (D,), or None.
        prefix_parts: the same of each camera's tokens, in contract order, and of the rest (instruction and state),
            shape (C + 1, D); NaN for a camera that the policy does not see. Or None.
        expert_state: mean-pooled hidden state of the action expert before its output projection at the last denoising
            step, shape (E,), or None.
    """

    chunks: FloatArray
    prefix_state: FloatArray | None = None
    expert_state: FloatArray | None = None
    prefix_parts: FloatArray | None = None

    def __post_init__(self) -> None:
        if self.chunks.ndim != 4 or self.chunks.shape[3] != ACTION_DIM:
            raise ModelError(f"chunks have shape {self.chunks.shape}, expected (K, S, H, {ACTION_DIM})")

    @property
    def finite(self) -> bool:
        """False when any number of any chunk is NaN or infinite."""
        return bool(np.isfinite(self.chunks).all())
