"""Joints, cameras, entities and frames of the contract, in the one order that everything keeps to."""

from __future__ import annotations

from typing import Final

ARM_JOINTS: Final = tuple(f"panda_joint{i}" for i in range(1, 8))
FINGER_JOINTS: Final = ("panda_finger_joint1", "panda_finger_joint2")
JOINTS: Final = ARM_JOINTS + FINGER_JOINTS
ARM_DOF: Final = len(ARM_JOINTS)


CAMERAS: Final = ("front", "side", "top")
ENTITIES: Final = ("red_cube", "blue_bin")
# Seeds from here on are for acceptance: never to train, tune or select on.
RESERVED_FROM: Final = 900_000
WORLD_FRAME: Final = "world"
BASE_FRAME: Final = "panda_link0"  # at the origin of the world
DEFAULT_TASK: Final = "pick up the red cube and place it in the blue bin"


def camera_frame(camera: str) -> str:
    """frame_id of a camera's images and camera_info."""
    return f"camera_{camera}_optical_frame"
