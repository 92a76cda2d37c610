"""Frames are put together from topics that arrive in any order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_vla.contract import ENTITIES
from salus_vla.contract.types import Contact, Pose
from salus_vla.episode.frame_assembly import FrameAssembler, WorldFrame

FRAME = 20_000_000
KINDS = ("joints", *ENTITIES)


def contact(force: float) -> Contact:
    return Contact("panda_leftfinger", "red_cube", force)


def add(target: FrameAssembler, kind: str, number: int) -> None:
    stamp = number * FRAME
    if kind == "joints":
        target.add_joints(stamp, np.full(9, float(number)))
    elif kind == "contact":
        target.add_contacts(stamp, (contact(float(number)),))
    else:
        target.add_pose(
            kind, stamp, Pose(np.array([number, ENTITIES.index(kind), 0.0]), np.array([0.0, 0.0, 0.0, 1.0]))
        )


def add_frame(target: FrameAssembler, number: int, *, without: str = "") -> None:
    for kind in KINDS:
        if kind != without:
            add(target, kind, number)


def assert_intact(frame: WorldFrame, number: int) -> None:
    assert frame.complete
    np.testing.assert_array_equal(frame.joint_position, np.full(9, float(number)))
    for index, entity in enumerate(ENTITIES):
        np.testing.assert_array_equal(frame.poses[entity].position, [number, index, 0.0])


def numbers(target: FrameAssembler) -> list[int]:
    return [frame.stamp_ns // FRAME for frame in target.take()]


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_frames_are_given_in_order_as_soon_as_they_can_be(data: st.DataObject) -> None:
    """Topics keep their own order; between them any interleaving may happen."""
    target = FrameAssembler()
    arrived = dict.fromkeys(KINDS, 0)  # messages per topic
    frames = []
    while waiting := [kind for kind in KINDS if arrived[kind] < 4]:
        kind = data.draw(st.sampled_from(waiting))
        add(target, kind, arrived[kind])
        arrived[kind] += 1
        frames += list(target.take())
        # All of the complete frames but the newest.
        assert [frame.stamp_ns // FRAME for frame in frames] == list(range(min(arrived.values()) - 1))
    for number, frame in enumerate(frames):
        assert_intact(frame, number)
    assert (target.late, target.incomplete) == (0, 0)


@given(order=st.permutations([(kind, number) for number in range(4) for kind in KINDS]))
@settings(max_examples=60, deadline=None)
def test_no_order_of_arrival_mixes_or_swaps_frames(order: list[tuple[str, int]]) -> None:
    """A frame of which nothing had come when two later ones were complete is lost and counted, never given late."""
    target = FrameAssembler()
    frames = []
    for kind, number in order:
        add(target, kind, number)
        frames += list(target.take())
    given_numbers = [frame.stamp_ns // FRAME for frame in frames]
    assert given_numbers == sorted(set(given_numbers))
    for number, frame in zip(given_numbers, frames, strict=True):
        assert_intact(frame, number)
    lost = {0, 1, 2} - set(given_numbers)
    assert target.late == len(lost) * len(KINDS)


@given(
    orders=st.tuples(*[st.permutations((*KINDS, "contact"))] * 3),
    with_contact=st.tuples(*[st.booleans()] * 3),
)
@settings(max_examples=50, deadline=None)
def test_contacts_are_optional_and_belong_to_their_frame(
    orders: tuple[list[str], ...], with_contact: tuple[bool, ...]
) -> None:
    target = FrameAssembler()
    frames = []
    for number, order in enumerate(orders):
        for kind in order:
            if kind != "contact" or with_contact[number]:
                add(target, kind, number)
            frames += list(target.take()) if kind != order[-1] and number < 2 else []
    add_frame(target, 3)
    frames += list(target.take())
    assert [frame.stamp_ns // FRAME for frame in frames] == [0, 1, 2]
    for number, frame in enumerate(frames):
        assert frame.contacts == ([contact(float(number))] if with_contact[number] else [])


def test_contacts_of_several_messages_are_collected_in_order() -> None:
    target = FrameAssembler()
    target.add_contacts(0, (contact(1.0), contact(2.0)))
    target.add_contacts(0, (contact(3.0),))
    add_frame(target, 0)
    add_frame(target, 1)
    assert next(target.take()).contacts == [contact(1.0), contact(2.0), contact(3.0)]


def test_the_newest_frame_waits_for_a_successor() -> None:
    target = FrameAssembler()
    add_frame(target, 0)
    assert numbers(target) == []
    add(target, "joints", 1)
    assert numbers(target) == []
    for entity in ENTITIES:
        add(target, entity, 1)
    assert numbers(target) == [0]
    assert numbers(target) == []


@pytest.mark.parametrize("kind", ["joints", ENTITIES[0], "contact"])
def test_a_message_of_a_frame_that_was_given_is_counted_as_late(kind: str) -> None:
    target = FrameAssembler()
    add_frame(target, 0)
    add_frame(target, 1)
    assert numbers(target) == [0]
    add(target, kind, 0)
    assert target.late == 1
    add_frame(target, 2)
    assert numbers(target) == [1]


def test_a_contact_that_comes_late_belongs_to_the_next_frame() -> None:
    """The events say what changed: a release that was lost would leave the cube touched for the rest of the episode."""
    target = FrameAssembler()
    add_frame(target, 0)
    add_frame(target, 1)
    assert numbers(target) == [0]
    target.add_contacts(0, (contact(3.0), contact(0.0)))
    add(target, "contact", 1)
    add_frame(target, 2)
    assert [frame.contacts for frame in target.take()] == [[contact(3.0), contact(0.0), contact(1.0)]]
    add_frame(target, 3)
    assert [frame.contacts for frame in target.take()] == [[]]


def test_the_contacts_of_a_frame_that_was_given_up_are_kept() -> None:
    target = FrameAssembler()
    add_frame(target, 0, without="joints")
    add(target, "contact", 0)
    for number in range(1, FrameAssembler.MAX_OPEN + 1):
        add_frame(target, number)
    first, *others = target.take()
    assert first.contacts == [contact(0.0)]
    assert all(frame.contacts == [] for frame in others)


def test_late_contacts_of_the_world_before_a_reset_are_forgotten() -> None:
    target = FrameAssembler()
    for number in range(3):
        add_frame(target, number)
    assert numbers(target) == [0, 1]
    add(target, "contact", 1)
    target.forget_before(3 * FRAME)
    add(target, "contact", 2)
    for number in (3, 4):
        add_frame(target, number)
    assert [frame.contacts for frame in target.take()] == [[]]


@pytest.mark.parametrize("missing", KINDS)
def test_a_frame_that_never_becomes_complete_is_given_up_and_counted(missing: str) -> None:
    target = FrameAssembler()
    add_frame(target, 0, without=missing)
    for number in range(1, FrameAssembler.MAX_OPEN):
        add_frame(target, number)
        assert numbers(target) == []
    add_frame(target, FrameAssembler.MAX_OPEN)
    assert numbers(target) == list(range(1, FrameAssembler.MAX_OPEN))
    assert target.incomplete == 1
    add(target, missing, 0)
    assert target.late == 1


def test_the_world_before_a_reset_can_be_forgotten() -> None:
    target = FrameAssembler()
    for number in range(4):
        add_frame(target, number)
    target.forget_before(2 * FRAME)
    assert numbers(target) == [2]
    add(target, "joints", 1)
    assert (target.late, target.incomplete) == (1, 0)
