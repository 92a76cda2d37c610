"""Each rule of the task monitor on hand-made frames."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_world import (
    BIN_X,
    BIN_Y,
    DT,
    FRAMES_PER_DECISION,
    GRIP,
    IDENTITY,
    LEFT,
    REST,
    RIGHT,
    SCENE,
    World,
    only,
    outcome_of,
)

from salus_vla.contract.bodies import ROBOT_BODIES
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import Contact, Pose
from salus_vla.episode.outcome_monitor import MISS_TRY, TaskEvent, TaskMonitor

# -- nothing happens ---------------------------------------------------------------------------------------------------


def test_a_quiet_episode_goes_on() -> None:
    world = World()
    assert world.run(500) == []
    assert world.monitor.outcome is Outcome.RUNNING


def test_a_whole_pick_and_place_succeeds() -> None:
    world = World()
    world.hold()
    world.cube = (BIN_X, BIN_Y, 0.1)
    world.run(10)
    world.width = 0.053  # begins to open: the fingers leave the cube before the width says so
    assert world.lose() == []
    world.width = 0.07
    world.cube = (BIN_X, BIN_Y, 0.033)
    events = world.run(20)
    assert outcome_of(events) is Outcome.SUCCESS
    assert world.run(100) == []


# -- SUCCESS -----------------------------------------------------------------------------------------------------------


def in_bin() -> World:
    return World(cube=(BIN_X, BIN_Y, 0.033))


def test_success_needs_the_rest_time() -> None:
    world = in_bin()
    assert world.run(10) == []  # the speed is known from the second frame on, measured since the first
    event = only(world.run())
    assert event.kind == "SUCCESS"
    assert event.stamp_ns == world.stamp


def test_a_moving_cube_is_not_yet_a_success() -> None:
    world = in_bin()
    for i in range(50):
        world.cube = (BIN_X + 0.001 * (i % 2), BIN_Y, 0.033)  # 0.05 m/s
        assert world.run() == []


def test_a_held_cube_in_the_bin_is_not_a_success() -> None:
    world = in_bin()
    world.width = GRIP
    world.squeeze(5.0)
    assert world.run(50) == []
    world.width = 0.08
    assert world.lose() == []
    assert outcome_of(world.run(11)) is Outcome.SUCCESS


def test_one_finger_on_the_cube_is_not_a_release() -> None:
    world = in_bin()
    world.touch(RIGHT, "red_cube", 0.6)
    assert world.run(50) == []


def test_a_cube_on_the_rim_is_not_in_the_bin() -> None:
    world = World(cube=(BIN_X, BIN_Y, 0.09))
    assert world.run(50) == []


# -- COLLISION ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body_a", "body_b"),
    [
        ("panda_link5", "table"),
        ("panda_hand", "blue_bin"),
        (LEFT, "table"),
        (RIGHT, "blue_bin"),
        ("panda_hand", "panda_link1"),
        ("panda_link7", "panda_link2"),
    ],
)
def test_hard_contacts_of_the_robot_are_collisions(body_a: str, body_b: str) -> None:
    world = World()
    world.touch(body_a, body_b, SCENE.outcomes.collision_force)
    assert world.run() == []  # the threshold itself is allowed
    world.touch(body_a, body_b, SCENE.outcomes.collision_force + 0.1)
    event = only(world.run())
    assert event.outcome is Outcome.COLLISION
    assert body_a in event.detail
    assert body_b in event.detail


@pytest.mark.parametrize(
    ("body_a", "body_b"),
    [
        (LEFT, "red_cube"),
        ("panda_hand", "red_cube"),
        ("panda_link6", "red_cube"),
        ("red_cube", "table"),  # free: it fell
        ("blue_bin", "red_cube"),
        (LEFT, RIGHT),
        ("panda_link3", "panda_link4"),
        ("panda_hand", LEFT),
        ("blue_bin", "table"),
    ],
)
def test_other_hard_contacts_are_no_collisions(body_a: str, body_b: str) -> None:
    world = World()
    world.touch(body_a, body_b, 500.0)
    assert world.run(10) == []


@pytest.mark.parametrize("obstacle", ["table", "blue_bin"])
def test_the_held_cube_collides(obstacle: str) -> None:
    world = World()
    world.hold()
    world.touch("red_cube", obstacle, 31.0)
    assert outcome_of(world.run()) is Outcome.COLLISION


def test_pressing_the_cube_on_the_table_while_gripping_is_no_collision() -> None:
    world = World(width=GRIP)
    world.squeeze(20.0)
    world.touch("red_cube", "table", 40.0)
    assert world.run(20) == []
    assert world.monitor.holding


def test_contacts_of_the_last_episode_are_forgotten() -> None:
    world = World()
    world.touch("panda_hand", "table", 99.0)
    assert outcome_of(world.run()) is Outcome.COLLISION
    world.monitor.start(world.stamp)
    assert world.run(5) == []


# -- DROP --------------------------------------------------------------------------------------------------------------


def test_a_cube_that_slips_out_is_a_drop_when_the_fingers_close() -> None:
    world = World()
    world.hold()
    assert world.lose() == []
    world.width = 0.04
    assert outcome_of(world.run()) is Outcome.DROP


def test_a_cube_that_slips_out_of_a_still_gripper_is_a_drop_after_the_grasp_time() -> None:
    world = World()
    world.hold()
    assert world.lose() == []
    assert world.run(4) == []
    event = only(world.run())
    assert event.kind == "DROP"
    assert "15.0 cm" in event.detail


def test_one_finger_left_is_a_loss() -> None:
    world = World()
    world.hold()
    world.touch(LEFT, "red_cube", 0.0)
    assert outcome_of(world.run(6)) is Outcome.DROP


def test_opening_in_mid_air_is_no_drop() -> None:
    world = World()
    world.hold()
    world.lose()
    world.width = GRIP + SCENE.outcomes.open_margin + 0.001
    assert world.run(50) == []


def test_a_loss_near_the_table_is_a_placement() -> None:
    world = World()
    world.hold()
    world.cube = (0.5, 0.1, REST + SCENE.outcomes.drop_height - 0.001)
    world.run()
    world.lose()
    assert world.run(20) == []


def test_a_loss_before_lifting_is_no_drop() -> None:
    world = World()
    world.hold(height=SCENE.outcomes.lift_height - 0.001)
    world.lose()
    assert world.run(20) == []


def test_a_loss_over_the_bin_is_no_drop() -> None:
    world = World()
    world.hold()
    world.cube = (BIN_X, BIN_Y, 0.2)
    world.run()
    world.lose()
    assert world.run(20) == []


def test_a_contact_that_flickers_is_no_loss() -> None:
    world = World()
    world.hold()
    world.lose()
    world.squeeze(20.0)
    assert world.run() == []
    assert world.monitor.holding
    assert world.run(20) == []
    world.lose()
    assert outcome_of(world.run(6)) is Outcome.DROP


def test_a_touch_shorter_than_the_grasp_time_is_no_hold() -> None:
    world = World(width=GRIP)
    world.squeeze(20.0)
    world.run(5)
    assert not world.monitor.holding
    world.squeeze(0.2)  # touching, but not held
    world.run()
    world.squeeze(20.0)
    world.run(5)
    assert not world.monitor.holding
    world.run()
    assert world.monitor.holding


# -- MISS --------------------------------------------------------------------------------------------------------------


def close_and_open(world: World) -> list[TaskEvent]:
    world.width = 0.0
    events = world.run(3)
    world.width = 0.08
    return events + world.run(3)


def test_the_third_empty_closing_is_a_miss() -> None:
    world = World()
    world.run()
    for number in (1, 2):
        event = only(close_and_open(world))
        assert (event.kind, event.outcome) == (MISS_TRY, None)
        assert f"try {number} of 3" in event.detail
    assert outcome_of(close_and_open(world)) is Outcome.MISS


def test_a_closing_counts_once_until_the_gripper_was_wide_open() -> None:
    world = World()
    world.run()
    assert len(close_and_open(world)) == 1
    world.width = 0.0
    assert only(world.run()).kind == MISS_TRY
    for width in (SCENE.outcomes.open_width - 0.001, 0.0) * 5:
        world.width = width
        assert world.run() == []


def test_closing_on_the_cube_is_no_miss() -> None:
    world = World()
    world.run()
    world.width = 0.02  # a smaller cube, on edge
    world.squeeze(20.0)
    assert world.run(10) == []


@pytest.mark.parametrize("cube", [(0.9, 0.0, REST), (0.6, 0.6, REST), (0.1, 0.1, REST), (0.5, 0.1, -0.2)])
def test_a_cube_out_of_reach_is_a_miss(cube: tuple[float, float, float]) -> None:
    world = World()
    world.run()
    world.cube = cube
    world.touch(LEFT, "red_cube", 1.0)
    assert world.run(10) == []  # not while a finger still touches it
    world.touch(LEFT, "red_cube", 0.0)
    assert outcome_of(world.run()) is Outcome.MISS


# -- TIMEOUT and order -------------------------------------------------------------------------------------------------


def test_timeout_when_the_time_of_the_decisions_has_passed() -> None:
    world = World(monitor=TaskMonitor(SCENE, max_decisions=3))
    assert world.run(3 * FRAMES_PER_DECISION - 1) == []
    event = only(world.run())
    assert event.outcome is Outcome.TIMEOUT
    assert "3 decisions" in event.detail


def test_timeout_comes_although_frames_were_lost() -> None:
    world = World(monitor=TaskMonitor(SCENE, max_decisions=3))
    world.stamp += 3 * FRAMES_PER_DECISION * DT
    assert outcome_of(world.run()) is Outcome.TIMEOUT


def test_the_scene_gives_the_number_of_decisions() -> None:
    world = World()
    assert world.run(SCENE.rates.max_decisions * FRAMES_PER_DECISION - 1) == []
    assert outcome_of(world.run()) is Outcome.TIMEOUT


def drop_due_with_timeout() -> World:
    """A lost cube whose drop shows in the very frame in which the time is up."""
    world = World(monitor=TaskMonitor(SCENE, max_decisions=5))
    world.run(3)
    world.hold()  # 16 frames
    world.lose()
    assert world.run(4) == []
    assert world.stamp == 7 * DT + (5 * FRAMES_PER_DECISION - 1) * DT
    return world


def test_order_within_one_frame() -> None:
    world = drop_due_with_timeout()
    world.touch("panda_hand", "table", 50.0)  # DROP, TIMEOUT and COLLISION are due in the next frame
    assert outcome_of(world.run()) is Outcome.COLLISION
    assert outcome_of(drop_due_with_timeout().run()) is Outcome.DROP


def test_outcomes_have_the_values_of_the_message() -> None:
    names = ["RUNNING", "SUCCESS", "COLLISION", "DROP", "MISS", "TIMEOUT", "ABORTED", "HANDED_OVER"]
    assert [outcome.name for outcome in Outcome] == names
    assert [int(outcome) for outcome in Outcome] == list(range(8))


# -- any input ---------------------------------------------------------------------------------------------------------

bodies = st.sampled_from([*ROBOT_BODIES, "red_cube", "blue_bin", "table", "world"])
number = st.floats(-1.0, 1.0)
frame = st.fixed_dictionaries(
    {
        "dt": st.integers(0, 5),
        "width": st.floats(0.0, 0.08),
        "cube": st.tuples(number, number, number),
        "contacts": st.lists(st.tuples(bodies, bodies, st.floats(0.0, 60.0)), max_size=4),
    }
)


@settings(max_examples=150, deadline=None)
@given(st.lists(frame, max_size=30))
def test_any_input_gives_at_most_one_outcome_and_it_is_the_last_event(frames: list[dict]) -> None:
    monitor = TaskMonitor(SCENE, max_decisions=5)
    monitor.start(0)
    events: list[TaskEvent] = []
    stamp = 0
    for item in frames:
        stamp += item["dt"] * DT
        joints = np.array([0.0] * 7 + [item["width"] / 2] * 2)
        poses = {"red_cube": Pose(np.array(item["cube"]), IDENTITY), "blue_bin": SCENE.objects.blue_bin.pose()}
        new = monitor.update(stamp, joints, poses, [Contact(*contact) for contact in item["contacts"]])
        assert all(event.stamp_ns == stamp for event in new)
        events += new
    ends = [event for event in events if event.outcome is not None]
    assert len(ends) <= 1
    assert events[-1:] == ends or not ends
    assert monitor.outcome is (ends[0].outcome if ends else Outcome.RUNNING)
    tries = [event for event in events if event.kind == MISS_TRY]
    assert len(tries) < SCENE.outcomes.miss_tries
