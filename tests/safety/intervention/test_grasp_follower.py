"""Following a grasp: what a motion changes, what it never changes, and putting down instead of letting go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus_vla.contract.forward_kinematics import tool_poses
from salus_vla.contract.robot_limits import PANDA
from salus_vla.contract.types import FloatArray
from salus_vla.safety.intervention.candidates import CAREFUL, MOTIONS, PLAN, HandState
from salus_vla.safety.intervention.grasp_follower import GraspFollower
from salus_vla.safety.intervention.ways import back, retimed

HOME = np.array([0.0, -0.785398, 0.0, -2.356194, 0.0, 1.570796, 0.785398])
ROWS = 16
HELD = HandState(width=0.05, told=0.0, held_s=0.5)
OPEN = HandState(width=0.08, told=0.08, held_s=0.0)


def told(width: float = 0.0, lift: float = 0.0) -> FloatArray:
    """A command at home, with joint 4 opened by `lift` [rad], which raises the tool."""
    arm = HOME.copy()
    arm[3] += lift
    return np.append(arm, width)


def chunk(width: float | FloatArray, step: float = 0.02, start: float = 0.0) -> FloatArray:
    """A plan that moves joint 4 by `step` in each row."""
    found = np.tile(told(), (ROWS, 1))
    found[:, 3] += start + step * np.arange(1, ROWS + 1)
    found[:, 7] = width
    return found


@pytest.mark.parametrize("name", MOTIONS)
def test_a_hand_that_holds_nothing_follows_the_plan(name: str) -> None:
    plan = chunk(0.08)
    assert GraspFollower().update(plan, MOTIONS[name], told(0.08), OPEN) is plan


def test_the_plan_is_the_plan() -> None:
    plan = chunk(0.02)
    assert GraspFollower().update(plan, MOTIONS[PLAN], told(), HELD) is plan


def test_slow_is_the_same_path_later_and_the_hand_in_its_own_time() -> None:
    widths = np.linspace(0.0, 0.08, ROWS)
    plan = chunk(widths)
    found = GraspFollower().update(plan, MOTIONS["slow_0.5"], told(), HELD)
    assert np.allclose(found[1::2, :7], plan[: ROWS // 2, :7])
    assert np.array_equal(found[:, 7], widths)
    assert np.allclose(retimed(plan, 0.5, told(), hand=True)[1::2], plan[: ROWS // 2])


@given(pace=st.floats(0.05, 1.0), step=st.floats(-0.05, 0.05))
def test_retiming_stays_on_the_path(pace: float, step: float) -> None:
    plan, start = chunk(0.0, step), told()
    found = retimed(plan, pace, start)
    path = np.vstack((start[None], plan))
    low, high = path[:, 3].min() - 1e-12, path[:, 3].max() + 1e-12
    assert (found[:, 3] >= low).all()
    assert (found[:, 3] <= high).all()
    assert abs(found[0, 3] - start[3]) <= abs(plan[0, 3] - start[3]) + 1e-12


@given(widths=st.lists(st.floats(-0.01, 0.09), min_size=ROWS, max_size=ROWS), carried=st.booleans())
def test_a_careful_hand_is_told_one_of_two_answers(widths: list[float], carried: bool) -> None:
    follower = GraspFollower()
    follower.update(chunk(0.0), MOTIONS[CAREFUL], told(), HELD)
    place = told()
    if carried:
        place[0] += 0.5  # the arm has turned away
    found = follower.update(chunk(np.array(widths)), MOTIONS[CAREFUL], place, HELD)
    assert set(np.unique(found[:, 7])) <= {0.0, PANDA.gripper_max}


def test_a_half_open_command_does_not_let_go() -> None:
    found = GraspFollower().update(chunk(0.04), MOTIONS[CAREFUL], told(), HELD)
    assert (found[:, 7] == 0.0).all()


def test_a_careful_arm_waits_for_the_fingers() -> None:
    closing = HandState(width=0.065, told=0.03, held_s=0.0)
    found = GraspFollower().update(chunk(0.0), MOTIONS[CAREFUL], told(0.03), closing)
    assert abs(found[0, 3] - told()[3]) < 0.15 * 0.02


def test_an_opening_in_the_air_is_put_down_first_and_then_opened() -> None:
    follower, arm = GraspFollower(), 0.0
    heights = []
    for _ in range(10):  # closes at the bottom, is lifted
        follower.update(chunk(0.0, start=arm), MOTIONS[CAREFUL], told(lift=arm), HELD)
        arm += 0.02
    bottom = float(tool_poses(told()[:7])[0][0][2])
    assert float(tool_poses(told(lift=arm)[:7])[0][0][2]) > bottom + 0.02
    opened = False
    for _ in range(15):
        found = follower.update(chunk(0.08, start=arm), MOTIONS[CAREFUL], told(lift=arm), HELD)
        arm = float(found[0, 3] - told()[3])
        heights.append(float(tool_poses(found[0][:7])[0][0][2]) - bottom)
        if found[0, 7] == PANDA.gripper_max:
            opened = True
            break
        assert found[0, 7] == 0.0
    assert opened
    assert follower.lowering
    assert heights[-1] < 0.01
    assert heights == sorted(heights, reverse=True)


def test_the_hand_is_told_to_open_long_enough_to_open() -> None:
    follower = GraspFollower()
    follower.update(chunk(0.0), MOTIONS[CAREFUL], told(), HELD)
    widths = [follower.update(chunk(0.08), MOTIONS[CAREFUL], told(), HELD)[0, 7] for _ in range(5)]
    assert widths == [PANDA.gripper_max] * 5
    assert follower.update(chunk(0.08), MOTIONS[CAREFUL], told(0.08), OPEN)[0, 7] == 0.08


def test_over_the_goal_it_opens_earlier() -> None:
    follower = GraspFollower()
    follower.update(chunk(0.0), MOTIONS[CAREFUL], told(), HELD)
    place = told()
    place[0] += 0.5
    widths = np.where(np.arange(ROWS) < 6, 0.0, 0.08)
    found = follower.update(chunk(widths), MOTIONS[CAREFUL], place, HELD)
    assert int(np.argmax(found[:, 7] > 0.0)) == 2


def test_back_goes_the_way_it_came_and_stands_at_its_beginning() -> None:
    way = np.array([told(lift=0.1 * index) for index in range(4)])
    found = back(way, 6, 0.0)
    assert np.allclose(found[:, 3] - told()[3], [0.2, 0.1, 0.0, 0.0, 0.0, 0.0])
    assert (found[:, 7] == 0.0).all()


def test_reset_forgets_the_grasp() -> None:
    follower = GraspFollower()
    follower.update(chunk(0.0), MOTIONS[CAREFUL], told(), HELD)
    follower.update(chunk(0.08), MOTIONS[CAREFUL], told(), HELD)
    follower.reset()
    assert not follower.lowering
