"""Which commands the gate lets pass: names, values, stamps and limits."""

import math
import subprocess
import sys

import numpy as np
import pytest
from gate_world import ACCELERATION, DT, FRAME, HOME, JERK, LOWER, NAMES, SPEED, UPPER, World, assert_inside, reason

from salus_vla.contract.robot_limits import PANDA
from salus_vla.control.limiter import Limiter
from salus_vla.gate.command_checks import Reason
from salus_vla.gate.gate import Gate, State
from salus_vla.gate.gate_limits import joint_limits

# -- names, values, stamps ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "values", "expected", "words"),
    [
        (NAMES[:8], HOME[:9], Reason.WRONG_LENGTH, "8 names and 9 positions"),
        (NAMES, HOME[:8], Reason.WRONG_LENGTH, "9 names and 8 positions"),
        ([], [], Reason.MISSING_JOINT, "panda_joint1"),
        (NAMES[:8], HOME[:8], Reason.MISSING_JOINT, "panda_finger_joint2"),
        ([*NAMES[:8], "elbow"], HOME, Reason.UNKNOWN_JOINT, "'elbow'"),
        ([*NAMES[:8], NAMES[0]], HOME, Reason.DUPLICATE_JOINT, "panda_joint1 comes twice"),
        ([*NAMES, NAMES[0]], [*HOME, 0.0], Reason.DUPLICATE_JOINT, "panda_joint1 comes twice"),
    ],
)
def test_names_and_lengths(names: list[str], values: object, expected: Reason, words: str) -> None:
    world = World()
    refused = world.offer(values, names=names)
    assert reason(refused) is expected
    assert words in refused.detail
    assert world.gate.refused == {expected: 1}
    assert world.sent == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("joint", [0, 8])
def test_a_value_that_is_not_finite_is_named(value: float, joint: int) -> None:
    world, pose = World(), HOME.copy()
    pose[joint] = value
    refused = world.offer(pose)
    assert refused is not None
    assert refused.reason is Reason.NON_FINITE
    assert NAMES[joint] in refused.detail


def test_any_order_of_the_names_is_the_same_command() -> None:
    world, order = World(), [3, 0, 8, 1, 2, 7, 4, 6, 5]
    assert world.offer(HOME[order], names=[NAMES[i] for i in order]) is None
    assert world.gate.at_rest


def test_velocities_in_a_command_are_refused_because_nobody_checks_them() -> None:
    assert reason(World().offer(HOME, extra_values=True)) is Reason.EXTRA_VALUES


def test_stamps() -> None:
    world = World()
    assert reason(world.offer(HOME, world.stamp + 11_000_000)) is Reason.FUTURE_STAMP
    assert world.offer(HOME, world.stamp + 9_000_000) is None  # of this frame, to half a frame
    for _ in range(8):
        world.frame()
    assert reason(world.offer(HOME, world.stamp - 3 * FRAME)) is Reason.STALE_STAMP
    assert world.offer(HOME, world.stamp - 2 * FRAME) is None
    assert reason(world.offer(HOME, world.stamp - 2 * FRAME)) is Reason.DUPLICATE_STAMP
    assert world.offer(HOME, world.stamp - FRAME) is None
    assert reason(world.offer(HOME, world.stamp - 2 * FRAME)) is Reason.STALE_STAMP
    assert world.offer(HOME) is None
    assert reason(world.offer(HOME)) is Reason.DUPLICATE_STAMP
    assert reason(world.offer(HOME, -(10**18))) is Reason.STALE_STAMP


def test_nothing_passes_before_joints_were_measured() -> None:
    gate = Gate()
    assert reason(gate.judge(0, NAMES, HOME.tolist())) is Reason.NO_FRAME
    assert gate.state is State.NO_FRAME


# -- limits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("joint", range(9))
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_acceleration_is_limited_joint_by_joint(joint: int, sign: float) -> None:
    middle = (LOWER + UPPER) / 2.0
    for share, passes in ((0.999999, True), (1.0001, False)):
        world, pose = World(pose=middle), middle.copy()
        pose[joint] += sign * share * ACCELERATION[joint] * DT * DT
        refused = world.offer(pose)
        assert (refused is None) is passes
        assert passes or (refused.reason is Reason.ACCELERATION_LIMIT and NAMES[joint] in refused.detail)


@pytest.mark.parametrize("joint", range(7))
def test_speed_is_limited_joint_by_joint(joint: int) -> None:
    pose = (LOWER + UPPER) / 2.0
    pose[joint] = LOWER[joint] + 0.1
    world, v = World(pose=pose), 0.0
    while v + ACCELERATION[joint] * DT * 0.5 < SPEED[joint]:
        v += ACCELERATION[joint] * DT * 0.5
        pose[joint] += v * DT
        assert world.offer(pose) is None
        world.frame()
    pose[joint] += (SPEED[joint] + 1e-4) * DT
    assert reason(world.offer(pose)) is Reason.VELOCITY_LIMIT


def test_jerk_is_limited() -> None:
    pose = (LOWER + UPPER) / 2.0
    wide = joint_limits()
    gate = Gate(limits=type(wide)(wide.lower, wide.upper, wide.velocity, wide.acceleration, (100.0,) * 9))
    world = World(gate, pose)
    pose[0] += 2.1 * DT * DT  # jerk 105
    assert reason(world.offer(pose)) is Reason.JERK_LIMIT


def test_a_joint_that_could_not_stop_before_its_limit_is_refused_before_it_gets_there() -> None:
    pose = HOME.copy()
    pose[0] = UPPER[0] - 0.3
    world, v = World(pose=pose), 0.0
    for _ in range(100):
        v = min(v + 0.3, SPEED[0])
        pose = world.pose.copy()
        pose[0] += v * DT
        refused = world.offer(pose)
        if refused is not None:
            break
        world.frame()
    assert reason(refused) is Reason.NO_ROOM_TO_STOP
    assert world.pose[0] < UPPER[0]
    world.until_held()
    assert_inside([command for _, command in world.sent], [UPPER[0] - 0.3, *HOME[1:]])


@pytest.mark.parametrize(("joint", "value"), [(3, 0.0), (8, 0.041), (1, -1.77)])
def test_a_position_outside_is_refused_even_where_the_arm_is(joint: int, value: float) -> None:
    pose = HOME.copy()
    pose[joint] = value
    world = World(pose=pose)
    assert reason(world.offer(pose)) is Reason.POSITION_LIMIT
    assert world.offer(np.clip(pose, LOWER, UPPER)) is None  # what a controller makes of it


def test_the_limiters_stream_passes_unchanged_at_full_speed_and_into_every_limit() -> None:
    """What the controller sends is inside the gate's limits, the hand at its ends included."""
    rng = np.random.default_rng(3)
    limiter, world = Limiter(PANDA, DT), World()
    limiter.start(np.append(HOME[:7], 0.08))
    lower, upper = np.append(LOWER[:7], 0.0), np.append(UPPER[:7], 0.08)
    for number in range(3000):
        if number % 25 == 0:
            target = np.where(rng.random(8) < 0.5, rng.uniform(lower, upper), rng.choice([lower, upper]))
            near = limiter.position + np.clip(target - limiter.position, -1.0, 1.0)
        command = limiter.brake() if number % 400 > 380 else limiter.step(near)
        refused = world.offer(np.append(command.position[:7], np.repeat(command.position[7] / 2.0, 2)))
        assert refused is None, refused
        world.frame()
    assert_inside([command for _, command in world.sent], HOME)
    assert world.gate.braked == 0


# -- what it is made of ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("module", "more"), [("gate.gate", ("rclpy",)), ("ros.nodes.command_gate_node", ())])
def test_the_gate_needs_neither_torch_nor_the_policy_nor_what_reads_files(module: str, more: tuple[str, ...]) -> None:
    heavy = (
        "torch",
        "mujoco",
        "pydantic",
        "lerobot",
        "salus_vla.policies",
        "salus_vla.signals",
        "salus_vla.config.scene",
    )
    heavy += ("salus_vla.control.controller", "salus_vla.control.limiter", *more)
    program = (
        f"import sys; import salus_vla.{module}\n"
        f"heavy = set({heavy!r}) & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_limits_are_those_of_the_arm() -> None:
    limits = joint_limits()
    for given, typed in ((limits.lower, LOWER), (limits.upper, UPPER), (limits.velocity, SPEED)):
        np.testing.assert_array_equal(given, typed)
    np.testing.assert_array_equal(limits.acceleration, ACCELERATION)
    np.testing.assert_array_equal(limits.jerk[:7], JERK[:7])
