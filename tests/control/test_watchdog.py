"""What is not fresh trips within its limit, what is fresh never does, and the first reason stays until it is reset."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_vla.contract import CAMERAS
from salus_vla.contract.errors import ConfigError
from salus_vla.contract.reasons import (
    CLOCK_JUMPED_BACK,
    MISSING_CLOCK,
    SIMULATOR_STOPPED,
    STALE_CAMERA,
    STALE_CHUNK,
    STALE_JOINTS,
)
from salus_vla.control.command_pacing import commands_due
from salus_vla.control.watchdog import AHEAD_NS, JOINTS, REASONS, Refusal, Watchdog, WatchLimits

FRAME = 20_000_000
LIMIT = 200_000_000
S = 1_000_000_000
SOURCES = (JOINTS, *CAMERAS)


def frame(dog: Watchdog, number: int, *, without: tuple[str, ...] = (), age_ns: int | None = None) -> bool:
    """What comes with a frame, joints first and pictures last as the simulator sends them."""
    now = number * FRAME
    if JOINTS not in without and dog.now_ns is not None:  # nothing counts before the first clock
        assert dog.saw(JOINTS, now) is None
    jumped = dog.clock(now, number * 0.02, age_ns)
    for camera in CAMERAS:
        if number % 5 == 0 and camera not in without:
            assert dog.saw(camera, now) is None
    return jumped


def armed(at: int = 50) -> Watchdog:
    """A watchdog in the middle of an episode that is well at frame `at`."""
    dog = Watchdog(WatchLimits(), 0.0)
    for number in range(at - 10, at + 1):
        frame(dog, number)
        if number == at - 5:
            dog.arm(number * 0.02)
    return dog


def frames_until_trip(dog: Watchdog, at: int, **missing: object) -> int:
    for number in range(at + 1, at + 40):
        frame(dog, number, **missing)  # type: ignore[arg-type]
        if dog.trip is not None:
            assert dog.trip.stamp_ns == number * FRAME
            return number - at
    pytest.fail("it did not trip")


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_camera_that_stops_trips_200_ms_after_its_last_image(camera: str) -> None:
    dog = armed()
    assert frames_until_trip(dog, 50, without=(camera,)) == 10
    assert dog.trip is not None
    assert dog.trip.reason == STALE_CAMERA
    assert camera in dog.trip.detail


def test_joints_that_stop_trip_200_ms_after_the_last() -> None:
    dog = armed()
    assert frames_until_trip(dog, 50, without=(JOINTS,)) == 10
    assert dog.trip is not None
    assert dog.trip.reason == STALE_JOINTS


def test_a_plan_on_an_old_observation_trips_and_one_below_the_limit_does_not() -> None:
    dog = armed()
    frame(dog, 51, age_ns=LIMIT - 1)
    assert dog.trip is None
    frame(dog, 52, age_ns=LIMIT)
    assert dog.trip is not None
    assert dog.trip.reason == STALE_CHUNK
    assert dog.trip.detail == ("the observation behind the plan is 0.20 s old; the oldest input, camera front, 0.04 s")


def test_nothing_trips_before_an_episode_or_after_it() -> None:
    dog = Watchdog(WatchLimits(), 0.0)
    for number in range(100):
        frame(dog, number, without=SOURCES)
    dog.arm(2.0)
    dog.disarm()
    for number in range(100, 200):
        frame(dog, number, without=SOURCES, age_ns=S)
    dog.wall(1000.0, thinking=False)
    assert dog.trip is None


def test_what_is_older_than_the_start_of_the_episode_gets_its_whole_time() -> None:
    dog = Watchdog(WatchLimits(), 0.0)
    for number in range(100):
        frame(dog, number, without=CAMERAS)
    dog.arm(2.0)
    assert frames_until_trip(dog, 99, without=CAMERAS) == 10


def test_a_clock_that_jumps_back_is_a_reason_and_forgets_every_stamp() -> None:
    dog = armed()
    assert dog.saw(JOINTS, 3 * FRAME) is Refusal.OUT_OF_ORDER  # the clock alone says that time jumped
    assert frame(dog, 3, without=SOURCES)
    assert dog.trip is not None
    assert (dog.trip.reason, dog.trip.detail) == (CLOCK_JUMPED_BACK, "/clock went from 1.00 s to 0.06 s")
    assert not dog.armed
    assert dog.age_ns(JOINTS) is None
    assert all(dog.saw(source, 4 * FRAME) is None for source in SOURCES)


def test_a_clock_that_jumps_back_between_episodes_is_counted_and_holds_nothing() -> None:
    dog = armed()
    dog.disarm()
    assert frame(dog, 3, without=SOURCES)
    assert (dog.trip, dog.jumps) == (None, 1)


def test_the_first_reason_stays_until_it_is_reset_and_then_everything_has_its_whole_time() -> None:
    dog = armed()
    frames_until_trip(dog, 50, without=(JOINTS,))
    first = dog.trip
    for number in range(61, 90):
        frame(dog, number, age_ns=S)
    assert dog.trip is first
    assert dog.reset(2.0) is first
    assert dog.trip is None
    assert frames_until_trip(dog, 89, without=(CAMERAS[0], CAMERAS[1])) == 10
    assert dog.trip is not None
    assert dog.trip.reason == STALE_CAMERA
    assert dog.trips == {STALE_JOINTS: 1, STALE_CAMERA: 1}


# -- wall time ---------------------------------------------------------------------------------------------------------


def test_without_a_clock_it_trips_after_the_time_for_it() -> None:
    dog = Watchdog(WatchLimits(clock_s=5.0), 100.0)
    dog.wall(104.9, thinking=False)
    assert dog.trip is None
    dog.wall(105.0, thinking=False)
    assert dog.trip is not None
    assert dog.trip.reason == MISSING_CLOCK
    assert "no /clock came within 5 s" in dog.trip.detail


def test_a_clock_that_stands_still_in_an_episode_is_a_stopped_simulator() -> None:
    dog = armed()
    dog.wall(1.0 + 9.9, thinking=False)
    assert dog.trip is None
    dog.wall(1.0 + 10.0, thinking=False)
    assert dog.trip is not None
    assert dog.trip.reason == SIMULATOR_STOPPED


def test_a_policy_that_thinks_for_long_in_lockstep_trips_nothing() -> None:
    dog = armed()
    for tenths in range(1000):
        dog.wall(1.0 + tenths / 10, thinking=True, set_due=True)
    dog.wall(1.0 + 100.0 + 9.8, thinking=False)
    assert dog.trip is None


def test_in_lockstep_the_camera_that_the_simulator_waits_for_is_named() -> None:
    dog = armed(54)
    frame(dog, 55, without=("side",))
    dog.wall(30.0, thinking=False, set_due=True)
    assert dog.trip is not None
    assert dog.trip.reason == STALE_CAMERA
    assert dog.trip.detail.startswith("camera side: ")


def test_in_lockstep_joints_that_do_not_come_are_named() -> None:
    dog = armed()
    frame(dog, 51, without=(JOINTS,))
    dog.wall(30.0, thinking=False)
    assert dog.trip is not None
    assert dog.trip.reason == STALE_JOINTS


# -- stamps that cannot be right ---------------------------------------------------------------------------------------


def test_stamps_of_the_past_and_of_the_far_future_do_not_count() -> None:
    dog = armed()
    assert dog.saw(JOINTS, 50 * FRAME) is None  # again
    assert dog.saw(JOINTS, 49 * FRAME) is Refusal.OUT_OF_ORDER
    assert dog.saw("front", 50 * FRAME + AHEAD_NS + 1) is Refusal.FUTURE_STAMP
    assert dog.age_ns("front") == 0
    assert frames_until_trip(dog, 50, without=("front",)) == 10


def test_a_clock_that_is_taken_late_and_catches_up_in_one_step_trips_nothing() -> None:
    """As on a busy machine: images and joint states are taken at once, 400 ms of /clock later."""
    dog = armed()
    for number in range(51, 71):
        assert dog.saw(JOINTS, number * FRAME) is None
        for camera in CAMERAS if number % 5 == 0 else ():
            assert dog.saw(camera, number * FRAME) is None
    dog.clock(70 * FRAME, 1.4)
    assert dog.trip is None


def test_a_stamp_from_the_near_future_hides_a_silent_source_for_half_a_second_at_most() -> None:
    dog = armed()
    assert dog.saw("front", 50 * FRAME + AHEAD_NS) is None
    assert frames_until_trip(dog, 50, without=("front",)) == 25 + 10


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(SOURCES), unique=True, max_size=4),
    st.integers(0, 60),
    st.lists(st.tuples(st.sampled_from(SOURCES), st.integers(-(2**62), 2**62)), max_size=20),
)
def test_a_source_that_is_silent_for_200_ms_always_trips_and_nothing_else_does(
    silent: list[str], since: int, strange: list[tuple[str, int]]
) -> None:
    """Messages with strange stamps change nothing: the rest stays fresh, the silent ones stay silent."""
    dog = armed()
    newest = dict.fromkeys(SOURCES, 50)
    for number in range(51, 130):
        frame(dog, number, without=tuple(silent) if number > 50 + since else ())
        for source in SOURCES:
            alive = source not in silent or number <= 50 + since
            if alive and (source == JOINTS or number % 5 == 0):
                newest[source] = number
        for source, stamp in strange:
            if not newest[source] * FRAME < stamp <= number * FRAME + AHEAD_NS:
                dog.saw(source, stamp)
        due = min((newest[source] for source in silent), default=number) + 10 <= number
        assert (dog.trip is not None) == due
        if due:
            assert dog.trip is not None
            assert dog.trip.reason in (STALE_CAMERA, STALE_JOINTS)
            return
    assert not silent


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**62), st.floats(0, 1e9), st.one_of(st.none(), st.integers(0, 2**62)))))
def test_any_clock_is_judged_without_an_error_and_with_a_known_reason(
    clocks: list[tuple[int, float, int | None]],
) -> None:
    dog = Watchdog(WatchLimits(), 0.0)
    before = None
    for now, wall, age in clocks:
        dog.arm(wall)
        assert dog.clock(now, wall, age) == (before is not None and now < before)
        dog.wall(wall, thinking=False, set_due=True)
        before = now
    assert dog.trip is None or dog.trip.reason in REASONS


@pytest.mark.parametrize("name", ["camera_ns", "joints_ns", "chunk_ns", "stopped_s", "clock_s"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_that_is_not_positive_is_refused_with_its_name(name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"watch limit {name} is {value}"):
        replace(WatchLimits(), **{name: value})


# -- commands that nobody asked for ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("until", "stamps", "stands"),
    [
        (100, [], False),
        (109, [], False),
        (111, [120], False),
        (120, [120], False),
        (160, [120, 140, 160], False),
        (161, [161], True),
    ],
)
def test_one_command_per_frame_is_due_until_the_arm_stands(until: int, stamps: list[int], stands: bool) -> None:
    due, still = commands_due(100, until, 20)
    assert (list(due), still) == (stamps, stands)
