"""Camera sets and joints find each other whatever the order of arrival."""

import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_vla.contract.types import Observation
from salus_vla.control.observation_matcher import ObservationMatcher

MS = 1_000_000
FRAME, PERIOD, HALF = 20 * MS, 100 * MS, 10 * MS
CAMERAS = ("front", "side", "top")


def matcher() -> ObservationMatcher:
    return ObservationMatcher(HALF)


def image(camera: str, stamp_ns: int) -> np.ndarray:
    """An image that tells its camera and the number of its set."""
    return np.full((1, 1, 3), 100 * CAMERAS.index(camera) + stamp_ns // PERIOD, dtype=np.uint8)


def joints(stamp_ns: int) -> np.ndarray:
    return np.full(9, stamp_ns * 1e-9)


def add(target: ObservationMatcher, kind: str, stamp_ns: int) -> Observation | None:
    if kind == "joints":
        return target.add_joints(stamp_ns, joints(stamp_ns), "task")
    return target.add_image(kind, stamp_ns, image(kind, stamp_ns), "task")


def fill(target: ObservationMatcher, stamp_ns: int, *kinds: str) -> list[Observation]:
    return [found for kind in kinds if (found := add(target, kind, stamp_ns)) is not None]


@given(
    order=st.permutations(range(8)),
    offset_ns=st.integers(-HALF + 1, HALF - 1),
    set_number=st.integers(0, 50),
)
@settings(max_examples=100, deadline=None)
def test_any_order_of_arrival_gives_the_same_observation(order: list[int], offset_ns: int, set_number: int) -> None:
    stamp = set_number * PERIOD + 2 * FRAME
    nearest = stamp + offset_ns
    messages = [(camera, stamp) for camera in CAMERAS]
    messages += [("joints", nearest + i * FRAME) for i in (-2, -1, 0, 1, 2)]
    target = matcher()
    arrivals = [messages[i] for i in order]
    found = [(step, got) for step, message in enumerate(arrivals) if (got := add(target, *message)) is not None]
    assert len(found) == 1
    step, observation = found[0]
    needed = {*messages[:3], ("joints", nearest)}
    assert step == max(i for i, message in enumerate(arrivals) if message in needed)
    assert observation.stamp_ns == stamp
    assert observation.task == "task"
    np.testing.assert_array_equal(observation.joint_position, joints(nearest))
    assert set(observation.images) == set(CAMERAS)
    for camera in CAMERAS:
        np.testing.assert_array_equal(observation.images[camera], image(camera, stamp))
    assert (target.dropped, target.repeated) == (0, 0)


@given(data=st.data(), sets=st.integers(2, 6))
@settings(max_examples=60, deadline=None)
def test_images_of_different_sets_are_never_mixed(data: st.DataObject, sets: int) -> None:
    """Four streams, each in order, merged at random: a set may be dropped, but what is given belongs together."""
    streams = {kind: [i * PERIOD for i in range(sets)] for kind in (*CAMERAS, "joints")}
    target, found = matcher(), []
    while streams:
        kind = data.draw(st.sampled_from(sorted(streams)))
        found += fill(target, streams[kind].pop(0), kind)
        streams = {kind: stamps for kind, stamps in streams.items() if stamps}
    stamps = [observation.stamp_ns for observation in found]
    assert stamps == sorted(set(stamps))
    assert stamps
    for observation in found:
        np.testing.assert_array_equal(observation.joint_position, joints(observation.stamp_ns))
        for camera in CAMERAS:
            np.testing.assert_array_equal(observation.images[camera], image(camera, observation.stamp_ns))


@pytest.mark.parametrize(("offset_ns", "matches"), [(HALF, True), (-HALF, True), (HALF + 1, False), (-HALF - 1, False)])
def test_joints_match_up_to_half_a_frame(offset_ns: int, matches: bool) -> None:
    target = matcher()
    fill(target, PERIOD + offset_ns, "joints")
    assert bool(fill(target, PERIOD, *CAMERAS)) == matches


@pytest.mark.parametrize(("offset_ns", "matches"), [(HALF, True), (HALF + 1, False)])
def test_images_match_up_to_half_a_frame(offset_ns: int, matches: bool) -> None:
    target = matcher()
    fill(target, PERIOD, "joints", "front", "side")
    assert bool(fill(target, PERIOD + offset_ns, "top")) == matches


def test_an_observation_is_given_once() -> None:
    target = matcher()
    assert len(fill(target, PERIOD, *CAMERAS, "joints", "joints", *CAMERAS)) == 1


def test_a_set_without_one_camera_is_never_given_and_is_counted() -> None:
    target = matcher()
    for i in range(1, 31):
        assert fill(target, i * PERIOD, "joints", "front", "top") == []
    assert target.dropped == 30 - ObservationMatcher.MAX_OPEN


def test_an_incomplete_set_is_dropped_and_counted_when_a_later_one_is_complete() -> None:
    target = matcher()
    fill(target, 1 * PERIOD, "joints", "front")
    fill(target, 2 * PERIOD, "joints", "front", "side")
    assert target.dropped == 0
    assert len(fill(target, 3 * PERIOD, "joints", *CAMERAS)) == 1
    assert target.dropped == 2


def test_images_whose_stamp_did_not_advance_are_dropped_and_counted() -> None:
    target = matcher()
    fill(target, 2 * PERIOD, "front")
    target.add_image("front", 2 * PERIOD, image("front", 0), "task")
    target.add_image("front", PERIOD, image("front", 0), "task")
    assert target.repeated == 2
    found = fill(target, 2 * PERIOD, "joints", "side", "top")
    np.testing.assert_array_equal(found[0].images["front"], image("front", 2 * PERIOD))
    assert target.repeated == 2


def test_memory_is_bounded_whatever_never_matches() -> None:
    target = matcher()
    alive: weakref.WeakSet[object] = weakref.WeakSet()

    class Tracked(np.ndarray):
        """An array that can be counted."""

        __hash__ = object.__hash__

    for i in range(1, 500):
        pixels, position = image("front", 0).view(Tracked), joints(0).view(Tracked)
        alive.add(pixels)
        alive.add(position)
        target.add_image("front", i * PERIOD, pixels, "task")
        target.add_joints(i * PERIOD + 3 * FRAME, position, "task")
    del pixels, position
    assert len(alive) == ObservationMatcher.MAX_OPEN + ObservationMatcher.MAX_JOINTS


def test_joints_older_than_the_memory_are_not_matched() -> None:
    target = matcher()
    for i in range(ObservationMatcher.MAX_JOINTS + 1):
        fill(target, PERIOD + i * FRAME, "joints")
    assert fill(target, PERIOD, *CAMERAS) == []
    assert len(fill(target, PERIOD + 5 * FRAME, *CAMERAS)) == 1


def test_the_cameras_of_a_set_can_be_chosen() -> None:
    target = ObservationMatcher(HALF, cameras=("front",))
    assert len(fill(target, PERIOD, "joints", "front")) == 1
