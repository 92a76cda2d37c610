"""When the gate brakes the arm itself, and where a stream of commands may begin."""

import math

import numpy as np
import pytest
from gate_world import (
    ACCELERATION,
    DT,
    FRAME,
    HOME,
    JERK,
    LOWER,
    REST,
    SLACK,
    SPEED,
    UPPER,
    World,
    assert_inside,
    reason,
)

from salus_vla.gate.command_checks import Reason
from salus_vla.gate.gate import OwnCommand, Refused, State
from salus_vla.gate.gate_limits import joint_limits
from salus_vla.gate.stop import plan_stop

# -- deadman -----------------------------------------------------------------------------------------------------------


def test_a_stream_that_falls_silent_in_motion_is_braked_after_the_deadmans_time() -> None:
    world = World()
    speed = world.drive(12, joint=0)
    last = world.sent[-1]
    start = world.sent[0]
    while world.gate.state is State.STREAM:
        world.frame()
    stamp, first = world.sent[-1]
    assert stamp - last[0] == 180_000_000  # one frame before the time is over
    assert first[0] > last[1][0]  # along the path
    world.until_held()
    assert_inside([command for _, command in world.sent], HOME)
    distance = world.pose[0] - last[1][0]
    assert distance == pytest.approx(speed**2 / (2 * ACCELERATION[0]), rel=0.15)
    assert (world.pose[1:] == start[1][1:]).all()
    world.frame()
    assert world.gate.braked == 1


def test_all_joints_stop_together_on_a_straight_path() -> None:
    velocity = [0.5, -0.25, 1.0, 0.3, 0.0, 0.1, -0.7, 0.01, 0.01]
    path = np.array(plan_stop(HOME.tolist(), velocity, joint_limits(), DT).commands) - HOME
    shares = path[:, :7] / path[:, 2:3]
    np.testing.assert_allclose(shares, np.broadcast_to(np.array(velocity[:7]) / 1.0, shares.shape), atol=1e-6)


@pytest.mark.parametrize("joint", range(9))
def test_a_stop_keeps_every_limit_from_full_speed_with_just_enough_room(joint: int) -> None:
    position, velocity = (LOWER + UPPER) / 2.0, np.zeros(9)
    velocity[joint] = SPEED[joint]
    velocity[(joint + 1) % 9] = -0.3 * SPEED[(joint + 1) % 9]  # slower: it would get longer for a common stop
    for other in (joint, (joint + 1) % 9):
        room = velocity[other] ** 2 / (2.0 * ACCELERATION[other])
        position[other] = UPPER[other] - room if velocity[other] > 0 else LOWER[other] + room
    path = np.array(plan_stop(position.tolist(), velocity.tolist(), joint_limits(), DT).commands)
    full = np.vstack([position - 2 * velocity * DT, position - velocity * DT, position, path, path[-1], path[-1]])
    assert ((path >= LOWER) & (path <= UPPER)).all()
    for limit in (SPEED, ACCELERATION, JERK):
        full = np.diff(full, axis=0) / DT
        assert (np.abs(full) <= limit + SLACK).all()


@pytest.mark.parametrize("offset", [0.03, -0.08, 0.0])
def test_the_stopped_arm_is_held_where_it_is_measured_and_the_fingers_keep_their_target(offset: float) -> None:
    """It lags, something blocks it: it is not pushed on."""
    world = World()
    world.drive(joint=3)
    world.until_held()
    held, sent = world.sent[-1][1], len(world.sent)
    where = held + np.append(np.full(7, offset), [-0.01, -0.01])
    for _ in range(80):
        world.frame(pose=where)
    way = [command for _, command in world.sent]
    np.testing.assert_allclose(way[-1], np.append(where[:7], held[7:]), atol=1e-9)
    assert_inside(way, HOME)
    steps = np.abs(np.diff(way[sent - 1 :], axis=0)) / DT
    assert not len(steps) or steps.max() <= 0.1 + 1e-9
    assert len(way) - sent <= abs(offset) / (0.1 * DT) + 2  # then it is silent
    assert world.gate.state is State.HELD
    assert world.gate.at_rest


def test_an_arm_that_still_moves_is_waited_for() -> None:
    world = World()
    world.drive()
    world.until_held()
    sent = len(world.sent)
    for _ in range(10):
        world.stamp += FRAME
        assert world.gate.frame(world.stamp, (world.pose + 0.01).tolist(), [0.0, 0.06, *REST[2:]]) is None
    assert len(world.sent) == sent


def test_a_new_stream_begins_where_the_held_arm_rests() -> None:
    world = World()
    world.drive()
    world.until_held()
    where = world.sent[-1][1] + np.append(np.full(7, 0.02), [0.0, 0.0])
    for _ in range(30):
        world.frame(pose=where)
    assert world.offer(where) is None


def test_while_the_gate_brakes_nobody_else_commands() -> None:
    world = World()
    world.drive()
    while world.gate.state is not State.BRAKING:
        world.frame()
    assert reason(world.offer(world.pose)) is Reason.BRAKING


def test_an_arm_that_rests_may_wait_for_ever() -> None:
    world = World()
    assert world.offer(HOME) is None
    for _ in range(100):
        assert world.frame() is None
    assert world.gate.state is State.STREAM
    assert world.offer(HOME) is None


def test_refusals_hold_the_last_command_and_then_the_deadman_takes_over() -> None:
    world = World()
    world.drive()
    commands = len(world.sent)
    for number in range(1, 9):
        assert reason(world.offer(np.full(9, np.nan))) is Reason.NON_FINITE
        own = world.frame()
        assert (own is None) is (number < 8), number
    assert len(world.sent) == commands + 1


def test_in_lockstep_a_frame_that_gets_only_refused_commands_is_answered_after_wall_time() -> None:
    world = World()
    world.drive()
    assert world.gate.waited(1.0) is None
    assert reason(world.offer(np.full(9, np.nan), wall_s=10.0)) is Reason.NON_FINITE
    assert world.gate.waited(10.15) is None
    own = world.gate.waited(10.17)
    assert own is not None
    assert own.stamp_ns == world.stamp
    while world.gate.state is State.BRAKING:
        own = world.frame()
        assert own is not None
        assert own.stamp_ns == world.stamp
    # At rest each further command that is refused still gets the frame an answer, so that time goes on.
    world.frame()
    refused = world.offer(HOME + 0.5)
    assert refused is not None
    assert refused.own == OwnCommand(world.stamp, tuple(world.pose.tolist()))


def test_a_valid_command_after_a_refused_one_passes_as_if_nothing_had_been() -> None:
    world = World()
    world.drive()
    world.offer(np.full(9, np.nan), wall_s=1.0)
    pose = world.sent[-1][1] + (world.sent[-1][1] - world.sent[-2][1])
    assert world.offer(pose, wall_s=1.1) is None
    assert world.gate.waited(5.0) is None


# -- beginning ---------------------------------------------------------------------------------------------------------


def test_the_first_command_must_be_where_the_arm_is() -> None:
    world, pose = World(), HOME.copy()
    pose[1] += 0.01
    refused = world.offer(pose)
    assert reason(refused) is Reason.ACCELERATION_LIMIT
    assert "measured pose" in refused.detail
    assert world.offer(HOME) is None


def test_a_stream_begins_at_rest() -> None:
    world = World()
    world.speed[2] = 0.2
    world.frame()
    assert reason(world.offer(HOME)) is Reason.ARM_MOVING
    world.speed[2] = math.nan
    world.frame()
    assert reason(world.offer(HOME)) is Reason.ARM_MOVING
    world.frame(np.full(9, math.nan))
    assert isinstance(world.offer(HOME), Refused)


def test_after_a_reset_the_next_stream_begins_where_the_arm_is_then() -> None:
    """As the graph does it: the stream ends at rest, one frame gets no answer, the reset is the frame after it."""
    world = World()
    away = HOME.copy()
    for number in range(60):
        away[0] += 0.004 if number < 59 else 0.0
        assert world.offer(away) is None
        world.frame()
    refused = world.offer(HOME)
    assert reason(refused) is Reason.VELOCITY_LIMIT  # without a reset it is a jump
    world.frame(HOME)
    assert world.offer(HOME) is None
    assert world.gate.teleports == 1


def test_a_small_reset_is_taken_as_a_new_beginning_only_after_a_pause_at_rest() -> None:
    world = World()
    near = HOME + np.array([0.05, 0, 0, 0, 0, 0, 0, 0, 0])
    for share in [*np.linspace(0, 1, 30), 1.0]:
        assert world.offer(HOME + share * (near - HOME)) is None
        world.frame()
    world.frame(HOME)
    assert world.gate.teleports == 0
    assert world.offer(HOME) is None


def test_a_reset_in_motion_is_not_followed_by_a_stop_far_from_the_arm() -> None:
    world = World()
    world.drive(20)
    world.frame(HOME)
    for _ in range(20):
        assert world.frame() is None
    assert world.gate.state is State.IDLE
    assert world.offer(HOME) is None


def test_a_held_arm_takes_a_new_stream() -> None:
    world = World()
    world.drive()
    world.until_held()
    world.frame()
    assert world.gate.state is State.HELD
    assert world.offer(world.pose) is None
    assert world.gate.state is State.STREAM


def test_a_clock_that_jumps_back_disarms_and_is_counted() -> None:
    world = World()
    world.drive()
    world.stamp = -FRAME
    assert world.frame() is None
    assert world.gate.state is State.IDLE
    assert world.gate.clock_jumps == 1
    for _ in range(20):
        assert world.frame() is None
    assert world.offer(world.pose) is None
