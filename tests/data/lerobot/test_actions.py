"""The action of a decision is the last command before the next one, and nothing else is taken for it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorded import FRAME_NS, HOME, PERIOD_NS, nine
from salus_vla.data.lerobot.actions import (
    IncompleteEpisodeError,
    check_spacing,
    commanded_actions,
    planned_actions,
)

START_NS = 5_000_000_000
TARGETS = np.random.default_rng(0).normal(0, 0.1, (20, 8)) + HOME  # of four decisions


def stamps(count: int, step_ns: int) -> np.ndarray:
    return START_NS + np.arange(count) * step_ns


def test_it_is_the_fifth_command_of_the_period_with_the_fingers_added_up() -> None:
    actions = commanded_actions(stamps(4, PERIOD_NS), stamps(20, FRAME_NS), nine(TARGETS))
    np.testing.assert_array_equal(actions, TARGETS[4::5])


@given(st.lists(st.integers(-9, 9), min_size=20, max_size=20), st.lists(st.integers(-9, 9), min_size=4, max_size=4))
def test_stamps_may_be_off_by_less_than_half_a_frame(frames: list[int], observed: list[int]) -> None:
    # Of both: the difference must stay below half a frame.
    command_stamps = stamps(20, FRAME_NS) + np.array(frames) * 500_000
    actions = commanded_actions(stamps(4, PERIOD_NS) + np.array(observed) * 500_000, command_stamps, nine(TARGETS))
    np.testing.assert_array_equal(actions, TARGETS[4::5])


@given(st.sets(st.integers(0, 19)))
def test_a_period_without_its_last_command_is_not_complete(lost: set[int]) -> None:
    kept = [index for index in range(20) if index not in lost]
    missing = sorted(index for index in lost if index % 5 == 4)
    arguments = (stamps(4, PERIOD_NS), stamps(20, FRAME_NS)[kept], nine(TARGETS)[kept])
    if missing:
        with pytest.raises(IncompleteEpisodeError, match=rf"decision {missing[0] // 5} has no command for the last"):
            commanded_actions(*arguments)
    else:
        np.testing.assert_array_equal(commanded_actions(*arguments), TARGETS[4::5])


def test_a_command_after_the_period_is_never_taken() -> None:
    later = stamps(20, FRAME_NS) + PERIOD_NS
    with pytest.raises(IncompleteEpisodeError, match="decision 0 has no command"):
        commanded_actions(stamps(4, PERIOD_NS), later, nine(TARGETS))


def test_a_plan_without_gripper_gets_the_commanded_one() -> None:
    commanded, planned = TARGETS[:4], TARGETS[4:8]
    np.testing.assert_array_equal(planned_actions(planned, commanded), planned)
    mixed = planned_actions(planned[:, :7], commanded)
    np.testing.assert_array_equal(mixed, np.concatenate([planned[:, :7], commanded[:, 7:]], axis=1))


def test_a_plan_that_is_not_finite_is_not_complete() -> None:
    planned = TARGETS[:4].copy()
    planned[2, 3] = np.nan
    with pytest.raises(IncompleteEpisodeError, match="decision 2 has no plan that is finite"):
        planned_actions(planned, TARGETS[:4])


def test_observations_must_follow_each_other() -> None:
    complete = stamps(6, PERIOD_NS)
    check_spacing(complete)
    check_spacing(complete[:1])
    with pytest.raises(IncompleteEpisodeError, match="observation 3 is 200 ms after the one before it, expected 100"):
        check_spacing(np.delete(complete, 3))
