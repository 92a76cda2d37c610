"""The scene, the rates and the outcome thresholds of `config/contract.yaml` as frozen, validated objects.

Every simulator and every node reads the same file through `load_scene`. A key that no field reads is an error.
Units: metres, seconds, radians, kilograms, newtons, unless a name says otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from salus_vla.config.paths import CONTRACT_FILE, config_dir, read_config
from salus_vla.config.profiles import DEFAULT_PROFILE, Profile, Profiles
from salus_vla.config.scene_types import (
    Area,
    Model,
    NonNegative,
    Positive,
    Range,
    Rgba,
    Size3,
    Spawn,
    Unit,
    Vector2,
    Vector3,
)
from salus_vla.contract import ARM_DOF, CAMERAS, DECISION_HZ, FRAME_HZ
from salus_vla.contract.errors import ConfigError
from salus_vla.contract.geometry import in_hollow, over_hollow, quaternion_of
from salus_vla.contract.types import FloatArray, Pose


class PhysicsDt(Model):
    """Physics step of each simulator [s]; below 10 us a frame takes longer than anybody waits."""

    mujoco: Annotated[float, Field(ge=1e-5)]
    isaac: Annotated[float, Field(ge=1e-5)]


class Rates(Model):
    """Rates of the control frame, the cameras and the physics."""

    frame_dt: Positive
    frames_per_decision: Annotated[int, Field(ge=1)]
    physics_dt: PhysicsDt
    max_decisions: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _whole_steps(self) -> Self:
        for name, step in (("mujoco", self.physics_dt.mujoco), ("isaac", self.physics_dt.isaac)):
            count = self.frame_dt / step
            if count < 0.999 or abs(count - round(count)) > 1e-6:
                raise ValueError(f"frame_dt must be a whole number of physics_dt.{name} steps, not {count:g}")
        return self

    @model_validator(mode="after")
    def _rates_of_the_topics(self) -> Self:
        if self.frame_dt_ns != round(1e9 / FRAME_HZ):
            raise ValueError(f"frame_dt must be {1.0 / FRAME_HZ:g}, the period of the topics in contract.py")
        if self.decision_dt_ns != round(1e9 / DECISION_HZ):
            raise ValueError(f"frames_per_decision must be {FRAME_HZ / DECISION_HZ:g}, as the topics in contract.py")
        return self

    @property
    def frame_dt_ns(self) -> int:
        """Length of one frame [ns]."""
        return round(self.frame_dt * 1e9)

    @property
    def decision_dt_ns(self) -> int:
        """Time between two decisions [ns]."""
        return self.frame_dt_ns * self.frames_per_decision

    @property
    def physics_steps(self) -> int:
        """MuJoCo steps in one frame."""
        return round(self.frame_dt / self.physics_dt.mujoco)


class Robot(Model):
    """Home pose of the arm [rad] and the range of one finger [m]."""

    home: Annotated[tuple[float, ...], Field(min_length=ARM_DOF, max_length=ARM_DOF)]
    finger_open: NonNegative
    finger_max: Positive

    @model_validator(mode="after")
    def _finger_range(self) -> Self:
        if self.finger_open > self.finger_max:
            raise ValueError("finger_open must not exceed finger_max")
        return self

    @property
    def home_position(self) -> FloatArray:
        """Home of all nine joints in contract order, shape (9,) [rad, m]."""
        return np.array([*self.home, self.finger_open, self.finger_open])


class View(Model):
    """Where a camera is and what it looks at; `up` of the world points up in the image."""

    position: Vector3
    target: Vector3
    up: Vector3

    @model_validator(mode="after")
    def _is_a_direction(self) -> Self:
        if np.linalg.norm(np.cross(np.subtract(self.target, self.position), self.up)) < 1e-6:
            raise ValueError("position, target and up must span a plane")
        return self

    def rotation(self) -> FloatArray:
        """Axes of the camera as columns, shape (3, 3): x right, y up, z backwards (MuJoCo, USD and OpenGL)."""
        back = np.subtract(self.position, self.target)
        right = np.cross(self.up, back)
        up = np.cross(back, right)
        return np.column_stack([axis / np.linalg.norm(axis) for axis in (right, up, back)])

    def pose(self) -> Pose:
        """Pose of the camera that looks along its -z axis, +y up (MuJoCo, USD)."""
        return Pose(np.array(self.position), quaternion_of(self.rotation()))

    def optical_pose(self) -> Pose:
        """Pose of the ROS optical frame: z forward, x right, y down (REP 103)."""
        return Pose(np.array(self.position), quaternion_of(self.rotation() * np.array([1.0, -1.0, -1.0])))


class Cameras(Model):
    """Image size, field of view and the three fixed views."""

    width: Annotated[int, Field(ge=16, le=4096)]
    height: Annotated[int, Field(ge=16, le=4096)]
    fovy_deg: Annotated[float, Field(gt=0.0, lt=180.0)]
    views: dict[str, View]

    @model_validator(mode="after")
    def _contract_cameras(self) -> Self:
        if tuple(sorted(self.views)) != tuple(sorted(CAMERAS)):
            raise ValueError(f"views must be exactly {', '.join(CAMERAS)}, not {', '.join(self.views)}")
        return self

    def intrinsics(self) -> FloatArray:
        """Pinhole matrix K, shape (3, 3) [px]: f = (height / 2) / tan(fovy / 2), square pixels, centre of the image."""
        focal = 0.5 * self.height / np.tan(np.radians(self.fovy_deg) / 2.0)
        return np.array([[focal, 0.0, self.width / 2.0], [0.0, focal, self.height / 2.0], [0.0, 0.0, 1.0]])


class Table(Model):
    """A box whose top is z = 0; full extents and the centre in x, y."""

    size: Size3
    center: Vector2

    def check_holds(self, key: str, area: Area) -> None:
        """Refuses an area that is not wholly on the table.

        Raises:
            ValueError: for pydantic to report; names the key.
        """
        for axis, values in enumerate((area.x, area.y)):
            low = self.center[axis] - self.size[axis] / 2.0
            high = self.center[axis] + self.size[axis] / 2.0
            if values[0] < low or values[1] > high:
                raise ValueError(f"{key}.{'xy'[axis]} must lie on the table, {low:g} to {high:g}")


class RedCube(Model):
    """The cube; `friction` is the coefficient of every contact of the cube."""

    edge: Positive
    mass: Positive
    friction: NonNegative
    rgba: Rgba
    spawn: Spawn


class BlueBin(Model):
    """An open box of four walls and a floor; its frame is at the centre of the underside."""

    outer: Size3
    wall: Positive
    position: Vector2
    rgba: Rgba

    @model_validator(mode="after")
    def _has_a_hollow(self) -> Self:
        if 2.0 * self.wall >= min(self.outer[:2]) or self.wall >= self.outer[2]:
            raise ValueError("the walls leave no room inside")
        return self

    def pose(self) -> Pose:
        """Pose on the table."""
        return Pose(np.array([*self.position, 0.0]), np.array([0.0, 0.0, 0.0, 1.0]))

    def covers(self, bin_pose: Pose, point: FloatArray) -> bool:
        """True when the point, shape (3,), is over the hollow: inside the inner walls, at any height."""
        return over_hollow(self.outer, self.wall, bin_pose, point)

    def contains(self, bin_pose: Pose, point: FloatArray) -> bool:
        """True when the point, shape (3,), is inside the inner walls and below the rim."""
        return in_hollow(self.outer, self.wall, bin_pose, point)


class Objects(Model):
    """What stands on the ground beside the robot."""

    table: Table
    red_cube: RedCube
    blue_bin: BlueBin

    @model_validator(mode="after")
    def _cube_spawns_on_the_table(self) -> Self:
        self.table.check_holds("red_cube.spawn", self.red_cube.spawn)
        return self


class Light(Model):
    """Strengths of the camera's headlight and of one directional light from above."""

    headlight_diffuse: Unit
    headlight_ambient: Unit
    directional_diffuse: Unit


class Outcomes(Model):
    """Thresholds of the task monitor; contract.yaml says what each one means."""

    collision_force: Positive
    success_rest_speed: Positive
    success_rest_time: Positive
    grasp_force: Positive
    grasp_time: NonNegative
    lift_height: Positive
    drop_height: NonNegative
    open_margin: Positive
    close_width: Positive
    open_width: Positive
    miss_tries: Annotated[int, Field(ge=1)]
    reach: Range

    @model_validator(mode="after")
    def _hysteresis(self) -> Self:
        if self.open_width <= self.close_width:
            raise ValueError("open_width must be larger than close_width")
        return self


class Scene(Model):
    """The whole of contract.yaml."""

    rates: Rates
    robot: Robot
    cameras: Cameras
    objects: Objects
    light: Light
    task: Annotated[str, Field(min_length=1)]
    outcomes: Outcomes
    profiles: Profiles

    @model_validator(mode="after")
    def _profiles_fit(self) -> Self:
        if DEFAULT_PROFILE not in self.profiles:
            raise ValueError(f"profiles must have {DEFAULT_PROFILE!r}, the default")
        for name, profile in self.profiles.items():
            for i, spawn in enumerate(profile.red_cube.spawn or ()):
                self.objects.table.check_holds(f"profiles.{name}.red_cube.spawn.{i}", spawn)
            if profile.distractors is not None:
                self.objects.table.check_holds(f"profiles.{name}.distractors", profile.distractors)
        return self

    def profile(self, name: str) -> Profile:
        """The profile of that name.

        Raises:
            ConfigError: there is none; names the known ones.
        """
        if name not in self.profiles:
            raise ConfigError(f"unknown profile {name!r}; expected one of {', '.join(self.profiles)}")
        return self.profiles[name]


def load_scene(path: Path | None = None) -> Scene:
    """Reads and validates the scene.

    Args:
        path: a contract.yaml, or None for the one of `paths.config_dir()`.

    Raises:
        ConfigError: the file is missing or a value is wrong; names file, key and what was expected.
    """
    return read_config(path if path is not None else config_dir() / CONTRACT_FILE, Scene)
