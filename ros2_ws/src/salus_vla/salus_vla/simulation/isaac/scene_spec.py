"""What SALUS tells the process in Isaac's Python: the scene before the first frame, and what a seed draws at a reset.

Poses are x, y, z, qx, qy, qz, qw. Plain lists and numbers only, so that both go through JSON. No numpy, which Isaac's
Python may have only once SimulationApp is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Numbers = Sequence[float]


@dataclass(frozen=True)
class Shape:
    """A box or an upright cylinder: full extents and centre in its body [m], colour."""

    kind: str
    size: Numbers
    center: Numbers
    rgba: Numbers


@dataclass(frozen=True)
class Body:
    """Something on the ground: fixed, kinematic (moved by a reset only) or free.

    Attributes:
        name: of the prim and of the frame in /tf.
        motion: `fixed`, `kinematic` or `free`.
        pose: at the start.
        shapes: what it is made of.
        mass: of a free body [kg].
        friction: coefficient of all its contacts; None for that of the ground.
    """

    name: str
    motion: str
    pose: Numbers
    shapes: Sequence[Shape]
    mass: float | None = None
    friction: float | None = None


@dataclass(frozen=True)
class Drive:
    """Position servo of a joint: force = stiffness (target - q) - damping dq, within +-limit [N m, N]."""

    stiffness: float
    damping: float
    limit: float
    armature: float


@dataclass(frozen=True)
class CameraModel:
    """What all cameras share: image size [px] and vertical field of view [deg]."""

    width: int
    height: int
    fovy_deg: float


@dataclass(frozen=True)
class ResetSample:
    """The whole state of the scene after a reset, also what the profile leaves as the scene says.

    Attributes:
        poses: of every body that is kinematic or free.
        views: camera -> pose, looking along -z with +y up.
        colors: of bodies.
        friction: of the cube.
        mass: of the cube [kg].
        light: factor of every light.
    """

    poses: Mapping[str, Numbers]
    views: Mapping[str, Numbers]
    colors: Mapping[str, Numbers]
    friction: float
    mass: float
    light: float


@dataclass(frozen=True)
class SceneSpec:
    """Everything that the process in Isaac's Python is told.

    Attributes:
        version: of Isaac Sim.
        folder: of Isaac Sim, with `exts` in it.
        seed, profile, pacing, lockstep_timeout_s: as the node's parameters.
        frame_dt, physics_dt: [s].
        frames_per_decision: frames from one image to the next.
        home: of all nine joints [rad, m].
        drives: of all nine joints.
        bodies: everything but the robot.
        floor_z: height of the floor [m].
        floor_rgba: its colour.
        camera_model: of the cameras.
        views: camera -> pose, looking along -z with +y up.
        frames: camera -> pose of its optical frame.
        sun: pose of the directional light, which shines along -z.
        ambient, directional: strengths of the scene's lights, 0 to 1.
    """

    version: str
    folder: str
    seed: int
    profile: str
    pacing: str
    lockstep_timeout_s: float
    frame_dt: float
    physics_dt: float
    frames_per_decision: int
    home: Numbers
    drives: Sequence[Drive]
    bodies: Sequence[Body]
    floor_z: float
    floor_rgba: Numbers
    camera_model: CameraModel
    views: Mapping[str, Numbers]
    frames: Mapping[str, Numbers]
    sun: Numbers
    ambient: float
    directional: float

    @property
    def frame_dt_ns(self) -> int:
        """Length of one frame [ns]."""
        return round(self.frame_dt * 1e9)

    @property
    def camera_hz(self) -> float:
        """Images per second of sim time."""
        return 1.0 / (self.frame_dt * self.frames_per_decision)


def scene_spec_from_json(data: Mapping[str, Any]) -> SceneSpec:
    """Back from `as_json`."""
    bodies = [Body(**{**body, "shapes": [Shape(**shape) for shape in body["shapes"]]}) for body in data["bodies"]]
    drives = [Drive(**drive) for drive in data["drives"]]
    return SceneSpec(
        **{**data, "bodies": bodies, "drives": drives, "camera_model": CameraModel(**data["camera_model"])}
    )


def reset_sample_from_json(data: Mapping[str, Any]) -> ResetSample:
    """Back from `as_json`."""
    return ResetSample(**data)


def as_json(value: SceneSpec | ResetSample) -> dict[str, Any]:
    """Plain data."""
    return asdict(value)
