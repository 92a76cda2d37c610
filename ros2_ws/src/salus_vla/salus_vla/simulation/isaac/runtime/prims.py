"""Where everything is in the USD stage."""

from __future__ import annotations

from salus_vla.contract import WORLD_FRAME, camera_frame
from salus_vla.contract.bodies import BIN, CUBE, ROBOT_BODIES, TABLE

ROOT = "/World"
ROBOT = f"{ROOT}/Franka"
GRAPH = f"{ROOT}/RosGraph"
FLOOR = f"{ROOT}/floor"
SUN = f"{ROOT}/sun"
SKY = f"{ROOT}/sky"
MATERIALS = f"{ROOT}/materials"
_NAMED = frozenset({*ROBOT_BODIES, CUBE, BIN, TABLE})


def body_path(name: str) -> str:
    """Prim of a body that is not part of the robot; its name is the frame in /tf."""
    return f"{ROOT}/{name}"


def camera_path(camera: str) -> str:
    """Prim of a camera."""
    return f"{ROOT}/cameras/{camera}"


def frame_path(camera: str) -> str:
    """Prim of a camera's optical frame, named as in /tf_static.

    It is not the camera: a profile may move that one, and the frame stays where the camera was calibrated.
    """
    return f"{ROOT}/frames/{camera_frame(camera)}"


def body_of(path: str) -> str:
    """Body that a prim belongs to, `world` for the floor and whatever else has no name in the contract."""
    for name in reversed(path.split("/")):
        if name in _NAMED or name.startswith("distractor_"):
            return name
    return WORLD_FRAME
