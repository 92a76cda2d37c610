"""What a seed draws of a scene under a profile; numbers only, no physics.

Each quantity has a stream of its own, named by the seed and its `Stream`: to vary one changes no draw of another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, unique

import numpy as np

from salus_vla.config.profiles import DistractorProfile, Profile, PushProfile
from salus_vla.config.scene import Scene, View
from salus_vla.config.scene_types import Rgba
from salus_vla.contract import ARM_DOF, CAMERAS, ENTITIES
from salus_vla.contract.bodies import BIN, CUBE
from salus_vla.contract.errors import SimulatorError
from salus_vla.contract.geometry import rotate
from salus_vla.contract.types import FloatArray, Pose

_TRIES = 1000  # places tried for a distractor


@unique
class Stream(IntEnum):
    """Streams of a seed; recorded seeds depend on the numbers, so new ones go to the end."""

    AREA = 0
    LIGHT = 1
    FRICTION = 2
    MASS = 3
    COLOR = 4
    CAMERA_POSITION = 5
    CAMERA_TARGET = 6
    DISTRACTOR_COUNT = 7
    DISTRACTOR_COLOR = 8
    DISTRACTOR_PLACE = 9
    JOINT_OFFSET = 10
    PUSH = 11


@dataclass(frozen=True)
class PlacedDistractor:
    """A distractor on the table: its pose in the world and its colour."""

    pose: Pose
    color: Rgba


@dataclass(frozen=True)
class Push:
    """A shove of the cube: from when to when, since the reset [s], and its velocity along the table meanwhile [m/s]."""

    begin: float
    end: float
    velocity: tuple[float, float]


@dataclass(frozen=True)
class Variation:
    """What a seed drew; None, or no entry, where the scene's own value holds.

    Attributes:
        light: factor of every light.
        friction: of the cube.
        mass: of the cube [kg].
        color: of the cube.
        views: the cameras that moved.
        distractors: those on the table; the profile's others are out of sight.
        joint_offset: what each arm joint reports too much, (7,) [rad].
        push: of the cube.
    """

    light: float | None
    friction: float | None
    mass: float | None
    color: Rgba | None
    views: Mapping[str, View]
    distractors: tuple[PlacedDistractor, ...]
    joint_offset: tuple[float, ...] | None = None
    push: Push | None = None


def random_stream(seed: int, stream: Stream, index: int = 0) -> np.random.Generator:
    """Generator of one quantity; `index` tells cameras or distractors apart."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream, index)))


def sample_cube_pose(scene: Scene, profile: Profile, seed: int) -> Pose:
    """Where the cube starts: flat on the table.

    Place and yaw come from `default_rng(seed)` itself and not from a stream: that is what a seed meant before there
    were profiles.
    """
    cube, areas = scene.objects.red_cube, profile.red_cube.spawn
    spawn = cube.spawn if areas is None else areas[int(random_stream(seed, Stream.AREA).integers(len(areas)))]
    random = np.random.default_rng(seed)
    x, y = random.uniform(*spawn.x), random.uniform(*spawn.y)
    return _upright(x, y, cube.edge, random.uniform(*spawn.yaw_deg))


def start_poses(scene: Scene, profile: Profile, seed: int, poses: Mapping[str, Pose]) -> dict[str, Pose]:
    """Where cube and bin start: as drawn and as the scene says, but for the given ones.

    Raises:
        SimulatorError: an unknown entity, or a pose that is not finite or has no orientation.
    """
    chosen = {CUBE: sample_cube_pose(scene, profile, seed), BIN: scene.objects.blue_bin.pose()}
    for name, pose in poses.items():
        chosen[name] = _checked(name, pose)
    return chosen


def _checked(name: str, pose: Pose) -> Pose:
    if name not in ENTITIES:
        raise SimulatorError(f"reset names unknown entity {name!r}; expected one of {', '.join(ENTITIES)}")
    position, quaternion = np.asarray(pose.position, dtype=float), np.asarray(pose.quaternion, dtype=float)
    norm = float(np.linalg.norm(quaternion))
    if position.shape != (3,) or quaternion.shape != (4,) or not np.isfinite([*position, norm]).all() or norm < 1e-6:
        raise SimulatorError(f"reset pose of {name!r}: expected 3 finite numbers and a quaternion x, y, z, w")
    return Pose(position, quaternion / norm)


def sample_variation(scene: Scene, profile: Profile, seed: int, poses: Mapping[str, Pose]) -> Variation:
    """Everything but the cube's pose.

    Args:
        scene: what is varied.
        profile: what to draw.
        seed: of the streams.
        poses: where cube and bin are, for the distractors to keep away from.

    Raises:
        SimulatorError: the distractors do not fit on the table.
    """
    cube = profile.red_cube
    return Variation(
        light=_uniform(seed, Stream.LIGHT, profile.light),
        friction=_uniform(seed, Stream.FRICTION, cube.friction),
        mass=_uniform(seed, Stream.MASS, cube.mass),
        color=None if cube.colors is None else _choice(cube.colors, random_stream(seed, Stream.COLOR)),
        views=_sample_views(scene, profile, seed),
        distractors=() if profile.distractors is None else _place(scene, profile.distractors, seed, poses),
        joint_offset=_joint_offset(seed, profile.joint_offset_deg),
        push=None if profile.push is None else _push(seed, profile.push),
    )


def _joint_offset(seed: int, limits: tuple[float, float] | None) -> tuple[float, ...] | None:
    if limits is None:
        return None
    random = random_stream(seed, Stream.JOINT_OFFSET)
    sizes, signs = random.uniform(*limits, ARM_DOF), random.choice((-1.0, 1.0), ARM_DOF)
    return tuple(np.radians(sizes * signs).tolist())


def _push(seed: int, profile: PushProfile) -> Push:
    random = random_stream(seed, Stream.PUSH)
    begin, duration = random.uniform(*profile.time), random.uniform(*profile.duration)
    speed, angle = random.uniform(*profile.speed), random.uniform(-np.pi, np.pi)
    return Push(begin, begin + duration, (float(speed * np.cos(angle)), float(speed * np.sin(angle))))


def _uniform(seed: int, stream: Stream, limits: tuple[float, float] | None) -> float | None:
    return None if limits is None else float(random_stream(seed, stream).uniform(*limits))


def _choice(colors: Sequence[Rgba], random: np.random.Generator) -> Rgba:
    return colors[int(random.integers(len(colors)))]


def _upright(x: float, y: float, height: float, yaw_deg: float) -> Pose:
    """Pose of a body of this height [m] that stands on the table."""
    half = np.radians(yaw_deg) / 2.0
    return Pose(np.array([x, y, height / 2.0]), np.array([0.0, 0.0, np.sin(half), np.cos(half)]))


def _sample_views(scene: Scene, profile: Profile, seed: int) -> dict[str, View]:
    cameras = profile.cameras
    if cameras.position is None and cameras.target is None:
        return {}
    views = {}
    for i, name in enumerate(CAMERAS):
        view = scene.cameras.views[name]
        position = _moved(view.position, cameras.position, random_stream(seed, Stream.CAMERA_POSITION, i))
        target = _moved(view.target, cameras.target, random_stream(seed, Stream.CAMERA_TARGET, i))
        views[name] = View(position=position, target=target, up=view.up)
    return views


def _moved(
    point: tuple[float, float, float], distance: tuple[float, float] | None, random: np.random.Generator
) -> tuple[float, float, float]:
    """The point moved by a distance from the range [m], all directions alike."""
    if distance is None:
        return point
    direction = random.standard_normal(3)
    x, y, z = point + random.uniform(*distance) * direction / np.linalg.norm(direction)
    return (float(x), float(y), float(z))


def _place(
    scene: Scene, profile: DistractorProfile, seed: int, poses: Mapping[str, Pose]
) -> tuple[PlacedDistractor, ...]:
    """The first of the profile's objects, each clear of the cube, the bin and those before it."""
    count = int(random_stream(seed, Stream.DISTRACTOR_COUNT).integers(profile.count[0], profile.count[1] + 1))
    taken = [(poses[CUBE].position[:2], scene.objects.red_cube.edge / np.sqrt(2.0))]
    placed = []
    for i, distractor in enumerate(profile.objects[:count]):
        random = random_stream(seed, Stream.DISTRACTOR_PLACE, i)
        for _ in range(_TRIES):
            point = np.array([random.uniform(*profile.x), random.uniform(*profile.y)])
            free = distractor.radius + profile.clearance
            if _bin_gap(scene, poses[BIN], point) >= free and all(
                np.linalg.norm(point - other) >= free + radius for other, radius in taken
            ):
                break
        else:
            raise SimulatorError(f"no place on the table for distractor {i} within {_TRIES} tries, seed {seed}")
        taken.append((point, distractor.radius))
        pose = _upright(point[0], point[1], distractor.size[2], random.uniform(-180.0, 180.0))
        color = _choice(distractor.colors, random_stream(seed, Stream.DISTRACTOR_COLOR, i))
        placed.append(PlacedDistractor(pose, color))
    return tuple(placed)


def _bin_gap(scene: Scene, bin_pose: Pose, point: FloatArray) -> float:
    """Distance on the table from a point, shape (2,), to the outside of the bin; 0 inside [m]."""
    inverse = bin_pose.quaternion * np.array([-1.0, -1.0, -1.0, 1.0])
    local = rotate(inverse, np.append(point, 0.0) - bin_pose.position)[:2]
    return float(np.linalg.norm(np.maximum(np.abs(local) - np.array(scene.objects.blue_bin.outer[:2]) / 2.0, 0.0)))
