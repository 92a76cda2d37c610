"""What the expert does in a state of the world: a field over tool, gripper, cube and bin, without time or memory.

The phase follows from where things are, so that a policy that sees one observation can learn it, and so that a push, a
slip or a failed grasp needs no handling of its own: the state after it has its phase as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from salus_vla.config.scene import Scene

OPEN, CLOSED = 0.08, 0.0  # gripper width that is commanded [m]
_LARGEST_YAW = math.radians(60.0)  # beyond it the wrist takes the cube's next side
# Mean speeds of the gripper's width from the decision on, start and lag included [m/s]. Letting go begins slowly: the
# command must first come from 0 to the cube's width.
_CLOSING_SPEED, _LETTING_GO_SPEED, _OPENING_SPEED = 0.16, 0.04, 0.3
_LET_GO = 0.006  # m wider than the cube: the fingers are on their way


class Phase(StrEnum):
    """What is being done."""

    REACH = "reach"  # over the cube and down to it, fingers open; also away from a failed grasp
    CLOSE = "close"
    CARRY = "carry"  # up, over the bin and down into it
    LOWER = "lower"  # a crooked cube back to the table
    RELEASE = "release"
    RETREAT = "retreat"


@dataclass(frozen=True)
class Motion:
    """Speeds, heights and tolerances of the expert.

    Attributes:
        speed, contact_speed: of the tool in the air, and at the height of a grasp or a release [m/s].
        slow_height: above that height over which the one becomes the other [m].
        yaw_speed: of the fingers about the vertical [rad/s].
        settle_s: time constant with which a goal is reached [s].
        funnel: distances to the cube at which the tool may be at the height of the grasp, at one edge above it, and
            must be at `hover` above it [m].
        hover: height of the tool above the cube's centre before it goes down [m].
        yaw_arm: distance that a yaw error of 1 rad counts as in the funnel [m].
        aligned, aligned_yaw: distance [m] and yaw error [rad] to the cube at which the fingers begin to close.
        kept, kept_yaw: the same at which closing fingers go on.
        grip_slack: a width this far from the cube's edge is a grip of the cube [m].
        crooked: largest width above the cube's edge at which fingers across it still hold it [m].
        lifted: height of the cube over its place on the table from which on it is put down and not let go [m].
        carry: height of the tool on the way to the bin [m].
        clear: heights between which a lifted cube begins to move sideways [m].
        release: height of the tool over the table at which the cube is let go [m].
        over_bin, release_slack: distance from the bin's middle and from that height at which it may be let go [m].
        retreat: height to which the empty tool goes up [m].
    """

    speed: float = 0.3
    contact_speed: float = 0.08
    slow_height: float = 0.1
    yaw_speed: float = 0.8
    settle_s: float = 0.15
    funnel: tuple[float, float, float] = (0.006, 0.02, 0.08)
    hover: float = 0.12
    yaw_arm: float = 0.1
    aligned: float = 0.006
    aligned_yaw: float = 0.05
    kept: float = 0.014
    kept_yaw: float = 0.2
    grip_slack: float = 0.0035
    crooked: float = 0.018
    lifted: float = 0.006
    carry: float = 0.2
    clear: tuple[float, float] = (0.08, 0.15)
    release: float = 0.065
    over_bin: float = 0.03
    release_slack: float = 0.015
    retreat: float = 0.25


@dataclass(frozen=True)
class Layout:
    """Sizes of the cube and the bin that the phases depend on [m].

    Attributes:
        edge: of the cube.
        hollow: half the inner width of the bin, the smaller of both directions.
        rim: height of the bin's rim over the table.
        floor: height of the bin's floor over the table.
    """

    edge: float
    hollow: float
    rim: float
    floor: float

    @classmethod
    def of(cls, scene: Scene) -> Layout:
        """The layout of a scene."""
        cube, blue_bin = scene.objects.red_cube, scene.objects.blue_bin
        return cls(cube.edge, min(blue_bin.outer[:2]) / 2.0 - blue_bin.wall, blue_bin.outer[2], blue_bin.wall)


@dataclass
class World:
    """Tool, gripper, cube and bin at one moment.

    Attributes:
        x, y, z: tool [m].
        yaw: of the fingers [rad].
        width: of the gripper [m].
        cube: centre of the cube, (x, y, z) [m].
        cube_yaw: one of its four equal yaws [rad].
        bin: middle of the bin's underside, (x, y) [m].
    """

    x: float
    y: float
    z: float
    yaw: float
    width: float
    cube: tuple[float, float, float]
    cube_yaw: float
    bin: tuple[float, float]


@dataclass(frozen=True)
class Act:
    """What to do now.

    Attributes:
        phase: why.
        velocity: of the tool, (x, y, z) [m/s].
        yaw_rate: of the fingers [rad/s].
        grip: commanded gripper width, `OPEN` or `CLOSED` [m].
    """

    phase: Phase
    velocity: tuple[float, float, float]
    yaw_rate: float
    grip: float


def nearest_yaw(cube_yaw: float, tool_yaw: float) -> float:
    """The cube's yaw, one of four that look alike, that is nearest to the tool's and that the wrist takes [rad].

    Relative to the tool, not simply folded into +-45 degrees: a cube near 45 degrees would make the wrist change its
    mind with each small turn. From home, where the tool's yaw is 0, the two are the same.
    """
    quarter = math.pi / 2.0
    within = max(-_LARGEST_YAW, min(_LARGEST_YAW, tool_yaw))
    yaw = cube_yaw + quarter * round((within - cube_yaw) / quarter)
    if abs(yaw) > _LARGEST_YAW:
        yaw -= math.copysign(quarter, yaw)
    return yaw


def act(world: World, layout: Layout, motion: Motion) -> Act:
    """The expert's action in a state."""
    dx, dy, dz = (a - b for a, b in zip(world.cube, (world.x, world.y, world.z), strict=True))
    c, s = math.cos(world.yaw), math.sin(world.yaw)
    along, across = abs(c * dx + s * dy), abs(c * dy - s * dx)
    edge = layout.edge
    at_grip_width = abs(world.width - edge) <= motion.grip_slack
    if at_grip_width and along < 0.4 * edge and across < 0.25 * edge and abs(dz) < 0.4 * edge:
        return _carry(world, layout, motion)
    if _in_bin(world, layout):
        return _retreat(world, layout, motion)
    crooked = motion.grip_slack < world.width - edge < motion.crooked
    in_hand = along < 0.6 * edge and across < 0.4 * edge and abs(dz) < 0.5 * edge
    if crooked and in_hand and world.cube[2] > edge / 2.0 + motion.lifted:
        return _lower(world, layout, motion)
    yaw = nearest_yaw(world.cube_yaw, world.yaw)
    closing = world.width < 0.95 * OPEN
    distance, turn = (motion.kept, motion.kept_yaw) if closing else (motion.aligned, motion.aligned_yaw)
    between = max(along, across, abs(dz)) < distance and abs(yaw - world.yaw) < turn
    if between and world.width > edge - motion.grip_slack:
        return _towards(Phase.CLOSE, world, motion, world.cube, yaw, motion.contact_speed, CLOSED)
    return _reach(world, layout, motion, yaw)


def advance(world: World, doing: Act, layout: Layout, seconds: float) -> None:
    """What becomes of a world, in place: a rough model, good enough for a plan that is soon made anew.

    A held cube moves with the tool, closing fingers stop at a cube between them, a released cube falls.

    Args:
        world: changed.
        doing: action in that state.
        layout: sizes.
        seconds: a step short against the motion [s].
    """
    dx, dy, dz = (rate * seconds for rate in doing.velocity)
    world.x, world.y, world.z = world.x + dx, world.y + dy, world.z + dz
    world.yaw += doing.yaw_rate * seconds
    if doing.phase in (Phase.CARRY, Phase.LOWER):
        x, y, z = world.cube
        world.cube = (x + dx, y + dy, z + dz)
        world.cube_yaw += doing.yaw_rate * seconds
        if doing.phase is Phase.CARRY:
            world.width = layout.edge
    elif doing.grip == CLOSED:
        world.width = max(layout.edge, world.width - _CLOSING_SPEED * seconds)
    else:
        speed = _LETTING_GO_SPEED if world.width < layout.edge + _LET_GO else _OPENING_SPEED
        world.width = min(OPEN, world.width + speed * seconds)
    if doing.phase is Phase.RETREAT:
        world.cube = (*world.cube[:2], layout.floor + layout.edge / 2.0)


def _reach(world: World, layout: Layout, motion: Motion, yaw: float) -> Act:
    """Down a funnel over the cube; fingers that are turned or not open keep the tool up as a distance does."""
    cx, cy, cz = world.cube
    away = math.hypot(cx - world.x, cy - world.y)
    away += motion.yaw_arm * abs(yaw - world.yaw) + max(0.0, 0.95 * OPEN - world.width)
    goal = (cx, cy, cz + _interpolate(away, motion.funnel, (0.0, layout.edge, motion.hover)))
    sideways = _interpolate(goal[2] - world.z, (0.005, 0.03), (1.0, 0.0))  # below the funnel: up first
    return _towards(Phase.REACH, world, motion, goal, yaw, _speed(world.z - cz, motion), OPEN, sideways)


def _carry(world: World, layout: Layout, motion: Motion) -> Act:
    """Up, over the bin and down into it; open there."""
    bx, by = world.bin
    away = math.hypot(bx - world.x, by - world.y)
    if away < motion.over_bin and world.z < motion.release + motion.release_slack:
        return _towards(Phase.RELEASE, world, motion, (bx, by, motion.release), 0.0, motion.contact_speed, OPEN)
    height = _interpolate(away, (0.2 * layout.hollow, 0.8 * layout.hollow), (motion.release, motion.carry))
    # Neither sideways nor turning near the table, where the cube still touches it, nor into the bin's wall.
    free = _interpolate(world.z, motion.clear, (0.0, 1.0)) if away > 0.7 * layout.hollow else 1.0
    low = motion.release if away < layout.hollow else layout.edge / 2.0
    return _towards(
        Phase.CARRY, world, motion, (bx, by, height), 0.0, _speed(world.z - low, motion), CLOSED, free, free
    )


def _lower(world: World, layout: Layout, motion: Motion) -> Act:
    """Straight down with what is held; on the table it is let go and grasped anew."""
    down = world.z - (world.cube[2] - layout.edge / 2.0)
    return _towards(Phase.LOWER, world, motion, (world.x, world.y, down), world.yaw, motion.contact_speed, CLOSED)


def _retreat(world: World, layout: Layout, motion: Motion) -> Act:
    """Up, once the fingers let go."""
    up = motion.retreat if world.width > layout.edge + 2.0 * motion.grip_slack else world.z
    speed = _speed(world.z - motion.release, motion)
    return _towards(Phase.RETREAT, world, motion, (world.x, world.y, up), world.yaw, speed, OPEN)


def _in_bin(world: World, layout: Layout) -> bool:
    """The free cube is in the bin or about to fall into it; one that lies on a wall is half an edge over the rim."""
    x, y, z = world.cube
    over = max(abs(x - world.bin[0]), abs(y - world.bin[1])) < layout.hollow
    return over and z < layout.rim + 0.45 * layout.edge


def _speed(height: float, motion: Motion) -> float:
    """Speed of the tool at a height over the nearest contact [m/s]."""
    return _interpolate(height, (0.0, motion.slow_height), (motion.contact_speed, motion.speed))


def _towards(
    phase: Phase,
    world: World,
    motion: Motion,
    goal: tuple[float, float, float],
    yaw: float,
    speed: float,
    grip: float,
    sideways: float = 1.0,
    turning: float = 1.0,
) -> Act:
    """Straight to a goal, slower the nearer it is; `sideways` and `turning` below 1 hold back that part."""
    dx, dy, dz = sideways * (goal[0] - world.x), sideways * (goal[1] - world.y), goal[2] - world.z
    distance = math.sqrt(dx * dx + dy * dy + dz * dz)
    rate = min(1.0 / motion.settle_s, speed / distance) if distance > 0.0 else 0.0
    turn = turning * max(-motion.yaw_speed, min(motion.yaw_speed, (yaw - world.yaw) / motion.settle_s))
    return Act(phase, (rate * dx, rate * dy, rate * dz), turn, grip)


def _interpolate(value: float, points: tuple[float, ...], values: tuple[float, ...]) -> float:
    """Piecewise linear, constant outside; numpy.interp for single numbers at a fifth of its time."""
    if value <= points[0]:
        return values[0]
    for i in range(1, len(points)):
        if value <= points[i]:
            share = (value - points[i - 1]) / (points[i] - points[i - 1])
            return values[i - 1] + share * (values[i] - values[i - 1])
    return values[-1]
