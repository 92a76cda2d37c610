"""A stopped arm is held where it is measured, not where it was told to go."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus_vla.contract.reasons import CHUNK_EXHAUSTED
from salus_vla.contract.robot_limits import PANDA
from salus_vla.contract.types import Observation, PolicyOutput
from salus_vla.control.controller import Controller
from salus_vla.control.hold_position import YIELD_SPEED
from salus_vla.policies.hold import HoldPolicy

MS = 1_000_000
FRAME, STEP, DT = 20 * MS, 100 * MS, 0.02
HOME = np.array([0.0, -0.785398, 0.0, -2.356194, 0.0, 1.570796, 0.785398])
REASON = "stale_camera"

Arm = Callable[[np.ndarray], np.ndarray]


class Moving:
    """A policy that moves all joints at a constant speed, with closed fingers."""

    source = "moving"

    def __init__(self, speed: np.ndarray) -> None:
        self._speed = speed

    def start_episode(self, seed: int) -> None:
        """Nothing to forget."""

    def predict(self, observation: Observation, decision: int) -> PolicyOutput:
        rows = observation.arm + np.arange(1, 11)[:, None] * self._speed * 0.1
        return PolicyOutput(np.column_stack([rows, np.zeros(10)])[None, None])

    def provenance(self) -> dict[str, str]:
        return {}


def stopped(controller: Controller, arm: Arm, *, frames: int = 400, stale: bool = False) -> np.ndarray:
    """Commands (n, 9) to an arm that is stopped after 20 of them; `arm` gives where it really is for a command."""
    controller.start_episode(3)
    measured, now = np.append(HOME, [0.02, 0.02]), 3 * STEP
    commands = [measured]
    for frame in range(20):
        if frame % 5 == 0:
            observation = Observation(now, {}, measured, "task")
            controller.accept(controller.decide(observation, controller.command_in_force), now, measured)
        commands.append(controller.command(now, measured).position)
        measured, now = np.append(arm(commands[-1][:7]), [0.02, 0.02]), now + FRAME
    controller.drop_plan(REASON, "for a test")
    last_ns = now
    while frames and not (controller.resting and len(commands) > 25):
        command = controller.command(now, measured, last_ns - 3 * FRAME if stale else now)
        assert command.hold_reason == REASON
        commands.append(command.position)
        measured, now, frames = np.append(arm(command.position[:7]), [0.02, 0.02]), now + FRAME, frames - 1
    assert frames, "it never came to rest"
    return np.array(commands)


def controller(speed: float = 0.3) -> Controller:
    return Controller(Moving(np.full(7, speed) * [1, 1, -1, 1, 1, -1, -1]), frame_dt_ns=FRAME, control_dt_ns=STEP)


@given(st.lists(st.floats(-0.09, 0.09), min_size=7, max_size=7), st.floats(0.0, 0.5))
def test_it_is_held_where_it_is_measured_and_every_command_is_inside_the_limits(
    offset: list[float], speed: float
) -> None:
    commands = stopped(controller(speed), lambda command: command + offset)
    braked = commands[21:]
    velocity = np.diff(commands[:, :7], axis=0) / DT
    assert (np.abs(velocity) <= PANDA.velocity + 1e-9).all()
    assert (np.abs(np.diff(velocity, axis=0)) <= PANDA.acceleration * DT + 1e-9).all()
    at_rest = int(np.flatnonzero((velocity[20:] == 0.0).all(axis=1))[0])
    np.testing.assert_allclose(braked[-1, :7], braked[at_rest, :7] + offset, atol=1e-6)
    assert (np.abs(velocity[20 + at_rest :]) <= YIELD_SPEED + 1e-9).all()


def test_an_arm_that_something_blocks_is_not_pushed_on() -> None:
    wall = HOME[0] + 0.05
    commands = stopped(controller(0.4), lambda command: np.append(min(command[0], wall), command[1:]))
    assert commands[:, 0].max() > wall + 0.05  # it was pushed
    assert commands[-1, 0] == pytest.approx(wall, abs=1e-6)


def test_the_gripper_keeps_its_target_so_that_a_cube_stays_held() -> None:
    commands = stopped(controller(), lambda command: command + 0.02)
    np.testing.assert_allclose(commands[-1, 7:], [0.0, 0.0], atol=1e-9)  # measured were 2 cm, around a cube


def test_it_waits_until_the_arm_is_at_rest() -> None:
    """An arm that follows slowly is not held where it passed by."""
    at = HOME.copy()

    def lagging(command: np.ndarray) -> np.ndarray:
        at[:] += 0.2 * (command - at)
        return at.copy()

    commands = stopped(controller(0.5), lagging)
    braked = commands[21:][int(np.flatnonzero((np.diff(commands[20:, :7], axis=0) == 0.0).all(axis=1))[0])]
    np.testing.assert_allclose(commands[-1, :7], braked[:7], atol=0.006)  # what is left at 0.05 rad/s
    np.testing.assert_allclose(commands[-1, :7], at, atol=0.006)


def test_joints_that_are_no_longer_measured_move_nothing() -> None:
    made, old = controller(), np.append(HOME, [0.02, 0.02])
    held = stopped(made, lambda command: command + 0.05, stale=True)[-1]
    for frame in range(100, 150):
        np.testing.assert_array_equal(made.command(frame * STEP, old, 3 * STEP).position, held)


def test_measured_joints_a_hair_outside_their_range_are_held_at_the_limit() -> None:
    beyond = PANDA.upper + 0.01
    commands = stopped(controller(0.0), lambda command: np.append(beyond[:1], command[1:]), frames=3000)
    assert commands[-1, 0] == pytest.approx(PANDA.upper[0], abs=1e-6)


def test_a_plan_that_ended_is_a_stop_and_the_next_plan_ends_it() -> None:
    made = controller(0.0)
    made.start_episode(3)
    measured, now = np.append(HOME, [0.0, 0.0]), 3 * STEP
    made.accept(made.decide(Observation(now, {}, measured, "task"), None), now, measured)
    off = measured + np.append(np.full(7, 0.01), [0.0, 0.0])
    commands = [made.command(now + frame * FRAME, off) for frame in range(100)]
    assert commands[-1].hold_reason == CHUNK_EXHAUSTED
    np.testing.assert_allclose(commands[-1].position, off, atol=1e-6)
    now += 100 * FRAME
    made.accept(made.decide(Observation(now, {}, off, "task"), None), now, off)
    assert made.command(now, off).hold_reason == ""


def test_an_arm_that_only_waits_for_a_decision_stays_where_the_episode_found_it() -> None:
    made = Controller(HoldPolicy(), frame_dt_ns=FRAME, control_dt_ns=STEP)
    made.start_episode(3)
    sagging = np.append(HOME, [0.04, 0.04])
    for frame in range(50):
        position = made.command(frame * FRAME, sagging - 1e-4 * frame).position
        np.testing.assert_array_equal(position[:7], HOME)
