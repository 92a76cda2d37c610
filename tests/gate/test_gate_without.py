"""What the gate does without ruckig, without frames, beside a second publisher, and with a command that is early."""

import numpy as np
import pytest
from gate_world import ACCELERATION, DT, FRAME, HOME, JERK, SLACK, SPEED, World, assert_inside, reason

from salus_vla.gate import stop
from salus_vla.gate.command_checks import Reason
from salus_vla.gate.gate import Gate, State
from salus_vla.gate.gate_limits import joint_limits


class Refusing:
    """Stands for ruckig."""

    def __init__(self, joints: int) -> None:
        pass

    def calculate(self, *_: object) -> int:
        return -100


def raising(joints: int) -> None:
    raise RuntimeError("ruckig is broken")


# -- without ruckig ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [Refusing, raising])
def test_where_ruckig_refuses_the_arm_stops_all_the_same_inside_its_limits(
    monkeypatch: pytest.MonkeyPatch, broken: object
) -> None:
    monkeypatch.setattr(stop, "Ruckig", broken)
    world = World()
    world.drive(20, joint=1)
    while world.gate.state is not State.BRAKING:
        world.frame()
    world.until_held()
    assert_inside([command for _, command in world.sent], HOME)
    assert world.gate.at_rest
    assert world.gate.plain_stops == world.gate.braked == 1
    assert world.gate.stop_fault.startswith("RuntimeError: ")


@pytest.mark.parametrize("seed", range(200))
def test_a_plain_stop_keeps_speed_and_acceleration_along_the_path(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(stop, "Ruckig", raising)
    random = np.random.default_rng(seed)
    velocity = random.uniform(-1.0, 1.0, 9) * SPEED * random.choice([0.0, 1e-4, 0.1, 1.0])
    middle = np.array([0.0, 0.0, 0.0, -1.5, 0.0, 1.8, 0.0, 0.02, 0.02])
    velocity[7:] = np.clip(velocity[7:], -0.05, 0.05)
    path = np.array(stop.plan_stop(middle.tolist(), velocity.tolist(), joint_limits(), DT).commands)
    full = np.vstack([middle - velocity * DT, middle, path, path[-1]])
    np.testing.assert_allclose(path[-1], path[-2], atol=0.0)
    speeds = np.diff(full, axis=0) / DT
    assert (np.abs(speeds) <= SPEED + SLACK).all()
    assert (np.abs(np.diff(speeds, axis=0)) / DT <= ACCELERATION + SLACK).all()
    assert (np.abs(np.diff(speeds, axis=0)) / DT**2 <= JERK + SLACK).all()
    moved = path[-1] - middle
    arm = np.abs(velocity[:7]) > 1e-9
    if arm.any():
        shares = moved[:7][arm] / velocity[:7][arm]
        np.testing.assert_allclose(shares, shares[0], rtol=1e-6, atol=1e-12)


# -- without frames ----------------------------------------------------------------------------------------------------


def driven(*, realtime: bool) -> World:
    world = World(Gate(realtime=realtime))
    for number in range(1, 13):
        pose = world.pose.copy()
        pose[0] += 5.0 * number * DT * DT
        assert world.offer(pose, wall_s=10.0 + (number - 1) * DT) is None
        world.stamp += FRAME
        world.gate.frame(world.stamp, world.pose.tolist(), world.speed.tolist(), wall_s=10.0 + number * DT)
        world.speed = np.zeros(9)
    return world


def test_in_realtime_an_arm_whose_joints_nobody_measures_any_more_is_braked_by_the_wall_clock() -> None:
    world = driven(realtime=True)
    last_frame, last_stamp = 10.0 + 12 * DT, world.sent[-1][0]
    braked: list[tuple[float, int]] = []
    for tick in range(1, 60):
        wall = last_frame + tick * DT
        own = world.gate.waited(wall)
        if own is not None:
            braked.append((wall - last_frame, own.stamp_ns))
            world._took(own)
    assert braked[0][0] <= 0.2 - DT
    assert world.gate.state is State.HELD
    assert world.gate.at_rest
    stamps = [stamp for _, stamp in braked]
    assert stamps == [last_stamp + FRAME * number for number in range(1, len(stamps) + 1)]
    assert_inside([command for _, command in world.sent], HOME)
    assert world.gate.waited(100.0) is None


def test_frames_that_come_again_in_such_a_stop_are_answered_with_the_rest_of_it() -> None:
    world = driven(realtime=True)
    for tick in range(1, 12):
        own = world.gate.waited(10.0 + 12 * DT + tick * DT)
        if own is not None:
            world._took(own)
    assert world.gate.state is State.BRAKING
    while world.gate.state is State.BRAKING:
        world.stamp += FRAME
        own = world.gate.frame(world.stamp, world.pose.tolist(), world.speed.tolist(), wall_s=11.0)
        assert own is not None
        world._took(own)
    assert_inside([command for _, command in world.sent], HOME)
    assert [stamp for stamp, _ in world.sent] == sorted(stamp for stamp, _ in world.sent)


def test_in_realtime_frames_that_come_slowly_do_not_make_200_ms_longer() -> None:
    world = driven(realtime=True)
    last = 10.0 + 11 * DT
    for tick in range(1, 60):
        wall = last + tick * DT
        if tick % 4 == 0:  # a simulator at a quarter of its pace
            world.stamp += FRAME
            own = world.gate.frame(world.stamp, world.pose.tolist(), world.speed.tolist(), wall_s=wall)
        else:
            own = world.gate.waited(wall)
        if own is not None:
            assert wall - last <= 0.2
            break
    assert world.gate.state is State.BRAKING


def test_in_lockstep_no_wall_time_is_too_long_for_a_frame() -> None:
    world = driven(realtime=False)
    assert world.gate.waited(1000.0) is None
    assert world.gate.state is State.STREAM


def test_an_arm_at_rest_needs_no_frames() -> None:
    world = World(Gate(realtime=True))
    assert world.offer(HOME) is None
    assert world.gate.waited(1000.0) is None


# -- beside a second publisher -----------------------------------------------------------------------------------------


def test_nothing_passes_beside_a_second_publisher_and_a_moving_arm_is_braked_at_once() -> None:
    world = World()
    world.drive()
    world.gate.block("/joint_command has a second publisher, node /x")
    refused = world.offer(world.pose)
    assert reason(refused) is Reason.SECOND_PUBLISHER
    assert refused is not None
    assert "/x" in refused.detail
    assert world.frame() is not None
    assert world.gate.state is State.BRAKING
    world.until_held()
    assert_inside([command for _, command in world.sent], HOME)
    world.frame()
    assert reason(world.offer(world.pose)) is Reason.SECOND_PUBLISHER
    world.gate.block("")
    world.frame()
    assert world.offer(world.pose) is None


# -- early -------------------------------------------------------------------------------------------------------------


def test_a_command_of_the_next_frame_waits_for_it_and_only_one_does() -> None:
    world = World()
    assert not world.gate.keep_early(world.stamp, "of this frame")
    assert world.gate.keep_early(world.stamp + FRAME, "early")
    assert not world.gate.keep_early(world.stamp + FRAME, "a second")
    assert not world.gate.keep_early(world.stamp + 3 * FRAME, "too early")
    assert world.gate.take_early() == "early"
    assert world.gate.take_early() is None


def test_before_the_first_frame_every_command_is_early() -> None:
    gate = Gate()
    assert gate.keep_early(7 * FRAME, "first")
    assert gate.take_early() == "first"
